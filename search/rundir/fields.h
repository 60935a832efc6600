/* fields.h -- settings as a table of named fields: the command line, the help text, run.json and
 * the check that a continued run is the same run all read one table
 * (search/methods/settings.h: a search's; search/train/settings.h: a training's). */
#ifndef PN_FIELDS_H
#define PN_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/api.h"
#include "kernels/status.h"

PN_API_BEGIN

enum { PN_TEXT_BYTES = 1024, PN_MAX_FIELDS = 64 };

/* "Not said": the rule, the data or the other settings decide. */
#define PN_UNSET_REAL (-1.0)
enum { PN_UNSET = -1 };

typedef enum pn_field_kind {
    PN_FIELD_TEXT, /* char[] */
    PN_FIELD_INT,  /* int64_t */
    PN_FIELD_SEED, /* uint64_t, any */
    PN_FIELD_REAL, /* double */
    PN_FIELD_FLAG  /* int64_t: 0, 1 */
} pn_field_kind;

typedef struct pn_field {
    const char *name; /* --name */
    pn_field_kind kind;
    int multiple;         /* of what a whole number must be one; 0 and 1: any */
    size_t offset;        /* in the struct of the settings */
    size_t size;          /* of a text, with its zero */
    double min, max;      /* of a number */
    const char *choices;  /* of a text: "a|b", or NULL */
    const char *argument; /* in the help text; NULL: a flag */
    const char *help;
} pn_field;

/* Rows of a table for members of struct `type`. */
#define PN_TEXT_FIELD(type, name, member, choices, argument, help)                                \
    {                                                                                             \
        name, PN_FIELD_TEXT, 0, offsetof(type, member), sizeof((type *)0)->member, 0, 0, choices, \
            argument, help                                                                        \
    }
#define PN_INT_FIELD(type, name, member, min, max, help) \
    { name, PN_FIELD_INT, 0, offsetof(type, member), 0, min, max, NULL, "N", help }
#define PN_SEED_FIELD(type, name, member, help) \
    { name, PN_FIELD_SEED, 0, offsetof(type, member), 0, 0, 0, NULL, "N", help }
#define PN_REAL_FIELD(type, name, member, min, max, help) \
    { name, PN_FIELD_REAL, 0, offsetof(type, member), 0, min, max, NULL, "X", help }
#define PN_FLAG_FIELD(type, name, member, help) \
    { name, PN_FIELD_FLAG, 0, offsetof(type, member), 0, 0, 1, NULL, NULL, help }

typedef struct pn_fields {
    const pn_field *list;
    int count; /* at most PN_MAX_FIELDS */
} pn_fields;

/* Sets one field from text. PN_EARG names the value and what is accepted. */
pn_status pn_field_set(void *settings, const pn_field *field, const char *text);

/* The value as text, as pn_field_set takes it ("auto" where unset). */
void pn_field_text(const void *settings, const pn_field *field, char text[PN_TEXT_BYTES]);

/* As a JSON object, to be freed; NULL: no memory. And back from the object "settings" of a JSON
 * text, into *settings, which holds the defaults: a setting that is missing keeps its default,
 * since an earlier version, which did not have it, did what the default does. PN_EINPUT for what is
 * unknown (a later version's) or out of range, with `where` at the beginning of the sentence;
 * *settings is then undefined. */
char *pn_fields_write(const pn_fields *fields, const void *settings);
pn_status pn_fields_read(const pn_fields *fields, const char *where, const char *json,
                         size_t length, void *settings);

/* PN_EARG naming the first field that was `given` for `now` and differs from `before`. */
pn_status pn_fields_same(const pn_fields *fields, const void *before, const void *now,
                         const bool *given);

/* Whether all fields are equal; *name: the first that is not. */
bool pn_fields_equal(const pn_fields *fields, const void *a, const void *b, const char **name);

PN_API_END

#endif
