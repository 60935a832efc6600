/* jobs.c -- see jobs.h. Whole numbers are small, so that sums stay exact (see set.h). */
#include "tests/support/jobs.h"

#include <math.h>

float *pn_set_factor(pn_set *set, int N) {
    float *factor = pn_set_poison(set, "factor", N, 0);
    for (int n = 0; n < N; n++)
        factor[n] =
            set->whole ? (float)pn_set_whole(set, n ? 0 : 1, 2) : (float)pn_set_real(set, 0.25, 2);
    return factor;
}

float *pn_set_weight(pn_set *set, int like) {
    if (!(like & (PN_WEIGHT | PN_ZERO | PN_TINY))) return NULL;
    float *weight = pn_set_poison(set, "weight", 1, 0);
    const double size = set->whole       ? pn_set_whole(set, 1, 2)
                        : like & PN_TINY ? 1e-30
                                         : pn_set_real(set, 0.01, 1.5);
    *weight = like & PN_ZERO ? 0 : (float)(pn_set_whole(set, 0, 1) ? size : -size);
    return weight;
}

static float gamma_of(pn_set *set, int c) {
    if (c % 7 == 5) return 0;
    const float sign = c % 3 == 1 ? -1 : 1;
    return sign * (float)(set->whole ? pn_set_whole(set, 1, 2) : pn_set_real(set, 0.5, 1.5));
}

/* Not near 0 where gamma is 0: v is beta there. */
static float beta_of(pn_set *set) {
    const float beta = (float)pn_set_real(set, 0.1, 1);
    return set->whole ? (float)pn_set_whole(set, -1, 1) : pn_set_whole(set, 0, 2) ? beta : -beta;
}

static void fill_moments(pn_set *set, float *mean, float *rstd, int C) {
    for (int c = 0; c < C; c++) {
        mean[c] = (float)(set->whole ? pn_set_whole(set, -1, 1) : pn_set_real(set, -0.5, 0.5));
        rstd[c] = (float)(set->whole ? pn_set_whole(set, 1, 2) : pn_set_real(set, 0.5, 2));
    }
}

static pn_norm new_norm(pn_set *set, int C, int like) {
    if (!(like & (PN_BATCH | PN_RUNNING))) return (pn_norm){.mode = PN_NORM_NONE};
    pn_norm norm = {.mode = like & PN_BATCH ? PN_NORM_BATCH : PN_NORM_RUNNING,
                    .eps = 1e-5f,
                    .momentum = 0.1f,
                    .stats = pn_set_poison(set, "stats", (size_t)4 * C, 0)};
    if (like & (PN_AFFINE | PN_FROZEN)) {
        float *gamma = pn_set_poison(set, "gamma", C, 0), *beta = pn_set_poison(set, "beta", C, 0);
        for (int c = 0; c < C; c++) {
            gamma[c] = gamma_of(set, c);
            beta[c] = beta_of(set);
        }
        norm.gamma = gamma;
        norm.beta = beta;
    }
    if (like & PN_AFFINE) {
        norm.dgamma = pn_set_data(set, "dgamma", C, 3, 1);
        norm.dbeta = pn_set_data(set, "dbeta", C, 3, 1);
    }
    if (like & (PN_AFFINE | PN_RUNNING)) {
        norm.running_mean = pn_set_data(set, "running_mean", C, 3, 1);
        norm.running_var = pn_set_poison(set, "running_var", C, 0);
        for (int c = 0; c < C; c++) norm.running_var[c] = (float)pn_set_real(set, 0.25, 4);
    }
    return norm;
}

