/* What `winnow parse` does: reads logs and says which points are in them, without a service. */
#ifndef WINNOW_TRACKER_PARSE_FILE_H
#define WINNOW_TRACKER_PARSE_FILE_H

#include "base/err.h"
#include "base/str.h"

enum parse_output { PARSE_TABLE, PARSE_JSONL };

struct parse_options {
  const char *const *files; /* "-" is standard input */
  size_t file_count;        /* 0: standard input */
  const char *const *patterns;
  size_t pattern_count;
  bool no_builtin; /* only the patterns */
  enum parse_output output;
  int out_fd;
  void (*on_unreadable)(void *ctx, const struct err *err); /* one of several files; the others are read. NULL: they are not */
  void *ctx;
};

/* False also when one of several files could not be read, after all others. Writes a line a point: {"file", "line", "key", "value", "step",
 * "epoch"}, or a table with what was recognised under it. */
MUST_CHECK bool parse_run(const struct parse_options *options, struct err *err);

#endif
