/* group_mpi.c -- a group's calls carried by MPI. Not in the library that is installed, whose users
 * have processes of their own: only the program is ever started by a launcher. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/group_parts.h"

/* ---- what the launcher says ------------------------------------------------------------------ */

/* By whom, how many, and which one. PMIx leaves the number of processes to MPI. */
typedef struct words {
    const char *size, *rank;
} words;
static const words launchers[] = {{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},
                                  {"PMI_SIZE", "PMI_RANK"},
                                  {NULL, "PMIX_RANK"}};

/* A whole number that the environment has, or -1. */
static int number_of(const char *variable) {
    const char *text = variable ? getenv(variable) : NULL;
    char *end;
    if (!text || !*text) return -1;
    const long value = strtol(text, &end, 10);
    return *end || value < 0 || value > INT_MAX ? -1 : (int)value;
}

pn_launch_words pn_group_environment(void) {
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        const words *w = &launchers[i];
        const int size = number_of(w->size), rank = number_of(w->rank);
        if (w->size ? size > 0 : rank >= 0)
            return (pn_launch_words){.size = w->size ? size : 0,
                                     .rank = rank > 0 ? rank : 0,
                                     .variable = w->size ? w->size : w->rank};
    }
    return (pn_launch_words){.size = 1};
}

#ifdef PN_HAVE_MPI
#include <mpi.h>

/* Most items of one call of MPI, whose counts are int. */
enum { MOST = 1 << 27 };

enum { LETTER = 1 /* tag */ };

/* On its way. */
typedef struct letter {
    struct letter *next;
    MPI_Request request;
    int64_t word;
} letter;

typedef struct carried {
    MPI_Comm all;
    MPI_Request *request; /* begun, and perhaps over */
    int count, room;
    letter *letters;
} carried;

static void end(void *self, int code) {
    (void)self;
    (void)fflush(NULL);
    MPI_Abort(MPI_COMM_WORLD, code);
    _Exit(code);
}

/* Room for one more. There is no way to go on without: some have begun what others have not. */
static MPI_Request *next(carried *c) {
    if (c->count == c->room) {
        const int room = c->room ? 2 * c->room : 64;
        MPI_Request *request = realloc(c->request, (size_t)room * sizeof(MPI_Request));
        if (!request) {
            fprintf(stderr, "parsec-nas: no memory for %d messages\n", room);
            end(c, PN_EMEM);
        }
        c->request = request;
        c->room = room;
    }
    return &c->request[c->count++];
}

static void share(void *self, int from, void *bytes, size_t count) {
    carried *c = self;
    for (size_t at = 0; at < count; at += MOST) {
        const size_t part = count - at < MOST ? count - at : MOST;
        MPI_Ibcast((char *)bytes + at, (int)part, MPI_BYTE, from, c->all, next(c));
    }
}

/* Of 64 bits each. */
static void reduce(carried *c, void *numbers, size_t count, MPI_Datatype type, MPI_Op op) {
    for (size_t at = 0; at < count; at += MOST) {
        const size_t part = count - at < MOST ? count - at : MOST;
        MPI_Iallreduce(MPI_IN_PLACE, (int64_t *)numbers + at, (int)part, type, op, c->all, next(c));
    }
}

static void sum(void *self, int64_t *numbers, size_t count) {
    reduce(self, numbers, count, MPI_INT64_T, MPI_SUM);
}

static void most(void *self, uint64_t *numbers, size_t count) {
    reduce(self, numbers, count, MPI_UINT64_T, MPI_MAX);
}

static bool done(void *self) {
    carried *c = self;
    int over;
    MPI_Testall(c->count, c->request, &over, MPI_STATUSES_IGNORE);
    if (over) c->count = 0;
    return over;
}

/* Those that have gone. */
static void drop_letters(carried *c) {
    for (letter **at = &c->letters; *at;) {
        letter *const l = *at;
        int gone;
        MPI_Test(&l->request, &gone, MPI_STATUS_IGNORE);
        if (!gone) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        free(l);
    }
}

