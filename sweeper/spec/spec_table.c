#include "sweeper/spec/spec_table.h"

#include <math.h>
#include <stdarg.h>

/* ---- problems ---- */

void spec_problem_add(struct spec_problems *problems, const struct ynode *at, const char *path, const char *hint, const char *format, ...) {
  if (problems->count >= SPEC_PROBLEMS_MAX) {
    problems->count++;
    return;
  }
  char text[400];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  struct spec_problem problem = {
      .path = arena_strdup(problems->arena, str_of(path)),
      .message = arena_strdup(problems->arena, str_of(text)),
      .hint = arena_strdup(problems->arena, str_of(hint ? hint : "")),
      .line = at ? at->line : 0,
      .column = at ? at->column : 0,
  };
  if (!problem.path || !problem.message || !problem.hint) {
    problems->no_memory = true;
    problem.path = problem.hint = "";
    problem.message = "out of memory";
  }
  problems->items[problems->count++] = problem;
}

static bool stands_before(const struct spec_problem *a, const struct spec_problem *b) {
  if (!a->line || !b->line)
    return a->line != 0 && b->line == 0;
  if (a->absent != b->absent)
    return b->absent;
  return a->line != b->line ? a->line < b->line : a->column < b->column;
}

void spec_problems_sort(struct spec_problems *problems) {
  struct spec_problem *items = problems->items;
  for (size_t i = 1; i < MIN_OF(problems->count, (size_t)SPEC_PROBLEMS_MAX); i++) {
    struct spec_problem moved = items[i];
    size_t at = i;
    for (; at > 0 && stands_before(&moved, &items[at - 1]); at--)
      items[at] = items[at - 1];
    items[at] = moved;
  }
}

bool spec_problem_fail(const char *name, const struct spec_problem *problem, struct err *err) {
  if (problem->line)
    err_set(err, ERR_INVALID, "%s%s%u:%u: %s", name, name[0] ? ":" : "line ", problem->line, problem->column, problem->message);
  else
    err_set(err, ERR_INVALID, "%s%s%s", name, name[0] ? ": " : "", problem->message);
  err_at(err, "", problem->line, problem->column);
  return problem->hint[0] ? err_hint(err, "%s", problem->hint) : false;
}

/* ---- durations and sizes as people write them ---- */

void spec_format_duration(int64_t ms, char out[32]) {
  static const struct {
    const char *unit;
    int64_t ms;
  } units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
  for (size_t i = 0; i < ARRAY_LEN(units); i++)
    if (ms % units[i].ms == 0 && (ms != 0 || units[i].ms == 1000)) {
      snprintf(out, 32, "%lld%s", (long long)(ms / units[i].ms), units[i].unit);
      return;
    }
}

void spec_format_size(uint64_t bytes, char out[32]) {
  static const struct {
    const char *unit;
    uint64_t bytes;
  } units[] = {{"TB", 1000000000000u}, {"GiB", GIB}, {"GB", 1000000000u}, {"MiB", MIB},
               {"MB", 1000000u},       {"KiB", KIB}, {"KB", 1000u},       {"", 1}};
  for (size_t i = 0; i < ARRAY_LEN(units); i++)
    if (bytes % units[i].bytes == 0 && (bytes != 0 || units[i].bytes == 1)) {
      snprintf(out, 32, "%llu%s", (unsigned long long)(bytes / units[i].bytes), units[i].unit);
      return;
    }
}

/* ---- reading ---- */

#define FIELD(object, row, type) ((type *)(void *)((char *)(object) + (row)->offset))
#define CONST_FIELD(object, row, type) ((type const *)(const void *)((const char *)(object) + (row)->offset))

static const char *join(struct spec_reader *r, const char *path, const char *key) {
  const char *joined = path[0] ? arena_printf(r->arena, "%s.%s", path, key) : key;
  if (joined)
    return joined;
  r->errors->no_memory = true;
  return key;
}

static const char *join_index(struct spec_reader *r, const char *path, size_t index) {
  const char *joined = arena_printf(r->arena, "%s[%zu]", path, index);
  if (joined)
    return joined;
  r->errors->no_memory = true;
  return path;
}

static void wrong_kind(struct spec_reader *r, const struct ynode *node, const char *path, const char *wanted) {
  if (node->kind == YN_FLOAT)
    spec_problem_add(r->errors, node, path, NULL, "%s must be %s, not %.*s", path, wanted, STR_ARG(str_slice(node->text, 0, 60)));
  else
    spec_problem_add(r->errors, node, path, NULL, "%s must be %s, not %s", path, wanted, ynode_kind_word(node));
}

