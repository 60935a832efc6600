/* test_group.c -- calls of several processes (runtime/group.h): the test program starts itself by
 * mpirun, and each process of it is a member that looks at what it gets. */
#include "runtime/group.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/backend.h"
#include "kernels/exchange.h"
#include "tests/support/process.h"
#include "tests/support/ranks.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { LIMIT = 120 /* seconds, far beyond any */ };

static const char *self; /* this program */

/* ---- members --------------------------------------------------------------------------------- */

static pn_group *group;
static int rank, size;

/* Of a member: ends it, and the launcher with it. */
static void want(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "rank %d of %d: not so: %s\n", rank, size, what);
    exit(99);
}
#define WANT(condition) want(condition, #condition)

/* A number for a place and a member; of each sign, and as large as a sum allows. */
static int64_t number(size_t i, int of) {
    return ((int64_t)(i % 9) - 4) * (INT64_C(1) << 55) / 7 + (int64_t)i * (of + 1);
}

static int64_t sum_of(size_t i) {
    int64_t sum = 0;
    for (int r = 0; r < size; r++) sum += number(i, r);
    return sum;
}

/* In ranges with gaps: those are lost, as are two numbers behind, and nothing else. */
static void check_sum(const pn_memory *memory, const pn_range *ranges, int count, size_t all) {
    enum { KEPT, LOST, SUMMED };
    int64_t *numbers = malloc((all + 2) * sizeof *numbers);
    char *fate = calloc(all + 2, sizeof *fate);
    void *there;
    WANT(numbers && fate);
    WANT(memory->allocate((all + 2) * sizeof *numbers, &there) == PN_OK);
    for (size_t i = 0; i < all + 2; i++) numbers[i] = number(i, rank);
    WANT(memory->upload(there, numbers, (all + 2) * sizeof *numbers) == PN_OK);
    bool odd = rank == size - 1;
    WANT(pn_group_sum(group, memory, there, ranges, count, PN_OK, &odd) == PN_OK && odd);
    odd = false;
    WANT(pn_group_sum(group, memory, there, NULL, 0, PN_OK, &odd) == PN_OK && !odd);
    WANT(memory->download(numbers, there, all * sizeof *numbers) == PN_OK);
    if (count)
        memset(fate + ranges[0].first, LOST,
               ranges[count - 1].first + ranges[count - 1].count + 2 - ranges[0].first);
    for (int j = 0; j < count; j++) memset(fate + ranges[j].first, SUMMED, ranges[j].count);
    for (size_t i = 0; i < all; i++)
        WANT(fate[i] == LOST || numbers[i] == (fate[i] == SUMMED ? sum_of(i) : number(i, rank)));
    memory->release(there);
    free(numbers);
    free(fate);
}

static void check_sums(void) {
    static const char *const devices[] = {"cpu", "emulated"};
    for (int i = 0; i < 2; i++) {
        const pn_kernels *k;
        if (pn_backend_open(devices[i], &k) != PN_OK) continue;
        check_sum(k->memory, NULL, 0, 3);
        check_sum(k->memory, &(pn_range){0, 0}, 1, 1);
        check_sum(k->memory, &(pn_range){0, 1}, 1, 1);
        check_sum(k->memory, (pn_range[]){{1, 2}, {5, 1}, {6, 3}}, 3, 11);
        check_sum(k->memory, (pn_range[]){{3, 100003}, {200000, 7}}, 2, 200010);
    }
}

/* Results of one are bits of others' zeros: whatever they mean, they arrive. */
static void check_joined(void) {
    static const double odd[] = {-0.0, NAN, -INFINITY, 0x1p-1074, 1.5};
    enum { EACH = sizeof odd / sizeof *odd };
    int64_t all[4 * EACH] = {0}, bits[EACH];
    memcpy(bits, odd, sizeof bits);
    memcpy(all + (ptrdiff_t)rank * EACH, bits, sizeof bits);
    WANT(pn_group_join(group, all, (size_t)size * sizeof bits) == PN_OK);
    for (int i = 0; i < size * EACH; i++) WANT(all[i] == bits[i % EACH]);
    WANT(pn_group_join(group, all, sizeof *all + 1) == PN_EARG);
}

