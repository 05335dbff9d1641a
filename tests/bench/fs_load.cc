// SPDX-License-Identifier: Apache-2.0
// Load on any directory by system calls alone. Prints JSON: for each workload and number of threads
// the operations a second, latencies in microseconds and their histogram. See --help.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <barrier>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/bench/histogram.h"

namespace {

using cfsgate::bench::Clock;
using cfsgate::bench::Histogram;
using cfsgate::bench::result_json;

constexpr const char* kUsage = R"(Usage: fs_load [OPTION...] DIRECTORY WORKLOAD...

Works in DIRECTORY/fs_load. Files that are only read stay there for the next run; the rest is removed.

  create          open(O_CREAT|O_EXCL), write 512 bytes, close; each thread in a directory of its own
  create-shared   the same, all threads in one directory
  overwrite-4k    open(O_TRUNC), write 4 KiB, close; each thread its own file
  overwrite-1m    the same with 1 MiB, as one write
  rename          create a temporary file of 512 bytes, rename it over a file
  mkdir           mkdir and rmdir
  mixed           of ten: 4 reads, 2 stats, 2 overwrites of 4 KiB, 1 rename, 1 create and unlink
  read            open, read 2 KiB, close; 100 files, read before
  stat            of the same files
  readdir-1000    list a directory of that many files, names only
  readdir-10000
  grep            list 50 directories and read the 5000 files of 2 KiB in them: one operation
  fdatasync       overwrite 512 bytes of a preallocated file, fdatasync; each thread its own file
  propagation     overwrite a file in DIRECTORY until --reader's directory shows it; one thread

  --threads LIST    default 1; such as 1,8,32: each after the other
  --seconds S       of each measurement, default 1
  --operations N    end after so many, of all threads together
  --rate R          at most so many a second, of all threads together
  --reader DIR      for propagation: the same directory through another mount
  --prepare         make the files that the workloads read, and end
  --keep            leave what was written; the next run removes it
  --help            print this text
)";

[[noreturn]] void die(const std::string& why) {
    std::fprintf(stderr, "fs_load: %s\n", why.c_str());
    std::exit(1);
}

/// A system call that failed, with its error; counted, and named in the output.
struct Failed : std::runtime_error {
    explicit Failed(const std::string& what)
        : std::runtime_error(what + ": " + std::strerror(errno)) {}
};

int check(int result, const std::string& what) {
    if (result < 0) throw Failed(what);
    return result;
}

// --- Files, relative to the directory under load ---

int root = -1;

class File {
public:
    File(const std::string& path, int flags, int at = root)
        : fd_(check(::openat(at, path.c_str(), flags | O_CLOEXEC, 0644), "open " + path)) {}
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File() {
        if (fd_ >= 0) ::close(fd_);
    }
    int get() const { return fd_; }
    /// Where a file system tells of an error that came late.
    void close() {
        const int fd = std::exchange(fd_, -1);
        check(::close(fd), "close");
    }
    void write(std::string_view data) {
        const auto done = ::write(fd_, data.data(), data.size());
        if (done < 0) throw Failed("write");
        if (static_cast<std::size_t>(done) != data.size()) throw std::runtime_error("short write");
    }
    std::size_t read(char* to, std::size_t size) const {
        const auto done = ::read(fd_, to, size);
        if (done < 0) throw Failed("read");
        return static_cast<std::size_t>(done);
    }

private:
    int fd_;
};

void write_file(const std::string& path, int flags, std::string_view data) {
    File file(path, O_WRONLY | flags);
    file.write(data);
    file.close();
}

bool exists(const std::string& path) {
    struct stat info {};
    return ::fstatat(root, path.c_str(), &info, 0) == 0;
}

void make_directory(const std::string& path) {
    if (::mkdirat(root, path.c_str(), 0755) != 0 && errno != EEXIST) throw Failed("mkdir " + path);
}

