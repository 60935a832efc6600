/* op_test.c -- see op_test.h. */
#include "tests/support/op_test.h"

#include <stdio.h>
#include <stdlib.h>

static const pn_op_test *the_op; /* a program tests one */

static int read_rows(const pn_op_test *op, const char *text, pn_row rows[PN_MAX_JOBS]) {
    char error[PN_ROW_TEXT];
    const int count = pn_rows_read(op->keys, text, rows, error);
    if (!count) fail_msg("%s", error);
    return count;
}

static int check(const char *why, const pn_row rows[PN_MAX_JOBS], uint64_t seed) {
    return (the_op->check ? the_op->check : pn_check)(&the_op->subject, why, rows, seed);
}

static void test_call(void **state) {
    const pn_case *c = *state;
    pn_row rows[PN_MAX_JOBS];
    read_rows(the_op, c->row, rows);
    assert_int_equal(check(c->why, rows, (uint64_t)(c - the_op->cases)), 0);
}

static void combinations_nobody_thought_of(void **state) {
    (void)state;
    int failures = 0;
    pn_set dice = {.state = the_op->seed};
    const int rolls = getenv("PN_TEST_ORDERS") ? the_op->rolls / 2 : the_op->rolls;
    for (int i = 0; i < rolls; i++) {
        pn_row rows[PN_MAX_JOBS] = {{0}}, again[PN_MAX_JOBS];
        char text[PN_ROW_TEXT];
        the_op->roll(&dice, i, rows);
        pn_rows_write(the_op->keys, rows, text);
        read_rows(the_op, text, again);
        assert_memory_equal(again, rows, sizeof rows);
        failures += check(text, rows, 1000 + i);
    }
    assert_int_equal(failures, 0);
}

/* ---- Adjoints -------------------------------------------------------------------------------- */

static float *at(const void *job, size_t offset) {
    float *f;
    memcpy(&f, (const char *)job + offset, sizeof f);
    return f;
}

/* Linear where ReLU is open: <dy, z> = <dx, x> summed over the inputs = <dw, w> of all weights. */
static void check_linear(const pn_kernels *k, const char *row, uint64_t seed) {
    const pn_subject *s = &the_op->subject;
    void *job = calloc(PN_MAX_JOBS, s->job_bytes);
    if (!job) abort();
    pn_set set;
    pn_set_begin(&set, seed, true, true);
    pn_op_jobs(the_op, &set, row, job);
    size_t weights[2] = {0};
    for (int i = 0; i < 2 && s->weights[i].value; i++) {
        weights[i] = pn_set_find(&set, at(job, s->weights[i].value))->count;
        memset(at(job, s->weights[i].gradient), 0, weights[i] * sizeof(float));
    }
    assert_int_equal(pn_call(s, k, false, job, 1), PN_OK);
    assert_int_equal(pn_call(s, k, true, job, 1), PN_OK);
    const pn_output *out = pn_output_of(s, job);
    const double want = pn_dot(out->dy, out->z, pn_set_find(&set, out->z)->count);
    assert_true(want != 0);
    for (int i = 0; i < 2 && weights[i]; i++)
        assert_true(pn_dot(at(job, s->weights[i].gradient), at(job, s->weights[i].value),
                           weights[i]) == want);
    int parts = 0;
    double dx = 0;
    const pn_input *in = pn_inputs_of(s, job, &parts);
    for (int i = 0; i < parts; i++)
        dx += pn_dot(in[i].dx, in[i].x, pn_set_find(&set, in[i].x)->count);
    assert_true(!in || dx == want);
    pn_set_end(&set);
    free(job);
}

static void adjoint(void **state) {
    (void)state;
    for (int backend = 0; backend < PN_BACKENDS; backend++) /* all of float32: exact */
        for (int i = 0; i < 3 && the_op->linear[i] && pn_backend_at(backend); i++)
            check_linear(pn_backend_at(backend), the_op->linear[i], 77 + i);
}

/* ---- Refusals and scratch -------------------------------------------------------------------- */

