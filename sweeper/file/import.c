#include "sweeper/file/import.h"

#include <math.h>

void import_put(struct import *im, struct ynode *map, const char *key, struct ynode *value) {
  if (!ynode_put(im->arena, map, key, value))
    im->no_memory = true;
}

void import_add(struct import *im, struct ynode *list, struct ynode *item) {
  if (!ynode_append(im->arena, list, item))
    im->no_memory = true;
}

struct ynode *import_map(struct import *im, const struct ynode *at) {
  return ynode_new_map(im->arena, at);
}

struct ynode *import_list(struct import *im, const struct ynode *at) {
  return ynode_new_list(im->arena, at);
}

void import_put_text(struct import *im, struct ynode *map, const char *key, const struct ynode *at, const char *text) {
  import_put(im, map, key, ynode_new_text(im->arena, at, str_of(text)));
}

void import_put_int(struct import *im, struct ynode *map, const char *key, const struct ynode *at, int64_t value) {
  import_put(im, map, key, ynode_new_int(im->arena, at, value));
}

void import_put_number(struct import *im, struct ynode *map, const char *key, const struct ynode *at, double value) {
  import_put(im, map, key, ynode_new_number(im->arena, at, value));
}

struct ynode *import_whole(struct import *im, const struct ynode *at, double value) {
  if (fabs(value) < 9007199254740992.0)
    return ynode_new_int(im->arena, at, (int64_t)round(value));
  spec_problem_add(im->errors, at, "", NULL, "%.15g is too large for a whole number", value);
  return ynode_new_int(im->arena, at, 0);
}

void import_mark(struct ynode *node) {
  for (size_t i = 0; i < node->count; i++) {
    if (node->kind == YN_MAP)
      node->pairs[i].key->seen = true;
    import_mark(node->kind == YN_LIST ? node->items[i] : node->pairs[i].value);
  }
}

void import_keep(struct import *im, struct ynode *map, const char *key, struct ynode *value) {
  if (!value)
    return;
  import_mark(value);
  import_put(im, map, key, value);
}

struct str import_text(const struct ynode *node) {
  return node && ynode_is_scalar(node) ? node->text : STR("");
}

bool import_number(struct import *im, const struct ynode *node, const char *path, double *ret) {
  if (node && ynode_number(node, ret) && isfinite(*ret))
    return true;
  spec_problem_add(im->errors, node, path, NULL, node ? "%s must be a number" : "%s is missing", path);
  return false;
}

bool import_int(struct import *im, const struct ynode *node, const char *path, int64_t *ret) {
  if (node && ynode_integer(node, ret))
    return true;
  spec_problem_add(im->errors, node, path, NULL, node ? "%s must be a whole number" : "%s is missing", path);
  return false;
}

void import_add_number(struct import *im, struct ynode *list, const struct ynode *at, double value, bool whole) {
  double before;
  if (whole && list && list->count && ynode_number(list->items[list->count - 1], &before) && before == round(value))
    return;
  import_add(im, list, whole ? import_whole(im, at, value) : ynode_new_number(im->arena, at, value));
}

enum { RANGE_MAX = 10000 };

struct ynode *import_range(struct import *im, const struct ynode *at, double min, double max, double step, bool whole) {
  struct ynode *list = import_list(im, at);
  double cells = floor((max - min) / step + 1e-9) + 1;
  if (!(step > 0) || !(cells >= 1) || cells > RANGE_MAX) {
    spec_problem_add(im->errors, at, "", NULL, "%.15g to %.15g in steps of %.15g are not 1 to %d values", min, max, step, RANGE_MAX);
    return list;
  }
  for (double k = 0; k < cells; k++) {
    char text[32];
    snprintf(text, sizeof text, "%.12g", min + k * step); /* 0.1 * 3 is meant to be 0.3 */
    double value = min + k * step;
    if (!str_to_f64(str_of(text), &value))
      value = min + k * step;
    import_add_number(im, list, at, value, whole);
  }
  return list;
}
