#include "tracker/search/filter.h"

#include "base/buf.h"
#include "tracker/names.h"
#include "tracker/search/filter_lex.h"

/* ---- what each domain knows ---- */

#define OP(op) (1u << FILTER_##op)
enum {
  EQUALITY = OP(EQ) | OP(NE),
  PATTERNS = OP(LIKE) | OP(ILIKE),
  RANGES = OP(GT) | OP(GE) | OP(LT) | OP(LE),
  LISTS = OP(IN) | OP(NOT_IN),
  NULLS = OP(IS_NULL) | OP(IS_NOT_NULL),
  TEXT_OPS = EQUALITY | PATTERNS,
  NUMBER_OPS = EQUALITY | RANGES,
};

struct field_row {
  const char *name;
  enum filter_field field;
  bool is_number;
  unsigned ops; /* 0: cannot be filtered on */
  bool can_order;
};

struct entity_row {
  const char *name;
  enum filter_entity entity;
};

struct domain {
  const struct entity_row *entities;
  size_t entity_count;
  const struct field_row *fields;
  size_t field_count;
  const char *entity_error;  /* format of an unknown entity */
  const char *valid_fields;  /* as the error for an unknown attribute shows them */
  const char *list_field;    /* the one attribute that error texts name as taking lists */
  const char *null_entities; /* what IS NULL may stand on */
  const char *string_error;  /* format of a number where an attribute wants text */
  bool order_by_data;        /* metrics, params and tags are keys of order */
  bool lists_of_data;        /* IN and NOT IN may stand on params and tags */
  const char *order_fields;  /* as the error for an unknown key of order shows them; NULL: valid_fields */
  const char *order_noun;    /* what that error calls the key; NULL: attribute */
  bool order_repeats;        /* a key of order may stand there again, and says nothing then */
  bool names_filter;         /* errors show the filter and the comparison as a whole */
};

static const struct entity_row run_entities[] = {
    {"metric", FILTER_METRIC},       {"metrics", FILTER_METRIC},       {"parameter", FILTER_PARAM}, {"parameters", FILTER_PARAM},
    {"param", FILTER_PARAM},         {"params", FILTER_PARAM},         {"tag", FILTER_TAG},         {"tags", FILTER_TAG},
    {"attribute", FILTER_ATTRIBUTE}, {"attributes", FILTER_ATTRIBUTE}, {"attr", FILTER_ATTRIBUTE},  {"run", FILTER_ATTRIBUTE},
    {"dataset", FILTER_DATASET},     {"datasets", FILTER_DATASET},
};

static const struct field_row run_fields[] = {
    {"run_id", FIELD_RUN_ID, false, TEXT_OPS | LISTS, true},  {"run_name", FIELD_RUN_NAME, false, TEXT_OPS, true},
    {"run name", FIELD_RUN_NAME, false, TEXT_OPS, false},     {"Run name", FIELD_RUN_NAME, false, TEXT_OPS, false},
    {"Run Name", FIELD_RUN_NAME, false, TEXT_OPS, false},     {"user_id", FIELD_USER_ID, false, TEXT_OPS, true},
    {"status", FIELD_STATUS, false, TEXT_OPS, true},          {"artifact_uri", FIELD_ARTIFACT_URI, false, TEXT_OPS, true},
    {"start_time", FIELD_START_TIME, true, NUMBER_OPS, true}, {"created", FIELD_START_TIME, true, NUMBER_OPS, true},
    {"Created", FIELD_START_TIME, true, NUMBER_OPS, true},    {"end_time", FIELD_END_TIME, true, NUMBER_OPS, true},
};

static const struct entity_row folder_entities[] = {
    {"attribute", FILTER_ATTRIBUTE},
    {"attributes", FILTER_ATTRIBUTE},
    {"tag", FILTER_TAG},
    {"tags", FILTER_TAG},
};

static const struct field_row experiment_fields[] = {
    {"name", FIELD_NAME, false, TEXT_OPS, true},
    {"creation_time", FIELD_CREATED, true, NUMBER_OPS, true},
    {"last_update_time", FIELD_UPDATED, true, NUMBER_OPS, true},
    {"experiment_id", FIELD_EXPERIMENT_ID, false, EQUALITY | LISTS, true},
};

static const struct entity_row logged_model_entities[] = {
    {"attributes", FILTER_ATTRIBUTE},
    {"metrics", FILTER_METRIC},
    {"params", FILTER_PARAM},
    {"tags", FILTER_TAG},
};

