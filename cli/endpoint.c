#include "cli/endpoint.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/conf.h"
#include "base/file.h"
#include "base/mem.h"

#define DEFAULT_URL "http://127.0.0.1:7070"
#define SOCKET_NAME "winnow.sock"

enum { MAX_PARENTS = 128, MAX_PROJECT_FILE = 64 * 1024 };

/* ---- addresses ---- */

static bool bad_address(struct str text, const char *why, struct err *err) {
  err_set(err, ERR_INVALID, "'%.*s' is no address of a service: %s", STR_ARG(str_slice(text, 0, 200)), why);
  return err_hint(err, "write http://HOST:PORT, https://HOST or unix:/PATH/winnow.sock");
}

static bool parse_socket(struct str text, struct str path, struct endpoint *ret, struct err *err) {
  if (!path.n || path.p[0] != '/' || path.n >= sizeof ret->socket)
    return bad_address(text, "the path of a socket is absolute", err);
  snprintf(ret->url, sizeof ret->url, "http://localhost");
  snprintf(ret->socket, sizeof ret->socket, "%.*s", STR_ARG(path));
  return true;
}

static bool check_host(struct str text, struct str host, struct err *err) {
  if (!host.n)
    return bad_address(text, "the host is missing", err);
  for (size_t i = 0; i < host.n; i++) {
    unsigned char c = (unsigned char)host.p[i];
    if (c == '@')
      return bad_address(text, "a credential does not belong there; use --token-file", err);
    if (c <= ' ' || c >= 127 || strchr("/?#\\\"<>", c))
      return bad_address(text, "it holds a character that no host name has", err);
  }
  return true;
}

bool endpoint_parse(struct str text, struct endpoint *ret, struct err *err) {
  text = str_trim(text);
  if (text.n && memchr(text.p, 0, text.n))
    return bad_address(str_of(text.p), "it holds a NUL", err);
  if (str_starts(text, STR("unix://")))
    return parse_socket(text, str_slice(text, 7, text.n), ret, err);
  if (str_starts(text, STR("unix:")))
    return parse_socket(text, str_slice(text, 5, text.n), ret, err);
  struct str rest = text;
  const char *scheme = "http://";
  if (str_starts(text, STR("http://"))) {
    rest = str_slice(text, 7, text.n);
  } else if (str_starts(text, STR("https://"))) {
    scheme = "https://";
    rest = str_slice(text, 8, text.n);
  } else if (str_find_str(text, STR("://")) != SIZE_MAX) {
    return bad_address(text, "only http, https and unix are spoken", err);
  }
  while (rest.n && rest.p[rest.n - 1] == '/')
    rest.n--;
  if (!check_host(text, rest, err))
    return false;
  if (strlen(scheme) + rest.n >= sizeof ret->url)
    return bad_address(text, "it is too long", err);
  snprintf(ret->url, sizeof ret->url, "%s%.*s", scheme, STR_ARG(rest));
  ret->socket[0] = '\0';
  return true;
}

void endpoint_name(const struct endpoint *endpoint, struct buf *out) {
  if (endpoint->socket[0])
    buf_printf(out, "unix:%s", endpoint->socket);
  else
    buf_puts(out, endpoint->url);
}

const char *endpoint_source_name(enum endpoint_source source) {
  static const char *const names[] = {"--url",
                                      "WINNOW_URL",
                                      ".winnow",
                                      "the socket of the default directory",
                                      "the default address",
                                      "what the service at the default address told its user"};
  return names[source];
}

bool endpoint_is_local(const struct endpoint *endpoint) {
  struct str url = str_of(endpoint->url), rest = str_slice(url, str_find_str(url, STR("://")) + 3, url.n);
  if (endpoint->socket[0])
    return true;
  static const char *const hosts[] = {"127.0.0.1", "localhost", "[::1]"};
  for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
    struct str host = str_of(hosts[i]);
    if (str_starts(rest, host) && (rest.n == host.n || rest.p[host.n] == ':'))
      return true;
  }
  return false;
}

/* ---- places ---- */

static const char *home_dir(void) {
  const char *home = getenv("HOME");
  if (home && home[0] == '/')
    return home;
  const struct passwd *user = getpwuid(geteuid());
  return user ? user->pw_dir : "/";
}

static void xdg_dir(const char *variable, const char *below_home, struct buf *out) {
  const char *base = getenv(variable);
  if (base && base[0] == '/')
    buf_printf(out, "%s/winnow", base);
  else
    buf_printf(out, "%s/%s/winnow", home_dir(), below_home);
}

void endpoint_config_dir(struct buf *out) {
  xdg_dir("XDG_CONFIG_HOME", ".config", out);
}

void endpoint_data_dir(struct buf *out) {
  const char *named = getenv("WINNOW_DATA");
  if (named && named[0])
    buf_puts(out, named);
  else if (geteuid() == 0)
    buf_puts(out, "/var/lib/winnow");
  else
    xdg_dir("XDG_DATA_HOME", ".local/share", out);
}

