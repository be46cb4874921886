#include <math.h>

#include "tracker/metric_body.h"

bool special_value(struct str text, double *ret) {
  if (str_is(text, "NaN"))
    *ret = NAN;
  else if (str_is(text, "Infinity"))
    *ret = INFINITY;
  else if (str_is(text, "-Infinity"))
    *ret = -INFINITY;
  else
    return false;
  return true;
}

/* ---- one point ---- */

enum field { FIELD_KEY = 1, FIELD_VALUE = 2, FIELD_STEP = 4, FIELD_TIME = 8, FIELD_EPOCH = 16 };

/* What the two families call things, and what they want. */
struct dialect {
  struct str time;
  unsigned required;
  bool has_epoch; /* and refuses keys it does not know */
};

static const struct dialect mlflow = {.time = {"timestamp", 9}, .required = FIELD_KEY | FIELD_VALUE | FIELD_TIME};
static const struct dialect ours = {.time = {"time", 4}, .required = FIELD_KEY | FIELD_VALUE | FIELD_STEP, .has_epoch = true};

static enum field field_of(const struct dialect *dialect, struct str name) {
  if (name.n == 3 && memcmp(name.p, "key", 3) == 0)
    return FIELD_KEY;
  if (name.n == 5 && memcmp(name.p, "value", 5) == 0)
    return FIELD_VALUE;
  if (name.n == 4 && memcmp(name.p, "step", 4) == 0)
    return FIELD_STEP;
  if (str_eq(name, dialect->time))
    return FIELD_TIME;
  return dialect->has_epoch && str_is(name, "epoch") ? FIELD_EPOCH : 0;
}

static bool read_value(struct json_pull *pull, double *ret) {
  enum json_token token = json_pull_next(pull);
  if (token == JSON_T_STR)
    return special_value(pull->text, ret);
  *ret = json_pull_number(pull, token);
  return token == JSON_T_INT || token == JSON_T_REAL;
}

/* A whole number: 3, and in our own bodies 3.0 too. */
static bool take_whole(const struct json_pull *pull, enum json_token token, const struct dialect *dialect, int64_t *ret) {
  bool real = token == JSON_T_REAL && dialect->has_epoch && fabs(pull->real) < 9007199254740992.0 && pull->real == floor(pull->real);
  *ret = real ? (int64_t)pull->real : pull->whole;
  return real || token == JSON_T_INT;
}

/* Our own bodies may say null for what they leave out. */
static bool is_left_out(const struct dialect *dialect, enum json_token token) {
  return dialect->has_epoch && token == JSON_T_NULL;
}

static bool read_step(struct json_pull *pull, const struct dialect *dialect, struct point *point) {
  return take_whole(pull, json_pull_next(pull), dialect, &point->step);
}

static bool read_time(struct json_pull *pull, const struct dialect *dialect, struct point *point) {
  enum json_token token = json_pull_next(pull);
  return is_left_out(dialect, token) || (take_whole(pull, token, dialect, &point->time) && point->time >= 0);
}

static bool read_epoch(struct json_pull *pull, const struct dialect *dialect, struct point *point) {
  enum json_token token = json_pull_next(pull);
  if (is_left_out(dialect, token))
    return true;
  point->epoch = json_pull_number(pull, token);
  return token == JSON_T_INT || token == JSON_T_REAL;
}

/* Keys that say that a metric is more than a point; only the tree knows what to do with them. */
static bool is_link(struct str name) {
  return str_is(name, "model_id") || str_is(name, "dataset_name") || str_is(name, "dataset_digest");
}

/* After the opening brace. */
static bool read_point(struct json_pull *pull, const struct dialect *dialect, int64_t now, struct metric_rows *rows) {
  struct point point = {.time = now, .epoch = NAN};
  struct str key = STR_NONE;
  unsigned seen = 0;
  enum json_token token;
  while ((token = json_pull_next(pull)) == JSON_T_KEY) {
    enum field field = field_of(dialect, pull->text);
    bool ok;
    switch (field) {
    case FIELD_KEY:
      ok = json_pull_next(pull) == JSON_T_STR && pull->text.n > 0;
      key = pull->text;
      break;
    case FIELD_VALUE:
      ok = read_value(pull, &point.value);
      break;
    case FIELD_STEP:
      ok = read_step(pull, dialect, &point);
      break;
    case FIELD_TIME:
      ok = read_time(pull, dialect, &point);
      break;
    case FIELD_EPOCH:
      ok = read_epoch(pull, dialect, &point);
      break;
    default:
      ok = !dialect->has_epoch && !is_link(pull->text) && json_pull_skip(pull, json_pull_next(pull));
    }
    if (!ok)
      return false;
    seen |= field;
  }
  return token == JSON_T_OBJECT_END && (seen & dialect->required) == dialect->required && metric_rows_add(rows, key, point);
}

