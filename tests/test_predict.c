/* test_predict.c -- a network for use: what its weights say of images and classes, and that they
 * are all it takes to evaluate it and to predict. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "kernels/backend.h"
#include "runtime/json.h"
#include "runtime/npy.h"
#include "search/network/classifier.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

/* ---- what images a network takes ------------------------------------------------------------- */

static char cat[] = "cat", dog[] = "dog \"d\\",
            umlaut[] =
                "d\xc3\xa4"
                "chs";
static char *names[] = {cat, dog, umlaut};
static const pn_images grey = {.H = 5, .W = 7, .C = 1, .classes = 3, .names = names},
                       colour = {.H = 8,
                                 .W = 6,
                                 .C = 3,
                                 .classes = 3,
                                 .measured = true,
                                 .mean = {.4914F, 0, 1},
                                 .std = {.1F, 1.1754944e-38F, 1},
                                 .names = names},
                       nameless = {.H = 4096,
                                   .W = 1,
                                   .C = 3,
                                   .classes = 65536,
                                   .measured = true,
                                   .mean = {1.F / 3, 1e-30F, .1234567F},
                                   .std = {.3F, .99999994F, 1e-7F}};

static void assert_same_images(const pn_images *a, const pn_images *b) {
    assert_int_equal(a->H, b->H);
    assert_int_equal(a->W, b->W);
    assert_int_equal(a->C, b->C);
    assert_int_equal(a->classes, b->classes);
    assert_int_equal(a->measured, b->measured);
    for (int c = 0; a->measured && c < a->C; c++) {
        assert_true(a->mean[c] == b->mean[c]);
        assert_true(a->std[c] == b->std[c]);
    }
    assert_int_equal(!a->names, !b->names);
    for (int i = 0; a->names && b->names && i < a->classes; i++)
        assert_string_equal(a->names[i], b->names[i]);
}

static pn_status read_images(const char *text, pn_images *images) {
    json_t *object = NULL;
    assert_int_equal(pn_json_parse(text, strlen(text), &object), PN_OK);
    const pn_status s = pn_images_read(object, images);
    json_decref(object);
    return s;
}

static void images_come_back(void **state) {
    (void)state;
    const pn_images cases[] = {grey, colour, nameless};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = NULL;
        pn_images read;
        assert_int_equal(pn_images_text(&cases[i], &text), PN_OK);
        assert_int_equal(read_images(text, &read), PN_OK);
        assert_same_images(&cases[i], &read);
        pn_images_free(&read);
        free(text);
    }
    char *text = NULL; /* as people publish it */
    assert_int_equal(pn_images_text(&colour, &text), PN_OK);
    assert_non_null(strstr(text, "\"mean\": [0.4914, 0.0, 1.0]"));
    free(text);
}

static void names_are_safe_to_print(void **state) {
    (void)state;
    char long_name[600], text[800];
    pn_images read;
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    snprintf(text, sizeof text,
             "{\"image\": [1, 1, 1], \"classes\": 2, \"names\": [\"a\\u001b[2J\\n\", \"%s\"]}",
             long_name);
    assert_int_equal(read_images(text, &read), PN_OK);
    assert_string_equal(read.names[0], "a\\x1b[2J\\x0a");
    assert_int_equal(strlen(read.names[1]), PN_CLASS_NAME_BYTES - 1);
    char number[16];
    assert_string_equal(pn_images_class(&read, 0, number), read.names[0]);
    assert_string_equal(pn_images_class(&nameless, 65535, number), "65535");
    pn_images_free(&read);
}

#define SIZES "\"image\": [2, 3, 3], \"classes\": 2"
#define MEASURED "\"mean\": [0.1, 0, 1], \"std\": [1, 0.5, 0.1]"

static void images_that_cannot_be(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"[]", "\"image\""},
        {"{\"classes\": 2}", "\"image\""},
        {"{\"image\": [2, 3], \"classes\": 2}", "\"image\""},
        {"{\"image\": [0, 3, 3], \"classes\": 2}", "\"image\""},
        {"{\"image\": [2, 4097, 3], \"classes\": 2}", "\"image\""},
        {"{\"image\": [2, 3, 2], \"classes\": 2}", "\"image\""},
        {"{\"image\": [2, 3.0, 3], \"classes\": 2}", "\"image\""},
        {"{\"image\": [2, 3, 3]}", "\"classes\""},
        {"{\"image\": [2, 3, 3], \"classes\": 0}", "\"classes\""},
        {"{\"image\": [2, 3, 3], \"classes\": 4294967298}", "\"classes\""},
        {"{" SIZES ", \"mean\": [0.1, 0, 1]}", "\"std\""},
        {"{" SIZES ", \"std\": [0.1, 1, 1]}", "\"mean\""},
        {"{" SIZES ", \"mean\": [0, 0], \"std\": [1, 1]}", "3 channels"},
        {"{" SIZES ", \"mean\": [0, 0, 1.5], \"std\": [1, 1, 1]}", "\"mean\""},
        {"{" SIZES ", \"mean\": [0, 0, 0], \"std\": [1, 1, 0]}", "\"std\""},
        {"{" SIZES ", \"mean\": [0, 0, 0], \"std\": [1, 1, 1e-99]}", "\"std\""},
        {"{" SIZES ", \"mean\": [0, 0, \"0\"], \"std\": [1, 1, 1]}", "\"mean\""},
        {"{" SIZES ", \"names\": [\"a\"]}", "list of 2"},
        {"{" SIZES ", \"names\": \"ab\"}", "list of 2"},
        {"{" SIZES ", \"names\": [\"a\", 2]}", "name 1"},
    };
    pn_images read;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(read_images(cases[i].text, &read), PN_EINPUT);
        if (!strstr(pn_error(), cases[i].why)) fail_msg("%s: %s", cases[i].text, pn_error());
        assert_null(read.names);
    }
    assert_int_equal(read_images("{" SIZES ", " MEASURED "}", &read), PN_OK);
}

