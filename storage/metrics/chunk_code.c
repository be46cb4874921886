#include "storage/metrics/chunk_code.h"

#include "base/crc32c.h"

enum { VERSION = 1, HAS_EPOCH = 1 };

static void put_crc(struct buf *out, size_t from) {
  if (out->fail)
    return;
  uint32_t crc = crc32c(0, out->p + from, out->n - from);
  const char bytes[4] = {(char)crc, (char)(crc >> 8), (char)(crc >> 16), (char)(crc >> 24)};
  buf_add(out, bytes, sizeof bytes);
}

/* Checks version and checksum; *ret is what lies between them. */
static bool open_bytes(struct str bytes, const char *what, struct column_reader *ret, struct err *err) {
  if (bytes.n < 5)
    return err_set(err, ERR_IO, "%s of %zu bytes is cut short", what, bytes.n);
  const uint8_t *p = (const uint8_t *)bytes.p;
  const uint8_t *end = p + bytes.n - 4;
  uint32_t stored = (uint32_t)end[0] | (uint32_t)end[1] << 8 | (uint32_t)end[2] << 16 | (uint32_t)end[3] << 24;
  if (crc32c(0, p, bytes.n - 4) != stored)
    return err_set(err, ERR_IO, "%s is damaged: its checksum does not match", what);
  if (p[0] != VERSION)
    return err_set(err, ERR_IO, "%s has the unknown version %d", what, p[0]);
  *ret = (struct column_reader){p + 1, end};
  return true;
}

static bool damaged(const char *what, struct err *err) {
  return err_set(err, ERR_IO, "%s cannot be read although its checksum matches", what);
}

static void put_columns(struct column_coder *coder, const struct points *points, struct buf *out) {
  bool has_epoch = false;
  for (size_t i = 0; i < points->n && !has_epoch; i++)
    has_epoch = !isnan(points->epoch[i]);
  if (points->n == 0 || points->n > COLUMN_MAX) {
    out->fail = ERR_INTERNAL;
    return;
  }
  buf_putc(out, has_epoch ? HAS_EPOCH : 0);
  column_put_varint(out, points->n);
  column_put_i64(coder, points->step, points->n, out);
  column_put_i64(coder, points->time, points->n, out);
  column_put_f64(coder, points->value, points->n, out);
  if (has_epoch)
    column_put_f64(coder, points->epoch, points->n, out);
}

/* Appends to `points`. *ret_memory says that memory ran out. */
static bool get_columns(struct column_coder *coder, struct column_reader *r, struct points *points, bool *ret_memory) {
  *ret_memory = false;
  const uint8_t *flags = column_get_bytes(r, 1);
  uint64_t n;
  if (!flags || (*flags & ~HAS_EPOCH) || !column_get_varint(r, &n) || n == 0 || n > COLUMN_MAX)
    return false;
  size_t at = points->n;
  if (!points_reserve(points, at + (size_t)n)) {
    *ret_memory = true;
    return false;
  }
  if (!column_get_i64(coder, r, (size_t)n, points->step + at) || !column_get_i64(coder, r, (size_t)n, points->time + at) ||
      !column_get_f64(coder, r, (size_t)n, points->value + at))
    return false;
  if (*flags & HAS_EPOCH) {
    if (!column_get_f64(coder, r, (size_t)n, points->epoch + at))
      return false;
  } else {
    for (size_t i = 0; i < n; i++)
      points->epoch[at + i] = NAN;
  }
  points->n = at + (size_t)n;
  return true;
}

void chunk_put(struct column_coder *coder, const struct points *points, struct buf *out) {
  size_t from = out->n;
  buf_putc(out, VERSION);
  put_columns(coder, points, out);
  put_crc(out, from);
}

bool chunk_get(struct column_coder *coder, struct str bytes, struct points *points, struct err *err) {
  struct column_reader r;
  if (!open_bytes(bytes, "a chunk", &r, err))
    return false;
  bool memory;
  size_t before = points->n;
  if (get_columns(coder, &r, points, &memory) && r.at == r.end)
    return true;
  points->n = before;
  return memory ? err_no_memory(err) : damaged("a chunk", err);
}

void batch_put(struct column_coder *coder, const struct series_points *series, size_t count, struct buf *out) {
  size_t from = out->n;
  buf_putc(out, VERSION);
  column_put_varint(out, count);
  for (size_t i = 0; i < count; i++) {
    column_put_varint(out, series[i].key.n);
    buf_add_str(out, series[i].key);
    put_columns(coder, &series[i].points, out);
  }
  put_crc(out, from);
}

bool batch_get(struct column_coder *coder, struct str bytes, batch_add_fn *add, void *ctx, struct err *err) {
  struct column_reader r;
  uint64_t count;
  if (!open_bytes(bytes, "a batch", &r, err))
    return false;
  if (!column_get_varint(&r, &count) || count > BATCH_SERIES_MAX)
    return damaged("a batch", err);
  AUTO_POINTS struct points points = {0};
  for (uint64_t i = 0; i < count; i++) {
    uint64_t n;
    bool memory = false;
    const uint8_t *key = NULL;
    if (column_get_varint(&r, &n) && n <= SERIES_KEY_MAX)
      key = column_get_bytes(&r, (size_t)n);
    points.n = 0;
    if (!key || !get_columns(coder, &r, &points, &memory))
      return memory ? err_no_memory(err) : damaged("a batch", err);
    if (!add(ctx, str_n((const char *)key, (size_t)n), &points))
      return err_no_memory(err);
  }
  return r.at == r.end || damaged("a batch", err);
}
