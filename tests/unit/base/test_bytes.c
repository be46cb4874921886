/* str, buf, arena, map, err, id, rng, clock: the small things everything stands on. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/id_map.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/shelf.h"
#include "base/str.h"
#include "tests/support/test.h"

#include <math.h>

static void numbers_consume_everything_or_fail(void **state UNUSED) {
  static const struct {
    const char *text;
    bool ok;
    int64_t value;
  } rows[] = {
      {"0", true, 0},
      {"-0", true, 0},
      {"+7", true, 7},
      {"", false, 0},
      {"-", false, 0},
      {"+", false, 0},
      {"-+1", false, 0},
      {" 1", false, 0},
      {"1 ", false, 0},
      {"12a", false, 0},
      {"0x10", false, 0},
      {"9223372036854775807", true, INT64_MAX},
      {"9223372036854775808", false, 0},
      {"-9223372036854775808", true, INT64_MIN},
      {"-9223372036854775809", false, 0},
      {"99999999999999999999999", false, 0},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    int64_t value = 42;
    bool ok = str_to_i64(str_of(rows[i].text), &value);
    if (ok != rows[i].ok || value != (ok ? rows[i].value : 42))
      fail_msg("\"%s\": %d %lld", rows[i].text, ok, (long long)value);
  }
  double d;
  assert_true(str_to_f64(STR("1e-3"), &d) && d == 1e-3);
  assert_true(str_to_f64(STR("inf"), &d) && isinf(d));
  assert_true(str_to_f64(STR("nan"), &d) && isnan(d));
  assert_false(str_to_f64(STR("1e"), &d));
  assert_false(str_to_f64(STR(" 1"), &d));
  assert_false(str_to_f64(STR("1\0"), &d));
  static const char *const not_decimal[] = {"0x10", "0X10", "0x1p3", "nan(123)", "-0x1", "NAN(0)"};
  for (size_t i = 0; i < ARRAY_LEN(not_decimal); i++)
    assert_false(str_to_f64(str_of(not_decimal[i]), &d));
}

static void doubles_print_shortest_and_read_back(void **state UNUSED) {
  static const struct {
    double value;
    const char *text;
  } rows[] = {{0, "0.0"},
              {-0.0, "-0.0"},
              {1, "1.0"},
              {0.1, "0.1"},
              {0.3, "0.3"},
              {1e-5, "1e-05"},
              {1e16, "1e+16"},
              {123456789, "123456789.0"},
              {1e15, "1000000000000000.0"},
              {0.0001, "0.0001"},
              {2.5e-7, "2.5e-07"},
              {NAN, "NaN"},
              {INFINITY, "Infinity"},
              {-INFINITY, "-Infinity"},
              {5e-324, "5e-324"},
              {1.7976931348623157e308, "1.7976931348623157e+308"},
              {0.1 + 0.2, "0.30000000000000004"},
              {9007199254740993.0, "9007199254740992.0"},
              {3.14159, "3.14159"},
              {12345.678901, "12345.678901"}};
  char out[32];
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    size_t n = str_from_f64(rows[i].value, out);
    assert_string_equal(out, rows[i].text);
    assert_int_equal(n, strlen(out));
  }
  struct rng rng = rng_seeded(1);
  for (int i = 0; i < 200000; i++) {
    union {
      uint64_t bits;
      double value;
    } any = {rng_u64(&rng)};
    if (i % 2)
      any.value = (double)(int64_t)rng_below(&rng, 1000000) / 1000.0;
    if (isnan(any.value) || isinf(any.value))
      continue;
    double back;
    size_t n = str_from_f64(any.value, out);
    assert_true(n < 32);
    assert_true(str_to_f64(str_n(out, n), &back));
    assert_memory_equal(&back, &any.value, sizeof back);
  }
}

static void units(void **state UNUSED) {
  int64_t ms;
  uint64_t bytes;
  assert_true(str_to_duration_ms(STR("90s"), &ms) && ms == 90000);
  assert_true(str_to_duration_ms(STR("1.5h"), &ms) && ms == 5400000);
  assert_true(str_to_duration_ms(STR("250ms"), &ms) && ms == 250);
  assert_true(str_to_duration_ms(STR("10"), &ms) && ms == 10000);
  assert_true(str_to_duration_ms(STR("1d"), &ms) && ms == 86400000);
  assert_false(str_to_duration_ms(STR("-1s"), &ms));
  assert_false(str_to_duration_ms(STR("1y"), &ms));
  assert_false(str_to_duration_ms(STR("s"), &ms));
  assert_false(str_to_duration_ms(STR("99999999999999999999d"), &ms));
  assert_true(str_to_size(STR("2GB"), &bytes) && bytes == 2000000000u);
  assert_true(str_to_size(STR("1GiB"), &bytes) && bytes == (1u << 30));
  assert_true(str_to_size(STR("64 KiB"), &bytes) && bytes == 65536);
  assert_true(str_to_size(STR("18446744073709551615"), &bytes) && bytes == UINT64_MAX);
  assert_false(str_to_size(STR("1XB"), &bytes));
}

static void utf8(void **state UNUSED) {
  assert_true(str_is_utf8(STR("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80")));
  assert_false(str_is_utf8(STR("\xc0\x80")));         /* overlong */
  assert_false(str_is_utf8(STR("\xed\xa0\x80")));     /* surrogate */
  assert_false(str_is_utf8(STR("\xf4\x90\x80\x80"))); /* beyond the last plane */
  assert_false(str_is_utf8(STR("\xe2\x82")));         /* cut */
  assert_false(str_is_utf8(STR("\x80")));
}