/* ---- the classifier -------------------------------------------------------------------------- */

/* Weights as they come from the seed, with running statistics that are not those of the start. */
static void save_weights(const char *path, const pn_network_spec *spec, const pn_images *images) {
    const pn_space space = pn_space_darts();
    static pn_network n;
    pn_arch arch;
    assert_int_equal(pn_genotype_open("DARTS_V2", &arch), PN_OK);
    assert_int_equal(pn_network_create(&n, spec, &space, &arch), PN_OK);
    assert_int_equal(pn_parameters_allocate(&n.parameters, &pn_host_memory), PN_OK);
    pn_parameters_init(&n.parameters, 1);
    for (int i = 0; i < n.parameters.count; i++)
        for (size_t k = 0; n.parameters.list[i].rank == 1 && k < n.parameters.list[i].count; k++)
            n.parameters.value[n.parameters.list[i].offset + k] +=
                .25F * (float)((k * 7 + (size_t)i) % 5);
    assert_int_equal(pn_weights_save(NULL, path, &n, &arch, images, 3, false), PN_OK);
    pn_network_destroy(&n);
}

static const pn_kernels *cpu(void) {
    const pn_kernels *kernels = NULL;
    assert_int_equal(pn_backend_open("cpu", &kernels), PN_OK);
    return kernels;
}

static void open_weights(pn_classifier *c, int N) {
    assert_int_equal(pn_classifier_open(c, cpu(), pn_in_folder("w.safetensors"), NULL, N), PN_OK);
}

static pn_network_spec spec_of(const pn_data *data) {
    return (pn_network_spec){.evaluation = true,
                             .layers = 3,
                             .channels = 4,
                             .H = data->H,
                             .W = data->W,
                             .image_channels = data->C,
                             .classes = data->classes};
}

/* Floats, bytes and pn_predict give an image the same bits, whatever stands beside it. */
static void an_image_has_one_answer(void **state) {
    static const char *const sets[] = {"synthetic:35x12x8x3", "synthetic:35x9x9x1"};
    static const int batches[] = {1, 4, 64};
    static pn_classifier c;
    (void)state;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        pn_data data = {0};
        pn_images images;
        pn_predictions want;
        assert_int_equal(pn_data_open(sets[i], PN_TRAIN, &data), PN_OK);
        const pn_network_spec spec = spec_of(&data);
        const size_t size = (size_t)data.H * (size_t)data.W * (size_t)data.C,
                     logits = (size_t)data.count * (size_t)data.classes;
        assert_int_equal(pn_images_of(&data, &images), PN_OK);
        save_weights(pn_in_folder("w.safetensors"), &spec, &images);
        float *x = calloc((size_t)data.count * size, sizeof *x), *got = calloc(logits, sizeof *got);
        float value[PN_MAX_IMAGE_CHANNELS][PN_PIXEL_LEVELS];
        if (!x || !got) abort();
        pn_normalise(data.C, data.mean, data.std, value);
        for (size_t k = 0; k < (size_t)data.count * size; k++)
            x[k] = value[k % (size_t)data.C][data.images[k]];
        open_weights(&c, 7);
        assert_same_images(&images, &c.images);
        assert_int_equal(pn_predict(c.kernels, &c.network, &c.arch, c.program, &c.arena, 7, &data,
                                    PN_HALF_BOTH, 0, NULL, &want),
                         PN_OK);
        pn_classifier_close(&c);
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
            open_weights(&c, batches[b]);
            assert_int_equal(pn_classify(&c, x, data.count, got), PN_OK);
            assert_memory_equal(got, want.logits, logits * sizeof *got);
            memset(got, 0, logits * sizeof *got);
            assert_int_equal(pn_classify_bytes(&c, data.images, data.count, got), PN_OK);
            assert_memory_equal(got, want.logits, logits * sizeof *got);
            assert_int_equal(pn_classify_bytes(&c, data.images + 5 * size, 3, got), PN_OK);
            assert_memory_equal(got, want.logits + (ptrdiff_t)5 * data.classes,
                                3 * (size_t)data.classes * sizeof *got);
            pn_classifier_close(&c);
        }
        pn_predictions_free(&want);
        free(x);
        free(got);
        pn_images_free(&images);
        pn_data_free(&data);
    }
}

