/* Inside of sweep.h: the sweeps in memory as this room, jobs/ and the files above them see them. */
#ifndef WINNOW_SWEEPER_LIVE_H
#define WINNOW_SWEEPER_LIVE_H

#include <math.h>

#include "base/id_map.h"
#include "base/list.h"
#include "base/map.h"
#include "base/shelf.h"
#include "base/work.h"
#include "sampler/sampler.h"
#include "storage/pg/pg.h"
#include "sweeper/engine/engine.h"
#include "sweeper/file/sweep_file.h"
#include "sweeper/live/goal_watch.h"
#include "sweeper/live/stored.h"
#include "sweeper/live/sweep.h"
#include "sweeper/machine/schedule.h"
#include "sweeper/rules/heard.h"
#include "tracker/logs/log_store.h"

enum {
  LIVE_SWEEPS_MAX = 10000,
  LIVE_OVER_KEPT = 16, /* sweeps that are over and still in memory, for workers that come late */
  LIVE_TICK_MS = 500,
  LIVE_STILL_MS = 2000, /* a tick that is so late was held up: the process, or the machine, was stopped */
  LIVE_WAITING_MAX = 100000,
  LIVE_BATCH_MAX = 20000,    /* rows, and reports, of a transaction */
  LIVE_BATCH_OWN_MAX = 1000, /* rows of it that need statements of their own, which are limited; see sweep_rows.c */
  LIVE_BATCH_DEEDS_MAX = 1000,
  LIVE_ASK_LEASE_MS = 86400 * 1000,
  LIVE_PREVIEW_POINTS = 5,
  LIVE_PREVIEW_RUNS_MOST = 8, /* of looking for one of them: a tenth of a second */
  LIVE_PREVIEW_RUNGS = 12,
  LIVE_COLLECT_MS = 600 * 1000,
  LIVE_END_ROOM_MS = 15 * 1000, /* beyond the grace of the jobs, until a service that stops with its jobs gives up waiting */
};

/* What a point was made from. */
struct live_made {
  int8_t by;      /* enum sampler_type, or LIVE_BY_HAND */
  uint32_t tells; /* results the sampler knew */
  uint32_t pending;
  uint32_t reports; /* that were heard, where running trials count as what they reported last; else 0 */
};
enum { LIVE_BY_HAND = -1 };

struct live_point {
  struct suggestion suggestion;
  struct live_made made;
  uint32_t gone; /* of the results: points that are free again */
  double point[SPACE_PARAMS_MAX];
};
enum { LIVE_AHEAD_MAX = 2 };

/* An attempt of a trial that had several, until it is stored. */
struct live_past {
  struct live_past *next;
  uint32_t attempt;
  uint8_t state;
  bool has_exit, by_signal, flying;
  int32_t exit;
  int64_t began, ended; /* wall clock; 0: not known, not yet */
  char reason[200];
};

/* How a trial ended the first time: what the sampler was told, which a person's retry changes no more. */
struct live_first_end {
  uint8_t state; /* enum run_state */
  double value;  /* NaN: none */
  int64_t step;
  int64_t reports; /* of the sweep: those below this number came before */
};

/* What a trial needs while it runs or may yet run. */
struct live_course {
  uint32_t heard_attempt; /* whose reports the rules know */
  struct live_said *said; /* what still holds of them; live_values.c */
  uint32_t said_count, said_cap;
  char *worker, *reason, *stop; /* stop: {"rule", "step", "comparison", "reason"} */
  char *command;                /* argv of the newest attempt that was started here, as JSON, until its row has it */
  bool has_exit, by_signal;     /* of the current attempt */
  int32_t exit;
  int64_t attempt_began, attempt_ended; /* wall clock; 0: not known, not yet */
  struct live_past *past;               /* to be stored */
  struct live_first_end first_end;
  bool keeps_first_end, first_end_flying; /* it is to be stored */
  bool knows_first_end;                   /* reports that come now are of a later attempt: the sampler's curve is closed */
  uint32_t kept_attempt;                  /* the newest of which it is known what it came to */
  double epochs;                          /* of a whole training, as its parameter says; 0: not looked up yet, below 0: it does not say */
  double *recent;                         /* the last values, when the goal is their mean */
  uint32_t recent_count;
  /* the job, when there is one */
  bool in_schedule;
  uint32_t adopted;     /* the attempt that an earlier service has started: it is not started again, whatever becomes of it; 0: none */
  bool unwatched;       /* it could not be watched yet */
  uint8_t finishers;    /* companions of the attempt that were to bring home what one that died had left */
  bool is_ending;       /* a companion has told how it ended, and that is being stored */
  bool points_given_up; /* its end has waited long enough for its last points */
  bool held, has_priority;
  int64_t queue_priority, queue_since; /* queue_since: microseconds; 0: when it was created */
  uint32_t job;
  struct log_writer *log;
  uint32_t log_attempt;
  struct heard heard; /* reports taken in, by source */
  uint32_t heard_of;  /* of this attempt */
  unsigned missed;    /* how often points may have been stored that nobody heard; see catch_up.c */
  struct {
    uint32_t attempt;
    uint64_t heard, mute; /* sources: one of its files has given points; one has not, though it was read */
  } files;
  bool has_epochs; /* its points carry epochs, the first of them: */
  double first_epoch;
  int64_t running_since; /* as far as this service saw, by the clock that does not jump; 0: it does not run yet */
  companion_fn *poll_done;
  void *poll_ctx;
  int64_t poll_until;
  struct job_making *making; /* its directory, on a thread; NULL: none */
};

