/* The directory of an attempt, before its companion is started: empty, a copy of the snapshot made on a thread, or none of its own. */
#include "base/mem.h"
#include "sweeper/jobs/jobs.h"
#include "sweeper/live/live.h"
#include "sweeper/machine/code_store.h"
#include "sweeper/machine/exec_local.h"

enum { PATH_SIZE = 4096 };

bool jobs_has_copy(const struct live_sweep *live) {
  char ignored[DIGEST_HEX + 1];
  return code_digest_read(live->file->spec.workdir, ignored);
}

bool jobs_origin(const struct sweep_spec *spec, struct str directory, struct buf *out) {
  struct str workdir = spec->workdir;
  char ignored[DIGEST_HEX + 1];
  bool here = !workdir.n || str_is(workdir, ".") || code_digest_read(workdir, ignored), absolute = !here && workdir.p[0] == '/';
  if (!absolute && !directory.n)
    return false;
  if (!absolute)
    buf_add_str(out, directory);
  if (!here)
    buf_printf(out, "%s%.*s", absolute ? "" : "/", STR_ARG(workdir));
  return true;
}

struct job_making {
  struct work work;
  struct sweeps *all;
  struct id run;
  uint32_t attempt;
  char *code, *origin;
  struct arena arena;
  struct exec_tree tree;
  struct err err;
  bool ok;
};

static void making_free(struct job_making *making) {
  arena_release(&making->arena);
  mem_free(making);
}

static void run_making(struct work *work) {
  struct job_making *making = CONTAINER_OF(work, struct job_making, work);
  making->ok = exec_local_make(making->all->executor, making->run, (int32_t)making->attempt, &making->tree, &making->err);
}

static void made(struct work *work, bool cancelled) {
  struct job_making *making = CONTAINER_OF(work, struct job_making, work);
  struct live_trial *trial = sweeps_trial(making->all, making->run);
  bool wanted = trial && live_course(trial)->making == making; /* else it is gone, or another attempt is being made */
  if (wanted)
    trial->course->making = NULL;
  /* When the service is stopping nothing is started any more: the next one makes it anew. */
  if (wanted && !cancelled && !making->all->stopping)
    jobs_made(trial, making->attempt, making->ok ? NULL : &making->err);
  making_free(making);
}

/* The texts of the sweep are copied: it may go while the thread works. */
static bool fill_tree(struct job_making *making, const struct live_sweep *live, struct err *err) {
  const struct sweep_spec *spec = &live->file->spec;
  char sha256[DIGEST_HEX + 1];
  AUTO_BUF struct buf path = BUF_INIT(PATH_SIZE);
  if (!code_digest_read(spec->workdir, sha256) || !code_has(live->all->conf.code, sha256)) {
    err_set(err, ERR_NOT_FOUND, "the snapshot %.*s is not there any more", STR_ARG(str_slice(spec->workdir, 0, 80)));
    return err_hint(err, "submit the sweep again with winnow sweep create");
  }
  code_path(live->all->conf.code, sha256, &path);
  struct str *links = ARENA_NEW_ARRAY(&making->arena, struct str, spec->links.count + 1);
  making->tree = (struct exec_tree){.code = arena_strdup(&making->arena, buf_str(&path)),
                                    .origin = arena_strdup(&making->arena, str_of(live->directory)),
                                    .links = links,
                                    .link_count = spec->links.count};
  for (size_t i = 0; links && i < spec->links.count; i++)
    links[i] = str_of(arena_strdup(&making->arena, snapshot_path_plain(spec->links.items[i])));
  return (links && making->tree.code && making->tree.origin && !path.fail) || err_no_memory(err);
}

bool jobs_make(struct live_trial *trial, uint32_t attempt, struct err *err) {
  struct live_sweep *live = trial->sweep;
  struct sweeps *s = live->all;
  if (!jobs_has_copy(live)) {
    AUTO_BUF struct buf place = BUF_INIT(PATH_SIZE);
    const struct exec_tree empty = {.code = NULL};
    bool in_place = jobs_origin(&live->file->spec, str_of(live->directory), &place);
    if (!exec_local_make(s->executor, trial->run, (int32_t)attempt, in_place ? NULL : &empty, err))
      return false;
    jobs_made(trial, attempt, NULL);
    return true;
  }
  struct job_making *making = mem_zalloc(sizeof *making);
  if (!making)
    return err_no_memory(err);
  *making = (struct job_making){
      .work = {.run = run_making, .done = made}, .all = s, .run = trial->run, .attempt = attempt, .arena = ARENA_INIT(MIB)};
  if (fill_tree(making, live, err) && work_submit(s->conf.work, &making->work, err)) {
    trial->course->making = making;
    return true;
  }
  making_free(making);
  return false;
}
