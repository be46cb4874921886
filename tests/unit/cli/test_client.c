/* endpoint, client's pure parts, sse, resolve's pure parts. */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/file.h"
#include "cli/client.h"
#include "cli/resolve.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test.h"

static void addresses(void **state UNUSED) {
  static const struct {
    const char *in, *out; /* NULL: refused */
    bool local;
  } rows[] = {
      {"http://127.0.0.1:7070", "http://127.0.0.1:7070", true},
      {"http://127.0.0.1:7070//", "http://127.0.0.1:7070", true},
      {"gpu1:7070", "http://gpu1:7070", false},
      {"https://winnow.lab/", "https://winnow.lab", false},
      {"localhost", "http://localhost", true},
      {"http://[::1]:7070", "http://[::1]:7070", true},
      {"http://127.0.0.1.evil.org", "http://127.0.0.1.evil.org", false},
      {"unix:/run/winnow.sock", "unix:/run/winnow.sock", true},
      {"unix:///run/winnow.sock", "unix:/run/winnow.sock", true},
      {" http://x \n", "http://x", false},
      {"", NULL, false},
      {"http://", NULL, false},
      {"ftp://x", NULL, false},
      {"http://me:pw@x", NULL, false},
      {"http://x/path", NULL, false},
      {"http://x?y", NULL, false},
      {"unix:relative", NULL, false},
      {"http://a b", NULL, false},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct endpoint endpoint = {0};
    struct err err;
    bool ok = endpoint_parse(str_of(rows[i].in), &endpoint, &err);
    assert_int_equal(ok, rows[i].out != NULL);
    if (!ok)
      continue;
    AUTO_BUF struct buf name = BUF_INIT(KIB);
    endpoint_name(&endpoint, &name);
    assert_string_equal(buf_text(&name), rows[i].out);
    assert_int_equal(endpoint_is_local(&endpoint), rows[i].local);
  }
}

static void write_file(const char *directory, const char *name, const char *text, mode_t mode) {
  AUTO_BUF struct buf path = BUF_INIT(4 * KIB);
  struct err err;
  buf_printf(&path, "%s/%s", directory, name);
  assert_true(file_replace(buf_text(&path), str_of(text), mode, &err));
}

static int listen_at(const char *directory) {
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s/winnow.sock", directory);
  assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
  assert_int_equal(listen(fd, 8), 0);
  return fd;
}

static enum endpoint_source source_of(const struct endpoint_inputs *inputs) {
  struct endpoint endpoint = {0};
  struct err err;
  if (!endpoint_find(inputs, &endpoint, &err))
    fail_msg("%s", err.text);
  return endpoint.source;
}

static void the_order_of_places(void **state UNUSED) {
  struct temp_dir temp;
  temp_dir_make(&temp);
  AUTO_BUF struct buf deep = BUF_INIT(KIB);
  struct err err;
  buf_printf(&deep, "%s/a/b", temp.path);
  assert_true(dir_make(buf_text(&deep), 0755, &err));
  int fd = listen_at(temp.path);
  write_file(temp.path, ".winnow", "url = http://project:1\n", 0644);
  struct endpoint_inputs inputs = {
      .flag_url = "http://flag", .env_url = "http://env", .directory = buf_text(&deep), .data_dir = temp.path, .config_dir = temp.path};
  assert_int_equal(source_of(&inputs), ENDPOINT_FLAG);
  inputs.flag_url = NULL;
  assert_int_equal(source_of(&inputs), ENDPOINT_ENV);
  inputs.env_url = "";
  assert_int_equal(source_of(&inputs), ENDPOINT_PROJECT);
  AUTO_BUF struct buf project = BUF_INIT(KIB);
  buf_printf(&project, "%s/.winnow", temp.path);
  chmod(buf_text(&project), 0666); /* anybody could have written it */
  assert_int_equal(source_of(&inputs), ENDPOINT_SOCKET);
  close(fd); /* nobody listens any more */
  assert_int_equal(source_of(&inputs), ENDPOINT_DEFAULT);
  temp_dir_remove(&temp);
}

