#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "web/router.h"

static int write_error(const struct http_req *req UNUSED, const char *request_id UNUSED, const struct err *err UNUSED,
                       struct buf *body UNUSED, const char **ret_content_type UNUSED) {
  return 500;
}

static void handler(struct http_req *req UNUSED) {}

static const struct route_family api = {.name = "api", .write_error = write_error};
static const struct route_family mlflow = {.name = "mlflow", .write_error = write_error, .collapse_slashes = true};

#define ROW(m, p) \
  { .method = m, .path = p, .policy = POLICY_READ, .handler = handler }

static const struct route root_rows[] = {ROW(HTTP_GET, "/"), ROW(HTTP_GET, "/health")};
static const struct route api_rows[] = {
    ROW(HTTP_GET, "/runs"),
    ROW(HTTP_POST, "/runs"),
    ROW(HTTP_POST, "/runs/search"),
    ROW(HTTP_GET, "/runs/{id}"),
    ROW(HTTP_DELETE, "/runs/{id}"),
    ROW(HTTP_GET, "/runs/{id}/logs/{stream}"),
    ROW(HTTP_GET, "/runs/{id}/artifacts"),
    ROW(HTTP_PUT, "/runs/{id}/artifacts/{path...}"),
    ROW(HTTP_DELETE, "/runs/{id}/tags/{key*}"),
};
static const struct route ml_rows[] = {ROW(HTTP_GET, "/runs/get")};
static const struct route_mount mounts[] = {
    {"", root_rows, ARRAY_LEN(root_rows), &api},
    {"/api/v1", api_rows, ARRAY_LEN(api_rows), &api},
    {"/api/2.0/mlflow", ml_rows, ARRAY_LEN(ml_rows), &mlflow},
    {"/ajax-api/2.0/mlflow", ml_rows, ARRAY_LEN(ml_rows), &mlflow},
};