static const struct field_row logged_model_fields[] = {
    {"name", FIELD_NAME, false, TEXT_OPS | LISTS, true},
    {"model_id", FIELD_MODEL_ID, false, TEXT_OPS | LISTS, true},
    {"model_type", FIELD_MODEL_TYPE, false, TEXT_OPS | LISTS, true},
    {"status", FIELD_STATUS, false, TEXT_OPS | LISTS, true},
    {"source_run_id", FIELD_SOURCE_RUN_ID, false, TEXT_OPS | LISTS, true},
    {"creation_timestamp", FIELD_CREATED, true, NUMBER_OPS, true},
    {"creation_time", FIELD_CREATED, true, NUMBER_OPS, true},
    {"last_updated_timestamp", FIELD_UPDATED, true, NUMBER_OPS, true},
    {"last_updated_time", FIELD_UPDATED, true, NUMBER_OPS, true},
};

static const struct field_row registered_model_fields[] = {
    {"name", FIELD_NAME, false, TEXT_OPS | LISTS, true},
    {"timestamp", FIELD_UPDATED, true, 0, true},
    {"last_updated_timestamp", FIELD_UPDATED, true, 0, true},
};

static const struct field_row model_version_fields[] = {
    {"name", FIELD_NAME, false, TEXT_OPS | LISTS, true},   {"run_id", FIELD_RUN_ID, false, TEXT_OPS | LISTS, false},
    {"source_path", FIELD_SOURCE, false, TEXT_OPS, false}, {"version_number", FIELD_VERSION, true, NUMBER_OPS, true},
    {"creation_timestamp", FIELD_CREATED, true, 0, true},  {"last_updated_timestamp", FIELD_UPDATED, true, 0, true},
};

static const struct field_row dataset_fields[] = {
    {"name", FIELD_DATASET_NAME, false, TEXT_OPS | LISTS, false},
    {"digest", FIELD_DATASET_DIGEST, false, TEXT_OPS | LISTS, false},
    {"context", FIELD_DATASET_CONTEXT, false, TEXT_OPS | LISTS, false},
};

#define ROWS(table) table, ARRAY_LEN(table)
#define ENTITY_ERROR_SEARCH "Invalid entity type '%.*s'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']"
#define ENTITY_ERROR_FOLDER "Invalid entity type '%.*s'. Valid entity types are ('attribute', 'tag', 'tags')"
#define ENTITY_ERROR_MODEL "Invalid entity type: '%.*s'. Expected one of ['attributes', 'metrics', 'params', 'tags']."
#define STRING_ERROR "Expected a quoted string value for attributes. Got value %.*s"
#define STRING_OR_LIST_ERROR "Expected a quoted string value or a list of quoted string values for attributes. Got value %.*s"

static const struct domain domains[] = {
    [FILTER_RUNS] = {ROWS(run_entities), ROWS(run_fields), ENTITY_ERROR_SEARCH,
                     "'run_id', 'run_name', 'run name', 'Run name', 'Run Name', 'user_id', 'status', 'artifact_uri', 'start_time', "
                     "'created', 'Created', 'end_time'",
                     "run_id", "tags and params", STRING_ERROR, true},
    [FILTER_EXPERIMENTS] = {ROWS(folder_entities), ROWS(experiment_fields), ENTITY_ERROR_FOLDER,
                            "'name', 'creation_time', 'last_update_time', 'experiment_id'", "experiment_id", "tags", STRING_ERROR, false,
                            .order_repeats = true},
    [FILTER_LOGGED_MODELS] = {ROWS(logged_model_entities), ROWS(logged_model_fields), ENTITY_ERROR_MODEL,
                              "'name', 'model_id', 'model_type', 'status', 'source_run_id', 'creation_timestamp', 'creation_time', "
                              "'last_updated_timestamp', 'last_updated_time'",
                              "model_id", "tags and params", STRING_ERROR, true, true, .names_filter = true},
    [FILTER_REGISTERED_MODELS] = {ROWS(folder_entities), ROWS(registered_model_fields), ENTITY_ERROR_FOLDER, "'name'", "run_id", "tags",
                                  STRING_OR_LIST_ERROR, false, .order_fields = "'name', 'timestamp', 'last_updated_timestamp'",
                                  .order_noun = "order by"},
    [FILTER_MODEL_VERSIONS] = {ROWS(folder_entities), ROWS(model_version_fields), ENTITY_ERROR_FOLDER,
                               "'name', 'run_id', 'source_path', 'version_number'", "run_id", "tags", STRING_OR_LIST_ERROR, false,
                               .order_fields = "'name', 'version_number', 'creation_timestamp', 'last_updated_timestamp'"},
};

