#include "base/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is said stays within the bytes, and the reader comes to an end. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str all = str_n((const char *)data, size);
  struct tar_reader reader = TAR_READER(all);
  struct tar_entry entry;
  struct str content;
  struct err err;
  size_t entries = 0, sum = 0;
  while (tar_next(&reader, &entry, &content, &err)) {
    if (++entries > size / TAR_BLOCK || (content.n && (content.p < all.p || content.p + content.n > all.p + all.n)))
      abort();
    for (size_t i = 0; i < entry.path.n; i++)
      sum += (unsigned char)entry.path.p[i];
    for (size_t i = 0; i < entry.link.n; i++)
      sum += (unsigned char)entry.link.p[i];
    AUTO_BUF struct buf out = BUF_INIT(MIB);
    tar_put_header(&out, &entry);
    if (out.n % TAR_BLOCK)
      abort();
  }
  if (err.code != ERR_NONE && !err.text[0])
    abort();
  return (int)(sum & 0);
}