/* As it would be written. */
static void format_bound(const struct spec_row *row, double bound, char out[32]) {
  if (row->type == SPEC_DURATION)
    spec_format_duration((int64_t)bound, out);
  else if (row->type == SPEC_SIZE)
    spec_format_size((uint64_t)bound, out);
  else
    snprintf(out, 32, "%.15g", bound);
}

static bool in_bounds(struct spec_reader *r, const struct spec_row *row, const struct ynode *node, const char *path, double value) {
  if (row->min == 0 && row->max == 0 && !(row->flags & SPEC_ABOVE))
    return true;
  bool low = row->flags & SPEC_ABOVE ? value > row->min : value >= row->min;
  bool high = row->max == 0 || value <= row->max;
  if (low && high)
    return true;
  const char *over = row->flags & SPEC_ABOVE ? "above" : "at least";
  char min[32], max[32];
  format_bound(row, row->min, min);
  format_bound(row, row->max, max);
  if (row->max == 0)
    spec_problem_add(r->errors, node, path, NULL, "%s must be %s %s", path, over, min);
  else
    spec_problem_add(r->errors, node, path, NULL, "%s must be %s %s and at most %s", path, over, min, max);
  return false;
}

static bool has_items(struct spec_reader *r, const struct spec_row *row, const struct ynode *node, const char *path, size_t count) {
  double most = row->max > 0 ? row->max : INFINITY;
  if ((double)count >= row->min && (double)count <= most)
    return true;
  if ((double)count < row->min)
    spec_problem_add(r->errors, node, path, NULL, "%s must have at least %.15g item%s", path, row->min, row->min == 1 ? "" : "s");
  else
    spec_problem_add(r->errors, node, path, NULL, "%s must have at most %.15g items, and has %zu", path, most, count);
  return false;
}

/* Index of the word, or -1 after a complaint that lists the words. */
static int read_choice(struct spec_reader *r, const struct spec_row *row, const struct ynode *node, const char *path) {
  size_t count = 0;
  for (; row->choices[count]; count++)
    if (ynode_is_scalar(node) && str_is(node->text, row->choices[count]))
      return (int)count;
  AUTO_BUF struct buf words = BUF_INIT(300);
  for (size_t i = 0; i < count; i++)
    buf_printf(&words, "%s%s", i == 0 ? "" : i + 1 == count ? " or " : ", ", row->choices[i]);
  const char *near = ynode_is_scalar(node) ? str_nearest_of(node->text, row->choices, count) : NULL;
  AUTO_BUF struct buf hint = BUF_INIT(200);
  if (near)
    buf_printf(&hint, "did you mean \"%s\"?", near);
  if (ynode_is_scalar(node))
    spec_problem_add(r->errors, node, path, buf_text(&hint), "%s cannot be \"%.*s\"; it is %s", path, STR_ARG(str_slice(node->text, 0, 60)),
                     buf_text(&words));
  else
    spec_problem_add(r->errors, node, path, NULL, "%s must be %s, not %s", path, buf_text(&words), ynode_kind_word(node));
  return -1;
}

static bool read_flags(struct spec_reader *r, const struct spec_row *row, const struct ynode *node, const char *path, unsigned *ret) {
  unsigned flags = 0;
  size_t count = node->kind == YN_LIST ? node->count : 1;
  for (size_t i = 0; i < count; i++) {
    int choice = node->kind == YN_LIST ? read_choice(r, row, node->items[i], join_index(r, path, i)) : read_choice(r, row, node, path);
    if (choice < 0)
      return false;
    flags |= 1u << choice;
  }
  *ret = flags;
  return true;
}

static bool text_of(struct spec_reader *r, const struct ynode *node, const char *path, struct str *ret) {
  if (!ynode_is_scalar(node) || (node->kind == YN_NULL && !node->quoted)) {
    wrong_kind(r, node, path, "text");
    return false;
  }
  *ret = node->text;
  return true;
}

