/* test_data.c -- data sets from files, and the batches made of them. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "runtime/batches.h"
#include "runtime/data.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { RECORD = 3073 };

static char folder[256]; /* of one test */

static const char *in_folder(const char *name) {
    static char path[320];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state) {
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/pn_data_XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    static const char *const names[] = {
        "data_batch_1.bin",           "data_batch_2.bin",        "data_batch_3.bin",
        "data_batch_4.bin",           "data_batch_5.bin",        "test_batch.bin",
        "train-images-idx3-ubyte",    "train-labels-idx1-ubyte", "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte",  "t10k-labels-idx1-ubyte"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(in_folder(names[i]));
    return rmdir(folder);
}

static void assert_sentence(const char *part) {
    if (!strstr(pn_error(), part)) fail_msg("'%s' does not contain '%s'", pn_error(), part);
}

static void assert_refused(const char *spec, pn_split split, pn_status status, const char *why) {
    pn_data data = {.count = -1};
    assert_int_equal(pn_data_open(spec, split, &data), status);
    assert_sentence(why);
    assert_int_equal(data.count, -1); /* untouched */
}

static void write_raw(const char *name, const void *bytes, size_t size) {
    FILE *file = fopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void write_gzip(const char *name, const void *bytes, size_t size) {
    gzFile file = gzopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)size), size);
    assert_int_equal(gzclose(file), Z_OK);
}

/* ---- CIFAR-10 -------------------------------------------------------------------------------- */

/* Plane c, pixel p of record i: a value that tells where it is from. */
static uint8_t cifar_pixel(int i, int c, int p) { return (uint8_t)(i * 50 + c * 17 + p * 3); }

/* Records first .. first + count - 1; record i has label i % 10. */
static void write_cifar(const char *name, int first, int count) {
    uint8_t *bytes = malloc((size_t)count * RECORD);
    assert_non_null(bytes);
    for (int i = 0; i < count; i++) {
        bytes[i * RECORD] = (uint8_t)((first + i) % 10);
        for (int c = 0; c < 3; c++)
            for (int p = 0; p < 1024; p++)
                bytes[i * RECORD + 1 + c * 1024 + p] = cifar_pixel(first + i, c, p);
    }
    write_raw(name, bytes, (size_t)count * RECORD);
    free(bytes);
}

static void write_cifar_set(void) {
    char name[32];
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "data_batch_%d.bin", i + 1);
        write_cifar(name, 2 * i, 2);
    }
    write_cifar("test_batch.bin", 10, 3);
}

static void assert_cifar(const pn_data *data, int first, int count) {
    assert_int_equal(data->count, count);
    assert_int_equal(data->H, 32);
    assert_int_equal(data->W, 32);
    assert_int_equal(data->C, 3);
    assert_int_equal(data->classes, 10);
    assert_true(data->mean[2] == .4465F && data->std[0] == .2470F);
    for (int i = 0; i < count; i++) {
        assert_int_equal(data->labels[i], (first + i) % 10);
        for (int p = 0; p < 1024; p++)
            for (int c = 0; c < 3; c++)
                assert_int_equal(data->images[(i * 1024 + p) * 3 + c],
                                 cifar_pixel(first + i, c, p));
    }
}

static void cifar_planes_become_pixels_in_file_order(void **state) {
    (void)state;
    pn_data data;
    write_cifar_set();
    assert_int_equal(pn_data_open(folder, PN_TRAIN, &data), PN_OK);
    assert_string_equal(data.name, "cifar10");
    assert_cifar(&data, 0, 10);
    pn_data_free(&data);
    pn_data_free(&data); /* an empty one */
    assert_int_equal(pn_data_open(folder, PN_TEST, &data), PN_OK);
    assert_cifar(&data, 10, 3);
    pn_data_free(&data);
    assert_int_equal(pn_data_open(in_folder("data_batch_2.bin"), PN_TEST, &data), PN_OK);
    assert_cifar(&data, 2, 2);
    pn_data_free(&data);
}

