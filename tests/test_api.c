/* test_api.c -- the stable interface: every function against what it stands on (the program, the
 * trainer, the search), to the bit; what each refuses; handles on several threads; and memory that
 * runs out at any allocation. */
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api/parsec_nas.h"
#include "kernels/backend.h"
#include "runtime/data.h"
#include "runtime/file.h"
#include "runtime/npy.h"
#include "search/methods/method_parsec.h"
#include "search/network/genotype.h"
#include "search/network/weights.h"
#include "search/train/trainer.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { LIMIT = 300, MOST = 32, EDGE = 12, PIXELS = EDGE * EDGE * 3, CLASSES = 10, N = 8 };
#define DATA "synthetic:60x12x12x3"
#define IMAGE "\"image\": [12, 12, 3], \"classes\": 10"

/* ---- allocations, counted, and one of them refused ------------------------------------------- */

static long allocations, refused; /* which one; 0: none */

static int refuse(void) {
    const long now = __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
    return now == __atomic_load_n(&refused, __ATOMIC_RELAXED);
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t a, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t a, size_t n);
void *__wrap_malloc(size_t n) { return refuse() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t m) { return refuse() ? NULL : __real_calloc(n, m); }
void *__wrap_realloc(void *p, size_t n) { return refuse() ? NULL : __real_realloc(p, n); }
void *__wrap_aligned_alloc(size_t a, size_t n) {
    return refuse() ? NULL : __real_aligned_alloc(a, n);
}

/* ---- the set-up: images, a training and a search, made by the program ------------------------ */

static pn_data train_set, test_set;
static uint8_t planar_bytes[N * PIXELS];
static float images[N * PIXELS], planar[N * PIXELS]; /* the first N for testing, normalised */
static int32_t labels[N];
static char weights[512], run[512];

static void program(char **out, const char *const *arguments) {
    pn_process p = {0};
    if (pn_process_program(&p, PN_PROGRAM, arguments, LIMIT) != 0)
        fail_msg("exit code %d: %s", p.code, p.err);
    if (out) *out = strdup(p.out);
    pn_process_free(&p);
}
#define RUN(out, ...) program(out, (const char *const[]){__VA_ARGS__, NULL})

static void make_arrays(void) {
    const pn_data *d = &test_set;
    for (int i = 0; i < N; i++) {
        labels[i] = d->labels[i];
        for (int p = 0; p < EDGE * EDGE; p++)
            for (int c = 0; c < 3; c++) {
                const int at = i * PIXELS + p * 3 + c, to = i * PIXELS + c * EDGE * EDGE + p;
                images[at] =
                    (float)((d->images[at] / 255. - (double)d->mean[c]) / (double)d->std[c]);
                planar[to] = images[at];
                planar_bytes[to] = d->images[at];
            }
    }
}

static int begin(void **state) {
    pn_folder_begin(state);
    assert_int_equal(pn_data_open(DATA, PN_TRAIN, &train_set), PN_OK);
    assert_int_equal(pn_data_open(DATA, PN_TEST, &test_set), PN_OK);
    assert_true(test_set.count >= N);
    make_arrays();
    RUN(NULL, "train", "trained", "--genotype", "PDARTS", "--data", DATA, "--layers", "2",
        "--channels", "4", "--batch", "8", "--epochs", "1", "--cutout", "4", "--quiet", "--device",
        "cpu");
    RUN(NULL, "search", "searched", "--data", DATA, "--layers", "2", "--channels", "4", "--batch",
        "8", "--steps", "6", "--warmup", "2", "--samples", "2", "--quiet", "--device", "cpu");
    snprintf(weights, sizeof weights, "%s", pn_in_folder("trained/seed-1/last.safetensors"));
    snprintf(run, sizeof run, "%s", pn_in_folder("searched"));
    return 0;
}

static int end(void **state) {
    pn_data_free(&train_set);
    pn_data_free(&test_set);
    return pn_folder_end(state);
}

static void must(int status) {
    if (status != PARSEC_NAS_OK) fail_msg("status %d: %s", status, parsec_nas_error());
}

/* It ends with that status, and a sentence that has these words. */
static void refuses(int status, int want, const char *words) {
    assert_int_equal(status, want);
    if (!strstr(parsec_nas_error(), words))
        fail_msg("said: %s; want: %s", parsec_nas_error(), words);
}
#define REFUSES(want, words, call) refuses(call, want, words)
#define EARG PARSEC_NAS_EARG

/* Takes over the text. */
static json_t *json_of(char *text) {
    json_t *root = json_loads(text, 0, NULL);
    if (!root) fail_msg("no JSON: %.200s", text);
    parsec_nas_free(text);
    return root;
}

static const char *text_at(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    if (!text) fail_msg("no text %s", key);
    return text;
}

static double number_at(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("no number %s", key);
    return json_number_value(value);
}

/* ---- the library ----------------------------------------------------------------------------- */

static void the_library_tells_its_version(void **state) {
    (void)state;
    assert_int_equal(parsec_nas_abi(), PARSEC_NAS_ABI);
    assert_string_equal(parsec_nas_version(), PN_VERSION);
    parsec_nas_free(NULL);
    must(parsec_nas_threads(2));
    REFUSES(EARG, "0 threads", parsec_nas_threads(0));
    REFUSES(EARG, "1025 threads", parsec_nas_threads(1025));
}

/* Its codes are those of status.h. */
static void codes_are_those_of_the_program(void **state) {
    (void)state;
    assert_int_equal(PARSEC_NAS_OK, PN_OK);
    assert_int_equal(PARSEC_NAS_EARG, PN_EARG);
    assert_int_equal(PARSEC_NAS_EINPUT, PN_EINPUT);
    assert_int_equal(PARSEC_NAS_EMEM, PN_EMEM);
    assert_int_equal(PARSEC_NAS_EDEVICE, PN_EDEVICE);
    assert_int_equal(PARSEC_NAS_EIO, PN_EIO);
    assert_int_equal(PARSEC_NAS_EDIVERGED, PN_EDIVERGED);
    assert_int_equal(PARSEC_NAS_EBUSY, PN_EBUSY);
}

