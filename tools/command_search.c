/* command_search.c -- runs or continues a search, with a progress line and a way to stop. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/text.h"
#include "search/methods/pace.h"
#include "search/methods/run.h"
#include "search/methods/standalone.h"
#include "search/network/genotype.h"
#include "tools/commands.h"
#include "tools/curve.h"
#include "tools/judged.h"
#include "tools/progress.h"

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

/* Smoothed figures of the steps since the last line, and the time left. */
typedef struct progress {
    bool terminal, quiet, warmup;
    double begun, shown, phase_begun;
    int64_t first_step, phase_step;
    double train_loss, val_loss, accuracy, ess;
    int count, searched;
    int warnings; /* most that were shown at once */
} progress;

/* Work up to a step, in warm-up steps. */
static double work(const pn_settings *s, int64_t step) {
    pn_search_settings made = pn_settings_search(s);
    made.steps = step;
    return pn_search_cost(&made);
}

/* Seconds that the rest takes, by the steps since we began. */
static double seconds_left(const pn_run *r, const progress *p, double now) {
    const double begun = work(&r->settings, p->first_step),
                 done = work(&r->settings, r->search.step);
    const double per_work = done > begun ? (now - p->begun) / (done - begun) : 0;
    return (work(&r->settings, r->settings.steps) - done) * per_work;
}

static void show(const pn_run *r, progress *p, bool force) {
    const double t = pn_now();
    const int64_t done = r->search.step, steps = r->settings.steps;
    if (r->report.warmup != p->warmup) { /* steps of another kind, at another rate */
        p->warmup = r->report.warmup;
        p->phase_begun = t;
        p->phase_step = done;
    }
    if (p->quiet || (!force && t - p->shown < (p->terminal ? 0.5 : 10))) return;
    char text[256], left[32];
    pn_clock_text(seconds_left(r, p, t), left);
    int at = snprintf(text, sizeof text, "step %lld/%lld  %s  left %s", (long long)done,
                      (long long)steps, r->report.warmup ? "warm-up" : "search", left);
    if (done > p->phase_step)
        at += snprintf(text + at, sizeof text - (size_t)at, "  %.1f steps/s",
                       (double)(done - p->phase_step) / (t - p->phase_begun));
    at += snprintf(text + at, sizeof text - (size_t)at, "  entropy %.2f  loss %.3f",
                   r->report.entropy, p->count ? p->train_loss / p->count : 0);
    if (p->searched)
        snprintf(text + at, sizeof text - (size_t)at, "/%.3f  acc %.1f %%  ess %.1f/%lld",
                 p->val_loss / p->searched, 100 * p->accuracy / p->searched, p->ess / p->searched,
                 (long long)r->settings.samples);
    pn_progress_line(p->terminal, text);
    p->shown = t;
    p->train_loss = p->val_loss = p->accuracy = p->ess = 0;
    p->count = p->searched = 0;
}

/* Once, when the pace is known; not of what is done in a minute. */
static void forecast(const pn_run *r, const progress *p) {
    const int64_t done = r->search.step - p->first_step, all = r->settings.steps - p->first_step;
    const double now = pn_now(), left = seconds_left(r, p, now);
    if (p->quiet || done != PN_FORECAST_STEPS || left < 60) return;
    char count[32], length[64];
    const bool chosen = pn_option_given(&pn_settings_fields, given, "steps") ||
                        pn_option_given(&pn_settings_fields, given, "epochs") ||
                        r->settings.time != PN_UNSET_REAL || p->first_step > 0;
    snprintf(length, sizeof length, "%s steps", pn_count_text(all, count));
    if (p->terminal) fputs("\r\033[K", stderr);
    pn_say_forecast(length, now - p->begun + left, done,
                    chosen ? NULL : "--steps or --time says otherwise");
}

static void gather(progress *p, const pn_step_report *r) {
    p->train_loss += r->train_loss;
    p->count++;
    if (r->ess_pi == 0) return; /* no validation batch in this step */
    p->val_loss += r->val_loss;
    p->accuracy += r->val_accuracy;
    p->ess += r->ess_pi;
    p->searched++;
}

