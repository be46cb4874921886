#include "sweeper/file/sweep_sources.h"
#include "sweeper/rules/stop.h"
#include "tracker/names.h"

enum { STREAM_STDOUT, STREAM_STDERR, STREAM_BOTH };

#define SOURCE(field) .offset = offsetof(struct sweep_metrics_source, field)
#define HAS(field) .given_at = offsetof(struct sweep_metrics_source, field)

static const char *const streams[] = {"stdout", "stderr", "both", NULL};
static const char *const file_formats[] = {"json", "csv", "tfevents", "text", NULL};
static const char *const whens[] = {"always", "end", NULL};

static const struct spec_row source_rows[] = {
    {"stream", SPEC_CHOICE, SOURCE(stream), HAS(has_stream), .choices = streams, .help = "the stream a pattern reads"},
    {"file", SPEC_TEXT, SOURCE(file), .max = 4000, .help = "a file or glob, relative to the directory the command runs in"},
    {"pattern", SPEC_TEXT, SOURCE(pattern), .max = 4000,
     .help = "a regular expression; the groups name, value, step, epoch, time are reserved, every other group is a metric"},
    {"format", SPEC_CHOICE, SOURCE(format), HAS(has_format), .choices = file_formats, .help = "what the file holds"},
    {"key", SPEC_TEXT, SOURCE(key), .max = 500, .help = "the metric's name, for a pattern whose value has no name"},
    {"prefix", SPEC_TEXT, SOURCE(prefix), .max = 500, .help = "put before every name"},
    {"when", SPEC_CHOICE, SOURCE(when), .default_text = "always", .choices = whens,
     .help = "read as it grows, or once when the attempt ends"},
    {"builtin", SPEC_BOOL, SOURCE(builtin), HAS(has_builtin), .help = "false switches the built-in patterns off"},
};
const struct spec_table sweep_source_table = {"metrics_from", source_rows, ARRAY_LEN(source_rows), sizeof(struct sweep_metrics_source)};

/* The list by itself, as reparse takes it. */
struct sweep_list {
  struct spec_objects sources;
};
static const struct spec_row list_rows[] = {
    {"metrics_from", SPEC_OBJECTS, .offset = offsetof(struct sweep_list, sources), .min = 0, .max = METRIC_SOURCES_MAX,
     .sub = &sweep_source_table, .help = "where metrics are read; none: both streams with the built-in patterns"},
};
static const struct spec_table list_table = {"reparse", list_rows, ARRAY_LEN(list_rows), sizeof(struct sweep_list)};

static void complain(struct spec_problems *errors, const struct ynode *node, const char *path, const char *key, const struct err *err) {
  char full[128];
  const struct ynode *at = node ? ynode_at(node, str_of(key)) : NULL;
  snprintf(full, sizeof full, "%s.%s", path, key);
  spec_problem_add(errors, at ? at : node, full, err->hint, "%s", err->text);
}

/* Compiles it, which finds every mistake. */
static void check_pattern(const struct sweep_metrics_source *source, const struct ynode *node, const char *path,
                          struct spec_problems *errors) {
  AUTO_ARENA struct arena arena = ARENA_INIT(64 * KIB);
  struct err err;
  struct log_pattern_spec spec = {.pattern = arena_strdup(&arena, source->pattern),
                                  .key = source->key.p ? arena_strdup(&arena, source->key) : NULL,
                                  .prefix = source->prefix.p ? arena_strdup(&arena, source->prefix) : NULL};
  struct log_pattern *pattern = NULL;
  if (!spec.pattern || (source->key.p && !spec.key) || (source->prefix.p && !spec.prefix))
    err_no_memory(&err);
  else if (memchr(source->pattern.p, 0, source->pattern.n))
    err_set(&err, ERR_INVALID, "a pattern cannot hold the character 0");
  else
    pattern = log_pattern_new(&spec, &err);
  if (!pattern)
    complain(errors, node, path, "pattern", &err);
  log_pattern_free(pattern);
}

static bool has_ending(struct str file, const char *const *endings, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (str_ends(file, str_of(endings[i])))
      return true;
  return false;
}

