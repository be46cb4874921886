#include "sweeper/file/sweep_file.h"

#include <math.h>

#include "base/mem.h"
#include "sampler/lattice.h"
#include "sweeper/file/command.h"
#include "sweeper/file/sweep_import.h"
#include "sweeper/file/sweep_sources.h"
#include "sweeper/file/sweep_table.h"
#include "tracker/names.h"

/* ---- what the table cannot say ---- */

struct check {
  struct sweep_file *file;
  struct spec_problems *errors;
  struct spec_problems *warnings;
};

static const struct ynode *at_key(const struct check *c, const char *path) {
  return ynode_at(c->file->root, str_of(path));
}

#define CHECK_ERROR(c, path, hint, ...) spec_problem_add((c)->errors, at_key((c), (path)), (path), (hint), __VA_ARGS__)
#define CHECK_WARN(c, path, hint, ...) spec_problem_add((c)->warnings, at_key((c), (path)), (path), (hint), __VA_ARGS__)

/* W&B's grammar and our brackets share the name: `s` is W&B's, brackets, or min_iter and max_iter together, are ours. */
static bool is_wandb_hyperband(const struct ynode *rule) {
  const struct ynode *type = ynode_peek(rule, STR("type"));
  if (!type || !ynode_is_scalar(type) || !str_is(type->text, "hyperband") || ynode_peek(rule, STR("brackets")))
    return false;
  return ynode_peek(rule, STR("s")) || !(ynode_peek(rule, STR("min_iter")) && ynode_peek(rule, STR("max_iter")));
}

static bool name_wandb_hyperband(struct arena *arena, const struct ynode *root) {
  struct ynode *rules = ynode_peek(root, STR("early_terminate"));
  if (!rules)
    return true;
  bool list = rules->kind == YN_LIST;
  for (size_t i = 0; i < (list ? rules->count : 1); i++) {
    struct ynode *rule = list ? rules->items[i] : rules;
    if (!is_wandb_hyperband(rule))
      continue;
    struct ynode *type = ynode_peek(rule, STR("type"));
    type->text = STR("wandb_hyperband");
    if (!ynode_peek(rule, STR("step_metric")) && !ynode_put(arena, rule, "step_metric", ynode_new_text(arena, type, STR("report"))))
      return false;
  }
  return true;
}

enum { SPACE_DEPTH_MAX = 16, RECORDED_MAX = 100 };

static bool deeper_than(const struct ynode *node, unsigned levels) {
  if (ynode_is_scalar(node))
    return false;
  if (levels == 0)
    return true;
  for (size_t i = 0; i < node->count; i++)
    if (deeper_than(node->kind == YN_LIST ? node->items[i] : node->pairs[i].value, levels - 1))
      return true;
  return false;
}

/* yes and no are booleans to older YAML readers, W&B's among them, and text here. */
static void warn_of_word(struct check *c, const struct ynode *node) {
  static const char *const words[] = {"yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF"};
  for (size_t i = 0; i < ARRAY_LEN(words) && node->kind == YN_TEXT && !node->quoted; i++)
    if (str_is(node->text, words[i]))
      spec_problem_add(c->warnings, node, "parameters", NULL,
                       "line %u: %s is read as text; write true or false for a boolean, or \"%s\" for text", node->line, words[i],
                       words[i]);
}

static void warn_of_great_number(struct check *c, const struct ynode *node) {
  char read[32];
  if (!ynode_overflows(node))
    return;
  int n = (int)str_from_f64(node->number, read);
  spec_problem_add(c->warnings, node, "parameters", NULL,
                   "line %u: %.*s does not fit in 64 bits and is read as %.*s, no whole number; in quotes it is text as it stands",
                   node->line, STR_ARG(str_slice(node->text, 0, 60)), n, read);
}

/* What is read as something else than it looks like. */
static void warn_of_scalars(struct check *c, const struct ynode *node) {
  for (size_t i = 0; i < node->count && c->warnings->count < SPEC_PROBLEMS_MAX; i++)
    warn_of_scalars(c, node->kind == YN_LIST ? node->items[i] : node->pairs[i].value);
  warn_of_word(c, node);
  warn_of_great_number(c, node);
}

