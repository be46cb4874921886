#include "sweeper/file/command.h"

#include <math.h>

/* ---- values as text ---- */

static void python_value(const json_t *value, bool nested, struct buf *out);

static void python_string(struct str s, struct buf *out) {
  char quote = str_find(s, '\'') != SIZE_MAX && str_find(s, '"') == SIZE_MAX ? '"' : '\'';
  buf_putc(out, quote);
  for (size_t i = 0; i < s.n; i++) {
    char c = s.p[i];
    if (c == quote || c == '\\')
      buf_printf(out, "\\%c", c);
    else if (c == '\n' || c == '\r' || c == '\t')
      buf_puts(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
    else if ((unsigned char)c < 0x20)
      buf_printf(out, "\\x%02x", (unsigned char)c);
    else
      buf_putc(out, c);
  }
  buf_putc(out, quote);
}

static void python_items(const json_t *value, struct buf *out) {
  bool list = json_is_array(value);
  size_t i;
  const char *key;
  json_t *item;
  bool first = true;
  buf_putc(out, list ? '[' : '{');
  if (list) {
    json_array_foreach(value, i, item) {
      buf_puts(out, i ? ", " : "");
      python_value(item, true, out);
    }
  } else {
    json_t *walk = (json_t *)(uintptr_t)value; /* jansson's iterators want a mutable object, but change nothing */
    json_object_foreach(walk, key, item) {
      buf_puts(out, first ? "" : ", ");
      first = false;
      python_string(str_of(key), out);
      buf_puts(out, ": ");
      python_value(item, true, out);
    }
  }
  buf_putc(out, list ? ']' : '}');
}

static void number_text(const json_t *value, struct buf *out) {
  char text[32];
  if (json_is_integer(value))
    buf_add_i64(out, json_integer_value(value));
  else
    buf_add(out, text, str_from_f64(json_real_value(value), text));
}

/* As Python's str(). */
static void python_value(const json_t *value, bool nested, struct buf *out) {
  switch (value ? json_typeof(value) : JSON_NULL) {
  case JSON_OBJECT:
  case JSON_ARRAY:
    python_items(value, out);
    break;
  case JSON_STRING:
    if (nested)
      python_string(json_str(value), out);
    else
      buf_add_str(out, json_str(value));
    break;
  case JSON_INTEGER:
  case JSON_REAL:
    number_text(value, out);
    break;
  case JSON_TRUE:
    buf_puts(out, "True");
    break;
  case JSON_FALSE:
    buf_puts(out, "False");
    break;
  case JSON_NULL:
    buf_puts(out, "None");
    break;
  }
}

void command_json(const json_t *params, struct buf *out) {
  struct json_writer w;
  jw_init(&w, out);
  jw_json(&w, params);
}

void command_value(const json_t *value, int style, struct buf *out) {
  if (style == ARGS_PYTHON)
    python_value(value, false, out);
  else if (json_is_string(value))
    buf_add_str(out, json_str(value));
  else if (json_is_number(value))
    number_text(value, out);
  else
    command_json(value, out);
}

void command_wandb_file(const json_t *params, struct buf *out) {
  const char *key;
  json_t *value;
  json_t *walk = (json_t *)(uintptr_t)params; /* as above */
  json_object_foreach(walk, key, value) {
    json_quote(out, str_of(key));
    buf_puts(out, ":\n  value: ");
    command_json(value, out);
    buf_putc(out, '\n');
  }
}

/* ---- names ---- */

void command_param_name(struct str name, struct buf *out) {
  buf_puts(out, "PARAM_");
  for (size_t i = 0; i < name.n; i++) {
    unsigned char c = (unsigned char)name.p[i];
    buf_putc(out, isalnum(c) && c < 0x80 ? (char)toupper(c) : '_');
  }
}

/* The value of "a" or "outer.inner"; a key that holds dots itself goes first. */
static const json_t *param_at(const json_t *params, struct str name) {
  char key[256];
  if (!json_is_object(params) || name.n >= sizeof key)
    return NULL;
  memcpy(key, name.p, name.n);
  key[name.n] = 0;
  const json_t *value = json_object_get(params, key);
  for (size_t i = name.n; !value && i-- > 0;) {
    if (name.p[i] != '.')
      continue;
    key[i] = 0;
    const json_t *outer = json_object_get(params, key);
    key[i] = '.';
    if (outer)
      value = param_at(outer, str_slice(name, i + 1, name.n));
  }
  return value;
}

struct flat {
  struct str name; /* "H.LR" */
  const json_t *value;
};

struct flat_list {
  size_t count;
  struct flat items[1024];
};

/* Its room is not touched before it is used. */
static struct flat_list *flat_list_new(struct arena *arena) {
  struct flat_list *list = arena_alloc(arena, sizeof *list);
  if (list)
    list->count = 0;
  return list;
}

/* Nested objects as dotted names, outermost first. The dots are only ours: PARAM_ joins with two underscores. */
static bool flatten(const json_t *params, struct str prefix, unsigned depth, struct arena *arena, struct flat_list *out) {
  const char *key;
  json_t *value;
  json_t *walk = (json_t *)(uintptr_t)params; /* as above */
  json_object_foreach(walk, key, value) {
    char *name = prefix.n ? arena_printf(arena, "%.*s\x1f%s", STR_ARG(prefix), key) : arena_strdup(arena, str_of(key));
    if (!name || out->count == ARRAY_LEN(out->items))
      return false;
    out->items[out->count++] = (struct flat){str_of(name), value};
    if (json_is_object(value) && depth < 8 && !flatten(value, str_of(name), depth + 1, arena, out))
      return false;
  }
  return true;
}

static void flat_param_name(struct str name, struct buf *out) {
  struct str part;
  bool first = true;
  while (str_split(&name, '\x1f', &part)) {
    AUTO_BUF struct buf word = BUF_INIT(1024);
    command_param_name(part, &word);
    if (first)
      buf_add_str(out, buf_str(&word));
    else
      buf_printf(out, "__%s", buf_text(&word) + strlen("PARAM_"));
    first = false;
  }
}

/* ---- one item ---- */

/* The PARAM_ names of a point, made when the first is met. */
struct words {
  const struct command_point *point;
  struct arena *arena;
  struct flat_list *flats;
  struct str *names;
};

struct builder {
  const struct command_point *point;
  struct words words;
  struct arena *arena;
  struct spec_texts out;
  size_t cap, total;
  struct err *err;
};

static bool add_argument(struct builder *b, struct str text) {
  if (text.n > COMMAND_ITEM_MAX || b->total + text.n > COMMAND_TOTAL_MAX || b->out.count >= COMMAND_ITEMS_MAX)
    return err_set(b->err, ERR_TOO_LARGE, "the command line is too long");
  if (b->out.count == b->cap) {
    size_t cap = b->cap ? b->cap * 2 : 32;
    struct str *items = ARENA_NEW_ARRAY(b->arena, struct str, cap);
    if (!items)
      return err_no_memory(b->err);
    if (b->out.count)
      memcpy(items, b->out.items, b->out.count * sizeof *items);
    b->out.items = items;
    b->cap = cap;
  }
  char *copy = arena_strdup(b->arena, text);
  if (!copy)
    return err_no_memory(b->err);
  b->out.items[b->out.count++] = str_n(copy, text.n);
  b->total += text.n + 1;
  return true;
}

static struct str variable(const struct spec_pairs *variables, struct str name) {
  for (size_t i = variables ? variables->count : 0; i-- > 0;)
    if (str_eq(variables->items[i].name, name))
      return variables->items[i].value;
  return name;
}

static bool is_word(char c) {
  return isalnum((unsigned char)c) || c == '_';
}

/* `{{ name }}` at the start of s: its length, or 0 when it is no placeholder. */
static size_t placeholder(struct str s, struct str *ret_name) {
  if (!str_starts(s, STR("{{")))
    return 0;
  size_t close = str_find_str(s, STR("}}"));
  if (close == SIZE_MAX)
    return 0;
  struct str name = str_trim(str_slice(s, 2, close));
  if (!name.n || !(isalpha((unsigned char)name.p[0]) || name.p[0] == '_'))
    return 0;
  for (size_t i = 0; i < name.n; i++)
    if (!is_word(name.p[i]) && name.p[i] != '.' && name.p[i] != '-')
      return 0;
  *ret_name = name;
  return close + 2;
}

static size_t env_macro(struct str s, struct str *ret_name) {
  static const struct str open = {"${envvar:", 9};
  if (!str_starts(s, open))
    return 0;
  size_t n = open.n;
  while (n < s.n && ((s.p[n] >= 'A' && s.p[n] <= 'Z') || isdigit((unsigned char)s.p[n]) || s.p[n] == '_'))
    n++;
  if (n == s.n || s.p[n] != '}')
    return 0;
  *ret_name = str_slice(s, open.n, n);
  return n + 1;
}

static bool words_make(struct words *w, struct err *err) {
  w->flats = flat_list_new(w->arena);
  if (!w->flats)
    return err_no_memory(err);
  if (!flatten(w->point->params, STR_NONE, 0, w->arena, w->flats))
    return err_set(err, ERR_TOO_LARGE, "a point has more than %zu values", ARRAY_LEN(w->flats->items));
  w->names = ARENA_NEW_ARRAY(w->arena, struct str, w->flats->count + 1);
  for (size_t i = 0; w->names && i < w->flats->count; i++) {
    AUTO_BUF struct buf name = BUF_INIT(4 * KIB);
    flat_param_name(w->flats->items[i].name, &name);
    char *copy = buf_ok(&name, err) ? arena_strdup(w->arena, buf_str(&name)) : NULL;
    if (!copy)
      return err_no_memory(err);
    w->names[i] = str_of(copy);
  }
  return w->names ? true : err_no_memory(err);
}

/* The value of the parameter whose PARAM_ name is exactly this word; *ret is NULL when there is none. */
static bool words_find(struct words *w, struct str word, const json_t **ret, struct err *err) {
  *ret = NULL;
  if (!w->names && !words_make(w, err))
    return false;
  for (size_t i = 0; i < w->flats->count; i++)
    if (str_eq(w->names[i], word))
      *ret = w->flats->items[i].value;
  return true;
}

/* A PARAM_ word at `at` of the item: its length, or 0. */
static size_t param_word(struct str item, size_t at) {
  if (!str_starts(str_slice(item, at, item.n), STR("PARAM_")))
    return 0;
  if (at > 0 && (is_word(item.p[at - 1]) || item.p[at - 1] == '$' || (at > 1 && item.p[at - 1] == '{' && item.p[at - 2] == '$')))
    return 0;
  size_t n = 0;
  while (at + n < item.n && is_word(item.p[at + n]))
    n++;
  return n;
}

/* Fills in what may stand anywhere in a text. *ret_active is false when it names a parameter that is not active here. */
static bool fill_text(struct words *words, struct str item, struct buf *out, bool *ret_active, struct err *err) {
  const struct command_point *point = words->point;
  *ret_active = true;
  for (size_t i = 0; i < item.n;) {
    struct str rest = str_slice(item, i, item.n), name;
    size_t n;
    if ((n = env_macro(rest, &name))) {
      buf_add_str(out, variable(point->variables, name));
    } else if ((n = placeholder(rest, &name))) {
      const json_t *value = param_at(point->params, name);
      if (value)
        command_value(value, point->style, out);
      else
        *ret_active = false;
    } else if ((n = param_word(item, i))) {
      const json_t *value;
      if (!words_find(words, str_slice(item, i, i + n), &value, err))
        return false;
      if (value)
        command_value(value, point->style, out);
      else
        buf_add_str(out, str_slice(item, i, i + n));
    } else {
      buf_putc(out, item.p[i]);
      n = 1;
    }
    i += n;
  }
  return buf_ok(out, err);
}

static bool add_text(struct builder *b, struct str item) {
  AUTO_BUF struct buf text = BUF_INIT(COMMAND_TOTAL_MAX);
  bool active;
  if (!fill_text(&b->words, item, &text, &active, b->err))
    return false;
  return active ? add_argument(b, buf_str(&text)) : true;
}

/* ---- the macros ---- */

/* One argument or two from a parameter; all the ${args…} differ only in this. */
struct args_form {
  const char *before;  /* the name */
  const char *between; /* NULL: name and value are two arguments */
  bool flags;          /* true becomes the bare name, false nothing */
};

static bool add_args(struct builder *b, const void *how) {
  const struct args_form *form = how;
  const char *key;
  json_t *value;
  json_t *walk = (json_t *)(uintptr_t)b->point->params; /* as above */
  json_object_foreach(walk, key, value) {
    if (form->flags && json_is_false(value))
      continue;
    AUTO_BUF struct buf text = BUF_INIT(COMMAND_TOTAL_MAX);
    buf_printf(&text, "%s%s", form->before, key);
    bool alone = form->flags && json_is_true(value);
    if (!alone && !form->between) {
      if (!buf_ok(&text, b->err) || !add_argument(b, buf_str(&text)))
        return false;
      buf_reset(&text);
    }
    if (!alone) {
      buf_puts(&text, form->between ? form->between : "");
      command_value(value, b->point->style, &text);
    }
    if (!buf_ok(&text, b->err) || !add_argument(b, buf_str(&text)))
      return false;
  }
  return true;
}

static bool add_env(struct builder *b, const void *how) {
  (void)how;
  return add_argument(b, STR("/usr/bin/env"));
}

static bool add_interpreter(struct builder *b, const void *how) {
  (void)how;
  return add_argument(b, b->point->interpreter.p ? b->point->interpreter : STR("python"));
}

static bool add_program(struct builder *b, const void *how) {
  (void)how;
  if (!b->point->program.p)
    return err_set(b->err, ERR_INVALID, "the command uses ${program}, but there is no program");
  return add_argument(b, b->point->program);
}

static bool add_json(struct builder *b, const void *how) {
  (void)how;
  AUTO_BUF struct buf text = BUF_INIT(COMMAND_TOTAL_MAX);
  command_json(b->point->params, &text);
  return buf_ok(&text, b->err) && add_argument(b, buf_str(&text));
}

static bool add_json_file(struct builder *b, const void *how) {
  (void)how;
  if (!b->point->json_file.p)
    return err_set(b->err, ERR_INVALID, "${args_json_file} has no file here");
  return add_argument(b, b->point->json_file);
}

static const struct macro {
  const char *name;
  bool (*add)(struct builder *b, const void *how);
  struct args_form form;
} macros[] = {
    {"env", add_env, {0}},
    {"interpreter", add_interpreter, {0}},
    {"program", add_program, {0}},
    {"args", add_args, {"--", "=", false}},
    {"args_no_equals", add_args, {"--", NULL, false}},
    {"args_no_hyphens", add_args, {"", "=", false}},
    {"args_append_hydra", add_args, {"+", "=", false}},
    {"args_override_hydra", add_args, {"++", "=", false}},
    {"args_no_boolean_flags", add_args, {"--", "=", true}},
    {"args_json", add_json, {0}},
    {"args_json_file", add_json_file, {0}},
};

static const char *macro_name_at(const void *ctx, size_t i) {
  (void)ctx;
  return macros[i].name;
}

/* "${x}" and nothing else: x. */
static bool exact_macro(struct str item, struct str *ret_name) {
  if (!str_starts(item, STR("${")) || !str_ends(item, STR("}")) || str_find(item, '}') != item.n - 1)
    return false;
  *ret_name = str_slice(item, 2, item.n - 1);
  return !str_starts(*ret_name, STR("envvar:"));
}

static const struct macro *find_macro(struct str name) {
  for (size_t i = 0; i < ARRAY_LEN(macros); i++)
    if (str_is(name, macros[i].name))
      return &macros[i];
  return NULL;
}

bool command_build(const struct spec_texts *command, const struct command_point *point, struct arena *arena, struct spec_texts *ret,
                   struct err *err) {
  struct builder b = {.point = point, .words = {.point = point, .arena = arena}, .arena = arena, .err = err};
  for (size_t i = 0; i < command->count; i++) {
    struct str name;
    const struct macro *macro = exact_macro(command->items[i], &name) ? find_macro(name) : NULL;
    if (macro ? !macro->add(&b, &macro->form) : !add_text(&b, command->items[i]))
      return false;
  }
  if (!b.out.count)
    return err_set(err, ERR_INVALID, "the command is empty");
  *ret = b.out;
  return true;
}

/* ---- checking at submit ---- */

static const char *const *parameter_names(const json_t *parameters, const char **names, size_t room, size_t *ret_count) {
  size_t count = 0;
  const char *key;
  json_t *value;
  json_t *walk = (json_t *)(uintptr_t)parameters; /* as above */
  json_object_foreach(walk, key, value) {
    if (count < room)
      names[count++] = key;
  }
  *ret_count = count;
  return names;
}

static bool is_parameter(const json_t *parameters, struct str name);

/* A nested parameter is defined in `parameters`, in an alternative of `choices`, or by the maps of `value` and `values`. */
static bool defines(const json_t *outer, struct str inner) {
  size_t i;
  json_t *item;
  if (is_parameter(json_object_get(outer, "parameters"), inner) || param_at(json_object_get(outer, "value"), inner))
    return true;
  json_array_foreach(json_object_get(outer, "choices"), i, item) {
    if (is_parameter(json_object_get(item, "parameters"), inner))
      return true;
  }
  json_array_foreach(json_object_get(outer, "values"), i, item) {
    if (param_at(item, inner))
      return true;
  }
  return false;
}

static bool is_parameter(const json_t *parameters, struct str name) {
  char key[256];
  if (!json_is_object(parameters) || name.n >= sizeof key)
    return false;
  memcpy(key, name.p, name.n);
  key[name.n] = 0;
  if (json_object_get(parameters, key))
    return true;
  for (size_t i = 0; i < name.n; i++) {
    if (key[i] != '.')
      continue;
    key[i] = 0;
    const json_t *outer = json_object_get(parameters, key);
    key[i] = '.';
    if (outer && defines(outer, str_slice(name, i + 1, name.n)))
      return true;
  }
  return false;
}

bool command_check_item(struct str item, const json_t *parameters, struct err *err) {
  struct str name;
  if (exact_macro(item, &name) && !find_macro(name)) {
    err_set(err, ERR_INVALID, "the macro \"%.*s\" is not known", STR_ARG(item));
    const char *near = str_nearest(name, ARRAY_LEN(macros), macro_name_at, NULL);
    return near ? err_hint(err, "did you mean \"${%s}\"? a variable is ${envvar:NAME}", near)
                : err_hint(err, "a variable is ${envvar:NAME}");
  }
  for (size_t i = 0; i < item.n;) {
    size_t n = placeholder(str_slice(item, i, item.n), &name);
    if (n && !is_parameter(parameters, name)) {
      const char *names[256];
      size_t count;
      parameter_names(parameters, names, ARRAY_LEN(names), &count);
      const char *near = str_nearest_of(name, names, count);
      err_set(err, ERR_INVALID, "{{%.*s}} is no parameter", STR_ARG(str_slice(name, 0, 100)));
      return near ? err_hint(err, "did you mean \"{{%.100s}}\"?", near) : false;
    }
    i += n ? n : 1;
  }
  return true;
}

bool command_check(const struct spec_texts *command, const json_t *parameters, struct err *err) {
  for (size_t i = 0; i < command->count; i++)
    if (!command_check_item(command->items[i], parameters, err))
      return err_prefix(err, "command[%zu]", i);
  return true;
}

/* ---- the environment ---- */

/* A name that ends in * is a prefix. */
static const char *const allowed[] = {
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "PATH",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TERM",
    "TMPDIR",
    "HOSTNAME",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "CUDA_HOME",
    "CUDA_PATH",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
};

bool command_inherits(struct str name, const struct spec_texts *also) {
  if (str_starts(name, STR("WINNOW_")))
    return false;
  for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
    struct str pattern = str_of(allowed[i]);
    bool prefix = str_ends(pattern, STR("*"));
    if (prefix ? str_starts(name, str_slice(pattern, 0, pattern.n - 1)) : str_eq(name, pattern))
      return true;
  }
  for (size_t i = 0; also && i < also->count; i++)
    if (str_eq(also->items[i], name))
      return true;
  return false;
}

