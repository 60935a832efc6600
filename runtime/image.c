/* image.c -- which decoder a file takes, its orientation, and the square out of it. */
#include "runtime/image.h"

#include <libexif/exif-data.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/file.h"
#include "runtime/image_parts.h"

/* ---- Decoding -------------------------------------------------------------------------------- */

typedef enum picture_kind { JPEG, PNG, EMPTY, OTHER } picture_kind;

static bool begins(const uint8_t *bytes, size_t size, const char *with, size_t length) {
    return size >= length && memcmp(bytes, with, length) == 0;
}
#define BEGINS(with) begins(bytes, size, with, sizeof(with) - 1)

/* *what: in words, of a kind that is not read. */
static picture_kind kind_of(const uint8_t *bytes, size_t size, const char **what) {
    if (size == 0) return EMPTY;
    if (BEGINS("\xff\xd8\xff")) return JPEG;
    if (BEGINS("\x89PNG\r\n\x1a\n")) return PNG;
    *what = "neither JPEG nor PNG";
    if (BEGINS("GIF8")) *what = "GIF";
    if (BEGINS("BM")) *what = "BMP";
    if (BEGINS("II*\0") || BEGINS("MM\0*")) *what = "TIFF";
    if (BEGINS("RIFF") && size >= 12 && !memcmp(bytes + 8, "WEBP", 4)) *what = "WebP";
    if (size >= 12 && !memcmp(bytes + 4, "ftyp", 4)) *what = "HEIF or video";
    return OTHER;
}

pn_status pn_image_check_size(int64_t H, int64_t W) {
    if (H < 1 || W < 1 || H > PN_MAX_PICTURE_EDGE || W > PN_MAX_PICTURE_EDGE ||
        H * W > PN_MAX_PICTURE)
        return pn_fail(PN_EINPUT, "%lldx%lld pixels, want edges from 1 to %d and at most 64 Mpixel",
                       (long long)H, (long long)W, PN_MAX_PICTURE_EDGE);
    return PN_OK;
}

pn_status pn_image_allocate(pn_image *image) {
    const size_t bytes = (size_t)image->H * (size_t)image->W * (size_t)image->C;
    image->pixels = malloc(bytes);
    return image->pixels
               ? PN_OK
               : pn_fail(PN_EMEM, "no memory for a picture of %dx%d pixels", image->H, image->W);
}

static pn_status decode(const uint8_t *bytes, size_t size, bool look, pn_image *image,
                        int *orientation, bool *foreign) {
    const char *what = "";
    *foreign = false;
    switch (kind_of(bytes, size, &what)) {
        case JPEG:
            return pn_jpeg_decode(bytes, size, look, image, orientation, foreign);
        case PNG:
            return pn_png_decode(bytes, size, look, image, orientation);
        case EMPTY:
            return pn_fail(PN_EINPUT, "empty");
        default:
            *foreign = true;
            return pn_fail(PN_EINPUT, "%s, want JPEG or PNG", what);
    }
}

pn_status pn_image_look(const void *bytes, size_t size, int *H, int *W, bool *foreign) {
    pn_image header = {0};
    int orientation = 1;
    bool unread;
    PN_TRY(decode(bytes, size, true, &header, &orientation, foreign ? foreign : &unread));
    *H = header.H;
    *W = header.W;
    return PN_OK;
}

/* ---- Orientation (EXIF 2.3, tag 0x0112) ------------------------------------------------------ */

/* libexif says nothing where it has no memory: it then knows no orientation. */
static _Thread_local bool exif_failed;

static void *exif_allocate(ExifLong size) {
    void *block = calloc(1, size);
    exif_failed |= !block && size;
    return block;
}

static void *exif_resize(void *old, ExifLong size) {
    void *block = realloc(old, size);
    exif_failed |= !block && size;
    return block;
}

pn_status pn_exif_orientation(const uint8_t *block, size_t size, int *orientation) {
    *orientation = 1;
    exif_failed = false;
    ExifMem *memory = exif_mem_new(exif_allocate, exif_resize, free);
    ExifData *data = memory ? exif_data_new_mem(memory) : NULL;
    if (data && !exif_failed) {
        exif_data_load_data(data, block, (unsigned)size);
        const ExifEntry *e = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
        if (e && e->format == EXIF_FORMAT_SHORT && e->size >= 2) {
            const int value = exif_get_short(e->data, exif_data_get_byte_order(data));
            if (value >= 1 && value <= 8) *orientation = value;
        }
    }
    if (data) exif_data_unref(data);
    if (memory) exif_mem_unref(memory);
    return exif_failed ? pn_fail(PN_EMEM, "no memory for its EXIF data") : PN_OK;
}

