/* Runs: list, show, change, launch. */
#include "base/mem.h"
#include "cli/submit.h"
#include "cli/verbs.h"

static const struct column columns[] = {
    {"ID", "id", COLUMN_ID, false, NULL},
    {"NAME", "name", COLUMN_TEXT, false, NULL},
    {"STATE", "state", COLUMN_STATE, false, NULL},
    {"REASON", "state_reason", COLUMN_TEXT, true, NULL},
    {"EXPERIMENT", "experiment_id", COLUMN_TEXT, true, NULL},
    {"SWEEP", "sweep_id", COLUMN_ID, true, NULL},
    {"TRIAL", "trial", COLUMN_COUNT, true, NULL},
    {"ATTEMPT", "attempt", COLUMN_COUNT, true, NULL},
    {"EXIT", "exit_code", COLUMN_COUNT, true, NULL},
    {"SIGNAL", "signal", COLUMN_TEXT, true, NULL},
    {"NODE", "node", COLUMN_TEXT, true, NULL},
    {"SLOTS", "slots", COLUMN_COUNT, true, NULL},
    {"CREATED", "created", COLUMN_AGE, false, NULL},
    {"TOOK", "started", COLUMN_SPAN, false, "ended"},
    {"PARAMS", "params", COLUMN_LIST, false, NULL},
    {"TAGS", "tags", COLUMN_LIST, true, NULL},
};
const struct view run_view = VIEW(columns, "id", "no runs");

static const struct column detail_columns[] = {
    {"Run", "id", COLUMN_ID, false, NULL},
    {"Name", "name", COLUMN_TEXT, false, NULL},
    {"State", "state", COLUMN_STATE, false, NULL},
    {"Reason", "state_reason", COLUMN_TEXT, false, NULL},
    {"Exit code", "exit_code", COLUMN_COUNT, false, NULL},
    {"Signal", "signal", COLUMN_TEXT, false, NULL},
    {"Experiment", "experiment", COLUMN_TEXT, false, NULL},
    {"Experiment id", "experiment_id", COLUMN_TEXT, false, NULL},
    {"Sweep", "sweep_id", COLUMN_TEXT, false, NULL},
    {"Trial", "trial", COLUMN_COUNT, false, NULL},
    {"Attempt", "attempt", COLUMN_COUNT, false, NULL},
    {"Command", "command", COLUMN_COMMAND, false, NULL},
    {"Metrics from", "recognised", COLUMN_LIST, false, NULL},
    {"Node", "node", COLUMN_TEXT, false, NULL},
    {"Slots", "slots", COLUMN_COUNT, false, NULL},
    {"Created", "created", COLUMN_AGE, false, NULL},
    {"Took", "started", COLUMN_SPAN, false, "ended"},
    {"Heartbeat", "heartbeat", COLUMN_AGE, false, NULL},
    {"Artifacts", "artifact_uri", COLUMN_TEXT, false, NULL},
    {"Tags", "tags", COLUMN_LIST, false, NULL},
    {"Deleted", "deleted", COLUMN_AGE, false, NULL},
};
static const struct view detail_view = VIEW(detail_columns, "id", "");

/* ---- ls ---- */

static bool add_filters(struct cli *cli, json_t *body, struct err *err) {
  const char *filter = args_text(&cli->args, "filter"), *state = args_text(&cli->args, "state"), *sweep = args_text(&cli->args, "sweep");
  const char *experiment = args_text(&cli->args, "experiment"), *order = args_text(&cli->args, "order-by");
  char id[RESOLVED_MAX];
  if (filter && json_object_set_new(body, "filter", json_string(filter)) != 0)
    return err_set(err, ERR_INVALID, "the filter is no UTF-8");
  if (experiment) {
    if (!resolve_experiment(cli, experiment, id, err))
      return false;
    json_object_set_new(body, "experiments", json_pack("[s]", id));
  }
  if (sweep) {
    if (!resolve_sweep(cli, sweep, id, err))
      return false;
    json_object_set_new(body, "sweep", json_string(id));
  }
  if (state)
    json_object_set_new(body, "state", json_string(state));
  json_object_set_new(body, "order_by", json_pack("[s]", order ? order : RUNS_NEWEST_FIRST));
  if (args_bool(&cli->args, "deleted"))
    json_object_set_new(body, "deleted", json_true());
  return true;
}

