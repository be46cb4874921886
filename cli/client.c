#include "cli/client.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <poll.h>

#include "base/file.h"
#include "base/id.h"
#include "base/mem.h"

enum {
  CONNECT_TIMEOUT_MS = 10000,
  CALL_TIMEOUT_MS = 60000,
  STREAM_SILENCE_MS = 90000,
  POLL_MS = 100,
  MAX_TRIES = 4,
  FIRST_WAIT_MS = 200,
  LONGEST_WAIT_MS = 30000,
  STREAM_PATIENCE = 20, /* connects in a row that bring nothing: about a minute */
  MAX_ANSWER = 64 * 1024 * 1024,
  MAX_PROBLEM = 1024 * 1024,
};

struct client {
  struct client_config config;
  CURLM *calls, *streams; /* each keeps its connections */
  int socket_dir;         /* of the Unix socket, so that its path may be long */
  char socket_path[64];
  char request_id[96];
  json_t *problems; /* of the last answer that was an error */
};

/* One request on its way. */
struct transfer {
  struct client *client;
  const struct client_request *request;
  struct client_reply *reply;
  CURL *easy;
  struct curl_slist *headers;
  struct err *err;  /* what a callback of ours said */
  bool failed;      /* a callback of ours broke off */
  int64_t moved;    /* body bytes received */
  int64_t heard_us; /* when something came last */
  int64_t retry_after;
};

/* ---- paths ---- */

void path_escape(struct buf *out, struct str text, bool keep_slashes) {
  for (size_t i = 0; i < text.n; i++) {
    unsigned char c = (unsigned char)text.p[i];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c));
    if (plain || (keep_slashes && c == '/'))
      buf_putc(out, (char)c);
    else
      buf_printf(out, "%%%02X", c);
  }
}

void path_vformat(struct buf *out, const char *format, va_list args) {
  for (const char *at = format; *at; at++) {
    bool slashes = strncmp(at, "{/}", 3) == 0;
    if (slashes || strncmp(at, "{}", 2) == 0) {
      path_escape(out, str_of(va_arg(args, const char *)), slashes);
      at += slashes ? 2 : 1;
    } else {
      buf_putc(out, *at);
    }
  }
}

void path_format(struct buf *out, const char *format, ...) {
  va_list args;
  va_start(args, format);
  path_vformat(out, format, args);
  va_end(args);
}

void path_query(struct buf *path, const char *name, const char *value) {
  if (!value)
    return;
  buf_printf(path, "%c%s=", str_find(buf_str(path), '?') == SIZE_MAX ? '?' : '&', name);
  path_escape(path, str_of(value), false);
}

/* ---- errors ---- */

static enum err_code code_of_status(long status) {
  static const struct {
    long status;
    enum err_code code;
  } rows[] = {
      {400, ERR_INVALID},     {401, ERR_UNAUTHENTICATED}, {403, ERR_FORBIDDEN}, {404, ERR_NOT_FOUND},    {405, ERR_METHOD},
      {408, ERR_TIMEOUT},     {409, ERR_CONFLICT},        {410, ERR_NOT_FOUND}, {412, ERR_PRECONDITION}, {413, ERR_TOO_LARGE},
      {416, ERR_RANGE},       {422, ERR_INVALID},         {429, ERR_LIMIT},     {500, ERR_INTERNAL},     {501, ERR_UNSUPPORTED},
      {502, ERR_UNAVAILABLE}, {503, ERR_UNAVAILABLE},     {504, ERR_DEADLINE},  {507, ERR_NO_SPACE},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++)
    if (rows[i].status == status)
      return rows[i].code;
  return status >= 500 ? ERR_INTERNAL : ERR_INVALID;
}

static enum err_code code_of_name(struct str name, long status) {
  for (int code = 1; code < ERR_CODE_COUNT; code++)
    if (str_is(name, err_info((enum err_code)code)->name))
      return (enum err_code)code;
  return code_of_status(status);
}