/* A trial in memory: what the engine and the sampler do not keep. There may be millions. */
struct live_trial {
  struct live_sweep *sweep; /* NULL: there is no such trial */
  struct id run;
  int64_t created, started, ended; /* wall clock; 0: not yet */
  double value, best, last;        /* NaN: none */
  int64_t value_step, last_step;
  struct live_course *course; /* NULL: it is over, and nothing more is to be said of its end */
  uint32_t number;
  int32_t told; /* -1: the sampler does not know the result */
  struct live_made made;
  uint32_t at_tells; /* results there were when it joined the history */
  uint8_t shown;     /* the state that was told last; RUN_STATE_COUNT: none */
  uint8_t noted;     /* the state it was in when its row was last given out; RUN_STATE_COUNT: it was not yet */
};

/* What a launched run is said to be, as JSON, until its row is made. */
struct live_about {
  char *command, *params, *tags;
};

/* Something that was done to a sweep or run, or that befell it: an event of it. */
struct deed {
  const char *kind;
  struct id run;                  /* or sweep */
  struct str actor;               /* p NULL: nobody */
  const char *from, *to, *reason; /* NULL: none; the states are not copied, so they stand for good */
};

struct live_sweep {
  struct list_node node;
  struct sweeps *all;
  struct id id;
  int64_t experiment_id, created, ended;
  int64_t seed;
  char *name, *directory, *source, *normal, *by; /* source: only until the row is made; by: who submitted it, NULL where it is stored */
  char *notes;
  char *stopped_by; /* whoever stopped it, as far as this service saw; NULL: nobody */
  int64_t run_cap, max_parallel, priority;
  struct sweep_file *file;
  struct metric_sources *sources; /* NULL: the default */
  struct engine_conf conf;
  struct engine *engine;
  struct space *space;
  uint32_t space_version; /* a checksum: the same for the same space */
  struct history *history;
  struct sampler *sampler;
  struct stop_set *rules;
  struct live_trial seat; /* waits for a slot in place of the next trial, which is made when the slot is there */
  bool barren;            /* there was a slot, and no trial could be made */
  struct shelf trials;    /* of struct live_trial, by number; see live_trial_at() */
  struct shelf curves;    /* of struct curve, by number; the history refers to them */
  size_t trial_count;
  uint32_t group; /* of the schedule */
  bool has_group;
  struct {
    int64_t until;     /* 0: they are not */
    unsigned refusals; /* since something was started */
    char why[300];
  } starts_held; /* for want of space or memory nothing of it can be started now */
  bool single;   /* no sweep, but one launched run, which has its id */
  bool in_trash; /* its experiment is */
  struct live_about about;
  bool stored;      /* its row exists */
  bool over_told;   /* its end is durable */
  uint64_t written; /* version of the row that is durable */
  int shown;        /* the state that was told last; -1: none */
  int64_t reports, reports_durable;
  uint64_t ends;  /* how often a trial ended, or an end was taken back because it is tried again */
  uint64_t deeds; /* number of the last thing that somebody did to it or its trials */
  struct {
    int64_t ms;
    uint32_t count;
  } finished, stopped; /* how long trials took that ended so */
  double best_value;
  struct live_trial *best;
  char **warnings;
  size_t warning_count;
  struct goal_watch goal_watch;
  char *registered; /* model versions made of its trials, as JSON; NULL: none */
  struct list asks;
  char *prior; /* what it started from, as it is stored; see prior.h */
  size_t prior_bytes, prior_count;
  uint32_t width; /* the most trials that were pending at once */
  /* a point that takes long to think of */
  bool thinking;
  struct sampler_job *thought;
  uint32_t thought_number;
  struct live_made thought_made;
  uint32_t thought_gone;
  bool thought_behind; /* it supposes that the points ahead are taken first */
  bool refresh;        /* the points ahead may be thought of again, with the results that came since */
  struct {
    uint32_t first; /* the trial that gets the first of them */
    unsigned count;
    struct suggestion suggestions[LIVE_AHEAD_MAX];
    struct live_made made[LIVE_AHEAD_MAX];
    uint32_t gone[LIVE_AHEAD_MAX];
    double *points; /* one after the other; NULL: no room yet */
  } ahead;          /* thought of, and not asked for yet */
  struct {
    bool is, behind;
    uint32_t number, tells;
  } in_vain; /* no point was found for this trial (behind others that were ahead) from so many results; tried again at the next tick */
  struct work work;
  char trouble[300];  /* why no point could be made; "" when all is well */
  const char *damage; /* it rests, and this says why; NULL: it does not */
};

