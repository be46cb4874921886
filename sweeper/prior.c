#include "sweeper/prior.h"

#include "base/mem.h"
#include "storage/metrics/metric_store.h"
#include "sweeper/sweeps_inside.h"
#include "tracker/packed.h"
#include "tracker/run_row.h"
#include "tracker/search/search_sql.h"

enum { TIMEOUT_MS = 60000 };

/* ---- a result becomes a point of this space ---- */

/* Would the space take this value for this key? */
static bool takes(const struct space *space, const char *key, json_t *value, double *scratch) {
  AUTO_JSON json_t *one = json_pack("{sO}", key, value);
  struct err ignored;
  return one && space_point_from_json(space, one, SPACE_SOME, scratch, &ignored);
}

static bool is_known(const struct space *space, const char *key) {
  size_t n = strlen(key);
  for (size_t i = 0; i < space_count(space); i++) {
    const char *name = space_param(space, i)->name;
    if (strncmp(name, key, n) == 0 && (name[n] == 0 || name[n] == '.' || name[n] == '['))
      return true;
  }
  return false;
}

/* A text says a number or a boolean, or is what it is. NULL when neither is of this space. */
static json_t *typed_value(const struct space *space, const char *key, json_t *value, double *scratch) {
  AUTO_JSON json_t *said = NULL;
  struct err ignored;
  double number;
  if (takes(space, key, value, scratch))
    return json_incref(value);
  if (!json_is_string(value))
    return NULL;
  if (!json_read(json_str(value), &said, &ignored))
    said = str_to_f64(json_str(value), &number) ? json_real(number)
           : str_is(json_str(value), "True")    ? json_true()
           : str_is(json_str(value), "False")   ? json_false()
                                                : NULL;
  return said && takes(space, key, said, scratch) ? json_incref(said) : NULL;
}

enum prior_fit prior_point(const struct space *space, const json_t *params, double *ret_point) {
  AUTO_JSON json_t *known = json_object();
  struct err ignored;
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)params, key, value) {
    if (!known || !is_known(space, key))
      continue;
    json_t *typed = typed_value(space, key, value, ret_point);
    if (!typed)
      return PRIOR_OUTSIDE;
    if (json_object_set_new(known, key, typed) != 0)
      return PRIOR_MISSING; /* no memory */
  }
  if (!known || !space_point_from_json(space, known, SPACE_ALL, ret_point, &ignored))
    return PRIOR_MISSING;
  return space_allows(space, ret_point) ? PRIOR_FITS : PRIOR_OUTSIDE;
}

/* ---- what the file says ---- */

static size_t item_count(const struct ynode *prior) {
  return !prior || prior->kind == YN_NULL ? 0 : prior->kind == YN_LIST ? prior->count : 1;
}

static struct str item_at(const struct ynode *prior, size_t i) {
  return prior->kind == YN_LIST ? prior->items[i]->text : prior->text;
}

bool prior_check(const struct sweep_spec *spec, struct err *err) {
  size_t count = item_count(spec->prior);
  if (count > PRIOR_ITEMS_MAX)
    return err_set(err, ERR_INVALID, "\"prior\" has at most %d items", PRIOR_ITEMS_MAX);
  for (size_t i = 0; i < count; i++) {
    AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
    const struct ynode *node = spec->prior->kind == YN_LIST ? spec->prior->items[i] : spec->prior;
    struct filter filter;
    struct id id;
    if (!ynode_is_scalar(node)) {
      err_set(err, ERR_INVALID, "\"prior\" must be ids of sweeps, or filters of runs");
      return err_hint(err, "for example prior: [01a1ffcc034323839b52c0366172b278], or prior: \"params.model = 'small'\"");
    }
    if (!id_parse(node->text, &id) && !filter_parse(FILTER_RUNS, node->text, &arena, &filter, NULL, err))
      return err_prefix(err, "\"prior\" is neither the id of a sweep nor a filter of runs");
  }
  if (count && !spec->has_metric)
    return err_set(err, ERR_INVALID, "\"prior\" needs a metric: without one there is nothing to learn from other results");
  return true;
}

