/* Snapshots: what is in them, that they are the same bytes for the same files, and what may not be unpacked. */
#include "sweeper/machine/code_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/tar.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test.h"

struct scene {
  struct temp_dir dir;
  struct loop *loop;
  struct work_pool *work;
  struct code_store *store;
  char source[200];
  bool ended;
  char sha256[DIGEST_HEX + 1]; /* of what was stored; "" when it failed */
  struct err err;
};

static void open_scene(struct scene *scene) {
  struct err err;
  *scene = (struct scene){.ended = false};
  temp_dir_make(&scene->dir);
  snprintf(scene->source, sizeof scene->source, "%s/source", scene->dir.path);
  assert_true(dir_make(scene->source, 0755, &err));
  scene->loop = loop_new(&clock_system, &err);
  scene->work = work_pool_new(scene->loop, 1, 64, &err);
  scene->store = code_store_new(scene->dir.path, scene->work, &clock_system, &err);
  assert_non_null(scene->store);
}

static void close_scene(struct scene *scene) {
  work_pool_free(scene->work);
  code_store_free(scene->store);
  loop_free(scene->loop);
  temp_dir_remove(&scene->dir);
}

static void put(const struct scene *scene, const char *name, const char *text) {
  AUTO_BUF struct buf path = BUF_INIT(4096);
  struct err err;
  buf_printf(&path, "%s/%s", scene->source, name);
  char *slash = strrchr(path.p, '/');
  *slash = 0;
  assert_true(dir_make(path.p, 0755, &err));
  *slash = '/';
  assert_true(file_replace(buf_text(&path), str_of(text), 0644, &err));
}

static void put_link(const struct scene *scene, const char *name, const char *target) {
  char path[400];
  snprintf(path, sizeof path, "%s/%s", scene->source, name);
  assert_int_equal(symlink(target, path), 0);
}

static void on_stored(void *ctx, const char *sha256, const struct err *err) {
  struct scene *scene = ctx;
  scene->ended = true;
  snprintf(scene->sha256, sizeof scene->sha256, "%s", sha256 ? sha256 : "");
  if (err)
    scene->err = *err;
}

static void wait_end(struct scene *scene) {
  while (!scene->ended)
    loop_turn(scene->loop, true);
}

static bool take(struct scene *scene, const char *link, uint64_t max) {
  struct str links[] = {str_of(link)};
  struct snapshot_source source = {.directory = scene->source, .links = links, .link_count = link != NULL, .max = max};
  scene->ended = false;
  scene->err = (struct err){0};
  if (!code_take(scene->store, &source, on_stored, scene, &scene->err))
    fail_msg("%s", scene->err.text);
  assert_false(scene->ended);
  wait_end(scene);
  return scene->sha256[0] != 0;
}

static bool is_there(const struct scene *scene, const char *name, struct stat *ret) {
  AUTO_BUF struct buf path = BUF_INIT(4096);
  code_path(scene->store, scene->sha256, &path);
  buf_printf(&path, "/%s", name);
  return lstat(buf_text(&path), ret) == 0;
}

static void the_same_files_are_the_same_snapshot(void **state UNUSED) {
  struct scene scene;
  struct stat st;
  open_scene(&scene);
  put(&scene, "train.py", "print(1)\n");
  put(&scene, "lib/deep/x.py", "2\n");
  put(&scene, "empty/gone", "");
  char path[400], first[DIGEST_HEX + 1];
  snprintf(path, sizeof path, "%s/empty/gone", scene.source);
  unlink(path);
  snprintf(path, sizeof path, "%s/train.py", scene.source);
  assert_int_equal(chmod(path, 0755), 0);
  put_link(&scene, "lib/up", "../train.py");
  assert_true(take(&scene, NULL, MIB));
  memcpy(first, scene.sha256, sizeof first);
  assert_true(is_there(&scene, "train.py", &st) && (st.st_mode & 0777) == 0755 && st.st_size == 9);
  assert_int_equal(st.st_mtim.tv_sec, 315532800); /* older than any attempt */
  assert_true(is_there(&scene, "lib/deep/x.py", &st) && (st.st_mode & 0777) == 0644);
  assert_true(is_there(&scene, "empty", &st) && S_ISDIR(st.st_mode));
  assert_true(is_there(&scene, "lib/up", &st) && S_ISLNK(st.st_mode));
  struct timespec old[2] = {{1, 0}, {1, 0}};
  assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0); /* times do not count */
  assert_true(take(&scene, NULL, MIB));
  assert_string_equal(scene.sha256, first);
  put(&scene, "train.py", "print(2)\n");
  assert_true(take(&scene, NULL, MIB));
  assert_string_not_equal(scene.sha256, first);
  close_scene(&scene);
}

