#include "cli/service.h"

#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/companion.h"
#include "cli/database.h"
#include "cli/disk_watch.h"
#include "cli/leave.h"
#include "cli/listen.h"
#include "cli/notify.h"
#include "cli/secrets.h"
#include "storage/data_lock.h"
#include "storage/metrics/metric_store.h"
#include "storage/migrate.h"
#include "storage/pg/pg.h"
#include "sweeper/machine/code_store.h"
#include "sweeper/machine/gpus.h"
#include "sweeper/sweeps.h"
#include "tracker/artifacts/artifact_settle.h"
#include "tracker/artifacts/artifact_store.h"
#include "tracker/care/retention.h"
#include "tracker/care/tracking_care.h"
#include "tracker/logs/log_store.h"
#include "tracker/names.h"
#include "tracker/run_creator.h"
#include "tracker/run_writer.h"
#include "tracker/version_keep.h"
#include "web/api/api_events.h"
#include "web/app.h"
#include "web/event_hub.h"
#include "web/gate.h"
#include "web/http/http_server.h"
#include "web/http/tls.h"
#include "web/idempotency.h"
#include "web/login_links.h"
#include "web/prom.h"
#include "web/reach.h"
#include "web/tables.h"

enum {
  NAMES_MAX = 32,
  TOKEN_SWEEP_MS = 60 * 1000,
  LOAD_AGAIN_MS = 1000,
  TRIM_EVERY_MS = 10 * 1000,
  STORES_STOP_MS = 10 * 1000,
  CARE_THREADS = 2,
  DISK_THREADS = 2,
  BULK_THREADS = 2,
  BULK_WAITING_MAX = 256
};

enum service_state {
  SERVICE_STARTING, /* serving, but the database is not ready yet */
  SERVICE_RUNNING,
  SERVICE_DRAINING, /* requests in flight are finished */
  SERVICE_STOPPING, /* the database is stopped */
};

struct service {
  struct service_source source;
  struct arena arena; /* of the settings and what is made from them */
  struct arena names; /* of app.access: whom it knows */
  struct service_settings settings;
  enum service_state state;
  int exit_code;
  struct loop *loop;
  struct work_pool *work, *care_work, *disk_work, *bulk_work;
  struct database *database;
  struct gpus *gpus;
  struct migrate_seed seed;
  struct tracking_care *care;
  struct artifact_settle *settle;
  struct retention *retention;
  struct tls *tls;
  struct web_app app;
  int lock_fd;
  uint8_t run_key[32];
  struct listen_address listens[LISTEN_MAX];
  size_t listen_count;
  char url[300];
  struct loop_signal *on_term, *on_int, *on_hup;
  bool heeds_int;
  struct loop_timer *load_again, *trim_timer;
  struct disk_watch *disk_watch;
  struct loop_timer *token_timer, *patience; /* patience: with what is still being stored at the stop */
  bool stores_stopped;
  struct loop_defer stop;
};

static const char *const state_names[] = {"starting", "running", "draining", "stopping"};

static void enter(struct service *service, enum service_state state) {
  if (service->state == state)
    return;
  log_info("service", NULL, "%s -> %s", state_names[service->state], state_names[state]);
  service->state = state;
  service->app.status.draining = state >= SERVICE_DRAINING;
}

/* ---- the end ---- */

static void on_database_stopped(void *ctx) {
  struct service *service = ctx;
  loop_stop(service->loop);
}

/* Nothing writes points any more, and those there were are stored, or have had their time. */
static void on_metrics_stopped(void *ctx) {
  struct service *service = ctx;
  if (service->stores_stopped)
    return;
  service->stores_stopped = true;
  loop_timer_stop(service->patience);
  database_stop(service->database, on_database_stopped, service);
}

static void on_drained(void *ctx) {
  struct service *service = ctx;
  enter(service, SERVICE_STOPPING);
  tracking_care_stop(service->care);
  retention_stop(service->retention);
  artifact_settle_stop(service->settle);
  version_settle_stop(service->app.versions);
  artifact_store_interrupt(service->app.artifacts);
  if (!service->app.status.database_up) {
    on_metrics_stopped(service); /* they would wait for what is away */
    return;
  }
  loop_timer_start(service->patience, STORES_STOP_MS);
  metric_store_stop(service->app.metrics, on_metrics_stopped, service);
}

