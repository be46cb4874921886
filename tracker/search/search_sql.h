/* Searches as SQL. Identifiers and operators come from the tables of search_sql.c; everything that came from outside is a parameter. */
#ifndef WINNOW_TRACKER_SEARCH_SQL_H
#define WINNOW_TRACKER_SEARCH_SQL_H

#include "tracker/search/filter.h"
#include "tracker/search/search_parts.h"

_Static_assert(SEARCH_KEYS_MAX >= FILTER_ORDER_MAX * 2 + 4, "two keys for each thing that is ordered by, and ties");

enum search_view { VIEW_ACTIVE, VIEW_DELETED, VIEW_ALL };

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
    struct str name, digest; /* p NULL: any */
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

/* A row that was found: what find_rows() gives of it. */
struct search_found {
  struct id id;
  int64_t n, v;
};
/* "Finds" these again, in their order, without their keys. */
MUST_CHECK bool search_compile_found(const struct search_found *found, size_t count, struct search_sql *ret, struct err *err);

#endif