/// Calls `visit` with each name; returns how many there are.
std::size_t list(const std::string& path, const std::function<void(const char*)>& visit = {}) {
    File opened(path, O_RDONLY | O_DIRECTORY);
    DIR* stream = ::fdopendir(::dup(opened.get()));
    if (stream == nullptr) throw Failed("opendir " + path);
    std::size_t count = 0;
    while (const dirent* entry = ::readdir(stream)) {
        const std::string_view name = entry->d_name;
        if (name == "." || name == "..") continue;
        ++count;
        if (visit) visit(entry->d_name);
    }
    ::closedir(stream);
    return count;
}

void remove_tree(const std::string& path) {
    std::vector<std::string> names;
    list(path, [&](const char* name) { names.emplace_back(name); });
    for (const std::string& name : names) {
        const std::string child = path + "/" + name;
        if (::unlinkat(root, child.c_str(), 0) == 0) continue;
        if (errno != EISDIR && errno != EPERM) throw Failed("unlink " + child);
        remove_tree(child);
    }
    check(::unlinkat(root, path.c_str(), AT_REMOVEDIR), "rmdir " + path);
}

/// Page-aligned, so that the kernel sends it as one request.
class Memory {
public:
    explicit Memory(std::size_t size) : size_(size) {
        void* found =
            ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (found == MAP_FAILED) die("no memory");
        bytes_ = static_cast<char*>(found);
        std::memset(bytes_, 'x', size);
    }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory() { ::munmap(bytes_, size_); }
    std::string_view view() const { return {bytes_, size_}; }

private:
    char* bytes_ = nullptr;
    std::size_t size_;
};

// --- Workloads ---

class Workload {
public:
    virtual ~Workload() = default;
    /// Makes files that are only read, unless an earlier run did.
    virtual void prepare() {}
    /// Before the threads start. The scratch directory is empty.
    virtual void begin(int threads) { static_cast<void>(threads); }
    /// One operation. `number` counts those of this thread. Returns when it was done.
    virtual Clock::time_point run(int thread, std::uint64_t number) = 0;
    virtual void end() {}
};

const std::string kTop = "fs_load";
const std::string kScratch = kTop + "/scratch";

std::string own(int thread) { return kScratch + "/t" + std::to_string(thread); }

class Create final : public Workload {
public:
    explicit Create(bool shared) : shared_(shared) {}
    void begin(int threads) override {
        for (int i = 0; i < threads; ++i) make_directory(own(i));
    }
    Clock::time_point run(int thread, std::uint64_t number) override {
        const std::string prefix =
            shared_ ? kScratch + "/f" + std::to_string(thread) + "." : own(thread) + "/f";
        write_file(prefix + std::to_string(number), O_CREAT | O_EXCL, data_);
        return Clock::now();
    }

private:
    bool shared_;
    std::string data_ = std::string(512, 'x');
};

class Overwrite final : public Workload {
public:
    explicit Overwrite(std::size_t size) : data_(size) {}
    void begin(int threads) override {
        for (int i = 0; i < threads; ++i) write_file(own(i), O_CREAT, data_.view());
    }
    Clock::time_point run(int thread, std::uint64_t) override {
        write_file(own(thread), O_TRUNC, data_.view());
        return Clock::now();
    }

private:
    Memory data_;
};

void replace_file(const std::string& path, std::string_view data) {
    const std::string temporary = path + ".tmp";
    write_file(temporary, O_CREAT | O_EXCL, data);
    check(::renameat(root, temporary.c_str(), root, path.c_str()), "rename");
}

class Rename final : public Workload {
public:
    void begin(int threads) override {
        for (int i = 0; i < threads; ++i) {
            make_directory(own(i));
            write_file(own(i) + "/file", O_CREAT, data_);
        }
    }
    Clock::time_point run(int thread, std::uint64_t) override {
        replace_file(own(thread) + "/file", data_);
        return Clock::now();
    }

private:
    std::string data_ = std::string(512, 'x');
};

