/* quantize.c -- see quantize.h. */
#include "search/export/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/batches.h"
#include "search/export/run.h"

enum { HIGHEST = 127, PIXEL_LEVELS = 256 };

/* The i-th of `count` images that are spread over a data set. */
static int spread(const pn_data *data, int count, int i) {
    return (int)((int64_t)i * data->count / count);
}

static size_t image_numbers(const pn_data *data) {
    return (size_t)data->H * (size_t)data->W * (size_t)data->C;
}

/* What bytes become: [channel][byte]. */
typedef float levels[PN_MAX_IMAGE_CHANNELS][PIXEL_LEVELS];

static void take_image(const pn_data *data, int i, levels value, float *x) {
    const size_t numbers = image_numbers(data);
    const uint8_t *from = data->images + (size_t)i * numbers;
    for (size_t j = 0; j < numbers; j++) x[j] = value[j % (size_t)data->C][from[j]];
}

static pn_status check_images(const pn_layers *l, const pn_data *data) {
    const pn_activation *image = &l->activation[0];
    if (data->H == image->H && data->W == image->W && data->C == image->C) return PN_OK;
    return pn_fail(PN_EARG, "the network is for images of %dx%dx%d, those of %s are %dx%dx%d",
                   image->H, image->W, image->C, data->name, data->H, data->W, data->C);
}

/* ---- the network in float32 ------------------------------------------------------------------ */

typedef struct float_code {
    pn_steps steps;
    pn_packed packed;
} float_code;

static pn_status float_create(const pn_layers *l, bool whole, float_code *f) {
    *f = (float_code){0};
    PN_TRY(pn_steps_create(l, sizeof(float), whole, &f->steps));
    return pn_pack(l, &f->steps, &f->packed);
}

static void float_destroy(float_code *f) {
    pn_packed_free(&f->packed);
    pn_steps_destroy(&f->steps);
}

/* ---- calibration ----------------------------------------------------------------------------- */

static void take_range(float *most, const float *x, int step, int pixels, int C) {
    for (int p = 0; p < pixels; p++, x += step)
        for (int c = 0; c < C; c++)
            if (fabsf(x[c]) > most[c]) most[c] = fabsf(x[c]);
}

/* Of what step i made. A part of a sum is where the part is, and counts for the sum. */
static void range_of_step(const pn_ranges *r, const float_code *f, const float *arena, int i,
                          float *most) {
    const pn_step *step = &f->steps.step[i];
    const pn_activation *out = &r->layers->activation[step->out];
    const pn_view *view = &f->steps.view[step->out];
    const int from = step->kind == PN_STEP_ADD ? 0 : step->add_from, pixels = out->H * out->W;
    take_range(most + r->channel[step->made] + from, arena + pn_view_at(view, sizeof(float)),
               view->step, pixels, out->C);
    if (step->kind != PN_STEP_STAGE) return;
    const int made = r->layers->layer[step->layer].output, C = r->layers->activation[made].C;
    take_range(most + r->channel[made], arena + step->offset[1] / sizeof(float), pn_in_lanes(C),
               pixels, C);
}

static pn_status measure(const float_code *f, const pn_data *data, int count, pn_ranges *r) {
    const pn_layers *l = r->layers;
    const pn_view *image = &f->steps.view[0];
    levels value;
    bool failed = false;
    pn_normalise(data->C, data->mean, data->std, value);
#pragma omp parallel
    {
        float *arena =
            aligned_alloc(PN_ALIGN, (f->steps.arena_bytes + PN_ALIGN) / PN_ALIGN * PN_ALIGN);
        float *most = calloc(r->channels, sizeof *most);
#pragma omp for schedule(dynamic)
        for (int i = 0; i < count; i++) {
            if (!arena || !most) continue;
            float *x = arena + pn_view_at(image, sizeof(float));
            take_image(data, spread(data, count, i), value, x);
            take_range(most, x, data->C, data->H * data->W, data->C);
            for (int s = 0; s < f->steps.count; s++) {
                pn_run_float(l, &f->steps, &f->packed, arena, s);
                range_of_step(r, f, arena, s, most);
            }
        }
#pragma omp critical(pn_ranges)
        {
            failed |= !arena || !most;
            for (size_t i = 0; most && i < r->channels; i++)
                if (most[i] > r->most[i]) r->most[i] = most[i];
        }
        free(arena);
        free(most);
    }
    return failed ? pn_fail(PN_EMEM, "no memory to calibrate") : PN_OK;
}

