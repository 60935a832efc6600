/* loss_scale.h -- gradients that fit into fp16 (Micikevicius et al., "Mixed Precision Training",
 * ICLR 2018). Below 2^-24 there is no half, and many gradients are smaller. So the loss is
 * multiplied by S, a power of two, with it all that follows backward, and what leaves the backward
 * pass is divided by S, which changes no bit of a float.
 *
 * If S is too large, somewhere a half overflows, and the gradient's norm is no finite number: the
 * step leaves the weights alone, and S is halved. After PN_LOSS_SCALE_STEPS steps without that it
 * is doubled. A norm that is not finite at S = 1 is none of the scale's doing.
 *
 * Start, factors and the number of steps are those of PyTorch's GradScaler: a step in 2,000 that is
 * lost tells where the limit is. Beyond the most, at which a gradient of 2^-48 is a half, nothing
 * is left to win. */
#ifndef PN_LOSS_SCALE_H
#define PN_LOSS_SCALE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/api.h"
#include "kernels/kernels.h"

PN_API_BEGIN

#define PN_LOSS_SCALE_FIRST 0x1p16
#define PN_LOSS_SCALE_MOST 0x1p24
#define PN_LOSS_SCALE_STEPS 2000

typedef struct pn_loss_scale {
    double scale;    /* S; 0: the loss is not scaled, whatever is stored */
    int64_t good;    /* steps since it changed */
    int64_t skipped; /* steps that have left the weights alone, in all */
} pn_loss_scale;

/* Of a backend that stores so. */
pn_loss_scale pn_loss_scale_begin(pn_storage storage);

/* After a step whose gradient had this norm: true, if the step was skipped for the scale's sake. */
bool pn_loss_scale_judge(pn_loss_scale *l, double norm);

/* As a text of a checkpoint, and back. PN_EINPUT if it cannot be one: nothing is changed then. */
enum { PN_LOSS_SCALE_TEXT = 80 };
void pn_loss_scale_write(const pn_loss_scale *l, char text[PN_LOSS_SCALE_TEXT]);
pn_status pn_loss_scale_read(const char *text, pn_loss_scale *l);

PN_API_END

#endif
