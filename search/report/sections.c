/* sections.c -- see sections.h. */
#include "search/report/sections.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/utf8.h"
#include "runtime/json.h"
#include "search/export/drawing.h"
#include "search/methods/settings.h"
#include "search/report/chart.h"
#include "search/report/heat.h"
#include "search/report/html.h"
#include "search/report/measured.h"
#include "search/train/settings.h"

typedef char figure[PN_FIGURE_BYTES];

/* ---- verdict --------------------------------------------------------------------------------- */

static const char *state_name(const pn_facts *f) {
    static const char *const name[] = {[PN_VIEW_EMPTY] = "no run.json",
                                       [PN_VIEW_UNREADABLE] = "run.json cannot be read",
                                       [PN_VIEW_RUNNING] = "not finished",
                                       [PN_VIEW_DIVERGED] = "diverged",
                                       [PN_VIEW_FINISHED] = "finished"};
    return name[f->view.state];
}

/* Whether a number and its unit meet here: they stay on one line. */
static bool is_before_unit(const char *space, const char *begin) {
    static const char *const unit[] = {"%",   "s",   "min", "h",   "k",    "M",      "G",    "B",
                                       "KiB", "MiB", "GiB", "TiB", "nats", "points", "steps"};
    const size_t length = strspn(space + 1, "%abcdefghijklmnopqrstuvwxyzBGKMT");
    if (space == begin || space[-1] < '0' || space[-1] > '9') return false;
    for (size_t i = 0; i < sizeof unit / sizeof *unit; i++)
        if (strlen(unit[i]) == length && !strncmp(space + 1, unit[i], length)) return true;
    return false;
}

/* Text of ours, with figures: 10^18 is raised, a number is not parted from its unit. */
static void put_words(pn_page *p, const char *text) {
    for (const char *at = text; *at;) {
        const size_t plain = strcspn(at, " ^");
        char part[PN_SENTENCE_WORDS];
        snprintf(part, sizeof part, "%.*s", (int)plain, at);
        pn_html(p, part);
        at += plain;
        if (*at == ' ') {
            pn_page_put(p, "%s", is_before_unit(at, text) ? "&nbsp;" : " ");
            at++;
        } else if (*at == '^') {
            const int digits = (int)strspn(++at, "0123456789");
            pn_page_put(p, "<sup>%.*s</sup>", digits, at);
            at += digits;
        }
    }
}

static void put_sentence(pn_page *p, const char *text) {
    if (!*text) return;
    pn_page_put(p, "<p>");
    put_words(p, text);
    pn_page_put(p, "</p>\n");
}

/* The three sentences, below what could not be read. */
static void put_sentences(pn_page *p, const pn_facts *f, const pn_verdict *v, const char *style) {
    if (f->view.trouble[0]) {
        pn_page_put(p, "<p class=\"trouble\">");
        pn_html(p, f->view.trouble);
        pn_page_put(p, "</p>\n");
    }
    pn_page_put(p, "<div class=\"%s\">\n", style);
    put_sentence(p, v->found);
    put_sentence(p, v->sure);
    put_sentence(p, v->worth);
    pn_page_put(p, "</div>\n");
}

static void put_verdict(pn_page *p, const pn_facts *f) {
    pn_verdict v;
    pn_verdict_of(f, &v);
    put_sentences(p, f, &v, "verdict");
    if (!v.command[0]) return;
    pn_page_put(p, "<p class=\"note\">This command would tell what the cell is worth:</p>\n<pre>");
    pn_html(p, v.command);
    pn_page_put(p, "</pre>\n");
}

static void put_tile(pn_page *p, const char *name, const char *value, const char *below) {
    pn_page_put(p, "<div><dt>%s</dt><dd>", name);
    put_words(p, value);
    pn_page_put(p, "<small>");
    put_words(p, below);
    pn_page_put(p, "</small></dd></div>\n");
}

static double last_accuracy(const pn_facts *f) {
    const json_t *accuracy = json_object_get(json_object_get(f->view.root, "last"), "accuracy");
    return json_is_number(accuracy) ? json_number_value(accuracy) : NAN;
}

static void put_tiles(pn_page *p, const pn_facts *f) {
    figure a, b;
    char text[128];
    pn_page_put(p, "<dl class=\"tiles\">\n");
    if (f->distributed) {
        snprintf(text, sizeof text, "uniformly %s", pn_figure_chance(f->log_p_uniform, b));
        put_tile(p, "Probability of the cell", pn_figure_chance(f->log_p, a), text);
        snprintf(a, sizeof a, "%.1f nats", f->health.entropy);
        snprintf(text, sizeof text, "of at most %.1f", f->health.entropy_uniform);
        put_tile(p, "Entropy", a, text);
    }
    if (!f->search && !isnan(last_accuracy(f))) {
        snprintf(a, sizeof a, "%.2f %%", 100 * (1 - last_accuracy(f)));
        put_tile(p, "Error", a, "of the last epoch");
    }
    const double better = f->truth.rows ? pn_value_at(&f->truth, f->truth.rows - 1,
                                                      pn_column(&f->truth, "found_better_than"))
                                        : NAN;
    if (!isnan(better)) {
        pn_figure_share(better, a);
        put_tile(p, "Better than", a, "of cells drawn by chance");
    }
    if (f->done) {
        snprintf(text, sizeof text, "of %s", pn_figure_count((double)f->all, b));
        put_tile(p, f->search ? "Steps" : "Epochs", pn_figure_count((double)f->done, a),
                 f->all ? text : "");
    }
    put_tile(p, "Time", pn_figure_time(f->seconds, a),
             isnan(f->seconds) ? "not recorded" : "at work");
    const double bytes = f->parameter_bytes + f->arena_bytes;
    if (!isnan(bytes)) put_tile(p, "Memory", pn_figure_size(bytes, a), "weights and arena");
    pn_page_put(p, "</dl>\n");
}

