#include "sweeper/engine/fsm.h"

static const char *const run_states[] = {"QUEUED", "STARTING", "RUNNING", "STOPPING", "FINISHED", "FAILED", "STOPPED", "KILLED", "LOST"};
static const char *const run_events[] = {
    "placed",    "asked",    "started", "refused", "succeeded", "failed", "stop", "kill", "ended after a stop", "ended after a kill",
    "lease out", "returned", "retry"};

static const struct fsm_edge run_edges[] = {
    {RUN_QUEUED, RUN_EV_PLACED, RUN_STARTING, "slots are free for it"},
    {RUN_QUEUED, RUN_EV_ASKED, RUN_RUNNING, "a worker took it"},
    {RUN_QUEUED, RUN_EV_KILL, RUN_KILLED, "killed before it started"},

    {RUN_STARTING, RUN_EV_STARTED, RUN_RUNNING, "its command runs"},
    {RUN_STARTING, RUN_EV_REFUSED, RUN_QUEUED, "the node did not start it; it waits again"},
    {RUN_STARTING, RUN_EV_SUCCEEDED, RUN_FINISHED, "it ended at once, well"},
    {RUN_STARTING, RUN_EV_FAILED, RUN_FAILED, "it could not be started, or ended at once, badly"},
    {RUN_STARTING, RUN_EV_KILL, RUN_STOPPING, "a person ends it"},
    {RUN_STARTING, RUN_EV_LEASE_OUT, RUN_LOST, "nothing was heard of it for a lease"},
    {RUN_STARTING, RUN_EV_RETRY, RUN_QUEUED, "the attempt came to nothing; it is tried again"},

    {RUN_RUNNING, RUN_EV_SUCCEEDED, RUN_FINISHED, "it ended well"},
    {RUN_RUNNING, RUN_EV_FAILED, RUN_FAILED, "it ended badly"},
    {RUN_RUNNING, RUN_EV_STOP, RUN_STOPPING, "early termination"},
    {RUN_RUNNING, RUN_EV_KILL, RUN_STOPPING, "a person ends it"},
    {RUN_RUNNING, RUN_EV_LEASE_OUT, RUN_LOST, "nothing was heard of it for a lease"},
    {RUN_RUNNING, RUN_EV_RETRY, RUN_QUEUED, "the attempt came to nothing; it is tried again"},

    {RUN_STOPPING, RUN_EV_ENDED_STOPPED, RUN_STOPPED, "early termination is complete"},
    {RUN_STOPPING, RUN_EV_ENDED_KILLED, RUN_KILLED, "it has been ended"},

    {RUN_LOST, RUN_EV_RETURNED, RUN_RUNNING, "its companion is back"},
    {RUN_LOST, RUN_EV_SUCCEEDED, RUN_FINISHED, "its companion is back: it had ended well"},
    {RUN_LOST, RUN_EV_FAILED, RUN_FAILED, "its companion is back: it had ended badly"},
    {RUN_LOST, RUN_EV_STOP, RUN_STOPPING, "early termination, told late"},
    {RUN_LOST, RUN_EV_KILL, RUN_STOPPING, "a person ends it, should it come back"},
    {RUN_LOST, RUN_EV_RETRY, RUN_QUEUED, "it is known to be dead and tried again"},

    {RUN_FAILED, RUN_EV_RETRY, RUN_QUEUED, "tried again"},
    {RUN_STOPPED, RUN_EV_RETRY, RUN_QUEUED, "a person wants it tried again"},
    {RUN_KILLED, RUN_EV_RETRY, RUN_QUEUED, "a person wants it tried again"},
};

const struct fsm run_fsm = {
    .name = "run",
    .states = run_states,
    .state_count = RUN_STATE_COUNT,
    .events = run_events,
    .event_count = RUN_EVENT_COUNT,
    .edges = run_edges,
    .edge_count = ARRAY_LEN(run_edges),
    .initial = RUN_QUEUED,
    .finals = 1u << RUN_FINISHED | 1u << RUN_FAILED | 1u << RUN_STOPPED | 1u << RUN_KILLED | 1u << RUN_LOST,
};

static const char *const sweep_states[] = {"RUNNING", "PAUSED", "DRAINING", "FINISHED", "STOPPED", "FAILED"};
static const char *const sweep_events[] = {
    "pause", "resume", "drain", "stop", "give up", "done", "done after a stop", "done after giving up", "retry"};

