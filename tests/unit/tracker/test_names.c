/* Names, keys, values and paths: what is accepted, and the exact texts of what is not. */
#include "tests/support/test.h"

#include "base/json.h"
#include "base/rng.h"
#include "tracker/names.h"
#include "tracker/packed.h"

struct row {
  const char *text, *error; /* NULL: accepted */
};

static const char bad_chars[] =
    "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).";
#define RESOLVES \
  "Names may be treated as files in certain cases, and must not resolve to other names when treated as such. This name would resolve to "

static void keys(void **state) {
  (void)state;
  static const struct row rows[] = {
      {"a", NULL},
      {"a/b c-d_e.f:g", NULL},
      {"gr\xC3\xB6\xC3\x9F"
       "e \xE6\x97\xA5\xE6\x9C\xAC",
       NULL},
      {"...", RESOLVES "'...'"},
      {"a..b", NULL},
      {"", RESOLVES "'.'"},
      {".", RESOLVES "'.'"},
      {"..", RESOLVES "'..'"},
      {"../a", RESOLVES "'../a'"},
      {"a/../b", RESOLVES "'b'"},
      {"a/./b", RESOLVES "'a/b'"},
      {"a//b", RESOLVES "'a/b'"},
      {"a/", RESOLVES "'a'"},
      {"/a", RESOLVES "'/a'"},
      {"//a", RESOLVES "'//a'"},
      {"///a", RESOLVES "'/a'"},
      {"/..", RESOLVES "'/'"},
      {"a/../../b", RESOLVES "'../b'"},
      {"a$b", bad_chars},
      {"a\nb", bad_chars},
      {"a\\b", bad_chars},
      {"x\xE2\x82\xAC", bad_chars}, /* the euro sign is no letter */
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct err err = {.code = ERR_NONE};
    bool ok = key_check(str_of(rows[i].text), "key", &err);
    if (ok != !rows[i].error || (!ok && !strstr(err.text, rows[i].error)))
      fail_msg("\"%s\": %s", rows[i].text, ok ? "accepted" : err.text);
  }
  struct err err;
  assert_false(key_check(STR("a$\"\xC3\xB6\n"), "tags[1].key", &err));
  assert_true(strncmp(err.text, "Invalid value \"a$\\\"\\u00f6\\n\" for parameter 'tags[1].key' supplied: ", 67) == 0);
}

static void names_of_models(void **state UNUSED) {
  struct err err;
  assert_true(model_name_check(STR("a/b:c ..."), "name", &err));
  assert_true(model_name_check(STR("..."), "name", &err));
  assert_false(model_name_check(STR("."), "name", &err));
  assert_false(model_name_check(STR(".."), "name", &err));
  assert_non_null(strstr(err.text, RESOLVES "'..'"));
  assert_false(model_name_check(STR("a\0b"), "new_name", &err));
}

static void lengths_are_in_characters(void **state) {
  (void)state;
  struct err err;
  struct str text = STR("\xC3\xB6\xC3\xB6\xF0\x9F\x98\x80"
                        "a");
  assert_int_equal(text_length(text), 4);
  assert_int_equal(text_cut(text, 3).n, 8);
  assert_int_equal(text_cut(text, 4).n, 9);
  assert_int_equal(text_cut(text, 0).n, 0);
  assert_true(text_fits(text, 4, "x", &err));
  assert_false(text_fits(text, 3, "Metric name", &err));
  assert_string_equal(err.text, "'Metric name' exceeds the maximum length of 3 characters");
}

static void ids_and_aliases(void **state) {
  (void)state;
  struct err err;
  assert_true(run_id_check(STR("0123456789abcdef0123456789abcdef"), "run_id", &err));
  assert_true(run_id_check(STR("a"), "run_id", &err));
  assert_false(run_id_check(STR("../x"), "run_id", &err));
  assert_string_equal(err.text, "Invalid value \"../x\" for parameter 'run_id' supplied.");
  assert_false(run_id_check(STR("-a"), "run_id", &err));
  assert_false(run_id_check(STR(""), "run_id", &err));
  static const struct row aliases[] = {
      {"champion", NULL},
      {"a-b_c", NULL},
      {"v", NULL},
      {"v1a", NULL},
      {"1", NULL},
      {"", "empty"},
      {"a b", "Invalid alias name"},
      {"a/b", "Invalid alias name"},
      {"latest", "reserved"},
      {"LaTest", "reserved"},
      {"v1", "reserved"},
      {"V12", "reserved"},
      {"v99999999999999999999", "reserved"},
  };
  for (size_t i = 0; i < ARRAY_LEN(aliases); i++) {
    bool ok = alias_check(str_of(aliases[i].text), &err);
    if (ok != !aliases[i].error || (!ok && !strstr(err.text, aliases[i].error)))
      fail_msg("alias \"%s\": %s", aliases[i].text, ok ? "accepted" : err.text);
  }
}

