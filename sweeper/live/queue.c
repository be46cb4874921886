/* What waits for a slot: its place in the schedule, what comes of a slot that is free, how people see and change it; and the node. */
#include <sys/sysinfo.h>

#include "base/log.h"
#include "base/mem.h"
#include "sweeper/live/live.h"
#include "sweeper/machine/gpus.h"

/* ---- places in the schedule ---- */

static int64_t priority_of(const struct live_trial *trial) {
  return live_course(trial)->has_priority ? trial->course->queue_priority : trial->sweep->priority;
}

struct schedule_want queue_want(const struct live_trial *trial) {
  const struct live_sweep *live = trial->sweep;
  return (struct schedule_want){.group = live->group,
                                .slots = MAX_OF(live->conf.slots, 1u),
                                .priority = priority_of(trial),
                                .since =
                                    trial->course->queue_since ? trial->course->queue_since : trial->created * 1000 + trial->number % 1000,
                                .held = trial->course->held};
}

void queue_add(struct live_trial *trial) {
  struct live_sweep *live = trial->sweep;
  struct sweeps *s = live->all;
  struct err err;
  struct schedule_want want = queue_want(trial);
  if (trial->course->in_schedule)
    return;
  trial->course->in_schedule = schedule_job_add(s->schedule, &want, trial, &trial->course->job, &err);
  sweeps_tell(s, &(struct sweeps_change){.kind = SWEEPS_QUEUE});
  if (!trial->course->in_schedule)
    log_error("sweep", NULL, "%s: trial %u cannot wait for a slot: %s", live->name, trial->number, err.text);
}

void queue_remove(struct live_trial *trial) {
  if (!live_course(trial)->in_schedule)
    return;
  schedule_job_remove(trial->sweep->all->schedule, trial->course->job);
  sweeps_tell(trial->sweep->all, &(struct sweeps_change){.kind = SWEEPS_QUEUE});
  trial->course->in_schedule = false;
}

/* What a person wants tried, or tried again, goes before what the sampler would think of next, unless it is held. */
static bool has_own_waiting(const struct live_sweep *live) {
  return engine_counts(live->engine).by_state[RUN_QUEUED] > schedule_group_held(live->all->schedule, live->group);
}

static bool seeks(struct live_sweep *live) {
  if (engine_sweep(live->engine).state == SWEEP_PAUSED) /* it keeps its place */
    return live_course(&live->seat)->in_schedule;
  bool thinks = live->thinking && !live->ahead.count;
  return engine_wants(live->engine, UINT32_MAX) && !live->barren && !thinks && !has_own_waiting(live) &&
         (engine_counts(live->engine).live || live_has_point(live));
}

void queue_seek(struct live_sweep *live) {
  struct err err;
  if (!live->has_group || !seeks(live)) {
    queue_remove(&live->seat);
  } else if (!live_course(&live->seat)->in_schedule && live_course_open(&live->seat, &err)) {
    live->seat.number = engine_next_number(live->engine);
    live->seat.created = live_wall(live->all);
    queue_add(&live->seat);
  }
}

/* The slots of the seat are those of the next trial. NULL: there is none, and they are free again. */
static struct live_trial *take_seat(struct live_sweep *live) {
  struct live_trial *seat = &live->seat, *trial = engine_wants(live->engine, UINT32_MAX) ? live_make_next(live) : NULL;
  if (!trial) {
    live->barren = true;
    queue_remove(seat);
    return NULL;
  }
  trial->course->in_schedule = true;
  trial->course->job = seat->course->job;
  seat->course->in_schedule = false;
  schedule_job_give(live->all->schedule, trial->course->job, trial);
  return trial;
}

void queue_reprioritize(struct live_sweep *live) {
  if (live_course(&live->seat)->in_schedule)
    schedule_job_set(live->all->schedule, live->seat.course->job, live->priority, false);
  for (size_t i = 0; i < live->trial_count; i++) {
    const struct live_trial *trial = live_trial_at(live, i);
    const struct live_course *course = trial ? live_course(trial) : NULL;
    if (course && course->in_schedule && !course->has_priority)
      schedule_job_set(live->all->schedule, course->job, live->priority, course->held);
  }
}

