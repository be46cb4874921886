/* What runs hold: params, metrics, events, and comparing them. */
#include <math.h>

#include "base/mem.h"
#include "cli/verbs.h"

/* ---- params ---- */

static const struct column param_columns[] = {{"KEY", "key", COLUMN_TEXT, false, NULL}, {"VALUE", "value", COLUMN_TEXT, false, NULL}};
static const struct view param_view = VIEW(param_columns, "key", "no params");

/* For a spreadsheet: a row a param. */
static bool params_as_rows(struct cli *cli, const json_t *params, struct err *err) {
  AUTO_JSON json_t *rows = json_array();
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)params, key, value) {
    if (json_array_append_new(rows, json_pack("{sssO}", "key", key, "value", value)) != 0)
      return err_no_memory(err);
  }
  return rows ? output_list(&cli->output, &param_view, rows, NULL, err) : err_no_memory(err);
}

static int params_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *run = NULL;
  bool ok = resolve_run(cli, args_word(&cli->args, 0), id, &err) && cli_get(cli, &run, &err, "/runs/{}", id);
  AUTO_JSON json_t *params = NULL;
  if (ok && !json_is_object(json_object_get(run, "params")))
    ok = err_set(&err, ERR_INTERNAL, "the service's answer has no params");
  ok = ok && (params = run_params(run, &err));
  bool in_rows = cli->output.format == OUTPUT_CSV || cli->output.format == OUTPUT_NAME;
  ok = ok && (in_rows ? params_as_rows(cli, params, &err) : output_any(&cli->output, params, &err));
  return cli_done(cli, ok, &err);
}

/* ---- metrics ---- */

static const struct column metric_columns[] = {
    {"METRIC", "key", COLUMN_TEXT, false, NULL},        {"LAST", "last.value", COLUMN_NUMBER, false, NULL},
    {"STEP", "last.step", COLUMN_COUNT, false, NULL},   {"MIN", "min.value", COLUMN_NUMBER, false, NULL},
    {"MIN STEP", "min.step", COLUMN_COUNT, true, NULL}, {"MAX", "max.value", COLUMN_NUMBER, false, NULL},
    {"MAX STEP", "max.step", COLUMN_COUNT, true, NULL}, {"FIRST", "first.value", COLUMN_NUMBER, true, NULL},
    {"POINTS", "count", COLUMN_COUNT, false, NULL},     {"NAN", "nans", COLUMN_COUNT, true, NULL},
    {"ATTEMPT", "attempt", COLUMN_COUNT, true, NULL},   {"UPDATED", "last.time", COLUMN_AGE, true, NULL},
    {"CURVE", "curve", COLUMN_TEXT, false, NULL},
};
static const struct view metric_view = VIEW(metric_columns, "key", "no metrics yet");

enum { CURVE_WIDTH = 24, CURVES_MAX = 30, METRICS_DEFAULT = 200 };

static double number_of(const json_t *value) {
  double number;
  if (json_is_number(value))
    return json_number_value(value);
  return json_is_string(value) && str_to_f64(json_str(value), &number) ? number : NAN;
}

/* The last value of every bucket that has points. */
static void draw_series(const json_t *series, struct buf *out) {
  const json_t *last = json_object_get(series, "last");
  size_t count = json_array_size(last);
  AUTO_FREE double *values = mem_array(count, sizeof *values);
  for (size_t i = 0; values && i < count; i++)
    values[i] = number_of(json_array_get(last, i));
  if (values)
    sparkline(out, values, count, CURVE_WIDTH);
}

/* Curves are an ornament: without them the table is still right. */
static void add_curve(struct cli *cli, const char *run_id, json_t *metric) {
  struct err ignored;
  AUTO_JSON json_t *answer = NULL;
  AUTO_BUF struct buf curve = BUF_INIT(4 * KIB);
  const char *key = json_string_value(json_object_get(metric, "key"));
  if (!key || !cli_get(cli, &answer, &ignored, "/series?run={}&key={}&buckets=24", run_id, key))
    return;
  draw_series(json_array_get(json_object_get(answer, "series"), 0), &curve);
  if (curve.n)
    json_object_set_new(metric, "curve", json_string(buf_text(&curve)));
}

