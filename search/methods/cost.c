/* cost.c -- see cost.h. */
#include "search/methods/cost.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/backend.h"
#include "runtime/json.h"
#include "runtime/rng.h"
#include "runtime/units.h"
#include "search/methods/method.h"
#include "search/methods/mixture.h"
#include "search/network/budget.h"

const char *const pn_cost_name[PN_COSTS] = {
    "params",      "params_auxiliary", "macs",         "parameter_bytes", "activation_bytes",
    "arena_bytes", "arena_bytes_eval", "batch_bytes",  "context_bytes",   "total_bytes",
    "floor_bytes", "levels",           "launches_fwd", "launches_bwd"};

pn_status pn_network_asked(const char *network, const char *stem, bool pool_norm, bool *evaluation,
                           pn_network_sizes *usual) {
    const bool imagenet = !strcmp(stem, "imagenet");
    *evaluation = !strcmp(network, "eval");
    if (imagenet && !*evaluation)
        return pn_fail(PN_EARG, "--stem imagenet, want cifar, or imagenet with --network eval");
    if (pool_norm && !*evaluation)
        return pn_fail(PN_EARG,
                       "--pool-norm goes with --network eval: the pools of a search network have a "
                       "BatchNorm in any case");
    *usual = pn_network_defaults(*evaluation, imagenet);
    return PN_OK;
}

typedef struct planner {
    const pn_kernels *kernels;
    pn_network network;
    bool created;
    pn_program *program;
    pn_cost_settings asked; /* resolved */
} planner;

/* What is measured: an architecture, a supernet of one op an edge, or the supernet. */
typedef struct subject {
    bool has_arch, has_chosen;
    pn_arch arch;
    int8_t chosen[PN_MAX_MIX_EDGES];
} subject;

/* Of a step. */
static int units_of(const pn_cost_settings *o) { return o->step_samples * o->shards; }

/* In place of the one before. auxiliary: with the weights of that head. */
static pn_status create(planner *p, const pn_arch *arch, bool auxiliary) {
    const pn_network_spec spec = {.evaluation = !strcmp(p->asked.network, "eval"),
                                  .layers = p->asked.layers,
                                  .channels = p->asked.channels,
                                  .H = p->asked.image[0],
                                  .W = p->asked.image[1],
                                  .image_channels = p->asked.image[2],
                                  .classes = p->asked.classes,
                                  .share_slot = p->asked.share_slot,
                                  .auxiliary = auxiliary,
                                  .imagenet_stem = !strcmp(p->asked.stem, "imagenet"),
                                  .pool_norm = p->asked.pool_norm};
    const pn_space space = pn_space_darts();
    if (p->created) pn_network_destroy(&p->network);
    p->created = false;
    PN_TRY(pn_network_create(&p->network, &spec, &space, arch));
    p->created = true;
    return PN_OK;
}

static pn_status measure(planner *p, const subject *of, int batch, double figure[PN_COSTS]) {
    const pn_arch *arch = of->has_arch ? &of->arch : NULL;
    const int8_t *chosen = of->has_chosen ? of->chosen : NULL;
    const bool evaluation = !strcmp(p->asked.network, "eval");
    const bool several = p->asked.shards > 1 || p->asked.step_samples > 1;
    const int N = (batch + p->asked.shards - 1) / p->asked.shards; /* of a shard */
    if (!p->created || evaluation) PN_TRY(create(p, arch, true));  /* weights of one architecture */
    size_t weights, auxiliary;
    pn_network_count(&p->network, arch, &weights, &auxiliary);
    const bool head =
        evaluation && p->asked.auxiliary && pn_network_auxiliary_fits(&p->network.spec);
    if (evaluation && !head) PN_TRY(create(p, arch, false)); /* counted, but it has no bytes */
    pn_program_size training, forward;
    float number = 0; /* an address for each learnt weight of a supernet: nothing runs */
    const pn_mix learnt = {.weight = chosen ? NULL : &number, .dweight = &number, .chosen = chosen},
                 *mix = arch ? NULL : &learnt;
    const bool drops = mix && pn_method_find(p->asked.method)->drop_path;
    const pn_build train = {.N = N,
                            .training = true,
                            .mix = mix,
                            .drop_path = drops ? &number : NULL,
                            .recompute = p->asked.recompute,
                            .auxiliary = head};
    PN_TRY(pn_network_build(&p->network, arch, p->program, &train));
    PN_TRY(pn_program_compile(p->program, &training));
    const size_t floor = pn_program_floor(p->program);
    pn_unit_counts units = {.here = pn_units_most(units_of(&p->asked), p->asked.ranks)};
    if (several) PN_TRY(pn_units_floats(&p->network.parameters, p->program, &units.floats));
    PN_TRY(pn_network_build(&p->network, arch, p->program,
                            &(pn_build){.N = N, .inference = evaluation, .mix = mix}));
    PN_TRY(pn_program_compile(p->program, &forward));
    p->network.parameters.no_gradient = several;
    const size_t sum = several ? pn_units_arena_bytes(&p->network.parameters) : 0;
    const double parameters =
        (double)(pn_parameters_bytes(&p->network.parameters) + pn_units_bytes(units) +
                 pn_model_ahead_bytes(&p->network.parameters, p->asked.order == 2));
    const double batches = (double)pn_network_batch_bytes(&p->network, batch),
                 context = (double)p->kernels->memory->context_bytes;
    const double others = parameters + batches + context;
    const int flights = pn_flights_granted(
        (pn_flights_wish){.flights = p->asked.in_flight,
                          .samples = p->asked.step_samples,
                          .here = units.here,
                          .program = training.arena_bytes,
                          .sum = sum,
                          .else_bytes = others,
                          .room = p->asked.memory ? (double)p->asked.memory : INFINITY});
    const double arena = (double)pn_flights_bytes(training.arena_bytes, sum, flights);
    const double values[PN_COSTS] = {
        [PN_COST_PARAMS] = (double)weights,
        [PN_COST_PARAMS_AUXILIARY] = (double)auxiliary,
        [PN_COST_MACS] =
            arch ? pn_network_macs(&p->network, arch) : pn_network_mixed_macs(&p->network, chosen),
        [PN_COST_PARAMETER_BYTES] = parameters,
        [PN_COST_ACTIVATION_BYTES] = (double)training.activation_bytes,
        [PN_COST_ARENA_BYTES] = arena,
        [PN_COST_ARENA_BYTES_EVAL] = (double)forward.arena_bytes,
        [PN_COST_BATCH_BYTES] = batches,
        [PN_COST_CONTEXT_BYTES] = context,
        [PN_COST_TOTAL_BYTES] = others + arena,
        [PN_COST_FLOOR_BYTES] = (double)floor,
        [PN_COST_LEVELS] = training.levels,
        [PN_COST_LAUNCHES_FWD] = training.launches_fwd,
        [PN_COST_LAUNCHES_BWD] = training.launches_bwd};
    memcpy(figure, values, sizeof values);
    return PN_OK;
}

