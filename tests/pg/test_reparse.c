/* Output read anew: exactly what came from it is replaced, whatever clients logged beside it. */
#include <libpq-fe.h>

#include "tests/support/metric_scene.h"
#include "tests/support/test.h"
#include "tracker/logs/log_store.h"
#include "tracker/logs/reparse.h"
#include "tracker/logs/stream_sources.h"

#define LOSS "{}"
#define SCORE "{\"builtin\": false, \"patterns\": [{\"pattern\": \"score<<(?P<score>[0-9.]+)>>\"}]}"
#define TIMED "{\"builtin\": false, \"patterns\": [{\"pattern\": \"at=(?P<time>[0-9]+) own=(?P<own>[0-9.]+)\"}]}"
#define WANTED "{\"wanted\": [\"foo\"]}"

static struct log_store *logs;
static struct log_writer *writer;
static size_t current; /* of the scene's runs */

static int set_up(void **state) {
  struct err err;
  scene_set_up(state);
  current = 0;
  pg_cluster_sql(&scene.cluster, "truncate winnow.log_piece, winnow.log_stream");
  const struct log_store_conf conf = {scene.cluster.loop, scene.cluster.work, scene.pool, scene.store};
  logs = log_store_new(&conf, &err);
  assert_non_null(logs);
  return 0;
}

static int tear_down(void **state) {
  log_writer_close(writer);
  writer = NULL;
  loop_for(scene.cluster.loop, 1);
  log_store_free(logs);
  return scene_tear_down(state);
}

/* ---- output ---- */

static struct metric_sources *sources_of(const char *text) {
  struct metric_sources *sources;
  struct err err;
  if (!stream_sources_read(str_of(text), &sources, &err))
    fail_msg("%s", err.text);
  return sources;
}

static void listen_with(const char *text, int64_t log_max) {
  struct metric_sources *sources = sources_of(text);
  const struct log_writer_options options = {.sources = sources, .log_max = log_max};
  struct err err;
  log_writer_close(writer);
  writer = log_writer_new(logs, scene.run_ids[current], scene.attempts[current], &options, NULL, NULL, &err);
  assert_non_null(writer);
  metric_sources_unref(sources);
}

struct wrote {
  bool done;
  int64_t next;
};

static void on_written(void *ctx, int64_t next, const struct err *err) {
  struct wrote *wrote = ctx;
  if (err)
    fail_msg("%s", err->text);
  *wrote = (struct wrote){true, next};
}

/* Returns where the stream goes on. */
static int64_t say_after(int64_t offset, int64_t skipped, const char *text) {
  struct wrote wrote = {.done = false};
  struct err err;
  struct log_piece piece = {.offset = offset, .skipped = skipped, .bytes = str_of(text)};
  assert_true(log_writer_write(writer, LOG_STDOUT, &piece, on_written, &wrote, &err));
  loop_until(scene.cluster.loop, &wrote.done, 30000);
  return wrote.next;
}

static int64_t say(int64_t offset, const char *text) {
  return say_after(offset, 0, text);
}

static void finish(void) {
  struct wrote wrote = {.done = false};
  struct err err;
  assert_true(log_writer_finish(writer, on_written, &wrote, &err));
  loop_until(scene.cluster.loop, &wrote.done, 30000);
}

static void run_is_over(void) {
  pg_cluster_sql(&scene.cluster, "update winnow.run set state = 4");
}

/* ---- points ---- */

static void client_logs(const char *key, int64_t step, int64_t time, double value) {
  AUTO_METRIC_ROWS struct metric_rows rows;
  struct answer answer;
  metric_rows_init(&rows);
  assert_true(metric_rows_add(&rows, str_of(key), (struct point){step, time, value, NAN}));
  scene_append(current, 0, &rows, &answer);
  scene_wait(&answer);
  assert_true(answer.ok);
}

static struct points stored(const char *key) {
  struct metric_page_ask ask = {
      .run = scene.run_ids[current], .key = str_of(key), .order = METRIC_BY_STEP, .from = INT64_MIN, .to = INT64_MAX, .limit = 1000};
  struct got_page got = {.done = false};
  struct err err;
  assert_true(metric_page(scene.store, &ask, scene_on_page, &got, &err));
  loop_until(scene.cluster.loop, &got.done, 30000);
  assert_true(got.ok && !got.more);
  return got.points;
}

static int64_t time_of(const char *key, size_t i) {
  AUTO_POINTS struct points points = stored(key);
  assert_true(i < points.n);
  return points.time[i];
}

/* "1=0.5 2=0.25": steps and values. */
static void assert_stored(const char *key, const char *right) {
  AUTO_POINTS struct points points = stored(key);
  char text[1000] = "";
  size_t n = 0;
  for (size_t i = 0; i < points.n && n < sizeof text; i++)
    n += (size_t)snprintf(text + n, sizeof text - n, "%s%lld=%g", i ? " " : "", (long long)points.step[i], points.value[i]);
  if (strcmp(text, right) != 0)
    fail_msg("run %zu, %s: %s, not %s", current, key, text, right);
}

