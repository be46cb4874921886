/* The settings of `winnow serve`: one table for the file, the environment, the arguments and the help. */
#ifndef WINNOW_CLI_SERVICE_SETTINGS_H
#define WINNOW_CLI_SERVICE_SETTINGS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/conf.h"
#include "base/err.h"

enum auth_mode { AUTH_OPEN, AUTH_REQUIRED };

struct service_settings {
  const char *data;   /* never NULL once loaded */
  const char *listen; /* "127.0.0.1:7070", several with commas */
  const char *db;     /* NULL: the private Postgres */
  const char *config;
  int64_t slots;
  const char *companion; /* NULL: where it is installed */
  const char *nvml;      /* NULL: by its name */

  int auth; /* enum auth_mode */
  const char *host_names;
  const char *allow_users, *allow_groups;
  const char *tls_cert, *tls_key;
  bool insecure_http;

  int log_level, log_format; /* as in base/log.h */
  bool access_log;

  int64_t connections, db_connections, threads;
  int64_t idle_timeout, drain_timeout, stop_timeout;

  const char *artifact_root;
  const char *artifacts_destination;      /* NULL: DIR/artifacts */
  int64_t trash_retention, log_retention; /* ms; 0: for ever */
  const char *pg_user;
};

extern const struct conf_row service_rows[];
extern const size_t service_row_count;

struct setting_argument {
  struct str name, value;
};

/* Defaults, then the file (--config, or DIR/winnow.conf when it is there), then the environment, then the arguments. */
MUST_CHECK bool service_settings_load(struct service_settings *settings, struct arena *arena, const struct setting_argument *arguments,
                                      size_t argument_count, char *const *environment, struct err *err);

/* Only the arguments. */
MUST_CHECK bool service_settings_arguments(struct service_settings *settings, struct arena *arena, const struct setting_argument *arguments,
                                           size_t count, struct err *err);

/* For `winnow help settings`. */
void service_settings_help(struct buf *out);

#endif