static const char *const entity_words[] = {
    [FILTER_ATTRIBUTE] = "attribute", [FILTER_METRIC] = "metric", [FILTER_PARAM] = "parameter", [FILTER_TAG] = "tag",
    [FILTER_DATASET] = "dataset",
};

static const char *const op_texts[FILTER_OP_COUNT] = {
    [FILTER_EQ] = "=",
    [FILTER_NE] = "!=",
    [FILTER_GT] = ">",
    [FILTER_GE] = ">=",
    [FILTER_LT] = "<",
    [FILTER_LE] = "<=",
    [FILTER_LIKE] = "LIKE",
    [FILTER_ILIKE] = "ILIKE",
    [FILTER_IN] = "IN",
    [FILTER_NOT_IN] = "NOT IN",
    [FILTER_IS_NULL] = "IS NULL",
    [FILTER_IS_NOT_NULL] = "IS NOT NULL",
};

const char *filter_op_text(enum filter_op op) {
  return op_texts[op];
}

bool filter_key_eq(const struct filter_key *a, const struct filter_key *b) {
  return a->entity == b->entity && a->field == b->field && str_eq(a->key, b->key);
}

/* ---- names ---- */

static const struct field_row *find_field(const struct field_row *rows, size_t count, struct str name) {
  for (size_t i = 0; i < count; i++)
    if (str_is(name, rows[i].name))
      return &rows[i];
  return NULL;
}

static const struct field_row *field_of(const struct domain *domain, const struct filter_key *key, struct str name) {
  if (key->entity == FILTER_DATASET)
    return find_field(dataset_fields, ARRAY_LEN(dataset_fields), name);
  return find_field(domain->fields, domain->field_count, name);
}

static const char *order_fields(const struct domain *domain) {
  return domain->order_fields ? domain->order_fields : domain->valid_fields;
}

static bool unknown_key(const struct domain *domain, enum filter_entity entity, struct str key, bool order, struct err *err) {
  const char *noun = order && domain->order_noun ? domain->order_noun : entity_words[entity];
  const char *valid = entity == FILTER_DATASET ? "'name', 'digest', 'context'" : order ? order_fields(domain) : domain->valid_fields;
  err_set(err, ERR_INVALID, "Invalid %s key '%.*s' specified. Valid keys are '{%s}'", noun, STR_ARG(str_slice(key, 0, 100)), valid);
  return domain == &domains[FILTER_RUNS] && entity == FILTER_ATTRIBUTE
             ? err_hint(err, "what a run logged is metrics.NAME, params.NAME or tags.NAME")
             : false;
}

/* entity.key or attribute, of a clause or of an order. *ret_row is the attribute's or dataset field's row, NULL for data. */
static bool resolve(const struct domain *domain, bool order, struct str name, struct filter_key *ret, const struct field_row **ret_row,
                    struct err *err) {
  struct filter_key key = {.entity = FILTER_ATTRIBUTE};
  struct str rest = name;
  size_t dot = filter_first_dot(name);
  if (dot == SIZE_MAX)
    dot = str_find(name, '.'); /* of `entity.key` in one pair of quotes, where nothing is an entity */
  if (dot != SIZE_MAX) {
    struct str entity = filter_unquote(str_trim(str_slice(name, 0, dot)));
    size_t i = 0;
    while (i < domain->entity_count && !str_is(entity, domain->entities[i].name))
      i++;
    if (i == domain->entity_count) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* one of the three formats above */
      return err_set(err, ERR_INVALID, domain->entity_error, STR_ARG(entity));
#pragma GCC diagnostic pop
    }
    key.entity = domain->entities[i].entity;
    rest = str_slice(name, dot + 1, name.n);
  }
  rest = filter_unquote(str_trim(rest));
  *ret_row = NULL;
  if (key.entity == FILTER_ATTRIBUTE || key.entity == FILTER_DATASET) {
    const struct field_row *row = field_of(domain, &key, rest);
    if (!row)
      return unknown_key(domain, key.entity, rest, order, err);
    key.field = row->field;
    *ret_row = row;
  } else {
    key.key = rest;
  }
  *ret = key;
  return true;
}

