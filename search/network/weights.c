/* weights.c -- see weights.h. */
#include "search/network/weights.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"

enum { NAME_BYTES = 112 };

static bool wanted(const pn_parameters *p, int i, const bool *used, unsigned roles) {
    return (!used || used[i]) && roles >> p->list[i].role & 1;
}

static void shape_of(const pn_parameter *t, pn_array *a) {
    a->rank = t->rank;
    for (int i = 0; i < t->rank; i++) a->shape[i] = t->shape[i];
}

struct pn_owned {
    char *name;
    void *data;
};

static bool grow(pn_tensors *t) {
    const int capacity = t->capacity ? 2 * t->capacity : 256;
    pn_array *list = realloc(t->list, (size_t)capacity * sizeof *list);
    if (list) t->list = list;
    struct pn_owned *owned = realloc(t->owned, (size_t)capacity * sizeof *owned);
    if (owned) t->owned = owned;
    if (!list || !owned) return false;
    t->capacity = capacity;
    return true;
}

/* Takes over name and data, which may be NULL for lack of memory. */
static pn_status append(pn_tensors *t, pn_array array, char *name, void *data) {
    if (!name || !data || (t->count == t->capacity && !grow(t))) {
        free(name);
        free(data);
        return pn_fail(PN_EMEM, "no memory for a copy of %d tensors", t->count + 1);
    }
    array.name = name;
    array.data = data;
    t->owned[t->count] = (struct pn_owned){name, data};
    t->list[t->count++] = array;
    return PN_OK;
}

pn_status pn_tensors_add(pn_tensors *t, const pn_parameters *p, const float *range,
                         const char *prefix, const bool *used, unsigned roles) {
    for (int i = 0; i < p->count; i++) {
        if (!wanted(p, i, used, roles)) continue;
        char name[NAME_BYTES];
        pn_array a = {.dtype = PN_F32};
        shape_of(&p->list[i], &a);
        snprintf(name, sizeof name, "%s%s", prefix, p->list[i].name);
        float *data = malloc(p->list[i].count * sizeof *data);
        if (data) pn_parameters_get(p, range, i, data);
        PN_TRY(append(t, a, strdup(name), data));
    }
    return PN_OK;
}

pn_status pn_tensors_add_array(pn_tensors *t, pn_array array) {
    const size_t bytes = pn_array_bytes(&array);
    void *data = malloc(bytes ? bytes : 1);
    if (data) memcpy(data, array.data, bytes);
    return append(t, array, strdup(array.name), data);
}

void pn_tensors_free(pn_tensors *t) {
    for (int i = 0; i < t->count; i++) {
        free(t->owned[i].name);
        free(t->owned[i].data);
    }
    free(t->owned);
    free(t->list);
    *t = (pn_tensors){0};
}

pn_status pn_weights_get(const pn_safetensors *file, const pn_parameters *p, float *range,
                         const char *prefix, const bool *used, unsigned roles) {
    for (int i = 0; i < p->count; i++) {
        if (!wanted(p, i, used, roles)) continue;
        char name[NAME_BYTES];
        pn_array a = {0};
        const void *data;
        shape_of(&p->list[i], &a);
        snprintf(name, sizeof name, "%s%s", prefix, p->list[i].name);
        PN_TRY(pn_safetensors_get(file, name, PN_F32, a.rank, a.shape, &data));
        pn_parameters_set(p, range, i, data);
    }
    return PN_OK;
}

static const char momentum_prefix[] = "momentum.";

pn_status pn_tensors_add_state(pn_tensors *t, const pn_parameters *p) {
    PN_TRY(pn_tensors_add(t, p, p->value, "", NULL, PN_ALL_ROLES));
    return pn_tensors_add(t, p, p->momentum, momentum_prefix, NULL, PN_ALL_ROLES);
}

pn_status pn_weights_get_state(const pn_safetensors *file, const pn_parameters *p) {
    PN_TRY(pn_weights_get(file, p, p->value, "", NULL, PN_ALL_ROLES));
    return pn_weights_get(file, p, p->momentum, momentum_prefix, NULL, PN_ALL_ROLES);
}

/* ---- weights that travel --------------------------------------------------------------------- */

static const char weights_format[] = "parsec-nas weights 1";
static const char mean_name[] = "running_mean", tracked_name[] = "num_batches_tracked";
static const char auxiliary_prefix[] = "auxiliary_head.";

