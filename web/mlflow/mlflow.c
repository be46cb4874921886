#include "web/mlflow/mlflow.h"

#include <math.h>

#include "tracker/names.h"
#include "tracker/packed.h"

/* ---- errors ---- */

/* Codes that MLflow's clients look at. What is not here is INVALID_PARAMETER_VALUE or INTERNAL_ERROR by its status. */
static const struct {
  enum err_code code;
  int status;
  const char *name;
} error_codes[] = {
    {ERR_INVALID, 400, "INVALID_PARAMETER_VALUE"},
    {ERR_NOT_FOUND, 404, "RESOURCE_DOES_NOT_EXIST"},
    {ERR_METHOD, 405, "ENDPOINT_NOT_FOUND"},
    {ERR_EXISTS, 400, "RESOURCE_ALREADY_EXISTS"},
    {ERR_WRONG_STATE, 400, "INVALID_STATE"},
    {ERR_CONFLICT, 409, "RESOURCE_CONFLICT"},
    {ERR_FENCED, 409, "RESOURCE_CONFLICT"},
    {ERR_UNAUTHENTICATED, 401, "UNAUTHENTICATED"},
    {ERR_FORBIDDEN, 403, "PERMISSION_DENIED"},
    {ERR_TOO_LARGE, 400, "INVALID_PARAMETER_VALUE"},
    {ERR_MEDIA_TYPE, 400, "INVALID_PARAMETER_VALUE"},
    {ERR_LIMIT, 429, "REQUEST_LIMIT_EXCEEDED"},
    {ERR_UNSUPPORTED, 501, "NOT_IMPLEMENTED"},
    {ERR_NO_MEMORY, 503, "TEMPORARILY_UNAVAILABLE"},
    {ERR_UNAVAILABLE, 503, "TEMPORARILY_UNAVAILABLE"},
    {ERR_OVERLOADED, 503, "TEMPORARILY_UNAVAILABLE"},
    {ERR_UNKNOWN_OUTCOME, 503, "TEMPORARILY_UNAVAILABLE"},
    {ERR_DEADLINE, 504, "DEADLINE_EXCEEDED"},
    {ERR_CANCELLED, 503, "TEMPORARILY_UNAVAILABLE"},
};

static void put_error(struct buf *body, const char *error_code, const char *message) {
  struct json_writer w;
  jw_init(&w, body);
  jw_object(&w);
  jw_put_text(&w, "error_code", error_code);
  jw_put_text(&w, "message", message);
  jw_object_end(&w);
}

/* There is no other place for a remedy. What is said of a request that is not valid are MLflow's own words, and nothing is added to them.
 */
static const char *message_of(const struct err *err, const char *request_id, char *out, size_t room) {
  if (err_is_inside(err))
    snprintf(out, room, "something went wrong in the service: its log says more, under the request id %s", request_id);
  else if (err->hint[0] && err->code != ERR_INVALID)
    snprintf(out, room, "%s (%s)", err->text, err->hint);
  else
    return err->text;
  return out;
}

static int write_error(const struct http_req *req, const char *request_id, const struct err *err, struct buf *body,
                       const char **ret_content_type) {
  int status = err_info(err->code)->http_status;
  const char *name = status >= 500 ? "INTERNAL_ERROR" : "BAD_REQUEST";
  for (size_t i = 0; i < ARRAY_LEN(error_codes); i++)
    if (error_codes[i].code == err->code) {
      status = error_codes[i].status;
      name = error_codes[i].name;
    }
  struct err told = *err;
  if (err->code == ERR_NOT_FOUND && req && !http_req_route(req)) {
    name = "ENDPOINT_NOT_FOUND";
    err_hint(&told, "of MLflow's protocol, traces, assessments, evaluation datasets, scorers, webhooks and the gateway are left out here");
  }
  char message[sizeof told.text + sizeof told.hint + 8];
  put_error(body, name, message_of(&told, request_id, message, sizeof message));
  *ret_content_type = "application/json";
  return status;
}

