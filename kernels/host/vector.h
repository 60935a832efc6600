/* kernels/host/vector.h -- vectors of PN_LANES floats by the compiler's vector extension, so that
 * one source serves AVX-512, AVX2, SSE2 and NEON.
 *
 * Two rules keep it fast: arrays of accumulators have literal sizes (a size that is a `const int`
 * is a VLA even after inlining and lives in memory), and loops over them are unrolled by
 * PN_UNROLL (gcc and clang spell it differently). */
#ifndef PN_VECTOR_H
#define PN_VECTOR_H

#include <stdint.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

typedef float pn_vf __attribute__((vector_size(PN_LANES * 4), aligned(4), may_alias));
typedef int32_t pn_vi __attribute__((vector_size(PN_LANES * 4), aligned(4), may_alias));

#define PN_INLINE static inline __attribute__((always_inline))
#define PN_OUTLINE static __attribute__((noinline, unused)) /* of a header: not all use it */
#ifdef __clang__
#define PN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PN_UNROLL _Pragma("GCC unroll 64")
#endif

PN_INLINE pn_vf pn_load(const float *p) { return *(const pn_vf *)p; }
PN_INLINE void pn_store(float *p, pn_vf v) { *(pn_vf *)p = v; }
PN_INLINE pn_vf pn_splat(float a) { return a - (pn_vf){0}; }
/* a > b ? a : b, so b if one of them is NaN. */
#if PN_LANES == 16 && defined(__AVX512F__)
PN_INLINE pn_vf pn_max(pn_vf a, pn_vf b) { return (pn_vf)_mm512_max_ps((__m512)a, (__m512)b); }
#elif PN_LANES == 8 && defined(__AVX2__)
PN_INLINE pn_vf pn_max(pn_vf a, pn_vf b) { return (pn_vf)_mm256_max_ps((__m256)a, (__m256)b); }
#else
PN_INLINE pn_vf pn_max(pn_vf a, pn_vf b) {
    const pn_vi greater = a > b;
    return (pn_vf)((greater & (pn_vi)a) | (~greater & (pn_vi)b));
}
#endif
PN_INLINE pn_vf pn_relu(pn_vf v) { return pn_max(v, (pn_vf){0}); }
PN_INLINE pn_vf pn_when(pn_vi condition, pn_vf v) { return (pn_vf)(condition & (pn_vi)v); }
PN_INLINE pn_vf pn_where_positive(pn_vf condition, pn_vf v) {
    return (pn_vf)((pn_vi)v & (pn_vi)(condition > 0));
}

/* The first n lanes (0 < n < PN_LANES), the others
 * 0; and the store that leaves the others alone. */
#if PN_LANES == 16 && defined(__AVX512F__)
PN_INLINE __mmask16 pn_half(int n) { return (__mmask16)((1u << n) - 1); }
PN_INLINE pn_vf pn_load_part(const float *p, int n) {
    return (pn_vf)_mm512_maskz_loadu_ps(pn_half(n), p);
}
PN_INLINE void pn_store_part(float *p, pn_vf v, int n) {
    _mm512_mask_storeu_ps(p, pn_half(n), (__m512)v);
}
#elif PN_LANES == 8 && defined(__AVX2__)
PN_INLINE __m256i pn_half(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
PN_INLINE pn_vf pn_load_part(const float *p, int n) {
    return (pn_vf)_mm256_maskload_ps(p, pn_half(n));
}
PN_INLINE void pn_store_part(float *p, pn_vf v, int n) {
    _mm256_maskstore_ps(p, pn_half(n), (__m256)v);
}
#else
PN_INLINE pn_vf pn_load_part(const float *p, int n) {
    pn_vf v = {0};
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}
PN_INLINE void pn_store_part(float *p, pn_vf v, int n) { memcpy(p, &v, (size_t)n * sizeof *p); }
#endif

PN_INLINE int pn_min(int a, int b) { return a < b ? a : b; }
PN_INLINE pn_vf pn_load_lanes(const float *p, int lanes) {
    return lanes >= PN_LANES ? pn_load(p) : pn_load_part(p, lanes);
}
PN_INLINE void pn_store_lanes(float *p, pn_vf v, int lanes) {
    if (lanes >= PN_LANES)
        pn_store(p, v);
    else
        pn_store_part(p, v, lanes);
}
/* Lanes of the vector at channel k of K; the literal PN_LANES if K is a literal multiple of it. */
PN_INLINE int pn_lanes(int K, int k) { return K % PN_LANES ? pn_min(PN_LANES, K - k) : PN_LANES; }

/* A loaded value that several operations use, in a register for all of them: gcc would rather
 * read it from memory for each, and a vector loop with two loads per multiply-add runs at half
 * its speed. */
PN_INLINE pn_vf pn_keep(pn_vf v) {
#if defined(__x86_64__) && PN_LANES == 16
    __asm__("" : "+v"(v));
#elif defined(__x86_64__)
    __asm__("" : "+x"(v));
#endif
    return v;
}

PN_INLINE void pn_add_to(float *p, pn_vf v) { pn_store(p, pn_load(p) + v); }

/* Channels rounded up to whole vectors: the width of everything kept in workspaces. */
PN_INLINE int pn_padded(int channels) { return (channels + PN_LANES - 1) / PN_LANES * PN_LANES; }

#endif