/* The columns of the table, and one for every --metric. */
static bool view_with_metrics(struct cli *cli, struct view *ret, struct err *err) {
  size_t count = 0, at = 0;
  const char *metrics;
  struct str rest, metric;
  while ((metrics = args_each(&cli->args, "metric", &at)))
    for (rest = str_of(metrics); str_split(&rest, ',', &metric);)
      count++;
  struct column *all = ARENA_NEW_ARRAY(&cli->arena, struct column, ARRAY_LEN(columns) + count);
  if (!all || ARRAY_LEN(columns) + count > TABLE_MAX_COLUMNS)
    return err_set(err, ERR_INVALID, "too many metrics for one table");
  memcpy(all, columns, sizeof columns);
  *ret = run_view;
  ret->columns = all;
  for (at = 0; (metrics = args_each(&cli->args, "metric", &at));)
    for (rest = str_of(metrics); str_split(&rest, ',', &metric);) {
      metric = str_trim(metric);
      char *title = arena_strdup(&cli->arena, metric), *path = arena_printf(&cli->arena, "metrics.%.*s.last", STR_ARG(metric));
      if (!title || !path)
        return err_no_memory(err);
      if (metric.n)
        all[ret->column_count++] = (struct column){.title = title, .path = path, .kind = COLUMN_NUMBER};
    }
  return true;
}

static int ls_run(struct cli *cli) {
  struct err err;
  struct view view;
  AUTO_JSON json_t *body = json_object();
  if (!body)
    err_no_memory(&err);
  if (!body || !add_filters(cli, body, &err) || !view_with_metrics(cli, &view, &err))
    return cli_fail(cli, &err);
  return cli_show_list(cli, "/runs/search", body, &view);
}

/* ---- show ---- */

static bool section(struct cli *cli, const char *title, struct err *err) {
  AUTO_BUF struct buf line = BUF_INIT(KIB);
  buf_putc(&line, '\n');
  if (cli->output.colours)
    style_begin(&line, STYLE_BOLD);
  buf_puts(&line, title);
  if (cli->output.colours)
    style_end(&line, STYLE_BOLD);
  buf_putc(&line, '\n');
  return output_bytes(&cli->output, buf_str(&line), err);
}

