/* command_watch.c -- a run at work, seen from another terminal or another host, by its files. */
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/json.h"
#include "runtime/text.h"
#include "search/methods/method.h"
#include "search/report/facts.h"
#include "tools/commands.h"
#include "tools/live.h"
#include "tools/progress.h"

static const char usage[] =
    "parsec-nas watch DIR [OPTIONS]\n"
    "\n"
    "Shows how far a run of another terminal or another host is, by its files alone:\n"
    "DIR is what search or train was given, or one seed of it. Takes no lock, changes\n"
    "nothing. Looks again every second until the run is finished or stopped, or\n"
    "until Ctrl-C. Where stdout is no terminal, it is printed once.\n"
    "\n"
    "A run whose process is gone is said to be: at once where the run was begun on\n"
    "this host, else when nothing was written for much longer than usual.\n"
    "\n";

enum { RECENT_STEPS = 50, RECENT_LOSSES = 10, SETTLED = 15 /* seconds between two seeds */ };

/* ---- who is at work -------------------------------------------------------------------------- */

typedef enum holder { NOT_KNOWN, HELD, NOT_HELD } holder;

/* Whether a process of this host holds the lock of a run, by the system's list: to try to take the
 * lock could keep a run from beginning. Devices are numbered otherwise there on some file systems,
 * so the inode alone counts. */
static holder who_holds(const pn_place *place) {
    struct stat lock;
    char line[256];
    holder found = NOT_HELD;
    FILE *list = fopen("/proc/locks", "re");
    if (!list) return NOT_KNOWN;
    if (fstatat(place->fd, "lock", &lock, AT_SYMLINK_NOFOLLOW)) found = NOT_KNOWN;
    while (found == NOT_HELD && fgets(line, sizeof line, list)) {
        unsigned long inode;
        if (sscanf(line, "%*d: FLOCK %*s WRITE %*d %*x:%*x:%lu", &inode) == 1 &&
            inode == lock.st_ino)
            found = HELD;
    }
    (void)fclose(list);
    return found;
}

/* Seconds since the run wrote anything; infinity without a file. */
static double seconds_quiet(const pn_place *place) {
    static const char *const names[] = {"events.jsonl", "metrics.csv", "times.csv", "run.json"};
    double least = INFINITY;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct stat about;
        if (!fstatat(place->fd, names[i], &about, AT_SYMLINK_NOFOLLOW))
            least = fmin(least, difftime(time(NULL), about.st_mtime));
    }
    return least;
}

/* ---- events ---------------------------------------------------------------------------------- */

static bool is_event(const json_t *event, const char *kind) {
    const char *text = json_string_value(json_object_get(event, "event"));
    return text && !strcmp(text, kind);
}

static bool begins(const json_t *event) {
    return is_event(event, "start") || is_event(event, "resume");
}

/* Seconds since 1970; NAN if it is no time. */
static double time_of(const json_t *event) {
    struct tm t = {0};
    if (sscanf(pn_json_text_in(event, "time"), "%d-%d-%dT%d:%d:%dZ", &t.tm_year, &t.tm_mon,
               &t.tm_mday, &t.tm_hour, &t.tm_min, &t.tm_sec) != 6)
        return NAN;
    t.tm_year -= 1900;
    t.tm_mon--;
    return (double)timegm(&t);
}

/* What the events say of the process that came last. */
typedef struct last_process {
    const json_t *begun, *end; /* events; NULL: none */
    const char *warning;       /* "": none */
    double step, steps;        /* saved last, or begun at; in all */
    double step_seconds;       /* by its checkpoints */
    double longest;            /* seconds between two events */
} last_process;

