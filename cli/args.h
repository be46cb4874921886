/* Arguments against the table: pure, no output. */
#ifndef WINNOW_CLI_ARGS_H
#define WINNOW_CLI_ARGS_H

#include "base/arena.h"
#include "base/err.h"
#include "cli/verb.h"

struct flag_value {
  const struct flag_row *flag;
  const char *text;
};

struct args {
  const struct verb_table *table;
  const struct noun *noun; /* NULL: none was given */
  const struct verb *verb; /* NULL: the noun stands alone, or help was asked for */
  struct flag_value *flags;
  size_t flag_count;
  const char **words; /* what stands after the verb; with VERB_COMMAND and VERB_RAW the command */
  size_t word_count;
  bool wants_help;
};

/* `argv` is without the program's name and outlives `ret`, whose arrays lie in `arena`. Errors are ERR_INVALID with a hint of what to type.
 */
MUST_CHECK bool args_parse(const struct verb_table *table, int argc, const char *const *argv, struct arena *arena, struct args *ret,
                           struct err *err);

/* The last value given, else the row's default, else NULL. Asking for a flag that has no row is a bug and ends the program. */
const char *args_text(const struct args *args, const char *name);
bool args_given(const struct args *args, const char *name);
bool args_bool(const struct args *args, const char *name);
/* `otherwise` when neither given nor defaulted. Values were checked by the parser. */
int64_t args_i64(const struct args *args, const char *name, int64_t otherwise);
/* Milliseconds. */
int64_t args_duration(const struct args *args, const char *name, int64_t otherwise);
/* Goes through the values of a repeatable flag; NULL at the end. */
const char *args_each(const struct args *args, const char *name, size_t *cursor);
/* NULL when it was not given. */
const char *args_word(const struct args *args, size_t at);

#endif
