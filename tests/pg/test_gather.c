/* Items that share statements: all are answered once, in groups; one that the database refuses takes no other with it. */
#include "base/mem.h"
#include "storage/pg/pg_gather.h"
#include "tests/support/pg_cluster.h"
#include "tests/support/test.h"
#include "tests/support/test_stmts.h"

enum { ITEMS = 300 };

static struct pg_cluster cluster;

struct row {
  struct pg_gather_item item;
  int64_t id;
  bool added; /* pg_gather_add() has returned */
  int answers;
  bool ok;
};

static struct row rows[ITEMS];
static size_t answered;

static int start_all(void **state UNUSED) {
  test_stmts_use();
  pg_cluster_start(&cluster, NULL);
  pg_cluster_sql(&cluster, test_stmts_schema);
  return 0;
}

static int stop_all(void **state UNUSED) {
  pg_cluster_stop(&cluster);
  return 0;
}

static void put(struct pg_args *args, const struct list *items) {
  pg_begin_array(args);
  LIST_EACH(items, node)
  pg_put_int(args, LIST_ENTRY(node, struct row, item.node)->id);
  pg_end_array(args);
  pg_begin_array(args);
  LIST_EACH(items, node)
  pg_put_text(args, LIST_ENTRY(node, struct row, item.node)->id < 0 ? str_n("a\0b", 3) : STR("name"));
  pg_end_array(args);
}

static void done(void *ctx, struct pg_gather_item *item, const struct pg_reply *reply, size_t row UNUSED, const struct err *err) {
  struct row *of = CONTAINER_OF(item, struct row, item);
  assert_true(of->added);
  assert_true(!reply == !!err);
  of->answers++;
  of->ok = reply && pg_ok(reply, NULL);
  answered++;
  *(bool *)ctx = answered == ITEMS;
}

static void test_gathers(void **state UNUSED) {
  struct err err;
  struct pg_pool *pool = pg_cluster_pool(&cluster, NULL);
  bool all = false;
  struct pg_gather gather = {.in_flight = 0};
  struct pg_gather_conf conf = {.stmt = (enum stmt)T_UNNEST,
                                .rows_max = 64,
                                .bytes_max = MIB,
                                .enough = 16 * KIB,
                                .timeout_ms = 30000,
                                .put = put,
                                .done = done,
                                .ctx = &all};
  assert_true(pg_gather_init(&gather, cluster.loop, pool, &conf, &err));
  for (int i = 0; i < ITEMS; i++) {
    rows[i] = (struct row){.item = {.rows = 1, .bytes = 20}, .id = i == 57 ? 3 /* is there */ : i == 130 ? -1 /* no text */ : i};
    pg_gather_add(&gather, &rows[i].item);
    rows[i].added = true;
    if (i % 7 == 0)
      loop_for(cluster.loop, 1);
  }
  loop_until(cluster.loop, &all, 30000);
  for (int i = 0; i < ITEMS; i++) {
    assert_int_equal(rows[i].answers, 1);
    assert_int_equal(rows[i].ok, i != 57 && i != 130);
  }
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from probe"), ITEMS - 2);
  assert_true(gather.groups < ITEMS);
  assert_int_equal(gather.in_flight, 0);
  assert_int_equal(gather.waiting_bytes, 0);
  pg_gather_stop(&gather, &err);
  pg_gather_release(&gather);
  pg_pool_free(pool);
}

static void test_stops(void **state UNUSED) {
  struct err err;
  struct pg_pool *pool = pg_cluster_pool(&cluster, NULL);
  bool all = false;
  struct pg_gather gather = {.in_flight = 0};
  struct pg_gather_conf conf = {.stmt = (enum stmt)T_UNNEST,
                                .rows_max = 8,
                                .bytes_max = MIB,
                                .enough = MIB,
                                .timeout_ms = 30000,
                                .put = put,
                                .done = done,
                                .ctx = &all};
  assert_true(pg_gather_init(&gather, cluster.loop, pool, &conf, &err));
  answered = 0;
  for (int i = 0; i < ITEMS; i++) {
    rows[i] = (struct row){.item = {.rows = 1, .bytes = 20}, .id = 1000 + i, .added = true};
    pg_gather_add(&gather, &rows[i].item);
  }
  loop_for(cluster.loop, 3); /* some are on their way */
  err_set(&err, ERR_UNAVAILABLE, "the end");
  pg_gather_stop(&gather, &err);
  pg_pool_free(pool);
  loop_for(cluster.loop, 10);
  size_t stored = 0;
  for (int i = 0; i < ITEMS; i++) {
    assert_int_equal(rows[i].answers, 1);
    stored += rows[i].ok;
  }
  assert_true(stored < ITEMS);
  pg_gather_release(&gather);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_gathers), cmocka_unit_test(test_stops)};
  return cmocka_run_group_tests(tests, start_all, stop_all);
}
