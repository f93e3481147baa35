/* Preloaded, makes the n-th call fail that changes a file under the folders of ANOMALY_UNDER (tests/anomaly.py).

   Without libdl and libc's start files, so that one build runs under every C library: the calls go to the kernel by syscall(). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* Shared by all processes through the file ANOMALY_PLAN; anomaly.py writes it and reads `count`. */
static struct plan { long count, fail_at, error, always; } *plan, none;
static const char *under;
static int journal = -1;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("ANOMALY_PLAN"), *notes = getenv("ANOMALY_JOURNAL");
    long fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    plan = &none;
    if (fd < 0) return;
    plan = (void *)syscall(SYS_mmap, 0, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    under = getenv("ANOMALY_UNDER");
    journal = notes ? syscall(SYS_openat, AT_FDCWD, notes, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
}

static int counts(const char *path) {
    for (const char *each = under; each && *each; ) {
        size_t length = strcspn(each, ":");
        if (!strncmp(path, each, length)) return 1;
        each += length + (each[length] == ':');
    }
    return 0;
}

/* The absolute path of `name` in directory `at`, or of the open file `fd` where `name` is null. */
static const char *whole(int fd, const char *name, char *out, size_t size) {
    char link[64];
    if (name && *name == '/') return name;
    if (name && fd == AT_FDCWD) strcpy(link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, out, size - 1);
    if (length < 0) return "";
    out[length] = 0;
    if (name) snprintf(out + length, size - length, "/%s", name);
    return out;
}

static long long size_of(int fd) {
    struct stat found;
    return syscall(SYS_fstat, fd, &found) ? 0 : (long long)found.st_size;
}

/* Whether this call fails. `what`: W(rite), S(ync), R(ename), O(ther), for the journal. */
static int fails(char what, int fd, const char *name, int tofd, const char *to) {
    char first[4200], second[4200], line[8500];
    if (plan == &none || !plan) return 0;
    const char *path = whole(fd, name, first, sizeof first);
    if (!counts(path)) return 0;
    long n = __atomic_add_fetch(&plan->count, 1, __ATOMIC_SEQ_CST);
    if (plan->fail_at && (n == plan->fail_at || (plan->always && n > plan->fail_at))) {
        if (plan->error < 0) syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
        errno = plan->error;
        return 1;
    }
    if (journal >= 0 && what != 'O') {
        if (what == 'S') snprintf(second, sizeof second, "%lld", size_of(fd));
        int length = snprintf(line, sizeof line, "%c\t%s\t%s\n", what, path, to ? whole(tofd, to, second, sizeof second) : what == 'S' ? second : "");
        syscall(SYS_write, journal, line, length);
    }
    return 0;
}

#define WRITES(name, arguments, ...) ssize_t name arguments { return fails('W', fd, 0, 0, 0) ? -1 : syscall(__VA_ARGS__); }
WRITES(write, (int fd, const void *p, size_t n), SYS_write, fd, p, n)
WRITES(writev, (int fd, const struct iovec *p, int n), SYS_writev, fd, p, n)
WRITES(pwrite, (int fd, const void *p, size_t n, off_t at), SYS_pwrite64, fd, p, n, at)
WRITES(pwrite64, (int fd, const void *p, size_t n, off_t at), SYS_pwrite64, fd, p, n, at)
WRITES(pwritev, (int fd, const struct iovec *p, int n, off_t at), SYS_pwritev, fd, p, n, at, at >> 32)
WRITES(pwritev64, (int fd, const struct iovec *p, int n, off_t at), SYS_pwritev, fd, p, n, at, at >> 32)
WRITES(sendfile, (int fd, int from, off_t *at, size_t n), SYS_sendfile, fd, from, at, n)
WRITES(sendfile64, (int fd, int from, off_t *at, size_t n), SYS_sendfile, fd, from, at, n)

#define CALL(what, name, arguments, ...) int name arguments { return fails(what, fd, 0, 0, 0) ? -1 : (int)syscall(__VA_ARGS__); }
CALL('W', ftruncate, (int fd, off_t n), SYS_ftruncate, fd, n)
CALL('W', ftruncate64, (int fd, off_t n), SYS_ftruncate, fd, n)
CALL('S', fsync, (int fd), SYS_fsync, fd)
CALL('S', fdatasync, (int fd), SYS_fdatasync, fd)

int renameat(int fd, const char *from, int tofd, const char *to) {
    return fails('R', fd, from, tofd, to) ? -1 : (int)syscall(SYS_renameat2, fd, from, tofd, to, 0);
}
int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }
int mkdir(const char *path, mode_t mode) { return fails('O', AT_FDCWD, path, 0, 0) ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode); }

static int opens(int fd, const char *path, int flags, mode_t mode) {
    if (((flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT) && fails(flags & O_TRUNC ? 'W' : 'O', fd, path, 0, 0)) return -1;
    return syscall(SYS_openat, fd, path, flags, mode);
}
#define MODE mode_t mode = 0; if (flags & O_CREAT) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *path, int flags, ...) { MODE return opens(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opens(AT_FDCWD, path, flags, mode); }
int openat(int fd, const char *path, int flags, ...) { MODE return opens(fd, path, flags, mode); }
int openat64(int fd, const char *path, int flags, ...) { MODE return opens(fd, path, flags, mode); }

void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset) {
    if (fd >= 0 && !(flags & MAP_ANONYMOUS) && fails('O', fd, 0, 0, 0)) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, n, protection, flags, fd, offset);
}
void *mmap64(void *at, size_t n, int protection, int flags, int fd, off_t offset) { return mmap(at, n, protection, flags, fd, offset); }