static int by_name(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

json_t *sorted_object(const json_t *object, struct err *err) {
  AUTO_JSON json_t *sorted = json_object();
  json_t *walk = (json_t *)(uintptr_t)object, *value; /* jansson's iterators want a mutable object, but change nothing */
  size_t count = 0;
  const char *name;
  AUTO_FREE const char **names = mem_array(json_object_size(object) + 1, sizeof *names);
  bool ok = sorted && names;
  json_object_foreach(walk, name, value) {
    if (ok)
      names[count++] = name;
  }
  if (ok)
    qsort(names, count, sizeof *names, by_name);
  for (size_t i = 0; ok && i < count; i++)
    ok = json_object_set(sorted, names[i], json_object_get(object, names[i])) == 0;
  return ok ? json_incref(sorted) : (err_no_memory(err), NULL);
}

json_t *run_params(const json_t *run, struct err *err) {
  json_t *params = json_object_get(run, "params");
  return json_is_null(json_object_get(run, "sweep_id")) ? sorted_object(params, err) : json_incref(params);
}

static bool show_params(struct cli *cli, const json_t *run, struct err *err) {
  AUTO_JSON json_t *params = run_params(run, err);
  return params && (!json_object_size(params) || (section(cli, "Params", err) && output_any(&cli->output, params, err)));
}

static void number_cell(struct table *table, const json_t *value, enum column_kind kind) {
  struct column column = {.path = "v", .kind = kind};
  AUTO_JSON json_t *holder = json_pack("{sO?}", "v", value);
  AUTO_BUF struct buf text = BUF_INIT(4 * KIB);
  if (holder)
    column_text(&column, holder, 0, &text);
  table_cell(table, buf_str(&text), STYLE_NONE);
}

/* NULL: a metric that was never a number has no least and no greatest one. */
static const json_t *metric_item(const json_t *metric, const char *key) {
  const json_t *value = json_object_get(metric, key);
  bool is_bound = strcmp(key, "min") == 0 || strcmp(key, "max") == 0;
  return is_bound && str_is(json_str(value), "NaN") ? NULL : value;
}

/* {key: {last, step, min, max, count}} as rows. */
static bool show_metrics(struct cli *cli, const json_t *metrics, struct err *err) {
  static const struct {
    const char *title, *key;
    enum column_kind kind;
  } shown[] = {{"LAST", "last", COLUMN_NUMBER},
               {"STEP", "step", COLUMN_COUNT},
               {"MIN", "min", COLUMN_NUMBER},
               {"MAX", "max", COLUMN_NUMBER},
               {"POINTS", "count", COLUMN_COUNT}};
  AUTO_ARENA struct arena arena = ARENA_INIT(64 * MIB);
  struct table table CLEANUP(table_release);
  table_init(&table, &arena);
  AUTO_JSON json_t *sorted = sorted_object(metrics, err);
  if (!sorted || !json_object_size(sorted))
    return sorted != NULL;
  table_column(&table, "METRIC", false, YIELD_FIRST);
  for (size_t i = 0; i < ARRAY_LEN(shown); i++)
    table_column(&table, shown[i].title, true, YIELD_LAST);
  const char *name;
  json_t *metric;
  json_object_foreach(sorted, name, metric) {
    table_cell(&table, str_of(name), STYLE_NONE);
    for (size_t i = 0; i < ARRAY_LEN(shown); i++)
      number_cell(&table, metric_item(metric, shown[i].key), shown[i].kind);
  }
  return section(cli, "Metrics", err) && output_table(&cli->output, &table, true, err);
}

/* For people, beside its id. */
static bool add_experiment_name(struct cli *cli, json_t *run, struct err *err) {
  AUTO_JSON json_t *experiment = NULL;
  struct str id = json_str(json_object_get(run, "experiment_id"));
  if (!id.n)
    return true;
  if (!cli_get(cli, &experiment, err, "/experiments/{}", id.p))
    return false;
  json_object_set(run, "experiment", json_object_get(experiment, "name"));
  return true;
}

static bool show_one(struct cli *cli, json_t *run, struct err *err) {
  if (!output_for_people(&cli->output))
    return output_object(&cli->output, &run_view, run, err);
  return add_experiment_name(cli, run, err) && output_object(&cli->output, &detail_view, run, err) && show_params(cli, run, err) &&
         show_metrics(cli, json_object_get(run, "metrics"), err);
}

void run_last_words(struct cli *cli, const json_t *run) {
  const char *id = json_string_value(json_object_get(run, "id"));
  if (id && json_is_array(json_object_get(run, "command")) && str_is(json_str(json_object_get(run, "state")), "FAILED") &&
      output_for_people(&cli->output))
    logs_last_words(cli, id);
}

static int show_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *run = NULL;
  bool ok = resolve_run(cli, args_word(&cli->args, 0), id, &err) && cli_get(cli, &run, &err, "/runs/{}", id) && show_one(cli, run, &err);
  if (ok)
    run_last_words(cli, run);
  return cli_done(cli, ok, &err);
}

/* ---- change ---- */

bool add_tag_words(struct cli *cli, size_t from, json_t *tags, struct err *err) {
  const char *word;
  for (size_t i = from; (word = args_word(&cli->args, i)); i++) {
    size_t n = strlen(word);
    bool removes = n > 1 && word[n - 1] == '-' && !strchr(word, '=');
    if (removes && json_object_setn_new(tags, word, n - 1, json_null()) != 0)
      return err_no_memory(err);
    if (!removes && !cli_add_pair(tags, word, false, err))
      return false;
  }
  return true;
}

static int patch_tags(struct cli *cli, json_t *tags, const char *done) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *body = json_pack("{sO}", "tags", tags), *run = NULL;
  if (!body)
    return cli_done(cli, err_no_memory(&err), &err);
  if (!resolve_run(cli, args_word(&cli->args, 0), id, &err) || !cli_send(cli, "PATCH", body, &run, &err, "/runs/{}", id))
    return cli_fail(cli, &err);
  return cli_report(cli, &run_view, run, done, id);
}

