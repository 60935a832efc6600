/* faults.h -- a library to preload into a program (LD_PRELOAD), which makes one of its calls of the
 * system fail, kills it before one, or records what it does to the file system. glibc on Linux.
 *
 *   PN_FAULT=WHAT:N:HOW[:ERROR]   the N-th call (from 1) of WHAT fails
 *     WHAT   a class: memory, files, threads; or a call by its name, as fsync
 *     HOW    once; on (from there on each); kill (SIGKILL just before it)
 *     ERROR  an errno (EIO, ENOSPC, EINTR ...) instead of what is usual for the call;
 *            short: half is read or written. EINTR and short count only calls that can end so.
 *   PN_FAULT_LOG=FILE    what was counted, and the call that failed with where it came from
 *   PN_FAULT_LIST=FILE   "NAME PLACE" for each call of WHAT; PLACE is a hash of the call stack
 *   PN_RECORD=FILE       each change of the file system, see record.h
 *
 * Calls count from the start of main to its end, so that what libraries do before is not hit; a
 * program that executes itself begins anew. Files count where they are the program's: not below
 * /proc, /sys, /dev, /usr, /lib, /etc, and not stdin and stderr. stdio does not call what we
 * replace, so its own calls are replaced: they fail as if the file beneath had failed. */
#ifndef PN_FAULTS_H
#define PN_FAULTS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

enum pn_class { PN_MEMORY, PN_FILES, PN_THREADS, PN_CLASSES };

/* How a call may end beside success and failure. */
enum { PN_NEITHER = 0, PN_INTERRUPTED = 1, PN_SHORT = 2 };

/* Name, class, the usual error, and how else it may end. Variants (open64, __fxstat, __printf_chk)
 * count under the plain name. */
#define PN_CALLS(X)                                        \
    X(malloc, PN_MEMORY, ENOMEM, PN_NEITHER)               \
    X(calloc, PN_MEMORY, ENOMEM, PN_NEITHER)               \
    X(realloc, PN_MEMORY, ENOMEM, PN_NEITHER)              \
    X(reallocarray, PN_MEMORY, ENOMEM, PN_NEITHER)         \
    X(aligned_alloc, PN_MEMORY, ENOMEM, PN_NEITHER)        \
    X(posix_memalign, PN_MEMORY, ENOMEM, PN_NEITHER)       \
    X(memalign, PN_MEMORY, ENOMEM, PN_NEITHER)             \
    X(mmap, PN_MEMORY, ENOMEM, PN_NEITHER)                 \
    X(mremap, PN_MEMORY, ENOMEM, PN_NEITHER)               \
    X(mprotect, PN_MEMORY, ENOMEM, PN_NEITHER)             \
    X(pthread_create, PN_THREADS, EAGAIN, PN_NEITHER)      \
    X(open, PN_FILES, EMFILE, PN_INTERRUPTED)              \
    X(openat, PN_FILES, EMFILE, PN_INTERRUPTED)            \
    X(read, PN_FILES, EIO, PN_INTERRUPTED | PN_SHORT)      \
    X(readv, PN_FILES, EIO, PN_INTERRUPTED)                \
    X(pread, PN_FILES, EIO, PN_INTERRUPTED | PN_SHORT)     \
    X(write, PN_FILES, ENOSPC, PN_INTERRUPTED | PN_SHORT)  \
    X(writev, PN_FILES, ENOSPC, PN_INTERRUPTED | PN_SHORT) \
    X(pwrite, PN_FILES, ENOSPC, PN_INTERRUPTED | PN_SHORT) \
    X(lseek, PN_FILES, EIO, PN_NEITHER)                    \
    X(fsync, PN_FILES, EIO, PN_INTERRUPTED)                \
    X(fdatasync, PN_FILES, EIO, PN_INTERRUPTED)            \
    X(ftruncate, PN_FILES, EIO, PN_INTERRUPTED)            \
    X(posix_fallocate, PN_FILES, ENOSPC, PN_INTERRUPTED)   \
    X(rename, PN_FILES, EIO, PN_NEITHER)                   \
    X(renameat, PN_FILES, EIO, PN_NEITHER)                 \
    X(renameat2, PN_FILES, EIO, PN_NEITHER)                \
    X(link, PN_FILES, EIO, PN_NEITHER)                     \
    X(linkat, PN_FILES, EIO, PN_NEITHER)                   \
    X(unlink, PN_FILES, EIO, PN_NEITHER)                   \
    X(unlinkat, PN_FILES, EIO, PN_NEITHER)                 \
    X(remove, PN_FILES, EIO, PN_NEITHER)                   \
    X(mkdir, PN_FILES, ENOSPC, PN_NEITHER)                 \
    X(mkdirat, PN_FILES, ENOSPC, PN_NEITHER)               \
    X(rmdir, PN_FILES, EIO, PN_NEITHER)                    \
    X(opendir, PN_FILES, EMFILE, PN_NEITHER)               \
    X(fdopendir, PN_FILES, EIO, PN_NEITHER)                \
    X(readdir, PN_FILES, EIO, PN_NEITHER)                  \
    X(scandir, PN_FILES, EIO, PN_NEITHER)                  \
    X(closedir, PN_FILES, EIO, PN_NEITHER)                 \
    X(stat, PN_FILES, EIO, PN_NEITHER)                     \
    X(lstat, PN_FILES, EIO, PN_NEITHER)                    \
    X(fstat, PN_FILES, EIO, PN_NEITHER)                    \
    X(fstatat, PN_FILES, EIO, PN_NEITHER)                  \
    X(statx, PN_FILES, EIO, PN_NEITHER)                    \
    X(access, PN_FILES, EIO, PN_NEITHER)                   \
    X(faccessat, PN_FILES, EIO, PN_NEITHER)                \
    X(readlink, PN_FILES, EIO, PN_NEITHER)                 \
    X(realpath, PN_FILES, EIO, PN_NEITHER)                 \
    X(flock, PN_FILES, ENOLCK, PN_INTERRUPTED)             \
    X(fcntl, PN_FILES, ENOLCK, PN_NEITHER)                 \
    X(fchmod, PN_FILES, EIO, PN_NEITHER)                   \
    X(chdir, PN_FILES, EIO, PN_NEITHER)                    \
    X(fchdir, PN_FILES, EIO, PN_NEITHER)                   \
    X(close, PN_FILES, EIO, PN_NEITHER)                    \
    X(dup, PN_FILES, EMFILE, PN_NEITHER)                   \
    X(dup2, PN_FILES, EMFILE, PN_NEITHER)                  \
    X(fopen, PN_FILES, EMFILE, PN_INTERRUPTED)             \
    X(fdopen, PN_FILES, EMFILE, PN_NEITHER)                \
    X(fclose, PN_FILES, EIO, PN_NEITHER)                   \
    X(fflush, PN_FILES, ENOSPC, PN_INTERRUPTED)            \
    X(fprintf, PN_FILES, ENOSPC, PN_NEITHER)               \
    X(fputs, PN_FILES, ENOSPC, PN_NEITHER)                 \
    X(fputc, PN_FILES, ENOSPC, PN_NEITHER)                 \
    X(fwrite, PN_FILES, ENOSPC, PN_NEITHER)                \
    X(fread, PN_FILES, EIO, PN_NEITHER)                    \
    X(fgets, PN_FILES, EIO, PN_NEITHER)                    \
    X(fgetc, PN_FILES, EIO, PN_NEITHER)                    \
    X(getline, PN_FILES, EIO, PN_NEITHER)                  \
    X(fseek, PN_FILES, EIO, PN_NEITHER)                    \
    X(ftell, PN_FILES, EIO, PN_NEITHER)