static void what_is_ignored_is_not_in_it(void **state UNUSED) {
  struct scene scene;
  struct stat st;
  open_scene(&scene);
  put(&scene, ".gitignore", "*.log\n/out/\ndata.bin\n");
  put(&scene, ".winnowignore", "!data.bin\nlarge/\n");
  put(&scene, "sub/.gitignore", "*.tmp\n!keep.log\n");
  for (const char *const *name = (const char *const[]){"a.log", "out/x", "data.bin", "large/x", "sub/a.tmp", "sub/keep.log", "sub/b.log",
                                                       "a.tmp", ".git/config", "__pycache__/x.pyc", "venv/pyvenv.cfg", "linked/x", NULL};
       *name; name++)
    put(&scene, *name, "x");
  assert_true(take(&scene, "./linked/", MIB));
  static const struct {
    const char *name;
    bool there;
  } rows[] = {{"a.log", false},     {"out", false},         {"data.bin", true},      {"large", false}, {"sub/a.tmp", false},
              {"sub/b.log", false}, {"sub/keep.log", true}, {"a.tmp", true},         {".git", false},  {"__pycache__", false},
              {"venv", false},      {"linked", false},      {".winnowignore", true}, {"sub", true}};
  for (size_t i = 0; i < ARRAY_LEN(rows); i++)
    if (is_there(&scene, rows[i].name, &st) != rows[i].there)
      fail_msg("%s", rows[i].name);
  close_scene(&scene);
}

/* The ignore files of a repository hold in a directory of it too. */
static void the_repository_above_is_heard(void **state UNUSED) {
  struct scene scene;
  struct stat st;
  open_scene(&scene);
  put(&scene, ".git/config", "x");
  put(&scene, ".gitignore", "*.o\n/job/private\n");
  put(&scene, "job/a.o", "x");
  put(&scene, "job/private", "x");
  put(&scene, "job/a.c", "x");
  snprintf(scene.source, sizeof scene.source, "%s/source/job", scene.dir.path);
  assert_true(take(&scene, NULL, MIB));
  assert_true(is_there(&scene, "a.c", &st));
  assert_false(is_there(&scene, "a.o", &st));
  assert_false(is_there(&scene, "private", &st));
  close_scene(&scene);
}

static void too_much_lists_the_largest(void **state UNUSED) {
  struct scene scene;
  char text[3001];
  open_scene(&scene);
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = 0;
  put(&scene, "data/a", text);
  put(&scene, "data/b", text);
  put(&scene, "train.py", "x");
  text[2000] = 0;
  put(&scene, "weights", text);
  assert_false(take(&scene, NULL, 4000));
  assert_int_equal(scene.err.code, ERR_TOO_LARGE);
  const char *data = strstr(scene.err.text, "data"), *weights = strstr(scene.err.text, "weights"), *train = strstr(scene.err.text, "train");
  assert_true(data && weights && train && data < weights && weights < train);
  assert_non_null(strstr(scene.err.hint, ".winnowignore"));
  assert_true(take(&scene, "data", 4000));
  close_scene(&scene);
}

static void links_that_lead_outward_are_refused(void **state UNUSED) {
  static const char *const targets[] = {"/etc/passwd", "../x", "a/../../x", "..", ""};
  for (size_t i = 0; i + 1 < ARRAY_LEN(targets); i++) {
    struct scene scene;
    open_scene(&scene);
    put_link(&scene, "out", targets[i]);
    assert_false(take(&scene, NULL, MIB));
    assert_non_null(strstr(scene.err.text, "out is a symbolic link"));
    assert_true(take(&scene, "out", MIB));
    close_scene(&scene);
  }
  assert_true(snapshot_link_stays(STR("a/b/c"), STR("../../x")));
  assert_false(snapshot_link_stays(STR("a/b/c"), STR("../../../x")));
  assert_true(snapshot_link_stays(STR("a"), STR("./b//c")));
}

/* ---- archives that somebody sends ---- */

static void add(struct buf *archive, enum tar_kind kind, const char *path, const char *link, const char *content) {
  static const char zeros[TAR_END_BYTES];
  struct str text = str_of(content ? content : "");
  tar_put_header(archive, &(struct tar_entry){.kind = kind, .path = str_of(path), .link = str_of(link), .mode = 04755, .size = text.n});
  buf_add_str(archive, text);
  buf_add(archive, zeros, tar_padding(text.n));
}

