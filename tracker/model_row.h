/* Logged models, registered models and versions as the database gives them. Texts are the reply's: valid during the callback only. */
#ifndef WINNOW_TRACKER_MODEL_ROW_H
#define WINNOW_TRACKER_MODEL_ROW_H

#include "storage/pg/pg.h"

enum { LOGGED_MODEL_COLUMNS = 14, MODEL_COLUMNS = 7, VERSION_COLUMNS = 22 };

struct logged_model_row {
  struct id id;
  int64_t experiment_id, created, updated, status;
  struct str source_run /* p NULL: none */, name, model_type, status_message, artifact_uri, params, tags;
  struct str metrics, registrations; /* JSON arrays in MLflow's form; p NULL: none */
};
void logged_model_row_read(const struct pg_reply *reply, size_t row, struct logged_model_row *ret);

struct model_row {
  struct str name, description /* p NULL: never set */, tags, aliases /* {"alias": version}; p NULL: none */;
  int64_t created, updated, latest_version /* 0: none */;
};
void model_row_read(const struct pg_reply *reply, size_t row, struct model_row *ret);

struct version_row {
  struct str name, run_id, model_id, source, storage_location, kept_path, description, user_id, run_link, status_message, digest, tags,
      metrics;
  int64_t version, created, updated, stage, status, size /* -1: not known */, model_key;
  struct pg_array aliases;
  struct id sweep_id; /* zero: the run is no trial */
};
void version_row_read(const struct pg_reply *reply, size_t row, struct version_row *ret);

/* The arguments of version_keep: what lay at `from` has been kept at `kept`. */
struct artifact_tree;
void version_put_kept(struct pg_args *args, int64_t model, int64_t version, struct str from, struct str kept,
                      const struct artifact_tree *tree);

/* "None", "Staging", "Production", "Archived" */
const char *model_stage_name(int64_t stage);
/* In any case. */
MUST_CHECK bool model_stage_parse(struct str text, int64_t *ret);
/* "READY" */
const char *model_status_name(int64_t status);
/* "LOGGED_MODEL_READY" */
const char *logged_model_status_name(int64_t status);
MUST_CHECK bool logged_model_status_parse(struct str text, int64_t *ret);

#endif
