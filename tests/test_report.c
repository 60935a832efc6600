/* test_report.c -- a run directory read as it lies there, and the page about it. */
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/rng.h"
#include "search/methods/mixture.h"
#include "search/network/genotype.h"
#include "search/report/chart.h"
#include "search/report/curves.h"
#include "search/report/heat.h"
#include "search/report/html.h"
#include "search/report/report.h"
#include "search/rundir/record.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { PATH_BYTES = 512, LIMIT = 60 /* seconds */ };

/* ---- runs that are made ---------------------------------------------------------------------- */

static FILE *create(const char *directory, const char *name) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    (void)mkdir(pn_in_folder(directory), 0777);
    FILE *file = fopen(pn_in_folder(path), "wb");
    assert_non_null(file);
    return file;
}

static void put_bytes(const char *directory, const char *name, const char *data, size_t size) {
    FILE *file = create(directory, name);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void put(const char *directory, const char *name, const char *text) {
    put_bytes(directory, name, text, strlen(text));
}

static double draw(uint64_t stream, uint64_t i) { return pn_uniform(7, PN_STREAM_TEST, stream, i); }

static void random_prior(pn_prior *prior, bool distinct, uint64_t stream, double width) {
    const pn_space space = pn_space_darts();
    assert_int_equal(pn_prior_init(prior, &space, distinct), PN_OK);
    for (int i = 0; i < prior->count; i++)
        prior->logit[i] = width * (2 * draw(stream, (uint64_t)i) - 1);
}

/* A row of prior.csv. */
static void put_prior(FILE *file, long step, const pn_prior *prior) {
    double probability[PN_MAX_LOGITS];
    pn_prior_marginals(prior, probability);
    fprintf(file, "%ld", step);
    for (int i = 0; i < prior->count; i++) fprintf(file, ",%.9g", probability[i]);
    fputc('\n', file);
}

static const char run_json[] =
    "{\"program\": \"parsec-nas\", \"version\": \"0.2.0\", \"format\": 2, \"command\": \"search\","
    " \"state\": \"%s\", \"step\": %ld, \"device\": \"host-base\", \"data_crc32\": 1, "
    "\"parameter_bytes\": 1048576, \"agreement\": 0.61, \"images\": {\"image\": [8, 8, 3], "
    "\"classes\": 10, \"mean\": [0.5], \"std\": [0.2]}, \"settings\": {\"data\": \"%s\", "
    "\"rule\": \"practical\", \"layers\": 3, \"channels\": 4, \"batch\": 4, \"samples\": 4, "
    "\"steps\": %ld, \"warmup\": %ld, \"seed\": 9, \"distinct-inputs\": true, \"augment\": false, "
    "\"rate\": 0.025, \"rate-pi\": null}}\n";

/* A search of so many steps with a distribution that moves from uniform to `last`. */
static void make_search(const char *directory, long steps, const char *state, const char *data,
                        pn_prior *last) {
    char text[4096];
    const long warmup = steps / 4;
    snprintf(text, sizeof text, run_json, state, steps, data, steps, warmup);
    put(directory, "run.json", text);
    FILE *metrics = create(directory, "metrics.csv"), *times = create(directory, "times.csv"),
         *prior = create(directory, "prior.csv");
    pn_prior now;
    random_prior(last, true, 3, 4);
    now = *last;
    fputs(
        "step,phase,entropy,ess_v,ess_pi,train_loss,val_loss,train_accuracy,val_accuracy,rate,"
        "gradient_norm_v,gradient_norm_pi,skipped,free_ops,input0,cells_reached\n",
        metrics);
    fputs(
        "step,images,ms,data_ms,forward_ms,backward_ms,update_ms,distribution_ms,arena_bytes,"
        "memory_bytes\n",
        times);
    fputs("step", prior);
    for (int i = 0; i < last->count; i++) {
        char name[PN_NAME_BYTES];
        pn_logit_name(&last->space, i, name);
        fprintf(prior, ",%s", name);
    }
    fputc('\n', prior);
    for (long step = 0; step <= steps; step++) {
        const bool search = step >= warmup;
        const double noise = draw(5, (uint64_t)step), part = (double)step / (double)steps;
        if (step % (steps > 100 ? steps / 100 : 1) == 0) {
            for (int i = 0; i < now.count; i++) now.logit[i] = search ? part * last->logit[i] : 0;
            put_prior(prior, step, &now);
        }
        if (step == steps) break;
        fprintf(metrics, "%ld,%s,%.9g,1.5,%s,%.9g,%s%.6g,%s,0.02,1,,0,0.25,0.3,3\n", step,
                search ? "search" : "warmup", 47 - 20 * part, search ? "1.25" : "",
                2 - part + 0.3 * noise, search ? "1.9," : ",", 0.5 * part, search ? "0.4" : "");
        fprintf(times, "%ld,40,%.4g,1,3,4,0.5,0.25,2097152,50000000\n", step, 9 + noise);
    }
    fclose(metrics);
    fclose(times);
    fclose(prior);
    if (strcmp(state, "finished") != 0) return;
    pn_arch mode;
    char genotype[PN_GENOTYPE_BYTES];
    pn_prior_mode(last, &mode);
    pn_genotype_write(&mode, genotype);
    put(directory, "genotype.txt", genotype);
}

static char *page_of(const char *directory) {
    const char *const path = pn_in_folder(directory);
    char *text;
    size_t size;
    assert_int_equal(pn_report_text(&path, 1, &text, &size), PN_OK);
    assert_int_equal(strlen(text), size);
    return text;
}

static void assert_has(const char *text, const char *words) {
    if (!strstr(text, words)) fail_msg("the page lacks \"%s\"", words);
}

static void assert_lacks(const char *text, const char *words) {
    if (strstr(text, words)) fail_msg("the page has \"%s\"", words);
}

/* ---- the reader ------------------------------------------------------------------------------ */

static void read_table(const char *text, size_t size, pn_columns *c) {
    pn_view v;
    put_bytes("table", "t.csv", text, size);
    assert_int_equal(pn_view_open(&v, pn_in_folder("table")), PN_OK);
    assert_int_equal(pn_view_table(&v, "t.csv", c), PN_OK);
    pn_view_close(&v);
}

static void numbers_are_those_of_strtod(void **state) {
    (void)state;
    enum { ROWS = 3000 };
    static const char *const odd[] = {"0",
                                      "-0",
                                      "1",
                                      "nan",
                                      "-nan",
                                      "inf",
                                      "-inf",
                                      "1e400",
                                      "1e-400",
                                      "4.9e-324",
                                      "1e22",
                                      "1e23",
                                      "1e-22",
                                      "1e-23",
                                      "0.1",
                                      "123456789012345678901234567890",
                                      "9007199254740993",
                                      "9007199254740992",
                                      "0.00000000000000000000000001",
                                      "5e",
                                      "e5",
                                      "1.",
                                      ".5",
                                      ".",
                                      "-",
                                      "",
                                      "abc",
                                      "1x",
                                      "0x10",
                                      "1e+05",
                                      "1e5",
                                      "18446744073709551617"};
    enum { ODD = sizeof odd / sizeof *odd };
    char *text = malloc(ROWS * 100), cell[ROWS][40];
    size_t used = (size_t)sprintf(text, "x,y\n");
    for (int i = 0; i < ROWS; i++) {
        const double u = draw(1, (uint64_t)i), x = (u - 0.5) * pow(10, floor(40 * u) - 20);
        if (i < ODD)
            snprintf(cell[i], sizeof cell[i], "%s", odd[i]);
        else
            snprintf(cell[i], sizeof cell[i], i % 2 ? "%.9g" : "%.17g", x);
        used += (size_t)sprintf(text + used, "%d,%s\n", i, cell[i]);
    }
    pn_columns c;
    read_table(text, used, &c);
    assert_int_equal(c.rows, ROWS);
    for (int i = 0; i < ROWS; i++) {
        char *end;
        double want = strtod(cell[i], &end);
        if (!*cell[i] || *end) want = NAN;
        const double got = pn_value_at(&c, i, 1);
        const bool same = isnan(want) ? isnan(got) : got == want && !signbit(got) == !signbit(want);
        if (!same) fail_msg("\"%s\" became %.17g", cell[i], got);
    }
    pn_columns_free(&c);
    free(text);
}

static void a_damaged_table_gives_its_whole_rows(void **state) {
    (void)state;
    static const struct {
        const char *text, *steps; /* of the rows that are left */
        int64_t bad;
    } row[] = {
        {"step,a\n0,1\n1,2\n2,", "0 1", 0},                  /* torn */
        {"step,a\n0,1\n1\n2,3\n", "0 2", 1},                 /* too short */
        {"step,a\n0,1\n1,2,3\n2,3\n", "0 2", 1},             /* too long */
        {"step,a\n0,1\n\n2,3\n", "0 2", 1},                  /* empty */
        {"step,a\n", "", 0},                                 /* no row */
        {"step,a", "", 0},                                   /* no whole header */
        {"", "", 0},                                         /* nothing */
        {"step,a\n0,1\n1,1\n2,1\n1,5\n2,6\n", "0 1 2", 0},   /* taken again */
        {"step,a\n0,1\n1,1\n1,2\n", "0 1", 0},               /* the last one */
        {"step,sample\n0,0\n0,1\n1,0\n1,1\n", "0 0 1 1", 0}, /* several a step */
        {"step,sample\n0,0\n1,0\n1,1\n0,0\n0,1\n", "0 0", 0},
        {"step,a\n-2,1\n-1,1\n0,1\n", "-2 -1 0", 0},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        pn_columns c;
        char steps[64] = "";
        read_table(row[i].text, strlen(row[i].text), &c);
        for (int64_t r = 0; r < c.rows; r++)
            sprintf(steps + strlen(steps), "%s%.0f", r ? " " : "", pn_value_at(&c, r, 0));
        if (strcmp(steps, row[i].steps) != 0 || c.bad != row[i].bad)
            fail_msg("case %zu: \"%s\", %d bad", i, steps, (int)c.bad);
        pn_columns_free(&c);
    }
    pn_columns c;
    static const char zero[] = "step,a\n0,1\n1,\0\n2,3\n";
    read_table(zero, sizeof zero - 1, &c);
    assert_int_equal(c.rows, 2);
    assert_int_equal(c.bad, 1);
    assert_int_equal(pn_column(&c, "b"), -1);
    assert_true(isnan(pn_value_at(&c, 0, pn_column(&c, "b"))));
    pn_columns_free(&c);
    static const char phases[] = "step,phase,a\n0,warmup,1\n1,search,2\n";
    read_table(phases, sizeof phases - 1, &c);
    assert_string_equal(pn_cell_text(&c, 1, pn_column(&c, "phase")), "search");
    assert_string_equal(pn_cell_text(&c, 2, 1), "");
    pn_columns_free(&c);
}

/* Whatever run.json and genotype.txt hold: what is wrong is said, and nothing else is lost. */
static void a_damaged_run_is_named(void **state) {
    (void)state;
    static const struct {
        const char *json, *genotype, *trouble;
        pn_view_state state;
        pn_view_kind kind;
    } row[] = {
        {NULL, NULL, "", PN_VIEW_EMPTY, PN_VIEW_UNKNOWN},
        {"{\"command\": \"search\", \"state\": \"running\"}", NULL, "", PN_VIEW_RUNNING,
         PN_VIEW_SEARCH},
        {"{\"command\": \"train\", \"state\": \"finished\"}", "PDARTS", "genotype.txt",
         PN_VIEW_FINISHED, PN_VIEW_TRAINING},
        {"{\"command\": \"search\", \"state\": \"diverged\"}", NULL, "", PN_VIEW_DIVERGED,
         PN_VIEW_SEARCH},
        {"{\"command\": \"sea", NULL, "run.json: line 1", PN_VIEW_UNREADABLE, PN_VIEW_UNKNOWN},
        {"", NULL, "run.json", PN_VIEW_UNREADABLE, PN_VIEW_UNKNOWN},
        {"[1, 2]", NULL, "not an object", PN_VIEW_UNREADABLE, PN_VIEW_UNKNOWN},
        {"{\"command\": 7, \"state\": [], \"format\": \"x\"}", NULL, "", PN_VIEW_RUNNING,
         PN_VIEW_UNKNOWN},
        {"{\"command\": \"search\", \"format\": 99, \"version\": \"7.1.0\"}", NULL,
         "written by parsec-nas 7.1.0 in format 99", PN_VIEW_RUNNING, PN_VIEW_SEARCH},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        pn_view v;
        char name[16];
        snprintf(name, sizeof name, "damaged%zu", i);
        put(name, "other", "");
        if (row[i].json) put(name, "run.json", row[i].json);
        if (row[i].genotype) put(name, "genotype.txt", row[i].genotype);
        assert_int_equal(pn_view_open(&v, pn_in_folder(name)), PN_OK);
        assert_int_equal(v.state, row[i].state);
        assert_int_equal(v.kind, row[i].kind);
        assert_int_equal(v.newer, v.format > PN_RECORD_FORMAT);
        if (row[i].trouble[0] ? !strstr(v.trouble, row[i].trouble) : v.trouble[0])
            fail_msg("case %zu: \"%s\"", i, v.trouble);
        pn_view_close(&v);
    }
    pn_view v;
    assert_int_equal(pn_view_open(&v, pn_in_folder("nowhere")), PN_EIO);
    put("guessed", "metrics.csv", "epoch,rate\n1,0.1\n");
    assert_int_equal(pn_view_open(&v, pn_in_folder("guessed")), PN_OK);
    assert_int_equal(v.kind, PN_VIEW_TRAINING);
    pn_view_close(&v);
}

static void lines_of_json_are_read_as_far_as_they_go(void **state) {
    (void)state;
    json_t *list;
    pn_view v;
    put("lines", "events.jsonl",
        "{\"event\": \"start\"}\nnot json\n[1]\n{\"event\": \"finish\"}\n{\"event\": \"to");
    put("lines", "bad.json", "{");
    put("lines", "good.json", "{\"a\": 1}");
    assert_int_equal(pn_view_open(&v, pn_in_folder("lines")), PN_OK);
    assert_int_equal(pn_view_lines(&v, "events.jsonl", &list), PN_OK);
    assert_int_equal(json_array_size(list), 2);
    json_decref(list);
    assert_int_equal(pn_view_lines(&v, "nothing", &list), PN_OK);
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
    assert_int_equal(pn_view_json(&v, "bad.json", &list), PN_OK);
    assert_null(list);
    assert_int_equal(pn_view_json(&v, "good.json", &list), PN_OK);
    assert_int_equal(json_integer_value(json_object_get(list, "a")), 1);
    json_decref(list);
    pn_view_close(&v);
}

/* ---- the distribution ------------------------------------------------------------------------ */

static void marginals_give_the_distribution_back(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 40; i++) {
        pn_prior from, back;
        pn_arch arch;
        double probability[PN_MAX_LOGITS], again[PN_MAX_LOGITS];
        random_prior(&from, i % 2, 100 + i, 0.3 * (double)(i % 20));
        back = from;
        memset(back.logit, 0, sizeof back.logit);
        pn_prior_marginals(&from, probability);
        pn_prior_of_marginals(probability, &back);
        pn_prior_marginals(&back, again);
        for (int k = 0; k < from.count; k++) assert_true(fabs(probability[k] - again[k]) < 1e-9);
        assert_true(fabs(pn_prior_entropy(&from, NULL) - pn_prior_entropy(&back, NULL)) < 1e-6);
        pn_prior_sample(&from, 1, 0, i, &arch);
        assert_true(fabs(pn_prior_log_p(&from, &arch) - pn_prior_log_p(&back, &arch)) < 1e-6);
    }
}

