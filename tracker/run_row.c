#include "tracker/run_row.h"

static int64_t time_or_none(const struct pg_reply *reply, size_t row, size_t column) {
  return pg_is_null(reply, row, column) ? INT64_MIN : pg_int(reply, row, column);
}

void run_row_read(const struct pg_reply *reply, size_t row, struct run_row *ret) {
  *ret = (struct run_row){
      .id = pg_uuid(reply, row, 0),
      .experiment_id = pg_int(reply, row, 1),
      .start_time = pg_int(reply, row, 2),
      .created = pg_int(reply, row, 3),
      .end_time = time_or_none(reply, row, 4),
      .deleted_at = time_or_none(reply, row, 5),
      .heartbeat = time_or_none(reply, row, 6),
      .attempt = pg_int(reply, row, 7),
      .state = pg_int(reply, row, 8),
      .kind = pg_int(reply, row, 9),
      .has_links = pg_bool(reply, row, 10),
      .has_slots = !pg_is_null(reply, row, 11),
      .slots = pg_int(reply, row, 11),
      .has_exit_code = !pg_is_null(reply, row, 12),
      .exit_code = pg_int(reply, row, 12),
      .has_signal = !pg_is_null(reply, row, 13),
      .signal = pg_int(reply, row, 13),
      .is_trial = !pg_is_null(reply, row, 14),
      .trial = pg_int(reply, row, 14),
      .sweep_id = pg_uuid(reply, row, 15),
      .name = pg_text(reply, row, 16),
      .user_id = pg_text(reply, row, 17),
      .artifact_uri = pg_text(reply, row, 18),
      .executor = pg_text(reply, row, 19),
      .node = pg_text(reply, row, 20),
      .state_reason = pg_text(reply, row, 21),
      .command = pg_jsonb(reply, row, 22),
      .params = pg_jsonb(reply, row, 23),
      .tags = pg_jsonb(reply, row, 24),
      .metrics = pg_jsonb(reply, row, 25),
      .dataset_inputs = pg_jsonb(reply, row, 26),
      .model_inputs = pg_jsonb(reply, row, 27),
      .model_outputs = pg_jsonb(reply, row, 28),
  };
}

void experiment_row_read(const struct pg_reply *reply, size_t row, struct experiment_row *ret) {
  *ret = (struct experiment_row){
      .id = pg_int(reply, row, 0),
      .name = pg_text(reply, row, 1),
      .artifact_location = pg_text(reply, row, 2),
      .created = pg_int(reply, row, 3),
      .updated = pg_int(reply, row, 4),
      .deleted_at = time_or_none(reply, row, 5),
      .tags = pg_jsonb(reply, row, 6),
  };
}
