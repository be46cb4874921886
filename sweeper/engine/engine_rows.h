/* The trials of an engine: a row each, what is known of its copy in the database, and, while something may yet happen to it, its course.
 * What every change of a row entails is done here (counts, who is live, who is to be looked at); what to change is decided in engine.c. */
#ifndef WINNOW_SWEEPER_ENGINE_ROWS_H
#define WINNOW_SWEEPER_ENGINE_ROWS_H

#include "base/shelf.h"
#include "sweeper/engine/engine.h"

#define NO_TRIAL UINT32_MAX

/* What a trial needs while something may yet happen to it. */
struct course {
  int64_t lease_until; /* also the begin of silence once it is past */
  uint32_t durable;    /* version */
  uint32_t writing;    /* version on its way, or 0 */
  uint32_t durable_attempt, writing_attempt;
  uint32_t prev, next; /* among the live ones */
  uint8_t durable_state, writing_state;
  bool live;
  bool ready;          /* in the ready ring */
  bool retry;          /* its last write failed */
  bool enqueued;       /* given to the scheduler, or waiting for an ask */
  bool in_ring;        /* of those that wait for an ask; perhaps in vain */
  bool dequeue;        /* to be taken out of the scheduler */
  bool started, ended; /* TODO_START, TODO_END were given out for this attempt; of an asked one: its worker has only the grace left */
  bool holds;          /* slots */
  bool durable_dead, writing_dead;
};

struct trial {
  struct engine_trial row; /* version 0: there is no such trial */
  struct course *course;   /* NULL: it is over, its row is stored, and nothing is to be done */
};

/* Numbers in order of arrival. Room for every trial that has a course is made with the course. */
struct ring {
  uint32_t *items;
  uint32_t first, count, cap;
};

struct engine {
  struct engine_conf conf;
  struct engine_sweep sweep;
  uint64_t sweep_durable, sweep_writing;
  bool sweep_retry, swept;
  struct shelf trials;
  uint32_t count; /* highest number + 1 */
  uint32_t courses;
  uint32_t existing;
  uint32_t first_missing;
  uint32_t live, unwritten, holding;
  uint32_t write_again; /* trials whose last write failed */
  uint32_t creating;    /* new rows on their way */
  bool batch_open;      /* more new rows may join them */
  bool batch_failed;    /* they go again at the next tick, and others with them */
  uint32_t first_live;
  uint32_t by_state[RUN_STATE_COUNT];
  uint32_t failed, succeeded;
  struct ring ready, waiting; /* waiting: for the next ask */
  int64_t now;
};

/* For a number that has a place: below e->count. */
struct trial *trial_at(const struct engine *e, uint32_t number);
/* NULL: there is no such trial. */
struct trial *trial_find(const struct engine *e, uint32_t number);

/* A row that is stored already, or a new one. NULL: nothing is changed. */
MUST_CHECK struct trial *trial_add(struct engine *e, const struct engine_trial *row, bool stored, struct err *err);
/* Its next version is `row`. Every change of a row passes here. */
void trial_change(struct engine *e, struct trial *t, struct engine_trial row);
/* A step of its state machine, with the cause noted; false, and nothing is changed, when its state has no such step. */
bool trial_step(struct engine *e, struct trial *t, int event, enum engine_cause cause);
/* Its attempt is known to be over. */
void trial_mark_dead(struct engine *e, struct trial *t);
/* Its slots are taken, or free. */
void trial_hold(struct engine *e, struct trial *t, bool holds);
/* engine_next() will look at it. */
void trial_make_ready(struct engine *e, struct trial *t);
/* Opens its course, if it has none. For a row that is stored as it is; false: no memory. */
MUST_CHECK bool trial_open(struct engine *e, struct trial *t);
/* Drops the course when nothing can happen any more: most trials of a large sweep are over and need no more than their row. */
void trial_close(struct engine *e, struct trial *t);
/* The row in the database is this one. */
bool trial_is_written(const struct trial *t);

/* Room for every trial that has a course is there. */
void ring_add(struct ring *ring, uint32_t number);
/* Of a ring that is not empty. */
uint32_t ring_take(struct ring *ring);

#endif
