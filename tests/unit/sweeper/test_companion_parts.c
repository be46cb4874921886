/* Parts of the companion that need no process: samples and the lines they become, the kernel's files, how an end is told. */
#include <sys/stat.h>

#include "base/file.h"
#include "sweeper/companion/exit_file.h"
#include "sweeper/companion/lineage.h"
#include "sweeper/companion/metric_files.h"
#include "sweeper/companion/samples.h"
#include "sweeper/companion/spool.h"
#include "sweeper/machine/cgroup.h"
#include "sweeper/machine/system_series.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test.h"

static void what_is_sampled_becomes_points(void **state UNUSED) {
  static struct samples samples;
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  AUTO_METRIC_ROWS struct metric_rows rows;
  struct err err;
  metric_rows_init(&rows);
  samples_begin(&samples, 1000);
  samples_add(&samples, &(struct process_usage){.cpu_ms = 500, .rss_bytes = 4096, .read_bytes = 1, .written_bytes = 2, .count = 3}, 90000,
              2000);
  samples_add(&samples, &(struct process_usage){.cpu_ms = 2500, .rss_bytes = 8192, .read_bytes = 1, .written_bytes = 9, .count = 1}, 80000,
              3000);
  samples_add(&samples, &(struct process_usage){.cpu_ms = 2400}, 80500,
              4000); /* an ended child is not yet counted: no time ran backwards */
  samples_put(&samples, &text);
  buf_puts(&text, "unsent_bytes 7\n");
  assert_true(system_series_read(buf_str(&text), &rows, &err));
  assert_int_equal(rows.points.n, 3 * SYSTEM_SERIES_COUNT);
  assert_int_equal(rows.key_count, SYSTEM_SERIES_COUNT);
  struct point cpu = points_at(&rows.points, 0), memory = points_at(&rows.points, 1), second = points_at(&rows.points, 5);
  assert_true(str_is(rows.keys[rows.series[0]], "system/cpu_percent") && str_is(rows.keys[rows.series[1]], "system/memory_bytes"));
  assert_float_equal(cpu.value, 50.0, 1e-9);
  assert_float_equal(memory.value, 4096, 0);
  assert_float_equal(second.value, 200.0, 1e-9);
  assert_float_equal(points_at(&rows.points, 10).value, 0, 0);
  assert_true(cpu.step == 0 && second.step == 1 && cpu.time == 90000 &&
              second.time == 80000); /* the wall clock jumped; the steps did not */
}

static void a_long_absence_is_covered_thinly(void **state UNUSED) {
  static struct samples samples;
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  samples_begin(&samples, 0);
  for (int64_t i = 1; i <= 100000; i++)
    samples_add(&samples, &(struct process_usage){.cpu_ms = i}, i, i * 5000);
  assert_true(samples.count <= SAMPLES_MAX && samples.count > SAMPLES_MAX / 3);
  assert_int_equal(samples.items[0].n, 0);
  for (size_t i = 1; i < samples.count; i++)
    assert_true(samples.items[i].n > samples.items[i - 1].n);
  samples_put(&samples, &text);
  assert_int_equal(samples.sent, SAMPLES_AT_ONCE);
  int64_t next = samples.items[SAMPLES_AT_ONCE].n;
  while (samples.count < SAMPLES_MAX)
    samples_add(&samples, &(struct process_usage){.cpu_ms = 1}, 1, samples.last_mono_ms + 5000);
  samples_add(&samples, &(struct process_usage){.cpu_ms = 1}, 1, samples.last_mono_ms + 5000); /* thins, but not what is on its way */
  samples_taken(&samples);
  assert_int_equal(samples.items[0].n, next);
}

/* What is to be sent next, which is taken; "" when there is nothing. */
static const char *take(struct metric_files *files, bool is_final) {
  static char text[100];
  struct metric_files_piece piece;
  text[0] = '\0';
  if (!metric_files_next(files, is_final, &piece))
    return text;
  ssize_t n = piece.length ? pread(piece.fd, text, MIN_OF((size_t)piece.length, sizeof text - 1), piece.offset) : 0;
  assert_int_equal(n, piece.length);
  text[n] = '\0';
  fd_close(&piece.fd);
  metric_files_answered(files, piece.offset + piece.length);
  return text;
}

