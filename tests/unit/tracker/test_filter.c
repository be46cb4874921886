/* The search language: what is understood, and what is refused with which text at which place. */
#include "tests/support/test.h"

#include "base/buf.h"
#include "tracker/search/filter.h"

static const char *const entities[] = {"attribute", "metric", "param", "tag", "dataset"};
static const char *const fields[FIELD_COUNT] = {
    "",        "run_id", "run_name",      "user_id", "status",  "artifact_uri", "start_time", "end_time",      "name",   "digest",
    "context", "name",   "experiment_id", "created", "updated", "model_id",     "model_type", "source_run_id", "source", "version",
};

/* "metric:a/b > 1; tag:x in (a,b)" */
static void show(const struct filter *filter, struct buf *out) {
  for (size_t i = 0; i < filter->count; i++) {
    const struct filter_clause *c = &filter->clauses[i];
    buf_printf(out, "%s%s:%.*s%s %s", i ? "; " : "", entities[c->key.entity], STR_ARG(c->key.key), fields[c->key.field],
               filter_op_text(c->op));
    if (c->list)
      for (size_t j = 0; j < c->list_count; j++)
        buf_printf(out, "%s%.*s", j ? "," : " ", STR_ARG(c->list[j]));
    else if (c->op < FILTER_IN)
      buf_printf(out, " %.*s", STR_ARG(c->text));
  }
}

struct row {
  enum filter_domain domain;
  const char *text;
  const char *expected; /* begins with '!': the error */
};

#define RUN_KEYS                                                                                                                          \
  "'{'run_id', 'run_name', 'run name', 'Run name', 'Run Name', 'user_id', 'status', 'artifact_uri', 'start_time', 'created', 'Created', " \
  "'end_time'}'"

