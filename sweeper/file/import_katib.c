/* kubeflow.org/v1beta1 Experiments. All numbers in them are strings. */
#include <math.h>

#include "sweeper/file/import.h"

/* ---- objective ---- */

static void katib_objective(struct import *im, const struct ynode *objective, const struct ynode *spec) {
  const struct ynode *name = ynode_get(objective, "objectiveMetricName");
  const struct ynode *type = ynode_get(objective, "type");
  if (!name || !type) {
    spec_problem_add(im->errors, objective ? objective : spec, "spec.objective", NULL, "spec.objective needs type and objectiveMetricName");
    return;
  }
  struct ynode *metric = import_map(im, objective);
  import_put(im, metric, "name", ynode_new_text(im->arena, name, import_text(name)));
  import_put(im, metric, "goal", ynode_new_text(im->arena, type, import_text(type)));
  bool maximize = str_is(import_text(type), "maximize");
  const struct ynode *goal = ynode_get(objective, "goal");
  double target;
  if (goal && import_number(im, goal, "spec.objective.goal", &target))
    import_put_number(im, metric, "target", goal, target);

  const char *use = "best";
  const struct ynode *strategies = ynode_get(objective, "metricStrategies");
  for (size_t i = 0; strategies && strategies->kind == YN_LIST && i < strategies->count; i++) {
    const struct ynode *strategy = strategies->items[i];
    const struct ynode *value = ynode_get(strategy, "value");
    if (!str_eq(import_text(ynode_get(strategy, "name")), import_text(name)) || !value)
      continue;
    struct str word = import_text(value);
    if (str_is(word, "latest"))
      use = "last";
    else if (str_is(word, maximize ? "min" : "max"))
      spec_problem_add(im->errors, value, "spec.objective.metricStrategies", NULL, "the worst value of a trial cannot be its value here");
  }
  import_put_text(im, metric, "use", objective, use);
  import_put(im, im->out, "metric", metric);
}

/* ---- algorithm ---- */

static const struct {
  const char *name;
  const char *method;
  const char *sampler; /* NULL: refused, and `why` says so */
  const char *why;
} algorithms[] = {
    {"random", "random", "random", NULL},
    {"grid", "grid", "grid", NULL},
    {"tpe", "bayes", "tpe", NULL},
    {"multivariate-tpe", "bayes", "tpe", NULL},
    {"bayesianoptimization", "bayes", "gp", NULL},
    {"cmaes", "bayes", "cmaes", NULL},
    {"sobol", "random", "sobol", NULL},
    {"hyperband", NULL, NULL,
     "Katib's hyperband runs every configuration anew with a larger resource; here early_terminate: asha stops trials instead"},
    {"pbt", NULL, NULL, "population based training is not supported"},
    {"enas", NULL, NULL, "architecture search is not supported"},
    {"darts", NULL, NULL, "architecture search is not supported"},
};

static void katib_settings(struct import *im, const struct ynode *settings, struct ynode *sampler) {
  static const struct {
    const char *theirs, *ours;
  } known[] = {{"random_state", "seed"},
               {"seed", "seed"},
               {"n_startup_trials", "n_startup"},
               {"n_initial_points", "n_startup"},
               {"n_ei_candidates", "n_candidates"}};
  for (size_t i = 0; settings && settings->kind == YN_LIST && i < settings->count; i++) {
    const struct ynode *name = ynode_get(settings->items[i], "name");
    const struct ynode *value = ynode_get(settings->items[i], "value");
    int64_t number;
    size_t k = 0;
    while (k < ARRAY_LEN(known) && !str_is(import_text(name), known[k].theirs))
      k++;
    if (k == ARRAY_LEN(known))
      spec_problem_add(im->warnings, settings->items[i], "spec.algorithm.algorithmSettings", NULL, "the setting \"%.*s\" is not used",
                       STR_ARG(import_text(name)));
    else if (import_int(im, value, "spec.algorithm.algorithmSettings", &number))
      import_put_int(im, sampler, known[k].ours, value, number);
  }
}

