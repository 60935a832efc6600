/* budget.h -- what fits into so many bytes: the refusal that names the batch which would. */
#ifndef PN_BUDGET_H
#define PN_BUDGET_H

#include <stddef.h>

#include "kernels/memory.h"
#include "kernels/status.h"

/* The bytes that batches of N images need, all in all. They must not fall as N grows. */
typedef pn_status (*pn_measure)(void *self, int N, size_t *bytes);

/* The largest batch of at most `most` images, a multiple of `shards`, that stays within `limit`; 0
 * if none does. */
pn_status pn_budget_batch(pn_measure measure, void *self, int most, int shards, size_t limit,
                          int *batch);

/* What a limit leaves beside the context of a card. */
size_t pn_budget_room(size_t limit, const pn_memory *memory);

/* PN_OK if batches of N, in so many shards, fit into the room of `limit` (0: none) and into what
 * `memory` has. Else PN_EMEM, with the bytes of `whose` and the batch that would fit. */
pn_status pn_budget_check(pn_measure measure, void *self, const char *whose, int N, int shards,
                          size_t limit, const pn_memory *memory);

#endif
