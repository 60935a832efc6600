/* classifier.c -- trained weights: see parsec_nas.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/predicting.h"
#include "kernels/backend.h"
#include "runtime/text.h"
#include "search/network/weights.h"

enum { BATCH = 64 }; /* as `eval` */

struct parsec_nas_classifier {
    pn_api_turn turn;
    pn_arch arch;
    pn_network network;
    pn_images images;
    pn_program *program;
    pn_arena arena;
    pn_predictor predictor;
    pn_api_batch batch;
};

/* ---- predicting, also with a trainer's network ----------------------------------------------- */

pn_status pn_api_predict(pn_predictor *predictor, pn_api_batch *batch, const pn_api_given *given,
                         float *logits) {
    const size_t classes = (size_t)batch->classes;
    const int64_t n = given->n;
    for (int64_t first = 0; first < n; first += batch->N) {
        const int size = n - first < batch->N ? (int)(n - first) : batch->N;
        const pn_batch at_hand = pn_api_batch_take(batch, given, first, size);
        PN_TRY(pn_predictor_run(predictor, &at_hand, logits + (size_t)first * classes));
    }
    return PN_OK;
}

pn_status pn_api_predict_into(pn_predictor *predictor, pn_api_batch *batch,
                              const pn_api_given *given, float *logits, int64_t room) {
    const size_t classes = (size_t)batch->classes;
    PN_TRY(pn_api_batch_check(batch, given, false));
    if (given->n > room / batch->classes)
        return pn_fail(PN_EARG, "room for %lld logits, want %lld images times %d classes",
                       (long long)room, (long long)given->n, batch->classes);
    if (given->n) PN_TRY(pn_api_wanted(logits, "logits"));
    PN_TRY(pn_api_predict(predictor, batch, given, logits));
    for (size_t i = 0; i < (size_t)given->n * classes; i++)
        if (!isfinite(logits[i]))
            return pn_fail(PN_EDIVERGED,
                           "the logits of image %zu are not finite: these weights are no network "
                           "any more",
                           i / classes);
    return PN_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

static pn_status load(parsec_nas_classifier *c, const pn_safetensors *file) {
    const pn_space space = pn_space_darts();
    pn_weights_about about;
    PN_TRY(pn_weights_describe(file, &about));
    c->images = about.images; /* to be freed with the handle */
    if (!about.known)
        return pn_fail(PN_EINPUT,
                       "does not say what network it is of; want a file of train or "
                       "export");
    PN_TRY(pn_genotype_read(about.genotype, strlen(about.genotype), &c->arch));
    about.spec.auxiliary = false;
    PN_TRY(pn_network_create(&c->network, &about.spec, &space, &c->arch));
    PN_TRY(pn_weights_backed(file, &c->network));
    PN_TRY(pn_parameters_allocate(&c->network.parameters, c->turn.kernels->memory));
    PN_TRY(pn_weights_load(file, &c->network));
    return pn_parameters_push(&c->network.parameters);
}

static pn_status read_weights(parsec_nas_classifier *c, const char *weights) {
    char path[PN_PATH_BYTES];
    pn_path_kind kind;
    pn_safetensors *file = NULL;
    PN_TRY(pn_path_look(weights, &kind));
    PN_TRY(pn_path_join(path, sizeof path, weights,
                        kind == PN_PATH_DIRECTORY ? "last.safetensors" : NULL));
    PN_TRY(pn_safetensors_read(path, &file));
    const pn_status s = load(c, file);
    pn_safetensors_free(file);
    return s == PN_OK ? PN_OK : pn_fail_in(s, "%s", path);
}

static pn_status open_classifier(parsec_nas_classifier *c, const char *weights,
                                 const char *device) {
    size_t bytes;
    PN_TRY(pn_backend_open(device ? device : "auto", &c->turn.kernels));
    const pn_kernels *kernels = c->turn.kernels;
    PN_TRY(read_weights(c, weights));
    PN_TRY(pn_program_create(&c->program, kernels));
    PN_TRY(pn_predict_bytes(&c->network, &c->arch, c->program, kernels->memory, BATCH, &bytes));
    PN_TRY(pn_arena_create(&c->arena, kernels->memory, bytes, 0));
    PN_TRY(pn_api_batch_create(&c->batch, &c->images, BATCH));
    return pn_predictor_create(&c->predictor, kernels, &c->network, &c->arch, c->program, &c->arena,
                               BATCH);
}

static void release(parsec_nas_classifier *c) {
    pn_predictor_destroy(&c->predictor);
    pn_api_batch_destroy(&c->batch);
    pn_program_destroy(c->program);
    pn_arena_destroy(&c->arena);
    pn_network_destroy(&c->network);
    pn_images_free(&c->images);
    pthread_mutex_destroy(&c->turn.lock);
    free(c);
}

int parsec_nas_classifier_open(const char *weights, const char *device,
                               parsec_nas_classifier **out) {
    PN_TRY(pn_api_wanted(out, "out"));
    *out = NULL;
    PN_TRY(pn_api_wanted(weights, "weights"));
    parsec_nas_classifier *c = calloc(1, sizeof *c);
    if (!c) return pn_fail(PN_EMEM, "no memory for a classifier");
    pthread_mutex_init(&c->turn.lock, NULL);
    pn_api_lock();
    const pn_status s = open_classifier(c, weights, device);
    if (s != PN_OK) release(c);
    pn_api_unlock();
    if (s == PN_OK) *out = c;
    return s;
}

void parsec_nas_classifier_close(parsec_nas_classifier *c) {
    if (!c) return;
    pn_api_lock();
    release(c);
    pn_api_unlock();
}

/* ---- using ----------------------------------------------------------------------------------- */

int parsec_nas_classifier_describe(parsec_nas_classifier *c, char **json) {
    PN_TRY(pn_api_wanted(c, "the classifier"));
    PN_TRY(pn_api_wanted(json, "json"));
    pn_api_lock(); /* nothing that is told of ever changes */
    json_t *root = pn_api_network(&c->network, &c->arch, &c->images, c->turn.kernels);
    const pn_status s = pn_json_text(root, 0, 0, json);
    pn_api_unlock();
    return s;
}

int parsec_nas_classifier_predict(parsec_nas_classifier *c, const void *images, int format,
                                  int64_t n, float *logits, int64_t room) {
    const pn_api_given given = {.images = images, .format = format, .n = n};
    PN_TRY(pn_api_wanted(c, "the classifier"));
    pn_api_turn_begin(&c->turn);
    const pn_status s = pn_api_predict_into(&c->predictor, &c->batch, &given, logits, room);
    pn_api_turn_end(&c->turn);
    return s;
}
