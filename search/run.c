/* run.c -- the run directory. */
#include "search/run.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "search/genotype.h"
#include "search/source.h"
#include "search/weights.h"

enum {
    KEEP_CHECKPOINTS = 2,
    RUN_JSON_LIMIT = 1 << 20,
    PRIOR_HEADER_BYTES = (PN_MAX_LOGITS + 1) * PN_NAME_BYTES
};

/* ---- run.json
 * ------------------------------------------------------------------------------------- */

static pn_status write_json(const pn_run *r, const char *state) {
    char *settings = pn_fields_write(&pn_settings_fields, &r->settings);
    json_t *object = json_object(), *parsed = settings ? json_loads(settings, 0, NULL) : NULL;
    json_object_set_new(object, "program", json_string("parsec-nas"));
    json_object_set_new(object, "version", json_string(PN_VERSION));
    json_object_set_new(object, "command", json_string("search"));
    json_object_set_new(object, "state", json_string(state));
    json_object_set_new(object, "step", json_integer(r->search.step));
    json_object_set_new(object, "device", json_string(r->model.kernels->name));
    json_object_set_new(object, "data_crc32", json_integer(pn_data_checksum(&r->data)));
    json_object_set_new(
        object, "parameter_bytes",
        json_integer((json_int_t)pn_parameters_bytes(&r->model.network.parameters)));
    json_object_set_new(object, "settings", parsed);
    if (r->history) json_object_set_new(object, "history", json_loads(r->history, 0, NULL));
    char *text = json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(17)), path[PN_PATH_BYTES];
    json_decref(object);
    free(settings);
    if (!text) return pn_fail(PN_EMEM, "run.json: no memory");
    pn_directory_path(&r->directory, "run.json", path);
    pn_status s = pn_file_write(path, text, strlen(text));
    free(text);
    return s;
}

/* Reads what an earlier process wrote. */
static pn_status read_json(pn_run *r, pn_settings *settings, uint32_t *checksum) {
    char path[PN_PATH_BYTES];
    pn_directory_path(&r->directory, "run.json", path);
    void *text;
    size_t length;
    PN_TRY(pn_file_read(path, RUN_JSON_LIMIT, &text, &length));
    *settings = pn_settings_defaults();
    pn_status s = pn_fields_read(&pn_settings_fields, path, text, length, settings);
    if (s == PN_OK) {
        json_t *root = json_loadb(text, length, 0, NULL);
        const json_t *sum = json_object_get(root, "data_crc32"),
                     *command = json_object_get(root, "command");
        if (!json_is_integer(sum) || !json_is_string(command) ||
            strcmp(json_string_value(command), "search"))
            s = pn_fail(PN_EINPUT, "%s: not a search's", path);
        else
            *checksum = (uint32_t)json_integer_value(sum);
        const json_t *history = json_object_get(root, "history");
        if (history) r->history = json_dumps(history, JSON_REAL_PRECISION(17));
        json_decref(root);
    }
    free(text);
    return s;
}

/* ---- saving and loading
 * --------------------------------------------------------------------------- */

static pn_status write_checkpoint(pn_run *r) {
    PN_TRY(pn_table_sync(r->metrics));
    PN_TRY(pn_table_sync(r->samples));
    PN_TRY(pn_table_sync(r->prior));

    double state[3 * PN_MAX_LOGITS + 2];
    pn_search_save(&r->search, state);
    pn_tensors t = {0};
    const pn_parameters *p = &r->model.network.parameters;
    PN_TRY(pn_parameters_pull(p));
    pn_status s = pn_tensors_add_state(&t, p);
    if (s == PN_OK)
        s = pn_tensors_add_array(&t, (pn_array){.name = pn_checkpoint_state,
                                                .dtype = PN_F64,
                                                .rank = 1,
                                                .shape = {pn_search_state_count(&r->search)},
                                                .data = state});
    if (s == PN_OK) {
        char *settings = pn_fields_write(&pn_settings_fields, &r->settings);
        char step[24], metrics[24], samples[24], prior[24], space[PN_SPACE_BYTES],
            path[PN_PATH_BYTES];
        pn_space_text(&r->search.prior.space, space);
        snprintf(step, sizeof step, "%" PRId64, r->search.step);
        snprintf(metrics, sizeof metrics, "%" PRId64, pn_table_size(r->metrics));
        snprintf(samples, sizeof samples, "%" PRId64, pn_table_size(r->samples));
        snprintf(prior, sizeof prior, "%" PRId64, pn_table_size(r->prior));
        const pn_meta meta[] = {
            {"format",      pn_checkpoint_format},
            {"step",        step                },
            {"metrics.csv", metrics             },
            {"samples.csv", samples             },
            {"prior.csv",   prior               },
            {"settings",    settings            },
            {"space",       space               },
            {"history",     r->history          }
        };
        const int metas = sizeof meta / sizeof *meta - !r->history;
        pn_checkpoint_path(r->directory.path, r->search.step, path);
        s = settings ? pn_safetensors_write(path, t.list, t.count, meta, metas)
                     : pn_fail(PN_EMEM, "checkpoint: no memory");
        free(settings);
    }
    pn_tensors_free(&t);
    return s;
}

