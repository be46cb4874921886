#include "base/json.h"
#include "storage/metrics/metric_inside.h"

enum { FLUSH_RUNS = 512, DERIVE_RUNS = 128, TIMEOUT_MS = 30000 };

/* ---- what was written ---- */

/* Adds up a write that follows what is known, in order and of the same attempt; else what is known is not enough. */
static void add_up(struct metric_store *store, struct live_run *run, const struct metric_write *write) {
  for (size_t i = 0; i < write->delta_count && run->is_known; i++) {
    const struct metric_delta *delta = &write->deltas[i];
    struct live_series *series = live_series_get(store, run, delta->key);
    bool follows = series && delta->in_order &&
                   (!series->fold.count || (series->attempt == write->attempt && point_cmp(delta->fold.first, series->fold.last) > 0));
    if (!follows) {
      run->is_known = false;
      return;
    }
    fold_merge(&series->fold, &delta->fold);
    series->attempt = write->attempt;
    series->changed = true;
  }
}

struct live_run *metric_live_stored(struct metric_store *store, struct metric_write *write) {
  struct live_run *run = live_run_get(store, write->run);
  if (!run) { /* no memory: nothing is known of the run until its rows are asked for */
    metric_mark_doubt(store);
    metric_write_free(write);
    return NULL;
  }
  int64_t now = loop_now_ms(store->loop);
  if (run->fresh_rows == 0)
    run->first_fresh_ms = now;
  run->last_write_ms = now;
  run->fresh_rows += write->part_count;
  run->fresh_points += (size_t)write->points;
  store->stats.unsealed_points += (size_t)write->points;
  live_run_set_dirty(store, run, true);
  if (run->is_loading) {
    list_push_back(&run->arrived, &write->item.node);
  } else {
    if (run->is_known)
      add_up(store, run, write);
    metric_write_free(write);
  }
  live_run_queue(store, run);
  return run;
}

void metric_live_behind(struct metric_store *store, struct id id) {
  struct live_run *run = live_run_get(store, id);
  if (!run) {
    metric_mark_doubt(store);
    return;
  }
  run->is_known = false;
  run->is_spoiled |= run->is_loading; /* what is being read may be from before */
  live_run_set_dirty(store, run, true);
  if (run->fresh_rows == 0)
    run->first_fresh_ms = loop_now_ms(store->loop);
}

void metric_live_unknown(struct metric_store *store, struct id id) {
  metric_mark_doubt(store);
  metric_live_behind(store, id);
}

/* ---- flushing: deriving what is not known, then writing what has changed ---- */

struct waiter {
  struct list_node node;
  struct metric_store *store;
  bool is_of_run; /* of this one; else of all */
  struct id run;
  metric_done_fn *done;
  void *ctx;
  struct loop_defer now;
  struct loop_timer *patience; /* NULL: it waits as long as it takes */
};

struct flush {
  struct metric_store *store;
  struct id runs[FLUSH_RUNS];
  size_t count;
};

static void flush_more(struct metric_store *store);

static void answer_one(struct waiter *waiter, const struct err *err) {
  struct metric_store *store = waiter->store;
  loop_timer_free(waiter->patience);
  waiter->done(waiter->ctx, err);
  mem_free(waiter);
  metric_op_end(store);
}

static void answer(struct list *now, const struct err *err) {
  for (struct list_node *node; (node = list_pop_front(now));)
    answer_one(LIST_ENTRY(node, struct waiter, node), err);
}

static void answer_all(struct list *waiters, const struct err *err) {
  struct list now = {0}; /* who asks again from its callback waits for the next time */
  for (struct list_node *node; (node = list_pop_front(waiters));)
    list_push_back(&now, node);
  answer(&now, err);
}

/* Who waits for one run does not wait for the others of the cycle. */
static void answer_of_runs(struct metric_store *store) {
  struct list now = {0}, *const lists[] = {&store->flushing, &store->waiters};
  for (size_t i = 0; i < ARRAY_LEN(lists) && !store->is_unsure; i++)
    LIST_EACH(lists[i], node) {
      const struct waiter *waiter = LIST_ENTRY(node, struct waiter, node);
      const struct live_run *run = waiter->is_of_run ? live_run_find(store, waiter->run) : NULL;
      if (!waiter->is_of_run || (run && !live_run_is_written(run)))
        continue;
      list_remove(node);
      list_push_back(&now, node);
    }
  answer(&now, NULL);
}