class MakeDirectory final : public Workload {
public:
    Clock::time_point run(int thread, std::uint64_t) override {
        const std::string path = own(thread);
        check(::mkdirat(root, path.c_str(), 0755), "mkdir");
        check(::unlinkat(root, path.c_str(), AT_REMOVEDIR), "rmdir");
        return Clock::now();
    }
};

/// Files made once: `count` of `size` bytes in a directory `name`.
class Fixture {
public:
    Fixture(std::string name, int count, std::size_t size)
        : path_(kTop + "/" + name), count_(count), size_(size) {}
    const std::string& path() const { return path_; }
    std::string file(std::uint64_t number) const {
        return path_ + "/f" + std::to_string(number % static_cast<std::uint64_t>(count_));
    }
    std::size_t count() const { return static_cast<std::size_t>(count_); }
    std::size_t size() const { return size_; }
    void prepare() const {
        if (exists(path_ + ".complete")) return;
        make_directory(path_);
        const std::string data(size_, 'x');
        for (int i = 0; i < count_; ++i) {
            File made(file(static_cast<std::uint64_t>(i)), O_WRONLY | O_CREAT);
            if (size_ != 0) made.write(data);
            made.close();
        }
        write_file(path_ + ".complete", O_CREAT, "yes\n");
    }

private:
    std::string path_;
    int count_;
    std::size_t size_;
};

void read_file(const std::string& path, std::size_t expected) {
    std::array<char, 8192> buffer;
    File file(path, O_RDONLY);
    if (file.read(buffer.data(), buffer.size()) != expected) {
        throw std::runtime_error(path + ": not what was written");
    }
    file.close();
}

Fixture small_files() { return {"read", 100, 2048}; }

class Read final : public Workload {
public:
    void prepare() override { files_.prepare(); }
    void begin(int) override {
        for (std::size_t i = 0; i < files_.count(); ++i) read_file(files_.file(i), files_.size());
    }
    Clock::time_point run(int thread, std::uint64_t number) override {
        read_file(files_.file(number + static_cast<std::uint64_t>(thread) * 13), files_.size());
        return Clock::now();
    }

private:
    Fixture files_ = small_files();
};

void stat_file(const std::string& path, std::size_t expected) {
    struct stat info {};
    check(::fstatat(root, path.c_str(), &info, 0), "stat");
    if (static_cast<std::size_t>(info.st_size) != expected) {
        throw std::runtime_error(path + ": wrong size");
    }
}

class Stat final : public Workload {
public:
    void prepare() override { files_.prepare(); }
    Clock::time_point run(int thread, std::uint64_t number) override {
        stat_file(files_.file(number + static_cast<std::uint64_t>(thread) * 13), files_.size());
        return Clock::now();
    }

private:
    Fixture files_ = small_files();
};

class ReadDirectory final : public Workload {
public:
    explicit ReadDirectory(int count) : files_("readdir-" + std::to_string(count), count, 0) {}
    void prepare() override { files_.prepare(); }
    Clock::time_point run(int, std::uint64_t) override {
        if (list(files_.path()) != files_.count()) throw std::runtime_error("entries are missing");
        return Clock::now();
    }

private:
    Fixture files_;
};

class Grep final : public Workload {
public:
    void prepare() override {
        make_directory(kTop + "/grep");
        for (const Fixture& directory : directories()) directory.prepare();
    }
    Clock::time_point run(int, std::uint64_t) override {
        std::array<char, 8192> buffer;
        for (const Fixture& directory : directories()) {
            list(directory.path(), [&](const char* name) {
                const std::string path = directory.path() + "/" + name;
                File file(path, O_RDONLY);
                const std::size_t size = file.read(buffer.data(), buffer.size());
                if (size != directory.size() || ::memmem(buffer.data(), size, "needle", 6)) {
                    throw std::runtime_error(path + ": not what was written");
                }
            });
        }
        return Clock::now();
    }

private:
    static std::vector<Fixture> directories() {
        std::vector<Fixture> all;
        for (int i = 0; i < 50; ++i) all.emplace_back("grep/d" + std::to_string(i), 100, 2048);
        return all;
    }
};

