/* fields.c -- see fields.h. */
#include "search/fields.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"

/* ---- text ------------------------------------------------------------------------------------ */

static bool is_choice(const char *choices, const char *text) {
    const size_t n = strlen(text);
    for (const char *c = choices; c; c = strchr(c, '|')) {
        c += *c == '|';
        if (n && !strncmp(c, text, n) && (c[n] == '|' || !c[n])) return true;
    }
    return false;
}

static pn_status set_number(void *settings, const pn_field *f, double x, const char *text) {
    const bool whole = f->kind != PN_FIELD_REAL;
    if (!(x >= f->min && x <= f->max) || (whole && x != floor(x)))
        return pn_fail(PN_EARG, "--%s %s, want %s from %.12g to %.12g", f->name, text,
                       whole ? "a whole number" : "a number", f->min, f->max);
    if (f->multiple > 1 && fmod(x, f->multiple) != 0)
        return pn_fail(PN_EARG, "--%s %s, want a multiple of %d", f->name, text, f->multiple);
    char *at = (char *)settings + f->offset;
    if (whole)
        *(int64_t *)(void *)at = (int64_t)x;
    else
        *(double *)(void *)at = x;
    return PN_OK;
}

pn_status pn_field_set(void *settings, const pn_field *f, const char *text) {
    if (f->kind == PN_FIELD_TEXT) {
        if (f->choices && !is_choice(f->choices, text))
            return pn_fail(PN_EARG, "--%s %s, want %s", f->name, text, f->choices);
        if (strlen(text) >= f->size)
            return pn_fail(PN_EARG, "--%s of %zu bytes, want at most %zu", f->name, strlen(text),
                           f->size - 1);
        if (!pn_json_utf8(text)) return pn_fail(PN_EARG, "--%s is not UTF-8", f->name);
        snprintf((char *)settings + f->offset, f->size, "%s", text);
        return PN_OK;
    }
    char *end;
    errno = 0;
    const double x = strtod(text, &end);
    return set_number(settings, f, end == text || *end || errno ? NAN : x, text);
}

static bool is_unset(const void *settings, const pn_field *f) {
    const char *at = (const char *)settings + f->offset;
    if (f->kind == PN_FIELD_TEXT) return false;
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

char *pn_fields_write(const pn_fields *fields, const void *settings) {
    json_t *object = json_object();
    int failed = 0;
    for (int i = 0; i < fields->count; i++) {
        const pn_field *f = &fields->list[i];
        const char *at = (const char *)settings + f->offset;
        json_t *value;
        if (is_unset(settings, f))
            value = json_null();
        else if (f->kind == PN_FIELD_TEXT)
            value = json_string(at);
        else if (f->kind == PN_FIELD_REAL)
            value = json_real(*(const double *)(const void *)at);
        else if (f->kind == PN_FIELD_FLAG)
            value = json_boolean(*(const int64_t *)(const void *)at);
        else
            value = json_integer(*(const int64_t *)(const void *)at);
        failed |= json_object_set_new(object, f->name, value);
    }
    char *text;
    return pn_json_text(object, failed, JSON_INDENT(2) | JSON_REAL_PRECISION(17), &text) == PN_OK
               ? text
               : NULL;
}

static pn_status read_field(void *settings, const pn_field *f, const json_t *value) {
    if (json_is_null(value)) return PN_OK;
    if (f->kind == PN_FIELD_TEXT && json_is_string(value)) {
        if (strlen(json_string_value(value)) != json_string_length(value))
            return pn_fail(PN_EARG, "--%s holds a zero byte", f->name);
        return pn_field_set(settings, f, json_string_value(value));
    }
    if (f->kind == PN_FIELD_FLAG && json_is_boolean(value))
        return set_number(settings, f, json_is_true(value), json_is_true(value) ? "true" : "false");
    if (f->kind != PN_FIELD_TEXT && f->kind != PN_FIELD_FLAG && json_is_number(value)) {
        char text[32];
        snprintf(text, sizeof text, "%.12g", json_number_value(value));
        return set_number(settings, f, json_number_value(value), text);
    }
    return pn_fail(PN_EARG, "--%s has a value of the wrong type", f->name);
}

pn_status pn_fields_read(const pn_fields *fields, const char *where, const char *json,
                         size_t length, void *settings) {
    json_t *root;
    const pn_status parsed = pn_json_parse(json, length, &root);
    if (parsed != PN_OK) return pn_fail_in(parsed, "%s", where);
    const json_t *object = json_object_get(root, "settings");
    pn_status status = json_is_object(object) ? PN_OK : pn_fail(PN_EARG, "no object \"settings\"");
    for (int i = 0; status == PN_OK && i < fields->count; i++) {
        const json_t *value = json_object_get(object, fields->list[i].name);
        status = value ? read_field(settings, &fields->list[i], value)
                       : pn_fail(PN_EARG, "no \"%s\" in \"settings\"", fields->list[i].name);
    }
    if (status == PN_OK && json_object_size(object) != (size_t)fields->count)
        status = pn_fail(PN_EARG, "%zu settings, want %d", json_object_size(object), fields->count);
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