const struct route_family mlflow_family = {
    .name = "mlflow", .write_error = write_error, .collapse_slashes = true, .bad_path = "Invalid path"};

void mlflow_reply_error(struct http_req *req, int status, const char *error_code, const char *format, ...) {
  AUTO_BUF struct buf message = BUF_INIT(MIB);
  va_list args;
  va_start(args, format);
  buf_vprintf(&message, format, args);
  va_end(args);
  struct buf body = BUF_INIT(4 * MIB);
  put_error(&body, error_code, buf_text(&message));
  http_reply_json(req, status, &body);
}

void mlflow_reply_done(struct http_req *req) {
  struct buf body = BUF_INIT(16);
  buf_puts(&body, "{}");
  http_reply_json(req, 200, &body);
}

bool mlflow_pg_ok(struct http_req *req, const struct pg_reply *reply) {
  struct err err;
  if (pg_ok(reply, &err))
    return true;
  http_reply_error(req, &err);
  return false;
}

/* ---- requests ---- */

static bool content_type_ok(const struct http_req *req, struct err *err) {
  enum http_method method = http_req_method(req);
  if (method != HTTP_POST && method != HTTP_PUT)
    return true;
  struct str type = http_req_header(req, "Content-Type");
  if (!type.p)
    return err_set(err, ERR_INVALID, "Bad Request. Content-Type header is missing.");
  size_t end = str_find(type, ';');
  if (str_eq_nocase(str_trim(end == SIZE_MAX ? type : str_slice(type, 0, end)), STR("application/json")))
    return true;
  return err_set(err, ERR_INVALID, "Bad Request. Content-Type must be one of ['application/json'].");
}

/* Every parameter an array of its values. */
static bool read_query(struct http_req *req, json_t **ret, struct err *err) {
  AUTO_JSON json_t *tree = json_object();
  if (!tree)
    return err_no_memory(err);
  for (size_t i = 0; i < http_req_param_count(req); i++) {
    const struct http_param *param = http_req_param_at(req, i);
    char name[128];
    if (param->name.n == 0 || param->name.n >= sizeof name)
      continue;
    snprintf(name, sizeof name, "%.*s", STR_ARG(param->name));
    json_t *values = json_object_get(tree, name);
    json_t *value = json_stringn(param->value.p ? param->value.p : "", param->value.n);
    if (!value)
      return err_set(err, ERR_INVALID, "Bad Request. The query is not UTF-8.");
    if (values) {
      if (json_array_append_new(values, value) != 0)
        return err_no_memory(err);
    } else if (json_object_set_new(tree, name, json_pack("[o]", value)) != 0) {
      return err_set(err, ERR_INVALID, "Bad Request. The query is not UTF-8.");
    }
  }
  *ret = tree;
  tree = NULL;
  return true;
}

static bool read_tree(struct http_req *req, json_t **ret_tree, struct err *err) {
  enum http_method method = http_req_method(req);
  if (method == HTTP_GET || method == HTTP_HEAD)
    return read_query(req, ret_tree, err);
  if (!content_type_ok(req, err))
    return false;
  struct str body = http_req_body(req);
  AUTO_JSON json_t *tree = NULL;
  if (str_trim(body).n == 0)
    tree = json_object();
  else if (!json_read_body(body, &tree, err))
    return err_prefix(err, "Bad Request");
  if (json_is_string(tree)) { /* encoded twice by old clients */
    json_t *inner = NULL;
    if (!json_read_body(json_str(tree), &inner, err))
      return err_prefix(err, "Bad Request");
    json_decref(tree);
    tree = inner;
  }
  if (!json_is_object(tree))
    return err_set(err, ERR_INVALID, "Bad Request. The body must be a JSON object.");
  *ret_tree = tree;
  tree = NULL;
  return true;
}

bool mlflow_missing(struct err *err, const char *parameter) {
  return err_set(err, ERR_INVALID,
                 "Missing value for required parameter '%s'. See the API docs for more information about request parameters.", parameter);
}