static bool read_texts(struct spec_reader *r, const struct spec_row *row, const struct ynode *node, const char *path,
                       struct spec_texts *ret) {
  bool list = node->kind == YN_LIST;
  if (!list && row->type == SPEC_ARGV) {
    spec_problem_add(r->errors, node, path, "[\"python3\", \"train.py\", \"${args}\"] is one",
                     "%s must be a list, one item an argument: there is no shell to split it", path);
    return false;
  }
  size_t count = list ? node->count : 1;
  struct str *items = ARENA_NEW_ARRAY(r->arena, struct str, count ? count : 1);
  if (!items) {
    r->errors->no_memory = true;
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    const struct ynode *item = list ? node->items[i] : node;
    const char *item_path = list ? join_index(r, path, i) : path;
    if (!text_of(r, item, item_path, &items[i]))
      return false;
    if (items[i].n == 0 && row->type != SPEC_ARGV) {
      spec_problem_add(r->errors, item, item_path, NULL, "%s is empty", item_path);
      return false;
    }
  }
  if (!has_items(r, row, node, path, count))
    return false;
  *ret = (struct spec_texts){items, count};
  return true;
}

static bool read_pairs(struct spec_reader *r, const struct ynode *node, const char *path, struct spec_pairs *ret) {
  if (node->kind != YN_MAP) {
    wrong_kind(r, node, path, "a map of names to texts");
    return false;
  }
  struct spec_pair *items = ARENA_NEW_ARRAY(r->arena, struct spec_pair, node->count ? node->count : 1);
  if (!items) {
    r->errors->no_memory = true;
    return false;
  }
  for (size_t i = 0; i < node->count; i++) {
    items[i].name = node->pairs[i].key->text;
    if (!text_of(r, node->pairs[i].value, join(r, path, items[i].name.p), &items[i].value))
      return false;
  }
  *ret = (struct spec_pairs){items, node->count};
  return true;
}

static bool read_objects(struct spec_reader *r, const struct spec_row *row, const struct ynode *node, const char *path,
                         struct spec_objects *ret) {
  bool list = node->kind == YN_LIST;
  size_t count = list ? node->count : 1;
  char *items = arena_array(r->arena, count ? count : 1, row->sub->size);
  if (!items) {
    r->errors->no_memory = true;
    return false;
  }
  for (size_t i = 0; i < count; i++)
    spec_read(r, row->sub, list ? node->items[i] : node, list ? join_index(r, path, i) : path, items + i * row->sub->size);
  *ret = (struct spec_objects){items, count};
  return has_items(r, row, node, path, count);
}

static bool read_bool(struct spec_reader *r, const struct ynode *node, const char *path, bool *ret) {
  if (node->kind == YN_BOOL) {
    *ret = node->boolean;
    return true;
  }
  bool meant;
  if (ynode_is_scalar(node) && str_to_bool(node->text, &meant))
    spec_problem_add(r->errors, node, path, meant ? "write true" : "write false", "%s must be true or false, not \"%.*s\"", path,
                     STR_ARG(node->text));
  else
    wrong_kind(r, node, path, "true or false");
  return false;
}

static bool read_int(struct spec_reader *r, const struct spec_row *row, const struct ynode *node, const char *path, int64_t *ret) {
  int64_t value;
  if (!ynode_integer(node, &value)) {
    wrong_kind(r, node, path, "a whole number");
    return false;
  }
  if (!in_bounds(r, row, node, path, (double)value))
    return false;
  *ret = value;
  return true;
}

static bool read_number(struct spec_reader *r, const struct spec_row *row, const struct ynode *node, const char *path, double *ret) {
  double value;
  if (!ynode_number(node, &value)) {
    wrong_kind(r, node, path, "a number");
    return false;
  }
  if (isnan(value)) {
    spec_problem_add(r->errors, node, path, NULL, "%s cannot be NaN", path);
    return false;
  }
  if (!in_bounds(r, row, node, path, value))
    return false;
  *ret = value;
  return true;
}

static bool read_duration(struct spec_reader *r, const struct spec_row *row, const struct ynode *node, const char *path, int64_t *ret) {
  int64_t ms;
  if (!ynode_is_scalar(node) || !str_to_duration_ms(node->text, &ms)) {
    spec_problem_add(r->errors, node, path, NULL, "%s must be a duration such as 90s, 30m, 2h or 1d (a bare number is seconds)", path);
    return false;
  }
  if (!in_bounds(r, row, node, path, (double)ms))
    return false;
  *ret = ms;
  return true;
}