/* With a meeting, at its very end, and by a call of their own. */
static void check_rooms(void) {
    static const size_t counts[] = {0, 1, 511, 512, 513, 999, 1000, 1001, 70000};
    for (int larger = 0; larger < 2; larger++) {
        for (size_t j = 0; j < sizeof counts / sizeof *counts; j++) {
            int64_t *places = calloc(counts[j] + 1, sizeof *places);
            WANT(places);
            for (size_t i = 0; i < counts[j]; i++)
                if ((int)(i % (size_t)size) == rank) places[i] = number(i, 1);
            WANT(pn_group_join(group, places, counts[j] * sizeof *places) == PN_OK);
            for (size_t i = 0; i < counts[j]; i++) WANT(places[i] == number(i, 1));
            WANT(places[counts[j]] == 0);
            free(places);
        }
        WANT(pn_group_room(group, 7997, NULL, 0) == PN_OK);         /* 1000 numbers */
        WANT(pn_group_room(group, 8, &pn_host_memory, 9) == PN_OK); /* never fewer */
    }
}

static void check_share(void) {
    static const size_t sizes[] = {0, 1, 7, 4096, 1000003};
    for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
        unsigned char *bytes = malloc(sizes[j] + 1);
        WANT(bytes);
        for (size_t i = 0; i <= sizes[j]; i++) bytes[i] = (unsigned char)(i * 31 + (size_t)rank);
        WANT(pn_group_share(group, bytes, sizes[j]) == PN_OK);
        for (size_t i = 0; i < sizes[j]; i++) WANT(bytes[i] == (unsigned char)(i * 31));
        WANT(bytes[sizes[j]] == (unsigned char)(sizes[j] * 31 + (size_t)rank));
        free(bytes);
    }
}

static void check_most(void) {
    int64_t most[] = {rank, -rank, rank == size / 2 ? INT64_MAX : INT64_MIN, -5};
    WANT(pn_group_most(group, most, 4) == PN_OK);
    WANT(most[0] == size - 1 && most[1] == 0 && most[2] == INT64_MAX && most[3] == -5);
    WANT(pn_group_same(group, PN_EARG, "colour", "blue") == PN_OK);
}

static pn_wishes wishes;
static pn_wishes own_wishes(void) { return wishes; }

/* Whatever the meeting is about. */
static void check_wishes(void) {
    int64_t any = 1;
    pn_wishes heard = pn_group_heard(group);
    WANT(heard.stop == 0 && heard.save == 0);
    wishes = (pn_wishes){.stop = rank == size - 1 ? 15 : 0, .save = rank == 0};
    WANT(pn_group_agree(group, PN_OK) == PN_OK);
    heard = pn_group_heard(group);
    WANT(heard.stop == 0 && heard.save == 0); /* nobody was asked */
    pn_group_listen(group, own_wishes);
    WANT(pn_group_join(group, &any, sizeof any) == PN_OK);
    wishes = (pn_wishes){0};
    WANT(pn_group_agree(group, PN_OK) == PN_OK);
    heard = pn_group_heard(group);
    WANT(heard.stop == 15 && heard.save == 1);
    heard = pn_group_heard(group);
    WANT(heard.stop == 0 && heard.save == 0);
}

/* Every call, and who is who. */
static pn_status calls(void) {
    int64_t seen[4 + 2] = {0};
    seen[rank] = 1;
    WANT(pn_group_sum(group, &pn_host_memory, seen, &(pn_range){0, 4}, 1, PN_OK, NULL) == PN_OK);
    for (int r = 0; r < 4; r++) WANT(seen[r] == (r < size));
    WANT(pn_group_locals(group) == size && pn_group_local(group) == rank);
    check_sums();
    check_joined();
    check_rooms();
    check_share();
    check_most();
    check_wishes();
    return PN_OK;
}

/* Memory whose device can exchange sums: the host's, and it knows what others have. */
static const int64_t *exchanged;
static int joined, summed, left;

static pn_status invite(unsigned char id[PN_EXCHANGE_BYTES]) {
    WANT(rank == 0);
    for (int i = 0; i < PN_EXCHANGE_BYTES; i++) id[i] = (unsigned char)(3 * i + 1);
    return PN_OK;
}

static pn_status join(const unsigned char id[PN_EXCHANGE_BYTES], int as, int of) {
    for (int i = 0; i < PN_EXCHANGE_BYTES; i++) WANT(id[i] == (unsigned char)(3 * i + 1));
    WANT(as == rank && of == size && !joined++);
    return PN_OK;
}

static pn_status sum_exchanged(pn_stream stream, int64_t *numbers, size_t count) {
    const size_t first = (size_t)(numbers - exchanged);
    WANT(!stream && joined);
    for (size_t i = 0; i < count; i++) numbers[i] += sum_of(first + i) - number(first + i, rank);
    summed++;
    return PN_OK;
}

static void leave(void) { left++; }

