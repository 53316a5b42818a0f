// hypenet bench kernels: that it counts the work of docs/kernels-log.md, and runs on a CPU.
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/json.h"
#include "cli/bench_kernel_cases.h"
#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;
using testing_support::ProgramResult;
using testing_support::run_program;

TEST(KernelCases, count_the_floors_of_the_derivations) {
  // Nothing is made on the device here: only the work is counted.
  std::map<std::pair<std::string, std::string>, KernelWork> work;
  for (const KernelCase& kernel : kernel_cases({.device = torch::kCUDA})) {
    EXPECT_TRUE(work.try_emplace({kernel.name, kernel.shape}, kernel.work).second) << kernel.name;
  }
  const auto bytes_us = [&](const std::string& name, const std::string& shape) {
    return work.at({name, shape}).bytes / 4.3e12 * 1e6;  // the rates of docs/kernels-log.md
  };
  const auto flops_us = [&](const std::string& name, const std::string& shape) {
    return work.at({name, shape}).flops / 710e12 * 1e6;
  };
  const std::string lightning = "32 x 512, H 16, d 128", rows = "[16384, 2048]";
  EXPECT_NEAR(bytes_us("lightning attention", lightning), 62, 0.5);
  EXPECT_NEAR(flops_us("lightning attention", lightning), 36, 0.5);
  EXPECT_NEAR(bytes_us("lightning attention + backward", lightning), 172, 0.5);
  EXPECT_NEAR(bytes_us("lightning attention + backward", "1 x 131072, H 16, d 128"), 1373, 1);
  EXPECT_NEAR(bytes_us("lightning step", "B 32, H 16, d 128"), 15.6, 0.05);
  EXPECT_NEAR(bytes_us("rms_norm", rows), 31, 0.5);
  EXPECT_NEAR(bytes_us("gated_rms_norm + backward", rows), 47 + 78, 1);
  EXPECT_NEAR(bytes_us("norm_rope", "[32, 512, 16, 128]"), 33, 0.5);
  EXPECT_NEAR(bytes_us("norm_rope + backward", "[32, 512, 16, 128]"), 33 + 49, 1);
  EXPECT_NEAR(bytes_us("sigmoid_gate + backward", rows), 47 + 78, 1);
  EXPECT_NEAR(bytes_us("mean squared error", rows), 47, 0.5);
  const std::string vocabulary = "N 16384, D 2048, V 151936";
  EXPECT_NEAR(flops_us("linear + KL", vocabulary) / 16384, 3.5, 0.05);
  EXPECT_NEAR(flops_us("linear + cross-entropy", vocabulary) / 16384, 2.6, 0.05);
  const std::string attention = "2 x 16384, H 16, G 8, d 128";
  EXPECT_DOUBLE_EQ(work.at({"softmax attention cuDNN + backward", attention}).flops,
                   3.5 * work.at({"softmax attention flash", attention}).flops);
}

class BenchKernels : public testing::TestWithParam<std::string> {};

TEST_P(BenchKernels, prints_each_kernel_beside_its_floor) {
  const ProgramResult result =
      run_program({"bench", "kernels", "--quick", "--threads", "1", "--filter", GetParam()});
  EXPECT_EQ(result.code, 0) << result.error;
  EXPECT_THAT(result.error, IsEmpty());
  EXPECT_THAT(result.out,
              AllOf(StartsWith("cpu, float32, quick"),
                    ContainsRegex("matrix product +512 x 512 x 512 .* FLOPs +100.0 %"),
                    ContainsRegex("copy +16 MiB .* bytes +100.0 %"),
                    ContainsRegex("read +512 MiB .* bytes +"),
                    ContainsRegex(GetParam() + "[^\n]* [0-9.e-]+ +(FLOPs|bytes) +[0-9.]+ %")));
}

INSTANTIATE_TEST_SUITE_P(kernels, BenchKernels,
                         testing::Values("lightning attention", "lightning step", "rms_norm",
                                         "norm_rope", "swiglu", "sigmoid_gate", "linear",
                                         "mean squared error", "softmax attention", "sample",
                                         "step inputs"),
                         [](const auto& info) { return "case" + std::to_string(info.index); });

TEST(BenchKernelsOptions, choose_kernels_and_write_json) {
  const TemporaryFolder folder;
  const std::string file = folder / "times.json";
  const ProgramResult result = run_program({"bench", "kernels", "--threads", "1", "--filter",
                                            "add_rms_norm + backward", "--json", file});
  EXPECT_EQ(result.code, 0) << result.error;
  EXPECT_THAT(result.out, Not(HasSubstr("swiglu")));
  const Json times = read_json(file);
  ASSERT_EQ(times.size(), 5U);  // three ceilings, two sizes
  EXPECT_EQ(times[2].at("kernel"), "read");
  EXPECT_EQ(times[3].at("kernel"), "add_rms_norm + backward");
  EXPECT_GT(times[3].at("seconds").get<double>(), 0);
}

TEST(BenchKernelsOptions, wrong_requests_are_one_line) {
  const auto error_of = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"bench", "kernels"});
    const ProgramResult result = run_program(arguments);
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.out, IsEmpty());
    EXPECT_EQ(std::ranges::count(result.error, '\n'), 1) << result.error;
    return result.error;
  };
  EXPECT_THAT(error_of({"--filter", "convolution"}),
              AllOf(StartsWith("hypenet: --filter: expected a part of one of lightning attention,"),
                    HasSubstr("softmax attention, found \"convolution\"")));
  EXPECT_EQ(error_of({"--device", "abacus"}),
            "hypenet: --device: expected cpu, cuda or cuda:N, found \"abacus\"\n");
  EXPECT_EQ(error_of({"--threads", "-1"}), "hypenet: --threads: expected 0 to 4096, found -1\n");
}

}  // namespace
}  // namespace hypenet
