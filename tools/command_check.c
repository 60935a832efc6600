/* command_check.c -- is this build right on this machine? Whole networks against the reference. */
#include <math.h>
#include <omp.h>

#include "search/methods/prior.h"
#include "search/network/genotype.h"
#include "search/network/whole.h"
#include "tools/commands.h"

static const char usage[] =
    "parsec-nas check [OPTIONS]\n"
    "\n"
    "Self-test. Runs random architectures forward and backward on every instruction\n"
    "set and card of this machine, compares logits, loss and the gradient of every\n"
    "tensor with plain double-precision loops, then compares the bits of two orders\n"
    "of work. Ends with exit code 1 if anything is off. --device emulated tests the\n"
    "CUDA kernels, run thread by thread on the host.\n"
    "\n";

typedef struct options {
    const char *device, *precision;
    int samples;
    uint64_t seed;
} options;
static options o;

#define SEARCH_NETWORK(L, C, h, w, c) \
    { .layers = (L), .channels = (C), .H = (h), .W = (w), .image_channels = (c), .classes = 10 }

static const pn_whole_case cases[] = {
    {"one cell", SEARCH_NETWORK(1, 4, 8, 8, 3), 2, true, false, false, 0},
    {"two reductions, odd edges, grey", SEARCH_NETWORK(3, 8, 7, 9, 1), 3, true, false, false, 0},
    {"channels that fill no vector", SEARCH_NETWORK(4, 12, 12, 12, 3), 5, true, false, false, 0},
    {"the search network's channels", SEARCH_NETWORK(8, 16, 16, 16, 3), 4, true, false, false, 0},
};
enum { CASES = sizeof cases / sizeof *cases, BACKENDS = 6 };

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
        if (!pn_whole_within(d, t->kernels) || !same) {
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
                            int count, int *failed) {
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
        const bool fine = pn_whole_within(t->worst, t->kernels) && t->same;
        printf("%-16s %-34s %10.1e %10.1e %10.1e  %-9s %s\n", t->kernels->name, c->why,
               t->worst.logit, t->worst.loss, t->worst.gradient, t->same ? "same bits" : "DIFFER",
               fine ? "ok" : "FAILED");
        *failed += !fine;
    }
    return PN_OK;
}

/* One, or all that this machine has; NULL for the others. */
static pn_status open_backends(const pn_device_options *one, const pn_kernels **backends) {
    static const char *const names[BACKENDS] = {"cpu:base", "cpu:avx2",  "cpu:avx512",
                                                "cuda",     "cuda-tf32", "cpu-bf16"};
    if (one->device || one->precision) return pn_device_open(one, &backends[0]);
    for (int i = 0; i < BACKENDS; i++) (void)pn_backend_open(names[i], &backends[i]);
    return PN_OK;
}

#define PN_OF options

static const pn_field rows[] = {
    PN_INT("samples", samples, 1, 1000, "4", "random architectures of each network"),
    PN_ROW_DEVICE(device, NULL, "one device alone, as of search [all]"),
    PN_ROW_PRECISION(precision),
    PN_ROW_SEED("seed for architectures, weights and images"),
};

static pn_status run(const char *const *words) {
    (void)words;
    int failed = 0;
    const pn_kernels *backends[BACKENDS] = {NULL};
    PN_TRY(open_backends(&(pn_device_options){.device = o.device, .precision = o.precision},
                         backends));
    const pn_space space = pn_space_darts();
    pn_prior prior;
    PN_TRY(pn_prior_init(&prior, &space, false));
    printf("%-16s %-34s %10s %10s %10s  %s\n", "device", "network", "logits", "loss", "gradients",
           "two orders");
    for (int i = 0; i < CASES; i++)
        PN_TRY(check_case(&cases[i], &prior, backends, o.seed, (uint64_t)i, o.samples, &failed));
    double last = 0;
    for (int i = 0; i < BACKENDS; i++) {
        if (!backends[i]) continue;
        const pn_whole_distance most = pn_whole_bounds(backends[i]);
        if (most.logit == last) continue;
        last = most.logit;
        printf(
            "bounds%s: logits %.0e, loss %.0e, norm of a gradient %.0e relative; "
            "%d architectures each\n",
            backends[i]->storage == PN_STORED_BF16      ? " of bf16"
            : backends[i]->storage == PN_STORED_FP16    ? " of fp16"
            : backends[i]->products == PN_PRODUCTS_TF32 ? " of tf32"
                                                        : "",
            most.logit, most.loss, most.gradient, o.samples);
    }
    if (fflush(stdout)) return pn_fail(PN_EIO, "cannot write to stdout");
    return failed ? pn_fail(PN_ECHECK, "%d of these rows failed", failed) : PN_OK;
}

PN_COMMAND(check, "self-test on this machine: kernels, gradients, determinism",
           .options = {PN_OPTIONS(rows, o)});
