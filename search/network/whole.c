/* whole.c -- see whole.h. */
#include "search/network/whole.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/rng.h"

static size_t image_floats(const pn_network_spec *s, int N) {
    return (size_t)N * (size_t)s->H * (size_t)s->W * (size_t)s->image_channels;
}

static double between(uint64_t seed, uint64_t step, uint64_t i, double low, double high) {
    return low + (high - low) * pn_uniform(seed, PN_STREAM_TEST, step, i);
}

/* Scales, shifts and running statistics as a network has them after some training. */
static void disturb_norms(pn_parameters *p, uint64_t seed) {
    for (int t = 0; t < p->count; t++) {
        if (p->list[t].rank != 1 || p->list[t].init == PN_INIT_UNIFORM) continue;
        const bool one = p->list[t].init == PN_INIT_ONE;
        for (size_t i = 0; i < p->list[t].count; i++)
            p->value[p->list[t].offset + i] =
                (float)between(seed, 100 + (uint64_t)t, i, one ? 0.5 : -0.3, one ? 1.5 : 0.3);
    }
}

static pn_status create_array(const pn_whole *w, pn_whole_array *a, size_t count) {
    void *placed;
    a->count = count;
    a->host = calloc(count, sizeof *a->host);
    if (!a->host) return pn_fail(PN_EMEM, "no memory");
    PN_TRY(w->kernels->memory->allocate(count * sizeof *a->host, &placed));
    a->placed = placed;
    return PN_OK;
}

static pn_status upload_array(const pn_whole *w, const pn_whole_array *a) {
    return a->count ? w->kernels->memory->upload(a->placed, a->host, a->count * sizeof *a->host)
                    : PN_OK;
}

static void destroy_array(const pn_whole *w, pn_whole_array *a) {
    if (w->kernels) w->kernels->memory->release(a->placed);
    free(a->host);
}

static pn_status create_factors(pn_whole *w, const pn_whole_case *c, const pn_arch *arch,
                                uint64_t seed) {
    const int nodes = w->network.space.nodes;
    const int terms = arch ? nodes * w->network.slots : pn_edges(nodes);
    PN_TRY(create_array(w, &w->factor, (size_t)c->spec.layers * (size_t)terms * (size_t)c->N));
    if (arch)
        pn_network_drop_path(&w->network, arch, c->keep, seed, 0, w->factor.host, c->N);
    else
        pn_network_drop_edges(&w->network, c->keep, seed, 0, w->factor.host, c->N);
    return PN_OK;
}

static pn_status create_mixture(pn_whole *w, const pn_whole_case *c, const pn_whole_mix *mix,
                                uint64_t seed, pn_mix *made) {
    const pn_space *space = &w->network.space;
    const size_t edges = (size_t)pn_edges(space->nodes) * (size_t)space->ops;
    PN_TRY(create_array(w, &w->dweight, (size_t)c->spec.layers * edges));
    *made = (pn_mix){.dweight = w->dweight.placed, .chosen = mix->chosen};
    if (!mix->weighted) return PN_OK;
    PN_TRY(create_array(w, &w->weight, (size_t)space->kinds * edges));
    made->weight = w->weight.placed;
    for (size_t i = 0; i < w->weight.count; i++)
        w->weight.host[i] = (float)between(seed, 3, i, 0, 0.3);
    return PN_OK;
}

static pn_status create_scale(pn_whole *w) {
    static const float scale = PN_WHOLE_SCALE;
    void *block;
    PN_TRY(w->kernels->memory->allocate(sizeof *w->scale, &block));
    w->scale = block;
    return w->kernels->memory->upload(w->scale, &scale, sizeof scale);
}