pn_status pn_ranges_measure(const pn_layers *l, const pn_data *data, int count, pn_ranges *r) {
    *r = (pn_ranges){.layers = l, .channel = calloc((size_t)l->activations, sizeof *r->channel)};
    if (!r->channel) return pn_fail(PN_EMEM, "no memory to calibrate");
    for (int i = 0; i < l->activations; i++) {
        r->channel[i] = r->channels;
        r->channels += (size_t)l->activation[i].C;
    }
    r->most = calloc(r->channels + 1, sizeof *r->most);
    float_code f = {0};
    pn_status s = r->most ? check_images(l, data) : pn_fail(PN_EMEM, "no memory to calibrate");
    if (s == PN_OK) s = float_create(l, true, &f);
    if (s == PN_OK) s = measure(&f, data, count < data->count ? count : data->count, r);
    float_destroy(&f);
    if (s != PN_OK) pn_ranges_free(r);
    return s;
}

void pn_ranges_free(pn_ranges *r) {
    free(r->most);
    free(r->channel);
    *r = (pn_ranges){0};
}

/* ---- scales ---------------------------------------------------------------------------------- */

typedef struct quantizer {
    const pn_layers *layers;
    const pn_ranges *ranges;
    pn_quantized *to;
    double *scale;   /* of each activation */
    double *outputs; /* of the weights of each output of a step */
} quantizer;

static const pn_layer *maker_of(const pn_layers *l, int activation) {
    const int i = l->activation[activation].producer;
    return i < 0 ? NULL : &l->layer[i];
}

static float largest(const pn_ranges *r, int a) {
    float most = 0;
    for (int c = 0; c < r->layers->activation[a].C; c++)
        if (r->most[r->channel[a] + (size_t)c] > most) most = r->most[r->channel[a] + (size_t)c];
    return most;
}

static double scale_for(float most) { return most > 0 ? (double)most / HIGHEST : 1; }

/* The halves of a factorized reduce have the scale of the whole: they may be a term of a sum. The
 * parts of a cell are more than two, and may be made by a convolution too. */
static bool is_halves(const pn_layers *l, const pn_layer *concat) {
    return concat->inputs == 2 && maker_of(l, concat->input[0])->kind == PN_LAYER_CONV;
}

static void find_scales(quantizer *q) {
    const pn_layers *l = q->layers;
    for (int i = 0; i < l->activations; i++) q->scale[i] = scale_for(largest(q->ranges, i));
    for (int i = 0; i < l->count; i++) {
        const pn_layer *concat = &l->layer[i];
        if (concat->kind != PN_LAYER_CONCAT || !is_halves(l, concat)) continue;
        float most = 0;
        for (int j = 0; j < concat->inputs; j++)
            most = fmaxf(most, largest(q->ranges, concat->input[j]));
        q->scale[concat->output] = scale_for(most);
        for (int j = 0; j < concat->inputs; j++) q->scale[concat->input[j]] = scale_for(most);
    }
}

/* Of each channel of an activation. */
static void scales_of(const quantizer *q, int activation, double *scale) {
    const pn_layers *l = q->layers;
    const pn_layer *maker = maker_of(l, activation);
    if (maker && maker->kind == PN_LAYER_CONCAT && !is_halves(l, maker)) {
        for (int j = 0; j < maker->inputs; j++)
            for (int c = 0; c < l->activation[maker->input[j]].C; c++)
                *scale++ = q->scale[maker->input[j]];
        return;
    }
    for (int c = 0; c < l->activation[activation].C; c++) scale[c] = q->scale[activation];
}

/* Of each channel between a depthwise and a 1x1 convolution; one that was nearly dead while it was
 * looked at may not be so always. */
