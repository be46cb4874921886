/* Files that runs keep. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/transfer.h"
#include "cli/verbs.h"
#include "tracker/names.h"

enum { MAX_LOCAL_DEPTH = 57 }; /* with the run's address, what the service takes */

static const struct column columns[] = {
    {"PATH", "path", COLUMN_TEXT, false, NULL},       {"SIZE", "size", COLUMN_SIZE, false, NULL},
    {"DIRECTORY", "is_dir", COLUMN_YES, false, NULL}, {"CREATED", "created", COLUMN_AGE, false, NULL},
    {"SHA256", "sha256", COLUMN_TEXT, true, NULL},
};
const struct view artifact_view = VIEW(columns, "path", "no files");

static bool show_item(struct cli *cli, json_t *item, struct err *err) {
  AUTO_JSON json_t *items = json_pack("[O]", item);
  return items ? output_list(&cli->output, &artifact_view, items, NULL, err) : err_no_memory(err);
}

static int ls_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  const char *wanted = args_word(&cli->args, 1);
  AUTO_JSON json_t *item = NULL;
  AUTO_BUF struct buf path = BUF_INIT(16 * KIB);
  bool is_directory = true;
  if (!resolve_run(cli, args_word(&cli->args, 0), id, &err) || (wanted && !artifact_find(cli, id, wanted, &is_directory, &item, &err)))
    return cli_fail(cli, &err);
  if (!is_directory)
    return cli_done(cli, show_item(cli, item, &err), &err);
  path_format(&path, "/runs/{}/artifacts", id);
  path_query(&path, "path", wanted);
  return cli_show_list(cli, buf_text(&path), NULL, &artifact_view);
}

bool artifact_find(struct cli *cli, const char *id, const char *wanted, bool *ret_is_directory, json_t **ret_item, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(16 * KIB);
  AUTO_JSON json_t *item = NULL;
  struct str name = str_of(wanted);
  while (name.n > 1 && name.p[name.n - 1] == '/')
    name.n--;
  path_format(&path, "/runs/{}/artifacts", id);
  if (!buf_ok(&path, err))
    return false;
  if (!listing_find(cli, buf_text(&path), name, &item, err)) {
    if (err->code != ERR_NOT_FOUND)
      return false;
    err_set(err, ERR_NOT_FOUND, "the run has no file '%.200s'", wanted);
    return err_hint(err, "winnow artifact ls %s lists them", id);
  }
  *ret_is_directory = json_is_true(json_object_get(item, "is_dir"));
  if (ret_item)
    *ret_item = json_incref(item);
  return true;
}

/* ---- get ---- */

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* "model/" is the directory, too. */
static char *without_slashes(const char *word) {
  size_t n = strlen(word);
  while (n > 1 && word[n - 1] == '/')
    n--;
  return mem_strndup(word, n);
}

static int report_files(struct cli *cli, size_t files, int64_t bytes, const char *target) {
  AUTO_BUF struct buf size = BUF_INIT(64);
  encode_size(&size, (double)bytes);
  output_say(&cli->output, "%zu %s, %s, in %s", files, files == 1 ? "file" : "files", buf_text(&size), target);
  return EXIT_OK;
}

struct wanted {
  const char *path;  /* NULL: everything */
  bool is_directory; /* the service lists something below it */
  char sha256[65];   /* of a file, when the listing says it */
};

static bool look_up(struct cli *cli, const char *id, struct wanted *wanted, struct err *err) {
  AUTO_JSON json_t *item = NULL;
  wanted->is_directory = true;
  if (!wanted->path)
    return true;
  if (!artifact_find(cli, id, wanted->path, &wanted->is_directory, &item, err))
    return false;
  snprintf(wanted->sha256, sizeof wanted->sha256, "%.*s", STR_ARG(json_str(json_object_get(item, "sha256"))));
  return true;
}

static int get_one(struct cli *cli, const char *id, const struct wanted *wanted, const char *target) {
  struct err err;
  AUTO_BUF struct buf path = BUF_INIT(32 * KIB), list = BUF_INIT(KIB);
  bool to_stdout = strcmp(target, "-") == 0;
  path_format(&path, "/api/v1/runs/{}/artifacts/{/}", id, wanted->path);
  path_format(&list, "/runs/{}/artifacts", id);
  struct file_download file = {.path = buf_text(&path),
                               .list_path = buf_text(&list),
                               .listed = str_of(wanted->path),
                               .name = str_of(base_name(wanted->path)),
                               .what = wanted->path};
  snprintf(file.sha256, sizeof file.sha256, "%s", wanted->sha256);
  if (!(to_stdout ? download_to_stdout(cli, &file, &err) : download_file(cli, &file, target, &err)))
    return cli_fail(cli, &err);
  return to_stdout ? EXIT_OK : report_files(cli, 1, file.bytes, target);
}

