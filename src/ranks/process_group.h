// Ranks that are processes, on one host or many, by torch's c10d: Gloo between CPUs, NCCL between
// GPUs, and a TCPStore where they meet and watch over each other.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "ranks/ranks.h"

namespace hypenet {

/// Where a process finds the others of its job.
struct JobPlace {
  Ranks ranks = {};
  int64_t local_index = 0;     // among the ranks of its host
  std::string address = {};    // of the store
  uint16_t port = 0;           // of the store
  bool is_store_kept = false;  // by the launcher; else the first rank keeps it
};

/// How long ranks wait for each other.
struct Patience {
  std::chrono::seconds to_meet{60};       // at the start
  std::chrono::seconds with_signs{1800};  // until who gives no sign counts as hung
};

/// A process of a job with others.
class JobCommunicator : public Communicator {
 public:
  /// Tells the others why this rank ends: they end, too. Returns whether this is the first fault of
  /// the job: it is then to be shown, with name() in front.
  virtual bool report(const std::string& fault) = 0;

  /// "rank 2 on HOST".
  virtual std::string name() = 0;

  /// To be called when the work is done, or stopped alike on all ranks; returns when all have.
  virtual void leave() = 0;
};

/// Joins the job with tensors on this device and returns when all ranks have. From then on a rank
/// that dies, hangs or reports a fault ends the others within 30 seconds; `tell` shows one line of
/// why on one of them. Throws Error when nobody answers at the address, a port is taken, or not all
/// ranks come in time.
std::shared_ptr<JobCommunicator> join_job(const JobPlace& place, torch::Device device,
                                          const Patience& patience,
                                          const std::function<void(const std::string&)>& tell);

}  // namespace hypenet
