/* The pull reader, and the tree that is built of what it reads, against jansson: all accept the text or all refuse it, and what they read
 * is the same, in the same order. */
#include "base/json.h"
#include "base/json_pull.h"
#include "tests/support/fuzz.h"

static void same_value(struct json_pull *pull, enum json_token token, const json_t *tree) {
  switch (token) {
  case JSON_T_OBJECT: {
    size_t keys = 0;
    claim(json_is_object(tree));
    while ((token = json_pull_next(pull)) == JSON_T_KEY) {
      json_t *value = json_object_getn(tree, pull->text.p, pull->text.n);
      claim(value != NULL);
      keys++;
      same_value(pull, json_pull_next(pull), value);
    }
    claim(token == JSON_T_OBJECT_END && keys == json_object_size(tree));
    break;
  }
  case JSON_T_ARRAY: {
    size_t items = 0;
    claim(json_is_array(tree));
    while ((token = json_pull_next(pull)) != JSON_T_ARRAY_END && token != JSON_T_ERROR)
      same_value(pull, token, json_array_get(tree, items++));
    claim(items == json_array_size(tree));
    break;
  }
  case JSON_T_STR:
    claim(json_is_string(tree) && str_eq(pull->text, json_str(tree)));
    break;
  case JSON_T_INT:
    claim(json_is_integer(tree) && pull->whole == json_integer_value(tree));
    break;
  case JSON_T_REAL: {
    double expected = json_real_value(tree);
    claim(json_is_real(tree) && memcmp(&pull->real, &expected, sizeof expected) == 0);
    break;
  }
  case JSON_T_TRUE:
    claim(json_is_true(tree));
    break;
  case JSON_T_FALSE:
    claim(json_is_false(tree));
    break;
  case JSON_T_NULL:
    claim(json_is_null(tree));
    break;
  default:
    claim(false);
  }
}

/* Order and types and all. */
static void same_text(const json_t *a, const json_t *b) {
  AUTO_BUF struct buf x = BUF_INIT(64 * MIB), y = BUF_INIT(64 * MIB);
  struct json_writer w;
  jw_init(&w, &x);
  jw_json(&w, a);
  jw_init(&w, &y);
  jw_json(&w, b);
  claim(json_equal(a, b) && (x.fail || str_eq(buf_str(&x), buf_str(&y))));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str text = str_n((const char *)data, size);
  AUTO_JSON json_t *tree = NULL;
  struct err err;
  bool accepted = json_read_slowly(text, &tree, &err);
  AUTO_JSON json_t *quick = NULL;
  claim(json_read(text, &quick, &err) == accepted);
  if (accepted)
    same_text(tree, quick);
  AUTO_ARENA struct arena arena = ARENA_INIT(64 * MIB);
  {
    AUTO_JSON_PULL struct json_pull pull;
    json_pull_init(&pull, text, &arena);
    if (accepted) {
      same_value(&pull, json_pull_next(&pull), tree);
      claim(json_pull_next(&pull) == JSON_T_END && json_pull_next(&pull) == JSON_T_END);
    } else {
      enum json_token token;
      do
        token = json_pull_next(&pull);
      while (token != JSON_T_ERROR && token != JSON_T_END);
      claim(token == JSON_T_ERROR);
    }
  }
  AUTO_JSON_PULL struct json_pull again;
  json_pull_init(&again, text, &arena);
  claim((json_pull_skip(&again, json_pull_next(&again)) && json_pull_next(&again) == JSON_T_END) == accepted);
  return 0;
}