static const char *take_piece(struct metric_files *files) {
  return take(files, false);
}

static void append(const char *path, const char *text) {
  FILE *f = fopen(path, "a");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
}

/* The kernel's coarse clock, which a look is dated by, passes all files that are there: those that are made from now on are younger. */
static void let_the_clock_tick(void) {
  struct timespec made, now;
  clock_gettime(CLOCK_REALTIME, &made);
  do
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
  while (now.tv_sec < made.tv_sec || (now.tv_sec == made.tv_sec && now.tv_nsec <= made.tv_nsec));
}

/* A directory, and in it the file of metrics with these rows. */
static void begin_directory(struct temp_dir *dir, char path[160], const char *rows) {
  temp_dir_make(dir);
  snprintf(path, 160, "%s/m.csv", dir->path);
  append(path, rows);
}

/* All outlive the files. */
static struct metric_files *watch_directory(struct job_file *job, const struct temp_dir *dir, char **watch, uint64_t generation) {
  *job = (struct job_file){.cwd = dir->path, .files = watch, .file_count = 1};
  struct metric_files *files = metric_files_new(job, 0, generation);
  assert_non_null(files);
  return files;
}

static void end_directory(struct metric_files *files, struct temp_dir *dir) {
  metric_files_free(files);
  temp_dir_remove(dir);
}

/* Rows that were written just before the file was moved away are sent before those of the next one. */
static void a_file_that_is_moved_away_is_sent_to_its_end(void **state UNUSED) {
  char *watch = (char[]){"0 csv always m.csv"}, path[160], old[160];
  struct temp_dir dir;
  begin_directory(&dir, path, "a\n1\n");
  snprintf(old, sizeof old, "%s/m.csv.1", dir.path);
  let_the_clock_tick();
  struct job_file job;
  struct metric_files *files = watch_directory(&job, &dir, &watch, 1);
  assert_string_equal(take_piece(files), "a\n1\n");
  assert_string_equal(take_piece(files), "");
  append(path, "2\n");
  assert_int_equal(rename(path, old), 0);
  append(path, "a\n3\n");
  metric_files_look(files);
  assert_string_equal(take_piece(files), "2\n");
  assert_string_equal(take_piece(files), ""); /* the news of its end */
  assert_string_equal(take_piece(files), "a\n3\n");
  append(path, "4\n");
  assert_int_equal(unlink(path), 0);
  assert_string_equal(take_piece(files), "4\n");
  assert_string_equal(take_piece(files), "");
  end_directory(files, &dir);
}

static void write_anew(const char *path, const char *text) {
  let_the_clock_tick();
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
}

/* A logger that opens its file to write all of it again: the file keeps its inode, and may be as long as before. */
static void a_file_that_is_written_anew_in_its_place_is_sent_again(void **state UNUSED) {
  char *watch = (char[]){"0 csv always m.csv"}, path[160];
  struct temp_dir dir;
  begin_directory(&dir, path, "a\n1\n");
  struct job_file job;
  struct metric_files *files = watch_directory(&job, &dir, &watch, 1);
  assert_string_equal(take_piece(files), "a\n1\n");
  write_anew(path, "a,b\n1,\n1,2\n");
  assert_string_equal(take_piece(files), "a,b\n1,\n1,2\n");
  write_anew(path, "a,b\n1,\n1,3\n");
  assert_string_equal(take_piece(files), "a,b\n1,\n1,3\n");
  append(path, "4,5\n");
  assert_string_equal(take_piece(files), "4,5\n");
  write_anew(path, "a,b\n1,\n1,3\n4,5\n");
  assert_string_equal(take_piece(files), "");
  end_directory(files, &dir);
}

