/* pace.h -- how many epochs a training can make in a given time. */
#ifndef PN_TRAIN_PACE_H
#define PN_TRAIN_PACE_H

#include "kernels/api.h"
#include "search/train/settings.h"

PN_API_BEGIN

struct pn_group; /* runtime/group.h */

/* The most `epochs` that a training with these settings makes in settings->time seconds by the pace
 * of its first steps, which are made and thrown away; the scores are reckoned at a third of a step
 * a batch. PN_EARG if not one: the sentence says how long one takes. Nothing is written. Errors
 * otherwise as pn_training_open.
 * group: of processes that all make this call, with the settings of rank 0, whose clock counts. All
 * get the same number. NULL: one process. */
pn_status pn_training_pace(const pn_train_settings *settings, const pn_kernels *kernels,
                           size_t memory, struct pn_group *group, int64_t *epochs);

PN_API_END

#endif