static void scales_between(const quantizer *q, int activation, double *scale) {
    const float least = largest(q->ranges, activation) / 256;
    for (int c = 0; c < q->layers->activation[activation].C; c++)
        scale[c] =
            scale_for(fmaxf(q->ranges->most[q->ranges->channel[activation] + (size_t)c], least));
}

/* ---- weights --------------------------------------------------------------------------------- */

static int32_t rounded(double x, double most) {
    return (int32_t)lrint(x < -most ? -most : x > most ? most : x);
}

/* The shift with which the largest factor takes 30 bits. */
static int shift_for(double most) {
    int exponent;
    (void)frexp(most, &exponent); /* most < 2^exponent */
    const int shift = 30 - exponent;
    return shift < 1 ? 1 : shift > 61 ? 61 : shift;
}

static int32_t multiplier(double factor, int shift) {
    return rounded(ldexp(factor, shift), INT32_MAX);
}

/* A depthwise convolution: from `in` to `out`, scales of the channels. */
static void quantize_depthwise(const quantizer *q, const pn_layer *layer, int C, const double *in,
                               const double *out, pn_quantized_step *at) {
    const int taps = layer->R * layer->R, lanes = pn_in_lanes(C);
    double factor[C], most = 0;
    at->weight[0] = q->to->weight_count;
    at->number[0] = q->to->number_count;
    q->to->weight_count += (size_t)(taps * lanes);
    q->to->number_count += (size_t)lanes;
    if (!q->to->weights) return;
    for (int c = 0; c < C; c++) {
        const float *w = layer->weight + c * taps;
        float magnitude = 0;
        for (int t = 0; t < taps; t++) magnitude = fmaxf(magnitude, fabsf(w[t]));
        const double scale = scale_for(magnitude);
        for (int t = 0; t < taps; t++)
            q->to->weights[at->weight[0] + (size_t)(t * lanes + c)] =
                (int8_t)rounded((double)w[t] / scale, HIGHEST);
        factor[c] = in[c] * scale / out[c];
        most = fmax(most, factor[c]);
    }
    at->shift[0] = shift_for(most);
    for (int c = 0; c < C; c++)
        q->to->numbers[at->number[0] + (size_t)c] = multiplier(factor[c], at->shift[0]);
}

/* Weights of one output, whose scale it gives back; biases in units of it have 24 bits at most. */
static double quantize_output(const quantizer *q, const pn_layer *layer, int o, int C,
                              const double *in, bool bias, size_t at) {
    const int O = q->layers->activation[layer->output].C;
    const int taps = layer->kind == PN_LAYER_CONV ? layer->R * layer->R : 1;
    const float *w = layer->weight + (size_t)o * (size_t)C * (size_t)taps;
    double magnitude = 0;
    for (int i = 0; i < C * taps; i++)
        magnitude = fmax(magnitude, fabs((double)w[i]) * in[i / taps]);
    double scale = magnitude > 0 ? magnitude / HIGHEST : 1;
    if (bias) scale = fmax(scale, ldexp(fabs((double)layer->bias[o]), -24));
    for (int i = 0; i < C; i++)
        for (int t = 0; t < taps; t++)
            q->to->weights[at + pn_panel_index(O, C, taps, o, t, i)] =
                (int8_t)rounded((double)w[i * taps + t] * in[i] / scale, HIGHEST);
    return scale;
}

