/* Experiments that go into the trash while sweeps of theirs live, and come out of it again. */
#include "base/mem.h"
#include "sweeper/live/live.h"

enum { NAMED_MAX = 3 };

bool sweeps_let_go(const struct sweeps *s, int64_t experiment, struct err *err) {
  AUTO_BUF struct buf names = BUF_INIT(4 * KIB);
  size_t count = 0;
  LIST_EACH(&s->sweeps, node) {
    const struct live_sweep *live = LIST_ENTRY(node, struct live_sweep, node);
    char id[ID_HEX_LEN + 1];
    if (live->single || live->in_trash || live->experiment_id != experiment || live_is_over(live) || ++count > NAMED_MAX)
      continue;
    id_format(live->id, id);
    buf_printf(&names, "%s%.60s (%s)", count > 1 ? ", " : "", live->name, id);
  }
  if (!count)
    return true;
  if (count > NAMED_MAX)
    buf_printf(&names, " and %zu more", count - NAMED_MAX);
  err_set(err, ERR_WRONG_STATE, "it has sweeps that are not over: %s", buf_text(&names));
  return err_hint(err, "`winnow sweep stop SWEEP` ends one with its trials; `winnow sweep drain SWEEP` when those that run have ended");
}

/* Two may be under way at once, and of what they tell that of the later one holds. */
struct look {
  struct sweeps *all;
  uint64_t number;
  char *actor; /* NULL: nobody */
  sweeps_done_fn *done;
  void *ctx;
};

static void look_free(struct look *look) {
  mem_free(look->actor);
  mem_free(look);
}

static bool is_among(const struct pg_reply *reply, int64_t experiment) {
  for (size_t i = 0; i < pg_rows(reply); i++)
    if (pg_int(reply, i, 0) == experiment)
      return true;
  return false;
}

static void follow(const struct look *look, const struct pg_reply *reply) {
  struct sweeps *s = look->all;
  if (look->number < s->looked || s->stopping)
    return;
  s->looked = look->number;
  LIST_EACH(&s->sweeps, node) {
    struct live_sweep *live = LIST_ENTRY(node, struct live_sweep, node);
    bool in_trash = !live->single && is_among(reply, live->experiment_id);
    if (in_trash != live->in_trash)
      live_follow_experiment(live, in_trash, str_of(look->actor));
  }
}

static void on_looked(void *ctx, const struct pg_reply *reply) {
  struct look *look = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err);
  if (ok)
    follow(look, reply);
  else
    look->all->must_look = true;
  if (look->done)
    look->done(look->ctx, ok ? NULL : &err);
  look_free(look);
}

bool sweeps_look_into_trash(struct sweeps *s, struct str actor, sweeps_done_fn *done, void *ctx, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  struct look *look = mem_zalloc(sizeof *look);
  if (!look)
    return err_no_memory(err);
  *look = (struct look){.all = s, .number = ++s->looks, .actor = actor.p ? mem_strndup(actor.p, actor.n) : NULL, .done = done, .ctx = ctx};
  pg_args_init(&args, STMT_EXPERIMENTS_IN_TRASH);
  pg_begin_array(&args);
  LIST_EACH(&s->sweeps, node)
  if (!LIST_ENTRY(node, struct live_sweep, node)->single)
    pg_put_int(&args, LIST_ENTRY(node, struct live_sweep, node)->experiment_id);
  pg_end_array(&args);
  s->must_look = !pg_run(s->conf.pg, &args, 0, on_looked, look, err);
  if (s->must_look)
    look_free(look);
  return !s->must_look;
}
