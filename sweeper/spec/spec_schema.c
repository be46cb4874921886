/* The JSON Schema of a table: for editors, and for docs/sweep-file.md. */
#include "sweeper/spec/spec_table.h"

static void schema_value(const struct spec_row *row, struct json_writer *w);

static void schema_choices(const struct spec_row *row, struct json_writer *w) {
  jw_object(w);
  jw_key(w, "enum");
  jw_array(w);
  for (size_t i = 0; row->choices[i]; i++)
    jw_text(w, row->choices[i]);
  jw_array_end(w);
  jw_object_end(w);
}

static void schema_bounds(const struct spec_row *row, struct json_writer *w) {
  if (row->min != 0 || row->max != 0 || (row->flags & SPEC_ABOVE))
    jw_put_f64(w, row->flags & SPEC_ABOVE ? "exclusiveMinimum" : "minimum", row->min);
  if (row->max != 0)
    jw_put_f64(w, "maximum", row->max);
}

/* One value or a list of such values. */
static void schema_one_or_many(const struct spec_row *row, struct json_writer *w,
                               void (*item)(const struct spec_row *, struct json_writer *), bool one) {
  jw_key(w, "anyOf");
  jw_array(w);
  if (one)
    item(row, w);
  jw_object(w);
  jw_put_text(w, "type", "array");
  jw_key(w, "items");
  item(row, w);
  jw_object_end(w);
  jw_array_end(w);
}

static void schema_scalar(const struct spec_row *row, struct json_writer *w) {
  (void)row;
  jw_object(w);
  jw_key(w, "type");
  jw_array(w);
  jw_text(w, "string");
  jw_text(w, "number");
  jw_text(w, "boolean");
  jw_array_end(w);
  jw_object_end(w);
}

static void schema_sub(const struct spec_row *row, struct json_writer *w) {
  const struct spec_row *bare = spec_bare_row(row->sub);
  if (!bare) {
    spec_schema(row->sub, w);
    return;
  }
  jw_object(w);
  jw_key(w, "anyOf");
  jw_array(w);
  schema_value(bare, w);
  spec_schema(row->sub, w);
  jw_array_end(w);
  jw_object_end(w);
}

static void schema_text_or_number(const struct spec_row *row, struct json_writer *w, const char *pattern) {
  (void)row;
  jw_key(w, "type");
  jw_array(w);
  jw_text(w, "string");
  jw_text(w, "number");
  jw_array_end(w);
  jw_put_text(w, "pattern", pattern);
}

static void put_default(const struct spec_row *row, struct json_writer *w) {
  AUTO_ARENA struct arena arena = ARENA_INIT(64 * KIB);
  AUTO_JSON json_t *json = NULL;
  struct ynode *node;
  struct err err;
  if (!yaml_read(str_of(row->default_text), &arena, &node, NULL, &err) || !ynode_to_json(node, &json, &err)) {
    w->out->fail = ERR_NO_MEMORY; /* the texts are our own and a test reads them all */
    return;
  }
  jw_key(w, "default");
  jw_json(w, json);
}

static void put_about(const struct spec_row *row, struct json_writer *w) {
  jw_put_text(w, "description", row->help);
  if (row->default_text)
    put_default(row, w);
  if (row->flags & SPEC_IGNORED)
    jw_put_bool(w, "deprecated", true);
}

