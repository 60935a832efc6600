/* command_bench.c -- single ops against the limits of the machine. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cases/cases.h"
#include "runtime/clock.h"
#include "runtime/json.h"
#include "runtime/text.h"
#include "runtime/times.h"
#include "tools/commands.h"
#include "tools/measured.h"

static const char usage[] =
    "parsec-nas bench [OPTIONS]\n"
    "\n"
    "Times every op, forward and backward, and holds it against the limit of this\n"
    "machine: the larger of its bytes over the rate of a copy of that size, and its\n"
    "operations over the rate of multiply-adds, both measured first. of_limit is the\n"
    "share of the time that the limit takes: 1 cannot be beaten. The rate shown is\n"
    "that of what limits. +- is half the distance of the quartiles.\n"
    "\n";

static const char notes[] =
    "\n"
    "Ops are stem, conv1x1, reduce, conv, stage, max_pool, avg_pool, node, head, sgd,\n"
    "or those of the search space: sep_conv_3x3 (one of its two stages), avg_pool_3x3\n"
    "or skip_connect (where it reduces), and so on. JSON has the shape of Google\n"
    "Benchmark's, with the names of bench/bench_kernels; bench/compare reads it.\n"
    "\n"
    "  parsec-nas bench --op sep_conv_3x3,max_pool_3x3 --channels 16,36 --size 32\n";

enum { MOST_SIZES = 32, MOST_OPS = 32, UPDATED = 1900000 };
static const double least_seconds = 0.01; /* of a repetition */

typedef struct options {
    const char *op, *batch, *channels, *size, *pass, *output;
    int repetitions;
    bool limits;
    pn_device_options device;
} options;
static options o;

typedef struct bench {
    pn_ceilings ceilings;
    pn_trust trust;
    char ops[MOST_OPS][32];
    int op_count, timed;
    double wall, cpu;
    json_t *list; /* of benchmarks, for -o json */
} bench;

/* What was found of a case. */
typedef struct found {
    const pn_op_case *of;
    char name[PN_CASE_NAME + 16]; /* with the device */
    pn_work work;
    long long iterations;
    double ms[PN_MOST_REPETITIONS], cpu_ms[PN_MOST_REPETITIONS];
    pn_spread spread;
    double of_limit; /* 0: the device has no ceilings */
} found;

/* ---- what is asked --------------------------------------------------------------------------- */

/* "16,36": whole numbers from `least` on, multiples of it. */
static pn_status read_list(const char *option, const char *text, int least, int most, int *list,
                           int *count) {
    char shown[64];
    *count = 0;
    for (const char *at = text;; at++) {
        char *end;
        const long value = strtol(at, &end, 10);
        if (end == at || *at < '0' || *at > '9' || value < least || value > most || value % least ||
            (*end && *end != ',') || *count == MOST_SIZES) {
            pn_text_visible(text, shown, sizeof shown);
            return pn_fail(PN_EARG,
                           "--%s %s, want up to %d whole numbers from %d to %d%s, as 16,36", option,
                           shown, MOST_SIZES, least, most, least > 1 ? " that 4 divides" : "");
        }
        list[(*count)++] = (int)value;
        at = end;
        if (!*at) return PN_OK;
    }
}

static bool is_known(const char *name) {
    for (int i = 0; pn_case_known(i); i++)
        if (!strcmp(name, pn_case_known(i))) return true;
    return false;
}

static pn_status read_ops(bench *b) {
    for (const char *at = o.op; at && *at;) {
        const size_t length = strcspn(at, ",");
        char name[32], shown[64], known[256] = "";
        snprintf(name, sizeof name, "%.*s", length < 31 ? (int)length : 31, at);
        if (!is_known(name) || b->op_count == MOST_OPS) {
            for (int i = 0; pn_case_known(i); i++)
                snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
                         pn_case_known(i));
            pn_text_visible(name, shown, sizeof shown);
            return pn_fail(PN_EARG, "--op %s, want some of %s", shown, known);
        }
        memcpy(b->ops[b->op_count++], name, sizeof name);
        at += length + (at[length] == ',');
    }
    return o.op && !b->op_count ? pn_fail(PN_EARG, "--op: no op") : PN_OK;
}