/* ---- cells ----------------------------------------------------------------------------------- */

/* A line for each cell. */
static void put_notation_of(pn_page *p, const pn_arch *arch) {
    const pn_space space = pn_space_darts();
    char text[PN_SHORT_BYTES], *second;
    pn_genotype_short(&space, arch, text);
    second = strstr(text, " reduce ");
    if (second) *second++ = 0;
    pn_page_put(p, "<span class=\"mono\">%s%s%s</span>", text, second ? "<br>" : "",
                second ? second : "");
}

static void put_cells(pn_page *p, const pn_facts *f) {
    char text[PN_GENOTYPE_BYTES];
    if (!f->known) return;
    pn_page_put(p, "<section><h2>The %scell pair</h2>\n", f->probable ? "most probable " : "");
    for (int kind = 0; kind < PN_KINDS; kind++) {
        pn_page_put(p, "<div class=\"cell\">\n");
        pn_drawing_cell(p, &f->arch, (pn_kind)kind);
        pn_page_put(p, "</div>\n");
    }
    pn_genotype_write(&f->arch, text);
    pn_page_put(p, "<pre>");
    pn_html(p, text);
    pn_page_put(p, "</pre>\n<p class=\"note\">");
    put_notation_of(p, &f->arch);
    pn_page_put(p, "</p>\n");
    pn_section_notation(p);
    pn_page_put(p, "</section>\n");
}

void pn_section_notation(pn_page *p) {
    pn_page_put(
        p,
        "<p class=\"note\">A network is a chain of cells; a third and two thirds of the way along "
        "it stand reduction cells, which halve height and width, the others are normal cells. A "
        "cell has four nodes. Each node is the sum of two terms, op@input: an op, and what it is "
        "applied to. Inputs 0 and 1 are the outputs of the two cells before (k-2 and k-1), 2 to 5 "
        "are nodes 0 to 3 of the same cell; the four nodes together are the cell's output. mp and "
        "ap are 3x3 max and average pools, sk a skip, s3 and s5 separable convolutions of 3x3 and "
        "5x5, d3 and d5 the same dilated. In the short notation | stands between nodes.</p>\n");
}

/* ---- cost ------------------------------------------------------------------------------------ */

static void put_cost_row(pn_page *p, const char *name, const double cost[PN_COSTS]) {
    figure a, b, c, d, e;
    pn_page_put(
        p, "<tr><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n", name,
        pn_figure_count(cost[PN_COST_PARAMS], a), pn_figure_short(cost[PN_COST_MACS], b),
        pn_figure_size(cost[PN_COST_PARAMETER_BYTES], c),
        pn_figure_size(cost[PN_COST_ARENA_BYTES], d), pn_figure_size(cost[PN_COST_TOTAL_BYTES], e));
}

static void put_cost(pn_page *p, const pn_facts *f) {
    figure a;
    if (!f->planned && isnan(f->seconds)) return;
    pn_page_put(p, "<section><h2>Cost</h2>\n");
    if (f->planned) {
        pn_page_put(p,
                    "<div class=\"scroll\"><table>\n<thead><tr><th>network</th><th>parameters</th>"
                    "<th>multiply-adds</th><th>weights</th><th>arena</th><th>with batches</th>"
                    "</tr></thead>\n<tbody>\n");
        put_cost_row(p, f->search ? "this cell in the search" : "this network in training",
                     f->plan);
        if (f->planned_supernet) put_cost_row(p, "all ops at once (supernet)", f->supernet);
        pn_page_put(p,
                    "</tbody></table></div>\n"
                    "<p class=\"note\">Multiply-adds of one image. Weights with gradient and "
                    "momentum%s; arena: activations, their gradients and scratch of a training "
                    "step, as <code>parsec-nas plan</code> has it.",
                    f->search ? ", of the whole search space" : "");
    } else {
        pn_page_put(p, "<p>");
    }
    if (isnan(f->seconds))
        pn_page_put(p, " Seconds were not recorded.");
    else
        pn_page_put(p, " The %s took %s.", f->search ? "search" : "training",
                    pn_figure_time(f->seconds, a));
    pn_page_put(p, "</p>\n</section>\n");
}

/* ---- curves ---------------------------------------------------------------------------------- */

