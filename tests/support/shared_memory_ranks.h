// Ranks that are threads of one process: sums through shared memory, for tests of what must not
// depend on the number of ranks.
#pragma once

#include <algorithm>
#include <barrier>
#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "ranks/ranks.h"

namespace hypenet::testing_support {

/// What the threads share.
struct SharedMemory {
  explicit SharedMemory(int64_t count)
      : meeting(count), tensors(count), numbers(count), bytes(count), groups(count) {}
  std::barrier<> meeting;
  std::vector<std::vector<Tensor>> tensors;  // what each rank put in
  std::vector<int64_t> numbers;
  std::vector<std::string> bytes;
  std::vector<std::shared_ptr<SharedMemory>> groups;
};

class SharedMemoryCommunicator : public Communicator {
 public:
  SharedMemoryCommunicator(std::shared_ptr<SharedMemory> memory, Ranks ranks)
      : memory_(std::move(memory)), ranks_(ranks) {}

  Ranks ranks() const override { return ranks_; }

  void sum(const std::vector<Tensor>& tensors) override {
    const torch::NoGradGuard no_grad;
    memory_->tensors[static_cast<size_t>(ranks_.index)] = tensors;
    barrier();
    std::vector<Tensor> sums;
    for (size_t i = 0; i < tensors.size(); ++i) {
      sums.push_back(torch::zeros_like(tensors[i]));
      for (const auto& of_rank : memory_->tensors) sums.back() += of_rank[i];
    }
    barrier();
    for (size_t i = 0; i < tensors.size(); ++i) tensors[i].copy_(sums[i]);
  }

  Wait gather(const std::vector<Tensor>& wholes, const std::vector<Tensor>& parts) override {
    const torch::NoGradGuard no_grad;
    memory_->tensors[static_cast<size_t>(ranks_.index)] = parts;
    barrier();
    for (size_t i = 0; i < wholes.size(); ++i) {
      std::vector<Tensor> of_ranks;
      for (const auto& of_rank : memory_->tensors) of_ranks.push_back(of_rank[i]);
      wholes[i].copy_(torch::cat(of_ranks));
    }
    barrier();
    return [] {};
  }

  Wait sum_parts(const std::vector<Tensor>& parts, const std::vector<Tensor>& wholes) override {
    sum(wholes);
    for (size_t i = 0; i < parts.size(); ++i) {
      const int64_t n = parts[i].numel();
      parts[i].copy_(wholes[i].narrow(0, ranks_.index * n, n));
    }
    return [] {};
  }

  /// The first rank of each group makes what its ranks share.
  std::shared_ptr<Communicator> split(int64_t size) override {
    const Ranks own = {ranks_.index % size, size};
    auto& shared = memory_->groups[static_cast<size_t>(ranks_.index / size)];
    if (own.is_first()) shared = std::make_shared<SharedMemory>(size);
    barrier();
    auto group = std::make_shared<SharedMemoryCommunicator>(shared, own);
    barrier();
    return group;
  }

  bool any(bool here) override { return most(here ? 1 : 0) != 0; }

  int64_t most(int64_t here) override {
    memory_->numbers[static_cast<size_t>(ranks_.index)] = here;
    barrier();
    const int64_t found = *std::ranges::max_element(memory_->numbers);
    barrier();
    return found;
  }

  std::vector<std::string> gather_bytes(const std::string& bytes) override {
    memory_->bytes[static_cast<size_t>(ranks_.index)] = bytes;
    barrier();
    std::vector<std::string> found = memory_->bytes;
    barrier();
    return found;
  }

  void check_same(const std::string& /*name*/, const std::string& /*text*/) override {}

  void barrier() override { memory_->meeting.arrive_and_wait(); }

 private:
  std::shared_ptr<SharedMemory> memory_;
  Ranks ranks_;
};

/// Runs `work` once a rank, each in its own thread. All have to get through or fail alike; the
/// first failure is thrown.
inline void run_ranks(int64_t count,
                      const std::function<void(std::shared_ptr<Communicator>)>& work) {
  const auto memory = std::make_shared<SharedMemory>(count);
  std::vector<std::exception_ptr> failures(static_cast<size_t>(count));
  {
    std::vector<std::jthread> threads;
    for (int64_t index = 0; index < count; ++index) {
      threads.emplace_back([&, index] {
        try {
          work(std::make_shared<SharedMemoryCommunicator>(memory, Ranks{index, count}));
        } catch (...) {
          failures[static_cast<size_t>(index)] = std::current_exception();
        }
      });
    }
  }
  for (const auto& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace hypenet::testing_support
