/* What the program shows. Data goes to standard output in the format asked for, chatter to standard error. Everything a server said is
 * escaped on its way to a terminal. */
#ifndef WINNOW_CLI_OUTPUT_H
#define WINNOW_CLI_OUTPUT_H

#include "base/clock.h"
#include "cli/encode.h"
#include "cli/table.h"

enum output_format { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_JSON, OUTPUT_JSONL, OUTPUT_CSV, OUTPUT_YAML, OUTPUT_NAME };
extern const char *const output_formats[]; /* NULL-ended, in the order of the enum */

struct output {
  enum output_format format;
  bool colours;       /* on standard output */
  bool error_colours; /* on standard error */
  bool quiet;         /* no chatter */
  size_t columns;     /* of the terminal; 0: no limit */
  bool is_tty;        /* standard output */
  bool error_is_tty;
  const struct clock *clock;
  bool csv_titled;    /* the titles were printed already */
  const char *before; /* goes out with the next bytes, once: clears the screen of what is repainted */
};

enum column_kind {
  COLUMN_TEXT,
  COLUMN_ID,       /* shortened to what tells the rows apart; whole with `wide` */
  COLUMN_STATE,    /* coloured */
  COLUMN_COUNT,    /* a whole number */
  COLUMN_NUMBER,   /* six digits */
  COLUMN_AGE,      /* milliseconds UTC, shown as "3m ago" */
  COLUMN_SPAN,     /* from `path` to `until`, or to now: "2h 03m" */
  COLUMN_DURATION, /* seconds */
  COLUMN_SIZE,     /* bytes */
  COLUMN_YES,      /* true is "yes", everything else nothing */
  COLUMN_LIST,     /* an array's items with commas, or an object's as key=value */
  COLUMN_ITEMS,    /* the same, of a single object each item on lines of its own */
  COLUMN_COMMAND,  /* an array's items as words of a shell */
};

struct column {
  const char *title;
  const char *path; /* "best.value"; a key that holds dots is found whole first */
  enum column_kind kind;
  bool wide;         /* only with -o wide, and in csv */
  const char *until; /* for COLUMN_SPAN */
};

struct view {
  const struct column *columns;
  size_t column_count;
  const char *id;   /* path of what `-o name` prints */
  const char *none; /* said on standard error when there are no items: "no sweeps" */
  const char *of;   /* NULL, or path of what `-o name` prints before that, with a slash */
};

#define VIEW(rows, id_path, none_text) \
  { rows, ARRAY_LEN(rows), id_path, none_text, NULL }
#define VIEW_OF(of_path, rows, id_path, none_text) \
  { rows, ARRAY_LEN(rows), id_path, none_text, of_path }

/* NULL when absent or null. */
const json_t *json_at_path(const json_t *object, const char *path);
/* A cell as people see it. `now_ms` is for ages. */
void column_text(const struct column *column, const json_t *item, int64_t now_ms, struct buf *out);

/* The text of a list or an object in the format asked for. Pure but for the clock. */
MUST_CHECK bool output_render_list(struct output *output, const struct view *view, const json_t *items, const json_t *next, struct buf *out,
                                   struct err *err);
MUST_CHECK bool output_render_object(struct output *output, const struct view *view, const json_t *object, struct buf *out,
                                     struct err *err);

/* The same, written. When the reader of a pipe is gone the program ends as if by SIGPIPE. */
MUST_CHECK bool output_list(struct output *output, const struct view *view, const json_t *items, const json_t *next, struct err *err);
MUST_CHECK bool output_object(struct output *output, const struct view *view, const json_t *object, struct err *err);
/* Any JSON: in the format asked for, without a view; for people as lines `path  value`. */
MUST_CHECK bool output_any(struct output *output, const json_t *value, struct err *err);
MUST_CHECK bool output_bytes(struct output *output, struct str bytes, struct err *err);
/* What the service wrote, piece by piece and as it is: only a terminal gets it through the filter. */
MUST_CHECK bool output_filtered(struct output *output, struct log_filter *filter, struct str bytes, struct err *err);
MUST_CHECK bool output_table(struct output *output, const struct table *table, bool titles, struct err *err);
/* Is the output for people (table, wide)? */
bool output_for_people(const struct output *output);

/* A line on standard error, unless quiet. Arguments are escaped. */
void output_say(const struct output *output, const char *format, ...) PRINTF_LIKE(2, 3);
/* "error: what", "help: what to type next", "request: id"; `more` is as client_problems() promises. Never silenced. */
void output_error(const struct output *output, const struct err *err, const json_t *more, const char *request_id);

#endif
