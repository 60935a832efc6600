/* run.c -- see run.h. */
#include "search/methods/run.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clock.h"
#include "runtime/group.h"
#include "runtime/json.h"
#include "search/methods/warm_start.h"
#include "search/network/genotype.h"

enum { METRICS, SAMPLES, PRIOR }; /* in the order of the names here */
static const pn_record_kind kind = {
    .command = "search",
    .what = "search",
    .format = pn_checkpoint_format,
    .state = pn_checkpoint_state,
    .fields = &pn_settings_fields,
    .settings_bytes = sizeof(pn_settings),
    .tables = {"metrics.csv", "samples.csv", "prior.csv"},
    .times = "step",
    .written = {"checkpoint-", "run.json", "genotype.txt"},
};

/* What run.json holds beside what every kind of run has. */
static json_t *more(const pn_run *r) {
    const size_t bytes =
        pn_update_bytes(&r->model.update) +
        pn_model_ahead_bytes(&r->model.network.parameters, r->model.settings.look_ahead);
    const double halves = r->finished && r->method->agreement ? r->method->agreement(r->self) : NAN;
    json_t *agreement = isnan(halves) ? NULL : pn_json_number(halves);
    return json_pack("{s:I, s:o, s:o*, s:o*, s:o}", "parameter_bytes", (json_int_t)bytes, "cost",
                     pn_json_number(r->method->cost(&r->settings, r->settings.steps)), "agreement",
                     agreement, "loss_scale", pn_record_loss_scale(&r->model.update.loss), "images",
                     pn_images_json(&r->images));
}

/* Whether this process has the record. */
static bool leads(const pn_run *r) { return pn_group_rank(r->group) == 0; }

int64_t pn_run_position(const pn_run *r) { return r->method->position(r->self); }

static pn_status write_begun(const pn_run *r) {
    return pn_record_write(&r->record, "running", pn_run_position(r), &r->settings, more(r));
}

/* The state of the search, when its tensors have been read. */
static pn_status restore(void *self, const pn_safetensors *file, int64_t step,
                         const double *state) {
    pn_run *r = self;
    PN_TRY(pn_record_restore_loss(file, &r->model.update.loss));
    PN_TRY(r->method->restore(r->self, state, r->method->count(r->self)));
    return pn_run_position(r) == step
               ? PN_OK
               : pn_fail(PN_EINPUT, "its state is of step %" PRId64, pn_run_position(r));
}

/* ---- the tables ------------------------------------------------------------------------------ */

static pn_status write_prior(pn_run *r) {
    const int columns = r->method->columns(r->self);
    double *probability = malloc((size_t)(columns + 1) * sizeof *probability);
    if (!probability) return pn_fail(PN_EMEM, "no memory for a row of prior.csv");
    r->method->probabilities(r->self, probability);
    pn_status s = pn_table_printf(r->record.table[PRIOR], "%" PRId64, pn_run_position(r));
    for (int i = 0; s == PN_OK && i < columns; i++)
        s = pn_table_printf(r->record.table[PRIOR], ",%.9g", probability[i]);
    free(probability);
    return s == PN_OK ? pn_table_printf(r->record.table[PRIOR], "\n") : s;
}

/* The columns of prior.csv; the caller's. */
static pn_status prior_header(const pn_run *r, char **header) {
    const int columns = r->method->columns(r->self);
    const size_t room = (size_t)(columns + 1) * PN_NAME_BYTES;
    *header = malloc(room);
    if (!*header) return pn_fail(PN_EMEM, "no memory for the columns of prior.csv");
    size_t at = (size_t)snprintf(*header, room, "step");
    for (int i = 0; i < columns; i++) {
        char name[PN_NAME_BYTES];
        r->method->column(r->self, i, name);
        at += (size_t)snprintf(*header + at, room - at, ",%s", name);
    }
    return PN_OK;
}

static pn_status begin_prior(pn_run *r, const pn_warm_start *source) {
    char *header;
    PN_TRY(prior_header(r, &header));
    pn_status s = pn_table_printf(r->record.table[PRIOR], "%s\n", header);
    if (s == PN_OK && source->checkpoint)
        s = pn_warm_start_rows(source, header, r->record.table[PRIOR]);
    free(header);
    return s == PN_OK ? write_prior(r) : s;
}

/* A step draws as many architectures as the settings say, but where they follow pi. */
static bool counts_samples(const pn_run *r) { return r->settings.samples_per_nat != PN_UNSET_REAL; }

