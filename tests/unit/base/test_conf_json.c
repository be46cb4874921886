/* Settings tables and JSON. */
#include "base/buf.h"
#include "base/conf.h"
#include "base/json.h"
#include "base/mem.h"
#include "tests/support/test.h"

#include <math.h>

struct settings {
  bool tls;
  int64_t slots;
  uint64_t body_max;
  int64_t grace;
  const char *listen;
  int mode;
};

static const char *const modes[] = {"open", "required", NULL};
static const struct conf_row rows[] = {
    {"tls", CONF_BOOL, CONF_FIELD(struct settings, tls), "false", 0, 0, NULL, false, false, "use TLS"},
    {"slots", CONF_INT, CONF_FIELD(struct settings, slots), "2", 0, 64, NULL, true, false, "slots"},
    {"body-max", CONF_SIZE, CONF_FIELD(struct settings, body_max), "1MiB", 1, INT64_MAX, NULL, false, false, "largest body"},
    {"stop-grace", CONF_DURATION, CONF_FIELD(struct settings, grace), "10s", 0, 3600000, NULL, false, false, "grace"},
    {"listen", CONF_TEXT, CONF_FIELD(struct settings, listen), NULL, 0, 0, NULL, false, false, "address"},
    {"auth", CONF_CHOICE, CONF_FIELD(struct settings, mode), "open", 0, 0, modes, false, false, "who may read"},
};
#define ROWS rows, ARRAY_LEN(rows)

static void settings_come_from_all_sources(void **state UNUSED) {
  struct settings s;
  struct err err;
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  assert_true(conf_defaults(ROWS, &s, &arena, &err));
  assert_int_equal(s.slots, 2);
  assert_int_equal(s.body_max, MIB);
  assert_null(s.listen);
  assert_true(conf_read_text(ROWS, &s, &arena, "w.conf",
                             STR("# comment\n\n slots = 4 # four\r\nstop_grace=2m\nlisten = \"a # b\"\nauth = required"), &err));
  assert_int_equal(s.slots, 4);
  assert_int_equal(s.grace, 120000);
  assert_string_equal(s.listen, "a # b");
  assert_int_equal(s.mode, 1);
  char slots[] = "WINNOW_SLOTS=8", other[] = "WINNOW_RUN_ID=x", tls[] = "WINNOW_TLS=yes";
  char *environment[] = {slots, other, tls, NULL};
  assert_true(conf_read_env(ROWS, &s, &arena, environment, &err));
  assert_int_equal(s.slots, 8);
  assert_true(s.tls);
  AUTO_BUF struct buf out = BUF_INIT(10000);
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    conf_print_value(&rows[i], &s, &out);
    buf_putc(&out, ' ');
  }
  assert_string_equal(buf_text(&out), "true 8 1MiB 2m a # b required ");
  conf_print_help(ROWS, &out);
  assert_non_null(strstr(buf_text(&out), "stop-grace  (duration, 0s to 1h, default 10s)"));
}

static void settings_errors_name_place_and_remedy(void **state UNUSED) {
  static const struct {
    const char *text, *error, *hint;
  } cases[] = {
      {"slots = 4\nslotz = 5", "w.conf:2: unknown setting \"slotz\"", "did you mean slots? `winnow help settings` lists all"},
      {"slots = many", "w.conf:1: slots must be a whole number, not \"many\"", ""},
      {"slots = 65", "w.conf:1: slots must be from 0 to 64", ""},
      {"stop-grace = 2h", "w.conf:1: stop-grace must be from 0s to 1h", ""},
      {"\n\nnonsense", "w.conf:3: a line is `name = value`, not \"nonsense\"", ""},
      {"auth = maybe", "w.conf:1: auth must be one of open, required, not \"maybe\"", ""},
      {"body-max = 0", "w.conf:1: body-max must be from 1 to 9223372036854775807", ""},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    struct settings s;
    struct err err;
    AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
    assert_true(conf_defaults(ROWS, &s, &arena, &err));
    assert_false(conf_read_text(ROWS, &s, &arena, "w.conf", str_of(cases[i].text), &err));
    assert_string_equal(err.text, cases[i].error);
    assert_string_equal(err.hint, cases[i].hint);
  }
}

