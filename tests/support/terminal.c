/* terminal.c -- see terminal.h. */
#include "tests/support/terminal.h"

#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

/* ---- the screen ------------------------------------------------------------------------------ */

static void blank(pn_row *row, int from) {
    for (int i = from; i < PN_SCREEN_COLUMNS; i++) strcpy(row->cell[i], " ");
    row->broken = false;
}

static void go_down(pn_screen *s) {
    if (++s->at == PN_SCREEN_ROWS) fail_msg("more than %d rows", PN_SCREEN_ROWS);
    if (s->at > s->last) s->last = s->at;
}

static void put(pn_screen *s, const char *bytes, size_t size) {
    if (s->column == s->columns) { /* the row was full, and more comes */
        s->row[s->at].broken = true;
        s->breaks++;
        s->column = 0;
        go_down(s);
    }
    memcpy(s->row[s->at].cell[s->column], bytes, size);
    s->row[s->at].cell[s->column++][size] = 0;
}

/* The cursor cannot leave the screen. */
static void go_up(pn_screen *s, int by) {
    const int top = s->last >= s->rows ? s->last - s->rows + 1 : 0;
    s->at = s->at - by > top ? s->at - by : top;
}

static void control(pn_screen *s, char what, const char *parameter) {
    s->escapes++;
    if (what == 'm') {
        s->colours++;
        s->coloured = strcmp(parameter, "0") != 0 && *parameter;
    } else if (what == 'A') {
        go_up(s, *parameter ? atoi(parameter) : 1);
    } else if ((what == 'K' || what == 'J') && !*parameter) {
        blank(&s->row[s->at], s->column);
        for (int i = s->at + 1; what == 'J' && i <= s->last; i++) blank(&s->row[i], 0);
    } else {
        fail_msg("a sequence that the screen does not know: CSI %s %c", parameter, what);
    }
}

/* What is pending, if it is whole. */
static void take(pn_screen *s) {
    char *p = s->pending;
    const unsigned char first = (unsigned char)*p;
    const size_t want = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    p[s->held] = 0;
    if (first == 27) {
        const char last = p[s->held - 1];
        if (s->held < 2) return;
        if (p[1] != '[') fail_msg("a sequence that the screen does not know: ESC %c", p[1]);
        if (s->held < 3 || last < '@') return;
        p[s->held - 1] = 0;
        control(s, last, p + 2);
    } else if (s->held < want) {
        return;
    } else if (first == '\r') {
        s->column = 0;
    } else if (first == '\n') {
        go_down(s);
    } else if (first < ' ' || first == 127) {
        fail_msg("a control character: %d", first);
    } else {
        put(s, p, want);
    }
    s->held = 0;
}

static void feed(pn_screen *s, const char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (s->held + 1 == sizeof s->pending) fail_msg("a sequence without an end");
        s->pending[s->held++] = bytes[i];
        take(s);
    }
}

static int length_of(const pn_row *row) {
    int n = PN_SCREEN_COLUMNS;
    while (n > 0 && !strcmp(row->cell[n - 1], " ")) n--;
    return n;
}

/* Lines of rows that belong together are broken anew; the cursor stays on its character. */
static void resize(pn_screen *s, int columns, int rows) {
    pn_screen fresh = {.columns = columns, .rows = rows};
    fresh.row = calloc(PN_SCREEN_ROWS, sizeof *fresh.row);
    assert_non_null(fresh.row);
    for (int i = 0; i < PN_SCREEN_ROWS; i++) blank(&fresh.row[i], 0);
    int at = 0, column = 0;
    while (s->last > s->at && !length_of(&s->row[s->last])) s->last--; /* blank: not kept */
    for (int i = 0; i <= s->last; i++) {
        const int n = s->row[i].broken ? s->columns : length_of(&s->row[i]);
        for (int k = 0; k < n || (i == s->at && k <= s->column); k++) {
            if (i == s->at && k == s->column) {
                at = fresh.at;
                column = fresh.column;
            }
            if (k < n) put(&fresh, s->row[i].cell[k], strlen(s->row[i].cell[k]));
        }
        if (s->row[i].broken || i == s->last) continue;
        fresh.column = 0;
        go_down(&fresh);
    }
    free(s->row);
    s->row = fresh.row;
    s->columns = columns;
    s->rows = rows;
    s->last = fresh.last;
    s->at = at;
    s->column = column;
}

