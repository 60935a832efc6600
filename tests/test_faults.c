/* test_faults.c -- whatever call of the system fails, or is the last one: nothing is lost.
 *
 * A job is a command on a small scale, with what must lie there before. It is run once undisturbed,
 * then again and again, each time with another call struck by the preloaded library of
 * tests/faults: every allocation (there must be an exit code 4), every call on a file (6), every
 * start of a thread (4), each failing once and from there on; calls that are interrupted or do
 * half; and a SIGKILL before each call on a file. What is demanded of each run:
 *
 *   - exit code 0 and the same bits as undisturbed; or that code, and one sentence that advises
 *     nobody to delete a file; never a crash, never another code, never a hang;
 *   - the newest checkpoint that there was is still there, or a newer one;
 *   - the same command again, undisturbed, continues from the newest checkpoint there and ends
 *     with the same bits as if nothing had been.
 *
 * A run has up to 100,000 such calls, from some hundred places in the program (a place: a stack of
 * calls). Usually one call of each of a part of the places is struck; with PN_TEST_LONG=1 each.
 *
 *   PN_TEST_LONG=1      every call
 *   PN_TEST_BUDGET=N    at most about N runs for each job and kind of fault
 *   PN_TEST_ROTATE=N    other places and calls than usually
 *   PN_TEST_JOB=NAME    this job alone
 *   PN_TEST_WORKERS=N   so many at a time [2] */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "runtime/file.h"
#include "tests/faults/faults.h"
#include "tests/support/faulty.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { MOST_ARGUMENTS = 48, MOST_WORKERS = 16, MOST_SEEN = 1 << 16, LIMIT = 60 /* seconds */ };
enum { MEMORY = 4, IO = 6 };
enum { PATH_BYTES = 512, KEY_BYTES = 1536 };

static bool keep_it; /* for a person to look at */

/* ---- jobs ------------------------------------------------------------------------------------ */

typedef struct job {
    const char *name;
    const char *fixture[3];  /* copied into the folder in which it runs */
    const char *checkpoints; /* where they lie there, or NULL */
    const char *argv[MOST_ARGUMENTS];
} job;

#define CPU "--device", "cpu:base"
#define ONE CPU, "--threads", "1"
#define NETWORK "--layers", "1", "--channels", "4", "--batch", "4"
#define OFTEN "--save-every", "0", "--no-report" /* that has a job */
#define IMAGES "--data", "synthetic:40x8x8x3"
#define STEPS "--samples", "2", "--steps", "3", "--warmup", "1"
#define SEARCH NETWORK, STEPS, OFTEN
#define TRAIN                                                                                \
    "--genotype", "PDARTS", "--data", "synthetic:16x8x8x3", NETWORK, OFTEN, "--epochs", "2", \
        "--drop-path", "0.1"
#define OF_DATA NETWORK, "--samples", "2", "--steps", "1", "--warmup", "0", OFTEN, ONE

/* --quiet is last where there is progress: what comes again is run without. (Not so of compare,
 * whose page shows the words of the command line.) */