static void artifact_paths(void **state) {
  (void)state;
  static const struct {
    const char *path, *kept; /* NULL: refused */
  } rows[] = {
      {"", ""},
      {"a", "a"},
      {"a/b c/d.txt", "a/b c/d.txt"},
      {"a/", "a"},
      {"a//", "a"},
      {"100%", "100%"},
      {"a%20b", "a%20b"},
      {"..a/b..", "..a/b.."},
      {"...", "..."},
      {"gr\xC3\xB6", "gr\xC3\xB6"},
      {"..", NULL},
      {"a/..", NULL},
      {"../a", NULL},
      {"a/../b", NULL},
      {"/a", NULL},
      {"a//b", NULL},
      {".", NULL},
      {"a/./b", NULL},
      {"a\\b", NULL},
      {"C:/a", NULL},
      {"c:a", "c:a"}, /* a colon is no drive unless a slash follows */
      {"C:", "C:"},
      {"C:%5ca", NULL},
      {"c%3a/a", NULL},
      {"file:/a", NULL},
      {"file:a", NULL},
      {"a#b", NULL},
      {"a\nb", NULL},
      {"%2e%2e/a", NULL},
      {"a/%2E%2E", NULL},
      {"%252e%252e/a", NULL},
      {"%2fetc", NULL},
      {"..%5ca", NULL},
      {"a%5c..%5cb", NULL},
      {"a%5cb", "a%5cb"},
      {"dog%step%23%timestamp%100%5c1b.png", "dog%step%23%timestamp%100%5c1b.png"}, /* of log_image() */
      {"%25252525252525252525252e", NULL},
      {".winnow-x", NULL},
      {"a/.winnow-x/b", NULL},
      {"\xFF", NULL},
      {"\xC0\xAE\xC0\xAE/a", NULL},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct str kept = STR_NONE;
    struct err err;
    bool ok = artifact_path_check(str_of(rows[i].path), &kept, &err);
    if (ok != (rows[i].kept != NULL) || (ok && !str_is(kept, rows[i].kept)))
      fail_msg("\"%s\": %s %.*s", rows[i].path, ok ? "accepted" : "refused", STR_ARG(kept));
    if (!ok)
      assert_string_equal(err.text, "Invalid path");
    else
      assert_true(artifact_below_check(str_of(rows[i].path), &kept, NULL));
  }
  char long_path[ARTIFACT_PATH_MAX + 2];
  memset(long_path, 'a', sizeof long_path);
  struct str kept;
  assert_false(artifact_path_check(str_n(long_path, 256), &kept, NULL)); /* a name of 256 bytes */
  for (size_t i = 200; i < sizeof long_path; i += 200)
    long_path[i] = '/';
  assert_true(artifact_path_check(str_n(long_path, ARTIFACT_PATH_MAX - 50), &kept, NULL));
  assert_false(artifact_path_check(str_n(long_path, sizeof long_path), &kept, NULL));
}

/* What would begin as another place, when it stood alone. */
static void paths_below_a_directory(void **state) {
  (void)state;
  static const char *const good[] = {"C:/a", "c%3a/a", "file:/a", "file:a", "FILE:a", "%2fetc", "%252fetc"};
  static const char *const bad[] = {"/a", "..", "c:/../a", "file:..%2fa/..", "%2e%2e/a", "..%5ca", "file://a", "a#b", "a\nb", ".winnow-x"};
  struct str kept;
  for (size_t i = 0; i < ARRAY_LEN(good); i++) {
    assert_true(artifact_below_check(str_of(good[i]), &kept, NULL));
    assert_false(artifact_path_check(str_of(good[i]), &kept, NULL));
  }
  for (size_t i = 0; i < ARRAY_LEN(bad); i++)
    assert_false(artifact_below_check(str_of(bad[i]), &kept, NULL));
}

static void paths_as_people_write_them(void **state) {
  (void)state;
  static const struct {
    const char *path, *is;
  } rows[] = {{".", ""},  {"./", ""},         {"././", ""},           {"./.", ""},
              {"", ""},   {"model", "model"}, {"./model//", "model"}, {".model", ".model"},
              {"/", "/"}, {"../a", "../a"},   {".//a/b/", "a/b"},     {".//", ""}};
  for (size_t i = 0; i < ARRAY_LEN(rows); i++)
    if (!str_is(path_from_here(str_of(rows[i].path)), rows[i].is))
      fail_msg("\"%s\"", rows[i].path);
}