static bool read_size(struct spec_reader *r, const struct spec_row *row, const struct ynode *node, const char *path, uint64_t *ret) {
  uint64_t bytes;
  if (!ynode_is_scalar(node) || !str_to_size(node->text, &bytes)) {
    spec_problem_add(r->errors, node, path, NULL, "%s must be a size such as 512MB or 2GiB (a bare number is bytes)", path);
    return false;
  }
  if (!in_bounds(r, row, node, path, (double)bytes))
    return false;
  *ret = bytes;
  return true;
}

static bool read_value(struct spec_reader *r, const struct spec_row *row, const struct ynode *node, const char *path, void *object) {
  switch (row->type) {
  case SPEC_TEXT: {
    struct str text;
    if (!text_of(r, node, path, &text))
      return false;
    if (text.n == 0 || (row->max != 0 && (double)text.n > row->max)) {
      spec_problem_add(r->errors, node, path, NULL, text.n ? "%s is too long" : "%s is empty", path);
      return false;
    }
    *FIELD(object, row, struct str) = text;
    return true;
  }
  case SPEC_BOOL:
    return read_bool(r, node, path, FIELD(object, row, bool));
  case SPEC_INT:
    return read_int(r, row, node, path, FIELD(object, row, int64_t));
  case SPEC_NUMBER:
    return read_number(r, row, node, path, FIELD(object, row, double));
  case SPEC_DURATION:
    return read_duration(r, row, node, path, FIELD(object, row, int64_t));
  case SPEC_SIZE:
    return read_size(r, row, node, path, FIELD(object, row, uint64_t));
  case SPEC_CHOICE: {
    int choice = read_choice(r, row, node, path);
    if (choice < 0)
      return false;
    *FIELD(object, row, int) = choice;
    return true;
  }
  case SPEC_FLAGS:
    return read_flags(r, row, node, path, FIELD(object, row, unsigned));
  case SPEC_TEXTS:
  case SPEC_ARGV:
    return read_texts(r, row, node, path, FIELD(object, row, struct spec_texts));
  case SPEC_PAIRS:
    return read_pairs(r, node, path, FIELD(object, row, struct spec_pairs));
  case SPEC_OBJECT:
    spec_read(r, row->sub, node, path, FIELD(object, row, char));
    return true;
  case SPEC_OBJECTS:
    return read_objects(r, row, node, path, FIELD(object, row, struct spec_objects));
  case SPEC_TREE:
    *FIELD(object, row, const struct ynode *) = node;
    return true;
  }
  return false;
}

static const struct spec_row *find_row(const struct spec_table *table, struct str key) {
  for (size_t i = 0; i < table->count; i++)
    if (str_is(key, table->rows[i].key) || (table->rows[i].alias && str_is(key, table->rows[i].alias)))
      return &table->rows[i];
  return NULL;
}

static bool belongs(const struct spec_table *table, const struct spec_row *row, const void *object) {
  return !row->only || (row->only >> *CONST_FIELD(object, &table->rows[0], int)) & 1;
}

static const char *key_at(const void *ctx, size_t i) {
  const struct spec_table *table = ctx;
  return i < table->count ? table->rows[i].key : table->rows[i - table->count].alias;
}

/* What other tools call it, or where it belongs. */
static const struct foreign_word {
  const char *words;  /* with a space on each side */
  const char *key;    /* that the table must have */
  const char *advice; /* NULL: did you mean the key? */
} foreign_words[] = {
    {" early_stopping early_termination early_stop stopper pruner stopping ", "early_terminate", NULL},
    {" search_space space params hyperparameters hyperparams param_space ", "parameters", NULL},
    {" script entrypoint entry_point file ", "program", NULL},
    {" cmd args arguments run ", "command", NULL},
    {" objective metrics ", "metric", NULL},
    {" algorithm strategy search_alg search_algorithm sampling_algorithm ", "method", NULL},
    {" count max_trials n_trials num_trials trials max_runs num_samples max_total_trials max_evals budget ", "run_cap", NULL},
    {" n_jobs parallel parallelism workers concurrency max_concurrent max_concurrent_trials max_concurrent_runs ", "max_parallel", NULL},
    {" timeout time_limit time_budget max_duration ", "max_time", NULL},
    {" cwd dir working_dir working_directory code ", "workdir", NULL},
    {" environment env_vars environment_variables ", "env", NULL},
    {" gpus gpu num_gpus cpus slots memory ", "resources", "write resources: {slots: 1}; a slot is a GPU, or a share of the cores"},
    {" seed random_seed random_state ", "sampler", "write sampler: {seed: 7}"},
    {" goal target ", "metric", "it belongs below metric; check the indentation"},
    {" direction mode ", "metric", "write metric: {name: loss, goal: minimize}"},
    {" direction mode ", "goal", NULL},
    {" n_startup_trials n_initial_points initial_points ", "n_startup", NULL},
    {" min max values value distribution q ", "parameters", "it belongs below the name of a parameter; check the indentation"},
    {" reduction_factor factor halving_rate ", "eta", NULL},
    {" grace_period min_resource n_warmup_steps warmup ", "min_iter", NULL},
    {" max_t max_resource max_epochs ", "max_iter", NULL},
};