static const job jobs[] = {
    {"search", {NULL}, "run", {"search", "run", IMAGES, SEARCH, ONE, "--quiet"}},
    {"resume", {"halted"}, "halted", {"search", "halted", OFTEN, ONE, "--quiet"}},
    {"again", {"source"}, "source", {"search", "source", OFTEN, ONE, "--quiet"}},
    {"prior",
     {"source"},
     "run",
     {"search", "run", IMAGES, SEARCH, ONE, "--prior", "source", "--keep-weights", "--quiet"}},
    {"prior-resume",
     {"halted-prior"},
     "halted-prior",
     {"search", "halted-prior", OFTEN, ONE, "--quiet"}},
    {"truth",
     {NULL},
     "run",
     {"search", "run", IMAGES, SEARCH, ONE, "--truth", "nasbench301", "--quiet"}},
    {"train", {NULL}, "run/seed-1", {"train", "run", TRAIN, ONE, "--quiet"}},
    {"train-resume", {"half"}, "half/seed-1", {"train", "half", TRAIN, ONE, "--quiet"}},
    {"threads",
     {"halted"},
     "halted",
     {"search", "halted", OFTEN, CPU, "--threads", "2", "--quiet"}},
    {"export", {"trained"}, NULL, {"export", "trained/seed-1", "--safetensors", "out"}},
    {"export-onnx",
     {"trained"},
     NULL,
     {"export", "trained/seed-1", "--onnx", "out", "--raw", "--dot", "dot", "--svg", "svg"}},
    {"export-c", {"trained"}, NULL, {"export", "trained/seed-1", "--c", "out", "--apart"}},
    {"export-int8",
     {"trained"},
     NULL,
     {"export", "trained/seed-1", "--c", "out", "--int8", "--calibrate", "synthetic:16x8x8x3"}},
    {"export-tensorboard", {"source"}, NULL, {"export", "source", "--tensorboard", "out"}},
    {"eval", {"trained"}, NULL, {"eval", "trained/seed-1", "--data", "synthetic:16x8x8x3", ONE}},
    {"eval-json", {"trained"}, NULL, {"eval", "trained", "--json", ONE}}, /* data by run.json */
    {"predict", {"trained", "pictures"}, NULL, {"predict", "trained", "pictures", ONE}},
    {"predict-json",
     {"trained", "pictures"},
     NULL,
     {"predict", "trained", "pictures/a.png", "--top", "3", "--json", ONE}},
    {"data-info", {"photos"}, NULL, {"data", "info", "photos@8", "--json"}},
    {"data-check", {"photos"}, NULL, {"data", "check", "photos", "--json"}},
    {"data-pack", {"photos"}, NULL, {"data", "pack", "photos@8", "--out", "set.safetensors"}},
    {"data-records",
     {"rows"},
     NULL,
     {"data", "records", "rows/wide.png", "--labels", "rows/labels.json", "--out", "out"}},
    {"packed",
     {"packed"},
     "run",
     {"search", "run", "--data", "packed/set.safetensors", OF_DATA, "--quiet"}},
    {"eval-logits",
     {"trained"},
     NULL,
     {"eval", "trained/seed-1", "--data", "synthetic:16x8x8x3", "--logits", "out.npy", ONE}},
    {"eval-folder", {"trained-photos", "photos"}, NULL, {"eval", "trained-photos", ONE}},
    {"compare",
     {"source"},
     NULL,
     {"compare", "source", "PDARTS", "--random", "1", "--steps", "2", "--json", "--quiet", ONE}},
    {"watch", {"source"}, NULL, {"watch", "source"}},
    {"watch-json", {"trained"}, NULL, {"watch", "trained", "--json"}},
    {"profile",
     {"source"},
     NULL,
     {"profile", "source", "-n", "2", "--rounds", "1", "-o", "out", "--csv", "--no-limits", ONE}},
    {"bench",
     {NULL},
     NULL,
     {"bench", "--op", "pool", "--channels", "4", "--size", "8", "--batch", "1", "-r", "1", "-o",
      "json", "--no-limits", ONE}},
    {"sample", {"source"}, NULL, {"sample", "source", "--count", "3"}},
    {"sample-truth", {"table"}, NULL, {"sample", "--truth", "table/cells.csv"}},
    {"sample-json", {"source"}, NULL, {"sample", "source", "--top", "3", "--json"}},
    {"report", {"source"}, NULL, {"report", "source", "--quiet", "-o", "out.html"}},
    {"report-train", {"trained"}, NULL, {"report", "trained", "--quiet", "-o", "out.html"}},
    {"idx", {"idx-data"}, "run", {"search", "run", "--data", "idx-data", OF_DATA, "--quiet"}},
    {"gz", {"gz-data"}, "run", {"search", "run", "--data", "gz-data", OF_DATA, "--quiet"}},
    {"cifar", {"cifar-data"}, "run", {"search", "run", "--data", "cifar-data", OF_DATA, "--quiet"}},
};
enum { JOBS = sizeof jobs / sizeof *jobs };

/* What an undisturbed run leaves. */
static struct undisturbed {
    char *text, *out;
    int64_t checkpoint; /* the newest that there is before, or -1 */
    int64_t last;       /* the newest afterwards */
} undisturbed[JOBS];

/* Whether a job prints and writes times, which are never the same. */
static bool measures(const job *j) {
    return !strcmp(j->name, "profile") || !strcmp(j->name, "bench");
}

/* Whether a job says something on stderr: what it has written, what it thinks of its data, that the
 * machine is busy. */
static bool says(const job *j) {
    return !strncmp(j->name, "export", 6) || !strncmp(j->name, "data-", 5) ||
           !strcmp(j->name, "eval-folder") || !strcmp(j->name, "packed") || measures(j);
}

/* All files but what differs anyway. */
static char *folder_text(const job *j, const char *where) {
    return measures(j) ? pn_folder_text(where, "out") : pn_run_text(where);
}

/* A fresh folder for a job, with its fixtures. */
static void prepare(const job *j, const char *where) {
    pn_folder_remove(where);
    assert_int_equal(mkdir(where, 0777), 0);
    for (int i = 0; i < 3 && j->fixture[i]; i++) {
        char to[2 * PATH_BYTES];
        snprintf(to, sizeof to, "%s/%s", where, j->fixture[i]);
        pn_folder_copy(pn_in_folder(j->fixture[i]), to);
    }
}

