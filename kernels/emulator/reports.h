/* reports.h -- what kernels compiled with -fsanitize=thread call at every load and store, and their
 * option's own library would bring. For hooks.cc and counts.cc, which define before it
 *   void touch(const void *at, size_t bytes, bool writes, bool atomic, const void *pc); */
#ifndef PN_EMULATOR_REPORTS_H
#define PN_EMULATOR_REPORTS_H

#include <cstring>

extern "C" {
#define ACCESS(bytes)                                                                   \
    void __tsan_read##bytes(void *p) { touch(p, bytes, false, false, HERE); }           \
    void __tsan_write##bytes(void *p) { touch(p, bytes, true, false, HERE); }           \
    void __tsan_unaligned_read##bytes(void *p) { touch(p, bytes, false, false, HERE); } \
    void __tsan_unaligned_write##bytes(void *p) { touch(p, bytes, true, false, HERE); } \
    void __tsan_volatile_read##bytes(void *p) { touch(p, bytes, false, false, HERE); }  \
    void __tsan_volatile_write##bytes(void *p) { touch(p, bytes, true, false, HERE); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
void __tsan_read_range(void *p, size_t bytes) { touch(p, bytes, false, false, HERE); }
void __tsan_write_range(void *p, size_t bytes) { touch(p, bytes, true, false, HERE); }
void *__tsan_memcpy(void *to, const void *from, size_t bytes) {
    touch(from, bytes, false, false, HERE);
    touch(to, bytes, true, false, HERE);
    return memcpy(to, from, bytes);
}
void *__tsan_memmove(void *to, const void *from, size_t bytes) {
    touch(from, bytes, false, false, HERE);
    touch(to, bytes, true, false, HERE);
    return memmove(to, from, bytes);
}
void *__tsan_memset(void *to, int value, size_t bytes) {
    touch(to, bytes, true, false, HERE);
    return memset(to, value, bytes);
}
void __tsan_init(void) {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit(void) {}
void __tsan_vptr_read(void **) {}
void __tsan_vptr_update(void **, void *) {}
/* A static of a function is guarded so. */
char __tsan_atomic8_load(const volatile char *p, int) {
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}
}

#endif
