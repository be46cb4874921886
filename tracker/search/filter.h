/* The search language of runs, experiments, logged models, registered models and their versions: clauses joined by AND, and the keys
 * results are ordered by. Text goes in, a tree in an arena comes out; what the words mean in the database is search_sql.h's matter.
 *
 *   metrics.accuracy > 0.9 AND params.`batch size` = '32' AND tags.owner ILIKE 'a%' AND start_time > 1700000000000
 *
 * Every error is ERR_INVALID with the text that MLflow's clients know, and the byte at which the trouble begins. */
#ifndef WINNOW_TRACKER_FILTER_H
#define WINNOW_TRACKER_FILTER_H

#include "base/arena.h"
#include "base/err.h"

enum { FILTER_TEXT_MAX = 256 * 1024, FILTER_CLAUSES_MAX = 200, FILTER_LIST_MAX = 5000, FILTER_ORDER_MAX = 32, FILTER_COLUMNS_MAX = 200 };
/* LIKE patterns: a bound on what one row can cost. */
enum { FILTER_PATTERN_MAX = 2000, FILTER_WILDCARDS_MAX = 32 };

enum filter_domain { FILTER_RUNS, FILTER_EXPERIMENTS, FILTER_LOGGED_MODELS, FILTER_REGISTERED_MODELS, FILTER_MODEL_VERSIONS };

enum filter_entity { FILTER_ATTRIBUTE, FILTER_METRIC, FILTER_PARAM, FILTER_TAG, FILTER_DATASET };

enum filter_op {
  FILTER_EQ,
  FILTER_NE,
  FILTER_GT,
  FILTER_GE,
  FILTER_LT,
  FILTER_LE,
  FILTER_LIKE,
  FILTER_ILIKE,
  FILTER_IN,
  FILTER_NOT_IN,
  FILTER_IS_NULL,
  FILTER_IS_NOT_NULL,
  FILTER_OP_COUNT
};

/* The attributes of all domains, and the fields of a dataset. */
enum filter_field {
  FIELD_NONE, /* the clause names a metric, param or tag by its key */
  FIELD_RUN_ID,
  FIELD_RUN_NAME,
  FIELD_USER_ID,
  FIELD_STATUS,
  FIELD_ARTIFACT_URI,
  FIELD_START_TIME,
  FIELD_END_TIME,
  FIELD_DATASET_NAME,
  FIELD_DATASET_DIGEST,
  FIELD_DATASET_CONTEXT,
  FIELD_NAME,
  FIELD_EXPERIMENT_ID,
  FIELD_CREATED,
  FIELD_UPDATED,
  FIELD_MODEL_ID,
  FIELD_MODEL_TYPE,
  FIELD_SOURCE_RUN_ID,
  FIELD_SOURCE,
  FIELD_VERSION,
  FIELD_COUNT
};

struct filter_key {
  enum filter_entity entity;
  enum filter_field field; /* of an attribute or a dataset */
  struct str key;          /* of a metric, param or tag */
};

struct filter_clause {
  struct filter_key key;
  enum filter_op op;
  bool is_number;
  double number;
  struct str text;        /* a string value; of a number, as written */
  const struct str *list; /* of IN and NOT IN */
  size_t list_count;
  size_t at; /* where the clause begins */
};

struct filter {
  const struct filter_clause *clauses; /* all must hold */
  size_t count;
};

struct filter_order {
  struct filter_key key;
  bool descending;
  struct str dataset_name, dataset_digest; /* of a logged model's metric: measured on this; p NULL: any. Set by the caller */
};

/* Strings of the tree are slices of `text` or live in the arena. An empty text is no filter; blanks alone are an error. `ret_at` (may be
 * NULL) is written on failure only. */
MUST_CHECK bool filter_parse(enum filter_domain domain, struct str text, struct arena *arena, struct filter *ret, size_t *ret_at,
                             struct err *err);
/* `metrics.x DESC`, `start_time`. The same key twice is an error. */
MUST_CHECK bool filter_parse_order(enum filter_domain domain, const struct str *texts, size_t count, struct arena *arena,
                                   const struct filter_order **ret, struct err *err);
/* One key without a direction: a column to show ("params.lr", "metrics.acc", "start_time"). */
MUST_CHECK bool filter_parse_key(enum filter_domain domain, struct str text, struct filter_key *ret, struct err *err);

bool filter_key_eq(const struct filter_key *a, const struct filter_key *b);
/* "=", "NOT IN" */
const char *filter_op_text(enum filter_op op);

#endif