static void schema_value(const struct spec_row *row, struct json_writer *w) {
  jw_object(w);
  put_about(row, w);
  switch (row->type) {
  case SPEC_TEXT:
    jw_key(w, "type");
    jw_array(w);
    jw_text(w, "string");
    jw_text(w, "number");
    jw_array_end(w);
    break;
  case SPEC_BOOL:
    jw_put_text(w, "type", "boolean");
    break;
  case SPEC_INT:
    jw_put_text(w, "type", "integer");
    schema_bounds(row, w);
    break;
  case SPEC_NUMBER:
    jw_put_text(w, "type", "number");
    schema_bounds(row, w);
    break;
  case SPEC_DURATION:
    schema_text_or_number(row, w, "^[0-9.]+ *(ms|s|sec|m|min|h|d|w)?$");
    break;
  case SPEC_SIZE:
    schema_text_or_number(row, w, "^[0-9.]+ *([KMGTkmgt][Ii]?[Bb]?|[Bb])?$");
    break;
  case SPEC_CHOICE:
    jw_key(w, "enum");
    jw_array(w);
    for (size_t i = 0; row->choices[i]; i++)
      jw_text(w, row->choices[i]);
    jw_array_end(w);
    break;
  case SPEC_FLAGS:
    schema_one_or_many(row, w, schema_choices, true);
    break;
  case SPEC_TEXTS:
  case SPEC_ARGV:
    schema_one_or_many(row, w, schema_scalar, row->type == SPEC_TEXTS);
    break;
  case SPEC_PAIRS:
    jw_put_text(w, "type", "object");
    jw_key(w, "additionalProperties");
    schema_scalar(row, w);
    break;
  case SPEC_OBJECT:
    jw_key(w, "allOf");
    jw_array(w);
    schema_sub(row, w);
    jw_array_end(w);
    break;
  case SPEC_OBJECTS:
    schema_one_or_many(row, w, schema_sub, true);
    break;
  case SPEC_TREE:
    break;
  }
  jw_object_end(w);
}

/* The other name of a key says which one it stands for. */
static void schema_alias(const struct spec_row *row, struct json_writer *w) {
  char title[100];
  snprintf(title, sizeof title, "another name of %s", row->key);
  jw_object(w);
  jw_put_text(w, "title", title);
  jw_key(w, "allOf");
  jw_array(w);
  schema_value(row, w);
  jw_array_end(w);
  jw_object_end(w);
}

static void schema_required(const struct spec_table *table, struct json_writer *w) {
  jw_key(w, "required");
  jw_array(w);
  for (size_t i = 0; i < table->count; i++)
    if ((table->rows[i].flags & SPEC_REQUIRED) && !table->rows[i].only)
      jw_text(w, table->rows[i].key);
  jw_array_end(w);
}

/* For each value of the first row, the keys that do not go with it. */
static void schema_variants(const struct spec_table *table, struct json_writer *w) {
  jw_key(w, "allOf");
  jw_array(w);
  for (size_t kind = 0; table->rows[0].choices && table->rows[0].choices[kind]; kind++) {
    jw_object(w);
    jw_key(w, "if");
    jw_object(w);
    jw_key(w, "properties");
    jw_object(w);
    jw_key(w, table->rows[0].key);
    jw_object(w);
    jw_put_text(w, "const", table->rows[0].choices[kind]);
    jw_object_end(w);
    jw_object_end(w);
    jw_object_end(w);
    jw_key(w, "then");
    jw_object(w);
    jw_key(w, "properties");
    jw_object(w);
    for (size_t i = 1; i < table->count; i++)
      if (table->rows[i].only && !((table->rows[i].only | table->rows[i].schema_too) >> kind & 1))
        jw_put_bool(w, table->rows[i].key, false);
    jw_object_end(w);
    jw_object_end(w);
    jw_object_end(w);
  }
  jw_array_end(w);
}

void spec_schema(const struct spec_table *table, struct json_writer *w) {
  bool variants = false;
  jw_object(w);
  jw_put_text(w, "type", "object");
  jw_put_bool(w, "additionalProperties", false);
  schema_required(table, w);
  jw_key(w, "properties");
  jw_object(w);
  for (size_t i = 0; i < table->count; i++) {
    variants |= table->rows[i].only != 0;
    jw_key(w, table->rows[i].key);
    schema_value(&table->rows[i], w);
    if (table->rows[i].alias) {
      jw_key(w, table->rows[i].alias);
      schema_alias(&table->rows[i], w);
    }
  }
  jw_object_end(w);
  if (variants)
    schema_variants(table, w);
  jw_object_end(w);
}
