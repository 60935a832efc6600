/* features.c -- see features.h. */
#include "search/truth/features.h"

#include <string.h>

static int depth_of(const pn_cell *cell) {
    int depth[PN_SOURCES + 1] = {0}, most = 0;
    for (int node = 0; node < PN_MAX_NODES; node++)
        for (int slot = 0; slot < PN_NODE_TERMS; slot++) {
            const int here = 1 + depth[cell->term[node][slot].input];
            if (here > depth[2 + node]) depth[2 + node] = here;
            if (here > most) most = here;
        }
    return most;
}

void pn_counts(const pn_cell *cell, int count[PN_COUNTS]) {
    memset(count, 0, PN_COUNTS * sizeof *count);
    for (int node = 0; node < PN_MAX_NODES; node++) {
        const pn_choice *term = cell->term[node];
        count[PN_COUNT_TWICE] += term[0].input == term[1].input;
        for (int slot = 0; slot < PN_NODE_TERMS; slot++) {
            count[term[slot].op]++;
            count[PN_COUNT_READERS + term[slot].input]++;
            count[PN_COUNT_WEIGHTS] += pn_op_has_weights((pn_op)term[slot].op);
        }
    }
}

static void add_terms(const pn_cell *cell, int kind, double *x) {
    for (int node = 0; node < PN_MAX_NODES; node++)
        for (int slot = 0; slot < PN_NODE_TERMS; slot++) {
            const pn_choice c = cell->term[node][slot];
            const int source = c.input < 2 ? c.input : 2;
            x[PN_BY_NODE + (kind * PN_MAX_NODES + node) * PN_MAX_OPS + c.op]++;
            x[PN_BY_SOURCE + (kind * 3 + source) * PN_MAX_OPS + c.op]++;
            for (int i = 0; c.input >= 2 && i < PN_NODE_TERMS; i++) {
                const int below = cell->term[c.input - 2][i].op;
                x[PN_OP_OVER_OP + (kind * PN_MAX_OPS + c.op) * PN_MAX_OPS + below] += 0.5;
            }
        }
}

void pn_features(const pn_arch *arch, pn_ridge_row *row) {
    double x[PN_FEATURES] = {1};
    for (int kind = 0; kind < PN_KINDS; kind++) {
        const pn_cell *cell = &arch->cell[kind];
        int count[PN_COUNTS];
        pn_counts(cell, count);
        add_terms(cell, kind, x);
        for (int i = 0; i < PN_SOURCES; i++) {
            const int readers = count[PN_COUNT_READERS + i];
            x[PN_READERS + (kind * PN_SOURCES + i) * (PN_MAX_NODES + 1) +
              (readers < PN_MAX_NODES ? readers : PN_MAX_NODES)] = 1;
        }
        x[PN_WITH_WEIGHTS + kind * (PN_CELL_TERMS + 1) + count[PN_COUNT_WEIGHTS]] = 1;
        x[PN_DEPTH + kind] = depth_of(cell);
    }
    row->count = 0;
    for (int i = 0; i < PN_FEATURES; i++)
        if (x[i] != 0 && row->count < PN_RIDGE_MOST) {
            row->index[row->count] = i;
            row->value[row->count++] = x[i];
        }
}

pn_arch pn_terms_sorted(const pn_arch *arch) {
    pn_arch sorted = *arch;
    for (int kind = 0; kind < PN_KINDS; kind++)
        for (int node = 0; node < PN_MAX_NODES; node++) {
            pn_choice *term = sorted.cell[kind].term[node], first = term[0];
            if (memcmp(&term[0], &term[1], sizeof first) <= 0) continue;
            term[0] = term[1];
            term[1] = first;
        }
    return sorted;
}
