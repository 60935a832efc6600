/* check.c -- see check.h. */
#include "tests/support/check.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/halves.h"
#include "kernels/poison.h"

const char *const pn_backend_labels[PN_ALL_BACKENDS] = {
    "cpu:base",      "cpu:avx2",  "cpu:avx512",    "emulated",      "cuda",
    "emulated-tf32", "cuda-tf32", "cpu:base-bf16", "cpu:avx2-bf16", "cpu:avx512-bf16",
    "emulated-bf16", "cuda-bf16", "emulated-fp16", "cuda-fp16"};

const pn_kernels *pn_backend_at(int i) {
    static bool said[PN_ALL_BACKENDS];
    const pn_kernels *k;
    const char *only = getenv("PN_TEST_BACKEND"); /* one alone: as the race check, which is slow */
    if (only) return strcmp(only, pn_backend_labels[i]) ? NULL : pn_only_backend();
    /* It cannot read what tests allocate. */
    if (!strncmp(pn_backend_labels[i], "cuda", 4)) return NULL;
#ifdef PN_ASAN /* slow; the builds without sanitizers have them all */
    if (!strcmp(pn_backend_labels[i], "cpu:base-bf16")) return NULL;
    if (!strcmp(pn_backend_labels[i], "emulated-tf32")) return NULL; /* no address is another */
    if (!strcmp(pn_backend_labels[i], "emulated-fp16")) return NULL; /* than bf16's */
#endif
    if (pn_backend_open(pn_backend_labels[i], &k) != PN_OK && !said[i]) {
        print_message("[  SKIPPED ] %s: %s\n", pn_backend_labels[i], pn_error());
        said[i] = true;
    }
    return k;
}

/* Kernels of a card that float32 has, too. Asked for alone they are tried as those are. */
static bool is_once_more(const pn_kernels *k) {
    return k->products == PN_PRODUCTS_TF32 && !pn_only_backend();
}

static const double u = 0x1p-24; /* half of a float's distance from 1 to the next */
/* The same of what is stored; and half of the distance where it is the least. */
static double u_stored(pn_storage storage) { return storage == PN_STORED_FP16 ? 0x1p-11 : 0x1p-8; }
static double least_off(pn_storage storage) { return storage == PN_STORED_FP16 ? 0x1p-25 : 0; }

/* A product of two numbers that are rounded to tf32, each by 2^-11 at most. */
static const double product_tf32 = 0x1p-10 + 0x1p-22;

static double rounding(double steps) { return steps * u / (1 - steps * u); }

static void *room_for_jobs(const pn_subject *s) {
    void *jobs = calloc(PN_MAX_JOBS, s->job_bytes);
    if (!jobs) abort();
    return jobs;
}

int pn_make_jobs(const pn_subject *s, pn_set *set, const pn_row rows[PN_MAX_JOBS], void *jobs) {
    int count = 0;
    for (; count < PN_MAX_JOBS && rows[count].N; count++)
        s->make(set, &rows[count], (char *)jobs + count * s->job_bytes, count);
    return count;
}

pn_input *pn_inputs_of(const pn_subject *s, const void *job, int *parts) {
    char *at = (char *)job;
    *parts = !s->in ? 0 : s->parts ? *(int *)(void *)(at + s->parts) : 1;
    return s->in ? (pn_input *)(void *)(at + s->in) : NULL;
}

pn_output *pn_output_of(const pn_subject *s, const void *job) {
    return s->out ? (pn_output *)(void *)((char *)job + s->out) : NULL;
}

/* ---- What a call must give ------------------------------------------------------------------- */

static void magnitude_of(const pn_subject *s, bool backward, const void *job, const pn_twins *t) {
    if (s->magnitude) {
        s->magnitude(backward, job, t);
        return;
    }
    char *copy = room_for_jobs(s);
    memcpy(copy, job, s->job_bytes);
    pn_output_of(s, copy)->coef = fabsf(pn_output_of(s, job)->coef);
    s->twin(backward, copy, t);
    free(copy);
}

