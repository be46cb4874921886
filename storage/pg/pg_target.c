#include "storage/pg/pq.h"

#include "storage/pg/pg_target.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

#include "base/buf.h"

static void options_cleanup(PQconninfoOption **options) {
  PQconninfoFree(*options);
}

/* The value of a keyword already taken over; NULL when there is none. */
static const char *value_of(const struct pg_target *target, const char *keyword) {
  for (size_t i = 0; target->keywords[i]; i++)
    if (strcmp(target->keywords[i], keyword) == 0)
      return target->values[i];
  return NULL;
}

static bool set(struct pg_target *target, const char *keyword, struct str value, struct err *err) {
  size_t i = 0;
  while (target->keywords[i] && strcmp(target->keywords[i], keyword) != 0)
    i++;
  if (i == PG_TARGET_MAX)
    return err_set(err, ERR_INVALID, "the connection string has too many settings");
  target->values[i] = arena_strdup(&target->arena, value);
  target->keywords[i] = arena_strdup(&target->arena, str_of(keyword));
  return (target->values[i] && target->keywords[i]) || err_no_memory(err);
}

static bool set_default(struct pg_target *target, const char *keyword, const char *value, struct err *err) {
  return value_of(target, keyword) || set(target, keyword, str_of(value), err);
}

static bool take_over(struct pg_target *target, const char *conninfo, struct err *err) {
  char *message = NULL;
  CLEANUP(options_cleanup) PQconninfoOption *options = PQconninfoParse(conninfo, &message);
  if (!options) {
    struct str why, rest = str_of(message ? message : "out of memory");
    if (!str_split(&rest, '"', &why)) /* what libpq quotes may be a password */
      why = STR_NONE;
    err_set(err, ERR_INVALID, "the connection string is not understood: %.*s...", STR_ARG(str_trim(why)));
    err_hint(err, "it looks like postgresql://user:password@host:5432/database");
    PQfreemem(message);
    return false;
  }
  for (PQconninfoOption *option = options; option->keyword; option++)
    if (option->val && !set(target, option->keyword, str_of(option->val), err))
      return false;
  return true;
}

/* Adds the first address of `host` to `out`; an absolute path (or an abstract name) is a Unix socket and has none. */
static bool look_up(struct str host, struct buf *out, struct err *err) {
  if (!host.n || host.p[0] == '/' || host.p[0] == '@')
    return true;
  char name[256];
  if (host.n >= sizeof name)
    return err_set(err, ERR_INVALID, "the host name of the database is too long");
  memcpy(name, host.p, host.n);
  name[host.n] = 0;
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found = NULL;
  int failed = getaddrinfo(name, NULL, &hints, &found);
  if (failed)
    return err_set(err, ERR_UNAVAILABLE, "the database host %s was not found: %s", name, gai_strerror(failed));
  char text[64] = "";
  getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
  freeaddrinfo(found);
  buf_puts(out, text);
  return true;
}

/* libpq would look up the names on every connect, blocking the loop: it is given the addresses beside them. */
static bool resolve(struct pg_target *target, struct err *err) {
  const char *hosts = value_of(target, "host");
  if (!hosts || value_of(target, "hostaddr"))
    return true;
  AUTO_BUF struct buf addresses = BUF_INIT(4 * KIB);
  struct str rest = str_of(hosts), host;
  bool any = false, first = true;
  while (str_split(&rest, ',', &host)) {
    if (!first)
      buf_putc(&addresses, ',');
    first = false;
    size_t before = addresses.n;
    if (!look_up(host, &addresses, err))
      return false;
    any = any || addresses.n > before;
  }
  if (!buf_ok(&addresses, err))
    return false;
  return !any || set(target, "hostaddr", buf_str(&addresses), err);
}

static bool add_session_settings(struct pg_target *target, int64_t statement_timeout_ms, struct err *err) {
  const char *given = value_of(target, "options");
  char *options =
      arena_printf(&target->arena, "-c search_path=winnow -c timezone=UTC -c client_min_messages=error -c statement_timeout=%lld%s%s",
                   (long long)statement_timeout_ms, given ? " " : "", given ? given : "");
  if (!options)
    return err_no_memory(err);
  const char *hosts = value_of(target, "host");
  bool several = hosts && strchr(hosts, ',');
  return set(target, "options", str_of(options), err) && set(target, "client_encoding", STR("UTF8"), err) &&
         set_default(target, "fallback_application_name", "winnow", err) && set_default(target, "keepalives_idle", "20", err) &&
         set_default(target, "keepalives_interval", "5", err) && set_default(target, "keepalives_count", "4", err) &&
         set_default(target, "tcp_user_timeout", "40000", err) && set_default(target, "connect_timeout", "10", err) &&
         (!several || set_default(target, "target_session_attrs", "read-write", err));
}

bool pg_target_init(struct pg_target *target, const char *conninfo, int64_t statement_timeout_ms, struct err *err) {
  *target = (struct pg_target){.arena = ARENA_INIT(64 * KIB)};
  if (take_over(target, conninfo, err) && resolve(target, err) && add_session_settings(target, statement_timeout_ms, err))
    return true;
  pg_target_release(target);
  return false;
}

void pg_target_release(struct pg_target *target) {
  arena_release(&target->arena);
  *target = (struct pg_target){.arena = ARENA_INIT(0)};
}
