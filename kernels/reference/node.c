/* node.c -- a sum of weighted, normalised terms. */
#include <stdlib.h>
#include <string.h>

#include "kernels/reference/reference.h"

void pn_node_fwd_ref(const pn_node *s, const pn_twins *t) {
    const size_t image = (size_t)s->H * s->W * s->C, count = s->N * image;
    double *sum = pn_zeros_ref(count); /* h may be one of the terms' x: written at the end */
    for (int i = 0; i < s->terms; i++) {
        const pn_term *term = &s->term[i];
        const double *factor = pn_at(t, term->factor);
        double *v = pn_input_v_ref(&term->in, 1, count / s->C, t);
        for (size_t j = 0; j < count; j++)
            sum[j] += term->coef * (factor ? factor[j / image] : 1) * v[j];
        free(v);
    }
    memcpy(pn_at(t, s->h), sum, count * sizeof *sum);
    free(sum);
}

/* h, the sum, becomes z of the last term. */
static void restore(const pn_node *s, const pn_twins *t) {
    const size_t image = (size_t)s->H * s->W * s->C, count = s->N * image;
    double *h = pn_at(t, s->h);
    for (int i = 0; i < s->terms - 1; i++) {
        const pn_term *term = &s->term[i];
        const double *factor = pn_at(t, term->factor);
        double *v = pn_input_v_ref(&term->in, 1, count / s->C, t);
        for (size_t j = 0; j < count; j++)
            h[j] -= term->coef * (factor ? factor[j / image] : 1) * v[j];
        free(v);
    }
    const pn_term *last = &s->term[s->terms - 1];
    const double *mean = pn_at(t, last->in.norm.stats), *rstd = mean + s->C;
    for (size_t j = 0; j < count; j++) h[j] = mean[j % s->C] + h[j] / (last->coef * rstd[j % s->C]);
}

void pn_node_bwd_ref(const pn_node *s, const pn_twins *t) {
    const size_t image = (size_t)s->H * s->W * s->C, count = s->N * image;
    const double *dh = pn_at(t, s->dh);
    double *dt = pn_zeros_ref(count);
    if (s->restore) restore(s, t);
    for (int i = 0; i < s->terms; i++) {
        const pn_term *term = &s->term[i];
        const double *factor = pn_at(t, term->factor);
        for (size_t j = 0; j < count; j++)
            dt[j] = term->coef * (factor ? factor[j / image] : 1) * dh[j];
        if (term->in.dx)
            pn_input_dv_ref(&term->in, 1, count / s->C, dt, t);
        else if (pn_wants_sums_ref(&term->in.norm))
            pn_input_sums_ref(&term->in, count / s->C, dt, s->C, t);
    }
    free(dt);
}
