/* test_golden.c -- the search network against PyTorch in float64: 12 genotypes in 4 sizes, on every
 * instruction set. golden/make_golden.py says what the files hold; weights, images and labels
 * follow from its formula. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "search/genotype.h"
#include "tests/reference/whole.h"
#include "tests/support/check.h"

/* Bounds of the projection of a gradient, relative to its norm: a gradient as a whole feels a ReLU
 * that float32 decides otherwise (make_golden.py). */
#define PROJECTION_BOUND 1e-1

static uint32_t bits(const char *name, uint32_t i) {
    uint32_t x = 0x811C9DC5U;
    for (; *name; name++) x = (x ^ (unsigned char)*name) * 0x01000193U;
    x += i;
    x = (x ^ x >> 16) * 0x7FEB352DU;
    x = (x ^ x >> 15) * 0x846CA68BU;
    return x ^ x >> 16;
}

static float uniform(const char *name, size_t i) {
    return (float)((int32_t)bits(name, (uint32_t)i) >> 8) * 0x1p-23F;
}

/* Fills weights, image and labels in place of the random ones of pn_whole_create. */
static void fill(pn_whole *w, int N) {
    pn_parameters *p = &w->network.parameters;
    for (int t = 0; t < p->count; t++) {
        const pn_parameter *tensor = &p->list[t];
        float *value = malloc(tensor->count * sizeof *value);
        assert_non_null(value);
        float fan_in = 1;
        for (int d = 1; d < tensor->rank; d++) fan_in *= (float)tensor->shape[d];
        for (size_t i = 0; i < tensor->count; i++) {
            value[i] = uniform(tensor->name, i);
            if (tensor->rank == 1)
                value[i] = value[i] * 0.25F + (float)!strcmp(tensor->name, "stem.bn.weight");
            else
                value[i] *= 1.0F / sqrtf(fan_in);
        }
        pn_parameters_set(p, p->value, t, value);
        free(value);
    }
    const pn_network_spec *s = &w->network.spec;
    const size_t C = (size_t)s->image_channels, plane = (size_t)s->H * (size_t)s->W;
    for (size_t i = 0; i < (size_t)N * C * plane; i++) /* i counts (N,C,H,W); ours is (N,H,W,C) */
        w->image[(i / plane / C * plane + i % plane) * C + i / plane % C] =
            uniform("input", i) * 1.7F;
    for (int i = 0; i < N; i++)
        w->labels[i] = (int32_t)(bits("labels", (uint32_t)i) % (uint32_t)s->classes);
}

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

typedef struct worst {
    double logit, loss, norm, projection;
} worst;

static void check_gradient(const pn_parameters *p, int t, const json_t *pair, const char *where,
                           worst *most) {
    const pn_parameter *tensor = &p->list[t];
    const double want = json_number_value(json_array_get(pair, 0));
    float *g = malloc(tensor->count * sizeof *g);
    char direction[128];
    snprintf(direction, sizeof direction, "%s.direction", tensor->name);
    assert_non_null(g);
    pn_parameters_get(p, p->gradient, t, g);
    double square = 0, projection = 0;
    for (size_t i = 0; i < tensor->count; i++) {
        square += (double)g[i] * g[i];
        projection += (double)g[i] * uniform(direction, i);
    }
    free(g);
    const double scale = want > 0 ? want : 1;
    const double norm = fabs(sqrt(square) - want) / scale;
    const double off = fabs(projection - json_number_value(json_array_get(pair, 1))) / scale;
    if (!(norm <= PN_GRADIENT_BOUND) || !(off <= PROJECTION_BOUND))
        fail_msg("%s: gradient of %s: norm off by %.1e, projection by %.1e", where, tensor->name,
                 norm, off);
    most->norm = fmax(most->norm, norm);
    most->projection = fmax(most->projection, off);
}

