/* Heads: fed whole and byte by byte they give the same; what is accepted http-parser accepts with the same framing. */
#include "base/mem.h"
#include "tests/oracle/http_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_slices(struct str bytes, const struct http_head *head) {
  const char *end = bytes.p + bytes.n;
  if (head->path.p < bytes.p && head->path.n > 1)
    abort();
  for (size_t i = 0; i < head->field_count; i++) {
    struct http_field field = head->fields[i];
    if (!http_is_token(field.name) || !http_is_field_value(field.value) || field.value.p < bytes.p || field.value.p + field.value.n > end)
      abort();
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str bytes = str_n((const char *)data, size);
  struct err err;
  size_t whole = 0, slow = 0;
  enum http_head_result result = http_head_scan(bytes, &whole, &err), slow_result = HTTP_HEAD_MORE;
  for (size_t n = 0; n <= size && slow_result == HTTP_HEAD_MORE; n++)
    slow_result = http_head_scan(str_slice(bytes, 0, n), &slow, &err);
  if (result != slow_result || (result == HTTP_HEAD_DONE && whole != slow))
    abort();
  if (result != HTTP_HEAD_DONE)
    return 0;
  /* A copy of the exact size, so that the sanitizer sees a read past the end. */
  char *copy = mem_strndup(bytes.p, whole);
  struct http_head head;
  if (!copy)
    return 0;
  struct str exact = str_n(copy, whole);
  if (http_head_parse(exact, &head, &err)) {
    check_slices(exact, &head);
    const char *difference = http_oracle_check(exact, &head);
    if (difference) {
      fprintf(stderr, "http-parser: %s\n", difference);
      abort();
    }
  } else if (err.code == ERR_NONE || !err.text[0]) {
    abort();
  }
  mem_free(copy);
  return 0;
}
