/* Sweeps: submit, look, steer, wait. */
#include "base/mem.h"
#include "cli/sweep_follow.h"
#include "cli/verbs.h"

static const struct column columns[] = {
    {"ID", "id", COLUMN_ID, false, NULL},
    {"NAME", "name", COLUMN_TEXT, false, NULL},
    {"STATE", "state", COLUMN_STATE, false, NULL},
    {"REASON", "state_reason", COLUMN_TEXT, true, NULL},
    {"METHOD", "sampler.chosen", COLUMN_TEXT, true, NULL},
    {"TRIALS", "progress.trials", COLUMN_COUNT, false, NULL},
    {"CAP", "run_cap", COLUMN_COUNT, true, NULL},
    {"RUNNING", "progress.running", COLUMN_COUNT, false, NULL},
    {"STOPPED", "progress.stopped", COLUMN_COUNT, true, NULL},
    {"FAILED", "progress.failed", COLUMN_COUNT, false, NULL},
    {"METRIC", "metric.name", COLUMN_TEXT, false, NULL},
    {"BEST", "best.value", COLUMN_NUMBER, false, NULL},
    {"CREATED", "created", COLUMN_AGE, false, NULL},
    {"TOOK", "started", COLUMN_SPAN, true, "ended"},
    {"EXPERIMENT", "experiment_id", COLUMN_TEXT, true, NULL},
};
static const struct view sweep_view = VIEW(columns, "id", "no sweeps; winnow sweep create FILE makes one");

static const struct column detail_columns[] = {
    {"Sweep", "id", COLUMN_ID, false, NULL},
    {"Name", "name", COLUMN_TEXT, false, NULL},
    {"State", "state", COLUMN_STATE, false, NULL},
    {"Reason", "state_reason", COLUMN_TEXT, false, NULL},
    {"Experiment", "experiment_id", COLUMN_TEXT, false, NULL},
    {"Metric", "metric.name", COLUMN_TEXT, false, NULL},
    {"Goal", "metric.goal", COLUMN_TEXT, false, NULL},
    {"Target", "metric.target", COLUMN_NUMBER, false, NULL},
    {"Sampler", "sampler.chosen", COLUMN_TEXT, false, NULL},
    {"Chosen because", "sampler.why", COLUMN_TEXT, false, NULL},
    {"Seed", "sampler.seed", COLUMN_COUNT, false, NULL},
    {"Trials", "progress.trials", COLUMN_COUNT, false, NULL},
    {"Trials at most", "run_cap", COLUMN_COUNT, false, NULL},
    {"Queued", "progress.queued", COLUMN_COUNT, false, NULL},
    {"Running", "progress.running", COLUMN_COUNT, false, NULL},
    {"Finished", "progress.finished", COLUMN_COUNT, false, NULL},
    {"Stopped early", "progress.stopped", COLUMN_COUNT, false, NULL},
    {"Failed", "progress.failed", COLUMN_COUNT, false, NULL},
    {"Killed", "progress.killed", COLUMN_COUNT, false, NULL},
    {"Lost", "progress.lost", COLUMN_COUNT, false, NULL},
    {"Best value", "best.value", COLUMN_NUMBER, false, NULL},
    {"Best trial", "best.number", COLUMN_COUNT, false, NULL},
    {"Best params", "best.params", COLUMN_LIST, false, NULL},
    {"Curve", "curve", COLUMN_TEXT, false, NULL},
    {"Slot time used", "slot_seconds.used", COLUMN_DURATION, false, NULL},
    {"Slot time saved", "slot_seconds.saved", COLUMN_DURATION, false, NULL},
    {"Created", "created", COLUMN_AGE, false, NULL},
    {"Took", "started", COLUMN_SPAN, false, "ended"},
    {"Done", "eta", COLUMN_AGE, false, NULL},
    {"Registered", "registered", COLUMN_LIST, false, NULL},
    {"Submitted by", "submitted_by", COLUMN_TEXT, false, NULL},
    {"Steered", "steered", COLUMN_LIST, false, NULL},
    {"Warnings", "warnings", COLUMN_ITEMS, false, NULL},
};
static const struct view detail_view = VIEW(detail_columns, "id", "");

