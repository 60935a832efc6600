/* steps.c -- see steps.h. */
#include "search/export/steps.h"

#include <stdlib.h>

#include "runtime/plan.h"

typedef struct maker {
    const pn_layers *layers;
    pn_steps *to;
    bool whole;
    int *readers, *reader; /* of each activation: how many layers read it, and the last of them */
} maker;

static const pn_layer *producer(const maker *m, int activation) {
    const int i = m->layers->activation[activation].producer;
    return i < 0 ? NULL : &m->layers->layer[i];
}

/* The only layer that reads an activation, or NULL. */
static const pn_layer *only_reader(const maker *m, int activation) {
    return m->readers[activation] == 1 ? &m->layers->layer[m->reader[activation]] : NULL;
}

static void count_readers(maker *m) {
    for (int i = 0; i < m->layers->count; i++)
        for (int j = 0; j < m->layers->layer[i].inputs; j++) {
            m->readers[m->layers->layer[i].input[j]]++;
            m->reader[m->layers->layer[i].input[j]] = i;
        }
}

static bool is_sum(const maker *m, int activation) {
    const pn_layer *layer = producer(m, activation);
    return layer && layer->kind == PN_LAYER_ADD;
}

/* Whether a term of a sum that was made before the other one, which is a sum itself, would be lost
 * where that is made. */
static bool is_written_over(const maker *m, const pn_layer *sum, int j) {
    const int term = sum->input[j], other = sum->input[!j];
    const pn_activation *at = m->layers->activation;
    return is_sum(m, other) && at[term].producer < at[other].producer && m->readers[other] == 1;
}

/* ---- where activations lie ------------------------------------------------------------------- */

