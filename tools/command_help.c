/* command_help.c -- the list of commands, and the options of each; for man and shells, too. */
#include "tools/commands.h"
#include "tools/manual.h"

static const char usage[] =
    "parsec-nas help [COMMAND]\n"
    "parsec-nas help --man\n"
    "parsec-nas help --completion SHELL\n"
    "\n"
    "Lists the commands, or the options of one.\n"
    "\n";

typedef struct options {
    bool man;
    const char *completion;
} options;
static options o;

#define PN_OF options

static const pn_field rows[] = {
    PN_FLAG("man", man, NULL, "print all of it as a page for man"),
    PN_TEXT("completion", completion, "bash|zsh|fish", "SHELL", NULL,
            "print a script that completes commands and options: bash, zsh or fish"),
};

static const pn_exit exits[] = {
    {"0", "done"},
    {"1", "a check failed"},
    {"2", "wrong usage"},
    {"3", "bad input file"},
    {"4", "out of memory"},
    {"5", "device failed or is not there"},
    {"6", "reading or writing failed"},
    {"7", "diverged (NaN)"},
    {"8", "directory in use"},
    {"128 + N",
     "interrupted by signal N (Ctrl-C 130, TERM 143, HUP 129, PIPE 141); "
     "the same command continues"},
    {NULL, NULL},
};
enum { CODES = sizeof exits / sizeof *exits - 2, LEFT = 5 }; /* in the left column */

static const char intro[] =
    "parsec-nas " PN_VERSION
    ": architecture search (PARSEC) in the memory of one network\n"
    "\n"
    "  parsec-nas COMMAND [OPTIONS]        parsec-nas help COMMAND: its options\n"
    "\n";

static const char examples[] =
    "  parsec-nas plan --genotype DARTS_V2        what one architecture costs\n"
    "  parsec-nas search runs/first --data fashion-mnist --layers 5 \\\n"
    "      --channels 8 --steps 1000\n";

void pn_print_commands(FILE *out) {
    fputs(intro, out);
    for (int i = 0; pn_commands[i]; i++)
        fprintf(out, "  %-8s %s\n", pn_commands[i]->name, pn_commands[i]->summary);
    fputs("\nstdout is data, stderr is progress and messages. Exit codes:\n", out);
    for (int i = 0; i < LEFT; i++) {
        const bool two = i + LEFT < CODES;
        fprintf(out, "  %s %-*s", exits[i].code, two ? 28 : 0, exits[i].meaning);
        if (two) fprintf(out, "%s %s", exits[i + LEFT].code, exits[i + LEFT].meaning);
        fputc('\n', out);
    }
    fprintf(out, "  %s: ", exits[CODES].code);
    pn_print_wrapped(out, 11, exits[CODES].meaning);
    fprintf(out, "\n%s", examples);
}

static pn_status run(const char *const *words) {
    const pn_command *c;
    if (words[0]) PN_TRY(pn_command_find(words[0], &c));
    if (o.man)
        pn_manual_page(stdout, exits, examples);
    else if (o.completion)
        pn_manual_completion(stdout, o.completion);
    else if (words[0])
        pn_options_print(stdout, c);
    else
        pn_print_commands(stdout);
    return PN_OK;
}

PN_COMMAND(help, "list the commands, or the options of one; man page, completions", .words = 1,
           .options = {PN_OPTIONS(rows, o)});
