#include "web/api/zip.h"

#include <time.h>

#define ZLIB_CONST
#include <zlib.h>

#include "base/mem.h"

enum {
  VERSION_DEFLATE = 20,
  VERSION_ZIP64 = 45,
  MADE_ON_UNIX = 3 << 8,
  FLAG_SIZES_BEHIND = 1 << 3,
  FLAG_UTF8 = 1 << 11,
  METHOD_DEFLATE = 8,
  PACK_LEVEL = 6,
  PLAIN_LEVEL = 0, /* stored blocks of a deflate stream: "stored" entries without a size before them trouble some readers */
  STEP = 64 * 1024,
  NAME_MAX_BYTES = 65535,
};

/* Beyond this a file has 8-byte sizes; the rest up to 4 GiB is for what framing adds. */
#define LARGE UINT64_C(0xF0000000)
#define FULL32 UINT64_C(0xFFFFFFFF)

struct zip {
  z_stream packer;
  bool packer_ready;
  struct buf central;
  uint64_t offset, files; /* bytes written so far */
  struct {
    uint64_t at, size, packed_size;
    uint32_t crc, dos_time;
    uint16_t flags;
    bool large;
  } file;
  struct buf name;
};

static void *allocate(void *unused UNUSED, unsigned count, unsigned size) {
  return mem_array(count, size);
}

static void release(void *unused UNUSED, void *ptr) {
  mem_free(ptr);
}

struct zip *zip_new(size_t central_max) {
  struct zip *zip = mem_zalloc(sizeof *zip);
  if (!zip)
    return NULL;
  zip->central = BUF_INIT(central_max);
  zip->name = BUF_INIT(NAME_MAX_BYTES + 1);
  zip->packer.zalloc = allocate;
  zip->packer.zfree = release;
  return zip;
}

void zip_free(struct zip *zip) {
  if (!zip)
    return;
  if (zip->packer_ready)
    deflateEnd(&zip->packer);
  buf_release(&zip->central);
  buf_release(&zip->name);
  mem_free(zip);
}

static void put(struct buf *out, uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; i++)
    buf_putc(out, (char)(unsigned char)(value >> (8 * i)));
}

static uint32_t dos_time(int64_t mtime_s) {
  struct tm tm;
  time_t t = (time_t)mtime_s;
  if (!gmtime_r(&t, &tm) || tm.tm_year < 80 || tm.tm_year > 207)
    return 1u << 21 | 1u << 16; /* 1980-01-01 */
  unsigned date = ((unsigned)tm.tm_year - 80) << 9 | ((unsigned)tm.tm_mon + 1) << 5 | (unsigned)tm.tm_mday;
  unsigned clock = (unsigned)tm.tm_hour << 11 | (unsigned)tm.tm_min << 5 | (unsigned)tm.tm_sec / 2;
  return date << 16 | clock;
}

/* Counts what has been added since `before`. */
static bool wrote(struct zip *zip, const struct buf *out, size_t before, struct err *err) {
  zip->offset += out->n - before;
  return buf_ok(out, err);
}