static int tag_run(struct cli *cli) {
  struct err err;
  AUTO_JSON json_t *tags = json_object();
  if (!add_tag_words(cli, 1, tags, &err))
    return cli_usage(cli, err.hint[0] ? err.hint : NULL, "%s", err.text);
  return patch_tags(cli, tags, "the tags of run %s are changed");
}

static int note_run(struct cli *cli) {
  const char *text = args_word(&cli->args, 1);
  AUTO_JSON json_t *tags = json_pack("{ss?}", "mlflow.note.content", text[0] ? text : NULL);
  if (!tags)
    return cli_usage(cli, NULL, "the note is no UTF-8");
  return patch_tags(cli, tags, "the note of run %s is written");
}

/* One request for each of the runs named; EXIT_PARTIAL when some fail. `hint` may be NULL: of a run that is not there. */
static int each_run(struct cli *cli, const char *method, const char *path, const char *done, const char *hint) {
  int worst = EXIT_OK;
  size_t failed = 0, count = cli->args.word_count;
  for (size_t i = 0; i < count; i++) {
    struct err err;
    char id[RESOLVED_MAX];
    if (resolve_run(cli, args_word(&cli->args, i), id, &err) && cli_send(cli, method, NULL, NULL, &err, path, id)) {
      output_say(&cli->output, done, id);
      continue;
    }
    if (hint && err.code == ERR_NOT_FOUND)
      err_hint(&err, "%s", hint);
    worst = cli_fail(cli, &err);
    failed++;
    if (worst == EXIT_INTERRUPTED || worst == EXIT_UNREACHABLE)
      break;
  }
  return failed && count > 1 && worst != EXIT_INTERRUPTED && worst != EXIT_UNREACHABLE && failed < count ? EXIT_PARTIAL : worst;
}

static int stop_run(struct cli *cli) {
  return each_run(cli, "POST", "/runs/{}/stop", "run %s is told to stop", NULL);
}

static int retry_run(struct cli *cli) {
  return each_run(cli, "POST", "/runs/{}/retry", "run %s gets another attempt", NULL);
}

static int restore_run(struct cli *cli) {
  return each_run(cli, "POST", "/runs/{}/restore", "run %s is back", "write the id; winnow run ls --deleted shows those in the trash");
}

static int rm_run(struct cli *cli) {
  int code;
  size_t count = cli->args.word_count;
  if (!cli_confirm(cli, &code, count == 1 ? "Move the run %s to the trash" : "Move %s and the other runs named to the trash",
                   args_word(&cli->args, 0)))
    return code;
  return each_run(cli, "DELETE", "/runs/{}", "run %s is in the trash; winnow run restore brings it back", NULL);
}

/* ---- launch ---- */

static bool add_texts(struct cli *cli, json_t *body, json_t *resources, struct err *err) {
  static const struct {
    const char *flag, *key;
    bool is_resource;
  } texts[] = {{"name", "name", false}, {"memory", "memory", true}, {"time", "time", true}};
  for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
    const char *text = args_text(&cli->args, texts[i].flag);
    if (text && json_object_set_new(texts[i].is_resource ? resources : body, texts[i].key, json_string(text)) != 0)
      return err_set(err, ERR_INVALID, "--%s is no UTF-8", texts[i].flag);
  }
  return true;
}

/* An experiment that is there is named by its id, a new one by its name. */
static bool add_experiment(struct cli *cli, json_t *body, struct err *err) {
  const char *word = args_text(&cli->args, "experiment");
  char id[RESOLVED_MAX];
  if (!word)
    return true;
  bool known = resolve_experiment(cli, word, id, err);
  if (!known && err->code != ERR_NOT_FOUND)
    return false;
  return json_object_set_new(body, known ? "experiment_id" : "experiment", json_string(known ? id : word)) == 0 ||
         err_set(err, ERR_INVALID, "the name of the experiment is no UTF-8");
}

