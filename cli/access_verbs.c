/* Who may what: login, logout, whoami, token. */
#include <fcntl.h>
#include <sys/stat.h>
#include <termios.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/verbs.h"

/* ---- login ---- */

/* A line from standard input; a terminal does not echo it. */
static bool read_secret(struct cli *cli, char secret[ENDPOINT_TOKEN_MAX], struct err *err) {
  struct termios before, silent;
  bool is_tty = tcgetattr(STDIN_FILENO, &before) == 0;
  if (is_tty) {
    silent = before;
    silent.c_lflag &= (tcflag_t)~ECHO;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    fprintf(stderr, "Token: ");
    fflush(stderr);
  }
  size_t n = 0;
  ssize_t got = 1;
  while (n + 1 < ENDPOINT_TOKEN_MAX && (got = read(STDIN_FILENO, secret + n, 1)) == 1 && secret[n] != '\n')
    n++;
  if (is_tty) {
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fputc('\n', stderr);
  }
  if (got < 0 && client_interrupted(cli->client))
    return err_set(err, ERR_CANCELLED, "interrupted");
  struct str text = str_trim(str_n(secret, n));
  memmove(secret, text.p, text.n);
  secret[text.n] = '\0';
  for (size_t i = 0; i < text.n; i++)
    if (secret[i] <= ' ' || secret[i] >= 127)
      return err_set(err, ERR_INVALID, "that is no token");
  return text.n || err_set(err, ERR_INVALID, "no token was given") || err_hint(err, "winnow login < FILE, or type it when asked");
}

static bool keep_token(const struct endpoint *endpoint, const char *token, struct buf *ret_path, struct err *err) {
  AUTO_BUF struct buf config = BUF_INIT(ENDPOINT_PATH_MAX), directory = BUF_INIT(ENDPOINT_PATH_MAX),
                      line = BUF_INIT(ENDPOINT_TOKEN_MAX + 1);
  endpoint_config_dir(&config);
  buf_printf(&directory, "%s/tokens", buf_text(&config));
  endpoint_token_path(endpoint, buf_text(&config), ret_path);
  buf_printf(&line, "%s\n", token);
  bool ok = buf_ok(ret_path, err) && buf_ok(&directory, err) && buf_ok(&line, err) && dir_make(buf_text(&directory), 0700, err) &&
            file_replace(buf_text(ret_path), buf_str(&line), 0600, err);
  if (line.p)
    mem_wipe(line.p, line.n);
  return ok;
}

static bool write_project(const struct endpoint *endpoint, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(8 * KIB);
  buf_puts(&text, "url = ");
  endpoint_name(endpoint, &text);
  buf_putc(&text, '\n');
  return buf_ok(&text, err) && file_replace(".winnow", buf_str(&text), 0644, err);
}

static const struct column whoami_columns[] = {
    {"Name", "name", COLUMN_TEXT, false, NULL},      {"Actor", "actor", COLUMN_TEXT, false, NULL},
    {"Via", "via", COLUMN_TEXT, false, NULL},        {"Scopes", "scopes", COLUMN_LIST, false, NULL},
    {"Token", "token_id", COLUMN_TEXT, false, NULL}, {"Expires", "expires", COLUMN_AGE, false, NULL},
};
static const struct view whoami_view = VIEW(whoami_columns, "actor", "nobody");

static bool login(struct cli *cli, struct endpoint *endpoint, struct buf *path, json_t **ret_me, struct err *err) {
  char secret[ENDPOINT_TOKEN_MAX];
  bool ok = true;
  if (!args_given(&cli->args, "token-file")) {
    ok = read_secret(cli, secret, err);
    if (ok)
      snprintf(endpoint->token, sizeof endpoint->token, "%s", secret);
  }
  mem_wipe(secret, sizeof secret);
  ok = ok && cli_get(cli, ret_me, err, "/whoami") && keep_token(endpoint, endpoint->token, path, err);
  return ok && (!args_bool(&cli->args, "project") || write_project(endpoint, err));
}