static void genotypes(void **state) {
    (void)state;
    char want[PN_GENOTYPE_BYTES], *text;
    pn_arch arch;
    const char *name;
    for (int i = 0; (name = pn_genotype_published(i, &arch)); i++) {
        must(parsec_nas_genotype(name, &text));
        json_t *root = json_of(text);
        pn_genotype_write(&arch, want);
        assert_string_equal(text_at(root, "genotype"), want);
        for (int kind = 0; kind < PN_KINDS; kind++) {
            const json_t *cell = json_object_get(root, kind == PN_NORMAL ? "normal" : "reduce");
            assert_int_equal(json_array_size(cell), PN_MAX_NODES);
            for (int node = 0; node < PN_MAX_NODES; node++) {
                const json_t *terms = json_array_get(cell, (size_t)node);
                assert_int_equal(json_array_size(terms), pn_slots(&arch.cell[kind], node));
                for (size_t j = 0; j < json_array_size(terms); j++) {
                    const json_t *term = json_array_get(terms, j);
                    const pn_choice c = arch.cell[kind].term[node][j];
                    assert_string_equal(json_string_value(json_array_get(term, 0)),
                                        pn_op_name[c.op]);
                    assert_int_equal(json_integer_value(json_array_get(term, 1)), c.input);
                }
            }
        }
        must(parsec_nas_genotype(text_at(root, "short"), &text)); /* and back */
        json_t *again = json_of(text);
        assert_true(json_equal(root, again));
        json_decref(root);
        json_decref(again);
    }
    REFUSES(EARG, "'nobody'", parsec_nas_genotype("nobody", &text));
    REFUSES(EARG, "text is NULL", parsec_nas_genotype(NULL, &text));
    REFUSES(EARG, "json is NULL", parsec_nas_genotype("DARTS_V2", NULL));
}

static void plans_are_those_of_the_program(void **state) {
    (void)state;
    static const struct {
        const char *settings, *arguments[MOST];
    } rows[] = {
        {"{\"genotype\": \"DARTS_V2\"}", {"--genotype", "DARTS_V2"}},
        {"{\"samples\": 3, \"seed\": 7, \"memory\": \"2GiB\", \"share-slot\": true}",
         {"--samples", "3", "--seed", "7", "--memory", "2GiB", "--share-slot"}},
        {"{\"supernet\": true, \"batch\": 4, \"layers\": 3}",
         {"--supernet", "--batch", "4", "--layers", "3"}},
        {"{\"genotype\": \"DARTS_V2\", \"precision\": \"bf16\"}",
         {"--genotype", "DARTS_V2", "--precision", "bf16"}},
        {"{\"network\": \"eval\", \"genotype\": \"PDARTS\", \"image\": [20, 30, 1], \"classes\": "
         "12, \"auxiliary\": false, \"device\": \"cpu:base\", \"stem\": null, \"channels\": 8}",
         {"--network", "eval", "--genotype", "PDARTS", "--image", "20x30x1", "--classes", "12",
          "--no-auxiliary", "--device", "cpu:base", "--channels", "8"}},
    };
    char *text, *want;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *arguments[MOST + 2] = {"plan", "--json"};
        memcpy(arguments + 2, rows[i].arguments, sizeof rows[i].arguments);
        program(&want, arguments);
        must(parsec_nas_plan(rows[i].settings, &text));
        assert_int_equal(strlen(want), strlen(text) + 1); /* a newline */
        assert_memory_equal(want, text, strlen(text));
        parsec_nas_free(text);
        free(want);
    }
    must(parsec_nas_plan(NULL, &text)); /* all defaults */
    json_decref(json_of(text));
}

static void settings_that_cannot_be(void **state) {
    (void)state;
    static const struct {
        const char *settings, *words;
        int status;
    } rows[] = {
        {"{", "settings: line 1", PARSEC_NAS_EINPUT},
        {"", "settings: line 1", PARSEC_NAS_EINPUT},
        {"[1]", "want an object", EARG},
        {"{\"layerz\": 3}", "\"layerz\"", EARG},
        {"{\"layers\": 3, \"layers\": 4}", "duplicate", PARSEC_NAS_EINPUT},
        {"{\"layers\": 0}", "--layers 0", EARG},
        {"{\"layers\": 2.5}", "--layers 2.5", EARG},
        {"{\"layers\": \"3\"}", "--layers has a value of the wrong type", EARG},
        {"{\"layers\": true}", "--layers has a value of the wrong type", EARG},
        {"{\"layers\": [3]}", "--layers has a value of the wrong type", EARG},
        {"{\"supernet\": 1}", "--supernet has a value of the wrong type", EARG},
        {"{\"image\": [32, 32, 2]}", "channels", EARG},
        {"{\"image\": [32, \"a\"]}", "--image has a value of the wrong type", EARG},
        {"{\"image\": []}", "--image has a value of the wrong type", EARG},
        {"{\"image\": [99999999999999, 99999999999999, 99999999999999, 99999999999999]}", "--image",
         EARG},
        {"{\"network\": \"other\"}", "search or eval", EARG},
        {"{\"genotype\": \"nobody\"}", "'nobody'", EARG},
        {"{\"genotype\": \"PDARTS\", \"supernet\": true}", "want one of", EARG},
        {"{\"device\": \"abacus\"}", "abacus", EARG},
        {"{\"precision\": \"half\"}", "float32, tf32, bf16 or fp16", EARG},
        {"{\"memory\": \"much\"}", "--memory much", EARG},
    };
    char *text;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        REFUSES(rows[i].status, rows[i].words, parsec_nas_plan(rows[i].settings, &text));
    REFUSES(EARG, "json is NULL", parsec_nas_plan("{}", NULL));
}

/* ---- distributions --------------------------------------------------------------------------- */

static json_t *list(parsec_nas_distribution *d, bool top, int64_t count, uint64_t seed) {
    char *text;
    must(top ? parsec_nas_distribution_top(d, count, &text)
             : parsec_nas_distribution_sample(d, count, seed, &text));
    json_t *rows = json_of(text);
    assert_int_equal(json_array_size(rows), count);
    return rows;
}

/* The same architectures as the program prints, with log-probabilities of 12 digits. */
static void same_as_the_program(json_t *rows, char *printed) {
    json_t *want = json_of(printed);
    assert_int_equal(json_array_size(rows), json_array_size(want));
    for (size_t i = 0; i < json_array_size(want); i++) {
        const json_t *a = json_array_get(rows, i), *b = json_array_get(want, i);
        assert_string_equal(text_at(a, "genotype"), text_at(b, "genotype"));
        assert_string_equal(text_at(a, "short"), text_at(b, "short"));
        assert_true(fabs(number_at(a, "log_p") - number_at(b, "log_p")) < 1e-9);
    }
    json_decref(want);
    json_decref(rows);
}