static void cifar_files_that_are_wrong_are_refused(void **state) {
    (void)state;
    write_cifar_set();
    assert_int_equal(truncate(in_folder("data_batch_3.bin"), RECORD + 100), 0);
    assert_refused(folder, PN_TRAIN, PN_EINPUT,
                   "data_batch_3.bin: 3173 bytes, want a multiple of 3073");
    write_cifar("data_batch_3.bin", 4, 1); /* cut off between two records */
    assert_refused(folder, PN_TRAIN, PN_EINPUT, "data_batch_3.bin: 1 images, want 2");
    unlink(in_folder("data_batch_3.bin"));
    assert_refused(folder, PN_TRAIN, PN_EINPUT,
                   "data_batch_3.bin is missing; 'tools/get-data cifar10");
    write_raw("test_batch.bin", "", 0);
    assert_refused(folder, PN_TEST, PN_EINPUT, "test_batch.bin: 0 bytes");

    uint8_t record[2 * RECORD] = {0};
    record[RECORD] = 10;
    write_raw("test_batch.bin", record, sizeof record);
    assert_refused(folder, PN_TEST, PN_EINPUT,
                   "test_batch.bin: record 1 has label 10, want 0 to 9");
}

/* ---- IDX ------------------------------------------------------------------------------------- */

enum { IMAGES = 4, H = 3, W = 5, IMAGES_FILE = 16 + IMAGES * H * W, LABELS_FILE = 8 + IMAGES };

