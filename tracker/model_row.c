#include "tracker/model_row.h"

#include "tracker/artifacts/artifact_store.h"

static const char *const stages[] = {"None", "Staging", "Production", "Archived"};
static const char *const version_statuses[] = {"PENDING_REGISTRATION", "FAILED_REGISTRATION", "READY"};
static const char *const logged_statuses[] = {"LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"};

const char *model_stage_name(int64_t stage) {
  return stage >= 0 && stage < (int64_t)ARRAY_LEN(stages) ? stages[stage] : "None";
}

bool model_stage_parse(struct str text, int64_t *ret) {
  for (size_t i = 0; i < ARRAY_LEN(stages); i++)
    if (str_eq_nocase(text, str_of(stages[i]))) {
      *ret = (int64_t)i;
      return true;
    }
  return false;
}

const char *model_status_name(int64_t status) {
  return status >= 1 && status <= (int64_t)ARRAY_LEN(version_statuses) ? version_statuses[status - 1] : "READY";
}

const char *logged_model_status_name(int64_t status) {
  return status >= 1 && status <= (int64_t)ARRAY_LEN(logged_statuses) ? logged_statuses[status - 1] : "LOGGED_MODEL_STATUS_UNSPECIFIED";
}

bool logged_model_status_parse(struct str text, int64_t *ret) {
  for (size_t i = 0; i < ARRAY_LEN(logged_statuses); i++)
    if (str_is(text, logged_statuses[i])) {
      *ret = (int64_t)i + 1;
      return true;
    }
  return false;
}

void logged_model_row_read(const struct pg_reply *reply, size_t row, struct logged_model_row *ret) {
  *ret = (struct logged_model_row){
      .id = pg_uuid(reply, row, 0),
      .experiment_id = pg_int(reply, row, 1),
      .created = pg_int(reply, row, 2),
      .updated = pg_int(reply, row, 3),
      .status = pg_int(reply, row, 4),
      .source_run = pg_text(reply, row, 5),
      .name = pg_text(reply, row, 6),
      .model_type = pg_text(reply, row, 7),
      .status_message = pg_text(reply, row, 8),
      .artifact_uri = pg_text(reply, row, 9),
      .params = pg_jsonb(reply, row, 10),
      .tags = pg_jsonb(reply, row, 11),
      .metrics = pg_jsonb(reply, row, 12),
      .registrations = pg_jsonb(reply, row, 13),
  };
}

void model_row_read(const struct pg_reply *reply, size_t row, struct model_row *ret) {
  *ret = (struct model_row){
      .name = pg_text(reply, row, 0),
      .created = pg_int(reply, row, 1),
      .updated = pg_int(reply, row, 2),
      .description = pg_text(reply, row, 3),
      .tags = pg_jsonb(reply, row, 4),
      .aliases = pg_jsonb(reply, row, 5),
      .latest_version = pg_int(reply, row, 6),
  };
}

void version_row_read(const struct pg_reply *reply, size_t row, struct version_row *ret) {
  *ret = (struct version_row){
      .name = pg_text(reply, row, 0),
      .version = pg_int(reply, row, 1),
      .created = pg_int(reply, row, 2),
      .updated = pg_int(reply, row, 3),
      .stage = pg_int(reply, row, 4),
      .status = pg_int(reply, row, 5),
      .run_id = pg_text(reply, row, 6),
      .model_id = pg_text(reply, row, 7),
      .source = pg_text(reply, row, 8),
      .storage_location = pg_text(reply, row, 9),
      .kept_path = pg_text(reply, row, 10),
      .description = pg_text(reply, row, 11),
      .user_id = pg_text(reply, row, 12),
      .run_link = pg_text(reply, row, 13),
      .status_message = pg_text(reply, row, 14),
      .size = pg_is_null(reply, row, 15) ? -1 : pg_int(reply, row, 15),
      .digest = pg_bytea(reply, row, 16),
      .tags = pg_jsonb(reply, row, 17),
      .metrics = pg_jsonb(reply, row, 18),
      .aliases = pg_array(reply, row, 19),
      .model_key = pg_int(reply, row, 20),
      .sweep_id = pg_uuid(reply, row, 21),
  };
}

void version_put_kept(struct pg_args *args, int64_t model, int64_t version, struct str from, struct str kept,
                      const struct artifact_tree *tree) {
  pg_put_int(args, model);
  pg_put_int(args, version);
  pg_put_text(args, kept);
  pg_put_int(args, tree->size);
  pg_put_bytea(args, str_n((const char *)tree->digest, sizeof tree->digest));
  pg_put_text(args, tree->is_file ? str_last(from, '/') : STR_NONE);
}