static void begin_stop(void *ctx) {
  struct service *service = ctx;
  if (service->state >= SERVICE_DRAINING)
    return;
  notify_systemd("STOPPING=1");
  enter(service, SERVICE_DRAINING);
  sweeps_stop(service->app.sweeps);
  event_hub_stop(service->app.events);
  http_server_drain(service->app.server, service->settings.drain_timeout, on_drained, service);
}

/* From wherever it is asked for: a signal, a request, a failure. */
static void stop_soon(struct service *service, int exit_code) {
  service->exit_code = MAX_OF(service->exit_code, exit_code);
  loop_defer(service->loop, &service->stop, begin_stop, service);
}

static void on_jobs_ended(void *ctx) {
  stop_soon(ctx, 0);
}

static void shut_down(void *ctx, bool now, struct str actor) {
  struct service *service = ctx;
  bool jobs_too = now && service->state == SERVICE_RUNNING && service->app.sweeps;
  log_info("service", NULL, jobs_too ? "asked to stop the jobs and shut down" : "asked to shut down");
  if (jobs_too)
    sweeps_end_jobs(service->app.sweeps, actor, on_jobs_ended, service); /* a signal does not wait for them */
  else
    stop_soon(service, 0);
}

static void on_stop_signal(void *ctx, int number) {
  struct service *service = ctx;
  log_info("service", NULL, "%s: stopping", number == SIGINT ? "SIGINT" : "SIGTERM");
  stop_soon(service, 0);
}

/* ---- who is known by name ---- */

/* "a, b" -> NULL-ended array in the arena. */
static const char **split_names(struct arena *arena, const char *text, struct err *err) {
  const char **names = ARENA_NEW_ARRAY(arena, const char *, NAMES_MAX + 1);
  struct str rest = str_of(text), item;
  size_t count = 0;
  if (!names) {
    err_no_memory(err);
    return NULL;
  }
  while (rest.p && str_split(&rest, ',', &item)) {
    item = str_trim(item);
    if (!item.n)
      continue;
    if (count == NAMES_MAX) {
      err_set(err, ERR_INVALID, "more than %d names in \"%s\"", NAMES_MAX, text);
      return NULL;
    }
    names[count] = arena_strdup(arena, item);
    if (!names[count++]) {
      err_no_memory(err);
      return NULL;
    }
  }
  return names;
}

static bool find_users(struct arena *arena, const char *text, struct access_rules *rules, struct err *err) {
  const char **names = split_names(arena, text, err);
  uid_t *uids = names ? ARENA_NEW_ARRAY(arena, uid_t, NAMES_MAX) : NULL;
  size_t count = 0;
  if (!uids)
    return names ? err_no_memory(err) : false;
  for (; names[count]; count++) {
    const struct passwd *user = getpwnam(names[count]);
    if (!user)
      return err_set(err, ERR_INVALID, "allow-users: there is no user \"%s\"", names[count]);
    uids[count] = user->pw_uid;
  }
  rules->allow_uids = uids;
  rules->allow_uid_count = count;
  return true;
}

static bool find_groups(struct arena *arena, const char *text, struct access_rules *rules, struct err *err) {
  const char **names = split_names(arena, text, err);
  gid_t *gids = names ? ARENA_NEW_ARRAY(arena, gid_t, NAMES_MAX) : NULL;
  size_t count = 0;
  if (!gids)
    return names ? err_no_memory(err) : false;
  for (; names[count]; count++) {
    const struct group *group = getgrnam(names[count]);
    if (!group)
      return err_set(err, ERR_INVALID, "allow-groups: there is no group \"%s\"", names[count]);
    gids[count] = group->gr_gid;
  }
  rules->allow_gids = gids;
  rules->allow_gid_count = count;
  return true;
}