void metric_live_fail_waiters(struct metric_store *store, const struct err *err) {
  answer_all(&store->waiters, err);
}

static void flush_ended(struct metric_store *store, const struct err *err) {
  store->is_flushing = false;
  metric_op_end(store);
  answer_all(&store->flushing, err);
  live_runs_make_room(store);
  if (store->waiters.first)
    metric_live_flush(store);
}

static void on_written(void *ctx, const struct pg_reply *reply) {
  struct flush *flush = ctx;
  struct metric_store *store = flush->store;
  struct err err;
  bool ok = pg_ok(reply, &err);
  for (size_t i = 0; i < flush->count; i++) {
    struct live_run *run = live_run_find(store, flush->runs[i]);
    if (run) {
      run->is_writing = false;
      run->dirty_ms = run->written_ms;
    }
    if (!ok) /* it is not known what is there now */
      metric_live_unknown(store, flush->runs[i]);
  }
  store->stats.flushes++;
  mem_free(flush);
  if (ok) {
    answer_of_runs(store);
    flush_more(store);
  } else {
    flush_ended(store, &err);
  }
  metric_op_end(store);
}

static void put_last(struct json_writer *w, struct str key, const struct fold *fold) {
  AUTO_BUF struct buf text = BUF_INIT(KIB);
  buf_add_f64(&text, fold->last.value);
  buf_putc(&text, ' ');
  buf_add_i64(&text, fold->last.step);
  buf_putc(&text, ' ');
  buf_add_i64(&text, fold->last.time);
  if (fold->count > 1 || fold->nans) { /* else they say what the last value says */
    buf_putc(&text, ' ');
    buf_add_f64(&text, fold->min);
    buf_putc(&text, ' ');
    buf_add_f64(&text, fold->max);
    buf_putc(&text, ' ');
    buf_add_i64(&text, fold->count);
  }
  jw_key_str(w, key);
  jw_str(w, buf_str(&text));
  if (text.fail)
    w->out->fail = text.fail;
}

/* What has changed of a run since it was written. */
static void put_changed(const struct live_run *run, struct buf *out) {
  struct json_writer w;
  jw_init(&w, out);
  jw_object(&w);
  size_t i = 0;
  struct str key;
  void *value;
  while (map_next(&run->series, &i, &key, &value)) {
    struct live_series *series = value;
    if (series->changed && series->fold.count)
      put_last(&w, key, &series->fold);
    series->changed = false;
  }
  jw_object_end(&w);
}

static void write_runs(struct flush *flush) {
  struct metric_store *store = flush->store;
  AUTO_BUF struct buf json = BUF_INIT(64 * MIB);
  size_t ends[FLUSH_RUNS], count = 0;
  bool whole[FLUSH_RUNS];
  struct id ids[FLUSH_RUNS];
  for (size_t i = 0; i < flush->count; i++) {
    struct live_run *run = live_run_find(store, flush->runs[i]);
    if (!run)
      continue;
    if (json.n > 16 * MIB || !(run->is_known || run->is_derived)) { /* what came while others were derived may have made it unknown */
      run->cycle = 0;                                               /* again in this cycle */
      continue;
    }
    put_changed(run, &json);
    run->written_ms = run->is_known ? loop_now_ms(store->loop) : run->dirty_ms;
    live_run_set_dirty(store, run, !run->is_known);
    run->is_writing = true;
    whole[count] = run->is_derived && run->is_replaced;
    run->is_derived = false;
    ids[count] = run->id;
    ends[count++] = json.n;
  }
  struct err err;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_METRIC_RUN_WRITE);
  pg_begin_array(&args);
  for (size_t i = 0; i < count; i++)
    pg_put_uuid(&args, ids[i]);
  pg_end_array(&args);
  pg_begin_array(&args);
  for (size_t i = 0; i < count; i++) {
    size_t from = i ? ends[i - 1] : 0;
    pg_put_jsonb(&args, str_n(json.p + from, ends[i] - from));
  }
  pg_end_array(&args);
  pg_begin_array(&args);
  for (size_t i = 0; i < count; i++)
    pg_put_bool(&args, whole[i]);
  pg_end_array(&args);
  memcpy(flush->runs, ids, count * sizeof *ids);
  flush->count = count;
  if (!buf_ok(&json, &err) || !metric_run(store, &args, TIMEOUT_MS, on_written, flush, &err)) {
    for (size_t i = 0; i < count; i++) {
      struct live_run *run = live_run_find(store, ids[i]);
      run->is_writing = false;
      metric_live_unknown(store, ids[i]);
    }
    mem_free(flush);
    flush_ended(store, &err);
    return;
  }
  metric_op_begin(store);
}