static void put32(uint8_t *to, uint32_t value) {
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void make_images(uint8_t *file) {
    put32(file, 0x803);
    put32(file + 4, IMAGES);
    put32(file + 8, H);
    put32(file + 12, W);
    for (int i = 16; i < IMAGES_FILE; i++) file[i] = (uint8_t)(i * 7);
}

static void make_labels(uint8_t *file) {
    put32(file, 0x801);
    put32(file + 4, IMAGES);
    for (int i = 0; i < IMAGES; i++) file[8 + i] = (uint8_t)i;
}

static void write_idx_set(void) {
    uint8_t images[IMAGES_FILE], labels[LABELS_FILE];
    make_images(images);
    make_labels(labels);
    write_gzip("train-images-idx3-ubyte.gz", images, sizeof images);
    write_raw("train-labels-idx1-ubyte", labels, sizeof labels);
    images[16] = 99;
    write_raw("t10k-images-idx3-ubyte", images, sizeof images);
    write_raw("t10k-labels-idx1-ubyte", labels, sizeof labels);
}

static void idx_files_are_read_plain_and_compressed(void **state) {
    (void)state;
    pn_data train, test;
    write_idx_set();
    assert_int_equal(pn_data_open(folder, PN_TRAIN, &train), PN_OK);
    assert_int_equal(pn_data_open(folder, PN_TEST, &test), PN_OK);
    assert_int_equal(train.count, IMAGES);
    assert_int_equal(train.H, H);
    assert_int_equal(train.W, W);
    assert_int_equal(train.C, 1);
    assert_int_equal(train.classes, IMAGES);
    assert_string_equal(train.name, strrchr(folder, '/') + 1);
    for (int i = 0; i < IMAGES * H * W; i++)
        assert_int_equal(train.images[i], (uint8_t)((i + 16) * 7));
    for (int i = 0; i < IMAGES; i++) assert_int_equal(train.labels[i], i);
    assert_int_equal(test.images[0], 99);
    assert_true(test.mean[0] == train.mean[0] && test.std[0] == train.std[0]);
    pn_data_free(&train);
    pn_data_free(&test);
}

static void idx_files_that_are_wrong_are_refused(void **state) {
    (void)state;
    uint8_t images[IMAGES_FILE + 1] = {0}, labels[LABELS_FILE];
    write_idx_set();
    make_images(images);
    make_labels(labels);

    write_raw("t10k-images-idx3-ubyte", images, IMAGES_FILE - 1);
    assert_refused(folder, PN_TEST, PN_EINPUT, "59 bytes after the header, want 60 as it says");
    write_raw("t10k-images-idx3-ubyte", images, IMAGES_FILE + 1);
    assert_refused(folder, PN_TEST, PN_EINPUT, "at least 61 bytes after the header, want 60");
    write_raw("t10k-images-idx3-ubyte", labels, LABELS_FILE);
    assert_refused(folder, PN_TEST, PN_EINPUT, "1 dimensions, want 3");
    images[2] = 0x0d; /* floats */
    write_raw("t10k-images-idx3-ubyte", images, IMAGES_FILE);
    assert_refused(folder, PN_TEST, PN_EINPUT,
                   "t10k-images-idx3-ubyte: magic number 0x00000d03, want");
    make_images(images);
    put32(images + 8, 0x7fffffff);
    write_raw("t10k-images-idx3-ubyte", images, IMAGES_FILE);
    assert_refused(folder, PN_TEST, PN_EINPUT, "dimension 1 is 2147483647, want 1 to 4096");
    make_images(images);
    put32(images + 8, H + 1);
    put32(images + 4, IMAGES - 1); /* 3 x 4 x 5 = 4 x 3 x 5 bytes */
    write_raw("t10k-images-idx3-ubyte", images, IMAGES_FILE);
    assert_refused(folder, PN_TEST, PN_EINPUT, "3 images but 4 labels in its t10k files");
    labels[7] = IMAGES - 1;
    write_raw("t10k-labels-idx1-ubyte", labels, LABELS_FILE - 1);
    assert_refused(folder, PN_TEST, PN_EINPUT, "test images of 4x5, want 3x5");
    write_idx_set();
    make_labels(labels);
    labels[9] = IMAGES;
    write_raw("t10k-labels-idx1-ubyte", labels, LABELS_FILE);
    assert_refused(folder, PN_TEST, PN_EINPUT, "a test label 4, want 0 to 3");
    unlink(in_folder("t10k-labels-idx1-ubyte"));
    assert_refused(folder, PN_TEST, PN_EINPUT,
                   "neither t10k-labels-idx1-ubyte nor the same with .gz");
}

/* gzip has a checksum and a length at its end: nothing cut off or changed gets through, and what
 * no longer looks like gzip has no IDX magic. */
static void a_compressed_file_cut_or_changed_is_refused(void **state) {
    (void)state;
    uint8_t images[IMAGES_FILE], compressed[512];
    make_images(images);
    write_gzip("train-images-idx3-ubyte.gz", images, sizeof images);
    FILE *file = fopen(in_folder("train-images-idx3-ubyte.gz"), "rb");
    assert_non_null(file);
    size_t size = fread(compressed, 1, sizeof compressed, file);
    assert_true(size > 20 && size < sizeof compressed);
    assert_int_equal(fclose(file), 0);

    pn_idx idx;
    for (size_t n = 0; n < size; n++) {
        write_raw("train-images-idx3-ubyte.gz", compressed, n);
        assert_int_equal(pn_idx_read(in_folder("train-images-idx3-ubyte.gz"), &idx), PN_EINPUT);
    }
    for (size_t i = 0; i < size; i++) {
        compressed[i] ^= 0x41;
        write_raw("train-images-idx3-ubyte.gz", compressed, size);
        pn_status status = pn_idx_read(in_folder("train-images-idx3-ubyte.gz"), &idx);
        if (status == PN_OK) { /* the time and the system that gzip notes down mean nothing here */
            assert_true(i >= 3 && i < 10);
            assert_memory_equal(idx.bytes, images + 16, IMAGES * H * W);
            free(idx.bytes);
        } else {
            assert_int_equal(status, PN_EINPUT);
        }
        compressed[i] ^= 0x41;
    }
}

static void the_published_mean_is_found_by_measuring(void **state) {
    (void)state;
    pn_data data;
    if (pn_data_open("fashion-mnist", PN_TRAIN, &data) != PN_OK) {
        print_message("skipped: %s\n", pn_error());
        skip();
    }
    assert_int_equal(data.count, 60000);
    assert_int_equal(data.H, 28);
    assert_int_equal(data.classes, 10);
    assert_true(data.mean[0] == .2860F && data.std[0] == .3530F);
    int of_class[10] = {0};
    for (int i = 0; i < data.count; i++) of_class[data.labels[i]]++;
    for (int c = 0; c < 10; c++) assert_int_equal(of_class[c], 6000);
    pn_data_free(&data);
}

/* ---- Specifications -------------------------------------------------------------------------- */

static void specs_that_cannot_be_say_what_can(void **state) {
    (void)state;
    assert_refused("no_such_thing", PN_TRAIN, PN_EINPUT,
                   "data 'no_such_thing' is not there, want cifar10");
    assert_refused("no_such_thing", PN_TRAIN, PN_EINPUT, "tools/get-data");
    assert_refused(folder, PN_TRAIN, PN_EINPUT, "holds neither data_batch_1.bin");
    static const char *const bad[] = {"synthetic:",
                                      "synthetic:10",
                                      "synthetic:10x8x8",
                                      "synthetic:10x8x8x2",
                                      "synthetic:10x8x8x3x1",
                                      "synthetic:9x8x8x3",
                                      "synthetic:10x0x8x3",
                                      "synthetic:10x8x4097x3",
                                      "synthetic:-10x8x8x3",
                                      "synthetic: 10x8x8x3",
                                      "synthetic:99999999999999999999x8x8x3",
                                      "synthetic:2147483647x4096x4096x3"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused(bad[i], PN_TRAIN, PN_EARG, "want synthetic or synthetic:COUNTxHxWxC");
}

static void half_the_size_is_the_mean_of_four(void **state) {
    (void)state;
    pn_data whole, half;
    assert_int_equal(pn_data_open("synthetic:20x12x16x3", PN_TEST, &whole), PN_OK);
    assert_int_equal(pn_data_open("synthetic:20x12x16x3/2", PN_TEST, &half), PN_OK);
    assert_string_equal(half.name, "synthetic");
    assert_int_equal(half.count, whole.count);
    assert_int_equal(half.H, 6);
    assert_int_equal(half.W, 8);
    assert_memory_equal(half.labels, whole.labels, (size_t)whole.count * sizeof *whole.labels);
    assert_memory_equal(half.mean, whole.mean, sizeof whole.mean);
    assert_memory_equal(half.std, whole.std, sizeof whole.std);
    for (int i = 0; i < half.count; i++)
        for (int y = 0; y < 6; y++)
            for (int x = 0; x < 8; x++)
                for (int c = 0; c < 3; c++) {
                    int sum = 0;
                    for (int k = 0; k < 4; k++)
                        sum +=
                            whole.images[((i * 12 + 2 * y + k / 2) * 16 + 2 * x + k % 2) * 3 + c];
                    assert_int_equal(half.images[((i * 6 + y) * 8 + x) * 3 + c], (sum + 2) / 4);
                }
    pn_data_free(&whole);
    pn_data_free(&half);

    assert_refused("synthetic:20x12x15x3/2", PN_TRAIN, PN_EARG, "images of 12x15 have no half");
    assert_refused("no_such_thing/2", PN_TRAIN, PN_EINPUT, "data 'no_such_thing' is not there");
    assert_refused("/2", PN_TRAIN, PN_EINPUT, "data '/2' is not there");

    char spec[320]; /* what is called 2 is itself */
    write_cifar_set();
    snprintf(spec, sizeof spec, "%s/2", folder);
    assert_int_equal(pn_data_open(spec, PN_TRAIN, &half), PN_OK);
    assert_int_equal(half.H, 16);
    pn_data_free(&half);
    assert_int_equal(mkdir(spec, 0777), 0);
    assert_refused(spec, PN_TRAIN, PN_EINPUT, "holds neither data_batch_1.bin");
    assert_int_equal(rmdir(spec), 0);
}

static void the_built_in_set_is_always_the_same(void **state) {
    (void)state;
    pn_data data, test;
    assert_int_equal(pn_data_open("synthetic:100x12x16x3", PN_TRAIN, &data), PN_OK);
    assert_int_equal(pn_data_open("synthetic:100x12x16x3", PN_TEST, &test), PN_OK);
    assert_string_equal(data.name, "synthetic");
    assert_int_equal(data.count, 100);
    assert_int_equal(test.count, 20);
    for (int i = 0; i < data.count; i++) assert_int_equal(data.labels[i], i % 10);
    assert_memory_not_equal(data.images, test.images, 12 * 16 * 3);
    assert_true(data.mean[1] == test.mean[1] && data.std[2] == test.std[2]);
    /* Its bytes are part of what a seed promises; made of whole numbers, they hold everywhere. */
    uLong crc = crc32_z(0, data.images, (size_t)data.count * 12 * 16 * 3);
    assert_int_equal(crc, 0xb3eb5090);
    pn_data_free(&data);
    pn_data_free(&test);
}

/* ---- Batches --------------------------------------------------------------------------------- */

/* A set in which every image is known by its first pixel's bytes (and no byte is 0, so that
 * padding can be told from it), and pixel (h,w) by the second channel. */
static pn_data labelled_set(int count, int edge) {
    pn_data d = {.name = "numbers",
                 .count = count,
                 .H = edge,
                 .W = edge,
                 .C = 3,
                 .classes = 200,
                 .mean = {0, 0, .5F},
                 .std = {1, 1, .25F}};
    d.images = malloc((size_t)count * (size_t)(edge * edge) * 3);
    d.labels = malloc((size_t)count * sizeof *d.labels);
    assert_true(d.images && d.labels);
    for (int i = 0; i < count; i++) {
        d.labels[i] = (uint16_t)(i % 200);
        for (int p = 0; p < edge * edge; p++) {
            uint8_t *pixel = d.images + (i * edge * edge + p) * 3;
            pixel[0] = (uint8_t)(1 + i % 255);
            pixel[1] = (uint8_t)(1 + p % 255);
            pixel[2] = (uint8_t)(1 + i / 255);
        }
    }
    return d;
}

/* The byte that a normalised value of the set's first two channels was made of. */
static int byte_of(float x) { return (int)lroundf(x * 255); }

/* Which image of labelled_set an (unaugmented) image is. */
static int image_of(const float *x) {
    return byte_of(x[0]) - 1 + 255 * ((int)lroundf((x[2] * .25F + .5F) * 255) - 1);
}

static pn_batches *create(const pn_data *data, const pn_batch_stream *streams, int count,
                          uint64_t seed) {
    pn_batches *batches;
    assert_int_equal(pn_batches_create(data, streams, count, seed, &batches), PN_OK);
    return batches;
}

static void halves_are_disjoint_and_complete_every_epoch(void **state) {
    (void)state;
    enum { COUNT = 601, N = 25, EPOCHS = 3 }; /* halves of 300 and 301: 12 batches each */
    pn_data data = labelled_set(COUNT, 4);
    const pn_batch_stream streams[] = {{.half = PN_HALF_FIRST, .N = N},
                                       {.half = PN_HALF_SECOND, .N = N}};
    pn_batches *b = create(&data, streams, 2, 11);
    assert_int_equal(pn_batches_images(b, 0), 300);
    assert_int_equal(pn_batches_images(b, 1), 301);
    int half_of[COUNT], first_order[300] = {0}, moved = 0;
    memset(half_of, -1, sizeof half_of);
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        int seen[COUNT] = {0}, in_half[2] = {0};
        for (int s = 0; s < 2; s++) {
            assert_int_equal(pn_batches_steps_per_epoch(b, s), 12);
            for (int k = 0; k < 12; k++) {
                pn_batch batch;
                assert_int_equal(pn_batches_take(b, s, epoch * 12 + k, &batch), PN_OK);
                assert_int_equal(batch.n, N);
                for (int i = 0; i < N; i++) {
                    int image = image_of(batch.x + (ptrdiff_t)i * 4 * 4 * 3);
                    assert_true(image >= 0 && image < COUNT);
                    assert_int_equal(batch.labels[i], image % 200);
                    assert_true(half_of[image] == -1 || half_of[image] == s); /* for ever */
                    half_of[image] = s;
                    assert_int_equal(seen[image]++, 0); /* once an epoch */
                    in_half[s]++;
                    if (s == 0 && epoch == 0) first_order[k * N + i] = image;
                    if (s == 0 && epoch == 1) moved += first_order[k * N + i] != image;
                }
            }
        }
        assert_int_equal(in_half[0], 300);
        assert_int_equal(in_half[1], 300); /* one of 301 waits for another epoch */
    }
    assert_true(moved > 300 - 12); /* about one of 300 stays by chance */
    pn_batches_free(b);
    pn_data_free(&data);
}

static void any_step_can_be_asked_for_and_is_the_same(void **state) {
    (void)state;
    enum { COUNT = 100, N = 8, STEPS = 30, SIZE = N * 8 * 8 * 3 };
    pn_data data = labelled_set(COUNT, 8);
    const pn_batch_stream streams[] = {
        {.half = PN_HALF_FIRST, .N = N, .augment = true, .cutout = 4},
        {.half = PN_HALF_SECOND, .N = N, .augment = true}};
    float(*x)[SIZE] = malloc(2 * STEPS * sizeof *x);
    int32_t labels[2 * STEPS][N];
    assert_non_null(x);
    pn_batches *b = create(&data, streams, 2, 5);
    for (int k = 0; k < 2 * STEPS; k++) {
        pn_batch batch;
        assert_int_equal(pn_batches_take(b, k % 2, k / 2, &batch), PN_OK);
        assert_int_equal((uintptr_t)batch.x % 64, 0);
        memcpy(x[k], batch.x, sizeof x[k]);
        memcpy(labels[k], batch.labels, sizeof labels[k]);
    }
    pn_batches_free(b);

    /* A run that continues, one stream alone, back and forth, twice the same. */
    static const int order[] = {17, 18, 19, 5, 5, 4, 3, 29, 0, 1, 3, 2, 2, 1, 20};
    for (int s = 0; s < 2; s++) {
        b = create(&data, &streams[s], 1, 5);
        for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
            pn_batch batch;
            assert_int_equal(pn_batches_take(b, 0, order[i], &batch), PN_OK);
            if (i % 3 == 0) usleep(2000); /* sometimes the next one is ready, sometimes not */
            assert_memory_equal(batch.x, x[2 * order[i] + s], sizeof *x);
            assert_memory_equal(batch.labels, labels[2 * order[i] + s], sizeof *labels);
        }
        pn_batches_free(b);
    }

    b = create(&data, streams, 1, 6); /* another seed */
    pn_batch batch;
    assert_int_equal(pn_batches_take(b, 0, 0, &batch), PN_OK);
    assert_memory_not_equal(batch.x, x[0], sizeof *x);
    assert_int_equal(pn_batches_take(b, 0, INT64_MAX - 1, &batch), PN_OK); /* no overflow */
    pn_batches_free(b);
    free(x);
    pn_data_free(&data);
}

