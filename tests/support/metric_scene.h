/* A metric store on a Postgres of its own, runs that are written to, and a reference in memory of what must be stored. */
#ifndef WINNOW_TESTS_METRIC_SCENE_H
#define WINNOW_TESTS_METRIC_SCENE_H

#include "storage/metrics/metric_store.h"
#include "tests/support/pg_cluster.h"

enum { RUNS = 4, KEYS = 3, ATTEMPTS = 3 };

struct metric_scene {
  struct pg_cluster cluster;
  struct pg_pool *pool;
  struct metric_store *store;
  struct rng rng;
  struct points model[RUNS][KEYS][ATTEMPTS]; /* what must be stored: by run, key, attempt; normal */
  int32_t attempts[RUNS];
  struct id run_ids[RUNS];
};
extern struct metric_scene scene;
extern const char *const scene_keys[KEYS];

/* Of a group of tests; of each. */
int scene_start(void **state);
int scene_stop(void **state);
int scene_set_up(void **state);
int scene_tear_down(void **state);
/* One that seals early and often. */
struct metric_store_conf scene_eager(void);
void scene_open_store(const struct metric_store_conf *conf);
void scene_close_store(void);

/* As when the run is tried again; ATTEMPTS at most. */
void scene_next_attempt(size_t r);

/* Another session keeps the run's row until PQfinish(). */
struct pg_conn *scene_lock_run(size_t r);

/* ---- writing ---- */

struct answer {
  bool done;
  bool ok;
  struct err err;
};

void scene_on_answer(void *ctx, const struct err *err);
void scene_wait(struct answer *answer);
void scene_append(size_t r, int32_t attempt, const struct metric_rows *rows, struct answer *answer);
void scene_seal_all(void);
/* Into the reference. */
void scene_note(size_t r, const struct metric_rows *rows);
void scene_draw_rows(size_t r, struct metric_rows *rows);
/* `n` steps of "loss", stored and noted. */
void scene_write_regular(size_t r, size_t n);

/* ---- comparing with the reference ---- */

struct got_page {
  bool done, more, ok;
  struct points points;
  struct err err;
};

void scene_on_page(void *ctx, const struct points *points, bool more, const struct err *err);
void scene_check_pages(size_t r, size_t k, int32_t attempt);
void scene_check_chart(size_t r, size_t k);
void scene_check_summaries(size_t r);
void scene_check_run_row(size_t r);
/* One of these. */
void scene_check_something(size_t r);

struct got_fsck {
  bool done, ok, more;
  struct metric_fsck_report report;
  size_t damages;
  int64_t first_step, last_step;
};

struct got_fsck scene_fsck(void);

#endif
