/* fuzz_npy.c -- any bytes as a .npy file: refused, or an array that the file really holds, and that
 * is the same when it is written and read again. */
#include <string.h>

#include "runtime/npy.h"
#include "tests/fuzz/harness.h"

static const char *path, *again;

static pn_status load(const uint8_t *data, size_t size) {
    pn_array array, same;
    PN_TRY(pn_npy_read(path, &array));
    fuzz_pause();
    const size_t bytes = pn_array_bytes(&array);
    MUST(bytes <= size && memcmp(array.data, data + size - bytes, bytes) == 0);
    fuzz_resume();
    pn_status status = pn_npy_write(again, &array);
    if (status == PN_OK) status = pn_npy_read(again, &same);
    fuzz_loaded();
    if (status == PN_OK) {
        MUST(same.rank == array.rank && same.dtype == array.dtype);
        MUST(memcmp(same.shape, array.shape, sizeof same.shape) == 0);
        MUST(memcmp(same.data, array.data, bytes) == 0);
        pn_npy_free(&same);
    }
    pn_npy_free(&array);
    return status;
}

static pn_status parse(const uint8_t *data, size_t size) {
    pn_array array;
    PN_TRY(pn_npy_parse(data, size, &array));
    pn_npy_free(&array);
    return PN_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_run(parse, data, size, FUZZ_DATA * size + FUZZ_CONSTANT);
    path = fuzz_file("array.npy", data, size);
    again = fuzz_path("again.npy");
    return fuzz_run(load, data, size, FUZZ_DATA * size + FUZZ_WRITER);
}
