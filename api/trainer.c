/* trainer.c -- training one architecture on arrays: see parsec_nas.h. */
#include "search/train/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/predicting.h"
#include "kernels/backend.h"
#include "search/network/weights.h"

struct parsec_nas_trainer {
    pn_api_turn turn;
    pn_images images;
    pn_trainer trainer;
    pn_inference inference; /* with the trainer's second program, in the same arena */
    pn_api_batch batch;
    float *logits; /* (batch,classes) */
    bool drop_path;
};

/* ---- creating -------------------------------------------------------------------------------- */

/* What the caller does himself, or need not do; and two that mean something else here. */
static const char excluded[] =
    "|data|time|epochs|rate|rate-end|shards|cutout|augment|hold-out|score-every|drop-path|";

#define PN_OF struct own_settings
struct own_settings {
    bool drop_path;
};
static const pn_field own_rows[] = {PN_FLAG("drop-path", drop_path, NULL, NULL)};
static const pn_fields own_fields = PN_FIELDS(own_rows);

/* The settings, and what is said of the images. */
static pn_status read_settings(parsec_nas_trainer *t, const char *text, pn_train_settings *r,
                               pn_api_work *work) {
    struct own_settings own = {0};
    const pn_api_table tables[] = {{&pn_train_fields, r, excluded},
                                   {&pn_api_work_fields, work, NULL},
                                   {&own_fields, &own, NULL}};
    json_t *root;
    *r = pn_train_defaults();
    pn_fields_defaults(&pn_api_work_fields, work);
    PN_TRY(pn_api_read(text, tables, sizeof tables / sizeof *tables, pn_api_of_images, &root));
    const pn_status s = pn_images_read(root, &t->images);
    json_decref(root);
    if (s != PN_OK) return pn_fail_in(s == PN_EINPUT ? PN_EARG : s, "settings");
    t->drop_path = own.drop_path;
    r->drop_path = own.drop_path; /* not 0: there are factors; how large they are, each step says */
    r->augment = r->hold_out = 0;
    return PN_OK;
}

static pn_status create(parsec_nas_trainer *t, const char *settings) {
    pn_train_settings r;
    pn_api_work work = {.memory = 0};
    pn_arch arch;
    PN_TRY(read_settings(t, settings, &r, &work));
    if (!r.genotype[0]) return pn_fail(PN_EARG, "settings: want \"genotype\", the cell");
    PN_TRY(pn_genotype_open(r.genotype, &arch));
    pn_genotype_write(&arch, r.genotype);
    /* Sizes without images: their number limits nothing. */
    const pn_data like = {.count = INT32_MAX,
                          .H = t->images.H,
                          .W = t->images.W,
                          .C = t->images.C,
                          .classes = t->images.classes};
    PN_TRY(pn_train_resolve(&r, &like));
    PN_TRY(pn_api_open(&work, &t->turn.kernels));
    PN_TRY(pn_trainer_create(&t->trainer, t->turn.kernels, &r, &like, work.memory, NULL));
    pn_trainer *m = &t->trainer;
    PN_TRY(pn_api_batch_create(&t->batch, &t->images, (int)r.batch));
    t->logits = calloc((size_t)r.batch * (size_t)like.classes, sizeof *t->logits);
    if (!t->logits) return pn_fail(PN_EMEM, "no memory for the logits of a batch");
    t->inference = (pn_inference){.kernels = t->turn.kernels,
                                  .network = &m->network,
                                  .arch = &m->arch,
                                  .program = m->inference,
                                  .arena = &m->arena};
    return pn_inference_open(&t->inference, (int)r.batch);
}

static void release(parsec_nas_trainer *t) {
    pn_inference_close(&t->inference);
    if (t->trainer.kernels) pn_trainer_destroy(&t->trainer);
    pn_api_batch_destroy(&t->batch);
    pn_images_free(&t->images);
    free(t->logits);
    pthread_mutex_destroy(&t->turn.lock);
    free(t);
}

int parsec_nas_trainer_create(const char *settings, parsec_nas_trainer **out) {
    PN_TRY(pn_api_wanted(out, "out"));
    *out = NULL;
    parsec_nas_trainer *t = calloc(1, sizeof *t);
    if (!t) return pn_fail(PN_EMEM, "no memory for a trainer");
    pthread_mutex_init(&t->turn.lock, NULL);
    pn_api_lock();
    const pn_status s = create(t, settings);
    if (s != PN_OK) release(t);
    pn_api_unlock();
    if (s == PN_OK) *out = t;
    return s;
}

void parsec_nas_trainer_close(parsec_nas_trainer *t) {
    if (!t) return;
    pn_api_lock();
    release(t);
    pn_api_unlock();
}

/* ---- training -------------------------------------------------------------------------------- */

static pn_status check_step(const parsec_nas_trainer *t, const pn_api_given *given, double rate,
                            double drop_path) {
    const int64_t N = t->trainer.settings.batch;
    if (given->n != N)
        return pn_fail(PN_EARG, "%" PRId64 " images, want %" PRId64 ", the batch of this trainer",
                       given->n, N);
    if (!(rate >= 0 && rate <= 1e3))
        return pn_fail(PN_EARG, "rate %g, want a number from 0 to 1000", rate);
    if (!(drop_path >= 0 && drop_path <= 0.99))
        return pn_fail(PN_EARG, "drop_path %g, want a number from 0 to 0.99", drop_path);
    if (drop_path > 0 && !t->drop_path)
        return pn_fail(PN_EARG, "drop_path %g, want 0: the trainer was made without \"drop-path\"",
                       drop_path);
    return pn_api_batch_check(&t->batch, given, true);
}

