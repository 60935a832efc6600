/* run.c -- see run.h. */
#include "search/report/run.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "runtime/text.h"
#include "search/network/genotype.h"
#include "search/rundir/record.h"

/* A gigabyte is a search of some million steps. */
enum { JSON_LIMIT = 1 << 24, TABLE_LIMIT = 1 << 30, MOST_COLUMNS = 4096 };

/* ---- files ----------------------------------------------------------------------------------- */

/* A file that is not there gives NULL, and one that is none (a link, too long) likewise. */
static pn_status read_file(const pn_place *place, const char *name, size_t limit, char **text,
                           size_t *size) {
    bool there;
    void *data = NULL;
    *text = NULL;
    *size = 0;
    PN_TRY(pn_place_has(place, name, &there));
    if (!there) return PN_OK;
    const pn_status s = pn_file_read_in(place, name, limit, &data, size);
    if (s == PN_OK) *text = data;
    if (s == PN_EIO) PN_TRY(pn_place_has(place, name, &there)); /* or removed in between? */
    return s == PN_EINPUT || !there ? PN_OK : s;
}

pn_status pn_view_json(const pn_view *v, const char *name, json_t **root) {
    char *text;
    size_t size;
    *root = NULL;
    PN_TRY(read_file(&v->place, name, JSON_LIMIT, &text, &size));
    const pn_status s = text ? pn_json_parse(text, size, root) : PN_OK;
    free(text);
    return s == PN_EINPUT ? PN_OK : s;
}

pn_status pn_view_lines(const pn_view *v, const char *name, json_t **list) {
    char *text, *end;
    size_t size;
    *list = NULL;
    PN_TRY(read_file(&v->place, name, TABLE_LIMIT, &text, &size));
    json_t *all = json_array();
    pn_status s = all ? PN_OK : pn_fail(PN_EMEM, "no memory for %s", name);
    for (char *at = text; at && s == PN_OK && (end = memchr(at, '\n', size - (size_t)(at - text)));
         at = end + 1) {
        json_t *line = NULL;
        s = pn_json_parse(at, (size_t)(end - at), &line);
        if (s == PN_EINPUT) s = PN_OK;
        if (json_is_object(line)) {
            if (json_array_append_new(all, line)) s = pn_fail(PN_EMEM, "no memory for %s", name);
        } else {
            json_decref(line);
        }
    }
    free(text);
    if (s != PN_OK)
        json_decref(all);
    else
        *list = all;
    return s;
}

/* ---- a run ----------------------------------------------------------------------------------- */

static void trouble(pn_view *v, const char *what) {
    if (!v->trouble[0]) pn_text_visible(what, v->trouble, sizeof v->trouble);
}

static pn_view_state state_of(const char *text) {
    return !strcmp(text, "finished")   ? PN_VIEW_FINISHED
           : !strcmp(text, "diverged") ? PN_VIEW_DIVERGED
                                       : PN_VIEW_RUNNING;
}

static pn_status read_root(pn_view *v) {
    char *text;
    size_t size;
    bool there;
    v->format = 1;
    PN_TRY(pn_place_has(&v->place, "run.json", &there));
    if (!there) return PN_OK;
    v->state = PN_VIEW_UNREADABLE;
    PN_TRY(read_file(&v->place, "run.json", JSON_LIMIT, &text, &size));
    pn_status s = text ? pn_json_parse(text, size, &v->root) : pn_fail(PN_EINPUT, "no plain file");
    free(text);
    if (s == PN_OK && !json_is_object(v->root)) s = pn_fail(PN_EINPUT, "not an object of JSON");
    if (s == PN_EMEM) return s;
    if (s != PN_OK) {
        pn_say_in("run.json");
        trouble(v, pn_error());
        json_decref(v->root);
        v->root = NULL;
        return PN_OK;
    }
    const char *command = pn_view_text(v, "command", "");
    v->state = state_of(pn_view_text(v, "state", ""));
    v->kind = !strcmp(command, "search")  ? PN_VIEW_SEARCH
              : !strcmp(command, "train") ? PN_VIEW_TRAINING
                                          : PN_VIEW_UNKNOWN;
    const double format = pn_view_number(v, "format", 1);
    v->format = format >= 1 && format < 1e9 ? (int64_t)format : 1;
    v->newer = v->format > PN_RECORD_FORMAT;
    if (!v->newer) return PN_OK;
    pn_say("run.json: written by parsec-nas %.20s in format %" PRId64
           "; this is %s, which knows "
           "formats 1 to %d",
           pn_view_text(v, "version", "of a later version"), v->format, PN_VERSION,
           PN_RECORD_FORMAT);
    trouble(v, pn_error());
    return PN_OK;
}

