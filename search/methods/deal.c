/* deal.c -- see deal.h. Some hundred units at most: what is dearest is looked for each time. */
#include "search/methods/deal.h"

#include "runtime/units.h"

static int dearest(const double *cost, int count) {
    int best = 0;
    for (int u = 1; u < count; u++)
        if (cost[u] > cost[best]) best = u;
    return best;
}

static int idlest(const double *load, const int *held, int most, int ranks) {
    int best = -1;
    for (int r = 0; r < ranks; r++)
        if (held[r] < most && (best < 0 || load[r] < load[best])) best = r;
    return best;
}

void pn_deal(double *cost, int count, double *load, int *held, int ranks, int *owner) {
    const int most = pn_units_most(count, ranks);
    for (int r = 0; r < ranks; r++) load[r] = held[r] = 0;
    for (int i = 0; i < count; i++) {
        const int u = dearest(cost, count), r = idlest(load, held, most, ranks);
        owner[u] = r;
        held[r]++;
        load[r] += cost[u];
        cost[u] = -1;
    }
}