bool mlflow_bad_type(struct err *err, const char *parameter, const json_t *value) {
  static const char *const names[] = {
      [JSON_OBJECT] = "dict", [JSON_ARRAY] = "list", [JSON_STRING] = "str", [JSON_INTEGER] = "int",
      [JSON_REAL] = "float",  [JSON_TRUE] = "bool",  [JSON_FALSE] = "bool", [JSON_NULL] = "NoneType",
  };
  char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
  err_set(
      err, ERR_INVALID,
      "Invalid value %.200s for parameter '%s' supplied:  Hint: Value was of type '%s'. See the API docs for more information about request "
      "parameters.",
      text ? text : "", parameter, names[json_typeof(value)]);
  free(text); /* jansson's own allocator */
  return false;
}

static bool number_of(const json_t *value, double *ret) {
  if (json_is_number(value)) {
    *ret = json_number_value(value);
    return true;
  }
  if (json_is_boolean(value)) {
    *ret = json_is_true(value) ? 1 : 0;
    return true;
  }
  struct str text = json_str(value);
  return text.p && str_to_f64(text, ret);
}

bool mlflow_whole(const json_t *value, int64_t *ret) {
  if (json_is_integer(value)) {
    *ret = json_integer_value(value);
    return true;
  }
  if (json_is_real(value)) {
    double real = json_real_value(value);
    if (!(fabs(real) < 9007199254740992.0) || real != floor(real))
      return false;
    *ret = (int64_t)real;
    return true;
  }
  struct str text = json_str(value);
  return text.p && str_to_i64(text, ret);
}

static bool copy_text(struct http_req *req, struct str text, struct str *ret, struct err *err) {
  struct arena *arena = http_req_arena(req);
  if (text.n >= arena->max - MIN_OF(arena->used, arena->max)) /* to try again would not help */
    return err_set(err, ERR_TOO_LARGE, "the texts of the request are too long");
  const char *copy = arena_strdup(arena, text);
  if (!copy)
    return err_no_memory(err);
  *ret = str_n(copy, text.n);
  return true;
}

static bool decode_bool(const struct mlflow_field *field, const json_t *value, bool *ret, struct err *err) {
  struct str text = json_str(value);
  if (json_is_boolean(value))
    *ret = json_is_true(value);
  else if (text.p && str_eq_nocase(text, STR("true")))
    *ret = true;
  else if (text.p && str_eq_nocase(text, STR("false")))
    *ret = false;
  else if (text.p)
    return err_set(err, ERR_INVALID, "Invalid boolean value: %.*s, must be 'true' or 'false'.", STR_ARG(str_slice(text, 0, 100)));
  else
    return mlflow_bad_type(err, field->name, value);
  return true;
}

static bool decode_field(struct http_req *req, const struct mlflow_field *field, const json_t *value, char *base, struct err *err) {
  void *at = base + field->offset;
  switch (field->type) {
  case MLFLOW_ID:
    if (json_is_integer(value)) {
      char text[24];
      snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
      return copy_text(req, str_of(text), at, err);
    }
    FALLTHROUGH;
  case MLFLOW_STR:
    if (!json_is_string(value))
      return mlflow_bad_type(err, field->name, value);
    return copy_text(req, json_str(value), at, err);
  case MLFLOW_INT:
    return mlflow_whole(value, at) || mlflow_bad_type(err, field->name, value);
  case MLFLOW_FLOAT:
    return number_of(value, at) || mlflow_bad_type(err, field->name, value);
  case MLFLOW_BOOL:
    return decode_bool(field, value, at, err);
  case MLFLOW_ARRAY:
    if (!json_is_array(value))
      return mlflow_bad_type(err, field->name, value);
    FALLTHROUGH;
  case MLFLOW_ANY:
    *(const json_t **)at = value;
    return true;
  }
  return false;
}

