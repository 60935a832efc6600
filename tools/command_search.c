/* command_search.c -- runs or continues a search, with a progress line and a way to stop. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/text.h"
#include "search/methods/pace.h"
#include "search/methods/run.h"
#include "search/network/genotype.h"
#include "search/report/facts.h"
#include "search/report/report.h"
#include "tools/commands.h"
#include "tools/curve.h"
#include "tools/judged.h"
#include "tools/live.h"
#include "tools/progress.h"
#include "tools/ranks.h"
#include "tools/rate.h"

static const char usage[] =
    "parsec-nas search DIR [OPTIONS]\n"
    "\n"
    "Runs a search and writes everything to DIR. The same command again continues\n"
    "where it stopped, to the bit. Ctrl-C, TERM and a closed terminal finish the\n"
    "step and save; a second Ctrl-C ends at once. The genotype goes to stdout and\n"
    "to DIR/genotype.txt. --rule sets the options marked *.\n"
    "\n"
    "--truth nasbench301 also writes DIR/truth.csv: the accuracy that a known table\n"
    "of cells lets one expect of the distribution and of its most probable cell. The\n"
    "search knows nothing of it, and all other files are the same without it.\n"
    "\n";

static pn_settings settings;
static bool given[PN_MAX_FIELDS]; /* of the settings */

/* ---- what a person sees ---------------------------------------------------------------------- */

/* What takes long to find. */
typedef struct findings {
    double agreement, log_p;
    char cell[PN_SHORT_BYTES]; /* "": none yet */
    double next;               /* when to look again, by pn_now */
} findings;

/* Sums over the steps since the last look, and what the time left follows from. */
typedef struct progress {
    pn_live live;
    bool quiet, warmup;
    double begun;
    int64_t first_step, images; /* since then */
    pn_rate working;            /* of all steps */
    pn_rate stepping, seeing;   /* steps and images, of the phase */
    double train_loss, val_loss, train_accuracy, accuracy, ess;
    int count, trained, searched;
    int warnings; /* most that were shown at once */
    char warning[PN_HEALTH_SENTENCE];
    pn_course entropy;
    findings findings;
} progress;

/* Work up to a step, in SGD steps of one architecture. */
static double work(const pn_run *r, int64_t step) { return r->method->cost(&r->settings, step); }

/* Seconds that the rest takes at this much work a second. */
static double seconds_left(const pn_run *r, double per_second) {
    const double left = work(r, r->settings.steps) - work(r, pn_run_position(r));
    return left > 0 ? left / per_second : 0;
}

static const char *phase_name(const pn_run *r) {
    return r->report.warmup ? r->method->warmup_name(&r->settings) : "search";
}

/* NAN: its steps have no halves, or nothing is known yet. */
static double agreement(const pn_run *r) {
    return r->method->agreement ? r->method->agreement(r->self) : NAN;
}

/* As long as nothing is learnt, the most probable cell is one of many ties. */
static void find_cell(const pn_run *r, findings *f) {
    const pn_space space = pn_space_darts();
    pn_arch found;
    f->agreement = agreement(r);
    if (!r->belief.learnt && !r->settings.prior[0]) return;
    r->method->derive(r->self, &found);
    pn_genotype_short(&space, &found, f->cell);
    f->log_p = r->method->prior ? pn_network_log_p(r->method->prior(r->self), &found)
                                : r->method->log_p(r->self, &found);
}

/* By evidence it takes milliseconds: so often that it is a two thousandth of the time. */
static void glance_at_cell(const pn_run *r, findings *f, double now, pn_glance *g) {
    enum { SELDOM = 2000 };
    if (now >= f->next) {
        find_cell(r, f);
        f->next = *f->cell || !isnan(f->agreement) ? now + SELDOM * (pn_now() - now) : 0;
    }
    if (!isnan(f->agreement)) g->agreement = f->agreement;
    snprintf(g->cell, sizeof g->cell, "%s", f->cell);
    if (*f->cell) g->log_p = f->log_p;
}

/* Means since the last look, which begin anew. */
static void glance_at_steps(progress *p, pn_glance *g) {
    if (p->trained) {
        g->train_loss = p->train_loss / p->trained;
        g->accuracy = p->train_accuracy / p->trained;
    }
    if (p->searched) {
        g->val_loss = p->val_loss / p->searched;
        g->accuracy = p->accuracy / p->searched;
        if (p->ess > 0) g->ess = p->ess / p->searched;
    }
    p->train_loss = p->val_loss = p->train_accuracy = p->accuracy = p->ess = 0;
    p->count = p->trained = p->searched = 0;
}