/* What the largest of them needs with batches of N. */
typedef struct candidate {
    planner *p;
    const subject *of;
} candidate;

static pn_status total_bytes(void *self, int N, size_t *bytes) {
    const candidate *c = self;
    double figure[PN_COSTS];
    PN_TRY(measure(c->p, c->of, N, figure));
    *bytes = (size_t)figure[PN_COST_TOTAL_BYTES];
    return PN_OK;
}

static pn_status largest_batch(planner *p, const subject *of, int *batch) {
    const int pixels = p->asked.image[0] * p->asked.image[1], most = PN_MAX_PIXELS / pixels;
    return pn_budget_batch(total_bytes, &(candidate){p, of}, most < 1 << 20 ? most : 1 << 20,
                           p->asked.shards, p->asked.memory, batch);
}

/* The one asked for; *largest: of which the largest batch is sought. */
static pn_status find_one(planner *p, pn_cost *cost, subject *largest) {
    const pn_cost_settings *o = &p->asked;
    if (o->genotype) {
        largest->has_arch = true;
        PN_TRY(pn_genotype_open(o->genotype, &largest->arch));
        pn_genotype_write(&largest->arch, cost->genotype);
    }
    return measure(p, largest, o->batch, cost->row[0]);
}

/* The k-th random one. Of a method that draws an op an edge, each of them, and none, is as
 * likely. */
static void draw(const planner *p, const pn_prior *uniform, int k, subject *of) {
    const uint64_t seed = p->asked.seed, step = (uint64_t)k;
    *of = (subject){.has_chosen = pn_method_find(p->asked.method)->model == PN_MODEL_EDGES};
    of->has_arch = !of->has_chosen;
    pn_prior_sample(uniform, seed, 0, (uint64_t)k, &of->arch);
    for (int e = 0; e < PN_MAX_MIX_EDGES; e++)
        of->chosen[e] =
            (int8_t)((int)pn_random_below(seed, PN_STREAM_GUMBEL, step, (uint64_t)e, PN_MIX_OPS) -
                     1);
}

static pn_status find_random(planner *p, pn_cost *cost, subject *largest) {
    const pn_cost_settings *o = &p->asked;
    const pn_space space = pn_space_darts();
    double(*row)[PN_COSTS] = cost->row, figure[PN_COSTS];
    pn_prior prior;
    subject of;
    PN_TRY(pn_prior_init(&prior, &space, false));
    for (int k = 0; k < o->samples; k++) {
        draw(p, &prior, k, &of);
        PN_TRY(measure(p, &of, o->batch, figure));
        if (k == 0 || figure[PN_COST_TOTAL_BYTES] > row[2][PN_COST_TOTAL_BYTES]) *largest = of;
        for (int i = 0; i < PN_COSTS; i++) {
            row[0][i] = k && row[0][i] < figure[i] ? row[0][i] : figure[i];
            row[2][i] = k && row[2][i] > figure[i] ? row[2][i] : figure[i];
            row[1][i] = (k ? row[1][i] : 0) + figure[i] / o->samples;
        }
    }
    return PN_OK;
}

