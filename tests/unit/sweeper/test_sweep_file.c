#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "sweeper/engine/engine.h"
#include "sweeper/file/sweep_file.h"

/* Of a Katib experiment: one that can be run. */
#define TEMPLATE "  trialTemplate: {trialSpec: {spec: {template: {spec: {containers: [{command: [a]}]}}}}}\n"

static struct arena arena;

static int setup(void **state) {
  (void)state;
  arena_init(&arena, 256 * MIB);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  arena_release(&arena);
  return 0;
}

/* The files lie beside this one; the path is the compiler's, relative to the build folder, where tests run. */
static struct sweep_file *read_file(const char *name) {
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  struct err err = {0};
  char path[500];
  snprintf(path, sizeof path, "%.*s/files/%s", (int)(strrchr(__FILE__, '/') - __FILE__), __FILE__, name);
  if (!file_read(path, &text, &err))
    fail_msg("%s", err.text);
  struct spec_problems errors;
  struct sweep_file *file = NULL;
  if (!sweep_file_read(buf_str(&text), name, &arena, &file, &errors, &err))
    fail_msg("%s (%s)", err.text, err.hint);
  return file;
}

static struct sweep_file *read_text(const char *text) {
  struct err err = {0};
  struct spec_problems errors;
  struct sweep_file *file = NULL;
  if (!sweep_file_read(str_of(text), "sweep.yaml", &arena, &file, &errors, &err))
    fail_msg("%s (%s)", err.text, err.hint);
  return file;
}

static void normal_form(const struct sweep_file *file, struct buf *out) {
  struct err err = {0};
  buf_reset(out);
  if (!sweep_file_normal_form(file, out, &err))
    fail_msg("%s", err.text);
}

static void the_full_file(void **state) {
  (void)state;
  struct sweep_file *file = read_file("full.yaml");
  const struct sweep_spec *s = &file->spec;
  assert_int_equal(file->format, FORMAT_WINNOW);
  assert_int_equal(file->warnings.count, 0);
  assert_true(str_is(s->name, "mnist-convnet"));
  assert_true(str_is(s->experiment, "mnist"));
  assert_int_equal(s->command.count, 3);
  assert_int_equal(s->metric.goal, GOAL_MAXIMIZE);
  assert_true(s->metric.has_target && s->metric.target == 0.995);
  assert_int_equal(s->sampler.seed, 7);
  assert_int_equal(s->early_terminate.count, 2);
  const struct stop_conf *rules = s->early_terminate.items;
  assert_int_equal(rules[0].type, STOP_ASHA);
  assert_true(str_is(rules[0].step_metric, "epoch"));
  assert_int_equal(rules[1].type, STOP_THRESHOLD);
  assert_true(rules[1].max == 20 && rules[1].nan);
  assert_int_equal(s->resources.memory, 2000000000);
  assert_int_equal(s->resources.time, 1800000);
  assert_int_equal(s->retries.max, 1);
  assert_int_equal(s->retries.on, RETRY_LOST | RETRY_FAILED);
  assert_int_equal(s->stop_grace, 10000);
  assert_true(s->register_model.given && s->register_model.at_least == 0.98);
  assert_int_equal(s->args_style, ARGS_JSON);
  struct engine_conf conf = engine_conf_of_file(s);
  assert_int_equal(conf.run_cap, 60);
  assert_int_equal(conf.retries_max, 1);
  assert_true(conf.needs_value && !conf.asks && conf.lost_after_ms == 0);
  struct stop_goal goal = sweep_file_goal(file);
  assert_true(goal.maximize && str_is(goal.metric, "val_accuracy"));
  sweep_file_free(file);
}

static void defaults(void **state) {
  (void)state;
  struct sweep_file *file = read_text("parameters: {x: {min: 0, max: 1}}\nrun_cap: 3\n");
  const struct sweep_spec *s = &file->spec;
  assert_true(str_is(s->name, "sweep"));
  assert_true(str_is(s->experiment, "sweep"));
  assert_int_equal(s->method, METHOD_RANDOM); /* nothing to learn from */
  assert_int_equal(s->retries.max, 0);
  assert_int_equal(s->retries.on, RETRY_LOST);
  assert_int_equal(s->resources.slots, 1);
  assert_int_equal(s->stop_grace, 10000);
  assert_int_equal(s->log_max, GIB);
  assert_int_equal(s->give_up_after, 5);
  assert_true(str_is(s->workdir, "."));
  assert_false(s->has_command);
  sweep_file_free(file);
}

static void shorthands(void **state) {
  (void)state;
  struct sweep_file *file = read_text("parameters: {x: {min: 0, max: 1}}\nmetric: loss\nretries: 2\nresources: {gpus: 2}\nsampler: gp\n"
                                      "early_terminate: median\nregister: m\nmax_time: 90\n");
  const struct sweep_spec *s = &file->spec;
  assert_true(str_is(s->metric.name, "loss"));
  assert_int_equal(s->retries.max, 2);
  assert_int_equal(s->resources.slots, 2);
  assert_int_equal(s->method, METHOD_BAYES);
  assert_int_equal(s->sampler.type, SAMPLER_GP);
  assert_int_equal(((const struct stop_conf *)s->early_terminate.items)->type, STOP_MEDIAN);
  assert_true(str_is(s->register_model.model, "m"));
  assert_int_equal(s->max_time, 90000);
  sweep_file_free(file);
}

static void steps_that_miss_the_end_are_told(void **state) {
  (void)state;
  struct sweep_file *file =
      read_text("parameters:\n  x: {min: 0, max: 1.0, step: 0.3}\n  y: {min: 1, max: 10, step: 3}\n"
                "  z: {min: 0.0, max: 0.3, step: 0.1}\n  a: {parameters: {b: {min: 1, max: 2, step: 5}}}\nrun_cap: 1\n");
  assert_int_equal(file->warnings.count, 2);
  assert_string_equal(file->warnings.items[0].message, "x: no step from \"min\" meets \"max\"; the last value is 0.9");
  assert_int_equal(file->warnings.items[0].line, 2);
  assert_string_equal(file->warnings.items[1].message, "a.b: no step from \"min\" meets \"max\"; the last value is 1.0");
  sweep_file_free(file);
}

static void workers_of_a_launch(void **state) {
  (void)state;
#define LAUNCH(more) "parameters: {x: {min: 0, max: 1}}\nmethod: random\nrun_cap: 3\n" more
  struct sweep_file *file =
      read_text(LAUNCH("scheduler: {num_workers: 8, resource: local-process, job: wandb/sweep-jobs/job-wandb-sweep-scheduler:latest}\n"));
  assert_int_equal(file->spec.max_parallel, 8);
  assert_int_equal(file->warnings.count, 1);
  assert_non_null(strstr(file->warnings.items[0].message, "num_workers is max_parallel"));
  assert_int_equal(file->warnings.items[0].line, 4);
  sweep_file_free(file);
  file = read_text(LAUNCH("scheduler: {num_workers: 8}\nmax_parallel: 2\n"));
  assert_int_equal(file->spec.max_parallel, 2);
  sweep_file_free(file);
  file = read_text(LAUNCH("scheduler:\n"));
  assert_false(file->spec.has_max_parallel);
  sweep_file_free(file);
#undef LAUNCH
}