static void a_distribution(void **state) {
    (void)state;
    parsec_nas_distribution *d;
    char *text;
    double log_p;
    must(parsec_nas_distribution_open(run, 0, &d));
    RUN(&text, "sample", "searched", "--count", "5", "--seed", "3", "--json");
    same_as_the_program(list(d, false, 5, 3), text);
    RUN(&text, "sample", "searched", "--top", "4", "--json");
    same_as_the_program(list(d, true, 4, 0), text);

    json_t *rows = list(d, true, 1, 0);
    const json_t *first = json_array_get(rows, 0);
    must(parsec_nas_distribution_log_p(d, text_at(first, "genotype"), &log_p));
    assert_true(log_p == number_at(first, "log_p"));
    must(parsec_nas_distribution_describe(d, &text));
    json_t *about = json_of(text);
    assert_true(json_equal(json_object_get(about, "mode"), first));
    assert_true(json_is_true(json_object_get(about, "distinct"))); /* the rule's */
    assert_true(number_at(about, "entropy") < number_at(about, "entropy_uniform"));
    double sum = 0; /* of a factor */
    for (int i = 0; i < 2; i++) {
        char name[] = "normal.0.1.input.0";
        name[sizeof name - 2] = (char)('0' + i);
        sum += number_at(json_object_get(about, "probability"), name);
    }
    assert_true(fabs(sum - 1) < 1e-12);
    json_decref(about);
    json_decref(rows);
    parsec_nas_distribution_close(d);

    /* Two equal inputs: possible at first, not with `distinct`. */
    static const char equal[] =
        "normal s3@0 s3@0 | s3@0 s3@1 | s3@1 sk@0 | sk@0 d3@2 "
        "reduce mp@0 mp@1 | sk@2 mp@1 | mp@0 sk@2 | sk@2 mp@1";
    for (int distinct = 0; distinct < 2; distinct++) {
        must(parsec_nas_distribution_open(NULL, distinct, &d));
        must(parsec_nas_distribution_log_p(d, equal, &log_p));
        assert_true(distinct ? isinf(log_p) && log_p < 0 : fabs(log_p + 50.2845) < 1e-4);
        parsec_nas_distribution_close(d);
    }
}

static void distributions_that_cannot_be(void **state) {
    (void)state;
    parsec_nas_distribution *d = (void *)1;
    char *text;
    double log_p;
    REFUSES(PARSEC_NAS_EINPUT, "not a checkpoint", parsec_nas_distribution_open(weights, 0, &d));
    assert_null(d);
    REFUSES(PARSEC_NAS_EINPUT, "without a checkpoint",
            parsec_nas_distribution_open(pn_in_folder("trained"), 0, &d));
    assert_int_equal(parsec_nas_distribution_open(pn_in_folder("nothing"), 0, &d), PARSEC_NAS_EIO);
    REFUSES(EARG, "out is NULL", parsec_nas_distribution_open(NULL, 0, NULL));
    must(parsec_nas_distribution_open(NULL, 0, &d));
    REFUSES(EARG, "0 architectures", parsec_nas_distribution_sample(d, 0, 1, &text));
    REFUSES(EARG, "100001 arch", parsec_nas_distribution_top(d, 100001, &text));
    REFUSES(EARG, "json is NULL", parsec_nas_distribution_sample(d, 1, 1, NULL));
    REFUSES(EARG, "json is NULL", parsec_nas_distribution_describe(d, NULL));
    REFUSES(EARG, "'x'", parsec_nas_distribution_log_p(d, "x", &log_p));
    REFUSES(EARG, "log_p is NULL", parsec_nas_distribution_log_p(d, "PDARTS", NULL));
    REFUSES(EARG, "genotype is NULL", parsec_nas_distribution_log_p(d, NULL, &log_p));
    REFUSES(EARG, "distribution is NULL", parsec_nas_distribution_top(NULL, 1, &text));
    REFUSES(EARG, "distribution is NULL", parsec_nas_distribution_describe(NULL, &text));
    REFUSES(EARG, "distribution is NULL", parsec_nas_distribution_log_p(NULL, "PDARTS", &log_p));
    parsec_nas_distribution_close(d);
    parsec_nas_distribution_close(NULL);
}

/* ---- classifiers ----------------------------------------------------------------------------- */

static parsec_nas_classifier *open_weights(void) {
    parsec_nas_classifier *c;
    must(parsec_nas_classifier_open(weights, "cpu", &c));
    return c;
}

static void a_classifier_says_what_eval_says(void **state) {
    (void)state;
    parsec_nas_classifier *c = open_weights();
    const int count = test_set.count;
    char path[512];
    pn_array want = {0};
    float *logits = calloc((size_t)count * CLASSES, sizeof *logits), one[CLASSES];
    RUN(NULL, "eval", "trained", "--data", DATA, "--logits", "l.npy", "--device", "cpu");
    snprintf(path, sizeof path, "%s", pn_in_folder("l.npy"));
    assert_int_equal(pn_npy_read(path, &want), PN_OK);
    assert_int_equal(want.shape[0], count);
    must(parsec_nas_classifier_predict(c, test_set.images, PARSEC_NAS_BYTES_NHWC, count, logits,
                                       (int64_t)count * CLASSES));
    assert_memory_equal(logits, want.data, (size_t)count * CLASSES * sizeof *logits);

    /* In any format, and one image alone, without changing what is given. */
    static const struct {
        const void *images;
        int format;
    } forms[] = {{images, PARSEC_NAS_FLOAT_NHWC},
                 {planar, PARSEC_NAS_FLOAT_NCHW},
                 {planar_bytes, PARSEC_NAS_BYTES_NCHW}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        memset(logits, 255, (size_t)N * CLASSES * sizeof *logits);
        must(parsec_nas_classifier_predict(c, forms[i].images, forms[i].format, N, logits,
                                           N * CLASSES));
        assert_memory_equal(logits, want.data, N * CLASSES * sizeof *logits);
    }
    for (int i = N - 1; i >= 0; i--) {
        must(parsec_nas_classifier_predict(c, images + (ptrdiff_t)i * PIXELS, PARSEC_NAS_FLOAT_NHWC,
                                           1, one, CLASSES));
        assert_memory_equal(one, (const float *)want.data + (ptrdiff_t)i * CLASSES, sizeof one);
    }
    must(parsec_nas_classifier_predict(c, NULL, PARSEC_NAS_BYTES_NHWC, 0, NULL, 0)); /* none */
    pn_npy_free(&want);
    free(logits);
    parsec_nas_classifier_close(c);
}

static void a_classifier_is_described(void **state) {
    (void)state;
    parsec_nas_classifier *c;
    char *text, want[PN_GENOTYPE_BYTES];
    pn_arch arch;
    must(parsec_nas_classifier_open(pn_in_folder("trained"), NULL, &c)); /* the directory */
    must(parsec_nas_classifier_describe(c, &text));
    json_t *about = json_of(text);
    assert_int_equal(pn_genotype_open("PDARTS", &arch), PN_OK);
    pn_genotype_write(&arch, want);
    assert_string_equal(text_at(about, "genotype"), want);
    assert_string_equal(text_at(about, "stem"), "cifar");
    assert_true(number_at(about, "layers") == 2 && number_at(about, "channels") == 4);
    assert_true(number_at(about, "classes") == CLASSES);
    const json_t *image = json_object_get(about, "image"), *mean = json_object_get(about, "mean");
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(json_integer_value(json_array_get(image, i)), i < 2 ? EDGE : 3);
        assert_true((float)json_number_value(json_array_get(mean, i)) == test_set.mean[i]);
    }
    json_decref(about);
    parsec_nas_classifier_close(c);
}

