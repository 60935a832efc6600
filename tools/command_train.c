/* command_train.c -- trains one cell from scratch, for one or several seeds, with a progress line
 * and a way to stop. */
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/file.h"
#include "runtime/json.h"
#include "runtime/text.h"
#include "search/report/report.h"
#include "search/train/pace.h"
#include "search/train/run.h"
#include "search/train/trained.h"
#include "tools/commands.h"
#include "tools/live.h"
#include "tools/progress.h"
#include "tools/ranks.h"
#include "tools/rate.h"

static const char usage[] =
    "parsec-nas train DIR --genotype G [OPTIONS]\n"
    "\n"
    "Trains the evaluation network of one cell from scratch, by default by the\n"
    "protocol of DARTS and PARSEC: once for each seed, in DIR/seed-1, DIR/seed-2 and\n"
    "so on. The same command again continues where it stopped, to the bit; other\n"
    "--seeds add to what is there. Ctrl-C, TERM and a closed terminal finish the step\n"
    "and save; a second Ctrl-C ends at once.\n"
    "\n"
    "Each DIR/seed-N has metrics.csv, run.json, best.safetensors and\n"
    "last.safetensors (weights as PyTorch's DARTS network names them); DIR has\n"
    "results.json, of all seeds finished with the same settings. The best epoch is\n"
    "chosen by the images it is scored on, so compare cells by the last.\n"
    "\n";

enum { MOST_SEEDS = 100 };

typedef struct options {
    const char *directory, *seeds;
    pn_work_options work;
    pn_device_options device;
    pn_train_settings settings;
    bool given[PN_MAX_FIELDS]; /* of the settings */
    bool report;
    bool paced; /* the epochs are chosen, all seeds have the same */
} options;
static options o;

typedef struct result {
    uint64_t seed;
    pn_epoch_score last, best;
} result;

/* The results of a directory, by rising seed. */
typedef struct results {
    result *list;
    int count, room;
} results;

/* ---- what a person sees ---------------------------------------------------------------------- */

typedef struct progress {
    pn_live live;
    bool quiet;
    double begun;
    int64_t first_step;
    pn_rate stepping;
    double loss, accuracy; /* of the epoch at hand so far, or of the last one */
    pn_course scores;
} progress;

/* When an epoch has ended, its sums are gone. */
static void keep_means(progress *p, const pn_epoch_sums *s) {
    if (!s->steps) return;
    p->loss = s->loss / (double)s->steps;
    p->accuracy = (double)s->correct / (double)s->images;
}

static void show(const pn_training *t, progress *p, bool force) {
    const double now = pn_now();
    if (p->quiet || (!force && !pn_live_due(&p->live))) return;
    pn_rate_look(&p->stepping, now, (double)t->trainer.step);
    const double rate = pn_rate_of(&p->stepping),
                 memory = (double)pn_journal_memory(&t->record.journal);
    pn_glance g = pn_glance_nothing();
    g.training = true;
    g.seed = t->settings.seed;
    g.step = t->trainer.step;
    g.steps = t->steps;
    g.epochs = t->settings.epochs;
    g.left = t->trainer.step < t->steps ? (double)(t->steps - t->trainer.step) / rate : 0;
    g.steps_per_s = rate;
    g.images_per_s = rate * (double)t->settings.batch;
    g.train_loss = p->loss;
    g.accuracy = p->accuracy;
    if (t->last.epoch) {
        g.scored = t->last.accuracy;
        g.best = t->best.accuracy;
        g.best_epoch = t->best.epoch;
    }
    g.course = p->scores;
    pn_genotype_short(&t->trainer.network.space, &t->trainer.arch, g.cell);
    if (memory > 0) g.memory_bytes = memory;
    g.arena_bytes = (double)t->trainer.size.arena_bytes;
    pn_live_show(&p->live, &g);
}

