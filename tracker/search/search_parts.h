/* What searches are compiled of: text that refers to parameters, and the keys that rows are ordered by. Everything that came from outside
 * is a parameter: an item of one of the four arrays that the SQL function find_rows() hands to the statement. Pages are keysets: a page's
 * end is remembered as the values the rows are ordered by, and the next page begins behind them. A statement selects id, n and v, which
 * identify a row, and its keys as `found`, and ends as sql_add_page() says. */
#ifndef WINNOW_TRACKER_SEARCH_PARTS_H
#define WINNOW_TRACKER_SEARCH_PARTS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/id.h"

enum { SEARCH_KEYS_MAX = 68, SEARCH_TEXT_MAX = 4 * 1024 * 1024 };

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

/* The five arguments of find_rows(). */
struct pg_args;
void search_sql_put(const struct search_sql *sql, struct pg_args *args);

void sql_add(struct search_sql *sql, const char *text);
/* Each adds a parameter; the first ones return its place in its array, from 1, the others write it. */
size_t sql_put_text(struct search_sql *sql, struct str value);
size_t sql_put_int(struct search_sql *sql, int64_t value);
size_t sql_put_number(struct search_sql *sql, double value);
size_t sql_put_id(struct search_sql *sql, struct id value);
void sql_add_text(struct search_sql *sql, struct str value);
void sql_add_int(struct search_sql *sql, int64_t value);
void sql_add_number(struct search_sql *sql, double value);
void sql_add_id(struct search_sql *sql, struct id value);
/* In the arena; "" without memory. */
const char *sql_scratch(struct search_sql *sql, const char *format, ...) PRINTF_LIKE(2, 3);

/* One thing that rows are compared by. */
enum sort_type { SORT_TEXT, SORT_INT, SORT_NUMBER, SORT_ID };
struct sort_key {
  enum sort_type type;
  bool descending;
  const char *sql;
};

struct sort_order {
  struct sort_key keys[SEARCH_KEYS_MAX];
  size_t count;
};

struct sort_key *sort_order_add(struct sort_order *order, enum sort_type type, bool descending);
/* A bare number in ORDER BY would name a column of the result. */
bool sort_key_is_constant(const struct sort_key *key);

/* The values behind which a page begins: as find_rows() gave them for the last row before it, its row limit - 1. Other rows have none. */
struct search_page {
  const struct str *values; /* p NULL: null */
  size_t count;             /* 0: from the start */
};

/* ", key as k0, key as k1 ..." */
void sql_add_keys(struct search_sql *sql, const struct sort_order *order);
void sql_add_order_by(struct search_sql *sql, const struct sort_order *order);
/* Whether a row comes after the page's values. False when these do not fit the order. */
MUST_CHECK bool sql_add_after(struct search_sql *sql, const struct sort_order *order, const struct search_page *page);
/* ") select id, n, v, page_key from found", where `found` has `limit` rows at most, one more than the page. */
void sql_add_page(struct search_sql *sql, int64_t limit, const struct sort_order *order);

#endif
