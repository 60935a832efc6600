/* count_kernels.c -- what the kernels of the card ask of it, counted on the emulated one
 * (kernels/emulator/counts.h), as a table: what is left of their speed to see without a card.
 *
 *     count_kernels cases 64 16 32 > ops.csv     every op at N images of HW x HW, C channels
 *     count_kernels search > step.csv            every launch of a step of the search, in the mean
 *     count_kernels search DARTS_V2 > step.csv   of some random cells, or of one; and
 *     count_kernels evaluation > step.csv        of the training of a cell from scratch
 *     count_kernels --check tests/emulator/counts.csv      is a count larger than it was?
 *     count_kernels --record tests/emulator/counts.csv     what it is from now on
 *
 * --intervals has a row for every barrier, of one block, which bench/predict_kernels reads;
 * --precision tf32 or bf16: of the kernels that the program has for it; --stride N counts of N
 * blocks one; --only OP: cases of that op (kernels/cases/cases.h). Launches of a step that are
 * alike are run once, so their numbers are those of no network; of each the column `times` says how
 * often it happens, and `at` which launches of all these are, from 0 on. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "kernels/cases/cases.h"
#include "kernels/emulator/counts.h"
#include "search/methods/prior.h"
#include "search/network/genotype.h"
#include "search/network/whole.h"

enum { NAME = 2048, MOST_ROWS = 4096, STRIDE = 64, SAMPLES = 4, SEED = 1902 };

/* ---- rows ------------------------------------------------------------------------------------ */

typedef struct row {
    char name[NAME];
    double times, bytes; /* bytes: the least that must move, of work.h */
    int *at;             /* its launches: as many as `times` */
    pn_counted counted;
} row;

static struct {
    const pn_kernels *kernels;
    const char *precision;
    unsigned stride;
    const char *only; /* NULL: all */
    row *list[MOST_ROWS];
    int rows, launches;
} now = {.precision = "float32", .stride = STRIDE};