/* ---- reading anew ---- */

static void on_reread(void *ctx, const struct reparse_result *result UNUSED, const struct err *err) {
  scene_on_answer(ctx, err);
}

static void begin_reading(const char *text, struct answer *answer) {
  struct metric_sources *sources = sources_of(text);
  struct err err;
  *answer = (struct answer){.done = false};
  assert_true(reparse_run(logs, scene.run_ids[current], sources, STR("test"), on_reread, answer, &err));
  assert_false(answer->done);
  metric_sources_unref(sources);
}

static void read_with(const char *text) {
  struct answer answer;
  begin_reading(text, &answer);
  scene_wait(&answer);
  if (!answer.ok)
    fail_msg("%s", answer.err.text);
}

static void a_client_in_the_same_millisecond(void **state UNUSED) {
  listen_with(LOSS, 0);
  int64_t next = say(0, "step=1 loss=0.5 score<<7>>\n");
  say(next, "step=2 loss=0.25 score<<8>>\n");
  int64_t first = time_of("loss", 0);
  client_logs("loss", 100, first, 9);  /* another step */
  client_logs("loss", 2, first, 0.25); /* the step and value of another piece */
  client_logs("loss", 1, first, 0.75); /* another value */
  finish();
  run_is_over();
  for (int again = 0; again < 3; again++) {
    read_with(SCORE);
    assert_stored("loss", "1=0.75 2=0.25 100=9");
    if (again == 0)
      client_logs("score", 50, time_of("score", 0), 1);
    assert_stored("score", "0=7 1=8 50=1");
    if (again == 1)
      scene_seal_all();
    read_with(LOSS);
    assert_stored("loss", "1=0.5 1=0.75 2=0.25 2=0.25 100=9");
    assert_stored("score", "50=1");
  }
}

static void a_pattern_with_a_time_of_its_own(void **state UNUSED) {
  listen_with(TIMED, 0);
  say(0, "at=1700000000 own=1 loss=3\nat=1700000001 own=2 loss=4\n");
  finish();
  client_logs("own", 1, 1700000000123, 1);
  client_logs("own", 2, 1700000001000, 2.5);
  assert_stored("own", "0=1 1=1 1=2 2=2.5");
  run_is_over();
  read_with(SCORE);
  assert_stored("own", "1=1 2=2.5");
  read_with(TIMED);
  assert_stored("own", "0=1 1=1 1=2 2=2.5");
}

/* The last line is read with the end, its points are of the time of its bytes; a writer that begins anew knows that time too. */
static void a_last_line_without_an_end(void **state UNUSED) {
  for (int restarted = 0; restarted < 2; restarted++) {
    current = (size_t)restarted;
    listen_with(WANTED, 0);
    say(0, "the foo value is 3\nstep=2 loss=0.5");
    assert_stored("loss", "");
    loop_for(scene.cluster.loop, 5);
    if (restarted)
      listen_with(WANTED, 0);
    finish();
    assert_stored("loss", "2=0.5");
    assert_int_equal(time_of("loss", 0), time_of("foo", 0));
    run_is_over();
    read_with(WANTED);
    assert_stored("loss", "2=0.5");
    assert_stored("foo", "0=3");
    read_with(SCORE);
    assert_stored("loss", "");
    assert_stored("foo", "");
  }
}

/* Its companion was lost: nobody said that the stream has ended. */
static void a_stream_that_broke_off(void **state UNUSED) {
  listen_with(LOSS, 0);
  int64_t next = say(0, "step=1 loss=0.5\n");
  listen_with(LOSS, 0);
  say(next, "step=2 loss=0.25\nstep=3 loss=0.1");
  client_logs("loss", 2, time_of("loss", 1), 0.5);
  run_is_over();
  read_with(LOSS);
  assert_stored("loss", "1=0.5 2=0.25 2=0.5 3=0.1");
  read_with(SCORE);
  assert_stored("loss", "2=0.5");
}

static void bytes_stand_at_numbers(void **state UNUSED) {
  static const int64_t wrong[][2] = {{-1, 0}, {INT64_MAX, INT64_MAX}, {5, 6}, {5, -1}};
  struct err err;
  listen_with(LOSS, 0);
  say(0, "loss=2\n");
  for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
    struct log_piece piece = {.offset = wrong[i][0], .skipped = wrong[i][1], .bytes = STR("loss=1\n")};
    assert_false(log_writer_write(writer, LOG_STDOUT, &piece, on_written, NULL, &err));
    assert_int_equal(err.code, ERR_INVALID);
  }
}

