/* standin_card.c -- linked into the program instead of what looks for cards (tests.cmake): this
 * host has one, which is the emulated one. */
#include <stdio.h>
#include <string.h>

#include "tools/commands.h"

pn_status __real_pn_device_open(const pn_device_options *options, const pn_kernels **kernels);
pn_status __wrap_pn_device_open(const pn_device_options *options, const pn_kernels **kernels);
pn_status __wrap_pn_backend_describe_card(int index, char *text, size_t bytes);
const char *__wrap_pn_backend_names(void);

const char *__wrap_pn_backend_names(void) { return "cpu, cuda"; }

pn_status __wrap_pn_backend_describe_card(int index, char *text, size_t bytes) {
    snprintf(text, bytes, "stand-in");
    return index == 0 ? PN_OK : pn_fail(PN_EDEVICE, "no card %d", index);
}

pn_status __wrap_pn_device_open(const pn_device_options *options, const pn_kernels **kernels) {
    pn_device_options here = *options;
    if (here.device && strcmp(here.device, "cuda:0") == 0) here.device = "emulated";
    return __real_pn_device_open(&here, kernels);
}
