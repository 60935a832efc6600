/* backend.c -- see backend.h. PN_HAVE_CUDA, PN_HAVE_EMULATOR and PN_HAVE_SIZES are the build's. */
#include "kernels/backend.h"

#include <omp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend_parts.h"
#include "kernels/cuts.h"
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
    if (kernels->memory == pn_kernels_cuda(PN_PRECISION_FLOAT32)->memory) return &pn_exchange_nccl;
#endif
    (void)kernels;
    return NULL;
}

int pn_backend_threads(int order) {
    static const int threads[PN_ORDERS] = {2, 1, 3, 7, 16, 33, 64};
    return threads[order % PN_ORDERS];
}

/* A device, and what stands behind its name. */
typedef struct wish {
    char device[PN_BACKEND_NAME];
    pn_precision precision;
} wish;

static const char *const precisions[PN_PRECISIONS] = {"float32", "tf32", "bf16", "fp16"};
static const char *const suffixes[PN_PRECISIONS] = {"", "-tf32", PN_BF16_SUFFIX, PN_FP16_SUFFIX};

static wish wish_of(const char *name) {
    wish w = {"", PN_PRECISION_FLOAT32};
    size_t length = strlen(name);
    for (int p = PN_PRECISION_TF32; p < PN_PRECISIONS; p++) {
        const size_t suffix = strlen(suffixes[p]);
        if (length < suffix || strcmp(name + length - suffix, suffixes[p]) != 0) continue;
        w.precision = (pn_precision)p;
        length -= suffix;
        break;
    }
    snprintf(w.device, sizeof w.device, "%.*s", (int)length, name);
    return w;
}

void pn_backend_disturb(const pn_kernels *kernels, int order) {
    omp_set_num_threads(pn_backend_threads(order));
#ifdef PN_HAVE_EMULATOR
    if (kernels->memory == pn_kernels_emulated(PN_PRECISION_FLOAT32)->memory)
        pn_emulator_order(order < 2 ? order : 2, 1902 + (uint64_t)order); /* then random */
#else
    (void)kernels;
#endif
}

static pn_status opened(const pn_kernels *found, const pn_kernels **kernels) {
    *kernels = found;
    return found ? PN_OK : PN_EDEVICE;
}

#if defined(PN_HAVE_CUDA) || defined(PN_HAVE_EMULATOR)
/* What the cuts of jobs on a card follow has to be known (places.h). */
static pn_status check_cuts(void) {
    pn_cuts cuts;
    return pn_cuts_read(&cuts);
}
#endif

static pn_status open_card(const wish *w, const pn_kernels **kernels) {
#ifdef PN_HAVE_CUDA
    const char *const number = w->device + strlen("cuda");
    char *end = NULL;
    const long index = *number ? strtol(number + 1, &end, 10) : 0;
    if (*number && (*number != ':' || end == number + 1 || *end || index < 0 || index > 1000))
        return pn_fail(PN_EARG, "want cuda or cuda:N");
    PN_TRY(check_cuts());
    return opened(pn_cuda_kernels((int)index, w->precision), kernels);
#else
    (void)w;
    (void)kernels;
    return pn_fail(PN_EDEVICE, "this build has %s only", pn_backend_names());
#endif
}

static pn_status open_emulator(const wish *w, const pn_kernels **kernels) {
#ifdef PN_HAVE_EMULATOR
    PN_TRY(pn_check_capability(pn_emulated_card(), w->precision));
    PN_TRY(check_cuts());
    return opened(pn_kernels_emulated(w->precision), kernels);
#else
    (void)w;
    (void)kernels;
    return pn_fail(PN_EDEVICE, "this build has %s only", pn_backend_names());
#endif
}

static bool is_of_cards(pn_precision p) { return p == PN_PRECISION_TF32 || p == PN_PRECISION_FP16; }

/* The best instruction set, or the one that `name` says: "cpu:avx2-bf16". */
static pn_status open_host(const char *name, const wish *w, const pn_kernels **kernels) {
    if (is_of_cards(w->precision))
        return pn_fail(PN_EDEVICE,
                       "%s is for cards; want --device cuda, --precision float32 or bf16",
                       precisions[w->precision]);
    if (!strncmp(w->device, "cpu:", 4)) return opened(pn_host_kernels(name + 4), kernels);
    return opened(pn_host_kernels(w->precision == PN_PRECISION_BF16 ? "bf16" : NULL), kernels);
}

