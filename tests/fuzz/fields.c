/* fields.c -- see fields.h. */
#include "tests/fuzz/fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "runtime/text.h"

static char *joined(const char *before, const char *middle, size_t size, const char *after,
                    size_t *length) {
    char *text = malloc(strlen(before) + size + strlen(after) + 1);
    MUST(text != NULL);
    *length = (size_t)sprintf(text, "%s", before);
    memcpy(text + *length, middle, size);
    *length += size;
    *length += (size_t)sprintf(text + *length, "%s", after);
    return text;
}

/* Every number within its bounds, or unset. */
static void check_fields(const pn_fields *fields, const void *settings) {
    for (int i = 0; i < fields->count; i++) {
        const pn_field *f = &fields->list[i];
        const char *at = (const char *)settings + f->offset;
        if (f->kind == PN_FIELD_TEXT) {
            MUST(memchr(at, 0, f->size) != NULL);
            continue;
        }
        if (f->kind == PN_FIELD_SEED) continue; /* any */
        const bool real = f->kind == PN_FIELD_REAL || f->kind == PN_FIELD_TIME;
        const double x =
            real ? *(const double *)(const void *)at : (double)*(const int64_t *)(const void *)at;
        MUST(x == PN_UNSET || (x >= f->min && x <= f->max));
    }
}

static char *write_fields(const pn_fields *fields, const void *settings) {
    char *text;
    MUST(pn_json_text(pn_fields_json(fields, settings), 0, PN_JSON_EXACT | JSON_INDENT(2), &text) ==
         PN_OK);
    return text;
}

/* As search/rundir/record.c reads run.json. */
static pn_status read_fields(const pn_fields *fields, const char *where, const char *json,
                             size_t length, void *settings) {
    json_t *root;
    pn_status s = pn_json_parse(json, length, &root);
    if (s != PN_OK) return pn_fail_in(s, "%s", where);
    s = pn_fields_read(fields, where, json_object_get(root, "settings"), settings);
    json_decref(root);
    return s;
}

pn_status fuzz_fields(const pn_fields *fields, const void *defaults, size_t size, const char *json,
                      size_t length, void *settings) {
    memcpy(settings, defaults, size);
    const pn_status status = read_fields(fields, "run.json", json, length, settings);
    if (status != PN_OK) {
        MUST(!strncmp(pn_error(), "run.json", 8));
        return status;
    }
    fuzz_loaded();
    char again[FUZZ_SETTINGS_BYTES];
    MUST(size <= sizeof again);
    memcpy(again, defaults, size);
    check_fields(fields, settings);
    char *text = write_fields(fields, settings);
    size_t n;
    char *file = joined("{\"settings\":", text, strlen(text), "}", &n);
    MUST(read_fields(fields, "again", file, n, again) == PN_OK);
    char *same = write_fields(fields, again);
    MUST(!strcmp(text, same));
    free(text);
    free(file);
    free(same);
    return PN_OK;
}

char *fuzz_field(const pn_fields *fields, const void *defaults, const uint8_t *data, size_t size,
                 size_t *length) {
    const pn_field *f = &fields->list[data[0] % fields->count];
    char *text = write_fields(fields, defaults), key[64];
    snprintf(key, sizeof key, "\"%s\": ", f->name);
    char *value = strstr(text, key);
    MUST(value != NULL);
    value += strlen(key);
    const char *rest = value + strcspn(value, ",\n");
    char *before = strndup(text, (size_t)(value - text));
    MUST(before != NULL);
    size_t n;
    char *head = joined("{\"settings\":", before, strlen(before), "", &n);
    char *after = joined(rest, "}", 1, "", &n);
    char *file = joined(head, (const char *)data + 1, size - 1, after, length);
    free(text);
    free(before);
    free(head);
    free(after);
    return file;
}

/* What jansson takes is what we think it takes; anything else becomes something that it does. */
static void check_string(const char *text) {
    json_t *as_it_is = json_string(text), *mended = pn_json_string(text);
    MUST(mended != NULL && pn_utf8(json_string_value(mended)));
    MUST(pn_utf8(text) == (as_it_is != NULL));
    MUST(!as_it_is || !strcmp(json_string_value(mended), text));
    json_decref(as_it_is);
    json_decref(mended);
}

void fuzz_option(const pn_fields *fields, const void *defaults, size_t bytes, const uint8_t *data,
                 size_t size) {
    char settings[FUZZ_SETTINGS_BYTES], text[PN_TEXT_BYTES];
    const pn_field *f = &fields->list[data[0] % fields->count];
    char *input = strndup((const char *)data + 1, size - 1);
    MUST(input && bytes <= sizeof settings);
    check_string(input);
    memcpy(settings, defaults, bytes);
    const pn_status status = pn_field_set(settings, f, input);
    MUST(status == PN_OK || status == PN_EARG);
    if (status == PN_OK) {
        check_fields(fields, settings);
        pn_field_text(settings, f, text);
        MUST(!strcmp(text, "auto") || pn_field_set(settings, f, text) == PN_OK);
    }
    bool given[PN_MAX_FIELDS];
    memset(given, true, sizeof given);
    const char *name;
    MUST((pn_fields_same(fields, defaults, settings, given) == PN_OK) ==
         pn_fields_equal(fields, defaults, settings, &name));
    free(input);
}
