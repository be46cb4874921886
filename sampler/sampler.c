#include "sampler/sampler.h"

#include <gsl/gsl_errno.h>
#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "sampler/cmaes.h"
#include "sampler/gp_search.h"
#include "sampler/qmc.h"
#include "sampler/seek.h"
#include "sampler/tpe.h"

enum {
  STARTUP = 10,
  VALUES_LEAST = 3, /* results with a value, of a start-up in which others failed */
  FIXED_MAX = 10000,
  QMC_TRIES = 64,
  GP_RESULTS_MAX = 250,   /* auto: a Gaussian process up to so many results ... */
  GP_FEATURES_AUTO = 100, /* ... and parameters */
  GP_SLOW_ROWS = 30,      /* a fit to fewer takes less than handing it to a thread is worth */
  FIT_STEPS = 128,        /* results until a fit is not made anew with each */
  AUTO_CURVES = 20000,    /* auto: the Gaussian process is over by then, unless nearly all have failed; alone it looks at the newest */
  TPE_EVERY = 5,          /* auto: every so many suggestions come from TPE while the Gaussian process is at work */
};
/* So many are looked at while somebody waits. */
#define FEW_POINTS ((uint64_t)1 << 16)

struct sampler {
  const struct history *history;
  const struct space *space;
  struct sampler_settings settings;
  /* points for the first trials; whether there was a trial at each, as far as the history's events were looked at */
  double *fixed;
  bool *fixed_had;
  size_t fixed_count, fixed_left, fixed_seen;
  struct seeker seeker;
  struct tpe *tpe;
  struct cmaes *cmaes;
  /* the last fit, and what it was made from */
  struct gp_params *fitted, *fitted_fails; /* fails: NULL, none had failed */
  size_t fitted_tells;
};

/* What is to be done for a suggestion. */
enum job_state {
  JOB_SETTLED, /* nothing */
  JOB_THINKS,  /* a Gaussian process searches */
  JOB_SEEKS,   /* chance looks for a point */
};

/* A suggestion under way. */
struct sampler_job {
  uint32_t number;
  enum job_state state;
  double *point;
  struct suggestion suggestion;
  struct seek seek;
  struct gp_search *search; /* what is left to think about */
  struct gp_search *fit;    /* before that; NULL: the search fits its own, or need not */
  size_t fit_tells;         /* what the fit is made from */
  bool is_fitted;           /* it was made, from that and nothing else ... */
  bool has_fails;           /* ... and so was that of where trials fail */
  bool ran, failed;
  bool has_none; /* it is settled that there is no point */
  struct err why_none;
};

static const char *const type_names[SAMPLER_TYPES] = {"auto", "tpe", "gp", "cmaes", "sobol", "halton", "random", "grid"};

const char *sampler_type_name(enum sampler_type type) {
  return type < SAMPLER_TYPES ? type_names[type] : "?";
}

bool sampler_type_of(struct str name, enum sampler_type *ret) {
  for (size_t i = 0; i < SAMPLER_TYPES; i++)
    if (str_is(name, type_names[i])) {
      *ret = (enum sampler_type)i;
      return true;
    }
  return false;
}

/* ---- making ---- */

static bool uses_tpe(enum sampler_type type) {
  return type == SAMPLER_TPE || type == SAMPLER_AUTO || type == SAMPLER_GP;
}

/* Auto goes over to CMA-ES only where everything has an order and nothing is conditional. */
static bool suits_cmaes(const struct space *space) {
  size_t searched = 0;
  for (size_t i = 0; i < space_count(space); i++)
    searched += space_param(space, i)->kind != PARAM_CONSTANT;
  return space_is_numeric(space) && !space_is_conditional(space) && searched >= 2 && searched <= 60;
}

static bool init_models(struct sampler *s, struct err *err) {
  struct tpe_settings tpe = tpe_defaults;
  tpe.candidates = s->settings.candidates;
  if (uses_tpe(s->settings.type) && !tpe_new(s->history, &tpe, &s->tpe, err))
    return false;
  if (s->settings.type == SAMPLER_CMAES)
    return cmaes_new(s->history, s->settings.seed, s->settings.startup, &s->cmaes, err);
  if (s->settings.type == SAMPLER_AUTO && suits_cmaes(s->space))
    return cmaes_new(s->history, s->settings.seed, GP_RESULTS_MAX, &s->cmaes, err);
  return true;
}

