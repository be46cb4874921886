#include "base/ignore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first line is a path, the rest an ignore file. What is taken back last is in. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str rest = str_n((const char *)data, size), path;
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct ignore ignore;
  struct err err;
  if (!str_split(&rest, '\n', &path) || !rest.p)
    return 0;
  if (!ignore_read(rest, &arena, &ignore, &err))
    return 0;
  for (int directory = 0; directory < 2; directory++) {
    enum ignore_says says = ignore_ask(&ignore, path, directory);
    if (!ignore.count && says != IGNORE_SILENT)
      abort();
  }
  return 0;
}
