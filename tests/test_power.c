/* test_power.c -- the power fails: whatever the disk then holds, nothing that was saved is lost.
 *
 * Runs are recorded by the library of tests/faults: each write, sync, rename and so on. From the
 * record we rebuild what a disk may hold after a power cut, by POSIX's letter: of a file, what was
 * written before its last fsync, and of what came later any part (all, nothing, up to a sector's
 * end, up to any byte, zeros instead); of a directory, the names it had at its last fsync, and of
 * what became of names later any part, each name on its own. So a renamed file may be empty, a
 * removal may outlive the rename before it, and a directory that is new is gone with all in it
 * until its parent is synced.
 *
 * On each such state the same command must run to its end, with the same bits as if nothing had
 * been, and from no step before the newest checkpoint that was durable at the cut: one of which
 * the program had synced file and directory.
 *
 *   PN_TEST_LONG=1      1,000 states, not 60
 *   PN_TEST_STATES=N    so many
 *   PN_TEST_ROTATE=N    others than usually */
#include <dirent.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/file.h"
#include "tests/faults/record.h"
#include "tests/support/faulty.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { LIMIT = 60, MOST_OBJECTS = 512, MOST_NAMES = 512, PATH_BYTES = 1024, SECTOR = 512 };

static bool keep_it; /* for a person to look at */

/* ---- what a run did -------------------------------------------------------------------------- */

/* A file or a directory, whatever its name is at the time. */
typedef struct thing {
    uint64_t inode;
    bool folder, gone; /* gone: its inode may be another's now */
    void *data;        /* of a file, before the run */
    size_t size;
} thing;

typedef struct entry {
    int folder, object; /* indices of objects */
    char name[256];
} entry;

typedef struct change {
    pn_record about;
    const char *name, *other_name;
    const unsigned char *data;
    int object, folder, other; /* as in pn_record, but indices; -1: none */
} change;

typedef struct history {
    uint64_t device;
    thing object[MOST_OBJECTS];
    int objects;
    entry before[MOST_NAMES]; /* names before the run; object 0 is the folder of the run */
    int names;
    change *change;
    int changes;
    void *bytes; /* of the record */
} history;

static int add_object(history *h, uint64_t inode, bool is_folder) {
    assert_true(h->objects < MOST_OBJECTS);
    h->object[h->objects] = (thing){.inode = inode, .folder = is_folder};
    return h->objects++;
}

static int find_object(const history *h, uint64_t inode) {
    for (int i = h->objects - 1; i >= 0; i--)
        if (h->object[i].inode == inode && !h->object[i].gone) return i;
    return -1;
}

/* What is there before a run. */
static void look(history *h, const char *path) {
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    const int here = add_object(h, about.st_ino, true);
    h->device = about.st_dev;
    DIR *list = opendir(path);
    assert_non_null(list);
    for (struct dirent *e; (e = readdir(list));) {
        char inside[PATH_BYTES];
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        snprintf(inside, sizeof inside, "%s/%s", path, e->d_name);
        assert_int_equal(stat(inside, &about), 0);
        const bool is_folder = S_ISDIR(about.st_mode);
        assert_true(h->names < MOST_NAMES);
        entry *name = &h->before[h->names++];
        name->folder = here;
        name->object = h->objects;
        snprintf(name->name, sizeof name->name, "%s", e->d_name);
        if (is_folder) {
            look(h, inside);
        } else {
            const int o = add_object(h, about.st_ino, false);
            assert_int_equal(pn_file_read(inside, 1 << 30, &h->object[o].data, &h->object[o].size),
                             PN_OK);
        }
    }
    closedir(list);
}

/* Names as they are after some changes. */
typedef struct names {
    entry list[MOST_NAMES];
    int count;
} names;

static int find_name(const names *n, int in, const char *name) {
    for (int i = 0; i < n->count; i++)
        if (n->list[i].folder == in && name && !strcmp(n->list[i].name, name)) return i;
    return -1;
}

static void set_name(names *n, int in, const char *name, int to) {
    int i = find_name(n, in, name);
    if (i < 0) {
        assert_true(n->count < MOST_NAMES);
        i = n->count++;
        n->list[i].folder = in;
        snprintf(n->list[i].name, sizeof n->list[i].name, "%s", name);
    }
    n->list[i].object = to;
}

