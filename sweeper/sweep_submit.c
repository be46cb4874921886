/* From a sweep file to a sweep that lives: what is refused, what a dry run shows, how it is made. */
#include "base/mem.h"
#include "sampler/lattice.h"
#include "sweeper/file/command.h"
#include "sweeper/file/sweep_sources.h"
#include "sweeper/jobs/jobs.h"
#include "sweeper/machine/code_store.h"
#include "sweeper/machine/snapshot.h"
#include "sweeper/prior.h"
#include "sweeper/sweeps_inside.h"
#include "tracker/names.h"

enum { NORMAL_MAX = 4 * 1024 * 1024, PREVIEW_MAX = 3 * NORMAL_MAX };

static bool refuse(const struct sweep_file *file, const char *key, const char *why, struct err *err) {
  err_set(err, ERR_UNSUPPORTED, "\"%s\" is not supported yet: %s", key, why);
  err_at(err, key, 0, 0);
  return sweep_file_place(file, err);
}

static void warn(struct sweep_file *file, const char *path, const char *text) {
  spec_problem_add(&file->warnings, NULL, path, NULL, "%s: %s", path, text);
}

static bool is_recorded(const struct sweep_spec *spec, struct str name) {
  for (size_t i = 0; i < spec->recorded_env.count; i++)
    if (str_eq(spec->recorded_env.items[i].name, name))
      return true;
  return false;
}

/* A variable that nobody has is missed in the job, and there only. */
static void warn_of_the_unset(struct sweep_file *file) {
  for (size_t i = 0; i < file->spec.inherit_env.count; i++) {
    struct str name = file->spec.inherit_env.items[i];
    const char *key = arena_strdup(&file->arena, name);
    if (!key || is_recorded(&file->spec, name) || (getenv(key) && command_inherits(name, &file->spec.inherit_env)))
      continue;
    const char *text = arena_printf(&file->arena, "\"%s\" is set neither where this was submitted nor for the service", key);
    if (text)
      warn(file, "inherit_env", text);
  }
}

/* What tells a job who it is cannot be said otherwise. */
static void warn_of_what_is_ours(struct sweep_file *file) {
  for (size_t i = 0; i < file->spec.env.count; i++) {
    struct str name = file->spec.env.items[i].name;
    const char *text =
        command_keeps(name) ? arena_printf(&file->arena, "\"%.*s\" is not used: the job is told its own", STR_ARG(name)) : NULL;
    if (text)
      warn(file, "env", text);
  }
}

static bool check_register(const struct sweep_spec *spec, struct err *err) {
  struct str path;
  if (!spec->register_model.given)
    return true;
  bool named = logged_model_name_check(spec->register_model.model, err);
  if (named && artifact_below_check(path_from_here(spec->register_model.path), &path, err))
    return true;
  if (named)
    err_hint(err, "path names an artifact of the trial, such as outputs/model; \".\" is all of them");
  return err_prefix(err, "register") || err_at(err, "register", 0, 0);
}

static bool check_prior(const struct sweep_spec *spec, struct err *err) {
  return prior_check(spec, err) || err_at(err, "prior", 0, 0);
}

static bool check_artifacts(const struct sweep_spec *spec, struct err *err) {
  for (size_t i = 0; i < spec->artifacts.count; i++)
    if (sweep_source_leads_out(spec->artifacts.items[i])) {
      err_set(err, ERR_INVALID, "\"artifacts\" are globs below the attempt's directory, not \"%.*s\"",
              STR_ARG(str_slice(spec->artifacts.items[i], 0, 100)));
      return err_at(err, "artifacts", 0, 0);
    }
  return true;
}

/* Every cell is a trial, so that nobody means many millions of them. */
static bool check_grid(const struct sweep_file *file, struct err *err) {
  const struct sweep_spec *spec = &file->spec;
  struct lattice grid;
  if (!file->space || spec->sampler.type != SAMPLER_GRID || spec->has_run_cap || spec->has_max_time || spec->has_max_slot_time)
    return true;
  if (!lattice_init(&grid, file->space, LATTICE_GRID, err))
    return false;
  if (grid.size <= LATTICE_COUNT_MAX)
    return true;
  err_set(err, ERR_INVALID, "the grid has %llu cells", (unsigned long long)grid.size);
  err_hint(err, "add run_cap, max_time or max_slot_time, or take fewer values");
  return err_at(err, "parameters", 0, 0);
}

