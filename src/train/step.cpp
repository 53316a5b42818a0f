// The step. Streams and events are libtorch's generic ones, so that no CUDA header is needed.
#include "train/step.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "train/row_ranks.h"

namespace hypenet {
namespace {

/// A graph's size grows with the micro-batches of a step, and what it saves a step does not: with
/// so many, one of them keeps the device busy for longer than the host needs to queue it.
constexpr int64_t kMostRecorded = 16;

c10::Stream current_stream_of(torch::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

/// Gives memory that no tensor uses back to the device: a graph's memory is separate, and so is
/// that of each stream.
void release_unused_memory(torch::Device device) {
  c10::getDeviceAllocator(device.type())->emptyCache();
}

}  // namespace

/// The stream of the steps. Work that will be recorded may not have run on the default stream
/// before: autograd would wait for that one while recording.
struct TrainStep::Queue {
  explicit Queue(torch::Device device)
      : stream(c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device)) {
    current_stream_of(device).synchronize();
    release_unused_memory(device);
  }
  c10::Stream stream;
};

/// A place on the host for one run's numbers, and the moment at which they are there.
struct TrainStep::Readout {
  explicit Readout(torch::Device device)
      : host(torch::zeros({3},
                          torch::TensorOptions(torch::kFloat32).pinned_memory(device.is_cuda()))) {
    if (device.is_cuda()) is_here.emplace(device.type());
  }
  void copy(const Tensor& numbers) {
    host.copy_(numbers, /*non_blocking=*/true);
    if (is_here) is_here->record(current_stream_of(numbers.device()));
  }
  StepNumbers read() const {
    if (is_here) is_here->synchronize();
    const float* values = host.const_data_ptr<float>();
    return {values[0], values[1], values[2]};
  }
  Tensor host;  // float32 [3]
  std::optional<c10::Event> is_here;
};

bool StepNumbers::is_finite() const { return std::isfinite(loss) && std::isfinite(gradient_norm); }

TrainStep::TrainStep(const TrainJob& job, Objective& objective, AdamW& optimizer)
    : job_(job),
      objective_(objective),
      optimizer_(optimizer),
      waiting_(std::make_shared<Stopwatch>(job.device)) {
  const std::string& graph = job.config.cuda_graph;
  is_to_be_recorded_ =
      can_capture(job.device) &&
      (graph == "on" ||
       (graph == "auto" && micro_batches(job.config, job.communicator->ranks()) <= kMostRecorded));
  HYPENET_CHECK(is_to_be_recorded_ || graph != "on", job.stage,
                ": cuda_graph: expected \"auto\" or \"off\" on device ", job.device.str(),
                ", found \"on\"");
  if (job.device.is_cuda()) queue_ = std::make_unique<Queue>(job.device);
  numbers_ = torch::empty({3}, torch::TensorOptions(torch::kFloat32).device(job.device));
  job.communicator->around_waits([watch = waiting_](const Communicator::Wait& wait) {
    watch->start();
    wait();
    watch->stop();
  });
  for (auto& readout : readouts_) readout = std::make_unique<Readout>(job.device);
}

TrainStep::~TrainStep() {
  job_.communicator->around_waits({});
  optimizer_.zero_gradients();
}

void TrainStep::run(const Batch& rows, double learning_rate) {
  std::optional<c10::StreamGuard> on_stream;
  if (queue_) on_stream.emplace(queue_->stream);
  copy_in(rows);
  optimizer_.set_learning_rate(learning_rate);
  run_or_record();
  readouts_[static_cast<size_t>(runs_ % 2)]->copy(numbers_);
  ++runs_;
}

StepNumbers TrainStep::numbers(int64_t ago) const {
  return readouts_[static_cast<size_t>((runs_ - 1 - ago) % 2)]->read();
}

void TrainStep::repeat_gradients(const Batch& rows) {
  graph_.reset();
  copy_in(rows);
  optimizer_.zero_gradients();
  accumulate();
  if (job_.sharded) job_.sharded->finish();
}

void TrainStep::copy_in(const Batch& rows) {
  if (!batch_.ids.defined()) {
    batch_ = rows.map([&](const Tensor& t) { return torch::empty_like(t, job_.device); });
  }
  batch_.ids.copy_(rows.ids, /*non_blocking=*/true);
  batch_.targets.copy_(rows.targets, /*non_blocking=*/true);
  batch_.answers.copy_(rows.answers, /*non_blocking=*/true);
}

void TrainStep::run_or_record() {
  if (graph_) return graph_->replay();
  if (!is_to_be_recorded_ || runs_ < kEagerSteps) return update();
  optimizer_.zero_gradients();
  release_unused_memory(job_.device);
  try {
    graph_.emplace(job_.device, [this] { update(); });
  } catch (const BrokenRecording&) {
    throw;  // --set STAGE.cuda_graph=off is the way round
  } catch (const std::exception& error) {
    if (job_.config.cuda_graph == "on") throw;
    is_to_be_recorded_ = false;
    const std::string text = error.what();
    if (job_.observer) {
      job_.observer->on_note(concat(
          job_.stage, ": steps run without a CUDA graph: ", text.substr(0, text.find('\n'))));
    }
    return update();
  }
  graph_->replay();
}

/// Everything between the batch and the numbers, all of it on the device.
void TrainStep::update() {
  optimizer_.zero_gradients();  // by dropping them: a graph's gradients live in its own memory
  waiting_->seconds().zero_();
  const Tensor loss = accumulate();
  Tensor part_squares;
  if (job_.sharded) {
    job_.sharded->finish();
    part_squares = optimizer_.part_squares();
  }
  std::vector<Tensor> sums = optimizer_.whole_gradients();
  sums.push_back(loss);
  if (part_squares.defined()) sums.push_back(part_squares);
  job_.communicator->sum(sums);
  const Tensor norm = optimizer_.inspect(loss, part_squares);
  optimizer_.step();
  if (job_.sharded) job_.sharded->refresh();
  if (job_.after_update) job_.after_update();
  numbers_.copy_(torch::cat({torch::stack({loss, norm.to(torch::kFloat32)}), waiting_->seconds()}));
}

/// This rank's part of the mean loss of the step's whole batch; its gradient is added up in
/// micro-batches.
Tensor TrainStep::accumulate() {
  const int64_t rows = batch_.ids.size(0), tokens = batch_.ids.size(1);
  const int64_t all_tokens = job_.config.sequences * job_.config.context;
  const int64_t micro = job_.config.micro_sequences > 0 ? job_.config.micro_sequences : rows;
  Tensor loss = torch::zeros({}, numbers_.options());
  for (int64_t first = 0; first < rows; first += micro) {
    const int64_t count = std::min(micro, rows - first);
    const double weight = static_cast<double>(count * tokens) / static_cast<double>(all_tokens);
    loss += objective_.accumulate(batch_.narrow(first, count), weight).to(torch::kFloat32) * weight;
  }
  return loss;
}

PeakBytes peak_device_bytes(torch::Device device) {
  if (!device.is_cuda()) return {};
  constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  const auto statistics = c10::getDeviceAllocator(device.type())
                              ->getDeviceStats(std::max<c10::DeviceIndex>(0, device.index()));
  return {statistics.allocated_bytes[kAll].peak, statistics.reserved_bytes[kAll].peak};
}

double longest(double seconds, Communicator& ranks) {
  constexpr double kNanoseconds = 1e9;
  return static_cast<double>(ranks.most(std::llround(seconds * kNanoseconds))) / kNanoseconds;
}

}  // namespace hypenet
