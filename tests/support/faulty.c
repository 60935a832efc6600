/* faulty.c -- see faulty.h. */
#include "tests/support/faulty.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void must(bool holds, const char *what) {
    if (holds) return;
    perror(what);
    exit(1);
}

bool pn_faulty_possible(void) {
#ifdef PN_FAULTS
    return true;
#else
    return false;
#endif
}

static void put(const char *variable, const char *value) {
    if (value)
        must(setenv(variable, value, 1) == 0, variable);
    else
        must(unsetenv(variable) == 0, variable);
}

static void tell(const pn_faulty *how, bool preload) {
#ifdef PN_FAULTS
    put("LD_PRELOAD", preload ? PN_FAULTS : NULL);
#else
    (void)preload;
#endif
    put("PN_FAULT", how->fault);
    put("PN_FAULT_LOG", how->log);
    put("PN_FAULT_LIST", how->list);
    put("PN_RECORD", how->record);
}

void pn_faulty_run(pn_process *p, const char *const *argv, const pn_conditions *where,
                   double seconds, const pn_faulty *how) {
    static const pn_faulty nothing;
    if (how->log) (void)remove(how->log); /* they are appended to */
    if (how->list) (void)remove(how->list);
    if (how->record) (void)remove(how->record);
    tell(how, true);
    pn_process_start(p, argv, where);
    tell(&nothing, false);
    pn_process_wait(p, seconds);
}

void pn_faulty_struck(const char *log, char name[32], char place[1024]) {
    char line[2048];
    FILE *file = fopen(log, "r");
    *name = *place = 0;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "struck %31s %*d %*d at %1023[^\n]", name, place) >= 1) break;
    if (file) fclose(file);
}

void pn_faulty_place(const char *program, const char *addresses, char *text, size_t size) {
    char command[2048], line[1024];
    size_t at = 0;
    *text = 0;
    snprintf(command, sizeof command, "addr2line -s -e '%s' %s 2>/dev/null", program, addresses);
    FILE *lines = popen(command, "r");
    for (int i = 0; lines && i < 6 && fgets(line, sizeof line, lines); i++) {
        line[strcspn(line, " \n")] = 0;
        if (at < size) at += (size_t)snprintf(text + at, size - at, "%s%s", i ? " < " : "", line);
    }
    if (lines) pclose(lines);
}

void pn_sites_read(const char *list, pn_sites *s) {
    char name[32];
    uint64_t hash;
    int room = 0;
    FILE *file = fopen(list, "r");
    must(file != NULL, list);
    *s = (pn_sites){0};
    while (fscanf(file, "%31s %" SCNx64, name, &hash) == 2) {
        if (s->calls == room) {
            room = room ? 2 * room : 4096;
            s->place = realloc(s->place, (size_t)room * sizeof *s->place);
            s->hash = realloc(s->hash, (size_t)room * sizeof *s->hash);
            must(s->place && s->hash, "memory");
        }
        int p = 0;
        while (p < s->places && s->hash[p] != hash) p++;
        if (p == s->places) s->hash[s->places++] = hash;
        s->place[s->calls++] = p;
    }
    fclose(file);
}

void pn_sites_free(pn_sites *s) {
    free(s->place);
    free(s->hash);
}

static long calls_on_files(const char *log) {
    char line[64];
    long count = 0;
    FILE *file = fopen(log, "r");
    must(file != NULL, log);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "class files %ld", &count) == 1) break;
    fclose(file);
    return count;
}

void pn_faulty_halt(const char *const *argv, const char *folder, const char *name,
                    const char *checkpoints) {
    enum { LIMIT = 300, STRIDE = 20 };
    const pn_conditions where = {.folder = folder};
    char log[4096], made[4096], saved[4096], fault[64];
    pn_process p;
    snprintf(log, sizeof log, "%s/log-of-%s", folder, name);
    snprintf(made, sizeof made, "%s/%s", folder, name);
    snprintf(saved, sizeof saved, "%s/%s", folder, checkpoints);
    pn_faulty_run(&p, argv, &where, LIMIT, &(pn_faulty){.log = log});
    must(p.code == 0, p.err);
    pn_process_free(&p);
    const long count = calls_on_files(log);
    must(remove(log) == 0, log);
    long n = count / 2;
    do {
        must(n < count, "a run that saves while it runs");
        pn_folder_remove(made);
        snprintf(fault, sizeof fault, "files:%ld:kill", n);
        pn_faulty_run(&p, argv, &where, LIMIT, &(pn_faulty){.fault = fault});
        must(p.signal == SIGKILL, "a run that was to be killed");
        pn_process_free(&p);
        n += STRIDE;
    } while (pn_newest_checkpoint(saved) < 2);
}

int64_t pn_continued_from(const char *err, int64_t last) {
    int64_t step = 0;
    const char *at = strstr(err, "continuing from step ");
    if (at && sscanf(at, "continuing from step %" SCNd64, &step) == 1) return step;
    /* A finished training says nothing, but no epoch either. */
    return strstr(err, "scored on") && !strstr(err, "  epoch ") ? last : 0;
}

uint32_t pn_roll(pn_dice *dice, uint32_t below) {
    dice->state = dice->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(((dice->state >> 32) * below) >> 32);
}

int64_t pn_newest_checkpoint(const char *folder) {
    int64_t newest = -1;
    DIR *list = opendir(folder);
    for (struct dirent *e; list && (e = readdir(list));) {
        int64_t number;
        int end = 0;
        if (sscanf(e->d_name, "checkpoint-%" SCNd64 ".safetensors%n", &number, &end) == 1 && end &&
            !e->d_name[end] && number > newest)
            newest = number;
    }
    if (list) closedir(list);
    return newest;
}

long pn_setting(const char *variable, long otherwise) {
    const char *text = getenv(variable);
    return text && *text ? strtol(text, NULL, 10) : otherwise;
}
