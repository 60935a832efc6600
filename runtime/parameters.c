/* parameters.c -- the enumerated weights. */
#include "runtime/parameters.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/rng.h"

enum { ALIGN_FLOATS = 16 }; /* a cache line */

/* Of a range: three of them, in bytes, are counted without overflow. */
#define MOST_FLOATS (SIZE_MAX / 3 / sizeof(float) / 2)

pn_status pn_parameters_add(pn_parameters *p, const char *name, pn_layout layout, pn_init init,
                            pn_role role, int fan_in, bool adjacent, int rank, const int *shape,
                            int *index) {
    if (p->count == p->capacity) {
        int capacity = p->capacity ? 2 * p->capacity : 256;
        pn_parameter *list = realloc(p->list, (size_t)capacity * sizeof *list);
        if (!list) return pn_fail(PN_EMEM, "parameters: no memory for %d names", capacity);
        p->list = list;
        p->capacity = capacity;
    }
    pn_parameter *t = &p->list[p->count];
    *t = (pn_parameter){
        .rank = rank, .count = 1, .fan_in = fan_in, .layout = layout, .init = init, .role = role};
    snprintf(t->name, sizeof t->name, "%s", name);
    for (int i = 0; i < rank; i++) {
        t->shape[i] = shape[i];
        if (shape[i] < 1 || t->count > MOST_FLOATS / (size_t)shape[i])
            return pn_fail(PN_EARG,
                           "parameters: %s: edge %d is %d, want a tensor that fits into memory",
                           name, i, shape[i]);
        t->count *= (size_t)shape[i];
    }
    t->offset = adjacent ? p->list[p->count - 1].offset + p->list[p->count - 1].count
                         : (p->floats + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    if (t->count > MOST_FLOATS - t->offset)
        return pn_fail(PN_EARG, "parameters: %zu floats before %s, want all to fit into memory",
                       t->offset, name);
    p->floats = t->offset + t->count;
    *index = p->count++;
    return PN_OK;
}

/* Each range ends on a whole line, so that all three begin on one. */
static size_t range_floats(const pn_parameters *p) {
    return (p->floats + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

size_t pn_parameters_range_bytes(const pn_parameters *p) { return range_floats(p) * sizeof(float); }

size_t pn_parameters_bytes(const pn_parameters *p) {
    return (p->no_gradient ? 2 : 3) * pn_parameters_range_bytes(p);
}

int pn_parameters_ranges(const pn_parameters *p, const bool *wanted, pn_range *ranges) {
    int count = 0;
    for (int i = 0; i < p->count; i++) {
        const pn_parameter *t = &p->list[i];
        if (!wanted[i]) continue;
        if (i > 0 && wanted[i - 1])
            ranges[count - 1].count = t->offset + t->count - ranges[count - 1].first;
        else
            ranges[count++] = (pn_range){t->offset, t->count};
    }
    return count;
}

pn_status pn_parameters_allocate(pn_parameters *p, const pn_memory *memory) {
    const size_t range = range_floats(p);
    void *block, *device;
    p->memory = memory;
    p->block_bytes = pn_parameters_bytes(p);
    PN_TRY(memory->stage(p->block_bytes, &block));
    p->block = block;
    p->value = p->block;
    p->gradient = p->no_gradient ? NULL : p->value + range;
    p->momentum = (p->no_gradient ? p->value : p->gradient) + range;
    if (memory->plain) {
        device = block;
    } else {
        PN_TRY(memory->allocate(p->block_bytes, &device));
    }
    p->device.block = device;
    p->device.value = p->device.block;
    p->device.gradient = p->no_gradient ? NULL : p->device.value + range;
    p->device.momentum = (p->no_gradient ? p->device.value : p->device.gradient) + range;
    return PN_OK;
}

pn_status pn_parameters_push(const pn_parameters *p) {
    if (p->memory->plain) return PN_OK;
    int64_t mark;
    PN_TRY(p->memory->upload(p->device.block, p->block, p->block_bytes));
    PN_TRY(p->memory->mark(&mark));
    return p->memory->wait(mark); /* the host may change its copy at once */
}

pn_status pn_parameters_pull(const pn_parameters *p) {
    if (p->memory->plain) return PN_OK;
    return p->memory->download(p->block, p->device.block, p->block_bytes);
}

void pn_parameters_destroy(pn_parameters *p) {
    if (p->memory && !p->memory->plain) p->memory->release(p->device.block);
    if (p->memory) p->memory->unstage(p->block);
    free(p->list);
    *p = (pn_parameters){0};
}

void pn_parameters_init(pn_parameters *p, uint64_t seed) {
    memset(p->block, 0, p->block_bytes);
    for (int t = 0; t < p->count; t++) {
        const pn_parameter *tensor = &p->list[t];
        float *value = p->value + tensor->offset;
        double bound = 1 / sqrt(tensor->fan_in > 0 ? tensor->fan_in : 1);
        for (size_t i = 0; i < tensor->count; i++) {
            if (tensor->init == PN_INIT_UNIFORM)
                value[i] =
                    (float)(bound * (2 * pn_uniform(seed, PN_STREAM_INIT, (uint64_t)t, i) - 1));
            else
                value[i] = tensor->init == PN_INIT_ONE;
        }
    }
}

/* Place inside of the outside's element i. */
static size_t inside(const pn_parameter *t, size_t i) {
    if (t->layout == PN_LAYOUT_SAME) return i;
    size_t taps = t->layout == PN_LAYOUT_CONV ? (size_t)t->shape[2] * (size_t)t->shape[3] : 1;
    size_t O = (size_t)t->shape[0], I = (size_t)t->shape[1];
    size_t tap = i % taps, c = i / taps % I, o = i / taps / I;
    return (tap * I + c) * O + o;
}

void pn_parameters_get(const pn_parameters *p, const float *range, int index, float *out) {
    const pn_parameter *t = &p->list[index];
    for (size_t i = 0; i < t->count; i++) out[i] = range[t->offset + inside(t, i)];
}

void pn_parameters_set(const pn_parameters *p, float *range, int index, const float *in) {
    const pn_parameter *t = &p->list[index];
    for (size_t i = 0; i < t->count; i++) range[t->offset + inside(t, i)] = in[i];
}

int pn_parameters_find(const pn_parameters *p, const char *name) {
    for (int i = 0; i < p->count; i++)
        if (!strcmp(p->list[i].name, name)) return i;
    return -1;
}
