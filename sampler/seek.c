#include "sampler/seek.h"

enum {
  UNSEEN_TRIES = 50,
  NEAR_TRIES = 2000,
  STEP_VALUES = 1 << 13, /* of parameters, that are looked at in one step: about a millisecond */
  RUN_VALUES = 1 << 18,  /* and in a run, after which others get the thread */
};
/* Cells of a walk that are looked at for one trial before giving up, and points of a tree: constraints may leave next to nothing. */
#define WALK_LIMIT ((uint64_t)1 << 24)
#define TREE_LIMIT ((uint64_t)1 << 20)

#define PURPOSE_TREE 0x7233u
static const char why_left[] = "one of the points that are left";

/* A beta distribution's quantile is searched for: a draw of it takes as long as so many of others. */
enum { BETA_VALUES = 64 };

/* Of points that are drawn; a cell has its value at once. */
static size_t values_of_draw(const struct space *space) {
  size_t values = 0;
  for (size_t i = 0; i < space_count(space); i++) {
    const struct param *param = space_param(space, i);
    values += param->kind == PARAM_NUMBER && param->dist.shape == DIST_BETA ? BETA_VALUES : 1;
  }
  return values;
}

static uint64_t points_of(const struct space *space, enum seek_way way, uint64_t values) {
  bool by_cells = way == SEEK_WALK || way == SEEK_TREE;
  return values / MAX_OF(by_cells ? space_count(space) : values_of_draw(space), (size_t)1) + 1;
}

/* ---- of one sampler ---- */

static bool is_even(const struct space *space) {
  for (size_t i = 0; i < space_count(space); i++)
    if (!space_param(space, i)->even)
      return false;
  return true;
}

bool seeker_init(struct seeker *seeker, const struct history *history, uint64_t seed, enum lattice_kind kind, bool shuffle,
                 struct err *err) {
  const struct space *space = history_space(history);
  bool grid = kind == LATTICE_GRID;
  uint64_t size = space_size(space);
  *seeker = (struct seeker){.history = history, .space = space, .seed = seed};
  seeker->is_tree = !grid && size > TREE_LIMIT && space_is_conditional(space);
  if (!grid && (size == 0 || size > (uint64_t)1 << 62 || seeker->is_tree))
    return true;
  seeker->walk = (struct walk){.seed = rng_mix(seed ^ 0x57a1c), .shuffled = !grid || shuffle};
  seeker->has_walk = lattice_init(&seeker->walk.lattice, space, kind, err);
  seeker->is_even = is_even(space) && !space_is_conditional(space);
  return seeker->has_walk;
}

void seeker_release(struct seeker *seeker) {
  walk_release(&seeker->walk);
}

bool seeker_is_used_up(struct seeker *seeker) {
  double point[SPACE_PARAMS_MAX];
  uint64_t budget = points_of(seeker->space, SEEK_WALK, STEP_VALUES);
  return seeker->has_walk && walk_next(&seeker->walk, seeker->history, &budget, point) == WALK_END;
}

/* ---- one way after the other ---- */

static void go_to_walk(const struct seeker *seeker, struct seek *seek, const char *why) {
  seek->way = SEEK_WALK;
  seek->why = why;
  seek->run = walk_run_of(&seeker->walk);
}

static void go_to_near(const struct seeker *seeker, struct seek *seek) {
  bool any = history_count(seeker->history);
  seek->way = any ? SEEK_NEAR : SEEK_FIRST;
  seek->why = "near a point that is allowed: chance alone found no new one";
  seek->tries = 0;
  seek->rng = draw_near_rng(seeker->seed, seek->number);
  seek->draws = draws_of(seeker->space, 0, 0, 0);
}

static void go_to_tree(const struct seeker *seeker, struct seek *seek) {
  struct rng rng = rng_for(seeker->seed, PURPOSE_TREE, seek->number);
  seek->branch = branch_new(seeker->space, &rng);
  if (!seek->branch) { /* no memory */
    go_to_near(seeker, seek);
    return;
  }
  seek->way = SEEK_TREE;
  seek->why = why_left;
}

static void go_beyond_draws(const struct seeker *seeker, struct seek *seek) {
  if (seeker->has_walk)
    go_to_walk(seeker, seek, why_left);
  else if (seeker->is_tree)
    go_to_tree(seeker, seek);
  else
    go_to_near(seeker, seek);
}

void seek_any(struct seek *seek, const struct seeker *seeker, uint32_t number, const char *why) {
  *seek = (struct seek){.number = number, .space = seeker->space, .way = SEEK_DRAWS, .why = why};
  seek->draws = draws_of(seeker->space, seeker->seed, number, 0);
}

