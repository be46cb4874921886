/* The scheduler: nodes with slots, a queue of jobs, and decisions. Pure: no clock, no I/O; the same calls give the same placements.
 *
 * Order: a higher priority goes first, but one point of priority is worth SCHEDULE_AGE_US of waiting, so nothing starves. A job that wants
 * several slots gets them on one node. When the first job of the queue fits nowhere, the node nearest to fitting is kept free for it, and
 * smaller jobs go on filling the others. A decision costs O(log n) of the queue, whatever waits in it. */
#ifndef WINNOW_SWEEPER_SCHEDULE_H
#define WINNOW_SWEEPER_SCHEDULE_H

#include "base/buf.h"
#include "base/err.h"

enum { SCHEDULE_SLOTS_MAX = 1024, SCHEDULE_NODES_MAX = 100000, SCHEDULE_JOBS_MAX = 20000000, SCHEDULE_GROUPS_MAX = 1000000 };
#define SCHEDULE_AGE_US ((int64_t)3600 * 1000 * 1000)
#define SCHEDULE_ALONE UINT32_C(0) /* the group of jobs that belong to no sweep */

enum schedule_node_state { NODE_UP, NODE_DRAINING, NODE_DOWN };

struct schedule;

MUST_CHECK bool schedule_new(struct schedule **ret, struct err *err);
void schedule_free(struct schedule *s);

/* ---- nodes ---- */

/* 1 to SCHEDULE_SLOTS_MAX slots. Its number stays its own. */
MUST_CHECK bool schedule_node_add(struct schedule *s, unsigned slots, uint32_t *ret_node, struct err *err);
/* Draining and down take no new jobs; jobs on it stay until they are removed. */
void schedule_node_set(struct schedule *s, uint32_t node, enum schedule_node_state state);
struct schedule_node_info {
  enum schedule_node_state state;
  unsigned total, used;
  bool kept; /* for a job that waits for several slots */
};
struct schedule_node_info schedule_node_info(const struct schedule *s, uint32_t node);
/* The job on a slot; false when it is free. */
bool schedule_slot_job(const struct schedule *s, uint32_t node, unsigned slot, uint32_t *ret_job);

/* ---- groups: the jobs of one sweep ---- */

MUST_CHECK bool schedule_group_add(struct schedule *s, uint32_t *ret_group, struct err *err);
/* max_parallel 0: no limit. Lowering it ends nothing. */
void schedule_group_set(struct schedule *s, uint32_t group, uint32_t max_parallel, bool paused);
/* Its jobs that are held. */
uint32_t schedule_group_held(const struct schedule *s, uint32_t group);
/* Only when it has no jobs left. */
void schedule_group_remove(struct schedule *s, uint32_t group);

/* ---- jobs ---- */

struct schedule_want {
  uint32_t group;
  unsigned slots; /* 1 to SCHEDULE_SLOTS_MAX */
  int64_t priority;
  int64_t since; /* microseconds, of its place in the queue */
  bool held;
};

/* Waits from now on. The job's number is given again after its removal. */
MUST_CHECK bool schedule_job_add(struct schedule *s, const struct schedule_want *want, void *owner, uint32_t *ret_job, struct err *err);
/* A job that runs already, found again after a start. Its slots must be free and on one node. */
MUST_CHECK bool schedule_job_adopt(struct schedule *s, const struct schedule_want *want, void *owner, uint32_t node, const uint16_t *slots,
                                   uint32_t *ret_job, struct err *err);
/* Of a waiting job. */
void schedule_job_set(struct schedule *s, uint32_t job, int64_t priority, bool held);
/* The same with another time as its place in the queue; schedule_since_at() tells which. */
void schedule_job_move(struct schedule *s, uint32_t job, int64_t since, int64_t priority, bool held);
/* The time with which a waiting job of that priority would have `position` others before it; as near as there is room between the times of
 * its neighbours. */
int64_t schedule_since_at(const struct schedule *s, uint32_t job, int64_t priority, size_t position);
/* The job is another's from now on, with its place or its slots. */
void schedule_job_give(struct schedule *s, uint32_t job, void *owner);
/* Leaves the queue, or frees its slots. */
void schedule_job_remove(struct schedule *s, uint32_t job);

struct schedule_placement {
  uint32_t job;
  void *owner;
  uint32_t node;
  unsigned count;
  const uint16_t *slots; /* valid until the next call */
};

/* One decision, already taken down; false when nothing that waits can be placed now. */
bool schedule_next(struct schedule *s, struct schedule_placement *ret);

/* ---- asking ---- */

size_t schedule_waiting(const struct schedule *s);
/* How many waiting jobs stand before it. */
size_t schedule_position(const struct schedule *s, uint32_t job);
/* Who waits at a position below schedule_waiting(). */
void *schedule_owner_at(const struct schedule *s, size_t position);
void *schedule_owner(const struct schedule *s, uint32_t job);
bool schedule_is_waiting(const struct schedule *s, uint32_t job);
/* The slots of a job that has its place; their number. */
unsigned schedule_job_slots(const struct schedule *s, uint32_t job, uint16_t slots[SCHEDULE_SLOTS_MAX]);
/* Why it waits, in one sentence. */
void schedule_reason(const struct schedule *s, uint32_t job, struct buf *out);

#endif