/* Weights of version 0.2 know no mean: bytes are refused, or a set says it. */
static void weights_without_mean_and_deviation(void **state) {
    static pn_classifier c;
    pn_data data = {0}, other = {0};
    (void)state;
    assert_int_equal(pn_data_open("synthetic:20x8x8x3", PN_TRAIN, &data), PN_OK);
    assert_int_equal(pn_data_open("synthetic:20x8x9x3", PN_TRAIN, &other), PN_OK);
    const pn_network_spec spec = spec_of(&data);
    save_weights(pn_in_folder("w.safetensors"), &spec, NULL);
    float logits[20 * 10];
    open_weights(&c, 4);
    assert_false(c.images.measured);
    assert_int_equal(c.images.classes, 10);
    assert_int_equal(pn_classify_bytes(&c, data.images, 4, logits), PN_EARG);
    assert_non_null(strstr(pn_error(), "want --data"));
    const float zero[8 * 8 * 3] = {0};
    assert_int_equal(pn_classify(&c, zero, 1, logits), PN_OK);
    pn_classifier_close(&c);
    pn_classifier_asked asked = {.data = &other};
    const char *path = pn_in_folder("w.safetensors");
    assert_int_equal(pn_classifier_open(&c, cpu(), path, &asked, 4), PN_EARG);
    assert_non_null(strstr(pn_error(), "images of 8x8x3, those of synthetic are 8x9x3"));
    pn_classifier_close(&c);
    asked.data = &data;
    assert_int_equal(pn_classifier_open(&c, cpu(), path, &asked, 4), PN_OK);
    assert_true(c.images.mean[0] == data.mean[0]);
    assert_int_equal(pn_classify_bytes(&c, data.images, 20, logits), PN_OK);
    pn_classifier_close(&c);
    pn_data_free(&data);
    pn_data_free(&other);
}

static void weights_that_are_no_network(void **state) {
    static pn_classifier c;
    pn_data data = {0};
    pn_images images;
    (void)state;
    assert_int_equal(pn_data_open("synthetic:20x8x8x3", PN_TRAIN, &data), PN_OK);
    assert_int_equal(pn_images_of(&data, &images), PN_OK);
    const pn_network_spec spec = spec_of(&data);
    images.W = 9; /* another size than the network's */
    save_weights(pn_in_folder("other.safetensors"), &spec, &images);
    assert_int_equal(pn_classifier_open(&c, cpu(), pn_in_folder("other.safetensors"), NULL, 4),
                     PN_EINPUT);
    assert_non_null(strstr(pn_error(), "other.safetensors: metadata \"images\" are not of the "));
    pn_classifier_close(&c);
    images.W = 8;
    save_weights(pn_in_folder("w.safetensors"), &spec, &images);
    open_weights(&c, 4);
    const int bias = c.network.classifier + 1; /* (a ReLU makes a number of NaN) */
    c.network.parameters.value[c.network.parameters.list[bias].offset] = NAN;
    assert_int_equal(pn_parameters_push(&c.network.parameters), PN_OK);
    float logits[10];
    assert_int_equal(pn_classify_bytes(&c, data.images, 1, logits), PN_EDIVERGED);
    pn_classifier_close(&c);
    pn_images_free(&images);
    pn_data_free(&data);
}

/* All tensors of one file in another, without its metadata. */
static void strip(const char *from, const char *to, const char *leave_out) {
    pn_safetensors *f = NULL;
    pn_array list[600];
    int count = 0;
    assert_int_equal(pn_safetensors_read(from, &f), PN_OK);
    assert_true(pn_safetensors_count(f) <= 600);
    for (int i = 0; i < pn_safetensors_count(f); i++) {
        const pn_array *a = pn_safetensors_at(f, i);
        if (!leave_out || strcmp(a->name, leave_out) != 0) list[count++] = *a;
    }
    assert_int_equal(pn_safetensors_write(to, list, count, NULL, 0), PN_OK);
    pn_safetensors_free(f);
}

/* Norms behind pools: of one's own weights the metadata say so, of others, as of the public code of
 * SNAS, the tensors. */
static void pools_with_a_norm(void **state) {
    static pn_classifier c;
    (void)state;
    for (int norms = 0; norms < 2; norms++) {
        pn_data data = {0};
        pn_images images;
        float own[10], others[10];
        assert_int_equal(pn_data_open("synthetic:20x8x8x3", PN_TRAIN, &data), PN_OK);
        assert_int_equal(pn_images_of(&data, &images), PN_OK);
        pn_network_spec spec = spec_of(&data);
        spec.pool_norm = norms;
        save_weights(pn_in_folder("w.safetensors"), &spec, &images);
        open_weights(&c, 1);
        assert_int_equal(c.network.spec.pool_norm, norms);
        assert_int_equal(pn_classify_bytes(&c, data.images, 1, own), PN_OK);
        pn_classifier_close(&c);
        const pn_classifier_asked asked = {
            .genotype = "DARTS_V2", .layers = 3, .channels = 4, .data = &data};
        const char *other = pn_in_folder("other.safetensors");
        strip(pn_in_folder("w.safetensors"), other, NULL);
        assert_int_equal(pn_classifier_open(&c, cpu(), other, &asked, 1), PN_OK);
        assert_int_equal(c.network.spec.pool_norm, norms);
        assert_int_equal(pn_classify_bytes(&c, data.images, 1, others), PN_OK);
        assert_memory_equal(own, others, sizeof own);
        pn_classifier_close(&c);
        if (norms) {
            strip(pn_in_folder("w.safetensors"), other, "cells.2._ops.3.op.1.bias");
            assert_int_equal(pn_classifier_open(&c, cpu(), other, &asked, 1), PN_EINPUT);
            assert_non_null(strstr(pn_error(), "cells.2._ops.3.op.1.bias"));
            pn_classifier_close(&c);
        }
        pn_images_free(&images);
        pn_data_free(&data);
    }
}

static void probabilities_are_the_softmax(void **state) {
    (void)state;
    const float logits[] = {1000, 1000, 999};
    double p[3];
    pn_probabilities(logits, 3, p);
    const double e = exp(-1), sum = 2 + e;
    assert_true(fabs(p[0] - 1 / sum) < 1e-15 && p[0] == p[1]);
    assert_true(fabs(p[2] - e / sum) < 1e-15);
}

