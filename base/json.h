/* JSON: a writer that appends to a buffer without building a tree, and helpers over jansson for reading with limits.
 * Numbers that JSON cannot say are the strings "NaN", "Infinity", "-Infinity", both ways. */
#ifndef WINNOW_BASE_JSON_H
#define WINNOW_BASE_JSON_H

#include <jansson.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

/* ---- writing ---- */

#define JSON_WRITER_DEPTH 32

/* Commas and colons are placed by the writer; the caller balances begin and end. Failure is the buffer's. */
struct json_writer {
  struct buf *out;
  unsigned depth;
  bool has_item[JSON_WRITER_DEPTH];
  bool after_key;
};

void jw_init(struct json_writer *w, struct buf *out);
void jw_object(struct json_writer *w);
void jw_object_end(struct json_writer *w);
void jw_array(struct json_writer *w);
void jw_array_end(struct json_writer *w);
void jw_key_str(struct json_writer *w, struct str key);
static inline void jw_key(struct json_writer *w, const char *key) {
  jw_key_str(w, str_of(key));
}
/* A str without p is null. Bytes that are no UTF-8 become U+FFFD. */
void jw_str(struct json_writer *w, struct str value);
void jw_text(struct json_writer *w, const char *value); /* NULL is null */
void jw_i64(struct json_writer *w, int64_t value);
void jw_f64(struct json_writer *w, double value);
void jw_bool(struct json_writer *w, bool value);
void jw_null(struct json_writer *w);
/* Text that is JSON already. */
void jw_raw(struct json_writer *w, struct str json);
/* A whole jansson value. */
void jw_json(struct json_writer *w, const json_t *value);

/* key and value in one call */
void jw_put_str(struct json_writer *w, const char *key, struct str value);
void jw_put_text(struct json_writer *w, const char *key, const char *value);
void jw_put_i64(struct json_writer *w, const char *key, int64_t value);
void jw_put_f64(struct json_writer *w, const char *key, double value);
void jw_put_bool(struct json_writer *w, const char *key, bool value);
void jw_put_null(struct json_writer *w, const char *key);

/* Null where there is none. */
void jw_put_i64_if(struct json_writer *w, const char *key, bool has, int64_t value);
void jw_put_f64_if(struct json_writer *w, const char *key, bool has, double value);

/* The text as a JSON string with its quotes, for those who do not use the writer. */
void json_quote(struct buf *out, struct str text);

/* ---- reading ---- */

void json_cleanup(json_t **json);
#define AUTO_JSON CLEANUP(json_cleanup)

/* Whole text, one value, UTF-8, no duplicate keys, depth at most 64, no NUL in strings. A whole number
 * beyond an int64_t is a real. Errors carry line and column. The caller owns the result. */
MUST_CHECK bool json_read(struct str text, json_t **ret, struct err *err);
/* The same of what a client sends: with more values than this (brackets and commas are counted) it is ERR_TOO_LARGE before anything is
 * made of it, for a tree of a million holds the loop for a second. */
enum { JSON_BODY_ITEMS = 1 << 15 };
MUST_CHECK bool json_read_body(struct str text, json_t **ret, struct err *err);
/* json_read_body() where such a number, as the value of a key, becomes the text that it is: seeds, say. */
MUST_CHECK bool json_read_body_exactly(struct str text, json_t **ret, struct err *err);
/* json_read() as jansson alone does it: what the quick way is held against, by a fuzz target, and what says of a text that is no JSON why.
 */
MUST_CHECK bool json_read_slowly(struct str text, json_t **ret, struct err *err);
struct str json_str(const json_t *string); /* STR_NONE when it is no string */

/* Decoding an object by table. Unknown keys fail with the nearest known one, missing required ones with their name; `path` in the
 * errors says where ("parameters.lr.min"). */
enum json_type {
  JSON_F_STR,    /* struct str, borrowed from the tree */
  JSON_F_I64,    /* int64_t; integral reals are accepted */
  JSON_F_F64,    /* double; integers and the three strings are accepted */
  JSON_F_BOOL,   /* bool */
  JSON_F_OBJECT, /* const json_t *, borrowed */
  JSON_F_ARRAY,  /* const json_t *, borrowed */
  JSON_F_ANY,    /* const json_t *, borrowed; null counts as given */
};

struct json_field {
  const char *name;
  enum json_type type;
  size_t offset;
  bool required;
  bool nullable;     /* null is the same as absent; else null is an error */
  int64_t min, max;  /* numbers: bounds; strings: bytes; arrays: items. Both 0: none */
  size_t present_at; /* offset of a bool that says "was given"; 0: none (so never put that bool first) */
};

MUST_CHECK bool json_decode(const json_t *object, const struct json_field *fields, size_t count, const char *path, void *ret_struct,
                            struct err *err);

#endif