struct pending_report {
  struct live_sweep *sweep;
  int64_t n;
  uint32_t trial, attempt, source;
  char *key;
  double value, epoch;
  int64_t step;
};

/* A row that is on its way, or is to be. */
struct live_write {
  struct live_sweep *sweep;
  struct live_trial *trial; /* NULL: the sweep's */
  struct engine_todo todo;
};

struct live_ask {
  struct list_node node;
  size_t count, got;
  struct live_trial **trials;
  uint32_t *attempts;
  char *worker;
  int64_t lease_ms;
  live_ask_fn *done;
  void *ctx;
  bool closed; /* gets no more */
};

struct live_waiter {
  struct list_node node;
  struct live_sweep *sweep;
  struct live_trial *trial;
  uint64_t version, deeds;
  int64_t reports;
  sweeps_done_fn *done;
  void *ctx;
};

struct sweeps {
  struct sweeps_conf conf;
  int64_t epoch;
  bool ready, stopping;
  struct list sweeps; /* oldest first */
  struct list damaged;
  struct list resting; /* jobs of those */
  int64_t inherit_at;  /* when what an earlier service left is looked for again */
  struct map by_id;
  struct id_map by_run;
  struct schedule *schedule;
  uint32_t node;
  char node_name[256];
  bool node_drained;
  char *node_reason; /* NULL: none */
  struct exec_local *executor;
  struct loop_defer pump;
  void (*write_changes)(void *sweeps); /* what the pump does */
  struct loop_timer *tick;
  struct gpu_series *gpu_series; /* NULL: no GPUs */
  /* the transaction on its way */
  bool in_flight;
  bool wait_used; /* points that may be asked for next were thought of since it left */
  struct live_write *writes;
  size_t write_count, write_cap, own_count; /* own_count: those with statements of their own */
  struct pending_report *reports;           /* those on their way first */
  size_t report_count, report_cap, reports_flying;
  struct list deeds; /* those on their way first */
  size_t deeds_flying;
  struct id_map deeds_by_run; /* the last of those on their way, of each run */
  uint64_t deeds_noted;       /* ever; the last of them has this number */
  bool deeds_wait;            /* until the tick, when the rows that were not stored, which they may speak of, are tried again */
  struct live_held *held;     /* it waits for points of runs that it ends; NULL: it does not */
  struct list waiters;
  struct registrar *registrar;
  struct sweep_reparse *reparse;
  struct sweeps_loading *loading;
  struct list loading_one;
  /* jobs are ended, the service with them */
  void (*jobs_ended)(void *ctx);
  void *jobs_ended_ctx;
  int64_t end_until, end_grace; /* the time for each step */
  bool end_asked, end_killed;   /* those that had not ended by then */
  int64_t ticked;               /* 0: not yet */
  uint64_t looks, looked;       /* into the trash: how many were begun, the last that has told something */
  bool must_look;
  int64_t collected;                   /* when snapshots were last collected */
  struct importance_cache *importance; /* NULL: none yet */
  uint64_t importance_turn;            /* what was asked for in an earlier one is not kept */
};