static void check_case(const json_t *settings, const json_t *golden, const pn_kernels *k,
                       worst *most) {
    const char *text = json_string_value(json_object_get(golden, "genotype"));
    pn_arch arch;
    assert_int_equal(pn_genotype_read(text, strlen(text), &arch), PN_OK);
    const int N = (int)number(settings, "batch");
    const pn_whole_case c = {
        .why = json_string_value(json_object_get(golden, "name")),
        .spec = {.layers = (int)number(settings, "layers"),
                 .channels = (int)number(settings, "channels"),
                 .H = (int)number(settings, "height"),
                 .W = (int)number(settings, "width"),
                 .image_channels = (int)number(settings, "image_channels"),
                 .classes = (int)number(settings, "classes")},
        .N = N,
        .training = true,
    };
    pn_whole w;
    if (pn_whole_create(&w, &c, &arch, k, 1) != PN_OK) fail_msg("%s: %s", c.why, pn_error());
    fill(&w, N);
    assert_int_equal(pn_whole_run(&w), PN_OK);

    const double loss = fabs(w.result.loss - number(golden, "loss"));
    if (!(loss <= PN_LOSS_BOUND)) fail_msg("%s: loss off by %.1e", c.why, loss);
    assert_true(fabs(w.result.log_likelihood - number(golden, "log_likelihood")) <=
                N * PN_LOSS_BOUND);
    assert_int_equal(w.result.correct, (int64_t)number(golden, "correct"));
    for (int i = 0; i < N * c.spec.classes; i++) {
        const json_t *row =
            json_array_get(json_object_get(golden, "logits"), (size_t)(i / c.spec.classes));
        const double d = fabs(w.logits[i] -
                              json_number_value(json_array_get(row, (size_t)(i % c.spec.classes))));
        if (!(d <= PN_LOGIT_BOUND)) fail_msg("%s: logit %d off by %.1e", c.why, i, d);
        most->logit = fmax(most->logit, d);
    }
    most->loss = fmax(most->loss, loss);

    const json_t *gradients = json_object_get(golden, "gradients");
    const pn_parameters *p = &w.network.parameters;
    bool *used = calloc((size_t)p->count, sizeof *used);
    size_t seen = 0;
    assert_non_null(used);
    pn_network_uses(&w.network, &arch, used);
    for (int t = 0; t < p->count; t++) {
        const json_t *pair = json_object_get(gradients, p->list[t].name);
        if (used[t] != (pair != NULL))
            fail_msg("%s: %s is used by one side only", c.why, p->list[t].name);
        if (!pair) continue;
        check_gradient(p, t, pair, c.why, most);
        seen++;
    }
    assert_int_equal(seen, json_object_size(gradients));
    free(used);
    pn_whole_destroy(&w);
}

static void check_file(const char *path) {
    json_t *root = json_load_file(path, 0, NULL);
    if (!root) fail_msg("cannot read %s", path);
    const json_t *cases = json_object_get(root, "cases");
    assert_true(json_array_size(cases) >= 6);
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        if (!pn_backend_at(backend)) continue;
        worst most = {0};
        for (size_t i = 0; i < json_array_size(cases); i++)
            check_case(json_object_get(root, "settings"), json_array_get(cases, i),
                       pn_backend_at(backend), &most);
        print_message("%s, %s: worst logit %.1e, loss %.1e, gradient norm %.1e, projection %.1e\n",
                      path, pn_backend_labels[backend], most.logit, most.loss, most.norm,
                      most.projection);
    }
    json_decref(root);
}

static void small(void **state) {
    (void)state;
    check_file("golden/small.json");
}
static void grey(void **state) {
    (void)state;
    check_file("golden/grey.json");
}
static void odd_edges(void **state) {
    (void)state;
    check_file("golden/odd.json");
}
static void the_search_network(void **state) {
    (void)state;
    check_file("golden/search.json");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small),
        cmocka_unit_test(grey),
        cmocka_unit_test(odd_edges),
        cmocka_unit_test(the_search_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
