/* pace.h -- how many steps a search can make in a given time. */
#ifndef PN_PACE_H
#define PN_PACE_H

#include "kernels/api.h"
#include "search/methods/settings.h"

PN_API_BEGIN

struct pn_group; /* runtime/group.h */

/* The largest `steps` whose search, with these settings, takes settings->time seconds by the pace
 * of its first steps, which are made and thrown away (PN_PACE_STEPS, or as many as a tenth of the
 * time allows); at least 1, and at least the warm-up or selection that was asked for. What a step
 * of the search costs beside one of warm-up is the method's. Nothing is written. in_flight, memory:
 * as in pn_model_settings. Errors as pn_run_open.
 * group: of processes that all make this call, with the settings of rank 0, whose clock counts. All
 * get the same number. NULL: one process. */
enum { PN_PACE_STEPS = 20, PN_PACE_FIRST = 2 /* before these, untimed */ };
pn_status pn_search_pace(const pn_settings *settings, const pn_kernels *kernels, size_t memory,
                         int in_flight, struct pn_group *group, int64_t *steps);

PN_API_END

#endif
