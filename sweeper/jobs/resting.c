#include <signal.h>

#include "base/log.h"
#include "base/mem.h"
#include "sweeper/jobs/companion_calls.h"
#include "sweeper/jobs/jobs.h"
#include "sweeper/live/live.h"
#include "sweeper/machine/exec_local.h"

enum { GO_MS = 3000 };

struct resting_job {
  struct list_node node;
  struct live_trial owner; /* of its slots; it has no sweep that could be asked */
  struct id sweep;         /* zero: not known */
  int32_t attempt;
  int64_t grace;
  bool has_slots;
  bool is_over;             /* its companion waits, with what it could not tell */
  bool is_to_end, is_to_go; /* is_to_go: the companion too */
  int64_t going_since;      /* it was told to leave what it has; 0: not yet */
  uint32_t job;
};

static void free_slots(struct sweeps *s, struct resting_job *job) {
  if (!job->has_slots)
    return;
  job->has_slots = false;
  schedule_job_remove(s->schedule, job->job);
  sweeps_tell(s, &(struct sweeps_change){.kind = SWEEPS_QUEUE});
}

static void forget(struct sweeps *s, struct resting_job *job) {
  free_slots(s, job);
  list_remove(&job->node);
  mem_free(job);
}

void resting_forget_all(struct sweeps *s) {
  while (s->resting.first)
    forget(s, LIST_ENTRY(s->resting.first, struct resting_job, node));
}

static struct resting_job *find(const struct sweeps *s, struct id run, int32_t attempt) {
  LIST_EACH(&s->resting, node) {
    struct resting_job *job = LIST_ENTRY(node, struct resting_job, node);
    if (id_eq(job->owner.run, run) && job->attempt == attempt)
      return job;
  }
  return NULL;
}

/* ---- finding ---- */

/* Its GPUs were noted, also where nothing else can be read. */
static void hold(struct sweeps *s, struct resting_job *job, unsigned slots) {
  uint16_t places[SCHEDULE_SLOTS_MAX];
  unsigned noted = job_gpus_noted(s, job->owner.run, job->attempt, places);
  struct schedule_want want = {.group = SCHEDULE_ALONE, .slots = noted ? noted : slots};
  job->has_slots = jobs_hold(s, &job->owner, job->attempt, &want, &job->job);
  if (!job->has_slots)
    log_warn("sweep", NULL, "a job of a damaged sweep runs on %u slots, and there are not so many left to count for it", want.slots);
}

static bool add(struct sweeps *s, const struct exec_attempt *attempt, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT((size_t)JOB_FILE_MAX * 4);
  struct job_file file = {.slots = 0};
  struct resting_job *job = mem_zalloc(sizeof *job);
  if (!job)
    return err_no_memory(err);
  if (!exec_local_job(s->executor, attempt->run, attempt->number, &arena, &file, err))
    log_warn("sweep", NULL, "a job of a damaged sweep counts for one slot: %s", err->text);
  *job = (struct resting_job){.owner = {.run = attempt->run},
                              .sweep = file.sweep_id,
                              .attempt = attempt->number,
                              .grace = file.stop_grace_ms,
                              .is_over = exec_local_job_is_over(s->executor, attempt->run, attempt->number)};
  list_push_back(&s->resting, &job->node);
  if (!job->is_over)
    hold(s, job, (unsigned)MIN_OF(MAX_OF(file.slots, (int64_t)1), (int64_t)SCHEDULE_SLOTS_MAX));
  return true;
}

bool resting_take(struct sweeps *s, const struct exec_attempt *attempt, struct err *err) {
  return (find(s, attempt->run, attempt->number) || add(s, attempt, err)) &&
         exec_local_adopt(s->executor, attempt->run, attempt->number, err);
}

/* ---- ending ---- */

static void tell(struct sweeps *s, struct resting_job *job) {
  if (job->is_to_go && job->is_over && !job->going_since)
    job->going_since = live_now(s);
  if (job->is_to_go || (job->is_to_end && !job->is_over))
    exec_local_signal(s->executor, job->owner.run, job->attempt, SIGTERM);
}

/* Its row stays as it is, so the event knows of no state before. */
static void note_end(struct sweeps *s, const struct resting_job *job, struct str actor) {
  if (!job->is_to_end && !job->is_to_go && !job->is_over)
    deeds_note(s, &(struct deed){.kind = "run.state", .run = job->owner.run, .actor = actor, .to = run_state_name(RUN_STOPPING)});
}

static void end_job(struct sweeps *s, struct resting_job *job, struct str actor) {
  note_end(s, job, actor);
  job->is_to_end = true;
  tell(s, job);
}

static void let_go(struct sweeps *s, struct resting_job *job, struct str actor) {
  note_end(s, job, actor);
  job->is_to_go = true;
  tell(s, job);
}

/* A companion that had not said its process id yet is told again. */
void resting_tick(struct sweeps *s) {
  LIST_EACH(&s->resting, node) {
    struct resting_job *job = LIST_ENTRY(node, struct resting_job, node);
    if (!job->is_over && exec_local_job_is_over(s->executor, job->owner.run, job->attempt)) {
      job->is_over = true;
      free_slots(s, job);
      sweeps_kick(s);
    }
    tell(s, job);
  }
}

int64_t resting_end_all(struct sweeps *s, struct str actor) {
  int64_t grace = 0;
  LIST_EACH(&s->resting, node) {
    struct resting_job *job = LIST_ENTRY(node, struct resting_job, node);
    grace = MAX_OF(grace, job->grace);
    let_go(s, job, actor);
  }
  return grace;
}

/* Those of an older version do not hear it once their job is over. */
size_t resting_staying(const struct sweeps *s) {
  size_t count = 0;
  LIST_EACH(&s->resting, node) {
    const struct resting_job *job = LIST_ENTRY(node, struct resting_job, node);
    count += job->going_since && live_now(s) - job->going_since >= GO_MS && exec_local_watches(s->executor, job->owner.run, job->attempt);
  }
  return count;
}

void sweeps_end_resting(struct sweeps *s, struct id sweep, struct str actor) {
  LIST_EACH(&s->resting, node)
  if (id_eq(LIST_ENTRY(node, struct resting_job, node)->sweep, sweep))
    end_job(s, LIST_ENTRY(node, struct resting_job, node), actor);
}

void resting_let_go(struct sweeps *s, struct id sweep, struct str actor) {
  LIST_EACH(&s->resting, node) {
    struct resting_job *job = LIST_ENTRY(node, struct resting_job, node);
    if (id_eq(job->sweep, sweep))
      let_go(s, job, actor);
  }
}

bool sweeps_end_resting_run(struct sweeps *s, struct id run, struct str actor) {
  bool found = false;
  LIST_EACH(&s->resting, node) {
    struct resting_job *job = LIST_ENTRY(node, struct resting_job, node);
    if (job->is_over || !id_eq(job->owner.run, run))
      continue;
    found = true;
    end_job(s, job, actor);
  }
  return found;
}

bool resting_is_gone(struct sweeps *s, struct id run, int32_t attempt) {
  struct resting_job *job = find(s, run, attempt);
  if (!job)
    return false;
  forget(s, job);
  sweeps_kick(s);
  return true;
}
