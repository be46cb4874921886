/* Packed columns: any text is walked to an end, every piece lies within it. The same bytes as paths, keys and page tokens. */
#include "tracker/names.h"
#include "tracker/packed.h"
#include "web/page_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void within(struct str whole, struct str piece) {
  if (piece.p < whole.p || piece.p + piece.n > whole.p + whole.n)
    __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str text = str_n((const char *)data, size), key, value, item;
  AUTO_BUF struct buf out = BUF_INIT(MIB);
  for (size_t cursor = 0; packed_next(text, &cursor, &key, &value);) {
    within(text, key);
    within(text, value);
    packed_unquote(key, &out);
    for (size_t at = 0; packed_item(value, &at, &item);)
      within(value, item);
    struct str items[METRIC_ITEMS];
    if (packed_metric(value, items) && !items[METRIC_COUNT].n && !items[METRIC_STEP].p)
      __builtin_trap();
  }
  struct err err;
  struct str path;
  if (artifact_below_check(text, &path, &err)) {
    struct str rest = path, part;
    within(text, path);
    while (path.n && str_split(&rest, '/', &part))
      if (part.n == 0 || str_is(part, "..") || str_is(part, "."))
        __builtin_trap();
    if (path.n && path.p[0] == '/')
      __builtin_trap();
  } else if (artifact_path_check(text, &path, &err)) {
    __builtin_trap(); /* it is the stricter one */
  }
  if (str_is_utf8(text) && !key_check(text, "key", &err) && !err.text[0])
    __builtin_trap();
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  const struct str *values;
  size_t count;
  if (page_token_read(text, &(struct page_question){.scope = STR("q")}, &arena, &values, &count, &err) && count > PAGE_VALUES_MAX)
    __builtin_trap();
  return 0;
}
