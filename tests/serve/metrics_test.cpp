// What Prometheus reads.
#include "serve/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace hypenet {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(MetricsTest, prints_each_kind_with_help_type_and_the_model) {
  Metrics metrics("hypenet_", "tiny");
  metrics.count("generation_tokens_total", {}, 3);
  metrics.count("generation_tokens_total");
  metrics.count("request_success_total", {{"finished_reason", "stop"}});
  metrics.set("num_requests_running", 2);
  metrics.observe("time_to_first_token_seconds", 0.02);
  const std::string text = metrics.text();
  EXPECT_THAT(text, HasSubstr("# TYPE hypenet_generation_tokens_total counter"));
  EXPECT_THAT(text, HasSubstr("# HELP hypenet_generation_tokens_total Tokens of answers"));
  EXPECT_THAT(text, HasSubstr("hypenet_generation_tokens_total{model_name=\"tiny\"} 4"));
  EXPECT_THAT(text, HasSubstr("finished_reason=\"stop\""));
  EXPECT_THAT(text, HasSubstr("hypenet_num_requests_running{model_name=\"tiny\"} 2"));
  EXPECT_THAT(text, HasSubstr("hypenet_time_to_first_token_seconds_count{model_name=\"tiny\"} 1"));
  EXPECT_THAT(text, HasSubstr("le=\"0.025\"} 1"));
  EXPECT_THAT(text, HasSubstr("le=\"0.01\"} 0"));
}

TEST(MetricsTest, totals_that_others_count_never_fall) {
  Metrics metrics("vllm:", "tiny");
  metrics.count_to("steps_total", 5);
  metrics.count_to("steps_total", 5);
  EXPECT_THAT(metrics.text(), HasSubstr("vllm:steps_total{model_name=\"tiny\"} 5"));
  metrics.count_to("steps_total", 3);
  EXPECT_THAT(metrics.text(), HasSubstr("vllm:steps_total{model_name=\"tiny\"} 5"));
}

TEST(MetricsTest, refuses_names_outside_its_table) {
  Metrics metrics("hypenet_", "tiny");
  EXPECT_THROW(metrics.count("no_such_total"), std::logic_error);
  EXPECT_THROW(metrics.set("steps_total", 1), std::logic_error);
}

}  // namespace
}  // namespace hypenet