static void wandb_runs_unchanged(void **state) {
  (void)state;
  struct sweep_file *file = read_file("wandb.yaml");
  const struct sweep_spec *s = &file->spec;
  assert_int_equal(file->format, FORMAT_WANDB);
  assert_int_equal(file->warnings.count, 1); /* entity */
  assert_string_equal(file->warnings.items[0].path, "entity");
  assert_int_equal(file->warnings.items[0].line, 4);
  assert_int_equal(s->args_style, ARGS_PYTHON);
  assert_int_equal(s->command.count, 4);
  assert_true(str_is(s->command.items[0], "${env}"));
  assert_true(str_is(s->experiment, "my-first-sweep"));
  const struct stop_conf *rule = s->early_terminate.items;
  assert_int_equal(rule->type, STOP_WANDB_HYPERBAND);
  assert_true(rule->strict);
  assert_true(str_is(rule->step_metric, "report"));
  double ladder[10];
  assert_int_equal(stop_ladder(rule, 0, ladder, 10), 2);
  assert_true(ladder[0] == 3 && ladder[1] == 9);
  sweep_file_free(file);
}

static void katib_is_translated(void **state) {
  (void)state;
  struct sweep_file *file = read_file("katib.yaml");
  const struct sweep_spec *s = &file->spec;
  assert_int_equal(file->format, FORMAT_KATIB);
  assert_true(str_is(s->name, "random-example"));
  assert_int_equal(s->metric.use, USE_BEST);
  assert_true(s->metric.target == 0.99);
  assert_int_equal(s->sampler.type, SAMPLER_TPE);
  assert_int_equal(s->sampler.seed, 10);
  assert_int_equal(s->run_cap, 12);
  assert_int_equal(s->max_failures, 3);
  assert_true(str_is(s->command.items[2], "--lr={{lr}}"));
  assert_true(str_is(s->command.items[3], "--num-layers={{num-layers}}"));
  assert_true(str_is(s->env.items[0].value, "{{optimizer}}"));
  const struct stop_conf *rule = s->early_terminate.items;
  assert_int_equal(rule->type, STOP_MEDIAN);
  assert_int_equal(rule->min_trials, 3);
  const struct sweep_metrics_source *source = s->metrics_from.items;
  assert_true(str_is(source->pattern, "(?P<name>[\\w|-]+)\\s*=\\s*(?P<value>[+-]?\\d*(\\.\\d+)?([Ee][+-]?\\d+)?)"));
  struct err err;
  AUTO_JSON json_t *space = NULL;
  assert_true(sweep_file_space(file, &space, &err));
  const json_t *parameters = json_object_get(space, "parameters");
  assert_true(json_real_value(json_object_get(json_object_get(parameters, "lr"), "min")) == 0.01);
  assert_true(json_is_integer(json_object_get(json_object_get(parameters, "num-layers"), "max")));
  assert_true(json_is_integer(json_array_get(json_object_get(json_object_get(parameters, "width"), "values"), 0)));
  bool image = false, gamma = false, namespace = false;
  for (size_t i = 0; i < file->warnings.count; i++) {
    image |= strstr(file->warnings.items[i].message, ".image (line ") != NULL;
    gamma |= strstr(file->warnings.items[i].message, "\"gamma\" is not used") != NULL;
    namespace |= strstr(file->warnings.items[i].message, "metadata.namespace") != NULL;
    assert_true(file->warnings.items[i].line > 0);
  }
  assert_true(image && gamma && namespace);
  assert_int_equal(file->warnings.count, 3); /* what is plainly Kubernetes' is one */
  sweep_file_free(file);
}

static void azureml_is_translated(void **state) {
  (void)state;
  struct sweep_file *file = read_file("azureml.yaml");
  const struct sweep_spec *s = &file->spec;
  assert_int_equal(file->format, FORMAT_AZUREML);
  static const char *const argv[] = {
      "python",       "main.py", "--iris-csv", "data/iris.csv", "--learning-rate", "{{learning_rate}}", "--boosting",
      "{{boosting}}", "--note",  "a b"};
  assert_int_equal(s->command.count, ARRAY_LEN(argv));
  for (size_t i = 0; i < ARRAY_LEN(argv); i++)
    assert_true(str_is(s->command.items[i], argv[i]));
  assert_true(str_is(s->workdir, "src"));
  assert_int_equal(s->metric.use, USE_BEST);
  assert_int_equal(s->run_cap, 20);
  assert_int_equal(s->max_time, 7200000);
  assert_int_equal(s->resources.time, 600000);
  const struct stop_conf *rule = s->early_terminate.items;
  assert_int_equal(rule->type, STOP_BANDIT);
  assert_int_equal(rule->delay_evaluation, 5);
  assert_true(str_is(rule->step_metric, "report"));
  struct err err;
  AUTO_JSON json_t *space = NULL;
  assert_true(sweep_file_space(file, &space, &err));
  const json_t *parameters = json_object_get(space, "parameters");
  assert_int_equal(json_integer_value(json_object_get(json_object_get(parameters, "depth"), "max")), 9);
  assert_string_equal(json_string_value(json_object_get(json_object_get(parameters, "reg"), "distribution")), "q_log_uniform");
  assert_int_equal(file->warnings.count, 1); /* compute, environment */
  sweep_file_free(file);
}

static void azureml_paths_begin_at_the_file(void **state) {
  (void)state;
#define AZURE \
  "type: sweep\nsearch_space: {x: {type: choice, values: [1]}}\nobjective: {goal: minimize, primary_metric: l}\n" /* three lines */
  static const struct {
    const char *code, *path, *in_copy; /* NULL: it does not get there */
  } rows[] = {
      {"code: src, ", "src/d.csv", "d.csv"},
      {"code: ./src/, ", ".//src/../src/a/d.csv", "a/d.csv"},
      {"code: src, ", "src", "."},
      {"code: ../src, ", "../src/d.csv", "d.csv"},
      {"code: ., ", "./data/d.csv", "data/d.csv"},
      {"", "d.csv", "d.csv"},
      {"code: \"azureml:src:1\", ", "d.csv", "d.csv"},
      {"code: src, ", "/data/d.csv", "/data/d.csv"},
      {"code: src, ", "https://example.org/d.csv", "https://example.org/d.csv"},
      {"code: /src, ", "/src/d.csv", "/src/d.csv"},
      {"code: src, ", "./d.csv", NULL},
      {"code: src, ", "srcs/d.csv", NULL},
      {"code: src, ", "src/../../d.csv", NULL},
      {"code: src, ", "../src/d.csv", NULL},
      {"code: /src, ", "d.csv", NULL},
      {"", "../d.csv", NULL},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    char text[500], message[100];
    struct spec_problems errors;
    struct sweep_file *file = NULL;
    struct err err = {0};
    snprintf(text, sizeof text, AZURE "trial: {%scommand: \"cat ${{inputs.d}}\"}\ninputs:\n  d: {path: \"%s\"}\n", rows[i].code,
             rows[i].path);
    bool ok = sweep_file_read(str_of(text), "a.yaml", &arena, &file, &errors, &err);
    snprintf(message, sizeof message, "a.yaml:6:13: %s is not within ", rows[i].path);
    if (ok != (rows[i].in_copy != NULL) || (!ok && strncmp(err.text, message, strlen(message)) != 0))
      fail_msg("row %zu: %s", i, ok ? "accepted" : err.text);
    if (ok && !str_is(file->spec.command.items[1], rows[i].in_copy))
      fail_msg("row %zu: %.*s", i, STR_ARG(file->spec.command.items[1]));
    sweep_file_free(file);
  }
}

