/* classifier.c -- see classifier.h. */
#include "search/network/classifier.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening --------------------------------------------------------------------------------- */

/* What the file does not say of its images, from a set like those it was trained on. */
static pn_status complete_images(pn_images *images, const pn_data *data) {
    if (!data || images->measured) return PN_OK;
    if (data->alone)
        return pn_fail(PN_EINPUT,
                       "%s: no training images, which say mean and deviation where the weights do "
                       "not",
                       data->name);
    if (images->classes) PN_TRY(pn_images_same(images, data));
    pn_images_free(images);
    return pn_images_of(data, images);
}

/* Which network: what the file says of itself, or what is asked for. */
static pn_status describe(pn_classifier *c, const pn_safetensors *f,
                          const pn_classifier_asked *asked, pn_network_spec *spec) {
    pn_weights_about about;
    PN_TRY(pn_weights_describe(f, &about));
    c->images = about.images; /* taken over */
    if (!about.known && (!asked->genotype || !asked->layers || !asked->channels || !asked->data))
        return pn_fail(PN_EARG,
                       "does not say what network it is of; want --genotype, --layers and "
                       "--channels, and --data, a set like that it was trained on");
    PN_TRY(complete_images(&c->images, asked->data));
    if (asked->genotype)
        PN_TRY(pn_genotype_open(asked->genotype, &c->arch));
    else
        PN_TRY(pn_genotype_read(about.genotype, strlen(about.genotype), &c->arch));
    const pn_images *m = &c->images;
    *spec = about.known ? about.spec
                        : (pn_network_spec){
                              .H = m->H, .W = m->W, .image_channels = m->C, .classes = m->classes};
    spec->evaluation = true;
    spec->auxiliary = false;
    if (asked->layers) spec->layers = asked->layers;
    if (asked->channels) spec->channels = asked->channels;
    if (asked->stem) spec->imagenet_stem = !strcmp(asked->stem, "imagenet");
    if (!about.known) spec->pool_norm = pn_weights_pool_norm(f, &c->arch, spec->layers);
    return PN_OK;
}

static pn_status load(pn_classifier *c, const pn_safetensors *f, const pn_classifier_asked *asked) {
    const pn_space space = pn_space_darts();
    pn_network_spec spec;
    PN_TRY(describe(c, f, asked, &spec));
    PN_TRY(pn_network_create(&c->network, &spec, &space, &c->arch));
    PN_TRY(pn_weights_backed(f, &c->network));
    PN_TRY(pn_parameters_allocate(&c->network.parameters, c->kernels->memory));
    return pn_weights_load(f, &c->network);
}

pn_status pn_classifier_open(pn_classifier *c, const pn_kernels *kernels, const char *path,
                             const pn_classifier_asked *asked, int N) {
    static const pn_classifier_asked nothing;
    pn_safetensors *f = NULL;
    size_t bytes;
    *c = (pn_classifier){.kernels = kernels, .N = N};
    PN_TRY(pn_safetensors_read(path, &f));
    const pn_status s = load(c, f, asked ? asked : &nothing);
    pn_safetensors_free(f);
    if (s != PN_OK) return pn_fail_in(s, "%s", path);
    PN_TRY(pn_parameters_push(&c->network.parameters));
    PN_TRY(pn_program_create(&c->program, kernels));
    PN_TRY(pn_predict_bytes(&c->network, &c->arch, c->program, kernels->memory, N, &bytes));
    return pn_arena_create(&c->arena, kernels->memory, bytes, 0);
}

void pn_classifier_close(pn_classifier *c) {
    pn_inference_close(&c->inference);
    pn_program_destroy(c->program);
    pn_arena_destroy(&c->arena);
    pn_network_destroy(&c->network);
    pn_images_free(&c->images);
    free(c->x);
    free(c->labels);
    *c = (pn_classifier){0};
}

/* ---- running --------------------------------------------------------------------------------- */

static size_t floats(const pn_classifier *c, int n) {
    return (size_t)n * (size_t)c->images.H * (size_t)c->images.W * (size_t)c->images.C;
}

/* What a batch is made in. Labels are zero: nobody asks for the loss. */
static pn_status prepare(pn_classifier *c) {
    if (c->x) return PN_OK;
    const size_t bytes = (floats(c, c->N) * sizeof *c->x + 63) / 64 * 64;
    c->inference = (pn_inference){.kernels = c->kernels,
                                  .network = &c->network,
                                  .arch = &c->arch,
                                  .program = c->program,
                                  .arena = &c->arena};
    pn_status s = pn_inference_open(&c->inference, c->N);
    if (s == PN_OK) {
        c->x = aligned_alloc(64, bytes);
        c->labels = calloc((size_t)c->N, sizeof *c->labels);
        if (!c->x || !c->labels) s = pn_fail(PN_EMEM, "no memory for a batch of %d images", c->N);
    }
    if (s == PN_OK) {
        if (c->images.measured) pn_normalise(c->images.C, c->images.mean, c->images.std, c->value);
        return PN_OK;
    }
    pn_inference_close(&c->inference);
    free(c->x);
    free(c->labels);
    c->x = NULL;
    c->labels = NULL;
    return s;
}

/* The batch at hand, of n images. */
static pn_status run(pn_classifier *c, int n, float *logits) {
    const size_t count = (size_t)n * (size_t)c->images.classes;
    PN_TRY(pn_inference_run(&c->inference, &(pn_batch){.n = n, .x = c->x, .labels = c->labels},
                            logits));
    for (size_t i = 0; i < count; i++)
        if (!isfinite(logits[i]))
            return pn_fail(PN_EDIVERGED,
                           "a logit is not finite: these weights are no network any more");
    return PN_OK;
}

static int batch_of(const pn_classifier *c, int left) { return left < c->N ? left : c->N; }

pn_status pn_classify(pn_classifier *c, const float *x, int n, float *logits) {
    PN_TRY(prepare(c));
    for (int i = 0; i < n; i += c->N) {
        const int some = batch_of(c, n - i);
        memcpy(c->x, x + floats(c, i), floats(c, some) * sizeof *x);
        PN_TRY(run(c, some, logits + (size_t)i * (size_t)c->images.classes));
    }
    return PN_OK;
}

pn_status pn_classify_bytes(pn_classifier *c, const uint8_t *x, int n, float *logits) {
    const int C = c->images.C;
    if (!c->images.measured)
        return pn_fail(PN_EARG,
                       "the weights do not say mean and deviation of the images they were trained "
                       "on; want --data, a set like those");
    PN_TRY(prepare(c));
    for (int i = 0; i < n; i += c->N) {
        const int some = batch_of(c, n - i);
        const uint8_t *from = x + floats(c, i);
        for (size_t j = 0; j < floats(c, some); j++) c->x[j] = c->value[j % (size_t)C][from[j]];
        PN_TRY(run(c, some, logits + (size_t)i * (size_t)c->images.classes));
    }
    return PN_OK;
}

void pn_probabilities(const float *logits, int classes, double *probability) {
    double largest = (double)logits[0], sum = 0;
    for (int k = 1; k < classes; k++) largest = fmax(largest, (double)logits[k]);
    for (int k = 0; k < classes; k++) sum += probability[k] = exp((double)logits[k] - largest);
    for (int k = 0; k < classes; k++) probability[k] /= sum;
}
