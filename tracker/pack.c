#include "tracker/pack.h"

void pack_u64(struct buf *out, uint64_t value) {
  while (value >= 0x80) {
    buf_putc(out, (char)(value | 0x80));
    value >>= 7;
  }
  buf_putc(out, (char)value);
}

void pack_i64(struct buf *out, int64_t value) {
  pack_u64(out, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}

void pack_f64(struct buf *out, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  for (int i = 0; i < 8; i++)
    buf_putc(out, (char)(bits >> (8 * i)));
}

void pack_str(struct buf *out, struct str text) {
  pack_u64(out, text.n);
  buf_add_str(out, text);
}

uint64_t unpack_u64(struct str *rest, bool *bad) {
  uint64_t value = 0;
  for (unsigned shift = 0; !*bad && rest->n && shift < 64; shift += 7) {
    unsigned char c = (unsigned char)*rest->p++;
    rest->n--;
    if (shift == 63 && c > 1)
      break;
    value |= (uint64_t)(c & 0x7f) << shift;
    if (c < 0x80)
      return value;
  }
  *bad = true;
  return 0;
}

int64_t unpack_i64(struct str *rest, bool *bad) {
  uint64_t value = unpack_u64(rest, bad);
  return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

double unpack_f64(struct str *rest, bool *bad) {
  if (*bad || rest->n < 8) {
    *bad = true;
    return 0;
  }
  uint64_t bits = 0;
  for (int i = 0; i < 8; i++)
    bits |= (uint64_t)(unsigned char)rest->p[i] << (8 * i);
  rest->p += 8;
  rest->n -= 8;
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

struct str unpack_str(struct str *rest, size_t max, bool *bad) {
  uint64_t n = unpack_below(rest, max, bad);
  if (*bad || n > rest->n) {
    *bad = true;
    return STR("");
  }
  struct str text = str_n(rest->p, (size_t)n);
  rest->p += n;
  rest->n -= (size_t)n;
  return text;
}

uint64_t unpack_below(struct str *rest, uint64_t max, bool *bad) {
  uint64_t value = unpack_u64(rest, bad);
  if (value > max)
    *bad = true;
  return *bad ? 0 : value;
}
