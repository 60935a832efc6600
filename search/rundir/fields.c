/* fields.c -- see fields.h. */
#include "search/rundir/fields.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "runtime/text.h"

/* ---- text ------------------------------------------------------------------------------------ */

static bool is_choice(const char *choices, const char *text) {
    const size_t n = strlen(text);
    for (const char *c = choices; c; c = strchr(c, '|')) {
        c += *c == '|';
        if (n && !strncmp(c, text, n) && (c[n] == '|' || !c[n])) return true;
    }
    return false;
}

static int64_t *int_at(void *settings, const pn_field *f) {
    return (int64_t *)(void *)((char *)settings + f->offset);
}
static double *real_at(void *settings, const pn_field *f) {
    return (double *)(void *)((char *)settings + f->offset);
}
static uint64_t seed_of(const void *settings, const pn_field *f) {
    return *(const uint64_t *)(const void *)((const char *)settings + f->offset);
}

/* Flags, too. Their bounds are whole numbers from 0. */
static pn_status set_whole(void *settings, const pn_field *f, const char *text) {
    uint64_t x;
    if (!pn_whole(text, (uint64_t)f->min, (uint64_t)f->max, &x))
        return pn_fail(PN_EARG, "--%s %s, want a whole number from %.0f to %.0f", f->name, text,
                       f->min, f->max);
    if (f->multiple > 1 && x % (uint64_t)f->multiple)
        return pn_fail(PN_EARG, "--%s %s, want a multiple of %d", f->name, text, f->multiple);
    *int_at(settings, f) = (int64_t)x;
    return PN_OK;
}

static pn_status set_seed(void *settings, const pn_field *f, const char *text) {
    uint64_t x;
    if (!pn_whole(text, 0, UINT64_MAX, &x))
        return pn_fail(PN_EARG, "--%s %s, want a whole number from 0 to %" PRIu64, f->name, text,
                       UINT64_MAX);
    memcpy((char *)settings + f->offset, &x, sizeof x);
    return PN_OK;
}

static pn_status set_real(void *settings, const pn_field *f, const char *text) {
    char *end;
    errno = 0;
    const double x = strtod(text, &end);
    if (end == text || *end || errno || !(x >= f->min && x <= f->max))
        return pn_fail(PN_EARG, "--%s %s, want a number from %.12g to %.12g", f->name, text, f->min,
                       f->max);
    *real_at(settings, f) = x;
    return PN_OK;
}

static pn_status set_text(void *settings, const pn_field *f, const char *text) {
    if (f->choices && !is_choice(f->choices, text))
        return pn_fail(PN_EARG, "--%s %s, want %s", f->name, text, f->choices);
    if (strlen(text) >= f->size)
        return pn_fail(PN_EARG, "--%s of %zu bytes, want at most %zu", f->name, strlen(text),
                       f->size - 1);
    if (!pn_utf8(text)) return pn_fail(PN_EARG, "--%s is not UTF-8", f->name);
    snprintf((char *)settings + f->offset, f->size, "%s", text);
    return PN_OK;
}

pn_status pn_field_set(void *settings, const pn_field *f, const char *text) {
    switch (f->kind) {
        case PN_FIELD_TEXT:
            return set_text(settings, f, text);
        case PN_FIELD_REAL:
            return set_real(settings, f, text);
        case PN_FIELD_SEED:
            return set_seed(settings, f, text);
        default:
            return set_whole(settings, f, text);
    }
}

static bool is_unset(const void *settings, const pn_field *f) {
    const char *at = (const char *)settings + f->offset;
    if (f->kind == PN_FIELD_TEXT || f->kind == PN_FIELD_SEED) return false;
    return f->kind == PN_FIELD_REAL ? *(const double *)(const void *)at == PN_UNSET_REAL
                                    : *(const int64_t *)(const void *)at == PN_UNSET;
}

void pn_field_text(const void *settings, const pn_field *f, char text[PN_TEXT_BYTES]) {
    const char *at = (const char *)settings + f->offset;
    if (is_unset(settings, f))
        snprintf(text, PN_TEXT_BYTES, "auto");
    else if (f->kind == PN_FIELD_TEXT)
        snprintf(text, PN_TEXT_BYTES, "%s", at);
    else if (f->kind == PN_FIELD_REAL)
        snprintf(text, PN_TEXT_BYTES, "%.17g", *(const double *)(const void *)at);
    else if (f->kind == PN_FIELD_SEED)
        snprintf(text, PN_TEXT_BYTES, "%" PRIu64, seed_of(settings, f));
    else
        snprintf(text, PN_TEXT_BYTES, "%lld", (long long)*(const int64_t *)(const void *)at);
}

