#include "sweeper/spec/yaml.h"

#include <math.h>
#include <yaml.h>

#include "base/json.h"
#include "base/map.h"

struct reader {
  yaml_parser_t parser;
  struct arena *arena;
  struct str text;
  struct map anchors; /* name -> struct ynode *, or &open_anchor while it is being read */
  size_t weight;      /* so far, aliases written out */
  struct yaml_place place;
  struct err *err;
};

static struct ynode open_anchor;

static const struct ynode_pair *find_pair(const struct ynode *map, struct str key);

/* ---- failing with a place ---- */

static bool fail_at(struct reader *r, size_t line, size_t column, const char *format, ...) PRINTF_LIKE(4, 5);
static bool fail_at(struct reader *r, size_t line, size_t column, const char *format, ...) {
  char text[400];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  r->place = (struct yaml_place){(unsigned)line, (unsigned)column};
  return err_set(r->err, ERR_INVALID, "%s", text);
}

#define FAIL_MARK(r, mark, ...) fail_at((r), (mark).line + 1, (mark).column + 1, __VA_ARGS__)

/* libyaml's sentences that a person would not understand, in ours. */
static const struct {
  const char *theirs;
  const char *ours;
} sentences[] = {
    {"found character that cannot start any token", "a value cannot begin with this character; put it in quotes"},
    {"mapping values are not allowed in this context", "a \":\" does not belong here; check the indentation, or put the text in quotes"},
    {"did not find expected key", "a key was expected here; check the indentation"},
    {"could not find expected ':'", "a \":\" is missing after this key"},
    {"did not find expected '-' indicator", "a \"-\" was expected here; check the indentation"},
    {"did not find expected ',' or ']'", "a \",\" or \"]\" is missing"},
    {"did not find expected ',' or '}'", "a \",\" or \"}\" is missing"},
    {"found unexpected end of stream", "the text ends inside a quoted string"},
    {"block sequence entries are not allowed in this context", "a \"- \" item does not belong here; check the indentation"},
    {"control characters are not allowed", "a control character is not allowed"},
    {"found duplicate %YAML directive", "there are two %YAML lines"},
    {"did not find expected <document start>", "this does not continue what is above; check the indentation"},
};

static const char needs_quotes[] = "text with braces needs quotes here, as in \"${args}\" or \"{{lr}}\"";

/* {{lr}} */
static bool is_braces(const struct reader *r, yaml_mark_t mark) {
  return mark.index < r->text.n && r->text.p[mark.index] == '{' && mark.index > 0 && r->text.p[mark.index - 1] == '{';
}

static bool parser_failed(struct reader *r) {
  const yaml_parser_t *p = &r->parser;
  if (p->error == YAML_MEMORY_ERROR)
    return err_no_memory(r->err);
  const char *problem = p->problem ? p->problem : "not valid YAML";
  if (p->error == YAML_READER_ERROR) {
    size_t line = 1, line_start = 0;
    size_t at = MIN_OF(p->problem_offset, r->text.n);
    for (size_t i = 0; i < at; i++)
      if (r->text.p[i] == '\n') {
        line++;
        line_start = i + 1;
      }
    return fail_at(r, line, at - line_start + 1, "%s",
                   strstr(problem, "control") ? sentences[9].ours : "the text is not valid UTF-8; save the file as UTF-8");
  }
  yaml_mark_t mark = p->problem_mark;
  if (mark.index < r->text.n && r->text.p[mark.index] == '\t')
    return FAIL_MARK(r, mark, "a tab cannot be used for indentation; use spaces");
  bool is_brace = mark.index < r->text.n && r->text.p[mark.index] == '{';
  if (is_brace && strstr(problem, "expected ','"))
    return FAIL_MARK(r, mark, "%s", needs_quotes);
  for (size_t i = 0; i < ARRAY_LEN(sentences); i++)
    if (strcmp(problem, sentences[i].theirs) == 0)
      return FAIL_MARK(r, mark, "%s", sentences[i].ours);
  return FAIL_MARK(r, mark, "%s", problem);
}

