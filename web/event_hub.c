#include "web/event_hub.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

enum { TOPICS_MAX = EVENT_LISTENERS_MAX * EVENT_TOPICS_MAX, KEY_BYTES = sizeof(struct id) + 1, HINTS_MAX = 4, HINT_BYTES_MAX = 4096 };

struct entry {
  uint64_t number; /* 0: empty */
  struct subject *subject;
  char *text; /* the whole event, ready to be sent */
  uint32_t n;
};

struct hint {
  const char *type;
  char *data;
  size_t n;
};

/* A topic that somebody listens to, or did a moment ago. */
struct subject {
  struct list_node node;
  struct topic topic;
  uint64_t since; /* events from this number on are in the ring, as far as it reaches */
  int64_t idle_from;
  struct list subs;
  struct hint hints[HINTS_MAX]; /* what is to be told at the next flush */
  size_t hint_count;
  bool hinted; /* in the list of those with hints */
  struct list_node hinted_node;
};

struct sub {
  struct list_node node; /* of its subject */
  struct event_listener *listener;
  struct subject *subject;
};

struct event_listener {
  struct list_node node, due_node;
  struct event_hub *hub;
  uint64_t next; /* the first number not looked at */
  bool due;      /* in the list of those that have something to take */
  bool full, reset, taking, dead;
  event_take_fn *take;
  void *ctx;
  size_t count;
  struct sub subs[];
};

struct event_hub {
  struct loop *loop;
  struct loop_timer *flush, *sweep_out, *beat;
  bool stopped;
  uint64_t life; /* of this service: the first half of the ids */
  uint64_t last;
  size_t bytes;
  uint64_t oldest; /* the first number still in the ring */
  struct entry ring[EVENT_RING];
  struct map by_topic;
  struct list subjects, hinted, listeners, due;
};

/* ---- topics ---- */

bool topic_parse(struct str text, struct topic *ret, struct err *err) {
  struct str rest = text, kind, id, stream = STR_NONE;
  *ret = (struct topic){.kind = TOPIC_QUEUE};
  if (str_is(text, "queue"))
    return true;
  bool ok = str_split(&rest, ':', &kind) && str_split(&rest, ':', &id) && id_parse(id, &ret->id);
  bool is_log = ok && str_is(kind, "log");
  if (is_log)
    ok = str_split(&rest, ':', &stream) && (str_is(stream, "stdout") || str_is(stream, "stderr"));
  if (is_log)
    ret->kind = str_is(stream, "stderr") ? TOPIC_STDERR : TOPIC_STDOUT;
  else if (ok && str_is(kind, "sweep"))
    ret->kind = TOPIC_SWEEP;
  else if (ok && str_is(kind, "run"))
    ret->kind = TOPIC_RUN;
  else
    ok = false;
  if (ok && !rest.p)
    return true;
  err_set(err, ERR_INVALID, "\"%.*s\" is no topic", STR_ARG(str_slice(text, 0, 100)));
  return err_hint(err, "topics are sweep:<id>, run:<id>, log:<id>:stdout, log:<id>:stderr and queue, with whole ids");
}

static struct str topic_key(struct topic topic, char out[KEY_BYTES]) {
  out[0] = (char)topic.kind;
  memcpy(out + 1, topic.id.bytes, sizeof topic.id.bytes);
  return str_n(out, KEY_BYTES);
}

static struct subject *find(const struct event_hub *hub, struct topic topic) {
  char key[KEY_BYTES];
  return map_get(&hub->by_topic, topic_key(topic, key));
}

static void drop_hints(struct subject *subject) {
  for (size_t i = 0; i < subject->hint_count; i++)
    mem_free(subject->hints[i].data);
  subject->hint_count = 0;
}

static void forget(struct event_hub *hub, struct subject *subject) {
  char key[KEY_BYTES];
  map_remove(&hub->by_topic, topic_key(subject->topic, key));
  for (size_t i = 0; i < EVENT_RING; i++)
    if (hub->ring[i].subject == subject)
      hub->ring[i].subject = NULL;
  drop_hints(subject);
  if (subject->hinted)
    list_remove(&subject->hinted_node);
  list_remove(&subject->node);
  mem_free(subject);
}