static bool decode(struct http_req *req, const json_t *tree, const struct mlflow_field *fields, size_t count, void *ret, struct err *err) {
  enum http_method method = http_req_method(req);
  bool is_query = method == HTTP_GET || method == HTTP_HEAD;
  for (size_t i = 0; i < count; i++) {
    const struct mlflow_field *field = &fields[i];
    const json_t *value = json_object_get(tree, field->name);
    if (is_query && value && field->type != MLFLOW_ARRAY)
      value = json_array_get(value, 0);
    bool no_text = json_is_string(value) && json_string_length(value) == 0 && field->type != MLFLOW_ARRAY;
    bool empty = !value || json_is_null(value) || no_text;
    if (empty && field->required)
      return mlflow_missing(err, field->name);
    if (!value || json_is_null(value) || (empty && field->type != MLFLOW_STR && field->type != MLFLOW_ID && field->type != MLFLOW_ANY))
      continue;
    if (!decode_field(req, field, value, ret, err))
      return false;
    if (field->present_at)
      *(bool *)((char *)ret + field->present_at) = true;
  }
  return true;
}

bool mlflow_args(struct http_req *req, const struct mlflow_field *fields, size_t count, void *ret, json_t **ret_tree) {
  struct err err;
  json_t *tree = NULL;
  if (read_tree(req, &tree, &err) && decode(req, tree, fields, count, ret, &err)) {
    *ret_tree = tree;
    return true;
  }
  json_decref(tree);
  http_reply_error(req, &err);
  return false;
}

bool mlflow_strings(struct http_req *req, const json_t *array, const char *name, const struct str **ret, size_t *ret_count,
                    struct err *err) {
  size_t count = json_array_size(array);
  struct str *texts = ARENA_NEW_ARRAY(http_req_arena(req), struct str, count ? count : 1);
  if (!texts)
    return err_no_memory(err);
  for (size_t i = 0; i < count; i++) {
    const json_t *item = json_array_get(array, i);
    if (!json_is_string(item) && !json_is_integer(item))
      return mlflow_bad_type(err, name, array);
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)json_integer_value(item));
    if (!copy_text(req, json_is_string(item) ? json_str(item) : str_of(number), &texts[i], err))
      return false;
  }
  *ret = texts;
  *ret_count = count;
  return true;
}

bool mlflow_no_experiment(struct err *err, struct str id) {
  return err_set(err, ERR_NOT_FOUND, "No Experiment with id=%.*s exists", STR_ARG(str_slice(id, 0, 100)));
}

bool mlflow_experiment_id(struct str text, int64_t *ret, struct err *err) {
  return str_to_i64(text, ret) || mlflow_no_experiment(err, text);
}

bool mlflow_no_run(struct err *err, struct id id) {
  char hex[ID_HEX_LEN + 1];
  id_format(id, hex);
  return err_set(err, ERR_NOT_FOUND, "Run with id=%s not found", hex);
}

bool mlflow_run_deleted(struct err *err, struct id id) {
  char hex[ID_HEX_LEN + 1];
  id_format(id, hex);
  return err_set(err, ERR_INVALID, "The run %s must be in the 'active' state. Current state is deleted.", hex);
}

bool mlflow_run_id(struct str run_id, struct str run_uuid, struct id *ret, struct err *err) {
  struct str text = run_id.p && run_id.n ? run_id : run_uuid;
  if (!text.p || text.n == 0)
    return mlflow_missing(err, "run_id");
  if (!run_id_check(text, "run_id", err))
    return false;
  if (text.n == ID_HEX_LEN && id_parse(text, ret))
    return true;
  return err_set(err, ERR_NOT_FOUND, "Run with id=%.*s not found", STR_ARG(text));
}

bool mlflow_view(struct str text, const char *parameter, unsigned *ret_view, struct err *err) {
  static const struct {
    const char *name, *number;
    unsigned view; /* enum search_view */
  } views[] = {{"ACTIVE_ONLY", "1", 0}, {"DELETED_ONLY", "2", 1}, {"ALL", "3", 2}};
  *ret_view = 0;
  if (!text.p || text.n == 0)
    return true;
  for (size_t i = 0; i < ARRAY_LEN(views); i++)
    if (str_is(text, views[i].name) || str_is(text, views[i].number)) {
      *ret_view = views[i].view;
      return true;
    }
  return err_set(err, ERR_INVALID, "Invalid value \"%.*s\" for parameter '%s' supplied.", STR_ARG(str_slice(text, 0, 100)), parameter);
}

