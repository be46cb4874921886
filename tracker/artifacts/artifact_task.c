/* What is done with files that are there: removed, listed, kept under a second name, compared with their digest. */
#include "base/log.h"
#include "base/mem.h"
#include "tracker/artifacts/artifact_inside.h"
#include "tracker/artifacts/artifact_tree.h"

enum { SUMS_A_STATEMENT = 1000 };

struct task {
  struct work work;
  struct artifact_store *store;
  void (*end)(struct task *task, const struct err *err); /* tells the outcome */
  char *path, *to;
  struct path_turn turn;
  struct path_turn to_turn; /* of what is kept: also at its second name, until all is known of it */
  unsigned awaited;         /* how many of the two it waits for */
  struct list_node begun;   /* its turn came at once */
  void (*begin)(void *task);
  struct err err; /* of what ran on a thread; ERR_NONE: done */
  union {
    artifact_done_fn *done;
    artifact_list_fn *listed;
    artifact_tree_fn *kept;
    artifact_collected_fn *collected;
  } tell;
  void *ctx;
  bool deep;             /* of a list */
  struct tree_list list; /* the list */
  bool is_there, is_dir; /* what is to be removed */
  int64_t changed_ms;    /* of what is to be collected */
  bool even_if_known, removed;
  struct artifact_tree tree; /* what was digested */
  struct tree_sums sums;     /* its files */
  struct tree_kept kept;
  struct err refused; /* there is no room for what comes next */
  uint8_t digest[32]; /* the one that it should have */
  bool only_if_kept;  /* rows are written only for what a version keeps */
};

static void task_free(struct task *task) {
  list_remove(&task->begun);
  path_turn_end(&task->turn);
  path_turn_end(&task->to_turn);
  tree_list_release(&task->list);
  tree_sums_release(&task->sums);
  mem_free(task->path);
  mem_free(task->to);
  mem_free(task);
}

static void task_end(struct task *task, const struct err *err) {
  task->end(task, err);
  task_free(task);
}

static struct task *task_new(struct artifact_store *store, struct str path, void (*end)(struct task *, const struct err *), void *ctx,
                             struct err *err) {
  struct task *task = mem_zalloc(sizeof *task);
  if (!task) {
    err_no_memory(err);
    return NULL;
  }
  *task = (struct task){.store = store, .end = end, .ctx = ctx};
  task->path = mem_strndup(path.p ? path.p : "", path.n);
  if (task->path)
    return task;
  task_free(task);
  err_no_memory(err);
  return NULL;
}

/* ---- steps ---- */

static struct task *task_of(struct work *work) {
  return CONTAINER_OF(work, struct task, work);
}

static bool submit(struct task *task, struct work_pool *pool, void (*run)(struct work *), void (*done)(struct work *, bool),
                   struct err *err) {
  if (task->store->stopping)
    return err_set(err, ERR_UNAVAILABLE, "the service is stopping");
  task->err.code = ERR_NONE;
  task->work = (struct work){.run = run, .done = done};
  return work_submit(pool, &task->work, err);
}

static void go_on(struct task *task, struct work_pool *pool, void (*run)(struct work *), void (*done)(struct work *, bool)) {
  struct err err;
  if (!submit(task, pool, run, done, &err))
    task_end(task, &err);
}

/* The first step; false: there is no task any more. */
static bool begin(struct task *task, struct work_pool *pool, void (*run)(struct work *), void (*done)(struct work *, bool),
                  struct err *err) {
  bool ok = submit(task, pool, run, done, err);
  if (!ok)
    task_free(task);
  return ok;
}

/* On a thread: how its step went. */
static void ran(struct task *task, bool ok) {
  if (ok)
    task->err.code = ERR_NONE;
  else if (task->err.code == ERR_NONE)
    err_set(&task->err, ERR_INTERNAL, "a step failed");
  artifact_explain(task->store, task->path, ok, &task->err);
}

static bool step_failed(struct task *task, bool cancelled) {
  if (cancelled)
    err_set(&task->err, ERR_UNAVAILABLE, "the service is stopping");
  return task->err.code != ERR_NONE;
}

