/* update.c -- importance weights, and SGD. */
#include <math.h>

#include "kernels/reference/reference.h"

pn_importance pn_weigh_ref(const double *l, int count, double temperature, double skip_below) {
    pn_importance w = {.max = -INFINITY, .count = count};
    double max_before = -INFINITY;
    for (int i = 0; i < count; i++) {
        max_before = w.max;
        w.max = fmax(w.max, l[i] / temperature);
        if (exp(l[i] / temperature - w.max) < skip_below) w.skipped++;
    }
    for (int i = 0; i < count; i++) w.sum += exp(l[i] / temperature - w.max);
    const double scale = exp(l[count - 1] / temperature - w.max);
    w.scale = (float)(scale < skip_below ? 0 : scale);
    w.rescale = (float)exp(max_before - w.max);
    w.inverse = (float)(1 / w.sum);
    return w;
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

void pn_rescale_ref(const pn_range *ranges, int count, double *gradient, double factor) {
    for (int r = 0; r < count; r++)
        for (size_t i = ranges[r].first; i < ranges[r].first + ranges[r].count; i++)
            gradient[i] *= factor;
}