/* ---- deriving ---- */

struct derive {
  struct flush *flush;
  struct metric_load *load;
};

static bool was_seen(const struct metric_load *load, const struct metric_write *write) {
  for (size_t i = 0; i < load->row_count; i++)
    if (load->rows[i].id == write->parts[0].id)
      return true;
  return false;
}

/* What came while the run was being derived is in what was read, or follows it. */
static void catch_up(struct metric_store *store, struct live_run *run, const struct metric_load *load) {
  for (struct list_node *node; (node = list_pop_front(&run->arrived));) {
    struct metric_write *write = LIST_ENTRY(node, struct metric_write, item.node);
    if (run->is_known && !was_seen(load, write))
      add_up(store, run, write);
    metric_write_free(write);
  }
}

static bool derive_series(struct metric_store *store, const struct metric_load *load, const struct stored_series *stored, struct err *err) {
  struct live_run *run = live_run_find(store, stored->run);
  if (!run || !run->is_loading || stored->view.count == 0)
    return true;
  struct live_series *series = live_series_get(store, run, stored->key);
  if (!series)
    return err_no_memory(err);
  *series = (struct live_series){.attempt = stored->view.parts[stored->view.count - 1].attempt, .changed = true};
  for (size_t i = 0; i < stored->view.count; i++) {
    const struct series_part *part = &stored->view.parts[i];
    if (metric_load_fold(load, part, &series->fold, err))
      continue;
    if (err->code != ERR_IO)
      return false;
    /* damaged: its summary is what is left */
    fold_merge(&series->fold, &part->chunk->fold);
    fold_add_points(&series->fold, part->tail, part->from, part->to);
  }
  return true;
}

static void derive_ended(struct derive *derive, const struct err *failed) {
  struct flush *flush = derive->flush;
  struct metric_store *store = flush->store;
  struct err err;
  if (failed)
    err = *failed;
  bool ok = !failed;
  for (size_t i = 0; ok && i < derive->load->series_count; i++)
    ok = derive_series(store, derive->load, &derive->load->series[i], &err);
  for (size_t i = 0; i < derive->load->run_count; i++) {
    struct live_run *run = live_run_find(store, derive->load->runs[i]);
    if (!run || !run->is_loading)
      continue;
    run->is_loading = false;
    run->is_known = run->is_derived = ok && !run->is_spoiled;
    if (run->is_spoiled)
      run->cycle = 0; /* again in this cycle */
    run->is_spoiled = false;
    store->stats.derived += ok;
    catch_up(store, run, derive->load);
  }
  metric_load_free(derive->load);
  mem_free(derive);
  if (ok) {
    write_runs(flush);
  } else {
    mem_free(flush);
    flush_ended(store, &err);
  }
}

static void on_loaded(void *ctx, struct metric_load *load, const struct err *err);

/* A chunk that was replaced meanwhile: begin again. Sealing comes to an end, so this does. */
static void on_pieces(void *ctx, struct metric_load *load, const struct err *err) {
  struct err again;
  if (!err || err->code != ERR_CONFLICT)
    derive_ended(ctx, err);
  else if (!metric_load_run(load, on_loaded, ctx, &again))
    derive_ended(ctx, &again);
}

static void on_loaded(void *ctx, struct metric_load *load, const struct err *failed) {
  struct derive *derive = ctx;
  struct err err;
  if (failed)
    derive_ended(derive, failed);
  else if (!metric_load_want_mixed(load, &err) || !metric_load_fetch(load, on_pieces, derive, &err))
    derive_ended(derive, &err);
}

static bool start_derive(struct flush *flush, const struct id *runs, size_t count, struct err *err) {
  struct metric_store *store = flush->store;
  struct derive *derive = mem_zalloc(sizeof *derive);
  struct metric_load *load = metric_load_new(store, runs, count, NULL, 0, 0);
  if (!derive || !load) {
    mem_free(derive);
    metric_load_free(load);
    return err_no_memory(err);
  }
  *derive = (struct derive){flush, load};
  if (!metric_load_run(load, on_loaded, derive, err)) {
    mem_free(derive);
    metric_load_free(load);
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    struct live_run *run = live_run_find(store, runs[i]);
    live_run_drop_series(store, run);
    run->is_loading = true;
  }
  return true;
}

/* ---- the cycle ---- */

