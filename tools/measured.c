/* measured.c -- see measured.h. */
#include "tools/measured.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/clock.h"
#include "runtime/json.h"

static const double least_share = 0.9, most_others = 0.1;

/* ---- spread ---------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, int count, double q) {
    const double at = q * (count - 1);
    const int i = (int)at;
    return i + 1 < count ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[i];
}

pn_spread pn_spread_of(const double *values, int count) {
    double sorted[PN_MOST_REPETITIONS];
    memcpy(sorted, values, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, by_value);
    return (pn_spread){quantile(sorted, count, 0.25), quantile(sorted, count, 0.5),
                       quantile(sorted, count, 0.75)};
}

const char *pn_spread_text(const pn_spread *s, char text[8]) {
    const double percent = s->median > 0 ? 50 * (s->high - s->low) / s->median : 0;
    if (percent < 999.5)
        snprintf(text, 8, percent < 99.95 ? "%.1f" : "%.0f", percent);
    else
        snprintf(text, 8, ">999");
    return text;
}

/* ---- trust ----------------------------------------------------------------------------------- */

/* Seconds that all processors worked since the system began; -1: not known. */
static double taken_by_all(void) {
    long long user, nice, kernel, idle, waiting, interrupts, soft, stolen;
    FILE *file = fopen("/proc/stat", "re");
    if (!file) return -1;
    const int got = fscanf(file, "cpu %lld %lld %lld %lld %lld %lld %lld %lld", &user, &nice,
                           &kernel, &idle, &waiting, &interrupts, &soft, &stolen);
    (void)fclose(file);
    return got == 8 ? (double)(user + nice + kernel + interrupts + soft + stolen) /
                          (double)sysconf(_SC_CLK_TCK)
                    : -1;
}

void pn_trust_begin(pn_trust *t) {
    double load[1];
    *t = (pn_trust){.load = getloadavg(load, 1) == 1 ? load[0] : -1,
                    .others = -1,
                    .processors = omp_get_num_procs(),
                    .threads = omp_get_max_threads(),
                    .from = pn_now(),
                    .taken = taken_by_all(),
                    .own = pn_process_now()};
    /* Whoever has a part of a machine cannot tell who works on that part. */
    if (t->processors != sysconf(_SC_NPROCESSORS_ONLN)) t->taken = -1;
}

static bool is_busy(const pn_trust *t) {
    if (t->cpu < least_share * t->wall) return true;
    return t->others < 0 ? t->load > t->processors
                         : t->threads + t->others > t->processors + most_others;
}

void pn_trust_judge(pn_trust *t, double wall, double cpu) {
    const double span = pn_now() - t->from, all = taken_by_all(), own = pn_process_now() - t->own;
    t->wall = wall;
    t->cpu = cpu;
    if (t->taken >= 0 && all >= 0 && span >= 1) t->others = fmax(all - t->taken - own, 0) / span;
    t->busy = is_busy(t);
}

void pn_trust_say(FILE *out, const pn_trust *t) {
    if (!t->busy) return;
    fprintf(out, "busy machine: this thread had %.0f %% of a processor", 100 * t->cpu / t->wall);
    if (t->others >= 0)
        fprintf(out, ", others %.1f of %d", t->others, t->processors);
    else if (t->load >= 0)
        fprintf(out, ", load %.1f on %d", t->load, t->processors);
    fputs(";\nthese times are not the program's alone\n", out);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

json_t *pn_measured_context(const pn_ceilings *c, const pn_trust *t) {
    char date[32], host[256] = "", name[64];
    const time_t now = time(NULL);
    struct tm utc;
    json_t *context = json_object();
    int failed = 0;
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S+00:00", gmtime_r(&now, &utc));
    (void)gethostname(host, sizeof host - 1);
    failed |= json_object_set_new(context, "date", json_string(date));
    failed |= json_object_set_new(context, "host_name", pn_json_string(host));
    failed |= json_object_set_new(context, "executable", json_string("parsec-nas"));
    failed |= json_object_set_new(context, "num_cpus", json_integer(t->processors));
    failed |= json_object_set_new(context, "load_avg",
                                  t->load < 0 ? json_array() : json_pack("[f]", t->load));
    failed |= json_object_set_new(context, "library_build_type", json_string("release"));
    failed |= json_object_set_new(context, "version", json_string(PN_VERSION));
    failed |= json_object_set_new(context, "device", json_string(c->kernels->name));
    failed |= json_object_set_new(context, "threads", json_integer(omp_get_max_threads()));
    failed |= json_object_set_new(context, "busy", json_boolean(t->busy));
    failed |=
        json_object_set_new(context, "cpu_share", json_real(t->wall > 0 ? t->cpu / t->wall : 1));
    failed |=
        json_object_set_new(context, "others", t->others < 0 ? json_null() : json_real(t->others));
    if (c->flop_rate > 0)
        failed |= json_object_set_new(context, "flops_per_second", json_real(c->flop_rate));
    for (int i = 0; i < PN_COPY_SIZES; i++) {
        if (c->copy_rate[i] <= 0) continue;
        snprintf(name, sizeof name, "copy_%d_bytes_per_second", 1 << i);
        failed |= json_object_set_new(context, name, json_real(c->copy_rate[i]));
    }
    if (!failed) return context;
    json_decref(context);
    return NULL;
}

/* One row; index -1: the median. */
static json_t *entry(const pn_measured *m, json_t *counters, int index, double ms, double cpu_ms) {
    json_t *row = json_object(), *suffixed = NULL;
    int failed = 0;
    if (index < 0) suffixed = json_sprintf("%s_median", m->name);
    failed |= json_object_set_new(row, "name", index < 0 ? suffixed : json_string(m->name));
    failed |= json_object_set_new(row, "run_name", json_string(m->name));
    failed |=
        json_object_set_new(row, "run_type", json_string(index < 0 ? "aggregate" : "iteration"));
    failed |= json_object_set_new(row, "repetitions", json_integer(m->count));
    if (index < 0) {
        failed |= json_object_set_new(row, "aggregate_name", json_string("median"));
        failed |= json_object_set_new(row, "aggregate_unit", json_string("time"));
    } else {
        failed |= json_object_set_new(row, "repetition_index", json_integer(index));
    }
    failed |= json_object_set_new(row, "threads", json_integer(1));
    failed |=
        json_object_set_new(row, "iterations", json_integer(index < 0 ? m->count : m->iterations));
    failed |= json_object_set_new(row, "real_time", json_real(ms));
    failed |= json_object_set_new(row, "cpu_time", json_real(cpu_ms));
    failed |= json_object_set_new(row, "time_unit", json_string("ms"));
    if (m->label) failed |= json_object_set_new(row, "label", pn_json_string(m->label));
    if (index < 0) failed |= json_object_update(row, counters);
    if (!failed) return row;
    json_decref(row);
    return NULL;
}

int pn_measured_add(json_t *list, const pn_measured *m, json_t *counters) {
    int failed = counters ? 0 : -1;
    for (int i = 0; !failed && !m->brief && i < m->count; i++)
        failed |= json_array_append_new(list, entry(m, counters, i, m->ms[i], m->cpu_ms[i]));
    if (!failed)
        failed |=
            json_array_append_new(list, entry(m, counters, -1, pn_spread_of(m->ms, m->count).median,
                                              pn_spread_of(m->cpu_ms, m->count).median));
    json_decref(counters);
    return failed;
}