static void drop_name(names *n, int in, const char *name) {
    const int i = find_name(n, in, name);
    if (i >= 0) n->list[i] = n->list[--n->count];
}

static void apply_name(names *n, const change *c) {
    switch (c->about.kind) {
        case PN_DID_CREATE:
        case PN_DID_MKDIR:
            set_name(n, c->folder, c->name, c->object);
            break;
        case PN_DID_UNLINK:
            drop_name(n, c->folder, c->name);
            break;
        case PN_DID_RENAME: {
            const int i = find_name(n, c->folder, c->name);
            if (i >= 0 && n->list[i].object == c->object) drop_name(n, c->folder, c->name);
            set_name(n, c->other, c->other_name, c->object);
            break;
        }
        default:
            break;
    }
}

static bool of_names(const change *c) { return c->about.kind <= PN_DID_RENAME; }

/* Which objects a change is of; `now` are the names before it. */
static void resolve(history *h, change *c, names *now) {
    const pn_record *r = &c->about;
    c->folder = c->other = c->object = -1;
    if (r->kind == PN_DID_OTHER) fail_msg("the record does not know what %s does", c->name);
    if (of_names(c)) {
        c->folder = find_object(h, r->directory);
        if (c->folder < 0) fail_msg("%s is in a directory that nobody made", c->name);
    }
    if (r->kind == PN_DID_RENAME) {
        c->other = find_object(h, r->other);
        assert_true(c->other >= 0);
    }
    int lost = -1; /* an object that loses a name */
    if (r->kind == PN_DID_UNLINK) lost = find_name(now, c->folder, c->name);
    if (r->kind == PN_DID_RENAME) lost = find_name(now, c->other, c->other_name);
    const int lost_object = lost >= 0 ? now->list[lost].object : -1;
    if (r->kind == PN_DID_CREATE || r->kind == PN_DID_MKDIR) {
        const int linked = find_object(h, r->inode);
        c->object = linked >= 0 ? linked : add_object(h, r->inode, r->kind == PN_DID_MKDIR);
    } else if (r->kind != PN_DID_UNLINK && r->device == h->device) {
        c->object = find_object(h, r->inode);
    }
    if (of_names(c)) apply_name(now, c);
    bool named = lost_object < 0;
    for (int i = 0; i < now->count; i++) named |= now->list[i].object == lost_object;
    if (!named) h->object[lost_object].gone = true;
}

static void read_record(history *h, const char *path) {
    size_t size, at = 0;
    int room = 0;
    names now = {.count = h->names};
    memcpy(now.list, h->before, sizeof now.list);
    assert_int_equal(pn_file_read(path, (size_t)1 << 30, &h->bytes, &size), PN_OK);
    while (at < size) {
        if (h->changes == room) {
            room = room ? 2 * room : 1024;
            h->change = realloc(h->change, (size_t)room * sizeof *h->change);
            assert_non_null(h->change);
        }
        change *c = &h->change[h->changes];
        assert_true(at + sizeof c->about <= size);
        memcpy(&c->about, (char *)h->bytes + at, sizeof c->about);
        c->name = (char *)h->bytes + at + sizeof c->about;
        c->other_name = c->about.names ? c->name + strlen(c->name) + 1 : NULL;
        c->data = (unsigned char *)c->name + c->about.names;
        at += sizeof c->about + c->about.names + c->about.size;
        assert_true(at <= size);
        resolve(h, c, &now);
        h->changes += c->object >= 0 || of_names(c); /* else a file from outside, or unlinked */
    }
}

/* ---- what the disk may hold ------------------------------------------------------------------ */

enum fate { KEPT, DROPPED, RANDOM, LAST, FATES }; /* LAST: of names, the last change alone */
static const char *const fate_name[FATES] = {"kept", "dropped", "random",
                                             "all but the last dropped"};

/* Of which syncs the disk takes no notice: as if the program had forgotten them. */
enum deaf { TO_NOTHING, TO_FILES, TO_FOLDERS };