/* However much there is, each key is named. */
static void all_that_is_not_used_is_told(void **state) {
  (void)state;
  enum { KEYS = 40 };
  AUTO_BUF struct buf text = BUF_INIT(16 * KIB);
  buf_puts(&text, "type: sweep\nsearch_space: {x: {type: choice, values: [1]}}\nobjective: {primary_metric: l}\ntrial: {command: a}\n");
  for (int i = 0; i < KEYS; i++)
    buf_printf(&text, "resources_of_the_cluster_%d: 1\n", i);
  struct sweep_file *file = read_text(buf_text(&text));
  for (int i = 0; i < KEYS; i++) {
    char name[80];
    bool told = false;
    snprintf(name, sizeof name, "resources_of_the_cluster_%d (line %d)", i, i + 5);
    for (size_t k = 0; k < file->warnings.count; k++)
      told = told || strstr(file->warnings.items[k].message, name);
    if (!told)
      fail_msg("%s is not told", name);
  }
  sweep_file_free(file);
}

static void what_is_not_used_may_be_misspelt(void **state) {
  (void)state;
  struct sweep_file *file = read_text("type: sweep\nsearch_space: {x: {type: choice, values: [1]}}\nobjective: {primary_metric: l}\n"
                                      "trial: {command: a}\nlimit: {max_total_trials: 3}\ncompute: azureml:c\nresources: {}\n");
  const char *limit = NULL, *others = NULL;
  for (size_t i = 0; i < file->warnings.count; i++) {
    const struct spec_problem *warning = &file->warnings.items[i];
    limit = strcmp(warning->path, "limit") == 0 ? warning->message : limit;
    others = warning->line == 6 ? warning->message : others;
  }
  assert_string_equal(limit, "limit is not known and not used; did you mean \"limits\"?");
  assert_string_equal(others, "without a counterpart here, and not used: compute (line 6), resources (line 7)");
  sweep_file_free(file);
}

static void batchai_is_translated(void **state) {
  (void)state;
  struct sweep_file *file = read_file("batchai.json");
  assert_int_equal(file->format, FORMAT_BATCHAI);
  assert_int_equal(file->spec.method, METHOD_GRID);
  struct err err;
  AUTO_JSON json_t *space = NULL;
  assert_true(sweep_file_space(file, &space, &err));
  AUTO_BUF struct buf out = BUF_INIT(KIB);
  struct json_writer w;
  jw_init(&w, &out);
  jw_json(&w, space);
  assert_string_equal(buf_text(&out),
                      "{\"parameters\":{\"FEEDFORWARD_CONSTANT\":{\"values\":[0.001,0.01,0.1,1.0,10.0]},\"EPOCHS\":{\"values\":[2,4,6]},"
                      "\"HIDDEN_LAYERS_DIMENSION\":{\"values\":[100,200,300]},"
                      "\"H\":{\"values\":[{\"LR\":0.1,\"WD\":0},{\"LR\":0.01,\"WD\":0.001}]}}}");
  sweep_file_free(file);
}

/* What rounding makes equal is one value. */
static void whole_numbers_of_a_batchai_grid_differ(void **state) {
  (void)state;
  struct sweep_file *file =
      read_text("params: [{paramType: NumParam, parameterName: A, dataType: INTEGER, start: 1, end: 4, scale: LINEAR, numValues: 10},"
                "{paramType: NumParam, parameterName: B, dataType: INTEGER, start: 1, end: 100, scale: LOG, numValues: 12},"
                "{paramType: NumParam, parameterName: C, dataType: INTEGER, start: 0, end: 3, scale: LINEAR, step: 0.5}]\n");
  static const char *const wanted[] = {"1 2 3 4", "1 2 4 5 8 12 19 28 43 66 100", "0 1 2 3"};
  for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
    AUTO_BUF struct buf values = BUF_INIT(KIB);
    for (uint64_t k = 0; k < space_param(file->space, i)->cells; k++) {
      double point[3] = {0};
      point[i] = (double)k;
      AUTO_JSON json_t *json = space_point_to_json(file->space, point);
      const char *name = space_param(file->space, i)->name;
      buf_printf(&values, "%s%d", k ? " " : "", (int)json_integer_value(json_object_get(json, name)));
    }
    assert_string_equal(buf_text(&values), wanted[i]);
  }
  sweep_file_free(file);
}

static void normal_forms_are_fixed_points(void **state) {
  (void)state;
  static const char *const names[] = {"full.yaml", "wandb.yaml", "katib.yaml", "azureml.yaml", "batchai.json"};
  for (size_t i = 0; i < ARRAY_LEN(names); i++) {
    AUTO_BUF struct buf first = BUF_INIT(MIB);
    AUTO_BUF struct buf second = BUF_INIT(MIB);
    struct sweep_file *file = read_file(names[i]);
    normal_form(file, &first);
    sweep_file_free(file);
    file = read_text(buf_text(&first));
    normal_form(file, &second);
    sweep_file_free(file);
    assert_string_equal(buf_text(&first), buf_text(&second));
  }
}

static void the_normal_form_shows_everything(void **state) {
  (void)state;
  AUTO_BUF struct buf out = BUF_INIT(MIB);
  struct sweep_file *file =
      read_text("parameters: {x: {min: 0, max: 1.0}}\nmetric: loss\nrun_cap: 3\nearly_terminate: {type: hyperband, min_iter: 2}\n");
  normal_form(file, &out);
  assert_string_equal(
      buf_text(&out),
      "{\"name\":\"sweep\",\"experiment\":\"sweep\",\"args_style\":\"python\","
      "\"metric\":{\"name\":\"loss\",\"goal\":\"minimize\",\"use\":\"last\",\"last_k\":5,\"impute\":\"worst\",\"impute_while_running\":\"false\"},"
      "\"parameters\":{\"x\":{\"min\":0,\"max\":1.0}},\"method\":\"bayes\",\"sampler\":{\"type\":\"auto\"},"
      "\"early_terminate\":[{\"type\":\"wandb_hyperband\",\"step_metric\":\"report\",\"min_iter\":2.0,\"eta\":3.0,\"s\":0,\"strict\":true}],"
      "\"run_cap\":3,\"give_up_after\":5,\"on_nan\":\"worst\",\"resources\":{\"slots\":1},\"retries\":{\"max\":0,\"on\":[\"lost\"]},"
      "\"stop_grace\":\"10s\",\"workdir\":\".\",\"workdir_mode\":\"copy\",\"workdir_max\":\"256MB\",\"tty\":false,\"log_max\":\"1GiB\",\"log_spool_max\":\"1GiB\","
      "\"log_policy\":\"cut\",\"executor\":\"local\",\"priority\":0}");
  sweep_file_free(file);
}