static const struct row rows[] = {
    {FILTER_RUNS, "", ""},
    {FILTER_RUNS, "metrics.acc > -1", "metric:acc > -1"},
    {FILTER_RUNS, "metrics.acc > .5", "metric:acc > .5"},
    {FILTER_RUNS, "metrics.acc > 5.", "metric:acc > 5."},
    {FILTER_RUNS, "metrics.acc > 1e-3", "metric:acc > 1e-3"},
    {FILTER_RUNS, "metrics.acc > -1.5E+3", "metric:acc > -1.5E+3"},
    {FILTER_RUNS, "metrics.a-b = 1", "!Invalid comparison clause. Expected 'Identifier' found 'metrics.a-b'"},
    {FILTER_RUNS, "metrics.a/b = 1", "!Invalid comparison clause. Expected 'Identifier' found 'metrics.a/b'"},
    {FILTER_RUNS, "metrics.f1 score > 1", "!Invalid clause(s) in filter string: 'metrics.f1'"},
    {FILTER_RUNS, "metrics.`a/b` = 1", "metric:a/b = 1"},
    {FILTER_RUNS, "params.\"x y\" = \"abc\"", "param:x y = abc"},
    {FILTER_RUNS, "`run name` ilike 'A%'", "attribute:run_name ILIKE A%"},
    {FILTER_RUNS, "\"run name\" = 'x'", "attribute:run_name = x"},
    {FILTER_RUNS, "params.x = 3", "!Expected a quoted string value for parameter (e.g. 'my-value'). Got value 3"},
    {FILTER_RUNS, "params.x = abc",
     "!Parameter value is either not quoted or unidentified quote types used for string value abc. Use either single or double quotes."},
    {FILTER_RUNS, "tags.x = `a`",
     "!Parameter value is either not quoted or unidentified quote types used for string value `a`. Use either single or double quotes."},
    {FILTER_RUNS, "metrics.x = 'NaN'", "!Expected numeric value type for metric. Found 'NaN'"},
    {FILTER_RUNS, "metrics.x = NaN", "!Expected numeric value type for metric. Found NaN"},
    {FILTER_RUNS, "metrics.x = 1_000", "!Expected numeric value type for metric. Found 1_000"},
    {FILTER_RUNS, "start_time > '1'", "!Expected numeric value type for numeric attribute: start_time. Found '1'"},
    {FILTER_RUNS, "tags.order = 'a' and params.count='b' AND params.select = 'c' And metrics.max > 1 aNd params.key = 'd'",
     "tag:order = a; param:count = b; param:select = c; metric:max > 1; param:key = d"},
    {FILTER_RUNS, "tags.x='a' OR tags.y='b'", "!Invalid clause(s) in filter string: 'OR'"},
    {FILTER_RUNS, "(tags.x='a')", "!Invalid clause(s) in filter string: '(tags.x='a')'"},
    {FILTER_RUNS, "metrics.acc", "!Invalid clause(s) in filter string: 'metrics.acc'"},
    {FILTER_RUNS, "0.9 < metrics.acc", "!Invalid comparison clause. Expected 'Identifier' found '0.9'"},
    {FILTER_RUNS, "'run name' = 'x'", "!Invalid comparison clause. Expected 'Identifier' found ''run name''"},
    {FILTER_RUNS, "foo.x = 1", "!Invalid entity type 'foo'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']"},
    {FILTER_RUNS, "metrics.abc ~ 1.0", "!Invalid comparator '~' not one of '{'=', '!=', '>', '>=', '<', '<='}'"},
    {FILTER_RUNS, "metrics.abc ~= 1.0", "!Invalid comparator '~=' not one of '{'=', '!=', '>', '>=', '<', '<='}'"},
    {FILTER_RUNS, "tags.abc !~ 'x'", "!Invalid comparator '!~' not one of '{'=', '!=', 'LIKE', 'ILIKE', 'IS NULL', 'IS NOT NULL'}'"},
    {FILTER_RUNS, "params.acc = LR'", "!Invalid clause(s) in filter string: '''"},
    {FILTER_RUNS, "status = true", "!Invalid clause(s) in filter string: 'status', '=', 'true'"},
    {FILTER_RUNS, "metrics.a = FALSE", "!Invalid clause(s) in filter string: 'metrics.a', '=', 'FALSE'"},
    {FILTER_RUNS, "tags.'a b' = 'x'", "tag:a b = x"},
    {FILTER_RUNS, "params.'acc = LR", "!Invalid clause(s) in filter string: 'params.'"},
    {FILTER_RUNS, "`tags.a` = 'x'",
     "!Invalid entity type '`tags'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']"},
    {FILTER_RUNS, "foo = 1", "!Invalid attribute key 'foo' specified. Valid keys are " RUN_KEYS},
    {FILTER_RUNS, "experiment_id = '1'", "!Invalid attribute key 'experiment_id' specified. Valid keys are " RUN_KEYS},
    {FILTER_RUNS, "run_uuid='x'", "!Invalid attribute key 'run_uuid' specified. Valid keys are " RUN_KEYS},
    {FILTER_RUNS, "tags.a='b'; tags.c='d'",
     "!Search filter contained multiple expression \"tags.a='b'; tags.c='d'\". Provide AND-ed expression list."},
    {FILTER_RUNS, "   ", "!Invalid filter '   '. Could not be parsed."},
    {FILTER_RUNS, "params.x > '3'", "!Invalid comparator '>' not one of '{'=', '!=', 'LIKE', 'ILIKE', 'IS NULL', 'IS NOT NULL'}'"},
    {FILTER_RUNS, "params.x == '3'", "!Invalid comparator '==' not one of '{'=', '!=', 'LIKE', 'ILIKE', 'IS NULL', 'IS NOT NULL'}'"},
    {FILTER_RUNS, "metrics.x <> 3", "!Invalid comparator '<>' not one of '{'=', '!=', '>', '>=', '<', '<='}'"},
    {FILTER_RUNS, "params.x rlike '3'", "!Invalid comparator 'RLIKE' not one of '{'=', '!=', 'LIKE', 'ILIKE', 'IS NULL', 'IS NOT NULL'}'"},
    {FILTER_RUNS, "params.x not like '3'",
     "!Invalid comparator 'NOT LIKE' not one of '{'=', '!=', 'LIKE', 'ILIKE', 'IS NULL', 'IS NOT NULL'}'"},
    {FILTER_RUNS, "metrics.x like 3", "!Invalid comparator 'LIKE' not one of '{'=', '!=', '>', '>=', '<', '<='}'"},
    {FILTER_RUNS, "run_id IN ()", "!While parsing a list in the query, expected a non-empty list of string values, but got empty list"},
    {FILTER_RUNS, "status IN ('a')", "!Only the 'run_id' attribute supports comparison with a list of quoted string values."},
    {FILTER_RUNS, "run_id IN ('a', 3)",
     "!While parsing a list in the query, expected string value, punctuation, or whitespace, but got different type in list: ('a', 3)"},
    {FILTER_RUNS, "run_id IN ('a' 'b')",
     "!While parsing a list in the query, expected a non-empty list of string values, but got ill-formed list: ('a' 'b')"},
    {FILTER_RUNS, "run_id IN (,)",
     "!While parsing a list in the query, expected a non-empty list of string values, but got ill-formed list: (,)"},
    {FILTER_RUNS, "run_id IN ('a',,'b')",
     "!While parsing a list in the query, expected a non-empty list of string values, but got ill-formed list: ('a',,'b')"},
    {FILTER_RUNS, "run_id IN ('a','B')", "attribute:run_id IN a,B"},
    {FILTER_RUNS, "run_id not in (\"a\" , 'b,c',)", "attribute:run_id NOT IN a,b,c"},
    {FILTER_RUNS, "run_id in 'a'", "!Invalid clause(s) in filter string: 'run_id', 'in', ''a''"},
    {FILTER_RUNS, "run_id = ('a')", "!Invalid comparator '=' not one of '{'=', '!=', 'LIKE', 'ILIKE', 'IN', 'NOT IN'}'"},
    {FILTER_RUNS, "tags.a IN ('x')", "!Expected a quoted string value for tag (e.g. 'my-value'). Got value ('x')"},
    {FILTER_RUNS, "metrics.a in (1)", "!Expected numeric value type for metric. Found (1)"},
    {FILTER_RUNS, "params.x IS NULL and tags.`y z` is not null", "param:x IS NULL; tag:y z IS NOT NULL"},
    {FILTER_RUNS, "metrics.x is null", "!IS NULL / IS NOT NULL is only supported for tags and params, not for 'metric' 'x'"},
    {FILTER_RUNS, "status is null", "!IS NULL / IS NOT NULL is only supported for tags and params, not for 'attribute' 'status'"},
    {FILTER_RUNS, "dataset.name = 'x' and datasets.digest not in ('a') and dataset.context like '%x'",
     "dataset:name = x; dataset:digest NOT IN a; dataset:context LIKE %x"},
    {FILTER_RUNS, "dataset.foo = 'x'", "!Invalid dataset key 'foo' specified. Valid keys are '{'name', 'digest', 'context'}'"},
    {FILTER_RUNS, "attr.status='x' and run.status='y' and attributes.start_time>0 and attribute.end_time <= 3",
     "attribute:status = x; attribute:status = y; attribute:start_time > 0; attribute:end_time <= 3"},
    {FILTER_RUNS, "tag.x='1' and parameter.x='2' and parameters.x='3' and param.x='4' and metric.x=5",
     "tag:x = 1; param:x = 2; param:x = 3; param:x = 4; metric:x = 5"},
    {FILTER_RUNS, "start_time = 1.5 and created > 1 and Created>2",
     "attribute:start_time = 1.5; attribute:start_time > 1; attribute:start_time > 2"},
    {FILTER_RUNS, "status > 'x'", "!Invalid comparator '>' not one of '{'=', '!=', 'LIKE', 'ILIKE'}'"},
    {FILTER_RUNS, "run_id = 3", "!Expected a quoted string value for attributes. Got value 3"},
    {FILTER_RUNS, "tags.x = ''", "tag:x = "},
    {FILTER_RUNS, "tags.x.y.z = 'a'", "tag:x.y.z = a"},
    {FILTER_RUNS, "tags.`x` = 'a' and tags.\"y\"='b'", "tag:x = a; tag:y = b"},
    {FILTER_RUNS, "metrics.a > 1 and", "metric:a > 1"},
    {FILTER_RUNS, "and metrics.a > 1 and and metrics.b > 1 metrics.c > 2", "metric:a > 1; metric:b > 1; metric:c > 2"},
    {FILTER_RUNS, "metrics.a >", "!Invalid clause(s) in filter string: 'metrics.a', '>'"},
    {FILTER_RUNS, "metrics.a > and", "!Invalid clause(s) in filter string: 'metrics.a', '>', 'and'"},
    {FILTER_RUNS, "params.x='a'and params.y='b'", "param:x = a; param:y = b"},
    {FILTER_RUNS, "params.x = 'it''s'", "param:x = it''s"},
    {FILTER_RUNS, "params.x = 'a\\'", "param:x = a\\"},
    {FILTER_RUNS, "tags.x = \"it's\"", "tag:x = it's"},
    {FILTER_RUNS, "params.x = 'abc", "!Invalid clause(s) in filter string: 'params.x', '=', '''"},
    {FILTER_RUNS, "params.x = \"abc", "!Invalid clause(s) in filter string: 'params.x', '=', '\"'"},
    {FILTER_RUNS, "metrics.x = 1 -- c", "!Invalid clause(s) in filter string: '-- c'"},
    {FILTER_RUNS, "metrics.x = 1;", "!Invalid clause(s) in filter string: ';'"},
    {FILTER_RUNS, "x =", "!Invalid clause(s) in filter string: 'x', '='"},
    {FILTER_RUNS, "= 1", "!Invalid clause(s) in filter string: '='"},
    {FILTER_RUNS, "Run name = 'x'", "!Invalid clause(s) in filter string: 'Run'"},
    {FILTER_RUNS, "tags.a = 'x' AND NOT tags.b = 'y'", "!Invalid clause(s) in filter string: 'NOT'"},
    {FILTER_RUNS, "metrics.x between 1 and 2", "!Invalid clause(s) in filter string: 'metrics.x'"},
    {FILTER_RUNS,
     "metrics.gr\xC3\xB6\xC3\x9F"
     "e > 1",
     "metric:gr\xC3\xB6\xC3\x9F"
     "e > 1"},
    {FILTER_RUNS, "metrics.x = 10000000000000000000", "metric:x = 10000000000000000000"},

    {FILTER_EXPERIMENTS, "name = 'a' and attribute.name like 'b%' and attributes.name ilike 'c'",
     "attribute:name = a; attribute:name LIKE b%; attribute:name ILIKE c"},
    {FILTER_EXPERIMENTS, "creation_time > 1 and last_update_time <= 3", "attribute:created > 1; attribute:updated <= 3"},
    {FILTER_EXPERIMENTS, "creation_time > 'a'", "!Expected numeric value type for numeric attribute: creation_time. Found 'a'"},
    {FILTER_EXPERIMENTS, "tags.x='a' and tag.y is null", "tag:x = a; tag:y IS NULL"},
    {FILTER_EXPERIMENTS, "metrics.x=1", "!Invalid entity type 'metrics'. Valid entity types are ('attribute', 'tag', 'tags')"},
    {FILTER_EXPERIMENTS, "name = 3", "!Expected a quoted string value for attributes. Got value 3"},
    {FILTER_EXPERIMENTS, "name > 'a'", "!Invalid comparator '>' not one of '{'=', '!=', 'LIKE', 'ILIKE'}'"},
    {FILTER_EXPERIMENTS, "name is null", "!IS NULL / IS NOT NULL is only supported for tags, not for 'attribute' 'name'"},

    {FILTER_REGISTERED_MODELS, "name LIKE 'a%' and tags.x != 'b'", "attribute:name LIKE a%; tag:x != b"},
    {FILTER_REGISTERED_MODELS, "run_id='a'", "!Invalid attribute key 'run_id' specified. Valid keys are '{'name'}'"},
    {FILTER_REGISTERED_MODELS, "name in ('a')", "attribute:name IN a"},
    {FILTER_REGISTERED_MODELS, "name=3", "!Expected a quoted string value or a list of quoted string values for attributes. Got value 3"},
    {FILTER_REGISTERED_MODELS, "last_updated_timestamp > 3",
     "!Invalid attribute key 'last_updated_timestamp' specified. Valid keys are '{'name'}'"},

    {FILTER_MODEL_VERSIONS, "name='a' and run_id IN ('x','y') and source_path like 's3%' and version_number >= 2 and tags.z='q'",
     "attribute:name = a; attribute:run_id IN x,y; attribute:source LIKE s3%; attribute:version >= 2; tag:z = q"},
    {FILTER_MODEL_VERSIONS, "version_number = '1'", "attribute:version = 1"},
    {FILTER_MODEL_VERSIONS, "version_number = 1.5", "!Invalid value for numeric attribute 'version_number': 1.5"},
    {FILTER_MODEL_VERSIONS, "version_number in ('1')",
     "!Only the 'run_id' attribute supports comparison with a list of quoted string values."},
    {FILTER_MODEL_VERSIONS, "name in ('1')", "attribute:name IN 1"},

    {FILTER_LOGGED_MODELS, "metrics.x > 1 and params.p = 'a' and tags.t like 'b' and attributes.name='c' and status = 'READY'",
     "metric:x > 1; param:p = a; tag:t LIKE b; attribute:name = c; attribute:status = READY"},
    {FILTER_LOGGED_MODELS, "metric.x > 1", "!Invalid entity type: 'metric'. Expected one of ['attributes', 'metrics', 'params', 'tags']."},
    {FILTER_LOGGED_MODELS, "Loss",
     "!Invalid filter string: 'Loss'. Expected a list of comparisons separated by 'AND' (e.g. 'metrics.loss > 0.1 "
     "AND params.lr = 0.01')."},
    {FILTER_LOGGED_MODELS, "name = 'a' OR name = 'b'",
     "!Invalid filter string: \"name = 'a' OR name = 'b'\". Expected a list of comparisons separated by 'AND' (e.g. 'metrics.loss > 0.1 AND "
     "params.lr = 0.01')."},
    {FILTER_LOGGED_MODELS, "attributes.name > 'a'",
     "!Invalid comparison operator for attributes.name: '>'. Expected one of ('=', '!=', 'LIKE', 'ILIKE', 'IN', 'NOT IN')."},
    {FILTER_LOGGED_MODELS, "metrics.a like 0",
     "!Invalid comparison operator for metrics.a: 'LIKE'. Expected one of ('=', '!=', '>', '>=', '<', '<=')."},
    {FILTER_LOGGED_MODELS, "params.p IN ('1', '2') and tags.t not in ('x')", "param:p IN 1,2; tag:t NOT IN x"},
    {FILTER_LOGGED_MODELS, "params.p = ('1')",
     "!Invalid comparison operator for params.p: '='. Expected one of ('=', '!=', 'LIKE', 'ILIKE', 'IN', 'NOT IN', 'IS NULL', 'IS NOT NULL')."},
    {FILTER_LOGGED_MODELS, "metrics.m IN ('1')", "!Expected numeric value type for metric. Found ('1')"},
    {FILTER_LOGGED_MODELS, "creation_time > 1 and creation_timestamp < 5", "attribute:created > 1; attribute:created < 5"},
};

