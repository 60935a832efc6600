/* rows.c -- see rows.h. */
#include "tests/support/rows.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/jobs.h"

/* The words. One that begins with a number is the size, HxW. The first few are those of an input:
 * a job that shares the inputs of the one before does not say them again. */
typedef enum kind { NUMBER, SIZE, REAL, FLAG, LIKE } kind;
enum { OF_INPUT = 6 };
static const struct word {
    const char *name;
    kind kind;
    int room; /* most values */
    size_t offset;
} words[] = {
    {"N", NUMBER, 1, offsetof(pn_row, N)},
    {"HxW", SIZE, 2, offsetof(pn_row, H)},
    {"C", NUMBER, 1, offsetof(pn_row, C)},
    {"C,", NUMBER, PN_PARTS, offsetof(pn_row, C)},
    {"in=", LIKE, 1, offsetof(pn_row, in)},
    {"also=,", LIKE, PN_MOST_PARTS, offsetof(pn_row, also)},
    {"K", NUMBER, 1, offsetof(pn_row, K)},
    {"R", NUMBER, 1, offsetof(pn_row, R)},
    {"s", NUMBER, 1, offsetof(pn_row, stride)},
    {"d", NUMBER, 1, offsetof(pn_row, dilation)},
    {"p", NUMBER, 1, offsetof(pn_row, pad)},
    {"mean", FLAG, 1, offsetof(pn_row, mean)},
    {"relu", FLAG, 1, offsetof(pn_row, relu)},
    {"scaled", FLAG, 1, offsetof(pn_row, scaled)},
    {"smoothing=", REAL, 1, offsetof(pn_row, smoothing)},
    {"weight=", REAL, 1, offsetof(pn_row, weight)},
    {"coef=,", NUMBER, PN_MOST_PARTS, offsetof(pn_row, coef)},
    {"in-place=", NUMBER, 1, offsetof(pn_row, in_place)},
    {"restore", FLAG, 1, offsetof(pn_row, restore)},
    {"again=", NUMBER, 1, offsetof(pn_row, again)},
    {"factors", FLAG, 1, offsetof(pn_row, factors)},
    {"out=", LIKE, 1, offsetof(pn_row, out)},
};

/* What an input or output is like, and which of them may be: 1 an input, 2 an output. A weight is a
 * term's. */
static const struct like {
    const char *name;
    int bit, of;
} likes[] = {{"batch", PN_BATCH, 3},   {"running", PN_RUNNING, 3}, {"affine", PN_AFFINE, 3},
             {"frozen", PN_FROZEN, 3}, {"add", PN_ADD, 1},         {"no-dx", PN_NO_DX, 1},
             {"open", PN_OPEN, 1},     {"factor", PN_FACTOR, 2},   {"weight", PN_WEIGHT, 3},
             {"zero", PN_ZERO, 1},     {"tiny", PN_TINY, 1},       {"learnt", PN_LEARNT, 1}};
enum { LIKES_COUNT = sizeof likes / sizeof *likes };

static const struct word *word_of(const pn_key *key) {
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(words[i].name, key->word)) return &words[i];
    fprintf(stderr, "rows.c: no word %s\n", key->word);
    abort();
}

static bool of_input(const struct word *w) { return w - words < OF_INPUT; }

static bool is_list(const struct word *w) { return w->room > 1 && w->kind != SIZE; }

static int length_of_name(const struct word *w) { return (int)strlen(w->name) - is_list(w); }

static void put(pn_row *job, const struct word *w, int i, double value) {
    void *at = (char *)job + w->offset;
    if (w->kind == REAL)
        *(float *)at = (float)value;
    else
        ((int *)at)[i] = (int)value;
}

static double get(const pn_row *job, const struct word *w, int i) {
    const void *at = (const char *)job + w->offset;
    return w->kind == REAL ? *(const float *)at : ((const int *)at)[i];
}

int pn_row_parts(const pn_row *r) {
    const int *list = *r->coef ? r->coef : r->C;
    int n = 0;
    while (n < PN_MOST_PARTS && list[n]) n++;
    return n;
}

/* ---- Reading --------------------------------------------------------------------------------- */

typedef struct reader {
    const pn_key *keys;
    const char *text, *at; /* all of it; what comes next */
    unsigned said;         /* of the keys, by this job */
    int also;              /* how many it has */
    char *error;           /* empty as long as all is well */
} reader;