static void tokens(void **state UNUSED) {
  struct temp_dir temp;
  struct endpoint endpoint = {0};
  struct err err;
  temp_dir_make(&temp);
  write_file(temp.path, ".winnow", "url = http://far:1\n", 0644);
  struct endpoint_inputs inputs = {.env_url = "http://far:1", .directory = temp.path, .config_dir = temp.path, .env_token = "env"};
  assert_true(endpoint_find(&inputs, &endpoint, &err));
  assert_string_equal(endpoint.token, "env");
  inputs.env_url = NULL; /* now the project names the address */
  assert_true(endpoint_find(&inputs, &endpoint, &err));
  assert_string_equal(endpoint.token, "");
  assert_true(endpoint.env_token_withheld);
  AUTO_BUF struct buf path = BUF_INIT(KIB), directory = BUF_INIT(KIB);
  buf_printf(&directory, "%s/tokens", temp.path);
  assert_true(dir_make(buf_text(&directory), 0700, &err));
  endpoint_token_path(&endpoint, temp.path, &path);
  assert_true(file_replace(buf_text(&path), STR("kept\nsecond line\n"), 0600, &err));
  assert_true(endpoint_find(&inputs, &endpoint, &err)); /* what was kept for this address goes there */
  assert_string_equal(endpoint.token, "kept");
  chmod(buf_text(&path), 0640);
  assert_false(endpoint_find(&inputs, &endpoint, &err));
  assert_int_equal(err.code, ERR_FORBIDDEN);
  char token[ENDPOINT_TOKEN_MAX];
  write_file(temp.path, "empty", "\n", 0600);
  write_file(temp.path, "blank", "a b\n", 0600);
  static const char *const bad[] = {"empty", "blank", "none", "."};
  for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
    AUTO_BUF struct buf name = BUF_INIT(KIB);
    buf_printf(&name, "%s/%s", temp.path, bad[i]);
    assert_false(endpoint_read_token(buf_text(&name), token, &err));
  }
  temp_dir_remove(&temp);
}

static void paths(void **state UNUSED) {
  AUTO_BUF struct buf path = BUF_INIT(KIB);
  path_format(&path, "/models/{}/files/{/}", "a/b c", "x/../y?z");
  assert_string_equal(buf_text(&path), "/models/a%2Fb%20c/files/x/../y%3Fz");
  path_query(&path, "k", "a&b=ü");
  path_query(&path, "none", NULL);
  path_query(&path, "n", "1");
  assert_non_null(strstr(buf_text(&path), "?k=a%26b%3D%C3%BC&n=1"));
}

static struct err err_of(long status, const char *body, json_t **ret_rest) {
  struct err err;
  problem_to_err(status, str_of(body), &err, ret_rest);
  return err;
}

static const char *text_of(const json_t *rest, size_t i, const char *key) {
  return json_string_value(json_object_get(json_array_get(rest, i), key));
}

static void problems(void **state UNUSED) {
  AUTO_JSON json_t *none = NULL, *all = NULL, *others = NULL, *html = NULL, *list = NULL, *odd = NULL;
  struct err err = err_of(409, "{\"code\":\"wrong_state\",\"detail\":\"it ended\",\"hint\":\"start another\"}", &none);
  assert_int_equal(err.code, ERR_WRONG_STATE);
  assert_string_equal(err.text, "it ended");
  assert_string_equal(err.hint, "start another");
  assert_int_equal(json_array_size(none), 0);

  err = err_of(400, "{\"title\":\"bad\",\"errors\":[{\"path\":\"a.b\",\"line\":3,\"column\":7,\"message\":\"m\"},{\"message\":\"n\"}]}",
               &all);
  assert_string_equal(err.text, "bad");
  assert_int_equal(json_array_size(all), 2);
  assert_string_equal(text_of(all, 0, "text"), "line 3, column 7: a.b: m");
  assert_string_equal(text_of(all, 1, "text"), "n");

  AUTO_JSON json_t *input = NULL; /* a file without a name */
  err = err_of(400, "{\"detail\":\"line 3:7: m\",\"errors\":[{\"line\":3,\"column\":7,\"message\":\"m\"},{\"line\":4,\"message\":\"n\"}]}",
               &input);
  assert_string_equal(err.text, "line 3:7: m");
  assert_int_equal(json_array_size(input), 1);
  assert_string_equal(text_of(input, 0, "text"), "line 4: n");

  err = err_of(400,
               "{\"detail\":\"s.yaml:3:7: m\",\"errors\":[{\"path\":\"a\",\"line\":3,\"column\":7,\"message\":\"m\"},"
               "{\"path\":\"b\",\"line\":9,\"column\":1,\"message\":\"n\",\"hint\":\"h\"}]}",
               &others);
  assert_string_equal(err.text, "s.yaml:3:7: m");
  assert_int_equal(json_array_size(others), 1);
  assert_string_equal(text_of(others, 0, "text"), "s.yaml:9:1: n");
  assert_string_equal(text_of(others, 0, "hint"), "h");

  assert_int_equal(err_of(503, "<html>", &html).code, ERR_UNAVAILABLE);
  err = err_of(401, "[]", &list);
  assert_int_equal(err.code, ERR_UNAUTHENTICATED);
  assert_non_null(strstr(err.hint, "winnow login"));
  assert_int_equal(err_of(404, "{\"code\":\"made up\",\"detail\":5,\"errors\":{}}", &odd).code, ERR_NOT_FOUND);
}

