#include "cli/cli.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/help.h"

enum { CLI_ARENA_MAX = 64 * 1024 * 1024, PAGE_SIZE = 1000, MAX_ITEMS = 200000, DEFAULT_LIMIT = 50 };

/* ---- exit codes ---- */

static enum exit_code exit_code_of(enum err_code code) {
  switch (code) {
  case ERR_NONE:
    return EXIT_OK;
  case ERR_UNAUTHENTICATED:
  case ERR_FORBIDDEN:
    return EXIT_AUTH;
  case ERR_NOT_FOUND:
    return EXIT_NOT_FOUND;
  case ERR_CONFLICT:
  case ERR_EXISTS:
  case ERR_WRONG_STATE:
  case ERR_FENCED:
  case ERR_PRECONDITION:
    return EXIT_CONFLICT;
  case ERR_UNAVAILABLE:
  case ERR_OVERLOADED:
  case ERR_UNKNOWN_OUTCOME:
  case ERR_NO_MEMORY:
  case ERR_DEADLINE:
    return EXIT_UNREACHABLE;
  case ERR_CANCELLED:
    return EXIT_INTERRUPTED;
  default:
    return EXIT_FAILED;
  }
}

int cli_fail(struct cli *cli, const struct err *err) {
  cli_progress_end(cli);
  if (err->code != ERR_CANCELLED)
    output_error(&cli->output, err, cli->client ? client_problems(cli->client) : NULL, cli->client ? client_request_id(cli->client) : NULL);
  return exit_code_of(err->code);
}

int cli_done(struct cli *cli, bool ok, const struct err *err) {
  return ok ? EXIT_OK : cli_fail(cli, err);
}

int cli_usage(struct cli *cli, const char *hint, const char *format, ...) {
  AUTO_BUF struct buf text = BUF_INIT(4 * KIB);
  va_list args;
  va_start(args, format);
  buf_vprintf(&text, format, args);
  va_end(args);
  struct err err;
  err_set(&err, ERR_INVALID, "%s", buf_text(&text));
  if (hint)
    err_hint(&err, "%s", hint);
  output_error(&cli->output, &err, NULL, NULL);
  return EXIT_USAGE;
}

/* ---- the service ---- */

static bool ask(struct cli *cli, const struct endpoint *endpoint, const char *path, json_t **ret, struct err *err) {
  struct client_config config = {
      .endpoint = endpoint, .clock = cli->clock, .rng = cli->rng, .interrupt_fd = cli->interrupt_fd, .timeout_ms = 5000, .tries = 1};
  struct client *client = client_new(&config, err);
  bool ok = client && client_json(client, "GET", path, NULL, false, ret, err);
  client_free(client);
  return ok;
}

