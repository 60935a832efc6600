/* safetensors.h -- named arrays in a file that any framework reads (huggingface/safetensors).
 *
 * The file: 8 bytes of header length, little endian; a JSON object {"name": {"dtype": "F32",
 * "shape": [2,3], "data_offsets": [begin,end]}, "__metadata__": {"key": "text"}}; the data.
 *
 * Reading is strict, because such files come from anywhere: whatever is not exactly described,
 * overlaps, has gaps, is cut off or is followed by more is PN_EINPUT, with the reason. What we
 * write also carries a CRC-32 of the whole file; if it is there, it has to be right. */
#ifndef PN_SAFETENSORS_H
#define PN_SAFETENSORS_H

#include <stdbool.h>

#include "kernels/api.h"
#include "runtime/array.h"
#include "runtime/file.h"

PN_API_BEGIN

typedef struct pn_safetensors pn_safetensors;

/* Reads a file, or bytes in memory. Every array's data is 64-byte aligned and belongs to `out`.
 * PN_EINPUT: it is damaged. PN_EIO, PN_EMEM: it could not be read, and may be good. */
pn_status pn_safetensors_read(const char *path, pn_safetensors **out);
pn_status pn_safetensors_read_in(const pn_place *place, const char *name, pn_safetensors **out);
pn_status pn_safetensors_parse(const void *bytes, size_t size, pn_safetensors **out);
/* The same of a file that stays where it is: its arrays lie in a private mapping, at any address
 * that is a multiple of nothing, and may be written, which the file does not see. It may be
 * replaced while it is mapped, as all files here are, but must not become shorter. */
pn_status pn_safetensors_map(const char *path, pn_safetensors **out);
void pn_safetensors_free(pn_safetensors *file); /* NULL is allowed */

int pn_safetensors_count(const pn_safetensors *file);
const pn_array *pn_safetensors_at(const pn_safetensors *file, int i); /* in the file's order */
const pn_array *pn_safetensors_find(const pn_safetensors *file, const char *name); /* or NULL */
const char *pn_safetensors_meta(const pn_safetensors *file, const char *key);      /* or NULL */

/* The data of array `name`, which must have this type and shape; else PN_EINPUT with a sentence
 * that names the file, the array, and what it should have been. */
pn_status pn_safetensors_get(const pn_safetensors *file, const char *name, pn_dtype dtype, int rank,
                             const int64_t *shape, const void **data);

/* Whether the file carried our checksum (it was right, or reading would have failed). Files of
 * other programs have none. A checkpoint without one is not to be trusted. */
bool pn_safetensors_checked(const pn_safetensors *file);

typedef struct pn_meta {
    const char *key, *text; /* UTF-8 */
} pn_meta;

/* Writes a file, atomically (file.h), and reads it back before it takes its name: what is installed
 * has been parsed, and its checksum is right. The same input gives the same bytes. Arrays stand in
 * the file by size of element, largest first (so that all are aligned), else in the given order.
 * PN_EARG for a name that is repeated, reserved or not UTF-8. */
pn_status pn_safetensors_write(const char *path, const pn_array *arrays, int count,
                               const pn_meta *metas, int meta_count);
pn_status pn_safetensors_write_in(const pn_place *place, const char *name, const pn_array *arrays,
                                  int count, const pn_meta *metas, int meta_count);

PN_API_END

#endif