/* Not while pi is close to uniform: its mode is then one of many ties, and says nothing. */
static void warn(const pn_run *r, progress *p) {
    const pn_health *h = &r->health;
    if (h->warnings <= p->warnings || p->quiet || r->report.warmup ||
        h->entropy > 0.8 * h->entropy_uniform)
        return;
    if (p->terminal) fputs("\r\033[K", stderr);
    for (int i = 0; i < h->warnings; i++) fprintf(stderr, "warning: %s\n", h->warning[i]);
    p->warnings = h->warnings;
}

static void introduce(const pn_run *r) {
    char bytes[32];
    const pn_settings *s = &r->settings;
    fprintf(stderr,
            "%s: %d images of %dx%dx%d, halves of %d; %lld cells, %lld channels, batch %lld\n",
            r->data.name, r->data.count, r->data.H, r->data.W, r->data.C, r->data.count / 2,
            (long long)s->layers, (long long)s->channels, (long long)s->batch);
    fprintf(stderr, "rule %s: %lld steps, %lld of them warm-up, ", s->rule, (long long)s->steps,
            (long long)s->warmup);
    if (s->evidence)
        fprintf(stderr, "evidence, to %g nats", s->entropy_end);
    else
        fprintf(stderr, "K = %lld, T = %g%s", (long long)s->samples, s->temperature,
                s->baseline ? ", control variate" : "");
    fprintf(stderr, "%s; %s, %d threads\n", s->distinct_inputs ? ", distinct inputs" : "",
            r->model.kernels->name, omp_get_max_threads());
    fprintf(stderr, "shared weights %s with gradient and momentum",
            pn_bytes_text((double)pn_parameters_bytes(&r->model.network.parameters), bytes));
    fprintf(stderr, ", arena %s for the largest cell\n",
            pn_bytes_text((double)r->model.size.arena_bytes, bytes));
    if (r->continued) fprintf(stderr, "continuing from step %lld\n", (long long)r->search.step);
}

static void say_truth(const pn_truth *truth, const pn_arch *arch) {
    pn_judgement j;
    char text[PN_JUDGED_TEXT];
    pn_truth_judge(truth, arch, &j);
    fprintf(stderr, "by %s: %s\n", pn_truth_about(truth)->name, pn_judged_text(&j, text));
}

static pn_status conclude(pn_run *r, const pn_curve *curve, bool quiet) {
    pn_arch mode;
    char text[PN_GENOTYPE_BYTES], bytes[32], path[PN_TEXT_BYTES];
    double log_likelihood, accuracy;
    pn_prior_mode(&r->search.prior, &mode);
    pn_genotype_write(&mode, text);
    printf("%s\n", text);
    if (fflush(stdout)) return pn_fail(PN_EIO, "cannot write to stdout");
    if (quiet) return PN_OK;
    int64_t batches = pn_batches_steps_per_epoch(r->model.batches, 1);
    if (batches > 20) batches = 20;
    PN_TRY(pn_model_score(&r->model, &mode, batches, &log_likelihood, &accuracy));
    fprintf(stderr, "entropy %.2f of %.2f nats; log p of this cell pair %.2f\n", r->health.entropy,
            r->health.entropy_uniform, pn_prior_log_p(&r->search.prior, &mode));
    fprintf(stderr,
            "with the shared weights, on %lld images of the validation half: loss %.3f, accuracy "
            "%.1f %%\n",
            (long long)batches * (long long)r->settings.batch, -log_likelihood, 100 * accuracy);
    fprintf(stderr,
            "ops without weights %.0f %%, input 0 %.0f %%, cells that reach the head %d of %d\n",
            100 * r->health.free_ops_all, 100 * r->health.input[0], r->health.reached,
            r->health.layers);
    for (int i = 0; i < r->health.warnings; i++)
        fprintf(stderr, "warning: %s\n", r->health.warning[i]);
    if (curve->truth) say_truth(curve->truth, &mode);
    fprintf(stderr, "most arena used: %s\n",
            pn_bytes_text((double)r->model.arena.high_water, bytes));
    pn_text_visible(r->record.directory.place.path, path, sizeof path);
    fprintf(stderr,
            "%s/: genotype.txt, metrics.csv, samples.csv, prior.csv, %srun.json, "
            "checkpoint-*.safetensors\n",
            path, curve->truth ? "truth.csv, " : "");
    return PN_OK;
}

/* ---- running --------------------------------------------------------------------------------- */

