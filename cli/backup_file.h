/* A backup on its way in: read as it comes, checked against its own lists and digests, and unpacked if wanted. Its form:
 * web/api/api_backup.c.
 */
#ifndef WINNOW_CLI_BACKUP_FILE_H
#define WINNOW_CLI_BACKUP_FILE_H

#include "base/err.h"
#include "base/str.h"

/* An unpacked backup: winnow-backup.json, database.dump, artifacts/, artifacts.jsonl (in the order of the paths), end.json. */
#define BACKUP_DUMP "database.dump"
#define BACKUP_ARTIFACTS "artifacts"
#define BACKUP_LIST "artifacts.jsonl"
#define BACKUP_END "end.json"

struct backup_summary {
  int64_t database_bytes, artifacts, artifact_bytes, damaged; /* damaged: already when the backup was made */
  char database_sha256[65];
};

struct backup_reader;
/* Unpacks into the empty directory `directory`; NULL: only checks. NULL on failure. */
MUST_CHECK struct backup_reader *backup_reader_new(const char *directory, struct err *err);
void backup_reader_free(struct backup_reader *reader); /* accepts NULL */
MUST_CHECK bool backup_feed(struct backup_reader *reader, struct str bytes, struct err *err);
/* Was it whole? What was unpacked is synced. */
MUST_CHECK bool backup_finish(struct backup_reader *reader, struct backup_summary *ret, struct err *err);
/* Of an unpacked one: compares the dump and every artifact with the lists. */
MUST_CHECK bool backup_check_directory(const char *directory, struct backup_summary *ret, struct err *err);

/* A line of the list. */
struct backup_line {
  struct str path; /* borrowed */
  int64_t size;    /* -1: it was missing */
  uint8_t sha256[32];
  bool damaged, kept; /* kept: by a version of a model; it has no row */
};
/* In order; false from `fn` ends it. */
typedef bool backup_line_fn(void *ctx, const struct backup_line *line, struct err *err);
MUST_CHECK bool backup_lines(const char *directory, backup_line_fn *fn, void *ctx, struct err *err);

#endif