static const struct column {
    const char *name;
    size_t at;
    bool checked; /* the same whatever the compiler */
} columns[] = {
#define COLUMN(name, checked) \
    { #name, offsetof(pn_counts, name), checked }
    COLUMN(runs, true),          COLUMN(shared, false),
    COLUMN(shared_cycles, true), COLUMN(shared_least, false),
    COLUMN(global, false),       COLUMN(global_cycles, true),
    COLUMN(read, true),          COLUMN(written, true),
    COLUMN(narrow, false),       COLUMN(narrow_cycles, false),
    COLUMN(narrow_read, false),  COLUMN(narrow_written, false),
    COLUMN(fma, true),           COLUMN(mma, true),
    COLUMN(chain_near, false),   COLUMN(chain_far, false),
    COLUMN(chain_fma, false),    COLUMN(chain_mma, false),
#undef COLUMN
};
enum { COLUMNS = sizeof columns / sizeof *columns };

static double value_of(const pn_counts *c, int column) {
    return *(const double *)(const void *)((const char *)c + columns[column].at);
}

/* The row of a launch, which is new if its counts are to be made. */
static row *row_of(const char *name, double bytes, bool *fresh) {
    *fresh = false;
    for (int i = 0; i < now.rows; i++)
        if (!strcmp(now.list[i]->name, name)) return now.list[i];
    row *r = now.rows < MOST_ROWS ? calloc(1, sizeof *r) : NULL;
    if (!r) return NULL;
    *fresh = true;
    now.list[now.rows++] = r;
    snprintf(r->name, sizeof r->name, "%s", name);
    r->bytes = bytes;
    return r;
}

/* One more launch of that kind. */
static pn_status happen(row *r) {
    int *const more = realloc(r->at, (size_t)(r->times + 1) * sizeof *more);
    if (!more) return pn_fail(PN_EMEM, "no memory for launch %d", now.launches);
    r->at = more;
    r->at[(int)r->times++] = now.launches++;
    return PN_OK;
}

static void print_head(FILE *to, const char *first, bool all) {
    fputs(first, to);
    for (int i = 0; i < COLUMNS; i++)
        if (all || columns[i].checked) fprintf(to, ",%s", columns[i].name);
    fputc('\n', to);
}

static void print_counts(FILE *to, const pn_counts *c, bool all) {
    for (int i = 0; i < COLUMNS; i++)
        if (all || columns[i].checked) fprintf(to, ",%.10g", value_of(c, i));
    fputc('\n', to);
}

/* launch,precision,at,times,bytes,blocks */
static void print_launch(const row *r, double parts) {
    printf("%s,%s,", r->name, now.precision);
    for (int i = 0; i < (int)r->times; i++) printf(i ? " %d" : "%d", r->at[i]);
    printf(",%.10g,%.10g,%u", r->times / parts, r->bytes, r->counted.blocks);
}

static void print_row(const row *r, double parts) {
    const pn_counts all = pn_launch_counts(&r->counted);
    print_launch(r, parts);
    print_counts(stdout, &all, true);
}

static void print_intervals(const row *r, double parts) {
    for (int i = 0; i < r->counted.intervals; i++) {
        const pn_interval *v = &r->counted.interval[i];
        pn_counts mean = {0};
        pn_add_counts(&mean, 1. / r->counted.counted, &v->sum);
        const char *slash = strrchr(v->file, '/');
        print_launch(r, parts);
        printf(",%s:%d,%d", slash ? slash + 1 : v->file, v->line, v->tail);
        print_counts(stdout, v->tail ? &v->most : &mean, true);
    }
}

static void print_all(bool intervals, double parts) {
    print_head(stdout,
               intervals ? "launch,precision,at,times,bytes,blocks,interval,tail"
                         : "launch,precision,at,times,bytes,blocks",
               true);
    for (int i = 0; i < now.rows; i++)
        if (intervals)
            print_intervals(now.list[i], parts);
        else
            print_row(now.list[i], parts);
}

/* ---- single ops ------------------------------------------------------------------------------ */

static pn_status count_case(const pn_op_case *of) {
    pn_op_call call;
    char name[PN_CASE_NAME];
    bool fresh;
    pn_case_name(of, name);
    pn_status s = pn_op_call_create(&call, now.kernels, of);
    row *r = s == PN_OK ? row_of(name, call.work.bytes, &fresh) : NULL;
    if (r && fresh) {
        pn_count_launches(&r->counted, now.stride);
        s = pn_op_call_run(&call);
        pn_count_launches(NULL, 1);
    }
    if (r && s == PN_OK && fresh) s = happen(r);
    pn_op_call_destroy(&call);
    return s;
}

static pn_status count_cases(int N, int C, int HW, bool first) {
    pn_op_case list[PN_MOST_CASES];
    const int count = pn_cases_of(N, C, HW, first, list);
    for (int i = 0; i < count; i++)
        if (!now.only || pn_case_is(&list[i], now.only)) PN_TRY(count_case(&list[i]));
    return PN_OK;
}

/* ---- a step: a backend that counts each launch and passes it on ------------------------------ */

static pn_op_case case_of_stem(const pn_stem *j) {
    return (pn_op_case){
        .op = PN_CASE_STEM, .N = j->N, .HW = j->H, .C = j->C, .K = j->out.K, .stride = j->stride};
}
static pn_op_case case_of_stage(const pn_stage *j) {
    return (pn_op_case){.op = PN_CASE_STAGE,
                        .N = j->N,
                        .HW = j->H,
                        .C = j->in.C,
                        .R = j->R,
                        .dilation = j->dilation,
                        .stride = j->stride};
}
static pn_op_case case_of_conv(const pn_conv *j) {
    return (pn_op_case){.op = PN_CASE_CONV,
                        .N = j->N,
                        .HW = j->H,
                        .C = j->in[0].C,
                        .parts = j->parts,
                        .K = j->out.K,
                        .R = j->R,
                        .stride = j->stride,
                        .pad = j->pad,
                        .mean = j->mean};
}
static pn_op_case case_of_conv1x1(const pn_conv1x1 *j) {
    pn_op_case c = case_of_conv(j);
    c.op = PN_CASE_CONV1X1;
    return c;
}
static pn_op_case case_of_reduce(const pn_reduce *j) {
    pn_op_case c = case_of_conv(j);
    c.op = PN_CASE_REDUCE;
    return c;
}
static pn_op_case case_of_pool(const pn_pool *j) {
    return (pn_op_case){.op = PN_CASE_POOL,
                        .N = j->N,
                        .HW = j->H,
                        .C = j->in.C,
                        .stride = j->stride,
                        .pool = j->kind};
}
static pn_op_case case_of_node(const pn_node *j) {
    return (pn_op_case){.op = PN_CASE_NODE,
                        .N = j->N,
                        .HW = j->H,
                        .C = j->C,
                        .restore = j->restore,
                        .terms = j->terms == 2 ? 0 : j->terms};
}
static pn_op_case case_of_head(const pn_head *j) {
    return (pn_op_case){.op = PN_CASE_HEAD, .N = j->N, .HW = j->H, .C = j->in[0].C};
}

/* What else a kernel does more or less for. */
static const pn_input *inputs_of(const void *job, pn_case_op op, int *count) {
    *count = 1;
    switch (op) {
        case PN_CASE_STAGE:
            return &((const pn_stage *)job)->in;
        case PN_CASE_POOL:
            return &((const pn_pool *)job)->in;
        case PN_CASE_CONV1X1:
        case PN_CASE_REDUCE:
        case PN_CASE_CONV:
            *count = ((const pn_conv *)job)->parts;
            return ((const pn_conv *)job)->in;
        default:
            *count = 0;
            return NULL;
    }
}

static void say_job(char name[NAME], const void *job, pn_op_case of, bool backward, bool shares) {
    char text[PN_CASE_NAME];
    int count, added = 0, wanted = 0;
    const size_t n = strlen(name);
    const pn_input *in = inputs_of(job, of.op, &count);
    of.backward = backward;
    pn_case_name(&of, text);
    for (int i = 0; i < count; i++) {
        wanted += in[i].dx != NULL;
        added += in[i].add;
    }
    snprintf(name + n, NAME - n, "%s%s", !n ? "" : shares ? "&" : "+", text);
    if (backward && (added || wanted < count))
        snprintf(name + strlen(name), NAME - strlen(name), "/dx:%d/add:%d", wanted, added);
}

#define SHARES_stem(j) false
#define SHARES_OTHERS(j) ((j)->shares_dx != 0)
#define SHARES_stage SHARES_OTHERS
#define SHARES_conv1x1 SHARES_OTHERS
#define SHARES_reduce SHARES_OTHERS
#define SHARES_conv SHARES_OTHERS
#define SHARES_pool SHARES_OTHERS
#define SHARES_node SHARES_OTHERS
#define SHARES_head SHARES_OTHERS

#define COUNT_PASS(op, pass, backward)                                                         \
    static pn_status count_##op##_##pass(const pn_##op *jobs, int count, const pn_launch *l) { \
        char name[NAME] = "";                                                                  \
        double bytes = 0;                                                                      \
        bool fresh;                                                                            \
        for (int i = 0; i < count; i++) {                                                      \
            say_job(name, &jobs[i], case_of_##op(&jobs[i]), backward, SHARES_##op(&jobs[i]));  \
            bytes += pn_##op##_work(&jobs[i], backward, now.kernels->storage).bytes;           \
        }                                                                                      \
        row *const r = row_of(name, bytes, &fresh);                                            \
        if (!r) return pn_fail(PN_EMEM, "no memory for a row");                                \
        PN_TRY(happen(r));                                                                     \
        if (!fresh) return PN_OK;                                                              \
        pn_count_launches(&r->counted, now.stride);                                            \
        const pn_status s = now.kernels->op##_##pass(jobs, count, l);                          \
        pn_count_launches(NULL, 1);                                                            \
        return s;                                                                              \
    }
#define COUNT_OP(FAMILY, op, with) COUNT_PASS(op, fwd, 0) COUNT_PASS(op, bwd, 1)
PN_OPS(COUNT_OP, )

static pn_status count_network(const pn_whole_case *c, const pn_arch *arch) {
    pn_kernels counting = *now.kernels;
#define COUNTING(FAMILY, op, with)        \
    counting.op##_fwd = count_##op##_fwd; \
    counting.op##_bwd = count_##op##_bwd;
    PN_OPS(COUNTING, )
#undef COUNTING
    static pn_whole whole; /* large */
    PN_TRY(pn_whole_create(&whole, c, arch, &counting, 1));
    const pn_status s = pn_whole_run(&whole);
    pn_whole_destroy(&whole);
    return s;
}

/* Some random architectures, whose mean is a step; or one. */
static pn_status count_search(const char *genotype) {
    const pn_space space = pn_space_darts();
    const pn_network_sizes is = pn_network_defaults(false, false);
    const pn_whole_case step = {.spec = {.layers = is.layers,
                                         .channels = is.channels,
                                         .H = is.edge,
                                         .W = is.edge,
                                         .image_channels = 3,
                                         .classes = is.classes},
                                .N = is.batch,
                                .training = true};
    pn_prior prior;
    pn_arch arch;
    if (genotype) {
        PN_TRY(pn_genotype_open(genotype, &arch));
        return count_network(&step, &arch);
    }
    pn_prior_init(&prior, &space, true);
    for (int i = 0; i < SAMPLES; i++) {
        pn_prior_sample(&prior, SEED, 0, (uint64_t)i, &arch);
        PN_TRY(count_network(&step, &arch));
    }
    return PN_OK;
}

static pn_status count_evaluation(void) {
    const pn_network_sizes is = pn_network_defaults(true, false);
    const pn_whole_case step = {.spec = {.evaluation = true,
                                         .layers = is.layers,
                                         .channels = is.channels,
                                         .H = is.edge,
                                         .W = is.edge,
                                         .image_channels = 3,
                                         .classes = is.classes,
                                         .auxiliary = true},
                                .N = is.batch,
                                .training = true,
                                .auxiliary = true,
                                .keep = 0.8};
    pn_arch arch;
    PN_TRY(pn_genotype_open("DARTS_V2", &arch));
    return count_network(&step, &arch);
}

/* ---- counts that must not grow --------------------------------------------------------------- */

/* Few images, all blocks: the three sizes of the search network, and one that is no power of 2. */
static pn_status count_small(void) {
    now.stride = 1;
    PN_TRY(count_cases(2, 16, 32, true));
    PN_TRY(count_cases(3, 32, 16, false));
    PN_TRY(count_cases(5, 64, 8, false));
    return count_cases(1, 36, 16, false);
}

static pn_status record(const char *path) {
    PN_TRY(count_small());
    FILE *to = fopen(path, "w");
    if (!to) return pn_fail(PN_EIO, "%s: cannot be written", path);
    print_head(to, "launch", false);
    for (int i = 0; i < now.rows; i++) {
        const pn_counts all = pn_launch_counts(&now.list[i]->counted);
        fputs(now.list[i]->name, to);
        print_counts(to, &all, false);
    }
    return fclose(to) ? pn_fail(PN_EIO, "%s: cannot be written", path) : PN_OK;
}

static row *find(const char *name) {
    for (int i = 0; i < now.rows; i++)
        if (!strcmp(now.list[i]->name, name)) return now.list[i];
    return NULL;
}

/* One row of the file; false at its end. */
static bool read_row(FILE *from, char name[NAME], double value[COLUMNS]) {
    char line[NAME + 64 * COLUMNS];
    if (!fgets(line, sizeof line, from)) return false;
    char *at = strchr(line, ',');
    snprintf(name, NAME, "%.*s", at ? (int)(at - line) : 0, line);
    for (int i = 0; i < COLUMNS; i++)
        if (columns[i].checked) value[i] = at && *at == ',' ? strtod(at + 1, &at) : 0;
    return true;
}

static pn_status check(const char *path) {
    char name[NAME], head[NAME];
    double was[COLUMNS];
    int worse = 0, better = 0, rows = 0;
    PN_TRY(count_small());
    FILE *from = fopen(path, "r");
    if (!from) return pn_fail(PN_EIO, "%s: cannot be read", path);
    read_row(from, head, was);
    for (; read_row(from, name, was); rows++) {
        const row *r = find(name);
        if (!r) {
            printf("%s: recorded and not counted any more\n", name);
            worse++;
            continue;
        }
        const pn_counts is = pn_launch_counts(&r->counted);
        for (int i = 0; i < COLUMNS; i++) {
            const double v = value_of(&is, i);
            if (!columns[i].checked || v == was[i]) continue;
            printf("%s: %s %.10g, recorded %.10g\n", name, columns[i].name, v, was[i]);
            if (v > was[i])
                worse++;
            else
                better++;
        }
    }
    fclose(from);
    if (rows < now.rows) printf("%d rows are counted, %d recorded\n", now.rows, rows);
    if (worse || better || rows < now.rows)
        printf(
            "%d counts have become larger, %d smaller; if that is meant to be: "
            "count_kernels --record %s\n",
            worse, better, path);
    return worse || rows < now.rows ? pn_fail(PN_EARG, "%d counts have become larger", worse)
                                    : PN_OK;
}

/* ---- the program ----------------------------------------------------------------------------- */

static const char usage[] =
    "count_kernels [--precision P] [--stride N] [--only OP] [--intervals]\n"
    "              cases N C HW | search [GENOTYPE] | evaluation\n"
    "count_kernels [--precision P] --check FILE | --record FILE\n";

/* -1: not a positive number. */
static int number(const char *text) {
    char *end;
    const long v = strtol(text, &end, 10);
    return *text && !*end && v > 0 && v <= 1 << 20 ? (int)v : -1;
}

int main(int argc, char **argv) {
    bool intervals = false;
    double parts = 1;
    pn_status s = PN_EARG;
    int i = 1;
    for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
        if (!strcmp(argv[i], "--intervals")) {
            intervals = true;
        } else if (!strcmp(argv[i], "--stride") && i + 1 < argc && number(argv[i + 1]) > 0) {
            now.stride = (unsigned)number(argv[++i]);
        } else if (!strcmp(argv[i], "--only") && i + 1 < argc) {
            now.only = argv[++i];
        } else if (!strcmp(argv[i], "--precision") && i + 1 < argc) {
            now.precision = argv[++i];
        } else {
            break;
        }
    }
    const char *what = i < argc ? argv[i] : "";
    const int left = argc - i - 1;
    char backend[PN_BACKEND_NAME];
    if (pn_backend_name("emulated", now.precision, backend) != PN_OK ||
        pn_backend_open(backend, &now.kernels) != PN_OK) {
        fprintf(stderr, "count_kernels: %s\n", pn_error());
        return 2;
    }
    if (!strcmp(what, "cases") && left == 3) {
        const int N = number(argv[i + 1]), C = number(argv[i + 2]), HW = number(argv[i + 3]);
        if (N > 0 && C > 0 && HW > 0) s = count_cases(N, C, HW, true);
    } else if (!strcmp(what, "search") && left <= 1) {
        s = count_search(left ? argv[i + 1] : NULL);
        parts = left ? 1 : SAMPLES;
    } else if (!strcmp(what, "evaluation") && !left) {
        s = count_evaluation();
    } else if (!strcmp(what, "--check") && left == 1) {
        s = check(argv[i + 1]);
    } else if (!strcmp(what, "--record") && left == 1) {
        s = record(argv[i + 1]);
    } else {
        fputs(usage, stderr);
        return 2;
    }
    if (s != PN_OK) {
        fprintf(stderr, "count_kernels: %s\n", *pn_error() ? pn_error() : "want positive numbers");
        return 1;
    }
    if (strncmp(what, "--", 2) != 0) print_all(intervals, parts);
    return 0;
}
