/* test_profile.c -- what profile, bench and PARSEC_TIMES count and print: operations and bytes
 * against naive loops, params and multiply-adds against the network's, the arena against its plan,
 * JSON and CSV read back, and what is refused. Times themselves are not judged: tests share their
 * machine. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/backend.h"
#include "kernels/cases/cases.h"
#include "runtime/file.h"
#include "runtime/json.h"
#include "runtime/times.h"
#include "search/methods/profile.h"
#include "search/network/genotype.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { USAGE = 2, INPUT = 3, NO_DEVICE = 5, IO = 6, LIMIT = 300 };

#define SMALL                                                                             \
    "--layers", "3", "--channels", "4", "--batch", "2", "--image", "8", "--threads", "1", \
        "--no-limits", "--quiet"
#define TINY "--channels", "4", "--size", "8", "--batch", "2", "--threads", "1", "--no-limits"
#define RUN(p, ...) \
    pn_process_program(p, PN_PROGRAM, (const char *const[]){__VA_ARGS__, NULL}, LIMIT)

/* ---- counting -------------------------------------------------------------------------------- */

/* Taps of a window that lie in the image, counted or not: work.h counts all of them. */
static double macs_of_stage(const pn_stage *s, int P, int Q) {
    double n = 0;
    for (int i = 0; i < s->N * P * Q; i++)
        for (int c = 0; c < s->in.C; c++) {
            for (int tap = 0; tap < s->R * s->R; tap++) n++;
            for (int k = 0; k < s->out.K; k++) n++;
        }
    return n;
}

static void test_operations(void **state) {
    (void)state;
    float any[4];
    const pn_norm norm = {.mode = PN_NORM_BATCH, .gamma = any, .beta = any};
    pn_stage stage = {.N = 3, .H = 5, .W = 7, .R = 5, .dilation = 1, .stride = 2};
    stage.in = (pn_input){.C = 8, .dx = any, .add = 1};
    stage.out = (pn_output){.K = 8, .norm = norm};
    const double macs = macs_of_stage(&stage, 3, 4);
    pn_work w = pn_stage_work(&stage, 0, PN_STORED_FLOAT32);
    assert_true(w.flops == 2 * macs);
    assert_true(w.bytes == 4.0 * (3 * 5 * 7 * 8 + 3 * 3 * 4 * 8));
    assert_true(w.params == 25 * 8 + 8 * 8 + 2 * 8);
    w = pn_stage_work(&stage, 1, PN_STORED_FLOAT32); /* x, dx read and written; z and dy */
    assert_true(w.bytes == 4.0 * (3 * 3 * 5 * 7 * 8 + 2 * 3 * 3 * 4 * 8));
    assert_true(w.flops == 2.0 * 3 * 3 * 4 * 8 * (3 * 25 + 2 * 8));

    pn_conv conv = {.N = 2, .H = 8, .W = 8, .parts = 2, .R = 5, .stride = 3, .mean = 1};
    conv.in[0] = (pn_input){.C = 4};
    conv.in[1] = (pn_input){.C = 12};
    conv.out = (pn_output){.K = 20};
    w = pn_conv_work(&conv, 0,
                     PN_STORED_FLOAT32); /* 2x2 outputs: sums of 25 taps, then one product */
    assert_true(w.flops == 2 * 2 * 2 * (25 * 16 + 2.0 * 16 * 20));
    assert_true(w.params == 16 * 20);
    w = pn_conv1x1_work(&conv, 0, PN_STORED_FLOAT32);
    assert_true(w.flops == 2.0 * 2 * 64 * 16 * 20);
    w = pn_reduce_work(&conv, 1, PN_STORED_FLOAT32); /* half of x; no dx; no z without a norm */
    assert_true(w.bytes == 4.0 * (2 * 64 * 8 + 2 * 16 * 20));

    const pn_stem stem = {.N = 2, .H = 9, .W = 9, .C = 3, .stride = 2, .out = {.K = 12}};
    w = pn_stem_work(&stem, 0, PN_STORED_FLOAT32);
    assert_true(w.flops == 2.0 * 2 * 25 * 27 * 12 && w.bytes == 4.0 * 2 * (81 * 3 + 25 * 12));
    w = pn_stem_work(&stem, 0, PN_STORED_BF16); /* the image is not stored */
    assert_true(w.bytes == 2.0 * (4 * 81 * 3 + 2 * 25 * 12));

    pn_term terms[3] = {{.in = {.norm = norm}}, {.in = {.dx = any}}, {.in = {.norm = norm}}};
    const pn_node node = {.N = 2, .H = 4, .W = 4, .C = 8, .terms = 3, .restore = 1, .term = terms};
    assert_true(pn_node_work(&node, 0, PN_STORED_FLOAT32).bytes == 4.0 * 4 * 2 * 16 * 8);
    assert_true(pn_node_work(&node, 0, PN_STORED_BF16).bytes == 2.0 * 4 * 2 * 16 * 8);
    /* dh, two terms with a norm, one dx, one term put back */
    assert_true(pn_node_work(&node, 1, PN_STORED_FLOAT32).bytes == 4.0 * 5 * 2 * 16 * 8);
}