/* `conditions` and friends have a grammar of their own; here only what would otherwise be a puzzling message later. */
static void check_trees(struct check *c) {
  const struct sweep_spec *s = &c->file->spec;
  static const struct {
    const char *key;
    size_t offset;
    const char *example;
  } lists[] = {
      {"conditions", offsetof(struct sweep_spec, conditions), "[{if: {optimizer: sgd}, then: [momentum]}]"},
      {"constraints", offsetof(struct sweep_spec, constraints), "[\"batchsize * epochs <= 4096\"]"},
      {"fixed_first", offsetof(struct sweep_spec, fixed_first), "[{lr: 0.01}]"},
      {"prior", offsetof(struct sweep_spec, prior), NULL},
      {"parameters", offsetof(struct sweep_spec, parameters), NULL},
  };
  for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
    const struct ynode *node = *(const struct ynode *const *)(const void *)((const char *)s + lists[i].offset);
    if (node && deeper_than(node, SPACE_DEPTH_MAX))
      CHECK_ERROR(c, lists[i].key, NULL, "%s is nested deeper than %d levels", lists[i].key, SPACE_DEPTH_MAX);
    if (node && lists[i].example && node->kind != YN_LIST && node->kind != YN_NULL)
      CHECK_ERROR(c, lists[i].key, NULL, "%s must be a list, as in %s", lists[i].key, lists[i].example);
  }
  if (s->parameters && s->parameters->kind != YN_MAP)
    CHECK_ERROR(c, "parameters", NULL, "parameters must be a map of names, not %s", ynode_kind_word(s->parameters));
  else if (s->parameters && s->parameters->count == 0)
    CHECK_ERROR(c, "parameters", NULL, "parameters is empty: there is nothing to search");
  else if (s->parameters && s->parameters->count > SWEEP_PARAMETERS_MAX)
    CHECK_ERROR(c, "parameters", NULL, "there are %zu parameters; at most %d are allowed", s->parameters->count, SWEEP_PARAMETERS_MAX);
  if (s->parameters)
    warn_of_scalars(c, s->parameters);
}

static const char *param_at(const void *ctx, size_t i) {
  return ((const struct ynode *)ctx)->pairs[i].key->text.p;
}

static void check_fixed_first(struct check *c) {
  const struct sweep_spec *s = &c->file->spec;
  if (!s->fixed_first || s->fixed_first->kind != YN_LIST || !s->parameters || s->parameters->kind != YN_MAP)
    return;
  for (size_t i = 0; i < s->fixed_first->count; i++) {
    const struct ynode *point = s->fixed_first->items[i];
    if (point->kind != YN_MAP) {
      spec_problem_add(c->errors, point, "fixed_first", NULL, "a point is a map of parameters, not %s", ynode_kind_word(point));
      continue;
    }
    for (size_t j = 0; j < point->count; j++) {
      const struct ynode *key = point->pairs[j].key;
      if (ynode_peek(s->parameters, key->text))
        continue;
      const char *near = str_nearest(key->text, s->parameters->count, param_at, s->parameters);
      char hint[120] = "";
      if (near)
        snprintf(hint, sizeof hint, "did you mean \"%.80s\"?", near);
      spec_problem_add(c->errors, key, "fixed_first", hint, "\"%.*s\" is no parameter", STR_ARG(key->text));
    }
  }
}

static void check_metric(struct check *c) {
  const struct sweep_spec *s = &c->file->spec;
  bool rules = false;
  for (size_t i = 0; i < s->early_terminate.count; i++) {
    const struct stop_conf *conf = &((const struct stop_conf *)s->early_terminate.items)[i];
    char path[64];
    const struct ynode *node = at_key(c, "early_terminate");
    bool list = node && node->kind == YN_LIST;
    snprintf(path, sizeof path, list ? "early_terminate[%zu]" : "early_terminate", i);
    stop_conf_check(conf, at_key(c, path), path, c->errors);
    rules |= conf->type != STOP_NONE && !conf->metric.p;
  }
  if (s->has_metric)
    return;
  if (s->method == METHOD_BAYES)
    CHECK_ERROR(c, "method", "add metric: {name: …, goal: minimize}", "bayes needs a metric to learn from");
  if (rules)
    CHECK_ERROR(c, "early_terminate", "add metric: {name: …, goal: minimize}, or a metric to the rule",
                "early termination needs a metric to compare");
  if (s->register_model.given)
    CHECK_ERROR(c, "register", NULL, "register needs a metric to know the best trial");
}

static void check_sources(struct check *c) {
  const struct sweep_spec *s = &c->file->spec;
  const struct ynode *node = at_key(c, "metrics_from");
  for (size_t i = 0; i < s->metrics_from.count; i++) {
    char path[64];
    snprintf(path, sizeof path, node && node->kind == YN_LIST ? "metrics_from[%zu]" : "metrics_from", i);
    sweep_source_check(&((struct sweep_metrics_source *)s->metrics_from.items)[i], at_key(c, path), path, c->errors);
  }
}

/* A directory's name means everything in it. */
static void read_artifacts(struct check *c) {
  struct spec_texts *globs = &c->file->spec.artifacts;
  for (size_t i = 0; i < globs->count; i++) {
    struct str glob = path_from_here(globs->items[i]);
    globs->items[i] = globs->items[i].n && !glob.n ? STR("**") : glob;
  }
}

