/* fiber.cc -- see fiber.h. */
#include "kernels/emulator/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#ifdef PN_FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifdef PN_FIBER_ASAN
static const size_t STACK = 256 << 10; /* red zones make frames several times as large */
#else
static const size_t STACK = 64 << 10;
#endif

extern "C" void pn_fiber_swap(void **from, void *to);

#if defined(__x86_64__)
asm(R"(
    .text
    .globl pn_fiber_swap
    .hidden pn_fiber_swap
    .type pn_fiber_swap, @function
pn_fiber_swap:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size pn_fiber_swap, . - pn_fiber_swap
)");
enum { SAVED = 6, ENTRY = 6, WORDS = 8 }; /* entry's own return address makes it 8 */
#elif defined(__aarch64__)
asm(R"(
    .text
    .globl pn_fiber_swap
    .hidden pn_fiber_swap
    .type pn_fiber_swap, %function
pn_fiber_swap:
    stp x29, x30, [sp, #-160]!
    stp x19, x20, [sp, #16]
    stp x21, x22, [sp, #32]
    stp x23, x24, [sp, #48]
    stp x25, x26, [sp, #64]
    stp x27, x28, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #16]
    ldp x21, x22, [sp, #32]
    ldp x23, x24, [sp, #48]
    ldp x25, x26, [sp, #64]
    ldp x27, x28, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    ldp x29, x30, [sp], #160
    ret
    .size pn_fiber_swap, . - pn_fiber_swap
)");
enum { ENTRY = 1, WORDS = 20 }; /* x30 is where `ret` goes */
#endif

/* Below each stack a page no one may touch, and one more above, so that the distance from stack to
 * stack is no power of two: neighbours must not share their sets of the cache. */
static size_t page_bytes() { return (size_t)sysconf(_SC_PAGESIZE); }

char *pn_fiber_stacks(unsigned count, size_t *bytes) {
    *bytes = count * (STACK + 2 * page_bytes());
    void *at = mmap(nullptr, *bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? nullptr : static_cast<char *>(at);
}

void pn_fiber_make(pn_fiber *f, char *stacks, unsigned n) {
    const size_t page = page_bytes();
    char *at = stacks + n * (STACK + 2 * page);
    mprotect(at, page, PROT_NONE);
    memset(f, 0, sizeof *f);
    f->stack = at + page;
    f->bytes = STACK + n * 7 % 16 * 256; /* and in the pages too, the first frames lie apart */
}

void pn_fiber_reset(pn_fiber *f, void (*entry)()) {
#ifdef PN_FIBER_ASAN
    __asan_unpoison_memory_region(f->stack, f->bytes);
#endif
    f->fake = nullptr;
#ifdef PN_FIBER_UCONTEXT
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = const_cast<char *>(f->stack);
    f->context.uc_stack.ss_size = f->bytes;
    makecontext(&f->context, entry, 0);
#else
    uintptr_t *top = reinterpret_cast<uintptr_t *>(const_cast<char *>(f->stack) + f->bytes) - WORDS;
    memset(top, 0, WORDS * sizeof *top);
    top[ENTRY] = reinterpret_cast<uintptr_t>(entry);
    f->sp = top;
#endif
}

__attribute__((no_sanitize("address"))) void pn_fiber_switch(pn_fiber *from, pn_fiber *to,
                                                             bool forget) {
#ifdef PN_FIBER_ASAN
    __sanitizer_start_switch_fiber(forget ? nullptr : &from->fake, to->stack, to->bytes);
#else
    (void)forget;
#endif
#ifdef PN_FIBER_UCONTEXT
    swapcontext(&from->context, &to->context);
#else
    pn_fiber_swap(&from->sp, to->sp);
#endif
#ifdef PN_FIBER_ASAN
    __sanitizer_finish_switch_fiber(from->fake, nullptr, nullptr);
#endif
}

__attribute__((no_sanitize("address"))) void pn_fiber_entered(pn_fiber *from) {
#ifdef PN_FIBER_ASAN
    const void *stack;
    size_t bytes;
    __sanitizer_finish_switch_fiber(nullptr, &stack, &bytes);
    if (from) {
        from->stack = static_cast<const char *>(stack);
        from->bytes = bytes;
    }
#else
    (void)from;
#endif
}
