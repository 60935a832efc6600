/* parts.c -- see parts.h. */
#include "api/parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/text.h"

/* ---- locks ----------------------------------------------------------------------------------- */

static pthread_mutex_t library = PTHREAD_MUTEX_INITIALIZER;

void pn_api_lock(void) { pthread_mutex_lock(&library); }
void pn_api_unlock(void) { pthread_mutex_unlock(&library); }

static bool on_card(const pn_api_turn *t) {
    return t->kernels && t->kernels->memory != &pn_host_memory;
}

void pn_api_turn_begin(pn_api_turn *t) {
    pthread_mutex_lock(&t->lock);
    if (on_card(t)) pn_api_lock();
}

void pn_api_turn_end(pn_api_turn *t) {
    if (on_card(t)) pn_api_unlock();
    pthread_mutex_unlock(&t->lock);
}

void pn_api_turn_tells(pn_api_turn *t) {
    if (!on_card(t)) pn_api_lock();
}

void pn_api_turn_tells_no_more(pn_api_turn *t) {
    if (!on_card(t)) pn_api_unlock();
}

pn_status pn_api_wanted(const void *argument, const char *name) {
    return argument ? PN_OK : pn_fail(PN_EARG, "%s is NULL", name);
}

/* ---- settings -------------------------------------------------------------------------------- */

#define PN_OF pn_api_work

static const pn_field work_rows[] = {
    PN_TEXT("device", device, NULL, "D", "auto", NULL),
    PN_TEXT("precision", precision, "float32|tf32|bf16|fp16", "TYPE", NULL, NULL),
    PN_BYTES("memory", memory, NULL),
};
const pn_fields pn_api_work_fields = PN_FIELDS(work_rows);

pn_status pn_api_open(const pn_api_work *work, const pn_kernels **kernels) {
    char name[PN_BACKEND_NAME];
    PN_TRY(pn_backend_name(work->device, work->precision[0] ? work->precision : NULL, name));
    return pn_backend_open(name, kernels);
}

const char pn_api_of_images[] = "|image|classes|mean|std|names|";

static bool is_among(const char *list, const char *name) {
    const size_t length = strlen(name);
    for (const char *at = list; at && (at = strstr(at, name)); at++)
        if (at > list && at[-1] == '|' && at[length] == '|') return true;
    return false;
}

static const pn_field *find_field(const pn_api_table *tables, int count, const char *name,
                                  void **settings) {
    for (int t = 0; t < count; t++)
        for (int i = 0; i < tables[t].fields->count; i++) {
            const pn_field *f = &tables[t].fields->list[i];
            if (strcmp(f->name, name) != 0 || is_among(tables[t].excluded, name)) continue;
            *settings = tables[t].settings;
            return f;
        }
    return NULL;
}

static bool takes_text(const pn_field *f) {
    return f->kind == PN_FIELD_TEXT || f->kind == PN_FIELD_WORD || f->kind == PN_FIELD_SEED ||
           f->kind == PN_FIELD_BYTES || f->kind == PN_FIELD_IMAGE;
}

static bool takes_number(const pn_field *f) {
    return f->kind != PN_FIELD_TEXT && f->kind != PN_FIELD_WORD && f->kind != PN_FIELD_FLAG &&
           f->kind != PN_FIELD_IMAGE;
}

/* [32, 32, 3] as the option has it, "32x32x3"; false: not such a list. */
static bool list_text(const json_t *list, char *text, size_t room) {
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        if (!json_is_integer(value) || used + 24 > room) return false;
        used += (size_t)snprintf(text + used, room - used, "%s%" JSON_INTEGER_FORMAT, i ? "x" : "",
                                 json_integer_value(value));
    }
    return used > 0;
}

static pn_status read_value(const pn_field *f, const json_t *value, void *settings) {
    char number[80];
    const char *text = number;
    if (json_is_null(value)) return PN_OK;
    if (json_is_string(value) && takes_text(f))
        text = json_string_value(value);
    else if (json_is_boolean(value) && f->kind == PN_FIELD_FLAG)
        text = json_is_true(value) ? "1" : "0";
    else if (json_is_integer(value) && takes_number(f))
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value) && takes_number(f)) /* 1e6 is a whole number, too */
        snprintf(number, sizeof number, "%.17g", json_real_value(value));
    else if (f->kind != PN_FIELD_IMAGE || !list_text(value, number, sizeof number))
        return pn_fail(PN_EARG, "--%s has a value of the wrong type", f->name);
    return pn_field_set(settings, f, text);
}

static pn_status read_object(const json_t *root, const pn_api_table *tables, int count,
                             const char *others) {
    /* (The iterators of jansson want an object that can be changed.) */
    json_t *object = (json_t *)root;
    const char *name;
    json_t *value;
    if (!json_is_object(root)) return pn_fail(PN_EARG, "want an object, as {\"layers\": 8}");
    json_object_foreach(object, name, value) {
        void *settings;
        const pn_field *f = find_field(tables, count, name, &settings);
        if (f)
            PN_TRY(read_value(f, value, settings));
        else if (!is_among(others, name))
            return pn_fail(PN_EARG, "\"%.40s\" is none that this call has", name);
    }
    return PN_OK;
}

pn_status pn_api_read(const char *text, const pn_api_table *tables, int count, const char *others,
                      json_t **root) {
    const char *object = text ? text : "{}";
    pn_status s = pn_json_parse(object, strlen(object), root);
    if (s == PN_OK) s = read_object(*root, tables, count, others);
    if (s == PN_OK) return s;
    json_decref(*root);
    *root = NULL;
    return pn_fail_in(s, "settings");
}

/* ---- images ---------------------------------------------------------------------------------- */