static int get_tree(struct cli *cli, const char *id, const char *wanted, const char *target) {
  struct err err;
  AUTO_BUF struct buf list = BUF_INIT(KIB), file = BUF_INIT(KIB);
  struct tree_got got;
  path_format(&list, "/runs/{}/artifacts", id);
  path_format(&file, "/api/v1/runs/{}/artifacts/", id);
  struct tree_download tree = {buf_text(&list), buf_text(&file), wanted, target};
  if (!download_tree(cli, &tree, &got, &err))
    return cli_fail(cli, &err);
  int code = report_files(cli, got.files, got.bytes, target);
  return got.gone ? EXIT_PARTIAL : code;
}

static int get_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  const char *word = args_word(&cli->args, 1), *target = args_text(&cli->args, "to");
  AUTO_FREE char *path = word ? without_slashes(word) : NULL;
  struct wanted wanted = {.path = path};
  if (word && !path)
    return cli_done(cli, err_no_memory(&err), &err);
  if (wanted.path && !artifact_name_is_safe(str_of(wanted.path)))
    return cli_usage(cli, "write it as winnow artifact ls shows it", "'%.200s' is no name of a file", wanted.path);
  if (!resolve_run(cli, args_word(&cli->args, 0), id, &err) || !look_up(cli, id, &wanted, &err))
    return cli_fail(cli, &err);
  if (wanted.is_directory && strcmp(target, "-") == 0)
    return cli_usage(cli, "--to DIR", "a directory does not go to standard output");
  return wanted.is_directory ? get_tree(cli, id, wanted.path, target) : get_one(cli, id, &wanted, target);
}

/* ---- put ---- */

struct upload {
  struct cli *cli;
  const char *run_id;
  size_t files, refused; /* refused: of a directory, what cannot be stored; the rest of it is */
  int64_t bytes;
};

static bool name_fits(const char *name, struct err *err) {
  struct str path;
  struct err ignored;
  if (artifact_name_is_safe(str_of(name)) && artifact_below_check(str_of(name), &path, &ignored))
    return true;
  err_set(err, ERR_INVALID, "'%.200s' cannot be the name of an artifact", name);
  return err_hint(err, "a name is UTF-8 without #, \\ and control characters, and does not begin with .winnow-");
}

static bool refuse(struct upload *upload, const struct err *err) {
  cli_fail(upload->cli, err);
  upload->refused++;
  return true;
}

static bool put_file(struct upload *upload, int fd, const char *name, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(32 * KIB);
  int64_t bytes;
  path_format(&path, "/api/v1/runs/{}/artifacts/{/}", upload->run_id, name);
  if (!buf_ok(&path, err) || !upload_file(upload->cli, fd, name, buf_text(&path), &bytes, err))
    return false;
  upload->files++;
  upload->bytes += bytes;
  return true;
}

static bool put_entry(struct upload *upload, int directory, const char *entry, const char *name, int depth, struct err *err);

static bool put_directory(struct upload *upload, int fd, const char *name, int depth, struct err *err) {
  if (depth > MAX_LOCAL_DEPTH)
    return err_set(err, ERR_TOO_LARGE, "%s lies deeper than %d directories", name, MAX_LOCAL_DEPTH) || refuse(upload, err);
  struct dirent **entries = NULL;
  int count = scandirat(fd, ".", &entries, NULL, alphasort);
  if (count < 0)
    return err_errno(err, errno, "cannot read the directory %s", name);
  bool ok = true;
  for (int i = 0; i < count; i++) {
    const char *entry = entries[i]->d_name;
    AUTO_BUF struct buf full = BUF_INIT(8 * KIB);
    if (strcmp(name, ".") != 0) /* what lies here keeps its own names */
      buf_printf(&full, "%s/", name);
    buf_puts(&full, entry);
    if (ok && strcmp(entry, ".") != 0 && strcmp(entry, "..") != 0)
      ok = buf_ok(&full, err) && put_entry(upload, fd, entry, buf_text(&full), depth + 1, err);
    free(entries[i]);
  }
  free(entries);
  return ok;
}

static bool leave_out(struct upload *upload, const char *name, const char *what) {
  output_say(&upload->cli->output, "%s is %s and is left out", name, what);
  return true;
}

