#include "tracker/run_writer.h"

#include "base/map.h"
#include "base/mem.h"

enum { WRITES_MAX = 256, LINES_MAX = 16384, BYTES_MAX = 64 * MIB };

enum { REFUSAL_COLUMN = 3 }; /* of run_write_many */

/* Those who write to one run. */
struct run_line {
  struct run_writer *writer;
  struct id run;
  struct pg_gather gather;
  struct list_node node; /* of those that may be empty */
};

struct run_writer {
  struct loop *loop;
  struct pg_pool *pool;
  struct map lines; /* by run */
  size_t bytes;     /* of all that are not answered */
  struct list quiet;
  struct loop_defer tidy;
};

static struct run_words *words_of(struct list_node *node) {
  return LIST_ENTRY(node, struct run_words, item.node);
}

static struct str key_of(const struct id *run) {
  return str_n((const char *)run->bytes, sizeof run->bytes);
}

static void put_one(struct pg_args *args, const struct run_words *words) {
  pg_args_init(args, STMT_RUN_WRITE);
  pg_put_uuid(args, words->run);
  pg_put_jsonb(args, words->params);
  pg_put_jsonb(args, words->tags);
  pg_put_int(args, words->pass);
}

static struct metric_batch batch_of(const struct run_words *words) {
  return words->metrics ? metric_write_batch(words->metrics) : (struct metric_batch){.data = STR("")};
}

static void put_points(struct pg_args *args, const struct list *items) {
  pg_begin_array(args);
  LIST_EACH(items, node)
  pg_put_int(args, batch_of(words_of(node)).attempt);
  pg_end_array(args);
  pg_begin_array(args);
  LIST_EACH(items, node)
  pg_put_int(args, batch_of(words_of(node)).points);
  pg_end_array(args);
  pg_begin_array(args);
  LIST_EACH(items, node)
  pg_put_bytea(args, batch_of(words_of(node)).data);
  pg_end_array(args);
  pg_begin_array(args);
  LIST_EACH(items, node)
  pg_put_jsonb(args, batch_of(words_of(node)).keys);
  pg_end_array(args);
  int64_t keys_max = 0;
  LIST_EACH(items, node)
  keys_max = MAX_OF(keys_max, batch_of(words_of(node)).keys_max);
  pg_put_int(args, keys_max);
}

static bool is_simple(const struct run_words *words) {
  return !words->metrics && !words->removes;
}

static void put_words(struct pg_args *args, const struct list *items) {
  struct run_words *first = words_of(items->first);
  bool is_alone = items->count == 1 && is_simple(first);
  LIST_EACH(items, node)
  words_of(node)->is_alone = is_alone;
  if (is_alone) {
    put_one(args, first);
    return;
  }
  pg_put_uuid(args, first->run);
  pg_begin_array(args);
  LIST_EACH(items, node)
  pg_put_jsonb(args, words_of(node)->params);
  pg_end_array(args);
  pg_begin_array(args);
  LIST_EACH(items, node)
  pg_put_jsonb(args, words_of(node)->tags);
  pg_end_array(args);
  pg_begin_array(args);
  LIST_EACH(items, node)
  pg_put_int(args, words_of(node)->pass);
  pg_end_array(args);
  put_points(args, items);
}

static void free_line(struct run_line *line) {
  map_remove(&line->writer->lines, key_of(&line->run));
  list_remove(&line->node);
  pg_gather_release(&line->gather);
  mem_free(line);
}

static void tidy(void *ctx) {
  struct run_writer *writer = ctx;
  for (struct list_node *node; (node = list_pop_front(&writer->quiet));) {
    struct run_line *line = LIST_ENTRY(node, struct run_line, node);
    if (!line->gather.queue.count && !line->gather.in_flight)
      free_line(line);
  }
}

/* Not here: who tells this still uses the line. */
static void free_line_if_empty(struct run_line *line) {
  struct run_writer *writer = line->writer;
  if (line->gather.queue.count || line->node.list)
    return;
  list_push_back(&writer->quiet, &line->node);
  loop_defer(writer->loop, &writer->tidy, tidy, writer);
}

