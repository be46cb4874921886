/* The samples of companions: whatever is read has a point of each series for each sample, and values that are numbers. */
#include "sweeper/machine/system_series.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  AUTO_METRIC_ROWS struct metric_rows rows;
  struct err err;
  metric_rows_init(&rows);
  if (system_series_read(str_n((const char *)data, size), &rows, &err)) {
    if (rows.points.n % SYSTEM_SERIES_COUNT || rows.points.n > (size_t)SYSTEM_SAMPLES_MAX * SYSTEM_SERIES_COUNT)
      abort();
    for (size_t i = 0; i < rows.points.n; i++)
      if (!isfinite(rows.points.value[i]) || rows.points.value[i] < 0 || rows.points.step[i] < 0)
        abort();
  }
  return 0;
}