static void retry_after(void **state UNUSED) {
  assert_int_equal(retry_after_ms(STR("0"), 0), 0);
  assert_int_equal(retry_after_ms(STR(" 12 "), 0), 12000);
  assert_int_equal(retry_after_ms(STR("-1"), 0), -1);
  assert_int_equal(retry_after_ms(STR("soon"), 0), -1);
  assert_int_equal(retry_after_ms(STR("99999999999999999999"), 0), -1);
  assert_int_equal(retry_after_ms(STR("Thu, 01 Jan 1970 00:01:00 GMT"), 50000), 10000);
  assert_int_equal(retry_after_ms(STR("Thu, 01 Jan 1970 00:01:00 GMT"), 90000), 0);
}

/* ---- events ---- */

struct heard {
  struct buf text;
  size_t stop_after;
};

static bool hear(void *ctx, const struct sse_event *event) {
  struct heard *heard = ctx;
  buf_printf(&heard->text, "%.*s|%.*s|%.*s\n", STR_ARG(event->type), STR_ARG(event->data), STR_ARG(event->id));
  return heard->stop_after == 0 || --heard->stop_after > 0;
}

/* However the bytes are cut, the same events come out. */
static void event_streams(void **state UNUSED) {
  static const struct {
    const char *in, *out;
  } rows[] = {
      {"data: a\n\n", "message|a|\n"},
      {"\xEF\xBB\xBF"
       "data:a\r\n\r\n",
       "message|a|\n"},
      {"id: 1\nevent: x\ndata: a\ndata:  b\n\ndata: c\n\n", "x|a\n b|1\nmessage|c|1\n"},
      {": comment\n\nevent: nothing\n\ndata: d\n\n", "message|d|\n"},
      {"data\n\n", "message||\n"},
      {"data: cut", ""},
      {"data: a\r\rdata: b\r\r", "message|a|\nmessage|b|\n"},
      {"unknown: 1\nretry: x\nretry: 250\nid:\ndata: a\n\n", "message|a|\n"},
      {"id: 5\n\ndata: after\n\n", "message|after|5\n"},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    size_t n = strlen(rows[i].in);
    for (size_t piece = 1; piece <= n; piece++) {
      struct sse_parser parser;
      struct heard heard = {.text = BUF_INIT(KIB)};
      struct err err;
      sse_init(&parser);
      for (size_t at = 0; at < n; at += piece)
        assert_true(sse_feed(&parser, str_slice(str_of(rows[i].in), at, at + piece), hear, &heard, &err));
      assert_string_equal(buf_text(&heard.text), rows[i].out);
      sse_release(&parser);
      buf_release(&heard.text);
    }
  }
}

