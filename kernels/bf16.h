/* kernels/bf16.h -- bfloat16, the upper half of a float: one number, either way. */
#ifndef PN_BF16_H
#define PN_BF16_H

#include <stdint.h>
#include <string.h>

static inline float pn_bf16_widen(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* To the nearest, of two the even one; every NaN to that of all ones. */
static inline uint16_t pn_bf16_narrow(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits += 0x7FFF + (bits >> 16 & 1);
    return (uint16_t)(bits >> 16 | (x != x ? 0xFFFF : 0));
}

#endif