static void classifiers_that_cannot_be(void **state) {
    (void)state;
    parsec_nas_classifier *c = (void *)1;
    float logits[N * CLASSES];
    char *text;
    assert_int_equal(parsec_nas_classifier_open(pn_in_folder("nothing"), "cpu", &c),
                     PARSEC_NAS_EIO);
    assert_null(c);
    assert_int_equal(pn_file_write(pn_in_folder("noise"), "12345678noise", 13), PN_OK);
    assert_int_equal(parsec_nas_classifier_open(pn_in_folder("noise"), "cpu", &c),
                     PARSEC_NAS_EINPUT);
    REFUSES(EARG, "abacus", parsec_nas_classifier_open(weights, "abacus", &c));
    REFUSES(EARG, "weights is NULL", parsec_nas_classifier_open(NULL, "cpu", &c));
    REFUSES(EARG, "out is NULL", parsec_nas_classifier_open(weights, "cpu", NULL));
    REFUSES(EARG, "classifier is NULL", parsec_nas_classifier_describe(NULL, &text));
    REFUSES(EARG, "classifier is NULL",
            parsec_nas_classifier_predict(NULL, images, PARSEC_NAS_FLOAT_NHWC, 1, logits, 10));
    parsec_nas_classifier_close(NULL);

    c = open_weights();
    const int FLOATS = PARSEC_NAS_FLOAT_NHWC;
    float spoilt[2 * PIXELS];
    memcpy(spoilt, images, sizeof spoilt);
    spoilt[PIXELS + 5] = INFINITY;
    REFUSES(EARG, "json is NULL", parsec_nas_classifier_describe(c, NULL));
    REFUSES(EARG, "format 4", parsec_nas_classifier_predict(c, images, 4, 1, logits, 10));
    REFUSES(EARG, "format -1", parsec_nas_classifier_predict(c, images, -1, 1, logits, 10));
    REFUSES(EARG, "-1 images", parsec_nas_classifier_predict(c, images, FLOATS, -1, logits, 10));
    REFUSES(EARG, "images is NULL", parsec_nas_classifier_predict(c, NULL, FLOATS, 1, logits, 10));
    REFUSES(EARG, "logits is NULL", parsec_nas_classifier_predict(c, images, FLOATS, 1, NULL, 10));
    REFUSES(EARG, "room for 9 logits",
            parsec_nas_classifier_predict(c, images, FLOATS, 1, logits, 9));
    REFUSES(EARG, "room for -9", parsec_nas_classifier_predict(c, images, FLOATS, 1, logits, -9));
    REFUSES(EARG, "image 1 holds",
            parsec_nas_classifier_predict(c, spoilt, FLOATS, 2, logits, N * CLASSES));
    must(parsec_nas_classifier_predict(c, images, FLOATS, 1, logits, CLASSES)); /* as before */
    parsec_nas_classifier_close(c);
}

/* ---- training -------------------------------------------------------------------------------- */

#define TRAINER                                                                  \
    "\"genotype\": \"DARTS_V2\", \"layers\": 2, \"channels\": 4, \"batch\": 8, " \
    "\"device\": \"cpu\", " IMAGE
#define NORMALISED ", \"mean\": [0.5, 0.5, 0.5], \"std\": [0.25, 0.25, 0.25]"

static parsec_nas_trainer *trainer_of(const char *settings) {
    parsec_nas_trainer *t;
    must(parsec_nas_trainer_create(settings, &t));
    return t;
}

static pn_trainer direct;
static void create_direct(double drop_path) {
    pn_arch arch;
    const pn_kernels *kernels;
    pn_train_settings s = pn_train_defaults();
    assert_int_equal(pn_genotype_open("DARTS_V2", &arch), PN_OK);
    pn_genotype_write(&arch, s.genotype);
    s.layers = 2;
    s.channels = 4;
    s.batch = N;
    s.epochs = 2;
    s.cutout = 4;
    s.drop_path = drop_path;
    assert_int_equal(pn_train_resolve(&s, &train_set), PN_OK);
    assert_int_equal(pn_backend_open("cpu", &kernels), PN_OK);
    assert_int_equal(pn_trainer_create(&direct, kernels, &s, &train_set, 0, NULL), PN_OK);
}

/* The same batches, rates and drop-path: the same losses, and weights, to the bit; with images that
 * are scored in between, which must not change a thing. */
static void training_is_that_of_the_program(void **state) {
    (void)state;
    for (int drop = 0; drop < 2; drop++) {
        create_direct(drop ? 0.3 : 0);
        const pn_train_settings *s = &direct.settings;
        parsec_nas_trainer *t =
            trainer_of(drop ? "{" TRAINER ", \"drop-path\": true}" : "{" TRAINER "}");
        pn_batches *batches;
        const pn_batch_stream stream = {.N = N, .augment = true, .cutout = 4};
        float logits[N * CLASSES];
        assert_int_equal(pn_batches_create(&train_set, &stream, 1, s->seed, &batches), PN_OK);
        for (int step = 0; step < 2 * direct.steps_per_epoch; step++) {
            const int64_t epoch = step / direct.steps_per_epoch;
            pn_train_report want;
            pn_batch batch;
            double loss = -1;
            int64_t correct = -1;
            assert_int_equal(pn_trainer_step(&direct, &want), PN_OK);
            assert_int_equal(pn_batches_take(batches, 0, step, &batch), PN_OK);
            must(parsec_nas_trainer_step(t, batch.x, PARSEC_NAS_FLOAT_NHWC, batch.labels, N,
                                         pn_train_rate(s, epoch),
                                         drop ? pn_train_drop_path(s, epoch) : 0, &loss, &correct));
            assert_true(loss == want.loss && correct == want.correct);
            if (step % 3 == 1)
                must(parsec_nas_trainer_predict(t, images, PARSEC_NAS_FLOAT_NHWC, 5, logits,
                                                5 * CLASSES));
        }
        must(parsec_nas_trainer_save(t, pn_in_folder("api.safetensors")));
        assert_int_equal(pn_parameters_pull(&direct.network.parameters), PN_OK);
        pn_safetensors *file;
        assert_int_equal(pn_safetensors_read(pn_in_folder("api.safetensors"), &file), PN_OK);
        for (int i = 0; i < direct.network.parameters.count; i++) {
            const pn_parameters *p = &direct.network.parameters;
            const pn_array *a = pn_safetensors_find(file, p->list[i].name);
            float *value = calloc(p->list[i].count, sizeof *value);
            pn_parameters_get(p, p->value, i, value);
            assert_non_null(a);
            assert_memory_equal(value, a->data, p->list[i].count * sizeof *value);
            free(value);
        }
        pn_safetensors_free(file);
        pn_batches_free(batches);
        pn_trainer_destroy(&direct);
        parsec_nas_trainer_close(t);
    }
}

