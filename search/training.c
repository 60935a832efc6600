/* training.c -- see training.h. */
#include "search/training.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "search/weights.h"

enum { KEEP_CHECKPOINTS = 2, RUN_JSON_LIMIT = 1 << 20 };

static const char checkpoint_format[] = "parsec-nas training 1";
static const char state_name[] = "training.state";

const char *pn_training_scored_on(const pn_recipe *r) {
    return r->hold_out ? "the other half of the training images" : "the test images";
}

/* ---- run.json -------------------------------------------------------------------------------- */

static json_t *mark_json(const pn_epoch_score *m) {
    return json_pack("{s:I,s:f,s:f}", "epoch", (json_int_t)m->epoch, "loss", m->loss, "accuracy",
                     m->accuracy);
}

static pn_status write_json(const pn_training *t, const char *state) {
    size_t weights, auxiliary;
    char *settings = pn_fields_write(&pn_recipe_fields, &t->recipe), path[PN_PATH_BYTES];
    pn_network_count(&t->trainer.network, &t->trainer.arch, &weights, &auxiliary);
    json_t *root = json_pack("{s:s,s:s,s:s,s:s,s:I,s:s,s:I,s:I,s:I,s:o?}", "program", "parsec-nas",
                             "version", PN_VERSION, "command", "train", "state", state, "step",
                             (json_int_t)t->trainer.step, "device", t->trainer.kernels->name,
                             "data_crc32", (json_int_t)pn_data_checksum(&t->data), "params",
                             (json_int_t)weights, "params_auxiliary", (json_int_t)auxiliary,
                             "settings", settings ? json_loads(settings, 0, NULL) : NULL);
    free(settings);
    if (root && t->last.epoch) {
        json_object_set_new(root, "scored_on", json_string(pn_training_scored_on(&t->recipe)));
        json_object_set_new(root, "last", mark_json(&t->last));
        json_object_set_new(root, "best", mark_json(&t->best));
    }
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(root);
    if (!text) return pn_fail(PN_EMEM, "run.json: no memory");
    pn_directory_path(&t->directory, "run.json", path);
    const pn_status s = pn_file_write(path, text, strlen(text));
    free(text);
    return s;
}

