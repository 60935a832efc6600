/* fields.c -- see fields.h. */
#include "search/rundir/fields.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runtime/json.h"
#include "runtime/text.h"

/* ---- text ------------------------------------------------------------------------------------ */

/* A whole number of any kind: bool, int or int64_t, as the size says. */
static void put_whole(void *at, size_t size, uint64_t x) {
    const bool flag = x != 0;
    const int number = (int)x;
    const void *from = size == sizeof flag ? (const void *)&flag : (const void *)&x;
    memcpy(at, size == sizeof number ? &number : from, size);
}

static int64_t whole_at(const void *at, size_t size) {
    if (size == sizeof(bool)) return *(const bool *)at;
    return size == sizeof(int) ? *(const int *)at : *(const int64_t *)at;
}

static pn_status set_whole(void *at, const pn_field *f, const char *text) {
    const uint64_t min = (uint64_t)f->min,
                   max = f->kind == PN_FIELD_SEED ? UINT64_MAX : (uint64_t)f->max;
    uint64_t x;
    if (!pn_whole(text, min, max, &x))
        return pn_fail(PN_EARG, "--%s %s, want a whole number from %" PRIu64 " to %" PRIu64,
                       f->name, text, min, max);
    if (f->multiple > 1 && x % (uint64_t)f->multiple)
        return pn_fail(PN_EARG, "--%s %s, want a multiple of %d", f->name, text, f->multiple);
    put_whole(at, f->size, x);
    return PN_OK;
}

/* As a person writes it: 0.000001, not 1e-06. */
static const char *plain(double x, char text[40]) {
    if (x == 0 || fabs(x) >= 1e-4) {
        snprintf(text, 40, "%.15g", x);
    } else {
        snprintf(text, 40, "%.12f", x);
        text[strspn(text, "-0.") + 1] = 0; /* limits have one digit that is not 0 */
    }
    return text;
}

static pn_status set_real(void *at, const pn_field *f, const char *text) {
    char *end, min[40], max[40];
    errno = 0;
    const double x = strtod(text, &end);
    if (end == text || *end || errno || !(x >= f->min && x <= f->max))
        return pn_fail(PN_EARG, "--%s %s, want a number from %s to %s", f->name, text,
                       plain(f->min, min), plain(f->max, max));
    *(double *)at = x;
    return PN_OK;
}

typedef struct unit {
    const char *name;
    double factor;
} unit;

/* A number and one of the units, in small or large letters. */
static bool take_quantity(const char *text, const unit *units, double *value) {
    char *end;
    const double x = strtod(text, &end);
    if (end == text) return false;
    const char *name = end + strspn(end, " ");
    while (units->name && strcasecmp(name, units->name) != 0) units++;
    *value = x * units->factor;
    return units->name;
}

/* Letters alone are powers of 1024, as other programs take them for memory. */
static pn_status set_bytes(void *at, const pn_field *f, const char *text) {
    static const unit units[] = {{"", 1},         {"B", 1},        {"K", 0x1p10},   {"M", 0x1p20},
                                 {"G", 0x1p30},   {"T", 0x1p40},   {"KiB", 0x1p10}, {"MiB", 0x1p20},
                                 {"GiB", 0x1p30}, {"TiB", 0x1p40}, {"KB", 1e3},     {"MB", 1e6},
                                 {"GB", 1e9},     {"TB", 1e12},    {NULL, 0}};
    double x;
    if (!take_quantity(text, units, &x) || !(x >= 1 && x < 0x1p62))
        return pn_fail(PN_EARG, "--%s %s, want a size such as 4GiB, 512MiB or 1000000", f->name,
                       text);
    *(size_t *)at = (size_t)x;
    return PN_OK;
}

static pn_status set_time(void *at, const pn_field *f, const char *text) {
    static const unit units[] = {{"", 1},     {"s", 1},    {"sec", 1},   {"m", 60},
                                 {"min", 60}, {"h", 3600}, {"d", 86400}, {NULL, 0}};
    double x;
    if (!take_quantity(text, units, &x) || !(x >= f->min && x <= f->max))
        return pn_fail(PN_EARG, "--%s %s, want a time from 1s, as 90s, 30m, 1.5h or 2d", f->name,
                       text);
    *(double *)at = x;
    return PN_OK;
}