/* What the sentence says already needs its place only, and that only when it lies in a parameter. */
static void add_place(const json_t *item, struct buf *text) {
  const json_t *line = json_object_get(item, "line"), *column = json_object_get(item, "column");
  struct str path = json_str(json_object_get(item, "path"));
  if (!path.n || !json_is_integer(column))
    return;
  buf_printf(text, " (%.*s, ", STR_ARG(path));
  if (json_integer_value(line) > 1)
    buf_printf(text, "line %lld, ", (long long)json_integer_value(line));
  buf_printf(text, "column %lld)", (long long)json_integer_value(column));
}

/* "sweep.yaml" of the sentence "sweep.yaml:3:31: message", empty of "line 3:31: message", STR_NONE of what is no such sentence. */
static struct str file_of(struct str said, struct str message) {
  struct str place = str_slice(said, 0, said.n - MIN_OF(said.n, message.n));
  if (!str_ends(said, message) || !str_ends(place, STR(": ")))
    return STR_NONE;
  place.n -= 2;
  for (int i = 0; i < 2; i++) {
    const char *colon = place.n ? memrchr(place.p, ':', place.n) : NULL;
    if (!colon)
      return i && str_starts(place, STR("line ")) ? STR("") : STR_NONE;
    place.n = (size_t)(colon - place.p);
  }
  return place;
}

static void add_problem(json_t *rest, struct str file, const json_t *item) {
  const json_t *line = json_object_get(item, "line"), *column = json_object_get(item, "column");
  struct str path = json_str(json_object_get(item, "path")), message = json_str(json_object_get(item, "message"));
  AUTO_BUF struct buf text = BUF_INIT(64 * KIB);
  if (file.n && json_is_integer(line) && json_is_integer(column)) {
    buf_printf(&text, "%.*s:%lld:%lld: ", STR_ARG(file), (long long)json_integer_value(line), (long long)json_integer_value(column));
  } else {
    if (json_is_integer(line))
      buf_printf(&text, "line %lld", (long long)json_integer_value(line));
    if (json_is_integer(line) && json_is_integer(column))
      buf_printf(&text, ", column %lld", (long long)json_integer_value(column));
    buf_printf(&text, "%s%.*s%s", json_is_integer(line) ? ": " : "", STR_ARG(path), path.n ? ": " : "");
  }
  buf_add_str(&text, message);
  json_t *problem = json_pack("{ss#sO?}", "text", buf_text(&text), text.n, "hint", json_object_get(item, "hint"));
  if (problem)
    json_array_append_new(rest, problem);
}

/* Returns what the sentence does not say, as client_problems() promises. */
static json_t *read_problems(const json_t *errors, struct str said, struct buf *text) {
  json_t *rest = json_array();
  struct str file = STR_NONE;
  for (size_t i = 0; rest && i < json_array_size(errors); i++) {
    const json_t *item = json_array_get(errors, i);
    struct str message = json_str(json_object_get(item, "message"));
    if (str_eq(message, said))
      add_place(item, text);
    else if (i == 0 && (file = file_of(said, message)).p)
      continue;
    else
      add_problem(rest, file, item);
  }
  return rest;
}

static const char *hint_of_code(enum err_code code) {
  switch (code) {
  case ERR_UNAUTHENTICATED:
    return "winnow login keeps a token for this service; --token-file and WINNOW_TOKEN give one";
  case ERR_FORBIDDEN:
    return "winnow whoami shows what the credential may do";
  case ERR_UNAVAILABLE:
  case ERR_OVERLOADED:
    return "try again in a moment; winnow status says what is away";
  default:
    return NULL;
  }
}

