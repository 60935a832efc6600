/* update.c -- see update.h; the arithmetic is the backend's (weigh, sgd). */
#include "runtime/update.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/times.h"

static pn_status create(pn_update *u, const pn_unit_counts *units) {
    const pn_memory *memory = u->kernels->memory;
    const pn_parameters *p = u->parameters;
    const size_t n = (size_t)p->count;
    void *block;
    u->touched = calloc(n, sizeof *u->touched);
    u->ranges = malloc(n * sizeof *u->ranges);
    if (!u->touched || !u->ranges) return pn_fail(PN_EMEM, "update: no memory");
    for (size_t i = 0; i < n; i++) /* the most stretches there can be */
        u->ranges[i] = (pn_range){p->list[i].offset, p->list[i].count};
    const size_t bytes = u->kernels->sgd_scratch(u->ranges, p->count);
    PN_TRY(memory->allocate(bytes, &u->scratch));
    PN_TRY(memory->allocate(sizeof *u->device, &block));
    u->device = block;
    if (units) PN_TRY(pn_units_create(&u->units, u->kernels, p, *units));
    u->launch =
        (pn_launch){.scratch = u->scratch, .scratch_bytes = bytes, .stream = memory->stream()};
    return pn_update_begin(u);
}

pn_status pn_update_create(pn_update *u, const pn_kernels *kernels, pn_parameters *parameters,
                           const pn_unit_counts *units) {
    *u = (pn_update){.kernels = kernels,
                     .parameters = parameters,
                     .loss = pn_loss_scale_begin(kernels->storage)};
    const pn_status s = create(u, units);
    if (s != PN_OK) pn_update_destroy(u);
    return s;
}

void pn_update_destroy(pn_update *u) {
    free(u->touched);
    free(u->ranges);
    pn_units_destroy(&u->units);
    if (u->kernels) {
        u->kernels->memory->release(u->scratch);
        u->kernels->memory->release(u->device);
    }
    *u = (pn_update){0};
}

/* On the host only what was touched: a step costs what its samples cost. A device clears the whole
 * range faster than it starts two launches. */
static pn_status clear_gradient(const pn_update *u) {
    const pn_parameters *p = u->parameters;
    const pn_memory *memory = u->kernels->memory;
    if (p->no_gradient) return PN_OK;
    if (!memory->plain) return memory->clear(p->device.gradient, p->floats * sizeof(float));
    for (int i = 0; i < u->range_count; i++)
        PN_TRY(memory->clear(p->device.gradient + u->ranges[i].first,
                             u->ranges[i].count * sizeof(float)));
    return PN_OK;
}

/* ---- timed, if somebody asked ---------------------------------------------------------------- */

static pn_status begin_lap(const pn_update *u) {
    pn_laps *const laps = pn_times_of(u->kernels->memory);
    return laps ? pn_laps_begin(laps) : PN_OK;
}

static pn_status end_lap(const pn_update *u) {
    pn_laps *const laps = pn_times_of(u->kernels->memory);
    return laps ? pn_laps_end(laps, PN_TIMED_UPDATE) : PN_OK;
}

static float full_scale(const pn_update *u) { return u->loss.scale ? (float)u->loss.scale : 1; }

/* Gradients of units are divided by S before they are summed, that of one pass when it is taken. */
pn_status pn_update_begin(pn_update *u) {
    const float full = full_scale(u);
    u->start.scale = u->units.kernels ? 1 : 1 / full;
    for (int i = 0; i < PN_FLIGHTS; i++)
        u->start.weights[i] = (pn_importance){.max = -INFINITY, .scale = full, .full = full};
    PN_TRY(begin_lap(u));
    PN_TRY(clear_gradient(u));
    memset(u->touched, 0, (size_t)u->parameters->count * sizeof *u->touched);
    u->range_count = 0;
    u->gradient = u->parameters->device.gradient;
    u->arena = NULL;
    if (u->units.kernels) pn_units_begin(&u->units);
    PN_TRY(u->kernels->memory->upload(u->device, &u->start, sizeof u->start));
    return end_lap(u);
}

