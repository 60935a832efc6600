/* update.c -- see update.h; the arithmetic is the backend's (weigh, rescale, sgd). */
#include "runtime/update.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

pn_status pn_update_create(pn_update *u, const pn_kernels *kernels, pn_parameters *parameters) {
    *u = (pn_update){.kernels = kernels, .parameters = parameters};
    const size_t n = (size_t)parameters->count;
    u->touched = calloc(n, sizeof *u->touched);
    u->ranges = malloc(n * sizeof *u->ranges);
    if (u->touched && u->ranges) {
        for (size_t i = 0; i < n; i++) /* the most stretches there can be */
            u->ranges[i] = (pn_range){parameters->list[i].offset, parameters->list[i].count};
        size_t bytes = kernels->sgd_scratch(u->ranges, parameters->count);
        u->scratch = aligned_alloc(64, (bytes + 64) / 64 * 64);
    }
    if (!u->scratch) {
        pn_update_destroy(u);
        return pn_fail(PN_EMEM, "update: no memory");
    }
    u->launch.scratch = u->scratch;
    u->weights.max = -INFINITY;
    return PN_OK;
}

void pn_update_destroy(pn_update *u) {
    free(u->touched);
    free(u->ranges);
    free(u->scratch);
    *u = (pn_update){0};
}

pn_status pn_update_begin(pn_update *u) {
    for (int i = 0; i < u->range_count; i++)
        memset(u->parameters->gradient + u->ranges[i].first, 0, u->ranges[i].count * sizeof(float));
    memset(u->touched, 0, (size_t)u->parameters->count * sizeof *u->touched);
    u->range_count = 0;
    u->weights = (pn_weights){.max = -INFINITY};
    u->norm = 0;
    return PN_OK;
}

/* Neighbours in the enumeration become one stretch; the few floats of padding between are zero. */
static void find_ranges(pn_update *u) {
    u->range_count = 0;
    for (int i = 0; i < u->parameters->count; i++) {
        if (!u->touched[i]) continue;
        const pn_parameter *t = &u->parameters->list[i];
        if (i > 0 && u->touched[i - 1]) {
            pn_range *last = &u->ranges[u->range_count - 1];
            last->count = t->offset + t->count - last->first;
        } else {
            u->ranges[u->range_count++] = (pn_range){t->offset, t->count};
        }
    }
}

pn_status pn_update_sample(pn_update *u, const pn_program *program, const pn_result *result,
                           double temperature, double skip_below) {
    PN_TRY(u->kernels->weigh(result, temperature, skip_below, &u->weights, &u->launch));
    PN_TRY(u->kernels->rescale(u->ranges, u->range_count, u->parameters->gradient,
                               &u->weights.rescale, &u->launch));
    pn_program_touch(program, u->touched);
    find_ranges(u);
    return PN_OK;
}

pn_status pn_update_apply(pn_update *u, pn_sgd sgd) {
    return u->kernels->sgd(u->ranges, u->range_count, u->parameters->value, u->parameters->gradient,
                           u->parameters->momentum, &u->weights.inverse, sgd, &u->norm, &u->launch);
}
