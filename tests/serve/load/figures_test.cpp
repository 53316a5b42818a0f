// The figures of a load test on records made by hand.
#include "serve/load/figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace hypenet {
namespace {

/// Sent at `sent`; five tokens of 20 ms each behind a first one after 100 ms.
RequestRecord record(double sent) {
  RequestRecord record;
  record.sent = sent;
  for (int i = 0; i < 6; ++i) record.events.push_back(sent + 0.1 + 0.02 * i);
  record.ended = sent + 0.2;
  record.prompt_tokens = 10;
  record.answer_tokens = 6;
  record.reused_tokens = 4;
  return record;
}

std::string value_of(const LoadFigures& figures, const std::string& name) {
  for (const auto& row : figures.rows(2, 3)) {
    if (row.name == name) return row.value;
  }
  return "none";
}

TEST(LoadFigures, are_those_of_vllm_bench_serve) {
  std::vector<RequestRecord> records = {record(0), record(0.5), record(0.85), record(1.5)};
  records[3].error = "cut off";
  const LoadFigures figures = figures_of(records, 2, {{"ttft", 150}, {"tpot", 30}});
  EXPECT_EQ(figures.successful, 3);
  EXPECT_EQ(figures.failed, 1);
  EXPECT_EQ(figures.prompt_tokens, 30);
  EXPECT_EQ(figures.answer_tokens, 18);
  EXPECT_EQ(figures.reused_tokens, 12);
  EXPECT_DOUBLE_EQ(figures.per_second(figures.answer_tokens), 9);
  EXPECT_NEAR(figures.first_token.mean, 100, 1e-9);
  EXPECT_NEAR(figures.per_token.median, 20, 1e-9);
  EXPECT_NEAR(figures.between_tokens.p99, 20, 1e-9);
  EXPECT_NEAR(figures.whole.mean, 200, 1e-9);
  EXPECT_EQ(figures.peak_requests, 3);
  EXPECT_NEAR(figures.peak_answer_tokens, 15, 1e-9);  // three of the third request's come later
  EXPECT_EQ(figures.good_per_second, 1.5);
}

TEST(LoadFigures, percentiles_lie_between_values) {
  const Delays delays = Delays::of({0.004, 0.001, 0.002, 0.003});
  EXPECT_NEAR(delays.mean, 2.5, 1e-9);
  EXPECT_NEAR(delays.median, 2.5, 1e-9);
  EXPECT_NEAR(delays.p99, 3.97, 1e-9);
  EXPECT_EQ(Delays::of({}).mean, 0);
}

TEST(LoadFigures, several_tokens_of_an_event_count_as_many) {
  RequestRecord double_events = record(0);
  double_events.answer_tokens = 12;
  const LoadFigures figures = figures_of({double_events}, 1, {});
  EXPECT_NEAR(figures.peak_answer_tokens, 12, 1e-9);
  EXPECT_NEAR(figures.per_token.mean, 100.0 / 11, 1e-9);
}

TEST(LoadFigures, rows_have_their_names_and_two_places) {
  LoadFigures figures = figures_of({record(0), record(0)}, 4, {});
  figures.server_cpu_seconds = 0.006;
  EXPECT_EQ(value_of(figures, "Successful requests:"), "2");
  EXPECT_EQ(value_of(figures, "Maximum request concurrency:"), "2");
  EXPECT_EQ(value_of(figures, "Request rate configured (RPS):"), "3.00");
  EXPECT_EQ(value_of(figures, "Benchmark duration (s):"), "4.00");
  EXPECT_EQ(value_of(figures, "Total input tokens:"), "20");
  EXPECT_EQ(value_of(figures, "Request throughput (req/s):"), "0.50");
  EXPECT_EQ(value_of(figures, "Total token throughput (tok/s):"), "8.00");
  EXPECT_EQ(value_of(figures, "Mean TTFT (ms):"), "100.00");
  EXPECT_EQ(value_of(figures, "P99 E2EL (ms):"), "200.00");
  EXPECT_EQ(value_of(figures, "Hit share (%):"), "40.00");
  EXPECT_EQ(value_of(figures, "Server CPU (s a 1,000 output tokens):"), "0.5000");
  EXPECT_EQ(value_of(figures, "Request goodput (req/s):"), "none");
  EXPECT_EQ(figures.json()["mean_ttft_ms"], figures.first_token.mean);
}

TEST(LoadFigures, of_nothing_but_failures_are_zeros) {
  RequestRecord failed;
  failed.error = "refused";
  const LoadFigures figures = figures_of({failed}, 1, {});
  EXPECT_EQ(figures.failed, 1);
  EXPECT_EQ(value_of(figures, "Mean TTFT (ms):"), "0.00");
  EXPECT_EQ(value_of(figures, "Hit share (%):"), "0.00");
}

TEST(GoodputLimit, is_a_metric_and_its_ms) {
  EXPECT_TRUE(GoodputLimit::parse("ttft:100.5").holds(record(0)));
  EXPECT_FALSE(GoodputLimit::parse("tpot:10").holds(record(0)));
  EXPECT_FALSE(GoodputLimit::parse("e2el:199").holds(record(0)));
  for (const char* text : {"", "ttft", "ttft:", "ttft:x", "itl:5", "ttft:-1", "ttft:5ms"}) {
    EXPECT_THROW(GoodputLimit::parse(text), Error) << text;
  }
}

}  // namespace
}  // namespace hypenet