static void refuse(reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void refuse(reader *r, const char *format, ...) {
    char what[100];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (!*r->error)
        snprintf(r->error, PN_ROW_TEXT, "\"%s\", at %d, \"%.20s\": %s", r->text,
                 (int)(r->at - r->text) + 1, r->at, what);
}

static double read_number(reader *r, const pn_key *key, bool whole) {
    char *end = NULL;
    const bool number = *r->at && strchr("-0123456789", *r->at);
    const double value = number ? strtod(r->at, &end) : 0;
    if (number && value >= key->least && value <= key->most && (!whole || value == rint(value))) {
        r->at = end;
        return value;
    }
    refuse(r, "%s wants %g to %g", key->word, key->least, key->most);
    return 0;
}

static int read_like(reader *r, int of) {
    int like = 0;
    if (*r->at == '-') { /* plain */
        r->at++;
        return 0;
    }
    do {
        const size_t n = strcspn(r->at, "+, ");
        int bit = 0;
        for (int i = 0; i < LIKES_COUNT; i++)
            if (likes[i].of & of && strlen(likes[i].name) == n && !strncmp(likes[i].name, r->at, n))
                bit = likes[i].bit;
        if (!bit || like & bit) refuse(r, "no such input or output, or said before");
        like |= bit;
        if (bit) r->at += n;
    } while (*r->at == '+' && *r->at++);
    return like;
}

static void read_value(reader *r, const pn_key *key, const struct word *w, pn_row *job) {
    const char between = w->kind == SIZE ? 'x' : ',';
    int n = 0;
    do {
        const double value = w->kind == FLAG   ? 1
                             : w->kind == LIKE ? read_like(r, strcmp(w->name, "out=") ? 1 : 2)
                                               : read_number(r, key, w->kind != REAL);
        if (w->kind == NUMBER && is_list(w) && value == 0) refuse(r, "a list without 0");
        put(job, w, n++, value);
    } while (n < w->room && *r->at == between && *r->at++);
    if (w->kind == LIKE && is_list(w)) r->also = n;
    if ((*r->at && *r->at != ' ') || (w->kind == SIZE && n < 2))
        refuse(r, "that is no %s", w->name);
}

static void read_word(reader *r, pn_row *job) {
    size_t n = strcspn(r->at, "0123456789= ");
    n += r->at[n] == '=';
    for (int k = 0; r->keys[k].word; k++) {
        const struct word *w = word_of(&r->keys[k]);
        if (n ? (int)n != length_of_name(w) || strncmp(w->name, r->at, n) : w->kind != SIZE)
            continue;
        if (r->said >> k & 1) refuse(r, "said before");
        r->said |= 1u << k;
        r->at += n;
        read_value(r, &r->keys[k], w, job);
        return;
    }
    refuse(r, "no such word");
}

static void read_job(reader *r, pn_row *job, bool shares) {
    *job = (pn_row){.shares = shares};
    r->said = r->also = 0;
    for (int k = 0; r->keys[k].word; k++) {
        const struct word *w = word_of(&r->keys[k]);
        if (shares && of_input(w))
            r->said |= 1u << k;
        else if (r->keys[k].otherwise != PN_MUST)
            put(job, w, 0, r->keys[k].otherwise);
    }
    if (shares) {
        const pn_row *before = job - 1;
        job->N = before->N, job->H = before->H, job->W = before->W, job->in = before->in;
        memcpy(job->C, before->C, sizeof job->C);
        memcpy(job->also, before->also, sizeof job->also);
    }
    while (!*r->error) {
        r->at += strspn(r->at, " ");
        if (!*r->at || *r->at == '|' || *r->at == '&') break;
        read_word(r, job);
    }
    for (int k = 0; r->keys[k].word; k++)
        if (!(r->said >> k & 1) && r->keys[k].otherwise == PN_MUST)
            refuse(r, "%s is missing before this", r->keys[k].word);
    if (r->also && r->also != pn_row_parts(job))
        refuse(r, "also= has %d, want %d", r->also, pn_row_parts(job));
}

int pn_rows_read(const pn_key *keys, const char *text, pn_row rows[PN_MAX_JOBS], char *error) {
    reader r = {.keys = keys, .text = text, .at = text, .error = error};
    int count = 0;
    *error = 0;
    memset(rows, 0, PN_MAX_JOBS * sizeof *rows);
    read_job(&r, rows, false);
    for (count = 1; *r.at && !*error; count++) {
        const bool shares = *r.at++ == '&';
        if (count == PN_MAX_JOBS)
            refuse(&r, "more than %d jobs", PN_MAX_JOBS);
        else
            read_job(&r, &rows[count], shares);
    }
    return *error ? 0 : count;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void write_like(FILE *f, int like) {
    const char *between = "";
    for (int i = 0; i < LIKES_COUNT; i++)
        if (like & likes[i].bit) {
            fprintf(f, "%s%s", between, likes[i].name);
            between = "+";
        }
    if (!like) fputs("-", f);
}

static void write_word(FILE *f, const pn_key *key, const struct word *w, const pn_row *job) {
    const int count = is_list(w) ? pn_row_parts(job) : w->room;
    bool said = false;
    for (int i = 0; i < count; i++) said |= get(job, w, i) != key->otherwise;
    if (!said || (job->shares && of_input(w))) return;
    if (w->kind != SIZE) fprintf(f, "%.*s", length_of_name(w), w->name);
    for (int i = 0; i < count && w->kind != FLAG; i++) {
        if (i) fputs(is_list(w) ? "," : "x", f);
        if (w->kind == LIKE)
            write_like(f, (int)get(job, w, i));
        else
            fprintf(f, "%g", get(job, w, i));
    }
    fputs(" ", f);
}

void pn_rows_write(const pn_key *keys, const pn_row rows[PN_MAX_JOBS], char *text) {
    FILE *f = fmemopen(text, PN_ROW_TEXT, "w");
    if (!f) abort();
    for (int i = 0; i < PN_MAX_JOBS && rows[i].N; i++) {
        if (i) fputs(rows[i].shares ? "& " : "| ", f);
        for (const pn_key *key = keys; key->word; key++) write_word(f, key, word_of(key), &rows[i]);
    }
    fclose(f);
}
