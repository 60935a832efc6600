/* deal.c -- see deal.h. Some hundred units at most: what is dearest is looked for each time. */
#include "search/methods/deal.h"

static int dearest(const double *cost, int count) {
    int best = 0;
    for (int u = 1; u < count; u++)
        if (cost[u] > cost[best]) best = u;
    return best;
}

static int idlest(const double *load, int ranks) {
    int best = 0;
    for (int r = 1; r < ranks; r++)
        if (load[r] < load[best]) best = r;
    return best;
}

void pn_deal(double *cost, int count, double *load, int ranks, int *owner) {
    for (int r = 0; r < ranks; r++) load[r] = 0;
    for (int i = 0; i < count; i++) {
        const int u = dearest(cost, count), r = idlest(load, ranks);
        owner[u] = r;
        load[r] += cost[u];
        cost[u] = -1;
    }
}
