#include "web/api/run_sources.h"

#include "sweeper/file/sweep_sources.h"
#include "tracker/logs/file_reader.h"
#include "tracker/logs/log_store.h"
#include "tracker/run_state.h"

void run_sources_ask(struct pg_batch *batch, struct id run) {
  struct pg_args *args = pg_batch_add(batch, STMT_LOG_STREAM_INFO);
  pg_put_uuid(args, run);
  pg_put_int(args, 0);
  pg_put_uuid(pg_batch_add(batch, STMT_LOG_FILES), run);
  pg_put_uuid(pg_batch_add(batch, STMT_RUN_METRICS_FROM), run);
}

static void put_streams(const struct pg_reply *streams, struct json_writer *w) {
  for (size_t i = 0; i < pg_rows(streams) && pg_int(streams, i, 0) == pg_int(streams, 0, 0); i++) {
    AUTO_BUF struct buf summary = BUF_INIT(4 * KIB);
    buf_add_str(&summary, pg_text(streams, i, 3));
    if (pg_int(streams, i, 4) > 0)
      jw_put_text(w, pg_int(streams, i, 1) == LOG_STDERR ? "stderr" : "stdout", buf_text(&summary));
  }
}

/* Lines and records that could not be read. Its reader knows, and its reader is what is stored of a file. */
static uint64_t bad_records(const struct metric_sources *sources, size_t source, struct str state) {
  struct err ignored;
  struct file_reader *reader = file_reader_new(sources, source, &ignored);
  uint64_t bad = reader && file_reader_restore(reader, state, &ignored) ? file_reader_bad(reader) : 0;
  file_reader_free(reader);
  return bad;
}

static void put_file(const struct metric_sources *sources, const struct pg_reply *files, size_t row, struct json_writer *w) {
  AUTO_BUF struct buf path = BUF_INIT(8 * KIB), text = BUF_INIT(KIB);
  size_t source = (size_t)pg_int(files, row, 0);
  uint64_t bad = bad_records(sources, source, pg_bytea(files, row, 3));
  buf_add_str(&path, pg_text(files, row, 1));
  buf_printf(&text, "%s, %lld bytes", source_format_name(metric_sources_at(sources, source)->format), (long long)pg_int(files, row, 2));
  if (bad)
    buf_printf(&text, ", %llu bad record%s", (unsigned long long)bad, bad == 1 ? "" : "s");
  jw_put_text(w, buf_text(&path), buf_text(&text));
}

static void put_files(const struct run_row *run, const struct metric_sources *sources, const struct pg_reply *files,
                      struct json_writer *w) {
  for (size_t i = 0; i < metric_sources_count(sources); i++) {
    const char *glob = metric_sources_at(sources, i)->file;
    bool found = false;
    for (size_t row = 0; glob && row < pg_rows(files); row++)
      if ((size_t)pg_int(files, row, 0) == i) {
        put_file(sources, files, row, w);
        found = true;
      }
    if (glob && !found)
      jw_put_text(w, glob, run_state_is_final(run->state) ? "there was no such file" : "not there yet");
  }
}

void run_sources_put(const struct run_row *run, const struct pg_reply *reply, size_t first, struct json_writer *w) {
  const struct pg_reply *wanted = pg_nth(reply, first + 2);
  AUTO_BUF struct buf list = BUF_INIT(4 * MIB);
  struct metric_sources *sources = NULL;
  struct err ignored;
  jw_key(w, "recognised");
  jw_object(w);
  put_streams(pg_nth(reply, first), w);
  if (pg_rows(wanted) && !pg_is_null(wanted, 0, 0)) {
    buf_printf(&list, "{\"metrics_from\": %.*s}", STR_ARG(pg_text(wanted, 0, 0)));
    if (sweep_sources_read_all(buf_str(&list), &sources, &ignored) && sources)
      put_files(run, sources, pg_nth(reply, first + 1), w);
    metric_sources_unref(sources);
  }
  jw_object_end(w);
}