bool queue_place(struct sweeps *s) {
  struct schedule_placement placement;
  bool placed = false;
  while (schedule_next(s->schedule, &placement)) {
    struct live_trial *trial = placement.owner;
    struct live_sweep *live = trial->sweep;
    placed = true;
    if (trial == &live->seat && !(trial = take_seat(live)))
      continue;
    live_keep_attempt(trial);
    if (engine_placed(live->engine, trial->number, live_now(s)))
      live_begin_attempt(trial);
    else
      queue_remove(trial);
    queue_seek(live);
  }
  return placed;
}

const char *queue_starts_held(const struct live_sweep *live) {
  return live->starts_held.until ? live->starts_held.why : NULL;
}

void queue_set_group(const struct live_sweep *live) {
  bool pauses = engine_sweep(live->engine).state == SWEEP_PAUSED || queue_starts_held(live);
  if (live->has_group)
    schedule_group_set(live->all->schedule, live->group, live->conf.max_parallel, pauses);
}

/* ---- looking ---- */

static const struct sweep_spec *spec_of(const struct live_trial *trial) {
  return &trial->sweep->file->spec;
}

static bool is_waiting(const struct live_trial *trial) {
  return live_course(trial)->in_schedule && schedule_is_waiting(trial->sweep->all->schedule, trial->course->job);
}

static bool is_paused(const struct live_sweep *live) {
  return engine_sweep(live->engine).state == SWEEP_PAUSED;
}

static void put_reason(const struct live_trial *trial, struct buf *out) {
  const struct live_sweep *live = trial->sweep;
  const struct sweeps *s = live->all;
  if (queue_starts_held(live) && !is_paused(live) && !trial->course->held)
    buf_printf(out, "nothing of it can be started now, and it is tried again: %s", queue_starts_held(live));
  else
    schedule_reason(s->schedule, trial->course->job, out);
  if (s->node_drained && schedule_node_info(s->schedule, s->node).state != NODE_UP && !trial->course->held)
    buf_printf(out, "%s %s is drained%s%s", is_paused(live) ? ", and" : ":", s->node_name, s->node_reason ? ": " : "",
               s->node_reason ? s->node_reason : "");
}

bool live_wait_reason(const struct live_trial *trial, struct buf *out) {
  bool waits = is_waiting(trial), is_kept = !waits && is_paused(trial->sweep);
  buf_puts(out, waits ? "it waits: " : is_kept ? "it waits: its sweep is paused" : "");
  if (waits)
    put_reason(trial, out);
  return waits || is_kept;
}

/* The seat, or a trial that was picked by hand or is tried again. */
static const struct live_trial *waiting_of(const struct live_sweep *live) {
  if (is_waiting(&live->seat))
    return &live->seat;
  for (uint32_t number = UINT32_MAX; engine_next_live(live->engine, &number);) {
    const struct live_trial *trial = live_trial_at(live, number);
    if (trial && is_waiting(trial))
      return trial;
  }
  return NULL;
}

bool queue_sweep_waits(const struct live_sweep *live, struct buf *out) {
  struct engine_counts counts = engine_counts(live->engine);
  bool runs = live->conf.asks || counts.live > counts.by_state[RUN_QUEUED]; /* workers have no queue here */
  const struct live_trial *trial = runs ? NULL : waiting_of(live);
  if (!trial)
    return false;
  buf_puts(out, "its next trial waits: ");
  put_reason(trial, out);
  return true;
}

static void put_place(const struct live_trial *trial, struct json_writer *w) {
  const struct sweeps *s = trial->sweep->all;
  AUTO_BUF struct buf reason = BUF_INIT(8 * KIB);
  if (!is_waiting(trial)) {
    jw_put_null(w, "position");
    jw_put_text(w, "reason", "it does not wait any more");
    return;
  }
  jw_put_i64(w, "position", (int64_t)schedule_position(s->schedule, trial->course->job) + 1);
  put_reason(trial, &reason);
  jw_put_text(w, "reason", buf_text(&reason));
}