/* Begins the next file as a rotating writer does: x.1 becomes x.2, x becomes x.1. */
static void rotate(const char *path, int depth, const char *text) {
  char from[200], to[200];
  for (int i = depth; i >= 0; i--) {
    snprintf(from, sizeof from, i ? "%s.%d" : "%s", path, i);
    snprintf(to, sizeof to, "%s.%d", path, i + 1);
    assert_true(rename(from, to) == 0 || i > 0);
  }
  append(path, text);
}

static const char *report_of(const struct metric_files *files) {
  static char text[200];
  AUTO_BUF struct buf out = BUF_INIT(KIB);
  metric_files_report(files, &out);
  snprintf(text, sizeof text, "%.*s", STR_ARG(buf_str(&out)));
  return text;
}

/* What had the name between two looks is found by the name it was given; and a file older than the last look is not. */
static void files_between_two_looks_are_sent(void **state UNUSED) {
  char *watch = (char[]){"0 csv always m.csv"}, path[160], other[200];
  struct temp_dir dir;
  temp_dir_make(&dir);
  snprintf(path, sizeof path, "%s/m.csv", dir.path);
  snprintf(other, sizeof other, "%s/m.csv.7", dir.path);
  append(other, "a\nold\n");
  let_the_clock_tick();
  append(path, "a\n1\n");
  struct job_file job;
  struct metric_files *files = watch_directory(&job, &dir, &watch, 1);
  assert_string_equal(take_piece(files), "a\n1\n");
  append(path, "2\n");
  rotate(path, 4, "a\n3\n");
  rotate(path, 4, "a\n4\n");
  rotate(path, 4, "a\n5\n");
  snprintf(other, sizeof other, "%s/m.csv.gz", dir.path);
  append(other, "a\npacked\n");
  metric_files_look(files);
  append(path, "6\n");
  static const char *const all[] = {"2\n", "", "a\n3\n", "", "a\n4\n", "", "a\n5\n6\n", ""}; /* "": the news of an end */
  for (size_t i = 0; i < ARRAY_LEN(all); i++)
    assert_string_equal(take_piece(files), all[i]);
  assert_string_equal(report_of(files), "");
  end_directory(files, &dir);
}

/* Nobody takes anything for a long time: the oldest are given up, and that is said. */
static void files_that_are_given_up_are_told(void **state UNUSED) {
  char *watch = (char[]){"0 csv always *.csv"}, path[160];
  struct temp_dir dir;
  begin_directory(&dir, path, "a\n0\n");
  struct job_file job;
  struct metric_files *files = watch_directory(&job, &dir, &watch, 0);
  metric_files_look(files);
  for (int i = 1; i <= 9; i++) {
    char text[] = {'a', '\n', (char)('0' + i), '\n', '\0'};
    let_the_clock_tick();
    rotate(path, 9, text);
    metric_files_look(files);
  }
  assert_string_equal(take_piece(files), "a\n2\n");
  assert_string_equal(report_of(files), "files_lost *.csv\n");
  end_directory(files, &dir);
}

/* The service takes long to answer that the first one has ended; that one is given up meanwhile, and none of those that wait is. */
static void an_answer_about_what_was_given_up_ends_no_other(void **state UNUSED) {
  char *watch = (char[]){"0 csv always m.csv"}, path[160];
  struct temp_dir dir;
  struct metric_files_piece piece;
  begin_directory(&dir, path, "a\n0\n");
  struct job_file job;
  struct metric_files *files = watch_directory(&job, &dir, &watch, 1);
  assert_string_equal(take_piece(files), "a\n0\n");
  for (int i = 1; i <= LINEAGE_MAX; i++) {
    char text[] = {'a', '\n', (char)('0' + i), '\n', '\0'};
    let_the_clock_tick();
    rotate(path, LINEAGE_MAX, text);
    metric_files_look(files);
    if (i == 1)
      assert_true(metric_files_next(files, false, &piece) && piece.length == 0); /* the news of its end */
  }
  metric_files_answered(files, piece.offset);
  assert_string_equal(take_piece(files), "a\n1\n");
  end_directory(files, &dir);
}