/* The sum over all 256 orders of the terms of eight nodes, of which equal ones count once. */
static void a_network_has_the_probability_of_all_orders(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 20; i++) {
        pn_prior prior;
        pn_arch arch;
        double sum = 0;
        random_prior(&prior, i % 2, 200 + i, 2);
        pn_prior_sample(&prior, 2, 0, i, &arch);
        for (int order = 0; order < 256; order++) {
            pn_arch a = arch;
            bool counted = true;
            for (int n = 0; n < 8; n++) {
                pn_choice *t = a.cell[n / 4].term[n % 4], first = t[0];
                if (!(order >> n & 1)) continue;
                counted &= memcmp(&t[0], &t[1], sizeof first) != 0;
                t[0] = t[1];
                t[1] = first;
            }
            if (counted) sum += exp(pn_prior_log_p(&prior, &a));
        }
        assert_true(fabs(exp(pn_network_log_p(&prior, &arch)) / sum - 1) < 1e-9);
    }
}

/* Of the ten: in falling order, different, each with its probability, and no drawn one is better
 * without being among them. */
static void the_most_probable_networks_are_found(void **state) {
    (void)state;
    pn_facts f;
    pn_prior last;
    make_search("top", 20, "finished", "synthetic", &last);
    assert_int_equal(pn_facts_read(&f, pn_in_folder("top"), false), PN_OK);
    assert_int_equal(f.tops, PN_TOP_CELLS);
    for (int i = 0; i < f.tops; i++) {
        assert_true(fabs(f.top[i].log_p - pn_network_log_p(&f.pi, &f.top[i].arch)) < 1e-6);
        assert_true(!i || f.top[i].log_p <= f.top[i - 1].log_p);
        for (int k = 0; k < i; k++)
            assert_memory_not_equal(&f.top[i].arch, &f.top[k].arch, sizeof f.top[k].arch);
    }
    pn_arch list[300];
    int found, above = 0;
    assert_int_equal(pn_prior_top(&f.pi, 300, list, NULL, &found), PN_OK);
    for (int i = 0; i < found; i++)
        if (pn_network_log_p(&f.pi, &list[i]) > f.top[f.tops - 1].log_p + 1e-9) {
            bool there = false;
            for (int k = 0; k < f.tops; k++)
                there |= fabs(pn_network_log_p(&f.pi, &list[i]) - f.top[k].log_p) < 1e-9;
            assert_true(there);
            above++;
        }
    assert_true(above > 0);
    pn_facts_free(&f);
}

