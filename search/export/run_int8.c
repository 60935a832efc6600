/* run_int8.c -- see run.h. */
#include "search/export/run.h"

#include "search/export/code/int8.c" /* NOLINT(bugprone-suspicious-include) */

void pn_run_int8(const pn_layers *l, const pn_quantized *q, int8_t *arena, int *pooled,
                 float *logits, int index) {
    const pn_step *step = &q->steps.step[index];
    const pn_quantized_step *at = &q->step[index];
    const pn_layer *layer = &l->layer[step->layer];
    const pn_activation *in = &l->activation[step->x], *out = &l->activation[step->out];
    const pn_view *vx = &q->steps.view[step->x], *vo = &q->steps.view[step->out],
                  *va = step->add >= 0 ? &q->steps.view[step->add] : NULL;
    const int8_t *x = arena + pn_view_at(vx, 1), *w = q->weights + at->weight[1];
    const int32_t *dm = q->numbers + at->number[0], *bias = q->numbers + at->number[1],
                  *m = bias + pn_in_panels(out->C);
    const int8_t *added = va ? arena + pn_view_at(va, 1) + step->add_from : NULL;
    const int add_step = va ? va->step : 0, R = layer->R, d = layer->dilation, shift = at->shift[1];
    int8_t *to = arena + pn_view_at(vo, 1), *const rows = arena + step->offset[0],
           *const more = arena + step->offset[1];
    switch (step->kind) {
        case PN_STEP_CONVOLUTION:
            convolution(x, vx->step, in->H, in->W, in->C, layer->relu, R, layer->stride,
                        step->shift, w, bias, m, out->C, added, add_step, at->add_multiplier, to,
                        vo->step, shift, rows, step->chunk);
            break;
        case PN_STEP_STAGE:
            stage(R, layer->stride, d, x, vx->step, in->H, in->W, in->C, q->weights + at->weight[0],
                  dm, at->shift[0], w, bias, m, out->C, added, add_step, at->add_multiplier, to,
                  vo->step, shift, rows, more, step->chunk);
            break;
        case PN_STEP_POOL:
            pool(layer->kind == PN_LAYER_AVERAGE_POOL, x, vx->step, in->H, in->W, in->C,
                 layer->stride, at->multiplier, added, add_step, at->add_multiplier, to, vo->step,
                 shift);
            break;
        case PN_STEP_ADD:
            if (added) /* always: it has two terms */
                add_two(x, vx->step, at->multiplier, added, add_step, at->add_multiplier,
                        in->H * in->W, in->C, to, vo->step, shift);
            break;
        case PN_STEP_LINEAR:
            linear(x, vx->step, in->H * in->W, in->C, q->pooled_factor, w, out->C, q->logits,
                   q->logits + out->C, pooled, logits);
            break;
    }
}
