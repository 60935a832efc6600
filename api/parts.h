/* parts.h -- what the calls of parsec_nas.h have in common; private to this room.
 *
 * Locks. A handle has a lock of its own, taken first. One lock is the library's: for jansson, which
 * is used from one thread at a time, for opening devices, and for all work on a card. */
#ifndef PN_API_PARTS_H
#define PN_API_PARTS_H

#include <pthread.h>
#include <stdbool.h>

#include "api/parsec_nas.h"
#include "kernels/backend.h"
#include "runtime/batches.h"
#include "runtime/json.h"
#include "search/methods/prior.h"
#include "search/network/genotype.h"
#include "search/network/images.h"
#include "search/network/network.h"
#include "search/rundir/fields.h"

/* ---- locks ----------------------------------------------------------------------------------- */

void pn_api_lock(void);
void pn_api_unlock(void);

/* Around work on a handle: its lock, and on a card the library's, too. */
typedef struct pn_api_turn {
    pthread_mutex_t lock;
    const pn_kernels *kernels; /* NULL: the handle does no work */
} pn_api_turn;
void pn_api_turn_begin(pn_api_turn *turn);
void pn_api_turn_end(pn_api_turn *turn);
/* Within a turn, around what needs the library's lock in any case. */
void pn_api_turn_tells(pn_api_turn *turn);
void pn_api_turn_tells_no_more(pn_api_turn *turn);

/* ---- settings -------------------------------------------------------------------------------- */

/* Rows that JSON may fill, and what they fill. */
typedef struct pn_api_table {
    const pn_fields *fields;
    void *settings;       /* holds the defaults */
    const char *excluded; /* rows that do not count, each between bars: "|data|epochs|"; or NULL */
} pn_api_table;

/* Reads an object of settings; `text` NULL is an empty one. Names among `others` (as above) are
 * left to the caller, who releases *root (NULL after a failure). The library's lock is held.
 * PN_EARG, PN_EINPUT for what is not JSON. */
pn_status pn_api_read(const char *text, const pn_api_table *tables, int count, const char *others,
                      json_t **root);

/* The names that pn_images_read knows, for `others`. */
extern const char pn_api_of_images[];

/* The settings of those who compute. */
typedef struct pn_api_work {
    char device[64], precision[16]; /* "": as the device says */
    size_t memory;
} pn_api_work;
extern const pn_fields pn_api_work_fields;

/* Opens the device. What kernels/backend.h says goes wrong. */
pn_status pn_api_open(const pn_api_work *work, const pn_kernels **kernels);

/* ---- images ---------------------------------------------------------------------------------- */

/* A batch of the host's, made from arrays of the caller. */
typedef struct pn_api_batch {
    int H, W, C, classes, N;
    bool bytes; /* they may be bytes, which become: */
    float value[PN_MAX_IMAGE_CHANNELS][PN_PIXEL_LEVELS];
    float *x;        /* (N,H,W,C) */
    int32_t *labels; /* (N) */
} pn_api_batch;

pn_status pn_api_batch_create(pn_api_batch *batch, const pn_images *images, int N);
void pn_api_batch_destroy(pn_api_batch *batch); /* zero is allowed */

/* An array of n images and its labels, as a caller gave them. */
typedef struct pn_api_given {
    const void *images;
    int format;
    const int32_t *labels; /* NULL: there are none */
    int64_t n;
} pn_api_given;

/* Whether they can be used; `labelled`: they must have labels. PN_EARG. */
pn_status pn_api_batch_check(const pn_api_batch *batch, const pn_api_given *given, bool labelled);

/* The batch of the images first .. first + n - 1 of those (n at most N), which passed the check;
 * without labels they are all 0. Valid until the next one. */
pn_batch pn_api_batch_take(pn_api_batch *batch, const pn_api_given *given, int64_t first, int n);

/* ---- what is told of networks and architectures ---------------------------------------------- */

/* {"log_p", "genotype", "short"}; NULL: no memory. */
json_t *pn_api_row(const pn_space *space, const pn_arch *arch, double log_p);

/* What classifier_describe says. The library's lock is held. NULL: no memory. */
json_t *pn_api_network(const pn_network *network, const pn_arch *arch, const pn_images *images,
                       const pn_kernels *kernels);

/* A handle for a copy of `prior`. PN_EMEM. */
pn_status pn_api_distribution(const pn_prior *prior, parsec_nas_distribution **out);

/* PN_EARG "NAME is NULL" for an argument that must not be. */
pn_status pn_api_wanted(const void *argument, const char *name);

#endif
