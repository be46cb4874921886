/* Trials in the order of a column: names are read, what is asked becomes parameters, pages must fit. */
#include "tests/support/test.h"

#include "tracker/search/trial_search.h"

static void names(void **state) {
  (void)state;
  static const struct {
    const char *text, *key;
    bool descending, is_param, is_metric;
    enum trial_reported reported;
  } good[] = {
      {"", NULL, false, false, false, REPORTED_NOTHING},         {"number", NULL, false, false, false, REPORTED_NOTHING},
      {"-value", NULL, true, false, false, REPORTED_VALUE},      {"last.step", NULL, false, false, false, REPORTED_LAST_STEP},
      {"params.lr", "lr", false, true, false, REPORTED_NOTHING}, {"-params.a.b", "a.b", true, true, false, REPORTED_NOTHING},
      {"metrics.-", "-", false, false, true, REPORTED_NOTHING},
  };
  static const char *const bad[] = {"-", "--value", "params.", "metrics.", "param.lr", "Value", "value ", "lr", "last"};
  struct trial_sort sort;
  struct err err;
  for (size_t i = 0; i < ARRAY_LEN(good); i++) {
    assert_true(trial_sort_parse(str_of(good[i].text), &sort, &err));
    assert_int_equal(sort.descending, good[i].descending);
    assert_int_equal(trial_sort_is_param(&sort), good[i].is_param);
    assert_int_equal(trial_sort_is_metric(&sort), good[i].is_metric);
    assert_int_equal(trial_sort_reported(&sort), good[i].reported);
    assert_true(good[i].key ? str_is(sort.key, good[i].key) : !sort.key.p);
  }
  for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
    assert_false(trial_sort_parse(str_of(bad[i]), &sort, &err));
    assert_int_equal(err.code, ERR_INVALID);
  }
}

/* The text of the statement, or of the error; in the arena. */
static const char *compile(struct arena *arena, const char *sort, const struct str *page, size_t page_count) {
  AUTO_SEARCH_SQL struct search_sql sql;
  struct err err;
  struct id run = {{1}};
  double reported = 0.5;
  struct trial_search search = {.sweep = {{7}},
                                .of_state = true,
                                .state = 5,
                                .runs = &run,
                                .reported = &reported,
                                .reported_count = 1,
                                .limit = 3,
                                .page = {page, page_count}};
  search_sql_init(&sql, arena);
  assert_true(trial_sort_parse(str_of(sort), &search.sort, &err));
  bool ok = trial_search_compile(&search, &sql, &err);
  const char *text = arena_strdup(arena, ok ? buf_str(&sql.text) : str_of(err.text));
  assert_non_null(text);
  return text;
}

static void statements(void **state) {
  (void)state;
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  const struct str after = STR("41"), keys[] = {STR("0"), STR("0.25"), STR("9")}, wrong[] = {STR("0"), STR("x"), STR("9")};
  /* by number: what an index gives */
  assert_string_equal(
      compile(&arena, "-number", &after, 1),
      "with found as (select r.id as id, null::bigint as n, null::int as v, r.trial as k0 from run r where r.sweep_id = $4[1] "
      "and r.state = $2[2] and (r.trial < $2[3]) order by r.trial desc limit $2[4]) "
      "select id, n, v, case when row_number() over () = $2[5] then array[k0::text] end from found");
  const char *text = compile(&arena, "value", keys, 3);
  assert_non_null(strstr(text, "unnest($4[1:1], $3[1:1]) heard"));
  assert_non_null(
      strstr(text, "(made.kind > $2[3] or made.kind = $2[4] and (made.number > $3[2] or made.number = $3[3] and (r.trial > $2[5])))"));
  assert_non_null(strstr(text, "order by made.kind, made.number, r.trial limit"));
  /* what is asked for is never part of the text */
  assert_null(strstr(compile(&arena, "params.it's", NULL, 0), "it's"));
  assert_string_equal(compile(&arena, "value", wrong, 3), "\"cursor\" is none that was given out here");
  assert_string_equal(compile(&arena, "value", keys, 2), "\"cursor\" is none that was given out here");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(statements)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
