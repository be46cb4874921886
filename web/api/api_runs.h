/* /api/v1: what the families of tracking share. */
#ifndef WINNOW_WEB_API_RUNS_H
#define WINNOW_WEB_API_RUNS_H

#include "base/json.h"
#include "tracker/run_row.h"
#include "web/mlflow/mlflow_search.h"

enum { API_BODY_MAX = 16 * 1024 * 1024, API_ASK_MAX = 4 * 1024 * 1024 /* of a question */, API_LIMIT_DEFAULT = 100, API_LIMIT_MAX = 10000 };

/* {id} of the route; ERR_NOT_FOUND when it cannot be a run's. */
MUST_CHECK bool api_run_id(struct http_req *req, struct id *ret, struct err *err);
bool api_no_run(struct err *err, struct id id);
bool api_run_in_trash(struct err *err);
/* The body as a tree; an empty one is {}. The caller owns it. */
MUST_CHECK bool api_body(struct http_req *req, json_t **ret, struct err *err);
/* A name that is given (p not NULL) is not empty. */
MUST_CHECK bool api_name_check(struct str name, struct err *err);
/* ?limit= and ?cursor= */
MUST_CHECK bool api_page(struct http_req *req, int64_t *ret_limit, struct str *ret_cursor, struct err *err);
/* The same of a list that is made anew for every page: from which item on, and how many. Without a limit all of them. */
MUST_CHECK bool api_span(struct http_req *req, size_t *ret_from, size_t *ret_limit, struct err *err);
/* Its "next": the item that the next page begins with; 0: there is none. */
void api_put_span_next(struct json_writer *w, size_t next);

/* {"key": "text" or null} of a PATCH: what is set as a packed object, what is removed as texts in the arena. */
MUST_CHECK bool api_tags(struct http_req *req, const json_t *tags, size_t value_max, struct buf *set, const struct str **ret_removed,
                         size_t *ret_count, struct err *err);

/* {"key": value} as a packed object of texts, in the request's arena. */
MUST_CHECK bool api_pack_params(struct http_req *req, const json_t *params, struct str *ret, struct err *err);
/* The run of the reply's first row as the body of an answer; ERR_NOT_FOUND when it has none. */
MUST_CHECK bool api_write_run(const struct pg_reply *reply, struct id id, struct buf *body, struct err *err);
/* Makes a run that is launched, and answers. Takes the body. */
void api_launch(struct http_req *req, json_t *body);

/* null for INT64_MIN. */
void api_put_i64(struct json_writer *w, const char *key, int64_t value);
/* The keys last, step, time, min, max, count of a metric of run.metrics; null when there is none. */
void api_put_metric_items(struct json_writer *w, struct str packed);
void api_put_id(struct json_writer *w, const char *key, struct id id, bool is_set);

/* Which keys of a run are wanted. NULL: all. */
struct api_columns {
  uint32_t fields; /* bits of the run's keys */
  struct filter_key *data;
  size_t data_count;
};
MUST_CHECK bool api_read_columns(struct http_req *req, const json_t *array, struct api_columns **ret, struct err *err);
void api_put_run(struct json_writer *w, const struct run_row *run, const struct api_columns *columns);
/* Its keys, into an object that has begun. */
void api_put_run_keys(struct json_writer *w, const struct run_row *run, const struct api_columns *columns);
/* Beside those: "inputs" and "outputs". */
void api_put_run_links(struct json_writer *w, const struct run_row *run);

#endif