/* The limit follows from the two rates; a machine without any has none. */
static void test_limit(void **state) {
    (void)state;
    pn_ceilings c = {.flop_rate = 1e9};
    c.copy_rate[20] = 1e6;
    assert_true(fabs(pn_least_seconds(&c, (pn_work){.bytes = 1 << 20, .flops = 1}) - 1.048576) <
                1e-12);
    assert_true(pn_least_seconds(&c, (pn_work){.bytes = 1 << 20, .flops = 3e9}) == 3);
    c.flop_rate = -1;
    assert_true(pn_least_seconds(&c, (pn_work){.bytes = 1 << 20, .flops = 3e9}) == 0);
}

/* A supernet's node reads dh and every term for its gradients, and makes that of each weight. */
static void check_mixed_node(const pn_kernels *kernels) {
    enum { N = 2, HW = 8, C = 8 };
    static pn_op_call call;
    for (int terms = 1; terms <= PN_CASE_TERMS; terms += 17) {
        const pn_op_case of = {
            .op = PN_CASE_NODE, .backward = 1, .N = N, .HW = HW, .C = C, .terms = terms};
        assert_int_equal(pn_op_call_create(&call, kernels, &of), PN_OK);
        const double tensor = (double)pn_element_bytes(kernels->storage) * N * HW * HW * C;
        assert_true(call.work.bytes == (1 + terms) * tensor);
        for (int i = 0; i < terms; i++) *call.term[i].dweight = NAN;
        assert_int_equal(pn_op_call_run(&call), PN_OK);
        for (int i = 0; i < terms; i++) assert_true(isfinite(*call.term[i].dweight));
        pn_op_call_destroy(&call);
    }
}

/* Every case runs, on every name there is one, and its work is what its tensors are. */
static void check_cases(const char *device) {
    const pn_kernels *kernels;
    pn_op_case list[PN_MOST_CASES];
    static pn_op_call call;
    assert_int_equal(pn_backend_open(device, &kernels), PN_OK);
    const int count = pn_cases_of(2, 4, 14, 1, list);
    assert_true(count > 30 && count < PN_MOST_CASES);
    for (int i = 0; i < count; i++) {
        char name[PN_CASE_NAME];
        int known = 0;
        pn_case_name(&list[i], name);
        for (int k = 0; pn_case_known(k); k++) known += pn_case_is(&list[i], pn_case_known(k));
        assert_true(known > 0);
        assert_int_equal(pn_op_call_create(&call, kernels, &list[i]), PN_OK);
        assert_int_equal(pn_op_call_run(&call), PN_OK);
        assert_true(call.work.bytes > 0);
        pn_op_call_destroy(&call);
    }
    check_mixed_node(kernels);
    pn_op_case wrong = {
        .op = PN_CASE_STAGE, .N = 2, .HW = 8, .C = 6, .R = 3, .dilation = 1, .stride = 1};
    assert_int_equal(pn_op_call_create(&call, kernels, &wrong), PN_EARG);
    pn_op_call_destroy(&call);
    wrong = (pn_op_case){.op = PN_CASE_NODE, .N = 2, .HW = 4, .C = 8, .terms = PN_CASE_TERMS + 1};
    assert_int_equal(pn_op_call_create(&call, kernels, &wrong), PN_EARG);
    wrong = (pn_op_case){.op = PN_CASE_NODE, .N = 1 << 20, .HW = 40, .C = PN_MAX_WIDTH};
    assert_int_equal(pn_op_call_create(&call, kernels, &wrong), PN_EMEM);
    pn_op_call_destroy(&call);
}
static void test_cases(void **state) {
    (void)state;
    check_cases("cpu");
    check_cases("cpu-bf16");
}