static struct subject *subject_of(struct event_hub *hub, struct topic topic) {
  char key[KEY_BYTES];
  struct subject *subject = find(hub, topic);
  if (subject)
    return subject;
  subject = mem_zalloc(sizeof *subject);
  if (!subject || !map_put(&hub->by_topic, topic_key(topic, key), subject, NULL)) {
    mem_free(subject);
    return NULL;
  }
  subject->topic = topic;
  subject->since = hub->last + 1;
  list_push_back(&hub->subjects, &subject->node);
  return subject;
}

static void on_sweep_out(void *ctx) {
  struct event_hub *hub = ctx;
  loop_timer_start(hub->sweep_out, EVENT_LINGER_MS / 2);
  LIST_EACH(&hub->subjects, node) {
    struct subject *subject = LIST_ENTRY(node, struct subject, node);
    if (!subject->subs.count && loop_now_ms(hub->loop) - subject->idle_from >= EVENT_LINGER_MS)
      forget(hub, subject);
  }
}

/* ---- the ring ---- */

static struct entry *entry_at(struct event_hub *hub, uint64_t number) {
  return &hub->ring[number % EVENT_RING];
}

static void drop_oldest(struct event_hub *hub) {
  struct entry *entry = entry_at(hub, hub->oldest++);
  hub->bytes -= entry->n;
  mem_free(entry->text);
  *entry = (struct entry){0};
}

static void be_due(struct event_listener *listener) {
  if (listener->due)
    return;
  listener->due = true;
  list_push_back(&listener->hub->due, &listener->due_node);
  if (!loop_timer_is_on(listener->hub->flush))
    loop_timer_start(listener->hub->flush, EVENT_FLUSH_MS);
}

static bool listens_to(const struct event_listener *listener, const struct subject *subject) {
  for (size_t i = 0; i < listener->count; i++)
    if (listener->subs[i].subject == subject)
      return true;
  return false;
}

/* One that has nothing waiting goes straight to this event. */
static void tell_listeners(struct subject *subject, uint64_t number) {
  LIST_EACH(&subject->subs, node) {
    struct event_listener *listener = LIST_ENTRY(node, struct sub, node)->listener;
    if (!listener->due && !listener->full)
      listener->next = number;
    be_due(listener);
  }
}

static void add(struct event_hub *hub, struct subject *subject, const char *type, struct str data) {
  AUTO_BUF struct buf text = BUF_INIT(EVENT_RING_BYTES / 8);
  uint64_t number = hub->last + 1;
  buf_printf(&text, "id: %llx-%llu\nevent: %s\ndata: ", (unsigned long long)hub->life, (unsigned long long)number, type);
  buf_add_str(&text, data);
  buf_puts(&text, "\n\n");
  size_t n = text.n;
  char *taken = buf_take(&text);
  while (taken && hub->oldest < number && (number - hub->oldest >= EVENT_RING || hub->bytes + n > EVENT_RING_BYTES))
    drop_oldest(hub);
  hub->last = number;
  if (!taken) { /* a hole: who comes to it begins anew */
    while (hub->oldest < number)
      drop_oldest(hub);
    hub->oldest = number + 1;
  } else {
    *entry_at(hub, number) = (struct entry){number, subject, taken, (uint32_t)n};
    hub->bytes += n;
  }
  tell_listeners(subject, number);
}

bool event_hub_wants(const struct event_hub *hub, struct topic topic) {
  return hub && find(hub, topic);
}

void event_hub_publish(struct event_hub *hub, struct topic topic, const char *type, struct str data) {
  struct subject *subject = hub ? find(hub, topic) : NULL;
  if (subject)
    add(hub, subject, type, data);
}

