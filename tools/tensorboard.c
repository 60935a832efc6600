/* tensorboard.c -- see tensorboard.h. */
#include "tools/tensorboard.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/json.h"
#include "runtime/text.h"
#include "search/report/tensorboard.h"
#include "search/rundir/directory.h"
#include "search/train/trained.h"
#include "tools/live.h"
#include "tools/progress.h"

/* What was seen of all runs. */
typedef struct seen {
    int64_t steps, planned, damaged; /* planned: 0 where a run does not say it */
    bool epochs;
    bool finished;      /* all of them, and there will be no other */
    int64_t checkpoint; /* of a search at work that is followed: as far as it was written */
    char trouble[PN_TROUBLE_BYTES]; /* of a run that cannot be read as a whole */
} seen;

/* ---- where they go --------------------------------------------------------------------------- */

typedef struct contents {
    bool seeds;
    char other[64]; /* the name of something that is not ours */
} contents;

static pn_status look_at(void *self, const char *name) {
    contents *c = self;
    uint64_t seed;
    if (strcmp(name, PN_TENSORBOARD_FILE) != 0 && strcmp(name, PN_TENSORBOARD_FILE ".tmp") != 0 &&
        !(c->seeds && pn_trained_seed(name, &seed)))
        pn_text_visible(name, c->other, sizeof c->other);
    return PN_OK;
}

/* A directory that holds what this command writes, or nothing. */
static pn_status open_directory(const char *path, bool seeds, pn_place *place) {
    contents c = {.seeds = seeds};
    int made = 0;
    pn_path_kind kind;
    place->fd = -1;
    PN_TRY(pn_path_look(path, &kind));
    if (kind == PN_PATH_FILE || kind == PN_PATH_OTHER)
        return pn_fail(PN_EARG, "--tensorboard %s: want a directory, new or old", path);
    pn_status s = pn_directory_make(path, &made);
    if (s == PN_OK) s = pn_place_open(place, path);
    if (s == PN_OK) s = pn_place_list(place, look_at, &c);
    if (s == PN_OK && *c.other)
        s = pn_fail(PN_EARG,
                    "--tensorboard %s: holds something else (%s), want a directory that is new, "
                    "empty, or of this command",
                    path, c.other);
    if (s == PN_OK) return PN_OK;
    pn_place_close(place);
    pn_directory_unmake(path, made);
    return s;
}

/* ---- one run --------------------------------------------------------------------------------- */

static bool is_over(const pn_view *v) {
    return v->state == PN_VIEW_FINISHED || v->state == PN_VIEW_DIVERGED;
}

static pn_status write_run(const pn_view *v, const char *to, bool follow, seen *all) {
    int64_t until = INT64_MAX;
    pn_tensorboard made;
    pn_place place;
    if (v->trouble[0]) snprintf(all->trouble, sizeof all->trouble, "%s", v->trouble);
    all->epochs = v->kind == PN_VIEW_TRAINING;
    all->planned += (int64_t)pn_view_setting(v, all->epochs ? "epochs" : "steps", 0);
    if (follow && !is_over(v) && !all->epochs) {
        PN_TRY(pn_checkpoint_newest(&v->place, INT64_MAX, &until));
        if (until >= 0 && until == all->checkpoint) {
            all->steps = until;
            return PN_OK;
        }
        all->checkpoint = until;
    }
    PN_TRY(pn_tensorboard_make(v, until, &made));
    pn_status s = open_directory(to, false, &place);
    if (s == PN_OK) s = pn_tensorboard_put(&made, &place, follow);
    pn_place_close(&place);
    all->steps += made.steps;
    all->damaged += made.damaged;
    pn_message_free(&made.file);
    return s;
}

/* ---- all seeds of a training ----------------------------------------------------------------- */

/* `train` writes results.json at its end: until all seeds are in it, another may begin. */
static pn_status all_seeds_done(const pn_view *v, int seeds, bool *done) {
    json_t *results;
    PN_TRY(pn_view_json(v, "results.json", &results));
    *done = (int)json_array_size(json_object_get(results, "seeds")) >= seeds;
    json_decref(results);
    return PN_OK;
}

