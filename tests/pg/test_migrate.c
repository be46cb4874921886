/* Migrations: applied once, in order, resumed, refused; and the snapshot of what they make. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "storage/migrate.h"
#include "tests/support/pg_cluster.h"

static struct pg_cluster cluster;

static int start_all(void **state) {
  (void)state;
  pg_cluster_start(&cluster, NULL);
  return 0;
}

static int stop_all(void **state) {
  (void)state;
  pg_cluster_stop(&cluster);
  return 0;
}

static const struct migration steps[] = {
    {"0001_first", "create table first (n int);\ninsert into first values (1);", "aa"},
    {"0002_second", "create table second (n int);", "bb"},
    {"0003_third", "alter table second add column m int;", "cc"},
};

static int fresh(void **state) {
  (void)state;
  pg_cluster_sql(&cluster, "drop schema if exists winnow cascade");
  return 0;
}

static void test_in_order_and_once(void **state) {
  (void)state;
  struct err err;
  struct migrate_report report;
  assert_true(migrate_with(cluster.conninfo, steps, 2, &report, &err));
  assert_int_equal(report.applied, 2);
  assert_string_equal(report.last, "0002_second");
  assert_true(migrate_with(cluster.conninfo, steps, 2, &report, &err));
  assert_int_equal(report.applied, 0);
  assert_true(migrate_with(cluster.conninfo, steps, 3, &report, &err));
  assert_int_equal(report.applied, 1);
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from migration"), 3);
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from first"), 1);
}

static void test_newer_is_refused(void **state) {
  (void)state;
  struct err err;
  struct migrate_report report;
  assert_true(migrate_with(cluster.conninfo, steps, 3, &report, &err));
  assert_false(migrate_with(cluster.conninfo, steps, 2, &report, &err));
  assert_int_equal(err.code, ERR_CONFLICT);
  assert_string_equal(err.text, "the database was made by a newer winnow: migration 0003_third is not known here");
  assert_non_null(strstr(err.hint, "or later"));
}

static void test_changed_is_refused(void **state) {
  (void)state;
  struct err err;
  struct migrate_report report;
  struct migration changed[2] = {steps[0], steps[1]};
  assert_true(migrate_with(cluster.conninfo, steps, 2, &report, &err));
  changed[1].sha256 = "dd";
  assert_false(migrate_with(cluster.conninfo, changed, 2, &report, &err));
  assert_int_equal(err.code, ERR_CONFLICT);
  assert_non_null(strstr(err.text, "0002_second"));
  struct migration gap[2] = {steps[0], steps[2]};
  assert_true(migrate_with(cluster.conninfo, steps, 2, &report, &err));
  assert_false(migrate_with(cluster.conninfo, gap, 2, &report, &err));
}

/* One that fails leaves nothing of itself, and those before it stay. */
static void test_failure_is_whole(void **state) {
  (void)state;
  struct err err;
  struct migrate_report report;
  struct migration bad[2] = {steps[0], {"0002_second", "create table second (n int);\n\ncreate table broken (n nonsense);", "bb"}};
  assert_false(migrate_with(cluster.conninfo, bad, 2, &report, &err));
  assert_non_null(strstr(err.text, "migration 0002_second, line 3"));
  assert_non_null(strstr(err.hint, "start again"));
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from pg_tables where schemaname = 'winnow' and tablename = 'second'"), 0);
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from migration"), 1);
  assert_true(migrate_with(cluster.conninfo, steps, 2, &report, &err));
  assert_int_equal(report.applied, 1);
}

static void test_no_server(void **state) {
  (void)state;
  struct err err;
  struct migrate_report report;
  assert_false(migrate("host=/nowhere", &report, &err));
  assert_int_equal(err.code, ERR_UNAVAILABLE);
  assert_false(migrate("nonsense", &report, &err));
  assert_int_equal(err.code, ERR_INVALID);
  assert_false(migrate("postgresql://host.invalid/db", &report, &err));
  assert_non_null(strstr(err.text, "host.invalid"));
}

/* What depends on the version of pg_dump, or on the moment, is left out. */
static void keep_the_meaning(struct str text, struct buf *out) {
  static const char *const noise[] = {"--", "SET ", "SELECT pg_catalog.set_config", "\\", "COMMENT ON SCHEMA"};
  struct str line;
  bool blank = true;
  while (str_split(&text, '\n', &line)) {
    bool drop = line.n == 0 && blank;
    for (size_t i = 0; i < ARRAY_LEN(noise); i++)
      drop = drop || str_starts(line, str_of(noise[i]));
    if (drop)
      continue;
    blank = line.n == 0;
    buf_add_str(out, line);
    buf_putc(out, '\n');
  }
  while (out->n > 1 && out->p[out->n - 2] == '\n')
    buf_cut(out, out->n - 1);
}

static void test_snapshot(void **state) {
  (void)state;
  struct err err;
  struct migrate_report report;
  assert_true(migrate(cluster.conninfo, &report, &err));
  const struct pg_place *place = pg_private_place(cluster.server);
  char program[600];
  snprintf(program, sizeof program, "%s/pg_dump", place->programs.dir);
  const char *argv[] = {program, "--schema-only", "--schema=winnow", "--no-owner", "--no-privileges", "--dbname", cluster.conninfo, NULL};
  static const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
  AUTO_BUF struct buf dump = BUF_INIT(4 * MIB), meaning = BUF_INIT(4 * MIB);
  struct run_as us = {.drop = false};
  assert_true(subproc_run(&us, argv, environment, 60000, NULL, &dump, &err));
  buf_puts(&meaning, "");
  keep_the_meaning(buf_str(&dump), &meaning);
  const char *path = getenv("WINNOW_WRITE_SCHEMA");
  if (path) {
    assert_true(file_replace(path, buf_str(&meaning), 0644, &err));
    return;
  }
  if (!str_is(buf_str(&meaning), schema_snapshot))
    print_message("the migrations make another schema than sql/schema.sql: run this test with WINNOW_WRITE_SCHEMA=<that file>\n");
  assert_string_equal(buf_text(&meaning), schema_snapshot);
}

