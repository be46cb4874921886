/* The parts of the verb table, and the rows of flags and columns that several of them share. */
#ifndef WINNOW_CLI_VERBS_H
#define WINNOW_CLI_VERBS_H

#include "cli/cli.h"
#include "cli/resolve.h"

extern const struct verb_set meta_verbs, access_verbs, status_verbs, experiment_verbs, run_verbs, run_data_verbs, logs_verbs,
    artifact_verbs, model_verbs, sweep_verbs, trial_verbs, cluster_verbs, export_verbs, parse_verbs, admin_verbs, reparse_verbs,
    backup_verbs;
#ifdef WINNOW_WITH_SERVE
extern const struct verb_set serve_verbs, exec_verbs;
#endif

#define ROW_FLAG_LIMIT(text) \
  { .name = "limit", .letter = 'n', .type = FLAG_INT, .value_name = "N", .default_text = text, .help = "at most N items; 0 for all" }
#define ROW_FLAG_WATCH \
  { .name = "watch", .letter = 'w', .type = FLAG_BOOL, .help = "again every two seconds, until Ctrl-C" }
#define ROW_FLAG_FOLLOW(text) \
  { .name = "follow", .letter = 'f', .type = FLAG_BOOL, .help = text }
#define ROW_FLAG_EXPERIMENT                                                                                           \
  {                                                                                                                   \
    .name = "experiment", .letter = 'e', .type = FLAG_TEXT, .value_name = "EXPERIMENT", .completes = WORD_EXPERIMENT, \
    .help = "name or id of the experiment"                                                                            \
  }

#define FLAGS(rows) .flags = rows, .flag_count = ARRAY_LEN(rows)

/* Shown by more than one noun. */
extern const struct view run_view, trial_view, artifact_view, event_view;

/* Follows a sweep until it ends; the exit code says how it ended. `timeout_ms` 0: for ever. Used by watch, create -f and up. */
int sweep_follow(struct cli *cli, const char *sweep_id, int64_t timeout_ms);
/* Reads FILE ("-": standard input) and submits it. The caller owns *ret_sweep. */
MUST_CHECK bool sweep_submit(struct cli *cli, const char *file, bool dry_run, json_t **ret_sweep, struct err *err);
/* Shows a run's output from its beginning, to its end with `follow`. */
struct log_request {
  const char *run_id, *stream;
  int64_t attempt; /* 0: the newest; of a run that is followed, also those that come after it */
  int64_t tail;    /* lines; -1: from the beginning */
  const char *grep;
  bool follow;
  bool raw;    /* bytes as they are, also on a terminal */
  bool is_new; /* it was launched this moment: that it is silent so far is no news */
};
MUST_CHECK bool logs_show(struct cli *cli, const struct log_request *request, struct err *err);
/* To people, on standard error: the last lines of a run that failed, and how to see the others. */
void logs_last_words(struct cli *cli, const char *run_id);
/* The same of a run as the service shows it, if it is a job that failed. */
void run_last_words(struct cli *cli, const json_t *run);
/* A tree of artifacts (`list_path` lists it, `file_path` + name reads one) into a directory: names are checked, nothing is written
 * outside `target`, links are refused, every file appears whole or not at all. */
struct tree_download {
  const char *list_path; /* a listing; items have path, is_dir, size, sha256 */
  const char *file_path; /* ends with a slash */
  const char *strip;     /* taken off the front of every name; NULL: nothing */
  const char *target;
};
struct tree_got {
  size_t files, gone; /* gone: removed since they were listed, and told to people */
  int64_t bytes;
};
MUST_CHECK bool download_tree(struct cli *cli, const struct tree_download *tree, struct tree_got *ret, struct err *err);
/* Of a trial in the order of its sweep's file, of other runs by name. */
MUST_CHECK json_t *run_params(const json_t *run, struct err *err);
/* What lies at `wanted` among the files of a run; ERR_NOT_FOUND when nothing does. `ret_item` (may be NULL): as listed, a new reference. */
MUST_CHECK bool artifact_find(struct cli *cli, const char *run_id, const char *wanted, bool *ret_is_directory, json_t **ret_item,
                              struct err *err);
/* May this name of the service become a path beneath a directory of ours? Pure. */
bool artifact_name_is_safe(struct str name);
/* key=value words from `from` on, PATCHed as {"tags": {…}}; "key=" sets an empty text, "key-" removes. */
MUST_CHECK bool add_tag_words(struct cli *cli, size_t from, json_t *tags, struct err *err);

#endif