static bool metrics_of(struct cli *cli, const char *id, int64_t limit, json_t **ret_items, json_t **ret_next, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(KIB);
  path_format(&path, "/runs/{}/metrics", id);
  return buf_ok(&path, err) && cli_list(cli, buf_text(&path), NULL, limit, ret_items, ret_next, err);
}

static int metric_summary(struct cli *cli, const char *id) {
  struct err err;
  AUTO_JSON json_t *items = NULL, *next = NULL;
  if (!metrics_of(cli, id, args_i64(&cli->args, "limit", METRICS_DEFAULT), &items, &next, &err))
    return cli_fail(cli, &err);
  for (size_t i = 0; output_for_people(&cli->output) && i < MIN_OF(json_array_size(items), CURVES_MAX); i++)
    add_curve(cli, id, json_array_get(items, i));
  return cli_done(cli, output_list(&cli->output, &metric_view, items, next, &err), &err);
}

/* The keys that the flag names, or those of all metrics of the run. */
static bool keys_of(struct cli *cli, const char *id, const char *flag, json_t *keys, struct err *err) {
  AUTO_JSON json_t *items = NULL;
  const char *key;
  if (args_given(&cli->args, flag)) {
    for (size_t at = 0; (key = args_each(&cli->args, flag, &at));)
      if (json_array_append_new(keys, json_string(key)) != 0)
        return err_set(err, ERR_INVALID, "--%s is no UTF-8", flag);
    return true;
  }
  int64_t limit = args_given(&cli->args, "limit") ? args_i64(&cli->args, "limit", 0) : 0; /* all, unless fewer are asked for */
  if (!metrics_of(cli, id, limit, &items, NULL, err))
    return false;
  for (size_t i = 0; i < json_array_size(items); i++)
    if (json_array_append(keys, json_object_get(json_array_get(items, i), "key")) != 0)
      return err_set(err, ERR_INTERNAL, "the service's metrics have no keys");
  return true;
}

/* What makes one document of lines of JSON. */
struct frame {
  const char *first, *next, *end, *none; /* before the first line, before each further one, behind the last, and without lines */
};

static const struct frame json_frame = {"{\n  \"items\": [\n    ", ",\n    ", "\n  ],\n  \"next\": null\n}\n",
                                        "{\n  \"items\": [],\n  \"next\": null\n}\n"};
static const struct frame yaml_frame = {"items:\n  - ", "\n  - ", "\nnext: null\n", "items: []\nnext: null\n"};

struct points_sink {
  struct cli *cli;
  bool in_title;             /* of CSV, which was written before */
  bool for_people;           /* lines of JSON become lines of a table, as they come */
  const struct frame *frame; /* or of one document; NULL: they stay lines */
  bool in_line;
  bool many;       /* metrics, so each line says which */
  struct buf line; /* not whole yet */
  uint64_t lines;
  struct log_filter filter;
};

static void table_line(struct points_sink *sink, const json_t *point, struct buf *out) {
  char time[32];
  json_int_t step = json_integer_value(json_object_get(point, "step"));
  const json_t *epoch = json_object_get(point, "epoch");
  struct column value = {.path = "value", .kind = COLUMN_NUMBER};
  clock_format_iso(json_integer_value(json_object_get(point, "time")), time);
  if (!sink->lines)
    buf_printf(out, "%12s  %-24s  %12s%s\n", "STEP", "TIME", "VALUE", sink->many ? "  METRIC" : "");
  AUTO_BUF struct buf number = BUF_INIT(KIB);
  column_text(&value, point, 0, &number);
  buf_printf(out, "%12lld  %-24s  %12s", (long long)step, time, buf_text(&number));
  if (sink->many) {
    buf_puts(out, "  ");
    text_escape(out, json_str(json_object_get(point, "key")));
  }
  if (json_is_number(epoch))
    buf_printf(out, "  (epoch %g)", json_number_value(epoch));
  buf_putc(out, '\n');
}

