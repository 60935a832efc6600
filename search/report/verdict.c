/* verdict.c -- a run in three sentences. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kernels/utf8.h"
#include "runtime/json.h"
#include "search/report/facts.h"
#include "search/report/html.h"

__attribute__((format(printf, 2, 3))) static void add(char text[PN_SENTENCE_WORDS],
                                                      const char *format, ...) {
    const size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, PN_SENTENCE_WORDS - used, format, arguments);
    va_end(arguments);
}

static void add_visible(char text[PN_SENTENCE_WORDS], const char *words) {
    char visible[256];
    pn_text_visible(words, visible, sizeof visible);
    add(text, "%s", visible);
}

/* ---- a search -------------------------------------------------------------------------------- */

static void count_terms(const pn_arch *arch, int *with, int *pools, int *skips) {
    *with = *pools = *skips = 0;
    for (int kind = 0; kind < PN_KINDS; kind++)
        for (int node = 0; node < PN_MAX_NODES; node++)
            for (int slot = 0; slot < pn_slots(&arch->cell[kind], node); slot++) {
                const pn_op op = (pn_op)arch->cell[kind].term[node][slot].op;
                if (op == PN_NONE) continue;
                *(pn_op_has_weights(op) ? with : op == PN_SKIP_CONNECT ? skips : pools) += 1;
            }
}

static void say_progress(const pn_facts *f, char text[PN_SENTENCE_WORDS]) {
    char done[PN_FIGURE_BYTES], all[PN_FIGURE_BYTES];
    const char *unit = f->search ? "step" : "epoch";
    pn_figure_count((double)f->done, done);
    pn_figure_count((double)f->all, all);
    if (f->view.state == PN_VIEW_FINISHED)
        add(text, "after %s %ss", done, unit);
    else if (f->all)
        add(text, "at %s %s of %s", unit, done, all);
    else
        add(text, "at %s %s", unit, done);
}

static void say_data(const pn_facts *f, char text[PN_SENTENCE_WORDS]) {
    const char *data = pn_view_setting_text(&f->view, "data", "");
    if (!*data) return;
    add(text, " on ");
    add_visible(text, data);
}

static void say_cost_of_cell(const pn_facts *f, char text[PN_SENTENCE_WORDS]) {
    char params[PN_FIGURE_BYTES], macs[PN_FIGURE_BYTES];
    if (!f->planned) return;
    add(text, "; its network here has %s parameters and does %s multiply-adds an image",
        pn_figure_short(f->plan[PN_COST_PARAMS], params),
        pn_figure_short(f->plan[PN_COST_MACS], macs));
}

static void found_by_search(const pn_facts *f, char text[PN_SENTENCE_WORDS]) {
    int with, pools, skips;
    if (!f->known) {
        add(text,
            f->view.state == PN_VIEW_DIVERGED ? "The search diverged " : "The search stands ");
        say_progress(f, text);
        add(text, " and has no cell yet.");
        return;
    }
    count_terms(&f->arch, &with, &pools, &skips);
    if (f->probable) {
        add(text,
            f->view.state == PN_VIEW_DIVERGED ? "The search diverged " : "The search stands ");
        say_progress(f, text);
        say_data(f, text);
        add(text, "; its most probable cell pair so far has");
    } else {
        add(text, "The search found a cell pair ");
        say_progress(f, text);
        say_data(f, text);
        add(text, " with");
    }
    add(text, " %d convolution%s, %d pool%s and %d skip%s in its %d terms", with,
        with == 1 ? "" : "s", pools, pools == 1 ? "" : "s", skips, skips == 1 ? "" : "s",
        with + pools + skips);
    say_cost_of_cell(f, text);
    add(text, ".");
}

