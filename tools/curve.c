/* curve.c -- see curve.h. The whole file is in memory, a hundred rows or so, and is replaced as a
 * whole. */
#include "tools/curve.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/file.h"
#include "runtime/text.h"

enum { LIMIT = 1 << 22, ROW = 256 };

static const char file_name[] = "truth.csv";
static const char head[] =
    "step,table,mean,deviation,judged,found,found_error,found_better_than,found_judged\n";

/* ---- rows ------------------------------------------------------------------------------------ */

static pn_status append(pn_curve *c, const char *text, size_t length) {
    if (c->length + length >= c->room) {
        const size_t room = 2 * (c->length + length) + ROW;
        char *more = realloc(c->text, room);
        if (!more) return pn_fail(PN_EMEM, "no memory for %s", file_name);
        c->text = more;
        c->room = room;
    }
    memcpy(c->text + c->length, text, length);
    c->length += length;
    c->text[c->length] = 0;
    return PN_OK;
}

/* ",93.1234"; nothing behind the comma where there is no number. */
static void put_number(char row[ROW], double x, bool known) {
    const size_t used = strlen(row);
    snprintf(row + used, ROW - used, known && isfinite(x) ? ",%.4f" : ",", x);
}

static pn_status add_row(pn_curve *c, const pn_run *r) {
    const pn_method *m = r->method;
    pn_expectation e = {.mean = NAN, .deviation = NAN, .judged = NAN};
    pn_judgement j;
    pn_arch found;
    char row[ROW];
    if (m->prior) PN_TRY(pn_truth_expect(c->truth, m->prior(r->self), &e));
    m->derive(r->self, &found);
    pn_truth_judge(c->truth, &found, &j);
    snprintf(row, sizeof row, "%" PRId64 ",%s", pn_run_position(r), pn_truth_about(c->truth)->name);
    put_number(row, e.mean, true);
    put_number(row, e.deviation, true);
    put_number(row, e.judged, true);
    put_number(row, j.accuracy, j.judged);
    put_number(row, j.error, j.judged);
    put_number(row, j.better_than, j.judged);
    const size_t used = strlen(row);
    snprintf(row + used, sizeof row - used, ",%d\n", j.judged);
    return append(c, row, strlen(row));
}

/* ---- what is there --------------------------------------------------------------------------- */

/* Keeps the rows up to the run's step; *last: the step of the last one, or -1. */
static pn_status keep_rows(pn_curve *c, const pn_run *r, const char *text, int64_t *last) {
    const char *name = pn_truth_about(c->truth)->name;
    const size_t length = strlen(name);
    if (strncmp(text, head, sizeof head - 1))
        return pn_fail(PN_EINPUT, "not a table of this program, whose first line is %.*s",
                       (int)sizeof head - 2, head);
    for (const char *line = text + sizeof head - 1, *end; *line; line = end + 1) {
        uint64_t step;
        const char *at = line;
        end = strchr(line, '\n');
        if (!end || !pn_take_whole(&at, 0, INT64_MAX, &step) || *at++ != ',' ||
            (int64_t)step <= *last)
            return pn_fail(PN_EINPUT, "no row of such a table: %.*s", (int)strcspn(line, "\n"),
                           line);
        if (strncmp(at, name, length) || at[length] != ',')
            return pn_fail(PN_EARG, "its rows are by the table %.*s, and this is %s",
                           (int)strcspn(at, ",\n"), at, name);
        if ((int64_t)step > pn_run_position(r)) break;
        *last = (int64_t)step;
        PN_TRY(append(c, line, (size_t)(end + 1 - line)));
    }
    return PN_OK;
}

static pn_status read_rows(pn_curve *c, const pn_run *r, int64_t *last) {
    const pn_place *place = &r->record.directory.place;
    char path[PN_PATH_BYTES];
    bool there;
    void *text;
    size_t size;
    PN_TRY(append(c, head, sizeof head - 1));
    PN_TRY(pn_place_has(place, file_name, &there));
    if (!there) return PN_OK;
    PN_TRY(pn_file_read_in(place, file_name, LIMIT, &text, &size));
    const pn_status s = keep_rows(c, r, text, last);
    free(text);
    return s == PN_OK ? PN_OK : pn_fail_in(s, "%s", pn_place_name(place, file_name, path));
}

/* ---- a curve --------------------------------------------------------------------------------- */

pn_status pn_curve_open(pn_curve *c, const char *table) {
    *c = (pn_curve){.truth = NULL};
    return table ? pn_truth_open(table, &c->truth) : PN_OK;
}

/* A run that is continued between two marks gets no row there: an undisturbed one has none. */
pn_status pn_curve_begin(pn_curve *c, const pn_run *r) {
    const char *const written[] = {file_name, NULL};
    int64_t last = -1;
    if (!c->truth) return PN_OK;
    PN_TRY(pn_directory_clean(&r->record.directory, written));
    PN_TRY(read_rows(c, r, &last));
    return last < pn_run_position(r) && (last < 0 || pn_run_marked(r)) ? add_row(c, r) : PN_OK;
}

pn_status pn_curve_step(pn_curve *c, const pn_run *r) {
    return c->truth && pn_run_marked(r) ? add_row(c, r) : PN_OK;
}

pn_status pn_curve_write(const pn_curve *c, const pn_run *r) {
    return c->truth ? pn_record_text(&r->record, file_name, c->text) : PN_OK;
}

void pn_curve_close(pn_curve *c) {
    pn_truth_close(c->truth);
    free(c->text);
    *c = (pn_curve){.truth = NULL};
}
