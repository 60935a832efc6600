/* command_predict.c -- what a trained network says of pictures. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/file.h"
#include "runtime/image.h"
#include "runtime/json.h"
#include "runtime/text.h"
#include "search/network/classifier.h"
#include "search/train/trained.h"
#include "tools/commands.h"

static const char usage[] =
    "parsec-nas predict WEIGHTS IMAGE... [OPTIONS]\n"
    "\n"
    "Prints a line for each picture: its path, the class it is taken for and the\n"
    "probability of that, with a tab between them; --top K: of the K most probable\n"
    "classes. WEIGHTS is what train was given (of several seeds, DIR/seed-N), or a\n"
    ".safetensors file. IMAGE is a JPEG or PNG file, a folder of them at any depth,\n"
    "or - for standard input. A picture becomes what the network takes: scaled to\n"
    "cover its size, the middle of that, grey or colour.\n"
    "\n"
    "A picture that cannot be read is named on stderr, and the others go on; in the\n"
    "end the exit code is 3, or 6 if nothing is wrong with those that could be read.\n"
    "Hidden files in a folder are passed over; what is neither JPEG nor PNG is named\n"
    "and changes no exit code.\n"
    "\n";

typedef struct options {
    const char *data, *genotype, *stem;
    int layers, channels, batch, top;
    bool json;
    pn_device_options device;
} options;
static options o;

/* A picture of the batch at hand. */
typedef struct picture {
    char *path;     /* NULL: standard input */
    bool in_folder; /* found there, not named by hand */
    bool foreign;   /* of a kind that is not read */
    pn_status status;
    char why[PN_SENTENCE_BYTES];
} picture;

typedef struct prediction {
    const pn_kernels *kernels;
    pn_classifier classifier;
    pn_data data; /* empty: the file says all */
    picture *waiting;
    uint8_t *pixels; /* (batch,H,W,C) */
    float *logits;   /* (batch,classes) */
    double *probability;
    int *order; /* of the classes */
    int count;  /* pictures that wait */
    int64_t read, damaged, unreadable;
} prediction;

/* ---- one picture ----------------------------------------------------------------------------- */

static const char standard_input[] = "-";

/* All of standard input, which may be a pipe. */
static pn_status read_input(pn_image *image, bool *foreign) {
    size_t size = 0, room = 1 << 16;
    char *bytes = malloc(room);
    pn_status s = bytes ? PN_OK : pn_fail(PN_EMEM, "no memory for a picture");
    while (s == PN_OK) {
        size += fread(bytes + size, 1, room - size, stdin);
        if (size < room) break;
        if (room > PN_MAX_IMAGE_FILE) {
            s = pn_fail(PN_EINPUT, "longer than %d bytes", PN_MAX_IMAGE_FILE);
            break;
        }
        char *larger = realloc(bytes, 2 * room);
        if (larger) bytes = larger;
        if (larger) room *= 2;
        if (!larger) s = pn_fail(PN_EMEM, "no memory for a picture");
    }
    if (s == PN_OK && ferror(stdin)) s = pn_fail(PN_EIO, "cannot read: %s", strerror(errno));
    if (s == PN_OK) s = pn_image_decode(bytes, size, image, foreign);
    free(bytes);
    return s;
}

/* Into the pixels of its place. */
static void read_picture(const prediction *p, int i) {
    const pn_images *n = &p->classifier.images;
    picture *one = &p->waiting[i];
    pn_image image = {0};
    one->status = one->path ? pn_image_read(one->path, &image, &one->foreign)
                            : read_input(&image, &one->foreign);
    if (one->status == PN_OK)
        pn_image_fit(&image, n->H, n->W, n->C,
                     p->pixels + (size_t)i * (size_t)n->H * (size_t)n->W * (size_t)n->C);
    else
        snprintf(one->why, sizeof one->why, "%s", pn_error());
    pn_image_free(&image);
}

/* ---- what is printed ------------------------------------------------------------------------- */

static const prediction *sorted; /* qsort has no argument of its own */
static int by_probability(const void *a, const void *b) {
    const int x = *(const int *)a, y = *(const int *)b;
    const double p = sorted->probability[x], q = sorted->probability[y];
    return p != q ? (p < q) - (p > q) : (x > y) - (x < y);
}