static void quantize_dense(const quantizer *q, const pn_step *step, const double *in,
                           pn_quantized_step *at) {
    const pn_layer *layer = pn_dense_layer(q->layers, step);
    const int C = q->layers->activation[step->x].C, O = q->layers->activation[step->out].C;
    const int taps = layer->kind == PN_LAYER_CONV ? layer->R * layer->R : 1;
    const int all = pn_in_panels(O);
    const bool last = step->kind == PN_STEP_LINEAR;
    pn_quantized *to = q->to;
    at->weight[1] = to->weight_count;
    at->number[1] = to->number_count;
    to->weight_count += (size_t)C * (size_t)taps * (size_t)all;
    to->number_count += last ? 0 : 2 * (size_t)all;
    if (!to->weights) return;
    const double out = q->scale[step->made];
    const double add = step->add >= 0 ? q->scale[step->add] / out : 0;
    double most = add;
    for (int o = 0; o < O; o++) {
        q->outputs[o] = quantize_output(q, layer, o, C, in, !last, at->weight[1]);
        most = fmax(most, q->outputs[o] / out);
    }
    at->shift[1] = shift_for(most);
    at->add_multiplier = multiplier(add, at->shift[1]);
    for (int o = 0; o < O; o++)
        if (last) {
            to->logits[o] = (float)q->outputs[o];
            to->logits[O + o] = layer->bias[o];
        } else {
            int32_t *number = to->numbers + at->number[1] + o;
            number[0] = rounded((double)layer->bias[o] / q->outputs[o], 1 << 24);
            number[all] = multiplier(q->outputs[o] / out, at->shift[1]);
        }
}

/* A step without weights. */
static void quantize_plain(const quantizer *q, const pn_step *step, pn_quantized_step *at) {
    const double out = q->scale[step->made], x = q->scale[step->x] / out;
    const double add = step->add >= 0 ? q->scale[step->add] / out : 0;
    at->shift[1] = shift_for(fmax(x, add));
    at->multiplier = multiplier(x, at->shift[1]);
    at->add_multiplier = multiplier(add, at->shift[1]);
}

/* All steps; with NULL for weights and numbers these are only counted. */
static void quantize_all(const quantizer *q) {
    q->to->weight_count = q->to->number_count = 0;
    for (int i = 0; i < q->to->steps.count; i++) {
        const pn_step *step = &q->to->steps.step[i];
        const int C = q->layers->activation[step->x].C;
        double in[C];
        memset(in, 0, sizeof in);
        scales_of(q, step->x, in);
        if (step->kind == PN_STEP_STAGE) {
            double between[C];
            memset(between, 0, sizeof between);
            const pn_layer *depthwise = &q->layers->layer[step->layer];
            scales_between(q, depthwise->output, between);
            quantize_depthwise(q, depthwise, C, in, between, &q->to->step[i]);
            memcpy(in, between, sizeof in);
        }
        if (step->kind == PN_STEP_LINEAR)
            for (int c = 0; c < C; c++) in[c] /= q->to->pooled_factor;
        if (pn_dense_layer(q->layers, step))
            quantize_dense(q, step, in, &q->to->step[i]);
        else
            quantize_plain(q, step, &q->to->step[i]);
    }
}

static void quantize_pixels(const pn_data *data, pn_quantized *to) {
    levels value;
    pn_normalise(data->C, data->mean, data->std, value);
    for (int c = 0; c < data->C; c++)
        for (int v = 0; v < PIXEL_LEVELS; v++)
            to->pixel[c * PIXEL_LEVELS + v] =
                (int8_t)rounded((double)value[c][v] / (double)to->image_scale, HIGHEST);
}

static pn_status quantize(quantizer *q, const pn_data *data) {
    pn_quantized *to = q->to;
    const pn_layers *l = q->layers;
    const int C = l->activation[to->steps.step[to->steps.count - 1].x].C;
    const int64_t room = INT32_MAX / ((int64_t)HIGHEST * HIGHEST * C);
    to->pooled_factor = room > 16 ? 16 : room < 1 ? 1 : (int)room;
    find_scales(q);
    quantize_all(q);
    to->weights = calloc(to->weight_count + 1, sizeof *to->weights);
    to->numbers = calloc(to->number_count + 1, sizeof *to->numbers);
    to->pixel = calloc(PN_MAX_IMAGE_CHANNELS, PIXEL_LEVELS);
    to->logits = calloc((size_t)l->activation[l->logits].C, 2 * sizeof *to->logits);
    if (!to->weights || !to->numbers || !to->pixel || !to->logits)
        return pn_fail(PN_EMEM, "no memory for weights of 8 bits");
    quantize_all(q);
    to->image_scale = (float)q->scale[0];
    quantize_pixels(data, to);
    return PN_OK;
}

