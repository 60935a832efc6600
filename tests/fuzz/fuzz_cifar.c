/* fuzz_cifar.c -- any bytes as CIFAR-10 records: refused, or images with labels below ten. The
 * records are the input over and over, so that a short input fills them. */
#include <stdlib.h>

#include "runtime/data.h"
#include "tests/fuzz/harness.h"

enum { RECORD = 3073 };

static pn_status load(const uint8_t *bytes, size_t size) {
    uint8_t *images;
    uint16_t *labels;
    int count;
    PN_TRY(pn_cifar_parse(bytes, size, &images, &labels, &count));
    fuzz_loaded();
    MUST((size_t)count * RECORD == size);
    for (int i = 0; i < count; i++) {
        MUST(labels[i] <= 9 && labels[i] == bytes[i * RECORD]);
        const uint8_t *last = images + (i + 1) * (RECORD - 1) - 1; /* blue, bottom right */
        MUST(*last == bytes[(i + 1) * RECORD - 1]);
    }
    free(images);
    free(labels);
    return PN_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_run(load, data, size, FUZZ_DATA * size + FUZZ_CONSTANT);
    if (size == 0) return 0;
    uint8_t records[2 * RECORD];
    for (size_t i = 0; i < sizeof records; i++) records[i] = data[i % size];
    return fuzz_run(load, records, sizeof records, FUZZ_DATA * sizeof records + FUZZ_CONSTANT);
}
