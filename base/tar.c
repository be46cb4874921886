#include "base/tar.h"

enum { KIND_HEADER, KIND_FILE, KIND_PAX, KIND_OTHER };
enum {
  NAME_AT = 0,
  NAME_N = 100,
  SIZE_AT = 124,
  SIZE_N = 12,
  MTIME_AT = 136,
  SUM_AT = 148,
  SUM_N = 8,
  TYPE_AT = 156,
  MAGIC_AT = 257,
  PREFIX_AT = 345,
  PREFIX_N = 155,
  PAX_MAX = 64 * 1024
};

/* ---- writing ---- */

static void put_octal(char *field, unsigned digits, uint64_t value) {
  for (unsigned i = digits; i-- > 0; value >>= 3)
    field[i] = (char)('0' + (value & 7));
}

static uint64_t sum_of(const char *block) {
  uint64_t sum = 0;
  for (size_t i = 0; i < TAR_BLOCK; i++)
    sum += i >= SUM_AT && i < SUM_AT + SUM_N ? ' ' : (unsigned char)block[i];
  return sum;
}

static void put_header(struct buf *out, struct str name, uint64_t size, int64_t mtime_s, char type) {
  char block[TAR_BLOCK] = {0};
  memcpy(block + NAME_AT, name.p, MIN_OF(name.n, (size_t)NAME_N));
  put_octal(block + 100, 7, 0644);
  put_octal(block + 108, 7, 0);
  put_octal(block + 116, 7, 0);
  put_octal(block + SIZE_AT, 11, size >> 33 ? 0 : size); /* a larger one stands in the pax header */
  put_octal(block + MTIME_AT, 11, mtime_s > 0 && mtime_s >> 33 == 0 ? (uint64_t)mtime_s : 0);
  block[TYPE_AT] = type;
  memcpy(block + MAGIC_AT, "ustar\00000", 8);
  put_octal(block + SUM_AT, 6, sum_of(block));
  block[SUM_AT + 7] = ' ';
  buf_add(out, block, sizeof block);
}

/* "27 path=abc\n": the length counts itself. */
static void put_record(struct buf *out, const char *key, struct str value) {
  size_t rest = strlen(key) + value.n + 3, length = rest + 1;
  for (size_t digits = 1, limit = 10; length >= limit; limit *= 10)
    length = rest + ++digits;
  buf_add_u64(out, length);
  buf_printf(out, " %s=", key);
  buf_add_str(out, value);
  buf_putc(out, '\n');
}

static bool is_plain(struct str name) {
  for (size_t i = 0; i < name.n; i++)
    if (name.p[i] < ' ' || name.p[i] > '~')
      return false;
  return name.n <= NAME_N;
}

void tar_put_padding(struct buf *out, uint64_t size) {
  static const char zeros[TAR_BLOCK];
  buf_add(out, zeros, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
}

void tar_put_file(struct buf *out, struct str name, uint64_t size, int64_t mtime_s) {
  AUTO_BUF struct buf pax = BUF_INIT(PAX_MAX);
  if (!is_plain(name))
    put_record(&pax, "path", name);
  if (size >> 33) {
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)size);
    put_record(&pax, "size", str_of(digits));
  }
  if (pax.n) {
    put_header(out, STR("pax"), pax.n, mtime_s, 'x');
    buf_add_str(out, buf_str(&pax));
    tar_put_padding(out, pax.n);
  }
  put_header(out, name, size, mtime_s, '0');
}

void tar_put_end(struct buf *out) {
  static const char zeros[2 * TAR_BLOCK];
  buf_add(out, zeros, sizeof zeros);
}

/* ---- reading ---- */

void tar_reader_init(struct tar_reader *reader, const struct tar_events *events, void *ctx) {
  *reader =
      (struct tar_reader){.events = events, .ctx = ctx, .pax = BUF_INIT(PAX_MAX), .name = BUF_INIT(TAR_NAME_MAX), .pax_size = UINT64_MAX};
}

void tar_reader_release(struct tar_reader *reader) {
  buf_release(&reader->pax);
  buf_release(&reader->name);
}

static bool get_octal(const char *field, size_t n, uint64_t *ret) {
  uint64_t value = 0;
  size_t i = 0;
  while (i < n && field[i] == ' ')
    i++;
  for (; i < n && field[i] >= '0' && field[i] <= '7'; i++)
    value = value << 3 | (uint64_t)(field[i] - '0');
  *ret = value;
  return i == n || field[i] == ' ' || field[i] == 0;
}

static bool damaged(struct err *err) {
  return err_set(err, ERR_IO, "the archive is damaged, or no tar archive");
}

