/* A sweep as it goes: one line that says where it stands, until it ends. Events wake us, the sweep itself is what is shown. */
#include "cli/sweep_follow.h"
#include "base/mem.h"
#include "cli/verbs.h"

enum { SHORTEST_PAUSE_MS = 300, LONGEST_PAUSE_MS = 10000, STATE_MAX = 32, CURVE_POINTS = 20 };

struct follower {
  struct cli *cli;
  const char *id;
  sweep_until *until; /* NULL: the end */
  void *until_ctx;
  json_t *sweep;   /* as last seen */
  bool dirty;      /* something happened since */
  int64_t seen_ms; /* when it was looked at */
  int64_t end_ms;  /* of our patience; 0: none */
  char state[STATE_MAX];
  char waits[CLI_REASON_MAX]; /* why nothing runs, as it was told last */
  double best;
  bool has_best;
  bool met;       /* what was waited for is there */
  json_t *warned; /* those that were told */
};

bool sweep_has_ended(const json_t *sweep) {
  static const char *const states[] = {"FINISHED", "STOPPED", "FAILED"};
  for (size_t i = 0; i < ARRAY_LEN(states); i++)
    if (str_is(json_str(json_object_get(sweep, "state")), states[i]))
      return true;
  return false;
}

bool sweep_best(const json_t *sweep, double *ret) {
  const json_t *value = json_at_path(sweep, "best.value");
  if (json_is_number(value))
    *ret = json_number_value(value);
  return json_is_number(value);
}

static void count_part(const json_t *sweep, const char *path, const char *word, struct buf *out) {
  const json_t *count = json_at_path(sweep, path);
  if (json_is_integer(count) && json_integer_value(count) > 0)
    buf_printf(out, "  %lld %s", (long long)json_integer_value(count), word);
}

static void status_line(const struct follower *f, struct buf *out) {
  const json_t *sweep = f->sweep, *trials = json_at_path(sweep, "progress.trials"), *cap = json_at_path(sweep, "run_cap");
  double best;
  buf_printf(out, "%.*s", STR_ARG(json_str(json_object_get(sweep, "state"))));
  if (json_is_integer(trials))
    buf_printf(out, "  %lld", (long long)json_integer_value(trials));
  if (json_is_integer(cap) && json_integer_value(cap) >= json_integer_value(trials))
    buf_printf(out, " of %lld", (long long)json_integer_value(cap));
  if (json_is_integer(trials))
    buf_puts(out, " trials");
  count_part(sweep, "progress.running", "running", out);
  count_part(sweep, "progress.queued", "queued", out);
  count_part(sweep, "progress.stopped", "stopped early", out);
  count_part(sweep, "progress.failed", "failed", out);
  if (sweep_best(sweep, &best)) {
    buf_printf(out, "  best %.*s ", STR_ARG(json_str(json_at_path(sweep, "metric.name"))));
    encode_number(out, best);
  }
  struct str reason = json_str(json_object_get(sweep, "state_reason"));
  if (reason.n && !sweep_has_ended(sweep))
    buf_printf(out, "  %.*s", STR_ARG(reason));
  const json_t *eta = json_at_path(sweep, "eta");
  if (json_is_integer(eta) && !sweep_has_ended(sweep)) {
    buf_puts(out, "  done ");
    encode_age(out, json_integer_value(eta), clock_wall_ms(f->cli->clock));
  }
}

/* On a terminal one line is repainted; elsewhere a line is added when the state or the best changes. */
static void show(struct follower *f) {
  AUTO_BUF struct buf line = BUF_INIT(4 * KIB);
  status_line(f, &line);
  struct str state = json_str(json_object_get(f->sweep, "state"));
  double best = 0;
  bool has_best = sweep_best(f->sweep, &best);
  bool is_other = cli_is_other_reason(f->waits, json_str(json_object_get(f->sweep, "state_reason")));
  bool news = is_other || !str_is(state, f->state) || has_best != f->has_best || (has_best && (best < f->best || best > f->best));
  snprintf(f->state, sizeof f->state, "%.*s", STR_ARG(state));
  f->has_best = has_best;
  f->best = best;
  if (f->cli->output.error_is_tty)
    cli_progress(f->cli, buf_text(&line));
  else if (news)
    output_say(&f->cli->output, "%s", buf_text(&line));
}

/* Each once. Those that the sweep had from its beginning were told when it was submitted. */
static void tell_warnings(struct follower *f) {
  const json_t *warnings = json_object_get(f->sweep, "warnings");
  bool first = !f->warned;
  if (first)
    f->warned = json_object();
  for (size_t i = 0; f->warned && i < json_array_size(warnings); i++) {
    const char *text = json_string_value(json_array_get(warnings, i));
    if (!text || json_object_get(f->warned, text))
      continue;
    if (!first) {
      cli_progress_end(f->cli);
      output_say(&f->cli->output, "warning: %s", text);
    }
    json_object_set_new(f->warned, text, json_true());
  }
}

