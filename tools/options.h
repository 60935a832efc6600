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
    bool ranks;        /* several processes can run it together: ranks.h */
    pn_options options[PN_OPTION_TABLES];
    pn_status (*run)(const char *const *words); /* NULL behind the last */
} pn_command;

/* Option i of a command, and the table that it is in; NULL behind the last. */
const pn_field *pn_option_at(const pn_command *command, int i, const pn_options **table);

/* Name `n` by which an option is also called (pn_field.also), as it is given: "--lr", "-q"; NULL
 * behind the last. */
enum { PN_NAME_OF_OPTION = 40 };
const char *pn_option_also(const pn_field *option, int n, char name[PN_NAME_OF_OPTION]);

/* What is said of one: its help text, its short name and its default. */
const char *pn_option_text(const pn_field *option, char text[PN_TEXT_BYTES]);

/* Reads argv[1..argc) into the tables of a command, over the defaults, and into words[], which has
 * room for one more than the command takes. An option may be given by another of its names, by as
 * many letters as no other option begins with, and with _ for -. PN_EARG: an unknown option (with
 * the nearest known one, or what is meant by it elsewhere), a missing or bad value, too many words.
 * --help sets *help and stops. */
pn_status pn_options_parse(const pn_command *command, int argc, char **argv, const char **words,
                           bool *help);

/* Whether the row of that name was given. */
bool pn_option_given(const pn_fields *rows, const bool *given, const char *name);

/* The page that --help shows, 80 columns wide. */
void pn_options_print(FILE *out, const pn_command *command);

/* How many letters must be changed, added or dropped to make one name of the other, if these are
 * few for their length: a slip of the finger; else -1. */
int pn_slips(const char *name, const char *other);

/* Words of a text from a column on, in as many lines of such a page as they take. */
void pn_print_wrapped(FILE *out, int column, const char *text);

/* A size in words: "1.5 GiB". */
const char *pn_bytes_text(double bytes, char text[32]);

#endif