bool sampler_new(const struct history *history, const struct sampler_settings *settings, struct sampler **ret, struct err *err) {
  gsl_set_error_handler_off();
  if (settings->type >= SAMPLER_TYPES)
    return err_set(err, ERR_INVALID, "there is no such sampler");
  struct sampler *s = mem_zalloc(sizeof *s);
  if (!s)
    return err_no_memory(err);
  s->history = history;
  s->space = history_space(history);
  s->settings = *settings;
  if (!s->settings.startup)
    s->settings.startup = STARTUP;
  enum lattice_kind kind = settings->type == SAMPLER_GRID ? LATTICE_GRID : LATTICE_ALL;
  if (!seeker_init(&s->seeker, history, settings->seed, kind, settings->shuffle, err) || !init_models(s, err)) {
    sampler_free(s);
    return false;
  }
  *ret = s;
  return true;
}

void sampler_free(struct sampler *s) {
  if (!s)
    return;
  tpe_free(s->tpe);
  cmaes_free(s->cmaes);
  seeker_release(&s->seeker);
  mem_free(s->fixed), mem_free(s->fixed_had), mem_free(s->fitted), mem_free(s->fitted_fails);
  mem_free(s);
}

bool sampler_fix_first(struct sampler *s, const json_t *points, struct err *err) {
  size_t n = json_array_size(points), width = space_count(s->space);
  if (!json_is_array(points) || n > FIXED_MAX)
    return err_set(err, ERR_INVALID, "\"fixed_first\" must be a list of at most %d points", (int)FIXED_MAX);
  double *fixed = mem_array(n * width, sizeof *fixed), point[SPACE_PARAMS_MAX];
  bool *had = mem_array(n, sizeof *had), ok = (fixed && had) || err_no_memory(err);
  for (size_t k = 0; ok && k < n; k++) {
    ok = space_point_from_json(s->space, json_array_get(points, k), SPACE_SOME, point, err);
    if (!ok)
      err_prefix(err, "fixed_first[%zu]", k);
    else if (!(ok = draw_allowed(s->space, s->settings.seed, k, 0, point, fixed + k * width)))
      err_set(err, ERR_INVALID, "fixed_first[%zu]: the constraints do not allow this point", k);
  }
  if (!ok) {
    mem_free(fixed), mem_free(had);
    return false;
  }
  mem_free(s->fixed), mem_free(s->fixed_had);
  s->fixed = fixed, s->fixed_had = had;
  s->fixed_count = s->fixed_left = n;
  s->fixed_seen = 0;
  return true;
}

/* ---- points without a model ---- */

static struct suggestion made(enum sampler_type by, const char *why) {
  return (struct suggestion){.kind = SUGGESTION_POINT, .by = by, .why = why};
}

static struct suggestion none_left(enum sampler_type by) {
  return (struct suggestion){.kind = SUGGESTION_NONE_LEFT, .by = by, .why = "every point has been tried"};
}

/* Goes on looking; the job seeks on where that is not enough. */
static bool seek_on(struct sampler *s, struct sampler_job *job, enum sampler_type by, struct err *err) {
  job->state = JOB_SETTLED;
  switch (seek_step(&s->seeker, &job->seek, job->point)) {
  case SEEK_FOUND:
    job->suggestion = made(by, job->seek.why);
    return true;
  case SEEK_NONE_LEFT:
    job->suggestion = none_left(by);
    return true;
  case SEEK_MORE:
    job->state = JOB_SEEKS;
    job->suggestion.by = by;
    return true;
  default:
    return err_set(err, ERR_LIMIT, "no %s point was found%s", job->seek.way == SEEK_WALK ? "further" : "new",
                   space_is_constrained(s->space) ? " that the constraints allow" : "");
  }
}

static bool suggest_random(struct sampler *s, struct sampler_job *job, const char *why, struct err *err) {
  seek_release(&job->seek);
  if (s->seeker.has_walk && s->settings.type == SAMPLER_RANDOM && s->seeker.is_even)
    seek_next_of_walk(&job->seek, &s->seeker, job->number, "a shuffle of all points");
  else
    seek_any(&job->seek, &s->seeker, job->number, why);
  return seek_on(s, job, SAMPLER_RANDOM, err);
}

