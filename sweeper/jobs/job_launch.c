/* What an attempt is started with: its command, its environment, the files of its parameters. */
#include "base/mem.h"
#include "sweeper/file/command.h"
#include "sweeper/jobs/jobs.h"
#include "sweeper/live/live.h"
#include "sweeper/machine/exec_local.h"

enum { HEARTBEAT_MS = 5000, PATH_SIZE = 4096, COMMAND_KEPT_MAX = 16 * 1024 };

extern char **environ;

/* The parameters as files, in the attempt's directory. */
#define PARAMS_JSON "params.json"
#define PARAMS_WANDB "params.yaml"

static struct str pair_value(const struct spec_pairs *pairs, const char *name) {
  for (size_t i = 0; i < pairs->count; i++)
    if (str_is(pairs->items[i].name, name))
      return pairs->items[i].value;
  return STR_NONE;
}

/* The PATH the job will have. */
static struct str path_of(const struct sweep_spec *spec) {
  struct str path = pair_value(&spec->env, "PATH");
  if (!path.p)
    path = pair_value(&spec->recorded_env, "PATH");
  return path.p ? path : str_of(getenv("PATH"));
}

static bool is_found(struct str path, const char *program) {
  struct str part;
  char file[PATH_SIZE];
  while (path.p && str_split(&path, ':', &part)) {
    int n = snprintf(file, sizeof file, "%.*s/%s", STR_ARG(part), program);
    if (part.n && n < (int)sizeof file && access(file, X_OK) == 0)
      return true;
  }
  return false;
}

/* "python" means python3 where only that exists. */
static struct str interpreter(const struct sweep_spec *spec) {
  struct str path = path_of(spec);
  return !is_found(path, "python") && is_found(path, "python3") ? STR("python3") : STR("python");
}

static bool build_command(const struct sweep_spec *spec, const struct command_point *point, struct arena *arena, struct spec_texts *ret,
                          struct err *err) {
  if (!command_build(&spec->command, point, arena, ret, err))
    return false;
  if (ret->count && str_is(ret->items[0], "python"))
    ret->items[0] = point->interpreter;
  return true;
}

/* As it is shown: whoever may read it need not know the service's environment, so ${envvar:NAME} is the name. */
static bool shown_command(const struct sweep_spec *spec, const json_t *params, struct str json_file, struct arena *arena,
                          struct spec_texts *ret, struct err *err) {
  struct command_point point = {
      .params = params, .program = spec->program, .interpreter = interpreter(spec), .json_file = json_file, .style = spec->args_style};
  return build_command(spec, &point, arena, ret, err);
}

bool jobs_command(const struct sweep_file *file, const json_t *params, struct arena *arena, struct spec_texts *ret, struct err *err) {
  return shown_command(&file->spec, params, STR(PARAMS_JSON) /* the place differs from run to run */, arena, ret, err);
}

/* Of a trial; that of a launched run stands in its row. It only tells, so a long one is left out, as without memory: those of all that run
 * go into one statement at worst. */
void job_keep_command(struct live_trial *trial, uint32_t attempt, const json_t *params) {
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  AUTO_BUF struct buf json_file = BUF_INIT(PATH_SIZE), text = BUF_INIT(COMMAND_KEPT_MAX);
  struct spec_texts argv;
  struct json_writer w;
  struct err ignored;
  exec_local_path(trial->sweep->all->executor, trial->run, (int32_t)attempt, PARAMS_JSON, &json_file);
  if (trial->sweep->single || !shown_command(&trial->sweep->file->spec, params, buf_str(&json_file), &arena, &argv, &ignored))
    return;
  jw_init(&w, &text);
  jw_array(&w);
  for (size_t i = 0; i < argv.count; i++)
    jw_str(&w, argv.items[i]);
  jw_array_end(&w);
  mem_free(trial->course->command);
  trial->course->command = text.fail ? NULL : mem_strndup(text.p, text.n);
}

