/* Verbs about the program itself, and `api`. */
#include "base/mem.h"
#include "cli/completion.h"
#include "cli/help.h"
#include "cli/serve.h"
#include "cli/verbs.h"

/* ---- version, help ---- */

static int version_run(struct cli *cli) {
  struct err err;
  if (output_for_people(&cli->output) || cli->output.format == OUTPUT_NAME)
    return cli_done(cli, output_bytes(&cli->output, STR("winnow " WINNOW_VERSION "\n"), &err), &err);
  AUTO_JSON json_t *version = json_pack("{ss}", "version", WINNOW_VERSION);
  return cli_done(cli, version ? output_any(&cli->output, version, &err) : err_no_memory(&err), &err);
}

static int help_settings(struct cli *cli) {
#ifdef WINNOW_WITH_SERVE
  struct err err;
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  serve_print_settings(&text);
  return cli_done(cli, buf_ok(&text, &err) && output_bytes(&cli->output, buf_str(&text), &err), &err);
#else
  return cli_usage(cli, NULL, "this build has no service, and so no settings");
#endif
}

static int help_man(struct cli *cli, const char *directory) {
  struct err err;
  size_t count;
  if (!man_write_all(&verb_table, directory, &count, &err))
    return cli_fail(cli, &err);
  output_say(&cli->output, "%zu pages in %s; man -l %s/winnow.1 shows the first", count, directory, directory);
  return EXIT_OK;
}

static int help_run(struct cli *cli) {
  struct err err;
  const char *first = args_word(&cli->args, 0), *second = args_word(&cli->args, 1), *man = args_text(&cli->args, "man");
  if (man)
    return help_man(cli, man);
  if (first && strcmp(first, "settings") == 0)
    return help_settings(cli);
  const char *words[] = {first, second, "--help"};
  size_t count = !first ? 1 : !second ? 2 : 3;
  words[count - 1] = "--help";
  struct args asked;
  if (!args_parse(&verb_table, (int)count, words, &cli->arena, &asked, &err)) {
    output_error(&cli->output, &err, NULL, NULL);
    return EXIT_USAGE;
  }
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  if (asked.verb)
    help_verb(&verb_table, asked.verb, cli->output.colours, &text);
  else if (asked.noun)
    help_noun(&verb_table, asked.noun, cli->output.colours, &text);
  else
    help_program(&verb_table, cli->output.colours, &text);
  return cli_done(cli, buf_ok(&text, &err) && output_bytes(&cli->output, buf_str(&text), &err), &err);
}

/* ---- completion ---- */

static int completion_run(struct cli *cli) {
  struct err err;
  const char *shell = args_word(&cli->args, 0), *script = completion_script(str_of(shell));
  if (!script)
    return cli_usage(cli, "known are: bash, zsh, fish", "there is no completion for '%.40s'", shell);
  return cli_done(cli, output_bytes(&cli->output, str_of(script), &err), &err);
}

static void ids_of_service(void *ctx, enum word_kind kind, struct buf *out) {
  resolve_candidates(ctx, kind, out);
}

static int complete_run(struct cli *cli) {
  enum { BUDGET_MS = 300 };
  struct err err;
  AUTO_BUF struct buf text = BUF_INIT(8 * MIB);
  const char *const *words = (const char *const *)cli->args.words;
  size_t count = cli->args.word_count;
  if (count && strcmp(words[0], "--") == 0) {
    words++;
    count--;
  }
  cli->budget_ms = BUDGET_MS;
  complete_words(&verb_table, words, count, ids_of_service, cli, &text);
  return output_bytes(&cli->output, buf_str(&text), &err) ? EXIT_OK : EXIT_FAILED;
}

/* ---- api ---- */

static bool is_write(const char *method) {
  return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0;
}