static pn_status read_json(pn_training *t, uint32_t *checksum) {
    char path[PN_PATH_BYTES];
    void *text;
    size_t length;
    pn_directory_path(&t->directory, "run.json", path);
    PN_TRY(pn_file_read(path, RUN_JSON_LIMIT, &text, &length));
    json_t *root = json_loadb(text, length, 0, NULL);
    const char *command = json_string_value(json_object_get(root, "command"));
    const json_t *sum = json_object_get(root, "data_crc32");
    t->recipe = pn_recipe_defaults();
    pn_status s = command && !strcmp(command, "train")
                      ? pn_fields_read(&pn_recipe_fields, path, text, length, &t->recipe)
                      : pn_fail(PN_EINPUT, "%s: not a training's", path);
    if (s == PN_OK && !json_is_integer(sum)) s = pn_fail(PN_EINPUT, "%s: no data_crc32", path);
    if (s == PN_OK) *checksum = (uint32_t)json_integer_value(sum);
    json_decref(root);
    free(text);
    return s;
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

/* All that is not a tensor, as numbers that a double holds exactly. */
enum { STATE = 13 };

static void save_state(const pn_training *t, double state[STATE]) {
    const pn_epoch_sums *s = &t->sums;
    const double numbers[STATE] = {(double)t->trainer.step,
                                   s->loss,
                                   s->auxiliary_loss,
                                   s->gradient_norm,
                                   (double)s->correct,
                                   (double)s->images,
                                   (double)s->steps,
                                   (double)t->last.epoch,
                                   t->last.loss,
                                   t->last.accuracy,
                                   (double)t->best.epoch,
                                   t->best.loss,
                                   t->best.accuracy};
    memcpy(state, numbers, sizeof numbers);
}

static void load_state(pn_training *t, const double state[STATE]) {
    t->trainer.step = (int64_t)state[0];
    t->sums = (pn_epoch_sums){.loss = state[1],
                              .auxiliary_loss = state[2],
                              .gradient_norm = state[3],
                              .correct = (int64_t)state[4],
                              .images = (int64_t)state[5],
                              .steps = (int64_t)state[6]};
    t->last = (pn_epoch_score){(int64_t)state[7], state[8], state[9]};
    t->best = (pn_epoch_score){(int64_t)state[10], state[11], state[12]};
}

static pn_status write_checkpoint(pn_training *t) {
    const pn_parameters *p = &t->trainer.network.parameters;
    double state[STATE];
    char *settings = pn_fields_write(&pn_recipe_fields, &t->recipe), metrics[24],
         path[PN_PATH_BYTES];
    pn_tensors list = {0};
    save_state(t, state);
    pn_status s = settings ? pn_table_sync(t->metrics) : pn_fail(PN_EMEM, "checkpoint: no memory");
    if (s == PN_OK) s = pn_parameters_pull(p);
    if (s == PN_OK) s = pn_tensors_add_state(&list, p);
    if (s == PN_OK)
        s = pn_tensors_add_array(
            &list,
            (pn_array){
                .name = state_name, .dtype = PN_F64, .rank = 1, .shape = {STATE}, .data = state});
    snprintf(metrics, sizeof metrics, "%" PRId64, pn_table_size(t->metrics));
    const pn_meta meta[] = {
        {"format",      checkpoint_format},
        {"metrics.csv", metrics          },
        {"settings",    settings         }
    };
    pn_checkpoint_path(t->directory.path, t->trainer.step, path);
    if (s == PN_OK)
        s = pn_safetensors_write(path, list.list, list.count, meta, sizeof meta / sizeof *meta);
    free(settings);
    pn_tensors_free(&list);
    return s;
}

static pn_status load_checkpoint(pn_training *t, const pn_safetensors *f, int64_t step,
                                 int64_t *length) {
    const char *format = pn_safetensors_meta(f, "format"),
               *settings = pn_safetensors_meta(f, "settings"),
               *rows = pn_safetensors_meta(f, "metrics.csv");
    const pn_parameters *p = &t->trainer.network.parameters;
    const int64_t shape[1] = {STATE};
    const void *state;
    char *end = NULL;
    if (!format || strcmp(format, checkpoint_format) || !settings || !pn_safetensors_checked(f))
        return pn_fail(PN_EINPUT,
                       "not a checkpoint of a training (no format \"%s\" with a checksum)",
                       checkpoint_format);
    char *ours = pn_fields_write(&pn_recipe_fields, &t->recipe);
    const bool same = ours && !strcmp(ours, settings);
    free(ours);
    if (!same) return pn_fail(PN_EINPUT, "a checkpoint of other settings than run.json's");
    *length = rows ? strtoll(rows, &end, 10) : -1;
    if (!rows || !*rows || *end || *length < 0)
        return pn_fail(PN_EINPUT, "no valid \"metrics.csv\" in its metadata");
    PN_TRY(pn_weights_get_state(f, p));
    PN_TRY(pn_parameters_push(p));
    PN_TRY(pn_safetensors_get(f, state_name, PN_F64, 1, shape, &state));
    load_state(t, state);
    return t->trainer.step == step && step <= t->steps
               ? PN_OK
               : pn_fail(PN_EINPUT, "its state is of step %" PRId64, t->trainer.step);
}

static pn_status load(pn_training *t, int64_t step, int64_t *length) {
    char path[PN_PATH_BYTES];
    pn_safetensors *f = NULL;
    pn_checkpoint_path(t->directory.path, step, path);
    pn_status s = pn_safetensors_read(path, &f);
    if (s == PN_OK) {
        s = load_checkpoint(t, f, step, length);
        if (s != PN_OK) s = pn_fail_in(s, "%s", path);
    }
    pn_safetensors_free(f);
    return s == PN_EINPUT ? pn_checkpoint_damaged(t->directory.path, step, "training") : s;
}

/* ---- a training ------------------------------------------------------------------------------ */

static pn_status write_genotype(const pn_training *t) {
    char line[PN_GENOTYPE_BYTES + 1], path[PN_PATH_BYTES];
    snprintf(line, sizeof line, "%s\n", t->recipe.genotype);
    pn_directory_path(&t->directory, "genotype.txt", path);
    return pn_file_write(path, line, strlen(line));
}

static pn_status open_training(pn_training *t, const char *directory, const pn_recipe *recipe,
                               const bool *given, const pn_kernels *kernels, size_t memory) {
    static const char *const written[] = {"checkpoint-",      "run.json",         "genotype.txt",
                                          "best.safetensors", "last.safetensors", NULL};
    bool there;
    uint32_t checksum = 0;
    pn_recipe now = *recipe;
    PN_TRY(pn_directory_take(&t->directory, directory, &there));
    if (there) {
        PN_TRY(read_json(t, &checksum));
        PN_TRY(pn_fields_same(&pn_recipe_fields, &t->recipe, &now, given));
        now = t->recipe;
    }
    PN_TRY(pn_data_open(now.data, PN_TRAIN, &t->data));
    if (!now.hold_out) PN_TRY(pn_data_open(now.data, PN_TEST, &t->held));
    if (there && pn_data_checksum(&t->data) != checksum)
        return pn_fail(
            PN_EINPUT,
            "%s: other images than those this training was begun with (checksum %08x, want %08x)",
            now.data, pn_data_checksum(&t->data), checksum);
    const pn_status s = pn_recipe_resolve(&now, &t->data);
    if (s != PN_OK) return there ? pn_fail_in(PN_EINPUT, "%s/run.json", t->directory.path) : s;
    t->recipe = now;
    PN_TRY(pn_trainer_create(&t->trainer, kernels, &t->recipe, &t->data, memory));
    t->steps = t->recipe.epochs * t->trainer.steps_per_epoch;

    int64_t length = 0;
    const int64_t step = there ? pn_checkpoint_newest(t->directory.path, INT64_MAX) : -1;
    if (step >= 0) PN_TRY(load(t, step, &length));
    t->continued = step >= 0;
    t->saved_step = step;
    t->finished = t->trainer.step == t->steps;
    pn_directory_clean(&t->directory, written);
    if (!there) PN_TRY(write_json(t, "running"));
    PN_TRY(write_genotype(t));
    char path[PN_PATH_BYTES];
    pn_directory_path(&t->directory, "metrics.csv", path);
    PN_TRY(pn_table_open(path, length, &t->metrics));
    return t->continued ? PN_OK
                        : pn_table_printf(t->metrics,
                                          "epoch,rate,drop_path,train_loss,auxiliary_loss,"
                                          "train_accuracy,gradient_norm,loss,accuracy\n");
}

pn_status pn_training_open(pn_training *t, const char *directory, const pn_recipe *recipe,
                           const bool *given, const pn_kernels *kernels, size_t memory) {
    t->saved_step = -1;
    const pn_status s = open_training(t, directory, recipe, given, kernels, memory);
    if (s != PN_OK) pn_directory_abandon(&t->directory);
    return s;
}

static pn_status write_weights(const pn_training *t, const char *name) {
    char path[PN_PATH_BYTES];
    pn_directory_path(&t->directory, name, path);
    return pn_weights_save(path, &t->trainer.network, &t->trainer.arch, t->trainer.step, true);
}

/* The score of the weights as they are, and the files of weights. */
static pn_status score(pn_training *t, int64_t epoch) {
    pn_judgement j;
    const pn_recipe *r = &t->recipe;
    PN_TRY(pn_trainer_judge(&t->trainer, r->hold_out ? &t->data : &t->held,
                            r->hold_out ? PN_PART_SECOND : PN_PART_ALL, &j));
    t->last = (pn_epoch_score){epoch, j.loss, pn_judgement_accuracy(&j)};
    pn_judgement_free(&j);
    PN_TRY(pn_parameters_pull(&t->trainer.network.parameters));
    PN_TRY(write_weights(t, "last.safetensors"));
    if (t->best.epoch && t->last.accuracy <= t->best.accuracy) return PN_OK;
    t->best = t->last;
    return write_weights(t, "best.safetensors");
}

static pn_status end_epoch(pn_training *t) {
    const pn_recipe *r = &t->recipe;
    const pn_epoch_sums *s = &t->sums;
    const int64_t epoch = t->trainer.step / t->trainer.steps_per_epoch; /* done */
    const bool scored = epoch % r->score_every == 0 || epoch == r->epochs;
    if (scored) PN_TRY(score(t, epoch));
    PN_TRY(pn_table_printf(t->metrics, "%" PRId64 ",%.9g,%.9g,%.9g,%.9g,%.9g,%.6g,", epoch,
                           pn_recipe_rate(r, epoch - 1), pn_recipe_drop_path(r, epoch - 1),
                           s->loss / (double)s->steps, s->auxiliary_loss / (double)s->steps,
                           (double)s->correct / (double)s->images,
                           s->gradient_norm / (double)s->steps));
    PN_TRY(scored ? pn_table_printf(t->metrics, "%.9g,%.9g\n", t->last.loss, t->last.accuracy)
                  : pn_table_printf(t->metrics, ",\n"));
    t->sums = (pn_epoch_sums){0};
    return pn_table_flush(t->metrics);
}

pn_status pn_training_step(pn_training *t) {
    pn_status s = pn_trainer_step(&t->trainer, &t->report);
    if (s == PN_EDIVERGED) {
        char sentence[512];
        snprintf(sentence, sizeof sentence, "%s", pn_error());
        s = write_json(t, "diverged");
        return s == PN_OK ? pn_fail(PN_EDIVERGED, "%s", sentence) : s;
    }
    PN_TRY(s);
    t->sums.loss += t->report.loss;
    t->sums.auxiliary_loss += t->report.auxiliary_loss;
    t->sums.gradient_norm += t->report.gradient_norm;
    t->sums.correct += t->report.correct;
    t->sums.images += t->report.images;
    t->sums.steps++;
    return t->trainer.step % t->trainer.steps_per_epoch == 0 ? end_epoch(t) : PN_OK;
}

pn_status pn_training_save(pn_training *t) {
    if (t->saved_step == t->trainer.step) return PN_OK;
    PN_TRY(write_checkpoint(t));
    t->saved_step = t->trainer.step;
    pn_checkpoint_remove(t->directory.path, KEEP_CHECKPOINTS);
    return PN_OK;
}

pn_status pn_training_finish(pn_training *t) {
    PN_TRY(pn_training_save(t));
    PN_TRY(write_json(t, "finished"));
    pn_checkpoint_remove(t->directory.path, 1);
    t->finished = true;
    return PN_OK;
}

void pn_training_close(pn_training *t) {
    (void)pn_table_close(t->metrics);
    pn_trainer_destroy(&t->trainer);
    pn_data_free(&t->data);
    pn_data_free(&t->held);
    pn_directory_release(&t->directory);
    *t = (pn_training){.directory.lock = -1};
}
