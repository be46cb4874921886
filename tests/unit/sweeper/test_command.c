#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "sweeper/file/command.h"

static struct arena arena;

static int setup(void **state) {
  (void)state;
  arena_init(&arena, 64 * MIB);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  arena_release(&arena);
  return 0;
}

static json_t *json(const char *text) {
  json_t *value = NULL;
  struct err err = {0};
  if (!json_read(str_of(text), &value, &err))
    fail_msg("%s", err.text);
  return value;
}

#define POINT                                                                                                                              \
  "{\"lr\": 1e-05, \"n\": 64, \"opt\": \"sgd\", \"bn\": true, \"cold\": false, \"none\": null, \"H\": {\"LR\": 0.1, \"note\": \"it's\"}, " \
  "\"sizes\": [1, 2.5, \"x\"]}"

/* Builds and joins with '|'. */
static void built(const char *const *items, size_t count, int style, const char *expected) {
  struct str texts[16];
  for (size_t i = 0; i < count; i++)
    texts[i] = str_of(items[i]);
  AUTO_JSON json_t *params = json(POINT);
  struct spec_pair pairs[] = {{STR("DATA_DIR"), STR("/data")}};
  struct spec_pairs variables = {pairs, 1};
  struct command_point point = {.params = params,
                                .program = STR("train.py"),
                                .interpreter = STR("python3"),
                                .json_file = STR("/tmp/c.json"),
                                .variables = &variables,
                                .style = style};
  struct spec_texts command = {texts, count}, argv;
  struct err err = {0};
  if (!command_build(&command, &point, &arena, &argv, &err))
    fail_msg("%s", err.text);
  AUTO_BUF struct buf joined = BUF_INIT(64 * KIB);
  for (size_t i = 0; i < argv.count; i++)
    buf_printf(&joined, "%s%.*s", i ? "|" : "", STR_ARG(argv.items[i]));
  assert_string_equal(buf_text(&joined), expected);
}

#define BUILT(style, expected, ...)                   \
  do {                                                \
    static const char *const items[] = {__VA_ARGS__}; \
    built(items, ARRAY_LEN(items), style, expected);  \
  } while (0)

static void macros(void **state) {
  (void)state;
  BUILT(ARGS_PYTHON,
        "/usr/bin/env|python3|train.py|--lr=1e-05|--n=64|--opt=sgd|--bn=True|--cold=False|--none=None|--H={'LR': 0.1, 'note': \"it's\"}|"
        "--sizes=[1, 2.5, 'x']",
        "${env}", "${interpreter}", "${program}", "${args}");
  BUILT(ARGS_JSON,
        "--lr=1e-05|--n=64|--opt=sgd|--bn=true|--cold=false|--none=null|--H={\"LR\":0.1,\"note\":\"it's\"}|--sizes=[1,2.5,\"x\"]",
        "${args}");
  BUILT(ARGS_PYTHON,
        "--lr|1e-05|--n|64|--opt|sgd|--bn|True|--cold|False|--none|None|--H|{'LR': 0.1, 'note': \"it's\"}|--sizes|[1, 2.5, 'x']",
        "${args_no_equals}");
  BUILT(ARGS_PYTHON, "x|lr=1e-05|n=64|opt=sgd|bn=True|cold=False|none=None|H={'LR': 0.1, 'note': \"it's\"}|sizes=[1, 2.5, 'x']", "x",
        "${args_no_hyphens}");
  BUILT(ARGS_JSON, "+lr=1e-05|+n=64|+opt=sgd|+bn=true|+cold=false|+none=null|+H={\"LR\":0.1,\"note\":\"it's\"}|+sizes=[1,2.5,\"x\"]",
        "${args_append_hydra}");
  BUILT(ARGS_JSON,
        "++lr=1e-05|++n=64|++opt=sgd|++bn=true|++cold=false|++none=null|++H={\"LR\":0.1,\"note\":\"it's\"}|++sizes=[1,2.5,\"x\"]",
        "${args_override_hydra}");
  BUILT(ARGS_PYTHON, "--lr=1e-05|--n=64|--opt=sgd|--bn|--none=None|--H={'LR': 0.1, 'note': \"it's\"}|--sizes=[1, 2.5, 'x']",
        "${args_no_boolean_flags}");
  BUILT(
      ARGS_PYTHON,
      "{\"lr\":1e-05,\"n\":64,\"opt\":\"sgd\",\"bn\":true,\"cold\":false,\"none\":null,\"H\":{\"LR\":0.1,\"note\":\"it's\"},\"sizes\":[1,2.5,"
      "\"x\"]}|/tmp/c.json",
      "${args_json}", "${args_json_file}");
}