/* ---- the program ----------------------------------------------------------------------------- */

enum { LIMIT = 300, IMAGES = 60, TESTED = 12, EDGE = 16, CLASSES = 10 };
#define COLOUR "synthetic:60x16x16x3"
#define GREY "synthetic:60x16x16x1"

static pn_process last; /* the process run last */

static int run_program(const char *const *arguments) {
    return pn_process_program(&last, PN_PROGRAM, arguments, LIMIT);
}
#define RUN(...) run_program((const char *const[]){__VA_ARGS__, NULL})

/* It ends with that code, prints nothing, and says one sentence that has these words. */
static void refuse(int code, const char *words, const char *const *arguments) {
    (void)run_program(arguments);
    pn_process_refused(&last, code, words);
}
#define REFUSE(code, words, ...) refuse(code, words, (const char *const[]){__VA_ARGS__, NULL})

/* The same with a file as standard input. */
static int run_with_input(const char *file, const char *arguments) {
    char line[1024];
    snprintf(line, sizeof line, "%s %s < %s", PN_PROGRAM, arguments, file);
    const char *const argv[] = {"/bin/sh", "-c", line, NULL};
    const pn_conditions where = {.folder = pn_folder};
    pn_process_free(&last);
    pn_process_run(&last, argv, &where, LIMIT);
    return last.code;
}

static void put(const char *name, const void *bytes, size_t size) {
    assert_int_equal(pn_file_write(pn_in_folder(name), bytes, size), PN_OK);
}

static void make_folder(const char *name) { assert_int_equal(mkdir(pn_in_folder(name), 0777), 0); }

/* ---- pictures: PNG without filters (RFC 2083) ---- */

static size_t chunk(unsigned char *to, const char *type, const void *data, size_t size) {
    const unsigned char length[] = {(unsigned char)(size >> 24), (unsigned char)(size >> 16),
                                    (unsigned char)(size >> 8), (unsigned char)size};
    memcpy(to, length, 4);
    memcpy(to + 4, type, 4);
    memcpy(to + 8, data, size);
    const uLong crc = crc32_z(crc32_z(0, NULL, 0), to + 4, size + 4);
    for (int i = 0; i < 4; i++) to[8 + size + (size_t)i] = (unsigned char)(crc >> (24 - 8 * i));
    return size + 12;
}

static size_t put_png(const char *name, const uint8_t *pixels, int H, int W, int C) {
    static unsigned char raw[1 << 16], packed[1 << 17], file[1 << 17];
    const unsigned char header[13] = {0,
                                      0,
                                      (unsigned char)(W >> 8),
                                      (unsigned char)W,
                                      0,
                                      0,
                                      (unsigned char)(H >> 8),
                                      (unsigned char)H,
                                      8,
                                      C == 3 ? 2 : 0};
    const size_t row = (size_t)W * (size_t)C;
    uLongf size = sizeof packed;
    for (int y = 0; y < H; y++) {
        raw[(size_t)y * (row + 1)] = 0;
        memcpy(raw + (size_t)y * (row + 1) + 1, pixels + (size_t)y * row, row);
    }
    assert_int_equal(compress(packed, &size, raw, (size_t)H * (row + 1)), Z_OK);
    static const unsigned char signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    memcpy(file, signature, sizeof signature);
    size_t n = 8;
    n += chunk(file + n, "IHDR", header, sizeof header);
    n += chunk(file + n, "IDAT", packed, size);
    n += chunk(file + n, "IEND", "", 0);
    put(name, file, n);
    return n;
}

static pn_data colours, greys; /* the test images that the two networks are scored on */

static const uint8_t *image_of(const pn_data *data, int i) {
    return data->images + (ptrdiff_t)i * data->H * data->W * data->C;
}

/* Image i of a set, as NAME/i.png. */
static void put_set(const char *folder, const pn_data *data) {
    char name[64];
    make_folder(folder);
    for (int i = 0; i < data->count; i++) {
        snprintf(name, sizeof name, "%s/%03d.png", folder, i);
        put_png(name, image_of(data, i), data->H, data->W, data->C);
    }
}

/* CIFAR-10's files with the first images of one set in each. */
static void put_cifar(const char *folder, int shift) {
    enum { RECORDS = 8, BYTES = 3072 };
    static unsigned char file[RECORDS * (BYTES + 1)];
    make_folder(folder);
    for (int f = 0; f <= 5; f++) {
        char name[64];
        for (int i = 0; i < RECORDS; i++)
            for (int b = 0; b <= BYTES; b++)
                file[i * (BYTES + 1) + b] =
                    (unsigned char)(b ? (b * (i + 3 + f) / 7 + shift) % 256 : (i + f) % CLASSES);
        snprintf(name, sizeof name, f ? "%s/data_batch_%d.bin" : "%s/test_batch.bin", folder, f);
        put(name, file, sizeof file);
    }
}

