#include "storage/metrics/metric_rows.h"

#include "base/mem.h"

void metric_rows_init(struct metric_rows *rows) {
  *rows = (struct metric_rows){0};
  map_init(&rows->index, METRIC_ROWS_MAX);
}

void metric_rows_release(struct metric_rows *rows) {
  points_release(&rows->points);
  mem_free(rows->series);
  mem_free(rows->keys);
  map_release(&rows->index);
  *rows = (struct metric_rows){0};
}

static bool add_key(struct metric_rows *rows, struct str key, uint32_t *ret) {
  if (key.n > SERIES_KEY_MAX)
    return false;
  uintptr_t place = (uintptr_t)map_get(&rows->index, key); /* from 1 on: NULL is absent */
  if (!place) {
    if (rows->key_count == rows->key_cap) {
      size_t cap = rows->key_cap ? rows->key_cap * 2 : 16;
      struct str *keys = mem_resize(rows->keys, cap, sizeof *keys);
      if (!keys)
        return false;
      rows->keys = keys;
      rows->key_cap = cap;
    }
    place = rows->key_count + 1;
    if (!map_put(&rows->index, key, (void *)place, NULL))
      return false;
    rows->keys[rows->key_count++] = key;
  }
  *ret = (uint32_t)(place - 1);
  return true;
}

/* Writers go round their keys: after one comes the same as after it the last time. */
static bool guess_key(const struct metric_rows *rows, struct str key, uint32_t *ret) {
  size_t n = rows->points.n;
  if (n == 0)
    return false;
  uint32_t last = rows->series[n - 1], next = last + 1 < rows->key_count ? last + 1 : 0;
  *ret = str_eq(rows->keys[next], key) ? next : last;
  return str_eq(rows->keys[*ret], key);
}

bool metric_rows_add(struct metric_rows *rows, struct str key, struct point point) {
  size_t n = rows->points.n;
  if (n == METRIC_ROWS_MAX)
    return false;
  if (n == rows->series_cap) {
    size_t cap = n ? n * 2 : 16;
    uint32_t *series = mem_resize(rows->series, cap, sizeof *series);
    if (!series)
      return false;
    rows->series = series;
    rows->series_cap = cap;
  }
  uint32_t place;
  if ((!guess_key(rows, key, &place) && !add_key(rows, key, &place)) || !points_add(&rows->points, point))
    return false;
  rows->series[n] = place;
  return true;
}

/* The points, series after series, as slices of one set of columns. */
static bool group(const struct metric_rows *rows, size_t from, size_t n, struct points *sorted, struct series_points *slices,
                  size_t *ret_count) {
  AUTO_FREE size_t *at = mem_array(rows->key_count + 1, sizeof *at);
  if (!at || !points_reserve(sorted, n))
    return false;
  for (size_t i = from; i < from + n; i++)
    at[rows->series[i] + 1]++;
  for (size_t k = 1; k <= rows->key_count; k++)
    at[k] += at[k - 1];
  for (size_t i = from; i < from + n; i++) {
    size_t to = at[rows->series[i]]++;
    sorted->step[to] = rows->points.step[i];
    sorted->time[to] = rows->points.time[i];
    sorted->value[to] = rows->points.value[i];
    sorted->epoch[to] = rows->points.epoch[i];
  }
  sorted->n = n;
  *ret_count = 0;
  for (size_t k = 0, start = 0; k < rows->key_count; start = at[k++])
    if (at[k] > start)
      slices[(*ret_count)++] = (struct series_points){rows->keys[k], points_slice(sorted, start, at[k] - start)};
  return true;
}

void metric_rows_put(const struct metric_rows *rows, size_t from, size_t n, struct column_coder *coder, struct buf *out) {
  AUTO_POINTS struct points sorted = {0};
  AUTO_FREE struct series_points *slices = mem_array(rows->key_count, sizeof *slices);
  size_t count;
  if (n > METRIC_BATCH_POINTS)
    out->fail = ERR_INTERNAL;
  else if (!slices || !group(rows, from, n, &sorted, slices, &count))
    out->fail = ERR_NO_MEMORY;
  else
    batch_put(coder, slices, count, out);
}

void metric_rows_fold(const struct metric_rows *rows, struct fold *ret) {
  memset(ret, 0, rows->key_count * sizeof *ret);
  for (size_t i = 0; i < rows->points.n; i++)
    fold_add(&ret[rows->series[i]], points_at(&rows->points, i));
}
