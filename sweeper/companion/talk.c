/* What is said to the service, and what follows from its answers. */
#include <signal.h>

#include "sweeper/companion/companion.h"

enum {
  RETRY_MIN_MS = 200,
  RETRY_MAX_MS = 5000,
  REQUEST_TIMEOUT_S = 30,
  VERDICT_WAIT_S = 25,
  FIRST_VERDICT_MS = 20,
  VERDICT_RETRY_MAX_MS = 2000,
  FILES_EVERY_MS = 500,            /* how often metric files are looked at */
  ALIVE_EVERY_MS = 5000,           /* after the end of the command */
  ARTIFACT_TRIES = 20,             /* when the service answers, and cannot store it */
  UPLOAD_BYTES_PER_S = 256 * 1024, /* slower is dead */
};

static void be_fenced(struct companion *c) {
  c->fenced = true;
  say("superseded: this attempt is no longer the run's");
  ending_start(c, "fenced", 0);
}

/* It is not understood, or too much, and always will be. */
static bool is_refused(int status) {
  return status == 400 || status == 413;
}

/* True when the answer is one to go on with; else waits a little, longer each time. */
static bool answered(struct companion *c, int status) {
  if (status == 409) {
    be_fenced(c);
    return false;
  }
  if (status >= 200 && status < 300) {
    c->retry_ms = RETRY_MIN_MS;
    return true;
  }
  arm(c->retry, c->retry_ms);
  c->retry_ms = MIN_OF(c->retry_ms * 2, (int64_t)RETRY_MAX_MS);
  return false;
}

static void obey(struct companion *c, struct str verdict) {
  if (str_starts(verdict, STR("stop")))
    ending_start(c, "stop", c->job.stop_grace_ms);
}

static void on_heartbeat_told(void *ctx, int status, struct str body) {
  struct companion *c = ctx;
  if (answered(c, status)) {
    samples_taken(&c->samples);
    c->heartbeat_due = c->samples.count >= SAMPLES_AT_ONCE; /* after a time without a service */
    obey(c, body);
  } else if (is_refused(status)) {
    samples_taken(&c->samples);
  }
  attempt_advance(c);
}

/* While a piece is on its way it is of no use to hear of every write: one signal waits, and says that there was some. */
static void hear_growth(bool hear) {
  sigset_t growth;
  sigemptyset(&growth);
  sigaddset(&growth, SIGIO);
  sigprocmask(hear ? SIG_UNBLOCK : SIG_BLOCK, &growth, NULL);
}

static void on_output_taken(void *ctx, int status, struct str body) {
  struct companion *c = ctx;
  hear_growth(true);
  int64_t next;
  /* The stream it was stands in the path. */
  struct spool *spool = strstr(c->path, "stream=stderr") ? &c->streams[1] : &c->streams[0];
  if (answered(c, status) && str_to_i64(str_trim(body), &next) && next >= 0)
    spool_taken(spool, next);
  attempt_advance(c);
}

static void on_exit_told(void *ctx, int status, struct str body UNUSED) {
  struct companion *c = ctx;
  struct err err;
  bool is_taken = answered(c, status);
  if ((is_taken || c->fenced) && !exit_file_told(c->job.dir, &err)) /* fenced: it was stored, and its answer lost */
    say("%s", err.text);
  if (is_taken)
    attempt_enter(c, PHASE_DONE);
  attempt_advance(c);
}

void talk_exit(struct companion *c) {
  AUTO_BUF struct buf text = BUF_INIT(48 * KIB);
  ending_put(c, &text);
  if (c->artifacts)
    artifacts_report(c->artifacts, &text);
  if (c->files)
    metric_files_report(c->files, &text);
  ending_sync_later(c);
  uplink_send(c->uplink, "POST", "/exited", buf_str(&text), REQUEST_TIMEOUT_S, on_exit_told, c);
}

