#include "cli/submit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/encode.h"
#include "cli/transfer.h"
#include "cli/verbs.h"
#include "sweeper/machine/snapshot.h"
#include "sweeper/sweeps.h"

/* ---- the environment ---- */

static void add_variable(json_t *environment, const char *name) {
  const char *value = getenv(name);
  if (value && str_is_utf8(str_of(value)))
    json_object_set_new(environment, name, json_string(value));
}

json_t *submit_environment(void) {
  static const char *const names[] = {"PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH", "PYTHONPATH"};
  json_t *environment = json_object();
  for (size_t i = 0; environment && i < ARRAY_LEN(names); i++)
    add_variable(environment, names[i]);
  return environment;
}

/* What the file names beyond those; our own settings are no job's. Returns whether it names any. */
static bool add_inherited(const json_t *spec, json_t *environment) {
  const json_t *names = json_object_get(spec, "inherit_env");
  for (size_t i = 0; i < json_array_size(names); i++) {
    const char *name = json_string_value(json_array_get(names, i));
    if (name && !str_starts(str_of(name), STR("WINNOW_")))
      add_variable(environment, name);
  }
  return json_array_size(names) > 0;
}

/* ---- the directory ---- */

/* A file without a name, in TMPDIR. */
static int temporary_file(struct err *err) {
  const char *directory = getenv("TMPDIR");
  char path[4096];
  snprintf(path, sizeof path, "%s/winnow-XXXXXX", directory && directory[0] == '/' ? directory : "/tmp");
  int fd = mkostemp(path, O_CLOEXEC);
  if (fd < 0)
    err_errno(err, errno, "cannot make a temporary file %s", path);
  else
    unlink(path);
  return fd;
}

static bool is_known(struct cli *cli, const char *sha256, bool *ret, struct err *err) {
  *ret = cli_get(cli, NULL, err, "/code/{}", sha256);
  return *ret || err->code == ERR_NOT_FOUND;
}

static bool send_snapshot(struct cli *cli, const char *directory, int fd, const struct snapshot *snapshot, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(KIB);
  AUTO_BUF struct buf size = BUF_INIT(KIB);
  int64_t bytes;
  bool known;
  if (!is_known(cli, snapshot->sha256, &known, err))
    return false;
  if (known)
    return true;
  path_format(&path, "/api/v1/code/{}", snapshot->sha256);
  if (lseek(fd, 0, SEEK_SET) != 0)
    return err_errno(err, errno, "cannot read a temporary file");
  if (!upload_file(cli, fd, directory, buf_text(&path), &bytes, err))
    return false;
  encode_size(&size, (double)snapshot->file_bytes);
  output_say(&cli->output, "%s: %zu %s copied, %s", directory, snapshot->files, snapshot->files == 1 ? "file" : "files", buf_text(&size));
  return true;
}

bool submit_code(struct cli *cli, const char *directory, const json_t *links, uint64_t max, char ret_code[SUBMIT_CODE_SIZE],
                 struct err *err) {
  size_t count = json_array_size(links);
  struct str *names = ARENA_NEW_ARRAY(&cli->arena, struct str, count + 1);
  struct snapshot snapshot;
  if (!names)
    return err_no_memory(err);
  for (size_t i = 0; i < count; i++)
    names[i] = json_str(json_array_get(links, i));
  struct snapshot_source source = {.directory = directory, .links = names, .link_count = count, .max = max};
  if (!snapshot_check(&source, err))
    return false;
  AUTO_FD int fd = temporary_file(err);
  if (fd < 0 || !snapshot_write(&source, fd, &snapshot, err) || !send_snapshot(cli, directory, fd, &snapshot, err))
    return false;
  snprintf(ret_code, SUBMIT_CODE_SIZE, "sha256:%s", snapshot.sha256);
  return true;
}

/* ---- a sweep ---- */

static bool post_sweep(struct cli *cli, const json_t *body, bool dry_run, json_t **ret, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(16 * MIB), path = BUF_INIT(KIB);
  AUTO_REPLY struct client_reply reply;
  struct json_writer w;
  client_reply_init(&reply);
  jw_init(&w, &text);
  jw_json(&w, body);
  buf_puts(&path, "/api/v1/sweeps");
  path_query(&path, "dry_run", dry_run ? "true" : NULL);
  struct client *client = buf_ok(&text, err) ? cli_client(cli, err) : NULL;
  struct client_request request = {.method = "POST",
                                   .path = buf_text(&path),
                                   .body = buf_str(&text),
                                   .content_type = "application/vnd.winnow.submission+json",
                                   .body_fd = -1,
                                   .creates = true};
  if (!client || !client_call(client, &request, &reply, err))
    return false;
  return json_read(buf_str(&reply.body), ret, err) || err_prefix(err, "the service's answer is no JSON");
}

/* JSON cannot carry the file if it is no UTF-8 or holds a NUL; its reader says where. */
static bool check_text(const char *name, struct str text, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct ynode *root;
  struct yaml_place place;
  if (str_is_utf8(text) && str_find(text, '\0') == SIZE_MAX)
    return true;
  if (yaml_read(text, &arena, &root, &place, err))
    return err_set(err, ERR_INVALID, "%s is not valid UTF-8", name);
  struct err found = *err;
  struct spec_problem problem = {.path = "", .line = place.line, .column = place.column, .message = found.text, .hint = ""};
  return spec_problem_fail(name, &problem, err);
}

