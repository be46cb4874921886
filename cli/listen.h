/* Where the service is served, and what may be served where. Pure. */
#ifndef WINNOW_CLI_LISTEN_H
#define WINNOW_CLI_LISTEN_H

#include "base/err.h"
#include "base/str.h"

enum { LISTEN_MAX = 8 };

struct listen_address {
  char host[256]; /* without brackets; "*" is every address */
  uint16_t port;
  bool is_loopback;
};

/* "127.0.0.1:7070, [::1]:7070, :8080, *:8080": the host may be left out, and is then 127.0.0.1. */
MUST_CHECK bool listen_parse(struct str text, struct listen_address ret[LISTEN_MAX], size_t *ret_count, struct err *err);
/* An address that is not loopback needs auth = required, and TLS or insecure-http. */
MUST_CHECK bool listen_allowed(const struct listen_address *addresses, size_t count, bool auth_required, bool tls, bool insecure_http,
                               struct err *err);
/* "http://127.0.0.1:7070": what a person on this machine would open. `out` has room for 300. */
void listen_url(const struct listen_address *address, bool tls, char out[300]);

#endif