static int method_of(int sampler) {
  switch (sampler) {
  case SAMPLER_GRID:
    return METHOD_GRID;
  case SAMPLER_RANDOM:
  case SAMPLER_SOBOL:
  case SAMPLER_HALTON:
    return METHOD_RANDOM;
  default:
    return METHOD_BAYES;
  }
}

static void check_method(struct check *c) {
  struct sweep_spec *s = &c->file->spec;
  if (!s->has_method) {
    s->method = method_of(s->sampler.type);
    if (s->sampler.type == SAMPLER_AUTO && !s->has_metric)
      s->method = METHOD_RANDOM;
    s->has_method = true;
  }
  if (s->sampler.type == SAMPLER_AUTO) {
    s->sampler.type = s->method == METHOD_GRID ? SAMPLER_GRID : s->method == METHOD_RANDOM ? SAMPLER_RANDOM : SAMPLER_AUTO;
  } else if (s->method != method_of(s->sampler.type)) {
    CHECK_ERROR(c, "sampler", NULL, "method %s and sampler %s do not go together", sweep_methods[s->method],
                sampler_type_name((enum sampler_type)s->sampler.type));
  }
  if (!c->file->is_job && s->method != METHOD_GRID && !s->has_run_cap && !s->has_max_time && !s->has_max_slot_time)
    CHECK_WARN(c, "method", "add run_cap or max_time", "there is no run_cap: the sweep goes on until it is stopped");
}

/* Where trials are stopped few end, and TPE knows soonest what is good by those that run. */
static void settle_imputing(struct sweep_spec *s) {
  const struct stop_conf *rules = s->early_terminate.items;
  bool any = false;
  for (size_t i = 0; i < s->early_terminate.count; i++)
    any |= rules[i].type != STOP_NONE;
  if (any && !s->metric.has_impute_while_running && s->sampler.type == SAMPLER_TPE)
    s->metric.impute_while_running = SUPPOSE_LATEST;
}

static void check_command(struct check *c) {
  struct sweep_spec *s = &c->file->spec;
  static struct str wandb_default[] = {{"${env}", 6}, {"${interpreter}", 14}, {"${program}", 10}, {"${args}", 7}};
  if (!s->has_command && s->program.p) {
    s->command = (struct spec_texts){wandb_default, ARRAY_LEN(wandb_default)};
    s->has_command = true;
  }
  for (size_t i = 0; i < s->command.count; i++)
    if (str_find_str(s->command.items[i], STR("${program}")) != SIZE_MAX && !s->program.p)
      CHECK_ERROR(c, "command", "add program: train.py", "the command uses ${program}, but there is no program");
  if (s->register_model.has_at_least && s->register_model.has_at_most && s->register_model.at_least > s->register_model.at_most)
    CHECK_ERROR(c, "register", NULL, "metric_at_least is above metric_at_most: nothing would be registered");
}

/* A macro is an item of its own; within a longer one it stays as it is, as for W&B. */
static void warn_of_literal_macros(struct check *c) {
  static const char *const names[] = {"${env}", "${interpreter}", "${program}", "${args"};
  const struct spec_texts *command = &c->file->spec.command;
  for (size_t i = 0; i < command->count; i++) {
    struct str item = command->items[i];
    char path[40];
    snprintf(path, sizeof path, "command[%zu]", i);
    for (size_t k = 0; k < ARRAY_LEN(names); k++) {
      size_t at = str_find_str(item, str_of(names[k]));
      if (at != SIZE_MAX && (at > 0 || str_find(item, '}') != item.n - 1))
        CHECK_WARN(c, path, NULL, "%s: \"%.*s\" stays as it is, since a macro must be an item of its own", path,
                   STR_ARG(str_slice(item, 0, 100)));
    }
  }
}

static bool names_parameters(struct str text) {
  return str_find_str(text, STR("{{")) != SIZE_MAX || str_find_str(text, STR("PARAM")) != SIZE_MAX ||
         str_find_str(text, STR("${args")) != SIZE_MAX;
}

/* Then all trials are alike, unless the job looks into its environment. */
static void warn_of_unused_parameters(struct check *c) {
  const struct sweep_spec *s = &c->file->spec;
  bool named = c->file->is_job || !s->has_command || s->command.count == 0;
  for (size_t i = 0; i < s->command.count; i++)
    named |= names_parameters(s->command.items[i]);
  for (size_t i = 0; i < s->env.count; i++)
    named |= names_parameters(s->env.items[i].value);
  if (!named)
    CHECK_WARN(c, "command", NULL,
               "command: no parameter is in it; a job finds them in WINNOW_PARAMS and PARAM_..., or add \"${args}\" or \"{{name}}\"");
}

