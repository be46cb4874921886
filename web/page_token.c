#include "web/page_token.h"

#include <openssl/sha.h>

#include "base/id.h"
#include "base/json.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static bool base64_read(struct str text, struct buf *out) {
  unsigned bits = 0, have = 0;
  if (text.n % 4 == 1)
    return false;
  for (size_t i = 0; i < text.n; i++) {
    const char *at = text.p[i] ? strchr(digits, text.p[i]) : NULL;
    if (!at)
      return false;
    bits = bits << 6 | (unsigned)(at - digits);
    have += 6;
    if (have >= 8) {
      have -= 8;
      buf_putc(out, (char)(bits >> have & 0xFF));
    }
  }
  return true;
}

enum { QUESTION_PARTS = 4, PART_DIGITS = 8, PRINT_DIGITS = QUESTION_PARTS * PART_DIGITS };

static void fingerprint(const struct page_question *question, char out[PRINT_DIGITS + 1]) {
  const struct str parts[QUESTION_PARTS] = {question->scope, question->experiments, question->filter, question->order};
  unsigned char hash[SHA256_DIGEST_LENGTH];
  for (int i = 0; i < QUESTION_PARTS; i++) {
    SHA256((const unsigned char *)parts[i].p, parts[i].n, hash);
    for (int j = 0; j < PART_DIGITS / 2; j++)
      snprintf(out + i * PART_DIGITS + 2 * j, 3, "%02x", hash[j]);
  }
}

/* MLflow's words, where it has some. */
static bool check_question(const struct page_question *question, struct str print, struct err *err) {
  static const char *const errors[QUESTION_PARTS] = {
      "it belongs to another question",
      "Experiment IDs in the page token do not match the requested experiment IDs.",
      "Filter string in the page token does not match the requested filter string.",
      "Order by in the page token does not match the requested order by.",
  };
  char ours[PRINT_DIGITS + 1];
  fingerprint(question, ours);
  for (size_t i = 0; i < QUESTION_PARTS; i++)
    if (print.n != PRINT_DIGITS || memcmp(print.p + i * PART_DIGITS, ours + i * PART_DIGITS, PART_DIGITS) != 0)
      return err_set(err, ERR_INVALID, "Invalid page token: %s", errors[i]);
  return true;
}

/* ["fingerprint", value, value, ...] */
void page_token_write(struct buf *out, const struct page_question *question, const struct str *values, size_t count) {
  AUTO_BUF struct buf json = BUF_INIT(PAGE_TOKEN_MAX);
  struct json_writer w;
  char print[PRINT_DIGITS + 1];
  fingerprint(question, print);
  jw_init(&w, &json);
  jw_array(&w);
  jw_text(&w, print);
  for (size_t i = 0; i < count; i++)
    jw_str(&w, values[i]);
  jw_array_end(&w);
  char *room = json.fail ? NULL : buf_room(out, json.n / 3 * 4 + 4);
  if (json.fail)
    out->fail = json.fail;
  else if (room)
    buf_grew(out, base64url_encode(json.p, json.n, room));
}

bool page_token_read(struct str token, const struct page_question *question, struct arena *arena, const struct str **ret, size_t *ret_count,
                     struct err *err) {
  AUTO_BUF struct buf bytes = BUF_INIT(PAGE_TOKEN_MAX);
  AUTO_JSON json_t *json = NULL;
  if (token.n > 2 * PAGE_TOKEN_MAX || !base64_read(token, &bytes) || !json_read(buf_str(&bytes), &json, NULL) || !json_is_array(json) ||
      json_array_size(json) == 0 || json_array_size(json) > PAGE_VALUES_MAX)
    return err_set(err, ERR_INVALID, "Invalid page token, could not base64-decode it to one of ours");
  if (!check_question(question, json_str(json_array_get(json, 0)), err))
    return false;
  size_t count = json_array_size(json) - 1;
  struct str *values = ARENA_NEW_ARRAY(arena, struct str, count ? count : 1);
  if (!values)
    return err_no_memory(err);
  for (size_t i = 0; i < count; i++) {
    const json_t *item = json_array_get(json, i + 1);
    if (json_is_null(item))
      continue;
    if (!json_is_string(item))
      return err_set(err, ERR_INVALID, "Invalid page token");
    const char *copy = arena_strdup(arena, json_str(item));
    if (!copy)
      return err_no_memory(err);
    values[i] = str_n(copy, json_string_length(item));
  }
  *ret = values;
  *ret_count = count;
  return true;
}