class Mixed final : public Workload {
public:
    void prepare() override { files_.prepare(); }
    void begin(int threads) override {
        for (int i = 0; i < threads; ++i) {
            make_directory(own(i));
            write_file(own(i) + "/file", O_CREAT, data_.view());
        }
    }
    Clock::time_point run(int thread, std::uint64_t number) override {
        const std::uint64_t some = number * 31 + static_cast<std::uint64_t>(thread) * 13;
        const std::string mine = own(thread);
        // A fixed order, begun elsewhere by each thread.
        switch ((number + static_cast<std::uint64_t>(thread)) % 10) {
            case 0:
            case 2:
            case 5:
            case 7: read_file(files_.file(some), files_.size()); break;
            case 1:
            case 6: stat_file(files_.file(some), files_.size()); break;
            case 3:
            case 8: write_file(mine + "/file", O_TRUNC, data_.view()); break;
            case 4: replace_file(mine + "/file", data_.view().substr(0, 512)); break;
            default:
                write_file(mine + "/new", O_CREAT | O_EXCL, data_.view().substr(0, 512));
                check(::unlinkat(root, (mine + "/new").c_str(), 0), "unlink");
        }
        return Clock::now();
    }

private:
    Fixture files_ = small_files();
    Memory data_{4096};
};

/// What a disk takes for one durable change, without any file system of ours.
class Fdatasync final : public Workload {
public:
    void begin(int threads) override {
        const std::string zeros(kBytes, '\0');
        for (int i = 0; i < threads; ++i) {
            files_.push_back(std::make_unique<File>(own(i), O_RDWR | O_CREAT));
            files_.back()->write(zeros);
            check(::fsync(files_.back()->get()), "fsync");
        }
    }
    Clock::time_point run(int thread, std::uint64_t number) override {
        const int fd = files_[static_cast<std::size_t>(thread)]->get();
        const auto offset = static_cast<off_t>(number * data_.size() % kBytes);
        if (::pwrite(fd, data_.data(), data_.size(), offset) < 0) throw Failed("pwrite");
        check(::fdatasync(fd), "fdatasync");
        return Clock::now();
    }
    void end() override { files_.clear(); }

private:
    static constexpr std::size_t kBytes = 4U << 20U;
    std::string data_ = std::string(512, 'x');
    std::vector<std::unique_ptr<File>> files_;
};

