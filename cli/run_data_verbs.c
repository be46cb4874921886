/* What runs hold: params, metrics, events, and comparing them. */
#include <math.h>

#include "base/mem.h"
#include "cli/verbs.h"

/* ---- params ---- */

static int params_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *run = NULL;
  bool ok = resolve_run(cli, args_word(&cli->args, 0), id, &err) && cli_get(cli, &run, &err, "/runs/{}", id);
  const json_t *params = json_object_get(run, "params");
  if (ok && !json_is_object(params))
    ok = err_set(&err, ERR_INTERNAL, "the service's answer has no params");
  return cli_done(cli, ok && output_any(&cli->output, params, &err), &err);
}

/* ---- metrics ---- */

static const struct column metric_columns[] = {
    {"METRIC", "key", COLUMN_TEXT, false, NULL},    {"LAST", "last", COLUMN_NUMBER, false, NULL},
    {"MIN", "min", COLUMN_NUMBER, false, NULL},     {"MAX", "max", COLUMN_NUMBER, false, NULL},
    {"FIRST", "first", COLUMN_NUMBER, true, NULL},  {"BEST STEP", "best_step", COLUMN_COUNT, true, NULL},
    {"POINTS", "count", COLUMN_COUNT, false, NULL}, {"NAN", "nan_count", COLUMN_COUNT, true, NULL},
    {"CURVE", "curve", COLUMN_TEXT, false, NULL},
};
static const struct view metric_view = VIEW(metric_columns, "key", "no metrics yet");

enum { CURVE_WIDTH = 24, CURVES_MAX = 30 };

static double number_of(const json_t *value) {
  double number;
  if (json_is_number(value))
    return json_number_value(value);
  return json_is_string(value) && str_to_f64(json_str(value), &number) ? number : NAN;
}

/* The last value of every bucket; a bucket without points repeats what was before. */
static void draw_buckets(const json_t *buckets, struct buf *out) {
  size_t count = json_array_size(buckets);
  AUTO_FREE double *values = mem_array(count, sizeof *values);
  for (size_t i = 0; values && i < count; i++)
    values[i] = number_of(json_object_get(json_array_get(buckets, i), "last"));
  if (values)
    sparkline(out, values, count, CURVE_WIDTH);
}

/* Curves are an ornament: without them the table is still right. */
static void add_curve(struct cli *cli, const char *run_id, json_t *metric) {
  struct err ignored;
  AUTO_JSON json_t *series = NULL;
  AUTO_BUF struct buf curve = BUF_INIT(4 * KIB);
  const char *key = json_string_value(json_object_get(metric, "key"));
  if (!key || !cli_get(cli, &series, &ignored, "/series?run={}&key={}&buckets=24", run_id, key))
    return;
  const json_t *first = json_array_get(json_object_get(series, "series"), 0);
  draw_buckets(json_object_get(first, "buckets"), &curve);
  if (curve.n)
    json_object_set_new(metric, "curve", json_string(buf_text(&curve)));
}

static int metric_summary(struct cli *cli, const char *id) {
  struct err err;
  AUTO_JSON json_t *items = NULL, *next = NULL;
  AUTO_BUF struct buf path = BUF_INIT(KIB);
  path_format(&path, "/runs/{}/metrics", id);
  if (!cli_list(cli, buf_text(&path), NULL, args_i64(&cli->args, "limit", 200), &items, &next, &err))
    return cli_fail(cli, &err);
  for (size_t i = 0; output_for_people(&cli->output) && i < MIN_OF(json_array_size(items), CURVES_MAX); i++)
    add_curve(cli, id, json_array_get(items, i));
  return cli_done(cli, output_list(&cli->output, &metric_view, items, next, &err), &err);
}

static bool pass_bytes(void *ctx, struct str bytes, struct err *err) {
  struct cli *cli = ctx;
  return output_bytes(&cli->output, bytes, err);
}

