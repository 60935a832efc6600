/* terminal.h -- a program on a terminal, and what a person would see there.
 *
 * The screen understands what tools/live.c may use: characters of one column, CR, LF, cursor up,
 * erasing to the end of the line and of the screen, colours. Any other sequence ends the test. A
 * row that is full breaks, as on any terminal, and is counted; a new width breaks long lines anew,
 * as most terminals do. */
#ifndef PN_TERMINAL_H
#define PN_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { PN_SCREEN_ROWS = 2000, PN_SCREEN_COLUMNS = 200 };

typedef struct pn_row {
    char cell[PN_SCREEN_COLUMNS][5]; /* a character in UTF-8 */
    bool broken;                     /* goes on in the next row */
} pn_row;

typedef struct pn_screen {
    int columns, rows;
    pn_row *row; /* [PN_SCREEN_ROWS]: all since the beginning; the last `rows` are seen */
    int last, at, column;
    int breaks;       /* of lines that had no room */
    int colours;      /* sequences */
    int escapes;      /* of all kinds */
    bool coloured;    /* as the cursor is now */
    char pending[64]; /* of a sequence or character that has not come whole */
    size_t held;
} pn_screen;

typedef struct pn_terminal {
    pn_screen screen;
    int fd;
    pid_t pid;
    bool over;
    int code;   /* exit code, -1 if a signal ended it */
    int signal; /* that signal, or 0 */
} pn_terminal;

/* Starts a program in a folder on a terminal of that size. environment: NAME=VALUE, up to NULL. */
void pn_terminal_start(pn_terminal *terminal, const char *folder, const char *const *argv,
                       const char *const *environment, int columns, int rows);

/* Reads for so long, or until the screen holds the words, or the program is over. Whether it holds
 * them. */
bool pn_terminal_until(pn_terminal *terminal, const char *words, double seconds);

void pn_terminal_type(pn_terminal *terminal, const char *text);
void pn_terminal_resize(pn_terminal *terminal, int columns, int rows);

/* Until the program is over. */
void pn_terminal_wait(pn_terminal *terminal, double seconds);
void pn_terminal_free(pn_terminal *terminal);

/* How many of the rows since the beginning hold the words; the number of the last of them, -1
 * without one. */
int pn_screen_count(const pn_screen *screen, const char *words);
int pn_screen_find(const pn_screen *screen, const char *words);

/* The text of a row since the beginning, without blanks at its end; valid until the fourth call
 * from here. */
const char *pn_screen_text(const pn_screen *screen, int row);

#endif
