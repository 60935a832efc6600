/* live.c -- see live.h. The sequences used, all of ECMA-48: CSI n A up, CSI K and CSI J erase to
 * the end of the line and of the screen, CSI n m colours. */
#include "tools/live.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "runtime/clock.h"
#include "runtime/json.h"
#include "runtime/text.h"
#include "tools/options.h"
#include "tools/progress.h"

enum { LINES = 5, LEAST_COLUMNS = 60, LEAST_ROWS = 10, LINE_BYTES = 2048, MOST_COLUMNS = 400 };

#define ON_TERMINAL 0.5 /* seconds between two looks */
#define ELSEWHERE 10.0

/* What is on a terminal now, with the cursor behind its last character; count 0: nothing. */
static struct { int fd, count, width[LINES]; } drawn;
static volatile sig_atomic_t is_drawn; /* for a signal handler */
static bool cleared;                   /* what was drawn gave way to other text */
static volatile sig_atomic_t resized;

/* ---- numbers --------------------------------------------------------------------------------- */

void pn_course_add(pn_course *c, double x) {
    if (!isfinite(x)) return;
    if (c->each == 0) c->each = 1;
    c->sum += x;
    if (++c->added < c->each) return;
    if (c->count == PN_COURSE) { /* half as many, of twice as much */
        for (int i = 0; i < PN_COURSE / 2; i++)
            c->value[i] = (c->value[2 * i] + c->value[2 * i + 1]) / 2;
        c->count = PN_COURSE / 2;
        c->each *= 2;
        return; /* this one fills half of the next */
    }
    c->value[c->count++] = c->sum / (double)c->added;
    c->sum = 0;
    c->added = 0;
}

pn_glance pn_glance_nothing(void) {
    return (pn_glance){.left = NAN,
                       .steps_per_s = NAN,
                       .images_per_s = NAN,
                       .train_loss = NAN,
                       .val_loss = NAN,
                       .accuracy = NAN,
                       .ess = NAN,
                       .entropy = NAN,
                       .uniform = NAN,
                       .agreement = NAN,
                       .scored = NAN,
                       .best = NAN,
                       .log_p = NAN,
                       .memory_bytes = NAN,
                       .arena_bytes = NAN};
}

static double share_done(const pn_glance *g) {
    return g->steps > 0 ? fmin(1, (double)g->step / (double)g->steps) : 0;
}

/* Epochs done of a training, with their fraction. */
static double epochs_done(const pn_glance *g) { return share_done(g) * (double)g->epochs; }

/* ---- lines ----------------------------------------------------------------------------------- */

typedef enum style { PLAIN, DIM, GOOD, BAD } style;

typedef struct line {
    char text[LINE_BYTES];
    size_t used;
    int columns, most; /* used, and how many there may be */
    bool colours;
} line;

static line new_line(int most, bool colours) {
    return (line){.most = most < MOST_COLUMNS ? most : MOST_COLUMNS, .colours = colours};
}

static void append(line *l, const char *text, size_t size) {
    if (l->used + size >= sizeof l->text) return;
    memcpy(l->text + l->used, text, size);
    l->used += size;
    l->text[l->used] = 0;
}

/* As many characters as fit. */
static void put_text(line *l, style how, const char *text) {
    static const char *const on[] = {"", "\033[2m", "\033[32m", "\033[33m"};
    if (l->columns >= l->most || !*text) return;
    if (l->colours) append(l, on[how], strlen(on[how]));
    for (const char *at = text; *at && l->columns < l->most; l->columns++) {
        const size_t n = pn_utf8_length(at);
        append(l, n ? at : "?", n ? n : 1);
        at += n ? n : 1;
    }
    if (l->colours && how != PLAIN) append(l, "\033[0m", 4);
}