/* "mnist/3" of each version that was made. */
static json_t *with_versions(const json_t *sweep) {
  json_t *shown = json_copy((json_t *)(uintptr_t)sweep), *texts = json_array();
  const json_t *list = json_object_get(sweep, "registered");
  for (size_t i = 0; i < json_array_size(list); i++) {
    const json_t *item = json_array_get(list, i);
    json_array_append_new(texts, json_sprintf("%s/%lld", json_string_value(json_object_get(item, "model")),
                                              (long long)json_integer_value(json_object_get(item, "version"))));
  }
  json_object_set_new(shown, "registered", texts);
  return shown;
}

/* "PAUSED by token ci", "edit (run_cap 80) by uid 1000" */
static json_t *deed_text(const json_t *event) {
  const char *kind = json_string_value(json_object_get(event, "kind")), *to = json_string_value(json_object_get(event, "to"));
  const char *actor = json_string_value(json_object_get(event, "actor"));
  bool is_deed = kind && strcmp(kind, "sweep.created") != 0 && to && actor && strcmp(actor, "service") != 0;
  bool is_edit = is_deed && strcmp(kind, "sweep.edited") == 0;
  return is_edit ? json_sprintf("edit (%s) by %s", to, actor) : is_deed ? json_sprintf("%s by %s", to, actor) : NULL;
}

enum { STEERED_SHOWN = 8 };

/* Who submitted it, and what people did to it last. */
static void add_people(struct cli *cli, const char *id, json_t *sweep) {
  AUTO_JSON json_t *events = NULL;
  AUTO_BUF struct buf path = BUF_INIT(KIB);
  struct err ignored; /* the sweep itself is what is shown */
  path_format(&path, "/sweeps/{}/events", id);
  if (!cli_list(cli, buf_text(&path), NULL, 0, &events, NULL, &ignored))
    return;
  json_t *steered = json_array();
  for (size_t i = 0; i < json_array_size(events); i++) {
    const json_t *event = json_array_get(events, i);
    json_t *text = deed_text(event);
    if (text)
      json_array_append_new(steered, text);
    if (json_array_size(steered) > STEERED_SHOWN)
      json_array_remove(steered, 0);
    if (str_is(json_str(json_object_get(event, "kind")), "sweep.created"))
      json_object_set(sweep, "submitted_by", json_object_get(event, "actor"));
  }
  json_object_set_new(sweep, "steered", steered);
}

static bool show_one(struct cli *cli, const json_t *sweep, struct err *err) {
  if (!output_for_people(&cli->output))
    return output_object(&cli->output, &sweep_view, sweep, err);
  AUTO_JSON json_t *shown = with_versions(sweep);
  return output_object(&cli->output, &detail_view, shown ? shown : sweep, err);
}

/* ---- the end ---- */

/* Why did it give up? What the last trial that failed has printed says more than we could. */
static void show_last_words(struct cli *cli, const json_t *sweep) {
  struct err ignored; /* the sweep's own end is what is told */
  AUTO_JSON json_t *trials = NULL;
  const char *sweep_id = json_string_value(json_object_get(sweep, "id"));
  if (!sweep_id || !str_is(json_str(json_object_get(sweep, "state")), "FAILED") || !output_for_people(&cli->output) ||
      !cli_get(cli, &trials, &ignored, "/sweeps/{}/trials?state=FAILED&sort=-number&limit=1", sweep_id))
    return;
  const json_t *trial = json_array_get(json_object_get(trials, "items"), 0);
  const char *run = json_string_value(json_object_get(trial, "run_id"));
  struct str reason = json_str(json_object_get(trial, "state_reason"));
  if (!run)
    return;
  output_say(&cli->output, "trial %lld failed: %.*s", (long long)json_integer_value(json_object_get(trial, "number")), STR_ARG(reason));
  logs_last_words(cli, run);
}