/* Is a directory of this machine to be copied? Then `out` is it. */
static bool is_to_copy(const struct sweep_spec *spec, struct str directory, struct buf *out) {
  char ignored[DIGEST_HEX + 1];
  return spec->has_command && spec->workdir_mode == WORKDIR_COPY && !code_digest_read(spec->workdir, ignored) &&
         jobs_origin(spec, directory, out);
}

static bool check_workdir(struct sweeps *s, const struct sweep_spec *spec, struct str directory, struct err *err) {
  AUTO_BUF struct buf origin = BUF_INIT(8192);
  char sha256[DIGEST_HEX + 1];
  bool is_code = code_digest_read(spec->workdir, sha256);
  if (is_code && spec->workdir_mode == WORKDIR_INPLACE)
    return err_set(err, ERR_INVALID, "\"workdir\" is a snapshot, in which nothing runs in place");
  if (is_code && !code_has(s->conf.code, sha256)) {
    err_set(err, ERR_NOT_FOUND, "there is no snapshot sha256:%s", sha256);
    return err_hint(err, "PUT /api/v1/code/%s first; winnow sweep create does", sha256);
  }
  bool known = jobs_origin(spec, directory, &origin);
  if (!known && !is_code && spec->workdir.n && !str_is(spec->workdir, ".")) {
    err_set(err, ERR_INVALID, "\"workdir\" is not absolute, and it is not known where it begins");
    err_at(err, "workdir", 0, 0);
    return err_hint(err, "give an absolute path, or submit with winnow sweep create");
  }
  if (!known && spec->workdir_mode == WORKDIR_INPLACE) {
    err_set(err, ERR_INVALID, "\"workdir_mode\" is inplace, and no directory is known");
    return err_hint(err, "give an absolute \"workdir\", or submit with winnow sweep create");
  }
  if (!known && spec->links.count)
    return err_set(err, ERR_INVALID, "\"links\" lead to a directory, and none is known");
  for (size_t i = 0; i < spec->links.count; i++)
    if (!snapshot_link_ok(spec->links.items[i])) {
      err_set(err, ERR_INVALID, "\"links\" are paths within the directory, not \"%.*s\"", STR_ARG(str_slice(spec->links.items[i], 0, 100)));
      return err_at(err, "links", 0, 0);
    }
  return true;
}

/* A path of the directory, as far as it can be told from here. */
static bool is_script(struct str word) {
  static const char *const ends[] = {".py", ".sh", ".R", ".jl"};
  bool is_plain = word.n && word.p[0] != '/' && word.p[0] != '~' && str_find(word, '{') == SIZE_MAX && str_find(word, '$') == SIZE_MAX;
  for (size_t i = 0; is_plain && i < ARRAY_LEN(ends); i++)
    if (str_ends(word, str_of(ends[i])))
      return true;
  return false;
}

/* What the command runs: the program, or a script at its beginning ("python3 train.py"); none: it is not known. */
static struct str program_of(const struct sweep_spec *spec, const char **ret_key) {
  *ret_key = "program";
  for (size_t i = 0; i < spec->command.count; i++)
    if (str_find_str(spec->command.items[i], STR("${program}")) != SIZE_MAX)
      return spec->program.n && spec->program.p[0] != '/' ? spec->program : STR_NONE;
  *ret_key = "command";
  for (size_t i = 0; i < MIN_OF(spec->command.count, (size_t)2); i++)
    if (is_script(spec->command.items[i]))
      return spec->command.items[i];
  return STR_NONE;
}

