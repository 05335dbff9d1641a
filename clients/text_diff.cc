// SPDX-License-Identifier: Apache-2.0
//
// The greedy algorithm of Myers (1986): the furthest point that each diagonal reaches with so many
// insertions and deletions; all rounds are kept for the way back.
#include "clients/text_diff.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

namespace cfsgate::clients {
namespace {

constexpr std::ptrdiff_t kEditsMax = 2000;
constexpr std::size_t kContext = 3;

using Lines = std::vector<std::string_view>;

Lines split_lines(std::string_view text) {
    Lines lines;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
        lines.push_back(text.substr(0, end));
        text.remove_prefix(end);
    }
    return lines;
}

struct Edit {
    char mark = ' ';  ///< ' ' in both, '-' or '+'
    std::string_view line;
};

/// Rounds of Myers' algorithm for two lists of lines.
class Search {
public:
    Search(const Lines& before, const Lines& after)
        : before_(before),
          after_(after),
          n_(static_cast<std::ptrdiff_t>(before.size())),
          m_(static_cast<std::ptrdiff_t>(after.size())) {}

    /// Nothing where there are too many.
    std::optional<std::vector<Edit>> edits() {
        std::vector<std::ptrdiff_t> reach(static_cast<std::size_t>(2 * kEditsMax + 3), 0);
        for (std::ptrdiff_t d = 0; d <= std::min(n_ + m_, kEditsMax); ++d) {
            rounds_.push_back(slice(reach, d));
            for (std::ptrdiff_t k = -d; k <= d; k += 2) {
                std::ptrdiff_t x = start(reach, k, d);
                while (x < n_ && x - k < m_ && before_[index(x)] == after_[index(x - k)]) ++x;
                reach[at(k)] = x;
                if (x >= n_ && x - k >= m_) return way_back(d);
            }
        }
        return {};
    }

private:
    static std::size_t index(std::ptrdiff_t i) { return static_cast<std::size_t>(i); }
    static std::size_t at(std::ptrdiff_t k) { return index(k + kEditsMax + 1); }

    static bool comes_from_above(std::ptrdiff_t left, std::ptrdiff_t right, std::ptrdiff_t k,
                                 std::ptrdiff_t d) {
        return k == -d || (k != d && left < right);
    }
    static std::ptrdiff_t start(const std::vector<std::ptrdiff_t>& reach, std::ptrdiff_t k,
                                std::ptrdiff_t d) {
        const std::ptrdiff_t left = reach[at(k - 1)];
        const std::ptrdiff_t right = reach[at(k + 1)];
        return comes_from_above(left, right, k, d) ? right : left + 1;
    }
    /// The diagonals that round `d` looks at, from -d-1 on.
    static std::vector<std::ptrdiff_t> slice(const std::vector<std::ptrdiff_t>& reach,
                                             std::ptrdiff_t d) {
        return {reach.begin() + static_cast<std::ptrdiff_t>(at(-d - 1)),
                reach.begin() + static_cast<std::ptrdiff_t>(at(d + 1)) + 1};
    }

    std::vector<Edit> way_back(std::ptrdiff_t d) const {
        std::vector<Edit> edits;
        std::ptrdiff_t x = n_;
        std::ptrdiff_t y = m_;
        for (; d > 0; --d) {
            const auto& round = rounds_[index(d)];
            const std::ptrdiff_t k = x - y;
            const std::ptrdiff_t left = round[index(k - 1 + d + 1)];
            const std::ptrdiff_t right = round[index(k + 1 + d + 1)];
            const bool inserted = comes_from_above(left, right, k, d);
            const std::ptrdiff_t from_x = inserted ? right : left;
            const std::ptrdiff_t from_y = from_x - (inserted ? k + 1 : k - 1);
            const std::ptrdiff_t middle_x = inserted ? from_x : from_x + 1;
            for (; x > middle_x; --x, --y) edits.push_back({' ', before_[index(x - 1)]});
            edits.push_back(inserted ? Edit{'+', after_[index(from_y)]}
                                     : Edit{'-', before_[index(from_x)]});
            x = from_x;
            y = from_y;
        }
        for (; x > 0; --x) edits.push_back({' ', before_[index(x - 1)]});
        std::reverse(edits.begin(), edits.end());
        return edits;
    }