/* "status", "/status" and "/api/v1/status" are the same; other families are named in full. */
static void api_path(const char *word, struct buf *out) {
  static const char *const whole[] = {"/api/", "/ajax-api/", "/health", "/metrics", "/version", "/docs", "/subscriptions/"};
  bool full = false;
  for (size_t i = 0; i < ARRAY_LEN(whole); i++)
    full |= str_starts(str_of(word), str_of(whole[i]));
  buf_printf(out, "%s%s%s", full ? "" : "/api/v1", word[0] == '/' ? "" : "/", word);
}

static bool api_fields(struct cli *cli, bool in_body, struct buf *path, json_t *body, struct err *err) {
  const char *pair;
  static const char *const names[] = {"field", "typed-field"};
  for (size_t typed = 0; typed < ARRAY_LEN(names); typed++) {
    for (size_t at = 0; (pair = args_each(&cli->args, names[typed], &at));) {
      struct str key;
      const char *value;
      if (in_body) {
        if (!cli_add_pair(body, pair, typed, err))
          return false;
        continue;
      }
      if (!cli_split_pair(pair, &key, &value, err))
        return false;
      AUTO_BUF struct buf name = BUF_INIT(4 * KIB);
      path_escape(&name, key, false);
      path_query(path, buf_text(&name), value);
    }
  }
  return true;
}

struct api_sink {
  struct cli *cli;
  struct log_filter filter;
};

static bool api_bytes(void *ctx, struct str bytes, struct err *err) {
  struct api_sink *sink = ctx;
  return output_filtered(&sink->cli->output, &sink->filter, bytes, err);
}

static bool api_show(struct cli *cli, struct client_reply *reply, struct err *err) {
  AUTO_JSON json_t *json = NULL;
  struct err ignored; /* an answer that is no JSON is shown as it is */
  bool shaped = cli->output.format != OUTPUT_TABLE && cli->output.format != OUTPUT_NAME;
  bool is_json = strstr(reply->content_type, "json") && json_read(buf_str(&reply->body), &json, &ignored);
  if (is_json) {
    AUTO_BUF struct buf text = BUF_INIT(256 * MIB);
    if (shaped)
      return output_any(&cli->output, json, err);
    encode_json(&text, json, 2);
    buf_putc(&text, '\n');
    return buf_ok(&text, err) && output_bytes(&cli->output, buf_str(&text), err);
  }
  struct api_sink sink = {.cli = cli};
  return api_bytes(&sink, buf_str(&reply->body), err);
}

static bool api_call(struct cli *cli, const char *method, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(64 * KIB), input = BUF_INIT(64 * MIB);
  AUTO_REPLY struct client_reply reply;
  client_reply_init(&reply);
  AUTO_JSON json_t *body = json_object();
  const char *file = args_text(&cli->args, "input");
  struct client *client = cli_client(cli, err);
  if (!client)
    return false;
  if (!body)
    return err_no_memory(err);
  bool in_body = is_write(method) && !file;
  api_path(args_word(&cli->args, 1), &path);
  if (!api_fields(cli, in_body, &path, body, err) || (file && !cli_read_input(file, &input, err)))
    return false;
  if (in_body && json_object_size(body))
    encode_json(&input, body, 0);
  if (!buf_ok(&path, err) || !buf_ok(&input, err))
    return false;
  struct client_request request = {.method = method,
                                   .path = buf_text(&path),
                                   .body_fd = -1,
                                   .accept = "*/*",
                                   .content_type = args_text(&cli->args, "content-type"),
                                   .header = args_text(&cli->args, "header"),
                                   .creates = strcmp(method, "POST") == 0};
  if (input.n)
    request.body = buf_str(&input);
  struct api_sink sink = {.cli = cli};
  if (args_bool(&cli->args, "stream")) {
    request.sink = api_bytes;
    request.ctx = &sink;
    request.stream = true;
  }
  return client_call(client, &request, &reply, err) && api_show(cli, &reply, err);
}

static int api_run(struct cli *cli) {
  struct err err;
  AUTO_BUF struct buf method = BUF_INIT(32);
  for (const char *at = args_word(&cli->args, 0); *at; at++)
    buf_putc(&method, *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at);
  static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
  for (size_t i = 0; i < ARRAY_LEN(methods); i++)
    if (strcmp(buf_text(&method), methods[i]) == 0)
      return cli_done(cli, api_call(cli, methods[i], &err), &err);
  return cli_usage(cli, "winnow api GET /status", "'%.40s' is no method", args_word(&cli->args, 0));
}

