/* command_data.c -- looks at a data set, checks its files one by one, packs it into one file. */
#include <stdlib.h>
#include <string.h>

#include "runtime/data.h"
#include "runtime/file.h"
#include "runtime/folder.h"
#include "runtime/image.h"
#include "runtime/json.h"
#include "runtime/text.h"
#include "tools/commands.h"

static const char usage[] =
    "parsec-nas data info|check|pack SET [OPTIONS]\n"
    "parsec-nas data records PICTURE --labels FILE.json --out FILE.bin\n"
    "\n"
    "What is in a data set, as --data of the other commands takes one.\n"
    "  info SET    prints classes, images, size, mean and deviation, and warns of\n"
    "              small or unequal classes and of test images that are trained on\n"
    "  check DIR   decodes every file of a folder of pictures and names those that\n"
    "              are left out, and why; exit code 3 if any is\n"
    "  pack SET --out FILE.safetensors\n"
    "              writes images, labels and names to one file, for --data FILE\n"
    "  records PICTURE\n"
    "              writes a PNG of which each row is an image of 32x32, as packages\n"
    "              for TensorFlow.js hold CIFAR-10, as a file of CIFAR-10 records\n"
    "\n";

static const char notes[] =
    "\n"
    "A folder of pictures holds a folder for each class: DIR/CLASS/*, of which a\n"
    "fifth is for testing, chosen by a hash of CLASS/NAME; or DIR/train/CLASS/* and\n"
    "beside train a test, val or valid with the same classes. JPEG and PNG are told\n"
    "by their first bytes, not by their names. The shorter edge is scaled to 64\n"
    "pixels (32 if most pictures are smaller) and the middle square taken;\n"
    "DIR@96 takes 96.\n";

typedef struct options {
    const char *out, *labels;
    int first;
    double test_fraction;
    bool json;
} options;
static options o;

#define PN_OF options

static const pn_field rows[] = {
    PN_PATH("out", out, NULL, "FILE", NULL, "of pack and records: where to", .also = "o|output"),
    PN_REAL("test-fraction", test_fraction, .01, .9, "X", "0.2",
            "of pack, where a folder has no test images of its own: their share"),
    PN_PATH("labels", labels, NULL, "FILE", NULL, "of records: a list of labels, in JSON"),
    PN_INT("first", first, 0, 1 << 30, "0", "of records: labels before that of the first row"),
    PN_FLAG("json", json, NULL, "of info and check: print JSON"),
};

/* What opening the set had to say. */
typedef struct said {
    char **sentence;
    int count;
    bool failed;
} said;

static void keep(void *self, const char *sentence) {
    said *s = self;
    char **list = realloc((void *)s->sentence, ((size_t)s->count + 1) * sizeof *list);
    if (list) s->sentence = list;
    char *copy = list ? strdup(sentence) : NULL;
    if (copy) s->sentence[s->count++] = copy;
    s->failed |= !copy;
}

static void forget(said *s) {
    for (int i = 0; i < s->count; i++) free(s->sentence[i]);
    free((void *)s->sentence);
}

/* ---- info ------------------------------------------------------------------------------------ */

static const char *class_name(const pn_data *d, int k, char text[PN_TEXT_BYTES]) {
    if (d->class_names)
        pn_text_visible(d->class_names[k], text, PN_TEXT_BYTES);
    else
        snprintf(text, PN_TEXT_BYTES, "%d", k);
    return text;
}

static pn_status count(const pn_data *d, int **of) {
    *of = calloc((size_t)d->classes, sizeof **of);
    if (!*of) return pn_fail(PN_EMEM, "no memory to count %d classes", d->classes);
    for (int i = 0; i < d->count; i++) (*of)[d->labels[i]]++;
    return PN_OK;
}

static const char *test_is(const pn_data *d) { return d->own_test ? "its own" : "not its own"; }

static void info_text(const pn_data *set, int *const of[2], const said *s) {
    const pn_data *d = &set[PN_TRAIN];
    char text[PN_TEXT_BYTES];
    printf("%s: %d training and %d test images (%s) of %dx%dx%d in %d classes\n", d->name, d->count,
           set[PN_TEST].count, test_is(d), d->H, d->W, d->C, d->classes);
    printf("mean     ");
    for (int c = 0; c < d->C; c++) printf(" %.4f", (double)d->mean[c]);
    printf("\ndeviation");
    for (int c = 0; c < d->C; c++) printf(" %.4f", (double)d->std[c]);
    printf("\n\n%8s %8s  class\n", "training", "test");
    for (int k = 0; k < d->classes; k++)
        printf("%8d %8d  %s\n", of[PN_TRAIN][k], of[PN_TEST][k], class_name(d, k, text));
    for (int i = 0; i < s->count; i++) printf("%s%s\n", i ? "" : "\n", s->sentence[i]);
}

