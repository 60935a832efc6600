/* command_sample.c -- architectures of a distribution. */
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "search/methods/warm_start.h"
#include "search/network/genotype.h"
#include "tools/commands.h"
#include "tools/judged.h"

static const char usage[] =
    "parsec-nas sample [RUN] [--count N | --top N] [OPTIONS]\n"
    "\n"
    "Draws architectures from the distribution of a run (a directory or checkpoint;\n"
    "without one, the uniform distribution), or lists the most probable. Prints a\n"
    "line for each: log-probability, then genotype ('help notation' says what it\n"
    "means). With --truth nasbench301 two columns stand between them: the accuracy in\n"
    "percent that a known table of cells lets one expect, and the share of all cells\n"
    "that it is better than (- and -: not judged, --json says why).\n"
    "\n";

enum { MOST = 1000000 };

typedef struct options {
    int count, top;
    const char *truth;
    uint64_t seed;
    bool distinct, json;
} options;
static options o;

#define PN_OF options

static const pn_field rows[] = {
    PN_INT("count", count, 1, MOST, NULL, "draw that many [10]"),
    PN_INT("top", top, 1, PN_MAX_TOP, NULL, "list the N most probable instead"),
    PN_FLAG("distinct-inputs", distinct, NULL,
            "the two inputs of a node differ; a run has its own"),
    PN_ROW_SEED("seed for the draws"),
    PN_ROW_TRUTH("what each is worth by a table of known cells"),
    PN_ROW_JSON,
};

static pn_status print_json(const pn_space *space, const pn_arch *arch, double log_p,
                            const pn_judgement *j, bool last) {
    char text[PN_GENOTYPE_BYTES], brief[PN_SHORT_BYTES], *line;
    pn_genotype_write(arch, text);
    pn_genotype_short(space, arch, brief);
    json_t *row = json_pack("{s:f,s:s,s:s}", "log_p", log_p, "genotype", text, "short", brief);
    const int failed = j ? json_object_set_new(row, "truth", pn_judged_json(j)) : 0;
    PN_TRY(pn_json_text(row, failed, JSON_REAL_PRECISION(12), &line));
    printf("%s%s\n", line, last ? "" : ",");
    free(line);
    return ferror(stdout) ? pn_fail(PN_EIO, "cannot write to stdout") : PN_OK;
}

static pn_status print(const pn_arch *arch, double log_p, const pn_judgement *j) {
    char text[PN_GENOTYPE_BYTES];
    pn_genotype_write(arch, text);
    printf("%.4f ", log_p);
    if (j && j->judged) printf("%.2f %.3f ", j->accuracy, j->better_than);
    if (j && !j->judged) printf("- - ");
    printf("%s\n", text);
    return ferror(stdout) ? pn_fail(PN_EIO, "cannot write to stdout") : PN_OK;
}

static pn_status sample(const char *from, const pn_truth *truth) {
    const int count = o.count ? o.count : 10, top = o.top;
    const pn_space space = pn_space_darts();
    pn_prior prior;
    PN_TRY(pn_prior_init(&prior, &space, o.distinct));
    if (from) {
        pn_warm_start source;
        pn_status read = pn_warm_start_open(&source, from, &space);
        if (read == PN_OK) read = pn_warm_start_prior(&source, &prior);
        pn_warm_start_close(&source);
        PN_TRY(read);
    }
    prior.distinct |= o.distinct;
    pn_arch *arch = malloc((size_t)(top ? top : 1) * sizeof *arch);
    double *log_p = malloc((size_t)(top ? top : 1) * sizeof *log_p);
    pn_status s = arch && log_p ? PN_OK : pn_fail(PN_EMEM, "no memory for %d architectures", top);
    int found = count;
    if (s == PN_OK && top) s = pn_prior_top(&prior, top, arch, log_p, &found);
    if (s == PN_OK && o.json) puts("[");
    pn_tables tables;
    pn_tables_make(&prior, &tables);
    for (int i = 0; s == PN_OK && i < found; i++) {
        pn_arch *a = top ? &arch[i] : arch;
        pn_judgement judgement, *j = truth ? &judgement : NULL;
        if (!top) pn_tables_sample(&tables, o.seed, 0, (uint64_t)i, a);
        if (j) pn_truth_judge(truth, a, j);
        const double p = top ? log_p[i] : pn_tables_log_p(&tables, a);
        s = o.json ? print_json(&space, a, p, j, i == found - 1) : print(a, p, j);
    }
    if (s == PN_OK && o.json) puts("]");
    if (s == PN_OK && fflush(stdout)) s = pn_fail(PN_EIO, "cannot write to stdout");
    free(arch);
    free(log_p);
    return s;
}

static pn_status run(const char *const *words) {
    pn_truth *truth = NULL;
    if (o.count && o.top) return pn_fail(PN_EARG, "want one of --count and --top");
    if (o.truth) PN_TRY(pn_truth_open(o.truth, &truth));
    const pn_status s = sample(words[0], truth);
    pn_truth_close(truth);
    return s;
}

PN_COMMAND(sample, "draw architectures of a distribution, or list the most probable", .words = 1,
           .options = {PN_OPTIONS(rows, o)});
