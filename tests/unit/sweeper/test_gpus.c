/* GPUs by a stand-in for NVML, and by a made-up sysfs. */
#include "sweeper/machine/gpus.h"

#include <math.h>
#include <sys/stat.h>

#include "base/file.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test.h"

static struct gpus *look(const char *nvml, const char *drm, const char *visible, struct err *trouble) {
  struct gpus_conf conf = {.nvml = nvml, .drm_dir = drm ? drm : "/nonexistent", .visible = visible};
  struct gpus *gpus = gpus_new(&conf, trouble);
  assert_non_null(gpus);
  return gpus;
}

static void check_variables(const struct gpus *gpus, const size_t *which, size_t count, const char *cuda, const char *rocr,
                            const char *hip) {
  const char *const names[] = {"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"}, *const values[] = {cuda, rocr, hip};
  struct gpu_variable variables[GPUS_VARIABLES];
  gpus_variables(gpus, which, count, variables);
  for (size_t i = 0; i < GPUS_VARIABLES; i++) {
    assert_string_equal(variables[i].name, names[i]);
    assert_string_equal(buf_text(&variables[i].value), values[i]);
    buf_release(&variables[i].value);
  }
}

static void nvidia_is_listed_and_sampled(void **state UNUSED) {
  struct err trouble;
  struct gpu_use use;
  setenv("FAKE_NVML", "2", 1);
  struct gpus *gpus = look(FAKE_NVML_PATH, NULL, NULL, &trouble);
  assert_int_equal(trouble.code, ERR_NONE);
  assert_int_equal(gpus_count(gpus), 2);
  assert_string_equal(gpus_at(gpus, 1)->uuid, "GPU-bbbb1111-1111");
  assert_string_equal(gpus_at(gpus, 0)->name, "NVIDIA Stand-in 80GB");
  assert_true(gpus_at(gpus, 0)->memory == (int64_t)80 << 30);
  assert_int_equal(gpus_find(gpus, STR("GPU-bbbb1111-1111")), 1);
  assert_true(gpus_find(gpus, STR("GPU-bbbb")) == SIZE_MAX);
  gpus_sample(gpus, 1, &use);
  assert_float_equal(use.busy, 0.41, 1e-9);
  assert_float_equal(use.memory_used, 1073741824.0, 0);
  assert_float_equal(use.watts, 250.5, 1e-9);
  assert_float_equal(use.celsius, 61, 0);
  check_variables(gpus, (const size_t[]){1, 0}, 2, "GPU-bbbb1111-1111,GPU-aaaa0000-0000", "", "");
  check_variables(gpus, NULL, 0, "", "", "");
  gpus_free(gpus);
}

static void instances_stand_for_their_gpu(void **state UNUSED) {
  struct err trouble;
  struct gpu_use use;
  setenv("FAKE_NVML", "mig", 1);
  struct gpus *gpus = look(FAKE_NVML_PATH, NULL, NULL, &trouble);
  assert_int_equal(gpus_count(gpus), 2);
  assert_string_equal(gpus_at(gpus, 0)->uuid, "MIG-cccc2222-2222");
  assert_true(gpus_at(gpus, 1)->memory == (int64_t)40 << 30);
  gpus_sample(gpus, 0, &use);
  assert_true(isnan(use.busy) && isnan(use.watts) && use.memory_used > 0);
  gpus_free(gpus);
}

static void a_library_that_does_not_work_is_told(void **state UNUSED) {
  struct err trouble;
  setenv("FAKE_NVML", "broken", 1);
  struct gpus *gpus = look(FAKE_NVML_PATH, NULL, NULL, &trouble);
  assert_int_equal(gpus_count(gpus), 0);
  assert_int_equal(trouble.code, ERR_UNAVAILABLE);
  assert_non_null(strstr(trouble.text, "Driver Not Loaded"));
  gpus_free(gpus);
  gpus = look("libm.so.6", NULL, NULL, &trouble); /* a library, but another one */
  assert_int_equal(gpus_count(gpus), 0);
  assert_int_equal(trouble.code, ERR_UNSUPPORTED);
  gpus_free(gpus);
  gpus = look("/nonexistent/libnvidia-ml.so.1", NULL, NULL, &trouble);
  assert_int_equal(gpus_count(gpus), 0);
  assert_int_equal(trouble.code, ERR_NONE);
  gpus_free(gpus);
}

