/* settings.c -- the table of settings and what is derived from it. */
#include "search/settings.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(pn_settings, member)
#define TEXT(name, member, choices, argument, help)                                       \
    {                                                                                     \
        name, PN_FIELD_TEXT, AT(member), sizeof((pn_settings *)0)->member, 0, 0, choices, \
            argument, help                                                                \
    }
#define INT(name, member, min, max, help) \
    { name, PN_FIELD_INT, AT(member), 0, min, max, NULL, "N", help }
#define REAL(name, member, min, max, help) \
    { name, PN_FIELD_REAL, AT(member), 0, min, max, NULL, "X", help }
#define FLAG(name, member, help) \
    { name, PN_FIELD_FLAG, AT(member), 0, 0, 1, NULL, NULL, help }

const pn_field pn_settings_field[] = {
    TEXT("data", data, NULL, "D",
         "images: fashion-mnist, cifar10, synthetic[:COUNTxHxWxC], or a directory"),
    TEXT("rule", rule, "paper|practical", "RULE",
         "preset of the options marked *: paper (literal) or practical"),
    INT("layers", layers, 1, PN_MAX_LAYERS, "cells of the network [8]"),
    INT("channels", channels, 4, 4096, "channels of the first cells, a multiple of 4 [16]"),
    INT("batch", batch, 1, 1 << 20, "images a batch, of either half [64]"),
    INT("samples", samples, 2, PN_MAX_SAMPLES, "* architectures a step (K)"),
    INT("epochs", epochs, 1, 1e6, "passes over the training half, if --steps is not given [100]"),
    INT("steps", steps, 1, 1e12, "steps of the whole search"),
    INT("warmup", warmup, 0, 1e12, "* first steps that train the weights alone"),
    REAL("temperature", temperature, 1e-6, 1e12,
         "* T of the weights of pi: 1 = sum over the batch, batch size = mean"),
    REAL("temperature-weights", temperature_v, 1e-6, 1e12,
         "T of the weights of the shared weights' gradient [1]"),
    FLAG("baseline", baseline, "* subtract 1/K from the weights of pi (a control variate)"),
    FLAG("distinct-inputs", distinct_inputs, "* the two inputs of a node differ"),
    FLAG("freeze-weights", freeze_weights, "learn pi alone, forward only"),
    REAL("rate-pi", rate_pi, 1e-9, 1e3, "Adam's rate for pi [50 / steps of pi, at most 0.1]"),
    REAL("rate", rate_v, 0, 1e3, "SGD's rate, first of a cosine [0.025]"),
    REAL("rate-end", rate_v_end, 0, 1e3, "SGD's rate, last of the cosine [0.001]"),
    REAL("momentum", momentum, 0, 1, "SGD's momentum [0.9]"),
    REAL("decay", decay, 0, 1e3, "SGD's weight decay [0.0003]"),
    REAL("clip", clip, 0, 1e12, "largest norm of the gradient, 0 = no limit [5]"),
    REAL("skip-below", skip_below, 0, 1, "skip a backward whose relative weight is below [2^-24]"),
    FLAG("augment", augment, "random crops and flips [on]"),
    FLAG("share-slot", share_slot, "separate weights for the two terms of a node [off]"),
    INT("seed", seed, 0, 9007199254740992.0, "of weights, batches and samples [1]"),
    TEXT("prior", prior, NULL, "RUN", "begin from the pi of another run (directory or checkpoint)"),
};
const int pn_settings_fields = sizeof pn_settings_field / sizeof *pn_settings_field;

pn_settings pn_settings_defaults(void) {
    return (pn_settings){.data = "fashion-mnist",
                         .rule = "practical",
                         .layers = 8,
                         .channels = 16,
                         .batch = 64,
                         .samples = PN_UNSET,
                         .epochs = 100,
                         .steps = PN_UNSET,
                         .warmup = PN_UNSET,
                         .seed = 1,
                         .temperature = PN_UNSET_REAL,
                         .temperature_v = 1,
                         .rate_pi = PN_UNSET_REAL,
                         .rate_v = 0.025,
                         .rate_v_end = 0.001,
                         .momentum = 0.9,
                         .decay = 3e-4,
                         .clip = 5,
                         .skip_below = 0x1p-24,
                         .baseline = PN_UNSET,
                         .distinct_inputs = PN_UNSET,
                         .freeze_weights = 0,
                         .augment = 1,
                         .share_slot = 0};
}

/* ---- text
 * ---------------------------------------------------------------------------------------- */

static bool is_choice(const char *choices, const char *text) {
    const size_t n = strlen(text);
    for (const char *c = choices; c; c = strchr(c, '|')) {
        c += *c == '|';
        if (n && !strncmp(c, text, n) && (c[n] == '|' || !c[n])) return true;
    }
    return false;
}

