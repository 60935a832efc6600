/* fuzz_cifar.c -- any bytes as CIFAR-10 records: refused, or images with labels below ten. The
 * records are the input over and over, so that a short input fills them. */
#include <stdint.h>
#include <stdlib.h>

#include "runtime/data.h"

enum { RECORD = 3073 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *bytes, size_t size) {
    uint8_t *images, *labels;
    int count;
    pn_status status = pn_cifar_parse(bytes, size, &images, &labels, &count);
    if (status != PN_OK) {
        if (status != PN_EINPUT || !*pn_error()) abort();
        return;
    }
    if ((size_t)count * RECORD != size) abort();
    for (int i = 0; i < count; i++) {
        if (labels[i] > 9 || labels[i] != bytes[i * RECORD]) abort();
        const uint8_t *last = images + (i + 1) * (RECORD - 1) - 1; /* blue, bottom right */
        if (*last != bytes[(i + 1) * RECORD - 1]) abort();
    }
    free(images);
    free(labels);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check(data, size);
    if (size == 0) return 0;
    uint8_t records[2 * RECORD];
    for (size_t i = 0; i < sizeof records; i++) records[i] = data[i % size];
    check(records, sizeof records);
    return 0;
}