void seek_next_of_walk(struct seek *seek, const struct seeker *seeker, uint32_t number, const char *why) {
  *seek = (struct seek){.number = number, .space = seeker->space};
  go_to_walk(seeker, seek, why);
}

/* ---- steps ---- */

static enum seek_state step_draws(const struct seeker *seeker, struct seek *seek, uint64_t *budget, double *point) {
  while (draws_next(&seek->draws, budget, point)) {
    if (!history_has(seeker->history, point))
      return SEEK_FOUND;
    if (++seek->tries == UNSEEN_TRIES) {
      go_beyond_draws(seeker, seek);
      return SEEK_MORE;
    }
    /* Attempts lie far apart, so that the search for an allowed point never meets the next attempt's. */
    seek->draws = draws_of(seeker->space, seeker->seed, seek->number, (uint64_t)seek->tries * DRAW_TRIES);
  }
  if (draws_are_over(&seek->draws))
    go_beyond_draws(seeker, seek);
  return SEEK_MORE;
}

static enum seek_state step_walk(struct seeker *seeker, struct seek *seek, uint64_t *budget, double *point) {
  walk_take_in(&seeker->walk, &seek->run);
  enum walk_state state = walk_next(&seeker->walk, seeker->history, budget, point);
  seek->run = walk_run_of(&seeker->walk);
  if (state != WALK_MORE)
    return state == WALK_FOUND ? SEEK_FOUND : SEEK_NONE_LEFT;
  return seek->looked < WALK_LIMIT ? SEEK_MORE : SEEK_FAILED;
}

static enum seek_state step_tree(const struct seeker *seeker, struct seek *seek, uint64_t *budget, double *point) {
  for (; branch_find(seek->branch, TREE_LIMIT, budget); branch_pass(seek->branch))
    if (!history_has(seeker->history, branch_point(seek->branch))) {
      memcpy(point, branch_point(seek->branch), space_count(seeker->space) * sizeof *point);
      return SEEK_FOUND;
    }
  enum branch_state state = branch_outcome(seek->branch, TREE_LIMIT);
  if (state == BRANCH_UNKNOWN)
    go_to_near(seeker, seek);
  return state == BRANCH_USED_UP ? SEEK_NONE_LEFT : SEEK_MORE;
}

static enum seek_state step_first(struct seek *seek, uint64_t *budget, double *point) {
  if (draws_next(&seek->draws, budget, point))
    return SEEK_FOUND;
  return draws_are_over(&seek->draws) ? SEEK_FAILED : SEEK_MORE;
}

static enum seek_state step_near(const struct seeker *seeker, struct seek *seek, uint64_t *budget, double *point) {
  for (; seek->tries < NEAR_TRIES && *budget; seek->tries++, --*budget)
    if (draw_near(seeker->history, &seek->rng, point))
      return SEEK_FOUND;
  return seek->tries < NEAR_TRIES ? SEEK_MORE : SEEK_FAILED;
}

static enum seek_state step_way(struct seeker *seeker, struct seek *seek, uint64_t *budget, double *point) {
  switch (seek->way) {
  case SEEK_DRAWS:
    return step_draws(seeker, seek, budget, point);
  case SEEK_WALK:
    return step_walk(seeker, seek, budget, point);
  case SEEK_TREE:
    return step_tree(seeker, seek, budget, point);
  case SEEK_FIRST:
    return step_first(seek, budget, point);
  default:
    return step_near(seeker, seek, budget, point);
  }
}

enum seek_state seek_step(struct seeker *seeker, struct seek *seek, double *ret_point) {
  uint64_t budget = UINT64_MAX;
  enum seek_state state;
  do {
    budget = MIN_OF(budget, points_of(seeker->space, seek->way, STEP_VALUES));
    state = step_way(seeker, seek, &budget, ret_point);
  } while (state == SEEK_MORE && budget);
  return state;
}

void seek_run(struct seek *seek) {
  double ignored[SPACE_PARAMS_MAX];
  uint64_t budget = points_of(seek->space, seek->way, RUN_VALUES);
  if (seek->way == SEEK_WALK)
    seek->looked += walk_run(&seek->run, budget);
  else if (seek->way == SEEK_TREE)
    (void)!branch_find(seek->branch, TREE_LIMIT, &budget);
  else if (seek->way != SEEK_NEAR) /* which looks at the history with each point */
    (void)!draws_next(&seek->draws, &budget, ignored);
}

void seek_end(struct seeker *seeker, struct seek *seek) {
  if (seek->way == SEEK_WALK)
    walk_take_in(&seeker->walk, &seek->run);
  seek_release(seek);
}

void seek_release(struct seek *seek) {
  branch_free(seek->branch);
  *seek = (struct seek){0};
}
