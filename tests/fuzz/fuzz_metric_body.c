/* What the quick readers of hot bodies accept is what the tree says: the same points, params and tags, in the same order. */
#include "base/json.h"
#include "tracker/metric_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok) {
  if (!ok)
    __builtin_trap();
}

static double number(const json_t *value) {
  double special = 0;
  if (json_is_string(value))
    must(special_value(json_str(value), &special));
  else
    special = json_number_value(value);
  return special;
}

static bool same_bits(double a, double b) {
  return value_bits(value_canonical(a)) == value_bits(value_canonical(b));
}

static void same_points(const struct metric_rows *rows, const json_t *list, const char *time) {
  must(rows->points.n == json_array_size(list));
  for (size_t i = 0; i < rows->points.n; i++) {
    const json_t *item = json_array_get(list, i);
    must(str_eq(rows->keys[rows->series[i]], json_str(json_object_get(item, "key"))));
    must(same_bits(rows->points.value[i], number(json_object_get(item, "value"))));
    must(rows->points.step[i] == json_integer_value(json_object_get(item, "step")));
    if (json_object_get(item, time))
      must(rows->points.time[i] == json_integer_value(json_object_get(item, time)));
  }
}

static void same_pairs(const struct text_pair *pairs, size_t count, const json_t *list) {
  must(count == json_array_size(list));
  for (size_t i = 0; i < count; i++) {
    must(str_eq(pairs[i].key, json_str(json_object_get(json_array_get(list, i), "key"))));
    must(str_eq(pairs[i].value, json_str(json_object_get(json_array_get(list, i), "value"))));
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str text = str_n((const char *)data, size);
  AUTO_JSON json_t *tree = NULL;
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct err err;
  bool is_json = json_read(text, &tree, &err);
  struct log_batch_body body;
  if (log_batch_read(text, &arena, &body)) {
    must(is_json);
    same_points(&body.rows, json_object_get(tree, "metrics"), "timestamp");
    same_pairs(body.params, body.param_count, json_object_get(tree, "params"));
    same_pairs(body.tags, body.tag_count, json_object_get(tree, "tags"));
    const json_t *id = json_object_get(tree, "run_id");
    must(str_eq(body.run_id, json_str(id ? id : json_object_get(tree, "run_uuid"))));
  }
  metric_rows_release(&body.rows);
  struct metric_rows rows;
  struct points_stop stop;
  if (points_body_read(text, &arena, 77, &rows, &stop)) {
    must(is_json);
    same_points(&rows, json_object_get(tree, "points"), "time");
  }
  must(stop.at <= text.n);
  metric_rows_release(&rows);
  return 0;
}
