/* Time is passed in. */
#ifndef WINNOW_BASE_CLOCK_H
#define WINNOW_BASE_CLOCK_H

#include "base/base.h"

struct clock {
  int64_t (*wall_us)(const struct clock *clock); /* microseconds since 1970, UTC */
  int64_t (*mono_us)(const struct clock *clock); /* microseconds, never backwards, also counts suspend */
};

/* The machine's clocks. */
extern const struct clock clock_system;

static inline int64_t clock_wall_us(const struct clock *clock) {
  return clock->wall_us(clock);
}
static inline int64_t clock_wall_ms(const struct clock *clock) {
  return clock->wall_us(clock) / 1000;
}
static inline int64_t clock_mono_us(const struct clock *clock) {
  return clock->mono_us(clock);
}
static inline int64_t clock_mono_ms(const struct clock *clock) {
  return clock->mono_us(clock) / 1000;
}

/* A clock that stands still until it is moved. */
struct fake_clock {
  struct clock clock; /* pass &fake.clock */
  int64_t wall;       /* ms */
  int64_t wall_us;    /* after `wall` */
  int64_t mono;       /* us */
};
void fake_clock_init(struct fake_clock *fake, int64_t wall_ms);
void fake_clock_advance_ms(struct fake_clock *fake, int64_t ms);

/* "2026-11-21T17:08:38.123Z" */
void clock_format_iso(int64_t wall_ms, char out[32]);

#endif