static pn_status set_number(pn_settings *s, const pn_field *f, double x, const char *text) {
    const bool whole = f->kind != PN_FIELD_REAL;
    if (!(x >= f->min && x <= f->max) || (whole && x != floor(x)))
        return pn_fail(PN_EARG, "--%s %s, want %s from %.12g to %.12g", f->name, text,
                       whole ? "a whole number" : "a number", f->min, f->max);
    if (!strcmp(f->name, "channels") && fmod(x, 4) != 0)
        return pn_fail(PN_EARG, "--channels %s, want a multiple of 4", text);
    char *at = (char *)s + f->offset;
    if (whole)
        *(int64_t *)(void *)at = (int64_t)x;
    else
        *(double *)(void *)at = x;
    return PN_OK;
}

pn_status pn_settings_set(pn_settings *s, const pn_field *f, const char *text) {
    if (f->kind == PN_FIELD_TEXT) {
        if (f->choices && !is_choice(f->choices, text))
            return pn_fail(PN_EARG, "--%s %s, want %s", f->name, text, f->choices);
        if (strlen(text) >= f->size)
            return pn_fail(PN_EARG, "--%s of %zu bytes, want at most %zu", f->name, strlen(text),
                           f->size - 1);
        json_t *utf8 = json_string(text);
        if (!utf8) return pn_fail(PN_EARG, "--%s is not UTF-8", f->name);
        json_decref(utf8);
        snprintf((char *)s + f->offset, f->size, "%s", text);
        return PN_OK;
    }
    char *end;
    errno = 0;
    const double x = strtod(text, &end);
    return set_number(s, f, end == text || *end || errno ? NAN : x, text);
}

static bool is_unset(const pn_settings *s, const pn_field *f) {
    const char *at = (const char *)s + f->offset;
    if (f->kind == PN_FIELD_TEXT) return false;
    return f->kind == PN_FIELD_REAL ? *(const double *)(const void *)at == PN_UNSET_REAL
                                    : *(const int64_t *)(const void *)at == PN_UNSET;
}

void pn_settings_text(const pn_settings *s, const pn_field *f, char text[PN_TEXT_BYTES]) {
    const char *at = (const char *)s + f->offset;
    if (is_unset(s, f))
        snprintf(text, PN_TEXT_BYTES, "auto");
    else if (f->kind == PN_FIELD_TEXT)
        snprintf(text, PN_TEXT_BYTES, "%s", at);
    else if (f->kind == PN_FIELD_REAL)
        snprintf(text, PN_TEXT_BYTES, "%.17g", *(const double *)(const void *)at);
    else
        snprintf(text, PN_TEXT_BYTES, "%lld", (long long)*(const int64_t *)(const void *)at);
}

pn_status pn_settings_same(const pn_settings *before, const pn_settings *now, const bool *given) {
    for (int i = 0; i < pn_settings_fields; i++) {
        if (!given[i]) continue;
        char a[PN_TEXT_BYTES], b[PN_TEXT_BYTES];
        pn_settings_text(before, &pn_settings_field[i], a);
        pn_settings_text(now, &pn_settings_field[i], b);
        if (strcmp(a, b))
            return pn_fail(
                PN_EARG,
                "--%s %s, but this run was begun with %s; leave it out or take a new directory",
                pn_settings_field[i].name, b, a);
    }
    return PN_OK;
}

/* ---- what is left open
 * ---------------------------------------------------------------------------- */

static void fill(int64_t *field, int64_t value) {
    if (*field == PN_UNSET) *field = value;
}

pn_status pn_settings_resolve(pn_settings *s, const pn_data *data) {
    const int64_t half = data->count / 2;
    if (s->batch > half)
        return pn_fail(PN_EARG, "--batch %lld, want at most %lld: half of the %d images",
                       (long long)s->batch, (long long)half, data->count);
    fill(&s->steps, s->epochs * (half / s->batch));
    pn_rule rule;
    PN_TRY(pn_rule_read(s->rule, &rule));
    const pn_search_settings preset = rule == PN_RULE_PAPER
                                          ? pn_rule_paper(s->steps)
                                          : pn_rule_practical(s->steps, (int)s->batch);
    fill(&s->samples, preset.samples);
    fill(&s->warmup, s->freeze_weights ? 0 : preset.warmup);
    fill(&s->baseline, preset.baseline);
    fill(&s->distinct_inputs, preset.distinct_inputs);
    if (s->temperature == PN_UNSET_REAL) s->temperature = preset.temperature;
    if (s->warmup > s->steps)
        return pn_fail(PN_EARG, "--warmup %lld, want at most the %lld steps of the search",
                       (long long)s->warmup, (long long)s->steps);
    return PN_OK;
}

