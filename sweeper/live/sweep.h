/* Sweeps that live: each with its engine, space, sampler, history and stop rules. Decisions are the engine's; this turns them into rows and
 * places in the queue, and feeds back what came of them. They are found, shown, steered, asked and told here; sweeper/sweeps.h makes them,
 * stores them and reads them again.
 *
 * Everything on the loop. Callbacks come once, never before their starter has returned. */
#ifndef WINNOW_SWEEPER_SWEEP_H
#define WINNOW_SWEEPER_SWEEP_H

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/rng.h"
#include "tracker/run_state.h"

struct loop;
struct work_pool;
struct pg_pool;
struct metric_store;
struct log_store;
struct artifact_store;
struct code_store;
struct gpus;
struct sweeps;
struct live_sweep;
struct live_trial;

/* What became durable, or happened, for whoever shows it. */
struct sweeps_change {
  enum { SWEEPS_TRIAL, SWEEPS_SWEEP, SWEEPS_POINTS /* of `run`, read from its output */, SWEEPS_QUEUE } kind;
  struct id sweep, run;
  const struct live_trial *trial; /* SWEEPS_TRIAL */
  const char *from, *to, *reason; /* states; NULL: none. Valid during the call */
  const char *actor;              /* the person who did it; NULL: the service */
};
typedef void sweeps_change_fn(void *ctx, const struct sweeps_change *change);

struct sweeps_conf {
  struct loop *loop;
  struct work_pool *work;
  struct pg_pool *pg;
  struct metric_store *metrics;
  struct log_store *logs;
  struct artifact_store *artifacts; /* NULL: none */
  struct code_store *code;
  const struct clock *clock;
  struct rng rng;
  const char *data_dir;
  const char *companion;     /* path of winnow-exec */
  const char *url;           /* for jobs; NULL: none */
  const char *artifact_root; /* of experiments that are made here */
  const struct gpus *gpus;   /* slot i is GPU i; NULL or none: slots are shares of the CPUs */
  unsigned slots;
  /* The token a job writes its run with. */
  void (*make_token)(void *ctx, struct id run, int32_t attempt, char out[128]);
  void *token_ctx;
  sweeps_change_fn *on_change; /* NULL: nobody wants to know */
  void *change_ctx;
};

typedef void sweeps_done_fn(void *ctx, const struct err *err);

/* What a companion hears that asks whether its job may go on. */
enum companion_says { COMPANION_GO_ON, COMPANION_STOP, COMPANION_FENCED, COMPANION_LATER };
typedef void companion_fn(void *ctx, enum companion_says says);

/* ---- finding ---- */

/* NULL: there is none, or it was over before this service started or long ago: then the database knows it. ERR_UNAVAILABLE while loading
 * is sweeps_ready()'s. */
MUST_CHECK bool sweeps_ready(const struct sweeps *sweeps, struct err *err);
struct live_sweep *sweeps_find(const struct sweeps *sweeps, struct id sweep);
struct live_trial *sweeps_trial(const struct sweeps *sweeps, struct id run);
/* Is it known here that this attempt runs, or is about to? */
bool sweeps_runs(const struct sweeps *sweeps, struct id run, int32_t attempt);
struct live_sweep *live_trial_sweep(const struct live_trial *trial);
bool live_has_command(const struct live_sweep *sweep);
size_t live_trial_count(const struct live_sweep *sweep);
bool live_is_over(const struct live_sweep *sweep);

/* As api.md shows them. */
void live_put_sweep(const struct live_sweep *sweep, struct json_writer *w);
void live_put_trial(const struct live_trial *trial, struct json_writer *w);
/* In the order of the sweep's file. NULL without memory; the caller owns it. */
json_t *live_params(const struct live_trial *trial);
/* "made": the method that made a point (null: a person), the results and the pending trials that it knew; how many results there were when
 * the trial was added, and when its own came; the reports it knew of running trials. In this order; negative: none. */
