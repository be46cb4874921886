/* Care for a service: figures, checks, cleaning, deletion for good. */
#include "cli/verbs.h"

enum { ITEMS_MAX = 200000, LINE_MAX_BYTES = 64 * 1024, SILENCE_MS = 10 * 60 * 1000 };

static const struct column item_columns[] = {
    {"KIND", "kind", COLUMN_TEXT, false, NULL},
    {"SIZE", "size", COLUMN_SIZE, false, NULL},
    {"WHAT", "subject", COLUMN_TEXT, false, NULL},
    {"", "text", COLUMN_TEXT, false, NULL},
};
static const struct view item_view = VIEW(item_columns, "subject", "nothing was found");

/* ---- work that answers with lines ---- */

struct admin_work {
  struct cli *cli;
  const char *doing; /* "checking" */
  struct buf line;   /* what has come of the next one */
  json_t *items;     /* NULL: shown as they come */
  json_t *summary;
  int64_t count;
  struct err failed; /* said by the service; ERR_NONE: nothing */
};

static void show_progress(struct admin_work *work, const json_t *progress) {
  AUTO_BUF struct buf text = BUF_INIT(4 * KIB);
  const char *key;
  json_t *value, *walk = (json_t *)(uintptr_t)progress;
  buf_puts(&text, work->doing);
  json_object_foreach(walk, key, value) {
    if (!json_integer_value(value))
      continue;
    buf_printf(&text, "  %s ", key);
    if (strstr(key, "bytes"))
      encode_size(&text, (double)json_integer_value(value));
    else
      buf_add_i64(&text, json_integer_value(value));
  }
  cli_progress(work->cli, buf_text(&text));
}

static bool show_item(struct admin_work *work, json_t *item, struct err *err) {
  work->count++;
  if (work->items) {
    if (json_array_size(work->items) >= ITEMS_MAX)
      return err_set(err, ERR_TOO_LARGE, "more than %d items", ITEMS_MAX) || err_hint(err, "without -o json they are shown as they come");
    return json_array_append(work->items, item) == 0 || err_no_memory(err);
  }
  AUTO_BUF struct buf text = BUF_INIT(256 * KIB);
  for (size_t i = 0; i < ARRAY_LEN(item_columns); i++) {
    AUTO_BUF struct buf cell = BUF_INIT(64 * KIB);
    column_text(&item_columns[i], item, 0, &cell);
    if (cell.n)
      buf_puts(&text, i ? "  " : "");
    text_escape(&text, buf_str(&cell));
  }
  buf_putc(&text, '\n');
  cli_progress_end(work->cli);
  return buf_ok(&text, err) && output_bytes(&work->cli->output, buf_str(&text), err);
}

static bool take_line(struct admin_work *work, struct str text, struct err *err) {
  AUTO_JSON json_t *line = NULL;
  if (!json_read(text, &line, err))
    return false;
  json_t *item = json_object_get(line, "item"), *summary = json_object_get(line, "summary"), *error = json_object_get(line, "error");
  if (item)
    return show_item(work, item, err);
  if (summary)
    work->summary = json_incref(summary);
  else if (error)
    err_set(&work->failed, ERR_INTERNAL, "%.*s", STR_ARG(str_slice(json_str(json_object_get(error, "detail")), 0, 400)));
  else
    show_progress(work, json_object_get(line, "progress"));
  return true;
}

static bool on_bytes(void *ctx, struct str bytes, struct err *err) {
  struct admin_work *work = ctx;
  for (size_t end; (end = str_find(bytes, '\n')) != SIZE_MAX; bytes = str_slice(bytes, end + 1, bytes.n)) {
    buf_add_str(&work->line, str_slice(bytes, 0, end));
    if (!buf_ok(&work->line, err) || !take_line(work, buf_str(&work->line), err))
      return false;
    buf_reset(&work->line);
  }
  buf_add_str(&work->line, bytes);
  return buf_ok(&work->line, err);
}

static bool call(struct admin_work *work, const char *path, const json_t *body, struct err *err) {
  AUTO_REPLY struct client_reply reply;
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  client_reply_init(&reply);
  struct client *client = cli_client(work->cli, err);
  struct client_request request = {.method = "POST",
                                   .path = path,
                                   .body_fd = -1,
                                   .accept = "application/x-ndjson",
                                   .sink = on_bytes,
                                   .ctx = work,
                                   .stream = true,
                                   .silence_ms = SILENCE_MS};
  if (body) {
    encode_json(&text, body, 0);
    request.body = buf_str(&text);
  }
  bool ok = client && buf_ok(&text, err) && client_call(client, &request, &reply, err);
  cli_progress_end(work->cli);
  if (ok && work->failed.code != ERR_NONE) {
    *err = work->failed;
    return false;
  }
  return ok && (work->summary || err_set(err, ERR_UNAVAILABLE, "the service ended before it was done"));
}

