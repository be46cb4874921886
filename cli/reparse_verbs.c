/* Stored output read anew with other patterns. */
#include "cli/verbs.h"

enum { POLL_MS = 300 };

/* {"metrics_from": […]} of the flags; NULL after an error. */
static json_t *sources(struct cli *cli, struct err *err) {
  AUTO_JSON json_t *body = json_pack("{s[]}", "metrics_from");
  json_t *list = json_object_get(body, "metrics_from");
  const char *pattern, *key = args_text(&cli->args, "key");
  bool ok = body != NULL;
  for (size_t at = 0; ok && (pattern = args_each(&cli->args, "pattern", &at));)
    ok = json_array_append_new(list, json_pack("{ssss*}", "pattern", pattern, "key", key)) == 0;
  if (ok && args_bool(&cli->args, "no-builtin"))
    ok = json_array_append_new(list, json_pack("{sb}", "builtin", 0)) == 0;
  if (ok)
    return json_incref(body);
  err_set(err, ERR_INVALID, "a pattern or key is no UTF-8");
  return NULL;
}

static long long number(const json_t *object, const char *key) {
  return (long long)json_integer_value(json_object_get(object, key));
}

static int run_reparse(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *body = sources(cli, &err), *answer = NULL;
  if (!body)
    return cli_usage(cli, NULL, "%s", err.text);
  if (!resolve_run(cli, args_word(&cli->args, 0), id, &err) || !cli_send(cli, "POST", body, &answer, &err, "/runs/{}/reparse", id))
    return cli_fail(cli, &err);
  if (!output_for_people(&cli->output))
    return cli_done(cli, output_any(&cli->output, answer, &err), &err);
  output_say(&cli->output, "run %s: %lld points of %lld metrics read from %lld bytes of output", id, number(answer, "points"),
             number(answer, "series"), number(answer, "bytes"));
  return EXIT_OK;
}

/* Until it is through. */
static bool follow(struct cli *cli, const char *id, json_t **ret, struct err *err) {
  struct client *client = cli_client(cli, err);
  while (client) {
    char line[120];
    AUTO_JSON json_t *state = NULL;
    if (!cli_get(cli, &state, err, "/sweeps/{}/reparse", id))
      return false;
    if (!str_is(json_str(json_object_get(state, "state")), "RUNNING")) {
      *ret = json_incref(state);
      return true;
    }
    snprintf(line, sizeof line, "%lld of %lld runs", number(state, "done"), number(state, "runs"));
    cli_progress(cli, line);
    if (!client_sleep(client, POLL_MS, err))
      return false;
  }
  return false;
}

static int sweep_reparse_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *body = sources(cli, &err), *answer = NULL, *state = NULL;
  if (!body)
    return cli_usage(cli, NULL, "%s", err.text);
  bool ok = resolve_sweep(cli, args_word(&cli->args, 0), id, &err) &&
            cli_send(cli, "POST", body, &answer, &err, "/sweeps/{}/reparse", id) && follow(cli, id, &state, &err);
  cli_progress_end(cli);
  if (!ok)
    return cli_fail(cli, &err);
  if (!output_for_people(&cli->output))
    return cli_done(cli, output_any(&cli->output, state, &err), &err);
  output_say(&cli->output, "sweep %s: %lld points read from the output of %lld runs", id, number(state, "points"),
             number(state, "done") - number(state, "failed"));
  if (!number(state, "failed"))
    return EXIT_OK;
  output_say(&cli->output, "%lld runs could not be read: %.*s", number(state, "failed"),
             STR_ARG(json_str(json_object_get(state, "error"))));
  return EXIT_PARTIAL;
}

static const struct flag_row flags[] = {
    {.name = "pattern",
     .type = FLAG_TEXT,
     .value_name = "RE",
     .repeatable = true,
     .help = "a regular expression of yours, with groups: (?P<loss>\\S+), or (?P<name>..) and (?P<value>..), step, epoch, time"},
    {.name = "key", .type = FLAG_TEXT, .value_name = "NAME", .help = "the metric's name, for patterns whose value has none"},
    {.name = "no-builtin", .type = FLAG_BOOL, .help = "only your patterns, not what is recognised by itself"},
};

#define HELP                                                                                                                    \
  "The points that came from output are replaced; what was logged otherwise stays. Without a pattern the built-in recognisers " \
  "of this version read it again. `winnow parse` shows beforehand what would be read."

static const struct verb rows[] = {
    {
        .noun = "run",
        .name = "reparse",
        .summary = "read the stored output of a run that is over with other patterns",
        .help = HELP,
        .examples = {{"winnow run reparse @latest --pattern 'acc=(?P<acc>\\S+)'", "a metric that was not seen"}},
        FLAGS(flags),
        .words = {{"RUN", WORD_RUN}},
        .run = run_reparse,
    },
    {
        .noun = "sweep",
        .name = "reparse",
        .summary = "read the stored output of all ended trials with other patterns",
        .help = HELP "\n\nOnce the sweep is over the values of its trials are set from what was read.",
        .examples = {{"winnow sweep reparse mnist --pattern 'top1 (?P<top1>\\S+)%'", "for every trial"}},
        FLAGS(flags),
        .words = {{"SWEEP", WORD_SWEEP}},
        .run = sweep_reparse_run,
    },
};

const struct verb_set reparse_verbs = {rows, ARRAY_LEN(rows)};