/* Macros and {{names}}, where they stand. */
static bool check_macros(struct check *c) {
  const struct sweep_spec *s = &c->file->spec;
  AUTO_JSON json_t *parameters = NULL;
  struct err err = {0};
  if (c->errors->count)
    return true;
  if (!ynode_to_json(s->parameters, &parameters, &err))
    return false;
  for (size_t i = 0; i < s->command.count; i++) {
    char path[40];
    snprintf(path, sizeof path, "command[%zu]", i);
    if (!command_check_item(s->command.items[i], parameters, &err))
      CHECK_ERROR(c, path, err.hint, "%s", err.text);
  }
  warn_of_literal_macros(c);
  warn_of_unused_parameters(c);
  for (size_t i = 0; i < s->env.count; i++)
    if (!command_check_item(s->env.items[i].value, parameters, &err))
      CHECK_ERROR(c, "env", err.hint, "%.*s: %s", STR_ARG(s->env.items[i].name), err.text);
  return true;
}

/* The first thing in quotes of the sampler's complaint is the path of what is wrong. */
static bool space_problem(void *ctx, const struct err *error) {
  struct check *c = ctx;
  char path[sizeof error->text] = "parameters";
  const char *open = strchr(error->text, '"');
  const char *close = open ? strchr(open + 1, '"') : NULL;
  if (close && close > open + 1)
    snprintf(path, sizeof path, "%.*s", (int)(close - open - 1), open + 1);
  CHECK_ERROR(c, path, error->hint, "%s", error->text);
  return c->errors->count < SPEC_PROBLEMS_MAX;
}

/* Also where there are other mistakes, as long as the space can be looked at by itself. */
static bool tell_space_mistakes(struct check *c) {
  const struct sweep_spec *s = &c->file->spec;
  AUTO_JSON json_t *json = NULL;
  struct err err;
  if (!s->parameters || s->parameters->kind != YN_MAP || !s->parameters->count || deeper_than(s->parameters, SPACE_DEPTH_MAX))
    return true; /* which is told */
  if (!sweep_file_space(c->file, &json, &err))
    return false;
  space_mistakes(json_object_get(json, "parameters"), NULL, NULL, space_problem, c);
  return true;
}

static void check_constraints(struct check *c) {
  const struct sweep_spec *s = &c->file->spec;
  bool has_points = s->fixed_first && s->fixed_first->kind == YN_LIST && s->fixed_first->count; /* they are looked at by themselves */
  if (has_points || sampler_may_have_point(c->file->space, (enum sampler_type)s->sampler.type))
    return;
  const char *hint = space_size(c->file->space) ? NULL : "should there be one, name it in fixed_first: others are looked for near it";
  CHECK_ERROR(c, s->constraints->count == 1 ? "constraints[0]" : "constraints", hint,
              "no point of the space was found that satisfies the constraints");
}

static void warn_of_probabilities(struct check *c) {
  for (size_t i = 0; i < space_count(c->file->space); i++) {
    const struct param *param = space_param(c->file->space, i);
    char path[SPACE_NAME_MAX + 16];
    snprintf(path, sizeof path, "parameters.%s", param->name);
    if (param->upto)
      CHECK_WARN(c, path, NULL, "%s: grid search takes each value once, whatever its probability", path);
  }
}

static void warn_of_steps(struct check *c) {
  for (size_t i = 0; i < space_count(c->file->space); i++) {
    const struct param *param = space_param(c->file->space, i);
    char path[SPACE_NAME_MAX + 16], last[32];
    if (!param->stops_short)
      continue;
    snprintf(path, sizeof path, "parameters.%s", param->name);
    str_from_f64(param->dist.hi, last);
    CHECK_WARN(c, path, NULL, "%s: no step from \"min\" meets \"max\"; the last value is %s", param->name, last);
  }
}

/* Bounds of log_uniform are exponents, which are seldom meant to be so close to 0: exp(0.0001) is 1.0001. */
static void warn_of_exponents(struct check *c, const struct ynode *parameters, const char *path) {
  static const char *const forms[] = {"log_uniform", "q_log_uniform", "inv_log_uniform"};
  for (size_t i = 0; i < parameters->count && parameters->kind == YN_MAP; i++) {
    const struct ynode *value = parameters->pairs[i].value, *nested = ynode_peek(value, STR("parameters"));
    const struct ynode *form = ynode_peek(value, STR("distribution")), *low = ynode_peek(value, STR("min")),
                       *high = ynode_peek(value, STR("max"));
    double min, max;
    const char *name = arena_printf(&c->file->arena, "%s.%s", path, parameters->pairs[i].key->text.p);
    if (nested && name)
      warn_of_exponents(c, nested, name);
    if (!name || !form || !low || !high || !ynode_number(low, &min) || !ynode_number(high, &max) || !(min > 0 && min <= 0.1))
      continue;
    for (size_t k = 0; k < ARRAY_LEN(forms); k++)
      if (str_is(form->text, forms[k]))
        CHECK_WARN(c, name, NULL, "%s: bounds of %s are exponents, so values lie between %.5g and %.5g; for %.5g to %.5g write %s_values",
                   name, forms[k], exp(k == 2 ? -max : min), exp(k == 2 ? -min : max), min, max, forms[k]);
  }
}

