/* data.c -- finding a data set and putting its pieces together. */
#include "runtime/data.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "runtime/data_parts.h"
#include "runtime/file.h"
#include "runtime/folder.h"
#include "runtime/safetensors.h"
#include "runtime/text.h"

#define SYNTHETIC "synthetic"
#define FASHION "fashion-mnist"
#define PACKED ".safetensors"

enum {
    CIFAR_EDGE = 32,
    CIFAR_BATCHES = 5,
    MAX_PATH = 4096,
    SYNTHETIC_COUNT = 5000,
    LEAST_EDGE = 8
};

/* The largest file of CIFAR-10 records: 40 times the whole set. */
#define MAX_CIFAR ((size_t)1 << 33)
#define MAX_SYNTHETIC ((uint64_t)1 << 34)

/* The published mean and deviation, which pn_data_measure finds too: given here, so that the test
 * split alone can be opened. */
static const pn_data cifar10 = {.name = "cifar10",
                                .H = CIFAR_EDGE,
                                .W = CIFAR_EDGE,
                                .C = 3,
                                .classes = 10,
                                .mean = {.4914F, .4822F, .4465F},
                                .std = {.2470F, .2435F, .2616F},
                                .own_test = true};

/* In the order of their labels: batches.meta.txt of CIFAR-10, the table in Fashion-MNIST's
 * README. */
static const char *const cifar_names[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                          "dog",      "frog",       "horse", "ship", "truck"};
static const char *const fashion_names[] = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                            "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                            "Bag",         "Ankle boot"};
enum { KNOWN = 10 };

/* DIR/NAME into path[MAX_PATH]; whether it is a file. */
static pn_status file_in(char *path, const char *directory, const char *name, bool *there) {
    pn_path_kind what = PN_PATH_NOTHING;
    if (snprintf(path, MAX_PATH, "%s/%s", directory, name) < MAX_PATH)
        PN_TRY(pn_path_look(path, &what));
    *there = what == PN_PATH_FILE;
    return PN_OK;
}

void pn_data_free(pn_data *data) {
    if (!data->mapped) free(data->images);
    pn_safetensors_free(data->mapped);
    free(data->labels);
    free((void *)data->class_names);
    *data = (pn_data){0};
}

pn_status pn_data_name_classes(pn_data *data, const char *const *names, int count) {
    size_t bytes = (size_t)count * sizeof *names;
    for (int i = 0; i < count; i++) bytes += strlen(names[i]) + 1;
    char **list = malloc(bytes);
    if (!list) return pn_fail(PN_EMEM, "no memory for the names of %d classes", count);
    char *text = (char *)(list + count);
    for (int i = 0; i < count; i++) {
        list[i] = text;
        text = stpcpy(text, names[i]) + 1;
    }
    free((void *)data->class_names);
    data->class_names = list;
    return PN_OK;
}

void pn_data_measure(pn_data *data) {
    const uint64_t pixels = (uint64_t)data->count * (uint64_t)data->H * (uint64_t)data->W;
    for (int c = 0; c < data->C; c++) {
        uint64_t sum = 0, squares = 0; /* exact: 2^36 pixels of 2^16 are within 2^64 */
        for (uint64_t i = 0; i < pixels; i++) {
            const uint64_t v = data->images[i * (uint64_t)data->C + (uint64_t)c];
            sum += v;
            squares += v * v;
        }
        const double mean = (double)sum / (double)pixels;
        const double variance = (double)squares / (double)pixels - mean * mean;
        const double std = round(sqrt(variance > 0 ? variance : 0) / 255 * 1e4) / 1e4;
        data->mean[c] = (float)(round(mean / 255 * 1e4) / 1e4);
        data->std[c] = std > 0 ? (float)std : 1; /* all pixels alike */
    }
}

/* ---- What is said ---------------------------------------------------------------------------- */

enum { FEW_IMAGES = 10, MOST_IMBALANCE = 10 };

static pn_data_listener *listener;
static void *listening;

void pn_data_listen(pn_data_listener *to, void *self) {
    listener = to;
    listening = self;
}

void pn_data_tell(const char *format, ...) {
    char sentence[PN_SENTENCE_BYTES], shown[PN_SENTENCE_BYTES];
    if (!listener) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    pn_text_visible(sentence, shown, sizeof shown);
    listener(listening, shown);
}

