/* fuzz_image.c -- any bytes as a picture: refused, or pixels that are the same when it is decoded
 * again, and squares out of them. What libjpeg and libexif allocate is not counted. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "runtime/image.h"
#include "tests/fuzz/harness.h"

/* Larger pictures cost time and memory and reach no more code. */
enum { MOST_PIXELS = 1 << 16, SIGNATURE = 8, CHUNK = 12, EDGE = 5 };

static pn_status load(const uint8_t *data, size_t size) {
    pn_image image, again;
    bool foreign;
    PN_TRY(pn_image_decode(data, size, &image, &foreign));
    fuzz_loaded();
    MUST(!foreign && image.H > 0 && image.W > 0 && (image.C == 1 || image.C == 3));
    const size_t bytes = (size_t)image.H * (size_t)image.W * (size_t)image.C;
    MUST(pn_image_decode(data, size, &again, NULL) == PN_OK);
    MUST(again.H == image.H && again.W == image.W && again.C == image.C);
    MUST(memcmp(again.pixels, image.pixels, bytes) == 0);
    uint8_t square[EDGE * EDGE * 3];
    pn_image_fit(&image, EDGE, EDGE, 3, square);
    pn_image_fit(&image, EDGE, EDGE - 1, 1, square);
    pn_image_free(&image);
    pn_image_free(&again);
    return PN_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int H = 0, W = 0;
    if (pn_image_look(data, size, &H, &W, NULL) == PN_OK && (long)H * W > MOST_PIXELS) return 0;
    const size_t pixels = (size_t)H * (size_t)W;
    /* Pixels with alpha, without, and turned, coefficients; inflating, tables, a copy of EXIF. */
    return fuzz_run(load, data, size, 64 * pixels + FUZZ_DATA * size + 16 * FUZZ_CONSTANT);
}

/* The checksum of every chunk of a PNG. */
static void repair(uint8_t *data, size_t size) {
    for (size_t at = SIGNATURE; at + CHUNK <= size;) {
        const size_t length = (size_t)data[at] << 24 | (size_t)data[at + 1] << 16 |
                              (size_t)data[at + 2] << 8 | data[at + 3];
        if (length > size - at - CHUNK) return;
        const uint32_t crc = (uint32_t)crc32_z(0, data + at + 4, length + 4);
        for (int i = 0; i < 4; i++)
            data[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += CHUNK + length;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    size = LLVMFuzzerMutate(data, size, most);
    if (seed % 16 && size > SIGNATURE && data[0] == 0x89) repair(data, size);
    return size;
}