/* What is handed out stays as it is while the next one is made. */
static void a_batch_in_use_is_not_written(void **state) {
    (void)state;
    enum { N = 8, SIZE = N * 8 * 8 * 3 };
    pn_data data = labelled_set(50, 8);
    const pn_batch_stream stream = {.N = N, .augment = true};
    pn_batches *b = create(&data, &stream, 1, 1);
    for (int step = 0; step < 20; step++) {
        pn_batch batch;
        float copy[SIZE];
        assert_int_equal(pn_batches_take(b, 0, step, &batch), PN_OK);
        memcpy(copy, batch.x, sizeof copy);
        usleep(1000);
        assert_memory_equal(batch.x, copy, sizeof copy);
    }
    pn_batches_free(b);
    pn_data_free(&data);
}

/* Going back a step asks for the buffer that is being written just then, and must wait for it. */
static void a_batch_being_made_is_not_handed_out(void **state) {
    (void)state;
    enum { N = 100, EDGE = 64, SIZE = N * EDGE * EDGE * 3 };
    pn_data data = labelled_set(N, EDGE);
    const pn_batch_stream stream = {.N = N, .augment = true};
    pn_batches *b = create(&data, &stream, 1, 1);
    float *first = malloc(SIZE * sizeof *first);
    assert_non_null(first);
    pn_batch batch;
    assert_int_equal(pn_batches_take(b, 0, 0, &batch), PN_OK);
    memcpy(first, batch.x, SIZE * sizeof *first);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(pn_batches_take(b, 0, 1, &batch), PN_OK); /* step 2 takes step 0's place */
        usleep(300);
        assert_int_equal(pn_batches_take(b, 0, 0, &batch), PN_OK);
        assert_memory_equal(batch.x, first, SIZE * sizeof *first);
    }
    pn_batches_free(b);
    free(first);
    pn_data_free(&data);
}

