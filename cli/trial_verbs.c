/* The trials of a sweep. A trial is a run, so what is done to one is done to the run. */
#include "cli/verbs.h"

static const struct column columns[] = {
    {"TRIAL", "number", COLUMN_COUNT, false, NULL},    {"RUN", "run_id", COLUMN_ID, false, NULL},
    {"STATE", "state", COLUMN_STATE, false, NULL},     {"VALUE", "value", COLUMN_NUMBER, false, NULL},
    {"BEST", "best_value", COLUMN_NUMBER, true, NULL}, {"LAST", "last.value", COLUMN_NUMBER, true, NULL},
    {"STEP", "last.step", COLUMN_COUNT, false, NULL},  {"TOOK", "started", COLUMN_SPAN, false, "ended"},
    {"NODE", "node", COLUMN_TEXT, true, NULL},         {"SLOTS", "slots", COLUMN_COUNT, true, NULL},
    {"ATTEMPT", "attempt", COLUMN_COUNT, true, NULL},  {"PARAMS", "params", COLUMN_LIST, false, NULL},
    {"WHY", "state_reason", COLUMN_TEXT, false, NULL}, {"RULE", "stop.rule", COLUMN_TEXT, true, NULL},
};
const struct view trial_view = VIEW(columns, "run_id", "no trials yet");

static const struct column detail_columns[] = {
    {"Trial", "trial", COLUMN_COUNT, false, NULL},
    {"Run", "id", COLUMN_ID, false, NULL},
    {"Sweep", "sweep_id", COLUMN_TEXT, false, NULL},
    {"State", "state", COLUMN_STATE, false, NULL},
    {"Reason", "state_reason", COLUMN_TEXT, false, NULL},
    {"Value", "as_trial.value", COLUMN_NUMBER, false, NULL},
    {"Step", "as_trial.value_step", COLUMN_COUNT, false, NULL},
    {"Exit code", "exit_code", COLUMN_COUNT, false, NULL},
    {"Signal", "signal", COLUMN_TEXT, false, NULL},
    {"Attempt", "attempt", COLUMN_COUNT, false, NULL},
    {"Node", "node", COLUMN_TEXT, false, NULL},
    {"Slots", "slots", COLUMN_COUNT, false, NULL},
    {"Params", "params", COLUMN_LIST, false, NULL},
    {"Command", "command", COLUMN_COMMAND, false, NULL},
    {"Created", "created", COLUMN_AGE, false, NULL},
    {"Took", "started", COLUMN_SPAN, false, "ended"},
};
static const struct view detail_view = VIEW(detail_columns, "id", "");

static int ls_run(struct cli *cli) {
  struct view view = trial_view;
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_BUF struct buf path = BUF_INIT(4 * KIB);
  if (!resolve_sweep(cli, args_word(&cli->args, 0), id, &err))
    return cli_fail(cli, &err);
  path_format(&path, "/sweeps/{}/trials", id);
  path_query(&path, "state", args_text(&cli->args, "state"));
  path_query(&path, "sort", args_text(&cli->args, "sort"));
  if (args_text(&cli->args, "state"))
    view.none = "no trial is in that state";
  return cli_show_list(cli, buf_text(&path), NULL, &view);
}

/* What its sweep knows of it: its value. */
static void add_trial(struct cli *cli, json_t *run) {
  struct err ignored; /* the run itself is what is shown */
  AUTO_JSON json_t *trials = NULL;
  const char *sweep = json_string_value(json_object_get(run, "sweep_id"));
  char number[24];
  snprintf(number, sizeof number, "%lld", (long long)json_integer_value(json_object_get(run, "trial")));
  if (sweep && cli_get(cli, &trials, &ignored, "/sweeps/{}/trials?number={}", sweep, number))
    json_object_set(run, "as_trial", json_array_get(json_object_get(trials, "items"), 0));
}

/* SWEEP/12, and SWEEP 12. */
static bool resolve_trial(struct cli *cli, char ret[RESOLVED_MAX], struct err *err) {
  AUTO_BUF struct buf word = BUF_INIT(4 * KIB);
  const char *number = args_word(&cli->args, 1);
  buf_printf(&word, "%s%s%s", args_word(&cli->args, 0), number ? "/" : "", number ? number : "");
  return buf_ok(&word, err) && resolve_run(cli, buf_text(&word), ret, err);
}

static int show_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *run = NULL;
  bool ok = resolve_trial(cli, id, &err) && cli_get(cli, &run, &err, "/runs/{}", id);
  if (ok && output_for_people(&cli->output))
    add_trial(cli, run);
  ok = ok && output_object(&cli->output, output_for_people(&cli->output) ? &detail_view : &run_view, run, &err);
  if (ok)
    run_last_words(cli, run);
  return cli_done(cli, ok, &err);
}

