/* trained.c -- see trained.h. */
#include "search/train/trained.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "runtime/text.h"
#include "search/train/run.h"

static const char last_weights[] = "last.safetensors", best_weights[] = "best.safetensors";

bool pn_trained_seed(const char *name, uint64_t *seed) {
    char ours[32];
    if (strncmp(name, "seed-", 5) || !pn_whole(name + 5, 0, UINT64_MAX, seed)) return false;
    snprintf(ours, sizeof ours, "seed-%" PRIu64, *seed);
    return !strcmp(ours, name);
}

/* The seeds of a directory, the smallest by rising number. */
enum { SHOWN = 8 };
typedef struct seeds {
    uint64_t smallest[SHOWN];
    int count; /* of all */
} seeds;

static pn_status gather(void *self, const char *name) {
    seeds *all = self;
    uint64_t seed;
    if (!pn_trained_seed(name, &seed)) return PN_OK;
    int i = all->count < SHOWN ? all->count : SHOWN;
    all->count++;
    for (; i > 0 && all->smallest[i - 1] > seed; i--)
        if (i < SHOWN) all->smallest[i] = all->smallest[i - 1];
    if (i < SHOWN) all->smallest[i] = seed;
    return PN_OK;
}

static pn_status several(const char *directory, const seeds *all) {
    char list[SHOWN * 32] = "";
    const int shown = all->count < SHOWN ? all->count : SHOWN;
    for (int i = 0; i < shown; i++) {
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%sseed-%" PRIu64,
                 i == 0                                  ? ""
                 : i == shown - 1 && all->count == shown ? " and "
                                                         : ", ",
                 all->smallest[i]);
    }
    return pn_fail(PN_EARG, "%s: trained with several seeds, want one of %s%s, as %s/seed-%" PRIu64,
                   directory, list, all->count > shown ? " and more" : "", directory,
                   all->smallest[0]);
}

/* DIRECTORY/FILE, and whether it is there. */
static pn_status look(const char *directory, const char *file, char path[PN_PATH_BYTES],
                      bool *there) {
    pn_path_kind kind;
    PN_TRY(pn_path_join(path, PN_PATH_BYTES, directory, file));
    PN_TRY(pn_path_look(path, &kind));
    *there = kind != PN_PATH_NOTHING;
    return PN_OK;
}

pn_status pn_trained_weights(const char *name, bool best, char path[PN_PATH_BYTES]) {
    const char *const file = best ? best_weights : last_weights;
    char one[PN_PATH_BYTES];
    seeds all = {.count = 0};
    pn_path_kind kind;
    pn_place place;
    bool there;
    PN_TRY(pn_path_look(name, &kind));
    if (kind != PN_PATH_DIRECTORY) return pn_path_join(path, PN_PATH_BYTES, name, NULL);
    PN_TRY(look(name, file, path, &there));
    if (there) return PN_OK;
    PN_TRY(pn_place_open(&place, name));
    const pn_status s = pn_place_list(&place, gather, &all);
    pn_place_close(&place);
    PN_TRY(s);
    if (all.count > 1) return several(name, &all);
    if (all.count == 1) {
        snprintf(one, sizeof one, "seed-%" PRIu64 "/%s", all.smallest[0], file);
        PN_TRY(look(name, one, path, &there));
        if (there) return PN_OK;
    }
    return pn_fail(PN_EARG,
                   "%s: no %s in it; train writes that into DIR/seed-N when the network was scored "
                   "(a search has none: train its cell first)",
                   name, file);
}

pn_status pn_trained_data(const char *weights, char data[PN_TEXT_BYTES]) {
    char directory[PN_PATH_BYTES];
    const char *const slash = strrchr(weights, '/'), *const file = slash ? slash + 1 : weights;
    pn_train_settings settings;
    bool begun;
    data[0] = 0;
    if (strcmp(file, last_weights) && strcmp(file, best_weights)) return PN_OK;
    const int length = slash ? (int)(slash - weights) : 1;
    if (length >= PN_PLACE_BYTES) return PN_OK;
    snprintf(directory, sizeof directory, "%.*s", length ? length : 1, slash ? weights : ".");
    PN_TRY(pn_training_look(directory, &settings, &begun));
    if (begun) snprintf(data, PN_TEXT_BYTES, "%s", settings.data);
    return PN_OK;
}