/* On failure nothing has changed. */
static bool know_names(struct service *service, const struct service_settings *settings, struct err *err) {
  struct access_rules rules = service->app.access;
  struct arena names = ARENA_INIT(MIB);
  rules.host_names = split_names(&names, settings->host_names, err);
  if (!rules.host_names || !find_users(&names, settings->allow_users, &rules, err) ||
      !find_groups(&names, settings->allow_groups, &rules, err)) {
    arena_release(&names);
    return false;
  }
  service->app.access = rules;
  arena_release(&service->names);
  service->names = names;
  return true;
}

/* ---- settings that may change while it runs ---- */

static void apply_log_settings(const struct service_settings *settings) {
  log_setup((enum log_level)settings->log_level, (enum log_format)settings->log_format, STDERR_FILENO);
}

/* Compared with what it was started with: whoever changes one back is not told. */
static void tell_what_waits(const struct service_settings *settings, const struct service_settings *fresh) {
  for (size_t i = 0; i < service_row_count; i++) {
    const struct conf_row *row = &service_rows[i];
    AUTO_BUF struct buf value = BUF_INIT(KIB);
    if (row->reload || conf_is_same(row, settings, fresh))
      continue;
    conf_print_value(row, fresh, &value);
    log_warn("service", NULL, "SIGHUP: %s = %s takes effect at the next start", row->name, buf_text(&value));
  }
}

static void reload(struct service *service) {
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  struct service_settings fresh;
  struct err err;
  if (!service_settings_load(&fresh, &arena, service->source.arguments, service->source.argument_count, environ, &err) ||
      !know_names(service, &fresh, &err)) {
    log_error("service", NULL, "SIGHUP: settings are kept as they were: %s", err.text);
    return;
  }
  apply_log_settings(&fresh);
  tell_what_waits(&service->settings, &fresh);
  if (service->tls && !tls_reload(service->tls, &err))
    log_error("service", NULL, "SIGHUP: the certificate is kept as it was: %s", err.text);
  else
    log_info("service", NULL, "SIGHUP: settings%s read again", service->tls ? " and certificate" : "");
}

static void on_reload(void *ctx, int number UNUSED) {
  notify_systemd("RELOADING=1");
  reload(ctx);
  notify_systemd("READY=1");
}

/* ---- tokens ---- */

static void on_token_row(void *ctx, const struct pg_reply *row) {
  struct service *service = ctx;
  struct token_entry entry = {.id = pg_uuid(row, 0, 0)};
  struct err err;
  snprintf(entry.name, sizeof entry.name, "%.*s", STR_ARG(pg_text(row, 0, 1)));
  struct str hash = pg_bytea(row, 0, 2);
  struct pg_array scopes = pg_array(row, 0, 3);
  while (pg_array_next(&scopes)) {
    enum access_scope scope;
    if (str_is(pg_item_text(&scopes), "session"))
      entry.session = true;
    else if (access_scope_parse(pg_item_text(&scopes), &scope))
      entry.scope = MAX_OF(entry.scope, scope);
  }
  if (!pg_is_null(row, 0, 4))
    entry.expires_ms = pg_time(row, 0, 4);
  entry.parent = pg_uuid(row, 0, 5); /* null is zero */
  if (hash.n == TOKEN_HASH_BYTES && !token_table_add(&service->app.tokens, (const uint8_t *)hash.p, &entry, &err))
    log_error("service", NULL, "a token was not loaded: %s", err.text);
}

/* What is needed from the database before we are ready did not come. What may go away by itself is waited for. */
static void on_load_failed(struct service *service, const char *what, const struct err *err) {
  if (service->state >= SERVICE_DRAINING)
    return;
  if (err_info(err->code)->retryable) {
    log_warn("service", NULL, "%s: %s; trying again", what, err->text);
    loop_timer_start(service->load_again, LOAD_AGAIN_MS);
    return;
  }
  log_error("service", NULL, "%s: %s", what, err->text);
  stop_soon(service, 1);
}

