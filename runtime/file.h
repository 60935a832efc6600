/* file.h -- whole files in, whole files out, and tables that grow by rows.
 *
 * A file written here is either the old one or the new one, never half of one, even if the
 * machine stops: the bytes go to PATH.tmp in the same directory, are flushed to the disk, and
 * take the name PATH last. Every failure is PN_EIO with the path and the system's words. */
#ifndef PN_FILE_H
#define PN_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/status.h"

/* Reads a whole file of at most `limit` bytes into *data, which the caller frees; a byte 0
 * follows the last one, so that text can be used as a string. PN_EINPUT if it is longer. */
pn_status pn_file_read(const char *path, size_t limit, void **data, size_t *size);

/* Replaces PATH by `size` bytes. */
pn_status pn_file_write(const char *path, const void *data, size_t size);

/* The same for what is not in one piece. After a failed write only discard makes sense; commit
 * and discard free `out`, and PATH is untouched unless commit says PN_OK. PN_EBUSY if another
 * process is writing PATH now. A symbolic link is followed. A device or a pipe is written
 * directly, since it must not be replaced by a file. */
typedef struct pn_writer pn_writer;
pn_status pn_writer_open(const char *path, pn_writer **out);
pn_status pn_writer_write(pn_writer *out, const void *data, size_t size);
pn_status pn_writer_commit(pn_writer *out);
void pn_writer_discard(pn_writer *out); /* NULL is allowed */

/* A table of rows. Opening keeps the first `keep` bytes and cuts off the rest (rows written
 * after the checkpoint that a run continues from); keep = -1 keeps all. A file that is not
 * there is made; one shorter than `keep` is PN_EINPUT. Rows are buffered until a flush. */
typedef struct pn_table pn_table;
pn_status pn_table_open(const char *path, int64_t keep, pn_table **table);
pn_status pn_table_printf(pn_table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int64_t pn_table_size(const pn_table *table); /* bytes so far, with what is still buffered */
pn_status pn_table_flush(pn_table *table);    /* to the system: others can read it */
pn_status pn_table_sync(pn_table *table);     /* to the disk: before a checkpoint counts on it */
pn_status pn_table_close(pn_table *table);    /* flushes; frees in any case; NULL is allowed */

#endif
