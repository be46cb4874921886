/* What a handler sees of a request. All text is borrowed from the request and lives until the request is answered.
 *
 * Life: every request that reached a handler (or a `begin` that returned true) is answered exactly once, by one of the functions of
 * http_reply.h, from the handler or at any later time, also when the client has left meanwhile or the server has been stopped: then the
 * answer goes nowhere, but it is what frees the request. After the answering call the request must not be touched. A second answer
 * ends the program. All on the loop's thread. */
#ifndef WINNOW_WEB_HTTP_REQ_H
#define WINNOW_WEB_HTTP_REQ_H

#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "web/http/http_method.h"
#include "web/http/http_url.h"
#include "web/route.h"

enum http_peer_kind { PEER_TCP, PEER_UNIX };

struct http_peer {
  enum http_peer_kind kind;
  bool is_loopback; /* 127.0.0.0/8, ::1, ::ffff:127.0.0.0/104 or a Unix socket */
  uid_t uid;        /* PEER_UNIX: who connected, by the kernel's word */
  gid_t gid;
  pid_t pid;
  char text[64]; /* "192.0.2.1:4711", "[2001:db8::1]:4711", "unix:uid=1000" */
};

enum http_method http_req_method(const struct http_req *req); /* HEAD stays HEAD; its row is that of GET */
const struct route *http_req_route(const struct http_req *req);
const char *http_req_pattern(const struct http_req *req); /* mount and path of the row: "/api/v1/runs/{id}"; "" when nothing matched */
void *http_req_service(const struct http_req *req);       /* as given to the server */
const struct http_peer *http_req_peer(const struct http_req *req);
/* Whose process is at the other end of a TCP connection within this machine; false when it cannot be told. Asks the kernel. */
MUST_CHECK bool http_req_tcp_owner(const struct http_req *req, uid_t *ret);
bool http_req_is_tls(const struct http_req *req);
/* Freed after the answer; has a ceiling, so NULL must be handled. */
struct arena *http_req_arena(struct http_req *req);

/* The path as it was sent, without the query. Never use it to find a file. */
struct str http_req_path(const struct http_req *req);
/* The value of {name} in the pattern, percent-decoded once. Never empty; may contain any byte but NUL, '/' too when it was sent as %2F.
 * Of {name...}: decoded segments joined by '/', none of them empty (but the last, for a slash at the end), "." or "..". STR_NONE when the
 * pattern has no such name. */
struct str http_req_value(const struct http_req *req, const char *name);

/* Query parameters, decoded ('+' is a space), in the order sent. */
struct http_param {
  struct str name;
  struct str value; /* "" when there was no '=' */
};
size_t http_req_param_count(const struct http_req *req);
const struct http_param *http_req_param_at(const struct http_req *req, size_t i);
/* The first of that name; STR_NONE when absent. */
struct str http_req_param(const struct http_req *req, const char *name);
/* One that says true or false; *ret stays when it is absent. */
MUST_CHECK bool http_req_flag(const struct http_req *req, const char *name, bool *ret, struct err *err);
/* All of that name: for (size_t i = 0; http_req_param_next(req, "run", &i, &value);) */
bool http_req_param_next(const struct http_req *req, const char *name, size_t *cursor, struct str *ret_value);

/* The first header of that name (case does not count), without spaces around; STR_NONE when absent. */
struct str http_req_header(const struct http_req *req, const char *name);
bool http_req_header_next(const struct http_req *req, const char *name, size_t *cursor, struct str *ret_value);
/* From Host, or from the target in absolute form; host.p is NULL for HTTP/1.0 without Host. */
const struct http_authority *http_req_host(const struct http_req *req);

/* BODY_BUFFER rows: the whole body, "" when there is none. */
struct str http_req_body(const struct http_req *req);
/* Bytes of body received so far. */
uint64_t http_req_body_received(const struct http_req *req);
/* The announced length; UINT64_MAX when it is chunked. */
uint64_t http_req_body_length(const struct http_req *req);

/* BODY_STREAM rows: no `data` or `end` is called until the body is resumed; the client is slowed down. Resuming calls nothing by itself
 * before it returns. */
void http_req_pause_body(struct http_req *req);
void http_req_resume_body(struct http_req *req);

/* Slots: who calls (set by the gate) and what the handler keeps. Not owned. */
/* What an error's answer lists, kept for who writes it (web/problem.h). */
void *http_req_problems(const struct http_req *req);
void http_req_set_problems(struct http_req *req, void *problems);
void *http_req_principal(const struct http_req *req);
void http_req_set_principal(struct http_req *req, void *principal);
void *http_req_state(const struct http_req *req);
void http_req_set_state(struct http_req *req, void *state);

/* Called once, when the client has left before the answer was complete; the request must be answered nevertheless (http_reply_drop() for
 * instance). A client that only closed its sending side is taken for gone too, but an answer still reaches it. Not called when `abort` of
 * the row's stream was. NULL takes it back. */
typedef void http_gone_fn(void *ctx);
void http_req_on_gone(struct http_req *req, http_gone_fn *fn, void *ctx);
bool http_req_is_gone(const struct http_req *req);

#endif