static bool suggest_grid(struct sampler *s, struct sampler_job *job, const char *why, struct err *err) {
  seek_next_of_walk(&job->seek, &s->seeker, job->number, why);
  return seek_on(s, job, SAMPLER_GRID, err);
}

static bool suggest_qmc(struct sampler *s, struct sampler_job *job, enum sampler_type by, const char *why, struct err *err) {
  double *point = job->point;
  for (uint64_t attempt = 0; attempt < QMC_TRIES; attempt++) {
    uint64_t key = attempt ? rng_mix(s->settings.seed ^ rng_mix(attempt)) : s->settings.seed;
    for (size_t i = 0; i < space_count(s->space); i++)
      point[i] = space_value(s->space, i,
                             by == SAMPLER_HALTON ? halton_at(key, job->number, (unsigned)i) : sobol_at(key, job->number, (unsigned)i));
    space_settle(s->space, point);
    if (space_allows(s->space, point) && !history_has(s->history, point)) {
      job->suggestion = made(by, why);
      return true;
    }
  }
  return suggest_random(s, job, "no quasi-random point was new", err);
}

/* The first trials of a model: the middle of the space, then spread evenly. */
static bool suggest_startup(struct sampler *s, struct sampler_job *job, struct err *err) {
  double *point = job->point;
  if (job->number == 0 && history_count(s->history) == 0) {
    for (size_t i = 0; i < space_count(s->space); i++)
      point[i] = space_value(s->space, i, 0.5);
    space_settle(s->space, point);
    if (space_allows(s->space, point)) {
      job->suggestion = made(SAMPLER_SOBOL, "the middle of the space");
      return true;
    }
  }
  return suggest_qmc(s, job, SAMPLER_SOBOL, "start-up: spread evenly until a model has enough results", err);
}

/* ---- models ---- */

/* A model that came up with nothing new leaves it to chance. */
static bool or_random(struct sampler *s, struct sampler_job *job, bool ok, struct err *err) {
  if (ok || err->code == ERR_NO_MEMORY)
    return ok;
  return suggest_random(s, job, "the model found no new point", err);
}

static bool suggest_tpe(struct sampler *s, struct sampler_job *job, const char *why, struct err *err) {
  bool ok = tpe_suggest(s->tpe, s->settings.seed, job->number, job->point, err);
  job->suggestion = made(SAMPLER_TPE, why);
  return or_random(s, job, ok, err);
}

static bool suggest_cmaes(struct sampler *s, struct sampler_job *job, const char *why, struct err *err) {
  bool ok = cmaes_suggest(s->cmaes, job->number, job->point, err);
  job->suggestion = made(SAMPLER_CMAES, why);
  return or_random(s, job, ok, err);
}

/* ---- which method ---- */

struct choice {
  enum sampler_type type;
  const char *why;
};

/* Enough results for a model. With many workers half of them do, once the others are on their way: more of what is spread evenly would
 * teach less than what a model asks for. Failures count once there are a few values: where most of the space fails, the others would take
 * long to come by chance. */
static bool is_started(const struct sampler *s) {
  size_t results = history_learnable(s->history), startup = s->settings.startup;
  bool takes_few = s->settings.type != SAMPLER_CMAES; /* which begins from the best of a whole start-up */
  size_t failures = history_tells(s->history) - results - history_gone(s->history);
  if (takes_few && results >= VALUES_LEAST && results + failures >= startup)
    return true;
  return results >= startup || (takes_few && 2 * results >= startup && results + history_pending(s->history) >= startup);
}

static struct choice choose_auto(const struct sampler *s) {
  size_t results = history_learnable(s->history), searched = 0;
  for (size_t i = 0; i < space_count(s->space); i++)
    searched += space_param(s->space, i)->kind != PARAM_CONSTANT;
  if (searched == 0)
    return (struct choice){SAMPLER_RANDOM, "there is nothing to choose"};
  if (!is_started(s))
    return (struct choice){SAMPLER_SOBOL, "spread evenly until there are enough results for a model"};
  if (results <= GP_RESULTS_MAX && searched <= GP_FEATURES_AUTO)
    return (struct choice){SAMPLER_GP, "few results: a Gaussian process makes the most of them; every fifth point is TPE's"};
  if (s->cmaes)
    return (struct choice){SAMPLER_CMAES, "many results and only numbers: CMA-ES goes on from the best of them"};
  return (struct choice){SAMPLER_TPE, "many results or parameters"};
}

