#include "tracker/search/search_parts.h"

#include "base/mem.h"
#include "storage/pg/pg.h"

/* ---- parameters ---- */

void search_sql_init(struct search_sql *sql, struct arena *arena) {
  *sql = (struct search_sql){.text = BUF_INIT(SEARCH_TEXT_MAX), .arena = arena};
}

void search_sql_release(struct search_sql *sql) {
  buf_release(&sql->text);
  mem_free(sql->texts);
  mem_free(sql->ints);
  mem_free(sql->numbers);
  mem_free(sql->ids);
}

/* Room for one more in a vector of `size`-byte items. */
static bool room_for(struct search_sql *sql, void **items, size_t count, size_t *room, size_t size) {
  if (count < *room)
    return true;
  size_t more = *room ? *room * 2 : 16;
  void *grown = mem_resize(*items, more, size);
  if (!grown) {
    sql->fail = ERR_NO_MEMORY;
    return false;
  }
  *items = grown;
  *room = more;
  return true;
}

size_t sql_put_text(struct search_sql *sql, struct str value) {
  void *items = sql->texts;
  if (room_for(sql, &items, sql->text_count, &sql->text_room, sizeof *sql->texts)) {
    sql->texts = items;
    sql->texts[sql->text_count] = value;
  }
  return sql->fail ? 1 : ++sql->text_count;
}

size_t sql_put_int(struct search_sql *sql, int64_t value) {
  void *items = sql->ints;
  if (room_for(sql, &items, sql->int_count, &sql->int_room, sizeof *sql->ints)) {
    sql->ints = items;
    sql->ints[sql->int_count] = value;
  }
  return sql->fail ? 1 : ++sql->int_count;
}

size_t sql_put_number(struct search_sql *sql, double value) {
  void *items = sql->numbers;
  if (room_for(sql, &items, sql->number_count, &sql->number_room, sizeof *sql->numbers)) {
    sql->numbers = items;
    sql->numbers[sql->number_count] = value;
  }
  return sql->fail ? 1 : ++sql->number_count;
}

size_t sql_put_id(struct search_sql *sql, struct id value) {
  void *items = sql->ids;
  if (room_for(sql, &items, sql->id_count, &sql->id_room, sizeof *sql->ids)) {
    sql->ids = items;
    sql->ids[sql->id_count] = value;
  }
  return sql->fail ? 1 : ++sql->id_count;
}

void sql_add(struct search_sql *sql, const char *text) {
  buf_puts(&sql->text, text);
}

void sql_add_text(struct search_sql *sql, struct str value) {
  buf_printf(&sql->text, "$1[%zu]", sql_put_text(sql, value));
}

void sql_add_int(struct search_sql *sql, int64_t value) {
  buf_printf(&sql->text, "$2[%zu]", sql_put_int(sql, value));
}

void sql_add_number(struct search_sql *sql, double value) {
  buf_printf(&sql->text, "$3[%zu]", sql_put_number(sql, value));
}

void sql_add_id(struct search_sql *sql, struct id value) {
  buf_printf(&sql->text, "$4[%zu]", sql_put_id(sql, value));
}

const char *sql_scratch(struct search_sql *sql, const char *format, ...) {
  AUTO_BUF struct buf text = BUF_INIT(8 * KIB);
  va_list args;
  va_start(args, format);
  buf_vprintf(&text, format, args);
  va_end(args);
  const char *copy = buf_ok(&text, NULL) ? arena_strdup(sql->arena, buf_str(&text)) : NULL;
  if (!copy)
    sql->fail = ERR_NO_MEMORY;
  return copy ? copy : "";
}

/* ---- order ---- */

struct sort_key *sort_order_add(struct sort_order *order, enum sort_type type, bool descending) {
  struct sort_key *key = &order->keys[order->count++];
  *key = (struct sort_key){.type = type, .descending = descending};
  return key;
}

bool sort_key_is_constant(const struct sort_key *key) {
  return str_is(str_of(key->sql), "0");
}