/* The last step of many. */
static void over(struct work *work, bool cancelled) {
  struct task *task = task_of(work);
  task_end(task, step_failed(task, cancelled) ? &task->err : NULL);
}

void artifact_task_begin_all(struct artifact_store *store) {
  for (size_t n = store->begun.count; n; n--) {
    struct task *task = LIST_ENTRY(list_pop_front(&store->begun), struct task, begun);
    task->begin(task);
  }
}

static void tell_begun(void *ctx) {
  artifact_task_begin_all(ctx);
}

static void begin_soon(struct task *task, void (*fn)(void *)) {
  struct artifact_store *store = task->store;
  task->begin = fn;
  list_push_back(&store->begun, &task->begun);
  loop_defer(store->conf.loop, &store->tell_begun, tell_begun, store);
}

static enum path_turn_when take_place(struct task *task, struct path_turn *turn, const char *path, void (*fn)(void *), struct err *err) {
  if (task->store->stopping) {
    err_set(err, ERR_UNAVAILABLE, "the service is stopping");
    return PATH_TURN_REFUSED;
  }
  *turn = (struct path_turn){.path = str_of(path), .fn = fn, .ctx = task};
  return path_turn_take(&task->store->turns, turn, err);
}

/* False: it has none. */
static bool take_turn(struct task *task, void (*fn)(void *), struct err *err) {
  enum path_turn_when when = take_place(task, &task->turn, task->path, fn, err);
  if (when == PATH_TURN_NOW)
    begin_soon(task, fn);
  return when != PATH_TURN_REFUSED;
}

static bool begin_in_turn(struct task *task, void (*fn)(void *), struct err *err) {
  bool ok = take_turn(task, fn, err);
  if (!ok)
    task_free(task);
  return ok;
}

/* ---- removal ---- */

static void end_done(struct task *task, const struct err *err) {
  task->tell.done(task->ctx, err);
}

static void run_delete(struct work *work) {
  struct task *task = task_of(work);
  ran(task, tree_delete(task->store->root, str_of(task->path), &task->err));
}

static void on_rows_gone(void *ctx, const struct pg_reply *reply) {
  struct task *task = ctx;
  struct artifact_store *store = task->store;
  if (pg_outcome(reply) != PG_DONE)
    task_end(task, pg_err(reply));
  else if (!task->is_there)
    task_end(task, NULL);
  else
    go_on(task, task->is_dir ? store->conf.bulk : store->conf.disk, run_delete, over);
}

static void run_may_delete(struct work *work) {
  struct task *task = task_of(work);
  ran(task, tree_may_delete(task->store->root, str_of(task->path), &task->is_there, &task->is_dir, &task->err));
}

/* Rows first: who dies in between leaves files without rows, which nobody takes for damaged, and gc finds. */
static void may_delete(struct work *work, bool cancelled) {
  struct task *task = task_of(work);
  struct artifact_store *store = task->store;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_ARTIFACT_REMOVE);
  pg_put_text(&args, str_of(task->path));
  if (step_failed(task, cancelled) || (task->is_dir && !work_has_room(store->conf.bulk, 1, &task->err)) ||
      !pg_run(store->conf.pg, &args, 0, on_rows_gone, task, &task->err))
    task_end(task, &task->err);
}

static void start_removal(void *ctx) {
  struct task *task = ctx;
  go_on(task, task->store->conf.disk, run_may_delete, may_delete);
}

bool artifact_delete(struct artifact_store *store, struct str path, artifact_done_fn *done, void *ctx, struct err *err) {
  struct task *task = task_new(store, path, end_done, ctx, err);
  if (!task)
    return false;
  task->tell.done = done;
  return begin_in_turn(task, start_removal, err);
}

static void run_delete_empty(struct work *work) {
  struct task *task = task_of(work);
  ran(task, tree_delete_empty(task->store->root, str_of(task->path), &task->err));
}

static void start_removal_of_empty(void *ctx) {
  struct task *task = ctx;
  go_on(task, task->store->conf.disk, run_delete_empty, over);
}

