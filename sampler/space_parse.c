/* Builds a space from W&B's `parameters` grammar and ours. */
#include <ctype.h>
#include <math.h>
#include <stdarg.h>

#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "sampler/space_impl.h"

enum { SPACE_MEMORY_MAX = 256 << 20 };

struct builder {
  struct space *space;
  size_t cap;
  unsigned depth;
  struct err *err;
  space_mistake_fn *tell; /* NULL: the first mistake is the last */
  void *tell_ctx;
  bool mistaken;
};

/* Goes on behind the mistake in b->err where all of them are wanted. */
static bool pass_mistake(struct builder *b) {
  if (!b->tell || b->err->code != ERR_INVALID)
    return false;
  b->mistaken = true;
  return b->tell(b->tell_ctx, b->err);
}

/* `"path" what`, or `"path.key" what` */
static bool bad(struct builder *b, const char *path, const char *format, ...) PRINTF_LIKE(3, 4);
static bool bad(struct builder *b, const char *path, const char *format, ...) {
  char text[300];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return err_set(b->err, ERR_INVALID, "\"%s\" %s", path, text);
}

/* ---- the keys of a parameter ---- */

enum key {
  KEY_VALUE,
  KEY_VALUES,
  KEY_PROBABILITIES,
  KEY_MIN,
  KEY_MAX,
  KEY_Q,
  KEY_MU,
  KEY_SIGMA,
  KEY_A,
  KEY_B,
  KEY_STEP,
  KEY_COUNT,
  KEY_LOG,
  KEY_ORDERED,
  KEY_PARAMETERS,
  KEY_CHOICES,
  KEY_DISTRIBUTION,
  KEY_N
};

static const char *const key_names[KEY_N] = {"value",       "values", "probabilities", "min",   "max", "q",       "mu",         "sigma",
                                             "a",           "b",      "step",          "count", "log", "ordered", "parameters", "choices",
                                             "distribution"};

#define BIT(key) (1u << (key))
#define RANGE (BIT(KEY_MIN) | BIT(KEY_MAX))

enum form_flag {
  EXPONENTS = 1, /* bounds are natural logarithms */
  QUANTISED = 2, /* q, default 1 */
  WHOLE = 4,     /* bounds are whole numbers */
  INVERSE = 8,   /* of 1/x */
  ORDERED = 16,
};

struct form {
  const char *name;
  enum param_kind kind;
  enum dist_shape shape;
  unsigned flags;
  unsigned needs, allows; /* keys beyond `distribution` */
};

static const struct form forms[] = {
    {"constant", PARAM_CONSTANT, 0, 0, BIT(KEY_VALUE), 0},
    {"categorical", PARAM_CHOICE, 0, 0, BIT(KEY_VALUES), BIT(KEY_ORDERED) | BIT(KEY_PROBABILITIES)},
    {"categorical_w_probabilities", PARAM_CHOICE, 0, 0, BIT(KEY_VALUES) | BIT(KEY_PROBABILITIES), BIT(KEY_ORDERED)},
    {"ordinal", PARAM_CHOICE, 0, ORDERED, BIT(KEY_VALUES), BIT(KEY_ORDERED) | BIT(KEY_PROBABILITIES)},
    {"int_uniform", PARAM_NUMBER, DIST_UNIFORM, WHOLE, RANGE, BIT(KEY_STEP) | BIT(KEY_COUNT) | BIT(KEY_LOG)},
    {"int_log_uniform_values", PARAM_NUMBER, DIST_LOG_UNIFORM, WHOLE, RANGE, BIT(KEY_STEP) | BIT(KEY_COUNT) | BIT(KEY_LOG)},
    {"uniform", PARAM_NUMBER, DIST_UNIFORM, 0, RANGE, BIT(KEY_STEP) | BIT(KEY_COUNT) | BIT(KEY_LOG)},
    {"q_uniform", PARAM_NUMBER, DIST_UNIFORM, QUANTISED, RANGE, BIT(KEY_Q) | BIT(KEY_COUNT)},
    {"log_uniform", PARAM_NUMBER, DIST_LOG_UNIFORM, EXPONENTS, RANGE, BIT(KEY_COUNT)},
    {"log_uniform_values", PARAM_NUMBER, DIST_LOG_UNIFORM, 0, RANGE, BIT(KEY_STEP) | BIT(KEY_COUNT) | BIT(KEY_LOG)},
    {"q_log_uniform", PARAM_NUMBER, DIST_LOG_UNIFORM, EXPONENTS | QUANTISED, RANGE, BIT(KEY_Q) | BIT(KEY_COUNT)},
    {"q_log_uniform_values", PARAM_NUMBER, DIST_LOG_UNIFORM, QUANTISED, RANGE, BIT(KEY_Q) | BIT(KEY_COUNT)},
    {"inv_log_uniform", PARAM_NUMBER, DIST_LOG_UNIFORM, EXPONENTS | INVERSE, RANGE, BIT(KEY_COUNT)},
    {"inv_log_uniform_values", PARAM_NUMBER, DIST_LOG_UNIFORM, 0, RANGE, BIT(KEY_COUNT)}, /* log(1/x) is as even as log(x) */
    {"normal", PARAM_NUMBER, DIST_NORMAL, 0, 0, BIT(KEY_MU) | BIT(KEY_SIGMA) | RANGE | BIT(KEY_COUNT)},
    {"q_normal", PARAM_NUMBER, DIST_NORMAL, QUANTISED, 0, BIT(KEY_MU) | BIT(KEY_SIGMA) | RANGE | BIT(KEY_Q) | BIT(KEY_COUNT)},
    {"log_normal", PARAM_NUMBER, DIST_LOG_NORMAL, 0, 0, BIT(KEY_MU) | BIT(KEY_SIGMA) | RANGE | BIT(KEY_COUNT)},
    {"q_log_normal", PARAM_NUMBER, DIST_LOG_NORMAL, QUANTISED, 0, BIT(KEY_MU) | BIT(KEY_SIGMA) | RANGE | BIT(KEY_Q) | BIT(KEY_COUNT)},
    {"beta", PARAM_NUMBER, DIST_BETA, 0, 0, BIT(KEY_A) | BIT(KEY_B) | BIT(KEY_COUNT)},
    {"q_beta", PARAM_NUMBER, DIST_BETA, QUANTISED, 0, BIT(KEY_A) | BIT(KEY_B) | BIT(KEY_Q) | BIT(KEY_COUNT)},
};

