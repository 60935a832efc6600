/* program_parts.h -- the stages of a program, for the files that implement them and nobody else.
 *
 *   graph.c      what is built: values and the ops that read and make them; what of it is needed
 *   schedule.c   graph -> the order of the ops, in launches
 *   lifetimes.c  graph, schedule -> buffers, and the launches at which each begins and ends
 *   jobs.c       graph, schedule, buffers, binding -> jobs as the kernels read them
 *   program.c    runs the stages, and the launches
 *
 * A stage reads what earlier stages made and writes to one struct of its own. Only the functions
 * whose comment says so allocate or fail. Everything is indexed alike: ops, uses and values as in
 * the graph, launches as in the schedule. */
#ifndef PN_PROGRAM_PARTS_H
#define PN_PROGRAM_PARTS_H

#include "runtime/program.h"

/* What a launch does: AGAIN is a forward run in the backward pass. */
enum { FORWARD, BACKWARD, PASSES, AGAIN = PASSES, TURNS };

/* Resizes *list to `count` items of `item` bytes, unless that is none. PN_EMEM leaves it as it
 * was. */
pn_status pn_resize(void **list, int count, size_t item);
#define PN_RESIZE(list, count) pn_resize((void **)&(list), count, sizeof *(list))

/* ---- graph ----------------------------------------------------------------------------------- */

/* A tensor. */
typedef struct value {
    int H, W, C;
    int op; /* its producer; -1: the image */
    pn_norm_spec norm;
    int uses;    /* by living ops */
    int shared;  /* index of the one use (a node's term) whose gradient stands for this value's own;
                   -1: it has its own */
    bool reread; /* in the backward pass, by an op that reads it */
} value;

/* One op's reading of one value. */
typedef struct use {
    pn_term_spec term;
    int op;
} use;

typedef struct op {
    pn_family family;
    pn_value out; /* -1: a head */
    int first_use, uses;
    int depth; /* ops in the longest chain that ends here */
    bool alive;
    int restored; /* node: the use that shares its tensor with the sum (pn_node.restore), or -1 */
    bool again;   /* its output is not kept for the backward pass, but made again there */
    int R, dilation, stride, pad;
    bool mean;
    pn_pool_kind pool;
    int w, w2; /* parameters, or -1; stage: depthwise and pointwise; head: weight and bias */
    bool relu;
    int classes;
    float smoothing, loss_weight;
    pn_result *result;
} op;

typedef struct pn_graph {
    int N;
    bool training, recompute;
    pn_status failed; /* the first failure of building */
    value *values;
    use *uses; /* op by op */
    op *ops;   /* producers before readers */
    int value_count, use_count, op_count;
    int values_max, uses_max, ops_max;
} pn_graph;

/* The graph of a program, for the functions of program.h that build it. */
pn_graph *pn_graph_of(pn_program *program);

/* Makes room for that many ops with that many terms in all. PN_EMEM. */
pn_status pn_graph_reserve(pn_graph *graph, int ops, int terms);
void pn_graph_free(pn_graph *graph);

/* Empties it. A batch below 1 is its first failure. */
void pn_graph_begin(pn_graph *graph, int N, bool training);

/* Sets what the later stages ask of a graph that is built: alive, uses, shared, restored, again. */
void pn_graph_mark(pn_graph *graph);

/* What a use reads. */
static inline const value *pn_value_read(const pn_graph *graph, int u) {
    return &graph->values[graph->uses[u].term.value];
}

/* Does backward read a value again, beside its statistics: its producer's, and this use's? */
bool pn_producer_rereads(const value *v);
bool pn_use_rereads(const pn_graph *graph, int u);

/* Does a backward job of this use write a gradient? In a marked graph. */
bool pn_use_writes(const pn_graph *graph, int u);

/* Do two ops add to the same gradient? In a marked graph. */
bool pn_ops_share_gradient(const pn_graph *graph, const op *a, const op *b);

/* ---- schedule -------------------------------------------------------------------------------- */

/* All jobs of one family that run at once. */
typedef struct launch {
    pn_family family;
    int pass;         /* FORWARD, BACKWARD, AGAIN */
    int first, count; /* in pn_schedule.order */
} launch;

/* When an op runs. Then, while the launches of a pass are chosen: */
typedef struct turn {
    int launch[TURNS];
    int waits;             /* for so many other ops */
    int held[PN_FAMILIES]; /* so many of those are of that family, or held by it themselves: the op
                              cannot become ready before that family is launched */
    int first;             /* of those that wait for it, in pn_schedule.followers; -1: none */
    int next;              /* the next one that is ready, of the same family */
    int level; /* among what is run again before one launch: 1, or above those it reads; 0: it is
                  not yet run again, -1: it has been */
} turn;

