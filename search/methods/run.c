/* run.c -- see run.h. */
#include "search/methods/run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clock.h"
#include "runtime/json.h"
#include "search/methods/found.h"
#include "search/methods/warm_start.h"
#include "search/network/genotype.h"

enum { PRIOR_HEADER_BYTES = (PN_MAX_LOGITS + 1) * PN_NAME_BYTES };

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
    const json_int_t bytes = (json_int_t)pn_parameters_bytes(&r->model.network.parameters);
    json_t *agreement = r->settings.evidence && r->finished
                            ? pn_json_number(pn_effects_agreement(&r->search.effects))
                            : NULL;
    return json_pack("{s:I, s:o*, s:o}", "parameter_bytes", bytes, "agreement", agreement, "images",
                     pn_images_json(&r->images));
}

static pn_status write_begun(const pn_run *r) {
    return pn_record_write(&r->record, "running", r->search.step, &r->settings, more(r));
}

/* The state of the search, when its tensors have been read. */
static pn_status restore(void *self, const pn_safetensors *file, int64_t step,
                         const double *state) {
    pn_run *r = self;
    (void)file;
    PN_TRY(pn_search_restore(&r->search, state, pn_search_state_count(&r->search)));
    return r->search.step == step
               ? PN_OK
               : pn_fail(PN_EINPUT, "its state is of step %" PRId64, r->search.step);
}

/* ---- the tables ------------------------------------------------------------------------------ */

static pn_status write_prior(pn_run *r) {
    double probability[PN_MAX_LOGITS];
    pn_prior_marginals(&r->search.prior, probability);
    PN_TRY(pn_table_printf(r->record.table[PRIOR], "%" PRId64, r->search.step));
    for (int i = 0; i < r->search.prior.count; i++)
        PN_TRY(pn_table_printf(r->record.table[PRIOR], ",%.9g", probability[i]));
    return pn_table_printf(r->record.table[PRIOR], "\n");
}

/* The columns of prior.csv. */
static void prior_header(const pn_prior *prior, char header[PRIOR_HEADER_BYTES]) {
    size_t at = (size_t)snprintf(header, PRIOR_HEADER_BYTES, "step");
    for (int i = 0; i < prior->count; i++) {
        char name[PN_NAME_BYTES];
        pn_logit_name(&prior->space, i, name);
        at += (size_t)snprintf(header + at, PRIOR_HEADER_BYTES - at, ",%s", name);
    }
}

static pn_status write_headers(pn_run *r, const pn_warm_start *source) {
    char header[PRIOR_HEADER_BYTES];
    PN_TRY(pn_table_printf(
        r->record.table[METRICS],
        "step,phase,entropy,ess_v,ess_pi,train_loss,val_loss,train_accuracy,val_accuracy,rate,"
        "gradient_norm_v,gradient_norm_pi,skipped,free_ops,input0,cells_reached\n"));
    PN_TRY(pn_table_printf(
        r->record.table[SAMPLES],
        "step,sample,phase,log_p,train_log_likelihood,val_log_likelihood,weight_v,weight_pi,"
        "train_correct,val_correct,skipped,bytes,architecture\n"));
    prior_header(&r->search.prior, header);
    PN_TRY(pn_table_printf(r->record.table[PRIOR], "%s\n", header));
    if (source->checkpoint) PN_TRY(pn_warm_start_rows(source, header, r->record.table[PRIOR]));
    return write_prior(r);
}

bool pn_run_marked(const pn_run *r) {
    const int64_t every = r->settings.steps > 100 ? r->settings.steps / 100 : 1;
    return r->search.step % every == 0 || r->search.step == r->settings.steps;
}

/* A number of a table, or nothing where there is none: an average must not take it for 0. */
static const char *cell(bool there, int digits, double x, char text[32]) {
    *text = 0;
    if (there) snprintf(text, 32, "%.*g", digits, x);
    return text;
}

