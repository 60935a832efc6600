/* data_pack.c -- a whole data set in one file of safetensors. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data_parts.h"
#include "runtime/json.h"
#include "runtime/safetensors.h"
#include "runtime/text.h"

#define FORMAT "parsec-nas images 1"

enum { METAS = 6, LIST_BYTES = 128 };

static const char *const images_of[] = {[PN_TRAIN] = "train.images", [PN_TEST] = "test.images"};
static const char *const labels_of[] = {[PN_TRAIN] = "train.labels", [PN_TEST] = "test.labels"};

/* ---- Writing --------------------------------------------------------------------------------- */

/* "[0.4914,0.4822,0.4465]": four decimals are all there are. */
static const char *list_text(const float *values, int count, char text[LIST_BYTES]) {
    int used = snprintf(text, LIST_BYTES, "[");
    for (int i = 0; i < count; i++)
        used += snprintf(text + used, (size_t)(LIST_BYTES - used), "%s%.4f", i ? "," : "",
                         (double)values[i]);
    snprintf(text + used, (size_t)(LIST_BYTES - used), "]");
    return text;
}

static pn_status names_text(const pn_data *d, char **text) {
    json_t *names = json_array();
    int failed = 0;
    for (int i = 0; i < d->classes; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        failed |=
            json_array_append_new(names, json_string(d->class_names ? d->class_names[i] : number));
    }
    return pn_json_text(names, failed, JSON_COMPACT, text);
}

