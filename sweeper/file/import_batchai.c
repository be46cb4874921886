/* The Batch AI utilities' JSON: `params` in place of `parameters`. It describes the parameters only, so the other keys of a sweep file may
 * stand beside it. */
#include <math.h>

#include "sweeper/file/import.h"

struct numeric {
  const struct ynode *start_node, *end_node;
  double start, end, step;
  int64_t count;
  bool whole, log, has_step, has_count;
};

static bool read_numeric(struct import *im, const struct ynode *item, const char *path, struct numeric *ret) {
  struct numeric n = {.start_node = ynode_get(item, "start"), .end_node = ynode_get(item, "end")};
  struct str type = import_text(ynode_get(item, "dataType")), scale = import_text(ynode_get(item, "scale"));
  const struct ynode *step = ynode_get(item, "step"), *count = ynode_get(item, "numValues");
  n.whole = str_eq_nocase(type, STR("INTEGER"));
  n.log = str_eq_nocase(scale, STR("LOG"));
  n.has_step = step && step->kind != YN_NULL;
  n.has_count = count && count->kind != YN_NULL;
  if (!import_number(im, n.start_node, path, &n.start) || !import_number(im, n.end_node, path, &n.end))
    return false;
  if ((n.has_step && !import_number(im, step, path, &n.step)) || (n.has_count && !import_int(im, count, path, &n.count)))
    return false;
  bool is_type = !type.n || n.whole || str_eq_nocase(type, STR("REAL")),
       is_scale = !scale.n || n.log || str_eq_nocase(scale, STR("LINEAR"));
  const char *wrong = !is_type                                          ? "dataType is REAL or INTEGER"
                      : !is_scale                                       ? "scale is LINEAR or LOG"
                      : !(n.start < n.end)                              ? "start must be below end"
                      : n.log && !(n.start > 0)                         ? "a LOG scale needs start above 0"
                      : n.log && n.has_step                             ? "a LOG scale takes numValues, not step"
                      : n.has_step && n.has_count                       ? "give step or numValues, not both"
                      : n.has_count && (n.count < 1 || n.count > 10000) ? "numValues must be 1 to 10000"
                                                                        : NULL;
  if (wrong) {
    spec_problem_add(im->errors, item, path, NULL, "%s: %s", path, wrong);
    return false;
  }
  *ret = n;
  return true;
}

/* Equally spaced, or geometric, with both ends. */
static struct ynode *spaced(struct import *im, const struct numeric *n) {
  struct ynode *list = import_list(im, n->start_node);
  for (int64_t i = 0; i < n->count; i++) {
    double t = n->count == 1 ? 0 : (double)i / (double)(n->count - 1);
    double value = n->log ? n->start * pow(n->end / n->start, t) : n->start + (n->end - n->start) * t;
    char text[32];
    snprintf(text, sizeof text, "%.12g", value);
    if (str_to_f64(str_of(text), &value))
      import_add_number(im, list, n->start_node, value, n->whole);
  }
  return list;
}

static void numeric(struct import *im, const struct ynode *item, const char *path, bool grid, struct ynode *out) {
  struct numeric n;
  if (!read_numeric(im, item, path, &n))
    return;
  if (grid) {
    if (!n.has_step && !n.has_count)
      spec_problem_add(im->errors, item, path, "or set method: random", "%s needs step or numValues for a grid", path);
    else
      import_put(im, out, "values", n.has_step ? import_range(im, item, n.start, n.end + 0.001 * n.step, n.step, n.whole) : spaced(im, &n));
    return;
  }
  if (n.log || !n.whole)
    import_put_text(im, out, "distribution", item, n.log ? (n.whole ? "q_log_uniform_values" : "log_uniform_values") : "uniform");
  if (n.whole && !n.log) {
    import_put(im, out, "min", import_whole(im, n.start_node, ceil(n.start)));
    import_put(im, out, "max", import_whole(im, n.end_node, floor(n.end)));
  } else {
    import_put_number(im, out, "min", n.start_node, n.start);
    import_put_number(im, out, "max", n.end_node, n.end);
  }
}

static bool name_ok(struct str name) {
  if (!name.n || isdigit((unsigned char)name.p[0]))
    return false;
  for (size_t i = 0; i < name.n; i++)
    if (!(name.p[i] >= 'A' && name.p[i] <= 'Z') && !isdigit((unsigned char)name.p[i]) && name.p[i] != '_')
      return false;
  return true;
}

static void parameter(struct import *im, const struct ynode *item, const char *path, bool grid, struct ynode *parameters) {
  struct str type = import_text(ynode_get(item, "paramType"));
  const struct ynode *name = ynode_get(item, "parameterName");
  if (!name_ok(import_text(name))) {
    spec_problem_add(im->errors, name ? name : item, path, NULL, "%s: a parameterName is upper-case letters, digits and _", path);
    return;
  }
  if (ynode_peek(parameters, name->text)) {
    spec_problem_add(im->errors, name, path, NULL, "the parameter \"%.*s\" stands here twice", STR_ARG(name->text));
    return;
  }
  struct ynode *out = import_map(im, item);
  if (str_is(type, "NumParam")) {
    numeric(im, item, path, grid, out);
  } else if (str_is(type, "DiscreteParam") || str_is(type, "DictParam")) {
    struct ynode *values = ynode_get(item, "values");
    if (!values || values->kind != YN_LIST || !values->count)
      spec_problem_add(im->errors, item, path, NULL, "%s needs a list of values", path);
    else
      import_keep(im, out, "values", values);
  } else if (str_is(type, "FileParam")) {
    spec_problem_add(im->errors, item, path, "list the paths as a DiscreteParam", "%s: files of a storage account cannot be listed here",
                     path);
  } else {
    spec_problem_add(im->errors, item, path, NULL, "%s: the paramType \"%.*s\" is not known", path, STR_ARG(type));
  }
  import_put(im, parameters, name->text.p, out);
}

static bool has_grid_values(const struct ynode *list) {
  for (size_t i = 0; i < list->count; i++)
    if (str_is(import_text(ynode_peek(list->items[i], STR("paramType"))), "NumParam") && !ynode_peek(list->items[i], STR("step")) &&
        !ynode_peek(list->items[i], STR("numValues")))
      return false;
  return true;
}

void import_batchai(struct import *im, const struct ynode *root) {
  const struct ynode *list = ynode_get(root, "params");
  const struct ynode *method = ynode_peek(root, STR("method"));
  bool grid = method ? str_is(import_text(method), "grid") : has_grid_values(list);
  struct ynode *parameters = import_map(im, list);
  for (size_t i = 0; i < list->count && i <= SWEEP_PARAMETERS_MAX; i++) {
    char path[40];
    snprintf(path, sizeof path, "params[%zu]", i);
    parameter(im, list->items[i], path, grid, parameters);
  }
  import_put(im, im->out, "parameters", parameters);
  if (!method)
    import_put_text(im, im->out, "method", list, grid ? "grid" : "random");
  for (size_t i = 0; i < root->count; i++) {
    const struct ynode_pair *pair = &root->pairs[i];
    if (pair->value == list || str_is(pair->key->text, "parameters"))
      continue;
    pair->key->seen = true;
    import_keep(im, im->out, pair->key->text.p, pair->value);
  }
}