static void katib_algorithm(struct import *im, const struct ynode *algorithm, const struct ynode *spec) {
  const struct ynode *name = ynode_get(algorithm, "algorithmName");
  for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
    if (!str_is(import_text(name), algorithms[i].name))
      continue;
    if (!algorithms[i].sampler) {
      spec_problem_add(im->errors, name, "spec.algorithm.algorithmName", NULL, "%s", algorithms[i].why);
      return;
    }
    struct ynode *sampler = import_map(im, algorithm);
    import_put_text(im, sampler, "type", name, algorithms[i].sampler);
    katib_settings(im, ynode_get(algorithm, "algorithmSettings"), sampler);
    import_put_text(im, im->out, "method", name, algorithms[i].method);
    import_put(im, im->out, "sampler", sampler);
    return;
  }
  spec_problem_add(im->errors,
                   name        ? name
                   : algorithm ? algorithm
                               : spec,
                   "spec.algorithm.algorithmName", NULL, "the algorithm \"%.*s\" is not known", STR_ARG(import_text(name)));
}

static void katib_early_stopping(struct import *im, const struct ynode *stopping) {
  if (!stopping)
    return;
  const struct ynode *name = ynode_get(stopping, "algorithmName");
  if (!str_is(import_text(name), "medianstop")) {
    spec_problem_add(im->errors, name ? name : stopping, "spec.earlyStopping", NULL, "only medianstop is known");
    return;
  }
  int64_t trials = 3, start = 4;
  const struct ynode *settings = ynode_get(stopping, "algorithmSettings");
  for (size_t i = 0; settings && settings->kind == YN_LIST && i < settings->count; i++) {
    struct str setting = import_text(ynode_get(settings->items[i], "name"));
    const struct ynode *value = ynode_get(settings->items[i], "value");
    if (str_is(setting, "min_trials_required") && !import_int(im, value, "spec.earlyStopping.algorithmSettings", &trials))
      return;
    if (str_is(setting, "start_step") && !import_int(im, value, "spec.earlyStopping.algorithmSettings", &start))
      return;
  }
  struct ynode *rule = import_map(im, stopping);
  import_put_text(im, rule, "type", stopping, "median");
  import_put_int(im, rule, "min_trials", stopping, trials);
  import_put_int(im, rule, "min_iter", stopping, start);
  import_put_text(im, rule, "step_metric", stopping, "report");
  import_put(im, im->out, "early_terminate", rule);
  spec_problem_add(im->warnings, stopping, "spec.earlyStopping", NULL,
                   "medianstop becomes our median rule: it compares at every report, not with the first ones only");
}

/* ---- parameters ---- */

/* A number as the bounds of its parameter are written: whole, or with a fraction so that it stays a float. */
static void put_bound(struct import *im, struct ynode *out, const char *key, const struct ynode *at, double value, bool whole) {
  import_put(im, out, key, whole ? import_whole(im, at, value) : ynode_new_number(im->arena, at, value));
}

/* Katib's own reading of a normal: the range is six sigma wide. */
static void katib_normal(struct import *im, const struct ynode *space, struct ynode *out, double min, double max, bool logarithm,
                         bool whole, const char *path) {
  if (logarithm && !(min > 0)) {
    spec_problem_add(im->errors, space, path, NULL, "logNormal needs min above 0");
    return;
  }
  double low = logarithm ? log(min) : min, high = logarithm ? log(max) : max;
  const char *name = logarithm ? (whole ? "q_log_normal" : "log_normal") : whole ? "q_normal" : "normal";
  import_put_text(im, out, "distribution", space, name);
  import_put_number(im, out, "mu", space, (low + high) / 2);
  import_put_number(im, out, "sigma", space, (high - low) / 6);
}