/* What was saved is what predicts; evaluate follows from the logits. */
static void a_trainer_and_its_weights(void **state) {
    (void)state;
    parsec_nas_trainer *t = trainer_of("{" TRAINER NORMALISED
                                       ", \"names\": [\"a\", \"b\", \"c\", \"d\", \"e\", "
                                       "\"f\", \"g\", \"h\", \"i\", \"j\"], \"seed\": 5}");
    parsec_nas_classifier *c;
    float a[3 * N * CLASSES], b[3 * N * CLASSES];
    uint8_t many[3 * N * PIXELS];
    int32_t classes[3 * N];
    double loss, sum = 0;
    int64_t correct, right = 0;
    char *text;
    for (int i = 0; i < 3; i++) memcpy(many + (ptrdiff_t)i * N * PIXELS, planar_bytes, N * PIXELS);
    for (int i = 0; i < 3 * N; i++) classes[i] = labels[i % N];
    for (int i = 0; i < 3; i++)
        must(parsec_nas_trainer_step(t, planar_bytes, PARSEC_NAS_BYTES_NCHW, labels, N, 0.05, 0,
                                     NULL, NULL));
    must(parsec_nas_trainer_predict(t, many, PARSEC_NAS_BYTES_NCHW, 3 * N - 1, a, 3 * N * CLASSES));
    must(parsec_nas_trainer_evaluate(t, many, PARSEC_NAS_BYTES_NCHW, classes, 3 * N - 1, &loss,
                                     &correct));
    for (int i = 0; i < 3 * N - 1; i++) {
        const float *row = a + (ptrdiff_t)i * CLASSES;
        double total = 0;
        int best = 0;
        for (int k = 0; k < CLASSES; k++) {
            total += exp((double)row[k]);
            if (row[k] > row[best]) best = k;
        }
        sum += log(total) - (double)row[classes[i]];
        right += best == classes[i];
    }
    assert_int_equal(correct, right);
    assert_true(fabs(loss - sum / (3 * N - 1)) < 1e-12 * sum);

    must(parsec_nas_trainer_save(t, pn_in_folder("w.safetensors")));
    must(parsec_nas_classifier_open(pn_in_folder("w.safetensors"), "cpu", &c));
    must(parsec_nas_classifier_predict(c, many, PARSEC_NAS_BYTES_NCHW, 3 * N - 1, b,
                                       3 * N * CLASSES));
    assert_memory_equal(a, b, (3 * N - 1) * CLASSES * sizeof *a);
    must(parsec_nas_trainer_describe(t, &text));
    json_t *ours = json_of(text);
    must(parsec_nas_classifier_describe(c, &text));
    json_t *theirs = json_of(text);
    const char *key;
    json_t *value;
    json_object_foreach(theirs, key, value) if (!json_equal(value, json_object_get(ours, key)))
        fail_msg("%s differs", key);
    assert_int_equal(json_array_size(json_object_get(theirs, "names")), CLASSES);
    assert_true(number_at(ours, "step") == 3 && number_at(ours, "batch") == N);
    json_decref(ours);
    json_decref(theirs);
    parsec_nas_classifier_close(c);
    parsec_nas_trainer_close(t);
}

static void trainers_that_cannot_be(void **state) {
    (void)state;
    static const struct {
        const char *settings, *words;
        int status;
    } rows[] = {
        {NULL, "image", EARG},
        {"{\"genotype\": \"PDARTS\"}", "image", EARG},
        {"{\"genotype\": \"PDARTS\", \"image\": [8, 8, 3]}", "classes", EARG},
        {"{" IMAGE "}", "genotype", EARG},
        {"{\"genotype\": \"nobody\", " IMAGE "}", "'nobody'", EARG},
        {"{" TRAINER ", \"epochs\": 3}", "\"epochs\"", EARG},
        {"{" TRAINER ", \"data\": \"cifar10\"}", "\"data\"", EARG},
        {"{" TRAINER ", \"time\": 60}", "\"time\"", EARG},
        {"{" TRAINER ", \"drop-path\": 0.2}", "--drop-path has a value of the wrong type", EARG},
        {"{" TRAINER ", \"mean\": [0.5]}", "mean", EARG},
        {"{" TRAINER ", \"names\": [\"a\"]}", "names", EARG},
        {"{" TRAINER ", \"auxiliary\": true}", "--auxiliary", EARG},
        {"{" TRAINER ", \"stem\": \"other\"}", "cifar or imagenet", EARG},
        {"{" TRAINER ", \"memory\": 1000}", "batch", PARSEC_NAS_EMEM},
        {"{\"device\": \"abacus\", \"genotype\": \"PDARTS\", " IMAGE "}", "abacus", EARG},
    };
    parsec_nas_trainer *t;
    const int FLOATS = PARSEC_NAS_FLOAT_NHWC;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        t = (void *)1;
        REFUSES(rows[i].status, rows[i].words, parsec_nas_trainer_create(rows[i].settings, &t));
        assert_null(t);
    }
    REFUSES(EARG, "out is NULL", parsec_nas_trainer_create("{" TRAINER "}", NULL));

    t = trainer_of("{" TRAINER "}");
    float logits[CLASSES];
    double loss = 7;
    int64_t correct = 7;
    int32_t wrong[N];
    memcpy(wrong, labels, sizeof wrong);
    wrong[3] = CLASSES;