void event_hub_hint(struct event_hub *hub, struct topic topic, const char *type, struct str data) {
  struct subject *subject = hub ? find(hub, topic) : NULL;
  size_t i = 0;
  if (!subject || data.n > HINT_BYTES_MAX)
    return;
  while (i < subject->hint_count && strcmp(subject->hints[i].type, type) != 0)
    i++;
  char *copy = i < HINTS_MAX ? mem_strndup(data.p, data.n) : NULL;
  if (!copy) {
    add(hub, subject, type, data);
    return;
  }
  if (i < subject->hint_count)
    mem_free(subject->hints[i].data);
  subject->hint_count = MAX_OF(subject->hint_count, i + 1);
  subject->hints[i] = (struct hint){type, copy, data.n};
  if (!subject->hinted)
    list_push_back(&hub->hinted, &subject->hinted_node);
  subject->hinted = true;
  if (!loop_timer_is_on(hub->flush))
    loop_timer_start(hub->flush, EVENT_FLUSH_MS);
}

/* ---- handing over ---- */

static void put_reset(struct event_listener *listener) {
  char text[160];
  struct event_hub *hub = listener->hub;
  int n =
      snprintf(text, sizeof text, "id: %llx-%llu\nevent: reset\ndata: {\"reason\":\"events were missed: read again what you show\"}\n\n",
               (unsigned long long)hub->life, (unsigned long long)hub->last);
  listener->reset = false;
  listener->next = hub->last + 1;
  listener->full = !listener->take(listener->ctx, str_n(text, (size_t)n));
}

static void hand_over(struct event_listener *listener) {
  struct event_hub *hub = listener->hub;
  listener->taking = true;
  while (!listener->dead && !listener->full) {
    if (listener->reset || listener->next < hub->oldest) {
      put_reset(listener);
      continue;
    }
    if (listener->next > hub->last)
      break;
    const struct entry *entry = entry_at(hub, listener->next++);
    if (entry->subject && listens_to(listener, entry->subject))
      listener->full = !listener->take(listener->ctx, str_n(entry->text, entry->n));
  }
  listener->taking = false;
  if (listener->dead)
    mem_free(listener);
}

static void on_flush(void *ctx) {
  struct event_hub *hub = ctx;
  for (struct list_node *node; (node = list_pop_front(&hub->hinted));) {
    struct subject *subject = LIST_ENTRY(node, struct subject, hinted_node);
    subject->hinted = false;
    for (size_t i = 0; i < subject->hint_count; i++)
      add(hub, subject, subject->hints[i].type, str_n(subject->hints[i].data, subject->hints[i].n));
    drop_hints(subject);
  }
  loop_timer_stop(hub->flush); /* add() has started it */
  for (struct list_node *node; (node = list_pop_front(&hub->due));) {
    struct event_listener *listener = LIST_ENTRY(node, struct event_listener, due_node);
    listener->due = false;
    hand_over(listener);
  }
}

void event_listener_ready(struct event_listener *listener) {
  listener->full = false;
  be_due(listener);
}

/* ---- listeners ---- */

/* Where it goes on; false: that is not known any more. */
static bool find_place(const struct event_listener *listener, struct str last_id, uint64_t *ret_next) {
  struct str rest = last_id, life, number;
  char own[24];
  uint64_t seen;
  snprintf(own, sizeof own, "%llx", (unsigned long long)listener->hub->life);
  if (!str_split(&rest, '-', &life) || !str_split(&rest, '-', &number) || rest.p || !str_is(life, own) || !str_to_u64(number, &seen) ||
      seen > listener->hub->last || seen + 1 < listener->hub->oldest)
    return false;
  for (size_t i = 0; i < listener->count; i++)
    if (listener->subs[i].subject->since > seen + 1)
      return false; /* nobody listened meanwhile */
  *ret_next = seen + 1;
  return true;
}

static bool join(struct event_listener *listener, struct topic topic) {
  struct subject *subject = subject_of(listener->hub, topic);
  if (!subject)
    return false;
  if (listens_to(listener, subject))
    return true;
  struct sub *sub = &listener->subs[listener->count++];
  *sub = (struct sub){.listener = listener, .subject = subject};
  list_push_back(&subject->subs, &sub->node);
  return true;
}