void problem_to_err(long status, struct str body, struct err *ret, json_t **ret_rest) {
  AUTO_JSON json_t *problem = NULL;
  struct err ignored;
  *ret_rest = NULL;
  if (!json_read(body, &problem, &ignored) || !json_is_object(problem)) {
    enum err_code code = code_of_status(status);
    err_set(ret, code, "the service answered %ld: %s", status, err_info(code)->title);
  } else {
    enum err_code code = code_of_name(json_str(json_object_get(problem, "code")), status);
    struct str said = json_str(json_object_get(problem, "detail"));
    if (!said.n)
      said = json_str(json_object_get(problem, "title"));
    AUTO_BUF struct buf text = BUF_INIT(64 * KIB);
    buf_add_str(&text, said.n ? said : str_of(err_info(code)->title));
    *ret_rest = read_problems(json_object_get(problem, "errors"), said, &text);
    err_set(ret, code, "%s", buf_text(&text));
    struct str hint = json_str(json_object_get(problem, "hint"));
    if (hint.n)
      err_hint(ret, "%.*s", STR_ARG(hint));
  }
  const char *hint = hint_of_code(ret->code);
  if (!ret->hint[0] && hint)
    err_hint(ret, "%s", hint);
}

int64_t retry_after_ms(struct str value, int64_t now_ms) {
  int64_t seconds;
  value = str_trim(value);
  if (str_to_i64(value, &seconds))
    return seconds >= 0 && seconds < 86400 ? seconds * 1000 : -1;
  char text[64];
  snprintf(text, sizeof text, "%.*s", STR_ARG(value));
  time_t when = curl_getdate(text, NULL);
  return when < 0 ? -1 : MAX_OF((int64_t)when * 1000 - now_ms, 0);
}

/* ---- the client ---- */

struct client *client_new(const struct client_config *config, struct err *err) {
  struct client *client = mem_zalloc(sizeof *client);
  if (!client) {
    err_no_memory(err);
    return NULL;
  }
  client->config = *config;
  client->socket_dir = -1;
  if (!client->config.timeout_ms)
    client->config.timeout_ms = CALL_TIMEOUT_MS;
  if (!client->config.tries)
    client->config.tries = MAX_TRIES;
  return client;
}

static void forget_problems(struct client *client) {
  json_decref(client->problems);
  client->problems = NULL;
}

void client_free(struct client *client) {
  if (!client)
    return;
  forget_problems(client);
  if (client->calls)
    curl_multi_cleanup(client->calls);
  if (client->streams)
    curl_multi_cleanup(client->streams);
  fd_close(&client->socket_dir);
  mem_free(client);
}

const json_t *client_problems(const struct client *client) {
  return client->problems;
}

const char *client_request_id(const struct client *client) {
  return client->request_id;
}

static bool open_socket_dir(struct client *client, struct err *err) {
  const char *path = client->config.endpoint->socket;
  const char *name = strrchr(path, '/') + 1;
  AUTO_FREE char *directory = mem_strndup(path, (size_t)(name - path));
  if (!directory)
    return err_no_memory(err);
  client->socket_dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (client->socket_dir < 0) {
    err_set(err, ERR_UNAVAILABLE, "there is no socket %s", path);
    return err_hint(err, "is the service running? winnow serve starts it");
  }
  int n = snprintf(client->socket_path, sizeof client->socket_path, "/proc/self/fd/%d/%s", client->socket_dir, name);
  return (size_t)n < sizeof client->socket_path || err_set(err, ERR_INVALID, "the name of the socket %s is too long", path);
}

static bool bring_up(struct client *client, struct err *err) {
  if (client->calls)
    return true;
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
    return err_no_memory(err);
  if (client->config.endpoint->socket[0] && client->socket_dir < 0 && !open_socket_dir(client, err))
    return false;
  client->calls = curl_multi_init();
  client->streams = curl_multi_init();
  return (client->calls && client->streams) || err_no_memory(err);
}

bool client_interrupted(const struct client *client) {
  struct pollfd poll_fd = {.fd = client->config.interrupt_fd, .events = POLLIN};
  return client->config.interrupt_fd >= 0 && poll(&poll_fd, 1, 0) > 0;
}

static bool cancelled(struct err *err) {
  return err_set(err, ERR_CANCELLED, "interrupted");
}

