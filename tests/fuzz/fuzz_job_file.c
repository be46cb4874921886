/* What is read is written so that it reads back the same. */
#include "sweeper/machine/job_file.h"
#include "tests/support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  AUTO_ARENA struct arena arena = ARENA_INIT(8 * MIB);
  struct job_file job, back;
  struct err err;
  if (size > 65536 || !job_file_read(str_n((const char *)data, size), &arena, &job, &err))
    return 0;
  AUTO_BUF struct buf once = BUF_INIT(MIB), twice = BUF_INIT(MIB);
  job_file_write(&job, &once);
  if (!claim(job_file_read(buf_str(&once), &arena, &back, &err)))
    return 0;
  job_file_write(&back, &twice);
  claim(str_eq(buf_str(&once), buf_str(&twice)));
  return 0;
}