struct event_listener *event_listen(struct event_hub *hub, const struct topic *topics, size_t count, struct str last_id,
                                    event_take_fn *take, void *ctx, struct err *err) {
  struct event_listener *listener = NULL;
  bool room = hub->listeners.count < EVENT_LISTENERS_MAX && count <= EVENT_TOPICS_MAX && !hub->stopped;
  if (room)
    listener = mem_zalloc(sizeof *listener + count * sizeof *listener->subs);
  if (!listener) {
    if (room)
      err_no_memory(err);
    else
      err_set(err, hub->stopped ? ERR_UNAVAILABLE : ERR_LIMIT,
              hub->stopped ? "the service is stopping" : "too many listen to events already");
    return NULL;
  }
  *listener = (struct event_listener){.hub = hub, .next = hub->last + 1, .take = take, .ctx = ctx};
  list_push_back(&hub->listeners, &listener->node);
  for (size_t i = 0; i < count; i++)
    if (!join(listener, topics[i])) {
      event_listener_free(listener);
      err_no_memory(err);
      return NULL;
    }
  if (last_id.n) {
    listener->reset = !find_place(listener, last_id, &listener->next);
    be_due(listener);
  }
  return listener;
}

void event_listener_free(struct event_listener *listener) {
  list_remove(&listener->node);
  list_remove(&listener->due_node);
  for (size_t i = 0; i < listener->count; i++) {
    struct subject *subject = listener->subs[i].subject;
    list_remove(&listener->subs[i].node);
    if (!subject->subs.count)
      subject->idle_from = loop_now_ms(listener->hub->loop);
  }
  listener->count = 0;
  listener->dead = true;
  if (!listener->taking)
    mem_free(listener);
}

/* To all, outside of the order of events. */
static void tell_all(struct event_hub *hub, struct str bytes) {
  LIST_EACH(&hub->listeners, node) {
    struct event_listener *listener = LIST_ENTRY(node, struct event_listener, node);
    if (listener->full && bytes.p)
      continue;
    listener->taking = true;
    listener->full = !listener->take(listener->ctx, bytes);
    listener->taking = false;
    if (listener->dead)
      mem_free(listener);
  }
}

static void on_beat(void *ctx) {
  struct event_hub *hub = ctx;
  loop_timer_start(hub->beat, EVENT_BEAT_MS);
  tell_all(hub, STR(":\n\n"));
}

void event_hub_stop(struct event_hub *hub) {
  if (!hub)
    return;
  hub->stopped = true;
  tell_all(hub, STR_NONE);
}

void event_hub_place(const struct event_hub *hub, char out[48]) {
  snprintf(out, 48, "%llx-%llu", (unsigned long long)hub->life, (unsigned long long)hub->last);
}

size_t event_hub_listeners(const struct event_hub *hub) {
  return hub->listeners.count;
}

struct event_hub *event_hub_new(struct loop *loop, struct err *err) {
  struct event_hub *hub = mem_zalloc(sizeof *hub);
  if (!hub) {
    err_no_memory(err);
    return NULL;
  }
  hub->loop = loop;
  hub->oldest = 1;
  hub->life = (uint64_t)clock_wall_ms(loop_clock(loop));
  map_init(&hub->by_topic, TOPICS_MAX);
  hub->flush = loop_timer_new(loop, on_flush, hub);
  hub->sweep_out = loop_timer_new(loop, on_sweep_out, hub);
  hub->beat = loop_timer_new(loop, on_beat, hub);
  if (!hub->flush || !hub->sweep_out || !hub->beat) {
    event_hub_free(hub);
    err_no_memory(err);
    return NULL;
  }
  loop_timer_start(hub->sweep_out, EVENT_LINGER_MS / 2);
  loop_timer_start(hub->beat, EVENT_BEAT_MS);
  return hub;
}

void event_hub_free(struct event_hub *hub) {
  if (!hub)
    return;
  loop_timer_free(hub->flush);
  loop_timer_free(hub->sweep_out);
  loop_timer_free(hub->beat);
  while (hub->oldest <= hub->last)
    drop_oldest(hub);
  for (struct list_node *node; (node = list_pop_front(&hub->subjects));) {
    struct subject *subject = LIST_ENTRY(node, struct subject, node);
    drop_hints(subject);
    mem_free(subject);
  }
  map_release(&hub->by_topic);
  mem_free(hub);
}