static void half_an_event_is_asked_for_again(void **state UNUSED) {
  struct sse_parser parser;
  struct heard heard = {.text = BUF_INIT(KIB)};
  struct err err;
  sse_init(&parser);
  assert_true(sse_feed(&parser, STR("retry: 99999999\nid: 1\ndata: a\n\nid: 2\ndata: b"), hear, &heard, &err));
  assert_true(str_is(sse_last_id(&parser), "1"));
  assert_int_equal(parser.retry_ms, 60000);
  sse_reconnect(&parser);
  assert_true(sse_feed(&parser, STR("id: 2\ndata: b\n\n"), hear, &heard, &err));
  assert_string_equal(buf_text(&heard.text), "message|a|1\nmessage|b|2\n");
  heard.stop_after = 1;
  assert_false(sse_feed(&parser, STR("data: c\n\ndata: d\n\n"), hear, &heard, &err));
  assert_int_equal(err.code, ERR_CANCELLED);
  assert_null(strstr(buf_text(&heard.text), "d|"));
  sse_release(&parser);
  buf_release(&heard.text);
}

static void an_event_has_a_ceiling(void **state UNUSED) {
  struct sse_parser parser;
  struct heard heard = {.text = BUF_INIT(KIB)};
  struct err err;
  sse_init(&parser);
  AUTO_BUF struct buf line = BUF_INIT(2 * SSE_MAX_EVENT);
  for (size_t i = 0; i < SSE_MAX_EVENT + 10; i++)
    buf_putc(&line, 'x');
  assert_false(sse_feed(&parser, buf_str(&line), hear, &heard, &err));
  assert_int_equal(err.code, ERR_TOO_LARGE);
  sse_release(&parser);
  buf_release(&heard.text);
}

/* ---- ids ---- */

static void matching(void **state UNUSED) {
  AUTO_JSON json_t *items = NULL;
  struct err err;
  assert_true(json_read(
      STR("[{\"id\":\"0193aa01\",\"name\":\"mnist\"},{\"id\":\"0193ab02\",\"name\":\"twice\"},{\"id\":\"0193ab03\",\"name\":\"twice\"},"
          "{\"id\":\"mnist\",\"name\":\"0193aa01\"}]"),
      &items, &err));
  static const struct {
    const char *word;
    int at; /* -1: none, -2: several */
  } rows[] = {{"0193aa01", 0}, {"mnist", 3}, {"0193aa", 0}, {"0193ab", -2}, {"twice", -2},
              {"0193ab03", 2}, {"019", -1},  {"zzz", -1},   {"", -1}};
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    const json_t *item = NULL;
    bool ok = match_item(items, "sweep", rows[i].word, "name", &item, &err);
    assert_int_equal(ok, rows[i].at >= 0);
    if (ok)
      assert_ptr_equal(item, json_array_get(items, (size_t)rows[i].at));
    else
      assert_int_equal(strstr(err.text, "more than one") != NULL, rows[i].at == -2);
  }
}

static void model_words(void **state UNUSED) {
  static const struct {
    const char *word, *name, *version, *alias;
  } rows[] = {{"mnist", "mnist", "", ""},
              {"mnist/3", "mnist", "3", ""},
              {"mnist@champion", "mnist", "", "champion"},
              {"team/mnist", "team/mnist", "", ""},
              {"team/mnist/12", "team/mnist", "12", ""},
              {"a@b@c", "a@b", "", "c"},
              {"a@b/3", "a@b", "3", ""},
              {"/3", "/3", "", ""},
              {"@x", "@x", "", ""},
              {"a@", "a@", "", ""}};
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct model_ref ref;
    struct err err;
    assert_true(model_ref_parse(rows[i].word, &ref, &err));
    assert_string_equal(ref.name, rows[i].name);
    assert_string_equal(ref.version, rows[i].version);
    assert_string_equal(ref.alias, rows[i].alias);
  }
  struct model_ref ref;
  struct err err;
  assert_false(model_ref_parse("", &ref, &err));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(addresses),
      cmocka_unit_test(the_order_of_places),
      cmocka_unit_test(tokens),
      cmocka_unit_test(paths),
      cmocka_unit_test(problems),
      cmocka_unit_test(retry_after),
      cmocka_unit_test(event_streams),
      cmocka_unit_test(half_an_event_is_asked_for_again),
      cmocka_unit_test(an_event_has_a_ceiling),
      cmocka_unit_test(matching),
      cmocka_unit_test(model_words),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