static bool pass_table(struct points_sink *sink, struct str bytes, struct err *err) {
  AUTO_BUF struct buf out = BUF_INIT(16 * MIB);
  for (size_t end; (end = str_find(bytes, '\n')) != SIZE_MAX; bytes = str_slice(bytes, end + 1, bytes.n)) {
    buf_add_str(&sink->line, str_slice(bytes, 0, end));
    AUTO_JSON json_t *point = NULL;
    if (!buf_ok(&sink->line, err) || !json_read(buf_str(&sink->line), &point, err))
      return false;
    table_line(sink, point, &out);
    sink->lines++;
    buf_reset(&sink->line);
  }
  buf_add_str(&sink->line, bytes);
  return buf_ok(&out, err) && output_bytes(&sink->cli->output, buf_str(&out), err);
}

static bool pass_framed(struct points_sink *sink, struct str bytes, struct err *err) {
  AUTO_BUF struct buf out = BUF_INIT(16 * MIB);
  while (bytes.n) {
    size_t end = str_find(bytes, '\n');
    if (!sink->in_line)
      buf_puts(&out, sink->lines++ ? sink->frame->next : sink->frame->first);
    buf_add_str(&out, str_slice(bytes, 0, end == SIZE_MAX ? bytes.n : end));
    sink->in_line = end == SIZE_MAX;
    bytes = str_slice(bytes, sink->in_line ? bytes.n : end + 1, bytes.n);
  }
  return buf_ok(&out, err) && output_filtered(&sink->cli->output, &sink->filter, buf_str(&out), err);
}

static bool end_frame(struct points_sink *sink, struct err *err) {
  return !sink->frame || output_bytes(&sink->cli->output, str_of(sink->lines ? sink->frame->end : sink->frame->none), err);
}

static bool pass_bytes(void *ctx, struct str bytes, struct err *err) {
  struct points_sink *sink = ctx;
  if (sink->for_people)
    return pass_table(sink, bytes, err);
  if (sink->frame)
    return pass_framed(sink, bytes, err);
  if (sink->in_title) {
    size_t end = str_find(bytes, '\n');
    if (end == SIZE_MAX)
      return true;
    sink->in_title = false;
    bytes = str_slice(bytes, end + 1, bytes.n);
  }
  sink->lines += bytes.n > 0;
  return output_filtered(&sink->cli->output, &sink->filter, bytes, err);
}

enum { KEYS_AT_ONCE = 20 }; /* an address has an end */

static bool raw_part(struct points_sink *sink, const char *id, const json_t *keys, size_t from, bool csv, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(64 * KIB);
  AUTO_REPLY struct client_reply reply;
  client_reply_init(&reply);
  struct client *client = cli_client(sink->cli, err);
  path_format(&path, "/api/v1/series?run={}&raw=true", id);
  path_query(&path, "format", csv ? "csv" : "jsonl");
  for (size_t i = from; i < MIN_OF(json_array_size(keys), from + KEYS_AT_ONCE); i++)
    path_query(&path, "key", json_string_value(json_array_get(keys, i)));
  struct client_request request = {
      .method = "GET", .path = buf_text(&path), .body_fd = -1, .accept = "*/*", .sink = pass_bytes, .ctx = sink, .stream = true};
  sink->in_title = csv && from > 0;
  return client && buf_ok(&path, err) && client_call(client, &request, &reply, err);
}