/* ---- tokens ---- */

void endpoint_token_path(const struct endpoint *endpoint, const char *config_dir, struct buf *out) {
  AUTO_BUF struct buf name = BUF_INIT(ENDPOINT_PATH_MAX);
  endpoint_name(endpoint, &name);
  buf_printf(out, "%s/tokens/", config_dir);
  for (size_t i = 0; i < name.n; i++) {
    unsigned char c = (unsigned char)name.p[i];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
    if (plain && !(c == '.' && i == 0))
      buf_putc(out, (char)c);
    else
      buf_printf(out, "_%02x", c);
  }
}

static bool check_private(const char *path, int fd, struct err *err) {
  struct stat st;
  if (fstat(fd, &st) != 0)
    return err_errno(err, errno, "cannot examine %s", path);
  if (!S_ISREG(st.st_mode))
    return err_set(err, ERR_INVALID, "%s is no plain file", path);
  if (st.st_uid != geteuid() && st.st_uid != 0) {
    err_set(err, ERR_FORBIDDEN, "the token file %s belongs to somebody else", path);
    return err_hint(err, "keep it in a file of your own");
  }
  if (st.st_mode & 077) {
    err_set(err, ERR_FORBIDDEN, "others can read the token file %s", path);
    return err_hint(err, "chmod 600 %s", path);
  }
  return true;
}

/* It goes into a header. */
static bool is_token(struct str text) {
  for (size_t i = 0; i < text.n; i++)
    if (text.p[i] <= ' ' || text.p[i] >= 127)
      return false;
  return text.n && text.n < ENDPOINT_TOKEN_MAX;
}

static bool read_token_from(int fd, const char *path, char ret[ENDPOINT_TOKEN_MAX], struct err *err) {
  if (!check_private(path, fd, err))
    return false;
  char text[ENDPOINT_TOKEN_MAX];
  ssize_t n = read(fd, text, sizeof text);
  if (n < 0)
    return err_errno(err, errno, "cannot read the token file %s", path);
  struct str token = str_n(text, (size_t)n);
  token = str_trim(str_slice(token, 0, MIN_OF(str_find(token, '\n'), token.n)));
  bool good = is_token(token);
  if (good)
    snprintf(ret, ENDPOINT_TOKEN_MAX, "%.*s", STR_ARG(token));
  mem_wipe(text, sizeof text);
  return good || err_set(err, ERR_INVALID, "%s holds no token", path);
}

bool endpoint_read_token(const char *path, char ret[ENDPOINT_TOKEN_MAX], struct err *err) {
  AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0)
    return err_errno(err, errno, "cannot read the token file %s", path);
  return read_token_from(fd, path, ret, err);
}

/* ---- the project's .winnow ---- */

struct project {
  const char *url, *token_file;
};

static const struct conf_row project_rows[] = {
    {"url", CONF_TEXT, CONF_FIELD(struct project, url), NULL, 0, 0, NULL, false, false, "address of the service"},
    {"token-file", CONF_TEXT, CONF_FIELD(struct project, token_file), NULL, 0, 0, NULL, false, false, "beside this file"},
};

/* A file that somebody else could have put there says nothing to us. */
static bool is_trusted(const struct stat *st) {
  return (st->st_uid == geteuid() || st->st_uid == 0) && !(st->st_mode & 022);
}

/* The nearest `.winnow` at or above `directory`. */
static bool find_project(const char *directory, struct buf *ret_path, struct stat *ret_st) {
  struct str at = str_of(directory);
  for (int i = 0; i < MAX_PARENTS && at.n; i++) {
    buf_reset(ret_path);
    buf_printf(ret_path, "%.*s%s.winnow", STR_ARG(at), str_is(at, "/") ? "" : "/");
    if (lstat(buf_text(ret_path), ret_st) == 0 && is_trusted(ret_st) && (S_ISREG(ret_st->st_mode) || S_ISDIR(ret_st->st_mode)))
      return true;
    if (str_is(at, "/"))
      return false;
    while (at.n > 1 && at.p[at.n - 1] != '/')
      at.n--;
    if (at.n > 1)
      at.n--;
  }
  return false;
}

/* A project cannot name a file elsewhere: a foreign repository must not be able to have one of our tokens sent to its address. */
static bool read_project_token(const char *project_path, const char *token_file, struct endpoint *endpoint, struct err *err) {
  struct str directory = str_of(project_path);
  while (directory.n && directory.p[directory.n - 1] != '/')
    directory.n--;
  AUTO_BUF struct buf beneath = BUF_INIT(ENDPOINT_PATH_MAX);
  buf_add_str(&beneath, directory);
  AUTO_FD int dir = open(buf_text(&beneath), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0)
    return err_errno(err, errno, "cannot open %s", buf_text(&beneath));
  AUTO_FD int fd = file_open_beneath(dir, token_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0, err);
  if (fd < 0)
    return err_prefix(err, "%s: token-file", project_path);
  snprintf(endpoint->token_source, sizeof endpoint->token_source, "%.2000s%.2000s", buf_text(&beneath), token_file);
  return read_token_from(fd, endpoint->token_source, endpoint->token, err);
}

