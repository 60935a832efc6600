/* cost.h -- what networks cost, before anything is allocated: numbers learnt, multiply-adds, bytes.
 * `parsec-nas plan` prints it. */
#ifndef PN_COST_H
#define PN_COST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "search/network/genotype.h"
#include "search/network/network.h"

/* The figures of an architecture; their meaning is in the help of `plan`. */
typedef enum pn_cost_figure {
    PN_COST_PARAMS,
    PN_COST_PARAMS_AUXILIARY,
    PN_COST_MACS,
    PN_COST_PARAMETER_BYTES,
    PN_COST_ACTIVATION_BYTES,
    PN_COST_ARENA_BYTES,
    PN_COST_ARENA_BYTES_EVAL,
    PN_COST_BATCH_BYTES,
    PN_COST_CONTEXT_BYTES,
    PN_COST_TOTAL_BYTES,
    PN_COST_FLOOR_BYTES,
    PN_COST_LEVELS,
    PN_COST_LAUNCHES_FWD,
    PN_COST_LAUNCHES_BWD,
    PN_COSTS
} pn_cost_figure;
extern const char *const pn_cost_name[PN_COSTS]; /* "params", ... */

static inline bool pn_cost_is_bytes(int figure) {
    return figure >= PN_COST_PARAMETER_BYTES && figure <= PN_COST_FLOOR_BYTES;
}

/* What is asked: the options of `plan`. 0 and NULL: the usual; of genotype, samples and supernet at
 * most one. */
typedef struct pn_cost_settings {
    const char *genotype, *network, *stem, *device; /* the last three are not NULL */
    const char *method;                             /* of a search: whose programs */
    const char *precision;                          /* of the device: float32, tf32, bf16, fp16 */
    int layers, channels, batch, classes, samples, image[3];
    int shards, step_samples; /* of a step; 0: 1 */
    int ranks;                /* among whom they are dealt; 0: 1. Bytes are of one of them */
    int in_flight;            /* most of step_samples at once on a card; 0: 1 */
    int order;                /* of --method darts; 0: its usual one */
    uint64_t seed;
    size_t memory; /* not 0: also find the largest batch that fits */
    bool supernet, share_slot, auxiliary, recompute, pool_norm;
} pn_cost_settings;

typedef struct pn_cost {
    pn_cost_settings settings; /* resolved */
    bool one;                  /* row[0] is of one architecture; else smallest, mean and largest */
    char genotype[PN_GENOTYPE_BYTES]; /* of the one, "" without */
    double row[3][PN_COSTS];
    int largest_batch; /* with `memory`, a multiple of `shards`; 0: none */
} pn_cost;

/* Fills *cost. PN_EARG. */
pn_status pn_cost_find(const pn_cost_settings *settings, pn_cost *cost);

/* As JSON text, to be freed. */
pn_status pn_cost_text(const pn_cost *cost, char **text);

/* What --network and --stem mean, and the usual sizes of that network. PN_EARG if it has no such
 * stem, or cannot have --pool-norm. */
pn_status pn_network_asked(const char *network, const char *stem, bool pool_norm, bool *evaluation,
                           pn_network_sizes *usual);

#endif