static void on_sweeps_loaded(void *ctx, const struct err *err) {
  struct service *service = ctx;
  if (err) {
    on_load_failed(service, "sweeps could not be loaded", err);
    return;
  }
  if (service->state == SERVICE_STARTING) {
    enter(service, SERVICE_RUNNING);
    service->app.status.database_up = true;
    notify_systemd("READY=1");
    log_info("service", NULL, "ready at %s", service->url);
    retention_start(service->retention);
    artifact_settle_start(service->settle);
    version_settle_again(service->app.versions);
    log_flush();
  }
}

static void on_tokens_loaded(void *ctx, const struct pg_reply *reply) {
  struct service *service = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    on_load_failed(service, "the tokens could not be loaded", &err);
    return;
  }
  service->app.access.tokens_missing = false;
  if (service->state >= SERVICE_DRAINING)
    return;
  if (!service->care) /* else it is at work: the tokens were loaded before */
    service->care = tracking_care_new(service->loop, service->app.pg, service->settings.log_retention, &err);
  if (service->care)
    sweeps_load(service->app.sweeps, database_epoch(service->database), on_sweeps_loaded, service);
  else
    on_load_failed(service, "the care of searches could not be begun", &err);
}

/* Also again, after a failure. */
static void load_tokens(void *ctx) {
  struct service *service = ctx;
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  if (service->state >= SERVICE_DRAINING)
    return;
  pg_args_init(&args, STMT_TOKEN_LOAD);
  if (!pg_stream_open(service->app.pg, &args, 0, on_token_row, on_tokens_loaded, service, &err))
    on_load_failed(service, "the tokens could not be loaded", &err);
}

static void on_token_timer(void *ctx) {
  struct service *service = ctx;
  token_table_expire(&service->app.tokens, clock_wall_ms(&clock_system));
  loop_timer_start(service->token_timer, TOKEN_SWEEP_MS);
}

/* ---- the database ---- */

static void on_database(void *ctx, enum database_event event, const struct err *reason) {
  struct service *service = ctx;
  struct web_status *status = &service->app.status;
  switch (event) {
  case DATABASE_READY:
    status->database = database_kind(service->database);
    service->app.conninfo = database_conninfo(service->database);
    disk_watch_set(service->disk_watch, WEB_DISK_DATABASE, database_directory(service->database));
    load_tokens(service);
    break;
  case DATABASE_UP:
    status->database_up = service->state >= SERVICE_RUNNING;
    status->database_reason[0] = 0;
    break;
  case DATABASE_DOWN:
    status->database_up = false;
    bool is_known = status->database_reason[0] && str_starts(str_of(reason->text), str_of(status->database_reason));
    if (service->state == SERVICE_STARTING && !is_known) /* it is tried every second */
      log_warn("service", NULL, "the database is not there yet: %s", reason->text);
    snprintf(status->database_reason, sizeof status->database_reason, "%s", reason->text);
    break;
  case DATABASE_OVER:
    log_error("service", NULL, "%s%s%s", reason->text, reason->hint[0] ? "; " : "", reason->hint);
    stop_soon(service, 1);
    break;
  }
}

/* ---- the beginning ---- */

static bool prepare_access(struct service *service, struct err *err) {
  struct access_rules *rules = &service->app.access;
  uint8_t admin_hash[TOKEN_HASH_BYTES];
  struct token_entry admin = {.scope = SCOPE_ADMIN, .name = "admin.token"};
  token_table_init(&service->app.tokens);
  if (!secrets_admin_token(service->settings.data, admin_hash, err) || !secrets_run_key(service->settings.data, service->run_key, err) ||
      !token_table_add(&service->app.tokens, admin_hash, &admin, err) || !know_names(service, &service->settings, err))
    return false;
  rules->auth_required = service->settings.auth == AUTH_REQUIRED;
  rules->tokens = &service->app.tokens;
  rules->tokens_missing = true;
  rules->run_key = service->run_key;
  rules->owner = geteuid();
  service->app.links = login_links_new(err);
  return service->app.links;
}

/* Root's Postgres runs as another user, who has to pass through. */
static bool take_directory(struct service *service, struct err *err) {
  return dir_make(service->settings.data, geteuid() == 0 ? 0711 : 0700, err) &&
         data_lock_take(service->settings.data, &service->lock_fd, err);
}