enum { LIVE_MADE_COUNT = 6 };
void live_put_made(struct json_writer *w, const int64_t made[LIVE_MADE_COUNT]);
/* What the stop rules know: an array of at most `limit` of them. Returns the one that the next page begins with; 0: there is none. */
size_t live_put_rungs(const struct live_sweep *sweep, size_t from, size_t limit, struct json_writer *w);
/* Sweeps that are not over and could not be taken up when the service started, since a row of theirs cannot be read. They rest: nothing of
 * them is changed, and jobs of theirs that run go on and keep their slots and what they print, until the row is mended and the service
 * started again. NULL: it is none of them. */
struct damaged_sweep;
const struct damaged_sweep *sweeps_damaged(const struct sweeps *sweeps, struct id sweep);
/* As far as it can be read, its reason saying what is damaged, and the remedy. */
void damaged_put(const struct damaged_sweep *damaged, struct json_writer *w);
/* ERR_WRONG_STATE, with that reason; false. */
bool damaged_refuse(const struct damaged_sweep *damaged, struct err *err);
/* That reason, of a run that is known to be one of theirs; NULL: none is known. */
const char *sweeps_rest_reason(const struct sweeps *sweeps, struct id run);
/* May the run be one of theirs? */
bool sweeps_may_rest(const struct sweeps *sweeps, struct id run);
/* Name and number of a state. */
const char *sweep_state_text(int state);
int sweep_state_of(struct str name);

/* ---- changing; each takes effect at once and is durable when sweeps_wait() says so, and so is the event that names who did it ---- */

/* Calls `done` when what was changed so far of the sweep, and of the trial if one is given, is durable; with an error when the write failed
 * (it is tried again, so the same request may be repeated). */
MUST_CHECK bool sweeps_wait(struct live_sweep *sweep, struct live_trial *trial, sweeps_done_fn *done, void *ctx, struct err *err);
/* Is what was changed so far of the trial durable? */
bool live_is_durable(const struct live_trial *trial);

enum live_action { LIVE_PAUSE, LIVE_RESUME, LIVE_DRAIN, LIVE_STOP };
MUST_CHECK bool live_act(struct live_sweep *sweep, enum live_action action, struct str actor, struct err *err);
/* Keys of api.md's PATCH; all or nothing. `done` when it is stored. ERR_WRONG_STATE when the sweep is over, or ends before that. */
MUST_CHECK bool live_edit(struct live_sweep *sweep, const json_t *edits, struct str actor, sweeps_done_fn *done, void *ctx,
                          struct err *err);
/* May the experiment go into the trash? ERR_WRONG_STATE, naming them, while sweeps of it are not over. */
MUST_CHECK bool sweeps_let_go(const struct sweeps *sweeps, int64_t experiment, struct err *err);
/* An experiment went into the trash all the same, or came out of it, or may have: of those that are there all sweeps that run are paused.
 * `done`, which may be NULL, when that is so; with an error when it cannot be known now: then it is asked again. */
MUST_CHECK bool sweeps_look_into_trash(struct sweeps *sweeps, struct str actor, sweeps_done_fn *done, void *ctx, struct err *err);
/* Are these edits that sweeps know, with values that make sense? */
MUST_CHECK bool sweeps_edits_check(const json_t *edits, struct err *err);
/* Without an actor no event says so. */
MUST_CHECK bool live_enqueue(struct live_sweep *sweep, const json_t *params, struct str actor, struct live_trial **ret, struct err *err);
MUST_CHECK bool live_kill(struct live_trial *trial, struct str actor, struct err *err);
MUST_CHECK bool live_retry(struct live_trial *trial, struct str actor, struct err *err);

/* ---- the queue, and the node ---- */

/* An array of what waits from `from` on, at most `count`; the position after, 0 at the end. */
size_t sweeps_put_queue(const struct sweeps *sweeps, size_t from, size_t count, struct json_writer *w);
/* Why a trial that is QUEUED waits, as a sentence. False: nobody here knows. */
MUST_CHECK bool live_wait_reason(const struct live_trial *trial, struct buf *out);
/* `position` is null when it waits no more. */
void queue_put_entry(const struct live_trial *trial, struct json_writer *w);