pn_status pn_fields_same(const pn_fields *fields, const void *before, const void *now,
                         const bool *given) {
    for (int i = 0; i < fields->count; i++) {
        if (!given[i]) continue;
        char a[PN_TEXT_BYTES], b[PN_TEXT_BYTES];
        pn_field_text(before, &fields->list[i], a);
        pn_field_text(now, &fields->list[i], b);
        if (strcmp(a, b))
            return pn_fail(
                PN_EARG,
                "--%s %s, but this run was begun with %s; leave it out or take a new directory",
                fields->list[i].name, b, a);
    }
    return PN_OK;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *field_json(const void *settings, const pn_field *f) {
    const char *at = (const char *)settings + f->offset;
    if (is_unset(settings, f)) return json_null();
    switch (f->kind) {
        case PN_FIELD_TEXT:
            return json_string(at);
        case PN_FIELD_REAL:
            return json_real(*(const double *)(const void *)at);
        case PN_FIELD_SEED:
            return pn_json_seed(seed_of(settings, f));
        case PN_FIELD_FLAG:
            return json_boolean(*(const int64_t *)(const void *)at);
        default:
            return json_integer(*(const int64_t *)(const void *)at);
    }
}

char *pn_fields_write(const pn_fields *fields, const void *settings) {
    json_t *object = json_object();
    int failed = 0;
    char *text;
    for (int i = 0; i < fields->count; i++)
        failed |= json_object_set_new(object, fields->list[i].name,
                                      field_json(settings, &fields->list[i]));
    return pn_json_text(object, failed, JSON_INDENT(2) | JSON_REAL_PRECISION(17), &text) == PN_OK
               ? text
               : NULL;
}

static pn_status read_field(void *settings, const pn_field *f, const json_t *value) {
    char text[40];
    const bool number = f->kind != PN_FIELD_TEXT && f->kind != PN_FIELD_FLAG;
    if (json_is_null(value)) return PN_OK;
    if (json_is_string(value) && (f->kind == PN_FIELD_TEXT || f->kind == PN_FIELD_SEED)) {
        if (strlen(json_string_value(value)) != json_string_length(value))
            return pn_fail(PN_EARG, "--%s holds a zero byte", f->name);
        return pn_field_set(settings, f, json_string_value(value));
    }
    if (json_is_boolean(value) && f->kind == PN_FIELD_FLAG)
        return pn_field_set(settings, f, json_is_true(value) ? "1" : "0");
    if (json_is_integer(value) && number) {
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return pn_field_set(settings, f, text);
    }
    if (json_is_real(value) && f->kind == PN_FIELD_REAL) {
        snprintf(text, sizeof text, "%.17g", json_real_value(value));
        return pn_field_set(settings, f, text);
    }
    return pn_fail(PN_EARG, "--%s has a value of the wrong type", f->name);
}

static bool is_known(const pn_fields *fields, const char *name) {
    for (int i = 0; i < fields->count; i++)
        if (!strcmp(fields->list[i].name, name)) return true;
    return false;
}

static pn_status read_object(const pn_fields *fields, json_t *object, void *settings) {
    const char *name;
    json_t *value;
    if (!json_is_object(object)) return pn_fail(PN_EARG, "no object \"settings\"");
    json_object_foreach(object, name, value) {
        if (!is_known(fields, name))
            return pn_fail(PN_EARG,
                           "a setting --%.40s, which this version does not know: a later one "
                           "wrote this",
                           name);
    }
    for (int i = 0; i < fields->count; i++) {
        value = json_object_get(object, fields->list[i].name);
        if (value) PN_TRY(read_field(settings, &fields->list[i], value));
    }
    return PN_OK;
}

pn_status pn_fields_read(const pn_fields *fields, const char *where, const char *json,
                         size_t length, void *settings) {
    json_t *root;
    pn_status status = pn_json_parse(json, length, &root);
    if (status != PN_OK) return pn_fail_in(status, "%s", where);
    status = read_object(fields, json_object_get(root, "settings"), settings);
    json_decref(root);
    return status == PN_OK ? PN_OK : pn_fail_in(PN_EINPUT, "%s", where);
}

bool pn_fields_equal(const pn_fields *fields, const void *a, const void *b, const char **name) {
    for (int i = 0; i < fields->count; i++) {
        char x[PN_TEXT_BYTES], y[PN_TEXT_BYTES];
        pn_field_text(a, &fields->list[i], x);
        pn_field_text(b, &fields->list[i], y);
        *name = fields->list[i].name;
        if (strcmp(x, y)) return false;
    }
    return true;
}