static void sure_of_search(const pn_facts *f, char text[PN_SENTENCE_WORDS]) {
    char p[PN_FIGURE_BYTES], uniform[PN_FIGURE_BYTES];
    const double agreement = pn_view_number(&f->view, "agreement", NAN);
    if (!f->distributed) {
        add(text, "How sure it is cannot be told: prior.csv holds no distribution.");
        return;
    }
    const double share = f->health.entropy / f->health.entropy_uniform;
    add(text, "%s: the distribution has an entropy of %.1f of at most %.1f nats (%.0f %%)",
        share > 0.9    ? "It has decided next to nothing"
        : share > 0.6  ? "It has decided little"
        : share > 0.3  ? "It has decided in part"
        : share > 0.05 ? "It has decided most"
                       : "It has all but decided",
        f->health.entropy, f->health.entropy_uniform, 100 * share);
    add(text, ", and the cell pair has a probability of %s (drawn uniformly: %s)",
        pn_figure_chance(f->log_p, p), pn_figure_chance(f->log_p_uniform, uniform));
    if (!isnan(agreement))
        add(text, "; two halves of its steps agree by %.2f about the order of cells, so %s",
            agreement,
            agreement > 0.8   ? "more steps would say the same"
            : agreement > 0.5 ? "more steps would change it somewhat"
                              : "they are too few to trust it");
    add(text, ".");
}

/* What a table says of the cell that was found. NaN: nothing. */
typedef struct table_says {
    char table[80];
    double better, accuracy, error;
    bool another; /* it says so of the cell that the search would hand over now */
} table_says;

/* What compare.json has of the search's own cell; NULL: nothing. */
static const json_t *compared_cell(const pn_facts *f) {
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(f->compare, "cells"), i, one) {
        const char *name = json_string_value(json_object_get(one, "name"));
        if (name && !strcmp(name, "derived") && !json_is_true(json_object_get(one, "random")))
            return one;
    }
    return NULL;
}

static void table_of_comparison(const pn_facts *f, table_says *s) {
    const json_t *table = json_object_get(f->compare, "truth"),
                 *truth = json_object_get(compared_cell(f), "truth");
    const char *name = json_string_value(json_object_get(table, "name")),
               *measure = json_string_value(json_object_get(table, "measure"));
    char words[80];
    s->better = pn_json_number_in(truth, "better_than");
    s->accuracy = pn_json_number_in(truth, "accuracy");
    s->error = pn_json_number_in(truth, "error");
    snprintf(words, sizeof words, "%.32s%s%.32s%s", name ? name : "", measure ? " (" : "",
             measure ? measure : "", measure ? ")" : "");
    pn_text_visible(words, s->table, sizeof s->table);
}

static void table_of_curve(const pn_facts *f, table_says *s) {
    const pn_columns *t = &f->truth;
    const int64_t last = t->rows - 1;
    if (last < 0) return;
    s->better = pn_value_at(t, last, pn_column(t, "found_better_than"));
    s->accuracy = pn_value_at(t, last, pn_column(t, "found"));
    s->error = pn_value_at(t, last, pn_column(t, "found_error"));
    s->another = f->probable && !strcmp(pn_view_setting_text(&f->view, "found", ""), "supported");
    pn_text_visible(pn_cell_text(t, last, pn_column(t, "table")), s->table, sizeof s->table);
}

/* By compare.json, else by the last row of truth.csv; false if the cell is not judged there. */
static bool worth_by_table(const pn_facts *f, const char *by, char text[PN_SENTENCE_WORDS]) {
    table_says says = {.better = NAN};
    char share[PN_FIGURE_BYTES];
    table_of_comparison(f, &says);
    if (isnan(says.better)) table_of_curve(f, &says);
    if (isnan(says.better)) return false;
    add(text, "%s the table %s %s is better than %s of cells drawn by chance", by, says.table,
        says.another ? "the cell that it would hand over now" : "it",
        pn_figure_share(says.better, share));
    if (!isnan(says.accuracy))
        add(text, " (%.2f %%, standard error %.2f)", says.accuracy, says.error);
    return true;
}

/* By compare.json: what `compare --json` printed of this run. */
static bool worth_by_training(const pn_facts *f, char text[PN_SENTENCE_WORDS]) {
    double sum = 0, square = 0;
    int count = 0, below = 0;
    size_t i;
    json_t *one;
    const double ours = pn_json_number_in(compared_cell(f), "test_accuracy");
    const json_t *cells = json_object_get(f->compare, "cells");
    json_array_foreach(cells, i, one) {
        const json_t *accuracy = json_object_get(one, "test_accuracy");
        if (!json_is_true(json_object_get(one, "random")) || !json_is_number(accuracy)) continue;
        const double x = json_number_value(accuracy);
        sum += x;
        square += x * x;
        count++;
        below += x < ours;
    }
    if (isnan(ours) || !count) return false;
    const double mean = sum / count, variance = square / count - mean * mean;
    add(text,
        "Trained alone it reaches %.2f %%, %+.2f points against the mean of %d random cell%s "
        "(deviation %.2f) and better than %d of %d, though one search proves little",
        100 * ours, 100 * (ours - mean), count, count == 1 ? "" : "s",
        100 * sqrt(fmax(variance, 0)), below, count);
    return true;
}