static pn_status write_metrics(pn_run *r, const char *phase) {
    const pn_step_report *p = &r->report;
    const bool trained = !r->settings.freeze_weights, validated = p->ess_pi != 0;
    char t[5][32], v[4][32];
    return pn_table_printf(
        r->record.table[METRICS],
        "%" PRId64 ",%s,%.9g,%s,%s,%s,%s,%s,%s,%s,%s,%s,%d,%.4g,%.6g,%d\n", p->step, phase,
        p->entropy, cell(trained, 6, p->ess_v, t[0]), cell(validated, 6, p->ess_pi, v[0]),
        cell(trained, 9, p->train_loss, t[1]), cell(validated, 9, p->val_loss, v[1]),
        cell(trained, 6, p->train_accuracy, t[2]), cell(validated, 6, p->val_accuracy, v[2]),
        cell(trained, 9, p->rate_v, t[3]), cell(trained, 6, p->gradient_norm_v, t[4]),
        cell(validated, 6, p->gradient_norm_pi, v[3]), p->skipped, r->health.free_ops_all,
        r->health.input[0], r->health.reached);
}

static pn_status write_rows(pn_run *r) {
    const pn_step_report *p = &r->report;
    const bool trained = !r->settings.freeze_weights, validated = p->ess_pi != 0;
    const char *phase = p->warmup ? "warmup" : "search";
    PN_TRY(write_metrics(r, phase));
    for (int k = 0; k < p->count; k++) {
        const pn_evaluation *e = &p->evaluation[k];
        char arch[PN_SHORT_BYTES], t[3][32], v[3][32];
        pn_genotype_short(&r->search.prior.space, &p->arch[k], arch);
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
    const pn_search_settings settings = pn_settings_search(&r->settings);
    PN_TRY(pn_search_init(&r->search, &space, &settings));
    if (!source->checkpoint) return PN_OK;
    pn_prior from = r->search.prior;
    PN_TRY(pn_warm_start_prior(source, &from));
    memcpy(r->search.prior.logit, from.logit, sizeof from.logit);
    free(r->record.history);
    r->record.history = NULL;
    PN_TRY(pn_warm_start_history(source, &r->search.prior, &r->record.history));
    if (!r->settings.keep_weights) return PN_OK;
    PN_TRY(pn_warm_start_weights(source, &r->model.network.parameters));
    return pn_parameters_push(&r->model.network.parameters);
}

/* The first rows, and, of a search that begins from another one, which may go on or be gone when
 * this one is continued, a checkpoint before the first step. */
static pn_status begin_record(pn_run *r, const pn_warm_start *source) {
    PN_TRY(write_headers(r, source));
    return source->checkpoint ? pn_run_save(r) : PN_OK;
}

static pn_status open_run(pn_run *r, const char *directory, const pn_settings *asked,
                          const pn_opening *opening, const pn_kernels *kernels, size_t memory,
                          pn_warm_start *source) {
    bool begin;
    int64_t step = -1;
    pn_record *record = &r->record;
    pn_opening o = *opening;
    o.device = kernels->name;
    r->settings = pn_settings_defaults();
    PN_TRY(pn_record_open(record, &kind, directory, &o, asked, &r->settings));
    PN_TRY(pn_data_open(r->settings.data, PN_TRAIN, &r->data));
    PN_TRY(pn_images_of(&r->data, &r->images));
    PN_TRY(pn_record_same_images(record, r->settings.data, pn_data_checksum(&r->data)));
    const pn_status s = pn_settings_resolve(&r->settings, &r->data);
    if (s != PN_OK) /* nothing is open in ours */
        return record->begun ? pn_fail_in(PN_EINPUT, "%s/run.json", directory) : s;
    const pn_space space = pn_space_darts();
    if (record->begun) PN_TRY(pn_checkpoint_newest(&record->directory.place, INT64_MAX, &step));
    if (step < 0 && r->settings.prior[0])
        PN_TRY(pn_warm_start_open(source, r->settings.prior, &space));
    const pn_model_settings model = pn_settings_model(&r->settings, &r->data, memory);
    PN_TRY(pn_model_create(&r->model, kernels, &space, &model, &r->data, (int)r->settings.samples));

    PN_TRY(begin_search(r, source));
    PN_TRY(pn_record_load(record, &r->settings, &r->model.network.parameters,
                          pn_search_state_count(&r->search), restore, r));
    r->continued = record->saved >= 0;
    r->finished = r->search.step == r->settings.steps;
    pn_health_check(&r->search.prior, (int)r->settings.layers, &r->health);
    if (o.reading) return PN_OK;
    if (!record->begun || o.change_device) PN_TRY(write_begun(r));
    PN_TRY(pn_record_tables(record, r->settings.steps, r->search.step, o.say, &begin));
    return begin ? begin_record(r, source) : PN_OK;
}

pn_status pn_run_open(pn_run *r, const char *directory, const pn_settings *settings,
                      const pn_opening *opening, const pn_kernels *kernels, size_t memory) {
    pn_warm_start source = PN_NO_WARM_START;
    *r = (pn_run){.record = PN_NO_RECORD};
    const pn_status s = open_run(r, directory, settings, opening, kernels, memory, &source);
    pn_warm_start_close(&source);
    if (s != PN_OK && !opening->reading) pn_directory_abandon(&r->record.directory);
    return s;
}

/* What the step cost, whose rows are written. `begun`, `decided`: when it and its numbers were. */
static void write_times(pn_run *r, double begun, double decided) {
    const pn_step_report *p = &r->report;
    const int64_t passes = !r->settings.freeze_weights + (p->ess_pi != 0);
    pn_step_times *t = &r->times;
    *t = r->model.times;
    t->distribution = decided - begun - t->all;
    t->images = passes * p->count * r->settings.batch;
    for (int k = 0; k < p->count; k++)
        if (p->evaluation[k].bytes > t->arena_bytes) t->arena_bytes = p->evaluation[k].bytes;
    t->memory_bytes = pn_journal_memory(&r->record.journal);
    t->all = pn_now() - begun;
    pn_journal_times(&r->record.journal, p->step, t);
}

pn_status pn_run_step(pn_run *r) {
    const pn_evaluator evaluator = pn_model_evaluator(&r->model);
    const double begun = pn_now();
    const pn_status s = pn_search_step(&r->search, &evaluator, &r->report);
    if (s == PN_EDIVERGED)
        return pn_record_diverged(&r->record, r->search.step, &r->settings, more(r));
    PN_TRY(s);
    const double decided = pn_now();
    pn_health_check(&r->search.prior, (int)r->settings.layers, &r->health);
    PN_TRY(write_rows(r));
    write_times(r, begun, decided);
    return pn_record_rows(&r->record);
}

pn_status pn_run_save(pn_run *r) {
    double state[3 * PN_MAX_LOGITS + 2 + PN_MOST_EFFECTS_STATE];
    char space[PN_SPACE_BYTES], *images;
    pn_search_save(&r->search, state);
    pn_space_text(&r->search.prior.space, space);
    PN_TRY(pn_images_text(&r->images, &images));
    const pn_meta metas[] = {{"space", space}, {"images", images}};
    const pn_status s = pn_record_save(
        &r->record, r->search.step, &r->settings, &r->model.network.parameters, state,
        pn_search_state_count(&r->search), metas, sizeof metas / sizeof *metas);
    free(images);
    return s;
}

pn_status pn_run_finish(pn_run *r) {
    PN_TRY(pn_run_save(r));
    pn_arch found;
    char text[PN_GENOTYPE_BYTES], line[PN_GENOTYPE_BYTES + 1];
    pn_search_found(&r->search, &found);
    pn_genotype_write(&found, text);
    snprintf(line, sizeof line, "%s\n", text);
    PN_TRY(pn_record_text(&r->record, "genotype.txt", line));
    r->finished = true;
    PN_TRY(pn_record_finished(&r->record, r->search.step, &r->settings, more(r)));
    pn_checkpoint_remove(&r->record.directory.place, 1);
    return PN_OK;
}

void pn_run_close(pn_run *r) {
    pn_model_destroy(&r->model);
    pn_data_free(&r->data);
    pn_images_free(&r->images);
    pn_record_close(&r->record);
    *r = (pn_run){.record = PN_NO_RECORD};
}
