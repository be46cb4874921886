/* The decisions of one sweep, without any I/O: events go in, things to do come out.
 *
 * Intent first. A change lives in memory until it is written; what it entails (start a job, end one, free slots) comes out only when the
 * row that says so is known to be durable. A write may fail or end without an answer: it is given out again, and since rows carry versions,
 * writing one twice is harmless. After a crash the rows are loaded again and the same things come out again, so everything the caller does
 * with them must bear repetition.
 *
 * Attempts fence: an attempt's number is its epoch. LOST frees nothing: a trial's next attempt begins only when the one before is known to
 * be over. Exactly one attempt of a trial is ever accepted.
 *
 * Time is milliseconds of service uptime, from the caller; what passed without a service is in the row that is loaded. */
#ifndef WINNOW_SWEEPER_ENGINE_H
#define WINNOW_SWEEPER_ENGINE_H

#include "base/err.h"
#include "sweeper/engine/fsm.h"
#include "sweeper/file/sweep_spec.h"
#include "sweeper/rules/stop.h"

enum { ENGINE_TRIALS_MAX = STOP_TRIALS_MAX, ENGINE_REFUSALS_MAX = 5 };

struct engine_conf {
  int64_t run_cap;                     /* trials; 0: none */
  uint32_t max_parallel;               /* 0: none */
  int64_t max_time_ms, max_slot_ms;    /* 0: none */
  int64_t max_failures, give_up_after; /* 0: never */
  int64_t retries_max;
  unsigned retries_on;   /* enum sweep_retry_on */
  int64_t lease_ms;      /* of a companion */
  int64_t lost_after_ms; /* silence that counts as death; 0: only the executor can say it (local) */
  int64_t stop_grace_ms; /* ask and tell: so long a worker may still tell of a trial that a person has ended */
  uint32_t slots;        /* of one trial */
  bool asks;             /* ask and tell: workers come for trials, there is no executor */
  bool needs_value;      /* a trial that ends well without the goal metric has failed */
};

enum { ENGINE_LEASE_MS = 30000, ENGINE_LOST_AFTER_MS = 3600000 };
/* What the sweep file says; a sweep without a command is ask and tell. */
struct engine_conf engine_conf_of_file(const struct sweep_spec *spec);

/* Why a run is STOPPING, or how it ended. */
enum engine_cause {
  CAUSE_NONE,
  CAUSE_VERDICT,   /* early termination */
  CAUSE_KILLED,    /* a person */
  CAUSE_SWEEP,     /* its sweep was stopped or drained */
  CAUSE_EXIT,      /* exit code or signal */
  CAUSE_NO_METRIC, /* exit 0, but the goal metric was never seen */
  CAUSE_START,     /* no node would start it */
  CAUSE_LOST,      /* its companion is gone */
};

/* The row of a trial, as it is to be stored. */
struct engine_trial {
  uint32_t number;
  uint32_t attempt; /* 0 before the first */
  uint32_t version;
  uint32_t lease_ms; /* ask and tell: what the worker asked for, 49 days at most; 0: the sweep's */
  uint16_t retries;  /* attempts that were given out because one before came to nothing */
  uint8_t refusals;
  uint8_t state; /* enum run_state */
  uint8_t cause; /* enum engine_cause */
  bool dead;     /* the attempt is known to be over, or there is none */
  bool has_value;
};

enum engine_why {
  WHY_NONE,
  WHY_DRAINED,
  WHY_STOPPED,
  WHY_TARGET,
  WHY_TIME,
  WHY_SLOT_TIME,
  WHY_GAVE_UP,
  WHY_FAILURES,
  WHY_ALL_MADE,
  WHY_EXHAUSTED,
  WHY_ALL_FAILED,
  WHY_RETRIED,
  WHY_STOPPED_RETRIED,
  WHY_IN_TRASH,
  WHY_COUNT
};
/* A sentence for people. */
const char *engine_why_text(enum engine_why why);

/* The row of the sweep. */
struct engine_sweep {
  uint64_t version;
  int64_t elapsed_ms, slot_ms; /* at the time of the write */
  uint8_t state;               /* enum sweep_state */
  uint8_t why;                 /* enum engine_why: why no new trials are made, or were */
  bool exhausted;              /* the space is used up */
};

