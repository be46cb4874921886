/* Runs as a file: page by page, so that a million of them take no memory. */
#include <fcntl.h>

#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "cli/verbs.h"

enum { MAX_COLUMNS = 20000, FLUSH_AT = 256 * 1024 };

static const char *const fixed[] = {"id",        "name",    "experiment_id", "sweep_id", "trial",   "state", "state_reason",
                                    "exit_code", "attempt", "node",          "created",  "started", "ended"};
static const char *const groups[] = {"params", "metrics", "tags"};

struct export {
  struct cli *cli;
  int fd; /* -1: standard output */
  struct buf out;
  struct map seen;    /* "params.lr" -> itself */
  const char **names; /* in the order they were met */
  size_t name_count;
  struct arena arena;
  int64_t runs;
};

static bool write_out(struct export *e, struct err *err) {
  if (!buf_ok(&e->out, err))
    return false;
  bool ok = e->fd < 0 ? output_bytes(&e->cli->output, buf_str(&e->out), err) : fd_write_all(e->fd, buf_text(&e->out), e->out.n, err);
  buf_reset(&e->out);
  return ok;
}

static bool export_lines(void *ctx, const json_t *items, struct err *err) {
  struct export *e = ctx;
  for (size_t i = 0; i < json_array_size(items); i++) {
    encode_json(&e->out, json_array_get(items, i), 0);
    buf_putc(&e->out, '\n');
    e->runs++;
    if (e->out.n >= FLUSH_AT && !write_out(e, err))
      return false;
  }
  return write_out(e, err);
}

/* ---- CSV: the columns are known only when every run was seen, so there are two passes. What a run gains between them and no other
 * has is left out. ---- */

static bool note_column(struct export *e, const char *group, const char *key, struct err *err) {
  char *name = arena_printf(&e->arena, "%s.%s", group, key);
  if (!name)
    return err_set(err, ERR_TOO_LARGE, "the names of params, metrics and tags take too much room");
  if (map_get(&e->seen, str_of(name)))
    return true;
  if (e->name_count == MAX_COLUMNS || !map_put(&e->seen, str_of(name), name, NULL)) {
    err_set(err, ERR_TOO_LARGE, "more than %d different params, metrics and tags", MAX_COLUMNS);
    return err_hint(err, "--format jsonl has no such limit");
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
    e->runs++;
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

/* ---- the verb ---- */

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

static bool run_export(struct export *e, struct err *err) {
  bool csv = strcmp(args_text(&e->cli->args, "format"), "csv") == 0;
  if (!csv)
    return pages(e, export_lines, err);
  e->names = mem_array(MAX_COLUMNS, sizeof *e->names);
  if (!e->names)
    return err_no_memory(err);
  if (!pages(e, note_columns, err))
    return false;
  csv_titles(e);
  return write_out(e, err) && pages(e, export_rows, err);
}

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
  bool ok = run_export(e, err) && fd_sync(fd, err);
  if (ok && rename(buf_text(&beside), file) != 0)
    ok = err_errno(err, errno, "cannot name %s", file);
  if (!ok)
    unlink(buf_text(&beside));
  return ok;
}

static int export_run(struct cli *cli) {
  struct err err;
  const char *file = args_word(&cli->args, 0);
  struct export e = {.cli = cli, .fd = -1};
  buf_init(&e.out, 64 * MIB);
  arena_init(&e.arena, 64 * MIB);
  map_init(&e.seen, MAX_COLUMNS);
  bool ok = file && strcmp(file, "-") != 0 ? export_to_file(&e, file, &err) : run_export(&e, &err);
  if (ok)
    output_say(&cli->output, "%lld %s", (long long)e.runs, e.runs == 1 ? "run" : "runs");
  map_release(&e.seen);
  arena_release(&e.arena);
  buf_release(&e.out);
  mem_free(e.names);
  return cli_done(cli, ok, &err);
}

static const char *const formats[] = {"csv", "jsonl", NULL};
static const struct flag_row flags[] = {
    ROW_FLAG_EXPERIMENT,
    {.name = "filter", .type = FLAG_TEXT, .value_name = "EXPRESSION", .help = "MLflow's search grammar"},
    {.name = "format", .type = FLAG_CHOICE, .choices = formats, .default_text = "csv", .help = "a table, or whole objects"},
    ROW_FLAG_LIMIT("0"),
};

static const struct verb rows[] = {
    {
        .noun = "export",
        .summary = "runs as CSV or JSON lines",
        .help =
            "CSV has a column for every param, metric (its last value) and tag that any of the runs has; cells that a spreadsheet would run as a "
            "formula are guarded. JSON lines are the runs as the REST interface gives them. Any number of runs is written in little memory.",
        .examples = {{"winnow export -e mnist mnist.csv", "an experiment"},
                     {"winnow export --filter \"metrics.val_accuracy > 0.9\" --format jsonl | jq .params", "into a program"}},
        FLAGS(flags),
        .words = {{"FILE", WORD_FILE, .optional = true}},
        .run = export_run,
    },
};

const struct verb_set export_verbs = {rows, ARRAY_LEN(rows)};
