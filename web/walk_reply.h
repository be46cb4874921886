/* An answer made of whole series: written as they are read, so that a slow reader costs a page, however many points there are. */
#ifndef WINNOW_WEB_WALK_REPLY_H
#define WINNOW_WEB_WALK_REPLY_H

#include "storage/metrics/metric_store.h"
#include "web/http/http_reply.h"

enum { WALK_REPLY_PAGE = 2048 }; /* points that are kept for a slow reader */

/* The walk of the next series, whose pages are at most WALK_REPLY_PAGE points. *ret NULL: there is none left. */
typedef bool walk_reply_next_fn(void *ctx, struct metric_walk **ret, struct err *err);
typedef void walk_reply_ended_fn(void *ctx);

/* Lies in the request's arena; what is above the line is its maker's. */
struct walk_reply {
  struct http_req *req;
  const char *content_type;
  const char *head, *tail; /* before and after all points */
  bool commas;             /* each point begins with one, and the first one's is left out */
  walk_reply_next_fn *next;
  walk_reply_ended_fn *ended; /* once, before the answer ends, whichever way; may be NULL */
  void *ctx;
  /* ---- */
  struct metric_walk *walk;
  bool begun, any;
  bool reading; /* a page is on its way */
};

/* Answers, with an error when the first page cannot be read. */
void walk_reply_start(struct walk_reply *reply);

#endif
