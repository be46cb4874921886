#include "storage/pg/pg_gather.h"

enum { PATIENCE_MS = 2 };

static void send_groups(void *ctx);
static void lose_patience(void *ctx);

static struct pg_gather_item *item_of(struct list_node *node) {
  return LIST_ENTRY(node, struct pg_gather_item, node);
}

bool pg_gather_init(struct pg_gather *gather, struct loop *loop, struct pg_pool *pool, const struct pg_gather_conf *conf, struct err *err) {
  *gather = (struct pg_gather){.loop = loop, .pool = pool, .conf = *conf};
  for (size_t i = 0; i < PG_GATHER_MANY; i++)
    gather->flights[i].gather = gather;
  if (conf->in_turn)
    return true;
  gather->patience = loop_timer_new(loop, lose_patience, gather);
  return gather->patience || err_no_memory(err);
}

static bool is_worth_a_statement(const struct pg_gather *gather) {
  return !gather->conf.in_turn && gather->waiting_bytes >= gather->conf.enough;
}

static void fail_items(struct pg_gather *gather, struct list *items, const struct err *err) {
  for (struct list_node *node; (node = list_pop_front(items));)
    gather->conf.done(gather->conf.ctx, item_of(node), NULL, 0, err);
}

static void group_ended(struct pg_gather_group *group) {
  struct pg_gather *gather = group->gather;
  group->busy = false;
  gather->in_flight--;
  if (gather->queue.first && gather->pool)
    loop_defer(gather->loop, &gather->send, send_groups, gather);
}

/* Nothing of it has happened: back to the front of the queue, in their order. */
static void part_group(struct pg_gather_group *group) {
  struct pg_gather *gather = group->gather;
  while (group->items.last) {
    struct pg_gather_item *item = item_of(group->items.last);
    list_remove(&item->node);
    item->alone = true;
    list_push_front(&gather->queue, &item->node);
    gather->waiting_bytes += item->bytes;
  }
}

static void on_group(void *ctx, const struct pg_reply *reply) {
  struct pg_gather_group *group = ctx;
  struct pg_gather *gather = group->gather;
  size_t row = 0;
  if (pg_outcome(reply) == PG_REJECTED && group->items.count > 1 && gather->pool)
    part_group(group);
  for (struct list_node *node; (node = list_pop_front(&group->items));) {
    size_t rows = item_of(node)->rows;
    gather->conf.done(gather->conf.ctx, item_of(node), reply, row, NULL);
    row += rows;
  }
  group_ended(group);
}

/* Told at the end of the turn, for who added an item may not have returned yet. */
static void group_refused(void *ctx) {
  struct pg_gather_group *group = ctx;
  bool is_fault = group->err.code == ERR_INVALID || group->err.code == ERR_TOO_LARGE; /* of one of them, maybe */
  group->is_refused = false;
  if (is_fault && group->items.count > 1 && group->gather->pool)
    part_group(group);
  fail_items(group->gather, &group->items, &group->err);
  group_ended(group);
}

static struct pg_gather_group *idle_group(struct pg_gather *gather) {
  for (size_t i = 0; i < PG_GATHER_MANY; i++)
    if (!gather->flights[i].busy)
      return &gather->flights[i];
  return NULL;
}

static void fill_group(struct pg_gather *gather, struct list *items) {
  size_t rows = 0, bytes = 0;
  while (gather->queue.first) {
    struct pg_gather_item *item = item_of(gather->queue.first);
    bool fits = rows + item->rows <= gather->conf.rows_max && bytes + item->bytes <= gather->conf.bytes_max;
    if (items->first && (!fits || item->alone))
      break;
    list_remove(&item->node);
    list_push_back(items, &item->node);
    rows += item->rows;
    bytes += item->bytes;
    if (item->alone)
      break;
  }
  gather->waiting_bytes -= bytes;
}

static void send_group(struct pg_gather *gather, struct pg_gather_group *group) {
  group->busy = true;
  gather->groups++;
  gather->in_flight++;
  fill_group(gather, &group->items);
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, gather->conf.stmt);
  gather->conf.put(&args, &group->items);
  group->is_refused = !pg_run(gather->pool, &args, gather->conf.timeout_ms, on_group, group, &group->err);
  if (group->is_refused)
    loop_defer(gather->loop, &group->refused, group_refused, group);
}

static void send_groups(void *ctx) {
  struct pg_gather *gather = ctx;
  size_t most = is_worth_a_statement(gather) ? PG_GATHER_MANY : 1;
  while (gather->queue.first && gather->in_flight < most)
    send_group(gather, idle_group(gather));
  if (gather->queue.first && gather->patience && !loop_timer_is_on(gather->patience))
    loop_timer_start(gather->patience, PATIENCE_MS);
}

static void lose_patience(void *ctx) {
  struct pg_gather *gather = ctx;
  if (gather->queue.first && gather->in_flight < PG_GATHER_MANY)
    send_group(gather, idle_group(gather));
  send_groups(gather);
}

void pg_gather_add(struct pg_gather *gather, struct pg_gather_item *item) {
  item->alone = false;
  list_push_back(&gather->queue, &item->node);
  gather->waiting_bytes += item->bytes;
  /* At the end of the turn, so that all items of this turn share the statement; but a statement that is worth it goes at once, so that the
   * database works while further items are made. */
  if (is_worth_a_statement(gather) && gather->in_flight < PG_GATHER_MANY)
    send_group(gather, idle_group(gather));
  else
    loop_defer(gather->loop, &gather->send, send_groups, gather);
}

void pg_gather_stop(struct pg_gather *gather, const struct err *err) {
  gather->pool = NULL;
  if (gather->patience)
    loop_timer_stop(gather->patience);
  loop_defer_cancel(&gather->send);
  gather->waiting_bytes = 0;
  for (size_t i = 0; i < PG_GATHER_MANY; i++)
    if (gather->flights[i].is_refused) {
      loop_defer_cancel(&gather->flights[i].refused);
      group_refused(&gather->flights[i]);
    }
  fail_items(gather, &gather->queue, err);
}

void pg_gather_release(struct pg_gather *gather) {
  loop_defer_cancel(&gather->send);
  loop_timer_free(gather->patience);
  gather->patience = NULL;
}