static int login_run(struct cli *cli) {
  struct err err;
  AUTO_BUF struct buf path = BUF_INIT(ENDPOINT_PATH_MAX), name = BUF_INIT(8 * KIB);
  AUTO_JSON json_t *me = NULL;
  if (!cli_client(cli, &err))
    return cli_fail(cli, &err);
  struct endpoint *endpoint = cli->endpoint;
  if (!login(cli, endpoint, &path, &me, &err))
    return cli_fail(cli, &err);
  endpoint_name(endpoint, &name);
  output_say(&cli->output, "the token for %s is kept in %s", buf_text(&name), buf_text(&path));
  output_say(&cli->output, "for MLflow's client: export MLFLOW_TRACKING_URI=%s MLFLOW_TRACKING_TOKEN=\"$(cat '%s')\"", buf_text(&name),
             buf_text(&path));
  return cli_done(cli, output_object(&cli->output, &whoami_view, me, &err), &err);
}

static int logout_run(struct cli *cli) {
  struct err err;
  AUTO_BUF struct buf config = BUF_INIT(ENDPOINT_PATH_MAX), path = BUF_INIT(ENDPOINT_PATH_MAX);
  AUTO_JSON json_t *me = NULL;
  const struct endpoint *endpoint = cli_endpoint(cli, &err);
  if (!endpoint)
    return cli_fail(cli, &err);
  if (args_bool(&cli->args, "revoke")) {
    if (!cli_get(cli, &me, &err, "/whoami"))
      return cli_fail(cli, &err);
    const char *id = json_string_value(json_object_get(me, "token_id"));
    if (!id)
      return cli_usage(cli, NULL, "no token is in use here, so none can be revoked");
    if (!cli_send(cli, "DELETE", NULL, NULL, &err, "/tokens/{}", id))
      return cli_fail(cli, &err);
  }
  endpoint_config_dir(&config);
  endpoint_token_path(endpoint, buf_text(&config), &path);
  if (unlink(buf_text(&path)) == 0) {
    output_say(&cli->output, "%s is gone", buf_text(&path));
    return EXIT_OK;
  }
  if (errno != ENOENT) {
    err_errno(&err, errno, "cannot remove %s", buf_text(&path));
    return cli_fail(cli, &err);
  }
  output_say(&cli->output, "no token was kept for this service");
  return EXIT_OK;
}

static int whoami_run(struct cli *cli) {
  struct err err;
  AUTO_JSON json_t *me = NULL;
  return cli_done(cli, cli_get(cli, &me, &err, "/whoami") && output_object(&cli->output, &whoami_view, me, &err), &err);
}

/* ---- token ---- */

static const struct column token_columns[] = {
    {"ID", "id", COLUMN_TEXT, false, NULL},          {"NAME", "name", COLUMN_TEXT, false, NULL},
    {"SCOPES", "scopes", COLUMN_LIST, false, NULL},  {"CREATED", "created", COLUMN_AGE, false, NULL},
    {"EXPIRES", "expires", COLUMN_AGE, false, NULL}, {"LAST USED", "last_used", COLUMN_AGE, true, NULL},
    {"REVOKED", "revoked", COLUMN_AGE, false, NULL},
};
static const struct view token_view = VIEW(token_columns, "id", "no tokens");

static int token_create_run(struct cli *cli) {
  struct err err;
  AUTO_JSON json_t *body = json_pack("{sss[]}", "name", args_word(&cli->args, 0), "scopes");
  AUTO_JSON json_t *token = NULL;
  if (!body)
    return cli_usage(cli, NULL, "the name is no UTF-8");
  const char *scope;
  for (size_t at = 0; (scope = args_each(&cli->args, "scope", &at));)
    json_array_append_new(json_object_get(body, "scopes"), json_string(scope));
  if (!args_given(&cli->args, "scope"))
    json_array_append_new(json_object_get(body, "scopes"), json_string("read"));
  int64_t life = args_duration(&cli->args, "expires", 0);
  if (life)
    json_object_set_new(body, "expires", json_integer(clock_wall_ms(cli->clock) + life));
  if (!cli_send(cli, "POST", body, &token, &err, "/tokens"))
    return cli_fail(cli, &err);
  if (!output_for_people(&cli->output))
    return cli_done(cli, output_object(&cli->output, &token_view, token, &err), &err);
  const char *secret = json_string_value(json_object_get(token, "token"));
  AUTO_BUF struct buf line = BUF_INIT(8 * KIB);
  text_escape(&line, str_of(secret));
  buf_putc(&line, '\n');
  output_say(&cli->output, "this is shown once; keep it in a file of mode 0600:");
  bool ok = secret ? output_bytes(&cli->output, buf_str(&line), &err) : err_set(&err, ERR_INTERNAL, "the service gave no token");
  if (line.p)
    mem_wipe(line.p, line.n);
  return cli_done(cli, ok, &err);
}