/* The file's name is the sweep's when the file says none; the directory is what relative paths in it are beneath. */
static json_t *submission(const char *file, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(4 * MIB), directory = BUF_INIT(ENDPOINT_PATH_MAX);
  bool is_input = strcmp(file, "-") == 0;
  const char *slash = is_input ? NULL : strrchr(file, '/');
  const char *name = is_input ? "" : slash ? slash + 1 : file;
  if (!cli_read_input(file, &text, err) || !check_text(name, buf_str(&text), err))
    return NULL;
  buf_add_str(&directory, slash ? str_n(file, (size_t)(slash - file) + 1) : STR("."));
  AUTO_FREE char *whole = realpath(buf_text(&directory), NULL);
  if (!whole)
    return err_errno(err, errno, "cannot find %s", buf_text(&directory)), NULL;
  json_t *body = json_pack("{ss#ss?ssso*}", "file", buf_text(&text), text.n, "name", is_input ? NULL : name, "directory", whole,
                           "environment", submit_environment());
  if (!body)
    err_set(err, ERR_INVALID, "the place of %s is no UTF-8", is_input ? "the input" : file);
  return body;
}

/* Adds a snapshot of the working directory, when the jobs are to run in copies of it. `spec` is the normal form. */
static bool add_code(struct cli *cli, const json_t *spec, json_t *body, struct err *err) {
  const char *workdir = json_string_value(json_object_get(spec, "workdir")),
             *mode = json_string_value(json_object_get(spec, "workdir_mode"));
  const char *directory = json_string_value(json_object_get(body, "directory"));
  struct str max_text = json_str(json_object_get(spec, "workdir_max"));
  uint64_t max = UINT64_MAX;
  char code[SUBMIT_CODE_SIZE];
  bool has_command = json_array_size(json_object_get(spec, "command")) > 0 || json_object_get(spec, "program");
  if (!has_command || !workdir || !mode || strcmp(mode, "copy") != 0 || strncmp(workdir, "sha256:", 7) == 0)
    return true;
  const char *path = workdir[0] == '/' ? workdir : arena_printf(&cli->arena, "%s/%s", directory, workdir);
  AUTO_FREE char *whole = path ? realpath(path, NULL) : NULL;
  if (!whole)
    return path ? err_errno(err, errno, "workdir: cannot find %s", path) : err_no_memory(err);
  if (max_text.p && !str_to_size(max_text, &max))
    return err_set(err, ERR_INTERNAL, "the service says a size that is none");
  return submit_code(cli, whole, json_object_get(spec, "links"), max, code, err) &&
         ((json_object_set_new(body, "code", json_string(code)) == 0 && json_object_set_new(body, "directory", json_string(whole)) == 0) ||
          err_set(err, ERR_INVALID, "the path %s is no UTF-8", whole));
}

/* The service may not see what lies here. Whether the file itself is right is for the service to say, which may be of another version. */
static bool check_place(const json_t *body, json_t *warnings, struct err *err) {
  const char *name = json_string_value(json_object_get(body, "name"));
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct spec_problems *errors = ARENA_NEW(&arena, struct spec_problems);
  struct sweep_file *file;
  name = name ? name : "";
  if (!errors || !sweep_file_read(json_str(json_object_get(body, "file")), name, &arena, &file, errors, err))
    return errors || err_no_memory(err);
  size_t told = file->warnings.count; /* by the service, too */
  bool ok = sweeps_check_place(file, json_str(json_object_get(body, "directory")), err) || sweep_file_fail_placed(name, err);
  for (size_t i = told; i < MIN_OF(file->warnings.count, (size_t)SPEC_PROBLEMS_MAX); i++)
    json_array_append_new(warnings, json_string(file->warnings.items[i].message));
  sweep_file_free(file);
  return ok;
}

static void say_who_runs_it(struct cli *cli, const json_t *spec) {
  if (!json_array_size(json_object_get(spec, "command")))
    output_say(&cli->output, "there is no command and no program, so nothing is started: its trials are for workers who ask for them");
}

bool sweep_submit(struct cli *cli, const char *file, bool dry_run, json_t **ret_sweep, struct err *err) {
  AUTO_JSON json_t *body = submission(file, err), *preview = NULL, *sweep = NULL, *warnings = json_array();
  if (!body || !post_sweep(cli, body, true, &preview, err) || !check_place(body, warnings, err))
    return false;
  const json_t *spec = json_object_get(preview, "spec");
  bool inherits = add_inherited(spec, json_object_get(body, "environment"));
  bool asks_again = !dry_run || inherits;
  if ((!dry_run && !add_code(cli, spec, body, err)) || (asks_again && !post_sweep(cli, body, dry_run, &sweep, err)))
    return false;
  say_who_runs_it(cli, spec);
  *ret_sweep = json_incref(sweep ? sweep : preview);
  json_array_extend(json_object_get(*ret_sweep, "warnings"), warnings);
  return true;
}