/* The most probable classes, the first of equals first. */
static int rank(prediction *p, const float *logits) {
    const int classes = p->classifier.images.classes;
    pn_probabilities(logits, classes, p->probability);
    for (int k = 0; k < classes; k++) p->order[k] = k;
    sorted = p;
    qsort(p->order, (size_t)classes, sizeof *p->order, by_probability);
    return o.top < classes ? o.top : classes;
}

static void print_text(const prediction *p, const char *path, int top) {
    char shown[4 * PN_PATH_BYTES], number[16];
    pn_text_visible(path, shown, sizeof shown);
    fputs(shown, stdout);
    for (int i = 0; i < top; i++) {
        const int k = p->order[i];
        printf("\t%s\t%.4f", pn_images_class(&p->classifier.images, k, number), p->probability[k]);
    }
    putchar('\n');
}

static pn_status print_json(const prediction *p, const char *path, const float *logits, int top) {
    char number[16];
    json_t *root = json_object(), *list = json_array();
    int failed = json_object_set_new(root, "image", pn_json_string(path));
    for (int i = 0; i < top; i++) {
        const int k = p->order[i];
        const char *name = pn_images_class(&p->classifier.images, k, number);
        json_t *row = json_object();
        failed |= json_object_set_new(row, "class", json_string(name));
        failed |= json_object_set_new(row, "label", json_integer(k));
        failed |= json_object_set_new(row, "probability", json_real(p->probability[k]));
        failed |= json_object_set_new(row, "logit", json_real((double)logits[k]));
        failed |= json_array_append_new(list, row);
    }
    failed |= json_object_set_new(root, "classes", list);
    return pn_json_print(root, failed, JSON_REAL_PRECISION(9), stdout);
}

/* A picture that is none. */
static void complain(prediction *p, const picture *one) {
    const bool passed_over = one->foreign && one->in_folder;
    fprintf(stderr, "parsec-nas predict: %s%s%s\n", one->path ? "" : "standard input: ", one->why,
            passed_over ? "; passed over" : "");
    if (one->status == PN_EINPUT) p->damaged += !passed_over;
    if (one->status == PN_EIO) p->unreadable++;
}

/* ---- a batch --------------------------------------------------------------------------------- */

/* Those that were read move together; their logits, and a line for each, in the order given. */
static pn_status classify(prediction *p) {
    const pn_images *n = &p->classifier.images;
    const size_t size = (size_t)n->H * (size_t)n->W * (size_t)n->C;
    int good = 0;
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < p->count; i++)
        if (p->waiting[i].path) read_picture(p, i);
    for (int i = 0; i < p->count; i++) { /* standard input has one owner */
        picture *one = &p->waiting[i];
        if (!one->path) read_picture(p, i);
        if (one->status != PN_OK && one->status != PN_EINPUT && one->status != PN_EIO)
            return pn_fail(one->status, "%s", one->why);
        if (one->status == PN_OK)
            memmove(p->pixels + size * (size_t)good++, p->pixels + size * (size_t)i, size);
    }
    PN_TRY(pn_classify_bytes(&p->classifier, p->pixels, good, p->logits));
    const float *logits = p->logits;
    for (int i = 0; i < p->count; i++) {
        const picture *one = &p->waiting[i];
        p->read++;
        if (one->status != PN_OK) {
            complain(p, one);
            continue;
        }
        const char *path = one->path ? one->path : standard_input;
        const int top = rank(p, logits);
        if (o.json)
            PN_TRY(print_json(p, path, logits, top));
        else
            print_text(p, path, top);
        logits += n->classes;
    }
    return PN_OK;
}

static void forget(prediction *p) {
    while (p->count > 0) free(p->waiting[--p->count].path);
}

static pn_status flush(prediction *p) {
    const pn_status s = p->count ? classify(p) : PN_OK;
    forget(p);
    return s;
}

/* path: NULL for standard input. */
static pn_status add(prediction *p, const char *path, bool in_folder) {
    char *copy = path ? strdup(path) : NULL;
    if (path && !copy) return pn_fail(PN_EMEM, "no memory for a path");
    picture *one = &p->waiting[p->count++];
    one->path = copy;
    one->in_folder = in_folder;
    one->foreign = false;
    return p->count == p->classifier.N ? flush(p) : PN_OK;
}

