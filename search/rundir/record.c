/* record.c -- see record.h. */
#include "search/rundir/record.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "runtime/clock.h"
#include "runtime/group.h"
#include "runtime/json.h"
#include "search/network/weights.h"

/* Others look at a run at work: rows wait no longer than these seconds. */
#define PATIENCE 1.0

enum { KEEP_CHECKPOINTS = 2, RUN_JSON_LIMIT = 1 << 26, PENDING = 1 << 13, MOST_METAS = 16 };

static const char run_json[] = "run.json";
static const size_t json_style = JSON_INDENT(2) | PN_JSON_EXACT;

/* ---- run.json -------------------------------------------------------------------------------- */

static pn_status write_json(const pn_record *r, const char *text) {
    PN_TRY(pn_directory_check(&r->directory));
    return pn_directory_written(
        &r->directory, pn_file_write_in(&r->directory.place, run_json, text, strlen(text)));
}

/* Text of JSON as JSON again; NULL: no memory. */
static json_t *parsed(const char *text) {
    json_t *value = NULL;
    return text && pn_json_parse(text, strlen(text), &value) == PN_OK ? value : NULL;
}

pn_status pn_record_write(const pn_record *r, const char *state, int64_t step, const void *settings,
                          json_t *more) {
    char *text;
    json_t *root = json_object();
    int failed = 0;
    failed |= json_object_set_new(root, "program", json_string("parsec-nas"));
    failed |= json_object_set_new(root, "version", json_string(PN_VERSION));
    failed |= json_object_set_new(root, "format", json_integer(PN_RECORD_FORMAT));
    failed |= json_object_set_new(root, "command", json_string(r->kind->command));
    failed |= json_object_set_new(root, "state", json_string(state));
    failed |= json_object_set_new(root, "step", json_integer(step));
    failed |= json_object_set_new(root, "device", json_string(r->device));
    failed |= json_object_set_new(root, "data_crc32", json_integer(r->checksum));
    failed |= more ? json_object_update(root, more) : -1;
    failed |= json_object_set_new(root, "settings", pn_fields_json(r->kind->fields, settings));
    if (r->history) failed |= json_object_set_new(root, "history", parsed(r->history));
    json_decref(more);
    PN_TRY(pn_json_file(root, failed, json_style, &text));
    const pn_status s = write_json(r, text);
    free(text);
    return s;
}

pn_status pn_record_diverged(pn_record *r, int64_t step, const void *settings, json_t *more) {
    char sentence[PN_SENTENCE_BYTES];
    snprintf(sentence, sizeof sentence, "%s", pn_error());
    PN_TRY(pn_record_write(r, "diverged", step, settings, more));
    for (int i = 0; r->kind->tables[i]; i++) PN_TRY(pn_table_flush(r->table[i]));
    pn_journal_flush(&r->journal);
    pn_journal_event(&r->journal, "diverged", step, "text", sentence);
    return pn_fail(PN_EDIVERGED, "%s", sentence);
}

pn_status pn_record_finished(pn_record *r, int64_t step, const void *settings, json_t *more) {
    PN_TRY(pn_record_write(r, "finished", step, settings, more));
    if (!r->finished) pn_journal_event(&r->journal, "finish", step, NULL, NULL);
    r->finished = true;
    return PN_OK;
}

