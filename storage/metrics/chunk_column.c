#include "storage/metrics/chunk_column.h"

#include <math.h>
#include <zstd.h>

#include "base/mem.h"

/* Below this many numbers planes stand as they are, without a tag each; and entropy coding is not worth its start. */
enum { TAGGED_FROM = 24, ZSTD_FROM = 256 };

struct column_coder {
  ZSTD_CCtx *compress;
  ZSTD_DCtx *decompress;
  /* Scratch for `room` numbers. */
  size_t room;
  uint64_t *offsets;
  uint8_t *plane;
  int64_t *whole;
  size_t packed_room;
  uint8_t *packed;
};

struct column_coder *column_coder_new(void) {
  struct column_coder *coder = mem_zalloc(sizeof *coder);
  if (!coder)
    return NULL;
  coder->compress = ZSTD_createCCtx();
  coder->decompress = ZSTD_createDCtx();
  if (!coder->compress || !coder->decompress) {
    column_coder_free(coder);
    return NULL;
  }
  return coder;
}

void column_coder_free(struct column_coder *coder) {
  if (!coder)
    return;
  ZSTD_freeCCtx(coder->compress);
  ZSTD_freeDCtx(coder->decompress);
  mem_free(coder->offsets);
  mem_free(coder->plane);
  mem_free(coder->whole);
  mem_free(coder->packed);
  mem_free(coder);
}

static bool grow(void *pointer, size_t count, size_t size) {
  void *old;
  memcpy(&old, pointer, sizeof old);
  void *more = mem_resize(old, count, size);
  if (!more)
    return false;
  memcpy(pointer, &more, sizeof more);
  return true;
}

static bool ready(struct column_coder *coder, size_t n) {
  if (n <= coder->room)
    return true;
  if (n > COLUMN_MAX)
    return false;
  size_t room = MAX_OF(n, (size_t)1024);
  size_t packed = ZSTD_compressBound(room);
  if (!grow(&coder->offsets, room, sizeof *coder->offsets) || !grow(&coder->plane, room, 1) ||
      !grow(&coder->whole, room, sizeof *coder->whole) || !grow(&coder->packed, packed, 1))
    return false;
  coder->room = room;
  coder->packed_room = packed;
  return true;
}

/* ---- small numbers ---- */

void column_put_varint(struct buf *out, uint64_t value) {
  char bytes[10];
  size_t n = 0;
  for (; value >= 0x80; value >>= 7)
    bytes[n++] = (char)(value | 0x80);
  bytes[n++] = (char)value;
  buf_add(out, bytes, n);
}

bool column_get_varint(struct column_reader *r, uint64_t *ret) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (r->at == r->end)
      return false;
    uint64_t byte = *r->at++;
    if (shift == 63 && byte > 1)
      return false;
    value |= (byte & 0x7F) << shift;
    if (byte < 0x80) {
      *ret = value;
      return true;
    }
  }
  return false;
}

static uint64_t zigzag(int64_t x) {
  return ((uint64_t)x << 1) ^ (uint64_t)(x >> 63);
}

static int64_t unzigzag(uint64_t x) {
  return (int64_t)((x >> 1) ^ (0 - (x & 1)));
}

const uint8_t *column_get_bytes(struct column_reader *r, size_t n) {
  if ((size_t)(r->end - r->at) < n)
    return NULL;
  const uint8_t *at = r->at;
  r->at += n;
  return at;
}

static bool get_byte(struct column_reader *r, uint8_t *ret) {
  const uint8_t *at = column_get_bytes(r, 1);
  if (at)
    *ret = *at;
  return at != NULL;
}

/* ---- planes ---- */

enum plane_tag { PLANE_RAW, PLANE_SAME, PLANE_ZSTD };

/* Would entropy coding save a sixteenth? */
static bool looks_compressible(const uint8_t *plane, size_t n) {
  uint32_t counts[4][256] = {{0}};
  size_t i = 0;
  for (; i + 4 <= n; i += 4)
    for (size_t k = 0; k < 4; k++)
      counts[k][plane[i + k]]++;
  for (; i < n; i++)
    counts[0][plane[i]]++;
  double bits = 0;
  for (size_t b = 0; b < 256; b++) {
    uint32_t count = counts[0][b] + counts[1][b] + counts[2][b] + counts[3][b];
    if (count)
      bits += count * log2((double)n / count);
  }
  return bits < 7.5 * (double)n;
}

static void put_plane(struct column_coder *coder, size_t n, struct buf *out) {
  const uint8_t *plane = coder->plane;
  if (n < TAGGED_FROM) {
    buf_add(out, plane, n);
    return;
  }
  if (memcmp(plane, plane + 1, n - 1) == 0) {
    buf_putc(out, PLANE_SAME);
    buf_putc(out, (char)plane[0]);
    return;
  }
  if (n >= ZSTD_FROM && looks_compressible(plane, n)) {
    size_t packed = ZSTD_compressCCtx(coder->compress, coder->packed, coder->packed_room, plane, n, 1);
    if (!ZSTD_isError(packed) && packed + 4 < n) {
      buf_putc(out, PLANE_ZSTD);
      column_put_varint(out, packed);
      buf_add(out, coder->packed, packed);
      return;
    }
  }
  buf_putc(out, PLANE_RAW);
  buf_add(out, plane, n);
}

