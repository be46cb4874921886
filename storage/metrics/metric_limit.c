#include "base/json.h"
#include "storage/metrics/metric_inside.h"

bool metric_too_many(const struct metric_store *store, struct id run, struct err *err) {
  char id[ID_HEX_LEN + 1];
  id_format(run, id);
  err_set(err, ERR_TOO_LARGE, "a run may have at most %zu metrics, and with these the run %s would have more", store->conf.keys_max, id);
  return err_hint(err, "a metric that is logged again and again keeps its name, and counts in its step");
}

static size_t new_keys(const struct live_run *run, const struct metric_rows *rows) {
  size_t count = 0;
  for (size_t i = 0; i < rows->key_count; i++)
    count += !map_get(&run->series, rows->keys[i]);
  return count;
}

static bool put_keys(const struct metric_rows *rows, struct buf *out, struct err *err) {
  struct json_writer w;
  jw_init(&w, out);
  jw_object(&w);
  for (size_t i = 0; i < rows->key_count; i++) {
    jw_key_str(&w, rows->keys[i]);
    jw_null(&w);
  }
  jw_object_end(&w);
  return buf_ok(out, err);
}

bool metric_takes(const struct metric_store *store, struct id id, const struct metric_rows *rows, struct buf *keys, struct err *err) {
  const struct live_run *run = live_run_find(store, id);
  if (rows->fits)
    return true;
  if (rows->key_count > store->conf.keys_max)
    return metric_too_many(store, id, err);
  if (!run || !run->is_known)
    return put_keys(rows, keys, err);
  if (run->series.count + rows->key_count <= store->conf.keys_max)
    return true;
  size_t more = new_keys(run, rows);
  return more == 0 || run->series.count + more <= store->conf.keys_max || metric_too_many(store, id, err);
}

size_t metric_fit(const struct metric_store *store, struct id id, const struct metric_rows *rows, bool *stays) {
  const struct live_run *run = live_run_find(store, id);
  size_t known = run && run->is_known ? run->series.count : 0;
  size_t room = store->conf.keys_max - MIN_OF(known, store->conf.keys_max);
  size_t refused = 0;
  for (size_t i = 0; i < rows->key_count; i++) {
    bool is_new = !known || !map_get(&run->series, rows->keys[i]);
    stays[i] = !is_new || room > 0;
    room -= is_new && room > 0;
    refused += !stays[i];
  }
  return refused;
}
