// One line, with what a full GPU hides.
#include "ranks/call_failure.h"

#include <gtest/gtest.h>

namespace hypenet {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;

TEST(CallFailure, is_the_first_line) {
  EXPECT_EQ(call_failure("Connection closed by peer\nat a.cpp", 0, 0), "Connection closed by peer");
  EXPECT_EQ(call_failure("Connection closed by peer", 2 * kGiB, 140 * kGiB),
            "Connection closed by peer");
}

TEST(CallFailure, has_the_last_error_of_NCCL) {
  EXPECT_EQ(call_failure("NCCL error in: x.hpp:1, unhandled cuda error, NCCL version 2.28.9\n"
                         "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\n"
                         "Failed to CUDA calloc 4194304 bytes\nmore",
                         2 * kGiB, 140 * kGiB),
            "NCCL error in: x.hpp:1, unhandled cuda error, NCCL version 2.28.9: Failed to CUDA "
            "calloc 4194304 bytes");
  EXPECT_EQ(call_failure("NCCL error\nLast error:\n", 0, 0), "NCCL error");
}

TEST(CallFailure, says_that_the_memory_is_full) {
  EXPECT_EQ(call_failure("NCCL Error 1: unhandled cuda error", kGiB / 2, 140 * kGiB),
            "NCCL Error 1: unhandled cuda error; the GPU's memory is full: 512.0 MiB of 140.0 GiB "
            "are free");
}

}  // namespace
}  // namespace hypenet