static void show(const pn_run *r, progress *p, bool force) {
    const double t = pn_now();
    const int64_t done = pn_run_position(r);
    if (r->report.warmup != p->warmup) { /* steps of another kind, at another rate */
        p->warmup = r->report.warmup;
        p->stepping = pn_rate_begin(t, (double)done);
        p->seeing = pn_rate_begin(t, (double)p->images);
    }
    if (p->quiet || (!force && !pn_live_due(&p->live))) return;
    pn_rate_look(&p->working, t, work(r, done));
    pn_rate_look(&p->stepping, t, (double)done);
    pn_rate_look(&p->seeing, t, (double)p->images);
    const double memory = (double)pn_journal_memory(&r->record.journal);
    pn_glance g = pn_glance_nothing();
    g.evidence = r->settings.evidence == 1;
    snprintf(g.phase, sizeof g.phase, "%s", phase_name(r));
    g.step = done;
    g.steps = r->settings.steps;
    g.left = seconds_left(r, pn_rate_of(&p->working));
    g.steps_per_s = pn_rate_of(&p->stepping);
    g.images_per_s = pn_rate_of(&p->seeing);
    glance_at_steps(p, &g);
    g.samples = r->report.validated ? r->report.count : r->settings.samples;
    g.entropy = r->report.entropy;
    g.uniform = r->belief.entropy_uniform;
    g.course = p->entropy;
    if (force) p->findings.next = 0;
    glance_at_cell(r, &p->findings, t, &g);
    if (memory > 0) g.memory_bytes = memory;
    g.arena_bytes = (double)pn_flights_high_water(&r->model.flights);
    snprintf(g.warning, sizeof g.warning, "%s", p->warning);
    pn_live_show(&p->live, &g);
}

/* Once, when the pace is known; not of what is done in a minute. */
static void forecast(const pn_run *r, const progress *p) {
    const int64_t done = pn_run_position(r) - p->first_step,
                  all = r->settings.steps - p->first_step;
    if (p->quiet || done != PN_FORECAST_STEPS) return;
    const double took = pn_now() - p->begun, before = work(r, p->first_step),
                 left = seconds_left(r, (work(r, p->first_step + done) - before) / took);
    if (left < 60) return;
    char count[32], length[64];
    const bool chosen = pn_option_given(&pn_settings_fields, given, "steps") ||
                        pn_option_given(&pn_settings_fields, given, "epochs") ||
                        r->settings.time != PN_UNSET_REAL || p->first_step > 0;
    snprintf(length, sizeof length, "%s steps", pn_count_text(all, count));
    pn_say_forecast(length, took + left, done, chosen ? NULL : "--steps or --time says otherwise");
}

static void gather(progress *p, const pn_run *run) {
    const pn_step_report *r = &run->report;
    pn_course_add(&p->entropy, r->entropy);
    p->images += run->times.images;
    p->train_loss += r->train_loss;
    p->train_accuracy += r->train_accuracy;
    p->count++;
    p->trained += r->trained;
    if (!r->validated) return;
    p->val_loss += r->val_loss;
    p->accuracy += r->val_accuracy;
    p->ess += r->ess_pi;
    p->searched++;
}

/* Not while pi is close to uniform: its mode is then one of many ties, and says nothing. Nor where
 * the mode is not what will be handed over. */
static void warn(pn_run *r, progress *p) {
    const pn_health *h = &r->health;
    if (h->warnings <= p->warnings || r->report.warmup || !r->belief.derived ||
        h->entropy > 0.8 * h->entropy_uniform)
        return;
    for (int i = 0; i < h->warnings; i++) {
        pn_journal_event(&r->record.journal, "warning", pn_run_position(r), "text", h->warning[i]);
        if (!p->quiet) pn_warn(h->warning[i]);
        snprintf(p->warning, sizeof p->warning, "%s", h->warning[i]);
    }
    p->warnings = h->warnings;
}

static void introduce(const pn_run *r) {
    char weights[32], arena[32], method[PN_METHOD_TEXT];
    const pn_settings *s = &r->settings;
    pn_note("%s: %d images of %dx%dx%d, halves of %d; %lld cells, %lld channels, batch %lld",
            r->data.name, r->data.count, r->data.H, r->data.W, r->data.C, r->data.count / 2,
            (long long)s->layers, (long long)s->channels, (long long)s->batch);
    r->method->describe(s, method);
    pn_note("%s; %s, %d threads", method, r->model.kernels->name, omp_get_max_threads());
    pn_ranks_introduce();
    pn_note("shared weights %s with gradient and momentum, arena %s for the largest program",
            pn_bytes_text((double)pn_update_bytes_here(&r->model.update), weights),
            pn_bytes_text((double)r->model.size.arena_bytes, arena));
    if (r->model.flights.count > 1)
        pn_note("%d architectures of a step in flight, each in an arena of its own",
                r->model.flights.count);
    if (r->continued) pn_note("continuing from step %lld", (long long)pn_run_position(r));
}

