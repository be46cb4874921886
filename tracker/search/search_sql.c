#include "tracker/search/search_sql.h"

#include "base/json.h"
#include "base/mem.h"
#include "storage/pg/pg.h"
#include "tracker/run_state.h"

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
  sql_add_text(sql, str_n(copy, json.n));
  sql_add(sql, "::jsonb");
}

/* ---- what the words mean ---- */

struct column {
  enum filter_field field;
  enum sort_type type;
  bool nullable;
  const char *sql;
};

#define HEX(id) "replace(" id "::text, '-', '')"

static const struct column run_columns[] = {
    {FIELD_RUN_ID, SORT_ID, false, "r.id"},
    {FIELD_RUN_NAME, SORT_TEXT, false, "r.name"},
    {FIELD_USER_ID, SORT_TEXT, false, "r.user_id"},
    {FIELD_STATUS, SORT_TEXT, false, "run_status(r.state)"},
    {FIELD_ARTIFACT_URI, SORT_TEXT, false,
     "coalesce(r.artifact_uri, (select uri_below(x.artifact_location, " HEX("r.id") " || '/artifacts') from experiment x "
                                                                                    "where x.id = r.experiment_id))"},
    {FIELD_START_TIME, SORT_INT, false, "r.start_time"},
    {FIELD_END_TIME, SORT_INT, true, "r.end_time"},
};

static const struct column experiment_columns[] = {
    {FIELD_NAME, SORT_TEXT, false, "r.name"},
    {FIELD_EXPERIMENT_ID, SORT_INT, false, "r.id"},
    {FIELD_CREATED, SORT_INT, false, "r.created"},
    {FIELD_UPDATED, SORT_INT, false, "r.updated"},
};

static const struct column logged_model_columns[] = {
    {FIELD_NAME, SORT_TEXT, false, "r.name"},
    {FIELD_MODEL_ID, SORT_TEXT, false, "('m-' || " HEX("r.id") ")"},
    {FIELD_MODEL_TYPE, SORT_TEXT, false, "r.model_type"},
    {FIELD_STATUS, SORT_TEXT, false, "(array['PENDING', 'READY', 'UPLOAD_FAILED'])[r.status]"},
    {FIELD_SOURCE_RUN_ID, SORT_TEXT, true, "r.source_run"},
    {FIELD_CREATED, SORT_INT, false, "r.created"},
    {FIELD_UPDATED, SORT_INT, false, "r.updated"},
};

static const struct column registered_model_columns[] = {
    {FIELD_NAME, SORT_TEXT, false, "r.name"},
    {FIELD_UPDATED, SORT_INT, false, "r.updated"},
};

static const struct column model_version_columns[] = {
    {FIELD_NAME, SORT_TEXT, false, "m.name"},      {FIELD_RUN_ID, SORT_TEXT, false, "r.run_id"},
    {FIELD_SOURCE, SORT_TEXT, false, "r.source"},  {FIELD_VERSION, SORT_INT, false, "r.version::bigint"},
    {FIELD_CREATED, SORT_INT, false, "r.created"}, {FIELD_UPDATED, SORT_INT, false, "r.updated"},
};