/* A job whose last act is to move its file away: what had the name since the last look is sent all the same. */
static void files_that_have_left_the_name_to_nobody_are_sent(void **state UNUSED) {
  char *watch = (char[]){"0 csv always m.csv"}, path[160], first[200], second[200];
  struct temp_dir dir;
  begin_directory(&dir, path, "a\n1\n");
  snprintf(first, sizeof first, "%s.1", path);
  snprintf(second, sizeof second, "%s.2", path);
  struct job_file job;
  struct metric_files *files = watch_directory(&job, &dir, &watch, 1);
  metric_files_look(files);
  let_the_clock_tick();
  assert_int_equal(rename(path, first), 0);
  metric_files_look(files); /* nobody has the name */
  let_the_clock_tick();
  append(path, "a\n2\n");
  assert_int_equal(rename(path, second), 0);
  static const char *const all[] = {"a\n1\n", "", "a\n2\n", "", ""}; /* "": the news of an end, and nothing more */
  for (size_t i = 0; i < ARRAY_LEN(all); i++)
    assert_string_equal(take(files, true), all[i]);
  assert_string_equal(report_of(files), "");
  end_directory(files, &dir);
}

/* "cp m.csv m.csv.old; rm m.csv": the copy has no rows of its own. */
static void a_copy_of_what_was_sent_is_not_sent(void **state UNUSED) {
  char *watch = (char[]){"0 csv always m.csv"}, path[160], copy[200];
  struct temp_dir dir;
  begin_directory(&dir, path, "a\n1\n");
  snprintf(copy, sizeof copy, "%s.old", path);
  struct job_file job;
  struct metric_files *files = watch_directory(&job, &dir, &watch, 1);
  metric_files_look(files);
  let_the_clock_tick();
  append(copy, "a\n1\n");
  assert_int_equal(unlink(path), 0);
  static const char *const all[] = {"a\n1\n", "", ""};
  for (size_t i = 0; i < ARRAY_LEN(all); i++)
    assert_string_equal(take(files, true), all[i]);
  assert_string_equal(report_of(files), "");
  end_directory(files, &dir);
}

static void names_of_rotated_files(void **state UNUSED) {
  static const char *const yes[][2] = {{"m.csv", "m.csv.1"},
                                       {"m.csv", "m.csv-20261122"},
                                       {"m.csv", "m.csv.2026-11-22_18-00-00"},
                                       {"m.csv", "m.csv.old"},
                                       {"m.csv", "m.csv.bak"},
                                       {"m.csv", "m.csv~"},
                                       {"m.csv", "m.1.csv"},
                                       {"m", "m.3"},
                                       {"m.csv", "m.2026-11-22_18-00-00.csv"}};
  static const char *const no[][2] = {{"m.csv", "m.csv"},     {"m.csv", "m.csv.gz"}, {"m.csv", "m.csv.1.gz"},
                                      {"m.csv", "m.val.csv"}, {"m.csv", "n.csv"},    {"m.csv", "m.csx"},
                                      {"m.csv", "m.c"},       {".csv", ".1.csv"},    {"m", "n.1"}};
  for (size_t i = 0; i < ARRAY_LEN(yes); i++)
    assert_true(lineage_is_rotated(str_of(yes[i][0]), str_of(yes[i][1])));
  for (size_t i = 0; i < ARRAY_LEN(no); i++)
    assert_false(lineage_is_rotated(str_of(no[i][0]), str_of(no[i][1])));
}

static struct spool spool;

static void print_at(int64_t now_ms) {
  struct err err;
  assert_true(fd_write_all(spool.write_fd, "line\n", 5, &err));
  spool_note(&spool, now_ms);
}

