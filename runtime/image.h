/* image.h -- one picture out of a JPEG or PNG file, and its square at the size of a network.
 *
 * The first bytes decide what a file is, whatever its name. Alpha is composited on grey (128), 16
 * bits become 8, a palette and 1, 2 or 4 bits become 8, the orientation of EXIF is applied. Colour
 * profiles and gamma are not. Of a picture in several frames the first is read.
 *
 * Warnings of the decoders are errors, since they mean that bytes were made up: a file that is cut
 * off, or whose data are damaged, is PN_EINPUT. So is a picture of more than 64 Mpixel, longer than
 * 65,535 on an edge, or in more than 500 scans, before memory is taken for it. */
#ifndef PN_IMAGE_H
#define PN_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/api.h"
#include "kernels/status.h"

PN_API_BEGIN

/* The longest file of a picture, in bytes. */
enum { PN_MAX_IMAGE_FILE = 1 << 28 };

typedef struct pn_image {
    uint8_t *pixels; /* (H,W,C) */
    int H, W, C;     /* C: 1 (grey) or 3 (red, green, blue) */
} pn_image;

/* Decodes a file in memory, or at a path. PN_EINPUT with the reason; *foreign (NULL: nobody asks)
 * then says whether nothing is wrong with it but that it is of a kind that is not read: CMYK, GIF,
 * WebP, text and so on. PN_EIO, PN_EMEM: the file may be good. To be freed; after a failure *image
 * is empty. */
pn_status pn_image_decode(const void *bytes, size_t size, pn_image *image, bool *foreign);
pn_status pn_image_read(const char *path, pn_image *image, bool *foreign);
void pn_image_free(pn_image *image); /* leaves it empty; an empty one is allowed */

/* Size and channels (before alpha is gone) as the header says; the orientation is not applied. */
pn_status pn_image_look(const void *bytes, size_t size, int *H, int *W, bool *foreign);

/* The middle H x W of the picture after it was scaled to the smallest size that covers them:
 * a square takes the shorter edge whole. Writes (H,W,C): grey becomes three equal channels, colour
 * becomes grey by ITU-R 601. A pixel is the mean of those whose centres lie in its place, as
 * Pillow's BOX has it (nearest, where the picture is smaller); sizes and crop are those of
 * torchvision's Resize and CenterCrop. */
void pn_image_fit(const pn_image *image, int H, int W, int C, uint8_t *out);

PN_API_END

#endif
