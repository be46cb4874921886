#include "web/gate.h"

#include "web/app.h"
#include "web/http_reply.h"

static struct access_facts facts_of(const struct web_app *app, const struct http_req *req, const struct route *route) {
  const struct http_peer *peer = http_req_peer(req);
  enum http_method method = http_req_method(req);
  return (struct access_facts){
      /* What matches no row tells nothing but that: Host and Origin are judged all the same. */
      .policy = route ? route->policy : POLICY_PUBLIC,
      .unsafe_method = method != HTTP_GET && method != HTTP_HEAD && method != HTTP_OPTIONS,
      .over_unix = peer->kind == PEER_UNIX,
      .peer_uid = peer->uid,
      .peer_gid = peer->gid,
      .peer_loopback = peer->is_loopback,
      .over_tls = http_req_is_tls(req),
      .host = http_req_header(req, "Host"),
      .origin = http_req_header(req, "Origin"),
      .sec_fetch_site = http_req_header(req, "Sec-Fetch-Site"),
      .authorization = http_req_header(req, "Authorization"),
      .cookie = http_req_header(req, "Cookie"),
      .now_ms = clock_wall_ms(app->clock),
  };
}

bool web_gate(void *ctx, struct http_req *req, const struct route *route, struct err *err) {
  struct web_app *app = ctx;
  struct access_principal *principal = ARENA_NEW(http_req_arena(req), struct access_principal);
  if (!principal)
    return err_no_memory(err);
  struct access_facts facts = facts_of(app, req, route);
  /* Two of these: which one counts would be a matter of taste. */
  size_t cursor = 0;
  struct str value;
  if (http_req_header_next(req, "Authorization", &cursor, &value) && http_req_header_next(req, "Authorization", &cursor, &value))
    return err_set(err, ERR_INVALID, "two Authorization headers");
  if (!access_decide(&app->access, &facts, principal, err)) {
    if (err->code == ERR_UNAUTHENTICATED)
      http_reply_header(req, "WWW-Authenticate", STR("Bearer realm=\"winnow\""));
    return false;
  }
  http_req_set_principal(req, principal);
  return true;
}
