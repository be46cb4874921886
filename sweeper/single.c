/* Runs that are launched by themselves: what may be said of them. */
#include "sweeper/sweeps_inside.h"

bool sweeps_single_check(const json_t *body, struct err *err) {
  static const char *const keys[] = {"name",     "notes",        "command",       "resources",  "retries",   "stop_grace",
                                     "workdir",  "workdir_mode", "workdir_max",   "links",      "env",       "inherit_env",
                                     "tty",      "log_max",      "log_spool_max", "log_policy", "artifacts", "metrics_from",
                                     "executor", "priority",     "experiment"};
  const json_t *command = json_object_get(body, "command");
  for (void *at = json_object_iter((json_t *)(uintptr_t)body); at; at = json_object_iter_next((json_t *)(uintptr_t)body, at)) {
    const char *key = json_object_iter_key(at);
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
      known |= strcmp(key, keys[i]) == 0;
    if (known)
      continue;
    const char *near = str_nearest_of(str_of(key), keys, ARRAY_LEN(keys));
    err_set(err, ERR_INVALID, "unknown key \"%.60s\" of a run", key);
    return near ? err_hint(err, "did you mean \"%s\"?", near) : false;
  }
  return (json_is_array(command) && json_array_size(command)) ||
         err_set(err, ERR_INVALID, "\"command\" must be a list, one item an argument");
}
