/* command_plan.c -- what a network costs, before anything is allocated. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "search/methods/prior.h"
#include "search/network/budget.h"
#include "search/network/genotype.h"
#include "search/network/network.h"
#include "tools/commands.h"

const char pn_plan_usage[] =
    "parsec-nas plan [--genotype G | --samples N | --supernet] [OPTIONS]\n"
    "\n"
    "Prints parameters, multiply-adds and bytes: of one architecture; the smallest,\n"
    "mean and largest of N random ones (default 100); or of the supernet that holds\n"
    "all ops at once.\n"
    "\n";

static const char legend[] =
    "\n"
    "  params             learnt numbers of one architecture's network, without the\n"
    "                     auxiliary head\n"
    "  params_auxiliary   of the auxiliary head (evaluation network)\n"
    "  macs               multiply-adds per image: convolutions and classifier,\n"
    "                     whether or not a cell is read\n"
    "  parameter_bytes    values, gradient and momentum; of a search network for the\n"
    "                     whole space\n"
    "  activation_bytes   kept by the forward for the backward pass, as sampled:\n"
    "                     cells that nothing reads are dropped\n"
    "  arena_bytes        all of a training step, to the byte: activations, their\n"
    "                     gradients, scratch\n"
    "  arena_bytes_eval   the same for a forward pass alone\n"
    "  batch_bytes        images and labels, double-buffered: of a search for two\n"
    "                     halves of the data, of an evaluation network with the\n"
    "                     factors of drop-path\n"
    "  total_bytes        parameter_bytes + arena_bytes + batch_bytes: what --memory\n"
    "                     limits in search and train\n"
    "The auxiliary head is trained too where images have the size it wants (32 or\n"
    "224), unless --no-auxiliary is given.\n";

typedef struct options {
    const char *genotype, *network, *stem;
    int layers, channels, batch, classes, samples, image[3];
    uint64_t seed;
    size_t memory;
    const char *device;
    bool supernet, json, share_slot, auxiliary;
} options;

/* One column of what is printed; the order is that of `keys`. */
enum {
    PARAMS,
    PARAMS_AUXILIARY,
    MACS,
    PARAMETER_BYTES,
    ACTIVATION_BYTES,
    ARENA_BYTES,
    ARENA_BYTES_EVAL,
    BATCH_BYTES,
    TOTAL_BYTES,
    FLOOR_BYTES,
    LEVELS,
    LAUNCHES_FWD,
    LAUNCHES_BWD,
    FIGURES
};
static const char *const keys[FIGURES] = {
    "params",      "params_auxiliary", "macs",        "parameter_bytes", "activation_bytes",
    "arena_bytes", "arena_bytes_eval", "batch_bytes", "total_bytes",     "floor_bytes",
    "levels",      "launches_fwd",     "launches_bwd"};

static bool is_bytes(int figure) { return figure >= PARAMETER_BYTES && figure <= FLOOR_BYTES; }

typedef struct planner {
    const options *o;
    const pn_kernels *kernels;
    pn_network network;
    bool created;
    pn_program *program;
} planner;