/* First the curve, so that no checkpoint is ahead of it. */
static pn_status save(pn_run *r, const pn_curve *curve) {
    PN_TRY(pn_curve_write(curve, r));
    return pn_run_save(r);
}

static pn_status loop(pn_run *r, pn_curve *curve, progress *p, double save_every) {
    double saved = pn_now();
    p->begun = p->shown = p->phase_begun = saved;
    p->first_step = p->phase_step = r->search.step;
    p->warmup = r->search.step < r->settings.warmup;
    while (r->search.step < r->settings.steps && !pn_stopped) {
        PN_TRY(pn_run_step(r));
        PN_TRY(pn_curve_step(curve, r));
        gather(p, &r->report);
        warn(r, p);
        forecast(r, p);
        show(r, p, false);
        if (pn_now() - saved >= save_every) {
            PN_TRY(save(r, curve));
            saved = pn_now();
        }
    }
    if (r->search.step > p->first_step) show(r, p, true);
    if (p->terminal && !p->quiet) fputc('\n', stderr);
    PN_TRY(save(r, curve));
    if (r->search.step == r->settings.steps) return pn_run_finish(r);
    return pn_fail(PN_EINTR, "stopped after step %lld of %lld; the same command continues",
                   (long long)r->search.step, (long long)r->settings.steps);
}

typedef struct options {
    const char *truth;
    pn_work_options work;
    pn_device_options device;
} options;
static options o;

#define PN_OF options

static const pn_field rows[] = {
    PN_ROW_TRUTH("write DIR/truth.csv: accuracy to be expected of pi and of its mode, by a table"),
    PN_ROWS_WORK("the genotype alone")};

/* Of a search that begins now, with --time. */
static pn_status choose_steps(const char *directory, const pn_kernels *kernels) {
    char json[PN_PATH_BYTES], count[32], about[32];
    pn_path_kind kind;
    if (settings.time == PN_UNSET_REAL) return PN_OK;
    PN_TRY(pn_path_join(json, sizeof json, directory, "run.json"));
    PN_TRY(pn_path_look(json, &kind));
    if (kind != PN_PATH_NOTHING) return PN_OK; /* that says how many */
    if (pn_option_given(&pn_settings_fields, given, "steps") ||
        pn_option_given(&pn_settings_fields, given, "epochs"))
        return pn_fail(PN_EARG, "want one of --time, --steps and --epochs");
    PN_TRY(pn_search_pace(&settings, kernels, o.work.memory, &settings.steps));
    pn_duration_text(settings.time, about);
    if (!o.work.quiet)
        fprintf(stderr, "%s steps in about %s, by the pace of the first %d\n",
                pn_count_text(settings.steps, count), about, PN_PACE_STEPS);
    return PN_OK;
}

static pn_status search(pn_run *r, pn_curve *curve, const char *directory) {
    const pn_opening opening = {.given = given, .change_device = o.work.change_device};
    const pn_kernels *kernels;
    if (!directory) return pn_fail(PN_EARG, "want a directory: parsec-nas search DIR");
    PN_TRY(pn_device_open(&o.device, &kernels));
    PN_TRY(pn_curve_open(curve, o.truth));
    PN_TRY(choose_steps(directory, kernels));
    PN_TRY(pn_run_open(r, directory, &settings, &opening, kernels, o.work.memory));
    PN_TRY(pn_curve_begin(curve, r));
    if (!o.work.quiet) introduce(r);
    progress p = {.terminal = pn_on_terminal(), .quiet = o.work.quiet};
    if (r->finished) {
        PN_TRY(pn_curve_write(curve, r));
        PN_TRY(pn_run_finish(r)); /* perhaps killed between the last checkpoint and the genotype */
    } else {
        PN_TRY(loop(r, curve, &p, o.work.save_every));
    }
    return conclude(r, curve, o.work.quiet);
}

static pn_status run(const char *const *words) {
    static pn_run r = {.record = PN_NO_RECORD}; /* large: a report of all samples is in it */
    pn_curve curve = {.truth = NULL};
    pn_stop_on_signals();
    const pn_status s = search(&r, &curve, words[0]);
    pn_curve_close(&curve);
    pn_run_close(&r);
    return s;
}

PN_COMMAND(search, "run or continue a search in a directory", .words = 1,
           .options = {{&pn_settings_fields, &settings, given}, PN_OPTIONS(rows, o)});