static pn_status open_any(const char *name, const wish *w, const pn_kernels **kernels) {
#ifdef PN_HAVE_CUDA
    if ((*kernels = pn_cuda_kernels(0, w->precision))) return PN_OK;
    if (is_of_cards(w->precision)) return PN_EDEVICE;
#endif
    return open_host(name, w, kernels);
}

pn_status pn_backend_name(const char *device, const char *precision, char name[PN_BACKEND_NAME]) {
    const wish w = wish_of(device);
    int p = PN_PRECISION_FLOAT32;
    while (precision && p < PN_PRECISIONS && strcmp(precision, precisions[p]) != 0) p++;
    if (p == PN_PRECISIONS)
        return pn_fail(PN_EARG, "precision \"%s\", want float32, tf32, bf16 or fp16", precision);
    const bool known = w.precision != PN_PRECISION_FLOAT32;
    if (known && precision && p != (int)w.precision)
        return pn_fail(PN_EARG, "precision %s on device \"%s\", want one of the two", precision,
                       device);
    if (snprintf(name, PN_BACKEND_NAME, "%s%s", device, known ? "" : suffixes[p]) >=
        PN_BACKEND_NAME)
        return pn_fail(PN_EARG, "device \"%.40s...\" is no device", device);
    return PN_OK;
}

static pn_status open_named(const char *name, const pn_kernels **kernels) {
    const wish w = wish_of(name);
    if (!strcmp(w.device, "auto")) return open_any(name, &w, kernels);
    if (!strcmp(w.device, "cpu") || !strncmp(w.device, "cpu:", 4))
        return open_host(name, &w, kernels);
    if (!strncmp(w.device, "cuda", 4)) return open_card(&w, kernels);
    if (!strcmp(w.device, "emulated")) return open_emulator(&w, kernels);
    return pn_fail(PN_EARG, "want auto, cpu, cpu:avx512, cpu:avx2, cpu:base, cuda or cuda:N");
}

pn_status pn_backend_open(const char *name, const pn_kernels **kernels) {
    *kernels = NULL;
    const pn_status s = open_named(name, kernels);
    return s == PN_OK ? s : pn_fail_in(s, "device \"%s\"", name);
}

/* The ops of the card, of the emulator and of sizes alone are compiled from one text: they ask for
 * the same. So they do for every precision: what is stored narrowly lies in shared memory, and is
 * summed, as floats. */
static const pn_kernels *table_of_card(void) {
#if defined(PN_HAVE_CUDA)
    return pn_kernels_cuda(PN_PRECISION_FLOAT32);
#elif defined(PN_HAVE_EMULATOR)
    return pn_kernels_emulated(PN_PRECISION_FLOAT32);
#elif defined(PN_HAVE_SIZES)
    return pn_kernels_sized(PN_PRECISION_FLOAT32);
#else
    return NULL;
#endif
}

pn_status pn_backend_sizes(const char *name, const pn_kernels **kernels) {
    static pn_kernels sizes[PN_PRECISIONS];
    const wish w = wish_of(name);
    if (strncmp(w.device, "cuda", 4) != 0 && strcmp(w.device, "emulated") != 0)
        return pn_backend_open(name, kernels);
    *kernels = NULL;
    if (!table_of_card())
        return pn_fail(PN_EDEVICE, "device \"%s\": this build has %s only", name,
                       pn_backend_names());
    static pn_memory memory;
    memory = pn_host_memory;
    memory.context_bytes = strcmp(w.device, "emulated") != 0 ? PN_CONTEXT_ALLOWANCE : 0;
    pn_kernels *const found = &sizes[w.precision];
    *found = *table_of_card();
    found->memory = &memory;
    if (w.precision == PN_PRECISION_BF16) found->storage = PN_STORED_BF16;
    if (w.precision == PN_PRECISION_FP16) found->storage = PN_STORED_FP16;
    *kernels = found;
    return PN_OK;
}
