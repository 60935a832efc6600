/* process.h -- the program as a person or a script runs it, and what it leaves on the disk.
 *
 * A child has a time limit, ends with the test, writes to temporary files (so it never waits for
 * us to read), and sleeps instead of spinning where its threads meet, since tests share their
 * machine. What the system refuses to a test (a fork, a file) ends the test program. */
#ifndef PN_PROCESS_H
#define PN_PROCESS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

/* What a child finds; zeros: what we have ourselves. */
typedef struct pn_conditions {
    const char *folder;   /* to run in */
    const char *to;       /* a file instead of its captured stdout */
    size_t address_space; /* most bytes it may map */
    size_t file_size;     /* most bytes of a file */
} pn_conditions;

typedef struct pn_process {
    FILE *to_out, *to_err;
    pid_t pid;

    /* After pn_process_wait. */
    int code;        /* exit code, -1 if a signal ended it */
    int signal;      /* that signal, or 0 */
    bool late;       /* killed because its time was up */
    char *out, *err; /* what it wrote, with a final zero */
} pn_process;

/* argv[0] is a path; the last is NULL. */
void pn_process_start(pn_process *process, const char *const *argv, const pn_conditions *where);

/* Whether it still runs; if not, pn_process_wait returns at once. */
bool pn_process_runs(pn_process *process);

/* Waits for the end, but not longer than `seconds`: then it is killed. */
void pn_process_wait(pn_process *process, double seconds);
void pn_process_free(pn_process *process);

/* All three. */
void pn_process_run(pn_process *process, const char *const *argv, const pn_conditions *where,
                    double seconds);

/* The same of a program in the folder below, with arguments up to NULL; frees what *process had
 * from an earlier one, or is zero. Gives the exit code. */
int pn_process_program(pn_process *process, const char *program, const char *const *arguments,
                       double seconds);

/* Asserts that it ended with that code, printed nothing, and said one sentence with these words. */
void pn_process_refused(const pn_process *process, int code, const char *words);

/* Seconds of a clock that only goes on; sleeping. */
double pn_clock(void);
void pn_sleep(double seconds);

/* A new empty folder below TMPDIR or /tmp; free it after removing. */
char *pn_folder_make(void);

/* Removes a folder and everything in it; one that is not there is no failure. */
void pn_folder_remove(const char *folder);

/* The folder of a test program: what it runs runs there. The second makes it and the third removes
 * it, as set-up and tear-down of a group; NULL before and after. */
extern char *pn_folder;
int pn_folder_begin(void **state);
int pn_folder_end(void **state);

/* The path of a name in it; valid until the fourth call from here. */
const char *pn_in_folder(const char *name);

/* "NAME SIZE CRC-32", a line for each file or folder in it (at any depth, by name), without the
 * files that are called `but` (NULL: all). Two folders with the same text hold the same. The
 * caller frees. */
char *pn_folder_text(const char *folder, const char *but);

/* The same of what is equal to the bit wherever runs are: without locks, and without what tells of
 * times and hosts (search/rundir/journal.h, search/report). */
char *pn_run_text(const char *folder);

/* Copies a folder, and all in it, into another, which is made. */
void pn_folder_copy(const char *from, const char *to);

#endif
