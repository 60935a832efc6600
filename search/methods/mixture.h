/* mixture.h -- logits of every op on every edge, as DARTS, GDAS and SNAS learn them, and what
 * follows from them: weights, gradients, noise, and the cell that they name. Arithmetic alone.
 *
 * An edge leads from an input to a node (space.h numbers them); on each stands one of the space's
 * ops, or `none`, which adds nothing and counts in the softmax only. Flat order of the logits and
 * of everything that has one number a logit: kind, edge, and there `none` first, as in DARTS' list
 * of primitives. DARTS' space has 28 edges and 224 logits.
 *
 * Sources: Liu, Simonyan, Yang 2019 (DARTS; quark0/darts), Xie, Zheng, Liu, Lin 2019 (SNAS),
 * Dong, Yang 2019 (GDAS; D-X-Y/AutoDL-Projects). */
#ifndef PN_MIXTURE_H
#define PN_MIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/api.h"
#include "search/methods/prior.h"
#include "search/network/space.h"

PN_API_BEGIN

enum {
    PN_MIX_OPS = 1 + PN_MAX_OPS,
    PN_MAX_MIX_EDGES = PN_KINDS * PN_MAX_EDGES,
    PN_MAX_MIX = PN_MAX_MIX_EDGES * PN_MIX_OPS
};

typedef struct pn_mixture {
    pn_space space;
    int count; /* logits in use; the rest is zero */
    double logit[PN_MAX_MIX];
} pn_mixture;

/* Logits from a normal distribution around 0, a function of the seed. PN_EARG if the space is
 * none. */
pn_status pn_mixture_init(pn_mixture *mixture, const pn_space *space, double deviation,
                          uint64_t seed);

/* The first logit that is no number or beyond PN_LARGEST_MIXED, where weights would be 0; -1 if
 * all are usable. */
#define PN_LARGEST_MIXED 100
int pn_mixture_bad(const double *logit, int count);

/* Edges of all kinds. */
int pn_mixture_edges(const pn_mixture *mixture);

/* "normal.2.1.sep_conv_3x3": kind, node, input, op; a logit's name in prior.csv. */
void pn_mixture_name(const pn_space *space, int logit, char name[PN_NAME_BYTES]);

/* noise[count]: standard Gumbel numbers, -log(-log u); a function of (seed, step, pass). */
void pn_mixture_noise(const pn_mixture *mixture, uint64_t seed, int64_t step, int pass,
                      double *noise);

/* weight[count] = softmax over each edge of (logit + noise) / temperature; noise NULL: 0. */
void pn_mixture_weights(const pn_mixture *mixture, const double *noise, double temperature,
                        double *weight);

/* gradient[count] of the logits, from that of the weights (with respect to `none` it is 0 as a
 * rule), through pn_mixture_weights: w_k (g_k - sum_j w_j g_j) / temperature. */
void pn_mixture_back(const pn_mixture *mixture, const double *weight, double temperature,
                     const double *of_weight, double *gradient);

/* gradient[count] of the logits of the mean over draws of sum_e f_e(weights of edge e), from one
 * draw, where the slope of f is not known: f_e times the slope of log p of the weights that were
 * drawn (of_edge[edges]: f_e). By the density of the concrete distribution (Maddison, Mnih, Teh
 * 2017, equation 10) that is 1 - n softmax(-noise), of an edge's n choices, whatever the logits
 * and the temperature are. */
void pn_mixture_policy(const pn_mixture *mixture, const double *noise, const double *of_edge,
                       double *gradient);

/* chosen[edges]: of each edge the largest weight's op, by its number in the space, -1: `none`. Of
 * equals the first. */
void pn_mixture_choose(const pn_mixture *mixture, const double *weight, int8_t *chosen);

/* Sum over the edges of the entropy of softmax(logit), nats; and the most it can be. */
double pn_mixture_entropy(const pn_mixture *mixture);
double pn_mixture_entropy_uniform(const pn_mixture *mixture);

/* The cell: of each node the two terms (op on input) of largest weight, `none` left out. With
 * `distinct` their inputs differ (DARTS: so it is the two inputs whose best op is largest); else
 * one input may have both (GDAS). The best term stands first; of equals the one of the lower
 * input, then of the lower op. */
void pn_mixture_cell(const pn_mixture *mixture, bool distinct, pn_arch *arch);

/* The distribution of which that cell is the most probable: a node's pair of different terms has a
 * probability proportional to the product of their weights. log p of a cell, whatever the order of
 * its terms (-INFINITY if it is none of these); and a cell drawn by (seed, index) on
 * PN_STREAM_SAMPLE, whose log p it gives back. */
double pn_mixture_log_p(const pn_mixture *mixture, bool distinct, const pn_arch *arch);
double pn_mixture_draw(const pn_mixture *mixture, bool distinct, uint64_t seed, uint64_t index,
                       pn_arch *arch);

/* Its `want` most probable cells, as pn_prior_top; of a node's terms the lower input first.
 * PN_EARG, PN_EMEM. */
pn_status pn_mixture_top(const pn_mixture *mixture, bool distinct, int want, pn_arch *arch,
                         double *log_p, int *found);

/* The cell of every edge (SNAS): on each its choice of largest weight, `none` too; of equals the
 * first. Of a node the edges whose weight is largest stand first, as the public code lists them; of
 * equals the lower input. */
void pn_mixture_edges_cell(const pn_mixture *mixture, pn_arch *arch);

/* The distribution of which that cell is the most probable: every edge has a choice of its own.
 * -INFINITY of a cell that has not every edge. Otherwise as above. */
double pn_mixture_edges_log_p(const pn_mixture *mixture, const pn_arch *arch);
double pn_mixture_edges_draw(const pn_mixture *mixture, uint64_t seed, uint64_t index,
                             pn_arch *arch);

/* Its `want` most probable cells, as pn_mixture_top; the inputs of a node in their order. */
pn_status pn_mixture_edges_top(const pn_mixture *mixture, int want, pn_arch *arch, double *log_p,
                               int *found);

PN_API_END

#endif
