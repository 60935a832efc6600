/* fuzz_packed.c -- any bytes as a packed data set: refused, or a set whose every label and pixel is
 * within the file. */
#include <string.h>

#include "runtime/data.h"
#include "tests/fuzz/harness.h"

static const char *path;

static pn_status load(const uint8_t *data, size_t size) {
    pn_data set[2];
    (void)data;
    PN_TRY(pn_data_open_both(path, &set[0], &set[1]));
    fuzz_loaded();
    for (int i = 0; i < 2; i++) {
        const pn_data *d = &set[i];
        MUST(d->count > 0 && d->H > 0 && d->W > 0 && (d->C == 1 || d->C == 3));
        MUST((size_t)d->count * (size_t)d->H * (size_t)d->W * (size_t)d->C < size);
        for (int k = 0; k < d->count; k++) MUST(d->labels[k] < d->classes);
        for (int k = 0; k < d->classes; k++) MUST(strlen(d->class_names[k]) < size);
        for (int c = 0; c < d->C; c++) MUST(d->mean[c] >= 0 && d->std[c] > 0 && d->std[c] <= 1);
        (void)pn_data_checksum(d); /* every byte can be read */
        pn_data_free(&set[i]);
    }
    return PN_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    path = fuzz_file("set.safetensors", data, size);
    /* Both splits have the header. */
    return fuzz_run(load, data, size, 2 * fuzz_tensors_limit(data, size) + FUZZ_CONSTANT);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    return fuzz_mutate_tensors(data, size, most, seed);
}