static pn_status allocate_exchanged(size_t bytes, void **block) {
    PN_TRY(pn_host_memory.allocate(bytes, block));
    exchanged = *block;
    return PN_OK;
}

static pn_stream no_stream(void) { return NULL; }

static const pn_exchange exchange = {invite, join, sum_exchanged, leave};

static pn_status between(void) {
    const pn_range ranges[] = {{1, 2}, {5, 1}, {6, 3}};
    pn_memory memory = pn_host_memory;
    memory.plain = 0;
    memory.allocate = allocate_exchanged;
    memory.stream = no_stream;
    WANT(pn_group_exchange(group, &memory, &exchange) == PN_OK);
    check_sum(&memory, ranges, 3, 11);
    WANT(summed == 3);
    check_sum(&pn_host_memory, ranges, 3, 11); /* other memory, as ever */
    WANT(summed == 3);
    pn_group_close(group);
    group = NULL;
    WANT(left == 1);
    return PN_OK;
}

/* A device that can no such thing. */
static pn_status no_exchange(void) { return pn_group_exchange(group, &pn_host_memory, NULL); }

/* One fails elsewhere than where the others meet; all know, and go on knowing. */
static pn_status all_know(pn_status s) {
    int64_t one = 1;
    WANT(s == PN_EIO && strstr(pn_error(), "the disk is gone"));
    WANT(size == 1 || strncmp(pn_error(), "rank ", 5) == 0);
    WANT(size > 1 || strcmp(pn_error(), "the disk is gone") == 0);
    char sentence[PN_SENTENCE_BYTES];
    snprintf(sentence, sizeof sentence, "%s", pn_error());
    pn_say("something else");
    WANT(pn_group_share(group, &one, sizeof one) == PN_EIO && strcmp(pn_error(), sentence) == 0);
    WANT(pn_group_most(group, &one, 1) == PN_EIO && one == 1);
    WANT(pn_group_join(group, &one, sizeof one) == PN_EIO && one == 1);
    WANT(pn_group_sum(group, &pn_host_memory, &one, &(pn_range){0, 1}, 1, PN_OK, NULL) == PN_EIO);
    WANT(one == 1);
    return pn_group_agree(group, PN_OK);
}

static pn_status fails(void) {
    int64_t one = 1;
    const bool bad = rank == size - 1;
    const pn_status s = bad ? pn_group_agree(group, pn_fail(PN_EIO, "the disk is gone"))
                            : pn_group_join(group, &one, sizeof one);
    WANT(one == 1);
    return all_know(s);
}

/* Between a meeting and a sum: the sum takes it along. */
static pn_status fails_late(void) {
    int64_t three[] = {1, 2, 3};
    const pn_status mine = rank == size - 1 ? pn_fail(PN_EIO, "the disk is gone") : PN_OK;
    return all_know(pn_group_sum(group, &pn_host_memory, three, &(pn_range){0, 1}, 1, mine, NULL));
}

/* The worst status counts, of equals the lowest rank's. */
static pn_status worst(void) {
    static const pn_status each[] = {PN_EARG, PN_EMEM, PN_EMEM, PN_OK};
    pn_status s = each[rank];
    if (s != PN_OK) s = pn_fail(s, "of %d", rank);
    s = pn_group_agree(group, s);
    WANT(s == PN_EMEM && strncmp(pn_error(), "rank 1 (host ", 13) == 0 &&
         strstr(pn_error(), "): of 1"));
    return s;
}

static pn_status differs(void) {
    return pn_group_same(group, PN_EARG, "colour", rank == 1 ? "red" : "blue");
}

/* By more than the patience, not by ten times as much; again by less than somebody could tell. */
static pn_status late(bool is_late) {
    pn_group_patience(group, 1);
    pn_group_at(group, "step", 7);
    for (int i = 0; i < 2; i++) {
        if (is_late) pn_sleep(1.5);
        WANT(pn_group_agree(group, PN_OK) == PN_OK);
    }
    return PN_OK;
}

static pn_status last_is_late(void) { return late(rank == size - 1); }
static pn_status first_is_late(void) { return late(rank == 0); }
static pn_status only_first_is_not(void) { return late(rank > 0); }

/* Or it never comes. */
static pn_status never(void) {
    pn_group_patience(group, 0.05);
    if (rank == size - 1) pn_sleep(LIMIT);
    return pn_group_agree(group, PN_OK);
}

/* Before it is known who is where. */
static pn_status late_at_the_start(void) {
    pn_group_patience(group, 1);
    if (rank == 1) pn_sleep(2);
    return PN_OK;
}

