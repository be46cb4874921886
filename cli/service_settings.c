#include "cli/service_settings.h"

#include <sys/stat.h>

#include "base/log.h"

static const char *const auth_modes[] = {"open", "required", NULL};
static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const log_formats[] = {"text", "json", NULL};

#define AT(field) .offset = CONF_FIELD(struct service_settings, field)

const struct conf_row service_rows[] = {
    {"data", CONF_TEXT, AT(data), .help = "the directory of everything: database, logs, artifacts, tokens"},
    {"listen", CONF_TEXT, AT(listen), .default_text = "127.0.0.1:7070",
     .help = "addresses to serve at, with commas; any but loopback needs auth = required, and TLS or insecure-http"},
    {"db", CONF_TEXT, AT(db), .secret = true,
     .help = "a Postgres (13 or newer) to use, as postgres://user@host/name; without it a private one runs in the data directory"},
    {"config", CONF_TEXT, AT(config), .help = "the settings file; without it winnow.conf in the data directory, if it is there"},
    {"slots", CONF_INT, AT(slots), .default_text = "0", .min = 0, .max = 4096,
     .help = "jobs at once on this machine: so many of its GPUs, or shares of its cores; 0: all its GPUs, or half its cores"},
    {"nvml", CONF_TEXT, AT(nvml), .help = "NVIDIA's library libnvidia-ml.so.1, where it is not found by itself"},
    {"companion", CONF_TEXT, AT(companion), .help = "the program winnow-exec, which runs jobs; default: beside winnow, or in ../libexec"},
    {"auth", CONF_CHOICE, AT(auth), .default_text = "open", .choices = auth_modes,
     .help = "open: on loopback reading and tracking need no token; required: everything does"},
    {"host-names", CONF_TEXT, AT(host_names), .reload = true,
     .help = "names, with commas, the service may be called by, besides localhost and addresses"},
    {"allow-users", CONF_TEXT, AT(allow_users), .reload = true,
     .help = "users, with commas, who may do everything over the Unix socket, besides root and the service's own"},
    {"allow-groups", CONF_TEXT, AT(allow_groups), .reload = true, .help = "the same for groups"},
    {"tls-cert", CONF_TEXT, AT(tls_cert), .help = "certificate chain (PEM); read again on SIGHUP"},
    {"tls-key", CONF_TEXT, AT(tls_key), .help = "its private key (PEM); read again on SIGHUP"},
    {"insecure-http", CONF_BOOL, AT(insecure_http), .default_text = "false",
     .help = "serve an address that is not loopback without TLS: tokens and data cross the network in the clear"},
    {"log-level", CONF_CHOICE, AT(log_level), .default_text = "info", .choices = log_levels, .reload = true, .help = "how much is logged"},
    {"log-format", CONF_CHOICE, AT(log_format), .default_text = "text", .choices = log_formats, .reload = true,
     .help = "form of the log lines"},
    {"access-log", CONF_BOOL, AT(access_log), .default_text = "true", .help = "one log line a request"},
    {"connections", CONF_INT, AT(connections), .default_text = "20000", .min = 16, .max = 1000000,
     .help = "open client connections at most"},
    {"db-connections", CONF_INT, AT(db_connections), .default_text = "32", .min = 1, .max = 64,
     .help = "connections to Postgres that carry statements, at most; a few are open, more come with the work"},
    {"threads", CONF_INT, AT(threads), .default_text = "2", .min = 1, .max = 16,
     .help = "threads for what blocks: syncing files, compression, fits"},
    {"idle-timeout", CONF_DURATION, AT(idle_timeout), .default_text = "75s", .min = 1000, .max = 86400000,
     .help = "how long a connection may stay between two requests"},
    {"drain-timeout", CONF_DURATION, AT(drain_timeout), .default_text = "10s", .min = 0, .max = 600000,
     .help = "how long requests in flight may take when the service stops"},
    {"stop-timeout", CONF_DURATION, AT(stop_timeout), .default_text = "30s", .min = 100, .max = 600000,
     .help = "and how long after that, its database stopped, threads that wait for a disk"},
    {"artifact-root", CONF_TEXT, AT(artifact_root), .default_text = "mlflow-artifacts:/",
     .help = "URI under which new experiments keep artifacts, as told to clients"},
    {"artifacts-destination", CONF_TEXT, AT(artifacts_destination),
     .help = "directory of the artifacts that are kept here; default: artifacts in the data directory"},
    {"trash-retention", CONF_DURATION, AT(trash_retention), .default_text = "30d", .min = 0, .max = INT64_MAX / 2,
     .help = "how long deleted runs, sweeps and experiments can be restored; then they are deleted for good; 0: for ever"},
    {"log-retention", CONF_DURATION, AT(log_retention), .default_text = "0s", .min = 0, .max = INT64_MAX / 2,
     .help = "how long after a run's end its output is kept; its metrics stay; 0: as long as the run"},
    {"pg-user", CONF_TEXT, AT(pg_user),
     .help = "started by root: the user the private Postgres runs as; default: winnow, else postgres, else nobody"},
};
const size_t service_row_count = ARRAY_LEN(service_rows);

