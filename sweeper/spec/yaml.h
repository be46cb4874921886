/* YAML 1.2 (core schema) as a tree that remembers where every node stood. JSON is YAML. Pure: bytes in, tree out.
 *
 * Scalars keep their text, so that `1.0e-4`, `0o17` or `010` can be read as what a key wants them to be. Only true and false are
 * booleans; yes, no, on, off are text. `<<` merges maps as in YAML 1.1. Refused: duplicate keys, keys that are no scalars, several
 * documents, tags outside the core schema, anchors that contain themselves. */
#ifndef WINNOW_SWEEPER_YAML_H
#define WINNOW_SWEEPER_YAML_H

#include <jansson.h>

#include "base/arena.h"
#include "base/err.h"

enum {
  YAML_BYTES_MAX = 4 << 20,
  YAML_DEPTH_MAX = 64,
  YAML_NODES_MAX = 200000, /* counted as if every alias were written out */
};

enum ynode_kind { YN_NULL, YN_BOOL, YN_INT, YN_FLOAT, YN_TEXT, YN_LIST, YN_MAP };

struct ynode;

struct ynode_pair {
  struct ynode *key; /* a scalar, whose text is the name */
  struct ynode *value;
};

struct ynode {
  enum ynode_kind kind;
  unsigned line, column; /* from 1; column counts characters */
  bool quoted;           /* a scalar in quotes or a block: always YN_TEXT */
  bool seen;             /* for readers that report what nobody asked for; see ynode_get() */
  struct str text;       /* scalars: as written, quotes and escapes undone */
  bool boolean;
  int64_t integer;
  double number; /* also of YN_INT */
  size_t count;  /* of items or pairs */
  struct ynode **items;
  struct ynode_pair *pairs; /* in the order of the file */
  size_t weight;            /* nodes below and including this one, aliases written out */
};

/* Places of mistakes, for messages that point. */
struct yaml_place {
  unsigned line, column;
};

/* Everything lives in `arena`. An empty text gives a YN_NULL. On failure *ret_place (may be NULL) says where, {0, 0} when nowhere. */
MUST_CHECK bool yaml_read(struct str text, struct arena *arena, struct ynode **ret, struct yaml_place *ret_place, struct err *err);

/* The value of a key, or NULL; also when `map` is NULL or no map. Marks it as seen. */
struct ynode *ynode_get(const struct ynode *map, const char *key);
/* The same without marking. */
struct ynode *ynode_peek(const struct ynode *map, struct str key);
/* "a list", "text", ... for messages. */
const char *ynode_kind_word(const struct ynode *node);
bool ynode_is_scalar(const struct ynode *node);
/* Scalars whose text is a number by the core schema, quoted or not. */
bool ynode_number(const struct ynode *node, double *ret);
bool ynode_integer(const struct ynode *node, int64_t *ret);
/* A whole number that does not fit in 64 bits: it is a YN_FLOAT. */
bool ynode_overflows(const struct ynode *node);

/* The node a path such as `parameters.lr.values[2]` names, or as much of the path as there is; never NULL unless root is. Names may
 * hold dots: the longest key that fits is taken. */
const struct ynode *ynode_at(const struct ynode *root, struct str path);

/* A new tree of the same values; numbers that JSON cannot say are the strings "NaN", "Infinity", "-Infinity". The caller owns it. */
MUST_CHECK bool ynode_to_json(const struct ynode *node, json_t **ret, struct err *err);

/* ---- building, for translators: nodes that stand where `at` stands (NULL: nowhere); NULL without memory ---- */
MUST_CHECK struct ynode *ynode_new_text(struct arena *arena, const struct ynode *at, struct str text);
/* By the core schema, so "12" is an integer. */
MUST_CHECK struct ynode *ynode_new_plain(struct arena *arena, const struct ynode *at, struct str text);
MUST_CHECK struct ynode *ynode_new_number(struct arena *arena, const struct ynode *at, double value);
MUST_CHECK struct ynode *ynode_new_int(struct arena *arena, const struct ynode *at, int64_t value);
MUST_CHECK struct ynode *ynode_new_list(struct arena *arena, const struct ynode *at);
MUST_CHECK struct ynode *ynode_new_map(struct arena *arena, const struct ynode *at);
/* `item`, `value` may be NULL (then false), so that calls nest. `key` is copied. */
MUST_CHECK bool ynode_append(struct arena *arena, struct ynode *list, struct ynode *item);
MUST_CHECK bool ynode_put(struct arena *arena, struct ynode *map, const char *key, struct ynode *value);

#endif