struct queue_change {
  int64_t priority, position; /* position from 1 on */
  bool hold, has_hold, has_priority, has_position;
};
/* Takes effect at once; `done` when it is stored. ERR_WRONG_STATE when it does not wait. */
MUST_CHECK bool sweeps_queue_change(struct live_trial *trial, const struct queue_change *change, struct str actor, sweeps_done_fn *done,
                                    void *ctx, struct err *err);

/* This machine. */
void sweeps_put_node(const struct sweeps *sweeps, struct json_writer *w);
const char *sweeps_node_name(const struct sweeps *sweeps);
/* No more jobs for it, or jobs again; as above. `reason` may be empty. */
MUST_CHECK bool sweeps_drain_node(struct sweeps *sweeps, bool drained, struct str reason, struct str actor, sweeps_done_fn *done, void *ctx,
                                  struct err *err);

/* ---- ask and tell ---- */

struct live_answer {
  struct live_trial **trials;
  size_t count;
  bool finished; /* no more will come */
};
typedef void live_ask_fn(void *ctx, const struct live_answer *answer, const struct err *err);
enum { LIVE_ASK_MAX = 1000, LIVE_WORKER_MAX = 200 };
/* Trials for a worker, told when they are durable; fewer than `count` when there are no more now. */
MUST_CHECK bool live_ask(struct live_sweep *sweep, size_t count, struct str worker, int64_t lease_ms, live_ask_fn *done, void *ctx,
                         struct err *err);

struct live_tell {
  enum run_state state; /* RUN_FINISHED, RUN_FAILED, RUN_STOPPED */
  bool has_value;
  double value;
  int64_t attempt; /* whose result it is; 0: the present one's */
};
/* Would these be taken now? They change nothing. */
MUST_CHECK bool live_tell_check(const struct live_trial *trial, const struct live_tell *tell, struct err *err);
MUST_CHECK bool live_add_check(const struct live_sweep *sweep, const json_t *params, const struct live_tell *tell, struct err *err);
/* The same again changes nothing; another one is ERR_CONFLICT; after its lease went to another worker ERR_FENCED. */
MUST_CHECK bool live_tell(struct live_trial *trial, const struct live_tell *tell, struct err *err);
/* A trial that was run without us. */
MUST_CHECK bool live_add(struct live_sweep *sweep, const json_t *params, const struct live_tell *tell, struct live_trial **ret,
                         struct err *err);

struct live_report {
  struct str key;
  double value, epoch; /* epoch NaN: none */
  int64_t step;
};
/* Is it the goal metric, or does a rule look at it? Others are passed over. */
bool live_watches(const struct live_sweep *sweep, struct str key);
/* Who says it, when it is not a stream of the job's output or one of its files (log_points_fn). */
#define LIVE_FROM_CLIENT UINT32_MAX
#define LIVE_FROM_REPORT (UINT32_MAX - 1)
#define LIVE_FROM_STORE (UINT32_MAX - 2) /* whoever it was */
/* Intermediate values of a trial; attempt 0 is the present one. Without any: a sign of life. What another source of the attempt has said
 * already is passed over. ERR_FENCED when the attempt is over. */
MUST_CHECK bool live_hear(struct live_trial *trial, int32_t attempt, uint32_t source, const struct live_report *reports, size_t count,
                          struct err *err);
/* Points of this run were stored while nothing could be heard, since the sweeps were being loaded. */
void sweeps_missed(struct sweeps *sweeps, struct id run);
/* Something was written to this run: if a worker asked for it, it lives. */
void sweeps_stir(struct sweeps *sweeps, struct id run);
/* What a trial has reported so far; NaN: nothing. `value` follows from `metric.use`, `last` is its last report of the goal. */
struct live_value {
  double value, best, last;
  int64_t step, last_step;
};
struct live_value live_value(const struct live_trial *trial);
/* The same of each trial that is not over and has reported something. */
typedef void live_value_fn(void *ctx, struct id run, const struct live_value *value);
void live_each_value(const struct live_sweep *sweep, live_value_fn *each, void *ctx);
int32_t live_attempt(const struct live_trial *trial);
/* {"verdict": "continue"} or {"verdict": "stop", "rule", "reason"}; durable verdicts only. */
void live_put_verdict(const struct live_trial *trial, struct json_writer *w);

#endif