const char *pn_screen_text(const pn_screen *s, int row) {
    static char text[4][4 * PN_SCREEN_COLUMNS + 1];
    static int next;
    next = (next + 1) % 4;
    text[next][0] = 0;
    if (row < 0 || row > s->last) return text[next];
    const int n = length_of(&s->row[row]);
    size_t at = 0;
    for (int i = 0; i < n; i++)
        at += (size_t)snprintf(text[next] + at, sizeof text[next] - at, "%s", s->row[row].cell[i]);
    return text[next];
}

int pn_screen_count(const pn_screen *s, const char *words) {
    int count = 0;
    for (int i = 0; i <= s->last; i++) count += strstr(pn_screen_text(s, i), words) != NULL;
    return count;
}

int pn_screen_find(const pn_screen *s, const char *words) {
    for (int i = s->last; i >= 0; i--)
        if (strstr(pn_screen_text(s, i), words)) return i;
    return -1;
}

/* ---- the program ----------------------------------------------------------------------------- */

static struct winsize size_of(int columns, int rows) {
    return (struct winsize){.ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows};
}

void pn_terminal_start(pn_terminal *t, const char *folder, const char *const *argv,
                       const char *const *environment, int columns, int rows) {
    const struct winsize size = size_of(columns, rows);
    *t = (pn_terminal){.screen = {.columns = columns, .rows = rows}};
    t->screen.row = calloc(PN_SCREEN_ROWS, sizeof *t->screen.row);
    assert_non_null(t->screen.row);
    for (int i = 0; i < PN_SCREEN_ROWS; i++) blank(&t->screen.row[i], 0);
    fflush(NULL);
    t->pid = forkpty(&t->fd, NULL, NULL, &size);
    assert_true(t->pid >= 0);
    if (t->pid > 0) return;
    bool done = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && chdir(folder) == 0;
    done = done && setenv("OMP_WAIT_POLICY", "passive", 1) == 0;
    for (; done && *environment; environment++) done = putenv((char *)*environment) == 0;
    if (done) execv(argv[0], (char *const *)argv);
    _exit(125);
}

/* Whether something was read, or the program is over. */
static bool read_some(pn_terminal *t, double seconds) {
    char bytes[4096];
    struct pollfd ready = {.fd = t->fd, .events = POLLIN};
    if (poll(&ready, 1, (int)(1000 * seconds)) <= 0) return false;
    const ssize_t n = read(t->fd, bytes, sizeof bytes);
    if (n > 0) {
        feed(&t->screen, bytes, (size_t)n);
        return true;
    }
    if (n < 0 && errno == EINTR) return true;
    int status; /* EIO: nobody has the terminal open any more */
    assert_int_equal(waitpid(t->pid, &status, 0), t->pid);
    t->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    t->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    t->over = true;
    return true;
}

bool pn_terminal_until(pn_terminal *t, const char *words, double seconds) {
    const double end = pn_clock() + seconds;
    while (pn_screen_find(&t->screen, words) < 0) {
        const double left = end - pn_clock();
        if (t->over || left <= 0) return false;
        (void)read_some(t, left < 0.1 ? left : 0.1);
    }
    return true;
}

void pn_terminal_type(pn_terminal *t, const char *text) {
    assert_int_equal(write(t->fd, text, strlen(text)), strlen(text));
}

void pn_terminal_resize(pn_terminal *t, int columns, int rows) {
    const struct winsize size = size_of(columns, rows);
    while (read_some(t, 0)) continue; /* what was written for the old size */
    resize(&t->screen, columns, rows);
    assert_int_equal(ioctl(t->fd, TIOCSWINSZ, &size), 0);
}

void pn_terminal_wait(pn_terminal *t, double seconds) {
    const double end = pn_clock() + seconds;
    while (!t->over && pn_clock() < end) (void)read_some(t, 0.1);
    if (!t->over) fail_msg("still at work after %g seconds", seconds);
}

void pn_terminal_free(pn_terminal *t) {
    if (!t->over) {
        kill(t->pid, SIGKILL);
        waitpid(t->pid, NULL, 0);
    }
    close(t->fd);
    free(t->screen.row);
    *t = (pn_terminal){0};
}