static void event_cleanup(yaml_event_t *event) {
  yaml_event_delete(event);
}
#define AUTO_EVENT CLEANUP(event_cleanup)

static bool next_event(struct reader *r, yaml_event_t *event) {
  memset(event, 0, sizeof *event);
  return yaml_parser_parse(&r->parser, event) ? true : parser_failed(r);
}

/* ---- the core schema ---- */

static bool all_digits(struct str s, const char *digits) {
  if (!s.n)
    return false;
  for (size_t i = 0; i < s.n; i++)
    if (!s.p[i] || !strchr(digits, s.p[i]))
      return false;
  return true;
}

/* 0o17 and 0x1f; false also when it does not fit. */
static bool based_int(struct str s, int64_t *ret) {
  if (s.n < 3 || s.p[0] != '0')
    return false;
  int64_t base = s.p[1] == 'o' ? 8 : s.p[1] == 'x' ? 16 : 0;
  struct str digits = str_slice(s, 2, s.n);
  if (!base || !all_digits(digits, base == 8 ? "01234567" : "0123456789abcdefABCDEF"))
    return false;
  int64_t value = 0;
  for (size_t i = 0; i < digits.n; i++) {
    char c = digits.p[i];
    int64_t digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, digit, &value))
      return false;
  }
  *ret = value;
  return true;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool looks_decimal(struct str s, bool *ret_whole) {
  size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+') ? 1 : 0;
  size_t whole = 0, fraction = 0;
  bool dot = false, exponent = false;
  for (; i < s.n && isdigit((unsigned char)s.p[i]); i++)
    whole++;
  if (i < s.n && s.p[i] == '.') {
    dot = true;
    for (i++; i < s.n && isdigit((unsigned char)s.p[i]); i++)
      fraction++;
  }
  if (!whole && !fraction)
    return false;
  if (i < s.n && (s.p[i] == 'e' || s.p[i] == 'E')) {
    exponent = true;
    i++;
    if (i < s.n && (s.p[i] == '-' || s.p[i] == '+'))
      i++;
    size_t digits = i;
    while (i < s.n && isdigit((unsigned char)s.p[i]))
      i++;
    if (i == digits)
      return false;
  }
  *ret_whole = !dot && !exponent;
  return i == s.n;
}

static bool special_float(struct str s, double *ret) {
  bool negative = s.n && s.p[0] == '-';
  struct str rest = str_slice(s, s.n && (negative || s.p[0] == '+') ? 1 : 0, s.n);
  if (str_is(rest, ".inf") || str_is(rest, ".Inf") || str_is(rest, ".INF")) {
    *ret = negative ? -INFINITY : INFINITY;
    return true;
  }
  if (str_is(s, ".nan") || str_is(s, ".NaN") || str_is(s, ".NAN")) {
    *ret = NAN;
    return true;
  }
  return false;
}

static bool one_of(struct str s, const char *const *words, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (str_is(s, words[i]))
      return true;
  return false;
}

/* What the plain text means. A whole number beyond 64 bits is a float. */
static void resolve(struct ynode *node) {
  static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
  static const char *const yes[] = {"true", "True", "TRUE"};
  static const char *const no[] = {"false", "False", "FALSE"};
  struct str s = node->text;
  bool whole = false;
  if (one_of(s, nulls, ARRAY_LEN(nulls))) {
    node->kind = YN_NULL;
  } else if (one_of(s, yes, ARRAY_LEN(yes)) || one_of(s, no, ARRAY_LEN(no))) {
    node->kind = YN_BOOL;
    node->boolean = s.p[0] == 't' || s.p[0] == 'T';
  } else if (based_int(s, &node->integer)) {
    node->kind = YN_INT;
    node->number = (double)node->integer;
  } else if (looks_decimal(s, &whole) && str_to_f64(s, &node->number)) {
    node->kind = whole && str_to_i64(s, &node->integer) ? YN_INT : YN_FLOAT;
  } else if (special_float(s, &node->number)) {
    node->kind = YN_FLOAT;
  } else {
    node->kind = YN_TEXT;
  }
}