typedef struct recipe {
    int cut;               /* so many changes were made */
    enum fate data, names; /* of what was not synced */
    uint64_t seed;
    enum deaf deaf;
    FILE *tell; /* what was decided, or NULL */
} recipe;

static const char *describe(const change *c) {
    static char text[600];
    static const char *const kinds[] = {"create", "mkdir",    "unlink", "rename",
                                        "write",  "truncate", "sync",   "other"};
    if (of_names(c))
        snprintf(text, sizeof text, "%s %.200s %.200s", kinds[c->about.kind], c->name,
                 c->about.kind == PN_DID_RENAME ? c->other_name : "");
    else
        snprintf(text, sizeof text, "%s object %d, %" PRId64 " + %" PRIu64, kinds[c->about.kind],
                 c->object, c->about.offset, c->about.size);
    return text;
}

/* The last change before the cut that made durable what an object holds; -1: none. */
static int last_sync(const history *h, int object, int cut, enum deaf deaf) {
    if (deaf == (h->object[object].folder ? TO_FOLDERS : TO_FILES)) return -1;
    for (int i = cut - 1; i >= 0; i--)
        if (h->change[i].about.kind == PN_DID_SYNC && h->change[i].object == object) return i;
    return -1;
}

typedef struct content {
    unsigned char *data;
    size_t size, room;
} content;

static void resize(content *c, size_t size) {
    if (size > c->room) {
        c->room = 2 * size;
        c->data = realloc(c->data, c->room);
        assert_non_null(c->data);
    }
    if (size > c->size) memset(c->data + c->size, 0, size - c->size);
    c->size = size;
}

static void write_part(content *to, const change *c, size_t keep, bool zeros) {
    const size_t at = (size_t)c->about.offset;
    if (keep == 0) return;
    if (at + keep > to->size) resize(to, at + keep);
    if (zeros)
        memset(to->data + at, 0, keep);
    else
        memcpy(to->data + at, c->data, keep);
}

/* A change of data that no sync followed. */
static void pending_data(content *to, const change *c, const recipe *r, pn_dice *dice) {
    const size_t size = (size_t)c->about.size;
    const uint32_t choice = r->data == KEPT ? 0 : r->data == DROPPED ? 1 : pn_roll(dice, 5);
    static const char *const said[] = {"kept", "dropped", "torn at a sector", "torn", "zeros"};
    size_t keep = size;
    if (choice == 1) keep = 0;
    if (choice == 2) { /* the end of some sector of the file */
        const size_t begin = (size_t)c->about.offset,
                     end = (begin + pn_roll(dice, (uint32_t)size + 1)) / SECTOR * SECTOR;
        keep = end > begin ? end - begin : 0;
    }
    if (choice == 3) keep = pn_roll(dice, (uint32_t)size + 1);
    if (r->tell) fprintf(r->tell, "    %s: %s\n", describe(c), said[choice]);
    if (c->about.kind == PN_DID_WRITE)
        write_part(to, c, keep, choice == 4);
    else if (choice != 1)
        resize(to, (size_t)c->about.offset);
}

static content content_of(const history *h, int object, const recipe *r, pn_dice *dice) {
    const int durable = last_sync(h, object, r->cut, r->deaf);
    content all = {0};
    resize(&all, h->object[object].size);
    if (all.size) memcpy(all.data, h->object[object].data, all.size);
    for (int i = 0; i < r->cut; i++) {
        const change *c = &h->change[i];
        if (c->object != object) continue;
        if (c->about.kind != PN_DID_WRITE && c->about.kind != PN_DID_TRUNCATE) continue;
        if (i > durable)
            pending_data(&all, c, r, dice);
        else if (c->about.kind == PN_DID_WRITE)
            write_part(&all, c, (size_t)c->about.size, false);
        else
            resize(&all, (size_t)c->about.offset);
    }
    return all;
}