static bool read_points(struct json_pull *pull, const struct dialect *dialect, int64_t now, size_t max, struct metric_rows *rows) {
  if (json_pull_next(pull) != JSON_T_ARRAY)
    return false;
  enum json_token token;
  while ((token = json_pull_next(pull)) == JSON_T_OBJECT)
    if (rows->points.n == max || !read_point(pull, dialect, now, rows))
      return false;
  return token == JSON_T_ARRAY_END;
}

/* ---- bodies ---- */

/* After the opening brace. */
static bool read_pair(struct json_pull *pull, struct text_pair *ret) {
  enum json_token token;
  *ret = (struct text_pair){STR_NONE, STR_NONE};
  while ((token = json_pull_next(pull)) == JSON_T_KEY) {
    struct str *to = str_is(pull->text, "key") ? &ret->key : str_is(pull->text, "value") ? &ret->value : NULL;
    token = json_pull_next(pull);
    if (to ? token != JSON_T_STR : !json_pull_skip(pull, token))
      return false;
    if (to)
      *to = pull->text;
  }
  return token == JSON_T_OBJECT_END && ret->key.n > 0 && ret->value.p;
}

static bool read_pairs(struct json_pull *pull, struct arena *arena, struct text_pair **ret, size_t *ret_count) {
  if (json_pull_next(pull) != JSON_T_ARRAY)
    return false;
  enum json_token token;
  while ((token = json_pull_next(pull)) == JSON_T_OBJECT) {
    if (!*ret)
      *ret = ARENA_NEW_ARRAY(arena, struct text_pair, LOG_BATCH_PAIRS);
    if (!*ret || *ret_count == LOG_BATCH_PAIRS || !read_pair(pull, &(*ret)[*ret_count]))
      return false;
    (*ret_count)++;
  }
  return token == JSON_T_ARRAY_END;
}

static bool read_log_batch(struct json_pull *pull, struct arena *arena, struct log_batch_body *ret) {
  enum json_token token;
  struct str uuid = STR_NONE;
  if (json_pull_next(pull) != JSON_T_OBJECT)
    return false;
  while ((token = json_pull_next(pull)) == JSON_T_KEY) {
    bool ok;
    if (str_is(pull->text, "metrics")) {
      ok = read_points(pull, &mlflow, 0, LOG_BATCH_METRICS, &ret->rows);
    } else if (str_is(pull->text, "params")) {
      ok = read_pairs(pull, arena, &ret->params, &ret->param_count);
    } else if (str_is(pull->text, "tags")) {
      ok = read_pairs(pull, arena, &ret->tags, &ret->tag_count);
    } else if (str_is(pull->text, "run_id") || str_is(pull->text, "run_uuid")) {
      struct str *to = pull->text.n == 6 ? &ret->run_id : &uuid;
      ok = json_pull_next(pull) == JSON_T_STR && pull->text.n > 0;
      *to = pull->text;
    } else {
      ok = json_pull_skip(pull, json_pull_next(pull));
    }
    if (!ok)
      return false;
  }
  if (!ret->run_id.p)
    ret->run_id = uuid;
  return token == JSON_T_OBJECT_END && json_pull_next(pull) == JSON_T_END;
}

bool log_batch_read(struct str body, struct arena *arena, struct log_batch_body *ret) {
  *ret = (struct log_batch_body){0};
  metric_rows_init(&ret->rows);
  AUTO_JSON_PULL struct json_pull pull;
  json_pull_init(&pull, body, arena);
  return read_log_batch(&pull, arena, ret);
}

bool points_body_read(struct str body, struct arena *arena, int64_t now, struct metric_rows *ret, struct points_stop *ret_stop) {
  metric_rows_init(ret);
  AUTO_JSON_PULL struct json_pull pull;
  json_pull_init(&pull, body, arena);
  bool at_points = json_pull_next(&pull) == JSON_T_OBJECT && json_pull_next(&pull) == JSON_T_KEY && str_is(pull.text, "points");
  bool read = at_points && read_points(&pull, &ours, now, METRIC_ROWS_MAX, ret);
  bool ended = read && json_pull_next(&pull) == JSON_T_OBJECT_END && json_pull_next(&pull) == JSON_T_END;
  *ret_stop = (struct points_stop){.at = body.n - (size_t)(pull.end - pull.at), .is_beside = !at_points || read};
  return ended;
}