bool client_sleep(struct client *client, int64_t ms, struct err *err) {
  const struct clock *clock = client->config.clock;
  for (int64_t end = clock_mono_ms(clock) + ms, left; (left = end - clock_mono_ms(clock)) > 0;) {
    struct pollfd poll_fd = {.fd = client->config.interrupt_fd, .events = POLLIN};
    if (poll(&poll_fd, 1, (int)MIN_OF(left, 60000)) > 0)
      return cancelled(err);
  }
  return !client_interrupted(client) || cancelled(err);
}

/* ---- what curl calls ---- */

static bool header_is(struct str line, const char *name, struct str *ret_value) {
  size_t n = strlen(name);
  if (line.n <= n || line.p[n] != ':' || !str_eq_nocase(str_slice(line, 0, n), str_of(name)))
    return false;
  *ret_value = str_trim(str_slice(line, n + 1, line.n));
  return true;
}

static void keep_text(char *out, size_t size, struct str value) {
  size_t n = 0;
  for (size_t i = 0; i < value.n && n + 1 < size; i++)
    if (value.p[i] >= ' ' && value.p[i] < 127)
      out[n++] = value.p[i];
  out[n] = '\0';
}

static void keep_number(int64_t *out, struct str value) {
  if (!str_to_i64(value, out) || *out < 0)
    *out = -1;
}

/* 64 hex digits; an ETag is one only when it says so: "sha256:…". */
static void keep_digest(struct client_reply *reply, struct str value, bool etag) {
  struct str digest = value;
  if (digest.n >= 2 && digest.p[0] == '"')
    digest = str_slice(digest, 1, digest.n - 1);
  if (str_starts(digest, STR("sha256:")))
    digest = str_slice(digest, 7, digest.n);
  else if (etag)
    return;
  uint8_t bytes[32];
  if (hex_decode(digest, bytes, sizeof bytes))
    hex_encode(bytes, sizeof bytes, reply->sha256);
}

static void take_header(struct transfer *t, struct str line) {
  struct client_reply *reply = t->reply;
  struct str value;
  char text[64];
  if (header_is(line, "Content-Type", &value)) {
    keep_text(reply->content_type, sizeof reply->content_type, value);
  } else if (header_is(line, "X-Request-Id", &value)) {
    keep_text(reply->request_id, sizeof reply->request_id, value);
  } else if (header_is(line, "ETag", &value)) {
    keep_digest(reply, value, true);
  } else if (header_is(line, "X-Content-SHA256", &value)) {
    keep_digest(reply, value, false);
  } else if (header_is(line, "Winnow-Log-Offset", &value)) {
    keep_number(&reply->log_offset, value);
  } else if (header_is(line, "Winnow-Log-Next", &value)) {
    keep_number(&reply->log_next, value);
  } else if (header_is(line, "Winnow-Log-Size", &value)) {
    keep_number(&reply->log_size, value);
  } else if (header_is(line, "Winnow-Log-Attempt", &value)) {
    keep_number(&reply->log_attempt, value);
  } else if (header_is(line, "Content-Length", &value)) {
    keep_number(&reply->length, value);
  } else if (header_is(line, "Retry-After", &value)) {
    t->retry_after = retry_after_ms(value, clock_wall_ms(t->client->config.clock));
  } else if (header_is(line, "Date", &value)) {
    keep_text(text, sizeof text, value);
    time_t when = curl_getdate(text, NULL);
    reply->date_ms = when < 0 ? -1 : (int64_t)when * 1000;
  }
}

