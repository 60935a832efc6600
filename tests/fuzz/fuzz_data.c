/* fuzz_data.c -- any bytes as the files of a data set, opened as the program opens one. The first
 * byte says which kind and which split, the next two how much of the rest is the first file. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/data.h"
#include "tests/fuzz/harness.h"

enum { TEST = 1, CIFAR = 2, ALONE = 4, RECORD = 3073, BUFFERS = 10 << 20 };

static char *directory, *records; /* fuzz_path's own are not kept */
static const char *spec;
static pn_split split;

static void put(const char *name, const uint8_t *data, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "set/%s", name);
    fuzz_file(path, data, size);
}

/* The first file for training, the second for testing: so is the loader's own order. */
static size_t make_cifar(const uint8_t *first, size_t size, const uint8_t *second, size_t rest) {
    static uint8_t records[2 * RECORD];
    const size_t length = size % 2 ? RECORD : size % 8 ? 2 * RECORD : size;
    for (size_t i = 0; i < sizeof records; i++) records[i] = size ? first[i % size] : 0;
    for (int i = 1; i <= 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%d.bin", i);
        put(name, i == 5 && rest ? second : records,
            i == 5 && rest            ? (rest < RECORD ? rest : RECORD)
            : length < sizeof records ? length
                                      : sizeof records);
    }
    put("test_batch.bin", records, RECORD);
    return 6 * sizeof records;
}

static void make_idx(const uint8_t *first, size_t size, const uint8_t *second, size_t rest,
                     bool alone) {
    static const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 2, 1, 2, 3, 4,
                                     5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6},
                         labels[] = {0, 0, 8, 1, 0, 0, 0, 3, 0, 1, 2};
    put("train-images-idx3-ubyte", alone ? images : first, alone ? sizeof images : size);
    put("train-labels-idx1-ubyte.gz", alone ? labels : second, alone ? sizeof labels : rest);
    put("t10k-images-idx3-ubyte", first, size);
    put("t10k-labels-idx1-ubyte", second, rest);
}

static pn_status load(const uint8_t *data, size_t size) {
    (void)data;
    (void)size;
    pn_data set;
    PN_TRY(pn_data_open(spec, split, &set));
    fuzz_loaded();
    MUST(set.count > 0 && set.H > 0 && set.W > 0 && (set.C == 1 || set.C == 3));
    for (int i = 0; i < set.count; i++) MUST(set.labels[i] < set.classes);
    for (int c = 0; c < set.C; c++) MUST(set.mean[c] >= 0 && set.mean[c] <= 1 && set.std[c] > 0);
    (void)pn_data_checksum(&set); /* every byte can be read */
    pn_data_free(&set);
    return PN_OK;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    directory = strdup(fuzz_path("set"));
    records = strdup(fuzz_path("set/records"));
    MUST(directory && records && mkdir(directory, 0777) == 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const named[] = {"synthetic:10x4x4x1", "synthetic:9x4x4x1",
                                        "synthetic:10x4x4", "cifar10", "nowhere/"};
    if (size < 3) return 0;
    const uint8_t kind = data[0];
    const size_t body = size - 3, want = data[1] | (size_t)data[2] << 8;
    const size_t first = want < body ? want : body;
    const uint8_t *second = data + 3 + first;
    size_t total = 2 * body;
    split = kind & TEST ? PN_TEST : PN_TRAIN;
    spec = directory;
    if (body == 0) { /* none of the input's files */
        spec = named[kind / 2 % (sizeof named / sizeof *named)];
    } else if (kind & CIFAR && kind & ALONE) {
        put("records", data + 3, body);
        spec = records;
    } else if (kind & CIFAR) {
        total += make_cifar(data + 3, first, second, body - first);
    } else {
        make_idx(data + 3, first, second, body - first, kind & ALONE);
    }
    fuzz_run(load, data, size, FUZZ_DATA * total + BUFFERS);

    static const char *const names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz",
                                        "t10k-images-idx3-ubyte",  "t10k-labels-idx1-ubyte",
                                        "data_batch_1.bin",        "test_batch.bin"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        snprintf(path, sizeof path, "set/%s", names[i]);
        (void)unlink(fuzz_path(path));
    }
    return 0;
}