static void split_and_trim(void **state UNUSED) {
  struct str rest = STR("a,,b,"), part;
  const char *expected[] = {"a", "", "b", ""};
  for (size_t i = 0; i < 4; i++) {
    assert_true(str_split(&rest, ',', &part));
    assert_true(str_is(part, expected[i]));
  }
  assert_false(str_split(&rest, ',', &part));
  assert_true(str_is(str_last(STR("a/b/c.txt"), '/'), "c.txt"));
  assert_true(str_is(str_last(STR("c.txt"), '/'), "c.txt"));
  assert_true(str_is(str_last(STR("a/"), '/'), ""));
  assert_true(str_starts_nocase(STR("FiLe:x"), STR("file:")));
  assert_false(str_starts_nocase(STR("fil"), STR("file:")));
  assert_int_equal(str_last(STR_NONE, '/').n, 0);
  assert_true(str_is(str_trim(STR(" \t x y \r\n")), "x y"));
  assert_int_equal(str_find_str(STR("hello"), STR("llo")), 2);
  assert_int_equal(str_find_str(STR("he"), STR("hello")), SIZE_MAX);
}

static void nearest(void **state UNUSED) {
  const char *const words[] = {"batchsize", "epochs", NULL, "lr", "momentum"};
  assert_string_equal(str_nearest_of(STR("bachsize"), words, 5), "batchsize");
  assert_string_equal(str_nearest_of(STR("epocsh"), words, 5), "epochs");
  assert_string_equal(str_nearest_of(STR("LR"), words, 5), "lr");
  assert_null(str_nearest_of(STR("zzz"), words, 5));
  assert_null(str_nearest_of(STR(""), words, 5));
}

static void buffers_have_a_ceiling_and_failure_sticks(void **state UNUSED) {
  struct err err;
  AUTO_BUF struct buf buf = BUF_INIT(10);
  buf_puts(&buf, "12345");
  buf_printf(&buf, "%d", 67890);
  assert_true(buf_ok(&buf, &err));
  assert_string_equal(buf_text(&buf), "1234567890");
  buf_putc(&buf, 'x');
  assert_false(buf_ok(&buf, &err));
  assert_int_equal(err.code, ERR_TOO_LARGE);
  buf_cut(&buf, 1);
  buf_putc(&buf, 'y');
  assert_string_equal(buf_text(&buf), "1"); /* sticky */
  buf_reset(&buf);
  buf_printf(&buf, "%s", "12345678901");
  assert_false(buf_ok(&buf, &err));
  buf_reset(&buf);
  buf_add_i64(&buf, -9);
  buf_add_u64(&buf, 0);
  buf_drop(&buf, 1);
  assert_string_equal(buf_text(&buf), "90");
  AUTO_FREE char *taken = buf_take(&buf);
  assert_string_equal(taken, "90");
  assert_int_equal(buf.n, 0);
  AUTO_BUF struct buf wide = BUF_INIT(100);
  buf_add_i64(&wide, INT64_MIN);
  assert_string_equal(buf_text(&wide), "-9223372036854775808");
}

