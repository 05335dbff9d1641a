// SPDX-License-Identifier: Apache-2.0
#include "clients/moment.h"

#include <charconv>

namespace cfsgate::clients {
namespace {

std::optional<std::int64_t> parse_number(std::string_view text) {
    std::int64_t number = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool whole = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
    if (!whole || number < 0) return {};
    return number;
}

std::optional<std::uint32_t> in_range(std::int64_t seconds) {
    if (seconds < 0 || seconds > std::int64_t{UINT32_MAX}) return {};
    return static_cast<std::uint32_t>(seconds);
}

std::optional<std::int64_t> unit_seconds(char unit) {
    switch (unit) {
        case 's': return 1;
        case 'm': return 60;
        case 'h': return 3600;
        case 'd': return 86400;
        default: return {};
    }
}

std::optional<std::uint32_t> parse_ago(std::string_view text, std::time_t now) {
    constexpr std::string_view kAgo = " ago";
    constexpr std::int64_t kLongest = 100LL * 366 * 86400;
    if (text.ends_with(kAgo)) text.remove_suffix(kAgo.size());
    if (text.empty()) return {};
    const auto unit = unit_seconds(text.back());
    const auto count = parse_number(text.substr(0, text.size() - 1));
    if (!unit || !count || *count > kLongest / *unit) return {};
    return in_range(std::int64_t{now} - *count * *unit);
}

std::optional<std::uint32_t> parse_calendar(std::string_view text, std::time_t now) {
    const bool utc = text.ends_with('Z');
    if (utc) text.remove_suffix(1);
    const std::string whole(text);
    std::tm today{};
    ::localtime_r(&now, &today);
    for (const char* form : {"%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S",
                             "%Y-%m-%dT%H:%M", "%Y-%m-%d", "%H:%M:%S", "%H:%M"}) {
        std::tm parts{};
        const bool has_date = form[1] == 'Y';
        if (!has_date && !utc) {
            parts.tm_year = today.tm_year;
            parts.tm_mon = today.tm_mon;
            parts.tm_mday = today.tm_mday;
        }
        const char* const end = ::strptime(whole.c_str(), form, &parts);
        if (end == nullptr || *end != '\0' || (utc && !has_date)) continue;
        parts.tm_isdst = -1;
        const std::tm asked = parts;
        const std::time_t seconds = utc ? ::timegm(&parts) : ::mktime(&parts);
        // 31 February would become a day of March.
        if (parts.tm_mday != asked.tm_mday || parts.tm_mon != asked.tm_mon) return {};
        return in_range(seconds);
    }
    return {};
}

}  // namespace

std::optional<std::uint32_t> parse_moment(std::string_view text, std::time_t now) {
    if (text.starts_with('@')) {
        const auto seconds = parse_number(text.substr(1));
        return seconds ? in_range(*seconds) : std::nullopt;
    }
    const auto ago = parse_ago(text, now);
    return ago ? ago : parse_calendar(text, now);
}

PathAt split_position(std::string_view operand) {
    const std::size_t at = operand.rfind('@');
    if (at == std::string_view::npos || operand.find('/', at) != std::string_view::npos) {
        return {std::string(operand), ""};
    }
    return {std::string(operand.substr(0, at)), std::string(operand.substr(at + 1))};
}

}  // namespace cfsgate::clients