static const char *form_name(const void *ctx UNUSED, size_t i) {
  return forms[i].name;
}

struct keys {
  const json_t *of[KEY_N];
  unsigned given;
};

/* What other tools say of a range. */
static bool hint_of_key(struct builder *b, const char *key) {
  static const struct {
    const char *words, *advice;
  } foreign[] = {
      {" low lower lower_bound min_value ", "did you mean \"min\"?"},
      {" high upper upper_bound max_value ", "did you mean \"max\"?"},
      {" condition conditions if when depends depends_on active_if ",
       "what it depends on stands beside `parameters`: conditions: [{if: \"a > 0.5\", then: [b]}]"},
      {" dist distrib ", "did you mean \"distribution\"?"},
      {" type ", "a range is {min: 0.0, max: 1.0}, a choice {values: [a, b]}; what else there is has a distribution"},
  };
  char word[40];
  const char *near = str_nearest_of(str_of(key), key_names, KEY_N);
  if (isdigit((unsigned char)key[0]))
    return err_hint(b->err, "a decimal number has a point: 0.1");
  snprintf(word, sizeof word, " %.37s ", key);
  for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
    if (strstr(foreign[i].words, word))
      return err_hint(b->err, "%s", foreign[i].advice);
  return near ? err_hint(b->err, "did you mean \"%s\"?", near) : false;
}

static bool read_keys(struct builder *b, const json_t *spec, const char *path, struct keys *ret) {
  if (!json_is_object(spec)) {
    bool is_list = json_is_array(spec);
    bad(b, path, "must be an object such as {\"min\": 0, \"max\": 1}");
    if (json_is_null(spec))
      return err_hint(b->err, "nothing is said of it: give a range or values");
    return err_hint(b->err, "for %s write it as {%s: ...}", is_list ? "one of these values" : "this value always",
                    is_list ? "values" : "value");
  }
  memset(ret, 0, sizeof *ret);
  const char *key;
  json_t *value;
  json_t *walk = (json_t *)(uintptr_t)spec; /* iterating changes nothing */
  json_object_foreach(walk, key, value) {
    size_t i = 0;
    while (i < KEY_N && strcmp(key_names[i], key) != 0)
      i++;
    if (i == KEY_N) {
      err_set(b->err, ERR_INVALID, "unknown key \"%s.%.100s\"", path, key);
      return hint_of_key(b, key);
    }
    if (json_is_null(value) && i != KEY_VALUE)
      return err_set(b->err, ERR_INVALID, "\"%s.%s\" must not be null", path, key);
    ret->of[i] = value;
    ret->given |= BIT(i);
  }
  return true;
}

/* A number, or a text that is one: some YAML readers hand over 1e-4 as text. */
static bool number_in(const json_t *value, double *ret) {
  if (json_is_string(value))
    return str_to_f64(json_str(value), ret) && !isnan(*ret);
  *ret = json_number_value(value);
  return json_is_number(value);
}

static bool is_whole(const json_t *value) {
  int64_t whole;
  return json_is_integer(value) || (json_is_string(value) && str_to_i64(json_str(value), &whole));
}

static bool get_number(struct builder *b, const struct keys *keys, enum key key, const char *path, double otherwise, double *ret) {
  *ret = otherwise;
  if (!keys->of[key] || number_in(keys->of[key], ret))
    return true;
  return err_set(b->err, ERR_INVALID, "\"%s.%s\" must be a number", path, key_names[key]);
}

static bool get_flag(struct builder *b, const struct keys *keys, enum key key, const char *path, bool *ret) {
  if (!keys->of[key])
    return true;
  if (!json_is_boolean(keys->of[key]))
    return err_set(b->err, ERR_INVALID, "\"%s.%s\" must be true or false", path, key_names[key]);
  *ret = json_is_true(keys->of[key]);
  return true;
}

/* Which form the keys mean when `distribution` does not say. */
static const char *implied_form(const struct keys *keys) {
  if (keys->of[KEY_VALUE])
    return "constant";
  if (keys->of[KEY_VALUES])
    return keys->of[KEY_PROBABILITIES] ? "categorical_w_probabilities" : "categorical";
  if (keys->of[KEY_MU] || keys->of[KEY_SIGMA])
    return keys->of[KEY_Q] ? "q_normal" : "normal";
  if (keys->of[KEY_A] || keys->of[KEY_B])
    return keys->of[KEY_Q] ? "q_beta" : "beta";
  if (keys->of[KEY_Q])
    return "q_uniform";
  if (keys->of[KEY_MIN] && keys->of[KEY_MAX] && is_whole(keys->of[KEY_MIN]) && is_whole(keys->of[KEY_MAX]) &&
      (!keys->of[KEY_STEP] || is_whole(keys->of[KEY_STEP])))
    return "int_uniform";
  return "uniform";
}

