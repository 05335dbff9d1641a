// SPDX-License-Identifier: Apache-2.0
// A disk whose power can be cut: one file, "disk", on a FUSE mount, to be used through a loop device.
// It knows which writes a flush has made durable. See --help.
#define FUSE_USE_VERSION 35

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fuse3/fuse_lowlevel.h>

namespace {

constexpr fuse_ino_t kDisk = 2;
/// What arrives or is lost as a whole.
constexpr std::size_t kBlockBytes = 4096;
constexpr double kForEver = 1e6;

constexpr const char* kHelp =
    "Usage: power_disk DIRECTORY MEBIBYTES SEED\n"
    "\n"
    "Mounts a file system with one file, DIRECTORY/disk. It lives in memory. Commands come on "
    "standard\n"
    "input, each is answered by one line:\n"
    "  cut PREFIX   writes what may be found after a power cut at this moment:\n"
    "                 PREFIX.flushed  what had been flushed\n"
    "                 PREFIX.half     that, and each block written since, or not, by chance\n"
    "                 PREFIX.all      all that was written\n"
    "               answers: ok, seconds of CLOCK_MONOTONIC, writes, flushes, blocks not flushed\n"
    "  end          takes the mount away\n";

class Memory {
public:
    explicit Memory(std::size_t bytes)
        : bytes_(bytes),
          data_(static_cast<char*>(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
        if (data_ == MAP_FAILED) std::abort();
    }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory() { ::munmap(data_, bytes_); }

    char* at(std::size_t offset) { return data_ + offset; }

private:
    std::size_t bytes_;
    char* data_;
};

bool is_zero(std::string_view bytes) {
    return bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

/// The disk's content, now and as of its last flush.
class Disk {
public:
    Disk(std::size_t bytes, unsigned seed)
        : bytes_(bytes), chance_(seed), now_(bytes), flushed_(bytes) {}

    std::size_t bytes() const { return bytes_; }

    std::vector<char> read(std::size_t offset, std::size_t count) {
        const std::lock_guard lock(mutex_);
        offset = std::min(offset, bytes_);
        count = std::min(count, bytes_ - offset);
        return {now_.at(offset), now_.at(offset) + count};
    }

    bool write(std::size_t offset, std::string_view data) {
        const std::lock_guard lock(mutex_);
        if (offset > bytes_ || data.size() > bytes_ - offset) return false;
        std::memcpy(now_.at(offset), data.data(), data.size());
        ++writes_;
        while (!data.empty()) {
            const std::size_t count = std::min(data.size(), kBlockBytes - offset % kBlockBytes);
            pending_.push_back({offset, std::string(data.substr(0, count))});
            data.remove_prefix(count);
            offset += count;
        }
        return true;
    }

    void flush() {
        const std::lock_guard lock(mutex_);
        for (const Block& block : pending_) put(flushed_, block);
        pending_.clear();
        ++flushes_;
    }

    std::string cut(const std::string& prefix) {
        // At one moment; the files are written while the disk stands still.
        const std::lock_guard lock(mutex_);
        timespec time{};
        ::clock_gettime(CLOCK_MONOTONIC, &time);
        Memory half(bytes_);
        std::memcpy(half.at(0), flushed_.at(0), bytes_);
        for (const Block& block : pending_) {
            if ((chance_() & 1U) != 0) put(half, block);
        }
        if (!save(flushed_, prefix + ".flushed") || !save(half, prefix + ".half") ||
            !save(now_, prefix + ".all")) {
            return std::string("failed: ") + std::strerror(errno);
        }
        char text[128];
        std::snprintf(text, sizeof text, "ok %lld.%09ld %zu %zu %zu",
                      static_cast<long long>(time.tv_sec), time.tv_nsec, writes_, flushes_,
                      pending_.size());
        return text;
    }

private:
    struct Block {
        std::size_t offset;
        std::string data;
    };

    static void put(Memory& image, const Block& block) {
        std::memcpy(image.at(block.offset), block.data.data(), block.data.size());
    }

    bool save(Memory& image, const std::string& path) const {
        const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0) return false;
        bool good = ::ftruncate(fd, static_cast<off_t>(bytes_)) == 0;
        constexpr std::size_t kChunkBytes = 64 << 10;
        for (std::size_t at = 0; good && at < bytes_; at += kChunkBytes) {
            const std::size_t count = std::min(kChunkBytes, bytes_ - at);
            if (is_zero({image.at(at), count})) continue;
            good = ::pwrite(fd, image.at(at), count, static_cast<off_t>(at)) ==
                   static_cast<ssize_t>(count);
        }
        ::close(fd);
        return good;
    }

    std::size_t bytes_;
    std::minstd_rand chance_;
    std::mutex mutex_;
    Memory now_;
    Memory flushed_;
    std::vector<Block> pending_;
    std::size_t writes_ = 0;
    std::size_t flushes_ = 0;
};

// --- FUSE ---

Disk& disk_of(fuse_req_t request) { return *static_cast<Disk*>(fuse_req_userdata(request)); }

struct stat attributes(fuse_req_t request, fuse_ino_t inode) {
    struct stat info {};
    info.st_ino = inode;
    info.st_nlink = 1;
    info.st_mode = inode == kDisk ? S_IFREG | 0600 : S_IFDIR | 0700;
    if (inode == kDisk) info.st_size = static_cast<off_t>(disk_of(request).bytes());
    return info;
}

void on_getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
    const struct stat info = attributes(request, inode);
    fuse_reply_attr(request, &info, kForEver);
}

void on_setattr(fuse_req_t request, fuse_ino_t inode, struct stat*, int, fuse_file_info* file) {
    on_getattr(request, inode, file);
}

void on_lookup(fuse_req_t request, fuse_ino_t, const char* name) {
    if (std::string_view(name) != "disk") {
        fuse_reply_err(request, ENOENT);
        return;
    }
    fuse_entry_param entry{};
    entry.ino = kDisk;
    entry.attr_timeout = entry.entry_timeout = kForEver;
    entry.attr = attributes(request, kDisk);
    fuse_reply_entry(request, &entry);
}

void on_open(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
    fuse_reply_open(request, file);
}

void on_read(fuse_req_t request, fuse_ino_t, std::size_t count, off_t offset, fuse_file_info*) {
    const auto data = disk_of(request).read(static_cast<std::size_t>(offset), count);
    fuse_reply_buf(request, data.data(), data.size());
}

void on_write(fuse_req_t request, fuse_ino_t, const char* data, std::size_t count, off_t offset,
              fuse_file_info*) {
    if (disk_of(request).write(static_cast<std::size_t>(offset), {data, count})) {
        fuse_reply_write(request, count);
    } else {
        fuse_reply_err(request, ENOSPC);
    }
}

void on_fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
    disk_of(request).flush();
    fuse_reply_err(request, 0);
}