static void put(line *l, style how, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void put(line *l, style how, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put_text(l, how, text);
}

/* Between two things of a line. */
static void gap(line *l) {
    if (l->columns) put_text(l, PLAIN, "  ");
}

/* Things that are said if they are known, with a gap before. */
static void put_known(line *l, double x, const char *format) __attribute__((format(printf, 3, 0)));
static void put_known(line *l, double x, const char *format) {
    char text[64];
    if (!isfinite(x)) return;
    gap(l);
    snprintf(text, sizeof text, format, x);
    put_text(l, PLAIN, text);
}

/* ---- bars ------------------------------------------------------------------------------------ */

static bool is_utf8(void) {
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (!value || !*value) continue;
        const char *code = strchr(value, '.');
        return code && (!strncasecmp(code, ".utf-8", 6) || !strncasecmp(code, ".utf8", 5));
    }
    return false;
}

/* So many times the same. */
static void put_many(line *l, style how, const char *what, int count) {
    char text[4 * MOST_COLUMNS + 1] = "";
    size_t at = 0;
    for (int i = 0; i < count && at + 4 < sizeof text; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s", what);
    put_text(l, how, text);
}

static void put_bar(line *l, double share, int columns) {
    const int full = (int)(share * columns);
    const bool utf8 = is_utf8();
    put_text(l, PLAIN, "[");
    put_many(l, GOOD, utf8 ? "\u2588" : "#", full);
    put_many(l, DIM, utf8 ? "\u2591" : ".", columns - full);
    put_text(l, PLAIN, "]");
}

/* Mean of the values that fall on column i of so many. */
static double column_of(const pn_course *c, int i, int columns) {
    const int from = i * c->count / columns, to = (i + 1) * c->count / columns;
    double sum = 0;
    for (int k = from; k < to; k++) sum += c->value[k];
    return sum / (to - from);
}

static void put_course(line *l, const pn_course *c) {
    static const char *const blocks[] = {"\u2581", "\u2582", "\u2583", "\u2584",
                                         "\u2585", "\u2586", "\u2587", "\u2588"};
    static const char *const plain[] = {"_", ".", "-", "~", "=", "+", "*", "#"};
    const int room = l->most - l->columns - 2, columns = c->count < room ? c->count : room;
    const char *const *const bars = is_utf8() ? blocks : plain;
    char text[4 * PN_COURSE + 1];
    size_t at = 0;
    double least = INFINITY, most = -INFINITY;
    if (columns < 2) return;
    for (int i = 0; i < c->count; i++) {
        least = fmin(least, c->value[i]);
        most = fmax(most, c->value[i]);
    }
    for (int i = 0; i < columns; i++) {
        const double x = column_of(c, i, columns);
        const int level = most > least ? (int)(7.99 * (x - least) / (most - least)) : 0;
        at += (size_t)snprintf(text + at, sizeof text - at, "%s", bars[level]);
    }
    gap(l);
    put_text(l, GOOD, text);
}

/* ---- the block ------------------------------------------------------------------------------- */

static void put_left(line *l, const pn_glance *g) {
    char text[32];
    if (!isfinite(g->left)) return;
    gap(l);
    pn_clock_text(g->left, text);
    put(l, PLAIN, "left %s", text);
}

static void first_line(line *l, const pn_glance *g) {
    enum { LEAST_BAR = 6, MOST_BAR = 40, FRAME = 2 };
    char done[32], all[32];
    line rest = new_line(l->most, false);
    put(&rest, PLAIN, "  %3.0f %%", floor(100 * share_done(g)));
    if (g->training)
        put(&rest, PLAIN, "  seed %" PRIu64 "  epoch %.2f/%" PRId64, g->seed, epochs_done(g),
            g->epochs);
    else
        put(&rest, PLAIN, "  step %s/%s", pn_count_text(g->step, done),
            pn_count_text(g->steps, all));
    if (*g->phase) put(&rest, PLAIN, "  %s", g->phase);
    put_left(&rest, g);
    const int bar = l->most - FRAME - rest.columns;
    if (bar >= LEAST_BAR) put_bar(l, share_done(g), bar < MOST_BAR ? bar : MOST_BAR);
    put_text(l, PLAIN, rest.text + (bar >= LEAST_BAR ? 0 : 2));
}

static void put_loss(line *l, const pn_glance *g) {
    if (!isfinite(g->train_loss) && !isfinite(g->val_loss)) return;
    gap(l);
    put_text(l, PLAIN, "loss ");
    if (isfinite(g->train_loss)) put(l, PLAIN, "%.3f", g->train_loss);
    if (isfinite(g->val_loss)) put(l, PLAIN, "/%.3f", g->val_loss);
}

static void put_ess(line *l, const pn_glance *g) {
    if (!isfinite(g->ess)) return;
    gap(l);
    put(l, PLAIN, "ess %.1f/%" PRId64, g->ess, g->samples);
}

static void second_line(line *l, const pn_glance *g) {
    put_loss(l, g);
    put_known(l, 100 * g->accuracy, "accuracy %.1f %%");
    put_ess(l, g);
    put_known(l, g->agreement, "agreement %.2f");
    if (!l->columns) put_text(l, DIM, "no loss yet");
}

static void third_line(line *l, const pn_glance *g) {
    if (g->training && isfinite(g->scored)) {
        put(l, PLAIN, "scored %.2f %%", 100 * g->scored);
        if (g->best_epoch)
            put(l, PLAIN, ", best %.2f %% (epoch %" PRId64 ")", 100 * g->best, g->best_epoch);
    } else if (g->training) {
        put_text(l, DIM, "not scored yet");
    } else if (isfinite(g->entropy)) {
        put(l, PLAIN, "entropy %.2f", g->entropy);
        if (isfinite(g->uniform)) put(l, PLAIN, " of %.2f", g->uniform);
        put_text(l, PLAIN, " nats");
    }
    put_course(l, &g->course);
}

static void fourth_line(line *l, const pn_glance *g) {
    if (!*g->cell) {
        put_text(l, DIM, "no cell is more probable than others yet");
        return;
    }
    put_text(l, PLAIN, g->training ? "cell" : "best cell");
    if (isfinite(g->log_p)) {
        const double digits = g->log_p / log(10); /* exp would be 0 where pi is far from decided */
        const double exponent = floor(digits);
        if (digits > -3)
            put(l, PLAIN, " p %.3g", exp(g->log_p));
        else
            put(l, PLAIN, " p %.1fe%.0f", pow(10, digits - exponent), exponent);
    }
    gap(l);
    put_text(l, PLAIN, g->cell);
}

static void put_speed(line *l, const pn_glance *g) {
    char count[32];
    if (isfinite(g->images_per_s)) {
        gap(l);
        put(l, PLAIN, "%s images/s", pn_count_text(llround(g->images_per_s), count));
    }
    if (!g->training) put_known(l, g->steps_per_s, "%.1f steps/s");
}

static void fifth_line(line *l, const pn_glance *g) {
    char bytes[32];
    put_speed(l, g);
    if (*g->warning) { /* before what may have no room */
        gap(l);
        put(l, BAD, "warning: %s", g->warning);
    }
    if (isfinite(g->memory_bytes)) {
        gap(l);
        put(l, PLAIN, "memory %s", pn_bytes_text(g->memory_bytes, bytes));
    }
    if (isfinite(g->arena_bytes)) {
        gap(l);
        put(l, PLAIN, "arena %s", pn_bytes_text(g->arena_bytes, bytes));
    }
}

/* ---- the line -------------------------------------------------------------------------------- */

static void search_line(line *l, const pn_glance *g) {
    put(l, PLAIN, "step %" PRId64 "/%" PRId64 "  %s", g->step, g->steps, g->phase);
    put_left(l, g);
    put_known(l, g->steps_per_s, "%.1f steps/s");
    put_known(l, g->entropy, "entropy %.2f");
    put_loss(l, g);
    if (isfinite(g->val_loss)) put_known(l, 100 * g->accuracy, "acc %.1f %%");
    put_ess(l, g);
    put_known(l, g->agreement, "agreement %.2f");
}

static void training_line(line *l, const pn_glance *g) {
    put(l, PLAIN, "seed %" PRIu64 "  epoch %.2f/%" PRId64, g->seed, epochs_done(g), g->epochs);
    put_left(l, g);
    put_known(l, g->images_per_s, "%.0f images/s");
    put_loss(l, g);
    put_known(l, 100 * g->accuracy, "acc %.1f %%");
    put_known(l, 100 * g->scored, "scored %.2f %%");
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static int set_number(json_t *root, const char *name, double x) {
    return json_object_set_new(root, name, pn_json_number(x));
}

static json_t *glance_json(const pn_glance *g, int *failed) {
    json_t *root = json_object();
    int bad = json_object_set_new(root, "event", json_string("progress"));
    if (g->training) bad |= json_object_set_new(root, "seed", pn_json_seed(g->seed));
    bad |= json_object_set_new(root, "phase", pn_json_string(g->phase));
    bad |= json_object_set_new(root, "step", json_integer(g->step));
    bad |= json_object_set_new(root, "steps", json_integer(g->steps));
    if (g->training) bad |= set_number(root, "epoch", epochs_done(g));
    if (g->training) bad |= json_object_set_new(root, "epochs", json_integer(g->epochs));
    bad |= set_number(root, "left_s", g->left);
    bad |= set_number(root, "steps_per_s", g->steps_per_s);
    bad |= set_number(root, "images_per_s", g->images_per_s);
    bad |= set_number(root, "train_loss", g->train_loss);
    if (!g->training) bad |= set_number(root, "val_loss", g->val_loss);
    bad |= set_number(root, "accuracy", g->accuracy);
    if (g->training) {
        bad |= set_number(root, "scored", g->scored);
        bad |= set_number(root, "best", g->best);
    } else {
        bad |= set_number(root, "ess", g->ess);
        bad |= set_number(root, "entropy", g->entropy);
        bad |= set_number(root, "log_p", g->log_p);
    }
    if (g->evidence) bad |= set_number(root, "agreement", g->agreement);
    bad |= json_object_set_new(root, "cell", json_string(g->cell));
    bad |= set_number(root, "memory_bytes", g->memory_bytes);
    bad |= set_number(root, "arena_bytes", g->arena_bytes);
    if (*g->warning) bad |= json_object_set_new(root, "warning", pn_json_string(g->warning));
    *failed = bad;
    return root;
}

/* ---- on the terminal ------------------------------------------------------------------------- */

static void on_resize(int signal_number) {
    (void)signal_number;
    resized = 1;
}

pn_live pn_live_begin(int fd, bool json) {
    const char *kind = getenv("TERM");
    pn_live live = {.fd = fd, .json = json};
    live.terminal = !json && isatty(fd) && kind && *kind && strcmp(kind, "dumb") != 0;
    struct sigaction action = {.sa_handler = on_resize, .sa_flags = SA_RESTART};
    if (live.terminal) (void)sigaction(SIGWINCH, &action, NULL);
    return live;
}

bool pn_live_due(const pn_live *live) {
    if (live->terminal && (resized || cleared)) return true;
    return pn_now() - live->shown >= (live->terminal ? ON_TERMINAL : ELSEWHERE);
}

/* Columns that a line may have, so that it never wraps; of what is no terminal, any number. The
 * line that the cursor stays on also has room for the ^C that the terminal shows there. */
enum { ROOM_FOR_KEYS = 2 };
static int width_of(int fd, int *rows) {
    struct winsize size;
    *rows = 0;
    if (!isatty(fd)) return MOST_COLUMNS;
    if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col < 2) return 79;
    *rows = size.ws_row;
    return size.ws_col - 1;
}

/* All at once, so that nobody sees half of it. A terminal that is gone is no failure of the run. */
static void write_out(int fd, const char *text, size_t size) {
    while (size > 0) {
        const ssize_t n = write(fd, text, size);
        if (n <= 0) return;
        text += n;
        size -= (size_t)n;
    }
}

/* Rows from the first of the block to the one that the cursor is in. A terminal that became
 * narrower has broken the lines that it had no room for. */
static int rows_above(int width) {
    int rows = -1;
    for (int i = 0; i < drawn.count; i++)
        rows += drawn.width[i] > width + 1 ? (drawn.width[i] + width) / (width + 1) : 1;
    return rows;
}

/* To the first column of the first row of what is drawn. */
static void go_back(char *text, size_t room, int width) {
    const int up = drawn.count ? rows_above(width) : 0;
    snprintf(text, room, up > 0 ? "\r\033[%dA" : "\r", up);
}

static void draw(int fd, line *const *lines, int count, int width) {
    char text[LINES * (LINE_BYTES + 8) + 64];
    go_back(text, sizeof text, width);
    size_t at = strlen(text);
    drawn.fd = fd;
    drawn.count = count;
    for (int i = 0; i < count; i++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s\033[K", i ? "\n" : "",
                               lines[i]->text);
        drawn.width[i] = lines[i]->columns;
    }
    at += (size_t)snprintf(text + at, sizeof text - at, "\033[J");
    is_drawn = 1;
    cleared = false;
    fflush(stderr);
    write_out(fd, text, at);
}

static void make_block(line lines[LINES], const pn_glance *g, int width, bool colours) {
    static void (*const make[LINES])(line *, const pn_glance *) = {
        first_line, second_line, third_line, fourth_line, fifth_line};
    for (int i = 0; i < LINES; i++) {
        lines[i] = new_line(i < LINES - 1 ? width : width - ROOM_FOR_KEYS, colours);
        make[i](&lines[i], g);
    }
}

static pn_status json_line(const pn_glance *g, char **text) {
    int failed;
    json_t *root = glance_json(g, &failed);
    return pn_json_file(root, failed, JSON_REAL_PRECISION(6), text);
}

/* A line of progress that there is no memory for is left out. */
static void show_json(const pn_live *live, const pn_glance *g) {
    char *text;
    if (json_line(g, &text) != PN_OK) return;
    write_out(live->fd, text, strlen(text));
    free(text);
}

void pn_live_show(pn_live *live, const pn_glance *g) {
    static line lines[LINES]; /* large */
    line *each[LINES] = {&lines[0], &lines[1], &lines[2], &lines[3], &lines[4]};
    int rows;
    live->shown = pn_now();
    resized = 0;
    if (live->json) {
        show_json(live, g);
        return;
    }
    const char *no_color = getenv("NO_COLOR");
    const int width = width_of(live->fd, &rows);
    if (live->terminal && width + 1 >= LEAST_COLUMNS && rows >= LEAST_ROWS) {
        make_block(lines, g, width, !no_color || !*no_color);
        draw(live->fd, each, LINES, width);
        return;
    }
    lines[0] = new_line(live->terminal ? width - ROOM_FOR_KEYS : width, false);
    (g->training ? training_line : search_line)(&lines[0], g);
    if (live->terminal) {
        draw(live->fd, each, 1, width);
        return;
    }
    append(&lines[0], "\n", 1);
    fflush(stderr);
    write_out(live->fd, lines[0].text, lines[0].used);
}

void pn_live_line(const pn_live *live, const char *text) {
    static line one; /* large */
    int rows;
    if (!live->terminal) return;
    const int width = width_of(live->fd, &rows);
    one = new_line(width - ROOM_FOR_KEYS, false);
    put_text(&one, PLAIN, text);
    draw(live->fd, (line *[]){&one}, 1, width);
}

pn_status pn_live_print(const pn_live *live, const pn_glance *g) {
    static line lines[LINES];
    char *text;
    int rows;
    if (live->json) {
        PN_TRY(json_line(g, &text));
        fputs(text, stdout);
        free(text);
        return PN_OK;
    }
    make_block(lines, g, width_of(live->fd, &rows), false);
    for (int i = 0; i < LINES; i++) puts(lines[i].text);
    return PN_OK; /* main sees whether it could be written */
}

void pn_live_clear(void) {
    char text[64];
    int rows;
    if (!drawn.count) return;
    go_back(text, sizeof text - 4, width_of(drawn.fd, &rows));
    memcpy(text + strlen(text), "\033[J", 4);
    write_out(drawn.fd, text, strlen(text));
    is_drawn = 0;
    cleared = true;
    drawn.count = 0;
}

void pn_live_end(void) {
    if (drawn.count) write_out(drawn.fd, "\n", 1);
    is_drawn = 0;
    drawn.count = 0;
}

void pn_live_end_at_once(void) {
    if (is_drawn) write_out(drawn.fd, "\n", 1);
}
