#include "tracker/version_keep.h"

#include "base/log.h"
#include "base/mem.h"
#include "tracker/model_row.h"

/* ---- one version ---- */

static void on_told(void *ctx, const struct pg_reply *reply) {
  struct version_keep *keep = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err); /* of a version that was deleted meanwhile, the copy is left to gc */
  keep->done(keep->ctx, ok ? NULL : &err);
}

static bool tell_none(struct version_keep *keep, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_VERSION_KEEP_NONE);
  pg_put_int(&args, keep->model);
  pg_put_int(&args, keep->version);
  return pg_run(keep->pg, &args, 0, on_told, keep, err);
}

static bool tell_kept(struct version_keep *keep, const struct artifact_tree *tree, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_VERSION_KEEP);
  version_put_kept(&args, keep->model, keep->version, keep->from, str_of(keep->to), tree);
  return pg_run(keep->pg, &args, 0, on_told, keep, err);
}

static void on_kept(void *ctx, const struct artifact_tree *tree, const struct err *err) {
  struct version_keep *keep = ctx;
  struct err why;
  if (err && err->code != ERR_NOT_FOUND)
    keep->done(keep->ctx, err);
  else if (err ? !tell_none(keep, &why) : !tell_kept(keep, tree, &why))
    keep->done(keep->ctx, &why);
}

static struct str place(struct version_keep *keep) {
  snprintf(keep->to, sizeof keep->to, "registry/%lld/%lld", (long long)keep->model, (long long)keep->version);
  return str_of(keep->to);
}

bool version_keep_begin(struct version_keep *keep, struct err *err) {
  if (artifact_keep(keep->store, keep->from, place(keep), on_kept, keep, err))
    return true;
  return err->code == ERR_INVALID && tell_none(keep, err); /* the copy would lie in what it is made of */
}

static void on_cleared(void *ctx, const struct err *err) {
  struct version_keep *keep = ctx;
  struct err why;
  if (err || !version_keep_begin(keep, &why))
    keep->done(keep->ctx, err ? err : &why);
}

bool version_keep_anew(struct version_keep *keep, struct err *err) {
  return artifact_delete(keep->store, place(keep), on_cleared, keep, err);
}

/* ---- those that were interrupted ---- */

struct version_settle {
  struct pg_pool *pg;
  struct version_keep keep; /* the one that is kept now, or was last */
  struct buf name, from;    /* of it */
  int64_t before;           /* what is made later is of this service */
  bool stopped;
};

static void end(const struct version_settle *settle, const struct err *err) {
  if (!settle->stopped)
    log_warn("tracker", NULL, "versions whose files are yet to be kept were not looked at: %s; the next start does it", err->text);
}

static void ask_next(struct version_settle *settle);

static void on_settled(void *ctx, const struct err *err) {
  struct version_settle *settle = ctx;
  if (err)
    log_warn("tracker", NULL, "%s/%lld: its files are not kept yet: %s; the next start does it", buf_text(&settle->name),
             (long long)settle->keep.version, err->text);
  if (!settle->stopped)
    ask_next(settle);
}

static bool read_next(struct version_settle *settle, const struct pg_reply *reply, struct err *err) {
  settle->keep.model = pg_int(reply, 0, 0);
  settle->keep.version = pg_int(reply, 0, 1);
  buf_reset(&settle->name);
  buf_reset(&settle->from);
  buf_add_str(&settle->name, pg_text(reply, 0, 2));
  buf_add_str(&settle->from, pg_text(reply, 0, 3));
  settle->keep.from = buf_str(&settle->from);
  return buf_ok(&settle->name, err) && buf_ok(&settle->from, err);
}

static void on_next(void *ctx, const struct pg_reply *reply) {
  struct version_settle *settle = ctx;
  struct err err;
  if (!pg_ok(reply, &err))
    end(settle, &err);
  else if (pg_rows(reply) && !settle->stopped && (!read_next(settle, reply, &err) || !version_keep_anew(&settle->keep, &err)))
    on_settled(settle, &err);
}

static void ask_next(struct version_settle *settle) {
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, STMT_VERSION_TO_KEEP);
  pg_put_int(&args, settle->keep.model);
  pg_put_int(&args, settle->keep.version);
  pg_put_int(&args, settle->before);
  if (!pg_run(settle->pg, &args, 0, on_next, settle, &err))
    end(settle, &err);
}

struct version_settle *version_settle_new(const struct clock *clock, struct pg_pool *pg, struct artifact_store *store, struct err *err) {
  struct version_settle *settle = mem_zalloc(sizeof *settle);
  if (!settle) {
    err_no_memory(err);
    return NULL;
  }
  *settle = (struct version_settle){.pg = pg, .name = BUF_INIT(64 * KIB), .from = BUF_INIT(64 * KIB), .before = clock_wall_ms(clock)};
  settle->keep = (struct version_keep){.pg = pg, .store = store, .done = on_settled, .ctx = settle};
  return settle;
}

void version_settle_start(struct version_settle *settle) {
  ask_next(settle);
}

void version_settle_stop(struct version_settle *settle) {
  if (settle)
    settle->stopped = true;
}

void version_settle_free(struct version_settle *settle) {
  if (!settle)
    return;
  buf_release(&settle->name);
  buf_release(&settle->from);
  mem_free(settle);
}