static bool is_our_directory(const char *path) {
  struct stat st;
  return path && path[0] == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

/* A service of this user's with a directory that no setting names: at its socket it asks for no credential. */
static void prefer_socket(struct cli *cli, struct endpoint *endpoint) {
  AUTO_JSON json_t *me = NULL;
  struct err ignored; /* whoever asks next is told that nothing answers */
  if (!ask(cli, endpoint, "/api/v1/whoami", &me, &ignored))
    return;
  const char *directory = json_string_value(json_object_get(me, "data_dir"));
  if (is_our_directory(directory) && endpoint_use_socket(endpoint, directory))
    endpoint->source = ENDPOINT_TOLD;
}

bool cli_service_answers(struct cli *cli, struct err *err) {
  AUTO_JSON json_t *status = NULL;
  const struct endpoint *endpoint = cli_endpoint(cli, err);
  if (!endpoint || !ask(cli, endpoint, "/api/v1/status", &status, err))
    return false;
  bool drains = str_is(json_str(json_object_get(status, "state")), "draining");
  return (!drains && json_is_true(json_at_path(status, "database.up"))) || err_set(err, ERR_UNAVAILABLE, "the service is not ready yet");
}

bool cli_use_directory(struct cli *cli, const char *directory, struct err *err) {
  struct endpoint *endpoint = cli->endpoint;
  if (endpoint->source == ENDPOINT_SOCKET)
    return true;
  if (!endpoint_use_socket(endpoint, directory))
    return err_set(err, ERR_UNAVAILABLE, "there is no service in %s yet", directory);
  endpoint->source = ENDPOINT_SOCKET;
  endpoint_wipe(endpoint); /* a token for another address */
  return true;
}

const struct endpoint *cli_endpoint(struct cli *cli, struct err *err) {
  if (cli->endpoint)
    return cli->endpoint;
  AUTO_BUF struct buf data_dir = BUF_INIT(ENDPOINT_PATH_MAX), config_dir = BUF_INIT(ENDPOINT_PATH_MAX);
  endpoint_data_dir(&data_dir);
  endpoint_config_dir(&config_dir);
  AUTO_FREE char *directory = getcwd(NULL, 0);
  struct endpoint_inputs inputs = {
      .flag_url = args_text(&cli->args, "url"),
      .env_url = getenv("WINNOW_URL"),
      .flag_token_file = args_text(&cli->args, "token-file"),
      .env_token = getenv("WINNOW_TOKEN"),
      .directory = directory,
      .data_dir = buf_text(&data_dir),
      .config_dir = buf_text(&config_dir),
  };
  struct endpoint *endpoint = ARENA_NEW(&cli->arena, struct endpoint);
  if (!endpoint) {
    err_no_memory(err);
    return NULL;
  }
  if (!endpoint_find(&inputs, endpoint, err))
    return NULL;
  if (endpoint->source == ENDPOINT_DEFAULT && !endpoint->token[0])
    prefer_socket(cli, endpoint);
  cli->endpoint = endpoint;
  return endpoint;
}

static void say_retry(void *ctx, int64_t wait_ms, const char *why) {
  struct cli *cli = ctx;
  if (wait_ms >= 1000)
    output_say(&cli->output, "%s; trying again in %d s", why, (int)((wait_ms + 999) / 1000));
}

struct client *cli_client(struct cli *cli, struct err *err) {
  if (cli->client)
    return cli->client;
  const struct endpoint *endpoint = cli_endpoint(cli, err);
  if (!endpoint)
    return NULL;
  struct client_config config = {
      .endpoint = endpoint,
      .clock = cli->clock,
      .rng = rng_for(rng_u64(&cli->rng), 0, 0),
      .interrupt_fd = cli->interrupt_fd,
      .timeout_ms = cli->budget_ms,
      .tries = cli->budget_ms ? 1 : 0,
      .on_retry = say_retry,
      .retry_ctx = cli,
  };
  cli->client = client_new(&config, err);
  return cli->client;
}

static bool send_request(struct cli *cli, const char *method, const json_t *body, json_t **ret_json, struct err *err, const char *format,
                         va_list args) {
  AUTO_BUF struct buf path = BUF_INIT(64 * KIB);
  buf_puts(&path, "/api/v1");
  path_vformat(&path, format, args);
  struct client *client = cli_client(cli, err);
  AUTO_JSON json_t *answer = NULL;
  if (!buf_ok(&path, err) || !client)
    return false;
  if (!client_json(client, method, buf_text(&path), body, strcmp(method, "POST") == 0, &answer, err))
    return false;
  if (ret_json) {
    *ret_json = answer;
    answer = NULL;
  }
  return true;
}

bool cli_get(struct cli *cli, json_t **ret_json, struct err *err, const char *format, ...) {
  va_list args;
  va_start(args, format);
  bool ok = send_request(cli, "GET", NULL, ret_json, err, format, args);
  va_end(args);
  return ok;
}

bool cli_send(struct cli *cli, const char *method, const json_t *body, json_t **ret_json, struct err *err, const char *format, ...) {
  va_list args;
  va_start(args, format);
  bool ok = send_request(cli, method, body, ret_json, err, format, args);
  va_end(args);
  return ok;
}

/* ---- lists ---- */

static bool get_page(struct cli *cli, const char *path, json_t *body, int64_t count, const char *cursor, json_t **ret, struct err *err) {
  if (body) {
    if (json_object_set_new(body, "limit", json_integer(count)) != 0)
      return err_no_memory(err);
    if (cursor && json_object_set_new(body, "cursor", json_string(cursor)) != 0)
      return err_no_memory(err);
    return cli_send(cli, "POST", body, ret, err, path);
  }
  AUTO_BUF struct buf full = BUF_INIT(64 * KIB);
  char number[24];
  snprintf(number, sizeof number, "%lld", (long long)count);
  buf_puts(&full, "/api/v1");
  buf_puts(&full, path);
  path_query(&full, "limit", number);
  path_query(&full, "cursor", cursor);
  struct client *client = cli_client(cli, err);
  return buf_ok(&full, err) && client && client_json(client, "GET", buf_text(&full), NULL, false, ret, err);
}

bool cli_pages(struct cli *cli, const char *path, json_t *body, int64_t limit, cli_page_fn *page, void *ctx, json_t **ret_next,
               struct err *err) {
  AUTO_FREE char *cursor = NULL;
  int64_t size = PAGE_SIZE;
  for (int64_t left = limit ? limit : INT64_MAX; left > 0;) {
    AUTO_JSON json_t *answer = NULL;
    int64_t count = MIN_OF(left, size);
    if (!get_page(cli, path, body, count, cursor, &answer, err)) {
      if (err->code != ERR_TOO_LARGE || count == 1)
        return false;
      size = count / 2; /* its rows are heavy */
      continue;
    }
    const json_t *items = json_object_get(answer, "items"), *next = json_object_get(answer, "next");
    if (!json_is_array(items))
      return err_set(err, ERR_INTERNAL, "the service's answer is no list");
    if (!page(ctx, items, err))
      return false;
    left -= (int64_t)json_array_size(items);
    if (!json_is_string(next))
      return true;
    if (cursor && strcmp(cursor, json_string_value(next)) == 0)
      return err_set(err, ERR_INTERNAL, "the service gives the same page again and again");
    mem_free(cursor);
    cursor = mem_strdup(json_string_value(next));
    if (!cursor)
      return err_no_memory(err);
  }
  if (ret_next && cursor)
    *ret_next = json_string(cursor);
  return true;
}

static bool collect(void *ctx, const json_t *items, struct err *err) {
  json_t *all = ctx;
  if (json_array_size(all) + json_array_size(items) > MAX_ITEMS)
    return err_set(err, ERR_TOO_LARGE, "the list has more than %d items", MAX_ITEMS) || err_hint(err, "use --limit, or winnow export");
  return json_array_extend(all, (json_t *)(uintptr_t)items) == 0 || err_no_memory(err);
}

bool cli_list(struct cli *cli, const char *path, json_t *body, int64_t limit, json_t **ret_items, json_t **ret_next, struct err *err) {
  AUTO_JSON json_t *all = json_array();
  if (!all)
    return err_no_memory(err);
  if (!cli_pages(cli, path, body, limit, collect, all, ret_next, err))
    return false;
  *ret_items = all;
  all = NULL;
  return true;
}

struct shown_list {
  const char *path;
  json_t *body;
  const struct view *view;
  bool only_news; /* a program watches: an item is shown when it is new or has changed */
  json_t *seen;   /* id -> item, of the last look */
};

static bool has_flag(const struct cli *cli, const char *name) {
  const struct verb *verb = cli->args.verb;
  for (size_t i = 0; i < verb->flag_count; i++)
    if (strcmp(verb->flags[i].name, name) == 0)
      return true;
  return false;
}

/* Takes out of `items` what is as it was at the last look. */
static bool keep_news(struct shown_list *list, json_t *items, struct err *err) {
  AUTO_JSON json_t *seen = json_object();
  if (!seen)
    return err_no_memory(err);
  for (size_t i = 0; i < json_array_size(items);) {
    json_t *item = json_array_get(items, i);
    const char *id = json_string_value(json_at_path(item, list->view->id));
    if (!id || json_object_set(seen, id, item) != 0 || !json_equal(json_object_get(list->seen, id), item))
      i++;
    else
      json_array_remove(items, i);
  }
  json_decref(list->seen);
  list->seen = json_incref(seen);
  return true;
}

static int draw_list(struct cli *cli, void *ctx) {
  struct shown_list *list = ctx;
  AUTO_JSON json_t *items = NULL, *next = NULL;
  struct err err;
  int64_t limit = has_flag(cli, "limit") ? args_i64(&cli->args, "limit", DEFAULT_LIMIT) : 0;
  if (list->body)
    json_object_del(list->body, "cursor");
  bool ok = cli_list(cli, list->path, list->body, limit, &items, &next, &err) && (!list->only_news || keep_news(list, items, &err)) &&
            output_list(&cli->output, list->view, items, list->only_news ? NULL : next, &err);
  return cli_done(cli, ok, &err);
}

int cli_show_list(struct cli *cli, const char *path, json_t *body, const struct view *view) {
  struct shown_list list = {.path = path, .body = body, .view = view};
  if (!has_flag(cli, "watch") || !args_bool(&cli->args, "watch"))
    return draw_list(cli, &list);
  list.only_news = cli->output.format == OUTPUT_JSONL || cli->output.format == OUTPUT_CSV || cli->output.format == OUTPUT_NAME;
  int code = cli_watch(cli, 2000, draw_list, &list);
  json_decref(list.seen);
  return code;
}

int cli_watch(struct cli *cli, int64_t interval_ms, int (*draw)(struct cli *cli, void *ctx), void *ctx) {
  struct err err;
  struct client *client = cli_client(cli, &err);
  if (!client)
    return cli_fail(cli, &err);
  for (;;) {
    if (cli->output.is_tty && output_for_people(&cli->output))
      cli->output.before = "\x1b[H\x1b[2J";
    int code = draw(cli, ctx);
    if (code != EXIT_OK)
      return code;
    if (!client_sleep(client, interval_ms, &err))
      return cli_fail(cli, &err);
  }
}

/* ---- people ---- */

bool cli_confirm(struct cli *cli, int *ret_code, const char *format, ...) {
  if (args_bool(&cli->args, "yes"))
    return true;
  AUTO_BUF struct buf question = BUF_INIT(8 * KIB), shown = BUF_INIT(32 * KIB);
  va_list args;
  va_start(args, format);
  buf_vprintf(&question, format, args);
  va_end(args);
  if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
    *ret_code = cli_usage(cli, "say --yes to do it without a question", "%s? nobody can be asked here", buf_text(&question));
    return false;
  }
  text_escape(&shown, buf_str(&question));
  fprintf(stderr, "%s? [y/N] ", buf_text(&shown));
  fflush(stderr);
  char answer[16] = "";
  ssize_t n = read(STDIN_FILENO, answer, sizeof answer - 1);
  struct str said = str_trim(str_n(answer, n > 0 ? (size_t)n : 0));
  if (str_eq_nocase(said, STR("y")) || str_eq_nocase(said, STR("yes")))
    return true;
  output_say(&cli->output, "nothing was done");
  *ret_code = n < 0 ? EXIT_INTERRUPTED : EXIT_FAILED;
  return false;
}

