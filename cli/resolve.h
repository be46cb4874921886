/* From what people type to ids: whole ids, unique beginnings, names, @latest, @best, SWEEP/12, SWEEP/best. What means nothing is
 * ERR_NOT_FOUND; so is what means several things, with the matches in the text. */
#ifndef WINNOW_CLI_RESOLVE_H
#define WINNOW_CLI_RESOLVE_H

#include "base/id.h"
#include "cli/cli.h"
#include "tracker/names.h"

enum { RESOLVED_MAX = 512 };

/* Ids begin with the time they were made at. When a run started is what its client says, and not every client does. */
#define RUNS_NEWEST_FIRST "attributes.run_id DESC"

MUST_CHECK bool resolve_run(struct cli *cli, const char *word, char ret[RESOLVED_MAX], struct err *err);
MUST_CHECK bool resolve_sweep(struct cli *cli, const char *word, char ret[RESOLVED_MAX], struct err *err);
MUST_CHECK bool resolve_experiment(struct cli *cli, const char *word, char ret[RESOLVED_MAX], struct err *err);
/* One in the trash. */
MUST_CHECK bool resolve_deleted_experiment(struct cli *cli, const char *word, char ret[RESOLVED_MAX], struct err *err);
MUST_CHECK bool resolve_token(struct cli *cli, const char *word, char ret[RESOLVED_MAX], struct err *err);

/* "NAME", "NAME/3", "NAME@alias". `version` and `alias` are empty when not given. Pure. */
struct model_ref {
  char name[MODEL_NAME_BYTES_MAX + 1], version[24], alias[RESOLVED_MAX];
};
MUST_CHECK bool model_ref_parse(const char *word, struct model_ref *ret, struct err *err);
/* The same of a model that is there, whose own name may end in /3 or @alias; such a name gives way to what it says of a shorter one.
 * ERR_NOT_FOUND leaves what was parsed. */
MUST_CHECK bool resolve_model(struct cli *cli, const char *word, struct model_ref *ret, struct err *err);
/* Looks an alias up, and takes the newest version when none is named. */
MUST_CHECK bool resolve_model_version(struct cli *cli, const char *word, struct model_ref *ret, struct err *err);

/* Adds lines `id<TAB>description` for completion; silent on failure. */
void resolve_candidates(struct cli *cli, enum word_kind kind, struct buf *out);

/* The item of `items` that `word` means: its whole id, its name, or a unique beginning of its id. Pure. */
MUST_CHECK bool match_item(const json_t *items, const char *what, const char *word, const char *name_key, const json_t **ret,
                           struct err *err);

#endif
