#include "sampler/parzen.h"

#include <float.h>
#include <math.h>

#include "base/mem.h"
#include "sampler/normal.h"
#include "sampler/parzen_kernel.h"

enum {
  BLOCK = 256,
  FEW = 64,
  STRETCH = 256, /* after so many kernels a point is looked at again, then after twice as many ... */
};
/* What rounding may hide of a density, as a logarithm. */
#define RATIO_SLACK 1e-4

/* One coordinate of all kernels. */
struct axis {
  struct parzen_axis form;
  /* continuous */
  float *mu, *log_norm;
  float *inverse_width; /* over the root of two, so that its square is the exponent */
  uint32_t *order;      /* kernels that are on, by mu, then by age */
  /* cells */
  uint8_t *cell;
  uint32_t *occupied; /* how many kernels that are on sit in each cell */
  double *width;      /* of the kernels in each cell; NaN: not known */
  float *table;       /* [drawn cell][kernel's cell]: ln of the mass, for ordered axes */
  float *prior;       /* ln of the mass of each cell */
  size_t room;        /* where its row lies in the scratch memory, for axes without order */
};

struct parzen {
  struct parzen_settings settings;
  size_t axis_count;
  size_t rooms; /* cells of all axes without order */
  struct axis *axes;
  size_t count, cap, on_count;
  double floor; /* the narrowest width for this many kernels */
  bool loose;   /* orders, widths and bases are not kept */
  uint8_t *on;
  float *base; /* sum of log_norm, or far below anything when off */
  float *weight;
};

#define OFF (-1e30f)
#define LOG_SQRT_2PI 0.91893853320467274178
#define SQRT_HALF 0.70710678118654752440

/* ---- making ---- */

static bool init_cells(struct axis *axis) {
  size_t m = axis->form.cells;
  axis->occupied = mem_array(m, sizeof *axis->occupied);
  axis->width = mem_array(m, sizeof *axis->width);
  axis->prior = mem_array(m, sizeof *axis->prior);
  if (!axis->occupied || !axis->width || !axis->prior)
    return false;
  axis->table = axis->form.ordered ? mem_array(m * m, sizeof *axis->table) : NULL;
  if (axis->form.ordered && !axis->table)
    return false;
  double whole = normal_cdf(0.5) - normal_cdf(-0.5);
  for (size_t c = 0; c < m; c++) {
    double from = axis->form.edges[c], to = axis->form.edges[c + 1];
    double mass = axis->form.ordered ? (normal_cdf(to - 0.5) - normal_cdf(from - 0.5)) / whole : to - from;
    axis->prior[c] = (float)log(fmax(mass, 1e-30));
    axis->width[c] = NAN;
  }
  return true;
}

bool parzen_new(const struct parzen_axis *axes, size_t axis_count, const struct parzen_settings *settings, struct parzen **ret,
                struct err *err) {
  struct parzen *parzen = mem_zalloc(sizeof *parzen);
  if (!parzen)
    return err_no_memory(err);
  parzen->settings = *settings;
  parzen->floor = 1;
  parzen->axes = mem_array(axis_count, sizeof *parzen->axes);
  if (!parzen->axes) {
    parzen_free(parzen);
    return err_no_memory(err);
  }
  for (; parzen->axis_count < axis_count; parzen->axis_count++) {
    struct axis *axis = &parzen->axes[parzen->axis_count];
    axis->form = axes[parzen->axis_count];
    axis->room = parzen->rooms;
    parzen->rooms += axis->form.ordered ? 0 : axis->form.cells;
    if (axis->form.cells && !init_cells(axis)) {
      parzen->axis_count++;
      parzen_free(parzen);
      return err_no_memory(err);
    }
  }
  *ret = parzen;
  return true;
}

void parzen_free(struct parzen *parzen) {
  if (!parzen)
    return;
  for (size_t i = 0; i < parzen->axis_count; i++) {
    struct axis *axis = &parzen->axes[i];
    mem_free(axis->mu), mem_free(axis->inverse_width), mem_free(axis->log_norm), mem_free(axis->order);
    mem_free(axis->cell), mem_free(axis->occupied), mem_free(axis->width), mem_free(axis->table), mem_free(axis->prior);
  }
  mem_free(parzen->axes);
  mem_free(parzen->on), mem_free(parzen->base), mem_free(parzen->weight);
  mem_free(parzen);
}