pn_status pn_data_tell_classes(const pn_data *d) {
    int *of = calloc((size_t)d->classes, sizeof *of), few = 0, least = 0, most = 0;
    if (!of) return pn_fail(PN_EMEM, "no memory to count %d classes", d->classes);
    for (int i = 0; i < d->count; i++) of[d->labels[i]]++;
    for (int k = 0; k < d->classes; k++) {
        few += of[k] < FEW_IMAGES;
        if (of[k] < of[least]) least = k;
        if (of[k] > of[most]) most = k;
    }
    const char *const *names = (const char *const *)d->class_names;
    if (few)
        pn_data_tell("%d of %d classes have fewer than %d training images, %s has %d", few,
                     d->classes, FEW_IMAGES, names[least], of[least]);
    if ((int64_t)of[most] > (int64_t)of[least] * MOST_IMBALANCE)
        pn_data_tell("unequal classes: %d training images of %s, %d of %s", of[most], names[most],
                     of[least], names[least]);
    free(of);
    return PN_OK;
}

/* ---- CIFAR-10 -------------------------------------------------------------------------------- */

static pn_status read_cifar_file(const char *path, pn_data *data) {
    void *bytes;
    size_t size;
    PN_TRY(pn_file_read(path, MAX_CIFAR, &bytes, &size));
    pn_status status = pn_cifar_parse(bytes, size, &data->images, &data->labels, &data->count);
    free(bytes);
    return status == PN_OK ? PN_OK : pn_fail_in(status, "%s", path);
}

/* Puts the images of `more` behind those of `data`. */
static pn_status append_images(pn_data *data, const pn_data *more) {
    const size_t bytes = (size_t)data->H * (size_t)data->W * (size_t)data->C;
    const size_t old = (size_t)data->count, added = (size_t)more->count;
    uint8_t *images = realloc(data->images, (old + added) * bytes);
    if (images) data->images = images;
    uint16_t *labels = realloc(data->labels, (old + added) * sizeof *labels);
    if (labels) data->labels = labels;
    if (!images || !labels) return pn_fail(PN_EMEM, "no memory for %zu images", old + added);
    memcpy(images + old * bytes, more->images, added * bytes);
    memcpy(labels + old, more->labels, added * sizeof *labels);
    data->count += more->count;
    return PN_OK;
}

/* A file alone: either split is the whole of it. */
static pn_status read_cifar_whole(const char *path, pn_split split, pn_data *data) {
    (void)split;
    *data = cifar10;
    data->own_test = false;
    PN_TRY(pn_data_name_classes(data, cifar_names, KNOWN));
    return read_cifar_file(path, data);
}

static pn_status read_cifar_directory(const char *directory, pn_split split, pn_data *data) {
    *data = cifar10;
    PN_TRY(pn_data_name_classes(data, cifar_names, KNOWN));
    const int files = split == PN_TRAIN ? CIFAR_BATCHES : 1;
    int first = 0;
    for (int i = 1; i <= files; i++) {
        char path[MAX_PATH], name[32] = "test_batch.bin";
        if (split == PN_TRAIN) snprintf(name, sizeof name, "data_batch_%d.bin", i);
        bool there;
        PN_TRY(file_in(path, directory, name, &there));
        if (!there)
            return pn_fail(PN_EINPUT,
                           "%s: %s is missing; 'tools/get-data cifar10 %s' fetches what is not "
                           "there",
                           directory, name, directory);
        pn_data batch = cifar10;
        pn_status status = read_cifar_file(path, &batch);
        if (status == PN_OK && i == 1) first = batch.count;
        if (status == PN_OK && batch.count != first) /* cut off between two records */
            status = pn_fail(PN_EINPUT, "%s: %d images, want %d as in data_batch_1.bin", path,
                             batch.count, first);
        if (status == PN_OK) status = append_images(data, &batch);
        pn_data_free(&batch);
        PN_TRY(status);
    }
    return PN_OK;
}

/* ---- IDX ------------------------------------------------------------------------------------- */

static const char *const idx_prefix[] = {[PN_TRAIN] = "train", [PN_TEST] = "t10k"};