/* Once, when the pace is known; not of what is done in a minute. */
static void forecast(const pn_training *t, const progress *p) {
    const int64_t done = t->trainer.step - p->first_step;
    const double seconds =
        (pn_now() - p->begun) / (double)done * (double)(t->steps - p->first_step);
    if (p->quiet || done != PN_FORECAST_STEPS || seconds < 60) return;
    char count[32], length[96];
    const bool chosen = pn_option_given(&pn_train_fields, o.given, "epochs") ||
                        t->settings.time != PN_UNSET_REAL || p->first_step > 0;
    if (p->first_step > 0)
        snprintf(length, sizeof length, "%s steps", pn_count_text(t->steps - p->first_step, count));
    else
        snprintf(length, sizeof length, "%lld epochs of %s steps", (long long)t->settings.epochs,
                 pn_count_text(t->trainer.steps_per_epoch, count));
    pn_say_forecast(length, seconds, done, chosen ? NULL : "--epochs or --time says otherwise");
}

static void introduce(const pn_training *t) {
    const pn_train_settings *r = &t->settings;
    const pn_trainer *n = &t->trainer;
    size_t weights, auxiliary;
    char a[32], b[32];
    pn_network_count(&n->network, &n->arch, &weights, &auxiliary);
    pn_note("%s: %d images of %dx%dx%d to train on, scored on %s", t->data.name,
            r->hold_out ? t->data.count / 2 : t->data.count, t->data.H, t->data.W, t->data.C,
            pn_training_scored_on(r));
    pn_note("%lld cells, %lld channels, %zu parameters%s; %lld epochs of %lld batches of %lld",
            (long long)r->layers, (long long)r->channels, weights,
            r->auxiliary ? ", an auxiliary head" : "", (long long)r->epochs,
            (long long)n->steps_per_epoch, (long long)r->batch);
    pn_note("weights %s with gradient and momentum, arena %s; %s, %d threads",
            pn_bytes_text((double)pn_update_bytes_here(&n->update), a),
            pn_bytes_text((double)n->size.arena_bytes, b), n->kernels->name, omp_get_max_threads());
    pn_ranks_introduce();
}

static void conclude_epoch(const pn_training *t, progress *p) {
    if (p->quiet || t->trainer.step % t->trainer.steps_per_epoch || t->last.epoch == 0) return;
    const int64_t epoch = t->trainer.step / t->trainer.steps_per_epoch;
    if (t->last.epoch != epoch) return;
    pn_course_add(&p->scores, t->last.accuracy);
    if (p->live.json) show(t, p, true);
    pn_note("seed %" PRIu64
            "  epoch %lld: %s loss %.4f, accuracy %.2f %%; best %.2f %% (epoch %lld)",
            t->settings.seed, (long long)epoch, pn_training_scored_on(&t->settings), t->last.loss,
            100 * t->last.accuracy, 100 * t->best.accuracy, (long long)t->best.epoch);
}

/* ---- running --------------------------------------------------------------------------------- */

static pn_status loop(pn_training *t) {
    progress p = {.live = pn_live_begin(STDERR_FILENO, !strcmp(o.work.log_format, "json")),
                  .quiet = o.work.quiet,
                  .begun = pn_now(),
                  .loss = NAN,
                  .accuracy = NAN};
    pn_wishes wish;
    p.live.shown = p.begun;
    p.first_step = t->trainer.step;
    p.stepping = pn_rate_begin(p.begun, (double)p.first_step);
    if (t->continued && !o.work.quiet)
        pn_note("continuing from step %lld of %lld", (long long)t->trainer.step,
                (long long)t->steps);
    PN_TRY(pn_ranks_begin(o.work.save_every, &wish));
    while (t->trainer.step < t->steps && !wish.stop) {
        PN_TRY(pn_training_step(t));
        keep_means(&p, &t->sums);
        conclude_epoch(t, &p);
        forecast(t, &p);
        show(t, &p, false);
        wish = pn_ranks_wishes();
        if (wish.save) {
            PN_TRY(pn_training_save(t));
            pn_ranks_saved(&wish);
        }
    }
    if (wish.stop) pn_stopped = wish.stop; /* perhaps another rank's */
    pn_live_clear();
    if (!p.quiet) pn_say_skipped(&t->trainer.update.loss);
    if (t->trainer.step == t->steps) return pn_training_finish(t);
    PN_TRY(pn_training_save(t));
    return pn_fail(PN_EINTR, "stopped after step %lld of %lld; the same command continues",
                   (long long)t->trainer.step, (long long)t->steps);
}