/* The sampler speaks of "params.lr". False: no memory. */
static bool check_point(struct check *c, size_t i, const struct ynode *node) {
  double point[SPACE_PARAMS_MAX];
  AUTO_JSON json_t *json = NULL;
  struct err err = {0};
  if (!ynode_to_json(node, &json, &err))
    return false;
  if (space_point_from_json(c->file->space, json, SPACE_SOME, point, &err))
    return true;
  char path[sizeof err.text + 40];
  const char *below = strstr(err.text, "\"params");
  below = below ? below + strlen("\"params") : "";
  snprintf(path, sizeof path, "fixed_first[%zu]%.*s", i, (int)strcspn(below, "\""), below);
  CHECK_ERROR(c, path, err.hint, "fixed_first[%zu]: %s", i, err.text);
  return err.code != ERR_NO_MEMORY;
}

static bool check_points(struct check *c) {
  const struct ynode *points = c->file->spec.fixed_first;
  for (size_t i = 0; points && points->kind == YN_LIST && i < points->count; i++)
    if (!check_point(c, i, points->items[i]))
      return false;
  return true;
}

static bool check_space(struct check *c) {
  struct lattice grid;
  AUTO_JSON json_t *json = NULL;
  struct err err = {0};
  if (c->errors->count)
    return tell_space_mistakes(c);
  if (!sweep_file_space(c->file, &json, &err))
    return false;
  const json_t *parameters = json_object_get(json, "parameters"), *conditions = json_object_get(json, "conditions"),
               *constraints = json_object_get(json, "constraints");
  if (!space_new(parameters, conditions, constraints, &c->file->space, &err)) {
    if (err.code != ERR_NO_MEMORY)
      space_mistakes(parameters, conditions, constraints, space_problem, c);
    return err.code != ERR_NO_MEMORY;
  }
  if (c->file->spec.sampler.type == SAMPLER_GRID && !lattice_init(&grid, c->file->space, LATTICE_GRID, &err))
    return err.code != ERR_NO_MEMORY && (space_problem(c, &err), true);
  if (c->file->spec.sampler.type == SAMPLER_GRID)
    warn_of_probabilities(c);
  check_constraints(c);
  warn_of_steps(c);
  warn_of_exponents(c, c->file->spec.parameters, "parameters");
  return check_points(c);
}

static bool env_name_ok(struct str name) {
  if (!name.n || isdigit((unsigned char)name.p[0]))
    return false;
  for (size_t i = 0; i < name.n; i++)
    if (!isalnum((unsigned char)name.p[i]) && name.p[i] != '_')
      return false;
  return true;
}

static void check_env(struct check *c) {
  const struct sweep_spec *s = &c->file->spec;
  for (size_t i = 0; i < s->env.count; i++)
    if (!env_name_ok(s->env.items[i].name))
      CHECK_ERROR(c, "env", NULL, "\"%.*s\" cannot be the name of a variable", STR_ARG(str_slice(s->env.items[i].name, 0, 60)));
  for (size_t i = 0; i < s->inherit_env.count; i++)
    if (!env_name_ok(s->inherit_env.items[i]))
      CHECK_ERROR(c, "inherit_env", NULL, "\"%.*s\" cannot be the name of a variable", STR_ARG(str_slice(s->inherit_env.items[i], 0, 60)));
}

/* "dir/mnist.yaml" names the sweep "mnist". */
static struct str stem(const char *name) {
  const char *slash = strrchr(name, '/');
  struct str base = str_of(slash ? slash + 1 : name);
  size_t dot = base.n;
  while (dot > 1 && base.p[dot - 1] != '.')
    dot--;
  if (dot > 1)
    base = str_slice(base, 0, dot - 1);
  return str_slice(base, 0, SWEEP_NAME_MAX);
}

static bool fill_names(struct sweep_file *file, const char *name) {
  struct sweep_spec *s = &file->spec;
  if (!s->name.p) {
    struct str base = name[0] ? stem(name) : s->experiment.p ? s->experiment : STR("sweep");
    char *copy = arena_strdup(&file->arena, base.n ? base : STR("sweep"));
    if (!copy)
      return false;
    s->name = str_of(copy);
  }
  if (!s->experiment.p)
    s->experiment = s->name;
  return true;
}

