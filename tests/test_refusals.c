/* test_refusals.c -- what parsec-nas does with what it cannot use: the exit code that it promises,
 * one sentence on stderr that names the value, nothing on stdout, and on the disk everything as it
 * was. And when the disk is full or the loss is not a number, what was saved before is intact. */
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "runtime/file.h"
#include "runtime/npy.h"
#include "runtime/safetensors.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

enum { MOST_ARGUMENTS = 40, LIMIT = 300, RECORD = 3073 };
enum { USAGE = 2, INPUT = 3, MEMORY = 4, DEVICE = 5, IO = 6, DIVERGED = 7, BUSY = 8 };

static char *folder; /* the program runs in it */

static const char *in_folder(const char *name) {
    static char path[4][512];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
    return path[next];
}

/* ---- what is there ------------------------------------------------------------------------ */

#define DATA "--data", "synthetic:200x8x8x3"
#define NETWORK "--layers", "3", "--channels", "4", "--threads", "1"
#define SEARCH DATA, NETWORK, "--batch", "8", "--samples", "3", "--steps", "30", "--warmup", "5"
#define CHECKPOINT "checkpoint-00000030.safetensors"

static void run(pn_process *p, const pn_conditions *conditions, const char *const *arguments) {
    const char *argv[MOST_ARGUMENTS] = {PN_PROGRAM};
    for (int n = 1; *arguments; n++) {
        assert_true(n < MOST_ARGUMENTS - 1);
        argv[n] = *arguments++;
    }
    pn_conditions where = *conditions;
    where.folder = folder;
    pn_process_run(p, argv, &where, LIMIT);
}
#define RUN(p, ...) run(p, &(pn_conditions){0}, (const char *const[]){__VA_ARGS__, NULL})

static void must_work(const char *const *arguments) {
    pn_process p;
    run(&p, &(pn_conditions){0}, arguments);
    if (p.code != 0) fail_msg("%s: exit code %d: %s", arguments[0], p.code, p.err);
    pn_process_free(&p);
}
#define MUST_WORK(...) must_work((const char *const[]){__VA_ARGS__, NULL})

static void put(const char *name, const void *bytes, size_t size) {
    assert_int_equal(pn_file_write(in_folder(name), bytes, size), PN_OK);
}

static char *get(const char *name, size_t *size) {
    void *bytes;
    assert_int_equal(pn_file_read(in_folder(name), 1 << 28, &bytes, size), PN_OK);
    return bytes;
}

static void make_folder(const char *name) { assert_int_equal(mkdir(in_folder(name), 0777), 0); }

/* Byte `at` of a file, counted from the end if negative, becomes another. */
static void flip(const char *name, long at) {
    size_t size;
    char *bytes = get(name, &size);
    bytes[at < 0 ? (long)size + at : at] ^= 0x10;
    put(name, bytes, size);
    free(bytes);
}

/* Keeps the first `keep` bytes; if negative, all but so many. */
static void cut(const char *name, long keep) {
    size_t size;
    char *bytes = get(name, &size);
    put(name, bytes, keep < 0 ? size - (size_t)-keep : (size_t)keep);
    free(bytes);
}

/* The first `from` in a text becomes `to`, of the same length. */
static void replace(const char *name, const char *from, const char *to) {
    size_t size;
    char *text = get(name, &size), *at = strstr(text, from);
    assert_non_null(at);
    memcpy(at, to, strlen(to));
    put(name, text, size);
    free(text);
}

static void put_idx(const char *name, uint32_t magic, int rank, uint32_t count, size_t bytes) {
    unsigned char file[4096] = {(unsigned char)(magic >> 24), (unsigned char)(magic >> 16),
                                (unsigned char)(magic >> 8), (unsigned char)magic};
    const uint32_t dims[3] = {count, 4, 4};
    for (int i = 0; i < rank; i++)
        for (int b = 0; b < 4; b++) file[4 + 4 * i + b] = (unsigned char)(dims[i] >> (24 - 8 * b));
    const size_t header = 4 + 4 * (size_t)rank;
    assert_true(header + bytes <= sizeof file);
    for (size_t i = 0; i < bytes; i++) file[header + i] = (unsigned char)(i % 10);
    put(name, file, header + bytes);
}

