/* What the GPUs of this machine do, sampled by the service, once for all jobs: points of the runs that hold them. */
#include "base/log.h"
#include "base/mem.h"
#include "storage/metrics/metric_store.h"
#include "sweeper/jobs/jobs.h"
#include "sweeper/live/live.h"
#include "sweeper/machine/gpus.h"
#include "sweeper/machine/system_series.h"

enum { GPU_SAMPLE_MS = 10000, FIRST_SAMPLE_MS = 1000, KEY_SIZE = 48 };

struct gpu_series {
  struct sweeps *all;
  struct loop_timer *timer;
  struct work work;
  bool sampling;
  size_t count;
  struct gpu_use uses[GPUS_MAX];
};

static void run_sample(struct work *work) {
  struct gpu_series *series = CONTAINER_OF(work, struct gpu_series, work);
  for (size_t i = 0; i < series->count; i++)
    gpus_sample(series->all->conf.gpus, i, &series->uses[i]);
}

static void on_stored(void *ctx UNUSED, const struct err *err) {
  if (err)
    log_debug("sweep", NULL, "samples of a GPU were not stored: %s", err->text);
}

static void store(const struct live_trial *trial, unsigned place, const struct gpu_use *use) {
  const struct sweeps *s = trial->sweep->all;
  const struct {
    const char *name;
    double value;
  } values[] = {{"percent", use->busy * 100}, {"memory_bytes", use->memory_used}, {"watts", use->watts}, {"celsius", use->celsius}};
  char keys[ARRAY_LEN(values)][KEY_SIZE];
  int64_t now = live_wall(s);
  AUTO_METRIC_ROWS struct metric_rows rows;
  struct err err;
  metric_rows_init(&rows);
  rows.fits = true; /* the few of every run */
  for (size_t i = 0; i < ARRAY_LEN(values); i++) {
    /* Seconds since the run began: they go on after a restart of the service. */
    struct point point = {.step = MAX_OF((now - trial->started) / 1000, (int64_t)0), .time = now, .value = values[i].value, .epoch = NAN};
    snprintf(keys[i], sizeof keys[i], SYSTEM_SERIES_PREFIX "gpu_%u_%s", place, values[i].name);
    if (!isnan(point.value) && !metric_rows_add(&rows, str_of(keys[i]), point))
      return;
  }
  if (rows.points.n && !metric_append(s->conf.metrics, trial->run, live_attempt(trial), &rows, on_stored, NULL, &err))
    on_stored(NULL, &err);
}

/* The trial that runs on a slot. */
static const struct live_trial *user_of(const struct sweeps *s, size_t slot) {
  uint32_t job;
  const struct live_trial *trial =
      slot < s->conf.slots && schedule_slot_job(s->schedule, s->node, (unsigned)slot, &job) ? schedule_owner(s->schedule, job) : NULL;
  return trial && trial->started && engine_trial(trial->sweep->engine, trial->number)->state == RUN_RUNNING ? trial : NULL;
}

static void on_sampled(struct work *work, bool cancelled) {
  struct gpu_series *series = CONTAINER_OF(work, struct gpu_series, work);
  const struct sweeps *s = series->all;
  series->sampling = false;
  if (cancelled || s->stopping)
    return;
  for (size_t i = 0; i < series->count; i++) {
    const struct live_trial *trial = user_of(s, i);
    unsigned place = 0; /* among the trial's own, as its CUDA counts them */
    for (size_t k = 0; trial && k < i; k++)
      place += user_of(s, k) == trial;
    if (trial)
      store(trial, place, &series->uses[i]);
  }
}

static void on_time(void *ctx) {
  struct gpu_series *series = ctx;
  struct err err;
  bool used = false;
  loop_timer_start(series->timer, GPU_SAMPLE_MS);
  if (!series->all->ready || series->all->stopping || series->sampling)
    return;
  for (size_t i = 0; i < series->count; i++)
    used |= user_of(series->all, i) != NULL;
  series->work = (struct work){.run = run_sample, .done = on_sampled};
  series->sampling = used && work_submit(series->all->conf.work, &series->work, &err);
}

bool gpu_series_new(struct sweeps *s, struct err *err) {
  if (!s->conf.gpus || !gpus_count(s->conf.gpus))
    return true;
  struct gpu_series *series = s->gpu_series = mem_zalloc(sizeof *series);
  if (!series)
    return err_no_memory(err);
  series->all = s;
  series->count = MIN_OF(gpus_count(s->conf.gpus), (size_t)GPUS_MAX);
  series->timer = loop_timer_new(s->conf.loop, on_time, series);
  if (!series->timer)
    return err_no_memory(err);
  loop_timer_start(series->timer, FIRST_SAMPLE_MS);
  return true;
}

void gpu_series_free(struct gpu_series *series) {
  if (!series)
    return;
  loop_timer_free(series->timer);
  mem_free(series);
}
