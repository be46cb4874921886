/* Whatever the bytes are: a sweep whose normal form reads as the same normal form, or mistakes that all have a text. */
#include "sweeper/file/sweep_file.h"

#include "base/json.h"
#include "tests/support/fuzz.h"

static void check_again(const struct sweep_file *file) {
  AUTO_BUF struct buf first = BUF_INIT(64 * MIB);
  AUTO_BUF struct buf second = BUF_INIT(64 * MIB);
  AUTO_ARENA struct arena arena = ARENA_INIT(64 * MIB);
  struct spec_problems errors;
  struct err err = {0};
  struct sweep_file *again;
  if (!claim(sweep_file_normal_form(file, &first, &err)) || !claim(sweep_file_read(buf_str(&first), "", &arena, &again, &errors, &err)))
    return;
  claim(sweep_file_normal_form(again, &second, &err) && str_eq(buf_str(&first), buf_str(&second)));
  sweep_file_free(again);
  AUTO_JSON json_t *space = NULL;
  claim(sweep_file_space(file, &space, &err));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size > 100000)
    return 0;
  AUTO_ARENA struct arena arena = ARENA_INIT(64 * MIB);
  struct sweep_file *file;
  struct spec_problems errors;
  struct err err = {0};
  if (sweep_file_read(str_n((const char *)data, size), "x.yaml", &arena, &file, &errors, &err)) {
    check_again(file);
    sweep_file_free(file);
    return 0;
  }
  claim(err.text[0]);
  for (size_t i = 0; i < MIN_OF(errors.count, (size_t)SPEC_PROBLEMS_MAX); i++)
    claim(errors.items[i].message[0]);
  return 0;
}