/* ---- one profile ----------------------------------------------------------------------------- */

/* Rows are the whole: what ops count and take is what the network counts and its passes take. */
static void check_profile(const pn_kernels *kernels, bool evaluation, int rounds) {
    const pn_profile_settings settings = {.spec = {.evaluation = evaluation,
                                                   .layers = 3,
                                                   .channels = 8,
                                                   .H = 8,
                                                   .W = 6,
                                                   .image_channels = 3,
                                                   .classes = 10},
                                          .N = 2,
                                          .rounds = rounds,
                                          .seed = 1};
    pn_profile p[2] = {{.params = 0}};
    pn_ceilings ceilings = {.flop_rate = -1};
    double wall, cpu;
    assert_string_equal(pn_genotype_published(1, &p[0].arch), "DARTS_V2");
    assert_string_equal(pn_genotype_published(2, &p[1].arch), "PDARTS");
    assert_int_equal(pn_profile_run(kernels, &settings, p, 2, &ceilings, NULL, NULL, &wall, &cpu),
                     PN_OK);
    assert_true(wall > 0 && cpu > 0);
    for (int i = 0; i < 2; i++) {
        double params = 0, macs = 0;
        int launches[PN_PASSES] = {0};
        assert_int_equal(p[i].predicted, p[i].measured);
        for (int pass = 0; pass < PN_PASSES; pass++)
            for (int r = 0; r < rounds; r++) assert_true(p[i].ms[pass][r] > 0);
        for (int r = 0; r < p[i].rows; r++) {
            params += p[i].row[r].params;
            macs += p[i].row[r].macs;
            for (int pass = 0; pass < PN_PASSES; pass++) {
                launches[pass] += p[i].row[r].launches[pass];
                for (int t = 0; t < pn_profile_timed(rounds); t++)
                    assert_true(p[i].row[r].ms[pass][t] >= 0);
            }
        }
        assert_true(params == (double)p[i].params);
        assert_true(fabs(macs - p[i].macs) < 1e-6 * macs);
        assert_true(launches[0] >= p[i].launches[0] && launches[1] >= p[i].launches[1]);
        assert_true(p[i].launches[0] > 10 && p[i].launches[1] > 10);
    }
    pn_profile_free(p, 2);
}

static void test_rows(void **state) {
    (void)state;
    const pn_kernels *kernels;
    assert_int_equal(pn_backend_open("cpu", &kernels), PN_OK);
    check_profile(kernels, false, 3);
    check_profile(kernels, true, 1);
    if (pn_backend_open("emulated", &kernels) == PN_OK) check_profile(kernels, false, 1);
}

/* More laps than a device has stamps; the host's clock, and a device's. */
static void test_laps(void **state) {
    (void)state;
    static const char *const devices[] = {"cpu", "emulated"};
    for (int d = 0; d < 2; d++) {
        const pn_kernels *kernels;
        double ms[3] = {0};
        int64_t count[3] = {0};
        if (pn_backend_open(devices[d], &kernels) != PN_OK) continue;
        assert_int_equal(kernels->memory->stamp != NULL, d == 1);
        static pn_laps laps;
        laps = (pn_laps){.memory = kernels->memory, .ms = ms, .count = count};
        for (int i = 0; i < 5; i++) {
            assert_int_equal(pn_laps_begin(&laps), PN_OK);
            for (int j = 0; j < PN_STAMPS / 2 + 7; j++)
                assert_int_equal(pn_laps_end(&laps, j % 3), PN_OK);
            pn_sleep(0.002); /* between laps: nobody's */
        }
        assert_int_equal(pn_laps_begin(&laps), PN_OK);
        pn_sleep(0.02);
        assert_int_equal(pn_laps_end(&laps, 1), PN_OK);
        assert_int_equal(pn_laps_read(&laps), PN_OK);
        assert_int_equal(count[0] + count[1] + count[2], 5 * (PN_STAMPS / 2 + 7) + 1);
        assert_true(ms[1] >= 20 && ms[0] >= 0 && ms[2] >= 0);
    }
}