static void katib_range(struct import *im, const struct ynode *space, struct ynode *out, bool whole, const char *path) {
  double min, max, step;
  const struct ynode *low = ynode_get(space, "min"), *high = ynode_get(space, "max"), *step_node = ynode_get(space, "step");
  struct str distribution = import_text(ynode_get(space, "distribution"));
  bool log_uniform = str_is(distribution, "logUniform"), log_normal = str_is(distribution, "logNormal");
  if (!import_number(im, low, path, &min) || !import_number(im, high, path, &max))
    return;
  if (log_normal || str_is(distribution, "normal"))
    katib_normal(im, space, out, min, max, log_normal, whole, path);
  else if (log_uniform)
    import_put(im, out, "log", ynode_new_plain(im->arena, space, STR("true")));
  bool plain = !out->count; /* evenly spread, where a step has a meaning */
  put_bound(im, out, "min", low, whole ? ceil(min) : min, whole);
  put_bound(im, out, "max", high, whole ? floor(max) : max, whole);
  if (step_node && plain && import_number(im, step_node, path, &step))
    put_bound(im, out, "step", step_node, step, whole && step == floor(step));
  else if (step_node && !plain)
    spec_problem_add(im->warnings, step_node, path, NULL, "step is used with a uniform distribution only");
}

static void katib_list(struct import *im, const struct ynode *space, struct ynode *out, bool numbers, const char *path) {
  const struct ynode *list = ynode_get(space, "list");
  if (!list || list->kind != YN_LIST || !list->count) {
    spec_problem_add(im->errors, space, path, NULL, "%s needs a list", path);
    return;
  }
  struct ynode *values = import_list(im, list);
  for (size_t i = 0; i < list->count; i++) {
    double number;
    if (numbers && !import_number(im, list->items[i], path, &number))
      return;
    struct str text = import_text(list->items[i]);
    import_add(im, values, numbers ? ynode_new_plain(im->arena, list->items[i], text) : ynode_new_text(im->arena, list->items[i], text));
  }
  import_put(im, out, "values", values);
}

static void katib_parameters(struct import *im, const struct ynode *list) {
  struct ynode *parameters = import_map(im, list);
  for (size_t i = 0; list && list->kind == YN_LIST && i < list->count && i <= SWEEP_PARAMETERS_MAX; i++) {
    const struct ynode *item = list->items[i];
    const struct ynode *name = ynode_get(item, "name");
    struct str type = import_text(ynode_get(item, "parameterType"));
    const struct ynode *space = ynode_get(item, "feasibleSpace");
    char path[64];
    snprintf(path, sizeof path, "spec.parameters[%zu]", i);
    if (!name || !space || !import_text(name).n) {
      spec_problem_add(im->errors, item, path, NULL, "%s needs name, parameterType and feasibleSpace", path);
      continue;
    }
    struct ynode *out = import_map(im, item);
    if (str_is(type, "double") || str_is(type, "int"))
      katib_range(im, space, out, str_is(type, "int"), path);
    else if (str_is(type, "discrete") || str_is(type, "categorical"))
      katib_list(im, space, out, str_is(type, "discrete"), path);
    else
      spec_problem_add(im->errors, item, path, NULL, "the parameterType \"%.*s\" is not double, int, discrete or categorical",
                       STR_ARG(type));
    if (ynode_peek(parameters, import_text(name)))
      spec_problem_add(im->errors, name, path, NULL, "the parameter \"%.*s\" stands here twice", STR_ARG(import_text(name)));
    else
      import_put(im, parameters, import_text(name).p, out);
  }
  import_put(im, im->out, "parameters", parameters);
}

/* ---- metrics ---- */

/* Katib's pattern has the name in its first group and the value in its second. */
static char *name_groups(struct import *im, struct str pattern) {
  static const char *const names[] = {"?P<name>", "?P<value>"};
  struct buf out = BUF_INIT(16 * KIB);
  size_t group = 0;
  bool in_class = false;
  for (size_t i = 0; i < pattern.n; i++) {
    char c = pattern.p[i];
    buf_putc(&out, c);
    if (c == '\\' && i + 1 < pattern.n)
      buf_putc(&out, pattern.p[++i]);
    else if (c == '[')
      in_class = true;
    else if (c == ']')
      in_class = false;
    else if (c == '(' && !in_class && !(i + 1 < pattern.n && pattern.p[i + 1] == '?') && group < 2)
      buf_puts(&out, names[group++]);
  }
  char *text = arena_strdup(im->arena, buf_str(&out));
  buf_release(&out);
  if (!text)
    im->no_memory = true;
  return text;
}

