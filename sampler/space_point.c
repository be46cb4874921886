/* Points as JSON: the typed, nested parameters that a job receives, and back. */
#include <math.h>

#include "base/json.h"
#include "base/mem.h"
#include "sampler/space_impl.h"

/* ---- to JSON ---- */

static json_t *param_to_json(const struct space *space, size_t i, double value) {
  const struct space_param *param = &space->params[i];
  if (param->public.kind == PARAM_NUMBER)
    return param->public.dist.integer ? json_integer((json_int_t)value) : json_real(value);
  return json_deep_copy(param->choices[space_cell(space, i, value)]);
}

static json_t *map_to_json(const struct space *space, const struct space_node *map, const double *point);

/* *ret_absent: not in use, or a map with nothing in use. */
static json_t *node_to_json(const struct space *space, const struct space_node *node, const double *point, bool *ret_absent) {
  *ret_absent = false;
  if (node->param == SIZE_MAX) {
    json_t *map = map_to_json(space, node, point);
    if (map && json_object_size(map) == 0) {
      *ret_absent = true;
      json_decref(map);
      return NULL;
    }
    return map;
  }
  double value = point[node->param];
  if (isnan(value)) {
    *ret_absent = true;
    return NULL;
  }
  if (node->alternatives) {
    const struct space_node *alternative = node->alternatives[space_cell(space, node->param, value)];
    if (alternative)
      return map_to_json(space, alternative, point);
  }
  return param_to_json(space, node->param, value);
}

static json_t *map_to_json(const struct space *space, const struct space_node *map, const double *point) {
  json_t *object = json_object();
  if (!object)
    return NULL;
  for (const struct space_node *node = map->child; node; node = node->next) {
    bool is_absent;
    json_t *value = node_to_json(space, node, point, &is_absent);
    if (is_absent)
      continue;
    if (!value || json_object_set_new(object, node->key, value) != 0) {
      json_decref(object);
      return NULL;
    }
  }
  return object;
}

json_t *space_point_to_json(const struct space *space, const double *point) {
  return map_to_json(space, space->root, point);
}

/* ---- from JSON ---- */

static bool no_such_choice(const struct space_param *param, struct err *err) {
  enum { NAMED_MAX = 300 };
  AUTO_BUF struct buf known = BUF_INIT(MIB);
  struct json_writer w;
  uint64_t cells = param->public.cells, named = 0;
  for (; named < cells; named++) {
    size_t before = known.n;
    buf_puts(&known, named ? ", " : "");
    jw_init(&w, &known);
    jw_json(&w, param->choices[named]);
    if (known.n > NAMED_MAX) {
      buf_cut(&known, before);
      buf_puts(&known, before ? ", …" : "…");
      break;
    }
  }
  return err_set(err, ERR_INVALID, "must be %s%s", cells > 1 ? "one of " : "", buf_text(&known));
}

/* The same value, of the same type? Whole and fractional numbers differ in type. */
static bool is_same_json(const json_t *a, const json_t *b) {
  if (json_typeof(a) != json_typeof(b))
    return false;
  return json_is_real(a) ? json_real_value(a) == json_real_value(b) : json_equal(a, b);
}

static bool choice_from_json(const struct space_param *param, const json_t *value, double *ret, struct err *err) {
  size_t alike = 0;
  for (uint64_t k = 0; k < param->public.cells; k++)
    if (is_same_json(param->choices[k], value)) {
      *ret = (double)k;
      return true;
    }
  /* 1 where only 1.0 stands, and the other way round */
  for (uint64_t k = 0; k < param->public.cells && json_is_number(value); k++)
    if (json_is_number(param->choices[k]) && json_number_value(param->choices[k]) == json_number_value(value)) {
      *ret = (double)k;
      alike++;
    }
  return alike == 1 || no_such_choice(param, err);
}

