/* emulator.cc -- runs the threads of a grid; see emulator.h.
 *
 * A worker is an OS thread that runs one block after another. Of a block, threads start in the
 * order wanted, on one fiber, until one of them waits; then the next go on another fiber. Who can
 * go on is in a queue; who waits switches straight to the first of it. So a thread that never waits
 * costs a call, and one that does two switches, whatever the size of the block.
 *
 * A fault leaves its fiber for good: the worker's own stack takes over, all fibers are reset.
 * Nothing on them is destroyed, so kernels (and this file, on a fiber) must not own memory. */
#include "kernels/emulator/emulator.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cfenv>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/emulator/fiber.h"
#include "kernels/emulator/watch.h"

#ifdef PN_FIBER_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace {

enum { MAX_THREADS = 1024, LANES = 32, WARPS = MAX_THREADS / LANES };
const size_t SHARED_MAX = 227 << 10; /* of a block, on the largest card (sm_90) */
const size_t STATIC_MAX = 48 << 10;  /* of it declared with a size: ptxas refuses more */
const unsigned FULL = 0xffffffffu;

/* ---- settings -------------------------------------------------------------------------------- */

struct settings {
    int order;
    uint64_t seed;
    unsigned workers;
    double timeout;
};

settings from_environment() {
    settings s = {PN_EMULATOR_FORWARD, 0, std::thread::hardware_concurrency(), 0};
    const char *order = getenv("PN_EMULATOR_ORDER");
    if (order && !strcmp(order, "reverse")) {
        s.order = PN_EMULATOR_REVERSE;
    } else if (order && *order >= '0' && *order <= '9') {
        s.order = PN_EMULATOR_RANDOM;
        s.seed = strtoull(order, nullptr, 10);
    } else if (order && *order && strcmp(order, "forward") != 0) {
        fprintf(stderr, "PN_EMULATOR_ORDER=%s: want forward, reverse or a number\n", order);
        exit(2);
    }
    if (const char *workers = getenv("PN_EMULATOR_THREADS")) s.workers = (unsigned)atoi(workers);
    if (const char *timeout = getenv("PN_EMULATOR_TIMEOUT")) s.timeout = strtod(timeout, nullptr);
    if (s.workers < 1) s.workers = 1;
    return s;
}

settings &configuration() {
    static settings s = from_environment();
    return s;
}

int card_from_environment() {
    const char *card = getenv("PN_EMULATOR_CARD");
    if (!card || !*card || !strcmp(card, "80")) return 80;
    if (!strcmp(card, "75")) return 75;
    fprintf(stderr, "PN_EMULATOR_CARD=%s: want 75 or 80\n", card);
    exit(2);
}

/* ---- numbers for random orders: splitmix64 (Steele, Lea, Flood 2014) ------------------------- */

uint64_t draw(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

template <class T>
void shuffle(T *a, unsigned count, uint64_t *state) {
    for (unsigned i = count; i > 1; i--) {
        const unsigned j = (unsigned)(((draw(state) >> 32) * i) >> 32);
        const T swap = a[i - 1];
        a[i - 1] = a[j];
        a[j] = swap;
    }
}

/* ---- a launch -------------------------------------------------------------------------------- */

struct launch {
    const char *what;
    gpu_grid grid;
    void (*call)(const void *kernel);
    const void *kernel;
    uint64_t number;
    settings how;
    const unsigned *order;      /* of blocks; NULL unless random */
    std::atomic<unsigned> next; /* block to be taken */
    std::atomic<bool> failed;   /* then nobody starts another block */
    std::atomic_flag claimed;   /* by who writes the message */
    char message[640];
    void (*explain)(char *to, size_t bytes); /* writes what follows the message; or NULL */
};

/* ---- a worker -------------------------------------------------------------------------------- */

enum state : uint8_t { RUNS, WAITS, WAITS_IN_WARP, ENDED };

struct thread : pn_emulator_thread {
    unsigned products; /* put aside */
    pn_fiber *fiber;
    const char *file; /* where it waits */
    int line;
};

/* What a lane brings to an operation of its warp, and takes from it. */
struct deposit {
    uint64_t value;
    unsigned mask;
    int kind, arg, width;
};

/* One mma.sync.m16n8k8 of a warp, put together by its lanes. */
enum { M = 16, COLUMNS = 8, SLOTS = 8, PRODUCTS = 8 };
struct product {
    float high_a[M][SLOTS], low_a[M][SLOTS], high_b[SLOTS][COLUMNS], low_b[SLOTS][COLUMNS];
    bool exact; /* else there is no low_a, low_b */
    float4 *sum[LANES];
    const char *file; /* that the first lane came from */
    int line;
};

struct warp {
    unsigned waiting, ended; /* lanes */
    unsigned products;       /* that a lane has put aside */
    deposit lane[LANES];
    product aside[PRODUCTS];
};

struct static_array { /* one GPU_SHARED */
    uint64_t block;   /* that it was last given to */
    char *at;
    size_t bytes;
};

struct worker {
    launch *job;
    uint64_t block; /* a number that no other block of this worker had */
    unsigned count; /* threads of the block */
    unsigned next;  /* how many of `order` have started */
    unsigned ended;
    unsigned at_barrier, head, tail; /* of the queue */
    int kind, sum;                   /* of the barrier's values */
    int result;
    uint64_t random;
    const char *file; /* of the barrier */
    int line;

    thread *self;
    pn_fiber *here;
    std::vector<pn_fiber *> fibers, idle;
    pn_fiber outside; /* the OS thread's own stack */
    char *stacks;
    size_t stacks_bytes;

    char *dynamic;
    size_t dynamic_bytes, static_bytes, arena_bytes;
    std::vector<static_array> statics;

    uint16_t order[MAX_THREADS], queue[MAX_THREADS];
    uint8_t states[MAX_THREADS];
    warp warps[WARPS];
    thread threads[MAX_THREADS];
};

__thread worker *me;

}  // namespace

