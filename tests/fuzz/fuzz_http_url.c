/* Escapes, queries, Host, and paths through a router. */
#include "base/mem.h"
#include "tests/support/fuzz.h"
#include "web/http/http_url.h"
#include "web/router.h"

static int write_error(const struct http_req *req UNUSED, const char *request_id UNUSED, const struct err *err UNUSED,
                       struct buf *body UNUSED, const char **ret_content_type UNUSED) {
  return 500;
}

static void handler(struct http_req *req UNUSED) {}

static const struct route_family family = {.name = "f", .write_error = write_error};
static const struct route_family collapsing = {.name = "c", .write_error = write_error, .collapse_slashes = true};
static const struct route rows[] = {
    {.method = HTTP_GET, .path = "/", .policy = POLICY_PUBLIC, .handler = handler},
    {.method = HTTP_GET, .path = "/runs/search", .policy = POLICY_PUBLIC, .handler = handler},
    {.method = HTTP_GET, .path = "/runs/{id}", .policy = POLICY_PUBLIC, .handler = handler},
    {.method = HTTP_PUT, .path = "/runs/{id}/artifacts/{path...}", .policy = POLICY_PUBLIC, .handler = handler},
};
static const struct route_mount mounts[] = {{"", rows, ARRAY_LEN(rows), &family}, {"/c", rows, ARRAY_LEN(rows), &collapsing}};

static void check_router(struct str path) {
  static struct router *router;
  struct err err;
  if (!router)
    router = router_new(mounts, ARRAY_LEN(mounts), &err);
  if (!claim(router != NULL))
    return;
  AUTO_ARENA struct arena arena = ARENA_INIT(1 << 20);
  struct route_match match;
  if (!router_find(router, path, &arena, &match, &err))
    return;
  for (size_t i = 0; i < match.place->name_count; i++) {
    struct str value = match.values[i], part;
    if (!value.n || memchr(value.p, 0, value.n) || str_is(value, ".") || str_is(value, ".."))
      abort();
    if (strcmp(match.place->names[i], "path") != 0)
      continue;
    while (str_split(&value, '/', &part))
      if (str_is(part, ".") || str_is(part, "..") || (!part.n && value.p))
        abort();
  }
}

static void check_round_trip(struct str text) {
  AUTO_BUF struct buf coded = BUF_INIT(4 << 20);
  http_url_encode(&coded, text, false);
  char *out = mem_alloc(coded.n);
  size_t n = 0;
  bool has_nul = text.n && memchr(text.p, 0, text.n);
  bool understood = out && http_url_decode(buf_str(&coded), false, out, &n);
  claim(understood != has_nul);
  claim(!understood || str_eq(str_n(out, n), text));
  mem_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str text = str_n((const char *)data, size), rest = text, name, value;
  char *out = mem_alloc(size);
  size_t n;
  if (out && http_url_decode(text, true, out, &n) && (n > size || memchr(out, 0, n)))
    abort();
  mem_free(out);
  while (http_query_next(&rest, &name, &value))
    if (!name.n && !value.n && name.p == value.p)
      abort();
  struct http_authority authority;
  if (http_authority_parse(text, &authority) && (!authority.host.n || memchr(authority.host.p, '@', authority.host.n)))
    abort();
  check_round_trip(text);
  if (size && data[0] == '/')
    check_router(text);
  return 0;
}
