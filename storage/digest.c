/* OpenSSL's headers come before the ban list, whose words they use, and never meet base/err.h, whose names they share. */
#include <openssl/evp.h>

#include "storage/digest.h"

#include "base/id.h"

struct digest {
  EVP_MD_CTX *ctx;
  bool failed;
};

struct digest *digest_new(void) {
  struct digest *digest = OPENSSL_zalloc(sizeof *digest);
  if (!digest)
    return NULL;
  digest->ctx = EVP_MD_CTX_new();
  digest->failed = !digest->ctx || EVP_DigestInit_ex(digest->ctx, EVP_sha256(), NULL) != 1;
  return digest;
}

void digest_add(struct digest *digest, struct str bytes) {
  digest->failed = digest->failed || EVP_DigestUpdate(digest->ctx, bytes.p, bytes.n) != 1;
}

void digest_end(struct digest *digest, char ret[DIGEST_HEX + 1]) {
  unsigned char bytes[EVP_MAX_MD_SIZE] = {0};
  unsigned n = 0;
  bool ok = !digest->failed && EVP_DigestFinal_ex(digest->ctx, bytes, &n) == 1;
  if (ok)
    hex_encode(bytes, DIGEST_HEX / 2, ret);
  else
    snprintf(ret, DIGEST_HEX + 1, "unknown"); /* equal to no digest */
  EVP_MD_CTX_free(digest->ctx);
  OPENSSL_free(digest);
}
