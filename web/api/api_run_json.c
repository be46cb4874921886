/* A run as /api/v1 shows it, whole or some of its keys. */
#include "tracker/names.h"
#include "tracker/packed.h"
#include "web/api/api_runs.h"

void api_put_i64(struct json_writer *w, const char *key, int64_t value) {
  if (value == INT64_MIN)
    jw_put_null(w, key);
  else
    jw_put_i64(w, key, value);
}

void api_put_id(struct json_writer *w, const char *key, struct id id, bool is_set) {
  if (is_set)
    mlflow_put_id(w, key, id);
  else
    jw_put_null(w, key);
}

static void put_count(struct json_writer *w, const char *key, int64_t value, bool is_set) {
  api_put_i64(w, key, is_set ? value : INT64_MIN);
}

static void put_raw(struct json_writer *w, const char *key, struct str json) {
  jw_key(w, key);
  if (json.p)
    jw_raw(w, json);
  else
    jw_null(w);
}

void api_put_metric_items(struct json_writer *w, struct str packed) {
  static const char *const names[] = {"last", "step", "time", "min", "max", "count"};
  struct str items[METRIC_ITEMS];
  bool is_there = packed_metric(packed, items);
  for (size_t i = 0; i < METRIC_ITEMS; i++) {
    jw_key(w, names[i]);
    jw_raw(w, is_there ? items[i] : STR("null"));
  }
}

/* "loss": "last step time min max count" as an object. */
static void put_metric(struct json_writer *w, struct str packed) {
  jw_object(w);
  api_put_metric_items(w, packed);
  jw_object_end(w);
}

static int by_key(const void *a, const void *b) {
  const struct filter_key *x = a, *y = b;
  return x->entity != y->entity ? (int)x->entity - (int)y->entity : str_cmp(x->key, y->key);
}

static bool is_wanted(const struct api_columns *columns, enum filter_entity entity, struct str key) {
  struct filter_key wanted = {.entity = entity, .key = key};
  return columns->data_count && bsearch(&wanted, columns->data, columns->data_count, sizeof *columns->data, by_key);
}

/* A packed column; `columns` NULL: all of it. */
static void put_data(struct json_writer *w, const char *name, struct str packed, enum filter_entity entity,
                     const struct api_columns *columns) {
  AUTO_BUF struct buf scratch = BUF_INIT(MIB);
  struct str key, value;
  jw_key(w, name);
  jw_object(w);
  for (size_t cursor = 0; packed_next(packed, &cursor, &key, &value);) {
    buf_reset(&scratch);
    packed_unquote(key, &scratch);
    if (columns && !is_wanted(columns, entity, buf_str(&scratch)))
      continue;
    jw_key_str(w, buf_str(&scratch));
    if (entity == FILTER_METRIC)
      put_metric(w, value);
    else
      jw_raw(w, value);
  }
  jw_object_end(w);
}

static int64_t started_of(const struct run_row *run) {
  if (run->start_time)
    return run->start_time;
  return run->state >= RUN_RUNNING ? run->created : INT64_MIN;
}

/* The one there is, when an executor or a sweep runs it; of several those that were asked for. */
static void put_attempts(struct json_writer *w, const struct run_row *run) {
  jw_key(w, "attempts");
  if (run->attempts.p) {
    jw_raw(w, run->attempts);
    return;
  }
  jw_array(w);
  if (run->attempt > 0 && (run->executor.p || run->is_trial)) {
    jw_object(w);
    jw_put_i64(w, "attempt", run->attempt);
    jw_put_text(w, "state", run_state_name(run->state));
    jw_put_str(w, "reason", run->state_reason);
    put_count(w, "exit_code", run->exit_code, run->has_exit_code);
    put_count(w, "signal", run->signal, run->has_signal);
    jw_put_str(w, "node", run->node.p ? run->node : run->executor);
    api_put_i64(w, "started", run->attempt == 1 ? started_of(run) : INT64_MIN);
    api_put_i64(w, "ended", run->end_time);
    jw_object_end(w);
  }
  jw_array_end(w);
}

