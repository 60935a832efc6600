/* command_compare.c -- what cells are worth when trained alone: a search's beside random ones. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/json.h"
#include "runtime/text.h"
#include "search/methods/run.h"
#include "search/methods/standalone.h"
#include "search/network/genotype.h"
#include "search/report/html.h"
#include "search/report/report.h"
#include "search/rundir/journal.h"
#include "tools/commands.h"
#include "tools/judged.h"
#include "tools/progress.h"

static const char usage[] =
    "parsec-nas compare [RUN | GENOTYPE]... [--random N] [OPTIONS]\n"
    "\n"
    "Trains cells from scratch, all by one short schedule, and compares them: the\n"
    "cell of a finished search, given genotypes, and N random cells. Trains on the\n"
    "first half of the training images; `validation` is the other half (a search has\n"
    "seen it), `test` is seen by nothing. A RUN also gives data and network, and\n"
    "`shared` is the accuracy with the shared weights of its search. A few hundred\n"
    "steps rank cells; they do not tell what a cell reaches in the end.\n"
    "\n"
    "A search competes with the best of n random cells, chosen by validation, where\n"
    "training n cells costs as much as the search did.\n"
    "\n"
    "--truth nasbench301 adds what each cell is worth by a table of cells whose\n"
    "accuracy is known, and the share of all cells that it is better than. A cell\n"
    "unlike those of the table is not judged. With --steps 0 nothing is trained:\n"
    "genotypes and random cells are then judged without any data.\n"
    "\n"
    "A page has the same in words and pictures: NAME.html beside --output NAME.json,\n"
    "else RUN/compare.html if anything was trained.\n"
    "\n"
    "A training that diverges is marked, and the others go on; if all do, the exit\n"
    "code is 7.\n"
    "\n";

enum { MOST_CELLS = 1024, SHARED_BATCHES = 20 };

typedef struct cell {
    char name[32];
    pn_arch arch;
    bool random, diverged; /* diverged: its scores are NaN */
    double shared, log_p;  /* accuracy with the shared weights, log-probability; NaN: not known */
    pn_score validation, test;
    pn_judgement truth;
} cell;

typedef struct options {
    const char *data, *truth, *output;
    int layers, channels, batch, random, steps, images;
    double rate, momentum, decay, clip;
    uint64_t seed, random_seed;
    bool json, report, quiet;
    pn_device_options device;
} options;
static options o;

typedef struct comparison {
    const pn_kernels *kernels;
    pn_run run; /* of the first word, if it is one */
    bool has_run;
    int derived; /* which cell is its */
    pn_data train, test;
    pn_truth *truth; /* NULL: nobody asked */
    cell cell[MOST_CELLS];
    int cells;
} comparison;

static cell *add_cell(comparison *c, const char *name) {
    cell *one = &c->cell[c->cells++];
    *one = (cell){.shared = NAN, .log_p = NAN};
    snprintf(one->name, sizeof one->name, "%s", name);
    return one;
}

/* The cell and the weights of a finished search; what was not asked for is as it was there. */
static pn_status take_run(comparison *c, const char *directory) {
    const pn_settings defaults = pn_settings_defaults();
    const pn_opening opening = {.reading = true};
    if (c->has_run)
        return pn_fail(PN_EARG, "%s: a second run, want one (and any number of genotypes)",
                       directory);
    PN_TRY(pn_run_open(&c->run, directory, &defaults, &opening, c->kernels, 0));
    c->has_run = true;
    const pn_settings *s = &c->run.settings;
    if (!c->run.finished)
        return pn_fail(PN_EARG, "%s: step %lld of %lld; finish the search first", directory,
                       (long long)pn_run_position(&c->run), (long long)s->steps);
    if (!o.data) o.data = s->data;
    if (!o.layers) o.layers = (int)s->layers;
    if (!o.channels) o.channels = (int)s->channels;
    if (!o.batch) o.batch = (int)s->batch;
    c->derived = c->cells;
    c->run.method->derive(c->run.self, &add_cell(c, "derived")->arch);
    return PN_OK;
}