/// A close, which promises nothing.
void on_flush(fuse_req_t request, fuse_ino_t, fuse_file_info*) { fuse_reply_err(request, 0); }

fuse_lowlevel_ops operations() {
    fuse_lowlevel_ops result{};
    result.lookup = on_lookup;
    result.getattr = on_getattr;
    result.setattr = on_setattr;
    result.open = on_open;
    result.read = on_read;
    result.write = on_write;
    result.flush = on_flush;
    result.fsync = on_fsync;
    return result;
}

/// Commands until the input ends.
void serve_commands(Disk& disk, fuse_session* session) {
    std::string line;
    while (std::getline(std::cin, line)) {
        if (line.starts_with("cut ")) {
            std::cout << disk.cut(line.substr(4)) << std::endl;
        } else {
            break;
        }
    }
    fuse_session_exit(session);
    fuse_session_unmount(session);  // ends the loop's wait for a request
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fputs(kHelp, argc == 2 && std::string_view(argv[1]) == "--help" ? stdout : stderr);
        return argc == 2 ? 0 : 2;
    }
    Disk disk(std::strtoull(argv[2], nullptr, 10) << 20,
              static_cast<unsigned>(std::strtoul(argv[3], nullptr, 10)));
    char* arguments[] = {argv[0], nullptr};
    fuse_args args = FUSE_ARGS_INIT(1, arguments);
    const fuse_lowlevel_ops all = operations();
    fuse_session* session = fuse_session_new(&args, &all, sizeof all, &disk);
    if (session == nullptr || fuse_session_mount(session, argv[1]) != 0) return 1;
    std::cout << "ready" << std::endl;
    std::thread commands([&] { serve_commands(disk, session); });
    fuse_session_loop(session);
    fuse_session_unmount(session);
    commands.join();
    fuse_session_destroy(session);
    return 0;
}