__thread const pn_emulator_thread *pn_emulator_self;
__thread pn_emulator_block pn_emulator_at;
const pn_emulator_watch *pn_emulator_watcher;
int pn_emulator_card = card_from_environment();
pn_storage pn_emulator_halves = PN_STORED_BF16;

namespace {

/* ---- faults ---------------------------------------------------------------------------------- */

const char *kind_name(int kind) {
    static const char *const names[] = {"__syncwarp",       "__shfl_sync",    "__shfl_xor_sync",
                                        "__shfl_down_sync", "__shfl_up_sync", "__ballot_sync",
                                        "mma.sync"};
    return names[kind];
}

/* Ends the block, and with it the launch. On a fiber only. */
[[noreturn]] void leave(worker *w) {
    w->job->failed = true;
    pn_fiber_switch(w->here, &w->outside, true);
    abort(); /* nobody comes back here */
}

/* Begins the message; false if another block's fault has been the first. */
bool claim(worker *w, int *length) {
    launch *const l = w->job;
    if (l->claimed.test_and_set()) return false;
    *length = snprintf(l->message, sizeof l->message, "%.300s: block %u, thread %u: ", l->what,
                       pn_emulator_at.index.x, (unsigned)(w->self - w->threads));
    return true;
}

[[noreturn]] __attribute__((format(printf, 2, 3))) void fault(worker *w, const char *format, ...) {
    launch *const l = w->job;
    int n;
    if (claim(w, &n)) {
        va_list args;
        va_start(args, format);
        vsnprintf(l->message + n, sizeof l->message - (size_t)n, format, args);
        va_end(args);
    }
    leave(w);
}

/* Nobody can go on: says what two of them wait for. */
[[noreturn]] void stuck(worker *w) {
    const unsigned self = (unsigned)(w->self - w->threads);
    const thread *other = nullptr;
    for (unsigned t = 0; t < w->count; t++) {
        if (t == self || w->states[t] == ENDED) continue;
        if (!other) other = &w->threads[t];
        if (w->states[t] == w->states[self]) continue;
        other = &w->threads[t]; /* waits for something else: that tells more */
        break;
    }
    if (w->states[self] == ENDED)
        fault(w, "ends, and thread %u waits for ever at %s:%d", other ? other->index.x : self,
              other ? other->file : "?", other ? other->line : 0);
    fault(w, "waits for ever at %s:%d, and thread %u at %s:%d", w->self->file, w->self->line,
          other ? other->index.x : self, other ? other->file : w->self->file,
          other ? other->line : w->self->line);
}

/* ---- who runs next --------------------------------------------------------------------------- */

void queue_thread(worker *w, unsigned t) {
    w->states[t] = RUNS;
    w->queue[w->tail++ % MAX_THREADS] = (uint16_t)t;
}

void enter(worker *w, thread *t) {
    w->self = t;
    pn_emulator_self = t;
}

void fiber_main();

pn_fiber *idle_fiber(worker *w) {
    if (w->idle.empty()) {
        pn_fiber *f = static_cast<pn_fiber *>(calloc(1, sizeof *f));
        if (!f) abort();
        pn_fiber_make(f, w->stacks, (unsigned)w->fibers.size());
        pn_fiber_reset(f, fiber_main);
        w->fibers.push_back(f);
        return f;
    }
    pn_fiber *f = w->idle.back();
    w->idle.pop_back();
    return f;
}

void go(worker *w, pn_fiber *to) {
    pn_fiber *const from = w->here;
    w->here = to;
    pn_fiber_switch(from, to, false);
}

/* The thread at hand waits, or has been queued behind others: until its turn comes. */
void wait(worker *w) {
    thread *const self = w->self;
    pn_fiber *to;
    if (w->head != w->tail) {
        thread *const t = &w->threads[w->queue[w->head++ % MAX_THREADS]];
        if (t == self) return;
        to = t->fiber;
    } else if (w->next < w->count) {
        to = idle_fiber(w);
    } else {
        stuck(w);
    }
    self->fiber = w->here;
    go(w, to);
    enter(w, self);
}

/* Of tensor cores, that the thread has put aside, where it does something else. */
void check_products(worker *w, const char *what) {
    if (w->self->products)
        fault(w, "%s, and nobody has waited for its mma.sync at %s:%d", what,
              w->warps[w->self->index.x / LANES].aside[0].file,
              w->warps[w->self->index.x / LANES].aside[0].line);
}

void thread_ended(worker *w, unsigned t) {
    check_products(w, "ends");
    w->states[t] = ENDED;
    w->ended++;
    if (w->at_barrier) {
        unsigned waiting = 0;
        while (w->states[waiting] != WAITS) waiting++;
        fault(w, "ends, and thread %u waits at the barrier %s:%d", waiting, w->file, w->line);
    }
    warp *const v = &w->warps[t / LANES];
    v->ended |= 1u << t % LANES;
    for (unsigned lanes = v->waiting; lanes; lanes &= lanes - 1) {
        const unsigned lane = (unsigned)__builtin_ctz(lanes);
        const thread *other = &w->threads[t / LANES * LANES + lane];
        if (v->lane[lane].mask >> t % LANES & 1)
            fault(w, "ends, and thread %u waits for it in %s at %s:%d", other->index.x,
                  kind_name(v->lane[lane].kind), other->file, other->line);
    }
}

/* What every fiber does: start threads, as long as nobody who has started could go on. Its frame is
 * never left in good order, so ASan must not mark it. */
__attribute__((no_sanitize("address"))) void fiber_main() {
    worker *const w = me;
    pn_fiber_entered(w->outside.stack ? nullptr : &w->outside);
    for (;;) {
        while (w->next < w->count && w->head == w->tail) {
            const unsigned t = w->order[w->next++];
            enter(w, &w->threads[t]);
            w->job->call(w->job->kernel);
            thread_ended(w, t);
        }
        w->idle.push_back(w->here);
        if (w->head != w->tail)
            go(w, w->threads[w->queue[w->head++ % MAX_THREADS]].fiber);
        else if (w->ended == w->count)
            go(w, &w->outside);
        else
            stuck(w);
    }
}

/* ---- shared memory --------------------------------------------------------------------------- */

char *new_array(size_t bytes) {
    void *at = nullptr;
    if (posix_memalign(&at, 64, bytes ? bytes : 1)) abort();
    return static_cast<char *>(at);
}

#ifndef PN_FIBER_ASAN /* one stretch; with ASan each array is a block of the heap */
size_t up16(size_t bytes) { return (bytes + 15) & ~(size_t)15; }
#endif

void begin_shared(worker *w) {
    const size_t bytes = w->job->grid.shared;
#ifdef PN_FIBER_ASAN
    if (!w->dynamic || w->dynamic_bytes != bytes) {
        free(w->dynamic);
        w->dynamic = new_array(bytes);
    }
#else
    if (!w->dynamic) {
        w->arena_bytes = SHARED_MAX + STATIC_MAX;
        w->dynamic = new_array(w->arena_bytes);
    }
#endif
    w->dynamic_bytes = bytes;
    w->static_bytes = 0;
    memset(w->dynamic, 0xff, bytes);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

void order_threads(worker *w) {
    if (w->job->how.order == PN_EMULATOR_RANDOM) shuffle(w->order, w->count, &w->random);
}

worker *new_worker() {
    worker *w = new worker();
    w->stacks = pn_fiber_stacks(MAX_THREADS + 1, &w->stacks_bytes);
    if (!w->stacks) {
        fprintf(stderr, "emulator: no memory for the stacks of threads\n");
        abort();
    }
    for (unsigned t = 0; t < MAX_THREADS; t++) w->threads[t].index = dim3(t, 0, 0);
    return w;
}

/* Of a thread that launches, and of the next one when it has ended. */
struct lease {
    worker *w = nullptr;
    ~lease();
};
std::mutex idle_mutex;
std::vector<worker *> &idle_workers = *new std::vector<worker *>; /* outlives all threads */
lease::~lease() {
    const std::lock_guard<std::mutex> lock(idle_mutex);
    if (w) idle_workers.push_back(w);
}
worker *leased_worker() {
    static thread_local lease mine;
    const std::lock_guard<std::mutex> lock(idle_mutex);
    if (!idle_workers.empty()) {
        mine.w = idle_workers.back();
        idle_workers.pop_back();
    }
    if (!mine.w) mine.w = new_worker();
    return mine.w;
}

void run_block(worker *w, unsigned index) {
    launch *const l = w->job;
    w->block++;
    w->next = w->ended = w->at_barrier = w->head = w->tail = 0;
    w->random = l->how.seed ^ (l->number << 32) ^ index;
    pn_emulator_at.index = dim3(index, 0, 0);
    order_threads(w);
    memset(w->states, RUNS, w->count);
    for (unsigned v = 0; v * LANES < w->count; v++)
        w->warps[v].waiting = w->warps[v].ended = w->warps[v].products = 0;
    for (unsigned t = 0; t < w->count; t++) w->threads[t].products = 0;
    begin_shared(w);
    if (pn_emulator_watcher) {
        pn_emulator_watcher->block(index, w->dynamic, w->arena_bytes);
    }

    w->here = idle_fiber(w);
    pn_fiber_switch(&w->outside, w->here, false);
    pn_emulator_self = nullptr;
    if (pn_emulator_watcher && pn_emulator_watcher->end) pn_emulator_watcher->end();

    if (w->ended < w->count) { /* a fault */
        w->idle.clear();
        for (pn_fiber *f : w->fibers) {
            pn_fiber_reset(f, fiber_main);
            w->idle.push_back(f);
        }
    }
}

/* Threads that spin never wait, so that only a signal gets them off their fiber. */
void give_up(int) {
    worker *const w = me;
#ifdef PN_FIBER_ASAN
    if (__asan_report_present()) return; /* that takes long, and ends the process */
#endif
    if (w && pn_emulator_self && !w->job->failed)
        fault(w, "still runs after %g s of processor time", w->job->how.timeout);
}

struct alarm_clock {
    timer_t timer;
    explicit alarm_clock(double seconds) : timer() {
        if (seconds <= 0) return;
        struct sigaction action = {};
        action.sa_handler = give_up;
        action.sa_flags = SA_NODEFER; /* it leaves the handler by another way */
        sigaction(SIGRTMIN, &action, nullptr);
        struct sigevent event = {};
        event.sigev_notify = SIGEV_THREAD_ID;
        event.sigev_signo = SIGRTMIN;
        event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
        timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer);
        struct itimerspec when = {};
        when.it_value.tv_sec = (time_t)seconds;
        when.it_value.tv_nsec = (long)((seconds - (double)when.it_value.tv_sec) * 1e9) + 1;
        timer_settime(timer, 0, &when, nullptr);
    }
    ~alarm_clock() {
        if (timer) timer_delete(timer);
    }
};

/* ---- a launch's blocks, shared out ----------------------------------------------------------- */

double seconds() {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

class pool {
    std::mutex mutex;
    std::condition_variable wake, done;
    launch *job = nullptr;
    uint64_t turn = 0;
    unsigned busy = 0;

    void stay() {
        me = new_worker();
        uint64_t seen = 0;
        std::unique_lock<std::mutex> lock(mutex);
        for (;;) {
            wake.wait(lock, [&] { return turn != seen; });
            seen = turn;
            launch *const l = job;
            if (!l) continue; /* woke too late */
            busy++;
            lock.unlock();
            work(l, [] {});
            lock.lock();
            if (--busy == 0) done.notify_one();
        }
    }

   public:
    unsigned others;
    pid_t process;

    explicit pool(unsigned count) : others(count), process(getpid()) {
        for (unsigned i = 0; i < count; i++) std::thread([this] { stay(); }).detach();
    }

    void start(launch *l) {
        std::lock_guard<std::mutex> lock(mutex);
        job = l;
        turn++;
        wake.notify_all();
    }

    void finish() {
        std::unique_lock<std::mutex> lock(mutex);
        job = nullptr;
        done.wait(lock, [&] { return busy == 0; });
    }

    /* Takes blocks until there are none; between() after each. */
    template <class Between>
    static void work(launch *l, Between between) {
        worker *const w = me;
        w->job = l;
        w->count = l->grid.threads;
        const unsigned blocks = l->grid.blocks;
        pn_emulator_at.threads = dim3(w->count, 1, 1);
        pn_emulator_at.blocks = dim3(blocks, 1, 1);
        for (unsigned i = 0; i < w->count; i++)
            w->order[i] = (uint16_t)(l->how.order == PN_EMULATOR_REVERSE ? w->count - 1 - i : i);
        const alarm_clock clock(l->how.timeout);
        while (!l->failed.load(std::memory_order_relaxed)) {
            const unsigned i = l->next.fetch_add(1, std::memory_order_relaxed);
            if (i >= blocks) break;
            unsigned block = i;
            if (l->order) block = l->order[i];
            if (l->how.order == PN_EMULATOR_REVERSE) block = blocks - 1 - i;
            run_block(w, block);
            between();
        }
        w->job = nullptr;
    }
};

/* Helpers cost some tens of microseconds to wake: only a launch that takes longer gets them. A
 * process forked from one that had them has none, and makes its own. */
const double WORTH_WAKING = 60e-6;

pool *helpers(unsigned workers) {
    static pool *all = nullptr; /* never freed: its threads outlive main */
    if (!all || all->process != getpid() || all->others != workers - 1) all = new pool(workers - 1);
    return all;
}

}  // namespace

/* ---- what kernels call ----------------------------------------------------------------------- */

void pn_emulator_misaligned(const void *p, unsigned bytes, const char *file, int line) {
    if (!pn_emulator_self) {
        fprintf(stderr, "%s:%d: %u bytes at %p outside a kernel\n", file, line, bytes, p);
        abort();
    }
    fault(me, "%u bytes at %p, which is no multiple of %u (%s:%d)", bytes, p, bytes, file, line);
}

void pn_emulator_fault(void (*explain)(char *to, size_t bytes)) {
    worker *const w = me;
    int n;
    if (claim(w, &n)) w->job->explain = explain;
    leave(w);
}

bool pn_emulator_private(const void *p) {
    const worker *const w = me;
    const char *const c = static_cast<const char *>(p);
    return (size_t)(c - w->stacks) < w->stacks_bytes ||
           (size_t)(c - reinterpret_cast<const char *>(w)) < sizeof *w ||
           c == reinterpret_cast<const char *>(&pn_emulator_self) ||
           (size_t)(c - reinterpret_cast<const char *>(&pn_emulator_at)) < sizeof pn_emulator_at;
}

void *pn_emulator_dynamic(void) { return me->dynamic; }

void *pn_emulator_shared(int *number, size_t bytes, const char *file, int line) {
    worker *const w = me;
    static std::atomic<int> last(0);
    int n = __atomic_load_n(number, __ATOMIC_RELAXED);
    if (n == 0) {
        int fresh = ++last; /* if two workers come here at once, one number is lost */
        if (__atomic_compare_exchange_n(number, &n, fresh, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
            n = fresh;
    }
    if ((size_t)n >= w->statics.size()) w->statics.resize((size_t)n + 16);
    static_array *const a = &w->statics[(size_t)n];
    if (a->block == w->block) return a->at;

    if (w->static_bytes + bytes > STATIC_MAX)
        fault(w, "%zu bytes of shared memory declared with %s:%d, a card has %zu",
              w->static_bytes + bytes, file, line, STATIC_MAX);
    if (w->dynamic_bytes + w->static_bytes + bytes > SHARED_MAX)
        fault(w, "%zu bytes of shared memory and %zu dynamic ones with %s:%d, a card has %zu",
              w->static_bytes + bytes, w->dynamic_bytes, file, line, SHARED_MAX);
#ifdef PN_FIBER_ASAN
    if (a->bytes != bytes) a->at = new_array(bytes);
    w->static_bytes += bytes;
#else
    a->at = w->dynamic + up16(w->dynamic_bytes) + w->static_bytes;
    w->static_bytes += up16(bytes);
#endif
    a->bytes = bytes;
    a->block = w->block;
    memset(a->at, 0xff, bytes);
    return a->at;
}

int pn_emulator_barrier(int kind, int value, const char *file, int line) {
    worker *const w = me;
    thread *const self = w->self;
    const unsigned t = (unsigned)(self - w->threads);
    check_products(w, "comes to a barrier");
    if (w->ended) {
        unsigned ended = 0;
        while (w->states[ended] != ENDED) ended++;
        fault(w, "waits at the barrier %s:%d, and thread %u has ended", file, line, ended);
    }
    if (w->at_barrier++ == 0) {
        w->file = file;
        w->line = line;
        w->kind = kind;
        w->sum = 0;
    } else if (w->line != line || w->kind != kind ||
               (w->file != file && strcmp(w->file, file) != 0)) {
        unsigned other = 0;
        while (w->states[other] != WAITS) other++;
        fault(w, "waits at the barrier %s:%d, and thread %u at %s:%d", file, line, other, w->file,
              w->line);
    }
    w->states[t] = WAITS;
    self->file = file;
    self->line = line;
    w->sum += value != 0;
    if (w->at_barrier == w->count) {
        w->result = kind == PN_EMULATOR_COUNT ? w->sum
                    : kind == PN_EMULATOR_AND ? w->sum == (int)w->count
                                              : w->sum != 0;
        w->at_barrier = 0;
        if (pn_emulator_watcher) pn_emulator_watcher->barrier(file, line);
        order_threads(w);
        for (unsigned i = 0; i < w->count; i++) queue_thread(w, w->order[i]);
    }
    wait(w);
    return w->result;
}

namespace {

/* What the tensor cores read of 32 bits: those of tf32; or a half, to which they are rounded. */
float operand(unsigned bits, pn_emulator_products products) {
    if (products == PN_EMULATOR_HALVES) return pn_fp16_widen(pn_fp16_narrow(__uint_as_float(bits)));
    return __uint_as_float(bits & 0xffffe000u);
}

/* Four columns at once. */
typedef float float_4 __attribute__((vector_size(16)));
typedef double double_4 __attribute__((vector_size(32)));

template <int ROWS>
__forceinline__ void widen(const float (&from)[ROWS][8], double (&to)[ROWS][8]) {
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < 8; j++) to[i][j] = (double)from[i][j];
}

/* sum += a b, by one mma.sync.m16n8k8, where numbers are rounded toward 0. Products are exact;
 * their sum with the one before loses what is beyond a float, as tensor cores have been seen to do
 * (Fasi, Higham, Mikaitis, Pranesh: Numerical behavior of NVIDIA tensor cores, PeerJ CS 2021).
 * Fused or not, the same bits: no product of two numbers of 11 bits is rounded. */
__forceinline__ void multiply_add(const double (&a)[M][SLOTS], const double (&b)[SLOTS][COLUMNS],
                                  float_4 (&sum)[M][2]) {
    for (int m = 0; m < M; m++) {
        double_4 all[2];
        for (int i = 0; i < 2; i++) all[i] = __builtin_convertvector(sum[m][i], double_4);
        for (int k = 0; k < SLOTS; k++)
            for (int i = 0; i < 2; i++) {
                double_4 row;
                memcpy(&row, &b[k][4 * i], sizeof row);
                all[i] += a[m][k] * row;
            }
        for (int i = 0; i < 2; i++) sum[m][i] = __builtin_convertvector(all[i], float_4);
    }
}

/* Fragments: see pn_emulator_mma. */
__forceinline__ void multiply_all(const product *list, unsigned count) {
    for (const product *p = list; p < list + count; p++) {
        double high_a[M][SLOTS], low_a[M][SLOTS], high_b[SLOTS][COLUMNS], low_b[SLOTS][COLUMNS];
        widen(p->high_a, high_a);
        widen(p->high_b, high_b);
        float_4 sum[M][2];
        for (int l = 0; l < LANES; l += 2) {
            const float4 *const s = p->sum[l], *const t = p->sum[l + 1];
            sum[l / 4][l % 4 / 2] = float_4{s->x, s->y, t->x, t->y};
            sum[l / 4 + 8][l % 4 / 2] = float_4{s->z, s->w, t->z, t->w};
        }
        if (p->exact) {
            widen(p->low_a, low_a);
            widen(p->low_b, low_b);
            multiply_add(low_a, high_b, sum);
            multiply_add(high_a, low_b, sum);
        }
        multiply_add(high_a, high_b, sum);
        for (int l = 0; l < LANES; l += 2) {
            const float_4 low = sum[l / 4][l % 4 / 2], high = sum[l / 4 + 8][l % 4 / 2];
            *p->sum[l] = make_float4(low[0], low[1], high[0], high[1]);
            *p->sum[l + 1] = make_float4(low[2], low[3], high[2], high[3]);
        }
    }
}

__attribute__((noinline)) void multiply_anywhere(const product *list, unsigned count) {
    multiply_all(list, count);
}
#ifdef __x86_64__
__attribute__((noinline, target("avx2,fma"))) void multiply_avx2(const product *list,
                                                                 unsigned count) {
    multiply_all(list, count);
}
#else
void multiply_avx2(const product *, unsigned) {}
#endif

bool has_avx2() {
#ifdef __x86_64__
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

void multiply(const product *list, unsigned count) {
    static const bool wide = has_avx2();
    const int usual = fegetround();
    fesetround(FE_TOWARDZERO);
    (wide ? multiply_avx2 : multiply_anywhere)(list, count);
    fesetround(usual);
}

/* All lanes of the mask have come: checks that they mean the same, gives each its result. */
void complete(worker *w, warp *v, unsigned base, unsigned mask, int kind) {
    const thread *const self = w->self;
    const unsigned own = (unsigned)(self - w->threads) - base;
    uint64_t result[LANES];
    uint64_t ballot = 0;
    for (unsigned lanes = mask; lanes; lanes &= lanes - 1) {
        const unsigned lane = (unsigned)__builtin_ctz(lanes);
        const deposit *const d = &v->lane[lane];
        const thread *const t = &w->threads[base + lane];
        const bool elsewhere =
            t->line != self->line || (t->file != self->file && strcmp(t->file, self->file) != 0);
        if (kind == PN_EMULATOR_MMA && d->kind == kind && d->arg != (int)v->products)
            fault(w, "%d products of mma.sync at %s:%d, and thread %u %d", (int)v->products,
                  self->file, self->line, base + lane, d->arg);
        if (d->mask != mask || d->kind != kind || (elsewhere && kind != PN_EMULATOR_SYNC))
            fault(w, "%s with mask %08x at %s:%d, and thread %u %s with mask %08x at %s:%d",
                  kind_name(kind), mask, self->file, self->line, base + lane, kind_name(d->kind),
                  d->mask, t->file, t->line);
        if (d->value) ballot |= 1u << lane;
    }
    if (kind == PN_EMULATOR_SYNC) {
        if (pn_emulator_watcher) pn_emulator_watcher->syncwarp(base / LANES, mask);
        return;
    }
    if (kind == PN_EMULATOR_MMA) {
        multiply(v->aside, v->products);
        v->products = 0;
        return;
    }
    for (unsigned lanes = mask; lanes; lanes &= lanes - 1) {
        const unsigned lane = (unsigned)__builtin_ctz(lanes);
        const deposit *const d = &v->lane[lane];
        if (kind == PN_EMULATOR_BALLOT) {
            result[lane] = ballot;
            continue;
        }
        const int width = d->width, first = (int)lane & ~(width - 1);
        int from = d->arg;
        if (kind == PN_EMULATOR_SHFL) from = first | (d->arg & (width - 1));
        if (kind == PN_EMULATOR_SHFL_XOR) from = (int)lane ^ d->arg;
        if (kind == PN_EMULATOR_SHFL_DOWN) from = (int)lane + d->arg;
        if (kind == PN_EMULATOR_SHFL_UP) from = (int)lane - d->arg;
        if (from >= first + width || (kind == PN_EMULATOR_SHFL_UP && from < first))
            from = (int)lane;
        if (!(mask >> from & 1)) {
            if (own != lane) enter(w, &w->threads[base + lane]); /* whose fault it is */
            fault(w, "%s at %s:%d reads from lane %d, which is not in its mask %08x",
                  kind_name(kind), self->file, self->line, from, mask);
        }
        result[lane] = v->lane[from].value;
    }
    for (unsigned lanes = mask; lanes; lanes &= lanes - 1) {
        const unsigned lane = (unsigned)__builtin_ctz(lanes);
        v->lane[lane].value = result[lane];
    }
}

}  // namespace

uint64_t pn_emulator_warp(int kind, unsigned mask, uint64_t value, int arg, int width,
                          const char *file, int line) {
    worker *const w = me;
    thread *const self = w->self;
    const unsigned t = (unsigned)(self - w->threads), lane = t % LANES, base = t - lane;
    warp *const v = &w->warps[t / LANES];
    const unsigned there = w->count - base < LANES ? (1u << (w->count - base)) - 1 : FULL;
    self->file = file;
    self->line = line;
    if (kind != PN_EMULATOR_MMA) check_products(w, kind_name(kind));
    if (!(mask >> lane & 1) || (mask & ~there) || (mask & v->ended)) {
        const unsigned who = mask & ~there ? mask & ~there : mask & v->ended;
        if (!(mask >> lane & 1))
            fault(w, "%s at %s:%d with mask %08x, in which it is not", kind_name(kind), file, line,
                  mask);
        fault(w, "%s at %s:%d with mask %08x, and thread %u %s", kind_name(kind), file, line, mask,
              base + (unsigned)__builtin_ctz(who), mask & ~there ? "does not exist" : "has ended");
    }
    if (width < 1 || width > LANES || (width & (width - 1)))
        fault(w, "%s at %s:%d with width %d", kind_name(kind), file, line, width);
    v->lane[lane] = {value, mask, kind, arg, width};
    v->waiting |= 1u << lane;
    w->states[t] = WAITS_IN_WARP;
    if ((v->waiting & mask) == mask) {
        complete(w, v, base, mask, kind);
        v->waiting &= ~mask;
        if (w->job->how.order == PN_EMULATOR_FORWARD) {
            for (unsigned lanes = mask; lanes; lanes &= lanes - 1)
                queue_thread(w, base + (unsigned)__builtin_ctz(lanes));
        } else {
            unsigned list[LANES], n = 0;
            for (unsigned lanes = mask; lanes; n++) {
                const unsigned top = 31 - (unsigned)__builtin_clz(lanes);
                list[n] = base + top;
                lanes &= ~(1u << top);
            }
            if (w->job->how.order == PN_EMULATOR_RANDOM) shuffle(list, n, &w->random);
            for (unsigned i = 0; i < n; i++) queue_thread(w, list[i]);
        }
    }
    wait(w);
    return v->lane[lane].value;
}

/* Fragments (PTX ISA, "Matrix Fragments for mma.m16n8k8", .tf32): lane 4 g + t has of a (g,t),
 * (g+8,t), (g,t+4), (g+8,t+4), of b (t,g), (t+4,g), of the sums (g,2t), (g,2t+1), (g+8,2t),
 * (g+8,2t+1). */
void pn_emulator_mma(pn_emulator_products products, float4 *sum, const gpu_mma_a &a,
                     const gpu_mma_b &b, const char *file, int line) {
    worker *const w = me;
    thread *const self = w->self;
    const unsigned thread = self->index.x, lane = thread % LANES, g = lane / 4, t = lane % 4;
    warp *const v = &w->warps[thread / LANES];
    if (self->products == PRODUCTS) pn_emulator_mma_end(file, line);
    product *const p = &v->aside[self->products++];
    if (self->products > v->products) {
        v->products = self->products;
        p->file = file;
        p->line = line;
        p->exact = products == PN_EMULATOR_EXACT;
    } else if (p->line != line || (p->file != file && strcmp(p->file, file) != 0)) {
        fault(w, "mma.sync with mask %08x at %s:%d, and another lane at %s:%d", FULL, file, line,
              p->file, p->line);
    }
    for (unsigned i = 0; i < 4; i++) {
        p->high_a[g + i % 2 * 8][t + i / 2 * 4] = operand(a.high[i], products);
        if (p->exact) p->low_a[g + i % 2 * 8][t + i / 2 * 4] = operand(a.low[i], products);
    }
    for (unsigned i = 0; i < 2; i++) {
        p->high_b[t + 4 * i][g] = operand(b.high[i], products);
        if (p->exact) p->low_b[t + 4 * i][g] = operand(b.low[i], products);
    }
    p->sum[lane] = sum;
}

void pn_emulator_mma_end(const char *file, int line) {
    thread *const self = me->self;
    const int products = (int)self->products;
    self->products = 0;
    pn_emulator_warp(PN_EMULATOR_MMA, FULL, 0, products, LANES, file, line);
}

#define ATOMICS(T)                                                                            \
    T atomicAdd(T *p, T v) {                                                                  \
        if (pn_emulator_watcher) pn_emulator_watcher->atomic(p, __builtin_return_address(0)); \
        return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);                                    \
    }                                                                                         \
    T atomicExch(T *p, T v) {                                                                 \
        if (pn_emulator_watcher) pn_emulator_watcher->atomic(p, __builtin_return_address(0)); \
        return __atomic_exchange_n(p, v, __ATOMIC_RELAXED);                                   \
    }                                                                                         \
    T atomicCAS(T *p, T old, T v) {                                                           \
        if (pn_emulator_watcher) pn_emulator_watcher->atomic(p, __builtin_return_address(0)); \
        __atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);   \
        return old;                                                                           \
    }                                                                                         \
    T atomicMax(T *p, T v) {                                                                  \
        if (pn_emulator_watcher) pn_emulator_watcher->atomic(p, __builtin_return_address(0)); \
        T old = __atomic_load_n(p, __ATOMIC_RELAXED);                                         \
        while (old < v && !__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_RELAXED,   \
                                                       __ATOMIC_RELAXED)) {                   \
        }                                                                                     \
        return old;                                                                           \
    }
