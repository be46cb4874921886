#include "storage/metric_inside.h"

enum { CHUNKS_A_PAGE = 64, ROWS_A_PAGE = 64, TIMEOUT_MS = 120000 };

/* Walks metric_chunk in the order of its key, then metric_tail. What the chunks of a series cover is kept until the next series begins. */
struct fsck {
  struct metric_store *store;
  struct column_coder *coder;
  struct metric_fsck_report report;
  struct id run;
  int32_t key_id;
  int64_t id;
  struct buf key;
  struct chunk_info *seen; /* of the series being read */
  size_t seen_count, seen_cap;
  metric_damage_fn *on_damage;
  metric_fsck_fn *done;
  void *ctx;
};

static void fsck_ended(struct fsck *op, const struct err *err) {
  struct metric_store *store = op->store;
  op->done(op->ctx, &op->report, err);
  metric_coder_give(store, op->coder);
  mem_free(op->seen);
  buf_release(&op->key);
  mem_free(op);
}

static void damaged(struct fsck *op, int64_t id, int64_t first_step, int64_t last_step, bool has_key, const char *text) {
  op->report.damaged++;
  struct metric_damage damage = {op->run, has_key ? buf_str(&op->key) : STR_NONE, id, first_step, last_step, text};
  op->on_damage(op->ctx, &damage);
}

static bool same_value(double a, double b) {
  return value_bits(value_canonical(a)) == value_bits(value_canonical(b));
}

static bool same_fold(const struct fold *a, const struct fold *b) {
  bool same = a->count == b->count && a->nans == b->nans && point_cmp(a->first, b->first) == 0 && point_cmp(a->last, b->last) == 0;
  if (!same || a->nans == a->count)
    return same;
  return a->min == b->min && a->max == b->max && a->min_step == b->min_step && a->max_step == b->max_step;
}

static bool same_cells(const struct cells *a, const struct cells *b) {
  bool same = a->shift == b->shift && a->n == b->n;
  for (size_t i = 0; same && i < a->n; i++) {
    const struct bucket *x = &a->bucket[i], *y = &b->bucket[i];
    same = a->index[i] == b->index[i] && x->count == y->count && x->nans == y->nans && x->first_x == y->first_x && x->last_x == y->last_x &&
           same_value(x->first, y->first) && same_value(x->last, y->last) && same_value(x->min, y->min) && same_value(x->max, y->max);
  }
  return same;
}

/* What is wrong with the chunk, or NULL. */
static const char *check_cells(struct fsck *op, const struct points *points, struct str bytes, enum axis axis, size_t max,
                               struct err *err) {
  struct cells stored, right;
  if (!bytes.p)
    return points->n < CELLS_FROM ? NULL : "it has no summary";
  if (!cells_get(op->coder, bytes, &stored, err))
    return err->text;
  cells_build(points, axis, max, &right);
  return same_cells(&stored, &right) ? NULL : "its summary does not agree with its points";
}

static const char *check_chunk(struct fsck *op, const struct pg_reply *reply, size_t row, const struct chunk_info *info, struct err *err) {
  AUTO_POINTS struct points points = {0};
  if (!chunk_get(op->coder, pg_bytea(reply, row, 23), &points, err))
    return err->text;
  if (!points_are_normal(&points))
    return "its points are out of order";
  struct chunk_info right;
  chunk_info_make(&points, info->attempt, &right);
  if (!same_fold(&info->fold, &right.fold) || info->low_time != right.low_time || info->high_time != right.high_time)
    return "what is noted beside it does not agree with its points";
  op->report.points += points.n;
  const char *wrong = NULL;
  static const struct {
    enum axis axis;
    size_t max;
  } forms[] = {{AXIS_STEP, CELLS_COARSE}, {AXIS_TIME, CELLS_COARSE}, {AXIS_STEP, CELLS_MAX}, {AXIS_TIME, CELLS_MAX}};
  for (size_t i = 0; i < ARRAY_LEN(forms) && !wrong; i++)
    wrong = check_cells(op, &points, pg_is_null(reply, row, 19 + i) ? STR_NONE : pg_bytea(reply, row, 19 + i), forms[i].axis, forms[i].max,
                        err);
  return wrong;
}

static int by_place(const void *a, const void *b) {
  const struct chunk_info *x = a, *y = b;
  if (x->attempt != y->attempt)
    return x->attempt < y->attempt ? -1 : 1;
  return point_cmp(x->fold.first, y->fold.first);
}

/* The series is complete: do its chunks overlap? */
static void check_series(struct fsck *op) {
  if (op->seen_count)
    qsort(op->seen, op->seen_count, sizeof *op->seen, by_place);
  for (size_t i = 1; i < op->seen_count; i++) {
    const struct chunk_info *before = &op->seen[i - 1], *after = &op->seen[i];
    if (before->attempt == after->attempt && point_cmp(before->fold.last, after->fold.first) >= 0)
      damaged(op, after->id, after->fold.first.step, after->fold.last.step, true, "it overlaps another chunk of its series");
  }
  op->seen_count = 0;
}

