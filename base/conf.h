/* Settings from tables owned by the modules. One row serves the file, the environment, the arguments, and the help.
 * Later sources win: default, file, environment (WINNOW_<NAME>), arguments (--<name>). In all of them '-' and '_' are the same. */
#ifndef WINNOW_BASE_CONF_H
#define WINNOW_BASE_CONF_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum conf_type {
  CONF_BOOL,     /* bool */
  CONF_INT,      /* int64_t, within min..max */
  CONF_SIZE,     /* uint64_t bytes, within min..max */
  CONF_DURATION, /* int64_t milliseconds, within min..max */
  CONF_TEXT,     /* const char *, NULL when the default is NULL; owned by the conf's arena */
  CONF_CHOICE,   /* int, index into choices */
};

struct conf_row {
  const char *name; /* kebab-case */
  enum conf_type type;
  size_t offset;              /* of the field in the settings struct */
  const char *default_text;   /* parsed like any other value; NULL only for CONF_TEXT */
  int64_t min, max;           /* both 0: no bounds */
  const char *const *choices; /* NULL-ended, for CONF_CHOICE */
  bool reload;                /* takes effect on SIGHUP */
  bool secret;                /* never printed */
  const char *help;           /* one line */
};

/* Rows name fields of `type`. */
#define CONF_FIELD(type, field) offsetof(type, field)

/* Sets every field to its default. */
MUST_CHECK bool conf_defaults(const struct conf_row *rows, size_t count, void *settings, struct arena *arena, struct err *err);
/* One value; `where` names the source in errors ("--slots", "winnow.conf:3"). Unknown names fail with the nearest one. */
MUST_CHECK bool conf_set(const struct conf_row *rows, size_t count, void *settings, struct arena *arena, const char *where, struct str name,
                         struct str value, struct err *err);
/* Lines `name = value`, `#` comments, blank lines; errors name file, line and the nearest key. A value may stand in double quotes. */
MUST_CHECK bool conf_read_file(const struct conf_row *rows, size_t count, void *settings, struct arena *arena, const char *path,
                               struct err *err);
/* The same from memory: pure, for tests and the fuzzer. */
MUST_CHECK bool conf_read_text(const struct conf_row *rows, size_t count, void *settings, struct arena *arena, const char *path,
                               struct str text, struct err *err);
/* Every WINNOW_<NAME> of `environment` (as environ) that names a row; others are left alone. */
MUST_CHECK bool conf_read_env(const struct conf_row *rows, size_t count, void *settings, struct arena *arena, char *const *environment,
                              struct err *err);
/* NULL when there is none. */
const struct conf_row *conf_find(const struct conf_row *rows, size_t count, struct str name);
/* Has the field the same value in both? */
bool conf_is_same(const struct conf_row *row, const void *settings, const void *others);
/* The value as text, into `out`; secrets are "***". */
struct buf;
void conf_print_value(const struct conf_row *row, const void *settings, struct buf *out);
/* What `winnow help settings` shows: every row with type, default, bounds, help. */
void conf_print_help(const struct conf_row *rows, size_t count, struct buf *out);

#endif