static size_t on_header(char *bytes, size_t size, size_t count, void *ctx) {
  struct transfer *t = ctx;
  struct str line = str_n(bytes, size * count);
  if (str_starts(line, STR("HTTP/"))) { /* what an interim answer said does not count */
    t->reply->log_offset = t->reply->log_next = t->reply->log_size = t->reply->log_attempt = t->reply->date_ms = t->reply->length = -1;
    t->reply->sha256[0] = '\0';
    t->retry_after = -1;
  }
  take_header(t, str_trim(line));
  return size * count;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx) {
  struct transfer *t = ctx;
  struct str piece = str_n(bytes, size * count);
  t->heard_us = clock_mono_us(t->client->config.clock);
  curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->reply->status);
  bool good = t->reply->status >= 200 && t->reply->status < 300;
  if (good && t->request->sink) {
    t->moved += (int64_t)piece.n;
    if (t->request->sink(t->request->ctx, piece, t->err))
      return piece.n;
    t->failed = true;
    return 0;
  }
  if (!good && t->reply->body.n + piece.n > MAX_PROBLEM)
    return piece.n; /* enough of an error was read */
  buf_add_str(&t->reply->body, piece);
  if (buf_ok(&t->reply->body, t->err))
    return piece.n;
  t->failed = true;
  return 0;
}

static size_t on_need_body(char *out, size_t size, size_t count, void *ctx) {
  struct transfer *t = ctx;
  t->heard_us = clock_mono_us(t->client->config.clock);
  int64_t left = MAX_OF(t->request->body_size - t->moved, 0); /* a file that grows is sent as long as it was said to be */
  ssize_t n;
  do
    n = read(t->request->body_fd, out, (size_t)MIN_OF((int64_t)(size * count), left));
  while (n < 0 && errno == EINTR);
  if (n == 0 && left > 0) {
    err_set(t->err, ERR_CONFLICT, "what is sent ends before its %lld bytes", (long long)t->request->body_size);
    t->failed = true;
    return CURL_READFUNC_ABORT;
  }
  if (n < 0) {
    err_errno(t->err, errno, "cannot read what is sent");
    t->failed = true;
    return CURL_READFUNC_ABORT;
  }
  t->moved += n;
  return (size_t)n;
}

/* ---- one request ---- */

static bool add_header(struct transfer *t, const char *format, const char *value) {
  AUTO_BUF struct buf line = BUF_INIT(8 * KIB);
  buf_printf(&line, format, value);
  if (line.fail)
    return false;
  struct curl_slist *more = curl_slist_append(t->headers, buf_text(&line));
  mem_wipe(line.p, line.n);
  if (more)
    t->headers = more;
  return more != NULL;
}

static bool set_headers(struct transfer *t, const char *key) {
  const struct client_request *request = t->request;
  const struct endpoint *endpoint = t->client->config.endpoint;
  bool body = request->body.p || request->body_fd >= 0;
  const char *type = request->content_type ? request->content_type : "application/json";
  bool waits = request->body_fd >= 0; /* a large upload asks first whether it is wanted */
  return add_header(t, "Accept: %s", request->accept ? request->accept : "application/json") && (waits || add_header(t, "%s", "Expect:")) &&
         (body ? add_header(t, "Content-Type: %s", type) : add_header(t, "%s", "Content-Type:")) &&
         (!endpoint->token[0] || add_header(t, "Authorization: Bearer %s", endpoint->token)) &&
         (!key[0] || add_header(t, "Idempotency-Key: %s", key)) && (!request->header || add_header(t, "%s", request->header)) &&
         curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers) == CURLE_OK;
}

static void set_body(struct transfer *t) {
  const struct client_request *request = t->request;
  CURL *easy = t->easy;
  if (request->body.p) {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body.p);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.n);
  } else if (request->body_fd >= 0) {
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_need_body);
    curl_easy_setopt(easy, CURLOPT_READDATA, t);
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body_size);
  } else if (strcmp(request->method, "HEAD") == 0) {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (strcmp(request->method, "GET") != 0) { /* a request that writes says that its body is empty */
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 0L);
  }
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

