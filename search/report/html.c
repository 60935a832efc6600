/* html.c -- see html.h. */
#include "search/report/html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/utf8.h"

enum { PART_BYTES = 512 };

/* C0 and C1 controls but tab and newline, and the last two of the first plane. */
static bool is_allowed(const unsigned char *at, size_t length) {
    if (length == 1) return *at >= 0x20 ? *at != 0x7f : *at == '\t' || *at == '\n';
    if (length == 2) return at[0] != 0xc2 || at[1] >= 0xa0;
    return length != 3 || at[0] != 0xef || at[1] != 0xbf || at[2] < 0xbe;
}

void pn_html(pn_page *p, const char *text) {
    static const char special[] = "<>&\"'";
    static const char *const entity[] = {"&lt;", "&gt;", "&amp;", "&quot;", "&#39;"};
    while (*text) {
        const char *plain = text, *found = NULL;
        size_t length = 0;
        for (; *text; text += length) {
            length = pn_utf8_length(text);
            found = strchr(special, *text);
            if (found || !length || !is_allowed((const unsigned char *)text, length)) break;
        }
        if (text > plain) pn_page_put(p, "%.*s", (int)(text - plain), plain);
        if (!*text) return;
        pn_page_put(p, "%s", found ? entity[found - special] : "\xef\xbf\xbd");
        text += length ? length : 1;
    }
}

/* ---- words ----------------------------------------------------------------------------------- */

/* Whether a number and its unit meet here: they stay on one line. */
static bool is_before_unit(const char *space, const char *begin) {
    static const char *const unit[] = {"%",   "s",   "min", "h",   "k",    "M",      "G",    "B",
                                       "KiB", "MiB", "GiB", "TiB", "nats", "points", "steps"};
    const size_t length = strspn(space + 1, "%abcdefghijklmnopqrstuvwxyzBGKMT");
    if (space == begin || space[-1] < '0' || space[-1] > '9') return false;
    for (size_t i = 0; i < sizeof unit / sizeof *unit; i++)
        if (strlen(unit[i]) == length && !strncmp(space + 1, unit[i], length)) return true;
    return false;
}

void pn_words_put(pn_page *p, const char *text) {
    for (const char *at = text; *at;) {
        const size_t plain = strcspn(at, " ^");
        char part[PART_BYTES];
        snprintf(part, sizeof part, "%.*s", (int)plain, at);
        pn_html(p, part);
        at += plain;
        if (*at == ' ') {
            pn_page_put(p, "%s", is_before_unit(at, text) ? "&nbsp;" : " ");
            at++;
        } else if (*at == '^') {
            const int digits = (int)strspn(++at, "0123456789");
            pn_page_put(p, "<sup>%.*s</sup>", digits, at);
            at += digits;
        }
    }
}

/* ---- figures --------------------------------------------------------------------------------- */

static const char dash[] = "\xe2\x80\x93";

static const char *none(char text[PN_FIGURE_BYTES]) {
    snprintf(text, PN_FIGURE_BYTES, "%s", dash);
    return text;
}

void pn_bar_put(pn_page *p, const char *name, double value, double most, int colour,
                const char *text) {
    pn_page_put(p,
                "<span>%s</span><span class=\"bar\" role=\"img\" aria-label=\"%s\"><i "
                "class=\"c%d\" style=\"width:%.1f%%\"></i></span><span>%s</span>\n",
                name, text, colour, most > 0 ? 100 * value / most : 0, text);
}

const char *pn_figure_count(double count, char text[PN_FIGURE_BYTES]) {
    char digits[PN_FIGURE_BYTES];
    if (!(fabs(count) < 1e15)) return none(text);
    const int n = snprintf(digits, sizeof digits, "%.0f", fabs(count));
    int at = 0;
    if (count < 0) text[at++] = '-';
    for (int i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0) text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = 0;
    return text;
}

const char *pn_figure(double x, char text[PN_FIGURE_BYTES]) {
    if (!isfinite(x)) return none(text);
    const double size = fabs(x);
    if (size >= 1e4 && size < 1e15) return pn_figure_count(x, text);
    if (size != 0 && (size < 1e-3 || size >= 1e15))
        snprintf(text, PN_FIGURE_BYTES, "%.2g", x);
    else
        snprintf(text, PN_FIGURE_BYTES, "%.*f",
                 size >= 100  ? 0
                 : size >= 10 ? 1
                 : size >= 1  ? 2
                              : 3,
                 x);
    return text;
}

const char *pn_figure_size(double bytes, char text[PN_FIGURE_BYTES]) {
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int u = 0;
    if (!isfinite(bytes)) return none(text);
    for (; bytes >= 1024 && u < 4; u++) bytes /= 1024;
    snprintf(text, PN_FIGURE_BYTES, u ? "%.1f %s" : "%.0f %s", bytes, unit[u]);
    return text;
}

const char *pn_figure_time(double seconds, char text[PN_FIGURE_BYTES]) {
    if (!(seconds >= 0 && seconds < 1e12)) return none(text);
    const long long whole = llround(seconds);
    if (seconds < 9.95)
        snprintf(text, PN_FIGURE_BYTES, "%.*f s", seconds < 0.995 ? 2 : 1, seconds);
    else if (whole < 120)
        snprintf(text, PN_FIGURE_BYTES, "%lld s", whole);
    else if (whole < 7200)
        snprintf(text, PN_FIGURE_BYTES, "%lld min %lld s", whole / 60, whole % 60);
    else
        snprintf(text, PN_FIGURE_BYTES, "%lld h %lld min", whole / 3600, whole / 60 % 60);
    return text;
}

const char *pn_figure_short(double count, char text[PN_FIGURE_BYTES]) {
    static const char *const unit[] = {"", " k", " M", " G", " T"};
    int u = 0;
    if (!isfinite(count)) return none(text);
    for (; count >= 999.5 && u < 4; u++) count /= 1000;
    snprintf(text, PN_FIGURE_BYTES, "%.*f%s",
             !u || count >= 100 ? 0
             : count >= 10      ? 1
                                : 2,
             count, unit[u]);
    return text;
}

const char *pn_figure_share(double share, char text[PN_FIGURE_BYTES]) {
    if (!isfinite(share)) return none(text);
    if (share >= 0.99 && share < 1) /* nearly all is not all */
        snprintf(text, PN_FIGURE_BYTES, "%.1f %%", floor(1000 * share) / 10);
    else
        snprintf(text, PN_FIGURE_BYTES, "%.0f %%", 100 * share);
    return text;
}

const char *pn_figure_chance(double log_p, char text[PN_FIGURE_BYTES]) {
    char count[PN_FIGURE_BYTES];
    const double p = exp(log_p), decimal = -log_p / log(10);
    if (!isfinite(log_p)) return none(text);
    if (p >= 0.001)
        snprintf(text, PN_FIGURE_BYTES, "%.*f %%", p >= 0.1 ? 0 : p >= 0.01 ? 1 : 2, 100 * p);
    else if (decimal < 9) { /* two digits of the count */
        const double unit = pow(10, floor(decimal) - 1);
        snprintf(text, PN_FIGURE_BYTES, "1 in %s",
                 pn_figure_count(round(exp(-log_p) / unit) * unit, count));
    } else
        snprintf(text, PN_FIGURE_BYTES, "1 in 10^%.0f", decimal);
    return text;
}