/* Where a rule stops trials TPE learns from those that run, unless the file says otherwise; and a file that was read once stays as it is.
 */
static void what_running_trials_count_as(void **state) {
  (void)state;
  static const struct {
    const char *more;
    int supposed;
  } cases[] = {
      {"sampler: tpe\nearly_terminate: {type: asha}\n", SUPPOSE_LATEST},
      {"sampler: {type: tpe, seed: 1}\nearly_terminate: [{type: median}]\n", SUPPOSE_LATEST},
      {"sampler: tpe\n", SUPPOSE_NOTHING},
      {"sampler: tpe\nearly_terminate: none\n", SUPPOSE_NOTHING},
      {"early_terminate: {type: asha}\n", SUPPOSE_NOTHING},
      {"sampler: gp\nearly_terminate: {type: asha}\n", SUPPOSE_NOTHING},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    AUTO_BUF struct buf text = BUF_INIT(MIB), normal = BUF_INIT(MIB);
    buf_printf(&text, "parameters: {x: {min: 0, max: 1.0}}\nmetric: loss\nrun_cap: 3\n%s", cases[i].more);
    struct sweep_file *file = read_text(buf_text(&text));
    assert_int_equal(file->spec.metric.impute_while_running, cases[i].supposed);
    normal_form(file, &normal);
    sweep_file_free(file);
    file = read_text(buf_text(&normal));
    assert_int_equal(file->spec.metric.impute_while_running, cases[i].supposed);
    sweep_file_free(file);
  }
  struct sweep_file *file =
      read_text("parameters: {x: {min: 0, max: 1.0}}\nmetric: {name: loss, impute_while_running: 'false'}\nrun_cap: 3\n"
                "sampler: tpe\nearly_terminate: {type: asha}\n");
  assert_int_equal(file->spec.metric.impute_while_running, SUPPOSE_NOTHING);
  sweep_file_free(file);
}

/* W&B looks at max_iter and s where they are, whatever min_iter says. */
static void wandbs_hyperband_is_known_by_its_s(void **state) {
  (void)state;
  struct sweep_file *file = read_text("parameters: {x: {min: 0, max: 1.0}}\nmetric: loss\nrun_cap: 3\n"
                                      "early_terminate: {type: hyperband, min_iter: 3, max_iter: 27, s: 2, eta: 3}\n");
  const struct stop_conf *rule = file->spec.early_terminate.items;
  double rungs[4];
  assert_int_equal(rule->type, STOP_WANDB_HYPERBAND);
  assert_int_equal(stop_ladder(rule, 0, rungs, 4), 2);
  assert_true(rungs[0] == 3 && rungs[1] == 9);
  sweep_file_free(file);
}