/* Folders of IDX and CIFAR-10 files, each with one flaw. */
static void make_data(void) {
    static const char *const idx[] = {"idx-magic", "idx-cut", "idx-fewer", "idx-swapped", "idx-gzip",
                                      "idx-alone"};
    char images[64], labels[64];
    for (size_t i = 0; i < sizeof idx / sizeof *idx; i++) {
        make_folder(idx[i]);
        snprintf(images, sizeof images, "%s/train-images-idx3-ubyte", idx[i]);
        snprintf(labels, sizeof labels, "%s/train-labels-idx1-ubyte", idx[i]);
        put_idx(images, 0x803, 3, 40, 40 * 16);
        put_idx(labels, 0x801, 1, 40, 40);
    }
    put_idx("idx-magic/train-images-idx3-ubyte", 0x00000b03, 3, 40, 40 * 16);
    put_idx("idx-cut/train-images-idx3-ubyte", 0x803, 3, 40, 40 * 16 - 1);
    put_idx("idx-fewer/train-labels-idx1-ubyte", 0x801, 1, 39, 39);
    put_idx("idx-swapped/train-images-idx3-ubyte", 0x801, 1, 40, 40);
    assert_int_equal(unlink(in_folder("idx-alone/train-labels-idx1-ubyte")), 0);

    assert_int_equal(unlink(in_folder("idx-gzip/train-images-idx3-ubyte")), 0);
    size_t size;
    char *bytes = get("idx-cut/train-images-idx3-ubyte", &size);
    gzFile gz = gzopen(in_folder("idx-gzip/train-images-idx3-ubyte.gz"), "wb");
    assert_int_equal(gzwrite(gz, bytes, (unsigned)size), size);
    assert_int_equal(gzclose(gz), Z_OK);
    free(bytes);
    cut("idx-gzip/train-images-idx3-ubyte.gz", -12);

    static unsigned char records[20 * RECORD];
    for (int i = 0; i < 20; i++) records[i * RECORD] = (unsigned char)(i % 10);
    make_folder("cifar-cut");
    put("cifar-cut/data_batch_1.bin", records, sizeof records - 1);
    make_folder("cifar-missing");
    put("cifar-missing/data_batch_1.bin", records, sizeof records);
    put("other-images.bin", records, sizeof records);
    records[7 * RECORD] = 10;
    put("cifar-label.bin", records, sizeof records);
    put("empty.bin", records, 0);
    make_folder("nothing-in-it");
    make_folder("foreign");
    put("foreign/thesis.tex", "\\begin", 6);
    put("foreign/run.json.tmp", "theirs", 6); /* not ours to remove */
}

/* Copies of a finished run, each with one flaw. */
static void make_runs(void) {
    static const char *const names[] = {"flipped", "cut",     "renamed",   "settings", "images",
                                        "table",   "no-json", "half-json", "kind",     "nulls"};
    MUST_WORK("search", "done", "--quiet", SEARCH);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        pn_folder_copy(in_folder("done"), in_folder(names[i]));
    flip("flipped/" CHECKPOINT, -1000);
    cut("cut/" CHECKPOINT, -1);
    const char *from = in_folder("renamed/" CHECKPOINT);
    assert_int_equal(rename(from, in_folder("renamed/checkpoint-00000029.safetensors")), 0);
    replace("settings/run.json", "\"clip\": 5.0", "\"clip\": 6.0");
    replace("images/run.json", "\"synthetic:200x8x8x3\"", "\"synthetic:300x8x8x3\"");
    cut("table/metrics.csv", -1);
    assert_int_equal(unlink(in_folder("no-json/run.json")), 0);
    cut("half-json/run.json", 300);
    replace("kind/run.json", "\"layers\": 3", "\"layers\": x");
    replace("nulls/run.json", "\"samples\": 3,", "\"samples\":null"
                                              "," + 0);
}
