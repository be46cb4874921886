#include "storage/metrics/metric_inside.h"

void live_run_set_dirty(struct metric_store *store, struct live_run *run, bool is_dirty) {
  if (is_dirty && !run->is_dirty) {
    list_push_back(&store->dirty, &run->dirty_node);
    if (!run->is_writing)
      run->dirty_ms = loop_now_ms(store->loop);
  } else if (!is_dirty) {
    list_remove(&run->dirty_node);
  }
  run->is_dirty = is_dirty;
}

void live_run_drop_series(struct metric_store *store, struct live_run *run) {
  size_t i = 0;
  struct str key;
  void *series;
  store->stats.live_series -= run->series.count;
  while (map_next(&run->series, &i, &key, &series))
    mem_free(series);
  map_release(&run->series);
  map_init(&run->series, SIZE_MAX / 2);
  run->is_known = false;
}

static void drop_arrived(struct live_run *run) {
  for (struct list_node *node; (node = list_pop_front(&run->arrived));)
    metric_write_free(LIST_ENTRY(node, struct metric_write, item.node));
}

static struct str name_of(const struct id *id) {
  return str_n((const char *)id, sizeof *id);
}

static void drop_run(struct metric_store *store, struct live_run *run) {
  live_run_drop_series(store, run);
  map_release(&run->series);
  drop_arrived(run);
  live_run_set_dirty(store, run, false);
  store->stats.unsealed_points -= run->fresh_points;
  list_remove(&run->node);
  list_remove(&run->unsealed_node);
  map_remove(&store->runs, name_of(&run->id));
  mem_free(run);
}

bool live_run_is_written(const struct live_run *run) {
  return !run->is_dirty && !run->is_writing && !run->is_loading;
}

static bool at_rest(const struct live_run *run) {
  return live_run_is_written(run) && !run->is_sealing && run->fresh_rows == 0;
}

/* Forgets what was not used for longest, as far as it may be forgotten: of a run with unsealed points only its values. */
void live_runs_make_room(struct metric_store *store) {
  LIST_EACH(&store->by_use, node) {
    if (store->stats.live_series <= store->conf.live_series_max && store->runs.count <= store->conf.live_series_max)
      return;
    struct live_run *run = LIST_ENTRY(node, struct live_run, node);
    if (at_rest(run)) {
      drop_run(store, run);
    } else if (live_run_is_written(run)) {
      live_run_drop_series(store, run);
      list_remove(&run->node);
      list_push_back(&store->bare, &run->node);
    }
  }
}

void live_run_rested(struct metric_store *store, struct live_run *run) {
  if (run->node.list == &store->bare && at_rest(run))
    drop_run(store, run);
}

struct live_run *live_run_find(const struct metric_store *store, struct id id) {
  return map_get(&store->runs, name_of(&id));
}

struct live_run *live_run_get(struct metric_store *store, struct id id) {
  struct live_run *run = live_run_find(store, id);
  if (run) {
    list_remove(&run->node);
    list_push_back(&store->by_use, &run->node);
    return run;
  }
  run = mem_zalloc(sizeof *run);
  if (!run || !map_put(&store->runs, name_of(&id), run, NULL)) {
    mem_free(run);
    return NULL;
  }
  run->id = id;
  map_init(&run->series, SIZE_MAX / 2);
  list_push_back(&store->by_use, &run->node);
  return run;
}

void live_runs_release(struct metric_store *store) {
  for (struct list_node *node; (node = store->by_use.first ? store->by_use.first : store->bare.first);)
    drop_run(store, LIST_ENTRY(node, struct live_run, node));
}

struct live_series *live_series_get(struct metric_store *store, struct live_run *run, struct str key) {
  struct live_series *series = map_get(&run->series, key);
  if (series)
    return series;
  series = mem_zalloc(sizeof *series);
  if (!series || !map_put(&run->series, key, series, NULL)) {
    mem_free(series);
    return NULL;
  }
  store->stats.live_series++;
  return series;
}

void live_run_queue(struct metric_store *store, struct live_run *run) {
  run->queued_ms = loop_now_ms(store->loop);
  list_remove(&run->unsealed_node);
  if (run->fresh_rows && !run->is_sealing)
    list_push_back(&store->unsealed, &run->unsealed_node);
}
