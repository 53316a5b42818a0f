// hypenet bench kernels: that it runs on a CPU.
#include <gmock/gmock.h>

#include <algorithm>

#include "base/json.h"
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
  EXPECT_THAT(error_of({"--filter", "sorting"}),
              AllOf(StartsWith("hypenet: --filter: expected a part of one of lightning attention,"),
                    HasSubstr("softmax attention, found \"sorting\"")));
  EXPECT_EQ(error_of({"--device", "abacus"}),
            "hypenet: --device: expected cpu, cuda or cuda:N, found \"abacus\"\n");
  EXPECT_EQ(error_of({"--threads", "-1"}), "hypenet: --threads: expected 0 to 4096, found -1\n");
}

}  // namespace
}  // namespace hypenet