static const struct foreign_word *foreign_word(const struct spec_table *table, struct str key) {
  char word[40];
  if (key.n > sizeof word - 3)
    return NULL;
  snprintf(word, sizeof word, " %.*s ", STR_ARG(key));
  for (size_t i = 0; i < ARRAY_LEN(foreign_words); i++)
    if (strstr(foreign_words[i].words, word) && find_row(table, str_of(foreign_words[i].key)))
      return &foreign_words[i];
  return NULL;
}

static void list_keys(const struct spec_table *table, struct buf *out) {
  size_t left = 0;
  buf_puts(out, "known keys: ");
  for (size_t i = 0; i < table->count; i++) {
    if (table->rows[i].flags & SPEC_IGNORED)
      continue;
    if (out->n < 180)
      buf_printf(out, "%s%s", i ? ", " : "", table->rows[i].key);
    else
      left++;
  }
  if (left)
    buf_printf(out, " and %zu more, see docs/sweep-file.md", left);
}

static void unknown_key(struct spec_reader *r, const struct spec_table *table, const struct ynode *key, const char *path) {
  const struct foreign_word *foreign = foreign_word(table, key->text);
  const char *near = foreign ? foreign->key : str_nearest(key->text, table->count * 2, key_at, table);
  AUTO_BUF struct buf hint = BUF_INIT(400);
  if (foreign && foreign->advice)
    buf_puts(&hint, foreign->advice);
  else if (near)
    buf_printf(&hint, "did you mean \"%s\"?", near);
  else
    list_keys(table, &hint);
  spec_problem_add(r->errors, key, join(r, path, key->text.p), buf_text(&hint), "unknown key \"%.*s\"%s%s",
                   STR_ARG(str_slice(key->text, 0, 80)), path[0] ? " in " : "", path);
}

static void stray_key(struct spec_reader *r, const struct spec_table *table, const struct ynode *key, const char *path,
                      const void *object) {
  const char *kind = table->rows[0].choices[*CONST_FIELD(object, &table->rows[0], int)];
  AUTO_BUF struct buf hint = BUF_INIT(400);
  buf_printf(&hint, "%s takes: ", kind);
  bool first = true;
  for (size_t i = 1; i < table->count && hint.n < 200; i++)
    if (belongs(table, &table->rows[i], object)) {
      buf_printf(&hint, "%s%s", first ? "" : ", ", table->rows[i].key);
      first = false;
    }
  spec_problem_add(r->errors, key, join(r, path, key->text.p), first ? NULL : buf_text(&hint), "\"%.*s\" does not belong to %s %s",
                   STR_ARG(key->text), table->rows[0].key, kind);
}

/* The default, through the same code as a value from the file. */
static void set_default(struct spec_reader *r, const struct spec_row *row, const char *path, void *object) {
  struct ynode *node = NULL;
  if (row->type == SPEC_OBJECT) {
    node = ynode_new_map(r->arena, NULL);
  } else if (row->default_text) {
    struct err err;
    if (!yaml_read(str_of(row->default_text), r->arena, &node, NULL, &err))
      node = NULL;
  } else {
    return;
  }
  if (!node)
    r->errors->no_memory = true;
  else if (row->type != SPEC_OBJECT)
    read_value(r, row, node, path, object);
  else
    for (size_t i = 0; i < row->sub->count; i++)
      set_default(r, &row->sub->rows[i], path, FIELD(object, row, char));
}

