/* The same points come out however the bytes are cut, and across saving and restoring at every cut. The first byte says how to cut. */
#include "tests/support/fuzz.h"
#include "tracker/logs/log_metrics.h"

static bool collect(void *ctx, const struct log_point *points, size_t n, struct err *err) {
  (void)err;
  for (size_t i = 0; i < n; i++) {
    buf_add_str(ctx, points[i].key);
    buf_printf(ctx, " %.17g %g %g %lld %llu\n", points[i].value, points[i].step, points[i].epoch, (long long)points[i].at,
               (unsigned long long)points[i].line);
  }
  return true;
}

static struct log_metrics *make(void) {
  struct err err;
  struct log_metrics_options options = {.parse.want_aux = true};
  struct log_metrics *metrics = log_metrics_new(&options, &err);
  if (!metrics)
    abort();
  return metrics;
}

static bool restore(struct log_metrics *metrics, const struct buf *state) {
  struct err err;
  return claim(log_metrics_restore(metrics, buf_str(state), &err));
}

/* Two readers take turns at each cut, and serve one input after the other: nothing may be left in them but the state. */
static void read_all(struct str bytes, size_t piece, bool again, struct buf *out) {
  static struct log_metrics *readers[2];
  static struct buf fresh = BUF_INIT(4096);
  struct err err;
  if (!readers[0]) {
    readers[0] = make();
    readers[1] = make();
    log_metrics_save(readers[0], &fresh);
  }
  struct log_metrics *now = readers[0], *next = readers[1];
  bool ok = restore(now, &fresh);
  for (size_t at = 0; ok && at < bytes.n; at += piece) {
    ok = claim(log_metrics_feed(now, str_slice(bytes, at, at + piece), collect, out, &err));
    if (!ok || !again)
      continue;
    AUTO_BUF struct buf state = BUF_INIT(LOG_METRICS_STATE_MAX);
    log_metrics_save(now, &state);
    ok = restore(next, &state);
    struct log_metrics *swap = now;
    now = next;
    next = swap;
  }
  if (ok)
    claim(log_metrics_end(now, collect, out, &err));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2 || size > 4 * KIB)
    return 0;
  struct str bytes = str_n((const char *)data + 1, size - 1);
  AUTO_BUF struct buf whole = BUF_INIT(16 * MIB), cut = BUF_INIT(16 * MIB);
  read_all(bytes, bytes.n, false, &whole);
  read_all(bytes, 16 + (size_t)data[0] * 8, true, &cut);
  claim(str_eq(buf_str(&whole), buf_str(&cut)));
  static struct log_metrics *metrics;
  struct err err;
  if (!metrics)
    metrics = make();
  if (log_metrics_restore(metrics, bytes, &err)) { /* a state from nowhere is usable, or refused */
    AUTO_BUF struct buf out = BUF_INIT(MIB);
    claim(log_metrics_feed(metrics, STR("Epoch 1 loss: 0.5\n1 0.5 0.6\n{'a': 1}\n"), collect, &out, &err) &&
          log_metrics_end(metrics, collect, &out, &err));
  }
  return 0;
}