/* ---- reading ---- */

/* W&B's Launch has a scheduler too, a job of its own that says how many trials run at once: only Python code of the user's is refused. */
static const struct ynode *scheduler_of_code(const struct ynode *root) {
  static const char *const keys[] = {"engine", "source", "optimizer", "search_space"};
  const struct ynode *scheduler = ynode_peek(root, STR("scheduler"));
  bool launch = scheduler && (scheduler->kind == YN_NULL || scheduler->kind == YN_MAP);
  const struct ynode *job = launch ? ynode_peek(scheduler, STR("job")) : NULL;
  if (job && !(ynode_is_scalar(job) && str_find_str(job->text, STR("/job-wandb-sweep-scheduler")) != SIZE_MAX)) /* theirs does as we do */
    launch = false;
  for (size_t i = 0; launch && i < ARRAY_LEN(keys); i++)
    launch = !ynode_peek(scheduler, str_of(keys[i]));
  return launch ? NULL : scheduler;
}

static void read_workers(struct check *c) {
  struct sweep_spec *s = &c->file->spec;
  const struct ynode *scheduler = ynode_peek(c->file->root, STR("scheduler"));
  const struct ynode *workers = scheduler ? ynode_peek(scheduler, STR("num_workers")) : NULL;
  int64_t count = 0;
  if (!workers || workers->kind == YN_NULL)
    return;
  if (!ynode_is_scalar(workers) || !str_to_i64(workers->text, &count) || count < 1 || count > SWEEP_PARALLEL_MAX) {
    CHECK_ERROR(c, "scheduler.num_workers", NULL, "\"scheduler.num_workers\" must be a whole number from 1 to %d", SWEEP_PARALLEL_MAX);
  } else if (!s->has_max_parallel) {
    s->max_parallel = count;
    s->has_max_parallel = true;
  }
}

static bool no_custom_method(const struct ynode *root, struct spec_problems *errors) {
  const struct ynode *method = ynode_peek(root, STR("method"));
  const struct ynode *scheduler = scheduler_of_code(root);
  const struct ynode *metrics = ynode_peek(root, STR("metrics"));
  bool custom = method && ynode_is_scalar(method) && str_is(method->text, "custom");
  if (!custom && !scheduler && metrics && metrics->kind != YN_LIST)
    return true; /* another word for metric */
  if (custom || scheduler || metrics)
    spec_problem_add(errors,
                     custom      ? method
                     : scheduler ? scheduler
                                 : metrics,
                     custom      ? "method"
                     : scheduler ? "scheduler"
                                 : "metrics",
                     "use method: bayes with sampler: tpe, gp or cmaes",
                     custom || scheduler ? "a custom scheduler is Python code that would run inside the service; this is not done here"
                                         : "there is one metric to optimise; several objectives are not supported");
  return errors->count == 0;
}

/* Who names a sampler as the method means that one. */
static void tell_sampler(const struct ynode *root, struct spec_problems *errors) {
  const struct ynode *method = ynode_peek(root, STR("method"));
  enum sampler_type type;
  char hint[80];
  if (!method || !ynode_is_scalar(method) || !sampler_type_of(method->text, &type))
    return;
  snprintf(hint, sizeof hint, type == SAMPLER_AUTO ? "leave method out, which means that" : "write sampler: %s in place of it",
           sampler_type_name(type));
  const char *copy = arena_strdup(errors->arena, str_of(hint));
  for (size_t i = 0; copy && i < MIN_OF(errors->count, (size_t)SPEC_PROBLEMS_MAX); i++)
    if (strcmp(errors->items[i].path, "method") == 0)
      errors->items[i].hint = copy;
}

static bool read_spec(struct sweep_file *file, const char *name, struct spec_problems *errors) {
  struct spec_reader reader = {&file->arena, errors, &file->warnings};
  if (!no_custom_method(file->root, errors))
    return true;
  if (!name_wandb_hyperband(&file->arena, file->root))
    return false;
  spec_read(&reader, &sweep_table, file->root, "", &file->spec);
  tell_sampler(file->root, errors);
  struct check c = {file, errors, &file->warnings};
  if (errors->count || errors->no_memory)
    return !errors->no_memory && tell_space_mistakes(&c) && !errors->no_memory;
  struct sweep_spec *s = &file->spec;
  if (!s->has_args_style)
    s->args_style = file->format == FORMAT_WANDB ? ARGS_PYTHON : ARGS_JSON;
  s->has_args_style = true;
  check_method(&c);
  settle_imputing(s);
  check_trees(&c);
  check_fixed_first(&c);
  check_metric(&c);
  check_sources(&c);
  read_artifacts(&c);
  read_workers(&c);
  check_command(&c);
  check_env(&c);
  if (!check_macros(&c) || !check_space(&c))
    return false;
  return fill_names(file, name) && !errors->no_memory && !file->warnings.no_memory;
}