/* ---- the commands ---------------------------------------------------------------------------- */

static json_t *parse(const char *text, size_t size) {
    json_t *root;
    if (pn_json_parse(text, size, &root) != PN_OK) fail_msg("%s: %.200s", pn_error(), text);
    return root;
}

static json_t *read_json(const char *name) {
    void *text;
    size_t size;
    assert_int_equal(pn_file_read(pn_in_folder(name), 1 << 26, &text, &size), PN_OK);
    json_t *root = parse(text, size);
    free(text);
    return root;
}

static double number(const json_t *row, const char *key) {
    const json_t *value = json_object_get(row, key);
    if (!json_is_number(value)) fail_msg("no number %s", key);
    return json_number_value(value);
}

static const char *word(const json_t *row, const char *key) {
    const char *text = json_string_value(json_object_get(row, key));
    if (!text) fail_msg("no text %s", key);
    return text ? text : "";
}

/* What Google Benchmark writes: repetitions, each with its index, and then their median. */
static void check_shape(const json_t *root, int repetitions) {
    const json_t *context = json_object_get(root, "context"),
                 *list = json_object_get(root, "benchmarks");
    size_t i;
    json_t *row;
    int next = 0;
    assert_true(json_array_size(list) > 0);
    (void)word(context, "date");
    (void)word(context, "device");
    assert_true(number(context, "num_cpus") >= 1 && number(context, "threads") == 1);
    const json_t *busy = json_object_get(context, "busy"),
                 *others = json_object_get(context, "others"),
                 *load = json_array_get(json_object_get(context, "load_avg"), 0);
    const double processors = number(context, "num_cpus");
    assert_true(json_is_boolean(busy));
    assert_true(json_is_null(others) || number(context, "others") >= 0);
    assert_int_equal(
        json_is_true(busy),
        number(context, "cpu_share") < 0.9 ||
            (json_is_null(others)
                 ? json_number_value(load) > processors
                 : number(context, "threads") + json_number_value(others) > processors + 0.1));
    json_array_foreach(list, i, row) {
        const bool is_median = !strcmp(word(row, "run_type"), "aggregate");
        assert_string_equal(word(row, "time_unit"), "ms");
        assert_true(number(row, "real_time") >= 0 && number(row, "cpu_time") >= 0);
        if (is_median) {
            assert_string_equal(word(row, "aggregate_name"), "median");
            assert_true(strstr(word(row, "name"), "_median") != NULL);
            assert_true(next == 0 || next == repetitions);
            next = 0;
        } else {
            assert_string_equal(word(row, "name"), word(row, "run_name"));
            assert_int_equal(number(row, "repetition_index"), next++);
            assert_int_equal(number(row, "repetitions"), repetitions);
        }
    }
}

/* Lines of CSV: as many cells in each as the first one has. Gives the number of lines. */
static int check_csv(const char *text) {
    int cells = 0, want = 0, lines = 0;
    for (; *text; text++) {
        cells += *text == ',';
        if (*text != '\n') continue;
        if (!lines++) want = cells;
        assert_int_equal(cells, want);
        cells = 0;
    }
    return lines;
}

static void check_width(const char *text) {
    int column = 0;
    for (; *text; text++) {
        column = *text == '\n' ? 0 : column + 1;
        if (column > 80) fail_msg("wider than 80 columns");
    }
}