static void names_of(const history *h, const recipe *r, pn_dice *dice, names *all) {
    all->count = h->names;
    memcpy(all->list, h->before, sizeof all->list);
    for (int i = 0; i < r->cut; i++) {
        const change *c = &h->change[i];
        if (!of_names(c)) continue;
        bool keep = i < last_sync(h, c->other >= 0 ? c->other : c->folder, r->cut, r->deaf);
        if (!keep) {
            keep = r->names == KEPT || (r->names == RANDOM && pn_roll(dice, 2)) ||
                   (r->names == LAST && i == r->cut - 1);
            if (r->tell) fprintf(r->tell, "    %s: %s\n", describe(c), keep ? "kept" : "dropped");
        }
        if (keep) apply_name(all, c);
    }
}

static void put_folder(const history *h, int object, const char *path, const names *all,
                       const recipe *r, pn_dice *dice) {
    assert_int_equal(mkdir(path, 0777), 0);
    for (int i = 0; i < all->count; i++) {
        const entry *e = &all->list[i];
        char inside[PATH_BYTES];
        if (e->folder != object) continue;
        assert_true(snprintf(inside, sizeof inside, "%s/%s", path, e->name) < (int)sizeof inside);
        if (h->object[e->object].folder) {
            put_folder(h, e->object, inside, all, r, dice);
            continue;
        }
        content c = content_of(h, e->object, r, dice);
        FILE *file = fopen(inside, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(c.data, 1, c.size, file), c.size);
        assert_int_equal(fclose(file), 0);
        free(c.data);
    }
}

static void rebuild(const history *h, const recipe *r, const char *path) {
    pn_dice dice = {r->seed};
    names all;
    names_of(h, r, &dice, &all);
    pn_folder_remove(path);
    put_folder(h, 0, path, &all, r, &dice);
}

/* The newest checkpoint that was durable at a cut: it was there before the run, or its name came
 * from a rename (or a creation) that a sync of its directory followed. */
static int64_t promised(const history *h, int64_t before, int cut) {
    int64_t newest = before;
    for (int i = 0; i < cut; i++) {
        const change *c = &h->change[i];
        int64_t number;
        if (c->about.kind != PN_DID_RENAME ||
            sscanf(c->other_name, "checkpoint-%" SCNd64 ".safetensors", &number) != 1)
            continue;
        if (number > newest && i < last_sync(h, c->other, cut, TO_NOTHING)) newest = number;
    }
    return newest;
}

/* ---- runs ------------------------------------------------------------------------------------ */

typedef struct job {
    const char *name;
    const char *fixture; /* copied into its folder before, or NULL */
    const char *checkpoints;
    const char *argv[40];
} job;

#define WITH "--device", "cpu:base", "--threads", "1", "--save-every", "0", "--no-report"
#define NETWORK "--layers", "1", "--channels", "4", "--batch", "4"
#define SEARCH \
    "--data", "synthetic:40x8x8x3", NETWORK, "--samples", "2", "--steps", "6", "--warmup", "1", WITH
#define TRAIN "--genotype", "PDARTS", "--data", "synthetic:16x8x8x3", NETWORK, "--epochs", "2", WITH

static const job new_search = {"search", NULL, "run", {PN_PROGRAM, "search", "run", SEARCH}};
static const job resumed = {"resume", "halted", "halted", {PN_PROGRAM, "search", "halted", WITH}};
static const job training = {"train", NULL, "run/seed-1", {PN_PROGRAM, "train", "run", TRAIN}};

static const char *text_of(const recipe *r, const history *h) {
    static char text[800];
    snprintf(text, sizeof text,
             "cut after %d of %d changes (the last: %s), data not synced %s, names not synced %s, "
             "seed %" PRIu64,
             r->cut, h->changes, r->cut ? describe(&h->change[r->cut - 1]) : "none",
             fate_name[r->data], fate_name[r->names], r->seed);
    return text;
}

static int64_t newest_in(const char *where, const char *checkpoints) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", where, checkpoints);
    return pn_newest_checkpoint(path);
}