/* IDX files: `shift` is added to the training images alone. */
static void put_idx(const char *folder, int shift) {
    enum { COUNT = 40, PIXELS = 64 };
    make_folder(folder);
    for (int test = 0; test < 2; test++) {
        char name[64];
        unsigned char images[16 + COUNT * PIXELS] = {0, 0, 8, 3, 0, 0, 0, COUNT,
                                                     0, 0, 0, 8, 0, 0, 0, 8},
                                          labels[8 + COUNT] = {0, 0, 8, 1, 0, 0, 0, COUNT};
        for (int i = 0; i < COUNT * PIXELS; i++)
            images[16 + i] = (unsigned char)((i * 7 + i / 5 + (test ? 0 : shift)) % 200);
        for (int i = 0; i < COUNT; i++) labels[8 + i] = (unsigned char)(i % 4);
        snprintf(name, sizeof name, "%s/%s-images-idx3-ubyte", folder, test ? "t10k" : "train");
        put(name, images, sizeof images);
        snprintf(name, sizeof name, "%s/%s-labels-idx1-ubyte", folder, test ? "t10k" : "train");
        put(name, labels, sizeof labels);
    }
}

/* Of one epoch; DIR/seed-N for each seed. */
static void train(const char *directory, const char *data, const char *seeds) {
    const int code = RUN("train", directory, "--genotype", "PDARTS", "--data", data, "--layers",
                         "3", "--channels", "4", "--batch", "8", "--epochs", "1", "--cutout", "0",
                         "--rate", "0.2", "--no-hold-out", "--seeds", seeds, "--quiet");
    if (code) fail_msg("train %s: %s", data, last.err);
}

static int begin(void **state) {
    assert_int_equal(pn_folder_begin(state), 0);
    assert_int_equal(pn_data_open(COLOUR, PN_TEST, &colours), PN_OK);
    assert_int_equal(pn_data_open(GREY, PN_TEST, &greys), PN_OK);
    assert_int_equal(colours.count, TESTED);
    put_set("colour", &colours);
    put_set("grey", &greys);
    train("one", COLOUR, "7");
    train("two", GREY, "3,8");
    return 0;
}

static int end(void **state) {
    pn_process_free(&last);
    pn_data_free(&colours);
    pn_data_free(&greys);
    return pn_folder_end(state);
}

/* Line i of what predict --json printed, of all classes: the path; logits by label. */
static void line_of(int i, const char *path, float logits[CLASSES]) {
    const char *line = last.out;
    while (i-- > 0) line = strchr(line, '\n') + 1;
    json_t *root = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL),
           *classes = json_object_get(root, "classes");
    assert_string_equal(json_string_value(json_object_get(root, "image")), path);
    assert_int_equal(json_array_size(classes), CLASSES);
    double sum = 0, before = 1;
    for (size_t k = 0; k < CLASSES; k++) {
        const json_t *one = json_array_get(classes, k);
        const double p = json_number_value(json_object_get(one, "probability"));
        assert_true(p <= before);
        sum += before = p;
        logits[json_integer_value(json_object_get(one, "label"))] =
            (float)json_number_value(json_object_get(one, "logit"));
    }
    assert_true(fabs(sum - 1) < 1e-7); /* nine digits of each */
    json_decref(root);
}

static int lines(const char *text) {
    int n = 0;
    for (; *text; text++) n += *text == '\n';
    return n;
}

static void read_logits(const char *name, int images, float *to) {
    pn_array a = {0};
    assert_int_equal(pn_npy_read(pn_in_folder(name), &a), PN_OK);
    assert_int_equal(a.shape[0], images);
    memcpy(to, a.data, pn_array_bytes(&a));
    pn_npy_free(&a);
}