enum { MOST_CHARTS = 12 };

static bool add_mark(pn_chart *c, double at, bool anew) {
    if (c->marks == PN_CHART_MARKS || !(at >= c->from && at <= c->to)) return false;
    c->mark[c->marks++] = (pn_chart_mark){at, anew};
    return true;
}

static pn_chart chart_of(const pn_facts *f, const char *title, const char *unit) {
    const double most = (double)(f->all > f->done ? f->all : f->done);
    pn_chart c = {.title = title,
                  .unit = unit,
                  .axis = f->search ? "step" : "epoch",
                  .from = f->search ? 0 : 1,
                  .to = most > 1 ? most : 2,
                  .least = NAN,
                  .most = NAN,
                  .rule = NAN};
    if (f->search && f->warmup > 0 && f->warmup < f->all) {
        c.shaded = (double)f->warmup;
        c.phase = f->evidence ? "uniform phase" : "warm-up";
    }
    size_t i;
    json_t *one;
    json_array_foreach(f->events, i, one) {
        const char *what = json_string_value(json_object_get(one, "event"));
        const json_t *step = json_object_get(one, "step");
        if (what && !strcmp(what, "resume") && json_is_number(step))
            add_mark(&c, json_number_value(step), false);
    }
    const double restart = pn_view_setting(&f->view, "restart", 0);
    for (double at = restart; f->evidence && restart >= 1 && at < (double)f->done; at += restart)
        if (!add_mark(&c, at, true)) break;
    return c;
}

static void add_line(pn_chart *c, const pn_columns *table, const char *name, const char *column,
                     double scale) {
    if (pn_column(table, column) >= 0 && c->lines < PN_CHART_LINES)
        c->line[c->lines++] = (pn_chart_line){name, table, column, scale};
}

/* All the curves of a run; those without a value are left out by whoever draws. */
static int charts_of(const pn_facts *f, pn_chart chart[MOST_CHARTS]) {
    int n = 0;
    pn_chart *c = &chart[n++];
    *c = chart_of(f, "Loss", "nats an image");
    add_line(c, &f->metrics, "training", "train_loss", 1);
    add_line(c, &f->metrics, f->search ? "validation" : "scored", f->search ? "val_loss" : "loss",
             1);
    c = &chart[n++];
    *c = chart_of(f, f->search ? "Accuracy" : "Error", "%");
    if (f->search) {
        add_line(c, &f->metrics, "training", "train_accuracy", 100);
        add_line(c, &f->metrics, "validation", "val_accuracy", 100);
    } else {
        c->title = "Accuracy";
        add_line(c, &f->metrics, "training", "train_accuracy", 100);
        add_line(c, &f->metrics, "scored", "accuracy", 100);
    }
    c = &chart[n++];
    *c = chart_of(f, "Entropy", "of the distribution, nats");
    add_line(c, &f->metrics, "entropy", "entropy", 1);
    if (f->distributed) {
        c->rule = f->health.entropy_uniform;
        c->rule_name = "uniform";
    }
    if (pn_view_setting(&f->view, "samples", 2) > 1) {
        c = &chart[n++];
        *c = chart_of(f, "Effective samples", "a step");
        add_line(c, &f->metrics, "for the weights", "ess_v", 1);
        add_line(c, &f->metrics, "for the distribution", "ess_pi", 1);
    }
    c = &chart[n++];
    *c = chart_of(f, "Expected accuracy", "by the table of known cells, %");
    add_line(c, &f->truth, "a cell drawn", "mean", 1);
    add_line(c, &f->truth, "the cell found so far", "found", 1);
    c = &chart[n++];
    *c = chart_of(f, "Learning rate", "of the weights");
    add_line(c, &f->metrics, "rate", "rate", 1);
    c = &chart[n++];
    *c = chart_of(f, "Gradient", "norm before clipping");
    add_line(c, &f->metrics, "of the weights", f->search ? "gradient_norm_v" : "gradient_norm", 1);
    c = &chart[n++];
    *c = chart_of(f, "Time", f->search ? "milliseconds a step" : "seconds an epoch");
    add_line(c, &f->times, "time", "ms", f->search ? 1 : 1e-3);
    return n;
}

/* What the shades and dotted lines of all charts are. */
static void put_key(pn_page *p, const pn_chart *c) {
    pn_page_put(p,
                "<p>A line is the mean of the %ss under it, the band their smallest and largest "
                "value. ",
                c->axis);
    if (c->shaded > 0)
        pn_page_put(p, "<span class=\"key\"><i class=\"phase\"></i>%s</span>", c->phase);
    bool any[2] = {false};
    for (int i = 0; i < c->marks; i++) any[c->mark[i].anew] = true;
    if (any[0]) pn_page_put(p, "<span class=\"key\"><i class=\"mark\"></i>continued</span>");
    if (any[1])
        pn_page_put(p, "<span class=\"key\"><i class=\"mark anew\"></i>weights anew</span>");
    pn_page_put(p, "</p>\n");
}