static void mistakes_name_place_and_meaning(void **state) {
  (void)state;
#define HEAD "parameters: {x: {min: 0, max: 1}}\nrun_cap: 3\n" /* two lines */
#define KATIB                                                  /* four lines */ \
  "kind: Experiment\nspec:\n  objective: {type: minimize, objectiveMetricName: l}\n  algorithm: {algorithmName: random}\n"
  static const struct {
    const char *text;
    const char *message; /* with the place */
    const char *hint;
  } rows[] = {
      {HEAD "metirc: {name: a}\n", "sweep.yaml:3:1: unknown key \"metirc\"", "did you mean \"metric\"?"},
      {HEAD "metric: {name: a, gaol: maximize}\n", "sweep.yaml:3:19: unknown key \"gaol\" in metric", "did you mean \"goal\"?"},
      {HEAD "metric: {name: a, goal: maximise}\n", "sweep.yaml:3:25: metric.goal cannot be \"maximise\"; it is minimize or maximize",
       "did you mean \"maximize\"?"},
      {"type: sweep\nsearch_space: {x: {type: unifrom}}\nobjective: {primary_metric: l}\ntrial: {command: a}\n",
       "sweep.yaml:2:26: search_space.x: the type \"unifrom\" is not known", "did you mean \"uniform\"?"},
      {"type: sweep\nsearch_space: {x: {type: choice, values: [1]}}\nobjective: {primary_metrc: l}\ntrial: {command: a}\n",
       "sweep.yaml:3:12: objective.primary_metric is missing", ""},
      {"params: [{paramType: NumParam, parameterName: A, start: 1, end: 2, scale: LOGG}]\n",
       "sweep.yaml:1:10: params[0]: scale is LINEAR or LOG", ""},
      {"params: [{paramType: NumParam, parameterName: A, start: 1, end: 2, dataType: FLOAT}]\n",
       "sweep.yaml:1:10: params[0]: dataType is REAL or INTEGER", ""},
      {HEAD "early_stopping: {type: asha}\n", "sweep.yaml:3:1: unknown key \"early_stopping\"", "did you mean \"early_terminate\"?"},
      {HEAD "direction: maximize\n", "sweep.yaml:3:1: unknown key \"direction\"", "write metric: {name: loss, goal"},
      {HEAD "metric: {name: a, direction: maximize}\n", "sweep.yaml:3:19: unknown key \"direction\" in metric", "did you mean \"goal\"?"},
      {HEAD "sampler: {n_startup_trials: 3}\n", "sweep.yaml:3:11: unknown key \"n_startup_trials\" in sampler",
       "did you mean \"n_startup\"?"},
      {"parameters: {x: {low: 0.0, high: 1}}\nrun_cap: 3\n", "sweep.yaml:1:23: unknown key \"parameters.x.low\"", "did you mean \"min\"?"},
      {"parameters: {x: {type: float}}\nrun_cap: 3\n", "sweep.yaml:1:24: unknown key \"parameters.x.type\"", "a range is {min: 0.0"},
      {HEAD "n_trials: 5\n", "sweep.yaml:3:1: unknown key \"n_trials\"", "did you mean \"run_cap\"?"},
      {HEAD "metrics: {name: a}\n", "sweep.yaml:3:1: unknown key \"metrics\"", "did you mean \"metric\"?"},
      {HEAD "metrics: [{name: a}, {name: b}]\n", "sweep.yaml:3:10: there is one metric to optimise", "bayes"},
      {HEAD "gpus: 2\n", "sweep.yaml:3:1: unknown key \"gpus\"", "resources: {slots: 1}"},
      {HEAD "metric:\ngoal: maximize\n", "sweep.yaml:4:1: unknown key \"goal\"", "below metric; check the indentation"},
      {HEAD "metric: {name: a, goals: 1}\n", "sweep.yaml:3:19: unknown key \"goals\" in metric", "did you mean \"goal\"?"},
      {HEAD "metric: a\nearly_terminate: {type: asha, reduction_factor: 3}\n", "sweep.yaml:4:31: unknown key \"reduction_factor\"",
       "did you mean \"eta\"?"},
      {HEAD "quux: 3\n", "sweep.yaml:3:1: unknown key \"quux\"", "more, see docs/sweep-file.md"},
      {HEAD "run_cap: 1.5\n", "sweep.yaml:3:1: the key \"run_cap\" stands here twice", ""},
      {HEAD "max_parallel: 1.5\n", "sweep.yaml:3:15: max_parallel must be a whole number, not 1.5", ""},
      {HEAD "command: [sh, ${args}]\n", "sweep.yaml:3:16: text with braces needs quotes here, as in \"${args}\" or \"{{lr}}\"", ""},
      {HEAD "command: [sh, --x={{x}}]\n", "sweep.yaml:3:19: text with braces needs quotes here", ""},
      {HEAD "command: [sh, {{x}}]\n", "sweep.yaml:3:16: text with braces needs quotes here", ""},
      {HEAD "env: {A: ${args}}\n", "sweep.yaml:3:11: text with braces needs quotes here", ""},
      {HEAD "notes: \"caf\xe9\"\n", "sweep.yaml:3:13: the text is not valid UTF-8; save the file as UTF-8", ""},
      {HEAD "metric: {goal: maximize}\n", "sweep.yaml:3:9: \"name\" is missing in metric", ""},
      {"run_cap: 3\n", "sweep.yaml:1:1: \"parameters\" is missing", ""},
      {HEAD "max_parallel: 0\n", "sweep.yaml:3:15: max_parallel must be at least 1 and at most 100000", ""},
      {HEAD "command: []\n", "sweep.yaml:3:10: command must have at least 1 item", ""},
      {HEAD
       "metrics_from: [{file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a},"
       " {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a},"
       " {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a},"
       " {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a}, {file: a},"
       " {file: a}, {file: a}, {file: a}, {file: a}]\n",
       "sweep.yaml:3:15: metrics_from must have at most 50 items, and has 51", ""},
      {"method: grid\nparameters: {x: {values: [1]}, y: {min: 0.1, max: 1}}\n",
       "sweep.yaml:2:35: \"parameters.y\" has no finite number of values", "\"values\", \"step\" or \"count\""},
      {"run_cap: 1\nparameters:\n  lr: [0.1, 0.2]\n", "sweep.yaml:3:7: \"parameters.lr\" must be an object", "{values: ...}"},
      {"run_cap: 1\nparameters:\n  lr: # to be said\n", "sweep.yaml:3:6: \"parameters.lr\" must be an object", "give a range or values"},
      {"run_cap: 1\nparameters:\n  lr: {min: 0,1, max: 1}\n", "sweep.yaml:3:16: unknown key \"parameters.lr.1\"", "has a point: 0.1"},
      {"run_cap: 1\nparameters:\n  lr: 0.1\n", "sweep.yaml:3:7: \"parameters.lr\" must be an object", "{value: ...}"},
      {HEAD "max_parallel: many\n", "sweep.yaml:3:15: max_parallel must be a whole number, not text", ""},
      {HEAD "tty: yes\n", "sweep.yaml:3:6: tty must be true or false, not \"yes\"", "write true"},
      {HEAD "stop_grace: soon\n", "sweep.yaml:3:13: stop_grace must be a duration", ""},
      {HEAD "stop_grace: 2d\n", "sweep.yaml:3:13: stop_grace must be at least 0s and at most 1d", ""},
      {HEAD "resources: {time: 0}\n", "sweep.yaml:3:19: resources.time must be at least 1s", ""},
      {HEAD "workdir_max: 0\n", "sweep.yaml:3:14: workdir_max must be at least 1", ""},
      {HEAD "log_max: big\n", "sweep.yaml:3:10: log_max must be a size", ""},
      {HEAD "command: python train.py\n", "sweep.yaml:3:10: command must be a list, one item an argument", "[\"python3\""},
      {HEAD "command: [a, {b: c}]\n", "sweep.yaml:3:14: command[1] must be text, not a map", ""},
      {HEAD "early_terminate: {type: asha}\n", "sweep.yaml:3:18: early termination needs a metric", ""},
      {HEAD "metric: a\nearly_terminate: {type: bandit}\n", "sweep.yaml:4:18: bandit takes slack_factor or slack_amount", ""},
      {HEAD "metric: a\nearly_terminate: {type: bandit, eta: 3}\n", "sweep.yaml:4:33: \"eta\" does not belong to type bandit",
       "bandit takes: metric"},
      {HEAD "metric: a\nearly_terminate: {type: ahsa}\n", "sweep.yaml:4:25: early_terminate.type cannot be \"ahsa\"",
       "did you mean \"asha\"?"},
      {HEAD "metric: a\nearly_terminate:\n  - {type: median}\n  - {type: asha, eta: 1}\n",
       "sweep.yaml:6:23: early_terminate[1].eta must be above 1", ""},
      {HEAD "metric: a\nearly_terminate: {min_iter: 1}\n", "sweep.yaml:4:18: \"type\" is missing in early_terminate", ""},
      {HEAD "method: grid\nsampler: tpe\n", "sweep.yaml:4:10: method grid and sampler tpe do not go together", ""},
      {HEAD "method: custom\n", "sweep.yaml:3:9: a custom scheduler is Python", "use method: bayes"},
      {HEAD "method: auto\n", "sweep.yaml:3:9: method cannot be \"auto\"; it is grid, random or bayes", "leave method out"},
      {HEAD "method: tpe\n", "sweep.yaml:3:9: method cannot be \"tpe\"; it is grid, random or bayes", "write sampler: tpe"},
      {HEAD "scheduler: {engine: optuna, source: s.py}\n", "sweep.yaml:3:12: a custom scheduler is Python", "use method: bayes"},
      {HEAD "scheduler: {job: me/p/job-x:latest, num_workers: 8}\n", "sweep.yaml:3:12: a custom scheduler is Python", "use method: bayes"},
      {HEAD "scheduler: {num_workers: many}\n", "sweep.yaml:3:26: \"scheduler.num_workers\" must be a whole number", ""},
      {HEAD "fixed_first:\n  - {x: 1}\n  - {x: 7}\n", "sweep.yaml:5:9: fixed_first[1]: \"params.x\" must be from 0.0 to 1.0", ""},
      {HEAD "fixed_first: [{y: 1}]\n", "sweep.yaml:3:16: \"y\" is no parameter", ""},
      {HEAD "command: [\"${program}\"]\n", "sweep.yaml:3:10: the command uses ${program}", "add program"},
      {HEAD "command: [python3, \"${arg}\"]\n", "sweep.yaml:3:20: the macro \"${arg}\" is not known", "${args}"},
      {HEAD "command: [\"--x={{y}}\"]\n", "sweep.yaml:3:11: {{y}} is no parameter", "{{x}}"},
      {HEAD "env: {A: \"{{z}}\"}\n", "sweep.yaml:3:6: A: {{z}} is no parameter", ""},
      {HEAD "project: a\nexperiment: b\n", "sweep.yaml:3:1: \"project\" and \"experiment\" are the same key", ""},
      {HEAD "env: {\"a b\": 1}\n", "sweep.yaml:3:6: \"a b\" cannot be the name of a variable", ""},
      {HEAD "retries: {on: [lots]}\n", "sweep.yaml:3:16: retries.on[0] cannot be \"lots\"", "did you mean \"lost\"?"},
      {HEAD "metrics_from: [{stream: stdout}]\n", "sweep.yaml:3:16: metrics_from[0]: a stream needs a pattern",
       "the built-in patterns read both streams anyway"},
      {HEAD "metrics_from: [{file: ../a, format: csv}]\n", "sweep.yaml:3:16: metrics_from[0]: ../a is not below the attempt's directory",
       "write a path or glob relative to the directory the command runs in"},
      {HEAD "metrics_from: [{file: .//}]\n", "sweep.yaml:3:16: metrics_from[0]: file is a directory's name",
       "name a file or write a glob such as **/*.csv"},
      {HEAD "metrics_from: [{pattern: 'a(b'}]\n", "sweep.yaml:3:26: pattern a(b: missing closing parenthesis at character 4", ""},
      {HEAD "metrics_from: [{pattern: '(?P<a>b)', builtin: false}]\n", "sweep.yaml:3:16: metrics_from[0]: builtin stands alone",
       "write it as an item of its own: - builtin: false"},
      {HEAD "conditions: {a: b}\n", "sweep.yaml:3:13: conditions must be a list", ""},
      {"parameters: {}\n", "sweep.yaml:1:13: parameters is empty", ""},
      {"parameters: [x]\n", "sweep.yaml:1:13: parameters must be a map of names, not a list", ""},
      {"", "sweep.yaml:1:1: the file is empty", ""},
      {"- 1\n", "sweep.yaml:1:1: a sweep file is a map of keys", ""},
      {"a: b: c\n", "sweep.yaml:1:5: a \":\" does not belong here", ""},
      {"type: sweep\nsearch_space: {x: {type: choice, values: [1]}}\ntrial: {command: \"a | b\"}\nobjective: {goal: minimize, primary_metric: l}\n",
       "sweep.yaml:3:18: the command needs a shell for \"|\"", "put it into a script"},
      {"kind: Experiment\nspec:\n  objective: {type: minimize, objectiveMetricName: l}\n  algorithm: {algorithmName: hyperband}\n" TEMPLATE,
       "sweep.yaml:4:30: Katib's hyperband", ""},
      {"type: sweep\ntrial: {command: a}\nobjective: {primary_metric: l}\n", "sweep.yaml:1:1: search_space must be a map", ""},
      {"type: sweep\ntrial: {command: a}\nsearch_space: [x]\nobjective: {primary_metric: l}\n",
       "sweep.yaml:3:15: search_space must be a map", ""},
      {KATIB "  parameters: [{name: x, parameterType: int, feasibleSpace: {min: 1, max: 2}}]\n", "sweep.yaml:3:3: there is no trialSpec",
       ""},
      {KATIB "  trialTemplate:\n    primaryContainerName: main\n    trialSpec: {spec: {template: {spec: {containers: [{name: side}]}}}}\n",
       "sweep.yaml:6:27: there is no container \"main\"", ""},
      {"kind: Experiment\nspec:\n  objective: {type: minimize, objectiveMetricName: l}\n" TEMPLATE,
       "sweep.yaml:3:3: the algorithm \"\" is not known", ""},
      {"kind: Experiment\nspec:\n  algorithm: {algorithmName: random}\n" TEMPLATE, "sweep.yaml:3:3: spec.objective needs type", ""},
      {"params: [{paramType: NumParam, parameterName: LR, dataType: REAL, start: 2, end: 1, scale: LINEAR}]\n",
       "sweep.yaml:1:10: params[0]: start must be below end", ""},
      {"run_cap: 1\nparameters: {x: {min: 0.0, max: 1.0}}\nconstraints: [x == 0.5]\n",
       "sweep.yaml:3:15: no point of the space was found that satisfies the constraints", "name it in fixed_first"},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct spec_problems errors;
    struct sweep_file *file = NULL;
    struct err err = {0};
    if (sweep_file_read(str_of(rows[i].text), "sweep.yaml", &arena, &file, &errors, &err))
      fail_msg("row %zu was accepted", i);
    if (strncmp(err.text, rows[i].message, strlen(rows[i].message)) != 0 || (rows[i].hint[0] ? !strstr(err.hint, rows[i].hint) : false))
      fail_msg("row %zu: \"%s\" (%s)", i, err.text, err.hint);
  }
}

