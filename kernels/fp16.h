/* kernels/fp16.h -- IEEE 754's half precision: one number, either way. */
#ifndef PN_FP16_H
#define PN_FP16_H

#include <stdint.h>
#include <string.h>

static inline float pn_fp16_widen(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7FFF;
    const float quanta = (float)rest * 0x1p-24F;
    uint32_t bits = (rest << 13) + (rest < 0x7C00 ? 0x38000000 : 0x70000000);
    if (rest < 0x400) memcpy(&bits, &quanta, sizeof bits); /* 0 and what is subnormal */
    bits |= sign;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* To the nearest, of two the even one; from 65520 on to infinity; every NaN to one. */
static inline uint16_t pn_fp16_narrow(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    bits &= 0x7FFFFFFF;
    if (bits > 0x7F800000) return 0x7FFF;
    if (bits >= 0x477FF000) return (uint16_t)(sign | 0x7C00);
    if (bits < 0x38800000) { /* below 2^-14: floats from 1/2 on are as far apart as halves there */
        float from_half;
        memcpy(&from_half, &bits, sizeof bits);
        from_half += 0.5F;
        memcpy(&bits, &from_half, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3F000000));
    }
    bits += 0xFFF + (bits >> 13 & 1);
    return (uint16_t)(sign | (bits - 0x38000000) >> 13);
}

#endif