static void run(const job *j, const char *where, const pn_faulty *how, bool quiet, pn_process *p) {
    const char *argv[MOST_ARGUMENTS + 1] = {PN_PROGRAM};
    int n = 0;
    for (; j->argv[n]; n++) argv[n + 1] = j->argv[n];
    if (!quiet && !strcmp(argv[n], "--quiet")) argv[n] = NULL;
    const pn_conditions conditions = {.folder = where};
    pn_faulty_run(p, argv, &conditions, LIMIT, how);
}

static int64_t newest(const job *j, const char *where) {
    char path[2 * PATH_BYTES];
    if (!j->checkpoints) return -1;
    snprintf(path, sizeof path, "%s/%s", where, j->checkpoints);
    return pn_newest_checkpoint(path);
}

/* ---- what lies there before ------------------------------------------------------------------ */

static void must_work(const char *const *argv) {
    const pn_conditions where = {.folder = pn_folder};
    pn_process p;
    pn_process_run(&p, argv, &where, LIMIT);
    if (p.code) fail_msg("%s: exit code %d, signal %d: %s", argv[1], p.code, p.signal, p.err);
    pn_process_free(&p);
}

static void put(const char *name, const void *bytes, size_t size, bool packed) {
    gzFile file = gzopen(pn_in_folder(name), packed ? "wb" : "wbT");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)size), size);
    assert_int_equal(gzclose(file), Z_OK);
}

/* 40 images of 8 x 8, as in Fashion-MNIST, and their labels. */
static void put_idx(const char *directory, const char *prefix, bool packed) {
    enum { COUNT = 40, EDGE = 8 };
    static unsigned char images[16 + COUNT * EDGE * EDGE] = {0, 0, 8, 3,    0, 0, 0, COUNT,
                                                             0, 0, 0, EDGE, 0, 0, 0, EDGE};
    unsigned char labels[8 + COUNT] = {0, 0, 8, 1, 0, 0, 0, COUNT};
    char name[128];
    for (int i = 0; i < COUNT * EDGE * EDGE; i++) images[16 + i] = (unsigned char)(7 * i + i / 64);
    for (int i = 0; i < COUNT; i++) labels[8 + i] = (unsigned char)(i % 10);
    snprintf(name, sizeof name, "%s/%s-images-idx3-ubyte%s", directory, prefix,
             packed ? ".gz" : "");
    put(name, images, sizeof images, packed);
    snprintf(name, sizeof name, "%s/%s-labels-idx1-ubyte%s", directory, prefix,
             packed ? ".gz" : "");
    put(name, labels, sizeof labels, packed);
}

static void make_data(void) {
    enum { RECORD = 3073, COUNT = 4 };
    static unsigned char records[COUNT * RECORD];
    char name[64];
    static const char *const folders[] = {"idx-data", "gz-data", "cifar-data"};
    for (int i = 0; i < 3; i++) assert_int_equal(mkdir(pn_in_folder(folders[i]), 0777), 0);
    for (int packed = 0; packed < 2; packed++) {
        put_idx(folders[packed], "train", packed);
        put_idx(folders[packed], "t10k", packed);
    }
    for (int i = 0; i < COUNT * RECORD; i++)
        records[i] = (unsigned char)(i % RECORD ? 3 * i : i % 10);
    for (int i = 1; i <= 5; i++) {
        snprintf(name, sizeof name, "cifar-data/data_batch_%d.bin", i);
        put(name, records, sizeof records, false);
    }
    put("cifar-data/test_batch.bin", records, sizeof records, false);
}

/* PNG, two pixels. */
static void make_pictures(void) {
    static const unsigned char picture[] =
        "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x02\0\0\0\x01\x08\x02\0\0\0\x7b\x40\xe8\xdd"
        "\0\0\0\x0dIDAT\x78\x9c\x63\xf8\xcf\0\x04\xff\x01\x07\0\x01\xff\xe2\x23\x9e\x59"
        "\0\0\0\0IEND\xae\x42\x60\x82";
    assert_int_equal(mkdir(pn_in_folder("pictures"), 0777), 0);
    put("pictures/a.png", picture, sizeof picture - 1, false);
    put("pictures/b.png", picture, sizeof picture - 1, false);
}

static unsigned char *put_chunk(unsigned char *to, const char *name, const void *data,
                                size_t size) {
    const unsigned char length[4] = {(unsigned char)(size >> 24), (unsigned char)(size >> 16),
                                     (unsigned char)(size >> 8), (unsigned char)size};
    memcpy(to, length, 4);
    memcpy(to + 4, name, 4);
    memcpy(to + 8, data, size);
    const uLong crc = crc32_z(crc32_z(0, NULL, 0), to + 4, size + 4);
    for (int i = 0; i < 4; i++) to[size + 8 + (size_t)i] = (unsigned char)(crc >> (24 - 8 * i));
    return to + size + 12;
}

