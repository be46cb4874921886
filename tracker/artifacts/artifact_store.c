#include "tracker/artifacts/artifact_store.h"

#include <fcntl.h>

#include "base/file.h"
#include "base/mem.h"
#include "tracker/artifacts/artifact_inside.h"
#include "tracker/artifacts/artifact_tree.h"

static void tell_again(void *ctx) {
  artifact_upload_tell_owed(ctx);
}

struct artifact_store *artifact_store_new(const struct artifact_store_conf *conf, struct err *err) {
  if (!dir_make(conf->directory, 0755, err))
    return NULL;
  struct artifact_store *store = mem_zalloc(sizeof *store);
  if (!store) {
    err_no_memory(err);
    return NULL;
  }
  store->conf = *conf;
  store->uri = conf->uri ? file_uri_path(str_of(conf->uri)) : STR("");
  store->directory = mem_strdup(conf->directory);
  store->again = loop_timer_new(conf->loop, tell_again, store);
  store->root = open(conf->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (store->root >= 0 && store->directory && store->again)
    return store;
  if (store->root < 0)
    err_errno(err, errno, "cannot open %s", conf->directory);
  else
    err_no_memory(err);
  artifact_store_free(store);
  return NULL;
}

void artifact_store_interrupt(struct artifact_store *store) {
  if (store)
    atomic_store_explicit(&store->interrupted, true, memory_order_relaxed);
}

void artifact_store_stop(struct artifact_store *store) {
  if (!store)
    return;
  store->stopping = true;
  loop_defer_cancel(&store->tell_begun);
  artifact_task_begin_all(store); /* the loop's turn may have no end any more; no thread takes their work */
  artifact_upload_drop_owed(store);
}

void artifact_store_free(struct artifact_store *store) {
  if (!store)
    return;
  artifact_store_stop(store);
  loop_timer_free(store->again);
  fd_close(&store->root);
  mem_free(store->directory);
  mem_free(store);
}

const char *artifact_store_directory(const struct artifact_store *store) {
  return store->directory;
}

int artifact_store_root(const struct artifact_store *store) {
  return store->root;
}

bool artifact_store_is_shared(const struct artifact_store *store) {
  return store->conf.shared;
}

bool artifact_explain(const struct artifact_store *store, const char *path, bool ok, struct err *err) {
  if (ok || err->code != ERR_NO_SPACE || err->hint[0])
    return ok;
  err_prefix(err, "artifact \"%.200s\"", path);
  return err_hint(err, "make room on the disk of %.120s (`winnow admin gc`, `winnow admin purge`), then send it again", store->directory);
}

static bool after_own_uri(const struct artifact_store *store, struct str uri, struct str *ret_rest) {
  uri = file_uri_path(uri);
  if (!store->uri.n || !str_starts(uri, store->uri) || (uri.n > store->uri.n && uri.p[store->uri.n] != '/'))
    return false;
  *ret_rest = str_slice(uri, store->uri.n, uri.n);
  return true;
}

bool artifact_path_of_uri(const struct artifact_store *store, struct str uri, struct buf *out) {
  struct str rest;
  if (!after_own_uri(store, uri, &rest)) {
    if (!str_starts(uri, STR("mlflow-artifacts:")))
      return false;
    rest = str_slice(uri, strlen("mlflow-artifacts:"), uri.n);
    if (str_starts(rest, STR("//"))) { /* an authority: only the path counts */
      size_t slash = str_find(str_slice(rest, 2, rest.n), '/');
      rest = slash == SIZE_MAX ? STR("") : str_slice(rest, 2 + slash, rest.n);
    }
  }
  while (rest.n && rest.p[0] == '/')
    rest = str_slice(rest, 1, rest.n);
  buf_add_str(out, rest);
  return buf_ok(out, NULL);
}

/* ---- reading ---- */

int artifact_open(struct artifact_store *store, struct str path, struct stat *ret_stat, struct err *err) {
  int fd = tree_open(store->root, path, O_RDONLY, err);
  if (fd < 0)
    return -1;
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    close(fd);
    err_set(err, ERR_NOT_FOUND, S_ISDIR(st.st_mode) ? "the artifact \"%.*s\" is a directory" : "there is no artifact \"%.*s\"",
            STR_ARG(str_slice(path, 0, 200)));
    return -1;
  }
  *ret_stat = st;
  return fd;
}

void artifact_etag(const struct stat *st, char out[ARTIFACT_ETAG_MAX]) {
  snprintf(out, ARTIFACT_ETAG_MAX, "\"%llx-%llx-%llx\"", (unsigned long long)st->st_ino, (unsigned long long)st->st_size,
           (unsigned long long)(st->st_mtim.tv_sec * 1000000000LL + st->st_mtim.tv_nsec));
}

bool artifact_is_there(struct artifact_store *store, struct str path) {
  return tree_holds_file(store->root, path);
}

/* ---- types ---- */

static const char *const text_endings[] = {
    "txt",  "log", "err", "cfg",  "conf", "cnf", "cf",  "ini", "properties", "prop", "hocon", "toml",
    "yaml", "yml", "xml", "json", "js",   "py",  "py3", "csv", "tsv",        "md",   "rst",
};
static const struct {
  const char *ending, *type;
} types[] = {
    {"html", "text/html"},        {"htm", "text/html"},       {"css", "text/css"},        {"png", "image/png"},
    {"jpg", "image/jpeg"},        {"jpeg", "image/jpeg"},     {"gif", "image/gif"},       {"svg", "image/svg+xml"},
    {"webp", "image/webp"},       {"pdf", "application/pdf"}, {"zip", "application/zip"}, {"gz", "application/gzip"},
    {"tar", "application/x-tar"}, {"mp4", "video/mp4"},       {"wav", "audio/x-wav"},     {"mp3", "audio/mpeg"},
};

const char *artifact_content_type(struct str path) {
  struct str name = str_last(path, '/'), part;
  if (str_eq_nocase(name, STR("MLmodel")) || str_eq_nocase(name, STR("MLproject")))
    return "text/plain";
  struct str ending = STR_NONE;
  size_t dot = str_find(name, '.');
  for (struct str rest = name; dot != SIZE_MAX && str_split(&rest, '.', &part);)
    ending = part;
  for (size_t i = 0; i < ARRAY_LEN(text_endings); i++)
    if (str_eq_nocase(ending, str_of(text_endings[i])))
      return "text/plain";
  for (size_t i = 0; i < ARRAY_LEN(types); i++)
    if (str_eq_nocase(ending, str_of(types[i].ending)))
      return types[i].type;
  return "application/octet-stream";
}