static void test_profile_command(void **state) {
    (void)state;
    pn_process p = {.code = 0};
    if (RUN(&p, "profile", "--architectures", "2", "--rounds", "3", "-o", "out.json", SMALL))
        fail_msg("%s", p.err);
    check_width(p.out);
    assert_non_null(strstr(p.out, "2 architectures drawn from the uniform distribution"));
    assert_non_null(strstr(p.out, "stage"));
    json_t *root = read_json("out.json"), *row;
    check_shape(root, 3);
    assert_int_equal(number(json_object_get(root, "context"), "channels"), 4);
    const json_t *list = json_object_get(root, "benchmarks");
    int architectures = 0, ops = 0;
    size_t i;
    json_array_foreach(list, i, row) {
        pn_arch arch;
        const char *label = json_string_value(json_object_get(row, "label"));
        if (strcmp(word(row, "run_type"), "aggregate") != 0) continue;
        ops += !label;
        if (!label) continue;
        architectures++;
        assert_int_equal(pn_genotype_read(label, strlen(label), &arch), PN_OK);
        assert_true(number(row, "arena_bytes") == number(row, "arena_bytes_predicted"));
        assert_true(number(row, "params") > 0 && number(row, "macs") > 0);
        assert_true(number(row, "ops_ms") > 0 && number(row, "log_p") < 0);
    }
    assert_int_equal(architectures, 2 * PN_PASSES);
    assert_true(ops > 20);
    json_decref(root);

    assert_int_equal(RUN(&p, "profile", "DARTS_V2", "PDARTS", "--csv", "--rounds", "1", SMALL), 0);
    assert_true(check_csv(p.out) > 20);
    assert_non_null(strstr(p.out, "\n1,all,,"));
    assert_non_null(strstr(p.out, "\n1,stage,4x4,"));

    assert_int_equal(RUN(&p, "profile", "-n", "2", SMALL), 0);
    assert_non_null(strstr(p.out, "uniform distribution, 9 rounds"));
    assert_int_equal(RUN(&p, "profile", "-n", "21", SMALL), 0);
    assert_non_null(strstr(p.out, "uniform distribution, 5 rounds"));
    pn_process_free(&p);
}

/* Bytes and counts are those of plan. (In a build with guards the arena has room for them.) */
static void test_as_plan(void **state) {
    (void)state;
    pn_process p = {.code = 0};
    const pn_kernels *kernels;
    assert_int_equal(pn_backend_open("cpu", &kernels), PN_OK);
    assert_int_equal(RUN(&p, "plan", "DARTS_V1", "--network", "eval", "--json", "--layers", "3",
                         "--channels", "4", "--batch", "2", "--image", "8"),
                     0);
    json_t *plan = parse(p.out, strlen(p.out));
    assert_int_equal(RUN(&p, "profile", "DARTS_V1", "--network", "eval", "--rounds", "1", "-o",
                         "eval.json", SMALL),
                     0);
    json_t *root = read_json("eval.json");
    const json_t *row = json_array_get(json_object_get(root, "benchmarks"), 1);
    assert_true(number(row, "params") == number(plan, "params"));
    assert_true(number(row, "macs") == number(plan, "macs"));
    assert_true(number(row, "launches") == number(plan, "launches_fwd"));
    if (!pn_arena_checks(kernels->memory))
        assert_true(number(row, "arena_bytes") == number(plan, "arena_bytes"));
    json_decref(root);
    json_decref(plan);
    pn_process_free(&p);
}

/* A run: its cell, its most probable ones and its network; and draws from it. */
static void test_of_run(void **state) {
    (void)state;
    pn_process p = {.code = 0};
    void *text;
    size_t size;
    pn_arch found, first;
    assert_int_equal(RUN(&p, "search", "run", "--data", "synthetic:40x8x8x3", "--layers", "2",
                         "--channels", "4", "--batch", "4", "--steps", "3", "--warmup", "1",
                         "--samples", "2", "--threads", "1", "--quiet"),
                     0);
    if (RUN(&p, "profile", "run", "-n", "3", "-o", "run/profile.json", "--rounds", "1", "--threads",
            "1", "--no-limits"))
        fail_msg("%s", p.err);
    json_t *root = read_json("run/profile.json");
    const json_t *context = json_object_get(root, "context");
    assert_int_equal(number(context, "layers"), 2);
    assert_int_equal(number(context, "batch"), 4);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(context, "image"), 0)), 8);
    const char *label = word(json_array_get(json_object_get(root, "benchmarks"), 0), "label");
    assert_int_equal(pn_file_read(pn_in_folder("run/genotype.txt"), 1 << 20, &text, &size), PN_OK);
    assert_int_equal(pn_genotype_read(text, size, &found), PN_OK);
    assert_int_equal(pn_genotype_read(label, strlen(label), &first), PN_OK);
    assert_memory_equal(&found, &first, sizeof found);
    free(text);
    json_decref(root);
    assert_int_equal(RUN(&p, "search", "run", "--quiet"), 0); /* the run is still one */
    assert_int_equal(RUN(&p, "profile", "--prior", "run", "-n", "1", "--rounds", "1", SMALL), 0);
    assert_non_null(strstr(p.out, "drawn from run"));
    pn_process_free(&p);
}

