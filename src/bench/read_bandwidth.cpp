// Each thread sums its own run of words.
#include "bench/read_bandwidth.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "base/error.h"
#include "base/large_pages.h"
#include "kernels/read_memory.h"

namespace hypenet {

uint64_t read_all(const torch::Tensor& x) {
  constexpr int64_t kBlock = 512;  // words of a page, so that threads share none
  const int64_t words = static_cast<int64_t>(x.nbytes() / sizeof(uint64_t));
  HYPENET_CHECK(x.is_cpu() && x.is_contiguous() && x.nbytes() % sizeof(uint64_t) == 0,
                "read_all: expected a contiguous CPU tensor of whole words, found ", x.nbytes(),
                " bytes on ", x.device());
  const auto* const first = static_cast<const uint64_t*>(x.const_data_ptr());
  std::atomic<uint64_t> total = 0;
  at::parallel_for(0, (words + kBlock - 1) / kBlock, 64, [&](int64_t begin, int64_t end) {
    const int64_t stop = std::min(end * kBlock, words);
    total += kernels::read_memory(first + begin * kBlock, stop - begin * kBlock);
  });
  return total;
}

double read_bandwidth() {
  constexpr int64_t kWords = int64_t{1} << 26;
  const auto memory = map_large_pages(kWords * sizeof(uint64_t));
  const torch::Tensor x = torch::from_blob(memory.get(), {kWords}, torch::kInt64).fill_(1);
  const auto words = static_cast<uint64_t>(x.numel());
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    const auto began = std::chrono::steady_clock::now();
    HYPENET_CHECK(read_all(x) == words, "read_bandwidth: memory gave back other numbers");
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - began;
    if (i > 0) best = std::max(best, static_cast<double>(x.nbytes()) / time.count());
  }
  return best;
}

}  // namespace hypenet
