/* Proves what is stored: metric chunks (storage/metrics/metric_store.h), artifacts, and the files that versions of the registry keep. The
 * service goes on meanwhile: what seems wrong with a file is looked at again before it is called damage, for its row may have changed. */
#include "storage/metrics/metric_store.h"
#include "tracker/artifacts/artifact_check.h"
#include "tracker/care/care_inside.h"

enum { LOOKS = 3, PAUSE_MS = 300, VERSIONS_PAGE = 64 };

enum phase { FSCK_POINTS, FSCK_ARTIFACTS, FSCK_VERSIONS };

struct fsck {
  struct care care;
  enum phase phase;
  bool deep;
  struct metric_fsck *points;
  struct metric_fsck_report report;
  struct artifact_check check;
  struct loop_timer *pause; /* before what seemed wrong is looked at again */
  struct buf after;         /* the last path of the page before */
  bool last_page, asks_again;
  uint64_t artifacts, versions;
  int64_t model, version; /* the last one looked at */
  struct {
    char *path, label[96];
    int64_t size;
    uint8_t digest[32];
    bool has_digest;
  } kept;
};

static struct fsck *fsck_of(struct care *care) {
  return CONTAINER_OF(care, struct fsck, care);
}

static void release(struct care *care) {
  struct fsck *op = fsck_of(care);
  metric_fsck_free(op->points);
  artifact_check_reset(&op->check);
  loop_timer_free(op->pause);
  buf_release(&op->after);
  mem_free(op->kept.path);
}

static void damage(struct fsck *op, const char *kind, const char *subject, int64_t size, const char *text) {
  op->care.damages++;
  care_found(&op->care, kind, subject, size, text);
}

/* ---- points ---- */

static void on_damage(void *ctx, const struct metric_damage *found) {
  struct fsck *op = ctx;
  AUTO_BUF struct buf subject = BUF_INIT(8 * KIB);
  char hex[ID_HEX_LEN + 1];
  id_format(found->run, hex);
  buf_printf(&subject, "run %s", hex);
  if (found->key.p)
    buf_printf(&subject, " %.*s steps %lld to %lld, chunk %lld", STR_ARG(str_slice(found->key, 0, 250)), (long long)found->first_step,
               (long long)found->last_step, (long long)found->id);
  else
    buf_printf(&subject, " unsealed points, row %lld", (long long)found->id);
  damage(op, found->key.p ? "chunk" : "points", buf_text(&subject), -1, found->text);
}

static void on_points(void *ctx, const struct metric_fsck_report *report, bool more, const struct err *err) {
  struct fsck *op = ctx;
  op->report = *report;
  if (!more)
    op->phase = FSCK_ARTIFACTS;
  care_told(&op->care, true, err);
}

/* ---- artifacts ---- */

static void check_artifacts(void *ctx);

static struct artifact_probe *find_probe(struct artifact_check *check, struct str path) {
  for (size_t i = 0; i < check->count; i++)
    if (str_is(path, check->probes[i].path))
      return &check->probes[i];
  return NULL;
}

static void page_over(struct fsck *op) {
  for (size_t i = 0; i < op->check.count; i++) {
    const struct artifact_probe *probe = &op->check.probes[i];
    if (probe->verdict != ARTIFACT_FINE && !probe->moved) /* else it is being written again and again */
      damage(op, "artifact", probe->path, probe->found_size, artifact_verdict_text(probe->verdict));
  }
  artifact_check_reset(&op->check);
  if (op->last_page)
    op->phase = FSCK_VERSIONS;
  care_told(&op->care, true, NULL);
}

/* What is fine is dropped, what is not stays. */
static void keep_doubtful(struct artifact_check *check) {
  size_t kept = 0;
  for (size_t i = 0; i < check->count; i++) {
    if (check->probes[i].verdict == ARTIFACT_FINE || check->probes[i].coming)
      mem_free(check->probes[i].path);
    else
      check->probes[kept++] = check->probes[i];
  }
  check->count = kept;
}