/* Every point, streamed as the service writes it. */
static int raw_points(struct cli *cli, const char *id, const char *flag) {
  struct err err;
  AUTO_JSON json_t *keys = json_array();
  bool csv = cli->output.format == OUTPUT_CSV, for_people = output_for_people(&cli->output);
  bool as_table = for_people && !args_bool(&cli->args, "raw");
  if (cli->output.format == OUTPUT_NAME)
    return cli_usage(cli, "-o csv and -o jsonl are", "points have no names to show");
  if (keys ? !keys_of(cli, id, flag, keys, &err) : !err_no_memory(&err))
    return cli_fail(cli, &err);
  struct points_sink sink = {.cli = cli, .for_people = as_table, .many = json_array_size(keys) > 1, .line = BUF_INIT(64 * KIB)};
  if (cli->output.format == OUTPUT_JSON || cli->output.format == OUTPUT_YAML)
    sink.frame = cli->output.format == OUTPUT_JSON ? &json_frame : &yaml_frame;
  bool ok = true;
  for (size_t from = 0; ok && from < json_array_size(keys); from += KEYS_AT_ONCE)
    ok = raw_part(&sink, id, keys, from, csv || (for_people && !as_table), &err);
  buf_release(&sink.line);
  ok = ok && end_frame(&sink, &err);
  if (ok && !json_array_size(keys))
    output_say(&cli->output, "%s", metric_view.none);
  else if (ok && as_table && !sink.lines)
    output_say(&cli->output, "no points; winnow run metrics %s lists the metrics of the run", id);
  return cli_done(cli, ok, &err);
}

static const struct column bucket_columns[] = {
    {"KEY", "key", COLUMN_TEXT, false, NULL},     {"FROM", "x", COLUMN_COUNT, false, NULL},
    {"TO", "x_last", COLUMN_COUNT, false, NULL},  {"FIRST", "first", COLUMN_NUMBER, true, NULL},
    {"LAST", "last", COLUMN_NUMBER, false, NULL}, {"MIN", "min", COLUMN_NUMBER, false, NULL},
    {"MAX", "max", COLUMN_NUMBER, false, NULL},   {"POINTS", "n", COLUMN_COUNT, false, NULL},
};
static const struct view bucket_view = VIEW(bucket_columns, "x", "no points");

/* The service sends a column an array; a table wants a row a bucket. */
static bool bucket_rows(const json_t *series, json_t *rows, struct err *err) {
  static const char *const columns[] = {"x", "x_last", "n", "first", "last", "min", "max"};
  size_t count = json_array_size(json_object_get(series, "x"));
  for (size_t i = 0; i < count; i++) {
    json_t *row = json_object();
    if (!row || json_array_append_new(rows, row) != 0 || json_object_set(row, "key", json_object_get(series, "key")) != 0)
      return err_no_memory(err);
    for (size_t c = 0; c < ARRAY_LEN(columns); c++) {
      json_t *cell = json_array_get(json_object_get(series, columns[c]), i);
      if (cell && json_object_set(row, columns[c], cell) != 0)
        return err_no_memory(err);
    }
  }
  return true;
}

static bool show_history(struct cli *cli, const json_t *answer, struct err *err) {
  AUTO_JSON json_t *rows = json_array();
  const json_t *all = json_object_get(answer, "series");
  bool ok = rows || err_no_memory(err);
  for (size_t i = 0; ok && i < json_array_size(all); i++) {
    const json_t *series = json_array_get(all, i);
    AUTO_BUF struct buf curve = BUF_INIT(4 * KIB);
    draw_series(series, &curve);
    if (curve.n && output_for_people(&cli->output))
      output_say(&cli->output, "%s  %s", json_string_value(json_object_get(series, "key")), buf_text(&curve));
    ok = bucket_rows(series, rows, err);
  }
  return ok && output_list(&cli->output, &bucket_view, rows, NULL, err);
}

