/* top.h -- the most probable of many, where independent parts are each one of a few: of a product
 * of distributions the best `want`, part by part. */
#ifndef PN_TOP_H
#define PN_TOP_H

#include "kernels/api.h"
#include "kernels/status.h"
#include "search/network/space.h"

PN_API_BEGIN

/* A beginning of an architecture: the parts so far. */
typedef struct pn_beginning {
    pn_arch arch;
    double log_p;
    int order; /* ties are broken by it, so that the list does not hang on qsort */
} pn_beginning;

typedef struct pn_top {
    int want, count;
    pn_beginning *kept; /* `count`, the best first */
} pn_top;

/* One beginning, in which nothing is chosen. PN_EARG unless want is 1..PN_MAX_TOP; PN_EMEM. */
enum { PN_MAX_TOP = 100000 };
pn_status pn_top_begin(pn_top *top, int want);

/* The next part: choice i of n has log_p[i], -INFINITY if it cannot be, and `take` writes it into
 * an architecture. Equals keep the order of the beginnings, then of the choices. PN_EMEM. */
typedef void (*pn_take)(const void *self, int i, pn_arch *arch);
pn_status pn_top_continue(pn_top *top, const double *log_p, int n, pn_take take, const void *self);

/* The list, when all parts are chosen; log_p may be NULL. Gives its length back. */
int pn_top_list(const pn_top *top, pn_arch *arch, double *log_p);
void pn_top_end(pn_top *top);

PN_API_END

#endif
