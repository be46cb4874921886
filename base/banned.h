/* Functions that do not compile here, and what to use instead. A file that must use one (a wrapper)
 * says `#define WINNOW_ALLOW_<GROUP>` before its first include, with the reason beside it. */
#ifndef WINNOW_BASE_BANNED_H
#define WINNOW_BASE_BANNED_H

/* The standard headers come first, so that only our own uses are refused. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#undef sprintf
#undef vsprintf
#undef strcpy
#undef strcat
#undef strncpy
#undef strncat
#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf gets strtok
#pragma GCC poison atoi atol atoll atof sscanf
#pragma GCC poison localtime gmtime ctime asctime
#pragma GCC poison tmpnam mktemp tempnam
#undef alloca
#pragma GCC poison alloca

/* These are allowed only where the wrapper lives. */
#ifndef WINNOW_ALLOW_NUMBERS /* use str_to_i64(), str_to_f64() */
#pragma GCC poison strtol strtoul strtoll strtoull strtod strtof
#endif
#ifndef WINNOW_ALLOW_MALLOC /* use mem_alloc() and friends, or an arena */
#pragma GCC poison malloc calloc realloc strdup strndup
#endif
#ifndef WINNOW_ALLOW_RAND /* chance is passed in: use struct rng (rand itself is a name in OpenSSL) */
#pragma GCC poison srand random srandom drand48 lrand48
#endif
#ifndef WINNOW_ALLOW_SHELL /* commands are argv, never a shell string */
#pragma GCC poison system popen
#endif

#endif