/* PNG, a row of `width` pixels in colour, which `seed` chooses. */
static void put_picture(const char *name, int width, int seed) {
    unsigned char row[1 + 3 * 1024] = {0}, packed[4096], file[8192] = "\x89PNG\r\n\x1a\n", *at;
    const unsigned char header[13] = {
        0, 0, (unsigned char)(width >> 8), (unsigned char)width, 0, 0, 0, 1, 8, 2};
    uLongf size = sizeof packed;
    for (int i = 1; i <= 3 * width; i++) row[i] = (unsigned char)(i * seed);
    assert_int_equal(compress(packed, &size, row, (uLong)(1 + 3 * width)), Z_OK);
    at = put_chunk(file + 8, "IHDR", header, sizeof header);
    at = put_chunk(at, "IDAT", packed, size);
    at = put_chunk(at, "IEND", "", 0);
    put(name, file, (size_t)(at - file), false);
}

/* Two classes of 12 pictures, and as one file; and one whose row is an image. */
static void make_photos(void) {
    static const char *const pack[] = {
        PN_PROGRAM, "data", "pack", "photos@8", "--out", "packed/set.safetensors", NULL};
    static const char *const trained[] = {
        PN_PROGRAM, "train",  "trained-photos", "--genotype", "PDARTS",  NETWORK, "--epochs",
        "1",        "--data", "photos@8",       ONE,          "--quiet", NULL};
    static const char *const folders[] = {"photos", "photos/a", "photos/b", "packed", "rows"};
    char name[64];
    for (int i = 0; i < 5; i++) assert_int_equal(mkdir(pn_in_folder(folders[i]), 0777), 0);
    for (int i = 0; i < 24; i++) {
        snprintf(name, sizeof name, "photos/%c/%d.png", i % 2 ? 'b' : 'a', i);
        put_picture(name, 1 + i % 3, 7 + i);
    }
    put_picture("rows/wide.png", 1024, 3);
    put("rows/labels.json", "[7]", 3, false);
    must_work(pack);
    must_work(trained);
}

/* A table of known cells as a file. */
static void make_table(void) {
    void *text;
    size_t size;
    assert_int_equal(mkdir(pn_in_folder("table"), 0777), 0);
    assert_int_equal(pn_file_read("../truth/nasbench301.csv", 1 << 20, &text, &size), PN_OK);
    assert_int_equal(pn_file_write(pn_in_folder("table/cells.csv"), text, size), PN_OK);
    free(text);
}

static bool wanted(int j) {
    const char *only = getenv("PN_TEST_JOB");
    return !only || !*only || !strcmp(only, jobs[j].name);
}

static int begin(void **state) {
    if (!pn_faulty_possible()) return 0;
    pn_folder_begin(state);
    setenv("OMP_NUM_THREADS", "1", 1); /* of those without --threads: calls in the same order */
    static const char *const source[] = {PN_PROGRAM, "search", "source",  IMAGES,
                                         SEARCH,     ONE,      "--quiet", NULL};
    static const char *const halted[] = {PN_PROGRAM, "search", "halted",  IMAGES,
                                         SEARCH,     ONE,      "--quiet", NULL};
    static const char *const prior[] = {
        PN_PROGRAM, "search", "halted-prior",   IMAGES,    SEARCH, ONE,
        "--prior",  "source", "--keep-weights", "--quiet", NULL};
    static const char *const trained[] = {PN_PROGRAM, "train",   "trained", TRAIN,
                                          ONE,        "--quiet", NULL};
    static const char *const half[] = {PN_PROGRAM, "train", "half", TRAIN, ONE, "--quiet", NULL};
    const pn_faulty nothing = {0};
    must_work(source);
    must_work(trained);
    pn_faulty_halt(halted, pn_folder, "halted", "halted");
    pn_faulty_halt(prior, pn_folder, "halted-prior", "halted-prior");
    pn_faulty_halt(half, pn_folder, "half", "half/seed-1");
    make_data();
    make_pictures();
    make_photos();
    make_table();
    for (int i = 0; i < JOBS; i++) {
        pn_process p;
        struct undisturbed *u = &undisturbed[i];
        if (!wanted(i)) continue;
        prepare(&jobs[i], pn_in_folder("undisturbed"));
        u->checkpoint = newest(&jobs[i], pn_in_folder("undisturbed"));
        run(&jobs[i], pn_in_folder("undisturbed"), &nothing, true, &p);
        if (p.code || (*p.err && !says(&jobs[i])))
            fail_msg("%s: exit code %d: %s", jobs[i].name, p.code, p.err);
        u->last = newest(&jobs[i], pn_in_folder("undisturbed"));
        u->text = folder_text(&jobs[i], pn_in_folder("undisturbed"));
        u->out = p.out;
        p.out = NULL;
        pn_process_free(&p);
    }
    pn_folder_remove(pn_in_folder("undisturbed"));
    return 0;
}