static const struct fsm_edge sweep_edges[] = {
    {SWEEP_RUNNING, SWEEP_EV_PAUSE, SWEEP_PAUSED, "no new trials until it is resumed; running ones go on"},
    {SWEEP_RUNNING, SWEEP_EV_DRAIN, SWEEP_DRAINING, "no new trials; running ones go on to their end"},
    {SWEEP_RUNNING, SWEEP_EV_STOP, SWEEP_DRAINING, "its trials are being ended"},
    {SWEEP_RUNNING, SWEEP_EV_GIVE_UP, SWEEP_DRAINING, "too many trials have failed"},
    {SWEEP_RUNNING, SWEEP_EV_DONE, SWEEP_FINISHED, "all trials have ended"},

    {SWEEP_PAUSED, SWEEP_EV_RESUME, SWEEP_RUNNING, "new trials again"},
    {SWEEP_PAUSED, SWEEP_EV_DRAIN, SWEEP_DRAINING, "no new trials; running ones go on to their end"},
    {SWEEP_PAUSED, SWEEP_EV_STOP, SWEEP_DRAINING, "its trials are being ended"},
    {SWEEP_PAUSED, SWEEP_EV_GIVE_UP, SWEEP_DRAINING, "too many trials have failed"},

    {SWEEP_DRAINING, SWEEP_EV_RESUME, SWEEP_RUNNING, "new trials again"},
    {SWEEP_DRAINING, SWEEP_EV_STOP, SWEEP_DRAINING, "its trials are being ended"},
    {SWEEP_DRAINING, SWEEP_EV_GIVE_UP, SWEEP_DRAINING, "too many trials have failed"},
    {SWEEP_DRAINING, SWEEP_EV_DONE, SWEEP_FINISHED, "all trials have ended"},
    {SWEEP_DRAINING, SWEEP_EV_DONE_STOPPED, SWEEP_STOPPED, "all trials have been ended"},
    {SWEEP_DRAINING, SWEEP_EV_DONE_FAILED, SWEEP_FAILED, "the trials that still ran have ended"},

    {SWEEP_FINISHED, SWEEP_EV_RETRY, SWEEP_DRAINING, "a trial of it is tried again"},
    {SWEEP_STOPPED, SWEEP_EV_RETRY, SWEEP_DRAINING, "a trial of it is tried again"},
    {SWEEP_FAILED, SWEEP_EV_RETRY, SWEEP_DRAINING, "a trial of it is tried again"},
};

const struct fsm sweep_fsm = {
    .name = "sweep",
    .states = sweep_states,
    .state_count = SWEEP_STATE_COUNT,
    .events = sweep_events,
    .event_count = SWEEP_EVENT_COUNT,
    .edges = sweep_edges,
    .edge_count = ARRAY_LEN(sweep_edges),
    .initial = SWEEP_RUNNING,
    .finals = 1u << SWEEP_FINISHED | 1u << SWEEP_STOPPED | 1u << SWEEP_FAILED,
};

const struct fsm_edge *fsm_step(const struct fsm *fsm, int from, int event) {
  for (size_t i = 0; i < fsm->edge_count; i++)
    if (fsm->edges[i].from == from && fsm->edges[i].event == event)
      return &fsm->edges[i];
  return NULL;
}

bool fsm_is_final(const struct fsm *fsm, int state) {
  return fsm->finals >> state & 1;
}

int fsm_parse(const struct fsm *fsm, struct str name) {
  for (int i = 0; i < fsm->state_count; i++)
    if (str_is(name, fsm->states[i]))
      return i;
  return -1;
}

void fsm_mermaid(const struct fsm *fsm, struct buf *out) {
  buf_puts(out, "stateDiagram-v2\n");
  buf_printf(out, "  [*] --> %s\n", fsm->states[fsm->initial]);
  for (size_t i = 0; i < fsm->edge_count; i++)
    buf_printf(out, "  %s --> %s: %s\n", fsm->states[fsm->edges[i].from], fsm->states[fsm->edges[i].to], fsm->events[fsm->edges[i].event]);
  for (int i = 0; i < fsm->state_count; i++)
    if (fsm_is_final(fsm, i))
      buf_printf(out, "  %s --> [*]\n", fsm->states[i]);
}
