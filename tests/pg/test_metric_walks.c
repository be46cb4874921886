/* Many who read long series at once: each gets all of it, in order, whoever rests or goes on, and however long it waits for its turn. */
#include "base/mem.h"
#include "storage/metrics/metric_store.h"
#include "tests/support/pg_cluster.h"
#include "tests/support/test.h"

enum { READERS = 50, PAGE = 64, PAGES = 200, POINTS = PAGE * PAGES };

static struct pg_cluster cluster;
static struct pg_pool *pool;
static struct metric_store *store;
static struct id run;

static void set_true(void *ctx) {
  *(bool *)ctx = true;
}

static void set_stored(void *ctx, const struct err *err) {
  assert_null(err);
  *(bool *)ctx = true;
}

static void open_store(void) {
  struct err err;
  struct metric_store_conf conf = metric_store_conf_default();
  pool = pg_cluster_pool(&cluster, NULL);
  store = metric_store_new(cluster.loop, pool, cluster.work, &conf, &err);
  assert_non_null(store);
}

static void close_store(void) {
  bool stopped = false;
  metric_store_stop(store, set_true, &stopped);
  loop_until(cluster.loop, &stopped, 30000);
  metric_store_free(store);
  pg_pool_free(pool);
  loop_for(cluster.loop, 1);
}

static void write_series(void) {
  struct err err;
  bool stored = false, sealed = false;
  struct metric_rows rows;
  metric_rows_init(&rows);
  for (int64_t i = 0; i < POINTS; i++)
    assert_true(metric_rows_add(&rows, STR("loss"), (struct point){i, i, 0.5, NAN}));
  assert_true(metric_append(store, run, 0, &rows, set_stored, &stored, &err));
  loop_until(cluster.loop, &stored, 30000);
  assert_true(metric_seal_all(store, set_stored, &sealed, &err));
  loop_until(cluster.loop, &sealed, 30000);
  metric_rows_release(&rows);
}

static int start_all(void **state UNUSED) {
  char hex[ID_HEX_LEN + 1], sql[300];
  struct rng rng = rng_seeded(1);
  pg_cluster_start(&cluster, NULL);
  pg_cluster_sql(&cluster, "insert into winnow.experiment (id, name, artifact_location, created, updated) values (7, 'test', 'x', 0, 0)");
  run = id_new(&clock_system, &rng);
  id_format(run, hex);
  snprintf(sql, sizeof sql, "insert into winnow.run (id, experiment_id, created, state, name) values ('%s', 7, 0, 2, 'r')", hex);
  pg_cluster_sql(&cluster, sql);
  open_store();
  write_series();
  close_store();
  return 0;
}

static int stop_all(void **state UNUSED) {
  pg_cluster_stop(&cluster);
  return 0;
}

struct reader {
  struct metric_walk *walk;
  unsigned number, pages;
  int64_t next; /* the step that must come */
  bool rests, failed;
};

static unsigned over;

static void put_steps(const void *ctx UNUSED, const struct points *points, struct buf *out) {
  buf_add(out, points->step, points->n * sizeof *points->step);
}

static void leave(struct reader *reader) {
  metric_walk_free(reader->walk);
  reader->walk = NULL;
  over++;
}

static void on_page(void *ctx, struct str text, bool more, const struct err *err) {
  struct reader *reader = ctx;
  struct err failed;
  reader->failed = err != NULL;
  for (size_t at = 0; at < text.n; at += sizeof(int64_t)) {
    int64_t step;
    memcpy(&step, text.p + at, sizeof step);
    assert_int_equal(step, reader->next++);
  }
  if (err || !more) {
    leave(reader);
    return;
  }
  /* Every third rests now and then, as who reads slowly does. */
  reader->rests = reader->number % 3 == 0 && ++reader->pages % 20 == 0;
  if (reader->rests) {
    metric_walk_rest(reader->walk);
  } else if (!metric_walk_next(reader->walk, on_page, reader, &failed)) {
    reader->failed = true;
    leave(reader);
  }
}

static void begin(struct reader *readers) {
  struct err err;
  struct metric_page_ask ask = {.run = run, .key = STR("loss"), .order = METRIC_BY_STEP, .from = INT64_MIN, .to = INT64_MAX, .limit = PAGE};
  over = 0;
  for (unsigned i = 0; i < READERS; i++) {
    readers[i].number = i;
    readers[i].walk = metric_walk_new(store, &ask, put_steps, NULL, &err);
    assert_non_null(readers[i].walk);
    assert_true(metric_walk_next(readers[i].walk, on_page, &readers[i], &err));
  }
}

static void wake_those_who_rest(struct reader *readers) {
  struct err err;
  for (unsigned i = 0; i < READERS; i++)
    if (readers[i].rests) {
      readers[i].rests = false;
      assert_true(metric_walk_next(readers[i].walk, on_page, &readers[i], &err));
    }
}

static void send_off_those_who_rest(struct reader *readers) {
  for (unsigned i = 0; i < READERS; i++)
    if (readers[i].rests) {
      readers[i].rests = false;
      readers[i].failed = true;
      leave(&readers[i]);
    }
}

static void all_get_all(void **state UNUSED) {
  struct reader readers[READERS] = {0};
  open_store();
  begin(readers);
  for (int patience = 0; patience < 60000 && over < READERS; patience++) {
    loop_turn(cluster.loop, true);
    wake_those_who_rest(readers);
  }
  assert_int_equal(over, READERS);
  for (unsigned i = 0; i < READERS; i++) {
    assert_false(readers[i].failed);
    assert_int_equal(readers[i].next, POINTS);
  }
  close_store();
}

/* Whoever reads, or waits for its turn, is told. */
static void the_store_goes(void **state UNUSED) {
  for (int turns = 0; turns < 40; turns += 8) {
    struct reader readers[READERS] = {0};
    open_store();
    begin(readers);
    for (int i = 0; i < turns; i++)
      loop_turn(cluster.loop, false);
    if (turns > 16)
      loop_for(cluster.loop, 2 * turns);
    send_off_those_who_rest(readers);
    pg_pool_free(pool);
    metric_store_free(store);
    for (int patience = 0; patience < 30000 && over < READERS; patience++) {
      loop_for(cluster.loop, 1);
      send_off_those_who_rest(readers); /* their page came all the same */
    }
    assert_int_equal(over, READERS);
    for (unsigned i = 0; i < READERS; i++)
      assert_true(readers[i].failed || readers[i].next == POINTS);
    loop_for(cluster.loop, 10);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_get_all),
      cmocka_unit_test(the_store_goes),
  };
  return cmocka_run_group_tests(tests, start_all, stop_all);
}