static bool ready_packer(struct zip *zip, bool packed, struct err *err) {
  int level = packed ? PACK_LEVEL : PLAIN_LEVEL;
  if (zip->packer_ready)
    deflateEnd(&zip->packer);
  zip->packer_ready = deflateInit2(&zip->packer, level, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK;
  return zip->packer_ready || err_no_memory(err);
}

bool zip_begin_file(struct zip *zip, struct str name, uint64_t size, int64_t mtime_s, bool packed, struct buf *out, struct err *err) {
  size_t before = out->n;
  if (name.n > NAME_MAX_BYTES)
    return err_set(err, ERR_TOO_LARGE, "a name is too long for a zip archive");
  if (!ready_packer(zip, packed, err))
    return false;
  memset(&zip->file, 0, sizeof zip->file);
  zip->file.at = zip->offset;
  zip->file.crc = (uint32_t)crc32(0, NULL, 0);
  zip->file.dos_time = dos_time(mtime_s);
  zip->file.flags = FLAG_SIZES_BEHIND | (str_is_utf8(name) ? FLAG_UTF8 : 0);
  zip->file.large = size >= LARGE;
  buf_reset(&zip->name);
  buf_add_str(&zip->name, name);
  put(out, 0x04034b50, 4);
  put(out, zip->file.large ? VERSION_ZIP64 : VERSION_DEFLATE, 2);
  put(out, zip->file.flags, 2);
  put(out, METHOD_DEFLATE, 2);
  put(out, zip->file.dos_time, 4);
  put(out, 0, 4); /* CRC: behind */
  put(out, zip->file.large ? FULL32 : 0, 4);
  put(out, zip->file.large ? FULL32 : 0, 4);
  put(out, name.n, 2);
  put(out, zip->file.large ? 20 : 0, 2);
  buf_add_str(out, name);
  if (zip->file.large) {
    put(out, 1, 2);
    put(out, 16, 2);
    put(out, 0, 8);
    put(out, 0, 8);
  }
  return buf_ok(&zip->name, err) && wrote(zip, out, before, err);
}

static bool pack(struct zip *zip, struct str bytes, int flush, struct buf *out, struct err *err) {
  z_stream *z = &zip->packer;
  size_t before = out->n;
  z->next_in = (z_const Bytef *)bytes.p;
  z->avail_in = (uInt)bytes.n;
  do {
    char *room = buf_room(out, STEP);
    if (!room)
      return buf_ok(out, err);
    z->next_out = (Bytef *)room;
    z->avail_out = STEP;
    if (deflate(z, flush) == Z_STREAM_ERROR)
      return err_set(err, ERR_INTERNAL, "compression failed");
    buf_grew(out, STEP - z->avail_out);
  } while (z->avail_out == 0);
  zip->file.packed_size += out->n - before;
  return wrote(zip, out, before, err);
}

bool zip_add(struct zip *zip, struct str bytes, struct buf *out, struct err *err) {
  if (bytes.n > UINT32_MAX)
    return err_set(err, ERR_INTERNAL, "too large a piece");
  zip->file.crc = (uint32_t)crc32(zip->file.crc, (const Bytef *)bytes.p, (uInt)bytes.n);
  zip->file.size += bytes.n;
  return pack(zip, bytes, Z_NO_FLUSH, out, err);
}

static void put_entry(struct zip *zip) {
  struct buf *c = &zip->central;
  bool far = zip->file.at >= FULL32;
  unsigned extra = (zip->file.large ? 16u : 0u) + (far ? 8u : 0u);
  put(c, 0x02014b50, 4);
  put(c, MADE_ON_UNIX | VERSION_ZIP64, 2);
  put(c, extra ? VERSION_ZIP64 : VERSION_DEFLATE, 2);
  put(c, zip->file.flags, 2);
  put(c, METHOD_DEFLATE, 2);
  put(c, zip->file.dos_time, 4);
  put(c, zip->file.crc, 4);
  put(c, zip->file.large ? FULL32 : zip->file.packed_size, 4);
  put(c, zip->file.large ? FULL32 : zip->file.size, 4);
  put(c, zip->name.n, 2);
  put(c, extra ? extra + 4 : 0, 2);
  put(c, 0, 2); /* comment */
  put(c, 0, 2); /* disk */
  put(c, 0, 2);
  put(c, UINT64_C(0100644) << 16, 4);
  put(c, far ? FULL32 : zip->file.at, 4);
  buf_add_str(c, buf_str(&zip->name));
  if (!extra)
    return;
  put(c, 1, 2);
  put(c, extra, 2);
  if (zip->file.large) {
    put(c, zip->file.size, 8);
    put(c, zip->file.packed_size, 8);
  }
  if (far)
    put(c, zip->file.at, 8);
}

bool zip_end_file(struct zip *zip, struct buf *out, struct err *err) {
  if (!pack(zip, STR(""), Z_FINISH, out, err))
    return false;
  if (!zip->file.large && (zip->file.size >= FULL32 || zip->file.packed_size >= FULL32))
    return err_set(err, ERR_INTERNAL, "a file has grown while it was read");
  size_t before = out->n;
  unsigned width = zip->file.large ? 8 : 4;
  put(out, 0x08074b50, 4);
  put(out, zip->file.crc, 4);
  put(out, zip->file.packed_size, width);
  put(out, zip->file.size, width);
  put_entry(zip);
  zip->files++;
  if (!buf_ok(&zip->central, err))
    return err_set(err, ERR_TOO_LARGE, "too many files for one archive");
  return wrote(zip, out, before, err);
}

bool zip_end(struct zip *zip, struct buf *out, struct err *err) {
  uint64_t at = zip->offset, n = zip->central.n, files = zip->files;
  buf_add_str(out, buf_str(&zip->central));
  if (files >= 0xFFFF || at >= FULL32 || n >= FULL32) {
    put(out, 0x06064b50, 4);
    put(out, 44, 8);
    put(out, MADE_ON_UNIX | VERSION_ZIP64, 2);
    put(out, VERSION_ZIP64, 2);
    put(out, 0, 8); /* disks */
    put(out, files, 8);
    put(out, files, 8);
    put(out, n, 8);
    put(out, at, 8);
    put(out, 0x07064b50, 4);
    put(out, 0, 4);
    put(out, at + n, 8);
    put(out, 1, 4);
  }
  put(out, 0x06054b50, 4);
  put(out, 0, 4);
  put(out, MIN_OF(files, UINT64_C(0xFFFF)), 2);
  put(out, MIN_OF(files, UINT64_C(0xFFFF)), 2);
  put(out, MIN_OF(n, FULL32), 4);
  put(out, MIN_OF(at, FULL32), 4);
  put(out, 0, 2);
  return buf_ok(out, err);
}
