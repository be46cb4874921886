/* What the handlers of MLflow's protocol share: its errors, how requests are read, how entities are written. */
#ifndef WINNOW_WEB_MLFLOW_H
#define WINNOW_WEB_MLFLOW_H

#include "base/json.h"
#include "storage/pg/pg.h"
#include "tracker/run_row.h"
#include "web/app.h"
#include "web/http/http_reply.h"

/* {"error_code", "message"}; a remedy stands behind the message, in parentheses */
extern const struct route_family mlflow_family;

/* The mounts of the whole protocol: `mlflow_mounts` fills at most MLFLOW_MOUNTS_MAX and returns how many. */
enum { MLFLOW_MOUNTS_MAX = 26 };
size_t mlflow_mounts(struct route_mount *mounts);

/* Of bodies MLflow names a megabyte for log-batch, and never enforces it. MLFLOW_TAGS_MAX: of a request that are kept with it, less than
 * its arena. */
enum { MLFLOW_BODY_MAX = 32 * 1024 * 1024, MLFLOW_TAGS_MAX = 12 * 1024 * 1024, MLFLOW_REPLY_MAX = 512 * 1024 * 1024 };

/* An error code of MLflow that none of our codes stands for: "INVALID_STATE" with 400, for instance. */
void mlflow_reply_error(struct http_req *req, int status, const char *error_code, const char *format, ...) PRINTF_LIKE(4, 5);
/* {} */
void mlflow_reply_done(struct http_req *req);

/* ---- requests ---- */

enum mlflow_type {
  MLFLOW_STR,   /* struct str, in the request's arena; p NULL when absent */
  MLFLOW_ID,    /* the same; a number is taken as its text */
  MLFLOW_INT,   /* int64_t; a number or its text */
  MLFLOW_FLOAT, /* double; a number, its text, a boolean */
  MLFLOW_BOOL,  /* bool */
  MLFLOW_ARRAY, /* const json_t *, borrowed from the tree; NULL when absent */
  MLFLOW_ANY,   /* the same, any type */
};

struct mlflow_field {
  const char *name;
  enum mlflow_type type;
  bool required;
  size_t offset;
  size_t present_at; /* offset of a bool; 0: none */
};

/* The request's fields: of the query for GET, else of the JSON body. False when the request has been answered. *ret_tree is the caller's.
 */
MUST_CHECK bool mlflow_args(struct http_req *req, const struct mlflow_field *fields, size_t count, void *ret, json_t **ret_tree);

/* The texts of an array of strings, in the request's arena. */
MUST_CHECK bool mlflow_strings(struct http_req *req, const json_t *array, const char *name, const struct str **ret, size_t *ret_count,
                               struct err *err);
bool mlflow_missing(struct err *err, const char *parameter);
/* "Invalid value 3 for parameter 'p' supplied:  Hint: Value was of type 'int'. ..." */
bool mlflow_bad_type(struct err *err, const char *parameter, const json_t *value);
/* 5, 5.0 or "5". */
bool mlflow_whole(const json_t *value, int64_t *ret);

/* An experiment id of a request; text that is no number names no experiment: ERR_NOT_FOUND. */
MUST_CHECK bool mlflow_experiment_id(struct str text, int64_t *ret, struct err *err);
/* run_id or run_uuid; one that cannot be ours is ERR_NOT_FOUND, a malformed one ERR_INVALID. */
MUST_CHECK bool mlflow_run_id(struct str run_id, struct str run_uuid, struct id *ret, struct err *err);
bool mlflow_no_run(struct err *err, struct id id);
bool mlflow_run_deleted(struct err *err, struct id id);
bool mlflow_no_experiment(struct err *err, struct str id);
/* "ACTIVE_ONLY" and so on, or their numbers. */
MUST_CHECK bool mlflow_view(struct str text, const char *parameter, unsigned *ret_view, struct err *err);

/* [{"key", "value"}, ...] as a packed object, the last of a key winning; `skip` (may be NULL) is left out. `check` may shorten the value;
 * `path` is "tags[3]". A NULL array is {}. */
typedef bool mlflow_check_fn(struct str key, struct str *value, const char *path, struct err *err);
MUST_CHECK bool mlflow_pack(const json_t *array, const char *name, mlflow_check_fn *check, const char *skip, struct buf *out,
                            struct err *err);
/* {"key": "value"} */
MUST_CHECK bool mlflow_pack_one(struct str key, struct str value, struct buf *out, struct err *err);

/* ---- answers ---- */

void mlflow_put_id(struct json_writer *w, const char *key, struct id id);
/* A packed object as [{"key", "value"}]; left out when it is empty. */
void mlflow_put_pairs(struct json_writer *w, const char *key, struct str packed);
void mlflow_put_run_info(struct json_writer *w, const struct run_row *run);
/* info, data, inputs, outputs */
void mlflow_put_run(struct json_writer *w, const struct run_row *run);
void mlflow_put_experiment(struct json_writer *w, const struct experiment_row *experiment);

/* Wraps a callback's start: false, and the request is answered, when the statement did not do it. */
MUST_CHECK bool mlflow_pg_ok(struct http_req *req, const struct pg_reply *reply);

#endif
