/* What .gitignore and files like it leave out, as git reads them: comments, `!` takes back, a slash anchors, a slash at the end means
 * directories, `*` and `?` stop at slashes, `**` does not, [sets], backslashes. The last line that fits decides. Pure. */
#ifndef WINNOW_BASE_IGNORE_H
#define WINNOW_BASE_IGNORE_H

#include "base/arena.h"
#include "base/err.h"

enum { IGNORE_LINES_MAX = 100000 };

struct ignore_line {
  struct str pattern; /* without the marks below */
  bool back;          /* `!`: takes back */
  bool directories;   /* only these */
  bool anchored;      /* the whole path is compared, not the name alone */
};

struct ignore {
  struct ignore_line *lines;
  size_t count;
};

/* Borrows `text`. No text is wrong; ERR_TOO_LARGE above IGNORE_LINES_MAX lines. */
MUST_CHECK bool ignore_read(struct str text, struct arena *arena, struct ignore *ret, struct err *err);

enum ignore_says { IGNORE_SILENT, IGNORE_OUT, IGNORE_IN };
/* `path` is relative to the directory of the file. What lies in a directory that is out is not asked about. */
enum ignore_says ignore_ask(const struct ignore *ignore, struct str path, bool is_directory);

/* Does the whole path fit the pattern? `**` between slashes stands for any number of directories. In time of the product of the lengths. */
bool ignore_path_fits(struct str pattern, struct str path);

#endif
