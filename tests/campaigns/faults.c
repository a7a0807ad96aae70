/* Faults at the n-th operation on files below a folder: preloaded into the process under test.

   fault_arm(folder, at, kind, error, log) begins to count writes, flushes, renames and all else
   that changes the disk (for READ and HANG: reads). Each is logged; at operation number `at`:

   KILL   the process is killed, a write halfway through
   ONCE   the operation fails with `error`
   FULL   from here on whatever needs room fails with `error`, the first write halfway through
   DEAD   from here on every operation fails with `error`
   SHORT  a write takes only half, as it may
   READ   from here on every read fails with `error`
   HANG   a read never returns

   fault_clock(seconds) lets the wall clock go back by so many each time that it is read.        */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { NONE, KILL, ONCE, FULL, DEAD, SHORT, READ, HANG };
enum { PASS = 0, FAIL = 1, HALF = 2 };

#define MAX_FD 4096
#define REAL(name)                                                                        \
    ({                                                                                    \
        static __typeof__(&name) real;                                                    \
        if (!real)                                                                        \
            real = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                            \
        real;                                                                             \
    })

static char folder[4096];
static long fault_at;
static int fault_kind, fault_error, log_fd = -1;
static atomic_long count;
static unsigned char watched[MAX_FD];

void fault_arm(const char *where, long at, int kind, int error, int log) {
    fault_at = at, fault_kind = kind, fault_error = error, log_fd = log;
    count = 0;
    strncpy(folder, where, sizeof folder - 1);
}

static int below(const char *path) {
    size_t n = strlen(folder);
    return n && path && !strncmp(path, folder, n) && (path[n] == '/' || !path[n]);
}

static int is_watched(int fd) { return fd >= 0 && fd < MAX_FD && watched[fd]; }

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

/* Count an operation; tell what is to become of it. */
static int meet(const char *name, const char *path, int fd, int is_write, int needs_room) {
    char buffer[4400], link[64], target[4096];
    long number = atomic_fetch_add(&count, 1);
    if (fd >= 0) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, target, sizeof target - 1);
        target[n > 0 ? n : 0] = 0, path = target;
    }
    int length = snprintf(buffer, sizeof buffer, "%s %s\n", name, path);
    if (log_fd >= 0) syscall(SYS_write, log_fd, buffer, length);
    if (number < fault_at || fault_kind == NONE) return PASS;
    int is_first = number == fault_at, result = PASS;
    switch (fault_kind) {
    case KILL:
        if (is_write) return HALF;
        die();
    case ONCE: result = is_first ? FAIL : PASS; break;
    case HANG:
        while (is_first) pause();
        break;
    case SHORT: result = is_first && is_write ? HALF : PASS; break;
    case FULL: result = !needs_room ? PASS : is_first && is_write ? HALF : FAIL; break;
    default: result = FAIL;
    }
    if (result == FAIL) errno = fault_error;
    return result;
}

static int opened(int fd, const char *path) {
    if (fd >= 0 && fd < MAX_FD) watched[fd] = below(path);
    return fd;
}

#define OPEN(name, call)                                                                  \
    int name(const char *path, int flags, ...) {                                          \
        va_list list;                                                                     \
        va_start(list, flags);                                                            \
        int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, int) : 0;                 \
        va_end(list);                                                                     \
        if (fault_kind < READ && below(path) && flags & (O_WRONLY | O_RDWR | O_CREAT)    \
            && meet("open", path, -1, 0, flags & O_CREAT) == FAIL)                        \
            return -1;                                                                    \
        return opened(REAL(call)(path, flags, mode), path);                               \
    }
OPEN(open, open)
OPEN(open64, open64)

int openat(int at, const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, int) : 0;
    va_end(list);
    if (fault_kind < READ && below(path) && flags & (O_WRONLY | O_RDWR | O_CREAT)
        && meet("open", path, -1, 0, flags & O_CREAT) == FAIL)
        return -1;
    return opened(REAL(openat)(at, path, flags, mode), path);
}

int close(int fd) {
    if (is_watched(fd)) watched[fd] = 0;
    return REAL(close)(fd);
}

#define WRITE(name, parameters, call, half)                                               \
    ssize_t name parameters {                                                             \
        if (fault_kind >= READ || !is_watched(fd)) return REAL(name) call;                \
        int fate = meet("write", 0, fd, 1, 1);                                            \
        if (fate == FAIL) return -1;                                                      \
        if (fate == PASS || size < 2) return REAL(name) call;                             \
        ssize_t written = REAL(name) half;                                                \
        if (fault_kind == KILL) die();                                                    \
        return written;                                                                   \
    }
WRITE(write, (int fd, const void *data, size_t size), (fd, data, size), (fd, data, size / 2))
WRITE(pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at),
      (fd, data, size / 2, at))
WRITE(pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at),
      (fd, data, size / 2, at))
WRITE(writev, (int fd, const struct iovec *data, int size), (fd, data, size), (fd, data, size / 2))

#define READS(name, parameters, call)                                                     \
    ssize_t name parameters {                                                             \
        if (fault_kind >= READ && is_watched(fd) && meet("read", 0, fd, 0, 0) == FAIL)    \
            return -1;                                                                    \
        return REAL(name) call;                                                           \
    }
READS(read, (int fd, void *data, size_t size), (fd, data, size))
READS(pread, (int fd, void *data, size_t size, off_t at), (fd, data, size, at))
READS(pread64, (int fd, void *data, size_t size, off64_t at), (fd, data, size, at))
READS(preadv, (int fd, const struct iovec *data, int size, off_t at), (fd, data, size, at))
READS(preadv64, (int fd, const struct iovec *data, int size, off64_t at), (fd, data, size, at))
READS(preadv2, (int fd, const struct iovec *data, int size, off_t at, int flags),
      (fd, data, size, at, flags))
READS(preadv64v2, (int fd, const struct iovec *data, int size, off64_t at, int flags),
      (fd, data, size, at, flags))

#define CHANGE(name, parameters, call, is_ours, path, fd, needs_room)                     \
    int name parameters {                                                                 \
        if (fault_kind < READ && is_ours                                                 \
            && meet(#name, path, fd, 0, needs_room) == FAIL)                              \
            return -1;                                                                    \
        return REAL(name) call;                                                           \
    }
CHANGE(fsync, (int fd), (fd), is_watched(fd), 0, fd, 1)
CHANGE(fdatasync, (int fd), (fd), is_watched(fd), 0, fd, 1)
CHANGE(ftruncate, (int fd, off_t size), (fd, size), is_watched(fd), 0, fd, 1)
CHANGE(ftruncate64, (int fd, off64_t size), (fd, size), is_watched(fd), 0, fd, 1)
CHANGE(rename, (const char *from, const char *to), (from, to), below(to), to, -1, 0)
CHANGE(link, (const char *from, const char *to), (from, to), below(to), to, -1, 1)
CHANGE(unlink, (const char *path), (path), below(path), path, -1, 0)
CHANGE(mkdir, (const char *path, mode_t mode), (path, mode), below(path), path, -1, 1)
CHANGE(rmdir, (const char *path), (path), below(path), path, -1, 0)

static atomic_long clock_reads;
static long clock_step;

void fault_clock(long seconds) { clock_reads = 0, clock_step = seconds; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = REAL(clock_gettime)(clock, now);
    if (!result && clock_step && clock == CLOCK_REALTIME)
        now->tv_sec -= clock_step * (1 + atomic_fetch_add(&clock_reads, 1));
    return result;
}