pn_search_settings pn_settings_search(const pn_settings *s) {
    pn_search_settings out = pn_rule_paper(s->steps);
    (void)pn_rule_read(s->rule, &out.rule); /* it has been read before */
    out.samples = (int)s->samples;
    out.warmup = s->warmup;
    out.temperature = s->temperature;
    out.temperature_v = s->temperature_v;
    out.baseline = s->baseline;
    out.distinct_inputs = s->distinct_inputs;
    out.freeze_weights = s->freeze_weights;
    out.rate_pi = s->rate_pi == PN_UNSET_REAL ? 0 : s->rate_pi;
    out.rate_v = s->rate_v;
    out.rate_v_end = s->rate_v_end;
    out.seed = (uint64_t)s->seed;
    return out;
}

pn_model_settings pn_settings_model(const pn_settings *s, const pn_data *data, size_t memory) {
    return (pn_model_settings){
        .network = {.layers = (int)s->layers,
                    .channels = (int)s->channels,
                    .H = data->H,
                    .W = data->W,
                    .image_channels = data->C,
                    .classes = data->classes,
                    .share_slot = s->share_slot},
        .N = (int)s->batch,
        .seed = (uint64_t)s->seed,
        .augment = s->augment,
        .memory = memory,
        .temperature = s->temperature_v,
        .skip_below = s->skip_below,
        .momentum = (float)s->momentum,
        .decay = (float)s->decay,
        .clip = (float)s->clip,
    };
}

/* ---- JSON
 * ---------------------------------------------------------------------------------------- */

char *pn_settings_write(const pn_settings *s) {
    json_t *object = json_object();
    for (int i = 0; i < pn_settings_fields; i++) {
        const pn_field *f = &pn_settings_field[i];
        const char *at = (const char *)s + f->offset;
        json_t *value;
        if (is_unset(s, f))
            value = json_null();
        else if (f->kind == PN_FIELD_TEXT)
            value = json_string(at);
        else if (f->kind == PN_FIELD_REAL)
            value = json_real(*(const double *)(const void *)at);
        else if (f->kind == PN_FIELD_FLAG)
            value = json_boolean(*(const int64_t *)(const void *)at);
        else
            value = json_integer(*(const int64_t *)(const void *)at);
        json_object_set_new(object, f->name, value);
    }
    char *text = json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    json_decref(object);
    return text;
}

static pn_status read_field(pn_settings *s, const pn_field *f, const json_t *value) {
    if (json_is_null(value)) return PN_OK;
    if (f->kind == PN_FIELD_TEXT && json_is_string(value)) {
        if (strlen(json_string_value(value)) != json_string_length(value))
            return pn_fail(PN_EARG, "--%s holds a zero byte", f->name);
        return pn_settings_set(s, f, json_string_value(value));
    }
    if (f->kind == PN_FIELD_FLAG && json_is_boolean(value))
        return set_number(s, f, json_is_true(value), json_is_true(value) ? "true" : "false");
    if (f->kind != PN_FIELD_TEXT && f->kind != PN_FIELD_FLAG && json_is_number(value)) {
        char text[32];
        snprintf(text, sizeof text, "%.12g", json_number_value(value));
        return set_number(s, f, json_number_value(value), text);
    }
    return pn_fail(PN_EARG, "--%s has a value of the wrong type", f->name);
}

pn_status pn_settings_read(const char *where, const char *json, size_t length,
                           pn_settings *settings) {
    json_error_t error;
    json_t *root = json_loadb(json, length, JSON_REJECT_DUPLICATES, &error);
    if (!root) return pn_fail(PN_EINPUT, "%s: line %d: %s", where, error.line, error.text);
    const json_t *object = json_object_get(root, "settings");
    pn_settings s = pn_settings_defaults();
    pn_status status = json_is_object(object) ? PN_OK : pn_fail(PN_EARG, "no object \"settings\"");
    for (int i = 0; status == PN_OK && i < pn_settings_fields; i++) {
        const json_t *value = json_object_get(object, pn_settings_field[i].name);
        status = value ? read_field(&s, &pn_settings_field[i], value)
                       : pn_fail(PN_EARG, "no \"%s\" in \"settings\"", pn_settings_field[i].name);
    }
    if (status == PN_OK && json_object_size(object) != (size_t)pn_settings_fields)
        status =
            pn_fail(PN_EARG, "%zu settings, want %d", json_object_size(object), pn_settings_fields);
    json_decref(root);
    if (status != PN_OK) return pn_fail_in(PN_EINPUT, "%s", where);
    *settings = s;
    return PN_OK;
}