static bool set_up(struct transfer *t, const char *key) {
  const struct client *client = t->client;
  const struct endpoint *endpoint = client->config.endpoint;
  CURL *easy = t->easy;
  AUTO_BUF struct buf url = BUF_INIT(64 * KIB);
  buf_printf(&url, "%s%s", endpoint->url, t->request->path);
  if (url.fail || curl_easy_setopt(easy, CURLOPT_URL, buf_text(&url)) != CURLE_OK)
    return false;
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L); /* a token goes nowhere else */
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "winnow/" WINNOW_VERSION);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)MIN_OF(CONNECT_TIMEOUT_MS, client->config.timeout_ms));
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
  if (endpoint->socket[0])
    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, client->socket_path);
  if (endpoint_is_local(endpoint))
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
  const char *ca = getenv("WINNOW_CA_FILE");
  if (ca && ca[0])
    curl_easy_setopt(easy, CURLOPT_CAINFO, ca);
  if (!t->request->stream && !t->request->sink && t->request->body_fd < 0)
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)client->config.timeout_ms);
  set_body(t);
  return set_headers(t, key);
}

static int64_t silence_allowed(const struct client_request *request) {
  return request->silence_ms ? request->silence_ms : STREAM_SILENCE_MS;
}

/* Between two waits: Ctrl-C, the tick, too long a silence. */
static bool look_around(struct transfer *t, int64_t *tick_us) {
  const struct client_request *request = t->request;
  int64_t now = clock_mono_us(t->client->config.clock);
  if (client_interrupted(t->client))
    return cancelled(t->err);
  if (request->tick && now - *tick_us >= POLL_MS * 1000) {
    *tick_us = now;
    int64_t total = request->body_fd >= 0 ? request->body_size : t->reply->length;
    if (!request->tick(request->ctx, t->moved, total, t->err))
      return false;
  }
  bool timed = request->stream || request->sink || request->body_fd >= 0;
  if (timed && now - t->heard_us > silence_allowed(request) * 1000)
    return err_set(t->err, ERR_DEADLINE, "nothing came from the service for %d seconds", (int)(silence_allowed(request) / 1000));
  return true;
}

/* Runs the transfer to its end. CURLE_ABORTED_BY_CALLBACK when we broke off. */
static CURLcode drive(struct transfer *t, CURLM *multi) {
  struct curl_waitfd interrupt = {.fd = t->client->config.interrupt_fd, .events = CURL_WAIT_POLLIN};
  int64_t tick_us = 0;
  CURLcode result = CURLE_FAILED_INIT;
  if (curl_multi_add_handle(multi, t->easy) != CURLM_OK)
    return result;
  for (;;) {
    int running = 0, left;
    if (curl_multi_perform(multi, &running) != CURLM_OK)
      break;
    CURLMsg *message = curl_multi_info_read(multi, &left);
    if (message && message->msg == CURLMSG_DONE) {
      result = message->data.result;
      break;
    }
    if (!look_around(t, &tick_us)) {
      t->failed = true;
      break;
    }
    if (curl_multi_poll(multi, &interrupt, interrupt.fd >= 0 ? 1 : 0, POLL_MS, NULL) != CURLM_OK)
      break;
  }
  curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->reply->status);
  curl_multi_remove_handle(multi, t->easy);
  return t->failed ? CURLE_ABORTED_BY_CALLBACK : result;
}

static bool nobody_there(CURLcode code) {
  return code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY;
}

static void curl_to_err(const struct transfer *t, CURLcode code, struct err *err) {
  AUTO_BUF struct buf name = BUF_INIT(8 * KIB);
  endpoint_name(t->client->config.endpoint, &name);
  bool tls = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR;
  if (nobody_there(code)) {
    err_set(err, ERR_UNAVAILABLE, "no service answers at %s", buf_text(&name));
    err_hint(err, "winnow serve starts one here; --url and WINNOW_URL name another; winnow doctor looks closer");
  } else if (code == CURLE_OPERATION_TIMEDOUT) {
    err_set(err, ERR_DEADLINE, "the service at %s did not answer in time", buf_text(&name));
  } else if (tls) {
    err_set(err, ERR_UNAVAILABLE, "no trust in %s: %s", buf_text(&name), curl_easy_strerror(code));
    err_hint(err, "WINNOW_CA_FILE names the certificate to trust");
  } else {
    err_set(err, ERR_UNAVAILABLE, "the connection to %s broke: %s", buf_text(&name), curl_easy_strerror(code));
  }
}

