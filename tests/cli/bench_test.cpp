// hypenet bench train, prefill and decode: that they run on a CPU.
#include <gmock/gmock.h>

#include "tests/support/program.h"
#include "tests/support/refusal.h"

namespace hypenet {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::IsEmpty;
using testing_support::ProgramResult;
using testing_support::run_program;

class BenchTrainStage : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(BenchTrainStage, prints_what_it_counts_and_measures) {
  std::vector<std::string> arguments = {"bench",   "train", "--shape",   "tiny", "--steps",   "1",
                                        "--batch", "2",     "--context", "16",   "--threads", "1"};
  arguments.insert(arguments.end(), GetParam().begin(), GetParam().end());
  const ProgramResult result = run_program(arguments);
  EXPECT_EQ(result.code, 0) << result.error;
  EXPECT_THAT(result.error, IsEmpty());
  EXPECT_THAT(result.out, AllOf(HasSubstr("tiny, stage "), HasSubstr("2 x 16 tokens a step"),
                                HasSubstr("MFLOP a token"), ContainsRegex("tokens/s +[1-9]"),
                                ContainsRegex("TFLOP/s +[0-9]"),
                                ContainsRegex("large products in this run +[0-9.e-]+"),
                                ContainsRegex("share of it +[0-9.]+ %")));
}

INSTANTIATE_TEST_SUITE_P(
    stages, BenchTrainStage,
    testing::Values(std::vector<std::string>{"--stage", "1"},
                    std::vector<std::string>{"--stage", "2", "--micro", "1"},
                    std::vector<std::string>{"--stage", "2", "--precision", "bfloat16"},
                    std::vector<std::string>{"--stage", "3", "--activation-checkpointing"}),
    [](const auto& info) { return "case" + std::to_string(info.index); });

TEST(BenchTrain, counts_the_work_of_the_mixer_behind_the_shape) {
  const ProgramResult result =
      run_program({"bench", "train", "--shape", "tiny:gdn", "--stage", "2", "--steps", "1",
                   "--batch", "2", "--context", "16", "--threads", "1"});
  EXPECT_EQ(result.code, 0) << result.error;
  EXPECT_THAT(result.out, AllOf(HasSubstr("tiny:gdn, stage 2"), HasSubstr("student Gated DeltaNet"),
                                ContainsRegex("tokens/s +[1-9]")));
}

TEST(BenchInference, has_floors_at_rates_that_it_measured_itself) {
  for (const char* bench : {"prefill", "decode"}) {
    const ProgramResult result =
        run_program({"bench", bench, "--shape", "hypenet-tiny,hypenet-tiny:gdn,hypenet-tiny:kda",
                     "--context", "32", "--threads", "1"});
    EXPECT_EQ(result.code, 0) << result.error;
    EXPECT_THAT(result.out,
                ContainsRegex("at [0-9.e+-]+ (GB/s|TFLOP/s), a[^\n]* rate in this run"));
    for (const char* shape : {"hypenet-tiny", "hypenet-tiny:gdn", "hypenet-tiny:kda"})
      EXPECT_THAT(result.out, ContainsRegex(concat(shape, " +32 +[0-9.]+")));
  }
}

TEST(BenchTrain, wrong_requests_are_one_line) {
  const auto expect_failure = [](std::vector<std::string> arguments, const std::string& text) {
    arguments.insert(arguments.begin(), {"bench", "train", "--shape", "tiny"});
    const ProgramResult result = testing_support::refusal(add_bench_command, arguments);
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.out, IsEmpty());
    EXPECT_EQ(result.error, "hypenet: " + text + "\n");
  };
  expect_failure({"--stage", "4"}, "--stage: expected 1, 2 or 3, found 4");
  expect_failure({"--batch", "-1"}, "--batch: expected 0 (the shape's) or more, found -1");
  expect_failure(
      {"--stage", "1", "--activation-checkpointing"},
      "--activation-checkpointing: expected with stage 2 or 3, found stage 1, which keeps one "
      "layer at a time");
  expect_failure({"--steps", "0"}, "--steps: expected 1 or more, found 0");
  expect_failure({"--precision", "float8"},
                 "bench train: precision: expected \"float32\" or \"bfloat16\", found \"float8\"");
  expect_failure(
      {"--cuda-graph", "on"},
      "bench train: cuda_graph: expected \"auto\" or \"off\" on device cpu, found \"on\"");
  EXPECT_THAT(testing_support::refusal(add_bench_command, {"bench"}).error,
              HasSubstr("see hypenet bench --help"));
}

}  // namespace
}  // namespace hypenet