/* Two equal halves could be gone through in the same order without anything else being wrong. */
static void the_halves_have_orders_of_their_own(void **state) {
    (void)state;
    enum { COUNT = 600, HALF = COUNT / 2 };
    pn_data data = labelled_set(COUNT, 4);
    int order[2][HALF];
    for (int s = 0; s < 2; s++) {
        const pn_half half = s == 0 ? PN_HALF_FIRST : PN_HALF_SECOND;
        const pn_batch_stream streams[] = {{.half = half, .N = HALF, .in_order = true},
                                           {.half = half, .N = HALF}};
        pn_batches *b = create(&data, streams, 2, 4);
        pn_batch listed, shuffled;
        int place[COUNT] = {0};
        assert_int_equal(pn_batches_take(b, 0, 0, &listed), PN_OK);
        assert_int_equal(pn_batches_take(b, 1, 0, &shuffled), PN_OK);
        for (int i = 0; i < HALF; i++) place[image_of(listed.x + (ptrdiff_t)i * 4 * 4 * 3)] = i;
        for (int i = 0; i < HALF; i++)
            order[s][i] = place[image_of(shuffled.x + (ptrdiff_t)i * 4 * 4 * 3)];
        pn_batches_free(b);
    }
    int same = 0;
    for (int i = 0; i < HALF; i++) same += order[0][i] == order[1][i];
    assert_true(same <= 12); /* Poisson with mean 1: more with probability 6e-11 */
    pn_data_free(&data);
}

