/* warm_start.h -- the search that another one begins from (--prior): its distribution, its weights
 * if they fit, and how both came about, so that the record of a distribution does not end where a
 * search ends. */
#ifndef PN_WARM_START_H
#define PN_WARM_START_H

#include "runtime/parameters.h"
#include "runtime/safetensors.h"
#include "search/methods/prior.h"
#include "search/rundir/directory.h"
#include "search/rundir/fields.h"

/* How a search's checkpoint is marked, and called inside; also for run.c, which writes it. */
extern const char pn_checkpoint_format[], pn_checkpoint_state[];

typedef struct pn_warm_start {
    char given[PN_TEXT_BYTES]; /* what it was opened as: a run's directory, or a checkpoint */
    char file[PN_PATH_BYTES];  /* the checkpoint */
    bool is_directory;
    pn_place place; /* the run's directory */
    pn_safetensors *checkpoint;
    int64_t step; /* of the checkpoint */
} pn_warm_start;

/* The initialiser of one that is not open. */
#define PN_NO_WARM_START     \
    {                        \
        .place = {.fd = -1 } \
    }

/* PN_EINPUT if there is no checkpoint of a search, or one of another space; PN_EIO if that cannot
 * be told. Close it after a failure too. */
pn_status pn_warm_start_open(pn_warm_start *source, const char *path, const pn_space *space);
void pn_warm_start_close(pn_warm_start *source); /* one that is not open is allowed */

/* The method of the search, and whether it has a pi. PN_EINPUT if this version does not know it. */
struct pn_method;
pn_status pn_warm_start_method(const pn_warm_start *source, const struct pn_method **method);

/* The whole state of its method, which the caller frees. */
pn_status pn_warm_start_state(const pn_warm_start *source, const struct pn_method **method,
                              void **self);

/* The logits, and whether inputs were distinct; *prior is initialised. PN_EINPUT of a method
 * without pi. */
pn_status pn_warm_start_prior(const pn_warm_start *source, pn_prior *prior);

/* The shared weights (not the momenta). PN_EINPUT names the first tensor that differs. */
pn_status pn_warm_start_weights(const pn_warm_start *source, const pn_parameters *p);

/* Where this distribution comes from, as a JSON array, oldest first, the source last: of each its
 * path, settings, step and entropy (nats). *text is the caller's. */
pn_status pn_warm_start_history(const pn_warm_start *source, const pn_prior *prior, char **text);

/* Copies the rows of the source's prior.csv, up to its checkpoint, to another one: step 0 is where
 * the new search begins, so they have negative ones. Nothing if the source is a file. `header` is
 * the first line of both. */
pn_status pn_warm_start_rows(const pn_warm_start *source, const char *header, pn_table *to);

#endif
