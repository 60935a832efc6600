/* command_check.c -- is this build right on this machine? Whole networks against the reference. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/rng.h"
#include "search/genotype.h"
#include "search/network.h"
#include "search/prior.h"
#include "tests/reference/backend.h"
#include "tools/commands.h"

const char pn_check_usage[] =
    "parsec-nas check [OPTIONS]\n"
    "\n"
    "Runs random architectures forward and backward on every instruction set of this machine, and "
    "compares\n"
    "logits, loss and the gradient of every tensor with plain loops in double precision; then the "
    "bits of\n"
    "one thread with those of several. Exit code 1 if anything is off.\n"
    "\n";

/* What float32 must reach: as for the golden files of the tests. Where rounding decides a ReLU or a
 * maximum otherwise, single elements of a gradient differ; its norm hardly does. */
#define LOGIT_BOUND 5e-5
#define LOSS_BOUND 5e-5
#define GRADIENT_BOUND 2e-2

typedef struct network_case {
    const char *why;
    int layers, channels, N, H, W, C;
} network_case;

static const network_case cases[] = {
    {"one cell",                        1, 4,  2, 8,  8,  3},
    {"two reductions, odd edges, grey", 3, 8,  3, 7,  9,  1},
    {"channels that fill no vector",    4, 12, 5, 12, 12, 3},
    {"the search network's channels",   8, 16, 4, 16, 16, 3},
};
enum { CASES = sizeof cases / sizeof *cases };

/* One network with its batch, and what came of it. */
typedef struct subject {
    pn_network network;
    pn_program *program;
    pn_arena arena;
    pn_result result;
    float *image;
    int32_t *labels;
    float *logits;
    double *doubles; /* of parameters, image and arena, for the reference */
} subject;

static void destroy(subject *s) {
    pn_program_destroy(s->program);
    pn_arena_destroy(&s->arena);
    pn_network_destroy(&s->network);
    free(s->image);
    free(s->labels);
    free(s->logits);
    free(s->doubles);
    *s = (subject){0};
}

static pn_status build(subject *s, const network_case *c, const pn_arch *arch, const pn_kernels *k,
                       uint64_t seed) {
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = {.layers = c->layers,
                                  .channels = c->channels,
                                  .H = c->H,
                                  .W = c->W,
                                  .image_channels = c->C,
                                  .classes = 10};
    const size_t pixels = (size_t)c->N * (size_t)c->H * (size_t)c->W * (size_t)c->C;
    pn_program_size size;
    *s = (subject){0};
    PN_TRY(pn_network_create(&s->network, &spec, &space, NULL));
    PN_TRY(pn_parameters_allocate(&s->network.parameters));
    pn_parameters_init(&s->network.parameters, seed);
    s->image = aligned_alloc(64, (pixels * sizeof(float) + 63) / 64 * 64);
    s->labels = malloc((size_t)c->N * sizeof *s->labels);
    s->logits = malloc((size_t)c->N * 10 * sizeof *s->logits);
    if (!s->image || !s->labels || !s->logits) return pn_fail(PN_EMEM, "no memory");
    for (size_t i = 0; i < pixels; i++)
        s->image[i] = (float)(3.4 * pn_uniform(seed, PN_STREAM_TEST, 1, i) - 1.7);
    for (int i = 0; i < c->N; i++)
        s->labels[i] = (int32_t)pn_random_below(seed, PN_STREAM_TEST, 2, (uint64_t)i, 10);
    PN_TRY(pn_program_create(&s->program, k));
    PN_TRY(pn_network_build(&s->network, arch, s->program, c->N, true, false, pn_arena_checks(),
                            &s->result));
    PN_TRY(pn_program_compile(s->program, &size));
    PN_TRY(pn_arena_create(&s->arena, size.arena_bytes, 0));
    return pn_program_bind(s->program, &s->arena, &s->network.parameters, s->image, s->labels,
                           NULL);
}

static pn_status run(subject *s, int N) {
    PN_TRY(pn_program_forward(s->program));
    memcpy(s->logits, pn_program_logits(s->program, 0), (size_t)N * 10 * sizeof *s->logits);
    return pn_program_backward(s->program);
}

/* The same in double precision: the floats of the reference's own arena are addresses only. */
static pn_status run_reference(subject *s, const network_case *c, const pn_arch *arch,
                               uint64_t seed, pn_twins *twins, pn_twin list[3]) {
    PN_TRY(build(s, c, arch, pn_reference_kernels(twins), seed));
    const size_t pixels = (size_t)c->N * (size_t)c->H * (size_t)c->W * (size_t)c->C;
    const size_t parameters = s->network.parameters.block_bytes / sizeof(float),
                 arena = s->arena.committed / sizeof(float);
    s->doubles = calloc(parameters + pixels + arena, sizeof *s->doubles);
    if (!s->doubles) return pn_fail(PN_EMEM, "no memory");
    list[0] = (pn_twin){s->network.parameters.block, parameters, s->doubles};
    list[1] = (pn_twin){s->image, pixels, s->doubles + parameters};
    list[2] = (pn_twin){(const float *)(const void *)s->arena.base, arena,
                        s->doubles + parameters + pixels};
    *twins = (pn_twins){list, 3};
    for (int i = 0; i < 2; i++)
        for (size_t j = 0; j < list[i].count; j++) list[i].d[j] = list[i].f[j];
    PN_TRY(pn_program_forward(s->program));
    return pn_program_backward(s->program);
}

typedef struct distance {
    double logit, loss, gradient;
} distance;

/* Largest differences: of a logit, of the loss, of a tensor's gradient norm relative to the norm.
 */