/// From the start of a write to the moment at which the other directory shows it.
class Propagation final : public Workload {
public:
    explicit Propagation(std::string reader) : reader_path_(std::move(reader)) {}
    void begin(int threads) override {
        if (threads != 1) die("propagation has one thread");
        if (reader_path_.empty()) die("propagation needs --reader");
        reader_root_ = ::open(reader_path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (reader_root_ < 0) die("open " + reader_path_ + ": " + std::strerror(errno));
        write_file(file_, O_CREAT, content(0));
        reader_ = std::thread([this] { poll(); });
    }
    Clock::time_point run(int, std::uint64_t number) override {
        write_file(file_, O_TRUNC, content(number + 1));
        const auto give_up = Clock::now() + std::chrono::seconds(20);
        while (seen_.load(std::memory_order_acquire) != number + 1) {
            if (Clock::now() > give_up) die("the other directory does not show the change");
            std::this_thread::sleep_for(kPoll);
        }
        return seen_at_;
    }
    void end() override {
        stop_ = true;
        reader_.join();
        ::close(reader_root_);
    }

private:
    static constexpr std::chrono::microseconds kPoll{30};
    static std::string content(std::uint64_t number) {
        std::string text = std::to_string(number);
        text.resize(64, ' ');
        return text;
    }
    /// Only what is whole counts: some file systems show a truncated file in between.
    void poll() {
        ::prctl(PR_SET_TIMERSLACK, 1UL);
        std::array<char, 128> buffer;
        while (!stop_) {
            const int fd = ::openat(reader_root_, file_.c_str(), O_RDONLY | O_CLOEXEC);
            const auto size = fd < 0 ? -1 : ::read(fd, buffer.data(), buffer.size());
            const auto now = Clock::now();
            if (fd >= 0) ::close(fd);
            if (size == 64) {
                const std::uint64_t number = std::strtoull(buffer.data(), nullptr, 10);
                if (number != seen_.load(std::memory_order_relaxed)) {
                    seen_at_ = now;
                    seen_.store(number, std::memory_order_release);
                }
            }
            std::this_thread::sleep_for(kPoll);
        }
    }

    std::string file_ = kScratch + "/propagation";
    std::string reader_path_;
    int reader_root_ = -1;
    std::thread reader_;
    std::atomic<bool> stop_{false};
    std::atomic<std::uint64_t> seen_{0};
    Clock::time_point seen_at_;
};

// --- A measurement ---

struct Options {
    std::vector<int> threads{1};
    double seconds = 1;
    std::uint64_t operations = UINT64_MAX;
    double rate = 0;
    std::string reader;
    bool prepare = false;
    bool keep = false;
    std::string directory;
    std::vector<std::string> workloads;
};

struct Measured {
    Histogram latencies;
    std::uint64_t errors = 0;
    std::string first_error;
    double seconds = 0;
};

/// The operations of all threads: who may do one more, and what came of them.
class Run {
public:
    Run(const Options& options, Workload& workload, int threads)
        : options_(options), workload_(workload), threads_(threads) {}

    Measured run() {
        std::barrier start(threads_ + 1);
        std::vector<std::thread> all;
        for (int i = 0; i < threads_; ++i) {
            all.emplace_back([this, i, &start] {
                ::prctl(PR_SET_TIMERSLACK, 1UL);
                start.arrive_and_wait();
                start.arrive_and_wait();  // `end_` is set between the two
                work(i);
            });
        }
        start.arrive_and_wait();
        begin_ = Clock::now();
        end_ = begin_ + duration(options_.seconds);
        start.arrive_and_wait();
        for (std::thread& thread : all) thread.join();
        measured_.seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
        return measured_;
    }

private:
    static Clock::duration duration(double seconds) {
        return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    }

    void work(int thread) {
        constexpr std::uint64_t kErrorsMax = 100;
        Measured mine;
        for (std::uint64_t number = 0; may_go_on() && mine.errors < kErrorsMax; ++number) {
            const auto before = Clock::now();
            try {
                mine.latencies.add(workload_.run(thread, number) - before);
            } catch (const std::exception& error) {
                if (mine.errors++ == 0) mine.first_error = error.what();
            }
        }
        const std::scoped_lock lock(mutex_);
        measured_.latencies.add(mine.latencies);
        measured_.errors += mine.errors;
        if (measured_.first_error.empty()) measured_.first_error = mine.first_error;
    }

    bool may_go_on() {
        const std::uint64_t number = next_.fetch_add(1, std::memory_order_relaxed);
        if (number >= options_.operations) return false;
        if (options_.rate > 0) {
            const auto due = begin_ + duration(static_cast<double>(number) / options_.rate);
            if (due >= end_) return false;
            std::this_thread::sleep_until(due);
        }
        return Clock::now() < end_;
    }

