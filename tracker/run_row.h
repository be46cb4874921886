/* A run as the database gives it. Its texts are the reply's: valid during the callback only. */
#ifndef WINNOW_TRACKER_RUN_ROW_H
#define WINNOW_TRACKER_RUN_ROW_H

#include "storage/pg/pg.h"
#include "tracker/run_state.h"

/* Times are ms; INT64_MIN where there is none. */
struct run_row {
  struct id id;
  int64_t experiment_id;
  int64_t start_time, created, end_time, deleted_at, heartbeat;
  int64_t attempt, state, kind;
  bool has_links, has_exit_code, has_signal, has_slots, is_trial;
  int64_t slots, exit_code, signal, trial;
  struct id sweep_id;
  struct str name, user_id, artifact_uri;
  struct str executor, node, state_reason;   /* p NULL: none */
  struct str command, params, tags, metrics; /* JSON; command p NULL: none */
  struct str attempts;                       /* JSON array of all, when there are several and they were asked for; p NULL: not */
  struct str dataset_inputs, model_inputs, model_outputs; /* JSON arrays in MLflow's form; p NULL: none */
};

enum { RUN_ROW_COLUMNS = 29 };
void run_row_read(const struct pg_reply *reply, size_t row, struct run_row *ret);

struct experiment_row {
  int64_t id, created, updated, deleted_at;
  struct str name, artifact_location, tags;
};
enum { EXPERIMENT_ROW_COLUMNS = 7 };
void experiment_row_read(const struct pg_reply *reply, size_t row, struct experiment_row *ret);

#endif