static inline int64_t live_now(const struct sweeps *s) {
  return clock_mono_ms(s->conf.clock);
}
static inline int64_t live_wall(const struct sweeps *s) {
  return clock_wall_ms(s->conf.clock);
}

/* live_list.c */
void sweeps_tell(const struct sweeps *s, const struct sweeps_change *change);
/* At the end of the turn everything that changed is written. */
void sweeps_kick(struct sweeps *s);
MUST_CHECK bool sweeps_list(struct sweeps *s, struct live_sweep *live, struct err *err);
/* Does somebody wait for it? */
bool sweeps_is_busy(const struct live_sweep *live);
/* Takes it out again. */
void sweeps_take_out(struct live_sweep *live);
/* Frees it, and its place in the schedule. */
void sweeps_drop(struct live_sweep *live);
/* Both. */
void sweeps_unlist(struct live_sweep *live);
/* It was deleted. */
void sweeps_forget_id(struct sweeps *s, struct id sweep);
/* Those who wait are told what is durable now; with an error, all of them. */
void sweeps_settle(struct sweeps *s, const struct err *failed);

/* queue.c */
void queue_add(struct live_trial *trial);
void queue_remove(struct live_trial *trial);
/* After a start: slots that its attempt holds are taken for it. */
struct schedule_want queue_want(const struct live_trial *trial);
/* A sweep that wants another trial waits for a slot, the one that does not waits no more. */
void queue_seek(struct live_sweep *live);
/* True when something was placed. */
bool queue_place(struct sweeps *s);
/* Why nothing of it is started for a moment, a full disk say; NULL: that is not so. */
const char *queue_starts_held(const struct live_sweep *live);
/* Tells the schedule whether, and how many of its jobs at once, may be placed. */
void queue_set_group(const struct live_sweep *live);
/* The sweep's priority is another one. */
void queue_reprioritize(struct live_sweep *live);
/* Why nothing of a sweep runs that could; as a sentence. False: something runs, or nothing waits for a slot. */
MUST_CHECK bool queue_sweep_waits(const struct live_sweep *live, struct buf *out);
void queue_set_node(struct sweeps *s, bool drained, struct str reason);

/* damaged.c */
/* The row of a sweep could not be read (a row of STMT_SWEEP_LIVE). Without memory it is only told in the log. */
void damaged_note(struct sweeps *s, const struct pg_reply *reply, size_t row, const struct err *why);
/* A row of its trials could not be read, or they do not fit together: it is in no list any more. Takes the sweep; `all_listed`: every run
 * of it has its trial, if one without anything. */
void damaged_note_live(struct live_sweep *live, const struct err *why, bool all_listed);
void damaged_forget(struct sweeps *s, struct id sweep);
void damaged_forget_all(struct sweeps *s);
/* May one of them name this snapshot? */
bool damaged_names_code(const struct sweeps *s, const char *sha256);

/* sweep_rows.c */
/* Does it need statements of its own? Other rows share some. */
bool sweep_rows_is_own(const struct live_write *write);
/* Does another row go into the transaction? */
static inline bool sweep_rows_has_room(const struct sweeps *s) {
  return s->write_count < LIVE_BATCH_MAX && s->own_count < LIVE_BATCH_OWN_MAX;
}
/* First in every transaction of the engine: it goes on under our epoch alone, and another one begins after it. Two statements. */
void sweep_rows_enter(struct pg_batch *batch, const struct sweeps *s);
/* What is in s->writes and the first s->reports_flying reports, as one transaction. */
void sweep_rows_put(struct sweeps *s, struct pg_batch *batch);
void sweep_rows_put_json(struct pg_args *args, const json_t *json);
/* Of a sweep or run, and nobody's deed; `subject` is what it is called. */
void sweep_rows_put_event(struct pg_batch *batch, const struct sweeps *s, const char *kind, const char *subject, struct id run,
                          struct str reason);
void sweep_rows_put_warnings(struct pg_args *args, const struct live_sweep *live);

