/* enumerate.h -- small spaces, whole: so that expectations are sums and not estimates. */
#ifndef PN_ENUMERATE_H
#define PN_ENUMERATE_H

#include <stdbool.h>

#include "search/methods/prior.h"

/* The space with the first `kinds` kinds of cell, `nodes` nodes, and `ops` ops taken from the end
 * of the list (so that an op's number is not its index). */
pn_space pn_small_space(int kinds, int nodes, int ops);

/* All architectures of a space, at most `limit`; with `distinct` only those whose nodes have two
 * different inputs. Gives their number back; asserts that they fit. */
int pn_enumerate(const pn_space *space, bool distinct, pn_arch *arch, int limit);

/* Logits of a fixed random prior, from -spread to spread. */
void pn_random_logits(pn_prior *prior, double spread, uint64_t seed);

/* The value that a chi-square variable of so many degrees of freedom exceeds with probability
 * 1e-6: Wilson and Hilferty 1931, within 1 % from 3 degrees on. */
double pn_chi_square_limit(int degrees);

#endif