/* ---- the tree ---- */

static struct ynode *new_node(struct arena *arena, enum ynode_kind kind, unsigned line, unsigned column) {
  struct ynode *node = ARENA_NEW(arena, struct ynode);
  if (node) {
    node->kind = kind;
    node->line = line;
    node->column = column;
    node->weight = 1;
  }
  return node;
}

/* Capacity is not stored: arrays double whenever the count is a power of two. */
static void *grown(struct arena *arena, void *array, size_t count, size_t item_size) {
  if (count & (count - 1))
    return array;
  size_t cap = count ? count * 2 : 1;
  void *bigger = arena_array(arena, cap, item_size);
  if (bigger && count)
    memcpy(bigger, array, count * item_size);
  return bigger;
}

static bool add_item(struct arena *arena, struct ynode *list, struct ynode *item) {
  struct ynode **items = grown(arena, list->items, list->count, sizeof(struct ynode *));
  if (!items)
    return false;
  list->items = items;
  items[list->count++] = item;
  list->weight += item->weight;
  return true;
}

static bool add_pair(struct arena *arena, struct ynode *map, struct ynode *key, struct ynode *value) {
  struct ynode_pair *pairs = grown(arena, map->pairs, map->count, sizeof *pairs);
  if (!pairs)
    return false;
  map->pairs = pairs;
  pairs[map->count++] = (struct ynode_pair){key, value};
  map->weight += key->weight + value->weight;
  return true;
}

static bool too_many(struct reader *r, size_t more, yaml_mark_t mark) {
  r->weight += more;
  if (r->weight <= YAML_NODES_MAX)
    return false;
  FAIL_MARK(r, mark, "the text holds more than %d values (aliases count as if written out)", YAML_NODES_MAX);
  return true;
}

static bool apply_tag(struct reader *r, const yaml_event_t *event, struct ynode *node) {
  static const char core[] = "tag:yaml.org,2002:";
  static const struct {
    const char *name;
    enum ynode_kind kind;
  } tags[] = {{"str", YN_TEXT},  {"int", YN_INT},  {"float", YN_FLOAT}, {"bool", YN_BOOL},
              {"null", YN_NULL}, {"seq", YN_LIST}, {"map", YN_MAP}};
  const char *tag = (const char *)(event->type == YAML_SCALAR_EVENT           ? event->data.scalar.tag
                                   : event->type == YAML_SEQUENCE_START_EVENT ? event->data.sequence_start.tag
                                                                              : event->data.mapping_start.tag);
  if (!tag)
    return true;
  if (strcmp(tag, "!") == 0 && ynode_is_scalar(node)) {
    node->kind = YN_TEXT;
    return true;
  }
  for (size_t i = 0; i < ARRAY_LEN(tags) && strncmp(tag, core, strlen(core)) == 0; i++) {
    if (strcmp(tag + strlen(core), tags[i].name) != 0)
      continue;
    if (tags[i].kind == YN_TEXT && ynode_is_scalar(node)) {
      node->kind = YN_TEXT;
      return true;
    }
    if (ynode_is_scalar(node))
      resolve(node);
    if (tags[i].kind == YN_FLOAT && node->kind == YN_INT)
      node->kind = YN_FLOAT;
    if (node->kind == tags[i].kind)
      return true;
    return FAIL_MARK(r, event->start_mark, "the tag !!%s does not fit this value", tags[i].name);
  }
  return FAIL_MARK(r, event->start_mark, "the tag \"%.60s\" is not understood; remove it", tag);
}

static bool read_scalar(struct reader *r, const yaml_event_t *event, struct ynode *node) {
  const char *value = (const char *)event->data.scalar.value;
  size_t n = event->data.scalar.length;
  if (memchr(value, 0, n))
    return FAIL_MARK(r, event->start_mark, "a text cannot hold a NUL character");
  char *copy = arena_strdup(r->arena, str_n(value, n));
  if (!copy)
    return err_no_memory(r->err);
  node->text = str_n(copy, n);
  node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
  node->kind = YN_TEXT;
  if (!node->quoted)
    resolve(node);
  return apply_tag(r, event, node);
}

