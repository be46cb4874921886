/* Big-endian numbers, as Postgres' binary format has them. */
#ifndef WINNOW_STORAGE_PG_WIRE_H
#define WINNOW_STORAGE_PG_WIRE_H

#include <endian.h>

#include "base/base.h"

/* Between Postgres' epoch (2000) and ours (1970). */
#define PG_EPOCH_MS INT64_C(946684800000)

static inline uint16_t wire_u16(const char *p) {
  uint16_t v;
  memcpy(&v, p, sizeof v);
  return be16toh(v);
}

static inline uint32_t wire_u32(const char *p) {
  uint32_t v;
  memcpy(&v, p, sizeof v);
  return be32toh(v);
}

static inline uint64_t wire_u64(const char *p) {
  uint64_t v;
  memcpy(&v, p, sizeof v);
  return be64toh(v);
}

static inline void wire_put_u16(char *p, uint16_t v) {
  v = htobe16(v);
  memcpy(p, &v, sizeof v);
}

static inline void wire_put_u32(char *p, uint32_t v) {
  v = htobe32(v);
  memcpy(p, &v, sizeof v);
}

static inline void wire_put_u64(char *p, uint64_t v) {
  v = htobe64(v);
  memcpy(p, &v, sizeof v);
}

#endif
