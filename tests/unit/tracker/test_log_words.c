#include "tests/support/test.h"
#include "tracker/logs/log_key.h"
#include "tracker/logs/log_words.h"

static void test_order(void **state) {
  (void)state;
  assert_true(log_words_in_order());
  assert_true(log_keys_lead());
}

static void test_names(void **state) {
  (void)state;
  static const struct {
    const char *name;
    enum log_key_kind kind;
  } rows[] = {
      {"loss", LOG_KEY_METRIC},
      {"valAccuracy", LOG_KEY_METRIC},
      {"Acc@1", LOG_KEY_METRIC},
      {"P@1", LOG_KEY_METRIC},
      {"mAP50-95", LOG_KEY_METRIC},
      {"valid_0's binary_logloss", LOG_KEY_METRIC},
      {"Accuracy of the network on the 10000 test images", LOG_KEY_METRIC},
      {"train_loss_mean_over_all_batches", LOG_KEY_METRIC},
      {"Train", LOG_KEY_SECTION},
      {"bestTest", LOG_KEY_SECTION},
      {"learning_rate", LOG_KEY_SCHEDULE},
      {"lr", LOG_KEY_SCHEDULE},
      {"eval_samples_per_second", LOG_KEY_CLOCK},
      {"images/sec", LOG_KEY_CLOCK},
      {"Time", LOG_KEY_CLOCK},
      {"batch_size", LOG_KEY_SETTING},
      {"loss_weight", LOG_KEY_SETTING},
      {"best_epoch", LOG_KEY_SETTING},
      {"max_grad_norm", LOG_KEY_SETTING},
      {"num_epochs", LOG_KEY_SETTING},
      {"epoch", LOG_KEY_EPOCH},
      {"Train Epoch", LOG_KEY_EPOCH},
      {"global_step", LOG_KEY_STEP},
      {"total_timesteps", LOG_KEY_STEP},
      {"batch_idx", LOG_KEY_BATCH},
      {"foo", LOG_KEY_UNKNOWN},
      {"", LOG_KEY_UNKNOWN},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++)
    if (log_key_classify(str_of(rows[i].name)).kind != rows[i].kind)
      fail_msg("%s: %d", rows[i].name, (int)log_key_classify(str_of(rows[i].name)).kind);
  assert_int_equal(log_key_classify(STR("val_loss")).sections, LOG_WORD_VALID);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_order), cmocka_unit_test(test_names)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