static void run_twins(const pn_subject *s, pn_set *set, const void *jobs, int count) {
    const pn_twins values = pn_set_values(set), magnitudes = pn_set_magnitudes(set);
    for (int i = 0; i < count; i++) {
        const void *job = (const char *)jobs + i * s->job_bytes;
        s->twin(set->backward, job, &values);
        magnitude_of(s, set->backward, job, &magnitudes);
    }
}

static double *tolerances(pn_set *set, const float *f) {
    pn_member *a = pn_set_find(set, f);
    if (!a->tolerance) a->tolerance = pn_zeros_ref(a->count);
    return a->tolerance;
}

static double float_tolerance(const pn_set *set, const pn_member *a, size_t i) {
    if (a->tolerance) return a->tolerance[i];
    if (set->exact) return 0;
    const bool coarse = a->multiplied && set->products == PN_PRODUCTS_TF32;
    return (rounding(a->steps) + (coarse ? product_tf32 : 0)) * fabs(a->m[i]) + FLT_MIN;
}

/* Statistics belong to the z that was stored: so they are computed from the kernel's own z.
 *
 * Tolerance. A float sum over n pixels of d = z - pivot, the pivot within the channel's range w of
 * values: each |d| <= w, so the mean is off by at most g(n+1) w, and half an ulp of itself; the
 * mean of d^2 by g(n+2) w^2, the square of the mean of d by 2 g(n+1) w^2, their difference, the
 * variance, by g(3n+8) w^2. Sums without a pivot do not keep to it where |mean| is far above w.
 *
 * What is stored as halves has lost bits that its statistics have seen: there they are those of the
 * reference's z, each element of which may be off by its float error e; w grows by 2 e, the mean is
 * off by e more, the variance by 2 e w. */
static void expect_statistics(pn_set *set, const pn_output *out) {
    if (!out || out->norm.mode == PN_NORM_NONE) return;
    const pn_norm *norm = &out->norm;
    const size_t pixels = pn_set_find(set, out->z)->count / out->K;
    pn_twin twins[4];
    const float *arrays[4] = {out->z, norm->stats, norm->running_mean, norm->running_var};
    const pn_member *stored = pn_set_find(set, out->z);
    const bool narrow = set->storage != PN_STORED_FLOAT32;
    double *z = pn_zeros_ref(pixels * out->K);
    for (size_t i = 0; i < pixels * out->K; i++) z[i] = narrow ? stored->d[i] : stored->f[i];
    int count = 0;
    for (int i = 0; i < 4; i++) {
        if (!arrays[i]) continue;
        pn_member *a = pn_set_find(set, arrays[i]);
        for (size_t j = 0; j < a->count && i; j++) a->d[j] = a->start[j];
        twins[count++] = (pn_twin){a->f, a->count, i ? a->d : z};
    }
    pn_output_stats_ref(out, pixels, &(pn_twins){twins, count});

    const double *mean = pn_set_find(set, norm->stats)->d, n = (double)pixels, *z_of = z;
    double *off = tolerances(set, norm->stats);
    for (int k = 0; k < out->K; k++) {
        double lo = INFINITY, hi = -INFINITY, off_z = 0;
        for (size_t i = 0; i < pixels; i++) {
            lo = fmin(lo, z_of[i * out->K + k]);
            hi = fmax(hi, z_of[i * out->K + k]);
            if (narrow) off_z = fmax(off_z, float_tolerance(set, stored, i * out->K + k));
        }
        const double range = hi - lo + 2 * off_z, rstd = mean[out->K + k];
        double mean_off = rounding(n + 2) * range + u * fabs(mean[k]) + off_z;
        double variance_off = (rounding(3 * n + 8) * range + 2 * off_z) * range;
        if (norm->mode == PN_NORM_RUNNING) mean_off = variance_off = 0;
        const double plus_eps =
            1 / (rstd * rstd); /* variance + eps; eps alone is its least value */
        const double least = fmax(plus_eps - variance_off, norm->eps);
        off[k] = mean_off;
        off[out->K + k] = fmax(1 / sqrt(least) - rstd, rstd - 1 / sqrt(plus_eps + variance_off)) +
                          rounding(4) * rstd;
        if (norm->mode != PN_NORM_BATCH || !norm->running_mean) continue;
        const float *old_mean = pn_set_find(set, norm->running_mean)->start;
        const float *old_var = pn_set_find(set, norm->running_var)->start;
        const double unbiased = pixels > 1 ? plus_eps * n / (n - 1) : 0;
        tolerances(set, norm->running_mean)[k] =
            norm->momentum * mean_off + rounding(4) * (fabsf(old_mean[k]) + fabs(mean[k]));
        tolerances(set, norm->running_var)[k] =
            norm->momentum * variance_off * 2 + rounding(4) * (old_var[k] + unbiased);
    }
    free(z);
}