/* ---- clauses ---- */

struct parser {
  const struct domain *domain;
  struct filter_lexer lexer;
  struct arena *arena;
  struct err *err;
  size_t at; /* of the piece at hand, for the error's place */
};

static bool is_keyword(const struct filter_token *token, const char *word) {
  return token->kind == TOKEN_NAME && str_eq_nocase(token->text, str_of(word));
}

static bool invalid_filter(struct parser *p) {
  AUTO_BUF struct buf shown = BUF_INIT(4 * KIB);
  python_repr(&shown, text_cut(p->lexer.text, 300));
  return err_set(p->err, ERR_INVALID,
                 "Invalid filter string: %s. Expected a list of comparisons separated by 'AND' (e.g. 'metrics.loss > 0.1 AND params.lr = "
                 "0.01').",
                 buf_text(&shown));
}

/* `tokens`: the words of a clause that makes no sense. */
static bool invalid_clause(struct parser *p, const struct filter_token *tokens, size_t count) {
  AUTO_BUF struct buf list = BUF_INIT(4 * KIB);
  if (p->domain->names_filter)
    return invalid_filter(p);
  for (size_t i = 0; i < count; i++)
    if (tokens[i].kind != TOKEN_END)
      buf_printf(&list, "%s'%.*s'", list.n ? ", " : "", STR_ARG(str_slice(tokens[i].text, 0, 200)));
  err_set(p->err, ERR_INVALID, "Invalid clause(s) in filter string: %s", buf_text(&list));
  return err_hint(p->err, "a clause is KEY OPERATOR VALUE, several are joined by AND; texts stand in quotes, numbers do not");
}

enum word_op { WORD_NONE, WORD_OP, WORD_UNKNOWN };

/* Operators that are words. WORD_UNKNOWN: it reads as an operator, but is none of ours. */
static enum word_op read_word_op(struct parser *p, const struct filter_token *first, enum filter_op *ret, struct str *ret_text) {
  struct filter_lexer ahead = p->lexer;
  *ret_text = first->text;
  if (is_keyword(first, "like") || is_keyword(first, "ilike") || is_keyword(first, "in")) {
    *ret = is_keyword(first, "like") ? FILTER_LIKE : is_keyword(first, "ilike") ? FILTER_ILIKE : FILTER_IN;
    return WORD_OP;
  }
  if (is_keyword(first, "rlike"))
    return WORD_UNKNOWN;
  if (is_keyword(first, "not")) {
    struct filter_token next = filter_next(&ahead, false);
    if (!is_keyword(&next, "in") && !is_keyword(&next, "like") && !is_keyword(&next, "ilike"))
      return WORD_NONE;
    p->lexer = ahead;
    *ret = FILTER_NOT_IN;
    *ret_text = is_keyword(&next, "in") ? STR("NOT IN") : is_keyword(&next, "like") ? STR("NOT LIKE") : STR("NOT ILIKE");
    return is_keyword(&next, "in") ? WORD_OP : WORD_UNKNOWN;
  }
  if (is_keyword(first, "is")) {
    struct filter_token next = filter_next(&ahead, false);
    *ret = FILTER_IS_NULL;
    if (is_keyword(&next, "not")) {
      *ret = FILTER_IS_NOT_NULL;
      next = filter_next(&ahead, false);
    }
    if (!is_keyword(&next, "null"))
      return WORD_NONE;
    p->lexer = ahead;
    return WORD_OP;
  }
  return WORD_NONE;
}

static bool symbol_op(struct str text, enum filter_op *ret) {
  for (unsigned op = FILTER_EQ; op <= FILTER_LE; op++)
    if (str_is(text, op_texts[op])) {
      *ret = (enum filter_op)op;
      return true;
    }
  return false; /* == and <> are read, and then refused as comparators */
}

static bool list_error(struct parser *p, const struct filter_token *wrong, struct str text) {
  return err_set(p->err, ERR_INVALID, "While parsing a list in the query, expected %s list: %.*s",
                 wrong->kind == TOKEN_NUMBER ? "string value, punctuation, or whitespace, but got different type in"
                                             : "a non-empty list of string values, but got ill-formed",
                 STR_ARG(str_slice(text, 0, 200)));
}