static pn_status find_idx(char *path, const char *directory, pn_split split, const char *what,
                          bool *there) {
    char name[64];
    snprintf(name, sizeof name, "%s-%s-ubyte", idx_prefix[split], what);
    PN_TRY(file_in(path, directory, name, there));
    if (*there) return PN_OK;
    snprintf(name, sizeof name, "%s-%s-ubyte.gz", idx_prefix[split], what);
    return file_in(path, directory, name, there);
}

static pn_status read_idx(const char *directory, pn_split split, const char *what, int rank,
                          pn_idx *idx) {
    char path[MAX_PATH];
    bool there;
    PN_TRY(find_idx(path, directory, split, what, &there));
    if (!there)
        return pn_fail(PN_EINPUT, "%s: neither %s-%s-ubyte nor the same with .gz is there",
                       directory, idx_prefix[split], what);
    PN_TRY(pn_idx_read(path, idx));
    if (idx->rank != rank)
        return pn_fail(PN_EINPUT, "%s: %d dimensions, want %d (it is named %s)", path, idx->rank,
                       rank, what);
    return PN_OK;
}

static pn_status read_idx_images(const char *directory, pn_split split, pn_data *data) {
    pn_idx images = {0}, labels = {0};
    pn_status status = read_idx(directory, split, "images-idx3", 3, &images);
    if (status == PN_OK) status = read_idx(directory, split, "labels-idx1", 1, &labels);
    if (status == PN_OK && images.dim[0] != labels.dim[0])
        status = pn_fail(PN_EINPUT, "%s: %d images but %d labels in its %s files", directory,
                         images.dim[0], labels.dim[0], idx_prefix[split]);
    data->images = images.bytes; /* the caller frees them, failed or not */
    data->count = images.dim[0];
    data->H = images.dim[1];
    data->W = images.dim[2];
    data->C = 1;
    data->own_test = true;
    if (status == PN_OK) {
        data->labels = malloc((size_t)data->count * sizeof *data->labels);
        if (!data->labels) status = pn_fail(PN_EMEM, "no memory for %d labels", data->count);
    }
    for (int i = 0; status == PN_OK && i < data->count; i++) data->labels[i] = labels.bytes[i];
    free(labels.bytes);
    return status;
}

static int largest_label(const pn_data *data) {
    int largest = 0;
    for (int i = 0; i < data->count; i++)
        if (data->labels[i] > largest) largest = data->labels[i];
    return largest;
}

/* A split that says by itself how many classes there are and how to normalise. */
static pn_status read_idx_measured(const char *directory, pn_split split, pn_data *data) {
    PN_TRY(read_idx_images(directory, split, data));
    pn_data_measure(data);
    data->classes = largest_label(data) + 1;
    return PN_OK;
}

/* IDX files do not say that: the training files do, hence they are read for the test split too,
 * unless there are none. */
static pn_status read_idx_directory(const char *directory, pn_split split, pn_data *data) {
    pn_data train = {0};
    char path[MAX_PATH];
    bool there[2] = {true, true};
    for (int part = 0; split == PN_TEST && part < 2; part++)
        PN_TRY(find_idx(path, directory, PN_TRAIN, part ? "labels-idx1" : "images-idx3",
                        &there[part]));
    if (!there[0] && !there[1]) {
        data->alone = true;
        return read_idx_measured(directory, PN_TEST, data);
    }
    pn_status status = read_idx_measured(directory, PN_TRAIN, &train);
    if (status != PN_OK || split == PN_TRAIN) {
        *data = train;
        return status;
    }
    status = read_idx_images(directory, split, data);
    if (status == PN_OK && (data->H != train.H || data->W != train.W))
        status = pn_fail(PN_EINPUT, "%s: test images of %dx%d, want %dx%d as in training",
                         directory, data->H, data->W, train.H, train.W);
    if (status == PN_OK && largest_label(data) >= train.classes)
        status = pn_fail(PN_EINPUT, "%s: a test label %d, want 0 to %d as in training", directory,
                         largest_label(data), train.classes - 1);
    data->classes = train.classes;
    memcpy(data->mean, train.mean, sizeof data->mean);
    memcpy(data->std, train.std, sizeof data->std);
    pn_data_free(&train);
    return status;
}

/* ---- Synthetic ------------------------------------------------------------------------------- */

