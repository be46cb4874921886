/* What the handlers of all families share: the parts of the running service, put together by the composition root (cli/service.c).
 * A handler finds it with web_app(req). Parts that are not there yet or not any more are NULL, and the handler says so. */
#ifndef WINNOW_WEB_APP_H
#define WINNOW_WEB_APP_H

#include "base/list.h"
#include "base/loop.h"
#include "base/rng.h"
#include "base/work.h"
#include "web/access.h"
#include "web/http/http_req.h"

struct pg_pool;
struct http_server;
struct prom;
struct metric_store;
struct run_creator;
struct run_writer;
struct artifact_store;
struct version_settle;
struct log_store;
struct code_store;
struct sweeps;
struct login_links;
struct event_hub;
struct idempotency;

/* What the service writes to; see cli/disk_watch.h. */
enum web_disk_use { WEB_DISK_DATABASE, WEB_DISK_JOBS, WEB_DISK_ARTIFACTS, WEB_DISK_COUNT };
struct web_disk {
  const char *path; /* NULL: it is not watched */
  uint64_t device;
  int64_t room;
  bool full; /* almost: of the database's what is left is its own, so that it can go on answering reads */
};

/* How the service stands, for /health, /api/v1/status and the page. */
struct web_status {
  int64_t started_ms;
  const char *data_dir;
  const char *database; /* "private Postgres 15.18", "postgres://host/name": without secrets */
  const char *url;      /* the first address people can open, or NULL */
  bool database_up;
  char database_reason[256]; /* why it is not up */
  bool draining;
  struct web_disk disks[WEB_DISK_COUNT];
  int64_t slots;
};

struct web_app {
  struct loop *loop;
  const struct clock *clock;
  struct rng rng; /* for ids */
  struct work_pool *work;
  struct pg_pool *pg;
  struct http_server *server;
  struct prom *prom;
  struct metric_store *metrics;
  struct run_creator *creator;
  struct run_writer *writer;
  struct artifact_store *artifacts;
  struct version_settle *versions;
  struct log_store *logs;
  struct code_store *code;
  struct sweeps *sweeps;
  struct event_hub *events;
  struct idempotency *idempotency;

  struct heavy_searches {
    unsigned running;
    struct list waiting;
  } heavy; /* see web/heavy.h */

  struct access_rules access;
  struct token_table tokens;
  struct login_links *links;

  struct web_status status;
  struct work_pool *admin_work;     /* for care, so that it takes no thread from those who store */
  struct work_pool *disk_work;      /* for bytes of files, so that who waits for the disk takes no thread from others */
  const char *conninfo;             /* of the database, with its secret; NULL before it is there */
  bool admin_busy;                  /* a check, a cleaning or a purge is under way */
  const struct route_mount *mounts; /* the whole API, for its description */
  size_t mount_count;
  const char *artifact_root; /* URI handed to clients, without a slash at its end */
  const char *directory;     /* that relative artifact locations are below: the working directory */

  /* Asks the composition root to end the service, in order; jobs too when `now`, for whom it is. */
  void (*shut_down)(void *ctx, bool now, struct str actor);
  void *shut_down_ctx;
};

static inline struct web_app *web_app(const struct http_req *req) {
  return http_req_service(req);
}

static inline const struct access_principal *web_principal(const struct http_req *req) {
  return http_req_principal(req);
}

#endif
