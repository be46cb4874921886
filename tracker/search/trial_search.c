#include "tracker/search/trial_search.h"

/* What a column is compared by: `x` below, which is made once for each row. */
enum trial_key {
  KEY_ROW,    /* a column of the row itself, never null, that needs no `x` */
  KEY_NUMBER, /* double precision */
  KEY_TEXT,
  KEY_PARAM, /* JSON */
};

struct trial_column {
  const char *name;
  enum trial_key key;
  enum sort_type type; /* of KEY_ROW */
  const char *sql;     /* its key is $1[1], now is $2[1] */
  enum trial_reported reported;
};

enum { COLUMN_NUMBER, COLUMN_PARAM, COLUMN_METRIC };

static const struct trial_column columns[] = {
    [COLUMN_NUMBER] = {"number", KEY_ROW, SORT_INT, "r.trial", 0},
    [COLUMN_PARAM] = {"params.NAME", KEY_PARAM, 0, "coalesce(r.point -> $1[1], r.point #> string_to_array($1[1], '.'))", 0},
    [COLUMN_METRIC] = {"metrics.NAME", KEY_NUMBER, 0, "metric_last(r.metrics, $1[1])", 0},
    {"run_id", KEY_ROW, SORT_ID, "r.id", 0},
    {"state", KEY_NUMBER, 0, "r.state", 0},
    {"state_reason", KEY_TEXT, 0, "r.state_reason", 0},
    {"attempt", KEY_NUMBER, 0, "r.attempt", 0},
    {"value", KEY_NUMBER, 0, "coalesce(heard.x, r.value)", REPORTED_VALUE},
    {"value_step", KEY_NUMBER, 0, "coalesce(heard.x, r.value_step)", REPORTED_VALUE_STEP},
    {"best_value", KEY_NUMBER, 0, "nullif(coalesce(heard.x, r.best_value), 'NaN')", REPORTED_BEST},
    {"last.value", KEY_NUMBER, 0, "coalesce(heard.x, r.last_value, r.value)", REPORTED_LAST},
    {"last.step", KEY_NUMBER, 0, "coalesce(heard.x, r.last_step, r.value_step)", REPORTED_LAST_STEP},
    {"stop.rule", KEY_TEXT, 0, "r.stop ->> 'rule'", 0},
    {"stop.step", KEY_NUMBER, 0, "(r.stop ->> 'step')::double precision", 0},
    {"node", KEY_TEXT, 0, "case when r.attempt > 0 then coalesce(r.node, r.executor) end", 0},
    {"slots", KEY_NUMBER, 0, "r.slots", 0},
    {"created", KEY_NUMBER, 0, "r.created", 0},
    {"started", KEY_NUMBER, 0, "nullif(r.start_time, 0)", 0},
    {"ended", KEY_NUMBER, 0, "r.end_time", 0},
    {"duration", KEY_NUMBER, 0, "case when r.start_time > 0 then greatest(0, coalesce(r.end_time, $2[1]) - r.start_time) end", 0},
};

static const char *name_at(const void *ctx, size_t i) {
  (void)ctx;
  return columns[i].name;
}

static bool no_column(struct str name, struct err *err) {
  const char *nearest = str_nearest(name, ARRAY_LEN(columns), name_at, NULL);
  err_set(err, ERR_INVALID, "\"sort\" names no column of trials: \"%.*s\"", STR_ARG(str_slice(name, 0, 100)));
  if (nearest)
    return err_hint(err, "did you mean %s?", nearest);
  return err_hint(err,
                  "number, state, value, best_value, last.value, duration, started, ended, node, params.NAME, metrics.NAME; - before it "
                  "for the other way round");
}

/* "params." and something more. */
static bool takes_key(struct str text, const char *prefix, struct str *ret) {
  struct str start = str_of(prefix);
  if (!str_starts(text, start) || text.n == start.n)
    return false;
  *ret = str_slice(text, start.n, text.n);
  return true;
}

bool trial_sort_parse(struct str text, struct trial_sort *ret, struct err *err) {
  *ret = (struct trial_sort){.column = &columns[COLUMN_NUMBER], .descending = str_starts(text, STR("-"))};
  struct str name = str_slice(text, ret->descending ? 1 : 0, text.n);
  if (!text.n)
    return true;
  if (takes_key(name, "params.", &ret->key)) {
    ret->column = &columns[COLUMN_PARAM];
    return true;
  }
  if (takes_key(name, "metrics.", &ret->key)) {
    ret->column = &columns[COLUMN_METRIC];
    return true;
  }
  for (size_t i = 0; i < ARRAY_LEN(columns); i++)
    if (i != COLUMN_PARAM && i != COLUMN_METRIC && str_is(name, columns[i].name)) {
      ret->column = &columns[i];
      return true;
    }
  return no_column(name, err);
}