static void katib_metrics(struct import *im, const struct ynode *spec) {
  const struct ynode *collector = ynode_get(spec, "collector");
  const struct ynode *kind_node = ynode_get(collector, "kind");
  const struct ynode *source = ynode_get(spec, "source");
  const struct ynode *file = ynode_get(source, "fileSystemPath");
  const struct ynode *path = ynode_get(file, "path");
  const struct ynode *formats = ynode_get(ynode_get(source, "filter"), "metricsFormat");
  struct str kind = kind_node ? import_text(kind_node) : STR("StdOut");
  bool stdout_kind = str_is(kind, "StdOut"), file_kind = str_is(kind, "File"), events = str_is(kind, "TensorFlowEvent");
  if (!stdout_kind && !file_kind && !events) {
    spec_problem_add(im->errors, kind_node, "spec.metricsCollectorSpec", NULL,
                     "the collector \"%.*s\" is not supported; StdOut, File and TensorFlowEvent are", STR_ARG(kind));
    return;
  }
  (void)ynode_get(file, "kind");
  bool json = str_is(import_text(ynode_get(file, "format")), "JSON");
  struct ynode *list = import_list(im, spec);
  size_t patterns = formats && formats->kind == YN_LIST ? formats->count : 0;
  for (size_t i = 0; i < MAX_OF(patterns, (size_t)1); i++) {
    if (stdout_kind && !patterns)
      return; /* the built-in patterns */
    struct ynode *item = import_map(im, spec);
    if (!stdout_kind)
      import_put_text(im, item, "file", path,
                      path     ? import_text(path).p
                      : events ? "/var/log/katib/tfevent"
                               : "/var/log/katib/metrics.log");
    if (events || json || !patterns)
      import_put_text(im, item, "format", file, events ? "tfevents" : json ? "json" : "text");
    else
      import_put_text(im, item, "pattern", formats->items[i], name_groups(im, import_text(formats->items[i])));
    import_add(im, list, item);
  }
  import_put(im, im->out, "metrics_from", list);
}

/* ---- the trial ---- */

/* `${trialParameters.x}` becomes `{{reference of x}}`. */
static struct ynode *fill_template(struct import *im, const struct ynode *text, const struct ynode *trial_parameters) {
  static const struct str open = {"${trialParameters.", 18};
  struct buf out = BUF_INIT(MIB);
  struct str rest = import_text(text);
  for (size_t at; (at = str_find_str(rest, open)) != SIZE_MAX;) {
    buf_add_str(&out, str_slice(rest, 0, at));
    rest = str_slice(rest, at + open.n, rest.n);
    size_t close = str_find(rest, '}');
    struct str name = str_slice(rest, 0, close == SIZE_MAX ? rest.n : close);
    rest = str_slice(rest, close == SIZE_MAX ? rest.n : close + 1, rest.n);
    struct str reference = STR_NONE;
    for (size_t i = 0; trial_parameters && trial_parameters->kind == YN_LIST && i < trial_parameters->count; i++)
      if (str_eq(import_text(ynode_get(trial_parameters->items[i], "name")), name))
        reference = import_text(ynode_get(trial_parameters->items[i], "reference"));
    if (!reference.n || str_find(reference, '$') != SIZE_MAX) {
      spec_problem_add(im->errors, text, "spec.trialTemplate", NULL, "${trialParameters.%.*s} refers to no parameter of this experiment",
                       STR_ARG(name));
      break;
    }
    buf_printf(&out, "{{%.*s}}", STR_ARG(reference));
  }
  buf_add_str(&out, rest);
  struct ynode *node = buf_ok(&out, NULL) ? ynode_new_text(im->arena, text, buf_str(&out)) : NULL;
  buf_release(&out);
  return node;
}

