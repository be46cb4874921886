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

static bool tell_kept(struct version_keep *keep, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_VERSION_KEEP);
  version_put_kept(&args, keep->model, keep->version, keep->from, str_of(keep->to), &keep->tree);
  return pg_run(keep->pg, &args, 0, on_told, keep, err);
}

static void on_kept(void *ctx, const struct artifact_tree *tree, const struct err *err) {
  struct version_keep *keep = ctx;
  struct err why;
  keep->is_copied = !err;
  if (!err)
    keep->tree = *tree;
  if (err && err->code != ERR_NOT_FOUND)
    keep->done(keep->ctx, err);
  else if (err ? !tell_none(keep, &why) : !tell_kept(keep, &why))
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

static bool clear(struct version_keep *keep, struct err *err) {
  return artifact_delete(keep->store, place(keep), on_cleared, keep, err);
}

static void on_found(void *ctx, const struct artifact_tree *tree, const struct err *err) {
  struct version_keep *keep = ctx;
  struct err why;
  bool stays = !err && memcmp(tree->digest, keep->tree.digest, sizeof tree->digest) == 0;
  if (err && err->code != ERR_NOT_FOUND)
    keep->done(keep->ctx, err);
  else if (stays ? !tell_kept(keep, &why) : !clear(keep, &why))
    keep->done(keep->ctx, &why);
}

bool version_keep_anew(struct version_keep *keep, struct err *err) {
  return keep->is_copied ? artifact_digest(keep->store, place(keep), on_found, keep, err) : clear(keep, err);
}

/* ---- those that were interrupted, or failed ---- */

enum { OWED_MAX = 1024, AGAIN_MS = 60 * 60 * 1000 };

struct version_settle {
  struct pg_pool *pg;
  struct loop_timer *timer;
  struct version_keep keep; /* the one that is kept now, or was last */
  struct buf name, from;    /* of it */
  int64_t before;           /* what is made later is of this service */
  bool earlier_seen;        /* each of those that earlier services have left has been tried */
  bool working, again;      /* again: once more after that */
  bool stopped;
  struct owed {
    int64_t model, version;
    bool is_copied;
    struct artifact_tree tree;
  } owed[OWED_MAX];      /* that failed: nobody is at work on them */
  size_t owed_count, at; /* at: the one that is tried now */
};

static void try_next(struct version_settle *settle);

static void rest(struct version_settle *settle) {
  settle->working = false;
  if (settle->stopped)
    return;
  loop_timer_start(settle->timer, AGAIN_MS);
  if (settle->again)
    version_settle_again(settle);
}

static void give_up(struct version_settle *settle, const struct err *err) {
  if (!settle->stopped)
    log_warn("tracker", NULL, "versions whose files are yet to be kept were not looked at: %s; that is done later", err->text);
  rest(settle);
}

static struct owed owed_of(const struct version_keep *keep) {
  return (struct owed){keep->model, keep->version, keep->is_copied, keep->tree};
}

void version_settle_owe(struct version_settle *settle, const struct version_keep *keep) {
  if (settle->owed_count < OWED_MAX) /* the next start finds those beyond it */
    settle->owed[settle->owed_count++] = owed_of(keep);
}

/* It is kept, or was deleted. */
static void owed_no_more(struct version_settle *settle) {
  struct owed *owed = &settle->owed[settle->at];
  settle->owed_count--;
  memmove(owed, owed + 1, (settle->owed_count - settle->at) * sizeof *owed);
}

static void on_settled(void *ctx, const struct err *err) {
  struct version_settle *settle = ctx;
  const char *name = buf_text(&settle->name);
  long long version = settle->keep.version;
  if (!settle->earlier_seen && err) {
    log_warn("tracker", NULL, "%s/%lld: its files are not kept yet: %s; it is tried again later", name, version, err->text);
    version_settle_owe(settle, &settle->keep);
  } else if (settle->earlier_seen && err) {
    settle->owed[settle->at++] = owed_of(&settle->keep);
  } else if (settle->earlier_seen) {
    log_info("tracker", NULL, "%s/%lld: its files are kept now", name, version);
    owed_no_more(settle);
  }
  try_next(settle);
}

static void on_none(struct version_settle *settle) {
  if (settle->earlier_seen)
    owed_no_more(settle);
  settle->earlier_seen = true;
  try_next(settle);
}

static bool read_next(struct version_settle *settle, const struct pg_reply *reply, struct err *err) {
  settle->keep.model = pg_int(reply, 0, 0);
  settle->keep.version = pg_int(reply, 0, 1);
  settle->keep.is_copied = settle->earlier_seen && settle->owed[settle->at].is_copied;
  if (settle->keep.is_copied)
    settle->keep.tree = settle->owed[settle->at].tree;
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
    give_up(settle, &err);
  else if (settle->stopped)
    rest(settle);
  else if (!pg_rows(reply))
    on_none(settle);
  else if (!read_next(settle, reply, &err) || !version_keep_anew(&settle->keep, &err))
    on_settled(settle, &err);
}

/* The next of those that earlier services have left. */
static void put_earlier(const struct version_settle *settle, struct pg_args *args) {
  pg_args_init(args, STMT_VERSION_TO_KEEP);
  pg_put_int(args, settle->keep.model);
  pg_put_int(args, settle->keep.version);
  pg_put_int(args, settle->before);
}

static void put_owed(const struct version_settle *settle, struct pg_args *args) {
  pg_args_init(args, STMT_VERSION_OWED);
  pg_put_int(args, settle->owed[settle->at].model);
  pg_put_int(args, settle->owed[settle->at].version);
}

static bool ask_next(struct version_settle *settle, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  (settle->earlier_seen ? put_owed : put_earlier)(settle, &args);
  return pg_run(settle->pg, &args, 0, on_next, settle, err);
}

static void try_next(struct version_settle *settle) {
  struct err err;
  if (settle->stopped || (settle->earlier_seen && settle->at == settle->owed_count))
    rest(settle);
  else if (!ask_next(settle, &err))
    give_up(settle, &err);
}

static void begin_round(void *ctx) {
  version_settle_again(ctx);
}

struct version_settle *version_settle_new(struct loop *loop, struct pg_pool *pg, struct artifact_store *store, struct err *err) {
  struct version_settle *settle = mem_zalloc(sizeof *settle);
  struct loop_timer *timer = settle ? loop_timer_new(loop, begin_round, settle) : NULL;
  if (!timer) {
    mem_free(settle);
    err_no_memory(err);
    return NULL;
  }
  settle->pg = pg;
  settle->timer = timer;
  settle->name = settle->from = BUF_INIT(64 * KIB);
  settle->before = clock_wall_ms(loop_clock(loop));
  settle->keep = (struct version_keep){.pg = pg, .store = store, .done = on_settled, .ctx = settle};
  return settle;
}

void version_settle_again(struct version_settle *settle) {
  settle->again = settle->working;
  if (settle->working || settle->stopped)
    return;
  settle->working = true;
  settle->at = 0;
  loop_timer_stop(settle->timer);
  try_next(settle);
}

void version_settle_stop(struct version_settle *settle) {
  if (!settle)
    return;
  settle->stopped = true;
  loop_timer_stop(settle->timer);
}

void version_settle_free(struct version_settle *settle) {
  if (!settle)
    return;
  loop_timer_free(settle->timer);
  buf_release(&settle->name);
  buf_release(&settle->from);
  mem_free(settle);
}
