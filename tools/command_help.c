/* command_help.c -- the list of commands, and the options of each; for man and shells, too. */
#include <string.h>

#include "tools/commands.h"
#include "tools/manual.h"

static const char usage[] =
    "parsec-nas help [COMMAND]\n"
    "parsec-nas help notation\n"
    "parsec-nas help --man\n"
    "parsec-nas help --completion SHELL\n"
    "\n"
    "Lists the commands, or the options of one; or says how cells are written.\n"
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
     "interrupted by signal N (Ctrl-C 130, TERM 143, HUP 129, USR1 138, PIPE 141); "
     "the same command continues"},
    {NULL, NULL},
};
enum { CODES = sizeof exits / sizeof *exits - 2, LEFT = 5 }; /* in the left column */

static const char intro[] =
    "parsec-nas " PN_VERSION
    ": architecture search (PARSEC) in the memory of one network\n"
    "\n"
    "  parsec-nas COMMAND [OPTIONS]        parsec-nas help COMMAND: its options\n"
    "                                      parsec-nas help notation: what cells mean\n"
    "\n";

static const char examples[] =
    "  parsec-nas plan --genotype DARTS_V2        what one architecture costs\n"
    "  parsec-nas search runs/first --data fashion-mnist --layers 5 \\\n"
    "      --channels 8 --steps 1000\n";

static const char notation[] =
    "A network is a row of cells of two kinds: normal cells, and reduction cells that\n"
    "halve height and width, at one and at two thirds of the row. All cells of a kind\n"
    "are alike, so a search finds one of each.\n"
    "\n"
    "A cell reads the outputs of the two cells before it. It has four nodes, each the\n"
    "sum of two terms. A term is an op on an input of the cell or on an earlier node.\n"
    "The output of the cell is its four nodes, one behind the other in channels.\n"
    "\n"
    "A term is written op@input. Two terms make a node, | stands between nodes:\n"
    "\n"
    "  normal s3@0 s3@1 | s3@0 s3@1 | s3@1 sk@0 | sk@0 d3@2 reduce mp@0 mp@1 | ...\n"
    "\n"
    "  s3 s5   separable convolution, 3x3 or 5x5 (sep_conv_3x3, sep_conv_5x5)\n"
    "  d3 d5   dilated convolution, 3x3 or 5x5 (dil_conv_3x3, dil_conv_5x5)\n"
    "  mp ap   maximum or average of 3x3 (max_pool_3x3, avg_pool_3x3)\n"
    "  sk      the input itself (skip_connect)\n"
    "  no      no term (none)\n"
    "  @0 @1   the cell before the last one, the last cell (k-2 and k-1 in drawings)\n"
    "  @2..@4  nodes 0 to 2 of this cell\n"
    "\n"
    "d3@2 in the fourth node is a dilated 3x3 convolution of node 0. In a reduction\n"
    "cell, ops on @0 and @1 have stride 2. A cell of SNAS has a term for every input\n"
    "of a node, 14 in all, many of which are no; a node without terms is zeros.\n"
    "\n"
    "DARTS notation, which other programs read, has the same terms in this order, as\n"
    "pairs: Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=...). Options\n"
    "that take a genotype take both notations. To draw one: parsec-nas export\n"
    "--genotype G --svg FILE.\n";

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

static pn_status print_notation(void) {
    return fputs(notation, stdout) < 0 ? pn_fail(PN_EIO, "cannot write to stdout") : PN_OK;
}

static pn_status run(const char *const *words) {
    const pn_command *c;
    if (words[0] && !strcmp(words[0], "notation")) return print_notation();
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