/* pattern NULL: the code instead */
static const struct {
  const char *path, *pattern, *first, *second;
  enum err_code code;
} paths[] = {
    {"/", "/", NULL, NULL, 0},
    {"/health", "/health", NULL, NULL, 0},
    {"/%68ealth", "/health", NULL, NULL, 0},
    {"//health", "/health", NULL, NULL, 0},
    {"/api/v1/runs", "/api/v1/runs", NULL, NULL, 0},
    {"/api/v1/runs/search", "/api/v1/runs/search", NULL, NULL, 0},
    {"/api/v1/runs/abc", "/api/v1/runs/{id}", "abc", NULL, 0},
    {"/api/v1/runs/a%2Fb%20%252e", "/api/v1/runs/{id}", "a/b %2e", NULL, 0},
    {"/api/v1/runs/search/artifacts", "/api/v1/runs/{id}/artifacts", "search", NULL, 0}, /* back from the literal */
    {"/api/v1/runs/r/logs/stdout", "/api/v1/runs/{id}/logs/{stream}", "r", "stdout", 0},
    {"/api/v1/runs/r/artifacts/a", "/api/v1/runs/{id}/artifacts/{path...}", "r", "a", 0},
    {"/api/v1/runs/r/artifacts/a/b%20c/d", "/api/v1/runs/{id}/artifacts/{path...}", "r", "a/b c/d", 0},
    {"/api/v1/runs/r/artifacts/a/", "/api/v1/runs/{id}/artifacts/{path...}", "r", "a/", 0},
    {"/api/v1/runs/r/artifacts/a%2Fb", "/api/v1/runs/{id}/artifacts/{path...}", "r", "a/b", 0},
    {"/api/v1/runs/r/artifacts/...", "/api/v1/runs/{id}/artifacts/{path...}", "r", "...", 0},
    {"/api/v1/runs/r/tags/a", "/api/v1/runs/{id}/tags/{key*}", "r", "a", 0},
    {"/api/v1/runs/r/tags/a/b%20c", "/api/v1/runs/{id}/tags/{key*}", "r", "a/b c", 0},
    {"/api/v1/runs/r/tags/a%2F%2Fb", "/api/v1/runs/{id}/tags/{key*}", "r", "a//b", 0},
    {"/api/v1/runs/r/tags/%2Fa%2F..%2F", "/api/v1/runs/{id}/tags/{key*}", "r", "/a/../", 0},
    {"/api/v1/runs/r/tags/%2E%2E", "/api/v1/runs/{id}/tags/{key*}", "r", "..", 0},
    {"/api/v1/runs/r/tags/a/%2e/b", "/api/v1/runs/{id}/tags/{key*}", "r", "a/./b", 0},
    {"/api/v1/runs/r/tags/..", NULL, NULL, NULL, ERR_INVALID},
    {"/api/v1/runs/%2E%2E/tags/a", NULL, NULL, NULL, ERR_INVALID},
    {"/api/v1/runs/r/artifacts/a%2F%2Fb", NULL, NULL, NULL, ERR_INVALID},
    {"/api/v1/runs/r/artifacts/%2E%2E", NULL, NULL, NULL, ERR_INVALID},
    {"/api/2.0/mlflow/runs/get", "/api/2.0/mlflow/runs/get", NULL, NULL, 0},
    {"/ajax-api/2.0/mlflow/runs/get", "/ajax-api/2.0/mlflow/runs/get", NULL, NULL, 0},
    {"/api/2.0/mlflow//runs///get/", "/api/2.0/mlflow/runs/get", NULL, NULL, 0},
    {"/nothing", NULL, NULL, NULL, ERR_NOT_FOUND},
    {"/health/", NULL, NULL, NULL, ERR_NOT_FOUND},
    {"/Health", NULL, NULL, NULL, ERR_NOT_FOUND},
    {"/api/v1", NULL, NULL, NULL, ERR_NOT_FOUND},
    {"/api/v1/runs/", NULL, NULL, NULL, ERR_NOT_FOUND},
    {"/api/v1//runs", NULL, NULL, NULL, ERR_NOT_FOUND},
    {"/api/v1/runs//logs/x", NULL, NULL, NULL, ERR_NOT_FOUND},
    {"/api/v1/runs/r/artifacts/", NULL, NULL, NULL, ERR_NOT_FOUND},
    {"/api/v1/runs/r/artifacts/a//b", NULL, NULL, NULL, ERR_NOT_FOUND},
    {"/api/v1/./runs", NULL, NULL, NULL, ERR_INVALID},
    {"/api/v1/runs/..", NULL, NULL, NULL, ERR_INVALID},
    {"/api/v1/runs/%2e%2E", NULL, NULL, NULL, ERR_INVALID},
    {"/api/v1/runs/%2e", NULL, NULL, NULL, ERR_INVALID},
    {"/api/v1/runs/r/artifacts/a/../b", NULL, NULL, NULL, ERR_INVALID},
    {"/api/v1/runs/r/artifacts/..%2fb", NULL, NULL, NULL, ERR_INVALID},
    {"/api/v1/runs/r/artifacts/a%2F..%2Fb", NULL, NULL, NULL, ERR_INVALID},
    {"/api/v1/runs/r/artifacts/%2Fetc", NULL, NULL, NULL, ERR_INVALID},
    {"/api/v1/runs/r/artifacts/a%2F%2Fb", NULL, NULL, NULL, ERR_INVALID},
    {"/api/v1/runs/%00", NULL, NULL, NULL, ERR_INVALID},
    {"/api/v1/runs/%41%zz", NULL, NULL, NULL, ERR_INVALID},
    {"/api/v1/runs/%c0%ae%", NULL, NULL, NULL, ERR_INVALID},
};

