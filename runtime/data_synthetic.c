/* data_synthetic.c -- ten kinds of stripes in noise, for trying things where no data set is.
 *
 * The class says whether stripes lie or stand (class & 1) and which of five wavelengths they have
 * (class >> 1): kinds that neither a crop nor a flip turns into each other. Phase, brightness,
 * contrast (either sign, of each channel) and noise are random. All of it is whole numbers, so
 * that the bytes are the same on every machine. */
#include <stdlib.h>
#include <string.h>

#include "runtime/data.h"
#include "runtime/rng.h"

enum { CLASSES = 10, NOISE = 48 };

static const int wavelength[CLASSES / 2] = {3, 4, 6, 8, 12}; /* pixels */

/* A triangle wave of `position` (in 1/256 pixel, from 0 up), from -128 to 128. */
static int triangle(int position, int length) {
    const int period = 256 * length, t = position % period;
    return (abs(2 * t - period) - period / 2) / length;
}

static uint8_t clamp(int value) { return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value); }

static void make_image(uint64_t step, int label, int H, int W, int C, uint8_t *pixel) {
    const pn_random4 r = pn_random(0, PN_STREAM_SYNTHETIC, step, 0);
    const int length = wavelength[label >> 1], lying = label & 1;
    const int phase = (int)(r.v[0] % (256 * (uint32_t)length));
    const int base = 96 + (int)(r.v[1] & 63);
    int contrast[PN_MAX_IMAGE_CHANNELS];
    for (int c = 0; c < C; c++) {
        const int part = (int)(r.v[2] >> 8 * c & 255);
        contrast[c] = (32 + (part & 63)) * (part & 128 ? 1 : -1);
    }

    pn_random4 noise = {{0}};
    uint64_t drawn = 0; /* bytes of noise; a block of random numbers has 16 */
    for (int h = 0; h < H; h++)
        for (int w = 0; w < W; w++) {
            const int wave = triangle(256 * (lying ? h : w) + phase, length);
            for (int c = 0; c < C; c++, drawn++) {
                if (drawn % 16 == 0)
                    noise = pn_random(0, PN_STREAM_SYNTHETIC, step, 1 + drawn / 16);
                const int byte = (int)(noise.v[drawn % 16 / 4] >> 8 * (drawn % 4) & 255);
                *pixel++ = clamp(base + contrast[c] * wave / 128 + (byte - 128) * NOISE / 128);
            }
        }
}

pn_status pn_synthetic_make(pn_split split, int count, int H, int W, int C, pn_data *data) {
    pn_data d = {.name = "synthetic",
                 .count = count,
                 .H = H,
                 .W = W,
                 .C = C,
                 .classes = CLASSES,
                 .own_test = true};
    const size_t bytes = (size_t)H * (size_t)W * (size_t)C;
    d.images = malloc((size_t)count * bytes);
    d.labels = malloc((size_t)count * sizeof *d.labels);
    if (!d.images || !d.labels) {
        pn_data_free(&d);
        return pn_fail(PN_EMEM, "no memory for %d images of %dx%dx%d", count, H, W, C);
    }
    for (int i = 0; i < count; i++) {
        d.labels[i] = (uint16_t)(i % CLASSES);
        make_image((uint64_t)split << 32 | (uint32_t)i, d.labels[i], H, W, C,
                   d.images + (size_t)i * bytes);
    }
    pn_data_measure(&d);
    *data = d;
    return PN_OK;
}
