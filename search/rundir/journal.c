/* journal.c -- see journal.h. */
#include "search/rundir/journal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/clock.h"
#include "runtime/json.h"
#include "runtime/text.h"

enum { MOST_BYTES = 1 << 30, COMMAND_BYTES = 1 << 20, COLUMNS = 10, CELL = 32 };

static const char events_name[] = "events.jsonl", rows_name[] = "times.csv";
static const char event_begins[] = "{\"time\": \"";
static const char columns[] =
    "images,ms,data_ms,forward_ms,backward_ms,update_ms,distribution_ms,arena_bytes,memory_bytes";

/* The sentence at hand, and the file is done with. */
static void give_up(pn_journal *j, pn_table **table) {
    char sentence[PN_SENTENCE_BYTES + 64];
    pn_table_discard(*table);
    *table = NULL;
    if (!j->say) return;
    snprintf(sentence, sizeof sentence, "%s; the run goes on and writes no more of it", pn_error());
    j->say(sentence);
}

static pn_status foreign(const pn_place *place, const char *name) {
    char path[PN_PATH_BYTES];
    return pn_fail(PN_EINPUT, "%s: not written by a run, and left as it is",
                   pn_place_name(place, name, path));
}

/* ---- what an earlier process left ------------------------------------------------------------ */

/* The whole file; *text is the caller's, NULL if there is none. */
static pn_status read_old(const pn_place *place, const char *name, char **text, size_t *size) {
    bool there;
    void *data = NULL;
    *text = NULL;
    *size = 0;
    PN_TRY(pn_place_has(place, name, &there));
    if (there) PN_TRY(pn_file_read_in(place, name, MOST_BYTES, &data, size));
    *text = data;
    return PN_OK;
}

/* Bytes up to the end of the last whole line. */
static size_t whole_lines(const char *text, size_t size) {
    while (size > 0 && text[size - 1] != '\n') size--;
    return size;
}

/* Whether the text begins with all of `prefix`, or, being shorter, is how that begins. */
static bool may_begin(const char *text, size_t size, const char *prefix) {
    const size_t n = strlen(prefix);
    return !memcmp(text, prefix, size < n ? size : n);
}

static pn_status open_events(pn_journal *j) {
    char *text;
    size_t size;
    PN_TRY(read_old(j->place, events_name, &text, &size));
    const size_t keep = whole_lines(text, size);
    const bool ours = may_begin(text ? text : "", size, event_begins);
    free(text);
    if (!ours) return foreign(j->place, events_name);
    return pn_table_open_in(j->place, events_name, (int64_t)keep, NULL, &j->events);
}

/* Whether a line, which ends with a newline, is a row after that of `before`; its number. */
static bool is_row(const char *line, int64_t before, int64_t *number) {
    const char *at = line;
    uint64_t value;
    int commas = 0;
    if (!pn_take_whole(&at, 0, INT64_MAX, &value) || (int64_t)value <= before) return false;
    for (; *at != '\n'; at++) {
        if (!*at || !strchr(",.+-e0123456789", *at)) return false;
        commas += *at == ',';
    }
    *number = (int64_t)value;
    return commas == COLUMNS - 1;
}

/* Bytes of the header and of the rows before `first`. PN_EINPUT, when these are known, if a row
 * among them is damaged: it and what follows are not kept. */
static pn_status rows_to_keep(const pn_place *place, const char *header, const char *text,
                              size_t size, int64_t first, size_t *keep) {
    char path[PN_PATH_BYTES];
    const size_t end = whole_lines(text, size);
    int64_t before = -1;
    for (*keep = strlen(header); *keep < end;) {
        const char *line = text + *keep;
        int64_t number = first;
        if (!is_row(line, before, &number))
            return pn_fail(PN_EINPUT, "%s: the row after that of %" PRId64 " is damaged",
                           pn_place_name(place, rows_name, path), before);
        if (number >= first) break;
        before = number;
        *keep += (size_t)((const char *)memchr(line, '\n', end - *keep) - line) + 1;
    }
    return PN_OK;
}

static pn_status open_rows(pn_journal *j, const char *key, int64_t first) {
    char header[sizeof columns + CELL], sentence[PN_SENTENCE_BYTES + 64], *text;
    size_t size, keep = 0;
    pn_status damaged = PN_OK;
    snprintf(header, sizeof header, "%s,%s\n", key, columns);
    PN_TRY(read_old(j->place, rows_name, &text, &size));
    const bool ours = may_begin(text ? text : "", size, header);
    if (ours && size >= strlen(header))
        damaged = rows_to_keep(j->place, header, text, size, first, &keep);
    free(text);
    if (!ours) return foreign(j->place, rows_name);
    if (damaged != PN_OK && j->say) {
        snprintf(sentence, sizeof sentence, "%s; it and those behind it are dropped", pn_error());
        j->say(sentence);
    }
    PN_TRY(pn_table_open_in(j->place, rows_name, (int64_t)keep, NULL, &j->rows));
    return keep ? PN_OK : pn_table_printf(j->rows, "%s", header);
}

void pn_journal_open(pn_journal *j, const pn_place *place, const char *key, int64_t first,
                     pn_journal_say *say) {
    *j = (pn_journal){.place = place, .say = say, .statm = -1, .flushed = pn_now()};
    if (open_events(j) != PN_OK) give_up(j, &j->events);
    if (open_rows(j, key, first) != PN_OK) give_up(j, &j->rows);
    j->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
}

