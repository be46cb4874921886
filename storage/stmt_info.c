#include "storage/pg/stmt_info.h"

static const struct stmt_info *extra;
static size_t extra_count;

const struct stmt_info *stmt_info(enum stmt stmt) {
  size_t i = (size_t)stmt;
  if (i < STMT_COUNT)
    return &stmt_table[i];
  return i - STMT_COUNT < extra_count ? &extra[i - STMT_COUNT] : NULL;
}

void stmt_set_extra(const struct stmt_info *table, size_t count) {
  extra = table;
  extra_count = count < STMT_EXTRA_MAX ? count : STMT_EXTRA_MAX;
}