static bool own_environment(struct arena *arena, struct spec_pairs *ret, struct err *err) {
  size_t count = 0;
  while (environ[count])
    count++;
  ret->items = ARENA_NEW_ARRAY(arena, struct spec_pair, count + 1);
  ret->count = 0;
  if (!ret->items)
    return err_no_memory(err);
  for (size_t i = 0; i < count; i++) {
    struct str whole = str_of(environ[i]);
    size_t at = str_find(whole, '=');
    if (at != SIZE_MAX && at > 0)
      ret->items[ret->count++] = (struct spec_pair){str_slice(whole, 0, at), str_slice(whole, at + 1, whole.n)};
  }
  return true;
}

struct start {
  struct live_trial *trial;
  struct arena *arena;
  uint32_t attempt;
  char token[128], run_id[ID_HEX_LEN + 1], sweep_id[ID_HEX_LEN + 1], experiment[24];
  struct buf checkpoint, work, params_json, params_wandb; /* paths */
  struct spec_texts argv;
  struct spec_pairs env;
};

/* A single run that names no experiment is in the default one, or in one given by its number: that says it. */
static struct str experiment_name(const struct live_sweep *live) {
  const struct sweep_spec *spec = &live->file->spec;
  return live->single && str_eq(spec->experiment, spec->name) ? STR_NONE : spec->experiment;
}

static bool build_environment(struct start *start, const json_t *params, struct err *err) {
  struct live_sweep *live = start->trial->sweep;
  const struct sweep_spec *spec = &live->file->spec;
  struct spec_pairs inherited;
  if (!own_environment(start->arena, &inherited, err))
    return false;
  struct command_point point = {.params = params,
                                .program = spec->program,
                                .interpreter = interpreter(spec),
                                .json_file = buf_str(&start->params_json),
                                .variables = &inherited,
                                .style = spec->args_style};
  struct spec_pairs devices;
  if (!job_gpus_variables(start->trial, start->arena, &devices, err))
    return false;
  struct command_job job = {.url = str_of(live->all->conf.url),
                            .devices = &devices,
                            .token = str_of(start->token),
                            .run_id = str_of(start->run_id),
                            .sweep_id = live->single ? STR_NONE : str_of(start->sweep_id),
                            .trial = start->trial->number,
                            .attempt = start->attempt,
                            .experiment_id = str_of(start->experiment),
                            .experiment_name = experiment_name(live),
                            .checkpoint_dir = buf_str(&start->checkpoint),
                            .wandb_file = buf_str(&start->params_wandb),
                            .inherited = &inherited,
                            .inherit_also = &spec->inherit_env,
                            .recorded = &spec->recorded_env,
                            .user = &spec->env};
  return build_command(spec, &point, start->arena, &start->argv, err) && command_environment(&job, &point, start->arena, &start->env, err);
}

/* Where the command runs: in the attempt's own directory, or in the one that is used in place. */
static const char *directory_of(const struct start *start) {
  const struct live_sweep *live = start->trial->sweep;
  AUTO_BUF struct buf path = BUF_INIT(PATH_SIZE);
  if (jobs_has_copy(live) || !jobs_origin(&live->file->spec, str_of(live->directory), &path))
    return buf_text(&start->work);
  return path.fail ? NULL : arena_strdup(start->arena, buf_str(&path));
}

static char **strings(struct arena *arena, const struct spec_texts *texts) {
  char **items = ARENA_NEW_ARRAY(arena, char *, texts->count + 1);
  for (size_t i = 0; items && i < texts->count; i++)
    if (!(items[i] = arena_strdup(arena, texts->items[i])))
      return NULL;
  return items;
}

static char **pairs(struct start *start) {
  char **env = ARENA_NEW_ARRAY(start->arena, char *, start->env.count + 1);
  for (size_t i = 0; env && i < start->env.count; i++)
    if (!(env[i] = arena_printf(start->arena, "%.*s=%.*s", STR_ARG(start->env.items[i].name), STR_ARG(start->env.items[i].value))))
      return NULL;
  return env;
}

static bool put_params(const struct start *start, const char *name, void (*write)(const json_t *params, struct buf *out),
                       const json_t *params, struct err *err) {
  const struct live_trial *trial = start->trial;
  AUTO_BUF struct buf text = BUF_INIT(COMMAND_TOTAL_MAX);
  write(params, &text);
  return buf_ok(&text, err) && exec_local_put(trial->sweep->all->executor, trial->run, (int32_t)start->attempt, name, buf_str(&text), err);
}