static enum source_format guess_format(struct str file) {
  static const char *const json[] = {".json", ".jsonl", ".ndjson"}, *const csv[] = {".csv", ".tsv"};
  if (has_ending(file, json, ARRAY_LEN(json)))
    return SOURCE_JSON;
  if (has_ending(file, csv, ARRAY_LEN(csv)))
    return SOURCE_CSV;
  struct str rest = file, name = file;
  while (rest.p && str_split(&rest, '/', &name))
    ;
  bool is_events = str_is(name, "events*") || (str_starts(name, STR("events.out")) && name.n > strlen("events.out"));
  return is_events || str_find_str(file, STR("tfevents")) != SIZE_MAX ? SOURCE_TFEVENTS : SOURCE_TEXT;
}

bool sweep_source_leads_out(struct str file) {
  struct str rest = file, part;
  if (file.n && file.p[0] == '/')
    return true;
  while (rest.p && str_split(&rest, '/', &part))
    if (str_is(part, ".."))
      return true;
  return false;
}

static void check_file(struct sweep_metrics_source *source, const struct ynode *node, const char *path, struct spec_problems *errors) {
  if (sweep_source_leads_out(source->file)) {
    spec_problem_add(errors, node, path, "write a path or glob relative to the directory the command runs in",
                     "%s: %.*s is not below the attempt's directory", path, STR_ARG(str_slice(source->file, 0, 200)));
    return;
  }
  source->file = path_from_here(source->file);
  if (!source->file.n) {
    spec_problem_add(errors, node, path, "name a file or write a glob such as **/*.csv", "%s: file is a directory's name", path);
    return;
  }
  if (!source->has_format) {
    source->format = source->pattern.p ? SOURCE_TEXT : (int)guess_format(source->file);
    source->has_format = true;
  }
  if (source->pattern.p && source->format != SOURCE_TEXT)
    spec_problem_add(errors, node, path, NULL, "%s: a pattern reads text; a %s file is read by its own rules", path,
                     source_format_name((enum source_format)source->format));
}

void sweep_source_check(struct sweep_metrics_source *source, const struct ynode *node, const char *path, struct spec_problems *errors) {
  bool reads = source->file.p || source->pattern.p || source->has_stream || source->has_format;
  if (source->has_builtin && !reads)
    return;
  if (source->has_builtin)
    spec_problem_add(errors, node, path, "write it as an item of its own: - builtin: false", "%s: builtin stands alone", path);
  if (source->has_stream && source->file.p)
    spec_problem_add(errors, node, path, NULL, "%s: a source is a stream or a file, not both", path);
  else if (source->file.p)
    check_file(source, node, path, errors);
  else if (source->has_format)
    spec_problem_add(errors, node, path, NULL, "%s: a format belongs to a file; streams are read by patterns", path);
  else if (!source->pattern.p)
    spec_problem_add(errors, node, path, "the built-in patterns read both streams anyway", "%s: a stream needs a pattern", path);
  else if (source->when != 0)
    spec_problem_add(errors, node, path, NULL, "%s: when: end belongs to a file; streams are read as they grow", path);
  if (source->pattern.p)
    check_pattern(source, node, path, errors);
}

static const char *text_or_null(struct arena *arena, struct str text, bool *failed) {
  const char *copy = text.p ? arena_strdup(arena, text) : NULL;
  *failed |= text.p && !copy;
  return copy;
}

static struct metric_source wanted_source(struct arena *arena, struct str name, bool *failed) {
  struct metric_source source = {.streams = {true, true}, .key = arena_strdup(arena, name), .wanted = true};
  *failed |= !source.key;
  return source;
}

/* What an iteration is, when it is no metric. */
static bool is_unit(struct str step_metric) {
  static const char *const units[] = {"auto", "epoch", "step", "report"};
  for (size_t i = 0; i < ARRAY_LEN(units); i++)
    if (str_is(step_metric, units[i]))
      return true;
  return false;
}

static void want(struct spec_texts *wanted, struct str name) {
  for (size_t i = 0; i < wanted->count; i++)
    if (str_eq(wanted->items[i], name))
      return;
  if (name.n)
    wanted->items[wanted->count++] = name;
}

