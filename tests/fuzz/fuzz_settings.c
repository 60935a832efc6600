/* fuzz_settings.c -- any bytes as run.json: refused, or settings that come back from what they are
 * written as. Inputs are also read as the settings inside of a well-formed file, which is where a
 * fuzzer that knows no JSON gets to the fields. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds) {
    if (!holds) abort();
}

static char *joined(const char *before, const char *middle, size_t size, const char *after,
                    size_t *length) {
    char *text = malloc(strlen(before) + size + strlen(after) + 1);
    must(text != NULL);
    *length = (size_t)sprintf(text, "%s", before);
    memcpy(text + *length, middle, size);
    *length += size;
    *length += (size_t)sprintf(text + *length, "%s", after);
    return text;
}

/* Every number within its bounds, or unset. */
static void check_fields(const pn_settings *s) {
    for (int i = 0; i < pn_settings_fields.count; i++) {
        const pn_field *f = &pn_settings_fields.list[i];
        const char *at = (const char *)s + f->offset;
        if (f->kind == PN_FIELD_TEXT) {
            must(memchr(at, 0, f->size) != NULL);
            continue;
        }
        const double x = f->kind == PN_FIELD_REAL ? *(const double *)(const void *)at
                                                  : (double)*(const int64_t *)(const void *)at;
        must(x == PN_UNSET || (x >= f->min && x <= f->max));
    }
}

static void check(const char *json, size_t length) {
    pn_settings settings = pn_settings_defaults(), again = settings;
    const pn_status status =
        pn_fields_read(&pn_settings_fields, "run.json", json, length, &settings);
    if (status != PN_OK) {
        must(status == PN_EINPUT && !strncmp(pn_error(), "run.json", 8));
        return;
    }
    check_fields(&settings);
    char *text = pn_fields_write(&pn_settings_fields, &settings);
    must(text != NULL);
    size_t size;
    char *file = joined("{\"settings\":", text, strlen(text), "}", &size);
    must(pn_fields_read(&pn_settings_fields, "again", file, size, &again) == PN_OK);
    char *same = pn_fields_write(&pn_settings_fields, &again);
    must(same && !strcmp(text, same));
    free(text);
    free(file);
    free(same);
}

/* The defaults as JSON, with the input in place of the value of one field, which its first byte
 * chooses. */
static void check_field(const char *data, size_t size) {
    const pn_settings defaults = pn_settings_defaults();
    const pn_field *f = &pn_settings_fields.list[(uint8_t)data[0] % pn_settings_fields.count];
    char *text = pn_fields_write(&pn_settings_fields, &defaults), key[64];
    must(text != NULL);
    snprintf(key, sizeof key, "\"%s\": ", f->name);
    char *value = strstr(text, key);
    must(value != NULL);
    value += strlen(key);
    const char *rest = value + strcspn(value, ",\n");
    char *before = strndup(text, (size_t)(value - text));
    must(before != NULL);
    size_t start, length;
    char *head = joined("{\"settings\":", before, strlen(before), "", &start);
    char *after = joined(rest, "}", 1, "", &length);
    char *file = joined(head, data + 1, size - 1, after, &length);
    check(file, length);
    free(text);
    free(before);
    free(head);
    free(after);
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check((const char *)data, size);
    if (size > 0) check_field((const char *)data, size);
    return 0;
}
