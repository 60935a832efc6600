/* predict.c -- see predict.h. */
#include "search/network/predict.h"

#include <math.h>
#include <stdlib.h>

#include "runtime/device_batch.h"

typedef struct predictor {
    const pn_kernels *kernels;
    pn_network *network;
    const pn_arch *arch;
    pn_program *program;
    pn_arena *arena;
    pn_batches *batches;
    pn_device_batch batch;
    pn_result *found; /* in memory of the device */
    int n;            /* images a batch that the program is for */
} predictor;

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
static pn_status run(predictor *p, const pn_batch *batch, float *logits) {
    const pn_memory *memory = p->kernels->memory;
    pn_program_size size;
    PN_TRY(pn_device_batch_upload(&p->batch, batch));
    if (batch->n != p->n) {
        PN_TRY(build(p->network, p->arch, p->program, memory, batch->n, p->found, &size));
        p->n = batch->n;
    }
    PN_TRY(pn_program_bind(p->program, p->arena, &p->network->parameters, p->batch.batch.x,
                           p->batch.batch.labels, NULL));
    PN_TRY(pn_program_forward(p->program));
    return memory->download(logits, pn_program_logits(p->program, 0),
                            (size_t)batch->n * (size_t)p->network->spec.classes * sizeof *logits);
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

static pn_status predict_all(predictor *p, int N, const pn_data *data, pn_half half, uint64_t seed,
                             pn_predictions *out) {
    const pn_batch_stream stream = {.half = half, .N = N, .in_order = true};
    const size_t image = (size_t)data->H * (size_t)data->W * (size_t)data->C;
    void *found;
    PN_TRY(pn_batches_create(data, &stream, 1, seed, &p->batches));
    PN_TRY(pn_device_batch_create(&p->batch, p->kernels->memory, N, image));
    PN_TRY(p->kernels->memory->allocate(sizeof *p->found, &found));
    p->found = found;
    const size_t images = (size_t)pn_batches_images(p->batches, 0), classes = (size_t)data->classes;
    *out = (pn_predictions){.images = (int)images,
                            .classes = data->classes,
                            .confusion = calloc(classes * classes, sizeof *out->confusion),
                            .logits = calloc(images * classes, sizeof *out->logits)};
    if (!out->confusion || !out->logits)
        return pn_fail(PN_EMEM, "no memory for the logits of %zu images", images);
    float *logits = out->logits;
    for (int64_t step = 0; step < pn_batches_steps_per_epoch(p->batches, 0); step++) {
        pn_batch batch;
        PN_TRY(pn_batches_take(p->batches, 0, step, &batch));
        PN_TRY(run(p, &batch, logits));
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
                     pn_program *program, pn_arena *arena, int N, const pn_data *data, pn_half half,
                     uint64_t seed, pn_predictions *out) {
    const pn_network_spec *n = &network->spec;
    *out = (pn_predictions){0};
    if (n->classes != data->classes)
        return pn_fail(PN_EARG, "the network tells %d classes apart, %s has %d", n->classes,
                       data->name, data->classes);
    if (n->H != data->H || n->W != data->W || n->image_channels != data->C)
        return pn_fail(PN_EARG, "the network is for images of %dx%dx%d, those of %s are %dx%dx%d",
                       n->H, n->W, n->image_channels, data->name, data->H, data->W, data->C);
    predictor p = {
        .kernels = kernels, .network = network, .arch = arch, .program = program, .arena = arena};
    const int images = half == PN_HALF_BOTH ? data->count : data->count / 2;
    pn_status s = predict_all(&p, N < images ? N : images, data, half, seed, out);
    pn_batches_free(p.batches);
    pn_device_batch_destroy(&p.batch);
    kernels->memory->release(p.found);
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
