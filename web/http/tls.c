#include "web/http/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/mem.h"

struct tls {
  char *cert_file, *key_file;
  SSL_CTX *ctx;
};

/* What OpenSSL says, as one error. */
static bool fail(struct err *err, const char *what, const char *file) {
  char reason[160];
  unsigned long code = ERR_get_error();
  ERR_error_string_n(code, reason, sizeof reason);
  ERR_clear_error();
  return err_set(err, ERR_INVALID, "%s %s: %s", what, file, code ? reason : "unknown reason");
}

static bool load(SSL_CTX *ctx, const struct tls *tls, struct err *err) {
  if (SSL_CTX_use_certificate_chain_file(ctx, tls->cert_file) != 1)
    return fail(err, "cannot use the certificate", tls->cert_file);
  if (SSL_CTX_use_PrivateKey_file(ctx, tls->key_file, SSL_FILETYPE_PEM) != 1)
    return fail(err, "cannot use the key", tls->key_file);
  return SSL_CTX_check_private_key(ctx) == 1 || fail(err, "the key does not belong to the certificate:", tls->key_file);
}

static SSL_CTX *make_context(const struct tls *tls, struct err *err) {
  ERR_clear_error();
  SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
  if (!ctx) {
    err_no_memory(err);
    return NULL;
  }
  static const unsigned char session_context[] = "winnow";
  SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
  SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_id_context(ctx, session_context, sizeof session_context - 1);
  /* Sessions are resumed by tickets; none are kept here. */
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(ctx, 1);
  if (!load(ctx, tls, err)) {
    SSL_CTX_free(ctx);
    return NULL;
  }
  return ctx;
}

struct tls *tls_new(const char *cert_file, const char *key_file, struct err *err) {
  struct tls *tls = mem_zalloc(sizeof *tls);
  if (tls) {
    tls->cert_file = mem_strdup(cert_file);
    tls->key_file = mem_strdup(key_file);
  }
  if (!tls || !tls->cert_file || !tls->key_file) {
    tls_free(tls);
    err_no_memory(err);
    return NULL;
  }
  tls->ctx = make_context(tls, err);
  if (!tls->ctx) {
    tls_free(tls);
    return NULL;
  }
  return tls;
}

bool tls_reload(struct tls *tls, struct err *err) {
  SSL_CTX *fresh = make_context(tls, err);
  if (!fresh)
    return false;
  SSL_CTX_free(tls->ctx);
  tls->ctx = fresh;
  return true;
}

void tls_free(struct tls *tls) {
  if (!tls)
    return;
  SSL_CTX_free(tls->ctx);
  mem_free(tls->cert_file);
  mem_free(tls->key_file);
  mem_free(tls);
}

struct ssl_st *tls_accept(struct tls *tls, int fd) {
  SSL *ssl = SSL_new(tls->ctx);
  if (ssl && SSL_set_fd(ssl, fd) != 1) { /* which does not close it */
    SSL_free(ssl);
    return NULL;
  }
  if (ssl)
    SSL_set_accept_state(ssl);
  return ssl;
}
