/* file.h -- whole files in, whole files out, and tables that grow by rows.
 *
 * A file written here is either the old one or the new one, never half of one, even if the machine
 * stops: the bytes go to NAME.tmp in the same directory, are flushed to the disk, and take the name
 * NAME last. PN_EIO, with the path and the system's words, is what cannot be read or written now;
 * PN_EINPUT is a file that is wrong; PN_EMEM is lack of memory, and says nothing about the file.
 * A system call that a signal interrupts is repeated.
 *
 * Two ways to name a file. A path, as a person gives it: links are followed, devices and pipes are
 * allowed. Or a name in a place, a directory held open, as a run has it: no link is followed and
 * nothing but a regular file is opened (PN_EINPUT), and it does not matter what becomes of the
 * directory's own name. */
#ifndef PN_FILE_H
#define PN_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/api.h"
#include "kernels/status.h"

PN_API_BEGIN

/* Bytes of the path of a place, of a name in it, and of both joined by a slash, each with its
 * final zero. */
enum { PN_PLACE_BYTES = 1024, PN_NAME_IN_PLACE = 64, PN_PATH_BYTES = PN_PLACE_BYTES + 64 };

/* A directory that is held open. */
typedef struct pn_place {
    int fd; /* -1: closed */
    char path[PN_PLACE_BYTES];
} pn_place;

/* PN_EARG for a path that is too long, PN_EIO if there is no such directory. After a failure it is
 * closed. */
pn_status pn_place_open(pn_place *place, const char *path);
void pn_place_close(pn_place *place); /* a closed one is allowed */

/* PATH/NAME, for messages. */
const char *pn_place_name(const pn_place *place, const char *name, char path[PN_PATH_BYTES]);

/* Whether NAME is there; what kind of file it is does not matter. PN_EIO if that cannot be told. */
pn_status pn_place_has(const pn_place *place, const char *name, bool *there);

/* Calls `each` with every name but "." and "..", until one call fails. PN_EIO, and not an empty
 * list, if the directory cannot be read to its end. */
typedef pn_status pn_each_name(void *self, const char *name);
pn_status pn_place_list(const pn_place *place, pn_each_name *each, void *self);

pn_status pn_place_remove(const pn_place *place, const char *name);

/* Flushes names to the disk: of files made, renamed and removed. A file system that cannot do that
 * (EINVAL, ENOTSUP) is not held against them. */
pn_status pn_place_sync(const pn_place *place);

/* The same for the directory that holds PATH, after PATH was made. */
pn_status pn_parent_sync(const char *path);

/* What a path leads to. PN_EIO if that cannot be told; a path that is no path of anything (too
 * long, below a file) leads to nothing. */
typedef enum pn_path_kind {
    PN_PATH_NOTHING,
    PN_PATH_FILE,
    PN_PATH_DIRECTORY,
    PN_PATH_OTHER
} pn_path_kind;
pn_status pn_path_look(const char *path, pn_path_kind *kind);

/* Reads a whole file of at most `limit` bytes into *data, which the caller frees; a byte 0 follows
 * the last one, so that text can be used as a string. PN_EINPUT if it is longer. */
pn_status pn_file_read(const char *path, size_t limit, void **data, size_t *size);
pn_status pn_file_read_in(const pn_place *place, const char *name, size_t limit, void **data,
                          size_t *size);

/* Opens a file to read it in pieces; the caller closes *fd. */
pn_status pn_file_open_in(const pn_place *place, const char *name, int *fd);

/* Replaces a file by `size` bytes. */
pn_status pn_file_write(const char *path, const void *data, size_t size);
pn_status pn_file_write_in(const pn_place *place, const char *name, const void *data, size_t size);

/* Adds `size` bytes to a file of `at` bytes. PN_EBUSY if it has another length, or another process
 * adds to it now. After a failure some of the bytes may be there: a beginning of them. Nothing is
 * flushed to the disk. */
pn_status pn_file_append_in(const pn_place *place, const char *name, size_t at, const void *data,
                            size_t size);

/* A whole file that is not in one piece. After a failed write only discard makes sense; commit and
 * discard free `out`, and the file is untouched unless commit says PN_OK. PN_EBUSY if another
 * process is writing it now. A device or a pipe, given by path, is written directly, since it must
 * not be replaced by a file. A place has to stay open as long as `out`. */
typedef struct pn_writer pn_writer;
pn_status pn_writer_open(const char *path, pn_writer **out);
pn_status pn_writer_open_in(const pn_place *place, const char *name, pn_writer **out);
pn_status pn_writer_write(pn_writer *out, const void *data, size_t size);

/* A descriptor to read, from its first byte, what was written so far; it stays the writer's, and
 * nothing may be written afterwards. -1 for a device or a pipe. */
pn_status pn_writer_read_back(pn_writer *out, int *fd);

pn_status pn_writer_commit(pn_writer *out);
void pn_writer_discard(pn_writer *out); /* NULL is allowed */

/* A table of rows. Opening keeps the first `keep` bytes and cuts off the rest (rows written after
 * the checkpoint that a run continues from); keep = -1 keeps all. A file that is not there is made;
 * PN_EINPUT for one that is shorter than `keep`, or whose first `keep` bytes do not have the CRC-32
 * *crc (NULL: not known). Rows stay in memory until they are flushed. */
typedef struct pn_table pn_table;
pn_status pn_table_open(const char *path, int64_t keep, pn_table **table);
pn_status pn_table_open_in(const pn_place *place, const char *name, int64_t keep,
                           const uint32_t *crc, pn_table **table);
pn_status pn_table_printf(pn_table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int64_t pn_table_size(const pn_table *table);   /* bytes so far, with what is still buffered */
uint32_t pn_table_crc(const pn_table *table);   /* CRC-32 of them */
size_t pn_table_pending(const pn_table *table); /* bytes that are still buffered */
pn_status pn_table_flush(pn_table *table);      /* to the system: others can read it */
pn_status pn_table_sync(pn_table *table);       /* to the disk: before a checkpoint counts on it */
pn_status pn_table_close(pn_table *table);      /* flushes; frees in any case; NULL is allowed */
/* Closes it without what is still buffered; likewise. */
void pn_table_discard(pn_table *table);

PN_API_END

#endif