/* Every point, streamed as the service writes it. */
static int raw_points(struct cli *cli, const char *id) {
  struct err err;
  AUTO_BUF struct buf path = BUF_INIT(64 * KIB);
  AUTO_REPLY struct client_reply reply;
  client_reply_init(&reply);
  bool csv = cli->output.format == OUTPUT_CSV || output_for_people(&cli->output);
  const char *key;
  path_format(&path, "/api/v1/series?run={}&raw=true", id);
  for (size_t at = 0; (key = args_each(&cli->args, "key", &at));)
    path_query(&path, "key", key);
  struct client *client = cli_client(cli, &err);
  struct client_request request = {.method = "GET",
                                   .path = buf_text(&path),
                                   .body_fd = -1,
                                   .accept = csv ? "text/csv" : "application/json",
                                   .sink = pass_bytes,
                                   .ctx = cli};
  return cli_done(cli, client && buf_ok(&path, &err) && client_call(client, &request, &reply, &err), &err);
}

static const struct column bucket_columns[] = {
    {"FROM", "from", COLUMN_NUMBER, false, NULL},   {"TO", "to", COLUMN_NUMBER, true, NULL},
    {"FIRST", "first", COLUMN_NUMBER, true, NULL},  {"LAST", "last", COLUMN_NUMBER, false, NULL},
    {"MIN", "min", COLUMN_NUMBER, false, NULL},     {"MAX", "max", COLUMN_NUMBER, false, NULL},
    {"POINTS", "count", COLUMN_COUNT, false, NULL},
};
static const struct view bucket_view = VIEW(bucket_columns, "from", "no points");

static int metric_history(struct cli *cli, const char *id) {
  struct err err;
  AUTO_BUF struct buf path = BUF_INIT(64 * KIB);
  AUTO_JSON json_t *answer = NULL;
  const char *key;
  struct client *client = cli_client(cli, &err);
  path_format(&path, "/api/v1/series?run={}", id);
  path_query(&path, "buckets", args_text(&cli->args, "buckets"));
  for (size_t at = 0; (key = args_each(&cli->args, "key", &at));)
    path_query(&path, "key", key);
  if (!client || !buf_ok(&path, &err) || !client_json(client, "GET", buf_text(&path), NULL, false, &answer, &err))
    return cli_fail(cli, &err);
  if (!output_for_people(&cli->output) && cli->output.format != OUTPUT_CSV)
    return cli_done(cli, output_any(&cli->output, answer, &err), &err);
  const json_t *series = json_object_get(answer, "series");
  for (size_t i = 0; i < json_array_size(series); i++) {
    const json_t *one = json_array_get(series, i), *buckets = json_object_get(one, "buckets");
    AUTO_BUF struct buf curve = BUF_INIT(4 * KIB);
    draw_buckets(buckets, &curve);
    output_say(&cli->output, "%s  %s", json_string_value(json_object_get(one, "key")), buf_text(&curve));
    if (!output_list(&cli->output, &bucket_view, buckets, NULL, &err))
      return cli_fail(cli, &err);
  }
  return EXIT_OK;
}

static int metrics_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  if (!resolve_run(cli, args_word(&cli->args, 0), id, &err))
    return cli_fail(cli, &err);
  if (args_bool(&cli->args, "raw"))
    return raw_points(cli, id);
  return args_given(&cli->args, "key") ? metric_history(cli, id) : metric_summary(cli, id);
}

/* ---- events ---- */

static const struct column event_columns[] = {
    {"TIME", "time", COLUMN_AGE, false, NULL},       {"KIND", "kind", COLUMN_TEXT, false, NULL},
    {"FROM", "from", COLUMN_STATE, false, NULL},     {"TO", "to", COLUMN_STATE, false, NULL},
    {"ACTOR", "actor", COLUMN_TEXT, false, NULL},    {"REASON", "reason", COLUMN_TEXT, false, NULL},
    {"SUBJECT", "subject", COLUMN_TEXT, true, NULL}, {"ID", "id", COLUMN_TEXT, true, NULL},
};
static const struct view event_view = VIEW(event_columns, "id", "no events");