/* A job is a sweep of one trial with nothing to search: a space wants a parameter, and nobody is shown this one. */
static bool complete_job(struct sweep_file *file, struct ynode *root) {
  struct arena *arena = &file->arena;
  struct ynode *space = ynode_new_map(arena, root), *hidden = ynode_new_map(arena, root);
  struct ynode *zero = ynode_new_int(arena, root, 0), *one = ynode_new_int(arena, root, 1);
  return space && hidden && zero && one && ynode_put(arena, hidden, "value", zero) && ynode_put(arena, space, JOB_PARAMETER, hidden) &&
         (ynode_peek(root, STR("parameters")) || ynode_put(arena, root, "parameters", space)) &&
         (ynode_peek(root, STR("run_cap")) || ynode_put(arena, root, "run_cap", one));
}

static bool read_into(struct sweep_file *file, struct str text, const char *name, struct spec_problems *errors, struct err *err) {
  struct ynode *root;
  struct yaml_place place;
  if (text.n > SWEEP_FILE_BYTES_MAX)
    return err_set(err, ERR_TOO_LARGE, "a sweep file has at most %d bytes", SWEEP_FILE_BYTES_MAX);
  if (!yaml_read(text, &file->arena, &root, &place, err)) {
    if (err->code != ERR_INVALID)
      return false;
    struct ynode at = {.line = place.line, .column = place.column};
    spec_problem_add(errors, &at, "", NULL, "%s", err->text);
    return false;
  }
  if (root->kind != YN_MAP) {
    spec_problem_add(errors, root, "", NULL, root->kind == YN_NULL ? "the file is empty" : "a sweep file is a map of keys");
    return false;
  }
  if (file->is_job && !complete_job(file, root))
    return err_no_memory(err);
  file->format = file->is_job ? FORMAT_WINNOW : sweep_import_format(root);
  if (file->format != FORMAT_WINNOW) {
    if (!sweep_import(file->format, &file->arena, root, &root, errors, &file->warnings))
      return errors->count ? false : err_no_memory(err);
  } else if (!file->is_job && !spec_beyond_wandb(&sweep_table, root)) {
    file->format = FORMAT_WANDB;
  }
  file->root = root;
  if (errors->count)
    return false;
  if (!read_spec(file, name, errors))
    return err_no_memory(err);
  return errors->count == 0;
}

bool sweep_file_place(const struct sweep_file *file, struct err *err) {
  const struct ynode *node = err->path[0] && !file->is_job ? ynode_at(file->root, str_of(err->path)) : file->root;
  if (node != file->root) {
    err->line = node->line;
    err->column = node->column;
  }
  return false;
}

bool sweep_file_fail_placed(const char *name, struct err *err) {
  struct err found = *err;
  struct spec_problem problem = {.path = found.path, .line = found.line, .column = found.column, .message = found.text, .hint = found.hint};
  return found.line && spec_problem_fail(name, &problem, err);
}

static bool read_file(struct str text, const char *name, bool is_job, struct arena *arena, struct sweep_file **ret,
                      struct spec_problems *errors, struct err *err) {
  struct err local;
  err = err ? err : &local;
  memset(errors, 0, sizeof *errors);
  errors->arena = arena;
  struct sweep_file *file = mem_zalloc(sizeof *file);
  if (!file)
    return err_no_memory(err);
  arena_init(&file->arena, 256 * MIB);
  file->warnings.arena = &file->arena;
  file->is_job = is_job;
  bool ok = read_into(file, text, name, errors, err);
  spec_problems_sort(errors);
  if (!ok && errors->no_memory)
    err_no_memory(err);
  else if (!ok && errors->count)
    spec_problem_fail(name, &errors->items[0], err);
  if (!ok) {
    sweep_file_free(file);
    return false;
  }
  *ret = file;
  return true;
}

bool sweep_file_read(struct str text, const char *name, struct arena *arena, struct sweep_file **ret, struct spec_problems *errors,
                     struct err *err) {
  return read_file(text, name, false, arena, ret, errors, err);
}

/* A space that any version can read, with the metric of `normal` (NULL: none) and what belongs to it. */
static bool read_metric(const json_t *normal, struct arena *arena, struct sweep_file **ret, struct err *err) {
  AUTO_JSON json_t *file = json_pack("{s:s, s:{s:{s:i}}, s:O*, s:O*}", "method", "random", "parameters", JOB_PARAMETER, "value", 0,
                                     "metric", json_object_get(normal, "metric"), "on_nan", json_object_get(normal, "on_nan"));
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  struct spec_problems errors;
  struct json_writer w;
  if (!file)
    return err_no_memory(err);
  jw_init(&w, &text);
  jw_json(&w, file);
  return buf_ok(&text, err) && sweep_file_read(buf_str(&text), "", arena, ret, &errors, err);
}

