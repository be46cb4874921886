#include "cli/secrets.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"

/* Reads DIR/name, or makes it with `fresh`; `content` holds what it says. */
static bool read_or_make(const char *data_dir, const char *name, struct str fresh, struct buf *content, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(4096);
  buf_printf(&path, "%s/%s", data_dir, name);
  if (!buf_ok(&path, err))
    return false;
  struct stat st;
  if (lstat(buf_text(&path), &st) != 0) {
    if (errno != ENOENT)
      return err_errno(err, errno, "cannot look at %s", buf_text(&path));
    if (!file_replace(buf_text(&path), fresh, 0600, err))
      return false;
    buf_add_str(content, fresh);
    return buf_ok(content, err);
  }
  if (!S_ISREG(st.st_mode) || (st.st_mode & 077) || (st.st_uid != geteuid() && st.st_uid != 0)) {
    err_set(err, ERR_FORBIDDEN, "%s must be a file that only its owner can read", buf_text(&path));
    return err_hint(err, "chmod 600 %s, or remove it: a new one is made", buf_text(&path));
  }
  return file_read(buf_text(&path), content, err);
}

bool secrets_admin_token(const char *data_dir, uint8_t ret_hash[TOKEN_HASH_BYTES], struct err *err) {
  char fresh[64];
  token_make(fresh);
  AUTO_BUF struct buf line = BUF_INIT(128), content = BUF_INIT(4096);
  buf_printf(&line, "%s\n", fresh);
  bool ok = buf_ok(&line, err) && read_or_make(data_dir, "admin.token", buf_str(&line), &content, err);
  struct str token = str_trim(buf_str(&content));
  if (ok && (token.n < 20 || token.n >= TOKEN_TEXT_MAX)) {
    err_set(err, ERR_INVALID, "%s/admin.token holds no token", data_dir);
    ok = err_hint(err, "remove it: a new one is made");
  }
  if (ok)
    token_hash(token, ret_hash);
  mem_wipe(fresh, sizeof fresh);
  mem_wipe(line.p, line.n);
  mem_wipe(content.p, content.n);
  return ok;
}

bool secrets_run_key(const char *data_dir, uint8_t ret_key[32], struct err *err) {
  uint8_t fresh[32];
  char hex[65];
  rng_secret(fresh, sizeof fresh);
  hex_encode(fresh, sizeof fresh, hex);
  AUTO_BUF struct buf content = BUF_INIT(4096);
  bool ok = read_or_make(data_dir, "run.key", str_of(hex), &content, err);
  if (ok && !hex_decode(str_trim(buf_str(&content)), ret_key, 32)) {
    err_set(err, ERR_INVALID, "%s/run.key holds no key", data_dir);
    ok = err_hint(err, "remove it: a new one is made, and tokens of running jobs end");
  }
  mem_wipe(fresh, sizeof fresh);
  mem_wipe(hex, sizeof hex);
  mem_wipe(content.p, content.n);
  return ok;
}