static pn_status write_headers(pn_run *r, const pn_warm_start *source) {
    PN_TRY(pn_table_printf(
        r->record.table[METRICS],
        "step,phase,entropy,ess_v,ess_pi,train_loss,val_loss,train_accuracy,val_accuracy,rate,"
        "gradient_norm_v,gradient_norm_pi,skipped,free_ops,input0,cells_reached%s%s%s\n",
        counts_samples(r) ? ",samples" : "", r->method->has_temperature ? ",temperature" : "",
        r->method->has_resource ? ",resource" : ""));
    PN_TRY(pn_table_printf(
        r->record.table[SAMPLES],
        "step,sample,phase,log_p,train_log_likelihood,val_log_likelihood,weight_v,weight_pi,"
        "train_correct,val_correct,skipped,bytes,architecture\n"));
    return begin_prior(r, source);
}

bool pn_run_marked(const pn_run *r) {
    const int64_t every = r->settings.steps > 100 ? r->settings.steps / 100 : 1;
    return pn_run_position(r) % every == 0 || pn_run_position(r) == r->settings.steps;
}

/* A number of a table, or nothing where there is none: an average must not take it for 0. */
static const char *cell(bool there, int digits, double x, char text[32]) {
    *text = 0;
    if (there) snprintf(text, 32, "%.*g", digits, x);
    return text;
}

/* A column that not every search has. */
static const char *more_cell(bool there, int digits, double x, char text[32]) {
    *text = 0;
    if (there) snprintf(text, 32, ",%.*g", digits, x);
    return text;
}

static pn_status write_metrics(pn_run *r, const char *phase) {
    const pn_step_report *p = &r->report;
    const pn_health *h = &r->health;
    const bool trained = p->trained, validated = p->validated, known = r->belief.known;
    const bool moved = validated || p->gradient_norm_pi > 0;
    /* That all were skipped is no matter of weights, of which one is the largest. */
    const bool stepped = trained && !(p->skipped && p->skipped == p->count);
    char t[5][32], v[4][32], b[3][32], m[3][32];
    return pn_table_printf(
        r->record.table[METRICS],
        "%" PRId64 ",%s,%.9g,%s,%s,%s,%s,%s,%s,%s,%s,%s,%d,%s,%s,%s%s%s%s\n", p->step, phase,
        p->entropy, cell(p->ess_v > 0, 6, p->ess_v, t[0]), cell(p->ess_pi > 0, 6, p->ess_pi, v[0]),
        cell(trained, 9, p->train_loss, t[1]), cell(validated, 9, p->val_loss, v[1]),
        cell(trained, 6, p->train_accuracy, t[2]), cell(validated, 6, p->val_accuracy, v[2]),
        cell(trained, 9, p->rate_v, t[3]), cell(stepped, 6, p->gradient_norm_v, t[4]),
        cell(moved, 6, p->gradient_norm_pi, v[3]), p->skipped,
        cell(known, 4, h->free_ops_all, b[0]), cell(known, 6, h->input[0], b[1]),
        cell(known, 9, h->reached, b[2]), more_cell(counts_samples(r), 9, p->count, m[0]),
        more_cell(r->method->has_temperature, 6, p->temperature, m[1]),
        more_cell(r->method->has_resource, 9, p->resource, m[2]));
}

