/* test_json.c -- JSON is whole or a failure, and each failure has its own status. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "runtime/text.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static void text_that_is_no_json_says_where(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "line 1"},
        {"{", "line 1"},
        {"{\"a\": 1,\n\"b\": }", "line 2"},
        {"{\"a\": 1, \"a\": 2}", "duplicate"},
        {"{\"a\": \"\xff\"}", "0xff"},
        {"{\"a\": 1e999}", "real number overflow"},
        {"[1] [2]", "end of file expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *root = NULL;
        assert_int_equal(pn_json_parse(cases[i].text, strlen(cases[i].text), &root), PN_EINPUT);
        assert_null(root);
        if (!strstr(pn_error(), cases[i].why)) fail_msg("%s: %s", cases[i].text, pn_error());
    }
}

static void assert_string(const char *from, const char *to) {
    json_t *string = pn_json_string(from);
    assert_string_equal(json_string_value(string), to);
    assert_int_equal(pn_utf8(from), strcmp(from, to) == 0);
    json_decref(string);
}

#define BAD "\xef\xbf\xbd"

static void bytes_that_are_not_utf8_are_replaced(void **state) {
    (void)state;
    assert_string("", "");
    assert_string("plain", "plain");
    assert_string("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x99",
                  "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x99");
    assert_string("t\xff/x", "t" BAD "/x");
    assert_string("\xc3", BAD);                         /* cut off */
    assert_string("\xe2\x82", BAD BAD);                 /* likewise */
    assert_string("\xc0\xaf", BAD BAD);                 /* longer than need be */
    assert_string("\xed\xa0\x80", BAD BAD BAD);         /* half of a UTF-16 pair */
    assert_string("\xf4\x90\x80\x80", BAD BAD BAD BAD); /* beyond the last character */
    assert_string("\x80\xbf", BAD BAD);
    assert_string("\xf0\x8f\xbf\xbf", BAD BAD BAD BAD);
}

static void what_json_takes_it_for(void **state) {
    (void)state;
    static const double numbers[] = {0, -0.0, 1, -1.5, 0x1p-1074, 1.7976931348623157e308};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        json_t *number = pn_json_number(numbers[i]);
        assert_true(json_is_real(number));
        json_decref(number);
    }
    assert_true(json_is_null(pn_json_number(NAN)));
    assert_true(json_is_null(pn_json_number(INFINITY)));
    assert_true(json_is_null(pn_json_number(-INFINITY)));
}

static void an_object_that_lacks_a_part_is_not_written(void **state) {
    (void)state;
    char *text = NULL;
    int failed = 0;
    json_t *root = json_object();
    failed |= json_object_set_new(root, "a", json_integer(1));
    assert_int_equal(pn_json_text(root, failed, JSON_COMPACT, &text), PN_OK);
    assert_string_equal(text, "{\"a\":1}");
    free(text);

    root = json_object();
    failed |= json_object_set_new(root, "a", json_string("\xff")); /* NULL */
    assert_int_equal(pn_json_text(root, failed, JSON_COMPACT, &text), PN_EMEM);
    assert_null(text);
    assert_int_equal(pn_json_text(NULL, 0, JSON_COMPACT, &text), PN_EMEM);
}

static void a_line_that_cannot_be_written_is_a_failure(void **state) {
    (void)state;
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    setvbuf(full, NULL, _IONBF, 0);
    assert_int_equal(pn_json_print(json_object(), 0, 0, full), PN_EIO);
    fclose(full);
    assert_int_equal(pn_json_print(NULL, 0, 0, stderr), PN_EMEM);
}

/* Settings are compared by value, so a run that wrote 17 digits goes on. */
static void reals_have_the_fewest_digits(void **state) {
    (void)state;
    static const struct {
        double x;
        const char *text;
    } cases[] = {
        {.025, "0.025"},
        {1, "1.0"},
        {-0.0, "-0.0"},
        {-3e-4, "-0.0003"},
        {1. / 3, "0.3333333333333333"},
        {.1 + .2, "0.30000000000000004"},
        {1e-5, "1e-05"},
        {123456789.5, "123456789.5"},
        {1.7976931348623157e308, "1.7976931348623157e308"},
        {5e-324, "5e-324"},
    };
    uint64_t random = 1;
    char *text = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(pn_json_text(json_pack("[f]", cases[i].x), 0, PN_JSON_EXACT, &text),
                         PN_OK);
        text[strlen(text) - 1] = 0;
        assert_string_equal(text + 1, cases[i].text);
        free(text);
    }
    for (int i = 0; i < 2000; i++) {
        double x, y;
        random = random * 6364136223846793005U + 1442695040888963407U;
        memcpy(&x, &random, sizeof x);
        if (!isfinite(x)) continue;
        if (i % 2) x = (double)(random >> 40) / 1000;
        json_t *root;
        assert_int_equal(pn_json_text(json_pack("[f]", x), 0, PN_JSON_EXACT, &text), PN_OK);
        assert_int_equal(pn_json_parse(text, strlen(text), &root), PN_OK);
        assert_true(json_is_real(json_array_get(root, 0)));
        y = json_real_value(json_array_get(root, 0));
        assert_memory_equal(&x, &y, sizeof x);
        json_decref(root);
        free(text);
    }
    /* What stands in strings, whole numbers and words is as it was. */
    json_t *rest = json_pack("{s: s, s: I, s: b, s: n, s: f}", "a\\\"0.10000000000000001",
                             "0.50\n0.50", "b", (json_int_t)9007199254740993, "c", 1, "d", "e", .5);
    assert_int_equal(pn_json_text(rest, 0, JSON_COMPACT | PN_JSON_EXACT, &text), PN_OK);
    assert_string_equal(text,
                        "{\"a\\\\\\\"0.10000000000000001\":\"0.50\\n0.50\","
                        "\"b\":9007199254740993,\"c\":true,\"d\":null,\"e\":0.5}");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_that_is_no_json_says_where),
        cmocka_unit_test(bytes_that_are_not_utf8_are_replaced),
        cmocka_unit_test(what_json_takes_it_for),
        cmocka_unit_test(an_object_that_lacks_a_part_is_not_written),
        cmocka_unit_test(reals_have_the_fewest_digits),
        cmocka_unit_test(a_line_that_cannot_be_written_is_a_failure),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
