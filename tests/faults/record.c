/* record.c -- writes down what a program does to the file system. See record.h.
 *
 * Calls of the kernel are made directly: the functions of libc's names are ours. */
#define _GNU_SOURCE /* O_PATH */
#include "tests/faults/record.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/faults/faults.h"

enum { PATH_BYTES = 4096, MOST_FDS = 4096, CHUNK = 1 << 16 };

bool pn_recording;
static int record_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long long looked_at[MOST_FDS]; /* the size of a file that stdio writes, at the last look */

void pn_record_lock(void) {
    if (pn_recording) pthread_mutex_lock(&lock);
}

void pn_record_unlock(void) {
    if (pn_recording) pthread_mutex_unlock(&lock);
}

void pn_record_begin(void) {
    const char *path = getenv("PN_RECORD");
    if (!path) return;
    const long fd =
        syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    record_fd = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 900);
    syscall(SYS_close, fd);
    pn_recording = record_fd >= 0;
}

static void put(const pn_record *r, const char *names, const void *data) {
    struct iovec part[3] = {
        {(void *)r, sizeof *r}, {(void *)names, r->names}, {(void *)data, r->size}};
    const int before = errno;
    const size_t size = sizeof *r + r->names + r->size;
    if (syscall(SYS_writev, record_fd, part, 3) != (long)size) abort();
    errno = before;
}

static bool about(int directory, const char *path, int flags, struct stat *s) {
    pn_begin_own();
    const int before = errno;
    const bool there = *path ? fstatat(directory, path, s, flags) == 0 : fstat(directory, s) == 0;
    errno = before;
    pn_end_own();
    return there;
}

bool pn_exists(int directory, const char *path) {
    struct stat s;
    return about(directory, path, AT_SYMLINK_NOFOLLOW, &s);
}

/* The directory that holds a path, and the last part of it. */
static uint64_t parent(int directory, const char *path, const char **name) {
    char above[PATH_BYTES];
    struct stat s;
    size_t n = strlen(path);
    if (n + 2 > sizeof above) abort();
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    if (slash == path)
        strcpy(above, "/");
    else if (slash)
        memcpy(above, path, (size_t)(slash - path)), above[slash - path] = 0;
    else
        strcpy(above, ".");
    return about(directory, above, 0, &s) ? (uint64_t)s.st_ino : 0;
}

static void put_name(enum pn_record_kind kind, int directory, const char *path) {
    struct stat s = {0};
    const char *name;
    pn_record r = {.kind = kind, .directory = parent(directory, path, &name)};
    if (kind != PN_DID_UNLINK && about(directory, path, AT_SYMLINK_NOFOLLOW, &s)) {
        r.device = s.st_dev;
        r.inode = s.st_ino;
    }
    r.names = (uint32_t)strlen(name) + 1;
    put(&r, name, NULL);
}

void pn_record_create(int directory, const char *path) { put_name(PN_DID_CREATE, directory, path); }
void pn_record_mkdir(int directory, const char *path) { put_name(PN_DID_MKDIR, directory, path); }
void pn_record_unlink(int directory, const char *path) { put_name(PN_DID_UNLINK, directory, path); }

void pn_record_rename(int from_directory, const char *from, int to_directory, const char *to) {
    struct stat s = {0};
    const char *old, *new;
    char names[2 * PATH_BYTES];
    pn_record r = {.kind = PN_DID_RENAME,
                   .directory = parent(from_directory, from, &old),
                   .other = parent(to_directory, to, &new)};
    (void)about(to_directory, to, AT_SYMLINK_NOFOLLOW, &s);
    r.device = s.st_dev;
    r.inode = s.st_ino;
    const size_t a = strlen(old) + 1, b = strlen(new) + 1;
    memcpy(names, old, a);
    memcpy(names + a, new, b);
    r.names = (uint32_t)(a + b);
    put(&r, names, NULL);
}

/* Whether it is a file or directory of the disk; then with its inode. */
static bool known(int fd, pn_record *r) {
    struct stat s;
    if (!about(fd, "", 0, &s) || (!S_ISREG(s.st_mode) && !S_ISDIR(s.st_mode))) return false;
    r->device = s.st_dev;
    r->inode = s.st_ino;
    return true;
}

long long pn_write_offset(int fd) {
    struct stat s;
    const int before = errno;
    const long flags = syscall(SYS_fcntl, fd, F_GETFL);
    const long long at =
        flags & O_APPEND && about(fd, "", 0, &s) ? s.st_size : syscall(SYS_lseek, fd, 0L, 1);
    errno = before;
    return at;
}

void pn_record_write(int fd, long long offset, const void *data, size_t size) {
    pn_record r = {.kind = PN_DID_WRITE, .offset = offset, .size = size};
    if (known(fd, &r)) put(&r, "", data);
    const long long end = offset + (long long)size;
    if (fd >= 0 && fd < MOST_FDS && looked_at[fd] < end) looked_at[fd] = end;
}

void pn_record_truncate(int fd, long long size) {
    pn_record r = {.kind = PN_DID_TRUNCATE, .offset = size};
    if (known(fd, &r)) put(&r, "", NULL);
    if (fd >= 0 && fd < MOST_FDS) looked_at[fd] = size;
}

void pn_record_sync(int fd) {
    pn_record r = {.kind = PN_DID_SYNC};
    if (known(fd, &r)) put(&r, "", NULL);
}

void pn_record_other(const char *what) {
    const pn_record r = {.kind = PN_DID_OTHER, .names = (uint32_t)strlen(what) + 1};
    put(&r, what, NULL);
}

void pn_record_forget(int fd) {
    struct stat s;
    if (fd >= 0 && fd < MOST_FDS && about(fd, "", 0, &s)) looked_at[fd] = s.st_size;
}

/* stdio only appends here: what was not there at the last look is what it wrote. */
void pn_record_growth(int fd) {
    char name[64], data[CHUNK];
    struct stat s;
    const int before = errno;
    if (fd < 0 || fd >= MOST_FDS || !about(fd, "", 0, &s) || !S_ISREG(s.st_mode)) return;
    int at = (int)sizeof name; /* "/proc/self/fd/N" by hand: printf is ours as well */
    name[--at] = 0;
    for (int n = fd; n > 0 || at == (int)sizeof name - 1; n /= 10)
        name[--at] = (char)('0' + n % 10);
    at -= 14;
    memcpy(name + at, "/proc/self/fd/", 14);
    const long in = looked_at[fd] < s.st_size
                        ? syscall(SYS_openat, AT_FDCWD, name + at, O_RDONLY | O_CLOEXEC, 0)
                        : -1;
    while (in >= 0 && looked_at[fd] < s.st_size) {
        const long n = syscall(SYS_pread64, in, data, sizeof data, looked_at[fd]);
        if (n <= 0) abort();
        pn_record_write(fd, looked_at[fd], data, (size_t)n);
    }
    if (in >= 0) syscall(SYS_close, in);
    errno = before;
}