/* *ret_plane is valid until the next plane. */
static bool get_plane(struct column_coder *coder, struct column_reader *r, size_t n, const uint8_t **ret_plane) {
  uint8_t tag = PLANE_RAW;
  if (n >= TAGGED_FROM && !get_byte(r, &tag))
    return false;
  if (tag == PLANE_RAW) {
    *ret_plane = column_get_bytes(r, n);
    return *ret_plane != NULL;
  }
  *ret_plane = coder->plane;
  if (tag == PLANE_SAME) {
    uint8_t same;
    if (!get_byte(r, &same))
      return false;
    memset(coder->plane, same, n);
    return true;
  }
  uint64_t packed;
  if (tag != PLANE_ZSTD || !column_get_varint(r, &packed) || packed > (size_t)(r->end - r->at))
    return false;
  const uint8_t *bytes = column_get_bytes(r, (size_t)packed);
  return ZSTD_decompressDCtx(coder->decompress, coder->plane, n, bytes, (size_t)packed) == n;
}

static void put_planes(struct column_coder *coder, const uint64_t *x, size_t n, unsigned width, struct buf *out) {
  for (unsigned shift = 0; shift < 8 * width; shift += 8) {
    for (size_t i = 0; i < n; i++)
      coder->plane[i] = (uint8_t)(x[i] >> shift);
    put_plane(coder, n, out);
  }
}

static bool get_planes(struct column_coder *coder, struct column_reader *r, size_t n, unsigned width, uint64_t *ret) {
  memset(ret, 0, n * sizeof *ret);
  for (unsigned shift = 0; shift < 8 * width; shift += 8) {
    const uint8_t *plane;
    if (!get_plane(coder, r, n, &plane))
      return false;
    for (size_t i = 0; i < n; i++)
      ret[i] |= (uint64_t)plane[i] << shift;
  }
  return true;
}

/* ---- whole numbers ---- */

/* The first byte: the width in bytes of what is stored (0 to 8), and whether it is differences. */
enum { WHOLE_WIDTH = 0x0F, WHOLE_DELTA = 0x10 };

struct span {
  int64_t low, high;
};

static uint64_t span_size(struct span span) {
  return (uint64_t)span.high - (uint64_t)span.low;
}

static unsigned bytes_for(uint64_t size) {
  return size ? (71 - (unsigned)__builtin_clzll(size)) / 8 : 0;
}

static int64_t difference(const int64_t *x, size_t i) {
  return (int64_t)((uint64_t)x[i] - (uint64_t)x[i - 1]); /* may wrap, and wraps back when read */
}

void column_put_i64(struct column_coder *coder, const int64_t *x, size_t n, struct buf *out) {
  if (n == 0)
    return;
  if (!ready(coder, n)) {
    out->fail = ERR_NO_MEMORY;
    return;
  }
  struct span plain = {x[0], x[0]}, delta = {0, 0};
  if (n > 1)
    delta = (struct span){difference(x, 1), difference(x, 1)};
  for (size_t i = 1; i < n; i++) {
    int64_t d = difference(x, i);
    plain.low = MIN_OF(plain.low, x[i]);
    plain.high = MAX_OF(plain.high, x[i]);
    delta.low = MIN_OF(delta.low, d);
    delta.high = MAX_OF(delta.high, d);
  }
  bool as_delta = n > 1 && span_size(delta) < span_size(plain);
  struct span span = as_delta ? delta : plain;
  unsigned width = bytes_for(span_size(span));
  buf_putc(out, (char)(width | (as_delta ? WHOLE_DELTA : 0)));
  column_put_varint(out, zigzag(span.low));
  if (as_delta)
    column_put_varint(out, zigzag(x[0]));
  if (!width)
    return;
  size_t from = as_delta ? 1 : 0;
  for (size_t i = from; i < n; i++)
    coder->offsets[i - from] = (uint64_t)(as_delta ? difference(x, i) : x[i]) - (uint64_t)span.low;
  put_planes(coder, coder->offsets, n - from, width, out);
}

bool column_get_i64(struct column_coder *coder, struct column_reader *r, size_t n, int64_t *ret) {
  if (n == 0)
    return true;
  uint8_t head;
  uint64_t low, first = 0;
  if (!ready(coder, n) || !get_byte(r, &head) || (head & ~(WHOLE_WIDTH | WHOLE_DELTA)) || (head & WHOLE_WIDTH) > 8 ||
      !column_get_varint(r, &low) || ((head & WHOLE_DELTA) && !column_get_varint(r, &first)))
    return false;
  uint64_t base = (uint64_t)unzigzag(low);
  size_t from = head & WHOLE_DELTA ? 1 : 0;
  if (!get_planes(coder, r, n - from, head & WHOLE_WIDTH, coder->offsets))
    return false;
  if (!from) {
    for (size_t i = 0; i < n; i++)
      ret[i] = (int64_t)(coder->offsets[i] + base);
    return true;
  }
  uint64_t x = (uint64_t)unzigzag(first);
  ret[0] = (int64_t)x;
  for (size_t i = 1; i < n; i++) {
    x += coder->offsets[i - 1] + base;
    ret[i] = (int64_t)x;
  }
  return true;
}

