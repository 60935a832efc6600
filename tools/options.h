/* options.h -- the command line: options from a table, one sentence for what cannot be. */
#ifndef PN_OPTIONS_H
#define PN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "kernels/status.h"
#include "search/rundir/fields.h"

typedef enum pn_option_kind {
    PN_OPT_FLAG,  /* bool: --name, --no-name */
    PN_OPT_INT,   /* int: a whole number in [min, max] */
    PN_OPT_SEED,  /* uint64_t: any */
    PN_OPT_REAL,  /* double in [min, max] */
    PN_OPT_TEXT,  /* const char *, into argv */
    PN_OPT_BYTES, /* size_t: 4GiB, 512MiB, 100000 */
    PN_OPT_IMAGE, /* int[3]: EDGE, HxW or HxWxC */
    PN_OPT_CUSTOM /* handled by set() */
} pn_option_kind;

typedef struct pn_option {
    const char *name;
    pn_option_kind kind;
    void *value;
    double min, max;
    const char *argument, *help; /* help NULL: not listed */
    pn_status (*set)(void *value, const char *text);
} pn_option;

/* Reads argv[1..argc). At most `most` words that are no options go to words[], their number to
 * *count. PN_EARG: an unknown option (with the nearest known one), a missing or bad value, too
 * many words. --help sets *help and stops. */
pn_status pn_options_parse(int argc, char **argv, const pn_option *options, int option_count,
                           const char **words, int most, int *count, bool *help);

/* Prints the table, 80 columns wide. */
void pn_options_print(FILE *out, const pn_option *options, int count);

/* The fields of a table of settings (fields.h) as options, all that have a help text; gives their
 * number. given[i] becomes true when field i is set. `bindings` (PN_MAX_FIELDS) must live as long
 * as `table`, which has room for as many. */
typedef struct pn_binding {
    void *settings;
    const pn_field *field;
    bool *given;
} pn_binding;
int pn_options_of_fields(const pn_fields *fields, void *settings, bool *given, pn_binding *bindings,
                         pn_option *table);

/* A size in words: "1.5 GiB". */
const char *pn_bytes_text(double bytes, char text[32]);

#endif