static pn_status length_in(const pn_safetensors *f, const char *key, int64_t *value) {
    const char *text = pn_safetensors_meta(f, key);
    char *end = NULL;
    *value = text ? strtoll(text, &end, 10) : -1;
    return text && *text && !*end && *value >= 0
               ? PN_OK
               : pn_fail(PN_EINPUT, "no valid \"%s\" in its metadata", key);
}

/* Everything but the tables, whose lengths it gives. */
static pn_status load_checkpoint(pn_run *r, const pn_safetensors *f, int64_t step,
                                 int64_t length[3]) {
    const char *format = pn_safetensors_meta(f, "format"),
               *settings = pn_safetensors_meta(f, "settings");
    if (!format || strcmp(format, pn_checkpoint_format) || !settings || !pn_safetensors_checked(f))
        return pn_fail(PN_EINPUT, "not a checkpoint of a search (no format \"%s\" with a checksum)",
                       pn_checkpoint_format);
    char *ours = pn_fields_write(&pn_settings_fields, &r->settings);
    const bool same = ours && !strcmp(ours, settings);
    free(ours);
    if (!same) return pn_fail(PN_EINPUT, "a checkpoint of other settings than run.json's");
    int64_t found;
    PN_TRY(length_in(f, "step", &found));
    if (found != step)
        return pn_fail(PN_EINPUT, "holds step %" PRId64 ", its name says %" PRId64, found, step);
    PN_TRY(length_in(f, "metrics.csv", &length[0]));
    PN_TRY(length_in(f, "samples.csv", &length[1]));
    PN_TRY(length_in(f, "prior.csv", &length[2]));

    const pn_parameters *p = &r->model.network.parameters;
    PN_TRY(pn_weights_get_state(f, p));
    PN_TRY(pn_parameters_push(p));
    const int64_t count = pn_search_state_count(&r->search);
    const void *state;
    PN_TRY(pn_safetensors_get(f, pn_checkpoint_state, PN_F64, 1, &count, &state));
    PN_TRY(pn_search_restore(&r->search, state, (int)count));
    return r->search.step == step
               ? PN_OK
               : pn_fail(PN_EINPUT, "its state is of step %" PRId64, r->search.step);
}

static pn_status load(pn_run *r, int64_t step, int64_t length[3]) {
    char path[PN_PATH_BYTES];
    pn_checkpoint_path(r->directory.path, step, path);
    pn_safetensors *f = NULL;
    pn_status s = pn_safetensors_read(path, &f);
    if (s == PN_OK) {
        s = load_checkpoint(r, f, step, length);
        if (s != PN_OK) s = pn_fail_in(s, "%s", path);
    }
    pn_safetensors_free(f);
    return s == PN_EINPUT ? pn_checkpoint_damaged(r->directory.path, step, "search") : s;
}

/* ---- the tables
 * ------------------------------------------------------------------------------------ */

static pn_status open_table(const pn_run *r, const char *name, int64_t keep, pn_table **table) {
    char path[PN_PATH_BYTES];
    pn_directory_path(&r->directory, name, path);
    return pn_table_open(path, keep, table);
}