static bool read_node(struct reader *r, yaml_event_t *event, unsigned depth, struct ynode **ret);

static bool read_list(struct reader *r, struct ynode *list, unsigned depth) {
  for (;;) {
    AUTO_EVENT yaml_event_t event = {0};
    if (!next_event(r, &event))
      return false;
    if (event.type == YAML_SEQUENCE_END_EVENT)
      return true;
    struct ynode *item;
    if (!read_node(r, &event, depth, &item))
      return false;
    if (!add_item(r->arena, list, item))
      return err_no_memory(r->err);
  }
}

/* Keys of the map read so far; large maps are rare, so a set is made only for them. */
struct key_set {
  struct map map;
  const struct ynode *of;
};

enum { KEY_SET_FROM = 16 };

static bool key_taken(struct key_set *set, struct str key, bool *ret_ok) {
  *ret_ok = true;
  if (set->of->count < KEY_SET_FROM)
    return ynode_peek(set->of, key) != NULL;
  while (set->map.count < set->of->count) {
    struct ynode *next = set->of->pairs[set->map.count].key;
    if (!map_put(&set->map, next->text, next, NULL))
      return *ret_ok = false;
  }
  return map_get(&set->map, key) != NULL;
}

/* `<<: {…}` or `<<: [{…}, {…}]`: what is not there already, the earlier map first. */
static bool merge(struct reader *r, struct key_set *set, struct ynode *map, const struct ynode *from, const struct ynode *at) {
  if (from->kind != YN_MAP)
    return fail_at(r, at->line, at->column, "\"<<\" takes a map or a list of maps");
  for (size_t i = 0; i < from->count; i++) {
    bool ok;
    if (key_taken(set, from->pairs[i].key->text, &ok))
      continue;
    if (!ok || !add_pair(r->arena, map, from->pairs[i].key, from->pairs[i].value))
      return err_no_memory(r->err);
  }
  return true;
}

static bool read_pairs(struct reader *r, struct ynode *map, struct key_set *set, unsigned depth) {
  const struct ynode *merges[8];
  const struct ynode *merge_at[8];
  size_t merge_count = 0;
  for (;;) {
    AUTO_EVENT yaml_event_t key_event = {0};
    if (!next_event(r, &key_event))
      return false;
    if (key_event.type == YAML_MAPPING_END_EVENT)
      break;
    if (key_event.type == YAML_MAPPING_START_EVENT && is_braces(r, key_event.start_mark))
      return FAIL_MARK(r, key_event.start_mark, "%s", needs_quotes);
    if (key_event.type != YAML_SCALAR_EVENT && key_event.type != YAML_ALIAS_EVENT)
      return FAIL_MARK(r, key_event.start_mark, "a key must be a plain word, not a list or a map");
    struct ynode *key, *value;
    if (!read_node(r, &key_event, depth, &key))
      return false;
    if (!ynode_is_scalar(key))
      return FAIL_MARK(r, key_event.start_mark, "a key must be a plain word, not a list or a map");
    AUTO_EVENT yaml_event_t value_event = {0};
    if (!next_event(r, &value_event) || !read_node(r, &value_event, depth, &value))
      return false;
    if (str_is(key->text, "<<") && !key->quoted) {
      if (merge_count == ARRAY_LEN(merges))
        return FAIL_MARK(r, key_event.start_mark, "more than %zu \"<<\" in one map", ARRAY_LEN(merges));
      merge_at[merge_count] = key;
      merges[merge_count++] = value;
      continue;
    }
    bool ok;
    if (key_taken(set, key->text, &ok))
      return FAIL_MARK(r, key_event.start_mark, "the key \"%.*s\" stands here twice (first in line %u)",
                       STR_ARG(str_slice(key->text, 0, 100)), find_pair(map, key->text)->key->line);
    if (!ok || !add_pair(r->arena, map, key, value))
      return err_no_memory(r->err);
  }
  for (size_t i = 0; i < merge_count; i++) {
    bool list = merges[i]->kind == YN_LIST;
    for (size_t j = 0; j < (list ? merges[i]->count : 1); j++)
      if (!merge(r, set, map, list ? merges[i]->items[j] : merges[i], merge_at[i]))
        return false;
  }
  return true;
}