static void understood_and_refused(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
    AUTO_BUF struct buf shown = BUF_INIT(64 * KIB);
    struct filter filter;
    struct err err;
    size_t at = 0;
    if (filter_parse(rows[i].domain, str_of(rows[i].text), &arena, &filter, &at, &err)) {
      show(&filter, &shown);
    } else {
      assert_int_equal(err.code, ERR_INVALID);
      assert_true(at <= strlen(rows[i].text));
      buf_printf(&shown, "!%s", err.text);
    }
    if (strcmp(buf_text(&shown), rows[i].expected) != 0)
      fail_msg("%s\n  gives    %s\n  expected %s", rows[i].text, buf_text(&shown), rows[i].expected);
  }
}

static void errors_have_their_place(void **state) {
  (void)state;
  static const struct {
    const char *text;
    size_t at;
  } places[] = {
      {"metrics.a > 1 and foo = 1", 18},     {"metrics.a > 'x'", 12}, {"params.a > 'x'", 9}, {"tags.a = 'x' OR tags.b = 'y'", 13},
      {"metrics.a > 1 and metrics.b >", 29},
  };
  for (size_t i = 0; i < ARRAY_LEN(places); i++) {
    AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
    struct filter filter;
    struct err err;
    size_t at = 999;
    assert_false(filter_parse(FILTER_RUNS, str_of(places[i].text), &arena, &filter, &at, &err));
    if (at != places[i].at)
      fail_msg("%s: at %zu, expected %zu", places[i].text, at, places[i].at);
  }
}