/* An op that waits for another one, and the next that does. */
typedef struct follower {
    int op, next;
} follower;

typedef struct pn_schedule {
    launch *launches; /* forward, then backward */
    int *order;       /* ops in running order: forward, then backward */
    turn *turns;      /* of each living op */
    follower *followers;
    int follower_count;
    int count, forward; /* launches, and those of them that are forward */
    int jobs[PASSES];   /* length of each part of the order */
    int ops_max;        /* for which there is room */
} pn_schedule;

/* Makes room for that many ops with that many terms in all. PN_EMEM. */
pn_status pn_schedule_reserve(pn_schedule *schedule, int ops, int terms);
void pn_schedule_free(pn_schedule *schedule);

/* Sorts the living ops of a marked graph into launches; backward only in training. */
void pn_schedule_make(const pn_graph *graph, pn_schedule *schedule);

/* ---- lifetimes ------------------------------------------------------------------------------- */

/* What an op has in memory, as indices into pn_buffers.list; -1: nothing. */
typedef struct place {
    int data, grad, stats;
    int again;          /* data in the backward pass: another buffer if the op is run again */
    int pooled, logits; /* of a head */
    int writer; /* training: the op whose backward comes first, and overwrites the gradient */
} place;

typedef struct pn_buffers {
    pn_buffer *list;
    place *places; /* of each living op */
    int *scratch;  /* of each launch: a buffer, -1: none wanted */
    pn_plan_room room;
    int count;
    size_t guard; /* bytes of each buffer that only guard its end */
} pn_buffers;

/* Makes room for the buffers of that many ops. PN_EMEM. */
pn_status pn_buffers_reserve(pn_buffers *buffers, int ops);
void pn_buffers_free(pn_buffers *buffers);

/* Lists all that jobs read and write but scratch, and sets places and guard. Offsets are pn_plan's,
 * when scratch is listed too. */
void pn_buffers_make(const pn_graph *graph, const pn_schedule *schedule, pn_storage storage,
                     size_t guard, pn_buffers *buffers);

/* Appends one more, for the launches first..last, and gives its index. */
int pn_buffers_add(pn_buffers *buffers, size_t bytes, int first, int last);

/* ---- jobs ------------------------------------------------------------------------------------ */

/* What a program runs on; all NULL before it is bound. */
typedef struct pn_binding {
    pn_arena *arena;
    const pn_parameters *parameters;
    const float *image, *scale;
    const int32_t *labels;
    float *gradient; /* pn_program_gradient; NULL: the parameters' own range */
    const size_t *gradient_at;
} pn_binding;

/* Terms and tables as the device reads them. The host fills one half of the staging block while the
 * other is on its way. */
typedef struct tables {
    char *device, *staging;
    size_t bytes; /* of the device's, and of each half of the staging block */
    int half;
    int64_t mark[2]; /* of the upload from each half */
} tables;

typedef struct pn_jobs {
    char *jobs;       /* launch by launch */
    pn_term *terms;   /* of the node jobs, in their order */
    size_t *at;       /* of each launch: bytes before its first job, */
    size_t *table_at; /* and before its table (kernels.h) in the device's memory */
    size_t bytes;     /* of all jobs */
    int term_count;
    tables tables; /* unused where kernels work in the host's memory */
} pn_jobs;

/* Makes room for that many ops with that many terms in all, in `memory` too. PN_EMEM. */
pn_status pn_jobs_reserve(pn_jobs *jobs, const pn_memory *memory, int ops, int terms);
void pn_jobs_free(pn_jobs *jobs, const pn_memory *memory);

/* The address of a buffer; NULL for -1 and before binding. */
void *pn_buffer_address(const pn_buffers *buffers, const pn_binding *binding, int buffer);

/* Writes all jobs and terms, in the host's memory. Before binding all their addresses are NULL:
 * that is enough for the sizes of scratch. */
void pn_jobs_write(const pn_graph *graph, const pn_schedule *schedule, const pn_buffers *buffers,
                   const pn_binding *binding, pn_jobs *jobs);

/* Queues the one upload of a program: the terms of its nodes, and the table of every launch. What
 * goes wrong is what the memory of `kernels` says. */
pn_status pn_jobs_upload(pn_jobs *jobs, const pn_schedule *schedule, const pn_kernels *kernels);

#endif