static void tidy_paths(void **state) {
  (void)state;
  static const struct {
    const char *path, *is;
  } rows[] = {{"", ""},         {".", ""},    {"./.", ""},      {"./a", "a"},      {"a/./b", "a/b"}, {"a//b/", "a/b"},
              {"1/./a", "1/a"}, {"..", ".."}, {"a/..", "a/.."}, {"/a//b", "/a/b"}, {"//", "/"},      {".a/...", ".a/..."}};
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_BUF struct buf tidy = BUF_INIT(100);
    path_tidy(str_of(rows[i].path), &tidy);
    if (!str_is(buf_str(&tidy), rows[i].is))
      fail_msg("\"%s\": \"%s\"", rows[i].path, buf_text(&tidy));
  }
}

static void sources(void **state) {
  (void)state;
  static const char *const good[] = {"s3://b/m", "mlflow-artifacts:/1/a/artifacts/m", "models:/m-1", "a..b/c", "http://h/x?y=1"};
  static const char *const bad[] = {"s3://b/../c",   "../x",       "s3://b/%2e%2e/c", "s3://b/%252e%252e/c",
                                    "s3://b?x=../c", "s3://b/%00", "s3://b\n/c",      "file:///a/../../etc",
                                    "x/..\\y"};
  for (size_t i = 0; i < ARRAY_LEN(good); i++)
    if (!source_uri_check(str_of(good[i]), NULL))
      fail_msg("%s is refused", good[i]);
  for (size_t i = 0; i < ARRAY_LEN(bad); i++)
    if (source_uri_check(str_of(bad[i]), NULL))
      fail_msg("%s is accepted", bad[i]);
}

static void run_uris(void **state) {
  (void)state;
  struct id run;
  struct str path;
  static const char *const others[] = {"runs:/",
                                       "runs:/run_id/model",
                                       "runs:/0123456789abcdef0123456789abcde",
                                       "runs://0123456789abcdef0123456789abcdef/m",
                                       "models:/0123456789abcdef0123456789abcdef/1",
                                       "mlflow-artifacts:/0/0123456789abcdef0123456789abcdef/artifacts/m"};
  assert_true(run_uri_parse(STR("runs:/0123456789abcdef0123456789abcdef/model/a b"), &run, &path));
  assert_true(str_is(path, "model/a b"));
  assert_int_equal(run.bytes[1], 0x23);
  static const char *const whole[] = {"runs:/0123456789abcdef0123456789abcdef", "runs:/0123456789abcdef0123456789abcdef/"};
  for (size_t i = 0; i < ARRAY_LEN(whole); i++) {
    assert_true(run_uri_parse(str_of(whole[i]), &run, &path));
    assert_true(path.p && path.n == 0);
  }
  for (size_t i = 0; i < ARRAY_LEN(others); i++)
    if (run_uri_parse(str_of(others[i]), &run, &path))
      fail_msg("%s is accepted", others[i]);
}

static void relative_locations(void **state) {
  (void)state;
  static const struct {
    const char *location, *expected;
  } rows[] = {
      {"a/b", "/here/a/b"},
      {"#a?", "/here/#a?"},
      {"/a/b", "/a/b"},
      {"file:a/b?x=y", "file:///here/a/b?x=y"},
      {"file:/a", "file:/a"},
      {"file:///a", "file:///a"},
      {"s3://bucket", "s3://bucket"},
      {"a-b.c+d:e", "a-b.c+d:e"},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_BUF struct buf out = BUF_INIT(KIB);
    struct err err;
    assert_true(artifact_location_resolve(str_of(rows[i].location), "/here", &out, &err));
    assert_string_equal(buf_text(&out), rows[i].expected);
  }
}

static void python_shows_text(void **state) {
  (void)state;
  static const struct {
    const char *text, *shown;
  } rows[] = {{"a", "'a'"},        {"it's", "\"it's\""},      {"'\"", "'\\'\"'"}, {"a\\b\n", "'a\\\\b\\n'"},
              {"\x01", "'\\x01'"}, {"\xC3\xB6", "'\xC3\xB6'"}};
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_BUF struct buf out = BUF_INIT(KIB);
    python_repr(&out, str_of(rows[i].text));
    assert_string_equal(buf_text(&out), rows[i].shown);
  }
}

