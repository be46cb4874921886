/* Events: order, places, resuming, slow listeners, what is forgotten. */
#include "web/event_hub.h"

#include "base/mem.h"
#include "tests/support/test.h"

struct ear {
  struct event_listener *listener;
  struct buf heard;
  size_t room; /* takes so many pieces, then says that it is full */
  bool over;
};

struct scene {
  struct loop *loop;
  struct event_hub *hub;
};

static const struct topic sweep = {.kind = TOPIC_SWEEP, .id = {{7}}}, other = {.kind = TOPIC_RUN, .id = {{7}}};

static bool take(void *ctx, struct str bytes) {
  struct ear *ear = ctx;
  if (!bytes.p) {
    ear->over = true;
    event_listener_free(ear->listener);
    return false;
  }
  buf_add_str(&ear->heard, bytes);
  return --ear->room > 0;
}

static void setup(struct scene *scene) {
  struct err err;
  scene->loop = loop_new(&clock_system, &err);
  scene->hub = event_hub_new(scene->loop, &err);
  assert_non_null(scene->hub);
}

static void end(struct scene *scene) {
  event_hub_free(scene->hub);
  loop_free(scene->loop);
}

static void listen_to(struct scene *scene, struct ear *ear, struct topic topic, const char *last) {
  struct err err;
  *ear = (struct ear){.heard = BUF_INIT(16 * MIB), .room = SIZE_MAX};
  ear->listener = event_listen(scene->hub, &topic, 1, str_of(last), take, ear, &err);
  assert_non_null(ear->listener);
}

static void hang_up(struct ear *ear) {
  if (!ear->over)
    event_listener_free(ear->listener);
  buf_release(&ear->heard);
}

static bool has(const struct ear *ear, const char *text) {
  return str_find_str(buf_str(&ear->heard), str_of(text)) != SIZE_MAX;
}

static void until(const struct scene *scene, const struct ear *ear, const char *text) {
  while (!has(ear, text))
    loop_turn(scene->loop, true);
}

static size_t times(const struct ear *ear, const char *text) {
  size_t n = 0, at;
  for (struct str rest = buf_str(&ear->heard); (at = str_find_str(rest, str_of(text))) != SIZE_MAX; n++)
    rest = str_slice(rest, at + 1, rest.n);
  return n;
}

static void topics_are_read(void **state UNUSED) {
  static const char *const bad[] = {"",
                                    "sweep",
                                    "sweep:",
                                    "sweep:12",
                                    "sweep:0123456789abcdef0123456789abcdef:x",
                                    "queue:1",
                                    "log:0123456789abcdef0123456789abcdef",
                                    "log:0123456789abcdef0123456789abcdef:stdin",
                                    "runs:1"};
  struct topic topic;
  struct err err;
  for (size_t i = 0; i < ARRAY_LEN(bad); i++)
    assert_false(topic_parse(str_of(bad[i]), &topic, &err));
  assert_true(topic_parse(STR("queue"), &topic, &err) && topic.kind == TOPIC_QUEUE);
  assert_true(topic_parse(STR("log:0123456789abcdef0123456789abcdef:stderr"), &topic, &err) && topic.kind == TOPIC_STDERR);
  assert_true(topic_parse(STR("run:0123456789abcdef0123456789abcdef"), &topic, &err) && topic.kind == TOPIC_RUN);
}

static void events_come_in_order_to_who_wants_them(void **state UNUSED) {
  struct scene scene;
  struct ear a, b;
  setup(&scene);
  assert_false(event_hub_wants(scene.hub, sweep));
  event_hub_publish(scene.hub, sweep, "early", STR("{}")); /* to nobody */
  listen_to(&scene, &a, sweep, NULL);
  listen_to(&scene, &b, other, NULL);
  assert_true(event_hub_wants(scene.hub, sweep) && event_hub_wants(scene.hub, other));
  for (int i = 0; i < 100; i++) {
    char data[32];
    int n = snprintf(data, sizeof data, "{\"n\":%d}", i);
    event_hub_publish(scene.hub, i % 2 ? sweep : other, "tick", str_n(data, (size_t)n));
  }
  assert_int_equal(a.heard.n, 0); /* not before the starter has returned */
  until(&scene, &a, "{\"n\":99}");
  until(&scene, &b, "{\"n\":98}");
  assert_int_equal(times(&a, "event: tick"), 50);
  assert_false(has(&a, "{\"n\":98}") || has(&a, "early"));
  for (int i = 1; i < 99; i += 2) {
    char first[16], second[16];
    snprintf(first, sizeof first, "\"n\":%d}", i);
    snprintf(second, sizeof second, "\"n\":%d}", i + 2);
    assert_true(str_find_str(buf_str(&a.heard), str_of(first)) < str_find_str(buf_str(&a.heard), str_of(second)));
  }
  hang_up(&a);
  hang_up(&b);
  end(&scene);
}

