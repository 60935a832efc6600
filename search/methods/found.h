/* found.h -- the cell that a search hands over.
 *
 * The usual one is the mode of pi. But what a search by evidence knows is a linear model of
 * likelihoods, and the mode of a linear model lies as far out as the space goes: one op in all
 * places, unlike anything that was ever trained. So the model is trusted only as far as its samples
 * reach: the cell found is the most probable of those in which no op and no input stands more often
 * than in one of a hundred of the cells that the warm-up drew uniformly. */
#ifndef PN_FOUND_H
#define PN_FOUND_H

#include "kernels/api.h"
#include "search/methods/parsec.h"

PN_API_BEGIN

/* How often a choice stands in a cell at most: ops by their number in the space, then inputs. */
typedef struct pn_support {
    int most[PN_KINDS][PN_MAX_OPS + 2 + PN_MAX_NODES - 1];
} pn_support;

/* What the warm-up steps so far support: they are drawn again, from the seed. Without one, all. */
void pn_support_of(const pn_search *search, pn_support *support);

/* The most probable architecture within a support; of equals the one with the lowest inputs and op
 * numbers. Where there is none, the mode of pi. */
void pn_supported_mode(const pn_prior *prior, const pn_support *support, pn_arch *arch);

/* The cell of this search: the mode, or with settings.found_supported the supported mode. */
void pn_search_found(const pn_search *search, pn_arch *arch);

PN_API_END

#endif