static void read_row(struct spec_reader *r, const struct spec_row *row, const struct ynode_pair *pair, const char *path, void *object) {
  pair->key->seen = true;
  const char *full = join(r, path, row->key);
  if (row->flags & SPEC_IGNORED) {
    spec_problem_add(r->warnings, pair->key, full, NULL, "\"%s\" is accepted and not used: %s", row->key, row->help);
    return;
  }
  if (pair->value->kind == YN_NULL && !pair->value->quoted && row->type != SPEC_TREE) {
    if (row->flags & SPEC_REQUIRED)
      wrong_kind(r, pair->value, full, "given");
    return; /* as if it were not there */
  }
  if (read_value(r, row, pair->value, full, object) && row->given_at)
    *(bool *)((char *)object + row->given_at) = true;
}

const struct spec_row *spec_bare_row(const struct spec_table *table) {
  for (size_t i = 0; i < table->count; i++)
    if (table->rows[i].flags & SPEC_BARE)
      return &table->rows[i];
  return NULL;
}

static const struct ynode_pair *pair_of(const struct ynode *map, const struct spec_row *row) {
  for (size_t i = 0; i < map->count; i++)
    if (str_is(map->pairs[i].key->text, row->key))
      return &map->pairs[i];
  return NULL;
}

static void read_map(struct spec_reader *r, const struct spec_table *table, const struct ynode *map, const char *path, void *object) {
  const struct ynode_pair *kind = pair_of(map, &table->rows[0]);
  bool variants = false;
  for (size_t i = 0; i < table->count; i++)
    variants |= table->rows[i].only != 0;
  if (variants && !kind)
    return;       /* the caller says that it is missing */
  if (variants) { /* the other keys depend on it */
    size_t before = r->errors->count;
    read_row(r, &table->rows[0], kind, path, object);
    if (r->errors->count != before)
      return;
  }
  for (size_t i = 0; i < map->count && r->errors->count < SPEC_PROBLEMS_MAX; i++) {
    const struct ynode_pair *pair = &map->pairs[i];
    const struct spec_row *row = find_row(table, pair->key->text);
    if (!row) {
      unknown_key(r, table, pair->key, path);
      continue;
    }
    if (variants && row == &table->rows[0])
      continue;
    if (row->alias && str_is(pair->key->text, row->alias) && pair_of(map, row)) {
      spec_problem_add(r->errors, pair->key, join(r, path, row->alias), NULL, "\"%s\" and \"%s\" are the same key; give one", row->alias,
                       row->key);
      continue;
    }
    if (!belongs(table, row, object))
      stray_key(r, table, pair->key, path, object);
    else
      read_row(r, row, pair, path, object);
  }
}

static void add_absent(struct spec_reader *reader, const struct ynode *node, const char *path, const char *key) {
  struct spec_problems *errors = reader->errors;
  spec_problem_add(errors, node, join(reader, path, key), NULL, "\"%s\" is missing%s%s", key, path[0] ? " in " : "", path);
  if (errors->count <= SPEC_PROBLEMS_MAX)
    errors->items[errors->count - 1].absent = true;
}

void spec_read(struct spec_reader *reader, const struct spec_table *table, const struct ynode *node, const char *path, void *ret_struct) {
  for (size_t i = 0; i < table->count; i++)
    set_default(reader, &table->rows[i], path, ret_struct);
  const struct spec_row *bare = spec_bare_row(table);
  if (node->kind == YN_MAP) {
    read_map(reader, table, node, path, ret_struct);
  } else if (bare && ynode_is_scalar(node) && node->kind != YN_NULL) {
    if (read_value(reader, bare, node, join(reader, path, bare->key), ret_struct) && bare->given_at)
      *(bool *)((char *)ret_struct + bare->given_at) = true;
  } else {
    wrong_kind(reader, node, path[0] ? path : "the file", "a map");
    return;
  }
  for (size_t i = 0; i < table->count; i++) {
    const struct spec_row *row = &table->rows[i];
    if ((row->flags & SPEC_REQUIRED) && (row != bare || node->kind == YN_MAP) && belongs(table, row, ret_struct) &&
        !(node->kind == YN_MAP && (pair_of(node, row) || (row->alias && ynode_peek(node, str_of(row->alias))))))
      add_absent(reader, node, path, row->key);
  }
}

bool spec_beyond_wandb(const struct spec_table *table, const struct ynode *map) {
  for (size_t i = 0; map->kind == YN_MAP && i < map->count; i++) {
    const struct spec_row *row = find_row(table, map->pairs[i].key->text);
    if (!row || !(row->flags & SPEC_WANDB))
      return true;
  }
  return false;
}

/* ---- the normal form ---- */

