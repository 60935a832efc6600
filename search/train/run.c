/* run.c -- see run.h. */
#include "search/train/run.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clock.h"
#include "runtime/group.h"
#include "runtime/json.h"
#include "search/network/weights.h"

static const pn_record_kind kind = {
    .command = "train",
    .what = "training",
    .format = "parsec-nas training 1",
    .state = "training.state",
    .fields = &pn_train_fields,
    .settings_bytes = sizeof(pn_train_settings),
    .tables = {"metrics.csv"},
    .times = "epoch",
    .written = {"checkpoint-", "run.json", "genotype.txt", "best.safetensors", "last.safetensors"},
};

const char *pn_training_scored_on(const pn_train_settings *r) {
    return r->hold_out ? "the other half of the training images" : "the test images";
}

/* Whether this process has the record. */
static bool leads(const pn_training *t) { return pn_group_rank(t->group) == 0; }

/* ---- run.json -------------------------------------------------------------------------------- */

static json_t *score_json(const pn_epoch_score *s) {
    return json_pack("{s:I,s:o,s:o}", "epoch", (json_int_t)s->epoch, "loss",
                     pn_json_number(s->loss), "accuracy", pn_json_number(s->accuracy));
}

/* What run.json holds beside what every kind of run has. */
static json_t *more(const pn_training *t) {
    size_t weights, auxiliary;
    pn_network_count(&t->trainer.network, &t->trainer.arch, &weights, &auxiliary);
    json_t *root = json_pack("{s:I,s:I,s:o*,s:o}", "params", (json_int_t)weights,
                             "params_auxiliary", (json_int_t)auxiliary, "loss_scale",
                             pn_record_loss_scale(&t->trainer.update.loss), "images",
                             pn_images_json(&t->images));
    int failed = 0;
    if (t->last.epoch) {
        failed |= json_object_set_new(root, "scored_on",
                                      json_string(pn_training_scored_on(&t->settings)));
        failed |= json_object_set_new(root, "last", score_json(&t->last));
        failed |= json_object_set_new(root, "best", score_json(&t->best));
    }
    if (!failed) return root;
    json_decref(root);
    return NULL;
}

