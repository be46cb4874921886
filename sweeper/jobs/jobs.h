/* Trials as jobs on this machine: what sweeps.c and sweep_load.c ask of the parts in this folder, and those of each other. The sweep, its
 * trials and the executor are those of sweeper/live/live.h. */
#ifndef WINNOW_SWEEPER_JOBS_H
#define WINNOW_SWEEPER_JOBS_H

#include "base/id.h"
#include "sweeper/file/sweep_spec.h"
#include "sweeper/machine/job_file.h"
#include "sweeper/machine/schedule.h"

struct engine_trial;
struct exec_attempt;
struct exec_local;
struct found_point;
struct live_sweep;
struct live_trial;
struct sweep_file;
struct sweeps;

/* jobs.c */
MUST_CHECK bool jobs_new(struct sweeps *s, struct err *err);
void jobs_free(struct sweeps *s);
void jobs_start(struct live_trial *trial, uint32_t attempt);
void jobs_end(struct live_trial *trial);
/* After a start: the slots of an attempt that runs, those that were noted if they are free. False: there are not enough. */
MUST_CHECK bool jobs_hold(struct sweeps *s, struct live_trial *trial, int32_t attempt, const struct schedule_want *want, uint32_t *ret_job);
/* And its companion. */
void jobs_adopt(struct live_trial *trial, const struct engine_trial *row);
void jobs_tick(struct sweeps *s);
/* Stops everything that runs; the longest grace of them. */
int64_t jobs_stop_all(struct sweeps *s, struct str actor);
/* Does nothing run, and is nothing about to? */
bool jobs_are_over(const struct sweeps *s);
/* The attempt is closed: its directory is removed, in the background. */
void jobs_tidy(struct exec_local *executor, struct id run, int32_t attempt);
/* The directory is there, or could not be made. */
void jobs_made(struct live_trial *trial, uint32_t attempt, const struct err *failed);

/* inherited.c */
/* What an earlier service left in the directory, and belongs to no sweep that was taken up: once the sweeps are read, and before their
 * trials have their slots again. False: for want of memory or descriptors not all of it could be seen. What could not be watched is tried
 * again later. */
MUST_CHECK bool jobs_inherit(struct sweeps *s, struct err *err);
void jobs_inherit_tick(struct sweeps *s);

/* resting.c
 * What runs here for a damaged sweep, or for a launched run that is. It is known by what lies on the disk alone, keeps its slots until it
 * has ended, and is ended when a person says so. What it printed and how it ended stay on the disk until the row is mended; its companion
 * waits for that too, unless the service ends with its jobs. */
/* One that was found; may be repeated. */
MUST_CHECK bool resting_take(struct sweeps *s, const struct exec_attempt *attempt, struct err *err);
void resting_tick(struct sweeps *s);
/* All of them are to end, and their companions to go; the longest grace. */
int64_t resting_end_all(struct sweeps *s, struct str actor);
/* Companions whose jobs are over, and that were told to go and have not gone within a moment: nobody need wait for them. */
size_t resting_staying(const struct sweeps *s);
/* The sweep was deleted: nobody will want what its jobs have to tell. */
void resting_let_go(struct sweeps *s, struct id sweep, struct str actor);
/* Was it one of them? Its companion is gone, and with it its job. */
bool resting_is_gone(struct sweeps *s, struct id run, int32_t attempt);
void resting_forget_all(struct sweeps *s);

/* gpu_series.c */
struct gpu_series;
MUST_CHECK bool gpu_series_new(struct sweeps *s, struct err *err);
void gpu_series_free(struct gpu_series *series); /* after the work pool */

/* job_gpus.c */
/* The variables that show the job its GPUs and no others; none where there are no GPUs. */
MUST_CHECK bool job_gpus_variables(const struct live_trial *trial, struct arena *arena, struct spec_pairs *ret, struct err *err);
MUST_CHECK bool job_gpus_note(const struct live_trial *trial, int32_t attempt, struct err *err);
/* The slots of the GPUs that were noted, as far as they are here and free; how many. */
unsigned job_gpus_noted(const struct sweeps *s, struct id run, int32_t attempt, uint16_t slots[SCHEDULE_SLOTS_MAX]);

/* job_make.c */
/* Do its attempts run in copies of a snapshot? */
bool jobs_has_copy(const struct live_sweep *live);
/* Where `workdir` is, absolute; false when nothing says so. `directory` is what it is beneath. */
bool jobs_origin(const struct sweep_spec *spec, struct str directory, struct buf *out);
/* Makes the directory of an attempt, then says jobs_made(), at once or later. */
MUST_CHECK bool jobs_make(struct live_trial *trial, uint32_t attempt, struct err *err);

/* job_metrics.c */
/* Points that were read from the trial's output or files and are stored: a log_points_fn. */
void jobs_on_points(void *trial, uint32_t source, const struct found_point *points, size_t count);
/* The files its companion is to watch. */
MUST_CHECK bool jobs_metric_files(const struct live_sweep *live, struct arena *arena, struct job_file *job, struct err *err);
/* Says, once for a sweep, that the goal metric has not come when it should have: after an epoch or a minute. */
void jobs_miss_goal(struct live_sweep *live);
/* What the trial is told to have failed of: it ended well, but the goal metric was never seen. */
void jobs_explain_no_metric(struct live_trial *trial);
/* Not all of what it left behind is stored: an event of the run says so. */
void jobs_tell_artifacts(const struct live_trial *trial, struct str why);
/* It ended well, and left no file of this glob behind: an event of the run, and once a warning of the sweep. */
void jobs_miss_artifacts(const struct live_trial *trial, struct str glob);
/* It ended well, and wrote no file of this glob of metrics_from: once a warning of the sweep. */
void jobs_miss_files(const struct live_trial *trial, struct str glob);
/* It ended well, and of no file of some glob a metric could be read: once a warning of the sweep. */
void jobs_miss_metrics(const struct live_trial *trial, uint32_t attempt);
/* Not all files that had a name of this glob one after another could be read: once a warning of the sweep. */
void jobs_lose_files(const struct live_trial *trial, struct str glob);
/* Where the output of the attempt goes. */
MUST_CHECK bool jobs_open_log(struct live_trial *trial, uint32_t attempt, struct err *err);
/* job_launch.c */
/* Starts the companion of an attempt whose directory has been made. */
MUST_CHECK bool job_launch(struct live_trial *trial, uint32_t attempt, struct err *err);
/* The command is kept to be shown. */
void job_keep_command(struct live_trial *trial, uint32_t attempt, const json_t *params);
/* First command and environment of a dry run. */
MUST_CHECK bool jobs_command(const struct sweep_file *file, const json_t *params, struct arena *arena, struct spec_texts *ret,
                             struct err *err);

#endif
