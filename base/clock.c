#include "base/clock.h"

static int64_t system_wall_us(const struct clock *clock UNUSED) {
  struct timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t system_mono_us(const struct clock *clock UNUSED) {
  struct timespec ts;
  clock_gettime(CLOCK_BOOTTIME, &ts);
  return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

const struct clock clock_system = {system_wall_us, system_mono_us};

static int64_t fake_wall_us(const struct clock *clock) {
  const struct fake_clock *fake = (const struct fake_clock *)(const void *)clock;
  return fake->wall * 1000 + fake->wall_us;
}

static int64_t fake_mono_us(const struct clock *clock) {
  return ((const struct fake_clock *)(const void *)clock)->mono;
}

void fake_clock_init(struct fake_clock *fake, int64_t wall_ms) {
  *fake = (struct fake_clock){{fake_wall_us, fake_mono_us}, .wall = wall_ms, .mono = 1000000};
}

void fake_clock_advance_ms(struct fake_clock *fake, int64_t ms) {
  fake->wall += ms;
  fake->mono += ms * 1000;
}

enum { DAY_S = 86400, ERA_DAYS = 146097 }; /* the calendar repeats itself every 400 years */

/* The years 0 to 9999. */
static const int64_t first_second = -62167219200, last_second = 253402300799;

struct date {
  int year, month, day;
};

/* A year begins with March here, so that the odd day comes at its end. */
static struct date date_of(int64_t seconds) {
  int days = (int)((seconds - first_second) / DAY_S) + ERA_DAYS - 60;
  int era = days / ERA_DAYS, day = days % ERA_DAYS;
  int year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
  int of_year = day - (365 * year + year / 4 - year / 100);
  int month = (5 * of_year + 2) / 153;
  return (struct date){.year = (era - 1) * 400 + year + (month >= 10),
                       .month = month < 10 ? month + 3 : month - 9,
                       .day = of_year - (153 * month + 2) / 5 + 1};
}

/* By ourselves: gmtime_r() and strftime() read the time zone's file, which takes a short process as long as much else. */
void clock_format_iso(int64_t wall_ms, char out[32]) {
  int64_t seconds = wall_ms / 1000, ms = wall_ms % 1000;
  if (ms < 0) {
    ms += 1000;
    seconds--;
  }
  if (seconds < first_second || seconds > last_second) {
    snprintf(out, 32, "%lld ms", (long long)wall_ms);
    return;
  }
  struct date date = date_of(seconds);
  int of_day = (int)((seconds - first_second) % DAY_S);
  snprintf(out, 32, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", date.year, date.month, date.day, of_day / 3600, of_day / 60 % 60, of_day % 60,
           (int)ms);
}
