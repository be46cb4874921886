/* What the parts of winnow-exec share, and nobody else includes: main.c starts an attempt, attempt.c decides what comes next, talk.c speaks
 * with the service, ending.c ends the job and keeps how it ended. */
#ifndef WINNOW_SWEEPER_COMPANION_COMPANION_H
#define WINNOW_SWEEPER_COMPANION_COMPANION_H

#include <event2/event.h>

#include "base/clock.h"
#include "sweeper/companion/artifacts.h"
#include "sweeper/companion/exit_file.h"
#include "sweeper/companion/metric_files.h"
#include "sweeper/companion/process.h"
#include "sweeper/companion/samples.h"
#include "sweeper/companion/say.h"
#include "sweeper/companion/spool.h"
#include "sweeper/companion/tty.h"
#include "sweeper/companion/uplink.h"

/* Of the job, not of the run: what to do next follows from it. */
enum phase {
  PHASE_RUNNING,
  PHASE_TERM,    /* TERM was sent, the grace runs */
  PHASE_KILL,    /* KILL was sent, again and again until nothing is left */
  PHASE_DRAIN,   /* nothing is left alive; output is sent */
  PHASE_COLLECT, /* what it left behind is sent */
  PHASE_REPORT,
  PHASE_DONE,
};

struct companion {
  struct event_base *base;
  struct arena arena;
  struct job_file job;
  struct process process;
  struct spool streams[2];
  struct tty tty;
  struct event *on_tty;       /* NULL: the command writes into the spool by itself */
  struct metric_files *files; /* NULL: none to watch */
  struct artifacts *artifacts;
  unsigned artifact_tries; /* of the present one */
  bool files_due, file_was_last;
  struct uplink_config uplink_config;
  struct uplink *uplink;  /* output, heartbeats, exit: one after the other */
  struct uplink *verdict; /* the long poll */
  struct event *on_child, *on_term, *on_grow, *poll_growth, *tick, *spool_look, *retry, *retry_verdict, *ladder, *sync_exit, *files_tick;
  int dir_fd;
  enum phase phase;
  bool fenced, heartbeat_due, frozen;
  bool command_ended;
  bool has_note;
  struct buf ended_before; /* the note of an earlier companion; empty: there was none */
  int wait_status;         /* of the command */
  const char *end_reason;  /* why we ended it: "stop", "time_limit", "memory_limit", "fenced", "signal"; NULL: it ended by itself */
  char start_error[700];   /* the command could not be started */
  int64_t begun_ms, begun_mono_ms, ended_ms, last_heartbeat_ms, retry_ms, verdict_retry_ms;
  struct process_usage peak;
  struct samples samples;
  char path[256];
};

static inline int64_t now_ms(void) {
  return clock_mono_ms(&clock_system);
}

static inline void arm(struct event *timer, int64_t ms) {
  struct timeval delay = {ms / 1000, ms % 1000 * 1000};
  evtimer_add(timer, &delay);
}

/* ---- attempt.c ---- */

MUST_CHECK bool attempt_make(struct companion *c, struct err *err);
/* From now on it looks after the job: what it uses, its limits, its output. */
void attempt_begin(struct companion *c);
/* The command's two descriptors: of the spool, or of a terminal. */
MUST_CHECK bool attempt_open_output(struct companion *c, int *ret_out, int *ret_err, struct err *err);
/* Looks at everything and starts what can be started. Called after every event. */
void attempt_advance(struct companion *c);
void attempt_enter(struct companion *c, enum phase phase);
/* Does it leave files that are kept? */
bool attempt_has_artifacts(const struct companion *c);

/* ---- talk.c ---- */

MUST_CHECK bool talk_make(struct companion *c, struct err *err);
/* From now on it asks for verdicts and watches metric files, of this generation: one that comes later has to be greater. */
void talk_begin(struct companion *c, uint64_t generation);
/* May something be sent now? One thing at a time, and after a failure not at once. */
bool talk_is_free(const struct companion *c);
/* These send one thing; false when there is none. Output and metric files take turns. */
bool talk_output(struct companion *c);
bool talk_artifact(struct companion *c);
void talk_heartbeat(struct companion *c);
void talk_exit(struct companion *c);

/* ---- ending.c ---- */

MUST_CHECK bool ending_make(struct companion *c, struct err *err);
/* Only while it runs: TERM, `grace_ms`, KILL until nothing is left. */
void ending_start(struct companion *c, const char *reason, int64_t grace_ms);
bool ending_is_over(const struct companion *c);
/* Notes how it ended, before anything else is done: whoever dies on the way is not the only one who knows. Where that fails, of a full disk
 * say, it may be tried again. */
void ending_note(struct companion *c);
/* What the note says. */
void ending_put(const struct companion *c, struct buf *text);
/* The note reaches the disk a moment from now. */
void ending_sync_later(struct companion *c);

#endif