static pn_status gather(comparison *c, const char *const *words) {
    for (int i = 0; words[i]; i++) {
        char name[32], shown[17];
        pn_path_kind kind;
        PN_TRY(pn_path_look(words[i], &kind));
        if (kind == PN_PATH_DIRECTORY) {
            PN_TRY(take_run(c, words[i]));
            continue;
        }
        pn_arch arch;
        PN_TRY(pn_genotype_open(words[i], &arch));
        pn_text_visible(words[i], shown, sizeof shown);
        snprintf(name, sizeof name, "%s%s", shown, strlen(words[i]) > 16 ? "..." : "");
        add_cell(c, name)->arch = arch;
    }
    pn_prior uniform;
    const pn_space space = pn_space_darts();
    PN_TRY(pn_prior_init(&uniform, &space, true));
    for (int i = 0; i < o.random; i++) {
        char name[32];
        snprintf(name, sizeof name, "random %d", i + 1);
        cell *one = add_cell(c, name);
        one->random = true;
        pn_prior_sample(&uniform, o.random_seed, 0, (uint64_t)i, &one->arch);
    }
    if (!c->cells)
        return pn_fail(PN_EARG, "nothing to compare: want a run, a genotype or --random N");
    if (!o.data && !(c->truth && !o.steps)) return pn_fail(PN_EARG, "want --data D, or a run");
    if (!o.layers) o.layers = 8;
    if (!o.channels) o.channels = 16;
    if (!o.batch) o.batch = 64;
    return PN_OK;
}

/* What the search itself thinks of every cell. */
static void ask_run(comparison *c) {
    const pn_method *m = c->run.method;
    void *self = c->run.self;
    for (int i = 0; i < c->cells; i++) {
        const pn_arch *arch = &c->cell[i].arch;
        c->cell[i].log_p = m->prior ? pn_prior_log_p(m->prior(self), arch) : m->log_p(self, arch);
    }
}

static void judge_all(comparison *c) {
    for (int i = 0; i < c->cells; i++)
        pn_truth_judge(c->truth, &c->cell[i].arch, &c->cell[i].truth);
}

static pn_status train_all(comparison *c) {
    if (!o.data) return PN_OK; /* nothing is trained, and there are no shared weights */
    PN_TRY(pn_data_open_both(o.data, &c->train, &c->test));
    pn_standalone_settings s = pn_standalone_defaults();
    s.steps = o.steps;
    s.images = o.images;
    s.rate = o.rate;
    s.rate_end = fmin(s.rate_end, o.rate);
    s.model.momentum = (float)o.momentum;
    s.model.decay = (float)o.decay;
    s.model.clip = (float)o.clip;
    s.model.seed = o.seed;
    s.model.N = o.batch;
    s.model.network = (pn_network_spec){.layers = o.layers,
                                        .channels = o.channels,
                                        .H = c->train.H,
                                        .W = c->train.W,
                                        .image_channels = c->train.C,
                                        .classes = c->train.classes};
    if (c->has_run) {
        int64_t batches = pn_batches_steps_per_epoch(c->run.model.batches, 1);
        if (batches > SHARED_BATCHES) batches = SHARED_BATCHES;
        for (int i = 0; i < c->cells; i++) {
            double log_likelihood;
            PN_TRY(pn_model_score(&c->run.model, &c->cell[i].arch, batches, &log_likelihood,
                                  &c->cell[i].shared));
        }
    }
    const double begin = pn_now();
    for (int i = 0; i < c->cells && o.steps; i++) {
        cell *one = &c->cell[i];
        pn_status status = pn_standalone_train(c->kernels, &s, &c->train, &c->test, &one->arch,
                                               &one->validation, &one->test);
        one->diverged = status == PN_EDIVERGED;
        if (one->diverged)
            one->validation = one->test = (pn_score){NAN, NAN};
        else if (status != PN_OK)
            return pn_fail_in(status, "%s", one->name);
        if (!o.quiet)
            fprintf(stderr, "%s%d of %d cells trained, %.0f s%s",
                    isatty(STDERR_FILENO) ? "\r\033[K" : "", i + 1, c->cells, pn_now() - begin,
                    isatty(STDERR_FILENO) ? "" : "\n");
    }
    if (!o.quiet && isatty(STDERR_FILENO)) fputc('\n', stderr);
    return PN_OK;
}

/* ---- what came out --------------------------------------------------------------------------- */

static void print_accuracy(double accuracy) {
    if (isnan(accuracy))
        printf("%12s", "");
    else
        printf("%10.2f %%", 100 * accuracy);
}