static pn_status read_genotype(pn_view *v) {
    char *text;
    size_t size;
    PN_TRY(read_file(&v->place, "genotype.txt", PN_GENOTYPE_FILE, &text, &size));
    if (!text) return PN_OK;
    v->found = pn_genotype_find(text, size, &v->arch) == PN_OK;
    if (!v->found) {
        pn_say_in("genotype.txt");
        trouble(v, pn_error());
    }
    free(text);
    return PN_OK;
}

/* Without a run.json that says it. */
static pn_status guess_kind(pn_view *v) {
    char *text;
    size_t size;
    if (v->kind != PN_VIEW_UNKNOWN) return PN_OK;
    PN_TRY(read_file(&v->place, "metrics.csv", TABLE_LIMIT, &text, &size));
    if (text && !strncmp(text, "step,", 5)) v->kind = PN_VIEW_SEARCH;
    if (text && !strncmp(text, "epoch,", 6)) v->kind = PN_VIEW_TRAINING;
    free(text);
    return PN_OK;
}

pn_status pn_view_open(pn_view *v, const char *path) {
    *v = (pn_view)PN_NO_VIEW;
    pn_status s = pn_place_open(&v->place, path);
    if (s == PN_OK) s = read_root(v);
    if (s == PN_OK) s = read_genotype(v);
    if (s == PN_OK) s = guess_kind(v);
    if (s != PN_OK) pn_view_close(v);
    return s;
}

void pn_view_close(pn_view *v) {
    json_decref(v->root);
    pn_place_close(&v->place);
    *v = (pn_view)PN_NO_VIEW;
}

static double number_in(const json_t *object, const char *name, double usual) {
    const json_t *value = json_object_get(object, name);
    return json_is_boolean(value)  ? json_boolean_value(value)
           : json_is_number(value) ? json_number_value(value)
                                   : usual;
}

static const char *text_in(const json_t *object, const char *name, const char *usual) {
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : usual;
}

double pn_view_number(const pn_view *v, const char *name, double usual) {
    return number_in(v->root, name, usual);
}

const char *pn_view_text(const pn_view *v, const char *name, const char *usual) {
    return text_in(v->root, name, usual);
}

double pn_view_setting(const pn_view *v, const char *name, double usual) {
    return number_in(json_object_get(v->root, "settings"), name, usual);
}

const char *pn_view_setting_text(const pn_view *v, const char *name, const char *usual) {
    return text_in(json_object_get(v->root, "settings"), name, usual);
}

/* ---- tables ---------------------------------------------------------------------------------- */

void pn_columns_free(pn_columns *c) {
    free(c->name);
    free(c->first);
    free(c->value);
    free(c->asked);
    free(c->text);
    free(c->row);
    *c = (pn_columns){0};
}

/* A cell that ends in a zero. Numbers of at most 2^53 and 22 places are made exactly by one
 * multiplication or division (Clinger 1990), the others by strtod. */