/* A cycle looks at each run that was dirty when it began, some at a time. Runs that become dirty meanwhile are for the next one, so it
 * ends. */
static void flush_more(struct metric_store *store) {
  struct flush *flush = mem_zalloc(sizeof *flush);
  struct err err;
  if (!flush) {
    err_no_memory(&err);
    flush_ended(store, &err);
    return;
  }
  flush->store = store;
  struct id unknown[DERIVE_RUNS];
  size_t unknown_count = 0;
  LIST_EACH(&store->dirty, node) {
    struct live_run *run = LIST_ENTRY(node, struct live_run, dirty_node);
    if (flush->count == FLUSH_RUNS)
      break;
    if (run->cycle == store->cycle || (!run->is_known && unknown_count == DERIVE_RUNS))
      continue;
    run->cycle = store->cycle;
    flush->runs[flush->count++] = run->id;
    if (!run->is_known)
      unknown[unknown_count++] = run->id;
  }
  if (flush->count == 0) {
    mem_free(flush);
    flush_ended(store, NULL);
  } else if (unknown_count == 0) {
    write_runs(flush);
  } else if (!start_derive(flush, unknown, unknown_count, &err)) {
    mem_free(flush);
    flush_ended(store, &err);
  }
}

static void begin_cycle(void *ctx) {
  struct metric_store *store = ctx;
  flush_more(store);
}

void metric_live_flush(struct metric_store *store) {
  if (store->is_unsure || store->is_flushing || (!store->dirty.first && !store->waiters.first))
    return;
  store->is_flushing = true;
  store->cycle++;
  for (struct list_node *node; (node = list_pop_front(&store->waiters));)
    list_push_back(&store->flushing, node);
  metric_op_begin(store);
  loop_defer(store->loop, &store->flush, begin_cycle, store);
}

static bool is_behind(const struct live_run *run) {
  return run && !live_run_is_written(run);
}

bool metric_is_behind(const struct metric_store *store, struct id id) {
  return store->is_unsure || is_behind(live_run_find(store, id));
}

static void answer_now(void *ctx) {
  answer_one(ctx, NULL);
}

static void on_late(void *ctx) {
  struct waiter *waiter = ctx;
  struct err err;
  list_remove(&waiter->node);
  err_set(&err, ERR_DEADLINE, "the last values of the run are not stored after %d s", METRIC_PATIENCE_MS / 1000);
  answer_one(waiter, &err);
}

/* Without memory for that it waits as long as it takes. */
static void limit_patience(struct waiter *waiter) {
  waiter->patience = loop_timer_new(waiter->store->loop, on_late, waiter);
  if (waiter->patience)
    loop_timer_start(waiter->patience, METRIC_PATIENCE_MS);
}

static bool settle(struct metric_store *store, const struct id *id, bool is_impatient, metric_done_fn *done, void *ctx, struct err *err) {
  if (!store->pg || (store->stopping && store->is_unsure && !store->is_asking))
    return err_set(err, ERR_CANCELLED, "the service is stopping");
  struct waiter *waiter = mem_zalloc(sizeof *waiter);
  if (!waiter)
    return err_no_memory(err);
  *waiter = (struct waiter){.store = store, .is_of_run = id, .run = id ? *id : (struct id){{0}}, .done = done, .ctx = ctx};
  metric_op_begin(store);
  struct live_run *run = id ? live_run_find(store, *id) : NULL;
  bool is_dirty = id ? run && run->is_dirty : store->dirty.first != NULL;
  bool is_writing = id ? run && (run->is_writing || run->is_loading) : store->is_flushing;
  if (is_dirty || store->is_unsure) {
    if (run && is_dirty) { /* it goes first */
      list_remove(&run->dirty_node);
      list_push_front(&store->dirty, &run->dirty_node);
    }
    list_push_back(&store->waiters, &waiter->node);
    metric_live_flush(store);
  } else if (is_writing) {
    list_push_back(&store->flushing, &waiter->node);
  } else {
    loop_defer(store->loop, &waiter->now, answer_now, waiter);
    return true;
  }
  if (is_impatient)
    limit_patience(waiter);
  return true;
}

bool metric_settle(struct metric_store *store, const struct id *run, metric_done_fn *done, void *ctx, struct err *err) {
  return settle(store, run, false, done, ctx, err);
}

bool metric_settle_end(struct metric_store *store, struct id run, metric_done_fn *done, void *ctx, struct err *err) {
  return settle(store, &run, true, done, ctx, err);
}
