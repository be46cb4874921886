#include "base/tar.h"

#include <string.h>

/* Places of the fields of a header. */
enum {
  AT_NAME = 0,
  NAME_BYTES = 100,
  AT_MODE = 100,
  AT_UID = 108,
  AT_GID = 116,
  AT_SIZE = 124,
  AT_TIME = 136,
  AT_SUM = 148,
  AT_TYPE = 156,
  AT_LINK = 157,
  AT_MAGIC = 257,
  AT_PREFIX = 345,
  PREFIX_BYTES = 155,
};

/* ---- writing ---- */

size_t tar_padding(uint64_t size) {
  return (size_t)((TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
}

static void put_octal(char *field, unsigned digits, uint64_t value) {
  for (unsigned i = digits; i-- > 0; value /= 8)
    field[i] = (char)('0' + value % 8);
}

static void put_block(struct buf *out, char type, struct str name, struct str link, unsigned mode, uint64_t size) {
  char block[TAR_BLOCK] = {0};
  unsigned sum = 0;
  memcpy(block + AT_NAME, name.p, MIN_OF(name.n, (size_t)NAME_BYTES));
  if (link.n)
    memcpy(block + AT_LINK, link.p, MIN_OF(link.n, (size_t)NAME_BYTES));
  put_octal(block + AT_MODE, 7, mode & 07777);
  put_octal(block + AT_UID, 7, 0);
  put_octal(block + AT_GID, 7, 0);
  put_octal(block + AT_SIZE, 11, size);
  put_octal(block + AT_TIME, 11, 0);
  block[AT_TYPE] = type;
  memcpy(block + AT_MAGIC, "ustar\00000", 8);
  memset(block + AT_SUM, ' ', 8);
  for (size_t i = 0; i < TAR_BLOCK; i++)
    sum += (unsigned char)block[i];
  put_octal(block + AT_SUM, 6, sum);
  block[AT_SUM + 6] = 0;
  buf_add(out, block, sizeof block);
}

/* "30 path=some/name\n", where 30 is the length of the whole. */
static void put_record(struct buf *out, const char *key, struct str value) {
  size_t bare = strlen(key) + value.n + 3, length = bare + 1;
  char digits[24];
  while ((size_t)snprintf(digits, sizeof digits, "%zu", length) + bare != length)
    length = bare + strlen(digits);
  buf_printf(out, "%zu %s=", length, key);
  buf_add_str(out, value);
  buf_putc(out, '\n');
}

static void put_zeros(struct buf *out, size_t n) {
  static const char zeros[TAR_BLOCK];
  buf_add(out, zeros, n);
}

void tar_put_header(struct buf *out, const struct tar_entry *entry) {
  static const char types[] = {[TAR_FILE] = '0', [TAR_DIRECTORY] = '5', [TAR_LINK] = '2', [TAR_OTHER] = '0'};
  AUTO_BUF struct buf records = BUF_INIT(64 * KIB);
  uint64_t size = entry->kind == TAR_FILE ? entry->size : 0;
  if (entry->path.n > NAME_BYTES)
    put_record(&records, "path", entry->path);
  if (entry->kind == TAR_LINK && entry->link.n > NAME_BYTES)
    put_record(&records, "linkpath", entry->link);
  if (size >> 33) { /* more than eleven octal digits hold */
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)size);
    put_record(&records, "size", str_of(digits));
  }
  if (records.fail)
    out->fail = records.fail;
  if (records.n) {
    put_block(out, 'x', STR("pax"), STR_NONE, 0644, records.n);
    buf_add_str(out, buf_str(&records));
    put_zeros(out, tar_padding(records.n));
  }
  put_block(out, types[entry->kind], entry->path, entry->kind == TAR_LINK ? entry->link : STR_NONE, entry->mode, size >> 33 ? 0 : size);
}

/* ---- reading ---- */

static struct str field_text(const char *block, size_t at, size_t n) {
  return str_n(block + at, strnlen(block + at, n));
}

