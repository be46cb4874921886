/* A zip archive written front to back: what a file's size and CRC are stands behind its data, so nothing is read twice. Names are UTF-8,
 * large files, offsets and counts use zip64. Touches nothing but its own memory: for a thread. */
#ifndef WINNOW_WEB_ZIP_H
#define WINNOW_WEB_ZIP_H

#include "base/buf.h"

struct zip;

/* `central_max`: bytes that the list of files at the end may take in memory. NULL without memory. */
MUST_CHECK struct zip *zip_new(size_t central_max);
void zip_free(struct zip *zip); /* accepts NULL */

/* All of these add to `out`. A file that is `packed` is compressed; others are carried as they are, in blocks that every reader knows.
 * `size` is what it is expected to have; it may differ, but not cross 4 GiB upwards. */
MUST_CHECK bool zip_begin_file(struct zip *zip, struct str name, uint64_t size, int64_t mtime_s, bool packed, struct buf *out,
                               struct err *err);
MUST_CHECK bool zip_add(struct zip *zip, struct str bytes, struct buf *out, struct err *err);
MUST_CHECK bool zip_end_file(struct zip *zip, struct buf *out, struct err *err);
/* The list of files. Nothing comes after it. */
MUST_CHECK bool zip_end(struct zip *zip, struct buf *out, struct err *err);

#endif