/* ---- charts ---------------------------------------------------------------------------------- */

static void buckets_hold_mean_and_range(void **state) {
    (void)state;
    enum { ROWS = 1400 };
    char *text = malloc(ROWS * 40);
    size_t used = (size_t)sprintf(text, "step,y\n");
    for (int i = 0; i < ROWS; i++) /* from 500 to 699 there is none */
        used += (size_t)sprintf(text + used, i < 500 || i >= 700 ? "%d,%d\n" : "%d,\n", i,
                                i * 37 % 101);
    pn_columns c;
    read_table(text, used, &c);
    const pn_chart chart = {.title = "t",
                            .unit = "u",
                            .axis = "step",
                            .line = {{"y", &c, "y", NULL, 2}},
                            .lines = 1,
                            .from = 0,
                            .to = ROWS,
                            .least = 0,
                            .most = 250,
                            .rule = NAN};
    pn_buckets b;
    pn_chart_buckets(&chart, 0, &b);
    assert_int_equal(b.count, PN_CHART_BUCKETS);
    assert_int_equal(b.values, ROWS - 200);
    for (int i = 0; i < b.count; i++) { /* five steps each */
        double sum = 0, least = INFINITY, most = -INFINITY;
        int n = 0;
        for (int k = 5 * i; k < 5 * i + 5; k++)
            if (k < 500 || k >= 700) {
                const double y = 2 * (k * 37 % 101);
                sum += y;
                least = fmin(least, y);
                most = fmax(most, y);
                n++;
            }
        if (!n) {
            assert_true(isnan(b.mean[i]));
            continue;
        }
        assert_true(fabs(b.mean[i] - sum / n) < 1e-9);
        assert_true(b.least[i] == least && b.most[i] == most);
    }
    pn_page page = {0};
    char *svg;
    size_t size;
    pn_chart_put(&page, &chart);
    assert_int_equal(pn_page_finish(&page, "a chart", &svg, &size), PN_OK);
    const char *curve = strstr(svg, "class=\"curve");
    int pieces = 0;
    assert_non_null(curve);
    for (; *curve != '>'; curve++) pieces += *curve == 'M';
    assert_int_equal(pieces, 2); /* what is missing is a gap */
    free(svg);
    free(text);
    pn_columns_free(&c);
}

/* The curve of images a second. */
static char *speed_of(pn_facts *f, const char *events) {
    pn_page page = {0};
    char *text;
    size_t size;
    f->events = json_loads(events, 0, NULL);
    assert_non_null(f->events);
    pn_curves_speed(&page, f);
    pn_page_put(&page, "."); /* a page of nothing is none */
    assert_int_equal(pn_page_finish(&page, "a curve", &text, &size), PN_OK);
    json_decref(f->events);
    pn_columns_free(&f->times);
    return text;
}

/* A step without a time is no step of no speed, and nothing is drawn from one process to the
 * next. */
static void images_a_second_have_gaps(void **state) {
    (void)state;
    pn_facts f = {.search = true, .done = 60, .all = 60};
    char table[4096] = "step,images,ms\n";
    for (int i = 0; i < 60; i++) {
        const char *ms = i < 20 ? "10" : i < 25 ? "" : i < 30 ? "0" : i < 45 ? "5" : "20";
        sprintf(table + strlen(table), "%d,40,%s\n", i, ms);
    }
    read_table(table, strlen(table), &f.times);
    char *text = speed_of(&f, "[{\"event\": \"resume\", \"step\": 45}]");
    assert_has(text, "images a second from 4000 to 2000</title>");
    assert_has(text, "class=\"mark\" d=\"M750.0"); /* 45 of 60 */
    double y[3] = {0};                             /* of 240, from above; most is 8,000 */
    int pieces = 0, used;
    const char *at = strchr(strstr(text, "class=\"curve"), 'M');
    for (; *at == 'M'; pieces++) {
        assert_true(pieces < 3);
        double now;
        for (bool first = true; first || *at == ' '; first = false, at += used) {
            assert_int_equal(sscanf(at + 1, "%*f %lf%n", &now, &used), 1);
            used++;
            if (first) y[pieces] = now;
            assert_true(now == y[pieces]); /* each is level */
        }
    }
    assert_int_equal(pieces, 3);
    assert_true(y[0] == 120 && y[1] == 0 && y[2] == 180);
    free(text);

    static const char empty[] = "step,images,ms\n0,40,\n1,,10\n";
    read_table(empty, sizeof empty - 1, &f.times);
    text = speed_of(&f, "[]");
    assert_string_equal(text, ".");
    free(text);
    static const char without[] = "step,ms\n0,10\n1,10\n";
    read_table(without, sizeof without - 1, &f.times);
    text = speed_of(&f, "[]");
    assert_string_equal(text, ".");
    free(text);
}

/* Events count steps, a training's curves epochs. */
static void a_training_is_continued_in_an_epoch(void **state) {
    (void)state;
    pn_facts f = {.done = 10, .all = 10};
    char table[512] = "epoch,images,ms\n";
    for (int i = 1; i <= 10; i++) sprintf(table + strlen(table), "%d,400,100\n", i);
    read_table(table, strlen(table), &f.times);
    char *text = speed_of(&f,
                          "[{\"event\": \"resume\", \"step\": 35, \"steps\": 100}, "
                          "{\"event\": \"resume\", \"step\": 7}, {\"event\": \"resume\"}]");
    assert_has(text, "class=\"mark\" d=\"M333.3"); /* the fourth: 3 of 9 */
    const char *mark = strstr(text, "class=\"mark\"");
    assert_null(strstr(mark + 1, "class=\"mark\""));
    free(text);
}

