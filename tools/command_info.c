/* command_info.c -- what this machine is and what it reaches. */
#include <jansson.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/arena.h"
#include "tools/commands.h"

const char pn_info_usage[] =
    "parsec-nas info [OPTIONS]\n"
    "\n"
    "Version, build, devices, and two ceilings measured on the spot: copy bandwidth (bytes read "
    "plus bytes\n"
    "written, 256 MiB arrays) and the FLOP rate of a 1x1 convolution whose data fit the cache.\n"
    "\n";

enum { ROUNDS = 7 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best of a few rounds: a ceiling, so the disturbed rounds do not count. */
static pn_status copy_bandwidth(double *bytes_per_second) {
    const size_t bytes = (size_t)256 << 20;
    char *from = malloc(bytes), *to = malloc(bytes);
    if (!from || !to) {
        free(from);
        free(to);
        return pn_fail(PN_EMEM, "no memory for two arrays of 256 MiB");
    }
    *bytes_per_second = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const double start = now();
#pragma omp parallel
        {
            const size_t n = (size_t)omp_get_num_threads(), i = (size_t)omp_get_thread_num();
            const size_t first = bytes * i / n, end = bytes * (i + 1) / n;
            if (round == 0) memset(from + first, 1, end - first);
            memcpy(to + first, from + first, end - first);
        }
        const double rate = 2 * (double)bytes / (now() - start);
        if (round > 0 && rate > *bytes_per_second) *bytes_per_second = rate;
    }
    free(from);
    free(to);
    return PN_OK;
}

static pn_status flop_rate(const pn_kernels *k, double *flops_per_second) {
    enum { N = 64, EDGE = 8, C = 64, REPEAT = 20 };
    const size_t pixels = (size_t)N * EDGE * EDGE * C;
    float *memory = aligned_alloc(64, (2 * pixels + (size_t)C * C) * sizeof *memory);
    pn_conv1x1 job = {
        .N = N, .H = EDGE, .W = EDGE, .parts = 1, .in = {{.C = C}  },
                      .out = { .K = C, .coef = 1}
    };
    const size_t scratch = k->conv1x1_fwd_scratch(&job, 1);
    const pn_launch launch = {.scratch = aligned_alloc(64, (scratch + 64) / 64 * 64)};
    pn_status s = memory && launch.scratch ? PN_OK : pn_fail(PN_EMEM, "no memory");
    if (s == PN_OK) {
        for (size_t i = 0; i < 2 * pixels + (size_t)C * C; i++) memory[i] = 1;
        job.in[0].x = memory;
        job.out.z = memory + pixels;
        job.w = memory + 2 * pixels;
    }
    *flops_per_second = 0;
    for (int round = 0; s == PN_OK && round < ROUNDS; round++) {
        const double start = now();
        for (int i = 0; s == PN_OK && i < REPEAT; i++) s = k->conv1x1_fwd(&job, 1, &launch);
        const double rate = REPEAT * 2.0 * (double)pixels * C / (now() - start);
        if (rate > *flops_per_second) *flops_per_second = rate;
    }
    free(memory);
    free(launch.scratch);
    return s;
}

int pn_command_info(int argc, char **argv) {
    static const char *const isas[] = {"avx512", "avx2", "base"};
    bool json = false, help;
    int words;
    pn_device_options device = {0};
    const pn_option table[] = {
        {"json", PN_OPT_FLAG, &json, 0, 0, NULL, "print JSON", NULL},
        PN_DEVICE_OPTIONS(device),
    };
    enum { COUNT = sizeof table / sizeof *table };
    pn_status s = pn_options_parse(argc, argv, table, COUNT, NULL, 0, &words, &help);
    if (s == PN_OK && help) {
        fputs(pn_info_usage, stdout);
        pn_options_print(stdout, table, COUNT);
        return 0;
    }
    const pn_kernels *k = NULL;
    double bandwidth = 0, flops = 0;
    if (s == PN_OK) s = pn_device_open(&device, &k);
    if (s == PN_OK) s = copy_bandwidth(&bandwidth);
    if (s == PN_OK) s = flop_rate(k, &flops);
    if (s != PN_OK) return pn_report("info", s);

    json_t *devices = json_array();
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        const pn_kernels *one = pn_host_kernels(isas[i]);
        if (one) json_array_append_new(devices, json_string(one->name));
    }
    json_t *root =
        json_pack("{s:s,s:s,s:s,s:o,s:i,s:f,s:f,s:f}", "version", PN_VERSION, "compiler",
                  __VERSION__, "device", k->name, "devices", devices, "threads",
                  omp_get_max_threads(), "memory_available_bytes", (double)pn_memory_available(),
                  "copy_bytes_per_second", bandwidth, "flops_per_second", flops);
    if (json) {
        json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(4));
        putchar('\n');
    } else {
        char text[32];
        printf("parsec-nas %s, compiler %s\n", PN_VERSION, __VERSION__);
        printf("device             %s, %d threads (also here:", k->name, omp_get_max_threads());
        for (size_t i = 0; i < json_array_size(devices); i++)
            printf(" %s", json_string_value(json_array_get(devices, i)));
        printf("; CUDA: not in this build)\n");
        printf("memory available   %s\n", pn_bytes_text((double)pn_memory_available(), text));
        printf("copy               %.1f GB/s read + write\n", bandwidth / 1e9);
        printf("1x1 convolution    %.0f GFLOP/s\n", flops / 1e9);
    }
    json_decref(root);
    return 0;
}