static void buffers_survive_no_memory(void **state UNUSED) {
  for (unsigned long n = 1; n < 6; n++) {
    struct err err;
    AUTO_BUF struct buf buf = BUF_INIT(MIB);
    mem_fail_at(0, false);
    mem_fail_at(n, false);
    for (int i = 0; i < 1000; i++)
      buf_printf(&buf, "line %d\n", i);
    mem_fail_at(0, false);
    assert_false(buf_ok(&buf, &err));
    assert_int_equal(err.code, ERR_NO_MEMORY);
  }
}

static void arenas(void **state UNUSED) {
  AUTO_ARENA struct arena arena = ARENA_INIT(100000);
  char *first = arena_strdup(&arena, STR("hello"));
  assert_string_equal(first, "hello");
  char *big = arena_alloc(&arena, 50000);
  assert_non_null(big);
  memset(big, 1, 50000);
  assert_string_equal(first, "hello");
  assert_null(arena_alloc(&arena, 60000)); /* the ceiling */
  assert_null(arena_array(&arena, SIZE_MAX, 2));
  arena_reset(&arena);
  assert_int_equal(arena.used, 0);
  for (int i = 0; i < 1000; i++) {
    uint64_t *p = ARENA_NEW(&arena, uint64_t);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 16, 0);
    assert_int_equal(*p, 0);
  }
  assert_string_equal(arena_printf(&arena, "%d-%s", 5, "x"), "5-x");
}

static void maps_against_a_plain_array(void **state UNUSED) {
  enum { KEYS = 500 };
  static char values[KEYS];
  bool present[KEYS] = {false};
  size_t count = 0;
  struct map map;
  map_init(&map, KEYS - 10);
  struct rng rng = rng_seeded(3);
  for (int i = 0; i < 50000; i++) {
    size_t k = (size_t)rng_below(&rng, KEYS);
    char key[32];
    struct str name = str_n(key, (size_t)snprintf(key, sizeof key, "key-%zu-%zu", k, k * 7919));
    if (rng_below(&rng, 2)) {
      void *old = NULL;
      bool ok = map_put(&map, name, &values[k], &old);
      assert_int_equal(ok, present[k] || count < KEYS - 10);
      assert_ptr_equal(old, present[k] ? &values[k] : NULL);
      if (ok && !present[k]) {
        present[k] = true;
        count++;
      }
    } else {
      assert_ptr_equal(map_remove(&map, name), present[k] ? &values[k] : NULL);
      count -= present[k];
      present[k] = false;
    }
    assert_int_equal(map.count, count);
  }
  size_t seen = 0;
  struct str key;
  void *value;
  for (size_t cursor = 0; map_next(&map, &cursor, &key, &value); seen++)
    assert_true(present[(char *)value - values]);
  assert_int_equal(seen, count);
  map_release(&map);
}

static void id_maps_against_a_plain_array(void **state UNUSED) {
  enum { KEYS = 500 };
  static struct id ids[KEYS];
  bool present[KEYS] = {false};
  size_t count = 0;
  struct id_map map;
  id_map_init(&map, KEYS - 10);
  struct rng rng = rng_seeded(3);
  for (size_t k = 0; k < KEYS; k++)
    memcpy(ids[k].bytes + 8, &k, sizeof k);
  for (int i = 0; i < 50000; i++) {
    size_t k = (size_t)rng_below(&rng, KEYS);
    struct id equal = ids[k];
    assert_ptr_equal(id_map_get(&map, equal), present[k] ? &ids[k] : NULL);
    if (rng_below(&rng, 2)) {
      bool ok = id_map_put(&map, &ids[k]);
      assert_int_equal(ok, present[k] || count < KEYS - 10);
      count += ok && !present[k];
      present[k] |= ok;
    } else {
      id_map_remove(&map, equal);
      count -= present[k];
      present[k] = false;
    }
    assert_int_equal(map.count, count);
  }
  for (size_t k = 0; k < KEYS; k++)
    assert_ptr_equal(id_map_get(&map, ids[k]), present[k] ? &ids[k] : NULL);
  id_map_release(&map);
}

