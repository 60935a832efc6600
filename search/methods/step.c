/* step.c -- see step.h. */
#include "search/methods/step.h"

#include <math.h>

#include "search/network/genotype.h"

#define PI 3.14159265358979323846

double pn_cosine_rate(double first, double last, int64_t step, int64_t steps) {
    const double cosine = cos(PI * (double)step / (double)steps);
    return last + (first - last) * (1 + cosine) / 2;
}

pn_status pn_step_check(const pn_space *space, const pn_step_report *r) {
    char text[PN_SHORT_BYTES];
    for (int k = 0; k < r->count; k++) {
        const pn_evaluation *e = &r->evaluation[k];
        bool train = isfinite(e->train_ll), val = isfinite(e->val_ll);
        if (train && val) continue;
        pn_genotype_short(space, &r->arch[k], text);
        return pn_fail(PN_EDIVERGED,
                       "step %lld, sample %d: %s log-likelihood is %g, want a finite number "
                       "(architecture %s)",
                       (long long)r->step, k, train ? "validation" : "training",
                       train ? e->val_ll : e->train_ll, text);
    }
    if (!isfinite(r->gradient_norm_v)) {
        pn_genotype_short(space, &r->arch[0], text);
        return pn_fail(PN_EDIVERGED,
                       "step %lld: norm of the weights' gradient is %g, want a finite number (%d "
                       "architectures, sample 0: %s)",
                       (long long)r->step, r->gradient_norm_v, r->count, text);
    }
    return PN_OK;
}

void pn_step_sum(pn_step_report *r, double images) {
    const double all = (double)r->count * images;
    for (int k = 0; k < r->count; k++) {
        const pn_evaluation *e = &r->evaluation[k];
        r->train_loss -= e->train_ll / all;
        r->val_loss -= e->val_ll / all;
        r->train_accuracy += (double)e->train_correct / all;
        r->val_accuracy += (double)e->val_correct / all;
        r->skipped += e->skipped;
    }
}