static struct choice choose(const struct sampler *s) {
  enum sampler_type type = s->settings.type;
  if (type == SAMPLER_AUTO)
    return choose_auto(s);
  bool model = type == SAMPLER_TPE || type == SAMPLER_GP || type == SAMPLER_CMAES;
  if (model && !is_started(s))
    return (struct choice){SAMPLER_SOBOL, "start-up: spread evenly until a model has enough results"};
  return (struct choice){type, "as asked for"};
}

static struct choice choose_for(const struct sampler *s, uint32_t number) {
  struct choice choice = choose(s);
  if (choice.type == SAMPLER_GP && s->settings.type == SAMPLER_AUTO && number % TPE_EVERY == TPE_EVERY - 1)
    return (struct choice){SAMPLER_TPE, "every fifth point is TPE's, which sees what a Gaussian process overlooks"};
  return choice;
}

enum sampler_type sampler_chosen(const struct sampler *s, struct buf *ret_why) {
  struct choice choice = choose(s);
  buf_puts(ret_why, choice.why);
  return choice.type;
}

bool sampler_may_have_point(const struct space *space, enum sampler_type type) {
  double point[SPACE_PARAMS_MAX];
  struct lattice lattice;
  struct err err;
  bool grid = type == SAMPLER_GRID;
  if (!space_is_constrained(space) || (!grid && draw_allowed(space, 0, 0, 0, NULL, point)))
    return true;
  if (!lattice_init(&lattice, space, grid ? LATTICE_GRID : LATTICE_ALL, &err))
    return err.code != ERR_INVALID || grid; /* a grid's complaint is its own */
  for (uint64_t cell = 0; cell < MIN_OF(lattice.size, FEW_POINTS); cell++)
    if (lattice_point(&lattice, cell, point))
      return true;
  return lattice.size > FEW_POINTS;
}

uint64_t sampler_cells(const struct sampler *s) {
  return s->settings.type == SAMPLER_GRID ? lattice_count(&s->seeker.walk.lattice) : 0;
}

/* ---- suggesting ---- */

/* Notes which of the fixed points had a trial, whoever made it. One that was killed is not tried again. */
static void follow_fixed(struct sampler *s) {
  size_t width = space_count(s->space);
  for (; s->fixed_left && s->fixed_seen < history_events(s->history); s->fixed_seen++) {
    bool told;
    const double *point = history_point(s->history, history_event(s->history, s->fixed_seen, &told));
    for (size_t k = 0; !told && k < s->fixed_count; k++)
      if (!s->fixed_had[k] && space_same(s->space, s->fixed + k * width, point)) {
        s->fixed_had[k] = true;
        s->fixed_left--;
      }
  }
}

static bool use_fixed(struct sampler *s, double *point) {
  size_t k = 0, width = space_count(s->space);
  follow_fixed(s);
  if (!s->fixed_left)
    return false;
  while (s->fixed_had[k])
    k++;
  memcpy(point, s->fixed + k * width, width * sizeof *point);
  return true;
}

/* Everything but the Gaussian process. */
static bool suggest_by(struct sampler *s, struct sampler_job *job, struct choice choice, struct err *err) {
  bool startup = s->settings.type != SAMPLER_SOBOL && choice.type == SAMPLER_SOBOL;
  switch (choice.type) {
  case SAMPLER_TPE:
    return suggest_tpe(s, job, choice.why, err);
  case SAMPLER_CMAES:
    return suggest_cmaes(s, job, choice.why, err);
  case SAMPLER_SOBOL:
  case SAMPLER_HALTON:
    return startup ? suggest_startup(s, job, err) : suggest_qmc(s, job, choice.type, choice.why, err);
  case SAMPLER_GRID:
    return suggest_grid(s, job, choice.why, err);
  default:
    return suggest_random(s, job, choice.why, err);
  }
}

/* Hyperparameters hardly change with a few results more, and a fit takes longer than all the rest. So up to so many results come after it
 * is made again: 2 from 128 results on, 4 from 256 on ... */
static size_t fit_point(size_t tells) {
  size_t step = 1;
  while (tells >= step * FIT_STEPS)
    step *= 2;
  return tells - tells % step;
}

