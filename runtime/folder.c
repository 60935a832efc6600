/* folder.c -- listing, splitting and reading a directory of pictures. */
#include "runtime/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "kernels/utf8.h"
#include "runtime/data_parts.h"
#include "runtime/file.h"
#include "runtime/image.h"

enum { MOST_TOLD = 5, MOST_LOOKED_AT = 256, SMALL_EDGE = 32, USUAL_EDGE = 64, COLOURS = 3 };

/* ---- Names ----------------------------------------------------------------------------------- */

typedef struct names {
    char **list;
    int count, room;
} names;

static pn_status no_memory(const char *directory) {
    return pn_fail(PN_EMEM, "%s: no memory to list it", directory);
}

/* Makes room for one more. */
static bool grow(void **list, int count, int *room, size_t size) {
    if (count < *room) return true;
    const int more = *room ? 2 * *room : 64;
    void *larger = realloc(*list, (size_t)more * size);
    if (!larger) return false;
    *list = larger;
    *room = more;
    return true;
}

static bool unseen(const char *name) {
    return name[0] == '.' || !strcmp(name, "__MACOSX") || !strcasecmp(name, "Thumbs.db") ||
           !strcasecmp(name, "desktop.ini");
}

static pn_status add_name(void *self, const char *name) {
    names *n = self;
    if (unseen(name)) return PN_OK;
    void *list = n->list;
    const bool room = grow(&list, n->count, &n->room, sizeof *n->list);
    n->list = list;
    char *copy = room ? strdup(name) : NULL;
    if (!copy) return no_memory(name);
    n->list[n->count++] = copy;
    return PN_OK;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(names *n) {
    for (int i = 0; i < n->count; i++) free(n->list[i]);
    free((void *)n->list);
    *n = (names){0};
}

static char *join(const char *directory, const char *name) {
    const size_t bytes = strlen(directory) + strlen(name) + 2;
    char *path = malloc(bytes);
    if (path) snprintf(path, bytes, "%s/%s", directory, name);
    return path;
}

/* What is in a directory, in the order of bytes; to be freed, failed or not. */
static pn_status list(const char *directory, names *found) {
    pn_place place;
    PN_TRY(pn_place_open(&place, directory));
    const pn_status s = pn_place_list(&place, add_name, found);
    pn_place_close(&place);
    if (s == PN_OK && found->count)
        qsort((void *)found->list, (size_t)found->count, sizeof *found->list, by_bytes);
    return s;
}

/* Keeps those that are directories. */
static pn_status directories_of(const char *directory, names *found) {
    PN_TRY(list(directory, found));
    int kept = 0;
    pn_status s = PN_OK;
    for (int i = 0; i < found->count; i++) {
        pn_path_kind what = PN_PATH_NOTHING;
        char *path = s == PN_OK ? join(directory, found->list[i]) : NULL;
        if (path)
            s = pn_path_look(path, &what);
        else if (s == PN_OK)
            s = no_memory(directory);
        free(path);
        if (what == PN_PATH_DIRECTORY)
            found->list[kept++] = found->list[i];
        else
            free(found->list[i]);
    }
    found->count = kept;
    return s;
}

/* ---- Listing --------------------------------------------------------------------------------- */

/* FNV-1a, and a last mixing (Murmur3's) so that every bit depends on all. */
static uint64_t hash_of(const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < size; i++) h = (h ^ at[i]) * 0x100000001b3;
    h = (h ^ h >> 33) * 0xff51afd7ed558ccd;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53;
    return h ^ h >> 33;
}

static pn_split split_of(const char *class_and_name, double fraction) {
    const uint64_t h = hash_of(class_and_name, strlen(class_and_name));
    return (double)(h >> 11) * 0x1p-53 < fraction ? PN_TEST : PN_TRAIN;
}

static pn_status leave_out(pn_picture *p, pn_fate fate, const char *why) {
    p->fate = fate;
    p->why = strdup(why);
    return p->why ? PN_OK : pn_fail(PN_EMEM, "no memory for why %s is left out", p->path);
}

