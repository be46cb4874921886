#include "sampler/tpe.h"

#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "sampler/branch.h"
#include "sampler/parzen.h"

const struct tpe_settings tpe_defaults = {.good_share = 0.1, .good_max = 25, .min_width = 0.03, .full_weight = 25};

/* Beyond so many kernels only the newest and the best are kept; so old ones weigh nearly nothing. */
enum {
  KERNELS_MAX = 10000,
  KEEP_NEWEST = 2000,
  KEEP_BEST = 500,
  BEST_MAX = 512,
  CANDIDATES = 24,
  CANDIDATES_MAX = 256,
  TRIES = 10,
  LOOKED_AT = 2000, /* points of a branch, at most, to find one that is left */
  MANY_EVENTS = 100
};
#define PURPOSE_TPE 0x7e5u

/* The parameters that are always in use together, and the trials that use them. Every such trial has a kernel in `bad`, which is switched
 * off while the trial is one of the good ones. */
struct group {
  size_t *params;
  size_t param_count;
  struct parzen_axis *axes;
  struct parzen *bad;
  uint32_t *trials; /* of the kernels of bad, ascending */
  size_t trial_cap;
  uint32_t best[BEST_MAX]; /* trials in order; the first `good_count` are the good ones */
  size_t best_count, good_count;
  struct parzen *good; /* of the good ones; NULL: to be made */
  size_t finished;     /* with a value */
};

struct tpe {
  const struct history *history;
  const struct space *space;
  struct tpe_settings settings;
  struct group *groups;
  size_t group_count;
  double **edges; /* by parameter; NULL for continuous axes */
  size_t seen;    /* events */
  /* scratch */
  double *drawn;
  void *work;
  size_t work_size;
};

/* ---- making ---- */

static bool is_modelled(const struct space *space, size_t i) {
  return space_param(space, i)->kind != PARAM_CONSTANT;
}

static bool init_axis(struct tpe *tpe, size_t i, struct parzen_axis *axis) {
  const struct param *param = space_param(tpe->space, i);
  bool ordered = param->kind == PARAM_NUMBER || param->ordered;
  *axis = (struct parzen_axis){.ordered = ordered};
  if (!param->cells || param->cells > (ordered ? PARZEN_CELLS_MAX : PARZEN_CHOICES_MAX))
    return true;
  axis->cells = (unsigned)param->cells;
  double *edges = tpe->edges[i] = mem_array(axis->cells + 1, sizeof *edges);
  if (!edges)
    return false;
  for (unsigned c = 0; c < axis->cells; c++)
    space_edges(tpe->space, i, space_cell_value(tpe->space, i, c), &edges[c], &edges[c + 1]);
  axis->edges = edges;
  return true;
}

static struct parzen_settings kernel_settings(const struct tpe *tpe) {
  return (struct parzen_settings){.min_width = tpe->settings.min_width, .full_weight = tpe->settings.full_weight};
}

static bool init_group(struct tpe *tpe, unsigned number, struct err *err) {
  struct group *group = &tpe->groups[number];
  size_t count = 0;
  for (size_t i = 0; i < space_count(tpe->space); i++)
    count += space_param(tpe->space, i)->group == number && is_modelled(tpe->space, i);
  group->params = mem_array(count, sizeof *group->params);
  group->axes = mem_array(count, sizeof *group->axes);
  if (!group->params || !group->axes)
    return err_no_memory(err);
  for (size_t i = 0; i < space_count(tpe->space); i++) {
    if (space_param(tpe->space, i)->group != number || !is_modelled(tpe->space, i))
      continue;
    if (!init_axis(tpe, i, &group->axes[group->param_count]))
      return err_no_memory(err);
    group->params[group->param_count++] = i;
  }
  struct parzen_settings settings = kernel_settings(tpe);
  return parzen_new(group->axes, group->param_count, &settings, &group->bad, err);
}

bool tpe_new(const struct history *history, const struct tpe_settings *settings, struct tpe **ret, struct err *err) {
  struct tpe *tpe = mem_zalloc(sizeof *tpe);
  if (!tpe)
    return err_no_memory(err);
  tpe->history = history;
  tpe->space = history_space(history);
  tpe->settings = *settings;
  if (!tpe->settings.candidates)
    tpe->settings.candidates = CANDIDATES;
  tpe->settings.candidates = MIN_OF(tpe->settings.candidates, (unsigned)CANDIDATES_MAX);
  size_t groups = space_groups(tpe->space), params = space_count(tpe->space);
  tpe->edges = mem_array(params, sizeof *tpe->edges);
  tpe->groups = mem_array(groups, sizeof *tpe->groups);
  tpe->drawn = mem_array((size_t)CANDIDATES_MAX * params, sizeof *tpe->drawn);
  bool ok = tpe->edges && tpe->groups && tpe->drawn;
  if (!ok)
    err_no_memory(err);
  for (; ok && tpe->group_count < groups; tpe->group_count++)
    ok = init_group(tpe, (unsigned)tpe->group_count, err);
  if (!ok) {
    tpe_free(tpe);
    return false;
  }
  *ret = tpe;
  return true;
}

