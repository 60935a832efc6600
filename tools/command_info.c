/* command_info.c -- what this machine is and what it reaches. */
#include <jansson.h>
#include <omp.h>
#include <string.h>

#include "runtime/arena.h"
#include "tools/commands.h"

const char pn_info_usage[] =
    "parsec-nas info [OPTIONS]\n"
    "\n"
    "Version, build, devices, and two ceilings measured on the spot: copy bandwidth (bytes read "
    "plus bytes\n"
    "written, between arrays of 128 MiB) and multiply-adds on registers, each counted as two.\n"
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
    if (s != PN_OK) return pn_report("info", s);
    bandwidth = k->copy_rate((size_t)256 << 20);
    flops = k->flop_rate();

    json_t *devices = json_array();
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        const pn_kernels *one = pn_host_kernels(isas[i]);
        if (one) json_array_append_new(devices, json_string(one->name));
    }
    json_t *root =
        json_pack("{s:s,s:s,s:s,s:o,s:i,s:f,s:f,s:f}", "version", PN_VERSION, "compiler",
                  __VERSION__, "device", k->name, "devices", devices, "threads",
                  omp_get_max_threads(), "memory_available_bytes", (double)k->memory->available(),
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
        printf(")\n");
        printf("backends           %s\n", pn_backend_names());
        print_cards();
        printf("memory available   %s\n", pn_bytes_text((double)k->memory->available(), text));
        printf("copy               %.1f GB/s read + write\n", bandwidth / 1e9);
        printf("multiply-add       %.0f GFLOP/s\n", flops / 1e9);
    }
    json_decref(root);
    return 0;
}
