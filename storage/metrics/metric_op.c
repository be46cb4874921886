#include "storage/metrics/metric_inside.h"

void metric_op_begin(struct metric_store *store) {
  store->operations++;
}

void metric_op_end(struct metric_store *store) {
  store->operations--;
  if (store->at_rest && store->operations == 0)
    loop_defer(store->loop, &store->rest, store->at_rest, store);
}

bool metric_run(struct metric_store *store, struct pg_args *args, int64_t timeout_ms, pg_done_fn *done, void *ctx, struct err *err) {
  if (store->pg)
    return pg_run(store->pg, args, timeout_ms, done, ctx, err);
  pg_args_release(args);
  return err_set(err, ERR_CANCELLED, "the service is stopping");
}

bool metric_run_batch(struct metric_store *store, struct pg_batch *batch, int64_t timeout_ms, pg_done_fn *done, void *ctx,
                      struct err *err) {
  if (store->pg)
    return pg_run_batch(store->pg, batch, timeout_ms, done, ctx, err);
  pg_batch_release(batch);
  return err_set(err, ERR_CANCELLED, "the service is stopping");
}

struct column_coder *metric_coder_take(struct metric_store *store) {
  return store->coder_count ? store->coders[--store->coder_count] : column_coder_new();
}

void metric_coder_give(struct metric_store *store, struct column_coder *coder) {
  if (coder && store->coder_count < CODERS_MAX)
    store->coders[store->coder_count++] = coder;
  else
    column_coder_free(coder);
}

static void compute_here(void *ctx) {
  struct work *work = ctx;
  work->run(work);
  work->done(work, false);
}

void metric_compute(struct metric_store *store, struct work *work, struct loop_defer *instead) {
  struct err err;
  metric_op_begin(store);
  if (!store->work || !work_submit(store->work, work, &err))
    loop_defer(store->loop, instead, compute_here, work);
}
