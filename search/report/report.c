/* report.c -- see report.h. */
#include "search/report/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "search/export/drawing.h"
#include "search/report/comparison.h"
#include "search/report/embedded.h"
#include "search/report/html.h"
#include "search/report/sections.h"

const char pn_report_name[] = "report.html";

/* By this a file is known to be ours; it stands in the first bytes. */
static const char marker[] = "<meta name=\"generator\" content=\"parsec-nas report\">";
enum { MARKER_WITHIN = 512, PAGE_LIMIT = 1 << 26 };

/* ---- which runs ------------------------------------------------------------------------------ */

typedef struct runs {
    pn_facts *list;
    int count, room;
    char name[PN_RUN_NAME_BYTES]; /* of the page */
} runs;

static pn_status add_run(runs *all, const char *path, bool planning) {
    if (all->count == all->room) {
        const int room = 2 * all->room + 4;
        pn_facts *list = realloc(all->list, (size_t)room * sizeof *list);
        if (!list) return pn_fail(PN_EMEM, "no memory for %d runs", room);
        all->list = list;
        all->room = room;
    }
    PN_TRY(pn_facts_read(&all->list[all->count], path, planning));
    all->count++;
    return PN_OK;
}

static bool is_empty(const pn_facts *f) {
    return f->view.state == PN_VIEW_EMPTY && !f->view.found && f->view.kind == PN_VIEW_UNKNOWN;
}

/* A directory: a run itself, or what `train` was given. */
static pn_status add_directory(runs *all, const char *path, bool planning) {
    char one[PN_PATH_BYTES];
    uint64_t *seeds;
    int count;
    PN_TRY(add_run(all, path, planning));
    pn_facts *f = &all->list[all->count - 1];
    if (f->view.state != PN_VIEW_EMPTY) return PN_OK;
    PN_TRY(pn_view_seeds(&f->view, &seeds, &count));
    if (!count) {
        free(seeds);
        return is_empty(f) ? pn_fail(PN_EINPUT, "%s: nothing of a run in it", path) : PN_OK;
    }
    memcpy(all->name, f->name, sizeof all->name);
    pn_facts_free(f);
    all->count--;
    pn_status s = PN_OK;
    for (int i = 0; s == PN_OK && i < count; i++) {
        const int n = snprintf(one, sizeof one, "%s/seed-%" PRIu64, path, seeds[i]);
        s = n > 0 && (size_t)n < sizeof one ? add_run(all, one, planning && i == 0)
                                            : pn_fail(PN_EARG, "%s: too long a path", path);
    }
    free(seeds);
    return s;
}

/* ---- the page -------------------------------------------------------------------------------- */

static void put_head(pn_page *p, const char *name) {
    pn_page_put(p,
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n%s\n<meta "
                "name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
                marker);
    pn_html(p, name);
    pn_page_put(p, " - parsec-nas</title>\n<style>\n%s", (const char *)pn_report_style);
    pn_drawing_style(p);
    pn_page_put(p, "</style>\n</head>\n<body>\n<main>\n");
}

static void put_foot(pn_page *p) {
    pn_page_put(p,
                "</main>\n<footer>parsec-nas %s. One file: no script, nothing from the network."
                "</footer>\n</body>\n</html>\n",
                PN_VERSION);
}

/* Searches first; otherwise as they were named. */
static void order_runs(runs *all) {
    int searches = 0;
    for (int i = 0; i < all->count; i++) {
        if (!all->list[i].search) continue;
        const pn_facts one = all->list[i];
        memmove(&all->list[searches + 1], &all->list[searches],
                (size_t)(i - searches) * sizeof one);
        all->list[searches++] = one;
    }
}

static void put_group(pn_page *p, const char *name, const pn_facts *list, int count) {
    if (!count) return;
    pn_page_put(p, "<section><h2>%s</h2>\n", name);
    pn_section_runs(p, list, count);
}

static pn_status make_page(const runs *all, char **text, size_t *size) {
    pn_page page = {0}, *p = &page;
    put_head(p, all->name);
    if (all->count == 1) {
        pn_section_run(p, &all->list[0]);
    } else {
        pn_page_put(p, "<p class=\"kind\">parsec-nas, %d runs</p>\n<h1>", all->count);
        pn_html(p, all->name);
        pn_page_put(p, "</h1>\n");
        int searches = 0;
        while (searches < all->count && all->list[searches].search) searches++;
        put_group(p, "Searches", all->list, searches);
        put_group(p, "Trainings", all->list + searches, all->count - searches);
        pn_section_notation(p);
    }
    put_foot(p);
    return pn_page_finish(p, "a report", text, size);
}

static void free_runs(runs *all) {
    for (int i = 0; i < all->count; i++) pn_facts_free(&all->list[i]);
    free(all->list);
}