static void print_trained(const cell *one, const pn_score *score) {
    if (o.steps && one->diverged)
        printf("%12s", "diverged");
    else
        print_accuracy(o.steps ? score->accuracy : NAN);
}

static void print_truth(const pn_judgement *j) {
    char share[PN_FIGURE_BYTES];
    if (j->judged)
        printf("%10.2f %%%12s", j->accuracy, pn_figure_share(j->better_than, share));
    else
        printf("%12s%12s", "not judged", "");
}

static void print_table(const comparison *c) {
    const pn_space space = pn_space_darts();
    printf("%-20s%12s%12s%12s", "", c->has_run ? "shared" : "", "validation", "test");
    if (c->truth) printf("%12s%12s", "truth", "better than");
    puts("   cell");
    for (int i = 0; i < c->cells; i++) {
        const cell *one = &c->cell[i];
        char text[PN_SHORT_BYTES];
        pn_genotype_short(&space, &one->arch, text);
        printf("%-20s", one->name);
        print_accuracy(one->shared);
        print_trained(one, &one->validation);
        print_trained(one, &one->test);
        if (c->truth) print_truth(&one->truth);
        printf("   %s\n", text);
    }
}

/* Mean, its standard error and the best at equal cost, of the random cells' test accuracies;
 * without those that diverged. */
typedef struct summary {
    int count, n; /* cells; as many as the search would pay for, 0 = there is no search */
    double mean, error, best;
} summary;

static summary summarize(const comparison *c) {
    static double choose[MOST_CELLS], test[MOST_CELLS];
    summary s = {0};
    double square = 0;
    for (int i = 0; i < c->cells; i++) {
        if (!c->cell[i].random || c->cell[i].diverged) continue;
        choose[s.count] = c->cell[i].validation.accuracy;
        test[s.count++] = c->cell[i].test.accuracy;
    }
    if (!s.count) return s;
    for (int i = 0; i < s.count; i++) s.mean += test[i] / s.count;
    for (int i = 0; i < s.count; i++) square += (test[i] - s.mean) * (test[i] - s.mean);
    s.error = s.count > 1 ? sqrt(square / (s.count - 1) / s.count) : 0;
    if (c->has_run) {
        const pn_settings *searched = &c->run.settings;
        s.n = (int)(c->run.method->cost(searched, searched->steps) / o.steps);
    }
    if (s.n < 1 || s.n > s.count) s.n = s.count;
    s.best = pn_best_of(choose, test, s.count, s.n);
    return s;
}

static void print_summary(const comparison *c) {
    const summary s = summarize(c);
    if (!s.count || !o.steps) return;
    printf("\ntest accuracy\n");
    printf("  %d random cells, mean            %6.2f %% (standard error %.2f)\n", s.count,
           100 * s.mean, 100 * s.error);
    printf("  best of %d, chosen by validation %6.2f %%\n", s.n, 100 * s.best);
    if (!c->has_run || c->cell[c->derived].diverged) return;
    const double derived = c->cell[c->derived].test.accuracy;
    printf("  the search's cell               %6.2f %%: %+.2f against the mean,\n", 100 * derived,
           100 * (derived - s.mean));
    printf("%44s%+.2f against the best at its cost\n", "", 100 * (derived - s.best));
    puts(
        "Trainings of the same cell differ by some tenths of a percent: a single search\n"
        "proves nothing.");
}

/* What the table is, what it says of the search's cell, and why it does not judge some. */
static void print_truth_summary(const comparison *c) {
    const pn_truth_facts *f = pn_truth_about(c->truth);
    char text[PN_JUDGED_TEXT];
    printf("\ntruth: %s by %s, a model of %d cells that explains\n%.1f %% of their variance\n",
           f->measure, f->name, f->cells, 100 * f->explained);
    if (c->has_run)
        printf("  the search's cell: %s\n", pn_judged_text(&c->cell[c->derived].truth, text));
    printf("  a uniform cell: %.2f %% on average\n", f->uniform);
    for (int i = 0; i < c->cells; i++)
        if (!c->cell[i].truth.judged && !(c->has_run && i == c->derived))
            printf("  %s: %s\n", c->cell[i].name, pn_judged_text(&c->cell[i].truth, text));
}