static void text_is_filled_in(void **state) {
  (void)state;
  BUILT(ARGS_JSON, "--lr=1e-05 n64|--data=/data|--other=NO_SUCH|0.1", "--lr={{lr}} n{{ n }}", "--data=${envvar:DATA_DIR}",
        "--other=${envvar:NO_SUCH}", "{{H.LR}}");
  /* inside a longer item a macro stays, as other ${…} do */
  BUILT(ARGS_JSON, "x${program}|echo $HOME ${HOME}|{{\"a\": 1}}|{{", "x${program}", "echo $HOME ${HOME}", "{{\"a\": 1}}", "{{");
  /* an inactive parameter takes its argument with it */
  BUILT(ARGS_JSON, "a|b", "a", "--momentum={{momentum}}", "b");
  /* one argument stays one argument */
  BUILT(ARGS_JSON, "sgd; rm -rf /", "{{opt}}; rm -rf /");
}

static void param_words(void **state) {
  (void)state;
  BUILT(ARGS_JSON, "1e-05|--lr=1e-05,64|0.1|PARAM_LR_DECAY|xPARAM_LR|$PARAM_LR|${PARAM_LR}", "PARAM_LR", "--lr=PARAM_LR,PARAM_N",
        "PARAM_H__LR", "PARAM_LR_DECAY", "xPARAM_LR", "$PARAM_LR", "${PARAM_LR}");
}

static void submit_checks(void **state) {
  (void)state;
  AUTO_JSON json_t *parameters = json("{\"lr\": {\"min\": 0}, \"outer\": {\"parameters\": {\"inner\": {\"value\": 1}}}, "
                                      "\"H\": {\"values\": [{\"WD\": 0}, {\"LR\": 1}]}, \"a.b\": {\"value\": 2}, "
                                      "\"m\": {\"choices\": [{\"value\": 1}, {\"parameters\": {\"depth\": {\"value\": 2}}}]}}");
  static const struct {
    const char *item, *says, *hint;
  } rows[] = {
      {"${args}", NULL, NULL},
      {"${envvar:HOME}", NULL, NULL},
      {"{{lr}}", NULL, NULL},
      {"{{outer.inner}}", NULL, NULL},
      {"{{H.LR}}", NULL, NULL},
      {"{{a.b}}", NULL, NULL},
      {"{{m.depth}}", NULL, NULL},
      {"a ${HOME}", NULL, NULL},
      {"{{\"x\": 1}}", NULL, NULL},
      {"${arg}", "command[0]: the macro \"${arg}\" is not known", "${args}"},
      {"${HOME}", "the macro \"${HOME}\" is not known", "${envvar:NAME}"},
      {"--x={{lrr}}", "{{lrr}} is no parameter", "{{lr}}"},
      {"{{outer.other}}", "{{outer.other}} is no parameter", ""},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct str item = str_of(rows[i].item);
    struct spec_texts command = {&item, 1};
    struct err err = {0};
    bool ok = command_check(&command, parameters, &err);
    if (ok != !rows[i].says || (!ok && (!strstr(err.text, rows[i].says) || !strstr(err.hint, rows[i].hint))))
      fail_msg("%s: \"%s\" (%s)", rows[i].item, err.text, err.hint);
  }
}

static const char *look_up(const struct spec_pairs *env, const char *name) {
  const char *found = NULL;
  for (size_t i = 0; i < env->count; i++)
    if (str_is(env->items[i].name, name)) {
      assert_null(found); /* once */
      found = env->items[i].value.p;
    }
  return found;
}