static pn_status path_of_seed(uint64_t seed, char path[PN_TEXT_BYTES]) {
    char name[32];
    snprintf(name, sizeof name, "seed-%" PRIu64, seed);
    return pn_path_join(path, PN_TEXT_BYTES, o.directory, name);
}

/* Whether the time has to say how many epochs: with --time, of the first seed, before it begins. */
static pn_status look_for_epochs(const char *path, bool *timed) {
    char json[PN_PATH_BYTES];
    pn_path_kind kind;
    if (o.settings.time == PN_UNSET_REAL || o.paced) return PN_OK;
    o.paced = true;
    PN_TRY(pn_path_join(json, sizeof json, path, "run.json"));
    PN_TRY(pn_path_look(json, &kind));
    if (kind != PN_PATH_NOTHING) return PN_OK; /* that says how many */
    if (pn_option_given(&pn_train_fields, o.given, "epochs"))
        return pn_fail(PN_EARG, "want one of --time and --epochs");
    *timed = true;
    return PN_OK;
}

/* By all ranks; rank 0 sees the directory. */
static pn_status choose_epochs(const char *path, const pn_kernels *kernels) {
    char about[32];
    bool timed = false;
    if (pn_ranks_lead()) PN_TRY(look_for_epochs(path, &timed));
    PN_TRY(pn_group_share(pn_ranks(), &timed, sizeof timed));
    if (!timed) return PN_OK;
    PN_TRY(pn_training_pace(&o.settings, kernels, o.work.memory, pn_ranks(), &o.settings.epochs));
    pn_duration_text(o.settings.time, about);
    if (!o.work.quiet)
        pn_note("%lld epochs in about %s, by the pace of the first steps",
                (long long)o.settings.epochs, about);
    return PN_OK;
}

static pn_status train_seed(const pn_kernels *kernels, bool first, result *r) {
    static pn_training training; /* large: paths and a settings */
    const pn_opening opening = {.given = o.given,
                                .change_device = o.work.change_device,
                                .say = pn_warn,
                                .group = pn_ranks()};
    char path[PN_TEXT_BYTES];
    PN_TRY(path_of_seed(r->seed, path));
    o.settings.seed = r->seed;
    PN_TRY(choose_epochs(path, kernels));
    pn_status s = pn_training_open(&training, path, &o.settings, &opening, kernels, o.work.memory);
    if (s == PN_OK && first && !o.work.quiet) introduce(&training);
    if (s == PN_OK)
        s = training.finished ? pn_training_finish(&training) /* perhaps killed just before */
                              : loop(&training);
    if (s == PN_OK) {
        r->last = training.last;
        r->best = training.best;
        o.settings = training.settings; /* resolved: for what is printed */
    }
    pn_live_end();
    if (pn_ranks_lead()) pn_tell_stop(&training.record.journal, training.trainer.step, s);
    pn_training_close(&training);
    return s;
}

/* The directory of all seeds: ours to make; not a run's own. */
static pn_status make_directory(const char *path, int *made) {
    char json[PN_PATH_BYTES];
    pn_path_kind kind;
    PN_TRY(pn_path_join(json, sizeof json, path, "run.json"));
    PN_TRY(pn_directory_make(path, made));
    PN_TRY(pn_path_look(json, &kind));
    return kind == PN_PATH_NOTHING
               ? PN_OK
               : pn_fail(PN_EARG, "%s: holds a run of its own, want a new directory", path);
}

static pn_status read_seeds(const char *text, result *list, int *count) {
    const char *at = text;
    for (*count = 0; *count < MOST_SEEDS; at++) {
        uint64_t seed;
        if (!pn_take_whole(&at, 0, UINT64_MAX, &seed) || (*at && *at != ',')) break;
        for (int i = 0; i < *count; i++)
            if (list[i].seed == seed)
                return pn_fail(PN_EARG, "--seeds %s names %" PRIu64 " twice", text, seed);
        list[(*count)++] = (result){.seed = seed};
        if (!*at) return PN_OK;
    }
    return pn_fail(PN_EARG,
                   "--seeds %s, want up to %d whole numbers from 0 to %" PRIu64 ", as 1,2,3", text,
                   MOST_SEEDS, UINT64_MAX);
}

