/* fuzz_warm_start.c -- any bytes as the checkpoint that another search begins from (--prior RUN
 * --keep-weights): refused, or logits that are numbers. */
#include "tests/fuzz/from.h"

enum {
    TABLE = 1 << 17, /* prior.csv beside it, and the text of its history */
    MODEL = 8 << 20  /* of a search that begins */
};

static pn_status load(const uint8_t *data, size_t size) {
    (void)data;
    (void)size;
    return fuzz_from_read();
}

static pn_status begin(const uint8_t *data, size_t size) {
    (void)data;
    (void)size;
    return fuzz_from_begin();
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    fuzz_from_make();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_file("from/checkpoint-00000003.safetensors", data, size);
    fuzz_run(load, data, size, fuzz_tensors_limit(data, size) + TABLE);
    /* A whole search takes ten times as long. */
    return size % 8 ? 0 : fuzz_run(begin, data, size, fuzz_tensors_limit(data, size) + MODEL);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    return fuzz_mutate_tensors(data, size, most, seed);
}
