/* image_png.c -- PNG by libpng. What it would let pass (a wrong checksum, bytes too many) is an
 * error; chunks that are not needed are not looked at, so that nothing in them can be. */
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/image_parts.h"

/* JPEG has no more than 64 KiB of it. */
enum { MOST_EXIF = 1 << 18 };

static const uint8_t exif_prefix[6] = {'E', 'x', 'i', 'f', 0, 0};

typedef struct decoder {
    const uint8_t *at;
    size_t left;
    png_structp png;
    png_infop info;
    png_bytep *rows;
    uint8_t *raw;  /* with alpha */
    uint8_t *exif; /* with its prefix */
    pn_status status;
} decoder;

static void fail(png_structp png, png_const_charp text) {
    decoder *d = png_get_error_ptr(png);
    if (d->status == PN_OK) d->status = pn_fail(PN_EINPUT, "damaged PNG: %s", text);
    png_longjmp(png, 1);
}

static void warn(png_structp png, png_const_charp text) {
    (void)png;
    (void)text;
}

static png_voidp allocate(png_structp png, png_alloc_size_t size) {
    decoder *d = png_get_mem_ptr(png);
    void *block = malloc(size);
    if (!block) d->status = pn_fail(PN_EMEM, "no memory to decode it");
    return block;
}

static void release(png_structp png, png_voidp block) {
    (void)png;
    free(block);
}

static void next_bytes(png_structp png, png_bytep to, size_t size) {
    decoder *d = png_get_io_ptr(png);
    if (size > d->left) png_error(png, "it is cut off");
    memcpy(to, d->at, size);
    d->at += size;
    d->left -= size;
}

/* eXIf is kept as a chunk that libpng does not know: it refuses a second one, which it writes. */
static pn_status read_orientation(decoder *d, int *orientation) {
    png_unknown_chunkp chunk;
    if (png_get_unknown_chunks(d->png, d->info, &chunk) < 1) return PN_OK;
    d->exif = malloc(sizeof exif_prefix + chunk->size);
    if (!d->exif) return pn_fail(PN_EMEM, "no memory for its EXIF data");
    memcpy(d->exif, exif_prefix, sizeof exif_prefix);
    memcpy(d->exif + sizeof exif_prefix, chunk->data, chunk->size);
    return pn_exif_orientation(d->exif, sizeof exif_prefix + chunk->size, orientation);
}

static pn_status header(decoder *d, pn_image *image) {
    static const png_byte transparent[] = "tRNS", exif[] = "eXIf";
    png_set_keep_unknown_chunks(d->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_keep_unknown_chunks(d->png, PNG_HANDLE_CHUNK_AS_DEFAULT, transparent, 1);
    png_set_keep_unknown_chunks(d->png, PNG_HANDLE_CHUNK_ALWAYS, exif, 1);
    png_set_crc_action(d->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_benign_errors(d->png, 0);
    png_set_user_limits(d->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* ours come with a sentence */
    png_set_chunk_malloc_max(d->png, MOST_EXIF); /* or a length alone would be allocated */
    png_set_read_fn(d->png, d, next_bytes);
    png_read_info(d->png, d->info);
    const int64_t H = png_get_image_height(d->png, d->info),
                  W = png_get_image_width(d->png, d->info);
    PN_TRY(pn_image_check_size(H, W));
    image->H = (int)H;
    image->W = (int)W;
    return PN_OK;
}

static uint8_t on_grey(unsigned value, unsigned alpha) {
    return (uint8_t)((value * alpha + PN_ALPHA_GREY * (255 - alpha) + 127) / 255);
}

/* Removes alpha, the last of `from` channels. */
static void composite(const uint8_t *raw, int from, pn_image *image) {
    const size_t count = (size_t)image->H * (size_t)image->W;
    uint8_t *to = image->pixels;
    for (size_t i = 0; i < count; i++, raw += from)
        for (int c = 0; c < from - 1; c++) *to++ = on_grey(raw[c], raw[from - 1]);
}

static pn_status pixels(decoder *d, pn_image *image, int *orientation) {
    png_set_expand(d->png); /* palette, 1, 2, 4 bits, and a transparent colour */
    png_set_scale_16(d->png);
    png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->info);
    const int channels = png_get_channels(d->png, d->info);
    image->C = channels <= 2 ? 1 : 3;
    PN_TRY(pn_image_allocate(image));
    uint8_t *to = image->pixels;
    const size_t row = (size_t)image->W * (size_t)channels;
    if (channels != image->C) {
        to = d->raw = calloc((size_t)image->H, row);
        if (!to) return pn_fail(PN_EMEM, "no memory for the alpha of a picture");
    }
    d->rows = malloc((size_t)image->H * sizeof(*d->rows));
    if (!d->rows) return pn_fail(PN_EMEM, "no memory for the rows of a picture");
    for (int y = 0; y < image->H; y++) d->rows[y] = to + (size_t)y * row;
    png_read_image(d->png, d->rows);
    png_read_end(d->png, d->info);
    if (channels != image->C) composite(d->raw, channels, image);
    return read_orientation(d, orientation);
}

static pn_status run(decoder *d, bool look, pn_image *image, int *orientation) {
    d->info = png_create_info_struct(d->png);
    if (!d->info) return pn_fail(PN_EMEM, "no memory to decode it");
    if (setjmp(png_jmpbuf(d->png))) return d->status;
    PN_TRY(header(d, image));
    return look ? PN_OK : pixels(d, image, orientation);
}

pn_status pn_png_decode(const uint8_t *bytes, size_t size, bool look, pn_image *image,
                        int *orientation) {
    decoder d = {.at = bytes, .left = size, .status = PN_OK};
    d.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &d, fail, warn, &d, allocate, release);
    if (!d.png) return pn_fail(PN_EMEM, "no memory to decode it");
    pn_status s = run(&d, look, image, orientation);
    if (s == PN_OK) s = d.status; /* libpng goes on without a chunk that it has no memory for */
    png_destroy_read_struct(&d.png, &d.info, NULL);
    free(d.rows);
    free(d.raw);
    free(d.exif);
    return s;
}
