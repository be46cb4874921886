/* What the searches of MLflow's protocol have in common: from a request's filter, order and page token to a compiled statement, and the
 * token of the next page out of its rows. */
#ifndef WINNOW_WEB_MLFLOW_SEARCH_H
#define WINNOW_WEB_MLFLOW_SEARCH_H

#include "tracker/search/search_sql.h"
#include "web/heavy.h"
#include "web/mlflow/mlflow.h"
#include "web/page_token.h"

struct mlflow_search;
struct mlflow_search_args {
  struct str filter, page_token;
  const json_t *order_by; /* strings; not looked at when the handler has set the order itself */
  struct str more;        /* what else makes this question another */
  int64_t max_results;
};

/* Writes the i-th row. */
typedef void mlflow_row_fn(struct mlflow_search *op, struct json_writer *w, const struct pg_reply *reply, size_t i);

/* What is asked of the database, and how it is answered. `page` and `rows` take find_rows()' five parameters; `page` also what its rows may
 * weigh together, and tells behind page_key whether they do and what was found (see run_page in sql/queries/run.sql). */
struct mlflow_search_shape {
  enum stmt page, rows;   /* rows: only with put_row */
  size_t key_column;      /* that of page_key */
  const char *name;       /* the array's; of ours it is "items" */
  mlflow_row_fn *put_row; /* NULL: the answer is not made of rows one by one */
};

/* One search under way; lives in its request's arena. */
struct mlflow_search {
  struct http_req *req;
  struct search search; /* domain, view, experiments... are the handler's to set before */
  struct page_question question;
  int64_t max_results;
  size_t key_count;
  void *extra;                                     /* the handler's */
  bool is_api;                                     /* {"items": [...], "next": cursor or null} */
  void (*found_nothing)(struct mlflow_search *op); /* answers in that case; NULL: mlflow_search_reply_nothing() does */
  /* private */
  const struct mlflow_search_shape *shape;
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
/* Compiles, runs, and answers: {"<name>": [...], "next_page_token"}, where MLflow leaves out what is empty, and ours says `[]` and `null`.
 * Of runs it waits until their last metrics are in the database. A page of many rows is written as they come, and a heavy one in pieces,
 * slowed down by the client, so that it costs the loop and the memory no more than a few rows at a time. A failure on the way later is
 * answered here. Of those that look up many metrics (search_is_heavy()) few run at once and some wait; ERR_OVERLOADED when too many do.
 * `shape` is static. */
MUST_CHECK bool mlflow_search_answer(struct mlflow_search *op, const struct mlflow_search_shape *shape, struct err *err);
/* The same for an answer that needs all rows: `done` is called with them, when there was no failure. A heavy page gets shorter than was
 * asked for. */
MUST_CHECK bool mlflow_search_run(struct mlflow_search *op, const struct mlflow_search_shape *shape, pg_done_fn *done, struct err *err);

void mlflow_search_reply_nothing(struct mlflow_search *op);

/* How many rows belong to the page. */
size_t mlflow_search_rows(const struct mlflow_search *op, const struct pg_reply *reply);
/* Adds the token of the next page; false when there is none. */
bool mlflow_search_token(const struct mlflow_search *op, const struct pg_reply *reply, struct buf *out);

#endif
