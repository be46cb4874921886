/* Which parameters of a sweep matter, computed from its stored trials on another thread. The answer holds until the next result. */
#include "base/mem.h"
#include "sampler/importance.h"
#include "sweeper/sweeps_inside.h"

enum { KNOWN_MAX = 64, JSON_MAX = 4 * 1024 * 1024 };

/* Answers that still hold, or did. */
struct known_importance {
  struct id sweep;
  uint64_t results;
  char *json;
};

struct importance_cache {
  struct known_importance items[KNOWN_MAX];
  size_t next; /* the oldest goes first */
};

struct asking {
  struct sweeps *all;
  struct id id;
  uint64_t results; /* how many there were when it was asked */
  uint64_t turn;
  bool settled;     /* and all of them were stored */
  uint64_t seed;
  struct sweep_file *file;
  struct space *space;
  struct history *history;
  struct work work;
  struct buf json;
  struct err err;
  sweeps_text_fn *done;
  void *ctx;
};

/* ---- what is known ---- */

void importance_cache_free(struct importance_cache *cache) {
  for (size_t i = 0; cache && i < KNOWN_MAX; i++)
    mem_free(cache->items[i].json);
  mem_free(cache);
}

void importance_forget(struct sweeps *s, struct id sweep) {
  s->importance_turn++;
  for (size_t i = 0; s->importance && i < KNOWN_MAX; i++)
    if (id_eq(s->importance->items[i].sweep, sweep)) {
      mem_free(s->importance->items[i].json);
      s->importance->items[i].json = NULL;
    }
}

static uint64_t results_of(const struct sweeps *s, struct id id) {
  const struct live_sweep *live = sweeps_find(s, id);
  return live ? live->ends : UINT64_MAX; /* over: there will be no more */
}

static const char *find_known(const struct asking *asking) {
  const struct importance_cache *cache = asking->all->importance;
  for (size_t i = 0; cache && i < KNOWN_MAX; i++) {
    const struct known_importance *item = &cache->items[i];
    if (item->json && item->results == asking->results && id_eq(item->sweep, asking->id))
      return item->json;
  }
  return NULL;
}

/* Without memory it is computed again the next time. */
static void keep(struct asking *asking) {
  struct sweeps *s = asking->all;
  if (asking->turn != s->importance_turn)
    return;
  if (!s->importance)
    s->importance = mem_zalloc(sizeof *s->importance);
  char *json = s->importance ? mem_strdup(buf_text(&asking->json)) : NULL;
  if (!json)
    return;
  struct known_importance *item = &s->importance->items[s->importance->next++ % KNOWN_MAX];
  mem_free(item->json);
  *item = (struct known_importance){asking->id, asking->results, json};
}

/* ---- computing ---- */

static void put_report(const struct asking *asking, const struct importance_report *report, struct json_writer *w) {
  jw_object(w);
  jw_put_i64(w, "trials", (int64_t)report->trials);
  jw_put_i64(w, "best", (int64_t)report->best);
  jw_put_bool(w, "low_confidence", report->low_confidence);
  jw_put_text(w, "reason", report->reason[0] ? report->reason : NULL);
  jw_key(w, "items");
  jw_array(w);
  for (size_t i = 0; i < report->count; i++) {
    const struct importance *item = &report->params[i];
    jw_object(w);
    jw_put_text(w, "name", space_param(asking->space, item->param)->name);
    jw_put_f64(w, "importance", item->share);
    jw_put_f64(w, "low", item->low);
    jw_put_f64(w, "high", item->high);
    jw_put_i64(w, "trials", (int64_t)item->trials);
    jw_object_end(w);
  }
  jw_array_end(w);
  jw_key(w, "pairs");
  jw_array(w);
  for (size_t i = 0; i < report->pair_count; i++) {
    const struct importance_pair *pair = &report->pairs[i];
    jw_object(w);
    jw_put_text(w, "a", space_param(asking->space, pair->a)->name);
    jw_put_text(w, "b", space_param(asking->space, pair->b)->name);
    jw_put_f64(w, "importance", pair->share);
    jw_object_end(w);
  }
  jw_array_end(w);
  jw_put_null(w, "next");
  jw_object_end(w);
}

static void compute(struct work *work) {
  struct asking *asking = CONTAINER_OF(work, struct asking, work);
  struct importance_report report;
  struct json_writer w;
  if (!importance_compute(asking->history, asking->seed, &report, &asking->err))
    return;
  jw_init(&w, &asking->json);
  put_report(asking, &report, &w);
  importance_release(&report);
  if (buf_ok(&asking->json, &asking->err))
    asking->err.code = ERR_NONE;
}

