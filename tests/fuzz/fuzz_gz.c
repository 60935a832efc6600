/* fuzz_gz.c -- any bytes as an IDX file on the disk, gzip or plain: refused, or what zlib finds in
 * it by another way. What is held is measured by what is really there, whatever the header says. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "runtime/data.h"
#include "tests/fuzz/harness.h"

enum { MOST_PLAIN = 1 << 24, BUFFERS = 8 << 20 /* zlib's, and a first piece of the image */ };

static const char *path;
static uint8_t plain[MOST_PLAIN];
static size_t plain_size;

/* Everything in the file, by zlib alone; what follows a member and is none is left out. */
static void unpack(void) {
    plain_size = 0;
    gzFile file = gzopen(path, "rbe");
    MUST(file != NULL);
    const int n = gzread(file, plain, MOST_PLAIN);
    gzclose_r(file);
    if (n > 0) plain_size = (size_t)n;
}

static pn_status load(const uint8_t *data, size_t size) {
    (void)data;
    (void)size;
    pn_idx idx;
    PN_TRY(pn_idx_read(path, &idx));
    fuzz_loaded();
    const size_t bytes = (size_t)idx.dim[0] * (size_t)idx.dim[1] * (size_t)idx.dim[2];
    MUST(bytes + 4 + 4 * (size_t)idx.rank == plain_size);
    MUST(memcmp(idx.bytes, plain + plain_size - bytes, bytes) == 0);
    free(idx.bytes);
    return PN_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    path = fuzz_file("idx", data, size);
    unpack();
    return fuzz_run(load, data, size, FUZZ_DATA * plain_size + BUFFERS);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    return fuzz_mutate_gzip(data, size, most, seed);
}
