/* ranks.h -- a launcher, and the processes that it has started. */
#ifndef PN_TEST_RANKS_H
#define PN_TEST_RANKS_H

#include <sys/types.h>

/* The path of mpirun, which from now on starts more processes than there are cores, also for root,
 * binds them to none and looks for no network; "" if this build has no MPI. */
const char *pn_launcher(void);

/* The process that is this rank, below a launcher that runs here; 0: there is none, or not yet. */
pid_t pn_rank_of(pid_t launcher, int rank);

#endif