/* ---- what came out --------------------------------------------------------------------------- */

/* Mean and standard deviation (of a sample) of the errors in percent. */
static void summarize(const result *r, int count, bool best, double *mean, double *deviation) {
    double sum = 0, square = 0;
    for (int i = 0; i < count; i++) sum += 100 * (1 - (best ? r[i].best : r[i].last).accuracy);
    *mean = sum / count;
    for (int i = 0; i < count; i++) {
        const double d = 100 * (1 - (best ? r[i].best : r[i].last).accuracy) - *mean;
        square += d * d;
    }
    *deviation = count > 1 ? sqrt(square / (count - 1)) : NAN;
}

static void print_text(const result *r, int count) {
    printf("error on %s, %%   last epoch    best epoch\n", pn_training_scored_on(&o.settings));
    for (int i = 0; i < count; i++)
        printf("seed %-26" PRIu64 " %10.2f    %10.2f (epoch %lld)\n", r[i].seed,
               100 * (1 - r[i].last.accuracy), 100 * (1 - r[i].best.accuracy),
               (long long)r[i].best.epoch);
    if (count < 2) return;
    double last, last_deviation, best, best_deviation;
    summarize(r, count, false, &last, &last_deviation);
    summarize(r, count, true, &best, &best_deviation);
    printf("%-31s %10.2f    %10.2f\n", "mean", last, best);
    printf("%-31s %10.2f    %10.2f\n", "standard deviation", last_deviation, best_deviation);
}

/* ---- results.json: of all seeds that are finished in the directory --------------------------- */

static pn_status add_result(results *all, result r) {
    if (all->count == all->room) {
        const int room = all->room ? 2 * all->room : 16;
        result *list = realloc(all->list, (size_t)room * sizeof *list);
        if (!list) return pn_fail(PN_EMEM, "no memory for the results of %d seeds", room);
        all->list = list;
        all->room = room;
    }
    int i = all->count++;
    for (; i > 0 && all->list[i - 1].seed > r.seed; i--) all->list[i] = all->list[i - 1];
    all->list[i] = r;
    return PN_OK;
}

static pn_status gather(void *self, const char *name) {
    char path[PN_TEXT_BYTES];
    bool finished;
    result r = {0};
    if (!pn_trained_seed(name, &r.seed)) return PN_OK;
    PN_TRY(path_of_seed(r.seed, path));
    PN_TRY(pn_training_result(path, &o.settings, &finished, &r.last, &r.best));
    return finished ? add_result(self, r) : PN_OK;
}

static pn_status results_text(const results *all, char **text) {
    json_t *root = json_object(), *seeds = json_array();
    int failed = 0;
    for (int i = 0; i < all->count; i++) {
        const result *r = &all->list[i];
        json_t *row = json_object();
        failed |= json_object_set_new(row, "seed", pn_json_seed(r->seed));
        failed |= json_object_set_new(row, "error", json_real(1 - r->last.accuracy));
        failed |= json_object_set_new(row, "loss", pn_json_number(r->last.loss));
        failed |= json_object_set_new(row, "best_error", json_real(1 - r->best.accuracy));
        failed |= json_object_set_new(row, "best_epoch", json_integer(r->best.epoch));
        failed |= json_array_append_new(seeds, row);
    }
    double mean, deviation;
    summarize(all->list, all->count, false, &mean, &deviation);
    failed |= json_object_set_new(root, "genotype", json_string(o.settings.genotype));
    failed |=
        json_object_set_new(root, "scored_on", json_string(pn_training_scored_on(&o.settings)));
    failed |= json_object_set_new(root, "seeds", seeds);
    failed |= json_object_set_new(root, "mean_error", pn_json_number(mean / 100));
    if (all->count > 1)
        failed |= json_object_set_new(root, "standard_deviation", pn_json_number(deviation / 100));
    return pn_json_file(root, failed, JSON_INDENT(2) | JSON_REAL_PRECISION(8), text);
}

/* While the file is held: of two trainings that end at once, the second to write sees the first. */
static pn_status write_held(const pn_place *place, pn_writer *out) {
    results all = {0};
    char *text = NULL;
    pn_status s = pn_place_list(place, gather, &all);
    if (s == PN_OK) s = results_text(&all, &text);
    if (s == PN_OK) s = pn_writer_write(out, text, strlen(text));
    free(text);
    free(all.list);
    return s;
}

