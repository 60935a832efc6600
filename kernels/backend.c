/* backend.c -- see backend.h. PN_HAVE_CUDA, PN_HAVE_EMULATOR and PN_HAVE_SIZES are the build's. */
#include "kernels/backend.h"

#include <omp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend_parts.h"
#include "kernels/exchange.h"

const char *pn_backend_names(void) {
    return "cpu"
#ifdef PN_HAVE_CUDA
           ", cuda"
#endif
#ifdef PN_HAVE_EMULATOR
           ", emulated"
#endif
        ;
}

pn_status pn_backend_describe_card(int index, char *text, size_t bytes) {
#ifdef PN_HAVE_CUDA
    return pn_cuda_describe(index, text, bytes);
#else
    (void)index;
    (void)text;
    (void)bytes;
    return pn_fail(PN_EDEVICE, "this build has %s only", pn_backend_names());
#endif
}

const pn_exchange *pn_backend_exchange(const pn_kernels *kernels) {
#ifdef PN_HAVE_NCCL
    if (kernels->memory == pn_kernels_cuda()->memory) return &pn_exchange_nccl;
#endif
    (void)kernels;
    return NULL;
}

int pn_backend_threads(int order) {
    static const int threads[PN_ORDERS] = {2, 1, 3, 7, 16, 33, 64};
    return threads[order % PN_ORDERS];
}

void pn_backend_disturb(const pn_kernels *kernels, int order) {
    omp_set_num_threads(pn_backend_threads(order));
#ifdef PN_HAVE_EMULATOR
    if (kernels == pn_kernels_emulated())
        pn_emulator_order(order < 2 ? order : 2, 1902 + (uint64_t)order); /* then random */
#else
    (void)kernels;
#endif
}

static pn_status opened(const pn_kernels *found, const pn_kernels **kernels) {
    *kernels = found;
    return found ? PN_OK : PN_EDEVICE;
}

static pn_status open_card(const char *name, const pn_kernels **kernels) {
#ifdef PN_HAVE_CUDA
    char *end = NULL;
    const long index = name[4] ? strtol(name + 5, &end, 10) : 0;
    if (name[4] && (name[4] != ':' || end == name + 5 || *end || index < 0 || index > 1000))
        return pn_fail(PN_EARG, "want cuda or cuda:N");
    return opened(pn_cuda_kernels((int)index), kernels);
#else
    (void)name;
    (void)kernels;
    return pn_fail(PN_EDEVICE, "this build has %s only", pn_backend_names());
#endif
}

static pn_status open_emulator(const pn_kernels **kernels) {
#ifdef PN_HAVE_EMULATOR
    return opened(pn_kernels_emulated(), kernels);
#else
    (void)kernels;
    return pn_fail(PN_EDEVICE, "this build has %s only", pn_backend_names());
#endif
}

static pn_status open_any(const pn_kernels **kernels) {
#ifdef PN_HAVE_CUDA
    if ((*kernels = pn_cuda_kernels(0))) return PN_OK;
#endif
    return opened(pn_host_kernels(NULL), kernels);
}

static bool stores_bf16(const char *name) {
    const size_t length = strlen(name), suffix = strlen(PN_BF16_SUFFIX);
    return length >= suffix && !strcmp(name + length - suffix, PN_BF16_SUFFIX);
}

pn_status pn_backend_name(const char *device, const char *precision, char name[PN_BACKEND_NAME]) {
    const bool narrow = precision && !strcmp(precision, "bf16"), known = stores_bf16(device);
    if (precision && !narrow && strcmp(precision, "float32") != 0)
        return pn_fail(PN_EARG, "precision \"%s\", want float32 or bf16", precision);
    if (known && precision && !narrow)
        return pn_fail(PN_EARG, "precision float32 on device \"%s\", want one of the two", device);
    if (snprintf(name, PN_BACKEND_NAME, "%s%s", device, narrow && !known ? PN_BF16_SUFFIX : "") >=
        PN_BACKEND_NAME)
        return pn_fail(PN_EARG, "device \"%.40s...\" is no device", device);
    return PN_OK;
}

static pn_status open_narrow(const char *name, const pn_kernels **kernels) {
    if (!strcmp(name, "auto" PN_BF16_SUFFIX) || !strcmp(name, "cpu" PN_BF16_SUFFIX))
        return opened(pn_host_kernels("bf16"), kernels);
    if (!strncmp(name, "cpu:", 4)) return opened(pn_host_kernels(name + 4), kernels);
    return pn_fail(PN_EDEVICE, "bf16 is for the host; want --device cpu, or --precision float32");
}

static pn_status open_named(const char *name, const pn_kernels **kernels) {
    if (stores_bf16(name)) return open_narrow(name, kernels);
    if (!strcmp(name, "auto")) return open_any(kernels);
    if (!strcmp(name, "cpu")) return opened(pn_host_kernels(NULL), kernels);
    if (!strncmp(name, "cpu:", 4)) return opened(pn_host_kernels(name + 4), kernels);
    if (!strncmp(name, "cuda", 4)) return open_card(name, kernels);
    if (!strcmp(name, "emulated")) return open_emulator(kernels);
    return pn_fail(PN_EARG, "want auto, cpu, cpu:avx512, cpu:avx2, cpu:base, cuda or cuda:N");
}

pn_status pn_backend_open(const char *name, const pn_kernels **kernels) {
    *kernels = NULL;
    const pn_status s = open_named(name, kernels);
    return s == PN_OK ? s : pn_fail_in(s, "device \"%s\"", name);
}

/* The ops of the card, of the emulator and of sizes alone are compiled from one text: they ask for
 * the same. */
static const pn_kernels *table_of_card(void) {
#if defined(PN_HAVE_CUDA)
    return pn_kernels_cuda();
#elif defined(PN_HAVE_EMULATOR)
    return pn_kernels_emulated();
#elif defined(PN_HAVE_SIZES)
    return pn_kernels_sized();
#else
    return NULL;
#endif
}

pn_status pn_backend_sizes(const char *name, const pn_kernels **kernels) {
    static pn_kernels sizes;
    if ((strncmp(name, "cuda", 4) != 0 && strcmp(name, "emulated") != 0) || stores_bf16(name))
        return pn_backend_open(name, kernels);
    *kernels = NULL;
    if (!table_of_card())
        return pn_fail(PN_EDEVICE, "device \"%s\": this build has %s only", name,
                       pn_backend_names());
    static pn_memory memory;
    memory = pn_host_memory;
    memory.context_bytes = strcmp(name, "emulated") != 0 ? PN_CONTEXT_ALLOWANCE : 0;
    sizes = *table_of_card();
    sizes.memory = &memory;
    *kernels = &sizes;
    return PN_OK;
}