bool sweeps_check_place(struct sweep_file *file, struct str directory, struct err *err) {
  const struct sweep_spec *spec = &file->spec;
  char ignored[DIGEST_HEX + 1];
  AUTO_BUF struct buf origin = BUF_INIT(8192), program = BUF_INIT(16 * KIB);
  if (!spec->has_command || code_digest_read(spec->workdir, ignored) || !jobs_origin(spec, directory, &origin))
    return true;
  struct snapshot_source source = {.directory = buf_text(&origin), .links = spec->links.items, .link_count = spec->links.count};
  if (!buf_ok(&origin, err) || !snapshot_check(&source, err))
    return sweep_file_place(file, err);
  const char *key;
  struct str name = program_of(spec, &key);
  buf_printf(&program, "%s/%.*s", buf_text(&origin), STR_ARG(name));
  if (name.n && buf_ok(&program, NULL) && access(buf_text(&program), F_OK) != 0)
    spec_problem_add(&file->warnings, ynode_at(file->root, str_of(key)), key, NULL, "%s: there is no %s", key, buf_text(&program));
  return true;
}

bool sweeps_check(struct sweeps *s, struct sweep_file *file, struct str directory, struct err *err) {
  const struct sweep_spec *spec = &file->spec;
  warn_of_the_unset(file);
  warn_of_what_is_ours(file);
  if (spec->executor != EXECUTOR_LOCAL)
    return refuse(file, "executor", "jobs run on this machine only", err);
  if (!check_register(spec, err) || !check_prior(spec, err) || !check_artifacts(spec, err) || !check_grid(file, err))
    return sweep_file_place(file, err);
  if (spec->prior && spec->prior->kind != YN_NULL && !prior_is_used(spec))
    warn(file, "prior", "not used: this sampler does not learn from results");
  if (!spec->has_command)
    return true;
  if ((uint32_t)spec->resources.slots > s->conf.slots) {
    err_set(err, ERR_INVALID, "%s wants %lld slots, and there are %u", file->is_job ? "the run" : "a trial",
            (long long)spec->resources.slots, s->conf.slots);
    err_at(err, "resources.slots", 0, 0);
    return sweep_file_place(file, err);
  }
  return check_workdir(s, spec, directory, err) || sweep_file_place(file, err);
}

/* Who is shown them waits, and all others with him: what constraints hide so well that it is not found soon is not shown. */
static bool suggest_soon(const struct live_sweep *live, uint32_t n, double *point, struct suggestion *ret, struct err *err) {
  struct sampler_job *job;
  unsigned runs = 0;
  if (!sampler_start(live->sampler, n, &job, err))
    return false;
  while (!sampler_job_settle(live->sampler, job)) {
    if (runs++ == LIVE_PREVIEW_RUNS_MOST) {
      sampler_job_drop(job);
      return err_set(err, ERR_LIMIT, "no point was found soon that the constraints allow");
    }
    sampler_job_run(job);
  }
  return sampler_finish(live->sampler, job, point, ret, err);
}

static bool put_points(const struct live_sweep *live, struct json_writer *w, json_t **ret_first, struct err *err) {
  double point[SPACE_PARAMS_MAX];
  sampler_follow(live->sampler); /* what it starts from */
  for (uint32_t n = 0; n < LIVE_PREVIEW_POINTS; n++) {
    struct suggestion suggestion;
    bool found = suggest_soon(live, n, point, &suggestion, err);
    if (!found && err->code != ERR_LIMIT)
      return false;
    if (!found || suggestion.kind == SUGGESTION_NONE_LEFT)
      return n > 0 || err_set(err, ERR_INVALID, "no point of the space was found that satisfies the constraints");
    AUTO_JSON json_t *params = space_point_to_json(live->space, point);
    if (!params || !history_add(live->history, n, point, NULL, err))
      return params ? false : err_no_memory(err);
    jw_json(w, params);
    if (n == 0)
      *ret_first = json_incref(params);
  }
  return true;
}

static void put_command(const struct sweep_file *file, const json_t *params, struct json_writer *w) {
  AUTO_ARENA struct arena arena = ARENA_INIT(4 * MIB);
  struct spec_texts argv;
  struct err ignored; /* no command, or it cannot be built from this point: then there is none to show */
  jw_key(w, "command");
  if (!file->spec.has_command || !params || !jobs_command(file, params, &arena, &argv, &ignored)) {
    jw_null(w);
    return;
  }
  jw_array(w);
  for (size_t i = 0; i < argv.count; i++)
    jw_str(w, argv.items[i]);
  jw_array_end(w);
}