    const Options& options_;
    Workload& workload_;
    int threads_;
    Clock::time_point begin_;
    Clock::time_point end_;
    std::atomic<std::uint64_t> next_{0};
    std::mutex mutex_;
    Measured measured_;
};

nlohmann::json measure(const Options& options, const std::string& name, Workload& workload,
                       int threads) {
    if (exists(kScratch)) remove_tree(kScratch);  // of a run that was ended, or kept it
    make_directory(kScratch);
    workload.begin(threads);
    const Measured measured = Run(options, workload, threads).run();
    workload.end();
    if (!options.keep) remove_tree(kScratch);
    return result_json(name, threads, measured.seconds, measured.latencies, measured.errors,
                       measured.first_error);
}

using Maker = std::function<std::unique_ptr<Workload>(const Options&)>;

template <class T, class... Arguments>
Maker maker(Arguments... arguments) {
    return [=](const Options&) { return std::make_unique<T>(arguments...); };
}

const std::map<std::string, Maker>& workloads() {
    static const std::map<std::string, Maker> all{
        {"create", maker<Create>(false)},
        {"create-shared", maker<Create>(true)},
        {"overwrite-4k", maker<Overwrite>(std::size_t{4096})},
        {"overwrite-1m", maker<Overwrite>(std::size_t{1} << 20U)},
        {"rename", maker<Rename>()},
        {"mkdir", maker<MakeDirectory>()},
        {"mixed", maker<Mixed>()},
        {"read", maker<Read>()},
        {"stat", maker<Stat>()},
        {"readdir-1000", maker<ReadDirectory>(1000)},
        {"readdir-10000", maker<ReadDirectory>(10000)},
        {"grep", maker<Grep>()},
        {"fdatasync", maker<Fdatasync>()},
        {"propagation",
         [](const Options& options) { return std::make_unique<Propagation>(options.reader); }},
    };
    return all;
}

// --- Arguments ---

double positive(const std::string& option, const std::string& text) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !(value > 0))
        die(option + ": '" + text + "' is no number above 0");
    return value;
}

std::vector<int> thread_counts(const std::string& text) {
    std::vector<int> counts;
    std::istringstream words(text);
    for (std::string word; std::getline(words, word, ',');) {
        const double count = positive("--threads", word);
        if (count > 256) die("--threads: at most 256");
        counts.push_back(static_cast<int>(count));
    }
    if (counts.empty()) die("--threads: none");
    return counts;
}

Options parse(const std::vector<std::string>& arguments) {
    Options options;
    std::vector<std::string> words;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& word = arguments[i];
        if (word == "--help") {
            std::fputs(kUsage, stdout);
            std::exit(0);
        }
        if (word == "--prepare") {
            options.prepare = true;
        } else if (word == "--keep") {
            options.keep = true;
        } else if (word.starts_with("--")) {
            if (i + 1 == arguments.size()) die(word + " needs a value");
            const std::string& value = arguments[++i];
            if (word == "--threads") {
                options.threads = thread_counts(value);
            } else if (word == "--seconds") {
                options.seconds = positive(word, value);
            } else if (word == "--operations") {
                options.operations = static_cast<std::uint64_t>(positive(word, value));
            } else if (word == "--rate") {
                options.rate = positive(word, value);
            } else if (word == "--reader") {
                options.reader = value;
            } else {
                die("'" + word + "' is no option; see --help");
            }
        } else {
            words.push_back(word);
        }
    }
    if (words.size() < 2) die("a directory and a workload, please; see --help");
    options.directory = words.front();
    options.workloads.assign(words.begin() + 1, words.end());
    for (const std::string& name : options.workloads) {
        if (!workloads().contains(name)) die("there is no workload '" + name + "'; see --help");
    }
    return options;
}

int run(const Options& options) {
    root = check(::open(options.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                 "open " + options.directory);
    make_directory(kTop);
    auto results = nlohmann::json::array();
    bool failed = false;
    for (const std::string& name : options.workloads) {
        const auto workload = workloads().at(name)(options);
        workload->prepare();
        if (options.prepare) continue;
        for (const int threads : options.threads) {
            results.push_back(measure(options, name, *workload, threads));
            failed = failed || results.back()["errors"] != 0;
        }
    }
    std::printf(
        "%s\n",
        nlohmann::json{{"directory", options.directory}, {"results", results}}.dump(1).c_str());
    return failed ? 3 : 0;
}

}  // namespace

int main(int count, char** words) {
    try {
        return run(parse({words + 1, words + count}));
    } catch (const std::exception& error) {
        die(error.what());
    }
}