static pn_status create(pn_whole *w, const pn_whole_case *c, const pn_arch *arch,
                        const pn_whole_mix *mix, const pn_kernels *k, uint64_t seed,
                        bool recompute) {
    const pn_space space = pn_space_darts();
    const size_t pixels = image_floats(&c->spec, c->N);
    PN_TRY(pn_network_create(&w->network, &c->spec, &space, arch));
    void *found;
    PN_TRY(pn_parameters_allocate(&w->network.parameters, k->memory));
    pn_parameters_init(&w->network.parameters, seed);
    if (c->spec.evaluation) disturb_norms(&w->network.parameters, seed);
    w->heads = c->auxiliary ? 2 : 1;
    PN_TRY(k->memory->allocate(sizeof w->result, &found));
    w->found = found;
    w->image = aligned_alloc(64, (pixels * sizeof(float) + 63) / 64 * 64);
    w->labels = malloc((size_t)c->N * sizeof *w->labels);
    w->logits = calloc((size_t)w->heads * (size_t)c->N, (size_t)c->spec.classes * sizeof(float));
    if (!w->image || !w->labels || !w->logits) return pn_fail(PN_EMEM, "no memory");
    for (size_t i = 0; i < pixels; i++) w->image[i] = (float)between(seed, 1, i, -1.7, 1.7);
    for (int i = 0; i < c->N; i++)
        w->labels[i] = (int32_t)pn_random_below(seed, PN_STREAM_TEST, 2, (uint64_t)i,
                                                (uint32_t)c->spec.classes);
    const pn_batch batch = {.n = c->N, .x = w->image, .labels = w->labels};
    PN_TRY(pn_device_batch_create(&w->device_batch, k->memory, c->N, pixels / (size_t)c->N));
    PN_TRY(pn_device_batch_upload(&w->device_batch, &batch));
    if (c->keep > 0) PN_TRY(create_factors(w, c, arch, seed));
    if (k->storage == PN_STORED_FP16) PN_TRY(create_scale(w));
    pn_mix made;
    if (mix) PN_TRY(create_mixture(w, c, mix, seed, &made));
    PN_TRY(pn_program_create(&w->program, k));
    PN_TRY(pn_network_build(&w->network, arch, w->program,
                            &(pn_build){.N = c->N,
                                        .training = c->training,
                                        .recompute = recompute,
                                        .inference = c->inference,
                                        .guarded = pn_arena_checks(k->memory),
                                        .auxiliary = c->auxiliary,
                                        .auxiliary_weight = PN_AUXILIARY_WEIGHT,
                                        .drop_path = w->factor.placed,
                                        .mix = mix ? &made : NULL,
                                        .result = w->found}));
    PN_TRY(pn_program_compile(w->program, &w->size));
    PN_TRY(pn_arena_create(&w->arena, k->memory, w->size.arena_bytes, 0));
    return pn_program_bind(w->program, &w->arena, &w->network.parameters, w->device_batch.batch.x,
                           w->device_batch.batch.labels, w->scale);
}

static pn_status create_whole(pn_whole *w, const pn_whole_case *c, const pn_arch *arch,
                              const pn_whole_mix *mix, const pn_kernels *k, uint64_t seed,
                              bool recompute) {
    *w = (pn_whole){.kernels = k};
    pn_status s = create(w, c, arch, mix, k, seed, recompute);
    if (s != PN_OK) pn_whole_destroy(w);
    return s;
}

pn_status pn_whole_create(pn_whole *w, const pn_whole_case *c, const pn_arch *arch,
                          const pn_kernels *k, uint64_t seed) {
    return create_whole(w, c, arch, NULL, k, seed, false);
}

pn_status pn_whole_create_mixed(pn_whole *w, const pn_whole_case *c, const pn_whole_mix *mix,
                                const pn_kernels *k, uint64_t seed) {
    return create_whole(w, c, NULL, mix, k, seed, false);
}

pn_status pn_whole_create_recomputing(pn_whole *w, const pn_whole_case *c, const pn_arch *arch,
                                      const pn_kernels *k, uint64_t seed) {
    return create_whole(w, c, arch, NULL, k, seed, true);
}

void pn_whole_destroy(pn_whole *w) {
    pn_program_destroy(w->program);
    pn_device_batch_destroy(&w->device_batch);
    if (w->kernels) w->kernels->memory->release(w->found);
    if (w->kernels) w->kernels->memory->release(w->scale);
    destroy_array(w, &w->factor);
    destroy_array(w, &w->weight);
    destroy_array(w, &w->dweight);
    pn_arena_destroy(&w->arena);
    pn_network_destroy(&w->network);
    free(w->image);
    free(w->labels);
    free(w->logits);
    free(w->doubles);
    *w = (pn_whole){0};
}

/* Of one head. */
static size_t logit_count(const pn_whole *w) {
    return (size_t)pn_program_batch(w->program) * (size_t)w->network.spec.classes;
}

static pn_status upload_arrays(const pn_whole *w) {
    PN_TRY(upload_array(w, &w->factor));
    PN_TRY(upload_array(w, &w->weight));
    return upload_array(w, &w->dweight);
}