bool sweep_file_read_stored(struct str normal, struct arena *arena, struct sweep_file **ret, struct err *err) {
  AUTO_JSON json_t *json = NULL;
  struct spec_problems errors;
  struct err ignored;
  if (sweep_file_read(normal, "", arena, ret, &errors, err))
    return true;
  if (err->code != ERR_INVALID)
    return false;
  return (json_read(normal, &json, &ignored) && read_metric(json, arena, ret, err)) || read_metric(NULL, arena, ret, err);
}

bool sweep_file_read_job(struct str text, struct arena *arena, struct sweep_file **ret, struct spec_problems *errors, struct err *err) {
  return read_file(text, "", true, arena, ret, errors, err);
}

void sweep_file_free(struct sweep_file *file) {
  if (!file)
    return;
  space_free(file->space);
  arena_release(&file->arena);
  mem_free(file);
}

/* ---- what the submission adds ---- */

bool sweep_file_set_code(struct sweep_file *file, const char *sha256, struct err *err) {
  const char *text = arena_printf(&file->arena, "sha256:%s", sha256);
  if (!text)
    return err_no_memory(err);
  file->spec.workdir = str_of(text);
  return true;
}

static bool record_one(struct sweep_file *file, const char *key, const json_t *value, struct spec_pair *ret, struct err *err) {
  struct str text = json_str(value);
  if (!env_name_ok(str_of(key)) || !text.p || text.n > COMMAND_ITEM_MAX)
    return err_set(err, ERR_INVALID, "\"%.60s\" of the recorded environment is no variable", key);
  const char *name = arena_strdup(&file->arena, str_of(key)), *copy = arena_strdup(&file->arena, text);
  *ret = (struct spec_pair){str_of(name), str_n(copy, text.n)};
  return (name && copy) || err_no_memory(err);
}

bool sweep_file_record_env(struct sweep_file *file, const json_t *env, struct err *err) {
  const char *key;
  json_t *value, *walk = (json_t *)(uintptr_t)env; /* jansson's iterators want a mutable object, but change nothing */
  size_t count = 0, size = json_object_size(env);
  struct spec_pair *items = ARENA_NEW_ARRAY(&file->arena, struct spec_pair, size + 1);
  if (!items)
    return err_no_memory(err);
  if (size > RECORDED_MAX)
    return err_set(err, ERR_INVALID, "more than %d variables are recorded", RECORDED_MAX);
  json_object_foreach(walk, key, value) {
    if (!record_one(file, key, value, &items[count++], err))
      return false;
  }
  file->spec.recorded_env = (struct spec_pairs){items, count};
  return true;
}

/* ---- giving it back ---- */

bool sweep_file_normal_form(const struct sweep_file *file, struct buf *out, struct err *err) {
  struct json_writer w;
  jw_init(&w, out);
  spec_write(&sweep_table, &file->spec, &w);
  return buf_ok(out, err);
}

bool sweep_file_space(const struct sweep_file *file, json_t **ret, struct err *err) {
  const struct sweep_spec *s = &file->spec;
  const struct {
    const char *key;
    const struct ynode *node;
  } parts[] = {{"parameters", s->parameters}, {"conditions", s->conditions}, {"constraints", s->constraints}};
  AUTO_JSON json_t *space = json_object();
  for (size_t i = 0; space && i < ARRAY_LEN(parts); i++) {
    json_t *part;
    if (!parts[i].node || parts[i].node->kind == YN_NULL)
      continue;
    if (!ynode_to_json(parts[i].node, &part, err) || json_object_set_new(space, parts[i].key, part) != 0)
      return err_no_memory(err);
  }
  if (!space)
    return err_no_memory(err);
  *ret = json_incref(space);
  return true;
}

struct stop_goal sweep_file_goal(const struct sweep_file *file) {
  const struct sweep_metric *metric = &file->spec.metric;
  return (struct stop_goal){.metric = metric->name, .aliases = metric->aliases, .maximize = metric->goal == GOAL_MAXIMIZE};
}

bool sweep_file_schema(struct buf *out, struct err *err) {
  AUTO_BUF struct buf body = BUF_INIT(MIB);
  struct json_writer w;
  jw_init(&w, &body);
  spec_schema(&sweep_table, &w);
  if (!buf_ok(&body, err))
    return false;
  buf_puts(out, "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"title\":\"Winnow sweep\",");
  buf_add_str(out, str_slice(buf_str(&body), 1, body.n));
  return buf_ok(out, err);
}
