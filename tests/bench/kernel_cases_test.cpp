// The cases count the work of docs/kernels-log.md.
#include "bench/kernel_cases.h"

#include <gtest/gtest.h>

#include <map>
#include <utility>

namespace hypenet {
namespace {

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
  const std::string sequences = "8 x 4096, H 16, d 128";
  EXPECT_NEAR(bytes_us("delta rule, token decay", sequences), 125, 0.5);
  EXPECT_NEAR(flops_us("delta rule, token decay", sequences), 121, 0.5);
  EXPECT_NEAR(flops_us("delta rule, token decay + backward", sequences), 423, 1);
  EXPECT_NEAR(bytes_us("delta rule, channel decay", sequences), 187, 0.5);
  EXPECT_NEAR(bytes_us("DPLR recurrence", "8 x 4096, H 32, d 64"), 250, 0.5);
  EXPECT_NEAR(flops_us("DPLR recurrence", "8 x 4096, H 32, d 64"), 73, 0.5);
  EXPECT_NEAR(bytes_us("DPLR recurrence + backward", "8 x 4096, H 32, d 64"), 718, 0.5);
  EXPECT_NEAR(bytes_us("RWKV-7 step", "B 32, H 32, d 64"), 7.8, 0.05);
  EXPECT_NEAR(bytes_us("lightning step", "B 32, H 16, d 128"), 15.6, 0.05);
  EXPECT_NEAR(bytes_us("delta step", "B 32, H 16, d 128, by channel"), 15.6, 0.05);
  EXPECT_NEAR(bytes_us("short convolution step", "N 32, 3 x 2048, 4 taps"), 1.28, 0.01);
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

}  // namespace
}  // namespace hypenet
