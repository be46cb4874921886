#include "tracker/search/search_sql.h"

#include "base/json.h"
#include "base/mem.h"
#include "storage/pg/pg.h"
#include "tracker/run_state.h"

/* ---- parameters ---- */

enum { SQL_TEXT_MAX = 4 * 1024 * 1024 };

void search_sql_init(struct search_sql *sql, struct arena *arena) {
  *sql = (struct search_sql){.text = BUF_INIT(SQL_TEXT_MAX), .arena = arena};
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

/* Each adds a parameter and returns its place in its array, from 1. */
static size_t put_text(struct search_sql *sql, struct str value) {
  void *items = sql->texts;
  if (room_for(sql, &items, sql->text_count, &sql->text_room, sizeof *sql->texts)) {
    sql->texts = items;
    sql->texts[sql->text_count] = value;
  }
  return sql->fail ? 1 : ++sql->text_count;
}

static size_t put_int(struct search_sql *sql, int64_t value) {
  void *items = sql->ints;
  if (room_for(sql, &items, sql->int_count, &sql->int_room, sizeof *sql->ints)) {
    sql->ints = items;
    sql->ints[sql->int_count] = value;
  }
  return sql->fail ? 1 : ++sql->int_count;
}

static size_t put_number(struct search_sql *sql, double value) {
  void *items = sql->numbers;
  if (room_for(sql, &items, sql->number_count, &sql->number_room, sizeof *sql->numbers)) {
    sql->numbers = items;
    sql->numbers[sql->number_count] = value;
  }
  return sql->fail ? 1 : ++sql->number_count;
}

static size_t put_id(struct search_sql *sql, struct id value) {
  void *items = sql->ids;
  if (room_for(sql, &items, sql->id_count, &sql->id_room, sizeof *sql->ids)) {
    sql->ids = items;
    sql->ids[sql->id_count] = value;
  }
  return sql->fail ? 1 : ++sql->id_count;
}

static void add(struct search_sql *sql, const char *text) {
  buf_puts(&sql->text, text);
}

static void add_text(struct search_sql *sql, struct str value) {
  buf_printf(&sql->text, "$1[%zu]", put_text(sql, value));
}

static void add_int(struct search_sql *sql, int64_t value) {
  buf_printf(&sql->text, "$2[%zu]", put_int(sql, value));
}

static void add_number(struct search_sql *sql, double value) {
  buf_printf(&sql->text, "$3[%zu]", put_number(sql, value));
}

static void add_id(struct search_sql *sql, struct id value) {
  buf_printf(&sql->text, "$4[%zu]", put_id(sql, value));
}

/* {"key": "value"} as a parameter, for containment. */
static void add_pair(struct search_sql *sql, struct str key, struct str value) {
  AUTO_BUF struct buf json = BUF_INIT(MIB);
  buf_putc(&json, '{');
  json_quote(&json, key);
  buf_putc(&json, ':');
  json_quote(&json, value);
  buf_putc(&json, '}');
  char *copy = buf_ok(&json, NULL) ? arena_strdup(sql->arena, buf_str(&json)) : NULL;
  if (!copy) {
    sql->fail = ERR_NO_MEMORY;
    return;
  }
  add_text(sql, str_n(copy, json.n));
  add(sql, "::jsonb");
}

static const char *scratch(struct search_sql *sql, const char *format, ...) PRINTF_LIKE(2, 3);
static const char *scratch(struct search_sql *sql, const char *format, ...) {
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

/* ---- what the words mean ---- */

enum value_type { VALUE_TEXT, VALUE_INT, VALUE_NUMBER, VALUE_ID };

struct column {
  enum filter_field field;
  enum value_type type;
  bool nullable;
  const char *sql;
};

#define HEX(id) "replace(" id "::text, '-', '')"

static const struct column run_columns[] = {
    {FIELD_RUN_ID, VALUE_ID, false, "r.id"},
    {FIELD_RUN_NAME, VALUE_TEXT, false, "r.name"},
    {FIELD_USER_ID, VALUE_TEXT, false, "r.user_id"},
    {FIELD_STATUS, VALUE_TEXT, false, "run_status(r.state)"},
    {FIELD_ARTIFACT_URI, VALUE_TEXT, false,
     "coalesce(r.artifact_uri, (select uri_below(x.artifact_location, " HEX("r.id") " || '/artifacts') from experiment x "
                                                                                    "where x.id = r.experiment_id))"},
    {FIELD_START_TIME, VALUE_INT, false, "r.start_time"},
    {FIELD_END_TIME, VALUE_INT, true, "r.end_time"},
};

static const struct column experiment_columns[] = {
    {FIELD_NAME, VALUE_TEXT, false, "r.name"},
    {FIELD_EXPERIMENT_ID, VALUE_INT, false, "r.id"},
    {FIELD_CREATED, VALUE_INT, false, "r.created"},
    {FIELD_UPDATED, VALUE_INT, false, "r.updated"},
};

static const struct column logged_model_columns[] = {
    {FIELD_NAME, VALUE_TEXT, false, "r.name"},
    {FIELD_MODEL_ID, VALUE_TEXT, false, "('m-' || " HEX("r.id") ")"},
    {FIELD_MODEL_TYPE, VALUE_TEXT, false, "r.model_type"},
    {FIELD_STATUS, VALUE_TEXT, false, "(array['PENDING', 'READY', 'UPLOAD_FAILED'])[r.status]"},
    {FIELD_SOURCE_RUN_ID, VALUE_TEXT, true, "r.source_run"},
    {FIELD_CREATED, VALUE_INT, false, "r.created"},
    {FIELD_UPDATED, VALUE_INT, false, "r.updated"},
};

static const struct column registered_model_columns[] = {
    {FIELD_NAME, VALUE_TEXT, false, "r.name"},
    {FIELD_UPDATED, VALUE_INT, false, "r.updated"},
};

static const struct column model_version_columns[] = {
    {FIELD_NAME, VALUE_TEXT, false, "m.name"},      {FIELD_RUN_ID, VALUE_TEXT, false, "r.run_id"},
    {FIELD_SOURCE, VALUE_TEXT, false, "r.source"},  {FIELD_VERSION, VALUE_INT, false, "r.version::bigint"},
    {FIELD_CREATED, VALUE_INT, false, "r.created"}, {FIELD_UPDATED, VALUE_INT, false, "r.updated"},
};

static const struct column dataset_columns[] = {
    {FIELD_DATASET_NAME, VALUE_TEXT, false, "d.name"},
    {FIELD_DATASET_DIGEST, VALUE_TEXT, false, "d.digest"},
    {FIELD_DATASET_CONTEXT, VALUE_TEXT, true, "(x.tags ->> 'mlflow.data.context')"},
};

struct tie {
  enum filter_field field;
  bool descending;
};

#define COLUMNS(table) table, ARRAY_LEN(table)
static const struct domain_sql {
  const char *select; /* the row's identity */
  const char *from;
  const struct column *columns;
  size_t column_count;
  struct tie defaults[3], ties[2]; /* order when none is given; what is added to an order that lacks it */
  size_t default_count, tie_count;
  const char *identity; /* last of every order, ascending */
  enum value_type identity_type;
} domains[] = {
    [FILTER_RUNS] = {"r.id as id, null::bigint as n, null::int as v",
                     "run r",
                     COLUMNS(run_columns),
                     {{FIELD_START_TIME, true}},
                     {{FIELD_START_TIME, true}},
                     1,
                     1,
                     "r.id",
                     VALUE_ID},
    [FILTER_EXPERIMENTS] = {"null::uuid as id, r.id as n, null::int as v",
                            "experiment r",
                            COLUMNS(experiment_columns),
                            {{FIELD_CREATED, true}, {FIELD_EXPERIMENT_ID, false}},
                            {{FIELD_EXPERIMENT_ID, true}},
                            2,
                            1,
                            NULL,
                            VALUE_INT},
    [FILTER_LOGGED_MODELS] = {"r.id as id, null::bigint as n, null::int as v",
                              "logged_model r",
                              COLUMNS(logged_model_columns),
                              {{FIELD_CREATED, true}},
                              {{FIELD_CREATED, true}},
                              1,
                              1,
                              "r.id",
                              VALUE_ID},
    [FILTER_REGISTERED_MODELS] = {"null::uuid as id, r.id as n, null::int as v",
                                  "registered_model r",
                                  COLUMNS(registered_model_columns),
                                  {{FIELD_NAME, false}},
                                  {{FIELD_NAME, false}},
                                  1,
                                  1,
                                  NULL,
                                  VALUE_TEXT},
    [FILTER_MODEL_VERSIONS] = {"null::uuid as id, r.model as n, r.version as v",
                               "model_version r join registered_model m on m.id = r.model",
                               COLUMNS(model_version_columns),
                               {{FIELD_UPDATED, true}, {FIELD_NAME, false}, {FIELD_VERSION, true}},
                               {{FIELD_NAME, false}, {FIELD_VERSION, true}},
                               3,
                               2,
                               NULL,
                               VALUE_TEXT},
};

static const struct column *column_of(const struct column *columns, size_t count, enum filter_field field) {
  for (size_t i = 0; i < count; i++)
    if (columns[i].field == field)
      return &columns[i];
  return NULL;
}

static const struct column *domain_column(const struct search *search, enum filter_field field) {
  const struct domain_sql *domain = &domains[search->domain];
  if (field == FIELD_DATASET_NAME || field == FIELD_DATASET_DIGEST || field == FIELD_DATASET_CONTEXT)
    return column_of(dataset_columns, ARRAY_LEN(dataset_columns), field);
  return column_of(domain->columns, domain->column_count, field);
}

static const char *const sql_ops[FILTER_OP_COUNT] = {
    [FILTER_EQ] = " = ",     [FILTER_NE] = " <> ",         [FILTER_GT] = " > ",           [FILTER_GE] = " >= ",
    [FILTER_LT] = " < ",     [FILTER_LE] = " <= ",         [FILTER_LIKE] = " like ",      [FILTER_ILIKE] = " collate any_case ilike ",
    [FILTER_IN] = " = any(", [FILTER_NOT_IN] = " <> all(", [FILTER_IS_NULL] = " is null", [FILTER_IS_NOT_NULL] = " is not null",
};

/* The text of a tag or param. */
static void add_word(struct search_sql *sql, const struct search *search, enum filter_entity entity, struct str key) {
  if (search->domain == FILTER_RUNS && entity == FILTER_TAG && str_is(key, "mlflow.runName")) {
    add(sql, "nullif(r.name, '')");
    return;
  }
  if (search->domain == FILTER_RUNS && entity == FILTER_TAG && str_is(key, "mlflow.parentRunId")) {
    add(sql, "coalesce(r.tags ->> 'mlflow.parentRunId', case when r.kind = 0 then " HEX("r.sweep_id") " end)");
    return;
  }
  add(sql, entity == FILTER_TAG ? "(r.tags ->> " : "(r.params ->> ");
  add_text(sql, key);
  add(sql, ")");
}

/* ` op value` for a text. */
static void add_text_test(struct search_sql *sql, const struct filter_clause *clause) {
  add(sql, sql_ops[clause->op]);
  switch (clause->op) {
  case FILTER_IS_NULL:
  case FILTER_IS_NOT_NULL:
    return;
  case FILTER_IN:
  case FILTER_NOT_IN: {
    size_t from = sql->text_count + 1;
    for (size_t i = 0; i < clause->list_count; i++)
      put_text(sql, clause->list[i]);
    buf_printf(&sql->text, "$1[%zu:%zu])", from, sql->text_count);
    return;
  }
  case FILTER_LIKE:
  case FILTER_ILIKE:
    add_text(sql, clause->text);
    add(sql, " escape ''");
    return;
  default:
    add_text(sql, clause->text);
  }
}

static void add_word_clause(struct search_sql *sql, const struct search *search, const struct filter_clause *clause) {
  bool computed = search->domain == FILTER_RUNS && clause->key.entity == FILTER_TAG &&
                  (str_is(clause->key.key, "mlflow.runName") || str_is(clause->key.key, "mlflow.parentRunId"));
  if (clause->op == FILTER_EQ && !computed) {
    add(sql, clause->key.entity == FILTER_TAG ? "r.tags @> " : "r.params @> ");
    add_pair(sql, clause->key.key, clause->text);
    return;
  }
  struct id parent;
  if (clause->op == FILTER_EQ && str_is(clause->key.key, "mlflow.parentRunId") && id_parse(clause->text, &parent)) {
    add(sql, "(r.tags @> ");
    add_pair(sql, clause->key.key, clause->text);
    add(sql, " or (r.kind = 0 and not r.tags ? 'mlflow.parentRunId' and r.sweep_id = ");
    add_id(sql, parent);
    add(sql, "))");
    return;
  }
  add_word(sql, search, clause->key.entity, clause->key.key);
  add_text_test(sql, clause);
}

/* An int column against a number: exact where the number is whole. */
static void add_int_clause(struct search_sql *sql, const char *column, const struct filter_clause *clause) {
  int64_t whole;
  bool is_whole = str_to_i64(clause->text, &whole);
  add(sql, column);
  if (!is_whole)
    add(sql, "::double precision");
  add(sql, sql_ops[clause->op]);
  if (is_whole)
    add_int(sql, whole);
  else
    add_number(sql, clause->number);
}

/* NaN is greater than all and equal to itself in Postgres; here it matches `!=` alone. */
static void add_number_test(struct search_sql *sql, const char *expression, const struct filter_clause *clause) {
  buf_printf(&sql->text, "(%s%s", expression, sql_ops[clause->op]);
  add_number(sql, clause->number);
  if (clause->op == FILTER_GT || clause->op == FILTER_GE)
    buf_printf(&sql->text, " and %s < 'NaN'", expression);
  add(sql, ")");
}

static void add_run_id_clause(struct search_sql *sql, const struct filter_clause *clause) {
  bool is_list = clause->op == FILTER_IN || clause->op == FILTER_NOT_IN, negated = clause->op == FILTER_NE || clause->op == FILTER_NOT_IN;
  if (clause->op == FILTER_LIKE || clause->op == FILTER_ILIKE) {
    add(sql, HEX("r.id"));
    add_text_test(sql, clause);
    return;
  }
  const struct str *texts = is_list ? clause->list : &clause->text;
  size_t count = is_list ? clause->list_count : 1, from = sql->id_count + 1;
  for (size_t i = 0; i < count; i++) {
    struct id id;
    if (id_parse(texts[i], &id))
      put_id(sql, id);
  }
  if (sql->id_count < from)
    add(sql, negated ? "true" : "false"); /* none of them is an id of ours */
  else
    buf_printf(&sql->text, negated ? "r.id <> all($4[%zu:%zu])" : "r.id = any($4[%zu:%zu])", from, sql->id_count);
}

/* status = 'RUNNING' by the states it stands for; our own states are understood as well. */
static bool add_status_clause(struct search_sql *sql, const struct filter_clause *clause) {
  if (clause->op != FILTER_EQ && clause->op != FILTER_NE)
    return false;
  add(sql, clause->op == FILTER_EQ ? "r.state = any('{-1" : "r.state <> all('{-1");
  bool is_status = false;
  for (unsigned state = 0; state < RUN_STATE_COUNT; state++)
    if (str_is(clause->text, run_state_status(state))) {
      buf_printf(&sql->text, ",%u", state);
      is_status = true;
    }
  enum run_state state;
  if (!is_status && run_state_parse(clause->text, &state))
    buf_printf(&sql->text, ",%u", (unsigned)state);
  add(sql, "}'::smallint[])");
  return true;
}

/* READY and LOGGED_MODEL_READY are the same. */
static struct str bare_status(struct str text) {
  return str_starts(text, STR("LOGGED_MODEL_")) ? str_slice(text, strlen("LOGGED_MODEL_"), text.n) : text;
}

static void add_attribute_clause(struct search_sql *sql, const struct search *search, const struct filter_clause *clause) {
  const struct column *column = domain_column(search, clause->key.field);
  if (clause->key.field == FIELD_STATUS && search->domain == FILTER_RUNS && add_status_clause(sql, clause))
    return;
  struct filter_clause adapted = *clause;
  if (clause->key.field == FIELD_STATUS && search->domain == FILTER_LOGGED_MODELS)
    adapted.text = bare_status(clause->text);
  if (column->type == VALUE_ID) {
    add_run_id_clause(sql, clause);
  } else if (column->type == VALUE_INT && clause->is_number) {
    add_int_clause(sql, column->sql, clause);
  } else {
    add(sql, column->sql);
    if (column->type == VALUE_INT) /* experiment_id = '3' */
      add(sql, "::text");
    add_text_test(sql, &adapted);
  }
}

static void add_dataset_clause(struct search_sql *sql, const struct search *search, const struct filter_clause *clause) {
  add(sql, "exists (select from run_dataset x join dataset d on d.id = x.dataset where x.run = r.id and ");
  add(sql, domain_column(search, clause->key.field)->sql);
  add_text_test(sql, clause);
  add(sql, ")");
}

/* Which measurements of a logged model count. */
static void add_measured_on(struct search_sql *sql, const struct search *search) {
  if (search->dataset_count == 0)
    return;
  add(sql, " and (");
  for (size_t i = 0; i < search->dataset_count; i++) {
    add(sql, i ? " or (x.dataset_name = " : "(x.dataset_name = ");
    add_text(sql, search->datasets[i].name);
    if (search->datasets[i].digest.p) {
      add(sql, " and x.dataset_digest = ");
      add_text(sql, search->datasets[i].digest);
    }
    add(sql, ")");
  }
  add(sql, ")");
}

/* A metric that no index answers is looked up in the run's packed ones, which are unpacked each time: 60,000 take 5 ms. So when many are
 * wanted a row is unpacked once for all: || hands over what it has unpacked, and "offset 0" keeps the planner from seeing through it. A run
 * of five metrics costs by that what half a look-up costs. */
#define UNPACKED " cross join lateral (select r.metrics || '{}' as metrics offset 0) unpacked"
enum { LOOK_UPS_MAX = 8 };

static const char *look_up(struct search_sql *sql, struct str key) {
  return scratch(sql, "metric_last(%s.metrics, $1[%zu])", sql->unpacks ? "unpacked" : "r", put_text(sql, key));
}

/* As add_number_test(), but names the value once. */
static void add_looked_up_test(struct search_sql *sql, const struct filter_clause *clause) {
  bool upward = clause->op == FILTER_GT || clause->op == FILTER_GE;
  const char *value = look_up(sql, clause->key.key);
  buf_printf(&sql->text, upward ? "(nullif(%s, 'NaN')%s" : "(%s%s", value, sql_ops[clause->op]);
  add_number(sql, clause->number);
  add(sql, ")");
}

static void add_metric_clause(struct search_sql *sql, const struct search *search, const struct filter_clause *clause, const char *driver) {
  if (search->domain == FILTER_LOGGED_MODELS) {
    add(sql, "exists (select from logged_model_metric x where x.model = r.id and x.key = ");
    add_text(sql, clause->key.key);
    add_measured_on(sql, search);
    add(sql, " and ");
    add_number_test(sql, "x.value", clause);
    add(sql, ")");
    return;
  }
  if (driver)
    add_number_test(sql, driver, clause);
  else
    add_looked_up_test(sql, clause);
}

/* ---- order ---- */

/* One thing that rows are compared by. */
struct sort_key {
  enum value_type type;
  bool descending;
  const char *sql;
};

struct order {
  struct sort_key keys[SEARCH_KEYS_MAX];
  size_t count;
};

static struct sort_key *new_key(struct order *order, enum value_type type, bool descending) {
  struct sort_key *key = &order->keys[order->count++];
  *key = (struct sort_key){.type = type, .descending = descending};
  return key;
}

static void column_keys(struct order *order, struct search_sql *sql, const struct column *column, bool descending) {
  if (column->nullable)
    new_key(order, VALUE_INT, false)->sql = scratch(sql, "(%s is null)::int", column->sql);
  new_key(order, column->type, descending)->sql = column->sql;
}

/* Numbers, then NaN, then nothing, whichever the direction. */
static void metric_keys(struct order *order, struct search_sql *sql, const struct search *search, const struct filter_order *by,
                        const char *driver) {
  struct str key = by->key.key;
  bool descending = by->descending;
  if (driver) {
    new_key(order, VALUE_INT, false)->sql = "0";
    new_key(order, VALUE_NUMBER, descending)->sql = driver;
    return;
  }
  const char *value;
  if (search->domain == FILTER_LOGGED_MODELS) {
    struct buf outer = sql->text; /* the sub-query is built apart, its parameters are the same */
    sql->text = BUF_INIT(SQL_TEXT_MAX);
    add(sql, "(select x.value from logged_model_metric x where x.model = r.id and x.key = ");
    add_text(sql, key);
    struct search on = *search;
    struct search_dataset dataset = {by->dataset_name, by->dataset_digest};
    if (by->dataset_name.p) {
      on.datasets = &dataset;
      on.dataset_count = 1;
    }
    add_measured_on(sql, &on);
    add(sql, " order by x.time desc, x.step desc, x.value desc limit 1)");
    value = scratch(sql, "%s", buf_text(&sql->text));
    buf_release(&sql->text);
    sql->text = outer;
  } else {
    value = look_up(sql, key);
  }
  new_key(order, VALUE_INT, false)->sql = scratch(sql, "case when %s is null then 2 when %s = 'NaN' then 1 else 0 end", value, value);
  new_key(order, VALUE_NUMBER, descending)->sql = value;
}

static void word_keys(struct order *order, struct search_sql *sql, const struct search *search, const struct filter_order *by) {
  struct buf outer = sql->text;
  sql->text = BUF_INIT(KIB);
  add_word(sql, search, by->key.entity, by->key.key);
  const char *word = scratch(sql, "%s", buf_text(&sql->text));
  buf_release(&sql->text);
  sql->text = outer;
  new_key(order, VALUE_INT, false)->sql = scratch(sql, "(%s is null)::int", word);
  new_key(order, VALUE_TEXT, by->descending)->sql = word;
}

static bool orders_by(const struct search *search, enum filter_field field) {
  for (size_t i = 0; i < search->order_count; i++)
    if (search->order[i].key.entity == FILTER_ATTRIBUTE && search->order[i].key.field == field)
      return true;
  return false;
}

static void make_order(struct order *order, struct search_sql *sql, const struct search *search, const char *driver) {
  const struct domain_sql *domain = &domains[search->domain];
  order->count = 0;
  for (size_t i = 0; i < search->order_count; i++) {
    const struct filter_order *by = &search->order[i];
    if (by->key.entity == FILTER_METRIC)
      metric_keys(order, sql, search, by, i == 0 ? driver : NULL);
    else if (by->key.entity == FILTER_ATTRIBUTE)
      column_keys(order, sql, domain_column(search, by->key.field), by->descending);
    else
      word_keys(order, sql, search, by);
  }
  const struct tie *ties = search->order_count ? domain->ties : domain->defaults;
  size_t tie_count = search->order_count ? domain->tie_count : domain->default_count;
  for (size_t i = 0; i < tie_count; i++)
    if (!orders_by(search, ties[i].field))
      column_keys(order, sql, domain_column(search, ties[i].field), ties[i].descending);
  if (domain->identity && !orders_by(search, FIELD_RUN_ID))
    new_key(order, domain->identity_type, false)->sql = domain->identity;
}

/* A bare number in ORDER BY would name a column of the result. */
static bool is_constant(const struct sort_key *key) {
  return str_is(str_of(key->sql), "0");
}

static void add_key(struct search_sql *sql, const struct sort_key *key) {
  add(sql, key->sql);
  if (key->type == VALUE_TEXT)
    add(sql, " collate \"C\"");
}

static void add_order_by(struct search_sql *sql, const struct order *order) {
  bool first = true;
  for (size_t i = 0; i < order->count; i++) {
    if (is_constant(&order->keys[i]))
      continue;
    add(sql, first ? " order by " : ", ");
    add_key(sql, &order->keys[i]);
    add(sql, order->keys[i].descending ? " desc" : "");
    first = false;
  }
}

static bool add_page_value(struct search_sql *sql, const struct sort_key *key, struct str value) {
  int64_t whole;
  double number;
  struct id id;
  switch (key->type) {
  case VALUE_TEXT:
    add_text(sql, value);
    return true;
  case VALUE_INT:
    if (!str_to_i64(value, &whole))
      return false;
    add_int(sql, whole);
    return true;
  case VALUE_NUMBER:
    if (!str_to_f64(value, &number))
      return false;
    add_number(sql, number);
    return true;
  case VALUE_ID:
    if (!id_parse(value, &id))
      return false;
    add_id(sql, id);
    return true;
  }
  return false;
}

/* Rows after the page's values: key by key, (k1 > v1 or (k1 = v1 and (k2 > v2 or ...))). A null value was the last of its kind. */
static bool add_after(struct search_sql *sql, const struct order *order, const struct search_page *page) {
  for (size_t i = 0; i < order->count; i++) {
    const struct sort_key *key = &order->keys[i];
    struct str value = page->values[i];
    add(sql, i ? " and (" : "(");
    if (!value.p) {
      add(sql, "false or ");
      add_key(sql, key);
      add(sql, " is null");
      continue;
    }
    add_key(sql, key);
    add(sql, key->descending ? " < " : " > ");
    if (!add_page_value(sql, key, value))
      return false;
    if (i + 1 == order->count)
      break;
    add(sql, " or ");
    add_key(sql, key);
    add(sql, " = ");
    if (!add_page_value(sql, key, value))
      return false;
  }
  if (!page->values[order->count - 1].p)
    add(sql, " and false");
  for (size_t i = 0; i < order->count; i++)
    add(sql, ")");
  return true;
}

/* ---- whole statements ---- */

bool search_orders_by_metric(const struct search *search) {
  return search->domain == FILTER_RUNS && search->order_count > 0 && search->order[0].key.entity == FILTER_METRIC;
}

static const struct filter_clause *clause_on_metric(const struct search *search, struct str key) {
  for (size_t i = 0; i < search->filter.count; i++) {
    const struct filter_clause *clause = &search->filter.clauses[i];
    if (clause->key.entity == FILTER_METRIC && clause->op != FILTER_NE && (!key.p || str_eq(clause->key.key, key)))
      return clause;
  }
  return NULL;
}

/* The metric whose index leads: the first key of the order if only numbers of it are wanted, else one that the filter bounds. */
static bool find_driver(const struct search *search, struct str *ret) {
  if (search->domain != FILTER_RUNS)
    return false;
  if (search_orders_by_metric(search)) {
    *ret = search->order[0].key.key;
    return search->numbers_only || clause_on_metric(search, *ret);
  }
  const struct filter_clause *clause = clause_on_metric(search, STR_NONE);
  if (clause)
    *ret = clause->key.key;
  return clause != NULL;
}

static bool is_looked_up(const struct filter_key *key, struct str driver) {
  return key->entity == FILTER_METRIC && !(driver.p && str_eq(key->key, driver));
}

/* Counts what the driver's index does not answer. */
bool search_is_heavy(const struct search *search) {
  struct str driver;
  size_t count = 0;
  if (!find_driver(search, &driver))
    driver = STR_NONE;
  for (size_t i = 0; i < search->filter.count; i++)
    count += is_looked_up(&search->filter.clauses[i].key, driver);
  for (size_t i = 0; i < search->order_count; i++)
    count += is_looked_up(&search->order[i].key, driver);
  return search->domain == FILTER_RUNS && count > LOOK_UPS_MAX;
}

static void add_scope(struct search_sql *sql, const struct search *search, const char *experiment) {
  if (search->domain == FILTER_RUNS || search->domain == FILTER_LOGGED_MODELS) {
    size_t from = sql->int_count + 1;
    for (size_t i = 0; i < search->experiment_count; i++)
      put_int(sql, search->experiments[i]);
    if (search->everywhere)
      add(sql, "true");
    else if (search->experiment_count == 0)
      add(sql, "false");
    else if (search->experiment_count == 1)
      buf_printf(&sql->text, "%s = $2[%zu]", experiment, from);
    else
      buf_printf(&sql->text, "%s = any($2[%zu:%zu])", experiment, from, sql->int_count);
  } else {
    add(sql, "true");
  }
  if (search->domain != FILTER_REGISTERED_MODELS)
    add(sql, search->view == VIEW_ACTIVE    ? " and r.deleted_at is null"
             : search->view == VIEW_DELETED ? " and r.deleted_at is not null"
                                            : "");
  if (search->hide_parents && search->domain == FILTER_RUNS)
    add(sql, " and r.kind = 0");
  if (search->of_sweep) {
    add(sql, " and r.sweep_id = ");
    add_id(sql, search->sweep);
  }
  if (search->of_state) {
    add(sql, " and r.state = ");
    add_int(sql, search->state);
  }
}

#define PROMPT_TAG "mlflow.prompt.is_prompt"

/* Prompts live in the registry but are found only by those who ask for them. Such a clause is not compared as other tags are: what never
 * said whether it is a prompt is none. */
static bool is_prompt_clause(const struct search *search, const struct filter_clause *clause) {
  bool registry = search->domain == FILTER_REGISTERED_MODELS || search->domain == FILTER_MODEL_VERSIONS;
  return registry && clause->key.entity == FILTER_TAG && str_is(clause->key.key, PROMPT_TAG) &&
         (clause->op == FILTER_EQ || clause->op == FILTER_NE);
}

static void add_prompt_rule(struct search_sql *sql, const struct search *search) {
  if (search->domain != FILTER_REGISTERED_MODELS && search->domain != FILTER_MODEL_VERSIONS)
    return;
  bool asked = false;
  for (size_t i = 0; i < search->filter.count; i++) {
    const struct filter_clause *clause = &search->filter.clauses[i];
    if (!is_prompt_clause(search, clause))
      continue;
    asked = true;
    bool is_true = str_eq_nocase(clause->text, STR("true"));
    add(sql, (clause->op == FILTER_EQ) == is_true ? " and r.is_prompt" : " and not r.is_prompt");
  }
  if (!asked)
    add(sql, " and not r.is_prompt");
}

static void add_filter(struct search_sql *sql, const struct search *search, struct str driver_key, const char *driver) {
  for (size_t i = 0; i < search->filter.count; i++) {
    const struct filter_clause *clause = &search->filter.clauses[i];
    if (is_prompt_clause(search, clause))
      continue;
    add(sql, " and ");
    switch (clause->key.entity) {
    case FILTER_ATTRIBUTE:
      add_attribute_clause(sql, search, clause);
      break;
    case FILTER_METRIC:
      add_metric_clause(sql, search, clause, driver && str_eq(clause->key.key, driver_key) ? driver : NULL);
      break;
    case FILTER_PARAM:
    case FILTER_TAG:
      add_word_clause(sql, search, clause);
      break;
    case FILTER_DATASET:
      add_dataset_clause(sql, search, clause);
      break;
    }
  }
  add_prompt_rule(sql, search);
  if (search->domain == FILTER_LOGGED_MODELS && search->dataset_count) {
    add(sql, " and exists (select from logged_model_metric x where x.model = r.id");
    add_measured_on(sql, search);
    add(sql, ")");
  }
}

/* select id, n, v, k0, k1, ... from ... where ... order by ... limit ...; `driver`: the name of the leading metric's value, NULL when rows
 * are read plainly. */
static bool add_select(struct search_sql *sql, const struct search *search, const char *from, const char *where, const char *experiment,
                       struct str driver_key, const char *driver, struct order *order) {
  bool leads = driver && search_orders_by_metric(search);
  make_order(order, sql, search, leads ? driver : NULL);
  sql->key_count = order->count;
  add(sql, "select ");
  add(sql, domains[search->domain].select);
  for (size_t i = 0; i < order->count; i++) {
    add(sql, ", ");
    add_key(sql, &order->keys[i]);
    buf_printf(&sql->text, " as k%zu", i);
  }
  buf_printf(&sql->text, " from %s%s where ", from, sql->unpacks ? UNPACKED : "");
  add_scope(sql, search, experiment);
  add(sql, where);
  if (leads)
    buf_printf(&sql->text, " and %s < 'NaN'", driver);
  add_filter(sql, search, driver_key, driver);
  if (search->page.count) {
    if (search->page.count != order->count)
      return false;
    add(sql, " and ");
    if (!add_after(sql, order, &search->page))
      return false;
  }
  add_order_by(sql, order);
  add(sql, " limit ");
  add_int(sql, search->limit);
  return true;
}

/* By the keys that the parts of a union are ordered by: so that they are merged, not sorted again. */
static void add_merge_order(struct search_sql *sql, const struct order *order) {
  const char *before = " order by ";
  for (size_t i = 0; i < order->count; i++) {
    if (is_constant(&order->keys[i]))
      continue;
    buf_printf(&sql->text, "%sk%zu%s", before, i, order->keys[i].descending ? " desc" : "");
    before = ", ";
  }
}

/* Rows whose metrics are indexed, led by the index, and the few that are not yet, read plainly. */
static bool add_led_select(struct search_sql *sql, const struct search *search, struct str key, struct order *order) {
  add(sql, "select * from ((");
  size_t n = put_text(sql, key);
  const char *indexed =
      scratch(sql, " and not exists (select from run_unindexed u where u.run = m.run) and m.key = metric_key_id($1[%zu])", n);
  if (!add_select(sql, search, "run_metric m join run r on r.id = m.run", indexed, "m.experiment_id", key, "m.value", order))
    return false;
  add(sql, ") union all (");
  /* the last value stands in for the index's row */
  const char *value = scratch(sql,
                              "run_unindexed u join run r on r.id = u.run "
                              "cross join lateral (select metric_last(r.metrics, $1[%zu]) as value) m",
                              n);
  if (!add_select(sql, search, value, " and m.value is not null", "r.experiment_id", key, "m.value", order))
    return false;
  add(sql, ")) led");
  add_merge_order(sql, order);
  add(sql, " limit ");
  add_int(sql, search->limit);
  return true;
}

/* Of the row that the next page begins behind, and of no other: to write the keys of all as text takes as long as to find them. */
static void add_page_key(struct search_sql *sql, const struct search *search, const struct order *order) {
  add(sql, "case when row_number() over () = ");
  add_int(sql, search->limit - 1);
  add(sql, " then array[");
  for (size_t i = 0; i < order->count; i++)
    buf_printf(&sql->text, "%sk%zu::text", i ? ", " : "", i);
  add(sql, "] end");
}

bool search_compile(const struct search *search, struct search_sql *ret, struct err *err) {
  struct str key;
  struct order order;
  ret->unpacks = search_is_heavy(search);
  add(ret, "with found as (");
  bool ok = find_driver(search, &key)
                ? add_led_select(ret, search, key, &order)
                : add_select(ret, search, domains[search->domain].from, "", "r.experiment_id", STR_NONE, NULL, &order);
  if (ret->fail)
    return err_no_memory(err);
  if (!ok)
    return err_set(err, ERR_INVALID, "Invalid page token");
  add(ret, ") select id, n, v, ");
  add_page_key(ret, search, &order);
  add(ret, " from found");
  return ret->fail ? err_no_memory(err) : buf_ok(&ret->text, err);
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