static int end(void **state) {
    if (!pn_folder) return 0;
    if (keep_it)
        print_message("the folder of these runs stays: %s\n", pn_folder);
    else
        pn_folder_end(state);
    for (int i = 0; i < JOBS; i++) {
        free(undisturbed[i].text);
        free(undisturbed[i].out);
    }
    return 0;
}

/* ---- one run with a fault -------------------------------------------------------------------- */

enum mode { ONCE, ON, KILL };
static const char *const mode_name[] = {"once", "on", "kill"};

/* What fails, as PN_FAULT says it, and the exit code that there may be. */
typedef struct kind {
    const char *what, *error; /* error may be NULL */
    int code;                 /* 0: it must go on */
} kind;

/* Why a run is not as demanded; empty: it is. */
typedef struct verdict {
    char why[KEY_BYTES];
} verdict;

#define SAY(v, ...) ((void)snprintf((v)->why, sizeof(v)->why, __VA_ARGS__))

/* A line of text, for a report of one line. */
static const char *one_line(const char *text) {
    static char line[400];
    snprintf(line, sizeof line, "%s", text);
    for (char *at = line; *at; at++)
        if (*at == '\n') *at = '|';
    return line;
}

static const char *last_line(const char *text) {
    const char *line = text;
    for (const char *at = text; *at; at++)
        if (*at == '\n' && at[1]) line = at + 1;
    return line;
}

/* A warning about events.jsonl or times.csv (search/rundir/journal.h). */
static bool goes_on_without(const char *text) {
    static const char what[] = "; the run goes on and writes no more of it\n";
    const char *end = strstr(text, what);
    return !strncmp(text, "warning: ", 9) && end && end + strlen(what) - 1 == strchr(text, '\n');
}

/* libgomp, which ends the program where it cannot compute in parallel, says so before we do;
 * predict names every picture that it cannot read, and a run what it goes on without. */
static bool one_sentence(const char *text) {
    static const char named[] = "parsec-nas predict: pictures";
    const char *end = strchr(text, '\n');
    for (bool before = true; before; end = strchr(text, '\n')) {
        if (end == text && !strncmp(text, "\nlibgomp: ", 10)) end = strchr(++text, '\n');
        before = end && end[1] &&
                 (!strncmp(text, "libgomp: ", 9) || !strncmp(text, named, strlen(named)) ||
                  goes_on_without(text));
        if (before) text = end + 1;
    }
    return !strncmp(text, "parsec-nas", 10) && end && !end[1];
}

/* The names of what differs. */
static const char *difference(const char *have, const char *want) {
    static char names[400];
    size_t at = 0;
    *names = 0;
    for (int side = 0; side < 2; side++)
        for (const char *line = side ? want : have; *line; line = strchr(line, '\n') + 1) {
            char text[400];
            snprintf(text, sizeof text, "%.*s\n", (int)strcspn(line, "\n"), line);
            const char *found = strstr(side ? have : want, text);
            if (found && (found == (side ? have : want) || found[-1] == '\n')) continue;
            if (at < sizeof names)
                at += (size_t)snprintf(names + at, sizeof names - at, " %c%.*s", side ? '-' : '+',
                                       (int)strcspn(text, " "), text);
        }
    return names;
}

/* Whether nothing but old checkpoints and unfinished files is there beyond what is wanted. */
static bool only_leftovers(const char *have, const char *want) {
    char names[400];
    bool only = true;
    snprintf(names, sizeof names, "%s", difference(have, want));
    for (char *rest = names, *name; only && (name = strtok_r(rest, " ", &rest));)
        only = *name == '+' && (strstr(name, "checkpoint-") || strstr(name, ".tmp"));
    return only;
}

/* The same command again must end as if nothing had been. */
static void check_again(const job *j, const char *where, verdict *v) {
    const struct undisturbed *u = &undisturbed[j - jobs];
    const int64_t before = newest(j, where);
    const pn_faulty nothing = {0};
    pn_process p;
    if (before < u->checkpoint) {
        SAY(v, "lost: checkpoint %" PRId64 " was there, now %" PRId64 " is the newest",
            u->checkpoint, before);
        return;
    }
    run(j, where, &nothing, false, &p);
    char *text = folder_text(j, where);
    if (p.late || p.code)
        SAY(v, "then, undisturbed: exit %d, signal %d: %s", p.code, p.signal, one_line(p.err));
    else if (strcmp(text, u->text) != 0)
        SAY(v, "then, undisturbed: other files:%s", difference(text, u->text));
    else if (!measures(j) && strcmp(p.out, u->out) != 0)
        SAY(v, "then, undisturbed: other stdout: %s", one_line(p.out));
    else if (before >= 0 && pn_continued_from(p.err, u->last) < before)
        SAY(v, "then, undisturbed: from step %" PRId64 ", checkpoint %" PRId64 " was there",
            pn_continued_from(p.err, u->last), before);
    free(text);
    pn_process_free(&p);
}

