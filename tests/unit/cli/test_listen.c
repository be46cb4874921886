/* Addresses to serve at; settings from their sources; secrets of a directory. */
#include "cli/listen.h"

#include <sys/stat.h>

#include "base/file.h"
#include "cli/secrets.h"
#include "cli/service_settings.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test.h"

static void addresses(void **state UNUSED) {
  static const struct {
    const char *text, *host;
    uint16_t port;
    bool loopback;
    const char *url;
  } rows[] = {
      {"127.0.0.1:7070", "127.0.0.1", 7070, true, "http://127.0.0.1:7070"},
      {"[::1]:80", "::1", 80, true, "http://[::1]:80"},
      {":0", "127.0.0.1", 0, true, "http://127.0.0.1:0"},
      {"8080", "127.0.0.1", 8080, true, "http://127.0.0.1:8080"},
      {"0.0.0.0:1", "0.0.0.0", 1, false, "http://127.0.0.1:1"},
      {"*:65535", "*", 65535, false, "http://127.0.0.1:65535"},
      {"LocalHost:1", "LocalHost", 1, true, "http://LocalHost:1"},
  };
  struct listen_address list[LISTEN_MAX];
  size_t count;
  struct err err;
  char url[300];
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    assert_true(listen_parse(str_of(rows[i].text), list, &count, &err));
    assert_int_equal(count, 1);
    assert_string_equal(list[0].host, rows[i].host);
    assert_int_equal(list[0].port, rows[i].port);
    assert_int_equal(list[0].is_loopback, rows[i].loopback);
    listen_url(&list[0], false, url);
    assert_string_equal(url, rows[i].url);
  }
  assert_true(listen_parse(STR(" 127.0.0.1:1 , ,[::1]:2,"), list, &count, &err) && count == 2);
  static const char *const bad[] = {"127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "a:b", "[::1]", "[::1", "1:2:3"};
  for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
    assert_false(listen_parse(str_of(bad[i]), list, &count, &err));
    assert_true(err.hint[0]);
  }
}

static void beyond_loopback_only_with_auth_and_tls(void **state UNUSED) {
  struct listen_address list[2] = {{.host = "127.0.0.1", .is_loopback = true}, {.host = "0.0.0.0"}};
  struct err err;
  assert_true(listen_allowed(list, 1, false, false, false, &err));
  assert_false(listen_allowed(list, 2, false, true, true, &err));
  assert_string_equal(err.hint, "add --auth required");
  assert_false(listen_allowed(list, 2, true, false, false, &err));
  assert_true(listen_allowed(list, 2, true, true, false, &err));
  assert_true(listen_allowed(list, 2, true, false, true, &err));
}

static void arguments_win_over_environment_over_file(void **state UNUSED) {
  struct temp_dir dir;
  temp_dir_make(&dir);
  char path[300];
  struct err err;
  snprintf(path, sizeof path, "%s/winnow.conf", dir.path);
  assert_true(file_replace(path, STR("slots = 3\nthreads = 5\nconnections = 100\n"), 0600, &err));
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  struct service_settings settings;
  struct setting_argument arguments[] = {{STR("data"), str_of(dir.path)}, {STR("slots"), STR("9")}};
  char threads[] = "WINNOW_THREADS=7";
  char *environment[] = {threads, NULL};
  if (!service_settings_load(&settings, &arena, arguments, 2, environment, &err))
    fail_msg("%s", err.text);
  assert_int_equal(settings.slots, 9);
  assert_int_equal(settings.threads, 7);
  assert_int_equal(settings.connections, 100);
  assert_string_equal(settings.data, dir.path);
  assert_true(file_replace(path, STR("slotz = 3\n"), 0600, &err));
  assert_false(service_settings_load(&settings, &arena, arguments, 2, environment, &err));
  assert_non_null(strstr(err.text, "winnow.conf:1: unknown setting \"slotz\""));
  assert_non_null(strstr(err.hint, "slots"));
  struct setting_argument half[] = {{STR("data"), STR("/nonexistent")}, {STR("tls-cert"), STR("x")}};
  assert_false(service_settings_load(&settings, &arena, half, 2, environment, &err));
  struct setting_argument missing[] = {{STR("data"), str_of(dir.path)}, {STR("config"), STR("/nonexistent/winnow.conf")}};
  assert_false(service_settings_load(&settings, &arena, missing, 2, environment, &err));
  temp_dir_remove(&dir);
}

static void secrets_are_made_once_and_kept_private(void **state UNUSED) {
  struct temp_dir dir;
  temp_dir_make(&dir);
  char path[300];
  struct err err;
  uint8_t first[TOKEN_HASH_BYTES], second[TOKEN_HASH_BYTES], key[32], again[32];
  assert_true(secrets_admin_token(dir.path, first, &err));
  assert_true(secrets_admin_token(dir.path, second, &err));
  assert_memory_equal(first, second, sizeof first);
  assert_true(secrets_run_key(dir.path, key, &err));
  assert_true(secrets_run_key(dir.path, again, &err));
  assert_memory_equal(key, again, sizeof key);
  snprintf(path, sizeof path, "%s/admin.token", dir.path);
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
  assert_int_equal(chmod(path, 0644), 0);
  assert_false(secrets_admin_token(dir.path, first, &err));
  assert_int_equal(err.code, ERR_FORBIDDEN);
  assert_true(file_replace(path, STR("short\n"), 0600, &err));
  assert_false(secrets_admin_token(dir.path, first, &err));
  temp_dir_remove(&dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(addresses),
      cmocka_unit_test(beyond_loopback_only_with_auth_and_tls),
      cmocka_unit_test(arguments_win_over_environment_over_file),
      cmocka_unit_test(secrets_are_made_once_and_kept_private),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