/* ('a', 'b') */
static bool read_list(struct parser *p, struct str text, struct filter_clause *clause) {
  struct filter_lexer lexer = {str_slice(text, 1, text.n - 1), 0};
  size_t commas = 0;
  for (size_t i = 0; i < text.n; i++)
    commas += text.p[i] == ',';
  if (commas > FILTER_LIST_MAX)
    return err_set(p->err, ERR_INVALID, "a list in the filter may have at most %d values", FILTER_LIST_MAX);
  struct str *items = ARENA_NEW_ARRAY(p->arena, struct str, commas + 1);
  if (!items)
    return err_no_memory(p->err);
  size_t count = 0;
  for (struct filter_token token = filter_next(&lexer, true); token.kind != TOKEN_END; token = filter_next(&lexer, true)) {
    if (token.kind != TOKEN_STRING || count > commas)
      return list_error(p, &token, text);
    items[count++] = filter_unquote(token.text);
    token = filter_next(&lexer, true);
    if (token.kind == TOKEN_END)
      break;
    if (!str_is(token.text, ","))
      return list_error(p, &token, text);
  }
  if (count == 0)
    return err_set(p->err, ERR_INVALID,
                   "While parsing a list in the query, expected a non-empty list of string values, but got empty list");
  clause->list = items;
  clause->list_count = count;
  return true;
}

static bool set_number(struct parser *p, struct filter_clause *clause, struct str text) {
  clause->is_number = true;
  clause->text = text;
  if (!str_to_f64(text, &clause->number))
    return err_set(p->err, ERR_INVALID, "'%.*s' is not a number", STR_ARG(str_slice(text, 0, 100)));
  return true;
}

/* A quoted string for a metric's, param's or tag's value. */
static bool want_string(struct parser *p, const struct filter_token *value, struct filter_clause *clause) {
  switch (value->kind) {
  case TOKEN_STRING:
    clause->text = filter_unquote(value->text);
    return true;
  case TOKEN_NAME:
  case TOKEN_DIRTY:
  case TOKEN_TICKED:
    return err_set(p->err, ERR_INVALID,
                   "Parameter value is either not quoted or unidentified quote types used for string value %.*s. Use either single or "
                   "double quotes.",
                   STR_ARG(str_slice(value->text, 0, 200)));
  default:
    return err_set(p->err, ERR_INVALID, "Expected a quoted string value for %s (e.g. 'my-value'). Got value %.*s",
                   entity_words[clause->key.entity], STR_ARG(str_slice(value->text, 0, 200)));
  }
}

static bool want_attribute(struct parser *p, const struct field_row *row, struct str name, const struct filter_token *value,
                           struct filter_clause *clause) {
  struct str shown = str_slice(value->text, 0, 200);
  if (value->kind == TOKEN_LIST && !(row->ops & LISTS) && clause->key.entity != FILTER_DATASET)
    return err_set(p->err, ERR_INVALID, "Only the '%s' attribute supports comparison with a list of quoted string values.",
                   p->domain->list_field);
  if (row->is_number) {
    int64_t whole;
    struct str bare = filter_unquote(value->text);
    if (row->field == FIELD_VERSION && value->kind == TOKEN_STRING && str_to_i64(bare, &whole))
      return set_number(p, clause, bare);
    if (value->kind != TOKEN_NUMBER)
      return err_set(p->err, ERR_INVALID, "Expected numeric value type for numeric attribute: %.*s. Found %.*s", STR_ARG(name),
                     STR_ARG(shown));
    if (row->field == FIELD_VERSION && !str_to_i64(value->text, &whole))
      return err_set(p->err, ERR_INVALID, "Invalid value for numeric attribute '%.*s': %.*s", STR_ARG(name), STR_ARG(shown));
    return set_number(p, clause, value->text);
  }
  if (value->kind == TOKEN_LIST)
    return read_list(p, value->text, clause);
  if (value->kind == TOKEN_STRING) {
    clause->text = filter_unquote(value->text);
    return true;
  }
  if (value->kind != TOKEN_NUMBER)
    return want_string(p, value, clause);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* one of the two formats above */
  return err_set(p->err, ERR_INVALID, p->domain->string_error, STR_ARG(shown));
#pragma GCC diagnostic pop
}

static bool read_value(struct parser *p, const struct field_row *row, struct str name, const struct filter_token *value,
                       struct filter_clause *clause) {
  if (row)
    return want_attribute(p, row, name, value, clause);
  if (clause->key.entity != FILTER_METRIC)
    return value->kind == TOKEN_LIST && p->domain->lists_of_data ? read_list(p, value->text, clause) : want_string(p, value, clause);
  if (value->kind != TOKEN_NUMBER)
    return err_set(p->err, ERR_INVALID, "Expected numeric value type for metric. Found %.*s", STR_ARG(str_slice(value->text, 0, 200)));
  return set_number(p, clause, value->text);
}