static void a_listener_goes_on_where_it_was(void **state UNUSED) {
  struct scene scene;
  struct ear a, b;
  char place[48];
  setup(&scene);
  listen_to(&scene, &a, sweep, NULL);
  event_hub_publish(scene.hub, sweep, "one", STR("1"));
  event_hub_place(scene.hub, place);
  until(&scene, &a, "event: one");
  hang_up(&a);
  event_hub_publish(scene.hub, sweep, "two", STR("2")); /* nobody listens, but somebody may come back */
  listen_to(&scene, &b, sweep, place);
  event_hub_publish(scene.hub, sweep, "three", STR("3"));
  until(&scene, &b, "event: three");
  assert_false(has(&b, "event: one") || has(&b, "event: reset"));
  assert_int_equal(times(&b, "event: two"), 1);
  hang_up(&b);
  /* Ids of another life, of the future, of nothing, and a topic nobody listened to meanwhile: all begin anew. */
  const char *const strangers[] = {"1-1", "x", "-", place};
  for (size_t i = 0; i < ARRAY_LEN(strangers); i++) {
    listen_to(&scene, &a, i == 3 ? other : sweep, strangers[i]);
    until(&scene, &a, "event: reset");
    hang_up(&a);
  }
  end(&scene);
}

static void who_is_too_slow_begins_anew(void **state UNUSED) {
  struct scene scene;
  struct ear slow, quick;
  setup(&scene);
  listen_to(&scene, &slow, sweep, NULL);
  listen_to(&scene, &quick, sweep, NULL);
  slow.room = 2;
  for (int i = 0; i < 3; i++)
    event_hub_publish(scene.hub, sweep, "first", STR("{}"));
  until(&scene, &quick, "event: first");
  assert_int_equal(times(&slow, "event: first"), 2);
  for (int i = 0; i < EVENT_RING + 10; i++) {
    char data[32];
    int n = snprintf(data, sizeof data, "{\"n\":%d}", i);
    event_hub_publish(scene.hub, sweep, "flood", str_n(data, (size_t)n));
    if (i % 2000 == 0)
      until(&scene, &quick, data); /* keeps up */
  }
  event_hub_publish(scene.hub, sweep, "last", STR("{}"));
  until(&scene, &quick, "event: last");
  assert_int_equal(times(&slow, "event: "), 2); /* nothing while it is full */
  slow.room = SIZE_MAX;
  event_listener_ready(slow.listener);
  until(&scene, &slow, "event: reset");
  assert_int_equal(times(&slow, "event: reset"), 1);
  event_hub_publish(scene.hub, sweep, "after", STR("{}"));
  until(&scene, &slow, "event: after");
  hang_up(&slow);
  hang_up(&quick);
  end(&scene);
}

static void hints_are_told_once(void **state UNUSED) {
  struct scene scene;
  struct ear ear;
  setup(&scene);
  listen_to(&scene, &ear, sweep, NULL);
  for (int i = 0; i <= 1000; i++) {
    char data[32];
    int n = snprintf(data, sizeof data, "{\"n\":%d}", i);
    event_hub_hint(scene.hub, sweep, "grown", str_n(data, (size_t)n));
  }
  until(&scene, &ear, "{\"n\":1000}");
  assert_int_equal(times(&ear, "event: grown"), 1);
  hang_up(&ear);
  end(&scene);
}

static void the_end_is_told_and_there_is_no_more_room(void **state UNUSED) {
  struct scene scene;
  struct ear ear;
  struct err err;
  struct topic many[EVENT_TOPICS_MAX + 1] = {{0}};
  setup(&scene);
  assert_null(event_listen(scene.hub, many, ARRAY_LEN(many), STR_NONE, take, &ear, &err));
  listen_to(&scene, &ear, sweep, NULL);
  assert_int_equal(event_hub_listeners(scene.hub), 1);
  event_hub_stop(scene.hub);
  assert_true(ear.over);
  assert_int_equal(event_hub_listeners(scene.hub), 0);
  assert_null(event_listen(scene.hub, &sweep, 1, STR_NONE, take, &ear, &err));
  assert_int_equal(err.code, ERR_UNAVAILABLE);
  hang_up(&ear);
  end(&scene);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(topics_are_read),
      cmocka_unit_test(events_come_in_order_to_who_wants_them),
      cmocka_unit_test(a_listener_goes_on_where_it_was),
      cmocka_unit_test(who_is_too_slow_begins_anew),
      cmocka_unit_test(hints_are_told_once),
      cmocka_unit_test(the_end_is_told_and_there_is_no_more_room),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