bool command_keeps(struct str name) {
  return str_starts(name, STR("WINNOW_")) || str_starts(name, STR("PARAM_"));
}

enum { ENV_FIRST = 64, ENV_MAX = 8192 };

struct env {
  struct arena *arena;
  struct spec_pair *items;
  size_t count, cap;
  size_t total;
  struct err *err;
};

/* For one more. */
static bool has_room(struct env *e) {
  if (e->count < e->cap)
    return true;
  size_t cap = e->cap ? e->cap * 2 : ENV_FIRST;
  struct spec_pair *items = ARENA_NEW_ARRAY(e->arena, struct spec_pair, cap);
  if (!items)
    return err_no_memory(e->err);
  if (e->count)
    memcpy(items, e->items, e->count * sizeof *items);
  e->items = items;
  e->cap = cap;
  return true;
}

static bool set(struct env *e, struct str name, struct str value) {
  size_t at = 0;
  while (at < e->count && !str_eq(e->items[at].name, name))
    at++;
  if (at == ENV_MAX || name.n + value.n + 1 > COMMAND_ITEM_MAX || e->total + name.n + value.n > COMMAND_TOTAL_MAX)
    return err_set(e->err, ERR_TOO_LARGE, "the environment is too large at %.*s", STR_ARG(str_slice(name, 0, 100)));
  char *name_copy = arena_strdup(e->arena, name), *value_copy = arena_strdup(e->arena, value);
  if (!name_copy || !value_copy)
    return err_no_memory(e->err);
  if (!has_room(e))
    return false;
  e->items[at] = (struct spec_pair){str_n(name_copy, name.n), str_n(value_copy, value.n)};
  e->total += name.n + value.n + 2;
  e->count += at == e->count;
  return true;
}