static void check(const job *j, const char *where, const kind *k, enum mode mode,
                  const pn_process *p, verdict *v) {
    const struct undisturbed *u = &undisturbed[j - jobs];
    char *text = folder_text(j, where);
    const bool same = !strcmp(text, u->text), interrupted = k->error && !strcmp(k->error, "EINTR");
    bool again = true;
    v->why[0] = 0;
    if (p->late)
        SAY(v, "hangs");
    else if (mode == KILL && p->signal != SIGKILL)
        SAY(v, "not killed: exit %d, signal %d", p->code, p->signal);
    else if (mode != KILL && p->signal)
        SAY(v, "crash: signal %d", p->signal);
    else if (p->code == 0 && !same && !only_leftovers(text, u->text))
        SAY(v, "exit 0, other files:%s", difference(text, u->text));
    else if (p->code == 0 && !measures(j) && strcmp(p->out, u->out) != 0)
        SAY(v, "exit 0, other stdout: %s", one_line(p->out));
    else if (p->code == 0)
        again = !same;
    else if (mode != KILL && p->code != k->code && !(interrupted && p->code == IO))
        SAY(v, "exit %d, want %d: %s", p->code, k->code, one_line(p->err));
    else if (mode != KILL && !one_sentence(says(j) ? last_line(p->err) : p->err))
        SAY(v, "exit %d, not one sentence: %s", p->code, one_line(p->err));
    else if (strstr(p->err, "without this file") || strstr(p->err, "delete"))
        SAY(v, "advises to delete: %s", one_line(p->err));
    free(text);
    if (again) {
        verdict more = {""};
        check_again(j, where, &more);
        const size_t at = strlen(v->why);
        if (*more.why)
            snprintf(v->why + at, sizeof v->why - at, "%s%.600s", at ? "; " : "", more.why);
    }
}

/* ---- many of them ---------------------------------------------------------------------------- */

typedef struct blow {
    int number;
    enum mode mode;
} blow;

typedef struct plan {
    blow *list;
    int count, room;
} plan;

static void add(plan *p, int number, enum mode mode) {
    if (p->count == p->room) {
        p->room = p->room ? 2 * p->room : 256;
        p->list = realloc(p->list, (size_t)p->room * sizeof *p->list);
        assert_non_null(p->list);
    }
    p->list[p->count++] = (blow){number, mode};
}

/* Places that a job before has been struck at, by the same kind of fault. */
static uint64_t seen[MOST_SEEN];
static int seen_count;

static bool see(uint64_t place) {
    for (int i = 0; i < seen_count; i++)
        if (seen[i] == place) return true;
    if (seen_count < MOST_SEEN) seen[seen_count++] = place;
    return false;
}

/* The first, the middle or the last call of a place. */
static int call_of(const pn_sites *s, int place, int which) {
    int n = 0, count = 0;
    for (int i = 0; i < s->calls; i++) count += s->place[i] == place;
    const int want = which == 0 ? 0 : which == 1 ? count / 2 : count - 1;
    for (int i = 0; i < s->calls; i++)
        if (s->place[i] == place && n++ == want) return i + 1;
    return 1;
}

/* New places first; of those that another job had, one in eight. */
static void choose(const pn_sites *s, const char *salt, enum mode first, enum mode last, int budget,
                   plan *p) {
    const int rotate = (int)pn_setting("PN_TEST_ROTATE", 0);
    if (pn_setting("PN_TEST_LONG", 0)) {
        for (int i = 1; i <= s->calls; i++)
            for (enum mode m = first; m <= last; m++) add(p, i, m);
        return;
    }
    int *kept = malloc((size_t)(s->places + 1) * sizeof *kept), count = 0;
    assert_non_null(kept);
    const uint64_t salted = crc32_z(0, (const void *)salt, strlen(salt));
    for (int i = 0; i < s->places; i++)
        if (!see(s->hash[i] ^ salted) || (i + rotate) % 8 == 0) kept[count++] = i;
    const int steps = count < budget ? count : budget;
    for (int i = 0; i < steps; i++) {
        const int at = (int)((int64_t)i * count / steps + rotate) % count, turn = i + rotate;
        const enum mode m = turn % 2 ? last : first;
        add(p, call_of(s, kept[at], turn / 2 % 3), m);
    }
    free(kept);
}

