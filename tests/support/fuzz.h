/* For fuzz targets. */
#ifndef WINNOW_TESTS_FUZZ_H
#define WINNOW_TESTS_FUZZ_H

#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold, as long as there was memory for all of it. Returns whether it does, so that what follows from it can be left out. */
static inline bool claim(bool holds) {
  if (!holds && !mem_has_failed())
    abort();
  return holds;
}

#endif
