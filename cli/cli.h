/* What every verb has in hand: arguments, output, the service. A verb is a function that returns an exit code. */
#ifndef WINNOW_CLI_CLI_H
#define WINNOW_CLI_CLI_H

#include "cli/args.h"
#include "cli/client.h"
#include "cli/output.h"

struct cli {
  struct args args;
  struct output output;
  struct arena arena; /* lives as long as the program */
  const struct clock *clock;
  struct rng rng;
  int interrupt_fd;          /* readable after Ctrl-C: a byte for each signal, its number */
  int64_t budget_ms;         /* for the whole of a completion; 0: none */
  struct endpoint *endpoint; /* NULL until cli_endpoint() */
  struct client *client;     /* NULL until cli_client() */
};

/* The whole program; returns the exit status. */
int cli_main(int argc, char **argv);

/* Says what went wrong and returns the exit code that stands for it. */
int cli_fail(struct cli *cli, const struct err *err);
/* EXIT_OK, or what cli_fail() says. */
int cli_done(struct cli *cli, bool ok, const struct err *err);
/* The command line was wrong. */
int cli_usage(struct cli *cli, const char *hint, const char *format, ...) PRINTF_LIKE(3, 4);

/* Found on the first call; owned by the cli. NULL on failure. */
const struct endpoint *cli_endpoint(struct cli *cli, struct err *err);
/* After cli_endpoint(), before the first request: from now on the service that has begun in `directory`. */
MUST_CHECK bool cli_use_directory(struct cli *cli, const char *directory, struct err *err);
/* It is there, with its database. */
MUST_CHECK bool cli_service_answers(struct cli *cli, struct err *err);
struct client *cli_client(struct cli *cli, struct err *err);

/* `format` as path_format(), below /api/v1. The caller owns *ret_json, which may become NULL (204); `ret_json` itself may be NULL. */
MUST_CHECK bool cli_get(struct cli *cli, json_t **ret_json, struct err *err, const char *format, ...);
/* `body` is borrowed and may be NULL. A POST carries an Idempotency-Key. */
MUST_CHECK bool cli_send(struct cli *cli, const char *method, const json_t *body, json_t **ret_json, struct err *err, const char *format,
                         ...);

/* Page after page of a list, at most `limit` items (0: all). With `body` the pages are asked for by POST, with limit and cursor in the
 * body. `page` gets an array. *ret_next (may be NULL) is the cursor that is left, a new reference, or NULL. */
typedef bool cli_page_fn(void *ctx, const json_t *items, struct err *err);
MUST_CHECK bool cli_pages(struct cli *cli, const char *path, json_t *body, int64_t limit, cli_page_fn *page, void *ctx, json_t **ret_next,
                          struct err *err);
/* All of it in one array. */
MUST_CHECK bool cli_list(struct cli *cli, const char *path, json_t *body, int64_t limit, json_t **ret_items, json_t **ret_next,
                         struct err *err);
/* Fetches and shows; --limit and --watch are read when the verb has them. */
int cli_show_list(struct cli *cli, const char *path, json_t *body, const struct view *view);

/* --yes, or a yes at the terminal; else false, said, and *ret_code is what to exit with. */
MUST_CHECK bool cli_confirm(struct cli *cli, int *ret_code, const char *format, ...) PRINTF_LIKE(3, 4);
/* Is it another reason than `last`, but for its numbers, which change with every job that ends? Then it is kept there. */
enum { CLI_REASON_MAX = 300 };
bool cli_is_other_reason(char last[CLI_REASON_MAX], struct str reason);
/* Says `done NAME` on standard error, or shows `object` when a machine reads. */
int cli_report(struct cli *cli, const struct view *view, const json_t *object, const char *format, ...) PRINTF_LIKE(4, 5);

/* Calls `draw` again every `interval_ms`, repainting on a terminal, until Ctrl-C or an exit code other than EXIT_OK. */
int cli_watch(struct cli *cli, int64_t interval_ms, int (*draw)(struct cli *cli, void *ctx), void *ctx);

/* A line that is repainted on a terminal (standard error); nothing elsewhere and when quiet. */
void cli_progress(struct cli *cli, const char *text);
void cli_progress_end(struct cli *cli);

/* Adds the whole file; "-" is standard input. */
MUST_CHECK bool cli_read_input(const char *file, struct buf *out, struct err *err);

/* "key=value" or "key=" (an empty text): false without a '='. */
MUST_CHECK bool cli_split_pair(const char *word, struct str *ret_key, const char **ret_value, struct err *err);
/* Adds key=value words to an object; with `typed` what reads as JSON becomes that. */
MUST_CHECK bool cli_add_pair(json_t *object, const char *word, bool typed, struct err *err);

#endif
