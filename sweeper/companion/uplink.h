/* The companion's way to the service: one HTTP/1.1 connection, one request at a time, over the Unix socket or TCP. The addresses are read
 * again from the endpoint file whenever the service does not answer, so that a restarted one is found. */
#ifndef WINNOW_COMPANION_UPLINK_H
#define WINNOW_COMPANION_UPLINK_H

#include <event2/event.h>

#include "base/buf.h"
#include "base/str.h"

struct uplink;

/* status 0: no answer (no service, a cut connection, a deadline): nobody knows whether it was taken. `body` lives for the call. Further
 * requests may be made from here. */
typedef void uplink_done_fn(void *ctx, int status, struct str body);

struct uplink_config {
  const char *endpoint_file;
  const char *token;
  const char *prefix; /* of every path */
};

/* `config` is borrowed. NULL without memory. */
MUST_CHECK struct uplink *uplink_new(struct event_base *base, const struct uplink_config *config);
void uplink_free(struct uplink *uplink); /* calls nobody; accepts NULL */
bool uplink_is_busy(const struct uplink *uplink);
/* Not while busy. The bytes are copied. `done` comes exactly once, later. */
void uplink_send(struct uplink *uplink, const char *method, const char *path, struct str body, int timeout_s, uplink_done_fn *done,
                 void *ctx);

/* The same with what a file holds as its body: from `offset` on, which must be there, and stay. fd -1 is no body; it is closed when it was
 * sent, unless `keep_fd`. `prefix` NULL is the configured one. */
struct uplink_file {
  const char *method, *prefix, *path;
  int fd;
  bool keep_fd;
  int64_t offset, length;
  int timeout_s;
};
void uplink_send_file(struct uplink *uplink, const struct uplink_file *file, uplink_done_fn *done, void *ctx);

/* The answer's head, pure: 0 more is needed, -1 it is none, else its length; the body's length in *ret_length. */
int uplink_parse_head(struct str bytes, int *ret_status, size_t *ret_length, bool *ret_close);

#endif