void talk_heartbeat(struct companion *c) {
  AUTO_BUF struct buf text = BUF_INIT(16 * KIB);
  buf_printf(&text, "unsent_bytes %lld\n", (long long)(spool_waiting(&c->streams[0]) + spool_waiting(&c->streams[1])));
  samples_put(&c->samples, &text);
  c->last_heartbeat_ms = now_ms();
  uplink_send(c->uplink, "POST", "/heartbeat", buf_str(&text), REQUEST_TIMEOUT_S, on_heartbeat_told, c);
}

/* Sends one piece of the stream that has one; false when both are empty. */
static bool send_output(struct companion *c) {
  for (size_t i = 0; i < ARRAY_LEN(c->streams); i++) {
    struct spool *spool = &c->streams[i];
    int64_t seen_ms;
    size_t n = spool_piece(spool, &seen_ms);
    if (!n && !spool->skipped)
      continue;
    snprintf(c->path, sizeof c->path, "/output?stream=%s&offset=%lld&skipped=%lld&age=%lld", spool->name, (long long)spool->sent,
             (long long)spool->skipped, (long long)(n ? now_ms() - seen_ms : 0));
    struct uplink_file piece = {.method = "POST",
                                .path = c->path,
                                .fd = spool->read_fd,
                                .keep_fd = true,
                                .offset = spool->sent,
                                .length = (int64_t)n,
                                .timeout_s = REQUEST_TIMEOUT_S};
    hear_growth(false);
    spool_sending(spool, n);
    uplink_send_file(c->uplink, &piece, on_output_taken, c);
    return true;
  }
  return false;
}

static void on_file_taken(void *ctx, int status, struct str body) {
  struct companion *c = ctx;
  int64_t next;
  if (answered(c, status) && str_to_i64(str_trim(body), &next))
    metric_files_answered(c->files, next);
  else if (is_refused(status))
    metric_files_answered(c->files, METRIC_FILES_ENOUGH);
  attempt_advance(c);
}

/* A piece of a metric file; false when there is none. */
static bool send_file(struct companion *c) {
  struct metric_files_piece piece;
  if (!c->files || !metric_files_next(c->files, c->phase >= PHASE_DRAIN, &piece))
    return false;
  struct uplink_file file = {
      .method = "POST", .path = piece.path, .fd = piece.fd, .offset = piece.offset, .length = piece.length, .timeout_s = REQUEST_TIMEOUT_S};
  uplink_send_file(c->uplink, &file, on_file_taken, c);
  return true;
}

bool talk_output(struct companion *c) {
  bool due = c->files_due || c->phase >= PHASE_DRAIN;
  if (!c->file_was_last && due && send_file(c))
    return c->file_was_last = true;
  c->file_was_last = false;
  if (send_output(c))
    return true;
  c->files_due = due && send_file(c);
  return c->files_due;
}

/* ---- what it leaves behind ---- */

static void on_artifact_taken(void *ctx, int status, struct str body) {
  struct companion *c = ctx;
  char why[200];
  /* 409 too: it says nothing of the attempt here, but that the run lies in the trash. */
  bool is_over = (status >= 400 && status < 500 && status != 408 && status != 429) ||
                 (status >= 500 && status != 503 && ++c->artifact_tries >= ARTIFACT_TRIES);
  if (is_over) {
    snprintf(why, sizeof why, "the service answers %d %.*s", status, STR_ARG(str_slice(body, 0, 160)));
    say("%s", why);
    artifacts_done(c->artifacts, why);
    c->artifact_tries = 0;
  } else if (answered(c, status)) {
    artifacts_done(c->artifacts, NULL);
    c->artifact_tries = 0;
  }
  attempt_advance(c);
}