bool prior_is_used(const struct sweep_spec *spec) {
  static const bool learns[SAMPLER_TYPES] = {[SAMPLER_AUTO] = true, [SAMPLER_TPE] = true, [SAMPLER_GP] = true, [SAMPLER_CMAES] = true};
  return item_count(spec->prior) && learns[spec->sampler.type];
}

/* ---- gathering ---- */

struct gathering {
  struct live_sweep *live;
  sweeps_done_fn *done;
  void *ctx;
  size_t at; /* the item */
  struct id sweep;
  struct prior_counts counts;
  struct buf rows;
  struct arena arena;
};

static void end(struct gathering *g, const struct err *failed);
static void next_item(struct gathering *g);

static struct str metric_name(const struct live_sweep *live) {
  return live->file->spec.metric.name;
}

static void add_result(struct gathering *g, struct str params, bool has_value, double value) {
  AUTO_JSON json_t *json = NULL;
  double point[SPACE_PARAMS_MAX];
  struct err ignored;
  if (g->counts.taken == PRIOR_RESULTS_MAX) {
    g->counts.too_many++;
    return;
  }
  if (!has_value || !isfinite(value)) {
    g->counts.no_value++;
    return;
  }
  enum prior_fit fit = params.p && json_read(params, &json, &ignored) ? prior_point(g->live->space, json, point) : PRIOR_MISSING;
  g->counts.missing += fit == PRIOR_MISSING;
  g->counts.outside += fit == PRIOR_OUTSIDE;
  if (fit != PRIOR_FITS)
    return;
  g->counts.taken++;
  buf_add(&g->rows, &value, sizeof value);
  buf_add(&g->rows, point, space_count(g->live->space) * sizeof *point);
}

static void on_rows_end(void *ctx, const struct pg_reply *reply) {
  struct gathering *g = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    end(g, &err);
    return;
  }
  g->at++;
  next_item(g);
}

static void on_trial(void *ctx, const struct pg_reply *row) {
  add_result(ctx, pg_jsonb(row, 0, 0), !pg_is_null(row, 0, 1), pg_float8(row, 0, 1));
}

static void on_metric(void *ctx, const struct pg_reply *row) {
  struct gathering *g = ctx;
  char hex[ID_HEX_LEN + 1];
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  struct str ours = metric_name(g->live);
  id_format(g->sweep, hex);
  pg_args_init(&args, STMT_PRIOR_TRIALS);
  pg_put_uuid(&args, g->sweep);
  bool ok = pg_ok(row, &err) && (pg_rows(row) || err_set(&err, ERR_INVALID, "\"prior\": there is no sweep %s", hex));
  if (ok && !str_eq(pg_text(row, 0, 0), ours))
    ok = err_set(&err, ERR_INVALID, "\"prior\": the sweep %s measures \"%.*s\", this one \"%.*s\"", hex,
                 STR_ARG(pg_is_null(row, 0, 0) ? STR("nothing") : str_slice(pg_text(row, 0, 0), 0, 60)), STR_ARG(str_slice(ours, 0, 60)));
  if (!ok || !pg_stream_open(g->live->all->conf.pg, &args, TIMEOUT_MS, on_trial, on_rows_end, g, &err))
    end(g, &err);
}

/* The last value of a metric, as run.metrics has it; NaN when there is none. */
static double last_of(struct str metrics, struct str name) {
  AUTO_BUF struct buf text = BUF_INIT(4 * KIB);
  struct str key, packed;
  double value;
  for (size_t cursor = 0; packed_next(metrics, &cursor, &key, &packed);) {
    buf_reset(&text);
    packed_unquote(key, &text);
    if (str_eq(buf_str(&text), name))
      return packed_number(packed, METRIC_LAST, &value) ? value : NAN;
  }
  return NAN;
}

static void on_run(void *ctx, const struct pg_reply *reply) {
  struct gathering *g = ctx;
  struct run_row run;
  run_row_read(reply, 0, &run);
  double last = last_of(run.metrics, metric_name(g->live));
  add_result(g, run.params, isfinite(last), isfinite(last) ? last : NAN);
}

