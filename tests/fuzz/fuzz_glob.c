/* A pattern and a path, divided by the first line end: what matches is reached from every directory above it. */
#include "base/glob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str path = str_n((const char *)data, size), pattern;
  if (!size || !str_split(&path, '\n', &pattern) || !path.p)
    return 0;
  if (!glob_match(pattern, path))
    return 0;
  for (size_t i = 0; i + 1 < path.n; i++)
    if (path.p[i] == '/' && path.p[i + 1] != '/' && i > 0 && !glob_reaches(pattern, str_slice(path, 0, i)) &&
        str_find(str_slice(path, i + 1, path.n), '/') == SIZE_MAX && !str_is(str_slice(path, i + 1, path.n), "."))
      abort();
  return 0;
}
