/* loss_scale.c -- see loss_scale.h. */
#include "runtime/loss_scale.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

pn_loss_scale pn_loss_scale_begin(pn_storage storage) {
    return (pn_loss_scale){.scale = storage == PN_STORED_FP16 ? PN_LOSS_SCALE_FIRST : 0};
}

bool pn_loss_scale_judge(pn_loss_scale *l, double norm) {
    if (l->scale == 0) return false;
    if (!isfinite(norm)) {
        if (l->scale <= 1) return false;
        l->scale /= 2;
        l->good = 0;
        l->skipped++;
        return true;
    }
    if (++l->good >= PN_LOSS_SCALE_STEPS && l->scale < PN_LOSS_SCALE_MOST) {
        l->scale *= 2;
        l->good = 0;
    }
    return false;
}

void pn_loss_scale_write(const pn_loss_scale *l, char text[PN_LOSS_SCALE_TEXT]) {
    snprintf(text, PN_LOSS_SCALE_TEXT, "%.0f %" PRId64 " %" PRId64, l->scale, l->good, l->skipped);
}

/* A power of two, from 1 on; what overflows at once may begin beyond the most. */
static bool is_scale(double scale) {
    int exponent;
    return scale >= 1 && scale <= 0x1p100 && frexp(scale, &exponent) == 0.5;
}

pn_status pn_loss_scale_read(const char *text, pn_loss_scale *l) {
    pn_loss_scale read = {0};
    int end = 0;
    if (sscanf(text, "%lf %" SCNd64 " %" SCNd64 "%n", &read.scale, &read.good, &read.skipped,
               &end) != 3 ||
        text[end] || !is_scale(read.scale) || read.good < 0 || read.skipped < 0)
        return pn_fail(PN_EINPUT, "scale of the loss \"%.40s\", want a power of two and two counts",
                       text);
    *l = read;
    return PN_OK;
}