static void say_done(struct cli *cli, const char *word, const json_t *run, const char *done) {
  static const char *const over[] = {"FINISHED", "FAILED", "STOPPED", "KILLED"};
  const char *state = json_string_value(json_object_get(run, "state"));
  for (size_t i = 0; state && i < ARRAY_LEN(over); i++)
    if (strcmp(state, over[i]) == 0) {
      output_say(&cli->output, "trial %s is over: %s", word, state);
      return;
    }
  output_say(&cli->output, "trial %s %s", word, done);
}

static int each(struct cli *cli, const char *action, const char *done) {
  int code = EXIT_OK;
  size_t failed = 0, count = cli->args.word_count;
  for (size_t i = 0; i < count; i++) {
    struct err err;
    char id[RESOLVED_MAX];
    AUTO_JSON json_t *run = NULL;
    if (resolve_run(cli, args_word(&cli->args, i), id, &err) && cli_send(cli, "POST", NULL, &run, &err, "/runs/{}/{}", id, action)) {
      say_done(cli, args_word(&cli->args, i), run, done);
      continue;
    }
    code = cli_fail(cli, &err);
    failed++;
  }
  return failed && failed < count ? EXIT_PARTIAL : code;
}

static int stop_run(struct cli *cli) {
  return each(cli, "stop", "is told to stop");
}

static int retry_run(struct cli *cli) {
  return each(cli, "retry", "gets another attempt");
}

static int enqueue_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *params = json_object(), *trial = NULL;
  const char *word;
  for (size_t i = 1; (word = args_word(&cli->args, i)); i++)
    if (!cli_add_pair(params, word, true, &err))
      return cli_usage(cli, err.hint[0] ? err.hint : NULL, "%s", err.text);
  AUTO_JSON json_t *body = json_pack("{sO}", "params", params);
  bool ok = body && resolve_sweep(cli, args_word(&cli->args, 0), id, &err) &&
            cli_send(cli, "POST", body, &trial, &err, "/sweeps/{}/trials", id) && output_object(&cli->output, &trial_view, trial, &err);
  return cli_done(cli, ok, &err);
}

static const char *const states[] = {"QUEUED", "STARTING", "RUNNING", "STOPPING", "FINISHED", "FAILED", "STOPPED", "KILLED", "LOST", NULL};
static const struct flag_row ls_flags[] = {
    {.name = "state", .type = FLAG_CHOICE, .choices = states, .help = "only trials in this state"},
    {.name = "sort",
     .type = FLAG_TEXT,
     .value_name = "COLUMN",
     .help = "a column: value, -value, duration, state, params.NAME, metrics.NAME, ...; - for the other way round"},
    ROW_FLAG_LIMIT("100"),
    ROW_FLAG_WATCH,
};

static const struct verb rows[] = {
    {
        .noun = "trial",
        .name = "ls",
        .aliases = "list",
        .summary = "list the trials of a sweep",
        .help =
            "With their values, params, and for those stopped early the sentence that says why. Sorted by any column, what has none is last.",
        .examples = {{"winnow trial ls @latest", "the newest sweep's"},
                     {"winnow trial ls mnist --sort -value -n 10", "the ten highest values"},
                     {"winnow trial ls mnist --sort params.lr", "by a parameter"}},
        FLAGS(ls_flags),
        .words = {{"SWEEP", WORD_SWEEP}},
        .run = ls_run,
    },
    {
        .noun = "trial",
        .name = "show",
        .aliases = "get",
        .summary = "show one trial",
        .help = "TRIAL is SWEEP/12 (or SWEEP 12), SWEEP/best, or the run's id. winnow run show has its metrics.",
        .examples = {{"winnow trial show mnist/12", "by number"}, {"winnow trial show @best", "the best of the newest sweep"}},
        .words = {{"TRIAL", WORD_RUN}, {"NUMBER", WORD_TEXT, .optional = true}},
        .run = show_run,
    },
    {
        .noun = "trial",
        .name = "stop",
        .aliases = "kill",
        .summary = "stop trials",
        .help = "The sweep goes on with others.",
        .examples = {{"winnow trial stop mnist/12", "one"}, {"winnow trial stop mnist/12 mnist/13", "two"}},
        .words = {{"TRIAL", WORD_RUN, .many = true}},
        .run = stop_run,
    },
    {
        .noun = "trial",
        .name = "retry",
        .summary = "give trials another attempt",
        .help = "The same params, the same checkpoint directory.",
        .examples = {{"winnow trial retry mnist/12", "one"}},
        .words = {{"TRIAL", WORD_RUN, .many = true}},
        .run = retry_run,
    },
    {
        .noun = "trial",
        .name = "enqueue",
        .aliases = "add",
        .summary = "add a hand-picked point to a sweep",
        .help =
            "It runs before the sampler's next one. Numbers, true, false and null are these; what stands in double quotes ('n=\"8\"') and "
            "everything else is text.",
        .examples = {{"winnow trial enqueue mnist lr=0.01 batchsize=64 optimizer=adam", "one point"}},
        .words = {{"SWEEP", WORD_SWEEP}, {"PARAM=VALUE", WORD_TEXT, .many = true}},
        .run = enqueue_run,
    },
};

const struct verb_set trial_verbs = {rows, ARRAY_LEN(rows)};