static const struct flag_row help_flags[] = {
    {.name = "man", .type = FLAG_TEXT, .value_name = "DIR", .completes = WORD_FILE, .help = "write all manual pages into DIR"},
};

static const struct flag_row api_flags[] = {
    {.name = "field",
     .letter = 'f',
     .type = FLAG_TEXT,
     .value_name = "KEY=VALUE",
     .repeatable = true,
     .help = "a text; in the query of a GET, in the body of others"},
    {.name = "typed-field",
     .letter = 'F',
     .type = FLAG_TEXT,
     .value_name = "KEY=VALUE",
     .repeatable = true,
     .help = "the same, but numbers, true, false and null are these, and what is in double quotes is text"},
    {.name = "input", .type = FLAG_TEXT, .value_name = "FILE", .completes = WORD_FILE, .help = "the body; - is standard input"},
    {.name = "content-type", .type = FLAG_TEXT, .value_name = "TYPE", .help = "of the body (JSON when not said)"},
    {.name = "header", .letter = 'H', .type = FLAG_TEXT, .value_name = "LINE", .help = "one more header"},
    {.name = "stream", .type = FLAG_BOOL, .help = "show the answer as it comes, without an end in sight"},
};

static const struct verb rows[] = {
    {
        .noun = "version",
        .summary = "say which version this is",
        .help = "The version of this program; winnow status says the service's.",
        .examples = {{"winnow version", "for people"}, {"winnow version -o json", "for programs"}},
        .run = version_run,
    },
    {
        .noun = "help",
        .summary = "say what a command does",
        .help = "The same as --help after the command. winnow help settings lists every setting of the service.",
        .examples = {{"winnow help sweep create", "one verb"},
                     {"winnow help settings", "what winnow serve can be told"},
                     {"winnow help --man ~/.local/share/man/man1", "manual pages"}},
        FLAGS(help_flags),
        .words = {{"COMMAND", WORD_NOUN, .optional = true}, {"VERB", WORD_TEXT, .optional = true}},
        .run = help_run,
    },
    {
        .noun = "completion",
        .summary = "completion for bash, zsh and fish",
        .help = "Prints a script for the shell. It completes commands, flags and ids; the service gets 300 ms to name ids.",
        .examples = {{"eval \"$(winnow completion bash)\"", "in ~/.bashrc"},
                     {"eval \"$(winnow completion zsh)\"", "in ~/.zshrc, after compinit"},
                     {"winnow completion fish | source", "in fish's config"}},
        .words = {{"SHELL", WORD_SHELL}},
        .run = completion_run,
    },
    {
        .noun = "__complete",
        .summary = "answer a shell's completion",
        .help = "Called by the scripts of winnow completion.",
        .examples = {{"winnow __complete -- sweep cr", "what may stand there"}},
        .words = {{"WORDS", WORD_TEXT, .optional = true, .many = true}},
        .kind = VERB_RAW | VERB_HIDDEN,
        .run = complete_run,
    },
    {
        .noun = "api",
        .summary = "any request of the REST interface",
        .help =
            "Sends the request with your credential and shows the answer. PATH is below /api/v1 unless it names another family. POST carries "
            "an Idempotency-Key. Errors become messages and exit codes as with every command.",
        .examples = {{"winnow api GET /status", "a plain request"},
                     {"winnow api GET /sweeps -f limit=5 -o yaml", "with a query"},
                     {"winnow api POST /experiments -f name=mnist", "with a body"},
                     {"winnow api POST /sweeps --input sweep.yaml --content-type application/yaml", "with a file"}},
        FLAGS(api_flags),
        .words = {{"METHOD", WORD_TEXT}, {"PATH", WORD_TEXT}},
        .run = api_run,
    },
};

const struct verb_set meta_verbs = {rows, ARRAY_LEN(rows)};