static bool read_project(const char *path, struct endpoint *ret, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT(MAX_PROJECT_FILE * 2);
  AUTO_BUF struct buf text = BUF_INIT(MAX_PROJECT_FILE);
  struct project project = {0};
  if (!file_read(path, &text, err) || !conf_read_text(project_rows, ARRAY_LEN(project_rows), &project, &arena, path, buf_str(&text), err))
    return false;
  if (!project.url)
    return err_set(err, ERR_INVALID, "%s names no url", path) || err_hint(err, "write a line: url = http://HOST:PORT");
  if (!endpoint_parse(str_of(project.url), ret, err))
    return err_prefix(err, "%s", path);
  return !project.token_file || read_project_token(path, project.token_file, ret, err);
}

/* Does somebody listen? The path of a socket may be longer than an address can hold, so it is reached through its directory. */
static bool socket_answers(const char *directory, const char *name) {
  AUTO_FD int dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
  AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (dir < 0 || fd < 0)
    return false;
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", dir, name);
  return connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN;
}

bool endpoint_use_socket(struct endpoint *endpoint, const char *directory) {
  if (!directory || strlen(directory) + sizeof "/" SOCKET_NAME > sizeof endpoint->socket || !socket_answers(directory, SOCKET_NAME))
    return false;
  snprintf(endpoint->url, sizeof endpoint->url, "http://localhost");
  snprintf(endpoint->socket, sizeof endpoint->socket, "%s/" SOCKET_NAME, directory);
  return true;
}

/* ---- the search ---- */

static bool find_address(const struct endpoint_inputs *in, struct endpoint *ret, struct err *err) {
  if (in->flag_url) {
    ret->source = ENDPOINT_FLAG;
    return endpoint_parse(str_of(in->flag_url), ret, err);
  }
  if (in->env_url && in->env_url[0]) {
    ret->source = ENDPOINT_ENV;
    return endpoint_parse(str_of(in->env_url), ret, err) || err_prefix(err, "WINNOW_URL");
  }
  AUTO_BUF struct buf project = BUF_INIT(ENDPOINT_PATH_MAX - 1);
  struct stat st;
  if (in->directory && find_project(in->directory, &project, &st)) {
    bool found = S_ISDIR(st.st_mode) ? endpoint_use_socket(ret, buf_text(&project)) : read_project(buf_text(&project), ret, err);
    if (!found && !S_ISDIR(st.st_mode))
      return false;
    if (found) {
      ret->source = ENDPOINT_PROJECT;
      snprintf(ret->project, sizeof ret->project, "%s", buf_text(&project));
      return true;
    }
  }
  ret->source = ENDPOINT_SOCKET;
  if (endpoint_use_socket(ret, in->data_dir))
    return true;
  ret->source = ENDPOINT_DEFAULT;
  return endpoint_parse(STR(DEFAULT_URL), ret, err);
}

static bool find_token(const struct endpoint_inputs *in, struct endpoint *ret, struct err *err) {
  if (in->flag_token_file) {
    snprintf(ret->token_source, sizeof ret->token_source, "%s", in->flag_token_file);
    return endpoint_read_token(in->flag_token_file, ret->token, err);
  }
  bool has_env = in->env_token && in->env_token[0];
  if (has_env && !is_token(str_of(in->env_token)))
    return err_set(err, ERR_INVALID, "WINNOW_TOKEN holds no token");
  ret->env_token_withheld = has_env && ret->source == ENDPOINT_PROJECT && !endpoint_is_local(ret);
  if (has_env && !ret->env_token_withheld) {
    snprintf(ret->token, sizeof ret->token, "%s", in->env_token);
    snprintf(ret->token_source, sizeof ret->token_source, "WINNOW_TOKEN");
    return true;
  }
  if (ret->token[0] || !in->config_dir)
    return true;
  AUTO_BUF struct buf path = BUF_INIT(ENDPOINT_PATH_MAX);
  endpoint_token_path(ret, in->config_dir, &path);
  if (path.fail || access(buf_text(&path), F_OK) != 0)
    return true;
  snprintf(ret->token_source, sizeof ret->token_source, "%s", buf_text(&path));
  return endpoint_read_token(buf_text(&path), ret->token, err);
}

bool endpoint_find(const struct endpoint_inputs *inputs, struct endpoint *ret, struct err *err) {
  struct endpoint found = {0};
  bool ok = find_address(inputs, &found, err) && find_token(inputs, &found, err);
  if (ok)
    *ret = found;
  endpoint_wipe(&found);
  return ok;
}

void endpoint_wipe(struct endpoint *endpoint) {
  mem_wipe(endpoint->token, sizeof endpoint->token);
}
