/* 128-bit ids, 32 hex digits as MLflow's. New ones begin with the time, so that they sort by age and sit together in an index: in
 * milliseconds, and in ten bits more the microsecond, so that what is made in one millisecond is in order, too. */
#ifndef WINNOW_BASE_ID_H
#define WINNOW_BASE_ID_H

#include "base/clock.h"
#include "base/rng.h"
#include "base/str.h"

#define ID_HEX_LEN 32

struct id {
  uint8_t bytes[16];
};

struct id id_new(const struct clock *clock, struct rng *rng);
/* The same for one that has to be made again: always the same of the same. `chance` are 16 bytes. */
struct id id_at(int64_t ms, const uint8_t *chance);
/* `out` gets 32 lower-case digits and a NUL. */
void id_format(struct id id, char out[ID_HEX_LEN + 1]);
/* 32 hex digits, either case, or a UUID with hyphens. */
MUST_CHECK bool id_parse(struct str text, struct id *ret);
bool id_eq(struct id a, struct id b);
bool id_is_zero(struct id id);

/* Lower-case hex of n bytes; `out` has room for 2 * n + 1. */
void hex_encode(const void *bytes, size_t n, char *out);
/* Unpadded base64url of n bytes, without a NUL; `out` has room for 4 * n / 3 + 1. Returns the length. */
size_t base64url_encode(const void *bytes, size_t n, char *out);
/* Exactly 2 * n digits. */
MUST_CHECK bool hex_decode(struct str text, void *bytes, size_t n);

#endif
