/* golden.c -- see golden.h. Every step is rounded to float32, as in make_golden.py. */
#include "tests/support/golden.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

uint32_t pn_golden_bits(const char *name, uint32_t i) {
    uint32_t x = 0x811C9DC5U;
    for (; *name; name++) x = (x ^ (unsigned char)*name) * 0x01000193U;
    x += i;
    x = (x ^ x >> 16) * 0x7FEB352DU;
    x = (x ^ x >> 15) * 0x846CA68BU;
    return x ^ x >> 16;
}

float pn_golden_uniform(const char *name, size_t i) {
    return (float)((int32_t)pn_golden_bits(name, (uint32_t)i) >> 8) * 0x1p-23F;
}

void pn_golden_weights(pn_parameters *p) {
    for (int t = 0; t < p->count; t++) {
        const pn_parameter *tensor = &p->list[t];
        float *value = malloc(tensor->count * sizeof *value);
        assert_non_null(value);
        float fan_in = 1;
        for (int d = 1; d < tensor->rank; d++) fan_in *= (float)tensor->shape[d];
        for (size_t i = 0; i < tensor->count; i++) {
            value[i] = pn_golden_uniform(tensor->name, i);
            if (tensor->rank == 1)
                value[i] = value[i] * 0.25F + (float)(tensor->init == PN_INIT_ONE);
            else
                value[i] *= 1.0F / sqrtf(fan_in);
        }
        pn_parameters_set(p, p->value, t, value);
        free(value);
    }
}

/* i counts (N,C,H,W). */
void pn_golden_images(const char *name, int N, int H, int W, int C, float *image) {
    const size_t channels = (size_t)C, plane = (size_t)H * (size_t)W;
    for (size_t i = 0; i < (size_t)N * channels * plane; i++)
        image[(i / plane / channels * plane + i % plane) * channels + i / plane % channels] =
            pn_golden_uniform(name, i) * 1.7F;
}

void pn_golden_labels(const char *name, int N, int classes, int32_t *label) {
    for (int i = 0; i < N; i++)
        label[i] = (int32_t)(pn_golden_bits(name, (uint32_t)i) % (uint32_t)classes);
}

pn_golden_pair pn_golden_pair_of(const pn_parameters *p, const float *range, int t) {
    const pn_parameter *tensor = &p->list[t];
    pn_golden_pair pair = {0};
    char direction[128];
    float *g = malloc(tensor->count * sizeof *g);
    assert_non_null(g);
    snprintf(direction, sizeof direction, "%s.direction", tensor->name);
    pn_parameters_get(p, range, t, g);
    for (size_t i = 0; i < tensor->count; i++) {
        pair.norm += (double)g[i] * g[i];
        pair.along += (double)g[i] * pn_golden_uniform(direction, i);
    }
    free(g);
    pair.norm = sqrt(pair.norm);
    return pair;
}