static bool is_given(const struct spec_row *row, const void *object) {
  if (row->given_at)
    return *(const bool *)((const char *)object + row->given_at) || row->default_text;
  switch (row->type) {
  case SPEC_TEXT:
    return CONST_FIELD(object, row, struct str)->p != NULL;
  case SPEC_TEXTS:
  case SPEC_ARGV:
    return CONST_FIELD(object, row, struct spec_texts)->count || row->default_text;
  case SPEC_PAIRS:
    return CONST_FIELD(object, row, struct spec_pairs)->count != 0;
  case SPEC_OBJECTS:
    return CONST_FIELD(object, row, struct spec_objects)->count || row->default_text;
  case SPEC_TREE:
    return *CONST_FIELD(object, row, const struct ynode *) != NULL;
  default:
    return true;
  }
}

static void write_tree(const struct ynode *node, struct json_writer *w) {
  AUTO_JSON json_t *json = NULL;
  struct err err;
  if (ynode_to_json(node, &json, &err))
    jw_json(w, json);
  else
    w->out->fail = ERR_NO_MEMORY;
}

static void write_texts(const struct spec_texts *texts, struct json_writer *w) {
  jw_array(w);
  for (size_t i = 0; i < texts->count; i++)
    jw_str(w, texts->items[i]);
  jw_array_end(w);
}

static void write_value(const struct spec_row *row, const void *object, struct json_writer *w) {
  char text[32];
  switch (row->type) {
  case SPEC_TEXT:
    jw_str(w, *CONST_FIELD(object, row, struct str));
    break;
  case SPEC_BOOL:
    jw_bool(w, *CONST_FIELD(object, row, bool));
    break;
  case SPEC_INT:
    jw_i64(w, *CONST_FIELD(object, row, int64_t));
    break;
  case SPEC_NUMBER: {
    double value = *CONST_FIELD(object, row, double);
    if (isinf(value))
      jw_text(w, value < 0 ? "-.inf" : ".inf"); /* as text that reads as the number again */
    else
      jw_f64(w, value);
    break;
  }
  case SPEC_DURATION:
    spec_format_duration(*CONST_FIELD(object, row, int64_t), text);
    jw_text(w, text);
    break;
  case SPEC_SIZE:
    spec_format_size(*CONST_FIELD(object, row, uint64_t), text);
    jw_text(w, text);
    break;
  case SPEC_CHOICE:
    jw_text(w, row->choices[*CONST_FIELD(object, row, int)]);
    break;
  case SPEC_FLAGS:
    jw_array(w);
    for (size_t i = 0; row->choices[i]; i++)
      if (*CONST_FIELD(object, row, unsigned) >> i & 1)
        jw_text(w, row->choices[i]);
    jw_array_end(w);
    break;
  case SPEC_TEXTS:
  case SPEC_ARGV:
    write_texts(CONST_FIELD(object, row, struct spec_texts), w);
    break;
  case SPEC_PAIRS: {
    const struct spec_pairs *pairs = CONST_FIELD(object, row, struct spec_pairs);
    jw_object(w);
    for (size_t i = 0; i < pairs->count; i++) {
      jw_key_str(w, pairs->items[i].name);
      jw_str(w, pairs->items[i].value);
    }
    jw_object_end(w);
    break;
  }
  case SPEC_OBJECT:
    spec_write(row->sub, CONST_FIELD(object, row, char), w);
    break;
  case SPEC_OBJECTS: {
    const struct spec_objects *objects = CONST_FIELD(object, row, struct spec_objects);
    jw_array(w);
    for (size_t i = 0; i < objects->count; i++)
      spec_write(row->sub, (const char *)objects->items + i * row->sub->size, w);
    jw_array_end(w);
    break;
  }
  case SPEC_TREE:
    write_tree(*CONST_FIELD(object, row, const struct ynode *), w);
    break;
  }
}

void spec_write(const struct spec_table *table, const void *object, struct json_writer *w) {
  jw_object(w);
  for (size_t i = 0; i < table->count; i++) {
    const struct spec_row *row = &table->rows[i];
    if ((row->flags & SPEC_IGNORED) || !belongs(table, row, object) || !is_given(row, object))
      continue;
    if (!row->default_text && !row->given_at && row->type < SPEC_CHOICE && row->type != SPEC_TEXT && !(row->flags & SPEC_REQUIRED))
      continue; /* a number nobody gave and that has no default */
    jw_key(w, row->key);
    write_value(row, object, w);
  }
  jw_object_end(w);
}