static bool ends_with(const char *name, const char *end) {
    const size_t n = strlen(name), m = strlen(end);
    return n >= m && !strcmp(name + n - m, end);
}

static bool is_auxiliary(const char *name) {
    return !strncmp(name, auxiliary_prefix, strlen(auxiliary_prefix));
}

/* PyTorch counts the batches that a BatchNorm has seen, in a tensor of its own beside the
 * others. */
static pn_status add_tracked(pn_tensors *t, int64_t batches) {
    for (int i = 0, count = t->count; i < count; i++) {
        char name[NAME_BYTES];
        if (!ends_with(t->list[i].name, mean_name)) continue;
        snprintf(name, sizeof name, "%.*s%s", (int)(strlen(t->list[i].name) - strlen(mean_name)),
                 t->list[i].name, tracked_name);
        PN_TRY(pn_tensors_add_array(
            t, (pn_array){.name = name, .dtype = PN_I64, .rank = 0, .data = &batches}));
    }
    return PN_OK;
}

static char *describe(const pn_network_spec *s, bool auxiliary) {
    json_t *object = json_pack("{s:s,s:s,s:i,s:i,s:[iii],s:i,s:b}", "network", "eval", "stem",
                               s->imagenet_stem ? "imagenet" : "cifar", "layers", s->layers,
                               "channels", s->channels, "image", s->H, s->W, s->image_channels,
                               "classes", s->classes, "auxiliary", auxiliary);
    const int failed = s->pool_norm && json_object_set_new(object, "pool_norm", json_true());
    char *text;
    return pn_json_text(object, failed, 0, &text) == PN_OK ? text : NULL;
}

pn_status pn_weights_save(const pn_place *place, const char *name, const pn_network *n,
                          const pn_arch *arch, const pn_images *images, int64_t batches,
                          bool auxiliary) {
    const pn_parameters *p = &n->parameters;
    char genotype[PN_GENOTYPE_BYTES];
    bool used[p->count];
    pn_tensors t = {0};
    auxiliary = auxiliary && n->spec.auxiliary;
    for (int i = 0; i < p->count; i++) used[i] = auxiliary || !is_auxiliary(p->list[i].name);
    pn_genotype_write(arch, genotype);
    char *network = describe(&n->spec, auxiliary), *of_images = NULL;
    pn_status s = network ? pn_tensors_add(&t, p, p->value, "", used, PN_ALL_ROLES)
                          : pn_fail(PN_EMEM, "no memory for metadata");
    if (s == PN_OK) s = add_tracked(&t, batches);
    if (s == PN_OK && images) s = pn_images_text(images, &of_images);
    const pn_meta meta[] = {{"format", weights_format},
                            {"genotype", genotype},
                            {"network", network},
                            {"images", of_images}};
    const int metas = sizeof meta / sizeof *meta;
    if (s == PN_OK)
        s = pn_safetensors_write_in(place, name, t.list, t.count, meta, images ? metas : metas - 1);
    free(network);
    free(of_images);
    pn_tensors_free(&t);
    return s;
}

/* (jansson's own unpacking allocates, and says the same for lack of memory as for a wrong type.) */
static bool take_int(const json_t *value, int *to) {
    const json_int_t n = json_integer_value(value);
    *to = (int)n;
    return json_is_integer(value) && n >= 0 && n <= INT_MAX;
}

/* What the images are, if the file says so; their size is the network's in any case. */
static pn_status describe_images(const char *text, const pn_network_spec *spec, pn_images *images) {
    json_t *object = NULL;
    *images = (pn_images){
        .H = spec->H, .W = spec->W, .C = spec->image_channels, .classes = spec->classes};
    if (!text) return PN_OK; /* version 0.2 and before */
    pn_images found;
    pn_status s = pn_json_parse(text, strlen(text), &object);
    if (s == PN_OK) s = pn_images_read(object, &found);
    json_decref(object);
    if (s != PN_OK) return pn_fail_in(s, "metadata \"images\"");
    if (found.H == images->H && found.W == images->W && found.C == images->C &&
        found.classes == images->classes) {
        *images = found;
        return PN_OK;
    }
    pn_images_free(&found);
    return pn_fail(PN_EINPUT, "metadata \"images\" are not of the images of its \"network\"");
}