#define STEP(images, format, labels, n, rate, drop) \
    parsec_nas_trainer_step(t, images, format, labels, n, rate, drop, &loss, &correct)
    REFUSES(EARG, "7 images, want 8", STEP(images, FLOATS, labels, 7, 0.1, 0));
    REFUSES(EARG, "label 3 is 10", STEP(images, FLOATS, wrong, N, 0.1, 0));
    wrong[3] = -1;
    REFUSES(EARG, "label 3 is -1", STEP(images, FLOATS, wrong, N, 0.1, 0));
    REFUSES(EARG, "labels is NULL", STEP(images, FLOATS, NULL, N, 0.1, 0));
    REFUSES(EARG, "images is NULL", STEP(NULL, FLOATS, labels, N, 0.1, 0));
    REFUSES(EARG, "rate -1", STEP(images, FLOATS, labels, N, -1, 0));
    REFUSES(EARG, "rate nan", STEP(images, FLOATS, labels, N, (double)NAN, 0));
    REFUSES(EARG, "drop_path 1", STEP(images, FLOATS, labels, N, 0.1, 1));
    REFUSES(EARG, "made without", STEP(images, FLOATS, labels, N, 0.1, 0.1));
    REFUSES(EARG, "mean and std", STEP(planar_bytes, PARSEC_NAS_BYTES_NCHW, labels, N, 0.1, 0));
    REFUSES(EARG, "0 images",
            parsec_nas_trainer_evaluate(t, images, FLOATS, labels, 0, &loss, &correct));
    REFUSES(EARG, "labels is NULL",
            parsec_nas_trainer_evaluate(t, images, FLOATS, NULL, 1, &loss, &correct));
    REFUSES(EARG, "room for 1", parsec_nas_trainer_predict(t, images, FLOATS, 1, logits, 1));
    REFUSES(EARG, "path is NULL", parsec_nas_trainer_save(t, NULL));
    assert_int_equal(parsec_nas_trainer_save(t, pn_in_folder("no/folder")), PARSEC_NAS_EIO);
    REFUSES(EARG, "json is NULL", parsec_nas_trainer_describe(t, NULL));
    assert_true(loss == 7 && correct == 7); /* as they were */

    /* None of it has left a trace, and a step that diverges leaves the weights. */
    parsec_nas_trainer *fresh = trainer_of("{" TRAINER "}");
    double first, other;
    must(STEP(images, FLOATS, labels, N, 1000, 0));
    must(parsec_nas_trainer_step(fresh, images, FLOATS, labels, N, 1000, 0, &first, NULL));
    assert_true(loss == first);
    parsec_nas_trainer_close(fresh);
    parsec_nas_trainer_close(t);
    parsec_nas_trainer_close(NULL);

    char *text;
    REFUSES(EARG, "trainer is NULL", parsec_nas_trainer_describe(NULL, &text));
    REFUSES(EARG, "trainer is NULL", parsec_nas_trainer_save(NULL, "w"));
    REFUSES(EARG, "trainer is NULL",
            parsec_nas_trainer_step(NULL, images, FLOATS, labels, N, 0.1, 0, &other, NULL));
    REFUSES(EARG, "trainer is NULL",
            parsec_nas_trainer_predict(NULL, images, FLOATS, 1, logits, CLASSES));
    REFUSES(EARG, "trainer is NULL",
            parsec_nas_trainer_evaluate(NULL, images, FLOATS, labels, 1, &other, NULL));
}

/* Images so large that the loss is none: said, and the next batch trains as if nothing was. */
static void a_step_that_diverges(void **state) {
    (void)state;
    parsec_nas_trainer *t = trainer_of("{" TRAINER ", \"clip\": 0}");
    float huge[N * PIXELS];
    double loss = 0;
    for (int i = 0; i < N * PIXELS; i++) huge[i] = i % 2 ? 3e38F : -3e38F;
    refuses(parsec_nas_trainer_step(t, huge, PARSEC_NAS_FLOAT_NHWC, labels, N, 0.1, 0, NULL, NULL),
            PARSEC_NAS_EDIVERGED, "not finite");
    must(parsec_nas_trainer_step(t, images, PARSEC_NAS_FLOAT_NHWC, labels, N, 0.1, 0, &loss, NULL));
    parsec_nas_trainer *fresh = trainer_of("{" TRAINER ", \"clip\": 0}");
    double want = 1;
    must(parsec_nas_trainer_step(fresh, images, PARSEC_NAS_FLOAT_NHWC, labels, N, 0.1, 0, &want,
                                 NULL));
    assert_true(loss == want);
    parsec_nas_trainer_close(fresh);
    parsec_nas_trainer_close(t);
}

/* ---- searching ------------------------------------------------------------------------------- */

enum { STEPS = 5 };
#define SEARCH                                                                    \
    "\"layers\": 2, \"channels\": 4, \"batch\": 8, \"steps\": 5, \"warmup\": 2, " \
    "\"samples\": 2, \"seed\": 3, \"device\": \"cpu\", " IMAGE

static void a_search_is_that_of_the_program(void **state) {
    (void)state;
    static pn_model model;
    static pn_search search;
    static pn_step_report want;
    const pn_space space = pn_space_darts();
    const pn_kernels *kernels;
    pn_settings s = pn_settings_defaults();
    s.layers = 2;
    s.channels = 4;
    s.batch = N;
    s.steps = STEPS;
    s.warmup = 2;
    s.samples = 2;
    s.seed = 3;
    assert_int_equal(pn_settings_resolve(&s, &train_set), PN_OK);
    const pn_search_settings rule = pn_settings_search(&s);
    const pn_model_settings how = pn_settings_model(&s, &train_set, 0);
    assert_int_equal(pn_backend_open("cpu", &kernels), PN_OK);
    assert_int_equal(pn_search_init(&search, &space, &rule), PN_OK);
    assert_int_equal(pn_model_create(&model, kernels, &space, &how, &train_set, 2), PN_OK);
    const pn_evaluator evaluator = pn_model_evaluator(&model);
    const pn_batch_stream streams[2] = {{.half = PN_HALF_FIRST, .N = N, .augment = true},
                                        {.half = PN_HALF_SECOND, .N = N, .augment = true}};
    pn_batches *batches;
    parsec_nas_search *h;
    parsec_nas_distribution *d;
    char *text;
    assert_int_equal(pn_batches_create(&train_set, streams, 2, s.seed, &batches), PN_OK);
    must(parsec_nas_search_create("{" SEARCH "}", &h));
    for (int step = 0; step < STEPS; step++) {
        pn_batch b[2];
        for (int i = 0; i < 2; i++)
            assert_int_equal(pn_batches_take(batches, i, step, &b[i]), PN_OK);
        const bool warmup = step < 2;
        assert_int_equal(pn_search_step(&search, &evaluator, &want), PN_OK);
        must(parsec_nas_search_step(h, b[0].x, b[0].labels, warmup ? NULL : b[1].x,
                                    warmup ? NULL : b[1].labels, PARSEC_NAS_FLOAT_NHWC, N, &text));
        json_t *report = json_of(text);
        assert_string_equal(text_at(report, "phase"), warmup ? "warmup" : "search");
        assert_true(number_at(report, "step") == step);
        assert_true(number_at(report, "train_loss") == want.train_loss);
        assert_true(number_at(report, "entropy") == want.entropy);
        assert_true(number_at(report, "gradient_norm_v") == want.gradient_norm_v);
        if (warmup)
            assert_true(json_is_null(json_object_get(report, "val_loss")));
        else
            assert_true(number_at(report, "val_loss") == want.val_loss);
        const json_t *samples = json_object_get(report, "samples");
        assert_int_equal(json_array_size(samples), want.count);
        for (int k = 0; k < want.count; k++) {
            char genotype[PN_GENOTYPE_BYTES];
            pn_genotype_write(&want.arch[k], genotype);
            assert_string_equal(text_at(json_array_get(samples, (size_t)k), "genotype"), genotype);
        }
        json_decref(report);
    }
    double p[PN_MAX_LOGITS];
    must(parsec_nas_search_distribution(h, &d));
    must(parsec_nas_distribution_describe(d, &text));
    json_t *about = json_of(text);
    pn_prior_marginals(&search.prior, p);
    for (int i = 0; i < search.prior.count; i++) {
        char name[PN_NAME_BYTES];
        pn_logit_name(&space, i, name);
        assert_true(number_at(json_object_get(about, "probability"), name) == p[i]);
    }
    json_decref(about);
    parsec_nas_distribution_close(d);
    REFUSES(
        EARG, "of a search of 5 steps",
        parsec_nas_search_step(h, images, labels, images, labels, PARSEC_NAS_FLOAT_NHWC, N, NULL));
    parsec_nas_search_close(h);
    pn_batches_free(batches);
    pn_model_destroy(&model);
}

