#include "sweeper/machine/system_series.h"

const char *const system_series_names[SYSTEM_SERIES_COUNT] = {
    SYSTEM_SERIES_PREFIX "cpu_percent",   SYSTEM_SERIES_PREFIX "memory_bytes", SYSTEM_SERIES_PREFIX "read_bytes",
    SYSTEM_SERIES_PREFIX "written_bytes", SYSTEM_SERIES_PREFIX "processes",
};

static bool read_sample(struct str line, struct metric_rows *rows, struct err *err) {
  struct str word;
  struct point point = {.epoch = NAN};
  bool ok = str_split(&line, ' ', &word) && str_to_i64(word, &point.step) && point.step >= 0 && str_split(&line, ' ', &word) &&
            str_to_i64(word, &point.time) && point.time >= 0;
  for (size_t i = 0; i < SYSTEM_SERIES_COUNT && ok; i++) {
    const char *name = system_series_names[i];
    ok = str_split(&line, ' ', &word) && str_to_f64(word, &point.value) && isfinite(point.value) && point.value >= 0;
    if (ok && !metric_rows_add(rows, str_of(name), point))
      return err_no_memory(err);
  }
  return (ok && !line.p) || err_set(err, ERR_INVALID, "a sample is not understood");
}

bool system_series_read(struct str text, struct metric_rows *rows, struct err *err) {
  struct str line;
  size_t count = 0;
  while (str_split(&text, '\n', &line)) {
    if (!str_starts(line, STR("sample ")))
      continue;
    if (++count > SYSTEM_SAMPLES_MAX)
      return err_set(err, ERR_TOO_LARGE, "at most %d samples at once", SYSTEM_SAMPLES_MAX);
    if (!read_sample(str_slice(line, 7, line.n), rows, err))
      return false;
  }
  return true;
}