static void a_shelf_grows_and_moves_nothing(void **state UNUSED) {
  enum { COUNT = 5000 };
  static uint64_t *places[COUNT];
  struct shelf shelf = SHELF_INIT(uint64_t);
  for (size_t i = 0; i < COUNT; i++) {
    assert_true(shelf_reserve(&shelf, i + 1));
    places[i] = shelf_at(&shelf, i);
    assert_int_equal(*places[i], 0);
    *places[i] = i;
  }
  for (size_t i = 0; i < COUNT; i++) {
    assert_ptr_equal(shelf_at(&shelf, i), places[i]);
    assert_int_equal(*places[i], i);
  }
  mem_fail_at(1, false);
  assert_false(shelf_reserve(&shelf, shelf.cap + 1));
  mem_fail_at(0, false);
  assert_true(shelf_reserve(&shelf, shelf.cap + 1));
  shelf_release(&shelf);
}

static void errors_keep_whole_characters(void **state UNUSED) {
  struct err err;
  char longer[600];
  memset(longer, 'x', sizeof longer);
  memcpy(longer + 510, "\xe2\x82\xac", 3); /* would be cut after two bytes */
  longer[599] = 0;
  assert_false(err_set(&err, ERR_INVALID, "%s", longer));
  assert_true(str_is_utf8(str_of(err.text)));
  err_set(&err, ERR_INVALID, "inner");
  err_hint(&err, "try %d", 2);
  err_prefix(&err, "outer %s", "x");
  assert_string_equal(err.text, "outer x: inner");
  assert_string_equal(err.hint, "try 2");
  err_set(&err, ERR_CONFLICT, "again: %s", err.text);
  assert_string_equal(err.text, "again: outer x: inner");
  assert_string_equal(err.hint, "");
  err_errno(&err, ENOSPC, "write");
  assert_int_equal(err.code, ERR_NO_SPACE);
  assert_false(err_is_shortage(&err));
  err_errno(&err, EMFILE, "open");
  assert_true(err_is_shortage(&err));
  for (int code = 0; code < ERR_CODE_COUNT; code++) {
    const struct err_info *info = err_info((enum err_code)code);
    assert_non_null(info->name);
    assert_in_range(info->http_status, 200, 599);
  }
}

static void ids_sort_by_age_and_round_trip(void **state UNUSED) {
  struct fake_clock fake;
  fake_clock_init(&fake, 1700000000000);
  struct rng rng = rng_seeded(9);
  struct id before = id_new(&fake.clock, &rng);
  for (int i = 0; i < 100; i++) {
    fake_clock_advance_ms(&fake, 1);
    struct id id = id_new(&fake.clock, &rng), back;
    assert_true(memcmp(before.bytes, id.bytes, 16) < 0);
    char text[ID_HEX_LEN + 1];
    id_format(id, text);
    assert_true(id_parse(str_of(text), &back) && id_eq(id, back));
    assert_true(id_eq(id, id_at(clock_wall_ms(&fake.clock), id.bytes)));
    before = id;
  }
  for (int i = 0; i < 999; i++) { /* in one millisecond, too */
    fake.wall_us++;
    struct id id = id_new(&fake.clock, &rng);
    assert_true(memcmp(before.bytes, id.bytes, 16) < 0);
    assert_true(id_eq(id, id_at(fake.wall, id.bytes)));
    before = id;
  }
  struct id id;
  assert_true(id_parse(STR("00000000-0000-0000-0000-000000000000"), &id) && id_is_zero(id));
  assert_false(id_parse(STR("00000000000000000000000000000000-0000"), &id));
  assert_false(id_parse(STR("0000"), &id));
  assert_false(id_parse(STR("g0000000000000000000000000000000"), &id));
}