static void add_key(struct search_sql *sql, const struct sort_key *key) {
  sql_add(sql, key->sql);
  if (key->type == SORT_TEXT)
    sql_add(sql, " collate \"C\"");
}

void sql_add_order_by(struct search_sql *sql, const struct sort_order *order) {
  bool first = true;
  for (size_t i = 0; i < order->count; i++) {
    if (sort_key_is_constant(&order->keys[i]))
      continue;
    sql_add(sql, first ? " order by " : ", ");
    add_key(sql, &order->keys[i]);
    sql_add(sql, order->keys[i].descending ? " desc" : "");
    first = false;
  }
}

static bool add_page_value(struct search_sql *sql, const struct sort_key *key, struct str value) {
  int64_t whole;
  double number;
  struct id id;
  switch (key->type) {
  case SORT_TEXT:
    sql_add_text(sql, value);
    return true;
  case SORT_INT:
    if (!str_to_i64(value, &whole))
      return false;
    sql_add_int(sql, whole);
    return true;
  case SORT_NUMBER:
    if (!str_to_f64(value, &number))
      return false;
    sql_add_number(sql, number);
    return true;
  case SORT_ID:
    if (!id_parse(value, &id))
      return false;
    sql_add_id(sql, id);
    return true;
  }
  return false;
}

/* Key by key, (k1 > v1 or (k1 = v1 and (k2 > v2 or ...))). A null value was the last of its kind. */
bool sql_add_after(struct search_sql *sql, const struct sort_order *order, const struct search_page *page) {
  for (size_t i = 0; i < order->count; i++) {
    const struct sort_key *key = &order->keys[i];
    struct str value = page->values[i];
    sql_add(sql, i ? " and (" : "(");
    if (!value.p) {
      sql_add(sql, "false or ");
      add_key(sql, key);
      sql_add(sql, " is null");
      continue;
    }
    add_key(sql, key);
    sql_add(sql, key->descending ? " < " : " > ");
    if (!add_page_value(sql, key, value))
      return false;
    if (i + 1 == order->count)
      break;
    sql_add(sql, " or ");
    add_key(sql, key);
    sql_add(sql, " = ");
    if (!add_page_value(sql, key, value))
      return false;
  }
  if (!page->values[order->count - 1].p)
    sql_add(sql, " and false");
  for (size_t i = 0; i < order->count; i++)
    sql_add(sql, ")");
  return true;
}

void sql_add_keys(struct search_sql *sql, const struct sort_order *order) {
  for (size_t i = 0; i < order->count; i++) {
    sql_add(sql, ", ");
    add_key(sql, &order->keys[i]);
    buf_printf(&sql->text, " as k%zu", i);
  }
}

/* The key of the row that the next page begins behind, and of no other: to write the keys of all as text takes as long as to find them. */
void sql_add_page(struct search_sql *sql, int64_t limit, const struct sort_order *order) {
  sql_add(sql, ") select id, n, v, case when row_number() over () = ");
  sql_add_int(sql, limit - 1);
  sql_add(sql, " then array[");
  for (size_t i = 0; i < order->count; i++)
    buf_printf(&sql->text, "%sk%zu::text", i ? ", " : "", i);
  sql_add(sql, "] end from found");
}

void search_sql_put(const struct search_sql *sql, struct pg_args *args) {
  pg_put_text(args, buf_str(&sql->text));
  pg_begin_array(args);
  for (size_t i = 0; i < sql->text_count; i++)
    pg_put_text(args, sql->texts[i].p ? sql->texts[i] : STR(""));
  pg_end_array(args);
  pg_put_int8s(args, sql->ints, sql->int_count);
  pg_put_float8s(args, sql->numbers, sql->number_count);
  pg_begin_array(args);
  for (size_t i = 0; i < sql->id_count; i++)
    pg_put_uuid(args, sql->ids[i]);
  pg_end_array(args);
}
