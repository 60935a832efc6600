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

static const char usage[] =
    "parsec-nas plan [G | --samples N | --supernet] [OPTIONS]\n"
    "\n"
    "Prints parameters, multiply-adds and bytes: of one architecture (G, as\n"
    "--genotype); the smallest, mean and largest of N random ones (default 100); or\n"
    "of the supernet that holds all ops at once. With --memory it ends with 4 if the\n"
    "batch does not fit.\n"
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
static options o;

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
    const pn_kernels *kernels;
    pn_network network;
    bool created;
    pn_program *program;
} planner;

/* The figures of one architecture; arch NULL: the supernet. */
static pn_status measure(planner *p, const pn_arch *arch, int batch, double figure[FIGURES]) {
    const bool evaluation = !strcmp(o.network, "eval");
    if (!p->created || evaluation) { /* an evaluation network has one architecture's weights */
        if (p->created) pn_network_destroy(&p->network);
        p->created = false;
        const pn_network_spec spec = {.evaluation = evaluation,
                                      .layers = o.layers,
                                      .channels = o.channels,
                                      .H = o.image[0],
                                      .W = o.image[1],
                                      .image_channels = o.image[2],
                                      .classes = o.classes,
                                      .share_slot = o.share_slot,
                                      .auxiliary = true,
                                      .imagenet_stem = !strcmp(o.stem, "imagenet")};
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
        .auxiliary = evaluation && o.auxiliary && pn_network_auxiliary_fits(&p->network.spec)};
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
    const int pixels = o.image[0] * o.image[1], most = PN_MAX_PIXELS / pixels;
    return pn_budget_batch(total_bytes, &(candidate){p, arch}, most < 1 << 20 ? most : 1 << 20,
                           o.memory, batch);
}

static void print_text(double (*row)[FIGURES], bool one, int fitting) {
    char a[32], b[32], c[32];
    printf("%s network, %d layers, %d channels, batch %d of %dx%dx%d, %d classes\n", o.network,
           o.layers, o.channels, o.batch, o.image[0], o.image[1], o.image[2], o.classes);
    if (!one) printf("%-20s %18s %18s %18s\n", "", "smallest", "mean", "largest");
    for (int i = 0; i < FIGURES; i++) {
        if (one) {
            printf("%-20s %18.0f", keys[i], row[0][i]);
            if (is_bytes(i)) printf("  %s", pn_bytes_text(row[0][i], a));
        } else if (is_bytes(i)) {
            printf("%-20s %18s %18s %18s", keys[i], pn_bytes_text(row[0][i], a),
                   pn_bytes_text(row[1][i], b), pn_bytes_text(row[2][i], c));
        } else {
            printf("%-20s %18.0f %18.0f %18.0f", keys[i], row[0][i], row[1][i], row[2][i]);
        }
        putchar('\n');
    }
    if (o.memory)
        printf("%-20s %18d  within %s\n", "largest_batch", fitting,
               pn_bytes_text((double)o.memory, a));
}

static pn_status print_json(double (*row)[FIGURES], bool one, int fitting, const char *genotype) {
    static const char *const stat[] = {"min", "mean", "max"};
    json_t *root = json_object();
    int failed = 0;
    failed |= json_object_set_new(root, "network", json_string(o.network));
    failed |= json_object_set_new(root, "layers", json_integer(o.layers));
    failed |= json_object_set_new(root, "channels", json_integer(o.channels));
    failed |= json_object_set_new(root, "batch", json_integer(o.batch));
    failed |=
        json_object_set_new(root, "image", json_pack("[iii]", o.image[0], o.image[1], o.image[2]));
    failed |= json_object_set_new(root, "classes", json_integer(o.classes));
    if (genotype[0]) failed |= json_object_set_new(root, "genotype", json_string(genotype));
    if (!one) failed |= json_object_set_new(root, "samples", json_integer(o.samples));
    for (int i = 0; i < FIGURES; i++) {
        json_t *value = one ? json_integer((json_int_t)row[0][i]) : json_object();
        for (int j = 0; !one && j < 3; j++)
            failed |= json_object_set_new(
                value, stat[j],
                j == 1 ? json_real(row[j][i]) : json_integer((json_int_t)row[j][i]));
        failed |= json_object_set_new(root, keys[i], value);
    }
    if (o.memory) failed |= json_object_set_new(root, "largest_batch", json_integer(fitting));
    return pn_json_print(root, failed, JSON_INDENT(2), stdout);
}

/* The refusal with which search and train would end. */
static pn_status check_batch(double needed, int fitting) {
    char a[32], b[32], other[48] = "no batch would fit";
    if (needed <= (double)o.memory) return PN_OK;
    if (fitting) snprintf(other, sizeof other, "batch %d would fit", fitting);
    return pn_fail(PN_EMEM, "batch %d needs %s, --memory is %s; %s", o.batch,
                   pn_bytes_text(needed, a), pn_bytes_text((double)o.memory, b), other);
}

