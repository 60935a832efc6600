/* predict.c -- see predict.h. */
#include "search/network/predict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/group.h"

static pn_status build(const pn_network *network, const pn_arch *arch, pn_program *program,
                       const pn_memory *memory, int N, pn_result *found, pn_program_size *size) {
    PN_TRY(pn_network_build(
        network, arch, program,
        &(pn_build){
            .N = N, .inference = true, .guarded = pn_arena_checks(memory), .result = found}));
    return pn_program_compile(program, size);
}

pn_status pn_predict_bytes(const pn_network *network, const pn_arch *arch, pn_program *program,
                           const pn_memory *memory, int N, size_t *bytes) {
    pn_program_size size;
    PN_TRY(build(network, arch, program, memory, N, NULL, &size));
    *bytes = size.arena_bytes;
    return PN_OK;
}

pn_status pn_inference_open(pn_inference *p, int N) {
    const pn_network_spec *n = &p->network->spec;
    void *found;
    p->n = 0;
    p->found = NULL;
    p->batch = (pn_device_batch){0};
    PN_TRY(pn_device_batch_create(&p->batch, p->kernels->memory, N,
                                  (size_t)n->H * (size_t)n->W * (size_t)n->image_channels));
    PN_TRY(p->kernels->memory->allocate(sizeof *p->found, &found));
    p->found = found;
    return PN_OK;
}

void pn_inference_close(pn_inference *p) {
    if (!p->kernels) return;
    pn_device_batch_destroy(&p->batch);
    p->kernels->memory->release(p->found);
    *p = (pn_inference){0};
}

pn_status pn_inference_run(pn_inference *p, const pn_batch *batch, float *logits) {
    const pn_memory *memory = p->kernels->memory;
    pn_program_size size;
    PN_TRY(pn_device_batch_upload(&p->batch, batch));
    if (batch->n != p->n) {
        p->n = 0; /* should it fail */
        PN_TRY(build(p->network, p->arch, p->program, memory, batch->n, p->found, &size));
        p->n = batch->n;
    }
    PN_TRY(pn_program_bind(p->program, p->arena, &p->network->parameters, p->batch.batch.x,
                           p->batch.batch.labels, NULL));
    PN_TRY(pn_program_forward(p->program));
    return memory->download(logits, pn_program_logits(p->program, 0),
                            (size_t)batch->n * (size_t)p->network->spec.classes * sizeof *logits);
}

double pn_cross_entropy(const float *logits, int classes, int label, int *best) {
    double sum = 0;
    int most = 0;
    for (int k = 1; k < classes; k++)
        if (logits[k] > logits[most]) most = k;
    for (int k = 0; k < classes; k++) sum += exp((double)logits[k] - (double)logits[most]);
    *best = most;
    return log(sum) + (double)logits[most] - (double)logits[label];
}

static void take_image(pn_predictions *out, const float *logits, int label) {
    int best;
    out->loss += pn_cross_entropy(logits, out->classes, label, &best);
    out->correct += best == label;
    out->confusion[(size_t)label * (size_t)out->classes + (size_t)best]++;
}

static bool are_finite(const float *logits, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(logits[i])) return false;
    return true;
}

/* So many numbers of 32 bits, or one more, as pn_group_join wants it. */
static size_t even(size_t count) { return count + count % 2; }

/* Logits and labels of the batches that are ours; zeros of others'. */
static pn_status run_ours(pn_inference *p, pn_batches *batches, int N, pn_group *group,
                          float *logits, int32_t *labels) {
    const size_t classes = (size_t)p->network->spec.classes;
    const int64_t steps = pn_batches_steps_per_epoch(batches, 0);
    for (int64_t step = pn_group_rank(group); step < steps; step += pn_group_size(group)) {
        const size_t first = (size_t)step * (size_t)N;
        pn_batch batch;
        PN_TRY(pn_batches_take(batches, 0, step, &batch));
        PN_TRY(pn_inference_run(p, &batch, logits + first * classes));
        memcpy(labels + first, batch.labels, (size_t)batch.n * sizeof *labels);
    }
    return PN_OK;
}

