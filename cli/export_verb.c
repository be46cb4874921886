/* Everything as files: page by page, so that a million runs, or points, take no memory. */
#include <fcntl.h>

#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "cli/verbs.h"

enum { MAX_COLUMNS = 20000, FLUSH_AT = 256 * 1024, KEYS_AT_ONCE = 50, PATH_FULL = 6 * 1024, LOGGED_MODELS_AT_ONCE = 50 };

static const char *const fixed[] = {"id",        "name",    "experiment_id", "sweep_id", "trial",   "state", "state_reason",
                                    "exit_code", "attempt", "node",          "created",  "started", "ended"};
static const char *const groups[] = {"params", "metrics", "tags"};

struct export {
  struct cli *cli;
  const struct export_kind *kind;
  bool csv;
  int fd; /* -1: standard output */
  struct buf out;
  struct map seen;    /* "params.lr" -> itself */
  const char **names; /* in the order they were met */
  size_t name_count;
  struct arena arena;
  int64_t rows;
  bool in_title; /* of a stream of points: its first line is passed over */
  struct log_filter filter;
  bool is_one_of_all, is_too_wide;
};

struct export_kind {
  const char *name, *one, *many; /* "runs"; "1 run", "2 runs" */
  bool (*write)(struct export *e, struct err *err);
  bool of_runs; /* --experiment, --filter and --limit choose the runs */
};

static bool write_out(struct export *e, struct err *err) {
  if (!buf_ok(&e->out, err))
    return false;
  bool ok = e->fd < 0 ? output_filtered(&e->cli->output, &e->filter, buf_str(&e->out), err)
                      : fd_write_all(e->fd, buf_text(&e->out), e->out.n, err);
  buf_reset(&e->out);
  return ok;
}

static bool export_lines(void *ctx, const json_t *items, struct err *err) {
  struct export *e = ctx;
  for (size_t i = 0; i < json_array_size(items); i++) {
    encode_json(&e->out, json_array_get(items, i), 0);
    buf_putc(&e->out, '\n');
    e->rows++;
    if (e->out.n >= FLUSH_AT && !write_out(e, err))
      return false;
  }
  return write_out(e, err);
}

/* ---- CSV: the columns are known only when every run was seen, so there are two passes. What a run gains between them and no other
 * has is left out. ---- */

static bool note_column(struct export *e, const char *group, const char *key, struct err *err) {
  char *name = arena_printf(&e->arena, "%s.%s", group, key);
  e->is_too_wide = !name;
  if (!name)
    return err_set(err, ERR_TOO_LARGE, "the names of params, metrics and tags take too much room");
  if (map_get(&e->seen, str_of(name)))
    return true;
  if (e->name_count == MAX_COLUMNS || !map_put(&e->seen, str_of(name), name, NULL)) {
    e->is_too_wide = true;
    err_set(err, ERR_TOO_LARGE, "more than %d different params, metrics and tags", MAX_COLUMNS);
    return err_hint(err, "--format jsonl has no such limit, nor has --what all, params, metrics or tags");
  }
  e->names[e->name_count++] = name;
  return true;
}

static bool note_columns(void *ctx, const json_t *items, struct err *err) {
  struct export *e = ctx;
  for (size_t i = 0; i < json_array_size(items); i++) {
    for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
      const char *key;
      json_t *value;
      json_object_foreach(json_object_get(json_array_get(items, i), groups[g]), key, value) {
        if (!note_column(e, groups[g], key, err))
          return false;
      }
    }
  }
  return true;
}

static const json_t *value_of(const json_t *run, const char *name) {
  const char *dot = strchr(name, '.');
  const json_t *group = json_object_getn(run, name, (size_t)(dot - name)), *value = json_object_get(group, dot + 1);
  return str_starts(str_of(name), STR("metrics.")) && json_is_object(value) ? json_object_get(value, "last") : value;
}

