/* Each fixture is what a framework prints, and what is to be read in it: "key=value@step/epoch", '-' where nothing is said, '~' before
 * times and speeds. */
#include "base/json.h"
#include "tests/support/test.h"
#include "tracker/logs/log_metrics.h"

#include <math.h>

static void put_place(struct buf *out, double value) {
  if (isnan(value))
    buf_putc(out, '-');
  else
    buf_printf(out, "%g", value);
}

static bool collect(void *ctx, const struct log_point *points, size_t n, struct err *err) {
  (void)err;
  struct buf *out = ctx;
  for (size_t i = 0; i < n; i++) {
    if (out->n)
      buf_puts(out, "; ");
    if (points[i].aux)
      buf_putc(out, '~');
    buf_add_str(out, points[i].key);
    buf_printf(out, "=%.9g%s@", points[i].value, points[i].percent ? "%" : "");
    put_place(out, points[i].step);
    buf_putc(out, '/');
    put_place(out, points[i].epoch);
  }
  return true;
}

static struct log_metrics *new_reader(void) {
  struct err err;
  struct log_metrics_options options = {.parse.want_aux = true};
  struct log_metrics *reader = log_metrics_new(&options, &err);
  assert_non_null(reader);
  return reader;
}

/* The same, by another reader that knows nothing but the state. */
static struct log_metrics *hand_over(struct log_metrics *reader) {
  struct err err;
  AUTO_BUF struct buf saved = BUF_INIT(LOG_METRICS_STATE_MAX);
  log_metrics_save(reader, &saved);
  log_metrics_free(reader);
  reader = new_reader();
  assert_true(log_metrics_restore(reader, buf_str(&saved), &err));
  return reader;
}

static void expect_in_pieces(struct str log, size_t piece, const char *points) {
  struct err err;
  struct log_metrics *reader = new_reader();
  AUTO_BUF struct buf out = BUF_INIT(64 * KIB);
  for (size_t at = 0; at < log.n; at += piece) {
    assert_true(log_metrics_feed(reader, str_slice(log, at, at + piece), collect, &out, &err));
    reader = hand_over(reader);
  }
  assert_true(log_metrics_end(reader, collect, &out, &err));
  log_metrics_free(reader);
  assert_string_equal(buf_text(&out), points);
}

static void expect(const char *log, const char *points) {
  expect_in_pieces(str_of(log), strlen(log) + 1, points);
  expect_in_pieces(str_of(log), 11, points);
}

static void test_cntk(void **state) {
  (void)state;
  expect("Finished Epoch[1 of 40]: [Training] loss = 0.405960 * 60000, metric = 13.01% * 60000 21.741s (2759.8 samples/s);\n",
         "Training loss=0.40596@-/1; Training metric=13.01%@-/1");
  expect(" Minibatch[   1- 100]: loss = 2.263843 * 6400, metric = 86.41% * 6400;\n", "loss=2.263843@100/-; metric=86.41%@100/-");
  expect("Finished Evaluation [1]: Minibatch[1-157]: metric = 38.14% * 10000;\n", "Evaluation metric=38.14%@157/-");
  expect("Final Results: Minibatch[1-11]: errs = 0.54% * 10000\n", "errs=0.54%@11/-");
  expect("Learning rate per 1 samples: 0.001\nTraining 98778 parameters in 10 parameter tensors.\n", "");
}

static void test_chainer(void **state) {
  (void)state;
  const char *log = "epoch       main/loss   validation/main/loss  main/accuracy  validation/main/accuracy  elapsed_time\n"
                    "\x1b[J     total [##........] 1.67%\n"
                    "this epoch [####......] 33.33%\n"
                    "       100 iter, 0 epoch / 20 epochs\n"
                    "    19.812 iters/sec. Estimated time to finish: 0:04:52.752795.\n"
                    "\x1b[4A\x1b[J1           0.386137    0.152809              0.8932         0.953269                  9.24535       \n"
                    "2           0.152809                          0.9532                                   18.2           \n";
  expect(log, "main/loss=0.386137@-/1; validation/main/loss=0.152809@-/1; main/accuracy=0.8932@-/1; validation/main/accuracy=0.953269@-/1; "
              "~elapsed_time=9.24535@-/1; main/loss=0.152809@-/2; main/accuracy=0.9532@-/2; ~elapsed_time=18.2@-/2");
  expect("epoch:01 train_loss:0.4242 val_loss:0.3456 val_accuracy:0.9012\n",
         "train_loss=0.4242@-/1; val_loss=0.3456@-/1; val_accuracy=0.9012@-/1");
}

