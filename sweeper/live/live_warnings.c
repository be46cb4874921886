/* What a sweep warns of, in sentences for people. */
#include "base/mem.h"
#include "sweeper/live/live.h"

void live_forget_warnings(struct live_sweep *live) {
  for (size_t i = 0; i < live->warning_count; i++)
    mem_free(live->warnings[i]);
  mem_free(live->warnings);
  live->warnings = NULL;
  live->warning_count = 0;
}

bool live_warn(struct live_sweep *live, const char *text, struct err *err) {
  char *copy = mem_strdup(text), **bigger = copy ? mem_resize(live->warnings, live->warning_count + 1, sizeof *bigger) : NULL;
  if (!bigger) {
    mem_free(copy);
    return err_no_memory(err);
  }
  live->warnings = bigger;
  live->warnings[live->warning_count++] = copy;
  return true;
}

bool live_has_warning(const struct live_sweep *live, const char *text) {
  for (size_t i = 0; i < live->warning_count; i++)
    if (strcmp(live->warnings[i], text) == 0)
      return true;
  return false;
}

void live_withdraw_warning(struct live_sweep *live, const char *text) {
  size_t kept = 0;
  for (size_t i = 0; i < live->warning_count; i++)
    if (strcmp(live->warnings[i], text) == 0)
      mem_free(live->warnings[i]);
    else
      live->warnings[kept++] = live->warnings[i];
  live->warning_count = kept;
}

bool live_take_warnings(struct live_sweep *live, struct str text, struct err *err) {
  AUTO_JSON json_t *list = NULL;
  if (!json_read(text, &list, err))
    return false;
  live_forget_warnings(live);
  for (size_t i = 0; i < json_array_size(list); i++) {
    const char *warning = json_string_value(json_array_get(list, i));
    if (!warning)
      return err_set(err, ERR_INVALID, "warning %zu is no text", i);
    if (!live_warn(live, warning, err))
      return false;
  }
  return true;
}

bool live_take_file_warnings(struct live_sweep *live, const struct sweep_file *file, struct err *err) {
  live_forget_warnings(live);
  for (size_t i = 0; i < MIN_OF(file->warnings.count, (size_t)SPEC_PROBLEMS_MAX); i++)
    if (!live_warn(live, file->warnings.items[i].message, err))
      return false;
  return true;
}

void live_put_warnings(const struct live_sweep *live, struct json_writer *w) {
  for (size_t i = 0; i < live->warning_count; i++)
    jw_text(w, live->warnings[i]);
}