static int events_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_BUF struct buf path = BUF_INIT(KIB);
  if (!resolve_run(cli, args_word(&cli->args, 0), id, &err))
    return cli_fail(cli, &err);
  path_format(&path, "/runs/{}/events", id);
  return cli_show_list(cli, buf_text(&path), NULL, &event_view);
}

/* ---- compare ---- */

struct comparison {
  struct cli *cli;
  struct table *table;
  const json_t *runs; /* of ids */
  bool only_diff;
};

static void value_cell(struct table *table, const json_t *value, enum term_style style) {
  static const struct column column = {.path = "v", .kind = COLUMN_TEXT};
  AUTO_JSON json_t *holder = json_pack("{sO?}", "v", value);
  AUTO_BUF struct buf text = BUF_INIT(64 * KIB);
  if (holder)
    column_text(&column, holder, 0, &text);
  table_cell(table, buf_str(&text), style);
}

/* `values` is an array in the order of the runs, or an object by run id. */
static const json_t *value_for(const json_t *values, const json_t *runs, size_t at) {
  if (json_is_array(values))
    return json_array_get(values, at);
  const char *id = json_string_value(json_array_get(runs, at));
  return id ? json_object_get(values, id) : NULL;
}

static void compare_rows(struct comparison *c, const json_t *rows, const char *field) {
  for (size_t i = 0; i < json_array_size(rows); i++) {
    const json_t *row = json_array_get(rows, i);
    bool differs = json_is_true(json_object_get(row, "differs"));
    if (c->only_diff && !differs)
      continue;
    table_cell(c->table, json_str(json_object_get(row, "key")), differs ? STYLE_BOLD : STYLE_NONE);
    for (size_t r = 0; r < json_array_size(c->runs); r++) {
      const json_t *value = value_for(json_object_get(row, "values"), c->runs, r);
      if (field && json_is_object(value))
        value = json_object_get(value, field);
      value_cell(c->table, value, differs ? STYLE_WARN : STYLE_NONE);
    }
  }
}

/* As many characters of the ids as tell the runs apart. */
static int title_length(const json_t *runs) {
  int length = 12;
  for (size_t a = 0; a < json_array_size(runs); a++) {
    for (size_t b = 0; b < a; b++) {
      struct str x = json_str(json_array_get(runs, a)), y = json_str(json_array_get(runs, b));
      int same = 0;
      while ((size_t)same < MIN_OF(x.n, y.n) && x.p[same] == y.p[same])
        same++;
      length = MAX_OF(length, same + 1);
    }
  }
  return length;
}

static bool compare_for_people(struct cli *cli, const json_t *answer, const json_t *runs, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT(64 * MIB);
  struct table table CLEANUP(table_release);
  table_init(&table, &arena);
  table_column(&table, "", false, true);
  int length = title_length(runs);
  for (size_t i = 0; i < json_array_size(runs); i++) {
    char *title = arena_printf(&arena, "%.*s", length, json_string_value(json_array_get(runs, i)));
    table_column(&table, title ? title : "", true, false);
  }
  struct comparison c = {cli, &table, runs, args_bool(&cli->args, "only-diff")};
  compare_rows(&c, json_object_get(answer, "params"), NULL);
  compare_rows(&c, json_object_get(answer, "metrics"), args_text(&cli->args, "value"));
  return output_table(&cli->output, &table, true, err);
}

static int compare_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *runs = json_array(), *answer = NULL;
  for (size_t i = 0; i < cli->args.word_count; i++) {
    if (!resolve_run(cli, args_word(&cli->args, i), id, &err))
      return cli_fail(cli, &err);
    json_array_append_new(runs, json_string(id));
  }
  const char *base = args_text(&cli->args, "base");
  if (base && !resolve_run(cli, base, id, &err))
    return cli_fail(cli, &err);
  AUTO_JSON json_t *body = json_pack("{sOss*}", "runs", runs, "base", base ? id : NULL);
  if (!body)
    return cli_done(cli, err_no_memory(&err), &err);
  if (!cli_send(cli, "POST", body, &answer, &err, "/runs/compare"))
    return cli_fail(cli, &err);
  bool ok = output_for_people(&cli->output) ? compare_for_people(cli, answer, runs, &err) : output_any(&cli->output, answer, &err);
  return cli_done(cli, ok, &err);
}