/* A whole number from 1 to `most`; *at is then what comes after it. */
static bool take_number(const char **at, uint64_t most, int *number) {
    uint64_t n;
    if (!pn_take_whole(at, 1, most, &n)) return false;
    *number = (int)n;
    return true;
}

static pn_status make_synthetic(const char *spec, pn_split split, pn_data *data) {
    int count = SYNTHETIC_COUNT, H = CIFAR_EDGE, W = CIFAR_EDGE, C = 3;
    const char *at = spec + strlen(SYNTHETIC);
    if (*at) {
        bool good = *at++ == ':' && take_number(&at, INT32_MAX, &count) && *at++ == 'x' &&
                    take_number(&at, PN_MAX_IMAGE_EDGE, &H) && *at++ == 'x' &&
                    take_number(&at, PN_MAX_IMAGE_EDGE, &W) && *at++ == 'x' &&
                    take_number(&at, 3, &C) && *at == 0;
        if (!good || C == 2 || count < 10 || (uint64_t)count * H * W * C > MAX_SYNTHETIC)
            return pn_fail(PN_EARG,
                           "data '%s', want synthetic or synthetic:COUNTxHxWxC with COUNT from "
                           "10, H and W to %d, C 1 or 3, and at most 16 GiB",
                           spec, PN_MAX_IMAGE_EDGE);
    }
    pn_data train;
    PN_TRY(pn_synthetic_make(PN_TRAIN, count, H, W, C, &train));
    if (split == PN_TRAIN) {
        *data = train;
        return PN_OK;
    }
    pn_status status = pn_synthetic_make(split, count / 5 < 10 ? 10 : count / 5, H, W, C, data);
    memcpy(data->mean, train.mean, sizeof data->mean);
    memcpy(data->std, train.std, sizeof data->std);
    pn_data_free(&train);
    return status;
}

/* ---- Which of them --------------------------------------------------------------------------- */

/* The first of the directories that is there; NULL if none. */
static pn_status first_directory(const char *const *directories, const char **first) {
    pn_path_kind what = PN_PATH_NOTHING;
    for (; *directories && what != PN_PATH_DIRECTORY; directories++)
        PN_TRY(pn_path_look(*directories, &what));
    *first = what == PN_PATH_DIRECTORY ? directories[-1] : NULL;
    return PN_OK;
}

/* What is to be opened. */
typedef struct splits {
    pn_data *of[2];       /* NULL: not asked for */
    int edge;             /* of a folder that does not say it; 0: by the pictures */
    double test_fraction; /* of a folder without test images of its own */
} splits;

static pn_status each_split(const splits *want, const char *from,
                            pn_status (*read)(const char *from, pn_split split, pn_data *data)) {
    for (int split = PN_TRAIN; split <= PN_TEST; split++)
        if (want->of[split]) PN_TRY(read(from, (pn_split)split, want->of[split]));
    return PN_OK;
}

/* ---- Pictures -------------------------------------------------------------------------------- */

/* Both splits, of which one may not be wanted: mean, deviation and channels are those of all. */
static pn_status read_folder(const char *directory, int edge, const splits *want) {
    pn_folder folder;
    pn_data read[2] = {0};
    pn_status s = pn_folder_open(directory, want->test_fraction, &folder);
    if (s == PN_OK) s = pn_folder_read(&folder, edge, &read[PN_TRAIN], &read[PN_TEST]);
    if (s == PN_OK) s = pn_folder_judge(&folder, &read[PN_TRAIN], &read[PN_TEST]);
    pn_folder_free(&folder);
    for (int split = PN_TRAIN; split <= PN_TEST; split++) {
        if (s == PN_OK && want->of[split])
            *want->of[split] = read[split];
        else
            pn_data_free(&read[split]);
    }
    return s;
}

/* DIRECTORY@EDGE, where there is no such path: the length of DIRECTORY, else 0. */
static size_t take_edge(const char *spec, int *edge) {
    const char *at = strrchr(spec, '@'), *after = at ? at + 1 : NULL;
    uint64_t n;
    if (!at || at == spec || at - spec >= MAX_PATH || !pn_take_whole(&after, 0, INT32_MAX, &n) ||
        *after)
        return 0;
    *edge = (int)n;
    return (size_t)(at - spec);
}

