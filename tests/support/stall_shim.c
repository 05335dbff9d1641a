// SPDX-License-Identifier: Apache-2.0
// Preloaded into the daemon, it plays a disk that stalls: while the file named by STALL_FILE
// exists, a flush does not return.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

typedef int (*flush_function)(int);

static void wait_while_stalled(void) {
    const char* file = getenv("STALL_FILE");
    const struct timespec pause = {0, 5000000};
    while (file != NULL && access(file, F_OK) == 0) nanosleep(&pause, NULL);
}

static int stalled_flush(const char* name, int fd) {
    wait_while_stalled();
    flush_function real = NULL;
    *(void**)&real = dlsym(RTLD_NEXT, name);
    return real(fd);
}

int fsync(int fd) { return stalled_flush("fsync", fd); }

int fdatasync(int fd) { return stalled_flush("fdatasync", fd); }