static void test_tensorflow(void **state) {
  (void)state;
  expect("INFO:tensorflow:loss = 2.311664, step = 10 (1.476 sec)\n", "loss=2.311664@10/-");
  expect("Step 100 (epoch 0.12), 10.1 ms\nMinibatch loss: 3.252, learning rate: 0.010000\nMinibatch error: 4.7%\nValidation error: 7.9%\n",
         "Minibatch loss=3.252@100/0.12; learning rate=0.01@100/0.12; Minibatch error=4.7%@100/0.12; Validation error=7.9%@100/0.12");
  expect("1529044193.720650: Worker 0: training step 1 done (global step: 0)\n"
         "After 200 training step(s), validation cross entropy = 1367.12\n",
         "validation cross entropy=1367.12@1/-");
  expect("0 -- Training accuracy: 0.94 \b Validation accuracy: 0.91\n", "Training accuracy=0.94@0/-; Validation accuracy=0.91@0/-");
  expect("Step\tImg/sec\ttotal_loss\n10\timages/sec: 28.3 +/- 0.0 (jitter = 0.1)\t9.433\n",
         "total_loss=9.433@10/-; ~images/sec=28.3@10/-; ~images/sec std=0@10/-; ~jitter=0.1@10/-");
  expect("total images/sec: 224.96\n", "");
}

static void test_record(void **state) {
  (void)state;
  const char *log = "Result for train_a1b2c_00000:\n  date: 2026-11-22_12-31-01\n  loss: 2.203\n  pid: 4321\n  training_iteration: 1\n"
                    "Result for train_a1b2c_00000:\n  loss: 1.778\n  training_iteration: 2\n\n"
                    "Results:\n  test accuracy: 0.91\n";
  expect(log, "loss=2.203@1/-; loss=1.778@2/-; test accuracy=0.91@2/-");
}

static void test_pytorch(void **state) {
  (void)state;
  expect("Train Epoch: 1 [640/30000 (2%)]\tLoss: 2.321822\n", "Train Loss=2.321822@640/1");
  expect("Test set: Average loss: 0.0512, Accuracy: 9836/10000 (98%)\n",
         "Test Average loss=0.0512@-/-; Test Accuracy=0.9836@-/-; Test Accuracy %=98%@-/-");
  expect("Epoch: [1][10/469]\tTime 0.005 (0.031)\tData 0.000 (0.020)\tLoss 2.2998 (2.2987)\tPrec@1 9.375 (11.222)\n",
         "~Time=0.005@10/1; ~Time avg=0.031@10/1; ~Data=0@10/1; ~Data avg=0.02@10/1; Loss=2.2998@10/1; Loss avg=2.2987@10/1; "
         "Prec@1=9.375@10/1; Prec@1 avg=11.222@10/1");
  expect(
      "Epoch: [0][   1/5005]\tTime  5.271 ( 5.271)\tLoss 7.0311e+00 (7.0311e+00)\tAcc@1   0.00 (  0.00)\n *   Acc@1 69.758 Acc@5 89.078\n",
      "~Time=5.271@1/0; ~Time avg=5.271@1/0; Loss=7.0311@1/0; Loss avg=7.0311@1/0; Acc@1=0@1/0; Acc@1 avg=0@1/0; * Acc@1=69.758@-/0; "
      "* Acc@5=89.078@-/0");
  expect("| epoch   1 |   200/ 2983 batches | lr 20.00 | ms/batch 15.00 | loss  7.63 | ppl  2051.00\n",
         "lr=20@200/1; ~ms/batch=15@200/1; loss=7.63@200/1; ppl=2051@200/1");
  expect("| end of epoch   1 | time: 45.00s | valid loss  5.47 | valid ppl   237.00\n",
         "~time=45@-/1; valid loss=5.47@-/1; valid ppl=237@-/1");
}