static bool choose_form(struct builder *b, const struct keys *keys, const char *path, const struct form **ret) {
  const json_t *given = keys->of[KEY_DISTRIBUTION];
  if (given && !json_is_string(given))
    return err_set(b->err, ERR_INVALID, "\"%s.distribution\" must be a text", path);
  const char *name = given ? json_string_value(given) : implied_form(keys);
  const struct form *form = NULL;
  for (size_t i = 0; i < ARRAY_LEN(forms) && !form; i++)
    if (strcmp(forms[i].name, name) == 0)
      form = &forms[i];
  if (!form) {
    err_set(b->err, ERR_INVALID, "\"%s.distribution\" is no distribution: \"%.60s\"", path, name);
    const char *near = str_nearest(str_of(name), ARRAY_LEN(forms), form_name, NULL);
    return near ? err_hint(b->err, "did you mean \"%s\"?", near) : false;
  }
  unsigned given_keys = keys->given & ~BIT(KEY_DISTRIBUTION);
  for (size_t i = 0; i < KEY_N; i++) {
    if (form->needs & ~given_keys & BIT(i))
      return err_set(b->err, ERR_INVALID, "\"%s.%s\" is missing", path, key_names[i]), err_hint(b->err, "\"%s\" needs it", form->name);
    if (given_keys & ~(form->needs | form->allows) & BIT(i))
      return err_set(b->err, ERR_INVALID, "\"%s.%s\" does not go with \"%s\"", path, key_names[i], form->name);
  }
  *ret = form;
  return true;
}

/* ---- numbers ---- */

static bool read_bounds(struct builder *b, const struct keys *keys, const struct form *form, const char *path, struct dist_spec *spec) {
  double low = form->shape == DIST_BETA ? 0 : -INFINITY, high = form->shape == DIST_BETA ? 1 : INFINITY;
  if (!get_number(b, keys, KEY_MIN, path, low, &spec->min) || !get_number(b, keys, KEY_MAX, path, high, &spec->max))
    return false;
  if ((form->flags & WHOLE) && !(is_whole(keys->of[KEY_MIN]) && is_whole(keys->of[KEY_MAX])))
    return bad(b, path, "must have whole numbers for \"min\" and \"max\"");
  if (form->flags & EXPONENTS) {
    if (fabs(spec->min) > 700 || fabs(spec->max) > 700)
      return bad(b, path, "has exponents that are too large");
    double from = exp(form->flags & INVERSE ? -spec->max : spec->min), to = exp(form->flags & INVERSE ? -spec->min : spec->max);
    spec->min = from, spec->max = to, spec->rounded = 1e-9;
  }
  return true;
}

static bool read_step(struct builder *b, const struct keys *keys, const struct form *form, const char *path, struct dist_spec *spec) {
  if (form->flags & QUANTISED) {
    if (!get_number(b, keys, KEY_Q, path, 1, &spec->quantum))
      return false;
    if (!(spec->quantum > 0) || isinf(spec->quantum))
      return err_set(b->err, ERR_INVALID, "\"%s.q\" must be above 0", path);
    spec->integer = spec->quantum == floor(spec->quantum);
    return true;
  }
  if (!get_number(b, keys, KEY_STEP, path, form->flags & WHOLE ? 1 : 0, &spec->step))
    return false;
  if (keys->of[KEY_STEP] && (!(spec->step > 0) || isinf(spec->step)))
    return err_set(b->err, ERR_INVALID, "\"%s.step\" must be above 0", path);
  spec->integer = form->flags & WHOLE;
  if (spec->integer && spec->step != floor(spec->step))
    return err_set(b->err, ERR_INVALID, "\"%s.step\" must be a whole number, as the bounds are", path);
  return true;
}

static json_t *number_to_json(const struct dist *dist, double value) {
  return dist->integer ? json_integer((json_int_t)value) : json_real(value);
}

/* A deviation of 0 leaves one value, the nearest multiple of a quantum; so does a range from a number to itself. */
static bool find_only_value(struct builder *b, const char *path, struct dist_spec *spec) {
  bool normal = spec->shape == DIST_NORMAL || spec->shape == DIST_LOG_NORMAL;
  if (normal && spec->sigma == 0 && isfinite(spec->mu)) {
    double value = spec->shape == DIST_LOG_NORMAL ? exp(spec->mu) : spec->mu;
    value = spec->quantum > 0 ? rint(value / spec->quantum) * spec->quantum : value;
    if (!isfinite(value) || value < spec->min || value > spec->max)
      return bad(b, path, "is not possible: with a \"sigma\" of 0 its one value, %g, is not from \"min\" to \"max\"", value);
    spec->min = spec->max = value;
  }
  if (spec->min == spec->max)
    spec->shape = DIST_UNIFORM;
  return true;
}

