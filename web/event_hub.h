/* What happens, told to whoever listens: topics, a short memory of events, listeners with a place in it.
 *
 * One ring holds the events of all topics, each once, as it goes out. A listener is a place in the ring and a list of topics; it is handed
 * what is between its place and the end, when it can take it. So neither a slow listener nor many of them cost memory, and an event costs
 * one copy, however many hear it. Who falls so far behind that its place is overwritten is told to begin anew.
 *
 * Only topics that somebody listens to, or did within the last minute, are kept: what nobody watches costs a look-up. Events are ids in
 * order; ids hold for one life of the service. Everything on the loop. */
#ifndef WINNOW_WEB_EVENT_HUB_H
#define WINNOW_WEB_EVENT_HUB_H

#include "base/buf.h"
#include "base/id.h"
#include "base/loop.h"

enum topic_kind { TOPIC_SWEEP, TOPIC_RUN, TOPIC_STDOUT, TOPIC_STDERR, TOPIC_QUEUE };
struct topic {
  enum topic_kind kind;
  struct id id; /* zero for TOPIC_QUEUE */
};
/* "sweep:<id>", "run:<id>", "log:<id>:<stream>", "queue". */
MUST_CHECK bool topic_parse(struct str text, struct topic *ret, struct err *err);

struct event_hub;
struct event_listener;

enum {
  EVENT_TOPICS_MAX = 32, /* of one listener */
  EVENT_LISTENERS_MAX = 4096,
  EVENT_RING = 8192,
  EVENT_RING_BYTES = 8 * 1024 * 1024,
  EVENT_FLUSH_MS = 50,
  EVENT_BEAT_MS = 15 * 1000,
  EVENT_LINGER_MS = 60 * 1000, /* how long a topic is remembered after its last listener */
};

MUST_CHECK struct event_hub *event_hub_new(struct loop *loop, struct err *err);
/* Listeners are gone by then. Accepts NULL. */
void event_hub_free(struct event_hub *hub);

/* Does anybody care? Then building the text of an event is worth while. */
bool event_hub_wants(const struct event_hub *hub, struct topic topic);
/* `type` is a literal; `data` one line of JSON, copied. Nothing without a listener; without memory listeners are told to begin anew. */
void event_hub_publish(struct event_hub *hub, struct topic topic, const char *type, struct str data);
/* The same, but one that is not on its way yet is replaced: for what only says how far something is. */
void event_hub_hint(struct event_hub *hub, struct topic topic, const char *type, struct str data);

/* Takes what is ready, as it goes over the wire. False: no more now, event_listener_ready() is called when there is room. STR_NONE: it is
 * over, the listener is to be freed. Whoever is ready gets a comment now and then, so that its way stays open and a dead one is found. */
typedef bool event_take_fn(void *ctx, struct str bytes);

/* `last_id` is what a listener before it has seen last, STR_NONE or "" when it is the first: it is told what it has missed, or to begin
 * anew. Nothing is taken before this has returned. */
MUST_CHECK struct event_listener *event_listen(struct event_hub *hub, const struct topic *topics, size_t count, struct str last_id,
                                               event_take_fn *take, void *ctx, struct err *err);
/* The id that stands for now: who has seen it has missed nothing. */
void event_hub_place(const struct event_hub *hub, char out[48]);
void event_listener_ready(struct event_listener *listener);
/* Also from its own `take`. */
void event_listener_free(struct event_listener *listener);

/* Tells every listener that it is over, and takes no new ones. */
void event_hub_stop(struct event_hub *hub);
size_t event_hub_listeners(const struct event_hub *hub);

#endif