/* Readers first: so the place of a whole is known before that of its parts. */
static void place(maker *m) {
    const pn_layers *l = m->layers;
    pn_view *view = m->to->view;
    for (int i = 0; i < l->activations; i++) view[i] = (pn_view){i, 0, l->activation[i].C, 0};
    for (int i = l->count - 1; i >= 0; i--) {
        const pn_layer *layer = &l->layer[i];
        pn_view at = view[layer->output];
        if (layer->kind == PN_LAYER_CONCAT)
            for (int j = 0; j < layer->inputs; j++) {
                view[layer->input[j]] = at;
                at.channel += l->activation[layer->input[j]].C;
            }
        if (layer->kind == PN_LAYER_ADD)
            for (int j = 0; j < 2; j++)
                if (m->readers[layer->input[j]] == 1 && layer->input[j] > 0 &&
                    !is_written_over(m, layer, j))
                    view[layer->input[j]] = at;
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* Which term of a sum is made last, if nothing else reads it and it is no sum itself: the sum is
 * made with it. -1: none. */
static int last_term(const maker *m, const pn_layer *sum) {
    const int a = sum->input[0], b = sum->input[1];
    const pn_activation *at = m->layers->activation;
    const int last = at[a].producer > at[b].producer ? a : b;
    return a != b && m->readers[last] == 1 && !is_sum(m, last) ? last : -1;
}

/* What is added to what a step makes, since that is the last term of a sum, or a part of it. */
static void find_addend(const maker *m, pn_step *step) {
    int made = step->out, channel = 0;
    const pn_layer *reader = only_reader(m, made);
    step->add = -1;
    step->made = step->out;
    if (reader && reader->kind == PN_LAYER_CONCAT) {
        for (int j = 0; reader->input[j] != made; j++)
            channel += m->layers->activation[reader->input[j]].C;
        made = reader->output;
        reader = only_reader(m, made);
    }
    if (!reader || reader->kind != PN_LAYER_ADD || last_term(m, reader) != made) return;
    step->add = reader->input[reader->input[0] == made];
    step->add_from = channel;
    step->made = reader->output;
}

static size_t square(int H, int W, int C) { return (size_t)H * (size_t)W * (size_t)C; }

static int between(int least, int n, int most) { return n < least ? least : n > most ? most : n; }

/* Work at a time, so that it stays in the first cache. */
enum { CHUNK_NUMBERS = 6144, TILE_PIXELS = 6, STAGE_PIXELS = 32 };

static void make_convolution(const maker *m, const pn_layer *layer, pn_step *step) {
    const pn_layer *shift = producer(m, step->x);
    step->kind = PN_STEP_CONVOLUTION;
    if (shift && shift->kind == PN_LAYER_SHIFT) {
        step->x = shift->input[0];
        step->shift = 1;
    }
    const pn_activation in = m->layers->activation[step->x], out = m->layers->activation[step->out];
    const int length = layer->R * layer->R * in.C;
    const int pixels = out.H * out.W < INT16_MAX ? out.H * out.W : INT16_MAX;
    step->chunk = CHUNK_NUMBERS / length / TILE_PIXELS * TILE_PIXELS;
    step->chunk = between(TILE_PIXELS, step->chunk, pixels > TILE_PIXELS ? pixels : TILE_PIXELS);
    step->scratch[0] = (size_t)step->chunk * (size_t)length;
}

static void make_stage(const maker *m, const pn_layer *layer, pn_step *step) {
    step->kind = PN_STEP_STAGE;
    step->second = m->reader[step->out];
    step->out = m->layers->layer[step->second].output;
    const pn_activation in = m->layers->activation[step->x], out = m->layers->activation[step->out];
    const int C = pn_in_lanes(in.C), kept = (layer->R - 1) * layer->dilation + 1;
    step->chunk = m->whole ? out.H : between(1, STAGE_PIXELS / out.W, out.H);
    step->scratch[0] = square(kept + 1, in.W + 2 * layer->pad, C);
    step->scratch[1] = square(step->chunk, out.W, C);
}

/* Whether a layer takes a step, and which. */
static bool make_step(const maker *m, int i, pn_step *step) {
    const pn_layer *layer = &m->layers->layer[i];
    *step = (pn_step){.layer = i,
                      .second = -1,
                      .x = layer->input[0],
                      .out = layer->output,
                      .made = layer->output,
                      .add = -1};
    switch (layer->kind) {
        case PN_LAYER_CONV:
            if (layer->groups > 1)
                make_stage(m, layer, step);
            else if (producer(m, step->x) && producer(m, step->x)->kind == PN_LAYER_CONV &&
                     producer(m, step->x)->groups > 1)
                return false; /* the second half of a stage */
            else
                make_convolution(m, layer, step);
            find_addend(m, step);
            return true;
        case PN_LAYER_MAX_POOL:
        case PN_LAYER_AVERAGE_POOL:
            step->kind = PN_STEP_POOL;
            find_addend(m, step);
            return true;
        case PN_LAYER_ADD:
            step->kind = PN_STEP_ADD;
            step->add = layer->input[1];
            return last_term(m, layer) < 0;
        case PN_LAYER_MEAN:
            step->kind = PN_STEP_LINEAR;
            step->second = i + 1;
            step->out = step->made = m->layers->layer[i + 1].output;
            step->scratch[0] = (size_t)m->layers->activation[step->x].C;
            return true;
        default:
            return false;
    }
}

/* ---- the arena ------------------------------------------------------------------------------- */

static void live(pn_buffer *b, int step) {
    if (!b->bytes || b->first > step) b->first = step;
    if (!b->bytes || b->last < step) b->last = step;
}

/* Bytes of an activation that has a place of its own. */
static size_t root_bytes(const pn_layers *l, int i, size_t number) {
    const pn_activation *a = &l->activation[i];
    return square(a->H, a->W, i == l->logits ? pn_in_panels(a->C) : a->C) * number;
}

static void reads(const maker *m, pn_buffer *buffers, int activation, int step, size_t number) {
    const int root = m->to->view[activation].root;
    live(&buffers[root], step);
    buffers[root].bytes = root_bytes(m->layers, root, number);
}

/* Lifetimes, offsets, and these into steps and views. The image is there before the first step, the
 * logits behind the last. */
static pn_status plan(const maker *m, pn_buffer *buffers, const pn_plan_room *room, size_t number) {
    pn_steps *s = m->to;
    const int roots = m->layers->activations, count = roots + 2 * s->count;
    reads(m, buffers, 0, 0, number);
    for (int i = 0; i < s->count; i++) {
        const pn_step *step = &s->step[i];
        reads(m, buffers, step->x, i + 1, number);
        reads(m, buffers, step->out, i + 1, number);
        if (step->add >= 0) reads(m, buffers, step->add, i + 1, number);
        for (int j = 0; j < 2; j++)
            buffers[roots + 2 * i + j] =
                (pn_buffer){.bytes = step->scratch[j] * number, .first = i + 1, .last = i + 1};
    }
    reads(m, buffers, m->layers->logits, s->count + 1, number);
    for (int i = 0; i < count; i++) buffers[i].in_place_of = -1;
    PN_TRY(pn_plan(buffers, count, room, &s->arena_bytes));
    for (int i = 0; i < roots; i++) s->view[i].bytes = buffers[s->view[i].root].offset;
    for (int i = 0; i < 2 * s->count; i++) s->step[i / 2].offset[i % 2] = buffers[roots + i].offset;
    return PN_OK;
}

static pn_status create(maker *m, size_t number) {
    const pn_layers *l = m->layers;
    pn_steps *s = m->to;
    count_readers(m);
    place(m);
    for (int i = 0; i < l->count; i++) s->count += make_step(m, i, &s->step[s->count]);
    const size_t count = (size_t)l->activations + 2 * (size_t)s->count;
    pn_buffer *buffers = calloc(count, sizeof *buffers);
    const pn_plan_room room = {calloc(count, 2 * sizeof *room.order),
                               calloc(count, sizeof *room.placed)};
    const pn_status status = buffers && room.order && room.placed
                                 ? plan(m, buffers, &room, number)
                                 : pn_fail(PN_EMEM, "no memory for a plan");
    free(buffers);
    free(room.order);
    free(room.placed);
    return status;
}

pn_status pn_steps_create(const pn_layers *layers, size_t number, bool whole, pn_steps *steps) {
    const size_t activations = (size_t)layers->activations;
    for (int i = 0; i < layers->count; i++)
        if (layers->layer[i].kind == PN_LAYER_BATCH_NORM)
            return pn_fail(PN_EARG, "layers with BatchNorm, want them folded");
    maker m = {layers, steps, whole, calloc(activations, sizeof(int)),
               calloc(activations, sizeof(int))};
    *steps = (pn_steps){.step = calloc((size_t)layers->count + 1, sizeof *steps->step),
                        .view = calloc(activations, sizeof *steps->view)};
    pn_status s = m.readers && m.reader && steps->step && steps->view
                      ? create(&m, number)
                      : pn_fail(PN_EMEM, "no memory for %d steps", layers->count);
    free(m.readers);
    free(m.reader);
    if (s != PN_OK) pn_steps_destroy(steps);
    return s;
}

void pn_steps_destroy(pn_steps *s) {
    free(s->step);
    free(s->view);
    *s = (pn_steps){0};
}
