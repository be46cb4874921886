#include "base/crc32c.h"

#include <pthread.h>

/* table[k][b]: byte b followed by k zero bytes. */
static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void fill_table(void) {
  for (uint32_t b = 0; b < 256; b++) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; bit++)
      crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0);
    table[0][b] = crc;
  }
  for (uint32_t b = 0; b < 256; b++)
    for (int k = 1; k < 8; k++)
      table[k][b] = (table[k - 1][b] >> 8) ^ table[0][table[k - 1][b] & 0xFF];
}

uint32_t crc32c_portable(uint32_t seed, const void *bytes, size_t n) {
  pthread_once(&table_once, fill_table);
  const uint8_t *p = bytes;
  uint32_t crc = ~seed;
  for (; n >= 8; n -= 8, p += 8) {
    uint32_t low = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
    crc = table[7][low & 0xFF] ^ table[6][(low >> 8) & 0xFF] ^ table[5][(low >> 16) & 0xFF] ^ table[4][low >> 24] ^ table[3][p[4]] ^
          table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
  }
  for (; n; n--, p++)
    crc = (crc >> 8) ^ table[0][(crc ^ *p) & 0xFF];
  return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc32c_instruction(uint32_t seed, const void *bytes, size_t n) {
  const uint8_t *p = bytes;
  uint64_t crc = ~seed;
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    crc = __builtin_ia32_crc32di(crc, word);
  }
  uint32_t tail = (uint32_t)crc;
  for (; n; n--, p++)
    tail = __builtin_ia32_crc32qi(tail, *p);
  return ~tail;
}
#endif

uint32_t crc32c(uint32_t seed, const void *bytes, size_t n) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("sse4.2"))
    return crc32c_instruction(seed, bytes, n);
#endif
  return crc32c_portable(seed, bytes, n);
}