static double parse(const char *cell, const char *end) {
    static const double power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *at = cell + (*cell == '-');
    uint64_t digits = 0;
    int count = 0, places = 0;
    for (; *at >= '0' && *at <= '9'; at++, count++) digits = 10 * digits + (uint64_t)(*at - '0');
    if (*at == '.')
        for (at++; *at >= '0' && *at <= '9'; at++, count++, places++)
            digits = 10 * digits + (uint64_t)(*at - '0');
    if (count && count < 20 && (*at == 'e' || *at == 'E')) {
        const int sign = at[1] == '-' ? -1 : 1;
        const char *digit = at + 1 + (at[1] == '-' || at[1] == '+');
        int exponent = 0;
        if (*digit >= '0' && *digit <= '9') at = digit;
        for (; *at >= '0' && *at <= '9' && exponent < 1000; at++)
            exponent = 10 * exponent + (*at - '0');
        places -= sign * exponent;
    }
    if (count && count < 20 && at == end && digits <= (1ull << 53) && abs(places) <= 22) {
        const double x =
            places > 0 ? (double)digits / power[places] : (double)digits * power[-places];
        return *cell == '-' ? -x : x;
    }
    char *stop;
    const double x = strtod(cell, &stop);
    return stop == end && end > cell ? x : NAN;
}

static pn_status no_room(const char *name) { return pn_fail(PN_EMEM, "no memory for %s", name); }

/* The line of the header; *at moves behind it. */
static pn_status read_header(pn_columns *c, const char *file, char **at, const char *end) {
    char *stop = memchr(*at, '\n', (size_t)(end - *at)), *name = *at;
    int count = 1;
    if (!stop || memchr(*at, 0, (size_t)(stop - *at))) return PN_OK;
    for (const char *x = *at; x < stop; x++) count += *x == ',';
    if (count > MOST_COLUMNS) return PN_OK;
    c->name = malloc((size_t)count * sizeof *c->name);
    if (!c->name) return no_room(file);
    *stop = 0;
    for (int i = 0; i < count; i++) {
        c->name[i] = name;
        name += strcspn(name, ",");
        *name++ = 0;
    }
    c->count = count;
    *at = stop + 1;
    return PN_OK;
}

/* Whether a line has a cell for each column, and no zero. Counted in pieces that a byte can count,
 * which compilers do with many characters at a time. */
static bool is_row(const pn_columns *c, const char *at, const char *stop) {
    int64_t commas = 0;
    unsigned char zero = 0;
    while (at < stop) {
        enum { PIECE = 255 };
        const int length = stop - at < PIECE ? (int)(stop - at) : PIECE;
        unsigned char some = 0;
        for (int i = 0; i < length; i++) {
            some = (unsigned char)(some + (at[i] == ','));
            zero |= (unsigned char)(at[i] == 0);
        }
        commas += some;
        at += length;
    }
    return !zero && commas == c->count - 1;
}

const double *pn_row_at(const pn_columns *c, int64_t row) {
    double *value = c->value + row * c->count;
    if (c->asked[row]) return value;
    char *at = c->text + c->row[row];
    for (int i = 0; i < c->count; i++) {
        char *end = at;
        while (*end != ',' && *end != '\n') end++;
        *end = 0;
        value[i] = parse(at, end);
        at = end + 1;
    }
    c->asked[row] = true;
    return value;
}

/* Takes rows off that row c->rows is to replace: those of its step and later ones. Of a table with
 * several rows a step, those that go on with it are none of these. */
static void take_back(pn_columns *c, bool several) {
    const double now = c->first[c->rows];
    int64_t keep = c->rows;
    if (keep > 0 && c->first[keep - 1] > now) several = false;
    while (keep > 0 && (c->first[keep - 1] > now || (!several && c->first[keep - 1] == now)))
        keep--;
    c->first[keep] = now;
    c->row[keep] = c->row[c->rows];
    c->rows = keep;
}