static void writer_places_commas(void **state UNUSED) {
  struct err err;
  AUTO_BUF struct buf out = BUF_INIT(10000);
  struct json_writer w;
  jw_init(&w, &out);
  jw_object(&w);
  jw_put_i64(&w, "a", -1);
  jw_key(&w, "b");
  jw_array(&w);
  jw_f64(&w, 0.5);
  jw_f64(&w, NAN);
  jw_object(&w);
  jw_object_end(&w);
  jw_array_end(&w);
  jw_put_text(&w, "c", "q\"\\\n\x01\xc3\xa4\xff!");
  jw_put_text(&w, "d", NULL);
  jw_put_bool(&w, "e", true);
  jw_object_end(&w);
  assert_true(buf_ok(&out, &err));
  assert_string_equal(buf_text(&out),
                      "{\"a\":-1,\"b\":[0.5,\"NaN\",{}],\"c\":\"q\\\"\\\\\\n\\u0001\xc3\xa4\xEF\xBF\xBD!\",\"d\":null,\"e\":true}");
  AUTO_JSON json_t *back = NULL;
  assert_true(json_read(buf_str(&out), &back, &err));
  AUTO_BUF struct buf again = BUF_INIT(10000);
  jw_init(&w, &again);
  jw_json(&w, back);
  assert_string_equal(buf_text(&again), buf_text(&out));
}

