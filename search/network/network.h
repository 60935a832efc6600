/* network.h -- from an architecture to a program: which tensors there are, and which ops.
 *
 * Two networks of the same cells (Liu, Simonyan, Yang 2019):
 * - the search network holds weights for every (cell, node, input, op) of the space, shared by all
 *   architectures; BatchNorm has no scale and shift (but the stem's), pools are followed by one;
 * - the evaluation network holds the weights of one architecture; BatchNorm has scale and shift
 *   and running statistics, pools have none unless they are asked to, and the two terms of a node
 *   never share weights.
 * Names and shapes of the search network's tensors: `cells.I.nodes.J.input.M.OP.dw1.weight`, M the
 * input's index; the evaluation network's are those of the public PyTorch code of DARTS, and of
 * SNAS: `cells.I._ops.P.op.1.weight`, P the op's place in the genotype's list. */
#ifndef PN_NETWORK_H
#define PN_NETWORK_H

#include <stdbool.h>

#include "kernels/api.h"
#include "runtime/program.h"
#include "search/network/space.h"

PN_API_BEGIN

enum { PN_MAX_LAYERS = 64, PN_STEM_FACTOR = 3, PN_IMAGENET_STEM = 3 /* convolutions */ };

/* Sizes that the papers use where nothing else is asked for: the search network of DARTS on
 * CIFAR-10, its evaluation network, and that with the stem for ImageNet (Liu, Simonyan, Yang 2019,
 * appendix A). `edge` is an image's height and width. */
typedef struct pn_network_sizes {
    int layers, channels, batch, edge, classes;
} pn_network_sizes;
pn_network_sizes pn_network_defaults(bool evaluation, bool imagenet_stem);

typedef struct pn_network_spec {
    bool evaluation; /* false: the search network */
    int layers;      /* cells, 1..PN_MAX_LAYERS; reductions at layers/3 and 2*layers/3 */
    int channels;    /* C of the first cells, a multiple of 4; doubled by each reduction */
    int H, W, image_channels, classes;
    bool share_slot;    /* search network: weights also per slot, so that equal terms differ */
    bool auxiliary;     /* evaluation network: enumerate the auxiliary head's weights too */
    bool imagenet_stem; /* evaluation network: three convolutions of stride 2, the first to C/2 */
    bool pool_norm;     /* evaluation network: a BatchNorm behind the pools of its cells too, with
                         * scale and shift like all others: so the public code of SNAS has it. The
                         * search network has one in any case, without either */
    float smoothing;    /* of the labels */
} pn_network_spec;

/* First parameter of each op there is, -1 where there is none. */
typedef struct pn_cell_weights {
    int preprocess[2];
    int op[PN_MAX_NODES][PN_NODE_TERMS][2 + PN_MAX_NODES - 1][PN_MAX_OPS];
} pn_cell_weights;

typedef struct pn_network {
    pn_network_spec spec;
    pn_space space;
    pn_parameters parameters; /* enumerated; pn_parameters_allocate gives them memory */
    int stem, classifier; /* first of: weight, BatchNorm... (of each convolution); weight, bias */
    int auxiliary;        /* first of: weight, BatchNorm..., weight, [BatchNorm...], weight, bias */
    pn_cell_weights cell[PN_MAX_LAYERS];
    int max_ops, max_terms; /* of any architecture's program */
    int slots; /* places of a node in drop-path: 2, or 5 if the one architecture has every edge */
} pn_network;

/* Enumerates the tensors. `arch`: the one architecture of an evaluation network; ignored (may be
 * NULL) otherwise. PN_EARG with the setting at fault. */
pn_status pn_network_create(pn_network *network, const pn_network_spec *spec, const pn_space *space,
                            const pn_arch *arch);
void pn_network_destroy(pn_network *network);

/* A mixture on every edge of the supernet, all numbers in memory of the device. Edges are numbered
 * as in space.h, ops are the space's. */
