#include "web/http/http_chunk.h"

#include "web/http/http_head.h"

enum state {
  SIZE_FIRST, /* at least one digit */
  SIZE_REST,
  EXTENSION,
  SIZE_LF,
  DATA,
  DATA_CR,
  DATA_LF,
  TRAILER_FIRST, /* at the beginning of a trailer line, or of the empty line that ends it all */
  TRAILER_NAME,
  TRAILER_VALUE,
  TRAILER_LF,
  LAST_LF,
  DONE,
};

static bool step_size(struct http_chunk *chunk, char c, struct err *err) {
  int digit = hex_digit(c);
  if (digit >= 0) {
    if (chunk->left >> 56)
      return err_set(err, ERR_TOO_LARGE, "a chunk is too large");
    if (++chunk->line > HTTP_CHUNK_LINE_MAX)
      return err_set(err, ERR_INVALID, "a chunk's line is too long");
    chunk->left = chunk->left * 16 + (uint64_t)digit;
    chunk->state = SIZE_REST;
    return true;
  }
  if (chunk->state == SIZE_FIRST || (c != ';' && c != '\r'))
    return err_set(err, ERR_INVALID, "a chunk's size is malformed");
  chunk->state = c == ';' ? EXTENSION : SIZE_LF;
  return true;
}

static bool step_extension(struct http_chunk *chunk, char c, struct err *err) {
  if (c == '\r') {
    chunk->state = SIZE_LF;
    return true;
  }
  if (!http_is_field_value(str_n(&c, 1)))
    return err_set(err, ERR_INVALID, "a chunk's extension is malformed");
  if (++chunk->line > HTTP_CHUNK_LINE_MAX || ++chunk->overhead > HTTP_CHUNK_EXTENSIONS_MAX)
    return err_set(err, ERR_INVALID, "there are too many chunk extensions");
  return true;
}

/* One byte outside of the data. */
static bool step(struct http_chunk *chunk, char c, struct err *err) {
  switch ((enum state)chunk->state) {
  case SIZE_FIRST:
  case SIZE_REST:
    return step_size(chunk, c, err);
  case EXTENSION:
    return step_extension(chunk, c, err);
  case SIZE_LF:
    if (c != '\n')
      return err_set(err, ERR_INVALID, "a chunk's line does not end with CRLF");
    chunk->line = 0;
    if (!chunk->left)
      chunk->overhead = 0;
    chunk->state = chunk->left ? DATA : TRAILER_FIRST;
    return true;
  case DATA_CR:
  case DATA_LF:
    if (c != (chunk->state == DATA_CR ? '\r' : '\n'))
      return err_set(err, ERR_INVALID, "a chunk is longer than its size says");
    chunk->state = chunk->state == DATA_CR ? DATA_LF : SIZE_FIRST;
    return true;
  default:
    break;
  }
  if (++chunk->overhead > HTTP_TRAILERS_MAX)
    return err_set(err, ERR_HEAD_TOO_LARGE, "the trailers are larger than %d bytes", (int)HTTP_TRAILERS_MAX);
  switch ((enum state)chunk->state) {
  case TRAILER_FIRST:
    if (c != '\r' && !http_is_token(str_n(&c, 1)))
      break;
    chunk->state = c == '\r' ? LAST_LF : TRAILER_NAME;
    return true;
  case TRAILER_NAME:
    if (c != ':' && !http_is_token(str_n(&c, 1)))
      break;
    chunk->state = c == ':' ? TRAILER_VALUE : TRAILER_NAME;
    return true;
  case TRAILER_VALUE:
    if (c != '\r' && !http_is_field_value(str_n(&c, 1)))
      break;
    chunk->state = c == '\r' ? TRAILER_LF : TRAILER_VALUE;
    return true;
  default: /* TRAILER_LF, LAST_LF */
    if (c != '\n')
      break;
    chunk->state = chunk->state == LAST_LF ? DONE : TRAILER_FIRST;
    return true;
  }
  return err_set(err, ERR_INVALID, "a trailer is malformed");
}

enum http_chunk_result http_chunk_decode(struct http_chunk *chunk, struct str bytes, size_t *ret_used, struct str *ret_data,
                                         struct err *err) {
  size_t at = 0;
  while (chunk->state != DONE) {
    if (at == bytes.n) {
      *ret_used = at;
      return HTTP_CHUNK_MORE;
    }
    if (chunk->state == DATA) {
      size_t n = (size_t)MIN_OF((uint64_t)(bytes.n - at), chunk->left);
      *ret_data = str_slice(bytes, at, at + n);
      *ret_used = at + n;
      chunk->left -= n;
      if (!chunk->left)
        chunk->state = DATA_CR;
      return HTTP_CHUNK_DATA;
    }
    if (!step(chunk, bytes.p[at], err)) {
      *ret_used = at;
      return HTTP_CHUNK_BAD;
    }
    at++;
  }
  *ret_used = at;
  return HTTP_CHUNK_DONE;
}

size_t http_chunk_head(size_t size, char out[20]) {
  static const char digits[] = "0123456789abcdef";
  size_t n = 1;
  for (size_t rest = size >> 4; rest; rest >>= 4)
    n++;
  for (size_t i = n; i--; size >>= 4)
    out[i] = digits[size & 15];
  memcpy(out + n, "\r\n", 2);
  return n + 2;
}
