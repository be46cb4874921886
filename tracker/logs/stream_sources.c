#include "tracker/logs/stream_sources.h"

#include "base/json.h"

/* ---- writing ---- */

static void put_pattern(struct json_writer *w, const struct metric_source *item) {
  jw_object(w);
  jw_put_text(w, "pattern", item->pattern);
  if (item->key)
    jw_put_text(w, "key", item->key);
  if (item->prefix)
    jw_put_text(w, "prefix", item->prefix);
  jw_object_end(w);
}

/* Those that are wanted are told by their names, the others by their patterns. */
static void put_items(const struct metric_sources *sources, size_t stream, bool wanted, struct json_writer *w) {
  bool begun = false;
  for (size_t i = 0; i < metric_sources_count(sources); i++) {
    const struct metric_source *item = metric_sources_at(sources, i);
    if (item->file || !item->pattern || !item->streams[stream] || item->wanted != wanted)
      continue;
    if (!begun) {
      jw_key(w, wanted ? "wanted" : "patterns");
      jw_array(w);
    }
    begun = true;
    if (wanted)
      jw_text(w, item->key);
    else
      put_pattern(w, item);
  }
  if (begun)
    jw_array_end(w);
}

void stream_sources_put(const struct metric_sources *sources, size_t stream, struct buf *out) {
  struct json_writer w;
  jw_init(&w, out);
  jw_object(&w);
  if (metric_sources_no_builtin(sources))
    jw_put_bool(&w, "builtin", false);
  put_items(sources, stream, false, &w);
  put_items(sources, stream, true, &w);
  jw_object_end(&w);
}

/* ---- reading ---- */

struct stored {
  const json_t *patterns, *wanted;
  bool builtin, has_builtin;
};
static const struct json_field stored_fields[] = {
    {.name = "patterns", .type = JSON_F_ARRAY, .offset = offsetof(struct stored, patterns), .max = METRIC_SOURCES_MAX},
    {.name = "wanted", .type = JSON_F_ARRAY, .offset = offsetof(struct stored, wanted), .max = METRIC_SOURCES_MAX},
    {.name = "builtin",
     .type = JSON_F_BOOL,
     .offset = offsetof(struct stored, builtin),
     .present_at = offsetof(struct stored, has_builtin)},
};

struct stored_pattern {
  struct str pattern, key, prefix;
};
static const struct json_field pattern_fields[] = {
    {.name = "pattern", .type = JSON_F_STR, .offset = offsetof(struct stored_pattern, pattern), .required = true},
    {.name = "key", .type = JSON_F_STR, .offset = offsetof(struct stored_pattern, key)},
    {.name = "prefix", .type = JSON_F_STR, .offset = offsetof(struct stored_pattern, prefix)},
};

/* Strings of the tree end with a NUL. */
static bool read_items(const struct stored *stored, struct metric_source *items, size_t *count, struct err *err) {
  size_t patterns = json_array_size(stored->patterns), wanted = json_array_size(stored->wanted);
  if (patterns + wanted > METRIC_SOURCES_MAX)
    return err_set(err, ERR_TOO_LARGE, "there are too many patterns");
  for (size_t i = 0; i < patterns; i++) {
    struct stored_pattern p = {.pattern = STR_NONE, .key = STR_NONE, .prefix = STR_NONE};
    if (!json_decode(json_array_get(stored->patterns, i), pattern_fields, ARRAY_LEN(pattern_fields), "patterns", &p, err))
      return false;
    items[(*count)++] = (struct metric_source){.streams = {true, true}, .pattern = p.pattern.p, .key = p.key.p, .prefix = p.prefix.p};
  }
  for (size_t i = 0; i < wanted; i++) {
    struct str name = json_str(json_array_get(stored->wanted, i));
    if (!name.p)
      return err_set(err, ERR_INVALID, "a name was expected");
    items[(*count)++] = (struct metric_source){.streams = {true, true}, .key = name.p, .wanted = true};
  }
  return true;
}

bool stream_sources_read(struct str text, struct metric_sources **ret, struct err *err) {
  AUTO_JSON json_t *tree = NULL;
  struct metric_source items[METRIC_SOURCES_MAX];
  struct stored stored = {.patterns = NULL, .builtin = true};
  size_t count = 0;
  *ret = NULL;
  if (!json_read(text, &tree, err) || !json_decode(tree, stored_fields, ARRAY_LEN(stored_fields), "", &stored, err) ||
      !read_items(&stored, items, &count, err))
    return false;
  if (!count && stored.builtin)
    return true;
  *ret = metric_sources_new(items, count, !stored.builtin, err);
  return *ret != NULL;
}