static pn_status step(parsec_nas_trainer *t, const pn_api_given *given, double rate,
                      double drop_path, pn_train_report *report) {
    PN_TRY(check_step(t, given, rate, drop_path));
    const pn_batch batch = pn_api_batch_take(&t->batch, given, 0, (int)given->n);
    return pn_trainer_step_on(&t->trainer, &batch, rate, drop_path, report);
}

int parsec_nas_trainer_step(parsec_nas_trainer *t, const void *images, int format,
                            const int32_t *labels, int64_t n, double rate, double drop_path,
                            double *loss, int64_t *correct) {
    const pn_api_given given = {images, format, labels, n};
    pn_train_report report;
    PN_TRY(pn_api_wanted(t, "the trainer"));
    pn_api_turn_begin(&t->turn);
    const pn_status s = step(t, &given, rate, drop_path, &report);
    pn_api_turn_end(&t->turn);
    if (s == PN_OK && loss) *loss = report.loss;
    if (s == PN_OK && correct) *correct = report.correct;
    return s;
}

/* ---- predicting ------------------------------------------------------------------------------ */

int parsec_nas_trainer_predict(parsec_nas_trainer *t, const void *images, int format, int64_t n,
                               float *logits, int64_t room) {
    const pn_api_given given = {images, format, NULL, n};
    PN_TRY(pn_api_wanted(t, "the trainer"));
    pn_api_turn_begin(&t->turn);
    pn_trainer_forget(&t->trainer);
    const pn_status s = pn_api_predict_into(&t->inference, &t->batch, &given, logits, room);
    pn_api_turn_end(&t->turn);
    return s;
}

static pn_status evaluate(parsec_nas_trainer *t, const pn_api_given *given, double *loss,
                          int64_t *correct) {
    const int classes = t->batch.classes, N = t->batch.N;
    double sum = 0;
    if (given->n < 1) return pn_fail(PN_EARG, "%" PRId64 " images, want at least 1", given->n);
    PN_TRY(pn_api_batch_check(&t->batch, given, true));
    *correct = 0;
    for (int64_t first = 0; first < given->n; first += N) {
        const int n = given->n - first < N ? (int)(given->n - first) : N;
        const pn_batch batch = pn_api_batch_take(&t->batch, given, first, n);
        PN_TRY(pn_inference_run(&t->inference, &batch, t->logits));
        for (int i = 0; i < n; i++) {
            int best;
            sum += pn_cross_entropy(t->logits + (ptrdiff_t)i * classes, classes, batch.labels[i],
                                    &best);
            *correct += best == batch.labels[i];
        }
    }
    *loss = sum / (double)given->n;
    return isfinite(sum) ? PN_OK : pn_fail(PN_EDIVERGED, "the loss of these images is not finite");
}

int parsec_nas_trainer_evaluate(parsec_nas_trainer *t, const void *images, int format,
                                const int32_t *labels, int64_t n, double *loss, int64_t *correct) {
    const pn_api_given given = {images, format, labels, n};
    double mean;
    int64_t right;
    PN_TRY(pn_api_wanted(t, "the trainer"));
    pn_api_turn_begin(&t->turn);
    pn_trainer_forget(&t->trainer);
    const pn_status s = evaluate(t, &given, &mean, &right);
    pn_api_turn_end(&t->turn);
    if (s == PN_OK && loss) *loss = mean;
    if (s == PN_OK && correct) *correct = right;
    return s;
}

/* ---- what it is ------------------------------------------------------------------------------ */

static pn_status describe(const parsec_nas_trainer *t, char **json) {
    const pn_trainer *m = &t->trainer;
    json_t *root = pn_api_network(&m->network, &m->arch, &t->images, m->kernels);
    int failed = 0;
    failed |= json_object_set_new(root, "batch", json_integer(m->settings.batch));
    failed |= json_object_set_new(root, "step", json_integer(m->step));
    failed |= json_object_set_new(root, "auxiliary", json_boolean(m->settings.auxiliary));
    failed |= json_object_set_new(root, "parameter_bytes",
                                  json_integer((json_int_t)pn_update_bytes(&m->update)));
    failed |=
        json_object_set_new(root, "arena_bytes", json_integer((json_int_t)m->size.arena_bytes));
    return pn_json_text(root, failed, 0, json);
}

static pn_status save(parsec_nas_trainer *t, const char *path) {
    pn_trainer *m = &t->trainer;
    PN_TRY(pn_parameters_pull(&m->network.parameters));
    return pn_weights_save(NULL, path, &m->network, &m->arch, &t->images, m->step,
                           m->settings.auxiliary);
}

int parsec_nas_trainer_describe(parsec_nas_trainer *t, char **json) {
    PN_TRY(pn_api_wanted(t, "the trainer"));
    PN_TRY(pn_api_wanted(json, "json"));
    pn_api_turn_begin(&t->turn);
    pn_api_turn_tells(&t->turn);
    const pn_status s = describe(t, json);
    pn_api_turn_tells_no_more(&t->turn);
    pn_api_turn_end(&t->turn);
    return s;
}

int parsec_nas_trainer_save(parsec_nas_trainer *t, const char *path) {
    PN_TRY(pn_api_wanted(t, "the trainer"));
    PN_TRY(pn_api_wanted(path, "path"));
    pn_api_turn_begin(&t->turn);
    pn_api_turn_tells(&t->turn);
    const pn_status s = save(t, path);
    pn_api_turn_tells_no_more(&t->turn);
    pn_api_turn_end(&t->turn);
    return s;
}
