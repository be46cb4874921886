/* JSON as a stream of tokens, without a tree: for json_read(), and for the few bodies whose reading is what limits the service. It accepts
 * and refuses exactly what jansson does (duplicate keys, depth, UTF-8, numbers), and reads every number to the same bits; a fuzz target
 * compares the two. It does not say what is wrong: whoever is refused reads the text again with json_read(), which does. */
#ifndef WINNOW_BASE_JSON_PULL_H
#define WINNOW_BASE_JSON_PULL_H

#include "base/arena.h"
#include "base/map.h"
#include "base/str.h"

enum json_token {
  JSON_T_ERROR, /* not JSON, or out of memory; for good */
  JSON_T_END,   /* the value is complete and nothing follows; for good */
  JSON_T_OBJECT,
  JSON_T_OBJECT_END,
  JSON_T_ARRAY,
  JSON_T_ARRAY_END,
  JSON_T_KEY,  /* text; the value comes next */
  JSON_T_STR,  /* text */
  JSON_T_INT,  /* whole, text as it is written */
  JSON_T_REAL, /* real, text as it is written; also a whole number beyond an int64_t */
  JSON_T_TRUE,
  JSON_T_FALSE,
  JSON_T_NULL,
};

enum { JSON_PULL_DEPTH = 64 };

struct json_pull {
  /* Of the token just returned. Text is borrowed from the input, or from the arena where it had escapes. */
  struct str text;
  int64_t whole;
  double real;
  bool keeps_wide; /* may be set: the value of a key that is a whole number beyond an int64_t is a JSON_T_STR, as it is written */

  /* private */
  const char *at, *end;
  struct arena *arena;
  enum { JSON_PULL_VALUE, JSON_PULL_FIRST, JSON_PULL_AFTER, JSON_PULL_DONE, JSON_PULL_FAILED } want;
  unsigned depth;
  struct {
    bool is_object, has_map;
    size_t keys_from; /* its keys are keys[keys_from .. key_count), or in `map` when there are many */
    struct map map;
  } frames[JSON_PULL_DEPTH];
  struct str *keys;
  size_t key_count, key_cap;
};

/* `text` and `arena` outlive the reader. */
void json_pull_init(struct json_pull *pull, struct str text, struct arena *arena);
void json_pull_release(struct json_pull *pull);
#define AUTO_JSON_PULL CLEANUP(json_pull_release)

enum json_token json_pull_next(struct json_pull *pull);
/* Reads over the rest of the value that `token` began. False when it is not JSON. */
MUST_CHECK bool json_pull_skip(struct json_pull *pull, enum json_token token);
/* The number of a JSON_T_INT or JSON_T_REAL. */
static inline double json_pull_number(const struct json_pull *pull, enum json_token token) {
  return token == JSON_T_INT ? (double)pull->whole : pull->real;
}

#endif
