/* profile.c -- see profile.h. The file has Google Benchmark's shape (doc/runs.md). */
#include "search/report/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "search/network/genotype.h"

enum { MOST_CELLS = 1000 };

void pn_report_profile_free(pn_report_profile *all) {
    free(all->cell);
    *all = (pn_report_profile){0};
}

static int by_input(const void *a, const void *b) {
    const pn_choice *x = a, *y = b;
    return x->input != y->input ? x->input - y->input : x->op - y->op;
}

static pn_arch ordered(const pn_arch *arch) {
    pn_arch a = *arch;
    for (int kind = 0; kind < PN_KINDS; kind++)
        for (int node = 0; node < PN_MAX_NODES; node++)
            qsort(a.cell[kind].term[node], (size_t)pn_slots(&a.cell[kind], node),
                  sizeof *a.cell[kind].term[node], by_input);
    return a;
}

bool pn_profiled_is(const pn_profiled *cell, const pn_arch *arch) {
    const pn_arch want = ordered(arch);
    return cell->named && !memcmp(&cell->arch, &want, sizeof want);
}

double pn_report_profile_ms(const pn_report_profile *all, const pn_arch *arch) {
    for (int i = 0; i < all->cells; i++)
        if (pn_profiled_is(&all->cell[i], arch)) return all->cell[i].ms[0] + all->cell[i].ms[1];
    return NAN;
}

/* ---- reading --------------------------------------------------------------------------------- */

static double ms_of(const json_t *row) {
    const char *unit = json_string_value(json_object_get(row, "time_unit"));
    const json_t *time = json_object_get(row, "real_time");
    if (!json_is_number(time)) return NAN;
    return json_number_value(time) * (!unit || !strcmp(unit, "ns") ? 1e-6
                                      : !strcmp(unit, "us")        ? 1e-3
                                      : !strcmp(unit, "s")         ? 1e3
                                                                   : 1);
}

static void add_op(pn_report_profile *all, const char *name, double ms) {
    int i = 0;
    while (i < all->ops && strcmp(all->op[i].name, name) != 0) i++;
    if (i == PN_PROFILED_OPS || !isfinite(ms)) return;
    if (i == all->ops) snprintf(all->op[all->ops++].name, PN_PROFILE_BYTES, "%s", name);
    all->op[i].ms += ms;
}

/* Cell pair `number`, which may be the first of those up to it. NULL: no memory. */
static pn_profiled *cell_at(pn_report_profile *all, int number) {
    if (number >= all->cells) {
        pn_profiled *cell = realloc(all->cell, (size_t)(number + 1) * sizeof *cell);
        if (!cell) return NULL;
        all->cell = cell;
        while (all->cells <= number)
            all->cell[all->cells++] = (pn_profiled){.ms = {NAN, NAN}, .macs = NAN, .bytes = NAN};
    }
    return &all->cell[number];
}

/* A median: of a pass of a cell pair ("profile/3/forward"), or of an op in it
 * ("profile/3/forward/sep_conv_3x3/16x16"). */
static pn_status add_row(pn_report_profile *all, const json_t *row) {
    const char *name = json_string_value(json_object_get(row, "run_name")),
               *aggregate = json_string_value(json_object_get(row, "aggregate_name")),
               *label = json_string_value(json_object_get(row, "label"));
    char pass[16], op[40];
    unsigned number;
    if (!name || !aggregate || strcmp(aggregate, "median") != 0) return PN_OK;
    const int parts = sscanf(name, "profile/%u/%15[^/]/%39[^/]", &number, pass, op);
    if (parts < 2 || number >= MOST_CELLS) return PN_OK;
    const bool backward = !strcmp(pass, "backward");
    if (!backward && strcmp(pass, "forward") != 0) return PN_OK;
    if (parts == 3) {
        add_op(all, op, ms_of(row));
        return PN_OK;
    }
    pn_profiled *cell = cell_at(all, (int)number);
    if (!cell) return pn_fail(PN_EMEM, "no memory for a profile of %u cells", number + 1);
    cell->ms[backward] = ms_of(row);
    cell->macs = pn_json_number_in(row, "macs");
    cell->bytes = pn_json_number_in(row, "arena_bytes");
    cell->named = label && pn_genotype_read(label, strlen(label), &cell->arch) == PN_OK;
    if (cell->named) cell->arch = ordered(&cell->arch);
    return PN_OK;
}

static int longest_first(const void *a, const void *b) {
    const pn_op_time *x = a, *y = b;
    return x->ms != y->ms ? (x->ms < y->ms ? 1 : -1) : strcmp(x->name, y->name);
}

pn_status pn_report_profile_read(const pn_view *v, pn_report_profile *all) {
    json_t *root, *row;
    size_t i;
    pn_status s = PN_OK;
    *all = (pn_report_profile){0};
    PN_TRY(pn_view_json(v, "profile.json", &root));
    const json_t *context = json_object_get(root, "context");
    const char *device = json_string_value(json_object_get(context, "device"));
    if (device) snprintf(all->device, sizeof all->device, "%s", device);
    all->busy = json_is_true(json_object_get(context, "busy"));
    json_array_foreach(json_object_get(root, "benchmarks"), i, row) {
        if (s == PN_OK) s = add_row(all, row);
    }
    if (all->ops) qsort(all->op, (size_t)all->ops, sizeof *all->op, longest_first);
    json_decref(root);
    if (s != PN_OK) pn_report_profile_free(all);
    return s;
}