/* A worker's share. What is wrong goes into its file, a line each: what is the same of all that
 * have one cause, a tab, how to see it again. */
static void work(const job *j, const kind *k, const plan *p, int worker, int workers) {
    char where[PATH_BYTES], log[PATH_BYTES + 8], name[64], fault[128], call[32], place[1024];
    snprintf(name, sizeof name, "worker-%d", worker);
    snprintf(where, sizeof where, "%s", pn_in_folder(name));
    snprintf(log, sizeof log, "%s.log", where);
    snprintf(name, sizeof name, "wrong-%d", worker);
    FILE *wrong = fopen(pn_in_folder(name), "w");
    if (!wrong) _exit(1);
    for (int i = worker; i < p->count; i += workers) {
        verdict v;
        pn_process process;
        snprintf(fault, sizeof fault, "%s:%d:%s%s%s", k->what, p->list[i].number,
                 mode_name[p->list[i].mode], k->error ? ":" : "", k->error ? k->error : "");
        prepare(j, where);
        run(j, where, &(pn_faulty){.fault = fault, .log = log}, true, &process);
        check(j, where, k, p->list[i].mode, &process, &v);
        pn_process_free(&process);
        pn_faulty_struck(log, call, place);
        if (!*call) SAY(&v, "nothing was struck");
        if (*v.why) fprintf(wrong, "%s: %s [%.200s]\t%s\n", call, v.why, place, fault);
    }
    _exit(fclose(wrong) != 0);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Prints what is wrong, each cause once. How many runs were wrong. */
static int report(const job *j, int workers) {
    char line[3 * KEY_BYTES], text[512], name[64], **all = NULL;
    int count = 0;
    for (int w = 0; w < workers; w++) {
        snprintf(name, sizeof name, "wrong-%d", w);
        FILE *wrong = fopen(pn_in_folder(name), "r");
        assert_non_null(wrong);
        while (fgets(line, sizeof line, wrong)) {
            all = realloc(all, (size_t)(count + 1) * sizeof *all);
            assert_non_null(all);
            assert_non_null(all[count++] = strdup(line));
        }
        fclose(wrong);
    }
    if (count) qsort(all, (size_t)count, sizeof *all, by_text);
    for (int i = 0; i < count;) {
        int alike = 1;
        const size_t key = strcspn(all[i], "\t");
        while (i + alike < count && !strncmp(all[i], all[i + alike], key + 1)) alike++;
        all[i][key] = 0;
        char *place = strrchr(all[i], '[');
        if (place) {
            *place++ = 0;
            place[strcspn(place, "]")] = 0;
            pn_faulty_place(PN_PROGRAM, place, text, sizeof text);
        }
        print_error("%s: %s\n    at %s\n    %d times, as PN_FAULT=%s", j->name, all[i],
                    place ? text : "?", alike, all[i] + key + 1);
        i += alike;
    }
    for (int i = 0; i < count; i++) free(all[i]);
    free(all);
    return count;
}

static void print_command(const job *j) {
    print_error("to see one again, in the folder of these runs:\n    mkdir x && cp -r");
    for (int i = 0; i < 3 && j->fixture[i]; i++) print_error(" %s", j->fixture[i]);
    print_error(
        " x; cd x; OMP_WAIT_POLICY=passive LD_PRELOAD=libpn_faults.so PN_FAULT=... parsec-nas");
    for (int i = 0; j->argv[i]; i++) print_error(" %s", j->argv[i]);
    print_error("\n");
}

/* One job under one kind of fault; how many runs were wrong. */
static int sweep(const job *j, const kind *k, bool kill_only, int budget) {
    const int workers = (int)pn_setting("PN_TEST_WORKERS", 2);
    char fault[64], list[PATH_BYTES], salt[64];
    pn_process process;
    pn_sites sites;
    plan p = {0};
    assert_true(workers >= 1 && workers <= MOST_WORKERS);
    snprintf(fault, sizeof fault, "%s:0:once%s%s", k->what, k->error ? ":" : "",
             k->error ? k->error : "");
    snprintf(list, sizeof list, "%s", pn_in_folder("list"));
    snprintf(salt, sizeof salt, "%s%d", k->error ? k->error : "", kill_only);
    prepare(j, pn_in_folder("listed"));
    run(j, pn_in_folder("listed"), &(pn_faulty){.fault = fault, .list = list}, true, &process);
    if (process.code) fail_msg("%s: exit code %d: %s", j->name, process.code, process.err);
    pn_process_free(&process);
    pn_folder_remove(pn_in_folder("listed"));
    pn_sites_read(list, &sites);
    /* A call that is interrupted for ever is repeated for ever. */
    const bool interrupted = k->error && !strcmp(k->error, "EINTR");
    choose(&sites, salt, kill_only ? KILL : ONCE,
           kill_only     ? KILL
           : interrupted ? ONCE
                         : ON,
           (int)pn_setting("PN_TEST_BUDGET", budget), &p);

    const double start = pn_clock();
    for (int w = 0; w < workers; w++) {
        fflush(NULL);
        const pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) work(j, k, &p, w, workers);
    }
    for (int w = 0; w < workers; w++) {
        int status;
        while (wait(&status) < 0 && errno == EINTR) continue;
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    const int wrong = report(j, workers);
    print_message("%-12s %s%s%s%s: %d calls from %d places, %d struck, %d wrong, %.1f s\n", j->name,
                  k->what, k->error ? " " : "", k->error ? k->error : "", kill_only ? " kill" : "",
                  sites.calls, sites.places, p.count, wrong, pn_clock() - start);
    if (wrong) print_command(j);
    pn_sites_free(&sites);
    free(p.list);
    return wrong;
}

static void sweep_all(const kind *k, bool kill_only, const char *const *names, int budget) {
    int wrong = 0;
    if (!pn_folder) skip();
    for (int i = 0; i < JOBS; i++) {
        bool named = !names;
        for (int n = 0; names && names[n]; n++) named |= !strcmp(jobs[i].name, names[n]);
        if (named && wanted(i)) wrong += sweep(&jobs[i], k, kill_only, budget);
    }
    keep_it |= wrong > 0;
    if (wrong) fail_msg("%d runs were not as demanded", wrong);
}

/* A tool that does not see finds nothing: each call that the library replaces is struck in a
 * program that makes each once. */
static void the_library_strikes_each_call(void **state) {
    (void)state;
    static const char *const names[] = {
#define NAME(name, class, error, ends) #name,
        PN_CALLS(NAME)
#undef NAME
    };
#ifdef PN_PROBE
    const char *const argv[] = {PN_PROBE, NULL};
    for (int i = -1; i < PN_CALL_COUNT; i++) {
        char fault[64], want[64];
        pn_process p;
        pn_folder_remove(pn_in_folder("probe"));
        assert_int_equal(mkdir(pn_in_folder("probe"), 0777), 0);
        const pn_conditions where = {.folder = pn_in_folder("probe")};
        snprintf(fault, sizeof fault, "%s:1:once:ESTALE", i < 0 ? "" : names[i]);
        snprintf(want, sizeof want, "%s 116\n", i < 0 ? "" : names[i]);
        pn_faulty_run(&p, argv, &where, LIMIT, &(pn_faulty){.fault = i < 0 ? NULL : fault});
        if (p.code || strcmp(p.err, i < 0 ? "" : want) != 0)
            fail_msg("%s: code %d, signal %d, it said: %s", fault, p.code, p.signal, p.err);
        pn_process_free(&p);
    }
#else
    (void)names;
    skip();
#endif
}

static void any_allocation_fails(void **state) {
    (void)state;
    sweep_all(&(kind){"memory", NULL, MEMORY}, false, NULL, 20);
}

static void any_call_on_a_file_fails(void **state) {
    (void)state;
    sweep_all(&(kind){"files", NULL, IO}, false, NULL, 16);
}

static void any_thread_cannot_be_started(void **state) {
    (void)state;
    static const char *const names[] = {"resume", "threads", "train", NULL};
    sweep_all(&(kind){"threads", NULL, MEMORY}, false, names, 10);
}

static const char *const some[] = {"search",  "resume", "train", "export",    "eval-json",
                                   "predict", "gz",     "cifar", "data-pack", NULL};

static void any_call_on_a_file_is_interrupted(void **state) {
    (void)state;
    sweep_all(&(kind){"files", "EINTR", 0}, false, some, 8);
}

static void any_read_or_write_is_short(void **state) {
    (void)state;
    sweep_all(&(kind){"files", "short", 0}, false, some, 8);
}

static void killed_before_any_call_on_a_file(void **state) {
    (void)state;
    static const char *const names[] = {"search", "resume",       "truth", "prior",
                                        "train",  "train-resume", NULL};
    sweep_all(&(kind){"files", NULL, IO}, true, names, 15);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_library_strikes_each_call),
        cmocka_unit_test(any_allocation_fails),
        cmocka_unit_test(any_call_on_a_file_fails),
        cmocka_unit_test(any_thread_cannot_be_started),
        cmocka_unit_test(any_call_on_a_file_is_interrupted),
        cmocka_unit_test(any_read_or_write_is_short),
        cmocka_unit_test(killed_before_any_call_on_a_file),
    };
    return cmocka_run_group_tests_name("faults", tests, begin, end);
}
