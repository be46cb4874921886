#include "base/clock.h"

static int64_t system_wall_ms(const struct clock *clock UNUSED) {
  struct timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t system_mono_us(const struct clock *clock UNUSED) {
  struct timespec ts;
  clock_gettime(CLOCK_BOOTTIME, &ts);
  return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

const struct clock clock_system = {system_wall_ms, system_mono_us};

static int64_t fake_wall_ms(const struct clock *clock) {
  return ((const struct fake_clock *)(const void *)clock)->wall;
}

static int64_t fake_mono_us(const struct clock *clock) {
  return ((const struct fake_clock *)(const void *)clock)->mono;
}

void fake_clock_init(struct fake_clock *fake, int64_t wall_ms) {
  *fake = (struct fake_clock){{fake_wall_ms, fake_mono_us}, wall_ms, 1000000};
}

void fake_clock_advance_ms(struct fake_clock *fake, int64_t ms) {
  fake->wall += ms;
  fake->mono += ms * 1000;
}

void clock_format_iso(int64_t wall_ms, char out[32]) {
  int64_t seconds = wall_ms / 1000, ms = wall_ms % 1000;
  if (ms < 0) {
    ms += 1000;
    seconds--;
  }
  time_t t = (time_t)seconds;
  struct tm tm;
  if (!gmtime_r(&t, &tm) || tm.tm_year > 8099 || tm.tm_year < -1900) {
    snprintf(out, 32, "%lld ms", (long long)wall_ms);
    return;
  }
  /* not strftime(), which reads the time zone's file */
  snprintf(out, 32, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
           (int)ms);
}