static void test_finding(void **unused UNUSED) {
  struct err err;
  struct router *router = router_new(mounts, ARRAY_LEN(mounts), &err);
  assert_non_null(router);
  for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
    AUTO_ARENA struct arena arena = ARENA_INIT(1 << 20);
    struct route_match match;
    bool found = router_find(router, str_of(paths[i].path), &arena, &match, &err);
    if (found != (paths[i].pattern != NULL) || (!found && err.code != paths[i].code))
      fail_msg("%s: found %d, %s", paths[i].path, found, found ? match.place->pattern : err.text);
    if (found && strcmp(match.place->pattern, paths[i].pattern) != 0)
      fail_msg("%s: %s", paths[i].path, match.place->pattern);
    if (paths[i].first && !str_is(match.values[0], paths[i].first))
      fail_msg("%s: first is %.*s", paths[i].path, STR_ARG(match.values[0]));
    if (paths[i].second && !str_is(match.values[1], paths[i].second))
      fail_msg("%s: second is %.*s", paths[i].path, STR_ARG(match.values[1]));
  }
  router_free(router);
}

/* No way of writing "..", of separating steps or of hiding a NUL gets a step out of a directory through to a handler. */
static void test_traversal_corpus(void **unused UNUSED) {
  static const char *const dots[] = {"..",  "%2e%2e", ".%2e", "%2E.", "%252e%252e", "%c0%ae%c0%ae",
                                     "..;", "..%00",  "...",  ".",    "%2e",        "..%20"};
  static const char *const separators[] = {"/",     "%2f",    "%2F", "\\", "%5c",  "//",   "/%2f",
                                           "%252f", "%c0%af", "/./", ";/", "%3b/", "%00/", "%23/"};
  static const char *const before[] = {"", "a", "a/b", "%2f", "C:", "%61"}, *const after[] = {"", "etc/passwd", "%65tc", "a/"};
  struct err err;
  struct router *router = router_new(mounts, ARRAY_LEN(mounts), &err);
  size_t tried = 0, taken = 0;
  for (size_t i = 0; i < ARRAY_LEN(before) * ARRAY_LEN(dots) * ARRAY_LEN(separators) * ARRAY_LEN(after); i++) {
    const char *b = before[i % ARRAY_LEN(before)], *d = dots[i / ARRAY_LEN(before) % ARRAY_LEN(dots)];
    const char *s = separators[i / ARRAY_LEN(before) / ARRAY_LEN(dots) % ARRAY_LEN(separators)];
    const char *a = after[i / ARRAY_LEN(before) / ARRAY_LEN(dots) / ARRAY_LEN(separators)];
    AUTO_BUF struct buf path = BUF_INIT(4096);
    buf_printf(&path, "/api/v1/runs/r/artifacts/%s%s%s%s%s%s", b, *b ? s : "", d, s, d, a);
    AUTO_ARENA struct arena arena = ARENA_INIT(1 << 20);
    struct route_match match;
    tried++;
    if (!router_find(router, buf_str(&path), &arena, &match, &err))
      continue;
    struct str rest = match.values[1], step;
    taken++;
    if (!rest.n || rest.p[0] == '/' || memchr(rest.p, 0, rest.n))
      fail_msg("%s gives %.*s", buf_text(&path), STR_ARG(rest));
    while (str_split(&rest, '/', &step))
      if (str_is(step, "..") || str_is(step, ".") || (!step.n && rest.p))
        fail_msg("%s gives %.*s", buf_text(&path), STR_ARG(match.values[1]));
  }
  assert_true(tried > 2000 && taken > 0 && taken < tried);
  router_free(router);
}

