/* command_profile.c -- what sampled, found or given cells cost on this device. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/json.h"
#include "runtime/text.h"
#include "runtime/times.h"
#include "search/methods/cost.h"
#include "search/methods/profile.h"
#include "search/methods/warm_start.h"
#include "tools/commands.h"
#include "tools/live.h"
#include "tools/measured.h"
#include "tools/progress.h"

static const char usage[] =
    "parsec-nas profile [RUN | GENOTYPE...] [OPTIONS]\n"
    "\n"
    "Measures forward and backward pass of architectures on this device, beside what\n"
    "they cost by count: learnt numbers, multiply-adds, bytes, launches, and the\n"
    "limit of this machine (as in bench). Of a RUN: the cell it found and its most\n"
    "probable ones, in its network; of a training (DIR/seed-N) its cell. Else the\n"
    "given genotypes, or draws from --prior or from the uniform distribution.\n"
    "\n";

static const char notes[] =
    "\n"
    "Architectures take turns, so that a slow minute slows all; times are medians,\n"
    "+- half the distance of the quartiles. An op counts at the resolution of what it\n"
    "makes; ops of one launch share its time by their limits. A cell that nothing\n"
    "reads is counted in params and MACs, and not run.\n"
    "\n"
    "  parsec-nas profile --architectures 100 --csv    of the space, for a plot\n"
    "  parsec-nas profile RUN -o RUN/profile.json      for the report of a run\n";

enum { RUN_JSON = 1 << 24, USUAL_COUNT = 10, MANY = 20, LARGEST_SIZE = 1 << 20 };

typedef struct options {
    const char *genotype, *network, *stem, *prior, *output;
    int layers, channels, batch, classes, image[3], architectures, rounds;
    uint64_t seed;
    bool share_slot, auxiliary, pool_norm, csv, quiet, limits;
    pn_device_options device;
} options;
static options o;

typedef struct profiling {
    const pn_kernels *kernels;
    pn_profile_settings settings;
    char what[80]; /* is profiled: "the 3 most probable cells" */
    pn_prior prior;
    bool has_prior;
    pn_profile *profile;
    int count;
    pn_ceilings ceilings;
    pn_trust trust;
    double wall, cpu;
} profiling;

/* ---- which architectures --------------------------------------------------------------------- */

static pn_status make_room(profiling *p, int count) {
    p->profile = calloc((size_t)count, sizeof *p->profile);
    return p->profile ? PN_OK : pn_fail(PN_EMEM, "no memory for %d architectures", count);
}

static pn_status read_prior(profiling *p, const char *from) {
    const pn_space space = pn_space_darts();
    pn_warm_start source;
    PN_TRY(pn_prior_init(&p->prior, &space, false));
    p->has_prior = true;
    if (!from) return PN_OK;
    pn_status s = pn_warm_start_open(&source, from, &space);
    if (s == PN_OK) s = pn_warm_start_prior(&source, &p->prior);
    pn_warm_start_close(&source);
    return s;
}

static pn_status take_samples(profiling *p) {
    const int count = o.architectures ? o.architectures : USUAL_COUNT;
    char from[41] = "";
    if (o.prior) pn_text_visible(o.prior, from, sizeof from);
    PN_TRY(read_prior(p, o.prior));
    PN_TRY(make_room(p, count));
    p->count = count;
    for (int i = 0; i < count; i++)
        pn_prior_sample(&p->prior, o.seed, 0, (uint64_t)i, &p->profile[i].arch);
    snprintf(p->what, sizeof p->what, "%d architectures drawn from %s", count,
             o.prior ? from : "the uniform distribution");
    return PN_OK;
}

static pn_status take_genotypes(profiling *p, const char *const *words) {
    int count = 0;
    while (words[count]) count++;
    PN_TRY(make_room(p, count));
    p->count = count;
    for (int i = 0; i < count; i++) PN_TRY(pn_genotype_open(words[i], &p->profile[i].arch));
    snprintf(p->what, sizeof p->what, "%d given architecture%s", count, count == 1 ? "" : "s");
    return PN_OK;
}