static bool pack_item(const json_t *array, const json_t *item, size_t i, const char *name, mlflow_check_fn *check, const char *skip,
                      json_t *packed, struct err *err) {
  const json_t *key = json_object_get(item, "key"), *value = json_object_get(item, "value");
  char path[64], key_path[72];
  snprintf(path, sizeof path, "%s[%zu]", name, i);
  snprintf(key_path, sizeof key_path, "%s.key", path);
  if (!json_is_object(item))
    return mlflow_bad_type(err, name, array);
  if (!key || json_is_null(key) || (json_is_string(key) && json_string_length(key) == 0))
    return mlflow_missing(err, key_path);
  if (!json_is_string(key) || (value && !json_is_string(value) && !json_is_null(value)))
    return mlflow_bad_type(err, name, array);
  struct str text = json_is_string(value) ? json_str(value) : STR("");
  if (!check(json_str(key), &text, path, err))
    return false;
  if (skip && strcmp(json_string_value(key), skip) == 0)
    return true;
  return json_object_set_new(packed, json_string_value(key), json_stringn(text.p, text.n)) == 0 || err_no_memory(err);
}

bool mlflow_pack(const json_t *array, const char *name, mlflow_check_fn *check, const char *skip, struct buf *out, struct err *err) {
  AUTO_JSON json_t *packed = json_object();
  if (!packed)
    return err_no_memory(err);
  if (array && !json_is_array(array) && !json_is_null(array))
    return mlflow_bad_type(err, name, array);
  size_t i;
  json_t *item;
  json_array_foreach(array, i, item) {
    if (!pack_item(array, item, i, name, check, skip, packed, err))
      return false;
  }
  struct packed_writer w;
  const char *key;
  packed_begin(&w, out);
  json_object_foreach(packed, key, item) packed_put(&w, str_of(key), json_str(item));
  packed_end(&w);
  return buf_ok(out, err);
}

bool mlflow_pack_one(struct str key, struct str value, struct buf *out, struct err *err) {
  struct packed_writer w;
  packed_begin(&w, out);
  packed_put(&w, key, value.p ? value : STR(""));
  packed_end(&w);
  return buf_ok(out, err);
}

/* ---- answers ---- */

void mlflow_put_id(struct json_writer *w, const char *key, struct id id) {
  char hex[ID_HEX_LEN + 1];
  id_format(id, hex);
  jw_put_str(w, key, str_n(hex, ID_HEX_LEN));
}

static void put_number_text(struct json_writer *w, const char *key, int64_t value) {
  char text[21];
  jw_put_str(w, key, str_n(text, str_from_i64(value, text)));
}

static void put_pair(struct json_writer *w, struct str key, struct str value) {
  jw_object(w);
  jw_key(w, "key");
  jw_raw(w, key);
  jw_key(w, "value");
  jw_raw(w, value);
  jw_object_end(w);
}

void mlflow_put_pairs(struct json_writer *w, const char *key, struct str packed) {
  if (packed_is_empty(packed))
    return;
  struct str name, value;
  jw_key(w, key);
  jw_array(w);
  for (size_t cursor = 0; packed_next(packed, &cursor, &name, &value);)
    put_pair(w, name, value);
  jw_array_end(w);
}

void mlflow_put_run_info(struct json_writer *w, const struct run_row *run) {
  jw_object(w);
  mlflow_put_id(w, "run_id", run->id);
  mlflow_put_id(w, "run_uuid", run->id);
  jw_put_str(w, "run_name", run->name);
  put_number_text(w, "experiment_id", run->experiment_id);
  jw_put_str(w, "user_id", run->user_id);
  jw_put_text(w, "status", run_state_status(run->state));
  jw_put_i64(w, "start_time", run->start_time);
  if (run->end_time != INT64_MIN)
    jw_put_i64(w, "end_time", run->end_time);
  jw_put_str(w, "artifact_uri", run->artifact_uri);
  jw_put_text(w, "lifecycle_stage", run->deleted_at == INT64_MIN ? "active" : "deleted");
  jw_object_end(w);
}