/* As a companion does whose first request has got no answer in its time. */
static void an_end_that_is_told_twice(void **state UNUSED) {
  struct wrote first = {.done = false}, second = {.done = false};
  struct err err;
  listen_with(LOSS, 0);
  say(0, "step=1 loss=0.5\nstep=2 loss=0.4");
  assert_true(log_writer_finish(writer, on_written, &first, &err));
  assert_false(log_writer_finish(writer, on_written, &second, &err));
  assert_int_equal(err.code, ERR_CONFLICT);
  loop_until(scene.cluster.loop, &first.done, 30000);
  assert_false(second.done);
  assert_stored("loss", "1=0.5 2=0.4");
}

static void attempts_have_their_own(void **state UNUSED) {
  listen_with(LOSS, 0);
  say(0, "step=1 loss=0.5\nstep=2 loss=0.4\n");
  finish();
  int64_t first = time_of("loss", 0);
  scene_next_attempt(current);
  listen_with(SCORE, 0);
  say(0, "score<<3>> step=2 loss=0.3\n");
  finish();
  client_logs("loss", 2, first, 0.4); /* what the first attempt printed, the second logged */
  assert_stored("loss", "1=0.5 2=0.4");
  run_is_over();
  read_with(SCORE);
  assert_stored("loss", "2=0.4");
  assert_stored("score", "0=3");
}

/* Streams of before, or recognisers that are others by now: key and time tell. */
static void what_it_was_read_with_is_not_known(void **state UNUSED) {
  static const char *const why[] = {"sources = null", "mixed = mixed # 1", "sources = '{\"patterns\": [{\"pattern\": \"(\"}]}'",
                                    "sources = '{'"};
  for (size_t i = 0; i < ARRAY_LEN(why); i++) {
    char sql[200];
    current = i;
    listen_with(LOSS, 0);
    say(0, "step=1 loss=0.5 score<<2>>\n");
    finish();
    client_logs("loss", 2, time_of("loss", 0), 7);
    client_logs("loss", 3, 1, 8);
    run_is_over();
    snprintf(sql, sizeof sql, "update winnow.log_stream set %s where stream = 0", why[i]);
    pg_cluster_sql(&scene.cluster, sql);
    read_with(SCORE);
    assert_stored("loss", "3=8");
    client_logs("score", 2, time_of("score", 0), 7); /* but from now on it is known */
    read_with(LOSS);
    assert_stored("score", "2=7");
    assert_stored("loss", "1=0.5 3=8");
  }
}

static void output_that_was_cut(void **state UNUSED) {
  listen_with(LOSS, 20);
  int64_t next = say(0, "step=1 loss=0.5\n");
  loop_for(scene.cluster.loop, 3);
  next = say(next, "step=2 loss=0.4\n");
  loop_for(scene.cluster.loop, 3);
  say(next, "step=3 loss=0.3\n");
  finish();
  assert_stored("loss", "1=0.5 2=0.4 3=0.3");
  run_is_over();
  read_with(SCORE);
  assert_stored("loss", "3=0.3"); /* what is not kept cannot be read anew, and stays */
}

/* A gap counts as what is stored in its place, so that nobody fills the database with gaps; also for a writer that begins anew. */
static void gaps_do_not_outgrow_the_limit(void **state UNUSED) {
  enum { MAX = 1000, GAP = 500 };
  int64_t next = 0;
  for (int i = 0; i < 40; i++) {
    if (i % 20 == 0)
      listen_with(LOSS, MAX);
    next = say_after(next + GAP, GAP, i % 2 ? "x" : "");
  }
  assert_int_equal(next, 40 * GAP + 20);
  int64_t kept = pg_cluster_int(&scene.cluster, "select sum(size) from winnow.log_piece");
  assert_in_range(kept, MAX - GAP, MAX + GAP);
}

static void a_run_that_goes_on_is_left_alone(void **state UNUSED) {
  struct answer answer;
  listen_with(LOSS, 0);
  say(0, "step=1 loss=0.5\n");
  begin_reading(SCORE, &answer);
  scene_wait(&answer);
  assert_false(answer.ok);
  assert_int_equal(answer.err.code, ERR_WRONG_STATE);
  assert_stored("loss", "1=0.5");
}

static void two_at_once(void **state UNUSED) {
  struct answer first, second;
  listen_with(LOSS, 0);
  say(0, "step=1 loss=0.5 score<<2>>\n");
  finish();
  run_is_over();
  begin_reading(SCORE, &first);
  begin_reading(TIMED, &second);
  scene_wait(&first);
  scene_wait(&second);
  if (!first.ok || !second.ok)
    fail_msg("%s", (first.ok ? &second : &first)->err.text);
  assert_int_equal(pg_cluster_int(&scene.cluster, "select count(*) from winnow.event where kind = 'run.reparsed'"), 2);
  bool scored = pg_cluster_int(&scene.cluster, "select count(*) from winnow.log_stream where sources like '%score%'");
  assert_stored("score", scored ? "0=2" : "");
  assert_stored("loss", "");
  read_with(LOSS);
  assert_stored("score", "");
  assert_stored("loss", "1=0.5");
}