void tpe_free(struct tpe *tpe) {
  if (!tpe)
    return;
  for (size_t g = 0; tpe->groups && g < space_groups(tpe->space); g++) {
    parzen_free(tpe->groups[g].bad), parzen_free(tpe->groups[g].good);
    mem_free(tpe->groups[g].params), mem_free(tpe->groups[g].axes), mem_free(tpe->groups[g].trials);
  }
  for (size_t i = 0; tpe->edges && i < space_count(tpe->space); i++)
    mem_free(tpe->edges[i]);
  mem_free(tpe->edges), mem_free(tpe->groups), mem_free(tpe->drawn), mem_free(tpe->work);
  mem_free(tpe);
}

/* ---- following the history ---- */

static bool uses_group(const struct group *group, const double *point) {
  return group->param_count > 0 && !isnan(point[group->params[0]]);
}

static void group_coordinates(const struct tpe *tpe, const struct group *group, size_t trial, double *ret_u) {
  const double *point = history_point(tpe->history, trial);
  for (size_t k = 0; k < group->param_count; k++)
    ret_u[k] = space_u(tpe->space, group->params[k], point[group->params[k]]);
}

static size_t kernel_of(const struct group *group, size_t trial) {
  size_t low = 0, high = parzen_count(group->bad);
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (group->trials[middle] < trial)
      low = middle + 1;
    else
      high = middle;
  }
  return low < parzen_count(group->bad) && group->trials[low] == trial ? low : SIZE_MAX;
}

static bool push_kernel(struct tpe *tpe, struct group *group, size_t trial, struct err *err) {
  size_t n = parzen_count(group->bad);
  if (!parzen_reserve(group->bad, n + 1, err))
    return false;
  if (n == group->trial_cap) {
    size_t cap = n + n / 2 + 64;
    uint32_t *trials = mem_resize(group->trials, cap, sizeof *trials);
    if (!trials)
      return err_no_memory(err);
    group->trials = trials;
    group->trial_cap = cap;
  }
  double u[SPACE_PARAMS_MAX];
  group_coordinates(tpe, group, trial, u);
  group->trials[n] = (uint32_t)trial;
  parzen_add(group->bad, u);
  return true;
}