static bool put_search(struct gathering *g, struct pg_args *args, struct err *err) {
  AUTO_SEARCH_SQL struct search_sql sql;
  struct search search = {.domain = FILTER_RUNS,
                          .everywhere = true,
                          .hide_parents = true,
                          .of_state = true,
                          .state = RUN_FINISHED,
                          .limit = PRIOR_RESULTS_MAX + 1};
  search_sql_init(&sql, &g->arena);
  if (!filter_parse(FILTER_RUNS, item_at(g->live->file->spec.prior, g->at), &g->arena, &search.filter, NULL, err) ||
      !search_compile(&search, &sql, err))
    return false;
  search_sql_put(&sql, args);
  return true;
}

static void on_settled(void *ctx, const struct err *failed) {
  struct gathering *g = ctx;
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, STMT_RUN_SEARCH);
  if (failed)
    end(g, failed);
  else if (!put_search(g, &args, &err) || !pg_stream_open(g->live->all->conf.pg, &args, TIMEOUT_MS, on_run, on_rows_end, g, &err))
    end(g, &err);
}

static bool ask_item(struct gathering *g, struct err *err) {
  const struct sweeps *s = g->live->all;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_PRIOR_METRIC);
  if (!id_parse(item_at(g->live->file->spec.prior, g->at), &g->sweep))
    return metric_settle(s->conf.metrics, NULL, on_settled, g, err);
  pg_put_uuid(&args, g->sweep);
  return pg_run(s->conf.pg, &args, 0, on_metric, g, err);
}

static bool say(const struct gathering *g, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(4 * KIB);
  const struct {
    size_t count;
    const char *why;
  } dropped[] = {
      {g->counts.missing, "without a value for every parameter"},
      {g->counts.outside, "outside of the space, or of another type"},
      {g->counts.no_value, "without the metric"},
      {g->counts.too_many, "beyond the ten thousand that are kept"},
  };
  buf_printf(&text, "prior: %zu results are taken over", g->counts.taken);
  const char *before = "; left out: ";
  for (size_t i = 0; i < ARRAY_LEN(dropped); i++) {
    if (!dropped[i].count)
      continue;
    buf_printf(&text, "%s%zu %s", before, dropped[i].count, dropped[i].why);
    before = ", ";
  }
  return live_warn(g->live, buf_text(&text), err);
}

static void end(struct gathering *g, const struct err *failed) {
  struct err err;
  if (!failed && (!buf_ok(&g->rows, &err) || !prior_take(g->live, buf_str(&g->rows), &err) || !say(g, &err)))
    failed = &err;
  g->done(g->ctx, failed);
  buf_release(&g->rows);
  arena_release(&g->arena);
  mem_free(g);
}

static void next_item(struct gathering *g) {
  struct err err;
  if (g->at == item_count(g->live->file->spec.prior))
    end(g, NULL);
  else if (!ask_item(g, &err))
    end(g, &err);
}

bool prior_gather(struct live_sweep *live, sweeps_done_fn *done, void *ctx, struct err *err) {
  struct gathering *g = mem_zalloc(sizeof *g);
  if (!g)
    return err_no_memory(err);
  *g = (struct gathering){.live = live, .done = done, .ctx = ctx, .rows = BUF_INIT(256 * MIB), .arena = ARENA_INIT(16 * MIB)};
  if (ask_item(g, err))
    return true;
  arena_release(&g->arena);
  mem_free(g);
  return false;
}

/* ---- taking ---- */

bool prior_take(struct live_sweep *live, struct str stored, struct err *err) {
  size_t width = space_count(live->space) * sizeof(double), row = width + sizeof(double), count = stored.n / row;
  double point[SPACE_PARAMS_MAX];
  if (!stored.n)
    return true;
  if (stored.n % row)
    return err_set(err, ERR_INVALID, "the results it started from are not of this space");
  for (size_t i = 0; i < count; i++) {
    struct outcome outcome = {.state = TRIAL_FINISHED};
    memcpy(&outcome.value, stored.p + i * row, sizeof outcome.value);
    memcpy(point, stored.p + i * row + sizeof outcome.value, width);
    if (!history_add_told(live->history, HISTORY_NO_NUMBER, point, &outcome, err))
      return false;
  }
  live->prior = mem_strndup(stored.p, stored.n);
  live->prior_bytes = live->prior ? stored.n : 0;
  live->prior_count = count;
  return live->prior || err_no_memory(err);
}