int cli_report(struct cli *cli, const struct view *view, const json_t *object, const char *format, ...) {
  struct err err;
  if (!output_for_people(&cli->output) && object)
    return cli_done(cli, output_object(&cli->output, view, object, &err), &err);
  AUTO_BUF struct buf text = BUF_INIT(8 * KIB);
  va_list args;
  va_start(args, format);
  buf_vprintf(&text, format, args);
  va_end(args);
  output_say(&cli->output, "%s", buf_text(&text));
  return EXIT_OK;
}

bool cli_is_other_reason(char last[CLI_REASON_MAX], struct str reason) {
  char now[CLI_REASON_MAX];
  size_t n = 0;
  for (size_t i = 0; i < reason.n && n + 1 < sizeof now; i++)
    if (reason.p[i] < '0' || reason.p[i] > '9')
      now[n++] = reason.p[i];
  now[n] = 0;
  bool is_other = n > 0 && strcmp(now, last) != 0;
  if (is_other)
    memcpy(last, now, n + 1);
  return is_other;
}

static bool progress_shown;

void cli_progress(struct cli *cli, const char *text) {
  if (!cli->output.error_is_tty || cli->output.quiet)
    return;
  AUTO_BUF struct buf line = BUF_INIT(8 * KIB);
  AUTO_BUF struct buf clean = BUF_INIT(8 * KIB);
  text_escape(&clean, str_of(text));
  size_t columns = term_columns(STDERR_FILENO);
  buf_puts(&line, "\r\x1b[K");
  buf_add_str(&line, columns > 1 ? text_fit(buf_str(&clean), columns - 1) : buf_str(&clean));
  struct err ignored; /* a progress line that cannot be written is no loss */
  progress_shown = fd_write_all(STDERR_FILENO, buf_text(&line), line.n, &ignored);
}

