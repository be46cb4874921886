#include "sweeper/machine/job_file.h"

enum field_type { F_TEXT, F_I64, F_ID };

struct field {
  const char *name;
  enum field_type type;
  size_t offset;
  bool required; /* else an earlier version did not write it */
};

static const struct field fields[] = {
    {"run", F_ID, offsetof(struct job_file, run_id), true},
    {"attempt", F_I64, offsetof(struct job_file, attempt), true},
    {"endpoint", F_TEXT, offsetof(struct job_file, endpoint_file), true},
    {"token", F_TEXT, offsetof(struct job_file, token), true},
    {"dir", F_TEXT, offsetof(struct job_file, dir), true},
    {"cwd", F_TEXT, offsetof(struct job_file, cwd), true},
    {"stop_grace_ms", F_I64, offsetof(struct job_file, stop_grace_ms), true},
    {"time_limit_ms", F_I64, offsetof(struct job_file, time_limit_ms), true},
    {"memory_limit", F_I64, offsetof(struct job_file, memory_limit), true},
    {"spool_max", F_I64, offsetof(struct job_file, spool_max), true},
    {"spool_policy", F_I64, offsetof(struct job_file, spool_policy), true},
    {"heartbeat_ms", F_I64, offsetof(struct job_file, heartbeat_ms), true},
    {"tty", F_I64, offsetof(struct job_file, tty), true},
    {"sweep", F_ID, offsetof(struct job_file, sweep_id), false},
    {"slots", F_I64, offsetof(struct job_file, slots), false},
};

static void put(struct buf *out, const char *key, struct str value) {
  buf_printf(out, "%s ", key);
  for (size_t i = 0; i < value.n; i++)
    switch (value.p[i]) {
    case '\n':
      buf_puts(out, "\\n");
      break;
    case '\r':
      buf_puts(out, "\\r");
      break;
    case '\\':
      buf_puts(out, "\\\\");
      break;
    default:
      buf_putc(out, value.p[i]);
    }
  buf_putc(out, '\n');
}

void job_file_write(const struct job_file *job, struct buf *out) {
  for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
    const void *at = (const char *)job + fields[i].offset;
    char text[64];
    switch (fields[i].type) {
    case F_TEXT:
      put(out, fields[i].name, str_of(*(const char *const *)at));
      break;
    case F_I64:
      snprintf(text, sizeof text, "%lld", (long long)*(const int64_t *)at);
      put(out, fields[i].name, str_of(text));
      break;
    case F_ID:
      id_format(*(const struct id *)at, text);
      put(out, fields[i].name, str_of(text));
      break;
    }
  }
  for (size_t i = 0; i < job->argc; i++)
    put(out, "argv", str_of(job->argv[i]));
  for (size_t i = 0; i < job->env_count; i++)
    put(out, "env", str_of(job->env[i]));
  for (size_t i = 0; i < job->file_count; i++)
    put(out, "file", str_of(job->files[i]));
  for (size_t i = 0; i < job->artifact_count; i++)
    put(out, "artifact", str_of(job->artifacts[i]));
}

/* Undoes put(); NULL on a bad escape or without memory. */
static char *unescape(struct str value, struct arena *arena) {
  char *text = arena_alloc(arena, value.n + 1);
  if (!text)
    return NULL;
  char *o = text;
  for (size_t i = 0; i < value.n; i++) {
    char c = value.p[i];
    if (c == 0)
      return NULL;
    if (c == '\\') {
      char next = i + 1 < value.n ? value.p[++i] : 0;
      c = next == 'n' ? '\n' : next == 'r' ? '\r' : next == '\\' ? '\\' : 0;
      if (!c)
        return NULL;
    }
    *o++ = c;
  }
  *o = 0;
  return text;
}

struct reader {
  struct arena *arena;
  struct job_file job;
  uint32_t seen; /* a bit for each field */
};

static bool take_field(struct reader *r, size_t i, char *text) {
  void *at = (char *)&r->job + fields[i].offset;
  if (r->seen & 1u << i)
    return false;
  r->seen |= 1u << i;
  switch (fields[i].type) {
  case F_TEXT:
    *(const char **)at = text;
    return true;
  case F_I64:
    return str_to_i64(str_of(text), at) && *(int64_t *)at >= 0;
  case F_ID:
    return id_parse(str_of(text), at);
  }
  return false;
}

static bool take_line(struct reader *r, struct str line) {
  size_t space = str_find(line, ' ');
  if (space == SIZE_MAX)
    return false;
  struct str key = str_slice(line, 0, space);
  char *text = unescape(str_slice(line, space + 1, line.n), r->arena);
  if (!text)
    return false;
  if (str_is(key, "argv"))
    return r->job.argc < JOB_ITEMS_MAX && (r->job.argv[r->job.argc++] = text);
  if (str_is(key, "env"))
    return r->job.env_count < JOB_ITEMS_MAX && (r->job.env[r->job.env_count++] = text);
  if (str_is(key, "file"))
    return r->job.file_count < JOB_FILES_MAX && (r->job.files[r->job.file_count++] = text);
  if (str_is(key, "artifact"))
    return r->job.artifact_count < JOB_FILES_MAX && (r->job.artifacts[r->job.artifact_count++] = text);
  for (size_t i = 0; i < ARRAY_LEN(fields); i++)
    if (str_is(key, fields[i].name))
      return take_field(r, i, text);
  return false;
}

bool job_file_read(struct str text, struct arena *arena, struct job_file *ret, struct err *err) {
  struct reader r = {.arena = arena};
  size_t lines = 0;
  for (size_t i = 0; i < text.n; i++)
    lines += text.p[i] == '\n';
  r.job.argv = ARENA_NEW_ARRAY(arena, char *, MIN_OF(lines, (size_t)JOB_ITEMS_MAX) + 2);
  r.job.env = ARENA_NEW_ARRAY(arena, char *, MIN_OF(lines, (size_t)JOB_ITEMS_MAX) + 2);
  r.job.files = ARENA_NEW_ARRAY(arena, char *, JOB_FILES_MAX + 1);
  r.job.artifacts = ARENA_NEW_ARRAY(arena, char *, JOB_FILES_MAX + 1);
  if (!r.job.argv || !r.job.env || !r.job.files || !r.job.artifacts)
    return err_no_memory(err);
  struct str line;
  for (size_t number = 1; str_split(&text, '\n', &line); number++)
    if (line.n && !take_line(&r, line))
      return err_set(err, ERR_INVALID, "the job file's line %zu is not understood", number);
  for (size_t i = 0; i < ARRAY_LEN(fields); i++)
    if (!(r.seen & 1u << i) && fields[i].required)
      return err_set(err, ERR_INVALID, "the job file has no %s", fields[i].name);
  if (!r.job.argc)
    return err_set(err, ERR_INVALID, "the job file has no command");
  *ret = r.job;
  return true;
}
