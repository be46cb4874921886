/* Files: conditions, ranges, sending. */
#include <sys/stat.h>

#include "web/http/http_intern.h"
#include "web/http/http_range.h"

enum { SLICE = 512 * 1024, TLS_PIECE = 32 * 1024, DISPOSITION_MAX = 4 * 1024 };

/* ---- what to answer ---- */

struct file_facts {
  const struct http_file *file;
  uint64_t size;
  int64_t mtime_s;
  char mtime[32];
};

/* 200, 304 or 412 by the conditional headers, in the order of RFC 9110. */
static int check_conditions(const struct http_req *req, const struct file_facts *facts) {
  struct str etag = str_of(facts->file->etag);
  struct str if_match = http_req_header(req, "If-Match"), if_none_match = http_req_header(req, "If-None-Match");
  int64_t since;
  if (if_match.p && !http_etag_in(if_match, etag, false))
    return 412;
  if (!if_match.p && http_date_parse(http_req_header(req, "If-Unmodified-Since"), &since) && facts->mtime_s > since)
    return 412;
  if (if_none_match.p)
    return http_etag_in(if_none_match, etag, true) ? 304 : 200;
  if (http_date_parse(http_req_header(req, "If-Modified-Since"), &since) && facts->mtime_s <= since)
    return 304;
  return 200;
}

/* Does the range still belong to the file the client knows? A date does not say: in one second there may have been two. */
static bool range_is_current(const struct http_req *req, const struct file_facts *facts) {
  struct str if_range = http_req_header(req, "If-Range");
  if (!if_range.p)
    return true;
  return facts->file->etag && !str_is(if_range, "*") && http_etag_in(if_range, str_of(facts->file->etag), false);
}

/* A name for all clients: plain ASCII for the old ones, percent-encoded UTF-8 for the others. Quotes only where they are needed, as
 * MLflow's server does. */
void http_reply_download_name(struct http_req *req, const char *name) {
  AUTO_BUF struct buf value = BUF_INIT(DISPOSITION_MAX);
  bool is_plain = true, is_token = http_is_token(str_of(name));
  buf_puts(&value, is_token ? "attachment; filename=" : "attachment; filename=\"");
  for (const char *c = name; *c; c++) {
    bool safe = *c >= ' ' && *c < 0x7f && *c != '"' && *c != '\\' && *c != '%' && *c != '/';
    is_plain &= safe;
    buf_putc(&value, safe || is_token ? *c : '_');
  }
  if (!is_token)
    buf_putc(&value, '"');
  if (!is_plain && str_is_utf8(str_of(name))) {
    buf_puts(&value, "; filename*=UTF-8''");
    http_url_encode(&value, str_of(name), false);
  }
  http_reply_header(req, "Content-Disposition", buf_ok(&value, NULL) ? buf_str(&value) : STR("attachment"));
}

static void add_headers(struct http_req *req, const struct file_facts *facts, int status) {
  const struct http_file *file = facts->file;
  http_reply_header(req, "Last-Modified", str_of(facts->mtime));
  if (file->etag)
    http_reply_header(req, "ETag", str_of(file->etag));
  if (!req->has_cache_control)
    http_reply_header(req, "Cache-Control", str_of(file->cache_control ? file->cache_control : "no-cache"));
  if (status == 304)
    return;
  http_reply_header(req, "Accept-Ranges", STR("bytes"));
  if (file->download_name)
    http_reply_download_name(req, file->download_name);
}

static void add_content_range(struct http_req *req, const struct http_range *part, uint64_t size) {
  char value[80];
  if (part)
    snprintf(value, sizeof value, "bytes %llu-%llu/%llu", (unsigned long long)part->from, (unsigned long long)part->to,
             (unsigned long long)size);
  else
    snprintf(value, sizeof value, "bytes */%llu", (unsigned long long)size);
  http_reply_header(req, "Content-Range", str_of(value));
}

/* ---- sending ---- */

