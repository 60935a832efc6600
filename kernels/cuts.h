/* cuts.h -- what of the way jobs are cut (kernels/cuda/places.h) a card may want otherwise than we
 * guess. To be tried out, by tools/gpu-check: PARSEC_CUTS="blocks=192 halves=0 cost=0". Sums of
 * other cuts are rounded otherwise, so a run keeps its bits only under the same words. */
#ifndef PN_CUTS_H
#define PN_CUTS_H

#include "kernels/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PN_BLOCKS = 128, PN_MOST_BLOCKS = 256 };

typedef struct pn_cuts {
    int blocks; /* of a group at most: partials that somebody has to add */
    int halves; /* tiles are halved where fewer blocks than that had one */
    int cost;   /* the backward stage's tiles: 1, by what they cost; 0, the largest */
} pn_cuts;

/* Of the environment. PN_EARG for words that it does not know; *cuts is then the usual. */
pn_status pn_cuts_read(pn_cuts *cuts);

#ifdef __cplusplus
}
#endif

#endif
