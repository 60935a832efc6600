/* kernels/halves.h -- numbers that are stored in 16 bits, for whoever learns which when it runs. */
#ifndef PN_HALVES_H
#define PN_HALVES_H

#include "kernels/bf16.h"
#include "kernels/fp16.h"
#include "kernels/kernels.h"

static inline float pn_half_widen(pn_storage storage, uint16_t half) {
    return storage == PN_STORED_FP16 ? pn_fp16_widen(half) : pn_bf16_widen(half);
}

static inline uint16_t pn_half_narrow(pn_storage storage, float x) {
    return storage == PN_STORED_FP16 ? pn_fp16_narrow(x) : pn_bf16_narrow(x);
}

#endif
