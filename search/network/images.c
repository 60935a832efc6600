/* images.c -- see images.h. */
#include "search/network/images.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "runtime/text.h"

/* ---- names ----------------------------------------------------------------------------------- */

/* One block: a pointer for each, then the texts, made safe to print. */
static pn_status copy_names(const char *const *from, int count, char ***to) {
    char shown[PN_CLASS_NAME_BYTES];
    size_t bytes = (size_t)count * sizeof **to;
    for (int i = 0; i < count; i++) {
        pn_text_visible(from[i], shown, sizeof shown);
        bytes += strlen(shown) + 1;
    }
    char **names = malloc(bytes);
    if (!names) return pn_fail(PN_EMEM, "no memory for the names of %d classes", count);
    char *at = (char *)(names + count);
    for (int i = 0; i < count; i++) {
        pn_text_visible(from[i], shown, sizeof shown);
        const size_t size = strlen(shown) + 1;
        names[i] = memcpy(at, shown, size);
        at += size;
    }
    *to = names;
    return PN_OK;
}

const char *pn_images_class(const pn_images *images, int i, char number[16]) {
    if (images->names) return images->names[i];
    snprintf(number, 16, "%d", i);
    return number;
}

/* ---- of a data set --------------------------------------------------------------------------- */

pn_status pn_images_of(const pn_data *data, pn_images *images) {
    *images = (pn_images){
        .H = data->H, .W = data->W, .C = data->C, .classes = data->classes, .measured = true};
    memcpy(images->mean, data->mean, sizeof images->mean);
    memcpy(images->std, data->std, sizeof images->std);
    const char *const *names = (const char *const *)data->class_names;
    return names ? copy_names(names, data->classes, &images->names) : PN_OK;
}

void pn_images_free(pn_images *images) {
    free(images->names);
    *images = (pn_images){0};
}

pn_status pn_images_same(const pn_images *n, const pn_data *data) {
    if (data->H != n->H || data->W != n->W || data->C != n->C)
        return pn_fail(PN_EARG, "a network for images of %dx%dx%d, those of %s are %dx%dx%d", n->H,
                       n->W, n->C, data->name, data->H, data->W, data->C);
    if (data->classes != n->classes && !(data->alone && data->classes < n->classes))
        return pn_fail(PN_EARG, "a network that tells %d classes apart, %s has %d", n->classes,
                       data->name, data->classes);
    for (int i = 0; n->names && data->class_names && i < n->classes; i++) {
        char name[PN_CLASS_NAME_BYTES];
        pn_text_visible(data->class_names[i], name, sizeof name);
        if (strcmp(name, n->names[i]))
            return pn_fail(PN_EARG, "a network whose class %d is %s, that of %s is %s", i,
                           n->names[i], data->name, name);
    }
    return PN_OK;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* The number with the fewest digits that is this one as a float: .4914, not 0.49140000343322754. */
static json_t *shortest(float x) {
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x) break;
    }
    return json_real(strtod(text, NULL));
}

json_t *pn_images_json(const pn_images *images) {
    const json_int_t size[] = {images->H, images->W, images->C};
    json_t *root = json_object(), *image = json_array(), *mean = json_array(), *std = json_array(),
           *names = json_array();
    int failed = 0;
    for (int i = 0; i < 3; i++) failed |= json_array_append_new(image, json_integer(size[i]));
    for (int c = 0; c < images->C; c++) {
        failed |= json_array_append_new(mean, shortest(images->mean[c]));
        failed |= json_array_append_new(std, shortest(images->std[c]));
    }
    for (int i = 0; images->names && i < images->classes; i++)
        failed |= json_array_append_new(names, json_string(images->names[i]));
    failed |= json_object_set_new(root, "image", image);
    failed |= json_object_set_new(root, "classes", json_integer(images->classes));
    if (images->measured) {
        failed |= json_object_set(root, "mean", mean);
        failed |= json_object_set(root, "std", std);
    }
    if (images->names) failed |= json_object_set(root, "names", names);
    json_decref(mean);
    json_decref(std);
    json_decref(names);
    if (!failed) return root;
    json_decref(root);
    return NULL;
}

pn_status pn_images_text(const pn_images *images, char **text) {
    return pn_json_text(pn_images_json(images), 0, JSON_REAL_PRECISION(9), text);
}

static bool take_size(const json_t *value, int most, int *to) {
    const json_int_t n = json_integer_value(value);
    *to = (int)n;
    return json_is_integer(value) && n >= 1 && n <= most;
}

/* A number a channel. */
static bool take_channels(const json_t *list, int C, bool positive, float to[]) {
    if (json_array_size(list) != (size_t)C) return false;
    for (int c = 0; c < C; c++) {
        const json_t *value = json_array_get(list, (size_t)c);
        const double x = json_number_value(value);
        if (!json_is_number(value) || !(x >= 0 && x <= 1)) return false;
        to[c] = (float)x;
        if (positive && to[c] <= 0) return false;
    }
    return true;
}

static pn_status read_names(const json_t *list, pn_images *images) {
    const size_t count = json_array_size(list);
    if (count != (size_t)images->classes)
        return pn_fail(PN_EINPUT, "\"names\" are not a list of %d texts", images->classes);
    const char **from = calloc(count, sizeof *from);
    if (!from) return pn_fail(PN_EMEM, "no memory for the names of %zu classes", count);
    pn_status s = PN_OK;
    for (size_t i = 0; s == PN_OK && i < count; i++) {
        from[i] = json_string_value(json_array_get(list, i));
        if (!from[i]) s = pn_fail(PN_EINPUT, "name %zu is not a text", i);
    }
    if (s == PN_OK) s = copy_names(from, images->classes, &images->names);
    free(from);
    return s;
}

pn_status pn_images_read(const json_t *object, pn_images *images) {
    const json_t *image = json_object_get(object, "image"), *mean = json_object_get(object, "mean"),
                 *std = json_object_get(object, "std"), *names = json_object_get(object, "names");
    pn_images found = {.measured = mean || std};
    *images = (pn_images){0};
    if (json_array_size(image) != 3 ||
        !take_size(json_array_get(image, 0), PN_MAX_IMAGE_EDGE, &found.H) ||
        !take_size(json_array_get(image, 1), PN_MAX_IMAGE_EDGE, &found.W) ||
        !take_size(json_array_get(image, 2), PN_MAX_IMAGE_CHANNELS, &found.C) || found.C == 2)
        return pn_fail(PN_EINPUT, "\"image\" is not height, width and 1 or 3 channels");
    if (!take_size(json_object_get(object, "classes"), INT_MAX, &found.classes))
        return pn_fail(PN_EINPUT, "\"classes\" is not a number of classes");
    if (found.measured && (!take_channels(mean, found.C, false, found.mean) ||
                           !take_channels(std, found.C, true, found.std)))
        return pn_fail(PN_EINPUT,
                       "\"mean\" and \"std\" are not a number of 0..1 for each of %d channels",
                       found.C);
    if (names) PN_TRY(read_names(names, &found));
    *images = found;
    return PN_OK;
}