/* What an earlier process wrote, but for the settings. */
static pn_status read_root(pn_record *r, const json_t *root) {
    const json_t *sum = json_object_get(root, "data_crc32"),
                 *command = json_object_get(root, "command"),
                 *format = json_object_get(root, "format"),
                 *version = json_object_get(root, "version"),
                 *device = json_object_get(root, "device"),
                 *history = json_object_get(root, "history"),
                 *state = json_object_get(root, "state");
    if (!json_is_string(command) || strcmp(json_string_value(command), r->kind->command))
        return pn_fail(PN_EINPUT, "not of a %s", r->kind->what);
    if (format && (!json_is_integer(format) || json_integer_value(format) < 1))
        return pn_fail(PN_EINPUT, "\"format\" is not a whole number from 1");
    if (format && json_integer_value(format) > PN_RECORD_FORMAT)
        return pn_fail(
            PN_EINPUT,
            "written by parsec-nas %.20s in format %lld; this is %s, which reads formats 1 to %d",
            json_is_string(version) ? json_string_value(version) : "of a later version",
            (long long)json_integer_value(format), PN_VERSION, PN_RECORD_FORMAT);
    if (!json_is_integer(sum)) return pn_fail(PN_EINPUT, "no \"data_crc32\"");
    if (!json_is_string(device) || json_string_length(device) >= sizeof r->device)
        return pn_fail(PN_EINPUT, "no \"device\"");
    if (history && !json_is_array(history)) return pn_fail(PN_EINPUT, "\"history\" is not a list");
    r->checksum = (uint32_t)json_integer_value(sum);
    r->finished = json_is_string(state) && !strcmp(json_string_value(state), "finished");
    snprintf(r->device, sizeof r->device, "%s", json_string_value(device));
    return history ? pn_json_text(json_incref(json_object_get(root, "history")), 0, PN_JSON_EXACT,
                                  &r->history)
                   : PN_OK;
}

/* *root is the caller's, whatever comes of it. */
static pn_status read_json(pn_record *r, void *settings, json_t **root) {
    char path[PN_PATH_BYTES];
    void *text;
    size_t length;
    *root = NULL;
    pn_place_name(&r->directory.place, run_json, path);
    PN_TRY(pn_file_read_in(&r->directory.place, run_json, RUN_JSON_LIMIT, &text, &length));
    pn_status s = pn_json_parse(text, length, root);
    if (s == PN_OK) s = read_root(r, *root);
    if (s != PN_OK) s = pn_fail_in(s, "%s", path);
    if (s == PN_OK)
        s = pn_fields_read(r->kind->fields, path, json_object_get(*root, "settings"), settings);
    free(text);
    return s;
}