/* The place of a trial among the best, where it is or belongs. */
static size_t best_place(const struct tpe *tpe, const struct group *group, size_t trial) {
  size_t low = 0, high = group->best_count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (history_before(tpe->history, group->best[middle], trial))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void insert_best(struct tpe *tpe, struct group *group, size_t trial) {
  size_t at = best_place(tpe, group, trial);
  if (at == BEST_MAX)
    return;
  size_t keep = MIN_OF(group->best_count, (size_t)BEST_MAX - 1);
  memmove(group->best + at + 1, group->best + at, (keep - at) * sizeof *group->best);
  group->best[at] = (uint32_t)trial;
  group->best_count = keep + 1;
}

static void set_bad(struct group *group, size_t trial, bool bad) {
  size_t kernel = kernel_of(group, trial);
  if (kernel != SIZE_MAX)
    parzen_switch(group->bad, kernel, bad);
}

static size_t good_wanted(const struct tpe *tpe, size_t finished, size_t most) {
  double share = fmax(ceil(tpe->settings.good_share * (double)finished), 1); /* those stopped early are no measure of what is good */
  return MIN_OF(MIN_OF((size_t)share, (size_t)tpe->settings.good_max), most);
}

static void forget_good(struct group *group) {
  parzen_free(group->good);
  group->good = NULL;
}

/* A result came in: it may be among the good, and push another out or draw one in. */
static void place_result(struct tpe *tpe, struct group *group, size_t trial) {
  if (history_state(tpe->history, trial) == TRIAL_GONE) {
    set_bad(group, trial, false);
    return;
  }
  if (!history_is_learnable(tpe->history, trial))
    return; /* it stays where pending trials are: among the bad */
  size_t at = best_place(tpe, group, trial), good_before = group->good_count;
  insert_best(tpe, group, trial);
  group->finished += history_state(tpe->history, trial) == TRIAL_FINISHED;
  group->good_count = good_wanted(tpe, group->finished, group->best_count);
  if (at < group->good_count || group->good_count != good_before)
    forget_good(group);
  size_t unchanged = at < good_before ? good_before + 1 : good_before; /* where the old good ones end now */
  if (at < group->good_count)
    set_bad(group, trial, false);
  for (size_t k = unchanged; k < group->good_count; k++)
    set_bad(group, group->best[k], false);
  for (size_t k = group->good_count; k < unchanged && k < group->best_count; k++)
    set_bad(group, group->best[k], true);
}

static bool is_among_best(const struct tpe *tpe, const struct group *group, size_t trial) {
  if (!history_is_learnable(tpe->history, trial))
    return false;
  size_t at = best_place(tpe, group, trial);
  return at < MIN_OF(group->best_count, (size_t)KEEP_BEST) && group->best[at] == trial;
}

/* Keeps the newest and the best kernels only, and those of pending trials. */
static bool compact(struct tpe *tpe, struct group *group, struct err *err) {
  size_t n = parzen_count(group->bad), keep_from = n - KEEP_NEWEST, kept = 0;
  bool *wanted = mem_array(n, sizeof *wanted);
  if (!wanted)
    return err_no_memory(err);
  for (size_t k = 0; k < n; k++) {
    enum trial_state state = history_state(tpe->history, group->trials[k]);
    wanted[k] = state != TRIAL_GONE && (k >= keep_from || state == TRIAL_PENDING || is_among_best(tpe, group, group->trials[k]));
  }
  bool ok = parzen_keep(group->bad, wanted, err);
  for (size_t k = 0; ok && k < n; k++)
    if (wanted[k])
      group->trials[kept++] = group->trials[k];
  mem_free(wanted);
  return ok;
}

static bool follow_event(struct tpe *tpe, struct group *group, size_t trial, bool told, struct err *err) {
  if (told) {
    place_result(tpe, group, trial);
    return true;
  }
  if (kernel_of(group, trial) != SIZE_MAX)
    return true; /* a failure in a later group makes this event come again */
  if (parzen_count(group->bad) >= KERNELS_MAX && !compact(tpe, group, err))
    return false;
  if (!push_kernel(tpe, group, trial, err))
    return false;
  parzen_switch(group->bad, parzen_count(group->bad) - 1, true);
  return true;
}

bool tpe_follow(struct tpe *tpe, struct err *err) {
  size_t events = history_events(tpe->history);
  bool ok = true, many = events - tpe->seen > MANY_EVENTS;
  for (size_t g = 0; g < tpe->group_count && many; g++)
    parzen_loosen(tpe->groups[g].bad);
  while (ok && tpe->seen < events) {
    bool told;
    size_t trial = history_event(tpe->history, tpe->seen, &told);
    for (size_t g = 0; ok && g < tpe->group_count; g++)
      if (uses_group(&tpe->groups[g], history_point(tpe->history, trial)))
        ok = follow_event(tpe, &tpe->groups[g], trial, told, err);
    tpe->seen += ok;
  }
  for (size_t g = 0; g < tpe->group_count; g++)
    parzen_tighten(tpe->groups[g].bad);
  return ok;
}

/* ---- pending trials that count as a value ---- */

/* The good ones while they do. */
struct split {
  size_t count;
  uint32_t good[BEST_MAX];
};

struct guess {
  uint32_t trial;
  double value;
};

/* The best of them, best first, of equals the oldest; and how many there are. */
static size_t take_guesses(const struct tpe *tpe, const struct group *group, struct guess guesses[BEST_MAX], size_t *ret_all) {
  size_t count = 0;
  *ret_all = 0;
  for (size_t k = 0; k < history_pending(tpe->history); k++) {
    size_t trial = history_pending_at(tpe->history, k);
    double value = history_supposed(tpe->history, trial);
    if (isnan(value) || !uses_group(group, history_point(tpe->history, trial)))
      continue;
    ++*ret_all;
    size_t at = MIN_OF(count, (size_t)BEST_MAX - 1);
    if (count == BEST_MAX && value >= guesses[at].value)
      continue;
    for (; at > 0 && guesses[at - 1].value > value; at--)
      guesses[at] = guesses[at - 1];
    guesses[at] = (struct guess){(uint32_t)trial, value};
    count = MIN_OF(count + 1, (size_t)BEST_MAX);
  }
  return count;
}

static bool guess_before(const struct tpe *tpe, const struct guess *guess, uint32_t told) {
  double value = history_value(tpe->history, told);
  if (history_state(tpe->history, told) != TRIAL_FINISHED || guess->value < value)
    return true;
  return guess->value == value && guess->trial < told;
}

/* Who is good when they take their places among the results; false: the same as without them. */
static bool suppose(const struct tpe *tpe, const struct group *group, struct split *ret) {
  struct guess guesses[BEST_MAX];
  size_t all, count = 0, told = 0, guessed = 0;
  if (history_supposes(tpe->history) == SUPPOSE_NOTHING)
    return false;
  count = take_guesses(tpe, group, guesses, &all);
  /* What was reported last is no result yet: it may take the place of a good one, and makes no more of them good. */
  size_t counted = history_supposes(tpe->history) == SUPPOSE_LATEST ? 0 : all;
  size_t wanted = good_wanted(tpe, group->finished + counted, MIN_OF(group->best_count + count, (size_t)BEST_MAX));
  for (ret->count = 0; ret->count < wanted; ret->count++) {
    bool guess = guessed < count && (told == group->best_count || guess_before(tpe, &guesses[guessed], group->best[told]));
    ret->good[ret->count] = guess ? guesses[guessed++].trial : group->best[told++];
  }
  return ret->count != group->good_count || memcmp(ret->good, group->best, ret->count * sizeof *ret->good) != 0;
}

static bool is_one_of(const uint32_t *trials, size_t count, uint32_t trial) {
  for (size_t k = 0; k < count; k++)
    if (trials[k] == trial)
      return true;
  return false;
}

/* These were the good ones, those are now. */
static void switch_bad(struct group *group, const uint32_t *before, size_t before_count, const uint32_t *now, size_t now_count) {
  for (size_t k = 0; k < before_count; k++)
    if (!is_one_of(now, now_count, before[k]))
      set_bad(group, before[k], true);
  for (size_t k = 0; k < now_count; k++)
    if (!is_one_of(before, before_count, now[k]))
      set_bad(group, now[k], false);
}

/* ---- suggesting ---- */

/* The good trials' estimator is small, and made afresh when others are the good ones, its kernels in order of age. */
static bool make_good(struct tpe *tpe, struct group *group, const uint32_t *of, size_t n, struct err *err) {
  struct parzen_settings settings = kernel_settings(tpe);
  struct parzen *good;
  uint32_t trials[BEST_MAX];
  for (size_t k = 0; k < n; k++) { /* insertion sort: there are 25 at most by default */
    size_t at = k;
    for (; at > 0 && trials[at - 1] > of[k]; at--)
      trials[at] = trials[at - 1];
    trials[at] = of[k];
  }
  if (!parzen_new(group->axes, group->param_count, &settings, &good, err))
    return false;
  if (!parzen_reserve(good, n, err)) {
    parzen_free(good);
    return false;
  }
  parzen_loosen(good);
  for (size_t k = 0; k < n; k++) {
    double u[SPACE_PARAMS_MAX];
    group_coordinates(tpe, group, trials[k], u);
    parzen_add(good, u);
    parzen_switch(good, k, true);
  }
  parzen_tighten(good);
  group->good = good;
  return true;
}

static bool reserve_work(struct tpe *tpe, size_t size, struct err *err) {
  if (size <= tpe->work_size)
    return true;
  void *work = mem_alloc(size);
  if (!work)
    return err_no_memory(err);
  mem_free(tpe->work);
  tpe->work = work;
  tpe->work_size = size;
  return true;
}

static void put_values(const struct tpe *tpe, const struct group *group, const double *drawn, double *point) {
  for (size_t k = 0; k < group->param_count; k++) {
    size_t i = group->params[k];
    point[i] = group->axes[k].cells ? space_cell_value(tpe->space, i, (uint64_t)drawn[k]) : space_value(tpe->space, i, drawn[k]);
  }
}

/* Which values of a group are taken. */
enum regard {
  REGARD_NOTHING, /* any: others follow, and few points are taken */
  REGARD_POINT,   /* those that make the point complete, allowed and new */
  REGARD_BRANCH,  /* those with such a point below them */
};

/* Candidates for a group's values of a point. */
struct candidates {
  const struct tpe *tpe;
  const struct group *group;
  struct rng *rng;
  enum regard regard;
  double *point;
};

static bool fits(void *ctx, size_t candidate) {
  const struct candidates *c = ctx;
  double left[SPACE_PARAMS_MAX];
  if (c->regard == REGARD_NOTHING)
    return true;
  put_values(c->tpe, c->group, c->tpe->drawn + candidate * c->group->param_count, c->point);
  if (c->regard == REGARD_BRANCH)
    return branch_look(c->tpe->history, c->point, c->rng, LOOKED_AT, left) != BRANCH_USED_UP;
  return space_allows(c->tpe->space, c->point) && !history_has(c->tpe->history, c->point);
}

/* Fills the group's values of `point` with the candidate of the largest l(x)/g(x) among those that fit; *ret_found says whether one did. */
static bool choose_from(struct tpe *tpe, struct group *group, struct rng *rng, enum regard regard, double *point, bool *ret_found,
                        struct err *err) {
  size_t count = tpe->settings.candidates, width = group->param_count;
  if (!reserve_work(tpe, parzen_choose_work(group->good, group->bad, count), err))
    return false;
  for (size_t c = 0; c < count; c++)
    parzen_draw(group->good, rng, tpe->drawn + c * width);
  struct candidates candidates = {tpe, group, rng, regard, point};
  size_t best = parzen_choose(group->good, group->bad, tpe->drawn, count, fits, &candidates, tpe->work);
  *ret_found = best != SIZE_MAX;
  if (*ret_found)
    put_values(tpe, group, tpe->drawn + best * width, point);
  return true;
}

static bool choose_for_group(struct tpe *tpe, struct group *group, struct rng *rng, enum regard regard, double *point, bool *ret_found,
                             struct err *err) {
  struct split split;
  if (!suppose(tpe, group, &split))
    return (group->good || make_good(tpe, group, group->best, group->good_count, err)) &&
           choose_from(tpe, group, rng, regard, point, ret_found, err);
  forget_good(group);
  switch_bad(group, group->best, group->good_count, split.good, split.count);
  bool ok = make_good(tpe, group, split.good, split.count, err) && choose_from(tpe, group, rng, regard, point, ret_found, err);
  switch_bad(group, split.good, split.count, group->best, group->good_count);
  forget_good(group);
  return ok;
}

/* No candidate fitted: of what the values before the group's leave, any point will do. */
static bool take_left(const struct tpe *tpe, const struct group *group, struct rng *rng, double *point) {
  double left[SPACE_PARAMS_MAX];
  for (size_t k = 0; k < group->param_count; k++)
    point[group->params[k]] = NAN;
  if (branch_look(tpe->history, point, rng, LOOKED_AT, left) != BRANCH_LEFT)
    return false;
  memcpy(point, left, space_count(tpe->space) * sizeof *point);
  return true;
}

/* Groups come in the order of their first parameter, which is after all that decide about it. */
static bool fill_point(struct tpe *tpe, enum regard regard, struct rng *rng, double *point, bool *ret_found, struct err *err) {
  bool done[SPACE_PARAMS_MAX + 1] = {false};
  const size_t *order = space_order(tpe->space);
  size_t params = space_count(tpe->space);
  *ret_found = true;
  for (size_t i = 0; i < params; i++)
    point[i] = NAN;
  for (size_t k = 0; k < params && *ret_found; k++) {
    size_t i = order[k];
    const struct param *param = space_param(tpe->space, i);
    if (!space_in_use(tpe->space, point, i))
      continue;
    if (param->kind == PARAM_CONSTANT)
      point[i] = 0;
    if (param->kind == PARAM_CONSTANT || done[param->group])
      continue;
    if (regard == REGARD_POINT)
      for (size_t c = 0; c < params; c++)
        if (!is_modelled(tpe->space, c))
          point[c] = 0;
    done[param->group] = true;
    struct group *group = &tpe->groups[param->group];
    if (!choose_for_group(tpe, group, rng, regard, point, ret_found, err))
      return false;
    if (!*ret_found && regard == REGARD_BRANCH) {
      *ret_found = take_left(tpe, group, rng, point);
      return true;
    }
  }
  return true;
}

bool tpe_suggest(struct tpe *tpe, uint64_t seed, uint64_t n, double *ret_point, struct err *err) {
  if (!tpe_follow(tpe, err))
    return false;
  struct rng rng = rng_for(seed, PURPOSE_TPE, n);
  double point[SPACE_PARAMS_MAX];
  bool is_tree = tpe->group_count > 1;
  for (unsigned attempt = 0; attempt < TRIES; attempt++) {
    enum regard regard = !is_tree ? REGARD_POINT : attempt ? REGARD_BRANCH : REGARD_NOTHING;
    bool found;
    if (!fill_point(tpe, regard, &rng, point, &found, err))
      return false;
    if (!found || !space_allows(tpe->space, point) || history_has(tpe->history, point))
      continue;
    memcpy(ret_point, point, space_count(tpe->space) * sizeof *point);
    return true;
  }
  return err_set(err, ERR_NOT_FOUND, "no new point came up in %d tries", (int)TRIES);
}