static void test_keras(void **state) {
  (void)state;
  expect("Epoch 1/25\n"
         "56064/60000 [===========================>..] - ETA: 0s - loss: 0.0253 - acc: 0.9920\r"
         "60000/60000 [==============================] - 8s 132us/step - loss: 0.0256 - acc: 0.9919 - val_loss: 0.0248 - val_acc: 0.9925\n",
         "loss=0.0256@-/1; acc=0.9919@-/1; val_loss=0.0248@-/1; val_acc=0.9925@-/1");
  expect("Epoch 00001: val_loss improved from inf to 0.0248, saving model to m.h5\n", "");
}

static void test_caffe(void **state) {
  (void)state;
  expect("I0615 12:00:00.000000  1234 solver.cpp:239] Iteration 500 (100 iter/s, 1s/100 iters), loss = 0.0951\n"
         "I0615 12:00:00.000000  1234 solver.cpp:399]     Test net output #0: accuracy = 0.9912\n"
         "I0615 12:00:00.000000  1234 solver.cpp:399]     Train net output #0: loss = 0.09 (* 1 = 0.09 loss)\n",
         "loss=0.0951@500/-; Test accuracy=0.9912@500/-; Train loss=0.09@500/-");
  expect("INFO:resnet50_trainer:Start iteration 0/62 of epoch 0\n", "");
}

static void test_ranks(void **state) {
  (void)state;
  expect("Train Epoch: 1 [0/30000 (0%)]\tLoss: 2.321822\nTrain Epoch: 1 [0/30000 (0%)]\tLoss: 2.321822\n",
         "Train Loss=2.321822@0/1; Train Loss=2.321822@0/1");
}

static void test_boosting(void **state) {
  (void)state;
  expect("[0]\ttrain-error:0.046522\teval-error:0.042831\n", "train-error=0.046522@0/-; eval-error=0.042831@0/-");
  expect("[10]\tvalid_0's binary_logloss: 0.353978\tvalid_0's f1_score: 0.966887\nEarly stopping, best iteration is:\n"
         "[9]\tvalid_0's binary_logloss: 0.343978\n",
         "valid_0's binary_logloss=0.353978@10/-; valid_0's f1_score=0.966887@10/-; best iteration valid_0's binary_logloss=0.343978@9/-");
}

static void test_hugging_face(void **state) {
  (void)state;
  expect("{'loss': 0.5, 'learning_rate': 5e-05, 'epoch': 1.0}\n", "loss=0.5@-/1; learning_rate=5e-05@-/1");
  expect("{'loss': '0.5', 'grad_norm': 'nan', 'ok': True, 'none': None, 'epoch': '1.5'}\n", "loss=0.5@-/1.5; grad_norm=nan@-/1.5");
  expect("{'eval_loss': 0.5922, 'eval_accuracy': 0.838, 'eval_runtime': 5.187, 'epoch': 3.0}\n",
         "eval_loss=0.5922@-/3; eval_accuracy=0.838@-/3; ~eval_runtime=5.187@-/3");
  expect("{'train_runtime': 437.85, 'train_samples_per_second': 25.132, 'train_loss': 0.456, 'epoch': 3.0}\n",
         "~train_runtime=437.85@-/3; ~train_samples_per_second=25.132@-/3; train_loss=0.456@-/3");
}

static void test_bars(void **state) {
  (void)state;
  expect("Epoch 1/3: 100%|\xe2\x96\x88\xe2\x96\x88| 391/391 [01:30<00:00,  4.81it/s, loss=0.928]\n", "loss=0.928@-/1");
  expect("Epoch 0: 100%|\xe2\x96\x88| 938/938 [00:10<00:00, 90.1it/s, v_num=0, train_loss=0.12, val_loss=0.10]\n",
         "train_loss=0.12@-/0; val_loss=0.1@-/0");
  expect("  1%|          | 1/150 [00:01<04:15,  1.72s/it]\n", "");
}

static void test_tables(void **state) {
  (void)state;
  expect("epoch     train_loss  valid_loss  accuracy  time\n0         0.178532    0.095114    0.967000  00:12\n",
         "train_loss=0.178532@-/0; valid_loss=0.095114@-/0; accuracy=0.967@-/0");
  expect(
      "----------------------------------\n"
      "| rollout/           |          |\n|    ep_rew_mean     | 21.7     |\n| time/              |          |\n|    fps             | 1234     |\n"
      "|    total_timesteps | 2048     |\n----------------------------------\n",
      "rollout/ep_rew_mean=21.7@2048/-; ~time/fps=1234@2048/-");
  expect("epoch,train_loss,val_acc\n1,0.5,0.8\n2,0.25,0.9\n", "train_loss=0.5@-/1; val_acc=0.8@-/1; train_loss=0.25@-/2; val_acc=0.9@-/2");
}