/* The figures of one architecture; arch NULL: the supernet. */
static pn_status measure(planner *p, const pn_arch *arch, int batch, double figure[FIGURES]) {
    const options *o = p->o;
    const bool evaluation = !strcmp(o->network, "eval");
    if (!p->created || evaluation) { /* an evaluation network has one architecture's weights */
        if (p->created) pn_network_destroy(&p->network);
        p->created = false;
        const pn_network_spec spec = {.evaluation = evaluation,
                                      .layers = o->layers,
                                      .channels = o->channels,
                                      .H = o->image[0],
                                      .W = o->image[1],
                                      .image_channels = o->image[2],
                                      .classes = o->classes,
                                      .share_slot = o->share_slot,
                                      .auxiliary = true,
                                      .imagenet_stem = !strcmp(o->stem, "imagenet")};
        const pn_space space = pn_space_darts();
        PN_TRY(pn_network_create(&p->network, &spec, &space, arch));
        p->created = true;
    }
    size_t weights, auxiliary;
    pn_network_count(&p->network, arch, &weights, &auxiliary);
    pn_program_size training, forward;
    const pn_build train = {
        .N = batch,
        .training = true,
        .auxiliary = evaluation && o->auxiliary && pn_network_auxiliary_fits(&p->network.spec)};
    PN_TRY(pn_network_build(&p->network, arch, p->program, &train));
    PN_TRY(pn_program_compile(p->program, &training));
    PN_TRY(pn_network_build(&p->network, arch, p->program,
                            &(pn_build){.N = batch, .inference = evaluation}));
    PN_TRY(pn_program_compile(p->program, &forward));
    const double parameters = (double)pn_parameters_bytes(&p->network.parameters);
    const double batches = (double)pn_network_batch_bytes(&p->network.spec, batch);
    const double values[FIGURES] = {
        [PARAMS] = (double)weights,
        [PARAMS_AUXILIARY] = (double)auxiliary,
        [MACS] = pn_network_macs(&p->network, arch),
        [PARAMETER_BYTES] = parameters,
        [ACTIVATION_BYTES] = (double)training.activation_bytes,
        [ARENA_BYTES] = (double)training.arena_bytes,
        [ARENA_BYTES_EVAL] = (double)forward.arena_bytes,
        [BATCH_BYTES] = batches,
        [TOTAL_BYTES] = parameters + batches + (double)training.arena_bytes,
        [FLOOR_BYTES] = (double)training.floor_bytes,
        [LEVELS] = training.levels,
        [LAUNCHES_FWD] = training.launches_fwd,
        [LAUNCHES_BWD] = training.launches_bwd};
    memcpy(figure, values, sizeof values);
    return PN_OK;
}

/* What the largest of the architectures needs with batches of N. */
typedef struct candidate {
    planner *p;
    const pn_arch *arch;
} candidate;

static pn_status total_bytes(void *self, int N, size_t *bytes) {
    const candidate *c = self;
    double figure[FIGURES];
    PN_TRY(measure(c->p, c->arch, N, figure));
    *bytes = (size_t)figure[TOTAL_BYTES];
    return PN_OK;
}

static pn_status largest_batch(planner *p, const pn_arch *arch, int *batch) {
    const int pixels = p->o->image[0] * p->o->image[1], most = PN_MAX_PIXELS / pixels;
    return pn_budget_batch(total_bytes, &(candidate){p, arch}, most < 1 << 20 ? most : 1 << 20,
                           p->o->memory, batch);
}

static void print_text(const options *o, double (*row)[FIGURES], bool one, int fitting) {
    char a[32], b[32], c[32];
    printf("%s network, %d layers, %d channels, batch %d of %dx%dx%d, %d classes\n", o->network,
           o->layers, o->channels, o->batch, o->image[0], o->image[1], o->image[2], o->classes);
    if (!one) printf("%-20s %18s %18s %18s\n", "", "smallest", "mean", "largest");
    for (int i = 0; i < FIGURES; i++) {
        if (one) {
            printf("%-20s %18.0f", keys[i], row[0][i]);
            if (is_bytes(i)) printf("  %s", pn_bytes_text(row[0][i], a));
        } else if (is_bytes(i)) {
            printf("%-20s %18s %18s %18s", keys[i], pn_bytes_text(row[0][i], a),
                   pn_bytes_text(row[1][i], b), pn_bytes_text(row[2][i], c));
        } else {
            printf("%-20s %18.0f %18.1f %18.0f", keys[i], row[0][i], row[1][i], row[2][i]);
        }
        putchar('\n');
    }
    if (o->memory)
        printf("%-20s %18d  within %s\n", "largest_batch", fitting,
               pn_bytes_text((double)o->memory, a));
}

