#include "tracker/artifacts/artifact_settle.h"

#include "base/log.h"
#include "base/mem.h"
#include "storage/pg/pg.h"
#include "tracker/artifacts/artifact_check.h"

struct artifact_settle {
  const struct clock *clock;
  struct pg_pool *pg;
  struct artifact_check check;
  struct buf after; /* the last path of the page before */
  int64_t before;   /* what is announced later is of this service */
  bool started, stopped;
};

static struct artifact_settle *settle_of(struct artifact_check *check) {
  return CONTAINER_OF(check, struct artifact_settle, check);
}

static void end(struct artifact_settle *settle, const struct err *err) {
  artifact_check_reset(&settle->check);
  if (err && !settle->stopped)
    log_warn("tracker", NULL, "what uploads had begun to replace was not looked at: %s; the next start does it", err->text);
}

static void ask_page(struct artifact_settle *settle);

static void on_settled(void *ctx, const struct pg_reply *reply) {
  struct artifact_settle *settle = ctx;
  struct err err;
  if (!pg_ok(reply, &err) || settle->stopped)
    end(settle, &err);
  else
    ask_page(settle);
}

static void put_verdict(const struct artifact_probe *probe, struct pg_batch *batch) {
  bool came = probe->verdict == ARTIFACT_FINE;
  if (probe->verdict == ARTIFACT_UNREADABLE)
    return; /* not known yet */
  struct pg_args *args = pg_batch_add(batch, came ? STMT_ARTIFACT_CAME : STMT_ARTIFACT_CAME_NOT);
  pg_put_text(args, str_of(probe->path));
  pg_put_bytea(args, str_n((const char *)probe->sha256, sizeof probe->sha256));
  pg_put_int(args, probe->created);
  log_info("tracker", NULL, "artifact %s: what was to replace it when the service died %s", probe->path,
           came ? "lies there" : "has not got its place");
}

static void on_checked(struct artifact_check *check, const struct err *failed) {
  struct artifact_settle *settle = settle_of(check);
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct err err;
  bool ok = true;
  if (failed || settle->stopped) {
    end(settle, failed);
    return;
  }
  if (check->at < check->count) {
    ok = artifact_check_go(check, &err);
  } else {
    for (size_t i = 0; i < check->count; i++)
      put_verdict(&check->probes[i], &batch);
    if (batch.count)
      ok = pg_run_batch(settle->pg, &batch, 0, on_settled, settle, &err);
    else
      ask_page(settle);
  }
  if (!ok)
    end(settle, &err);
}

static void on_page(void *ctx, const struct pg_reply *reply) {
  struct artifact_settle *settle = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err) && artifact_check_fill(&settle->check, reply, &settle->after, &err);
  if (ok && settle->check.count && !settle->stopped)
    ok = artifact_check_go(&settle->check, &err);
  if (!ok || settle->stopped)
    end(settle, &err);
}

static void ask_page(struct artifact_settle *settle) {
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, STMT_ARTIFACT_COMING_PAGE);
  pg_put_text(&args, str_n(buf_text(&settle->after), settle->after.n));
  pg_put_int(&args, ARTIFACT_PROBES_MAX);
  pg_put_int(&args, settle->before);
  if (!pg_run(settle->pg, &args, 0, on_page, settle, &err))
    end(settle, &err);
}

struct artifact_settle *artifact_settle_new(const struct clock *clock, struct pg_pool *pg, struct work_pool *work,
                                            struct artifact_store *store, struct err *err) {
  struct artifact_settle *settle = mem_zalloc(sizeof *settle);
  if (!settle) {
    err_no_memory(err);
    return NULL;
  }
  *settle = (struct artifact_settle){.clock = clock, .pg = pg, .after = BUF_INIT(64 * KIB)};
  settle->check.store = store;
  settle->check.pool = work;
  settle->check.deep = true;
  settle->check.done = on_checked;
  return settle;
}

void artifact_settle_start(struct artifact_settle *settle) {
  if (settle->started)
    return;
  settle->started = true;
  settle->before = clock_wall_ms(settle->clock);
  ask_page(settle);
}

void artifact_settle_stop(struct artifact_settle *settle) {
  if (settle)
    settle->stopped = true;
}

void artifact_settle_free(struct artifact_settle *settle) {
  if (!settle)
    return;
  artifact_check_reset(&settle->check);
  buf_release(&settle->after);
  mem_free(settle);
}