static void say_truth(const pn_truth *truth, const pn_arch *arch) {
    pn_judgement j;
    char text[PN_JUDGED_TEXT];
    pn_truth_judge(truth, arch, &j);
    pn_note("by %s: %s", pn_truth_about(truth)->name, pn_judged_text(&j, text));
}

static void say_agreement(double halves) {
    pn_note("two halves of the steps agree by %.2f about the order of cells: %s", halves,
            halves > 0.8   ? "more steps would say the same"
            : halves > 0.5 ? "more steps would change it somewhat"
                           : "too few steps to trust it");
}

static pn_status conclude(pn_run *r, const pn_curve *curve, bool quiet, bool report) {
    pn_arch found;
    char text[PN_GENOTYPE_BYTES], sure[PN_METHOD_TEXT], bytes[32], path[PN_TEXT_BYTES];
    double log_likelihood, accuracy;
    r->method->derive(r->self, &found);
    pn_genotype_write(&found, text);
    if (report) PN_TRY(pn_report_of_run(&r->record.directory.place));
    printf("%s\n", text);
    if (fflush(stdout)) return pn_fail(PN_EIO, "cannot write to stdout");
    if (quiet) return PN_OK;
    int64_t batches = pn_batches_steps_per_epoch(r->model.batches, 1);
    if (batches > 20) batches = 20;
    PN_TRY(pn_model_score(&r->model, &found, batches, &log_likelihood, &accuracy));
    r->method->conclude(r->self, &found, sure);
    pn_note("%s", sure);
    pn_note(
        "with the shared weights, on %lld images of the validation half: loss %.3f, accuracy "
        "%.1f %%",
        (long long)batches * (long long)r->settings.batch, -log_likelihood, 100 * accuracy);
    pn_note("ops without weights %.0f %%, input 0 %.0f %%, cells that reach the head %d of %d",
            100 * r->health.free_ops_all, 100 * r->health.input[0], r->health.reached,
            r->health.layers);
    for (int i = 0; i < r->health.warnings && r->belief.derived; i++) pn_warn(r->health.warning[i]);
    const double halves = agreement(r);
    if (!isnan(halves)) say_agreement(halves);
    if (curve->truth) say_truth(curve->truth, &found);
    pn_say_skipped(&r->model.update.loss);
    pn_note("most arena used: %s",
            pn_bytes_text((double)pn_flights_high_water(&r->model.flights), bytes));
    pn_text_visible(r->record.directory.place.path, path, sizeof path);
    pn_note(
        "%s/: genotype.txt, metrics.csv, samples.csv, prior.csv, %srun.json, "
        "checkpoint-*.safetensors%s",
        path, curve->truth ? "truth.csv, " : "", report ? "; to look at: report.html" : "");
    pn_note("how cells are written: parsec-nas help notation");
    return PN_OK;
}

/* ---- running --------------------------------------------------------------------------------- */

typedef struct options {
    const char *truth;
    bool report;
    int in_flight;
    pn_work_options work;
    pn_device_options device;
} options;
static options o;

#define PN_OF options

static const pn_field rows[] = {
    PN_ROW_TRUTH("write DIR/truth.csv: accuracy to expect of pi and of the cell found, by a table"),
    PN_ROW_REPORT,
    PN_ROW_IN_FLIGHT("most architectures of a step at once on a card, as many as --memory has room "
                     "for; the result does not depend on it [as many as together have 700 pixels "
                     "for each multiprocessor]"),
    PN_ROWS_WORK("the genotype alone")};

/* First the curve, so that no checkpoint is ahead of it. */
static pn_status save(pn_run *r, const pn_curve *curve) {
    if (pn_ranks_lead()) PN_TRY(pn_curve_write(curve, r));
    return pn_run_save(r);
}

static pn_status after_step(pn_run *r, pn_curve *curve, progress *p) {
    PN_TRY(pn_curve_step(curve, r));
    gather(p, r);
    warn(r, p);
    forecast(r, p);
    show(r, p, false);
    return PN_OK;
}

