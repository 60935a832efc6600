/* search.c -- a search on arrays: see parsec_nas.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/parts.h"
#include "kernels/backend.h"
#include "search/methods/method.h"
#include "search/methods/method_parsec.h"

struct parsec_nas_search {
    pn_api_turn turn;
    pn_model model;
    pn_search search;
    pn_step_report report;
    pn_api_batch batch[2]; /* that trains v; that trains pi */
};

/* ---- creating -------------------------------------------------------------------------------- */

/* What needs the images themselves, or another search. */
static const char excluded[] = "|method|data|time|epochs|augment|prior|keep-weights|";

static pn_status read_settings(const char *text, pn_settings *r, pn_api_work *work,
                               pn_images *images) {
    const pn_api_table tables[] = {{&pn_settings_fields, r, excluded},
                                   {&pn_api_work_fields, work, NULL}};
    json_t *root;
    *r = pn_settings_defaults();
    pn_fields_defaults(&pn_api_work_fields, work);
    PN_TRY(pn_api_read(text, tables, sizeof tables / sizeof *tables, pn_api_of_images, &root));
    const pn_status s = pn_images_read(root, images);
    json_decref(root);
    if (s != PN_OK) return pn_fail_in(s == PN_EINPUT ? PN_EARG : s, "settings");
    if (r->steps == PN_UNSET)
        return pn_fail(PN_EARG, "settings: want \"steps\", those of the whole search");
    r->augment = r->keep_weights = 0;
    return PN_OK;
}

static pn_status create(parsec_nas_search *h, const char *settings, pn_images *images) {
    pn_settings r;
    pn_api_work work = {.memory = 0};
    const pn_space space = pn_space_darts();
    PN_TRY(read_settings(settings, &r, &work, images));
    /* Sizes without images: their number limits nothing. */
    const pn_data like = {.count = INT32_MAX,
                          .H = images->H,
                          .W = images->W,
                          .C = images->C,
                          .classes = images->classes};
    PN_TRY(pn_method_check(&r));
    PN_TRY(pn_settings_resolve(&r, &like));
    const pn_search_settings rule = pn_settings_search(&r);
    const pn_model_settings model = pn_settings_model(&r, &like, work.memory);
    PN_TRY(pn_search_init(&h->search, &space, &rule));
    PN_TRY(pn_api_open(&work, &h->turn.kernels));
    PN_TRY(pn_model_create(&h->model, h->turn.kernels, &space, &model, NULL,
                           h->search.settings.samples));
    for (int i = 0; i < 2; i++) PN_TRY(pn_api_batch_create(&h->batch[i], images, (int)r.batch));
    return PN_OK;
}

static void release(parsec_nas_search *h) {
    if (h->model.kernels) pn_model_destroy(&h->model);
    for (int i = 0; i < 2; i++) pn_api_batch_destroy(&h->batch[i]);
    pthread_mutex_destroy(&h->turn.lock);
    free(h);
}

int parsec_nas_search_create(const char *settings, parsec_nas_search **out) {
    pn_images images = {0};
    PN_TRY(pn_api_wanted(out, "out"));
    *out = NULL;
    parsec_nas_search *h = calloc(1, sizeof *h);
    if (!h) return pn_fail(PN_EMEM, "no memory for a search");
    pthread_mutex_init(&h->turn.lock, NULL);
    pn_api_lock();
    const pn_status s = create(h, settings, &images);
    if (s != PN_OK) release(h);
    pn_api_unlock();
    pn_images_free(&images);
    if (s == PN_OK) *out = h;
    return s;
}

void parsec_nas_search_close(parsec_nas_search *h) {
    if (!h) return;
    pn_api_lock();
    release(h);
    pn_api_unlock();
}

/* ---- a step ---------------------------------------------------------------------------------- */

/* Takes the batch of a stream if the step reads it. */
static pn_status give(parsec_nas_search *h, int stream, const pn_api_given *given) {
    static const char *const names[] = {"train", "valid"};
    const pn_search_settings *s = &h->search.settings;
    const bool warmup = h->search.step < s->warmup;
    if (stream == 0 ? s->freeze_weights : warmup || s->evidence) return PN_OK;
    if (given->n != h->model.settings.N)
        return pn_fail(PN_EARG, "%" PRId64 " images, want %d, the batch of this search", given->n,
                       h->model.settings.N);
    pn_status status = pn_api_batch_check(&h->batch[stream], given, true);
    if (status != PN_OK) return pn_fail_in(status, "%s", names[stream]);
    const pn_batch batch = pn_api_batch_take(&h->batch[stream], given, 0, (int)given->n);
    return pn_model_give(&h->model, stream, h->search.step, &batch);
}

static pn_status step(parsec_nas_search *h, const pn_api_given given[2]) {
    const pn_evaluator evaluator = pn_model_evaluator(&h->model);
    for (int i = 0; i < 2; i++) PN_TRY(give(h, i, &given[i]));
    return pn_search_step(&h->search, &evaluator, &h->report);
}

static pn_status report_text(parsec_nas_search *h, char **json) {
    const pn_step_report *r = &h->report;
    const bool trained = r->trained, validated = r->validated;
    const struct {
        const char *name;
        double value;
        bool there;
    } figures[] = {
        {"entropy", r->entropy, true},
        {"train_loss", r->train_loss, trained},
        {"train_accuracy", r->train_accuracy, trained},
        {"val_loss", r->val_loss, validated},
        {"val_accuracy", r->val_accuracy, validated},
        {"rate", r->rate_v, trained},
        {"gradient_norm_v", r->gradient_norm_v, trained},
        {"gradient_norm_pi", r->gradient_norm_pi, validated},
    };
    pn_api_turn_tells(&h->turn);
    json_t *root = json_object(), *samples = json_array();
    int failed = 0;
    failed |= json_object_set_new(root, "step", json_integer(r->step));
    failed |= json_object_set_new(root, "phase", json_string(r->warmup ? "warmup" : "search"));
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        failed |=
            json_object_set_new(root, figures[i].name,
                                figures[i].there ? pn_json_number(figures[i].value) : json_null());
    for (int k = 0; k < r->count; k++)
        failed |= json_array_append_new(
            samples, pn_api_row(&h->search.prior.space, &r->arch[k], r->log_p[k]));
    failed |= json_object_set_new(root, "samples", samples);
    const pn_status status = pn_json_text(root, failed, PN_JSON_EXACT, json);
    pn_api_turn_tells_no_more(&h->turn);
    return status;
}

int parsec_nas_search_step(parsec_nas_search *h, const void *train, const int32_t *train_labels,
                           const void *valid, const int32_t *valid_labels, int format, int64_t n,
                           char **json) {
    const pn_api_given given[2] = {{train, format, train_labels, n},
                                   {valid, format, valid_labels, n}};
    PN_TRY(pn_api_wanted(h, "the search"));
    pn_api_turn_begin(&h->turn);
    pn_status s = step(h, given);
    if (s == PN_OK && json) s = report_text(h, json);
    pn_api_turn_end(&h->turn);
    return s;
}

int parsec_nas_search_distribution(parsec_nas_search *h, parsec_nas_distribution **out) {
    PN_TRY(pn_api_wanted(out, "out"));
    *out = NULL;
    PN_TRY(pn_api_wanted(h, "the search"));
    pn_api_turn_begin(&h->turn);
    const pn_prior prior = h->search.prior;
    pn_api_turn_end(&h->turn);
    return pn_api_distribution(&prior, out);
}
