#include "sampler/minimize.h"

#include <math.h>

enum { MEMORY = 8 };

size_t minimize_work(size_t n) {
  return (5 + 2 * MEMORY) * n;
}

static double dot(const double *a, const double *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += a[i] * b[i];
  return sum;
}

struct memory {
  double *s, *y; /* steps and changes of the gradient, MEMORY rows each */
  double rho[MEMORY];
  size_t count, next;
};

/* direction := -H direction by the two-loop recursion, newest pair first */
static void apply_inverse(const struct memory *m, double *direction, size_t n) {
  double alpha[MEMORY];
  for (size_t k = 0; k < m->count; k++) {
    size_t row = (m->next + MEMORY - 1 - k) % MEMORY;
    alpha[row] = m->rho[row] * dot(m->s + row * n, direction, n);
    for (size_t i = 0; i < n; i++)
      direction[i] -= alpha[row] * m->y[row * n + i];
  }
  if (m->count) {
    size_t newest = (m->next + MEMORY - 1) % MEMORY;
    const double *y = m->y + newest * n;
    double scale = 1 / (m->rho[newest] * dot(y, y, n));
    for (size_t i = 0; i < n; i++)
      direction[i] *= scale;
  }
  for (size_t k = m->count; k-- > 0;) {
    size_t row = (m->next + MEMORY - 1 - k) % MEMORY;
    double beta = m->rho[row] * dot(m->y + row * n, direction, n);
    for (size_t i = 0; i < n; i++)
      direction[i] += (alpha[row] - beta) * m->s[row * n + i];
  }
  for (size_t i = 0; i < n; i++)
    direction[i] = -direction[i];
}

static void remember(struct memory *m, const double *x, const double *x_next, const double *g, const double *g_next, size_t n) {
  double *s = m->s + m->next * n, *y = m->y + m->next * n;
  for (size_t i = 0; i < n; i++) {
    s[i] = x_next[i] - x[i];
    y[i] = g_next[i] - g[i];
  }
  double sy = dot(s, y, n);
  if (!(sy > 1e-10 * sqrt(dot(s, s, n) * dot(y, y, n))))
    return; /* no curvature to learn from */
  m->rho[m->next] = 1 / sy;
  m->next = (m->next + 1) % MEMORY;
  m->count = MIN_OF(m->count + 1, (size_t)MEMORY);
}

/* At a bound with the function falling outwards. */
static bool is_held(double x, double g, double low, double high) {
  return (x <= low && g > 0) || (x >= high && g < 0);
}

double minimize(minimize_fn fn, void *ctx, size_t n, const double *low, const double *high, const struct minimize_limits *limits, double *x,
                double *work) {
  double *g = work, *direction = g + n, *x_next = direction + n, *g_next = x_next + n, *free_g = g_next + n;
  struct memory memory = {.s = free_g + n, .y = free_g + n + MEMORY * n};
  double value = fn(ctx, x, g);
  for (unsigned iteration = 0; iteration < limits->iterations && isfinite(value); iteration++) {
    double steepest = 0;
    for (size_t i = 0; i < n; i++) {
      free_g[i] = is_held(x[i], g[i], low[i], high[i]) ? 0 : g[i];
      steepest = fmax(steepest, fabs(free_g[i]));
    }
    if (!(steepest > limits->gradient))
      break;
    memcpy(direction, free_g, n * sizeof *direction);
    apply_inverse(&memory, direction, n);
    for (size_t i = 0; i < n; i++)
      if (free_g[i] == 0 && is_held(x[i], g[i], low[i], high[i]))
        direction[i] = 0;
    if (!(dot(direction, free_g, n) < 0)) { /* not downhill: start over from the gradient */
      memory.count = 0;
      for (size_t i = 0; i < n; i++)
        direction[i] = -free_g[i];
    }
    double step = memory.count ? 1 : fmin(1, 0.25 / steepest), gained = 0;
    bool moved = false;
    for (unsigned halving = 0; halving < 25 && !moved; halving++, step *= 0.4) {
      double expected = 0;
      for (size_t i = 0; i < n; i++) {
        x_next[i] = fmin(fmax(x[i] + step * direction[i], low[i]), high[i]);
        expected += g[i] * (x_next[i] - x[i]);
      }
      double next = fn(ctx, x_next, g_next);
      if (isfinite(next) && next <= value + 1e-4 * expected && next < value) {
        gained = value - next;
        value = next;
        moved = true;
      }
    }
    if (!moved)
      break;
    remember(&memory, x, x_next, g, g_next, n);
    memcpy(x, x_next, n * sizeof *x);
    memcpy(g, g_next, n * sizeof *g);
    if (gained <= limits->progress * fmax(fabs(value), 1))
      break;
  }
  return value;
}
