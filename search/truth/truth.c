/* truth.c -- see truth.h. */
#include "search/truth/truth.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "runtime/file.h"
#include "search/truth/embedded.h"
#include "search/truth/features.h"
#include "search/truth/table.h"

/* Accuracies y are fitted as t = -log(ceiling - y): near the top a good op adds less than further
 * down, and a linear model of y overrates its best tenth of NAS-Bench-301's cells left out by .09
 * points, this one by .00. The ceiling stands above the best by CEILING of the range: 95.99 %. */
#define CEILING 0.4

/* Of the variance of these cells left out, penalties of 5 and 10 explain the same within .0002. */
#define PENALTY 5.0

enum { UNIFORM = 4096, DRAWS = 1000 };

/* No search has this seed unless somebody asks for it; then its draws are the same, no more. */
static const uint64_t seed = 0x9d5f2a7c61b3e84f;

struct pn_truth {
    pn_truth_facts facts;
    pn_ridge ridge;
    double ceiling;
    double variance; /* of one measurement around the model, as t */
    int least[PN_KINDS][PN_COUNTS], most[PN_KINDS][PN_COUNTS];
    double uniform[UNIFORM]; /* accuracies of those that are judged, rising */
    int uniform_count;
};

static const char *const kind_name[PN_KINDS] = {"normal", "reduction"};

static double bent(const pn_truth *t, double accuracy) { return -log(t->ceiling - accuracy); }

static double straight(const pn_truth *t, double x) { return t->ceiling - exp(-x); }

/* ---- judging --------------------------------------------------------------------------------- */

/* "5 readers of input 0": count i of a cell, in words. */
static void count_text(int i, int number, char *text, size_t size) {
    const char *plural = number == 1 ? "" : "s";
    if (i < PN_MAX_OPS)
        snprintf(text, size, "%d %s", number, pn_op_name[i]);
    else if (i < PN_COUNT_TWICE)
        snprintf(text, size, "%d reader%s of input %d", number, plural, i - PN_COUNT_READERS);
    else if (i == PN_COUNT_TWICE)
        snprintf(text, size, "%d node%s with one input twice", number, plural);
    else
        snprintf(text, size, "%d op%s with weights", number, plural);
}

static bool counts_known(const pn_truth *t, const pn_arch *arch, char why[PN_TRUTH_WHY]) {
    for (int kind = 0; kind < PN_KINDS; kind++) {
        int count[PN_COUNTS];
        pn_counts(&arch->cell[kind], count);
        for (int i = 0; i < PN_COUNTS; i++) {
            const int least = t->least[kind][i], most = t->most[kind][i];
            char what[64];
            if (count[i] >= least && count[i] <= most) continue;
            count_text(i, count[i], what, sizeof what);
            snprintf(why, PN_TRUTH_WHY,
                     least == most ? "its %s cell has %s, the table's have %d"
                                   : "its %s cell has %s, the table's have %d to %d",
                     kind_name[kind], what, least, most);
            return false;
        }
    }
    return true;
}

void pn_truth_judge(const pn_truth *t, const pn_arch *arch, pn_judgement *j) {
    const pn_truth_facts *f = &t->facts;
    const pn_space space = pn_space_darts();
    pn_ridge_row row;
    memset(j, 0, sizeof *j);
    if (!pn_space_has(&space, arch)) {
        snprintf(j->why, sizeof j->why, "its nodes do not all have two terms as the table's have");
        return;
    }
    pn_features(arch, &row);
    j->accuracy = straight(t, pn_ridge_predict(&t->ridge, &row));
    j->leverage = pn_ridge_leverage(&t->ridge, &row);
    j->error = (t->ceiling - j->accuracy) * sqrt(t->variance * (1 + j->leverage)); /* dy = e dt */
    if (!counts_known(t, arch, j->why)) return;
    if (j->leverage > f->leverage) {
        snprintf(j->why, sizeof j->why,
                 "it is too unlike the table's cells: leverage %.2f, in the "
                 "table up to %.2f",
                 j->leverage, f->leverage);
    } else if (j->accuracy < f->least - j->error || j->accuracy > f->most + j->error) {
        snprintf(j->why, sizeof j->why, "%.2f %% would be outside the table's %.2f to %.2f %%",
                 j->accuracy, f->least, f->most);
    } else {
        int below = 0, above = t->uniform_count; /* of the first that is not worse */
        while (below < above) {
            const int middle = (below + above) / 2;
            if (t->uniform[middle] < j->accuracy)
                below = middle + 1;
            else
                above = middle;
        }
        j->better_than = t->uniform_count ? (double)below / t->uniform_count : 0;
        j->judged = true;
    }
}