static json_t *cell_json(const cell *one, bool trained, bool judged) {
    const pn_space space = pn_space_darts();
    char text[PN_GENOTYPE_BYTES], brief[PN_SHORT_BYTES];
    json_t *row = json_object();
    int failed = 0;
    pn_genotype_write(&one->arch, text);
    pn_genotype_short(&space, &one->arch, brief);
    failed |= json_object_set_new(row, "name", pn_json_string(one->name));
    failed |= json_object_set_new(row, "random", json_boolean(one->random));
    failed |= json_object_set_new(row, "genotype", json_string(text));
    failed |= json_object_set_new(row, "short", json_string(brief));
    if (!isnan(one->log_p)) failed |= json_object_set_new(row, "log_p", pn_json_number(one->log_p));
    if (!isnan(one->shared))
        failed |= json_object_set_new(row, "shared_accuracy", json_real(one->shared));
    if (trained) {
        const pn_score *v = &one->validation, *t = &one->test;
        failed |= json_object_set_new(row, "diverged", json_boolean(one->diverged));
        failed |= json_object_set_new(row, "validation_loss", pn_json_number(v->loss));
        failed |= json_object_set_new(row, "validation_accuracy", pn_json_number(v->accuracy));
        failed |= json_object_set_new(row, "test_loss", pn_json_number(t->loss));
        failed |= json_object_set_new(row, "test_accuracy", pn_json_number(t->accuracy));
    }
    if (judged) failed |= json_object_set_new(row, "truth", pn_judged_json(&one->truth));
    if (!failed) return row;
    json_decref(row);
    return NULL;
}

/* As many random cells as the search would pay for, and what the best of them reaches. */
static int set_cost(json_t *root, const comparison *c) {
    const summary s = summarize(c);
    if (!s.count) return 0;
    return json_object_set_new(root, "at_cost",
                               json_pack("{s:i,s:f}", "cells", s.n, "best", s.best));
}

/* *bad: some part could not be made. */
static json_t *whole_json(const comparison *c, int *bad) {
    json_t *rows = json_array(), *root = json_object();
    int failed = json_object_set_new(root, "command", pn_journal_command());
    if (c->has_run)
        failed |=
            json_object_set_new(root, "run", pn_json_string(c->run.record.directory.place.path));
    if (c->has_run && o.steps) failed |= set_cost(root, c);
    for (int i = 0; i < c->cells; i++)
        failed |=
            json_array_append_new(rows, cell_json(&c->cell[i], o.steps > 0, c->truth != NULL));
    failed |= json_object_set_new(root, "data", o.data ? pn_json_string(o.data) : json_null());
    failed |= json_object_set_new(root, "layers", json_integer(o.layers));
    failed |= json_object_set_new(root, "channels", json_integer(o.channels));
    failed |= json_object_set_new(root, "batch", json_integer(o.batch));
    failed |= json_object_set_new(root, "steps", json_integer(o.steps));
    failed |= json_object_set_new(root, "seed", pn_json_seed(o.seed));
    if (c->truth)
        failed |=
            json_object_set_new(root, "truth", pn_judged_table_json(pn_truth_about(c->truth)));
    failed |= json_object_set_new(root, "cells", rows);
    *bad = failed;
    return root;
}

enum { JSON_STYLE = JSON_INDENT(2) | JSON_REAL_PRECISION(8) };

static pn_status print_json(const comparison *c) {
    int bad;
    json_t *root = whole_json(c, &bad);
    return pn_json_print(root, bad, JSON_STYLE, stdout);
}

static pn_status write_json(const comparison *c, const char *file) {
    int bad;
    char *text;
    json_t *root = whole_json(c, &bad);
    PN_TRY(pn_json_file(root, bad, JSON_STYLE, &text));
    const pn_status s = pn_file_write(file, text, strlen(text));
    free(text);
    return s;
}

/* ---- the page -------------------------------------------------------------------------------- */

static const char page_in_run[] = "compare.html";

/* Where it goes, in words: beside the JSON; else into the run, if that can be written to and has
 * something new to show. "": nowhere. *place: the run. */