static void ticks_are_round_and_few(void **state) {
    (void)state;
    static const struct {
        double least, most;
        int want;
        const char *ticks;
    } row[] = {{0, 100, 6, "0 20 40 60 80 100"},
               {0, 20000, 4, "0 10000 20000"},
               {0.13, 0.49, 5, "0.2 0.3 0.4"},
               {-1, 1, 5, "-1 -0.5 0 0.5 1"},
               {3, 3, 5, "3"},
               {1, 12, 4, "5 10"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        double tick[16], step;
        char text[256] = "";
        const int n = pn_chart_ticks(row[i].least, row[i].most, row[i].want, tick, &step);
        for (int k = 0; k < n; k++)
            sprintf(text + strlen(text), "%s%.6g", k ? " " : "",
                    fabs(tick[k]) < 1e-12 ? 0 : tick[k]);
        assert_string_equal(text, row[i].ticks);
    }
}

static void the_warm_up_is_one_column(void **state) {
    (void)state;
    pn_facts f = {.warmup = 30};
    int64_t row[PN_HEAT_COLUMNS + 2];
    static const char few[] = "step\n-20\n-10\n0\n10\n20\n30\n40\n50\n";
    read_table(few, sizeof few - 1, &f.prior);
    assert_int_equal(pn_heat_rows(&f, row), 5);
    static const int64_t want[] = {0, 1, 5, 6, 7};
    assert_memory_equal(row, want, sizeof want);
    pn_columns_free(&f.prior);

    char text[8192] = "step\n";
    for (int i = 0; i <= 1000; i++) sprintf(text + strlen(text), "%d\n", i);
    read_table(text, strlen(text), &f.prior);
    const int n = pn_heat_rows(&f, row);
    assert_in_range(n, PN_HEAT_COLUMNS / 2, PN_HEAT_COLUMNS + 2);
    assert_int_equal(row[0], 30);
    assert_int_equal(row[n - 1], 1000);
    pn_columns_free(&f.prior);
}

static int times_in(const char *text, const char *part) {
    int count = 0;
    for (const char *at = text; (at = strstr(at, part)); at++) count++;
    return count;
}

/* Of a search that learns weights of ops on edges: a map for each edge, what is in the cell in
 * bold. */
static void weights_of_edges_have_maps(void **state) {
    (void)state;
    const pn_space space = pn_space_darts();
    pn_mixture m;
    pn_facts f;
    pn_page page = {0};
    pn_arch cell;
    char text[4096], name[PN_NAME_BYTES], genotype[PN_GENOTYPE_BYTES], *html;
    double weight[PN_MAX_MIX];
    size_t size;
    snprintf(text, sizeof text, run_json, "finished", 20L, "synthetic", 20L, 0L);
    put("edges", "run.json", text);
    FILE *prior = create("edges", "prior.csv");
    assert_int_equal(pn_mixture_init(&m, &space, 1, 5), PN_OK);
    fputs("step", prior);
    for (int i = 0; i < m.count; i++) {
        pn_mixture_name(&space, i, name);
        fprintf(prior, ",%s", name);
    }
    for (int row = 0; row <= 20; row++) {
        pn_mixture_weights(&m, NULL, 30 - row, weight);
        fprintf(prior, "\n%d", row);
        for (int i = 0; i < m.count; i++) fprintf(prior, ",%.9g", weight[i]);
    }
    fputc('\n', prior);
    fclose(prior);
    pn_mixture_cell(&m, true, &cell);
    pn_genotype_write(&cell, genotype);
    put("edges", "genotype.txt", genotype);

    assert_int_equal(pn_facts_read(&f, pn_in_folder("edges"), false), PN_OK);
    assert_true(f.known && !f.distributed);
    pn_heat_put(&page, &f);
    assert_int_equal(pn_page_finish(&page, "maps", &html, &size), PN_OK);
    assert_has(html, "The weights over time");
    assert_has(html, "up to step 20");
    assert_has(html, "node 3, from node 2</figcaption>");
    assert_int_equal(times_in(html, "class=\"factor\""), 28);
    assert_int_equal(times_in(html, "class=\"on\""), 16);
    assert_int_equal(times_in(html, "<li>none</li>"), 28);
    assert_lacks(html, "nan");
    int largest = 0; /* of the first edge; weights are of the last row */
    for (int i = 1; i < PN_MIX_OPS; i++) largest = weight[i] > weight[largest] ? i : largest;
    static const char *const brief[] = {"none",    "max pool", "avg pool", "skip",
                                        "sep 3x3", "sep 5x5",  "dil 3x3",  "dil 5x5"};
    snprintf(text, sizeof text, "normal cell, node 0, from cell k-2: largest at the end is %s with",
             brief[largest]);
    assert_has(html, text);
    free(html);
    pn_facts_free(&f);
}

/* ---- text ------------------------------------------------------------------------------------ */

static void text_of_others_is_escaped(void **state) {
    (void)state;
    static const struct {
        const char *text, *html;
    } row[] = {
        {"plain", "plain"},
        {"", ""},
        {"<b>&\"'", "&lt;b&gt;&amp;&quot;&#39;"},
        {"a\x01z\x7f", "a\xef\xbf\xbdz\xef\xbf\xbd"},
        {"tab\tline\n", "tab\tline\n"},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\xc3", "\xef\xbf\xbd"},
        {"\xff\xfe<", "\xef\xbf\xbd\xef\xbf\xbd&lt;"},
        {"\xc2\x85", "\xef\xbf\xbd"},
        {"\xef\xbf\xbe", "\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        pn_page page = {0};
        char *text;
        size_t size;
        pn_page_put(&page, "|");
        pn_html(&page, row[i].text);
        assert_int_equal(pn_page_finish(&page, "text", &text, &size), PN_OK);
        assert_string_equal(text + 1, row[i].html);
        free(text);
    }
}

static void figures_are_short(void **state) {
    (void)state;
    char text[PN_FIGURE_BYTES];
    assert_string_equal(pn_figure_count(1234567, text), "1,234,567");
    assert_string_equal(pn_figure_count(-1234, text), "-1,234");
    assert_string_equal(pn_figure_count(999, text), "999");
    assert_string_equal(pn_figure_count(NAN, text), "\xe2\x80\x93");
    assert_string_equal(pn_figure(0.12345, text), "0.123");
    assert_string_equal(pn_figure(12.345, text), "12.3");
    assert_string_equal(pn_figure(0, text), "0.000");
    assert_string_equal(pn_figure(1.5e-7, text), "1.5e-07");
    assert_string_equal(pn_figure(INFINITY, text), "\xe2\x80\x93");
    assert_string_equal(pn_figure_size(1536, text), "1.5 KiB");
    assert_string_equal(pn_figure_size(17, text), "17 B");
    assert_string_equal(pn_figure_time(0.25, text), "0.25 s");
    assert_string_equal(pn_figure_time(59.6, text), "60 s");
    assert_string_equal(pn_figure_time(125, text), "2 min 5 s");
    assert_string_equal(pn_figure_time(7260, text), "2 h 1 min");
    assert_string_equal(pn_figure_short(999, text), "999");
    assert_string_equal(pn_figure_short(239034, text), "239 k");
    assert_string_equal(pn_figure_short(1.234e6, text), "1.23 M");
    assert_string_equal(pn_figure_share(0.912, text), "91 %");
    assert_string_equal(pn_figure_share(0.9996, text), "99.9 %");
    assert_string_equal(pn_figure_share(1, text), "100 %");
    assert_string_equal(pn_figure_chance(log(0.5), text), "50 %");
    assert_string_equal(pn_figure_chance(log(0.045), text), "4.5 %");
    assert_string_equal(pn_figure_chance(log(1 / 2345678.0), text), "1 in 2,300,000");
    assert_string_equal(pn_figure_chance(-18 * log(10), text), "1 in 10^18");
}

/* ---- the page -------------------------------------------------------------------------------- */

/* Which cell, how sure, its cost in seconds and bytes, better than chance?, how to repeat it. */
static void the_page_answers(void **state) {
    (void)state;
    pn_prior last;
    pn_arch mode;
    char genotype[PN_GENOTYPE_BYTES], words[256], chance[PN_FIGURE_BYTES];
    make_search("run", 400, "finished", "synthetic:64x8x8x3", &last);
    put("run", "events.jsonl",
        "{\"time\": \"2026-01-01T00:00:00Z\", \"event\": \"start\", \"step\": 0, \"command\": "
        "[\"build/parsec-nas\", \"search\", \"a dir\", \"--steps\", \"400\"]}\n"
        "{\"time\": \"2026-01-01T00:00:09Z\", \"event\": \"resume\", \"step\": 200}\n");
    char *text = page_of("run"), *again = page_of("run");
    assert_string_equal(text, again); /* byte for byte */
    free(again);

    pn_prior_mode(&last, &mode);
    const pn_space space = pn_space_darts();
    char brief[PN_SHORT_BYTES];
    pn_genotype_short(&space, &mode, brief);
    *strstr(brief, " reduce") = 0;
    assert_has(text, brief); /* which cell */
    assert_has(text, "class=\"cells wide\"");
    assert_has(text, "class=\"cells narrow\"");
    pn_genotype_write(&mode, genotype);
    assert_has(text, "Genotype(normal=[");

    snprintf(words, sizeof words, "%.1f of at most %.1f&nbsp;nats", pn_prior_entropy(&last, NULL),
             pn_prior_entropy_uniform(&last)); /* how sure */
    assert_has(text, words);
    pn_figure_chance(pn_network_log_p(&last, &mode), chance);
    snprintf(words, sizeof words, "probability of %.8s", chance);
    assert_has(text, words);
    assert_has(text, "agree by 0.61");

    assert_has(text, "the search cost 3.8&nbsp;s"); /* cost: 400 steps of 9.5 ms; 1 MiB and 2 MiB */
    assert_has(text, "3.0&nbsp;MiB of weights and arena");

    assert_has(text, "one run cannot tell"); /* better than chance? */
    snprintf(words, sizeof words, "parsec-nas compare %s --random 6", pn_in_folder("run"));
    assert_has(text, words);

    assert_has(text, "parsec-nas search &#39;a dir&#39; --steps 400"); /* how to repeat it */
    assert_has(text, "--no-augment");
    assert_has(text, "--seed 9");

    assert_has(text, "class=\"mark\" d=\"M500.0"); /* where it was continued */
    assert_lacks(text, "http");
    assert_lacks(text, "<script");
    assert_lacks(text, "src=");
    assert_lacks(text, "href=");
    free(text);

    put("run", "truth.csv",
        "step,table,mean,deviation,judged,found,found_error,found_better_than,found_judged\n"
        "0,nasbench301,93,0.5,1,,,,0\n400,nasbench301,94,0.4,1,94.2,0.17,0.91,1\n");
    text = page_of("run");
    assert_has(text, "better than 91&nbsp;% of cells drawn by chance");
    assert_lacks(text, "cannot tell");
    free(text);

    put("run", "compare.json",
        "{\"cells\": [{\"name\": \"derived\", \"random\": false, \"test_accuracy\": 0.61},"
        "{\"name\": \"random 1\", \"random\": true, \"test_accuracy\": 0.60},"
        "{\"name\": \"random 2\", \"random\": true, \"test_accuracy\": 0.58}]}");
    text = page_of("run");
    assert_has(text, "+2.00&nbsp;points against the mean of 2 random cells");
    assert_has(text, "; by the table nasbench301 it is better than 91&nbsp;%");
    free(text);

    put("run", "compare.json",
        "{\"truth\": {\"name\": \"nasbench301\", \"measure\": \"cifar10_valid\"}, \"cells\": ["
        "{\"name\": \"derived\", \"random\": false, \"test_accuracy\": 0.61, \"truth\": "
        "{\"judged\": true, \"accuracy\": 94.2168, \"error\": 0.0984, \"better_than\": 0.9963}},"
        "{\"name\": \"random 1\", \"random\": true, \"test_accuracy\": 0.62, \"truth\": "
        "{\"judged\": true, \"accuracy\": 91.1, \"error\": 0.1, \"better_than\": 0.001}}]}");
    text = page_of("run");
    assert_has(text, "-1.00&nbsp;points against the mean of 1 random cell ");
    assert_has(
        text,
        "though one search proves little; by the table nasbench301 (cifar10_valid) it is better "
        "than 99.6&nbsp;% of cells drawn by chance (94.22&nbsp;%, standard error 0.10)");
    free(text);

    put("run", "compare.json",
        "{\"truth\": {}, \"cells\": [{\"name\": \"derived\", \"truth\": {\"judged\": false}}]}");
    text = page_of("run");
    assert_has(text, "By the table nasbench301 it is better than 91");
    free(text);
}

static void milliseconds_come_from_a_profile(void **state) {
    (void)state;
    pn_prior last;
    pn_arch mode;
    char genotype[PN_GENOTYPE_BYTES], json[4096];
    make_search("profiled", 100, "finished", "synthetic", &last);
    char *text = page_of("profiled");
    assert_lacks(text, "ms a step");
    free(text);
    pn_prior_mode(&last, &mode);
    pn_genotype_write(&mode, genotype);
    static const char row[] =
        "{\"run_name\": \"profile/0/%s\", \"label\": \"%s\", \"aggregate_name\": \"%s\", "
        "\"real_time\": %g, \"time_unit\": \"%s\", \"macs\": 2e6, \"arena_bytes\": 1048576}";
    size_t used = (size_t)snprintf(json, sizeof json, "{\"benchmarks\": [{\"name\": \"x\"}, ");
    used += (size_t)snprintf(json + used, sizeof json - used, row, "forward", genotype, "median",
                             4300.0, "us");
    used += (size_t)snprintf(json + used, sizeof json - used, ", ");
    used += (size_t)snprintf(json + used, sizeof json - used, row, "forward", genotype, "mean",
                             77.0, "ms");
    used += (size_t)snprintf(json + used, sizeof json - used, ", ");
    used += (size_t)snprintf(json + used, sizeof json - used, row, "backward", genotype, "median",
                             8.0, "ms");
    static const char *const ops[] = {"forward/<pool>/8x8", "backward/<pool>/4x4",
                                      "forward/node/8x8", "sideways/no/8x8"};
    for (int i = 0; i < 4; i++) {
        used += (size_t)snprintf(json + used, sizeof json - used, ", ");
        used += (size_t)snprintf(json + used, sizeof json - used, row, ops[i], genotype, "median",
                                 i == 2 ? 2.0 : 3.0, "ms");
    }
    snprintf(json + used, sizeof json - used,
             "], \"context\": {\"device\": \"a & b\", \"busy\": true}}");
    put("profiled", "profile.json", json);
    text = page_of("profiled");
    assert_has(text, "ms a step");
    assert_has(text, "<td>12.3</td>");
    assert_has(text,
               "A training step of 1 cell pair, by profile.json, on a &amp; b. The machine was "
               "busy");
    assert_has(text, ": this cell pair</title>"); /* and no others */
    assert_has(text, "<span>&lt;pool&gt;</span>");
    assert_has(text, "<span>75 %</span>"); /* 3 + 3 of 8 ms */
    assert_has(text, "<span>25 %</span>");
    assert_lacks(text, "<span>no</span>");
    free(text);
    put("profiled", "profile.json",
        "{\"benchmarks\": [1, {\"run_name\": \"profile/9999999999/forward\"}]}");
    text = page_of("profiled");
    assert_lacks(text, "What cells cost to run");
    free(text);
}

static void hostile_words_stay_words(void **state) {
    (void)state;
    pn_prior last;
    make_search("hostile", 20, "finished", "<script>alert(1)</script>\\u0007\\\" onload=x", &last);
    put("hostile", "events.jsonl",
        "{\"event\": \"start\", \"command\": [\"p\", \"</pre><img src=x>\", \"a'b\"]}\n");
    char *text = page_of("hostile");
    assert_lacks(text, "<script");
    assert_lacks(text, "<img");
    assert_has(text, "&lt;script&gt;alert(1)&lt;/script&gt;");
    assert_has(text, "&#39;a&#39;\\&#39;&#39;b&#39;");
    free(text);
}

/* What there is of a run at work, diverged, damaged, of another version. */
static void a_run_shows_what_there_is(void **state) {
    (void)state;
    pn_prior last;
    make_search("work", 60, "running", "synthetic", &last);
    char *text = page_of("work");
    assert_has(text, "The search stands at step 60 of 60");
    assert_has(text, "most probable cell pair");
    free(text);

    put("work", "run.json", "{\"command\": \"sear");
    text = page_of("work");
    assert_has(text, "run.json: line 1");
    assert_has(text, "class=\"curve");
    free(text);

    put("work", "run.json",
        "{\"command\": \"search\", \"format\": 9, \"version\": \"8.0.0\", \"state\": "
        "\"finished\"}");
    text = page_of("work");
    assert_has(text, "written by parsec-nas 8.0.0 in format 9");
    free(text);

    put("work", "prior.csv", "step,normal.0.0.input.0\n0,0.5\n");
    text = page_of("work");
    assert_has(text, "prior.csv holds no distribution");
    free(text);

    put("odd", "run.json",
        "{\"command\": \"search\", \"state\": \"diverged\", \"images\": {\"image\": [1e9, -4], "
        "\"classes\": \"x\"}, \"settings\": {\"layers\": 1e18, \"channels\": [], \"batch\": "
        "-1, \"steps\": 1e300, \"warmup\": -5}}");
    text = page_of("odd");
    assert_has(text, "The search diverged");
    free(text);

    static const char *const commands[] = {"search", "train"};
    for (int i = 0; i < 2; i++) {
        char json[256];
        snprintf(
            json, sizeof json,
            "{\"command\": \"%s\", \"state\": \"running\", \"loss_scale\": {\"scale\": 4096.0, "
            "\"skipped\": %d}, \"settings\": {\"steps\": 9, \"epochs\": 9}}",
            commands[i], 1 + 2 * i);
        put("half", "run.json", json);
        text = page_of("half");
        assert_has(text, i ? "3&nbsp;steps were skipped, since" : "1 step was skipped, since");
        free(text);
    }

    const char *const fixture[] = {"fixtures/0.1.0/search", "fixtures/0.1.0/train"};
    for (int i = 0; i < 2; i++) {
        size_t size;
        assert_int_equal(pn_report_text(&fixture[i], 1, &text, &size), PN_OK);
        assert_has(text, "parsec-nas");
        free(text);
    }
}

static void seeds_and_searches_stand_beside_each_other(void **state) {
    (void)state;
    pn_prior last;
    char text[2048];
    (void)mkdir(pn_in_folder("trained"), 0777);
    for (int seed = 1; seed <= 2; seed++) {
        char name[32];
        snprintf(name, sizeof name, "trained/seed-%d", seed);
        snprintf(text, sizeof text,
                 "{\"command\": \"train\", \"state\": \"finished\", \"params\": 1000, "
                 "\"scored_on\": \"the test images\", \"last\": {\"epoch\": 3, \"loss\": 1.0, "
                 "\"accuracy\": 0.9%d}, \"best\": {\"epoch\": 2, \"loss\": 1, \"accuracy\": 0.95}, "
                 "\"settings\": {\"epochs\": 3, \"seed\": %d}}",
                 seed, seed);
        put(name, "run.json", text);
        put(name, "metrics.csv",
            "epoch,rate,drop_path,train_loss,auxiliary_loss,train_accuracy,gradient_norm,loss,"
            "accuracy\n1,0.02,0,2,0,0.3,1,1.9,0.4\n2,0.01,0,1,0,0.5,1,,\n"
            "3,0.0,0,1,0,0.6,1,1,0.9\n");
    }
    make_search("first", 40, "finished", "synthetic", &last);
    make_search("second", 80, "finished", "synthetic", &last);
    char *page = page_of("trained");
    assert_has(page, "<h1>trained</h1>");
    assert_has(page, "in the mean of 2 trainings");
    assert_has(page, "seed-2");
    free(page);

    char path[3][PATH_BYTES];
    snprintf(path[0], PATH_BYTES, "%s", pn_in_folder("first"));
    snprintf(path[1], PATH_BYTES, "%s", pn_in_folder("second"));
    snprintf(path[2], PATH_BYTES, "%s", pn_in_folder("trained/seed-1"));
    const char *const paths[] = {path[0], path[1], path[2]};
    size_t size;
    assert_int_equal(pn_report_text(paths, 3, &page, &size), PN_OK);
    assert_has(page, "<h1>first and others</h1>");
    /* On the same axis: half of the steps take half of the width. */
    assert_has(page, "Loss, nats an image");
    free(page);
}

static void a_long_run_makes_a_small_page(void **state) {
    (void)state;
    pn_prior last;
    make_search("long", 20000, "finished", "synthetic", &last);
    const clock_t begin = clock();
    char *text = page_of("long");
    const double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    print_message("20,000 steps: %zu bytes, %.3f s\n", strlen(text), seconds);
    assert_true(strlen(text) < 400 * 1024);
    free(text);
}

/* Of a distribution that was written at every step, few rows are drawn, and no others are made into
 * numbers. */
static void a_long_prior_is_read_where_it_is_drawn(void **state) {
    (void)state;
    enum { ROWS = 20000 };
    pn_prior last;
    pn_facts f;
    pn_page page = {0};
    char *text, line[8192], path[PATH_BYTES];
    size_t size;
    int64_t asked = 0;
    make_search("dense", 20, "finished", "synthetic", &last);
    snprintf(path, sizeof path, "%s", pn_in_folder("dense/prior.csv"));
    FILE *prior = fopen(path, "r+");
    assert_non_null(prior);
    for (int i = 0; i < 22; i++) assert_non_null(fgets(line, sizeof line, prior)); /* the last */
    fseek(prior, 0, SEEK_END);
    for (int i = 21; i < ROWS; i++) fprintf(prior, "%d%s", i, strchr(line, ','));
    fclose(prior);
    const clock_t begin = clock();
    assert_int_equal(pn_facts_read(&f, pn_in_folder("dense"), false), PN_OK);
    print_message("%d rows: %.3f s\n", ROWS, (double)(clock() - begin) / CLOCKS_PER_SEC);
    assert_int_equal(f.prior.rows, ROWS);
    assert_int_equal(f.prior.bad, 0);
    pn_heat_put(&page, &f);
    assert_int_equal(pn_page_finish(&page, "maps", &text, &size), PN_OK);
    assert_has(text, "class=\"map\"");
    for (int64_t i = 0; i < ROWS; i++) asked += f.prior.asked[i];
    assert_in_range(asked, 2, PN_HEAT_COLUMNS + 2);
    const char *cell = line;
    for (int i = 1; i < f.prior.count; i++) { /* a row that nobody has asked for yet */
        cell = strchr(cell, ',') + 1;
        assert_true(pn_value_at(&f.prior, ROWS / 2 + 1, i) == strtod(cell, NULL));
    }
    free(text);
    pn_facts_free(&f);
}

/* ---- a comparison ---------------------------------------------------------------------------- */

static char *comparison_of(const char *json) {
    json_error_t why;
    char *text;
    size_t size;
    json_t *root = json_loads(json, 0, &why);
    if (!root) fail_msg("%s", why.text);
    assert_int_equal(pn_report_comparison_text(root, &text, &size), PN_OK);
    assert_int_equal(strlen(text), size);
    json_decref(root);
    assert_lacks(text, "nan");
    assert_lacks(text, "<script");
    return text;
}

#define NAMED(name) "{\"name\": \"" name "\", "
#define RANDOM(number) NAMED("random " number) "\"random\": true, "
#define SHARED(accuracy) "\"shared_accuracy\": " accuracy ", "
#define SCORES(validation, test) "\"validation_accuracy\": " validation ", \"test_accuracy\": " test
#define JUDGED(accuracy, better)                              \
    ", \"truth\": {\"judged\": true, \"accuracy\": " accuracy \
    ", \"error\": 0.2, "                                      \
    "\"better_than\": " better "}"
#define TERMS(op)                                                                      \
    "('" op "', 0), ('" op "', 1), ('" op "', 0), ('" op "', 1), ('" op "', 0), ('" op \
    "', 1), "                                                                          \
    "('" op "', 0), ('" op "', 1)"
#define KNOWN \
    ", \"genotype\": \"Genotype(normal=[" TERMS("skip_connect") "], normal_concat=range(2, 6), " \
    "reduce=[" TERMS("max_pool_3x3") "], reduce_concat=range(2, 6))\""

/* Of 60, 62, 64, 66 the mean is 63, its standard error sqrt(20 / 3 / 4) = 1.29; 64.5 is better than
 * three of them, and one of five that are alike is that good with a probability of 2 in 5. */
static void a_comparison_says_who_wins(void **state) {
    (void)state;
    char *text = comparison_of(
        "{\"run\": \"a & b\", \"at_cost\": {\"cells\": 3, \"best\": 0.655}, \"steps\": 600, "
        "\"truth\": {\"name\": \"nasbench301\", \"uniform\": 93.11}, \"cells\": ["
        NAMED("derived") SHARED("0.5") SCORES("0.65", "0.645") KNOWN JUDGED("94.1", "0.93")
        "}, " RANDOM("1") SCORES("0.61", "0.60") "}, " RANDOM("2") SCORES("0.62", "0.66") KNOWN
        "}, " RANDOM("3") SCORES("0.70", "0.64") "}, " RANDOM("4") "\"diverged\": true"
        "}, " RANDOM("5") SCORES("0.60", "0.62") "}]}");
    assert_has(text, "comparison of 6 cell pairs");
    assert_has(text, "<h1>a &amp; b</h1>");
    assert_has(text,
               "for 600&nbsp;steps the search&#39;s cell pair reaches 64.50&nbsp;% of the test");
    assert_has(text,
               "+1.50&nbsp;points against the mean of 4 random cells, 63.00&nbsp;% (standard "
               "error 1.29), and better than 3 of 4.");
    assert_has(text,
               "could have trained 3 random cells; the best by validation would reach "
               "65.50&nbsp;%, 1.00&nbsp;points more.");
    assert_has(text, "as good or better with a probability of 40&nbsp;%,");
    assert_has(text,
               "By the table nasbench301 the search&#39;s cell pair is worth 94.10&nbsp;% "
               "(standard error 0.20), better than 93&nbsp;% of cells drawn by chance; a "
               "uniform cell is worth 93.11&nbsp;% on average.");
    assert_has(text, "1 of 6 trainings diverged.");
    assert_has(text, "<td>not judged</td>");
    assert_has(text, "<h2>The search's cell pair</h2>");
    assert_lacks(text, "<h2>The best of the others"); /* what random 3 is is not said */
    assert_lacks(text, "shared weights (tau");        /* one cell has been scored with them */
    const char *best = strstr(text, "<span>random 2</span>"), /* the best first */
        *own = strstr(text, "<span>the search&#39;s</span>"),
               *last = strstr(text, "<span>random 4</span>");
    assert_true(best && own && last && best < own && own < last);
    free(text);
}

static void a_comparison_shows_what_there_is(void **state) {
    (void)state;
    char *text = comparison_of("{\"steps\": 9, \"data\": \"<b>\", \"cells\": [" NAMED("<i>") SCORES(
        "0.5", "0.4") KNOWN "}, " NAMED("two") SCORES("0.4", "0.9") "}, " NAMED("three")
                                   SHARED("0.1") SCORES("0.3", "0.2") "}]}");
    assert_has(text, "<h1>&lt;b&gt;</h1>");
    assert_has(text,
               "Of 3 cell pairs, trained alone for 9&nbsp;steps, &lt;i&gt; is the best by "
               "validation; it reaches 40.00&nbsp;% of the test images.");
    assert_has(text, "<h2>The best by validation: &lt;i&gt;</h2>");
    assert_lacks(text, "random");
    assert_lacks(text, "By the table");
    free(text);

    text =
        comparison_of("{\"steps\": 9, \"cells\": [{\"name\": \"derived\", \"diverged\": true}]}");
    assert_has(text, "All trainings diverged.");
    assert_has(text, "<h1>Cells</h1>");
    free(text);

    text = comparison_of(
        "{\"steps\": 0, \"truth\": {\"name\": \"t\", \"uniform\": 93}, \"cells\": ["
        "{\"name\": \"a\", \"truth\": {\"judged\": true, \"accuracy\": 93.5, \"error\": 0.7, "
        "\"better_than\": 0.7}}, {\"name\": \"b\", \"truth\": {\"judged\": false}}]}");
    assert_has(text, "Nothing was trained.");
    assert_has(text, "By the table t 1 of 2 cell pairs can be judged; a uniform cell");
    assert_lacks(text, "<h2>Trained alone");
    free(text);

    text =
        comparison_of("{\"command\": [\"/usr/bin/p\", \"compare\", \"a<b\", \"--random\", \"2\"]}");
    assert_has(text, "<h2>How to repeat it</h2>");
    assert_has(text, "<pre>parsec-nas compare &#39;a&lt;b&#39; --random 2</pre>");
    free(text);

    text = comparison_of("{}");
    assert_has(text, "comparison of 0 cell pairs");
    assert_lacks(text, "How to repeat");
    free(text);
}

/* Three cells that two measures put in the same order, and in the opposite one. */
static void two_measures_are_plotted(void **state) {
    (void)state;
    char *text =
        comparison_of("{\"steps\": 1, \"truth\": {}, \"cells\": [" RANDOM("1") SHARED("0.1")
                          SCORES("0.5", "0.2") JUDGED("94", "0.5") "}, " RANDOM("2") SHARED("0.2")
                              SCORES("0.5", "0.3") JUDGED("93", "0.5") "}, " RANDOM("3")
                                  SHARED("0.3") SCORES("0.5", "0.4") JUDGED("92", "0.5") "}]}");
    assert_has(text, "against that with the shared weights (tau 1.00)");
    assert_has(text, "against the truth (tau -1.00)");
    free(text);
}

/* ---- the file -------------------------------------------------------------------------------- */

static pn_status write_to(const char *directory, const char *file) {
    const char *const path = directory;
    return pn_report_write(&path, 1, file, NULL);
}

static void a_file_of_others_stays(void **state) {
    (void)state;
    pn_prior last;
    char run[PATH_BYTES], file[PATH_BYTES];
    void *data;
    size_t size;
    make_search("mine", 20, "finished", "synthetic", &last);
    snprintf(run, sizeof run, "%s", pn_in_folder("mine"));
    put("files", "letter.html", "<html>a letter, not a report</html>");
    put("files", "empty.html", "");
    snprintf(file, sizeof file, "%s", pn_in_folder("files/letter.html"));
    assert_int_equal(write_to(run, file), PN_EARG);
    assert_int_equal(pn_file_read(file, 1 << 20, &data, &size), PN_OK);
    assert_string_equal(data, "<html>a letter, not a report</html>");
    free(data);
    assert_int_equal(write_to(run, pn_in_folder("files")), PN_EARG);
    assert_int_equal(write_to(run, pn_in_folder("nowhere/x.html")), PN_EIO);
    assert_int_equal(write_to(pn_in_folder("nowhere"), pn_in_folder("files/x.html")), PN_EIO);
    assert_int_equal(write_to(pn_in_folder("files"), pn_in_folder("files/x.html")), PN_EINPUT);
    assert_int_equal(access(pn_in_folder("files/x.html"), F_OK), -1);
    assert_int_equal(write_to(run, "/dev/full"), PN_EIO);
    snprintf(file, sizeof file, "%s", pn_in_folder("files/empty.html"));
    assert_int_equal(write_to(run, file), PN_OK); /* nothing is lost */
    assert_int_equal(write_to(run, file), PN_OK); /* and a report is replaced */

    pn_place place;
    put("mine", "report.html", "my own");
    assert_int_equal(pn_place_open(&place, run), PN_OK);
    assert_int_equal(pn_report_of_run(&place), PN_OK);
    assert_int_equal(pn_file_read_in(&place, pn_report_name, 1 << 20, &data, &size), PN_OK);
    assert_string_equal(data, "my own");
    free(data);
    pn_place_close(&place);
}

/* A file system with room for a part of the page: a limit on the size of a file. */
static void a_full_disk_leaves_nothing(void **state) {
    (void)state;
    pn_prior last;
    pn_process p = {0};
    make_search("squeezed", 20, "finished", "synthetic", &last);
    const char *const argv[] = {PN_PROGRAM, "report", "squeezed", NULL};
    const pn_conditions where = {.folder = pn_folder, .file_size = 20000};
    pn_process_run(&p, argv, &where, LIMIT);
    pn_process_refused(&p, 6, "report.html");
    assert_int_equal(access(pn_in_folder("squeezed/report.html"), F_OK), -1);
    assert_int_equal(access(pn_in_folder("squeezed/report.html.tmp"), F_OK), -1);
    pn_process_free(&p);
}

static void the_program_says_the_verdict(void **state) {
    (void)state;
    pn_prior last;
    pn_process p = {0};
    make_search("told", 20, "finished", "synthetic", &last);
    assert_int_equal(
        pn_process_program(&p, PN_PROGRAM, (const char *const[]){"report", "told", NULL}, LIMIT),
        0);
    assert_string_equal(p.err, "told/report.html\n");
    assert_non_null(strstr(p.out, "The search found a cell pair after 20 steps on synthetic"));
    assert_non_null(strstr(p.out, "one run cannot tell"));
    for (const char *line = p.out; *line; line = strchr(line, '\n') + 1)
        assert_true(strcspn(line, "\n") <= 80);
    assert_int_equal(access(pn_in_folder("told/report.html"), F_OK), 0);
    pn_process_program(&p, PN_PROGRAM, (const char *const[]){"report", NULL}, LIMIT);
    pn_process_refused(&p, 2, "want a directory");
    pn_process_program(&p, PN_PROGRAM, (const char *const[]){"report", "told", "told", NULL},
                       LIMIT);
    pn_process_refused(&p, 2, "--output");
    pn_process_program(&p, PN_PROGRAM, (const char *const[]){"report", "none", NULL}, LIMIT);
    pn_process_refused(&p, 6, "none");
    pn_process_free(&p);
}

/* What search and train leave at their end, unless they are told not to. */
static void a_finished_run_has_a_page(void **state) {
    (void)state;
    pn_process p = {0};
#define SMALL \
    "--data", "synthetic:16x8x8x3", "--layers", "1", "--channels", "4", "--batch", "4", "--quiet"
    const char *const search[] = {"search", "s", SMALL, "--steps", "3", "--warmup", "1", NULL},
                      *const bare[] = {"search",   "t", SMALL,         "--steps", "3",
                                       "--warmup", "1", "--no-report", NULL},
                      *const train[] = {"train", "u",        "--genotype", "PDARTS",
                                        SMALL,   "--epochs", "1",          NULL},
                      *const report[] = {"report", "s", "--output", "again.html", NULL};
    assert_int_equal(pn_process_program(&p, PN_PROGRAM, search, LIMIT), 0);
    assert_int_equal(pn_process_program(&p, PN_PROGRAM, report, LIMIT), 0);
    void *one, *other;
    size_t size, other_size;
    assert_int_equal(pn_file_read(pn_in_folder("s/report.html"), 1 << 24, &one, &size), PN_OK);
    assert_int_equal(pn_file_read(pn_in_folder("again.html"), 1 << 24, &other, &other_size), PN_OK);
    assert_int_equal(size, other_size);
    assert_memory_equal(one, other, size);
    assert_non_null(strstr(one, "parsec-nas search, finished"));
    free(one);
    free(other);
    assert_int_equal(pn_process_program(&p, PN_PROGRAM, bare, LIMIT), 0);
    assert_int_equal(access(pn_in_folder("t/report.html"), F_OK), -1);
    assert_int_equal(pn_process_program(&p, PN_PROGRAM, train, LIMIT), 0);
    assert_int_equal(access(pn_in_folder("u/report.html"), F_OK), 0);

    /* What is said beside the cell can be read without it: stdout may go elsewhere. */
    static const char last[] =
        "; to look at: report.html\nhow cells are written: parsec-nas help notation\n";
    const char *const loud[] = {"search",   "v", "--data",     "synthetic:16x8x8x3",
                                "--layers", "1", "--channels", "4",
                                "--batch",  "4", "--steps",    "3",
                                "--warmup", "1", NULL};
    assert_int_equal(pn_process_program(&p, PN_PROGRAM, loud, LIMIT), 0);
    assert_true(strlen(p.err) > strlen(last));
    assert_string_equal(p.err + strlen(p.err) - strlen(last), last);
    pn_process_free(&p);
}

/* Beside the JSON, or in the run; not without a training, nor over a file of others. */
static void a_comparison_leaves_a_page(void **state) {
    (void)state;
    pn_process p = {0};
    const char *const search[] = {"search", "c", SMALL, "--steps", "3", "--warmup", "1", NULL},
                      *const nothing[] = {"compare", "c", "--steps", "0", NULL},
                      *const bare[] = {"compare", "c", "--random",    "1",
                                       "--steps", "2", "--no-report", NULL},
                      *const in_run[] = {"compare", "c", "--random", "1", "--steps", "2", NULL},
                      *const beside[] = {"compare", "c",      "PDARTS",  "--steps", "2",
                                         "-o",      "x.json", "--quiet", NULL},
                      *const other[] = {"compare", "c", "--steps", "2", "-o", "letter.json", NULL};
    static const char said[] =
        "to look at: c/compare.html\nhow cells are written: parsec-nas help notation\n";
    assert_int_equal(pn_process_program(&p, PN_PROGRAM, search, LIMIT), 0);
    assert_int_equal(pn_process_program(&p, PN_PROGRAM, nothing, LIMIT), 0);
    assert_int_equal(pn_process_program(&p, PN_PROGRAM, bare, LIMIT), 0);
    assert_int_equal(access(pn_in_folder("c/compare.html"), F_OK), -1);
    assert_int_equal(pn_process_program(&p, PN_PROGRAM, in_run, LIMIT), 0);
    assert_true(strlen(p.err) > strlen(said));
    assert_string_equal(p.err + strlen(p.err) - strlen(said), said);
    void *page;
    size_t size;
    assert_int_equal(pn_file_read(pn_in_folder("c/compare.html"), 1 << 24, &page, &size), PN_OK);
    assert_has(page, "for 2&nbsp;steps the search&#39;s cell pair reaches");
    assert_has(page, "better than");
    assert_has(page, "<pre>parsec-nas compare c --random 1 --steps 2</pre>");
    free(page);
    assert_int_equal(unlink(pn_in_folder("c/compare.html")), 0);
    assert_int_equal(pn_process_program(&p, PN_PROGRAM, beside, LIMIT), 0);
    assert_string_equal(p.err, "");
    assert_int_equal(access(pn_in_folder("c/compare.html"), F_OK), -1);
    assert_int_equal(pn_file_read(pn_in_folder("x.html"), 1 << 24, &page, &size), PN_OK);

    /* It is made of the JSON alone. */
    json_t *root = json_load_file(pn_in_folder("x.json"), 0, NULL);
    char *again;
    assert_int_equal(pn_report_comparison_text(root, &again, &size), PN_OK);
    assert_string_equal(page, again);
    json_decref(root);
    free(page);
    free(again);

    FILE *letter = fopen(pn_in_folder("letter.html"), "w");
    fputs("a letter", letter);
    fclose(letter);
    pn_process_program(&p, PN_PROGRAM, other, LIMIT);
    pn_process_refused(&p, 2, "letter.html: no report of parsec-nas");
    assert_int_equal(access(pn_in_folder("letter.json"), F_OK), -1); /* before anything is done */
    put("c", "compare.html", "a letter");
    assert_int_equal(pn_process_program(&p, PN_PROGRAM, in_run, LIMIT), 0);
    assert_null(strstr(p.err, "to look at"));
    assert_int_equal(pn_file_read(pn_in_folder("c/compare.html"), 1 << 24, &page, &size), PN_OK);
    assert_string_equal(page, "a letter");
    free(page);
    pn_process_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_those_of_strtod),
        cmocka_unit_test(a_damaged_table_gives_its_whole_rows),
        cmocka_unit_test(a_damaged_run_is_named),
        cmocka_unit_test(lines_of_json_are_read_as_far_as_they_go),
        cmocka_unit_test(marginals_give_the_distribution_back),
        cmocka_unit_test(a_network_has_the_probability_of_all_orders),
        cmocka_unit_test(the_most_probable_networks_are_found),
        cmocka_unit_test(buckets_hold_mean_and_range),
        cmocka_unit_test(images_a_second_have_gaps),
        cmocka_unit_test(a_training_is_continued_in_an_epoch),
        cmocka_unit_test(ticks_are_round_and_few),
        cmocka_unit_test(the_warm_up_is_one_column),
        cmocka_unit_test(weights_of_edges_have_maps),
        cmocka_unit_test(text_of_others_is_escaped),
        cmocka_unit_test(figures_are_short),
        cmocka_unit_test(the_page_answers),
        cmocka_unit_test(milliseconds_come_from_a_profile),
        cmocka_unit_test(hostile_words_stay_words),
        cmocka_unit_test(a_run_shows_what_there_is),
        cmocka_unit_test(seeds_and_searches_stand_beside_each_other),
        cmocka_unit_test(a_long_run_makes_a_small_page),
        cmocka_unit_test(a_long_prior_is_read_where_it_is_drawn),
        cmocka_unit_test(a_comparison_says_who_wins),
        cmocka_unit_test(a_comparison_shows_what_there_is),
        cmocka_unit_test(two_measures_are_plotted),
        cmocka_unit_test(a_file_of_others_stays),
        cmocka_unit_test(a_full_disk_leaves_nothing),
        cmocka_unit_test(the_program_says_the_verdict),
        cmocka_unit_test(a_finished_run_has_a_page),
        cmocka_unit_test(a_comparison_leaves_a_page),
    };
    return cmocka_run_group_tests_name("report", tests, pn_folder_begin, pn_folder_end);
}