static bool remember(struct fsck *op, const struct chunk_info *info) {
  if (op->seen_count == op->seen_cap) {
    size_t cap = op->seen_cap ? op->seen_cap * 2 : 64;
    struct chunk_info *seen = mem_resize(op->seen, cap, sizeof *seen);
    if (!seen)
      return false;
    op->seen = seen;
    op->seen_cap = cap;
  }
  op->seen[op->seen_count++] = *info;
  return true;
}

static bool take_chunk(struct fsck *op, const struct pg_reply *reply, size_t row) {
  struct id run = pg_uuid(reply, row, 0);
  int32_t key_id = (int32_t)pg_int(reply, row, 2);
  if (!id_eq(run, op->run) || key_id != op->key_id) {
    check_series(op);
    op->run = run;
    op->key_id = key_id;
    buf_reset(&op->key);
    buf_add_str(&op->key, pg_text(reply, row, 1));
  }
  struct chunk_info info;
  metric_chunk_row(reply, row, &info);
  op->id = info.id;
  op->report.chunks++;
  struct err err;
  const char *wrong = check_chunk(op, reply, row, &info, &err);
  if (!wrong && op->key.n == 0)
    wrong = "its key is not known";
  if (wrong)
    damaged(op, info.id, info.fold.first.step, info.fold.last.step, true, wrong);
  return remember(op, &info);
}

/* ---- the tail ---- */

static bool count_points(void *ctx, struct str key UNUSED, const struct points *points) {
  *(int64_t *)ctx += (int64_t)points->n;
  return true;
}

static bool ask_rows(struct fsck *op, struct err *err);

static void on_rows(void *ctx, const struct pg_reply *reply) {
  struct fsck *op = ctx;
  struct metric_store *store = op->store;
  struct err err;
  if (!pg_ok(reply, &err)) {
    fsck_ended(op, &err);
    metric_op_end(store);
    return;
  }
  for (size_t i = 0; i < pg_rows(reply); i++) {
    int64_t points = 0;
    op->run = pg_uuid(reply, i, 0);
    op->id = pg_int(reply, i, 1);
    op->report.rows++;
    if (!batch_get(op->coder, pg_bytea(reply, i, 5), count_points, &points, &err))
      damaged(op, op->id, INT64_MIN, INT64_MAX, false, err.text);
    else if (points != pg_int(reply, i, 3))
      damaged(op, op->id, INT64_MIN, INT64_MAX, false, "it does not hold as many points as noted");
    op->report.points += (uint64_t)points;
  }
  if (pg_rows(reply) < ROWS_A_PAGE)
    fsck_ended(op, NULL);
  else if (!ask_rows(op, &err))
    fsck_ended(op, &err);
  metric_op_end(store);
}

static bool ask_rows(struct fsck *op, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_METRIC_FSCK_TAIL);
  pg_put_uuid(&args, op->run);
  pg_put_int(&args, op->id);
  pg_put_int(&args, ROWS_A_PAGE);
  if (!metric_run(op->store, &args, TIMEOUT_MS, on_rows, op, err))
    return false;
  metric_op_begin(op->store);
  return true;
}

/* ---- the chunks ---- */

static bool ask_chunks(struct fsck *op, struct err *err);

static void on_chunks(void *ctx, const struct pg_reply *reply) {
  struct fsck *op = ctx;
  struct metric_store *store = op->store;
  struct err err;
  bool ok = pg_ok(reply, &err);
  for (size_t i = 0; ok && i < pg_rows(reply); i++)
    if (!take_chunk(op, reply, i))
      ok = err_no_memory(&err);
  if (ok && pg_rows(reply) == CHUNKS_A_PAGE) {
    ok = ask_chunks(op, &err);
  } else if (ok) {
    check_series(op);
    op->run = (struct id){{0}};
    op->id = 0;
    ok = ask_rows(op, &err);
  }
  if (!ok)
    fsck_ended(op, &err);
  metric_op_end(store);
}

static bool ask_chunks(struct fsck *op, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_METRIC_FSCK);
  pg_put_uuid(&args, op->run);
  pg_put_int(&args, op->key_id);
  pg_put_int(&args, op->id);
  pg_put_int(&args, CHUNKS_A_PAGE);
  if (!metric_run(op->store, &args, TIMEOUT_MS, on_chunks, op, err))
    return false;
  metric_op_begin(op->store);
  return true;
}

bool metric_fsck(struct metric_store *store, metric_damage_fn *on_damage, metric_fsck_fn *done, void *ctx, struct err *err) {
  struct fsck *op = mem_zalloc(sizeof *op);
  struct column_coder *coder = metric_coder_take(store);
  if (!op || !coder) {
    mem_free(op);
    metric_coder_give(store, coder);
    return err_no_memory(err);
  }
  *op = (struct fsck){.store = store, .coder = coder, .key = BUF_INIT(SERIES_KEY_MAX), .on_damage = on_damage, .done = done, .ctx = ctx};
  if (ask_chunks(op, err))
    return true;
  metric_coder_give(store, coder);
  mem_free(op);
  return false;
}