/* A range of one value is a constant. */
static bool make_constant(struct builder *b, struct space_param *param, json_t *value) {
  param->choices = ARENA_NEW_ARRAY(&b->space->arena, json_t *, 1);
  if (!param->choices || !value) {
    json_decref(value);
    param->choices = NULL;
    return err_no_memory(b->err);
  }
  param->choices[0] = value;
  param->public.kind = PARAM_CONSTANT;
  param->public.cells = param->public.grid = 1;
  param->public.even = true;
  return true;
}

static bool parse_number_param(struct builder *b, const struct keys *keys, const struct form *form, const char *path,
                               struct space_param *param) {
  struct dist_spec spec = {.shape = form->shape};
  bool log_scale = form->shape == DIST_LOG_UNIFORM;
  if (!read_bounds(b, keys, form, path, &spec) || !read_step(b, keys, form, path, &spec) ||
      !get_number(b, keys, KEY_MU, path, 0, &spec.mu) || !get_number(b, keys, KEY_SIGMA, path, 1, &spec.sigma) ||
      !get_number(b, keys, KEY_A, path, 1, &spec.alpha) || !get_number(b, keys, KEY_B, path, 1, &spec.beta) ||
      !get_flag(b, keys, KEY_LOG, path, &log_scale))
    return false;
  if (form->shape == DIST_UNIFORM && log_scale)
    spec.shape = DIST_LOG_UNIFORM;
  if (!find_only_value(b, path, &spec))
    return false;
  if (spec.min == spec.max && isfinite(spec.min) && !(spec.quantum > 0) && !(spec.integer && fabs(spec.min) >= 0x1p53))
    return make_constant(b, param, spec.integer ? json_integer((json_int_t)spec.min) : json_real(spec.min));
  struct err why;
  if (!dist_init(&spec, &param->public.dist, &why)) {
    bad(b, path, "is not possible: %s", why.text);
    return why.hint[0] ? err_hint(b->err, "%s", why.hint) : false;
  }
  struct param *shown = &param->public;
  shown->kind = PARAM_NUMBER;
  shown->cells = shown->grid = shown->dist.cells;
  shown->even = shown->cells == 0 || dist_cells_even(&shown->dist);
  shown->stops_short = keys->of[KEY_STEP] && spec.max - shown->dist.hi > 1e-6 * spec.step;
  if (shown->cells == 1)
    return make_constant(b, param, number_to_json(&shown->dist, dist_cell_value(&shown->dist, 0)));
  double count;
  if (!get_number(b, keys, KEY_COUNT, path, 0, &count))
    return false;
  if (keys->of[KEY_COUNT] && !(count >= 2 && count <= 1e6 && count == floor(count)))
    return err_set(b->err, ERR_INVALID, "\"%s.count\" must be a whole number from 2 to 1000000", path);
  if (keys->of[KEY_COUNT])
    shown->grid = shown->cells ? MIN_OF(shown->cells, (uint64_t)count) : (uint64_t)count;
  return true;
}

/* ---- choices ---- */

/* Every value once, also in long lists: through a map from the value's text and type to its place. */
static bool check_distinct(struct builder *b, const json_t *values, const char *path) {
  struct map seen;
  map_init(&seen, SPACE_CHOICES_MAX);
  AUTO_BUF struct buf text = BUF_INIT(16 * MIB);
  bool ok = true;
  for (size_t i = 0; ok && i < json_array_size(values); i++) {
    struct json_writer w;
    buf_reset(&text);
    jw_init(&w, &text);
    jw_json(&w, json_array_get(values, i));
    if (json_is_integer(json_array_get(values, i)))
      buf_puts(&text, " whole");
    void *before = NULL;
    if (!buf_ok(&text, b->err))
      ok = false;
    else if (!map_put(&seen, buf_str(&text), (void *)(uintptr_t)(i + 1), &before))
      ok = err_no_memory(b->err);
    else if (before)
      ok = err_set(b->err, ERR_INVALID, "\"%s.values[%zu]\" is the same as value %zu", path, i, (size_t)(uintptr_t)before - 1);
  }
  map_release(&seen);
  return ok;
}

/* Numbers that rise or fall all along are alike when they are neighbours. */
static bool looks_ordered(const json_t *values) {
  size_t n = json_array_size(values);
  double last = 0;
  int direction = 0;
  for (size_t i = 0; i < n; i++) {
    const json_t *value = json_array_get(values, i);
    if (!json_is_number(value))
      return false;
    double x = json_number_value(value);
    if (i > 0) {
      int sign = (x > last) - (x < last);
      if (sign == 0 || (direction && sign != direction))
        return false;
      direction = sign;
    }
    last = x;
  }
  return n >= 3;
}

static bool read_probabilities(struct builder *b, const struct keys *keys, const char *path, size_t count, double *ret) {
  const json_t *list = keys->of[KEY_PROBABILITIES];
  if (!json_is_array(list) || json_array_size(list) != count)
    return err_set(b->err, ERR_INVALID, "\"%s.probabilities\" must be a list as long as \"values\"", path);
  double sum = 0;
  for (size_t i = 0; i < count; i++) {
    if (!number_in(json_array_get(list, i), &ret[i]) || !(ret[i] >= 0) || isinf(ret[i]))
      return err_set(b->err, ERR_INVALID, "\"%s.probabilities[%zu]\" must be a number of at least 0", path, i);
    sum += ret[i];
  }
  if (!(sum > 0) || isinf(sum))
    return err_set(b->err, ERR_INVALID, "\"%s.probabilities\" must have a sum above 0", path);
  for (size_t i = 0; i < count; i++)
    ret[i] /= sum;
  return true;
}

