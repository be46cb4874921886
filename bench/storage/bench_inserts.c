/* Durable single-row inserts through the pool, at 16 and 64 at once, beside pgbench running the same statement with as many clients, on the
 * same private server, one after the other. Prints both and their ratio.
 *
 *   bench_storage_inserts [SECONDS [ROUNDS]] */
#include <stdio.h>

#include "base/buf.h"
#include "base/file.h"
#include "tests/support/pg_cluster.h"

#define P(...) ((const unsigned char[]){__VA_ARGS__})
#define INSERT "insert into bench (id, name, value, doc) values (gen_random_uuid(), $1, $2, $3)"
static const struct stmt_info statements[] = {
    {"bench_insert", INSERT, "bench", P(PG_TEXT, PG_FLOAT8, PG_JSONB), NULL, 3, 0, false},
};

static struct pg_cluster cluster;
static struct pg_pool *pool;
static int64_t stop_at_us, answered;
static int open_count;

static void issue(void);

static void on_inserted(void *ctx, const struct pg_reply *reply) {
  (void)ctx;
  if (pg_outcome(reply) != PG_DONE) {
    fprintf(stderr, "%s\n", pg_err(reply)->text);
    exit(1);
  }
  answered++;
  open_count--;
  if (clock_mono_us(&clock_system) < stop_at_us)
    issue();
}

static void issue(void) {
  struct err err;
  struct pg_args args;
  pg_args_init(&args, STMT_COUNT);
  pg_put_text(&args, STR("name"));
  pg_put_float8(&args, 1.5);
  pg_put_jsonb(&args, STR("{\"a\": 1}"));
  if (!pg_run(pool, &args, 0, on_inserted, NULL, &err)) {
    fprintf(stderr, "%s\n", err.text);
    exit(1);
  }
  open_count++;
}

static double through_pool(int concurrent, int seconds) {
  int64_t begin = clock_mono_us(&clock_system);
  stop_at_us = begin + seconds * INT64_C(1000000);
  answered = 0;
  for (int i = 0; i < concurrent; i++)
    issue();
  while (open_count)
    loop_turn(cluster.loop, true);
  return (double)answered * 1e6 / (double)(clock_mono_us(&clock_system) - begin);
}

static double number_after(const char *text, const char *word) {
  const char *at = strstr(text, word);
  double value = 0;
  if (at) {
    at += strlen(word);
    size_t n = strspn(at, "0123456789.");
    if (!str_to_f64(str_n(at, n), &value))
      value = 0;
  }
  return value;
}

static double through_pgbench(int clients, int seconds) {
  const struct pg_place *place = pg_private_place(cluster.server);
  struct err err;
  char program[600], script[200], c[16], t[16], host[200], password[100];
  snprintf(program, sizeof program, "%s/pgbench", place->programs.dir);
  snprintf(script, sizeof script, "%s/insert.sql", cluster.dir.path);
  static const char text[] = "insert into winnow.bench (id, name, value, doc) values (gen_random_uuid(), 'name', 1.5, '{\"a\": 1}');\n";
  if (!file_replace(script, str_of(text), 0644, &err))
    exit(1);
  snprintf(c, sizeof c, "%d", clients);
  snprintf(t, sizeof t, "%d", seconds);
  snprintf(host, sizeof host, "PGHOST=%s", place->socket_dir);
  snprintf(password, sizeof password, "PGPASSWORD=%s", place->secret);
  const char *argv[] = {program, "-n", "-M", "prepared", "-f", script, "-c", c, "-j", "2", "-T", t, "-U", "winnow", "postgres", NULL};
  const char *environment[] = {"PATH=/usr/bin:/bin", host, password, NULL};
  AUTO_BUF struct buf said = BUF_INIT(64 * KIB);
  struct run_as us = {.drop = false};
  if (!subproc_run(&us, argv, environment, seconds * 1000 + 60000, &said, &err)) {
    fprintf(stderr, "%s\n", err.text);
    exit(1);
  }
  return number_after(buf_text(&said), "tps = ");
}

int main(int argc, char **argv) {
  int64_t seconds = 5, rounds = 2;
  if ((argc > 1 && !str_to_i64(str_of(argv[1]), &seconds)) || (argc > 2 && !str_to_i64(str_of(argv[2]), &rounds)))
    return 2;
  stmt_set_extra(statements, ARRAY_LEN(statements));
  pg_cluster_start(&cluster, "max_connections = 110");
  pg_cluster_sql(&cluster, "create table bench (id uuid primary key, name text, value float8, doc jsonb)");
  struct pg_pool_conf conf = pg_pool_conf_default();
  int64_t n;
  if (getenv("CONNS") && str_to_i64(str_of(getenv("CONNS")), &n))
    conf.connections = (unsigned)n;
  pool = pg_cluster_pool(&cluster, &conf);
  loop_for(cluster.loop, 300);
  static const int concurrent[] = {1, 16, 64};
  printf("%10s %12s %12s %8s\n", "at once", "pool/s", "pgbench/s", "ratio");
  for (int64_t round = 0; round < rounds; round++)
    for (size_t i = 0; i < ARRAY_LEN(concurrent); i++) {
      double ours = through_pool(concurrent[i], (int)seconds), theirs = through_pgbench(concurrent[i], (int)seconds);
      printf("%10d %12.0f %12.0f %8.2f\n", concurrent[i], ours, theirs, theirs > 0 ? ours / theirs : 0);
      fflush(stdout);
    }
  pg_pool_free(pool);
  pg_cluster_stop(&cluster);
  return 0;
}
