/* source.c -- see source.h. */
#include "search/source.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "search/parsec.h"
#include "search/weights.h"

enum { PRIOR_CSV_LIMIT = 1 << 28 };

const char pn_checkpoint_format[] = "parsec-nas search 1";
const char pn_checkpoint_state[] = "search.state";

static pn_status check(pn_source *s, const pn_space *space) {
    const char *format = pn_safetensors_meta(s->checkpoint, "format"),
               *step = pn_safetensors_meta(s->checkpoint, "step"),
               *of = pn_safetensors_meta(s->checkpoint, "space");
    char ours[PN_SPACE_BYTES], *end = NULL;
    if (!format || strcmp(format, pn_checkpoint_format) || !step || !of ||
        !pn_safetensors_checked(s->checkpoint))
        return pn_fail(PN_EINPUT, "not a checkpoint of a search (no format \"%s\" with a checksum)",
                       pn_checkpoint_format);
    s->step = strtoll(step, &end, 10);
    if (!*step || *end) return pn_fail(PN_EINPUT, "step \"%s\" is not a number", step);
    pn_space_text(space, ours);
    return strcmp(of, ours)
               ? pn_fail(PN_EINPUT, "a distribution over another space (%s), want one over %s", of,
                         ours)
               : PN_OK;
}

pn_status pn_source_open(pn_source *s, const char *path, const pn_space *space) {
    struct stat status;
    *s = (pn_source){0};
    if (strlen(path) >= sizeof s->given)
        return pn_fail(PN_EARG, "a path of %zu bytes, want at most %zu", strlen(path),
                       sizeof s->given - 1);
    snprintf(s->given, sizeof s->given, "%s", path);
    snprintf(s->file, sizeof s->file, "%s", path);
    s->is_directory = !stat(path, &status) && S_ISDIR(status.st_mode);
    if (s->is_directory) {
        const int64_t step = pn_checkpoint_newest(path, INT64_MAX);
        if (step < 0) return pn_fail(PN_EINPUT, "%s: a directory without a checkpoint", path);
        pn_checkpoint_path(path, step, s->file);
    }
    PN_TRY(pn_safetensors_read(s->file, &s->checkpoint));
    const pn_status status_of = check(s, space);
    if (status_of == PN_OK) return PN_OK;
    pn_source_close(s);
    return pn_fail_in(status_of, "%s", path);
}

void pn_source_close(pn_source *s) {
    pn_safetensors_free(s->checkpoint);
    s->checkpoint = NULL;
}

pn_status pn_source_prior(const pn_source *s, pn_prior *prior) {
    pn_search search;
    const pn_search_settings settings = pn_rule_paper(1);
    PN_TRY(pn_search_init(&search, &prior->space, &settings));
    const int64_t count = pn_search_state_count(&search);
    const void *state;
    const pn_status status =
        pn_safetensors_get(s->checkpoint, pn_checkpoint_state, PN_F64, 1, &count, &state);
    if (status != PN_OK) return pn_fail_in(status, "%s", s->file);
    memcpy(prior->logit, state, (size_t)prior->count * sizeof *prior->logit);
    for (int i = 0; i < prior->count; i++)
        if (!(prior->logit[i] - prior->logit[i] == 0))
            return pn_fail(PN_EINPUT, "%s: logit %d is not a number", s->file, i);
    const char *text = pn_safetensors_meta(s->checkpoint, "settings");
    json_t *settings_of = text ? json_loads(text, 0, NULL) : NULL;
    prior->distinct = json_is_true(json_object_get(settings_of, "distinct-inputs"));
    json_decref(settings_of);
    return PN_OK;
}

pn_status pn_source_weights(const pn_source *s, const pn_parameters *p) {
    const pn_status status = pn_weights_get(s->checkpoint, p, p->value, "", NULL, PN_ALL_ROLES);
    return status == PN_OK ? PN_OK : pn_fail_in(status, "%s: --keep-weights", s->file);
}

char *pn_source_history(const pn_source *s, const pn_prior *prior) {
    const char *earlier = pn_safetensors_meta(s->checkpoint, "history"),
               *settings = pn_safetensors_meta(s->checkpoint, "settings");
    json_t *history = earlier ? json_loads(earlier, 0, NULL) : NULL;
    if (!json_is_array(history)) {
        json_decref(history);
        history = json_array();
    }
    json_array_append_new(
        history, json_pack("{s:s,s:I,s:f,s:o*}", "from", s->given, "step", (json_int_t)s->step,
                           "entropy", pn_prior_entropy(prior, NULL), "settings",
                           settings ? json_loads(settings, 0, NULL) : NULL));
    char *text = json_dumps(history, JSON_REAL_PRECISION(17));
    json_decref(history);
    return text;
}

/* One row: its step moved, the rest as it is. */
static pn_status copy_row(const pn_source *s, const char *path, const char *row, pn_table *to) {
    char *end;
    const long long step = strtoll(row, &end, 10);
    if (end == row || *end != ',')
        return pn_fail(PN_EINPUT, "%s: a row that does not begin with a step: %.20s", path, row);
    if (step >= s->step) return PN_OK; /* row 0 of the new search is the same, or it came later */
    return pn_table_printf(to, "%lld%s\n", step - (long long)s->step, end);
}

pn_status pn_source_rows(const pn_source *s, const char *header, pn_table *to) {
    char path[PN_PATH_BYTES];
    void *data;
    size_t size;
    if (!s->is_directory) return PN_OK;
    snprintf(path, sizeof path, "%s/prior.csv", s->given);
    if (access(path, F_OK)) return PN_OK;
    PN_TRY(pn_file_read(path, PRIOR_CSV_LIMIT, &data, &size));
    char *rest = data, *line = strsep(&rest, "\n");
    pn_status status = strcmp(line, header) ? pn_fail(PN_EINPUT,
                                                      "%s: its columns are not those of this "
                                                      "space's logits",
                                                      path)
                                            : PN_OK;
    while (status == PN_OK && rest && (line = strsep(&rest, "\n")) && *line)
        status = copy_row(s, path, line, to);
    free(data);
    return status;
}