/* fraction < 0: all of it is of `split`. */
static pn_status add_picture(pn_folder *f, const char *directory, const char *name, int label,
                             pn_split split, double fraction) {
    void *pictures = f->pictures;
    const bool room = grow(&pictures, f->count, &f->room, sizeof *f->pictures);
    f->pictures = pictures;
    if (!room) return no_memory(f->directory);
    pn_picture *p = &f->pictures[f->count];
    *p = (pn_picture){.path = join(directory, name), .label = label, .split = split};
    if (!p->path) return no_memory(f->directory);
    f->count++;
    const char *class_and_name = p->path + strlen(directory) - strlen(f->classes[label]);
    if (fraction >= 0) p->split = split_of(class_and_name, fraction);
    pn_path_kind what;
    PN_TRY(pn_path_look(p->path, &what));
    if (what == PN_PATH_DIRECTORY)
        return leave_out(p, PN_FATE_SKIPPED, "a directory in the folder of a class");
    if (what == PN_PATH_OTHER) return leave_out(p, PN_FATE_SKIPPED, "not a regular file");
    if (what == PN_PATH_NOTHING) return leave_out(p, PN_FATE_DAMAGED, "a link to nothing");
    return PN_OK;
}

static pn_status add_class(pn_folder *f, const char *root, int label, pn_split split,
                           double fraction) {
    names found = {0};
    char *directory = join(root, f->classes[label]);
    if (!directory) return no_memory(root);
    const int before = f->count;
    pn_status s = list(directory, &found);
    for (int i = 0; s == PN_OK && i < found.count; i++)
        s = add_picture(f, directory, found.list[i], label, split, fraction);
    if (s == PN_OK && f->count == before)
        s = pn_fail(PN_EINPUT, "%s: an empty class; fill it or remove it", directory);
    free_names(&found);
    free(directory);
    return s;
}

static pn_status add_split(pn_folder *f, const char *root, pn_split split, double fraction) {
    for (int i = 0; i < f->class_count; i++) PN_TRY(add_class(f, root, i, split, fraction));
    return PN_OK;
}

static pn_status take_classes(pn_folder *f, const char *root) {
    names found = {0};
    const pn_status s = directories_of(root, &found);
    f->classes = found.list; /* to be freed with the folder, failed or not */
    f->class_count = found.count;
    PN_TRY(s);
    if (f->class_count == 0)
        return pn_fail(PN_EINPUT, "%s: holds no class, want a folder of pictures for each", root);
    if (f->class_count == 1)
        return pn_fail(PN_EINPUT, "%s: one class, %s, want at least two", root, f->classes[0]);
    if (f->class_count > PN_MAX_LABELS)
        return pn_fail(PN_EINPUT, "%s: %d classes, want at most %d", root, f->class_count,
                       PN_MAX_LABELS);
    for (int i = 0; i < f->class_count; i++)
        if (!pn_utf8(f->classes[i]))
            return pn_fail(PN_EINPUT, "%s: the name of class %d is not UTF-8", root, i);
    return PN_OK;
}

/* Whether `root`, for testing, has the classes of the training folder. */
static pn_status same_classes(const pn_folder *f, const char *train, const char *root) {
    names found = {0};
    pn_status s = directories_of(root, &found);
    for (int i = 0, j = 0; s == PN_OK && (i < f->class_count || j < found.count); i++, j++) {
        const int order = i == f->class_count ? 1
                          : j == found.count  ? -1
                                              : strcmp(f->classes[i], found.list[j]);
        if (order)
            s = pn_fail(PN_EINPUT, "class %s is in %s alone, want it in %s too",
                        order < 0 ? f->classes[i] : found.list[j], order < 0 ? train : root,
                        order < 0 ? root : train);
    }
    free_names(&found);
    return s;
}

/* The first of the names that is a directory with one in it; *path: to be freed, or NULL. */
static pn_status find_split(const char *directory, const char *const *called, char **path) {
    *path = NULL;
    pn_status s = PN_OK;
    for (; *called && !*path && s == PN_OK; called++) {
        pn_path_kind what = PN_PATH_NOTHING;
        names found = {0};
        char *candidate = join(directory, *called);
        if (!candidate) return no_memory(directory);
        s = pn_path_look(candidate, &what);
        if (s == PN_OK && what == PN_PATH_DIRECTORY) s = directories_of(candidate, &found);
        if (s == PN_OK && found.count)
            *path = candidate;
        else
            free(candidate);
        free_names(&found);
    }
    return s;
}

