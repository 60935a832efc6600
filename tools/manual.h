/* manual.h -- the page of man and the completions of shells, made from the tables of commands. */
#ifndef PN_MANUAL_H
#define PN_MANUAL_H

#include <stdio.h>

typedef struct pn_exit {
    const char *code, *meaning;
} pn_exit;

/* exits: code NULL behind the last. */
void pn_manual_page(FILE *out, const pn_exit *exits, const char *examples);

/* shell: "bash", "zsh" or "fish". */
void pn_manual_completion(FILE *out, const char *shell);

#endif