/* Undo crop and flip from the pixels: each image must be the original moved by (dy,dx), mirrored
 * or not, black where it left the frame; and over many images each of the 9 x 9 x 2 cases must
 * come equally often. */
static void crops_and_flips_are_exact_and_uniform(void **state) {
    (void)state;
    enum { EDGE = 15, COUNT = 50, N = 50, STEPS = 400, DRAWN = N * STEPS, CASES = 9 * 9 * 2 };
    pn_data data = labelled_set(COUNT, EDGE); /* 225 pixels, each with a byte of its own */
    const pn_batch_stream stream = {.N = N, .augment = true};
    pn_batches *b = create(&data, &stream, 1, 3);
    int seen[CASES] = {0};
    for (int step = 0; step < STEPS; step++) {
        pn_batch batch;
        assert_int_equal(pn_batches_take(b, 0, step, &batch), PN_OK);
        for (int i = 0; i < N; i++) {
            const float *x = batch.x + (ptrdiff_t)i * EDGE * EDGE * 3;
            /* The middle never leaves the frame; its neighbour tells the direction. */
            const float *middle = x + (7 * EDGE + 7) * 3;
            const int at = byte_of(middle[1]) - 1, next = byte_of(middle[4]) - 1;
            const bool flip = next < at;
            const int dy = at / EDGE - 7, dx = at % EDGE - 7;
            assert_true(abs(dy) <= 4 && abs(dx) <= 4 && abs(next - at) == 1);
            for (int h = 0; h < EDGE; h++)
                for (int w = 0; w < EDGE; w++) {
                    const int y = h + dy, z = (flip ? EDGE - 1 - w : w) + dx;
                    const bool inside = y >= 0 && y < EDGE && z >= 0 && z < EDGE;
                    const float *pixel = x + (h * EDGE + w) * 3;
                    assert_int_equal(byte_of(pixel[1]), inside ? 1 + y * EDGE + z : 0);
                    if (!inside) assert_true(pixel[2] == -2); /* (0 - .5) / .25 */
                }
            seen[((dy + 4) * 9 + dx + 4) * 2 + flip]++;
        }
    }
    /* Chi-square with 161 degrees of freedom: 6 deviations of sqrt(322) above the mean. */
    double chi = 0, expected = (double)DRAWN / CASES;
    for (int i = 0; i < CASES; i++) chi += (seen[i] - expected) * (seen[i] - expected) / expected;
    assert_true(chi < 161 + 6 * sqrt(322));
    pn_batches_free(b);
    pn_data_free(&data);
}