static bool export_rows(void *ctx, const json_t *items, struct err *err) {
  struct export *e = ctx;
  for (size_t i = 0; i < json_array_size(items); i++) {
    const json_t *run = json_array_get(items, i);
    for (size_t c = 0; c < ARRAY_LEN(fixed); c++) {
      buf_puts(&e->out, c ? "," : "");
      encode_csv_value(&e->out, json_object_get(run, fixed[c]));
    }
    for (size_t c = 0; c < e->name_count; c++) {
      buf_putc(&e->out, ',');
      encode_csv_value(&e->out, value_of(run, e->names[c]));
    }
    buf_puts(&e->out, "\n");
    e->rows++;
    if (e->out.n >= FLUSH_AT && !write_out(e, err))
      return false;
  }
  return write_out(e, err);
}

static void csv_titles(struct export *e) {
  for (size_t c = 0; c < ARRAY_LEN(fixed); c++)
    buf_printf(&e->out, "%s%s", c ? "," : "", fixed[c]);
  for (size_t c = 0; c < e->name_count; c++) {
    buf_putc(&e->out, ',');
    encode_csv_text(&e->out, str_of(e->names[c]));
  }
  buf_puts(&e->out, "\n");
}

/* ---- all kinds ---- */

static json_t *search_body(struct cli *cli, struct err *err) {
  const char *experiment = args_text(&cli->args, "experiment");
  char id[RESOLVED_MAX];
  if (experiment && !resolve_experiment(cli, experiment, id, err))
    return NULL;
  json_t *body = json_pack("{ss*}", "filter", args_text(&cli->args, "filter"));
  if (!body)
    return err_set(err, ERR_INVALID, "the filter is no UTF-8"), NULL;
  if (experiment)
    json_object_set_new(body, "experiments", json_pack("[s]", id));
  return body;
}

static bool pages(struct export *e, cli_page_fn *fn, struct err *err) {
  AUTO_JSON json_t *body = search_body(e->cli, err);
  return body && cli_pages(e->cli, "/runs/search", body, args_i64(&e->cli->args, "limit", 0), fn, e, NULL, err);
}

/* A table of more columns than can be handled is of use to nobody: where params, metrics and tags are written beside it, it goes without.
 */
static bool becomes_narrow(struct export *e) {
  if (!e->is_one_of_all || !e->is_too_wide)
    return false;
  e->name_count = 0;
  output_say(&e->cli->output,
             "runs.csv is without params, metrics and tags, more than %d different ones: they are in the files of these names",
             MAX_COLUMNS);
  return true;
}

static bool write_runs(struct export *e, struct err *err) {
  if (!e->csv)
    return pages(e, export_lines, err);
  e->names = mem_array(MAX_COLUMNS, sizeof *e->names);
  if (!e->names)
    return err_no_memory(err);
  if (!pages(e, note_columns, err) && !becomes_narrow(e))
    return false;
  csv_titles(e);
  return write_out(e, err) && pages(e, export_rows, err);
}

/* A row of these paths of an object, which is also a line with these keys. */
static bool put_row(struct export *e, const char *const *paths, const json_t *object, struct err *err) {
  if (e->csv) {
    for (size_t i = 0; paths[i]; i++) {
      buf_puts(&e->out, i ? "," : "");
      encode_csv_value(&e->out, json_at_path(object, paths[i]));
    }
  } else {
    encode_json(&e->out, object, 0);
  }
  buf_putc(&e->out, '\n');
  e->rows++;
  return e->out.n < FLUSH_AT || write_out(e, err);
}

static void put_titles(struct export *e, const char *const *paths) {
  for (size_t i = 0; e->csv && paths[i]; i++)
    buf_printf(&e->out, "%s%s", i ? "," : "", paths[i]);
  if (e->csv)
    buf_putc(&e->out, '\n');
}

/* ---- one row for each param, tag, metric of each run ---- */

static const char *const value_paths[] = {"run", "key", "value", NULL};
static const char *const metric_paths[] = {"run", "key", "last", "step", "time", "min", "max", "count", NULL};

