/* The verbs that begin and end a service. */
#include "cli/serve.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "cli/listen.h"
#include "cli/service.h"
#include "cli/service_settings.h"
#include "cli/verbs.h"
#include "storage/data_lock.h"

enum { START_TIMEOUT_MS = 120 * 1000, STOP_TIMEOUT_MS = 60 * 1000, STOP_JOBS_TIMEOUT_MS = 3600 * 1000, POLL_MS = 50, SETTINGS_MAX = 64 };

/* ---- serve ---- */

/* "--name value", "--name=value"; a bare "--name" of a boolean is true. False: the command line is wrong. */
static bool read_settings(struct cli *cli, struct setting_argument *settings, size_t *ret_count, struct err *err) {
  const struct args *args = &cli->args;
  size_t count = 0;
  for (size_t i = 0; i < args->word_count; i++) {
    struct str word = str_of(args->words[i]);
    if (!str_starts(word, STR("--")))
      return err_set(err, ERR_INVALID, "\"%.*s\" is no setting: they begin with --", STR_ARG(str_slice(word, 0, 100)));
    if (count == SETTINGS_MAX)
      return err_set(err, ERR_INVALID, "more than %d settings", SETTINGS_MAX);
    struct setting_argument *setting = &settings[count++];
    size_t equals = str_find(word, '=');
    setting->name = str_slice(word, 2, equals);
    const struct conf_row *row = conf_find(service_rows, service_row_count, setting->name);
    const char *next = i + 1 < args->word_count ? args->words[i + 1] : NULL;
    if (equals != SIZE_MAX) {
      setting->value = str_slice(word, equals + 1, word.n);
    } else if (row && row->type == CONF_BOOL && (!next || next[0] == '-')) {
      setting->value = STR("true");
    } else if (next) {
      setting->value = str_of(next);
      i++;
    } else {
      return err_set(err, ERR_INVALID, "--%.*s needs a value", STR_ARG(str_slice(setting->name, 0, 50)));
    }
  }
  *ret_count = count;
  struct service_settings ignored;
  return service_settings_arguments(&ignored, &cli->arena, settings, count, err);
}

int serve_run(struct cli *cli) {
  struct setting_argument settings[SETTINGS_MAX];
  struct service_source source = {.arguments = settings, .early_signals = cli->interrupt_fd};
  struct err err;
  if (!read_settings(cli, settings, &source.argument_count, &err))
    return cli_usage(cli, err.hint[0] ? err.hint : NULL, "%s", err.text);
  int code = service_run(&source, &err);
  return err.code == ERR_NONE ? code : cli_fail(cli, &err);
}

void serve_print_settings(struct buf *out) {
  service_settings_help(out);
}

/* ---- a service in the background ---- */

/* The child of a child, in a session of its own, so that neither this terminal nor this program keeps it. *ret_pipe is readable as long as
 * it lives. */
static bool spawn_service(const char *data_dir, const char *log_path, const char *listen, int *ret_pipe, struct err *err) {
  int pipe_fds[2];
  if (pipe2(pipe_fds, 0) != 0)
    return err_errno(err, errno, "cannot make a pipe");
  pid_t pid = fork();
  if (pid == 0) {
    setsid();
    if (fork() != 0)
      _exit(0);
    int log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    close(pipe_fds[0]);
    if (log_fd >= 0 && null_fd >= 0 && dup2(null_fd, 0) == 0 && dup2(log_fd, 1) == 1 && dup2(log_fd, 2) == 2)
      execl("/proc/self/exe", "winnow", "serve", "--data", data_dir, listen ? "--listen" : (char *)NULL, listen, (char *)NULL);
    _exit(127);
  }
  close(pipe_fds[1]);
  *ret_pipe = pipe_fds[0];
  if (pid < 0) {
    fd_close(ret_pipe);
    return err_errno(err, errno, "cannot start a process");
  }
  waitpid(pid, NULL, 0);
  return fcntl(*ret_pipe, F_SETFL, O_NONBLOCK) == 0 || err_errno(err, errno, "cannot watch the service");
}