static pn_status read_runs(runs *all, const char *const *paths, int count) {
    for (int i = 0; i < count; i++) PN_TRY(add_directory(all, paths[i], true));
    if (count > 1)
        snprintf(all->name, sizeof all->name, "%.100s and others", all->list[0].name);
    else if (all->count == 1)
        snprintf(all->name, sizeof all->name, "%s", all->list[0].name);
    order_runs(all);
    return PN_OK;
}

pn_status pn_report_text(const char *const *paths, int count, char **text, size_t *size) {
    runs all = {0};
    *text = NULL;
    pn_status s = read_runs(&all, paths, count);
    if (s == PN_OK) s = make_page(&all, text, size);
    free_runs(&all);
    return s;
}

/* ---- the file -------------------------------------------------------------------------------- */

static pn_status refuse(const char *file, char *data, size_t size) {
    if (size > MARKER_WITHIN) data[MARKER_WITHIN] = 0;
    if (!size || strstr(data, marker)) return PN_OK;
    return pn_fail(PN_EARG, "%s: no report of parsec-nas; want another name, or remove it first",
                   file);
}

pn_status pn_report_may_write(const char *file) {
    pn_path_kind kind;
    void *data;
    size_t size;
    PN_TRY(pn_path_look(file, &kind));
    if (kind == PN_PATH_DIRECTORY) return pn_fail(PN_EARG, "%s: a directory, want a file", file);
    if (kind != PN_PATH_FILE) return PN_OK;
    const pn_status s = pn_file_read(file, PAGE_LIMIT, &data, &size);
    if (s == PN_EINPUT) return refuse(file, (char[]){""}, 1); /* longer than any report */
    PN_TRY(s);
    const pn_status allowed = refuse(file, data, size);
    free(data);
    return allowed;
}

static void add_words(char *verdict, const char *words) {
    const size_t used = strlen(verdict);
    if (*words) snprintf(verdict + used, PN_VERDICT_BYTES - used, "%s\n", words);
}

static void say_verdict(const runs *all, char *verdict) {
    *verdict = 0;
    for (int i = 0; i < all->count; i++) {
        pn_verdict v;
        pn_verdict_of(&all->list[i], &v);
        if (all->count > 1) add_words(verdict, all->list[i].name);
        add_words(verdict, v.found);
        add_words(verdict, v.sure);
        add_words(verdict, v.worth);
    }
}

pn_status pn_report_write(const char *const *paths, int count, const char *file, char *verdict) {
    runs all = {0};
    char *text = NULL;
    size_t size;
    PN_TRY(pn_report_may_write(file));
    pn_status s = read_runs(&all, paths, count);
    if (s == PN_OK) s = make_page(&all, &text, &size);
    if (s == PN_OK) s = pn_file_write(file, text, size);
    if (s == PN_OK && verdict) say_verdict(&all, verdict);
    free(text);
    free_runs(&all);
    return s;
}

/* Whether there is a file of that name in a run that is no report: somebody's own, which stays. */
static pn_status is_anothers(const pn_place *place, const char *name, bool *anothers) {
    void *old;
    size_t size;
    bool there;
    *anothers = false;
    PN_TRY(pn_place_has(place, name, &there));
    if (!there) return PN_OK;
    pn_status s = pn_file_read_in(place, name, PAGE_LIMIT, &old, &size);
    if (s == PN_OK) {
        s = refuse(name, old, size);
        free(old);
    }
    *anothers = s == PN_EARG || s == PN_EINPUT;
    return *anothers ? PN_OK : s;
}

pn_status pn_report_of_run(const pn_place *place) {
    char *text;
    size_t size;
    bool anothers;
    PN_TRY(is_anothers(place, pn_report_name, &anothers));
    if (anothers) return PN_OK;
    const char *const path = place->path;
    PN_TRY(pn_report_text(&path, 1, &text, &size));
    const pn_status s = pn_file_write_in(place, pn_report_name, text, size);
    free(text);
    return s;
}

/* ---- a comparison ---------------------------------------------------------------------------- */

pn_status pn_report_comparison_text(const json_t *root, char **text, size_t *size) {
    pn_page page = {0};
    put_head(&page, "comparison");
    const pn_status s = pn_comparison_put(&page, root);
    put_foot(&page);
    PN_TRY(pn_page_finish(&page, "a report", text, size));
    if (s != PN_OK) free(*text);
    return s;
}

pn_status pn_report_comparison(const json_t *root, const pn_place *place, const char *name,
                               bool *written) {
    char *text;
    size_t size;
    bool anothers = false;
    if (place)
        PN_TRY(is_anothers(place, name, &anothers));
    else
        PN_TRY(pn_report_may_write(name));
    *written = !anothers;
    if (anothers) return PN_OK;
    PN_TRY(pn_report_comparison_text(root, &text, &size));
    const pn_status s =
        place ? pn_file_write_in(place, name, text, size) : pn_file_write(name, text, size);
    free(text);
    return s;
}
