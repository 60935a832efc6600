/* data_cifar.c -- CIFAR-10's binary version (Krizhevsky 2009): records of a label and three
 * planes of 32 x 32 bytes, red, green, blue. */
#include <stdlib.h>

#include "runtime/data.h"

enum {
    EDGE = 32,
    PIXELS = EDGE * EDGE,
    CHANNELS = 3,
    RECORD = 1 + CHANNELS * PIXELS,
    CLASSES = 10
};

pn_status pn_cifar_parse(const void *bytes, size_t size, uint8_t **images, uint16_t **labels,
                         int *count) {
    const size_t n = size / RECORD;
    if (n == 0 || n > INT32_MAX || size % RECORD != 0)
        return pn_fail(PN_EINPUT, "%zu bytes, want a multiple of %d, the size of a CIFAR-10 record",
                       size, RECORD);
    const uint8_t *record = bytes;
    for (size_t i = 0; i < n; i++)
        if (record[i * RECORD] >= CLASSES)
            return pn_fail(PN_EINPUT, "record %zu has label %d, want 0 to %d", i,
                           record[i * RECORD], CLASSES - 1);

    uint8_t *pixels = malloc(n * PIXELS * CHANNELS);
    uint16_t *classes = malloc(n * sizeof *classes);
    if (!pixels || !classes) {
        free(pixels);
        free(classes);
        return pn_fail(PN_EMEM, "no memory for %zu images", n);
    }
    for (size_t i = 0; i < n; i++, record += RECORD) {
        classes[i] = record[0];
        for (size_t p = 0; p < PIXELS; p++)
            for (size_t c = 0; c < CHANNELS; c++)
                pixels[(i * PIXELS + p) * CHANNELS + c] = record[1 + c * PIXELS + p];
    }
    *images = pixels;
    *labels = classes;
    *count = (int)n;
    return PN_OK;
}
