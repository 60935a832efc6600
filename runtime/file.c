/* file.c -- see file.h. A NULL place stands for a path. */
#include "runtime/file.h"

#include <dirent.h>
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
#include <zlib.h>

#define TMP ".tmp"

enum { WRITE_BUFFER = 1 << 18, TABLE_BUFFER = 1 << 14 };

/* ---- System calls, repeated when a signal interrupts them ------------------------------------ */

#define REPEAT(result, call) \
    do {                     \
        (result) = (call);   \
    } while ((result) < 0 && errno == EINTR)

static int open_in(const pn_place *place, const char *name, int flags) {
    const int more = place ? O_NOFOLLOW | O_NONBLOCK : 0; /* a FIFO would wait for ever */
    int fd;
    REPEAT(fd, openat(place ? place->fd : AT_FDCWD, name, flags | more | O_CLOEXEC, 0666));
    return fd;
}

static int sync_fd(int fd) {
    int result;
    REPEAT(result, fsync(fd));
    return result;
}

static int cut(int fd, int64_t size) {
    int result;
    REPEAT(result, ftruncate(fd, size));
    return result;
}

static ssize_t read_some(int fd, void *to, size_t size) {
    ssize_t n;
    REPEAT(n, read(fd, to, size));
    return n;
}

/* Writes all of it; -1 with errno if that cannot be. */
static int write_all(int fd, const void *data, size_t size) {
    const char *at = data;
    while (size > 0) {
        ssize_t n;
        REPEAT(n, write(fd, at, size < SSIZE_MAX ? size : SSIZE_MAX));
        if (n < 0) return -1;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

/* ---- What failed ----------------------------------------------------------------------------- */

static const char *full_name(const pn_place *place, const char *name, char path[PN_PATH_BYTES]) {
    return place ? pn_place_name(place, name, path) : name;
}

static pn_status fail_io(const pn_place *place, const char *name, const char *what) {
    const int why = errno;
    char path[PN_PATH_BYTES];
    const char *of = full_name(place, name, path);
    if (why == ENOMEM) return pn_fail(PN_EMEM, "%s: %s: no memory", of, what);
    if (why == ELOOP && place)
        return pn_fail(PN_EINPUT, "%s: a symbolic link, want a file of the run's own", of);
    return pn_fail(PN_EIO, "%s: %s: %s", of, what, strerror(why));
}

static pn_status no_memory(const pn_place *place, const char *name, size_t bytes) {
    char path[PN_PATH_BYTES];
    return pn_fail(PN_EMEM, "%s: no memory for %zu bytes", full_name(place, name, path), bytes);
}

static pn_status not_a_file(const pn_place *place, const char *name) {
    char path[PN_PATH_BYTES];
    return pn_fail(PN_EINPUT, "%s: not a regular file", full_name(place, name, path));
}

/* ---- Places ---------------------------------------------------------------------------------- */

pn_status pn_place_open(pn_place *place, const char *path) {
    *place = (pn_place){.fd = -1};
    if (strlen(path) >= sizeof place->path)
        return pn_fail(PN_EARG, "a directory name of %zu bytes, want at most %zu", strlen(path),
                       sizeof place->path - 1);
    snprintf(place->path, sizeof place->path, "%s", path);
    REPEAT(place->fd, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return place->fd < 0 ? fail_io(NULL, path, "cannot open") : PN_OK;
}

void pn_place_close(pn_place *place) {
    if (place->fd >= 0) close(place->fd);
    place->fd = -1;
}

const char *pn_place_name(const pn_place *place, const char *name, char path[PN_PATH_BYTES]) {
    snprintf(path, PN_PATH_BYTES, "%s/%.63s", place->path, name);
    return path;
}

pn_status pn_place_has(const pn_place *place, const char *name, bool *there) {
    struct stat info;
    *there = fstatat(place->fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0;
    return *there || errno == ENOENT ? PN_OK : fail_io(place, name, "cannot tell if it is there");
}

static bool is_dot(const char *name) { return !strcmp(name, ".") || !strcmp(name, ".."); }

pn_status pn_place_list(const pn_place *place, pn_each_name *each, void *self) {
    /* "." anew, so that every listing has a position of its own. */
    const int fd = open_in(place, ".", O_RDONLY | O_DIRECTORY);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (!list) {
        const pn_status s = fail_io(NULL, place->path, "cannot be listed");
        if (fd >= 0) close(fd);
        return s;
    }
    pn_status s = PN_OK;
    while (s == PN_OK) {
        errno = 0;
        const struct dirent *e = readdir(list);
        if (e && !is_dot(e->d_name)) s = each(self, e->d_name);
        if (e) continue;
        if (errno) s = fail_io(NULL, place->path, "cannot be listed");
        break;
    }
    closedir(list);
    return s;
}

pn_status pn_place_remove(const pn_place *place, const char *name) {
    if (unlinkat(place->fd, name, 0) == 0 || errno == ENOENT) return PN_OK;
    return fail_io(place, name, "cannot remove");
}

pn_status pn_place_sync(const pn_place *place) {
    if (sync_fd(place->fd) == 0 || errno == EINVAL || errno == ENOTSUP) return PN_OK;
    return fail_io(NULL, place->path, "cannot flush this directory");
}

pn_status pn_parent_sync(const char *path) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    while (end > 0 && path[end - 1] != '/') end--;
    char *name = end ? strndup(path, end) : strdup(".");
    if (!name) return no_memory(NULL, path, end + 1);
    int fd;
    REPEAT(fd, open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    pn_status s = PN_OK;
    if (fd >= 0 ? sync_fd(fd) != 0 && errno != EINVAL && errno != ENOTSUP
                : errno != EACCES) /* may be written but not listed */
        s = fail_io(NULL, path, "cannot flush its directory");
    if (fd >= 0) close(fd);
    free(name);
    return s;
}

/* ---- Reading --------------------------------------------------------------------------------- */

pn_status pn_path_look(const char *path, pn_path_kind *kind) {
    struct stat info;
    *kind = PN_PATH_NOTHING;
    if (stat(path, &info) != 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG
                   ? PN_OK
                   : fail_io(NULL, path, "cannot tell what it is");
    *kind = S_ISREG(info.st_mode)   ? PN_PATH_FILE
            : S_ISDIR(info.st_mode) ? PN_PATH_DIRECTORY
                                    : PN_PATH_OTHER;
    return PN_OK;
}

/* As many bytes as there are up to `limit` + 1, and a zero behind them; *data is the caller's. */
static pn_status read_all(const pn_place *place, const char *name, int fd, size_t limit,
                          char **data, size_t *size) {
    struct stat info;
    size_t used = 0, room = 65536;
    if (fstat(fd, &info) != 0) return fail_io(place, name, "cannot read its size");
    if (place && !S_ISREG(info.st_mode)) return not_a_file(place, name);
    if (info.st_size > 0 && (uint64_t)info.st_size <= limit)
        room = (size_t)info.st_size + 2; /* one for the 0, one to see the end without growing */
    char *buffer = malloc(room);
    if (!buffer) return no_memory(place, name, room);
    *data = buffer;
    for (;;) {
        const ssize_t n = read_some(fd, buffer + used, room - used - 1);
        if (n < 0) return fail_io(place, name, "cannot read");
        if (n == 0) break;
        used += (size_t)n;
        if (used > limit) {
            char path[PN_PATH_BYTES];
            return pn_fail(PN_EINPUT, "%s: longer than %zu bytes, the most that such a file has",
                           full_name(place, name, path), limit);
        }
        if (used + 1 < room) continue;
        buffer = realloc(buffer, 2 * room);
        if (!buffer) return no_memory(place, name, 2 * room);
        *data = buffer;
        room *= 2;
    }
    buffer[used] = 0;
    *size = used;
    return PN_OK;
}

pn_status pn_file_open_in(const pn_place *place, const char *name, int *fd) {
    *fd = open_in(place, name, O_RDONLY);
    return *fd < 0 ? fail_io(place, name, "cannot open") : PN_OK;
}

pn_status pn_file_read_in(const pn_place *place, const char *name, size_t limit, void **data,
                          size_t *size) {
    int fd;
    PN_TRY(pn_file_open_in(place, name, &fd));
    char *text = NULL;
    const pn_status s = read_all(place, name, fd, limit, &text, size);
    close(fd);
    if (s == PN_OK)
        *data = text;
    else
        free(text);
    return s;
}

pn_status pn_file_read(const char *path, size_t limit, void **data, size_t *size) {
    return pn_file_read_in(NULL, path, limit, data, size);
}

/* ---- Replacing ------------------------------------------------------------------------------- */

struct pn_writer {
    const pn_place *place;
    int fd;
    char *name; /* of a path: links resolved */
    char *tmp;  /* NULL: written directly (a device or a pipe) */
    char *buffer;
    size_t used;
};

/* Opens TMP and holds it, so that two processes do not write into the same one. Its owner may have
 * given it its final name between our open and our lock; then the name is looked up anew. */
static int open_locked(const pn_place *place, const char *tmp) {
    for (;;) {
        const int fd = open_in(place, tmp, O_RDWR | O_CREAT | O_NOFOLLOW);
        if (fd < 0) return -1;
        struct stat held, named;
        int locked;
        REPEAT(locked, flock(fd, LOCK_EX | LOCK_NB));
        /* A file system without locks (ENOLCK, ENOTSUP) has one writer at most, by its user's
         * word. */
        const bool busy = locked != 0 && errno == EWOULDBLOCK;
        const bool seen = !busy && fstat(fd, &held) == 0 &&
                          fstatat(place ? place->fd : AT_FDCWD, tmp, &named, 0) == 0;
        if (seen && held.st_ino == named.st_ino && held.st_dev == named.st_dev) return fd;
        const int why = busy ? EWOULDBLOCK : seen ? 0 : errno;
        close(fd);
        errno = why;
        if (why && why != ENOENT) return -1;
    }
}

static void writer_free(pn_writer *out) {
    if (out->fd >= 0) close(out->fd);
    free(out->buffer);
    free(out->name);
    free(out->tmp);
    free(out);
}

static pn_status writer_open(const pn_place *place, const char *name, pn_writer *out) {
    struct stat info;
    const int how = place ? AT_SYMLINK_NOFOLLOW : 0;
    const bool there = fstatat(place ? place->fd : AT_FDCWD, name, &info, how) == 0;
    if (!there && errno != ENOENT) return fail_io(place, name, "cannot write");
    if (place && there && !S_ISREG(info.st_mode)) return not_a_file(place, name);
    out->name = there && !place ? realpath(name, NULL) : strdup(name);
    if (!out->name) return fail_io(place, name, "cannot write");
    if (there && S_ISDIR(info.st_mode)) {
        errno = EISDIR;
        return fail_io(place, name, "cannot write");
    }
    if (there && !S_ISREG(info.st_mode)) {
        REPEAT(out->fd, open(name, O_WRONLY | O_CLOEXEC));
        return out->fd < 0 ? fail_io(place, name, "cannot write") : PN_OK;
    }

    const size_t length = strlen(out->name) + sizeof TMP;
    char *tmp = malloc(length);
    out->buffer = malloc(WRITE_BUFFER);
    if (!tmp || !out->buffer) {
        free(tmp);
        return no_memory(place, name, WRITE_BUFFER);
    }
    snprintf(tmp, length, "%s" TMP, out->name);
    out->fd = open_locked(place, tmp);
    if (out->fd < 0) {
        char path[PN_PATH_BYTES];
        const int why = errno;
        free(tmp);
        if (why == EWOULDBLOCK)
            return pn_fail(PN_EBUSY, "%s: another process is writing it",
                           full_name(place, name, path));
        return fail_io(place, name, "cannot write");
    }
    out->tmp = tmp;
    struct stat made;
    if (fstat(out->fd, &made) != 0) return fail_io(place, name, "cannot write");
    if (!S_ISREG(made.st_mode)) return not_a_file(place, tmp);
    if (cut(out->fd, 0) != 0) return fail_io(place, name, "cannot write");
    if (there && fchmod(out->fd, info.st_mode & 0777) != 0)
        return fail_io(place, name, "cannot write");
    return PN_OK;
}

pn_status pn_writer_open_in(const pn_place *place, const char *name, pn_writer **result) {
    pn_writer *out = calloc(1, sizeof *out);
    if (!out) return no_memory(place, name, sizeof *out);
    out->place = place;
    out->fd = -1;
    const pn_status s = writer_open(place, name, out);
    if (s == PN_OK)
        *result = out;
    else
        pn_writer_discard(out);
    return s;
}

pn_status pn_writer_open(const char *path, pn_writer **out) {
    return pn_writer_open_in(NULL, path, out);
}

static pn_status fail_write(const pn_writer *out) {
    return fail_io(out->place, out->name, "cannot write");
}

static pn_status flush_writer(pn_writer *out) {
    const size_t size = out->used;
    out->used = 0;
    return size && write_all(out->fd, out->buffer, size) != 0 ? fail_write(out) : PN_OK;
}

pn_status pn_writer_write(pn_writer *out, const void *data, size_t size) {
    if (out->buffer && size <= WRITE_BUFFER - out->used) {
        if (size) memcpy(out->buffer + out->used, data, size);
        out->used += size;
        return PN_OK;
    }
    PN_TRY(flush_writer(out));
    if (out->buffer && size < WRITE_BUFFER) {
        memcpy(out->buffer, data, size);
        out->used = size;
        return PN_OK;
    }
    return write_all(out->fd, data, size) != 0 ? fail_write(out) : PN_OK;
}

pn_status pn_writer_read_back(pn_writer *out, int *fd) {
    *fd = -1;
    PN_TRY(flush_writer(out));
    if (!out->tmp) return PN_OK;
    *fd = out->fd;
    return lseek(out->fd, 0, SEEK_SET) == 0 ? PN_OK
                                            : fail_io(out->place, out->name, "cannot read back");
}

void pn_writer_discard(pn_writer *out) {
    if (!out) return;
    /* While it is locked: afterwards it may be another's. */
    if (out->tmp) (void)unlinkat(out->place ? out->place->fd : AT_FDCWD, out->tmp, 0);
    writer_free(out);
}

static pn_status commit(pn_writer *out) {
    PN_TRY(flush_writer(out));
    if (!out->tmp) {
        const int fd = out->fd;
        out->fd = -1;
        return close(fd) != 0 ? fail_write(out) : PN_OK;
    }
    const int at = out->place ? out->place->fd : AT_FDCWD;
    if (sync_fd(out->fd) != 0 || renameat(at, out->tmp, at, out->name) != 0) return fail_write(out);
    free(out->tmp);
    out->tmp = NULL; /* it is the file now: nothing to remove */
    return out->place ? pn_place_sync(out->place) : pn_parent_sync(out->name);
}

pn_status pn_writer_commit(pn_writer *out) {
    const pn_status s = commit(out);
    pn_writer_discard(out);
    return s;
}

pn_status pn_file_write_in(const pn_place *place, const char *name, const void *data, size_t size) {
    pn_writer *out = NULL;
    PN_TRY(pn_writer_open_in(place, name, &out));
    const pn_status s = pn_writer_write(out, data, size);
    if (s == PN_OK) return pn_writer_commit(out);
    pn_writer_discard(out);
    return s;
}

pn_status pn_file_write(const char *path, const void *data, size_t size) {
    return pn_file_write_in(NULL, path, data, size);
}

pn_status pn_file_append_in(const pn_place *place, const char *name, size_t at, const void *data,
                            size_t size) {
    char path[PN_PATH_BYTES];
    struct stat info;
    int locked;
    const int fd = open_in(place, name, O_WRONLY | O_APPEND);
    if (fd < 0) return fail_io(place, name, "cannot write");
    REPEAT(locked, flock(fd, LOCK_EX | LOCK_NB));
    const bool seen = fstat(fd, &info) == 0 && (locked == 0 || errno == EWOULDBLOCK);
    pn_status s = PN_OK;
    if (seen && !S_ISREG(info.st_mode))
        s = not_a_file(place, name);
    else if (seen && (locked < 0 || (size_t)info.st_size != at))
        s = pn_fail(PN_EBUSY, "%s: another process is writing it", full_name(place, name, path));
    else if (!seen || write_all(fd, data, size) != 0)
        s = fail_io(place, name, "cannot write");
    if (close(fd) != 0 && s == PN_OK) s = fail_io(place, name, "cannot write");
    return s;
}

/* ---- Tables ---------------------------------------------------------------------------------- */

struct pn_table {
    const pn_place *place;
    char *name;
    int fd;
    int64_t size;
    uint32_t crc;
    char *buffer;
    size_t used, room;
};

static pn_status fail_table(const pn_table *t, const char *what) {
    return fail_io(t->place, t->name, what);
}

/* The CRC-32 of the first `keep` bytes. */
static pn_status sum_up(pn_table *t, int64_t keep) {
    uLong crc = crc32_z(0, NULL, 0);
    if (lseek(t->fd, 0, SEEK_SET) != 0) return fail_table(t, "cannot read");
    for (int64_t left = keep; left > 0;) {
        const size_t most = left < (int64_t)t->room ? (size_t)left : t->room;
        const ssize_t n = read_some(t->fd, t->buffer, most);
        if (n < 0) return fail_table(t, "cannot read");
        char path[PN_PATH_BYTES];
        if (n == 0) /* not reached: somebody has to cut it between two calls of ours */
            return pn_fail(PN_EINPUT, "%s: became shorter while it was read",
                           full_name(t->place, t->name, path));
        crc = crc32_z(crc, (const unsigned char *)t->buffer, (size_t)n);
        left -= n;
    }
    t->crc = (uint32_t)crc;
    return PN_OK;
}

static pn_status table_open(const pn_place *place, const char *name, int64_t keep,
                            const uint32_t *crc, pn_table *t) {
    char path[PN_PATH_BYTES];
    struct stat info;
    t->place = place;
    t->room = TABLE_BUFFER;
    t->name = strdup(name);
    t->buffer = malloc(t->room);
    if (!t->name || !t->buffer) return no_memory(place, name, t->room);
    t->fd = open_in(place, name, O_RDWR | O_CREAT | O_APPEND);
    if (t->fd < 0 && !place && errno == EINVAL) /* a pipe cannot be read back, and need not be */
        /* not reached: on Linux a pipe opens for both */
        t->fd = open_in(place, name, O_WRONLY | O_APPEND);
    if (t->fd < 0) return fail_table(t, "cannot open");
    if (fstat(t->fd, &info) != 0) return fail_table(t, "cannot read its size");
    if (!S_ISREG(info.st_mode)) return place ? not_a_file(place, name) : PN_OK;
    if (keep > info.st_size)
        return pn_fail(PN_EINPUT, "%s: %lld bytes, but %lld were written when the run was saved",
                       full_name(place, name, path), (long long)info.st_size, (long long)keep);
    if (keep < 0) keep = info.st_size;
    PN_TRY(sum_up(t, keep));
    if (crc && t->crc != *crc)
        return pn_fail(PN_EINPUT,
                       "%s: changed since the run was saved: the CRC-32 of its first %lld bytes "
                       "is %08x, want %08x",
                       full_name(place, name, path), (long long)keep, t->crc, *crc);
    if (keep < info.st_size && cut(t->fd, keep) != 0) return fail_table(t, "cannot shorten");
    t->size = keep;
    return PN_OK;
}

pn_status pn_table_open_in(const pn_place *place, const char *name, int64_t keep,
                           const uint32_t *crc, pn_table **result) {
    pn_table *t = calloc(1, sizeof *t);
    if (!t) return no_memory(place, name, sizeof *t);
    t->fd = -1;
    const pn_status s = table_open(place, name, keep, crc, t);
    if (s == PN_OK)
        *result = t;
    else
        pn_table_discard(t);
    return s;
}

pn_status pn_table_open(const char *path, int64_t keep, pn_table **table) {
    return pn_table_open_in(NULL, path, keep, NULL, table);
}

pn_status pn_table_flush(pn_table *t) {
    const size_t size = t->used;
    t->used = 0;
    return size && write_all(t->fd, t->buffer, size) != 0 ? fail_table(t, "cannot write") : PN_OK;
}

pn_status pn_table_printf(pn_table *t, const char *format, ...) {
    for (;;) {
        const size_t room = t->room - t->used;
        char *const to = t->buffer + t->used;
        va_list args;
        va_start(args, format);
        const int n = vsnprintf(to, room, format, args);
        va_end(args);
        if (n < 0) return fail_table(t, "cannot write");
        if ((size_t)n < room) {
            t->crc = (uint32_t)crc32_z(t->crc, (const unsigned char *)to, (size_t)n);
            t->size += n;
            t->used += (size_t)n;
            return PN_OK;
        }
        const size_t more = 2 * t->room + (size_t)n;
        char *const larger = realloc(t->buffer, more);
        if (!larger) return no_memory(t->place, t->name, more);
        t->buffer = larger;
        t->room = more;
    }
}

size_t pn_table_pending(const pn_table *t) { return t->used; }

int64_t pn_table_size(const pn_table *t) { return t->size; }

uint32_t pn_table_crc(const pn_table *t) { return t->crc; }

pn_status pn_table_sync(pn_table *t) {
    PN_TRY(pn_table_flush(t));
    /* EINVAL: a pipe or a terminal, where there is nothing to flush. */
    return sync_fd(t->fd) != 0 && errno != EINVAL ? fail_table(t, "cannot write") : PN_OK;
}

static int close_table(pn_table *t) {
    const int result = t->fd < 0 ? 0 : close(t->fd);
    t->fd = -1;
    return result;
}

void pn_table_discard(pn_table *t) {
    if (!t) return;
    (void)close_table(t);
    free(t->buffer);
    free(t->name);
    free(t);
}

pn_status pn_table_close(pn_table *t) {
    if (!t) return PN_OK;
    pn_status s = pn_table_flush(t);
    if (close_table(t) != 0 && s == PN_OK) s = fail_table(t, "cannot write");
    pn_table_discard(t);
    return s;
}