static bool put_entry(struct export *e, const char *run, const char *key, json_t *value, struct err *err) {
  bool is_metric = json_is_object(value);
  AUTO_JSON json_t *row = json_pack("{ssss}", "run", run, "key", key);
  if (!row || (is_metric ? json_object_update(row, value) : json_object_set(row, "value", value)) != 0)
    return err_no_memory(err);
  return put_row(e, is_metric ? metric_paths : value_paths, row, err);
}

static bool export_entries(void *ctx, const json_t *items, struct err *err) {
  struct export *e = ctx;
  for (size_t i = 0; i < json_array_size(items); i++) {
    const json_t *run = json_array_get(items, i);
    const char *id = json_string_value(json_object_get(run, "id")), *key;
    json_t *value;
    json_object_foreach(json_object_get(run, e->kind->name), key, value) {
      if (id && !put_entry(e, id, key, value, err))
        return false;
    }
  }
  return write_out(e, err);
}

static bool write_entries(struct export *e, struct err *err) {
  put_titles(e, strcmp(e->kind->name, "metrics") == 0 ? metric_paths : value_paths);
  return write_out(e, err) && pages(e, export_entries, err);
}

/* What was removed since it was listed is left out. */
static bool is_gone(const struct err *err) {
  return err->code == ERR_NOT_FOUND;
}

/* ---- every point ---- */

static bool on_points(void *ctx, struct str bytes, struct err *err) {
  struct export *e = ctx;
  size_t end = e->in_title ? str_find(bytes, '\n') : SIZE_MAX;
  if (e->in_title && end == SIZE_MAX)
    return true;
  if (e->in_title)
    bytes = str_slice(bytes, end + 1, bytes.n);
  e->in_title = false;
  for (const char *at = bytes.p; (at = memchr(at, '\n', (size_t)(bytes.p + bytes.n - at))); at++)
    e->rows++;
  buf_add_str(&e->out, bytes);
  return e->out.n < FLUSH_AT || write_out(e, err);
}

static bool fetch_points(struct export *e, const char *path, struct err *err) {
  AUTO_REPLY struct client_reply reply;
  client_reply_init(&reply);
  struct client *client = cli_client(e->cli, err);
  struct client_request request = {
      .method = "GET", .path = path, .body_fd = -1, .accept = "*/*", .sink = on_points, .ctx = e, .stream = true};
  e->in_title = e->csv;
  return client && (client_call(client, &request, &reply, err) || is_gone(err));
}

static void begin_path(struct export *e, const char *run, struct buf *path) {
  buf_reset(path);
  buf_puts(path, "/api/v1/series");
  path_query(path, "run", run);
  path_query(path, "raw", "true");
  path_query(path, "format", e->csv ? "csv" : "jsonl");
}

/* The series of a run in a few requests. */
static bool export_series_of(struct export *e, const char *run, json_t *metrics, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(64 * KIB);
  const char *key;
  json_t *value;
  size_t keys = 0;
  begin_path(e, run, &path);
  json_object_foreach(metrics, key, value) {
    path_query(&path, "key", key);
    if (++keys < KEYS_AT_ONCE && path.n < PATH_FULL)
      continue;
    if (!buf_ok(&path, err) || !fetch_points(e, buf_text(&path), err))
      return false;
    begin_path(e, run, &path);
    keys = 0;
  }
  return !keys || (buf_ok(&path, err) && fetch_points(e, buf_text(&path), err));
}

static bool export_series(void *ctx, const json_t *items, struct err *err) {
  struct export *e = ctx;
  for (size_t i = 0; i < json_array_size(items); i++) {
    const json_t *run = json_array_get(items, i);
    const char *id = json_string_value(json_object_get(run, "id"));
    if (id && !export_series_of(e, id, json_object_get(run, "metrics"), err))
      return false;
  }
  return write_out(e, err);
}

static bool write_series(struct export *e, struct err *err) {
  if (e->csv)
    buf_puts(&e->out, "run,key,step,epoch,time,value\n");
  return write_out(e, err) && pages(e, export_series, err);
}

