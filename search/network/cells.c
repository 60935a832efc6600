/* cells.c -- see cells.h. */
#include "search/network/cells.h"

int pn_stem_channels(const pn_network_spec *spec) {
    return spec->imagenet_stem ? spec->channels : PN_STEM_FACTOR * spec->channels;
}

void pn_cell_shapes(const pn_network_spec *spec, int nodes, pn_cell_shape *shape) {
    int C = spec->channels, H = spec->H, W = spec->W;
    int before[2] = {pn_stem_channels(spec), pn_stem_channels(spec)};
    bool reduced = spec->imagenet_stem; /* its last convolution halves the image once more */
    if (spec->imagenet_stem)
        for (int i = 0; i < PN_IMAGENET_STEM; i++) {
            H = pn_out_size(H, 2);
            W = pn_out_size(W, 2);
        }
    for (int i = 0; i < spec->layers; i++) {
        pn_cell_shape *s = &shape[i];
        s->kind = pn_kind_at(i, spec->layers);
        if (s->kind == PN_REDUCTION) C *= 2;
        s->C = C;
        s->in_channels[0] = before[0];
        s->in_channels[1] = before[1];
        s->reduce0 = reduced;
        s->H = H;
        s->W = W;
        if (s->kind == PN_REDUCTION) {
            H = pn_out_size(H, 2);
            W = pn_out_size(W, 2);
        }
        s->P = H;
        s->Q = W;
        before[0] = before[1];
        before[1] = nodes * C;
        reduced = s->kind == PN_REDUCTION;
    }
}

bool pn_equal_terms(const pn_cell_weights *w, const pn_cell *cell, int node) {
    const pn_choice *t = cell->term[node];
    return !cell->every_edge && t[0].op != PN_NONE && t[0].op == t[1].op &&
           t[0].input == t[1].input &&
           pn_term_weights(w, cell, node, 0) == pn_term_weights(w, cell, node, 1);
}