static void names_are_made(void **state) {
  (void)state;
  struct rng rng = rng_seeded(7);
  for (int i = 0; i < 1000; i++) {
    char name[48];
    random_name(&rng, name);
    assert_true(key_check(str_of(name), "name", NULL));
    assert_true(logged_model_name_check(str_of(name), NULL));
  }
}

/* ---- packed columns ---- */

static void pairs_of_a_packed_object(void **state) {
  (void)state;
  struct str object = STR("{\"a\": \"1\", \"b \\\"q\\\" }\": \"x,}\", \"m\": [0.5, 1, \"NaN\", [2, 3]], \"o\": {\"p\": [1]}, \"z\":null}");
  static const char *const expected[][2] = {
      {"\"a\"", "\"1\""}, {"\"b \\\"q\\\" }\"", "\"x,}\""}, {"\"m\"", "[0.5, 1, \"NaN\", [2, 3]]"}, {"\"o\"", "{\"p\": [1]}"},
      {"\"z\"", "null"},
  };
  struct str key, value;
  size_t n = 0;
  for (size_t cursor = 0; packed_next(object, &cursor, &key, &value); n++) {
    assert_true(str_is(key, expected[n][0]));
    assert_true(str_is(value, expected[n][1]));
  }
  assert_int_equal(n, ARRAY_LEN(expected));
  static const char *const items[] = {"0.5", "1", "\"NaN\"", "[2, 3]"};
  struct str item;
  n = 0;
  for (size_t cursor = 0; packed_item(packed_get(object, "m"), &cursor, &item); n++)
    assert_true(str_is(item, items[n]));
  assert_int_equal(n, ARRAY_LEN(items));
  struct str metric[METRIC_ITEMS];
  assert_true(packed_metric(STR("\"NaN 7 1795287390000 -Infinity 1e+300 12\""), metric));
  static const char *const parts[] = {"\"NaN\"", "7", "1795287390000", "\"-Infinity\"", "1e+300", "12"};
  for (size_t i = 0; i < METRIC_ITEMS; i++)
    assert_true(str_is(metric[i], parts[i]));
  assert_true(packed_metric(STR("\"0.5 -1 3\""), metric) && str_is(metric[METRIC_MAX], "0.5") && str_is(metric[METRIC_COUNT], "1"));
  assert_true(packed_metric(STR("[0.5, -1, 3]"), metric) && str_is(metric[METRIC_STEP], "-1")); /* as it was written before */
  assert_false(packed_metric(STR("\"0.5 1\""), metric) || packed_metric(STR("\""), metric) || packed_metric(STR_NONE, metric));
  assert_null(packed_get(object, "none").p);
  assert_true(packed_is_empty(STR("{}")) && packed_is_empty(STR(" { } ")) && packed_is_empty(STR("")) && packed_is_empty(STR("[1]")));
  assert_false(packed_is_empty(object));
}

static void packed_text_comes_back(void **state) {
  (void)state;
  AUTO_BUF struct buf object = BUF_INIT(KIB), text = BUF_INIT(KIB);
  struct packed_writer w;
  struct str odd = STR("\"\\/\b\f\n\r\t\x01 gr\xC3\xB6 \xF0\x9F\x98\x80"), key, value;
  packed_begin(&w, &object);
  packed_put(&w, odd, odd);
  packed_put(&w, STR("b"), STR(""));
  packed_end(&w);
  size_t cursor = 0;
  assert_true(packed_next(buf_str(&object), &cursor, &key, &value));
  packed_unquote(key, &text);
  assert_true(str_eq(buf_str(&text), odd));
  assert_true(packed_next(buf_str(&object), &cursor, &key, &value));
  assert_false(packed_next(buf_str(&object), &cursor, &key, &value));
  AUTO_JSON json_t *tree = NULL;
  assert_true(json_read(buf_str(&object), &tree, NULL));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(keys),
      cmocka_unit_test(names_of_models),
      cmocka_unit_test(lengths_are_in_characters),
      cmocka_unit_test(ids_and_aliases),
      cmocka_unit_test(artifact_paths),
      cmocka_unit_test(paths_below_a_directory),
      cmocka_unit_test(paths_as_people_write_them),
      cmocka_unit_test(tidy_paths),
      cmocka_unit_test(sources),
      cmocka_unit_test(run_uris),
      cmocka_unit_test(relative_locations),
      cmocka_unit_test(python_shows_text),
      cmocka_unit_test(names_are_made),
      cmocka_unit_test(pairs_of_a_packed_object),
      cmocka_unit_test(packed_text_comes_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