static pn_status plan(planner *p) {
    double row[3][FIGURES] = {{0}}, figure[FIGURES];
    char genotype[PN_GENOTYPE_BYTES] = "";
    pn_arch arch = {0}, largest = {0};
    const bool one = o.genotype || o.supernet;
    if (o.genotype) {
        PN_TRY(pn_genotype_open(o.genotype, &arch));
        pn_genotype_write(&arch, genotype);
    }
    if (one) {
        PN_TRY(measure(p, o.supernet ? NULL : &arch, o.batch, row[0]));
        largest = arch;
    } else {
        const pn_space space = pn_space_darts();
        pn_prior prior;
        PN_TRY(pn_prior_init(&prior, &space, false));
        for (int k = 0; k < o.samples; k++) {
            pn_prior_sample(&prior, o.seed, 0, (uint64_t)k, &arch);
            PN_TRY(measure(p, &arch, o.batch, figure));
            if (k == 0 || figure[TOTAL_BYTES] > row[2][TOTAL_BYTES]) largest = arch;
            for (int i = 0; i < FIGURES; i++) {
                row[0][i] = k && row[0][i] < figure[i] ? row[0][i] : figure[i];
                row[2][i] = k && row[2][i] > figure[i] ? row[2][i] : figure[i];
                row[1][i] = (k ? row[1][i] : 0) + figure[i] / o.samples;
            }
        }
    }
    int fitting = 0;
    if (o.memory) PN_TRY(largest_batch(p, o.supernet ? NULL : &largest, &fitting));
    if (o.json)
        PN_TRY(print_json(row, one, fitting, genotype));
    else
        print_text(row, one, fitting);
    if (fflush(stdout)) return pn_fail(PN_EIO, "cannot write to stdout");
    return o.memory ? check_batch(row[one ? 0 : 2][TOTAL_BYTES], fitting) : PN_OK;
}

#define PN_OF options

static const pn_field rows[] = {
    PN_ROWS_EITHER_NETWORK,
    PN_INT("samples", samples, 1, 1e6, NULL, "that many random architectures of the space [100]"),
    PN_FLAG("supernet", supernet, NULL,
            "the network of all ops on all inputs, as DARTS searches it"),
    PN_ROW_AUXILIARY("1", "auxiliary head of an evaluation network, where it fits"),
    PN_ROW_BATCH(NULL, "images a batch [64; eval 96, imagenet 128]"),
    PN_ROW_IMAGE(NULL, "image size [32x32x3; imagenet 224x224x3]"),
    PN_ROW_CLASSES(NULL, "classes [10; imagenet 1000]"),
    PN_ROW_DEVICE(device, "cpu", "cpu or cuda (which need not be here): scratch is the device's"),
    PN_BYTES("memory", memory,
             "also find the largest batch that fits; exit code 4 if this does not"),
    PN_ROW_SHARE_SLOT(NULL),
    PN_ROW_SEED("seed for the random architectures"),
    PN_ROW_JSON,
};

static pn_status plan_as_asked(planner *p) {
    bool evaluation;
    pn_network_sizes usual;
    PN_TRY(pn_network_asked(o.network, o.stem, &evaluation, &usual));
    if (!!o.genotype + !!o.samples + o.supernet > 1)
        return pn_fail(PN_EARG, "want one of --genotype, --samples and --supernet");
    if (o.supernet && evaluation)
        return pn_fail(PN_EARG, "--supernet has no evaluation network, want --network search");
    if (!o.samples) o.samples = 100;
    if (!o.layers) o.layers = usual.layers;
    if (!o.channels) o.channels = usual.channels;
    if (!o.batch) o.batch = usual.batch;
    if (!o.classes) o.classes = usual.classes;
    if (!o.image[0]) memcpy(o.image, (int[]){usual.edge, usual.edge, 3}, sizeof o.image);
    PN_TRY(pn_backend_sizes(o.device, &p->kernels));
    PN_TRY(pn_program_create(&p->program, p->kernels));
    return plan(p);
}

static pn_status run(const char *const *words) {
    planner p = {0};
    if (words[0] && o.genotype)
        return pn_fail(PN_EARG, "want one of %s and --genotype %s", words[0], o.genotype);
    if (words[0]) o.genotype = words[0];
    const pn_status s = plan_as_asked(&p);
    pn_program_destroy(p.program);
    if (p.created) pn_network_destroy(&p.network);
    return s;
}

PN_COMMAND(plan, "print parameters, multiply-adds and exact bytes before a run", .words = 1,
           .notes = legend, .options = {PN_OPTIONS(rows, o)});