static pn_status open_roots(pn_folder *f, const char *train, const char *test, double fraction) {
    const char *root = train ? train : f->directory;
    PN_TRY(take_classes(f, root));
    if (!test) return add_split(f, root, PN_TRAIN, fraction);
    f->own_test = true;
    PN_TRY(same_classes(f, root, test));
    PN_TRY(add_split(f, root, PN_TRAIN, -1));
    return add_split(f, test, PN_TEST, -1);
}

pn_status pn_folder_open(const char *directory, double test_fraction, pn_folder *f) {
    static const char *const for_training[] = {"train", NULL}, *const for_testing[] = {
                                                                   "test", "val", "valid", NULL};
    *f = (pn_folder){.directory = directory};
    char *train = NULL, *test = NULL;
    pn_status s = find_split(directory, for_training, &train);
    if (s == PN_OK && train) s = find_split(directory, for_testing, &test);
    if (s == PN_OK) s = open_roots(f, train, test, test_fraction);
    free(train);
    free(test);
    return s;
}

pn_status pn_folder_like(const char *directory, bool *like) {
    names found = {0};
    const pn_status s = directories_of(directory, &found);
    *like = found.count > 0;
    free_names(&found);
    return s;
}

void pn_folder_free(pn_folder *f) {
    for (int i = 0; i < f->count; i++) {
        free(f->pictures[i].path);
        free(f->pictures[i].why);
    }
    free(f->pictures);
    for (int i = 0; i < f->class_count; i++) free(f->classes[i]);
    free((void *)f->classes);
    *f = (pn_folder){0};
}

/* ---- The usual size -------------------------------------------------------------------------- */

typedef struct extent {
    int H, W;
} extent;

static int shorter(const extent *s) { return s->H < s->W ? s->H : s->W; }

static int by_shorter(const void *a, const void *b) {
    const extent *x = a, *y = b;
    if (shorter(x) != shorter(y)) return shorter(x) < shorter(y) ? -1 : 1;
    return x->H + x->W < y->H + y->W ? -1 : x->H + x->W > y->H + y->W;
}

/* The median of the sizes of some pictures. */
static pn_status look(pn_folder *f) {
    extent sizes[MOST_LOOKED_AT];
    int found = 0;
    const int step = f->count / MOST_LOOKED_AT + 1;
    for (int i = 0; i < f->count; i += step) {
        void *bytes;
        size_t length;
        if (f->pictures[i].fate != PN_FATE_TAKEN) continue;
        const pn_status s = pn_file_read(f->pictures[i].path, PN_MAX_IMAGE_FILE, &bytes, &length);
        if (s == PN_EINPUT) continue;
        PN_TRY(s);
        if (pn_image_look(bytes, length, &sizes[found].H, &sizes[found].W, NULL) == PN_OK) found++;
        free(bytes);
    }
    if (!found) return PN_OK;
    qsort(sizes, (size_t)found, sizeof *sizes, by_shorter);
    f->H = sizes[found / 2].H;
    f->W = sizes[found / 2].W;
    return PN_OK;
}

