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
#include "search/report/curves.h"
#include "search/report/heat.h"
#include "search/report/html.h"
#include "search/report/measured.h"
#include "search/train/settings.h"

typedef char figure[PN_FIGURE_BYTES];

/* ---- verdict --------------------------------------------------------------------------------- */

const char *pn_state_name(const pn_facts *f) {
    static const char *const name[] = {[PN_VIEW_EMPTY] = "no run.json",
                                       [PN_VIEW_UNREADABLE] = "run.json cannot be read",
                                       [PN_VIEW_RUNNING] = "not finished",
                                       [PN_VIEW_DIVERGED] = "diverged",
                                       [PN_VIEW_FINISHED] = "finished"};
    return name[f->view.state];
}

static void put_sentence(pn_page *p, const char *text) {
    if (!*text) return;
    pn_page_put(p, "<p>");
    pn_words_put(p, text);
    pn_page_put(p, "</p>\n");
}

void pn_section_sentences(pn_page *p, const pn_facts *f, const pn_verdict *v, const char *style) {
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
    pn_section_sentences(p, f, &v, "verdict");
    if (!v.command[0]) return;
    pn_page_put(p, "<p class=\"note\">This command would tell what the cell is worth:</p>\n<pre>");
    pn_html(p, v.command);
    pn_page_put(p, "</pre>\n");
}

static void put_tile(pn_page *p, const char *name, const char *value, const char *below) {
    pn_page_put(p, "<div><dt>%s</dt><dd>", name);
    pn_words_put(p, value);
    pn_page_put(p, "<small>");
    pn_words_put(p, below);
    pn_page_put(p, "</small></dd></div>\n");
}

double pn_last_accuracy(const pn_facts *f) {
    return pn_json_number_in(json_object_get(f->view.root, "last"), "accuracy");
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
    if (!f->search && !isnan(pn_last_accuracy(f))) {
        snprintf(a, sizeof a, "%.2f %%", 100 * (1 - pn_last_accuracy(f)));
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

void pn_section_cell(pn_page *p, const pn_arch *arch) {
    const pn_space space = pn_space_darts();
    char text[PN_SHORT_BYTES], *second;
    pn_genotype_short(&space, arch, text);
    second = strstr(text, " reduce ");
    if (second) *second++ = 0;
    pn_page_put(p, "<span class=\"mono\">%s%s%s</span>", text, second ? "<br>" : "",
                second ? second : "");
}

void pn_section_drawings(pn_page *p, const pn_arch *arch) {
    for (int kind = 0; kind < PN_KINDS; kind++) {
        pn_page_put(p, "<div class=\"cell\">\n");
        pn_drawing_cell(p, arch, (pn_kind)kind);
        pn_drawing_narrow_cell(p, arch, (pn_kind)kind);
        pn_page_put(p, "</div>\n");
    }
}

static void put_cells(pn_page *p, const pn_facts *f) {
    char text[PN_GENOTYPE_BYTES];
    if (!f->known) return;
    pn_page_put(p, "<section><h2>The %scell pair</h2>\n", f->probable ? "most probable " : "");
    pn_section_drawings(p, &f->arch);
    pn_genotype_write(&f->arch, text);
    pn_page_put(p, "<pre>");
    pn_html(p, text);
    pn_page_put(p, "</pre>\n<p class=\"note\">");
    pn_section_cell(p, &f->arch);
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

/* ---- the most probable cells ----------------------------------------------------------------- */

static void put_top(pn_page *p, const pn_facts *f) {
    figure a, b, c, d, e;
    double ms[PN_TOP_CELLS];
    bool profiled = false, costed = f->tops > 0 && f->top[0].costed;
    if (!f->tops || f->health.entropy > 0.999 * f->health.entropy_uniform) return;
    for (int i = 0; i < f->tops; i++) {
        ms[i] = pn_report_profile_ms(&f->profile, &f->top[i].arch);
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
        pn_section_cell(p, &t->arch);
        pn_page_put(p, "</td><td>");
        pn_words_put(p, pn_figure_chance(t->log_p, a));
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
    int count[PN_NONE + 1] = {0};
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
        for (int node = 0; node < PN_MAX_NODES; node++)
            for (int slot = 0; slot < pn_slots(&f->arch.cell[kind], node); slot++)
                count[f->arch.cell[kind].term[node][slot].op]++;
    const int terms =
        f->known ? pn_arch_terms(&f->pi.space, &f->arch) : PN_KINDS * PN_MAX_NODES * PN_NODE_TERMS;
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
                    100 * share[0][op], 100 * share[1][op], count[op], terms);
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
                "<section><h2>Time</h2>\n<div class=\"split\"><div>\n<div class=\"stack\" "
                "role=\"img\" aria-label=\"shares "
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
    pn_page_put(p, "</div>\n");
    pn_curves_speed(p, f);
    pn_page_put(p, "</div>\n</section>\n");
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

void pn_section_typed(pn_page *p, const json_t *words) {
    size_t i;
    const json_t *one;
    pn_page_put(p, "<pre>parsec-nas");
    json_array_foreach(words, i, one) {
        if (!i) continue; /* wherever the program was */
        pn_page_put(p, " ");
        put_word(p, json_string_value(one) ? json_string_value(one) : "?");
    }
    pn_page_put(p, "</pre>\n");
}

void pn_section_command(pn_page *p, const pn_facts *f) {
    const char *name;
    json_t *one, *settings = json_object_get(f->view.root, "settings");
    const json_t *typed = typed_command(f);
    if (!typed && !settings) return;
    pn_page_put(p, "<section><h2>How to repeat it</h2>\n");
    if (typed) {
        pn_page_put(p, "<p>It was begun with</p>\n");
        pn_section_typed(p, typed);
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
                pn_state_name(f));
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
    pn_curves_put(p, f);
    pn_heat_put(p, f);
    put_top(p, f);
    put_ops(p, f);
    put_memory(p, f);
    put_time(p, f);
    pn_measured_put(p, f);
    pn_section_command(p, f);
    put_settings(p, f);
}