/* Does it, shows it, and says `said` with the numbers of the summary. */
static bool do_work(struct admin_work *work, const char *path, const json_t *body, struct err *err) {
  bool people = output_for_people(&work->cli->output);
  buf_init(&work->line, LINE_MAX_BYTES);
  work->items = people ? NULL : json_array();
  bool ok = (people || work->items || err_no_memory(err)) && call(work, path, body, err);
  if (ok && work->items)
    ok = output_list(&work->cli->output, &item_view, work->items, NULL, err);
  buf_release(&work->line);
  json_decref(work->items);
  return ok;
}

static int64_t sum(const struct admin_work *work, const char *key) {
  return json_integer_value(json_object_get(work->summary, key));
}

/* ---- the verbs ---- */

static int fsck_run(struct cli *cli) {
  struct err err;
  struct admin_work work = {.cli = cli, .doing = "checking"};
  AUTO_BUF struct buf path = BUF_INIT(KIB);
  buf_puts(&path, "/api/v1/admin/fsck");
  path_query(&path, "deep", args_bool(&cli->args, "deep") ? "true" : NULL);
  bool ok = do_work(&work, buf_text(&path), NULL, &err);
  int64_t damaged = ok ? sum(&work, "damaged") : 0;
  if (ok)
    output_say(&cli->output, "%lld chunks with %lld points, %lld artifacts, %lld model versions: %lld damaged",
               (long long)sum(&work, "chunks"), (long long)sum(&work, "points"), (long long)sum(&work, "artifacts"),
               (long long)sum(&work, "versions"), (long long)damaged);
  json_decref(work.summary);
  return ok && damaged ? EXIT_FAILED : cli_done(cli, ok, &err);
}

static bool confirm_gc(struct cli *cli, bool dry_run, int *ret_code) {
  return dry_run || cli_confirm(cli, ret_code, "Remove the files of the artifact store that nothing names (--dry-run lists them)");
}

static int gc_run(struct cli *cli) {
  struct err err;
  int code;
  bool dry_run = args_bool(&cli->args, "dry-run");
  struct admin_work work = {.cli = cli, .doing = dry_run ? "looking" : "cleaning"};
  AUTO_BUF struct buf path = BUF_INIT(KIB), size = BUF_INIT(64);
  if (!confirm_gc(cli, dry_run, &code))
    return code;
  buf_puts(&path, "/api/v1/admin/gc");
  path_query(&path, "dry_run", dry_run ? "true" : NULL);
  path_query(&path, "older_than", args_text(&cli->args, "older-than"));
  bool ok = do_work(&work, buf_text(&path), NULL, &err);
  if (ok) {
    encode_size(&size, (double)sum(&work, "bytes"));
    output_say(&cli->output, "%s %lld files (%s) and %lld rows", dry_run ? "would remove" : "removed",
               (long long)(sum(&work, "orphans") + sum(&work, "temporary")), buf_text(&size), (long long)sum(&work, "rows"));
  }
  json_decref(work.summary);
  return cli_done(cli, ok, &err);
}

static json_t *purge_body(struct cli *cli, struct err *err) {
  size_t words = cli->args.word_count;
  int64_t older_than = args_duration(&cli->args, "older-than", 0);
  AUTO_JSON json_t *runs = words ? json_array() : NULL;
  for (size_t i = 0; i < words; i++) {
    const char *word = args_word(&cli->args, i);
    struct id id; /* what is in the trash is found by its id only */
    if (!id_parse(str_of(word), &id)) {
      err_set(err, ERR_NOT_FOUND, "'%.60s' is no id of a run", word);
      err_hint(err, "winnow run ls --deleted -o name lists those in the trash");
      return NULL;
    }
    if (json_array_append_new(runs, json_string(word)) != 0)
      return err_no_memory(err), NULL;
  }
  json_t *body = json_pack("{sIsbsO*}", "older_than", (json_int_t)older_than, "dry_run", args_bool(&cli->args, "dry-run"), "runs", runs);
  if (!body)
    err_no_memory(err);
  return body;
}

static int purge_run(struct cli *cli) {
  struct err err;
  int code;
  bool dry_run = args_bool(&cli->args, "dry-run");
  struct admin_work work = {.cli = cli, .doing = dry_run ? "looking" : "deleting"};
  if (!cli->args.word_count && !args_text(&cli->args, "older-than"))
    return cli_usage(cli, "winnow admin purge --older-than 30d", "say which runs, or how long things have been in the trash");
  AUTO_JSON json_t *body = purge_body(cli, &err);
  if (!body)
    return cli_fail(cli, &err);
  if (!dry_run && !cli_confirm(cli, &code, "Delete this for good (--dry-run lists it)"))
    return code;
  bool ok = do_work(&work, "/api/v1/admin/purge", body, &err);
  if (ok)
    output_say(&cli->output, "%s for good: %lld runs, %lld sweeps, %lld logged models, %lld experiments",
               dry_run ? "would be deleted" : "deleted", (long long)sum(&work, "runs"), (long long)sum(&work, "sweeps"),
               (long long)sum(&work, "logged_models"), (long long)sum(&work, "experiments"));
  if (ok && sum(&work, "runs") < (int64_t)cli->args.word_count) {
    err_set(&err, ERR_NOT_FOUND, "not all of these runs are in the trash");
    err_hint(&err, "winnow run rm puts them there; a trial goes with its sweep");
    ok = false;
  }
  json_decref(work.summary);
  return cli_done(cli, ok, &err);
}