static bool send_archive(struct scene *scene, const struct buf *archive, const char *sha256) {
  char digest[DIGEST_HEX + 1];
  struct digest *d = digest_new();
  struct code_upload *upload;
  digest_add(d, buf_str(archive));
  digest_end(d, digest);
  scene->ended = false;
  scene->err = (struct err){0};
  assert_true(code_upload_new(scene->store, sha256 ? sha256 : digest, &upload, &scene->err));
  size_t half = archive->n / 2;
  assert_true(!half || code_upload_write(upload, str_slice(buf_str(archive), 0, half), &scene->err));
  assert_true(code_upload_finish(upload, str_slice(buf_str(archive), half, archive->n), on_stored, scene, &scene->err));
  wait_end(scene);
  assert_int_equal(code_has(scene->store, digest), scene->sha256[0] != 0);
  return scene->sha256[0] != 0;
}

static void what_leads_outward_is_not_unpacked(void **state UNUSED) {
  static const struct {
    enum tar_kind kind;
    const char *path, *link;
  } rows[] = {
      {TAR_FILE, "../evil", NULL}, {TAR_FILE, "/tmp/evil", NULL}, {TAR_FILE, "a/../../evil", NULL},
      {TAR_FILE, "a//b", NULL},    {TAR_LINK, "l", "/etc"},       {TAR_LINK, "l", "../.."},
      {TAR_LINK, "l", ""},         {TAR_FILE, "twice", NULL},     {TAR_FILE, "inside/evil", NULL}, /* through a link */
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct scene scene;
    static const char zeros[TAR_END_BYTES];
    AUTO_BUF struct buf archive = BUF_INIT(MIB);
    open_scene(&scene);
    add(&archive, TAR_FILE, "twice", NULL, "x");
    add(&archive, TAR_DIRECTORY, "d", NULL, NULL);
    add(&archive, TAR_LINK, "inside", "d", NULL);
    add(&archive, rows[i].kind, rows[i].path, rows[i].link, NULL);
    buf_add(&archive, zeros, sizeof zeros);
    if (send_archive(&scene, &archive, NULL))
      fail_msg("%s -> %s was unpacked", rows[i].path, rows[i].link ? rows[i].link : "");
    assert_int_equal(scene.err.code, ERR_INVALID);
    close_scene(&scene);
  }
}

static void too_deep_a_path_is_refused(void **state UNUSED) {
  struct scene scene;
  static const char zeros[TAR_END_BYTES];
  AUTO_BUF struct buf archive = BUF_INIT(MIB), path = BUF_INIT(4096);
  open_scene(&scene);
  for (int i = 0; i < SNAPSHOT_DEPTH_MAX; i++)
    buf_puts(&path, "d/");
  buf_puts(&path, "f");
  add(&archive, TAR_FILE, buf_text(&path), NULL, "x");
  buf_add(&archive, zeros, sizeof zeros);
  assert_false(send_archive(&scene, &archive, NULL));
  assert_int_equal(scene.err.code, ERR_INVALID);
  archive.n = 0;
  add(&archive, TAR_FILE, buf_text(&path) + 2, NULL, "x");
  buf_add(&archive, zeros, sizeof zeros);
  assert_true(send_archive(&scene, &archive, NULL));
  close_scene(&scene);
}

static void an_archive_is_unpacked_once(void **state UNUSED) {
  struct scene scene;
  struct stat st;
  static const char zeros[TAR_END_BYTES];
  AUTO_BUF struct buf archive = BUF_INIT(MIB);
  open_scene(&scene);
  add(&archive, TAR_FILE, "deep/er/run.sh", NULL, "echo\n"); /* nobody named its directories */
  buf_add(&archive, zeros, sizeof zeros);
  char wrong[DIGEST_HEX + 1];
  memset(wrong, 'a', DIGEST_HEX);
  wrong[DIGEST_HEX] = 0;
  assert_false(send_archive(&scene, &archive, wrong));
  assert_non_null(strstr(scene.err.text, wrong));
  assert_false(code_has(scene.store, wrong));
  assert_true(send_archive(&scene, &archive, NULL));
  assert_true(is_there(&scene, "deep/er/run.sh", &st) && (st.st_mode & 07777) == 0755); /* no set-user-id */
  assert_true(send_archive(&scene, &archive, NULL));
  archive.n -= 600;
  assert_false(send_archive(&scene, &archive, NULL));
  archive.n = 0;
  assert_false(send_archive(&scene, &archive, NULL));
  close_scene(&scene);
}

static size_t count_names(const struct scene *scene) {
  AUTO_BUF struct buf path = BUF_INIT(4096);
  size_t count = 0;
  buf_printf(&path, "%s/code", scene->dir.path);
  DIR *dir = opendir(buf_text(&path));
  assert_non_null(dir);
  while (readdir(dir))
    count++;
  closedir(dir);
  return count - 2; /* . and .. */
}

