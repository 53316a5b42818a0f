// Collectives between GPUs.
#pragma once

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

namespace hypenet {

/// NCCL between the ranks' current devices. Throws Error in a program without device code.
c10::intrusive_ptr<c10d::Backend> new_nccl(const c10::intrusive_ptr<c10d::Store>& store, int rank,
                                           int count);

}  // namespace hypenet