/* Plain sockets: the kernel moves the bytes (sendfile). The segment owns the descriptor from the first slice on. */
static bool add_slice(struct http_conn *conn, struct http_req *req) {
  size_t n = (size_t)MIN_OF(req->file_left, (uint64_t)SLICE);
  if (!req->segment) {
    req->segment = evbuffer_file_segment_new(req->file_fd, (ev_off_t)req->file_at, (ev_off_t)req->file_left,
                                             EVBUF_FS_CLOSE_ON_FREE | EVBUF_FS_DISABLE_LOCKING);
    if (!req->segment)
      return false;
    req->segment_fd = req->file_fd;
    req->file_fd = -1;
    req->segment_from = req->file_at;
  }
  struct evbuffer *output = bufferevent_get_output(conn->bev);
  if (evbuffer_add_file_segment(output, req->segment, (ev_off_t)(req->file_at - req->segment_from), (ev_off_t)n) != 0)
    return false;
  conn->queued += n;
  req->file_at += n;
  req->file_left -= n;
  return true;
}

/* TLS: through our memory, a piece at a time. */
static bool add_piece(struct http_conn *conn, struct http_req *req) {
  char bytes[TLS_PIECE]; /* not the server's scratch: a sink that is being fed from it may answer another request with a file */
  ssize_t n = pread(req->file_fd, bytes, (size_t)MIN_OF(req->file_left, (uint64_t)sizeof bytes), (off_t)req->file_at);
  if (n <= 0)
    return false; /* it became shorter, or cannot be read: the client must see that the answer is not complete */
  struct iovec piece = {bytes, (size_t)n};
  req->file_at += (uint64_t)n;
  req->file_left -= (uint64_t)n;
  conn_send(conn, &piece, 1, NULL);
  return !conn->is_broken;
}

void file_pump(struct http_conn *conn) {
  struct http_req *req = conn->req;
  uint64_t before = req->file_left;
  if (!ahead_is_ready(req, req->segment ? req->segment_fd : req->file_fd))
    return;
  bool ok = !req->file_left || (conn->ssl ? add_piece(conn, req) : add_slice(conn, req));
  req->bytes_out += before - req->file_left;
  if (!ok) {
    conn->is_broken = true;
    conn_close(conn);
  } else if (!req->file_left) {
    req_finish(req);
    conn_answered(conn);
  }
}

static void send_file(struct http_req *req, const struct reply *reply, const struct http_range *part) {
  struct http_conn *conn = req->conn;
  reply_send(req, reply, STR(""), NULL);
  req->with_handler = false; /* from here on it is ours */
  req->file_at = part->from;
  req->file_left = reply_is_bare(req, reply->status) ? 0 : reply->length;
  conn_enter(conn, CONN_FILE);
  if (conn->is_broken)
    conn_close(conn);
  else
    file_pump(conn);
}

void http_reply_file(struct http_req *req, const struct http_file *file) {
  struct stat st;
  struct err err;
  req->file_fd = file->fd; /* closed with the request */
  if (!reply_begin(req))
    return;
  if (fstat(file->fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    err_set(&err, ERR_IO, "it is not a regular file");
    http_reply_error(req, &err);
    return;
  }
  struct file_facts facts = {.file = file, .size = (uint64_t)st.st_size, .mtime_s = st.st_mtime};
  http_date_format(facts.mtime_s, facts.mtime);
  int status = check_conditions(req, &facts);
  if (status == 412) {
    err_set(&err, ERR_PRECONDITION, "the file is not the one that was asked for");
    http_reply_error(req, &err);
    return;
  }
  add_headers(req, &facts, status);
  if (status == 304) {
    http_reply_empty(req, status);
    return;
  }
  struct http_range part = {0, facts.size ? facts.size - 1 : 0};
  struct str range = req->method == HTTP_GET && range_is_current(req, &facts) ? http_req_header(req, "Range") : STR_NONE;
  struct reply reply = {.status = 200, .content_type = file->content_type, .length = facts.size};
  switch (http_range_parse(range, facts.size, &part)) {
  case HTTP_RANGE_NONE:
    add_content_range(req, NULL, facts.size);
    err_set(&err, ERR_RANGE, "the file has %llu bytes", (unsigned long long)facts.size);
    http_reply_error(req, &err);
    return;
  case HTTP_RANGE_PART:
    add_content_range(req, &part, facts.size);
    reply.status = 206;
    reply.length = part.to - part.from + 1;
    break;
  default:
    break;
  }
  send_file(req, &reply, &part);
}
