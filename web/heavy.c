#include "web/heavy.h"

#include "web/app.h"
#include "web/http/http_reply.h"

enum {
  AT_ONCE = 3, /* at most: below the connections that the pool keeps open, so that the statements of others find one that is free */
  WAITING_MAX = 64,
};

void heavy_reply_too_long(const struct heavy_turn *turn) {
  struct err err;
  err_set(&err, ERR_DEADLINE, "the search took more than %d s", SEARCH_TIMEOUT_MS / 1000);
  err_hint(&err, "%s", turn->hint);
  http_reply_error(turn->req, &err);
}

bool heavy_was_too_long(const struct heavy_turn *turn, const struct pg_reply *reply) {
  return turn->until_ms && pg_outcome(reply) == PG_CANCELLED && pg_err(reply)->code == ERR_DEADLINE;
}

int64_t heavy_left_ms(const struct heavy_turn *turn) {
  return turn->until_ms ? MAX_OF(turn->until_ms - loop_now_ms(web_app(turn->req)->loop), INT64_C(1)) : 0;
}

static bool run_now(struct heavy_turn *turn, struct err *err) {
  struct web_app *app = web_app(turn->req);
  if (!turn->run(turn->ctx, heavy_left_ms(turn), err))
    return false;
  turn->has_turn = true;
  app->heavy.running++;
  return true;
}

static bool is_free(const struct web_app *app) {
  return app->heavy.running == 0 || (app->heavy.running < AT_ONCE && app->heavy.running + 1 < pg_pool_stats(app->pg).connections_max);
}

static void run_waiting(struct heavy_turn *turn) {
  struct err err;
  if (http_req_is_gone(turn->req))
    http_reply_drop(turn->req);
  else if (turn->until_ms <= loop_now_ms(web_app(turn->req)->loop))
    heavy_reply_too_long(turn);
  else if (!run_now(turn, &err))
    http_reply_error(turn->req, &err);
}

void heavy_end(struct heavy_turn *turn) {
  struct web_app *app = web_app(turn->req);
  if (!turn->has_turn)
    return;
  turn->has_turn = false;
  app->heavy.running--;
  while (is_free(app) && app->heavy.waiting.first)
    run_waiting(LIST_ENTRY(list_pop_front(&app->heavy.waiting), struct heavy_turn, node));
}

static void drop_gone(struct list *waiting) {
  for (size_t n = waiting->count; n > 0; n--) {
    struct heavy_turn *turn = LIST_ENTRY(list_pop_front(waiting), struct heavy_turn, node);
    if (http_req_is_gone(turn->req))
      http_reply_drop(turn->req);
    else
      list_push_back(waiting, &turn->node);
  }
}

bool heavy_take(struct heavy_turn *turn, struct err *err) {
  struct web_app *app = web_app(turn->req);
  bool again = turn->until_ms != 0;
  if (!again)
    turn->until_ms = loop_now_ms(app->loop) + SEARCH_TIMEOUT_MS;
  if (again && turn->until_ms <= loop_now_ms(app->loop)) {
    heavy_reply_too_long(turn);
    return true;
  }
  if (is_free(app))
    return run_now(turn, err);
  if (again) {
    list_push_front(&app->heavy.waiting, &turn->node);
    return true;
  }
  drop_gone(&app->heavy.waiting);
  if (app->heavy.waiting.count >= WAITING_MAX) {
    err_set(err, ERR_OVERLOADED, "%d searches that take long are waiting already", WAITING_MAX);
    return err_hint(err, "%s", turn->hint);
  }
  list_push_back(&app->heavy.waiting, &turn->node);
  return true;
}
