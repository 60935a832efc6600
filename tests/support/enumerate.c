/* enumerate.c -- counting through a space as an odometer does. */
#include "tests/support/enumerate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/rng.h"

pn_space pn_small_space(int kinds, int nodes, int ops) {
    pn_space s = {.kinds = kinds, .nodes = nodes, .ops = ops};
    for (int i = 0; i < ops; i++) s.op[i] = (uint8_t)(PN_MAX_OPS - 1 - i);
    return s;
}

int pn_enumerate(const pn_space *space, bool distinct, pn_arch *arch, int limit) {
    int slots = space->kinds * space->nodes * PN_NODE_TERMS, count = 0;
    int op[PN_KINDS * PN_MAX_NODES * PN_NODE_TERMS] = {0},
                                     input[PN_KINDS * PN_MAX_NODES * PN_NODE_TERMS] = {0};
    for (;;) {
        pn_arch a;
        bool wanted = true;
        memset(&a, 0, sizeof a);
        for (int i = 0; i < slots; i++) {
            pn_choice *term =
                a.cell[i / (space->nodes * PN_NODE_TERMS)].term[i / PN_NODE_TERMS % space->nodes];
            term[i % PN_NODE_TERMS] = (pn_choice){space->op[op[i]], (uint8_t)input[i]};
            if (distinct && i % PN_NODE_TERMS && input[i] == input[i - 1]) wanted = false;
        }
        if (wanted) {
            if (count == limit) abort();
            arch[count++] = a;
        }
        int i = 0;
        for (; i < slots; i++) {
            if (++op[i] < space->ops) break;
            op[i] = 0;
            if (++input[i] < 2 + i / PN_NODE_TERMS % space->nodes) break;
            input[i] = 0;
        }
        if (i == slots) return count;
    }
}

void pn_random_logits(pn_prior *prior, double spread, uint64_t seed) {
    for (int i = 0; i < prior->count; i++)
        prior->logit[i] = spread * (2 * pn_uniform(seed, PN_STREAM_TEST, 0, (uint64_t)i) - 1);
}

double pn_chi_square_limit(int degrees) {
    double k = degrees, z = 4.753424; /* the same quantile of the normal distribution */
    return k * pow(1 - 2 / (9 * k) + z * sqrt(2 / (9 * k)), 3);
}
