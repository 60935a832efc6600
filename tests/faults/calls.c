/* calls.c -- the calls that are replaced: each asks pn_strike, then is made. See faults.h.
 *
 * Calls of the kernel are made directly. Memory comes from glibc's own names for its allocator, so
 * that nothing here is needed before it can be looked up. */
#define _GNU_SOURCE /* RTLD_NEXT, renameat2 */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/faults/faults.h"

/* The function that ours hides. */
#define REAL(f)                                                      \
    ({                                                               \
        static __typeof__(&f) found;                                 \
        if (!found) *(void **)(void *)&found = dlsym(RTLD_NEXT, #f); \
        found;                                                       \
    })

/* Returns `failed` from the caller if the call is struck and it counts. */
#define STRIKE(call, counts, failed)                                  \
    do {                                                              \
        const int with = (counts) ? pn_strike(PN_CALL_##call, 0) : 0; \
        if (with) {                                                   \
            errno = with;                                             \
            return failed;                                            \
        }                                                             \
    } while (0)

/* ---- memory ---------------------------------------------------------------------------------- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size) {
    STRIKE(malloc, true, NULL);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    STRIKE(calloc, true, NULL);
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    STRIKE(realloc, true, NULL);
    return __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t count, size_t size) {
    size_t bytes;
    STRIKE(reallocarray, true, NULL);
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t alignment, size_t size) {
    STRIKE(aligned_alloc, true, NULL);
    return __libc_memalign(alignment, size);
}

void *memalign(size_t alignment, size_t size) {
    STRIKE(memalign, true, NULL);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **to, size_t alignment, size_t size) {
    STRIKE(posix_memalign, true, with);
    void *p = __libc_memalign(alignment, size);
    if (!p) return ENOMEM;
    *to = p;
    return 0;
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    STRIKE(mmap, flags & MAP_ANONYMOUS || pn_fd_counts(fd), MAP_FAILED);
    if (pn_recording && flags & MAP_SHARED && protection & PROT_WRITE && pn_fd_counts(fd))
        pn_record_other("mmap");
    return REAL(mmap)(at, size, protection, flags, fd, offset);
}
void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset) {
    return mmap(at, size, protection, flags, fd, offset);
}

void *mremap(void *old, size_t old_size, size_t new_size, int flags, ...) {
    va_list more;
    va_start(more, flags);
    void *at = flags & MREMAP_FIXED ? va_arg(more, void *) : NULL;
    va_end(more);
    STRIKE(mremap, true, MAP_FAILED);
    return REAL(mremap)(old, old_size, new_size, flags, at);
}

int mprotect(void *at, size_t size, int protection) {
    STRIKE(mprotect, true, -1);
    return (int)syscall(SYS_mprotect, at, size, protection);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument) {
    const int with = pn_strike(PN_CALL_pthread_create, 0);
    return with ? with : REAL(pthread_create)(thread, attributes, run, argument);
}

/* ---- opening and closing --------------------------------------------------------------------- */

static int mode_of(int flags, va_list more) {
    return flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? va_arg(more, int) : 0;
}

static int open_at(enum pn_call call, int directory, const char *path, int flags, int mode) {
    const bool counts = pn_path_counts(directory, path);
    const int with = counts ? pn_strike(call, 0) : 0;
    if (with) {
        errno = with;
        return -1;
    }
    if (counts) pn_record_lock();
    const bool may_make = counts && pn_recording && flags & O_CREAT,
               there = may_make && pn_exists(directory, path);
    const int fd = (int)syscall(SYS_openat, directory, path, flags, mode);
    if (fd >= 0) {
        pn_fd_is(fd, counts);
        if (counts && pn_recording) {
            pn_record_forget(fd);
            if (may_make && !there) pn_record_create(directory, path);
            if (there && flags & O_TRUNC) pn_record_truncate(fd, 0);
            if (!may_make && flags & O_TRUNC) pn_record_truncate(fd, 0);
        }
    }
    if (counts) pn_record_unlock();
    return fd;
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const int mode = mode_of(flags, more);
    va_end(more);
    return open_at(PN_CALL_open, AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const int mode = mode_of(flags, more);
    va_end(more);
    return open_at(PN_CALL_open, AT_FDCWD, path, flags, mode);
}
int openat(int directory, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const int mode = mode_of(flags, more);
    va_end(more);
    return open_at(PN_CALL_openat, directory, path, flags, mode);
}
int openat64(int directory, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const int mode = mode_of(flags, more);
    va_end(more);
    return open_at(PN_CALL_openat, directory, path, flags, mode);
}
int creat(const char *path, mode_t mode) {
    return open_at(PN_CALL_open, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, (int)mode);
}
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* It closes even where it fails, as Linux does. */
int close(int fd) {
    const int with = pn_fd_counts(fd) ? pn_strike(PN_CALL_close, 0) : 0;
    pn_fd_is(fd, false);
    const int done = (int)syscall(SYS_close, fd);
    if (!with) return done;
    errno = with;
    return -1;
}

static int copied(int from, int fd) {
    if (fd >= 0) {
        pn_fd_is(fd, pn_fd_counts(from));
        if (pn_recording) pn_record_forget(fd);
    }
    return fd;
}

int dup(int fd) {
    STRIKE(dup, pn_fd_counts(fd), -1);
    return copied(fd, (int)syscall(SYS_dup, fd));
}
int dup2(int fd, int to) {
    STRIKE(dup2, pn_fd_counts(fd), -1);
    return copied(fd, fd == to ? to : (int)syscall(SYS_dup3, fd, to, 0));
}
int dup3(int fd, int to, int flags) {
    STRIKE(dup2, pn_fd_counts(fd), -1);
    return copied(fd, (int)syscall(SYS_dup3, fd, to, flags));
}

static int control(int fd, int command, void *argument) {
    STRIKE(fcntl, pn_fd_counts(fd), -1);
    const int result = (int)syscall(SYS_fcntl, fd, command, argument);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? copied(fd, result) : result;
}
int fcntl(int fd, int command, ...) {
    va_list more;
    va_start(more, command);
    void *argument = va_arg(more, void *);
    va_end(more);
    return control(fd, command, argument);
}
int fcntl64(int fd, int command, ...) {
    va_list more;
    va_start(more, command);
    void *argument = va_arg(more, void *);
    va_end(more);
    return control(fd, command, argument);
}

/* ---- reading and writing --------------------------------------------------------------------- */

/* As STRIKE, for a call that may be told to take half. */
#define STRIKE_SIZE(call, counts, size)                                    \
    do {                                                                   \
        const int with = (counts) ? pn_strike(PN_CALL_##call, (size)) : 0; \
        if (with == PN_HALF) {                                             \
            (size) /= 2;                                                   \
        } else if (with) {                                                 \
            errno = with;                                                  \
            return -1;                                                     \
        }                                                                  \
    } while (0)

ssize_t read(int fd, void *to, size_t size) {
    STRIKE_SIZE(read, pn_fd_counts(fd), size);
    return syscall(SYS_read, fd, to, size);
}
ssize_t __read_chk(int fd, void *to, size_t size, size_t room);
ssize_t __read_chk(int fd, void *to, size_t size, size_t room) {
    (void)room;
    return read(fd, to, size);
}
ssize_t pread(int fd, void *to, size_t size, off_t offset) {
    STRIKE_SIZE(pread, pn_fd_counts(fd), size);
    return syscall(SYS_pread64, fd, to, size, offset);
}
ssize_t pread64(int fd, void *to, size_t size, off64_t offset) {
    return pread(fd, to, size, offset);
}
ssize_t readv(int fd, const struct iovec *part, int count) {
    STRIKE(readv, pn_fd_counts(fd), -1);
    return syscall(SYS_readv, fd, part, count);
}

ssize_t write(int fd, const void *data, size_t size) {
    const bool counts = pn_fd_counts(fd);
    STRIKE_SIZE(write, counts, size);
    if (!counts || !pn_recording) return syscall(SYS_write, fd, data, size);
    pn_record_lock();
    const long long at = pn_write_offset(fd);
    const ssize_t n = syscall(SYS_write, fd, data, size);
    if (n > 0) pn_record_write(fd, at, data, (size_t)n);
    pn_record_unlock();
    return n;
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    const bool counts = pn_fd_counts(fd);
    STRIKE_SIZE(pwrite, counts, size);
    if (counts) pn_record_lock();
    const ssize_t n = syscall(SYS_pwrite64, fd, data, size, offset);
    if (counts && pn_recording && n > 0) pn_record_write(fd, offset, data, (size_t)n);
    if (counts) pn_record_unlock();
    return n;
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    return pwrite(fd, data, size, offset);
}

/* A short one takes half of its first part that is not empty. */
ssize_t writev(int fd, const struct iovec *part, int count) {
    const bool counts = pn_fd_counts(fd);
    int first = 0;
    while (first < count - 1 && part[first].iov_len == 0) first++;
    size_t size = count > 0 ? part[first].iov_len : 0;
    const size_t whole = size;
    STRIKE_SIZE(writev, counts, size);
    if (size < whole) {
        if (counts) pn_record_lock();
        const long long at = counts && pn_recording ? pn_write_offset(fd) : 0;
        const ssize_t n = syscall(SYS_write, fd, part[first].iov_base, size);
        if (counts && pn_recording && n > 0)
            pn_record_write(fd, at, part[first].iov_base, (size_t)n);
        if (counts) pn_record_unlock();
        return n;
    }
    if (counts) pn_record_lock();
    long long at = counts && pn_recording ? pn_write_offset(fd) : 0;
    const ssize_t n = syscall(SYS_writev, fd, part, count);
    size_t left = n > 0 ? (size_t)n : 0;
    for (int i = 0; counts && pn_recording && left > 0; i++) {
        const size_t piece = left < part[i].iov_len ? left : part[i].iov_len;
        pn_record_write(fd, at, part[i].iov_base, piece);
        at += (long long)piece;
        left -= piece;
    }
    if (counts) pn_record_unlock();
    return n;
}

off_t lseek(int fd, off_t offset, int whence) {
    STRIKE(lseek, pn_fd_counts(fd), -1);
    return syscall(SYS_lseek, fd, offset, whence);
}
off64_t lseek64(int fd, off64_t offset, int whence) { return lseek(fd, offset, whence); }

/* What Linux may have written is written, and is told to nobody: the next sync says nothing of it
 * either. So a failed one is not made. */
static int sync_fd(long number, int fd) {
    const bool counts = pn_fd_counts(fd);
    if (counts) pn_record_lock();
    const int done = (int)syscall(number, fd);
    if (counts && pn_recording && done == 0) pn_record_sync(fd);
    if (counts) pn_record_unlock();
    return done;
}
int fsync(int fd) {
    STRIKE(fsync, pn_fd_counts(fd), -1);
    return sync_fd(SYS_fsync, fd);
}
int fdatasync(int fd) {
    STRIKE(fdatasync, pn_fd_counts(fd), -1);
    return sync_fd(SYS_fdatasync, fd);
}

int ftruncate(int fd, off_t size) {
    const bool counts = pn_fd_counts(fd);
    STRIKE(ftruncate, counts, -1);
    if (counts) pn_record_lock();
    const int done = (int)syscall(SYS_ftruncate, fd, size);
    if (counts && pn_recording && done == 0) pn_record_truncate(fd, size);
    if (counts) pn_record_unlock();
    return done;
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int posix_fallocate(int fd, off_t offset, off_t size) {
    const int with = pn_fd_counts(fd) ? pn_strike(PN_CALL_posix_fallocate, 0) : 0;
    if (with) return with;
    if (pn_recording && pn_fd_counts(fd)) pn_record_other("posix_fallocate");
    return REAL(posix_fallocate)(fd, offset, size);
}

/* ---- names ----------------------------------------------------------------------------------- */

static int rename_at(enum pn_call call, int from_directory, const char *from, int to_directory,
                     const char *to, unsigned flags) {
    const bool counts = pn_path_counts(to_directory, to);
    const int with = counts ? pn_strike(call, 0) : 0;
    if (with) {
        errno = with;
        return -1;
    }
    pn_record_lock();
    const int done = (int)syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
    if (counts && pn_recording && done == 0) {
        pn_record_rename(from_directory, from, to_directory, to);
        if (flags & RENAME_EXCHANGE) pn_record_other("renameat2 that exchanges");
    }
    pn_record_unlock();
    return done;
}
int rename(const char *from, const char *to) {
    return rename_at(PN_CALL_rename, AT_FDCWD, from, AT_FDCWD, to, 0);
}
int renameat(int from_directory, const char *from, int to_directory, const char *to) {
    return rename_at(PN_CALL_renameat, from_directory, from, to_directory, to, 0);
}
int renameat2(int from_directory, const char *from, int to_directory, const char *to,
              unsigned flags) {
    return rename_at(PN_CALL_renameat2, from_directory, from, to_directory, to, flags);
}

static int link_at(enum pn_call call, int from_directory, const char *from, int to_directory,
                   const char *to, int flags) {
    const bool counts = pn_path_counts(to_directory, to);
    const int with = counts ? pn_strike(call, 0) : 0;
    if (with) {
        errno = with;
        return -1;
    }
    pn_record_lock();
    const int done = (int)syscall(SYS_linkat, from_directory, from, to_directory, to, flags);
    if (counts && pn_recording && done == 0) pn_record_create(to_directory, to);
    pn_record_unlock();
    return done;
}
int link(const char *from, const char *to) {
    return link_at(PN_CALL_link, AT_FDCWD, from, AT_FDCWD, to, 0);
}
int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags) {
    return link_at(PN_CALL_linkat, from_directory, from, to_directory, to, flags);
}

static int unlink_at(enum pn_call call, int directory, const char *path, int flags) {
    const bool counts = pn_path_counts(directory, path);
    const int with = counts ? pn_strike(call, 0) : 0;
    if (with) {
        errno = with;
        return -1;
    }
    pn_record_lock();
    const int done = (int)syscall(SYS_unlinkat, directory, path, flags);
    if (counts && pn_recording && done == 0) pn_record_unlink(directory, path);
    pn_record_unlock();
    return done;
}
int unlink(const char *path) { return unlink_at(PN_CALL_unlink, AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlink_at(PN_CALL_rmdir, AT_FDCWD, path, AT_REMOVEDIR); }
int unlinkat(int directory, const char *path, int flags) {
    return unlink_at(PN_CALL_unlinkat, directory, path, flags);
}
int remove(const char *path) {
    const int done = unlink_at(PN_CALL_remove, AT_FDCWD, path, 0);
    return done && errno == EISDIR ? rmdir(path) : done;
}

static int mkdir_at(enum pn_call call, int directory, const char *path, mode_t mode) {
    const bool counts = pn_path_counts(directory, path);
    const int with = counts ? pn_strike(call, 0) : 0;
    if (with) {
        errno = with;
        return -1;
    }
    pn_record_lock();
    const int done = (int)syscall(SYS_mkdirat, directory, path, mode);
    if (counts && pn_recording && done == 0) pn_record_mkdir(directory, path);
    pn_record_unlock();
    return done;
}
int mkdir(const char *path, mode_t mode) { return mkdir_at(PN_CALL_mkdir, AT_FDCWD, path, mode); }
int mkdirat(int directory, const char *path, mode_t mode) {
    return mkdir_at(PN_CALL_mkdirat, directory, path, mode);
}

/* ---- looking --------------------------------------------------------------------------------- */

/* Whether what is looked at counts; an empty path means the descriptor. */
static bool looks(int directory, const char *path) {
    return path && *path ? pn_path_counts(directory, path) : pn_fd_counts(directory);
}

int stat(const char *path, struct stat *s) {
    STRIKE(stat, pn_path_counts(AT_FDCWD, path), -1);
    return REAL(stat)(path, s);
}
int lstat(const char *path, struct stat *s) {
    STRIKE(lstat, pn_path_counts(AT_FDCWD, path), -1);
    return REAL(lstat)(path, s);
}
int fstat(int fd, struct stat *s) {
    STRIKE(fstat, pn_fd_counts(fd), -1);
    return REAL(fstat)(fd, s);
}
int fstatat(int directory, const char *path, struct stat *s, int flags) {
    STRIKE(fstatat, looks(directory, path), -1);
    return REAL(fstatat)(directory, path, s, flags);
}
int stat64(const char *path, struct stat64 *s) {
    STRIKE(stat, pn_path_counts(AT_FDCWD, path), -1);
    return REAL(stat64)(path, s);
}
int lstat64(const char *path, struct stat64 *s) {
    STRIKE(lstat, pn_path_counts(AT_FDCWD, path), -1);
    return REAL(lstat64)(path, s);
}
int fstat64(int fd, struct stat64 *s) {
    STRIKE(fstat, pn_fd_counts(fd), -1);
    return REAL(fstat64)(fd, s);
}
int fstatat64(int directory, const char *path, struct stat64 *s, int flags) {
    STRIKE(fstatat, looks(directory, path), -1);
    return REAL(fstatat64)(directory, path, s, flags);
}
int statx(int directory, const char *path, int flags, unsigned mask, struct statx *s) {
    STRIKE(statx, looks(directory, path), -1);
    return REAL(statx)(directory, path, flags, mask, s);
}

/* What programs call that were built with a glibc before 2.33. */
int __xstat(int version, const char *path, struct stat *s);
int __xstat(int version, const char *path, struct stat *s) {
    (void)version;
    return stat(path, s);
}
int __lxstat(int version, const char *path, struct stat *s);
int __lxstat(int version, const char *path, struct stat *s) {
    (void)version;
    return lstat(path, s);
}
int __fxstat(int version, int fd, struct stat *s);
int __fxstat(int version, int fd, struct stat *s) {
    (void)version;
    return fstat(fd, s);
}
int __fxstatat(int version, int directory, const char *path, struct stat *s, int flags);
int __fxstatat(int version, int directory, const char *path, struct stat *s, int flags) {
    (void)version;
    return fstatat(directory, path, s, flags);
}

int access(const char *path, int mode) {
    STRIKE(access, pn_path_counts(AT_FDCWD, path), -1);
    return REAL(access)(path, mode);
}
int faccessat(int directory, const char *path, int mode, int flags) {
    STRIKE(faccessat, pn_path_counts(directory, path), -1);
    return REAL(faccessat)(directory, path, mode, flags);
}
ssize_t readlink(const char *path, char *to, size_t size) {
    STRIKE(readlink, pn_path_counts(AT_FDCWD, path), -1);
    return REAL(readlink)(path, to, size);
}
ssize_t readlinkat(int directory, const char *path, char *to, size_t size) {
    STRIKE(readlink, pn_path_counts(directory, path), -1);
    return REAL(readlinkat)(directory, path, to, size);
}
char *realpath(const char *path, char *to) {
    STRIKE(realpath, pn_path_counts(AT_FDCWD, path), NULL);
    return REAL(realpath)(path, to);
}
int flock(int fd, int operation) {
    STRIKE(flock, pn_fd_counts(fd), -1);
    return (int)syscall(SYS_flock, fd, operation);
}
int fchmod(int fd, mode_t mode) {
    STRIKE(fchmod, pn_fd_counts(fd), -1);
    return (int)syscall(SYS_fchmod, fd, mode);
}
int chdir(const char *path) {
    STRIKE(chdir, pn_path_counts(AT_FDCWD, path), -1);
    return (int)syscall(SYS_chdir, path);
}
int fchdir(int fd) {
    STRIKE(fchdir, pn_fd_counts(fd), -1);
    return (int)syscall(SYS_fchdir, fd);
}

/* ---- directories ----------------------------------------------------------------------------- */

DIR *opendir(const char *path) {
    const bool counts = pn_path_counts(AT_FDCWD, path);
    STRIKE(opendir, counts, NULL);
    DIR *list = REAL(opendir)(path);
    if (list) pn_fd_is(dirfd(list), counts);
    return list;
}
DIR *fdopendir(int fd) {
    STRIKE(fdopendir, pn_fd_counts(fd), NULL);
    return REAL(fdopendir)(fd);
}
struct dirent *readdir(DIR *list) {
    STRIKE(readdir, pn_fd_counts(dirfd(list)), NULL);
    return REAL(readdir)(list);
}
struct dirent64 *readdir64(DIR *list) {
    STRIKE(readdir, pn_fd_counts(dirfd(list)), NULL);
    return REAL(readdir64)(list);
}
int closedir(DIR *list) {
    const int fd = dirfd(list), with = pn_fd_counts(fd) ? pn_strike(PN_CALL_closedir, 0) : 0;
    pn_fd_is(fd, false);
    const int done = REAL(closedir)(list);
    if (!with) return done;
    errno = with;
    return -1;
}
int scandir(const char *path, struct dirent ***list, int (*wanted)(const struct dirent *),
            int (*order)(const struct dirent **, const struct dirent **)) {
    STRIKE(scandir, pn_path_counts(AT_FDCWD, path), -1);
    return REAL(scandir)(path, list, wanted, order);
}

/* ---- stdio ----------------------------------------------------------------------------------- */

enum { ERROR_SEEN = 0x20 }; /* glibc's: ferror(file) is true */

static bool file_counts(FILE *file) { return file && pn_fd_counts(fileno(file)); }

/* Returns `failed` from the caller, the stream having had an error. */
#define STRIKE_FILE(call, file, failed)                                        \
    do {                                                                       \
        const int with = file_counts(file) ? pn_strike(PN_CALL_##call, 0) : 0; \
        if (with) {                                                            \
            (file)->_flags |= ERROR_SEEN;                                      \
            errno = with;                                                      \
            return failed;                                                     \
        }                                                                      \
    } while (0)

/* Makes a call on a stream and records what reached the disk by it. */
#define WRITTEN(type, file, call)                             \
    do {                                                      \
        if (!pn_recording || !file_counts(file)) return call; \
        pn_record_lock();                                     \
        const type made = call;                               \
        pn_record_growth(fileno(file));                       \
        pn_record_unlock();                                   \
        return made;                                          \
    } while (0)

FILE *fopen(const char *path, const char *mode) {
    const bool counts = pn_path_counts(AT_FDCWD, path);
    STRIKE(fopen, counts, NULL);
    if (counts) pn_record_lock();
    const bool there = counts && pn_recording && pn_exists(AT_FDCWD, path);
    FILE *file = REAL(fopen)(path, mode);
    if (file) {
        pn_fd_is(fileno(file), counts);
        if (counts && pn_recording) {
            pn_record_forget(fileno(file));
            if (!there)
                pn_record_create(AT_FDCWD, path);
            else if (*mode == 'w')
                pn_record_truncate(fileno(file), 0);
        }
    }
    if (counts) pn_record_unlock();
    return file;
}
FILE *fopen64(const char *path, const char *mode) { return fopen(path, mode); }
FILE *fdopen(int fd, const char *mode) {
    STRIKE(fdopen, pn_fd_counts(fd), NULL);
    return REAL(fdopen)(fd, mode);
}

/* What was buffered is lost where it fails, and the descriptor is closed. */
int fclose(FILE *file) {
    const bool counts = file_counts(file);
    const int fd = counts ? fileno(file) : -1, with = counts ? pn_strike(PN_CALL_fclose, 0) : 0;
    if (with)
        __fpurge(file);
    else if (counts)
        (void)REAL(fflush)(file);
    if (counts && pn_recording) {
        pn_record_lock();
        pn_record_growth(fd);
        pn_record_unlock();
    }
    pn_fd_is(fd, false);
    const int done = REAL(fclose)(file);
    if (!with) return done;
    errno = with;
    return EOF;
}

int fflush(FILE *file) {
    FILE *which = file ? file : stdout;
    STRIKE_FILE(fflush, which, EOF);
    WRITTEN(int, which, REAL(fflush)(file));
}
int fflush_unlocked(FILE *file) { return fflush(file); }

int vfprintf(FILE *file, const char *format, va_list arguments) {
    STRIKE_FILE(fprintf, file, -1);
    WRITTEN(int, file, REAL(vfprintf)(file, format, arguments));
}
int fprintf(FILE *file, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int n = vfprintf(file, format, arguments);
    va_end(arguments);
    return n;
}
int vprintf(const char *format, va_list arguments) { return vfprintf(stdout, format, arguments); }
int printf(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int n = vfprintf(stdout, format, arguments);
    va_end(arguments);
    return n;
}
int dprintf(int fd, const char *format, ...) {
    STRIKE(fprintf, pn_fd_counts(fd), -1);
    va_list arguments;
    va_start(arguments, format);
    if (pn_recording && pn_fd_counts(fd)) pn_record_other("dprintf");
    const int n = vdprintf(fd, format, arguments);
    va_end(arguments);
    return n;
}

/* What is called where the program was built with _FORTIFY_SOURCE. */
int __vfprintf_chk(FILE *file, int flag, const char *format, va_list arguments);
int __vfprintf_chk(FILE *file, int flag, const char *format, va_list arguments) {
    (void)flag;
    return vfprintf(file, format, arguments);
}
int __fprintf_chk(FILE *file, int flag, const char *format, ...);
int __fprintf_chk(FILE *file, int flag, const char *format, ...) {
    (void)flag;
    va_list arguments;
    va_start(arguments, format);
    const int n = vfprintf(file, format, arguments);
    va_end(arguments);
    return n;
}
int __printf_chk(int flag, const char *format, ...);
int __printf_chk(int flag, const char *format, ...) {
    (void)flag;
    va_list arguments;
    va_start(arguments, format);
    const int n = vfprintf(stdout, format, arguments);
    va_end(arguments);
    return n;
}
int __vprintf_chk(int flag, const char *format, va_list arguments);
int __vprintf_chk(int flag, const char *format, va_list arguments) {
    (void)flag;
    return vfprintf(stdout, format, arguments);
}

int fputs(const char *text, FILE *file) {
    STRIKE_FILE(fputs, file, EOF);
    WRITTEN(int, file, REAL(fputs)(text, file));
}
int puts(const char *text) {
    STRIKE_FILE(fputs, stdout, EOF);
    return REAL(puts)(text);
}
int fputc(int c, FILE *file) {
    STRIKE_FILE(fputc, file, EOF);
    WRITTEN(int, file, REAL(fputc)(c, file));
}
#undef putc
int putc(int c, FILE *file) { return fputc(c, file); }
#undef putchar
int putchar(int c) { return fputc(c, stdout); }
size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
    STRIKE_FILE(fwrite, file, 0);
    WRITTEN(size_t, file, REAL(fwrite)(data, size, count, file));
}

size_t fread(void *to, size_t size, size_t count, FILE *file) {
    STRIKE_FILE(fread, file, 0);
    return REAL(fread)(to, size, count, file);
}
char *fgets(char *to, int size, FILE *file) {
    STRIKE_FILE(fgets, file, NULL);
    return REAL(fgets)(to, size, file);
}
int fgetc(FILE *file) {
    STRIKE_FILE(fgetc, file, EOF);
    return REAL(fgetc)(file);
}
#undef getc
int getc(FILE *file) { return fgetc(file); }
ssize_t getline(char **line, size_t *room, FILE *file) {
    STRIKE_FILE(getline, file, -1);
    return REAL(getline)(line, room, file);
}
ssize_t getdelim(char **line, size_t *room, int end, FILE *file) {
    STRIKE_FILE(getline, file, -1);
    return REAL(getdelim)(line, room, end, file);
}
int fseek(FILE *file, long offset, int whence) {
    STRIKE_FILE(fseek, file, -1);
    WRITTEN(int, file, REAL(fseek)(file, offset, whence));
}
int fseeko(FILE *file, off_t offset, int whence) {
    STRIKE_FILE(fseek, file, -1);
    WRITTEN(int, file, REAL(fseeko)(file, offset, whence));
}
long ftell(FILE *file) {
    STRIKE_FILE(ftell, file, -1);
    return REAL(ftell)(file);
}
off_t ftello(FILE *file) {
    STRIKE_FILE(ftell, file, -1);
    return REAL(ftello)(file);
}