/* One state; whether all is as demanded. */
static bool survives(const job *j, const history *h, const recipe *r, const char *want,
                     const char *want_out, int64_t before, int64_t last) {
    const int64_t step = promised(h, before, r->cut);
    const pn_conditions where = {.folder = pn_in_folder("state")};
    pn_process p;
    char why[600] = "";
    rebuild(h, r, where.folder);
    const int64_t there = newest_in(where.folder, j->checkpoints);
    pn_process_run(&p, j->argv, &where, LIMIT);
    char *text = pn_run_text(where.folder);
    const int64_t from = pn_continued_from(p.err, last);
    if (p.late || p.code)
        snprintf(why, sizeof why, "exit %d, signal %d%s: %.400s", p.code, p.signal,
                 p.late ? ", late" : "", p.err);
    else if (strcmp(text, want) != 0)
        snprintf(why, sizeof why, "other files");
    else if (strcmp(p.out, want_out) != 0)
        snprintf(why, sizeof why, "other stdout");
    else if (there < step || from < step)
        snprintf(why, sizeof why,
                 "checkpoint %" PRId64 " was durable; there is %" PRId64
                 ", it continues from step %" PRId64,
                 step, there, from);
    if (*why && !r->deaf) {
        char kept[64];
        static int number;
        snprintf(kept, sizeof kept, "%s-%d", j->name, ++number);
        print_error("%s: %s: %s\n", j->name, text_of(r, h), why);
        recipe again = *r;
        if (number <= 3) again.tell = stderr;
        rebuild(h, &again, pn_in_folder(kept));
        print_error("    the state is kept: %s\n", pn_in_folder(kept));
    }
    free(text);
    pn_process_free(&p);
    return !*why;
}

/* A job, recorded. */
typedef struct recorded {
    const job *job;
    history *history;
    char *want, *out;     /* its files and its stdout in the end */
    int64_t before, last; /* newest checkpoints */
    int *special, count;  /* changes of names, and syncs */
} recorded;

static recorded record(const job *j) {
    recorded all = {.job = j, .history = calloc(1, sizeof(history))};
    history *h = all.history;
    pn_process p;
    char *where = strdup(pn_in_folder("recorded"));
    if (!h || !where) exit(1);
    pn_folder_remove(where);
    assert_int_equal(mkdir(where, 0777), 0);
    if (j->fixture) {
        char to[PATH_BYTES];
        snprintf(to, sizeof to, "%s/%s", where, j->fixture);
        pn_folder_copy(pn_in_folder(j->fixture), to);
    }
    look(h, where);
    all.before = newest_in(where, j->checkpoints);
    const pn_conditions conditions = {.folder = where};
    pn_faulty_run(&p, j->argv, &conditions, LIMIT, &(pn_faulty){.record = pn_in_folder("record")});
    if (p.code) fail_msg("%s: exit code %d: %s", j->name, p.code, p.err);
    all.last = newest_in(where, j->checkpoints);
    all.want = pn_run_text(where);
    all.out = p.out;
    p.out = NULL;
    pn_process_free(&p);
    read_record(h, pn_in_folder("record"));

    /* What the record makes of it is what is there: nothing that it does not know of. */
    const recipe everything = {.cut = h->changes};
    rebuild(h, &everything, pn_in_folder("state"));
    char *rebuilt = pn_folder_text(pn_in_folder("state"), NULL),
         *real = pn_folder_text(where, NULL);
    assert_string_equal(rebuilt, real);
    free(rebuilt);
    free(real);
    free(where);

    all.special = malloc((size_t)(h->changes + 1) * sizeof *all.special);
    assert_non_null(all.special);
    for (int i = 0; i < h->changes; i++)
        if (of_names(&h->change[i]) || h->change[i].about.kind == PN_DID_SYNC)
            all.special[all.count++] = i;
    return all;
}

static void recorded_free(recorded *all) {
    for (int i = 0; i < all->history->objects; i++) free(all->history->object[i].data);
    free(all->history->change);
    free(all->history->bytes);
    free(all->history);
    free(all->want);
    free(all->out);
    free(all->special);
}

/* How many of so many states are not as demanded. They are spread over the whole run; every second
 * is cut beside a sync or a change of names, of which there are few. */