static void chance_is_even_and_repeatable(void **state UNUSED) {
  struct rng a = rng_for(1, 2, 3), b = rng_for(1, 2, 3), c = rng_for(1, 2, 4);
  assert_true(rng_u64(&a) == rng_u64(&b));
  assert_false(rng_u64(&a) == rng_u64(&c));
  enum { N = 100000, CELLS = 7 };
  unsigned counts[CELLS] = {0};
  double sum = 0, squares = 0;
  for (int i = 0; i < N; i++) {
    counts[rng_below(&a, CELLS)]++;
    double x = rng_normal(&a);
    sum += x;
    squares += x * x;
  }
  for (size_t i = 0; i < CELLS; i++)
    assert_in_range(counts[i], N / CELLS - 700, N / CELLS + 700); /* five standard deviations and more */
  assert_true(fabs(sum / N) < 0.02 && fabs(squares / N - 1) < 0.03);
}

static void times_print_as_iso(void **state UNUSED) {
  char out[32];
  clock_format_iso(0, out);
  assert_string_equal(out, "1970-01-01T00:00:00.000Z");
  clock_format_iso(-1, out);
  assert_string_equal(out, "1969-12-31T23:59:59.999Z");
  clock_format_iso(1795280918123, out);
  assert_string_equal(out, "2026-11-21T17:08:38.123Z");
  clock_format_iso(INT64_MAX, out); /* no date, but no crash */
  assert_string_equal(out, "9223372036854775807 ms");
  clock_format_iso(253402300800000, out);
  assert_string_equal(out, "253402300800000 ms");
}

/* As the library tells it, of every day of the years 0 to 9999. */
static void every_day_is_printed_as_the_library_prints_it(void **state UNUSED) {
  for (int64_t at = -62167219200; at <= 253402300799; at += 86399) {
    char out[32], expected[32];
    struct tm tm;
    time_t t = (time_t)at;
    assert_non_null(gmtime_r(&t, &tm));
    snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02d.007Z", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
             tm.tm_min, tm.tm_sec);
    clock_format_iso(at * 1000 + 7, out);
    if (strcmp(out, expected) != 0)
      fail_msg("%s is not %s", out, expected);
  }
}

/* Small blocks below one that stays: by itself none of it would go back. */
static void what_a_burst_took_goes_back(void **state UNUSED) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  skip(); /* the sanitizer keeps what was freed */
#endif
  enum { BLOCKS = 100000, SIZE = 1000 };
  static void *blocks[BLOCKS];
  mem_trim();
  size_t before = mem_resident();
  for (size_t i = 0; i < BLOCKS; i++) {
    blocks[i] = mem_alloc(SIZE);
    assert_non_null(blocks[i]);
    memset(blocks[i], 1, SIZE);
  }
  void *last = mem_alloc(SIZE);
  for (size_t i = 0; i < BLOCKS; i++)
    mem_free(blocks[i]);
  assert_true(mem_resident() > before + BLOCKS * SIZE / 2);
  mem_trim();
  assert_true(mem_resident() < before + BLOCKS * SIZE / 2);
  mem_free(last);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers_consume_everything_or_fail),
      cmocka_unit_test(doubles_print_shortest_and_read_back),
      cmocka_unit_test(units),
      cmocka_unit_test(utf8),
      cmocka_unit_test(split_and_trim),
      cmocka_unit_test(nearest),
      cmocka_unit_test(buffers_have_a_ceiling_and_failure_sticks),
      cmocka_unit_test(buffers_survive_no_memory),
      cmocka_unit_test(arenas),
      cmocka_unit_test(maps_against_a_plain_array),
      cmocka_unit_test(id_maps_against_a_plain_array),
      cmocka_unit_test(a_shelf_grows_and_moves_nothing),
      cmocka_unit_test(errors_keep_whole_characters),
      cmocka_unit_test(ids_sort_by_age_and_round_trip),
      cmocka_unit_test(chance_is_even_and_repeatable),
      cmocka_unit_test(times_print_as_iso),
      cmocka_unit_test(every_day_is_printed_as_the_library_prints_it),
      cmocka_unit_test(what_a_burst_took_goes_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
