// Time read on the device, and added up over several stretches.
#include "ops/stopwatch.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "tests/support/compare.h"

namespace hypenet {
namespace {

class StopwatchTest : public testing::TestWithParam<torch::DeviceType> {
 protected:
  void SetUp() override {
    if (GetParam() == torch::kCUDA && !has_gpu()) GTEST_SKIP() << "no CUDA device";
  }
};

double seconds_of(const Stopwatch& watch) { return watch.seconds().item<double>(); }

/// Work of the device, or of the host, that takes at least so long.
void work(torch::Device device, std::chrono::milliseconds time) {
  const auto begin = std::chrono::steady_clock::now();
  const Tensor x = torch::ones({64, 64}, device);
  while (std::chrono::steady_clock::now() - begin < time) {
    x.matmul(x).sum().item<float>();  // waits for the device
  }
}

TEST_P(StopwatchTest, adds_up_the_time_between_start_and_stop_alone) {
  using std::chrono::milliseconds;
  Stopwatch watch(GetParam());
  EXPECT_EQ(seconds_of(watch), 0);
  work(GetParam(), milliseconds(10));
  EXPECT_EQ(seconds_of(watch), 0);
  const auto begin = std::chrono::steady_clock::now();
  double working = 0;
  for (int i = 0; i < 2; ++i) {
    watch.start();
    work(GetParam(), milliseconds(20));
    watch.stop();
    working = seconds_of(watch);  // waits
    EXPECT_GE(working, 0.019 * (i + 1));
  }
  const std::chrono::duration<double> all = std::chrono::steady_clock::now() - begin;
  EXPECT_LE(working, all.count() + 1e-3);
  work(GetParam(), milliseconds(20));
  EXPECT_EQ(seconds_of(watch), working) << "a watch that is stopped";
  watch.seconds().zero_();
  EXPECT_EQ(seconds_of(watch), 0);
}

INSTANTIATE_TEST_SUITE_P(, StopwatchTest, testing::Values(torch::kCPU, torch::kCUDA),
                         [](const auto& device) {
                           return std::string(device.param == torch::kCPU ? "cpu" : "cuda");
                         });

}  // namespace
}  // namespace hypenet