static bool look(struct follower *f, struct err *err) {
  AUTO_JSON json_t *sweep = NULL;
  f->seen_ms = clock_mono_ms(f->cli->clock);
  f->dirty = false;
  if (!cli_get(f->cli, &sweep, err, "/sweeps/{}", f->id))
    return false;
  json_decref(f->sweep);
  f->sweep = json_incref(sweep);
  tell_warnings(f);
  show(f);
  bool ended = sweep_has_ended(sweep);
  f->met = f->until ? f->until(f->until_ctx, sweep) : ended;
  return true;
}

static bool on_event(void *ctx, const struct sse_event *event) {
  struct follower *f = ctx;
  struct err ignored; /* a closed standard output ends the program by itself; anything else shows at the end */
  f->dirty = true;
  if (f->cli->output.format == OUTPUT_JSONL && event->data.n) {
    AUTO_BUF struct buf line = BUF_INIT(SSE_MAX_EVENT + 1);
    struct log_filter filter = {0};
    buf_add_str(&line, event->data);
    for (size_t i = 0; i < line.n; i++)
      line.p[i] = line.p[i] == '\n' ? ' ' : line.p[i];
    buf_putc(&line, '\n');
    return output_filtered(&f->cli->output, &filter, buf_str(&line), &ignored);
  }
  return true;
}

/* Breaking off with ERR_CANCELLED is how the tick says that the end is reached; `met` tells it from Ctrl-C. */
static bool on_tick(void *ctx, int64_t moved, int64_t total, struct err *err) {
  (void)moved;
  (void)total;
  struct follower *f = ctx;
  int64_t now = clock_mono_ms(f->cli->clock), age = now - f->seen_ms;
  bool due = (f->dirty && age >= SHORTEST_PAUSE_MS) || age >= LONGEST_PAUSE_MS;
  if (due && !look(f, err))
    return false;
  if (f->met || (f->sweep && sweep_has_ended(f->sweep)))
    return err_set(err, ERR_CANCELLED, "the end is reached");
  if (f->end_ms && now >= f->end_ms)
    return err_set(err, ERR_TIMEOUT, "the time given is over and the sweep is not there yet");
  return true;
}

/* A service without event streams is asked again and again. */
static bool poll_until(struct follower *f, struct err *err) {
  struct client *client = cli_client(f->cli, err);
  while (client) {
    f->dirty = true;
    if (!on_tick(f, 0, -1, err) || !client_sleep(client, 2000, err))
      return false;
  }
  return false;
}

bool sweep_wait(struct cli *cli, const char *id, int64_t timeout_ms, sweep_until *until, void *ctx, json_t **ret_sweep, struct err *err) {
  struct follower f = {.cli = cli, .id = id, .until = until, .until_ctx = ctx};
  AUTO_BUF struct buf path = BUF_INIT(2 * KIB);
  path_format(&path, "/api/v1/events?topic=sweep:{}", id);
  if (timeout_ms)
    f.end_ms = clock_mono_ms(cli->clock) + timeout_ms;
  struct client *client = cli_client(cli, err);
  bool ok = client && look(&f, err);
  if (ok && !f.met && !sweep_has_ended(f.sweep)) {
    ok = client_events(client, buf_text(&path), on_event, on_tick, &f, err);
    if (!ok && (err->code == ERR_NOT_FOUND || err->code == ERR_UNSUPPORTED || err->code == ERR_METHOD || err->code == ERR_NOT_ACCEPTABLE))
      ok = poll_until(&f, err);
    ok = ok || f.met || (err->code == ERR_CANCELLED && f.sweep && sweep_has_ended(f.sweep));
  }
  cli_progress_end(cli);
  if (ok)
    *ret_sweep = json_incref(f.sweep);
  json_decref(f.sweep);
  json_decref(f.warned);
  return ok;
}

/* The curve of the best value so far, as text. Nothing when the service has none. */
void sweep_curve(struct cli *cli, const char *id, struct buf *out) {
  struct err ignored; /* an ornament */
  AUTO_JSON json_t *progress = NULL;
  if (!cli_get(cli, &progress, &ignored, "/sweeps/{}/progress", id))
    return;
  const json_t *items = json_object_get(progress, "items");
  size_t count = json_array_size(items);
  AUTO_FREE double *values = mem_array(count, sizeof *values);
  for (size_t i = 0; values && i < count; i++) {
    const json_t *value = json_object_get(json_array_get(items, i), "best");
    values[i] = json_is_number(value) ? json_number_value(value) : __builtin_nan("");
  }
  if (values)
    sparkline(out, values, count, CURVE_POINTS);
}