/* One record after the other. */
static bool read_pax(struct tar_reader *reader, struct err *err) {
  struct str rest = buf_str(&reader->pax);
  while (rest.n) {
    size_t blank = str_find(rest, ' ');
    uint64_t length;
    if (blank == SIZE_MAX || !str_to_u64(str_slice(rest, 0, blank), &length) || length <= blank + 1 || length > rest.n ||
        rest.p[length - 1] != '\n')
      return damaged(err);
    struct str record = str_slice(rest, blank + 1, length - 1);
    size_t equals = str_find(record, '=');
    if (equals == SIZE_MAX)
      return damaged(err);
    struct str key = str_slice(record, 0, equals), value = str_slice(record, equals + 1, record.n);
    if (str_is(key, "path")) {
      buf_reset(&reader->name);
      buf_add_str(&reader->name, value);
    } else if (str_is(key, "size") && !str_to_u64(value, &reader->pax_size)) {
      return damaged(err);
    }
    rest = str_slice(rest, length, rest.n);
  }
  return buf_ok(&reader->name, err);
}

static void take_name(struct tar_reader *reader) {
  size_t prefix = strnlen(reader->block + PREFIX_AT, PREFIX_N);
  if (reader->name.n)
    return;
  if (prefix && memcmp(reader->block + MAGIC_AT, "ustar", 6) == 0) {
    buf_add(&reader->name, reader->block + PREFIX_AT, prefix);
    buf_putc(&reader->name, '/');
  }
  buf_add(&reader->name, reader->block + NAME_AT, strnlen(reader->block + NAME_AT, NAME_N));
}

static bool content_over(struct tar_reader *reader, struct err *err) {
  int kind = reader->kind;
  reader->kind = KIND_HEADER;
  if (kind == KIND_PAX)
    return read_pax(reader, err);
  buf_reset(&reader->name);
  reader->pax_size = UINT64_MAX;
  return kind != KIND_FILE || reader->events->end(reader->ctx, err);
}

static bool take_header(struct tar_reader *reader, struct err *err) {
  uint64_t sum, size;
  bool empty = true;
  for (size_t i = 0; i < TAR_BLOCK && empty; i++)
    empty = reader->block[i] == 0;
  reader->empty_blocks = empty ? reader->empty_blocks + 1 : 0;
  reader->at_end = reader->empty_blocks == 2;
  if (empty)
    return true;
  char type = reader->block[TYPE_AT];
  if (!get_octal(reader->block + SUM_AT, SUM_N, &sum) || sum != sum_of(reader->block) || !get_octal(reader->block + SIZE_AT, SIZE_N, &size))
    return damaged(err);
  reader->kind = type == '0' || type == 0 ? KIND_FILE : type == 'x' ? KIND_PAX : KIND_OTHER;
  if (reader->kind == KIND_FILE && reader->pax_size != UINT64_MAX)
    size = reader->pax_size;
  reader->left = size;
  reader->padding = (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
  buf_reset(&reader->pax);
  if (reader->kind == KIND_PAX && size > PAX_MAX)
    return damaged(err);
  if (reader->kind == KIND_FILE) {
    take_name(reader);
    if (!buf_ok(&reader->name, err) || !reader->events->file(reader->ctx, buf_str(&reader->name), size, err))
      return false;
  }
  return size || content_over(reader, err);
}

static bool take_content(struct tar_reader *reader, struct str bytes, struct err *err) {
  reader->left -= bytes.n;
  if (reader->kind == KIND_PAX)
    buf_add_str(&reader->pax, bytes);
  else if (reader->kind == KIND_FILE && !reader->events->data(reader->ctx, bytes, err))
    return false;
  return reader->left || content_over(reader, err);
}

bool tar_feed(struct tar_reader *reader, struct str bytes, struct err *err) {
  while (bytes.n && !reader->at_end) {
    size_t n;
    bool ok = true;
    if (reader->left) {
      n = (size_t)MIN_OF((uint64_t)bytes.n, reader->left);
      ok = take_content(reader, str_slice(bytes, 0, n), err);
    } else if (reader->padding) {
      n = MIN_OF(bytes.n, reader->padding);
      reader->padding -= n;
    } else {
      n = MIN_OF(bytes.n, TAR_BLOCK - reader->have);
      memcpy(reader->block + reader->have, bytes.p, n);
      reader->have += n;
      if (reader->have == TAR_BLOCK) {
        reader->have = 0;
        ok = take_header(reader, err);
      }
    }
    if (!ok)
      return false;
    bytes = str_slice(bytes, n, bytes.n);
  }
  return true;
}

bool tar_finish(const struct tar_reader *reader, struct err *err) {
  return reader->at_end || err_set(err, ERR_IO, "the archive ends too early: it is not complete");
}