/* A search for the Gaussian process, with the hyperparameters that are known or with a search for them, which sees results alone. */
static bool start_search(struct sampler *s, struct sampler_job *job, struct err *err) {
  size_t tells = history_tells(s->history);
  bool supposes = history_supposes(s->history) != SUPPOSE_NOTHING;
  if (!gp_search_new(s->history, GP_ROWS_NOW, &gp_search_defaults, s->settings.seed, job->number, &job->search, err))
    return false;
  job->fit_tells = fit_point(tells);
  struct err too_few;
  if (s->fitted && s->fitted_tells == job->fit_tells) {
    gp_search_reuse(job->search, s->fitted);
    if (s->fitted_fails)
      gp_search_reuse_fails(job->search, s->fitted_fails);
  } else if (job->fit_tells == tells && !supposes)
    job->is_fitted = job->has_fails = true;
  else if (!gp_search_new(s->history, job->fit_tells, &gp_search_defaults, s->settings.seed, job->number, &job->fit, &too_few))
    return too_few.code != ERR_NO_MEMORY || err_no_memory(err);
  return true;
}

/* Fills the job, or leaves something to do in it. */
static bool start_job(struct sampler *s, struct sampler_job *job, struct err *err) {
  struct choice choice = choose_for(s, job->number);
  if (use_fixed(s, job->point)) {
    job->suggestion = made(s->settings.type, "fixed by the user");
    return true;
  }
  if (seeker_is_used_up(&s->seeker)) {
    job->suggestion = none_left(choice.type);
    return true;
  }
  if (choice.type != SAMPLER_GP)
    return suggest_by(s, job, choice, err);
  if (!start_search(s, job, err)) {
    if (err->code == ERR_NO_MEMORY)
      return false;
    return suggest_by(s, job, (struct choice){SAMPLER_TPE, "a Gaussian process has nothing to go by"}, err);
  }
  job->state = JOB_THINKS;
  job->suggestion = made(SAMPLER_GP, choice.why);
  return true;
}

bool sampler_sees_curve(const struct sampler *s, uint32_t number) {
  return s->settings.type == SAMPLER_GP || (s->settings.type == SAMPLER_AUTO && number < AUTO_CURVES);
}

bool sampler_sees_beyond(struct sampler *s, uint32_t number) {
  follow_fixed(s);
  enum supposed supposed = history_supposes(s->history);
  bool counts = supposed == SUPPOSE_BEST || supposed == SUPPOSE_WORST; /* which no trial does that is not there yet */
  return !counts && !s->seeker.has_walk && !s->fixed_left && choose_for(s, number).type == SAMPLER_GP;
}

bool sampler_start_beyond(struct sampler *s, uint32_t number, const double *points, size_t count, struct sampler_job **ret,
                          struct err *err) {
  struct sampler_job *job = mem_zalloc(sizeof *job);
  if (!job)
    return err_no_memory(err);
  job->number = number;
  job->point = mem_array(space_count(s->space), sizeof *job->point);
  bool ok = job->point != NULL || err_no_memory(err);
  struct err why = {0};
  if (ok && (!start_job(s, job, &why) || (job->search && count && !gp_search_add_pending(job->search, points, count, &why)))) {
    if (err)
      *err = why;
    ok = false;
  }
  if (!ok) {
    sampler_job_drop(job);
    return false;
  }
  *ret = job;
  return true;
}

bool sampler_start(struct sampler *s, uint32_t number, struct sampler_job **ret, struct err *err) {
  return sampler_start_beyond(s, number, NULL, 0, ret, err);
}

void sampler_follow(struct sampler *s) {
  struct err ignored;
  if (s->tpe && !tpe_follow(s->tpe, &ignored))
    return;
}

bool sampler_is_slow(const struct sampler *s) {
  return choose(s).type == SAMPLER_GP && history_learnable(s->history) > GP_SLOW_ROWS;
}

bool sampler_job_is_slow(const struct sampler_job *job) {
  return job->state == JOB_SEEKS || (job->state == JOB_THINKS && gp_search_rows(job->search) > GP_SLOW_ROWS);
}

