/* What a run printed. */
#include "cli/verbs.h"

struct log_reader {
  struct cli *cli;
  const struct log_request *request;
  struct client_reply *reply;
  struct log_filter filter;
  int64_t attempt; /* 0: the newest that printed something */
  int64_t next;    /* offset of the byte that comes next; -1: not known */
  int64_t end;     /* where the output ended when it was last asked for; -1: not known */
  bool offset_set; /* for this connection */
  bool heard;
  bool over; /* as it was before it was read: what it has not printed comes no more */
  bool told_silence;
  char waits[CLI_REASON_MAX]; /* as it was told last */
};

static bool on_log(void *ctx, struct str bytes, struct err *err) {
  struct log_reader *reader = ctx;
  struct output *output = &reader->cli->output;
  if (!reader->offset_set && reader->reply->log_offset >= 0)
    reader->next = reader->reply->log_offset;
  reader->offset_set = reader->heard = true;
  if (reader->next >= 0)
    reader->next += (int64_t)bytes.n;
  reader->filter.colours = output->colours;
  reader->filter.returns = true; /* progress bars */
  return reader->request->raw ? output_bytes(output, bytes, err) : output_filtered(output, &reader->filter, bytes, err);
}

/* While it is followed. */
static bool on_silence(void *ctx, int64_t moved, int64_t total, struct err *err) {
  (void)moved;
  (void)total;
  (void)err;
  struct log_reader *reader = ctx;
  const struct log_request *request = reader->request;
  if (!request->is_new && !reader->over && !reader->told_silence && reader->reply->log_size == 0)
    output_say(&reader->cli->output, "run %s: nothing on %s so far", request->run_id, request->stream);
  reader->told_silence |= reader->reply->log_size >= 0;
  return true;
}

static void log_path(const struct log_reader *reader, bool again, struct buf *path) {
  const struct log_request *request = reader->request;
  char number[24];
  path_format(path, "/api/v1/runs/{}/logs/{}", request->run_id, request->stream);
  if (again || request->tail < 0) {
    snprintf(number, sizeof number, "%lld", (long long)(again ? reader->next : 0));
    path_query(path, "from", number);
  } else {
    snprintf(number, sizeof number, "%lld", (long long)request->tail);
    path_query(path, "tail", number);
  }
  snprintf(number, sizeof number, "%lld", (long long)reader->attempt);
  path_query(path, "attempt", reader->attempt ? number : NULL);
  path_query(path, "grep", request->grep);
  path_query(path, "follow", request->follow ? "true" : NULL);
}

static bool read_log(struct log_reader *reader, bool again, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(16 * KIB);
  AUTO_REPLY struct client_reply reply;
  client_reply_init(&reply);
  log_path(reader, again, &path);
  struct client *client = cli_client(reader->cli, err);
  struct client_request call = {.method = "GET",
                                .path = buf_text(&path),
                                .body_fd = -1,
                                .accept = "text/plain",
                                .sink = on_log,
                                .tick = reader->request->follow ? on_silence : NULL,
                                .ctx = reader,
                                .stream = reader->request->follow};
  reader->reply = &reply;
  reader->offset_set = reader->heard = false;
  bool ok = client && buf_ok(&path, err) && client_call(client, &call, &reply, err);
  reader->end = ok ? reply.log_size : -1;
  if (ok && reply.log_next >= 0) /* where output was given up there are fewer bytes than that */
    reader->next = reply.log_next;
  if (ok && !reader->attempt && reply.log_attempt > 0) /* further pieces are of the same one */
    reader->attempt = reply.log_attempt;
  return ok;
}

/* Long output is answered in pieces: all of them, up to where it ends by now. */
static bool read_pieces(struct log_reader *reader, bool again, struct err *err) {
  bool ok = read_log(reader, again, err);
  for (int64_t end = reader->end; ok && !reader->request->grep && reader->heard && reader->next >= 0 && reader->next < end;)
    ok = read_log(reader, true, err);
  return ok;
}

struct run_course {
  int64_t attempt;
  bool over, queued;
  char waits[CLI_REASON_MAX]; /* why it is queued */
};

/* One that is lost may come back, until it has an end. */
static bool is_over(const json_t *run) {
  static const char *const states[] = {"FINISHED", "FAILED", "STOPPED", "KILLED"};
  struct str state = json_str(json_object_get(run, "state"));
  for (size_t i = 0; i < ARRAY_LEN(states); i++)
    if (str_is(state, states[i]))
      return true;
  return str_is(state, "LOST") && json_is_integer(json_object_get(run, "ended"));
}

static bool look_at_run(struct cli *cli, const char *id, struct run_course *ret, struct err *err) {
  AUTO_JSON json_t *run = NULL;
  if (!cli_get(cli, &run, err, "/runs/{}", id))
    return false;
  *ret = (struct run_course){.attempt = MAX_OF(json_integer_value(json_object_get(run, "attempt")), 1),
                             .over = is_over(run),
                             .queued = str_is(json_str(json_object_get(run, "state")), "QUEUED")};
  if (ret->queued)
    snprintf(ret->waits, sizeof ret->waits, "%.*s", STR_ARG(json_str(json_object_get(run, "state_reason"))));
  return true;
}