static pn_status info_json(const pn_data *set, int *const of[2], const said *s) {
    const pn_data *d = &set[PN_TRAIN];
    json_t *root = json_object(), *classes = json_array(), *mean = json_array(),
           *std = json_array(), *warnings = json_array();
    int failed = s->failed;
    for (int k = 0; k < d->classes; k++) {
        json_t *row = json_object();
        failed |= json_object_set_new(
            row, "name", d->class_names ? pn_json_string(d->class_names[k]) : json_null());
        failed |= json_object_set_new(row, "train", json_integer(of[PN_TRAIN][k]));
        failed |= json_object_set_new(row, "test", json_integer(of[PN_TEST][k]));
        failed |= json_array_append_new(classes, row);
    }
    for (int c = 0; c < d->C; c++) {
        failed |= json_array_append_new(mean, pn_json_number((double)d->mean[c]));
        failed |= json_array_append_new(std, pn_json_number((double)d->std[c]));
    }
    for (int i = 0; i < s->count; i++)
        failed |= json_array_append_new(warnings, pn_json_string(s->sentence[i]));
    failed |= json_object_set_new(root, "name", pn_json_string(d->name));
    failed |= json_object_set_new(root, "train", json_integer(d->count));
    failed |= json_object_set_new(root, "test", json_integer(set[PN_TEST].count));
    failed |= json_object_set_new(root, "own_test", json_boolean(d->own_test));
    failed |= json_object_set_new(root, "height", json_integer(d->H));
    failed |= json_object_set_new(root, "width", json_integer(d->W));
    failed |= json_object_set_new(root, "channels", json_integer(d->C));
    failed |= json_object_set_new(root, "mean", mean);
    failed |= json_object_set_new(root, "std", std);
    failed |= json_object_set_new(root, "classes", classes);
    failed |= json_object_set_new(root, "said", warnings);
    return pn_json_print(root, failed, JSON_INDENT(2) | JSON_REAL_PRECISION(4), stdout);
}

static pn_status info(const char *spec) {
    pn_data set[2] = {0};
    int *of[2] = {NULL, NULL};
    said s = {0};
    pn_data_listen(keep, &s);
    pn_status status = pn_data_open_both(spec, &set[PN_TRAIN], &set[PN_TEST]);
    if (status == PN_OK) status = count(&set[PN_TRAIN], &of[PN_TRAIN]);
    if (status == PN_OK) status = count(&set[PN_TEST], &of[PN_TEST]);
    if (status == PN_OK && o.json)
        status = info_json(set, of, &s);
    else if (status == PN_OK)
        info_text(set, of, &s);
    for (int i = 0; i < s.count && status != PN_OK; i++)
        fprintf(stderr, "%s\n", s.sentence[i]); /* why it failed may stand there */
    forget(&s);
    free(of[PN_TRAIN]);
    free(of[PN_TEST]);
    pn_data_free(&set[PN_TRAIN]);
    pn_data_free(&set[PN_TEST]);
    return status;
}

/* ---- check ----------------------------------------------------------------------------------- */

static pn_status check_json(const pn_folder *f) {
    json_t *root = json_object(), *files = json_array();
    int failed = 0;
    for (int i = 0; i < f->count; i++) {
        const pn_picture *p = &f->pictures[i];
        if (!p->why) continue;
        json_t *row = json_object();
        failed |= json_object_set_new(row, "file", pn_json_string(p->path));
        failed |= json_object_set_new(row, "damaged", json_boolean(p->fate == PN_FATE_DAMAGED));
        failed |= json_object_set_new(row, "why", pn_json_string(p->why));
        failed |= json_array_append_new(files, row);
    }
    failed |= json_object_set_new(root, "files", json_integer(f->count));
    failed |= json_object_set_new(root, "damaged", json_integer(f->damaged));
    failed |= json_object_set_new(root, "skipped", json_integer(f->skipped));
    failed |= json_object_set_new(root, "left_out", files);
    return pn_json_print(root, failed, JSON_INDENT(2), stdout);
}

static void check_text(const pn_folder *f) {
    char path[PN_TEXT_BYTES], why[PN_TEXT_BYTES];
    for (int i = 0; i < f->count; i++) {
        const pn_picture *p = &f->pictures[i];
        if (!p->why) continue;
        pn_text_visible(p->path, path, sizeof path);
        pn_text_visible(p->why, why, sizeof why);
        printf("%s: %s\n", path, why);
    }
    printf("%d files: %d pictures in %d classes, %d damaged, %d skipped\n", f->count,
           f->count - f->damaged - f->skipped, f->class_count, f->damaged, f->skipped);
}

static pn_status check(const char *directory) {
    enum { SMALL = 8 }; /* what they are made is not looked at */
    pn_folder f;
    pn_data set[2] = {0};
    pn_status s = pn_folder_open(directory, PN_TEST_FRACTION, &f);
    if (s == PN_OK) s = pn_folder_read(&f, SMALL, &set[PN_TRAIN], &set[PN_TEST]);
    if (s == PN_OK && o.json)
        s = check_json(&f);
    else if (s == PN_OK)
        check_text(&f);
    if (s == PN_OK && f.damaged + f.skipped)
        s = pn_fail(PN_EINPUT, "%s: %d of %d files cannot be used", directory,
                    f.damaged + f.skipped, f.count);
    pn_folder_free(&f);
    pn_data_free(&set[PN_TRAIN]);
    pn_data_free(&set[PN_TEST]);
    return s;
}

