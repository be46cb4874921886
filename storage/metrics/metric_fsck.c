#include "storage/metrics/metric_inside.h"

/* A page is decoded on the loop: it must not take long. */
enum { CHUNKS_A_PAGE = 8, ROWS_A_PAGE = 16, DOUBTS_MAX = CHUNKS_A_PAGE + 1, TIMEOUT_MS = 120000 };

/* Walks metric_chunk in the order of its key, then metric_tail, a page a step. What the chunks of a series cover is kept until the next
 * series begins. The store goes on being written to: what looks wrong between pages is looked at again in one statement. */
struct metric_fsck {
  struct metric_store *store;
  struct column_coder *coder;
  struct metric_fsck_report report;
  struct id run;
  int32_t key_id;
  int64_t id;
  bool in_tail; /* the chunks are done */
  struct buf key;
  struct chunk_info *seen; /* of the series being read */
  size_t seen_count, seen_cap;
  struct doubt { /* a series whose chunks seem to overlap */
    struct id run;
    struct buf key;
  } doubts[DOUBTS_MAX];
  size_t doubt_count;
  metric_damage_fn *on_damage;
  metric_fsck_fn *done;
  void *ctx;
};

static void step_ended(struct metric_fsck *op, bool more, const struct err *err) {
  struct metric_store *store = op->store;
  op->done(op->ctx, &op->report, more, err);
  metric_op_end(store);
}

