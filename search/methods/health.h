/* health.h -- is the search collapsing?
 *
 * Collapse is the known failure of this family of methods: pi falls for ops without weights,
 * which train fastest, or for the cell's inputs, so that whole cells are bypassed. The shared
 * likelihood looks splendid then. These few numbers show it while it happens. */
#ifndef PN_HEALTH_H
#define PN_HEALTH_H

#include "kernels/api.h"
#include "search/methods/prior.h"

PN_API_BEGIN

/* A warning is given beyond these. The published architectures (genotype.h) have 2 or 3 of 8 terms
 * without weights in the normal cell, input 0 in 38 to 50 % of their terms, and bypass no cell.
 * A uniform prior gives input 0 a probability of .32, a collapsed one was seen at .98; distinct
 * inputs allow .5 at most, so there that warning stays silent. A finished search at small scale
 * ended at 26 to 38 % of the uniform entropy. */
#define PN_HEALTH_FREE 0.5    /* largest share of ops without weights in the mode's normal cell */
#define PN_HEALTH_INPUT0 0.55 /* largest mean probability of input 0 */
#define PN_HEALTH_ENTROPY 0.1 /* smallest share of the uniform entropy */

enum { PN_HEALTH_WARNINGS = 4, PN_HEALTH_SENTENCE = 160 };

typedef struct pn_health {
    double free_ops[PN_KINDS];          /* share of ops without weights in the mode, by kind */
    double free_ops_all;                /* of both kinds together */
    double input[2 + PN_MAX_NODES - 1]; /* probability of each input, mean over all input
                                         * factors (0 where one does not offer it); sum 1 */
    int layers, reached;                /* cells of the mode's network; those that reach the head */
    double entropy, entropy_uniform;    /* nats */
    int warnings;
    char warning[PN_HEALTH_WARNINGS][PN_HEALTH_SENTENCE]; /* one sentence each */
} pn_health;

/* What a method believes. */
typedef struct pn_belief {
    bool known;                         /* false: nothing yet, and the rest is 0 */
    bool learnt;                        /* moved by what it has seen */
    bool derived;                       /* its cell is the one that will be handed over */
    pn_arch arch;                       /* the most probable cell */
    double input[2 + PN_MAX_NODES - 1]; /* as below */
    double entropy, entropy_uniform;    /* nats */
} pn_belief;

/* That of a pi, known, not learnt, and derived. */
void pn_prior_belief(const pn_prior *prior, pn_belief *belief);

/* How often an architecture reads each input: shares of its terms. */
void pn_arch_inputs(const pn_space *space, const pn_arch *arch, double share[2 + PN_MAX_NODES - 1]);

/* The health of a belief, judged on the network of `layers` cells (at least 1) that its cell gives;
 * all 0 of one that is not known. */
void pn_health_of(const pn_space *space, const pn_belief *belief, int layers, pn_health *health);

/* The health of pi, judged on the network of `layers` cells (at least 1) that its mode gives. */
void pn_health_check(const pn_prior *prior, int layers, pn_health *health);

/* How many of the cells of an architecture's network can reach the head: cell i feeds cell i+1
 * as its input 1 and cell i+2 as its input 0, the last feeds the head, and a cell uses an input
 * if any of its terms reads it (all nodes are concatenated). */
int pn_cells_reached(const pn_space *space, const pn_arch *arch, int layers);

PN_API_END

#endif