/* Pieces end where a later time begins, and what was sent is forgotten. */
static void output_keeps_its_time(void **state UNUSED) {
  struct temp_dir dir;
  struct err err;
  int64_t seen;
  temp_dir_make(&dir);
  assert_true(spool_open(&spool, dir.path, "stdout", &err));
  assert_int_equal(spool_piece(&spool, &seen), 0);
  print_at(1000);
  print_at(1050); /* as good as at once */
  print_at(5000);
  spool_note(&spool, 9000);
  assert_int_equal(spool_piece(&spool, &seen), 10);
  assert_int_equal(seen, 1000);
  spool_taken(&spool, 5);
  assert_int_equal(spool_piece(&spool, &seen), 5);
  assert_int_equal(seen, 1000);
  spool_taken(&spool, 10);
  assert_int_equal(spool_piece(&spool, &seen), 5);
  assert_int_equal(seen, 5000);
  spool_taken(&spool, 15);
  assert_int_equal(spool_piece(&spool, &seen), 0);
  spool_close(&spool);
  temp_dir_remove(&dir);
}

static void hours_of_output_have_few_marks(void **state UNUSED) {
  enum { LINES = 40000, EVERY_MS = 300 };
  struct temp_dir dir;
  struct err err;
  int64_t seen, before = -1;
  size_t n, pieces = 0;
  temp_dir_make(&dir);
  assert_true(spool_open(&spool, dir.path, "stdout", &err));
  for (int64_t i = 0; i < LINES; i++)
    print_at(i * EVERY_MS);
  for (; (n = spool_piece(&spool, &seen)); pieces++) {
    int64_t printed = spool.sent / 5 * EVERY_MS; /* when its first line was */
    assert_true(seen > before && seen <= printed && printed - seen <= (int64_t)LINES * EVERY_MS / (SPOOL_MARKS / 8));
    before = seen;
    spool_taken(&spool, spool.sent + (int64_t)n);
  }
  assert_int_equal(spool.sent, LINES * 5);
  assert_in_range(pieces, SPOOL_MARKS / 4, SPOOL_MARKS);
  spool_close(&spool);
  temp_dir_remove(&dir);
}

/* A companion that comes after another one knows what that one had seen, though its clocks began elsewhere. */
static void times_outlive_a_companion(void **state UNUSED) {
  struct temp_dir dir;
  struct err err;
  int64_t seen;
  temp_dir_make(&dir);
  assert_true(spool_open(&spool, dir.path, "stdout", &err));
  print_at(1000);
  print_at(61000);
  assert_true(spool_keep_times(&spool, dir.path, 62000, 900062000, &err));
  spool_close(&spool);
  assert_true(spool_open(&spool, dir.path, "stdout", &err));
  spool_resume(&spool, dir.path, 5000000, 900162000); /* a hundred seconds later */
  spool_note(&spool, 4900000);
  assert_int_equal(spool_piece(&spool, &seen), 5);
  assert_int_equal(seen, 5000000 - 161000);
  spool_taken(&spool, 5);
  assert_int_equal(spool_piece(&spool, &seen), 5);
  assert_int_equal(seen, 5000000 - 101000);
  spool_taken(&spool, 10);
  assert_int_equal(spool_piece(&spool, &seen), 0);
  spool_close(&spool);
  temp_dir_remove(&dir);
}

enum { CUT = 64 * 1024 };

static void print_much(char letter, size_t n) {
  static char bytes[16 * CUT];
  struct err err;
  assert_true(n <= sizeof bytes);
  memset(bytes, letter, n);
  assert_true(fd_write_all(spool.write_fd, bytes, n, &err));
  spool_note(&spool, 1000);
}

static int64_t bytes_on_disk(void) {
  struct stat st;
  assert_int_equal(fstat(spool.read_fd, &st), 0);
  return (int64_t)st.st_blocks * 512;
}

static char byte_at(int64_t offset) {
  char c = 0;
  assert_int_equal(pread(spool.read_fd, &c, 1, offset), 1);
  return c;
}