bool talk_artifact(struct companion *c) {
  struct artifact_piece piece;
  char prefix[100], id[ID_HEX_LEN + 1];
  if (!c->artifacts || !artifacts_next(c->artifacts, &piece))
    return false;
  id_format(c->job.run_id, id);
  snprintf(prefix, sizeof prefix, "/api/v1/runs/%s/artifacts/", id);
  struct uplink_file file = {.method = "PUT",
                             .prefix = prefix,
                             .path = piece.path,
                             .fd = piece.fd,
                             .length = piece.length,
                             .timeout_s = (int)MIN_OF(REQUEST_TIMEOUT_S + piece.length / UPLOAD_BYTES_PER_S, (int64_t)86400)};
  uplink_send_file(c->uplink, &file, on_artifact_taken, c);
  return true;
}

static void on_files_tick(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  struct companion *c = ctx;
  c->files_due = true;
  metric_files_look(c->files);
  arm(c->files_tick, FILES_EVERY_MS);
  attempt_advance(c);
}

static void on_verdict(void *ctx, int status, struct str body) {
  struct companion *c = ctx;
  if (status == 409)
    be_fenced(c);
  else if (status == 200)
    obey(c, body);
  c->verdict_retry_ms = status == 200 ? 0 : MIN_OF(MAX_OF(c->verdict_retry_ms * 2, (int64_t)RETRY_MIN_MS), (int64_t)VERDICT_RETRY_MAX_MS);
  if (c->phase < PHASE_REPORT && !c->fenced)
    arm(c->retry_verdict, c->phase >= PHASE_DRAIN ? ALIVE_EVERY_MS : c->verdict_retry_ms);
  attempt_advance(c);
}

static void ask_verdict(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  struct companion *c = ctx;
  char path[64];
  snprintf(path, sizeof path, "/verdict?wait=%d", VERDICT_WAIT_S);
  if (!uplink_is_busy(c->verdict) && (c->phase < PHASE_DRAIN || c->phase == PHASE_COLLECT)) /* then it says that we live */
    uplink_send(c->verdict, "GET", path, STR(""), VERDICT_WAIT_S + 10, on_verdict, c);
}

/* The job is over and its whole attempt was removed: nobody will ever want to know. */
static bool is_forgotten(const struct companion *c) {
  return c->phase >= PHASE_DRAIN && access(c->job.dir, F_OK) != 0 && errno == ENOENT;
}

static void on_retry(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  struct companion *c = ctx;
  if (is_forgotten(c))
    attempt_enter(c, PHASE_DONE);
  else if (c->phase >= PHASE_DRAIN)
    ending_note(c);
  attempt_advance(c);
}

bool talk_is_free(const struct companion *c) {
  return !uplink_is_busy(c->uplink) && !evtimer_pending(c->retry, NULL);
}

bool talk_make(struct companion *c, struct err *err) {
  static char prefix[128];
  char id[ID_HEX_LEN + 1];
  id_format(c->job.run_id, id);
  snprintf(prefix, sizeof prefix, "/api/v1/companion/%s/%lld", id, (long long)c->job.attempt);
  c->uplink_config = (struct uplink_config){c->job.endpoint_file, c->job.token, prefix};
  c->uplink = uplink_new(c->base, &c->uplink_config);
  c->verdict = uplink_new(c->base, &c->uplink_config);
  c->retry = evtimer_new(c->base, on_retry, c);
  c->retry_verdict = evtimer_new(c->base, ask_verdict, c);
  c->files_tick = evtimer_new(c->base, on_files_tick, c);
  c->retry_ms = RETRY_MIN_MS;
  c->last_heartbeat_ms = now_ms();
  return (c->uplink && c->verdict && c->retry && c->retry_verdict && c->files_tick) || err_no_memory(err);
}

void talk_begin(struct companion *c, uint64_t generation) {
  arm(c->retry_verdict, FIRST_VERDICT_MS);
  c->files = c->job.file_count && !c->start_error[0] ? metric_files_new(&c->job, c->begun_ms, generation) : NULL;
  if (c->files)
    arm(c->files_tick, FILES_EVERY_MS);
}
