/* Metric files of every format: the same points however the bytes are cut and across saving and restoring. The first byte says the
 * format and the cut. */
#include "tests/support/fuzz.h"
#include "tracker/logs/metric_file.h"

static bool collect(void *ctx, const struct log_point *points, size_t n, struct err *err) {
  (void)err;
  for (size_t i = 0; i < n; i++) {
    buf_add_str(ctx, points[i].key);
    buf_printf(ctx, " %.17g %g %g %lld %llu\n", points[i].value, points[i].step, points[i].epoch, (long long)points[i].at,
               (unsigned long long)points[i].line);
  }
  return true;
}

static struct metric_file *make(enum metric_format format) {
  struct err err;
  struct metric_file *file = metric_file_new(format, "p/", &err);
  claim(file != NULL);
  return file;
}

/* False when the file was refused, at whichever byte. */
static bool read_all(enum metric_format format, struct str bytes, size_t piece, bool again, struct buf *out) {
  struct err err;
  struct metric_file *file = make(format);
  bool ok = file != NULL;
  if (ok && format == METRIC_JSON)
    ok = metric_file_snapshot(file, str_slice(bytes, 0, bytes.n / 2), collect, out, &err) &&
         metric_file_snapshot(file, bytes, collect, out, &err);
  for (size_t at = 0; format != METRIC_JSON && ok && at < bytes.n; at += piece) {
    ok = metric_file_feed(file, str_slice(bytes, at, at + piece), collect, out, &err);
    if (!ok || !again)
      continue;
    AUTO_BUF struct buf state = BUF_INIT(METRIC_FILE_STATE_MAX);
    metric_file_save(file, &state);
    metric_file_free(file);
    file = make(format);
    ok = claim(file && metric_file_restore(file, buf_str(&state), &err));
  }
  if (ok)
    claim(metric_file_end(file, collect, out, &err));
  metric_file_free(file);
  return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2 || size > 16 * KIB)
    return 0;
  enum metric_format format = (enum metric_format)(data[0] % METRIC_FORMAT_COUNT);
  struct str bytes = str_n((const char *)data + 1, size - 1);
  AUTO_BUF struct buf whole = BUF_INIT(16 * MIB), cut = BUF_INIT(16 * MIB);
  bool ok = read_all(format, bytes, bytes.n, false, &whole);
  claim(ok == read_all(format, bytes, 1 + (size_t)data[0] * 4, true, &cut) && str_eq(buf_str(&whole), buf_str(&cut)));
  struct err err;
  struct metric_file *file = make(format);
  AUTO_BUF struct buf out = BUF_INIT(MIB);
  if (file && metric_file_restore(file, bytes, &err) && format != METRIC_JSON)
    (void)!metric_file_feed(file, STR("1,2,3\n{\"a\": 1}\n"), collect, &out, &err);
  metric_file_free(file);
  return 0;
}