static pn_status write_seed(const char *from, const char *to, uint64_t seed, bool follow,
                            seen *all) {
    char name[32], of[PN_PATH_BYTES], into[PN_PATH_BYTES];
    pn_view v;
    snprintf(name, sizeof name, "seed-%" PRIu64, seed);
    PN_TRY(pn_path_join(of, sizeof of, from, name));
    PN_TRY(pn_path_join(into, sizeof into, to, name));
    PN_TRY(pn_view_open(&v, of));
    const pn_status s = write_run(&v, into, follow, all);
    pn_view_close(&v);
    return s;
}

static pn_status write_seeds(const pn_view *v, const char *from, const char *to, bool follow,
                             seen *all) {
    uint64_t *seeds;
    int count;
    pn_place place;
    PN_TRY(pn_view_seeds(v, &seeds, &count));
    pn_status s = count ? open_directory(to, true, &place)
                        : pn_fail(PN_EARG, "%s: no run of search or train in it", from);
    if (count) pn_place_close(&place);
    for (int i = 0; i < count && s == PN_OK; i++) s = write_seed(from, to, seeds[i], follow, all);
    free(seeds);
    return s == PN_OK ? all_seeds_done(v, count, &all->finished) : s;
}

/* ---- the command ----------------------------------------------------------------------------- */

static pn_status write_once(const char *from, const char *to, bool follow, seen *all) {
    const int64_t checkpoint = all->checkpoint;
    pn_view v;
    *all = (seen){.checkpoint = checkpoint};
    PN_TRY(pn_view_open(&v, from));
    const bool run = v.state != PN_VIEW_EMPTY || v.kind != PN_VIEW_UNKNOWN;
    const pn_status s =
        run ? write_run(&v, to, follow, all) : write_seeds(&v, from, to, follow, all);
    if (run) all->finished = is_over(&v);
    pn_view_close(&v);
    return s;
}

static const char *amount(const seen *all, char text[64]) {
    char count[32];
    snprintf(text, 64, "%s %s%s", pn_count_text(all->steps, count), all->epochs ? "epoch" : "step",
             all->steps == 1 ? "" : "s");
    return text;
}

static void show(const seen *all, const pn_live *live) {
    char text[128], count[32];
    int at = snprintf(text, sizeof text, "%s %s", all->epochs ? "epoch" : "step",
                      pn_count_text(all->steps, count));
    if (all->planned)
        snprintf(text + at, sizeof text - (size_t)at, " of %s", pn_count_text(all->planned, count));
    pn_live_line(live, text);
}

/* On a terminal in a line; elsewhere nothing until the end. */
static pn_status follow(const char *from, const char *to, seen *all) {
    const struct timespec second = {.tv_sec = 1};
    const pn_live live = pn_live_begin(STDERR_FILENO, false);
    pn_stop_on_signals();
    if (live.terminal) fprintf(stderr, "following %s; Ctrl-C ends it\n", from);
    pn_status s = write_once(from, to, true, all);
    while (s == PN_OK && !all->finished && !pn_stopped) {
        show(all, &live);
        (void)nanosleep(&second, NULL); /* a signal ends it */
        if (!pn_stopped) s = write_once(from, to, true, all);
    }
    pn_live_clear();
    return s;
}

pn_status pn_tensorboard_export(const char *from, const char *to, bool following) {
    seen all = {.checkpoint = -1};
    char text[64];
    PN_TRY(following ? follow(from, to, &all) : write_once(from, to, false, &all));
    if (all.trouble[0]) fprintf(stderr, "%s: %s\n", from, all.trouble);
    if (all.damaged)
        fprintf(stderr, "%s: %" PRId64 " rows that cannot be read are left out\n", from,
                all.damaged);
    if (following && !all.finished)
        return pn_fail(PN_EINTR, "stopped; %s has %s", to, amount(&all, text));
    fprintf(stderr, "%s: %s, for tensorboard --logdir %s\n", to, amount(&all, text), to);
    return PN_OK;
}