/* Flaws in what most ops have, of the last input where there are several. Returns their number. */
static int common_flaws(const pn_subject *s, const pn_row *row, pn_flaw flaws[20]) {
    const size_t in = s->in + (size_t)(pn_row_parts(row) - 1) * sizeof(pn_input), out = s->out;
    const int null = s->in ? PN_NULL : PN_NULL_FORWARD; /* backward reads weights for dx alone */
    int n = 0;                                          /* every job begins with N, H and W */
    flaws[n++] = (pn_flaw){"no image", offsetof(pn_stage, N), 0};
    flaws[n++] = (pn_flaw){"negative height", offsetof(pn_stage, H), -5};
    flaws[n++] = (pn_flaw){"no width", offsetof(pn_stage, W), 0};
    if (s->parts) {
        flaws[n++] = (pn_flaw){"no part", s->parts, 0};
        flaws[n++] = (pn_flaw){"five parts", s->parts, PN_PARTS + 1};
    }
    if (s->in) {
        flaws[n++] = (pn_flaw){"no channels in", s->in + offsetof(pn_input, C), 0};
        flaws[n++] = (pn_flaw){"6 channels in", in + offsetof(pn_input, C), 6};
        flaws[n++] = (pn_flaw){"no norm of that number", in + offsetof(pn_input, norm.mode), 7};
        flaws[n++] = (pn_flaw){"no x", in + offsetof(pn_input, x), PN_NULL};
    }
    if (s->out) {
        flaws[n++] = (pn_flaw){"no norm of that number", out + offsetof(pn_output, norm.mode), 7};
        flaws[n++] =
            (pn_flaw){"norm without statistics", out + offsetof(pn_output, norm.stats), PN_NULL};
        flaws[n++] = (pn_flaw){"no z", out + offsetof(pn_output, z), PN_NULL_FORWARD};
        flaws[n++] = (pn_flaw){"no dy", out + offsetof(pn_output, dy), PN_NULL_BACKWARD};
    }
    for (int i = 0; i < 2 && s->weights[i].value; i++) {
        flaws[n++] = (pn_flaw){"no weights", s->weights[i].value, null};
        flaws[n++] = (pn_flaw){"no gradient of them", s->weights[i].gradient, PN_NULL_BACKWARD};
    }
    return n;
}

static int check_sharing(const pn_subject *s, pn_row rows[PN_MAX_JOBS]) {
    const pn_flaw flaws[] = {
        {"the second to share dx overwrites it", s->in + offsetof(pn_input, add), 0},
        {"shares dx and does not say so", s->shares_dx, 0},
        {"shares_dx 2", s->shares_dx, 2}};
    const pn_flaw alone = {"shares no dx and says so", s->shares_dx, 1};
    int failures = pn_check_flaws(s, true, rows, &alone, 1);
    rows[1].shares = true;
    return failures + pn_check_flaws(s, true, rows, flaws, 3);
}

static void bad_arguments(void **state) {
    (void)state;
    const pn_subject *s = &the_op->subject;
    pn_row rows[PN_MAX_JOBS];
    pn_flaw common[20];
    read_rows(the_op, the_op->good, rows);
    rows[1] = rows[0];
    const int count = common_flaws(s, rows, common);
    int failures = 0;
    for (int backward = 0; backward < 2; backward++) {
        failures += pn_check_flaws(s, backward, rows, common, count);
        failures += pn_check_flaws(s, backward, rows, the_op->flaws, the_op->flaw_count);
    }
    if (s->shares_dx) failures += check_sharing(s, rows);
    assert_int_equal(failures, 0);
}

static void scratch_depends_on_shapes_only(void **state) {
    (void)state;
    pn_row rows[PN_MAX_JOBS];
    read_rows(the_op, the_op->shape, rows);
    assert_int_equal(pn_check_scratch(&the_op->subject, rows), 0);
}

int pn_op_main(const pn_op_test *op, const struct CMUnitTest *others, int count) {
    const struct CMUnitTest common[] = {
        cmocka_unit_test(combinations_nobody_thought_of),
        cmocka_unit_test(scratch_depends_on_shapes_only),
        cmocka_unit_test(bad_arguments),
        cmocka_unit_test(adjoint),
    };
    struct CMUnitTest tests[16];
    const int shared = *op->linear ? 4 : 3;
    if (shared + count > 16) abort();
    memcpy(tests, common, sizeof common);
    memcpy(tests + shared, others, count * sizeof *others);
    the_op = op;
    return pn_run_rows(op->subject.name, op->cases, sizeof *op->cases, op->count, test_call, tests,
                       shared + count);
}