static void all_mistakes_are_listed(void **state) {
  (void)state;
  struct spec_problems errors;
  struct sweep_file *file = NULL;
  struct err err = {0};
  assert_false(
      sweep_file_read(STR("parameters: {x: {}}\nrun_cap: x\nmethd: grid\nretries: {max: -1}\n"), "", &arena, &file, &errors, &err));
  assert_int_equal(errors.count, 4);
  for (unsigned i = 0; i < 4; i++)
    assert_int_equal(errors.items[i].line, i + 1);
  assert_string_equal(errors.items[0].path, "parameters.x.min");
  assert_string_equal(errors.items[3].path, "retries.max");
}

static void expect_mistakes(const char *text, const char *expected) {
  struct spec_problems errors;
  struct sweep_file *file = NULL;
  struct err err = {0};
  char told[2000] = "";
  assert_false(sweep_file_read(str_of(text), "", &arena, &file, &errors, &err));
  for (size_t i = 0, n = 0; i < MIN_OF(errors.count, 20u); i++)
    n += (size_t)snprintf(told + n, sizeof told - n, "%u:%u %s\n", errors.items[i].line, errors.items[i].column, errors.items[i].path);
  assert_string_equal(told, expected);
}

/* Each parameter that is wrong, nested ones too; then each condition and each constraint. */
static void all_mistakes_of_the_space_are_listed(void **state) {
  (void)state;
  expect_mistakes("metric: {name: a, aliasses: b}\n"
                  "parameters:\n"
                  "  lr: {min: 1, max: 0.1}\n"
                  "  good: {values: [1, 2]}\n"
                  "  nest:\n"
                  "    parameters:\n"
                  "      a: {min: 3}\n"
                  "      b: {values: [1, 1]}\n"
                  "  mom: {distribution: unifrm, min: 0, max: 1}\n"
                  "conditions: [{if: {nobody: 1}, then: [good]}]\n",
                  "1:19 metric.aliasses\n3:7 parameters.lr\n7:10 parameters.nest.parameters.a.max\n"
                  "8:23 parameters.nest.parameters.b.values[1]\n9:23 parameters.mom.distribution\n");
  expect_mistakes("parameters: {a: {values: [1, 2]}, b: {min: 0, max: 1}}\n"
                  "conditions:\n"
                  "  - {if: {c: 1}, then: [b]}\n"
                  "  - {if: {a: 3}, then: [b]}\n"
                  "  - {if: {a: 2}, then: [b]}\n"
                  "constraints: ['a <', 'a < b', 'c > 1']\n",
                  "3:10 conditions[0].if\n4:10 conditions[1].if\n6:15 constraints[0]\n6:31 constraints[2]\n");
}