static pn_status write_begun(const pn_training *t) {
    return pn_record_write(&t->record, "running", t->trainer.step, &t->settings, more(t));
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

/* A count that a double holds exactly. */
static bool is_count(double x) { return x >= 0 && x <= 0x1p53 && x == floor(x); }

static bool is_share(double x) { return x >= 0 && x <= 1; }

static pn_status load_state(pn_training *t, const double state[STATE]) {
    static const int counts[] = {0, 4, 5, 6, 7, 10};
    for (int i = 0; i < STATE; i++)
        if (!isfinite(state[i]))
            return pn_fail(PN_EINPUT, "number %d of its state is %g, want a finite one", i,
                           state[i]);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (!is_count(state[counts[i]]))
            return pn_fail(PN_EINPUT, "number %d of its state is %g, want a whole one from 0",
                           counts[i], state[counts[i]]);
    if (state[4] > state[5] || state[7] > (double)t->settings.epochs || !is_share(state[9]) ||
        state[10] > (double)t->settings.epochs || !is_share(state[12]))
        return pn_fail(PN_EINPUT, "its state counts more than there is");
    t->trainer.step = (int64_t)state[0];
    t->sums = (pn_epoch_sums){.loss = state[1],
                              .auxiliary_loss = state[2],
                              .gradient_norm = state[3],
                              .correct = (int64_t)state[4],
                              .images = (int64_t)state[5],
                              .steps = (int64_t)state[6]};
    t->last = (pn_epoch_score){(int64_t)state[7], state[8], state[9]};
    t->best = (pn_epoch_score){(int64_t)state[10], state[11], state[12]};
    return PN_OK;
}

static pn_status restore(void *self, const pn_safetensors *file, int64_t step,
                         const double *state) {
    pn_training *t = self;
    PN_TRY(pn_record_restore_loss(file, &t->trainer.update.loss));
    PN_TRY(load_state(t, state));
    return t->trainer.step == step && step <= t->steps
               ? PN_OK
               : pn_fail(PN_EINPUT, "its state is of step %" PRId64, t->trainer.step);
}

/* ---- a training ------------------------------------------------------------------------------ */

static pn_status write_genotype(const pn_training *t) {
    char line[PN_GENOTYPE_BYTES + 1];
    snprintf(line, sizeof line, "%s\n", t->settings.genotype);
    return pn_record_text(&t->record, "genotype.txt", line);
}

/* From here on the epoch at hand is timed. */
static void begin_times(pn_training *t) {
    t->trainer.times = (pn_step_times){.distribution = NAN};
    t->epoch_begun = pn_now();
}

/* Where kernels are queued, the host's time says nothing of theirs. */
static void write_times(pn_training *t, int64_t epoch, bool scored) {
    pn_step_times times = t->trainer.times;
    const pn_train_settings *r = &t->settings;
    if (!t->trainer.kernels->memory->plain) times.forward = times.backward = times.update = NAN;
    if (scored) times.images += r->hold_out ? t->data.count / 2 : t->held.count;
    times.all = pn_now() - t->epoch_begun;
    times.memory_bytes = pn_journal_memory(&t->record.journal);
    times.arena_bytes = t->trainer.size.arena_bytes;
    pn_journal_times(&t->record.journal, epoch, &times);
    begin_times(t);
}

static pn_status open_images(pn_training *t) {
    if (t->settings.hold_out == 1)
        PN_TRY(pn_data_open(t->settings.data, PN_TRAIN, &t->data));
    else
        PN_TRY(pn_data_open_both(t->settings.data, &t->data, &t->held));
    PN_TRY(pn_images_of(&t->data, &t->images));
    return pn_record_same_images(&t->record, t->group, t->settings.data,
                                 pn_data_checksum(&t->data));
}

/* The newest checkpoint, if there is one; rank 0 reads it. */
static pn_status load(pn_training *t) {
    double state[STATE];
    const pn_parameters *p = &t->trainer.network.parameters;
    if (leads(t)) PN_TRY(pn_record_load(&t->record, &t->settings, p, STATE, restore, t));
    save_state(t, state);
    PN_TRY(pn_record_spread(t->group, p, state, STATE));
    PN_TRY(pn_group_share(t->group, &t->trainer.update.loss, sizeof t->trainer.update.loss));
    return leads(t) ? PN_OK : load_state(t, state);
}

static pn_status open_record(pn_training *t, const pn_opening *o) {
    bool begin;
    pn_record *record = &t->record;
    if (!record->begun || o->change_device) PN_TRY(write_begun(t));
    PN_TRY(write_genotype(t));
    PN_TRY(pn_record_tables(record, t->steps, t->trainer.step / t->trainer.steps_per_epoch + 1,
                            o->say, &begin));
    return begin ? pn_table_printf(record->table[0],
                                   "epoch,rate,drop_path,train_loss,"
                                   "auxiliary_loss,train_accuracy,gradient_norm,loss,accuracy\n")
                 : PN_OK;
}

static pn_status open_training(pn_training *t, const char *directory,
                               const pn_train_settings *asked, const pn_opening *opening,
                               const pn_kernels *kernels, size_t memory) {
    pn_record *record = &t->record;
    pn_opening o = *opening;
    o.device = kernels->name;
    t->settings = pn_train_defaults();
    if (leads(t)) PN_TRY(pn_record_open(record, &kind, directory, &o, asked, &t->settings));
    PN_TRY(pn_group_share(t->group, &t->settings, sizeof t->settings));
    PN_TRY(open_images(t));
    const pn_status s = pn_train_resolve(&t->settings, &t->data);
    if (s != PN_OK) return record->begun ? pn_fail_in(PN_EINPUT, "%s/run.json", directory) : s;
    if (t->settings.hold_out) pn_data_free(&t->held); /* it turned out so */
    PN_TRY(pn_trainer_create(&t->trainer, kernels, &t->settings, &t->data, memory, t->group));
    t->steps = t->settings.epochs * t->trainer.steps_per_epoch;
    PN_TRY(load(t));
    t->continued = record->saved >= 0;
    t->finished = t->trainer.step == t->steps;
    if (leads(t)) PN_TRY(open_record(t, &o));
    begin_times(t);
    return PN_OK;
}

pn_status pn_training_open(pn_training *t, const char *directory, const pn_train_settings *settings,
                           const pn_opening *opening, const pn_kernels *kernels, size_t memory) {
    *t = (pn_training){.record = PN_NO_RECORD, .group = opening->group};
    const pn_status s = open_training(t, directory, settings, opening, kernels, memory);
    if (s != PN_OK) pn_directory_abandon(&t->record.directory);
    return s;
}

static pn_status write_weights(const pn_training *t, const char *name) {
    PN_TRY(pn_directory_check(&t->record.directory));
    return pn_directory_written(
        &t->record.directory, pn_weights_save(&t->record.directory.place, name, &t->trainer.network,
                                              &t->trainer.arch, &t->images, t->trainer.step, true));
}

/* The score of the weights as they are, and the files of weights. */
static pn_status score(pn_training *t, int64_t epoch) {
    pn_predictions j;
    const pn_train_settings *r = &t->settings;
    PN_TRY(pn_trainer_predict(&t->trainer, r->hold_out ? &t->data : &t->held,
                              r->hold_out ? PN_HALF_SECOND : PN_HALF_BOTH, &j));
    t->last = (pn_epoch_score){epoch, j.loss, pn_predictions_accuracy(&j)};
    pn_predictions_free(&j);
    if (leads(t)) PN_TRY(pn_parameters_pull(&t->trainer.network.parameters));
    if (leads(t)) PN_TRY(write_weights(t, "last.safetensors"));
    if (t->best.epoch && t->last.accuracy <= t->best.accuracy) return PN_OK;
    t->best = t->last;
    return leads(t) ? write_weights(t, "best.safetensors") : PN_OK;
}

static pn_status write_epoch(pn_training *t, int64_t epoch, bool scored) {
    const pn_train_settings *r = &t->settings;
    const pn_epoch_sums *s = &t->sums;
    PN_TRY(pn_table_printf(t->record.table[0], "%" PRId64 ",%.9g,%.9g,%.9g,%.9g,%.9g,%.6g,", epoch,
                           pn_train_rate(r, epoch - 1), pn_train_drop_path(r, epoch - 1),
                           s->loss / (double)s->steps, s->auxiliary_loss / (double)s->steps,
                           (double)s->correct / (double)s->images,
                           s->gradient_norm / (double)s->steps));
    PN_TRY(scored
               ? pn_table_printf(t->record.table[0], "%.9g,%.9g\n", t->last.loss, t->last.accuracy)
               : pn_table_printf(t->record.table[0], ",\n"));
    write_times(t, epoch, scored);
    PN_TRY(pn_table_flush(t->record.table[0]));
    pn_journal_flush(&t->record.journal);
    return PN_OK;
}

static pn_status end_epoch(pn_training *t) {
    const int64_t epoch = t->trainer.step / t->trainer.steps_per_epoch; /* done */
    const bool scored = epoch % t->settings.score_every == 0 || epoch == t->settings.epochs;
    if (scored) PN_TRY(score(t, epoch));
    if (leads(t)) PN_TRY(write_epoch(t, epoch, scored));
    t->sums = (pn_epoch_sums){0};
    return PN_OK;
}

static pn_status step_and_score(pn_training *t) {
    pn_epoch_sums *s = &t->sums;
    PN_TRY(pn_trainer_step(&t->trainer, &t->report));
    if (t->report.skipped && leads(t))
        pn_record_overflow(&t->record, t->trainer.step - 1, &t->trainer.update.loss);
    s->loss += t->report.loss;
    s->auxiliary_loss += t->report.auxiliary_loss;
    s->gradient_norm += t->report.gradient_norm;
    s->correct += t->report.correct;
    s->images += t->report.images;
    s->steps++;
    return t->trainer.step % t->trainer.steps_per_epoch == 0 ? end_epoch(t) : PN_OK;
}

pn_status pn_training_step(pn_training *t) {
    pn_group_at(t->group, "step", t->trainer.step);
    const pn_status s = step_and_score(t);
    if (s == PN_EDIVERGED && leads(t))
        return pn_record_diverged(&t->record, t->trainer.step, &t->settings, more(t));
    return s;
}

pn_status pn_training_save(pn_training *t) {
    double state[STATE];
    char loss[PN_LOSS_SCALE_TEXT], *images;
    save_state(t, state);
    PN_TRY(pn_record_compare(t->group, &t->trainer.network.parameters, state, STATE));
    if (!leads(t)) return PN_OK;
    PN_TRY(pn_images_text(&t->images, &images));
    pn_meta metas[2] = {{"images", images}};
    const int count = 1 + pn_record_loss_meta(&t->trainer.update.loss, loss, &metas[1]);
    const pn_status s = pn_record_save(&t->record, t->trainer.step, &t->settings,
                                       &t->trainer.network.parameters, state, STATE, metas, count);
    free(images);
    return s;
}

pn_status pn_training_finish(pn_training *t) {
    PN_TRY(pn_training_save(t));
    t->finished = true;
    if (!leads(t)) return PN_OK;
    PN_TRY(pn_record_finished(&t->record, t->trainer.step, &t->settings, more(t)));
    pn_checkpoint_remove(&t->record.directory.place, 1);
    return PN_OK;
}

void pn_training_close(pn_training *t) {
    pn_trainer_destroy(&t->trainer);
    pn_data_free(&t->data);
    pn_data_free(&t->held);
    pn_images_free(&t->images);
    pn_record_close(&t->record);
    *t = (pn_training){.record = PN_NO_RECORD};
}

/* ---- what came of it ------------------------------------------------------------------------- */

static bool score_in(const json_t *root, const char *key, pn_epoch_score *score) {
    const json_t *s = json_object_get(root, key), *epoch = json_object_get(s, "epoch"),
                 *loss = json_object_get(s, "loss"), *accuracy = json_object_get(s, "accuracy");
    *score = (pn_epoch_score){json_integer_value(epoch), json_number_value(loss),
                              json_number_value(accuracy)};
    return json_is_integer(epoch) && json_is_number(loss) && json_is_number(accuracy);
}

pn_status pn_training_result(const char *directory, const pn_train_settings *settings,
                             bool *finished, pn_epoch_score *last, pn_epoch_score *best) {
    pn_train_settings found = pn_train_defaults(), wanted = *settings;
    json_t *root = NULL;
    const char *differs;
    *finished = false;
    PN_TRY(pn_record_look(&kind, directory, &found, &root));
    if (!root) return PN_OK;
    const char *state = json_string_value(json_object_get(root, "state"));
    wanted.seed = found.seed;
    *finished = state && !strcmp(state, "finished") && score_in(root, "last", last) &&
                score_in(root, "best", best) &&
                pn_fields_equal(&pn_train_fields, &found, &wanted, &differs);
    json_decref(root);
    return PN_OK;
}

pn_status pn_training_look(const char *directory, pn_train_settings *settings, bool *begun) {
    json_t *root = NULL;
    *settings = pn_train_defaults();
    PN_TRY(pn_record_look(&kind, directory, settings, &root));
    *begun = root != NULL;
    json_decref(root);
    return PN_OK;
}
