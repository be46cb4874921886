/* Chunks, batches and summaries out of hostile bytes: never a crash; and what is read can be put again. The checksum is made to fit, or
 * nothing would get past it. */
#include "base/crc32c.h"
#include "storage/metrics/chunk_buckets.h"
#include "storage/metrics/chunk_code.h"
#include "tests/support/fuzz.h"

static bool add(void *ctx, struct str key UNUSED, const struct points *points) {
  *(size_t *)ctx += points->n;
  return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct column_coder *coder;
  if (!coder)
    coder = column_coder_new();
  if (!coder || size > 1 << 16)
    return 0;
  AUTO_BUF struct buf bytes = BUF_INIT(1 << 20);
  buf_add(&bytes, data, size);
  uint32_t crc = crc32c(0, bytes.p ? bytes.p : "", bytes.n);
  buf_add(&bytes, &crc, sizeof crc);
  struct err err;
  AUTO_POINTS struct points points = {0};
  if (chunk_get(coder, buf_str(&bytes), &points, &err)) {
    AUTO_BUF struct buf again = BUF_INIT(1 << 24);
    AUTO_POINTS struct points back = {0};
    chunk_put(coder, &points, &again);
    if (!claim(buf_ok(&again, &err) && chunk_get(coder, buf_str(&again), &back, &err) && back.n == points.n))
      return 0;
    claim(memcmp(back.value, points.value, points.n * sizeof *points.value) == 0);
    claim(memcmp(back.step, points.step, points.n * sizeof *points.step) == 0);
    if (!claim(points_normalise(&points)))
      return 0;
    struct cells cells;
    cells_build(&points, AXIS_TIME, CELLS_MAX, &cells);
  }
  size_t total = 0;
  if (!batch_get(coder, buf_str(&bytes), add, &total, &err))
    claim(err.code == ERR_IO || err.code == ERR_NO_MEMORY);
  struct cells cells;
  if (cells_get(coder, buf_str(&bytes), &cells, &err))
    claim(cells.n > 0 && cells.n <= CELLS_MAX);
  return 0;
}