#define PN_NAME_OF_CALL(name, class, error, ends) PN_CALL_##name,
enum pn_call { PN_CALLS(PN_NAME_OF_CALL) PN_CALL_COUNT };
#undef PN_NAME_OF_CALL

/* Counts a call. 0: it is to be made; an errno: it fails with that; PN_HALF: make it with half the
 * size (which is 2 or more). Keeps errno. */
enum { PN_HALF = -1 };
int pn_strike(enum pn_call call, size_t size);

/* Whether a file counts. */
bool pn_path_counts(int directory, const char *path);
bool pn_fd_counts(int fd);
void pn_fd_is(int fd, bool counts); /* from now on */

/* What a library makes for itself while a call is under way does not count. */
void pn_begin_own(void);
void pn_end_own(void);

/* ---- record.c -------------------------------------------------------------------------------- */

extern bool pn_recording;
void pn_record_begin(void); /* before main */

/* Around a call that changes something; nothing else is recorded meanwhile. */
void pn_record_lock(void);
void pn_record_unlock(void);

/* Whether a name exists, asked before it is opened. */
bool pn_exists(int directory, const char *path);
void pn_record_create(int directory, const char *path); /* of the file that is there now */
void pn_record_mkdir(int directory, const char *path);
void pn_record_unlink(int directory, const char *path);
void pn_record_rename(int from_directory, const char *from, int to_directory, const char *to);
void pn_record_write(int fd, long long offset, const void *data, size_t size);
void pn_record_truncate(int fd, long long size);
void pn_record_sync(int fd);
void pn_record_other(const char *what);

/* Where the next write goes. */
long long pn_write_offset(int fd);

/* Whatever stdio has written since the last look. */
void pn_record_growth(int fd);
void pn_record_forget(int fd); /* it was opened: the last look is now */

#endif