static bool is_lost(const struct err *err) {
  return err->code == ERR_UNAVAILABLE || err->code == ERR_DEADLINE || err->code == ERR_OVERLOADED;
}

static void begin_next_attempt(struct log_reader *reader) {
  reader->attempt++;
  reader->next = 0;
  output_say(&reader->cli->output, "attempt %lld", (long long)reader->attempt);
}

static void tell_wait(struct log_reader *reader, const struct run_course *course) {
  if (course->queued && cli_is_other_reason(reader->waits, str_of(course->waits)))
    output_say(&reader->cli->output, "run %s: %s", reader->request->run_id, course->waits);
}

enum { LOOK_AGAIN_MS = 500, PATIENCE = 20 };

/* Who follows waits for a service that is away for a while. */
static bool look_patiently(struct log_reader *reader, struct client *client, struct run_course *ret, struct err *err) {
  for (int silent = 1; !look_at_run(reader->cli, reader->request->run_id, ret, err); silent++)
    if (!is_lost(err) || silent > PATIENCE || !client_sleep(client, LOOK_AGAIN_MS * silent, err))
      return false;
  return true;
}

/* Until it has begun. Which attempt it is on is as it was at first: others may pass before it is looked at again. */
static bool wait_for_begin(struct log_reader *reader, struct client *client, struct run_course *course, struct err *err) {
  for (bool ok = look_at_run(reader->cli, reader->request->run_id, course, err); ok;
       ok = client_sleep(client, LOOK_AGAIN_MS, err) && look_patiently(reader, client, course, err)) {
    tell_wait(reader, course);
    if (!reader->attempt)
      reader->attempt = course->attempt;
    if (!course->queued || reader->request->attempt)
      return true;
  }
  return false;
}

/* A connection that breaks is taken up again where it broke, so that no byte is shown twice. After an attempt comes the next one. */
static bool follow_log(struct log_reader *reader, struct err *err) {
  struct client *client = cli_client(reader->cli, err);
  struct run_course course;
  bool begun = false;
  if (!client || !wait_for_begin(reader, client, &course, err))
    return false;
  for (int silent = 0; silent <= PATIENCE;) {
    reader->over = course.over;
    bool ended = read_log(reader, begun, err);
    begun = begun || ended || reader->heard;
    if (!ended && (!begun || !is_lost(err)))
      return false;
    if (ended && !look_patiently(reader, client, &course, err))
      return false;
    if (ended)
      tell_wait(reader, &course);
    if (ended && course.attempt > reader->attempt && reader->request->attempt)
      return true;
    if (ended && course.attempt > reader->attempt) {
      begin_next_attempt(reader);
      continue;
    }
    if (ended && course.over) /* the stream ends when all is told */
      return true;
    if (reader->next < 0 || reader->request->grep)
      return err_set(err, ERR_UNAVAILABLE, "the connection broke, and what was filtered cannot be taken up again");
    silent = reader->heard || ended ? 0 : silent + 1;
    if (!client_sleep(client, LOOK_AGAIN_MS * MAX_OF(silent, 1), err))
      return false;
  }
  return false;
}

/* "; see --stderr" when the other stream has something. */
static const char *other_stream(struct log_reader *reader) {
  bool is_stderr = strcmp(reader->request->stream, "stderr") == 0;
  AUTO_BUF struct buf path = BUF_INIT(KIB);
  AUTO_REPLY struct client_reply reply;
  struct err ignored; /* an advice */
  client_reply_init(&reply);
  path_format(&path, "/api/v1/runs/{}/logs/{}?tail=0", reader->request->run_id, is_stderr ? "stdout" : "stderr");
  if (reader->attempt > 0)
    buf_printf(&path, "&attempt=%lld", (long long)reader->attempt);
  struct client *client = cli_client(reader->cli, &ignored);
  struct client_request call = {.method = "GET", .path = buf_text(&path), .body_fd = -1, .accept = "text/plain"};
  bool has = client && client_call(client, &call, &reply, &ignored) && reply.log_size > 0;
  return !has ? "" : is_stderr ? "; see it without --stderr" : "; see --stderr";
}

/* A command that prints nothing looks like one that is not there. */
static void tell_nothing(struct log_reader *reader) {
  struct err ignored; /* what there is was shown */
  struct run_course course;
  const struct log_request *request = reader->request;
  if (!look_at_run(reader->cli, request->run_id, &course, &ignored))
    return;
  tell_wait(reader, &course);
  if (!course.queued)
    output_say(&reader->cli->output, "run %s: nothing on %s%s%s", request->run_id, request->stream, course.over ? "" : " so far",
               other_stream(reader));
}