bool sweep_sources_wanted(const struct sweep_spec *spec, struct arena *arena, struct spec_texts *ret, struct err *err) {
  const struct stop_conf *rules = spec->early_terminate.items;
  *ret = (struct spec_texts){.items = ARENA_NEW_ARRAY(arena, struct str, 1 + spec->metric.aliases.count + 2 * spec->early_terminate.count)};
  if (!ret->items)
    return err_no_memory(err);
  want(ret, spec->metric.name);
  for (size_t i = 0; i < spec->metric.aliases.count; i++)
    want(ret, spec->metric.aliases.items[i]);
  for (size_t i = 0; i < spec->early_terminate.count; i++) {
    want(ret, rules[i].metric);
    want(ret, is_unit(rules[i].step_metric) ? STR_NONE : rules[i].step_metric);
  }
  return true;
}

bool sweep_sources_make(const struct spec_objects *sources, const struct spec_texts *wanted, struct metric_sources **ret, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  struct metric_source items[METRIC_SOURCES_MAX];
  size_t count = 0;
  bool no_builtin = false, failed = false;
  *ret = NULL;
  for (size_t i = 0; i < sources->count && count < METRIC_SOURCES_MAX; i++) {
    const struct sweep_metrics_source *source = &((const struct sweep_metrics_source *)sources->items)[i];
    int stream = source->has_stream ? source->stream : STREAM_BOTH;
    if (source->has_builtin && !source->file.p && !source->pattern.p) {
      no_builtin = !source->builtin;
      continue;
    }
    items[count++] = (struct metric_source){.file = text_or_null(&arena, source->file, &failed),
                                            .format = (enum source_format)source->format,
                                            .at_end = source->when != 0,
                                            .streams = {stream != STREAM_STDERR, stream != STREAM_STDOUT},
                                            .pattern = text_or_null(&arena, source->pattern, &failed),
                                            .key = text_or_null(&arena, source->key, &failed),
                                            .prefix = text_or_null(&arena, source->prefix, &failed)};
  }
  for (size_t i = 0; wanted && !no_builtin && i < wanted->count && count < METRIC_SOURCES_MAX; i++)
    items[count++] = wanted_source(&arena, wanted->items[i], &failed);
  if (failed)
    return err_no_memory(err);
  if (!count && !no_builtin)
    return true;
  *ret = metric_sources_new(items, count, no_builtin, err);
  return *ret != NULL;
}

static bool read_list(struct str text, bool with_files, const struct spec_texts *wanted, struct metric_sources **ret, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct spec_problems *errors = ARENA_NEW(&arena, struct spec_problems), *warnings = ARENA_NEW(&arena, struct spec_problems);
  struct ynode *root;
  struct sweep_list list = {{0}};
  if (!errors || !warnings)
    return err_no_memory(err);
  errors->arena = warnings->arena = &arena;
  if (!yaml_read(text, &arena, &root, NULL, err))
    return false;
  if (root->kind != YN_MAP)
    return err_set(err, ERR_INVALID, "{\"metrics_from\": [...]} was expected");
  struct spec_reader reader = {&arena, errors, warnings};
  spec_read(&reader, &list_table, root, "", &list);
  for (size_t i = 0; !errors->count && i < list.sources.count; i++) {
    char path[64];
    snprintf(path, sizeof path, "metrics_from[%zu]", i);
    sweep_source_check(&((struct sweep_metrics_source *)list.sources.items)[i], ynode_at(root, str_of(path)), path, errors);
    if (!with_files && !errors->count && ((struct sweep_metrics_source *)list.sources.items)[i].file.p)
      spec_problem_add(errors, ynode_at(root, str_of(path)), path, NULL, "%s: files are not kept; stored output is read again", path);
  }
  if (errors->no_memory)
    return err_no_memory(err);
  return errors->count ? spec_problem_fail("metrics_from", &errors->items[0], err)
                       : sweep_sources_make(&list.sources, list.sources.count ? NULL : wanted, ret, err);
}

bool sweep_sources_read(struct str text, const struct spec_texts *wanted, struct metric_sources **ret, struct err *err) {
  return read_list(text, false, wanted, ret, err);
}

bool sweep_sources_read_all(struct str text, struct metric_sources **ret, struct err *err) {
  return read_list(text, true, NULL, ret, err);
}