/* ---- artifacts ---- */

static int artifacts_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_BUF struct buf path = BUF_INIT(KIB);
  if (!resolve_run(cli, args_word(&cli->args, 0), id, &err))
    return cli_fail(cli, &err);
  path_format(&path, "/runs/{}/artifacts", id);
  return cli_show_list(cli, buf_text(&path), NULL, &artifact_view);
}

static const char *const value_choices[] = {"last", "best", "delta", "min", "max", NULL};

static const struct flag_row metrics_flags[] = {
    {.name = "key",
     .letter = 'k',
     .type = FLAG_TEXT,
     .value_name = "KEY",
     .repeatable = true,
     .help = "the history of this metric, in buckets"},
    {.name = "buckets", .type = FLAG_INT, .value_name = "N", .default_text = "40", .help = "how many buckets a history has"},
    {.name = "raw", .type = FLAG_BOOL, .help = "every point, as CSV (or JSON with -o json)"},
    ROW_FLAG_LIMIT("200"),
};
static const struct flag_row list_flags[] = {ROW_FLAG_LIMIT("200"), ROW_FLAG_WATCH};
static const struct flag_row compare_flags[] = {
    {.name = "base",
     .type = FLAG_TEXT,
     .value_name = "RUN",
     .completes = WORD_RUN,
     .help = "differences are against this one (the first when not said)"},
    {.name = "only-diff", .type = FLAG_BOOL, .help = "only what differs"},
    {.name = "value", .type = FLAG_CHOICE, .choices = value_choices, .default_text = "last", .help = "what of a metric is shown"},
};

static const struct verb rows[] = {
    {
        .noun = "run",
        .name = "compare",
        .aliases = "diff",
        .summary = "params and metrics of several runs side by side",
        .help = "Rows that differ are marked. -o json has last, best and delta of every metric.",
        .examples = {{"winnow run compare @best @latest", "two"},
                     {"winnow run compare 0193b2 0193b7 0193c0 --only-diff", "only what differs"}},
        FLAGS(compare_flags),
        .words = {{"RUN", WORD_RUN}, {"RUN", WORD_RUN, .many = true}},
        .run = compare_run,
    },
    {
        .noun = "run",
        .name = "metrics",
        .aliases = "metric",
        .summary = "the metrics of a run, their histories, every point",
        .help =
            "Without --key one line a metric, with its curve. With --key the history in buckets that hide no spike: each has minimum, maximum, first "
            "and last. --raw streams all points.",
        .examples = {{"winnow run metrics @best", "an overview"},
                     {"winnow run metrics @best -k val_accuracy", "one history"},
                     {"winnow run metrics @best -k loss --raw > loss.csv", "every point"}},
        FLAGS(metrics_flags),
        .words = {{"RUN", WORD_RUN}},
        .run = metrics_run,
    },
    {
        .noun = "run",
        .name = "params",
        .summary = "the params of a run",
        .help = "As logged.",
        .examples = {{"winnow run params @best", "for people"}, {"winnow run params @best -o json", "for a program"}},
        .words = {{"RUN", WORD_RUN}},
        .run = params_run,
    },
    {
        .noun = "run",
        .name = "events",
        .aliases = "history",
        .summary = "what happened to a run: every change of state, by whom and why",
        .help = "A stop by a rule shows the rule, the step and the comparison in one sentence.",
        .examples = {{"winnow run events @latest", "the newest run"}},
        FLAGS(list_flags),
        .words = {{"RUN", WORD_RUN}},
        .run = events_run,
    },
    {
        .noun = "run",
        .name = "artifacts",
        .aliases = "files",
        .summary = "the files of a run",
        .help = "The same as winnow artifact ls.",
        .examples = {{"winnow run artifacts @best", "the best trial's"}},
        FLAGS(list_flags),
        .words = {{"RUN", WORD_RUN}},
        .run = artifacts_run,
    },
};

const struct verb_set run_data_verbs = {rows, ARRAY_LEN(rows)};