/* The square is centred anywhere in the image with equal chance, so the pixel in the middle is
 * covered with probability (edge/H)(edge/W), a corner with a quarter of that. */
static void cutout_hides_one_square(void **state) {
    (void)state;
    enum { EDGE = 16, CUT = 8, N = 40, STEPS = 200, DRAWN = N * STEPS };
    pn_data data = labelled_set(N, EDGE);
    const pn_batch_stream stream = {.N = N, .cutout = CUT};
    pn_batches *b = create(&data, &stream, 1, 3);
    int middle = 0, corner = 0;
    for (int step = 0; step < STEPS; step++) {
        pn_batch batch;
        assert_int_equal(pn_batches_take(b, 0, step, &batch), PN_OK);
        for (int i = 0; i < N; i++) {
            const float *x = batch.x + (ptrdiff_t)i * EDGE * EDGE * 3;
            int top = EDGE, bottom = -1, left = EDGE, right = -1, hidden = 0;
            for (int h = 0; h < EDGE; h++)
                for (int w = 0; w < EDGE; w++) {
                    if (x[(h * EDGE + w) * 3 + 1] != 0) continue; /* no byte of the image is 0 */
                    hidden++;
                    top = h < top ? h : top;
                    bottom = h > bottom ? h : bottom;
                    left = w < left ? w : left;
                    right = w > right ? w : right;
                }
            assert_int_equal(hidden, (bottom - top + 1) * (right - left + 1)); /* a rectangle */
            assert_true(bottom - top + 1 <= CUT && right - left + 1 <= CUT);
            assert_true(hidden >= CUT / 2 * (CUT / 2));
            middle += x[(8 * EDGE + 8) * 3 + 1] == 0;
            corner += x[1] == 0;
        }
    }
    assert_true(abs(middle - DRAWN / 4) < 6 * sqrt(DRAWN * .25 * .75)); /* binomial */
    /* Rows 0..4 as centre cover row 0, for top = centre - 4 is at most 0: 5 of 16. */
    const double p = 5. / 16 * 5 / 16;
    assert_true(fabs(corner - DRAWN * p) < 6 * sqrt(DRAWN * p * (1 - p)));
    pn_batches_free(b);
    pn_data_free(&data);
}