pn_status pn_truth_expect(const pn_truth *t, const pn_prior *prior, pn_expectation *e) {
    if (prior->space.kinds != PN_KINDS || prior->space.nodes != PN_MAX_NODES)
        return pn_fail(PN_EARG, "a distribution over %d kinds of cell and %d nodes, want %d and %d",
                       prior->space.kinds, prior->space.nodes, PN_KINDS, PN_MAX_NODES);
    double sum = 0, square = 0, first = 0;
    int count = 0;
    pn_tables tables;
    pn_tables_make(prior, &tables);
    for (int i = 0; i < DRAWS; i++) {
        pn_arch arch;
        pn_judgement j;
        memset(&arch, 0, sizeof arch);
        pn_tables_sample(&tables, seed, 1, (uint64_t)i, &arch);
        pn_truth_judge(t, &arch, &j);
        if (!j.judged) continue;
        if (!count++) first = j.accuracy; /* sums of differences lose nothing */
        sum += j.accuracy - first;
        square += (j.accuracy - first) * (j.accuracy - first);
    }
    *e = (pn_expectation){(double)count / DRAWS, NAN, NAN};
    if (count) e->mean = first + sum / count;
    if (count > 1) e->deviation = sqrt(fmax(square - sum * sum / count, 0) / (count - 1));
    return PN_OK;
}

/* ---- fitting --------------------------------------------------------------------------------- */

/* Least, mean and most; and the ceiling, which follows. */
static void describe(pn_truth *t, const pn_known *known) {
    pn_truth_facts *f = &t->facts;
    snprintf(f->measure, sizeof f->measure, "%s", known->measure);
    f->cells = known->count;
    f->least = f->most = known->cell[0].accuracy;
    for (int i = 0; i < known->count; i++) {
        f->mean += known->cell[i].accuracy / known->count;
        f->least = fmin(f->least, known->cell[i].accuracy);
        f->most = fmax(f->most, known->cell[i].accuracy);
    }
    t->ceiling = f->most + CEILING * (f->most - f->least);
}

/* What cells left out show. */
static void measure(pn_truth *t, const pn_known *known, const pn_ridge_row *row) {
    pn_truth_facts *f = &t->facts;
    double squares = 0, left_out = 0, weighted = 0;
    for (int i = 0; i < known->count; i++) {
        const double y = known->cell[i].accuracy, x = bent(t, y);
        const pn_left_out l = pn_ridge_left_out(&t->ridge, &row[i], x);
        const double error = y - straight(t, x - l.residual);
        f->leverage = fmax(f->leverage, l.leverage);
        squares += (y - f->mean) * (y - f->mean);
        left_out += error * error;
        weighted += l.residual * l.residual / (1 + l.leverage);
    }
    f->error = sqrt(left_out / known->count);
    f->explained = 1 - left_out / squares;
    t->variance = weighted / known->count;
}

static void count_all(pn_truth *t, const pn_known *known) {
    for (int i = 0; i < known->count; i++)
        for (int kind = 0; kind < PN_KINDS; kind++) {
            int count[PN_COUNTS];
            pn_counts(&known->cell[i].arch.cell[kind], count);
            for (int k = 0; k < PN_COUNTS; k++) {
                int *least = &t->least[kind][k], *most = &t->most[kind][k];
                if (!i || count[k] < *least) *least = count[k];
                if (!i || count[k] > *most) *most = count[k];
            }
        }
}

