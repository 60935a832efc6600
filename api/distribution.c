/* distribution.c -- distributions over architectures: see parsec_nas.h. */
#include <stdlib.h>
#include <string.h>

#include "api/parts.h"
#include "search/methods/warm_start.h"

enum { MOST = 100000 };

struct parsec_nas_distribution { /* never changes, so calls need not wait for each other */
    pn_prior prior;
};

pn_status pn_api_distribution(const pn_prior *prior, parsec_nas_distribution **out) {
    parsec_nas_distribution *d = calloc(1, sizeof *d);
    if (!d) return pn_fail(PN_EMEM, "no memory for a distribution");
    d->prior = *prior;
    *out = d;
    return PN_OK;
}

static pn_status read_prior(const char *path, const pn_space *space, pn_prior *prior) {
    pn_warm_start source;
    pn_status s = pn_warm_start_open(&source, path, space);
    if (s == PN_OK) s = pn_warm_start_prior(&source, prior);
    pn_warm_start_close(&source);
    return s;
}

int parsec_nas_distribution_open(const char *path, int distinct, parsec_nas_distribution **out) {
    const pn_space space = pn_space_darts();
    pn_prior prior;
    PN_TRY(pn_api_wanted(out, "out"));
    *out = NULL;
    PN_TRY(pn_prior_init(&prior, &space, distinct != 0));
    if (path) {
        pn_api_lock();
        const pn_status s = read_prior(path, &space, &prior);
        pn_api_unlock();
        PN_TRY(s);
    }
    prior.distinct |= distinct != 0;
    return pn_api_distribution(&prior, out);
}

void parsec_nas_distribution_close(parsec_nas_distribution *d) { free(d); }

/* ---- lists of architectures ------------------------------------------------------------------ */

static pn_status rows_text(const pn_space *space, const pn_arch *arch, const double *log_p,
                           int count, char **json) {
    json_t *rows = json_array();
    int failed = 0;
    for (int i = 0; i < count && !failed; i++)
        failed |= json_array_append_new(rows, pn_api_row(space, &arch[i], log_p[i]));
    return pn_json_text(rows, failed, JSON_REAL_PRECISION(17), json);
}

/* Draws `count`, or if `top` lists the most probable. */
static pn_status fill(const pn_prior *prior, bool top, uint64_t seed, int count, pn_arch *arch,
                      double *log_p, int *found) {
    if (top) return pn_prior_top(prior, count, arch, log_p, found);
    pn_tables tables;
    pn_tables_make(prior, &tables);
    for (int i = 0; i < count; i++) {
        pn_tables_sample(&tables, seed, 0, (uint64_t)i, &arch[i]);
        log_p[i] = pn_tables_log_p(&tables, &arch[i]);
    }
    *found = count;
    return PN_OK;
}

static pn_status list(parsec_nas_distribution *d, bool top, uint64_t seed, int64_t count,
                      char **json) {
    PN_TRY(pn_api_wanted(d, "the distribution"));
    PN_TRY(pn_api_wanted(json, "json"));
    if (count < 1 || count > MOST)
        return pn_fail(PN_EARG, "%lld architectures, want 1 to %d", (long long)count, MOST);
    pn_arch *arch = malloc((size_t)count * sizeof *arch);
    double *log_p = malloc((size_t)count * sizeof *log_p);
    int found = 0;
    pn_status s = arch && log_p
                      ? PN_OK
                      : pn_fail(PN_EMEM, "no memory for %lld architectures", (long long)count);
    if (s == PN_OK) s = fill(&d->prior, top, seed, (int)count, arch, log_p, &found);
    if (s == PN_OK) {
        pn_api_lock();
        s = rows_text(&d->prior.space, arch, log_p, found, json);
        pn_api_unlock();
    }
    free(arch);
    free(log_p);
    return s;
}

int parsec_nas_distribution_sample(parsec_nas_distribution *d, int64_t count, uint64_t seed,
                                   char **json) {
    return list(d, false, seed, count, json);
}

int parsec_nas_distribution_top(parsec_nas_distribution *d, int64_t count, char **json) {
    return list(d, true, 0, count, json);
}

/* ---- numbers --------------------------------------------------------------------------------- */

int parsec_nas_distribution_log_p(parsec_nas_distribution *d, const char *genotype, double *log_p) {
    pn_arch arch;
    PN_TRY(pn_api_wanted(d, "the distribution"));
    PN_TRY(pn_api_wanted(genotype, "genotype"));
    PN_TRY(pn_api_wanted(log_p, "log_p"));
    PN_TRY(pn_genotype_open(genotype, &arch));
    *log_p = pn_prior_log_p(&d->prior, &arch);
    return PN_OK;
}

static pn_status describe(const pn_prior *prior, char **json) {
    double p[PN_MAX_LOGITS];
    pn_arch mode;
    json_t *root = json_object(), *probability = json_object();
    int failed = 0;
    pn_prior_marginals(prior, p);
    pn_prior_mode(prior, &mode);
    for (int i = 0; i < prior->count; i++) {
        char name[PN_NAME_BYTES];
        pn_logit_name(&prior->space, i, name);
        failed |= json_object_set_new(probability, name, pn_json_number(p[i]));
    }
    failed |= json_object_set_new(root, "distinct", json_boolean(prior->distinct));
    failed |= json_object_set_new(root, "entropy", pn_json_number(pn_prior_entropy(prior, NULL)));
    failed |= json_object_set_new(root, "entropy_uniform",
                                  pn_json_number(pn_prior_entropy_uniform(prior)));
    failed |= json_object_set_new(root, "mode",
                                  pn_api_row(&prior->space, &mode, pn_prior_log_p(prior, &mode)));
    failed |= json_object_set_new(root, "probability", probability);
    return pn_json_text(root, failed, JSON_REAL_PRECISION(17), json);
}

int parsec_nas_distribution_describe(parsec_nas_distribution *d, char **json) {
    PN_TRY(pn_api_wanted(d, "the distribution"));
    PN_TRY(pn_api_wanted(json, "json"));
    pn_api_lock();
    const pn_status s = describe(&d->prior, json);
    pn_api_unlock();
    return s;
}
