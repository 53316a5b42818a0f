// How fast this machine reads memory: the ceiling of decode on a CPU.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

/// The sum of x's bytes taken as 64-bit words, modulo 2^64, read by all threads: x a contiguous CPU
/// tensor of whole words.
uint64_t read_all(const torch::Tensor& x);

/// Bytes a second that all threads read from 512 MiB in large pages, as packed weights lie in, the
/// best of five times after an untimed one.
double read_bandwidth();

}  // namespace hypenet
