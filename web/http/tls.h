/* The server's side of TLS: certificate and key, read again on demand. */
#ifndef WINNOW_WEB_TLS_H
#define WINNOW_WEB_TLS_H

#include "base/err.h"

struct tls;
struct ssl_st;

/* PEM files; the certificate's file has the chain after it. TLS 1.2 and 1.3. */
MUST_CHECK struct tls *tls_new(const char *cert_file, const char *key_file, struct err *err);
/* Reads both files again. New connections use what was read, those that exist keep what they have. On failure nothing is changed. */
MUST_CHECK bool tls_reload(struct tls *tls, struct err *err);
void tls_free(struct tls *tls); /* accepts NULL; connections may outlive it */

/* For a connection just accepted; NULL without memory. The caller owns it, and the descriptor. */
MUST_CHECK struct ssl_st *tls_accept(struct tls *tls, int fd);

#endif
