/* reference.h -- the meaning of every op of kernels.h: plain loops in double precision.
 *
 * A twin takes the same job as the kernel. Wherever the job points at floats, the twin reads and
 * writes doubles: pn_twins says which. A twin takes one job, so a call with several is a loop; it
 * checks nothing, and its speed is of no interest. One entry of pn_twins may stand for a whole
 * arena or parameter range, so that a program can be run through the twins as it is. */
#ifndef PN_REFERENCE_H
#define PN_REFERENCE_H

#include "kernels/kernels.h"

/* `count` floats from f on have their doubles from d on. */
typedef struct pn_twin {
    const float *f;
    size_t count;
    double *d;
} pn_twin;

typedef struct pn_twins {
    const pn_twin *list;
    int count;
} pn_twins;

/* The double that stands for *f; NULL for NULL. An address that no entry holds ends the program. */
double *pn_at(const pn_twins *t, const float *f);

void pn_stem_fwd_ref(const pn_stem *job, const pn_twins *t);
void pn_stem_bwd_ref(const pn_stem *job, const pn_twins *t);
void pn_stage_fwd_ref(const pn_stage *job, const pn_twins *t);
void pn_stage_bwd_ref(const pn_stage *job, const pn_twins *t);
void pn_conv1x1_fwd_ref(const pn_conv1x1 *job, const pn_twins *t);
void pn_conv1x1_bwd_ref(const pn_conv1x1 *job, const pn_twins *t);
void pn_reduce_fwd_ref(const pn_reduce *job, const pn_twins *t);
void pn_reduce_bwd_ref(const pn_reduce *job, const pn_twins *t);
void pn_conv_fwd_ref(const pn_conv *job, const pn_twins *t);
void pn_conv_bwd_ref(const pn_conv *job, const pn_twins *t);
void pn_pool_fwd_ref(const pn_pool *job, const pn_twins *t);
void pn_pool_bwd_ref(const pn_pool *job, const pn_twins *t);
void pn_node_fwd_ref(const pn_node *job, const pn_twins *t);
void pn_node_bwd_ref(const pn_node *job, const pn_twins *t);
void pn_head_fwd_ref(const pn_head *job, const pn_twins *t); /* writes *job->result itself */
void pn_head_bwd_ref(const pn_head *job, const pn_twins *t);

/* What weigh must have said after the last of `count` samples. `l` holds their log-likelihoods, not
 * yet divided by the temperature. */
pn_importance pn_weigh_ref(const double *l, int count, double temperature, double skip_below);

/* share, of log-likelihoods l[k * shards + d]. */
void pn_share_ref(const double *l, int samples, int shards, double temperature, double skip_below,
                  pn_share *share);

/* tally: 0 if a term was left out. settle on doubles, of a sum that a double holds exactly. */
int pn_tally_ref(const pn_range *ranges, int count, const float *packed, double weight,
                 int64_t *sum);
void pn_settle_ref(const pn_range *ranges, int count, const int64_t *sum, double keep, double *to);

/* sgd, length and move on doubles; scale as the factor itself. The first two return the norm. */
double pn_sgd_ref(const pn_range *ranges, int count, double *value, const double *gradient,
                  double *velocity, double scale, pn_sgd s);
double pn_length_ref(const pn_range *ranges, int count, const double *gradient, double scale);
void pn_move_ref(const pn_range *ranges, int count, double *value, const double *from,
                 const double *along, double length, double step);

/* ---- The two ends of deferred BatchNorm, shared by all ops ----------------------------------- */

/* `count` zeros, to be freed. */
double *pn_zeros_ref(size_t count);

int pn_channels_ref(const pn_input *in, int parts); /* C: the sum over the parts */

/* v of the concatenation of `parts` inputs: (pixels,C), to be freed; pn_relu_ref: of that. */
double *pn_input_v_ref(const pn_input *in, int parts, size_t pixels, const pn_twins *t);
void pn_relu_ref(double *v, size_t count);

/* Gives each part its share of dv (pixels,C): dx, and the sums s1, s2 of the norm below. */
void pn_input_dv_ref(const pn_input *in, int parts, size_t pixels, const double *dv,
                     const pn_twins *t);

/* The sums alone, of one input; its pixels are `stride` doubles apart in dv. */
void pn_input_sums_ref(const pn_input *in, size_t pixels, const double *dv, int stride,
                       const pn_twins *t);
int pn_wants_sums_ref(const pn_norm *norm);

/* The statistics of a finished z (pixels,K), and the running ones. */
void pn_output_stats_ref(const pn_output *out, size_t pixels, const pn_twins *t);

/* dz (N,image_pixels,K), to be freed; adds dgamma and dbeta on the way. */
double *pn_output_dz_ref(const pn_output *out, int N, size_t image_pixels, const pn_twins *t);

/* Where element (n,h,w,c) of an (N,H,W,C) tensor lies. */
static inline size_t pn_nhwc(int n, int h, int w, int c, int H, int W, int C) {
    return (((size_t)n * H + h) * W + w) * C + c;
}

#endif
