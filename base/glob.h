/* Globs over paths of '/'-separated names: `*` and `?` within a name, `[a-z]` and `[!a-z]`, `**` for any number of names. A wildcard does
 * not take a name that begins with a dot, unless the pattern's name does. Linear in the length of a name for each star. */
#ifndef WINNOW_BASE_GLOB_H
#define WINNOW_BASE_GLOB_H

#include "base/str.h"

bool glob_match(struct str pattern, struct str path);
/* May something below the directory `path` match? "" is where paths begin. */
bool glob_reaches(struct str pattern, struct str path);

#endif