static bool add_list(struct cli *cli, const char *flag, const char *key, json_t *body, struct err *err) {
  json_t *list = json_array();
  const char *text;
  bool ok = list != NULL;
  for (size_t at = 0; ok && (text = args_each(&cli->args, flag, &at));)
    ok = json_array_append_new(list, json_string(text)) == 0;
  if (!ok)
    err_set(err, ERR_INVALID, "--%s is no UTF-8", flag);
  else if (json_array_size(list))
    json_object_set(body, key, list);
  json_decref(list);
  return ok;
}

/* The directory is copied as it is now, unless the job is to run in it. */
static bool add_place(struct cli *cli, json_t *body, struct err *err) {
  const char *workdir = args_text(&cli->args, "workdir"), *max_text = args_text(&cli->args, "workdir-max");
  AUTO_FREE char *directory = realpath(workdir ? workdir : ".", NULL);
  uint64_t max = 0;
  char code[SUBMIT_CODE_SIZE];
  if (!directory)
    return err_errno(err, errno, "cannot find %s", workdir ? workdir : "the working directory");
  if (!str_to_size(str_of(max_text), &max))
    return err_set(err, ERR_INVALID, "--workdir-max must be a size");
  bool in_place = args_bool(&cli->args, "in-place");
  if (!add_list(cli, "link", "links", body, err) ||
      (!in_place && !submit_code(cli, directory, json_object_get(body, "links"), max, code, err)))
    return false;
  bool ok = json_object_set_new(body, "directory", json_string(directory)) == 0;
  if (in_place)
    json_object_set_new(body, "workdir_mode", json_string("inplace"));
  else
    json_object_set_new(body, "code", json_string(code));
  return ok || err_set(err, ERR_INVALID, "the path %s is no UTF-8", directory);
}

static json_t *launch_body(struct cli *cli, struct err *err) {
  AUTO_JSON json_t *body = json_pack("{s[]s{}s{}so*}", "command", "resources", "env", "environment", submit_environment());
  const char *pair;
  if (!body)
    return err_no_memory(err), NULL;
  json_t *command = json_object_get(body, "command"), *resources = json_object_get(body, "resources");
  for (size_t i = 0; i < cli->args.word_count; i++)
    if (json_array_append_new(command, json_string(cli->args.words[i])) != 0)
      return err_set(err, ERR_INVALID, "the command holds text that is no UTF-8"), NULL;
  json_object_set_new(resources, "slots", json_integer(args_i64(&cli->args, "slots", 1)));
  if (args_given(&cli->args, "priority"))
    json_object_set_new(body, "priority", json_integer(args_i64(&cli->args, "priority", 0)));
  if (args_given(&cli->args, "retries"))
    json_object_set_new(body, "retries",
                        json_pack("{sIs[ss]}", "max", (json_int_t)args_i64(&cli->args, "retries", 0), "on", "lost", "failed"));
  for (size_t at = 0; (pair = args_each(&cli->args, "env", &at));)
    if (!cli_add_pair(json_object_get(body, "env"), pair, false, err))
      return NULL;
  if (!add_texts(cli, body, resources, err) || !add_experiment(cli, body, err) || !add_list(cli, "artifact", "artifacts", body, err) ||
      !add_place(cli, body, err))
    return NULL;
  return json_incref(body);
}

/* The launched command's own status: as a shell would see it. */
static int status_of_run(struct cli *cli, const char *id) {
  struct err err;
  AUTO_JSON json_t *run = NULL;
  if (!cli_get(cli, &run, &err, "/runs/{}", id))
    return cli_fail(cli, &err);
  const json_t *exit_code = json_object_get(run, "exit_code"), *reason = json_object_get(run, "state_reason");
  if (json_is_integer(exit_code) && json_integer_value(exit_code) >= 0 && json_integer_value(exit_code) <= 255)
    return (int)json_integer_value(exit_code);
  struct str state = json_str(json_object_get(run, "state"));
  output_say(&cli->output, "run %s: %.*s %.*s", id, STR_ARG(state), STR_ARG(json_str(reason)));
  return str_is(state, "FINISHED") ? EXIT_OK : EXIT_OBJECT_FAILED;
}

static int follow_launched(struct cli *cli, const char *id) {
  struct err err;
  struct log_request request = {.run_id = id, .stream = "stdout", .tail = -1, .follow = true, .is_new = true};
  if (logs_show(cli, &request, &err))
    return status_of_run(cli, id);
  int code = cli_fail(cli, &err);
  if (code == EXIT_INTERRUPTED)
    output_say(&cli->output, "detached; the run goes on. Come back with: winnow logs %s -f", id);
  return code;
}