static void put_list(struct json_writer *w, const char *key, struct str json) {
  jw_key(w, key);
  jw_raw(w, json.p ? json : STR("[]"));
}

static void put_inputs(struct json_writer *w, const struct run_row *run) {
  jw_key(w, "inputs");
  jw_object(w);
  put_list(w, "datasets", run->dataset_inputs);
  put_list(w, "models", run->model_inputs);
  jw_object_end(w);
}

static void put_outputs(struct json_writer *w, const struct run_row *run) {
  jw_key(w, "outputs");
  jw_object(w);
  put_list(w, "models", run->model_outputs);
  jw_object_end(w);
}

void api_put_run_links(struct json_writer *w, const struct run_row *run) {
  put_inputs(w, run);
  put_outputs(w, run);
}

/* Each key of a run, in order. The last RUN_KEYS_ASKED are there only where they are asked for. */
#define RUN_KEYS(X)                                                                   \
  X("id", mlflow_put_id(w, "id", run->id))                                            \
  X("name", jw_put_str(w, "name", run->name))                                         \
  X("experiment_id", put_number_text(w, "experiment_id", run->experiment_id))         \
  X("sweep_id", api_put_id(w, "sweep_id", run->sweep_id, !id_is_zero(run->sweep_id))) \
  X("trial", put_count(w, "trial", run->trial, run->is_trial))                        \
  X("state", jw_put_text(w, "state", run_state_name(run->state)))                     \
  X("state_reason", jw_put_str(w, "state_reason", run->state_reason))                 \
  X("exit_code", put_count(w, "exit_code", run->exit_code, run->has_exit_code))       \
  X("signal", put_count(w, "signal", run->signal, run->has_signal))                   \
  X("attempt", jw_put_i64(w, "attempt", run->attempt))                                \
  X("attempts", put_attempts(w, run))                                                 \
  X("command", put_raw(w, "command", run->command))                                   \
  X("params", put_data(w, "params", run->params, FILTER_PARAM, NULL))                 \
  X("tags", put_data(w, "tags", run->tags, FILTER_TAG, NULL))                         \
  X("metrics", put_data(w, "metrics", run->metrics, FILTER_METRIC, NULL))             \
  X("artifact_uri", jw_put_str(w, "artifact_uri", run->artifact_uri))                 \
  X("node", jw_put_str(w, "node", run->node))                                         \
  X("slots", put_count(w, "slots", run->slots, run->has_slots))                       \
  X("user", jw_put_str(w, "user", run->user_id))                                      \
  X("created", jw_put_i64(w, "created", run->created))                                \
  X("started", api_put_i64(w, "started", started_of(run)))                            \
  X("ended", api_put_i64(w, "ended", run->end_time))                                  \
  X("heartbeat", api_put_i64(w, "heartbeat", run->heartbeat))                         \
  X("deleted", api_put_i64(w, "deleted", run->deleted_at))                            \
  X("inputs", put_inputs(w, run))                                                     \
  X("outputs", put_outputs(w, run))

static const char *const run_keys[] = {
#define X(name, put) name,
    RUN_KEYS(X)
#undef X
};
_Static_assert(ARRAY_LEN(run_keys) < 32, "struct api_columns keeps a bit for each");
enum { RUN_KEYS_ASKED = 2 };

static void put_number_text(struct json_writer *w, const char *key, int64_t value) {
  char text[24];
  snprintf(text, sizeof text, "%lld", (long long)value);
  jw_put_text(w, key, text);
}

static bool has_data(const struct api_columns *columns, enum filter_entity entity) {
  for (size_t i = 0; i < columns->data_count; i++)
    if (columns->data[i].entity == entity)
      return true;
  return false;
}

void api_put_run_keys(struct json_writer *w, const struct run_row *run, const struct api_columns *columns) {
  uint32_t bit = 1, fields = columns ? columns->fields : ((uint32_t)1 << (ARRAY_LEN(run_keys) - RUN_KEYS_ASKED)) - 1;
#define X(name, put) \
  if (fields & bit)  \
    put;             \
  bit <<= 1;
  RUN_KEYS(X)
#undef X
  if (columns && has_data(columns, FILTER_PARAM))
    put_data(w, "params", run->params, FILTER_PARAM, columns);
  if (columns && has_data(columns, FILTER_TAG))
    put_data(w, "tags", run->tags, FILTER_TAG, columns);
  if (columns && has_data(columns, FILTER_METRIC))
    put_data(w, "metrics", run->metrics, FILTER_METRIC, columns);
}

