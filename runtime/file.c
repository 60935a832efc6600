/* file.c -- reading, replacing and appending to files. */
#include "runtime/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TMP ".tmp"

static pn_status fail_io(const char *path, const char *what) {
    return pn_fail(PN_EIO, "%s: %s: %s", path, what, strerror(errno));
}

static pn_status no_memory(const char *path, size_t bytes) {
    return pn_fail(PN_EMEM, "%s: no memory for %zu bytes", path, bytes);
}

/* Writes all of it; -1 with errno if that cannot be. */
static int write_all(int fd, const void *data, size_t size) {
    const char *at = data;
    while (size > 0) {
        ssize_t n = write(fd, at, size < SSIZE_MAX ? size : SSIZE_MAX);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

/* ==== Reading ==== */

pn_status pn_file_read(const char *path, size_t limit, void **data, size_t *size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail_io(path, "cannot open");

    struct stat info;
    size_t used = 0, room = 65536;
    if (fstat(fd, &info) == 0 && info.st_size > 0 && (size_t)info.st_size <= limit)
        room = (size_t)info.st_size + 2; /* one for the 0, one to see the end without growing */
    char *buffer = malloc(room);
    if (!buffer) {
        close(fd);
        return no_memory(path, room);
    }
    pn_status status = PN_OK;
    while (status == PN_OK) {
        ssize_t n = read(fd, buffer + used, room - used - 1);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) break;
        if (n < 0) {
            status = fail_io(path, "cannot read");
            break;
        }
        used += (size_t)n;
        if (used > limit)
            status = pn_fail(PN_EINPUT, "%s: longer than %zu bytes, the most that such a file has",
                             path, limit);
        if (used + 1 < room) continue;
        char *larger = realloc(buffer, 2 * room);
        if (larger)
            buffer = larger;
        else
            status = no_memory(path, 2 * room);
        room *= 2;
    }
    close(fd);
    if (status != PN_OK) {
        free(buffer);
        return status;
    }
    buffer[used] = 0;
    *data = buffer;
    *size = used;
    return PN_OK;
}

/* ==== Replacing ==== */

struct pn_writer {
    int fd;
    char *path; /* links resolved */
    char *tmp;  /* NULL: written directly (a device or a pipe) */
};

/* Opens TMP and holds it, so that two processes do not write into the same one. Its owner may
 * have given it its final name between our open and our lock; then the name is looked up anew. */
static int open_locked(const char *tmp) {
    for (;;) {
        int fd = open(tmp, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd < 0) return -1;
        struct stat held, named;
        if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
            close(fd);
            errno = EWOULDBLOCK;
            return -1;
        }
        if (fstat(fd, &held) == 0 && stat(tmp, &named) == 0 && held.st_ino == named.st_ino &&
            held.st_dev == named.st_dev)
            return fd;
        close(fd);
    }
}

static void writer_free(pn_writer *out) {
    if (out->fd >= 0) close(out->fd);
    free(out->path);
    free(out->tmp);
    free(out);
}

static pn_status writer_open(const char *path, pn_writer *out) {
    struct stat info;
    int there = stat(path, &info) == 0;
    out->path = there ? realpath(path, NULL) : strdup(path);
    if (!out->path) return fail_io(path, "cannot write");
    if (there && S_ISDIR(info.st_mode)) {
        errno = EISDIR;
        return fail_io(path, "cannot write");
    }
    if (there && !S_ISREG(info.st_mode)) {
        out->fd = open(path, O_WRONLY | O_CLOEXEC);
        return out->fd < 0 ? fail_io(path, "cannot write") : PN_OK;
    }

    size_t length = strlen(out->path) + sizeof TMP;
    char *tmp = malloc(length);
    if (!tmp) return pn_fail(PN_EMEM, "%s: no memory for its name", path);
    snprintf(tmp, length, "%s" TMP, out->path);
    out->fd = open_locked(tmp);
    if (out->fd < 0) {
        int busy = errno == EWOULDBLOCK;
        free(tmp);
        if (busy) return pn_fail(PN_EBUSY, "%s: another process is writing it", path);
        return fail_io(path, "cannot write");
    }
    out->tmp = tmp;
    if (ftruncate(out->fd, 0) != 0) return fail_io(path, "cannot write");
    if (there && fchmod(out->fd, info.st_mode & 0777) != 0) return fail_io(path, "cannot write");
    return PN_OK;
}