pn_status pn_update_sample(pn_update *u, int flight, const pn_program *program,
                           const pn_result *result, double temperature, double skip_below) {
    const pn_launch here = {.stream = u->kernels->memory->stream()};
    PN_TRY(begin_lap(u));
    PN_TRY(u->kernels->weigh(result, temperature, skip_below, &u->device->weights[flight], &here));
    PN_TRY(end_lap(u));
    if (u->units.kernels) return PN_OK;
    pn_program_touch(program, u->touched);
    u->range_count = pn_parameters_ranges(u->parameters, u->touched, u->ranges);
    return PN_OK;
}

const float *pn_update_scale(const pn_update *u, int flight) {
    return &u->device->weights[flight].scale;
}

const float *pn_update_full_scale(const pn_update *u) {
    return u->loss.scale ? pn_update_scale(u, 0) : NULL;
}

pn_status pn_update_unscale(pn_update *u, int k, int d) {
    const pn_launch here = {.stream = u->kernels->memory->stream()};
    if (!u->loss.scale || !u->units.kernels) return PN_OK;
    PN_TRY(begin_lap(u));
    PN_TRY(pn_units_scale(&u->units, k, d, 1 / full_scale(u), &here));
    return end_lap(u);
}

pn_status pn_update_room(pn_update *u, pn_arena *arena) {
    u->arena = arena;
    return pn_units_room(&u->units, arena);
}

pn_status pn_update_sum(pn_update *u, const pn_result *found, double temperature,
                        double skip_below) {
    float *gradient;
    PN_TRY(begin_lap(u));
    PN_TRY(pn_units_sum(&u->units, found, temperature, skip_below, u->arena, &u->device->scale,
                        &u->launch, &gradient));
    u->gradient = gradient;
    u->range_count = pn_parameters_ranges(u->parameters, u->units.touched, u->ranges);
    return end_lap(u);
}

pn_status pn_update_apply(pn_update *u, pn_sgd sgd) {
    PN_TRY(begin_lap(u));
    PN_TRY(u->kernels->sgd(u->ranges, u->range_count, u->parameters->device.value, u->gradient,
                           u->parameters->device.momentum, &u->device->scale, sgd, &u->device->norm,
                           &u->launch));
    if (u->arena) PN_TRY(pn_units_end(&u->units, u->arena));
    return end_lap(u);
}

size_t pn_update_bytes(const pn_update *u) {
    pn_unit_counts all = u->units.counts;
    all.here = all.samples * all.shards;
    return pn_parameters_bytes(u->parameters) + pn_units_bytes(all);
}

size_t pn_update_bytes_here(const pn_update *u) {
    return pn_parameters_bytes(u->parameters) + pn_units_bytes(u->units.counts);
}

pn_status pn_update_read(pn_update *u) {
    return u->kernels->memory->download(&u->state, u->device, sizeof u->state);
}

bool pn_update_skipped(pn_update *u) {
    const bool skipped = pn_loss_scale_judge(&u->loss, u->state.norm);
    if (skipped) u->state.norm = 0;
    return skipped;
}

/* ---- weights elsewhere ----------------------------------------------------------------------- */

/* What has been queued, and then a new beginning, which clears the norm with the rest. */
static pn_status arrive(pn_update *u) {
    PN_TRY(end_lap(u));
    PN_TRY(pn_update_read(u));
    return pn_update_begin(u);
}

pn_status pn_update_ahead(pn_update *u, pn_sgd sgd, float *value, float *velocity) {
    const pn_memory *memory = u->kernels->memory;
    const pn_parameters *p = u->parameters;
    const size_t bytes = pn_parameters_range_bytes(p);
    sgd.clip = 0;
    PN_TRY(begin_lap(u));
    PN_TRY(memory->copy(value, p->device.value, bytes));
    PN_TRY(memory->copy(velocity, p->device.momentum, bytes));
    PN_TRY(u->kernels->sgd(u->ranges, u->range_count, value, p->device.gradient, velocity,
                           &u->device->scale, sgd, &u->device->norm, &u->launch));
    return arrive(u);
}

pn_status pn_update_aside(pn_update *u, const float *along, float step, float *value) {
    double *const length = &u->device->norm;
    PN_TRY(begin_lap(u));
    PN_TRY(u->kernels->length(u->ranges, u->range_count, along, NULL, length, &u->launch));
    PN_TRY(u->kernels->move(u->ranges, u->range_count, value, u->parameters->device.value, along,
                            length, step, &u->launch));
    return arrive(u);
}