/* Fills choices[] and upto[]; what has no probability is left out. */
static bool fill_choices(struct builder *b, struct space_param *param, const json_t *values, const double *probabilities) {
  struct arena *arena = &b->space->arena;
  size_t n = json_array_size(values), kept = 0;
  param->choices = ARENA_NEW_ARRAY(arena, json_t *, n);
  double *upto = probabilities ? ARENA_NEW_ARRAY(arena, double, n) : NULL;
  if (!param->choices || (probabilities && !upto))
    return err_no_memory(b->err);
  double sum = 0, least = 1, most = 0;
  for (size_t i = 0; i < n; i++) {
    if (probabilities && probabilities[i] == 0)
      continue;
    json_t *copy = json_deep_copy(json_array_get(values, i));
    if (!copy)
      return err_no_memory(b->err);
    param->choices[kept] = copy;
    param->public.cells = ++kept; /* at once: space_free() goes by it */
    if (probabilities) {
      least = fmin(least, probabilities[i]), most = fmax(most, probabilities[i]);
      upto[kept - 1] = sum += probabilities[i];
    }
  }
  param->public.even = !probabilities || most - least < 1e-9;
  if (!param->public.even) {
    upto[kept - 1] = 1;
    param->public.upto = upto;
  }
  return true;
}

static bool parse_choice_param(struct builder *b, const struct keys *keys, const struct form *form, const char *path,
                               struct space_param *param) {
  const json_t *values = keys->of[KEY_VALUES];
  size_t n = json_array_size(values);
  if (!json_is_array(values) || n == 0)
    return err_set(b->err, ERR_INVALID, "\"%s.values\" must be a list that is not empty", path);
  if (n > SPACE_CHOICES_MAX)
    return err_set(b->err, ERR_INVALID, "\"%s.values\" has more than %d values", path, SPACE_CHOICES_MAX);
  if (!check_distinct(b, values, path))
    return false;
  double *probabilities = NULL;
  if (keys->of[KEY_PROBABILITIES]) {
    probabilities = ARENA_NEW_ARRAY(&b->space->arena, double, n);
    if (!probabilities)
      return err_no_memory(b->err);
    if (!read_probabilities(b, keys, path, n, probabilities))
      return false;
  }
  bool ordered = (form->flags & ORDERED) || looks_ordered(values);
  if (!get_flag(b, keys, KEY_ORDERED, path, &ordered) || !fill_choices(b, param, values, probabilities))
    return false;
  param->public.grid = param->public.cells;
  param->public.ordered = ordered;
  param->public.kind = param->public.cells == 1 ? PARAM_CONSTANT : PARAM_CHOICE;
  return true;
}

/* ---- the tree ---- */

static bool parse_map(struct builder *b, const json_t *map, const char *name, const char *path, size_t gate, double gate_value,
                      struct space_node **ret_children);

/* A fresh parameter at the end; pointers into params[] are stale afterwards. */
static bool add_param(struct builder *b, const char *name, const char *path, size_t gate, double gate_value, size_t *ret) {
  struct space *space = b->space;
  if (space->count == SPACE_PARAMS_MAX)
    return bad(b, path, "is one parameter too many: there may be %d", SPACE_PARAMS_MAX);
  if (space_find(space, str_of(name)) != SIZE_MAX)
    return bad(b, path, "has the same name as another parameter");
  if (space->count == b->cap) {
    size_t cap = b->cap ? b->cap * 2 : 16;
    struct space_param *more = ARENA_NEW_ARRAY(&space->arena, struct space_param, cap);
    if (!more)
      return err_no_memory(b->err);
    if (space->count)
      memcpy(more, space->params, space->count * sizeof *more);
    space->params = more;
    b->cap = cap;
  }
  char *copy = arena_strdup(&space->arena, str_of(name));
  if (!copy)
    return err_no_memory(b->err);
  *ret = space->count;
  space->params[space->count++] = (struct space_param){.public = {.name = copy}, .gate = gate, .gate_value = gate_value};
  return true;
}

/* {"choices": [{"value": ..} | {"parameters": {..}}, ..]} */
static bool parse_alternatives(struct builder *b, const json_t *choices, const char *name, const char *path, size_t param,
                               struct space_node *node) {
  struct arena *arena = &b->space->arena;
  size_t n = json_array_size(choices);
  if (!json_is_array(choices) || n == 0 || n > 1000)
    return err_set(b->err, ERR_INVALID, "\"%s.choices\" must be a list of 1 to 1000 alternatives", path);
  json_t **values = ARENA_NEW_ARRAY(arena, json_t *, n);
  node->alternatives = ARENA_NEW_ARRAY(arena, struct space_node *, n);
  if (!values || !node->alternatives)
    return err_no_memory(b->err);
  struct space_param *own = &b->space->params[param];
  own->choices = values;
  own->public.kind = n > 1 ? PARAM_CHOICE : PARAM_CONSTANT;
  own->public.even = true;
  for (size_t i = 0; i < n; i++) {
    char at[400], child[400];
    snprintf(at, sizeof at, "%s.choices[%zu]", path, i);
    snprintf(child, sizeof child, "%s[%zu].", name, i);
    const json_t *item = json_array_get(choices, i), *map = json_object_get(item, "parameters"), *value = json_object_get(item, "value");
    if (!json_is_object(item) || json_object_size(item) != 1 || !(map || value))
      return bad(b, at, "must be an object with either \"value\" or \"parameters\"");
    json_t *copy = value ? json_deep_copy(value) : json_sprintf("%s[%d]", name, (int)i);
    if (!copy)
      return err_no_memory(b->err);
    values[i] = copy;
    b->space->params[param].public.cells = b->space->params[param].public.grid = i + 1;
    if (map && strlen(child) > SPACE_NAME_MAX)
      return bad(b, at, "has a name that is too long");
    struct space_node *children = NULL;
    char map_at[420];
    snprintf(map_at, sizeof map_at, "%s.parameters", at);
    if (map && !parse_map(b, map, child, map_at, param, (double)i, &children))
      return false;
    if (map) {
      node->alternatives[i] = ARENA_NEW(arena, struct space_node);
      if (!node->alternatives[i])
        return err_no_memory(b->err);
      *node->alternatives[i] = (struct space_node){.key = "", .param = SIZE_MAX, .child = children};
    }
  }
  return true;
}