static void end(struct asking *asking, const struct err *err) {
  asking->done(asking->ctx, err ? STR_NONE : buf_str(&asking->json), err);
  buf_release(&asking->json);
  history_free(asking->history);
  space_free(asking->space);
  sweep_file_free(asking->file);
  mem_free(asking);
}

static void on_computed(struct work *work, bool cancelled) {
  struct asking *asking = CONTAINER_OF(work, struct asking, work);
  if (cancelled)
    err_set(&asking->err, ERR_UNAVAILABLE, "the service is stopping");
  else if (asking->err.code == ERR_NONE && asking->settled)
    keep(asking);
  end(asking, asking->err.code == ERR_NONE ? NULL : &asking->err);
}

/* ---- reading ---- */

static void on_row(void *ctx, const struct pg_reply *row) {
  struct asking *asking = ctx;
  struct str coords = pg_bytea(row, 0, 0);
  double point[SPACE_PARAMS_MAX];
  struct outcome outcome = {
      .state = pg_bool(row, 0, 1) ? TRIAL_STOPPED : TRIAL_FINISHED, .value = pg_float8(row, 0, 2), .step = (double)pg_int(row, 0, 3)};
  if (asking->err.code != ERR_NONE || coords.n != space_count(asking->space) * sizeof *point)
    return;
  memcpy(point, coords.p, coords.n);
  if (history_add_told(asking->history, HISTORY_NO_NUMBER, point, &outcome, &asking->err))
    asking->err.code = ERR_NONE;
}

static void on_rows(void *ctx, const struct pg_reply *reply) {
  struct asking *asking = ctx;
  struct err err = asking->err;
  asking->work = (struct work){.run = compute, .done = on_computed};
  asking->err.code = ERR_INTERNAL;
  if (err.code != ERR_NONE || !pg_ok(reply, &err) || !work_submit(asking->all->conf.work, &asking->work, &err))
    end(asking, &err);
}

static bool make_history(struct asking *asking, const struct pg_reply *row, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  AUTO_JSON json_t *json = NULL;
  struct spec_problems errors;
  if (!sweep_file_read(pg_text(row, 0, 0), "", &arena, &asking->file, &errors, err))
    return false;
  asking->seed = (uint64_t)pg_int(row, 0, 1);
  const struct sweep_spec *spec = &asking->file->spec;
  if (!spec->has_metric) {
    err_set(err, ERR_WRONG_STATE, "the sweep has no metric, so nothing can matter for it");
    return err_hint(err, "name one in the sweep file: metric: {name: loss}");
  }
  return sweep_file_space(asking->file, &json, err) &&
         space_new(json_object_get(json, "parameters"), json_object_get(json, "conditions"), json_object_get(json, "constraints"),
                   &asking->space, err) &&
         history_new(asking->space, (enum goal)spec->metric.goal, &asking->history, err);
}

static bool read_trials(struct asking *asking, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_TRIALS_LEARNABLE);
  pg_put_uuid(&args, asking->id);
  return pg_stream_open(asking->all->conf.pg, &args, 60000, on_row, on_rows, asking, err) != NULL;
}

static void on_spec(void *ctx, const struct pg_reply *row) {
  struct asking *asking = ctx;
  struct err err;
  if (!pg_ok(row, &err)) {
    end(asking, &err);
    return;
  }
  if (!pg_rows(row)) {
    err_set(&err, ERR_NOT_FOUND, "there is no such sweep");
    end(asking, &err);
    return;
  }
  asking->results = results_of(asking->all, asking->id);
  asking->settled = !asking->all->in_flight;
  asking->turn = asking->all->importance_turn;
  const char *known = find_known(asking);
  if (known) {
    buf_puts(&asking->json, known);
    end(asking, buf_ok(&asking->json, &err) ? NULL : &err);
    return;
  }
  if (!make_history(asking, row, &err) || !read_trials(asking, &err))
    end(asking, &err);
}

bool sweeps_importance(struct sweeps *s, struct id sweep, sweeps_text_fn *done, void *ctx, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  struct asking *asking = mem_zalloc(sizeof *asking);
  pg_args_init(&args, STMT_SWEEP_SPEC);
  if (!asking)
    return err_no_memory(err);
  *asking = (struct asking){.all = s, .id = sweep, .json = BUF_INIT(JSON_MAX), .done = done, .ctx = ctx};
  pg_put_uuid(&args, sweep);
  if (pg_run(s->conf.pg, &args, 0, on_spec, asking, err))
    return true;
  mem_free(asking);
  return false;
}