pn_status pn_record_look(const pn_record_kind *kind, const char *path, void *settings,
                         json_t **root) {
    pn_record r = PN_NO_RECORD;
    r.kind = kind;
    *root = NULL;
    pn_status s = pn_place_open(&r.directory.place, path);
    if (s == PN_OK) s = pn_place_has(&r.directory.place, run_json, &r.begun);
    if (s == PN_OK && r.begun) s = read_json(&r, settings, root);
    pn_record_close(&r);
    if (s == PN_OK) return PN_OK;
    json_decref(*root);
    *root = NULL;
    return s;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Results are the same to the bit on one device and instruction set only. */
static pn_status settle_device(pn_record *r, const pn_opening *o) {
    if (r->begun && !o->reading && strcmp(r->device, o->device) && !o->change_device) {
        const char *name = strncmp(r->device, "host-", 5) ? r->device : r->device + 5;
        return pn_fail(
            PN_EARG,
            "%s: begun on %s, and this is %s, which gives other last bits; want --device %s%s, or "
            "--change-device to go on with this one",
            r->directory.place.path, r->device, o->device, name == r->device ? "" : "cpu:", name);
    }
    if (!r->begun || !o->reading) snprintf(r->device, sizeof r->device, "%s", o->device);
    return PN_OK;
}

pn_status pn_record_open(pn_record *r, const pn_record_kind *kind, const char *path,
                         const pn_opening *o, const void *asked, void *settings) {
    *r = (pn_record)PN_NO_RECORD;
    r->kind = kind;
    if (o->reading)
        PN_TRY(pn_directory_read(&r->directory, path));
    else
        PN_TRY(pn_directory_take(&r->directory, path, &r->begun));
    r->begun |= o->reading;
    if (r->begun) {
        json_t *root;
        const pn_status s = read_json(r, settings, &root);
        json_decref(root);
        PN_TRY(s);
        if (o->given) PN_TRY(pn_fields_same(kind->fields, settings, asked, o->given));
    } else {
        memcpy(settings, asked, kind->settings_bytes);
    }
    return settle_device(r, o);
}

static pn_status same_images(pn_record *r, const char *data, uint32_t checksum) {
    if (r->begun && r->checksum != checksum)
        return pn_fail(PN_EINPUT,
                       "%s: other images than those this %s was begun with (checksum %08x, want "
                       "%08x)",
                       data, r->kind->what, checksum, r->checksum);
    r->checksum = checksum;
    return PN_OK;
}

pn_status pn_record_same_images(pn_record *r, pn_group *group, const char *data,
                                uint32_t checksum) {
    char word[16];
    snprintf(word, sizeof word, "%08" PRIx32, checksum);
    PN_TRY(pn_group_same(group, PN_EINPUT, "images of checksum", word));
    return r && pn_group_rank(group) == 0 ? same_images(r, data, checksum) : PN_OK;
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static pn_status number_in(const pn_safetensors *f, const char *key, int base, int64_t *value) {
    const char *text = pn_safetensors_meta(f, key);
    char *end = NULL;
    *value = text ? strtoll(text, &end, base) : -1;
    return text && *text && !*end && *value >= 0
               ? PN_OK
               : pn_fail(PN_EINPUT, "no valid \"%s\" in its metadata", key);
}

static const char *crc_key(const char *table, char key[64]) {
    snprintf(key, 64, "%.40s.crc32", table);
    return key;
}

/* Lengths and checksums of the tables; those of version 0.1.0 have lengths alone. */
static pn_status read_lengths(pn_record *r, const pn_safetensors *f) {
    char key[64];
    r->summed = pn_safetensors_meta(f, crc_key(r->kind->tables[0], key)) != NULL;
    for (int i = 0; r->kind->tables[i]; i++) {
        int64_t crc = 0;
        PN_TRY(number_in(f, r->kind->tables[i], 10, &r->length[i]));
        if (r->summed) PN_TRY(number_in(f, crc_key(r->kind->tables[i], key), 16, &crc));
        r->crc[i] = (uint32_t)crc;
    }
    return PN_OK;
}

/* The settings in a checkpoint are those of run.json. */
static pn_status check_settings(const pn_record *r, const char *text, const void *settings) {
    const char *differs;
    json_t *object;
    pn_status s = pn_json_parse(text, strlen(text), &object);
    if (s != PN_OK) return pn_fail_in(s, "settings");
    void *found = malloc(r->kind->settings_bytes);
    if (!found) s = pn_fail(PN_EMEM, "no memory for its settings");
    if (s == PN_OK) {
        memcpy(found, settings, r->kind->settings_bytes);
        s = pn_fields_read(r->kind->fields, "settings", object, found);
    }
    if (s == PN_OK && !pn_fields_equal(r->kind->fields, found, settings, &differs))
        s = pn_fail(PN_EINPUT, "a checkpoint of other settings than run.json's: --%s", differs);
    json_decref(object);
    free(found);
    return s;
}

typedef struct loading {
    const void *settings;
    const pn_parameters *p;
    int64_t step, count;
    pn_restore *restore;
    void *self;
} loading;

static pn_status load_file(pn_record *r, const pn_safetensors *f, const loading *l) {
    const char *format = pn_safetensors_meta(f, "format"),
               *settings = pn_safetensors_meta(f, "settings");
    const void *state;
    int64_t step = l->step;
    if (!format || strcmp(format, r->kind->format) || !settings || !pn_safetensors_checked(f))
        return pn_fail(PN_EINPUT, "not a checkpoint of a %s (no format \"%s\" with a checksum)",
                       r->kind->what, r->kind->format);
    PN_TRY(check_settings(r, settings, l->settings));
    if (pn_safetensors_meta(f, "step")) PN_TRY(number_in(f, "step", 10, &step));
    if (step != l->step)
        return pn_fail(PN_EINPUT, "holds step %" PRId64 ", its name says %" PRId64, step, l->step);
    PN_TRY(read_lengths(r, f));
    PN_TRY(pn_weights_get_state(f, l->p));
    PN_TRY(pn_parameters_push(l->p));
    PN_TRY(pn_safetensors_get(f, r->kind->state, PN_F64, 1, &l->count, &state));
    return l->restore(l->self, f, step, state);
}

pn_status pn_record_load(pn_record *r, const void *settings, const pn_parameters *p, int count,
                         pn_restore *restore, void *self) {
    const pn_place *place = &r->directory.place;
    loading l = {
        .settings = settings, .p = p, .step = -1, .count = count, .restore = restore, .self = self};
    if (r->begun) PN_TRY(pn_checkpoint_newest(place, INT64_MAX, &l.step));
    if (l.step < 0) return PN_OK;
    char name[PN_NAME_IN_PLACE], path[PN_PATH_BYTES];
    pn_safetensors *f = NULL;
    pn_status s = pn_safetensors_read_in(place, pn_checkpoint_name(l.step, name), &f);
    if (s == PN_OK) {
        s = load_file(r, f, &l);
        if (s != PN_OK) s = pn_fail_in(s, "%s", pn_place_name(place, name, path));
    }
    pn_safetensors_free(f);
    if (s == PN_EINPUT) return pn_checkpoint_damaged(place, l.step, r->kind->what);
    r->saved = l.step;
    return s;
}

static pn_status write_checkpoint(pn_record *r, int64_t step, const void *settings,
                                  const pn_tensors *t, const pn_meta *more, int more_count) {
    char name[PN_NAME_IN_PLACE], number[24], length[PN_MOST_TABLES][24], crc[PN_MOST_TABLES][16],
        key[PN_MOST_TABLES][64];
    pn_meta meta[MOST_METAS];
    int n = 0;
    char *fields;
    PN_TRY(pn_json_text(pn_fields_json(r->kind->fields, settings), 0, json_style, &fields));
    snprintf(number, sizeof number, "%" PRId64, step);
    meta[n++] = (pn_meta){"format", r->kind->format};
    meta[n++] = (pn_meta){"step", number};
    for (int i = 0; r->kind->tables[i]; i++) {
        snprintf(length[i], sizeof length[i], "%" PRId64, pn_table_size(r->table[i]));
        snprintf(crc[i], sizeof crc[i], "%08" PRIx32, pn_table_crc(r->table[i]));
        meta[n++] = (pn_meta){r->kind->tables[i], length[i]};
        meta[n++] = (pn_meta){crc_key(r->kind->tables[i], key[i]), crc[i]};
    }
    meta[n++] = (pn_meta){"settings", fields};
    if (r->history) meta[n++] = (pn_meta){"history", r->history};
    for (int i = 0; i < more_count && n < MOST_METAS; i++) meta[n++] = more[i];
    const pn_status s = pn_safetensors_write_in(&r->directory.place, pn_checkpoint_name(step, name),
                                                t->list, t->count, meta, n);
    free(fields);
    return s;
}

pn_status pn_record_save(pn_record *r, int64_t step, const void *settings, const pn_parameters *p,
                         const double *state, int count, const pn_meta *more, int more_count) {
    if (r->saved == step) return PN_OK;
    PN_TRY(pn_directory_check(&r->directory));
    for (int i = 0; r->kind->tables[i]; i++) PN_TRY(pn_table_sync(r->table[i]));
    PN_TRY(pn_parameters_pull(p));
    pn_tensors t = {0};
    pn_status s = pn_tensors_add_state(&t, p);
    if (s == PN_OK)
        s = pn_tensors_add_array(&t, (pn_array){.name = r->kind->state,
                                                .dtype = PN_F64,
                                                .rank = 1,
                                                .shape = {count},
                                                .data = state});
    if (s == PN_OK) s = write_checkpoint(r, step, settings, &t, more, more_count);
    pn_tensors_free(&t);
    PN_TRY(pn_directory_written(&r->directory, s));
    r->saved = step;
    pn_journal_flush(&r->journal);
    pn_journal_event(&r->journal, "checkpoint", step, NULL, NULL);
    pn_checkpoint_remove(&r->directory.place, KEEP_CHECKPOINTS);
    return PN_OK;
}

/* ---- tables, and small files ----------------------------------------------------------------- */

pn_status pn_record_tables(pn_record *r, int64_t steps, int64_t next, pn_journal_say *say,
                           bool *begin) {
    *begin = r->saved < 0;
    PN_TRY(pn_directory_clean(&r->directory, r->kind->written));
    for (int i = 0; r->kind->tables[i]; i++)
        PN_TRY(pn_table_open_in(&r->directory.place, r->kind->tables[i], r->length[i],
                                r->summed ? &r->crc[i] : NULL, &r->table[i]));
    if (!r->finished) {
        pn_journal_open(&r->journal, &r->directory.place, r->kind->times, next, say);
        pn_journal_begin(&r->journal, r->begun, r->saved > 0 ? r->saved : 0, steps, r->device);
    }
    /* A checkpoint that counts on the tables may be durable before its own directory is: then their
     * names have to be. */
    return *begin ? pn_place_sync(&r->directory.place) : PN_OK;
}

pn_status pn_record_rows(pn_record *r) {
    size_t pending = 0;
    for (int i = 0; r->kind->tables[i]; i++) pending += pn_table_pending(r->table[i]);
    if (pending < PENDING && pn_now() - r->journal.flushed < PATIENCE) return PN_OK;
    PN_TRY(pn_directory_check(&r->directory));
    for (int i = 0; r->kind->tables[i]; i++) PN_TRY(pn_table_flush(r->table[i]));
    pn_journal_flush(&r->journal);
    return PN_OK;
}

static const char loss_scale_key[] = "loss_scale";

json_t *pn_record_loss_scale(const pn_loss_scale *l) {
    if (l->scale == 0) return NULL;
    return json_pack("{s:o,s:I}", "scale", pn_json_number(l->scale), "skipped",
                     (json_int_t)l->skipped);
}

int pn_record_loss_meta(const pn_loss_scale *l, char room[PN_LOSS_SCALE_TEXT], pn_meta *meta) {
    if (l->scale == 0) return 0;
    pn_loss_scale_write(l, room);
    *meta = (pn_meta){loss_scale_key, room};
    return 1;
}

pn_status pn_record_restore_loss(const pn_safetensors *file, pn_loss_scale *l) {
    const char *text = pn_safetensors_meta(file, loss_scale_key);
    return text && l->scale != 0 ? pn_loss_scale_read(text, l) : PN_OK;
}

void pn_record_overflow(pn_record *r, int64_t step, const pn_loss_scale *l) {
    char text[96];
    snprintf(text, sizeof text,
             "a gradient overflowed: the step is skipped, the loss scale is %g now", l->scale);
    pn_journal_event(&r->journal, "overflow", step, "text", text);
}

pn_status pn_record_text(const pn_record *r, const char *name, const char *text) {
    PN_TRY(pn_directory_check(&r->directory));
    return pn_directory_written(&r->directory,
                                pn_file_write_in(&r->directory.place, name, text, strlen(text)));
}

/* ---- a group --------------------------------------------------------------------------------- */

pn_status pn_record_spread(pn_group *group, const pn_parameters *p, double *state, int count) {
    const size_t bytes = pn_parameters_range_bytes(p);
    if (!group) return PN_OK;
    if (pn_group_rank(group) == 0) PN_TRY(pn_parameters_pull(p));
    PN_TRY(pn_group_share(group, p->value, bytes));
    PN_TRY(pn_group_share(group, p->momentum, bytes));
    PN_TRY(pn_group_share(group, state, (size_t)count * sizeof *state));
    return pn_parameters_push(p);
}

static uint32_t crc_of(const void *data, size_t bytes) {
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), data, bytes);
}

pn_status pn_record_compare(pn_group *group, const pn_parameters *p, const double *state,
                            int count) {
    const size_t bytes = pn_parameters_range_bytes(p);
    if (!group) return PN_OK;
    PN_TRY(pn_parameters_pull(p));
    const uint32_t mine[] = {crc_of(p->value, bytes), crc_of(p->momentum, bytes),
                             crc_of(state, (size_t)count * sizeof *state)};
    uint32_t first[3];
    memcpy(first, mine, sizeof first);
    PN_TRY(pn_group_share(group, first, sizeof first));
    return pn_group_agree(
        group,
        memcmp(first, mine, sizeof first) == 0
            ? PN_OK
            : pn_fail(PN_ECHECK,
                      "its weights, momenta and state have checksums %08x %08x %08x, want %08x "
                      "%08x %08x as rank 0: its memory or processor cannot be trusted",
                      mine[0], mine[1], mine[2], first[0], first[1], first[2]));
}

void pn_record_close(pn_record *r) {
    for (int i = 0; i < PN_MOST_TABLES; i++) pn_table_discard(r->table[i]);
    pn_journal_close(&r->journal);
    free(r->history);
    pn_directory_release(&r->directory);
    *r = (pn_record)PN_NO_RECORD;
}