/* A piece that nobody has taken yet stays; what comes behind it is bounded all the same. */
static void what_is_on_its_way_is_not_cut(void **state UNUSED) {
  struct temp_dir dir;
  struct err err;
  int64_t seen;
  temp_dir_make(&dir);
  assert_true(spool_open(&spool, dir.path, "stdout", &err));
  print_much('a', 100);
  spool_sending(&spool, spool_piece(&spool, &seen));
  print_much('b', 16 * CUT);
  spool_cut(&spool, CUT);
  assert_int_equal(spool_waiting(&spool), 100 + CUT);
  assert_true(bytes_on_disk() <= 3 * CUT);
  print_much('c', 16 * CUT);
  spool_cut(&spool, CUT);
  assert_int_equal(spool.gap, 31 * CUT);
  assert_true(bytes_on_disk() <= 3 * CUT);
  assert_int_equal(spool_piece(&spool, &seen), 100); /* it failed: the same again */
  assert_int_equal(byte_at(99), 'a');
  spool_taken(&spool, 40);
  assert_int_equal(spool_piece(&spool, &seen), 60);
  assert_int_equal(spool.skipped, 0);
  spool_taken(&spool, 100);
  assert_true(spool.skipped == 31 * CUT && spool.sent == 100 + 31 * CUT && spool.gap == 0);
  assert_int_equal(spool_piece(&spool, &seen), CUT);
  assert_int_equal(byte_at(spool.sent), 'c');
  spool_taken(&spool, 100); /* an answer of before */
  assert_int_equal(spool.skipped, 31 * CUT);
  spool_cut(&spool, CUT / 2);
  assert_int_equal(spool.skipped, 31 * CUT + CUT / 2); /* told together */
  spool_taken(&spool, 100 + 32 * CUT);
  assert_true(spool.skipped == 0 && spool_waiting(&spool) == 0);
  spool_close(&spool);
  temp_dir_remove(&dir);
}

/* Who comes after takes no hole for output. */
static void a_gap_outlives_a_companion(void **state UNUSED) {
  struct temp_dir dir;
  struct err err;
  int64_t seen, sent = 0;
  temp_dir_make(&dir);
  assert_true(spool_open(&spool, dir.path, "stdout", &err));
  for (int i = 0; i < 2; i++) { /* a gap that was closed is in nobody's way */
    print_much('a', 100);
    spool_sending(&spool, spool_piece(&spool, &seen));
    print_much('b', 16 * CUT);
    spool_cut(&spool, CUT);
    if (i == 0) {
      spool_taken(&spool, 100);
      sent = spool_size(&spool);
      spool_taken(&spool, sent);
    }
  }
  spool_close(&spool);
  assert_true(spool_open(&spool, dir.path, "stdout", &err));
  spool_resume(&spool, dir.path, 5000, 6000);
  spool_note(&spool, 5000);
  assert_true(spool.gap > 14 * CUT && spool.sent <= sent && spool.sent + spool.kept >= sent + 100);
  int64_t end = spool.sent + (int64_t)spool_piece(&spool, &seen);
  assert_true(byte_at(end - 1) && byte_at(sent + 99) == 'a');
  spool_taken(&spool, end);
  assert_true(spool.skipped > 14 * CUT && byte_at(spool.sent) == 'b');
  assert_int_equal(spool.sent + spool_waiting(&spool), spool_size(&spool));
  spool_close(&spool);
  temp_dir_remove(&dir);
}

/* Also where the cuts that made it did not end at the blocks of the disk. */
static void a_gap_of_many_cuts_outlives_a_companion(void **state UNUSED) {
  struct temp_dir dir;
  struct err err;
  int64_t seen;
  temp_dir_make(&dir);
  assert_true(spool_open(&spool, dir.path, "stdout", &err));
  print_much('a', 100);
  spool_sending(&spool, spool_piece(&spool, &seen));
  for (int i = 0; i < 3; i++) {
    print_much('b', 15 * CUT + 123);
    spool_cut(&spool, CUT);
  }
  spool_close(&spool);
  assert_true(spool_open(&spool, dir.path, "stdout", &err));
  spool_resume(&spool, dir.path, 5000, 6000);
  assert_true(spool.gap > 43 * CUT);
  spool_taken(&spool, spool.kept);
  for (int64_t at = spool.sent; at < spool_size(&spool); at++)
    assert_int_equal(byte_at(at), 'b');
  spool_close(&spool);
  temp_dir_remove(&dir);
}

