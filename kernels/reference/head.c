/* head.c -- global average pool, linear, softmax cross-entropy. */
#include <math.h>
#include <stdlib.h>

#include "kernels/reference/reference.h"

/* log of the sum of exp(logits), without overflow; NaN if one of them is. */
static double log_sum_exp(const double *logits, int classes) {
    double max = logits[0], sum = 0;
    for (int k = 1; k < classes; k++) max = logits[k] > max ? logits[k] : max;
    for (int k = 0; k < classes; k++) sum += exp(logits[k] - max);
    return max + log(sum);
}

static double target(const pn_head *s, int n, int k) {
    const double smoothing = s->smoothing;
    return (k == s->labels[n] ? 1 - smoothing : 0) + smoothing / s->classes;
}

void pn_head_fwd_ref(const pn_head *s, const pn_twins *t) {
    const int C = pn_channels_ref(s->in, s->parts);
    const size_t image = (size_t)s->H * s->W;
    const double *w = pn_at(t, s->w), *b = pn_at(t, s->b);
    double *v = pn_input_v_ref(s->in, s->parts, s->N * image, t);
    double *all_pooled = pn_at(t, s->pooled), *all_logits = pn_at(t, s->logits);
    if (s->relu) pn_relu_ref(v, s->N * image * C);
    *s->result = (pn_result){0};
    for (int n = 0; n < s->N; n++) {
        double *pooled = all_pooled + (size_t)n * C, *logits = all_logits + (size_t)n * s->classes;
        for (int c = 0; c < C; c++) {
            double sum = 0;
            for (size_t i = 0; i < image; i++) sum += v[(n * image + i) * C + c];
            pooled[c] = sum / (double)image;
        }
        int best = 0;
        for (int k = 0; k < s->classes; k++) {
            logits[k] = b[k];
            for (int c = 0; c < C; c++) logits[k] += pooled[c] * w[c * s->classes + k];
            if (logits[k] > logits[best]) best = k;
        }
        const double normaliser = log_sum_exp(logits, s->classes);
        for (int k = 0; k < s->classes; k++)
            s->result->loss -= target(s, n, k) * (logits[k] - normaliser) / s->N;
        s->result->log_likelihood += logits[s->labels[n]] - normaliser;
        s->result->correct += best == s->labels[n];
    }
    free(v);
}

void pn_head_bwd_ref(const pn_head *s, const pn_twins *t) {
    const int C = pn_channels_ref(s->in, s->parts);
    const size_t image = (size_t)s->H * s->W;
    const double *w = pn_at(t, s->w), *scale = pn_at(t, s->scale);
    const double *all_pooled = pn_at(t, s->pooled), *all_logits = pn_at(t, s->logits);
    double *dw = pn_at(t, s->dw), *db = pn_at(t, s->db);
    double *v = pn_input_v_ref(s->in, s->parts, s->N * image, t);
    double *dv = pn_zeros_ref(s->N * image * C);
    for (int n = 0; n < s->N; n++) {
        const double *pooled = all_pooled + (size_t)n * C;
        const double *logits = all_logits + (size_t)n * s->classes;
        const double normaliser = log_sum_exp(logits, s->classes);
        for (int k = 0; k < s->classes; k++) {
            const double dlogit = (scale ? *scale : 1) * s->loss_weight / s->N *
                                  (exp(logits[k] - normaliser) - target(s, n, k));
            db[k] += dlogit;
            for (int c = 0; c < C; c++) {
                dw[c * s->classes + k] += pooled[c] * dlogit;
                for (size_t i = 0; i < image; i++) {
                    const size_t at = (n * image + i) * C + c;
                    if (!s->relu || v[at] > 0)
                        dv[at] += w[c * s->classes + k] * dlogit / (double)image;
                }
            }
        }
    }
    pn_input_dv_ref(s->in, s->parts, s->N * image, dv, t);
    free(v);
    free(dv);
}