static void think(struct sampler_job *job) {
  struct err err;
  if (job->fit && gp_search_fit(job->fit, &err)) {
    const struct gp_params *fails = gp_search_fails_params(job->fit);
    gp_search_reuse(job->search, gp_search_params(job->fit));
    if (fails)
      gp_search_reuse_fails(job->search, fails);
    job->is_fitted = true, job->has_fails = fails != NULL;
  }
  gp_search_free(job->fit);
  job->fit = NULL;
  job->failed = !gp_search_run(job->search, &err);
  job->ran = true;
}

void sampler_job_run(struct sampler_job *job) {
  if (job->state == JOB_SEEKS)
    seek_run(&job->seek);
  else if (job->state == JOB_THINKS && !job->ran)
    think(job);
}

void sampler_job_drop(struct sampler_job *job) {
  if (!job)
    return;
  gp_search_free(job->search), gp_search_free(job->fit);
  seek_release(&job->seek);
  mem_free(job->point);
  mem_free(job);
}

/* Keeps the fit for those that come from the same. Without memory it is only made again. */
static void keep_fit(struct sampler *s, const struct sampler_job *job) {
  if (!job->is_fitted || (s->fitted && s->fitted_tells > job->fit_tells))
    return;
  const struct gp_params *params = gp_search_params(job->search), *fails = job->has_fails ? gp_search_fails_params(job->search) : NULL;
  struct gp_params *kept = mem_alloc(sizeof *kept), *kept_fails = fails ? mem_alloc(sizeof *kept_fails) : NULL;
  if (!kept || (fails && !kept_fails)) {
    mem_free(kept), mem_free(kept_fails);
    return;
  }
  *kept = *params;
  if (fails)
    *kept_fails = *fails;
  mem_free(s->fitted), mem_free(s->fitted_fails);
  s->fitted = kept, s->fitted_fails = kept_fails;
  s->fitted_tells = job->fit_tells;
}

void sampler_job_leave(struct sampler *s, struct sampler_job *job) {
  if (job->ran && !job->failed)
    keep_fit(s, job);
  seek_end(&s->seeker, &job->seek);
  sampler_job_drop(job);
}

/* The best of the points found that is still free. */
static bool take_found(struct sampler *s, struct sampler_job *job, struct err *err) {
  job->state = JOB_SETTLED;
  if (!job->failed) {
    keep_fit(s, job);
    for (size_t k = 0; k < gp_search_found(job->search); k++) {
      const double *point = gp_search_point(job->search, k);
      if (history_has(s->history, point))
        continue;
      memcpy(job->point, point, space_count(s->space) * sizeof *point);
      return true;
    }
  }
  return suggest_tpe(s, job, "the Gaussian process found no new point", err);
}

/* What it was settled on may have been taken since. */
static bool take_another(struct sampler *s, struct sampler_job *job, struct err *err) {
  if (job->suggestion.kind != SUGGESTION_POINT || !history_has(s->history, job->point))
    return true;
  return suggest_random(s, job, "the point was taken meanwhile", err);
}

bool sampler_job_settle(struct sampler *s, struct sampler_job *job) {
  struct err err;
  bool ok = true;
  if (job->has_none)
    return true;
  if (job->state == JOB_SETTLED)
    ok = take_another(s, job, &err);
  else if (job->state == JOB_SEEKS)
    ok = seek_on(s, job, job->suggestion.by, &err);
  else if (job->ran)
    ok = take_found(s, job, &err);
  if (!ok) {
    job->state = JOB_SETTLED;
    job->has_none = true;
    job->why_none = err;
  }
  return job->state == JOB_SETTLED;
}

bool sampler_finish(struct sampler *s, struct sampler_job *job, double *ret_point, struct suggestion *ret, struct err *err) {
  while (!sampler_job_settle(s, job))
    sampler_job_run(job);
  bool ok = !job->has_none;
  if (ok) {
    memcpy(ret_point, job->point, space_count(s->space) * sizeof *ret_point);
    *ret = job->suggestion;
  } else if (err) {
    *err = job->why_none;
  }
  seek_end(&s->seeker, &job->seek);
  sampler_job_drop(job);
  return ok;
}

bool sampler_suggest(struct sampler *s, uint32_t number, double *ret_point, struct suggestion *ret, struct err *err) {
  struct sampler_job *job;
  return sampler_start(s, number, &job, err) && sampler_finish(s, job, ret_point, ret, err);
}