static unsigned allowed_ops(const struct domain *domain, const struct field_row *row, enum filter_entity entity) {
  if (row)
    return row->ops;
  if (entity == FILTER_METRIC)
    return NUMBER_OPS;
  return domain->lists_of_data ? TEXT_OPS | NULLS | LISTS : TEXT_OPS | NULLS;
}

/* Its first name. */
static const char *entity_of(const struct domain *domain, enum filter_entity entity) {
  size_t i = 0;
  while (domain->entities[i].entity != entity)
    i++;
  return domain->entities[i].name;
}

/* `known` is false when the comparator is none of ours at all. */
static bool check_comparator(struct parser *p, const struct field_row *row, struct str name, bool known, struct str op_text,
                             const struct filter_clause *clause) {
  unsigned allowed = allowed_ops(p->domain, row, clause->key.entity);
  bool wants_list = known && ((1u << clause->op) & LISTS);
  if (known && (allowed & (1u << clause->op)) && wants_list == (clause->list != NULL))
    return true;
  AUTO_BUF struct buf list = BUF_INIT(KIB);
  for (unsigned op = 0; op < FILTER_OP_COUNT; op++)
    if (allowed & (1u << op))
      buf_printf(&list, "%s'%s'", list.n ? ", " : "", op_texts[op]);
  char shown[32];
  snprintf(shown, sizeof shown, "%.*s", STR_ARG(op_text));
  for (char *c = shown; *c; c++)
    *c = (char)toupper((unsigned char)*c);
  if (p->domain->names_filter)
    return err_set(p->err, ERR_INVALID, "Invalid comparison operator for %s.%.*s: '%s'. Expected one of (%s).",
                   entity_of(p->domain, clause->key.entity), STR_ARG(str_slice(name, 0, 200)), shown, buf_text(&list));
  return err_set(p->err, ERR_INVALID, "Invalid comparator '%s' not one of '{%s}'", shown, buf_text(&list));
}

static bool check_pattern(struct parser *p, const struct filter_clause *clause) {
  if (clause->op != FILTER_LIKE && clause->op != FILTER_ILIKE)
    return true;
  size_t wildcards = 0;
  for (size_t i = 0; i < clause->text.n; i++)
    wildcards += clause->text.p[i] == '%';
  if (clause->text.n > FILTER_PATTERN_MAX || wildcards > FILTER_WILDCARDS_MAX)
    return err_set(p->err, ERR_INVALID, "a LIKE pattern may have at most %d bytes and %d '%%'", FILTER_PATTERN_MAX, FILTER_WILDCARDS_MAX);
  return true;
}

static bool null_clause(struct parser *p, const struct filter_clause *clause, struct str name) {
  if (clause->key.entity == FILTER_TAG || clause->key.entity == FILTER_PARAM)
    return true;
  struct str shown = clause->key.field ? name : clause->key.key;
  return err_set(p->err, ERR_INVALID, "IS NULL / IS NOT NULL is only supported for %s, not for '%s' '%.*s'", p->domain->null_entities,
                 entity_words[clause->key.entity], STR_ARG(str_slice(shown, 0, 200)));
}

static struct str bare_name(struct str name) {
  size_t dot = filter_first_dot(name);
  return filter_unquote(dot == SIZE_MAX ? name : str_slice(name, dot + 1, name.n));
}

/* Keywords, where a value is wanted. */
static bool is_no_value(const struct filter_token *token) {
  return is_keyword(token, "and") || is_keyword(token, "true") || is_keyword(token, "false");
}

/* A clause as it stands: the name, the operator, the value. */
struct clause_words {
  struct filter_token name, op, value;
  struct str op_text;
  bool known_op;   /* an operator of the language */
  bool tests_null; /* it takes no value */
};

static bool is_comparable(const struct filter_token *token) {
  return token->kind == TOKEN_NAME || token->kind == TOKEN_DIRTY || token->kind == TOKEN_NUMBER || token->kind == TOKEN_STRING;
}

static bool is_value(const struct filter_token *token, bool wants_list) {
  bool value = is_comparable(token) || token->kind == TOKEN_TICKED || token->kind == TOKEN_LIST;
  return value && !is_no_value(token) && !(wants_list && token->kind != TOKEN_LIST);
}