static pn_status print_json(const options *o, double (*row)[FIGURES], bool one, int fitting,
                            const char *genotype) {
    static const char *const stat[] = {"min", "mean", "max"};
    json_t *root = json_object();
    int failed = 0;
    failed |= json_object_set_new(root, "network", json_string(o->network));
    failed |= json_object_set_new(root, "layers", json_integer(o->layers));
    failed |= json_object_set_new(root, "channels", json_integer(o->channels));
    failed |= json_object_set_new(root, "batch", json_integer(o->batch));
    failed |= json_object_set_new(root, "image",
                                  json_pack("[iii]", o->image[0], o->image[1], o->image[2]));
    failed |= json_object_set_new(root, "classes", json_integer(o->classes));
    if (genotype[0]) failed |= json_object_set_new(root, "genotype", json_string(genotype));
    if (!one) failed |= json_object_set_new(root, "samples", json_integer(o->samples));
    for (int i = 0; i < FIGURES; i++) {
        json_t *value = one ? json_integer((json_int_t)row[0][i]) : json_object();
        for (int j = 0; !one && j < 3; j++)
            failed |= json_object_set_new(
                value, stat[j],
                j == 1 ? json_real(row[j][i]) : json_integer((json_int_t)row[j][i]));
        failed |= json_object_set_new(root, keys[i], value);
    }
    if (o->memory) failed |= json_object_set_new(root, "largest_batch", json_integer(fitting));
    return pn_json_print(root, failed, JSON_INDENT(2), stdout);
}

static pn_status plan(options *o, planner *p) {
    double row[3][FIGURES] = {{0}}, figure[FIGURES];
    char genotype[PN_GENOTYPE_BYTES] = "";
    pn_arch arch = {0}, largest = {0};
    const bool one = o->genotype || o->supernet;
    if (o->genotype) {
        PN_TRY(pn_genotype_open(o->genotype, &arch));
        pn_genotype_write(&arch, genotype);
    }
    if (one) {
        PN_TRY(measure(p, o->supernet ? NULL : &arch, o->batch, row[0]));
        largest = arch;
    } else {
        const pn_space space = pn_space_darts();
        pn_prior prior;
        PN_TRY(pn_prior_init(&prior, &space, false));
        for (int k = 0; k < o->samples; k++) {
            pn_prior_sample(&prior, o->seed, 0, (uint64_t)k, &arch);
            PN_TRY(measure(p, &arch, o->batch, figure));
            if (k == 0 || figure[TOTAL_BYTES] > row[2][TOTAL_BYTES]) largest = arch;
            for (int i = 0; i < FIGURES; i++) {
                row[0][i] = k && row[0][i] < figure[i] ? row[0][i] : figure[i];
                row[2][i] = k && row[2][i] > figure[i] ? row[2][i] : figure[i];
                row[1][i] = (k ? row[1][i] : 0) + figure[i] / o->samples;
            }
        }
    }
    int fitting = 0;
    if (o->memory) PN_TRY(largest_batch(p, o->supernet ? NULL : &largest, &fitting));
    if (o->json)
        PN_TRY(print_json(o, row, one, fitting, genotype));
    else
        print_text(o, row, one, fitting);
    return fflush(stdout) ? pn_fail(PN_EIO, "cannot write to stdout") : PN_OK;
}

