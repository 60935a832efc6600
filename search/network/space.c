/* space.c -- names of the ops, and which spaces there are. */
#include "search/network/space.h"

#include <stdio.h>

const char *const pn_op_name[PN_MAX_OPS + 1] = {"max_pool_3x3", "avg_pool_3x3", "skip_connect",
                                                "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3",
                                                "dil_conv_5x5", "none"};

pn_space pn_space_darts(void) {
    return (pn_space){.kinds = PN_KINDS,
                      .nodes = PN_MAX_NODES,
                      .ops = PN_MAX_OPS,
                      .op = {PN_MAX_POOL_3X3, PN_AVG_POOL_3X3, PN_SKIP_CONNECT, PN_SEP_CONV_3X3,
                             PN_SEP_CONV_5X5, PN_DIL_CONV_3X3, PN_DIL_CONV_5X5}};
}

pn_status pn_space_check(const pn_space *space) {
    if (space->kinds < 1 || space->kinds > PN_KINDS)
        return pn_fail(PN_EARG, "space with %d kinds of cell, want 1..%d", space->kinds, PN_KINDS);
    if (space->nodes < 1 || space->nodes > PN_MAX_NODES)
        return pn_fail(PN_EARG, "space with %d nodes a cell, want 1..%d", space->nodes,
                       PN_MAX_NODES);
    if (space->ops < 1 || space->ops > PN_MAX_OPS)
        return pn_fail(PN_EARG, "space with %d ops, want 1..%d", space->ops, PN_MAX_OPS);
    bool seen[PN_MAX_OPS] = {false};
    for (int i = 0; i < space->ops; i++) {
        int op = space->op[i];
        if (op >= PN_MAX_OPS)
            return pn_fail(PN_EARG, "op number %d in a space, want 0..%d", op, PN_MAX_OPS - 1);
        if (seen[op])
            return pn_fail(PN_EARG, "op %s twice in a space, want each once", pn_op_name[op]);
        seen[op] = true;
    }
    return PN_OK;
}

int pn_node_terms(const pn_cell *cell, int node) {
    int count = 0;
    for (int slot = 0; slot < pn_slots(cell, node); slot++)
        count += cell->term[node][slot].op != PN_NONE;
    return count;
}

int pn_arch_terms(const pn_space *space, const pn_arch *arch) {
    int count = 0;
    for (int kind = 0; kind < space->kinds; kind++)
        for (int node = 0; node < space->nodes; node++)
            count += pn_node_terms(&arch->cell[kind], node);
    return count;
}

bool pn_space_has(const pn_space *space, const pn_arch *arch) {
    for (int kind = 0; kind < space->kinds; kind++) {
        const pn_cell *cell = &arch->cell[kind];
        if (cell->every_edge) return false;
        for (int node = 0; node < space->nodes; node++)
            for (int slot = 0; slot < PN_NODE_TERMS; slot++) {
                const int op = cell->term[node][slot].op;
                if (op != space->op[pn_op_choice(space, op)]) return false;
            }
    }
    return true;
}

void pn_space_text(const pn_space *space, char text[PN_SPACE_BYTES]) {
    int at = snprintf(text, PN_SPACE_BYTES, "%d kinds, %d nodes,", space->kinds, space->nodes);
    for (int i = 0; i < space->ops && at < PN_SPACE_BYTES; i++)
        at += snprintf(text + at, (size_t)(PN_SPACE_BYTES - at), " %s", pn_op_name[space->op[i]]);
}
