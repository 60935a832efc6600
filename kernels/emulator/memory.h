/* memory.h -- what has crossed between the host and the emulated card so far. */
#ifndef PN_EMULATED_MEMORY_H
#define PN_EMULATED_MEMORY_H

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pn_emulated_traffic {
    long allocations, uploads;
    long waits; /* the host waited for the card: downloads */
} pn_emulated_traffic;

pn_emulated_traffic pn_emulated_traffic_so_far(void);
long pn_launches_emulated(void); /* kernels launched so far */

#ifdef __cplusplus
}
#endif

#endif
