/* fuzz_genotype.c -- any bytes as a genotype, alone and inside a file: refused, or an
 * architecture that comes back from both notations. */
#include <string.h>

#include "search/network/genotype.h"
#include "tests/fuzz/harness.h"

static const char *path;

static void comes_back(const pn_arch *arch) {
    pn_space space = pn_space_darts();
    pn_arch back;
    char text[PN_GENOTYPE_BYTES], line[PN_SHORT_BYTES];
    pn_genotype_write(arch, text);
    MUST(pn_genotype_read(text, strlen(text), &back) == PN_OK);
    MUST(memcmp(arch, &back, sizeof back) == 0);
    pn_genotype_short(&space, arch, line);
    MUST(pn_genotype_read(line, strlen(line), &back) == PN_OK);
    MUST(memcmp(arch, &back, sizeof back) == 0);
}

static pn_status read_text(const uint8_t *data, size_t size) {
    pn_arch arch;
    PN_TRY(pn_genotype_read((const char *)data, size, &arch));
    comes_back(&arch);
    return PN_OK;
}

static pn_status open_file(const uint8_t *data, size_t size) {
    pn_arch arch;
    (void)data;
    (void)size;
    PN_TRY(pn_genotype_open(path, &arch));
    comes_back(&arch);
    return PN_OK;
}

/* As what the command line says, if it can be that. */
static pn_status argument(const uint8_t *data, size_t size) {
    char text[2048];
    pn_arch arch;
    memcpy(text, data, size);
    text[size] = 0;
    PN_TRY(pn_genotype_open(text, &arch));
    comes_back(&arch);
    return PN_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_run(read_text, data, size, FUZZ_CONSTANT);
    path = fuzz_file("genotype.txt", data, size);
    if (size % 2) path = fuzz_path(""); /* as a run's directory */
    fuzz_run(open_file, data, size, FUZZ_DATA * size + 2 * FUZZ_CONSTANT);
    /* One that begins as a path might be one, of a device even. */
    const bool text = size > 1 && size < 2048 && data[0] != '/' && data[0] != '.' && data[0] != '~';
    return text ? fuzz_run(argument, data, size, FUZZ_CONSTANT) : 0;
}
