/* table.c -- see table.h. */
#include "search/truth/table.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/utf8.h"
#include "search/network/genotype.h"
#include "search/truth/features.h"

static const char head[] = "architecture,";

/* The line at *at, without its end, which may be \r\n; *at is then the next one's begin. NULL at
 * the end of the text. */
static const char *take_line(const char **at, const char *end, size_t *length) {
    const char *begin = *at;
    if (begin == end) return NULL;
    const char *stop = memchr(begin, '\n', (size_t)(end - begin));
    *at = stop ? stop + 1 : end;
    if (!stop) stop = end;
    if (stop > begin && stop[-1] == '\r') stop--;
    *length = (size_t)(stop - begin);
    return begin;
}

/* The first line is "architecture,NAME"; NAME may be shown, and stands in a column of its own. */
static pn_status read_head(const char *line, size_t length, pn_known *known) {
    const size_t n = sizeof head - 1, rest = length > n ? length - n : 0;
    char shown[PN_MEASURE_BYTES] = "", text[PN_MEASURE_BYTES];
    const bool fits = rest > 0 && rest < sizeof known->measure && !memcmp(line, head, n);
    if (fits && !memchr(line + n, ',', rest) && !memchr(line + n, 0, rest)) {
        snprintf(text, sizeof text, "%.*s", (int)rest, line + n);
        pn_text_visible(text, known->measure, sizeof known->measure);
        return PN_OK;
    }
    snprintf(text, sizeof text, "%.*s", (int)(length < 40 ? length : 40), line ? line : "");
    pn_text_visible(text, shown, sizeof shown);
    return pn_fail(PN_EINPUT,
                   "its first line is '%s', want architecture,NAME: the name of one accuracy in "
                   "percent, of at most %zu bytes",
                   shown, sizeof known->measure - 1);
}

static pn_status read_row(const char *line, size_t length, int number, pn_known_cell *cell) {
    const pn_space space = pn_space_darts();
    const char *comma = line + length;
    char text[32], *end = text;
    while (comma > line && *comma != ',') comma--;
    if (*comma != ',')
        return pn_fail(PN_EINPUT, "line %d has no comma, want CELL,ACCURACY", number);
    if (pn_genotype_read(line, (size_t)(comma - line), &cell->arch) != PN_OK)
        return pn_fail_in(PN_EINPUT, "line %d", number);
    if (!pn_space_has(&space, &cell->arch))
        return pn_fail(PN_EINPUT, "line %d: a cell with another number of terms a node than two",
                       number);
    const size_t digits = (size_t)(line + length - comma) - 1;
    snprintf(text, sizeof text, "%.*s", (int)digits, comma + 1);
    cell->accuracy = strtod(text, &end);
    if (digits >= sizeof text || end == text || end != text + digits ||
        !(cell->accuracy >= 0 && cell->accuracy <= 100)) {
        char shown[sizeof text];
        pn_text_visible(text, shown, sizeof shown);
        return pn_fail(PN_EINPUT, "line %d: accuracy '%s', want a number from 0 to 100", number,
                       shown);
    }
    cell->arch = pn_terms_sorted(&cell->arch);
    cell->line = number;
    return PN_OK;
}

static pn_status read_rows(const char *at, const char *end, pn_known *known) {
    size_t length;
    int number = 1, room = 0;
    for (const char *line; (line = take_line(&at, end, &length));) {
        if (known->count == PN_KNOWN_MOST)
            return pn_fail(PN_EINPUT, "more than %d cells", PN_KNOWN_MOST);
        if (known->count == room) {
            room = room ? 2 * room : 64;
            pn_known_cell *more = realloc(known->cell, (size_t)room * sizeof *more);
            if (!more) return pn_fail(PN_EMEM, "no memory for %d cells", room);
            known->cell = more;
        }
        PN_TRY(read_row(line, length, ++number, &known->cell[known->count]));
        known->count++;
    }
    return PN_OK;
}

static int by_cell(const void *a, const void *b) {
    const pn_known_cell *x = a, *y = b;
    const int order = memcmp(&x->arch, &y->arch, sizeof x->arch);
    return order ? order : x->line - y->line;
}

/* Sorts the cells; one that stands there more than once with one accuracy stays once. */
static pn_status settle(pn_known *known) {
    pn_known_cell *cell = known->cell;
    int kept = 0;
    double least = INFINITY, most = -INFINITY;
    if (known->count) qsort(cell, (size_t)known->count, sizeof *cell, by_cell);
    for (int i = 0; i < known->count; i++) {
        least = fmin(least, cell[i].accuracy);
        most = fmax(most, cell[i].accuracy);
        if (kept && !memcmp(&cell[kept - 1].arch, &cell[i].arch, sizeof cell[i].arch)) {
            if (cell[kept - 1].accuracy != cell[i].accuracy)
                return pn_fail(PN_EINPUT, "line %d: the cell of line %d with %g instead of %g",
                               cell[i].line, cell[kept - 1].line, cell[i].accuracy,
                               cell[kept - 1].accuracy);
            continue;
        }
        cell[kept++] = cell[i];
    }
    known->count = kept;
    if (kept < PN_KNOWN_LEAST)
        return pn_fail(PN_EINPUT, "%d cells, want at least %d", kept, PN_KNOWN_LEAST);
    if (least == most) return pn_fail(PN_EINPUT, "all accuracies are %g", least);
    return PN_OK;
}

pn_status pn_known_read(const char *text, size_t size, pn_known *known) {
    const char *at = text, *end = text + size;
    size_t length = 0;
    *known = (pn_known){.count = 0};
    const char *first = take_line(&at, end, &length);
    if (at < end && *at == '|')
        return pn_fail(PN_EINPUT,
                       "a table of another space: its cells read |op~0|+..., as those "
                       "of NAS-Bench-201 do, want DARTS cells: normal op@input ...");
    PN_TRY(read_head(first, length, known));
    PN_TRY(read_rows(at, end, known));
    return settle(known);
}

void pn_known_free(pn_known *known) {
    free(known->cell);
    *known = (pn_known){.count = 0};
}