/* The directory when none is named: /var/lib/winnow for root, else $XDG_DATA_HOME/winnow or ~/.local/share/winnow. NULL without memory or
 * home. */
static const char *default_data_dir(struct arena *arena) {
  if (geteuid() == 0)
    return "/var/lib/winnow";
  const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
  if (xdg && xdg[0] == '/')
    return arena_printf(arena, "%s/winnow", xdg);
  return home && home[0] == '/' ? arena_printf(arena, "%s/.local/share/winnow", home) : NULL;
}

/* The value of an argument or of the environment, needed before the file can be found. */
static struct str early(const char *name, const char *variable, const struct setting_argument *arguments, size_t count) {
  const struct conf_row *wanted = conf_find(service_rows, service_row_count, str_of(name));
  for (size_t i = count; i-- > 0;)
    if (conf_find(service_rows, service_row_count, arguments[i].name) == wanted)
      return arguments[i].value;
  return str_of(getenv(variable));
}

static bool read_file(struct service_settings *settings, struct arena *arena, struct str config, struct str data, struct err *err) {
  struct stat st;
  const char *path =
      config.n ? arena_strdup(arena, config) : arena_printf(arena, "%.*s/winnow.conf", STR_ARG(data.n ? data : str_of(settings->data)));
  if (!path)
    return err_no_memory(err);
  if (!config.n && stat(path, &st) != 0 && errno == ENOENT)
    return true;
  return conf_read_file(service_rows, service_row_count, settings, arena, path, err);
}

bool service_settings_arguments(struct service_settings *settings, struct arena *arena, const struct setting_argument *arguments,
                                size_t count, struct err *err) {
  for (size_t i = 0; i < count; i++) {
    char where[64];
    snprintf(where, sizeof where, "--%.*s", STR_ARG(str_slice(arguments[i].name, 0, 50)));
    if (!conf_set(service_rows, service_row_count, settings, arena, where, arguments[i].name, arguments[i].value, err))
      return false;
  }
  return true;
}

bool service_settings_load(struct service_settings *settings, struct arena *arena, const struct setting_argument *arguments,
                           size_t argument_count, char *const *environment, struct err *err) {
  *settings = (struct service_settings){0};
  if (!conf_defaults(service_rows, service_row_count, settings, arena, err))
    return false;
  settings->data = default_data_dir(arena);
  struct str config = early("config", "WINNOW_CONFIG", arguments, argument_count);
  struct str data = early("data", "WINNOW_DATA", arguments, argument_count);
  if (!settings->data && !data.n) {
    err_set(err, ERR_INVALID, "no data directory: HOME is not set");
    return err_hint(err, "name one with --data DIR");
  }
  if (!read_file(settings, arena, config, data, err) ||
      !conf_read_env(service_rows, service_row_count, settings, arena, environment, err) ||
      !service_settings_arguments(settings, arena, arguments, argument_count, err))
    return false;
  if (!settings->data[0])
    return err_set(err, ERR_INVALID, "the data directory is empty text");
  if (!settings->tls_cert != !settings->tls_key)
    return err_set(err, ERR_INVALID, "tls-cert and tls-key belong together: one of them is missing");
  return true;
}

void service_settings_help(struct buf *out) {
  buf_puts(out, "Settings of `winnow serve`. Later sources win: the default, the settings file (`name = value` lines), the environment\n"
                "(WINNOW_NAME), the arguments (--name value). SIGHUP reads the file again for those that say so.\n\n");
  conf_print_help(service_rows, service_row_count, out);
}