/* What is allowed, and seldom meant. */
static void what_is_seldom_meant_is_pointed_out(void **state) {
  (void)state;
  static const struct {
    const char *text, *warning; /* NULL: none */
  } rows[] = {
      {"lr: {distribution: log_uniform, min: 0.0001, max: 0.1}",
       "parameters.lr: bounds of log_uniform are exponents, so values lie between 1.0001 and 1.1052; for 0.0001 to 0.1 write log_uniform_values"},
      {"o: {parameters: {lr: {distribution: inv_log_uniform, min: 0.1, max: 1}}}",
       "parameters.o.lr: bounds of inv_log_uniform are exponents, so values lie between 0.36788 and 0.90484; for 0.1 to 1 write "
       "inv_log_uniform_values"},
      {"lr: {distribution: q_log_uniform, min: 3.4657, max: 5.545, q: 1}", NULL},
      {"o: {parameters: {lr: {values: [1, 2], probabilities: [0.2, 0.8]}}}\nmethod: grid",
       "parameters.o.lr: grid search takes each value once, whatever its probability"},
      {"lr: {values: [1, 2], probabilities: [0.2, 0.8]}\nmethod: random", NULL},
      {"lr: {min: 1, max: 10000000}\nmethod: grid", NULL},
      {"lr: {distribution: log_uniform, min: -9, max: 0}", NULL},
      {"lr: {distribution: log_uniform_values, min: 0.0001, max: 0.1}", NULL},
      {"lr: {min: 0, max: 1}\ncommand: [python3, train.py]",
       "command: no parameter is in it; a job finds them in WINNOW_PARAMS and PARAM_..., or add \"${args}\" or \"{{name}}\""},
      {"lr: {min: 0, max: 1}\ncommand: [sh, -c, 'train $PARAM_LR']", NULL},
      {"lr: {min: 0, max: 1}\ncommand: [sh, train.sh]\nenv: {LR: '{{lr}}'}", NULL},
      {"lr: {min: 0, max: 1}\ncommand: [a, '${args}', '--config=${args_json_file}']",
       "command[2]: \"--config=${args_json_file}\" stays as it is, since a macro must be an item of its own"},
      {"lr: {min: 0, max: 1}\ncommand: ['${env}', '${interpreter}', a.py, '${args_no_hyphens}', '${envvar:HOME}/x']", NULL},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_BUF struct buf text = BUF_INIT(4 * KIB);
    buf_printf(&text, "run_cap: 1\nparameters:\n  %s\n", rows[i].text);
    struct sweep_file *file = read_text(buf_text(&text));
    if (file->warnings.count != (rows[i].warning ? 1 : 0) ||
        (rows[i].warning && strcmp(file->warnings.items[0].message, rows[i].warning) != 0))
      fail_msg("row %zu: %zu, \"%s\"", i, file->warnings.count, file->warnings.count ? file->warnings.items[0].message : "");
    sweep_file_free(file);
  }
}

/* One of many points, and one that may be there: it is not looked for to the end. */
static void tight_constraints_are_taken(void **state) {
  (void)state;
  static const char *const texts[] = {
      "run_cap: 1\nparameters: {x: {min: 1, max: 60000}}\nconstraints: [x == 59999]\n",
      "run_cap: 1\nparameters: {x: {min: 1, max: 10000000}}\nconstraints: [x == 0.5]\n",
      "run_cap: 1\nparameters: {x: {min: 0.0, max: 1.0}}\nconstraints: [x == 0.5]\nfixed_first: [{x: 0.5}]\n",
      "method: grid\nparameters: {x: {min: 1, max: 10000000}}\n",
      "method: grid\nrun_cap: 9\nparameters: {x: {min: 1, max: 10000001}}\n",
  };
  for (size_t i = 0; i < ARRAY_LEN(texts); i++)
    sweep_file_free(read_text(texts[i]));
}

static void problems_of_the_space_get_a_place(void **state) {
  (void)state;
  static const struct {
    const char *text;
    unsigned line, column;
  } rows[] = {
      {"run_cap: 1\nparameters:\n  lr:\n    min: 3\n    max: 1\n", 4, 0},
      {"run_cap: 1\nparameters:\n  lr: {min: 0, max: 1}\n  x: {vaules: [1]}\n", 4, 15},
      {"run_cap: 1\nparameters: {x: {values: [1, 2]}, y: {min: 0, max: 1}}\nconditions:\n  - {if: {x: 1}, then: [z]}\n", 4, 0},
      {"run_cap: 1\nparameters: {x: {values: [1, 2]}}\nconstraints:\n  - x < 2\n  - x + * 3\n", 5, 5},
      {"run_cap: 1\nparameters: {x: {values: [1, 2, 3]}}\nconstraints:\n  - x > 5\n", 4, 5},
      {"method: grid\nparameters: {x: {values: [1, 2, 3]}}\nconstraints: [x > 5]\n", 3, 15},
      {"run_cap: 1\nparameters: {x: {min: 0.5, max: 1.0}}\nconstraints: [x > 5, x < 9]\n", 3, 14},
      {"kind: Experiment\nspec:\n  objective: {type: minimize, objectiveMetricName: l}\n  algorithm: {algorithmName: random}\n  parameters:\n"
       "    - name: lr\n      parameterType: double\n      feasibleSpace: {min: \"3\", max: \"1\"}\n" TEMPLATE,
       6, 7}, /* the parameter, for the complaint is about both bounds */
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct spec_problems errors;
    struct sweep_file *file = NULL;
    struct err err = {0};
    assert_false(sweep_file_read(str_of(rows[i].text), "s.yaml", &arena, &file, &errors, &err));
    if (errors.items[0].line < rows[i].line - (rows[i].column == 0) || errors.items[0].line > rows[i].line ||
        (rows[i].column && errors.items[0].column != rows[i].column))
      fail_msg("row %zu: %s", i, err.text);
  }
}

static void the_space_is_made(void **state) {
  (void)state;
  struct sweep_file *file = read_file("batchai.json");
  assert_int_equal(space_size(file->space), 5 * 3 * 3 * 2);
  sweep_file_free(file);
}