static void put_charts(pn_page *p, const pn_facts *f) {
    pn_chart chart[MOST_CHARTS];
    const int n = charts_of(f, chart);
    int put = 0;
    for (int i = 0; i < n; i++) {
        if (!pn_chart_has(&chart[i])) continue;
        if (!put++) {
            pn_page_put(p, "<section><h2>Curves</h2>\n");
            put_key(p, &chart[i]);
            pn_page_put(p, "<div class=\"charts\">\n");
        }
        pn_chart_widen(&chart[i], &chart[i].least, &chart[i].most);
        pn_chart_put(p, &chart[i]);
    }
    if (put) pn_page_put(p, "</div>\n</section>\n");
}

/* ---- the most probable cells ----------------------------------------------------------------- */

static pn_arch ordered_cell(const pn_arch *arch) {
    pn_arch a = *arch;
    for (int kind = 0; kind < PN_KINDS; kind++)
        for (int node = 0; node < PN_MAX_NODES; node++) {
            pn_choice *t = a.cell[kind].term[node], swap = t[0];
            if (t[0].input < t[1].input || (t[0].input == t[1].input && t[0].op <= t[1].op))
                continue;
            t[0] = t[1];
            t[1] = swap;
        }
    return a;
}

/* Milliseconds of a training step of the cell by profile.json: in Google Benchmark's shape, medians
 * of "profile/N/forward" and "profile/N/backward" with the genotype as label. NaN: not measured. */
static double profiled_ms(const pn_facts *f, const pn_arch *arch) {
    const pn_arch want = ordered_cell(arch);
    double ms[2] = {NAN, NAN};
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(f->profile, "benchmarks"), i, one) {
        const char *label = json_string_value(json_object_get(one, "label")),
                   *name = json_string_value(json_object_get(one, "run_name")),
                   *aggregate = json_string_value(json_object_get(one, "aggregate_name"));
        pn_arch found;
        if (!label || !name || !aggregate || strcmp(aggregate, "median") != 0 ||
            pn_genotype_read(label, strlen(label), &found) != PN_OK)
            continue;
        found = ordered_cell(&found);
        if (memcmp(&found, &want, sizeof want) != 0) continue;
        const char *pass = strrchr(name, '/'); /* of the whole: an op's rows end in its level */
        if (pass && !strcmp(pass, "/forward")) ms[0] = pn_profile_ms(one);
        if (pass && !strcmp(pass, "/backward")) ms[1] = pn_profile_ms(one);
    }
    return ms[0] + ms[1];
}

static void put_top(pn_page *p, const pn_facts *f) {
    figure a, b, c, d, e;
    double ms[PN_TOP_CELLS];
    bool profiled = false, costed = f->tops > 0 && f->top[0].costed;
    if (!f->tops || f->health.entropy > 0.999 * f->health.entropy_uniform) return;
    for (int i = 0; i < f->tops; i++) {
        ms[i] = profiled_ms(f, &f->top[i].arch);
        profiled |= !isnan(ms[i]);
    }
    pn_page_put(p,
                "<section><h2>The most probable cell pairs</h2>\n<div class=\"scroll\">"
                "<table class=\"top\">\n<thead><tr><th>cell pair</th><th>probability</th>%s%s"
                "</tr></thead>\n<tbody>\n",
                costed ? "<th>parameters</th><th>multiply-adds</th><th>arena</th>" : "",
                profiled ? "<th>ms a step</th>" : "");
    for (int i = 0; i < f->tops; i++) {
        const pn_top_cell *t = &f->top[i];
        pn_page_put(p, "<tr><td>");
        put_notation_of(p, &t->arch);
        pn_page_put(p, "</td><td>");
        put_words(p, pn_figure_chance(t->log_p, a));
        pn_page_put(p, "</td>");
        if (costed)
            pn_page_put(p, "<td>%s</td><td>%s</td><td>%s</td>",
                        pn_figure_count(t->cost[PN_COST_PARAMS], b),
                        pn_figure_short(t->cost[PN_COST_MACS], c),
                        pn_figure_size(t->cost[PN_COST_ARENA_BYTES], d));
        if (profiled) pn_page_put(p, "<td>%s</td>", pn_figure(ms[i], e));
        pn_page_put(p, "</tr>\n");
    }
    pn_page_put(p,
                "</tbody></table></div>\n<p class=\"note\">The order of a node's two terms "
                "makes no other network: its probability is that of all orders.");
    if (f->known && !f->probable &&
        !strcmp(pn_view_setting_text(&f->view, "found", ""), "supported"))
        pn_page_put(p,
                    " The cell found need not be among them: it is the most probable one of "
                    "those that are like the cells trained.");
    pn_page_put(p, "</p>\n</section>\n");
}

/* ---- ops ------------------------------------------------------------------------------------- */

