// --device and --dtype.
#include "cli/device.h"

#include <gtest/gtest.h>
#include <torch/cuda.h>

#include "engine/open.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

TEST(DeviceTest, words_that_name_no_device_are_errors) {
  for (const char* text : {"", "gpu", "cuda:", "cuda:-1", "cuda:1x", "CPU", "cuda:999999"}) {
    EXPECT_ERROR(parse_device(text), "--device: expected cpu, cuda or cuda:N");
  }
}

TEST(DeviceTest, cuda_is_there_or_an_error_says_so) {
  if (torch::cuda::is_available()) {
    EXPECT_EQ(parse_device("cuda"), torch::Device(torch::kCUDA, 0));
  } else {
    EXPECT_ERROR(parse_device("cuda"), "expected a CUDA build on a machine with an NVIDIA GPU");
  }
}

TEST(DeviceTest, types_have_names_both_ways) {
  for (const char* name : {"float32", "bfloat16", "float64"}) {
    EXPECT_EQ(type_name(parse_type(name)), name);
  }
  EXPECT_ERROR(parse_type("half"), "--dtype: expected float32, bfloat16 or float64");
}

}  // namespace
}  // namespace hypenet
