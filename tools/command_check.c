/* command_check.c -- is this build right on this machine? Whole networks against the reference. */
#include <math.h>
#include <omp.h>

#include "search/methods/prior.h"
#include "search/network/genotype.h"
#include "search/network/whole.h"
#include "tools/commands.h"

const char pn_check_usage[] =
    "parsec-nas check [OPTIONS]\n"
    "\n"
    "Self-test. Runs random architectures forward and backward on every instruction\n"
    "set and card of this machine, compares logits, loss and the gradient of every\n"
    "tensor with plain double-precision loops, then compares the bits of two orders\n"
    "of work. Ends with exit code 1 if anything is off. --device emulated tests the\n"
    "CUDA kernels, run thread by thread on the host.\n"
    "\n";

#define SEARCH_NETWORK(L, C, h, w, c) \
    { .layers = (L), .channels = (C), .H = (h), .W = (w), .image_channels = (c), .classes = 10 }

static const pn_whole_case cases[] = {
    {"one cell", SEARCH_NETWORK(1, 4, 8, 8, 3), 2, true, false, false, 0},
    {"two reductions, odd edges, grey", SEARCH_NETWORK(3, 8, 7, 9, 1), 3, true, false, false, 0},
    {"channels that fill no vector", SEARCH_NETWORK(4, 12, 12, 12, 3), 5, true, false, false, 0},
    {"the search network's channels", SEARCH_NETWORK(8, 16, 16, 16, 3), 4, true, false, false, 0},
};
enum { CASES = sizeof cases / sizeof *cases, BACKENDS = 4 };

/* What a backend did on the architectures so far. */
typedef struct tally {
    const pn_kernels *kernels;
    pn_whole_distance worst;
    bool same;
} tally;

/* One architecture on one backend: distance to the reference, and the bits of two orders. */
static pn_status check_one(tally *t, const pn_whole_case *c, const pn_arch *arch, uint64_t seed,
                           const pn_whole *reference) {
    pn_whole run[2] = {0};
    const int threads = omp_get_max_threads();
    pn_status s = PN_OK;
    for (int i = 0; s == PN_OK && i < 2; i++) {
        pn_backend_disturb(t->kernels, i ? PN_MANY : 1); /* one thread, and more than a few */
        s = pn_whole_create(&run[i], c, arch, t->kernels, seed);
        if (s == PN_OK) s = pn_whole_run(&run[i]);
    }
    pn_backend_disturb(t->kernels, 0);
    omp_set_num_threads(threads);
    if (s == PN_OK) {
        const pn_whole_distance d = pn_whole_compare(&run[0], reference);
        const bool same = pn_whole_same(&run[0], &run[1]);
        t->worst.logit = fmax(t->worst.logit, d.logit);
        t->worst.loss = fmax(t->worst.loss, d.loss);
        if (!(d.gradient <= t->worst.gradient)) t->worst.gradient = d.gradient; /* NaN stays */
        t->same &= same;
        if (!pn_whole_within(d) || !same) {
            char text[PN_GENOTYPE_BYTES];
            pn_genotype_write(arch, text);
            fprintf(stderr, "%s, %s: %s\n", t->kernels->name, c->why, text);
        }
    }
    for (int i = 0; i < 2; i++) pn_whole_destroy(&run[i]);
    return s;
}

static pn_status check_case(const pn_whole_case *c, const pn_prior *prior,
                            const pn_kernels *const *backends, uint64_t seed, uint64_t number,
                            int count, bool *good) {
    tally tallies[BACKENDS];
    for (int i = 0; i < BACKENDS; i++) tallies[i] = (tally){.kernels = backends[i], .same = true};
    for (int a = 0; a < count; a++) {
        pn_arch arch;
        pn_whole reference;
        pn_prior_sample(prior, seed, number, (uint64_t)a, &arch);
        PN_TRY(pn_whole_reference(&reference, c, &arch, seed));
        pn_status s = PN_OK;
        for (int i = 0; s == PN_OK && i < BACKENDS; i++)
            if (tallies[i].kernels) s = check_one(&tallies[i], c, &arch, seed, &reference);
        pn_whole_destroy(&reference);
        PN_TRY(s);
    }
    for (int i = 0; i < BACKENDS; i++) {
        const tally *t = &tallies[i];
        if (!t->kernels) continue;
        const bool fine = pn_whole_within(t->worst) && t->same;
        printf("%-12s %-34s %10.1e %10.1e %10.1e  %-9s %s\n", t->kernels->name, c->why,
               t->worst.logit, t->worst.loss, t->worst.gradient, t->same ? "same bits" : "DIFFER",
               fine ? "ok" : "FAILED");
        *good &= fine;
    }
    return PN_OK;
}

/* One, or all that this machine has; NULL for the others. */
static pn_status open_backends(const char *device, const pn_kernels **backends) {
    static const char *const names[BACKENDS] = {"cpu:base", "cpu:avx2", "cpu:avx512", "cuda"};
    if (device) return pn_device_open(&(pn_device_options){.device = device}, &backends[0]);
    for (int i = 0; i < BACKENDS; i++) (void)pn_backend_open(names[i], &backends[i]);
    return PN_OK;
}

static pn_status check(const char *device, int count, uint64_t seed, bool *good) {
    const pn_kernels *backends[BACKENDS] = {NULL};
    PN_TRY(open_backends(device, backends));
    const pn_space space = pn_space_darts();
    pn_prior prior;
    PN_TRY(pn_prior_init(&prior, &space, false));
    printf("%-12s %-34s %10s %10s %10s  %s\n", "device", "network", "logits", "loss", "gradients",
           "two orders");
    for (int i = 0; i < CASES; i++)
        PN_TRY(check_case(&cases[i], &prior, backends, seed, (uint64_t)i, count, good));
    printf(
        "bounds: logits %.0e, loss %.0e, norm of a gradient %.0e relative; %d architectures each\n",
        PN_LOGIT_BOUND, PN_LOSS_BOUND, PN_GRADIENT_BOUND, count);
    return fflush(stdout) ? pn_fail(PN_EIO, "cannot write to stdout") : PN_OK;
}

int pn_command_check(int argc, char **argv) {
    const char *device = NULL;
    int count = 4, words;
    uint64_t seed = 1;
    bool help, good = true;
    const pn_option table[] = {
        {"samples", PN_OPT_INT, &count, 1, 1000, "N", "random architectures of each network [4]",
         NULL},
        {"device", PN_OPT_TEXT, &device, 0, 0, "D", "one device alone, as of search [all]", NULL},
        {"seed", PN_OPT_SEED, &seed, 0, 0, "N", "seed for architectures, weights and images [1]",
         NULL},
    };
    enum { COUNT = sizeof table / sizeof *table };
    pn_status s = pn_options_parse(argc, argv, table, COUNT, NULL, 0, &words, &help);
    if (s == PN_OK && help) {
        fputs(pn_check_usage, stdout);
        pn_options_print(stdout, table, COUNT);
        return 0;
    }
    if (s == PN_OK) s = check(device, count, seed, &good);
    if (s != PN_OK) return pn_report("check", s);
    return good ? 0 : PN_EXIT_CHECK;
}
