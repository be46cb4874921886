/* The states of a run, as stored and as named, and MLflow's five words for them. */
#ifndef WINNOW_TRACKER_RUN_STATE_H
#define WINNOW_TRACKER_RUN_STATE_H

#include "base/str.h"

/* number in the database, name, MLflow's status */
#define RUN_STATES(X)                      \
  X(RUN_QUEUED, "QUEUED", "SCHEDULED")     \
  X(RUN_STARTING, "STARTING", "SCHEDULED") \
  X(RUN_RUNNING, "RUNNING", "RUNNING")     \
  X(RUN_STOPPING, "STOPPING", "RUNNING")   \
  X(RUN_FINISHED, "FINISHED", "FINISHED")  \
  X(RUN_FAILED, "FAILED", "FAILED")        \
  X(RUN_STOPPED, "STOPPED", "KILLED")      \
  X(RUN_KILLED, "KILLED", "KILLED")        \
  X(RUN_LOST, "LOST", "FAILED")

enum run_state {
#define X(state, name, status) state,
  RUN_STATES(X)
#undef X
      RUN_STATE_COUNT
};

const char *run_state_name(int64_t state);
/* "RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED" */
const char *run_state_status(int64_t state);
MUST_CHECK bool run_state_parse(struct str name, enum run_state *ret);
/* The state that a client's status asks for. */
MUST_CHECK bool run_state_of_status(struct str status, enum run_state *ret);
/* The same for the numbers of MLflow's enum, 1 to 5. */
MUST_CHECK bool run_state_of_number(int64_t number, enum run_state *ret);
bool run_state_is_final(int64_t state);

#endif