/* Every image of the set, from a file of its own: the logits of eval, to the bit. */
static void predict_agrees_with_eval(void **state) {
    static const struct {
        const char *weights, *folder, *batch;
    } cases[] = {
        {"one", "colour", "5"}, {"one/seed-7", "colour", "64"}, {"two/seed-8", "grey", "1"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float want[TESTED * CLASSES], got[CLASSES];
        assert_int_equal(RUN("eval", cases[i].weights, "--logits", "l.npy"), 0);
        read_logits("l.npy", TESTED, want);
        assert_int_equal(RUN("predict", cases[i].weights, cases[i].folder, "--json", "--top", "10",
                             "--batch", cases[i].batch),
                         0);
        assert_string_equal(last.err, "");
        assert_int_equal(lines(last.out), TESTED);
        for (int k = 0; k < TESTED; k++) {
            char path[64];
            snprintf(path, sizeof path, "%s/%03d.png", cases[i].folder, k);
            line_of(k, path, got);
            assert_memory_equal(got, want + (ptrdiff_t)k * CLASSES, sizeof got);
        }
    }
}

/* The logits of pictures given one by one. */
static void predict_one(const char *weights, const char *path, float logits[CLASSES]) {
    if (RUN("predict", weights, path, "--json", "--top", "10")) fail_msg("%s", last.err);
    line_of(0, path, logits);
}

static void pictures_become_what_the_network_takes(void **state) {
    float want[CLASSES], got[CLASSES];
    uint8_t other[4 * EDGE * EDGE * 3];
    const uint8_t *image = image_of(&colours, 2), *dark = image_of(&greys, 2);
    (void)state;
    predict_one("one", "colour/002.png", want);
    for (int y = 0; y < 2 * EDGE; y++) /* every pixel four times */
        for (int x = 0; x < 2 * EDGE; x++)
            memcpy(other + (ptrdiff_t)(y * 2 * EDGE + x) * 3,
                   image + (ptrdiff_t)(y / 2 * EDGE + x / 2) * 3, 3);
    put_png("twice.png", other, 2 * EDGE, 2 * EDGE, 3);
    predict_one("one", "twice.png", got);
    assert_memory_equal(got, want, sizeof got);

    memset(other, 255, sizeof other); /* four rows above and below */
    memcpy(other + (ptrdiff_t)4 * EDGE * 3, image, (size_t)EDGE * EDGE * 3);
    put_png("higher.png", other, EDGE + 8, EDGE, 3);
    predict_one("one", "higher.png", got);
    assert_memory_equal(got, want, sizeof got);

    /* A grey picture and three equal channels are the same to either network. */
    for (int i = 0; i < EDGE * EDGE; i++) memset(other + (ptrdiff_t)3 * i, dark[i], 3);
    put_png("equal.png", other, EDGE, EDGE, 3);
    predict_one("one", "grey/002.png", want);
    predict_one("one", "equal.png", got);
    assert_memory_equal(got, want, sizeof got);
    predict_one("two/seed-3", "grey/002.png", want);
    predict_one("two/seed-3", "equal.png", got);
    assert_memory_equal(got, want, sizeof got);
}

static void standard_input_and_lines(void **state) {
    (void)state;
    assert_int_equal(RUN("predict", "one", "colour/001.png", "--top", "2"), 0);
    char *want = strdup(last.out);
    int first, second;
    double p, q;
    assert_int_equal(sscanf(want, "colour/001.png\t%d\t%lf\t%d\t%lf\n", &first, &p, &second, &q),
                     4);
    assert_true(first != second && p >= q && p + q <= 1.0001);
    assert_int_equal(run_with_input("colour/001.png", "predict one - --top 2"), 0);
    assert_string_equal(last.out + 1, want + strlen("colour/001.png"));
    assert_int_equal(last.out[0], '-');
    free(want);
    /* In the order given, whatever the batches. */
    assert_int_equal(run_with_input("colour/001.png",
                                    "predict one colour/003.png - colour/000.png "
                                    "--batch 2 --json --top 10"),
                     0);
    float logits[CLASSES];
    line_of(0, "colour/003.png", logits);
    line_of(1, "-", logits);
    line_of(2, "colour/000.png", logits);
    assert_int_equal(run_with_input("/dev/null", "predict one -"), 3);
    assert_non_null(strstr(last.err, "standard input: empty\n"));
}

static void a_bad_picture_is_named_and_the_others_go_on(void **state) {
    (void)state;
    make_folder("mixed");
    make_folder("mixed/below");
    make_folder("mixed/.hidden");
    const size_t size = put_png("mixed/b.png", image_of(&colours, 0), EDGE, EDGE, 3);
    put_png("mixed/below/d.png", image_of(&colours, 1), EDGE, EDGE, 3);
    put_png("mixed/.hidden/e.png", image_of(&colours, 1), EDGE, EDGE, 3);
    void *bytes = NULL;
    size_t length;
    assert_int_equal(pn_file_read(pn_in_folder("mixed/b.png"), 1 << 20, &bytes, &length), PN_OK);
    put("mixed/c.png", bytes, size / 2);
    put("mixed/a.txt", "text", 4);
    free(bytes);
    assert_int_equal(RUN("predict", "one", "mixed", "colour/000.png"), 3);
    assert_int_equal(lines(last.out), 3);
    assert_true(!strncmp(last.out, "mixed/b.png\t", 12));
    assert_non_null(strstr(last.out, "\nmixed/below/d.png\t"));
    assert_non_null(strstr(last.out, "\ncolour/000.png\t"));
    assert_non_null(strstr(last.err, "mixed/c.png: "));
    assert_non_null(
        strstr(last.err, "mixed/a.txt: neither JPEG nor PNG, want JPEG or PNG; passed"));
    assert_non_null(strstr(last.err, "predict: 1 of 5 could not be read\n"));

    assert_int_equal(remove(pn_in_folder("mixed/c.png")), 0);
    assert_int_equal(symlink("..", pn_in_folder("mixed/below/up")), 0);
    assert_int_equal(RUN("predict", "one", "mixed"), 0); /* what is no picture was not asked for */
    assert_int_equal(lines(last.out), 2);
    assert_non_null(strstr(last.err, "mixed/below/up: leads to a folder above; passed over"));
    assert_int_equal(RUN("predict", "one", "mixed/a.txt"), 3); /* this one was */
    assert_int_equal(RUN("predict", "one", "colour/000.png", "nothing.png"), 6);
    assert_int_equal(lines(last.out), 1);
    assert_non_null(strstr(last.err, "nothing.png: cannot open: No such file or directory"));
}

static void weights_by_any_of_their_names(void **state) {
    (void)state;
    static const char several[] = "two: trained with several seeds, want one of seed-3 and seed-8";
    REFUSE(2, several, "eval", "two");
    REFUSE(2, several, "predict", "two", "grey");
    REFUSE(2, several, "export", "two", "--safetensors", "w.safetensors");
    assert_int_equal(RUN("eval", "one/seed-7/best.safetensors"), 0);
    char *want = strdup(last.out);
    assert_int_equal(RUN("eval", "one"), 0); /* one epoch: the last is the best */
    assert_string_equal(last.out, want);
    assert_int_equal(RUN("export", "one", "--safetensors", "out.safetensors"), 0);
    assert_int_equal(RUN("eval", "out.safetensors", "--data", COLOUR), 0);
    assert_string_equal(last.out, want);
    free(want);
    assert_int_equal(RUN("predict", "out.safetensors", "colour/000.png"), 0);
    REFUSE(2, "out.safetensors: does not lie in the directory of a training", "eval",
           "out.safetensors");
    make_folder("nothing");
    REFUSE(2, "nothing: no last.safetensors in it", "eval", "nothing");
    REFUSE(2, "nothing: no last.safetensors in it", "predict", "nothing", "grey");
    REFUSE(2, "want WEIGHTS and IMAGE", "predict", "one");
    put("torch.pt", "PK\x03\x04\x00\x00\x08\x08 and so on", 18);
    REFUSE(3, "torch.pt: a PyTorch pickle; save it as safetensors", "predict", "torch.pt", "grey");
    put("torch.pt", "PK\x03\x04\x00\x00\x00\x00 and so on", 18);
    REFUSE(3, "torch.pt: a PyTorch pickle; save it as safetensors", "eval", "torch.pt", "--data",
           COLOUR);
    put("torch.pt", "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 and so on", 19);
    REFUSE(3, "torch.pt: a PyTorch pickle; save it as safetensors", "export", "torch.pt",
           "--safetensors", "w.safetensors");
}

/* The set's own mean does not matter, nor does it take the training images. */
static void eval_normalises_as_the_weights_say(void **state) {
    float want[40 * 4], got[40 * 4];
    (void)state;
    put_idx("idx", 0);
    put_idx("brighter", 50);
    pn_data a = {0}, b = {0};
    assert_int_equal(pn_data_open(pn_in_folder("idx"), PN_TEST, &a), PN_OK);
    assert_int_equal(pn_data_open(pn_in_folder("brighter"), PN_TEST, &b), PN_OK);
    assert_true(a.mean[0] != b.mean[0]);
    pn_data_free(&a);
    pn_data_free(&b);
    train("idx-trained", "idx", "1");
    assert_int_equal(RUN("eval", "idx-trained", "--logits", "l.npy"), 0);
    read_logits("l.npy", 40, want);
    assert_int_equal(RUN("eval", "idx-trained", "--data", "brighter", "--logits", "l.npy"), 0);
    read_logits("l.npy", 40, got);
    assert_memory_equal(got, want, sizeof want);

    /* Nor have they to be there; a class may have no test image. */
    unsigned char labels[8 + 40] = {0, 0, 8, 1, 0, 0, 0, 40};
    for (int i = 0; i < 40; i++) labels[8 + i] = (unsigned char)(i % 3);
    put("brighter/t10k-labels-idx1-ubyte", labels, sizeof labels);
    assert_int_equal(unlink(pn_in_folder("brighter/train-images-idx3-ubyte")), 0);
    assert_int_equal(unlink(pn_in_folder("brighter/train-labels-idx1-ubyte")), 0);
    memset(got, 0, sizeof got);
    assert_int_equal(
        RUN("eval", "idx-trained", "--data", "brighter", "--logits", "l.npy", "--json"), 0);
    read_logits("l.npy", 40, got);
    assert_memory_equal(got, want, sizeof want);
    json_t *root = json_loads(last.out, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(root, "confusion")), 4);
    json_decref(root);
    REFUSE(3, "neither train-images-idx3-ubyte", "eval", "idx-trained", "--data", "brighter",
           "--split", "train");
    REFUSE(3, "neither train-images-idx3-ubyte", "train", "other", "--genotype", "PDARTS", "--data",
           "brighter");
    labels[8] = 4; /* which the network does not know */
    put("brighter/t10k-labels-idx1-ubyte", labels, sizeof labels);
    REFUSE(2, "a network that tells 4 classes apart, brighter has 5", "eval", "idx-trained",
           "--data", "brighter");
}

