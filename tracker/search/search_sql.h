/* Searches as SQL. Identifiers and operators come from the tables of search_sql.c; everything that came from outside is a parameter: an
 * item of one of the four arrays that the SQL function find_rows() hands to the statement. Pages are keysets: a page's end is remembered as
 * the values the rows are ordered by, and the next page begins behind them. */
#ifndef WINNOW_TRACKER_SEARCH_SQL_H
#define WINNOW_TRACKER_SEARCH_SQL_H

#include "base/buf.h"
#include "base/id.h"
#include "tracker/search/filter.h"

enum { SEARCH_KEYS_MAX = FILTER_ORDER_MAX * 2 + 4 };

enum search_view { VIEW_ACTIVE, VIEW_DELETED, VIEW_ALL };

/* A vector per type of parameter. Ceilings are those of the filter. */
struct search_sql {
  struct buf text;
  struct str *texts; /* borrowed, or in `arena` */
  int64_t *ints;
  double *numbers;
  struct id *ids;
  size_t text_count, int_count, number_count, id_count;
  size_t text_room, int_room, number_room, id_room;
  struct arena *arena;
  size_t key_count; /* what page_key holds */
  bool unpacks;     /* private: UNPACKED is joined */
  enum err_code fail;
};

void search_sql_init(struct search_sql *sql, struct arena *arena);
void search_sql_release(struct search_sql *sql);
#define AUTO_SEARCH_SQL CLEANUP(search_sql_release)

/* The values behind which a page begins: as find_rows() gave them for the last row before it, its row limit - 1. Other rows have none. */
struct search_page {
  const struct str *values; /* p NULL: null */
  size_t count;             /* 0: from the start */
};

struct search {
  enum filter_domain domain;
  struct filter filter;
  const struct filter_order *order;
  size_t order_count;
  enum search_view view;
  const int64_t *experiments; /* of runs and logged models; those of no experiment are found nowhere */
  size_t experiment_count;
  bool everywhere;   /* whatever the experiment */
  bool hide_parents; /* of sweeps */
  bool of_sweep;     /* the trials of this sweep */
  struct id sweep;
  bool of_state; /* enum run_state */
  int64_t state;
  /* Runs ordered by a metric first: only those that have it as a number. As they come before all others, a page that is filled this way is
   * complete, and the index gives it without looking at the rest. */
  bool numbers_only;
  /* Logged models: a metric's clause or order counts only what was measured on these. */
  struct search_dataset {
    struct str name, digest; /* digest p NULL: any */
  } const *datasets;
  size_t dataset_count;
  int64_t limit;
  struct search_page page;
};

/* True when numbers_only would change anything. */
bool search_orders_by_metric(const struct search *search);
/* True when so many metrics are looked up that where runs have thousands of them the database is kept busy. */
bool search_is_heavy(const struct search *search);
/* ERR_INVALID when the page's values do not fit the order. */
MUST_CHECK bool search_compile(const struct search *search, struct search_sql *ret, struct err *err);
/* The five arguments of find_rows(). */
struct pg_args;
void search_sql_put(const struct search_sql *sql, struct pg_args *args);

#endif