/* ---- models and experiments ---- */

static const char *const version_paths[] = {"name", "version",     "stage", "aliases", "run_id",  "sweep_id", "source",  "digest",
                                            "size", "description", "state", "created", "updated", "tags",     "metrics", NULL};
static const char *const experiment_paths[] = {"id",   "name", "artifact_location", "created", "updated", "deleted", "run_count",
                                               "tags", NULL};

static bool export_versions(void *ctx, const json_t *items, struct err *err) {
  struct export *e = ctx;
  for (size_t i = 0; i < json_array_size(items); i++)
    if (!put_row(e, version_paths, json_array_get(items, i), err))
      return false;
  return true;
}

static bool export_models(void *ctx, const json_t *items, struct err *err) {
  struct export *e = ctx;
  for (size_t i = 0; i < json_array_size(items); i++) {
    AUTO_BUF struct buf path = BUF_INIT(16 * KIB);
    path_format(&path, "/models/{}/versions", json_string_value(json_object_get(json_array_get(items, i), "name")));
    if (!buf_ok(&path, err) || (!cli_pages(e->cli, buf_text(&path), NULL, 0, export_versions, e, NULL, err) && !is_gone(err)))
      return false;
  }
  return write_out(e, err);
}

static bool write_models(struct export *e, struct err *err) {
  put_titles(e, version_paths);
  return write_out(e, err) && cli_pages(e->cli, "/models", NULL, 0, export_models, e, NULL, err);
}

static bool export_experiments(void *ctx, const json_t *items, struct err *err) {
  struct export *e = ctx;
  for (size_t i = 0; i < json_array_size(items); i++)
    if (!put_row(e, experiment_paths, json_array_get(items, i), err))
      return false;
  return write_out(e, err);
}

static bool write_experiments(struct export *e, struct err *err) {
  put_titles(e, experiment_paths);
  return write_out(e, err) && cli_pages(e->cli, "/experiments", NULL, 0, export_experiments, e, NULL, err);
}

/* ---- what runs were given and made ---- */

static const char *const link_paths[] = {"run",    "kind",    "name", "digest", "source_type", "source",
                                         "schema", "profile", "tags", "step",   NULL};

/* `about`: what is told of it beside run and kind. */
static bool put_link(struct export *e, const char *run, const char *kind, const char *name, const json_t *about, const json_t *tags,
                     struct err *err) {
  AUTO_JSON json_t *row = json_pack("{ssssss*sO*}", "run", run, "kind", kind, "name", name, "tags", tags);
  if (!row || json_object_update_missing(row, (json_t *)(uintptr_t)about) != 0)
    return err_no_memory(err);
  return put_row(e, link_paths, row, err);
}

static bool export_links_of(struct export *e, const json_t *run, struct err *err) {
  static const struct { const char *path, *kind; } models[] = {{"inputs.models", "model input"}, {"outputs.models", "model output"}};
  const char *id = json_string_value(json_object_get(run, "id"));
  const json_t *datasets = json_at_path(run, "inputs.datasets");
  for (size_t i = 0; i < json_array_size(datasets); i++) {
    const json_t *item = json_array_get(datasets, i), *dataset = json_object_get(item, "dataset");
    const char *name = json_string_value(json_object_get(dataset, "name"));
    if (!put_link(e, id, "dataset", name, dataset, json_object_get(item, "tags"), err))
      return false;
  }
  for (size_t m = 0; m < ARRAY_LEN(models); m++) {
    const json_t *list = json_at_path(run, models[m].path);
    for (size_t i = 0; i < json_array_size(list); i++) {
      const json_t *item = json_array_get(list, i);
      if (!put_link(e, id, models[m].kind, json_string_value(json_object_get(item, "model_id")), item, NULL, err))
        return false;
    }
  }
  return true;
}

static bool export_links(void *ctx, const json_t *items, struct err *err) {
  struct export *e = ctx;
  for (size_t i = 0; i < json_array_size(items); i++)
    if (!export_links_of(e, json_array_get(items, i), err))
      return false;
  return write_out(e, err);
}