/* One that has no end is shown by its beginning. */
static void put_ladder(const struct sweep_file *file, struct json_writer *w) {
  const struct stop_conf *rules = file->spec.early_terminate.items;
  double rungs[64];
  jw_key(w, "rungs");
  jw_array(w);
  for (size_t i = 0; i < file->spec.early_terminate.count; i++) {
    size_t n = stop_ladder(&rules[i], 0, rungs, ARRAY_LEN(rungs));
    for (size_t k = 0; k < n && (rules[i].has_max_iter || k < LIVE_PREVIEW_RUNGS); k++)
      jw_f64(w, rungs[k]);
  }
  jw_array_end(w);
}

static struct sweep_file *read_again(const struct sweep_file *file, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(NORMAL_MAX);
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct spec_problems errors;
  struct sweep_file *copy;
  bool ok = sweep_file_normal_form(file, &text, err) && (file->is_job ? sweep_file_read_job(buf_str(&text), &arena, &copy, &errors, err)
                                                                      : sweep_file_read(buf_str(&text), "", &arena, &copy, &errors, err));
  return ok ? copy : NULL;
}

static int64_t seed_of(struct sweeps *s, const struct sweep_file *file) {
  return file->spec.sampler.has_seed ? file->spec.sampler.seed : (int64_t)(rng_u64(&s->conf.rng) >> 33);
}

struct making {
  struct sweeps *all;
  struct live_sweep *live;
  struct sweep_file *file; /* until there is a sweep */
  char *source, *directory, *by;
  bool single;
  struct id run;
  int64_t experiment_id;
  struct live_about about;
  sweeps_made_fn *done;
  void *ctx;
};

static void making_free(struct making *making) {
  sweep_file_free(making->file);
  mem_free(making->source);
  mem_free(making->directory);
  mem_free(making->by);
  live_about_release(&making->about);
  mem_free(making);
}

static void made(void *ctx, const struct err *err) {
  struct making *making = ctx;
  making->done(making->ctx, err ? NULL : making->live, err);
  making_free(making);
}

/* The sweep of a single run is durable, so its one trial can be made; the caller hears of it when that is durable too. */
static void begin_single(void *ctx, const struct err *failed) {
  struct making *making = ctx;
  struct live_trial *trial = NULL;
  struct err err;
  AUTO_JSON json_t *point = json_pack("{si}", JOB_PARAMETER, 0);
  bool ok = !failed;
  if (failed)
    err = *failed;
  ok = ok && (point ? live_enqueue(making->live, point, STR_NONE, &trial, &err) : err_no_memory(&err)) &&
       sweeps_wait(making->live, trial, made, making, &err);
  if (!ok)
    made(making, &err);
}

static void not_made(struct making *making, const struct err *err) {
  making->done(making->ctx, NULL, err);
  live_free(making->live);
  making_free(making);
}

static bool is_launched(const struct sweeps *s, struct id run) {
  LIST_EACH(&s->sweeps, node)
  if (id_eq(LIST_ENTRY(node, struct live_sweep, node)->id, run))
    return true;
  return false;
}

static void on_experiment(void *ctx, const struct pg_reply *reply) {
  struct making *making = ctx;
  struct sweeps *s = making->all;
  struct live_sweep *live = making->live;
  struct err err;
  if (!pg_ok(reply, &err) || !sweeps_ready(s, &err)) {
    not_made(making, &err);
    return;
  }
  if (!pg_rows(reply) || pg_bool(reply, 0, 1)) {
    err_set(&err, pg_rows(reply) ? ERR_WRONG_STATE : ERR_NOT_FOUND,
            pg_rows(reply) ? "the experiment is deleted" : "there is no such experiment");
    err_hint(&err, pg_rows(reply) ? "restore it, or name another one" : "winnow experiment ls lists them");
    not_made(making, &err);
    return;
  }
  live->experiment_id = pg_int(reply, 0, 0);
  bool ok = !making->single || !is_launched(s, live->id) || err_set(&err, ERR_EXISTS, "this run was launched already");
  if (!ok || !sweeps_list(s, live, &err)) {
    not_made(making, &err);
    return;
  }
  if (!making->single) /* the experiment may have gone there meanwhile */
    (void)!sweeps_look_into_trash(s, STR_NONE, NULL, NULL, &err);
  if (!sweeps_wait(live, NULL, making->single ? begin_single : made, making, &err)) { /* it is there all the same, and will be stored */
    making->done(making->ctx, NULL, &err);
    making_free(making);
  }
  sweeps_kick(s);
}