/* ---- folders --------------------------------------------------------------------------------- */

/* A folder, and those that it was reached through. */
typedef struct level {
    dev_t device;
    ino_t number;
    const struct level *above;
} level;

typedef struct names {
    char **list;
    int count, room;
} names;

/* What a file system or another program puts beside pictures (folder.h). */
static bool is_hidden(const char *name) {
    return name[0] == '.' || !strcmp(name, "__MACOSX") || !strcmp(name, "Thumbs.db") ||
           !strcmp(name, "desktop.ini");
}

static pn_status collect(void *self, const char *name) {
    names *all = self;
    if (is_hidden(name)) return PN_OK;
    if (all->count == all->room) {
        const int room = all->room ? 2 * all->room : 64;
        char **list = realloc(all->list, (size_t)room * sizeof *list);
        if (!list) return pn_fail(PN_EMEM, "no memory for a folder of %d names", room);
        all->list = list;
        all->room = room;
    }
    all->list[all->count] = strdup(name);
    if (!all->list[all->count]) return pn_fail(PN_EMEM, "no memory for a name");
    all->count++;
    return PN_OK;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static pn_status list_folder(const char *path, names *all) {
    pn_place place;
    PN_TRY(pn_place_open(&place, path));
    const pn_status s = pn_place_list(&place, collect, all);
    pn_place_close(&place);
    if (all->count) qsort(all->list, (size_t)all->count, sizeof *all->list, by_bytes);
    return s;
}

static void free_names(names *all) {
    for (int i = 0; i < all->count; i++) free(all->list[i]);
    free(all->list);
}

static bool leads_up(const level *here) {
    for (const level *l = here->above; l; l = l->above)
        if (l->device == here->device && l->number == here->number) return true;
    return false;
}

/* A folder that is not looked through, in the order of the paths. */
static pn_status pass_over(prediction *p, const char *why, bool unreadable) {
    char sentence[PN_SENTENCE_BYTES];
    snprintf(sentence, sizeof sentence, "%s", why);
    PN_TRY(flush(p));
    fprintf(stderr, "parsec-nas predict: %s\n", sentence);
    p->unreadable += unreadable;
    p->read += unreadable;
    return PN_OK;
}

/* That of a link to one that it lies in. */
static pn_status pass_over_link(prediction *p, const char *path) {
    char shown[PN_PATH_BYTES], sentence[PN_SENTENCE_BYTES];
    pn_text_visible(path, shown, sizeof shown);
    snprintf(sentence, sizeof sentence, "%s: leads to a folder above; passed over", shown);
    return pass_over(p, sentence, false);
}

static pn_status walk(prediction *p, const char *path, const level *above);

static pn_status walk_all(prediction *p, const char *folder, const names *all, const level *here) {
    const size_t length = strlen(folder);
    const char *slash = length && folder[length - 1] == '/' ? "" : "/";
    for (int i = 0; i < all->count; i++) {
        const size_t room = length + strlen(all->list[i]) + 2;
        char *path = malloc(room);
        if (!path) return pn_fail(PN_EMEM, "no memory for a path");
        snprintf(path, room, "%s%s%s", folder, slash, all->list[i]);
        const pn_status s = walk(p, path, here);
        free(path);
        PN_TRY(s);
    }
    return PN_OK;
}

/* A file, or a folder with all that is below it, by name; `above`: NULL for what was named. */
static pn_status walk(prediction *p, const char *path, const level *above) {
    struct stat found;
    if (stat(path, &found) || !S_ISDIR(found.st_mode)) return add(p, path, above != NULL);
    const level here = {found.st_dev, found.st_ino, above};
    if (leads_up(&here)) return pass_over_link(p, path);
    names all = {0};
    pn_status s = list_folder(path, &all);
    if (s == PN_OK)
        s = walk_all(p, path, &all, &here);
    else if (s != PN_EMEM)
        s = pass_over(p, pn_error(), true);
    free_names(&all);
    return s;
}

/* ---- running --------------------------------------------------------------------------------- */

static pn_status open_file(prediction *p, const char *path) {
    const pn_classifier_asked asked = {.genotype = o.genotype,
                                       .stem = o.stem,
                                       .layers = o.layers,
                                       .channels = o.channels,
                                       .data = p->data.count ? &p->data : NULL};
    return pn_classifier_open(&p->classifier, p->kernels, path, &asked, o.batch);
}

/* Weights of version 0.2 do not say mean and deviation; the data set of their training does. */
static pn_status open_network(prediction *p, const char *name) {
    char path[PN_PATH_BYTES], data[PN_TEXT_BYTES] = "";
    PN_TRY(pn_trained_weights(name, false, path));
    if (o.data) PN_TRY(pn_data_open(o.data, PN_TRAIN, &p->data));
    PN_TRY(open_file(p, path));
    if (p->classifier.images.measured) return PN_OK;
    PN_TRY(pn_trained_data(path, data));
    if (!*data)
        return pn_fail(PN_EARG,
                       "%s: does not say mean and deviation of the images it was trained on; want "
                       "--data D, a set like those",
                       path);
    PN_TRY(pn_data_open(data, PN_TRAIN, &p->data));
    pn_classifier_close(&p->classifier);
    return open_file(p, path);
}

static pn_status allocate(prediction *p) {
    const pn_images *n = &p->classifier.images;
    const size_t N = (size_t)o.batch, classes = (size_t)n->classes;
    p->waiting = calloc(N, sizeof *p->waiting);
    p->pixels = malloc(N * (size_t)n->H * (size_t)n->W * (size_t)n->C);
    p->logits = malloc(N * classes * sizeof *p->logits);
    p->probability = malloc(classes * sizeof *p->probability);
    p->order = malloc(classes * sizeof *p->order);
    return p->waiting && p->pixels && p->logits && p->probability && p->order
               ? PN_OK
               : pn_fail(PN_EMEM, "no memory for batches of %d pictures; want a smaller --batch",
                         o.batch);
}

static pn_status predict(prediction *p, const char *const *words) {
    if (!words[0] || !words[1])
        return pn_fail(PN_EARG,
                       "want WEIGHTS and IMAGE...: files, folders, or - for standard input");
    PN_TRY(pn_device_open(&o.device, &p->kernels));
    PN_TRY(open_network(p, words[0]));
    PN_TRY(allocate(p));
    for (int i = 1; words[i]; i++)
        PN_TRY(strcmp(words[i], standard_input) ? walk(p, words[i], NULL) : add(p, NULL, false));
    PN_TRY(flush(p));
    if (!p->damaged && !p->unreadable) return PN_OK;
    return pn_fail(p->damaged ? PN_EINPUT : PN_EIO, "%" PRId64 " of %" PRId64 " could not be read",
                   p->damaged + p->unreadable, p->read);
}

#define PN_OF options

static const pn_field rows[] = {
    PN_INT("top", top, 1, 100000, "1", "classes a picture, the most probable first"),
    PN_FLAG("json", json, NULL, "print an object a line: image, classes with label and logit"),
    PN_ROW_BATCH("64", "pictures at a time"),
    PN_ROW_DATA(NULL, "a set like that of the training, if the file does not say mean and names"),
    PN_ROW_GENOTYPE("the cell, if the file does not say"),
    PN_ROW_LAYERS(NULL, "cells, likewise"),
    PN_ROW_CHANNELS(NULL, "channels of the first, likewise"),
    PN_ROW_STEM(NULL, "cifar or imagenet, likewise [cifar]"),
    PN_ROWS_DEVICE,
};

static pn_status run(const char *const *words) {
    static prediction p; /* large: a network */
    const pn_status s = predict(&p, words);
    if (p.waiting) forget(&p);
    pn_classifier_close(&p.classifier);
    pn_data_free(&p.data);
    free(p.waiting);
    free(p.pixels);
    free(p.logits);
    free(p.probability);
    free(p.order);
    return s;
}

PN_COMMAND(predict, "print what trained weights say of JPEG and PNG files", .words = PN_ANY_WORDS,
           .options = {PN_OPTIONS(rows, o)});