bool artifact_delete_empty(struct artifact_store *store, struct str path, artifact_done_fn *done, void *ctx, struct err *err) {
  struct task *task = task_new(store, path, end_done, ctx, err);
  if (!task)
    return false;
  task->tell.done = done;
  return begin_in_turn(task, start_removal_of_empty, err);
}

/* ---- what nothing names ---- */

static void end_collected(struct task *task, const struct err *err) {
  task->tell.collected(task->ctx, task->removed, err);
}

static void run_collect(struct work *work) {
  struct task *task = task_of(work);
  ran(task, tree_collect(task->store->root, str_of(task->path), task->changed_ms, &task->removed, &task->err));
}

static void on_known(void *ctx, const struct pg_reply *reply) {
  struct task *task = ctx;
  if (pg_outcome(reply) != PG_DONE)
    task_end(task, pg_err(reply));
  else if (pg_rows(reply))
    task_end(task, NULL);
  else
    go_on(task, task->store->conf.disk, run_collect, over);
}

static bool is_named_by_text(const struct task *task) {
  return !task->even_if_known && str_is_utf8(str_of(task->path));
}

static void start_collecting(void *ctx) {
  struct task *task = ctx;
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, STMT_ARTIFACT_KNOWN);
  if (!is_named_by_text(task)) { /* else it cannot be in the table */
    go_on(task, task->store->conf.disk, run_collect, over);
    return;
  }
  pg_begin_array(&args);
  pg_put_text(&args, str_of(task->path));
  pg_end_array(&args);
  pg_put_int(&args, clock_wall_ms(loop_clock(task->store->conf.loop)) - ARTIFACT_KEPT_SOON_MS);
  if (!pg_run(task->store->conf.pg, &args, 0, on_known, task, &err))
    task_end(task, &err);
}

bool artifact_collect(struct artifact_store *store, struct str path, int64_t changed_ms, bool even_if_known, artifact_collected_fn *done,
                      void *ctx, struct err *err) {
  struct task *task = task_new(store, path, end_collected, ctx, err);
  if (!task)
    return false;
  task->tell.collected = done;
  task->changed_ms = changed_ms;
  task->even_if_known = even_if_known;
  return begin_in_turn(task, start_collecting, err);
}

/* ---- directories and lists ---- */

static void run_make(struct work *work) {
  struct task *task = task_of(work);
  ran(task, tree_make(task->store->root, str_of(task->path), &task->err));
}

bool artifact_make_directory(struct artifact_store *store, struct str path, artifact_done_fn *done, void *ctx, struct err *err) {
  struct task *task = task_new(store, path, end_done, ctx, err);
  if (!task)
    return false;
  task->tell.done = done;
  return begin(task, store->conf.disk, run_make, over, err);
}

static void end_listed(struct task *task, const struct err *err) {
  task->tell.listed(task->ctx, err ? NULL : task->list.entries, err ? 0 : task->list.count, err);
}

static void run_list(struct work *work) {
  struct task *task = task_of(work);
  bool ok = tree_list(task->store->root, str_of(task->path), task->deep, &task->list, &task->err);
  ran(task, ok || task->err.code == ERR_NOT_FOUND);
}

bool artifact_list(struct artifact_store *store, struct str path, bool deep, artifact_list_fn *done, void *ctx, struct err *err) {
  struct task *task = task_new(store, path, end_listed, ctx, err);
  if (!task)
    return false;
  task->deep = deep;
  task->tell.listed = done;
  return begin(task, store->conf.work, run_list, over, err);
}

/* ---- rows of what was digested ---- */

static void put_names(struct pg_args *args, const struct tree_sum *sums, size_t count) {
  pg_begin_array(args);
  for (size_t i = 0; i < count; i++)
    pg_put_text(args, str_of(sums[i].name));
  pg_end_array(args);
}

static const char *digested_place(const struct task *task) {
  return task->to ? task->to : task->path;
}