static bool parse_entry(struct builder *b, const json_t *spec, const char *name, const char *path, size_t gate, double gate_value,
                        struct space_node *node) {
  struct keys keys;
  const struct form *form = NULL;
  if (!read_keys(b, spec, path, &keys))
    return false;
  if (keys.of[KEY_PARAMETERS]) {
    char child[300], below[420];
    snprintf(child, sizeof child, "%s.", name);
    snprintf(below, sizeof below, "%s.parameters", path);
    if (keys.given != BIT(KEY_PARAMETERS))
      return bad(b, path, "has \"parameters\" and other keys");
    return parse_map(b, keys.of[KEY_PARAMETERS], child, below, gate, gate_value, &node->child);
  }
  if (!add_param(b, name, path, gate, gate_value, &node->param))
    return false;
  size_t param = node->param;
  if (keys.of[KEY_CHOICES]) {
    if (keys.given != BIT(KEY_CHOICES))
      return bad(b, path, "has \"choices\" and other keys");
    return parse_alternatives(b, keys.of[KEY_CHOICES], name, path, param, node);
  }
  if (!choose_form(b, &keys, path, &form))
    return false;
  struct space_param *own = &b->space->params[param];
  if (form->kind == PARAM_CONSTANT)
    return make_constant(b, own, json_deep_copy(keys.of[KEY_VALUE]));
  return form->kind == PARAM_NUMBER ? parse_number_param(b, &keys, form, path, own) : parse_choice_param(b, &keys, form, path, own);
}

static bool name_is_valid(const char *name) {
  if (!isalpha((unsigned char)name[0]) && name[0] != '_')
    return false;
  for (const char *c = name; *c; c++)
    if (!isalnum((unsigned char)*c) && !strchr("_.-", *c))
      return false;
  return name[strlen(name) - 1] != '.' && !strstr(name, "..");
}

static struct space_node *add_node(struct builder *b, const char *key, struct space_node ***link) {
  struct arena *arena = &b->space->arena;
  struct space_node *node = ARENA_NEW(arena, struct space_node);
  char *copy = arena_strdup(arena, str_of(key));
  if (!node || !copy) {
    err_no_memory(b->err);
    return NULL;
  }
  *node = (struct space_node){.param = SIZE_MAX, .key = copy};
  **link = node;
  *link = &node->next;
  return node;
}

static bool parse_named(struct builder *b, const json_t *spec, const char *key, const char *name, const char *path, size_t gate,
                        double gate_value, struct space_node ***link) {
  char full[SPACE_NAME_MAX + 2], at[400];
  snprintf(at, sizeof at, "%s.%.100s", path, key);
  if (!name_is_valid(key))
    return bad(b, at, "is no name for a parameter"), err_hint(b->err, "letters, digits, _ . and -, beginning with a letter or _");
  if ((size_t)snprintf(full, sizeof full, "%s%s", name, key) > SPACE_NAME_MAX)
    return bad(b, at, "has a name of more than %d bytes", SPACE_NAME_MAX);
  struct space_node *node = add_node(b, key, link);
  return node && parse_entry(b, spec, full, at, gate, gate_value, node);
}

/* `name` is the prefix of the children's names. */
static bool parse_map(struct builder *b, const json_t *map, const char *name, const char *path, size_t gate, double gate_value,
                      struct space_node **ret_children) {
  if (!json_is_object(map) || json_object_size(map) == 0)
    return bad(b, path, "must be an object with at least one parameter");
  if (++b->depth > SPACE_NESTING_MAX)
    return bad(b, path, "is nested more than %d levels deep", SPACE_NESTING_MAX);
  struct space_node **link = ret_children;
  unsigned depth = b->depth;
  const char *key;
  json_t *spec;
  json_t *walk = (json_t *)(uintptr_t)map;
  json_object_foreach(walk, key, spec) {
    if (!parse_named(b, spec, key, name, path, gate, gate_value, &link) && !pass_mistake(b))
      return false;
    b->depth = depth;
  }
  b->depth--;
  return true;
}

/* ---- conditions ---- */