static bool set_given(struct env *e, const char *name, struct str value) {
  return !value.p || set(e, str_of(name), value);
}

static bool set_i64(struct env *e, const char *name, int64_t value) {
  char text[24];
  int n = snprintf(text, sizeof text, "%lld", (long long)value);
  return set(e, str_of(name), str_n(text, (size_t)n));
}

static bool set_inherited(struct env *e, const struct command_job *job) {
  for (size_t i = 0; job->inherited && i < job->inherited->count; i++)
    if (command_inherits(job->inherited->items[i].name, job->inherit_also) &&
        !set(e, job->inherited->items[i].name, job->inherited->items[i].value))
      return false;
  for (size_t i = 0; job->recorded && i < job->recorded->count; i++)
    if (!set(e, job->recorded->items[i].name, job->recorded->items[i].value))
      return false;
  return true;
}

static bool set_params(struct env *e, const struct command_point *point) {
  struct flat_list *flats = flat_list_new(e->arena);
  if (!flats)
    return err_no_memory(e->err);
  if (!flatten(point->params, STR_NONE, 0, e->arena, flats))
    return err_set(e->err, ERR_TOO_LARGE, "a point has more than %zu values", ARRAY_LEN(flats->items));
  for (size_t i = 0; i < flats->count; i++) {
    AUTO_BUF struct buf name = BUF_INIT(4 * KIB);
    AUTO_BUF struct buf azure = BUF_INIT(4 * KIB);
    AUTO_BUF struct buf value = BUF_INIT(COMMAND_TOTAL_MAX);
    flat_param_name(flats->items[i].name, &name);
    command_value(flats->items[i].value, point->style, &value);
    if (!buf_ok(&name, e->err) || !buf_ok(&value, e->err) || !set(e, buf_str(&name), buf_str(&value)))
      return false;
    buf_printf(&azure, "AZUREML_SWEEP_%.*s", STR_ARG(flats->items[i].name));
    bool top = str_find(flats->items[i].name, '\x1f') == SIZE_MAX && str_find(flats->items[i].name, '=') == SIZE_MAX;
    if (top && (!buf_ok(&azure, e->err) || !set(e, buf_str(&azure), buf_str(&value))))
      return false;
  }
  return true;
}