void api_put_run(struct json_writer *w, const struct run_row *run, const struct api_columns *columns) {
  jw_object(w);
  api_put_run_keys(w, run, columns);
  jw_object_end(w);
}

static bool find_run_key(struct str name, uint32_t *ret_bit) {
  for (size_t i = 0; i < ARRAY_LEN(run_keys); i++)
    if (str_is(name, run_keys[i])) {
      *ret_bit = (uint32_t)1 << i;
      return true;
    }
  return false;
}

/* What has columns of its own beside the whole. */
static const struct {
  const char *name;
  enum filter_entity entity;
} wholes[] = {{"params", FILTER_PARAM}, {"tags", FILTER_TAG}, {"metrics", FILTER_METRIC}};

/* "params.KEY" with the key as it is, where a filter would want quotes around it: "metrics.val/acc". */
static bool read_plain_key(struct str name, struct filter_key *ret) {
  struct err ignored;
  struct str rest = name, whole;
  if (!str_split(&rest, '.', &whole) || !rest.n || !key_check(rest, "columns", &ignored))
    return false;
  for (size_t i = 0; i < ARRAY_LEN(wholes); i++)
    if (str_is(whole, wholes[i].name)) {
      *ret = (struct filter_key){.entity = wholes[i].entity, .key = rest};
      return true;
    }
  return false;
}

static bool read_column(struct api_columns *columns, struct str name, struct err *err) {
  uint32_t bit;
  struct filter_key *key = &columns->data[columns->data_count];
  if (find_run_key(name, &bit)) {
    columns->fields |= bit;
    return true;
  }
  bool is_data = read_plain_key(name, key) ||
                 (filter_parse_key(FILTER_RUNS, name, key, err) && key->entity != FILTER_ATTRIBUTE && key->entity != FILTER_DATASET);
  if (!is_data) {
    err_set(err, ERR_INVALID, "\"%.*s\" is not a column", STR_ARG(str_slice(name, 0, 100)));
    const char *near = str_nearest_of(name, run_keys, ARRAY_LEN(run_keys));
    return near ? err_hint(err, "did you mean \"%s\"?", near)
                : err_hint(err, "a column is a key of a run, params.KEY, metrics.KEY or tags.KEY");
  }
  columns->data_count++;
  return true;
}

bool api_read_columns(struct http_req *req, const json_t *array, struct api_columns **ret, struct err *err) {
  const struct str *names;
  size_t count;
  *ret = NULL;
  if (!array)
    return true;
  if (json_array_size(array) > FILTER_COLUMNS_MAX)
    return err_set(err, ERR_INVALID, "\"columns\" may name at most %d columns", FILTER_COLUMNS_MAX);
  if (!mlflow_strings(req, array, "columns", &names, &count, err))
    return false;
  struct api_columns *columns = ARENA_NEW(http_req_arena(req), struct api_columns);
  struct filter_key *data = ARENA_NEW_ARRAY(http_req_arena(req), struct filter_key, count ? count : 1);
  if (!columns || !data)
    return err_no_memory(err);
  columns->data = data;
  for (size_t i = 0; i < count; i++)
    if (!read_column(columns, names[i], err))
      return false;
  /* a whole column includes its parts */
  for (size_t k = 0; k < ARRAY_LEN(wholes); k++) {
    uint32_t bit = 0;
    if (find_run_key(str_of(wholes[k].name), &bit) && has_data(columns, wholes[k].entity) && (columns->fields & bit)) {
      size_t n = 0;
      for (size_t i = 0; i < columns->data_count; i++)
        if (columns->data[i].entity != wholes[k].entity)
          columns->data[n++] = columns->data[i];
      columns->data_count = n;
    }
  }
  qsort(columns->data, columns->data_count, sizeof *columns->data, by_key);
  *ret = columns;
  return true;
}
