/* command_sample.c -- architectures of a distribution. */
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "search/methods/method.h"
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
    "\n"
    "Of a search by DARTS or GDAS, which has no distribution of cells, two terms of\n"
    "a node are as probable as the product of their weights.\n"
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

/* What is drawn from: a pi, or the state of a method that has none. */
typedef struct origin {
    pn_prior prior;
    pn_tables tables;
    const pn_method *method; /* NULL: the pi */
    void *self;
} origin;

static pn_status read_run(origin *from, const pn_warm_start *source) {
    const pn_method *method;
    PN_TRY(pn_warm_start_method(source, &method));
    if (method->read_prior) return pn_warm_start_prior(source, &from->prior);
    if (o.distinct)
        return pn_fail(PN_EARG,
                       "--distinct-inputs wants a search with a pi, not one by --method %s",
                       method->name);
    return pn_warm_start_state(source, &from->method, &from->self);
}

static pn_status open_origin(origin *from, const char *run) {
    const pn_space space = pn_space_darts();
    pn_warm_start source;
    PN_TRY(pn_prior_init(&from->prior, &space, o.distinct));
    if (!run) return PN_OK;
    pn_status s = pn_warm_start_open(&source, run, &space);
    if (s == PN_OK) s = read_run(from, &source);
    pn_warm_start_close(&source);
    return s;
}

static double draw(const origin *from, int i, pn_arch *arch) {
    if (from->method) return from->method->draw(from->self, o.seed, (uint64_t)i, arch);
    pn_tables_sample(&from->tables, o.seed, 0, (uint64_t)i, arch);
    return pn_tables_log_p(&from->tables, arch);
}

static pn_status print_all(const origin *from, const pn_truth *truth, pn_arch *arch,
                           double *log_p) {
    const pn_space space = pn_space_darts();
    int found = o.count ? o.count : 10;
    if (o.top)
        PN_TRY(from->method ? from->method->top(from->self, o.top, arch, log_p, &found)
                            : pn_prior_top(&from->prior, o.top, arch, log_p, &found));
    if (o.json) puts("[");
    for (int i = 0; i < found; i++) {
        pn_arch *a = o.top ? &arch[i] : arch;
        pn_judgement judgement, *j = truth ? &judgement : NULL;
        const double p = o.top ? log_p[i] : draw(from, i, a);
        if (j) pn_truth_judge(truth, a, j);
        PN_TRY(o.json ? print_json(&space, a, p, j, i == found - 1) : print(a, p, j));
    }
    if (o.json) puts("]");
    return fflush(stdout) ? pn_fail(PN_EIO, "cannot write to stdout") : PN_OK;
}

static pn_status sample(const char *run, const pn_truth *truth) {
    origin from = {.self = NULL};
    PN_TRY(open_origin(&from, run));
    from.prior.distinct |= o.distinct;
    pn_tables_make(&from.prior, &from.tables);
    const size_t room = o.top ? (size_t)o.top : 1;
    pn_arch *arch = malloc(room * sizeof *arch);
    double *log_p = calloc(room, sizeof *log_p);
    const pn_status s = arch && log_p ? print_all(&from, truth, arch, log_p)
                                      : pn_fail(PN_EMEM, "no memory for %d architectures", o.top);
    free(arch);
    free(log_p);
    free(from.self);
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
