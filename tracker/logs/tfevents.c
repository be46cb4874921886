#include "tracker/logs/tfevents.h"

enum { HEADER = 12, TRAILER = 4 };

/* ---- frames ---- */

/* CRC-32C, four bits at a time. */
uint32_t tfevents_masked_crc(struct str bytes) {
  static const uint32_t table[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                                     0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
  uint32_t crc = 0xffffffff;
  for (size_t i = 0; i < bytes.n; i++) {
    crc ^= (unsigned char)bytes.p[i];
    crc = crc >> 4 ^ table[crc & 15];
    crc = crc >> 4 ^ table[crc & 15];
  }
  crc = ~crc;
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static uint64_t little(const char *p, unsigned n) {
  uint64_t value = 0;
  for (unsigned i = 0; i < n; i++)
    value |= (uint64_t)(unsigned char)p[i] << (8 * i);
  return value;
}

enum tfevents_answer tfevents_frame(struct str bytes, struct str *ret_record, uint64_t *ret_size) {
  if (bytes.n < HEADER)
    return TFEVENTS_MORE;
  uint64_t length = little(bytes.p, 8);
  if (little(bytes.p + 8, 4) != tfevents_masked_crc(str_n(bytes.p, 8)) || length > INT64_MAX)
    return TFEVENTS_BAD;
  *ret_size = HEADER + length + TRAILER;
  if (length > TFEVENTS_RECORD_MAX)
    return TFEVENTS_LARGE;
  if (bytes.n < *ret_size)
    return TFEVENTS_MORE;
  struct str record = str_n(bytes.p + HEADER, (size_t)length);
  if (little(bytes.p + HEADER + length, 4) != tfevents_masked_crc(record))
    return TFEVENTS_BAD;
  *ret_record = record;
  return TFEVENTS_RECORD;
}

/* ---- protobuf ---- */

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct field {
  uint32_t number;
  enum wire wire;
  uint64_t value; /* of numbers, as bits */
  struct str bytes;
};

static bool varint(struct str *rest, uint64_t *ret) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 70 && rest->n; shift += 7) {
    unsigned char c = (unsigned char)*rest->p++;
    rest->n--;
    if (shift < 64)
      value |= (uint64_t)(c & 0x7f) << shift;
    if (c < 0x80)
      return *ret = value, true;
  }
  return false;
}

/* Takes the next field; false at the end, *bad when the message is broken. */
static bool next_field(struct str *rest, struct field *ret, bool *bad) {
  uint64_t tag, length = 0;
  if (!rest->n)
    return false;
  *bad = true;
  if (!varint(rest, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
    return false;
  *ret = (struct field){.number = (uint32_t)(tag >> 3), .wire = (enum wire)(tag & 7)};
  switch (ret->wire) {
  case WIRE_VARINT:
    if (!varint(rest, &ret->value))
      return false;
    break;
  case WIRE_64:
  case WIRE_32:
    length = ret->wire == WIRE_64 ? 8 : 4;
    if (rest->n < length)
      return false;
    ret->value = little(rest->p, (unsigned)length);
    break;
  case WIRE_BYTES:
    if (!varint(rest, &length) || length > rest->n)
      return false;
    ret->bytes = str_n(rest->p, (size_t)length);
    break;
  default:
    return false;
  }
  rest->p += length;
  rest->n -= (size_t)length;
  *bad = false;
  return true;
}

static double float_of(uint64_t bits) {
  uint32_t narrow = (uint32_t)bits;
  float value;
  memcpy(&value, &narrow, sizeof value);
  return (double)value;
}

static double double_of(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* TensorProto of one element: float_val, double_val, int_val, int64_val, or tensor_content. */
static bool tensor_value(struct str rest, double *ret) {
  enum { DT_FLOAT = 1, DT_DOUBLE = 2, DT_INT32 = 3, DT_INT64 = 9 };
  struct field f;
  uint64_t type = 0;
  struct str content = STR("");
  bool bad = false, found = false;
  while (next_field(&rest, &f, &bad)) {
    uint64_t first = f.value;
    bool packed = f.wire == WIRE_BYTES;
    if (f.number == 1 && f.wire == WIRE_VARINT) {
      type = f.value;
    } else if (f.number == 4 && packed) {
      content = f.bytes;
    } else if (f.number == 5 && ((packed && f.bytes.n == 4) || f.wire == WIRE_32)) {
      *ret = float_of(packed ? little(f.bytes.p, 4) : first);
      found = true;
    } else if (f.number == 6 && ((packed && f.bytes.n == 8) || f.wire == WIRE_64)) {
      *ret = double_of(packed ? little(f.bytes.p, 8) : first);
      found = true;
    } else if (f.number == 7 || f.number == 10) {
      struct str values = f.bytes;
      if (packed && (!varint(&values, &first) || values.n))
        continue;
      *ret = f.number == 7 ? (double)(int32_t)first : (double)(int64_t)first;
      found = true;
    }
  }
  if (found || bad)
    return found && !bad;
  if (type == DT_FLOAT && content.n == 4)
    *ret = float_of(little(content.p, 4));
  else if (type == DT_DOUBLE && content.n == 8)
    *ret = double_of(little(content.p, 8));
  else if (type == DT_INT32 && content.n == 4)
    *ret = (double)(int32_t)little(content.p, 4);
  else if (type == DT_INT64 && content.n == 8)
    *ret = (double)(int64_t)little(content.p, 8);
  else
    return false;
  return true;
}

/* Summary.Value: tag, and simple_value or tensor. */
static bool summary_value(struct str rest, struct tfevents_scalar *ret, bool *bad) {
  struct field f;
  bool found = false;
  ret->tag = STR("");
  while (next_field(&rest, &f, bad)) {
    if (f.number == 1 && f.wire == WIRE_BYTES) {
      ret->tag = f.bytes;
    } else if (f.number == 2 && f.wire == WIRE_32) {
      ret->value = float_of(f.value);
      found = true;
    } else if (f.number == 8 && f.wire == WIRE_BYTES) {
      found = tensor_value(f.bytes, &ret->value) || found;
    }
  }
  return !*bad && found && ret->tag.n && ret->tag.n <= TFEVENTS_TAG_MAX;
}

bool tfevents_scalars(struct str record, struct tfevents_scalar *scalars, size_t max, size_t *ret_count) {
  struct field f;
  struct str summary = STR("");
  struct tfevents_scalar common = {.step = 0};
  bool bad = false;
  *ret_count = 0;
  while (next_field(&record, &f, &bad)) {
    if (f.number == 1 && f.wire == WIRE_64)
      common.wall_time = double_of(f.value);
    else if (f.number == 2 && f.wire == WIRE_VARINT)
      common.step = (int64_t)f.value;
    else if (f.number == 5 && f.wire == WIRE_BYTES)
      summary = f.bytes;
  }
  size_t n = 0;
  while (!bad && n < max && next_field(&summary, &f, &bad)) {
    scalars[n] = common;
    if (f.number == 1 && f.wire == WIRE_BYTES && summary_value(f.bytes, &scalars[n], &bad))
      n++;
  }
  *ret_count = bad ? 0 : n;
  return !bad;
}