static int rising(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* While they are judged, t->uniform_count is 0: better_than follows from them. */
static pn_status judge_uniform(pn_truth *t) {
    const pn_space space = pn_space_darts();
    pn_prior prior;
    pn_tables tables;
    double *accuracy = t->uniform, sum = 0;
    int count = 0;
    PN_TRY(pn_prior_init(&prior, &space, true));
    pn_tables_make(&prior, &tables);
    for (int i = 0; i < UNIFORM; i++) {
        pn_arch arch;
        pn_judgement j;
        memset(&arch, 0, sizeof arch);
        pn_tables_sample(&tables, seed, 0, (uint64_t)i, &arch);
        pn_truth_judge(t, &arch, &j);
        if (!j.judged) continue;
        accuracy[count++] = j.accuracy;
    }
    qsort(accuracy, (size_t)count, sizeof *accuracy, rising);
    for (int i = 0; i < count; i++) sum += accuracy[i];
    t->uniform_count = count;
    t->facts.uniform = count ? sum / count : NAN;
    t->facts.uniform_judged = (double)count / UNIFORM;
    return PN_OK;
}

static pn_status fit(pn_truth *t, const pn_known *known) {
    pn_ridge_row *row = malloc((size_t)known->count * sizeof *row);
    double *y = malloc((size_t)known->count * sizeof *y);
    pn_status s = row && y ? PN_OK : pn_fail(PN_EMEM, "no memory for %d cells", known->count);
    describe(t, known);
    for (int i = 0; s == PN_OK && i < known->count; i++) {
        pn_features(&known->cell[i].arch, &row[i]);
        y[i] = bent(t, known->cell[i].accuracy);
    }
    if (s == PN_OK) s = pn_ridge_fit(&t->ridge, PN_FEATURES, PENALTY, row, y, known->count);
    if (s == PN_OK) {
        measure(t, known, row);
        count_all(t, known);
        s = judge_uniform(t);
    }
    free(row);
    free(y);
    return s;
}

/* ---- tables ---------------------------------------------------------------------------------- */

static const char nasbench301[] = "nasbench301", of_another_space[] = "nasbench201";

const char *pn_truth_named(int i) { return i == 0 ? nasbench301 : NULL; }

static uint32_t crc_of(const void *bytes, size_t size) {
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), bytes, size);
}

static pn_status read_table(const char *text, size_t size, pn_truth *t) {
    pn_known known;
    pn_status s = pn_known_read(text, size, &known);
    if (s == PN_OK) s = fit(t, &known);
    pn_known_free(&known);
    return s;
}

/* A file by the name of a table is that table. */
static pn_status check_sum(const char *path, uint32_t crc) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const uint32_t want = crc_of(pn_nasbench301, pn_nasbench301_size);
    if (strcmp(name, "nasbench301.csv") || crc == want) return PN_OK;
    return pn_fail(PN_EINPUT,
                   "CRC-32 %08" PRIx32 ", want %08" PRIx32
                   ": not the table of that name; a table "
                   "of your own needs another one",
                   crc, want);
}

static pn_status open_file(const char *path, pn_truth *t) {
    void *text;
    size_t size;
    PN_TRY(pn_file_read(path, PN_KNOWN_FILE, &text, &size));
    const uint32_t crc = crc_of(text, size);
    snprintf(t->facts.name, sizeof t->facts.name, "crc32-%08" PRIx32, crc);
    pn_status s = check_sum(path, crc);
    if (s == PN_OK) s = read_table(text, size, t);
    free(text);
    return s == PN_OK ? PN_OK : pn_fail_in(s, "%s", path);
}

static pn_status open_named(const char *name, pn_truth *t) {
    pn_path_kind kind;
    if (!strcmp(name, nasbench301)) {
        snprintf(t->facts.name, sizeof t->facts.name, "%s", nasbench301);
        return read_table((const char *)pn_nasbench301, pn_nasbench301_size, t);
    }
    if (!strcmp(name, of_another_space))
        return pn_fail(PN_EARG,
                       "truth %s is a table of another space, with other ops and one kind of cell; "
                       "want %s, or a CSV file of DARTS cells",
                       name, nasbench301);
    PN_TRY(pn_path_look(name, &kind));
    if (kind == PN_PATH_NOTHING || kind == PN_PATH_DIRECTORY)
        return pn_fail(PN_EARG,
                       "truth '%.60s' is no table and no file, want %s, or a CSV file: a line "
                       "architecture,NAME, then lines CELL,ACCURACY",
                       name, nasbench301);
    return open_file(name, t);
}

pn_status pn_truth_open(const char *table, pn_truth **truth) {
    *truth = NULL;
    pn_truth *t = calloc(1, sizeof *t);
    if (!t) return pn_fail(PN_EMEM, "no memory for a table of known cells");
    const pn_status s = open_named(table, t);
    if (s != PN_OK)
        pn_truth_close(t);
    else
        *truth = t;
    return s;
}

void pn_truth_close(pn_truth *t) {
    if (t) pn_ridge_free(&t->ridge);
    free(t);
}

const pn_truth_facts *pn_truth_about(const pn_truth *t) { return &t->facts; }