/* Any byte at any place of a text: written as it is or escaped, and read back. */
static void every_byte_is_quoted_anywhere(void **state UNUSED) {
  for (unsigned c = 1; c < 256; c++)
    for (size_t at = 0; at < 19; at++) {
      char text[] = "seventeen letters...", shown[8] = {(char)c, 0};
      text[at] = (char)c;
      if (c >= 0x80)
        snprintf(shown, sizeof shown, "\xEF\xBF\xBD");
      else if (c == '"' || c == '\\')
        snprintf(shown, sizeof shown, "\\%c", c);
      else if (c == '\n' || c == '\r' || c == '\t')
        snprintf(shown, sizeof shown, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
      else if (c < 0x20 || c == 0x7f)
        snprintf(shown, sizeof shown, "\\u%04x", c);
      AUTO_BUF struct buf out = BUF_INIT(KIB), expected = BUF_INIT(KIB);
      json_quote(&out, str_of(text));
      buf_printf(&expected, "\"%.*s%s%s\"", (int)at, text, shown, text + at + 1);
      assert_string_equal(buf_text(&out), buf_text(&expected));
    }
}

static void reading_is_limited_and_says_where(void **state UNUSED) {
  struct err err;
  json_t *json = NULL;
  assert_false(json_read(STR("{\"a\": 1,\n \"b\": }"), &json, &err));
  assert_non_null(strstr(err.text, "line 2"));
  assert_false(json_read(STR("{\"a\":1,\"a\":2}"), &json, &err));
  assert_false(json_read(STR("1 2"), &json, &err));
  assert_false(json_read(STR(""), &json, &err));
  assert_false(json_read(STR("\"\\ud800\""), &json, &err));
  assert_false(json_read(STR("\"\\u0000\""), &json, &err));
  assert_non_null(strstr(err.text, "\\u0000"));
  assert_null(strstr(err.text, "JSON_ALLOW_NUL"));
  assert_false(json_read(STR("1e400"), &json, &err));
  AUTO_BUF struct buf deep = BUF_INIT(MIB);
  for (int i = 0; i < 100000; i++)
    buf_putc(&deep, '[');
  assert_false(json_read(buf_str(&deep), &json, &err));
  assert_non_null(strstr(err.text, "deeper than 64"));
  assert_null(json);
}

struct body {
  struct str name;
  int64_t count;
  double rate;
  bool dry, has_count;
  const json_t *list;
};

static const struct json_field fields[] = {
    {.name = "name", .type = JSON_F_STR, .offset = offsetof(struct body, name), .required = true, .min = 1, .max = 5},
    {.name = "count",
     .type = JSON_F_I64,
     .offset = offsetof(struct body, count),
     .min = 0,
     .max = 10,
     .present_at = offsetof(struct body, has_count)},
    {.name = "rate", .type = JSON_F_F64, .offset = offsetof(struct body, rate), .nullable = true},
    {.name = "dry", .type = JSON_F_BOOL, .offset = offsetof(struct body, dry)},
    {.name = "list", .type = JSON_F_ARRAY, .offset = offsetof(struct body, list), .min = 0, .max = 2},
};

static bool decode(const char *text, struct body *body, struct err *err) {
  static json_t *kept;
  json_decref(kept);
  kept = NULL;
  *body = (struct body){.count = 7, .rate = 0.25};
  return json_read(str_of(text), &kept, err) && json_decode(kept, fields, ARRAY_LEN(fields), "sweep", body, err);
}

/* They are numbers, and other languages write 1e19 like that. */
/* Commas and brackets in texts are none. */
static void bodies_have_a_ceiling_of_values(void **state UNUSED) {
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  AUTO_JSON json_t *json = NULL;
  struct err err;
  buf_puts(&text, "[\"");
  for (int i = 0; i < JSON_BODY_ITEMS; i++)
    buf_puts(&text, i % 3 ? "," : "[{\\\"");
  buf_puts(&text, "\\\\\"");
  for (int i = 1; i < JSON_BODY_ITEMS; i++)
    buf_puts(&text, ",0");
  buf_putc(&text, ']');
  assert_true(json_read_body(buf_str(&text), &json, &err));
  assert_int_equal(json_array_size(json), JSON_BODY_ITEMS);
  json_cleanup(&json);
  buf_cut(&text, text.n - 1);
  buf_puts(&text, ",0]");
  assert_false(json_read_body(buf_str(&text), &json, &err));
  assert_int_equal(err.code, ERR_TOO_LARGE);
  json = NULL;
  assert_true(json_read(buf_str(&text), &json, &err));
}

static void whole_numbers_may_be_wide(void **state UNUSED) {
  AUTO_JSON json_t *json = NULL, *none = NULL;
  struct err err;
  struct str text = STR("[10000000000000000000, -9223372036854775809, 9223372036854775807, \"\\\"10000000000000000000\", 1.5]");
  assert_true(json_read(text, &json, &err));
  assert_true(json_real_value(json_array_get(json, 0)) == 1e19);
  assert_true(json_real_value(json_array_get(json, 1)) == -9223372036854775808.0);
  assert_int_equal(json_integer_value(json_array_get(json, 2)), INT64_MAX);
  assert_string_equal(json_string_value(json_array_get(json, 3)), "\"10000000000000000000");
  assert_true(json_real_value(json_array_get(json, 4)) == 1.5);
  AUTO_JSON json_t *exact = NULL;
  text = STR("{\"wide\": -10000000000000000000, \"in\": [10000000000000000000], \"least\": -9223372036854775808, \"real\": 1e19}");
  assert_true(json_read_body_exactly(text, &exact, &err));
  assert_string_equal(json_string_value(json_object_get(exact, "wide")), "-10000000000000000000");
  assert_true(json_real_value(json_array_get(json_object_get(exact, "in"), 0)) == 1e19);
  assert_int_equal(json_integer_value(json_object_get(exact, "least")), INT64_MIN);
  assert_true(json_real_value(json_object_get(exact, "real")) == 1e19);
  assert_false(json_read(STR("[10000000000000000000, 1e400]"), &none, &err));
  assert_false(json_read(STR("[10000000000000000000, x]"), &none, &err));
}

/* Digits that are 0 again when they no longer fit. */
static void multiples_of_two_to_the_64th(void **state UNUSED) {
  AUTO_JSON json_t *json = NULL, *exact = NULL;
  struct err err;
  struct str text = STR("[18446744073709551616, -184467440737095516160, 1.8446744073709551616, 36893488147419103232.0, "
                        "0.18446744073709551616e1]");
  static const double values[] = {0x1p64, -0xap64, 1.8446744073709551616, 0x1p65, 1.8446744073709551616};
  assert_true(json_read(text, &json, &err));
  for (size_t i = 0; i < ARRAY_LEN(values); i++)
    assert_true(json_real_value(json_array_get(json, i)) == values[i]);
  assert_true(json_read_body_exactly(STR("{\"seed\": 18446744073709551616}"), &exact, &err));
  assert_string_equal(json_string_value(json_object_get(exact, "seed")), "18446744073709551616");
}

static void decoding_by_table(void **state UNUSED) {
  struct body body;
  struct err err;
  assert_true(decode("{\"name\":\"abc\",\"rate\":\"-Infinity\",\"count\":3.0}", &body, &err));
  assert_true(str_is(body.name, "abc") && isinf(body.rate) && body.count == 3 && body.has_count);
  assert_true(decode("{\"name\":\"abc\",\"rate\":null}", &body, &err));
  assert_true(body.rate == 0.25 && body.count == 7 && !body.has_count);
  static const struct {
    const char *text, *error;
  } cases[] = {
      {"[]", "sweep must be an object"},
      {"{}", "\"sweep.name\" is missing"},
      {"{\"name\":\"\"}", "\"sweep.name\" must be a text of bytes from 1 to 5"},
      {"{\"name\":\"a\",\"count\":11}", "\"sweep.count\" must be from 0 to 10"},
      {"{\"name\":\"a\",\"count\":1.5}", "\"sweep.count\" must be a whole number"},
      {"{\"name\":\"a\",\"count\":1e300}", "\"sweep.count\" must be a whole number"},
      {"{\"name\":\"a\",\"count\":null}", "\"sweep.count\" must be a whole number"},
      {"{\"name\":\"a\",\"dry\":1}", "\"sweep.dry\" must be true or false"},
      {"{\"name\":\"a\",\"list\":[1,2,3]}", "\"sweep.list\" must be an array of items from 0 to 2"},
      {"{\"name\":\"a\",\"rte\":1}", "unknown key \"sweep.rte\""},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    assert_false(decode(cases[i].text, &body, &err));
    assert_string_equal(err.text, cases[i].error);
  }
  assert_string_equal(err.hint, "did you mean \"rate\"?");
  json_t *nothing = NULL;
  assert_false(json_read(STR("}"), &nothing, &err));
  decode("{}", &body, &err);
  assert_false(decode("{", &body, &err)); /* frees what decode() kept */
}

static void reading_survives_no_memory(void **state UNUSED) {
  struct settings s;
  struct err err;
  for (unsigned long n = 1; n < 4; n++) {
    AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
    mem_fail_at(n, true);
    bool ok = conf_defaults(ROWS, &s, &arena, &err) && conf_read_text(ROWS, &s, &arena, "f", STR("listen = abc"), &err);
    mem_fail_at(0, false);
    assert_true(ok == (n > 1) || err.code == ERR_NO_MEMORY);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whole_numbers_may_be_wide),
      cmocka_unit_test(multiples_of_two_to_the_64th),
      cmocka_unit_test(bodies_have_a_ceiling_of_values),
      cmocka_unit_test(settings_come_from_all_sources),
      cmocka_unit_test(settings_errors_name_place_and_remedy),
      cmocka_unit_test(writer_places_commas),
      cmocka_unit_test(every_byte_is_quoted_anywhere),
      cmocka_unit_test(reading_is_limited_and_says_where),
      cmocka_unit_test(decoding_by_table),
      cmocka_unit_test(reading_survives_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