static void test_bench_command(void **state) {
    (void)state;
    pn_process p = {.code = 0};
    if (RUN(&p, "bench", TINY, "--repetitions", "1", "--op",
            "sep_conv_3x3,node,stem,conv,head,reduce,conv1x1,avg_pool"))
        fail_msg("%s", p.err);
    check_width(p.out);
    assert_non_null(strstr(p.out, "\n| stage 3x3 d1 s1 bwd | 2/8/4 "));
    assert_int_equal(RUN(&p, "bench", TINY, "--op", "max_pool_3x3", "-o", "json"), 0);
    json_t *root = parse(p.out, strlen(p.out));
    check_shape(root, 5);
    const json_t *row = json_array_get(json_object_get(root, "benchmarks"), 0);
    assert_non_null(strstr(word(row, "name"), "/max_pool/fwd/N:2/C:4/HW:8/stride:1"));
    json_decref(root);
    assert_int_equal(RUN(&p, "bench", "--op", "dil_conv_5x5", "--pass", "forward", "--channels",
                         "4,8", "--size", "4,6", "--batch", "1,2", "--threads", "1", "--no-limits",
                         "--repetitions", "1", "-o", "csv"),
                     0);
    assert_int_equal(check_csv(p.out), 1 + 8);
    assert_int_equal(RUN(&p, "bench", TINY, "--op", "node", "-o", "jsonl", "-r", "2"), 0);
    const char *line = p.out;
    int lines = 0;
    for (const char *end; (end = strchr(line, '\n')); line = end + 1, lines++) {
        root = parse(line, (size_t)(end - line));
        assert_true(number(root, "ms") > 0 && number(root, "bytes_per_second") > 0);
        json_decref(root);
    }
    assert_int_equal(lines, 4);
    pn_process_free(&p);
}

/* ---- PARSEC_TIMES ---------------------------------------------------------------------------- */

/* The number in a column of the row that begins so; -1 without one. */
static double cell(const char *text, const char *row, int column) {
    const char *at = strstr(text, row);
    double value = -1;
    if (!at) return -1;
    at += strlen(row);
    for (int i = 0; i <= column; i++) {
        char *end;
        value = strtod(at, &end);
        at = end;
    }
    return value;
}

#define OF_RUN                                                                          \
    "--data", "synthetic:40x8x8x3", "--layers", "2", "--channels", "4", "--batch", "4", \
        "--threads", "1", "--quiet"