static void test_records(void **state) {
  (void)state;
  expect("{\"step\": 10, \"loss\": 0.25, \"ts\": \"2024-01-01T00:00:00Z\"}\n", "loss=0.25@10/-");
  expect("epoch=3 step=1200 loss=0.0312 acc=99.1% lr=1e-3\n", "loss=0.0312@1200/3; acc=99.1%@1200/3; lr=0.001@1200/3");
  expect("winnow.metric {\"name\":\"Accuracy\",\"value\":0.9,\"step\":3}\n", "Accuracy=0.9@3/-");
  expect("Metrics: {\n  \"training_loss\": 0.41,\n  \"validation\": {\"loss\": 0.39},\n  \"epoch\": 1\n}\n",
         "training_loss=0.41@-/1; validation/loss=0.39@-/1");
}

static void test_garbage(void **state) {
  (void)state;
  expect("loss = nan\nLoss: inf\naccuracy: 98%\n", "loss=nan@-/-; Loss=inf@-/-; accuracy=98%@-/-");
  expect("loss: 1,234.5\nloss:2.3e\nloss: -\nloss:\n", "");
  expect("loss: 0.5\x1b[31m\x1b[0m\nacc: 0.\xff\xfe"
         "5\n\xe2\x82",
         "loss=0.5@-/-");
}

static void test_settings_are_no_metrics(void **state) {
  (void)state;
  expect("Namespace(batch_size=64, lr=1.0, gamma=0.7, loss_weight=0.5)\n# epoch: 6\n# unit: 100\nlr: 0.01\nTotal params: 50.9 K\n"
         "{'lr': 0.01, 'batch_size': 64, 'epochs': 10, 'dropout': 0.5}\nUsing precision: 32\n"
         "Validation score did not improve more than tol=0.001000 for 5 consecutive epochs. Stopping.\n"
         "[LightGBM] [Info] Start training from score -0.521150\nINFO:tensorflow:global_step/sec: 137.994\n",
         "");
}

struct steps {
  int64_t at[32];
  size_t n;
};

static bool collect_steps(void *ctx, const struct log_point *points, size_t n, struct err *err) {
  (void)err;
  struct steps *steps = ctx;
  for (size_t i = 0; i < n && steps->n < ARRAY_LEN(steps->at); i++)
    steps->at[steps->n++] = points[i].at;
  return true;
}

