/* pack.h -- weights in the order in which generated code reads them: step after step, of a stage
 * the depthwise convolution first.
 *
 * Dense weights (O,I,taps) lie in panels of PN_PANEL outputs, the last of PN_NARROW_PANEL where
 * that is enough, each (taps,I,width); depthwise weights (taps, C in lanes). What fills up is 0. */
#ifndef PN_PACK_H
#define PN_PACK_H

#include "search/export/steps.h"

/* Where the weights of a step begin. */
typedef struct pn_packed_step {
    size_t depthwise, dense, bias;
} pn_packed_step;

typedef struct pn_packed {
    float *data;
    pn_packed_step *step;
    size_t count;
} pn_packed;

pn_status pn_pack(const pn_layers *layers, const pn_steps *steps, pn_packed *packed);
void pn_packed_free(pn_packed *packed); /* an empty one is allowed */

/* The layer of a step that has its dense weights, and NULL or the one with the depthwise ones. */
const pn_layer *pn_dense_layer(const pn_layers *layers, const pn_step *step);
const pn_layer *pn_depthwise_layer(const pn_layers *layers, const pn_step *step);

/* An element of dense weights in panels: output o of all, tap t of T, input i of I. */
static inline size_t pn_panel_index(int O, int I, int T, int o, int t, int i) {
    const int panel = o / PN_PANEL * PN_PANEL, rest = pn_in_panels(O) - panel;
    const int width = rest < PN_PANEL ? rest : PN_PANEL;
    return (size_t)panel * (size_t)I * (size_t)T +
           ((size_t)t * (size_t)I + (size_t)i) * (size_t)width + (size_t)(o - panel);
}

#endif