bool space_value_from_json(const struct space *space, size_t i, const json_t *value, double *ret_value, struct err *err) {
  const struct space_param *param = &space->params[i];
  if (param->public.kind != PARAM_NUMBER)
    return choice_from_json(param, value, ret_value, err);
  const struct dist *dist = &param->public.dist;
  double stated;
  if (json_is_number(value))
    stated = json_number_value(value);
  else if (!json_is_string(value) || !str_to_f64(json_str(value), &stated))
    return err_set(err, ERR_INVALID, "must be a number");
  if (dist_fit(dist, stated, ret_value))
    return true;
  char low[32], high[32];
  str_from_f64(dist->lo, low);
  str_from_f64(dist->hi, high);
  if (stated >= dist->lo && stated <= dist->hi)
    return err_set(err, ERR_INVALID, "must be one of the steps from %s to %s", low, high);
  return err_set(err, ERR_INVALID, "must be from %s to %s", low, high);
}

struct reader {
  const struct space *space;
  double *point;
  struct err *err;
  const struct space_node *map; /* in which there is no `unknown`, should that be what is wrong */
  const char *unknown;          /* of what is read; else NULL */
};

static bool read_map(struct reader *r, const struct space_node *map, const json_t *object, const char *path);

/* Of what was not read. */
static double unread(const struct space *space, size_t param) {
  return space->params[param].public.kind == PARAM_CONSTANT ? 0 : NAN;
}

/* What was read of an alternative that it is not. */
static void forget_map(struct reader *r, const struct space_node *map) {
  for (const struct space_node *node = map->child; node; node = node->next) {
    if (node->param == SIZE_MAX) {
      forget_map(r, node);
      continue;
    }
    r->point[node->param] = unread(r->space, node->param);
    for (uint64_t k = 0; node->alternatives && k < r->space->params[node->param].public.cells; k++)
      if (node->alternatives[k])
        forget_map(r, node->alternatives[k]);
  }
}

/* Was everything read that is in this map? Of what is in use under some condition only, nobody knows whether it should have been. */
static bool has_all(const struct reader *r, const struct space_node *map) {
  for (const struct space_node *node = map->child; node; node = node->next) {
    if (node->param == SIZE_MAX) {
      if (!has_all(r, node))
        return false;
      continue;
    }
    double value = r->point[node->param];
    if (isnan(value) && !r->space->params[node->param].rule_count)
      return false;
    const struct space_node *inner = node->alternatives && !isnan(value) ? node->alternatives[(size_t)value] : NULL;
    if (inner && !has_all(r, inner))
      return false;
  }
  return true;
}

/* Which alternative an object is: the first that can be read from it and lacks nothing, else the first that can be read from it. */
static bool read_alternative(struct reader *r, const struct space_node *node, const json_t *value, const char *path) {
  uint64_t cells = r->space->params[node->param].public.cells, lacking = cells;
  struct err first = {0};
  struct reader then = *r;
  for (uint64_t k = 0; k < cells; k++) {
    if (!node->alternatives[k]) {
      if (!is_same_json(r->space->params[node->param].choices[k], value))
        continue;
    } else {
      struct err *err = r->err;
      struct err why;
      r->err = &why;
      bool fits = json_is_object(value) && read_map(r, node->alternatives[k], value, path);
      r->err = err;
      if (!fits) {
        forget_map(r, node->alternatives[k]);
        if (!first.code && json_is_object(value)) {
          first = why;
          then = *r;
        }
        r->unknown = NULL;
        continue;
      }
      if (!has_all(r, node->alternatives[k])) {
        if (lacking < cells)
          forget_map(r, node->alternatives[k]);
        lacking = MIN_OF(lacking, k);
        continue;
      }
    }
    if (lacking < cells)
      forget_map(r, node->alternatives[lacking]);
    r->point[node->param] = (double)k;
    return true;
  }
  if (lacking < cells) {
    r->point[node->param] = (double)lacking;
    return true;
  }
  *r = then;
  if (first.code)
    return *r->err = first, false;
  return err_set(r->err, ERR_INVALID, "\"%s\" must be one of the alternatives", path);
}

static bool read_node(struct reader *r, const struct space_node *node, const json_t *value, const char *path) {
  if (node->param == SIZE_MAX)
    return read_map(r, node, value, path);
  if (node->alternatives)
    return read_alternative(r, node, value, path);
  struct err why;
  double x;
  if (!space_value_from_json(r->space, node->param, value, &x, &why))
    return why.code == ERR_NO_MEMORY ? (*r->err = why, false) : err_set(r->err, ERR_INVALID, "\"%s\" %s", path, why.text);
  r->point[node->param] = x;
  return true;
}

