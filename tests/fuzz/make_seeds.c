/* make_seeds.c -- make_seeds TEXTS OUT: what the targets begin from, OUT/TARGET/NAME.
 *
 * The product's own writers make what they can write. The rest are TEXTS/TARGET/NAME, copied: what
 * is written by hand, and the input of every fault that was found. NAME.hex is bytes in
 * hexadecimal, with # comments. */
#define ZLIB_CONST /* what is only read is const */
#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "runtime/data.h"
#include "runtime/npy.h"
#include "runtime/safetensors.h"
#include "tests/fuzz/harness.h"
#include "tests/fuzz/tiny.h"

enum { PATH = 1024 };

/* Only so that this program needs no libFuzzer. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most) {
    (void)data;
    (void)most;
    return size;
}

static const char *out;

static const char *place(const char *target, const char *name) {
    static char path[PATH];
    snprintf(path, sizeof path, "%s/%s", out, target);
    (void)mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", out, target, name);
    return path;
}

static void put(const char *target, const char *name, const void *data, size_t size) {
    MUST(pn_file_write(place(target, name), data, size) == PN_OK);
}

static void copy(const char *target, const char *name, const char *directory, const char *from) {
    size_t size;
    void *data = tiny_read(directory, from, &size);
    put(target, name, data, size);
    free(data);
}

/* ---- the formats ----------------------------------------------------------------------------- */

static void make_npy(void) {
    static const pn_dtype types[] = {PN_F32, PN_F64, PN_I32, PN_I64, PN_U8};
    static const double numbers[24] = {1, -2, 0.5};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char name[16];
        const pn_array array = {
            .dtype = types[i], .rank = (int)i, .shape = {2, 3, 1, 4}, .data = numbers};
        snprintf(name, sizeof name, "rank%zu", i);
        MUST(pn_npy_write(place("fuzz_npy", name), &array) == PN_OK);
    }
}

static void make_safetensors(void) {
    static const double numbers[6] = {1, 2, 3};
    static const char *const names[] = {"a", "b", "c.d", "e", "f", "g", "h", "i", "j", "k", "l"};
    _Static_assert(sizeof names / sizeof *names == PN_DTYPES, "a name for each kind of number");
    pn_array arrays[PN_DTYPES];
    for (int d = 0; d < PN_DTYPES; d++)
        arrays[d] = (pn_array){.name = names[d],
                               .dtype = (pn_dtype)d,
                               .rank = d % 4,
                               .shape = {d % 3, 2, 1},
                               .data = numbers};
    const pn_meta meta[] = {{"step", "12"}, {"text", "\"quoted\"\n"}};
    MUST(pn_safetensors_write(place("fuzz_safetensors", "all"), arrays, PN_DTYPES, meta, 2) ==
         PN_OK);
    MUST(pn_safetensors_write(place("fuzz_safetensors", "none"), arrays, 0, NULL, 0) == PN_OK);

    enum { DEPTH = 2040, BEFORE = 8 + 5 }; /* jansson goes down 2,048 */
    static uint8_t nested[BEFORE + DEPTH];
    const uint64_t header = sizeof nested - 8;
    memcpy(nested, &header, 8);
    snprintf((char *)nested + 8, 6, "{\"a\":");
    memset(nested + BEFORE, '[', DEPTH);
    put("fuzz_safetensors", "nested", nested, sizeof nested);
}