static last_process process_of(const json_t *events) {
    last_process p = {.warning = "", .step = NAN, .steps = NAN, .step_seconds = NAN};
    double before = NAN;
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *e = json_array_get(events, i);
        const double at = time_of(e), step = pn_json_number_in(e, "step");
        if (begins(e)) {
            p = (last_process){.begun = e, .warning = "", .step_seconds = NAN};
            p.steps = pn_json_number_in(e, "steps");
            before = at;
        }
        if (at - before > p.longest) p.longest = at - before;
        before = at;
        if (isfinite(step)) p.step = step;
        if (is_event(e, "warning")) p.warning = pn_json_text_in(e, "text");
        if (is_event(e, "stop") || is_event(e, "diverged") || is_event(e, "finish")) p.end = e;
        if (is_event(e, "checkpoint") && p.begun) {
            const double done = step - pn_json_number_in(p.begun, "step");
            if (done > 0) p.step_seconds = (at - time_of(p.begun)) / done;
        }
    }
    return p;
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* Mean of the numbers in the last rows of a column; NAN if there are none. */
static double recent(const pn_columns *t, const char *name, int64_t rows) {
    const int column = pn_column(t, name);
    double sum = 0;
    int count = 0;
    for (int64_t i = t->rows - 1; i >= 0 && i >= t->rows - rows; i--) {
        const double x = pn_value_at(t, i, column);
        if (!isfinite(x)) continue;
        sum += x;
        count++;
    }
    return count ? sum / count : NAN;
}

static double last_of(const pn_columns *t, const char *name) {
    for (int64_t i = t->rows - 1; i >= 0; i--) {
        const double x = pn_value_at(t, i, pn_column(t, name));
        if (isfinite(x)) return x;
    }
    return NAN;
}

static pn_course course_of(const pn_columns *t, const char *name) {
    pn_course course = {.count = 0};
    for (int64_t i = 0; i < t->rows; i++)
        pn_course_add(&course, pn_value_at(t, i, pn_column(t, name)));
    return course;
}

/* Steps at the end of metrics.csv that are of the phase of the last one, up to RECENT_STEPS. */
static int64_t recent_steps(const pn_facts *f) {
    const pn_columns *m = &f->metrics;
    const int phase = pn_column(m, "phase");
    int64_t n = 0;
    while (n < RECENT_STEPS && n < m->rows &&
           !strcmp(pn_cell_text(m, m->rows - 1 - n, phase), pn_cell_text(m, m->rows - 1, phase)))
        n++;
    return n;
}

/* ---- a search -------------------------------------------------------------------------------- */

/* Its settings, as far as run.json has them; what an earlier version did not have is as it was. */
static pn_settings settings_of(const pn_facts *f) {
    pn_settings s = pn_settings_defaults();
    if (pn_fields_read(&pn_settings_fields, "run.json", json_object_get(f->view.root, "settings"),
                       &s) != PN_OK)
        s = pn_settings_defaults();
    pn_settings_fill(&s.samples, 4);
    pn_settings_fill(&s.warmup, 0);
    pn_settings_fill(&s.evidence, 0);
    return s;
}

/* Work from a step to another one, in SGD steps of one architecture. */
static double work(const pn_facts *f, int64_t from, int64_t to) {
    const pn_settings s = settings_of(f);
    const pn_method *m = pn_method_of(&s);
    return m->cost(&s, to) - m->cost(&s, from);
}

static void look_at_search(const pn_facts *f, pn_glance *g) {
    const int64_t n = recent_steps(f);
    const double ms = recent(&f->times, "ms", n);
    g->evidence = pn_view_setting(&f->view, "evidence", 0) != 0;
    g->step = f->done;
    g->steps = f->all;
    if (n > 0) {
        const char *phase =
            pn_cell_text(&f->metrics, f->metrics.rows - 1, pn_column(&f->metrics, "phase"));
        const bool warms = !strcmp(phase, "warmup");
        const pn_settings s = settings_of(f);
        snprintf(g->phase, sizeof g->phase, "%s",
                 warms ? pn_method_of(&s)->warmup_name(&s) : "search");
        g->steps_per_s = 1e3 / ms;
        g->images_per_s = 1e3 * recent(&f->times, "images", n) / ms;
        g->left = work(f, f->done, f->all) * ms * 1e-3 * (double)n / work(f, f->done - n, f->done);
    }
    g->train_loss = recent(&f->metrics, "train_loss", RECENT_LOSSES);
    g->val_loss = recent(&f->metrics, "val_loss", n < RECENT_LOSSES ? n : RECENT_LOSSES);
    g->accuracy = recent(&f->metrics, isfinite(g->val_loss) ? "val_accuracy" : "train_accuracy",
                         RECENT_LOSSES);
    g->ess = recent(&f->metrics, "ess_pi", n < RECENT_LOSSES ? n : RECENT_LOSSES);
    g->samples = (int64_t)pn_view_setting(&f->view, "samples", 0);
    g->entropy = last_of(&f->metrics, "entropy");
    g->course = course_of(&f->metrics, "entropy");
    if (f->distributed) g->uniform = f->health.entropy_uniform;
    if (f->known && f->log_p > f->log_p_uniform + 1e-6) {
        pn_genotype_short(&f->pi.space, &f->arch, g->cell);
        g->log_p = f->log_p;
    }
}