static void put_ops(pn_page *p, const pn_facts *f) {
    double probability[PN_MAX_LOGITS], share[PN_KINDS][PN_MAX_OPS] = {{0}}, most = 0;
    int count[PN_MAX_OPS] = {0};
    pn_factor factor[PN_MAX_FACTORS];
    if (!f->distributed) return;
    const int factors = pn_factors(&f->pi.space, factor);
    pn_prior_marginals(&f->pi, probability);
    for (int i = 0; i < factors; i++)
        for (int op = 0; factor[i].ops && op < factor[i].choices; op++)
            share[factor[i].kind][op] +=
                probability[factor[i].first + op] / (PN_MAX_NODES * PN_NODE_TERMS);
    for (int kind = 0; kind < PN_KINDS; kind++)
        for (int op = 0; op < PN_MAX_OPS; op++) most = fmax(most, share[kind][op]);
    for (int kind = 0; kind < PN_KINDS && f->known; kind++)
        for (int i = 0; i < PN_MAX_NODES * PN_NODE_TERMS; i++)
            count[f->arch.cell[kind].term[i / PN_NODE_TERMS][i % PN_NODE_TERMS].op]++;
    most = fmax(most, 1.0 / PN_MAX_OPS);
    pn_page_put(p,
                "<section><h2>Ops</h2>\n<p>How much of the distribution each op has: "
                "<span class=\"key\"><i class=\"k0\"></i>normal cell</span> "
                "<span class=\"key\"><i class=\"k1\"></i>reduction cell</span> "
                "<span class=\"key\"><i class=\"mark\"></i>uniform</span></p>\n"
                "<div class=\"bars\" style=\"margin-top:16px\">\n");
    for (int op = 0; op < PN_MAX_OPS; op++)
        pn_page_put(p,
                    "<span>%s</span><span class=\"bar\" role=\"img\" aria-label=\"normal cell %.0f "
                    "%%, reduction cell %.0f %%\"><i class=\"half c0\" style=\"width:%.1f%%\"></i>"
                    "<i class=\"half c1\" style=\"width:%.1f%%\"></i><b "
                    "style=\"left:%.1f%%\"></b></span><span>%.0f %% / %.0f %%, %d of %d</span>\n",
                    pn_op_name[op], 100 * share[0][op], 100 * share[1][op],
                    100 * share[0][op] / most, 100 * share[1][op] / most, 100.0 / PN_MAX_OPS / most,
                    100 * share[0][op], 100 * share[1][op], count[op],
                    PN_KINDS * PN_MAX_NODES * PN_NODE_TERMS);
    pn_page_put(p,
                "</div>\n<p class=\"note\">Behind the shares: how many of the cell pair's terms "
                "have the op.</p>\n");
    for (int i = 0; i < f->health.warnings; i++) {
        pn_page_put(p, "<p class=\"alarm\">Warning: ");
        pn_html(p, f->health.warning[i]);
        pn_page_put(p, "</p>\n");
    }
    if (!f->health.warnings)
        pn_page_put(p,
                    "<p class=\"note\">No sign of collapse: %.0f %% of the most probable "
                    "cell's terms have no weights, input 0 has a probability of %.2f, and %d of "
                    "%d cells reach the head.</p>\n",
                    100 * f->health.free_ops_all, f->health.input[0], f->health.reached,
                    f->health.layers);
    pn_page_put(p, "</section>\n");
}

/* ---- memory and time ------------------------------------------------------------------------- */

static void put_memory(pn_page *p, const pn_facts *f) {
    figure text;
    const double used = f->parameter_bytes + f->arena_bytes,
                 planned = f->planned
                               ? f->plan[PN_COST_PARAMETER_BYTES] + f->plan[PN_COST_ARENA_BYTES]
                               : NAN,
                 supernet = f->planned_supernet ? f->supernet[PN_COST_PARAMETER_BYTES] +
                                                      f->supernet[PN_COST_ARENA_BYTES]
                                                : NAN,
                 most = fmax(fmax(used, planned), fmax(supernet, f->memory_bytes));
    if (isnan(used) && isnan(planned)) return;
    pn_page_put(p, "<section><h2>Memory</h2>\n<div class=\"bars\">\n");
    if (!isnan(planned))
        pn_bar_put(p, "planned for this cell", planned, most, 0, pn_figure_size(planned, text));
    if (!isnan(used)) pn_bar_put(p, "used by this run", used, most, 0, pn_figure_size(used, text));
    if (!isnan(f->memory_bytes))
        pn_bar_put(p, "of the whole process", f->memory_bytes, most, 4,
                   pn_figure_size(f->memory_bytes, text));
    if (!isnan(supernet))
        pn_bar_put(p, "a supernet would need", supernet, most, 1, pn_figure_size(supernet, text));
    pn_page_put(p,
                "</div>\n<p class=\"note\">Weights with gradient and momentum, and the arena: of "
                "this run that of the largest cell it drew.</p>\n</section>\n");
}

static double total(const pn_columns *t, const char *name) {
    const int column = pn_column(t, name);
    double sum = 0;
    for (int64_t row = 0; row < t->rows; row++) {
        const double x = pn_value_at(t, row, column);
        if (isfinite(x)) sum += x;
    }
    return sum;
}

