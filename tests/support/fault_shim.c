// SPDX-License-Identifier: Apache-2.0
// Preloaded into the daemon, it plays a disk with faults. The file named by FAULT_FILE holds one rule
// on each line, "CALL ERRNO TEXT": while the rule stands there, that call fails with that error on
// every file whose path contains the text. Calls: write, flush, create (also rename and remove), read.
//
// FAULT_BOOT_ID names a file that is read in the place of the kernel's boot id: a machine that was
// switched off. FAULT_MAP_BYTES: the size of LMDB's map, whatever the daemon asks for.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char* const kBootId = "/proc/sys/kernel/random/boot_id";

/// The error for this call on this path; 0 where it may go on.
static int fault_of(const char* call, const char* path) {
    const char* rules = getenv("FAULT_FILE");
    if (rules == NULL || path == NULL) return 0;
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, rules, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return 0;
    char text[4096];
    const ssize_t size = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    if (size <= 0) return 0;
    text[size] = '\0';
    char* rest = NULL;
    for (char* line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        char name[16];
        char part[256];
        int code = 0;
        if (sscanf(line, "%15s %d %255s", name, &code, part) == 3 && strcmp(name, call) == 0 &&
            strstr(path, part) != NULL) {
            return code;
        }
    }
    return 0;
}

static int fault_of_descriptor(const char* call, int fd) {
    char link[64];
    char path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = '\0';
    return fault_of(call, path);
}

#define FAIL_IF(fault)           \
    do {                         \
        const int code = fault;  \
        if (code != 0) {         \
            errno = code;        \
            return -1;           \
        }                        \
    } while (0)

ssize_t pwrite(int fd, const void* data, size_t bytes, off_t at) {
    FAIL_IF(fault_of_descriptor("write", fd));
    return syscall(SYS_pwrite64, fd, data, bytes, at);
}

ssize_t pwrite64(int fd, const void* data, size_t bytes, off64_t at) {
    return pwrite(fd, data, bytes, at);
}

ssize_t writev(int fd, const struct iovec* parts, int count) {
    FAIL_IF(fault_of_descriptor("write", fd));
    return syscall(SYS_writev, fd, parts, count);
}

ssize_t pread(int fd, void* data, size_t bytes, off_t at) {
    FAIL_IF(fault_of_descriptor("read", fd));
    return syscall(SYS_pread64, fd, data, bytes, at);
}

ssize_t pread64(int fd, void* data, size_t bytes, off64_t at) { return pread(fd, data, bytes, at); }

int fdatasync(int fd) {
    FAIL_IF(fault_of_descriptor("flush", fd));
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
    FAIL_IF(fault_of_descriptor("flush", fd));
    return (int)syscall(SYS_fsync, fd);
}

int posix_fallocate(int fd, off_t offset, off_t bytes) {
    const int code = fault_of_descriptor("write", fd);
    if (code != 0) return code;
    int (*real)(int, off_t, off_t) = NULL;
    *(void**)&real = dlsym(RTLD_NEXT, "posix_fallocate");
    return real(fd, offset, bytes);
}

int posix_fallocate64(int fd, off64_t offset, off64_t bytes) {
    return posix_fallocate(fd, offset, bytes);
}

int rename(const char* from, const char* to) {
    FAIL_IF(fault_of("create", to));
    return (int)syscall(SYS_rename, from, to);
}

int unlink(const char* path) {
    struct stat info;
    if (lstat(path, &info) == 0) FAIL_IF(fault_of("create", path));
    return (int)syscall(SYS_unlink, path);
}

static int creates(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

int open(const char* path, int flags, ...) {
    mode_t mode = 0;
    if (creates(flags)) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
        FAIL_IF(fault_of("create", path));
    }
    const char* boot_id = getenv("FAULT_BOOT_ID");
    if (boot_id != NULL && strcmp(path, kBootId) == 0) path = boot_id;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char* path, int flags, ...) {
    mode_t mode = 0;
    if (creates(flags)) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    return open(path, flags, mode);
}

int mdb_env_set_mapsize(void* environment, size_t bytes) {
    const char* asked = getenv("FAULT_MAP_BYTES");
    if (asked != NULL) bytes = strtoull(asked, NULL, 10);
    int (*real)(void*, size_t) = NULL;
    *(void**)&real = dlsym(RTLD_NEXT, "mdb_env_set_mapsize");
    return real(environment, bytes);
}
