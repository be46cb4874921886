/* Ask and tell over standard input and output, a JSON object a line, so that a script can try samplers on problems of its own:
 *
 *   {"parameters": {..}, "conditions": [..], "constraints": [..], "goal": "minimize", "sampler": "auto", "seed": 1}   begins anew -> {"ok":
 * true}
 *   {"ask": 0}                                                                -> {"number": 0, "params": {..}, "by": "gp"} or {"finished":
 * true}
 *   {"tell": 0, "value": 0.5}    or "state": "failed", "stopped" with "step"  -> {"ok": true}
 *
 * With "early_terminate" in the first message, as a sweep file has it, the rules hear what a trial reports:
 *
 *   {"report": 0, "epoch": 3, "value": 0.5}                                   -> {"stop": false}
 */
#include <math.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/shelf.h"
#include "sampler/sampler.h"
#include "sweeper/file/sweep_file.h"

static struct space *space;
static struct history *history;
static struct sampler *sampler;
static struct stop_set *rules;
static struct shelf curves = SHELF_INIT(struct curve); /* by number, where rules hear */

static void end_study(void) {
  sampler_free(sampler), history_free(history), space_free(space), stop_set_free(rules);
  shelf_release(&curves);
  sampler = NULL, history = NULL, space = NULL, rules = NULL;
}

/* The rules of a sweep file that has nothing else to say, and what it makes of trials that run. */
static bool begin_rules(const json_t *early_terminate, const char *goal, enum sampler_type type, struct err *err) {
  AUTO_JSON json_t *sweep =
      json_pack("{s:{s:s,s:s},s:{s:{s:i,s:i}},s:i,s:s,s:O}", "metric", "name", "value", "goal", goal, "parameters", "x", "min", 0, "max", 1,
                "run_cap", 1, "sampler", sampler_type_name(type), "early_terminate", early_terminate);
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  struct json_writer w;
  jw_init(&w, &text);
  jw_json(&w, sweep);
  struct arena arena;
  struct spec_problems problems;
  struct sweep_file *file;
  arena_init(&arena, MIB);
  bool ok = buf_ok(&text, err) && sweep_file_read(buf_str(&text), "rules", &arena, &file, &problems, err);
  if (ok) {
    struct stop_goal by = sweep_file_goal(file);
    ok = stop_set_new(file->spec.early_terminate.items, file->spec.early_terminate.count, &by, &rules, err);
    history_suppose(history, (enum supposed)file->spec.metric.impute_while_running);
    sweep_file_free(file);
  }
  arena_release(&arena);
  return ok;
}

static bool begin_study(const json_t *message, struct err *err) {
  struct sampler_settings settings = {.seed = (uint64_t)json_integer_value(json_object_get(message, "seed"))};
  const char *goal = json_string_value(json_object_get(message, "goal"));
  const json_t *rule_list = json_object_get(message, "early_terminate");
  end_study();
  if (!sampler_type_of(json_str(json_object_get(message, "sampler")), &settings.type))
    return err_set(err, ERR_INVALID, "unknown sampler");
  return space_new(json_object_get(message, "parameters"), json_object_get(message, "conditions"), json_object_get(message, "constraints"),
                   &space, err) &&
         history_new(space, goal && strcmp(goal, "maximize") == 0 ? GOAL_MAXIMIZE : GOAL_MINIMIZE, &history, err) &&
         sampler_new(history, &settings, &sampler, err) &&
         (!rule_list || begin_rules(rule_list, goal ? goal : "minimize", settings.type, err));
}

static bool report(const json_t *message, struct err *err) {
  struct stop_verdict verdict = {.stop = false};
  double epoch = json_number_value(json_object_get(message, "epoch"));
  struct stop_point point = {.trial = (uint32_t)json_integer_value(json_object_get(message, "report")),
                             .key = STR("value"),
                             .value = json_number_value(json_object_get(message, "value")),
                             .step = (int64_t)epoch,
                             .epoch = epoch};
  if (rules && !stop_feed(rules, &point, &verdict, err))
    return false;
  if (!shelf_reserve(&curves, (size_t)point.trial + 1))
    return err_no_memory(err);
  curve_hear(shelf_at(&curves, point.trial), epoch, point.value);
  history_hear(history, point.trial, point.value);
  puts(verdict.stop ? "{\"stop\": true}" : "{\"stop\": false}");
  return true;
}

static bool ask(uint32_t number, struct err *err) {
  double point[SPACE_PARAMS_MAX];
  struct suggestion suggestion;
  if (!sampler_suggest(sampler, number, point, &suggestion, err))
    return false;
  if (suggestion.kind == SUGGESTION_NONE_LEFT) {
    puts("{\"finished\": true}");
    return true;
  }
  if (!history_add(history, number, point, NULL, err))
    return false;
  AUTO_JSON json_t *params = space_point_to_json(space, point);
  AUTO_BUF struct buf line = BUF_INIT(MIB);
  struct json_writer w;
  jw_init(&w, &line);
  jw_object(&w);
  jw_put_i64(&w, "number", number);
  jw_key(&w, "params");
  jw_json(&w, params);
  jw_put_text(&w, "by", sampler_type_name(suggestion.by));
  jw_object_end(&w);
  if (!buf_ok(&line, err))
    return false;
  puts(buf_text(&line));
  return true;
}

static bool tell(const json_t *message, struct err *err) {
  struct outcome outcome = {.state = TRIAL_FINISHED, .value = NAN};
  const json_t *value = json_object_get(message, "value");
  const char *state = json_string_value(json_object_get(message, "state"));
  if (json_is_number(value))
    outcome.value = json_number_value(value);
  if (state && strcmp(state, "failed") == 0)
    outcome.state = TRIAL_FAILED;
  if (state && strcmp(state, "stopped") == 0)
    outcome.state = TRIAL_STOPPED;
  outcome.step = json_number_value(json_object_get(message, "step"));
  uint32_t number = (uint32_t)json_integer_value(json_object_get(message, "tell"));
  if (number < curves.cap && !history_add_curve(history, number, shelf_at(&curves, number), err))
    return false;
  if (!history_tell(history, number, &outcome, err) || (rules && !stop_ended(rules, number, outcome.state == TRIAL_FINISHED, err)))
    return false;
  puts("{\"ok\": true}");
  return true;
}

static bool handle(const json_t *message, struct err *err) {
  if (json_object_get(message, "parameters")) {
    if (!begin_study(message, err))
      return false;
    puts("{\"ok\": true}");
    return true;
  }
  if (!sampler)
    return err_set(err, ERR_WRONG_STATE, "no study was begun");
  if (json_object_get(message, "ask"))
    return ask((uint32_t)json_integer_value(json_object_get(message, "ask")), err);
  if (json_object_get(message, "report"))
    return report(message, err);
  return tell(message, err);
}

int main(void) {
  char *line = NULL;
  size_t room = 0;
  ssize_t n;
  while ((n = getline(&line, &room, stdin)) > 0) {
    struct err err = {0};
    AUTO_JSON json_t *message = NULL;
    if (!json_read(str_n(line, (size_t)n), &message, &err) || !handle(message, &err))
      printf("{\"error\": \"%s\"}\n", err.text);
    fflush(stdout);
  }
  free(line);
  end_study();
  return 0;
}
