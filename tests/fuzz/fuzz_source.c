/* fuzz_source.c -- any bytes as the checkpoint that another search begins from (--prior RUN
 * --keep-weights): refused, or logits that are numbers. */
#include "tests/fuzz/from.h"

enum { TABLE = 1 << 17 }; /* prior.csv beside it, and the text of its history */

static pn_status load(const uint8_t *data, size_t size) {
    (void)data;
    (void)size;
    return fuzz_from_read();
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    fuzz_from_make();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_file("from/checkpoint-00000003.safetensors", data, size);
    return fuzz_run(load, data, size, fuzz_tensors_limit(data, size) + TABLE);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    return fuzz_mutate_tensors(data, size, most, seed);
}
