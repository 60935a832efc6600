/* times.h -- PARSEC_TIMES=1: where the time of a command went, by op and pass. */
#ifndef PN_PRINT_TIMES_H
#define PN_PRINT_TIMES_H

/* Begins to measure if the environment asks for it; prints to stderr what was found, if so. */
void pn_times_ask(void);
void pn_times_print(void);

#endif