static bool set_job(struct env *e, const struct command_job *job, const struct command_point *point) {
  AUTO_BUF struct buf params = BUF_INIT(COMMAND_TOTAL_MAX);
  command_json(point->params, &params);
  bool sweep = job->sweep_id.p != NULL;
  return buf_ok(&params, e->err) && set(e, STR("PYTHONUNBUFFERED"), STR("1")) && set_given(e, "WINNOW_URL", job->url) &&
         set_given(e, "WINNOW_TOKEN", job->token) && set_given(e, "WINNOW_RUN_ID", job->run_id) &&
         set_given(e, "WINNOW_SWEEP_ID", job->sweep_id) && (!sweep || set_i64(e, "WINNOW_TRIAL", job->trial)) &&
         set_i64(e, "WINNOW_ATTEMPT", job->attempt) && set(e, STR("WINNOW_PARAMS"), buf_str(&params)) &&
         set_given(e, "WINNOW_CHECKPOINT_DIR", job->checkpoint_dir) && set_given(e, "MLFLOW_TRACKING_URI", job->url) &&
         set_given(e, "MLFLOW_TRACKING_TOKEN", job->token) && set_given(e, "MLFLOW_RUN_ID", job->run_id) &&
         set_given(e, "MLFLOW_EXPERIMENT_ID", job->experiment_id) && set_given(e, "MLFLOW_EXPERIMENT_NAME", job->experiment_name) &&
         set_given(e, "WANDB_SWEEP_ID", job->sweep_id) && (!sweep || set_given(e, "WANDB_RUN_ID", job->run_id)) &&
         (!sweep || set_given(e, "WANDB_SWEEP_PARAM_PATH", job->wandb_file));
}

static bool set_user(struct env *e, const struct command_job *job, const struct command_point *point) {
  struct words words = {.point = point, .arena = e->arena};
  for (size_t i = 0; job->user && i < job->user->count; i++) {
    AUTO_BUF struct buf value = BUF_INIT(COMMAND_TOTAL_MAX);
    bool active;
    if (!fill_text(&words, job->user->items[i].value, &value, &active, e->err))
      return false;
    if (active && !command_keeps(job->user->items[i].name) && !set(e, job->user->items[i].name, buf_str(&value)))
      return false;
  }
  return true;
}

static bool set_devices(struct env *e, const struct command_job *job) {
  for (size_t i = 0; job->devices && i < job->devices->count; i++)
    if (!set(e, job->devices->items[i].name, job->devices->items[i].value))
      return false;
  return true;
}

bool command_environment(const struct command_job *job, const struct command_point *point, struct arena *arena, struct spec_pairs *ret,
                         struct err *err) {
  struct env e = {.arena = arena, .err = err};
  if (!set_inherited(&e, job) || !set_job(&e, job, point) || !set_params(&e, point) || !set_user(&e, job, point) || !set_devices(&e, job))
    return false;
  *ret = (struct spec_pairs){e.items, e.count};
  return true;
}