static void only_marks_are_read(void **state UNUSED) {
  static const struct {
    const char *text;
    size_t count;
  } cases[] = {{"", 0},
               {"5 1\n5 2\n", 1},
               {"9 1\n5 2\n", 1},
               {"x 1\n", 0},
               {"5\n", 0},
               {"5 -1\n", 0},
               {"5 1\n6 2\n7 3\n8 4\n9 5\n", 4},
               {"-5 1\n", 0},
               {"5 1 2\n", 0},
               {"5 99999999999999999999\n", 0}};
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    struct mark room[4];
    struct marks marks = {.items = room, .cap = ARRAY_LEN(room)};
    marks_read(&marks, str_of(cases[i].text), 0, 100);
    assert_int_equal(marks.count, cases[i].count);
  }
}

/* However much of the text came to the disk before the machine went down: what is read is what was written. */
static void torn_marks_are_the_first_of_them(void **state UNUSED) {
  static const char text[] = "5 900001000\n12 900061000\n7000 900061500\n";
  const struct mark whole[] = {{5, 1000}, {12, 61000}, {7000, 61500}};
  for (size_t n = 0; n < sizeof text; n++)
    for (int zeros = 0; zeros < 2; zeros++) { /* a file may have its length before its bytes */
      struct mark room[4];
      struct marks marks = {.items = room, .cap = ARRAY_LEN(room)};
      char torn[sizeof text] = {0};
      size_t lines = 0;
      memcpy(torn, text, n);
      for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
      marks_read(&marks, str_n(torn, zeros ? sizeof torn : n), 900000000, 100000);
      assert_int_equal(marks.count, lines);
      assert_memory_equal(room, whole, lines * sizeof *room);
    }
}

static void nonsense_is_refused(void **state UNUSED) {
  static const char *const bad[] = {"sample",
                                    "sample ",
                                    "sample 1 2 3 4 5 6\n",
                                    "sample 1 2 3 4 5 6 7 8\n",
                                    "sample -1 2 3 4 5 6 7\n",
                                    "sample 1 2 nan 4 5 6 7\n",
                                    "sample 1 2 3 4 -5 6 7\n",
                                    "sample 1 -2 3 4 5 6 7\n",
                                    "sample x 2 3 4 5 6 7\n"};
  struct err err;
  for (size_t i = 1; i < ARRAY_LEN(bad); i++) {
    AUTO_METRIC_ROWS struct metric_rows rows;
    metric_rows_init(&rows);
    assert_false(system_series_read(str_of(bad[i]), &rows, &err));
  }
  AUTO_METRIC_ROWS struct metric_rows rows;
  metric_rows_init(&rows);
  assert_true(system_series_read(STR("cpu_ms 12\nsamples\n"), &rows, &err));
  assert_int_equal(rows.points.n, 0);
  AUTO_BUF struct buf many = BUF_INIT(MIB);
  for (int i = 0; i <= SYSTEM_SAMPLES_MAX; i++)
    buf_puts(&many, "sample 1 2 3 4 5 6 7\n");
  assert_false(system_series_read(buf_str(&many), &rows, &err));
  assert_int_equal(err.code, ERR_TOO_LARGE);
}

static void the_kernels_files_are_read(void **state UNUSED) {
  struct str stat = STR("anon 4096\nfile 12\nanon_thp 0\n"), events = STR("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n");
  struct str io = STR("8:0 rbytes=100 wbytes=5 rios=1 wios=2 dbytes=0 dios=0\n259:1 rbytes=11 wbytes=7 rios=1\n");
  assert_int_equal(cgroup_value(stat, "anon"), 4096);
  assert_int_equal(cgroup_value(stat, "ano"), -1);
  assert_int_equal(cgroup_value(events, "oom_kill"), 2);
  assert_int_equal(cgroup_value(STR(""), "x"), -1);
  assert_int_equal(cgroup_io(io, "rbytes"), 111);
  assert_int_equal(cgroup_io(io, "wbytes"), 12);
  assert_int_equal(cgroup_io(io, "bytes"), -1);
  assert_int_equal(cgroup_io(STR("8:0 rbytes="), "rbytes"), -1);
}

