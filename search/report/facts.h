/* facts.h -- what there is to say about one run: its files, and what follows from them. */
#ifndef PN_REPORT_FACTS_H
#define PN_REPORT_FACTS_H

#include "search/methods/cost.h"
#include "search/methods/health.h"
#include "search/methods/prior.h"
#include "search/report/profile.h"
#include "search/report/run.h"

enum { PN_RUN_NAME_BYTES = 128, PN_TOP_CELLS = 10, PN_SENTENCE_WORDS = 512 };

/* A cell of the list of the most probable ones. */
typedef struct pn_top_cell {
    pn_arch arch;
    double log_p; /* of the network: the order of a node's two terms does not matter */
    bool costed;
    double cost[PN_COSTS];
} pn_top_cell;

typedef struct pn_facts {
    pn_view view;
    char name[PN_RUN_NAME_BYTES]; /* the last part of its path */
    char path[PN_PLACE_BYTES];    /* as it was given */
    pn_columns metrics, prior, truth, times;
    struct json_t *events, *compare; /* NULL where there is no such file */
    pn_report_profile profile;

    bool search;
    int64_t done, all; /* steps of a search, epochs of a training; 0: not known */
    int64_t warmup;    /* steps */
    bool evidence;     /* by evidence the distribution moves from the first step on */

    bool known;           /* there is a cell, */
    bool probable;        /* the most probable one so far: the run has not handed over one */
    pn_arch arch;         /* this one */
    bool distributed;     /* there is a distribution; the last row of prior.csv: */
    pn_prior pi, uniform; /* likewise distinct */
    double pi_step, log_p, log_p_uniform; /* of the cell, as in pn_top_cell */
    pn_health health;
    pn_top_cell top[PN_TOP_CELLS];
    int tops;

    double seconds, parameter_bytes, arena_bytes, memory_bytes; /* used; NaN: not known */
    bool planned, planned_supernet;
    double plan[PN_COSTS], supernet[PN_COSTS]; /* of the cell in this run's network */
} pn_facts;

/* Reads a run. `planning`: also what its networks cost. PN_EARG, PN_EIO as pn_view_open; PN_EMEM.
 * After a failure pn_facts_free is allowed, not needed. */
pn_status pn_facts_read(pn_facts *facts, const char *path, bool planning);
void pn_facts_free(pn_facts *facts);

/* The distribution with these marginals (pn_prior_marginals), which prior.csv holds. */
void pn_prior_of_marginals(const double probability[PN_MAX_LOGITS], pn_prior *prior);

/* log p of a network: the sum over both orders of every node's terms. */
double pn_network_log_p(const pn_prior *prior, const pn_arch *arch);

/* What was found, how sure that is, what it is worth against chance, and what it cost: in words. */
typedef struct pn_verdict {
    char found[PN_SENTENCE_WORDS], sure[PN_SENTENCE_WORDS], worth[PN_SENTENCE_WORDS];
    char command[PN_SENTENCE_WORDS]; /* that would tell what it is worth; "" if that is known */
} pn_verdict;
void pn_verdict_of(const pn_facts *facts, pn_verdict *verdict);

#endif