/* One try. *ret_again says whether another one may help. */
static bool try_once(struct client *client, const struct client_request *request, const char *key, struct client_reply *reply,
                     int64_t *ret_retry_after, bool *ret_again, struct err *err) {
  struct transfer t = {.client = client, .request = request, .reply = reply, .err = err, .retry_after = -1};
  t.heard_us = clock_mono_us(client->config.clock);
  t.easy = curl_easy_init();
  *ret_again = false;
  if (!t.easy || !set_up(&t, key)) {
    curl_slist_free_all(t.headers);
    curl_easy_cleanup(t.easy);
    return err_set(err, ERR_INVALID, "the request cannot be made; is its path well-formed?");
  }
  CURLcode code = drive(&t, request->stream ? client->streams : client->calls);
  *ret_retry_after = t.retry_after;
  bool ok = code == CURLE_OK && reply->status >= 200 && reply->status < 300;
  if (code == CURLE_OK && !ok) {
    forget_problems(client);
    problem_to_err(reply->status, buf_str(&reply->body), err, &client->problems);
    *ret_again = reply->status == 429 || (reply->status >= 502 && reply->status <= 504);
  } else if (code != CURLE_OK && !t.failed) {
    curl_to_err(&t, code, err);
    *ret_again = !nobody_there(code) && code != CURLE_OPERATION_TIMEDOUT && err->code == ERR_UNAVAILABLE && !t.moved;
  }
  curl_easy_cleanup(t.easy);
  curl_slist_free_all(t.headers);
  return ok;
}

static bool may_repeat(const struct client_request *request) {
  static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE"};
  bool safe = request->creates;
  for (size_t i = 0; i < ARRAY_LEN(methods); i++)
    safe |= strcmp(request->method, methods[i]) == 0;
  return safe;
}

static bool rewind_body(const struct client_request *request) {
  return request->body_fd < 0 || lseek(request->body_fd, 0, SEEK_SET) == 0;
}

void client_reply_init(struct client_reply *reply) {
  *reply = (struct client_reply){.log_offset = -1, .log_next = -1, .log_size = -1, .log_attempt = -1, .date_ms = -1, .length = -1};
  buf_init(&reply->body, MAX_ANSWER);
}

void client_reply_release(struct client_reply *reply) {
  buf_release(&reply->body);
}

static int64_t wait_before(struct client *client, unsigned attempt, int64_t retry_after) {
  int64_t wait = (int64_t)FIRST_WAIT_MS << attempt;
  wait += (int64_t)rng_below(&client->config.rng, (uint64_t)wait / 2);
  return MIN_OF(retry_after >= 0 ? retry_after : wait, LONGEST_WAIT_MS);
}

bool client_call(struct client *client, const struct client_request *request, struct client_reply *reply, struct err *err) {
  if (!bring_up(client, err))
    return false;
  char key[ID_HEX_LEN + 1] = "";
  if (request->creates)
    id_format(id_new(client->config.clock, &client->config.rng), key);
  client->request_id[0] = '\0';
  forget_problems(client);
  for (unsigned attempt = 0;; attempt++) {
    int64_t retry_after = -1;
    bool again;
    buf_reset(&reply->body);
    reply->request_id[0] = '\0';
    if (try_once(client, request, key, reply, &retry_after, &again, err))
      return true;
    snprintf(client->request_id, sizeof client->request_id, "%s", reply->request_id);
    if (!again || request->stream || !may_repeat(request) || attempt + 1 >= client->config.tries || !rewind_body(request))
      return false;
    int64_t wait = wait_before(client, attempt, retry_after);
    if (client->config.on_retry)
      client->config.on_retry(client->config.retry_ctx, wait, err->text);
    if (!client_sleep(client, wait, err))
      return false;
  }
}