static const struct column dataset_columns[] = {
    {FIELD_DATASET_NAME, SORT_TEXT, false, "d.name"},
    {FIELD_DATASET_DIGEST, SORT_TEXT, false, "d.digest"},
    {FIELD_DATASET_CONTEXT, SORT_TEXT, true, "(x.tags ->> 'mlflow.data.context')"},
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
  enum sort_type identity_type;
} domains[] = {
    [FILTER_RUNS] = {"r.id as id, null::bigint as n, null::int as v",
                     "run r",
                     COLUMNS(run_columns),
                     {{FIELD_START_TIME, true}},
                     {{FIELD_START_TIME, true}},
                     1,
                     1,
                     "r.id",
                     SORT_ID},
    [FILTER_EXPERIMENTS] = {"null::uuid as id, r.id as n, null::int as v",
                            "experiment r",
                            COLUMNS(experiment_columns),
                            {{FIELD_CREATED, true}, {FIELD_EXPERIMENT_ID, false}},
                            {{FIELD_EXPERIMENT_ID, true}},
                            2,
                            1,
                            NULL,
                            SORT_INT},
    [FILTER_LOGGED_MODELS] = {"r.id as id, null::bigint as n, null::int as v",
                              "logged_model r",
                              COLUMNS(logged_model_columns),
                              {{FIELD_CREATED, true}},
                              {{FIELD_CREATED, true}},
                              1,
                              1,
                              "r.id",
                              SORT_ID},
    [FILTER_REGISTERED_MODELS] = {"null::uuid as id, r.id as n, null::int as v",
                                  "registered_model r",
                                  COLUMNS(registered_model_columns),
                                  {{FIELD_NAME, false}},
                                  {{FIELD_NAME, false}},
                                  1,
                                  1,
                                  NULL,
                                  SORT_TEXT},
    [FILTER_MODEL_VERSIONS] = {"null::uuid as id, r.model as n, r.version as v",
                               "model_version r join registered_model m on m.id = r.model",
                               COLUMNS(model_version_columns),
                               {{FIELD_UPDATED, true}, {FIELD_NAME, false}, {FIELD_VERSION, true}},
                               {{FIELD_NAME, false}, {FIELD_VERSION, true}},
                               3,
                               2,
                               NULL,
                               SORT_TEXT},
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
    sql_add(sql, "nullif(r.name, '')");
    return;
  }
  if (search->domain == FILTER_RUNS && entity == FILTER_TAG && str_is(key, "mlflow.parentRunId")) {
    sql_add(sql, "coalesce(r.tags ->> 'mlflow.parentRunId', case when r.kind = 0 then " HEX("r.sweep_id") " end)");
    return;
  }
  sql_add(sql, entity == FILTER_TAG ? "(r.tags ->> " : "(r.params ->> ");
  sql_add_text(sql, key);
  sql_add(sql, ")");
}

/* ` op value` for a text. */
static void add_text_test(struct search_sql *sql, const struct filter_clause *clause) {
  sql_add(sql, sql_ops[clause->op]);
  switch (clause->op) {
  case FILTER_IS_NULL:
  case FILTER_IS_NOT_NULL:
    return;
  case FILTER_IN:
  case FILTER_NOT_IN: {
    size_t from = sql->text_count + 1;
    for (size_t i = 0; i < clause->list_count; i++)
      sql_put_text(sql, clause->list[i]);
    buf_printf(&sql->text, "$1[%zu:%zu])", from, sql->text_count);
    return;
  }
  case FILTER_LIKE:
  case FILTER_ILIKE:
    sql_add_text(sql, clause->text);
    sql_add(sql, " escape ''");
    return;
  default:
    sql_add_text(sql, clause->text);
  }
}

static void add_word_clause(struct search_sql *sql, const struct search *search, const struct filter_clause *clause) {
  bool computed = search->domain == FILTER_RUNS && clause->key.entity == FILTER_TAG &&
                  (str_is(clause->key.key, "mlflow.runName") || str_is(clause->key.key, "mlflow.parentRunId"));
  if (clause->op == FILTER_EQ && !computed) {
    sql_add(sql, clause->key.entity == FILTER_TAG ? "r.tags @> " : "r.params @> ");
    add_pair(sql, clause->key.key, clause->text);
    return;
  }
  struct id parent;
  if (clause->op == FILTER_EQ && str_is(clause->key.key, "mlflow.parentRunId") && id_parse(clause->text, &parent)) {
    sql_add(sql, "(r.tags @> ");
    add_pair(sql, clause->key.key, clause->text);
    sql_add(sql, " or (r.kind = 0 and not r.tags ? 'mlflow.parentRunId' and r.sweep_id = ");
    sql_add_id(sql, parent);
    sql_add(sql, "))");
    return;
  }
  add_word(sql, search, clause->key.entity, clause->key.key);
  add_text_test(sql, clause);
}