bool logs_show(struct cli *cli, const struct log_request *request, struct err *err) {
  struct log_reader reader = {.cli = cli, .request = request, .attempt = request->attempt, .next = request->tail < 0 ? 0 : -1};
  bool ok = request->follow ? follow_log(&reader, err) : read_pieces(&reader, false, err);
  if (ok && reader.end == 0 && !request->is_new)
    tell_nothing(&reader);
  AUTO_BUF struct buf rest = BUF_INIT(KIB);
  struct err ignored; /* the first error is the one to tell */
  log_filter_end(&reader.filter, &rest);
  return output_bytes(&cli->output, buf_str(&rest), ok ? err : &ignored) && ok;
}

static bool has_attempt(struct cli *cli, const char *id, int64_t attempt, struct err *err) {
  struct run_course course;
  if (!look_at_run(cli, id, &course, err))
    return false;
  if (attempt <= course.attempt)
    return true;
  err_set(err, ERR_NOT_FOUND, "the run has no attempt %lld; its newest is %lld", (long long)attempt, (long long)course.attempt);
  return err_hint(err, "winnow run show %s shows them", id);
}

static void say_detached(struct cli *cli, const struct log_request *request) {
  char attempt[48] = "";
  if (request->attempt)
    snprintf(attempt, sizeof attempt, " --attempt %lld", (long long)request->attempt);
  output_say(&cli->output, "detached; the run goes on. Come back with: winnow logs %s -f%s%s", request->run_id,
             strcmp(request->stream, "stderr") == 0 ? " --stderr" : "", attempt);
}

static int logs_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  int64_t attempt = args_i64(&cli->args, "attempt", 0);
  if (args_given(&cli->args, "attempt") && !attempt)
    return cli_usage(cli, NULL, "attempts are counted from 1");
  if (!resolve_run(cli, args_word(&cli->args, 0), id, &err) || (attempt && !has_attempt(cli, id, attempt, &err)))
    return cli_fail(cli, &err);
  struct log_request request = {
      .run_id = id,
      .stream = args_bool(&cli->args, "stderr") ? "stderr" : "stdout",
      .attempt = attempt,
      .tail = args_i64(&cli->args, "tail", -1),
      .grep = args_text(&cli->args, "grep"),
      .follow = args_bool(&cli->args, "follow"),
      .raw = args_bool(&cli->args, "raw"),
  };
  if (logs_show(cli, &request, &err))
    return EXIT_OK;
  int code = cli_fail(cli, &err);
  if (code == EXIT_INTERRUPTED && request.follow)
    say_detached(cli, &request);
  return code;
}

void logs_last_words(struct cli *cli, const char *run_id) {
  static const char *const streams[] = {"stdout", "stderr"};
  for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
    AUTO_BUF struct buf path = BUF_INIT(KIB);
    AUTO_REPLY struct client_reply reply;
    struct err ignored; /* the failure itself is what is told */
    client_reply_init(&reply);
    path_format(&path, "/api/v1/runs/{}/logs/{}?tail=10", run_id, streams[i]);
    struct client *client = cli_client(cli, &ignored);
    struct client_request request = {.method = "GET", .path = buf_text(&path), .body_fd = -1, .accept = "text/plain"};
    struct str rest, line;
    if (!client || !client_call(client, &request, &reply, &ignored))
      continue;
    for (rest = str_trim(buf_str(&reply.body)); rest.n && str_split(&rest, '\n', &line);)
      output_say(&cli->output, "  %s: %.*s", streams[i], STR_ARG(str_slice(line, 0, 500)));
  }
  output_say(&cli->output, "all of it: winnow logs %s, and with --stderr", run_id);
}

static const struct flag_row flags[] = {
    ROW_FLAG_FOLLOW("go on as it prints; Ctrl-C detaches and leaves the run alone"),
    {.name = "stderr", .type = FLAG_BOOL, .help = "standard error instead of standard output"},
    {.name = "tail", .letter = 'n', .type = FLAG_INT, .value_name = "N", .help = "only the last N lines"},
    {.name = "attempt", .type = FLAG_INT, .value_name = "N", .help = "of a run that was tried again: this one alone; else the newest"},
    {.name = "grep", .type = FLAG_TEXT, .value_name = "RE", .help = "only lines that match, found by the service"},
    {.name = "raw", .type = FLAG_BOOL, .help = "also on a terminal, byte for byte"},
};

static const struct verb rows[] = {
    {
        .noun = "logs",
        .summary = "what a run printed, live or afterwards",
        .help =
            "Into a file or pipe the bytes go as they were printed. On a terminal control sequences other than colours are shown as text. A "
            "connection that breaks is taken up where it broke. Why a run still waits, and that it has printed nothing, is said on standard error.",
        .examples = {{"winnow logs @latest -f", "follow the newest run"},
                     {"winnow logs mnist/12 --tail 50", "the end of trial 12"},
                     {"winnow logs mnist/12 --attempt 1", "what it printed before it was tried again"},
                     {"winnow logs @best --stderr --grep 'Warning|Error'", "look for trouble"}},
        FLAGS(flags),
        .words = {{"RUN", WORD_RUN}},
        .run = logs_run,
    },
};

const struct verb_set logs_verbs = {rows, ARRAY_LEN(rows)};