static void on_rows_again(void *ctx, const struct pg_reply *reply) {
  struct fsck *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    care_told(&op->care, false, &err);
    return;
  }
  for (size_t i = 0; i < op->check.count; i++)
    op->check.probes[i].size = -1; /* no row any more: nothing to compare with */
  for (size_t i = 0; i < pg_rows(reply); i++) {
    struct artifact_probe *probe = find_probe(&op->check, pg_text(reply, i, 0));
    if (!probe)
      continue;
    int64_t created = probe->created;
    artifact_probe_set(probe, reply, i);
    probe->moved = probe->created != created;
  }
  for (size_t i = 0; i < op->check.count; i++)
    if (op->check.probes[i].size < 0)
      op->check.probes[i].verdict = ARTIFACT_FINE;
  keep_doubtful(&op->check);
  op->check.at = 0;
  check_artifacts(op);
}

static void look_again(void *ctx) {
  struct fsck *op = ctx;
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, STMT_ARTIFACT_ROWS);
  pg_begin_array(&args);
  for (size_t i = 0; i < op->check.count; i++)
    pg_put_text(&args, str_of(op->check.probes[i].path));
  pg_end_array(&args);
  if (!care_run(&op->care, &args, on_rows_again, &err))
    care_told(&op->care, false, &err);
}

static void on_checked(struct artifact_check *check, const struct err *err) {
  struct fsck *op = CONTAINER_OF(check, struct fsck, check);
  if (err || check->at < check->count) { /* a large file: its next piece is another step */
    care_told(&op->care, true, err);
    return;
  }
  keep_doubtful(check);
  if (check->count && check->probes[0].looks < LOOKS)
    loop_timer_start(op->pause, PAUSE_MS);
  else
    page_over(op);
}

static void check_artifacts(void *ctx) {
  struct fsck *op = ctx;
  struct err err;
  if (!op->check.count)
    page_over(op);
  else if (!artifact_check_go(&op->check, &err))
    care_cannot(&op->care, &err, check_artifacts, op);
}

static void on_page(void *ctx, const struct pg_reply *reply) {
  struct fsck *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err) || !artifact_check_fill(&op->check, reply, &op->after, &err)) {
    care_told(&op->care, false, &err);
    return;
  }
  op->artifacts += op->check.count;
  op->last_page = op->check.count < ARTIFACT_PROBES_MAX;
  check_artifacts(op);
}

static bool step_artifacts(struct fsck *op, struct err *err) {
  return op->check.at < op->check.count ? artifact_check_go(&op->check, err)
                                        : artifact_check_page(op->care.conf.pg, &op->after, on_page, op, err);
}

/* ---- versions ---- */

static void check_version(void *ctx);

static void on_digest(void *ctx, const struct artifact_tree *tree, const struct err *err) {
  struct fsck *op = ctx;
  if (err && err->code == ERR_OVERLOADED) {
    care_cannot(&op->care, err, check_version, op);
    return;
  }
  if (err && err->code == ERR_UNAVAILABLE) {
    care_told(&op->care, false, err);
    return;
  }
  if (err)
    damage(op, "version", op->kept.label, -1, err->text);
  else if (tree->size != op->kept.size)
    damage(op, "version", op->kept.label, tree->size, tree->size < 0 ? "its files are missing" : "its files have another size than noted");
  else if (op->kept.has_digest && memcmp(tree->digest, op->kept.digest, sizeof tree->digest) != 0)
    damage(op, "version", op->kept.label, tree->size, "its files are not those that were registered: the digest differs");
  care_told(&op->care, true, NULL);
}

static void on_sizes(void *ctx, const struct artifact_entry *entries, size_t count, const struct err *err) {
  struct fsck *op = ctx;
  struct artifact_tree tree = {.size = count ? 0 : -1};
  for (size_t i = 0; i < count; i++)
    tree.size += entries[i].size;
  op->kept.has_digest = false;
  on_digest(op, &tree, err);
}

