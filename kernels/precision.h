/* precision.h -- what a kernel file of a card is compiled for: float32; or PN_PRECISION=tf32, if it
 * multiplies matrices; or PN_PRECISION=bf16 with PN_NARROW=1, or fp16 with 2, if it loads or stores
 * tensors between ops. kernels/cuda/table.cu, compiled once, knows them all. */
#ifndef PN_PRECISION_H
#define PN_PRECISION_H

#include <stdint.h>

#ifndef PN_NARROW
#define PN_NARROW 0
#endif
#define PN_NARROW_FP16 2
#if PN_NARROW /* gpu_load4 widens it, gpu_store4 rounds to it */
#define PN_STORED uint16_t
#else
#define PN_STORED float
#endif

/* Are products of matrices as accurate as float32 has them (mma.h)? */
#ifdef PN_PRECISION
#define PN_GPU_EXACT 0
#else
#define PN_GPU_EXACT 1
#endif

#include "kernels/kernels.h"

#endif