static void environment(void **state) {
  (void)state;
  AUTO_JSON json_t *params = json(POINT);
  struct spec_pair own[] = {{STR("HOME"), STR("/root")},          {STR("PATH"), STR("/usr/bin")}, {STR("PGPASSWORD"), STR("secret")},
                            {STR("WINNOW_ADMIN"), STR("secret")}, {STR("LC_ALL"), STR("C")},      {STR("EXTRA"), STR("e")},
                            {STR("AWS_SECRET"), STR("secret")}};
  struct spec_pair at_submit[] = {{STR("PATH"), STR("/venv/bin:/usr/bin")}, {STR("VIRTUAL_ENV"), STR("/venv")}};
  struct spec_pair users[] = {
      {STR("OMP_NUM_THREADS"), STR("1")},     {STR("WINNOW_TOKEN"), STR("forged")},          {STR("RATE"), STR("{{lr}}")},
      {STR("MLFLOW_TRACKING_URI"), STR("u")}, {STR("CUDA_VISIBLE_DEVICES"), STR("0,1,2,3")}, {STR("MOM"), STR("{{momentum}}")}};
  struct str also[] = {STR("EXTRA")};
  struct spec_pair shown[] = {{STR("CUDA_VISIBLE_DEVICES"), STR("GPU-1,GPU-2")}, {STR("ROCR_VISIBLE_DEVICES"), STR("")}};
  struct spec_pairs inherited = {own, ARRAY_LEN(own)}, recorded = {at_submit, 2}, user = {users, ARRAY_LEN(users)}, env;
  struct spec_texts inherit_also = {also, 1};
  struct spec_pairs devices = {shown, ARRAY_LEN(shown)};
  struct command_point point = {.params = params, .style = ARGS_JSON};
  struct command_job job = {.url = STR("http://127.0.0.1:7070"),
                            .token = STR("t"),
                            .run_id = STR("r1"),
                            .sweep_id = STR("s1"),
                            .trial = 4,
                            .attempt = 1,
                            .experiment_id = STR("3"),
                            .experiment_name = STR("mnist"),
                            .checkpoint_dir = STR("/c"),
                            .wandb_file = STR("/w.yaml"),
                            .devices = &devices,
                            .inherited = &inherited,
                            .inherit_also = &inherit_also,
                            .recorded = &recorded,
                            .user = &user};
  struct err err = {0};
  if (!command_environment(&job, &point, &arena, &env, &err))
    fail_msg("%s", err.text);
  static const struct {
    const char *name, *value;
  } rows[] = {
      {"HOME", "/root"},
      {"PATH", "/venv/bin:/usr/bin"},
      {"PGPASSWORD", NULL},
      {"WINNOW_ADMIN", NULL},
      {"AWS_SECRET", NULL},
      {"LC_ALL", "C"},
      {"EXTRA", "e"},
      {"VIRTUAL_ENV", "/venv"},
      {"OMP_NUM_THREADS", "1"},
      {"WINNOW_TOKEN", "t"},
      {"WINNOW_TRIAL", "4"},
      {"WINNOW_ATTEMPT", "1"},
      {"RATE", "1e-05"},
      {"MOM", NULL},
      {"MLFLOW_TRACKING_URI", "u"},
      {"MLFLOW_RUN_ID", "r1"},
      {"PARAM_LR", "1e-05"},
      {"PARAM_H__LR", "0.1"},
      {"PARAM_BN", "true"},
      {"AZUREML_SWEEP_lr", "1e-05"},
      {"WANDB_SWEEP_ID", "s1"},
      {"WANDB_RUN_ID", "r1"},
      {"CUDA_VISIBLE_DEVICES", "GPU-1,GPU-2"},
      {"ROCR_VISIBLE_DEVICES", ""},
      {"PYTHONUNBUFFERED", "1"},
      {"WANDB_SWEEP_PARAM_PATH", "/w.yaml"},
      {"MLFLOW_EXPERIMENT_NAME", "mnist"},
      {"WINNOW_CHECKPOINT_DIR", "/c"},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    const char *value = look_up(&env, rows[i].name);
    if (rows[i].value ? !value || strcmp(value, rows[i].value) != 0 : value != NULL)
      fail_msg("%s is \"%s\"", rows[i].name, value ? value : "(none)");
  }
}

static void a_large_environment(void **state) {
  (void)state;
  enum { MANY = 1000 };
  static char names[MANY][16];
  static struct spec_pair pairs[2 * MANY];
  for (int i = 0; i < MANY; i++) {
    snprintf(names[i], sizeof names[i], "V%d", i);
    pairs[i] = (struct spec_pair){str_of(names[i]), STR("first")};
    pairs[MANY + i] = (struct spec_pair){str_of(names[i]), i % 2 ? str_of(names[i]) : STR("even")};
  }
  AUTO_JSON json_t *params = json("{}");
  const struct spec_pairs user = {pairs, 2 * MANY};
  struct command_point point = {.params = params};
  struct command_job job = {.user = &user};
  struct spec_pairs env;
  struct err err;
  assert_true(command_environment(&job, &point, &arena, &env, &err));
  assert_string_equal(look_up(&env, "V0"), "even");
  assert_string_equal(look_up(&env, "V999"), "V999");
  assert_string_equal(look_up(&env, "PYTHONUNBUFFERED"), "1");
}

static void names_and_files(void **state) {
  (void)state;
  AUTO_BUF struct buf out = BUF_INIT(KIB);
  command_param_name(STR("batch-size.x"), &out);
  assert_string_equal(buf_text(&out), "PARAM_BATCH_SIZE_X");
  AUTO_JSON json_t *params = json("{\"lr\": 0.1, \"o\": \"a: b\"}");
  buf_reset(&out);
  command_wandb_file(params, &out);
  assert_string_equal(buf_text(&out), "\"lr\":\n  value: 0.1\n\"o\":\n  value: \"a: b\"\n");
}

static void limits(void **state) {
  (void)state;
  AUTO_BUF struct buf text = BUF_INIT(2 * MIB);
  for (size_t i = 0; i < COMMAND_ITEM_MAX + 1; i++)
    buf_putc(&text, 'x');
  AUTO_JSON json_t *params = json("{}");
  struct str item = buf_str(&text);
  struct spec_texts command = {&item, 1}, argv;
  struct command_point point = {.params = params};
  struct err err = {0};
  assert_false(command_build(&command, &point, &arena, &argv, &err));
  assert_int_equal(err.code, ERR_TOO_LARGE);
  item = STR("${args}");
  assert_false(command_build(&command, &point, &arena, &argv, &err));
  assert_string_equal(err.text, "the command is empty");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(macros),        cmocka_unit_test(text_is_filled_in),   cmocka_unit_test(param_words),
      cmocka_unit_test(submit_checks), cmocka_unit_test(environment),         cmocka_unit_test(names_and_files),
      cmocka_unit_test(limits),        cmocka_unit_test(a_large_environment),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