/* Redraws x where v would be too near to 0. */
static void avoid_kink(pn_set *set, float *x, size_t pixels, int C, const pn_norm *norm) {
    for (size_t i = 0; i < pixels * C; i++)
        for (int tries = 0; tries < 100; tries++) {
            const int c = (int)(i % C);
            double v = x[i];
            if (norm->mode != PN_NORM_NONE)
                v = (norm->gamma ? norm->gamma[c] : 1) * (x[i] - (double)norm->stats[c]) *
                        norm->stats[C + c] +
                    (norm->beta ? norm->beta[c] : 0);
            if (fabs(v) > 1e-3) break;
            x[i] = (float)pn_set_whole(set, -127, 127) / 64;
        }
}

pn_input pn_set_input(pn_set *set, size_t pixels, int C, int like, int steps) {
    const bool add = like & PN_ADD, sums = set->backward && !(like & PN_NO_DX);
    pn_input in = {.C = C, .add = add, .norm = new_norm(set, C, like)};
    const int wants_sums = sums && pn_wants_sums_ref(&in.norm);
    if (in.norm.mode != PN_NORM_NONE) {
        float *stats = in.norm.stats;
        fill_moments(set, stats, stats + C, C);
        for (int c = 0; c < 2 * C && add; c++)
            stats[2 * C + c] =
                (float)(set->whole ? pn_set_whole(set, -3, 3) : pn_set_real(set, -1, 1));
        pn_member *member = pn_set_find(set, stats);
        member->minus = PN_MINUS_MEAN;
        member->must = wants_sums;
        member->multiplied = true;
        member->steps = (int)pixels + steps + 8; /* a sum over pixels of dx times xhat */
    }
    /* Multiples of 1/64: ties of a maximum are ties in float and double, and nothing is nearly
     * one. */
    float *x = pn_set_poison(set, "x", pixels * C, 0);
    for (size_t i = 0; i < pixels * C; i++) {
        x[i] = (float)(set->whole ? pn_set_whole(set, -2, 3) : pn_set_whole(set, -127, 127) / 64.0);
        if (like & PN_OPEN) x[i] = fabsf(x[i]) + 1;
    }
    if (!set->whole) avoid_kink(set, x, pixels, C, &in.norm);
    in.x = pn_set_stored(set, x);
    if (!(like & PN_NO_DX)) {
        in.dx = pn_set_stored(set, pn_set_result(set, "dx", pixels * C, steps, add));
        pn_set_find(set, in.dx)->must = set->backward;
    }
    return in;
}

pn_output pn_set_output(pn_set *set, int N, size_t image_pixels, int K, int like, int steps) {
    const size_t pixels = N * image_pixels;
    pn_output out = {.coef = 1, .K = K, .norm = new_norm(set, K, like)};
    if (set->backward)
        out.z = pn_set_stored(set, pn_set_data(set, "z", pixels * K, 2, 2));
    else
        out.z = pn_set_stored(set, pn_set_result(set, "z", pixels * K, steps, false));
    out.dy = pn_set_stored(set, pn_set_data(set, "dy", pixels * K, 2, 1));
    if (like & PN_FACTOR) {
        out.coef = -2;
        out.factor = pn_set_factor(set, N);
    }
    out.weight = pn_set_weight(set, like);
    if (out.norm.mode == PN_NORM_NONE) return out;
    pn_set_find(set, out.norm.stats)->must = !set->backward;
    if (!set->backward) return out;
    float *stats = out.norm.stats;
    fill_moments(set, stats, stats + K, K);
    for (int k = 0; k < 2 * K; k++) /* multiples of the number of pixels: s1/n is exact */
        stats[2 * K + k] = (float)(set->whole ? pn_set_whole(set, -1, 1) * (double)pixels
                                              : pn_set_real(set, -0.3, 0.3) * (double)pixels);
    pn_set_find(set, stats)->minus = PN_MINUS_MEAN_SUMS;
    float *parameters[] = {out.norm.dgamma, out.norm.dbeta};
    for (int i = 0; i < 2 && parameters[i]; i++) {
        pn_member *member = pn_set_find(set, parameters[i]);
        member->minus = PN_MINUS;
        member->steps = 2;
        member->must = true;
    }
    return out;
}
