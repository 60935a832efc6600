/* check.h -- one call of an op, with everything that kernels.h promises about it:
 *
 *  - every element as the reference has it, exactly or within the rounding error derived in set.h;
 *    what the reference leaves alone is left alone, bit by bit, inputs too;
 *  - nothing written outside the arrays, nor outside the bytes of scratch asked for by jobs without
 *    addresses; nothing in scratch relied upon (it is NaN); the table as it was;
 *  - the same bits when called again and in other orders of work (pn_backend_disturb);
 *  - backward: nothing at all done when the gate is 0.
 *
 * For every backend (pn_backend_at). A result that is nearly all zeros is refused. */
#ifndef PN_CHECK_H
#define PN_CHECK_H

#include "kernels/backend.h"
#include "tests/support/jobs.h"
#include "tests/support/reach.h"
#include "tests/support/rows.h"

/* Those of float32, then those of tf32, then those that store bf16, and fp16. */
enum { PN_BACKENDS = 5, PN_ALL_BACKENDS = 14 };
extern const char *const pn_backend_labels[PN_ALL_BACKENDS];

/* The table of backend i: the instruction sets of the host, the emulated card, a card. NULL, once
 * said aloud, where this machine or build lacks it; and for a card that PN_TEST_BACKEND=cuda (or
 * cuda-tf32) does not ask for (reach.h). */
const pn_kernels *pn_backend_at(int i);

/* An op, for any kind of job. */
typedef struct pn_subject {
    const char *name;
    size_t job_bytes;
    size_t (*scratch)(const pn_kernels *k, bool backward, const void *jobs, int count);
    size_t (*table)(const pn_kernels *k, bool backward, const void *jobs, int count, void *to);
    pn_status (*run)(const pn_kernels *k, bool backward, const void *jobs, int count,
                     const pn_launch *l);
    void (*twin)(bool backward, const void *job, const pn_twins *t);

    bool multiplies; /* matrices */

    /* The twin on magnitudes: with the job's plain numbers made positive. NULL: that is coef of its
     * output alone. */
    void (*magnitude)(bool backward, const void *job, const pn_twins *t);

    /* Makes job i of a call, and all its arrays. The jobs before lie in front of it. */
    void (*make)(pn_set *set, const pn_row *row, void *job, int i);

    /* More to look at after a call, or NULL: returns what is wrong, NULL if nothing is. */
    const char *(*also)(const pn_set *set, const void *job);

    /* Where they are in a job; 0: it has none. Inputs: `parts` of them, without `parts` one. */
    size_t in, parts, shares_dx, out;
    size_t outside; /* an address that is not of the set */
    struct {
        size_t value, gradient;
    } weights[2];
} pn_subject;

/* The calls of an op, and the first members of its pn_subject. */
#define PN_CALLS(op)                                                                          \
    static size_t op##_scratch(const pn_kernels *k, bool backward, const void *jobs, int n) { \
        return backward ? k->op##_bwd_scratch(jobs, n) : k->op##_fwd_scratch(jobs, n);        \
    }                                                                                         \
    static size_t op##_table(const pn_kernels *k, bool backward, const void *jobs, int n,     \
                             void *to) {                                                      \
        return backward ? k->op##_bwd_table(jobs, n, to) : k->op##_fwd_table(jobs, n, to);    \
    }                                                                                         \
    static pn_status op##_run(const pn_kernels *k, bool backward, const void *jobs, int n,    \
                              const pn_launch *l) {                                           \
        return backward ? k->op##_bwd(jobs, n, l) : k->op##_fwd(jobs, n, l);                  \
    }                                                                                         \
    static void op##_twin(bool backward, const void *job, const pn_twins *t) {                \
        (backward ? pn_##op##_bwd_ref : pn_##op##_fwd_ref)(job, t);                           \
    }
#define PN_SUBJECT(op) #op, sizeof(pn_##op), op##_scratch, op##_table, op##_run

/* Makes the jobs of a call. Returns their number. */
int pn_make_jobs(const pn_subject *subject, pn_set *set, const pn_row rows[PN_MAX_JOBS],
                 void *jobs);

/* The inputs of a job, `parts` of them or NULL; its output, or NULL. */
pn_input *pn_inputs_of(const pn_subject *subject, const void *job, int *parts);
pn_output *pn_output_of(const pn_subject *subject, const void *job);

/* The same call forward and backward, on whole numbers and on random ones, and all that again on
 * halves for the backends that store them: makes the jobs of
 * `rows`, runs the check, says each failure on stderr with `why`, returns how many there were. */
int pn_check(const pn_subject *subject, const char *why, const pn_row rows[PN_MAX_JOBS],
             uint64_t seed);

/* A way to spoil a job: an int of it becomes `value`, or a pointer NULL; one that only the forward
 * or only the backward pass needs is spoilt for that pass alone. */
typedef struct pn_flaw {
    const char *why;
    size_t offset;
    int value;
} pn_flaw;
enum { PN_NULL = -1000000, PN_NULL_FORWARD, PN_NULL_BACKWARD };

/* `rows` makes two jobs. Demands that every backend accepts the call as it is and, for each
 * flaw of this pass, refuses it with the second job spoilt: PN_EARG, a sentence, nothing
 * touched. */
int pn_check_flaws(const pn_subject *subject, bool backward, const pn_row rows[PN_MAX_JOBS],
                   const pn_flaw *flaws, int count);

/* Scratch of the first job against that of a job of the same shape without anything else: must be
 * the same, in another order of work too. */
int pn_check_scratch(const pn_subject *subject, const pn_row rows[PN_MAX_JOBS]);

/* One plain call, scratch provided. The results stay in the set's floats. */
pn_status pn_call(const pn_subject *subject, const pn_kernels *k, bool backward, const void *jobs,
                  int count);

/* Sum of a[i] * b[i] over arrays of whole numbers. */
double pn_dot(const float *a, const float *b, size_t count);

/* Runs `test` as one cmocka test for each of `count` rows of a table, named by its first member,
 * a const char *; then the `others`. Returns the number of failed tests. */
struct CMUnitTest;
int pn_run_rows(const char *group, const void *rows, size_t row_bytes, int count,
                void (*test)(void **state), const struct CMUnitTest *others, int others_count);

#endif