pn_status pn_weights_describe(const pn_safetensors *file, pn_weights_about *about) {
    const char *format = pn_safetensors_meta(file, "format"),
               *genotype = pn_safetensors_meta(file, "genotype"),
               *network = pn_safetensors_meta(file, "network");
    *about = (pn_weights_about){0};
    if (!format || strcmp(format, weights_format)) return PN_OK; /* made elsewhere */
    json_t *object = NULL;
    if (network && pn_json_parse(network, strlen(network), &object) == PN_EMEM) return PN_EMEM;
    pn_network_spec *s = &about->spec;
    const json_t *image = json_object_get(object, "image");
    const char *kind = json_string_value(json_object_get(object, "network")),
               *stem = json_string_value(json_object_get(object, "stem"));
    const bool known_stem = stem && (!strcmp(stem, "cifar") || !strcmp(stem, "imagenet"));
    *s = (pn_network_spec){.evaluation = true,
                           .imagenet_stem = known_stem && !strcmp(stem, "imagenet"),
                           .pool_norm = json_is_true(json_object_get(object, "pool_norm")),
                           .auxiliary = json_is_true(json_object_get(object, "auxiliary"))};
    const bool right = genotype && kind && !strcmp(kind, "eval") && known_stem &&
                       take_int(json_object_get(object, "layers"), &s->layers) &&
                       take_int(json_object_get(object, "channels"), &s->channels) &&
                       take_int(json_object_get(object, "classes"), &s->classes) &&
                       take_int(json_array_get(image, 0), &s->H) &&
                       take_int(json_array_get(image, 1), &s->W) &&
                       take_int(json_array_get(image, 2), &s->image_channels);
    json_decref(object);
    pn_arch arch;
    if (!right || pn_genotype_read(genotype, strlen(genotype), &arch) != PN_OK)
        return pn_fail(PN_EINPUT,
                       "metadata \"network\" or \"genotype\" are not those of a network");
    PN_TRY(describe_images(pn_safetensors_meta(file, "images"), s, &about->images));
    pn_genotype_write(&arch, about->genotype);
    about->known = true;
    return PN_OK;
}

void pn_weights_about_free(pn_weights_about *about) {
    pn_images_free(&about->images);
    *about = (pn_weights_about){0};
}

/* Of a tensor `cells.I._ops.P.op.1.weight`, whether term P of cell I is a pool. */
static bool is_pool_scale(const char *name, const pn_arch *arch, int layers) {
    int layer, place, length = 0;
    if (sscanf(name, "cells.%2d._ops.%2d.op.1.weight%n", &layer, &place, &length) != 2 || !length ||
        name[length] || layer < 0 || layer >= layers)
        return false;
    const pn_cell *cell = &arch->cell[pn_kind_at(layer, layers)];
    for (int node = 0; node < PN_MAX_NODES; node++)
        for (int slot = 0; slot < pn_slots(cell, node); slot++)
            if (pn_slot_place(cell, node, slot) == place)
                return pn_is_pool((pn_op)cell->term[node][slot].op);
    return false;
}

bool pn_weights_pool_norm(const pn_safetensors *file, const pn_arch *arch, int layers) {
    for (int i = 0; i < pn_safetensors_count(file); i++)
        if (is_pool_scale(pn_safetensors_at(file, i)->name, arch, layers)) return true;
    return false;
}

pn_status pn_weights_backed(const pn_safetensors *file, const pn_network *n) {
    const pn_parameters *p = &n->parameters;
    for (int i = 0; i < p->count; i++) {
        pn_array a = {0};
        const void *data;
        shape_of(&p->list[i], &a);
        PN_TRY(pn_safetensors_get(file, p->list[i].name, PN_F32, a.rank, a.shape, &data));
    }
    return PN_OK;
}

pn_status pn_weights_load(const pn_safetensors *file, const pn_network *n) {
    const pn_parameters *p = &n->parameters;
    PN_TRY(pn_weights_get(file, p, p->value, "", NULL, PN_ALL_ROLES));
    for (int i = 0; i < pn_safetensors_count(file); i++) {
        const char *name = pn_safetensors_at(file, i)->name;
        if (pn_parameters_find(p, name) < 0 && !is_auxiliary(name) &&
            !ends_with(name, tracked_name))
            return pn_fail(PN_EINPUT,
                           "%s: no tensor of this network; another genotype, or another number of "
                           "layers?",
                           name);
    }
    return PN_OK;
}
