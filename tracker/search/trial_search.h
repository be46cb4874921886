/* The trials of a sweep in the order of one of their columns, as SQL for find_rows(): numbers, then NaN, then texts, then what has none, in
 * either direction; what is equal by number. */
#ifndef WINNOW_TRACKER_TRIAL_SEARCH_H
#define WINNOW_TRACKER_TRIAL_SEARCH_H

#include "base/err.h"
#include "tracker/search/search_parts.h"

/* What trials that run have reported since their row was written, which the database does not know. */
enum trial_reported { REPORTED_NOTHING, REPORTED_VALUE, REPORTED_VALUE_STEP, REPORTED_BEST, REPORTED_LAST, REPORTED_LAST_STEP };

struct trial_sort {
  const struct trial_column *column;
  struct str key; /* of a param or metric */
  bool descending;
};

/* "value", "-params.lr", "metrics.acc"; an empty text is "number". The key is a slice of it. */
MUST_CHECK bool trial_sort_parse(struct str text, struct trial_sort *ret, struct err *err);
enum trial_reported trial_sort_reported(const struct trial_sort *sort);
bool trial_sort_is_param(const struct trial_sort *sort);
bool trial_sort_is_metric(const struct trial_sort *sort);
/* The rows lie in this order: others look at all trials of the sweep. */
bool trial_sort_is_kept(const struct trial_sort *sort);

struct trial_search {
  struct id sweep;
  bool of_state, of_number;
  int64_t state, number;
  struct trial_sort sort;
  int64_t now;           /* until when they took that are not over */
  const struct id *runs; /* those of which `reported` is known */
  const double *reported;
  size_t reported_count;
  int64_t limit; /* one more than the page */
  struct search_page page;
};

/* ERR_INVALID when the page's values do not fit the order. */
MUST_CHECK bool trial_search_compile(const struct trial_search *search, struct search_sql *ret, struct err *err);

#endif
