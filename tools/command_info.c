/* command_info.c -- what this machine is and what it reaches. */
#include <omp.h>
#include <string.h>

#include "runtime/arena.h"
#include "runtime/json.h"
#include "tools/commands.h"

const char pn_info_usage[] =
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
    failed |= json_object_set_new(root, "threads", json_integer(omp_get_max_threads()));
    failed |= json_object_set_new(root, "memory_available_bytes",
                                  json_real((double)k->memory->available()));
    failed |= json_object_set_new(root, "copy_bytes_per_second", json_real(bandwidth));
    failed |= json_object_set_new(root, "flops_per_second", json_real(flops));
    return pn_json_print(root, failed, JSON_INDENT(2) | JSON_REAL_PRECISION(4), stdout);
}

static void print_text(const pn_kernels *k, double bandwidth, double flops) {
    char text[32];
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
    printf("memory available   %s\n", pn_bytes_text((double)k->memory->available(), text));
    printf("copy               %.1f GB/s read + write\n", bandwidth / 1e9);
    printf("multiply-add       %.0f GFLOP/s\n", flops / 1e9);
}

int pn_command_info(int argc, char **argv) {
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
    if (s != PN_OK) return pn_report("info", s);
    bandwidth = k->copy_rate((size_t)256 << 20);
    flops = k->flop_rate();

    if (json) return pn_report("info", print_json(k, bandwidth, flops));
    print_text(k, bandwidth, flops);
    return 0;
}