/* deeds.c */
/* Stored with what it changed, or soon after. Returns its number; without room it is only told in the log, and 0. */
uint64_t deeds_note(struct sweeps *s, const struct deed *what);
/* The row of a trial is on its way: what neither it nor its attempts will tell, and no person's deed does. */
void deeds_follow(struct live_trial *trial, const struct engine_trial *row);
/* Is there one that need not wait for rows that are to be tried again? */
bool deeds_are_due(const struct sweeps *s);
/* Those up to this number. */
bool deeds_are_durable(const struct sweeps *s, uint64_t until);
/* Those that are due, as many as a transaction takes; all rows that they speak of are stored, or in this batch. */
void deeds_send(struct sweeps *s, struct pg_batch *batch);
/* Who of those on their way was the last to make the run (or sweep) become this; NULL: nobody did. */
const char *deeds_actor(const struct sweeps *s, struct id run, const char *to);
/* A transaction has been stored, whatever was in it, or not. */
void deeds_sent(struct sweeps *s, bool ok);
void deeds_release(struct sweeps *s);

/* live.c */
void live_about_release(struct live_about *about);
MUST_CHECK bool live_new(struct sweeps *s, struct sweep_file *file, struct id id, int64_t seed, const struct engine_sweep *row,
                         struct live_sweep **ret, struct err *err); /* takes the file in any case */
void live_free(struct live_sweep *live);
/* It has a course, which the trials that are over lose once that is stored. */
struct live_trial *live_trial_new(struct live_sweep *live, uint32_t number, struct id run, struct err *err);
/* Has another source of the attempt said this? Else it is noted. */
bool live_heard(struct live_trial *trial, uint32_t attempt, uint32_t source, const struct live_report *report);
/* NULL when there is none. */
struct live_trial *live_trial_at(const struct live_sweep *live, size_t number);
/* The course of a trial that may be over; not NULL, and without anything where it has none. */
const struct live_course *live_course(const struct live_trial *trial);
/* It runs again, or is read again. */
MUST_CHECK bool live_course_open(struct live_trial *trial, struct err *err);
/* Frees what is not needed any more, if that is so. */
void live_course_close(struct live_trial *trial);
/* The sampler learns of the first end, now. */
void live_tell_sampler(struct live_trial *trial, const struct live_first_end *end);
/* The row is final: the sampler and the rules learn of it. */
void live_note_end(struct live_trial *trial, const struct engine_trial *row);
/* How long it took counts for the mean of those that ended so. `sign` -1: it did not end so after all. */
void live_note_time(const struct live_trial *trial, const struct engine_trial *row, int sign);
/* Why it ended so, in its own words or those of the cause; NULL: there is nothing to say. */
const char *live_reason(const struct live_trial *trial, const struct engine_trial *row);
/* The node it runs on, or has run on; NULL: none yet, or a worker's own. */
const char *live_node(const struct live_sweep *live, const struct engine_trial *row);
const char *live_cause_text(unsigned cause);
/* What is said of such an end where nothing else is known. */
const char *live_usual_reason(const struct live_trial *trial, const struct engine_trial *row);
extern const char live_nan_text[];
/* What is to be done before the next transaction: asks, new trials. */
void live_advance(struct live_sweep *live);
void live_settle_asks(struct live_sweep *live, const struct err *failed);

/* live_values.c */
/* A report of the past goes through the same fold. */
void live_take_report(struct live_trial *trial, uint32_t attempt, const struct live_report *report, struct stop_verdict *ret_verdict,
                      bool *ret_target, bool *ret_goal);
/* Has it ended with NaN, and does the file say that this is a failure? */
bool live_fails_of_nan(const struct live_trial *trial);
bool live_reaches_target(const struct live_sweep *live, double value);
/* There will be no other attempt. */
void live_forget_said(struct live_trial *trial);
bool live_is_goal(const struct live_sweep *live, struct str key);
/* Does a rule count its iterations by this metric? Of what is reported together it is heard first, so that the rest stands where it says.
 */
bool live_counts_by(const struct live_sweep *live, struct str key);
/* Points of it may have been stored without being heard. */
void live_note_missed(struct live_trial *trial);
/* The keys that are looked at, what only counts iterations first; the texts are the sweep's. */
MUST_CHECK bool live_watched(const struct live_sweep *live, struct arena *arena, struct spec_texts *ret, struct err *err);
/* The reports of the attempt that were taken in and still hold, each as its heard_hash(), sorted; to be freed. False: without memory, or
 * there were so many that not all are known. */
