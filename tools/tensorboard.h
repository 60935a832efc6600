/* tensorboard.h -- export RUN --tensorboard DIR: the event files of a search, or of each seed of a
 * training, and how they follow a run that is at work. */
#ifndef PN_TOOLS_TENSORBOARD_H
#define PN_TOOLS_TENSORBOARD_H

#include <stdbool.h>

#include "kernels/status.h"

/* Writes the event file of a search, or of one seed, into the directory TO; those of what `train`
 * was given into TO/seed-N. `follow`: looks again each second until the run is finished (PN_OK) or
 * a signal came (PN_EINTR). Says what was written. PN_EARG if FROM has no run, or if TO holds
 * something else. */
pn_status pn_tensorboard_export(const char *from, const char *to, bool follow);

#endif