static void say_price(const pn_facts *f, char text[PN_SENTENCE_WORDS]) {
    char time[PN_FIGURE_BYTES], bytes[PN_FIGURE_BYTES];
    const double memory = f->parameter_bytes + f->arena_bytes;
    if (isnan(f->seconds) && isnan(memory)) return;
    add(text, "; %s cost ", f->search ? "the search" : "the training");
    if (!isnan(f->seconds)) add(text, "%s", pn_figure_time(f->seconds, time));
    if (!isnan(f->seconds) && !isnan(memory)) add(text, " and ");
    if (!isnan(memory)) add(text, "%s of weights and arena", pn_figure_size(memory, bytes));
}

static void worth_of_search(const pn_facts *f, pn_verdict *v) {
    if (!f->known)
        add(v->worth, "What it is worth against chance cannot be told yet");
    else if (worth_by_training(f, v->worth))
        worth_by_table(f, "; by", v->worth);
    else if (!worth_by_table(f, "By", v->worth)) {
        add(v->worth, "Whether that is better than chance one run cannot tell");
        add(v->command, "parsec-nas compare ");
        if (f->view.state == PN_VIEW_FINISHED) {
            add_visible(v->command, f->path);
            add(v->command, " --random 6");
        } else {
            v->command[0] = 0;
        }
    }
    say_price(f, v->worth);
    add(v->worth, ".");
}

/* ---- a training ------------------------------------------------------------------------------ */

/* In fp16. */
static void say_skipped(const pn_facts *f, char text[PN_SENTENCE_WORDS]) {
    const json_t *skipped = json_object_get(json_object_get(f->view.root, "loss_scale"), "skipped");
    const double steps = json_number_value(skipped);
    if (steps > 0)
        add(text,
            " %.0f step%s skipped, since a gradient overflowed and the loss scale was halved.",
            steps, steps == 1 ? " was" : "s were");
}

static void verdict_of_training(const pn_facts *f, pn_verdict *v) {
    const json_t *last = json_object_get(f->view.root, "last"),
                 *best = json_object_get(f->view.root, "best");
    const json_t *accuracy = json_object_get(last, "accuracy");
    char on[80];
    pn_text_visible(pn_view_text(&f->view, "scored_on", "the images it is scored on"), on,
                    sizeof on);
    const double reached = 100 * json_number_value(accuracy);
    add(v->found, f->view.state == PN_VIEW_DIVERGED   ? "The training diverged "
                  : f->view.state == PN_VIEW_FINISHED ? "The cell pair was trained from scratch; "
                                                      : "The training stands ");
    say_progress(f, v->found);
    say_data(f, v->found);
    if (json_is_number(accuracy))
        add(v->found, " it has an accuracy of %.2f %% (error %.2f %%) on %s", reached,
            100 - reached, on);
    say_cost_of_cell(f, v->found);
    add(v->found, ".");
    if (json_is_number(json_object_get(best, "accuracy")))
        add(v->sure,
            "The best epoch, %.0f, reached %.2f %%; it was chosen by the images it is scored on, "
            "so compare cells by the last.",
            json_number_value(json_object_get(best, "epoch")),
            100 * json_number_value(json_object_get(best, "accuracy")));
    else
        add(v->sure, "No epoch has been scored yet.");
    say_skipped(f, v->sure);
    add(v->worth, "Trainings of one cell differ by some tenths of a percent from seed to seed");
    say_price(f, v->worth);
    add(v->worth, ".");
}

void pn_verdict_of(const pn_facts *f, pn_verdict *v) {
    *v = (pn_verdict){.found = ""};
    if (!f->search) {
        verdict_of_training(f, v);
        return;
    }
    found_by_search(f, v->found);
    sure_of_search(f, v->sure);
    say_skipped(f, v->sure);
    worth_of_search(f, v);
}