static const struct column table_columns[] = {
    {"TABLE", "name", COLUMN_TEXT, false, NULL},
    {"ROWS", "rows", COLUMN_COUNT, false, NULL},
    {"DEAD", "dead", COLUMN_COUNT, false, NULL},
    {"SIZE", "bytes", COLUMN_SIZE, false, NULL},
};
static const struct view table_view = VIEW(table_columns, "name", "no tables");
static const struct column stats_columns[] = {
    {"Database", "database.kind", COLUMN_TEXT, false, NULL},
    {"Size", "database.bytes", COLUMN_SIZE, false, NULL},
    {"Artifacts", "artifacts.files", COLUMN_COUNT, false, NULL},
    {"Their size", "artifacts.bytes", COLUMN_SIZE, false, NULL},
    {"Directory", "artifacts.directory", COLUMN_TEXT, false, NULL},
    {"Free there", "artifacts.free", COLUMN_SIZE, false, NULL},
    {"Runs in the trash", "trash.runs", COLUMN_COUNT, false, NULL},
    {"Oldest of them", "trash.oldest", COLUMN_AGE, false, NULL},
    {"Sweeps in the trash", "trash.sweeps", COLUMN_COUNT, false, NULL},
    {"Experiments in the trash", "trash.experiments", COLUMN_COUNT, false, NULL},
    {"Points since the start", "ingest.points", COLUMN_COUNT, false, NULL},
    {"Not sealed yet", "ingest.unsealed_points", COLUMN_COUNT, false, NULL},
};
static const struct view stats_view = VIEW(stats_columns, "database.bytes", "");

static int stats_run(struct cli *cli) {
  struct err err;
  AUTO_JSON json_t *stats = NULL;
  bool ok = cli_get(cli, &stats, &err, "/admin/stats") && output_object(&cli->output, &stats_view, stats, &err);
  if (ok && output_for_people(&cli->output))
    ok = output_bytes(&cli->output, STR("\n"), &err) &&
         output_list(&cli->output, &table_view, json_object_get(json_object_get(stats, "database"), "tables"), NULL, &err);
  return cli_done(cli, ok, &err);
}

static const struct flag_row fsck_flags[] = {
    {.name = "deep", .type = FLAG_BOOL, .help = "read the contents of all artifacts, too, and compare their SHA-256"},
};
#define ROW_FLAG_DRY_RUN \
  { .name = "dry-run", .type = FLAG_BOOL, .help = "only say what would be done" }
static const struct flag_row gc_flags[] = {
    ROW_FLAG_DRY_RUN,
    {.name = "older-than",
     .type = FLAG_DURATION,
     .value_name = "AGE",
     .default_text = "1h",
     .help = "leave alone what changed since: an upload under way is not named yet"},
};
static const struct flag_row purge_flags[] = {
    ROW_FLAG_DRY_RUN,
    {.name = "older-than", .type = FLAG_DURATION, .value_name = "AGE", .help = "what has been in the trash for so long; 0s: all of it"},
};

static const struct verb rows[] = {
    {
        .noun = "admin",
        .name = "stats",
        .summary = "sizes of tables and artifacts, the trash, ingest",
        .help = "Rows are as Postgres last counted them.",
        .examples = {{"winnow admin stats", "now"}},
        .run = stats_run,
    },
    {
        .noun = "admin",
        .name = "fsck",
        .summary = "prove what is stored",
        .help =
            "Looks at every chunk of metrics (checksum, order, summaries), every artifact and what versions of models keep (is it there, has it "
            "its size), and names each damage. The service goes on meanwhile. The exit status is 1 when something is damaged.",
        .examples = {{"winnow admin fsck", "quick for artifacts"}, {"winnow admin fsck --deep", "their contents as well"}},
        FLAGS(fsck_flags),
        .run = fsck_run,
    },
    {
        .noun = "admin",
        .name = "gc",
        .summary = "remove files that nothing names",
        .help =
            "Files of the artifact store without a row in the database (a person may have put them there: look with --dry-run first), what "
            "uploads that broke off left behind, rows whose file is gone, and what a purge did not get to.",
        .examples = {{"winnow admin gc --dry-run", "look"}, {"winnow admin gc -y", "do it"}},
        FLAGS(gc_flags),
        .run = gc_run,
    },
    {
        .noun = "admin",
        .name = "purge",
        .summary = "delete for good what is in the trash",
        .help =
            "Runs with their params, points, output and artifacts, sweeps with their trials, logged models, experiments that are empty then. "
            "Versions of registered models keep their files. The service does this by itself after --trash-retention (30 days).",
        .examples = {{"winnow admin purge --older-than 7d --dry-run", "what would go"},
                     {"winnow admin purge --older-than 0s", "empty the trash"}},
        FLAGS(purge_flags),
        .words = {{"RUN", WORD_TEXT, .optional = true, .many = true}},
        .run = purge_run,
    },
};

const struct verb_set admin_verbs = {rows, ARRAY_LEN(rows)};