static pn_status open_pictures(const char *spec, const splits *want, bool *there) {
    int edge = 0;
    char directory[MAX_PATH];
    pn_path_kind what = PN_PATH_NOTHING;
    const size_t length = take_edge(spec, &edge);
    snprintf(directory, sizeof directory, "%.*s", (int)length, spec);
    if (length) PN_TRY(pn_path_look(directory, &what));
    *there = what == PN_PATH_DIRECTORY;
    if (!*there) return PN_OK;
    if (edge < LEAST_EDGE || edge > PN_MAX_IMAGE_EDGE)
        return pn_fail(PN_EARG, "data '%s': images of %dx%d, want edges from %d to %d", spec, edge,
                       edge, LEAST_EDGE, PN_MAX_IMAGE_EDGE);
    return read_folder(directory, edge, want);
}

static pn_status open_file(const char *path, const splits *want) {
    const size_t length = strlen(path), ending = strlen(PACKED);
    const bool packed = length > ending && !strcmp(path + length - ending, PACKED);
    return each_split(want, path, packed ? pn_pack_read : read_cifar_whole);
}

/* ---- A place ------------------------------------------------------------------------------- */

static pn_status open_directory(const char *directory, const splits *want) {
    char path[MAX_PATH];
    bool there;
    PN_TRY(file_in(path, directory, "data_batch_1.bin", &there));
    if (!there) PN_TRY(file_in(path, directory, "test_batch.bin", &there));
    if (there) return each_split(want, directory, read_cifar_directory);
    PN_TRY(find_idx(path, directory, PN_TRAIN, "images-idx3", &there));
    if (!there) PN_TRY(find_idx(path, directory, PN_TEST, "images-idx3", &there));
    if (there) return each_split(want, directory, read_idx_directory);
    PN_TRY(pn_folder_like(directory, &there));
    if (there) return read_folder(directory, want->edge, want);
    return pn_fail(PN_EINPUT,
                   "%s: holds neither data_batch_1.bin (CIFAR-10, binary version) nor "
                   "train-images-idx3-ubyte[.gz] nor a folder of pictures for each class; "
                   "'tools/get-data cifar10' or 'tools/get-data fashion-mnist' fetches a set",
                   directory);
}

static pn_status open_spec(const char *spec, const splits *want) {
    static const char *const cifar_places[] = {"data/cifar10", "data/cifar-10-batches-bin", NULL};
    static const char *const fashion_places[] = {"data/fashion-mnist",
                                                 "/usr/share/datasets/fashion-mnist", NULL};
    const size_t synthetic = strlen(SYNTHETIC);
    if (strncmp(spec, SYNTHETIC, synthetic) == 0 &&
        (spec[synthetic] == 0 || spec[synthetic] == ':'))
        return each_split(want, spec, make_synthetic);
    const bool cifar = strcmp(spec, "cifar10") == 0, fashion = strcmp(spec, FASHION) == 0;
    if (cifar || fashion) {
        const char *directory;
        PN_TRY(first_directory(cifar ? cifar_places : fashion_places, &directory));
        if (!directory)
            return pn_fail(PN_EINPUT,
                           "data '%s' is not there: 'tools/get-data %s' fetches it into data/%s",
                           spec, spec, spec);
        return open_directory(directory, want);
    }
    pn_path_kind what;
    PN_TRY(pn_path_look(spec, &what));
    if (what == PN_PATH_DIRECTORY) return open_directory(spec, want);
    if (what == PN_PATH_FILE) return open_file(spec, want);
    bool there;
    PN_TRY(open_pictures(spec, want, &there));
    if (there) return PN_OK;
    return pn_fail(
        PN_EINPUT,
        "data '%s' is not there, want cifar10, fashion-mnist, synthetic[:COUNTxHxWxC], a "
        "directory[@EDGE] or a file; 'tools/get-data cifar10' or 'tools/get-data fashion-mnist' "
        "fetches a set",
        spec);
}

/* What a message or a report calls it. */
static void set_name(const char *spec, pn_data *data) {
    size_t end = strlen(spec);
    while (end > 1 && spec[end - 1] == '/') end--;
    size_t start = end;
    while (start > 0 && spec[start - 1] != '/') start--;
    char raw[sizeof data->name];
    snprintf(raw, sizeof raw, "%.*s", (int)(end - start), spec + start);
    pn_text_visible(raw, data->name, sizeof data->name);
}

