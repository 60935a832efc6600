/* profile.h -- what architectures cost on this device: counted, and measured on a random batch.
 *
 * Architectures take turns: in every round each runs once, so that a machine that slows down slows
 * all of them, and a median over the rounds does not see it. In every second round a second run is
 * timed launch by launch. Jobs of a launch share its time by their limits (kernels/work.h).
 *
 * A *row* is an op at one level: a resolution of what it makes (of a head, of what it reads). */
#ifndef PN_PROFILE_H
#define PN_PROFILE_H

#include "kernels/work.h"
#include "search/network/network.h"

enum { PN_PASSES = 2, PN_MOST_ROUNDS = 1000 };

typedef struct pn_profile_settings {
    pn_network_spec spec; /* auxiliary: an evaluation network trains with its head, if it fits */
    int N, rounds;        /* 1 to PN_MOST_ROUNDS */
    uint64_t seed;
} pn_profile_settings;

typedef struct pn_profile_row {
    int family; /* a pn_family */
    int H, W;
    double params, macs;     /* macs: of one image */
    double bytes[PN_PASSES]; /* least, of the batch */
    double limit_ms[PN_PASSES];
    int launches[PN_PASSES]; /* that have a job of it */
    double *ms[PN_PASSES];   /* of each timed round */
} pn_profile_row;

typedef struct pn_profile {
    pn_arch arch;
    size_t params, auxiliary;
    double macs;                /* of one image */
    size_t predicted, measured; /* bytes of the arena: by the plan, and as it ran */
    int launches[PN_PASSES];
    double limit_ms[PN_PASSES];
    double *ms[PN_PASSES], *cpu_ms[PN_PASSES]; /* of each round: forward, backward */
    pn_profile_row *row;
    int rows;
} pn_profile;

/* How many rounds are timed launch by launch. */
static inline int pn_profile_timed(int rounds) { return (rounds + 1) / 2; }

/* Profiles `count` architectures (profile[i].arch; all else is zero). After each run progress(self,
 * runs so far, of so many), which may stop it by a failure. Ceilings are measured on the way.
 * wall, cpu: seconds of all that was timed, of the clock and of this thread. To be freed after a
 * failure, too. PN_EARG, PN_EMEM, or what the device says. */
typedef pn_status pn_profile_progress(void *self, int done, int of);
pn_status pn_profile_run(const pn_kernels *kernels, const pn_profile_settings *settings,
                         pn_profile *profile, int count, pn_ceilings *ceilings,
                         pn_profile_progress *progress, void *self, double *wall, double *cpu);
void pn_profile_free(pn_profile *profile, int count);

#endif