void cli_progress_end(struct cli *cli) {
  (void)cli;
  struct err ignored; /* as above */
  if (progress_shown)
    progress_shown = !fd_write_all(STDERR_FILENO, "\r\x1b[K", 4, &ignored);
}

bool cli_read_input(const char *file, struct buf *out, struct err *err) {
  enum { PIECE = 64 * 1024 };
  if (strcmp(file, "-") != 0)
    return file_read(file, out, err);
  for (ssize_t n = 1; n > 0;) {
    char *room = buf_room(out, PIECE);
    if (!room)
      return buf_ok(out, err);
    n = read(STDIN_FILENO, room, PIECE);
    if (n < 0 && errno == EINTR)
      return err_set(err, ERR_CANCELLED, "interrupted");
    if (n < 0)
      return err_errno(err, errno, "cannot read standard input");
    buf_grew(out, (size_t)n);
  }
  return true;
}

bool cli_split_pair(const char *word, struct str *ret_key, const char **ret_value, struct err *err) {
  const char *equals = strchr(word, '=');
  if (!equals || equals == word) {
    err_set(err, ERR_INVALID, "'%.100s' is no key=value", word);
    return err_hint(err, "write name=value, without blanks around the =");
  }
  *ret_key = str_n(word, (size_t)(equals - word));
  *ret_value = equals + 1;
  return true;
}