static void damaged(struct metric_fsck *op, int64_t id, int64_t first_step, int64_t last_step, bool has_key, const char *text) {
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
static const char *check_cells(struct metric_fsck *op, const struct points *points, struct str bytes, enum axis axis, size_t max,
                               struct err *err) {
  struct cells stored, right;
  if (!bytes.p)
    return points->n < CELLS_FROM ? NULL : "it has no summary";
  if (!cells_get(op->coder, bytes, &stored, err))
    return err->text;
  cells_build(points, axis, max, &right);
  return same_cells(&stored, &right) ? NULL : "its summary does not agree with its points";
}

static const char *check_chunk(struct metric_fsck *op, const struct pg_reply *reply, size_t row, const struct chunk_info *info,
                               struct err *err) {
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

/* The first of two that overlap, or NULL. */
static const struct chunk_info *find_overlap(struct chunk_info *chunks, size_t count) {
  if (count)
    qsort(chunks, count, sizeof *chunks, by_place);
  for (size_t i = 1; i < count; i++)
    if (chunks[i - 1].attempt == chunks[i].attempt && point_cmp(chunks[i - 1].fold.last, chunks[i].fold.first) >= 0)
      return &chunks[i];
  return NULL;
}

/* The series is complete: do its chunks overlap? Some may have been replaced while they were read. */
static void check_series(struct metric_fsck *op) {
  if (find_overlap(op->seen, op->seen_count) && op->doubt_count < DOUBTS_MAX) {
    struct doubt *doubt = &op->doubts[op->doubt_count++];
    doubt->run = op->run;
    buf_reset(&doubt->key);
    buf_add_str(&doubt->key, buf_str(&op->key));
  }
  op->seen_count = 0;
}

static bool remember(struct metric_fsck *op, const struct chunk_info *info) {
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

static bool take_chunk(struct metric_fsck *op, const struct pg_reply *reply, size_t row) {
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

static void on_rows(void *ctx, const struct pg_reply *reply) {
  struct metric_fsck *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    step_ended(op, false, &err);
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
  step_ended(op, pg_rows(reply) == ROWS_A_PAGE, NULL);
}

/* ---- what seemed to overlap, in one statement ---- */

static void on_again(void *ctx, const struct pg_reply *reply) {
  struct metric_fsck *op = ctx;
  const struct doubt *doubt = &op->doubts[op->doubt_count];
  struct err err;
  size_t rows = pg_ok(reply, &err) ? pg_rows(reply) : 0, count = 0;
  AUTO_FREE struct chunk_info *chunks = mem_array(rows ? rows : 1, sizeof *chunks);
  bool ok = pg_outcome(reply) == PG_DONE && (chunks || err_no_memory(&err));
  for (size_t i = 0; ok && i < rows; i++)
    if (!pg_is_null(reply, i, 1)) /* it is a chunk */
      metric_chunk_row(reply, i, &chunks[count++]);
  const struct chunk_info *second = ok ? find_overlap(chunks, count) : NULL;
  if (second) {
    op->report.damaged++;
    struct metric_damage damage = {doubt->run,
                                   buf_str(&doubt->key),
                                   second->id,
                                   second->fold.first.step,
                                   second->fold.last.step,
                                   "it overlaps another chunk of its series"};
    op->on_damage(op->ctx, &damage);
  }
  step_ended(op, ok, ok ? NULL : &err);
}

/* ---- the chunks ---- */

static void on_chunks(void *ctx, const struct pg_reply *reply) {
  struct metric_fsck *op = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err);
  for (size_t i = 0; ok && i < pg_rows(reply); i++)
    if (!take_chunk(op, reply, i))
      ok = err_no_memory(&err);
  if (ok && pg_rows(reply) < CHUNKS_A_PAGE) {
    check_series(op);
    op->in_tail = true;
    op->run = (struct id){{0}};
    op->id = 0;
  }
  step_ended(op, ok, ok ? NULL : &err);
}

bool metric_fsck_step(struct metric_fsck *op, metric_fsck_fn *done, void *ctx, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_done_fn *then = on_chunks;
  if (op->doubt_count) {
    const struct doubt *doubt = &op->doubts[--op->doubt_count];
    then = on_again;
    pg_args_init(&args, STMT_METRIC_STORED_OF);
    pg_begin_array(&args);
    pg_put_uuid(&args, doubt->run);
    pg_end_array(&args);
    pg_begin_array(&args);
    pg_put_text(&args, buf_str(&doubt->key));
    pg_end_array(&args);
    pg_put_int(&args, 0);
  } else if (op->in_tail) {
    then = on_rows;
    pg_args_init(&args, STMT_METRIC_FSCK_TAIL);
    pg_put_uuid(&args, op->run);
    pg_put_int(&args, op->id);
    pg_put_int(&args, ROWS_A_PAGE);
  } else {
    pg_args_init(&args, STMT_METRIC_FSCK);
    pg_put_uuid(&args, op->run);
    pg_put_int(&args, op->key_id);
    pg_put_int(&args, op->id);
    pg_put_int(&args, CHUNKS_A_PAGE);
  }
  op->done = done;
  op->ctx = ctx;
  if (!metric_run(op->store, &args, TIMEOUT_MS, then, op, err))
    return false;
  metric_op_begin(op->store);
  return true;
}

struct metric_fsck *metric_fsck_new(struct metric_store *store, metric_damage_fn *on_damage, struct err *err) {
  struct metric_fsck *op = mem_zalloc(sizeof *op);
  struct column_coder *coder = column_coder_new();
  if (!op || !coder) {
    mem_free(op);
    column_coder_free(coder);
    err_no_memory(err);
    return NULL;
  }
  *op = (struct metric_fsck){.store = store, .coder = coder, .key = BUF_INIT(SERIES_KEY_MAX), .on_damage = on_damage};
  for (size_t i = 0; i < DOUBTS_MAX; i++)
    op->doubts[i].key = BUF_INIT(SERIES_KEY_MAX);
  return op;
}

void metric_fsck_free(struct metric_fsck *op) {
  if (!op)
    return;
  column_coder_free(op->coder);
  mem_free(op->seen);
  buf_release(&op->key);
  for (size_t i = 0; i < DOUBTS_MAX; i++)
    buf_release(&op->doubts[i].key);
  mem_free(op);
}
