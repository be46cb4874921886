/* The chunked coding, both ways: pure, incremental, strict. */
#ifndef WINNOW_WEB_HTTP_CHUNK_H
#define WINNOW_WEB_HTTP_CHUNK_H

#include "base/err.h"
#include "base/str.h"

/* Chunk extensions are skipped: at most this many bytes on one line and in a body altogether. Trailers are skipped too. */
enum { HTTP_CHUNK_LINE_MAX = 256, HTTP_CHUNK_EXTENSIONS_MAX = 16 * 1024, HTTP_TRAILERS_MAX = 4 * 1024 };

struct http_chunk {
  uint64_t left;     /* of the chunk's data, or its size while that is read */
  uint32_t line;     /* bytes of the current line */
  uint32_t overhead; /* bytes of extensions, or of trailers once they have begun */
  uint8_t state;     /* 0: before the first chunk */
};

enum http_chunk_result {
  HTTP_CHUNK_MORE, /* everything was used up */
  HTTP_CHUNK_DATA, /* *ret_data is a piece of the body, borrowed from `bytes` */
  HTTP_CHUNK_DONE, /* the body is complete; what follows *ret_used belongs to the next request */
  HTTP_CHUNK_BAD,  /* *err says why */
};

/* Zero-initialise *chunk. Call again with what is left after *ret_used bytes, until MORE or DONE. */
enum http_chunk_result http_chunk_decode(struct http_chunk *chunk, struct str bytes, size_t *ret_used, struct str *ret_data,
                                         struct err *err);

/* "<hex size>\r\n"; the data and "\r\n" follow. Returns the length. */
size_t http_chunk_head(size_t size, char out[20]);

#endif