pn_status pn_quantize(const pn_layers *l, const pn_ranges *ranges, const pn_data *data,
                      pn_quantized *to) {
    int widest = 0;
    *to = (pn_quantized){0};
    for (int i = 0; i < l->activations; i++)
        if (l->activation[i].C > widest) widest = l->activation[i].C;
    quantizer q = {l, ranges, to, calloc((size_t)l->activations, sizeof(double)),
                   calloc((size_t)widest + 1, sizeof(double))};
    pn_status s = pn_steps_create(l, 1, false, &to->steps);
    if (s == PN_OK) to->step = calloc((size_t)to->steps.count + 1, sizeof *to->step);
    if (s == PN_OK)
        s = q.scale && q.outputs && to->step
                ? quantize(&q, data)
                : pn_fail(PN_EMEM, "no memory for scales of %d layers", l->count);
    free(q.scale);
    free(q.outputs);
    if (s != PN_OK) pn_quantized_destroy(to);
    return s;
}

void pn_quantized_destroy(pn_quantized *q) {
    pn_steps_destroy(&q->steps);
    free(q->step);
    free(q->weights);
    free(q->numbers);
    free(q->pixel);
    free(q->logits);
    *q = (pn_quantized){0};
}

/* ---- what it is worth ------------------------------------------------------------------------ */

static bool is_right(const float *logits, int classes, int label) {
    int best = 0;
    for (int k = 1; k < classes; k++)
        if (logits[k] > logits[best]) best = k;
    return best == label;
}

static pn_status judge(const pn_layers *l, const float_code *f, const pn_quantized *q,
                       const pn_data *data, int count, int64_t *in_float, int64_t *in_int8) {
    const int classes = l->activation[l->logits].C;
    const size_t numbers = image_numbers(data);
    const pn_step *last = &q->steps.step[q->steps.count - 1];
    levels value;
    int64_t right[2] = {0, 0};
    bool failed = false;
    pn_normalise(data->C, data->mean, data->std, value);
#pragma omp parallel reduction(+ : right[:2]) reduction(|| : failed)
    {
        float *arena =
            aligned_alloc(PN_ALIGN, (f->steps.arena_bytes + PN_ALIGN) / PN_ALIGN * PN_ALIGN);
        int8_t *small = malloc(q->steps.arena_bytes);
        int *pooled = calloc((size_t)l->activation[last->x].C, sizeof *pooled);
        float *logits = calloc((size_t)classes, sizeof *logits);
        failed = !arena || !small || !pooled || !logits;
#pragma omp for schedule(dynamic)
        for (int i = 0; i < count; i++) {
            if (failed) continue;
            const int image = spread(data, count, i), label = data->labels[image];
            const uint8_t *from = data->images + (size_t)image * numbers;
            take_image(data, image, value, arena + pn_view_at(&f->steps.view[0], sizeof(float)));
            for (int s = 0; s < f->steps.count; s++)
                pn_run_float(l, &f->steps, &f->packed, arena, s);
            right[0] += is_right(arena + pn_view_at(&f->steps.view[l->logits], sizeof(float)),
                                 classes, label);
            for (size_t j = 0; j < numbers; j++)
                small[pn_view_at(&q->steps.view[0], 1) + j] =
                    q->pixel[j % (size_t)data->C * PIXEL_LEVELS + from[j]];
            for (int s = 0; s < q->steps.count; s++) pn_run_int8(l, q, small, pooled, logits, s);
            right[1] += is_right(logits, classes, label);
        }
        free(arena);
        free(small);
        free(pooled);
        free(logits);
    }
    *in_float = right[0];
    *in_int8 = right[1];
    return failed ? pn_fail(PN_EMEM, "no memory for a network in 8 bits") : PN_OK;
}

pn_status pn_quantized_judge(const pn_layers *l, const pn_quantized *q, const pn_data *data,
                             int count, int64_t *in_float, int64_t *in_int8) {
    float_code f = {0};
    pn_status s = check_images(l, data);
    if (s == PN_OK) s = float_create(l, false, &f);
    if (s == PN_OK) s = judge(l, &f, q, data, count, in_float, in_int8);
    float_destroy(&f);
    return s;
}