static pn_status set_image(void *at, const pn_field *f, const char *text) {
    int *image = at, numbers = 0;
    uint64_t n[3] = {0};
    bool more = true;
    for (const char *digit = text; more; digit++) {
        if (numbers == 3 || !pn_take_whole(&digit, 0, UINT64_MAX, &n[numbers++]) ||
            (*digit && *digit != 'x'))
            return pn_fail(PN_EARG, "--%s %s, want EDGE, HxW or HxWxC, as 32 or 28x28x1", f->name,
                           text);
        more = *digit;
    }
    if (numbers < 2) n[1] = n[0];
    if (numbers < 3) n[2] = 3;
    if (n[0] < 1 || n[1] < 1 || n[0] > 4096 || n[1] > 4096 || (n[2] != 1 && n[2] != 3))
        return pn_fail(PN_EARG, "--%s %s, want edges from 1 to 4096, and 1 or 3 channels", f->name,
                       text);
    for (int i = 0; i < 3; i++) image[i] = (int)n[i];
    return PN_OK;
}

/* One of "a|b|c"; else a sentence with "a, b or c". */
static pn_status check_choice(const pn_field *f, const char *text) {
    char list[PN_TEXT_BYTES] = "";
    for (const char *c = f->choices, *end; c; c = *end ? end + 1 : NULL) {
        end = c + strcspn(c, "|");
        const int length = (int)(end - c), used = (int)strlen(list);
        if ((int)strlen(text) == length && !strncmp(c, text, (size_t)length)) return PN_OK;
        snprintf(list + used, sizeof list - (size_t)used, "%s%.*s",
                 !used  ? ""
                 : *end ? ", "
                        : " or ",
                 length, c);
    }
    return pn_fail(PN_EARG, "--%s %s, want %s", f->name, text, list);
}

static pn_status set_text(void *at, const pn_field *f, const char *text) {
    if (f->choices) PN_TRY(check_choice(f, text));
    if (f->kind == PN_FIELD_WORD) {
        *(const char **)at = text;
        return PN_OK;
    }
    if (strlen(text) >= f->size)
        return pn_fail(PN_EARG, "--%s of %zu bytes, want at most %zu", f->name, strlen(text),
                       f->size - 1);
    if (!pn_utf8(text)) return pn_fail(PN_EARG, "--%s is not UTF-8", f->name);
    snprintf(at, f->size, "%s", text);
    return PN_OK;
}

pn_status pn_field_set(void *settings, const pn_field *f, const char *text) {
    void *at = (char *)settings + f->offset;
    switch (f->kind) {
        case PN_FIELD_TEXT:
        case PN_FIELD_WORD:
            return set_text(at, f, text);
        case PN_FIELD_REAL:
            return set_real(at, f, text);
        case PN_FIELD_TIME:
            return set_time(at, f, text);
        case PN_FIELD_BYTES:
            return set_bytes(at, f, text);
        case PN_FIELD_IMAGE:
            return set_image(at, f, text);
        default:
            return set_whole(at, f, text);
    }
}

/* A double. */
static bool is_real(const pn_field *f) {
    return f->kind == PN_FIELD_REAL || f->kind == PN_FIELD_TIME;
}

void pn_fields_defaults(const pn_fields *fields, void *settings) {
    for (int i = 0; i < fields->count; i++) {
        const pn_field *f = &fields->list[i];
        void *at = (char *)settings + f->offset;
        if (f->usual)
            (void)pn_field_set(settings, f, f->usual);
        else if (is_real(f))
            *(double *)at = PN_UNSET_REAL;
        else if ((f->kind == PN_FIELD_INT || f->kind == PN_FIELD_FLAG) &&
                 f->size == sizeof(int64_t))
            *(int64_t *)at = PN_UNSET;
    }
}

static bool is_unset(const void *at, const pn_field *f) {
    if (is_real(f)) return *(const double *)at == PN_UNSET_REAL;
    return f->kind != PN_FIELD_TEXT && f->kind != PN_FIELD_SEED &&
           whole_at(at, f->size) == PN_UNSET;
}