/* The number that a line begins with. */
static double first_of(char *at, char *stop) {
    char *end = memchr(at, ',', (size_t)(stop - at));
    if (!end) end = stop;
    const char behind = *end;
    *end = 0;
    const double x = parse(at, end);
    *end = behind;
    return x;
}

static pn_status make_room(pn_columns *c, const char *file, int64_t *room) {
    const int64_t more = 2 * *room + 1024;
    size_t *row = realloc(c->row, (size_t)more * sizeof *row);
    if (row) c->row = row;
    double *first = realloc(c->first, (size_t)more * sizeof *first);
    if (first) c->first = first;
    *room = more;
    return row && first ? PN_OK : no_room(file);
}

static pn_status read_rows(pn_columns *c, const char *file, char *at, char *end) {
    const bool several = pn_column(c, "sample") >= 0;
    int64_t room = 0;
    for (char *stop; (stop = memchr(at, '\n', (size_t)(end - at))); at = stop + 1) {
        if (!is_row(c, at, stop)) {
            c->bad++;
            continue;
        }
        if (c->rows == room) PN_TRY(make_room(c, file, &room));
        c->row[c->rows] = (size_t)(at - c->text);
        c->first[c->rows] = first_of(at, stop);
        take_back(c, several);
        c->rows++;
    }
    if (!c->rows) return PN_OK;
    c->asked = calloc((size_t)c->rows, sizeof *c->asked);
    c->value = malloc((size_t)c->rows * (size_t)c->count * sizeof *c->value);
    return c->asked && c->value ? PN_OK : no_room(file);
}

pn_status pn_view_table(const pn_view *v, const char *name, pn_columns *c) {
    size_t size;
    *c = (pn_columns){0};
    PN_TRY(read_file(&v->place, name, TABLE_LIMIT, &c->text, &size));
    if (!c->text) return PN_OK;
    char *at = c->text, *end = c->text + size;
    pn_status s = read_header(c, name, &at, end);
    if (s == PN_OK && c->count) s = read_rows(c, name, at, end);
    if (s != PN_OK) pn_columns_free(c);
    return s;
}

int pn_column(const pn_columns *c, const char *name) {
    int i = 0;
    while (i < c->count && strcmp(c->name[i], name) != 0) i++;
    return i < c->count ? i : -1;
}

const char *pn_cell_text(const pn_columns *c, int64_t row, int column) {
    if (column < 0 || row < 0 || row >= c->rows) return "";
    const char *cell = c->text + c->row[row];
    (void)pn_row_at(c, row); /* its cells now end in zeros */
    for (int i = 0; i < column; i++) cell += strlen(cell) + 1;
    return cell;
}

/* ---- seeds ----------------------------------------------------------------------------------- */

typedef struct seeds {
    uint64_t *list;
    int count, room;
} seeds;

static pn_status see(void *self, const char *name) {
    seeds *all = self;
    uint64_t seed;
    char ours[32];
    if (strncmp(name, "seed-", 5) || !pn_whole(name + 5, 0, UINT64_MAX, &seed)) return PN_OK;
    snprintf(ours, sizeof ours, "seed-%" PRIu64, seed);
    if (strcmp(name, ours) != 0) return PN_OK;
    if (all->count == all->room) {
        const int room = 2 * all->room + 8;
        uint64_t *list = realloc(all->list, (size_t)room * sizeof *list);
        if (!list) return pn_fail(PN_EMEM, "no memory for %d seeds", room);
        all->list = list;
        all->room = room;
    }
    all->list[all->count++] = seed;
    return PN_OK;
}

static int by_number(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

pn_status pn_view_seeds(const pn_view *v, uint64_t **list, int *count) {
    seeds all = {0};
    const pn_status s = pn_place_list(&v->place, see, &all);
    if (s != PN_OK) free(all.list);
    *list = s == PN_OK ? all.list : NULL;
    *count = s == PN_OK ? all.count : 0;
    if (*count) qsort(*list, (size_t)*count, sizeof **list, by_number);
    return s;
}
