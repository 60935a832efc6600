/* profile.h -- what profile.json says: what cell pairs cost on the machine where `profile` ran.
 * Private to this room. */
#ifndef PN_REPORT_PROFILE_H
#define PN_REPORT_PROFILE_H

#include "search/report/run.h"

enum { PN_PROFILED_OPS = 32, PN_PROFILE_BYTES = 80 };

/* A cell pair that was measured; NaN: not known. */
typedef struct pn_profiled {
    bool named;         /* what it is is known: */
    pn_arch arch;       /* with each node's two terms in order of input and op */
    double ms[2];       /* of a training step: forward, backward */
    double macs, bytes; /* of an image; of the arena */
} pn_profiled;

typedef struct pn_op_time {
    char name[PN_PROFILE_BYTES];
    double ms; /* in all cell pairs, both ways */
} pn_op_time;

typedef struct pn_report_profile {
    pn_profiled *cell;
    int cells;
    pn_op_time op[PN_PROFILED_OPS]; /* the longest first */
    int ops;
    char device[PN_PROFILE_BYTES]; /* "": it is not said */
    bool busy;                     /* the times are to be doubted */
} pn_report_profile;

/* Reads a run's profile.json. Without one, or without a list of times in it, *profile has no cell.
 * It is to be freed. PN_EIO, PN_EMEM. */
pn_status pn_report_profile_read(const pn_view *view, pn_report_profile *profile);
void pn_report_profile_free(pn_report_profile *profile); /* zeros are allowed */

/* Whether both are the same network: the order of a node's two terms does not matter. */
bool pn_profiled_is(const pn_profiled *cell, const pn_arch *arch);

/* Milliseconds of a training step of that network; NaN: not measured. */
double pn_report_profile_ms(const pn_report_profile *profile, const pn_arch *arch);

#endif
