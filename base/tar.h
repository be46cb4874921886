/* Tar archives: written in one fixed way (ustar, pax where a name is long), so that the same files make the same bytes; read as ustar, pax
 * and GNU tar write them. Pure. */
#ifndef WINNOW_BASE_TAR_H
#define WINNOW_BASE_TAR_H

#include "base/buf.h"

enum { TAR_BLOCK = 512, TAR_END_BYTES = 2 * TAR_BLOCK, TAR_NAME_MAX = 4096 };

enum tar_kind { TAR_FILE, TAR_DIRECTORY, TAR_LINK, TAR_OTHER };

struct tar_entry {
  enum tar_kind kind;
  struct str path; /* as it stands in the archive, but for "./" before and "/" after it; "" is the directory itself */
  struct str link; /* of TAR_LINK */
  unsigned mode;   /* permission bits */
  uint64_t size;   /* of TAR_FILE */
};

/* ---- writing ---- */

/* The content follows, then tar_padding() zeros; after the last entry TAR_END_BYTES zeros. No times, no owners. */
void tar_put_header(struct buf *out, const struct tar_entry *entry);
size_t tar_padding(uint64_t size);

/* ---- reading ---- */

struct tar_reader {
  struct str rest;
  size_t at; /* bytes taken */
  char name[TAR_NAME_MAX];
};

#define TAR_READER(archive) ((struct tar_reader){.rest = (archive)})

/* The next entry; false at the end (err->code ERR_NONE) and when the archive is damaged. Texts and content are borrowed from the archive,
 * the path until the next call. */
MUST_CHECK bool tar_next(struct tar_reader *reader, struct tar_entry *ret, struct str *ret_content, struct err *err);

/* For those who get an archive piece by piece (base/tar_stream.h): how many bytes the head of the next entry takes, as far as `have` tells;
 * more than there are: it is not complete. */
size_t tar_head_bytes(struct str have);
/* As tar_next(), but takes the head alone; the reader then stands before the content. *ret_size is what the content takes, whatever it is.
 */
MUST_CHECK bool tar_next_head(struct tar_reader *reader, struct tar_entry *ret, uint64_t *ret_size, struct err *err);

#endif
