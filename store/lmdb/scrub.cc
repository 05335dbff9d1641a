// SPDX-License-Identifier: Apache-2.0
#include "store/lmdb/scrub.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace cfsgate::store::lmdb {
namespace {

constexpr std::string_view kPrefix = "filling.";
constexpr std::size_t kPageHeaderBytes = 16;
constexpr std::size_t kFillings = 256;  ///< of a transaction
constexpr std::size_t kRecords = 500;   ///< the same
constexpr std::size_t kBytes = 4UL << 20;
/// Pages that were freed by the last transactions are not given out yet.
constexpr int kTransactionsUntilFree = 4;

class Scrub {
public:
    Scrub(Environment& environment, std::string file, Mutex& writer)
        : environment_(environment),
          file_(std::move(file)),
          writer_(writer),
          page_bytes_(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE))) {}

    Status run(const std::vector<Table>& tables) {
        // A page that is copied takes along what is in use, and not what lies between.
        for (const Table table : tables) CFSGATE_TRY(rewrite(table));
        CFSGATE_TRY(fill_free_pages());
        CFSGATE_TRY(remove_filling());
        return environment_.sync();
    }

private:
    Result<std::uint64_t> file_bytes() const {
        struct stat info {};
        if (::stat(file_.c_str(), &info) != 0) return fail_posix(errno, file_);
        return static_cast<std::uint64_t>(info.st_size);
    }

    Status rewrite(Table table) {
        std::string from;
        for (bool more = true; more;) {
            const MutexLock lock(writer_);
            const auto txn = CFSGATE_TRY(Transaction::write(environment_));
            std::vector<std::pair<std::string, std::string>> records;
            std::size_t bytes = 0;
            more = false;
            CFSGATE_TRY(txn->scan(table, from, [&](std::string_view key, std::string_view value) {
                if (records.size() == kRecords || bytes > kBytes) {
                    from = key;
                    more = true;
                    return false;
                }
                records.emplace_back(key, value);
                bytes += value.size();
                return true;
            }));
            for (const auto& [key, value] : records) CFSGATE_TRY(txn->put(table, key, value));
            CFSGATE_TRY(txn->commit());
        }
        return {};
    }

    Status fill(std::size_t count) {
        const MutexLock lock(writer_);
        const auto txn = CFSGATE_TRY(Transaction::write(environment_));
        const std::string page(page_bytes_ - kPageHeaderBytes, 'x');
        for (std::size_t i = 0; i < count; ++i) {
            CFSGATE_TRY(
                txn->put(Table::Meta, std::string(kPrefix) + std::to_string(next_++), page));
        }
        return txn->commit();
    }

    /// Free pages are given out before the file grows.
    Status fill_free_pages() {
        CFSGATE_TRY(remove_filling());
        for (int i = 0; i < kTransactionsUntilFree; ++i) CFSGATE_TRY(fill(1));
        const std::uint64_t enough =
            CFSGATE_TRY(file_bytes()) + kFillings / 2 * std::uint64_t{page_bytes_};
        while (CFSGATE_TRY(file_bytes()) < enough) CFSGATE_TRY(fill(kFillings));
        return {};
    }

    Status remove_filling() {
        for (bool more = true; more;) {
            const MutexLock lock(writer_);
            const auto txn = CFSGATE_TRY(Transaction::write(environment_));
            std::vector<std::string> keys;
            CFSGATE_TRY(
                txn->scan(Table::Meta, kPrefix, [&](std::string_view key, std::string_view) {
                    if (!key.starts_with(kPrefix)) return false;
                    keys.emplace_back(key);
                    return keys.size() < kRecords;
                }));
            more = keys.size() == kRecords;
            for (const std::string& key : keys) CFSGATE_TRY(txn->erase(Table::Meta, key));
            CFSGATE_TRY(txn->commit());
        }
        return {};
    }

    Environment& environment_;
    std::string file_;
    Mutex& writer_;
    std::size_t page_bytes_;
    std::uint64_t next_ = 0;
};

}  // namespace

Status scrub(Environment& environment, const std::string& file, const std::vector<Table>& tables,
             Mutex& writer) {
    return Scrub(environment, file, writer).run(tables);
}

}  // namespace cfsgate::store::lmdb
