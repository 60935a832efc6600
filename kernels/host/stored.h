/* kernels/host/stored.h -- what lies between ops, as floats or as bf16, and the way to vectors of
 * floats and back. Loads of stored tensors widen, stores narrow; with PN_NARROW 0 both are plain.
 *
 * The lanes of what is not a whole vector are an even number: of channels, or of half of them. */
#ifndef PN_HOST_STORED_H
#define PN_HOST_STORED_H

#include "kernels/bf16.h"
#include "kernels/host/host.h"
#include "kernels/host/vector.h"

#if PN_NARROW
#ifdef __SSE2__
#include <emmintrin.h>
#endif

typedef uint16_t pn_vh __attribute__((vector_size(PN_LANES * 2), aligned(2), may_alias));
typedef uint32_t pn_vu __attribute__((vector_size(PN_LANES * 4), aligned(4), may_alias));

#if PN_LANES == 8 && defined(__AVX2__) /* gcc 12 would do it by halves, and below by elements */
PN_INLINE pn_vu pn_wide(pn_vh h) { return (pn_vu)_mm256_cvtepu16_epi32((__m128i)h); }
PN_INLINE pn_vh pn_short(pn_vu v) {
    const __m256i w = (__m256i)v;
    return (pn_vh)_mm_packus_epi32(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
}
#elif PN_LANES == 4 && defined(__SSE2__)
PN_INLINE pn_vu pn_wide(pn_vh h) {
    return (pn_vu)_mm_unpacklo_epi16(_mm_cvtsi64_si128((int64_t)h), _mm_setzero_si128());
}
PN_INLINE pn_vh pn_short(pn_vu v) { /* there is a pack for signed numbers alone */
    const __m128i w = _mm_srai_epi32(_mm_slli_epi32((__m128i)v, 16), 16);
    return (pn_vh)_mm_cvtsi128_si64(_mm_packs_epi32(w, w));
}
#else
PN_INLINE pn_vu pn_wide(pn_vh h) { return __builtin_convertvector(h, pn_vu); }
PN_INLINE pn_vh pn_short(pn_vu v) { return __builtin_convertvector(v, pn_vh); }
#endif
PN_INLINE pn_vf pn_widened(pn_vh h) { return (pn_vf)(pn_wide(h) << 16); }
PN_INLINE pn_vh pn_narrowed(pn_vf v) { /* as pn_bf16_narrow */
    const pn_vu bits = (pn_vu)v, rounded = bits + 0x7FFF + (bits >> 16 & 1);
    return pn_short((rounded | (pn_vu)(v != v)) >> 16);
}
PN_INLINE pn_vf pn_widen(const pn_stored *p) { return pn_widened(*(const pn_vh *)p); }
PN_INLINE void pn_narrow(pn_stored *p, pn_vf v) { *(pn_vh *)p = pn_narrowed(v); }
static __attribute__((noinline, unused)) pn_vh pn_part_of(const pn_stored *p, int n) {
    pn_vh h = {0};
    for (int i = 0; i < n; i += 2) memcpy((char *)&h + 2 * i, p + i, 4);
    return h;
}
static __attribute__((noinline, unused)) void pn_put_part(pn_stored *p, pn_vh h, int n) {
    for (int i = 0; i < n; i += 2) memcpy(p + i, (char *)&h + 2 * i, 4);
}
PN_INLINE pn_vf pn_widen_lanes(const pn_stored *p, int lanes) {
    return pn_widened(lanes >= PN_LANES ? *(const pn_vh *)p : pn_part_of(p, lanes));
}
PN_INLINE void pn_narrow_lanes(pn_stored *p, pn_vf v, int lanes) {
    const pn_vh h = pn_narrowed(v);
    if (lanes >= PN_LANES)
        *(pn_vh *)p = h;
    else
        pn_put_part(p, h, lanes);
}
PN_INLINE float pn_widen_one(pn_stored x) { return pn_bf16_widen(x); }
PN_INLINE pn_stored pn_narrow_one(float x) { return pn_bf16_narrow(x); }
#else

PN_INLINE pn_vf pn_widen(const pn_stored *p) { return pn_load(p); }
PN_INLINE void pn_narrow(pn_stored *p, pn_vf v) { pn_store(p, v); }
PN_INLINE pn_vf pn_widen_lanes(const pn_stored *p, int lanes) { return pn_load_lanes(p, lanes); }
PN_INLINE void pn_narrow_lanes(pn_stored *p, pn_vf v, int lanes) { pn_store_lanes(p, v, lanes); }
PN_INLINE float pn_widen_one(pn_stored x) { return x; }
PN_INLINE pn_stored pn_narrow_one(float x) { return x; }

#endif

/* Stores n floats, from memory to memory. */
static inline void pn_narrow_all(pn_stored *to, const float *from, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) to[i] = pn_narrow_one(from[i]);
}

#endif
