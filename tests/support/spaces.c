#include "tests/support/spaces.h"

#include "base/mem.h"

static void stop(const char *what, const struct err *err) {
  fprintf(stderr, "%s: %s (%s)\n", what, err->text, err->hint);
  abort();
}

json_t *read_json(const char *text) {
  json_t *json;
  struct err err;
  if (!json_read(str_of(text), &json, &err))
    stop(text, &err);
  return json;
}

static bool try_space(const char *whole, struct space **ret, struct err *err) {
  AUTO_JSON json_t *json = read_json(whole);
  return space_new(json_object_get(json, "parameters"), json_object_get(json, "conditions"), json_object_get(json, "constraints"), ret,
                   err);
}

struct space *make_space(const char *whole) {
  struct space *space;
  struct err err;
  if (!try_space(whole, &space, &err))
    stop(whole, &err);
  return space;
}

const char *space_error(const char *whole) {
  static struct err err;
  struct space *space;
  if (!try_space(whole, &space, &err))
    return err.text;
  space_free(space);
  return "";
}

struct sampler *make_sampler(const struct history *history, enum sampler_type type, uint64_t seed) {
  struct sampler_settings settings = {.type = type, .seed = seed};
  struct sampler *sampler;
  struct err err;
  if (!sampler_new(history, &settings, &sampler, &err))
    stop("sampler_new", &err);
  return sampler;
}

const char *point_text(const struct space *space, const double *point) {
  static char text[4096];
  AUTO_JSON json_t *json = space_point_to_json(space, point);
  AUTO_BUF struct buf out = BUF_INIT(sizeof text);
  struct json_writer w;
  char *sorted = json ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
  AUTO_JSON json_t *again = sorted ? read_json(sorted) : NULL;
  free(sorted);
  jw_init(&w, &out);
  jw_json(&w, again);
  snprintf(text, sizeof text, "%s", buf_text(&out));
  return text;
}