static bool ask_experiment(struct making *making, struct err *err) {
  const struct live_sweep *live = making->live;
  const struct sweep_spec *spec = &live->file->spec;
  bool by_id = making->single && making->experiment_id >= 0;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, by_id ? STMT_SWEEP_EXPERIMENT_BY_ID : STMT_EXPERIMENT_ENSURE);
  if (by_id) {
    pg_put_int(&args, making->experiment_id);
  } else {
    pg_put_text(&args, spec->experiment.n ? spec->experiment : str_of(live->name));
    pg_put_text(&args, str_of(making->all->conf.artifact_root));
    pg_put_int(&args, live->created);
  }
  return pg_run(making->all->conf.pg, &args, 0, on_experiment, making, err);
}

static void on_prior(void *ctx, const struct err *failed) {
  struct making *making = ctx;
  struct err err;
  if (failed || !ask_experiment(making, &err))
    not_made(making, failed ? failed : &err);
}

/* What it starts from is gathered before it is there. */
static bool begin(struct making *making, struct err *err) {
  return prior_is_used(&making->live->file->spec) ? prior_gather(making->live, on_prior, making, err) : ask_experiment(making, err);
}

/* ---- a dry run: all of it but the making ---- */

struct previewing {
  struct work work;
  struct sweeps *all;
  struct live_sweep *live; /* in no list, so a thread may think of its points */
  struct buf json;
  struct err err;
  sweeps_text_fn *done;
  void *ctx;
};

static void end_preview(struct previewing *p, const struct err *err) {
  p->done(p->ctx, err ? STR_NONE : buf_str(&p->json), err);
  buf_release(&p->json);
  live_free(p->live);
  mem_free(p);
}

static void put_preview(struct previewing *p) {
  const struct live_sweep *live = p->live;
  AUTO_BUF struct buf normal = BUF_INIT(NORMAL_MAX);
  AUTO_JSON json_t *first = NULL;
  struct json_writer w;
  bool ok = sweep_file_normal_form(live->file, &normal, &p->err);
  jw_init(&w, &p->json);
  jw_object(&w);
  jw_key(&w, "spec");
  jw_raw(&w, buf_str(&normal));
  jw_put_i64(&w, "cells", (int64_t)sampler_cells(live->sampler));
  put_ladder(live->file, &w);
  jw_key(&w, "points");
  jw_array(&w);
  ok = ok && put_points(live, &w, &first, &p->err);
  jw_array_end(&w);
  put_command(live->file, first, &w);
  jw_key(&w, "warnings");
  jw_array(&w);
  live_put_warnings(live, &w);
  jw_array_end(&w);
  jw_object_end(&w);
  if (ok && buf_ok(&p->json, &p->err))
    p->err.code = ERR_NONE;
}

static void run_preview(struct work *work) {
  put_preview(CONTAINER_OF(work, struct previewing, work));
}

static void on_previewed(struct work *work, bool cancelled) {
  struct previewing *p = CONTAINER_OF(work, struct previewing, work);
  if (cancelled)
    err_set(&p->err, ERR_UNAVAILABLE, "the service is stopping");
  end_preview(p, p->err.code == ERR_NONE ? NULL : &p->err);
}

static void on_preview_prior(void *ctx, const struct err *failed) {
  struct previewing *p = ctx;
  struct err err;
  p->work = (struct work){.run = run_preview, .done = on_previewed};
  if (failed || !work_submit(p->all->conf.work, &p->work, &err))
    end_preview(p, failed ? failed : &err);
}

static bool begin_preview(struct previewing *p, struct err *err) {
  if (prior_is_used(&p->live->file->spec))
    return prior_gather(p->live, on_preview_prior, p, err);
  p->work = (struct work){.run = run_preview, .done = on_previewed};
  return work_submit(p->all->conf.work, &p->work, err);
}

