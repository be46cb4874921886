/* Numbers to text.
 *
 * A double is c * 2^q, and reads back from any decimal between the middles to its neighbours. Of the decimals in there with the fewest
 * digits the nearest is wanted. With k = floor(log10(2^q)) the multiples of 10^k lie closer together than the middles, those of 10^(k+1) at
 * most one in between, so it is a multiple of 10^(k+1) if one lies there, else one of 10^k (Schubfach, R. Giulietti 2020). Value and
 * middles are brought to that scale by a product with 10^-k, exactly, which 128 bits allow from k = -54 to 27: where measured values lie.
 * The few others are left to the C library. */
#define WINNOW_ALLOW_NUMBERS /* strtod() says what reads back */
#include <endian.h>
#include <math.h>

#include "base/str.h"

enum { EIGHT = 100000000, FRACTION_BITS = 52, EXPONENT_BIAS = 1075, FIVES = 28 };

/* clang-format off */
static const uint64_t fives[FIVES] = {
  1u, 5u, 25u, 125u, 625u, 3125u, 15625u, 78125u, 390625u, 1953125u, 9765625u,
  48828125u, 244140625u, 1220703125u, 6103515625u, 30517578125u, 152587890625u, 762939453125u,
  3814697265625u, 19073486328125u, 95367431640625u, 476837158203125u, 2384185791015625u,
  11920928955078125u, 59604644775390625u, 298023223876953125u, 1490116119384765625u, 7450580596923828125u,
};
/* clang-format on */

struct decimal {
  uint64_t digits;
  int exponent; /* digits * 10^exponent */
};

/* ---- whole numbers ---- */

/* Eight digits of a value below 10^8, the first in the lowest byte: four and four, then two and two, then one and one, all at once. */
static uint64_t eight_digits(uint32_t value) {
  uint64_t fours = value / 10000 | (uint64_t)(value % 10000) << 32;
  uint64_t hundreds = fours * 10486 >> 20 & UINT64_C(0x0000007f0000007f);
  uint64_t twos = hundreds | (fours - hundreds * 100) << 16;
  uint64_t tens = twos * 103 >> 10 & UINT64_C(0x000f000f000f000f);
  return tens | (twos - tens * 10) << 8;
}

static void put_eight(uint64_t digits, char *out) {
  uint64_t text = htole64(digits);
  memcpy(out, &text, sizeof text);
}

size_t str_from_u64(uint64_t value, char out[20]) {
  static const uint64_t zeros = UINT64_C(0x3030303030303030);
  if (value >= EIGHT) {
    size_t n = str_from_u64(value / EIGHT, out);
    put_eight(eight_digits((uint32_t)(value % EIGHT)) | zeros, out + n);
    return n + 8;
  }
  uint64_t digits = eight_digits((uint32_t)value);
  unsigned leading = digits ? (unsigned)__builtin_ctzll(digits) / 8 : 7;
  put_eight((digits | zeros) >> 8 * leading, out);
  return 8 - leading;
}

size_t str_from_i64(int64_t value, char out[21]) {
  if (value >= 0)
    return str_from_u64((uint64_t)value, out);
  out[0] = '-';
  return 1 + str_from_u64(0 - (uint64_t)value, out + 1);
}

/* ---- the fewest digits ---- */

__extension__ typedef unsigned __int128 wide;

/* Where this file can scale: 5^-k has 128 bits, or x * 2^(q - k) has. */
static bool can_scale(int q, int k) {
  return k >= 2 - 2 * FIVES && k < FIVES && q - k <= 128 - (FRACTION_BITS + 4);
}

/* x * 2^q / 10^k, which is below 2^64; the lowest bit is set where something was cut off, so that comparisons with even numbers hold. */
static uint64_t scaled(uint64_t x, int q, int k) {
  if (k > 0) {
    wide shifted = (wide)x << (q - k);
    return (uint64_t)(shifted / fives[k]) | (shifted % fives[k] != 0);
  }
  wide power = -k < FIVES ? fives[-k] : (wide)fives[FIVES - 1] * fives[-k - FIVES + 1];
  wide low = (wide)x * (uint64_t)power;
  wide high = (wide)x * (uint64_t)(power >> 64) + (uint64_t)(low >> 64); /* the product is high * 2^64 + rest */
  uint64_t rest = (uint64_t)low;
  int shift = k - q;
  if (shift <= 0)
    return rest << -shift;
  if (shift < 64)
    return (uint64_t)(high << (64 - shift)) | rest >> shift | (rest << (64 - shift) != 0);
  wide kept = high >> (shift - 64);
  return (uint64_t)kept | (rest != 0 || kept << (shift - 64) != high);
}