/* ---- events ---------------------------------------------------------------------------------- */

/* "2026-11-30T04:16:25Z" */
static const char *now_text(char text[32]) {
    struct tm parts;
    const time_t now = time(NULL);
    *text = 0;
    if (gmtime_r(&now, &parts)) strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text;
}

/* An event so far; NULL: no memory. */
static json_t *event_json(const char *event, int64_t step) {
    char now[32];
    return json_pack("{s:s,s:s,s:I}", "time", now_text(now), "event", event, "step",
                     (json_int_t)step);
}

static pn_status write_event(pn_journal *j, json_t *root, int failed) {
    char *line, path[PN_PATH_BYTES];
    pn_status s = pn_json_file(root, failed, 0, &line);
    if (s != PN_OK) return pn_fail_in(s, "%s", pn_place_name(j->place, events_name, path));
    s = pn_table_printf(j->events, "%s", line);
    free(line);
    return s == PN_OK ? pn_table_flush(j->events) : s;
}

void pn_journal_event(pn_journal *j, const char *event, int64_t step, const char *key,
                      const char *text) {
    if (!j->events) return;
    json_t *root = event_json(event, step);
    const int failed = text ? json_object_set_new(root, key, pn_json_string(text)) : 0;
    if (write_event(j, root, failed) != PN_OK) give_up(j, &j->events);
}

json_t *pn_journal_command(void) {
    json_t *list = json_array();
    char *words = calloc(1, COMMAND_BYTES);
    FILE *file = words ? fopen("/proc/self/cmdline", "re") : NULL;
    const size_t size = file ? fread(words, 1, COMMAND_BYTES - 1, file) : 0;
    int failed = words ? 0 : -1;
    for (size_t at = 0; at < size; at += strlen(words + at) + 1)
        failed |= json_array_append_new(list, pn_json_string(words + at));
    if (file) (void)fclose(file);
    free(words);
    if (!failed) return list;
    json_decref(list);
    return NULL;
}

/* What the system calls the first processor; "" if it does not say. */
static void processor_text(char text[128]) {
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "re");
    *text = 0;
    while (file && !*text && fgets(line, sizeof line, file))
        if (!strncmp(line, "model name", 10)) sscanf(line, "model name : %127[^\n]", text);
    if (file) (void)fclose(file);
}

void pn_journal_begin(pn_journal *j, bool resume, int64_t step, int64_t steps, const char *device) {
    char host[256] = "", processor[128];
    if (!j->events) return;
    (void)gethostname(host, sizeof host - 1);
    processor_text(processor);
    json_t *root = event_json(resume ? "resume" : "start", step);
    int failed = json_object_set_new(root, "steps", json_integer(steps));
    failed |= json_object_set_new(root, "command", pn_journal_command());
    failed |= json_object_set_new(root, "host", pn_json_string(host));
    failed |= json_object_set_new(root, "version", json_string(PN_VERSION));
    failed |= json_object_set_new(root, "device", json_string(device));
    failed |= json_object_set_new(root, "threads", json_integer(omp_get_max_threads()));
    failed |= json_object_set_new(root, "cpu", pn_json_string(processor));
    if (write_event(j, root, failed) != PN_OK) give_up(j, &j->events);
}

/* ---- times ----------------------------------------------------------------------------------- */

size_t pn_journal_memory(const pn_journal *j) {
    char text[128];
    size_t all, resident = 0;
    const ssize_t n = j->statm < 0 ? -1 : pread(j->statm, text, sizeof text - 1, 0);
    if (n <= 0) return 0;
    text[n] = 0;
    if (sscanf(text, "%zu %zu", &all, &resident) != 2) return 0;
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* Milliseconds, or nothing. */
static const char *ms(double seconds, char text[CELL]) {
    *text = 0;
    if (isfinite(seconds)) snprintf(text, CELL, "%.3f", 1e3 * seconds);
    return text;
}

void pn_journal_times(pn_journal *j, int64_t number, const pn_step_times *t) {
    char text[6][CELL], memory[CELL] = "";
    if (!j->rows) return;
    if (t->memory_bytes) snprintf(memory, sizeof memory, "%zu", t->memory_bytes);
    const pn_status s =
        pn_table_printf(j->rows, "%" PRId64 ",%" PRId64 ",%s,%s,%s,%s,%s,%s,%zu,%s\n", number,
                        t->images, ms(t->all, text[0]), ms(t->data, text[1]),
                        ms(t->forward, text[2]), ms(t->backward, text[3]), ms(t->update, text[4]),
                        ms(t->distribution, text[5]), t->arena_bytes, memory);
    if (s != PN_OK) give_up(j, &j->rows);
}

void pn_journal_flush(pn_journal *j) {
    if (j->rows && pn_table_flush(j->rows) != PN_OK) give_up(j, &j->rows);
    j->flushed = pn_now();
}

void pn_journal_close(pn_journal *j) {
    pn_table_discard(j->events);
    pn_table_discard(j->rows);
    if (j->statm >= 0) close(j->statm);
    *j = (pn_journal)PN_NO_JOURNAL;
}
