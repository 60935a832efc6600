/* units.c -- see units.h. */
#include "runtime/units.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/group.h"

/* ---- places ---------------------------------------------------------------------------------- */

/* What a program's backward adds to, and its forward keeps. */
static void find_used(const pn_program *program, bool *used) {
    pn_program_touch(program, used);
    pn_program_track(program, used);
}

/* Packs what is used as pn_parameters_ranges has it: at[i], or with NULL nothing. Gives the floats
 * of all. */
static size_t lay_out(const pn_parameters *p, const bool *used, size_t *at) {
    size_t first = 0, floats = 0; /* of the stretch at hand, and in all */
    for (int i = 0; i < p->count; i++) {
        const pn_parameter *t = &p->list[i];
        if (!used[i]) continue;
        if (i == 0 || !used[i - 1]) first = t->offset - pn_aligned_floats(floats);
        if (at) at[i] = t->offset - first;
        floats = t->offset - first + t->count;
    }
    return pn_aligned_floats(floats);
}

pn_status pn_units_floats(const pn_parameters *p, const pn_program *program, size_t *floats) {
    bool *const used = calloc((size_t)p->count, sizeof *used);
    if (!used) return pn_fail(PN_EMEM, "units: no memory for %d flags", p->count);
    find_used(program, used);
    *floats = lay_out(p, used, NULL);
    free(used);
    return PN_OK;
}

int pn_units_most(int units, int ranks) { return (units + ranks - 1) / ranks; }

size_t pn_units_bytes(pn_unit_counts c) { return (size_t)c.here * c.floats * sizeof(float); }

/* In the arena: the sum, then the gradient. */
static size_t sum_bytes(const pn_parameters *p) {
    return pn_aligned_floats(p->floats) * (sizeof(int64_t) + sizeof(float));
}

size_t pn_units_arena_bytes(const pn_parameters *p) { return sum_bytes(p) + PN_GUARD; }

/* ---- memory ---------------------------------------------------------------------------------- */

static pn_status commit_places(pn_units *u, size_t bytes) {
    return pn_arena_commit(&u->places, bytes + (u->places.checked ? PN_GUARD : 0));
}

static pn_status create(pn_units *u) {
    const size_t n = (size_t)u->parameters->count, samples = (size_t)u->counts.samples;
    const pn_memory *memory = u->kernels->memory;
    void *block;
    PN_TRY(pn_arena_create(&u->places, memory, pn_units_bytes(u->counts) + PN_GUARD, 0));
    if (memory->moves) PN_TRY(commit_places(u, pn_units_bytes(u->counts)));
    PN_TRY(memory->allocate(samples * sizeof *u->share, &block));
    u->share = block;
    u->first = calloc(samples * (size_t)u->counts.shards, sizeof *u->first);
    u->used = calloc(samples * n, sizeof *u->used);
    u->touched = calloc(n, sizeof *u->touched);
    u->tracked = calloc(n, sizeof *u->tracked);
    u->either = calloc(n, sizeof *u->either);
    u->at = calloc(n, sizeof *u->at);
    u->ranges = calloc(n, sizeof *u->ranges);
    return u->first && u->used && u->touched && u->tracked && u->either && u->at && u->ranges
               ? PN_OK
               : pn_fail(PN_EMEM, "units: no memory for %d samples", u->counts.samples);
}

pn_status pn_units_create(pn_units *u, const pn_kernels *kernels, const pn_parameters *parameters,
                          pn_unit_counts counts) {
    *u = (pn_units){.counts = counts, .kernels = kernels, .parameters = parameters};
    const pn_status s = create(u);
    if (s != PN_OK) pn_units_destroy(u);
    return s;
}

void pn_units_destroy(pn_units *u) {
    if (u->kernels) {
        pn_arena_destroy(&u->places);
        u->kernels->memory->release(u->share);
    }
    free(u->first);
    free(u->used);
    free(u->touched);
    free(u->tracked);
    free(u->either);
    free(u->at);
    free(u->ranges);
    *u = (pn_units){0};
}

/* ---- a step ---------------------------------------------------------------------------------- */

static bool *used_by(const pn_units *u, int k) {
    return u->used + (size_t)k * (size_t)u->parameters->count;
}

static size_t *first_of(const pn_units *u, int k, int d) {
    return u->first + (size_t)k * (size_t)u->counts.shards + (size_t)d;
}

static float *place_of(const pn_units *u, int k, int d) {
    return (float *)(void *)u->places.base + *first_of(u, k, d);
}

void pn_units_begin(pn_units *u) {
    const size_t n = (size_t)u->parameters->count;
    memset(u->touched, 0, n * sizeof *u->touched);
    memset(u->tracked, 0, n * sizeof *u->tracked);
    for (int i = 0; i < u->counts.samples * u->counts.shards; i++) u->first[i] = SIZE_MAX;
    u->taken = 0;
    u->samples = 0;
}

static pn_status make_place(pn_units *u, int k, int d, size_t floats) {
    if (floats > u->counts.floats)
        return pn_fail(PN_EMEM, "units: %zu floats of gradient, want %zu at most", floats,
                       u->counts.floats);
    const size_t first = u->taken;
    PN_TRY(commit_places(u, (first + floats) * sizeof(float)));
    pn_arena_born(&u->places, first * sizeof(float), floats * sizeof(float));
    *first_of(u, k, d) = first;
    u->taken += floats;
    return PN_OK;
}

void pn_units_note(pn_units *u, int k, const pn_program *program) {
    if (k >= u->samples) u->samples = k + 1;
    pn_program_touch(program, u->touched);
    pn_program_track(program, u->tracked);
}