pn_status pn_data_pack(const char *path, const pn_data *train, const pn_data *test) {
    const pn_data *const set[] = {train, test};
    char mean[LIST_BYTES], std[LIST_BYTES], *names = NULL;
    if (train->H != test->H || train->W != test->W || train->C != test->C ||
        train->classes != test->classes)
        return pn_fail(PN_EARG, "%s: the splits have images or classes of different kinds", path);
    pn_array arrays[4];
    for (int i = 0; i < 2; i++) {
        const pn_data *d = set[i];
        arrays[i] = (pn_array){.name = images_of[i],
                               .dtype = PN_U8,
                               .rank = 4,
                               .shape = {d->count, d->H, d->W, d->C},
                               .data = d->images};
        arrays[2 + i] = (pn_array){.name = labels_of[i],
                                   .dtype = PN_U16,
                                   .rank = 1,
                                   .shape = {d->count},
                                   .data = d->labels};
    }
    PN_TRY(names_text(train, &names));
    const pn_meta metas[METAS] = {{"format", FORMAT},
                                  {"name", train->name},
                                  {"classes", names},
                                  {"mean", list_text(train->mean, train->C, mean)},
                                  {"std", list_text(train->std, train->C, std)},
                                  {"own_test", train->own_test ? "true" : "false"}};
    const pn_status s = pn_safetensors_write(path, arrays, 4, metas, METAS);
    free(names);
    return s;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static pn_status parse_list(const pn_safetensors *f, const char *key, json_t **list) {
    const char *text = pn_safetensors_meta(f, key);
    if (!text) return pn_fail(PN_EINPUT, "no %s in its metadata", key);
    PN_TRY(pn_json_parse(text, strlen(text), list));
    if (json_is_array(*list)) return PN_OK;
    json_decref(*list);
    return pn_fail(PN_EINPUT, "%s in its metadata is no list", key);
}

static pn_status read_floats(const pn_safetensors *f, const char *key, double least, int count,
                             float *values) {
    json_t *list;
    PN_TRY(parse_list(f, key, &list));
    bool good = json_array_size(list) == (size_t)count;
    for (int i = 0; good && i < count; i++) {
        const double v = json_number_value(json_array_get(list, (size_t)i));
        good = json_is_number(json_array_get(list, (size_t)i)) && v >= least && v <= 1;
        values[i] = (float)v;
    }
    json_decref(list);
    return good ? PN_OK
                : pn_fail(PN_EINPUT, "%s in its metadata, want %d numbers from %g to 1", key, count,
                          least);
}

static pn_status read_names(const pn_safetensors *f, pn_data *d) {
    json_t *list;
    PN_TRY(parse_list(f, "classes", &list));
    const size_t count = json_array_size(list);
    const char **names = calloc(count + 1, sizeof *names);
    pn_status s = names ? PN_OK : pn_fail(PN_EMEM, "no memory for the names of %zu classes", count);
    if (s == PN_OK && (count < 2 || count > PN_MAX_LABELS))
        s = pn_fail(PN_EINPUT, "%zu classes, want 2 to %d", count, PN_MAX_LABELS);
    for (size_t i = 0; s == PN_OK && i < count; i++) {
        names[i] = json_string_value(json_array_get(list, i));
        if (!names[i]) s = pn_fail(PN_EINPUT, "the name of class %zu is no text", i);
    }
    d->classes = (int)count;
    if (s == PN_OK) s = pn_data_name_classes(d, names, d->classes);
    free((void *)names);
    json_decref(list);
    return s;
}

/* Images and labels; the caller frees what there is. */
static pn_status read_arrays(const pn_safetensors *f, pn_split split, pn_data *d) {
    const pn_array *images = pn_safetensors_find(f, images_of[split]);
    const void *data;
    if (!images || images->dtype != PN_U8 || images->rank != 4)
        return pn_fail(PN_EINPUT, "no array %s of U8 (count,H,W,C)", images_of[split]);
    const int64_t *n = images->shape;
    if (n[0] < 1 || n[0] > INT32_MAX || n[1] < 1 || n[1] > PN_MAX_IMAGE_EDGE || n[2] < 1 ||
        n[2] > PN_MAX_IMAGE_EDGE || (n[3] != 1 && n[3] != 3))
        return pn_fail(PN_EINPUT, "%s is %s, want images of 1 or 3 channels with edges to %d",
                       images_of[split], pn_shape_text(4, n), PN_MAX_IMAGE_EDGE);
    PN_TRY(pn_safetensors_get(f, labels_of[split], PN_U16, 1, n, &data));
    d->count = (int)n[0];
    d->H = (int)n[1];
    d->W = (int)n[2];
    d->C = (int)n[3];
    /* Of another program it may lie at an odd address. */
    d->labels = malloc((size_t)d->count * sizeof *d->labels);
    if (!d->labels) return pn_fail(PN_EMEM, "no memory for %d labels", d->count);
    memcpy(d->labels, data, (size_t)d->count * sizeof *d->labels);
    for (int i = 0; i < d->count; i++)
        if (d->labels[i] >= d->classes)
            return pn_fail(PN_EINPUT, "label %d of image %d, want 0 to %d", d->labels[i], i,
                           d->classes - 1);
    d->images = (uint8_t *)images->data;
    return PN_OK;
}

static pn_status read_set(const pn_safetensors *f, pn_split split, pn_data *d) {
    const char *format = pn_safetensors_meta(f, "format"), *name = pn_safetensors_meta(f, "name"),
               *own = pn_safetensors_meta(f, "own_test");
    if (!format || strcmp(format, FORMAT) != 0)
        return pn_fail(PN_EINPUT, "not a set that 'parsec-nas data pack' has made");
    PN_TRY(read_names(f, d));
    PN_TRY(read_arrays(f, split, d));
    PN_TRY(read_floats(f, "mean", 0, d->C, d->mean));
    PN_TRY(read_floats(f, "std", 1e-4, d->C, d->std));
    d->own_test = own && !strcmp(own, "true");
    if (name) pn_text_visible(name, d->name, sizeof d->name);
    return PN_OK;
}

pn_status pn_pack_read(const char *path, pn_split split, pn_data *d) {
    PN_TRY(pn_safetensors_map(path, &d->mapped));
    pn_status s = read_set(d->mapped, split, d);
    if (s == PN_OK && split == PN_TRAIN) s = pn_data_tell_classes(d);
    return s == PN_OK ? PN_OK : pn_fail_in(s, "%s", path);
}