static int launch_run(struct cli *cli) {
  struct err err;
  AUTO_JSON json_t *body = launch_body(cli, &err), *run = NULL;
  if (!body)
    return cli_fail(cli, &err);
  if (!cli_send(cli, "POST", body, &run, &err, "/runs"))
    return cli_fail(cli, &err);
  const char *id = json_string_value(json_object_get(run, "id"));
  if (args_bool(&cli->args, "follow") && id) {
    output_say(&cli->output, "run %s", id);
    return follow_launched(cli, id);
  }
  return cli_done(cli, output_object(&cli->output, &run_view, run, &err), &err);
}

static const char *const states[] = {"QUEUED", "STARTING", "RUNNING", "STOPPING", "FINISHED", "FAILED", "STOPPED", "KILLED", "LOST", NULL};

static const struct flag_row ls_flags[] = {
    ROW_FLAG_EXPERIMENT,
    {.name = "sweep", .type = FLAG_TEXT, .value_name = "SWEEP", .completes = WORD_SWEEP, .help = "only runs of this sweep"},
    {.name = "state", .type = FLAG_CHOICE, .choices = states, .help = "only runs in this state"},
    {.name = "filter",
     .type = FLAG_TEXT,
     .value_name = "EXPRESSION",
     .help = "MLflow's search grammar: metrics.acc > 0.9 AND params.lr = '0.1'"},
    {.name = "order-by", .type = FLAG_TEXT, .value_name = "KEY", .help = "for example: metrics.acc DESC"},
    {.name = "metric",
     .letter = 'm',
     .type = FLAG_TEXT,
     .value_name = "KEY[,KEY]",
     .repeatable = true,
     .help = "a column with the last value of this metric, or of each"},
    {.name = "deleted", .type = FLAG_BOOL, .help = "those in the trash"},
    ROW_FLAG_LIMIT("50"),
    ROW_FLAG_WATCH,
};

static const struct flag_row launch_flags[] = {
    {.name = "name", .type = FLAG_TEXT, .value_name = "NAME", .help = "of the run"},
    ROW_FLAG_EXPERIMENT,
    {.name = "slots", .type = FLAG_INT, .value_name = "N", .default_text = "1", .help = "slots it needs"},
    {.name = "memory", .type = FLAG_SIZE, .value_name = "SIZE", .help = "memory it may take"},
    {.name = "time", .type = FLAG_DURATION, .value_name = "TIME", .help = "how long it may take"},
    {.name = "workdir",
     .type = FLAG_TEXT,
     .value_name = "DIR",
     .completes = WORD_FILE,
     .help = "the directory it runs in a copy of (this one when not said)"},
    {.name = "in-place", .type = FLAG_BOOL, .help = "run in the directory itself, not in a copy"},
    {.name = "link",
     .type = FLAG_TEXT,
     .value_name = "PATH",
     .completes = WORD_FILE,
     .repeatable = true,
     .help = "not copied: the job gets a symbolic link to it"},
    {.name = "workdir-max", .type = FLAG_SIZE, .value_name = "SIZE", .default_text = "256MB", .help = "a larger directory is not copied"},
    {.name = "artifact", .type = FLAG_TEXT, .value_name = "GLOB", .repeatable = true, .help = "files stored when it ends"},
    {.name = "priority", .type = FLAG_SIGNED, .value_name = "N", .help = "higher goes first in the queue"},
    {.name = "retries", .type = FLAG_INT, .value_name = "N", .help = "further attempts when it fails or is lost"},
    {.name = "env", .type = FLAG_TEXT, .value_name = "KEY=VALUE", .repeatable = true, .help = "for its environment"},
    ROW_FLAG_FOLLOW("show its output; the exit status is the command's"),
};

