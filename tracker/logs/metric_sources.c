#include "tracker/logs/metric_sources.h"

#include <ctype.h>

#include "base/arena.h"
#include "base/mem.h"

struct metric_sources {
  struct arena arena;
  size_t users;
  struct metric_source *items;
  size_t count;
  bool no_builtin;
};

static const char *const format_names[SOURCE_FORMAT_COUNT] = {"json", "csv", "tfevents", "text"};

const char *source_format_name(enum source_format format) {
  return format_names[format];
}

/* "NAME = 0.5", "NAME 0.5", "NAME value was 0.5": not as a part of another name. */
static const char *pattern_of_name(struct arena *arena, struct str name) {
  AUTO_BUF struct buf text = BUF_INIT(4 * KIB);
  buf_puts(&text, "(?<![\\w./-])");
  for (size_t i = 0; i < name.n; i++)
    buf_printf(&text, isalnum((unsigned char)name.p[i]) || (name.p[i] & 0x80) ? "%c" : "\\%c", name.p[i]);
  buf_puts(&text, "(?![\\w./-])[\"'`]?(?:\\s+(?:value|score|mean|avg|is|was|of|now))*(?:\\s*[:=]+\\s*|\\s+)"
                  "(?<value>[-+]?(?:(?:\\d+\\.?\\d*|\\.\\d+)(?:[eE][-+]?\\d+)?|(?i:nan|inf(?:inity)?)))(?![\\w/:-]|\\.\\w)");
  return buf_ok(&text, &(struct err){0}) ? arena_strdup(arena, buf_str(&text)) : NULL;
}

static bool copy(struct arena *arena, const char **text) {
  return !*text || (*text = arena_strdup(arena, str_of(*text)));
}

struct metric_sources *metric_sources_new(const struct metric_source *items, size_t count, bool no_builtin, struct err *err) {
  if (count > METRIC_SOURCES_MAX) {
    err_set(err, ERR_TOO_LARGE, "there are %zu sources of metrics; at most %d are allowed", count, METRIC_SOURCES_MAX);
    return NULL;
  }
  struct metric_sources *sources = mem_zalloc(sizeof *sources);
  bool ok = sources != NULL;
  if (ok) {
    arena_init(&sources->arena, MIB);
    sources->items = ARENA_NEW_ARRAY(&sources->arena, struct metric_source, count + 1);
    sources->users = 1;
    sources->no_builtin = no_builtin;
    ok = sources->items != NULL;
  }
  for (size_t i = 0; ok && i < count; i++) {
    struct metric_source *item = &sources->items[sources->count++];
    *item = items[i];
    ok = copy(&sources->arena, &item->file) && copy(&sources->arena, &item->pattern) && copy(&sources->arena, &item->key) &&
         copy(&sources->arena, &item->prefix);
    if (ok && item->wanted)
      ok = (item->pattern = pattern_of_name(&sources->arena, str_of(item->key))) != NULL;
  }
  if (ok)
    return sources;
  err_no_memory(err);
  metric_sources_unref(sources);
  return NULL;
}

struct metric_sources *metric_sources_ref(struct metric_sources *sources) {
  if (sources)
    sources->users++;
  return sources;
}

void metric_sources_unref(struct metric_sources *sources) {
  if (!sources || --sources->users)
    return;
  arena_release(&sources->arena);
  mem_free(sources);
}

size_t metric_sources_count(const struct metric_sources *sources) {
  return sources ? sources->count : 0;
}

const struct metric_source *metric_sources_at(const struct metric_sources *sources, size_t i) {
  return &sources->items[i];
}

bool metric_sources_no_builtin(const struct metric_sources *sources) {
  return sources && sources->no_builtin;
}

static struct log_pattern_spec spec_of(const struct metric_source *item) {
  return (struct log_pattern_spec){.pattern = item->pattern, .key = item->key, .prefix = item->prefix};
}

void metric_sources_of_stream(const struct metric_sources *sources, size_t stream, struct log_pattern_spec specs[METRIC_SOURCES_MAX],
                              struct log_metrics_options *ret) {
  *ret = (struct log_metrics_options){.no_builtin = metric_sources_no_builtin(sources), .patterns = specs};
  for (size_t i = 0; i < metric_sources_count(sources); i++) {
    const struct metric_source *item = &sources->items[i];
    if (!item->file && item->pattern && item->streams[stream]) {
      specs[ret->pattern_count++] = spec_of(item);
      ret->wanted_count += item->wanted;
    }
  }
}

void metric_sources_of_file(const struct metric_sources *sources, size_t i, struct log_pattern_spec *spec,
                            struct log_metrics_options *ret) {
  const struct metric_source *item = &sources->items[i];
  *ret = (struct log_metrics_options){.no_builtin = sources->no_builtin || item->pattern, .patterns = spec};
  if (item->pattern) {
    *spec = spec_of(item);
    ret->pattern_count = 1;
  }
}