static const struct role {
    const char *name;
    pn_status (*play)(void);
} roles[] = {{"calls", calls},
             {"fails", fails},
             {"fails late", fails_late},
             {"worst", worst},
             {"differs", differs},
             {"last is late", last_is_late},
             {"first is late", first_is_late},
             {"only first is not", only_first_is_not},
             {"never", never},
             {"between", between},
             {"no exchange", no_exchange}};

/* A member's whole life; rank 0 says what has failed. */
static int member(const char *role, const char *how) {
    pn_status s = pn_group_open(&group, how);
    rank = pn_group_rank(group);
    size = pn_group_size(group);
    if (s == PN_OK && strcmp(role, "late at the start") == 0) s = late_at_the_start();
    if (s == PN_OK) s = pn_group_introduce(group);
    for (size_t i = 0; s == PN_OK && i < sizeof roles / sizeof *roles; i++)
        if (strcmp(roles[i].name, role) == 0) s = roles[i].play();
    if (s != PN_OK && rank == 0) fprintf(stderr, "%s\n", pn_error());
    pn_group_close(group);
    return (int)s;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void start(pn_process *p, const char *ranks, const char *role) {
    const char *const argv[] = {pn_launcher(), "-n", ranks, self, "member", role, "mpi", NULL};
    pn_process_start(p, argv, NULL);
}

/* Its words are somewhere in what the members said, among a launcher's. */
static void run(const char *ranks, const char *role, int code, const char *words) {
    pn_process p;
    start(&p, ranks, role);
    pn_process_wait(&p, LIMIT);
    if (p.code != code || p.late || !strstr(p.err, words))
        fail_msg("%s ranks, %s: code %d, want %d and \"%s\"; it said: %s", ranks, role, p.code,
                 code, words, p.err);
    pn_process_free(&p);
}

static void test_calls(void **state) {
    (void)state;
    run("1", "calls", 0, "");
    run("2", "calls", 0, "");
    run("3", "calls", 0, "");
    run("4", "calls", 0, "");
}

static void test_exchange(void **state) {
    (void)state;
    run("1", "between", 0, "");
    run("3", "between", 0, "");
    run("2", "no exchange", PN_EARG, "group nccl, want --device cuda");
}

static void test_failures(void **state) {
    (void)state;
    run("1", "fails", PN_EIO, "the disk is gone");
    run("3", "fails", PN_EIO, "rank 2 (host ");
    run("1", "fails late", PN_EIO, "the disk is gone");
    run("3", "fails late", PN_EIO, "rank 2 (host ");
    run("4", "worst", PN_EMEM, "): of 1");
    run("3", "differs", PN_EARG, "colour red, want blue as rank 0 has");
}

/* How often a text is in another. */
static int times(const char *text, const char *part) {
    int n = 0;
    for (; (text = strstr(text, part)); text++) n++;
    return n;
}

/* One of those who wait says whom he waits for, once. */
static void named(const char *ranks, const char *role, const char *who, const char *whom) {
    char host[64] = "unknown", sentence[512];
    pn_process p;
    (void)gethostname(host, sizeof host - 1);
    snprintf(sentence, sizeof sentence, "parsec-nas: %s (host %s) has waited 1 s for ", who, host);
    for (const char *at = whom; *at; at++) {
        const size_t used = strlen(sentence);
        if (*at == '@')
            snprintf(sentence + used, sizeof sentence - used, "(host %s)", host);
        else
            snprintf(sentence + used, sizeof sentence - used, "%c", *at);
    }
    start(&p, ranks, role);
    pn_process_wait(&p, LIMIT);
    if (p.code != 0 || times(p.err, "has waited") != 1 || !strstr(p.err, sentence))
        fail_msg("%s ranks, %s: code %d, want \"%s\", it said: %s", ranks, role, p.code, sentence,
                 p.err);
    pn_process_free(&p);
}

static void test_patience(void **state) {
    (void)state;
    named("2", "last is late", "rank 0", "rank 1 @ at step 7; all end after 10 s");
    named("3", "first is late", "rank 1", "rank 0 @ at step 7; ");
    named("4", "only first is not", "rank 0", "rank 1 @, rank 2 @ and rank 3 @ at step 7; ");
    named("7", "only first is not", "rank 0",
          "rank 1 @, rank 2 @, rank 3 @, rank 4 @ and 2 others at step 7; ");
    named("3", "late at the start", "rank 0", "rank 1 at the beginning; all end after 10 s");
    const double begun = pn_clock();
    run("2", "never", PN_EIO, "and gives up");
    assert_true(pn_clock() - begun < LIMIT / 2.0);
}

/* NULL is one process: nothing changes, and what fails is the caller's. */
static void test_alone(void **state) {
    (void)state;
    int64_t numbers[] = {1, 2};
    bool odd = true;
    pn_group *none = (void *)&odd;
    assert_int_equal(pn_group_open(&none, "none"), PN_OK);
    assert_null(none);
    assert_int_equal(pn_group_rank(NULL) + pn_group_local(NULL), 0);
    assert_int_equal(pn_group_size(NULL) * pn_group_locals(NULL), 1);
    assert_int_equal(pn_group_agree(NULL, PN_EIO), PN_EIO);
    assert_int_equal(pn_group_introduce(NULL), PN_OK);
    assert_int_equal(pn_group_room(NULL, 8, NULL, 0), PN_OK);
    pn_group_listen(NULL, own_wishes);
    assert_int_equal(pn_group_heard(NULL).stop, 0);
    assert_int_equal(pn_group_share(NULL, NULL, 5), PN_OK);
    assert_int_equal(pn_group_most(NULL, numbers, 2), PN_OK);
    assert_int_equal(
        pn_group_sum(NULL, &pn_host_memory, numbers, &(pn_range){0, 2}, 1, PN_EIO, &odd), PN_EIO);
    assert_true(odd);
    assert_int_equal(pn_group_same(NULL, PN_EARG, "colour", "red"), PN_OK);
    assert_int_equal(numbers[0] * 10 + numbers[1], 12);
    assert_int_equal(pn_group_exchange(NULL, &pn_host_memory, NULL), PN_OK);
    pn_group_at(NULL, "step", 1);
    pn_group_patience(NULL, 1);
    pn_group_close(NULL);
    assert_int_equal(pn_group_open(&none, "tcp"), PN_EARG);
}

static const char *const variables[] = {
    "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE", "PMI_RANK", "PMIX_RANK",
    "SLURM_NTASKS"};
enum { VARIABLES = sizeof variables / sizeof *variables };

static void test_environment(void **state) {
    (void)state;
    static const struct {
        const char *value[VARIABLES]; /* NULL: unset */
        int size, rank;
        const char *by;
    } rows[] = {
        {{NULL}, 1, 0, NULL},
        {{[5] = "8"}, 1, 0, NULL}, /* a script of sbatch */
        {{"2", "1"}, 2, 1, "OMPI_COMM_WORLD_SIZE"},
        {{"1", "0", [5] = "8"}, 1, 0, "OMPI_COMM_WORLD_SIZE"},
        {{[2] = "3", [3] = "2"}, 3, 2, "PMI_SIZE"},
        {{[4] = "5"}, 0, 5, "PMIX_RANK"},
        {{"4", "3", "9", "9", "3"}, 4, 3, "OMPI_COMM_WORLD_SIZE"},
        {{"two", "1"}, 1, 0, NULL},
        {{"-2"}, 1, 0, NULL},
        {{"99999999999"}, 1, 0, NULL},
        {{""}, 1, 0, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int v = 0; v < VARIABLES; v++)
            if (rows[i].value[v])
                setenv(variables[v], rows[i].value[v], 1);
            else
                unsetenv(variables[v]);
        const pn_launch_words found = pn_group_environment();
        assert_int_equal(found.size, rows[i].size);
        assert_int_equal(found.rank, rows[i].rank);
        if (rows[i].by)
            assert_string_equal(found.variable, rows[i].by);
        else
            assert_null(found.variable);
    }
    for (int v = 0; v < VARIABLES; v++) unsetenv(variables[v]);
}

/* Somebody has exported it, and nobody has started us. */
static void test_no_launcher(void **state) {
    (void)state;
    const char *const argv[] = {self, "member", "calls", "auto", NULL};
    pn_process p;
    setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* MPI's */
    pn_process_run(&p, argv, NULL, LIMIT);
    unsetenv("OMPI_COMM_WORLD_SIZE");
    unsetenv("ASAN_OPTIONS");
    pn_process_refused(&p, PN_EDEVICE, "OMPI_COMM_WORLD_SIZE says 2 ranks");
    pn_process_free(&p);
}

int main(int argc, char **argv) {
    self = argv[0];
    if (argc == 4 && strcmp(argv[1], "member") == 0) return member(argv[2], argv[3]);
    const struct CMUnitTest alone[] = {
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_no_launcher),
    };
    const struct CMUnitTest together[] = {
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_patience),
    };
    const int failed = cmocka_run_group_tests_name("alone", alone, NULL, NULL);
    if (failed || !*pn_launcher()) return failed ? failed : 77;
    return cmocka_run_group_tests_name("together", together, NULL, NULL);
}
