#include "web/api/params_order.h"

enum { NESTING_MAX = 16 }; /* a space has no more */

json_t *params_declared(struct str order) {
  json_t *declared = NULL;
  struct err ignored; /* then the order is any */
  return order.p && json_read(order, &declared, &ignored) ? declared : NULL;
}

static json_t *mutable(const json_t *json) {
  return (json_t *)(uintptr_t)json; /* jansson's iterators want a mutable object, but change nothing */
}

/* What is left, in the order it has. */
static bool add_others(json_t *out, const json_t *params) {
  const char *key;
  json_t *value;
  json_object_foreach(mutable(params), key, value) {
    if (!json_object_get(out, key) && json_object_set(out, key, value) != 0)
      return false;
  }
  return true;
}

/* ---- nested ---- */

static json_t *map_in_order(const json_t *declared, const json_t *params, unsigned depth);

static bool has_all(const json_t *declared, const json_t *params) {
  const char *key;
  json_t *value;
  json_object_foreach(mutable(params), key, value) {
    if (!json_object_get(declared, key))
      return false;
  }
  return json_is_object(declared);
}

/* An object is a group of parameters, the parameters of an alternative, or a value that is listed as such. */
static json_t *value_in_order(const json_t *declaration, json_t *value, unsigned depth) {
  const json_t *choices = json_object_get(declaration, "choices"), *values = json_object_get(declaration, "values");
  if (!json_is_object(value) || depth >= NESTING_MAX)
    return json_incref(value);
  if (json_object_get(declaration, "parameters"))
    return map_in_order(json_object_get(declaration, "parameters"), value, depth + 1);
  for (size_t i = 0; i < json_array_size(choices); i++)
    if (has_all(json_object_get(json_array_get(choices, i), "parameters"), value))
      return map_in_order(json_object_get(json_array_get(choices, i), "parameters"), value, depth + 1);
  for (size_t i = 0; i < json_array_size(values); i++)
    if (json_equal(json_array_get(values, i), value))
      return json_incref(json_array_get(values, i));
  return json_incref(json_equal(json_object_get(declaration, "value"), value) ? json_object_get(declaration, "value") : value);
}

static json_t *map_in_order(const json_t *declared, const json_t *params, unsigned depth) {
  AUTO_JSON json_t *out = json_object();
  const char *key;
  json_t *declaration;
  json_object_foreach(mutable(declared), key, declaration) {
    json_t *value = json_object_get(params, key);
    if (value && json_object_set_new(out, key, value_in_order(declaration, value, depth)) != 0)
      return NULL;
  }
  return out && add_others(out, params) ? json_incref(out) : NULL;
}

json_t *params_in_order(const json_t *declared, const json_t *params) {
  return declared ? map_in_order(declared, params, 0) : json_incref(mutable(params));
}

/* ---- flat ---- */

static bool take_flat(const json_t *declared, const char *prefix, const json_t *params, json_t *out, unsigned depth);

/* The members of each object among these. */
static bool take_members(const json_t *list, const char *within, const char *name, const json_t *params, json_t *out, unsigned depth) {
  bool ok = true;
  for (size_t i = 0; ok && i < json_array_size(list); i++) {
    const json_t *item = json_array_get(list, i);
    ok = take_flat(within ? json_object_get(item, within) : item, name, params, out, depth);
  }
  return ok;
}

static bool take_flat(const json_t *declared, const char *prefix, const json_t *params, json_t *out, unsigned depth) {
  const char *key;
  json_t *declaration;
  bool ok = true;
  if (depth > NESTING_MAX)
    return true;
  json_object_foreach(mutable(declared), key, declaration) {
    AUTO_BUF struct buf name = BUF_INIT(8 * KIB);
    buf_printf(&name, "%s%s%s", prefix, prefix[0] ? "." : "", key);
    json_t *value = json_object_get(params, buf_text(&name));
    ok = ok && (!value || json_object_set(out, buf_text(&name), value) == 0) &&
         take_flat(json_object_get(declaration, "parameters"), buf_text(&name), params, out, depth + 1) &&
         take_members(json_object_get(declaration, "choices"), "parameters", buf_text(&name), params, out, depth + 1) &&
         take_members(json_object_get(declaration, "values"), NULL, buf_text(&name), params, out, depth + 1) &&
         take_flat(json_object_get(declaration, "value"), buf_text(&name), params, out, depth + 1);
  }
  return ok;
}

json_t *params_in_order_flat(const json_t *declared, const json_t *params) {
  AUTO_JSON json_t *out = json_object();
  return out && take_flat(declared, "", params, out, 0) && add_others(out, params) ? json_incref(out) : NULL;
}

/* ---- summaries ---- */

void params_order_put_summary(struct json_writer *w, struct str summary, struct str order, struct str spec) {
  AUTO_JSON json_t *shown = NULL, *declared = params_declared(order);
  struct err ignored; /* then it is shown as it is stored */
  const char *key;
  json_t *value;
  if (!json_read(summary, &shown, &ignored)) {
    jw_raw(w, summary);
    return;
  }
  json_t *best = json_object_get(shown, "best"), *params = json_object_get(best, "params");
  if (params)
    json_object_set_new(best, "params", params_in_order(declared, params));
  jw_object(w);
  json_object_foreach(shown, key, value) {
    jw_key(w, key);
    jw_json(w, value);
  }
  jw_key(w, "spec");
  if (spec.p)
    jw_raw(w, spec);
  else
    jw_null(w);
  jw_object_end(w);
}