/* ---- pack ------------------------------------------------------------------------------------ */

static pn_status pack(const char *spec) {
    const size_t length = o.out ? strlen(o.out) : 0, ending = strlen(".safetensors");
    if (length <= ending || strcmp(o.out + length - ending, ".safetensors") != 0)
        return pn_fail(PN_EARG, "want --out FILE.safetensors, the file to write");
    pn_data set[2] = {0};
    pn_status s = pn_data_open_fraction(spec, o.test_fraction, &set[PN_TRAIN], &set[PN_TEST]);
    if (s == PN_OK) s = pn_data_pack(o.out, &set[PN_TRAIN], &set[PN_TEST]);
    if (s == PN_OK) {
        const pn_data *d = &set[PN_TRAIN];
        fprintf(stderr, "%s: %d training and %d test images (%s) of %dx%dx%d in %d classes\n",
                o.out, d->count, set[PN_TEST].count, test_is(d), d->H, d->W, d->C, d->classes);
    }
    pn_data_free(&set[PN_TRAIN]);
    pn_data_free(&set[PN_TEST]);
    return s;
}

/* ---- records --------------------------------------------------------------------------------- */

enum { PIXELS = 32 * 32, COLOURS = 3, RECORD = 1 + COLOURS * PIXELS, LABELS = 10 };

/* A byte for each row of a picture. */
static pn_status read_labels(int images, uint8_t *label) {
    enum { LIMIT = 1 << 28 };
    void *text;
    size_t size;
    json_t *list;
    PN_TRY(pn_file_read(o.labels, LIMIT, &text, &size));
    pn_status s = pn_json_parse(text, size, &list);
    free(text);
    if (s == PN_OK && (int64_t)json_array_size(list) < (int64_t)o.first + images)
        s = pn_fail(PN_EINPUT, "a list of %zu labels, want %d from number %d on",
                    json_array_size(list), images, o.first);
    for (int i = 0; s == PN_OK && i < images; i++) {
        const json_t *one = json_array_get(list, (size_t)o.first + (size_t)i);
        const json_int_t value = json_integer_value(one);
        if (!json_is_integer(one) || value < 0 || value >= LABELS)
            s = pn_fail(PN_EINPUT, "label %d is not a whole number from 0 to %d", o.first + i,
                        LABELS - 1);
        label[i] = (uint8_t)value;
    }
    json_decref(list);
    return s == PN_OK ? s : pn_fail_in(s, "%s", o.labels);
}

/* The label, then the planes; a row has its pixels in order (pn_cifar_parse reads this). */
static void make_record(const uint8_t *row, uint8_t label, uint8_t *to) {
    *to++ = label;
    for (int c = 0; c < COLOURS; c++)
        for (int i = 0; i < PIXELS; i++) *to++ = row[i * COLOURS + c];
}

static pn_status write_records(const pn_image *image) {
    const size_t images = (size_t)image->H;
    uint8_t *label = malloc(images), *records = malloc(images * RECORD);
    pn_status s = label && records ? read_labels(image->H, label)
                                   : pn_fail(PN_EMEM, "no memory for %zu records", images);
    for (size_t i = 0; s == PN_OK && i < images; i++)
        make_record(image->pixels + i * PIXELS * COLOURS, label[i], records + i * RECORD);
    if (s == PN_OK) s = pn_file_write(o.out, records, images * RECORD);
    free(records);
    free(label);
    if (s == PN_OK) fprintf(stderr, "%s: %zu images of 32x32x3\n", o.out, images);
    return s;
}

static pn_status records(const char *path) {
    pn_image image;
    if (!o.out || !o.labels)
        return pn_fail(PN_EARG, "want --labels FILE.json, and --out FILE.bin, the file to write");
    PN_TRY(pn_image_read(path, &image, NULL));
    const pn_status s =
        image.W == PIXELS && image.C == COLOURS
            ? write_records(&image)
            : pn_fail(PN_EINPUT, "%s: %d pixels wide, %s, want %d in colour, an image a row", path,
                      image.W, image.C == 1 ? "grey" : "in colour", PIXELS);
    pn_image_free(&image);
    return s;
}

static pn_status run(const char *const *words) {
    static const struct {
        const char *name;
        pn_status (*run)(const char *spec);
    } actions[] = {{"info", info}, {"check", check}, {"pack", pack}, {"records", records}};
    for (size_t i = 0; words[0] && i < sizeof actions / sizeof *actions; i++)
        if (!strcmp(words[0], actions[i].name))
            return words[1] ? actions[i].run(words[1])
                            : pn_fail(PN_EARG, "data %s: want a set or a folder", words[0]);
    return pn_fail(PN_EARG, "want info, check, pack or records");
}

PN_COMMAND(data, "look at a data set, check its pictures, pack it into one file", .notes = notes,
           .words = 2, .options = {PN_OPTIONS(rows, o)});