void pn_field_text(const void *settings, const pn_field *f, char text[PN_TEXT_BYTES]) {
    const void *at = (const char *)settings + f->offset;
    if (is_unset(at, f))
        snprintf(text, PN_TEXT_BYTES, "auto");
    else if (f->kind == PN_FIELD_TEXT)
        snprintf(text, PN_TEXT_BYTES, "%s", (const char *)at);
    else if (is_real(f))
        pn_real_text(*(const double *)at, text);
    else if (f->kind == PN_FIELD_SEED)
        snprintf(text, PN_TEXT_BYTES, "%" PRIu64, *(const uint64_t *)at);
    else
        snprintf(text, PN_TEXT_BYTES, "%" PRId64, whole_at(at, f->size));
}

/* The first field (of those given; NULL: of all) that differs, and both texts; NULL: none. */
static const pn_field *difference(const pn_fields *fields, const void *before, const void *now,
                                  const bool *given, char a[PN_TEXT_BYTES], char b[PN_TEXT_BYTES]) {
    for (int i = 0; i < fields->count; i++) {
        if (given && !given[i]) continue;
        pn_field_text(before, &fields->list[i], a);
        pn_field_text(now, &fields->list[i], b);
        if (strcmp(a, b)) return &fields->list[i];
    }
    return NULL;
}

pn_status pn_fields_same(const pn_fields *fields, const void *before, const void *now,
                         const bool *given) {
    char a[PN_TEXT_BYTES], b[PN_TEXT_BYTES];
    const pn_field *f = difference(fields, before, now, given, a, b);
    if (!f) return PN_OK;
    return pn_fail(PN_EARG,
                   "--%s %s, but this run was begun with %s; leave it out or take a new directory",
                   f->name, b, a);
}

bool pn_fields_equal(const pn_fields *fields, const void *a, const void *b, const char **name) {
    char x[PN_TEXT_BYTES], y[PN_TEXT_BYTES];
    const pn_field *f = difference(fields, a, b, NULL, x, y);
    *name = f ? f->name : NULL;
    return !f;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *field_json(const void *settings, const pn_field *f) {
    const void *at = (const char *)settings + f->offset;
    if (is_unset(at, f)) return json_null();
    switch (f->kind) {
        case PN_FIELD_TEXT:
            return json_string(at);
        case PN_FIELD_REAL:
        case PN_FIELD_TIME:
            return json_real(*(const double *)at);
        case PN_FIELD_SEED:
            return pn_json_seed(*(const uint64_t *)at);
        case PN_FIELD_FLAG:
            return json_boolean(whole_at(at, f->size));
        default:
            return json_integer(whole_at(at, f->size));
    }
}

json_t *pn_fields_json(const pn_fields *fields, const void *settings) {
    json_t *object = json_object();
    int failed = 0;
    for (int i = 0; i < fields->count; i++)
        failed |= json_object_set_new(object, fields->list[i].name,
                                      field_json(settings, &fields->list[i]));
    if (!failed) return object;
    json_decref(object);
    return NULL;
}

static pn_status read_field(void *settings, const pn_field *f, const json_t *value) {
    char number[40];
    const char *text = number;
    const bool takes_number = f->kind != PN_FIELD_TEXT && f->kind != PN_FIELD_FLAG;
    if (json_is_null(value)) return PN_OK;
    if (json_is_string(value) && (f->kind == PN_FIELD_TEXT || f->kind == PN_FIELD_SEED)) {
        text = json_string_value(value);
        if (strlen(text) != json_string_length(value))
            return pn_fail(PN_EARG, "--%s holds a zero byte", f->name);
    } else if (json_is_boolean(value) && f->kind == PN_FIELD_FLAG) {
        text = json_is_true(value) ? "1" : "0";
    } else if (json_is_integer(value) && takes_number) {
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value) && is_real(f)) {
        snprintf(number, sizeof number, "%.17g", json_real_value(value));
    } else {
        return pn_fail(PN_EARG, "--%s has a value of the wrong type", f->name);
    }
    return pn_field_set(settings, f, text);
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

pn_status pn_fields_read(const pn_fields *fields, const char *where, json_t *object,
                         void *settings) {
    const pn_status s = read_object(fields, object, settings);
    return s == PN_OK ? s : pn_fail_in(PN_EINPUT, "%s", where);
}
