#include "sweeper/companion/say.h"

#include <stdarg.h>

#include "base/clock.h"

void say(const char *format, ...) {
  char time[32], text[1024];
  clock_format_iso(clock_wall_ms(&clock_system), time);
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  fprintf(stderr, "%s %s\n", time, text);
}