static void put_sums(const struct task *task, size_t from, struct pg_args *args) {
  const struct tree_sum *sums = &task->sums.items[from];
  size_t count = MIN_OF(task->sums.count - from, (size_t)SUMS_A_STATEMENT);
  pg_put_text(args, str_of(digested_place(task)));
  put_names(args, sums, count);
  pg_begin_array(args);
  for (size_t i = 0; i < count; i++)
    pg_put_int(args, sums[i].file.size);
  pg_end_array(args);
  pg_begin_array(args);
  for (size_t i = 0; i < count; i++)
    pg_put_bytea(args, str_n((const char *)sums[i].file.sha256, sizeof sums[i].file.sha256));
  pg_end_array(args);
  pg_put_int(args, clock_wall_ms(loop_clock(task->store->conf.loop)));
  pg_put_bool(args, task->only_if_kept);
}

/* The files are there; fsck writes what rows are missing. */
static void not_noted(struct task *task, const struct err *err) {
  log_warn("tracker", NULL, "artifacts %s: what its files are was not noted: %s; `winnow admin fsck --deep` does it", digested_place(task),
           err->text);
  task_end(task, NULL);
}

static void on_noted(void *ctx, const struct pg_reply *reply) {
  struct task *task = ctx;
  if (pg_outcome(reply) == PG_DONE)
    task_end(task, NULL);
  else
    not_noted(task, pg_err(reply));
}

/* All of them or none. */
static void note_sums(void *ctx) {
  struct task *task = ctx;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct err err;
  for (size_t from = 0; from < task->sums.count; from += SUMS_A_STATEMENT)
    put_sums(task, from, pg_batch_add(&batch, STMT_ARTIFACT_NOTE));
  if (!pg_run_batch(task->store->conf.pg, &batch, 0, on_noted, task, &err))
    not_noted(task, &err);
}

/* ---- second names ---- */

static void end_kept(struct task *task, const struct err *err) {
  task->tell.kept(task->ctx, err ? NULL : &task->tree, err);
}

/* Nothing is left of what failed. */
static void remove_copy(struct task *task) {
  struct err ignored;
  if (!tree_delete(task->store->root, str_of(task->to), &ignored))
    log_warn("tracker", NULL, "artifacts %s: what was begun there is left to gc: %s", task->to, ignored.text);
}

static void run_seal(struct work *work) {
  struct task *task = task_of(work);
  int root = task->store->root;
  bool ok = tree_sync(root, str_of(task->to), &task->err) &&
            tree_digest(root, str_of(task->to), &task->store->interrupted, &task->tree, &task->sums, &task->err);
  task->tree.is_file = task->kept.is_file;
  if (!ok)
    remove_copy(task);
  ran(task, ok);
}

static void run_give_up(struct work *work) {
  remove_copy(task_of(work));
}

/* No thread takes it any more: the service is at its end, and nobody waits for its loop. */
static void given_up(struct work *work, bool cancelled) {
  struct task *task = task_of(work);
  if (cancelled)
    remove_copy(task);
  task_end(task, &task->refused);
}

/* The links are there, and nobody looks at them any more. */
static void give_up(struct task *task, const struct err *why) {
  task->refused = *why;
  go_on(task, task->store->conf.disk, run_give_up, given_up);
}

static void sealed(struct work *work, bool cancelled) {
  struct task *task = task_of(work);
  if (cancelled)
    err_set(&task->err, ERR_UNAVAILABLE, "the service is stopping");
  if (cancelled)
    give_up(task, &task->err);
  else if (task->err.code != ERR_NONE)
    task_end(task, &task->err);
  else
    note_sums(task);
}

/* Who waits to change what it was copied from may: the copy is nobody's but ours. */
static void seal(struct task *task) {
  path_turn_end(&task->turn);
  struct err err;
  if (!submit(task, task->store->conf.bulk, run_seal, sealed, &err))
    give_up(task, &err);
}

static void run_keep(struct task *task, enum tree_how how) {
  bool ok = tree_keep(task->store->root, str_of(task->path), str_of(task->to), how, &task->store->interrupted, &task->kept, &task->err);
  if (!ok)
    remove_copy(task);
  ran(task, ok);
}

static void run_copies(struct work *work) {
  run_keep(task_of(work), TREE_COPIES);
}

static void copied(struct work *work, bool cancelled) {
  struct task *task = task_of(work);
  if (step_failed(task, cancelled))
    task_end(task, &task->err);
  else
    seal(task);
}