static int token_ls_run(struct cli *cli) {
  return cli_show_list(cli, "/tokens", NULL, &token_view);
}

static int token_rm_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  int code;
  if (!resolve_token(cli, args_word(&cli->args, 0), id, &err))
    return cli_fail(cli, &err);
  if (!cli_confirm(cli, &code, "Revoke the token %s", id))
    return code;
  if (!cli_send(cli, "DELETE", NULL, NULL, &err, "/tokens/{}", id))
    return cli_fail(cli, &err);
  output_say(&cli->output, "token %s is revoked", id);
  return EXIT_OK;
}

static const struct flag_row login_flags[] = {
    {.name = "project", .type = FLAG_BOOL, .help = "also write .winnow here, so that this directory uses the service"},
};
static const struct flag_row logout_flags[] = {
    {.name = "revoke", .type = FLAG_BOOL, .help = "also tell the service that the token is void"},
};
static const struct flag_row token_create_flags[] = {
    {.name = "scope",
     .letter = 's',
     .type = FLAG_TEXT,
     .value_name = "SCOPE",
     .repeatable = true,
     .help = "admin, submit, write, read or run:ID; read when none is given"},
    {.name = "expires", .type = FLAG_DURATION, .value_name = "TIME", .help = "how long it is good for (no end when not said)"},
};

static const struct verb rows[] = {
    {
        .noun = "login",
        .summary = "keep a token for a service",
        .help =
            "Reads a token from the terminal (without echo), from standard input, or from --token-file, asks the service whether it is good, and "
            "keeps it in a file of mode 0600 of your configuration. Tokens are never taken from the command line, where others could see them. "
            "On the machine of the service none is needed: its socket knows who you are.",
        .examples = {{"winnow login --url https://winnow.lab", "type the token"},
                     {"winnow login --url https://winnow.lab < token.txt", "from a file"},
                     {"winnow login --url https://winnow.lab --project", "and use this service in this directory"}},
        FLAGS(login_flags),
        .run = login_run,
    },
    {
        .noun = "logout",
        .summary = "forget the token kept for a service",
        .help = "Removes the file that winnow login made. The token itself stays good unless --revoke is said.",
        .examples = {{"winnow logout", "the service in use"}, {"winnow logout --revoke", "and void the token"}},
        FLAGS(logout_flags),
        .run = logout_run,
    },
    {
        .noun = "whoami",
        .summary = "who the service takes you for",
        .help = "The actor, how it was recognised, and what it may do.",
        .examples = {{"winnow whoami", "for people"}, {"winnow whoami -o json", "for programs"}},
        .run = whoami_run,
    },
    {
        .noun = "token",
        .name = "create",
        .aliases = "new",
        .summary = "make a token",
        .help = "The token goes to standard output, once; the service keeps only its hash.",
        .examples = {{"winnow token create ci --scope submit --expires 90d", "for a program that submits sweeps"},
                     {"(umask 077; winnow token create me -s write > ~/winnow.token)", "into a file"}},
        FLAGS(token_create_flags),
        .words = {{"NAME", WORD_TEXT}},
        .run = token_create_run,
    },
    {
        .noun = "token",
        .name = "ls",
        .aliases = "list",
        .summary = "list the tokens",
        .help = "Names, scopes and ends; the tokens themselves are not known any more.",
        .examples = {{"winnow token ls", "all of them"}},
        .run = token_ls_run,
    },
    {
        .noun = "token",
        .name = "rm",
        .aliases = "revoke delete",
        .summary = "revoke a token",
        .help = "It is void at once. Asks first, unless --yes is said.",
        .examples = {{"winnow token rm ci", "by its name"}, {"winnow token rm 01ab -y", "by the beginning of its id, without a question"}},
        .words = {{"TOKEN", WORD_TOKEN}},
        .run = token_rm_run,
    },
};

const struct verb_set access_verbs = {rows, ARRAY_LEN(rows)};
