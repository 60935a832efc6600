/* conv1x1.cu -- z = W^T relu(v(x)), x a concatenation of up to four tensors, each read where it is.
 *
 * Per pixel: forward reads C floats and writes K, 2 C K operations; backward reads C + 2 K and
 * writes C (reads 2 C where it adds), 4 C K operations. Bound by memory up to about C = K = 64 on
 * cards with 20 to 35 operations a byte. See pointwise.h. */
#include "kernels/cuda/pointwise.h"

PN_CUDA_OP(conv1x1, pointwise_forward<conv1x1_job>, pointwise_backward<conv1x1_job>)