static void evaluation_goes_through_all_in_order(void **state) {
    (void)state;
    enum { COUNT = 23, N = 10 };
    pn_data data = labelled_set(COUNT, 4);
    const pn_batch_stream stream = {.N = N, .in_order = true};
    pn_batches *b = create(&data, &stream, 1, 0);
    assert_int_equal(pn_batches_steps_per_epoch(b, 0), 3);
    int next = 0;
    pn_batch batch;
    for (int step = 0; step < 3; step++) {
        assert_int_equal(pn_batches_take(b, 0, step, &batch), PN_OK);
        assert_int_equal(batch.n, step < 2 ? 10 : 3);
        for (int i = 0; i < batch.n; i++)
            assert_int_equal(image_of(batch.x + (ptrdiff_t)i * 4 * 4 * 3), next++);
    }
    assert_int_equal(pn_batches_take(b, 0, 3, &batch), PN_EARG);
    assert_sentence("step 3, want 0 to 2");
    assert_int_equal(pn_batches_take(b, 0, -1, &batch), PN_EARG);
    assert_int_equal(pn_batches_take(b, 1, 0, &batch), PN_EARG);
    assert_sentence("stream 1, want 0 to 0");
    /* Two buffers of 10 x 4 x 4 x 3 floats (a multiple of 64 bytes) and of 10 labels. */
    assert_int_equal(pn_batches_bytes(b), 2 * (10 * 48 * 4 + 10 * 4));
    pn_batches_free(b);
    pn_data_free(&data);
}

static void batches_that_cannot_be_are_refused(void **state) {
    (void)state;
    pn_data data = labelled_set(21, 4);
    pn_batches *b;
    const pn_batch_stream large = {.half = PN_HALF_FIRST, .N = 11}, none = {.N = 0},
                          cut = {.N = 1, .cutout = -1};
    assert_int_equal(pn_batches_create(&data, &large, 1, 0, &b), PN_EARG);
    assert_sentence("batch 11, want 1 to 10: the first half of numbers has no more images");
    assert_int_equal(pn_batches_create(&data, &none, 1, 0, &b), PN_EARG);
    assert_int_equal(pn_batches_create(&data, &cut, 1, 0, &b), PN_EARG);
    assert_int_equal(pn_batches_create(&data, &large, 3, 0, &b), PN_EARG);
    pn_batches_free(NULL);
    const pn_batch_stream unused = {.N = 5};
    pn_batches_free(create(&data, &unused, 1, 0)); /* stops without a take */
    pn_data_free(&data);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(cifar_planes_become_pixels_in_file_order),
        IN_FOLDER(cifar_files_that_are_wrong_are_refused),
        IN_FOLDER(idx_files_are_read_plain_and_compressed),
        IN_FOLDER(idx_files_that_are_wrong_are_refused),
        IN_FOLDER(a_compressed_file_cut_or_changed_is_refused),
        cmocka_unit_test(the_published_mean_is_found_by_measuring),
        IN_FOLDER(specs_that_cannot_be_say_what_can),
        IN_FOLDER(half_the_size_is_the_mean_of_four),
        cmocka_unit_test(the_built_in_set_is_always_the_same),
        cmocka_unit_test(halves_are_disjoint_and_complete_every_epoch),
        cmocka_unit_test(any_step_can_be_asked_for_and_is_the_same),
        cmocka_unit_test(a_batch_in_use_is_not_written),
        cmocka_unit_test(a_batch_being_made_is_not_handed_out),
        cmocka_unit_test(the_halves_have_orders_of_their_own),
        cmocka_unit_test(crops_and_flips_are_exact_and_uniform),
        cmocka_unit_test(cutout_hides_one_square),
        cmocka_unit_test(evaluation_goes_through_all_in_order),
        cmocka_unit_test(batches_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
