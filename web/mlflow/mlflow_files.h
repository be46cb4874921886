/* Artifacts as several protocols serve them. */
#ifndef WINNOW_WEB_MLFLOW_FILES_H
#define WINNOW_WEB_MLFLOW_FILES_H

#include "tracker/artifacts/artifact_store.h"
#include "web/mlflow/mlflow.h"

/* Answers with the file, as a download. */
void files_reply(struct http_req *req, struct str path);
/* Answers with MLflow's list of a directory. `prefix` stands before each name (p NULL: none), `root_uri` (p NULL: left out) beside them;
 * both live as long as the request. */
void files_reply_list(struct http_req *req, struct str path, struct str prefix, struct str root_uri);
/* May the caller write there, or remove what is there? What belongs to an executor's run is its job's alone; a job's token is for its run
 * and the runs below it, and for what needs no credential here; a directory of several runs needs `write`. Whose files they are is told
 * by where the runs and logged models are that the path names. Calls `then` with an error or without, at once or later. */
enum files_use { FILES_WRITE, FILES_REMOVE };
typedef void files_guard_fn(void *ctx, const struct err *err);
void files_guard(struct http_req *req, struct str path, enum files_use use, files_guard_fn *then, void *ctx);
/* base and "/" and below, in the request's arena; p NULL without memory. */
struct str files_join(struct http_req *req, struct str base, struct str below);
/* The path of the route, which is to be written or removed: checked, and refused with a query behind it. Clients send a "?" in a name as it
 * is, and what stands before it is another file. */
MUST_CHECK bool files_target(struct http_req *req, struct str *ret, struct err *err);
/* The directory that a query parameter names, to be listed: checked, and without the names in it that say nothing (".", "./a", "a//b"). */
MUST_CHECK bool files_listed(struct http_req *req, const char *parameter, struct str *ret, struct err *err);
/* A streamed body into a file, with the conditions of the request (If-Match, also of a SHA-256; If-None-Match); `answer` does once it is
 * stored. The route's stream begins with files_put_prepare(), which makes the body wait; once it is known where it goes, files_put_go()
 * lets it come (or answers what is wrong), or files_put_fail() answers. The rest of the stream is files_put_*. */
typedef void files_stored_fn(struct http_req *req, const struct artifact_stored *stored);
MUST_CHECK bool files_put_prepare(struct http_req *req, files_stored_fn *answer, struct err *err);
/* `path` has passed artifact_path_check() and lives as long as the request. */
void files_put_go(struct http_req *req, struct str path);
/* One of ours, whoever asks, into a directory that is there. */
void files_put_into(struct http_req *req, struct str path);
void files_put_fail(struct http_req *req, const struct err *err);
bool files_put_data(struct http_req *req, struct str bytes, struct err *err);
void files_put_end(struct http_req *req);
void files_put_abort(struct http_req *req, const struct err *err);

#endif
