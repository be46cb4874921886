#include "tracker/run_state.h"

static const struct {
  const char *name, *status;
} states[RUN_STATE_COUNT] = {
#define X(state, name, status) [state] = {name, status},
    RUN_STATES(X)
#undef X
};

/* In the order of MLflow's numbers, which begin at 1. */
static const struct {
  const char *status;
  enum run_state state;
} statuses[] = {
    {"RUNNING", RUN_RUNNING}, {"SCHEDULED", RUN_QUEUED}, {"FINISHED", RUN_FINISHED}, {"FAILED", RUN_FAILED}, {"KILLED", RUN_KILLED},
};

const char *run_state_name(int64_t state) {
  return state >= 0 && state < RUN_STATE_COUNT ? states[state].name : "UNKNOWN";
}

const char *run_state_status(int64_t state) {
  return state >= 0 && state < RUN_STATE_COUNT ? states[state].status : "FAILED";
}

bool run_state_parse(struct str name, enum run_state *ret) {
  for (unsigned i = 0; i < RUN_STATE_COUNT; i++)
    if (str_is(name, states[i].name)) {
      *ret = (enum run_state)i;
      return true;
    }
  return false;
}

bool run_state_of_status(struct str status, enum run_state *ret) {
  for (unsigned i = 0; i < ARRAY_LEN(statuses); i++)
    if (str_is(status, statuses[i].status)) {
      *ret = statuses[i].state;
      return true;
    }
  return false;
}

bool run_state_of_number(int64_t number, enum run_state *ret) {
  if (number < 1 || number > (int64_t)ARRAY_LEN(statuses))
    return false;
  *ret = statuses[number - 1].state;
  return true;
}

bool run_state_is_final(int64_t state) {
  return state >= RUN_FINISHED;
}