/* ---- What test_OP.c calls -------------------------------------------------------------------- */

int pn_op_jobs(const pn_op_test *op, pn_set *set, const char *row, void *jobs) {
    pn_row rows[PN_MAX_JOBS];
    read_rows(op, row, rows);
    return pn_make_jobs(&op->subject, set, rows, jobs);
}

int pn_op_inputs(pn_set *set, const pn_row *r, pn_input *in, const pn_input *before, int steps) {
    int C = 0;
    for (int part = 0; part < pn_row_parts(r); part++) {
        C += r->C[part];
        if (r->shares) {
            in[part] = before[part];
            in[part].add = 1;
            if (in[part].dx) pn_set_find(set, in[part].dx)->coarse++;
        } else {
            in[part] = pn_set_input(set, (size_t)r->N * r->H * r->W, r->C[part],
                                    r->in | r->also[part], steps);
        }
    }
    return C;
}

const pn_key pn_pointwise_keys[] = {{"N", 1, 40, PN_MUST},    {"HxW", 1, 224, PN_MUST},
                                    {"C,", 4, 1024, PN_MUST}, {"K", 4, 1024, PN_MUST},
                                    {"in=", 0, 0, 0},         {"also=,", 0, 0, 0},
                                    {"out=", 0, 0, 0},        {NULL, 0, 0, 0}};

void pn_make_pointwise(pn_set *set, const pn_row *r, pn_conv *job, int stride) {
    *job = (pn_conv){
        .N = r->N, .H = r->H, .W = r->W, .parts = pn_row_parts(r), .shares_dx = r->shares};
    const int P = pn_out_size(r->H, stride), Q = pn_out_size(r->W, stride);
    const int C = pn_op_inputs(set, r, job->in, r->shares ? job[-1].in : NULL, r->K + 16);
    job->out = pn_set_output(set, r->N, (size_t)P * Q, r->K, r->out, C + 16);
    job->w = pn_set_data(set, "w", (size_t)C * r->K, 1, 1);
    job->dw = pn_set_result(set, "dw", (size_t)C * r->K, r->N * P * Q + 16, true);
    pn_set_find(set, job->dw)->must = set->backward;
}

/* ---- Dice ------------------------------------------------------------------------------------ */

void pn_roll_size(pn_set *dice, pn_row *r, int images, int size) {
    r->N = pn_set_whole(dice, 1, images);
    r->H = pn_set_whole(dice, 1, size);
    r->W = pn_set_whole(dice, 1, size);
}

static int roll_norm(pn_set *dice) {
    static const int norms[] = {0,
                                PN_BATCH,
                                PN_RUNNING,
                                PN_BATCH | PN_AFFINE,
                                PN_RUNNING | PN_AFFINE,
                                PN_BATCH | PN_FROZEN};
    return norms[pn_set_whole(dice, 0, 5)];
}

int pn_roll_input(pn_set *dice) {
    const int norm = roll_norm(dice);
    return norm | (pn_set_whole(dice, 0, 3) ? 0 : PN_ADD);
}

int pn_roll_output(pn_set *dice) {
    const int norm = roll_norm(dice);
    return norm | (pn_set_whole(dice, 0, 1) ? 0 : PN_FACTOR) |
           (pn_set_whole(dice, 0, 1) ? 0 : PN_WEIGHT);
}

void pn_roll_parts(pn_set *dice, pn_row *r, int most) {
    const int parts = pn_set_whole(dice, 1, PN_PARTS);
    for (int part = 0; part < parts; part++) {
        r->C[part] = 4 * pn_set_whole(dice, 1, most);
        r->also[part] = pn_set_whole(dice, 0, 7) ? pn_roll_input(dice) : PN_NO_DX;
    }
}

void pn_roll_pointwise(pn_set *dice, int i, pn_row rows[PN_MAX_JOBS]) {
    pn_roll_size(dice, rows, 20, 9);
    rows->K = 4 * pn_set_whole(dice, 1, 20);
    pn_roll_parts(dice, rows, 17);
    rows->out = pn_roll_output(dice);
    for (int j = 1; j <= i % 3; j++) { /* others that share its inputs' dx */
        rows->also[0] &= ~PN_NO_DX;
        rows[j] = rows[0];
        rows[j].shares = true;
        rows[j].K = 4 * pn_set_whole(dice, 1, 8);
    }
}