/* ---- Comparison ------------------------------------------------------------------------------ */

typedef struct place {
    const char *op, *backend, *why;
    const pn_set *set;
} place;

static int complain(place at, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int complain(place at, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    print_error("%s %s, %s, %s, \"%s\": %s\n", at.op, at.set->backward ? "bwd" : "fwd", at.backend,
                at.set->whole ? "whole" : "real", at.why, text);
    return 1;
}

/* Did the reference leave element i alone? A sum may come back to where it began by chance: its
 * magnitude does not. */
static bool unchanged(const pn_member *a, size_t i) {
    const double start = a->start[i];
    if (isnan(start)) return isnan(a->d[i]);
    return a->d[i] == start && (a->tolerance || fabs(a->m[i]) == fabs(start));
}

static uint32_t bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* The one half that it can be, where a float is exact and only one job stores it. */
static bool is_sharp(const pn_set *set, const pn_member *a) {
    return a->stored && a->coarse == 1 && set->exact && !a->tolerance;
}
static double wanted(const pn_set *set, const pn_member *a, size_t i) {
    if (set->storage == PN_STORED_FLOAT32 || !is_sharp(set, a)) return a->d[i];
    return pn_half_widen(set->storage, pn_half_narrow(set->storage, (float)a->d[i]));
}

static double tolerance_of(const pn_set *set, const pn_member *a, size_t i) {
    const double off = float_tolerance(set, a, i);
    if (set->storage == PN_STORED_FLOAT32 || is_sharp(set, a)) return off;
    const double v = u_stored(set->storage), least = a->coarse * least_off(set->storage);
    if (a->coarse == 1 && a->stored) return off + v * (fabs(a->d[i]) + off) + least;
    return off + a->coarse * v / (1 - a->coarse * v) * (fabs(a->m[i]) + off) + least;
}

/* Does the reference leave it alone? Statistics may also come out as they were: 0 of zeros. */
static bool untouched(const pn_member *a, size_t i) {
    return unchanged(a, i) && !(a->tolerance && a->tolerance[i] > 0);
}

/* One line for each array with a wrong element. */
static int compare(place at) {
    int failures = 0;
    for (int m = 0; m < at.set->count; m++) {
        const pn_member *a = &at.set->member[m];
        size_t wrong = 0, first = 0;
        if (a->opaque) continue;
        for (size_t i = 0; i < a->count; i++) {
            const bool right = untouched(a, i) ? bits_of(a->f[i]) == bits_of(a->start[i])
                                               : fabs(a->f[i] - wanted(at.set, a, i)) <=
                                                     tolerance_of(at.set, a, i);
            if (!right && !wrong++) first = i;
        }
        if (!wrong) continue;
        failures += complain(at, "%s[%zu] is %.9g, want %.9g%s within %.3g; %zu of %zu wrong",
                             a->name, first, a->f[first], wanted(at.set, a, first),
                             untouched(a, first) ? " (untouched)" : "",
                             tolerance_of(at.set, a, first), wrong, a->count);
    }
    return failures;
}

/* Does the reference's answer prove anything? Every array that must be written has to receive
 * something, a sixteenth of everything at least is not zero, and sums of whole numbers are
 * exact. */
static int worth_comparing(place at) {
    size_t written = 0, zeros = 0;
    for (int m = 0; m < at.set->count; m++) {
        const pn_member *a = &at.set->member[m];
        size_t here = 0, zeros_here = 0;
        for (size_t i = 0; i < a->count; i++) {
            if (unchanged(a, i)) continue;
            here++;
            zeros_here += a->d[i] == 0;
            if (at.set->exact && !a->tolerance && fabs(a->m[i]) >= 1 / u)
                return complain(at, "%s[%zu] may reach %.0f: not exact in float", a->name, i,
                                a->m[i]);
        }
        if (a->must && here == zeros_here) return complain(at, "%s stays empty", a->name);
        written += here;
        zeros += zeros_here;
    }
    if (16 * (written - zeros) < written) return complain(at, "nearly all zeros, proves nothing");
    return 0;
}

/* ---- The call -------------------------------------------------------------------------------- */

/* All that a kernel follows must be within its reach. */
static pn_status look_for_strays(const pn_subject *s, const void *table, int count) {
    for (size_t at = 0; at < count * s->job_bytes; at += sizeof(void *)) {
        size_t word;
        memcpy(&word, (const char *)table + at, sizeof word);
        if (pn_out_of_reach(word))
            return pn_fail(PN_EARG, "byte %zu of the jobs is an address that no card reads", at);
    }
    return PN_OK;
}

/* Runs a call to its end, with a table of jobs and a gate that the kernels can read. */
static pn_status run(const pn_subject *s, const pn_kernels *k, bool backward, const void *jobs,
                     int count, void *scratch, size_t scratch_bytes, const float *gate) {
    const size_t bytes = s->table(k, backward, jobs, count, NULL);
    const bool refused = bytes == PN_NO_SCRATCH; /* then the call has to say so, too */
    void *table = refused ? NULL : pn_guarded(bytes), *before = NULL;
    float *read_gate = pn_reach(sizeof *gate);
    if (gate) *read_gate = *gate;
    const pn_launch launch = {.scratch = scratch,
                              .scratch_bytes = scratch_bytes,
                              .table = table,
                              .gate = gate ? read_gate : NULL,
                              .stream = k->memory->stream()};
    pn_status status = PN_OK;
    if (!refused) {
        assert_int_equal(s->table(k, backward, jobs, count, table), bytes);
        before = malloc(bytes + 1);
        assert_non_null(before);
        memcpy(before, table, bytes);
        status = look_for_strays(s, table, count);
    }
    if (status == PN_OK) status = s->run(k, backward, jobs, count, &launch);
    if (status == PN_OK) status = pn_finish(k);
    if (!refused && !pn_guards_hold(table, bytes))
        fail_msg("%s: %zu bytes of table are too few", s->name, bytes);
    if (!refused && memcmp(before, table, bytes) != 0) fail_msg("%s: another table", s->name);
    free(before);
    pn_unreach(read_gate);
    pn_unguard(table);
    return status;
}

pn_status pn_call(const pn_subject *s, const pn_kernels *k, bool backward, const void *jobs,
                  int count) {
    const size_t bytes = s->scratch(k, backward, jobs, count);
    void *scratch = pn_guarded(bytes);
    const pn_status status = run(s, k, backward, jobs, count, scratch, bytes, NULL);
    pn_unguard(scratch);
    return status;
}

/* Jobs of the same shapes, without addresses or anything else that scratch may not depend on. */
static void *bare_jobs(const pn_subject *s, const pn_set *set, const void *jobs, int count) {
    char *bare = room_for_jobs(s);
    memcpy(bare, jobs, count * s->job_bytes);
    for (int i = 0; i < count; i++) {
        char *job = bare + i * s->job_bytes;
        int parts = 0;
        pn_input *in = pn_inputs_of(s, job, &parts);
        pn_output *out = pn_output_of(s, job);
        for (int part = 0; part < parts; part++)
            in[part] = (pn_input){.C = in[part].C, .norm = {.mode = in[part].norm.mode}};
        if (out) *out = (pn_output){.K = out->K, .norm = {.mode = out->norm.mode}};
        if (s->outside) memset(job + s->outside, 0, sizeof(void *));
    }
    for (size_t at = 0; at < count * s->job_bytes; at += sizeof(void *)) {
        const float *word;
        memcpy(&word, bare + at, sizeof word);
        if (pn_set_has(set, word)) memset(bare + at, 0, sizeof word);
    }
    return bare;
}

/* The scratch of jobs whose addresses are not known yet, as a program asks for it. */
static size_t planned_scratch(const pn_subject *s, const pn_kernels *k, const pn_set *set,
                              const void *jobs, int count) {
    void *bare = bare_jobs(s, set, jobs, count);
    const size_t bytes = s->scratch(k, set->backward, bare, count);
    free(bare);
    return bytes;
}

/* A call from `start`, with all guards looked at afterwards. */
static int call(place at, const pn_subject *s, const pn_kernels *k, pn_set *set, const void *jobs,
                int count, int order, const float *gate) {
    pn_set_restore(set);
    pn_backend_disturb(k, order);
    const size_t bytes = planned_scratch(s, k, set, jobs, count);
    void *scratch = pn_guarded(bytes);
    int failures = 0;
    if (run(s, k, set->backward, jobs, count, scratch, bytes, gate) != PN_OK)
        failures += complain(at, "refused: %s", pn_error());
    if (!pn_guards_hold(scratch, bytes))
        failures += complain(at, "writes outside %zu bytes of scratch", bytes);
    if (pn_set_overrun(set))
        failures += complain(at, "writes outside %s", pn_set_overrun(set)->name);
    pn_set_widen(set);
    pn_unguard(scratch);
    return failures;
}

/* All floats of the set, one after another; to be freed. */
static float *all_floats(const pn_set *set, size_t *bytes) {
    *bytes = 0;
    for (int i = 0; i < set->count; i++) *bytes += set->member[i].count * sizeof(float);
    char *all = malloc(*bytes + 1), *to = all;
    for (int i = 0; i < set->count && all; i++) {
        memcpy(to, set->member[i].f, set->member[i].count * sizeof(float));
        to += set->member[i].count * sizeof(float);
    }
    return (float *)all;
}

/* The orders of work that a call is tried in: the usual one twice; the others with few threads;
 * many threads, in a call of several jobs always as many as there are workspaces, and one of the
 * larger numbers in turn. PN_TEST_LONG=1: all of them. PN_TEST_ORDERS=1 is for builds that look
 * for something else than other bits, and are slow at it: the usual one, and one with many threads;
 * on a card, where neither addresses nor races depend on it, one of two in turn. The emulated card
 * has no order of its own beyond the first four, a real one has none that is ours to choose. Its
 * kernels of another precision than float32 are the same text: they take one more, in turn. */
static int orders_to_try(const pn_kernels *k, int count, int turn, int orders[PN_ORDERS + 1]) {
    const bool on_card = !k->memory->plain;
    int n = 0;
    if (is_once_more(k)) {
        orders[n++] = 0;
        orders[n++] = 1 + turn % (PN_MANY - 1);
        return n;
    }
    if (on_card && getenv("PN_TEST_ORDERS")) {
        static int calls; /* two a row, forward and backward; numbers of either kind in turn */
        orders[n++] = (calls / 2 + calls / 4) % 2;
        calls++;
        return n;
    }
    orders[n++] = 0;
    if (getenv("PN_TEST_ORDERS")) {
        orders[n++] = PN_MANY;
        return n;
    }
    orders[n++] = 0;
    for (int i = 1; i < PN_MANY; i++) orders[n++] = i;
    for (int i = PN_MANY; i < PN_ORDERS && !on_card; i++)
        if (getenv("PN_TEST_LONG") || (count > 1 && i == PN_MANY) ||
            i == PN_MANY + turn % (PN_ORDERS - PN_MANY))
            orders[n++] = i;
    return n;
}

static int check_isa(place at, const pn_subject *s, const pn_kernels *k, pn_set *set,
                     const void *jobs, int count) {
    static const float closed = 0, open = 1;
    static int turn;
    int orders[PN_ORDERS + 1];
    const int tries = orders_to_try(k, count, turn++, orders);
    float *first = NULL;
    size_t bytes = 0;
    int failures = 0;
    for (int i = 0; i < tries && !failures; i++) {
        failures += call(at, s, k, set, jobs, count, orders[i], (i + *orders) % 2 ? &open : NULL);
        if (failures) break;
        if (i > 0) {
            float *again = all_floats(set, &bytes);
            if (!first || memcmp(first, again, bytes) != 0)
                failures += complain(at, "other bits in order %d, call %d", orders[i], i + 1);
            free(again);
            continue;
        }
        first = all_floats(set, &bytes);
        for (int job = 0; job < count && !set->backward; job++)
            expect_statistics(set, pn_output_of(s, (const char *)jobs + job * s->job_bytes));
        failures += compare(at);
        for (int job = 0; job < count && s->also; job++) {
            const char *wrong = s->also(set, (const char *)jobs + job * s->job_bytes);
            if (wrong) failures += complain(at, "job %d: %s", job, wrong);
        }
    }
    free(first);
    if (set->backward && !failures) {
        failures += call(at, s, k, set, jobs, count, 0, &closed);
        if (pn_set_touched(set))
            failures += complain(at, "gate 0 changes %s", pn_set_touched(set)->name);
    }
    return failures;
}

static int check_pass(const pn_subject *s, const char *why, pn_set *set, const void *jobs,
                      int count, bool in_turn) {
    pn_set_freeze(set);
    run_twins(s, set, jobs, count);
    place at = {s->name, "reference", why, set};
    int failures = worth_comparing(at);
    for (int i = 0; i < PN_ALL_BACKENDS; i++) {
        const pn_kernels *k = pn_backend_at(i);
        if (!k || k->storage != set->storage) continue;
        const bool of_tf32 = k->products == PN_PRODUCTS_TF32 && k->storage == PN_STORED_FLOAT32;
        if (of_tf32 && !s->multiplies) continue; /* the op of float32 once more */
        if (is_once_more(k) && !in_turn) continue;
        set->products = s->multiplies ? k->products : PN_PRODUCTS_FLOAT32;
        at.backend = k->name;
        failures += check_isa(at, s, k, set, jobs, count);
    }
    return failures;
}

static bool any_stores(pn_storage storage) {
    for (int i = 0; i < PN_ALL_BACKENDS; i++)
        if (pn_backend_at(i) && pn_backend_at(i)->storage == storage) return true;
    return false;
}

int pn_check(const pn_subject *s, const char *why, const pn_row rows[PN_MAX_JOBS], uint64_t seed) {
    void *jobs = room_for_jobs(s);
    int failures = 0;
    /* Which addresses are touched hardly depends on the numbers there: a build that looks for bad
     * ones, or for races, takes one kind of numbers a row, in turn. */
    const bool either = getenv("PN_TEST_ORDERS") != NULL;
    /* So do kernels that are there once more, in which only what a number is differs. */
    for (int kind = 0; kind < 12; kind++) {
        pn_set set;
        const pn_storage storage = (pn_storage)(kind / 4);
        if ((either && kind % 2 != (int)(seed % 2)) || !any_stores(storage)) continue;
        /* On the emulated card what stores fp16 is what stores bf16: it takes every second row. */
        if (storage == PN_STORED_FP16 && seed / 2 % 2 && !pn_only_backend() &&
            !getenv("PN_TEST_LONG"))
            continue;
        pn_set_begin(&set, seed, kind % 2 == 0, kind / 2 % 2 == 1);
        set.storage = storage;
        const int count = pn_make_jobs(s, &set, rows, jobs);
        failures += check_pass(s, why, &set, jobs, count, kind % 2 == (int)(seed % 2));
        pn_set_end(&set);
    }
    free(jobs);
    return failures;
}

static int check_refused(place at, const pn_subject *s, const pn_kernels *k, const void *jobs,
                         size_t scratch_bytes) {
    void *scratch = pn_guarded(scratch_bytes);
    int failures = 0;
    (void)pn_fail(PN_OK, "%s", "");
    const pn_status status = run(s, k, at.set->backward, jobs, 2, scratch, scratch_bytes, NULL);
    if (status != PN_EARG)
        failures += complain(at, "status %d, want %d (PN_EARG)", status, PN_EARG);
    if (status != PN_OK && strlen(pn_error()) < 10) failures += complain(at, "no sentence");
    if (pn_set_touched(at.set))
        failures += complain(at, "changes %s", pn_set_touched(at.set)->name);
    pn_unguard(scratch);
    return failures;
}

int pn_check_flaws(const pn_subject *s, bool backward, const pn_row rows[PN_MAX_JOBS],
                   const pn_flaw *flaws, int count) {
    pn_set set;
    pn_set_begin(&set, 5, true, backward);
    char *jobs = room_for_jobs(s), *bad = jobs + s->job_bytes, *good = room_for_jobs(s);
    const int made = pn_make_jobs(s, &set, rows, good);
    assert_int_equal(made, 2);
    pn_set_freeze(&set);
    int failures = 0;
    for (int backend = 0; backend < PN_ALL_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        if (!k) continue;
        set.storage = k->storage;
        place at = {s->name, k->name, "the good call", &set};
        failures += call(at, s, k, &set, good, 2, 0, NULL);
        pn_set_restore(&set);
        for (int i = 0; i < count; i++) {
            if (flaws[i].value == (backward ? PN_NULL_FORWARD : PN_NULL_BACKWARD)) continue;
            memcpy(jobs, good, 2 * s->job_bytes);
            const size_t bytes = s->scratch(k, backward, jobs, 2);
            if (flaws[i].value <= PN_NULL_BACKWARD)
                memset(bad + flaws[i].offset, 0, sizeof(void *));
            else
                memcpy(bad + flaws[i].offset, &flaws[i].value, sizeof(int));
            at.why = flaws[i].why;
            failures += check_refused(at, s, k, jobs, bytes);
        }
        memcpy(jobs, good, 2 * s->job_bytes);
        at.why = "scratch a line too small";
        failures += check_refused(at, s, k, jobs, s->scratch(k, backward, jobs, 2) - 64);
    }
    pn_set_end(&set);
    free(jobs);
    free(good);
    return failures;
}

int pn_check_scratch(const pn_subject *s, const pn_row rows[PN_MAX_JOBS]) {
    pn_set set;
    pn_set_begin(&set, 5, true, true);
    void *jobs = room_for_jobs(s);
    pn_make_jobs(s, &set, rows, jobs);
    void *bare = bare_jobs(s, &set, jobs, 1);
    int failures = 0;
    for (int backend = 0; backend < PN_ALL_BACKENDS; backend++)
        for (int backward = 0; backward < 2 && pn_backend_at(backend); backward++) {
            pn_backend_disturb(pn_backend_at(backend), 1);
            const size_t want = s->scratch(pn_backend_at(backend), backward, jobs, 1);
            pn_backend_disturb(pn_backend_at(backend), 2);
            const size_t got = s->scratch(pn_backend_at(backend), backward, bare, 1);
            set.backward = backward;
            if (got != want)
                failures +=
                    complain((place){s->name, pn_backend_at(backend)->name, "scratch", &set},
                             "%zu bytes, of the shape alone and in order 2 %zu", want, got);
        }
    pn_set_end(&set);
    free(jobs);
    free(bare);
    return failures;
}

double pn_dot(const float *a, const float *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (double)a[i] * b[i];
    return sum;
}

int pn_run_rows(const char *group, const void *rows, size_t row_bytes, int count,
                void (*test)(void **state), const struct CMUnitTest *others, int others_count) {
    struct CMUnitTest *tests = calloc((size_t)count + others_count, sizeof *tests);
    if (!tests) return 1;
    for (int i = 0; i < count; i++) {
        const void *row = (const char *)rows + i * row_bytes;
        tests[i] = (struct CMUnitTest){
            .name = *(const char *const *)row, .test_func = test, .initial_state = (void *)row};
    }
    if (others_count) memcpy(tests + count, others, others_count * sizeof *tests);
    const int failed =
        _cmocka_run_group_tests(group, tests, (size_t)count + others_count, NULL, NULL);
    free(tests);
    return failed;
}