/* Octal digits among blanks, or (as GNU tar writes large ones) a number of 256s. */
static bool field_number(const char *block, size_t at, size_t n, uint64_t *ret) {
  uint64_t value = 0;
  const unsigned char *p = (const unsigned char *)block + at;
  if (p[0] & 0x80) {
    for (size_t i = 0; i < n; i++) {
      if (value >> 55)
        return false;
      value = value << 8 | (i ? p[i] : p[i] & 0x7f);
    }
    *ret = value;
    return true;
  }
  size_t i = 0;
  while (i < n && p[i] == ' ')
    i++;
  for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
    value = value << 3 | (uint64_t)(p[i] - '0');
  *ret = value;
  return i == n || p[i] == ' ' || p[i] == 0;
}

static bool sum_is_right(const char *block) {
  uint64_t said, sum = 0;
  for (size_t i = 0; i < TAR_BLOCK; i++)
    sum += i >= AT_SUM && i < AT_SUM + 8 ? ' ' : (unsigned char)block[i];
  return field_number(block, AT_SUM, 8, &said) && said == sum;
}

static bool is_zero(const char *block) {
  return block[0] == 0 && memcmp(block, block + 1, TAR_BLOCK - 1) == 0;
}

static bool damaged(const struct tar_reader *r, const char *what, struct err *err) {
  return err_set(err, ERR_INVALID, "the tar archive is damaged at byte %zu: %s", r->at, what);
}

static bool take(struct tar_reader *r, uint64_t n, struct str *ret, struct err *err) {
  uint64_t padded = n + tar_padding(n);
  if (n > r->rest.n || padded > r->rest.n)
    return damaged(r, "it ends too early", err);
  *ret = str_slice(r->rest, 0, (size_t)n);
  r->rest = str_slice(r->rest, (size_t)padded, r->rest.n);
  r->at += (size_t)padded;
  return true;
}

/* What an extended header says of the entry that follows. */
struct said {
  struct str path, link;
  uint64_t size;
  bool has_size;
};

static bool read_records(const struct tar_reader *r, struct str text, struct said *said, struct err *err) {
  while (text.n) {
    uint64_t length;
    size_t space = str_find(text, ' ');
    if (space == SIZE_MAX || !str_to_u64(str_slice(text, 0, space), &length) || length <= space + 1 || length > text.n ||
        text.p[length - 1] != '\n')
      return damaged(r, "an extended header makes no sense", err);
    struct str record = str_slice(text, space + 1, (size_t)length - 1);
    size_t equals = str_find(record, '=');
    struct str key = str_slice(record, 0, equals), value = equals == SIZE_MAX ? STR("") : str_slice(record, equals + 1, record.n);
    if (str_is(key, "path"))
      said->path = value;
    else if (str_is(key, "linkpath"))
      said->link = value;
    else if (str_is(key, "size") && !(said->has_size = str_to_u64(value, &said->size)))
      return damaged(r, "an extended header makes no sense", err);
    text = str_slice(text, (size_t)length, text.n);
  }
  return true;
}

static bool speaks_of_next(char type) {
  return type == 'x' || type == 'g' || type == 'L' || type == 'K';
}

size_t tar_head_bytes(struct str have) {
  size_t at = 0;
  uint64_t size;
  while (have.n - at >= TAR_BLOCK && speaks_of_next(have.p[at + AT_TYPE]) && field_number(have.p + at, AT_SIZE, 12, &size)) {
    if (size > have.n - at - TAR_BLOCK || size + tar_padding(size) > have.n - at - TAR_BLOCK)
      return size > SIZE_MAX / 2 ? SIZE_MAX : at + 2 * TAR_BLOCK + (size_t)size + tar_padding(size);
    at += TAR_BLOCK + (size_t)size + tar_padding(size);
  }
  return at + TAR_BLOCK;
}