static const struct row orders[] = {
    {FILTER_RUNS, "start_time", "attribute:start_time"},
    {FILTER_RUNS, "start_time ASC", "attribute:start_time"},
    {FILTER_RUNS, "start_time  desc", "attribute:start_time-"},
    {FILTER_RUNS, "start_time asc ", "!Invalid order_by clause 'start_time asc '. Could not be parsed."},
    {FILTER_RUNS, "", "!Invalid order_by clause ''. Could not be parsed."},
    {FILTER_RUNS, "metrics.a DESC", "metric:a-"},
    {FILTER_RUNS, "metrics.`a b` desc", "metric:a b-"},
    {FILTER_RUNS, "metrics.\"x y\" ASC", "metric:x y"},
    {FILTER_RUNS, "`metrics`.a", "metric:a"},
    {FILTER_RUNS, "params.x", "param:x"},
    {FILTER_RUNS, "attributes.run_name", "attribute:run_name"},
    {FILTER_RUNS, "Created desc", "attribute:start_time-"},
    {FILTER_RUNS, "tags.`mlflow.user` ASC", "tag:mlflow.user"},
    {FILTER_RUNS, "foo", "!Invalid attribute key 'foo' specified. Valid keys are " RUN_KEYS},
    {FILTER_RUNS, "metrics.a b", "!Invalid ordering key in order_by clause 'metrics.a b'."},
    {FILTER_RUNS, "metrics.a DESCC", "!Invalid ordering key in order_by clause 'metrics.a DESCC'."},
    {FILTER_RUNS, "run name", "!Invalid ordering key in order_by clause 'run name'."},
    {FILTER_RUNS, "metrics.a,metrics.b", "!Invalid order_by clause 'metrics.a,metrics.b'. Could not be parsed."},
    {FILTER_RUNS, "metrics.acc-x", "!Invalid order_by clause 'metrics.acc-x'. Could not be parsed."},
    {FILTER_RUNS, "metrics.'a b' desc", "metric:a b-"},
    {FILTER_RUNS, "metrics.a != 1", "!Invalid order_by clause 'metrics.a != 1'. Could not be parsed."},
    {FILTER_RUNS, "metrics.a desc blah", "!Invalid order_by clause 'metrics.a desc blah'. Could not be parsed."},
    {FILTER_RUNS, "`metrics.a`",
     "!Invalid entity type '`metrics'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']"},
    {FILTER_RUNS, "dataset.name", "!Invalid order_by entity: dataset"},
    {FILTER_EXPERIMENTS, "name desc", "attribute:name-"},
    {FILTER_EXPERIMENTS, "experiment_id", "attribute:experiment_id"},
    {FILTER_EXPERIMENTS, "tags.x", "!Invalid order_by entity: tag"},
    {FILTER_EXPERIMENTS, "name foo", "!Invalid ordering key in order_by clause 'name foo'."},
    {FILTER_REGISTERED_MODELS, "timestamp desc", "attribute:updated-"},
    {FILTER_REGISTERED_MODELS, "last_updated_timestamp", "attribute:updated"},
    {FILTER_MODEL_VERSIONS, "version_number desc", "attribute:version-"},
    {FILTER_MODEL_VERSIONS, "run_id",
     "!Invalid attribute key 'run_id' specified. Valid keys are '{'name', 'version_number', 'creation_timestamp', 'last_updated_timestamp'}'"},
    {FILTER_MODEL_VERSIONS, "foo",
     "!Invalid attribute key 'foo' specified. Valid keys are '{'name', 'version_number', 'creation_timestamp', 'last_updated_timestamp'}'"},
    {FILTER_MODEL_VERSIONS, "creation_timestamp", "attribute:created"},
    {FILTER_REGISTERED_MODELS, "creation_timestamp",
     "!Invalid order by key 'creation_timestamp' specified. Valid keys are '{'name', 'timestamp', 'last_updated_timestamp'}'"},
};