/* An int column against a number: exact where the number is whole. */
static void add_int_clause(struct search_sql *sql, const char *column, const struct filter_clause *clause) {
  int64_t whole;
  bool is_whole = str_to_i64(clause->text, &whole);
  sql_add(sql, column);
  if (!is_whole)
    sql_add(sql, "::double precision");
  sql_add(sql, sql_ops[clause->op]);
  if (is_whole)
    sql_add_int(sql, whole);
  else
    sql_add_number(sql, clause->number);
}

/* NaN is greater than all and equal to itself in Postgres; here it matches `!=` alone. */
static void add_number_test(struct search_sql *sql, const char *expression, const struct filter_clause *clause) {
  buf_printf(&sql->text, "(%s%s", expression, sql_ops[clause->op]);
  sql_add_number(sql, clause->number);
  if (clause->op == FILTER_GT || clause->op == FILTER_GE)
    buf_printf(&sql->text, " and %s < 'NaN'", expression);
  sql_add(sql, ")");
}

static void add_run_id_clause(struct search_sql *sql, const struct filter_clause *clause) {
  bool is_list = clause->op == FILTER_IN || clause->op == FILTER_NOT_IN, negated = clause->op == FILTER_NE || clause->op == FILTER_NOT_IN;
  if (clause->op == FILTER_LIKE || clause->op == FILTER_ILIKE) {
    sql_add(sql, HEX("r.id"));
    add_text_test(sql, clause);
    return;
  }
  const struct str *texts = is_list ? clause->list : &clause->text;
  size_t count = is_list ? clause->list_count : 1, from = sql->id_count + 1;
  for (size_t i = 0; i < count; i++) {
    struct id id;
    if (id_parse(texts[i], &id))
      sql_put_id(sql, id);
  }
  if (sql->id_count < from)
    sql_add(sql, negated ? "true" : "false"); /* none of them is an id of ours */
  else
    buf_printf(&sql->text, negated ? "r.id <> all($4[%zu:%zu])" : "r.id = any($4[%zu:%zu])", from, sql->id_count);
}

/* status = 'RUNNING' by the states it stands for; our own states are understood as well. */
static bool add_status_clause(struct search_sql *sql, const struct filter_clause *clause) {
  if (clause->op != FILTER_EQ && clause->op != FILTER_NE)
    return false;
  sql_add(sql, clause->op == FILTER_EQ ? "r.state = any('{-1" : "r.state <> all('{-1");
  bool is_status = false;
  for (unsigned state = 0; state < RUN_STATE_COUNT; state++)
    if (str_is(clause->text, run_state_status(state))) {
      buf_printf(&sql->text, ",%u", state);
      is_status = true;
    }
  enum run_state state;
  if (!is_status && run_state_parse(clause->text, &state))
    buf_printf(&sql->text, ",%u", (unsigned)state);
  sql_add(sql, "}'::smallint[])");
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
  if (column->type == SORT_ID) {
    add_run_id_clause(sql, clause);
  } else if (column->type == SORT_INT && clause->is_number) {
    add_int_clause(sql, column->sql, clause);
  } else {
    sql_add(sql, column->sql);
    if (column->type == SORT_INT) /* experiment_id = '3' */
      sql_add(sql, "::text");
    add_text_test(sql, &adapted);
  }
}

static void add_dataset_clause(struct search_sql *sql, const struct search *search, const struct filter_clause *clause) {
  sql_add(sql, "exists (select from run_dataset x join dataset d on d.id = x.dataset where x.run = r.id and ");
  sql_add(sql, domain_column(search, clause->key.field)->sql);
  add_text_test(sql, clause);
  sql_add(sql, ")");
}

