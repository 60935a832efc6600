/* ranks.h -- a command that several processes run together, as a launcher has started them
 * (runtime/group.h): rank 0 speaks, to people and to the disk, the others compute. */
#ifndef PN_RANKS_H
#define PN_RANKS_H

#include "runtime/group.h"
#include "tools/commands.h"

/* With the options of a command, or NULL where they could not be read; what comes after the first
 * call does nothing. PN_EARG if not all run the same version. */
pn_status pn_ranks_open(const pn_work_options *options);
void pn_ranks_close(void);

/* NULL: one process. */
pn_group *pn_ranks(void);

/* Whether this process is the one that speaks. Before the group is open, as the launcher says. */
bool pn_ranks_lead(void);

/* pn_device_open for all: of instruction sets the lowest that each asks for, or has; of cards each
 * the one of its number on its host. Threads that nobody has asked for are the cores that a host
 * has, or that the launcher leaves us, shared evenly. */
pn_status pn_ranks_device(const pn_device_options *options, const pn_kernels **kernels);

/* Whether to stop, or to save, between two steps: the same on all, as all have wished at the
 * meetings of the step before; a process alone by itself. `begin` meets; a checkpoint is wished for
 * when so many seconds are gone since it, or since `saved`, which all call when they have one. */
pn_status pn_ranks_begin(double save_every, pn_wishes *wishes);
pn_wishes pn_ranks_wishes(void);
void pn_ranks_saved(pn_wishes *wishes);

/* For a person: how many there are, and what may be in their way. */
void pn_ranks_introduce(void);

#endif