static bool parse_test(struct builder *b, const char *name, const json_t *wanted, const char *path, struct space_test *ret) {
  struct space *space = b->space;
  size_t parent = space_find(space, str_of(name));
  if (parent == SIZE_MAX)
    return err_set(b->err, ERR_INVALID, "\"%s\" names no parameter: \"%.100s\"", path, name);
  size_t n = json_is_array(wanted) ? json_array_size(wanted) : 1;
  if (n == 0 || n > 10000)
    return bad(b, path, "must have 1 to 10000 values for \"%.100s\"", name);
  *ret = (struct space_test){.parent = parent, .count = n, .values = ARENA_NEW_ARRAY(&space->arena, double, n)};
  if (!ret->values)
    return err_no_memory(b->err);
  for (size_t i = 0; i < n; i++) {
    struct err why;
    const json_t *value = json_is_array(wanted) ? json_array_get(wanted, i) : wanted;
    if (!space_value_from_json(space, parent, value, &ret->values[i], &why))
      return why.code == ERR_NO_MEMORY ? (*b->err = why, false)
                                       : bad(b, path, "asks for a value that \"%.100s\" never has: it %s", name, why.text);
  }
  return true;
}

static bool parse_if(struct builder *b, const json_t *condition, const char *path, struct space_rule *rule) {
  struct arena *arena = &b->space->arena;
  if (json_is_string(condition)) {
    struct err why;
    if (expr_parse(json_str(condition), space_find_variable, b->space, &rule->expr, NULL, &why))
      return true;
    return why.code == ERR_NO_MEMORY ? (*b->err = why, false) : bad(b, path, "is no condition: %s", why.text);
  }
  if (!json_is_object(condition) || json_object_size(condition) == 0)
    return bad(b, path, "must be an object such as {\"optimizer\": \"sgd\"}, or an expression");
  rule->tests = ARENA_NEW_ARRAY(arena, struct space_test, json_object_size(condition));
  if (!rule->tests)
    return err_no_memory(b->err);
  const char *name;
  json_t *wanted;
  json_t *walk = (json_t *)(uintptr_t)condition;
  json_object_foreach(walk, name, wanted) if (!parse_test(b, name, wanted, path, &rule->tests[rule->test_count++])) return false;
  return true;
}

/* Adds the rule to the parameter, or to all below a nested name. */
static bool add_rule(struct builder *b, const char *name, unsigned rule, const char *path) {
  size_t found = 0, length = strlen(name);
  for (size_t i = 0; i < b->space->count; i++) {
    struct space_param *param = &b->space->params[i];
    const char *own = param->public.name;
    if (strncmp(own, name, length) != 0 || (own[length] && own[length] != '.' && own[length] != '['))
      continue;
    found++;
    if (param->rule_count && param->rules[param->rule_count - 1] == rule)
      continue;
    unsigned *rules = ARENA_NEW_ARRAY(&b->space->arena, unsigned, param->rule_count + 1);
    if (!rules)
      return err_no_memory(b->err);
    if (param->rule_count)
      memcpy(rules, param->rules, param->rule_count * sizeof *rules);
    rules[param->rule_count++] = rule;
    param->rules = rules;
  }
  return found || err_set(b->err, ERR_INVALID, "\"%s\" names no parameter: \"%.100s\"", path, name);
}

static bool parse_condition(struct builder *b, const json_t *item, size_t index) {
  char path[100];
  struct {
    const json_t *when, *then;
  } spec = {0};
  static const struct json_field fields[] = {
      {.name = "if", .type = JSON_F_ANY, .offset = 0, .required = true},
      {.name = "then", .type = JSON_F_ANY, .offset = sizeof(json_t *), .required = true},
  };
  snprintf(path, sizeof path, "conditions[%zu]", index);
  if (!json_decode(item, fields, ARRAY_LEN(fields), path, &spec, b->err))
    return false;
  struct space *space = b->space;
  unsigned rule = (unsigned)space->rule_count++;
  snprintf(path, sizeof path, "conditions[%zu].if", index);
  if (!parse_if(b, spec.when, path, &space->rules[rule]))
    return false;
  bool list = json_is_array(spec.then);
  size_t n = list ? json_array_size(spec.then) : 1;
  snprintf(path, sizeof path, "conditions[%zu].then", index);
  for (size_t i = 0; i < n; i++) {
    const json_t *name = list ? json_array_get(spec.then, i) : spec.then;
    if (!json_is_string(name))
      return bad(b, path, "must be a list of names of parameters");
    if (!add_rule(b, json_string_value(name), rule, path))
      return false;
  }
  return n > 0 || bad(b, path, "must be a list of names of parameters");
}

static bool parse_conditions(struct builder *b, const json_t *conditions) {
  size_t n = conditions ? json_array_size(conditions) : 0;
  if (conditions && !json_is_null(conditions) && !json_is_array(conditions))
    return bad(b, "conditions", "must be a list");
  if (n > SPACE_CONDITIONS_MAX)
    return bad(b, "conditions", "has more than %d items", SPACE_CONDITIONS_MAX);
  b->space->rules = ARENA_NEW_ARRAY(&b->space->arena, struct space_rule, n + 1);
  if (!b->space->rules)
    return err_no_memory(b->err);
  for (size_t i = 0; i < n; i++)
    if (!parse_condition(b, json_array_get(conditions, i), i) && !pass_mistake(b))
      return false;
  return true;
}

static bool parse_constraint(struct builder *b, const json_t *item, size_t index) {
  char path[60];
  struct err why;
  snprintf(path, sizeof path, "constraints[%zu]", index);
  if (!json_is_string(item))
    return bad(b, path, "must be a text");
  if (!expr_parse(json_str(item), space_find_variable, b->space, &b->space->constraints[b->space->constraint_count], NULL, &why))
    return why.code == ERR_NO_MEMORY ? (*b->err = why, false) : bad(b, path, "is no constraint: %s", why.text);
  b->space->constraint_count++;
  return true;
}

