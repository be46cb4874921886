/* Artifacts as several protocols serve them. */
#ifndef WINNOW_WEB_MLFLOW_FILES_H
#define WINNOW_WEB_MLFLOW_FILES_H

#include "tracker/artifact_store.h"
#include "web/mlflow.h"

/* Answers with the file, as a download. */
void files_reply(struct http_req *req, struct str path);
/* Answers with MLflow's list of a directory. `prefix` stands before each name (p NULL: none), `root_uri` (p NULL: left out) beside them;
 * both live as long as the request. */
void files_reply_list(struct http_req *req, struct str path, struct str prefix, struct str root_uri);
/* May the caller write there? What belongs to an executor's run is its job's alone. Calls `then` with an error or without, at once
 * or later. */
typedef void files_guard_fn(void *ctx, const struct err *err);
void files_guard(struct http_req *req, struct str path, files_guard_fn *then, void *ctx);
/* base and "/" and below, in the request's arena; p NULL without memory. */
struct str files_join(struct http_req *req, struct str base, struct str below);
/* A streamed body into the file `path`, which has passed artifact_path_check() and lives as long as the request; `stored` answers. To be
 * used as the route's stream: begin with files_put_begin(), the rest is files_put. */
typedef void files_stored_fn(struct http_req *req, const struct artifact_file *file);
MUST_CHECK bool files_put_begin(struct http_req *req, struct str path, bool guarded, files_stored_fn *stored, struct err *err);
bool files_put_data(struct http_req *req, struct str bytes, struct err *err);
void files_put_end(struct http_req *req);
void files_put_abort(struct http_req *req, const struct err *err);

#endif