static void hyperband_has_two_meanings(void **state) {
  (void)state;
  static const struct {
    const char *rule;
    int type;
  } rows[] = {{"{type: hyperband, min_iter: 3}", STOP_WANDB_HYPERBAND},
              {"{type: hyperband, max_iter: 27, s: 2}", STOP_WANDB_HYPERBAND},
              {"{type: hyperband, min_iter: 1, max_iter: 81}", STOP_HYPERBAND},
              {"{type: hyperband, brackets: 2}", STOP_HYPERBAND},
              {"{type: hyperband, min_iter: 2, strict: false}", STOP_WANDB_HYPERBAND}};
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    char text[200];
    snprintf(text, sizeof text, "parameters: {x: {min: 0, max: 1}}\nmetric: a\nmax_parallel: 2\nearly_terminate: %s\n", rows[i].rule);
    struct sweep_file *file = read_text(text);
    assert_int_equal(((const struct stop_conf *)file->spec.early_terminate.items)->type, rows[i].type);
    sweep_file_free(file);
  }
}

static void the_schema_is_json(void **state) {
  (void)state;
  AUTO_BUF struct buf out = BUF_INIT(MIB);
  struct err err = {0};
  assert_true(sweep_file_schema(&out, &err));
  AUTO_JSON json_t *schema = NULL;
  if (!json_read(buf_str(&out), &schema, &err))
    fail_msg("%s", err.text);
  const json_t *properties = json_object_get(schema, "properties");
  assert_non_null(json_object_get(properties, "early_terminate"));
  assert_string_equal(json_string_value(json_object_get(json_object_get(properties, "project"), "title")), "another name of experiment");
  assert_true(json_is_true(json_object_get(json_object_get(properties, "entity"), "deprecated")));
  assert_string_equal(json_string_value(json_object_get(json_object_get(properties, "stop_grace"), "default")), "10s");
  assert_null(json_object_get(json_object_get(properties, "name"), "default"));
  assert_string_equal(json_string_value(json_array_get(json_object_get(schema, "required"), 0)), "parameters");
}

static void old_booleans_are_pointed_out(void **state) {
  (void)state;
  struct sweep_file *file = read_text("\xEF\xBB\xBFrun_cap: 1\nparameters:\n  bn: {values: [yes, \"no\"]}\n");
  assert_int_equal(file->warnings.count, 1);
  assert_string_equal(file->warnings.items[0].message,
                      "line 3: yes is read as text; write true or false for a boolean, or \"yes\" for text");
  assert_int_equal(file->warnings.items[0].line, 3);
  sweep_file_free(file);
}

static void large_files_are_refused_quickly(void **state) {
  (void)state;
  AUTO_BUF struct buf text = BUF_INIT(8 * MIB);
  for (int i = 0; i < 40000; i++)
    buf_printf(&text, "unknown_%d: 1\n", i);
  struct spec_problems errors;
  struct sweep_file *file = NULL;
  struct err err = {0};
  assert_false(sweep_file_read(buf_str(&text), "", &arena, &file, &errors, &err));
  assert_true(errors.count >= SPEC_PROBLEMS_MAX); /* the rest is not looked for */
  buf_puts(&text, "parameters: {x: {min: 0, max: 1}}\nnotes: ");
  while (text.n <= SWEEP_FILE_BYTES_MAX)
    buf_puts(&text, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
  assert_false(sweep_file_read(buf_str(&text), "", &arena, &file, &errors, &err));
  assert_int_equal(err.code, ERR_TOO_LARGE);
}

static void units_round_trip(void **state) {
  (void)state;
  static const int64_t durations[] = {0, 1, 1500, 90000, 3600000, 86400000, 172800000, 12345678};
  char text[32];
  for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
    int64_t ms;
    spec_format_duration(durations[i], text);
    assert_true(str_to_duration_ms(str_of(text), &ms) && ms == durations[i]);
  }
  static const uint64_t sizes[] = {0, 1, 1000, 1024, 2000000000, 3 * GIB, 1025};
  for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
    uint64_t bytes;
    spec_format_size(sizes[i], text);
    assert_true(str_to_size(str_of(text), &bytes) && bytes == sizes[i]);
  }
}

static void memory_failures_are_reported(void **state) {
  (void)state;
  for (unsigned long n = 1; n < 20000; n++) {
    struct arena own;
    arena_init(&own, MIB);
    struct sweep_file *file = NULL;
    struct spec_problems errors;
    struct err err = {0};
    mem_fail_at(n, true);
    bool ok = sweep_file_read(
        STR("parameters: {x: {values: [1, 2]}}\nmetric: a\nearly_terminate: [{type: asha}, {type: hyperband, min_iter: 3}]\n"
            "env: {A: b}\nlinks: [a, b]\nrun_cap: 3\n"),
        "x.yaml", &own, &file, &errors, &err);
    mem_fail_at(0, false);
    arena_release(&own);
    if (ok) {
      sweep_file_free(file);
      return;
    }
    assert_int_equal(err.code, ERR_NO_MEMORY);
  }
  fail_msg("never succeeded");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_full_file),
      cmocka_unit_test(defaults),
      cmocka_unit_test(shorthands),
      cmocka_unit_test(steps_that_miss_the_end_are_told),
      cmocka_unit_test(wandb_runs_unchanged),
      cmocka_unit_test(workers_of_a_launch),
      cmocka_unit_test(katib_is_translated),
      cmocka_unit_test(azureml_is_translated),
      cmocka_unit_test(azureml_paths_begin_at_the_file),
      cmocka_unit_test(all_that_is_not_used_is_told),
      cmocka_unit_test(what_is_not_used_may_be_misspelt),
      cmocka_unit_test(batchai_is_translated),
      cmocka_unit_test(whole_numbers_of_a_batchai_grid_differ),
      cmocka_unit_test(normal_forms_are_fixed_points),
      cmocka_unit_test(the_normal_form_shows_everything),
      cmocka_unit_test(what_running_trials_count_as),
      cmocka_unit_test(wandbs_hyperband_is_known_by_its_s),
      cmocka_unit_test(mistakes_name_place_and_meaning),
      cmocka_unit_test(all_mistakes_are_listed),
      cmocka_unit_test(all_mistakes_of_the_space_are_listed),
      cmocka_unit_test(tight_constraints_are_taken),
      cmocka_unit_test(problems_of_the_space_get_a_place),
      cmocka_unit_test(the_space_is_made),
      cmocka_unit_test(hyperband_has_two_meanings),
      cmocka_unit_test(the_schema_is_json),
      cmocka_unit_test(old_booleans_are_pointed_out),
      cmocka_unit_test(what_is_seldom_meant_is_pointed_out),
      cmocka_unit_test(large_files_are_refused_quickly),
      cmocka_unit_test(units_round_trip),
      cmocka_unit_test(memory_failures_are_reported),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
