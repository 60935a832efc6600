/* classifier.c -- trained weights: see parsec_nas.h. */
#include <math.h>
#include <stdlib.h>

#include "api/predicting.h"
#include "kernels/backend.h"
#include "search/network/classifier.h"
#include "search/train/trained.h"

enum { BATCH = 64 }; /* as `eval` */

struct parsec_nas_classifier {
    pn_api_turn turn;
    pn_classifier of; /* opened; what runs is: */
    pn_inference inference;
    pn_api_batch batch;
};

/* ---- predicting, also with a trainer's network ----------------------------------------------- */

pn_status pn_api_predict(pn_inference *inference, pn_api_batch *batch, const pn_api_given *given,
                         float *logits) {
    const size_t classes = (size_t)batch->classes;
    const int64_t n = given->n;
    for (int64_t first = 0; first < n; first += batch->N) {
        const int size = n - first < batch->N ? (int)(n - first) : batch->N;
        const pn_batch at_hand = pn_api_batch_take(batch, given, first, size);
        PN_TRY(pn_inference_run(inference, &at_hand, logits + (size_t)first * classes));
    }
    return PN_OK;
}

pn_status pn_api_predict_into(pn_inference *inference, pn_api_batch *batch,
                              const pn_api_given *given, float *logits, int64_t room) {
    const size_t classes = (size_t)batch->classes;
    PN_TRY(pn_api_batch_check(batch, given, false));
    if (given->n > room / batch->classes)
        return pn_fail(PN_EARG, "room for %lld logits, want %lld images times %d classes",
                       (long long)room, (long long)given->n, batch->classes);
    if (given->n) PN_TRY(pn_api_wanted(logits, "logits"));
    PN_TRY(pn_api_predict(inference, batch, given, logits));
    for (size_t i = 0; i < (size_t)given->n * classes; i++)
        if (!isfinite(logits[i]))
            return pn_fail(PN_EDIVERGED,
                           "the logits of image %zu are not finite: these weights are no network "
                           "any more",
                           i / classes);
    return PN_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

static pn_status open_classifier(parsec_nas_classifier *c, const char *weights,
                                 const char *device) {
    char path[PN_PATH_BYTES];
    PN_TRY(pn_trained_weights(weights, false, path));
    PN_TRY(pn_backend_open(device ? device : "auto", &c->turn.kernels));
    PN_TRY(pn_classifier_open(&c->of, c->turn.kernels, path, NULL, BATCH));
    PN_TRY(pn_api_batch_create(&c->batch, &c->of.images, BATCH));
    c->inference = (pn_inference){.kernels = c->turn.kernels,
                                  .network = &c->of.network,
                                  .arch = &c->of.arch,
                                  .program = c->of.program,
                                  .arena = &c->of.arena};
    return pn_inference_open(&c->inference, BATCH);
}

static void release(parsec_nas_classifier *c) {
    pn_inference_close(&c->inference);
    pn_api_batch_destroy(&c->batch);
    pn_classifier_close(&c->of);
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
    json_t *root = pn_api_network(&c->of.network, &c->of.arch, &c->of.images, c->turn.kernels);
    const pn_status s = pn_json_text(root, 0, 0, json);
    pn_api_unlock();
    return s;
}

int parsec_nas_classifier_predict(parsec_nas_classifier *c, const void *images, int format,
                                  int64_t n, float *logits, int64_t room) {
    const pn_api_given given = {.images = images, .format = format, .n = n};
    PN_TRY(pn_api_wanted(c, "the classifier"));
    pn_api_turn_begin(&c->turn);
    const pn_status s = pn_api_predict_into(&c->inference, &c->batch, &given, logits, room);
    pn_api_turn_end(&c->turn);
    return s;
}
