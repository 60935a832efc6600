/* test_predict.c -- a network for use: what its weights say of images and classes, and that they
 * are all it takes to evaluate it and to predict. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "runtime/json.h"
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
    for (int i = 0; a->names && i < a->classes; i++) assert_string_equal(a->names[i], b->names[i]);
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
    const pn_images *const cases[] = {&grey, &colour, &nameless};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = NULL;
        pn_images read;
        assert_int_equal(pn_images_text(cases[i], &text), PN_OK);
        assert_int_equal(read_images(text, &read), PN_OK);
        assert_same_images(cases[i], &read);
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
                                    PN_HALF_BOTH, 0, &want),
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

static void probabilities_are_the_softmax(void **state) {
    (void)state;
    const float logits[] = {1000, 1000, 999};
    double p[3];
    pn_probabilities(logits, 3, p);
    const double e = exp(-1), sum = 2 + e;
    assert_true(fabs(p[0] - 1 / sum) < 1e-15 && p[0] == p[1]);
    assert_true(fabs(p[2] - e / sum) < 1e-15);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_come_back),
        cmocka_unit_test(names_are_safe_to_print),
        cmocka_unit_test(images_that_cannot_be),
        cmocka_unit_test(an_image_has_one_answer),
        cmocka_unit_test(weights_without_mean_and_deviation),
        cmocka_unit_test(weights_that_are_no_network),
        cmocka_unit_test(probabilities_are_the_softmax),
    };
    return cmocka_run_group_tests(tests, pn_folder_begin, pn_folder_end);
}