static bool resize(void *pointer_to_array, size_t count, size_t size) {
  void *old;
  memcpy(&old, pointer_to_array, sizeof old);
  void *grown = mem_resize(old, count, size);
  if (grown)
    memcpy(pointer_to_array, &grown, sizeof grown);
  return grown != NULL;
}

bool parzen_reserve(struct parzen *parzen, size_t kernels, struct err *err) {
  if (kernels <= parzen->cap)
    return true;
  size_t cap = MAX_OF(kernels, parzen->cap + parzen->cap / 2 + 64);
  bool ok = resize(&parzen->on, cap, sizeof *parzen->on) && resize(&parzen->base, cap, sizeof *parzen->base) &&
            resize(&parzen->weight, cap, sizeof *parzen->weight);
  for (size_t i = 0; ok && i < parzen->axis_count; i++) {
    struct axis *axis = &parzen->axes[i];
    if (axis->form.cells)
      ok = resize(&axis->cell, cap, sizeof *axis->cell);
    else
      ok = resize(&axis->mu, cap, sizeof *axis->mu) && resize(&axis->inverse_width, cap, sizeof *axis->inverse_width) &&
           resize(&axis->log_norm, cap, sizeof *axis->log_norm) && resize(&axis->order, cap, sizeof *axis->order);
  }
  if (!ok)
    return err_no_memory(err);
  parzen->cap = cap;
  return true;
}