struct engine;

/* ---- making and loading ---- */

/* `row` NULL: a new sweep. Else load every trial and say engine_loaded() before anything else. */
MUST_CHECK bool engine_new(const struct engine_conf *conf, const struct engine_sweep *row, int64_t now, struct engine **ret,
                           struct err *err);
void engine_free(struct engine *e);
MUST_CHECK bool engine_load(struct engine *e, const struct engine_trial *row, struct err *err);
/* Its attempts took so long, as far as their rows tell; the sweep's own row is older. */
void engine_load_slot_ms(struct engine *e, int64_t slot_ms);
/* Every lease begins anew. Should numbers be missing below the highest, the next trials that are made get them. */
void engine_loaded(struct engine *e, int64_t now);

/* ---- what is to be done ---- */

enum engine_todo_kind {
  TODO_NONE,
  TODO_WRITE_SWEEP, /* then engine_sweep_written() */
  TODO_WRITE_TRIAL, /* then engine_trial_written() */
  TODO_ENQUEUE,     /* to the scheduler, then engine_placed() */
  TODO_DEQUEUE,     /* out of the scheduler again */
  TODO_START,       /* the job of this attempt; then engine_started(), engine_refused(), or silence */
  TODO_END,         /* TERM, grace, KILL; then engine_exited() or engine_dead(), also when it had never been started */
  TODO_RELEASE,     /* the slots of this attempt are free */
};

struct engine_todo {
  enum engine_todo_kind kind;
  /* TODO_WRITE_TRIAL: the row is new. All new rows given out before the next TODO_NONE are stored in one transaction or not at all; no
   * others come before their outcome is told. So numbers have no gaps, whatever fails. */
  bool creation;
  struct engine_trial trial; /* a copy of the row as it is now */
  struct engine_sweep sweep; /* TODO_WRITE_SWEEP */
};

/* The next thing, each given out once; TODO_NONE when there is none now. Call after every event until it is. */
struct engine_todo engine_next(struct engine *e);
/* The outcome of a write. `ok` false: not done, or not known; it is given out again at the next tick. */
void engine_sweep_written(struct engine *e, uint64_t version, bool ok);
void engine_trial_written(struct engine *e, uint32_t number, uint32_t version, bool ok);

/* ---- new trials ---- */

/* How many more trials are wanted now, when `width` could be live at once (max_parallel counts too). */
uint32_t engine_wants(const struct engine *e, uint32_t width);
/* Will more be wanted, sooner or later? */
bool engine_has_room(const struct engine *e);
/* A trial with a point of the sampler's or of a person's; while the sweep is paused it waits. ERR_WRONG_STATE when the cap is reached, or
 * no new trials are made. */
MUST_CHECK bool engine_create(struct engine *e, uint32_t *ret_number, struct err *err);
/* A trial that somebody ran without us, already over: RUN_FINISHED, RUN_FAILED or RUN_STOPPED. It counts, but the cap does not stop it. */
MUST_CHECK bool engine_add(struct engine *e, enum run_state state, bool has_value, uint32_t *ret_number, struct err *err);
/* Somebody has what the sweep was to find: no new trials. */
void engine_reached_target(struct engine *e);
/* The number that the next new trial gets. */
uint32_t engine_next_number(struct engine *e);
/* The space is used up. */
void engine_exhausted(struct engine *e);

/* ---- what executors and companions say ---- */

enum engine_answer {
  ANSWER_GO_ON,
  ANSWER_STOP,   /* the verdict, or a person's wish, is durable: end it */
  ANSWER_FENCED, /* another attempt has taken over, or it is all over: 409, and end the job */
};

/* It has slots: one that was given to the scheduler, or one that is new in this turn, which so is stored as starting and never as waiting.
 * False: it is not wanted any more; give its slots back. */