static const struct verb rows[] = {
    {
        .noun = "run",
        .name = "ls",
        .aliases = "list search",
        .summary = "list runs, newest first",
        .help =
            "Filters and orders are MLflow's. With -o csv or jsonl and --limit 0 it is an export of what is listed; winnow export also writes "
            "every metric.",
        .examples = {{"winnow run ls", "the newest 50"},
                     {"winnow run ls -e mnist -m val_accuracy --order-by 'metrics.val_accuracy DESC'", "the best of an experiment"},
                     {"winnow run ls --filter \"params.optimizer = 'adam'\" -o csv --limit 0", "for a spreadsheet"}},
        FLAGS(ls_flags),
        .run = ls_run,
    },
    {
        .noun = "run",
        .name = "show",
        .aliases = "get",
        .summary = "show one run",
        .help = "State and why, command, params, and every metric with its last, lowest and highest value.",
        .examples = {{"winnow run show @best", "the best trial of the newest sweep"}, {"winnow run show 0193b2 -o yaml", "everything"}},
        .words = {{"RUN", WORD_RUN}},
        .run = show_run,
    },
    {
        .noun = "run",
        .name = "launch",
        .summary = "run one command as a tracked job",
        .help =
            "The command waits in the same queue as trials, runs in a slot with the tracking environment, and is never given to a shell. The "
            "directory is copied first, but for what .gitignore and .winnowignore name, and it runs in the copy. "
            "With -f its output is shown and the exit status is the command's; Ctrl-C detaches and leaves it running.",
        .examples = {{"winnow run launch -f -- python3 train.py --lr 0.01", "and watch"},
                     {"winnow run launch --slots 2 --time 2h -e mnist -- ./train.sh", "two slots, at most two hours"}},
        FLAGS(launch_flags),
        .words = {{"CMD", WORD_FILE, .many = true}},
        .kind = VERB_COMMAND,
        .run = launch_run,
    },
    {
        .noun = "run",
        .name = "stop",
        .aliases = "kill cancel",
        .summary = "stop runs",
        .help = "TERM first, then, after the grace time, KILL for the whole group.",
        .examples = {{"winnow run stop @latest", "the newest"}, {"winnow run stop 0193b2 0193b7", "several"}},
        .words = {{"RUN", WORD_RUN, .many = true}},
        .run = stop_run,
    },
    {
        .noun = "run",
        .name = "retry",
        .summary = "give runs another attempt",
        .help = "A new attempt of the same run: same params, same checkpoint directory.",
        .examples = {{"winnow run retry 0193b2", "once more"}},
        .words = {{"RUN", WORD_RUN, .many = true}},
        .run = retry_run,
    },
    {
        .noun = "run",
        .name = "tag",
        .summary = "set and remove tags",
        .help = "key=value sets, key- removes.",
        .examples = {{"winnow run tag @best keep=yes stage=candidate", "set two"}, {"winnow run tag @best keep-", "remove one"}},
        .words = {{"RUN", WORD_RUN}, {"KEY=VALUE", WORD_TEXT, .many = true}},
        .run = tag_run,
    },
    {
        .noun = "run",
        .name = "note",
        .summary = "write the note of a run",
        .help = "Markdown, as MLflow's clients and the page show it. An empty text removes it.",
        .examples = {{"winnow run note @best 'warm restarts help'", "one line"}},
        .words = {{"RUN", WORD_RUN}, {"TEXT", WORD_TEXT}},
        .run = note_run,
    },
    {
        .noun = "run",
        .name = "rm",
        .aliases = "delete",
        .summary = "move runs to the trash",
        .help = "They can be brought back until they are purged. Asks first, unless --yes is said.",
        .examples = {{"winnow run rm 0193b2", "after a question"},
                     {"winnow run ls --state FAILED -o name | xargs winnow run rm -y", "all that failed"}},
        .words = {{"RUN", WORD_RUN, .many = true}},
        .run = rm_run,
    },
    {
        .noun = "run",
        .name = "restore",
        .summary = "bring runs back from the trash",
        .help = "The id is written whole; winnow run ls --deleted -o name shows it.",
        .examples = {{"winnow run restore 0193b2f3c4d5e6f70193b2f3c4d5e6f7", "by its id"}},
        .words = {{"RUN", WORD_RUN, .many = true}},
        .run = restore_run,
    },
};

const struct verb_set run_verbs = {rows, ARRAY_LEN(rows)};
