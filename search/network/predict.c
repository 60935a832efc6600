/* predict.c -- see predict.h. */
#include "search/network/predict.h"

#include <math.h>
#include <stdlib.h>

#include "runtime/device_batch.h"

typedef struct judge {
    const pn_kernels *kernels;
    pn_network *network;
    const pn_arch *arch;
    pn_program *program;
    pn_arena *arena;
    pn_batches *batches;
    pn_device_batch feed;
    pn_result *found; /* in memory of the device */
    int n;            /* images a batch that the program is for */
} judge;

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

/* Logits of one batch. */
static pn_status run(judge *j, const pn_batch *batch, float *logits) {
    const pn_memory *memory = j->kernels->memory;
    pn_program_size size;
    PN_TRY(pn_device_batch_upload(&j->feed, batch));
    if (batch->n != j->n) {
        PN_TRY(build(j->network, j->arch, j->program, memory, batch->n, j->found, &size));
        j->n = batch->n;
    }
    PN_TRY(pn_program_bind(j->program, j->arena, &j->network->parameters, j->feed.batch.x,
                           j->feed.batch.labels, NULL));
    PN_TRY(pn_program_forward(j->program));
    return memory->download(logits, pn_program_logits(j->program, 0),
                            (size_t)batch->n * (size_t)j->network->spec.classes * sizeof *logits);
}

static void take_image(pn_predictions *out, const float *logits, int label) {
    double sum = 0;
    int best = 0;
    for (int k = 1; k < out->classes; k++)
        if (logits[k] > logits[best]) best = k;
    for (int k = 0; k < out->classes; k++) sum += exp((double)logits[k] - (double)logits[best]);
    out->loss += log(sum) + (double)logits[best] - (double)logits[label];
    out->correct += best == label;
    out->confusion[(size_t)label * (size_t)out->classes + (size_t)best]++;
}

static bool are_finite(const float *logits, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(logits[i])) return false;
    return true;
}

static pn_status judge_all(judge *j, int N, const pn_data *data, pn_half part,
                           pn_predictions *out) {
    const pn_batch_stream stream = {.part = part, .N = N, .in_order = true};
    const size_t image = (size_t)data->H * (size_t)data->W * (size_t)data->C;
    void *found;
    PN_TRY(pn_batches_create(data, &stream, 1, 0, &j->batches));
    PN_TRY(pn_device_batch_create(&j->feed, j->kernels->memory, N, image));
    PN_TRY(j->kernels->memory->allocate(sizeof *j->found, &found));
    j->found = found;
    const size_t images = (size_t)pn_batches_images(j->batches, 0), classes = (size_t)data->classes;
    *out = (pn_predictions){.images = (int)images,
                            .classes = data->classes,
                            .confusion = calloc(classes * classes, sizeof *out->confusion),
                            .logits = calloc(images * classes, sizeof *out->logits)};
    if (!out->confusion || !out->logits)
        return pn_fail(PN_EMEM, "no memory for the logits of %zu images", images);
    float *logits = out->logits;
    for (int64_t step = 0; step < pn_batches_steps_per_epoch(j->batches, 0); step++) {
        pn_batch batch;
        PN_TRY(pn_batches_take(j->batches, 0, step, &batch));
        PN_TRY(run(j, &batch, logits));
        for (int i = 0; i < batch.n; i++, logits += classes)
            take_image(out, logits, batch.labels[i]);
    }
    out->loss /= (double)images;
    int broken = 0;
    for (size_t i = 0; i < images; i++) broken += !are_finite(out->logits + i * classes, classes);
    if (broken || !isfinite(out->loss))
        return pn_fail(
            PN_EDIVERGED,
            "the logits of %d of %zu images are not finite: these weights are no network any more",
            broken, images);
    return PN_OK;
}

pn_status pn_predict(const pn_kernels *kernels, pn_network *network, const pn_arch *arch,
                     pn_program *program, pn_arena *arena, int N, const pn_data *data, pn_half part,
                     pn_predictions *out) {
    const pn_network_spec *n = &network->spec;
    *out = (pn_predictions){0};
    if (n->classes != data->classes)
        return pn_fail(PN_EARG, "the network tells %d classes apart, %s has %d", n->classes,
                       data->name, data->classes);
    if (n->H != data->H || n->W != data->W || n->image_channels != data->C)
        return pn_fail(PN_EARG, "the network is for images of %dx%dx%d, those of %s are %dx%dx%d",
                       n->H, n->W, n->image_channels, data->name, data->H, data->W, data->C);
    judge j = {
        .kernels = kernels, .network = network, .arch = arch, .program = program, .arena = arena};
    const int images = part == PN_HALF_BOTH ? data->count : data->count / 2;
    pn_status s = judge_all(&j, N < images ? N : images, data, part, out);
    pn_batches_free(j.batches);
    pn_device_batch_destroy(&j.feed);
    kernels->memory->release(j.found);
    if (s != PN_OK) pn_predictions_free(out);
    return s;
}

void pn_predictions_free(pn_predictions *j) {
    free(j->confusion);
    free(j->logits);
    *j = (pn_predictions){0};
}

double pn_predictions_accuracy(const pn_predictions *j) {
    return (double)j->correct / (double)j->images;
}