static pn_status loop(pn_run *r, pn_curve *curve, progress *p) {
    pn_wishes wish;
    p->begun = p->live.shown = pn_now();
    p->first_step = pn_run_position(r);
    p->warmup = p->first_step < r->settings.warmup;
    p->working = pn_rate_begin(p->begun, work(r, p->first_step));
    p->stepping = pn_rate_begin(p->begun, (double)p->first_step);
    p->seeing = pn_rate_begin(p->begun, 0);
    PN_TRY(pn_ranks_begin(o.work.save_every, &wish));
    while (pn_run_position(r) < r->settings.steps && !wish.stop) {
        PN_TRY(pn_run_step(r));
        if (pn_ranks_lead()) PN_TRY(after_step(r, curve, p));
        wish = pn_ranks_wishes();
        if (wish.save) {
            PN_TRY(save(r, curve));
            pn_ranks_saved(&wish);
        }
    }
    if (wish.stop) pn_stopped = wish.stop; /* perhaps another rank's */
    if (p->count) show(r, p, true);
    pn_live_end();
    PN_TRY(save(r, curve));
    if (pn_run_position(r) == r->settings.steps) return pn_run_finish(r);
    return pn_fail(PN_EINTR, "stopped after step %lld of %lld; the same command continues",
                   (long long)pn_run_position(r), (long long)r->settings.steps);
}

/* Whether the time has to say how many steps: of a search that begins now, with --time. */
static pn_status look_for_steps(const char *directory, bool *timed) {
    char json[PN_PATH_BYTES];
    pn_path_kind kind;
    if (settings.time == PN_UNSET_REAL) return PN_OK;
    PN_TRY(pn_path_join(json, sizeof json, directory, "run.json"));
    PN_TRY(pn_path_look(json, &kind));
    if (kind != PN_PATH_NOTHING) return PN_OK; /* that says how many */
    if (pn_option_given(&pn_settings_fields, given, "steps") ||
        pn_option_given(&pn_settings_fields, given, "epochs"))
        return pn_fail(PN_EARG, "want one of --time, --steps and --epochs");
    *timed = true;
    return PN_OK;
}

/* By all ranks; rank 0 sees the directory. */
static pn_status choose_steps(const char *directory, const pn_kernels *kernels) {
    char count[32], about[32];
    bool timed = false;
    if (pn_ranks_lead()) PN_TRY(look_for_steps(directory, &timed));
    PN_TRY(pn_group_share(pn_ranks(), &timed, sizeof timed));
    if (!timed) return PN_OK;
    PN_TRY(pn_search_pace(&settings, kernels, o.work.memory, o.in_flight, pn_ranks(),
                          &settings.steps));
    pn_duration_text(settings.time, about);
    if (!o.work.quiet)
        pn_note("%s steps in about %s, by the pace of the first %d",
                pn_count_text(settings.steps, count), about, PN_PACE_STEPS);
    return PN_OK;
}

static pn_status search(pn_run *r, pn_curve *curve, const char *directory) {
    const bool as_json = !strcmp(o.work.log_format, "json");
    const pn_kernels *kernels;
    if (!directory) return pn_fail(PN_EARG, "want a directory: parsec-nas search DIR");
    PN_TRY(pn_ranks_open(&o.work));
    const bool lead = pn_ranks_lead();
    const pn_opening opening = {.given = given,
                                .change_device = o.work.change_device,
                                .say = pn_warn,
                                .group = pn_ranks(),
                                .in_flight = o.in_flight};
    if (!lead) o.work.quiet = true;
    pn_say_json(as_json);
    PN_TRY(pn_ranks_device(&o.device, &kernels));
    PN_TRY(pn_curve_open(curve, lead ? o.truth : NULL));
    PN_TRY(choose_steps(directory, kernels));
    PN_TRY(pn_run_open(r, directory, &settings, &opening, kernels, o.work.memory));
    if (lead) PN_TRY(pn_curve_begin(curve, r));
    if (!o.work.quiet) introduce(r);
    progress p = {.live = pn_live_begin(STDERR_FILENO, as_json), .quiet = o.work.quiet};
    if (r->finished) {
        if (lead) PN_TRY(pn_curve_write(curve, r));
        PN_TRY(pn_run_finish(r)); /* perhaps killed between the last checkpoint and the genotype */
    } else {
        PN_TRY(loop(r, curve, &p));
    }
    return lead ? conclude(r, curve, o.work.quiet || as_json, o.report) : PN_OK;
}

static pn_status run(const char *const *words) {
    static pn_run r = {.record = PN_NO_RECORD}; /* large: a report of all samples is in it */
    pn_curve curve = {.truth = NULL};
    pn_stop_on_signals();
    const pn_status s = search(&r, &curve, words[0]);
    pn_live_end();
    if (pn_ranks_lead()) pn_tell_stop(&r.record.journal, r.self ? pn_run_position(&r) : 0, s);
    pn_curve_close(&curve);
    pn_run_close(&r);
    return s;
}

PN_COMMAND(search, "run or continue a search in a directory", .words = 1, .ranks = true,
           .options = {{&pn_settings_fields, &settings, given}, PN_OPTIONS(rows, o)});