static size_t gzip(const void *plain, size_t size, int level, uint8_t *to, size_t room) {
    z_stream z = {
        .next_in = plain, .avail_in = (uInt)size, .next_out = to, .avail_out = (uInt)room};
    MUST(deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    MUST(deflate(&z, Z_FINISH) == Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

static void make_idx(void) {
    static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 5, 0, 1, 2, 3, 4};
    uint8_t images[16 + 3 * 4 * 2] = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 2};
    uint8_t packed[512];
    for (int i = 16; i < (int)sizeof images; i++) images[i] = (uint8_t)(7 * i);
    put("fuzz_idx", "labels", labels, sizeof labels);
    put("fuzz_idx", "images", images, sizeof images);
    put("fuzz_gz", "plain", images, sizeof images);
    for (int level = 0; level < 10; level += 3) {
        char name[16];
        snprintf(name, sizeof name, "level%d", level);
        put("fuzz_gz", name, packed, gzip(images, sizeof images, level, packed, sizeof packed));
    }
    /* Two members, one after the other, are one file. */
    size_t size = gzip(labels, 7, 9, packed, sizeof packed);
    size += gzip(labels + 7, sizeof labels - 7, 9, packed + size, sizeof packed - size);
    put("fuzz_gz", "members", packed, size);
    put("fuzz_gz", "cut", packed, size - 9);

    /* fuzz_data: a byte that says what it is, then two files of 28 and 11 bytes or other
     * lengths. */
    uint8_t set[3 + sizeof images + sizeof labels] = {0, sizeof images, 0};
    memcpy(set + 3, images, sizeof images);
    memcpy(set + 3 + sizeof images, labels, sizeof labels);
    set[3 + sizeof images + 7] = 3; /* as many labels as images */
    for (uint8_t kind = 0; kind < 8; kind++) {
        char name[16];
        snprintf(name, sizeof name, "set%d", kind);
        set[0] = kind;
        put("fuzz_data", name, set, sizeof set - 2);
    }
    for (uint8_t kind = 0; kind < 10; kind++) {
        char name[16];
        snprintf(name, sizeof name, "named%d", kind);
        set[0] = kind;
        put("fuzz_data", name, set, 3);
    }
}

static void make_cifar(void) {
    static uint8_t records[2 * 3073];
    for (size_t i = 0; i < sizeof records; i++) records[i] = (uint8_t)(i % 3073 ? i : i / 3073);
    put("fuzz_cifar", "two", records, sizeof records);
    put("fuzz_cifar", "short", "\1\2\3", 3);
}

/* A file that a writer made, with one number of its state changed: the state comes first. */
static void with_number(const char *target, const char *from, int index, double number) {
    size_t size;
    uint64_t header;
    uint8_t *data = tiny_read(out, from, &size);
    memcpy(&header, data, sizeof header);
    memcpy(data + 8 + header + 8 * (size_t)index, &number, sizeof number);
    fuzz_repair_tensors(data, size);
    char name[32];
    snprintf(name, sizeof name, "state%d_%g", index, number);
    put(target, name, data, size);
    free(data);
}

/* The same with some text of its metadata replaced by one as long. */
static void with_text(const char *target, const char *from, const char *old, const char *new) {
    static int count;
    size_t size;
    uint8_t *data = tiny_read(out, from, &size);
    char name[32];
    const size_t length = strlen(old);
    uint8_t *at = data, *const end = data + size;
    MUST(length == strlen(new));
    while (at + length <= end && memcmp(at, old, length) != 0) at++;
    MUST(at + length <= end);
    memcpy(at, new, length);
    fuzz_repair_tensors(data, size);
    snprintf(name, sizeof name, "text%d", count++);
    put(target, name, data, size);
    free(data);
}

static void make_variants(void) {
    enum { LOGITS = PN_MAX_LOGITS };
    static const char search[] = "fuzz_checkpoint/checkpoint",
                      training[] = "fuzz_training/checkpoint", two[] = "fuzz_weights/two",
                      imagenet[] = "fuzz_weights/imagenet";
    with_number("fuzz_checkpoint", search, 0, NAN);
    with_number("fuzz_checkpoint", search, 1, 1e308);
    with_number("fuzz_warm_start", search, 1, 1e308);
    with_number("fuzz_checkpoint", search, 2 * LOGITS, -1);
    with_number("fuzz_checkpoint", search, 3 * LOGITS, 2.5);
    with_number("fuzz_checkpoint", search, 3 * LOGITS, 2);
    with_number("fuzz_checkpoint", search, 3 * LOGITS + 1, 1e18);
    static const double wrong[] = {NAN, 3e38, -1, 0.5};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        with_number("fuzz_training", training, 0, wrong[i]);
        with_number("fuzz_training", training, 4, wrong[i]);
    }
    with_number("fuzz_training", training, 7, 3);
    static const char *const texts[][2] = {{"layers\\\": 2", "layers\\\": 0"},
                                           {"layers\\\": 2", "layers\\\": 9"},
                                           {"channels\\\": 4", "channels\\\": 6"},
                                           {"image\\\": [4, 4, 3]", "image\\\": [0, 4, 3]"},
                                           {"image\\\": [4, 4, 3]", "image\\\": [4, 4, 2]"},
                                           {"classes\\\": 3", "classes\\\": 1"},
                                           {"\"std\\\": [0.5", "\"std\\\": [0.0"},
                                           {"\"mean\\\": [0.5", "\"mean\\\": [9.5"},
                                           {"\\\"cat\\\", ", "         "},
                                           {"\\\"dog\\\"", "[[[]]]["},
                                           {"\"eval\\\"", "\"evil\\\""},
                                           {"sep_conv_3x3", "sep_conv_4x4"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        with_text("fuzz_weights", two, texts[i][0], texts[i][1]);
    with_text("fuzz_weights", two, "\"eval\\\", \\\"stem\\\": \\\"cifar\\\"",
              "\"eval\\\", \\\"stem\\\": \\\"cigar\\\"");
    with_text("fuzz_weights", imagenet, "channels\\\": 8", "channels\\\": 4");
    with_text("fuzz_checkpoint", search, "parsec-nas search 1", "parsec-nas search 2");
    with_text("fuzz_warm_start", search, "\"step\":\"3\"", "\"step\":\"x\"");
    with_text("fuzz_warm_start", search, "\"space\":\"2", "\"space\":\"1");
    with_text("fuzz_checkpoint", search, "\"prior.csv\":\"", "\"prior.csw\":\"");
}

/* ---- what a search and a training leave ------------------------------------------------------ */

static void make_runs(void) {
    const char *search = fuzz_path("search"), *training = fuzz_path("training");
    tiny_search(search);
    copy("fuzz_settings", "run.json", search, "run.json");
    copy("fuzz_prior", "prior.csv", search, "prior.csv");
    copy("fuzz_checkpoint", "checkpoint", search, "checkpoint-00000003.safetensors");
    copy("fuzz_warm_start", "checkpoint", search, "checkpoint-00000003.safetensors");
    tiny_training(training);
    copy("fuzz_train_settings", "run.json", training, "run.json");
    copy("fuzz_training", "checkpoint", training, "checkpoint-00000007.safetensors");
    copy("fuzz_weights", "last", training, "last.safetensors");
    copy("fuzz_genotype", "genotype.txt", training, "genotype.txt");

    pn_network_spec spec = {.evaluation = true,
                            .layers = 2,
                            .channels = 4,
                            .H = 4,
                            .W = 4,
                            .image_channels = 3,
                            .classes = 3};
    tiny_weights(place("fuzz_weights", "two"), &spec);
    spec.layers = 1;
    spec.channels = 8;
    spec.imagenet_stem = true;
    tiny_weights(place("fuzz_weights", "imagenet"), &spec);
}

/* A set of one and of three channels; fuzz_packed calls the file FILE.safetensors itself. */
static void make_packed(void) {
    static uint8_t pixels[3 * 4 * 4 * 3];
    static uint16_t labels[] = {0, 1, 0};
    static const char *const classes[] = {"cat", "dog"};
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(31 * i);
    for (int C = 1; C <= 3; C += 2) {
        char name[32];
        pn_data set = {.name = "set",
                       .count = 3,
                       .H = 4,
                       .W = 4,
                       .C = C,
                       .classes = 2,
                       .images = pixels,
                       .labels = labels,
                       .own_test = C == 1};
        pn_data_measure(&set);
        MUST(pn_data_name_classes(&set, classes, 2) == PN_OK);
        snprintf(name, sizeof name, "channels%d", C);
        MUST(pn_data_pack(place("fuzz_packed", name), &set, &set) == PN_OK);
        free((void *)set.class_names);
    }
}

/* ---- what is written by hand ----------------------------------------------------------------- */

static int digit(int c) { return isdigit(c) ? c - '0' : tolower(c) - 'a' + 10; }

static size_t from_hex(uint8_t *text, size_t size) {
    size_t n = 0;
    int half = -1;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '#')
            while (i < size && text[i] != '\n') i++;
        else if (isxdigit(text[i])) {
            if (half >= 0) text[n++] = (uint8_t)(half << 4 | digit(text[i]));
            half = half >= 0 ? -1 : digit(text[i]);
        } else
            MUST(isspace(text[i]));
    }
    MUST(half < 0);
    return n;
}

static void copy_texts(const char *texts, const char *target) {
    char from[PATH];
    snprintf(from, sizeof from, "%s/%s", texts, target);
    DIR *list = opendir(from);
    MUST(list != NULL);
    for (struct dirent *e; (e = readdir(list));) {
        if (e->d_name[0] == '.') continue;
        size_t size;
        void *data = tiny_read(from, e->d_name, &size);
        const size_t n = strlen(e->d_name);
        if (n > 4 && !strcmp(e->d_name + n - 4, ".hex")) size = from_hex(data, size);
        put(target, e->d_name, data, size);
        free(data);
    }
    closedir(list);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "make_seeds TEXTS OUT\n");
        return 2;
    }
    out = argv[2];
    (void)mkdir(out, 0777);
    make_npy();
    make_safetensors();
    make_idx();
    make_packed();
    make_cifar();
    make_runs();
    make_variants();
    DIR *list = opendir(argv[1]);
    MUST(list != NULL);
    for (struct dirent *e; (e = readdir(list));)
        if (!strncmp(e->d_name, "fuzz_", 5)) copy_texts(argv[1], e->d_name);
    closedir(list);
    return 0;
}
