#include "web/gate.h"

#include "web/app.h"
#include "web/http/http_reply.h"

/* What the request is addressed to: the target's own host, when it is in absolute form, not the header beside it. As in Host. */
static struct str address_of(const struct http_req *req, char *out, size_t room) {
  const struct http_authority *host = http_req_host(req);
  if (!host->host.p || host->host.n > 255)
    return STR_NONE;
  int n = snprintf(out, room, host->is_v6 ? "[%.*s]" : "%.*s", STR_ARG(host->host));
  if (host->port)
    n += snprintf(out + n, room - (size_t)n, ":%u", (unsigned)host->port);
  return str_n(out, (size_t)n);
}

static struct access_facts facts_of(const struct web_app *app, const struct http_req *req, const struct route *route, struct str host) {
  const struct http_peer *peer = http_req_peer(req);
  enum http_method method = http_req_method(req);
  return (struct access_facts){
      /* What matches no row tells nothing but that: Host and Origin are judged all the same. */
      .policy = route ? route->policy : POLICY_PUBLIC,
      .reach = route ? route->reach : REACH_NOTHING,
      .unsafe_method = method != HTTP_GET && method != HTTP_HEAD && method != HTTP_OPTIONS,
      .over_unix = peer->kind == PEER_UNIX,
      .peer_uid = peer->uid,
      .peer_gid = peer->gid,
      .peer_loopback = peer->is_loopback,
      .over_tls = http_req_is_tls(req),
      .host = host,
      .origin = http_req_header(req, "Origin"),
      .sec_fetch_site = http_req_header(req, "Sec-Fetch-Site"),
      .authorization = http_req_header(req, "Authorization"),
      .cookie = http_req_header(req, "Cookie"),
      .now_ms = clock_wall_ms(app->clock),
  };
}

/* Removing and administering may help; reading does no harm, also by POST. */
static bool needs_space(const struct access_facts *facts, enum http_method method) {
  return facts->unsafe_method && method != HTTP_DELETE && facts->policy != POLICY_READ && facts->policy != POLICY_ADMIN;
}

bool web_gate(void *ctx, struct http_req *req, const struct route *route, struct err *err) {
  struct web_app *app = ctx;
  struct access_principal *principal = ARENA_NEW(http_req_arena(req), struct access_principal);
  if (!principal)
    return err_no_memory(err);
  char address[300];
  struct access_facts facts = facts_of(app, req, route, address_of(req, address, sizeof address));
  uid_t owner;
  facts.peer_is_owner = facts.policy == POLICY_CURATE && http_req_tcp_owner(req, &owner) && owner == app->access.owner;
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
  if (app->status.disks[WEB_DISK_DATABASE].full && needs_space(&facts, http_req_method(req))) {
    err_set(err, ERR_NO_SPACE, "the disk of the database is full");
    return err_hint(err, "reading goes on; writing does too once there is space again; winnow status says where");
  }
  http_req_set_principal(req, principal);
  return true;
}
