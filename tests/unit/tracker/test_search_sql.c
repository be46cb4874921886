/* Searches as SQL: identifiers from tables, values as parameters, pages as keysets. */
#include "tests/support/test.h"

#include "tracker/search/search_sql.h"

struct compiled {
  struct arena arena;
  struct search_sql sql;
  struct err err;
  bool ok;
};

static struct search of(enum filter_domain domain, const char *filter, const char *order, struct arena *arena) {
  static const int64_t experiments[] = {7};
  struct search search = {.domain = domain, .experiments = experiments, .experiment_count = 1, .limit = 11};
  struct str text = str_of(order);
  struct err err;
  if (!filter_parse(domain, str_of(filter), arena, &search.filter, NULL, &err))
    fail_msg("%s", err.text);
  search.order_count = order ? 1 : 0;
  if (!filter_parse_order(domain, &text, search.order_count, arena, &search.order, &err))
    fail_msg("%s", err.text);
  return search;
}

static const char *compile(struct compiled *c, enum filter_domain domain, const char *filter, const char *order) {
  c->arena = ARENA_INIT(MIB);
  search_sql_init(&c->sql, &c->arena);
  struct search search = of(domain, filter, order, &c->arena);
  c->ok = search_compile(&search, &c->sql, &c->err);
  return c->ok ? buf_text(&c->sql.text) : c->err.text;
}

static void release(struct compiled *c) {
  search_sql_release(&c->sql);
  arena_release(&c->arena);
}

static void plain(void **state) {
  (void)state;
  struct compiled c;
  assert_string_equal(compile(&c, FILTER_RUNS, "", NULL),
                      "with found as (select r.id as id, null::bigint as n, null::int as v, r.start_time as k0, r.id as k1 from run r "
                      "where r.experiment_id = $2[1] and r.deleted_at is null order by r.start_time desc, r.id limit $2[2]) "
                      "select id, n, v, case when row_number() over () = $2[3] then array[k0::text, k1::text] end from found");
  assert_int_equal(c.sql.ints[0], 7);
  assert_int_equal(c.sql.ints[1], 11);
  assert_int_equal(c.sql.ints[2], 10);
  assert_int_equal(c.sql.key_count, 2);
  release(&c);
}

struct row {
  enum filter_domain domain;
  const char *filter, *has;
};

static void clauses(void **state) {
  (void)state;
  static const struct row rows[] = {
      {FILTER_RUNS, "params.lr = '0.1'", " and r.params @> $1[1]::jsonb order"},
      {FILTER_RUNS, "params.lr != '0.1'", " and (r.params ->> $1[1]) <> $1[2] order"},
      {FILTER_RUNS, "tags.a like 'x%'", " and (r.tags ->> $1[1]) like $1[2] escape '' order"},
      {FILTER_RUNS, "tags.a is null", " and (r.tags ->> $1[1]) is null order"},
      {FILTER_RUNS, "tags.mlflow.runName = 'x'", " and nullif(r.name, '') = $1[1] order"},
      {FILTER_RUNS, "status = 'RUNNING'", " and r.state = any('{-1,2,3}'::smallint[]) order"},
      {FILTER_RUNS, "status = 'STOPPED'", " and r.state = any('{-1,6}'::smallint[]) order"},
      {FILTER_RUNS, "status != 'nonsense'", " and r.state <> all('{-1}'::smallint[]) order"},
      {FILTER_RUNS, "run_id = 'nonsense'", " and false order"},
      {FILTER_RUNS, "run_id not in ('nonsense')", " and true order"},
      {FILTER_RUNS, "run_id in ('0123456789abcdef0123456789abcdef', 'x')", " and r.id = any($4[1:1]) order"},
      {FILTER_RUNS, "start_time > 5", " and r.start_time > $2[2] order"},
      {FILTER_RUNS, "start_time > 5.5", " and r.start_time::double precision > $3[1] order"},
      {FILTER_RUNS, "dataset.name in ('a', 'b')", "where x.run = r.id and d.name = any($1[1:2])) order"},
      {FILTER_RUNS, "metrics.a != 1", " and (metric_last(r.metrics, $1[1]) <> $3[1]) order"},
      {FILTER_RUNS, "metrics.a > 1", "from run_metric m join run r on r.id = m.run where"},
      {FILTER_RUNS, "metrics.a > 1", "and m.key = metric_key_id($1[1]) and (m.value > $3[1] and m.value < 'NaN')"},
      {FILTER_RUNS, "metrics.a > 1", "union all (select"},
      {FILTER_RUNS, "metrics.a > 1", ")) led order by k0 desc, k1 limit $2[5]) select"},
      {FILTER_EXPERIMENTS, "name = 'x' and experiment_id = '3'",
       "where true and r.deleted_at is null and r.name = $1[1] and r.id::text = $1[2] order"},
      {FILTER_REGISTERED_MODELS, "name = 'x'", "where true and r.name = $1[1] and not r.is_prompt order by r.name"},
      {FILTER_REGISTERED_MODELS, "tags.`mlflow.prompt.is_prompt` = 'true'", "where true and r.is_prompt order"},
      {FILTER_REGISTERED_MODELS, "tags.`mlflow.prompt.is_prompt` != 'true'", "where true and not r.is_prompt order"},
      {FILTER_MODEL_VERSIONS, "version_number > 2", " and r.version::bigint > $2[1] and not r.is_prompt order"},
      {FILTER_LOGGED_MODELS, "metrics.a > 1",
       "exists (select from logged_model_metric x where x.model = r.id and x.key = $1[1] and (x.value > $3[1]"},
      {FILTER_LOGGED_MODELS, "status = 'LOGGED_MODEL_READY'", "[r.status] = $1[1] order"},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct compiled c;
    const char *sql = compile(&c, rows[i].domain, rows[i].filter, NULL);
    if (!c.ok || !strstr(sql, rows[i].has))
      fail_msg("%s\n  gives %s\n  not   %s", rows[i].filter, sql, rows[i].has);
    release(&c);
  }
}

