/* A raw HTTP client for tests of the server in the same thread: whatever it waits for, it turns the loop meanwhile. Everything that takes
 * longer than 20 s fails the test. */
#ifndef WINNOW_TESTS_HTTP_CLIENT_H
#define WINNOW_TESTS_HTTP_CLIENT_H

#include "base/buf.h"
#include "base/loop.h"

struct ssl_st;

struct http_client {
  struct loop *loop;
  int fd;
  struct ssl_st *ssl; /* NULL: plain */
  struct buf in;      /* received, not yet consumed */
  bool eof;           /* the server has ended, or the connection broke */
};

struct http_answer {
  int status;
  struct buf head; /* status line and headers, without the empty line */
  struct buf body; /* decoded from its transfer coding */
  bool complete;
};

void http_client_open(struct http_client *client, struct loop *loop, uint16_t port);
void http_client_open_unix(struct http_client *client, struct loop *loop, const char *path);
/* Adds TLS; false when the handshake fails. The certificate is not checked. */
bool http_client_start_tls(struct http_client *client);
void http_client_close(struct http_client *client);

void http_client_send(struct http_client *client, struct str bytes); /* gives up silently when the connection is gone */
void http_client_printf(struct http_client *client, const char *format, ...) PRINTF_LIKE(2, 3);
/* Sends what the socket takes at once; returns how much. */
size_t http_client_try_send(struct http_client *client, struct str bytes);
/* Reads once into `in`, after a turn of the loop. False when nothing came. */
bool http_client_receive(struct http_client *client);

/* The next answer; `to_head` for answers to HEAD. False when the connection ended before it was complete. */
bool http_client_answer(struct http_client *client, bool to_head, struct http_answer *ret);
void http_answer_release(struct http_answer *answer);
/* The first header of that name, or STR_NONE. */
struct str http_answer_header(const struct http_answer *answer, const char *name);
/* Sends, reads one answer, returns its status; 0 when there was none. */
int http_client_ask(struct http_client *client, const char *request, struct http_answer *ret);

/* True when the server has closed; what it still sent is in `in`. */
bool http_client_wait_eof(struct http_client *client);

/* Turns the loop until `done(ctx)`; fails the test when that takes too long. */
void http_client_wait(struct loop *loop, bool (*done)(void *ctx), void *ctx);

#endif