/* What the reply's row says of it; *ret_refusal is "" when nothing forbids it. */
static bool read_outcome(const struct run_words *words, const struct pg_reply *reply, size_t row, const char **ret_refusal,
                         struct err *err) {
  *ret_refusal = "";
  if (!pg_ok(reply, err)) {
    *ret_refusal = pg_sqlstate(reply);
    return false;
  }
  if (words->is_alone || pg_is_null(reply, row, REFUSAL_COLUMN))
    return true;
  *ret_refusal = pg_text(reply, row, REFUSAL_COLUMN).p;
  return err_set(err, ERR_WRONG_STATE, "the run does not take this (%s)", *ret_refusal);
}

static void on_sent(void *ctx UNUSED, struct pg_gather_item *item, const struct pg_reply *reply, size_t row, const struct err *failed) {
  struct run_words *words = CONTAINER_OF(item, struct run_words, item);
  struct err err, why;
  const char *refusal = "";
  bool ok = reply && read_outcome(words, reply, row, &refusal, &err);
  if (!reply)
    err = *failed;
  words->line->writer->bytes -= item->bytes;
  free_line_if_empty(words->line);
  if (words->metrics && !metric_write_done_at(words->metrics, reply, row, &why) && ok) {
    err = why;
    ok = false;
  }
  words->done(words->ctx, refusal, ok ? NULL : &err);
}

struct run_writer *run_writer_new(struct loop *loop, struct pg_pool *pool, struct err *err) {
  struct run_writer *writer = mem_zalloc(sizeof *writer);
  if (!writer) {
    err_no_memory(err);
    return NULL;
  }
  writer->loop = loop;
  writer->pool = pool;
  map_init(&writer->lines, LINES_MAX);
  return writer;
}

static struct run_line *line_new(struct run_writer *writer, struct id run, struct err *err) {
  struct run_line *line = mem_zalloc(sizeof *line);
  struct pg_gather_conf conf = {
      .stmt = STMT_RUN_WRITE_MANY, .rows_max = WRITES_MAX, .bytes_max = 4 * MIB, .in_turn = true, .put = put_words, .done = on_sent};
  if (!line) {
    err_no_memory(err);
    return NULL;
  }
  line->writer = writer;
  line->run = run;
  if (!map_put(&writer->lines, key_of(&run), line, NULL)) {
    err_set(err, ERR_OVERLOADED, "params and tags of %zu runs are being written already", writer->lines.count);
    mem_free(line);
    return NULL;
  }
  if (pg_gather_init(&line->gather, writer->loop, writer->pool, &conf, err))
    return line;
  free_line(line);
  return NULL;
}

bool run_writer_add(struct run_writer *writer, struct run_words *words, struct err *err) {
  if (writer->bytes > BYTES_MAX)
    return err_set(err, ERR_OVERLOADED, "%zu bytes of params and tags are being written already", writer->bytes);
  struct run_line *line = map_get(&writer->lines, key_of(&words->run));
  if (!line)
    line = line_new(writer, words->run, err);
  if (!line)
    return false;
  words->line = line;
  words->item.rows = 1;
  words->item.bytes = words->params.n + words->tags.n + batch_of(words).data.n + batch_of(words).keys.n;
  writer->bytes += words->item.bytes;
  pg_gather_add(&line->gather, &words->item);
  return true;
}

void run_writer_free(struct run_writer *writer) {
  if (!writer)
    return;
  struct err err;
  struct str key;
  void *value;
  err_set(&err, ERR_UNAVAILABLE, "the service is stopping");
  for (size_t i = 0; map_next(&writer->lines, &i, &key, &value);)
    pg_gather_stop(&((struct run_line *)value)->gather, &err);
  loop_defer_cancel(&writer->tidy);
  for (size_t i = 0; map_next(&writer->lines, &i, &key, &value); i = 0)
    free_line(value);
  map_release(&writer->lines);
  mem_free(writer);
}