MUST_CHECK bool live_said(const struct live_trial *trial, uint32_t attempt, uint64_t **ret, size_t *ret_count);
void live_set_value(struct live_trial *trial, double value, int64_t step);
/* Do running trials count as what they reported last? */
static inline bool live_supposes_latest(const struct live_sweep *live) {
  return history_supposes(live->history) == SUPPOSE_LATEST;
}
/* The sampler learns what a running trial has so far, where the file says so. */
void live_show_value(const struct live_trial *trial);
/* The sampler may look at what it reported on its way. */
MUST_CHECK bool live_show_curve(const struct live_trial *trial, struct err *err);
/* Does the value of a trial that ended so count for the best? One that was stopped early has a value as well as one that went to its end;
 * what failed, was killed or lost does not say what it would have come to. */
static inline bool live_counts(unsigned state) {
  return state == RUN_FINISHED || state == RUN_STOPPED;
}
/* What the reports of a trial amount to, as they stand in the store; false: it has no value. */
bool live_value_of(const struct sweep_file *file, const struct stored_point *points, size_t count, struct live_value *ret);
void live_keep_best(struct live_trial *trial, const struct engine_trial *row);
/* Values are other ones now. */
void live_find_best(struct live_sweep *live);

/* live_steer.c */
void live_apply_edits(struct live_sweep *live, const json_t *edits);
/* Its experiment is in the trash now, or is not: then it takes new trials when somebody resumes it. */
void live_follow_experiment(struct live_sweep *live, bool in_trash, struct str actor);
/* ERR_WRONG_STATE, with the remedy, while it is there; a trial would be made in it. */
MUST_CHECK bool live_is_out_of_trash(const struct live_sweep *live, struct err *err);

/* attempts.c */
/* Keeps what the current attempt came to, before another one begins. */
void live_keep_attempt(struct live_trial *trial);
/* A person has it tried again, which ended as `before` says: keeps what the sampler was told, if that was the first end. */
void live_keep_first_end(struct live_trial *trial, const struct engine_trial *before);
/* Another one begins. */
void live_begin_attempt(struct live_trial *trial);
/* What was sent has been stored, or not. */
void live_past_written(struct live_trial *trial, bool ok);

/* live_warnings.c */
MUST_CHECK bool live_warn(struct live_sweep *live, const char *text, struct err *err);
bool live_has_warning(const struct live_sweep *live, const char *text);
void live_withdraw_warning(struct live_sweep *live, const char *text);
void live_forget_warnings(struct live_sweep *live);
/* In place of those it has: all of them, as they are stored. */
MUST_CHECK bool live_take_warnings(struct live_sweep *live, struct str text, struct err *err);
/* In place of those it has: what the reader of the file warned of. */
MUST_CHECK bool live_take_file_warnings(struct live_sweep *live, const struct sweep_file *file, struct err *err);
/* As items of a list that has begun. */
void live_put_warnings(const struct live_sweep *live, struct json_writer *w);

/* live_suggest.c */
MUST_CHECK bool live_create_at(struct live_sweep *live, const double *point, const struct live_made *made, struct live_trial **ret,
                               struct err *err);
struct live_made live_made_by_hand(const struct live_sweep *live);
/* One from the sampler; NULL: none, or it is still being thought of. */
struct live_trial *live_make_next(struct live_sweep *live);
/* A sweep whose space is used up ends here, and need not wait for a slot first. False: there is no further point, or not yet. */
bool live_has_point(struct live_sweep *live);
/* So many more from the sampler. False: some are still being thought of. */
bool live_make_trials(struct live_sweep *live, uint32_t wanted);
/* Begins to think of the next point, where that takes long. */
void live_think_ahead(struct live_sweep *live);
/* Thinks of the next point where that takes little, while the result of a single worker is on its way to the disk: who has told asks next,
 * and nothing else can happen before. Where there is none the sweep is over with that result. */
void live_think_meanwhile(struct live_sweep *live);

/* catch_up.c
 * Points are stored before they are heard, so a service that dies in between leaves some that no rule has seen; and a write whose outcome
 * is not known may have left some. Such a trial has `missed`: nothing more is taken in of it until what is stored has been heard. */
/* Hears what is stored of the present attempt and was not heard, in its order. `done` comes later; the trial may be gone by then. */
MUST_CHECK bool live_catch_up(struct live_trial *trial, sweeps_done_fn *done, void *ctx, struct err *err);
/* The same of all trials that missed something, until none has. */
MUST_CHECK bool sweeps_catch_up(struct sweeps *s, sweeps_done_fn *done, void *ctx, struct err *err);

#endif