bool engine_placed(struct engine *e, uint32_t number, int64_t now);
enum engine_answer engine_started(struct engine *e, uint32_t number, uint32_t attempt, int64_t now);
enum engine_refusal {
  REFUSAL_COUNTS, /* the trial fails after ENGINE_REFUSALS_MAX of them */
  REFUSAL_PASSES, /* it waits, as long as it takes */
  REFUSAL_STAYS,  /* it fails now */
};
/* It could not be started. */
void engine_refused(struct engine *e, uint32_t number, uint32_t attempt, enum engine_refusal refusal, int64_t now);

struct engine_report {
  bool has_value; /* the goal metric is in it */
  bool target;    /* and has reached the target */
  bool stop;      /* a rule of early termination fires */
};
/* A report, or with NULL a heartbeat. */
enum engine_answer engine_heard(struct engine *e, uint32_t number, uint32_t attempt, const struct engine_report *report, int64_t now);
/* The attempt is over: `ok` is exit code 0. */
enum engine_answer engine_exited(struct engine *e, uint32_t number, uint32_t attempt, bool ok, int64_t now);
/* It is known to be over, and nobody knows how it ended. */
void engine_dead(struct engine *e, uint32_t number, uint32_t attempt, int64_t now);
/* The service stood still for so long, and heard nobody: leases are of its uptime. */
void engine_stood_still(struct engine *e, int64_t ms);
/* Leases, budgets, writes that are to be tried again. */
void engine_tick(struct engine *e, int64_t now);

/* ---- ask and tell ---- */

/* Gives a waiting trial to a worker; false when none waits (make one with engine_create() if engine_wants() says so: it waits at once, so
 * that its first row names its worker). The worker is told when the row is durable. */
bool engine_ask(struct engine *e, int64_t lease_ms, int64_t now, uint32_t *ret_number);
/* The worker will not hear of it, since the write failed: its lease ends now, and the next who asks gets the trial. */
void engine_unask(struct engine *e, uint32_t number, uint32_t attempt);
enum engine_told { TOLD_OK, TOLD_AGAIN, TOLD_FENCED };
/* `state` RUN_FINISHED, RUN_FAILED or RUN_STOPPED; attempt 0: the present one. TOLD_AGAIN: it has ended already, and nothing is changed. */
enum engine_told engine_tell(struct engine *e, uint32_t number, uint32_t attempt, enum run_state state, bool has_value, int64_t now);

/* ---- what people want; each is safe to repeat ---- */

/* ERR_WRONG_STATE when the state does not allow it. */
MUST_CHECK bool engine_pause(struct engine *e, struct err *err);
/* Its experiment went into the trash: one that runs is paused, and what is not over is written once more, behind what is on its way. */
void engine_shelve(struct engine *e);
MUST_CHECK bool engine_resume(struct engine *e, int64_t now, struct err *err);
MUST_CHECK bool engine_drain(struct engine *e, struct err *err);
MUST_CHECK bool engine_stop(struct engine *e, struct err *err);
MUST_CHECK bool engine_kill(struct engine *e, uint32_t number, int64_t now, struct err *err);
/* A sweep that is over drains again, without new trials, until that one is over too. */
MUST_CHECK bool engine_retry(struct engine *e, uint32_t number, struct err *err);
/* run_cap, max_parallel, budgets, retries may change; a sweep that drained for a limit that is no longer reached goes on. */
void engine_edit(struct engine *e, const struct engine_conf *conf, int64_t now);

/* ---- looking ---- */

struct engine_counts {
  uint32_t made, live, failed, succeeded; /* failed: FAILED, and LOST for good */
  uint32_t by_state[RUN_STATE_COUNT];
};
struct engine_counts engine_counts(const struct engine *e);
/* NULL when there is no such trial. */
const struct engine_trial *engine_trial(const struct engine *e, uint32_t number);
/* Trials that are not over, in no order: the first after UINT32_MAX, and so on. False: there are no more. */
bool engine_next_live(const struct engine *e, uint32_t *number);
bool engine_trial_durable(const struct engine *e, uint32_t number);
struct engine_sweep engine_sweep(const struct engine *e);
/* In a final state, and no attempt of it can be alive: nothing will change in it any more, and its slots are free. */
bool engine_row_is_over(const struct engine_trial *row);

#endif
