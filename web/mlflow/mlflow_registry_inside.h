/* What the handlers of MLflow's registry share; for web/mlflow_registry*.c and web/mlflow/mlflow_versions.c only. */
#ifndef WINNOW_WEB_MLFLOW_REGISTRY_INSIDE_H
#define WINNOW_WEB_MLFLOW_REGISTRY_INSIDE_H

#include "storage/pg/pg.h"
#include "tracker/model_row.h"
#include "web/app.h"
#include "web/mlflow/mlflow.h"

/* One request under way; its texts lie in the request's arena. */
struct registry_op {
  struct http_req *req;
  struct str name, new_name, version_text, description, key, value, alias, stage, path;
  bool has_version_number, archive, has_archive, by_alias;
  int64_t version;
  const json_t *list; /* during the handler */
  bool makes_prompt;
};

#define REGISTRY_FIELD(name_text, type, required, member) \
  { name_text, type, required, offsetof(struct registry_op, member), 0 }

/* NULL when answered. */
struct registry_op *registry_op_new(struct http_req *req);
struct pg_pool *registry_pool(const struct registry_op *op);
/* Reads the fields of the request, the version among them checked; false when answered. */
bool registry_read_fields(struct registry_op *op, const struct mlflow_field *fields, size_t count, json_t **tree);

/* Answers. */
void registry_fail(struct registry_op *op, const struct err *err);
void registry_no_model(struct registry_op *op);
void registry_no_version(struct registry_op *op);
/* Returns false. */
bool registry_bad_stage(struct err *err, struct str stage);

/* Starts a statement, or answers why not. */
void registry_run(struct registry_op *op, struct pg_args *args, pg_done_fn *done);
/* A statement that answers a row when its model, or version, is there, has been done: pg_done_fn with a registry_op. */
void registry_on_done_to_model(void *ctx, const struct pg_reply *reply);
void registry_on_done_to_version(void *ctx, const struct pg_reply *reply);

/* How they look. `latest`: rows of versions, from which those of this model are taken. */
void registry_put_version(struct json_writer *w, const struct version_row *row);
void registry_put_model(struct json_writer *w, const struct model_row *row, const struct pg_reply *latest);

/* Tags as a request has them. */
bool registry_tags_make_prompt(const json_t *tags);
MUST_CHECK bool registry_check_tag(struct str key, struct str *value, const char *path, struct err *err);

#endif