static bool is_asked(const bench *b, const pn_op_case *c) {
    if (strcmp(o.pass, "both") != 0 && c->op != PN_CASE_SGD &&
        c->backward != !strcmp(o.pass, "backward"))
        return false;
    for (int i = 0; i < b->op_count; i++)
        if (pn_case_is(c, b->ops[i])) return true;
    return b->op_count == 0;
}

/* ---- measuring ------------------------------------------------------------------------------- */

static pn_status repeat(const pn_op_call *call, long long times) {
    const pn_memory *memory = call->kernels->memory;
    const pn_op_case *of = &call->of;
    pn_laps *const laps = pn_times_of(memory);
    int64_t mark;
    if (laps) PN_TRY(pn_laps_begin(laps));
    for (long long i = 0; i < times; i++) {
        PN_TRY(pn_op_call_run(call));
        if (laps) /* the ops of cases stand in the order of families */
            PN_TRY(pn_laps_end(laps, of->op == PN_CASE_SGD
                                         ? PN_TIMED_UPDATE
                                         : pn_timed((pn_family)of->op, of->backward)));
    }
    PN_TRY(memory->mark(&mark));
    return memory->wait(mark);
}

static pn_status measure(bench *b, const pn_op_call *call, found *f) {
    PN_TRY(repeat(call, 1)); /* its memory comes into the caches, and threads awake */
    const double begun = pn_now();
    PN_TRY(repeat(call, 1));
    const double once = pn_now() - begun;
    f->iterations = once > 0 ? (long long)fmin(ceil(least_seconds / once), 1e6) : 1000000;
    for (int i = 0; i < o.repetitions; i++) {
        const double wall = pn_now(), cpu = pn_cpu_now();
        PN_TRY(repeat(call, f->iterations));
        const double spent = pn_cpu_now() - cpu, passed = pn_now() - wall;
        f->ms[i] = 1e3 * passed / (double)f->iterations;
        f->cpu_ms[i] = 1e3 * spent / (double)f->iterations;
        b->wall += passed;
        b->cpu += spent;
    }
    f->spread = pn_spread_of(f->ms, o.repetitions);
    return PN_OK;
}

/* ---- printing -------------------------------------------------------------------------------- */

/* An op in few letters: "stage 3x3 d2 s1 bwd". */
static void brief(const pn_op_case *c, char text[32]) {
    char name[PN_CASE_NAME];
    pn_case_name(c, name);
    int n = snprintf(text, 32, "%.*s", (int)strcspn(name, "/"), name);
#define ADD(...) n += snprintf(text + n, (size_t)(32 - n), __VA_ARGS__)
    if (c->parts && c->op != PN_CASE_CONV) ADD(" %dx%d", c->parts, c->C);
    if (c->R) ADD(" %dx%d", c->R, c->R);
    if (c->dilation) ADD(" d%d", c->dilation);
    if (c->stride) ADD(" s%d", c->stride);
    if (c->restore) ADD(" back");
    if (c->op != PN_CASE_SGD) ADD(" %s", c->backward ? "bwd" : "fwd");
#undef ADD
}

/* That of what limits. */
static void rate_text(bench *b, const found *f, char text[32]) {
    const double seconds = 1e-3 * f->spread.median, flop_rate = pn_flop_ceiling(&b->ceilings);
    const bool computes =
        flop_rate > 0 &&
        f->work.flops / flop_rate > f->work.bytes / pn_copy_ceiling(&b->ceilings, f->work.bytes);
    snprintf(text, 32, "%.1f %s", (computes ? f->work.flops : f->work.bytes) / seconds / 1e9,
             computes ? "GFLOP/s" : "GB/s");
}