static void searches_that_cannot_be(void **state) {
    (void)state;
    static const struct {
        const char *settings, *words;
    } rows[] = {
        {NULL, "image"},
        {"{" IMAGE "}", "\"steps\""},
        {"{" SEARCH ", \"prior\": \"x\"}", "\"prior\""},
        {"{" SEARCH ", \"augment\": true}", "\"augment\""},
        {"{" SEARCH ", \"evidence\": true}", "samples"},
        {"{" SEARCH ", \"rule\": \"none\"}", "paper"},
        {"{\"image\": [8, 8, 3], \"classes\": 10, \"steps\": 3, \"warmup\": 4}", "--warmup 4"},
    };
    const int FLOATS = PARSEC_NAS_FLOAT_NHWC;
    parsec_nas_search *h;
    parsec_nas_distribution *d;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        h = (void *)1;
        REFUSES(EARG, rows[i].words, parsec_nas_search_create(rows[i].settings, &h));
        assert_null(h);
    }
    REFUSES(EARG, "out is NULL", parsec_nas_search_create("{" SEARCH "}", NULL));
    REFUSES(EARG, "search is NULL",
            parsec_nas_search_step(NULL, images, labels, images, labels, FLOATS, N, NULL));
    REFUSES(EARG, "search is NULL", parsec_nas_search_distribution(NULL, &d));
    must(parsec_nas_search_create("{" SEARCH "}", &h));
    REFUSES(EARG, "out is NULL", parsec_nas_search_distribution(h, NULL));
    REFUSES(EARG, "train: the array of images is NULL",
            parsec_nas_search_step(h, NULL, labels, images, labels, FLOATS, N, NULL));
    REFUSES(EARG, "7 images, want 8",
            parsec_nas_search_step(h, images, labels, images, labels, FLOATS, 7, NULL));
    for (int i = 0; i < 2; i++)
        must(parsec_nas_search_step(h, images, labels, NULL, NULL, FLOATS, N, NULL));
    REFUSES(EARG, "valid: the array of labels is NULL",
            parsec_nas_search_step(h, images, labels, images, NULL, FLOATS, N, NULL));
    REFUSES(EARG, "mean and std",
            parsec_nas_search_step(h, planar_bytes, labels, planar_bytes, labels,
                                   PARSEC_NAS_BYTES_NCHW, N, NULL));
    must(parsec_nas_search_step(h, images, labels, images, labels, FLOATS, N, NULL));
    parsec_nas_search_close(h);
    parsec_nas_search_close(NULL);
}

/* By evidence there is no validation batch, with frozen weights no training batch. */
static void rules_read_what_they_need(void **state) {
    (void)state;
    parsec_nas_search *h;
    must(
        parsec_nas_search_create("{\"rule\": \"evidence\", \"layers\": 2, \"channels\": 4, "
                                 "\"batch\": 8, \"steps\": 4, \"device\": \"cpu\", " IMAGE "}",
                                 &h));
    for (int i = 0; i < 4; i++)
        must(parsec_nas_search_step(h, images, labels, NULL, NULL, PARSEC_NAS_FLOAT_NHWC, N, NULL));
    parsec_nas_search_close(h);
    must(parsec_nas_search_create("{" SEARCH ", \"freeze-weights\": true}", &h));
    must(parsec_nas_search_step(h, NULL, NULL, images, labels, PARSEC_NAS_FLOAT_NHWC, N, NULL));
    parsec_nas_search_close(h);
}

/* ---- threads --------------------------------------------------------------------------------- */

typedef struct worker {
    pthread_t thread;
    parsec_nas_classifier *classifier; /* NULL: one of its own */
    float logits[N * CLASSES];
    double loss;
    int status;
    char error[256];
} worker;

static int work_on(worker *w, parsec_nas_classifier *c, parsec_nas_trainer *t) {
    char *text;
    for (int i = 0; i < 5; i++) {
        int s = parsec_nas_classifier_predict(c, images, PARSEC_NAS_FLOAT_NHWC, N, w->logits,
                                              N * CLASSES);
        if (s == PARSEC_NAS_OK)
            s = parsec_nas_trainer_step(t, images, PARSEC_NAS_FLOAT_NHWC, labels, N, 0.05, 0,
                                        &w->loss, NULL);
        if (s == PARSEC_NAS_OK) s = parsec_nas_classifier_describe(c, &text);
        if (s != PARSEC_NAS_OK) return s;
        parsec_nas_free(text);
    }
    return PARSEC_NAS_OK;
}

static void *work(void *argument) {
    worker *w = argument;
    parsec_nas_classifier *own = NULL;
    parsec_nas_trainer *t = NULL;
    w->status = parsec_nas_trainer_create("{" TRAINER "}", &t);
    if (w->status == PARSEC_NAS_OK && !w->classifier)
        w->status = parsec_nas_classifier_open(weights, "cpu", &own);
    if (w->status == PARSEC_NAS_OK) w->status = work_on(w, own ? own : w->classifier, t);
    if (parsec_nas_plan(NULL, NULL) == EARG) /* a sentence of its own */
        snprintf(w->error, sizeof w->error, "%s", parsec_nas_error());
    parsec_nas_classifier_close(own);
    parsec_nas_trainer_close(t);
    return NULL;
}

