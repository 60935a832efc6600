/* npy.h -- one array in a file that numpy reads: format 1.0 and 2.0, C order, little endian,
 * of float32, float64, int32, int64 or uint8. Anything else is PN_EINPUT, with the reason. */
#ifndef PN_NPY_H
#define PN_NPY_H

#include "kernels/api.h"
#include "kernels/status.h"
#include "runtime/array.h"

PN_API_BEGIN

/* Reads a file, or bytes in memory. The data is 64-byte aligned; pn_npy_free gives it back. */
pn_status pn_npy_read(const char *path, pn_array *out);
pn_status pn_npy_parse(const void *bytes, size_t size, pn_array *out);
void pn_npy_free(pn_array *array);

/* Writes format 1.0, atomically (file.h). The name is ignored. */
pn_status pn_npy_write(const char *path, const pn_array *array);

PN_API_END

#endif