static pn_status turn(pn_image *image, int orientation) {
    if (orientation == 1) return PN_OK;
    const bool swapped = orientation >= 5;
    pn_image out = {
        .H = swapped ? image->W : image->H, .W = swapped ? image->H : image->W, .C = image->C};
    PN_TRY(pn_image_allocate(&out));
    /* In the stored picture, seen from the upright one: which edges are reversed. */
    const bool rows = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    const bool columns = orientation == 2 || orientation == 3 || orientation >= 7;
    const size_t C = (size_t)image->C, W = (size_t)image->W;
    uint8_t *to = out.pixels;
    for (int y = 0; y < out.H; y++)
        for (int x = 0; x < out.W; x++, to += C) {
            int row = swapped ? x : y, column = swapped ? y : x;
            if (rows) row = image->H - 1 - row;
            if (columns) column = image->W - 1 - column;
            memcpy(to, image->pixels + ((size_t)row * W + (size_t)column) * C, C);
        }
    pn_image_free(image);
    *image = out;
    return PN_OK;
}

/* ---- Both ------------------------------------------------------------------------------------ */

void pn_image_free(pn_image *image) {
    free(image->pixels);
    *image = (pn_image){0};
}

/* A progressive picture of 64 Mpixel takes 600 MB while it is decoded: one at a time. */
static const int64_t large = 16 << 20;
static pthread_mutex_t one_large = PTHREAD_MUTEX_INITIALIZER;

pn_status pn_image_decode(const void *bytes, size_t size, pn_image *image, bool *foreign) {
    bool unread;
    int orientation = 1;
    if (!foreign) foreign = &unread;
    *image = (pn_image){0};
    pn_image header = {0};
    PN_TRY(decode(bytes, size, true, &header, &orientation, foreign));
    const bool alone = (int64_t)header.H * header.W > large;
    if (alone) pthread_mutex_lock(&one_large);
    pn_status s = decode(bytes, size, false, image, &orientation, foreign);
    if (s == PN_OK) s = turn(image, orientation);
    if (s != PN_OK) pn_image_free(image);
    if (alone) pthread_mutex_unlock(&one_large);
    return s;
}

pn_status pn_image_read(const char *path, pn_image *image, bool *foreign) {
    void *bytes;
    size_t size;
    if (foreign) *foreign = false;
    *image = (pn_image){0};
    PN_TRY(pn_file_read(path, PN_MAX_IMAGE_FILE, &bytes, &size));
    const pn_status s = pn_image_decode(bytes, size, image, foreign);
    free(bytes);
    return s == PN_OK ? PN_OK : pn_fail_in(s, "%s", path);
}

/* ---- The square ------------------------------------------------------------------------------ */

/* Along one axis: `whole` pixels are scaled to `scaled`, of which those from `first` on are
 * wanted. Pixel i is the mean of [*from, *to). */
typedef struct axis {
    int64_t whole, scaled, first;
} axis;

/* In doubles and in Pillow's order (Resample.c), since it is rounding that decides where a centre
 * lies on the border: once in a hundred columns of some sizes. */
static void box(const axis *a, int i, int64_t *from, int64_t *to) {
    const double scale = (double)a->whole / (double)a->scaled, width = scale < 1 ? 1 : scale;
    const double centre = ((double)(a->first + i) + .5) * scale, per = 1 / width;
    *from = (int64_t)(centre - .5 * width + .5);
    *to = (int64_t)(centre + .5 * width + .5);
    if (*to > a->whole) *to = a->whole;
    while (*from + 1 < *to && ((double)*from - centre + .5) * per <= -.5) ++*from;
    while (*from + 1 < *to && ((double)(*to - 1) - centre + .5) * per > .5) --*to;
}

/* Python's round(): half to even. */
static int64_t middle(int64_t room) {
    const int64_t half = room / 2;
    return room % 2 && half % 2 ? half + 1 : half;
}

static uint8_t luma(const uint64_t *rgb) {
    return (uint8_t)((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
}

void pn_image_fit(const pn_image *image, int H, int W, int C, uint8_t *out) {
    axis y = {.whole = image->H, .scaled = H}, x = {.whole = image->W, .scaled = W};
    if (x.whole * H >= y.whole * W)
        x.scaled = x.whole * H / y.whole;
    else
        y.scaled = y.whole * W / x.whole;
    y.first = middle(y.scaled - H);
    x.first = middle(x.scaled - W);
    const size_t channels = (size_t)image->C, row = (size_t)image->W * channels;
    for (int i = 0; i < H; i++) {
        int64_t top, bottom;
        box(&y, i, &top, &bottom);
        for (int j = 0; j < W; j++, out += C) {
            int64_t left, right;
            box(&x, j, &left, &right);
            uint64_t mean[3] = {0};
            for (int64_t h = top; h < bottom; h++) {
                const uint8_t *pixel = image->pixels + (size_t)h * row + (size_t)left * channels;
                for (int64_t w = left; w < right; w++)
                    for (size_t c = 0; c < channels; c++) mean[c] += *pixel++;
            }
            const uint64_t pixels = (uint64_t)((bottom - top) * (right - left));
            for (size_t c = 0; c < channels; c++) mean[c] = (mean[c] + pixels / 2) / pixels;
            if (image->C == 1) mean[1] = mean[2] = mean[0];
            if (C == 1)
                *out = image->C == 1 ? (uint8_t)mean[0] : luma(mean);
            else
                for (int c = 0; c < C; c++) out[c] = (uint8_t)mean[c];
        }
    }
}
