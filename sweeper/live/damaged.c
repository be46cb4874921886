/* Sweeps that rest because a row of theirs cannot be read: one such row keeps neither the service nor other sweeps from their work, and
 * what is wrong is shown with the sweep, until somebody mends it. */
#include "base/log.h"
#include "base/mem.h"
#include "sweeper/live/live.h"
#include "sweeper/machine/code_store.h"

struct damaged_sweep {
  struct list_node node;
  struct id id;
  int64_t experiment_id, created;
  int64_t state; /* as the row has it */
  char *name, *why;
  struct live_sweep *live; /* what could be read; NULL: not even its file */
  bool all_listed;         /* it is known what runs it has */
};

static void damaged_free(struct damaged_sweep *d) {
  list_remove(&d->node);
  if (d->live)
    sweeps_drop(d->live);
  mem_free(d->name);
  mem_free(d->why);
  mem_free(d);
}

void damaged_forget_all(struct sweeps *s) {
  while (s->damaged.first)
    damaged_free(LIST_ENTRY(s->damaged.first, struct damaged_sweep, node));
}

/* What may be otherwise at the next start is no damage. */
static void put_why(const char *what, const struct err *why, bool single, struct buf *text) {
  bool passes = err_info(why->code)->retryable;
  buf_printf(text, passes ? "%s could not be taken up: %s. " : "damaged: %s: %s. ", what, why->text);
  buf_puts(text, "It rests, and nothing of it was changed: ");
  buf_puts(text, passes ? "start the service again" : "mend the row or restore a backup, and start the service again; or ");
  if (!passes)
    buf_puts(text, single ? "launch it again" : "begin anew with `winnow sweep clone` and delete this one");
}

static struct damaged_sweep *add(struct sweeps *s, struct id id, struct str name, bool single, const char *what, const struct err *why) {
  AUTO_BUF struct buf text = BUF_INIT(4 * KIB);
  put_why(what, why, single, &text);
  log_error("sweep", NULL, "%.*s: %s", STR_ARG(name), buf_text(&text));
  struct damaged_sweep *d = mem_zalloc(sizeof *d);
  if (!d)
    return NULL;
  *d = (struct damaged_sweep){.id = id, .name = mem_strndup(name.p ? name.p : "", name.n), .why = mem_strdup(buf_text(&text))};
  list_push_back(&s->damaged, &d->node);
  if (d->name && d->why)
    return d;
  damaged_free(d);
  return NULL;
}

void damaged_note(struct sweeps *s, const struct pg_reply *reply, size_t row, const struct err *why) {
  char what[ID_HEX_LEN + 40], id[ID_HEX_LEN + 1];
  id_format(pg_uuid(reply, row, 0), id);
  snprintf(what, sizeof what, "its row (table sweep, id %s)", id);
  struct damaged_sweep *d = add(s, pg_uuid(reply, row, 0), pg_text(reply, row, 10), pg_bool(reply, row, 15), what, why);
  if (!d)
    return;
  d->experiment_id = pg_int(reply, row, 1);
  d->created = pg_int(reply, row, 2);
  d->state = pg_int(reply, row, 7);
}

void damaged_note_live(struct live_sweep *live, const struct err *why, bool all_listed) {
  struct sweeps *s = live->all;
  struct damaged_sweep *d = add(s, live->id, str_of(live->name), live->single, live->single ? "its row" : "a row of its trials", why);
  if (!d) {
    sweeps_unlist(live);
    return;
  }
  sweeps_take_out(live);
  d->live = live;
  d->all_listed = all_listed;
  live->damage = d->why;
}

const struct damaged_sweep *sweeps_damaged(const struct sweeps *s, struct id sweep) {
  LIST_EACH(&s->damaged, node)
  if (id_eq(LIST_ENTRY(node, struct damaged_sweep, node)->id, sweep))
    return LIST_ENTRY(node, struct damaged_sweep, node);
  return NULL;
}

void damaged_forget(struct sweeps *s, struct id sweep) {
  LIST_EACH(&s->damaged, node) {
    struct damaged_sweep *d = LIST_ENTRY(node, struct damaged_sweep, node);
    if (id_eq(d->id, sweep))
      damaged_free(d);
  }
}

bool damaged_refuse(const struct damaged_sweep *d, struct err *err) {
  return err_set(err, ERR_WRONG_STATE, "%s", d->why);
}

const char *sweeps_rest_reason(const struct sweeps *s, struct id run) {
  struct id *id = id_map_get(&s->by_run, run);
  const struct damaged_sweep *single = sweeps_damaged(s, run);
  return id ? CONTAINER_OF(id, struct live_trial, run)->sweep->damage : single ? single->why : NULL;
}

bool sweeps_may_rest(const struct sweeps *s, struct id run) {
  struct id *id = id_map_get(&s->by_run, run);
  if (id)
    return CONTAINER_OF(id, struct live_trial, run)->sweep->damage != NULL;
  LIST_EACH(&s->damaged, node)
  if (!LIST_ENTRY(node, struct damaged_sweep, node)->all_listed)
    return true;
  return false;
}

bool damaged_names_code(const struct sweeps *s, const char *sha256) {
  char named[DIGEST_HEX + 1];
  LIST_EACH(&s->damaged, node) {
    const struct live_sweep *live = LIST_ENTRY(node, struct damaged_sweep, node)->live;
    if (!live || (code_digest_read(live->file->spec.workdir, named) && strcmp(named, sha256) == 0))
      return true;
  }
  return false;
}

void damaged_put(const struct damaged_sweep *d, struct json_writer *w) {
  static const char *const unknown[] = {"metric", "method", "sampler", "run_cap", "max_parallel", "priority", "notes", "progress", "best"};
  char id[ID_HEX_LEN + 1], experiment[24];
  if (d->live) {
    live_put_sweep(d->live, w);
    return;
  }
  id_format(d->id, id);
  snprintf(experiment, sizeof experiment, "%lld", (long long)d->experiment_id);
  jw_object(w);
  jw_put_text(w, "id", id);
  jw_put_text(w, "name", d->name);
  jw_put_text(w, "experiment_id", experiment);
  jw_put_text(w, "state", sweep_state_text((int)d->state));
  jw_put_text(w, "state_reason", d->why);
  for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
    jw_put_null(w, unknown[i]);
  jw_put_null(w, "slot_seconds");
  jw_put_i64(w, "created", d->created);
  jw_put_null(w, "started");
  jw_put_null(w, "ended");
  jw_put_null(w, "eta");
  jw_put_null(w, "spec");
  jw_key(w, "registered");
  jw_raw(w, STR("[]"));
  jw_key(w, "warnings");
  jw_raw(w, STR("[]"));
  jw_object_end(w);
}