static pn_status find(planner *p, pn_cost *cost) {
    subject largest = {0};
    char name[PN_BACKEND_NAME];
    PN_TRY(pn_backend_name(p->asked.device, p->asked.precision, name));
    PN_TRY(pn_backend_sizes(name, &p->kernels));
    if (!strncmp(p->kernels->name, "host", 4)) p->asked.in_flight = 1; /* one after another */
    PN_TRY(pn_program_create(&p->program, p->kernels));
    PN_TRY(cost->one ? find_one(p, cost, &largest) : find_random(p, cost, &largest));
    if (!p->asked.memory) return PN_OK;
    return largest_batch(p, &largest, &cost->largest_batch);
}

/* As of a search: an option of one of the methods. */
static pn_status check_order(const pn_cost_settings *o) {
    pn_settings search = pn_settings_defaults();
    snprintf(search.method, sizeof search.method, "%s", o->method);
    if (o->order) search.order = o->order;
    return pn_method_check(&search);
}

static pn_status resolve(pn_cost_settings *o) {
    bool evaluation;
    pn_network_sizes usual;
    PN_TRY(pn_network_asked(o->network, o->stem, o->pool_norm, &evaluation, &usual));
    if (!o->method) o->method = "parsec";
    const pn_model_kind model = pn_method_find(o->method)->model;
    PN_TRY(check_order(o));
    if (model != PN_MODEL_CELLS && (o->genotype || evaluation))
        return pn_fail(PN_EARG, "--method %s searches no single cell, want --network search%s",
                       o->method, o->genotype ? " and no genotype" : "");
    if (model == PN_MODEL_MIXTURE) o->supernet = true;
    if (!o->shards) o->shards = 1;
    if (!o->step_samples) o->step_samples = 1;
    if (!o->in_flight) o->in_flight = 1;
    if (o->shards > 1 && (model != PN_MODEL_CELLS || o->supernet))
        return pn_fail(PN_EARG, "--shards %d, want 1: a supernet runs whole batches", o->shards);
    if (o->step_samples > 1 && (model != PN_MODEL_CELLS || o->supernet || evaluation))
        return pn_fail(PN_EARG, "--step-samples %d, want 1, or a search of cells", o->step_samples);
    if (!o->ranks) o->ranks = 1;
    if (o->ranks > units_of(o))
        return pn_fail(PN_EARG, "--ranks %d, want at most %d: %d samples in %d shards each",
                       o->ranks, units_of(o), o->step_samples, o->shards);
    if (!!o->genotype + !!o->samples + o->supernet > 1)
        return pn_fail(PN_EARG, "want one of --genotype, --samples and --supernet");
    if (o->supernet && evaluation)
        return pn_fail(PN_EARG, "--supernet has no evaluation network, want --network search");
    if (!o->samples) o->samples = 100;
    if (!o->layers) o->layers = usual.layers;
    if (!o->channels) o->channels = usual.channels;
    if (!o->batch) o->batch = usual.batch;
    if (!o->classes) o->classes = usual.classes;
    PN_TRY(pn_shards_check(o->shards, o->batch));
    if (!o->image[0]) memcpy(o->image, (int[]){usual.edge, usual.edge, 3}, sizeof o->image);
    return PN_OK;
}

pn_status pn_cost_find(const pn_cost_settings *settings, pn_cost *cost) {
    planner p = {.asked = *settings};
    PN_TRY(resolve(&p.asked));
    *cost = (pn_cost){.settings = p.asked, .one = p.asked.genotype || p.asked.supernet};
    const pn_status s = find(&p, cost);
    pn_program_destroy(p.program);
    if (p.created) pn_network_destroy(&p.network);
    return s;
}

pn_status pn_cost_text(const pn_cost *cost, char **text) {
    const pn_cost_settings *o = &cost->settings;
    const double(*row)[PN_COSTS] = cost->row;
    const bool one = cost->one;
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
    if (cost->genotype[0])
        failed |= json_object_set_new(root, "genotype", json_string(cost->genotype));
    if (!one) failed |= json_object_set_new(root, "samples", json_integer(o->samples));
    for (int i = 0; i < PN_COSTS; i++) {
        json_t *value = one ? json_integer((json_int_t)row[0][i]) : json_object();
        for (int j = 0; !one && j < 3; j++)
            failed |= json_object_set_new(
                value, stat[j],
                j == 1 ? json_real(row[j][i]) : json_integer((json_int_t)row[j][i]));
        failed |= json_object_set_new(root, pn_cost_name[i], value);
    }
    if (o->memory)
        failed |= json_object_set_new(root, "largest_batch", json_integer(cost->largest_batch));
    return pn_json_text(root, failed, JSON_INDENT(2), text);
}
