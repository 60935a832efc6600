/* warm_start.c -- see warm_start.h. */
#include "search/methods/warm_start.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "search/methods/method.h"
#include "search/network/weights.h"

enum { PRIOR_CSV_LIMIT = 1 << 28 };

const char pn_checkpoint_format[] = "parsec-nas search 1";
const char pn_checkpoint_state[] = "search.state";

static pn_status check(pn_warm_start *s, const pn_space *space) {
    const char *format = pn_safetensors_meta(s->checkpoint, "format"),
               *step = pn_safetensors_meta(s->checkpoint, "step"),
               *of = pn_safetensors_meta(s->checkpoint, "space");
    char ours[PN_SPACE_BYTES], *end = NULL;
    if (!format || strcmp(format, pn_checkpoint_format) || !step || !of ||
        !pn_safetensors_checked(s->checkpoint))
        return pn_fail(PN_EINPUT, "not a checkpoint of a search (no format \"%s\" with a checksum)",
                       pn_checkpoint_format);
    errno = 0;
    s->step = strtoll(step, &end, 10);
    if (!*step || *end || errno || s->step < 0)
        return pn_fail(PN_EINPUT, "step \"%.40s\" is not a whole number from 0", step);
    pn_space_text(space, ours);
    return strcmp(of, ours)
               ? pn_fail(PN_EINPUT, "a distribution over another space (%s), want one over %s", of,
                         ours)
               : PN_OK;
}

/* The newest checkpoint of a directory. A search that is at work there replaces its checkpoints:
 * then there is a newer one by now. */
static pn_status open_newest(pn_warm_start *s) {
    char name[PN_NAME_IN_PLACE];
    int64_t step = -1, before;
    PN_TRY(pn_place_open(&s->place, s->given));
    for (;;) {
        before = step;
        PN_TRY(pn_checkpoint_newest(&s->place, INT64_MAX, &step));
        if (step < 0) return pn_fail(PN_EINPUT, "%s: a directory without a checkpoint", s->given);
        pn_place_name(&s->place, pn_checkpoint_name(step, name), s->file);
        const pn_status status = pn_safetensors_read_in(&s->place, name, &s->checkpoint);
        if (status != PN_EIO || step == before) return status;
    }
}

pn_status pn_warm_start_open(pn_warm_start *s, const char *path, const pn_space *space) {
    pn_path_kind kind;
    *s = (pn_warm_start)PN_NO_WARM_START;
    if (strlen(path) >= sizeof s->given)
        return pn_fail(PN_EARG, "a path of %zu bytes, want at most %zu", strlen(path),
                       sizeof s->given - 1);
    snprintf(s->given, sizeof s->given, "%s", path);
    snprintf(s->file, sizeof s->file, "%s", path);
    PN_TRY(pn_path_look(path, &kind));
    s->is_directory = kind == PN_PATH_DIRECTORY;
    PN_TRY(s->is_directory ? open_newest(s) : pn_safetensors_read(path, &s->checkpoint));
    const pn_status status = check(s, space);
    return status == PN_OK ? PN_OK : pn_fail_in(status, "%s", path);
}

void pn_warm_start_close(pn_warm_start *s) {
    pn_safetensors_free(s->checkpoint);
    pn_place_close(&s->place);
    s->checkpoint = NULL;
}

/* JSON in the checkpoint's metadata; NULL where there is none. */
static pn_status parse_meta(const pn_warm_start *s, const char *key, json_t **value) {
    const char *text = pn_safetensors_meta(s->checkpoint, key);
    *value = NULL;
    if (!text) return PN_OK;
    const pn_status status = pn_json_parse(text, strlen(text), value);
    return status == PN_OK ? PN_OK : pn_fail_in(status, "%s: its %s", s->file, key);
}

/* Settings without a method are of before there were others. */
static pn_status method_of(const json_t *settings, const pn_method **method) {
    const char *name = json_string_value(json_object_get(settings, "method"));
    *method = pn_method_find(name ? name : "parsec");
    return *method ? PN_OK
                   : pn_fail(PN_EINPUT, "a search by a method that this version does not know");
}

pn_status pn_warm_start_method(const pn_warm_start *s, const pn_method **method) {
    json_t *settings;
    PN_TRY(parse_meta(s, "settings", &settings));
    const pn_status status = method_of(settings, method);
    json_decref(settings);
    return status == PN_OK ? PN_OK : pn_fail_in(status, "%s", s->file);
}

static pn_status read_state(const pn_warm_start *s, json_t *settings, const pn_method *method,
                            void *self) {
    const pn_space space = pn_space_darts();
    pn_settings resolved = pn_settings_defaults();
    const void *state;
    PN_TRY(pn_fields_read(&pn_settings_fields, "settings", settings, &resolved));
    PN_TRY(method->begin(self, &space, &resolved));
    const int64_t count = method->count(self);
    PN_TRY(pn_safetensors_get(s->checkpoint, pn_checkpoint_state, PN_F64, 1, &count, &state));
    return method->restore(self, state, (int)count);
}