ATOMICS(int)
ATOMICS(unsigned)

/* ---- what hosts call ------------------------------------------------------------------------- */

/* Weak: the backend's own table of functions may bring its own. */
static std::atomic<long> launches;
extern "C" __attribute__((weak)) long pn_launches_emulated(void) { return launches; }
extern "C" __attribute__((weak)) void pn_count_launch_emulated(void) { launches++; }

extern "C" void pn_emulator_order(int kind, uint64_t seed) {
    configuration().order = kind;
    configuration().seed = seed;
}

extern "C" int pn_emulated_card(void) { return pn_emulator_card; }

pn_status pn_emulator_run(const char *what, gpu_grid g, void (*call)(const void *kernel),
                          const void *kernel) {
    const char *wrong = nullptr;
    if (g.threads < 1 || g.threads > MAX_THREADS || g.blocks > 0x7fffffffu)
        wrong = "invalid configuration argument";
    else if (g.shared > SHARED_MAX)
        wrong = "invalid argument";
    if (wrong)
        return pn_fail(PN_EDEVICE, "%s: %u blocks of %u threads and %zu bytes: %s", what, g.blocks,
                       g.threads, g.shared, wrong);

    static std::atomic<uint64_t> number(0);
    /* A launch at a time, as on a stream; but OS threads that each run their own launch alone have
     * a stream each, and their blocks alternate as they are let. */
    static std::mutex one;
    std::unique_lock<std::mutex> lock(one, std::defer_lock);
    if (configuration().workers > 1 || pn_emulator_watcher) lock.lock();
    launch l = {};
    l.what = what;
    l.grid = g;
    l.call = call;
    l.kernel = kernel;
    l.number = ++number;
    /* For tests of what follows when a card fails: from that launch on, all do. */
    static const char *const fail_at = getenv("PN_EMULATOR_FAIL_AT");
    if (fail_at && l.number >= strtoull(fail_at, nullptr, 10))
        return pn_fail(PN_EDEVICE, "%s: launch %llu failed, as was asked for", what,
                       (unsigned long long)l.number);
    l.how = configuration();
    static thread_local std::vector<unsigned> order;
    if (l.how.order == PN_EMULATOR_RANDOM) {
        order.resize(g.blocks);
        for (unsigned i = 0; i < g.blocks; i++) order[i] = i;
        uint64_t state = l.how.seed ^ l.number;
        shuffle(order.data(), g.blocks, &state);
        l.order = order.data();
    }
    if (!me) me = leased_worker();
    if (pn_emulator_watcher) {
        l.how.workers = 1;
        pn_emulator_watcher->launch(g.blocks, g.threads);
    }

    pool *team = nullptr;
    const double start = seconds();
    pool::work(&l, [&] {
        if (team || l.how.workers < 2 || l.next.load(std::memory_order_relaxed) + 1 >= g.blocks ||
            seconds() - start < WORTH_WAKING)
            return;
        team = helpers(l.how.workers);
        team->start(&l);
    });
    if (team) team->finish();
    if (!l.failed) return PN_OK;
    if (l.explain) {
        const size_t n = strlen(l.message);
        l.explain(l.message + n, sizeof l.message - n);
    }
    return pn_fail(PN_EDEVICE, "%s", l.message);
}