static void run_links(struct work *work) {
  struct task *task = task_of(work);
  bool is_there, is_dir;
  bool ok = tree_may_delete(task->store->root, str_of(task->to), &is_there, &is_dir, &task->err);
  if (ok && is_there)
    ok = err_set(&task->err, ERR_EXISTS, "there is something at \"%.200s\" already", task->to);
  if (ok)
    run_keep(task, TREE_LINKS);
  else
    ran(task, false);
}

static void linked(struct work *work, bool cancelled) {
  struct task *task = task_of(work);
  if (!cancelled && task->kept.needs_copies)
    go_on(task, task->store->conf.bulk, run_copies, copied);
  else
    copied(work, cancelled);
}

static void start_keeping(void *ctx) {
  struct task *task = ctx;
  go_on(task, task->store->conf.disk, run_links, linked);
}

static void has_turn(void *ctx) {
  struct task *task = ctx;
  if (--task->awaited == 0)
    start_keeping(task);
}

/* Nobody collects what nothing names yet. Both are asked for at once: who waits for one has none that those who came before wait for. */
static bool take_both_turns(struct task *task, struct err *err) {
  if (path_turn_excludes(str_of(task->path), str_of(task->to)))
    return err_set(err, ERR_INVALID, "\"%.200s\" and \"%.200s\" lie in each other", task->path, task->to);
  enum path_turn_when to = take_place(task, &task->to_turn, task->to, has_turn, err);
  enum path_turn_when from = to == PATH_TURN_REFUSED ? to : take_place(task, &task->turn, task->path, has_turn, err);
  task->awaited = (to == PATH_TURN_LATER) + (from == PATH_TURN_LATER);
  if (from != PATH_TURN_REFUSED && !task->awaited)
    begin_soon(task, start_keeping);
  return from != PATH_TURN_REFUSED;
}

bool artifact_may_keep(struct artifact_store *store, struct err *err) {
  return work_has_room(store->conf.bulk, 1, err);
}

bool artifact_keep(struct artifact_store *store, struct str from, struct str to, artifact_tree_fn *done, void *ctx, struct err *err) {
  struct task *task = task_new(store, from, end_kept, ctx, err);
  if (!task)
    return false;
  task->tell.kept = done;
  task->to = mem_strndup(to.p, to.n);
  bool ok = task->to ? take_both_turns(task, err) : err_no_memory(err);
  if (!ok)
    task_free(task);
  return ok;
}

/* ---- digests ---- */

static void run_digest(struct work *work) {
  struct task *task = task_of(work);
  ran(task, tree_digest(task->store->root, str_of(task->path), &task->store->interrupted, &task->tree, NULL, &task->err));
}

bool artifact_digest(struct artifact_store *store, struct str path, artifact_tree_fn *done, void *ctx, struct err *err) {
  struct task *task = task_new(store, path, end_kept, ctx, err);
  if (!task)
    return false;
  task->tell.kept = done;
  return begin(task, store->conf.bulk, run_digest, over, err);
}

static void run_digest_files(struct work *work) {
  struct task *task = task_of(work);
  ran(task, tree_digest(task->store->root, str_of(task->path), &task->store->interrupted, &task->tree, &task->sums, &task->err));
}

/* In its turn, so that who removes it removes the rows, too. */
static void digested(struct work *work, bool cancelled) {
  struct task *task = task_of(work);
  struct err err;
  if (step_failed(task, cancelled))
    task_end(task, &task->err);
  else if (memcmp(task->tree.digest, task->digest, sizeof task->digest) != 0)
    task_end(task, NULL);
  else if (!take_turn(task, note_sums, &err))
    not_noted(task, &err);
}

bool artifact_digest_kept(struct artifact_store *store, struct str path, const uint8_t digest[32], artifact_tree_fn *done, void *ctx,
                          struct err *err) {
  struct task *task = task_new(store, path, end_kept, ctx, err);
  if (!task)
    return false;
  task->tell.kept = done;
  task->only_if_kept = true;
  memcpy(task->digest, digest, sizeof task->digest);
  return begin(task, store->conf.bulk, run_digest_files, digested, err);
}