static pn_status run_all(pn_inference *p, pn_batches *batches, int N, pn_group *group,
                         float *logits, int32_t *labels) {
    const size_t images = (size_t)pn_batches_images(batches, 0),
                 all = images * (size_t)p->network->spec.classes;
    PN_TRY(run_ours(p, batches, N, group, logits, labels));
    PN_TRY(pn_group_join(group, logits, even(all) * sizeof *logits));
    return pn_group_join(group, labels, even(images) * sizeof *labels);
}

static pn_status judge(pn_predictions *out, const int32_t *labels) {
    const size_t images = (size_t)out->images, classes = (size_t)out->classes;
    int broken = 0;
    for (size_t i = 0; i < images; i++) {
        take_image(out, out->logits + i * classes, labels[i]);
        broken += !are_finite(out->logits + i * classes, out->classes);
    }
    out->loss /= (double)images;
    if (broken || !isfinite(out->loss))
        return pn_fail(
            PN_EDIVERGED,
            "the logits of %d of %zu images are not finite: these weights are no network any more",
            broken, images);
    return PN_OK;
}

static pn_status predict_all(pn_inference *p, pn_batches *batches, const pn_data *data, int N,
                             pn_group *group, pn_predictions *out) {
    const size_t images = (size_t)pn_batches_images(batches, 0), classes = (size_t)data->classes;
    int32_t *labels = calloc(even(images), sizeof *labels);
    *out = (pn_predictions){.images = (int)images,
                            .classes = data->classes,
                            .confusion = calloc(classes * classes, sizeof *out->confusion),
                            .logits = calloc(even(images * classes), sizeof *out->logits)};
    pn_status s = out->confusion && out->logits && labels
                      ? PN_OK
                      : pn_fail(PN_EMEM, "no memory for the logits of %zu images", images);
    if (s == PN_OK) s = run_all(p, batches, N, group, out->logits, labels);
    if (s == PN_OK) s = judge(out, labels);
    free(labels);
    return s;
}

pn_status pn_predict(const pn_kernels *kernels, pn_network *network, const pn_arch *arch,
                     pn_program *program, pn_arena *arena, int N, const pn_data *data, pn_half half,
                     uint64_t seed, pn_group *group, pn_predictions *out) {
    const pn_network_spec *n = &network->spec;
    *out = (pn_predictions){0};
    if (n->classes != data->classes)
        return pn_fail(PN_EARG, "the network tells %d classes apart, %s has %d", n->classes,
                       data->name, data->classes);
    if (n->H != data->H || n->W != data->W || n->image_channels != data->C)
        return pn_fail(PN_EARG, "the network is for images of %dx%dx%d, those of %s are %dx%dx%d",
                       n->H, n->W, n->image_channels, data->name, data->H, data->W, data->C);
    const int images = half == PN_HALF_BOTH ? data->count : data->count / 2;
    const pn_batch_stream stream = {.half = half, .N = N < images ? N : images, .in_order = true};
    pn_inference p = {
        .kernels = kernels, .network = network, .arch = arch, .program = program, .arena = arena};
    pn_batches *batches = NULL;
    pn_status s = pn_batches_create(data, &stream, 1, seed, &batches);
    if (s == PN_OK) s = pn_inference_open(&p, stream.N);
    if (s == PN_OK) s = predict_all(&p, batches, data, stream.N, group, out);
    pn_batches_free(batches);
    pn_inference_close(&p);
    if (s != PN_OK) pn_predictions_free(out);
    return s;
}

void pn_predictions_free(pn_predictions *p) {
    free(p->confusion);
    free(p->logits);
    *p = (pn_predictions){0};
}

double pn_predictions_accuracy(const pn_predictions *p) {
    return (double)p->correct / (double)p->images;
}