static void test_methods_and_families(void **unused UNUSED) {
  struct err err;
  struct router *router = router_new(mounts, ARRAY_LEN(mounts), &err);
  AUTO_ARENA struct arena arena = ARENA_INIT(1 << 20);
  struct route_match match;
  assert_true(router_find(router, STR("/api/v1/runs/x"), &arena, &match, &err));
  assert_string_equal(match.place->allow, "GET, HEAD, DELETE, OPTIONS");
  assert_ptr_equal(match.place->rows[HTTP_HEAD], &api_rows[3]);
  assert_ptr_equal(match.place->rows[HTTP_DELETE], &api_rows[4]);
  assert_null(match.place->rows[HTTP_PUT]);
  assert_ptr_equal(router_family(router, STR("/api/2.0/mlflow/none")), &mlflow);
  assert_ptr_equal(router_family(router, STR("/api/2.0/mlflow")), &mlflow);
  assert_ptr_equal(router_family(router, STR("/api/2.0/mlflowers")), &api);
  assert_ptr_equal(router_family(router, STR("//api/2.0/mlflow/x")), &mlflow);
  assert_ptr_equal(router_family(router, STR_NONE), &api);
  router_free(router);
}

static bool begin(struct http_req *req UNUSED, struct err *err UNUSED) {
  return true;
}

static bool data(struct http_req *req UNUSED, struct str bytes UNUSED, struct err *err UNUSED) {
  return true;
}

static void broken_off(struct http_req *req UNUSED, const struct err *err UNUSED) {}

#define STREAM_ROW(reach_word, stream_ref)                                                                             \
  {                                                                                                                    \
    .method = HTTP_PUT, .path = "/a", .policy = POLICY_TRACK, .reach = reach_word, .body = BODY_STREAM, .max_body = 5, \
    .stream = stream_ref                                                                                               \
  }

static void test_tables_that_make_no_sense(void **unused UNUSED) {
  static const struct route_stream half = {0}, whole = {begin, data, handler, broken_off};
  static const struct route judged_by_its_stream[] = {STREAM_ROW(REACH_ANY, &whole)};
  static const struct {
    struct route rows[2];
    size_t count;
  } tables[] = {
      {{{.method = HTTP_GET, .path = "/a", .handler = handler}}, 1}, /* no policy */
      {{ROW(HTTP_GET, "/a"), ROW(HTTP_GET, "/a")}, 2},
      {{ROW(HTTP_GET, "/{a}"), ROW(HTTP_PUT, "/{b}")}, 2},
      {{ROW(HTTP_HEAD, "/a")}, 1},
      {{ROW(HTTP_GET, "a")}, 1},
      {{ROW(HTTP_GET, "/a//b")}, 1},
      {{ROW(HTTP_GET, "/{a...}/b")}, 1},
      {{ROW(HTTP_GET, "/{a*}/b")}, 1},
      {{ROW(HTTP_GET, "/{a...}"), ROW(HTTP_PUT, "/{a*}")}, 2},
      {{ROW(HTTP_GET, "/x{a}")}, 1},
      {{ROW(HTTP_GET, "/{}")}, 1},
      {{{.method = HTTP_GET, .path = "/a", .policy = POLICY_READ}}, 1},
      {{{.method = HTTP_PUT, .path = "/a", .policy = POLICY_READ, .handler = handler, .body = BODY_BUFFER}}, 1}, /* no limit */
      {{{.method = HTTP_PUT, .path = "/a", .policy = POLICY_READ, .handler = handler, .max_body = 5}}, 1},
      {{STREAM_ROW(REACH_ANY, &half)}, 1},
      {{STREAM_ROW(REACH_NAMED, &whole)}, 1},
      {{ROW(HTTP_GET, "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}")}, 1},
  };
  for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
    struct route_mount mount = {"", tables[i].rows, tables[i].count, &api};
    struct err err;
    struct router *router = router_new(&mount, 1, &err);
    if (router)
      fail_msg("table %zu", i);
    assert_int_equal(err.code, ERR_INTERNAL);
  }
  struct err err;
  assert_null(router_new(&mounts[1], 1, &err)); /* none for "" */
  struct route_mount mount = {"", judged_by_its_stream, 1, &api};
  struct router *router = router_new(&mount, 1, &err);
  assert_non_null(router);
  router_free(router);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_finding),
      cmocka_unit_test(test_traversal_corpus),
      cmocka_unit_test(test_methods_and_families),
      cmocka_unit_test(test_tables_that_make_no_sense),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