/* Does it once no other training of this directory is at it. */
static pn_status when_free(pn_status (*write)(const pn_place *place)) {
    enum { TRIES = 100 };
    const struct timespec moment = {.tv_nsec = 50000000};
    pn_place place;
    pn_status s = pn_place_open(&place, o.directory);
    if (s != PN_OK) return s;
    for (int i = 0; i < TRIES; i++) {
        s = write(&place);
        if (s != PN_EBUSY) break;
        (void)nanosleep(&moment, NULL);
    }
    pn_place_close(&place);
    return s;
}

static pn_status write_results(const pn_place *place) {
    pn_writer *out = NULL;
    PN_TRY(pn_writer_open_in(place, "results.json", &out));
    const pn_status s = write_held(place, out);
    if (s == PN_OK) return pn_writer_commit(out);
    pn_writer_discard(out);
    return s;
}

/* A cell of a run is trained on the images of that run, if nobody says otherwise. */
static pn_status take_data(const char *run) {
    char path[PN_PATH_BYTES];
    pn_path_kind kind;
    void *text;
    size_t size;
    json_t *root = NULL;
    if (pn_option_given(&pn_train_fields, o.given, "data")) return PN_OK;
    if (pn_path_join(path, sizeof path, run, "run.json") != PN_OK) return PN_OK; /* a notation */
    PN_TRY(pn_path_look(path, &kind));
    if (kind != PN_PATH_FILE) return PN_OK;
    PN_TRY(pn_file_read(path, 1 << 20, &text, &size));
    const pn_status s = pn_json_parse(text, size, &root);
    const char *data =
        json_string_value(json_object_get(json_object_get(root, "settings"), "data"));
    if (data && strlen(data) < sizeof o.settings.data)
        snprintf(o.settings.data, sizeof o.settings.data, "%s", data);
    json_decref(root);
    free(text);
    return s == PN_OK ? s : pn_fail_in(s, "%s", path);
}

static pn_status train(const char *directory) {
    result list[MOST_SEEDS];
    const pn_kernels *kernels;
    int count;
    if (!directory) return pn_fail(PN_EARG, "want a directory: parsec-nas train DIR");
    pn_say_json(!strcmp(o.work.log_format, "json"));
    o.directory = directory;
    PN_TRY(read_seeds(o.seeds, list, &count));
    PN_TRY(pn_ranks_open(&o.work));
    const bool lead = pn_ranks_lead();
    if (!lead) o.work.quiet = true;
    if (lead &&
        o.settings.genotype[0]) { /* whatever it was called, the settings holds its notation */
        pn_arch arch;
        PN_TRY(take_data(o.settings.genotype));
        PN_TRY(pn_genotype_open(o.settings.genotype, &arch));
        pn_genotype_write(&arch, o.settings.genotype);
    }
    PN_TRY(pn_ranks_device(&o.device, &kernels));
    int made = 0;
    pn_status s = lead ? make_directory(o.directory, &made) : PN_OK;
    for (int i = 0; s == PN_OK && i < count; i++) s = train_seed(kernels, i == 0, &list[i]);
    if (s != PN_OK) {
        pn_directory_unmake(o.directory, made); /* if nothing was begun in it */
        return s;
    }
    if (!lead) return PN_OK;
    PN_TRY(when_free(write_results));
    if (o.report) PN_TRY(when_free(pn_report_of_run)); /* of all seeds there */
    print_text(list, count);
    return PN_OK;
}

#define PN_OF options

static const pn_field rows[] = {
    PN_TEXT("seeds", seeds, NULL, "N,N...", "1",
            "seeds for weights, batches and drop-path, a training for each"),
    PN_ROW_REPORT,
    PN_ROWS_WORK("the table alone"),
};

static pn_status run(const char *const *words) {
    pn_stop_on_signals();
    return train(words[0]);
}

PN_COMMAND(train, "train one cell from scratch by the protocol of the papers", .words = 1,
           .ranks = true,
           .options = {{&pn_train_fields, &o.settings, o.given}, PN_OPTIONS(rows, o)});