/* "opt.lr" from inside the map: the node, or NULL. */
static const struct space_node *find_node(const struct space_node *map, const char *key) {
  for (const struct space_node *node = map->child; node; node = node->next) {
    size_t n = strlen(node->key);
    if (strcmp(node->key, key) == 0)
      return node;
    if (node->param == SIZE_MAX && strncmp(node->key, key, n) == 0 && key[n] == '.') {
      const struct space_node *deep = find_node(node, key + n + 1);
      if (deep)
        return deep;
    }
  }
  return NULL;
}

/* Told of what is wrong with the whole, not of each alternative that was tried: to look for it takes long where there are many names. */
static void hint_name(const struct reader *r) {
  const char *names[2 * SPACE_PARAMS_MAX];
  size_t count = 0;
  for (const struct space_node *node = r->map->child; node && count < SPACE_PARAMS_MAX; node = node->next)
    names[count++] = node->key;
  for (size_t i = 0; i < r->space->count; i++) { /* "opt.lr"; "opt[1].lr" is none that can be read */
    const char *name = r->space->params[i].public.name;
    if (!strchr(name, '['))
      names[count++] = name;
  }
  const char *near = str_nearest_of(str_of(r->unknown), names, count);
  if (near)
    err_hint(r->err, "did you mean \"%.100s\"?", near);
}

static bool read_map(struct reader *r, const struct space_node *map, const json_t *object, const char *path) {
  if (!json_is_object(object))
    return err_set(r->err, ERR_INVALID, "\"%s\" must be an object", path);
  const char *key;
  json_t *value;
  json_t *walk = (json_t *)(uintptr_t)object;
  json_object_foreach(walk, key, value) {
    char at[400];
    snprintf(at, sizeof at, "%.250s.%.100s", path, key);
    const struct space_node *node = find_node(map, key);
    if (!node) {
      r->map = map;
      r->unknown = key;
      return err_set(r->err, ERR_INVALID, "\"%s\" is no parameter of this space", at);
    }
    if (!read_node(r, node, value, at))
      return false;
  }
  return true;
}

bool space_point_from_json(const struct space *space, const json_t *params, enum space_extent extent, double *ret_point, struct err *err) {
  double *point = mem_array(space->count, sizeof *point);
  if (!point)
    return err_no_memory(err);
  for (size_t i = 0; i < space->count; i++)
    point[i] = unread(space, i);
  struct reader r = {.space = space, .point = point, .err = err};
  bool ok = read_map(&r, space->root, params, "params");
  if (!ok && r.unknown)
    hint_name(&r);
  for (size_t k = 0; ok && k < space->count && extent != SPACE_SOME; k++) { /* what a missing parent would decide is not known yet */
    size_t i = space->order[k];
    const struct param *param = &space->params[i].public;
    bool in_use = space_in_use(space, point, i);
    if (in_use && isnan(point[i]))
      ok = err_set(err, ERR_INVALID, "\"params.%s\" is missing", param->name);
    else if (!in_use && extent == SPACE_EXACTLY && !isnan(point[i]) && param->kind != PARAM_CONSTANT)
      ok = err_set(err, ERR_INVALID, "\"params.%s\" is not in use at this point, so it would be left out", param->name);
    else if (!in_use)
      point[i] = NAN;
  }
  if (ok)
    memcpy(ret_point, point, space->count * sizeof *point);
  mem_free(point);
  return ok;
}

/* ---- numbers ---- */

bool space_has_point(const struct space *space, const double *point, struct err *err) {
  for (size_t k = 0; k < space->count; k++) {
    size_t i = space->order[k];
    const struct param *param = &space->params[i].public;
    double value = point[i];
    bool in_use = space_in_use(space, point, i);
    if (isnan(value) == in_use)
      return err_set(err, ERR_INVALID, "its \"%s\" %s a value where it %s in use", param->name, in_use ? "lacks" : "has",
                     in_use ? "is" : "is not");
    bool fits = param->kind == PARAM_NUMBER ? isfinite(value)
                                            : value >= 0 && value < (double)MAX_OF(param->cells, (uint64_t)1) && value == floor(value);
    if (in_use && !fits)
      return err_set(err, ERR_INVALID, "its \"%s\" is %g, which is no value of it", param->name, value);
  }
  return true;
}
