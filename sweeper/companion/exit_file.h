/* How an attempt ended, as lines of `name value`: told to the service, and left in the attempt's directory for a service that was away or
 * finds us dead. The file is complete before anybody is told. Nobody acts on the end before it is stored somewhere, so it is synced only
 * when the service has not stored it at once. */
#ifndef WINNOW_COMPANION_EXIT_FILE_H
#define WINNOW_COMPANION_EXIT_FILE_H

#include "base/buf.h"
#include "sweeper/companion/process.h"

struct exit_story {
  const char *start_error; /* "": the command ran */
  int wait_status;
  const char *ended_by; /* why we ended it; NULL: we did not */
  enum process_oom oom;
  bool has_memory_limit;
  int64_t begun_ms, ended_ms, cpu_ms, rss_peak, printed[2];
};

/* One line; what would end it within the value becomes a space. */
void exit_line_put(struct buf *out, const char *name, const char *value);
/* Pure. */
void exit_story_put(const struct exit_story *story, struct buf *out);
/* Has an earlier companion of the attempt seen its end? Also where that cannot be found out. */
bool exit_file_is_there(const char *dir);
/* What it left, but for what became of the artifacts. */
MUST_CHECK bool exit_file_read(const char *dir, struct buf *out, int64_t *ret_begun_ms, int64_t *ret_ended_ms, struct err *err);
MUST_CHECK bool exit_file_write(const char *dir, struct str text, struct err *err);
/* Fails also when there is none. */
MUST_CHECK bool exit_file_sync(const char *dir, struct err *err);
/* The service has stored it: whoever finds the directory may remove it. */
MUST_CHECK bool exit_file_told(const char *dir, struct err *err);

#endif