static void add_equal(struct search_sql *sql, const char *column, struct str value) {
  if (!value.p)
    return;
  sql_add(sql, column);
  sql_add_text(sql, value);
}

/* Which measurements of a logged model count. */
static void add_measured_on(struct search_sql *sql, const struct search *search) {
  if (search->dataset_count == 0)
    return;
  sql_add(sql, " and (");
  for (size_t i = 0; i < search->dataset_count; i++) {
    sql_add(sql, i ? " or (true" : "(true");
    add_equal(sql, " and x.dataset_name = ", search->datasets[i].name);
    add_equal(sql, " and x.dataset_digest = ", search->datasets[i].digest);
    sql_add(sql, ")");
  }
  sql_add(sql, ")");
}

/* A metric that no index answers is looked up in the run's packed ones, which are unpacked each time: 60,000 take 5 ms. So when many are
 * wanted a row is unpacked once for all: || hands over what it has unpacked, and "offset 0" keeps the planner from seeing through it. A run
 * of five metrics costs by that what half a look-up costs. */
#define UNPACKED " cross join lateral (select r.metrics || '{}' as metrics offset 0) unpacked"
enum { LOOK_UPS_MAX = 8 };

static const char *look_up(struct search_sql *sql, struct str key) {
  return sql_scratch(sql, "metric_last(%s.metrics, $1[%zu])", sql->unpacks ? "unpacked" : "r", sql_put_text(sql, key));
}

/* As add_number_test(), but names the value once. */
static void add_looked_up_test(struct search_sql *sql, const struct filter_clause *clause) {
  bool upward = clause->op == FILTER_GT || clause->op == FILTER_GE;
  const char *value = look_up(sql, clause->key.key);
  buf_printf(&sql->text, upward ? "(nullif(%s, 'NaN')%s" : "(%s%s", value, sql_ops[clause->op]);
  sql_add_number(sql, clause->number);
  sql_add(sql, ")");
}

static void add_metric_clause(struct search_sql *sql, const struct search *search, const struct filter_clause *clause, const char *driver) {
  if (search->domain == FILTER_LOGGED_MODELS) {
    sql_add(sql, "exists (select from logged_model_metric x where x.model = r.id and x.key = ");
    sql_add_text(sql, clause->key.key);
    add_measured_on(sql, search);
    sql_add(sql, " and ");
    add_number_test(sql, "x.value", clause);
    sql_add(sql, ")");
    return;
  }
  if (driver)
    add_number_test(sql, driver, clause);
  else
    add_looked_up_test(sql, clause);
}

/* ---- order ---- */

static void column_keys(struct sort_order *order, struct search_sql *sql, const struct column *column, bool descending) {
  if (column->nullable)
    sort_order_add(order, SORT_INT, false)->sql = sql_scratch(sql, "(%s is null)::int", column->sql);
  sort_order_add(order, column->type, descending)->sql = column->sql;
}

/* Numbers, then NaN, then nothing, whichever the direction. */
static void metric_keys(struct sort_order *order, struct search_sql *sql, const struct search *search, const struct filter_order *by,
                        const char *driver) {
  struct str key = by->key.key;
  bool descending = by->descending;
  if (driver) {
    sort_order_add(order, SORT_INT, false)->sql = "0";
    sort_order_add(order, SORT_NUMBER, descending)->sql = driver;
    return;
  }
  const char *value;
  if (search->domain == FILTER_LOGGED_MODELS) {
    struct buf outer = sql->text; /* the sub-query is built apart, its parameters are the same */
    sql->text = BUF_INIT(SEARCH_TEXT_MAX);
    sql_add(sql, "(select x.value from logged_model_metric x where x.model = r.id and x.key = ");
    sql_add_text(sql, key);
    struct search on = *search;
    struct search_dataset dataset = {by->dataset_name, by->dataset_digest};
    if (by->dataset_name.p || by->dataset_digest.p) {
      on.datasets = &dataset;
      on.dataset_count = 1;
    }
    add_measured_on(sql, &on);
    sql_add(sql, " order by x.time desc, x.step desc, x.value desc limit 1)");
    value = sql_scratch(sql, "%s", buf_text(&sql->text));
    buf_release(&sql->text);
    sql->text = outer;
  } else {
    value = look_up(sql, key);
  }
  sort_order_add(order, SORT_INT, false)->sql =
      sql_scratch(sql, "case when %s is null then 2 when %s = 'NaN' then 1 else 0 end", value, value);
  sort_order_add(order, SORT_NUMBER, descending)->sql = value;
}

