/* What the searches of MLflow's protocol have in common: from a request's filter, order and page token to a compiled statement, and the
 * token of the next page out of its rows. */
#ifndef WINNOW_WEB_MLFLOW_SEARCH_H
#define WINNOW_WEB_MLFLOW_SEARCH_H

#include "tracker/search/search_sql.h"
#include "web/heavy.h"
#include "web/mlflow/mlflow.h"

struct mlflow_search_args {
  struct str filter, page_token;
  const json_t *order_by; /* strings; not looked at when the handler has set the order itself */
  struct str more;        /* what else makes this question another */
  int64_t max_results;
};

/* One search under way; lives in its request's arena. */
struct mlflow_search {
  struct http_req *req;
  struct search search; /* domain, view, experiments... are the handler's to set before */
  struct str question;
  int64_t max_results;
  size_t key_count;
  void *extra; /* the handler's */
  bool is_api; /* {"items": [...], "next": cursor or null} */
  /* private */
  enum stmt stmt;
  pg_done_fn *done;
  struct streamed *streamed; /* NULL: its answer is made at once */
  struct heavy_turn turn;    /* of a heavy one */
  bool given_up;
};

/* How many results are asked for: 1 to `most`. */
MUST_CHECK bool mlflow_check_max_results(int64_t wanted, int most, struct err *err);
/* NULL: without memory, and the request is answered. */
struct mlflow_search *mlflow_search_new(struct http_req *req);
/* Parses filter, order and token into op->search. `question` adds what else the token depends on. */
MUST_CHECK bool mlflow_search_parse(struct mlflow_search *op, const struct mlflow_search_args *args, struct err *err);
/* Compiles, and runs `stmt`, which takes find_rows()' five parameters. Of runs it waits until their last metrics are in the database. */
/* A failure on the way later is answered here. Of heavy ones (search_is_heavy()) few run at once and some wait; ERR_OVERLOADED when too
 * many do. */
MUST_CHECK bool mlflow_search_run(struct mlflow_search *op, enum stmt stmt, pg_done_fn *done, struct err *err);
/* The same for answers that may be large: rows are written as they come, slowed down by the client. `put_row` writes one; `name` is the
 * array's. Answers in any case. Without rows the answer is {}, as MLflow's; of ours (op->is_api) it has an empty array and a null token. */
typedef void mlflow_row_fn(struct mlflow_search *op, struct json_writer *w, const struct pg_reply *row);
MUST_CHECK bool mlflow_search_stream(struct mlflow_search *op, enum stmt stmt, const char *name, const char *token_name, size_t key_column,
                                     mlflow_row_fn *put_row, struct err *err);
/* From so many results on. */
enum { SEARCH_STREAM_FROM = 2000 };

/* How many rows belong to the page. */
size_t mlflow_search_rows(const struct mlflow_search *op, const struct pg_reply *reply);
/* "next_page_token", when a further row exists. `key_column` is that of page_key. */
void mlflow_search_put_token(const struct mlflow_search *op, struct json_writer *w, const struct pg_reply *reply, size_t key_column);
/* Answers with the page: {"<name>": [...], "next_page_token"}; the array is left out when it is empty, as MLflow does. `put` writes the
 * i-th row. */
typedef void mlflow_item_fn(struct json_writer *w, const struct pg_reply *reply, size_t i);
void mlflow_search_reply(const struct mlflow_search *op, const struct pg_reply *reply, const char *name, size_t key_column,
                         mlflow_item_fn *put);
/* The token itself, for other shapes of answer; false when there is none. */
bool mlflow_search_token(const struct mlflow_search *op, const struct pg_reply *reply, size_t key_column, struct buf *out);

#endif
