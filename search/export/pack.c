/* pack.c -- see pack.h. */
#include "search/export/pack.h"

#include <stdlib.h>

const pn_layer *pn_dense_layer(const pn_layers *l, const pn_step *step) {
    if (step->kind == PN_STEP_POOL || step->kind == PN_STEP_ADD) return NULL;
    return &l->layer[step->kind == PN_STEP_CONVOLUTION ? step->layer : step->second];
}

const pn_layer *pn_depthwise_layer(const pn_layers *l, const pn_step *step) {
    return step->kind == PN_STEP_STAGE ? &l->layer[step->layer] : NULL;
}

static int taps(const pn_layer *layer) {
    return layer->kind == PN_LAYER_CONV ? layer->R * layer->R : 1;
}

static void lay_out(const pn_layers *l, const pn_steps *steps, pn_packed *p) {
    p->count = 0;
    for (int i = 0; i < steps->count; i++) {
        const pn_step *step = &steps->step[i];
        const pn_layer *depthwise = pn_depthwise_layer(l, step), *dense = pn_dense_layer(l, step);
        const int C = l->activation[step->x].C;
        p->step[i].depthwise = p->count;
        if (depthwise) p->count += (size_t)taps(depthwise) * (size_t)pn_in_lanes(C);
        p->step[i].dense = p->count;
        if (!dense) continue;
        const size_t all = (size_t)pn_in_panels(l->activation[dense->output].C);
        p->count += (size_t)taps(dense) * (size_t)C * all;
        p->step[i].bias = p->count;
        p->count += all;
    }
}

static void pack_step(const pn_layers *l, const pn_step *step, const pn_packed_step *at,
                      float *data) {
    const pn_layer *depthwise = pn_depthwise_layer(l, step), *dense = pn_dense_layer(l, step);
    const int C = l->activation[step->x].C;
    for (int t = 0; depthwise && t < taps(depthwise); t++)
        for (int c = 0; c < C; c++)
            data[at->depthwise + (size_t)(t * pn_in_lanes(C) + c)] =
                depthwise->weight[c * taps(depthwise) + t];
    if (!dense) return;
    const int O = l->activation[dense->output].C, T = taps(dense);
    const float *w = dense->weight;
    for (int o = 0; o < O; o++) {
        for (int i = 0; i < C; i++)
            for (int t = 0; t < T; t++) data[at->dense + pn_panel_index(O, C, T, o, t, i)] = *w++;
        data[at->bias + (size_t)o] = dense->bias[o];
    }
}

pn_status pn_pack(const pn_layers *l, const pn_steps *steps, pn_packed *p) {
    *p = (pn_packed){.step = calloc((size_t)steps->count + 1, sizeof *p->step)};
    if (p->step) lay_out(l, steps, p);
    if (p->step) p->data = calloc(p->count, sizeof *p->data);
    if (!p->data) {
        pn_packed_free(p);
        return pn_fail(PN_EMEM, "no memory for a copy of the weights");
    }
    for (int i = 0; i < steps->count; i++) pack_step(l, &steps->step[i], &p->step[i], p->data);
    return PN_OK;
}

void pn_packed_free(pn_packed *p) {
    free(p->data);
    free(p->step);
    *p = (pn_packed){0};
}
