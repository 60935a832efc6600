/* command_report.c -- a page about runs. */
#include <stdio.h>
#include <string.h>

#include "runtime/text.h"
#include "search/report/report.h"
#include "tools/commands.h"

static const char usage[] =
    "parsec-nas report DIR... [-o FILE]\n"
    "\n"
    "Writes a page of HTML about a run: what was found, how sure that is, what it is\n"
    "worth and what it cost; the cells drawn, curves, the distribution over time, the\n"
    "most probable cells, memory, time, settings, and the command that repeats it.\n"
    "DIR is what search or train was given, or one seed of it. Several runs are shown\n"
    "beside each other on the same axes. The page needs no network and no script.\n"
    "\n"
    "A run may be at work, stopped or damaged: the page shows what there is. The\n"
    "verdict goes to stdout. A file that is not such a page is not written over.\n"
    "\n";

typedef struct options {
    const char *output;
    bool quiet;
} options;
static options o;

#define PN_OF options

static const pn_field rows[] = {
    PN_PATH("output", output, NULL, "FILE", NULL,
            "where the page goes [DIR/report.html; of several, it has to be said]", .also = "o"),
    PN_FLAG("quiet", quiet, NULL, "no verdict, the page alone", .also = "q|silent"),
};

static pn_status run(const char *const *words) {
    static char verdict[PN_VERDICT_BYTES];
    char file[PN_PATH_BYTES];
    int count = 0;
    while (words[count]) count++;
    if (!count) return pn_fail(PN_EARG, "want a directory: parsec-nas report DIR");
    if (count > 1 && !o.output)
        return pn_fail(PN_EARG, "%d directories, want --output FILE for their page", count);
    PN_TRY(pn_path_join(file, sizeof file, o.output ? o.output : words[0],
                        o.output ? NULL : pn_report_name));
    PN_TRY(pn_report_write(words, count, file, verdict));
    if (o.quiet) return PN_OK;
    for (char *line = verdict, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        pn_print_wrapped(stdout, 0, line);
    }
    fprintf(stderr, "%s\n", file);
    return PN_OK;
}

PN_COMMAND(report, "write a page about runs: verdict, cells, curves, cost", .words = PN_MOST_WORDS,
           .options = {PN_OPTIONS(rows, o)});