static int report_end(struct cli *cli, const json_t *sweep) {
  struct err err;
  show_last_words(cli, sweep);
  if (cli->output.format != OUTPUT_JSONL && !show_one(cli, sweep, &err))
    return cli_fail(cli, &err);
  return str_is(json_str(json_object_get(sweep, "state")), "FINISHED") ? EXIT_OK : EXIT_OBJECT_FAILED;
}

static int wait_failed(struct cli *cli, const char *id, const struct err *err) {
  int code = cli_fail(cli, err);
  if (code == EXIT_INTERRUPTED)
    output_say(&cli->output, "detached; the sweep goes on. Come back with: winnow sweep watch %s", id);
  return err->code == ERR_TIMEOUT ? EXIT_TIMEOUT : code;
}

int sweep_follow(struct cli *cli, const char *sweep_id, int64_t timeout_ms) {
  struct err err;
  AUTO_JSON json_t *sweep = NULL;
  if (!sweep_wait(cli, sweep_id, timeout_ms, NULL, NULL, &sweep, &err))
    return wait_failed(cli, sweep_id, &err);
  return report_end(cli, sweep);
}

static void say_warnings(struct cli *cli, const json_t *sweep) {
  const json_t *warnings = json_object_get(sweep, "warnings");
  for (size_t i = 0; i < json_array_size(warnings); i++) {
    const json_t *warning = json_array_get(warnings, i);
    struct str text = json_is_string(warning) ? json_str(warning) : json_str(json_object_get(warning, "message"));
    output_say(&cli->output, "warning: %.*s", STR_ARG(text));
  }
}

static int create_run(struct cli *cli) {
  struct err err;
  AUTO_JSON json_t *sweep = NULL;
  bool dry_run = args_bool(&cli->args, "dry-run");
  if (!sweep_submit(cli, args_word(&cli->args, 0), dry_run, &sweep, &err))
    return cli_fail(cli, &err);
  say_warnings(cli, sweep);
  if (dry_run && output_for_people(&cli->output))
    cli->output.format = OUTPUT_YAML; /* the normal form is a file again */
  if (dry_run)
    return cli_done(cli, output_any(&cli->output, sweep, &err), &err);
  const char *id = json_string_value(json_object_get(sweep, "id"));
  if (args_bool(&cli->args, "follow") && id) {
    output_say(&cli->output, "sweep %s", id);
    return sweep_follow(cli, id, 0);
  }
  return cli_done(cli, show_one(cli, sweep, &err), &err);
}

/* ---- look ---- */

static int ls_run(struct cli *cli) {
  AUTO_BUF struct buf path = BUF_INIT(KIB);
  buf_puts(&path, "/sweeps");
  path_query(&path, "state", args_text(&cli->args, "state"));
  return cli_show_list(cli, buf_text(&path), NULL, &sweep_view);
}

static bool get_sweep(struct cli *cli, char id[RESOLVED_MAX], json_t **ret, struct err *err) {
  return resolve_sweep(cli, args_word(&cli->args, 0), id, err) && cli_get(cli, ret, err, "/sweeps/{}", id);
}

static int show_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *sweep = NULL;
  AUTO_BUF struct buf curve = BUF_INIT(4 * KIB);
  if (!get_sweep(cli, id, &sweep, &err))
    return cli_fail(cli, &err);
  if (output_for_people(&cli->output)) {
    sweep_curve(cli, id, &curve);
    json_object_set_new(sweep, "curve", json_string(buf_text(&curve)));
    add_people(cli, id, sweep);
  }
  show_last_words(cli, sweep);
  return cli_done(cli, show_one(cli, sweep, &err), &err);
}