static void print_markdown(bench *b, const found *f) {
    static const char dashes[] = "--------------------";
    const pn_op_case *c = f->of;
    char op[32], shape[32], rate[32], spread[8], limit[16] = "-";
    if (b->timed == 1)
        printf(
            "| %-19s | %-10s | %7s | %4s | %13s | %8s |\n| %.19s | %.10s | %.6s: | %.3s: | "
            "%.12s: | %.7s: |\n",
            "op", "N/HW/C", "ms", "+- %", "rate", "of_limit", dashes, dashes, dashes, dashes,
            dashes, dashes);
    brief(c, op);
    snprintf(shape, sizeof shape, "%d/%d/%d", c->N, c->HW, c->K ? c->K : c->C);
    if (c->op == PN_CASE_SGD) snprintf(shape, sizeof shape, "%zu", c->floats);
    if (f->of_limit > 0) snprintf(limit, sizeof limit, "%.2f", f->of_limit);
    rate_text(b, f, rate);
    printf("| %-19s | %-10s | %7.3f | %4s | %13s | %8s |\n", op, shape, f->spread.median,
           pn_spread_text(&f->spread, spread), rate, limit);
}

static void print_csv(const bench *b, const found *f) {
    const double seconds = 1e-3 * f->spread.median;
    if (b->timed == 1)
        puts(
            "name,ms,q1_ms,q3_ms,bytes_per_second,flops_per_second,of_limit,iterations,"
            "repetitions,device,threads");
    printf("%s,%.6g,%.6g,%.6g,%.6g,%.6g,", f->name, f->spread.median, f->spread.low, f->spread.high,
           f->work.bytes / seconds, f->work.flops / seconds);
    if (f->of_limit > 0) printf("%.4g", f->of_limit);
    printf(",%lld,%d,%s,%d\n", f->iterations, o.repetitions, b->ceilings.kernels->name,
           omp_get_max_threads());
}

static pn_status print_line(const bench *b, const found *f) {
    const double seconds = 1e-3 * f->spread.median;
    json_t *row = json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:i, s:s, s:i}", "name",
                            f->name, "ms", f->spread.median, "q1_ms", f->spread.low, "q3_ms",
                            f->spread.high, "bytes_per_second", f->work.bytes / seconds,
                            "flops_per_second", f->work.flops / seconds, "of_limit", f->of_limit,
                            "iterations", (json_int_t)f->iterations, "repetitions", o.repetitions,
                            "device", b->ceilings.kernels->name, "threads", omp_get_max_threads());
    return pn_json_print(row, 0, JSON_REAL_PRECISION(6), stdout);
}

static pn_status add_json(bench *b, const found *f) {
    const double seconds = 1e-3 * f->spread.median;
    json_t *counters =
        json_pack("{s:f, s:f, s:f}", "bytes_per_second", f->work.bytes / seconds,
                  "flops_per_second", f->work.flops / seconds, "of_limit", f->of_limit);
    const pn_measured m = {.name = f->name,
                           .ms = f->ms,
                           .cpu_ms = f->cpu_ms,
                           .count = o.repetitions,
                           .iterations = f->iterations};
    return pn_measured_add(b->list, &m, counters) ? pn_fail(PN_EMEM, "no memory for JSON") : PN_OK;
}