static void order_keys(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
    AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
    AUTO_BUF struct buf shown = BUF_INIT(64 * KIB);
    const struct filter_order *order;
    struct err err;
    struct str text = str_of(orders[i].text);
    if (filter_parse_order(orders[i].domain, &text, 1, &arena, &order, &err))
      buf_printf(&shown, "%s:%.*s%s%s", entities[order->key.entity], STR_ARG(order->key.key), fields[order->key.field],
                 order->descending ? "-" : "");
    else
      buf_printf(&shown, "!%s", err.text);
    if (strcmp(buf_text(&shown), orders[i].expected) != 0)
      fail_msg("%s\n  gives    %s\n  expected %s", orders[i].text, buf_text(&shown), orders[i].expected);
  }
}

static void a_key_orders_once(void **state) {
  (void)state;
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  const struct filter_order *order;
  struct err err;
  struct str twice[] = {STR("metrics.a"), STR("start_time"), STR("metrics.`a` DESC")};
  assert_false(filter_parse_order(FILTER_RUNS, twice, 3, &arena, &order, &err));
  assert_string_equal(err.text, "`order_by` contains duplicate fields: 'metrics.`a` DESC'");
}

/* Ten thousand terms, long lists, patterns that would cost much. */
static void limits(void **state) {
  (void)state;
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  AUTO_BUF struct buf text = BUF_INIT(4 * MIB);
  struct filter filter;
  struct err err;
  for (int i = 0; i < 10000; i++)
    buf_printf(&text, "%stags.t = 'a'", i ? " and " : "");
  assert_false(filter_parse(FILTER_RUNS, buf_str(&text), &arena, &filter, NULL, &err));
  assert_string_equal(err.text, "a filter may have at most 200 clauses");

  buf_reset(&text);
  buf_puts(&text, "run_id in (");
  for (int i = 0; i < 5001; i++)
    buf_printf(&text, "%s'a%d'", i ? "," : "", i);
  buf_puts(&text, ",'x')");
  assert_false(filter_parse(FILTER_RUNS, buf_str(&text), &arena, &filter, NULL, &err));
  assert_string_equal(err.text, "a list in the filter may have at most 5000 values");

  buf_reset(&text);
  buf_puts(&text, "tags.a like '");
  for (int i = 0; i < 40; i++)
    buf_puts(&text, "%a");
  buf_puts(&text, "'");
  assert_false(filter_parse(FILTER_RUNS, buf_str(&text), &arena, &filter, NULL, &err));
  assert_string_equal(err.text, "a LIKE pattern may have at most 2000 bytes and 32 '%'");

  buf_reset(&text);
  for (int i = 0; i < 300000; i++)
    buf_putc(&text, '(');
  assert_false(filter_parse(FILTER_RUNS, buf_str(&text), &arena, &filter, NULL, &err));
  assert_string_equal(err.text, "a filter may have at most 262144 bytes");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(understood_and_refused),
      cmocka_unit_test(errors_have_their_place),
      cmocka_unit_test(order_keys),
      cmocka_unit_test(a_key_orders_once),
      cmocka_unit_test(limits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
