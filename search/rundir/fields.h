/* fields.h -- settings and options as tables of named fields: the command line, the help text, the
 * man page, run.json and the check that a continued run is the same run all read one table
 * (search/methods/settings.h: a search's; search/train/settings.h: a training's; tools/options.h:
 * the options of a command). */
#ifndef PN_FIELDS_H
#define PN_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/api.h"
#include "kernels/status.h"

PN_API_BEGIN

struct json_t; /* jansson's */

enum { PN_TEXT_BYTES = 1024, PN_MAX_FIELDS = 64 };

/* "Not said": the rule, the data or the other settings decide. */
#define PN_UNSET_REAL (-1.0)
enum { PN_UNSET = -1 };

typedef enum pn_field_kind {
    PN_FIELD_TEXT,  /* char[]: a copy */
    PN_FIELD_WORD,  /* const char *: the text itself */
    PN_FIELD_INT,   /* int or int64_t: a whole number */
    PN_FIELD_SEED,  /* uint64_t, any */
    PN_FIELD_REAL,  /* double */
    PN_FIELD_FLAG,  /* bool or int64_t: 0, 1 */
    PN_FIELD_TIME,  /* double, in seconds: 30m, 1.5h, 90 */
    PN_FIELD_BYTES, /* size_t: 4GiB, 4G, 512MiB, 100000 */
    PN_FIELD_IMAGE  /* int[3]: EDGE, HxW or HxWxC */
} pn_field_kind;

typedef struct pn_field {
    const char *name; /* --name */
    const char *also; /* other names that it is called by, "lr|learning-rate"; one letter: -q */
    pn_field_kind kind;
    int multiple;         /* of what a whole number must be one; 0 and 1: any */
    size_t offset, size;  /* in the struct of the settings */
    double min, max;      /* of a number */
    const char *choices;  /* of a text: "a|b", or NULL: any */
    const char *examples; /* likewise, of one that may be something else */
    bool path;            /* of a text: it may name a file or directory */
    const char *usual;    /* the default as text; NULL: unset (double, int64_t), else nothing */
    const char *argument; /* in the help text; NULL: a flag */
    const char *help;     /* NULL: no option. The default is added, unless it ends in one: [x] */
} pn_field;

/* Rows of a table for members of PN_OF, a struct that the file with the table names; what comes
 * behind the help text are more members of the row. */
#define PN_ROW(row_kind, row_name, member, row_argument, row_usual, row_help, ...)          \
    {                                                                                       \
        .name = row_name, .kind = row_kind, .offset = offsetof(PN_OF, member),              \
        .size = sizeof(((PN_OF *)0)->member), .argument = row_argument, .usual = row_usual, \
        .help = row_help, __VA_ARGS__                                                       \
    }
#define PN_TEXT_KIND(member) \
    _Generic(((PN_OF *)0)->member, const char * : PN_FIELD_WORD, char * : PN_FIELD_TEXT)
#define PN_TEXT(name, member, of, argument, usual, help, ...) \
    PN_ROW(PN_TEXT_KIND(member), name, member, argument, usual, help, .choices = of, __VA_ARGS__)
#define PN_PATH(name, member, such_as, argument, usual, help, ...)                         \
    PN_ROW(PN_TEXT_KIND(member), name, member, argument, usual, help, .examples = such_as, \
           .path = true, __VA_ARGS__)
#define PN_INT(name, member, least, most, usual, help, ...) \
    PN_ROW(PN_FIELD_INT, name, member, "N", usual, help, .min = least, .max = most, __VA_ARGS__)
#define PN_SEED(name, member, help) PN_ROW(PN_FIELD_SEED, name, member, "N", "1", help)
#define PN_REAL(name, member, least, most, argument, usual, help, ...)                    \
    PN_ROW(PN_FIELD_REAL, name, member, argument, usual, help, .min = least, .max = most, \
           __VA_ARGS__)
#define PN_FLAG(name, member, usual, help, ...) \
    PN_ROW(PN_FIELD_FLAG, name, member, NULL, usual, help, .max = 1, __VA_ARGS__)
#define PN_TIME(name, member, help) \
    PN_ROW(PN_FIELD_TIME, name, member, "TIME", NULL, help, .min = 1, .max = 1e9)
#define PN_BYTES(name, member, help) PN_ROW(PN_FIELD_BYTES, name, member, "SIZE", NULL, help)
#define PN_IMAGE(name, member, usual, help) \
    PN_ROW(PN_FIELD_IMAGE, name, member, "HxWxC", usual, help)

typedef struct pn_fields {
    const pn_field *list;
    int count; /* at most PN_MAX_FIELDS */
} pn_fields;
#define PN_FIELDS(rows) \
    { rows, sizeof(rows) / sizeof *(rows) }

/* Every field as its row says, where nobody has said anything. */
void pn_fields_defaults(const pn_fields *fields, void *settings);

/* Sets one field from text. PN_EARG names the value and what is accepted. */
pn_status pn_field_set(void *settings, const pn_field *field, const char *text);

/* The value of a setting (no word, no bytes, no image) as text, as pn_field_set takes it ("auto"
 * where unset). */
void pn_field_text(const void *settings, const pn_field *field, char text[PN_TEXT_BYTES]);

/* As a JSON object; NULL: no memory. And back from one (NULL: there is none) into *settings, which
 * holds the defaults: a setting that is missing keeps its default, since an earlier version, which
 * did not have it, did what the default does. PN_EINPUT for what is unknown (a later version's) or
 * out of range, with `where` at the beginning of the sentence; *settings is then undefined. */
struct json_t *pn_fields_json(const pn_fields *fields, const void *settings);
pn_status pn_fields_read(const pn_fields *fields, const char *where, struct json_t *object,
                         void *settings);

/* PN_EARG naming the first field that was `given` for `now` and differs from `before`. */
pn_status pn_fields_same(const pn_fields *fields, const void *before, const void *now,
                         const bool *given);

/* Whether all fields are equal; *name: the first that is not. */
bool pn_fields_equal(const pn_fields *fields, const void *a, const void *b, const char **name);

PN_API_END

#endif