int pn_command_plan(int argc, char **argv) {
    options o = {.network = "search",
                 .stem = "cifar",
                 .samples = 100,
                 .image = {0, 0, 3},
                 .seed = 1,
                 .auxiliary = true};
    bool help;
    int words, samples = 0;
    const pn_option table[] = {
        {"genotype", PN_OPT_TEXT, &o.genotype, 0, 0, "G",
         "a published name, a file, a run directory, or the text itself", NULL},
        {"samples", PN_OPT_INT, &samples, 1, 1e6, "N",
         "that many random architectures of the space [100]", NULL},
        {"supernet", PN_OPT_FLAG, &o.supernet, 0, 0, NULL,
         "the network of all ops on all inputs, as DARTS searches it", NULL},
        {"network", PN_OPT_TEXT, &o.network, 0, 0, "NET",
         "search, or eval: the one that is trained from scratch [search]", NULL},
        {"stem", PN_OPT_TEXT, &o.stem, 0, 0, "STEM",
         "stem of an evaluation network: cifar, or imagenet (3 convolutions, 224 pixels) [cifar]",
         NULL},
        {"auxiliary", PN_OPT_FLAG, &o.auxiliary, 0, 0, NULL,
         "auxiliary head of an evaluation network, where it fits [on]", NULL},
        {"layers", PN_OPT_INT, &o.layers, 1, PN_MAX_LAYERS, "N", "cells [8; eval 20, imagenet 14]",
         NULL},
        {"channels", PN_OPT_INT, &o.channels, 4, 4096, "N",
         "channels of the first cells [16; eval 36, imagenet 48]", NULL},
        {"batch", PN_OPT_INT, &o.batch, 1, 1 << 20, "N",
         "images a batch [64; eval 96, imagenet 128]", NULL},
        {"image", PN_OPT_IMAGE, o.image, 0, 0, "HxWxC", "image size [32x32x3; imagenet 224x224x3]",
         NULL},
        {"classes", PN_OPT_INT, &o.classes, 2, 100000, "N", "classes [10; imagenet 1000]", NULL},
        {"device", PN_OPT_TEXT, &o.device, 0, 0, "D",
         "cpu or cuda (which need not be here): scratch is the device's [cpu]", NULL},
        {"memory", PN_OPT_BYTES, &o.memory, 0, 0, "SIZE", "also find the largest batch that fits",
         NULL},
        {"share-slot", PN_OPT_FLAG, &o.share_slot, 0, 0, NULL,
         "separate weights for the two terms of a node", NULL},
        {"seed", PN_OPT_SEED, &o.seed, 0, 0, "N", "seed for the random architectures [1]", NULL},
        {"json", PN_OPT_FLAG, &o.json, 0, 0, NULL, "print JSON", NULL},
    };
    enum { COUNT = sizeof table / sizeof *table };
    pn_status s = pn_options_parse(argc, argv, table, COUNT, NULL, 0, &words, &help);
    if (s == PN_OK && help) {
        fputs(pn_plan_usage, stdout);
        pn_options_print(stdout, table, COUNT);
        fputs(legend, stdout);
        return 0;
    }
    const bool evaluation = !strcmp(o.network, "eval");
    if (s == PN_OK && !evaluation && strcmp(o.network, "search"))
        s = pn_fail(PN_EARG, "--network %s, want search or eval", o.network);
    if (s == PN_OK && !!o.genotype + !!samples + o.supernet > 1)
        s = pn_fail(PN_EARG, "want one of --genotype, --samples and --supernet");
    if (s == PN_OK && o.supernet && evaluation)
        s = pn_fail(PN_EARG, "--supernet has no evaluation network, want --network search");
    const bool imagenet = !strcmp(o.stem, "imagenet");
    if (s == PN_OK && strcmp(o.stem, "cifar") && !(imagenet && evaluation))
        s = pn_fail(PN_EARG, "--stem %s, want cifar, or imagenet with --network eval", o.stem);
    const pn_network_sizes usual = pn_network_defaults(evaluation, imagenet);
    if (!o.layers) o.layers = usual.layers;
    if (!o.channels) o.channels = usual.channels;
    if (!o.batch) o.batch = usual.batch;
    if (!o.classes) o.classes = usual.classes;
    if (!o.image[0]) o.image[0] = o.image[1] = usual.edge;
    if (samples) o.samples = samples;
    planner p = {.o = &o};
    if (s == PN_OK) s = pn_backend_sizes(o.device ? o.device : "cpu", &p.kernels);
    if (s == PN_OK) s = pn_program_create(&p.program, p.kernels);
    if (s == PN_OK) s = plan(&o, &p);
    pn_program_destroy(p.program);
    if (p.created) pn_network_destroy(&p.network);
    return pn_report("plan", s);
}