static void handles_on_several_threads(void **state) {
    (void)state;
    parsec_nas_classifier *shared = open_weights();
    static worker alone, workers[4];
    alone.classifier = shared;
    work(&alone);
    must(alone.status);
    char *text;
    assert_int_equal(parsec_nas_genotype("mine", &text), EARG);
    for (int i = 0; i < 4; i++) {
        workers[i].classifier = i < 2 ? shared : NULL;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        if (workers[i].status != PARSEC_NAS_OK) fail_msg("thread %d failed", i);
        assert_memory_equal(workers[i].logits, alone.logits, sizeof alone.logits);
        assert_true(workers[i].loss == alone.loss);
        assert_string_equal(workers[i].error, "json is NULL");
    }
    assert_non_null(strstr(parsec_nas_error(), "'mine'"));
    parsec_nas_classifier_close(shared);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* A sequence of calls; gives the first failure, after everything was closed. What it computes goes
 * to `found`. */
typedef int sequence(float *found);

static void without_faults(void) { __atomic_store_n(&refused, 0, __ATOMIC_RELAXED); }

static int use_classifier(float *found) {
    parsec_nas_classifier *c;
    char *text = NULL;
    int s = parsec_nas_classifier_open(weights, "cpu", &c);
    if (s != PARSEC_NAS_OK) return s;
    s = parsec_nas_classifier_predict(c, images, PARSEC_NAS_FLOAT_NHWC, N, found, N * CLASSES);
    if (s == PARSEC_NAS_OK) s = parsec_nas_classifier_describe(c, &text);
    if (s != PARSEC_NAS_OK) { /* the handle is as usable as before */
        without_faults();
        must(
            parsec_nas_classifier_predict(c, images, PARSEC_NAS_FLOAT_NHWC, N, found, N * CLASSES));
    }
    parsec_nas_free(text);
    parsec_nas_classifier_close(c);
    return s;
}

static int use_trainer(float *found) {
    parsec_nas_trainer *t;
    double loss = 0;
    char *text = NULL, path[512];
    snprintf(path, sizeof path, "%s", pn_in_folder("memory.safetensors"));
    int s = parsec_nas_trainer_create("{" TRAINER NORMALISED ", \"drop-path\": true}", &t);
    if (s != PARSEC_NAS_OK) return s;
    s = parsec_nas_trainer_step(t, images, PARSEC_NAS_FLOAT_NHWC, labels, N, 0.1, 0.1, NULL, NULL);
    if (s == PARSEC_NAS_OK)
        s = parsec_nas_trainer_evaluate(t, images, PARSEC_NAS_FLOAT_NHWC, labels, N, &loss, NULL);
    if (s == PARSEC_NAS_OK) s = parsec_nas_trainer_describe(t, &text);
    if (s == PARSEC_NAS_OK) s = parsec_nas_trainer_save(t, path);
    found[0] = (float)loss;
    parsec_nas_free(text);
    parsec_nas_trainer_close(t);
    return s;
}

static int use_search(float *found) {
    parsec_nas_search *h;
    parsec_nas_distribution *d = NULL;
    char *report = NULL, *about = NULL;
    int s = parsec_nas_search_create(
        "{\"layers\": 1, \"channels\": 4, \"batch\": 8, \"steps\": 1, "
        "\"warmup\": 0, \"samples\": 2, \"device\": \"cpu\", " IMAGE "}",
        &h);
    if (s != PARSEC_NAS_OK) return s;
    s = parsec_nas_search_step(h, images, labels, images, labels, PARSEC_NAS_FLOAT_NHWC, N,
                               &report);
    if (s == PARSEC_NAS_OK) s = parsec_nas_search_distribution(h, &d);
    if (s == PARSEC_NAS_OK) s = parsec_nas_distribution_describe(d, &about);
    found[0] = s == PARSEC_NAS_OK ? (float)strlen(about) : 0;
    parsec_nas_free(report);
    parsec_nas_free(about);
    parsec_nas_distribution_close(d);
    parsec_nas_search_close(h);
    return s;
}

static int use_distribution(float *found) {
    parsec_nas_distribution *d;
    char *rows = NULL, *top = NULL;
    int s = parsec_nas_distribution_open(run, 0, &d);
    if (s != PARSEC_NAS_OK) return s;
    s = parsec_nas_distribution_sample(d, 3, 1, &rows);
    if (s == PARSEC_NAS_OK) s = parsec_nas_distribution_top(d, 3, &top);
    found[0] = s == PARSEC_NAS_OK ? (float)(strlen(rows) + strlen(top)) : 0;
    parsec_nas_free(rows);
    parsec_nas_free(top);
    parsec_nas_distribution_close(d);
    return s;
}

static int use_plan(float *found) {
    char *cost = NULL, *genotype = NULL;
    int s =
        parsec_nas_plan("{\"genotype\": \"PDARTS\", \"layers\": 1, \"image\": [8, 8, 3]}", &cost);
    if (s == PARSEC_NAS_OK) s = parsec_nas_genotype("PDARTS", &genotype);
    found[0] = s == PARSEC_NAS_OK ? (float)(strlen(cost) + strlen(genotype)) : 0;
    parsec_nas_free(cost);
    parsec_nas_free(genotype);
    return s;
}

/* Every allocation of a sequence fails in turn, or of a long one some; each says so, and nothing is
 * lost: sanitized builds see leaks and late uses. */
static void memory_runs_out(void **state) {
    (void)state;
    static const struct {
        const char *name;
        sequence *calls;
    } rows[] = {{"classifier", use_classifier},
                {"trainer", use_trainer},
                {"search", use_search},
                {"distribution", use_distribution},
                {"plan", use_plan}};
    const long tries = getenv("PN_TEST_LONG") ? LONG_MAX : 60;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static float want[N * CLASSES], found[N * CLASSES];
        memset(want, 0, sizeof want);
        must(rows[i].calls(want)); /* what is made once for all is made */
        allocations = 0;
        must(rows[i].calls(want));
        const long count = allocations, stride = count > tries ? count / tries : 1;
        long failed = 0;
        assert_true(count > 10);
        for (long n = 1; n <= count; n += stride) {
            allocations = 0;
            __atomic_store_n(&refused, n, __ATOMIC_RELAXED);
            memset(found, 0, sizeof found);
            const int s = rows[i].calls(found);
            without_faults();
            if (s != PARSEC_NAS_EMEM && s != PARSEC_NAS_OK)
                fail_msg("%s, allocation %ld: status %d: %s", rows[i].name, n, s,
                         parsec_nas_error());
            failed += s == PARSEC_NAS_EMEM;
            if (s == PARSEC_NAS_OK || found[1] != 0) assert_memory_equal(found, want, sizeof found);
        }
        assert_true(failed > 0);
        must(rows[i].calls(found));
        assert_memory_equal(found, want, sizeof found);
        print_message("%s: %ld allocations, every %ldth fails\n", rows[i].name, count, stride);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_library_tells_its_version),
        cmocka_unit_test(codes_are_those_of_the_program),
        cmocka_unit_test(genotypes),
        cmocka_unit_test(plans_are_those_of_the_program),
        cmocka_unit_test(settings_that_cannot_be),
        cmocka_unit_test(a_distribution),
        cmocka_unit_test(distributions_that_cannot_be),
        cmocka_unit_test(a_classifier_says_what_eval_says),
        cmocka_unit_test(a_classifier_is_described),
        cmocka_unit_test(classifiers_that_cannot_be),
        cmocka_unit_test(training_is_that_of_the_program),
        cmocka_unit_test(a_trainer_and_its_weights),
        cmocka_unit_test(trainers_that_cannot_be),
        cmocka_unit_test(a_step_that_diverges),
        cmocka_unit_test(a_search_is_that_of_the_program),
        cmocka_unit_test(searches_that_cannot_be),
        cmocka_unit_test(rules_read_what_they_need),
        cmocka_unit_test(handles_on_several_threads),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests_name("api", tests, begin, end);
}