/* Whatever stands in a filter, nothing of it is in the statement. */
static void values_are_parameters(void **state) {
  (void)state;
  static const char *const filters[] = {
      "tags.`ZZZ` = 'ZZZ'", "params.\"ZZZ' --\" like 'ZZZ%'", "metrics.`ZZZ` > 1", "run_name = 'ZZZ'",
      "status like 'ZZZ'",  "dataset.name = 'ZZZ'",           "run_id in ('ZZZ')", "run_id like 'ZZZ'",
  };
  for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
    struct compiled c;
    assert_null(strstr(compile(&c, FILTER_RUNS, filters[i], "metrics.`ZZZ` DESC"), "ZZZ"));
    assert_true(c.ok);
    release(&c);
  }
}

static void pages_begin_behind_values(void **state) {
  (void)state;
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  AUTO_SEARCH_SQL struct search_sql sql;
  struct err err;
  search_sql_init(&sql, &arena);
  struct search search = of(FILTER_RUNS, "", "params.p", &arena);
  struct str values[] = {STR("0"), STR("x"), STR("55"), STR("01234567-89ab-cdef-0123-456789abcdef")};
  search.page = (struct search_page){values, 4};
  assert_true(search_compile(&search, &sql, &err));
  assert_non_null(strstr(buf_text(&sql.text), " collate \"C\" > $1["));
  assert_non_null(strstr(buf_text(&sql.text), "r.start_time < $2["));
  assert_non_null(strstr(buf_text(&sql.text), "r.id > $4[1]"));

  static const struct {
    struct str values[4];
    size_t count;
  } bad[] = {
      {{{"0", 1}, {"x", 1}, {"55", 2}}, 3},                                           /* one too few */
      {{{"x", 1}, {"x", 1}, {"55", 2}, {"0123456789abcdef0123456789abcdef", 32}}, 4}, /* no number */
      {{{"0", 1}, {"x", 1}, {"55", 2}, {"x", 1}}, 4},                                 /* no id */
  };
  for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
    AUTO_SEARCH_SQL struct search_sql other;
    search_sql_init(&other, &arena);
    search.page = (struct search_page){bad[i].values, bad[i].count};
    assert_false(search_compile(&search, &other, &err));
    assert_int_equal(err.code, ERR_INVALID);
  }
}

/* A row is unpacked once when many metrics are looked up; what the index answers is none of them. */
static void many_look_ups_unpack_once(void **state) {
  (void)state;
#define EIGHT                                                                                                                             \
  "metrics.a != 1 and metrics.b != 1 and metrics.c != 1 and metrics.d != 1 and metrics.e != 1 and metrics.f != 1 and metrics.g != 1 and " \
  "metrics.h != 1"
  static const struct {
    const char *filter, *order;
    bool unpacks;
  } rows[] = {
      {EIGHT, NULL, false},
      {EIGHT " and metrics.x > 1 and metrics.x < 2", "metrics.x", false},
      {EIGHT, "metrics.x", true},
      {EIGHT " and metrics.i != 1", NULL, true},
      {EIGHT " and metrics.i != 1 and metrics.x > 1", NULL, true},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct compiled c;
    const char *sql = compile(&c, FILTER_RUNS, rows[i].filter, rows[i].order);
    assert_true(c.ok);
    assert_int_equal(strstr(sql, "|| '{}' as metrics offset 0) unpacked where") != NULL, rows[i].unpacks);
    assert_int_equal(strstr(sql, "(metric_last(r.metrics, ") != NULL, !rows[i].unpacks);
    release(&c);
  }
  struct compiled c;
  assert_null(strstr(compile(&c, FILTER_LOGGED_MODELS, EIGHT " and metrics.i != 1", NULL), "unpacked"));
  release(&c);
}

static void no_experiment_finds_nothing(void **state) {
  (void)state;
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  AUTO_SEARCH_SQL struct search_sql sql;
  struct err err;
  search_sql_init(&sql, &arena);
  struct search search = of(FILTER_RUNS, "", NULL, &arena);
  search.experiment_count = 0;
  assert_true(search_compile(&search, &sql, &err));
  assert_non_null(strstr(buf_text(&sql.text), "where false and"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plain),
      cmocka_unit_test(clauses),
      cmocka_unit_test(values_are_parameters),
      cmocka_unit_test(pages_begin_behind_values),
      cmocka_unit_test(many_look_ups_unpack_once),
      cmocka_unit_test(no_experiment_finds_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