static distance compare(const subject *s, const subject *reference, const pn_twins *twins, int N) {
    distance d = {0};
    const double *logits = pn_at(twins, pn_program_logits(reference->program, 0));
    for (int i = 0; i < N * 10; i++) d.logit = fmax(d.logit, fabs(s->logits[i] - logits[i]));
    d.loss = fabs(s->result.loss - reference->result.loss);
    const pn_parameters *p = &s->network.parameters;
    const double *wanted = pn_at(twins, reference->network.parameters.gradient);
    for (int t = 0; t < p->count; t++) {
        double got = 0, want = 0;
        for (size_t i = p->list[t].offset; i < p->list[t].offset + p->list[t].count; i++) {
            got += (double)p->gradient[i] * p->gradient[i];
            want += wanted[i] * wanted[i];
        }
        if (want > 0 || got > 0)
            d.gradient =
                fmax(d.gradient, fabs(sqrt(got) - sqrt(want)) / (want > 0 ? sqrt(want) : 1));
    }
    return d;
}

static bool within(distance d) {
    return d.logit <= LOGIT_BOUND && d.loss <= LOSS_BOUND && d.gradient <= GRADIENT_BOUND;
}

/* One architecture on one instruction set: distance to the reference, and equal bits for 1 and 3
 * threads. */
static pn_status check_one(const network_case *c, const pn_arch *arch, const pn_kernels *k,
                           uint64_t seed, const subject *reference, const pn_twins *twins,
                           distance *d, bool *same) {
    subject one, three;
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    pn_status s = build(&one, c, arch, k, seed);
    if (s == PN_OK) s = run(&one, c->N);
    omp_set_num_threads(3);
    const pn_status built = build(&three, c, arch, k, seed);
    if (s == PN_OK) s = built;
    if (s == PN_OK) s = run(&three, c->N);
    omp_set_num_threads(threads);
    if (s == PN_OK) {
        *d = compare(&one, reference, twins, c->N);
        *same = !memcmp(one.network.parameters.block, three.network.parameters.block,
                        one.network.parameters.block_bytes) &&
                !memcmp(one.logits, three.logits, (size_t)c->N * 10 * sizeof(float));
    }
    destroy(&one);
    destroy(&three);
    return s;
}

static pn_status check(int count, uint64_t seed, bool *good) {
    static const char *const isas[] = {"base", "avx2", "avx512"};
    const pn_space space = pn_space_darts();
    pn_prior prior;
    PN_TRY(pn_prior_init(&prior, &space, false));
    printf("%-12s %-34s %10s %10s %10s  %s\n", "device", "network", "logits", "loss", "gradients",
           "threads");
    for (int i = 0; i < CASES; i++) {
        distance worst[3] = {{0}};
        bool same[3] = {true, true, true};
        const pn_kernels *k[3];
        for (int isa = 0; isa < 3; isa++) k[isa] = pn_host_kernels(isas[isa]);
        for (int a = 0; a < count; a++) {
            pn_arch arch;
            pn_twin list[3];
            pn_twins twins;
            subject reference;
            pn_prior_sample(&prior, seed, (uint64_t)i, (uint64_t)a, &arch);
            pn_status s = run_reference(&reference, &cases[i], &arch, seed, &twins, list);
            for (int isa = 0; s == PN_OK && isa < 3; isa++) {
                if (!k[isa]) continue;
                distance d;
                bool equal;
                s = check_one(&cases[i], &arch, k[isa], seed, &reference, &twins, &d, &equal);
                if (s != PN_OK) break;
                same[isa] &= equal;
                worst[isa] =
                    (distance){fmax(worst[isa].logit, d.logit), fmax(worst[isa].loss, d.loss),
                               fmax(worst[isa].gradient, d.gradient)};
                if (within(d) && equal) continue;
                char text[PN_GENOTYPE_BYTES];
                pn_genotype_write(&arch, text);
                fprintf(stderr, "%s, %s: %s\n", k[isa]->name, cases[i].why, text);
            }
            destroy(&reference);
            PN_TRY(s);
        }
        for (int isa = 0; isa < 3; isa++) {
            if (!k[isa]) continue;
            const bool fine = within(worst[isa]) && same[isa];
            printf("%-12s %-34s %10.1e %10.1e %10.1e  %-9s %s\n", k[isa]->name, cases[i].why,
                   worst[isa].logit, worst[isa].loss, worst[isa].gradient,
                   same[isa] ? "same bits" : "DIFFER", fine ? "ok" : "FAILED");
            *good &= fine;
        }
    }
    printf(
        "bounds: logits %.0e, loss %.0e, norm of a gradient %.0e relative; %d architectures each\n",
        LOGIT_BOUND, LOSS_BOUND, GRADIENT_BOUND, count);
    return fflush(stdout) ? pn_fail(PN_EIO, "cannot write to stdout") : PN_OK;
}

int pn_command_check(int argc, char **argv) {
    int count = 4, words;
    uint64_t seed = 1;
    bool help, good = true;
    const pn_option table[] = {
        {"samples", PN_OPT_INT,  &count, 1, 1000, "N", "random architectures of each network [4]",
         NULL                                                                                          },
        {"seed",    PN_OPT_SEED, &seed,  0, 0,    "N", "of architectures, weights and images [1]", NULL},
    };
    enum { COUNT = sizeof table / sizeof *table };
    pn_status s = pn_options_parse(argc, argv, table, COUNT, NULL, 0, &words, &help);
    if (s == PN_OK && help) {
        fputs(pn_check_usage, stdout);
        pn_options_print(stdout, table, COUNT);
        return 0;
    }
    if (s == PN_OK) s = check(count, seed, &good);
    if (s != PN_OK) return pn_report("check", s);
    return good ? 0 : PN_EXIT_CHECK;
}