static bool read_map(struct reader *r, struct ynode *map, unsigned depth) {
  struct key_set set = {.of = map};
  map_init(&set.map, YAML_NODES_MAX);
  bool ok = read_pairs(r, map, &set, depth);
  map_release(&set.map);
  return ok;
}

static bool read_alias(struct reader *r, const yaml_event_t *event, struct ynode **ret) {
  const char *name = (const char *)event->data.alias.anchor;
  struct ynode *node = map_get(&r->anchors, str_of(name));
  if (!node)
    return FAIL_MARK(r, event->start_mark, "the alias \"*%.60s\" has no anchor \"&%.60s\" above it", name, name);
  if (node == &open_anchor)
    return FAIL_MARK(r, event->start_mark, "the alias \"*%.60s\" stands inside its own anchor", name);
  if (too_many(r, node->weight, event->start_mark))
    return false;
  *ret = node;
  return true;
}

static const char *anchor_of(const yaml_event_t *event) {
  return (const char *)(event->type == YAML_SCALAR_EVENT           ? event->data.scalar.anchor
                        : event->type == YAML_SEQUENCE_START_EVENT ? event->data.sequence_start.anchor
                                                                   : event->data.mapping_start.anchor);
}

/* The event has been read already; `depth` is that of the collection around the node. */
static bool read_node(struct reader *r, yaml_event_t *event, unsigned depth, struct ynode **ret) {
  if (event->type == YAML_ALIAS_EVENT)
    return read_alias(r, event, ret);
  bool scalar = event->type == YAML_SCALAR_EVENT;
  if (!scalar && depth >= YAML_DEPTH_MAX)
    return FAIL_MARK(r, event->start_mark, "the text is nested deeper than %d levels", YAML_DEPTH_MAX);
  if (too_many(r, 1, event->start_mark))
    return false;
  enum ynode_kind kind = scalar ? YN_TEXT : event->type == YAML_SEQUENCE_START_EVENT ? YN_LIST : YN_MAP;
  struct ynode *node = new_node(r->arena, kind, (unsigned)event->start_mark.line + 1, (unsigned)event->start_mark.column + 1);
  const char *anchor = anchor_of(event);
  if (!node || (anchor && !map_put(&r->anchors, str_of(anchor), &open_anchor, NULL)))
    return err_no_memory(r->err);
  bool ok = scalar            ? read_scalar(r, event, node)
            : kind == YN_LIST ? apply_tag(r, event, node) && read_list(r, node, depth + 1)
                              : apply_tag(r, event, node) && read_map(r, node, depth + 1);
  if (!ok)
    return false;
  if (anchor && !map_put(&r->anchors, str_of(anchor), node, NULL))
    return err_no_memory(r->err);
  *ret = node;
  return true;
}

/* stream start, document start, a node, document end, stream end */
static bool read_stream(struct reader *r, struct ynode **ret) {
  AUTO_EVENT yaml_event_t start = {0};
  AUTO_EVENT yaml_event_t document = {0};
  if (!next_event(r, &start) || !next_event(r, &document))
    return false;
  struct ynode *root;
  if (document.type == YAML_STREAM_END_EVENT) {
    root = new_node(r->arena, YN_NULL, 1, 1);
    *ret = root;
    return root ? true : err_no_memory(r->err);
  }
  AUTO_EVENT yaml_event_t content = {0};
  AUTO_EVENT yaml_event_t document_end = {0};
  AUTO_EVENT yaml_event_t end = {0};
  if (!next_event(r, &content) || !read_node(r, &content, 0, &root) || !next_event(r, &document_end) || !next_event(r, &end))
    return false;
  if (end.type != YAML_STREAM_END_EVENT)
    return FAIL_MARK(r, end.start_mark, "a second document begins here; one is expected");
  *ret = root;
  return true;
}

