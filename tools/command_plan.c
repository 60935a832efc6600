/* command_plan.c -- what a network costs, before anything is allocated. */
#include <stdlib.h>

#include "search/methods/cost.h"
#include "search/methods/step.h"
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
    "                     whole space. With several samples or shards a step each\n"
    "                     has a gradient of its own, of one cell's network, and of\n"
    "                     several ranks each an even part of them; with --order 2\n"
    "                     there are two copies of the values more\n"
    "  activation_bytes   kept by the forward for the backward pass, as sampled:\n"
    "                     cells that nothing reads are dropped\n"
    "  arena_bytes        all of a training step, to the byte: activations, their\n"
    "                     gradients, scratch; with --in-flight of several arenas\n"
    "  arena_bytes_eval   the same for a forward pass alone\n"
    "  batch_bytes        images and labels, double-buffered: of a search for two\n"
    "                     halves of the data, of an evaluation network with the\n"
    "                     factors of drop-path\n"
    "  context_bytes      of a card, before anything is allocated: an allowance,\n"
    "                     where search and train ask the card; none on the host\n"
    "  total_bytes        parameter_bytes + arena_bytes + batch_bytes +\n"
    "                     context_bytes: what --memory limits in search and train\n"
    "The auxiliary head is trained too where images have the size it wants (32 or\n"
    "224), unless --no-auxiliary is given.\n";

static pn_cost_settings asked;

typedef struct options {
    bool json;
} options;
static options o;

static void print_text(const pn_cost *cost) {
    const pn_cost_settings *of = &cost->settings;
    const double(*row)[PN_COSTS] = cost->row;
    const bool one = cost->one;
    char a[32], b[32], c[32];
    printf("%s network, %d layers, %d channels, batch %d of %dx%dx%d, %d classes\n", of->network,
           of->layers, of->channels, of->batch, of->image[0], of->image[1], of->image[2],
           of->classes);
    if (!one) printf("%-20s %18s %18s %18s\n", "", "smallest", "mean", "largest");
    for (int i = 0; i < PN_COSTS; i++) {
        if (one) {
            printf("%-20s %18.0f", pn_cost_name[i], row[0][i]);
            if (pn_cost_is_bytes(i)) printf("  %s", pn_bytes_text(row[0][i], a));
        } else if (pn_cost_is_bytes(i)) {
            printf("%-20s %18s %18s %18s", pn_cost_name[i], pn_bytes_text(row[0][i], a),
                   pn_bytes_text(row[1][i], b), pn_bytes_text(row[2][i], c));
        } else {
            printf("%-20s %18.0f %18.0f %18.0f", pn_cost_name[i], row[0][i], row[1][i], row[2][i]);
        }
        putchar('\n');
    }
    if (of->memory)
        printf("%-20s %18d  within %s\n", "largest_batch", cost->largest_batch,
               pn_bytes_text((double)of->memory, a));
}

#define PN_OF pn_cost_settings

static const pn_field rows[] = {
    PN_ROWS_EITHER_NETWORK,
    PN_INT("samples", samples, 1, 1e6, NULL, "that many random architectures of the space [100]"),
    PN_TEXT("method", method, "parsec|random|darts|gdas|snas", "METHOD", NULL,
            "programs of a search by this method: of darts and snas the supernet, of gdas N random "
            "ones of an op an edge [parsec: random architectures]"),
    PN_INT("order", order, 1, 2, NULL,
           "of --method darts: 2 keeps two more copies of the weights [1]"),
    PN_FLAG("supernet", supernet, NULL,
            "the network of all ops on all inputs, as DARTS searches it"),
    PN_ROW_AUXILIARY("1", "auxiliary head of an evaluation network, where it fits"),
    PN_ROW_BATCH(NULL, "images a batch [64; eval 96, imagenet 128]"),
    PN_ROW_SHARDS(NULL),
    PN_INT("step-samples", step_samples, 1, PN_MAX_SAMPLES, NULL,
           "architectures a step of a search, --samples there [1]"),
    PN_ROW_IN_FLIGHT("of --step-samples so many at once, or as many as --memory has room for, as "
                     "search does it; 1 on the host [1]"),
    PN_INT("ranks", ranks, 1, 65536, NULL,
           "processes that share a step, as mpirun -n; bytes are of one of them [1]"),
    PN_ROW_IMAGE(NULL, "image size [32x32x3; imagenet 224x224x3]"),
    PN_ROW_CLASSES(NULL, "classes [10; imagenet 1000]"),
    PN_ROW_DEVICE(device, "cpu", "cpu or cuda (which need not be here): scratch is the device's"),
    PN_ROW_PRECISION(precision),
    PN_BYTES("memory", memory,
             "also find the largest batch that fits; exit code 4 if this does not"),
    PN_ROW_SHARE_SLOT(NULL),
    PN_ROW_RECOMPUTE(NULL),
    PN_ROW_SEED("seed for the random architectures"),
};

#undef PN_OF
#define PN_OF options

static const pn_field own_rows[] = {PN_ROW_JSON};

static pn_status print_json(const pn_cost *cost) {
    char *text;
    PN_TRY(pn_cost_text(cost, &text));
    puts(text);
    free(text);
    return PN_OK;
}

/* The refusal with which search and train would end. */
static pn_status check_batch(const pn_cost *cost) {
    const size_t limit = cost->settings.memory;
    const double needed = cost->row[cost->one ? 0 : 2][PN_COST_TOTAL_BYTES];
    char a[32], b[32], other[48] = "no batch would fit";
    if (!limit || needed <= (double)limit) return PN_OK;
    if (cost->largest_batch)
        snprintf(other, sizeof other, "batch %d would fit", cost->largest_batch);
    return pn_fail(PN_EMEM, "batch %d needs %s, --memory is %s; %s", cost->settings.batch,
                   pn_bytes_text(needed, a), pn_bytes_text((double)limit, b), other);
}

static pn_status run(const char *const *words) {
    pn_cost cost;
    if (words[0] && asked.genotype)
        return pn_fail(PN_EARG, "want one of %s and --genotype %s", words[0], asked.genotype);
    if (words[0]) asked.genotype = words[0];
    PN_TRY(pn_cost_find(&asked, &cost));
    if (o.json)
        PN_TRY(print_json(&cost));
    else
        print_text(&cost);
    if (fflush(stdout) || ferror(stdout)) return pn_fail(PN_EIO, "cannot write to stdout");
    return check_batch(&cost);
}

PN_COMMAND(plan, "print parameters, multiply-adds and exact bytes before a run", .words = 1,
           .notes = legend, .options = {PN_OPTIONS(rows, asked), PN_OPTIONS(own_rows, o)});