typedef struct pn_mix {
    const float *weight;  /* (kinds, edges, ops), shared by the cells of a kind; NULL: all 1 */
    float *dweight;       /* (layers, edges, ops), of every cell its own, = of those in the program;
                           * NULL: not wanted */
    const int8_t *chosen; /* on the host: (kinds, edges), the one op of each edge, -1: none; NULL:
                           * all ops of every edge */
} pn_mix;

/* How a program is to be built. */
typedef struct pn_build {
    int N;
    bool training;          /* with backward */
    bool recompute;         /* which makes again what is between nodes: pn_program_recompute */
    bool inference;         /* BatchNorm takes the running statistics (evaluation network only) */
    bool guarded;           /* for a checked arena */
    bool auxiliary;         /* with the auxiliary head; result[1] is its */
    float auxiliary_weight; /* of its loss in the gradient: 0.4 in DARTS */
    const float *drop_path; /* NULL, or (layers, nodes, slots, N) factors on the device, as
                             * pn_network_drop_path makes them; of a mixture (layers, edges, N), as
                             * pn_network_drop_edges makes them */
    const pn_mix *mix;      /* of the supernet; NULL: each op has the same share */
    pn_result *result;      /* in memory of the device: [0], with auxiliary [1] too */
} pn_build;

/* Builds (begin, ops, heads) the program of an architecture, or with arch NULL that of the supernet
 * in which every node sums all ops on all of its inputs (search network only), or what how->mix
 * says of them. The caller compiles. */
pn_status pn_network_build(const pn_network *network, const pn_arch *arch, pn_program *program,
                           const pn_build *how);

/* Fills factor (layers, nodes, slots, N), on the host, for one step of drop-path (Larsson, Maire,
 * Shakhnarovich 2017, as DARTS has it): for every image a term is dropped or divided by `keep`, the
 * probability that it is not; 1 for the identity (skip_connect at stride 1), which is never
 * dropped. Of two equal terms of a node without weights, which the program computes once, the first
 * has the sum; 0 where there is no term. A function of (seed, step) and the place. */
void pn_network_drop_path(const pn_network *network, const pn_arch *arch, double keep,
                          uint64_t seed, int64_t step, float *factor, int N);

/* The same for a mixture, (layers, edges, N): drop-path of every edge, whatever its ops. */
void pn_network_drop_edges(const pn_network *network, double keep, uint64_t seed, int64_t step,
                           float *factor, int N);

/* Whether the auxiliary head fits behind cell 2*layers/3: its 5x5 pool must leave 2x2 pixels. So
 * with images of 32x32 (8x8 there), and with the ImageNet stem with 224x224 (7x7). */
bool pn_network_auxiliary_fits(const pn_network_spec *spec);

/* Flags in used[parameters.count] the tensors that an architecture's network has, needed by its
 * loss or not (a cell whose output nobody reads still has its weights); arch NULL: the supernet. */
void pn_network_uses(const pn_network *network, const pn_arch *arch, bool *used);

/* Numbers learnt in an architecture's network: weights, and those of the auxiliary head. */
void pn_network_count(const pn_network *network, const pn_arch *arch, size_t *weights,
                      size_t *auxiliary);

/* Bytes (they cannot overflow in a network that was created) of batches of N images and labels: of
 * a search two of each half of the data, of an evaluation network two, and the factors of
 * drop-path. */
size_t pn_network_batch_bytes(const pn_network *network, int N);

/* PN_EARG if batches cannot be cut into that many shards of equal size. */
pn_status pn_shards_check(int64_t shards, int64_t batch);

/* Multiply-adds of one image: convolutions and the classifier, without the auxiliary head. */
double pn_network_macs(const pn_network *network, const pn_arch *arch);

/* The same of a supernet of one op an edge, or none (pn_mix.chosen); chosen NULL: all ops. */
double pn_network_mixed_macs(const pn_network *network, const int8_t *chosen);

/* The architecture with the most buffers, all sep_conv_5x5 on different inputs. Twice the sum of
 * its buffers bounds every plan of the space: no term of another op has more or larger ones, and
 * the factor covers the workspaces of launches that only a mixture of ops has. */
pn_arch pn_network_largest(const pn_space *space);

PN_API_END

#endif