/* More than fit into one write come in several. */
static void more_points_than_a_write_holds(void **state UNUSED) {
  enum { NAMES = 26, LINES = (METRIC_ROWS_MAX / NAMES) + 1000, LINE = NAMES * 8 + 1 };
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  struct answer answer;
  int64_t next = 0, rows = 0;
  listen_with(SCORE, 0);
  for (int line = 0; line < LINES; line++) {
    for (int key = 0; key < NAMES; key++)
      buf_printf(&text, "loss%c=%d ", 'a' + key, line % 10);
    buf_puts(&text, "\n");
    if (text.n + LINE < 1000000 && line + 1 < LINES)
      continue;
    next = say(next, buf_text(&text));
    buf_reset(&text);
  }
  finish();
  run_is_over();
  begin_reading(LOSS, &answer);
  scene_wait(&answer);
  if (!answer.ok)
    fail_msg("%s", answer.err.text);
  rows = pg_cluster_int(&scene.cluster, "select points from winnow.log_stream where stream = 0");
  assert_int_equal(rows, (int64_t)NAMES * LINES);
  scene_seal_all();
  assert_int_equal(rows, pg_cluster_int(&scene.cluster, "select sum(points) from winnow.metric_chunk"));
}

/* All of it or nothing. */
/* Each of the streams holds less than can be replaced; what comes after cannot be read at all. */
static void no_more_is_read_than_can_be_replaced(void **state UNUSED) {
  struct answer answer;
  run_is_over();
  pg_cluster_sql(
      &scene.cluster,
      "update winnow.run set attempt = 2;"
      "with text as (select convert_to(repeat('loss=1 acc=2 val_loss=3 val_acc=4 mae=6 mse=8 auc=9 f1=1 rmse=2 error=3' || chr(10), 23000), 'UTF8') as data)"
      "insert into winnow.log_piece (run, attempt, stream, start, size, time, packed, data)"
      "select r.id, 1, s, i * length(data), length(data), 1, false, data"
      "  from winnow.run r, text, generate_series(0, 1) s, generate_series(0, 9) i;"
      "insert into winnow.log_piece (run, attempt, stream, start, size, time, packed, data)"
      "select id, 2, 0, 0, 100, 1, true, 'no zstd' from winnow.run;"
      "insert into winnow.log_stream (run, attempt, stream, next)"
      "select run, attempt, stream, sum(size) from winnow.log_piece group by run, attempt, stream");
  begin_reading(LOSS, &answer);
  loop_until(scene.cluster.loop, &answer.done, 300000);
  assert_false(answer.ok);
  assert_int_equal(answer.err.code, ERR_TOO_LARGE);
}

static void the_database_goes_away_in_the_middle(void **state UNUSED) {
  struct answer answer;
  listen_with(LOSS, 0);
  say(0, "step=1 loss=0.5 score<<2>>\n");
  finish();
  run_is_over();
  scene_seal_all();
  PGconn *other = scene_lock_run(current);
  begin_reading(SCORE, &answer);
  for (int i = 0; i < 3000 && !pg_cluster_int(&scene.cluster, "select count(*) from pg_locks where not granted"); i++)
    loop_for(scene.cluster.loop, 10);
  assert_false(answer.done);
  pg_cluster_sql(&scene.cluster, "select pg_terminate_backend(pid) from pg_locks where not granted");
  scene_wait(&answer);
  PQfinish(other);
  assert_false(answer.ok);
  assert_stored("loss", "1=0.5");
  assert_stored("score", "");
  read_with(SCORE);
  assert_stored("loss", "");
  assert_stored("score", "0=2");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_client_in_the_same_millisecond),
      TEST(a_pattern_with_a_time_of_its_own),
      TEST(a_last_line_without_an_end),
      TEST(a_stream_that_broke_off),
      TEST(bytes_stand_at_numbers),
      TEST(an_end_that_is_told_twice),
      TEST(attempts_have_their_own),
      TEST(what_it_was_read_with_is_not_known),
      TEST(output_that_was_cut),
      TEST(gaps_do_not_outgrow_the_limit),
      TEST(a_run_that_goes_on_is_left_alone),
      TEST(two_at_once),
      TEST(more_points_than_a_write_holds),
      TEST(no_more_is_read_than_can_be_replaced),
      TEST(the_database_goes_away_in_the_middle),
  };
  return cmocka_run_group_tests(tests, scene_start, scene_stop);
}
