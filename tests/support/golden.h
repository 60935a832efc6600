/* golden.h -- what the files in golden/ are made of: numbers that follow from a name, and a
 * tensor's norm and projection. make_golden.py states the formulas. */
#ifndef PN_GOLDEN_H
#define PN_GOLDEN_H

#include "runtime/parameters.h"

uint32_t pn_golden_bits(const char *name, uint32_t i);
float pn_golden_uniform(const char *name, size_t i); /* in [-1, 1) */

/* The values of all weights, on the host. */
void pn_golden_weights(pn_parameters *p);

/* Images (N,H,W,C), and labels below `classes`. */
void pn_golden_images(const char *name, int N, int H, int W, int C, float *image);
void pn_golden_labels(const char *name, int N, int classes, int32_t *label);

/* Of tensor t of a range: its norm, and its projection on the direction of its name. */
typedef struct pn_golden_pair {
    double norm, along;
} pn_golden_pair;
pn_golden_pair pn_golden_pair_of(const pn_parameters *p, const float *range, int t);

#endif