/* How many come before this one. */
static size_t before(const char *name) {
  size_t count = 0;
  while (strcmp(migrations[count].name, name) != 0)
    count++;
  return count;
}

/* A database as it was before that migration, with rows of then, is brought up to date. */
static void migrate_rows(const char *name, const char *rows) {
  struct err err;
  struct migrate_report report;
  assert_true(migrate_with(cluster.conninfo, migrations, before(name), &report, &err));
  pg_cluster_sql(&cluster, rows);
  assert_true(migrate(cluster.conninfo, &report, &err));
}

/* Versions that were kept before their address was that of what is kept: a directory, a file, one that is elsewhere. */
static void test_kept_versions_get_their_address(void **state) {
  (void)state;
  migrate_rows("0027_kept_address",
               "insert into registered_model (name, created, updated) values ('m', 1, 1);"
               "insert into artifact values ('0/r/artifacts/model/a', 1, sha256('a'), 1), ('0/r/artifacts/one', 1, sha256('a'), 1);"
               "insert into model_version (model, version, created, updated, source, storage_location, kept_path) "
               "select id, v, 1, 1, '', 'mlflow-artifacts:/' || place, 'registry/1/' || v from registered_model, "
               "(values (1, '0/r/artifacts/model'), (2, '0/r/artifacts/one'), (3, 'registry/1/3/one'), (4, '/host/x')) t (v, place)");
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from model_version where storage_location = 'mlflow-artifacts:/' || "
                                            "(array['registry/1/1', '0/r/artifacts/one', 'registry/1/3/one', '/host/x'])[version]"),
                   4);
}

/* Of sweeps that are there: one as any, a launched run, one that cannot be read. */
static void test_what_a_spec_says_is_taken_out(void **state) {
  (void)state;
  migrate_rows(
      "0036_said_by_spec",
      "insert into sweep (id, experiment_id, created, version, seed, name, directory, source, spec) "
      "select gen_random_uuid(), 0, 1, 1, 1, name, '', '', spec from (values "
      "('any', '{\"metric\": {\"name\": \"loss\", \"goal\": \"minimize\"}, \"metrics_from\": [{\"stream\": \"stdout\"}], "
      "\"parameters\": {\"zeta\": {\"min\": 0}, \"net\": {\"parameters\": {\"wide\": {}, \"a\": {}}}, \"b\": {\"values\": [1]}}}'), "
      "('job', '{\"command\": [\"x\"]}'), ('torn', '{\"metric\": {')) t (name, spec)");
  assert_int_equal(pg_cluster_int(&cluster,
                                  "select count(*) from sweep where name = 'any' and metric_name = 'loss' and metric_goal = 'minimize' "
                                  "and metrics_from::jsonb = '[{\"stream\": \"stdout\"}]' and params_order = '{ \"zeta\" : null, "
                                  "\"net\" : {\"parameters\": {\"wide\": {}, \"a\": {}}}, \"b\" : null }'"),
                   1);
  assert_int_equal(
      pg_cluster_int(&cluster, "select count(*) from sweep where name = 'job' and metric_name is null and params_order = '{}'"), 1);
  assert_int_equal(
      pg_cluster_int(&cluster, "select count(*) from sweep where name = 'torn' and metric_name is null and params_order is null"), 1);
}

/* Of versions that are there: numbers that a sweep gave as a tag, a text, none. Of none a copy is asked for. */
static void test_the_trial_of_a_version_becomes_a_text(void **state) {
  (void)state;
  migrate_rows("0038_keep_from",
               "insert into registered_model (name, created, updated) values ('m', 1, 1);"
               "insert into model_version (model, version, created, updated, source, storage_location, tags) "
               "select id, v, 1, 1, '', '', had::jsonb from registered_model, (values (1, '{\"winnow.trial\": 12, \"a\": \"x\"}'), "
               "(2, '{\"winnow.trial\": \"3\"}'), (3, '{}')) t (v, had)");
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from model_version where keep_from is null and tags = (array["
                                            "'{\"winnow.trial\": \"12\", \"a\": \"x\"}', '{\"winnow.trial\": \"3\"}', "
                                            "'{}'])[version]::jsonb"),
                   3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_in_order_and_once, fresh),
      cmocka_unit_test_setup(test_newer_is_refused, fresh),
      cmocka_unit_test_setup(test_changed_is_refused, fresh),
      cmocka_unit_test_setup(test_failure_is_whole, fresh),
      cmocka_unit_test_setup(test_no_server, fresh),
      cmocka_unit_test_setup(test_snapshot, fresh),
      cmocka_unit_test_setup(test_kept_versions_get_their_address, fresh),
      cmocka_unit_test_setup(test_what_a_spec_says_is_taken_out, fresh),
      cmocka_unit_test_setup(test_the_trial_of_a_version_becomes_a_text, fresh),
  };
  return cmocka_run_group_tests(tests, start_all, stop_all);
}