/* What bursts of work took. */
static void on_trim_timer(void *ctx) {
  struct service *service = ctx;
  mem_trim();
  loop_timer_start(service->trim_timer, TRIM_EVERY_MS);
}

static bool listen_everywhere(struct service *service, struct err *err) {
  AUTO_BUF struct buf socket_path = BUF_INIT(8192), endpoint = BUF_INIT(8192), endpoint_path = BUF_INIT(8192);
  const struct service_settings *settings = &service->settings;
  if (!listen_parse(str_of(settings->listen), service->listens, &service->listen_count, err) ||
      !listen_allowed(service->listens, service->listen_count, settings->auth == AUTH_REQUIRED, service->tls, settings->insecure_http, err))
    return false;
  buf_printf(&socket_path, "%s/winnow.sock", settings->data);
  if (!buf_ok(&socket_path, err) || !http_server_listen_unix(service->app.server, buf_text(&socket_path), err))
    return false;
  buf_printf(&endpoint, "unix:%s\n", buf_text(&socket_path));
  for (size_t i = 0; i < service->listen_count; i++) {
    struct listen_address *address = &service->listens[i];
    char url[300];
    if (!http_server_listen_tcp(service->app.server, address->host, address->port, service->tls, &address->port, err))
      return false;
    listen_url(address, service->tls, url);
    buf_printf(&endpoint, "%s\n", url);
    if (i == 0)
      snprintf(service->url, sizeof service->url, "%s", url);
  }
  service->app.status.url = service->url[0] ? service->url : NULL;
  buf_printf(&endpoint_path, "%s/endpoint", settings->data);
  return buf_ok(&endpoint, err) && buf_ok(&endpoint_path, err) && file_replace(buf_text(&endpoint_path), buf_str(&endpoint), 0644, err);
}

static bool make_http(struct service *service, struct err *err) {
  struct web_app *app = &service->app;
  const struct service_settings *settings = &service->settings;
  app->prom = prom_new(err);
  app->idempotency = idempotency_new(err);
  app->mounts = web_mounts(&app->mount_count);
  if (!app->prom || !app->idempotency)
    return false;
  if (settings->tls_cert) {
    service->tls = tls_new(settings->tls_cert, settings->tls_key, err);
    if (!service->tls)
      return false;
  }
  struct http_server_config config = {.mounts = app->mounts,
                                      .mount_count = app->mount_count,
                                      .service = app,
                                      .gate = web_gate,
                                      .gate_ctx = app,
                                      .handle = reach_handle,
                                      .handle_ctx = app,
                                      .observe = prom_observe,
                                      .observe_ctx = app->prom,
                                      .disk = service->disk_work,
                                      .access_log = settings->access_log,
                                      .limits = {.connections = (size_t)settings->connections, .idle_ms = settings->idle_timeout}};
  app->server = http_server_new(service->loop, &config, err);
  return app->server && listen_everywhere(service, err);
}

/* A slot is a GPU, and where there are none a share of the CPUs. */
static bool find_slots(struct service *service, struct err *err) {
  int64_t asked = service->settings.slots;
  struct gpus_conf conf = {.nvml = service->settings.nvml, .visible = getenv("CUDA_VISIBLE_DEVICES")};
  struct err trouble;
  service->gpus = gpus_new(&conf, &trouble);
  if (!service->gpus)
    return err_no_memory(err);
  if (trouble.code != ERR_NONE)
    log_warn("service", NULL, "GPUs: %s", trouble.text);
  int64_t gpus = (int64_t)gpus_count(service->gpus);
  if (gpus && asked > gpus)
    log_warn("service", NULL, "%lld slots are asked for, and there are %lld GPUs: a slot is a GPU", (long long)asked, (long long)gpus);
  service->app.status.slots = gpus ? MIN_OF(asked ? asked : gpus, gpus) : asked ? asked : MAX_OF(sysconf(_SC_NPROCESSORS_ONLN) / 2, 1L);
  return true;
}

