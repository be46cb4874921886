#include "base/id.h"

static const char digits[] = "0123456789abcdef";

void hex_encode(const void *bytes, size_t n, char *out) {
  const uint8_t *p = bytes;
  for (size_t i = 0; i < n; i++) {
    *out++ = digits[p[i] >> 4];
    *out++ = digits[p[i] & 15];
  }
  *out = 0;
}

size_t base64url_encode(const void *bytes, size_t n, char *out) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const uint8_t *p = bytes;
  char *at = out;
  uint32_t bits = 0;
  unsigned have = 0;
  for (size_t i = 0; i < n; i++) {
    bits = bits << 8 | p[i];
    for (have += 8; have >= 6; have -= 6)
      *at++ = letters[bits >> (have - 6) & 63];
  }
  if (have)
    *at++ = letters[bits << (6 - have) & 63];
  return (size_t)(at - out);
}

bool hex_decode(struct str text, void *bytes, size_t n) {
  if (text.n != 2 * n)
    return false;
  uint8_t *out = bytes;
  for (size_t i = 0; i < n; i++) {
    int high = hex_digit(text.p[2 * i]), low = hex_digit(text.p[2 * i + 1]);
    if (high < 0 || low < 0)
      return false;
    out[i] = (uint8_t)(high << 4 | low);
  }
  return true;
}

struct id id_at(int64_t ms, const uint8_t *chance) {
  struct id id;
  memcpy(id.bytes, chance, sizeof id.bytes);
  for (size_t i = 0; i < 6; i++)
    id.bytes[i] = (uint8_t)((uint64_t)ms >> (40 - 8 * i));
  return id;
}

struct id id_new(const struct clock *clock, struct rng *rng) {
  uint64_t chance[2] = {rng_u64(rng), rng_u64(rng)};
  int64_t now_us = clock_wall_us(clock);
  struct id id = id_at(now_us / 1000, (const uint8_t *)chance);
  unsigned us = (unsigned)(now_us % 1000);
  id.bytes[6] = (uint8_t)(us >> 2);
  id.bytes[7] = (uint8_t)(us << 6 | (id.bytes[7] & 63));
  return id;
}

void id_format(struct id id, char out[ID_HEX_LEN + 1]) {
  hex_encode(id.bytes, sizeof id.bytes, out);
}

bool id_parse(struct str text, struct id *ret) {
  char plain[ID_HEX_LEN];
  if (text.n == 36) {
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
      bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
      if (hyphen != (text.p[i] == '-'))
        return false;
      if (!hyphen)
        plain[n++] = text.p[i];
    }
    text = str_n(plain, n);
  }
  struct id id;
  if (!hex_decode(text, id.bytes, sizeof id.bytes))
    return false;
  *ret = id;
  return true;
}

bool id_eq(struct id a, struct id b) {
  return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

bool id_is_zero(struct id id) {
  return id_eq(id, (struct id){{0}});
}
