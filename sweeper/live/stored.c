#include "sweeper/live/stored.h"

#include "base/mem.h"

enum { KEYS_BYTES_MAX = 4 * 1024 * 1024 };

struct reading {
  struct metric_store *store;
  struct metric_page_ask ask;
  struct arena arena;
  struct spec_texts keys;
  size_t at; /* which of them is being read */
  struct stored_point *points;
  size_t count, cap;
  stored_fn *done;
  void *ctx;
};

static void end(struct reading *r, const struct err *err) {
  r->done(r->ctx, r->points, err ? 0 : r->count, err);
  mem_free(r->points);
  arena_release(&r->arena);
  mem_free(r);
}

/* Texts of one array: the place of a key is told by that of its text. */
static int cmp_points(const void *a, const void *b) {
  const struct stored_point *x = a, *y = b;
  if (x->point.time != y->point.time)
    return x->point.time < y->point.time ? -1 : 1;
  if (x->point.step != y->point.step)
    return x->point.step < y->point.step ? -1 : 1;
  return (x->key.p > y->key.p) - (x->key.p < y->key.p);
}

static bool keep(struct reading *r, const struct points *points, struct err *err) {
  if (points->n > STORED_POINTS_MAX - r->count)
    return err_set(err, ERR_TOO_LARGE, "there are more than %d points", STORED_POINTS_MAX);
  if (points->n > r->cap - r->count) {
    size_t cap = r->count + points->n;
    struct stored_point *bigger = mem_resize(r->points, cap, sizeof *bigger);
    if (!bigger)
      return err_no_memory(err);
    r->points = bigger;
    r->cap = cap;
  }
  for (size_t i = 0; i < points->n; i++)
    r->points[r->count++] = (struct stored_point){points_at(points, i), r->keys.items[r->at]};
  return true;
}

static bool read_key(struct reading *r, struct err *err);

static void on_page(void *ctx, const struct points *points, bool more, const struct err *failed) {
  struct reading *r = ctx;
  struct err err;
  bool ok = !failed && keep(r, points, &err);
  r->ask.has_after = more;
  if (ok && more)
    r->ask.after = points_at(points, points->n - 1);
  else
    r->at++;
  if (!ok) {
    end(r, failed ? failed : &err);
  } else if (r->at == r->keys.count) {
    if (r->count)
      qsort(r->points, r->count, sizeof *r->points, cmp_points);
    end(r, NULL);
  } else if (!read_key(r, &err)) {
    end(r, &err);
  }
}

static bool read_key(struct reading *r, struct err *err) {
  r->ask.key = r->keys.items[r->at];
  return metric_page(r->store, &r->ask, on_page, r, err);
}

static bool copy_keys(struct reading *r, const struct spec_texts *keys, struct err *err) {
  size_t bytes = 0, at = 0;
  for (size_t i = 0; i < keys->count; i++)
    bytes += keys->items[i].n + 1;
  char *texts = arena_alloc(&r->arena, bytes + 1);
  r->keys.items = ARENA_NEW_ARRAY(&r->arena, struct str, keys->count + 1);
  if (!texts || !r->keys.items)
    return err_no_memory(err);
  for (size_t i = 0; i < keys->count; i++) {
    struct str key = keys->items[i];
    memcpy(texts + at, key.p, key.n);
    r->keys.items[r->keys.count++] = str_n(texts + at, key.n);
    at += key.n + 1;
  }
  return keys->count || err_set(err, ERR_INVALID, "no metric is named");
}

bool stored_read(struct metric_store *store, struct id run, int32_t attempt, const struct spec_texts *keys, stored_fn *done, void *ctx,
                 struct err *err) {
  struct reading *r = mem_zalloc(sizeof *r);
  if (!r)
    return err_no_memory(err);
  *r = (struct reading){
      .store = store,
      .ask = {.run = run, .order = METRIC_BY_TIME, .attempt = attempt, .from = INT64_MIN, .to = INT64_MAX, .limit = METRIC_PAGE_MAX},
      .arena = ARENA_INIT(KEYS_BYTES_MAX),
      .done = done,
      .ctx = ctx};
  if (copy_keys(r, keys, err) && read_key(r, err))
    return true;
  arena_release(&r->arena);
  mem_free(r);
  return false;
}
