// NCCL, by c10d.
#define USE_C10D_NCCL  // NOLINT(readability-identifier-naming): c10d asks for this name
#include "ranks/nccl.h"

#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

namespace hypenet {

c10::intrusive_ptr<c10d::Backend> new_nccl(const c10::intrusive_ptr<c10d::Store>& store, int rank,
                                           int count) {
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = std::chrono::hours(24 * 365);  // the ranks watch each other (ranks/watch.h)
  options->is_high_priority_stream = true;          // arithmetic waits for what comes over it
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank, count, options);
}

}  // namespace hypenet