static void names_travel(void **state) {
    (void)state;
    put_cifar("cifar", 0);
    train("named", "cifar", "1");
    assert_int_equal(RUN("eval", "named"), 0);
    assert_non_null(strstr(last.out, "\n    1  automobile  "));
    assert_non_null(strstr(last.out, "\n    3  cat         "));
    assert_int_equal(RUN("eval", "named", "--json"), 0);
    json_t *root = json_loads(last.out, 0, NULL), *list = json_object_get(root, "class_names");
    assert_int_equal(json_array_size(list), CLASSES);
    assert_string_equal(json_string_value(json_array_get(list, 9)), "truck");
    json_decref(root);
    assert_int_equal(RUN("export", "named", "--safetensors", "named.safetensors"), 0);
    assert_int_equal(RUN("predict", "named.safetensors", "colour/000.png", "--top", "10"), 0);
    assert_non_null(strstr(last.out, "\tairplane\t"));
    root = json_load_file(pn_in_folder("named/seed-1/run.json"), 0, NULL);
    const json_t *images = json_object_get(root, "images");
    list = json_object_get(images, "names");
    assert_string_equal(json_string_value(json_array_get(list, 0)), "airplane");
    assert_int_equal(json_array_size(json_object_get(images, "mean")), 3);
    json_decref(root);
    pn_safetensors *file = NULL;
    pn_weights_about about;
    assert_int_equal(pn_safetensors_read(pn_in_folder("named.safetensors"), &file), PN_OK);
    assert_int_equal(pn_weights_describe(file, &about), PN_OK);
    assert_true(about.images.measured && about.images.mean[0] == .4914F);
    pn_weights_about_free(&about);
    pn_safetensors_free(file);

    REFUSE(2, "images of 32x32x3, those of synthetic are 16x16x3", "eval", "named", "--data",
           COLOUR);
    pn_data data = {0};
    pn_images other;
    assert_int_equal(pn_data_open(pn_in_folder("cifar"), PN_TEST, &data), PN_OK);
    assert_int_equal(pn_images_of(&data, &other), PN_OK);
    other.names[3] = cat;
    other.names[5] = umlaut;
    const pn_network_spec spec = spec_of(&data);
    save_weights(pn_in_folder("other.safetensors"), &spec, &other);
    REFUSE(2,
           "a network whose class 5 is d\xc3\xa4"
           "chs, that of cifar10 is dog",
           "eval", "other.safetensors", "--data", "cifar");
    pn_images_free(&other);
    pn_data_free(&data);
}