static pn_status write_rows(pn_run *r) {
    const pn_step_report *p = &r->report;
    const bool trained = p->trained, validated = p->validated;
    const char *phase = p->warmup ? "warmup" : "search";
    const pn_space space = pn_space_darts();
    PN_TRY(write_metrics(r, phase));
    for (int k = 0; k < p->count; k++) {
        const pn_evaluation *e = &p->evaluation[k];
        char arch[PN_SHORT_BYTES], t[3][32], v[3][32];
        pn_genotype_short(&space, &p->arch[k], arch);
        PN_TRY(pn_table_printf(
            r->record.table[SAMPLES], "%" PRId64 ",%d,%s,%.9g,%s,%s,%s,%s,%s,%s,%d,%zu,%s\n",
            p->step, k, phase, p->log_p[k], cell(trained, 9, e->train_ll, t[0]),
            cell(validated, 9, e->val_ll, v[0]), cell(trained, 9, p->weight_v[k], t[1]),
            cell(validated, 9, p->weight_pi[k], v[1]),
            cell(trained, 17, (double)e->train_correct, t[2]),
            cell(validated, 17, (double)e->val_correct, v[2]), e->skipped, e->bytes, arch));
    }
    return pn_run_marked(r) ? write_prior(r) : PN_OK;
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* Step 0. `source` is open if this search begins now, from another one. */
static pn_status begin_search(pn_run *r, const pn_warm_start *source) {
    const pn_space space = pn_space_darts();
    r->self = calloc(1, r->method->bytes);
    if (!r->self) return pn_fail(PN_EMEM, "no memory for the state of the search");
    PN_TRY(r->method->begin(r->self, &space, &r->settings));
    if (!source->checkpoint) return PN_OK;
    pn_prior *pi = r->method->prior(r->self), from = *pi;
    PN_TRY(pn_warm_start_prior(source, &from));
    memcpy(pi->logit, from.logit, sizeof from.logit);
    free(r->record.history);
    r->record.history = NULL;
    PN_TRY(pn_warm_start_history(source, pi, &r->record.history));
    if (!r->settings.keep_weights) return PN_OK;
    PN_TRY(pn_warm_start_weights(source, &r->model.network.parameters));
    return pn_parameters_push(&r->model.network.parameters);
}

static void believe(pn_run *r) {
    const pn_space space = pn_space_darts();
    r->method->believe(r->self, &r->belief);
    pn_health_of(&space, &r->belief, (int)r->settings.layers, &r->health);
}

static pn_status save(pn_run *r, pn_group *group);

/* The first rows, and, of a search that begins from another one, which may go on or be gone when
 * this one is continued, a checkpoint before the first step. */
static pn_status begin_record(pn_run *r, const pn_warm_start *source) {
    PN_TRY(write_headers(r, source));
    return source->checkpoint ? save(r, NULL) : PN_OK; /* the others begin from the same */
}

/* What the directory holds, and where the search is to begin. */
static pn_status begin_reading(pn_run *r, pn_warm_start *source) {
    const pn_space space = pn_space_darts();
    int64_t step = -1;
    if (r->record.begun) PN_TRY(pn_checkpoint_newest(&r->record.directory.place, INT64_MAX, &step));
    return step < 0 && r->settings.prior[0] ? pn_warm_start_open(source, r->settings.prior, &space)
                                            : PN_OK;
}

/* The state of rank 0, which has read it. */
static pn_status spread(pn_run *r) {
    const int count = r->method->count(r->self);
    if (!r->group) return PN_OK;
    double *state = calloc((size_t)count, sizeof *state);
    if (!state) return pn_fail(PN_EMEM, "no memory for the state of a checkpoint");
    r->method->save(r->self, state);
    pn_status s = pn_record_spread(r->group, &r->model.network.parameters, state, count);
    if (s == PN_OK && !leads(r)) s = r->method->restore(r->self, state, count);
    free(state);
    PN_TRY(s);
    return pn_group_share(r->group, &r->model.update.loss, sizeof r->model.update.loss);
}

/* The tables, and run.json of a run that begins. */
static pn_status open_record(pn_run *r, const pn_opening *o, const pn_warm_start *source) {
    bool begin;
    if (!r->record.begun || o->change_device) PN_TRY(write_begun(r));
    PN_TRY(pn_record_tables(&r->record, r->settings.steps, pn_run_position(r), o->say, &begin));
    return begin ? begin_record(r, source) : PN_OK;
}

static pn_status open_run(pn_run *r, const char *directory, const pn_settings *asked,
                          const pn_opening *opening, const pn_kernels *kernels, size_t memory,
                          pn_warm_start *source) {
    pn_record *record = &r->record;
    pn_opening o = *opening;
    o.device = kernels->name;
    r->settings = pn_settings_defaults();
    if (leads(r)) PN_TRY(pn_record_open(record, &kind, directory, &o, asked, &r->settings));
    PN_TRY(pn_group_share(r->group, &r->settings, sizeof r->settings));
    PN_TRY(pn_data_open(r->settings.data, PN_TRAIN, &r->data));
    PN_TRY(pn_record_same_images(record, r->group, r->settings.data, pn_data_checksum(&r->data)));
    PN_TRY(pn_images_of(&r->data, &r->images));
    r->method = pn_method_of(&r->settings);
    PN_TRY(pn_method_check_ranks(r->method, r->group));
    if (leads(r) && !record->begun) PN_TRY(pn_method_check(&r->settings));
    const pn_status s = pn_settings_resolve(&r->settings, &r->data);
    if (s != PN_OK) /* nothing is open in ours */
        return record->begun ? pn_fail_in(PN_EINPUT, "%s/run.json", directory) : s;
    const pn_space space = pn_space_darts();
    if (leads(r)) PN_TRY(begin_reading(r, source));
    pn_model_settings model = pn_settings_model(&r->settings, &r->data, memory);
    model.group = r->group;
    model.in_flight = o.in_flight;
    PN_TRY(pn_model_create(&r->model, kernels, &space, &model, &r->data, (int)r->settings.samples));

    PN_TRY(begin_search(r, source));
    if (leads(r))
        PN_TRY(pn_record_load(record, &r->settings, &r->model.network.parameters,
                              r->method->count(r->self), restore, r));
    PN_TRY(spread(r));
    r->continued = record->saved >= 0;
    r->finished = pn_run_position(r) == r->settings.steps;
    believe(r);
    return o.reading || !leads(r) ? PN_OK : open_record(r, &o, source);
}

pn_status pn_run_open(pn_run *r, const char *directory, const pn_settings *settings,
                      const pn_opening *opening, const pn_kernels *kernels, size_t memory) {
    pn_warm_start source = PN_NO_WARM_START;
    *r = (pn_run){.record = PN_NO_RECORD, .group = opening->group};
    const pn_status s = open_run(r, directory, settings, opening, kernels, memory, &source);
    pn_warm_start_close(&source);
    if (s != PN_OK && !opening->reading) pn_directory_abandon(&r->record.directory);
    return s;
}

/* What the step cost, whose rows are written. `begun`, `decided`: when it and its numbers were. */
static void write_times(pn_run *r, double begun, double decided) {
    const pn_step_report *p = &r->report;
    pn_step_times *t = &r->times;
    *t = r->model.times;
    t->distribution = decided - begun - t->all;
    t->images = p->images;
    for (int k = 0; k == 0 || k < p->count; k++)
        if (p->evaluation[k].bytes > t->arena_bytes) t->arena_bytes = p->evaluation[k].bytes;
    t->memory_bytes = pn_journal_memory(&r->record.journal);
    t->all = pn_now() - begun;
    pn_journal_times(&r->record.journal, p->step, t);
}

pn_status pn_run_step(pn_run *r) {
    const pn_evaluator evaluator = pn_model_evaluator(&r->model);
    const double begun = pn_now();
    const int64_t skipped = r->model.update.loss.skipped;
    pn_group_at(r->group, "step", pn_run_position(r));
    const pn_status s = r->method->step(r->self, &evaluator, &r->report);
    if (!leads(r)) return s;
    if (s == PN_EDIVERGED)
        return pn_record_diverged(&r->record, pn_run_position(r), &r->settings, more(r));
    PN_TRY(s);
    const double decided = pn_now();
    if (r->model.update.loss.skipped > skipped)
        pn_record_overflow(&r->record, r->report.step, &r->model.update.loss);
    believe(r);
    PN_TRY(write_rows(r));
    write_times(r, begun, decided);
    return pn_record_rows(&r->record);
}

static pn_status write_checkpoint(pn_run *r, const double *state) {
    char text[PN_SPACE_BYTES], loss[PN_LOSS_SCALE_TEXT], *images;
    const pn_space space = pn_space_darts();
    pn_space_text(&space, text);
    PN_TRY(pn_images_text(&r->images, &images));
    pn_meta metas[3] = {{"space", text}, {"images", images}};
    const int count = 2 + pn_record_loss_meta(&r->model.update.loss, loss, &metas[2]);
    const pn_status s =
        pn_record_save(&r->record, pn_run_position(r), &r->settings, &r->model.network.parameters,
                       state, r->method->count(r->self), metas, count);
    free(images);
    return s;
}

/* group: those who have to have the same. */
static pn_status save(pn_run *r, pn_group *group) {
    const int count = r->method->count(r->self);
    double *state = malloc((size_t)count * sizeof *state);
    if (!state) return pn_fail(PN_EMEM, "no memory for the state of a checkpoint");
    r->method->save(r->self, state);
    pn_status s = pn_record_compare(group, &r->model.network.parameters, state, count);
    if (s == PN_OK && leads(r)) s = write_checkpoint(r, state);
    free(state);
    return s;
}

pn_status pn_run_save(pn_run *r) { return save(r, r->group); }

pn_status pn_run_finish(pn_run *r) {
    PN_TRY(pn_run_save(r));
    r->finished = true;
    if (!leads(r)) return PN_OK;
    pn_arch found;
    char text[PN_GENOTYPE_BYTES], line[PN_GENOTYPE_BYTES + 1];
    r->method->derive(r->self, &found);
    pn_genotype_write(&found, text);
    snprintf(line, sizeof line, "%s\n", text);
    PN_TRY(pn_record_text(&r->record, "genotype.txt", line));
    PN_TRY(pn_record_finished(&r->record, pn_run_position(r), &r->settings, more(r)));
    pn_checkpoint_remove(&r->record.directory.place, 1);
    return PN_OK;
}

void pn_run_close(pn_run *r) {
    free(r->self);
    pn_model_destroy(&r->model);
    pn_data_free(&r->data);
    pn_images_free(&r->images);
    pn_record_close(&r->record);
    *r = (pn_run){.record = PN_NO_RECORD};
}