enum trial_reported trial_sort_reported(const struct trial_sort *sort) {
  return sort->column->reported;
}

bool trial_sort_is_param(const struct trial_sort *sort) {
  return sort->column == &columns[COLUMN_PARAM];
}

bool trial_sort_is_metric(const struct trial_sort *sort) {
  return sort->column == &columns[COLUMN_METRIC];
}

bool trial_sort_is_kept(const struct trial_sort *sort) {
  return sort->column == &columns[COLUMN_NUMBER];
}

/* What `x` is ordered by, made once for each row. A long text counts by its beginning, which the cursor of a page holds. */
static const char *const made[] = {
    [KEY_NUMBER] = "case when x is null then 2 when x = 'NaN' then 1 else 0 end as kind, x as number",
    [KEY_TEXT] = "(x is null)::int as kind, left(x, 1000) as text",
    [KEY_PARAM] =
        "case coalesce(jsonb_typeof(x), 'null') when 'number' then 0 when 'boolean' then 1 when 'null' then 3 else 2 end as kind, "
        "case when jsonb_typeof(x) = 'number' then x::double precision end as number, "
        "case when jsonb_typeof(x) not in ('number', 'null') then left(x #>> '{}', 1000) end as text",
};

static void add_sort_key(struct sort_order *order, enum sort_type type, bool descending, const char *sql) {
  sort_order_add(order, type, descending)->sql = sql;
}

static void make_order(const struct trial_sort *sort, struct sort_order *order) {
  enum trial_key key = sort->column->key;
  if (key == KEY_ROW) { /* no two are equal */
    add_sort_key(order, sort->column->type, sort->descending, sort->column->sql);
    return;
  }
  add_sort_key(order, SORT_INT, false, "made.kind");
  if (key != KEY_TEXT)
    add_sort_key(order, SORT_NUMBER, sort->descending, "made.number");
  if (key != KEY_NUMBER)
    add_sort_key(order, SORT_TEXT, sort->descending, "made.text");
  add_sort_key(order, SORT_INT, false, "r.trial");
}

/* What was heard since, of the trials whose row says that they run and have a value. */
static void add_heard(struct search_sql *sql, const struct trial_search *search) {
  size_t ids = sql->id_count + 1, numbers = sql->number_count + 1;
  for (size_t i = 0; i < search->reported_count; i++) {
    sql_put_id(sql, search->runs[i]);
    sql_put_number(sql, search->reported[i]);
  }
  buf_printf(
      &sql->text,
      " left join unnest($4[%zu:%zu], $3[%zu:%zu]) heard (run, x) on heard.run = r.id and r.end_time is null and r.value is not null", ids,
      sql->id_count, numbers, sql->number_count);
}

static void add_from(struct search_sql *sql, const struct trial_search *search) {
  const struct trial_column *column = search->sort.column;
  sql_add(sql, " from run r");
  if (column->reported)
    add_heard(sql, search);
  if (column->key != KEY_ROW)
    buf_printf(&sql->text, " cross join lateral (select %s from (select (%s)%s as x offset 0) of offset 0) made", made[column->key],
               column->sql, column->key == KEY_NUMBER ? "::double precision" : "");
}

static void add_where(struct search_sql *sql, const struct trial_search *search) {
  sql_add(sql, " where r.sweep_id = ");
  sql_add_id(sql, search->sweep);
  if (search->of_state) {
    sql_add(sql, " and r.state = ");
    sql_add_int(sql, search->state);
  }
  if (search->of_number) {
    sql_add(sql, " and r.trial = ");
    sql_add_int(sql, search->number);
  }
}

bool trial_search_compile(const struct trial_search *search, struct search_sql *ret, struct err *err) {
  struct sort_order order = {.count = 0};
  make_order(&search->sort, &order);
  ret->key_count = order.count;
  sql_put_text(ret, search->sort.key);
  sql_put_int(ret, search->now);
  sql_add(ret, "with found as (select r.id as id, null::bigint as n, null::int as v");
  sql_add_keys(ret, &order);
  add_from(ret, search);
  add_where(ret, search);
  bool ok = search->page.count == 0 || search->page.count == order.count;
  if (ok && search->page.count) {
    sql_add(ret, " and ");
    ok = sql_add_after(ret, &order, &search->page);
  }
  sql_add_order_by(ret, &order);
  sql_add(ret, " limit ");
  sql_add_int(ret, search->limit);
  sql_add_page(ret, search->limit, &order);
  if (ret->fail)
    return err_no_memory(err);
  if (!ok)
    return err_set(err, ERR_INVALID, "\"cursor\" is none that was given out here");
  return buf_ok(&ret->text, err);
}
