/* Log lines: whatever their fields hold, each is one line, and in JSON one object. */
#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "tests/support/test.h"

#include <unistd.h>

/* What a line of these fields says. */
static void write_line(enum log_format format, const struct log_field *fields, size_t count, char *out, size_t room) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  log_setup(LOG_INFO, format, ends[1]);
  log_fields(LOG_INFO, "web", "request", fields, count);
  log_flush();
  log_setup(LOG_INFO, LOG_TEXT, 2);
  close(ends[1]);
  ssize_t n = read(ends[0], out, room - 1);
  close(ends[0]);
  assert_true(n > 0 && out[n - 1] == '\n');
  out[n - 1] = 0;
}

static void a_text_that_looks_like_a_number_stays_a_text(void **state UNUSED) {
  static const char *const ids[] = {"0000001200000001", "1234567800000001", "007", "-5", "1.", "1e400", "12e4567800000001"};
  for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
    char line[1024];
    struct err err;
    AUTO_JSON json_t *object = NULL;
    const struct log_field fields[] = {{.key = "ms", .value = STR("12"), .is_number = true},
                                       {.key = "request_id", .value = str_of(ids[i])}};
    write_line(LOG_JSON, fields, ARRAY_LEN(fields), line, sizeof line);
    if (!json_read(str_of(line), &object, &err))
      fail_msg("%s: %s", line, err.text);
    assert_int_equal(json_integer_value(json_object_get(object, "ms")), 12);
    assert_true(str_is(json_str(json_object_get(object, "request_id")), ids[i]));
  }
}

static void nothing_starts_a_new_line(void **state UNUSED) {
  char line[1024];
  const struct log_field fields[] = {
      {.key = "path", .value = STR("/a\nb\" \r\x1b[1m")}, {.key = "none", .value = STR_NONE}, {.key = "peer", .value = STR("unix:uid=1")}};
  write_line(LOG_TEXT, fields, ARRAY_LEN(fields), line, sizeof line);
  assert_null(strpbrk(line, "\n\r\x1b"));
  assert_non_null(strstr(line, " path=\"/a\\nb\\\" \\r\\u001b[1m\""));
  assert_null(strstr(line, "none"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_text_that_looks_like_a_number_stays_a_text),
      cmocka_unit_test(nothing_starts_a_new_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