static pn_status write_prior(pn_run *r) {
    double probability[PN_MAX_LOGITS];
    pn_prior_marginals(&r->search.prior, probability);
    PN_TRY(pn_table_printf(r->prior, "%" PRId64, r->search.step));
    for (int i = 0; i < r->search.prior.count; i++)
        PN_TRY(pn_table_printf(r->prior, ",%.9g", probability[i]));
    return pn_table_printf(r->prior, "\n");
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

static pn_status write_headers(pn_run *r, const pn_source *source) {
    char header[PRIOR_HEADER_BYTES];
    PN_TRY(pn_table_printf(
        r->metrics,
        "step,phase,entropy,ess_v,ess_pi,train_loss,val_loss,train_accuracy,val_accuracy,rate,"
        "gradient_norm_v,gradient_norm_pi,skipped,free_ops,input0,cells_reached\n"));
    PN_TRY(pn_table_printf(
        r->samples,
        "step,sample,phase,log_p,train_log_likelihood,val_log_likelihood,weight_v,weight_pi,"
        "train_correct,val_correct,skipped,bytes,architecture\n"));
    prior_header(&r->search.prior, header);
    PN_TRY(pn_table_printf(r->prior, "%s\n", header));
    if (source->checkpoint) PN_TRY(pn_source_rows(source, header, r->prior));
    return write_prior(r);
}

static pn_status write_rows(pn_run *r) {
    const pn_step_report *p = &r->report;
    const char *phase = p->warmup ? "warmup" : "search";
    PN_TRY(pn_table_printf(
        r->metrics,
        "%" PRId64 ",%s,%.9g,%.6g,%.6g,%.9g,%.9g,%.6g,%.6g,%.9g,%.6g,%.6g,%d,%.4g,%.6g,%d\n",
        p->step, phase, p->entropy, p->ess_v, p->ess_pi, p->train_loss, p->val_loss,
        p->train_accuracy, p->val_accuracy, p->rate_v, p->gradient_norm_v, p->gradient_norm_pi,
        p->skipped, r->health.free_ops_all, r->health.input[0], r->health.reached));
    for (int k = 0; k < p->count; k++) {
        const pn_evaluation *e = &p->evaluation[k];
        char arch[PN_SHORT_BYTES];
        pn_genotype_short(&r->search.prior.space, &p->arch[k], arch);
        PN_TRY(pn_table_printf(
            r->samples,
            "%" PRId64 ",%d,%s,%.9g,%.9g,%.9g,%.9g,%.9g,%" PRId64 ",%" PRId64 ",%d,%zu,%s\n",
            p->step, k, phase, p->log_p[k], e->train_ll, e->val_ll, p->weight_v[k], p->weight_pi[k],
            e->train_correct, e->val_correct, e->skipped, e->bytes, arch));
    }
    const int64_t every = r->settings.steps > 100 ? r->settings.steps / 100 : 1;
    return r->search.step % every == 0 || r->search.step == r->settings.steps ? write_prior(r)
                                                                              : PN_OK;
}

/* ---- a run
 * ------------------------------------------------------------------------------------------ */

/* Step 0. `source` is open if this search begins now, from another one. */
static pn_status begin_search(pn_run *r, const pn_source *source) {
    const pn_space space = pn_space_darts();
    const pn_search_settings settings = pn_settings_search(&r->settings);
    PN_TRY(pn_search_init(&r->search, &space, &settings));
    if (!source->checkpoint) return PN_OK;
    pn_prior from = r->search.prior;
    PN_TRY(pn_source_prior(source, &from));
    memcpy(r->search.prior.logit, from.logit, sizeof from.logit);
    free(r->history);
    r->history = pn_source_history(source, &r->search.prior);
    if (!r->history) return pn_fail(PN_EMEM, "no memory for the history of pi");
    if (!r->settings.keep_weights) return PN_OK;
    PN_TRY(pn_source_weights(source, &r->model.network.parameters));
    return pn_parameters_push(&r->model.network.parameters);
}

static pn_status open_run(pn_run *r, const char *directory, const pn_settings *settings,
                          const bool *given, const pn_kernels *kernels, size_t memory,
                          pn_source *source) {
    static const char *const written[] = {"checkpoint-", "run.json", "genotype.txt", NULL};
    bool there;
    uint32_t checksum = 0;
    pn_settings now = *settings;
    PN_TRY(pn_directory_take(&r->directory, directory, &there));
    if (there) {
        PN_TRY(read_json(r, &r->settings, &checksum));
        PN_TRY(pn_fields_same(&pn_settings_fields, &r->settings, &now, given));
    }
    PN_TRY(pn_data_open(there ? r->settings.data : now.data, PN_TRAIN, &r->data));
    if (!there) {
        PN_TRY(pn_settings_resolve(&now, &r->data));
        r->settings = now;
    } else if (pn_data_checksum(&r->data) != checksum) {
        return pn_fail(
            PN_EINPUT,
            "%s: other images than those this run was begun with (checksum %08x, want %08x)",
            r->settings.data, pn_data_checksum(&r->data), checksum);
    } else if (pn_settings_resolve(&r->settings, &r->data) != PN_OK) { /* nothing is open in ours */
        return pn_fail_in(PN_EINPUT, "%s/run.json", r->directory.path);
    }
    const pn_space space = pn_space_darts();
    const int64_t step = there ? pn_checkpoint_newest(r->directory.path, INT64_MAX) : -1;
    if (step < 0 && r->settings.prior[0]) PN_TRY(pn_source_open(source, r->settings.prior, &space));
    const pn_model_settings model = pn_settings_model(&r->settings, &r->data, memory);
    PN_TRY(pn_model_create(&r->model, kernels, &space, &model, &r->data, (int)r->settings.samples));

    int64_t length[3] = {0, 0, 0};
    PN_TRY(begin_search(r, source));
    if (step >= 0) PN_TRY(load(r, step, length));
    r->continued = step >= 0;
    r->saved_step = step;
    r->finished = r->search.step == r->settings.steps;
    pn_health_check(&r->search.prior, (int)r->settings.layers, &r->health);
    pn_directory_clean(&r->directory, written);
    if (!there) PN_TRY(write_json(r, "running"));
    PN_TRY(open_table(r, "metrics.csv", length[0], &r->metrics));
    PN_TRY(open_table(r, "samples.csv", length[1], &r->samples));
    PN_TRY(open_table(r, "prior.csv", length[2], &r->prior));
    return r->continued ? PN_OK : write_headers(r, source);
}

pn_status pn_run_open(pn_run *r, const char *directory, const pn_settings *settings,
                      const bool *given, const pn_kernels *kernels, size_t memory) {
    r->saved_step = -1;
    pn_source source = {0};
    const pn_status s = open_run(r, directory, settings, given, kernels, memory, &source);
    pn_source_close(&source);
    if (s != PN_OK) pn_directory_abandon(&r->directory);
    return s;
}

pn_status pn_run_step(pn_run *r) {
    const pn_evaluator evaluator = pn_model_evaluator(&r->model);
    pn_status s = pn_search_step(&r->search, &evaluator, &r->report);
    if (s == PN_EDIVERGED) {
        char sentence[512];
        snprintf(sentence, sizeof sentence, "%s", pn_error());
        s = write_json(r, "diverged");
        return s == PN_OK ? pn_fail(PN_EDIVERGED, "%s", sentence) : s;
    }
    PN_TRY(s);
    pn_health_check(&r->search.prior, (int)r->settings.layers, &r->health);
    return write_rows(r);
}

pn_status pn_run_save(pn_run *r) {
    if (r->saved_step == r->search.step) return PN_OK;
    PN_TRY(write_checkpoint(r));
    r->saved_step = r->search.step;
    pn_checkpoint_remove(r->directory.path, KEEP_CHECKPOINTS);
    return PN_OK;
}

pn_status pn_run_finish(pn_run *r) {
    PN_TRY(pn_run_save(r));
    pn_arch mode;
    char text[PN_GENOTYPE_BYTES], line[PN_GENOTYPE_BYTES + 1], path[PN_PATH_BYTES];
    pn_prior_mode(&r->search.prior, &mode);
    pn_genotype_write(&mode, text);
    snprintf(line, sizeof line, "%s\n", text);
    pn_directory_path(&r->directory, "genotype.txt", path);
    PN_TRY(pn_file_write(path, line, strlen(line)));
    PN_TRY(write_json(r, "finished"));
    pn_checkpoint_remove(r->directory.path, 1);
    r->finished = true;
    return PN_OK;
}

void pn_run_close(pn_run *r) {
    (void)pn_table_close(r->metrics);
    (void)pn_table_close(r->samples);
    (void)pn_table_close(r->prior);
    pn_model_destroy(&r->model);
    pn_data_free(&r->data);
    free(r->history);
    pn_directory_release(&r->directory);
    *r = (pn_run){.directory.lock = -1};
}