/* ---- doubles ---- */

enum double_mode { DOUBLE_PLANES, DOUBLE_DECIMAL };

enum { DECIMALS_MAX = 15, SAMPLE = 48, DECIMAL_FROM = 3 };

static const double power_of_ten[DECIMALS_MAX + 1] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

static uint64_t bits_of(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/* x is `*ret` units of 1/scale, exactly (to the bit). Whole numbers below 2^51, so that adding 1.5 * 2^52 rounds them. */
static inline bool as_decimal(double x, double scale, int64_t *ret) {
  double scaled = x * scale;
  if (!(fabs(scaled) < 2251799813685248.0))
    return false;
  double whole = (scaled + 6755399441055744.0) - 6755399441055744.0;
  *ret = (int64_t)whole;
  return bits_of((double)*ret / scale) == bits_of(x);
}

/* The fewest decimals that a sample of the column has, or -1 when it is not decimal. */
static int find_decimals(const double *x, size_t n) {
  size_t stride = MAX_OF(n / SAMPLE, (size_t)1);
  for (int k = 0; k <= DECIMALS_MAX; k++) {
    size_t tried = 0, missed = 0;
    for (size_t i = 0; i < n && missed <= SAMPLE / 16; i += stride, tried++) {
      int64_t ignored;
      if (!as_decimal(x[i], power_of_ten[k], &ignored))
        missed++;
    }
    if (missed <= tried / 16)
      return k;
  }
  return -1;
}

static bool put_decimal(struct column_coder *coder, const double *x, size_t n, struct buf *out) {
  int k = n < DECIMAL_FROM ? -1 : find_decimals(x, n);
  if (k < 0)
    return false;
  size_t odd_max = n / 16 + 1;
  AUTO_FREE int64_t *odd_at = mem_array(odd_max, sizeof *odd_at);
  if (!odd_at)
    return false;
  size_t odd = 0;
  struct span span = {INT64_MAX, INT64_MIN};
  for (size_t i = 0; i < n; i++) {
    int64_t whole;
    if (as_decimal(x[i], power_of_ten[k], &whole)) {
      span.low = MIN_OF(span.low, whole);
      span.high = MAX_OF(span.high, whole);
    } else {
      if (odd == odd_max)
        return false;
      odd_at[odd++] = (int64_t)i;
      whole = i ? coder->whole[i - 1] : 0;
    }
    coder->whole[i] = whole;
  }
  if (odd == n || bytes_for(span_size(span)) > 6)
    return false;
  buf_putc(out, DOUBLE_DECIMAL);
  buf_putc(out, (char)k);
  column_put_varint(out, odd);
  column_put_i64(coder, coder->whole, n, out);
  column_put_i64(coder, odd_at, odd, out);
  for (size_t i = 0; i < odd; i++)
    buf_add(out, &x[odd_at[i]], sizeof *x);
  return true;
}

void column_put_f64(struct column_coder *coder, const double *x, size_t n, struct buf *out) {
  if (n == 0)
    return;
  if (!ready(coder, n)) {
    out->fail = ERR_NO_MEMORY;
    return;
  }
  if (put_decimal(coder, x, n, out))
    return;
  buf_putc(out, DOUBLE_PLANES);
  memcpy(coder->offsets, x, n * sizeof *x);
  put_planes(coder, coder->offsets, n, 8, out);
}

static bool get_decimal(struct column_coder *coder, struct column_reader *r, size_t n, double *ret) {
  uint8_t k;
  uint64_t odd;
  if (!get_byte(r, &k) || k > DECIMALS_MAX || !column_get_varint(r, &odd) || odd > n || !column_get_i64(coder, r, n, coder->whole))
    return false;
  for (size_t i = 0; i < n; i++)
    ret[i] = (double)coder->whole[i] / power_of_ten[k];
  if (!column_get_i64(coder, r, (size_t)odd, coder->whole))
    return false;
  for (size_t i = 0; i < odd; i++) {
    const uint8_t *bytes = column_get_bytes(r, sizeof *ret);
    if (!bytes || coder->whole[i] < 0 || (uint64_t)coder->whole[i] >= n)
      return false;
    memcpy(&ret[coder->whole[i]], bytes, sizeof *ret);
  }
  return true;
}

bool column_get_f64(struct column_coder *coder, struct column_reader *r, size_t n, double *ret) {
  if (n == 0)
    return true;
  uint8_t mode;
  if (!ready(coder, n) || !get_byte(r, &mode))
    return false;
  if (mode == DOUBLE_DECIMAL)
    return get_decimal(coder, r, n, ret);
  if (mode != DOUBLE_PLANES || !get_planes(coder, r, n, 8, coder->offsets))
    return false;
  memcpy(ret, coder->offsets, n * sizeof *ret);
  return true;
}