static int cut(const recorded *all, int states, enum deaf deaf) {
    static const enum fate fates[][2] = {{DROPPED, DROPPED}, {RANDOM, RANDOM}, {DROPPED, KEPT},
                                         {RANDOM, KEPT},     {KEPT, DROPPED},  {DROPPED, RANDOM},
                                         {KEPT, RANDOM}};
    const history *h = all->history;
    const int rotate = (int)pn_setting("PN_TEST_ROTATE", 0);
    int wrong = 0;
    for (int i = 0; i < states; i++) {
        const int turn = i + rotate, last = i == states - 1, /* the end is a state, too */
            n = last ? 0 : turn % (int)(sizeof fates / sizeof *fates);
        pn_dice dice = {(uint64_t)turn};
        int after =
            i % 2 ? all->special[(int)((int64_t)i * all->count / states)] + (int)pn_roll(&dice, 2)
                  : (int)((int64_t)i * h->changes / states + pn_roll(&dice, 20));
        if (after > h->changes || last) after = h->changes;
        const recipe r = {.cut = after,
                          .data = fates[n][0],
                          .names = fates[n][1],
                          .seed = (uint64_t)turn,
                          .deaf = deaf};
        wrong += !survives(all->job, h, &r, all->want, all->out, all->before, all->last);
    }
    return wrong;
}

/* The name that a rename gives is durable before any other that is not synced: nothing that it
 * relies on may be among those. The first renames find new directories and files; in the long mode
 * all. Adds to how many states there were; how many were wrong. */
static int cut_after_renames(const recorded *all, int *states) {
    const int most = pn_setting("PN_TEST_LONG", 0) ? all->count : 4;
    const history *h = all->history;
    int wrong = 0;
    for (int i = 0, n = 0; i < h->changes && n < most; i++) {
        if (h->change[i].about.kind != PN_DID_RENAME) continue;
        const recipe r = {.cut = i + 1, .data = DROPPED, .names = LAST, .seed = (uint64_t)i};
        wrong += !survives(all->job, h, &r, all->want, all->out, all->before, all->last);
        n++;
        (*states)++;
    }
    return wrong;
}

static void cut_everywhere(const job *j) {
    int states = (int)pn_setting("PN_TEST_STATES", pn_setting("PN_TEST_LONG", 0) ? 1002 : 60) / 3;
    const double start = pn_clock();
    recorded all = record(j);
    int wrong = cut(&all, states, TO_NOTHING);
    wrong += cut_after_renames(&all, &states);
    print_message("%s: %d changes, %d of names or syncs; %d states, %d wrong, %.1f s\n", j->name,
                  all.history->changes, all.count, states, wrong, pn_clock() - start);
    keep_it |= wrong > 0;
    recorded_free(&all);
    if (wrong) fail_msg("%d of %d states were not as demanded", wrong, states);
}

/* A test that does not see finds nothing: were the syncs of files, or those of directories, not
 * made, some states would be wrong. */
static void a_sync_that_is_missing_is_seen(void **state) {
    (void)state;
    enum { STATES = 14 };
    if (!pn_folder) skip();
    recorded all = record(&new_search);
    const int files = cut(&all, STATES, TO_FILES), folders = cut(&all, STATES, TO_FOLDERS);
    print_message(
        "of %d states %d are wrong without syncs of files, %d without those of directories\n",
        STATES, files, folders);
    recorded_free(&all);
    assert_true(files > 0 && folders > 0);
}

static int begin(void **state) {
    if (!pn_faulty_possible()) return 0;
    static const char *const halted[] = {PN_PROGRAM, "search", "halted", SEARCH, "--quiet", NULL};
    pn_folder_begin(state);
    pn_faulty_halt(halted, pn_folder, "halted", "halted");
    return 0;
}

static int end(void **state) {
    (void)state;
    if (!pn_folder) return 0;
    return keep_it ? 0 : pn_folder_end(state);
}

static void while_a_search_runs(void **state) {
    (void)state;
    if (!pn_folder) skip();
    cut_everywhere(&new_search);
}

static void while_a_search_continues(void **state) {
    (void)state;
    if (!pn_folder) skip();
    cut_everywhere(&resumed);
}

static void while_a_training_runs(void **state) {
    (void)state;
    if (!pn_folder) skip();
    cut_everywhere(&training);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sync_that_is_missing_is_seen),
        cmocka_unit_test(while_a_search_runs),
        cmocka_unit_test(while_a_search_continues),
        cmocka_unit_test(while_a_training_runs),
    };
    return cmocka_run_group_tests_name("power", tests, begin, end);
}
