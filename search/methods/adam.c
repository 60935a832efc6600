/* adam.c -- see adam.h. */
#include "search/methods/adam.h"

#include <math.h>

void pn_adam_climb(const pn_adam *a, int64_t t, int count, const double *gradient, double *moment1,
                   double *moment2, double *value) {
    const double correct1 = 1 - pow(a->beta1, (double)t), correct2 = 1 - pow(a->beta2, (double)t);
    for (int i = 0; i < count; i++) {
        const double g = a->decay == 0 ? gradient[i] : gradient[i] - a->decay * value[i];
        double *m = &moment1[i], *v = &moment2[i];
        *m = a->beta1 * *m + (1 - a->beta1) * g;
        *v = a->beta2 * *v + (1 - a->beta2) * g * g;
        value[i] += a->rate * (*m / correct1) / (sqrt(*v / correct2) + a->epsilon);
    }
}