/* Whether a training of 20 images or more held half of them out. */
static bool held_out(const char *directory, const char *data) {
    char name[64];
    assert_int_equal(
        RUN("train", directory, "--genotype", "PDARTS", "--data", data, "--layers", "1",
            "--channels", "4", "--batch", "8", "--epochs", "1", "--cutout", "0", "--quiet"),
        0);
    snprintf(name, sizeof name, "%s/seed-1/run.json", directory);
    json_t *root = json_load_file(pn_in_folder(name), 0, NULL);
    const json_t *flag = json_object_get(json_object_get(root, "settings"), "hold-out");
    const char *on = json_string_value(json_object_get(root, "scored_on"));
    assert_true(json_is_boolean(flag));
    const bool held = json_is_true(flag);
    assert_string_equal(on, held ? "the other half of the training images" : "the test images");
    json_decref(root);
    return held;
}

static void test_images_of_ones_own_stay_unseen(void **state) {
    (void)state;
    assert_true(held_out("held", "idx"));
    assert_false(held_out("benchmark", "synthetic:40x8x8x1"));
    assert_false(held_out("cifar-files", "cifar"));
}

/* A search says the same of its images. */
static void a_search_says_what_its_images_are(void **state) {
    (void)state;
    assert_int_equal(
        RUN("search", "searched", "--data", "cifar", "--layers", "3", "--channels", "4", "--batch",
            "8", "--samples", "2", "--steps", "1", "--warmup", "0", "--quiet"),
        0);
    json_t *root = json_load_file(pn_in_folder("searched/run.json"), 0, NULL), *object = NULL;
    pn_images recorded, saved;
    assert_int_equal(pn_images_read(json_object_get(root, "images"), &recorded), PN_OK);
    pn_safetensors *file = NULL;
    assert_int_equal(
        pn_safetensors_read(pn_in_folder("searched/checkpoint-00000001.safetensors"), &file),
        PN_OK);
    const char *text = pn_safetensors_meta(file, "images");
    assert_non_null(text);
    assert_int_equal(pn_json_parse(text, strlen(text), &object), PN_OK);
    assert_int_equal(pn_images_read(object, &saved), PN_OK);
    assert_same_images(&recorded, &saved);
    assert_string_equal(saved.names[8], "ship");
    assert_true(saved.std[1] == .2435F);
    pn_images_free(&recorded);
    pn_images_free(&saved);
    pn_safetensors_free(file);
    json_decref(object);
    json_decref(root);
}

/* Version 0.1.0 wrote neither names nor means: the training beside the weights knows its data. */
static void weights_of_version_0_1_0(void **state) {
    static unsigned char bytes[1 << 20];
    (void)state;
    gzFile from = gzopen("fixtures/0.1.0/train/seed-1/best.safetensors.gz", "rb");
    assert_non_null(from);
    const int size = gzread(from, bytes, sizeof bytes);
    assert_true(size > 0 && size < (int)sizeof bytes);
    assert_int_equal(gzclose(from), Z_OK);
    make_folder("old");
    put("old/best.safetensors", bytes, (size_t)size);
    put("alone.safetensors", bytes, (size_t)size);
    void *json = NULL;
    size_t length;
    assert_int_equal(pn_file_read("fixtures/0.1.0/train/seed-1/run.json", 1 << 20, &json, &length),
                     PN_OK);
    put("old/run.json", json, length);
    free(json);
    assert_int_equal(RUN("predict", "old/best.safetensors", "grey/000.png"), 0);
    char *want = strdup(last.out);
    assert_int_equal(
        RUN("predict", "alone.safetensors", "grey/000.png", "--data", "synthetic:16x8x8x3"), 0);
    assert_string_equal(last.out, want);
    free(want);
    REFUSE(2, "alone.safetensors: does not say mean and deviation", "predict", "alone.safetensors",
           "grey/000.png");
    assert_int_equal(RUN("eval", "old/best.safetensors"), 0);
    want = strdup(last.out);
    assert_int_equal(RUN("eval", "alone.safetensors", "--data", "synthetic:16x8x8x3"), 0);
    assert_string_equal(last.out, want);
    free(want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_come_back),
        cmocka_unit_test(names_are_safe_to_print),
        cmocka_unit_test(images_that_cannot_be),
        cmocka_unit_test(an_image_has_one_answer),
        cmocka_unit_test(weights_without_mean_and_deviation),
        cmocka_unit_test(weights_that_are_no_network),
        cmocka_unit_test(pools_with_a_norm),
        cmocka_unit_test(probabilities_are_the_softmax),
        cmocka_unit_test(predict_agrees_with_eval),
        cmocka_unit_test(pictures_become_what_the_network_takes),
        cmocka_unit_test(standard_input_and_lines),
        cmocka_unit_test(a_bad_picture_is_named_and_the_others_go_on),
        cmocka_unit_test(weights_by_any_of_their_names),
        cmocka_unit_test(eval_normalises_as_the_weights_say),
        cmocka_unit_test(names_travel),
        cmocka_unit_test(test_images_of_ones_own_stay_unseen),
        cmocka_unit_test(a_search_says_what_its_images_are),
        cmocka_unit_test(weights_of_version_0_1_0),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
