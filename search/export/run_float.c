/* run_float.c -- see run.h. */
#include "search/export/run.h"

#include "search/export/code/float.c" /* NOLINT(bugprone-suspicious-include) */

void pn_run_float(const pn_layers *l, const pn_steps *s, const pn_packed *packed, float *arena,
                  int index) {
    const pn_step *step = &s->step[index];
    const pn_packed_step *at = &packed->step[index];
    const pn_layer *layer = &l->layer[step->layer];
    const pn_activation *in = &l->activation[step->x], *out = &l->activation[step->out];
    const pn_view *vx = &s->view[step->x], *vo = &s->view[step->out],
                  *va = step->add >= 0 ? &s->view[step->add] : NULL;
    const float *x = arena + pn_view_at(vx, sizeof(float)), *w = packed->data + at->dense,
                *dw = packed->data + at->depthwise, *bias = packed->data + at->bias;
    const float *added = va ? arena + pn_view_at(va, sizeof(float)) + step->add_from : NULL;
    const int add_step = va ? va->step : 0, R = layer->R, d = layer->dilation;
    float *to = arena + pn_view_at(vo, sizeof(float));
    float *const rows = arena + step->offset[0] / sizeof(float), *const more =
                                                                     arena + step->offset[1] /
                                                                                 sizeof(float);
    switch (step->kind) {
        case PN_STEP_CONVOLUTION:
            convolution(x, vx->step, in->H, in->W, in->C, layer->relu, R, layer->stride,
                        step->shift, w, bias, out->C, added, add_step, to, vo->step, rows,
                        step->chunk);
            break;
        case PN_STEP_STAGE:
            stage(R, layer->stride, d, x, vx->step, in->H, in->W, in->C, dw, w, bias, out->C, added,
                  add_step, to, vo->step, rows, more, step->chunk);
            break;
        case PN_STEP_POOL:
            pool(layer->kind == PN_LAYER_AVERAGE_POOL, x, vx->step, in->H, in->W, in->C,
                 layer->stride, added, add_step, to, vo->step);
            break;
        case PN_STEP_ADD:
            if (added) /* always: it has two terms */
                add_two(x, vx->step, added, add_step, in->H * in->W, in->C, to, vo->step);
            break;
        case PN_STEP_LINEAR:
            mean(x, vx->step, in->H * in->W, in->C, rows);
            matrix(rows, 1, in->C, in->C, w, bias, out->C, NULL, 0, to, vo->step);
            break;
    }
}