static bool read_value_word(struct parser *p, const struct filter_clause *clause, struct clause_words *words) {
  p->at = p->lexer.at;
  words->value = filter_next(&p->lexer, true);
  bool wants_list = words->known_op && ((1u << clause->op) & LISTS);
  if (!is_value(&words->value, wants_list))
    return invalid_clause(p, (struct filter_token[]){words->name, words->op, words->value}, 3);
  struct filter_lexer ahead = p->lexer;
  struct filter_token next = filter_next(&ahead, false);
  p->at = next.at;
  return next.kind != TOKEN_STRAY || invalid_clause(p, &next, 1);
}

static bool read_clause_words(struct parser *p, struct filter_clause *clause, struct clause_words *words) {
  if (!is_comparable(&words->name))
    return invalid_clause(p, &words->name, 1);
  words->op = filter_next(&p->lexer, false);
  enum word_op op;
  if (words->op.kind == TOKEN_OP) {
    words->op_text = words->op.text;
    op = symbol_op(words->op_text, &clause->op) ? WORD_OP : WORD_UNKNOWN;
  } else {
    op = read_word_op(p, &words->op, &clause->op, &words->op_text);
  }
  if (op == WORD_NONE)
    return invalid_clause(p, &words->name, 1);
  words->known_op = op == WORD_OP;
  words->tests_null = words->known_op && ((1u << clause->op) & NULLS);
  return words->tests_null || read_value_word(p, clause, words);
}

static bool read_clause(struct parser *p, const struct filter_token *name, struct filter_clause *ret) {
  struct filter_clause clause = {.at = name->at};
  struct clause_words words = {.name = *name};
  if (!read_clause_words(p, &clause, &words))
    return false;
  p->at = name->at;
  if (name->kind != TOKEN_NAME)
    return err_set(p->err, ERR_INVALID, "Invalid comparison clause. Expected 'Identifier' found '%.*s'",
                   STR_ARG(str_slice(name->text, 0, 200)));
  const struct field_row *row;
  if (!resolve(p->domain, false, name->text, &clause.key, &row, p->err))
    return false;
  if (row && row->ops == 0)
    return unknown_key(p->domain, FILTER_ATTRIBUTE, str_of(row->name), false, p->err);
  struct str shown = bare_name(name->text);
  *ret = clause;
  if (words.tests_null)
    return null_clause(p, ret, shown);
  p->at = words.value.at;
  if (!read_value(p, row, shown, &words.value, ret))
    return false;
  p->at = words.op.at;
  return check_comparator(p, row, shown, words.known_op, words.op_text, ret) && check_pattern(p, ret);
}

/* As Python shows a string. */
static bool several_statements(struct parser *p, struct str text) {
  char quote = str_find(text, '\'') != SIZE_MAX && str_find(text, '"') == SIZE_MAX ? '"' : '\'';
  return err_set(p->err, ERR_INVALID, "Search filter contained multiple expression %c%.*s%c. Provide AND-ed expression list.", quote,
                 STR_ARG(str_slice(text, 0, 300)), quote);
}

static bool parse_clauses(struct parser *p, struct str text, struct filter *ret) {
  struct filter_clause *clauses = NULL;
  size_t count = 0, room = 0;
  for (;;) {
    struct filter_token token = filter_next(&p->lexer, false);
    p->at = token.at;
    if (token.kind == TOKEN_END)
      break;
    if (is_keyword(&token, "and"))
      continue;
    if (token.kind == TOKEN_SEMICOLON) {
      struct filter_token after = filter_next(&p->lexer, false);
      return after.kind == TOKEN_END ? invalid_clause(p, &token, 1) : several_statements(p, text);
    }
    if (count == FILTER_CLAUSES_MAX)
      return err_set(p->err, ERR_INVALID, "a filter may have at most %d clauses", FILTER_CLAUSES_MAX);
    if (count == room) {
      room = room ? room * 2 : 8;
      struct filter_clause *more = ARENA_NEW_ARRAY(p->arena, struct filter_clause, room);
      if (!more)
        return err_no_memory(p->err);
      if (count)
        memcpy(more, clauses, count * sizeof *clauses);
      clauses = more;
    }
    if (!read_clause(p, &token, &clauses[count]))
      return false;
    count++;
  }
  ret->clauses = clauses;
  ret->count = count;
  return true;
}