static pn_status find_page(const comparison *c, const pn_place **place, char path[PN_PATH_BYTES]) {
    const char *end = o.output ? strrchr(o.output, '.') : NULL;
    *path = 0;
    *place = NULL;
    if (!o.report) return PN_OK;
    if (end && !strcmp(end, ".json")) {
        const int length = (int)(end - o.output);
        if (snprintf(path, PN_PATH_BYTES, "%.*s.html", length, o.output) < PN_PATH_BYTES)
            return pn_report_may_write(path);
        return pn_fail(PN_EARG, "--output %s: too long a path", o.output);
    }
    if (!c->has_run || !o.steps) return PN_OK;
    const pn_place *run = &c->run.record.directory.place;
    if (faccessat(run->fd, ".", W_OK, 0) != 0) return PN_OK; /* an archive */
    *place = run;
    pn_place_name(run, page_in_run, path);
    return PN_OK;
}

static pn_status write_page(const comparison *c, const pn_place *place, const char *path) {
    char line[PN_PATH_BYTES + 32];
    int bad;
    bool written;
    if (!*path) return PN_OK;
    json_t *root = whole_json(c, &bad);
    pn_status s = bad ? pn_fail(PN_EMEM, "no memory for a page")
                      : pn_report_comparison(root, place, place ? page_in_run : path, &written);
    json_decref(root);
    if (s != PN_OK || !written || o.quiet) return s;
    snprintf(line, sizeof line, "to look at: %s", path);
    pn_print_wrapped(stderr, 0, line);
    return PN_OK;
}

#define PN_OF options

static const pn_field rows[] = {
    PN_INT("random", random, 0, MOST_CELLS - PN_MOST_WORDS, "0",
           "random cells beside them, of the space with distinct inputs"),
    PN_SEED("random-seed", random_seed, "which ones"),
    PN_INT("steps", steps, 0, 1 << 30, "600",
           "steps of each training; 0: no training, shared weights only"),
    PN_INT("images", images, 1, 1 << 30, "10000", "most images of either score"),
    PN_ROW_RATE("learning rate of the first step, on a cosine to at most 0.001"),
    PN_ROWS_SGD,
    PN_ROW_TRUTH("what each is worth by a table of known cells"),
    PN_ROW_SEED("seed for weights and batches"),
    PN_ROW_DATA(NULL, "as in search"),
    PN_ROW_LAYERS(NULL, "cells [8]"),
    PN_ROW_CHANNELS(NULL, "channels of the first cells [16]"),
    PN_ROW_BATCH(NULL, "images [64]"),
    PN_ROW_JSON,
    PN_PATH("output", output, NULL, "FILE", NULL,
            "also write the JSON to a file; report looks for RUN/compare.json", .also = "o"),
    PN_FLAG("report", report, "1", "write a page: NAME.html, or RUN/compare.html"),
    PN_FLAG("quiet", quiet, NULL, "no progress", .also = "q|silent"),
    PN_ROWS_DEVICE,
};

static pn_status compare(comparison *c, const char *const *words) {
    PN_TRY(pn_device_open(&o.device, &c->kernels));
    if (o.truth) PN_TRY(pn_truth_open(o.truth, &c->truth));
    const pn_place *place;
    char page[PN_PATH_BYTES];
    PN_TRY(gather(c, words));
    PN_TRY(find_page(c, &place, page));
    if (c->has_run) ask_run(c);
    if (c->truth) judge_all(c);
    PN_TRY(train_all(c));
    int diverged = 0;
    for (int i = 0; i < c->cells; i++) diverged += c->cell[i].diverged;
    if (o.output) PN_TRY(write_json(c, o.output));
    if (o.json) {
        PN_TRY(print_json(c));
    } else {
        print_table(c);
        print_summary(c);
        if (c->truth) print_truth_summary(c);
    }
    fflush(stdout); /* before what is said of it */
    PN_TRY(write_page(c, place, page));
    if (!o.json && !o.quiet) fputs("how cells are written: parsec-nas help notation\n", stderr);
    return diverged < c->cells
               ? PN_OK
               : pn_fail(PN_EDIVERGED, "all %d trainings diverged; want a lower --rate", diverged);
}

static pn_status run(const char *const *words) {
    static comparison c = {.run = {.record = PN_NO_RECORD}};
    const pn_status s = compare(&c, words);
    pn_run_close(&c.run);
    pn_data_free(&c.train);
    pn_data_free(&c.test);
    pn_truth_close(c.truth);
    return s;
}

PN_COMMAND(compare, "train a search's cell and random ones alone, and compare them",
           .words = PN_MOST_WORDS, .options = {PN_OPTIONS(rows, o)});