/* A key that has no points is most often one that was not meant. */
static bool has_series(const json_t *answer, const char *key) {
  const json_t *all = json_object_get(answer, "series");
  for (size_t i = 0; i < json_array_size(all); i++) {
    const json_t *series = json_array_get(all, i);
    if (str_is(json_str(json_object_get(series, "key")), key))
      return true;
  }
  return false;
}

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
  for (size_t at = 0; (key = args_each(&cli->args, "key", &at));)
    if (!has_series(answer, key) && !err_set(&err, ERR_NOT_FOUND, "the run has no metric '%.100s'", key) &&
        !err_hint(&err, "winnow run metrics %s lists them", id))
      return cli_fail(cli, &err);
  bool in_rows = output_for_people(&cli->output) || cli->output.format == OUTPUT_CSV;
  return cli_done(cli, in_rows ? show_history(cli, answer, &err) : output_any(&cli->output, answer, &err), &err);
}

static int metrics_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  if (!resolve_run(cli, args_word(&cli->args, 0), id, &err))
    return cli_fail(cli, &err);
  if (args_given(&cli->args, "history"))
    return raw_points(cli, id, "history");
  if (args_bool(&cli->args, "raw"))
    return raw_points(cli, id, "key");
  return args_given(&cli->args, "key") ? metric_history(cli, id) : metric_summary(cli, id);
}

/* ---- events ---- */

static const struct column event_columns[] = {
    {"TIME", "time", COLUMN_AGE, false, NULL},       {"KIND", "kind", COLUMN_TEXT, false, NULL},
    {"FROM", "from", COLUMN_STATE, false, NULL},     {"TO", "to", COLUMN_STATE, false, NULL},
    {"ACTOR", "actor", COLUMN_TEXT, false, NULL},    {"REASON", "reason", COLUMN_TEXT, false, NULL},
    {"SUBJECT", "subject", COLUMN_TEXT, true, NULL}, {"ID", "id", COLUMN_TEXT, true, NULL},
};
const struct view event_view = VIEW(event_columns, "id", "no events");

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
  const json_t *answer;
  const json_t *runs;  /* of ids */
  size_t first, after; /* of the runs that stand beside each other */
  int title;           /* characters of an id */
};

static void value_cell(struct table *table, const json_t *value, enum term_style style) {
  static const struct column column = {.path = "v", .kind = COLUMN_TEXT};
  AUTO_JSON json_t *holder = json_pack("{sO?}", "v", value);
  AUTO_BUF struct buf text = BUF_INIT(64 * KIB);
  if (holder)
    column_text(&column, holder, 0, &text);
  table_cell(table, buf_str(&text), style);
}