static unsigned cell_of(const struct parzen_axis *form, double u) {
  unsigned low = 0, high = form->cells - 1; /* the first whose upper edge passes u */
  while (low < high) {
    unsigned middle = (low + high) / 2;
    if (form->edges[middle + 1] > u)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

void parzen_add(struct parzen *parzen, const double *u) {
  size_t kernel = parzen->count++;
  parzen->on[kernel] = 0;
  parzen->base[kernel] = OFF;
  for (size_t i = 0; i < parzen->axis_count; i++) {
    struct axis *axis = &parzen->axes[i];
    if (axis->form.cells) {
      axis->cell[kernel] = (uint8_t)cell_of(&axis->form, u[i]);
    } else {
      axis->mu[kernel] = (float)fmin(fmax(u[i], 0), 1);
      axis->inverse_width[kernel] = 1;
      axis->log_norm[kernel] = 0;
    }
  }
}

size_t parzen_count(const struct parzen *parzen) {
  return parzen->count;
}
size_t parzen_on(const struct parzen *parzen) {
  return parzen->on_count;
}
/* ---- widths ---- */

static double narrowest(const struct parzen *parzen) {
  double counted = (double)parzen->on_count + 2; /* the prior is one of the kernels */
  return fmax(1 / (counted * counted), parzen->settings.min_width);
}

/* The distance to the farther neighbour; the first and the last have only an inner one; one alone has the ends of the range. */
static double neighbour_width(const struct axis *axis, size_t at, size_t n) {
  double mu = axis->mu[axis->order[at]];
  if (n == 1)
    return fmax(mu, 1 - mu);
  double left = at > 0 ? mu - axis->mu[axis->order[at - 1]] : 0;
  double right = at + 1 < n ? axis->mu[axis->order[at + 1]] - mu : 0;
  return fmax(left, right);
}

static void set_base(struct parzen *parzen, size_t kernel) {
  float sum = 0;
  for (size_t i = 0; i < parzen->axis_count; i++)
    if (!parzen->axes[i].form.cells)
      sum += parzen->axes[i].log_norm[kernel];
  parzen->base[kernel] = parzen->on[kernel] ? sum : OFF;
}

/* ln of what turns exp(-t^2/2) into the density of a Gaussian cut off at 0 and 1 */
static double log_norm(double mu, double width) {
  return -log(width) - LOG_SQRT_2PI - log(normal_cdf((1 - mu) / width) - normal_cdf(-mu / width));
}

static void set_width(struct parzen *parzen, struct axis *axis, size_t at) {
  size_t kernel = axis->order[at];
  double width = fmin(fmax(neighbour_width(axis, at, parzen->on_count), parzen->floor), 1);
  float inverse = (float)(SQRT_HALF / width);
  if (axis->inverse_width[kernel] == inverse && axis->log_norm[kernel] != 0)
    return;
  axis->inverse_width[kernel] = inverse; /* and of this alone comes the norm, so that no way to the same width gives another */
  axis->log_norm[kernel] = (float)log_norm(axis->mu[kernel], SQRT_HALF / (double)inverse);
  set_base(parzen, kernel);
}

/* Where a kernel stands in the order, or would stand. */
static size_t order_place(const struct axis *axis, size_t n, size_t kernel) {
  size_t low = 0, high = n;
  while (low < high) {
    size_t middle = (low + high) / 2, other = axis->order[middle];
    if (axis->mu[other] < axis->mu[kernel] || (axis->mu[other] == axis->mu[kernel] && other < kernel))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void order_insert(struct axis *axis, size_t n, size_t kernel, size_t *ret_at) {
  size_t at = order_place(axis, n, kernel);
  memmove(axis->order + at + 1, axis->order + at, (n - at) * sizeof *axis->order);
  axis->order[at] = (uint32_t)kernel;
  *ret_at = at;
}

static void order_remove(struct axis *axis, size_t n, size_t kernel, size_t *ret_at) {
  size_t at = order_place(axis, n, kernel);
  memmove(axis->order + at, axis->order + at + 1, (n - at - 1) * sizeof *axis->order);
  *ret_at = at;
}

void parzen_switch(struct parzen *parzen, size_t kernel, bool on) {
  if (parzen->on[kernel] == on)
    return;
  size_t before = parzen->on_count;
  parzen->on[kernel] = on;
  parzen->on_count = on ? before + 1 : before - 1;
  double floor_before = parzen->floor;
  parzen->floor = narrowest(parzen);
  for (size_t i = 0; i < parzen->axis_count; i++) {
    struct axis *axis = &parzen->axes[i];
    if (axis->form.cells) {
      axis->occupied[axis->cell[kernel]] += on ? 1 : (uint32_t)-1;
      continue;
    }
    if (parzen->loose)
      continue;
    size_t at;
    if (on)
      order_insert(axis, before, kernel, &at);
    else
      order_remove(axis, before, kernel, &at);
    size_t first = at > 0 ? at - 1 : 0, last = MIN_OF(at + 2, parzen->on_count);
    if (parzen->floor != floor_before)
      first = 0, last = parzen->on_count;
    for (size_t k = first; k < last; k++)
      set_width(parzen, axis, k);
  }
  set_base(parzen, kernel);
}

void parzen_loosen(struct parzen *parzen) {
  parzen->loose = true;
}

static int by_mu(const void *a, const void *b, void *ctx) {
  const struct axis *axis = ctx;
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  float mu = axis->mu[x], other = axis->mu[y];
  return mu != other ? (mu > other) - (mu < other) : (x > y) - (x < y);
}

static void set_all_widths(struct parzen *parzen) {
  for (size_t i = 0; i < parzen->axis_count; i++)
    for (size_t k = 0; k < parzen->on_count && !parzen->axes[i].form.cells; k++)
      set_width(parzen, &parzen->axes[i], k);
  for (size_t k = 0; k < parzen->count; k++)
    set_base(parzen, k);
}

void parzen_tighten(struct parzen *parzen) {
  if (!parzen->loose)
    return;
  parzen->loose = false;
  for (size_t i = 0; i < parzen->axis_count; i++) {
    struct axis *axis = &parzen->axes[i];
    bool few = parzen->on_count <= FEW;
    size_t n = 0, at;
    for (size_t k = 0; k < parzen->count && !axis->form.cells; k++)
      if (parzen->on[k] && few)
        order_insert(axis, n++, k, &at);
      else if (parzen->on[k])
        axis->order[n++] = (uint32_t)k;
    if (n && !few)
      qsort_r(axis->order, n, sizeof *axis->order, by_mu, axis);
  }
  set_all_widths(parzen);
}

/* Numbers kernels anew, without those that `place` has no place for. */
static void move_axis(struct axis *axis, const uint32_t *place, size_t count, size_t on_count) {
  for (size_t k = 0; k < count; k++) {
    size_t to = place[k];
    if (to == UINT32_MAX)
      continue;
    if (axis->form.cells) {
      axis->cell[to] = axis->cell[k];
      continue;
    }
    axis->mu[to] = axis->mu[k];
    axis->inverse_width[to] = axis->inverse_width[k];
    axis->log_norm[to] = axis->log_norm[k];
  }
  for (size_t k = 0, n = 0; k < on_count && !axis->form.cells; k++)
    if (place[axis->order[k]] != UINT32_MAX)
      axis->order[n++] = place[axis->order[k]];
}

bool parzen_keep(struct parzen *parzen, const bool *wanted, struct err *err) {
  uint32_t *place = mem_array(parzen->count, sizeof *place);
  size_t kept = 0, was_on = parzen->on_count;
  if (!place)
    return err_no_memory(err);
  for (size_t k = 0; k < parzen->count; k++) {
    place[k] = wanted[k] ? (uint32_t)kept++ : UINT32_MAX;
    for (size_t i = 0; i < parzen->axis_count && !wanted[k] && parzen->on[k]; i++)
      if (parzen->axes[i].form.cells)
        parzen->axes[i].occupied[parzen->axes[i].cell[k]]--;
    parzen->on_count -= !wanted[k] && parzen->on[k];
    if (wanted[k])
      parzen->on[kept - 1] = parzen->on[k];
  }
  for (size_t i = 0; i < parzen->axis_count; i++)
    move_axis(&parzen->axes[i], place, parzen->count, parzen->loose ? 0 : was_on);
  parzen->count = kept;
  parzen->floor = narrowest(parzen);
  if (!parzen->loose)
    set_all_widths(parzen);
  mem_free(place);
  return true;
}

/* ---- cells ---- */

static double cell_middle(const struct parzen_axis *form, size_t cell) {
  return (form->edges[cell] + form->edges[cell + 1]) / 2;
}

/* As on continuous axes, where equal kernels are neighbours at no distance; but never so narrow that neighbours of a cell get nothing. */
static double cell_width(const struct parzen *parzen, const struct axis *axis, size_t cell) {
  const struct parzen_axis *form = &axis->form;
  double mu = cell_middle(form, cell), left = -1, right = -1;
  for (size_t c = cell; c-- > 0 && left < 0;)
    if (axis->occupied[c])
      left = mu - cell_middle(form, c);
  for (size_t c = cell + 1; c < form->cells && right < 0; c++)
    if (axis->occupied[c])
      right = cell_middle(form, c) - mu;
  double width = left < 0 && right < 0 ? fmax(mu, 1 - mu) : fmax(left, right);
  if (axis->occupied[cell] > 1)
    width = 0;
  double least = 0.5 * (form->edges[cell + 1] - form->edges[cell]);
  return fmin(fmax(width, fmax(parzen->floor, least)), 1);
}

static double cell_mass(const struct parzen_axis *form, double mu, double width, size_t cell) {
  double whole = normal_cdf((1 - mu) / width) - normal_cdf(-mu / width);
  return (normal_cdf((form->edges[cell + 1] - mu) / width) - normal_cdf((form->edges[cell] - mu) / width)) / whole;
}

/* Brings the table of an ordered axis up to date. */
static void refresh_table(const struct parzen *parzen, struct axis *axis) {
  size_t m = axis->form.cells;
  for (size_t c = 0; c < m; c++) {
    if (!axis->occupied[c])
      continue;
    double width = cell_width(parzen, axis, c), mu = cell_middle(&axis->form, c);
    if (width == axis->width[c])
      continue;
    axis->width[c] = width;
    for (size_t drawn = 0; drawn < m; drawn++)
      axis->table[drawn * m + c] = (float)log(fmax(cell_mass(&axis->form, mu, width, drawn), 1e-30));
  }
}

/* ln of the mass that kernels at each choice give to the drawn one. */
static void choice_row(const struct parzen *parzen, const struct axis *axis, size_t drawn, float *ret_row) {
  size_t m = axis->form.cells;
  double kernels = (double)parzen->on_count + 1, whole = 1 + (double)m / kernels;
  float other = (float)log((1 / kernels) / whole);
  for (size_t c = 0; c < m; c++)
    ret_row[c] = other;
  ret_row[drawn] = (float)log((1 + 1 / kernels) / whole);
}

/* ---- density ---- */

/* Weights by age over the kernels that are on; the prior's is 1. Returns the sum with the prior. */
static double set_weights(struct parzen *parzen) {
  size_t n = parzen->on_count, full = parzen->settings.full_weight, older = n > full ? n - full : 0;
  double first = n ? 1 / (double)n : 1, step = older > 1 ? (1 - first) / (double)(older - 1) : 0;
  size_t age = 0;
  for (size_t k = 0; k < parzen->count;) {
    const uint8_t *off = memchr(parzen->on + k, 0, parzen->count - k);
    size_t end = off ? (size_t)(off - parzen->on) : parzen->count;
    for (; k < end && age < older; k++)
      parzen->weight[k] = (float)(first + step * (double)age++);
    age += end - k;
    for (; k < end; k++)
      parzen->weight[k] = 1;
    if (k < parzen->count)
      parzen->weight[k++] = 0;
  }
  return 1 + (double)(n - older) + (double)older * (first + step * ((double)older - 1) / 2);
}

static double log_prior(const struct parzen *parzen, const double *u) {
  static const double log_whole = -0.95991633369562235; /* ln(Phi(1/2) - Phi(-1/2)) */
  double sum = 0;
  for (size_t i = 0; i < parzen->axis_count; i++) {
    const struct axis *axis = &parzen->axes[i];
    sum += axis->form.cells ? (double)axis->prior[(size_t)u[i]] : normal_log_pdf(u[i] - 0.5) - log_whole;
  }
  return sum;
}

/* Points, and what the kernels that have been gone through come to at each: sum * exp(top), the largest exponent taken out so that neither
 * end of the range is left. */
struct sums {
  const double *u;
  double log_weights, *log_prior;
  float *top, *sum, *rooms;
};

size_t parzen_work(const struct parzen *parzen, size_t count) {
  return count * (sizeof(double) + (2 + parzen->rooms) * sizeof(float));
}

static struct sums begin_sums(struct parzen *parzen, const double *u, size_t count, void *work) {
  struct sums s = {.u = u, .log_weights = log(set_weights(parzen)), .log_prior = work};
  size_t axes = parzen->axis_count;
  s.top = (float *)(s.log_prior + count);
  s.sum = s.top + count;
  s.rooms = s.sum + count;
  for (size_t i = 0; i < axes; i++) {
    struct axis *axis = &parzen->axes[i];
    if (axis->form.cells && axis->form.ordered)
      refresh_table(parzen, axis);
    for (size_t c = 0; axis->form.cells && !axis->form.ordered && c < count; c++)
      choice_row(parzen, axis, (size_t)u[c * axes + i], s.rooms + c * parzen->rooms + axis->room);
  }
  for (size_t c = 0; c < count; c++) {
    s.log_prior[c] = log_prior(parzen, u + c * axes);
    s.top[c] = -FLT_MAX, s.sum[c] = 0;
  }
  return s;
}

/* Grows with every kernel gone through. */
static double log_sum(const struct sums *s, size_t point) {
  double kernels = s->sum[point] > 0 ? log((double)s->sum[point]) + (double)s->top[point] : -INFINITY, prior = s->log_prior[point];
  double high = fmax(kernels, prior), low = fmin(kernels, prior);
  return high + log1p(exp(low - high)) - s->log_weights;
}

/* One block of kernels against a few points. Beyond the last point, the last one is repeated and its result unused. */
struct block {
  size_t from, n; /* kernels */
  size_t points[KERNEL_POINTS], count;
  float acc[KERNEL_POINTS * BLOCK];
};

static void block_exponents(const struct parzen *parzen, const struct sums *s, struct block *block) {
  const float *mu[PARZEN_AXES_MAX], *inverse_width[PARZEN_AXES_MAX];
  float at[KERNEL_POINTS * PARZEN_AXES_MAX];
  size_t axes = parzen->axis_count, continuous = 0;
  for (size_t i = 0; i < axes; i++) {
    const struct axis *axis = &parzen->axes[i];
    if (axis->form.cells)
      continue;
    mu[continuous] = axis->mu + block->from;
    inverse_width[continuous] = axis->inverse_width + block->from;
    for (size_t p = 0; p < KERNEL_POINTS; p++)
      at[KERNEL_POINTS * continuous + p] = (float)s->u[block->points[MIN_OF(p, block->count - 1)] * axes + i];
    continuous++;
  }
  kernel_exponents(block->acc, BLOCK, parzen->base + block->from, mu, inverse_width, at, continuous, block->n);
  for (size_t i = 0; i < axes; i++) {
    const struct axis *axis = &parzen->axes[i];
    for (size_t p = 0; axis->form.cells && p < block->count; p++) {
      size_t c = block->points[p];
      const float *row =
          axis->form.ordered ? axis->table + (size_t)s->u[c * axes + i] * axis->form.cells : s->rooms + c * parzen->rooms + axis->room;
      kernel_add_table(block->acc + p * BLOCK, axis->cell + block->from, row, block->n);
    }
  }
}

static void add_block(const struct parzen *parzen, const struct block *block, struct sums *s) {
  for (size_t p = 0; p < block->count; p++) {
    const float *acc = block->acc + p * BLOCK;
    size_t c = block->points[p];
    float block_top = kernel_max(acc, block->n);
    if (block_top > s->top[c]) {
      s->sum[c] *= s->top[c] > -FLT_MAX ? expf(s->top[c] - block_top) : 0;
      s->top[c] = block_top;
    }
    if (block_top - s->top[c] >= KERNEL_EXP_MIN)
      s->sum[c] += kernel_sum_exp(acc, parzen->weight + block->from, s->top[c], block->n);
  }
}

/* Goes through the kernels before `to` down to `from`, the newest first, for these points. */
static void add_kernels(const struct parzen *parzen, size_t from, size_t to, const size_t *points, size_t count, struct sums *s) {
  struct block block;
  for (; to > from; to = block.from) {
    block.from = to - from > BLOCK ? to - BLOCK : from;
    block.n = to - block.from;
    for (size_t first = 0; first < count; first += KERNEL_POINTS) {
      block.count = MIN_OF((size_t)KERNEL_POINTS, count - first);
      memcpy(block.points, points + first, block.count * sizeof *points);
      block_exponents(parzen, s, &block);
      add_block(parzen, &block, s);
    }
  }
}

void parzen_log_density(struct parzen *parzen, const double *u, size_t count, double *ret_log, void *work) {
  struct sums s = begin_sums(parzen, u, count, work);
  for (size_t first = 0; first < count; first += KERNEL_POINTS) {
    size_t points[KERNEL_POINTS], n = MIN_OF((size_t)KERNEL_POINTS, count - first);
    for (size_t p = 0; p < n; p++)
      points[p] = first + p;
    add_kernels(parzen, 0, parzen->count, points, n, &s);
  }
  for (size_t c = 0; c < count; c++)
    ret_log[c] = log_sum(&s, c);
}

/* ---- choosing ---- */

size_t parzen_choose_work(const struct parzen *good, const struct parzen *bad, size_t count) {
  return count * (2 * sizeof(double) + sizeof(size_t)) + MAX_OF(parzen_work(good, count), parzen_work(bad, count));
}

/* A point's ratio is at most `bound`, which the kernels that are left (the oldest) can only bring down; NaN: it is out. */
struct race {
  size_t count, *left;
  double *good, *bound, best_ratio;
  size_t best;
};

/* The points that may come to most among those that have gone as far as the first of them, best first. None: nothing is left that could
 * pass the best. */
static size_t front_runners(const struct race *race, size_t *ret_points) {
  size_t top = SIZE_MAX, n = 0;
  for (size_t c = 0; c < race->count; c++)
    if (race->bound[c] >= race->best_ratio - RATIO_SLACK && (top == SIZE_MAX || race->bound[c] > race->bound[top]))
      top = c;
  for (size_t c = 0; c < race->count && top != SIZE_MAX; c++) {
    if (!(race->bound[c] >= race->best_ratio - RATIO_SLACK) || race->left[c] != race->left[top])
      continue;
    size_t at = n;
    for (; at > 0 && race->bound[ret_points[at - 1]] < race->bound[c]; at--)
      if (at < KERNEL_POINTS)
        ret_points[at] = ret_points[at - 1];
    if (at < KERNEL_POINTS)
      ret_points[at] = c;
    n = MIN_OF(n + 1, (size_t)KERNEL_POINTS);
  }
  return n;
}

size_t parzen_choose(struct parzen *good, struct parzen *bad, const double *u, size_t count, parzen_fits_fn *fits, void *ctx, void *work) {
  struct race race = {.count = count, .good = work, .best_ratio = -INFINITY, .best = SIZE_MAX};
  size_t points[KERNEL_POINTS], n;
  race.bound = race.good + count;
  race.left = (size_t *)(race.bound + count);
  void *rest = race.left + count;
  parzen_log_density(good, u, count, race.good, rest);
  struct sums s = begin_sums(bad, u, count, rest);
  for (size_t c = 0; c < count; c++) {
    race.bound[c] = race.good[c] - log_sum(&s, c);
    race.left[c] = bad->count;
  }
  while ((n = front_runners(&race, points))) {
    size_t to = race.left[points[0]], stretch = MAX_OF(bad->count - to, (size_t)STRETCH), from = to > stretch ? to - stretch : 0;
    add_kernels(bad, from, to, points, n, &s);
    for (size_t p = 0; p < n; p++) {
      size_t c = points[p];
      race.bound[c] = race.good[c] - log_sum(&s, c);
      race.left[c] = from;
      if (from)
        continue;
      bool ahead = race.bound[c] > race.best_ratio || (race.bound[c] == race.best_ratio && c < race.best);
      if (ahead && fits(ctx, c)) {
        race.best_ratio = race.bound[c];
        race.best = c;
      }
      race.bound[c] = NAN;
    }
  }
  return race.best;
}

/* ---- drawing ---- */

static unsigned draw_cell(const struct parzen *parzen, const struct axis *axis, size_t kernel, double r) {
  size_t m = axis->form.cells;
  if (kernel == SIZE_MAX || !axis->form.ordered) {
    double kernels = (double)parzen->on_count + 1, whole = 1 + (double)m / kernels;
    for (size_t c = 0; c + 1 < m; c++) {
      double mass = kernel == SIZE_MAX ? exp((double)axis->prior[c]) : ((c == axis->cell[kernel]) + 1 / kernels) / whole;
      if (r < mass)
        return (unsigned)c;
      r -= mass;
    }
    return (unsigned)(m - 1);
  }
  size_t own = axis->cell[kernel];
  double mu = cell_middle(&axis->form, own), width = cell_width(parzen, axis, own);
  return cell_of(&axis->form, mu + width * normal_truncated(-mu / width, (1 - mu) / width, r));
}

void parzen_draw(struct parzen *parzen, struct rng *rng, double *ret_u) {
  double r = rng_f64(rng) * set_weights(parzen) - 1; /* the first unit is the prior's */
  size_t kernel = SIZE_MAX;
  for (size_t k = 0; r >= 0 && k < parzen->count; k++)
    if (parzen->on[k]) {
      kernel = k;
      r -= (double)parzen->weight[k];
    }
  for (size_t i = 0; i < parzen->axis_count; i++) {
    const struct axis *axis = &parzen->axes[i];
    double q = rng_f64(rng);
    if (axis->form.cells) {
      ret_u[i] = draw_cell(parzen, axis, kernel, q);
      continue;
    }
    double mu = kernel == SIZE_MAX ? 0.5 : (double)axis->mu[kernel],
           width = kernel == SIZE_MAX ? 1 : SQRT_HALF / (double)axis->inverse_width[kernel];
    ret_u[i] = fmin(fmax(mu + width * normal_truncated(-mu / width, (1 - mu) / width, q), 0), 1);
  }
}