/* NULL: told. */
static const struct ynode *primary_container(struct import *im, const struct ynode *template, const struct ynode *spec) {
  const struct ynode *job = ynode_get(template, "trialSpec");
  (void)ynode_get(job, "apiVersion");
  (void)ynode_get(job, "kind");
  const struct ynode *containers = ynode_get(ynode_get(ynode_get(ynode_get(job, "spec"), "template"), "spec"), "containers");
  const struct ynode *primary = ynode_get(template, "primaryContainerName");
  if (!containers || containers->kind != YN_LIST || !containers->count) {
    spec_problem_add(im->errors, template ? template : spec, "spec.trialTemplate", NULL,
                     "there is no trialSpec.spec.template.spec.containers: only a batch/v1 Job in the file itself can be run here");
    return NULL;
  }
  if (!primary)
    return containers->items[0];
  for (size_t i = 0; i < containers->count; i++)
    if (str_eq(import_text(ynode_get(containers->items[i], "name")), import_text(primary)))
      return containers->items[i];
  spec_problem_add(im->errors, primary, "spec.trialTemplate.primaryContainerName", NULL, "there is no container \"%.*s\"",
                   STR_ARG(str_slice(import_text(primary), 0, 100)));
  return NULL;
}

static void katib_trial(struct import *im, const struct ynode *template, const struct ynode *spec) {
  const struct ynode *container = primary_container(im, template, spec);
  const struct ynode *parameters = ynode_get(template, "trialParameters");
  if (!container)
    return;
  (void)ynode_get(container, "name");
  for (size_t i = 0; parameters && parameters->kind == YN_LIST && i < parameters->count; i++)
    (void)ynode_get(parameters->items[i], "description");
  struct ynode *command = import_list(im, container);
  static const char *const parts[] = {"command", "args"};
  for (size_t p = 0; p < 2; p++) {
    const struct ynode *words = ynode_get(container, parts[p]);
    for (size_t i = 0; words && words->kind == YN_LIST && i < words->count; i++)
      import_add(im, command, fill_template(im, words->items[i], parameters));
  }
  if (!command || !command->count)
    spec_problem_add(im->errors, container, "spec.trialTemplate", NULL,
                     "the container has no command: the image's own cannot be known here");
  else
    import_put(im, im->out, "command", command);
  const struct ynode *env = ynode_get(container, "env");
  struct ynode *out = import_map(im, env ? env : container);
  for (size_t i = 0; env && env->kind == YN_LIST && i < env->count; i++) {
    const struct ynode *name = ynode_get(env->items[i], "name");
    const struct ynode *value = ynode_get(env->items[i], "value");
    if (name && import_text(name).n && value && !ynode_peek(out, import_text(name)))
      import_put(im, out, import_text(name).p, fill_template(im, value, parameters));
  }
  if (out && out->count)
    import_put(im, im->out, "env", out);
}

static void katib_count(struct import *im, const struct ynode *spec, const char *theirs, const char *ours, int64_t fallback) {
  const struct ynode *node = ynode_get(spec, theirs);
  int64_t value = fallback;
  if (node && !import_int(im, node, theirs, &value))
    return;
  if (value > 0)
    import_put_int(im, im->out, ours, node ? node : spec, value);
}

void import_katib(struct import *im, const struct ynode *root) {
  (void)ynode_get(root, "apiVersion");
  (void)ynode_get(root, "kind");
  const struct ynode *name = ynode_get(ynode_get(root, "metadata"), "name");
  const struct ynode *spec = ynode_get(root, "spec");
  if (!spec || spec->kind != YN_MAP) {
    spec_problem_add(im->errors, root, "spec", NULL, "a Katib experiment needs a spec");
    return;
  }
  if (name)
    import_put(im, im->out, "name", ynode_new_text(im->arena, name, import_text(name)));
  katib_objective(im, ynode_get(spec, "objective"), spec);
  katib_algorithm(im, ynode_get(spec, "algorithm"), spec);
  katib_early_stopping(im, ynode_get(spec, "earlyStopping"));
  katib_count(im, spec, "parallelTrialCount", "max_parallel", 3);
  katib_count(im, spec, "maxTrialCount", "run_cap", 0);
  katib_count(im, spec, "maxFailedTrialCount", "max_failures", 0);
  katib_parameters(im, ynode_get(spec, "parameters"));
  const struct ynode *metrics = ynode_get(spec, "metricsCollectorSpec");
  if (metrics)
    katib_metrics(im, metrics);
  katib_trial(im, ynode_get(spec, "trialTemplate"), spec);
}
