#include "tracker/logs/found_points.h"

#include "base/mem.h"

void found_points_release(struct found_points *found) {
  map_release(&found->named);
  arena_release(&found->keys);
  mem_free(found->items);
  *found = FOUND_POINTS_INIT;
}

/* Our copy of the key; STR_NONE without memory. */
static struct str name_of(struct found_points *found, struct str key) {
  if (found->count && str_eq(found->items[found->count - 1].key, key))
    return found->items[found->count - 1].key;
  char *copy = map_get(&found->named, key);
  if (copy)
    return str_n(copy, key.n);
  copy = arena_strdup(&found->keys, key);
  return copy && map_put(&found->named, key, copy, NULL) ? str_n(copy, key.n) : STR_NONE;
}

static bool reserve(struct found_points *found, struct err *err) {
  if (found->count < found->cap)
    return true;
  if (found->count >= FOUND_POINTS_MAX)
    return err_set(err, ERR_TOO_LARGE, "it holds more than %d points", FOUND_POINTS_MAX);
  size_t cap = found->cap ? found->cap * 2 : 64;
  struct found_point *grown = mem_resize(found->items, cap, sizeof *grown);
  if (!grown)
    return err_no_memory(err);
  found->items = grown;
  found->cap = cap;
  return true;
}

bool found_points_take(void *ctx, const struct log_point *points, size_t count, struct err *err) {
  struct found_points *found = ctx;
  if (!count)
    return true;
  found->records += !points[0].line || points[0].line != found->line; /* a line's come from several readers */
  found->line = points[count - 1].line;
  for (size_t i = 0; i < count; i++) {
    if (!reserve(found, err))
      return false;
    struct str key = name_of(found, points[i].key);
    if (!key.p)
      return err_no_memory(err);
    found->items[found->count++] = (struct found_point){.key = key,
                                                        .value = points[i].value,
                                                        .epoch = points[i].epoch,
                                                        .step = points[i].at,
                                                        .record = found->records,
                                                        .time = points[i].time_ms ? points[i].time_ms : found->time};
  }
  return true;
}

bool found_points_rows(const struct found_points *found, size_t from, size_t count, struct metric_rows *rows, struct err *err) {
  for (size_t i = from; i < from + count; i++) {
    const struct found_point *p = &found->items[i];
    struct point point = {.step = p->step, .time = p->time, .value = p->value, .epoch = p->epoch};
    if (!metric_rows_add(rows, p->key, point))
      return err_no_memory(err);
  }
  return true;
}

static uint64_t mix(uint64_t sum, uint64_t word) {
  sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
  return sum ^ (sum >> 29);
}

struct found_sum found_points_sum(const struct found_points *found) {
  struct found_sum sum = {.count = (int64_t)found->count};
  for (size_t i = 0; i < found->count; i++) {
    const struct found_point *p = &found->items[i];
    uint64_t one = p->key.n;
    for (size_t at = 0; at < p->key.n; at++)
      one = mix(one, (unsigned char)p->key.p[at]);
    one = mix(one, (uint64_t)p->step);
    one = mix(one, (uint64_t)p->time);
    sum.mixed ^= mix(one, value_bits(value_canonical(p->value)));
  }
  return sum;
}
