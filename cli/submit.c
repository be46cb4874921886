#include "cli/submit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "cli/encode.h"
#include "cli/transfer.h"
#include "cli/verbs.h"
#include "sweeper/snapshot.h"

/* ---- the environment ---- */

json_t *submit_environment(void) {
  static const char *const names[] = {"PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH", "PYTHONPATH"};
  json_t *environment = json_object();
  for (size_t i = 0; environment && i < ARRAY_LEN(names); i++) {
    const char *value = getenv(names[i]);
    if (value && str_is_utf8(str_of(value)))
      json_object_set_new(environment, names[i], json_string(value));
  }
  return environment;
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

static bool link_is_there(const char *directory, struct str link, struct err *err) {
  char path[8192];
  struct stat st;
  snprintf(path, sizeof path, "%s/%.*s", directory, STR_ARG(link));
  return stat(path, &st) == 0 || err_errno(err, errno, "links: cannot find %s", path);
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
  for (size_t i = 0; i < count; i++) {
    names[i] = json_str(json_array_get(links, i));
    if (names[i].p && !link_is_there(directory, names[i], err))
      return false;
  }
  AUTO_FD int fd = temporary_file(err);
  struct snapshot_source source = {.directory = directory, .links = names, .link_count = count, .max = max};
  if (fd < 0 || !snapshot_write(&source, fd, &snapshot, err) || !send_snapshot(cli, directory, fd, &snapshot, err))
    return false;
  snprintf(ret_code, SUBMIT_CODE_SIZE, "sha256:%s", snapshot.sha256);
  return true;
}