static void put_time(pn_page *p, const pn_facts *f) {
    static const struct {
        const char *column, *name;
    } part[] = {{"forward_ms", "forward"},
                {"backward_ms", "backward"},
                {"update_ms", "update of the weights"},
                {"distribution_ms", "distribution"},
                {"data_ms", "waiting for images"}};
    enum { PARTS = sizeof part / sizeof *part };
    double ms[PARTS + 1], rest = total(&f->times, "ms");
    const double all = rest, images = total(&f->times, "images");
    figure a, b;
    if (!(all > 0)) return;
    for (int i = 0; i < PARTS; i++) {
        ms[i] = total(&f->times, part[i].column);
        rest -= ms[i];
    }
    ms[PARTS] = fmax(rest, 0);
    pn_page_put(p,
                "<section><h2>Time</h2>\n<div class=\"stack\" role=\"img\" aria-label=\"shares "
                "of the time, as in the table\">");
    for (int i = 0; i <= PARTS; i++)
        pn_page_put(p, "<i class=\"c%d\" style=\"flex:%.2f\"></i>", i, 100 * ms[i] / all);
    pn_page_put(p,
                "</div>\n<div class=\"scroll\"><table>\n<thead><tr><th>part</th><th>time</th>"
                "<th>share</th></tr></thead>\n<tbody>\n");
    for (int i = 0; i <= PARTS; i++)
        pn_page_put(p, "<tr><td><i class=\"dot c%d\"></i>%s</td><td>%s</td><td>%.1f %%</td></tr>\n",
                    i, i < PARTS ? part[i].name : "the rest", pn_figure_time(ms[i] / 1000, a),
                    100 * ms[i] / all);
    pn_page_put(p, "<tr><td>all</td><td>%s</td><td>100 %%</td></tr>\n</tbody></table></div>\n",
                pn_figure_time(all / 1000, a));
    if (images > 0)
        pn_page_put(p, "<p class=\"note\">%s images a second through the network.</p>\n",
                    pn_figure(images / all * 1000, b));
    pn_page_put(p, "</section>\n");
}

/* ---- settings -------------------------------------------------------------------------------- */

/* In as few digits as give the same number again. */
static void put_real(pn_page *p, double x) {
    char text[40];
    int digits = 1;
    do snprintf(text, sizeof text, "%.*g", digits, x);
    while (strtod(text, NULL) != x && digits++ < 17);
    pn_page_put(p, "%s", text);
}

