/* weights.c -- see weights.h. */
#include "search/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 112 };

static bool wanted(const pn_parameters *p, int i, const bool *used, unsigned roles) {
    return (!used || used[i]) && roles >> p->list[i].role & 1;
}

static void shape_of(const pn_parameter *t, pn_array *a) {
    a->rank = t->rank;
    for (int i = 0; i < t->rank; i++) a->shape[i] = t->shape[i];
}

/* Takes over name and data, which may be NULL for lack of memory. */
static pn_status append(pn_tensors *t, pn_array array, char *name, void *data) {
    if (t->count == t->capacity) {
        const int capacity = t->capacity ? 2 * t->capacity : 256;
        pn_array *list = realloc(t->list, (size_t)capacity * sizeof *list);
        if (list) {
            t->list = list;
            t->capacity = capacity;
        }
    }
    if (!name || !data || t->count == t->capacity) {
        free(name);
        free(data);
        return pn_fail(PN_EMEM, "no memory for a copy of %d tensors", t->count + 1);
    }
    array.name = name;
    array.data = data;
    t->list[t->count++] = array;
    return PN_OK;
}

pn_status pn_tensors_add(pn_tensors *t, const pn_parameters *p, const float *range,
                         const char *prefix, const bool *used, unsigned roles) {
    for (int i = 0; i < p->count; i++) {
        if (!wanted(p, i, used, roles)) continue;
        char name[NAME_BYTES];
        pn_array a = {.dtype = PN_F32};
        shape_of(&p->list[i], &a);
        snprintf(name, sizeof name, "%s%s", prefix, p->list[i].name);
        float *data = malloc(p->list[i].count * sizeof *data);
        if (data) pn_parameters_get(p, range, i, data);
        PN_TRY(append(t, a, strdup(name), data));
    }
    return PN_OK;
}

pn_status pn_tensors_add_array(pn_tensors *t, pn_array array) {
    const size_t bytes = pn_array_bytes(&array);
    void *data = malloc(bytes ? bytes : 1);
    if (data) memcpy(data, array.data, bytes);
    return append(t, array, strdup(array.name), data);
}

void pn_tensors_free(pn_tensors *t) {
    for (int i = 0; i < t->count; i++) {
        free((void *)(uintptr_t)t->list[i].name); /* ours, though arrays lend theirs as const */
        free((void *)(uintptr_t)t->list[i].data);
    }
    free(t->list);
    *t = (pn_tensors){0};
}

pn_status pn_weights_get(const pn_safetensors *file, const pn_parameters *p, float *range,
                         const char *prefix, const bool *used, unsigned roles) {
    for (int i = 0; i < p->count; i++) {
        if (!wanted(p, i, used, roles)) continue;
        char name[NAME_BYTES];
        pn_array a = {0};
        const void *data;
        shape_of(&p->list[i], &a);
        snprintf(name, sizeof name, "%s%s", prefix, p->list[i].name);
        PN_TRY(pn_safetensors_get(file, name, PN_F32, a.rank, a.shape, &data));
        pn_parameters_set(p, range, i, data);
    }
    return PN_OK;
}