static json_t *typed_value(const char *text) {
  AUTO_JSON json_t *value = NULL;
  struct err ignored; /* what is no JSON is a text */
  AUTO_BUF struct buf wrapped = BUF_INIT(MIB);
  buf_printf(&wrapped, "[%s]", text);
  if (!json_read(buf_str(&wrapped), &value, &ignored) || json_array_size(value) != 1)
    return json_string(text);
  return json_incref(json_array_get(value, 0));
}

bool cli_add_pair(json_t *object, const char *word, bool typed, struct err *err) {
  struct str key;
  const char *text;
  if (!cli_split_pair(word, &key, &text, err))
    return false;
  if (!str_is_utf8(str_of(word)))
    return err_set(err, ERR_INVALID, "'%.100s' is no UTF-8", word);
  json_t *value = typed ? typed_value(text) : json_string(text);
  return json_object_setn_new(object, key.p, key.n, value) == 0 || err_no_memory(err);
}

/* ---- the program ---- */

static int interrupt_pipe[2] = {-1, -1};

/* The first Ctrl-C asks, the second ends the program. */
static void on_interrupt(int number) {
  int saved = errno;
  char byte = (char)number;
  ssize_t n = write(interrupt_pipe[1], &byte, 1);
  (void)n;
  signal(number, SIG_DFL);
  errno = saved;
}