static bool write_links(struct export *e, struct err *err) {
  AUTO_JSON json_t *body = search_body(e->cli, err);
  if (!body)
    return false;
  json_object_set_new(body, "columns", json_pack("[sss]", "id", "inputs", "outputs"));
  put_titles(e, link_paths);
  return write_out(e, err) && cli_pages(e->cli, "/runs/search", body, args_i64(&e->cli->args, "limit", 0), export_links, e, NULL, err);
}

/* ---- logged models: MLflow's protocol alone tells of them ---- */

static const char *const logged_model_paths[] = {"model_id",
                                                 "name",
                                                 "experiment_id",
                                                 "source_run_id",
                                                 "status",
                                                 "status_message",
                                                 "model_type",
                                                 "artifact_uri",
                                                 "creation_timestamp_ms",
                                                 "last_updated_timestamp_ms",
                                                 "tags",
                                                 "params",
                                                 "metrics",
                                                 NULL};

static bool put_logged_models(struct export *e, const json_t *models, struct err *err) {
  for (size_t i = 0; i < json_array_size(models); i++) {
    const json_t *model = json_array_get(models, i);
    AUTO_JSON json_t *row = json_copy(json_object_get(model, "info"));
    if (!row || json_object_update(row, json_object_get(model, "data")) != 0)
      return err_no_memory(err);
    if (!put_row(e, logged_model_paths, row, err))
      return false;
  }
  return true;
}

static bool export_logged_models_of(struct export *e, const char *experiment, struct err *err) {
  AUTO_JSON json_t *body = json_pack("{s[s]si}", "experiment_ids", experiment, "max_results", LOGGED_MODELS_AT_ONCE);
  struct client *client = cli_client(e->cli, err);
  if (!client)
    return false;
  for (bool more = true; more;) {
    AUTO_JSON json_t *answer = NULL;
    if (!body)
      return err_no_memory(err);
    if (!client_json(client, "POST", "/api/2.0/mlflow/logged-models/search", body, false, &answer, err) ||
        !put_logged_models(e, json_object_get(answer, "models"), err))
      return false;
    json_t *token = json_object_get(answer, "next_page_token");
    more = token != NULL;
    if (more && json_object_set(body, "page_token", token) != 0)
      return err_no_memory(err);
  }
  return true;
}

static bool export_logged_models(void *ctx, const json_t *items, struct err *err) {
  struct export *e = ctx;
  for (size_t i = 0; i < json_array_size(items); i++) {
    const char *id = json_string_value(json_object_get(json_array_get(items, i), "id"));
    if (id && !export_logged_models_of(e, id, err))
      return false;
  }
  return write_out(e, err);
}

static bool write_logged_models(struct export *e, struct err *err) {
  put_titles(e, logged_model_paths);
  return write_out(e, err) && cli_pages(e->cli, "/experiments", NULL, 0, export_logged_models, e, NULL, err);
}

/* ---- what happened ---- */

static const char *const event_paths[] = {"time", "kind", "subject", "actor", "from", "to", "reason", NULL};

static bool export_events(void *ctx, const json_t *items, struct err *err) {
  struct export *e = ctx;
  for (size_t i = 0; i < json_array_size(items); i++)
    if (!put_row(e, event_paths, json_array_get(items, i), err))
      return false;
  return true;
}

static bool export_events_of(struct export *e, const char *format, const json_t *items, const char *key, struct err *err) {
  for (size_t i = 0; i < json_array_size(items); i++) {
    AUTO_BUF struct buf path = BUF_INIT(16 * KIB);
    path_format(&path, format, json_string_value(json_object_get(json_array_get(items, i), key)));
    if (!buf_ok(&path, err) || (!cli_pages(e->cli, buf_text(&path), NULL, 0, export_events, e, NULL, err) && !is_gone(err)))
      return false;
  }
  return write_out(e, err);
}