/* The cell found, if the search is finished, and then the most probable ones. */
static pn_status take_top(profiling *p, const char *run, bool finished) {
    const int want = o.architectures ? o.architectures : USUAL_COUNT;
    pn_arch *top = calloc((size_t)want, sizeof *top);
    int found = 0;
    if (!top) return pn_fail(PN_EMEM, "no memory for %d architectures", want);
    pn_status s = read_prior(p, run);
    if (s == PN_OK) s = pn_prior_top(&p->prior, want, top, NULL, &found);
    if (s == PN_OK) s = make_room(p, found + 1);
    if (s == PN_OK && finished) s = pn_genotype_open(run, &p->profile[p->count++].arch);
    for (int i = 0; s == PN_OK && i < found && p->count < want; i++)
        if (!finished || memcmp(&top[i], &p->profile[0].arch, sizeof *top) != 0)
            p->profile[p->count++].arch = top[i];
    free(top);
    snprintf(p->what, sizeof p->what, "%s%d most probable cells",
             finished ? "the cell found, and the others of the " : "the ", p->count);
    return s;
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* A size in run.json, unless one was given. */
static pn_status read_size(const json_t *from, const char *name, int *size) {
    const json_t *value = json_object_get(from, name);
    if (*size || !value || json_is_null(value)) return PN_OK;
    const json_int_t n = json_integer_value(value);
    if (n < 1 || n > LARGEST_SIZE) return pn_fail(PN_EINPUT, "its %s is no size", name);
    *size = (int)n;
    return PN_OK;
}

static pn_status read_sizes(const json_t *root) {
    const json_t *settings = json_object_get(root, "settings"),
                 *images = json_object_get(root, "images"),
                 *image = json_object_get(images, "image");
    PN_TRY(read_size(settings, "layers", &o.layers));
    PN_TRY(read_size(settings, "channels", &o.channels));
    PN_TRY(read_size(settings, "batch", &o.batch));
    PN_TRY(read_size(images, "classes", &o.classes));
    if (json_is_true(json_object_get(settings, "share-slot"))) o.share_slot = true;
    if (json_is_false(json_object_get(settings, "auxiliary"))) o.auxiliary = false;
    for (size_t i = 0; i < 3 && !o.image[0] && json_array_size(image) == 3; i++) {
        const json_int_t n = json_integer_value(json_array_get(image, i));
        if (n < 1 || n > LARGEST_SIZE) return pn_fail(PN_EINPUT, "its image has no size");
    }
    for (size_t i = 3; i-- > 0 && !o.image[0] && json_array_size(image) == 3;)
        o.image[i] = (int)json_integer_value(json_array_get(image, i));
    return PN_OK;
}

static pn_status take_training(profiling *p, const char *run, const json_t *settings) {
    const char *genotype = json_string_value(json_object_get(settings, "genotype")),
               *stem = json_string_value(json_object_get(settings, "stem"));
    if (!genotype) return pn_fail(PN_EINPUT, "%s: run.json has no genotype", run);
    o.network = "eval";
    if (stem && !strcmp(stem, "imagenet")) o.stem = "imagenet";
    if (json_is_true(json_object_get(settings, "pool-norm"))) o.pool_norm = true;
    PN_TRY(make_room(p, 1));
    p->count = 1;
    snprintf(p->what, sizeof p->what, "the cell of a training");
    const pn_status s = pn_genotype_read(genotype, strlen(genotype), &p->profile[0].arch);
    return s == PN_OK ? PN_OK : pn_fail_in(PN_EINPUT, "%s: run.json", run);
}

static pn_status take_run(profiling *p, const char *run) {
    pn_place place;
    void *text = NULL;
    size_t size;
    bool there = false, finished = false;
    json_t *root = NULL;
    PN_TRY(pn_place_open(&place, run));
    pn_status s = pn_place_has(&place, "run.json", &there);
    if (s == PN_OK && !there)
        s = pn_fail(PN_EINPUT,
                    "no run: there is no run.json in it (of a training, want DIR/seed-N)");
    if (s == PN_OK) s = pn_file_read_in(&place, "run.json", RUN_JSON, &text, &size);
    if (s == PN_OK) s = pn_json_parse(text, size, &root);
    free(text);
    if (s == PN_OK) s = pn_place_has(&place, "genotype.txt", &finished);
    pn_place_close(&place);
    if (s == PN_OK) s = read_sizes(root);
    const char *command = json_string_value(json_object_get(root, "command"));
    if (s == PN_OK && !command) s = pn_fail(PN_EINPUT, "run.json does not say of what");
    if (s != PN_OK)
        s = pn_fail_in(s, "%s", run);
    else if (!strcmp(command, "train"))
        s = take_training(p, run, json_object_get(root, "settings"));
    else
        s = take_top(p, run, finished);
    json_decref(root);
    return s;
}

static pn_status gather(profiling *p, const char *const *words) {
    pn_path_kind kind = PN_PATH_NOTHING;
    if (o.genotype && words[0])
        return pn_fail(PN_EARG, "want one of %s and --genotype %s", words[0], o.genotype);
    const char *const alone[] = {o.genotype, NULL};
    if (o.genotype) words = alone;
    if (words[0] && o.prior) return pn_fail(PN_EARG, "want one of %s and --prior", words[0]);
    if (!words[0]) return take_samples(p);
    if (!words[1]) PN_TRY(pn_path_look(words[0], &kind));
    if (kind == PN_PATH_DIRECTORY) return take_run(p, words[0]);
    if (o.architectures) return pn_fail(PN_EARG, "--architectures goes without genotypes");
    return take_genotypes(p, words);
}

static pn_status resolve(profiling *p) {
    bool evaluation;
    pn_network_sizes usual;
    PN_TRY(pn_network_asked(o.network, o.stem, o.pool_norm, &evaluation, &usual));
    if (!o.layers) o.layers = usual.layers;
    if (!o.channels) o.channels = usual.channels;
    if (!o.batch) o.batch = usual.batch;
    if (!o.rounds) o.rounds = p->count > MANY ? 5 : 9; /* 5: the fewest that bench/compare takes */
    if (!o.classes) o.classes = usual.classes;
    if (!o.image[0]) memcpy(o.image, (int[]){usual.edge, usual.edge, 3}, sizeof o.image);
    p->settings = (pn_profile_settings){.spec = {.evaluation = evaluation,
                                                 .layers = o.layers,
                                                 .channels = o.channels,
                                                 .H = o.image[0],
                                                 .W = o.image[1],
                                                 .image_channels = o.image[2],
                                                 .classes = o.classes,
                                                 .share_slot = o.share_slot,
                                                 .auxiliary = o.auxiliary,
                                                 .imagenet_stem = !strcmp(o.stem, "imagenet"),
                                                 .pool_norm = o.pool_norm},
                                        .N = o.batch,
                                        .rounds = o.rounds,
                                        .seed = o.seed};
    return PN_OK;
}

/* ---- sums ------------------------------------------------------------------------------------ */

static double median(const double *values, int count) { return pn_spread_of(values, count).median; }

static double step_ms(const pn_profile *p) {
    return median(p->ms[0], o.rounds) + median(p->ms[1], o.rounds);
}

static double row_ms(const pn_profile_row *row, int pass) {
    return median(row->ms[pass], pn_profile_timed(o.rounds));
}

/* Of all ops together, either pass. */
static double ops_ms(const pn_profile *p, int pass) {
    double sum = 0;
    for (int i = 0; i < p->rows; i++) sum += row_ms(&p->row[i], pass);
    return sum;
}

static double of_limit(double limit, double ms) { return ms > 0 ? limit / ms : 0; }

/* In thousands or millions. */
static const char *short_count(double n, char text[16]) {
    if (n == 0)
        snprintf(text, 16, "-");
    else if (n < 1e6)
        snprintf(text, 16, "%.1f k", n / 1e3);
    else if (n < 1e9)
        snprintf(text, 16, "%.2f M", n / 1e6);
    else
        snprintf(text, 16, "%.2f G", n / 1e9);
    return text;
}

/* ---- the table ------------------------------------------------------------------------------- */

static void print_head(const profiling *p) {
    const pn_network_spec *s = &p->settings.spec;
    printf("%s network, %d layers, %d channels, batch %d of %dx%dx%d\n", o.network, s->layers,
           s->channels, p->settings.N, s->H, s->W, s->image_channels);
    printf("%s, %d threads\n%s, %d rounds\n\n", p->kernels->name, omp_get_max_threads(), p->what,
           o.rounds);
}

static void print_architectures(const profiling *p) {
    printf("%4s %9s %9s %10s %9s %4s %9s %4s %8s %5s\n", "", "params", "MACs", "arena", "forward",
           "+- %", "backward", "+- %", "of_limit", "calls");
    for (int i = 0; i < p->count; i++) {
        const pn_profile *a = &p->profile[i];
        char params[16], macs[16], arena[32], spread[PN_PASSES][8];
        const pn_spread f = pn_spread_of(a->ms[0], o.rounds), b = pn_spread_of(a->ms[1], o.rounds);
        const double limit = a->limit_ms[0] + a->limit_ms[1];
        printf("%4d %9s %9s %10s %9.2f %4s %9.2f %4s %8.2f %5d\n", i,
               short_count((double)a->params, params), short_count(a->macs, macs),
               pn_bytes_text((double)a->measured, arena), f.median, pn_spread_text(&f, spread[0]),
               b.median, pn_spread_text(&b, spread[1]), of_limit(limit, step_ms(a)),
               a->launches[0] + a->launches[1]);
    }
}

/* The same row of all architectures, summed up. */
typedef struct sum {
    int family, H, W;
    double macs, ms[PN_PASSES], limit[PN_PASSES];
} sum;

static int add_rows(const profiling *p, sum *sums, int most) {
    int count = 0;
    for (int i = 0; i < p->count; i++)
        for (int r = 0; r < p->profile[i].rows; r++) {
            const pn_profile_row *row = &p->profile[i].row[r];
            int at = 0;
            while (at < count &&
                   (sums[at].family != row->family || sums[at].H != row->H || sums[at].W != row->W))
                at++;
            if (at == most) continue;
            if (at == count) sums[count++] = (sum){row->family, row->H, row->W, .macs = 0};
            sums[at].macs += row->macs;
            for (int pass = 0; pass < PN_PASSES; pass++) {
                sums[at].ms[pass] += row_ms(row, pass);
                sums[at].limit[pass] += row->limit_ms[pass];
            }
        }
    return count;
}

/* By op, the largest level first. */
static int by_op(const void *a, const void *b) {
    const sum *x = a, *y = b;
    if (x->family != y->family) return x->family - y->family;
    return y->H != x->H ? y->H - x->H : y->W - x->W;
}

static void print_ops(const profiling *p) {
    enum { MOST = PN_FAMILIES * PN_MAX_LAYERS };
    static sum sums[MOST];
    const int count = add_rows(p, sums, MOST);
    double all = 0, ops = 0;
    qsort(sums, (size_t)count, sizeof *sums, by_op);
    for (int i = 0; i < count; i++) ops += sums[i].ms[0] + sums[i].ms[1];
    for (int i = 0; i < p->count; i++) all += step_ms(&p->profile[i]);
    putchar('\n');
    if (p->count > 1) printf("means of %d architectures\n", p->count);
    printf("%-9s %9s %9s %9s %8s %9s %8s %7s\n", "op", "level", "MACs", "forward", "of_limit",
           "backward", "of_limit", "share");
    for (int i = 0; i < count; i++) {
        const sum *s = &sums[i];
        char level[24], macs[16];
        snprintf(level, sizeof level, "%dx%d", s->H, s->W);
        printf("%-9s %9s %9s %9.2f %8.2f %9.2f %8.2f %5.1f %%\n", pn_family_name[s->family], level,
               short_count(s->macs / p->count, macs), s->ms[0] / p->count,
               of_limit(s->limit[0], s->ms[0]), s->ms[1] / p->count,
               of_limit(s->limit[1], s->ms[1]), ops > 0 ? 100 * (s->ms[0] + s->ms[1]) / ops : 0);
    }
    printf("\nsum of ops %.2f ms, both passes %.2f ms: %.3f of them\n", ops / p->count,
           all / p->count, all > 0 ? ops / all : 0);
}

/* ---- CSV ------------------------------------------------------------------------------------- */

static void print_csv(const profiling *p) {
    const pn_space space = pn_space_darts();
    puts(
        "architecture,op,level,params,macs,arena_bytes_predicted,arena_bytes,launches_forward,"
        "launches_backward,forward_ms,forward_q1,forward_q3,backward_ms,backward_q1,backward_q3,"
        "forward_limit_ms,backward_limit_ms,genotype");
    for (int i = 0; i < p->count; i++) {
        const pn_profile *a = &p->profile[i];
        char genotype[PN_SHORT_BYTES];
        const pn_spread f = pn_spread_of(a->ms[0], o.rounds), b = pn_spread_of(a->ms[1], o.rounds);
        pn_genotype_short(&space, &a->arch, genotype);
        printf("%d,all,,%zu,%.0f,%zu,%zu,%d,%d,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%s\n", i,
               a->params, a->macs, a->predicted, a->measured, a->launches[0], a->launches[1],
               f.median, f.low, f.high, b.median, b.low, b.high, a->limit_ms[0], a->limit_ms[1],
               genotype);
        for (int r = 0; r < a->rows; r++) {
            const pn_profile_row *row = &a->row[r];
            const int timed = pn_profile_timed(o.rounds);
            const pn_spread rf = pn_spread_of(row->ms[0], timed),
                            rb = pn_spread_of(row->ms[1], timed);
            printf("%d,%s,%dx%d,%.0f,%.0f,,,%d,%d,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,\n", i,
                   pn_family_name[row->family], row->H, row->W, row->params, row->macs,
                   row->launches[0], row->launches[1], rf.median, rf.low, rf.high, rb.median,
                   rb.low, rb.high, row->limit_ms[0], row->limit_ms[1]);
        }
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static const char *const pass_name[PN_PASSES] = {"forward", "backward"};

static json_t *counters_of(const profiling *p, const pn_profile *a, int pass) {
    json_t *c = json_pack(
        "{s:I, s:I, s:f, s:I, s:I, s:i, s:f, s:f, s:f}", "params", (json_int_t)a->params,
        "params_auxiliary", (json_int_t)a->auxiliary, "macs", a->macs, "arena_bytes_predicted",
        (json_int_t)a->predicted, "arena_bytes", (json_int_t)a->measured, "launches",
        a->launches[pass], "limit_ms", a->limit_ms[pass], "of_limit",
        of_limit(a->limit_ms[pass], median(a->ms[pass], o.rounds)), "ops_ms", ops_ms(a, pass));
    if (!p->has_prior || !c) return c;
    if (!json_object_set_new(c, "log_p", pn_json_number(pn_prior_log_p(&p->prior, &a->arch))))
        return c;
    json_decref(c);
    return NULL;
}

static int add_architecture(const profiling *p, json_t *list, int i) {
    const pn_profile *a = &p->profile[i];
    char name[96], genotype[PN_GENOTYPE_BYTES];
    int failed = 0;
    pn_genotype_write(&a->arch, genotype);
    for (int pass = 0; pass < PN_PASSES && !failed; pass++) {
        snprintf(name, sizeof name, "profile/%d/%s", i, pass_name[pass]);
        failed |= pn_measured_add(list,
                                  &(pn_measured){.name = name,
                                                 .label = genotype,
                                                 .ms = a->ms[pass],
                                                 .cpu_ms = a->cpu_ms[pass],
                                                 .count = o.rounds,
                                                 .iterations = 1},
                                  counters_of(p, a, pass));
        for (int r = 0; r < a->rows && !failed; r++) {
            const pn_profile_row *row = &a->row[r];
            if (!row->launches[pass]) continue;
            snprintf(name, sizeof name, "profile/%d/%s/%s/%dx%d", i, pass_name[pass],
                     pn_family_name[row->family], row->H, row->W);
            failed |= pn_measured_add(
                list,
                &(pn_measured){.name = name,
                               .ms = row->ms[pass],
                               .cpu_ms = row->ms[pass],
                               .count = pn_profile_timed(o.rounds),
                               .iterations = 1,
                               .brief = true},
                json_pack("{s:f, s:f, s:f, s:f, s:f, s:i}", "params", row->params, "macs",
                          row->macs, "bytes", row->bytes[pass], "limit_ms", row->limit_ms[pass],
                          "of_limit", of_limit(row->limit_ms[pass], row_ms(row, pass)), "launches",
                          row->launches[pass]));
        }
    }
    return failed;
}

static pn_status json_text(const profiling *p, char **text) {
    const pn_network_spec *s = &p->settings.spec;
    json_t *context = pn_measured_context(&p->ceilings, &p->trust), *list = json_array(),
           *network = json_pack("{s:s, s:s, s:i, s:i, s:i, s:[iii], s:i, s:i}", "network",
                                o.network, "stem", o.stem, "layers", s->layers, "channels",
                                s->channels, "batch", p->settings.N, "image", s->H, s->W,
                                s->image_channels, "classes", s->classes, "rounds", o.rounds);
    int failed = json_object_update(context, network);
    for (int i = 0; i < p->count && !failed; i++) failed |= add_architecture(p, list, i);
    json_decref(network);
    json_t *root = json_object();
    failed |= json_object_set_new(root, "context", context);
    failed |= json_object_set_new(root, "benchmarks", list);
    return pn_json_file(root, failed, JSON_INDENT(1) | JSON_REAL_PRECISION(9), text);
}

/* ---- running --------------------------------------------------------------------------------- */

static pn_status progress(void *self, int done, int of) {
    char line[96];
    if (pn_stopped) return pn_fail(PN_EINTR, "stopped after %d of %d runs", done, of);
    if (o.quiet) return PN_OK;
    snprintf(line, sizeof line, "run %d of %d", done, of);
    pn_live_line(self, line);
    return PN_OK;
}

static pn_status check_bytes(const profiling *p) {
    for (int i = 0; i < p->count; i++)
        if (p->profile[i].predicted != p->profile[i].measured)
            return pn_fail(PN_ECHECK, "architecture %d: arena of %zu bytes predicted, %zu measured",
                           i, p->profile[i].predicted, p->profile[i].measured);
    return PN_OK;
}

static pn_status measure(profiling *p, pn_writer *out) {
    pn_limits_want(&p->ceilings, o.limits);
    pn_trust_begin(&p->trust);
    pn_stop_on_signals();
    pn_live live = pn_live_begin(STDERR_FILENO, false);
    const pn_status measured = pn_profile_run(p->kernels, &p->settings, p->profile, p->count,
                                              &p->ceilings, progress, &live, &p->wall, &p->cpu);
    pn_live_clear();
    PN_TRY(measured);
    pn_trust_judge(&p->trust, p->wall, p->cpu);
    if (o.csv) {
        print_csv(p);
    } else {
        print_head(p);
        print_architectures(p);
        print_ops(p);
    }
    if (fflush(stdout) || ferror(stdout)) return pn_fail(PN_EIO, "cannot write to stdout");
    pn_trust_say(stderr, &p->trust);
    if (!out) return PN_OK;
    char *text;
    PN_TRY(json_text(p, &text));
    const pn_status s = pn_writer_write(out, text, strlen(text));
    free(text);
    return s;
}

/* The file is begun first: after minutes is too late to say that it cannot be written. */
static pn_status profile(profiling *p, const char *const *words) {
    pn_writer *out = NULL;
    PN_TRY(gather(p, words));
    PN_TRY(resolve(p));
    PN_TRY(pn_device_open(&o.device, &p->kernels));
    if (o.output) PN_TRY(pn_writer_open(o.output, &out));
    const pn_status s = measure(p, out);
    if (s != PN_OK) pn_writer_discard(out);
    if (s == PN_OK && out) PN_TRY(pn_writer_commit(out));
    return s == PN_OK ? check_bytes(p) : s;
}

#define PN_OF options

static const pn_field rows[] = {
    PN_ROWS_EITHER_NETWORK,
    PN_INT("architectures", architectures, 1, 10000, NULL,
           "draws, or most probable cells of RUN [10]", .also = "n|samples|top"),
    PN_PATH("prior", prior, NULL, "RUN", NULL, "draw from the distribution of a run"),
    PN_INT("rounds", rounds, 1, PN_MOST_ROUNDS, NULL,
           "times that each architecture runs [9; 5 for more than 20 architectures]",
           .also = "repeat"),
    PN_ROW_AUXILIARY("1", "auxiliary head of an evaluation network, where it fits"),
    PN_ROW_BATCH(NULL, "images a batch [64; eval 96, imagenet 128; that of RUN]"),
    PN_ROW_IMAGE(NULL, "image size [32x32x3; imagenet 224x224x3; that of RUN]"),
    PN_ROW_CLASSES(NULL, "classes [10; imagenet 1000; those of RUN]"),
    PN_ROW_SHARE_SLOT(NULL),
    PN_ROW_SEED("seed of draws, weights and images"),
    PN_FLAG("csv", csv, NULL, "print CSV, with a row for each architecture, op and level"),
    PN_PATH("output", output, NULL, "FILE", NULL,
            "also write JSON in the shape of Google Benchmark's", .also = "o|out"),
    PN_FLAG("quiet", quiet, NULL, "no progress", .also = "q|silent"),
    PN_ROW_LIMITS,
    PN_ROWS_DEVICE,
};

static pn_status run(const char *const *words) {
    static profiling p; /* large */
    const pn_status s = profile(&p, words);
    if (p.profile) pn_profile_free(p.profile, p.count);
    free(p.profile);
    return s;
}

PN_COMMAND(profile, "measure what sampled, found or given cells cost here", .words = PN_MOST_WORDS,
           .notes = notes, .options = {PN_OPTIONS(rows, o)});