/* Links inside a directory are not followed: what they point to was not named. */
static bool put_entry(struct upload *upload, int directory, const char *entry, const char *name, int depth, struct err *err) {
  AUTO_FD int fd = openat(directory, entry, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (depth ? O_NOFOLLOW : 0));
  struct stat st;
  if (fd < 0 && depth && (errno == ELOOP || errno == ENXIO))
    return leave_out(upload, name, errno == ELOOP ? "a link" : "no plain file");
  if (fd < 0 || fstat(fd, &st) != 0)
    return err_errno(err, errno, "cannot read %s", depth ? name : entry) || (depth && refuse(upload, err));
  if (S_ISDIR(st.st_mode))
    return put_directory(upload, fd, name, depth, err);
  if (depth && !S_ISREG(st.st_mode))
    return leave_out(upload, name, "no plain file");
  if (name_fits(name, err) && put_file(upload, fd, name, err))
    return true;
  bool is_of_this_one = err->code == ERR_INVALID || err->code == ERR_CONFLICT; /* the others may be stored all the same */
  return depth && is_of_this_one && refuse(upload, err);
}

/* "plots/" is a directory that the file goes into, as it is for cp. */
static void put_name(struct buf *out, const char *name, const char *own) {
  size_t n = name ? strlen(name) : 0;
  bool is_into = n > 0 && name[n - 1] == '/';
  while (n > 0 && name[n - 1] == '/')
    n--;
  buf_add(out, name, n);
  if (is_into && strcmp(own, ".") != 0)
    buf_printf(out, "%s%s", n ? "/" : "", own);
  else if (!name)
    buf_puts(out, own);
}

static int put_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  const char *local = args_word(&cli->args, 1), *name = args_word(&cli->args, 2);
  struct str path;
  if (name && (!name[0] || !artifact_below_check(str_of(name), &path, &err)))
    return cli_usage(cli, "a path below the run's files, such as model/weights.npz, has no . or .. in it and does not begin with /",
                     "'%.200s' is no path of an artifact", name);
  AUTO_FREE char *trimmed = without_slashes(local);
  if (!trimmed)
    return cli_done(cli, err_no_memory(&err), &err);
  if (!resolve_run(cli, args_word(&cli->args, 0), id, &err))
    return cli_fail(cli, &err);
  struct upload upload = {.cli = cli, .run_id = id};
  AUTO_BUF struct buf full = BUF_INIT(8 * KIB);
  const char *own = base_name(trimmed);
  put_name(&full, name, strcmp(own, "..") == 0 ? "." : own);
  if (!buf_ok(&full, &err) || !put_entry(&upload, AT_FDCWD, local, buf_text(&full), 0, &err))
    return cli_fail(cli, &err);
  int code = report_files(cli, upload.files, upload.bytes, "the run");
  return !upload.refused ? code : upload.files ? EXIT_PARTIAL : EXIT_FAILED;
}

static const struct flag_row ls_flags[] = {ROW_FLAG_LIMIT("1000"), ROW_FLAG_WATCH};
static const struct flag_row get_flags[] = {
    {.name = "to",
     .letter = 'd',
     .type = FLAG_TEXT,
     .value_name = "DIR",
     .default_text = ".",
     .completes = WORD_FILE,
     .help = "where it goes; - is standard output, for one file"},
};

static const struct verb rows[] = {
    {
        .noun = "artifact",
        .name = "ls",
        .aliases = "list",
        .summary = "list the files of a run",
        .help = "PATH is a directory among them.",
        .examples = {{"winnow artifact ls @best", "the best trial's"}, {"winnow artifact ls @best model -o wide", "with digests"}},
        FLAGS(ls_flags),
        .words = {{"RUN", WORD_RUN}, {"PATH", WORD_TEXT, .optional = true}},
        .run = ls_run,
    },
    {
        .noun = "artifact",
        .name = "get",
        .aliases = "download",
        .summary = "fetch files of a run",
        .help =
            "A file, a directory, or without PATH all of them. Every file is compared with its SHA-256 and appears whole or not at all. A file that is "
            "replaced meanwhile is the new one; one that is removed is told and left out. A name that would leave the target directory is refused, and "
            "nothing is written through a symbolic link.",
        .examples = {{"winnow artifact get @best model --to best-model", "a directory"},
                     {"winnow artifact get @best config.json --to -", "one file, to standard output"}},
        FLAGS(get_flags),
        .words = {{"RUN", WORD_RUN}, {"PATH", WORD_TEXT, .optional = true}},
        .run = get_run,
    },
    {
        .noun = "artifact",
        .name = "put",
        .aliases = "upload",
        .summary = "store a file or a directory with a run",
        .help =
            "PATH is its name there (its own when not said), or with a / at its end the directory that it goes into. The digest that the service "
            "answers is compared. Of a directory links are left out; what cannot be read, or stored under its name, or is changed meanwhile, is told, "
            "and the rest is stored.",
        .examples = {{"winnow artifact put @latest weights.npz", "a file"},
                     {"winnow artifact put @latest plots figures/today", "a directory, elsewhere"}},
        .words = {{"RUN", WORD_RUN}, {"FILE", WORD_FILE}, {"PATH", WORD_TEXT, .optional = true}},
        .run = put_run,
    },
};

const struct verb_set artifact_verbs = {rows, ARRAY_LEN(rows)};