static void what_the_service_may_see_is_kept(void **state UNUSED) {
  static const struct {
    const char *visible, *first;
    size_t count;
  } rows[] = {
      {"1", "GPU-bbbb1111-1111", 1},
      {"1,0", "GPU-bbbb1111-1111", 2},
      {"GPU-aaaa", "GPU-aaaa0000-0000", 1},
      {"GPU-", "", 0},
      {"", "", 0},
      {"0,-1,1", "GPU-aaaa0000-0000", 1},
      {"0,0,1", "GPU-aaaa0000-0000", 1},
      {"7", "", 0},
  };
  struct err trouble;
  setenv("FAKE_NVML", "2", 1);
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct gpus *gpus = look(FAKE_NVML_PATH, NULL, rows[i].visible, &trouble);
    assert_int_equal(gpus_count(gpus), rows[i].count);
    if (rows[i].count)
      assert_string_equal(gpus_at(gpus, 0)->uuid, rows[i].first);
    gpus_free(gpus);
  }
}

static void put(const char *dir, const char *card, const char *name, const char *text) {
  char path[400];
  struct err err;
  snprintf(path, sizeof path, "%s/%s/device", dir, card);
  assert_true(dir_make(path, 0700, &err));
  snprintf(path, sizeof path, "%s/%s/device/%s", dir, card, name);
  assert_true(file_replace(path, str_of(text), 0600, &err));
}

static void amd_is_found_in_sysfs(void **state UNUSED) {
  struct temp_dir dir;
  struct err trouble;
  struct gpu_use use;
  temp_dir_make(&dir);
  for (unsigned i = 0; i < 2; i++) {
    const char *card = i ? "card2" : "card10"; /* the order is that of numbers */
    put(dir.path, card, "vendor", "0x1002\n");
    put(dir.path, card, "unique_id", i ? "5f3c\n" : "9a1b\n");
    put(dir.path, card, "mem_info_vram_total", "68702699520\n");
    put(dir.path, card, "mem_info_vram_used", "1048576\n");
    put(dir.path, card, "gpu_busy_percent", "33\n");
  }
  put(dir.path, "card0", "vendor", "0x1a03\n"); /* the console's */
  put(dir.path, "card1", "vendor", "0x1002\n"); /* inside a processor */
  put(dir.path, "card2-HDMI-A-1", "vendor", "0x1002\n");
  struct gpus *gpus = look("/nonexistent", dir.path, NULL, &trouble);
  assert_int_equal(gpus_count(gpus), 2);
  assert_string_equal(gpus_at(gpus, 0)->uuid, "GPU-5f3c");
  assert_string_equal(gpus_at(gpus, 1)->uuid, "GPU-9a1b");
  assert_true(gpus_at(gpus, 0)->memory == 68702699520);
  gpus_sample(gpus, 0, &use);
  assert_float_equal(use.busy, 0.33, 1e-9);
  assert_true(isnan(use.watts));
  check_variables(gpus, (const size_t[]){1, 0}, 2, "", "GPU-9a1b,GPU-5f3c", "0,1");
  gpus_free(gpus);
  temp_dir_remove(&dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nvidia_is_listed_and_sampled),
      cmocka_unit_test(instances_stand_for_their_gpu),
      cmocka_unit_test(a_library_that_does_not_work_is_told),
      cmocka_unit_test(what_the_service_may_see_is_kept),
      cmocka_unit_test(amd_is_found_in_sysfs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