    const Lines& before_;
    const Lines& after_;
    std::ptrdiff_t n_;
    std::ptrdiff_t m_;
    std::vector<std::vector<std::ptrdiff_t>> rounds_;
};

std::vector<Edit> find_edits(const Lines& before, const Lines& after) {
    std::size_t head = 0;
    while (head < before.size() && head < after.size() && before[head] == after[head]) ++head;
    std::size_t tail = 0;
    while (tail < before.size() - head && tail < after.size() - head &&
           before[before.size() - 1 - tail] == after[after.size() - 1 - tail]) {
        ++tail;
    }
    const auto middle = [&](const Lines& lines) {
        return Lines(lines.begin() + static_cast<std::ptrdiff_t>(head),
                     lines.end() - static_cast<std::ptrdiff_t>(tail));
    };
    const Lines middle_before = middle(before);
    const Lines middle_after = middle(after);
    std::vector<Edit> edits;
    for (std::size_t i = 0; i < head; ++i) edits.push_back({' ', before[i]});
    if (const auto found = Search(middle_before, middle_after).edits()) {
        edits.insert(edits.end(), found->begin(), found->end());
    } else {
        for (const auto line : middle_before) edits.push_back({'-', line});
        for (const auto line : middle_after) edits.push_back({'+', line});
    }
    for (std::size_t i = before.size() - tail; i < before.size(); ++i) {
        edits.push_back({' ', before[i]});
    }
    return edits;
}

std::string range_text(std::size_t first, std::size_t count) {
    // Of nothing: the line before it.
    const std::string begin = std::to_string(count == 0 ? first : first + 1);
    return count == 1 ? begin : begin + "," + std::to_string(count);
}

/// Edits [begin, end) with the line numbers in front of them.
std::string hunk_text(const std::vector<Edit>& edits, std::size_t begin, std::size_t end,
                      std::size_t line_before, std::size_t line_after) {
    std::string text;
    std::size_t count_before = 0;
    std::size_t count_after = 0;
    for (std::size_t i = begin; i < end; ++i) {
        const Edit& edit = edits[i];
        if (edit.mark != '+') ++count_before;
        if (edit.mark != '-') ++count_after;
        text += edit.mark;
        text += edit.line;
        if (!edit.line.ends_with('\n')) text += "\n\\ No newline at end of file\n";
    }
    return "@@ -" + range_text(line_before, count_before) + " +" +
           range_text(line_after, count_after) + " @@\n" + text;
}

}  // namespace

std::string unified_diff(std::string_view before, std::string_view after,
                         const std::string& name_before, const std::string& name_after) {
    if (before == after) return "";
    const auto is_binary = [](std::string_view bytes) {
        return bytes.find('\0') != std::string_view::npos;
    };
    if (is_binary(before) || is_binary(after)) {
        return "Binary files " + name_before + " and " + name_after + " differ\n";
    }
    const std::vector<Edit> edits = find_edits(split_lines(before), split_lines(after));
    std::string text = "--- " + name_before + "\n+++ " + name_after + "\n";
    std::size_t line_before = 0;
    std::size_t line_after = 0;
    std::size_t done = 0;
    const auto count_to = [&](std::size_t end) {
        for (; done < end; ++done) {
            if (edits[done].mark != '+') ++line_before;
            if (edits[done].mark != '-') ++line_after;
        }
    };
    for (std::size_t i = 0; i < edits.size();) {
        if (edits[i].mark == ' ') {
            ++i;
            continue;
        }
        const std::size_t begin = std::max(done, i - std::min(i, kContext));
        std::size_t last = i;  // the last change that is near enough
        for (std::size_t j = i; j < edits.size() && j <= last + 2 * kContext; ++j) {
            if (edits[j].mark != ' ') last = j;
        }
        const std::size_t end = std::min(edits.size(), last + 1 + kContext);
        count_to(begin);
        text += hunk_text(edits, begin, end, line_before, line_after);
        count_to(end);
        i = end;
    }
    return text;
}

}  // namespace cfsgate::clients
