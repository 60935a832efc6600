/* fuzz_safetensors.c -- any bytes as a safetensors file, from memory and from the disk: refused, or
 * every array is within it, and the same arrays come back when they are written and read again. */
#include <stdlib.h>
#include <string.h>

#include "runtime/safetensors.h"
#include "tests/fuzz/harness.h"

static const char *path, *again;

/* Every array is readable and found by its name. */
static void look(const pn_safetensors *file, size_t size) {
    size_t total = 0;
    unsigned sum = 0;
    for (int i = 0; i < pn_safetensors_count(file); i++) {
        const pn_array *array = pn_safetensors_at(file, i);
        const uint8_t *bytes = array->data;
        const void *data;
        MUST((uintptr_t)bytes % 64 == 0);
        for (size_t j = 0; j < pn_array_bytes(array); j++) sum += bytes[j];
        total += pn_array_bytes(array);
        const pn_array *found = pn_safetensors_find(file, array->name);
        MUST(found && found->data == array->data);
        MUST(pn_safetensors_get(file, array->name, array->dtype, array->rank, array->shape,
                                &data) == PN_OK);
        MUST(data == bytes);
        MUST(pn_safetensors_get(file, array->name, array->dtype, array->rank + 1, array->shape,
                                &data) == PN_EINPUT);
    }
    const void *data;
    MUST(pn_safetensors_get(file, "no such array", PN_F32, 0, NULL, &data) == PN_EINPUT);
    volatile unsigned used = sum;
    (void)used;
    MUST(total <= size);
    (void)pn_safetensors_meta(file, "step");
    (void)pn_safetensors_checked(file);
}

static pn_status parse(const uint8_t *data, size_t size) {
    pn_safetensors *file;
    PN_TRY(pn_safetensors_parse(data, size, &file));
    fuzz_loaded();
    look(file, size);
    pn_safetensors_free(file);
    return PN_OK;
}

static pn_status write(const pn_safetensors *file, pn_array *copy, const char *to) {
    const int count = pn_safetensors_count(file);
    const char *step = pn_safetensors_meta(file, "step");
    const pn_meta meta = {"step", step};
    for (int i = 0; i < count; i++) copy[i] = *pn_safetensors_at(file, i);
    return pn_safetensors_write(to, copy, count, &meta, step != NULL);
}

static pn_status load(const uint8_t *data, size_t size) {
    (void)data;
    (void)size;
    pn_safetensors *file = NULL, *same = NULL;
    PN_TRY(pn_safetensors_read(path, &file));
    fuzz_pause();
    const int count = pn_safetensors_count(file);
    pn_array *copy = calloc((size_t)count + 1, sizeof *copy);
    fuzz_resume();
    pn_status status = write(file, copy, again);
    if (status == PN_OK) status = pn_safetensors_read(again, &same);
    fuzz_loaded();
    if (status == PN_OK) {
        look(same, SIZE_MAX);
        MUST(pn_safetensors_checked(same) && pn_safetensors_count(same) == count);
        for (int i = 0; i < count; i++) {
            const pn_array *a = pn_safetensors_at(file, i), *b = pn_safetensors_find(same, a->name);
            MUST(b && a->dtype == b->dtype && a->rank == b->rank);
            MUST(memcmp(a->shape, b->shape, sizeof a->shape) == 0);
            MUST(memcmp(a->data, b->data, pn_array_bytes(a)) == 0);
        }
    }
    free(copy);
    pn_safetensors_free(same);
    pn_safetensors_free(file);
    /* Empty arrays whose product of dimensions is too large can be read, not written. */
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_run(parse, data, size, fuzz_tensors_limit(data, size));
    path = fuzz_file("read.safetensors", data, size);
    again = fuzz_path("again.safetensors");
    return fuzz_run(load, data, size, 3 * fuzz_tensors_limit(data, size) + FUZZ_WRITER);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    return fuzz_mutate_tensors(data, size, most, seed);
}