bool yaml_read(struct str text, struct arena *arena, struct ynode **ret, struct yaml_place *ret_place, struct err *err) {
  struct err local;
  struct reader r = {.arena = arena, .text = text, .err = err ? err : &local};
  if (ret_place)
    *ret_place = (struct yaml_place){0, 0};
  if (text.n > YAML_BYTES_MAX)
    return err_set(err, ERR_TOO_LARGE, "the text is larger than %d bytes", YAML_BYTES_MAX);
  if (!yaml_parser_initialize(&r.parser))
    return err_no_memory(err);
  map_init(&r.anchors, YAML_NODES_MAX);
  if (str_starts(text, STR("\xEF\xBB\xBF"))) /* a byte order mark, as some editors write it */
    text = r.text = str_slice(text, 3, text.n);
  yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
  bool ok = read_stream(&r, ret);
  yaml_parser_delete(&r.parser);
  map_release(&r.anchors);
  if (!ok && ret_place)
    *ret_place = r.place;
  return ok;
}

/* ---- looking ---- */

static const struct ynode_pair *find_pair(const struct ynode *map, struct str key) {
  if (map && map->kind == YN_MAP)
    for (size_t i = 0; i < map->count; i++)
      if (str_eq(map->pairs[i].key->text, key))
        return &map->pairs[i];
  return NULL;
}

struct ynode *ynode_peek(const struct ynode *map, struct str key) {
  const struct ynode_pair *pair = find_pair(map, key);
  return pair ? pair->value : NULL;
}

struct ynode *ynode_get(const struct ynode *map, const char *key) {
  const struct ynode_pair *pair = find_pair(map, str_of(key));
  if (!pair)
    return NULL;
  pair->key->seen = true;
  return pair->value;
}

const char *ynode_kind_word(const struct ynode *node) {
  static const char *const words[] = {"nothing", "true or false", "a whole number", "a number", "text", "a list", "a map"};
  return words[node->kind];
}

bool ynode_is_scalar(const struct ynode *node) {
  return node->kind < YN_LIST;
}

bool ynode_number(const struct ynode *node, double *ret) {
  if (!ynode_is_scalar(node))
    return false;
  struct ynode read = {.text = node->text};
  resolve(&read);
  if (read.kind != YN_INT && read.kind != YN_FLOAT)
    return false;
  *ret = read.number;
  return true;
}

bool ynode_integer(const struct ynode *node, int64_t *ret) {
  if (!ynode_is_scalar(node))
    return false;
  struct ynode read = {.text = node->text};
  resolve(&read);
  if (read.kind == YN_FLOAT && fabs(read.number) < 9007199254740992.0 && read.number == floor(read.number)) {
    *ret = (int64_t)read.number;
    return true;
  }
  if (read.kind != YN_INT)
    return false;
  *ret = read.integer;
  return true;
}

bool ynode_overflows(const struct ynode *node) {
  bool whole = false;
  return node->kind == YN_FLOAT && looks_decimal(node->text, &whole) && whole;
}

/* The value of the longest key that the path begins with; *ret_used says how much of the path it was. */
static const struct ynode *step_into(const struct ynode *map, struct str path, size_t *ret_used) {
  const struct ynode *best = NULL;
  *ret_used = 0;
  for (size_t i = 0; i < map->count; i++) {
    struct str key = map->pairs[i].key->text;
    if (!str_starts(path, key) || (best && key.n <= *ret_used))
      continue;
    char next = path.n > key.n ? path.p[key.n] : 0;
    if (next != 0 && next != '.' && next != '[')
      continue;
    best = map->pairs[i].value;
    *ret_used = key.n;
  }
  return best;
}