/* "loss": "value step time ..." */
static void put_metric(struct json_writer *w, const struct run_row *run, struct str key, struct str packed) {
  struct str items[METRIC_ITEMS];
  if (!packed_metric(packed, items))
    return;
  jw_object(w);
  jw_key(w, "key");
  jw_raw(w, key);
  jw_key(w, "value");
  jw_raw(w, items[METRIC_LAST]);
  jw_key(w, "timestamp");
  jw_raw(w, items[METRIC_TIME]);
  jw_key(w, "step");
  jw_raw(w, items[METRIC_STEP]);
  mlflow_put_id(w, "run_id", run->id);
  jw_object_end(w);
}

/* The tags that are not stored: the name, and a trial's parent. */
static void put_tags(struct json_writer *w, const struct run_row *run) {
  bool named = run->name.n > 0;
  bool has_parent = run->is_trial && run->kind == 0 && !packed_get(run->tags, "mlflow.parentRunId").p;
  if (!named && !has_parent && packed_is_empty(run->tags))
    return;
  struct str name, value;
  jw_key(w, "tags");
  jw_array(w);
  for (size_t cursor = 0; packed_next(run->tags, &cursor, &name, &value);)
    put_pair(w, name, value);
  if (named) {
    jw_object(w);
    jw_put_text(w, "key", "mlflow.runName");
    jw_put_str(w, "value", run->name);
    jw_object_end(w);
  }
  if (has_parent) {
    jw_object(w);
    jw_put_text(w, "key", "mlflow.parentRunId");
    mlflow_put_id(w, "value", run->sweep_id);
    jw_object_end(w);
  }
  jw_array_end(w);
}

static void put_run_data(struct json_writer *w, const struct run_row *run) {
  struct str key, value;
  jw_object(w);
  if (!packed_is_empty(run->metrics)) {
    jw_key(w, "metrics");
    jw_array(w);
    for (size_t cursor = 0; packed_next(run->metrics, &cursor, &key, &value);)
      put_metric(w, run, key, value);
    jw_array_end(w);
  }
  mlflow_put_pairs(w, "params", run->params);
  put_tags(w, run);
  jw_object_end(w);
}

void mlflow_put_run(struct json_writer *w, const struct run_row *run) {
  jw_object(w);
  jw_key(w, "info");
  mlflow_put_run_info(w, run);
  jw_key(w, "data");
  put_run_data(w, run);
  jw_key(w, "inputs");
  jw_object(w);
  if (run->dataset_inputs.p) {
    jw_key(w, "dataset_inputs");
    jw_raw(w, run->dataset_inputs);
  }
  if (run->model_inputs.p) {
    jw_key(w, "model_inputs");
    jw_raw(w, run->model_inputs);
  }
  jw_object_end(w);
  if (run->model_outputs.p) {
    jw_key(w, "outputs");
    jw_object(w);
    jw_key(w, "model_outputs");
    jw_raw(w, run->model_outputs);
    jw_object_end(w);
  }
  jw_object_end(w);
}

void mlflow_put_experiment(struct json_writer *w, const struct experiment_row *experiment) {
  jw_object(w);
  put_number_text(w, "experiment_id", experiment->id);
  jw_put_str(w, "name", experiment->name);
  jw_put_str(w, "artifact_location", experiment->artifact_location);
  jw_put_text(w, "lifecycle_stage", experiment->deleted_at == INT64_MIN ? "active" : "deleted");
  jw_put_i64(w, "last_update_time", experiment->updated);
  jw_put_i64(w, "creation_time", experiment->created);
  mlflow_put_pairs(w, "tags", experiment->tags);
  jw_object_end(w);
}