static void test_times(void **state) {
    (void)state;
    pn_process p = {.code = 0};
    static const char *const devices[] = {"cpu", "emulated"};
    assert_int_equal(
        RUN(&p, "search", "silent", "--steps", "2", "--warmup", "1", "--samples", "2", OF_RUN), 0);
    assert_string_equal(p.err, "");
    setenv("PARSEC_TIMES", "1", 1);
    for (int d = 0; d < 2; d++) {
        char name[32];
        snprintf(name, sizeof name, "timed-%s", devices[d]);
        const int code = RUN(&p, "search", name, "--steps", "2", "--warmup", "1", "--samples", "2",
                             "--device", devices[d], OF_RUN);
        if (d && code == NO_DEVICE) continue;
        if (code) fail_msg("%s: %s", devices[d], p.err);
        /* A warm-up step trains one, a step trains two and validates two: five passes forward. */
        assert_int_equal(cell(p.err, "\nstem       forward", 0), 5);
        assert_int_equal(cell(p.err, "\nstem       backward", 0), 3);
        assert_int_equal(cell(p.err, "\nhead       backward", 0), 3);
        const double all = cell(p.err, "\nall  ", 1);
        assert_true(all > 0 && cell(p.err, "\nnode       forward", 1) > 0);
        assert_true(cell(p.err, "\nall  ", 2) == 100);
        assert_true(cell(p.err, "\nupdate  ", 0) > 0);
        double sum = 0;
        static const char *const rows[] = {"stem", "conv1x1", "reduce", "stage",
                                           "pool", "node",    "head"};
        for (int i = 0; i < 7; i++)
            for (int pass = 0; pass < 2; pass++) {
                char row[32];
                snprintf(row, sizeof row, "\n%-10s %-10s", rows[i], pass ? "backward" : "forward");
                sum += fmax(0, cell(p.err, row, 1));
            }
        assert_true(fabs(sum + cell(p.err, "\nupdate  ", 1) - all) < 2);
    }
    assert_int_equal(RUN(&p, "bench", TINY, "--op", "node,sgd", "-r", "1"), 0);
    assert_true(cell(p.err, "\nnode       forward", 0) >= 6);
    setenv("PARSEC_TIMES", "0", 1);
    assert_int_equal(RUN(&p, "plan", "DARTS_V2"), 0);
    assert_string_equal(p.err, "");
    unsetenv("PARSEC_TIMES");
    pn_process_free(&p);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void test_refusals(void **state) {
    (void)state;
    pn_process p = {.code = 0};
    static const struct {
        int code;
        const char *words, *arguments[8];
    } rows[] = {
        {USAGE, "want some of stem, conv1x1", {"bench", "--op", "sep_conv_7x7"}},
        {USAGE, "--size 0, want", {"bench", "--size", "0"}},
        {USAGE, "--size 16,,8, want", {"bench", "--size", "16,,8"}},
        {USAGE, "--channels 6, want", {"bench", "--channels", "6"}},
        {USAGE, "--batch 1e3, want", {"bench", "--batch", "1e3"}},
        {USAGE, "no case", {"bench", "--op", "head", "--size", "32", "--channels", "4"}},
        {USAGE, "--op: no op", {"bench", "--op", ""}},
        {USAGE, "--output xml", {"bench", "-o", "xml"}},
        {USAGE, "--channels", {"profile", "--channels", "0"}},
        {USAGE,
         "sep_conv_7x7",
         {"profile", "Genotype(normal=[('sep_conv_7x7', 0)], normal_concat=[2])"}},
        {USAGE, "no-such", {"profile", "no-such"}},
        {USAGE, "want one of DARTS_V2 and --prior", {"profile", "DARTS_V2", "--prior", "run"}},
        {USAGE, "--architectures goes without", {"profile", "DARTS_V2", "-n", "3"}},
        {INPUT, "empty: no run", {"profile", "empty"}},
        {INPUT, "broken: line 1", {"profile", "broken"}},
        {INPUT, "broken-sizes: its layers is no size", {"profile", "broken-sizes"}},
        {INPUT, "a directory without a checkpoint", {"profile", "--prior", "empty"}},
        {IO, "missing/out.json", {"profile", "PDARTS", "-o", "missing/out.json", "-q"}},
    };
    assert_int_equal(mkdir(pn_in_folder("empty"), 0777), 0);
    assert_int_equal(mkdir(pn_in_folder("broken"), 0777), 0);
    assert_int_equal(mkdir(pn_in_folder("broken-sizes"), 0777), 0);
    static const char sizes[] = "{\"command\": \"search\", \"settings\": {\"layers\": -1}}";
    assert_int_equal(pn_file_write(pn_in_folder("broken/run.json"), "{", 1), PN_OK);
    assert_int_equal(pn_file_write(pn_in_folder("broken-sizes/run.json"), sizes, sizeof sizes - 1),
                     PN_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        (void)pn_process_program(&p, PN_PROGRAM, rows[i].arguments, LIMIT);
        pn_process_refused(&p, rows[i].code, rows[i].words);
    }
    /* Refused before anything is measured, and without a file left behind. */
    assert_int_equal(mkdir(pn_in_folder("closed"), 0555), 0);
    if (geteuid() != 0) {
        assert_int_equal(RUN(&p, "profile", "PDARTS", "-o", "closed/out.json", "-q"), IO);
        assert_string_equal(p.out, "");
    }
    pn_process_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operations),    cmocka_unit_test(test_limit),
        cmocka_unit_test(test_cases),         cmocka_unit_test(test_rows),
        cmocka_unit_test(test_laps),          cmocka_unit_test(test_profile_command),
        cmocka_unit_test(test_as_plan),       cmocka_unit_test(test_of_run),
        cmocka_unit_test(test_bench_command), cmocka_unit_test(test_times),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("profile", tests, pn_folder_begin, pn_folder_end);
}