pn_status pn_writer_open(const char *path, pn_writer **result) {
    pn_writer *out = calloc(1, sizeof *out);
    if (!out) return pn_fail(PN_EMEM, "%s: no memory to write it", path);
    out->fd = -1;
    pn_status status = writer_open(path, out);
    if (status == PN_OK)
        *result = out;
    else
        pn_writer_discard(out);
    return status;
}

pn_status pn_writer_write(pn_writer *out, const void *data, size_t size) {
    if (write_all(out->fd, data, size) != 0) return fail_io(out->path, "cannot write");
    return PN_OK;
}

void pn_writer_discard(pn_writer *out) {
    if (!out) return;
    if (out->tmp) unlink(out->tmp); /* while it is locked: afterwards it may be another's */
    writer_free(out);
}

/* Flushes the directory that holds PATH, so that the new name outlives a crash. File systems that
 * cannot do that (EINVAL, ENOTSUP) are not held against the file, which is complete. */
static int sync_directory(const char *path) {
    const char *slash = strrchr(path, '/');
    char *name = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!name) return -1;
    int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(name);
    if (fd < 0) return errno == EACCES ? 0 : -1; /* may be written but not listed */
    int failed = fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP;
    int reason = errno;
    close(fd);
    errno = reason;
    return failed ? -1 : 0;
}

pn_status pn_writer_commit(pn_writer *out) {
    pn_status status = PN_OK;
    if (!out->tmp) {
        if (close(out->fd) != 0) status = fail_io(out->path, "cannot write");
        out->fd = -1;
        writer_free(out);
        return status;
    }
    if (fsync(out->fd) != 0 || rename(out->tmp, out->path) != 0) {
        status = fail_io(out->path, "cannot write");
        pn_writer_discard(out);
        return status;
    }
    if (sync_directory(out->path) != 0) status = fail_io(out->path, "cannot flush its directory");
    writer_free(out);
    return status;
}

pn_status pn_file_write(const char *path, const void *data, size_t size) {
    pn_writer *out = NULL;
    pn_status status = pn_writer_open(path, &out);
    if (!out) return status;
    status = pn_writer_write(out, data, size);
    if (status == PN_OK) return pn_writer_commit(out);
    pn_writer_discard(out);
    return status;
}

/* ==== Tables ==== */

struct pn_table {
    FILE *file;
    char *path;
    int64_t size;
};

static pn_status table_open(const char *path, int64_t keep, pn_table *table) {
    table->path = strdup(path);
    if (!table->path) return pn_fail(PN_EMEM, "%s: no memory for its name", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) return fail_io(path, "cannot open");
    table->file = fdopen(fd, "a");
    if (!table->file) {
        close(fd);
        return pn_fail(PN_EMEM, "%s: no memory to write it", path);
    }
    struct stat info;
    if (fstat(fd, &info) != 0) return fail_io(path, "cannot read its size");
    table->size = info.st_size;
    if (keep < 0 || keep == table->size) return PN_OK;
    if (keep > table->size)
        return pn_fail(PN_EINPUT, "%s: %lld bytes, but %lld were written when the run was saved",
                       path, (long long)table->size, (long long)keep);
    if (ftruncate(fd, keep) != 0) return fail_io(path, "cannot shorten");
    table->size = keep;
    return PN_OK;
}

pn_status pn_table_open(const char *path, int64_t keep, pn_table **result) {
    pn_table *table = calloc(1, sizeof *table);
    if (!table) return pn_fail(PN_EMEM, "%s: no memory to write it", path);
    pn_status status = table_open(path, keep, table);
    if (status == PN_OK) {
        *result = table;
        return PN_OK;
    }
    if (table->file) fclose(table->file);
    free(table->path);
    free(table);
    return status;
}

pn_status pn_table_printf(pn_table *table, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vfprintf(table->file, format, args);
    va_end(args);
    if (n < 0) return fail_io(table->path, "cannot write");
    table->size += n;
    return PN_OK;
}

int64_t pn_table_size(const pn_table *table) { return table->size; }

pn_status pn_table_flush(pn_table *table) {
    return fflush(table->file) == 0 ? PN_OK : fail_io(table->path, "cannot write");
}

pn_status pn_table_sync(pn_table *table) {
    PN_TRY(pn_table_flush(table));
    /* EINVAL: a pipe or a terminal, where there is nothing to flush. */
    if (fsync(fileno(table->file)) != 0 && errno != EINVAL)
        return fail_io(table->path, "cannot write");
    return PN_OK;
}

pn_status pn_table_close(pn_table *table) {
    if (!table) return PN_OK;
    pn_status status = PN_OK;
    if (fclose(table->file) != 0) status = fail_io(table->path, "cannot write");
    free(table->path);
    free(table);
    return status;
}