static void unscale(pn_whole *w) {
    const pn_parameters *p = &w->network.parameters;
    for (size_t i = 0; i < p->floats; i++) p->gradient[i] /= PN_WHOLE_SCALE;
    for (size_t i = 0; i < w->dweight.count; i++) w->dweight.host[i] /= PN_WHOLE_SCALE;
}

pn_status pn_whole_run(pn_whole *w) {
    const pn_memory *memory = w->kernels->memory;
    const pn_batch batch = {.n = pn_program_batch(w->program), .x = w->image, .labels = w->labels};
    PN_TRY(pn_parameters_push(&w->network.parameters)); /* and what the caller changed since */
    PN_TRY(pn_device_batch_upload(&w->device_batch, &batch));
    PN_TRY(upload_arrays(w));
    PN_TRY(pn_program_forward(w->program));
    for (int head = 0; head < w->heads; head++)
        PN_TRY(memory->download(w->logits + (size_t)head * logit_count(w),
                                pn_program_logits(w->program, head),
                                logit_count(w) * sizeof *w->logits));
    PN_TRY(memory->download(w->result, w->found, sizeof w->result));
    if (pn_program_trains(w->program)) PN_TRY(pn_program_backward(w->program));
    if (w->dweight.count)
        PN_TRY(memory->download(w->dweight.host, w->dweight.placed,
                                w->dweight.count * sizeof *w->dweight.host));
    PN_TRY(pn_parameters_pull(&w->network.parameters));
    if (w->scale) unscale(w);
    return PN_OK;
}

pn_status pn_whole_reference_run(pn_whole *w, bool backward) {
    (void)pn_reference_kernels(&w->twins);
    PN_TRY(pn_program_forward(w->program));
    if (backward) PN_TRY(pn_program_backward(w->program));
    memcpy(w->result, w->found, sizeof w->result);
    return PN_OK;
}

static pn_status run_reference(pn_whole *w, const pn_whole_case *c, const pn_arch *arch,
                               const pn_whole_mix *mix, uint64_t seed) {
    PN_TRY(create_whole(w, c, arch, mix, pn_reference_kernels(NULL), seed, false));
    const pn_parameters *p = &w->network.parameters;
    w->twin[0] = (pn_twin){p->block, p->block_bytes / sizeof(float), NULL};
    w->twin[1] = (pn_twin){w->image, image_floats(&c->spec, c->N), NULL};
    w->twin[2] = (pn_twin){(const float *)(const void *)w->arena.base,
                           w->arena.committed / sizeof(float), NULL};
    w->twin[3] = (pn_twin){w->factor.placed, w->factor.count, NULL};
    w->twin[4] = (pn_twin){w->weight.placed, w->weight.count, NULL};
    w->twin[5] = (pn_twin){w->dweight.placed, w->dweight.count, NULL};
    enum { TWINS = sizeof w->twin / sizeof *w->twin };
    size_t count = 0;
    for (int i = 0; i < TWINS; i++) count += w->twin[i].count;
    w->twins = (pn_twins){w->twin, TWINS};
    w->doubles = calloc(count, sizeof *w->doubles);
    if (!w->doubles) {
        pn_whole_destroy(w);
        return pn_fail(PN_EMEM, "no memory");
    }
    pn_status s = upload_arrays(w);
    double *at = w->doubles;
    for (int i = 0; i < TWINS; i++) {
        w->twin[i].d = at;
        for (size_t j = 0; i != 2 && j < w->twin[i].count; j++) at[j] = w->twin[i].f[j];
        at += w->twin[i].count;
    }
    if (s == PN_OK) s = pn_whole_reference_run(w, c->training);
    if (s != PN_OK) pn_whole_destroy(w);
    return s;
}

pn_status pn_whole_reference(pn_whole *w, const pn_whole_case *c, const pn_arch *arch,
                             uint64_t seed) {
    return run_reference(w, c, arch, NULL, seed);
}

pn_status pn_whole_reference_mixed(pn_whole *w, const pn_whole_case *c, const pn_whole_mix *mix,
                                   uint64_t seed) {
    return run_reference(w, c, NULL, mix, seed);
}

/* |got - wanted| / |wanted|; 0 of nothing. */
static double mixture_distance(const pn_whole *w, const pn_whole *reference) {
    const double *wanted = pn_at(&reference->twins, reference->dweight.placed);
    double off = 0, size = 0;
    for (size_t i = 0; i < w->dweight.count; i++) {
        const double d = w->dweight.host[i] - wanted[i];
        off += d * d;
        size += wanted[i] * wanted[i];
    }
    return sqrt(off) / (sqrt(size) + 1e-30);
}

