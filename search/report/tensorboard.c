/* tensorboard.c -- see tensorboard.h. */
#define _GNU_SOURCE /* strptime, timegm */
#include "search/report/tensorboard.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/json.h"

/* Fields of Event, Summary, Summary.Value, HistogramProto. */
enum { WALL_TIME = 1, STEP = 2, FILE_VERSION = 3, SUMMARY = 5, SOURCE = 10, SOURCE_WRITER = 1 };
enum { VALUE = 1, TAG = 1, SIMPLE_VALUE = 2, HISTOGRAM = 5 };
enum { MIN = 1, MAX, NUM, SUM, SUM_SQUARES, BUCKET_LIMIT, BUCKET };

enum { FRAME = 12, CHECKSUM = 4, TAG_BYTES = 96, MOST_BUCKETS = 64 };

/* ---- records --------------------------------------------------------------------------------- */

static uint32_t masked_crc32c(const unsigned char *data, size_t bytes) {
    static uint32_t table[256];
    uint32_t crc = ~0u;
    for (uint32_t i = 0; !table[255] && i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0x82f63b78u ^ c >> 1 : c >> 1;
        table[i] = c;
    }
    for (size_t i = 0; i < bytes; i++) crc = table[(crc ^ data[i]) & 255] ^ crc >> 8;
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static void little_endian(unsigned char *to, uint64_t bits, int bytes) {
    for (int i = 0; i < bytes; i++) to[i] = (unsigned char)(bits >> 8 * i);
}

/* Adds an event to the file, and empties it for the next one. */
static void add_record(pn_message *file, pn_message *event) {
    unsigned char head[FRAME], tail[CHECKSUM];
    little_endian(head, event->bytes, 8);
    little_endian(head + 8, masked_crc32c(head, 8), 4);
    little_endian(tail, masked_crc32c(event->data, event->bytes), 4);
    pn_message_raw(file, head, sizeof head);
    pn_message_raw(file, event->data, event->bytes);
    pn_message_raw(file, tail, sizeof tail);
    file->no_memory |= event->no_memory;
    event->bytes = 0;
}

/* ---- values ---------------------------------------------------------------------------------- */

/* TensorBoard takes a number as a float, and none that is not finite. */
static void add_scalar(pn_message *event, const char *tag, double x) {
    if (!isfinite(x)) return;
    const size_t value = pn_message_open(event, VALUE);
    pn_message_text(event, TAG, tag);
    pn_message_float(event, SIMPLE_VALUE, (float)x);
    pn_message_close(event, value);
}

/* Bucket i: the choice i, with its probability for a count. */
static void add_histogram(pn_message *event, const char *tag, const double *p, int count) {
    double limit[MOST_BUCKETS], sum = 0, mean = 0, squares = 0;
    for (int i = 0; i < count; i++) {
        if (!isfinite(p[i])) return;
        limit[i] = i + 0.5;
        sum += p[i];
        mean += i * p[i];
        squares += (double)i * i * p[i];
    }
    const size_t value = pn_message_open(event, VALUE);
    pn_message_text(event, TAG, tag);
    const size_t histogram = pn_message_open(event, HISTOGRAM);
    pn_message_double(event, MIN, -0.5);
    pn_message_double(event, MAX, count - 0.5);
    pn_message_double(event, NUM, sum);
    pn_message_double(event, SUM, mean);
    pn_message_double(event, SUM_SQUARES, squares);
    pn_message_doubles(event, BUCKET_LIMIT, limit, count);
    pn_message_doubles(event, BUCKET, p, count);
    pn_message_close(event, histogram);
    pn_message_close(event, value);
}

/* ---- tables ---------------------------------------------------------------------------------- */

typedef struct table {
    const char *name; /* also what its tags begin with */
    pn_columns columns;
    int64_t at; /* the row at hand */
} table;

/* The step or epoch of the row at hand; INT64_MAX: there is none any more. */
static int64_t step_of(table *t) {
    for (; t->at < t->columns.rows; t->at++) {
        const double step = pn_value_at(&t->columns, t->at, 0);
        if (step >= 0 && step <= 0x1p53 && step == floor(step)) return (int64_t)step;
    }
    return INT64_MAX;
}

static void add_row(pn_message *event, const table *t) {
    char tag[TAG_BYTES];
    for (int i = 1; i < t->columns.count; i++) {
        snprintf(tag, sizeof tag, "%s/%s", t->name, t->columns.name[i]);
        add_scalar(event, tag, pn_value_at(&t->columns, t->at, i));
    }
}

/* A column of prior.csv: "normal.0.1.op.sep_conv_3x3" is the choice sep_conv_3x3 of the factor
 * normal.0.1.op. */
static int factor_length(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot ? (int)(dot - name) : 0;
}

/* Whether both are the same op in the same kind of cell. */
static bool same_op(const char *a, const char *b) {
    const char *op = strstr(a, ".op."), *other = strstr(b, ".op.");
    const size_t kind = strcspn(a, ".");
    return op && other && !strcmp(op, other) && kind == strcspn(b, ".") && !memcmp(a, b, kind);
}

static void add_op(pn_message *event, const table *t, int column) {
    const pn_columns *c = &t->columns;
    const char *name = c->name[column];
    char tag[TAG_BYTES];
    double sum = 0;
    int terms = 0;
    for (int i = 1; i < column; i++)
        if (same_op(c->name[i], name)) return; /* it had its turn there */
    for (int i = column; i < c->count; i++) {
        if (!same_op(c->name[i], name)) continue;
        sum += pn_value_at(c, t->at, i);
        terms++;
    }
    if (!terms) return;
    snprintf(tag, sizeof tag, "%s/%.*s/%s", t->name, (int)strcspn(name, "."), name,
             strrchr(name, '.') + 1);
    add_scalar(event, tag, sum / terms);
}

static void add_distribution(pn_message *event, const table *t) {
    const pn_columns *c = &t->columns;
    const double *row = pn_row_at(c, t->at);
    for (int i = 1; i < c->count; i++) add_op(event, t, i);
    for (int i = 1, end; i < c->count; i = end) {
        const int length = factor_length(c->name[i]);
        char tag[TAG_BYTES];
        for (end = i + 1; end < c->count && end - i < MOST_BUCKETS; end++)
            if (factor_length(c->name[end]) != length ||
                memcmp(c->name[end], c->name[i], (size_t)length) != 0)
                break;
        snprintf(tag, sizeof tag, "%s/%.*s", t->name, length, c->name[i]);
        add_histogram(event, tag, row + i, end - i);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

/* When the run began, in seconds since 1970; 0 where no file says it. */
static pn_status find_begin(const pn_view *run, double *begin) {
    json_t *list;
    struct tm parts = {0};
    *begin = 0;
    PN_TRY(pn_view_lines(run, "events.jsonl", &list));
    const char *text =
        json_string_value(json_object_get(json_array_get(list, 0), "time")); /* its `start` */
    if (text && strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts)) *begin = (double)timegm(&parts);
    json_decref(list);
    return PN_OK;
}

/* Seconds that the row at hand says its step took. */
static double seconds(const table *times) {
    if (!times->columns.count) return 1;
    const double ms = pn_value_at(&times->columns, times->at, pn_column(&times->columns, "ms"));
    return isfinite(ms) && ms > 0 ? ms / 1e3 : 0;
}

/* ---- a file ---------------------------------------------------------------------------------- */

enum { PRIOR, TRUTH, METRICS, TIMES, TABLES };

typedef struct writing {
    table table[TABLES];
    pn_message event;
    double time;
} writing;

static size_t begin_event(writing *w, int64_t step) {
    pn_message_double(&w->event, WALL_TIME, w->time);
    if (step) pn_message_whole(&w->event, STEP, (uint64_t)step);
    return pn_message_open(&w->event, SUMMARY);
}

static void end_event(writing *w, pn_message *file, size_t summary) {
    pn_message_close(&w->event, summary);
    add_record(file, &w->event);
}

static void add_version(writing *w, pn_message *file) {
    pn_message_double(&w->event, WALL_TIME, w->time);
    pn_message_text(&w->event, FILE_VERSION, "brain.Event:2");
    const size_t source = pn_message_open(&w->event, SOURCE);
    pn_message_text(&w->event, SOURCE_WRITER, "parsec-nas");
    pn_message_close(&w->event, source);
    add_record(file, &w->event);
}

/* What is known after a step, and what the step itself was. */
static void add_step(writing *w, int64_t step, bool taken, pn_tensorboard *made) {
    bool here[TABLES];
    for (int i = 0; i < TABLES; i++) here[i] = step_of(&w->table[i]) == step;
    if (here[PRIOR] || here[TRUTH]) {
        const size_t summary = begin_event(w, step);
        if (here[PRIOR]) add_distribution(&w->event, &w->table[PRIOR]);
        if (here[TRUTH]) add_row(&w->event, &w->table[TRUTH]);
        end_event(w, &made->file, summary);
    }
    if (taken && (here[METRICS] || here[TIMES])) {
        if (here[TIMES] || !w->table[TIMES].columns.count) w->time += seconds(&w->table[TIMES]);
        const size_t summary = begin_event(w, step);
        if (here[METRICS]) add_row(&w->event, &w->table[METRICS]);
        if (here[TIMES]) add_row(&w->event, &w->table[TIMES]);
        end_event(w, &made->file, summary);
        made->steps++;
    }
    for (int i = 0; i < TABLES; i++) w->table[i].at += here[i];
}

/* Rows of times.csv may come after the checkpoint of their steps. */
static int64_t timed(const pn_columns *times, int64_t until) {
    const double last = times->rows ? pn_value_at(times, times->rows - 1, 0) : (double)until;
    return last + 1 < (double)until ? (int64_t)last + 1 : until;
}

pn_status pn_tensorboard_make(const pn_view *run, int64_t until, pn_tensorboard *made) {
    static const char *const files[TABLES] = {"prior.csv", "truth.csv", "metrics.csv", "times.csv"};
    writing w = {
        .table = {{.name = "pi"}, {.name = "truth"}, {.name = "metrics"}, {.name = "times"}}};
    *made = (pn_tensorboard){.steps = 0};
    pn_status s = find_begin(run, &w.time);
    for (int i = 0; i < TABLES && s == PN_OK; i++) {
        s = pn_view_table(run, files[i], &w.table[i].columns);
        made->damaged += w.table[i].columns.bad;
    }
    if (until < INT64_MAX) until = timed(&w.table[TIMES].columns, until);
    if (s == PN_OK) add_version(&w, &made->file);
    for (int64_t step = 0; s == PN_OK && step < INT64_MAX;) {
        step = INT64_MAX;
        for (int i = 0; i < TABLES; i++)
            if (step_of(&w.table[i]) < step) step = step_of(&w.table[i]);
        if (step > until || step == INT64_MAX) break;
        add_step(&w, step, step < until, made);
    }
    for (int i = 0; i < TABLES; i++) pn_columns_free(&w.table[i].columns);
    pn_message_free(&w.event);
    if (s == PN_OK) s = pn_message_check(&made->file);
    if (s != PN_OK) pn_message_free(&made->file);
    return s;
}

/* ---- on the disk ----------------------------------------------------------------------------- */

/* Whether the bytes may be such a file, or how one begins: all but the time in its first record is
 * the same in each. */
static bool is_ours(const unsigned char *data, size_t bytes, const unsigned char *made) {
    enum { TIME = 8, BEHIND = FRAME + 1 + TIME };
    const size_t record = FRAME + made[0]; /* its length is below 256 */
    const size_t front = bytes < FRAME + 1 ? bytes : FRAME + 1,
                 end = bytes < record ? bytes : record;
    return !memcmp(data, made, front) &&
           (end <= BEHIND || !memcmp(data + BEHIND, made + BEHIND, end - BEHIND));
}

pn_status pn_tensorboard_put(const pn_tensorboard *made, const pn_place *place, bool append) {
    const pn_message *file = &made->file;
    char path[PN_PATH_BYTES];
    void *data = NULL;
    size_t size = 0;
    bool there;
    PN_TRY(pn_place_has(place, PN_TENSORBOARD_FILE, &there));
    if (!there) return pn_file_write_in(place, PN_TENSORBOARD_FILE, file->data, file->bytes);
    PN_TRY(pn_file_read_in(place, PN_TENSORBOARD_FILE, INT32_MAX, &data, &size));
    const bool ours = is_ours(data, size, file->data),
               begins = size <= file->bytes && !memcmp(data, file->data, size);
    free(data);
    if (!ours)
        return pn_fail(PN_EARG, "%s: not written by this command, and left as it is",
                       pn_place_name(place, PN_TENSORBOARD_FILE, path));
    if (append && begins)
        return size == file->bytes ? PN_OK
                                   : pn_file_append_in(place, PN_TENSORBOARD_FILE, size,
                                                       file->data + size, file->bytes - size);
    return pn_file_write_in(place, PN_TENSORBOARD_FILE, file->data, file->bytes);
}
