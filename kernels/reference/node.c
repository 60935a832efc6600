/* node.c -- a sum of weighted, normalised terms. */
#include <stdlib.h>
#include <string.h>

#include "kernels/reference/reference.h"

/* coef * factor[n] * weight, the weight left out where its own gradient is wanted. */
static double scale_of(const pn_term *term, size_t n, int weighted, const pn_twins *t) {
    const double *factor = pn_at(t, term->factor), *weight = pn_at(t, term->weight);
    return term->coef * (factor ? factor[n] : 1) * (weighted && weight ? *weight : 1);
}

/* sum += sign * t, all (N,H,W,C). */
static void add_term(const pn_node *s, const pn_term *term, double sign, double *sum,
                     const pn_twins *t) {
    const size_t image = (size_t)s->H * s->W * s->C, count = s->N * image;
    double *v = pn_input_v_ref(&term->in, 1, count / s->C, t);
    for (size_t n = 0; n < (size_t)s->N; n++) {
        const double scale = sign * scale_of(term, n, 1, t);
        for (size_t j = n * image; j < (n + 1) * image; j++) sum[j] += scale * v[j];
    }
    free(v);
}

void pn_node_fwd_ref(const pn_node *s, const pn_twins *t) {
    const size_t count = (size_t)s->N * s->H * s->W * s->C;
    double *sum = pn_zeros_ref(count); /* h may be one of the terms' x: written at the end */
    for (int i = 0; i < s->terms; i++) add_term(s, &s->term[i], 1, sum, t);
    memcpy(pn_at(t, s->h), sum, count * sizeof *sum);
    free(sum);
}

/* h, the sum, becomes z of the last term. */
static void restore(const pn_node *s, const pn_twins *t) {
    const size_t count = (size_t)s->N * s->H * s->W * s->C;
    double *h = pn_at(t, s->h);
    for (int i = 0; i < s->terms - 1; i++) add_term(s, &s->term[i], -1, h, t);
    const pn_term *last = &s->term[s->terms - 1];
    const double *mean = pn_at(t, last->in.norm.stats), *rstd = mean + s->C;
    for (size_t j = 0; j < count; j++) h[j] = mean[j % s->C] + h[j] / (last->coef * rstd[j % s->C]);
}

static double gradient_of_weight(const pn_node *s, const pn_term *term, const pn_twins *t) {
    const size_t image = (size_t)s->H * s->W * s->C, count = s->N * image;
    const double *dh = pn_at(t, s->dh);
    double *v = pn_input_v_ref(&term->in, 1, count / s->C, t), sum = 0;
    for (size_t n = 0; n < (size_t)s->N; n++) {
        const double scale = scale_of(term, n, 0, t);
        for (size_t j = n * image; j < (n + 1) * image; j++) sum += scale * dh[j] * v[j];
    }
    free(v);
    return sum;
}

void pn_node_bwd_ref(const pn_node *s, const pn_twins *t) {
    const size_t image = (size_t)s->H * s->W * s->C, count = s->N * image;
    const double *dh = pn_at(t, s->dh);
    double *dt = pn_zeros_ref(count);
    if (s->restore) restore(s, t);
    for (int i = 0; i < s->terms; i++) {
        const pn_term *term = &s->term[i];
        for (size_t n = 0; n < (size_t)s->N; n++) {
            const double scale = scale_of(term, n, 1, t);
            for (size_t j = n * image; j < (n + 1) * image; j++) dt[j] = scale * dh[j];
        }
        if (term->dweight) *pn_at(t, term->dweight) = gradient_of_weight(s, term, t);
        if (term->in.dx)
            pn_input_dv_ref(&term->in, 1, count / s->C, dt, t);
        else if (pn_wants_sums_ref(&term->in.norm))
            pn_input_sums_ref(&term->in, count / s->C, dt, s->C, t);
    }
    free(dt);
}