static int events_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_BUF struct buf path = BUF_INIT(KIB);
  if (!resolve_sweep(cli, args_word(&cli->args, 0), id, &err))
    return cli_fail(cli, &err);
  path_format(&path, "/sweeps/{}/events", id);
  return cli_show_list(cli, buf_text(&path), NULL, &event_view);
}

static int watch_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  if (!resolve_sweep(cli, args_word(&cli->args, 0), id, &err))
    return cli_fail(cli, &err);
  return sweep_follow(cli, id, args_duration(&cli->args, "timeout", 0));
}

/* ---- wait ---- */

struct condition {
  char compare; /* '<', '>' or 0: the end */
  bool or_equal;
  double bound;
};

static bool parse_condition(const char *text, struct condition *ret, struct err *err) {
  struct condition condition = {0};
  struct str word = str_of(text);
  if (str_is(word, "done")) {
    *ret = condition;
    return true;
  }
  if (str_starts(word, STR("best")) && word.n > 5 && (word.p[4] == '<' || word.p[4] == '>')) {
    condition.compare = word.p[4];
    condition.or_equal = word.p[5] == '=';
    if (str_to_f64(str_slice(word, condition.or_equal ? 6 : 5, word.n), &condition.bound)) {
      *ret = condition;
      return true;
    }
  }
  return err_set(err, ERR_INVALID, "'%.60s' is nothing to wait for", text);
}

static bool is_met(void *ctx, const json_t *sweep) {
  const struct condition *condition = ctx;
  double best;
  if (!condition->compare)
    return sweep_has_ended(sweep);
  if (!sweep_best(sweep, &best))
    return false;
  bool equal = !(best < condition->bound) && !(best > condition->bound);
  return (condition->or_equal && equal) || (condition->compare == '<' ? best < condition->bound : best > condition->bound);
}

static int wait_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  struct condition condition;
  AUTO_JSON json_t *sweep = NULL;
  if (!parse_condition(args_text(&cli->args, "until"), &condition, &err))
    return cli_usage(cli, "write done, best<0.2 or best>=0.99", "%s", err.text);
  if (!resolve_sweep(cli, args_word(&cli->args, 0), id, &err))
    return cli_fail(cli, &err);
  if (!sweep_wait(cli, id, args_duration(&cli->args, "timeout", 0), is_met, &condition, &sweep, &err))
    return wait_failed(cli, id, &err);
  int code = report_end(cli, sweep);
  if (condition.compare)
    return is_met(&condition, sweep) ? EXIT_OK : EXIT_OBJECT_FAILED;
  return code;
}

/* ---- steer ---- */

static int control(struct cli *cli, const char *action, const char *done) {
  int code = EXIT_OK;
  size_t failed = 0, count = cli->args.word_count;
  for (size_t i = 0; i < count; i++) {
    struct err err;
    char id[RESOLVED_MAX];
    AUTO_JSON json_t *sweep = NULL;
    if (resolve_sweep(cli, args_word(&cli->args, i), id, &err) && cli_send(cli, "POST", NULL, &sweep, &err, "/sweeps/{}/{}", id, action)) {
      output_say(&cli->output, "sweep %s %s", id, done);
      continue;
    }
    code = cli_fail(cli, &err);
    failed++;
  }
  return failed && failed < count ? EXIT_PARTIAL : code;
}

static int pause_run(struct cli *cli) {
  return control(cli, "pause", "starts no more trials; those that run go on");
}

static int resume_run(struct cli *cli) {
  return control(cli, "resume", "goes on");
}

static int drain_run(struct cli *cli) {
  return control(cli, "drain", "ends when the running trials have");
}

static int stop_run(struct cli *cli) {
  int code;
  if (!cli_confirm(cli, &code, "Stop the sweep %s and its running trials", args_word(&cli->args, 0)))
    return code;
  return control(cli, "stop", "is told to stop");
}

