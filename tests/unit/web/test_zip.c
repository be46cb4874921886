/* The zip writer against a reader of its own: what the directory at the end says must be what lies in front. */
#include <zlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "tests/support/test.h"
#include "web/api/zip.h"

static uint64_t get(struct str s, size_t at, unsigned bytes) {
  uint64_t value = 0;
  assert_true(at + bytes <= s.n);
  for (unsigned i = 0; i < bytes; i++)
    value |= (uint64_t)(unsigned char)s.p[at + i] << (8 * i);
  return value;
}

/* Inflates a raw stream that begins at `at`; returns how long it is. */
static size_t inflate_at(struct str s, size_t at, struct buf *out) {
  z_stream z = {.next_in = (Bytef *)(uintptr_t)(s.p + at), .avail_in = (uInt)(s.n - at)};
  int result = Z_OK;
  assert_int_equal(inflateInit2(&z, -15), Z_OK);
  while (result == Z_OK) {
    char *room = buf_room(out, 4096);
    assert_non_null(room);
    z.next_out = (Bytef *)room;
    z.avail_out = 4096;
    result = inflate(&z, Z_NO_FLUSH);
    buf_grew(out, 4096 - z.avail_out);
  }
  assert_int_equal(result, Z_STREAM_END);
  size_t used = z.total_in;
  inflateEnd(&z);
  return used;
}

static void add_file(struct zip *zip, const char *name, struct str content, uint64_t size, bool packed, struct buf *out) {
  struct err err;
  assert_true(zip_begin_file(zip, str_of(name), size, 1700000001, packed, out, &err));
  for (size_t at = 0; at < content.n; at += 1000)
    assert_true(zip_add(zip, str_slice(content, at, at + 1000), out, &err));
  assert_true(zip_end_file(zip, out, &err));
}

static void check_file(struct str archive, size_t central, const char *name, struct str content, bool large) {
  size_t name_n = strlen(name), local = get(archive, central + 42, 4);
  unsigned width = large ? 8 : 4;
  AUTO_BUF struct buf got = BUF_INIT(MIB);
  assert_int_equal(get(archive, central, 4), 0x02014b50);
  assert_int_equal(get(archive, central + 28, 2), name_n);
  assert_memory_equal(archive.p + central + 46, name, name_n);
  assert_int_equal(get(archive, local, 4), 0x04034b50);
  assert_int_equal(get(archive, local + 6, 2), get(archive, central + 8, 2));
  assert_memory_equal(archive.p + local + 30, name, name_n);
  size_t data = local + 30 + name_n + get(archive, local + 28, 2), behind = data + inflate_at(archive, data, &got);
  assert_true(str_eq(buf_str(&got), content) || !content.n);
  assert_int_equal(get(archive, behind, 4), 0x08074b50);
  assert_int_equal(get(archive, behind + 4, 4), crc32(0, (const Bytef *)content.p, (uInt)content.n));
  assert_int_equal(get(archive, central + 16, 4), get(archive, behind + 4, 4));
  assert_int_equal(get(archive, behind + 8, width), behind - data);
  assert_int_equal(get(archive, behind + 8 + width, width), content.n);
  if (large) {
    assert_int_equal(get(archive, central + 20, 4), 0xFFFFFFFF);
    assert_int_equal(get(archive, central + 46 + name_n, 4), 16 << 16 | 1);
    assert_int_equal(get(archive, central + 46 + name_n + 4, 8), content.n);
    assert_int_equal(get(archive, central + 46 + name_n + 12, 8), behind - data);
  } else {
    assert_int_equal(get(archive, central + 20, 4), behind - data);
    assert_int_equal(get(archive, central + 24, 4), content.n);
  }
}

static void files_and_their_directory(void **state UNUSED) {
  struct rng rng = rng_seeded(7);
  AUTO_BUF struct buf out = BUF_INIT(8 * MIB), noise = BUF_INIT(MIB), text = BUF_INIT(MIB);
  struct err err;
  for (int i = 0; i < 200000; i++)
    buf_putc(&noise, (char)rng_u64(&rng));
  for (int i = 0; i < 20000; i++)
    buf_puts(&text, "the same ");
  struct zip *zip = zip_new(MIB);
  assert_non_null(zip);
  add_file(zip, "noise.bin", buf_str(&noise), noise.n, false, &out);
  assert_in_range(out.n, noise.n, noise.n + 500);
  add_file(zip, "größe/text.txt", buf_str(&text), text.n, true, &out);
  assert_in_range(out.n, noise.n, noise.n + 5000);
  add_file(zip, "empty", STR(""), 0, false, &out);
  add_file(zip, "announced large", STR("but is not"), UINT64_C(5) << 30, false, &out);
  size_t central = out.n;
  assert_true(zip_end(zip, &out, &err));
  zip_free(zip);
  struct str archive = buf_str(&out);
  size_t end = archive.n - 22;
  assert_int_equal(get(archive, end, 4), 0x06054b50);
  assert_int_equal(get(archive, end + 10, 2), 4);
  assert_int_equal(get(archive, end + 16, 4), central);
  assert_int_equal(get(archive, end + 12, 4), end - central);
  struct {
    const char *name;
    struct str content;
    bool large;
  } files[] = {{"noise.bin", buf_str(&noise), false},
               {"größe/text.txt", buf_str(&text), false},
               {"empty", STR(""), false},
               {"announced large", STR("but is not"), true}};
  for (size_t i = 0; i < ARRAY_LEN(files); i++) {
    check_file(archive, central, files[i].name, files[i].content, files[i].large);
    central += 46 + get(archive, central + 28, 2) + get(archive, central + 30, 2);
  }
  assert_int_equal(central, end);
}

static void many_files_need_zip64(void **state UNUSED) {
  AUTO_BUF struct buf out = BUF_INIT(64 * MIB);
  struct err err;
  struct zip *zip = zip_new(16 * MIB);
  for (int i = 0; i < 70000; i++) {
    char name[16];
    snprintf(name, sizeof name, "%d", i);
    add_file(zip, name, STR(""), 0, false, &out);
  }
  size_t central = out.n;
  assert_true(zip_end(zip, &out, &err));
  zip_free(zip);
  struct str archive = buf_str(&out);
  size_t end = archive.n - 22, far = end - 20 - 56;
  assert_int_equal(get(archive, end + 10, 2), 0xFFFF);
  assert_int_equal(get(archive, far, 4), 0x06064b50);
  assert_int_equal(get(archive, far + 32, 8), 70000);
  assert_int_equal(get(archive, far + 48, 8), central);
  assert_int_equal(get(archive, far + 40, 8), far - central);
  assert_int_equal(get(archive, end - 20, 4), 0x07064b50);
  assert_int_equal(get(archive, end - 12, 8), far);
}

static void the_list_has_a_ceiling(void **state UNUSED) {
  AUTO_BUF struct buf out = BUF_INIT(MIB);
  struct err err = {.code = ERR_NONE};
  struct zip *zip = zip_new(60);
  assert_true(zip_begin_file(zip, STR("a"), 0, 0, false, &out, &err));
  assert_true(zip_end_file(zip, &out, &err));
  assert_true(zip_begin_file(zip, STR("b"), 0, 0, false, &out, &err));
  assert_false(zip_end_file(zip, &out, &err));
  assert_int_equal(err.code, ERR_TOO_LARGE);
  zip_free(zip);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(files_and_their_directory),
      cmocka_unit_test(many_files_need_zip64),
      cmocka_unit_test(the_list_has_a_ceiling),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
