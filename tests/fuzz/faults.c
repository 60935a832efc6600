/* faults.c -- stands before every call that can fail (ld --wrap) and lets the k-th of them fail.
 *
 * Of the thread that armed it alone: which call is the k-th must not hang on another thread. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#include <zlib.h>

#include "tests/fuzz/harness.h"

static _Thread_local bool armed;
static _Thread_local long calls, fails;
static _Thread_local fuzz_kind failed;
static _Thread_local bool zlib_failed;

void fuzz_arm(long fail) {
    calls = 0;
    fails = fail;
    failed = FUZZ_NONE;
    zlib_failed = false;
    armed = true;
}
void fuzz_disarm(void) { armed = false; }
void fuzz_pause(void) { armed = false; }
void fuzz_resume(void) { armed = true; }
long fuzz_calls(void) { return calls; }
fuzz_kind fuzz_failed(void) { return failed; }

static bool fail(fuzz_kind kind) {
    if (!armed || ++calls != fails) return false;
    failed = kind;
    errno = kind == FUZZ_MEMORY ? ENOMEM : EIO;
    return true;
}

/* NAME(arguments) of the libraries comes here, __real_NAME is the one it would have been. */
#define FAULT(kind, type, otherwise, name, parameters, arguments) \
    type __real_##name parameters;                                \
    type __wrap_##name parameters;                                \
    type __wrap_##name parameters { return fail(kind) ? (otherwise) : __real_##name arguments; }

FAULT(FUZZ_MEMORY, void *, NULL, malloc, (size_t n), (n))
FAULT(FUZZ_MEMORY, void *, NULL, calloc, (size_t n, size_t size), (n, size))
FAULT(FUZZ_MEMORY, void *, NULL, realloc, (void *p, size_t n), (p, n))
FAULT(FUZZ_MEMORY, void *, NULL, aligned_alloc, (size_t align, size_t n), (align, n))
FAULT(FUZZ_MEMORY, char *, NULL, strdup, (const char *text), (text))
FAULT(FUZZ_MEMORY, char *, NULL, strndup, (const char *text, size_t n), (text, n))
FAULT(FUZZ_IO, ssize_t, -1, read, (int fd, void *to, size_t n), (fd, to, n))
FAULT(FUZZ_IO, ssize_t, -1, write, (int fd, const void *from, size_t n), (fd, from, n))
FAULT(FUZZ_IO, int, -1, fsync, (int fd), (fd))
FAULT(FUZZ_IO, int, -1, ftruncate, (int fd, off_t size), (fd, size))
FAULT(FUZZ_IO, int, -1, fstat, (int fd, struct stat *about), (fd, about))
FAULT(FUZZ_IO, int, -1, stat, (const char *path, struct stat *about), (path, about))
FAULT(FUZZ_IO, int, -1, fstatat, (int at, const char *path, struct stat *about, int flags),
      (at, path, about, flags))
FAULT(FUZZ_IO, int, -1, fchmod, (int fd, mode_t mode), (fd, mode))
FAULT(FUZZ_IO, int, -1, renameat, (int at, const char *from, int to_at, const char *to),
      (at, from, to_at, to))
FAULT(FUZZ_IO, int, -1, unlinkat, (int at, const char *path, int flags), (at, path, flags))
FAULT(FUZZ_IO, off_t, -1, lseek, (int fd, off_t to, int from), (fd, to, from))
FAULT(FUZZ_IO, struct dirent *, NULL, readdir, (DIR * list), (list))
FAULT(FUZZ_MEMORY, DIR *, NULL, fdopendir, (int fd), (fd))
FAULT(FUZZ_MEMORY, char *, NULL, realpath, (const char *path, char *to), (path, to))
FAULT(FUZZ_MEMORY, gzFile, NULL, gzopen, (const char *path, const char *mode), (path, mode))

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
    va_end(list);
    return fail(FUZZ_IO) ? -1 : __real_open(path, flags, mode);
}

int __real_openat(int at, const char *path, int flags, ...);
int __wrap_openat(int at, const char *path, int flags, ...);
int __wrap_openat(int at, const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
    va_end(list);
    return fail(FUZZ_IO) ? -1 : __real_openat(at, path, flags, mode);
}

/* zlib allocates in its first read. */
int __real_gzread(gzFile file, voidp to, unsigned n);
int __wrap_gzread(gzFile file, voidp to, unsigned n);
int __wrap_gzread(gzFile file, voidp to, unsigned n) {
    if (!fail(FUZZ_MEMORY)) return __real_gzread(file, to, n);
    zlib_failed = true;
    return -1;
}

const char *__real_gzerror(gzFile file, int *code);
const char *__wrap_gzerror(gzFile file, int *code);
const char *__wrap_gzerror(gzFile file, int *code) {
    if (!zlib_failed) return __real_gzerror(file, code);
    *code = Z_MEM_ERROR;
    return "out of memory";
}