static pn_status show(bench *b, const found *f) {
    if (!strcmp(o.output, "json")) return add_json(b, f);
    if (!strcmp(o.output, "jsonl")) return print_line(b, f);
    if (!strcmp(o.output, "csv"))
        print_csv(b, f);
    else
        print_markdown(b, f);
    return fflush(stdout) || ferror(stdout) ? pn_fail(PN_EIO, "cannot write to stdout") : PN_OK;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static pn_status time_case(bench *b, const pn_op_case *of) {
    static found f;         /* large */
    static pn_op_call call; /* likewise */
    const char *device = b->ceilings.kernels->name;
    char name[PN_CASE_NAME];
    pn_case_name(of, name);
    f = (found){.of = of};
    snprintf(f.name, sizeof f.name, "%s/%s", strncmp(device, "host-", 5) ? device : device + 5,
             name);
    pn_status s = pn_op_call_create(&call, b->ceilings.kernels, of);
    if (s == PN_OK) s = measure(b, &call, &f);
    pn_op_call_destroy(&call);
    if (s != PN_OK) return pn_fail_in(s, "%s", f.name);
    f.work = call.work;
    f.of_limit = 1e3 * pn_least_seconds(&b->ceilings, f.work) / f.spread.median;
    b->timed++;
    return show(b, &f);
}

static pn_status time_cases(bench *b, const pn_op_case *list, int count) {
    for (int i = 0; i < count; i++)
        if (is_asked(b, &list[i])) PN_TRY(time_case(b, &list[i]));
    return PN_OK;
}

/* The cases of a network's cells, and a dense convolution, which stands outside of them. */
static pn_status time_size(bench *b, int N, int C, int HW) {
    pn_op_case list[PN_MOST_CASES];
    PN_TRY(time_cases(b, list, pn_cases_of(N, C, HW, true, list)));
    pn_op_case dense = {.op = PN_CASE_CONV, .N = N, .parts = 1, .C = C, .HW = HW, .R = 3};
    dense.stride = 2;
    dense.pad = 1;
    dense.K = 2 * C;
    for (dense.backward = 0; dense.backward < 2; dense.backward++) PN_TRY(time_cases(b, &dense, 1));
    return PN_OK;
}

static pn_status time_sizes(bench *b) {
    int batch[MOST_SIZES] = {0}, channels[MOST_SIZES] = {0}, size[MOST_SIZES] = {0}, counts[3];
    const bool usual = !o.channels && !o.size; /* the levels of the search network */
    PN_TRY(read_list("batch", o.batch, 1, 1 << 20, batch, &counts[0]));
    PN_TRY(read_list("channels", o.channels ? o.channels : "16,32,64", 4, PN_MAX_WIDTH, channels,
                     &counts[1]));
    PN_TRY(read_list("size", o.size ? o.size : "32,16,8", 1, 8192, size, &counts[2]));
    for (int i = 0; i < counts[0]; i++)
        for (int j = 0; j < counts[1]; j++)
            for (int k = 0; k < counts[2]; k++)
                if (!usual || j == k) PN_TRY(time_size(b, batch[i], channels[j], size[k]));
    return time_cases(b, &(pn_op_case){.op = PN_CASE_SGD, .floats = UPDATED}, 1);
}

static pn_status run_bench(bench *b) {
    PN_TRY(read_ops(b));
    PN_TRY(pn_device_open(&o.device, &b->ceilings.kernels));
    pn_limits_want(&b->ceilings, o.limits);
    pn_trust_begin(&b->trust);
    PN_TRY(time_sizes(b));
    if (!b->timed) return pn_fail(PN_EARG, "--op %s has no case of this size and pass", o.op);
    pn_trust_judge(&b->trust, b->wall, b->cpu);
    pn_trust_say(stderr, &b->trust);
    if (strcmp(o.output, "json") != 0) return PN_OK;
    json_t *context = pn_measured_context(&b->ceilings, &b->trust);
    return pn_json_print(
        json_pack("{s:o, s:O}", "context", context ? context : json_null(), "benchmarks", b->list),
        context ? 0 : -1, JSON_INDENT(2) | JSON_REAL_PRECISION(9), stdout);
}

#define PN_OF options

static const pn_field rows[] = {
    PN_TEXT("op", op, NULL, "LIST", NULL, "ops to time, with commas between them [all]"),
    PN_TEXT("batch", batch, NULL, "LIST", "64", "images a batch", .also = "batch-size|bs"),
    PN_TEXT("channels", channels, NULL, "LIST", NULL,
            "channels [16, 32 and 64 at sizes 32, 16 and 8]", .also = "width"),
    PN_TEXT("size", size, NULL, "LIST", NULL,
            "edges of images; of each list every one [see above]"),
    PN_TEXT("pass", pass, "both|forward|backward", "PASS", "both", "both, forward or backward"),
    PN_INT("repetitions", repetitions, 1, PN_MOST_REPETITIONS, "5",
           "of at least 10 ms each; bench/compare wants 5", .also = "r|repeat"),
    PN_TEXT("output", output, "md|csv|json|jsonl", "FORMAT", "md", "md, csv, json or jsonl",
            .also = "o|format"),
    PN_ROW_LIMITS,
    PN_ROWS_DEVICE,
};

static pn_status run(const char *const *words) {
    static bench b;
    (void)words;
    b.list = json_array();
    pn_status s = b.list ? run_bench(&b) : pn_fail(PN_EMEM, "no memory for JSON");
    json_decref(b.list);
    return s;
}

PN_COMMAND(bench, "time every op against the limit of this machine", .notes = notes,
           .options = {PN_OPTIONS(rows, o)});