static void check_version(void *ctx) {
  struct fsck *op = ctx;
  struct artifact_store *store = op->care.conf.artifacts;
  struct str path = str_of(op->kept.path);
  struct err err;
  bool ok;
  if (!op->deep)
    ok = artifact_list(store, path, true, on_sizes, op, &err);
  else if (op->kept.has_digest)
    ok = artifact_digest_kept(store, path, op->kept.digest, on_digest, op, &err);
  else
    ok = artifact_digest(store, path, on_digest, op, &err);
  if (!ok)
    care_cannot(&op->care, &err, check_version, op);
}

static void on_version(void *ctx, const struct pg_reply *reply) {
  struct fsck *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err) || pg_rows(reply) == 0) {
    care_told(&op->care, false, pg_outcome(reply) == PG_DONE ? NULL : &err);
    return;
  }
  op->versions++;
  op->model = pg_int(reply, 0, 0);
  op->version = pg_int(reply, 0, 1);
  snprintf(op->kept.label, sizeof op->kept.label, "%.*s/%lld", STR_ARG(str_slice(pg_text(reply, 0, 2), 0, 70)), (long long)op->version);
  mem_free(op->kept.path);
  op->kept.path = mem_strdup(pg_text(reply, 0, 3).p);
  op->kept.size = pg_int(reply, 0, 4);
  struct str digest = pg_bytea(reply, 0, 5);
  op->kept.has_digest = digest.n == sizeof op->kept.digest;
  if (op->kept.has_digest)
    memcpy(op->kept.digest, digest.p, digest.n);
  if (op->kept.path || err_no_memory(&err))
    check_version(op);
  else
    care_told(&op->care, false, &err);
}

static bool step_versions(struct fsck *op, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_VERSION_KEPT_PAGE);
  pg_put_int(&args, op->model);
  pg_put_int(&args, op->version);
  pg_put_int(&args, 1);
  return care_run(&op->care, &args, on_version, err);
}

/* ---- all together ---- */

static bool step(struct care *care, struct err *err) {
  struct fsck *op = fsck_of(care);
  switch (op->phase) {
  case FSCK_POINTS:
    return metric_fsck_step(op->points, on_points, op, err);
  case FSCK_ARTIFACTS:
    return step_artifacts(op, err);
  case FSCK_VERSIONS:
    break;
  }
  return step_versions(op, err);
}

static void put_summary(struct care *care, struct json_writer *w) {
  const struct fsck *op = fsck_of(care);
  jw_put_i64(w, "chunks", (int64_t)op->report.chunks);
  jw_put_i64(w, "unsealed", (int64_t)op->report.rows);
  jw_put_i64(w, "points", (int64_t)op->report.points);
  jw_put_i64(w, "artifacts", (int64_t)op->artifacts);
  jw_put_i64(w, "versions", (int64_t)op->versions);
  jw_put_i64(w, "bytes_read", op->check.bytes);
  jw_put_i64(w, "damaged", (int64_t)care->damages);
}

struct care *care_fsck(const struct care_conf *conf, bool deep, care_finding_fn *found, void *ctx, struct err *err) {
  static const struct care_class class = {step, put_summary, release};
  struct fsck *op = care_new(sizeof *op, &class, conf, found, ctx, err);
  if (!op)
    return NULL;
  op->deep = deep;
  op->check.store = conf->artifacts;
  op->check.pool = conf->work;
  op->check.deep = deep;
  op->check.done = on_checked;
  op->after = BUF_INIT(64 * KIB);
  op->pause = loop_timer_new(conf->loop, look_again, op);
  op->points = op->pause ? metric_fsck_new(conf->metrics, on_damage, err) : NULL;
  if (op->points)
    return &op->care;
  if (!op->pause)
    err_no_memory(err);
  care_free(&op->care);
  return NULL;
}