static void compare_rows(struct comparison *c, const json_t *rows, const char *field) {
  bool only_diff = args_bool(&c->cli->args, "only-diff");
  for (size_t i = 0; i < json_array_size(rows); i++) {
    const json_t *row = json_array_get(rows, i);
    bool differs = json_is_true(json_object_get(row, "differs"));
    if (only_diff && !differs)
      continue;
    table_cell(c->table, json_str(json_object_get(row, "key")), differs ? STYLE_BOLD : STYLE_NONE);
    for (size_t r = c->first; r < c->after; r++) {
      const json_t *value = json_object_get(json_object_get(row, "values"), json_string_value(json_array_get(c->runs, r)));
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

static size_t widest_key(const json_t *rows) {
  size_t width = 0;
  for (size_t i = 0; i < json_array_size(rows); i++)
    width = MAX_OF(width, text_width(json_str(json_object_get(json_array_get(rows, i), "key"))));
  return width;
}

/* How many runs stand beside each other with their ids whole: half an id says nothing. */
static size_t runs_beside(const struct comparison *c) {
  const struct output *output = &c->cli->output;
  size_t id = (size_t)c->title, columns = output->format == OUTPUT_WIDE ? 0 : output->columns;
  size_t key = MAX_OF(widest_key(json_object_get(c->answer, "params")), widest_key(json_object_get(c->answer, "metrics")));
  size_t left = columns - MIN_OF(MIN_OF(key, id), columns);
  return columns ? MIN_OF(MAX_OF(left / (id + 2), (size_t)1), (size_t)TABLE_MAX_COLUMNS - 1) : TABLE_MAX_COLUMNS - 1;
}

static bool compare_beside(struct comparison *c, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT(64 * MIB);
  struct table table CLEANUP(table_release);
  table_init(&table, &arena);
  c->table = &table;
  table_column(&table, "", false, YIELD_FIRST);
  for (size_t i = c->first; i < c->after; i++) {
    char *title = arena_printf(&arena, "%.*s", c->title, json_string_value(json_array_get(c->runs, i)));
    table_column(&table, title ? title : "", true, YIELD_FIRST);
  }
  table_cell(&table, STR("name"), STYLE_NONE);
  for (size_t i = c->first; i < c->after; i++)
    table_cell(&table, json_str(json_object_get(json_array_get(json_object_get(c->answer, "runs"), i), "name")), STYLE_NONE);
  compare_rows(c, json_object_get(c->answer, "params"), NULL);
  compare_rows(c, json_object_get(c->answer, "metrics"), args_text(&c->cli->args, "value"));
  return output_table(&c->cli->output, &table, true, err);
}

static bool compare_for_people(struct cli *cli, const json_t *answer, const json_t *runs, struct err *err) {
  struct comparison c = {.cli = cli, .answer = answer, .runs = runs, .title = title_length(runs)};
  size_t count = json_array_size(runs), beside = runs_beside(&c);
  bool ok = true;
  for (; ok && c.first < count; c.first = c.after) {
    c.after = MIN_OF(c.first + beside, count);
    ok = (!c.first || output_bytes(&cli->output, STR("\n"), err)) && compare_beside(&c, err);
  }
  return ok;
}

/* Each run once, also when it is named twice. */
static bool add_run(struct cli *cli, json_t *runs, const char *word, char ret[RESOLVED_MAX], struct err *err) {
  if (!resolve_run(cli, word, ret, err))
    return false;
  for (size_t i = 0; i < json_array_size(runs); i++)
    if (str_is(json_str(json_array_get(runs, i)), ret))
      return true;
  return json_array_append_new(runs, json_string(ret)) == 0 || err_no_memory(err);
}

static bool add_csv_rows(struct cli *cli, const json_t *answer, const char *kind, const json_t *runs, json_t *rows) {
  const json_t *compared = json_object_get(answer, kind);
  bool only_diff = args_bool(&cli->args, "only-diff"), ok = true;
  for (size_t i = 0; ok && i < json_array_size(compared); i++) {
    const json_t *row = json_array_get(compared, i);
    json_t *differs = json_object_get(row, "differs");
    if (only_diff && !json_is_true(differs))
      continue;
    json_t *flat = json_pack("{sssO?sO?}", "of", kind, "key", json_object_get(row, "key"), "differs", differs);
    ok = json_array_append_new(rows, flat) == 0;
    for (size_t r = 0; ok && r < json_array_size(runs); r++) {
      const char *id = json_string_value(json_array_get(runs, r));
      json_t *value = json_object_get(json_object_get(row, "values"), id);
      if (json_is_object(value))
        value = json_object_get(value, args_text(&cli->args, "value"));
      ok = !value || json_object_set(flat, id, value) == 0;
    }
  }
  return ok;
}

/* A column a run, under its whole id. */
static bool compare_as_csv(struct cli *cli, const json_t *answer, const json_t *runs, struct err *err) {
  AUTO_JSON json_t *rows = json_array();
  size_t count = json_array_size(runs) + 3, n = 0;
  struct column *columns = ARENA_NEW_ARRAY(&cli->arena, struct column, count);
  if (!rows || !columns || !add_csv_rows(cli, answer, "params", runs, rows) || !add_csv_rows(cli, answer, "metrics", runs, rows))
    return err_no_memory(err);
  columns[n++] = (struct column){.path = "of"};
  columns[n++] = (struct column){.path = "key"};
  columns[n++] = (struct column){.path = "differs"};
  for (size_t r = 0; r < json_array_size(runs); r++)
    columns[n++] = (struct column){.path = json_string_value(json_array_get(runs, r))};
  struct view view = {columns, count, "key", "", NULL};
  return output_list(&cli->output, &view, rows, NULL, err);
}

static int compare_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX], base_id[RESOLVED_MAX];
  const char *base = args_text(&cli->args, "base");
  AUTO_JSON json_t *runs = json_array(), *answer = NULL;
  if (base && !add_run(cli, runs, base, base_id, &err))
    return cli_fail(cli, &err);
  for (size_t i = 0; i < cli->args.word_count; i++)
    if (!add_run(cli, runs, args_word(&cli->args, i), id, &err))
      return cli_fail(cli, &err);
  AUTO_JSON json_t *body = json_pack("{sOss*}", "runs", runs, "base", base ? base_id : NULL);
  if (!body)
    return cli_done(cli, err_no_memory(&err), &err);
  if (!cli_send(cli, "POST", body, &answer, &err, "/runs/compare"))
    return cli_fail(cli, &err);
  static const struct view names = {NULL, 0, "id", "", NULL};
  bool ok = output_for_people(&cli->output)     ? compare_for_people(cli, answer, runs, &err)
            : cli->output.format == OUTPUT_CSV  ? compare_as_csv(cli, answer, runs, &err)
            : cli->output.format == OUTPUT_NAME ? output_list(&cli->output, &names, json_object_get(answer, "runs"), NULL, &err)
                                                : output_any(&cli->output, answer, &err);
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

static const char *const value_choices[] = {"last", "delta", "min", "max", "step", "count", NULL};

static const struct flag_row metrics_flags[] = {
    {.name = "key",
     .letter = 'k',
     .type = FLAG_TEXT,
     .value_name = "KEY",
     .repeatable = true,
     .help = "the history of this metric, in buckets"},
    {.name = "history",
     .type = FLAG_TEXT,
     .value_name = "KEY",
     .repeatable = true,
     .help = "every point of this metric, line by line; -o csv and -o jsonl for a program"},
    {.name = "buckets", .type = FLAG_INT, .value_name = "N", .default_text = "40", .help = "how many buckets a history has"},
    {.name = "raw", .type = FLAG_BOOL, .help = "every point, as CSV (or as -o says)"},
    ROW_FLAG_LIMIT("200"),
};
static const struct flag_row list_flags[] = {ROW_FLAG_LIMIT("200"), ROW_FLAG_WATCH};
static const struct flag_row compare_flags[] = {
    {.name = "base",
     .type = FLAG_TEXT,
     .value_name = "RUN",
     .completes = WORD_RUN,
     .help = "differences are against this one, which comes first (the first named when not said)"},
    {.name = "only-diff", .type = FLAG_BOOL, .help = "only what differs"},
    {.name = "value", .type = FLAG_CHOICE, .choices = value_choices, .default_text = "last", .help = "what of a metric is shown"},
};

static const struct verb rows[] = {
    {
        .noun = "run",
        .name = "compare",
        .aliases = "diff",
        .summary = "params and metrics of several runs side by side",
        .help = "Rows that differ are marked. -o json has all that is known of every metric, and its distance from the base.",
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
            "and last. --history streams every point of a metric, --raw those of all metrics (or of each --key), as CSV.",
        .examples = {{"winnow run metrics @best", "an overview"},
                     {"winnow run metrics @best -k val_accuracy", "one history"},
                     {"winnow run metrics @best --history loss", "every point"},
                     {"winnow run metrics @best --raw > points.csv", "every point of all metrics"}},
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
