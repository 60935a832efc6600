/* progress.c -- see progress.h. */
#include "tools/progress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "runtime/json.h"
#include "tools/live.h"

volatile sig_atomic_t pn_stopped;

static bool json;

void pn_say_json(bool yes) { json = yes; }

/* Breaks a line between words, so that no row has more than `width` columns: a terminal would break
 * it amid one. */
static void break_line(char *text, size_t width) {
    char *begin = text, *space = NULL;
    for (char *at = text; *at; at++) {
        if (*at == ' ') space = at;
        if ((size_t)(at - begin) < width || !space || space <= begin) continue;
        *space = '\n';
        begin = space + 1;
        space = NULL;
    }
}

void pn_say_line(char *text) {
    struct winsize size;
    pn_live_clear();
    if (isatty(STDERR_FILENO) && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1)
        break_line(text, size.ws_col);
    fprintf(stderr, "%s\n", text);
}

void pn_note(const char *format, ...) {
    char text[1024];
    va_list args;
    if (json) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pn_say_line(text);
}

void pn_warn(const char *sentence) {
    char text[PN_SENTENCE_BYTES + 128];
    snprintf(text, sizeof text, "warning: %s", sentence);
    if (!json) {
        pn_say_line(text);
        return;
    }
    json_t *root = json_object();
    int failed = json_object_set_new(root, "event", json_string("warning"));
    failed |= json_object_set_new(root, "text", pn_json_string(sentence));
    (void)pn_json_print(root, failed, 0, stderr);
}

void pn_duration_text(double seconds, char text[32]) {
    const long s = (long)(seconds + 0.5), m = (s + 30) / 60;
    if (s < 100)
        snprintf(text, 32, "%ld s", s);
    else if (m < 100)
        snprintf(text, 32, "%ld min", m);
    else if (m < 48 * 60)
        snprintf(text, 32, "%ld h %ld min", m / 60, m % 60);
    else
        snprintf(text, 32, "%ld d %ld h", m / 1440, m / 60 % 24);
}

const char *pn_count_text(int64_t count, char text[32]) {
    char digits[24];
    const int length = snprintf(digits, sizeof digits, "%" PRId64, count);
    char *to = text;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0 && digits[i - 1] != '-') *to++ = ',';
        *to++ = digits[i];
    }
    *to = 0;
    return text;
}

void pn_say_forecast(const char *length, double seconds, int64_t steps, const char *otherwise) {
    char about[32];
    pn_duration_text(seconds, about);
    pn_note("%s, about %s by the first %" PRId64 " steps%s%s", length, about, steps,
            otherwise ? "; " : "", otherwise ? otherwise : "");
}

void pn_say_skipped(const pn_loss_scale *loss) {
    if (loss->skipped)
        pn_note("%" PRId64
                " step%s skipped: a gradient overflowed, and the loss scale was halved; "
                "it is %g",
                loss->skipped, loss->skipped == 1 ? "" : "s", loss->scale);
}

void pn_clock_text(double seconds, char text[32]) {
    const long s = (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, 32, "%ld:%02ld", s / 60, s % 60);
}

/* Two threads may be here at once, for two signals. */
static void on_signal(int signal_number) {
    static atomic_flag asked = ATOMIC_FLAG_INIT;
    if (!pn_stopped) pn_stopped = signal_number;
    const bool asks = signal_number == SIGINT || signal_number == SIGTERM;
    if (!asks || !atomic_flag_test_and_set(&asked)) return;
    pn_live_end_at_once();
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number); /* it is held back until we return */
}

void pn_stop_on_signals(void) {
    static const int all[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE};
    enum { COUNT = sizeof all / sizeof *all };
    struct sigaction before, action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    for (int i = 0; i < COUNT; i++) (void)sigaddset(&action.sa_mask, all[i]);
    for (int i = 0; i < COUNT; i++)
        if (sigaction(all[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            (void)sigaction(all[i], &action, NULL);
}

void pn_tell_stop(pn_journal *journal, int64_t step, pn_status status) {
    char why[PN_SENTENCE_BYTES];
    const char *name = pn_stopped == SIGINT    ? "SIGINT"
                       : pn_stopped == SIGTERM ? "SIGTERM"
                       : pn_stopped == SIGHUP  ? "SIGHUP"
                       : pn_stopped == SIGUSR1 ? "SIGUSR1"
                                               : "SIGPIPE";
    if (status == PN_OK || status == PN_EDIVERGED || status == PN_EBUSY) return;
    snprintf(why, sizeof why, "%s", pn_error());
    journal->say = NULL; /* nothing goes on */
    pn_journal_event(journal, "stop", step, "reason", status == PN_EINTR ? name : why);
    pn_say("%s", why);
}
