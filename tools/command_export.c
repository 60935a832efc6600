/* command_export.c -- weights out of a training's directory, into a file of their own. */
#include <string.h>

#include "search/network/weights.h"
#include "search/train/trained.h"
#include "tools/commands.h"

static const char usage[] =
    "parsec-nas export TRAINING --safetensors FILE [OPTIONS]\n"
    "\n"
    "Writes the weights of a training (what train was given; of several seeds,\n"
    "DIR/seed-N; or one of its .safetensors files) with the names and shapes of\n"
    "PyTorch's DARTS evaluation network, running statistics included:\n"
    "load_state_dict(strict=True) takes them. If your network has no auxiliary head,\n"
    "add --no-auxiliary. Metadata say what images it takes and name the classes.\n"
    "\n";

typedef struct options {
    const char *safetensors;
    bool best, auxiliary;
} options;
static options o;

#define PN_OF options

static const pn_field rows[] = {
    PN_PATH("safetensors", safetensors, NULL, "FILE", NULL, "where to"),
    PN_FLAG("best", best, NULL, "weights of the epoch with the best score, not of the last"),
    PN_ROW_AUXILIARY("1", "the auxiliary head's too, if there is one"),
};

static pn_status copy(const pn_safetensors *f, const pn_weights_about *about) {
    const pn_space space = pn_space_darts();
    pn_arch arch;
    pn_network network = {0};
    PN_TRY(pn_genotype_read(about->genotype, strlen(about->genotype), &arch));
    PN_TRY(pn_network_create(&network, &about->spec, &space, &arch));
    const pn_parameters *p = &network.parameters;
    pn_status s = pn_weights_backed(f, &network);
    if (s == PN_OK) s = pn_parameters_allocate(&network.parameters, &pn_host_memory);
    if (s == PN_OK) s = pn_weights_get(f, p, p->value, "", NULL, PN_ALL_ROLES);
    const int64_t *tracked = NULL;
    const void *data;
    if (s == PN_OK)
        s = pn_safetensors_get(f,
                               about->spec.imagenet_stem ? "stem0.1.num_batches_tracked"
                                                         : "stem.1.num_batches_tracked",
                               PN_I64, 0, NULL, &data);
    if (s == PN_OK) tracked = data;
    if (s == PN_OK)
        s = pn_weights_save(NULL, o.safetensors, &network, &arch, &about->images, *tracked,
                            o.auxiliary);
    pn_network_destroy(&network);
    return s;
}

static pn_status run(const char *const *words) {
    const char *from = words[0];
    char path[PN_PATH_BYTES];
    pn_safetensors *f = NULL;
    pn_weights_about about = {0};
    if (!from) return pn_fail(PN_EARG, "want TRAINING: a directory that train has made");
    if (!o.safetensors) return pn_fail(PN_EARG, "want --safetensors FILE");
    PN_TRY(pn_trained_weights(from, o.best, path));
    PN_TRY(pn_safetensors_read(path, &f));
    pn_status s = pn_weights_describe(f, &about);
    if (s == PN_OK && !about.known)
        s = pn_fail(PN_EINPUT, "not weights of a training (no format in its metadata)");
    if (s == PN_OK) s = copy(f, &about);
    pn_weights_about_free(&about);
    pn_safetensors_free(f);
    return s == PN_OK || s == PN_EIO ? s : pn_fail_in(s, "%s", path);
}

PN_COMMAND(export, "write trained weights to a file that PyTorch's DARTS network loads", .words = 1,
           .options = {PN_OPTIONS(rows, o)});