bool filter_parse(enum filter_domain domain, struct str text, struct arena *arena, struct filter *ret, size_t *ret_at, struct err *err) {
  struct parser parser = {&domains[domain], {text, 0}, arena, err, 0};
  struct filter filter = {0};
  bool ok = false;
  if (text.n > FILTER_TEXT_MAX)
    err_set(err, ERR_INVALID, "a filter may have at most %d bytes", FILTER_TEXT_MAX);
  else if (text.n > 0 && str_trim(text).n == 0)
    err_set(err, ERR_INVALID, "Invalid filter '%.*s'. Could not be parsed.", STR_ARG(str_slice(text, 0, 100)));
  else
    ok = parse_clauses(&parser, text, &filter);
  if (ok)
    *ret = filter;
  else if (ret_at)
    *ret_at = parser.at;
  return ok;
}

/* ---- order and columns ---- */

static bool order_error(struct err *err, struct str text) {
  return err_set(err, ERR_INVALID, "Invalid order_by clause '%.*s'. Could not be parsed.", STR_ARG(str_slice(text, 0, 200)));
}

static bool check_order_key(const struct domain *domain, const struct filter_key *key, const struct field_row *row, struct str text,
                            struct err *err) {
  if (row && row->can_order)
    return true;
  if (row && key->entity == FILTER_ATTRIBUTE)
    return unknown_key(domain, FILTER_ATTRIBUTE, str_of(row->name), true, err);
  if (row || !domain->order_by_data)
    return err_set(err, ERR_INVALID, "Invalid order_by entity: %s", entity_words[key->entity]);
  if (key->key.n == 0)
    return order_error(err, text);
  return true;
}

static bool parse_order(const struct domain *domain, struct str text, struct filter_order *ret, struct err *err) {
  if (text.n == 0 || text.n > FILTER_PATTERN_MAX || str_trim(text).n != text.n)
    return order_error(err, text);
  struct filter_lexer lexer = {text, 0};
  struct filter_token name = filter_next(&lexer, false);
  struct filter_token direction = filter_next(&lexer, false);
  struct filter_token end = filter_next(&lexer, false);
  bool descending = is_keyword(&direction, "desc");
  if (name.kind != TOKEN_NAME || end.kind != TOKEN_END || (direction.kind != TOKEN_END && direction.kind != TOKEN_NAME))
    return order_error(err, text);
  if (direction.kind == TOKEN_NAME && !descending && !is_keyword(&direction, "asc"))
    return err_set(err, ERR_INVALID, "Invalid ordering key in order_by clause '%.*s'.", STR_ARG(str_slice(text, 0, 200)));
  const struct field_row *row;
  struct filter_order order = {.descending = descending};
  if (!resolve(domain, true, name.text, &order.key, &row, err) || !check_order_key(domain, &order.key, row, text, err))
    return false;
  *ret = order;
  return true;
}

bool filter_parse_order(enum filter_domain domain, const struct str *texts, size_t count, struct arena *arena,
                        const struct filter_order **ret, struct err *err) {
  if (count > FILTER_ORDER_MAX)
    return err_set(err, ERR_INVALID, "order_by may have at most %d keys", FILTER_ORDER_MAX);
  struct filter_order *orders = ARENA_NEW_ARRAY(arena, struct filter_order, count ? count : 1);
  if (!orders)
    return err_no_memory(err);
  for (size_t i = 0; i < count; i++) {
    if (!parse_order(&domains[domain], texts[i], &orders[i], err))
      return false;
    for (size_t j = 0; j < i && !domains[domain].order_repeats; j++)
      if (filter_key_eq(&orders[i].key, &orders[j].key))
        return err_set(err, ERR_INVALID, "`order_by` contains duplicate fields: '%.*s'", STR_ARG(str_slice(texts[i], 0, 200)));
  }
  *ret = orders;
  return true;
}

bool filter_parse_key(enum filter_domain domain, struct str text, struct filter_key *ret, struct err *err) {
  struct filter_lexer lexer = {text, 0};
  struct filter_token name = filter_next(&lexer, false);
  struct filter_token end = filter_next(&lexer, false);
  if (text.n > FILTER_PATTERN_MAX || name.kind != TOKEN_NAME || end.kind != TOKEN_END)
    return err_set(err, ERR_INVALID, "'%.*s' is not the name of a column", STR_ARG(str_slice(text, 0, 200)));
  const struct field_row *row;
  return resolve(&domains[domain], false, name.text, ret, &row, err);
}