static bool export_run_events(void *ctx, const json_t *items, struct err *err) {
  return export_events_of(ctx, "/runs/{}/events", items, "id", err);
}

static bool export_sweep_events(void *ctx, const json_t *items, struct err *err) {
  return export_events_of(ctx, "/sweeps/{}/events", items, "id", err);
}

static bool export_model_events(void *ctx, const json_t *items, struct err *err) {
  return export_events_of(ctx, "/models/{}/events", items, "name", err);
}

/* Of runs that were chosen only theirs. */
static bool write_events(struct export *e, struct err *err) {
  const struct args *args = &e->cli->args;
  bool chosen = args_text(args, "filter") || args_text(args, "experiment") || args_i64(args, "limit", 0);
  AUTO_JSON json_t *body = search_body(e->cli, err);
  if (!body)
    return false;
  json_object_set_new(body, "columns", json_pack("[s]", "id"));
  put_titles(e, event_paths);
  return write_out(e, err) && cli_pages(e->cli, "/runs/search", body, args_i64(args, "limit", 0), export_run_events, e, NULL, err) &&
         (chosen || (cli_pages(e->cli, "/sweeps", NULL, 0, export_sweep_events, e, NULL, err) &&
                     cli_pages(e->cli, "/models", NULL, 0, export_model_events, e, NULL, err)));
}

static const struct export_kind kinds[] = {
    {"runs", "run", "runs", write_runs, true},
    {"params", "param", "params", write_entries, true},
    {"tags", "tag", "tags", write_entries, true},
    {"metrics", "metric", "metrics", write_entries, true},
    {"series", "point", "points", write_series, true},
    {"inputs", "input or output", "inputs and outputs", write_links, true},
    {"models", "model version", "model versions", write_models, false},
    {"logged_models", "logged model", "logged models", write_logged_models, false},
    {"experiments", "experiment", "experiments", write_experiments, false},
    {"events", "event", "events", write_events, true},
};

/* ---- the verb ---- */

/* A file appears whole or not at all. */
static bool export_to_file(struct export *e, const char *file, struct err *err) {
  AUTO_BUF struct buf beside = BUF_INIT(8 * KIB);
  buf_printf(&beside, "%s.%016llx", file, (unsigned long long)rng_u64(&e->cli->rng));
  if (!buf_ok(&beside, err))
    return false;
  AUTO_FD int fd = open(buf_text(&beside), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0)
    return err_errno(err, errno, "cannot write beside %s", file);
  e->fd = fd;
  bool ok = e->kind->write(e, err) && write_out(e, err) && fd_sync(fd, err);
  if (ok && rename(buf_text(&beside), file) != 0)
    ok = err_errno(err, errno, "cannot name %s", file);
  if (!ok)
    unlink(buf_text(&beside));
  return ok;
}

/* --format, or what -o says where that is not given. */
static const char *format_of(const struct args *args) {
  return args_text(args, args_given(args, "output") && !args_given(args, "format") ? "output" : "format");
}

/* One kind, to a file or (NULL) to standard output. */
static bool export_one(struct cli *cli, const struct export_kind *kind, const char *file, bool is_one_of_all, struct err *err) {
  struct export e = {.cli = cli, .is_one_of_all = is_one_of_all, .kind = kind, .fd = -1, .csv = strcmp(format_of(&cli->args), "csv") == 0};
  buf_init(&e.out, 64 * MIB);
  arena_init(&e.arena, 64 * MIB);
  map_init(&e.seen, MAX_COLUMNS);
  bool ok = file ? export_to_file(&e, file, err) : kind->write(&e, err) && write_out(&e, err);
  if (ok)
    output_say(&cli->output, "%lld %s", (long long)e.rows, e.rows == 1 ? kind->one : kind->many);
  map_release(&e.seen);
  arena_release(&e.arena);
  buf_release(&e.out);
  mem_free(e.names);
  return ok;
}

