#include "storage/metrics/chunk_points.h"

#include "base/mem.h"

void points_release(struct points *points) {
  mem_free(points->step);
  mem_free(points->time);
  mem_free(points->value);
  mem_free(points->epoch);
  *points = (struct points){0};
}

bool points_reserve(struct points *points, size_t cap) {
  if (cap <= points->cap)
    return true;
  /* Each column that grew stays grown: `cap` is what all of them have. */
  int64_t *step = mem_resize(points->step, cap, sizeof *step);
  points->step = step ? step : points->step;
  int64_t *time = mem_resize(points->time, cap, sizeof *time);
  points->time = time ? time : points->time;
  double *value = mem_resize(points->value, cap, sizeof *value);
  points->value = value ? value : points->value;
  double *epoch = mem_resize(points->epoch, cap, sizeof *epoch);
  points->epoch = epoch ? epoch : points->epoch;
  if (!step || !time || !value || !epoch)
    return false;
  points->cap = cap;
  return true;
}

static bool grow(struct points *points, size_t more) {
  size_t need = points->n + more;
  return need <= points->cap || points_reserve(points, MAX_OF(need, MAX_OF(points->cap * 2, (size_t)16)));
}

bool points_add(struct points *points, struct point point) {
  if (!grow(points, 1))
    return false;
  size_t i = points->n++;
  points->step[i] = point.step;
  points->time[i] = point.time;
  points->value[i] = value_canonical(point.value);
  points->epoch[i] = value_canonical(point.epoch);
  return true;
}

bool points_add_range(struct points *points, const struct points *from, size_t at, size_t n) {
  if (n == 0)
    return true;
  if (!grow(points, n))
    return false;
  memcpy(points->step + points->n, from->step + at, n * sizeof *points->step);
  memcpy(points->time + points->n, from->time + at, n * sizeof *points->time);
  memcpy(points->value + points->n, from->value + at, n * sizeof *points->value);
  memcpy(points->epoch + points->n, from->epoch + at, n * sizeof *points->epoch);
  points->n += n;
  return true;
}

/* Among those that compare as zero: NaN, -0.0, 0.0. */
static int zero_rank(double x) {
  return isnan(x) ? 0 : signbit(x) ? 1 : 2;
}

int value_cmp(double a, double b) {
  double x = isnan(a) ? 0 : a, y = isnan(b) ? 0 : b;
  if (x != y)
    return x < y ? -1 : 1;
  if (x != 0)
    return 0;
  return (zero_rank(a) > zero_rank(b)) - (zero_rank(a) < zero_rank(b));
}

int point_cmp(struct point a, struct point b) {
  if (a.step != b.step)
    return a.step < b.step ? -1 : 1;
  if (a.time != b.time)
    return a.time < b.time ? -1 : 1;
  return value_cmp(a.value, b.value);
}

int point_cmp_history(struct point a, struct point b) {
  if (a.time != b.time)
    return a.time < b.time ? -1 : 1;
  if (a.step != b.step)
    return a.step < b.step ? -1 : 1;
  return value_cmp(a.value, b.value);
}

static inline int cmp_at(const struct points *points, size_t a, size_t b) {
  if (points->step[a] != points->step[b])
    return points->step[a] < points->step[b] ? -1 : 1;
  return point_cmp(points_at(points, a), points_at(points, b));
}

bool points_are_normal(const struct points *points) {
  for (size_t i = 1; i < points->n; i++)
    if (cmp_at(points, i - 1, i) >= 0)
      return false;
  return true;
}

/* Merge sort of an index: stable, so that the first of equals stays. */
static void sort_index(const struct points *points, uint32_t *index, uint32_t *spare, size_t n) {
  if (n < 2)
    return;
  size_t half = n / 2;
  sort_index(points, index, spare, half);
  sort_index(points, index + half, spare, n - half);
  if (cmp_at(points, index[half - 1], index[half]) <= 0)
    return;
  memcpy(spare, index, half * sizeof *index);
  size_t left = 0, right = half, out = 0;
  while (left < half)
    index[out++] = right < n && cmp_at(points, index[right], spare[left]) < 0 ? index[right++] : spare[left++];
}

bool points_normalise(struct points *points) {
  if (points_are_normal(points))
    return true;
  if (points->n > UINT32_MAX)
    return false;
  AUTO_FREE uint32_t *index = mem_array(points->n * 2, sizeof *index);
  AUTO_POINTS struct points sorted = {0};
  if (!index || !points_reserve(&sorted, points->n))
    return false;
  for (size_t i = 0; i < points->n; i++)
    index[i] = (uint32_t)i;
  sort_index(points, index, index + points->n, points->n);
  for (size_t i = 0; i < points->n; i++) {
    if (i && cmp_at(points, index[i - 1], index[i]) == 0)
      continue;
    if (!points_add(&sorted, points_at(points, index[i])))
      return false;
  }
  struct points old = *points;
  *points = sorted;
  sorted = old;
  return true;
}
