/* options.h -- a command: its words and tables of options, from which the command line is read, and
 * help, man page and completions are printed. */
#ifndef PN_OPTIONS_H
#define PN_OPTIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

#include "kernels/status.h"
#include "search/rundir/fields.h"

/* A table, and the struct that it sets. */
typedef struct pn_options {
    const pn_fields *rows; /* those without a help text are no options */
    void *values;
    bool *given; /* given[i] becomes true when row i is set; NULL: nobody asks */
} pn_options;
#define PN_OPTIONS(rows, values) \
    { &(const pn_fields)PN_FIELDS(rows), &(values), NULL }

enum { PN_MOST_WORDS = 64, PN_ANY_WORDS = INT_MAX, PN_OPTION_TABLES = 2 };

typedef struct pn_command {
    const char *name, *summary;
    const char *usage; /* how it is called; an empty line; what it does; an empty line */
    const char *notes; /* below the options, or NULL */
    int words;         /* most that are no options */
    pn_options options[PN_OPTION_TABLES];
    pn_status (*run)(const char *const *words); /* NULL behind the last */
} pn_command;

/* Option i of a command, and the table that it is in; NULL behind the last. */
const pn_field *pn_option_at(const pn_command *command, int i, const pn_options **table);

/* What is said of one: its help text and its default. */
const char *pn_option_text(const pn_field *option, char text[PN_TEXT_BYTES]);

/* Reads argv[1..argc) into the tables of a command, over the defaults, and into words[], which has
 * room for one more than the command takes. PN_EARG: an unknown option (with the nearest known
 * one), a missing or bad value, too many words. --help sets *help and stops. */
pn_status pn_options_parse(const pn_command *command, int argc, char **argv, const char **words,
                           bool *help);

/* The page that --help shows, 80 columns wide. */
void pn_options_print(FILE *out, const pn_command *command);

/* Words of a text from a column on, in as many lines of such a page as they take. */
void pn_print_wrapped(FILE *out, int column, const char *text);

/* A size in words: "1.5 GiB". */
const char *pn_bytes_text(double bytes, char text[32]);

#endif
