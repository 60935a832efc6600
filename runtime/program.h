/* program.h -- a network as data: values and ops in, launches of jobs out.
 *
 * A program is built op by op (each call gives the index of the value it makes), then compiled:
 * ops that no head needs are dropped, the others sorted into launches of one family each, every
 * buffer gets its life and its place (plan.h). Binding fills the jobs with pointers. Architecture
 * is never code: the same few kernels run any program, and on a device the job table of a program
 * is one upload.
 *
 * Order. A launch is all jobs of one family that are ready: forward, what they read is there;
 * backward, all that reads what they made is done. Which family goes next is chosen so that a pass
 * takes few launches. The first launch that adds to a gradient overwrites it.
 *
 * A program is reused for architecture after architecture; after pn_program_reserve for the
 * largest nothing is allocated any more. */
#ifndef PN_PROGRAM_H
#define PN_PROGRAM_H

#include <stdbool.h>

#include "kernels/api.h"
#include "kernels/kernels.h"
#include "runtime/arena.h"
#include "runtime/parameters.h"
#include "runtime/plan.h"

PN_API_BEGIN

/* PN_STEM, PN_CONV1X1, ... Of two families that make equally few launches the first goes first. */
typedef enum pn_family {
#define PN_FAMILY(FAMILY, op, with) PN_##FAMILY,
    PN_OPS(PN_FAMILY, )
#undef PN_FAMILY
        PN_FAMILIES
} pn_family;

typedef int pn_value; /* index of a tensor of the program; -1: none */

/* running = (1 - momentum) * running + momentum * batch. */
#define PN_RUNNING_MOMENTUM 0.1F

/* BatchNorm of a value: mode, and indices into the parameter store, -1 where there is none. */
typedef struct pn_norm_spec {
    pn_norm_mode mode;
    int gamma, beta, running_mean, running_var;
} pn_norm_spec;

/* A term of a node, by value. factor: (N) floats owned by the caller, or NULL; weight and dweight:
 * one each, in memory of the device, or NULL (pn_term). */
typedef struct pn_term_spec {
    pn_value value;
    float coef;
    const float *factor, *weight;
    float *dweight;
} pn_term_spec;

typedef struct pn_program pn_program;

/* `kernels` gives the sizes of scratch. */
pn_status pn_program_create(pn_program **program, const pn_kernels *kernels);
void pn_program_destroy(pn_program *program);

/* Makes room for programs of up to that many ops with that many terms in all. PN_EMEM. */
pn_status pn_program_reserve(pn_program *program, int ops, int terms);

/* Empties the program. N images a batch; `training`: it will run backward; `guarded`: for a
 * checked arena (room for guards). */
void pn_program_begin(pn_program *program, int N, bool training, bool guarded);

/* Between begin and compile, of a program that will run backward: what the ops of cells make
 * (conv1x1, reduce, stage, pool) is not kept for the backward pass. What that reads of it is made
 * again, just before; statistics are kept, and a node's restored term is put back as ever. All
 * results have the same bits. */
void pn_program_recompute(pn_program *program);

/* Building. A failure sticks: it gives -1 from there on, and pn_program_compile returns it. A
 * tensor beyond the limits of kernels.h (pixels, channels) is PN_EARG: so no size overflows. */
pn_value pn_program_image(pn_program *p, int H, int W, int C);
pn_value pn_program_stem(pn_program *p, pn_value image, int stride, int w, int K,
                         pn_norm_spec norm);
pn_value pn_program_stage(pn_program *p, pn_value x, int R, int dilation, int stride, int dw,
                          int pw, pn_norm_spec norm);
pn_value pn_program_conv1x1(pn_program *p, const pn_value *x, int parts, int w, int K,
                            pn_norm_spec norm);
pn_value pn_program_reduce(pn_program *p, const pn_value *x, int parts, int w, int K,
                           pn_norm_spec norm);
/* w: (R,R,C,K), or (C,K) of an average (pn_conv.mean). An image that has no room for a window is
 * PN_EARG. */
pn_value pn_program_conv(pn_program *p, const pn_value *x, int parts, int R, int stride, int pad,
                         bool mean, int w, int K, pn_norm_spec norm);
pn_value pn_program_pool(pn_program *p, pn_value x, pn_pool_kind kind, int stride,
                         pn_norm_spec norm);
/* A value may stand in one term of a node only (merge equal terms into one coef). */
pn_value pn_program_node(pn_program *p, const pn_term_spec *terms, int count);
/* A node without terms: zeros. */
pn_value pn_program_zeros(pn_program *p, int H, int W, int C);
/* w, b: parameters. result: in memory of the device, owned by the caller. */
void pn_program_head(pn_program *p, const pn_value *x, int parts, bool relu, int w, int b,
                     int classes, float smoothing, float loss_weight, pn_result *result);

/* Height, width and channels of a value. */
void pn_program_shape(const pn_program *p, pn_value v, int *H, int *W, int *C);

/* What a compiled program needs. */
typedef struct pn_program_size {
    size_t arena_bytes;      /* the plan's total */
    size_t activation_bytes; /* of the forward's outputs that live into the backward pass */
    size_t scratch_bytes;    /* the largest scratch of a launch */
    size_t unshared_bytes;   /* of all buffers, had each a place of its own */
    int levels, launches_fwd, launches_bwd, jobs_fwd, jobs_bwd; /* bwd: all that backward runs */
} pn_program_size;

/* Sorts, plans. Afterwards pn_program_bind may be called any number of times. */
pn_status pn_program_compile(pn_program *program, pn_program_size *size);

/* The most bytes alive at any one launch of a compiled program: no plan could be smaller. For
 * reports: it takes as long as all of compiling. */
size_t pn_program_floor(const pn_program *program);

/* Between compile and bind, of a program that trains: its gradients go elsewhere, that of parameter
 * i to base + at[i], in memory of the device; and so do running statistics, old and new. Until it
 * is compiled again. */
void pn_program_gradient(pn_program *program, float *base, const size_t *at);

/* Fills in the pointers: arena (committed here), parameters, and the batch (image (N,H,W,C),
 * labels (N), both NULL to have the size checked only). scale: what the heads' gradients are
 * multiplied by, and gate for all of backward; may be NULL. Where kernels do not work in the host's
 * memory, all pointers, those given when building too, are the device's, and this queues the one
 * upload of the program. */
pn_status pn_program_bind(pn_program *program, pn_arena *arena, pn_parameters *parameters,
                          const float *image, const int32_t *labels, const float *scale);

/* Runs the bound program; backward adds to the parameters' gradient range, or where
 * pn_program_gradient says. */
pn_status pn_program_forward(pn_program *program);
pn_status pn_program_backward(pn_program *program);

/* Logits (N,classes) of head `index` after a forward run, until the next program uses the arena; in
 * memory of the device. */
const float *pn_program_logits(const pn_program *program, int index);

/* As given to pn_program_begin. */
int pn_program_batch(const pn_program *program);
bool pn_program_trains(const pn_program *program);

/* Without compiling: finds out which ops of what was built the heads need, for pn_program_touch and
 * pn_program_track, and gives their number. Errors of building. */
pn_status pn_program_mark(pn_program *program, int *ops);

/* Marks in touched[index] (parameters->count flags) the parameters that the program uses; and the
 * running statistics that its forward pass moves in training. */
void pn_program_touch(const pn_program *program, bool *touched);
void pn_program_track(const pn_program *program, bool *tracked);

PN_API_END

#endif