/* ---- a training ------------------------------------------------------------------------------ */

static void look_at_training(const pn_facts *f, const last_process *p, pn_glance *g) {
    const double ms = recent(&f->times, "ms", 3),
                 settings_seed = pn_view_setting(&f->view, "seed", 0);
    g->training = true;
    g->seed = settings_seed > 0 ? (uint64_t)settings_seed : 0;
    g->epochs = f->all;
    g->steps = isfinite(p->steps) && p->steps > 0 ? (int64_t)p->steps : f->all;
    g->step = f->all > 0 ? g->steps * f->done / f->all : 0;
    if (isfinite(p->step) && p->steps > 0 && (int64_t)p->step > g->step) g->step = (int64_t)p->step;
    g->images_per_s = 1e3 * recent(&f->times, "images", 3) / ms;
    if (isfinite(ms) && f->all > 0 && g->steps > 0)
        g->left = ms * 1e-3 * (double)f->all * (double)(g->steps - g->step) / (double)g->steps;
    else
        g->left = p->step_seconds * (double)(g->steps - g->step);
    g->train_loss = last_of(&f->metrics, "train_loss");
    g->accuracy = last_of(&f->metrics, "train_accuracy");
    g->scored = last_of(&f->metrics, "accuracy");
    g->course = course_of(&f->metrics, "accuracy");
    for (int64_t i = 0; i < f->metrics.rows; i++) {
        const double score = pn_value_at(&f->metrics, i, pn_column(&f->metrics, "accuracy"));
        if (!(score > g->best) && isfinite(g->best)) continue;
        if (!isfinite(score)) continue;
        g->best = score;
        g->best_epoch = (int64_t)pn_value_at(&f->metrics, i, 0);
    }
    const pn_space space = pn_space_darts();
    if (f->known) pn_genotype_short(&space, &f->arch, g->cell);
}

/* ---- its state ------------------------------------------------------------------------------- */

/* What a process at work would not let pass: a step or an epoch, or the time between two
 * checkpoints, several times. */
static double longest_quiet(const pn_facts *f, const last_process *p) {
    double usual = fmax(20, p->longest);
    const double ms = recent(&f->times, "ms", RECENT_STEPS);
    if (isfinite(ms)) usual = fmax(usual, ms * 1e-3);
    return 3 * usual;
}

/* Whether there is nothing more to come. */
static bool look_at_state(const pn_facts *f, const last_process *p, holder lock, pn_glance *g) {
    char host[256] = "", about[32];
    const double quiet = seconds_quiet(&f->view.place);
    (void)gethostname(host, sizeof host - 1);
    pn_duration_text(isfinite(quiet) ? quiet : 0, about);
    const bool here = p->begun && !strcmp(host, pn_json_text_in(p->begun, "host"));
    if (f->view.state == PN_VIEW_FINISHED || f->view.state == PN_VIEW_DIVERGED) {
        const bool finished = f->view.state == PN_VIEW_FINISHED;
        snprintf(g->phase, sizeof g->phase, "%s", finished ? "finished" : "diverged");
        if (finished) g->step = g->steps;
        g->left = g->steps_per_s = g->images_per_s = NAN;
        return true;
    }
    if (p->end && is_event(p->end, "stop") && lock != HELD) {
        snprintf(g->phase, sizeof g->phase, "stopped");
        snprintf(g->warning, sizeof g->warning, "stopped by %s; the same command continues",
                 pn_json_text_in(p->end, "reason"));
        g->left = g->steps_per_s = g->images_per_s = NAN;
        return true;
    }
    if (here && lock == NOT_HELD) {
        snprintf(g->phase, sizeof g->phase, "dead");
        snprintf(g->warning, sizeof g->warning,
                 "no process is at work, last sign %s ago; the same command continues", about);
        g->left = g->steps_per_s = g->images_per_s = NAN;
    } else if (lock != HELD && quiet > longest_quiet(f, p)) {
        snprintf(g->phase, sizeof g->phase, "silent");
        snprintf(g->warning, sizeof g->warning, "nothing written for %s: it seems dead", about);
        g->left = g->steps_per_s = g->images_per_s = NAN;
    }
    return false;
}

