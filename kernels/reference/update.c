/* update.c -- importance weights, and SGD. */
#include <math.h>

#include "kernels/reference/reference.h"

pn_importance pn_weigh_ref(const double *l, int count, double temperature, double skip_below) {
    pn_importance w = {.max = -INFINITY, .full = 1};
    for (int i = 0; i < count; i++) w.max = fmax(w.max, l[i] / temperature);
    w.scale = exp(l[count - 1] / temperature - w.max) < skip_below ? 0 : 1;
    return w;
}

void pn_share_ref(const double *l, int samples, int shards, double temperature, double skip_below,
                  pn_share *share) {
    double max = -INFINITY, all = 0;
    for (int k = 0; k < samples; k++) {
        share[k].weight = 0;
        for (int d = 0; d < shards; d++) share[k].weight += l[k * shards + d] / temperature;
        max = fmax(max, share[k].weight);
    }
    for (int k = 0; k < samples; k++) all += exp(share[k].weight - max);
    for (int k = 0; k < samples; k++) {
        const double e = exp(share[k].weight - max);
        share[k] = (pn_share){e < skip_below ? 0 : e / all / shards, e < skip_below};
    }
}

int pn_tally_ref(const pn_range *ranges, int count, const float *packed, double weight,
                 int64_t *sum) {
    int whole = 1;
    size_t at = 0;
    for (int r = 0; r < count; r++) {
        for (size_t i = 0; i < ranges[r].count; i++) {
            const double term = packed[at + i];
            if (fabs(term) < 0x1p22)
                sum[ranges[r].first + i] += (int64_t)nearbyint(ldexp(weight * term, 40));
            else
                whole = 0;
        }
        at += (ranges[r].count + PN_PACK - 1) / PN_PACK * PN_PACK;
    }
    return whole;
}

void pn_settle_ref(const pn_range *ranges, int count, const int64_t *sum, double keep, double *to) {
    for (int r = 0; r < count; r++)
        for (size_t i = ranges[r].first; i < ranges[r].first + ranges[r].count; i++)
            to[i] = (keep == 0 ? 0 : keep * to[i]) + ldexp((double)sum[i], -40);
}

double pn_length_ref(const pn_range *ranges, int count, const double *gradient, double scale) {
    double squares = 0;
    for (int r = 0; r < count; r++)
        for (size_t i = ranges[r].first; i < ranges[r].first + ranges[r].count; i++)
            squares += gradient[i] * scale * gradient[i] * scale;
    return sqrt(squares);
}

void pn_move_ref(const pn_range *ranges, int count, double *value, const double *from,
                 const double *along, double length, double step) {
    for (int r = 0; r < count; r++)
        for (size_t i = ranges[r].first; i < ranges[r].first + ranges[r].count; i++)
            value[i] = from[i] + (length == 0 ? 0 : step / length) * along[i];
}

double pn_sgd_ref(const pn_range *ranges, int count, double *value, const double *gradient,
                  double *velocity, double scale, pn_sgd s) {
    const double norm = pn_length_ref(ranges, count, gradient, scale);
    if (!isfinite(norm)) return norm;
    const double clip = s.clip > 0 ? fmin(1, s.clip / (norm + 1e-6)) : 1;
    for (int r = 0; r < count; r++)
        for (size_t i = ranges[r].first; i < ranges[r].first + ranges[r].count; i++) {
            const double g = gradient[i] * scale * clip + s.decay * value[i];
            velocity[i] = s.momentum * velocity[i] + g;
            value[i] -= s.rate * (s.nesterov ? g + s.momentum * velocity[i] : velocity[i]);
        }
    return norm;
}
