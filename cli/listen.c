#include "cli/listen.h"

static bool loopback(struct str host) {
  return str_eq_nocase(host, STR("localhost")) || str_starts(host, STR("127.")) || str_is(host, "::1");
}

static bool parse_one(struct str item, struct listen_address *ret, struct err *err) {
  struct str host, port;
  size_t bracket = str_find(item, ']');
  if (item.n && item.p[0] == '[' && bracket != SIZE_MAX) {
    host = str_slice(item, 1, bracket);
    port = str_slice(item, bracket + 1, item.n);
    if (port.n && port.p[0] == ':')
      port = str_slice(port, 1, port.n);
  } else {
    size_t colon = str_find(item, ':');
    bool bare_port = colon == SIZE_MAX;
    host = bare_port ? STR("") : str_slice(item, 0, colon);
    port = bare_port ? item : str_slice(item, colon + 1, item.n);
  }
  uint64_t number;
  if (host.n == 0)
    host = STR("127.0.0.1");
  if (!str_to_u64(port, &number) || number > 65535 || host.n >= sizeof ret->host) {
    err_set(err, ERR_INVALID, "listen: \"%.*s\" is no address", STR_ARG(str_slice(item, 0, 100)));
    return err_hint(err, "an address is HOST:PORT, as 127.0.0.1:7070 or [::1]:7070; port 0 takes a free one");
  }
  snprintf(ret->host, sizeof ret->host, "%.*s", STR_ARG(host));
  ret->port = (uint16_t)number;
  ret->is_loopback = loopback(host);
  return true;
}

bool listen_parse(struct str text, struct listen_address ret[LISTEN_MAX], size_t *ret_count, struct err *err) {
  size_t count = 0;
  struct str item;
  while (str_split(&text, ',', &item)) {
    item = str_trim(item);
    if (!item.n)
      continue;
    if (count == LISTEN_MAX)
      return err_set(err, ERR_INVALID, "listen: more than %d addresses", LISTEN_MAX);
    if (!parse_one(item, &ret[count], err))
      return false;
    count++;
  }
  *ret_count = count;
  return true;
}

bool listen_allowed(const struct listen_address *addresses, size_t count, bool auth_required, bool tls, bool insecure_http,
                    struct err *err) {
  for (size_t i = 0; i < count; i++) {
    if (addresses[i].is_loopback)
      continue;
    if (!auth_required) {
      err_set(err, ERR_INVALID, "%s is not loopback: others could reach the service, and nothing would ask them for a token",
              addresses[i].host);
      return err_hint(err, "add --auth required");
    }
    if (!tls && !insecure_http) {
      err_set(err, ERR_INVALID, "%s is not loopback: tokens would cross the network in the clear", addresses[i].host);
      return err_hint(err, "add --tls-cert and --tls-key, or --insecure-http if something else protects the way");
    }
  }
  return true;
}

void listen_url(const struct listen_address *address, bool tls, char out[300]) {
  const char *host = strcmp(address->host, "*") == 0 || strcmp(address->host, "0.0.0.0") == 0 ? "127.0.0.1" : address->host;
  bool v6 = strchr(host, ':') != NULL;
  snprintf(out, 300, "%s://%s%s%s:%u", tls ? "https" : "http", v6 ? "[" : "", host, v6 ? "]" : "", address->port);
}