static bool export_all(struct cli *cli, const char *directory, struct err *err) {
  if (!dir_make(directory, 0777, err))
    return false;
  for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
    AUTO_BUF struct buf file = BUF_INIT(8 * KIB);
    buf_printf(&file, "%s/%s.%s", directory, kinds[i].name, format_of(&cli->args));
    if (!buf_ok(&file, err) || !export_one(cli, &kinds[i], buf_text(&file), true, err))
      return false;
  }
  return true;
}

static const char *const formats[] = {"csv", "jsonl", NULL};
static const char *const whats[] = {"runs",   "params",        "tags",        "metrics", "series", "inputs",
                                    "models", "logged_models", "experiments", "events",  "all",    NULL};

/* Who writes "export metrics" does not mean all runs in a file of that name. */
static bool is_meant_for_what(const char *file, const char *what) {
  bool named = false;
  for (size_t i = 0; file && whats[i]; i++)
    named |= strcmp(whats[i], file) == 0;
  return named && strcmp(what, whats[0]) == 0;
}

static int export_run(struct cli *cli) {
  struct err err;
  const char *file = args_word(&cli->args, 0), *what = args_text(&cli->args, "what");
  if (is_meant_for_what(file, what)) {
    char hint[100];
    snprintf(hint, sizeof hint, "winnow export --what %.20s, or ./%.20s for a file of that name", file, file);
    return cli_usage(cli, hint, "'%s' stands where the name of a file does", file);
  }
  const char *format = format_of(&cli->args);
  if (strcmp(format, formats[0]) != 0 && strcmp(format, formats[1]) != 0)
    return cli_usage(cli, "-o csv and -o jsonl are", "nothing is exported as %s", format);
  const struct export_kind *kind = kinds;
  bool all = strcmp(what, "all") == 0, to_file = file && strcmp(file, "-") != 0;
  while (!all && strcmp(kind->name, what) != 0)
    kind++;
  if (all && !to_file)
    return cli_usage(cli, "winnow export --what all DIR", "several files need a directory");
  if (!all && !kind->of_runs && (args_text(&cli->args, "filter") || args_text(&cli->args, "experiment")))
    return cli_usage(cli, "leave them out", "--experiment and --filter choose runs, not %s", kind->name);
  return cli_done(cli, all ? export_all(cli, file, &err) : export_one(cli, kind, to_file ? file : NULL, false, &err), &err);
}

static const struct flag_row flags[] = {
    ROW_FLAG_EXPERIMENT,
    {.name = "what",
     .type = FLAG_CHOICE,
     .choices = whats,
     .default_text = "runs",
     .help = "what is written; all: a file of each, in a directory"},
    {.name = "filter", .type = FLAG_TEXT, .value_name = "EXPRESSION", .help = "MLflow's search grammar"},
    {.name = "format",
     .type = FLAG_CHOICE,
     .choices = formats,
     .default_text = "csv",
     .help = "a table, or whole objects; -o is taken, too"},
    ROW_FLAG_LIMIT("0"),
};

static const struct verb rows[] = {
    {
        .noun = "export",
        .summary = "runs, points and models as CSV or JSON lines",
        .help =
            "Runs as CSV have a column for every param, metric (its last value) and tag that any of the runs has; cells that a spreadsheet would run as a "
            "formula are guarded. params, tags and metrics have a row for each of them and run, series one for every point, inputs one for every dataset and logged model that a run used or made, models one for every "
            "version, events one for everything that happened to runs (and, when none are chosen, to sweeps and models). JSON lines are the objects as the REST interface gives them. Any number is written in little memory; a file appears "
            "whole or not at all.",
        .examples = {{"winnow export -e mnist mnist.csv", "an experiment"},
                     {"winnow export --filter \"metrics.val_accuracy > 0.9\" --format jsonl | jq .params", "into a program"},
                     {"winnow export --what series -e mnist points.csv", "every point"},
                     {"winnow export --what all DIR", "everything"}},
        FLAGS(flags),
        .words = {{"FILE", WORD_FILE, .optional = true}},
        .run = export_run,
    },
};

const struct verb_set export_verbs = {rows, ARRAY_LEN(rows)};