pn_status pn_warm_start_state(const pn_warm_start *s, const pn_method **method, void **self) {
    json_t *settings;
    *self = NULL;
    PN_TRY(parse_meta(s, "settings", &settings));
    pn_status status = method_of(settings, method);
    if (status == PN_OK && !(*self = calloc(1, (*method)->bytes)))
        status = pn_fail(PN_EMEM, "no memory for the state of a search");
    if (status == PN_OK) status = read_state(s, settings, *method, *self);
    json_decref(settings);
    if (status == PN_OK) return PN_OK;
    free(*self);
    *self = NULL;
    return pn_fail_in(status == PN_EARG ? PN_EINPUT : status, "%s", s->file);
}

pn_status pn_warm_start_prior(const pn_warm_start *s, pn_prior *prior) {
    const pn_method *method;
    json_t *settings;
    PN_TRY(parse_meta(s, "settings", &settings));
    pn_status status = method_of(settings, &method);
    if (status == PN_OK)
        status = method->read_prior
                     ? method->read_prior(s->checkpoint, settings, prior)
                     : pn_fail(PN_EINPUT, "a search by --method %s, which has no pi", method->name);
    json_decref(settings);
    return status == PN_OK ? PN_OK : pn_fail_in(status, "%s", s->file);
}

pn_status pn_warm_start_weights(const pn_warm_start *s, const pn_parameters *p) {
    const pn_status status = pn_weights_get(s->checkpoint, p, p->value, "", NULL, PN_ALL_ROLES);
    return status == PN_OK ? PN_OK : pn_fail_in(status, "%s: --keep-weights", s->file);
}

pn_status pn_warm_start_history(const pn_warm_start *s, const pn_prior *prior, char **text) {
    json_t *history, *settings;
    int failed = 0;
    PN_TRY(parse_meta(s, "settings", &settings));
    const pn_status status = parse_meta(s, "history", &history);
    if (status != PN_OK) {
        json_decref(settings);
        return status;
    }
    if (!json_is_array(history)) {
        json_decref(history);
        history = json_array();
    }
    json_t *last = json_object();
    failed |= json_object_set_new(last, "from", pn_json_string(s->given));
    failed |= json_object_set_new(last, "step", json_integer(s->step));
    failed |= json_object_set_new(last, "entropy", pn_json_number(pn_prior_entropy(prior, NULL)));
    if (settings) failed |= json_object_set_new(last, "settings", settings);
    failed |= json_array_append_new(history, last);
    return pn_json_text(history, failed, PN_JSON_EXACT, text);
}

/* Whether `text` is `count` probabilities, each behind a comma. */
static bool are_probabilities(const char *text, int count) {
    for (; count > 0 && *text == ','; count--) {
        char *end;
        const size_t length = strspn(text + 1, "0123456789.e+-"); /* no "nan", no blanks */
        const double p = strtod(text + 1, &end);
        if (!length || end != text + 1 + length || !(p >= 0 && p <= 1)) return false;
        text = end;
    }
    return count == 0 && !*text;
}

/* One row: its step moved, the rest as it is. Steps below 0 are those of the source's own
 * source. */
static pn_status copy_row(const pn_warm_start *s, const char *path, const char *row, int columns,
                          pn_table *to) {
    char *end;
    long long moved;
    errno = 0;
    const long long step = strtoll(row, &end, 10);
    if (end == row || *end != ',' || errno || __builtin_sub_overflow(step, s->step, &moved))
        return pn_fail(PN_EINPUT, "%s: a row that does not begin with a step: %.20s", path, row);
    if (!are_probabilities(end, columns - 1))
        return pn_fail(PN_EINPUT, "%s: the row of step %lld, want %d probabilities behind it", path,
                       step, columns - 1);
    if (moved >= 0) return PN_OK; /* row 0 of the new search is the same, or it came later */
    return pn_table_printf(to, "%lld%s\n", moved, end);
}

/* A last line without its end is one that was being written: what a checkpoint counts on is
 * whole. */
static pn_status copy_rows(const pn_warm_start *s, const char *path, const char *header, char *text,
                           size_t size, pn_table *to) {
    int columns = 1;
    for (const char *c = header; *c; c++) columns += *c == ',';
    char *rest = text, *line = strsep(&rest, "\n");
    if (strlen(text) + (rest ? 1 + strlen(rest) : 0) != size)
        return pn_fail(PN_EINPUT, "%s: holds a zero byte", path);
    if (!strcmp(line, "step")) return PN_OK; /* a method without columns of its own */
    if (strcmp(line, header))
        return pn_fail(PN_EINPUT, "%s: its columns are not those of this space's logits", path);
    while (rest) {
        line = strsep(&rest, "\n");
        if (rest) PN_TRY(copy_row(s, path, line, columns, to));
    }
    return PN_OK;
}

pn_status pn_warm_start_rows(const pn_warm_start *s, const char *header, pn_table *to) {
    static const char name[] = "prior.csv";
    char path[PN_PATH_BYTES];
    void *data;
    size_t size;
    bool there;
    if (!s->is_directory) return PN_OK;
    PN_TRY(pn_place_has(&s->place, name, &there));
    if (!there) return PN_OK;
    PN_TRY(pn_file_read_in(&s->place, name, PRIOR_CSV_LIMIT, &data, &size));
    pn_place_name(&s->place, name, path);
    const pn_status status = copy_rows(s, path, header, data, size, to);
    free(data);
    return status;
}
