/* image_parts.h -- what image.c and the two decoders share. */
#ifndef PN_IMAGE_PARTS_H
#define PN_IMAGE_PARTS_H

#include "runtime/image.h"

enum { PN_MAX_PICTURE_EDGE = 65535, PN_MAX_PICTURE_SCANS = 500, PN_ALPHA_GREY = 128 };
#define PN_MAX_PICTURE ((int64_t)64 << 20) /* pixels */

/* Whether a picture of this size is read at all; PN_EINPUT if not. */
pn_status pn_image_check_size(int64_t H, int64_t W);

/* Memory for a picture whose size is set. */
pn_status pn_image_allocate(pn_image *image);

/* Decode, or read the header alone (`look`); *orientation: of EXIF, 1 if none. After a failure the
 * caller frees what the picture has. */
pn_status pn_jpeg_decode(const uint8_t *bytes, size_t size, bool look, pn_image *image,
                         int *orientation, bool *foreign);
pn_status pn_png_decode(const uint8_t *bytes, size_t size, bool look, pn_image *image,
                        int *orientation);

/* The orientation, 1 to 8, in a block of EXIF that begins with "Exif\0\0"; 1 if it has none. */
pn_status pn_exif_orientation(const uint8_t *block, size_t size, int *orientation);

#endif