/* What the service said of its end, and of the remedy, since the log had `from` bytes. */
static void tell_log_end(struct err *err, const char *log_path, int64_t from) {
  AUTO_BUF struct buf text = BUF_INIT(64 * MIB);
  struct err ignored;
  err_set(err, ERR_INTERNAL, "the service ended at its start");
  if (!file_read(log_path, &text, &ignored))
    return;
  struct str rest = str_slice(buf_str(&text), (size_t)from, text.n), line, error = STR_NONE, help = STR_NONE;
  while (str_split(&rest, '\n', &line))
    if (str_starts(line, STR("error: "))) {
      error = str_slice(line, 7, line.n);
      help = STR_NONE;
    } else if (str_starts(line, STR("help: "))) {
      help = str_slice(line, 6, line.n);
    }
  if (error.n)
    err_set(err, ERR_INTERNAL, "the service ended at its start: %.*s", STR_ARG(str_slice(error, 0, 400)));
  err_hint(err, "%.*s%sall it said stands in %s", STR_ARG(str_slice(help, 0, 100)), help.n ? "; " : "", log_path);
}

static bool is_taken(const struct listen_address *address) {
  AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(address->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int one = 1;
  return fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
         bind(fd, (const struct sockaddr *)&in, sizeof in) != 0 && errno == EADDRINUSE;
}

/* Where to serve, when the settings leave it open and somebody else has the usual port: then the kernel chooses one. Else NULL. */
static const char *other_port(struct cli *cli, const char *data_dir) {
  const struct setting_argument data = {STR("data"), str_of(data_dir)};
  const char *usual = conf_find(service_rows, service_row_count, STR("listen"))->default_text;
  struct service_settings settings;
  struct listen_address addresses[LISTEN_MAX];
  size_t count;
  struct err ignored; /* the service says what is wrong with its settings */
  bool open = service_settings_load(&settings, &cli->arena, &data, 1, environ, &ignored) && strcmp(settings.listen, usual) == 0 &&
              listen_parse(str_of(usual), addresses, &count, &ignored);
  return open && is_taken(&addresses[0]) ? "127.0.0.1:0" : NULL;
}

/* Until the service of `data_dir` answers. One that is about to end still has the directory: then another is started after it; and one that
 * somebody else has just started does as well. */
static bool wait_for_service(struct cli *cli, const char *data_dir, const char *log_path, struct err *err) {
  int64_t deadline = clock_mono_ms(cli->clock) + START_TIMEOUT_MS;
  struct stat log;
  int64_t said = stat(log_path, &log) == 0 ? log.st_size : 0;
  AUTO_FD int alive = -1;
  if (!spawn_service(data_dir, log_path, other_port(cli, data_dir), &alive, err))
    return false;
  while (!(cli_use_directory(cli, data_dir, err) && cli_service_answers(cli, err))) {
    char byte;
    if (err->code == ERR_CANCELLED || clock_mono_ms(cli->clock) > deadline)
      return false;
    if (alive >= 0 && read(alive, &byte, 1) == 0) /* the other end is closed: it has gone */
      fd_close(&alive);
    if (alive < 0 && !data_lock_holder_lives(data_dir)) {
      tell_log_end(err, log_path, said);
      if (!strstr(err->text, "another winnow") || !spawn_service(data_dir, log_path, other_port(cli, data_dir), &alive, err))
        return false;
    }
    struct timespec pause = {0, POLL_MS * 1000000L};
    nanosleep(&pause, NULL);
  }
  return true;
}

static bool start_in_background(struct cli *cli, struct err *err) {
  AUTO_BUF struct buf data_dir = BUF_INIT(ENDPOINT_PATH_MAX);
  endpoint_data_dir(&data_dir);
  const char *log_path = arena_printf(&cli->arena, "%s/winnow.log", buf_text(&data_dir));
  if (!log_path || !buf_ok(&data_dir, err))
    return err_no_memory(err);
  if (!dir_make(buf_text(&data_dir), geteuid() == 0 ? 0711 : 0700, err))
    return false;
  cli_progress(cli, "starting a service in the background");
  bool ok = wait_for_service(cli, buf_text(&data_dir), log_path, err);
  cli_progress_end(cli);
  return ok;
}

int up_run(struct cli *cli) {
  struct err err;
  const struct endpoint *endpoint = cli_endpoint(cli, &err);
  if (!endpoint)
    return cli_fail(cli, &err);
  /* What answers at the usual address, and lets us in neither by its socket nor by a token, is somebody else's. An address that somebody
   * named is not ours to start. */
  bool named = endpoint->source < ENDPOINT_SOCKET, stranger = endpoint->source == ENDPOINT_DEFAULT && !endpoint->token[0];
  bool there = !stranger && cli_service_answers(cli, &err);
  if (!there && (named || (!stranger && err.code != ERR_UNAVAILABLE) || !start_in_background(cli, &err)))
    return cli_fail(cli, &err);
  AUTO_JSON json_t *sweep = NULL;
  if (!sweep_submit(cli, args_word(&cli->args, 0), false, &sweep, &err))
    return cli_fail(cli, &err);
  const char *id = json_string_value(json_object_get(sweep, "id"));
  if (args_bool(&cli->args, "detach") || !id)
    return cli_report(cli, NULL, sweep, "submitted %s", id ? id : "");
  output_say(&cli->output, "sweep %s", id);
  return sweep_follow(cli, id, 0);
}

/* It answers, or has the directory still: its database is about to end. */
static bool is_there(struct cli *cli, const char *data_dir, struct err *err) {
  return cli_service_answers(cli, err) || err->code != ERR_UNAVAILABLE || strstr(err->text, "not ready") ||
         (data_dir && data_lock_holder_lives(data_dir));
}

int down_run(struct cli *cli) {
  struct err err;
  AUTO_JSON json_t *status = NULL;
  bool now = args_bool(&cli->args, "now");
  if (!cli_get(cli, &status, &err, "/status") || !cli_send(cli, "POST", NULL, NULL, &err, "/shutdown?now={}", now ? "true" : "false"))
    return cli_fail(cli, &err);
  const char *data_dir = endpoint_is_local(cli->endpoint) ? json_string_value(json_object_get(status, "data_dir")) : NULL;
  /* Jobs have their own grace, and the service its limit for it. */
  int64_t patience = now ? STOP_JOBS_TIMEOUT_MS : STOP_TIMEOUT_MS, deadline = clock_mono_ms(cli->clock) + patience;
  cli_progress(cli, "stopping");
  while (is_there(cli, data_dir, &err)) {
    if (client_interrupted(cli->client))
      return EXIT_INTERRUPTED;
    if (clock_mono_ms(cli->clock) > deadline) {
      err_set(&err, ERR_DEADLINE, "the service has not ended after %lld s", (long long)patience / 1000);
      return cli_fail(cli, &err);
    }
    struct timespec pause = {0, POLL_MS * 1000000L};
    nanosleep(&pause, NULL);
  }
  cli_progress_end(cli);
  return cli_done(cli, true, &err);
}

/* ---- the page ---- */

/* Hands the address to a browser, if this is somebody's desktop. */
static bool open_in_browser(const char *url) {
  if (!isatty(STDOUT_FILENO) || (!getenv("DISPLAY") && !getenv("WAYLAND_DISPLAY")))
    return false;
  pid_t pid = fork();
  if (pid == 0) {
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null_fd, 1);
    dup2(null_fd, 2);
    execlp("xdg-open", "xdg-open", url, (char *)NULL);
    _exit(127);
  }
  int status;
  return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int open_run(struct cli *cli) {
  struct err err;
  AUTO_JSON json_t *link = NULL, *status = NULL;
  const struct endpoint *endpoint = cli_endpoint(cli, &err);
  if (!endpoint || !cli_send(cli, "POST", NULL, &link, &err, "/login-links") || !cli_get(cli, &status, &err, "/status"))
    return cli_fail(cli, &err);
  const char *path = json_string_value(json_object_get(link, "path"));
  const char *base = endpoint->socket[0] ? json_string_value(json_object_get(status, "url")) : endpoint->url;
  if (!path || !base) {
    err_set(&err, ERR_UNAVAILABLE, "the service is served at its Unix socket only, which no browser can open");
    err_hint(&err, "start it with --listen 127.0.0.1:7070");
    return cli_fail(cli, &err);
  }
  const char *url = arena_printf(&cli->arena, "%s%s", base, path);
  if (!url)
    return cli_done(cli, err_no_memory(&err), &err);
  if (open_in_browser(url))
    return EXIT_OK;
  AUTO_BUF struct buf line = BUF_INIT(64 * KIB); /* works once, for two minutes */
  text_escape(&line, str_of(url));
  buf_putc(&line, '\n');
  return cli_done(cli, buf_ok(&line, &err) && output_bytes(&cli->output, buf_str(&line), &err), &err);
}