static void word_keys(struct sort_order *order, struct search_sql *sql, const struct search *search, const struct filter_order *by) {
  struct buf outer = sql->text;
  sql->text = BUF_INIT(KIB);
  add_word(sql, search, by->key.entity, by->key.key);
  const char *word = sql_scratch(sql, "%s", buf_text(&sql->text));
  buf_release(&sql->text);
  sql->text = outer;
  sort_order_add(order, SORT_INT, false)->sql = sql_scratch(sql, "(%s is null)::int", word);
  sort_order_add(order, SORT_TEXT, by->descending)->sql = word;
}

static bool orders_by(const struct search *search, enum filter_field field) {
  for (size_t i = 0; i < search->order_count; i++)
    if (search->order[i].key.entity == FILTER_ATTRIBUTE && search->order[i].key.field == field)
      return true;
  return false;
}

static void make_order(struct sort_order *order, struct search_sql *sql, const struct search *search, const char *driver) {
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
    sort_order_add(order, domain->identity_type, false)->sql = domain->identity;
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
      sql_put_int(sql, search->experiments[i]);
    if (search->everywhere)
      sql_add(sql, "true");
    else if (search->experiment_count == 0)
      sql_add(sql, "false");
    else if (search->experiment_count == 1)
      buf_printf(&sql->text, "%s = $2[%zu]", experiment, from);
    else
      buf_printf(&sql->text, "%s = any($2[%zu:%zu])", experiment, from, sql->int_count);
  } else {
    sql_add(sql, "true");
  }
  if (search->domain != FILTER_REGISTERED_MODELS)
    sql_add(sql, search->view == VIEW_ACTIVE    ? " and r.deleted_at is null"
                 : search->view == VIEW_DELETED ? " and r.deleted_at is not null"
                                                : "");
  if (search->hide_parents && search->domain == FILTER_RUNS)
    sql_add(sql, " and r.kind = 0");
  if (search->of_sweep) {
    sql_add(sql, " and r.sweep_id = ");
    sql_add_id(sql, search->sweep);
  }
  if (search->of_state) {
    sql_add(sql, " and r.state = ");
    sql_add_int(sql, search->state);
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
    sql_add(sql, (clause->op == FILTER_EQ) == is_true ? " and r.is_prompt" : " and not r.is_prompt");
  }
  if (!asked)
    sql_add(sql, " and not r.is_prompt");
}

static void add_filter(struct search_sql *sql, const struct search *search, struct str driver_key, const char *driver) {
  for (size_t i = 0; i < search->filter.count; i++) {
    const struct filter_clause *clause = &search->filter.clauses[i];
    if (is_prompt_clause(search, clause))
      continue;
    sql_add(sql, " and ");
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
    sql_add(sql, " and exists (select from logged_model_metric x where x.model = r.id");
    add_measured_on(sql, search);
    sql_add(sql, ")");
  }
}

/* select id, n, v, k0, k1, ... from ... where ... order by ... limit ...; `driver`: the name of the leading metric's value, NULL when rows
 * are read plainly. */
