#include "web/http/http_gzip.h"

#define ZLIB_CONST
#include <zlib.h>

#include "base/mem.h"

/* Fast rather than small: it runs on the loop. */
enum { LEVEL = 2, GZIP_WINDOW = 15 + 16, MEMORY_LEVEL = 8, STEP = 64 * 1024 };

struct http_gzip {
  z_stream z;
};

static void *allocate(void *unused UNUSED, unsigned count, unsigned size) {
  return mem_array(count, size);
}

static void release(void *unused UNUSED, void *ptr) {
  mem_free(ptr);
}

struct http_gzip *http_gzip_new(void) {
  struct http_gzip *gzip = mem_zalloc(sizeof *gzip);
  if (!gzip)
    return NULL;
  gzip->z.zalloc = allocate;
  gzip->z.zfree = release;
  if (deflateInit2(&gzip->z, LEVEL, Z_DEFLATED, GZIP_WINDOW, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
    mem_free(gzip);
    return NULL;
  }
  return gzip;
}

void http_gzip_free(struct http_gzip *gzip) {
  if (!gzip)
    return;
  deflateEnd(&gzip->z);
  mem_free(gzip);
}

bool http_gzip_pack(struct http_gzip *gzip, struct str in, struct buf *out) {
  z_stream *z = &gzip->z;
  if (in.n > UINT32_MAX || deflateReset(z) != Z_OK)
    return false;
  z->next_in = (z_const Bytef *)in.p;
  z->avail_in = (uInt)in.n;
  int result;
  do {
    size_t step = MIN_OF((size_t)STEP, out->max - out->n);
    char *room = buf_room(out, step);
    if (!room || !step)
      return false;
    z->next_out = (Bytef *)room;
    z->avail_out = (uInt)step;
    result = deflate(z, Z_FINISH);
    buf_grew(out, step - z->avail_out);
  } while (result == Z_OK || result == Z_BUF_ERROR);
  return result == Z_STREAM_END;
}
