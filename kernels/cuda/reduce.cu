/* reduce.cu -- factorized reduce: two 1x1 convolutions of stride 2 on grids one pixel apart.
 *
 * Per output pixel: forward reads 2 C floats of the 4 C in its two by two pixels and writes K,
 * 2 C K operations; backward reads 2 C + 2 K and writes all 4 C (only adds to 2 C where it adds),
 * 4 C K operations. Bound by memory. See pointwise.h. */
#include "kernels/cuda/pointwise.h"

PN_CUDA_OP(reduce, pointwise_forward<reduce_job>, pointwise_backward<reduce_job>)