static pn_status choose_edge(pn_folder *f, int *edge) {
    if (*edge) return PN_OK;
    PN_TRY(look(f));
    const extent middle = {f->H, f->W};
    *edge = shorter(&middle) < USUAL_EDGE ? SMALL_EDGE : USUAL_EDGE;
    if (f->H)
        pn_data_tell(
            "%s: pictures of %dx%d pixels (height x width, the median) become %dx%d; "
            "--data %s@EDGE chooses another size",
            f->directory, f->H, f->W, *edge, *edge, f->directory);
    return PN_OK;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static bool named_as_picture(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot &&
           (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg") || !strcasecmp(dot, ".png"));
}

static bool all_grey(const uint8_t *pixel, size_t pixels) {
    for (size_t i = 0; i < pixels; i++, pixel += COLOURS)
        if (pixel[0] != pixel[1] || pixel[0] != pixel[2]) return false;
    return true;
}

/* One file into (edge,edge,3). Only what says nothing about the file is a failure. */
static pn_status read_picture(pn_picture *p, int edge, uint8_t *out) {
    void *bytes = NULL;
    size_t size = 0;
    bool foreign = false;
    pn_image image = {0};
    pn_status s = pn_file_read(p->path, PN_MAX_IMAGE_FILE, &bytes, &size);
    if (s == PN_OK) {
        p->hash = hash_of(bytes, size);
        s = pn_image_decode(bytes, size, &image, &foreign);
        free(bytes);
        foreign |= size == 0 && !named_as_picture(p->path);
        if (s == PN_EMEM) s = pn_fail_in(s, "%s", p->path);
    }
    if (s == PN_EINPUT)
        return leave_out(p, foreign ? PN_FATE_SKIPPED : PN_FATE_DAMAGED, pn_error());
    PN_TRY(s);
    pn_image_fit(&image, edge, edge, COLOURS, out);
    p->grey = all_grey(out, (size_t)edge * (size_t)edge);
    pn_image_free(&image);
    return PN_OK;
}

static pn_status allocate(pn_data *d, int count, const pn_folder *f, int edge) {
    const size_t image = (size_t)edge * (size_t)edge * COLOURS;
    *d = (pn_data){
        .H = edge, .W = edge, .C = COLOURS, .classes = f->class_count, .own_test = f->own_test};
    d->images = malloc((size_t)count * image + 1);
    d->labels = malloc(((size_t)count + 1) * sizeof *d->labels);
    if (!d->images || !d->labels)
        return pn_fail(PN_EMEM, "%s: no memory for %d images of %dx%d", f->directory, count, edge,
                       edge);
    return pn_data_name_classes(d, (const char *const *)f->classes, f->class_count);
}

/* All of them, each to the place of its number in its split. */
static pn_status read_all(pn_folder *f, int edge, pn_data *const set[2]) {
    const size_t image = (size_t)edge * (size_t)edge * COLOURS;
    uint8_t **out = malloc(((size_t)f->count + 1) * sizeof *out);
    if (!out) return no_memory(f->directory);
    size_t next[2] = {0};
    for (int i = 0; i < f->count; i++) {
        const pn_split split = f->pictures[i].split;
        out[i] = set[split]->images + next[split]++ * image;
    }
    pn_status failed = PN_OK;
    char sentence[PN_SENTENCE_BYTES] = "";
#pragma omp parallel for schedule(dynamic, 4)
    for (int i = 0; i < f->count; i++) {
        pn_status before;
#pragma omp atomic read
        before = failed;
        if (before != PN_OK || f->pictures[i].fate != PN_FATE_TAKEN) continue;
        const pn_status s = read_picture(&f->pictures[i], edge, out[i]);
        if (s == PN_OK) continue;
#pragma omp critical(pn_folder)
        {
            snprintf(sentence, sizeof sentence, "%s", pn_error());
#pragma omp atomic write
            failed = s;
        }
    }
    free((void *)out);
    return failed == PN_OK ? PN_OK : pn_fail(failed, "%s", sentence);
}

/* Moves the images that were taken together, of C channels. */
static void compact(const pn_folder *f, pn_split split, int C, pn_data *d) {
    const size_t pixels = (size_t)d->H * (size_t)d->W;
    const uint8_t *from = d->images;
    uint8_t *to = d->images;
    for (int i = 0; i < f->count; i++) {
        const pn_picture *p = &f->pictures[i];
        if (p->split != split) continue;
        if (p->fate == PN_FATE_TAKEN) {
            if (C == COLOURS && to != from) memcpy(to, from, pixels * COLOURS);
            for (size_t k = 0; C == 1 && k < pixels; k++) to[k] = from[k * COLOURS];
            to += pixels * (size_t)C;
            d->labels[d->count++] = (uint16_t)p->label;
        }
        from += pixels * COLOURS;
    }
    d->C = C;
    uint8_t *fitting = realloc(d->images, (size_t)(to - d->images) + 1);
    if (fitting) d->images = fitting;
}

pn_status pn_folder_read(pn_folder *f, int edge, pn_data *train, pn_data *test) {
    int of_split[2] = {0};
    for (int i = 0; i < f->count; i++) of_split[f->pictures[i].split]++;
    PN_TRY(choose_edge(f, &edge));
    PN_TRY(allocate(train, of_split[PN_TRAIN], f, edge));
    PN_TRY(allocate(test, of_split[PN_TEST], f, edge));
    PN_TRY(read_all(f, edge, (pn_data *const[]){train, test}));
    bool grey = true;
    for (int i = 0; i < f->count; i++) {
        const pn_picture *p = &f->pictures[i];
        f->damaged += p->fate == PN_FATE_DAMAGED;
        f->skipped += p->fate == PN_FATE_SKIPPED;
        grey &= p->fate != PN_FATE_TAKEN || p->grey;
    }
    compact(f, PN_TRAIN, grey ? 1 : COLOURS, train);
    compact(f, PN_TEST, grey ? 1 : COLOURS, test);
    if (train->count) pn_data_measure(train);
    memcpy(test->mean, train->mean, sizeof test->mean);
    memcpy(test->std, train->std, sizeof test->std);
    return PN_OK;
}

/* ---- Judging --------------------------------------------------------------------------------- */

static int by_hash(const void *a, const void *b) {
    const pn_picture *const *x = a, *const *y = b;
    if ((*x)->hash != (*y)->hash) return (*x)->hash < (*y)->hash ? -1 : 1;
    if ((*x)->split != (*y)->split) return (*x)->split < (*y)->split ? -1 : 1;
    return strcmp((*x)->path, (*y)->path);
}

/* The same bytes for training and for testing. */
static pn_status tell_copies(const pn_folder *f) {
    const pn_picture **sorted = malloc(((size_t)f->count + 1) * sizeof(const pn_picture *));
    if (!sorted) return no_memory(f->directory);
    int taken = 0, copies = 0;
    for (int i = 0; i < f->count; i++)
        if (f->pictures[i].fate == PN_FATE_TAKEN) sorted[taken++] = &f->pictures[i];
    qsort((void *)sorted, (size_t)taken, sizeof(const pn_picture *), by_hash);
    const pn_picture *train = NULL, *one = NULL, *other = NULL;
    for (int i = 0; i < taken; i++) {
        if (sorted[i]->split == PN_TRAIN) {
            train = sorted[i];
        } else if (train && train->hash == sorted[i]->hash) {
            if (!copies++) one = train, other = sorted[i];
        }
    }
    if (copies)
        pn_data_tell("%d test image%s the bytes of a training image, as %s and %s", copies,
                     copies == 1 ? " has" : "s have", one->path, other->path);
    free((void *)sorted);
    return PN_OK;
}

pn_status pn_folder_judge(const pn_folder *f, const pn_data *train, const pn_data *test) {
    int told = 0;
    for (int i = 0; i < f->count && told < MOST_TOLD; i++)
        if (f->pictures[i].why) {
            pn_data_tell("%s: left out: %s", f->pictures[i].path, f->pictures[i].why);
            told++;
        }
    const int left_out = f->damaged + f->skipped, pictures = f->count - f->skipped;
    if (left_out > told)
        pn_data_tell(
            "%s: %d files are left out, %d of them damaged; 'parsec-nas data check' "
            "names them all",
            f->directory, left_out, f->damaged);
    if ((int64_t)f->damaged * 100 > pictures)
        return pn_fail(PN_EINPUT,
                       "%s: %d of %d pictures are damaged, want at most 1 %%; 'parsec-nas data "
                       "check' names them",
                       f->directory, f->damaged, pictures);
    if (!train->count || !test->count)
        return pn_fail(PN_EINPUT, "%s: no picture for %s", f->directory,
                       train->count ? "testing" : "training");
    PN_TRY(tell_copies(f));
    return pn_data_tell_classes(train);
}
