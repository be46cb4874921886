/* Ask and tell over standard input and output, a JSON object a line, so that a script can try samplers on problems of its own:
 *
 *   {"parameters": {..}, "conditions": [..], "constraints": [..], "goal": "minimize", "sampler": "auto", "seed": 1}   begins anew -> {"ok":
 * true}
 *   {"ask": 0}                                                                -> {"number": 0, "params": {..}, "by": "gp"} or {"finished":
 * true}
 *   {"tell": 0, "value": 0.5}    or "state": "failed", "stopped" with "step"  -> {"ok": true}
 */
#include <math.h>

#include "base/json.h"
#include "base/mem.h"
#include "sampler/sampler.h"

static struct space *space;
static struct history *history;
static struct sampler *sampler;

static void end_study(void) {
  sampler_free(sampler), history_free(history), space_free(space);
  sampler = NULL, history = NULL, space = NULL;
}

static bool begin_study(const json_t *message, struct err *err) {
  struct sampler_settings settings = {.seed = (uint64_t)json_integer_value(json_object_get(message, "seed"))};
  const char *goal = json_string_value(json_object_get(message, "goal"));
  end_study();
  if (!sampler_type_of(json_str(json_object_get(message, "sampler")), &settings.type))
    return err_set(err, ERR_INVALID, "unknown sampler");
  return space_new(json_object_get(message, "parameters"), json_object_get(message, "conditions"), json_object_get(message, "constraints"),
                   &space, err) &&
         history_new(space, goal && strcmp(goal, "maximize") == 0 ? GOAL_MAXIMIZE : GOAL_MINIMIZE, &history, err) &&
         sampler_new(history, &settings, &sampler, err);
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
  if (!history_tell(history, (uint32_t)json_integer_value(json_object_get(message, "tell")), &outcome, err))
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
