/* adam.h -- Adam in double precision, for the few numbers that a search learns beside weights. */
#ifndef PN_ADAM_H
#define PN_ADAM_H

#include <stdint.h>

#include "kernels/api.h"

PN_API_BEGIN

typedef struct pn_adam {
    double rate, beta1, beta2, epsilon;
    double decay; /* an L2 term, decay / 2 |value|^2, subtracted from what is climbed */
} pn_adam;

/* Update number t (from 1) of `count` values, uphill along gradient[] (Kingma and Ba 2015):
 * with g = gradient - decay * value
 *     m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2
 *     value += rate * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon) */
void pn_adam_climb(const pn_adam *adam, int64_t t, int count, const double *gradient,
                   double *moment1, double *moment2, double *value);

PN_API_END

#endif