pn_status pn_units_take(pn_units *u, int k, int d, pn_program *program) {
    bool *const used = used_by(u, k);
    memset(used, 0, (size_t)u->parameters->count * sizeof *used);
    find_used(program, used);
    pn_units_note(u, k, program);
    const size_t floats = lay_out(u->parameters, used, u->at);
    if (*first_of(u, k, d) == SIZE_MAX) PN_TRY(make_place(u, k, d, floats));
    pn_program_gradient(program, place_of(u, k, d), u->at);
    return u->kernels->memory->clear(place_of(u, k, d), floats * sizeof(float));
}

pn_status pn_units_scale(pn_units *u, int k, int d, float by, const pn_launch *launch) {
    const pn_parameters *p = u->parameters;
    const bool *const used = used_by(u, k);
    bool joins = false; /* the tensor before was of the stretch at hand */
    int count = 0;
    for (int i = 0; i < p->count; i++) {
        const bool wanted = used[i] && p->list[i].role != PN_ROLE_STATE;
        if (wanted && !joins) u->ranges[count++] = (pn_range){u->at[i], 0};
        if (wanted)
            u->ranges[count - 1].count = u->at[i] + p->list[i].count - u->ranges[count - 1].first;
        joins = wanted;
    }
    return u->kernels->scale(u->ranges, count, place_of(u, k, d), by, launch);
}

/* On the host only what is summed; a device clears all faster than it starts two launches. */
static pn_status clear_sum(const pn_units *u, int count, int64_t *sum) {
    const pn_memory *memory = u->kernels->memory;
    if (!memory->plain) return memory->clear(sum, u->parameters->floats * sizeof *sum);
    for (int i = 0; i < count; i++)
        PN_TRY(memory->clear(sum + u->ranges[i].first, u->ranges[i].count * sizeof *sum));
    return PN_OK;
}

static pn_status tally(const pn_units *u, int64_t *sum, float *scale, const pn_launch *launch) {
    for (int k = 0; k < u->samples; k++) {
        const int count = pn_parameters_ranges(u->parameters, used_by(u, k), u->ranges);
        for (int d = 0; d < u->counts.shards; d++)
            if (*first_of(u, k, d) != SIZE_MAX)
                PN_TRY(u->kernels->tally(u->ranges, count, place_of(u, k, d), &u->share[k], sum,
                                         scale, launch));
    }
    return PN_OK;
}

/* What the units of a step touch: its stretches, in u->ranges. */
static int stretches(pn_units *u) {
    for (int i = 0; i < u->parameters->count; i++) u->either[i] = u->touched[i] || u->tracked[i];
    return pn_parameters_ranges(u->parameters, u->either, u->ranges);
}

/* ---- with others ----------------------------------------------------------------------------- */

/* mine: how adding up has gone here. A term beyond the limit of one leaves all without a sum. */
static pn_status join_sum(pn_units *u, pn_status mine, float *scale, int64_t *sum) {
    const pn_memory *memory = u->kernels->memory;
    const float none = NAN;
    float here = 1;
    if (!u->counts.group) return mine;
    if (mine == PN_OK) mine = memory->download(&here, scale, sizeof here);
    bool odd = isnan(here);
    const int count = stretches(u);
    PN_TRY(pn_group_sum(u->counts.group, memory, sum, u->ranges, count, mine, &odd));
    return odd ? memory->upload(scale, &none, sizeof none) : PN_OK;
}

/* ---- the sum --------------------------------------------------------------------------------- */

static pn_status settle(const pn_units *u, const bool *which, const int64_t *sum, float keep,
                        const float *scale, float *to, const pn_launch *launch) {
    const int count = pn_parameters_ranges(u->parameters, which, u->ranges);
    return count ? u->kernels->settle(u->ranges, count, sum, keep, scale, to, launch) : PN_OK;
}

pn_status pn_units_room(const pn_units *u, pn_arena *arena) {
    PN_TRY(pn_arena_commit(arena, pn_units_arena_bytes(u->parameters)));
    pn_arena_born(arena, 0, sum_bytes(u->parameters));
    return PN_OK;
}

/* Of the units that are run here. */
static pn_status add_up(pn_units *u, const pn_result *found, double temperature, double skip_below,
                        int64_t *sum, float *scale, const pn_launch *launch) {
    PN_TRY(u->kernels->share(found, u->samples, u->counts.shards, temperature, skip_below, u->share,
                             launch));
    PN_TRY(clear_sum(u, stretches(u), sum));
    return tally(u, sum, scale, launch);
}

pn_status pn_units_sum(pn_units *u, const pn_result *found, double temperature, double skip_below,
                       pn_arena *arena, float *scale, const pn_launch *launch, float **gradient) {
    const pn_parameters *p = u->parameters;
    int64_t *const sum = (int64_t *)(void *)arena->base;
    *gradient = (float *)(void *)(sum + pn_aligned_floats(p->floats)); /* until then free */
    const pn_status s = add_up(u, found, temperature, skip_below, sum, scale, launch);
    PN_TRY(join_sum(u, s, scale, sum));
    PN_TRY(settle(u, u->touched, sum, 0, scale, *gradient, launch));
    return settle(u, u->tracked, sum, 1 - PN_RUNNING_MOMENTUM, scale, p->device.value, launch);
}

pn_status pn_units_end(const pn_units *u, pn_arena *arena) {
    return pn_arena_died(arena, 0, sum_bytes(u->parameters));
}
