/* deal.h -- which rank computes what of a step. */
#ifndef PN_DEAL_H
#define PN_DEAL_H

/* The units of a step, from the dearest on, each to the rank that has least so far (Graham 1969:
 * the busiest gets at most 4/3 of what the best deal would give it). Of equals the unit with the
 * lower number goes first, and the lower rank gets it: so every rank deals alike. cost[count],
 * which is overwritten; load[ranks] and owner[count] are filled. */
void pn_deal(double *cost, int count, double *load, int ranks, int *owner);

#endif