static void check_end(struct exit_story story, const char *expected) {
  AUTO_BUF struct buf text = BUF_INIT(4096);
  story.start_error = story.start_error ? story.start_error : "";
  exit_story_put(&story, &text);
  struct str all = buf_str(&text);
  assert_true(str_starts(all, str_of(expected)));
  assert_true(str_starts(str_slice(all, strlen(expected), all.n), STR("begun_ms ")));
}

static void a_line_is_one_line(void **state UNUSED) {
  AUTO_BUF struct buf text = BUF_INIT(KIB);
  exit_line_put(&text, "files_missed", "a\nexit_code 0\r\nb");
  assert_string_equal(buf_text(&text), "files_missed a exit_code 0  b\n");
}

static void ends_are_told_with_their_cause(void **state UNUSED) {
  enum { EXIT_137 = 137 << 8, EXIT_3 = 3 << 8, KILLED = 9 };
  check_end((struct exit_story){.oom = OOM_MACHINE}, "exit_code 0\n"); /* somebody else's misfortune */
  check_end((struct exit_story){.wait_status = EXIT_3, .oom = OOM_MACHINE}, "exit_code 3\n");
  check_end((struct exit_story){.wait_status = EXIT_137, .oom = OOM_MACHINE}, "exit_code 137\noom machine\n");
  check_end((struct exit_story){.wait_status = KILLED, .oom = OOM_MACHINE}, "signal 9\noom machine\n");
  check_end((struct exit_story){.wait_status = EXIT_3, .oom = OOM_JOB}, "exit_code 3\noom job\n");
  check_end((struct exit_story){.wait_status = KILLED, .oom = OOM_JOB, .has_memory_limit = true}, "signal 9\nended_by memory_limit\n");
  check_end((struct exit_story){.wait_status = KILLED, .oom = OOM_JOB, .ended_by = "stop"}, "signal 9\nended_by stop\n");
  check_end((struct exit_story){.start_error = "cannot run x", .oom = OOM_JOB}, "start_error cannot run x\n");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_sampled_becomes_points),
      cmocka_unit_test(a_long_absence_is_covered_thinly),
      cmocka_unit_test(a_file_that_is_moved_away_is_sent_to_its_end),
      cmocka_unit_test(a_file_that_is_written_anew_in_its_place_is_sent_again),
      cmocka_unit_test(files_between_two_looks_are_sent),
      cmocka_unit_test(files_that_are_given_up_are_told),
      cmocka_unit_test(an_answer_about_what_was_given_up_ends_no_other),
      cmocka_unit_test(files_that_have_left_the_name_to_nobody_are_sent),
      cmocka_unit_test(a_copy_of_what_was_sent_is_not_sent),
      cmocka_unit_test(names_of_rotated_files),
      cmocka_unit_test(output_keeps_its_time),
      cmocka_unit_test(hours_of_output_have_few_marks),
      cmocka_unit_test(times_outlive_a_companion),
      cmocka_unit_test(what_is_on_its_way_is_not_cut),
      cmocka_unit_test(a_gap_outlives_a_companion),
      cmocka_unit_test(a_gap_of_many_cuts_outlives_a_companion),
      cmocka_unit_test(only_marks_are_read),
      cmocka_unit_test(torn_marks_are_the_first_of_them),
      cmocka_unit_test(nonsense_is_refused),
      cmocka_unit_test(the_kernels_files_are_read),
      cmocka_unit_test(a_line_is_one_line),
      cmocka_unit_test(ends_are_told_with_their_cause),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
