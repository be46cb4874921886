#include "tracker/run_creator.h"

#include "base/mem.h"

enum { RUNS_MAX = 256, TIMEOUT_MS = 30000 };

struct run_creator {
  struct pg_gather gather;
};

static const struct run_new *run_of(struct list_node *node) {
  return LIST_ENTRY(node, struct run_new, item.node);
}

#define PUT_ALL(put, args, runs, field) \
  do {                                  \
    pg_begin_array(args);               \
    LIST_EACH(runs, node)               \
    put((args), run_of(node)->field);   \
    pg_end_array(args);                 \
  } while (0)

static void put_run(struct pg_args *args, const struct run_new *run) {
  pg_put_uuid(args, run->id);
  pg_put_int(args, run->experiment_id);
  pg_put_int(args, run->start_time);
  pg_put_int(args, run->created);
  pg_put_text(args, run->name);
  pg_put_text(args, run->user_id);
  pg_put_jsonb(args, run->tags);
  pg_put_jsonb(args, run->params);
}

/* One alone costs the database a quarter less without arrays. */
static void put_runs(struct pg_args *args, const struct list *runs) {
  if (runs->count == 1) {
    pg_args_init(args, STMT_RUN_CREATE);
    put_run(args, run_of(runs->first));
    return;
  }
  PUT_ALL(pg_put_uuid, args, runs, id);
  PUT_ALL(pg_put_int, args, runs, experiment_id);
  PUT_ALL(pg_put_int, args, runs, start_time);
  PUT_ALL(pg_put_int, args, runs, created);
  PUT_ALL(pg_put_text, args, runs, name);
  PUT_ALL(pg_put_text, args, runs, user_id);
  PUT_ALL(pg_put_jsonb, args, runs, tags);
  PUT_ALL(pg_put_jsonb, args, runs, params);
}

static void on_sent(void *ctx UNUSED, struct pg_gather_item *item, const struct pg_reply *reply, size_t row, const struct err *failed) {
  struct run_new *run = CONTAINER_OF(item, struct run_new, item);
  struct err err;
  bool ok = false;
  if (!reply)
    err = *failed;
  else if (!pg_ok(reply, &err))
    ok = false;
  else if (pg_rows(reply) <= row || pg_is_null(reply, row, 0))
    err_set(&err, ERR_NOT_FOUND, "there is no experiment %lld", (long long)run->experiment_id);
  else if (pg_bool(reply, row, 1))
    err_set(&err, ERR_WRONG_STATE, "the experiment %lld is deleted", (long long)run->experiment_id);
  else
    ok = true;
  run->done(run->ctx, ok ? pg_text(reply, row, 0) : STR_NONE, ok ? NULL : &err);
}

struct run_creator *run_creator_new(struct loop *loop, struct pg_pool *pool, struct err *err) {
  struct run_creator *creator = mem_zalloc(sizeof *creator);
  if (!creator) {
    err_no_memory(err);
    return NULL;
  }
  struct pg_gather_conf conf = {.stmt = STMT_RUN_CREATE_MANY,
                                .rows_max = RUNS_MAX,
                                .bytes_max = 4 * MIB,
                                .enough = 64 * KIB,
                                .timeout_ms = TIMEOUT_MS,
                                .put = put_runs,
                                .done = on_sent};
  if (pg_gather_init(&creator->gather, loop, pool, &conf, err))
    return creator;
  mem_free(creator);
  return NULL;
}

void run_creator_add(struct run_creator *creator, struct run_new *run) {
  run->item.rows = 1;
  run->item.bytes = run->name.n + run->user_id.n + run->tags.n + run->params.n;
  pg_gather_add(&creator->gather, &run->item);
}

void run_creator_free(struct run_creator *creator) {
  if (!creator)
    return;
  struct err err;
  err_set(&err, ERR_UNAVAILABLE, "the service is stopping");
  pg_gather_stop(&creator->gather, &err);
  pg_gather_release(&creator->gather);
  mem_free(creator);
}