/* The artifact root may be a URI of this very service (http://host/api/2.0/mlflow-artifacts/artifacts), or a directory of this machine, in
 * which clients write themselves and which then is the destination as well. */
static bool place_artifacts(struct service *service, struct artifact_store_conf *ret) {
  const char *root = service->app.artifact_root, *destination = service->settings.artifacts_destination;
  const char *proxied = strstr(root, "/mlflow-artifacts/artifacts");
  const char *local = strncmp(root, "file:///", 8) == 0 && !strpbrk(root, "?#") ? root + 7 : root;
  *ret = (struct artifact_store_conf){.directory = destination};
  if (proxied && (strncmp(root, "http://", 7) == 0 || strncmp(root, "https://", 8) == 0)) {
    size_t n = (size_t)(proxied - root) + strlen("/mlflow-artifacts/artifacts");
    ret->uri = arena_strdup(&service->arena, str_n(root, n));
  } else if (local[0] == '/' && (!destination || strcmp(destination, local) == 0)) {
    *ret = (struct artifact_store_conf){.directory = local, .uri = root, .shared = true};
  }
  if (!ret->directory)
    ret->directory = arena_printf(&service->arena, "%s/artifacts", service->settings.data);
  ret->loop = service->loop;
  ret->work = service->work;
  ret->disk = service->disk_work;
  ret->bulk = service->bulk_work;
  ret->pg = service->app.pg;
  return ret->directory;
}

static bool make_tracking(struct service *service, struct err *err) {
  struct web_app *app = &service->app;
  const struct service_settings *settings = &service->settings;
  struct metric_store_conf conf = metric_store_conf_default();
  struct artifact_store_conf place;
  if (!place_artifacts(service, &place))
    return err_no_memory(err);
  app->artifacts = artifact_store_new(&place, err);
  if (app->artifacts)
    disk_watch_set(service->disk_watch, WEB_DISK_ARTIFACTS, artifact_store_directory(app->artifacts));
  app->metrics = app->artifacts ? metric_store_new(service->loop, app->pg, service->work, &conf, err) : NULL;
  struct care_conf care = {.loop = service->loop,
                           .pg = app->pg,
                           .work = service->care_work,
                           .metrics = app->metrics,
                           .artifacts = app->artifacts,
                           .data_dir = settings->data};
  service->retention = app->metrics ? retention_new(&care, settings->trash_retention, err) : NULL;
  service->settle = service->retention ? artifact_settle_new(&clock_system, app->pg, service->care_work, app->artifacts, err) : NULL;
  app->versions = service->settle ? version_settle_new(service->loop, app->pg, app->artifacts, err) : NULL;
  app->creator = app->versions ? run_creator_new(service->loop, app->pg, err) : NULL;
  app->writer = app->creator ? run_writer_new(service->loop, app->pg, err) : NULL;
  return app->writer;
}

static void make_run_token(void *ctx, struct id run, int32_t attempt, char out[TOKEN_TEXT_MAX]) {
  const struct service *service = ctx;
  run_token_make(service->run_key, run, attempt, out);
}

static const char *find_companion(struct service *service) {
  AUTO_BUF struct buf path = BUF_INIT(8192);
  if (service->settings.companion)
    return service->settings.companion;
  companion_find(&path);
  return arena_strdup(&service->arena, buf_str(&path));
}

static bool make_sweeps(struct service *service, struct err *err) {
  struct web_app *app = &service->app;
  const char *companion = find_companion(service);
  struct log_store_conf logs = {.loop = service->loop, .work = service->work, .pg = app->pg, .metrics = app->metrics};
  struct sweeps_conf conf = {.loop = service->loop,
                             .work = service->work,
                             .pg = app->pg,
                             .metrics = app->metrics,
                             .artifacts = app->artifacts,
                             .clock = &clock_system,
                             .rng = rng_from_system(),
                             .data_dir = service->settings.data,
                             .companion = companion,
                             .url = service->url[0] ? service->url : NULL,
                             .artifact_root = app->artifact_root,
                             .gpus = service->gpus,
                             .slots = (unsigned)app->status.slots,
                             .make_token = make_run_token,
                             .token_ctx = service,
                             .on_change = events_on_sweeps,
                             .change_ctx = app};
  if (!companion)
    return err_no_memory(err);
  app->code = code_store_new(service->settings.data, service->disk_work, &clock_system, err);
  app->logs = app->code ? log_store_new(&logs, err) : NULL;
  conf.logs = app->logs;
  conf.code = app->code;
  app->sweeps = app->logs ? sweeps_new(&conf, err) : NULL;
  app->events = app->sweeps ? event_hub_new(service->loop, err) : NULL;
  return app->events;
}