/* It is the next call that looks whether it has gone. */
static void write_letter(void *self, int to, int64_t word) {
    carried *c = self;
    letter *const l = malloc(sizeof *l);
    drop_letters(c);
    if (!l) return;
    *l = (letter){.next = c->letters, .word = word};
    c->letters = l;
    MPI_Isend(&l->word, 1, MPI_INT64_T, to, LETTER, c->all, &l->request);
} /* NOLINT(clang-analyzer-optin.mpi.MPI-Checker) */

static bool read_letter(void *self, int *from, int64_t *word) {
    carried *c = self;
    MPI_Status about;
    int there;
    MPI_Iprobe(MPI_ANY_SOURCE, LETTER, c->all, &there, &about);
    if (!there) return false;
    *from = about.MPI_SOURCE;
    MPI_Recv(word, 1, MPI_INT64_T, *from, LETTER, c->all, MPI_STATUS_IGNORE);
    return true;
}

static void shut(void *self) {
    carried *c = self;
    int from;
    int64_t word;
    while (read_letter(c, &from, &word)) continue; /* too late */
    MPI_Finalize();
    while (c->letters) {
        letter *const l = c->letters;
        c->letters = l->next;
        free(l);
    }
    free(c->request);
    free(c);
}

static const pn_carrier mpi = {.share = share,
                               .sum = sum,
                               .most = most,
                               .done = done,
                               .write = write_letter,
                               .read = read_letter,
                               .end = end,
                               .close = shut};

static pn_status begin(pn_group **group) {
    int provided;
    carried *c = calloc(1, sizeof *c);
    if (!c) return pn_fail(PN_EMEM, "no memory for a group of processes");
    if (pn_group_create(group, &mpi, c) != PN_OK) {
        free(c);
        return PN_EMEM;
    }
    MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    c->all = MPI_COMM_WORLD;
    MPI_Comm_rank(c->all, &(*group)->rank);
    MPI_Comm_size(c->all, &(*group)->size);
    MPI_Comm here;
    MPI_Comm_split_type(c->all, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &here);
    MPI_Comm_rank(here, &(*group)->local);
    MPI_Comm_size(here, &(*group)->locals);
    MPI_Comm_free(&here);
    return PN_OK;
}

const char *pn_group_built(char text[128]) {
    char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    MPI_Get_library_version(version, &length);
    snprintf(text, 128, "%.*s", (int)strcspn(version, ",\n"), version);
    return text;
}
#else
static pn_status begin(pn_group **group) {
    (void)group;
    return pn_fail(PN_EDEVICE, "this build has no MPI; want one configured with -DPN_MPI=ON");
}

const char *pn_group_built(char text[128]) {
    snprintf(text, 128, "none");
    return text;
}
#endif

/* ---- opening --------------------------------------------------------------------------------- */

/* Somebody may have exported the variables of a launcher, or started one MPI by another's. */
static pn_status check(const pn_group *g, pn_launch_words said) {
    return said.size == 0 || g->size == said.size
               ? PN_OK
               : pn_fail(PN_EDEVICE,
                         "%s says %d ranks and MPI knows of %d; want to be started by the mpirun "
                         "or srun of this MPI, or %s unset",
                         said.variable, said.size, g->size, said.variable);
}

pn_status pn_group_open(pn_group **group, const char *how) {
    const pn_launch_words said = pn_group_environment();
    const bool always = strcmp(how, "mpi") == 0 || strcmp(how, "nccl") == 0;
    *group = NULL;
    if (!always && strcmp(how, "auto") != 0) {
        if (strcmp(how, "none") == 0) return PN_OK;
        return pn_fail(PN_EARG, "group \"%s\", want auto, none, mpi or nccl", how);
    }
    if (!always && said.size == 1) return PN_OK;
    pn_status s = begin(group);
    if (s != PN_OK && said.size > 1)
        return pn_fail_in(s, "%s says %d ranks", said.variable, said.size);
    PN_TRY(s);
    s = check(*group, said);
    if (s == PN_OK && ((*group)->size > 1 || always)) return PN_OK;
    pn_group_close(*group);
    *group = NULL;
    return s;
}
