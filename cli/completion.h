/* Completion for shells. The scripts are short: they hand the words to `winnow __complete`, which answers from the table. */
#ifndef WINNOW_CLI_COMPLETION_H
#define WINNOW_CLI_COMPLETION_H

#include "base/buf.h"
#include "cli/verb.h"

/* Adds lines `id<TAB>description` of everything of this kind; may add nothing. */
typedef void completion_ids(void *ctx, enum word_kind kind, struct buf *out);

/* `words` is what stands after the program's name, the last one unfinished (maybe empty). Adds lines `word<TAB>description`, and the line
 * ":files" when names of files fit. Pure but for `ids`, which may be NULL. */
void complete_words(const struct verb_table *table, const char *const *words, size_t count, completion_ids *ids, void *ctx,
                    struct buf *out);

extern const char *const completion_shells[]; /* NULL-ended */
/* NULL for a shell that is not known. */
const char *completion_script(struct str shell);

#endif