static bool add_select(struct search_sql *sql, const struct search *search, const char *from, const char *where, const char *experiment,
                       struct str driver_key, const char *driver, struct sort_order *order) {
  bool leads = driver && search_orders_by_metric(search);
  make_order(order, sql, search, leads ? driver : NULL);
  sql->key_count = order->count;
  sql_add(sql, "select ");
  sql_add(sql, domains[search->domain].select);
  sql_add_keys(sql, order);
  buf_printf(&sql->text, " from %s%s where ", from, sql->unpacks ? UNPACKED : "");
  add_scope(sql, search, experiment);
  sql_add(sql, where);
  if (leads)
    buf_printf(&sql->text, " and %s < 'NaN'", driver);
  add_filter(sql, search, driver_key, driver);
  if (search->page.count) {
    if (search->page.count != order->count)
      return false;
    sql_add(sql, " and ");
    if (!sql_add_after(sql, order, &search->page))
      return false;
  }
  sql_add_order_by(sql, order);
  sql_add(sql, " limit ");
  sql_add_int(sql, search->limit);
  return true;
}

/* By the keys that the parts of a union are ordered by: so that they are merged, not sorted again. */
static void add_merge_order(struct search_sql *sql, const struct sort_order *order) {
  const char *before = " order by ";
  for (size_t i = 0; i < order->count; i++) {
    if (sort_key_is_constant(&order->keys[i]))
      continue;
    buf_printf(&sql->text, "%sk%zu%s", before, i, order->keys[i].descending ? " desc" : "");
    before = ", ";
  }
}

/* Rows whose metrics are indexed, led by the index, and the few that are not yet, read plainly. */
static bool add_led_select(struct search_sql *sql, const struct search *search, struct str key, struct sort_order *order) {
  sql_add(sql, "select * from ((");
  size_t n = sql_put_text(sql, key);
  const char *indexed =
      sql_scratch(sql, " and not exists (select from run_unindexed u where u.run = m.run) and m.key = metric_key_id($1[%zu])", n);
  if (!add_select(sql, search, "run_metric m join run r on r.id = m.run", indexed, "m.experiment_id", key, "m.value", order))
    return false;
  sql_add(sql, ") union all (");
  /* the last value stands in for the index's row */
  const char *value = sql_scratch(sql,
                                  "run_unindexed u join run r on r.id = u.run "
                                  "cross join lateral (select metric_last(r.metrics, $1[%zu]) as value) m",
                                  n);
  if (!add_select(sql, search, value, " and m.value is not null", "r.experiment_id", key, "m.value", order))
    return false;
  sql_add(sql, ")) led");
  add_merge_order(sql, order);
  sql_add(sql, " limit ");
  sql_add_int(sql, search->limit);
  return true;
}

bool search_compile(const struct search *search, struct search_sql *ret, struct err *err) {
  struct str key;
  struct sort_order order;
  ret->unpacks = search_is_heavy(search);
  sql_add(ret, "with found as (");
  bool ok = find_driver(search, &key)
                ? add_led_select(ret, search, key, &order)
                : add_select(ret, search, domains[search->domain].from, "", "r.experiment_id", STR_NONE, NULL, &order);
  if (ret->fail)
    return err_no_memory(err);
  if (!ok)
    return err_set(err, ERR_INVALID, "Invalid page token");
  sql_add_page(ret, search->limit, &order);
  return ret->fail ? err_no_memory(err) : buf_ok(&ret->text, err);
}

bool search_compile_found(const struct search_found *found, size_t count, struct search_sql *ret, struct err *err) {
  for (size_t i = 0; i < count; i++) {
    sql_put_id(ret, found[i].id);
    sql_put_int(ret, found[i].n);
  }
  for (size_t i = 0; i < count; i++)
    sql_put_int(ret, found[i].v);
  buf_printf(&ret->text,
             "select x.id, x.n, x.v::int, null::text[] from unnest($4, $2[1:%zu], $2[%zu:%zu]) with ordinality x (id, n, v, place) "
             "order by x.place",
             count, count + 1, 2 * count);
  return ret->fail ? err_no_memory(err) : buf_ok(&ret->text, err);
}