static int clone_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *sweep = NULL, *body = json_pack("{ss*}", "name", args_text(&cli->args, "name"));
  if (!body)
    return cli_usage(cli, NULL, "the name is no UTF-8");
  if (args_given(&cli->args, "seed"))
    json_object_set_new(body, "seed", json_integer(args_i64(&cli->args, "seed", 0)));
  bool ok = resolve_sweep(cli, args_word(&cli->args, 0), id, &err) && cli_send(cli, "POST", body, &sweep, &err, "/sweeps/{}/clone", id) &&
            show_one(cli, sweep, &err);
  return cli_done(cli, ok, &err);
}

static json_t *edits(struct cli *cli) {
  AUTO_JSON json_t *body = json_pack("{ss*}", "notes", args_text(&cli->args, "notes"));
  static const struct {
    const char *flag, *key;
  } numbers[] = {{"run-cap", "run_cap"}, {"max-parallel", "max_parallel"}, {"priority", "priority"}};
  for (size_t i = 0; body && i < ARRAY_LEN(numbers); i++)
    if (args_given(&cli->args, numbers[i].flag))
      json_object_set_new(body, numbers[i].key, json_integer(args_i64(&cli->args, numbers[i].flag, 0)));
  if (body && args_given(&cli->args, "max-time"))
    json_object_set_new(body, "max_time", json_string(args_text(&cli->args, "max-time")));
  return json_incref(body);
}

static int edit_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *body = edits(cli), *sweep = NULL;
  if (!body)
    return cli_usage(cli, NULL, "the notes are no UTF-8");
  if (!json_object_size(body))
    return cli_usage(cli, "for example: winnow sweep edit @latest --run-cap 100", "nothing to change was said");
  if (!resolve_sweep(cli, args_word(&cli->args, 0), id, &err) || !cli_send(cli, "PATCH", body, &sweep, &err, "/sweeps/{}", id))
    return cli_fail(cli, &err);
  int code = cli_report(cli, &sweep_view, sweep, "sweep %s is changed", id);
  struct str reason = json_str(json_object_get(sweep, "state_reason"));
  if (reason.n)
    output_say(&cli->output, "%.*s: %.*s", STR_ARG(json_str(json_object_get(sweep, "state"))), STR_ARG(reason));
  return code;
}

static int rm_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  int code;
  if (!resolve_sweep(cli, args_word(&cli->args, 0), id, &err))
    return cli_fail(cli, &err);
  if (!cli_confirm(cli, &code, "Delete the sweep %s with its trials", args_word(&cli->args, 0)))
    return code;
  if (!cli_send(cli, "DELETE", NULL, NULL, &err, "/sweeps/{}", id))
    return cli_fail(cli, &err);
  output_say(&cli->output, "sweep %s is deleted", id);
  return EXIT_OK;
}

/* ---- analyse ---- */

static const struct column importance_columns[] = {
    {"PARAM", "name", COLUMN_TEXT, false, NULL},    {"IMPORTANCE", "importance", COLUMN_NUMBER, false, NULL},
    {"LOW", "low", COLUMN_NUMBER, false, NULL},     {"HIGH", "high", COLUMN_NUMBER, false, NULL},
    {"TRIALS", "trials", COLUMN_COUNT, true, NULL}, {"", "bar", COLUMN_TEXT, false, NULL},
};
static const struct view importance_view = VIEW(importance_columns, "name", "too few finished trials to say");

static const struct column pair_columns[] = {
    {"PARAM", "a", COLUMN_TEXT, false, NULL},
    {"WITH", "b", COLUMN_TEXT, false, NULL},
    {"IMPORTANCE", "importance", COLUMN_NUMBER, false, NULL},
    {"", "bar", COLUMN_TEXT, false, NULL},
};
static const struct view pair_view = VIEW(pair_columns, "a", "no two parameters matter together beyond each alone");

