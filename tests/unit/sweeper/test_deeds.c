#include "base/clock.h"
#include "base/loop.h"
#include "sweeper/live/live.h"
#include "tests/support/test.h"

/* Of all sweeps only what deeds need; nothing is sent by itself. */
static struct sweeps sweeps;
static struct fake_clock fake;

static int set_up(void **state) {
  (void)state;
  struct err err;
  fake_clock_init(&fake, 1000);
  sweeps = (struct sweeps){.conf = {.loop = loop_new(&fake.clock, &err), .clock = &fake.clock}};
  id_map_init(&sweeps.deeds_by_run, LIVE_BATCH_DEEDS_MAX);
  return sweeps.conf.loop == NULL;
}

static int tear_down(void **state) {
  (void)state;
  deeds_release(&sweeps);
  loop_defer_cancel(&sweeps.pump);
  loop_free(sweeps.conf.loop);
  return 0;
}

static struct id id_of(unsigned run) {
  return (struct id){{(uint8_t)run, (uint8_t)(run >> 8)}};
}

static uint64_t note_by(const char *actor, unsigned run, const char *to) {
  return deeds_note(&sweeps, &(struct deed){.kind = "run.state", .run = id_of(run), .actor = str_of(actor), .to = to});
}

static uint64_t note(unsigned run, const char *to) {
  return note_by("uid 1", run, to);
}

/* How many are sent with a transaction. */
static size_t send_all(void) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  deeds_send(&sweeps, &batch);
  return batch.count;
}

static void not_ahead_of_rows(void **state) {
  (void)state;
  assert_int_equal(note(1, "STOPPING"), 1);
  assert_int_equal(send_all(), 1);
  deeds_sent(&sweeps, false); /* nor are the rows stored, which are tried again at the next tick */
  assert_int_equal(send_all(), 0);
  deeds_sent(&sweeps, true); /* others */
  assert_false(deeds_are_due(&sweeps));
  assert_int_equal(send_all(), 0);
  sweeps.deeds_wait = false; /* the tick */
  assert_int_equal(send_all(), 1);
  deeds_sent(&sweeps, true);
  assert_int_equal(sweeps.deeds.count, 0);
}

static void more_than_a_transaction_takes(void **state) {
  (void)state;
  for (unsigned run = 1; run <= LIVE_BATCH_DEEDS_MAX + 1; run++)
    assert_int_equal(note(run, "STOPPING"), run);
  assert_true(deeds_are_durable(&sweeps, 0));
  assert_int_equal(send_all(), LIVE_BATCH_DEEDS_MAX);
  assert_false(deeds_are_durable(&sweeps, 1));
  deeds_sent(&sweeps, true);
  assert_true(deeds_are_durable(&sweeps, LIVE_BATCH_DEEDS_MAX));
  assert_false(deeds_are_durable(&sweeps, LIVE_BATCH_DEEDS_MAX + 1)); /* so whoever did it is not answered yet */
  assert_int_equal(send_all(), 1);
  deeds_sent(&sweeps, true);
  assert_true(deeds_are_durable(&sweeps, LIVE_BATCH_DEEDS_MAX + 1));
}

static void who_it_was(void **state) {
  (void)state;
  note_by("a", 1, "PAUSED");
  note_by("b", 1, "RUNNING");
  note_by("c", 1, "PAUSED");
  note_by("d", 2, NULL);
  assert_null(deeds_actor(&sweeps, id_of(1), "PAUSED")); /* not on its way */
  assert_int_equal(send_all(), 4);
  note_by("e", 1, "PAUSED");
  assert_string_equal(deeds_actor(&sweeps, id_of(1), "PAUSED"), "c");
  assert_string_equal(deeds_actor(&sweeps, id_of(1), "RUNNING"), "b");
  assert_null(deeds_actor(&sweeps, id_of(1), "STOPPED"));
  assert_null(deeds_actor(&sweeps, id_of(2), "PAUSED"));
  assert_null(deeds_actor(&sweeps, id_of(3), "PAUSED"));
  deeds_sent(&sweeps, true);
  assert_null(deeds_actor(&sweeps, id_of(1), "PAUSED"));
  assert_int_equal(send_all(), 1);
  assert_string_equal(deeds_actor(&sweeps, id_of(1), "PAUSED"), "e");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(not_ahead_of_rows, set_up, tear_down),
      cmocka_unit_test_setup_teardown(more_than_a_transaction_takes, set_up, tear_down),
      cmocka_unit_test_setup_teardown(who_it_was, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