/* What stands before the first place is of no level, and goes on on whichever comes. */
static void test_before_the_first_place(void **state) {
  (void)state;
  expect("loss=5\nepoch 1 loss=2\nepoch 2 loss=1\n", "loss=5@-/-; loss=2@-/1; loss=1@-/2");
  expect("loss=5\nstep 1 loss=0.8\nstep 2 loss=0.4\n", "loss=5@-/-; loss=0.8@1/-; loss=0.4@2/-");
  expect("val_loss: 3.0\nEpoch 1 [10/20] val_loss: 2.0\nEpoch 1 [20/20] val_loss: 1.0\nEpoch 1 val_loss: 1.5\n",
         "val_loss=3@-/-; val_loss=2@10/1; val_loss=1@20/1; val_loss (epoch)=1.5@-/1");
  expect("accuracy: 0.1\nEpoch 1/2\naccuracy: 0.5\nEpoch 2/2\naccuracy: 0.6\n", "accuracy=0.1@-/-; accuracy=0.5@-/1; accuracy=0.6@-/2");
  expect("loss=5, acc=0.1\nepoch 1 loss=2, acc=0.3, f1=0.2\nloss=1, acc=0.4\n",
         "loss=5@-/-; acc=0.1@-/-; loss=2@-/1; acc=0.3@-/1; f1=0.2@-/1; loss (end)=1@-/1; acc (end)=0.4@-/1");
  expect("{'loss': 5.0}\nepoch 1 loss=2\n", "loss=5@-/-; loss=2@-/1");
  expect("loss=5\n{'loss': 2.0, 'epoch': 1}\n", "loss=5@-/-; loss=2@-/1");
  /* Several: of a loop that goes on, or of one that is over. */
  expect("loss: 5\nloss: 4\nEpoch 1 loss: 4.5\nloss: 3\nEpoch 2 loss: 3.5\n",
         "loss=5@-/-; loss=4@-/-; loss (epoch)=4.5@-/1; loss=3@-/1; loss (epoch)=3.5@-/2");
  expect("loss: 5\nloss: 4\nEpoch 1 loss: 3\nEpoch 2 loss: 2\nloss: 1\n",
         "loss=5@-/-; loss=4@-/-; loss (epoch)=3@-/1; loss=2@-/2; loss (end)=1@-/2");
  /* Under a headline a line without a place is the epoch's, unless nothing of the kind comes again. */
  expect("Epoch 1/2\nloss: 5\nepoch 1 loss: 4\nepoch 2 loss: 3\n", "loss=5@-/1; loss (epoch)=4@-/1; loss (epoch)=3@-/2");
  expect("Epoch 0\nval loss: 5\nepoch 1 val loss: 4\nepoch 2 val loss: 3\n", "val loss=5@-/0; val loss=4@-/1; val loss=3@-/2");
  expect("Epoch 1/2\nloss: 5\nepoch 1 step 9 loss: 4\n", "loss=5@-/1; loss (step)=4@9/1");
}

static void expect_steps(const char *log, size_t n, const int64_t *at) {
  struct err err = {0};
  struct log_metrics *metrics = log_metrics_new(&(struct log_metrics_options){0}, &err);
  assert_non_null(metrics);
  struct steps steps = {.n = 0};
  assert_true(log_metrics_feed(metrics, str_of(log), collect_steps, &steps, &err));
  assert_true(log_metrics_end(metrics, collect_steps, &steps, &err));
  log_metrics_free(metrics);
  assert_int_equal(steps.n, n);
  for (size_t i = 0; i < n; i++)
    assert_int_equal(steps.at[i], at[i]);
}

static void test_stored_steps(void **state) {
  (void)state;
  expect_steps("step 5 loss 0.5\nstep 9 loss 0.4\n", 2, (int64_t[]){5, 9});                                                   /* global */
  expect_steps("Epoch: [0][ 1/5] Loss 0.5\nEpoch: [0][ 5/5] Loss 0.5\nEpoch: [1][ 1/5] Loss 0.5\n", 3, (int64_t[]){1, 5, 6}); /* batches */
  expect_steps("Epoch [1/2], Step [4/5], Loss: 0.5\nEpoch [2/2], Step [1/5], Loss: 0.5\n", 2, (int64_t[]){4, 6});
  expect_steps("Epoch 1: loss: 0.5\nEpoch 2: loss: 0.4\n", 2, (int64_t[]){1, 2});                 /* only epochs */
  expect_steps("loss: 0.5\nloss: 0.4\nloss: 0.3\n", 3, (int64_t[]){0, 1, 2});                     /* neither */
  expect_steps("[1,  100] loss: 0.5\n[1,  200] loss: 0.4\n", 2, (int64_t[]){0, 1});               /* batches of an unknown number */
  expect_steps("step 9 loss 0.5\nstep 1 loss 0.4\nstep 2 loss 0.3\n", 3, (int64_t[]){9, 10, 11}); /* restarts, never goes back */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cntk),
      cmocka_unit_test(test_chainer),
      cmocka_unit_test(test_tensorflow),
      cmocka_unit_test(test_record),
      cmocka_unit_test(test_pytorch),
      cmocka_unit_test(test_keras),
      cmocka_unit_test(test_caffe),
      cmocka_unit_test(test_ranks),
      cmocka_unit_test(test_boosting),
      cmocka_unit_test(test_hugging_face),
      cmocka_unit_test(test_bars),
      cmocka_unit_test(test_tables),
      cmocka_unit_test(test_records),
      cmocka_unit_test(test_garbage),
      cmocka_unit_test(test_settings_are_no_metrics),
      cmocka_unit_test(test_stored_steps),
      cmocka_unit_test(test_before_the_first_place),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