static int best_run(struct cli *cli) {
  struct view view = trial_view;
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *items = NULL;
  AUTO_BUF struct buf path = BUF_INIT(KIB);
  if (!resolve_sweep(cli, args_word(&cli->args, 0), id, &err))
    return cli_fail(cli, &err);
  path_format(&path, "/sweeps/{}/best", id);
  view.none = "no trial has ended well with a value";
  path_query(&path, "k", args_text(&cli->args, "count"));
  bool ok = cli_list(cli, buf_text(&path), NULL, args_i64(&cli->args, "count", 5), &items, NULL, &err) &&
            output_list(&cli->output, &view, items, NULL, &err);
  return cli_done(cli, ok, &err);
}

static void add_bar(json_t *item) {
  enum { BAR = 30 };
  const json_t *value = json_object_get(item, "importance");
  double share = json_is_number(value) ? json_number_value(value) : 0;
  int length = share > 0 ? (int)(MIN_OF(share, 1.0) * BAR + 0.5) : 0;
  AUTO_BUF struct buf bar = BUF_INIT(KIB);
  for (int i = 0; i < length; i++)
    buf_puts(&bar, "█");
  json_object_set_new(item, "bar", json_string(buf_text(&bar)));
}

static int importance_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *report = NULL;
  bool pairs = args_bool(&cli->args, "pairs");
  if (!resolve_sweep(cli, args_word(&cli->args, 0), id, &err) || !cli_get(cli, &report, &err, "/sweeps/{}/importance", id))
    return cli_fail(cli, &err);
  json_t *items = json_object_get(report, pairs ? "pairs" : "items");
  for (size_t i = 0; output_for_people(&cli->output) && i < json_array_size(items); i++)
    add_bar(json_array_get(items, i));
  bool ok = output_list(&cli->output, pairs ? &pair_view : &importance_view, items, NULL, &err);
  const char *reason = json_string_value(json_object_get(report, "reason"));
  if (ok && json_is_true(json_object_get(report, "low_confidence")))
    output_say(&cli->output, "low confidence: %s", reason ? reason : "there are few finished trials");
  return cli_done(cli, ok, &err);
}

static const char *const states[] = {"RUNNING", "PAUSED", "DRAINING", "FINISHED", "STOPPED", "FAILED", NULL};

static const struct flag_row create_flags[] = {
    ROW_FLAG_FOLLOW("show where it stands until it ends; Ctrl-C detaches and leaves it running"),
    {.name = "dry-run",
     .type = FLAG_BOOL,
     .help = "check and show the normal form, the grid's size, the rungs, the first points; start nothing"},
};
static const struct flag_row ls_flags[] = {
    {.name = "state", .type = FLAG_CHOICE, .choices = states, .help = "only sweeps in this state"},
    ROW_FLAG_LIMIT("50"),
    ROW_FLAG_WATCH,
};
static const struct flag_row events_flags[] = {ROW_FLAG_LIMIT("200"), ROW_FLAG_WATCH};
static const struct flag_row watch_flags[] = {
    {.name = "timeout", .type = FLAG_DURATION, .value_name = "TIME", .help = "give up after this time (exit status 124)"},
};
static const struct flag_row wait_flags[] = {
    {.name = "until",
     .type = FLAG_TEXT,
     .value_name = "WHAT",
     .default_text = "done",
     .help = "done, best<NUMBER, best>NUMBER, also <= and >="},
    {.name = "timeout", .type = FLAG_DURATION, .value_name = "TIME", .help = "give up after this time (exit status 124)"},
};
static const struct flag_row clone_flags[] = {
    {.name = "name", .type = FLAG_TEXT, .value_name = "NAME", .help = "of the new sweep"},
    {.name = "seed", .type = FLAG_INT, .value_name = "N", .help = "another seed"},
};
static const struct flag_row edit_flags[] = {
    {.name = "run-cap", .type = FLAG_INT, .value_name = "N", .help = "trials in all"},
    {.name = "max-parallel", .type = FLAG_INT, .value_name = "N", .help = "trials at once"},
    {.name = "priority", .type = FLAG_SIGNED, .value_name = "N", .help = "in the queue"},
    {.name = "max-time", .type = FLAG_DURATION, .value_name = "TIME", .help = "for the whole sweep"},
    {.name = "notes", .type = FLAG_TEXT, .value_name = "TEXT", .help = "free text"},
};
static const struct flag_row best_flags[] = {
    {.name = "count", .letter = 'k', .type = FLAG_INT, .value_name = "K", .default_text = "5", .help = "how many"},
};

