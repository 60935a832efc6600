/* ranks.c -- see ranks.h. */
#include "tests/support/ranks.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *pn_launcher(void) {
    static const char *const setting[][2] = {
        {"OMPI_ALLOW_RUN_AS_ROOT", "1"},
        {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
        {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
        {"OMPI_MCA_hwloc_base_binding_policy", "none"},
        {"OMPI_MCA_plm", "isolated"},
        {"OMPI_MCA_pml", "ob1"},
        {"OMPI_MCA_btl", "self,vader"},
        {"PMIX_MCA_gds", "hash"},
        {"ASAN_OPTIONS", "detect_leaks=0"}, /* MPI's */
    };
    for (size_t i = 0; i < sizeof setting / sizeof *setting; i++)
        setenv(setting[i][0], setting[i][1], 1);
    return PN_MPIEXEC;
}

/* A file of /proc/PID, as far as it fits; its bytes. */
static size_t read_of(pid_t pid, const char *name, char *text, size_t room) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    const size_t length = fread(text, 1, room - 1, file);
    fclose(file);
    text[length] = 0;
    return length;
}

/* The parent stands behind the name in brackets and the state. */
static pid_t parent_of(pid_t pid) {
    char text[512];
    int parent = 0;
    if (!read_of(pid, "stat", text, sizeof text)) return 0;
    const char *name_end = strrchr(text, ')');
    return name_end && sscanf(name_end, ") %*c %d", &parent) == 1 ? parent : 0;
}

static int rank_of(pid_t pid) {
    static const char key[] = "OMPI_COMM_WORLD_RANK=";
    static char text[1 << 16];
    const size_t length = read_of(pid, "environ", text, sizeof text);
    for (size_t at = 0; at < length; at += strlen(text + at) + 1)
        if (strncmp(text + at, key, sizeof key - 1) == 0) return atoi(text + at + sizeof key - 1);
    return -1;
}

pid_t pn_rank_of(pid_t launcher, int rank) {
    DIR *d = opendir("/proc");
    pid_t found = 0;
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        const pid_t pid = atoi(e->d_name);
        if (pid > 0 && parent_of(pid) == launcher && rank_of(pid) == rank) found = pid;
    }
    if (d) closedir(d);
    return found;
}