/* An entry that speaks of the next one. False with ERR_NONE when it is none. */
static bool read_said(struct tar_reader *r, char type, uint64_t size, struct said *said, struct err *err) {
  struct str text;
  err->code = ERR_NONE;
  if (!speaks_of_next(type))
    return false;
  if (!take(r, size, &text, err))
    return false;
  if (type == 'L')
    said->path = str_n(text.p, strnlen(text.p, text.n));
  else if (type == 'K')
    said->link = str_n(text.p, strnlen(text.p, text.n));
  return type != 'x' || read_records(r, text, said, err);
}

static enum tar_kind kind_of(char type, struct str path) {
  switch (type) {
  case '0':
  case '7':
    return TAR_FILE;
  case 0:
    return str_ends(path, STR("/")) ? TAR_DIRECTORY : TAR_FILE;
  case '2':
    return TAR_LINK;
  case '5':
    return TAR_DIRECTORY;
  default:
    return TAR_OTHER;
  }
}

static bool name_of(struct tar_reader *r, const char *block, const struct said *said, struct str *ret, struct err *err) {
  struct str name = field_text(block, AT_NAME, NAME_BYTES), prefix = field_text(block, AT_PREFIX, PREFIX_BYTES);
  bool has_prefix = !said->path.p && prefix.n && memcmp(block + AT_MAGIC, "ustar", 6) == 0;
  struct str whole = said->path.p ? said->path : name;
  if (whole.n >= sizeof r->name || memchr(whole.n ? whole.p : "", 0, whole.n))
    return damaged(r, "a name is too long, or holds a NUL", err);
  int n = has_prefix ? snprintf(r->name, sizeof r->name, "%.*s/%.*s", STR_ARG(prefix), STR_ARG(name))
                     : snprintf(r->name, sizeof r->name, "%.*s", STR_ARG(whole));
  *ret = str_n(r->name, (size_t)n);
  return true;
}

static struct str plain(struct str path) {
  while (str_starts(path, STR("./")))
    path = str_slice(path, 2, path.n);
  while (path.n > 1 && path.p[path.n - 1] == '/')
    path.n--;
  return str_is(path, ".") ? STR("") : path;
}

static bool read_entry(struct tar_reader *r, const char *block, const struct said *said, struct tar_entry *ret, uint64_t *ret_size,
                       struct err *err) {
  uint64_t size, mode;
  if (!field_number(block, AT_SIZE, 12, &size) || !field_number(block, AT_MODE, 8, &mode) || !name_of(r, block, said, &ret->path, err))
    return damaged(r, "a header makes no sense", err);
  ret->kind = kind_of(block[AT_TYPE], ret->path);
  ret->link = ret->kind != TAR_LINK ? STR_NONE : said->link.p ? said->link : field_text(block, AT_LINK, NAME_BYTES);
  ret->mode = (unsigned)(mode & 07777);
  ret->path = plain(ret->path);
  size = said->has_size ? said->size : size;
  ret->size = ret->kind == TAR_FILE ? size : 0;
  bool has_content = ret->kind == TAR_FILE || ret->kind == TAR_OTHER;
  *ret_size = has_content ? size : 0;
  return true;
}

bool tar_next_head(struct tar_reader *r, struct tar_entry *ret, uint64_t *ret_size, struct err *err) {
  struct said said = {.path = STR_NONE};
  struct str block;
  for (;;) {
    uint64_t size;
    if (!take(r, TAR_BLOCK, &block, err))
      return false;
    if (is_zero(block.p)) {
      err->code = ERR_NONE;
      return false;
    }
    if (!sum_is_right(block.p) || !field_number(block.p, AT_SIZE, 12, &size))
      return damaged(r, "a header makes no sense", err);
    if (read_said(r, block.p[AT_TYPE], size, &said, err))
      continue;
    return err->code == ERR_NONE && read_entry(r, block.p, &said, ret, ret_size, err);
  }
}

bool tar_next(struct tar_reader *r, struct tar_entry *ret, struct str *ret_content, struct err *err) {
  uint64_t size;
  return tar_next_head(r, ret, &size, err) && take(r, size, ret_content, err);
}