static void watch_signals(struct cli *cli) {
  cli->interrupt_fd = -1;
  if (pipe2(interrupt_pipe, O_CLOEXEC | O_NONBLOCK) == 0) {
    cli->interrupt_fd = interrupt_pipe[0];
    struct sigaction action = {.sa_handler = on_interrupt};
    struct sigaction before;
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
      if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(numbers[i], &action, NULL);
  }
  signal(SIGPIPE, SIG_IGN);
}

static void set_up_output(struct cli *cli) {
  struct output *output = &cli->output;
  const struct args *args = &cli->args;
  output->clock = cli->clock;
  output->is_tty = isatty(STDOUT_FILENO);
  output->error_is_tty = isatty(STDERR_FILENO);
  output->columns = term_columns(STDOUT_FILENO);
  output->quiet = args->table && args_bool(args, "quiet");
  enum color_choice choice = COLOR_AUTO;
  const char *color = args->table ? args_text(args, "color") : "auto";
  if (strcmp(color, "always") == 0)
    choice = COLOR_ALWAYS;
  else if (strcmp(color, "never") == 0)
    choice = COLOR_NEVER;
  output->colours = color_wanted(choice, output->is_tty, getenv("NO_COLOR"), getenv("TERM"));
  output->error_colours = color_wanted(choice, output->error_is_tty, getenv("NO_COLOR"), getenv("TERM"));
  const char *format = args->table ? args_text(args, "output") : "table";
  for (int i = 0; output_formats[i]; i++)
    if (strcmp(format, output_formats[i]) == 0)
      output->format = (enum output_format)i;
}

static int show_help(struct cli *cli, bool asked) {
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  const struct args *args = &cli->args;
  if (args->verb)
    help_verb(args->table, args->verb, cli->output.colours && asked, &text);
  else if (args->noun)
    help_noun(args->table, args->noun, cli->output.colours && asked, &text);
  else
    help_program(args->table, cli->output.colours && asked, &text);
  struct err err;
  if (asked)
    return cli_done(cli, buf_ok(&text, &err) && output_bytes(&cli->output, buf_str(&text), &err), &err);
  fputs(buf_text(&text), stderr);
  return EXIT_USAGE;
}

/* Standard streams that are closed would be taken by the next file that is opened. */
static void open_standard_streams(void) {
  int fd;
  do
    fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= STDERR_FILENO);
  fd_close(&fd);
}

static int run_program(struct cli *cli, int argc, char **argv) {
  struct err err;
  const char *const *words = (const char *const *)(uintptr_t)argv;
  if (!args_parse(&verb_table, argc, words, &cli->arena, &cli->args, &err)) {
    set_up_output(cli);
    output_error(&cli->output, &err, NULL, NULL);
    return EXIT_USAGE;
  }
  set_up_output(cli);
  if (args_bool(&cli->args, "version") && !cli->args.noun)
    return cli_done(cli, output_bytes(&cli->output, STR("winnow " WINNOW_VERSION "\n"), &err), &err);
  if (cli->args.wants_help || !cli->args.noun)
    return show_help(cli, true);
  if (!cli->args.verb)
    return show_help(cli, false);
  struct endpoint parsed;
  const char *url = args_text(&cli->args, "url");
  if (url && !endpoint_parse(str_of(url), &parsed, &err))
    return cli_usage(cli, err.hint[0] ? err.hint : NULL, "%s", err.text);
  return cli->args.verb->run(cli);
}

int cli_main(int argc, char **argv) {
  open_standard_streams();
  struct cli cli = {.clock = &clock_system, .rng = rng_from_system()};
  arena_init(&cli.arena, CLI_ARENA_MAX);
  watch_signals(&cli);
  int code = run_program(&cli, argc - 1, argv + 1);
  cli_progress_end(&cli);
  client_free(cli.client);
  if (cli.endpoint)
    endpoint_wipe(cli.endpoint);
  arena_release(&cli.arena);
  return code;
}
