// hypenet bench train: what it counts, and that every stage runs on a CPU.
#include <gmock/gmock.h>

#include "cli/bench_shapes.h"
#include "cli/model_flops.h"
#include "halo/hybrid.h"
#include "tests/support/expect_error.h"
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

ModelConfig student_of(const BenchShape& shape, int stage) {
  const auto kept = stage == 1 ? std::vector<int64_t>() : shape.attention_layers;
  return hypenet_config(shape.teacher, mixer_types(shape.teacher.num_hidden_layers, kept));
}

double total(const std::string& name, int stage, int64_t context) {
  const BenchShape shape = bench_shape(name);
  return total_flops(training_flops(shape.teacher, student_of(shape, stage), stage, context));
}

TEST(TrainFlops, are_those_of_the_published_shapes) {
  // Parameters times 2 forward and 4 backward; stage 1 needs no gradient of the mixers' input, and
  // these sums leave out the mixing itself, which at 512 tokens is a few percent.
  const double mixer = 5 * 2048.0 * 2048, twins = 28 * mixer, teacher = 1.41e9;
  EXPECT_NEAR(total("hypenet-2b", 1, 512) / (2 * teacher + 4 * twins + 2 * twins / 5), 1, 0.06);
  EXPECT_NEAR(total("hypenet-2b", 2, 512) / 15.0e9, 1, 0.03);
  EXPECT_NEAR(total("hypenet-2b", 3, 16384) / 13.2e9, 1, 0.02);
}

TEST(TrainFlops, of_attention_grow_with_the_context_and_of_lightning_do_not) {
  const BenchShape shape = bench_shape("tiny");
  const auto by_name = [&](int64_t context) {
    std::map<std::string, double> parts;
    for (const auto& part : training_flops(shape.teacher, student_of(shape, 3), 3, context)) {
      parts[part.name] = part.sum();
    }
    return parts;
  };
  auto near = by_name(64), far = by_name(128);
  EXPECT_EQ(near.size(), 5U);
  for (const auto& [name, flops] : near) {
    EXPECT_DOUBLE_EQ(far[name], name == "student attention" ? 2 * flops : flops) << name;
  }
}

TEST(BenchShapes, keep_a_quarter_of_the_layers_spread_evenly) {
  EXPECT_EQ(bench_shape("hypenet-2b").attention_layers,
            (std::vector<int64_t>{0, 4, 8, 12, 16, 20, 24}));
  EXPECT_EQ(bench_shape("smollm2-135m").attention_layers.size(), 7U);
  for (const char* name : {"hypenet-2b", "smollm2-135m", "tiny"}) {
    check_model_config(bench_shape(name).teacher, name);
    check_model_config(student_of(bench_shape(name), 2), name);
  }
  EXPECT_ERROR(bench_shape("huge"),
               "--shape: expected hypenet-2b, smollm2-135m or tiny, found \"huge\"");
}

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
                                ContainsRegex("large product in this run +[0-9.e-]+"),
                                ContainsRegex("share of it +[0-9.]+ %")));
}

INSTANTIATE_TEST_SUITE_P(
    stages, BenchTrainStage,
    testing::Values(std::vector<std::string>{"--stage", "1"},
                    std::vector<std::string>{"--stage", "2", "--micro", "1"},
                    std::vector<std::string>{"--stage", "2", "--precision", "bfloat16"},
                    std::vector<std::string>{"--stage", "3", "--activation-checkpointing"}),
    [](const auto& info) { return "case" + std::to_string(info.index); });

TEST(BenchInference, has_floors_at_rates_that_it_measured_itself) {
  for (const char* bench : {"prefill", "decode"}) {
    const ProgramResult result = run_program(
        {"bench", bench, "--shape", "hypenet-tiny", "--context", "32", "--threads", "1"});
    EXPECT_EQ(result.code, 0) << result.error;
    EXPECT_THAT(result.out,
                ContainsRegex("at [0-9.e+-]+ (GB/s|TFLOP/s), a[^\n]* rate in this run"));
    EXPECT_THAT(result.out, ContainsRegex("hypenet-tiny +32 +[0-9.]+"));
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
