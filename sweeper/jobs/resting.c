#include <signal.h>

#include "base/log.h"
#include "base/mem.h"
#include "sweeper/jobs/exec_local.h"
#include "sweeper/jobs/jobs.h"
#include "sweeper/live.h"

struct resting_job {
  struct list_node node;
  struct live_trial owner; /* of its slots; it has no sweep that could be asked */
  struct id sweep;         /* zero: not known */
  int32_t attempt;
  int64_t grace;
  bool has_slots, is_to_end;
  uint32_t job;
};

static void forget(struct sweeps *s, struct resting_job *job) {
  if (job->has_slots) {
    schedule_job_remove(s->schedule, job->job);
    sweeps_tell(s, &(struct sweeps_change){.kind = SWEEPS_QUEUE});
  }
  list_remove(&job->node);
  mem_free(job);
}

void resting_forget_all(struct sweeps *s) {
  while (s->resting.first)
    forget(s, LIST_ENTRY(s->resting.first, struct resting_job, node));
}

static struct resting_job *find_run(const struct sweeps *s, struct id run) {
  LIST_EACH(&s->resting, node)
  if (id_eq(LIST_ENTRY(node, struct resting_job, node)->owner.run, run))
    return LIST_ENTRY(node, struct resting_job, node);
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
  *job =
      (struct resting_job){.owner = {.run = attempt->run}, .sweep = file.sweep_id, .attempt = attempt->number, .grace = file.stop_grace_ms};
  list_push_back(&s->resting, &job->node);
  hold(s, job, (unsigned)MIN_OF(MAX_OF(file.slots, (int64_t)1), (int64_t)SCHEDULE_SLOTS_MAX));
  return exec_local_adopt(s->executor, attempt->run, attempt->number, err);
}

/* What lives here and belongs to no sweep that was taken up. */
void resting_find(struct sweeps *s) {
  struct err err;
  struct exec_attempt *living = mem_array(SCHEDULE_SLOTS_MAX, sizeof *living);
  size_t count = living ? exec_local_living(s->executor, living, SCHEDULE_SLOTS_MAX) : 0;
  for (size_t i = 0; i < count; i++)
    if (!sweeps_trial(s, living[i].run) && !exec_local_job_is_over(s->executor, living[i].run, living[i].number) &&
        !add(s, &living[i], &err))
      log_warn("sweep", NULL, "a job of a damaged sweep cannot be watched: %s", err.text);
  mem_free(living);
}

/* ---- ending ---- */

static void end_job(struct sweeps *s, struct resting_job *job) {
  job->is_to_end = true;
  exec_local_signal(s->executor, job->owner.run, job->attempt, SIGTERM);
}

/* Its row stays as it is, so the event knows of no state before. */
static void end_for(struct sweeps *s, struct resting_job *job, struct str actor) {
  if (!job->is_to_end)
    deeds_note(s, &(struct deed){.kind = "run.state", .run = job->owner.run, .actor = actor, .to = run_state_name(RUN_STOPPING)});
  end_job(s, job);
}

/* A companion that had not said its process id yet is told again. */
void resting_tick(struct sweeps *s) {
  LIST_EACH(&s->resting, node) {
    struct resting_job *job = LIST_ENTRY(node, struct resting_job, node);
    if (exec_local_job_is_over(s->executor, job->owner.run, job->attempt)) {
      exec_local_leave(s->executor, job->owner.run, job->attempt);
      forget(s, job);
      sweeps_kick(s);
    } else if (job->is_to_end) {
      end_job(s, job);
    }
  }
}

int64_t resting_end_all(struct sweeps *s, struct str actor) {
  int64_t grace = 0;
  LIST_EACH(&s->resting, node) {
    struct resting_job *job = LIST_ENTRY(node, struct resting_job, node);
    grace = MAX_OF(grace, job->grace);
    end_for(s, job, actor);
  }
  return grace;
}

void sweeps_end_resting(struct sweeps *s, struct id sweep, struct str actor) {
  LIST_EACH(&s->resting, node)
  if (id_eq(LIST_ENTRY(node, struct resting_job, node)->sweep, sweep))
    end_for(s, LIST_ENTRY(node, struct resting_job, node), actor);
}

bool sweeps_end_resting_run(struct sweeps *s, struct id run, struct str actor) {
  struct resting_job *job = find_run(s, run);
  if (job)
    end_for(s, job, actor);
  return job;
}

bool resting_is_gone(struct sweeps *s, struct id run, int32_t attempt) {
  struct resting_job *job = find_run(s, run);
  if (!job || job->attempt != attempt)
    return false;
  forget(s, job);
  sweeps_kick(s);
  return true;
}