void queue_put_entry(const struct live_trial *trial, struct json_writer *w) {
  const struct live_sweep *live = trial->sweep;
  const struct sweep_spec *spec = spec_of(trial);
  char run[ID_HEX_LEN + 1], sweep[ID_HEX_LEN + 1];
  id_format(trial->run, run);
  id_format(live->id, sweep);
  jw_object(w);
  jw_put_text(w, "run_id", trial == &live->seat ? NULL : run);
  jw_put_i64(w, "priority", priority_of(trial));
  put_place(trial, w);
  jw_put_i64(w, "since", trial->created);
  jw_key(w, "wants");
  jw_object(w);
  jw_put_i64(w, "slots", MAX_OF(live->conf.slots, 1u));
  jw_put_i64_if(w, "memory", spec->resources.has_memory, (int64_t)spec->resources.memory);
  jw_object_end(w);
  jw_put_text(w, "name", live->name);
  jw_put_text(w, "sweep_id", live->single ? NULL : sweep);
  jw_put_i64_if(w, "number", !live->single, trial == &live->seat ? engine_next_number(live->engine) : trial->number);
  jw_put_bool(w, "held", live_course(trial)->held);
  jw_object_end(w);
}

size_t sweeps_put_queue(const struct sweeps *s, size_t from, size_t count, struct json_writer *w) {
  size_t waiting = schedule_waiting(s->schedule), end = from < waiting ? from + MIN_OF(count, waiting - from) : from;
  jw_array(w);
  for (size_t i = from; i < end; i++)
    queue_put_entry(schedule_owner_at(s->schedule, i), w);
  jw_array_end(w);
  return end < waiting ? end : 0;
}

/* ---- changing ---- */

struct changing {
  sweeps_done_fn *done;
  void *ctx;
};

static void on_changed(void *ctx, const struct pg_reply *reply) {
  struct changing *changing = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err);
  changing->done(changing->ctx, ok ? NULL : &err);
  mem_free(changing);
}

static bool send_change(struct sweeps *s, struct pg_args *args, sweeps_done_fn *done, void *ctx, struct err *err) {
  struct changing *changing = mem_zalloc(sizeof *changing);
  if (!changing)
    return err_no_memory(err);
  *changing = (struct changing){done, ctx};
  if (pg_run(s->conf.pg, args, 0, on_changed, changing, err))
    return true;
  mem_free(changing);
  return false;
}

static bool check_waiting(const struct live_trial *trial, struct err *err) {
  if (is_waiting(trial))
    return true;
  const struct engine_trial *row = engine_trial(trial->sweep->engine, trial->number);
  if (trial->sweep->conf.asks)
    return err_set(err, ERR_WRONG_STATE, "the trial waits for a worker who asks, not for a slot");
  return err_set(err, ERR_WRONG_STATE, "the run is %s: only what waits in the queue can be held or moved", run_state_name(row->state));
}

/* Takes effect at once, so that nothing starts while it is being stored. */
static void apply(struct live_trial *trial, const struct queue_change *change) {
  struct schedule *schedule = trial->sweep->all->schedule;
  if (change->has_hold)
    trial->course->held = change->hold;
  if (change->has_priority) {
    trial->course->has_priority = true;
    trial->course->queue_priority = change->priority;
  }
  int64_t priority = priority_of(trial);
  schedule_job_set(schedule, trial->course->job, priority, trial->course->held);
  if (change->has_position) {
    trial->course->queue_since = schedule_since_at(schedule, trial->course->job, priority, (size_t)change->position - 1);
    schedule_job_move(schedule, trial->course->job, trial->course->queue_since, priority, trial->course->held);
  }
}