static bool read_answer(const struct client_reply *reply, json_t **ret, struct err *err) {
  *ret = NULL;
  if (reply->status == 204 || !reply->body.n)
    return true;
  if (json_read(buf_str(&reply->body), ret, err))
    return true;
  err_prefix(err, "the service's answer is no JSON");
  err->code = ERR_INTERNAL;
  return err_hint(err, "is there a Winnow at this address? winnow doctor looks closer");
}

bool client_json(struct client *client, const char *method, const char *path, const json_t *body, bool creates, json_t **ret,
                 struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(MAX_ANSWER);
  AUTO_REPLY struct client_reply reply;
  client_reply_init(&reply);
  struct client_request request = {.method = method, .path = path, .body_fd = -1, .creates = creates};
  if (body) {
    struct json_writer writer;
    jw_init(&writer, &text);
    jw_json(&writer, body);
    if (!buf_ok(&text, err))
      return false;
    request.body = buf_str(&text);
  }
  return client_call(client, &request, &reply, err) && read_answer(&reply, ret, err);
}

/* ---- events ---- */

struct event_stream {
  struct sse_parser parser;
  sse_fn *fn;
  client_tick *tick;
  void *ctx;
  bool heard; /* since the last connect */
  bool done;
};

static bool on_event_bytes(void *ctx, struct str bytes, struct err *err) {
  struct event_stream *stream = ctx;
  stream->heard = true;
  bool ok = sse_feed(&stream->parser, bytes, stream->fn, stream->ctx, err);
  stream->done = stream->parser.stopped;
  return ok;
}

static bool on_event_tick(void *ctx, int64_t moved, int64_t total, struct err *err) {
  struct event_stream *stream = ctx;
  return !stream->tick || stream->tick(stream->ctx, moved, total, err);
}

static bool follow_once(struct client *client, const char *path, struct event_stream *stream, struct client_reply *reply, struct err *err) {
  AUTO_BUF struct buf header = BUF_INIT(2 * KIB);
  struct str last = sse_last_id(&stream->parser);
  if (last.n)
    buf_printf(&header, "Last-Event-ID: %.*s", STR_ARG(last));
  struct client_request request = {.method = "GET",
                                   .path = path,
                                   .body_fd = -1,
                                   .accept = "text/event-stream",
                                   .header = last.n ? buf_text(&header) : NULL,
                                   .sink = on_event_bytes,
                                   .tick = on_event_tick,
                                   .ctx = stream,
                                   .stream = true};
  sse_reconnect(&stream->parser);
  stream->heard = false;
  return client_call(client, &request, reply, err);
}

bool client_events(struct client *client, const char *path, sse_fn *fn, client_tick *tick, void *ctx, struct err *err) {
  struct event_stream stream = {.fn = fn, .tick = tick, .ctx = ctx};
  sse_init(&stream.parser);
  bool ok = false;
  for (unsigned silent = 0;;) {
    AUTO_REPLY struct client_reply reply;
    client_reply_init(&reply);
    bool ended = follow_once(client, path, &stream, &reply, err);
    ok = stream.done;
    bool lost = ended || err->code == ERR_DEADLINE || err->code == ERR_UNAVAILABLE || err->code == ERR_OVERLOADED;
    if (ok || !lost)
      break;
    silent = stream.heard ? 0 : silent + 1;
    if (silent > STREAM_PATIENCE) {
      if (ended)
        err_set(err, ERR_UNAVAILABLE, "the service ends the event stream again and again");
      break;
    }
    int64_t wait = wait_before(client, MIN_OF(silent, 4u), silent ? -1 : stream.parser.retry_ms);
    if (!client_sleep(client, wait, err) || (tick && !tick(ctx, 0, -1, err)))
      break;
  }
  sse_release(&stream.parser);
  return ok;
}