/* Most commands take their parameters otherwise. */
static bool names_json_file(const struct start *start) {
  for (size_t i = 0; i < start->argv.count; i++)
    if (str_eq(start->argv.items[i], buf_str(&start->params_json)))
      return true;
  return false;
}

static bool put_param_files(const struct start *start, const json_t *params, struct err *err) {
  return start->trial->sweep->single || ((!names_json_file(start) || put_params(start, PARAMS_JSON, command_json, params, err)) &&
                                         put_params(start, PARAMS_WANDB, command_wandb_file, params, err));
}

static bool start_job(struct start *start, struct err *err) {
  struct live_trial *trial = start->trial;
  struct live_sweep *live = trial->sweep;
  const struct sweep_spec *spec = &live->file->spec;
  struct sweeps *s = live->all;
  AUTO_JSON json_t *params = live_params(trial);
  id_format(trial->run, start->run_id);
  id_format(live->id, start->sweep_id);
  snprintf(start->experiment, sizeof start->experiment, "%lld", (long long)live->experiment_id);
  s->conf.make_token(s->conf.token_ctx, trial->run, (int32_t)start->attempt, start->token);
  exec_local_path(s->executor, trial->run, (int32_t)start->attempt, "checkpoint", &start->checkpoint);
  exec_local_path(s->executor, trial->run, (int32_t)start->attempt, "work", &start->work);
  exec_local_path(s->executor, trial->run, (int32_t)start->attempt, PARAMS_JSON, &start->params_json);
  exec_local_path(s->executor, trial->run, (int32_t)start->attempt, PARAMS_WANDB, &start->params_wandb);
  if (!params)
    return err_no_memory(err);
  job_keep_command(trial, start->attempt, params);
  if (!buf_ok(&start->checkpoint, err) || !buf_ok(&start->work, err) || !buf_ok(&start->params_json, err) ||
      !buf_ok(&start->params_wandb, err) || !build_environment(start, params, err) || !put_param_files(start, params, err))
    return false;
  struct job_file job = {.run_id = trial->run,
                         .sweep_id = live->id,
                         .slots = MAX_OF(live->conf.slots, 1u),
                         .attempt = start->attempt,
                         .token = start->token,
                         .cwd = directory_of(start),
                         .stop_grace_ms = spec->stop_grace,
                         .time_limit_ms = spec->resources.has_time ? spec->resources.time : 0,
                         .memory_limit = spec->resources.has_memory ? (int64_t)spec->resources.memory : 0,
                         .spool_max = (int64_t)spec->log_spool_max,
                         .spool_policy = spec->log_policy,
                         .heartbeat_ms = HEARTBEAT_MS,
                         .tty = spec->tty,
                         .argv = strings(start->arena, &start->argv),
                         .argc = start->argv.count,
                         .env = pairs(start),
                         .env_count = start->env.count};
  job.artifacts = strings(start->arena, &spec->artifacts);
  job.artifact_count = spec->artifacts.count;
  if (!job.argv || !job.env || !job.cwd || !job.artifacts)
    return err_no_memory(err);
  return jobs_metric_files(live, start->arena, &job, err) && job_gpus_note(trial, (int32_t)start->attempt, err) &&
         exec_local_start(s->executor, &job, err);
}

bool job_launch(struct live_trial *trial, uint32_t attempt, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct start start = {.trial = trial,
                        .arena = &arena,
                        .attempt = attempt,
                        .checkpoint = BUF_INIT(PATH_SIZE),
                        .work = BUF_INIT(PATH_SIZE),
                        .params_json = BUF_INIT(PATH_SIZE),
                        .params_wandb = BUF_INIT(PATH_SIZE)};
  bool ok = start_job(&start, err);
  mem_wipe(start.token, sizeof start.token);
  buf_release(&start.checkpoint);
  buf_release(&start.work);
  buf_release(&start.params_json);
  buf_release(&start.params_wandb);
  return ok;
}