pn_status pn_api_batch_create(pn_api_batch *m, const pn_images *images, int N) {
    *m = (pn_api_batch){.H = images->H,
                        .W = images->W,
                        .C = images->C,
                        .classes = images->classes,
                        .N = N,
                        .bytes = images->measured};
    if (m->bytes) pn_normalise(m->C, images->mean, images->std, m->value);
    const size_t floats = (size_t)N * (size_t)m->H * (size_t)m->W * (size_t)m->C;
    m->x = aligned_alloc(64, (floats * sizeof *m->x + 63) & ~(size_t)63);
    m->labels = calloc((size_t)N, sizeof *m->labels);
    if (m->x && m->labels) return PN_OK;
    pn_api_batch_destroy(m);
    return pn_fail(PN_EMEM, "no memory for a batch of %d images", N);
}

void pn_api_batch_destroy(pn_api_batch *m) {
    free(m->x);
    free(m->labels);
    *m = (pn_api_batch){0};
}

static bool is_float(int format) { return format <= PARSEC_NAS_FLOAT_NCHW; }
static bool is_planar(int format) { return format & 1; }

static pn_status check_labels(const pn_api_batch *m, const pn_api_given *g) {
    for (int64_t i = 0; i < g->n; i++)
        if (g->labels[i] < 0 || g->labels[i] >= m->classes)
            return pn_fail(PN_EARG, "label %" PRId64 " is %" PRId32 ", want 0 to %d", i,
                           g->labels[i], m->classes - 1);
    return PN_OK;
}

static pn_status check_floats(const pn_api_batch *m, const pn_api_given *g) {
    const size_t size = (size_t)m->H * (size_t)m->W * (size_t)m->C;
    const float *x = g->images;
    for (int64_t i = 0; i < g->n; i++)
        for (size_t j = 0; j < size; j++)
            if (!isfinite(x[(size_t)i * size + j]))
                return pn_fail(PN_EARG, "image %" PRId64 " holds a number that is not finite", i);
    return PN_OK;
}

pn_status pn_api_batch_check(const pn_api_batch *m, const pn_api_given *g, bool labelled) {
    if (g->format < PARSEC_NAS_FLOAT_NHWC || g->format > PARSEC_NAS_BYTES_NCHW)
        return pn_fail(PN_EARG, "format %d of images, want 0 to %d", g->format,
                       PARSEC_NAS_BYTES_NCHW);
    if (g->n < 0) return pn_fail(PN_EARG, "%" PRId64 " images", g->n);
    if (g->n) PN_TRY(pn_api_wanted(g->images, "the array of images"));
    if (labelled) {
        PN_TRY(pn_api_wanted(g->labels, "the array of labels"));
        PN_TRY(check_labels(m, g));
    }
    if (is_float(g->format)) return check_floats(m, g);
    return m->bytes ? PN_OK
                    : pn_fail(PN_EARG,
                              "images of bytes want a mean and std to be normalised by, and none "
                              "are known: normalise them, and give floats");
}

/* One image (H,W,C) or (C,H,W) into (H,W,C). */
static void take_image(const pn_api_batch *m, const void *images, int format, size_t at, float *x) {
    const size_t pixels = (size_t)m->H * (size_t)m->W, C = (size_t)m->C;
    const size_t of_pixel = is_planar(format) ? 1 : C, of_channel = is_planar(format) ? pixels : 1;
    const float *floats = images;
    const uint8_t *bytes = images;
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < C; c++) {
            const size_t from = at + p * of_pixel + c * of_channel;
            *x++ = is_float(format) ? floats[from] : m->value[c][bytes[from]];
        }
}

pn_batch pn_api_batch_take(pn_api_batch *m, const pn_api_given *g, int64_t first, int n) {
    const size_t size = (size_t)m->H * (size_t)m->W * (size_t)m->C;
    for (int i = 0; i < n; i++) {
        const size_t image = (size_t)first + (size_t)i;
        take_image(m, g->images, g->format, image * size, m->x + (size_t)i * size);
        m->labels[i] = g->labels ? g->labels[image] : 0;
    }
    return (pn_batch){n, m->x, m->labels};
}

/* ---- what is told ---------------------------------------------------------------------------- */

json_t *pn_api_row(const pn_space *space, const pn_arch *arch, double log_p) {
    char text[PN_GENOTYPE_BYTES], brief[PN_SHORT_BYTES];
    pn_genotype_write(arch, text);
    pn_genotype_short(space, arch, brief);
    return json_pack("{s:f,s:s,s:s}", "log_p", log_p, "genotype", text, "short", brief);
}

json_t *pn_api_network(const pn_network *network, const pn_arch *arch, const pn_images *images,
                       const pn_kernels *kernels) {
    const pn_network_spec *n = &network->spec;
    char text[PN_GENOTYPE_BYTES], brief[PN_SHORT_BYTES];
    size_t params, auxiliary;
    pn_network_count(network, arch, &params, &auxiliary);
    pn_genotype_write(arch, text);
    pn_genotype_short(&network->space, arch, brief);
    json_t *root = pn_images_json(images);
    int failed = 0;
    failed |= json_object_set_new(root, "genotype", json_string(text));
    failed |= json_object_set_new(root, "short", json_string(brief));
    failed |=
        json_object_set_new(root, "stem", json_string(n->imagenet_stem ? "imagenet" : "cifar"));
    failed |= json_object_set_new(root, "pool_norm", json_boolean(n->pool_norm));
    failed |= json_object_set_new(root, "layers", json_integer(n->layers));
    failed |= json_object_set_new(root, "channels", json_integer(n->channels));
    failed |= json_object_set_new(root, "params", json_integer((json_int_t)params));
    failed |= json_object_set_new(root, "device", json_string(kernels->name));
    if (!failed) return root;
    json_decref(root);
    return NULL;
}