/* Each pixel the mean of four, rounded; in place, since none is read after it is written. */
static pn_status halve(const char *spec, pn_data *d) {
    if (d->H % 2 || d->W % 2)
        return pn_fail(PN_EARG, "data '%s': images of %dx%d have no half, want even sizes", spec,
                       d->H, d->W);
    const size_t C = (size_t)d->C, row = (size_t)d->W * C, rows = (size_t)d->count * (size_t)d->H;
    uint8_t *to = d->images;
    for (size_t y = 0; y < rows; y += 2)
        for (size_t x = 0; x < row; x += 2 * C)
            for (size_t c = 0; c < C; c++) {
                const uint8_t *from = d->images + y * row + x + c;
                *to++ = (uint8_t)((from[0] + from[C] + from[row] + from[row + C] + 2) / 4);
            }
    d->H /= 2;
    d->W /= 2;
    return PN_OK;
}

static pn_status open_named(const char *spec, const splits *want) {
    PN_TRY(open_spec(spec, want));
    for (int split = PN_TRAIN; split <= PN_TEST; split++) {
        pn_data *d = want->of[split];
        if (!d) continue;
        if (!d->name[0]) set_name(spec, d);
        if (!strcmp(d->name, FASHION) && d->classes == KNOWN)
            PN_TRY(pn_data_name_classes(d, fashion_names, KNOWN));
    }
    return PN_OK;
}

/* The set of NAME/2 is NAME's, unless there is such a path. */
static pn_status open_half(const char *spec, const splits *want) {
    char whole[MAX_PATH];
    const size_t length = strlen(spec);
    pn_path_kind what = PN_PATH_DIRECTORY;
    const bool half = length > 2 && length < sizeof whole && strcmp(spec + length - 2, "/2") == 0;
    if (half) PN_TRY(pn_path_look(spec, &what));
    if (what != PN_PATH_NOTHING) return open_named(spec, want);
    snprintf(whole, sizeof whole, "%.*s", (int)length - 2, spec);
    PN_TRY(open_named(whole, want));
    for (int split = PN_TRAIN; split <= PN_TEST; split++)
        if (want->of[split]) PN_TRY(halve(spec, want->of[split]));
    return PN_OK;
}

static pn_status open_splits(const char *spec, int edge, double test_fraction, pn_data *train,
                             pn_data *test) {
    pn_data opened[2] = {0};
    const splits want = {
        {train ? &opened[0] : NULL, test ? &opened[1] : NULL}, edge, test_fraction};
    const pn_status status = open_half(spec, &want);
    if (status != PN_OK) {
        pn_data_free(&opened[0]);
        pn_data_free(&opened[1]);
        return status;
    }
    if (train) *train = opened[0];
    if (test) *test = opened[1];
    return PN_OK;
}

pn_status pn_data_open(const char *spec, pn_split split, pn_data *data) {
    return pn_data_open_sized(spec, 0, split == PN_TRAIN ? data : NULL,
                              split == PN_TRAIN ? NULL : data);
}

pn_status pn_data_open_sized(const char *spec, int edge, pn_data *train, pn_data *test) {
    return open_splits(spec, edge, PN_TEST_FRACTION, train, test);
}

pn_status pn_data_open_both(const char *spec, pn_data *train, pn_data *test) {
    return open_splits(spec, 0, PN_TEST_FRACTION, train, test);
}

pn_status pn_data_open_fraction(const char *spec, double test_fraction, pn_data *train,
                                pn_data *test) {
    return open_splits(spec, 0, test_fraction, train, test);
}

uint32_t pn_data_checksum(const pn_data *d) {
    const size_t pixels = (size_t)d->count * (size_t)d->H * (size_t)d->W * (size_t)d->C;
    uLong crc = crc32_z(crc32_z(0, NULL, 0), d->images, pixels);
    const size_t bytes = d->classes <= 256 ? 1 : 2; /* little endian */
    for (int i = 0; i < d->count; i++) crc = crc32_z(crc, (const Bytef *)&d->labels[i], bytes);
    return (uint32_t)crc;
}