static bool is_ignored(int number) {
  struct sigaction action;
  return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

/* What a fresh database begins with: experiment 0 below the artifact root, before anybody can ask for it. */
static bool plan_seed(struct service *service, struct err *err) {
  AUTO_BUF struct buf resolved = BUF_INIT(16 * KIB);
  char directory[4096];
  if (!getcwd(directory, sizeof directory))
    return err_errno(err, errno, "the working directory");
  if (!artifact_location_resolve(str_of(service->settings.artifact_root), directory, &resolved, err))
    return false;
  struct str root = buf_str(&resolved);
  while (root.n && root.p[root.n - 1] == '/')
    root.n--;
  service->app.artifact_root = arena_strdup(&service->arena, root);
  service->app.directory = arena_strdup(&service->arena, str_of(directory));
  service->seed =
      (struct migrate_seed){STMT_EXPERIMENT_DEFAULT,
                            2,
                            {service->app.artifact_root, arena_printf(&service->arena, "%lld", (long long)clock_wall_ms(&clock_system))}};
  return (service->app.directory && service->seed.values[0] && service->seed.values[1]) || err_no_memory(err);
}

static bool make_parts(struct service *service, struct err *err) {
  const struct service_settings *settings = &service->settings;
  struct web_app *app = &service->app;
  service->loop = loop_new(&clock_system, err);
  if (!service->loop)
    return false;
  loop_add_hook(service->loop, http_server_flush_log_hook, NULL);
  service->work = work_pool_new(service->loop, (unsigned)settings->threads, 1024, err);
  service->disk_work = service->work ? work_pool_new(service->loop, DISK_THREADS, 1024, err) : NULL;
  service->bulk_work = service->disk_work ? work_pool_new(service->loop, BULK_THREADS, BULK_WAITING_MAX, err) : NULL;
  service->care_work = service->bulk_work ? work_pool_new(service->loop, CARE_THREADS, 64, err) : NULL;
  service->on_term = loop_signal_new(service->loop, SIGTERM, on_stop_signal, service);
  service->heeds_int = !is_ignored(SIGINT); /* who started us in the background of a script wants no Ctrl-C to reach us */
  if (service->heeds_int)
    service->on_int = loop_signal_new(service->loop, SIGINT, on_stop_signal, service);
  service->on_hup = loop_signal_new(service->loop, SIGHUP, on_reload, service);
  service->token_timer = loop_timer_new(service->loop, on_token_timer, service);
  service->trim_timer = loop_timer_new(service->loop, on_trim_timer, service);
  service->load_again = loop_timer_new(service->loop, load_tokens, service);
  service->patience = loop_timer_new(service->loop, on_metrics_stopped, service);
  if (!service->care_work || !service->on_term || (service->heeds_int && !service->on_int) || !service->on_hup || !service->token_timer ||
      !service->load_again || !service->trim_timer || !service->patience)
    return service->care_work ? err_no_memory(err) : false;
  loop_timer_start(service->token_timer, TOKEN_SWEEP_MS);
  app->loop = service->loop;
  app->clock = &clock_system;
  app->rng = rng_from_system();
  app->work = service->work;
  app->admin_work = service->care_work;
  app->disk_work = service->disk_work;
  app->shut_down = shut_down;
  app->shut_down_ctx = service;
  app->status.started_ms = clock_wall_ms(&clock_system);
  app->status.data_dir = settings->data;
  service->disk_watch = disk_watch_new(service->loop, &app->status, err);
  if (!service->disk_watch)
    return false;
  disk_watch_set(service->disk_watch, WEB_DISK_JOBS, settings->data);
  if (!find_slots(service, err) || !plan_seed(service, err))
    return false;
  if (!prepare_access(service, err) || !make_http(service, err))
    return false;
  struct database_config config = {.data_dir = settings->data,
                                   .url = settings->db,
                                   .pg_user = settings->pg_user,
                                   .connections = (unsigned)settings->db_connections,
                                   .seed = &service->seed,
                                   .rng = rng_from_system()};
  service->database = database_new(service->loop, service->work, &config, on_database, service, err);
  if (!service->database)
    return false;
  loop_timer_start(service->trim_timer, TRIM_EVERY_MS);
  app->pg = database_pool(service->database);
  return make_tracking(service, err) && make_sweeps(service, err);
}

/* In the reverse order, once no thread works any more: what it has done is told to parts that are all there. Requests not answered yet are
 * told off by the database's end before the server goes. */
static void free_parts(struct service *service) {
  work_pool_stop(service->care_work);
  work_pool_stop(service->bulk_work);
  work_pool_stop(service->disk_work);
  work_pool_stop(service->work);
  artifact_store_stop(service->app.artifacts);
  database_free(service->database);
  tracking_care_free(service->care);
  run_writer_free(service->app.writer);
  metric_store_free(service->app.metrics);
  run_creator_free(service->app.creator);
  http_server_free(service->app.server);
  tls_free(service->tls);
  work_pool_free(service->care_work);
  work_pool_free(service->bulk_work);
  work_pool_free(service->disk_work);
  work_pool_free(service->work);
  retention_free(service->retention);
  artifact_settle_free(service->settle);
  version_settle_free(service->app.versions);
  sweeps_free(service->app.sweeps);
  log_store_free(service->app.logs);
  code_store_free(service->app.code);
  gpus_free(service->gpus);
  artifact_store_free(service->app.artifacts);
  loop_timer_free(service->patience);
  loop_timer_free(service->token_timer);
  loop_timer_free(service->load_again);
  loop_timer_free(service->trim_timer);
  disk_watch_free(service->disk_watch);
  loop_signal_free(service->on_hup);
  loop_signal_free(service->on_int);
  loop_signal_free(service->on_term);
  login_links_free(service->app.links);
  event_hub_free(service->app.events);
  idempotency_free(service->app.idempotency);
  token_table_release(&service->app.tokens);
  loop_free(service->loop);
  prom_free(service->app.prom);
  fd_close(&service->lock_fd);
  mem_wipe(service->run_key, sizeof service->run_key);
  arena_release(&service->names);
  arena_release(&service->arena);
}

/* Each client is a descriptor. */
static void allow_many_descriptors(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

/* What came before there was a loop to hear it. The settings that a SIGHUP asks for have just been read. */
static void hear_early_signals(struct service *service) {
  char number;
  while (service->source.early_signals >= 0 && read(service->source.early_signals, &number, 1) == 1)
    if (number == SIGTERM || (number == SIGINT && service->heeds_int))
      on_stop_signal(service, number);
}

int service_run(const struct service_source *source, struct err *err) {
  struct service service = {.source = *source, .arena = ARENA_INIT(MIB), .lock_fd = -1};
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like others */
  mem_give_back();
  allow_many_descriptors();
  err->code = ERR_NONE;
  bool ok = service_settings_load(&service.settings, &service.arena, source->arguments, source->argument_count, environ, err);
  if (ok) {
    apply_log_settings(&service.settings);
    ok = take_directory(&service, err) && make_parts(&service, err);
  }
  if (ok) {
    log_info("service", NULL, "winnow %s, data in %s, serving at %s", WINNOW_VERSION, service.settings.data, service.url);
    hear_early_signals(&service);
    log_flush();
    loop_run(service.loop);
    leave_after(service.settings.stop_timeout, service.exit_code, service.lock_fd);
    log_info("service", NULL, "stopped");
  }
  free_parts(&service);
  log_flush();
  return ok ? service.exit_code : 1;
}
