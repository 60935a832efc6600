/* work.h -- what a call has to do at the least, and how long that takes a device: the limit that a
 * measured time is held against. The one definition for bench/, `parsec-nas bench` and `profile`.
 *
 * Bytes are those that must move, whatever a kernel does. Forward: inputs and output, once each.
 * Backward: what was read, the gradients that are wanted (twice where they are added to), the
 * output where BatchNorm needs it, and its gradient. Weights, statistics and the numbers of a head
 * are small and not counted. A multiply-add is two operations; those of BatchNorm, ReLU, pools and
 * sums are not counted, since none of them is limited by arithmetic. */
#ifndef PN_WORK_H
#define PN_WORK_H

#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pn_work {
    double bytes, flops;
    double params; /* learnt numbers that the job reads: weights, and scale and shift of its norm */
} pn_work;

/* Of one job. Which gradients are wanted is told by its pointers; a node's terms must be where the
 * host can read them. */
#define PN_WORK(FAMILY, op, with) \
    pn_work pn_##op##_work(const pn_##op *job, int backward, pn_storage storage);
PN_OPS(PN_WORK, )
#undef PN_WORK

/* Of an update of so many parameters. */
pn_work pn_sgd_work(size_t floats);

/* The two ceilings of kernels.h, each measured when it is first asked for: of a copy, one for every
 * power of two of bytes, 2^28 at most. Zero but for `kernels` at the start; a flop_rate below 0
 * says that nobody wants any. */
enum { PN_COPY_SIZES = 29 };
typedef struct pn_ceilings {
    const pn_kernels *kernels;
    double flop_rate, copy_rate[PN_COPY_SIZES];
} pn_ceilings;
double pn_flop_ceiling(pn_ceilings *c);
double pn_copy_ceiling(pn_ceilings *c, double bytes);

/* The seconds that no kernel can go below: the larger of bytes over the rate of a copy between
 * arrays of that size together, and operations over the rate of multiply-adds. What fits a cache is
 * held against a copy in that cache. 0 without ceilings, as on the emulated device. */
double pn_least_seconds(pn_ceilings *c, pn_work work);

#ifdef __cplusplus
}
#endif

#endif