/* A value of run.json as one would type it. */
static void put_value(pn_page *p, const json_t *value) {
    if (json_is_string(value))
        pn_html(p, json_string_value(value));
    else if (json_is_boolean(value))
        pn_page_put(p, "%s", json_is_true(value) ? "on" : "off");
    else if (json_is_integer(value))
        pn_page_put(p, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        put_real(p, json_real_value(value));
    else
        pn_page_put(p, "%s", json_is_null(value) ? "by formula" : "?");
}

/* A word for a shell. */
static void put_word(pn_page *p, const char *word) {
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        "-_=+.,/:@%";
    if (*word && !word[strspn(word, plain)]) {
        pn_html(p, word);
        return;
    }
    pn_page_put(p, "&#39;");
    for (; *word; word++) {
        const char one[] = {*word, 0};
        if (*word == '\'')
            pn_page_put(p, "&#39;\\&#39;&#39;");
        else if ((unsigned char)*word < 0x80)
            pn_html(p, one);
        else { /* a character is more than a byte */
            const size_t length = pn_utf8_length(word);
            char whole[8] = {0};
            memcpy(whole, word, length ? length : 1);
            pn_html(p, whole);
            word += length ? length - 1 : 0;
        }
    }
    pn_page_put(p, "&#39;");
}

static const char *usual_of(const pn_facts *f, const char *name) {
    const pn_fields *fields = f->search ? &pn_settings_fields : &pn_train_fields;
    for (int i = 0; i < fields->count; i++)
        if (!strcmp(fields->list[i].name, name)) return fields->list[i].usual;
    return NULL;
}

/* Whether a setting is what it is without being given. */
static bool is_usual(const char *usual, const json_t *value) {
    if (json_is_null(value)) return true;
    if (json_is_string(value) && !json_string_length(value)) return true;
    if (!usual) return false;
    if (json_is_string(value)) return !strcmp(usual, json_string_value(value));
    return strtod(usual, NULL) ==
           (json_is_boolean(value) ? json_boolean_value(value) : json_number_value(value));
}

static void put_option(pn_page *p, const char *name, const json_t *value) {
    pn_page_put(p, " --%s", json_is_false(value) ? "no-" : "");
    pn_html(p, name);
    if (json_is_boolean(value)) return;
    pn_page_put(p, " ");
    if (json_is_string(value))
        put_word(p, json_string_value(value));
    else if (json_is_integer(value))
        pn_page_put(p, "%lld", (long long)json_integer_value(value));
    else
        put_real(p, json_number_value(value));
}

static const json_t *typed_command(const pn_facts *f) {
    size_t i;
    json_t *one;
    json_array_foreach(f->events, i, one) {
        const char *what = json_string_value(json_object_get(one, "event"));
        const json_t *command = json_object_get(one, "command");
        if (what && !strcmp(what, "start") && json_array_size(command) > 1) return command;
    }
    return NULL;
}

static void put_command(pn_page *p, const pn_facts *f) {
    size_t i;
    const char *name;
    json_t *one, *settings = json_object_get(f->view.root, "settings");
    const json_t *typed = typed_command(f);
    if (!typed && !settings) return;
    pn_page_put(p, "<section><h2>How to repeat it</h2>\n");
    if (typed) {
        pn_page_put(p, "<p>It was begun with</p>\n<pre>parsec-nas");
        json_array_foreach(typed, i, one) {
            pn_page_put(p, i ? " " : "");
            if (i) put_word(p, json_string_value(one) ? json_string_value(one) : "?");
        }
        pn_page_put(p, "</pre>\n");
    }
    if (settings) {
        pn_page_put(p, "<p%s>%s</p>\n<pre>parsec-nas %s ",
                    typed ? " style=\"margin-top:16px\"" : "",
                    typed ? "With what the rule chose written out:"
                          : "The same settings, in a new directory:",
                    f->search ? "search" : "train");
        pn_page_put(p, "NEW");
        json_object_foreach(settings, name, one) if (!is_usual(usual_of(f, name), one))
            put_option(p, name, one);
        pn_page_put(p, "</pre>\n");
    }
    pn_page_put(p,
                "<p class=\"note\">On %s the same command gives the same bytes, whatever the "
                "number of threads.</p>\n</section>\n",
                pn_view_text(&f->view, "device", "")[0] ? "the same device" : "one device");
}

static void put_row(pn_page *p, const char *name, const char *value) {
    if (!*value) return;
    pn_page_put(p, "<div><dt>%s</dt><dd>", name);
    pn_html(p, value);
    pn_page_put(p, "</dd></div>\n");
}

static void put_settings(pn_page *p, const pn_facts *f) {
    const char *name;
    json_t *one, *settings = json_object_get(f->view.root, "settings");
    if (!settings) return;
    pn_page_put(p, "<section><h2>Settings</h2>\n<dl class=\"settings\">\n");
    put_row(p, "version", pn_view_text(&f->view, "version", ""));
    put_row(p, "device", pn_view_text(&f->view, "device", ""));
    json_object_foreach(settings, name, one) {
        pn_page_put(p, "<div><dt>");
        pn_html(p, name);
        pn_page_put(p, "</dt><dd>");
        put_value(p, one);
        pn_page_put(p, "</dd></div>\n");
    }
    pn_page_put(p, "</dl>\n</section>\n");
}

/* ---- one run --------------------------------------------------------------------------------- */

static void put_kind(pn_page *p, const pn_facts *f) {
    pn_page_put(p, "<p class=\"kind\">parsec-nas %s, %s</p>\n",
                f->view.kind == PN_VIEW_TRAINING ? "training"
                : f->view.kind == PN_VIEW_SEARCH ? "search"
                                                 : "run",
                state_name(f));
}

void pn_section_run(pn_page *p, const pn_facts *f) {
    put_kind(p, f);
    pn_page_put(p, "<h1>");
    pn_html(p, f->name);
    pn_page_put(p, "</h1>\n");
    put_verdict(p, f);
    put_tiles(p, f);
    put_cells(p, f);
    put_cost(p, f);
    put_charts(p, f);
    pn_heat_put(p, f);
    put_top(p, f);
    put_ops(p, f);
    put_memory(p, f);
    put_time(p, f);
    pn_measured_put(p, f);
    put_command(p, f);
    put_settings(p, f);
}

/* ---- several --------------------------------------------------------------------------------- */

static void put_chances(pn_page *p, const pn_facts *f) {
    figure a;
    pn_page_put(p, "<td>%.1f nats</td><td>", f->health.entropy);
    put_words(p, pn_figure_chance(f->log_p, a));
    pn_page_put(p, "</td>");
}

static void put_name(pn_page *p, const pn_facts *f) { pn_html(p, f->name); }

static void put_runs_table(pn_page *p, const pn_facts *run, int count) {
    const bool search = run[0].search;
    figure a, b;
    pn_page_put(p,
                "<div class=\"scroll\"><table>\n<thead><tr><th>run</th><th>state</th>"
                "<th>%s</th>%s<th>time</th><th>memory</th></tr></thead>\n<tbody>\n",
                search ? "steps" : "epochs",
                search ? "<th>entropy</th><th>probability</th><th>better than</th>"
                       : "<th>error</th><th>best</th>");
    for (int i = 0; i < count; i++) {
        const pn_facts *f = &run[i];
        pn_page_put(p, "<tr><td>");
        put_name(p, f);
        pn_page_put(p, "</td><td>%s</td><td>%s</td>", state_name(f),
                    pn_figure_count((double)f->done, a));
        if (search) {
            const double better = f->truth.rows
                                      ? pn_value_at(&f->truth, f->truth.rows - 1,
                                                    pn_column(&f->truth, "found_better_than"))
                                      : NAN;
            if (f->distributed)
                put_chances(p, f);
            else
                pn_page_put(p, "<td></td><td></td>");
            if (isnan(better))
                pn_page_put(p, "<td></td>");
            else
                pn_page_put(p, "<td>%s</td>", pn_figure_share(better, a));
        } else {
            const json_t *best = json_object_get(json_object_get(f->view.root, "best"), "accuracy");
            if (isnan(last_accuracy(f)))
                pn_page_put(p, "<td></td>");
            else
                pn_page_put(p, "<td>%.2f %%</td>", 100 * (1 - last_accuracy(f)));
            if (json_is_number(best))
                pn_page_put(p, "<td>%.2f %%</td>", 100 * (1 - json_number_value(best)));
            else
                pn_page_put(p, "<td></td>");
        }
        pn_page_put(p, "<td>%s</td><td>%s</td></tr>\n", pn_figure_time(f->seconds, a),
                    pn_figure_size(f->parameter_bytes + f->arena_bytes, b));
    }
    pn_page_put(p, "</tbody></table></div>\n");
}

/* Chart i of a run by its title, since runs may have other curves. */
static bool chart_by_title(const pn_facts *f, const char *title, pn_chart *chart) {
    pn_chart all[MOST_CHARTS];
    const int n = charts_of(f, all);
    for (int i = 0; i < n; i++)
        if (!strcmp(all[i].title, title) && pn_chart_has(&all[i])) {
            *chart = all[i];
            return true;
        }
    return false;
}

static void put_multiples(pn_page *p, const pn_facts *run, int count, const char *title) {
    double least = NAN, most = NAN, from = NAN, to = NAN;
    pn_chart c;
    const char *unit = "";
    for (int i = 0; i < count; i++)
        if (chart_by_title(&run[i], title, &c)) {
            pn_chart_widen(&c, &least, &most);
            from = fmin(from, c.from);
            to = fmax(to, c.to);
            unit = c.unit;
        }
    if (isnan(to)) return;
    pn_page_put(p, "<section><h2>%s, %s</h2>\n<div class=\"charts\">\n", title, unit);
    for (int i = 0; i < count; i++) {
        if (!chart_by_title(&run[i], title, &c)) continue;
        pn_page name = {0};
        char *text;
        size_t size;
        put_name(&name, &run[i]);
        if (pn_page_finish(&name, "a name", &text, &size) != PN_OK) {
            p->no_memory = true;
            return;
        }
        c.title = text;
        c.unit = "";
        c.from = from;
        c.to = to;
        c.least = least;
        c.most = most;
        pn_chart_put(p, &c);
        free(text);
    }
    pn_page_put(p, "</div>\n</section>\n");
}

/* The mean error of trainings, and how it varies from seed to seed. */
static void put_spread(pn_page *p, const pn_facts *run, int count) {
    double sum = 0, square = 0;
    int n = 0;
    for (int i = 0; i < count; i++) {
        const double error = 100 * (1 - last_accuracy(&run[i]));
        if (run[i].view.state != PN_VIEW_FINISHED || isnan(error)) continue;
        sum += error;
        square += error * error;
        n++;
    }
    if (n < 2) return;
    pn_page_put(p,
                "<p class=\"note\">The error of the last epochs is %.2f %% in the mean of %d "
                "trainings, with a standard deviation of %.2f points.</p>\n",
                sum / n, n, sqrt(fmax(0, (square - sum * sum / n) / (n - 1))));
}

static bool same_cell(const pn_facts *a, const pn_facts *b) {
    return a->known && b->known && !memcmp(&a->arch, &b->arch, sizeof a->arch);
}

static void put_summary(pn_page *p, const pn_facts *f, bool cell) {
    pn_verdict v;
    pn_verdict_of(f, &v);
    pn_page_put(p, "<section><h2>");
    put_name(p, f);
    pn_page_put(p, "</h2>\n");
    put_sentences(p, f, &v, "words");
    for (int kind = 0; kind < PN_KINDS && f->known && cell; kind++) {
        pn_page_put(p, "<div class=\"cell\">\n");
        pn_drawing_cell(p, &f->arch, (pn_kind)kind);
        pn_page_put(p, "</div>\n");
    }
    if (f->known) {
        pn_page_put(p, "<p class=\"note\">");
        put_notation_of(p, &f->arch);
        pn_page_put(p, "</p>\n");
    }
    pn_page_put(p, "</section>\n");
}

void pn_section_runs(pn_page *p, const pn_facts *run, int count) {
    pn_chart all[MOST_CHARTS];
    const int n = charts_of(&run[0], all);
    put_runs_table(p, run, count);
    if (!run[0].search) put_spread(p, run, count);
    pn_page_put(p, "</section>\n");
    for (int i = 0; i < n; i++) put_multiples(p, run, count, all[i].title);
    for (int i = 0; i < count; i++) {
        bool shown = false;
        for (int k = 0; k < i; k++) shown |= same_cell(&run[k], &run[i]);
        put_summary(p, &run[i], !shown);
    }
    put_command(p, &run[0]);
}