bool sweeps_queue_change(struct live_trial *trial, const struct queue_change *change, struct str actor, sweeps_done_fn *done, void *ctx,
                         struct err *err) {
  struct sweeps *s = trial->sweep->all;
  AUTO_PG_ARGS struct pg_args args;
  char from[64], to[64];
  pg_args_init(&args, STMT_QUEUE_SET);
  if (!check_waiting(trial, err))
    return false;
  size_t before = schedule_position(s->schedule, trial->course->job) + 1;
  snprintf(from, sizeof from, "%zu", before);
  apply(trial, change);
  snprintf(to, sizeof to, "%zu", schedule_position(s->schedule, trial->course->job) + 1);
  bool moved = change->has_position || change->has_priority;
  pg_put_uuid(&args, trial->run);
  pg_put_bool(&args, trial->course->held);
  pg_put_int_if(&args, trial->course->has_priority, trial->course->queue_priority);
  pg_put_int_if(&args, trial->course->queue_since != 0, trial->course->queue_since);
  pg_put_int(&args, live_wall(s));
  pg_put_text(&args, actor);
  pg_put_text(&args, str_of(moved ? "queue.moved" : trial->course->held ? "queue.held" : "queue.released"));
  pg_put_text(&args, str_of(moved ? from : ""));
  pg_put_text(&args, str_of(moved ? to : ""));
  sweeps_kick(s);
  return send_change(s, &args, done, ctx, err);
}

/* ---- the node ---- */

static void put_gpus(const struct sweeps *s, struct json_writer *w) {
  char run[ID_HEX_LEN + 1];
  jw_key(w, "gpus");
  jw_array(w);
  for (size_t i = 0; s->conf.gpus && i < gpus_count(s->conf.gpus); i++) {
    const struct gpu *gpu = gpus_at(s->conf.gpus, i);
    uint32_t job;
    jw_object(w);
    jw_put_text(w, "uuid", gpu->uuid);
    jw_put_text(w, "name", gpu->name);
    jw_put_i64(w, "memory", gpu->memory);
    if (i < s->conf.slots && schedule_slot_job(s->schedule, s->node, (unsigned)i, &job)) {
      const struct live_trial *trial = schedule_owner(s->schedule, job);
      id_format(trial->run, run);
      jw_put_text(w, "used_by", run);
    } else {
      jw_put_null(w, "used_by");
    }
    jw_object_end(w);
  }
  jw_array_end(w);
}

void sweeps_put_node(const struct sweeps *s, struct json_writer *w) {
  struct schedule_node_info info = schedule_node_info(s->schedule, s->node);
  struct sysinfo machine;
  double load[1];
  bool knows = sysinfo(&machine) == 0, knows_load = getloadavg(load, 1) == 1;
  jw_object(w);
  jw_put_text(w, "name", s->node_name);
  jw_put_text(w, "state", info.state == NODE_UP ? "UP" : info.used ? "DRAINING" : "DRAINED");
  jw_put_text(w, "reason", s->node_drained ? s->node_reason : s->conf.gpus ? gpus_trouble(s->conf.gpus) : NULL);
  jw_key(w, "slots");
  jw_object(w);
  jw_put_i64(w, "total", info.total);
  jw_put_i64(w, "used", info.used);
  jw_put_i64(w, "held", info.kept ? info.total - info.used : 0);
  jw_object_end(w);
  put_gpus(s, w);
  jw_put_i64(w, "cpus", sysconf(_SC_NPROCESSORS_ONLN));
  jw_put_i64_if(w, "memory", knows, knows ? (int64_t)machine.totalram * machine.mem_unit : 0);
  jw_put_f64_if(w, "load", knows_load, knows_load ? load[0] : 0);
  jw_put_i64(w, "heartbeat", live_wall(s));
  jw_object_end(w);
}

const char *sweeps_node_name(const struct sweeps *s) {
  return s->node_name;
}

void queue_set_node(struct sweeps *s, bool drained, struct str reason) {
  s->node_drained = drained;
  mem_free(s->node_reason);
  s->node_reason = drained && reason.n ? mem_strndup(reason.p, reason.n) : NULL;
  schedule_node_set(s->schedule, s->node, drained ? NODE_DRAINING : NODE_UP);
}

bool sweeps_drain_node(struct sweeps *s, bool drained, struct str reason, struct str actor, sweeps_done_fn *done, void *ctx,
                       struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  queue_set_node(s, drained, reason);
  pg_args_init(&args, STMT_NODE_SET);
  pg_put_text(&args, str_of(s->node_name));
  pg_put_bool(&args, drained);
  pg_put_text(&args, str_of(s->node_reason));
  pg_put_int(&args, live_wall(s));
  pg_put_text(&args, actor);
  sweeps_kick(s);
  return send_change(s, &args, done, ctx, err);
}
