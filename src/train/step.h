// One training step: all micro-batches, the norm, the update. On a GPU it is queued without a wait
// for the device and, after a few steps, replayed from a CUDA graph.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <array>
#include <memory>
#include <optional>

#include "ops/graph.h"
#include "ops/stopwatch.h"
#include "train/adamw.h"
#include "train/loop.h"

namespace hypenet {

/// What a step gives: mean loss of the whole batch, norm of its gradient before clipping; and for
/// how long this rank had nothing to do but to wait for others.
struct StepNumbers {
  double loss = 0, gradient_norm = 0, seconds_waited = 0;
  bool is_finite() const;
};

/// The step of a job. The first kEagerSteps run call by call, so that libraries load and plan; then
/// the whole step is recorded where job.config.cuda_graph and the device allow it.
class TrainStep {
 public:
  static constexpr int64_t kEagerSteps = 3;

  /// References are kept. Work of the current stream is waited for: steps have their own stream.
  TrainStep(const TrainJob& job, Objective& objective, AdamW& optimizer);
  ~TrainStep();  // drops the gradients, which may lie in the graph's memory
  TrainStep(const TrainStep&) = delete;
  TrainStep& operator=(const TrainStep&) = delete;

  /// Queues one update with this rank's rows of a step's batch, of the same shape each time. An
  /// update whose loss or norm is not finite, and all after it, leave the parameters alone.
  void run(const Batch& rows, double learning_rate);

  /// Numbers of the last run (ago = 0) or the one before it (ago = 1); waits until the device has
  /// got there. Loss and norm are the same on every rank.
  StepNumbers numbers(int64_t ago) const;

  /// Whether steps are replayed from a graph by now.
  bool is_recorded() const { return graph_.has_value(); }

  /// Computes the gradients of these rows once more, without an update; for the search for a number
  /// that is not finite.
  void repeat_gradients(const Batch& rows);

 private:
  struct Queue;
  struct Readout;

  void copy_in(const Batch& rows);
  void update();
  void run_or_record();
  Tensor accumulate();

  const TrainJob& job_;
  Objective& objective_;
  AdamW& optimizer_;
  std::unique_ptr<Queue> queue_;  // absent on a CPU
  bool is_to_be_recorded_ = false;
  int64_t runs_ = 0;
  Batch batch_;  // on the device; stays in place for the graph
  std::shared_ptr<Stopwatch> waiting_;
  Tensor numbers_;  // StepNumbers of the last run, float32 [3] on the device
  std::array<std::unique_ptr<Readout>, 2> readouts_;
  std::optional<Graph> graph_;
};

/// Most bytes of a GPU's memory at once since the program began: what tensors took, and what was
/// taken from the device for them. Zeros on a CPU.
struct PeakBytes {
  int64_t allocated = 0, reserved = 0;
};
PeakBytes peak_device_bytes(torch::Device device);

/// The longest of the ranks' times, in seconds.
double longest(double seconds, Communicator& ranks);

}  // namespace hypenet