pn_whole_distance pn_whole_compare(const pn_whole *w, const pn_whole *reference) {
    pn_whole_distance d = {0};
    for (int head = 0; head < w->heads; head++) {
        const float *got = w->logits + (size_t)head * logit_count(w);
        const double *logits =
            pn_at(&reference->twins, pn_program_logits(reference->program, head));
        for (size_t i = 0; i < logit_count(w); i++)
            d.logit = fmax(d.logit, fabs(got[i] - logits[i]));
        d.loss = fmax(d.loss, fabs(w->result[head].loss - reference->result[head].loss));
    }
    const pn_parameters *p = &w->network.parameters;
    const double *wanted = pn_at(&reference->twins, reference->network.parameters.gradient);
    const double floor = pn_whole_floor(w->kernels);
    double total = 0;
    for (size_t i = 0; i < p->floats; i++) total += wanted[i] * wanted[i];
    for (int t = 0; t < p->count; t++) {
        double got = 0, want = 0;
        for (size_t i = p->list[t].offset; i < p->list[t].offset + p->list[t].count; i++) {
            got += (double)p->gradient[i] * p->gradient[i];
            want += wanted[i] * wanted[i];
        }
        /* Below BatchNorm over very few pixels a gradient can be a difference of equal numbers: 0
         * in truth, some roundings (6e-8 each; of tf32 5e-4, of bf16 4e-3) of the whole one. */
        const double relative =
            fabs(sqrt(got) - sqrt(want)) / (sqrt(want) + floor * sqrt(total) + 1e-30);
        if (!(relative <= d.gradient)) d.gradient = relative; /* NaN stays */
    }
    d.mixture = mixture_distance(w, reference);
    return d;
}

pn_whole_distance pn_whole_bounds(const pn_kernels *k) {
    static const pn_whole_distance of_float32 = {PN_LOGIT_BOUND, PN_LOSS_BOUND, PN_GRADIENT_BOUND,
                                                 PN_MIXTURE_BOUND},
                                   of_tf32 = {PN_LOGIT_BOUND_TF32, PN_LOSS_BOUND_TF32,
                                              PN_GRADIENT_BOUND_TF32, PN_MIXTURE_BOUND_TF32},
                                   of_bf16 = {PN_LOGIT_BOUND_BF16, PN_LOSS_BOUND_BF16,
                                              PN_GRADIENT_BOUND_BF16, PN_MIXTURE_BOUND_BF16},
                                   of_fp16 = {PN_LOGIT_BOUND_FP16, PN_LOSS_BOUND_FP16,
                                              PN_GRADIENT_BOUND_FP16, PN_MIXTURE_BOUND_FP16};
    if (k->storage == PN_STORED_BF16) return of_bf16;
    if (k->storage == PN_STORED_FP16) return of_fp16;
    return k->products == PN_PRODUCTS_TF32 ? of_tf32 : of_float32;
}

double pn_whole_floor(const pn_kernels *k) {
    if (k->storage == PN_STORED_BF16) return 1;
    if (k->storage == PN_STORED_FP16) return .5;
    return k->products == PN_PRODUCTS_TF32 ? .36 : 1e-4;
}

bool pn_whole_within(pn_whole_distance d, const pn_kernels *k) {
    const pn_whole_distance most = pn_whole_bounds(k);
    return d.logit <= most.logit && d.loss <= most.loss && d.gradient <= most.gradient &&
           d.mixture <= most.mixture;
}

bool pn_whole_same(const pn_whole *a, const pn_whole *b) {
    bool same =
        !memcmp(a->network.parameters.block, b->network.parameters.block,
                a->network.parameters.block_bytes) &&
        !memcmp(a->logits, b->logits, (size_t)a->heads * logit_count(a) * sizeof *a->logits);
    for (size_t i = 0; same && i < a->dweight.count; i++)
        same = a->dweight.host[i] == b->dweight.host[i];
    for (int head = 0; same && head < a->heads; head++) {
        const pn_result *x = &a->result[head], *y = &b->result[head];
        same = x->log_likelihood == y->log_likelihood && x->loss == y->loss &&
               x->correct == y->correct;
    }
    return same;
}