/* At most nine decimals, and fifteen digits in all: what reads back from so few is no other number of so few. */
static bool short_decimal(double value, struct decimal *ret) {
  if (value >= 1e6)
    return false;
  uint64_t billionths = (uint64_t)(value * 1e9 + 0.5);
  *ret = (struct decimal){billionths, -9};
  return (double)billionths / 1e9 == value;
}

/* Of a finite value > 0. False when it cannot be told here. */
static bool quick_decimal(double value, struct decimal *ret) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  uint64_t fraction = bits & ((UINT64_C(1) << FRACTION_BITS) - 1), c = fraction | UINT64_C(1) << FRACTION_BITS;
  int q = (int)(bits >> FRACTION_BITS) - EXPONENT_BIAS;
  if (q <= 0 && q >= -FRACTION_BITS && c >> -q << -q == c) { /* whole: no neighbour is as near as another whole number */
    *ret = (struct decimal){c >> -q, 0};
    return true;
  }
  if (short_decimal(value, ret))
    return true;
  bool next_below_is_nearer = fraction == 0;
  int k = (q * 1262611 - (next_below_is_nearer ? 524031 : 0)) >> 22; /* log10(2) and log10(4/3) times 2^22 */
  if (q + EXPONENT_BIAS == 0 || !can_scale(q, k))
    return false;
  uint64_t odd = c & 1; /* the middles themselves read back as the even neighbour */
  uint64_t at = scaled(4 * c, q, k);
  uint64_t low = scaled(4 * c - 2 + next_below_is_nearer, q, k) + odd;
  uint64_t high = scaled(4 * c + 2, q, k) - odd;
  uint64_t unit = at / 4, ten = unit / 10 * 10;
  bool below = low <= 4 * ten, above = 4 * (ten + 10) <= high;
  if (below || above) {
    *ret = (struct decimal){ten / 10 + !below, k + 1};
    return true;
  }
  below = low <= 4 * unit;
  above = 4 * (unit + 1) <= high;
  uint64_t middle = 4 * unit + 2;
  bool up = below != above ? above : at > middle || (at == middle && unit & 1);
  *ret = (struct decimal){unit + up, k};
  return true;
}

/* The same for all values. */
static struct decimal sure_decimal(double value) {
  char text[32];
  int n = 0;
  do
    snprintf(text, sizeof text, "%.*e", n++, value);
  while (n < 17 && strtod(text, NULL) != value);
  struct decimal decimal = {0, 0};
  const char *c = text;
  for (; *c != 'e'; c++)
    if (*c != '.')
      decimal.digits = decimal.digits * 10 + (uint64_t)(*c - '0');
  decimal.exponent = (int)strtol(c + 1, NULL, 10) - (n - 1);
  return decimal;
}

/* ---- writing ---- */

static char *put_bytes(char *out, const char *bytes, size_t n) {
  memcpy(out, bytes, n);
  return out + n;
}

static char *put_zeros(char *out, size_t n) {
  memset(out, '0', n);
  return out + n;
}

/* Plain between 1e-4 and 1e16, as Python's repr does. `exponent` is that of the first digit. */
static char *put_digits(char *out, const char *digits, size_t count, int exponent) {
  if (exponent < -4 || exponent >= 16) {
    *out++ = digits[0];
    if (count > 1)
      *out++ = '.';
    out = put_bytes(out, digits + 1, count - 1);
    return out + snprintf(out, 8, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
  }
  if (exponent < 0) {
    out = put_bytes(out, "0.", 2);
    out = put_zeros(out, (size_t)(-1 - exponent));
    return put_bytes(out, digits, count);
  }
  size_t whole = (size_t)exponent + 1;
  if (count > whole) {
    out = put_bytes(out, digits, whole);
    *out++ = '.';
    return put_bytes(out, digits + whole, count - whole);
  }
  out = put_bytes(out, digits, count);
  out = put_zeros(out, whole - count);
  return put_bytes(out, ".0", 2);
}

size_t str_from_f64(double value, char out[32]) {
  if (!isfinite(value))
    return (size_t)snprintf(out, 32, isnan(value) ? "NaN" : value < 0 ? "-Infinity" : "Infinity");
  struct decimal decimal = {0, 0};
  if (value != 0 && !quick_decimal(fabs(value), &decimal))
    decimal = sure_decimal(fabs(value));
  char digits[20];
  size_t count = str_from_u64(decimal.digits, digits);
  int exponent = decimal.exponent + (int)count - 1;
  while (count > 1 && digits[count - 1] == '0')
    count--;
  char *end = out;
  if (signbit(value))
    *end++ = '-';
  end = put_digits(end, digits, count, exponent);
  *end = 0;
  return (size_t)(end - out);
}