const struct ynode *ynode_at(const struct ynode *root, struct str path) {
  const struct ynode *node = root;
  while (node && path.n) {
    if (path.p[0] == '.')
      path = str_slice(path, 1, path.n);
    const struct ynode *next = NULL;
    size_t used = 0;
    if (path.n && path.p[0] == '[') {
      size_t close = str_find(path, ']');
      uint64_t index;
      if (close == SIZE_MAX || node->kind != YN_LIST || !str_to_u64(str_slice(path, 1, close), &index) || index >= node->count)
        break;
      next = node->items[index];
      used = close + 1;
    } else if (node->kind == YN_MAP) {
      next = step_into(node, path, &used);
    }
    if (!next)
      break;
    node = next;
    path = str_slice(path, used, path.n);
  }
  return node;
}

/* ---- to JSON ---- */

static json_t *float_json(double value) {
  if (isfinite(value))
    return json_real(value);
  char text[32];
  str_from_f64(value, text);
  return json_string(text);
}

static json_t *to_json(const struct ynode *node) {
  switch (node->kind) {
  case YN_NULL:
    return json_null();
  case YN_BOOL:
    return json_boolean(node->boolean);
  case YN_INT:
    return json_integer(node->integer);
  case YN_FLOAT:
    return float_json(node->number);
  case YN_TEXT:
    return json_stringn(node->text.p, node->text.n);
  case YN_LIST: {
    json_t *list = json_array();
    for (size_t i = 0; list && i < node->count; i++)
      if (json_array_append_new(list, to_json(node->items[i])) != 0)
        json_cleanup(&list);
    return list;
  }
  case YN_MAP: {
    json_t *object = json_object();
    for (size_t i = 0; object && i < node->count; i++) /* texts of the arena end with a NUL and hold none */
      if (json_object_set_new(object, node->pairs[i].key->text.p, to_json(node->pairs[i].value)) != 0)
        json_cleanup(&object);
    return object;
  }
  }
  return NULL;
}

bool ynode_to_json(const struct ynode *node, json_t **ret, struct err *err) {
  json_t *json = to_json(node);
  if (!json)
    return err_no_memory(err);
  *ret = json;
  return true;
}

/* ---- building ---- */

static struct ynode *placed(struct arena *arena, enum ynode_kind kind, const struct ynode *at) {
  return new_node(arena, kind, at ? at->line : 0, at ? at->column : 0);
}

struct ynode *ynode_new_text(struct arena *arena, const struct ynode *at, struct str text) {
  struct ynode *node = placed(arena, YN_TEXT, at);
  char *copy = arena_strdup(arena, text);
  if (!node || !copy)
    return NULL;
  node->text = str_n(copy, text.n);
  node->quoted = true;
  return node;
}

struct ynode *ynode_new_plain(struct arena *arena, const struct ynode *at, struct str text) {
  struct ynode *node = ynode_new_text(arena, at, text);
  if (node) {
    node->quoted = false;
    resolve(node);
  }
  return node;
}

struct ynode *ynode_new_number(struct arena *arena, const struct ynode *at, double value) {
  char text[32];
  size_t n = str_from_f64(value, text);
  return ynode_new_plain(arena, at, isfinite(value) ? str_n(text, n) : isnan(value) ? STR(".nan") : value < 0 ? STR("-.inf") : STR(".inf"));
}

struct ynode *ynode_new_int(struct arena *arena, const struct ynode *at, int64_t value) {
  char text[24];
  int n = snprintf(text, sizeof text, "%lld", (long long)value);
  return ynode_new_plain(arena, at, str_n(text, (size_t)n));
}

struct ynode *ynode_new_list(struct arena *arena, const struct ynode *at) {
  return placed(arena, YN_LIST, at);
}

struct ynode *ynode_new_map(struct arena *arena, const struct ynode *at) {
  return placed(arena, YN_MAP, at);
}

bool ynode_append(struct arena *arena, struct ynode *list, struct ynode *item) {
  return list && item && add_item(arena, list, item);
}

bool ynode_put(struct arena *arena, struct ynode *map, const char *key, struct ynode *value) {
  struct ynode *name = value ? ynode_new_text(arena, value, str_of(key)) : NULL;
  return map && name && add_pair(arena, map, name, value);
}