bool sweeps_preview(struct sweeps *s, const struct sweep_file *file, sweeps_text_fn *done, void *ctx, struct err *err) {
  struct previewing *p = mem_zalloc(sizeof *p);
  if (!p)
    return err_no_memory(err);
  *p = (struct previewing){.all = s, .json = BUF_INIT(PREVIEW_MAX), .err = {.code = ERR_INTERNAL}, .done = done, .ctx = ctx};
  struct sweep_file *copy = read_again(file, err);
  bool ok = copy && live_new(s, copy, (struct id){{0}}, seed_of(s, file), NULL, &p->live, err) &&
            live_take_file_warnings(p->live, file, err) && begin_preview(p, err);
  if (ok)
    return true;
  live_free(p->live);
  mem_free(p);
  return false;
}

/* The sweep, as it will be read again after a restart. Leaves `making` whole when it fails. */
static bool make_live(struct making *making, struct err *err) {
  struct sweeps *s = making->all;
  AUTO_BUF struct buf normal = BUF_INIT(NORMAL_MAX);
  struct sweep_file *copy = NULL;
  struct live_sweep *live;
  if (!sweep_file_normal_form(making->file, &normal, err) || !(copy = read_again(making->file, err)) ||
      !live_new(s, copy, making->single ? making->run : id_new(s->conf.clock, &s->conf.rng), seed_of(s, making->file), NULL, &live, err))
    return false;
  making->live = live;
  live->single = making->single;
  live->about = making->about;
  making->about = (struct live_about){0};
  live->created = live_wall(s);
  live->by = making->by;
  making->by = NULL;
  live->source = mem_strdup(making->source);
  live->directory = mem_strdup(making->directory);
  live->normal = mem_strdup(buf_text(&normal));
  /* those of the file as it was sent */
  bool ok = live->source && live->directory && live->normal ? live_take_file_warnings(live, making->file, err) : err_no_memory(err);
  if (ok && begin(making, err))
    return true;
  live_free(live);
  making->live = NULL;
  return false;
}

/* The directory is copied; from here on it is where links lead to, and nothing more. */
static void on_taken(void *ctx, const char *sha256, const struct err *failed) {
  struct making *making = ctx;
  AUTO_BUF struct buf origin = BUF_INIT(8192);
  struct err err;
  if (failed) {
    not_made(making, failed);
    return;
  }
  jobs_origin(&making->file->spec, str_of(making->directory), &origin);
  mem_free(making->directory);
  making->directory = mem_strdup(buf_text(&origin));
  bool ok = making->directory || err_no_memory(&err);
  if (!ok || !sweeps_ready(making->all, &err) || !sweep_file_set_code(making->file, sha256, &err) || !make_live(making, &err))
    not_made(making, &err);
}

static bool begin_making(struct making *making, struct err *err) {
  const struct sweep_spec *spec = &making->file->spec;
  AUTO_BUF struct buf origin = BUF_INIT(8192);
  if (!is_to_copy(spec, str_of(making->directory), &origin))
    return make_live(making, err);
  struct snapshot_source source = {
      .directory = buf_text(&origin), .links = spec->links.items, .link_count = spec->links.count, .max = spec->workdir_max};
  return buf_ok(&origin, err) && code_take(making->all->conf.code, &source, on_taken, making, err);
}

static char *copy_text(struct str text) {
  return mem_strndup(text.n ? text.p : "", text.n);
}

static bool copy_about(struct live_about *about, const struct sweeps_new *what) {
  *about = (struct live_about){copy_text(what->command), copy_text(what->params), copy_text(what->tags)};
  return about->command && about->params && about->tags;
}

bool sweeps_create(struct sweeps *s, struct sweep_file *file, const struct sweeps_new *what, sweeps_made_fn *done, void *ctx,
                   struct err *err) {
  struct making *making = mem_zalloc(sizeof *making);
  if (!making)
    return err_no_memory(err);
  *making = (struct making){.all = s,
                            .file = file,
                            .source = copy_text(what->source),
                            .directory = copy_text(what->directory),
                            .by = copy_text(what->actor),
                            .single = what->single,
                            .run = what->run,
                            .experiment_id = what->experiment_id,
                            .done = done,
                            .ctx = ctx};
  bool ok = making->source && making->directory && making->by && (!what->single || copy_about(&making->about, what));
  if (ok ? begin_making(making, err) : err_no_memory(err))
    return true;
  making->file = NULL; /* the caller's again */
  making_free(making);
  return false;
}
