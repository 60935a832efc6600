/* top.c -- see top.h. The best `want` begin with the best `want` beginnings. And with both sorted,
 * the k-th beginning and the i-th choice, from 1, make one of the best `want` only if k i <= want:
 * there are k i pairs that are no worse and come first. */
#include "search/methods/top.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct choice {
    double log_p;
    int i;
} choice;

/* The better first, of equals that of the lower number. */
static int in_order(double a, double b, int i, int j) {
    return a != b ? (a > b ? -1 : 1) : (i > j) - (i < j);
}

static int beginnings_in_order(const void *a, const void *b) {
    const pn_beginning *x = a, *y = b;
    return in_order(x->log_p, y->log_p, x->order, y->order);
}

static int choices_in_order(const void *a, const void *b) {
    const choice *x = a, *y = b;
    return in_order(x->log_p, y->log_p, x->i, y->i);
}

pn_status pn_top_begin(pn_top *t, int want) {
    *t = (pn_top){.want = want, .count = 1};
    if (want < 1 || want > PN_MAX_TOP)
        return pn_fail(PN_EARG, "the %d most probable architectures, want 1..%d", want, PN_MAX_TOP);
    t->kept = calloc(1, sizeof *t->kept);
    return t->kept ? PN_OK
                   : pn_fail(PN_EMEM, "no memory for the %d most probable architectures", want);
}

/* The choices that can be, the best first. */
static int sort_choices(const double *log_p, int n, choice *sorted) {
    int count = 0;
    for (int i = 0; i < n; i++)
        if (log_p[i] > -INFINITY) sorted[count++] = (choice){log_p[i], i};
    qsort(sorted, (size_t)count, sizeof *sorted, choices_in_order);
    return count;
}

static int choices_of(const pn_top *t, int k, int count) {
    return t->want / (k + 1) < count ? t->want / (k + 1) : count;
}

static void continue_all(const pn_top *t, const choice *sorted, int count, pn_take take,
                         const void *self, pn_beginning *next) {
    for (int k = 0, made = 0; k < t->count; k++)
        for (int i = 0; i < choices_of(t, k, count); i++, made++) {
            next[made] = t->kept[k];
            next[made].log_p += sorted[i].log_p;
            next[made].order = made;
            take(self, sorted[i].i, &next[made].arch);
        }
}

pn_status pn_top_continue(pn_top *t, const double *log_p, int n, pn_take take, const void *self) {
    choice *sorted = calloc((size_t)n + 1, sizeof *sorted);
    size_t made = 0;
    const int count = sorted ? sort_choices(log_p, n, sorted) : 0;
    for (int k = 0; k < t->count; k++) made += (size_t)choices_of(t, k, count);
    pn_beginning *next = calloc(made + 1, sizeof *next);
    if (!sorted || !next) {
        free(sorted);
        free(next);
        return pn_fail(PN_EMEM, "no memory for the %d most probable architectures", t->want);
    }
    continue_all(t, sorted, count, take, self, next);
    free(sorted);
    qsort(next, made, sizeof *next, beginnings_in_order);
    free(t->kept);
    t->kept = next;
    t->count = made < (size_t)t->want ? (int)made : t->want;
    return PN_OK;
}

int pn_top_list(const pn_top *t, pn_arch *arch, double *log_p) {
    for (int k = 0; k < t->count; k++) {
        arch[k] = t->kept[k].arch;
        if (log_p) log_p[k] = t->kept[k].log_p;
    }
    return t->count;
}

void pn_top_end(pn_top *t) {
    free(t->kept);
    *t = (pn_top){0};
}
