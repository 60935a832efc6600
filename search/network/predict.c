/* predict.c -- see predict.h. */
#include "search/network/predict.h"

#include <math.h>
#include <stdlib.h>

#include "search/network/predictor.h"

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

static pn_status predict_all(pn_predictor *p, pn_batches *batches, pn_predictions *out) {
    const size_t images = (size_t)pn_batches_images(batches, 0),
                 classes = (size_t)p->network->spec.classes;
    *out = (pn_predictions){.images = (int)images,
                            .classes = (int)classes,
                            .confusion = calloc(classes * classes, sizeof *out->confusion),
                            .logits = calloc(images * classes, sizeof *out->logits)};
    if (!out->confusion || !out->logits)
        return pn_fail(PN_EMEM, "no memory for the logits of %zu images", images);
    float *logits = out->logits;
    for (int64_t step = 0; step < pn_batches_steps_per_epoch(batches, 0); step++) {
        pn_batch batch;
        PN_TRY(pn_batches_take(batches, 0, step, &batch));
        PN_TRY(pn_predictor_run(p, &batch, logits));
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
    const int images = half == PN_HALF_BOTH ? data->count : data->count / 2;
    const pn_batch_stream stream = {.half = half, .N = N < images ? N : images, .in_order = true};
    pn_batches *batches = NULL;
    pn_predictor p = {0};
    pn_status s = pn_batches_create(data, &stream, 1, seed, &batches);
    if (s == PN_OK) s = pn_predictor_create(&p, kernels, network, arch, program, arena, stream.N);
    if (s == PN_OK) s = predict_all(&p, batches, out);
    pn_batches_free(batches);
    pn_predictor_destroy(&p);
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
