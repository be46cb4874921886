/* The states of a run and of a sweep as tables: from, event, to, and the sentence that history shows. The same tables draw the
 * documentation. A run is also a trial; what "ended" leads to from STOPPING depends on why it was stopped, so the event says it. */
#ifndef WINNOW_SWEEPER_FSM_H
#define WINNOW_SWEEPER_FSM_H

#include "base/buf.h"
#include "tracker/run_state.h"

enum run_event {
  RUN_EV_PLACED,        /* the scheduler found its slots */
  RUN_EV_ASKED,         /* a worker took it (ask and tell) */
  RUN_EV_STARTED,       /* its companion says so */
  RUN_EV_REFUSED,       /* the node did not start it */
  RUN_EV_SUCCEEDED,     /* exit 0, or told */
  RUN_EV_FAILED,        /* another exit, a signal, told, or exit 0 without the goal metric */
  RUN_EV_STOP,          /* verdict of early termination */
  RUN_EV_KILL,          /* by a person, or with its sweep */
  RUN_EV_ENDED_STOPPED, /* over after a verdict */
  RUN_EV_ENDED_KILLED,  /* over after a kill */
  RUN_EV_LEASE_OUT,     /* nobody has heard of it for a lease */
  RUN_EV_RETURNED,      /* its companion is back, same attempt */
  RUN_EV_RETRY,         /* a new attempt */
  RUN_EVENT_COUNT,
};

enum sweep_state { SWEEP_RUNNING, SWEEP_PAUSED, SWEEP_DRAINING, SWEEP_FINISHED, SWEEP_STOPPED, SWEEP_FAILED, SWEEP_STATE_COUNT };

enum sweep_event {
  SWEEP_EV_PAUSE,
  SWEEP_EV_RESUME,
  SWEEP_EV_DRAIN,        /* no new trials, by a person or because enough were made */
  SWEEP_EV_STOP,         /* no new trials, and the running ones are ended */
  SWEEP_EV_GIVE_UP,      /* too many failures */
  SWEEP_EV_DONE,         /* nothing is left to do: drained, or all trials made */
  SWEEP_EV_DONE_STOPPED, /* the same after a stop */
  SWEEP_EV_DONE_FAILED,  /* the same after giving up */
  SWEEP_EV_RETRY,        /* a trial of a sweep that is over is tried again */
  SWEEP_EVENT_COUNT,
};

struct fsm_edge {
  int from, event, to;
  const char *sentence;
};

struct fsm {
  const char *name;
  const char *const *states;
  int state_count;
  const char *const *events;
  int event_count;
  const struct fsm_edge *edges;
  size_t edge_count;
  int initial;
  unsigned finals; /* a bit for each state nothing leaves by itself */
};

extern const struct fsm run_fsm;
extern const struct fsm sweep_fsm;

/* The edge, or NULL: then the event does not apply in that state. */
const struct fsm_edge *fsm_step(const struct fsm *fsm, int from, int event);
bool fsm_is_final(const struct fsm *fsm, int state);
/* The state of that name, or -1. */
int fsm_parse(const struct fsm *fsm, struct str name);
/* A Mermaid state diagram. */
void fsm_mermaid(const struct fsm *fsm, struct buf *out);

#endif