static bool parse_constraints(struct builder *b, const json_t *constraints) {
  size_t n = constraints ? json_array_size(constraints) : 0;
  if (constraints && !json_is_null(constraints) && !json_is_array(constraints))
    return bad(b, "constraints", "must be a list of expressions");
  if (n > SPACE_CONSTRAINTS_MAX)
    return bad(b, "constraints", "has more than %d items", SPACE_CONSTRAINTS_MAX);
  b->space->constraints = ARENA_NEW_ARRAY(&b->space->arena, struct expr *, n + 1);
  if (!b->space->constraints)
    return err_no_memory(b->err);
  for (size_t i = 0; i < n; i++)
    if (!parse_constraint(b, json_array_get(constraints, i), i) && !pass_mistake(b))
      return false;
  return true;
}

/* ---- order and groups ---- */

/* Calls `visit` for every parameter that decides whether this one is in use. */
static bool each_parent(struct builder *b, size_t i, bool (*visit)(struct builder *, size_t parent, void *ctx), void *ctx) {
  struct space *space = b->space;
  struct space_param *param = &space->params[i];
  if (param->gate != SIZE_MAX && !visit(b, param->gate, ctx))
    return false;
  for (size_t k = 0; k < param->rule_count; k++) {
    struct space_rule *rule = &space->rules[param->rules[k]];
    for (size_t t = 0; t < rule->test_count; t++)
      if (!visit(b, rule->tests[t].parent, ctx))
        return false;
    const unsigned *variables;
    size_t n = rule->expr ? expr_variables(rule->expr, &variables) : 0;
    for (size_t v = 0; v < n; v++)
      if (!visit(b, space->variables[variables[v]].param, ctx))
        return false;
  }
  return true;
}

struct ordering {
  unsigned char *state; /* 0 new, 1 under way, 2 done */
  size_t done;
};

static bool place(struct builder *b, size_t i, void *ctx) {
  struct ordering *ordering = ctx;
  if (ordering->state[i] == 2)
    return true;
  if (ordering->state[i] == 1 || b->depth++ > 200)
    return err_set(b->err, ERR_INVALID, "\"conditions\" go round in a circle at \"%s\"", b->space->params[i].public.name);
  ordering->state[i] = 1;
  if (!each_parent(b, i, place, ctx))
    return false;
  b->depth--;
  ordering->state[i] = 2;
  b->space->order[ordering->done++] = i;
  return true;
}

static bool order_params(struct builder *b) {
  struct space *space = b->space;
  struct ordering ordering = {.state = arena_zalloc(&space->arena, space->count)};
  space->order = ARENA_NEW_ARRAY(&space->arena, size_t, space->count);
  if (!space->order || !ordering.state)
    return err_no_memory(b->err);
  b->depth = 0;
  for (size_t i = 0; i < space->count; i++)
    if (!place(b, i, &ordering))
      return false;
  return true;
}

static bool same_conditions(const struct space_param *a, const struct space_param *b) {
  return a->gate == b->gate && (a->gate == SIZE_MAX || a->gate_value == b->gate_value) && a->rule_count == b->rule_count &&
         (!a->rule_count || memcmp(a->rules, b->rules, a->rule_count * sizeof *a->rules) == 0);
}

static void group_params(struct space *space) {
  space->groups = 1; /* group 0: always in use, even if nothing is */
  for (size_t k = 0; k < space->count; k++) {
    struct space_param *param = &space->params[space->order[k]];
    if (param->gate == SIZE_MAX && !param->rule_count)
      continue;
    param->public.group = space->groups;
    for (size_t j = 0; j < k; j++)
      if (same_conditions(param, &space->params[space->order[j]]))
        param->public.group = space->params[space->order[j]].public.group;
    if (param->public.group == space->groups)
      space->groups++;
  }
}

/* What conditions and constraints say is judged by parameters that are as they should be, and their order by conditions that are. */
static bool read_space(struct builder *b, const json_t *parameters, const json_t *conditions, const json_t *constraints) {
  struct space *space = mem_zalloc(sizeof *space);
  if (!space)
    return err_no_memory(b->err);
  b->space = space;
  arena_init(&space->arena, SPACE_MEMORY_MAX);
  space->root = ARENA_NEW(&space->arena, struct space_node);
  if (!space->root)
    return err_no_memory(b->err);
  space->root->param = SIZE_MAX;
  return parse_map(b, parameters, "", "parameters", SIZE_MAX, 0, &space->root->child) && !b->mistaken && parse_conditions(b, conditions) &&
         (b->mistaken || order_params(b)) && parse_constraints(b, constraints) && !b->mistaken;
}

bool space_new(const json_t *parameters, const json_t *conditions, const json_t *constraints, struct space **ret, struct err *err) {
  struct builder b = {.err = err};
  if (!read_space(&b, parameters, conditions, constraints)) {
    space_free(b.space);
    return false;
  }
  group_params(b.space);
  *ret = b.space;
  return true;
}

void space_mistakes(const json_t *parameters, const json_t *conditions, const json_t *constraints, space_mistake_fn *fn, void *ctx) {
  struct err err;
  struct builder b = {.err = &err, .tell = fn, .tell_ctx = ctx};
  if (!read_space(&b, parameters, conditions, constraints) && !b.mistaken)
    fn(ctx, &err);
  space_free(b.space);
}