/* ---- watching -------------------------------------------------------------------------------- */

/* The directory of the run to show: DIR, or of its seeds that at which something happened last. */
static pn_status find_run(const char *directory, char path[PN_PATH_BYTES]) {
    pn_view view = PN_NO_VIEW;
    uint64_t *seeds = NULL;
    int count = 0;
    double least = INFINITY;
    PN_TRY(pn_path_join(path, PN_PATH_BYTES, directory, NULL));
    PN_TRY(pn_view_open(&view, directory));
    pn_status s = view.state == PN_VIEW_EMPTY ? pn_view_seeds(&view, &seeds, &count) : PN_OK;
    if (s == PN_OK && view.state == PN_VIEW_EMPTY && !count)
        s = pn_fail(PN_EARG, "%s: no run in this directory", directory);
    for (int i = 0; s == PN_OK && i < count; i++) {
        char name[32], one[PN_PATH_BYTES];
        pn_place place;
        snprintf(name, sizeof name, "seed-%" PRIu64, seeds[i]);
        s = pn_path_join(one, sizeof one, directory, name);
        if (s == PN_OK) s = pn_place_open(&place, one);
        if (s != PN_OK) break;
        const double quiet = seconds_quiet(&place);
        pn_place_close(&place);
        if (quiet > least) continue;
        least = quiet;
        memcpy(path, one, sizeof one);
    }
    free(seeds);
    pn_view_close(&view);
    return s;
}

/* *over: there is nothing more to come. */
static pn_status look(const char *directory, pn_glance *g, bool *over) {
    static pn_facts facts; /* large */
    char found[sizeof g->warning];
    char path[PN_PATH_BYTES];
    pn_view view = PN_NO_VIEW;
    *g = pn_glance_nothing();
    PN_TRY(find_run(directory, path));
    PN_TRY(pn_view_open(&view, path));
    const holder lock = who_holds(&view.place); /* before the files: it may end in between */
    pn_view_close(&view);
    PN_TRY(pn_facts_read(&facts, path, false));
    const last_process process = process_of(facts.events);
    snprintf(g->warning, sizeof g->warning, "%.255s",
             *facts.view.trouble ? facts.view.trouble : process.warning);
    if (facts.search)
        look_at_search(&facts, g);
    else
        look_at_training(&facts, &process, g);
    g->memory_bytes = last_of(&facts.times, "memory_bytes");
    g->arena_bytes = facts.arena_bytes;
    *over = look_at_state(&facts, &process, lock, g);
    memcpy(found, g->warning, sizeof found);
    pn_text_visible(found, g->warning, sizeof g->warning); /* the files may be anybody's */
    /* Of several seeds the next begins when one is finished. */
    if (strcmp(path, directory) != 0 && facts.view.state == PN_VIEW_FINISHED &&
        seconds_quiet(&facts.view.place) < SETTLED)
        *over = false;
    pn_facts_free(&facts);
    return PN_OK;
}

typedef struct options {
    bool once, json;
} options;
static options o;

#define PN_OF options

static const pn_field rows[] = {PN_FLAG("once", once, NULL, "print it once"), PN_ROW_JSON};

static pn_status run(const char *const *words) {
    const struct timespec second = {.tv_sec = 1};
    pn_glance g;
    bool over = false;
    if (!words[0]) return pn_fail(PN_EARG, "want a directory: parsec-nas watch DIR");
    pn_live live = pn_live_begin(STDOUT_FILENO, o.json);
    if (o.once || o.json || !live.terminal) {
        PN_TRY(look(words[0], &g, &over));
        return pn_live_print(&live, &g);
    }
    pn_stop_on_signals();
    pn_status s = PN_OK;
    while (s == PN_OK && !over && !pn_stopped) {
        s = look(words[0], &g, &over);
        if (s == PN_OK) pn_live_show(&live, &g);
        if (s == PN_OK && !over && !pn_stopped) (void)nanosleep(&second, NULL);
    }
    pn_live_end();
    if (s != PN_OK || !pn_stopped || pn_stopped == SIGINT) return s;
    return pn_fail(PN_EINTR, "stopped; the run is not");
}

PN_COMMAND(watch, "show a run of another terminal or host while it is at work", .words = 1,
           .options = {PN_OPTIONS(rows, o)});