static void what_is_broken_off_leaves_nothing(void **state UNUSED) {
  struct scene scene;
  struct err err;
  struct code_upload *upload, *written;
  char digest[DIGEST_HEX + 1];
  memset(digest, 'a', DIGEST_HEX);
  digest[DIGEST_HEX] = 0;
  open_scene(&scene);
  assert_true(code_upload_new(scene.store, digest, &upload, &err));
  assert_true(code_upload_new(scene.store, digest, &written, &err));
  assert_int_equal(count_names(&scene), 0);
  assert_true(code_upload_write(written, STR("some"), &err));
  assert_int_equal(count_names(&scene), 1);
  code_upload_abort(upload);
  code_upload_abort(written);
  code_upload_abort(NULL);
  work_pool_stop(scene.work);
  assert_int_equal(count_names(&scene), 0);
  /* nor does what comes when the service is stopping */
  assert_true(code_upload_new(scene.store, digest, &upload, &err));
  assert_true(code_upload_new(scene.store, digest, &written, &err));
  assert_true(code_upload_write(upload, STR("some"), &err) && code_upload_write(written, STR("some"), &err));
  code_upload_abort(upload);
  assert_false(code_upload_finish(written, STR("more"), on_stored, &scene, &err));
  assert_int_equal(err.code, ERR_UNAVAILABLE);
  assert_false(scene.ended);
  assert_int_equal(count_names(&scene), 0);
  close_scene(&scene);
}

/* ---- collecting ---- */

static bool is_named(void *ctx, const char *sha256) {
  return strcmp(ctx, sha256) == 0;
}

static size_t collect(struct scene *scene, char *named, int64_t unused_ms, bool dry_run) {
  struct code_collect how = {.named = is_named, .named_ctx = named, .unused_ms = unused_ms, .dry_run = dry_run};
  return code_store_collect(scene->store, &how);
}

static void what_nobody_names_is_collected(void **state UNUSED) {
  struct scene scene;
  struct err err;
  char first[DIGEST_HEX + 1], nobody[] = "";
  open_scene(&scene);
  put(&scene, "a", "1");
  assert_true(take(&scene, NULL, MIB));
  memcpy(first, scene.sha256, sizeof first);
  put(&scene, "a", "2");
  assert_true(take(&scene, NULL, MIB));
  assert_int_equal(collect(&scene, nobody, CODE_GRACE_MS, false), 0); /* both are young */
  assert_int_equal(collect(&scene, first, -1000, true), 1);
  assert_true(code_has(scene.store, scene.sha256));
  assert_int_equal(collect(&scene, first, -1000, false), 1);
  assert_true(code_has(scene.store, first));
  assert_false(code_has(scene.store, scene.sha256));
  AUTO_BUF struct buf path = BUF_INIT(4096);
  buf_printf(&path, "%s/code/.winnow-left", scene.dir.path);
  assert_true(dir_make(buf_text(&path), 0700, &err));
  work_pool_free(scene.work); /* as after a crash in the middle */
  code_store_free(scene.store);
  scene.work = work_pool_new(scene.loop, 1, 64, &err);
  scene.store = code_store_new(scene.dir.path, scene.work, &clock_system, &err);
  for (int i = 0; i < 6000 && access(buf_text(&path), F_OK) == 0; i++)
    usleep(10000);
  assert_int_not_equal(access(buf_text(&path), F_OK), 0);
  assert_true(code_has(scene.store, first));
  close_scene(&scene);
}

static void digests_are_read(void **state UNUSED) {
  char ret[DIGEST_HEX + 1], hex[DIGEST_HEX + 1], text[100];
  memset(hex, 'a', DIGEST_HEX);
  hex[DIGEST_HEX] = 0;
  snprintf(text, sizeof text, "sha256:%s", hex);
  assert_true(code_digest_read(str_of(text), ret) && strcmp(ret, hex) == 0);
  assert_true(code_digest_read(str_of(hex), ret));
  hex[3] = 'A';
  assert_false(code_digest_read(str_of(hex), ret));
  hex[3] = '/';
  assert_false(code_digest_read(str_of(hex), ret));
  assert_false(code_digest_read(STR("sha256:"), ret));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_same_files_are_the_same_snapshot),
      cmocka_unit_test(what_is_ignored_is_not_in_it),
      cmocka_unit_test(the_repository_above_is_heard),
      cmocka_unit_test(too_much_lists_the_largest),
      cmocka_unit_test(links_that_lead_outward_are_refused),
      cmocka_unit_test(what_leads_outward_is_not_unpacked),
      cmocka_unit_test(too_deep_a_path_is_refused),
      cmocka_unit_test(an_archive_is_unpacked_once),
      cmocka_unit_test(what_is_broken_off_leaves_nothing),
      cmocka_unit_test(what_nobody_names_is_collected),
      cmocka_unit_test(digests_are_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
