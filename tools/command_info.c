/* command_info.c -- what this machine is and what it reaches. */
#include <omp.h>
#include <string.h>

#include "runtime/arena.h"
#include "runtime/group.h"
#include "runtime/json.h"
#include "tools/commands.h"

static const char usage[] =
    "parsec-nas info [OPTIONS]\n"
    "\n"
    "Prints version, build, devices, and two ceilings measured on the spot: copy\n"
    "bandwidth (bytes read plus bytes written, between arrays of 128 MiB) and\n"
    "multiply-adds on registers, each counted as two operations.\n"
    "\n";

/* What CUDA sees, or why it sees nothing. */
static void print_cards(void) {
    char card[200];
    int index = 0;
    if (!strstr(pn_backend_names(), "cuda")) return;
    while (pn_backend_describe_card(index, card, sizeof card) == PN_OK)
        printf("cuda:%d             %s\n", index++, card);
    if (!index) printf("no card            %s\n", pn_error());
}

/* The i-th instruction set, if this machine has it; NULL behind the last. */
static const pn_kernels *instruction_set(int i, bool *end) {
    static const char *const names[] = {"avx512", "avx2", "base"};
    *end = i == sizeof names / sizeof *names;
    return *end ? NULL : pn_host_kernels(names[i]);
}

static pn_status print_json(const pn_kernels *k, double bandwidth, double flops) {
    json_t *devices = json_array(), *root = json_object();
    char mpi[128];
    int failed = 0;
    bool end = false;
    for (int i = 0; !end; i++) {
        const pn_kernels *one = instruction_set(i, &end);
        if (one) failed |= json_array_append_new(devices, json_string(one->name));
    }
    failed |= json_object_set_new(root, "version", json_string(PN_VERSION));
    failed |= json_object_set_new(root, "compiler", json_string(__VERSION__));
    failed |= json_object_set_new(root, "device", json_string(k->name));
    failed |= json_object_set_new(root, "devices", devices);
    failed |= json_object_set_new(root, "mpi", json_string(pn_group_built(mpi)));
    failed |= json_object_set_new(root, "threads", json_integer(omp_get_max_threads()));
    failed |= json_object_set_new(root, "memory_available_bytes",
                                  json_real((double)k->memory->available()));
    failed |= json_object_set_new(root, "copy_bytes_per_second", json_real(bandwidth));
    failed |= json_object_set_new(root, "flops_per_second", json_real(flops));
    return pn_json_print(root, failed, JSON_INDENT(2) | JSON_REAL_PRECISION(4), stdout);
}

static void print_text(const pn_kernels *k, double bandwidth, double flops) {
    char text[32], mpi[128];
    bool end = false;
    printf("parsec-nas %s, compiler %s\n", PN_VERSION, __VERSION__);
    printf("device             %s, %d threads (also here:", k->name, omp_get_max_threads());
    for (int i = 0; !end; i++) {
        const pn_kernels *one = instruction_set(i, &end);
        if (one) printf(" %s", one->name);
    }
    printf(")\n");
    printf("backends           %s\n", pn_backend_names());
    print_cards();
    printf("MPI                %s\n", pn_group_built(mpi));
    printf("memory available   %s\n", pn_bytes_text((double)k->memory->available(), text));
    printf("copy               %.1f GB/s read + write\n", bandwidth / 1e9);
    printf("multiply-add       %.0f GFLOP/s\n", flops / 1e9);
}

typedef struct options {
    bool json;
    pn_device_options device;
} options;
static options o;

#define PN_OF options

static const pn_field rows[] = {PN_ROW_JSON, PN_ROWS_DEVICE};

static pn_status run(const char *const *words) {
    (void)words;
    const pn_kernels *k;
    PN_TRY(pn_device_open(&o.device, &k));
    const double bandwidth = k->copy_rate((size_t)256 << 20), flops = k->flop_rate();
    if (o.json) return print_json(k, bandwidth, flops);
    print_text(k, bandwidth, flops);
    return PN_OK;
}

PN_COMMAND(info, "print version, devices, measured bandwidth and FLOP rate",
           .options = {PN_OPTIONS(rows, o)});
