// A thread writes the copy; ranks agree between steps on whether all have written.
#include "train/state_saver.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/cuda.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/host_memory.h"

namespace hypenet {
namespace {

int64_t numbers_of(const std::vector<TensorPart>& parts) {
  int64_t numbers = 0;
  for (const TensorPart& part : parts) numbers += part.values.numel();
  return numbers;
}

/// Whether half of the host's free memory holds a copy of what each of its ranks has.
bool has_room(const std::vector<TensorPart>& parts, torch::Device device, const Ranks& ranks) {
  const int64_t bytes = numbers_of(parts) * static_cast<int64_t>(sizeof(float));
  const int64_t devices =
      device.is_cuda() ? static_cast<int64_t>(torch::cuda::device_count()) : ranks.count;
  return bytes <= available_memory() / 2 / std::min(ranks.count, devices);
}

}  // namespace

PartsCopy::PartsCopy(const std::vector<TensorPart>& parts, torch::Device device,
                     int64_t block_numbers)
    : device_(device), block_numbers_(block_numbers) {
  locking_ = std::async(std::launch::async, [this, numbers = numbers_of(parts)] {
    const auto options = torch::TensorOptions(torch::kFloat32).pinned_memory(device_.is_cuda());
    for (int64_t left = numbers; left > 0; left -= block_numbers_) {
      blocks_.push_back(torch::empty({std::min(left, block_numbers_)}, options));
    }
  });
}

void PartsCopy::take(const std::vector<TensorPart>& parts) {
  if (locking_.valid()) locking_.get();
  parts_.clear();
  int64_t place = 0;  // of the next number, over all blocks
  for (const TensorPart& part : parts) {
    for (int64_t done = 0; done < part.values.numel();) {
      const Tensor& block = blocks_.at(static_cast<size_t>(place / block_numbers_));
      const int64_t first = place % block_numbers_;
      const int64_t count = std::min(part.values.numel() - done, block.numel() - first);
      const Tensor copy = block.narrow(0, first, count);
      copy.copy_(part.values.detach().narrow(0, done, count), /*non_blocking=*/true);
      parts_.push_back({part.name, part.shape, copy, part.first + done});
      done += count, place += count;
    }
  }
  if (device_.is_cuda()) {
    c10::impl::VirtualGuardImpl(device_.type()).getStream(device_).synchronize();
  }
}

StateSaver::StateSaver(std::filesystem::path path, const std::vector<TensorPart>& parts,
                       torch::Device device, std::shared_ptr<Communicator> communicator)
    : path_(std::move(path)), communicator_(std::move(communicator)) {
  if (has_room(parts, device, communicator_->ranks())) {
    copy_ = std::make_unique<PartsCopy>(parts, device);
  }
}

StateSaver::~StateSaver() {
  if (communicator_->ranks().count > 1) return;
  try {
    finish();
  } catch (const std::exception&) {
    return;  // a step failed before, which is told
  }
}

void StateSaver::begin(const std::vector<TensorPart>& parts,
                       const std::map<std::string, std::string>& metadata) {
  finish();
  file_ = std::make_unique<PartsFile>(path_, parts, metadata, communicator_->ranks().is_first());
  communicator_->barrier();  // the file is there
  if (copy_) copy_->take(parts);
  written_ = std::async(copy_ ? std::launch::async : std::launch::deferred,
                        [this, parts] { file_->write(copy_ ? copy_->parts() : parts); });
  if (!copy_) written_.wait();
}

void StateSaver::settle() {
  if (!file_) return;
  const bool is_written = written_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  if (!communicator_->any(!is_written)) commit();
}

void StateSaver::finish() {
  if (!file_) return;
  while (written_.wait_for(std::chrono::seconds(1)) != std::future_status::ready) {
    communicator_->give_sign();
  }
  commit();
}

void StateSaver::commit() {
  written_.get();
  communicator_->barrier();  // no rank failed to write
  file_->commit();
  file_.reset();
  communicator_->barrier();
}

}  // namespace hypenet