static const struct flag_row importance_flags[] = {
    {.name = "pairs", .type = FLAG_BOOL, .help = "parameters that matter together, beyond each alone"},
};

static const struct verb rows[] = {
    {
        .noun = "sweep",
        .name = "create",
        .aliases = "new submit",
        .summary = "submit a sweep file",
        .help =
            "Reads a sweep file (YAML or JSON; also W&B's, Katib's and Azure ML's) and submits it. Mistakes are told with line and column. "
            "With -f it follows the sweep; the exit status is 7 when the sweep fails.\n\nThe file's directory (or its workdir) is copied "
            "first, but for what .gitignore and .winnowignore name, and every attempt runs in a copy of its own: what is edited afterwards "
            "changes no later trial.",
        .examples = {{"winnow sweep create mnist.yaml -f", "submit and follow"},
                     {"winnow sweep create mnist.yaml --dry-run", "what would be run"},
                     {"generate-space | winnow sweep create - -o name", "from a program; print the id"}},
        FLAGS(create_flags),
        .words = {{"FILE", WORD_FILE}},
        .run = create_run,
    },
    {
        .noun = "sweep",
        .name = "ls",
        .aliases = "list",
        .summary = "list sweeps, newest first",
        .help = "With their state, progress and best value.",
        .examples = {{"winnow sweep ls", "the newest 50"}, {"winnow sweep ls --state RUNNING -w", "what runs, again and again"}},
        FLAGS(ls_flags),
        .run = ls_run,
    },
    {
        .noun = "sweep",
        .name = "show",
        .aliases = "get",
        .summary = "show one sweep",
        .help =
            "State and why, the sampler chosen and why, progress, the best trial and its params, the curve of the best value, slot time saved, "
            "who submitted and steered it.",
        .examples = {{"winnow sweep show @latest", "the newest"}, {"winnow sweep show mnist -o yaml", "everything, with the normal form"}},
        .words = {{"SWEEP", WORD_SWEEP}},
        .run = show_run,
    },
    {
        .noun = "sweep",
        .name = "events",
        .aliases = "history",
        .summary = "what happened to a sweep, and who did it",
        .help =
            "Who submitted, paused, resumed, drained, stopped and edited it, what was registered, warnings. What was done to one trial: "
            "winnow run events.",
        .examples = {{"winnow sweep events @latest", "the newest sweep"}},
        FLAGS(events_flags),
        .words = {{"SWEEP", WORD_SWEEP}},
        .run = events_run,
    },
    {
        .noun = "sweep",
        .name = "watch",
        .aliases = "follow attach",
        .summary = "follow a sweep until it ends",
        .help =
            "One line on standard error that says where it stands; at the end the sweep is shown. With -o jsonl every event is a line. Ctrl-C "
            "detaches. The exit status is 7 when it does not end FINISHED.",
        .examples = {{"winnow sweep watch @latest", "the newest"}, {"winnow sweep watch mnist -o jsonl", "events for a program"}},
        FLAGS(watch_flags),
        .words = {{"SWEEP", WORD_SWEEP}},
        .run = watch_run,
    },
    {
        .noun = "sweep",
        .name = "wait",
        .summary = "wait for a sweep's end, or for a good enough best value",
        .help = "The exit status is 0 when it came, 7 when the sweep ended without it, 124 when the time was over.",
        .examples = {{"winnow sweep wait @latest", "the end"}, {"winnow sweep wait mnist --until 'best>=0.99' --timeout 2h", "a value"}},
        FLAGS(wait_flags),
        .words = {{"SWEEP", WORD_SWEEP}},
        .run = wait_run,
    },
    {
        .noun = "sweep",
        .name = "pause",
        .summary = "start no more trials for now",
        .help = "Trials that run go on. Repeating it is safe.",
        .examples = {{"winnow sweep pause @latest", "the newest"}},
        .words = {{"SWEEP", WORD_SWEEP, .many = true}},
        .run = pause_run,
    },
    {
        .noun = "sweep",
        .name = "resume",
        .summary = "go on with a paused sweep",
        .help = "Repeating it is safe.",
        .examples = {{"winnow sweep resume @latest", "the newest"}},
        .words = {{"SWEEP", WORD_SWEEP, .many = true}},
        .run = resume_run,
    },
    {
        .noun = "sweep",
        .name = "stop",
        .aliases = "cancel kill",
        .summary = "stop a sweep and its running trials",
        .help = "TERM, the grace time, then KILL. Asks first, unless --yes is said; winnow sweep drain lets the running trials finish.",
        .examples = {{"winnow sweep stop @latest", "after a question"}, {"winnow sweep stop mnist -y", "without one"}},
        .words = {{"SWEEP", WORD_SWEEP, .many = true}},
        .run = stop_run,
    },
    {
        .noun = "sweep",
        .name = "drain",
        .summary = "start no more trials, and end when the running ones have",
        .help = "Repeating it is safe.",
        .examples = {{"winnow sweep drain @latest", "the newest"}},
        .words = {{"SWEEP", WORD_SWEEP, .many = true}},
        .run = drain_run,
    },
    {
        .noun = "sweep",
        .name = "clone",
        .aliases = "copy",
        .summary = "submit the same sweep once more",
        .help = "With the same file and code and what was changed since with `winnow sweep edit`, and another name or seed if you like.",
        .examples = {{"winnow sweep clone @latest --seed 8", "another seed"}},
        FLAGS(clone_flags),
        .words = {{"SWEEP", WORD_SWEEP}},
        .run = clone_run,
    },
    {
        .noun = "sweep",
        .name = "edit",
        .aliases = "set",
        .summary = "change budget and notes while it runs",
        .help =
            "What is not said stays. Nothing is taken back: trials that are there go on below a lower --run-cap or --max-parallel; when "
            "--max-time is over, those that run do.",
        .examples = {{"winnow sweep edit @latest --run-cap 100 --max-parallel 8", "more trials, more at once"}},
        FLAGS(edit_flags),
        .words = {{"SWEEP", WORD_SWEEP}},
        .run = edit_run,
    },
    {
        .noun = "sweep",
        .name = "rm",
        .aliases = "delete",
        .summary = "delete a sweep with its trials",
        .help = "Asks first, unless --yes is said.",
        .examples = {{"winnow sweep rm mnist", "after a question"}},
        .words = {{"SWEEP", WORD_SWEEP}},
        .run = rm_run,
    },
    {
        .noun = "sweep",
        .name = "best",
        .aliases = "top",
        .summary = "the best trials of a sweep",
        .help = "Best first, with their params.",
        .examples = {{"winnow sweep best @latest", "five"}, {"winnow sweep best mnist -k 20 -o csv", "twenty, for a spreadsheet"}},
        FLAGS(best_flags),
        .words = {{"SWEEP", WORD_SWEEP}},
        .run = best_run,
    },
    {
        .noun = "sweep",
        .name = "importance",
        .summary = "how much each param matters",
        .help = "PED-ANOVA over the finished trials: which params tell the good from the rest. Says so when there are too few to trust it.",
        .examples = {{"winnow sweep importance @latest", "with bars, and a 95 % interval"},
                     {"winnow sweep importance mnist --pairs", "which matter together"},
                     {"winnow sweep importance mnist -o json", "as numbers"}},
        FLAGS(importance_flags),
        .words = {{"SWEEP", WORD_SWEEP}},
        .run = importance_run,
    },
};

const struct verb_set sweep_verbs = {rows, ARRAY_LEN(rows)};
