// Saving beside training: a state is copied to memory at once and written while steps go on.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <filesystem>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ranks/ranks.h"
#include "store/tensor_parts.h"

namespace hypenet {

/// A copy of float32 parts in the host's memory, page-locked where they are on a GPU. The memory is
/// kept for the next copy.
class PartsCopy {
 public:
  /// Of parts of these sizes, in blocks of so many numbers: a power of two, to which libtorch
  /// rounds page-locked memory up. Locking takes seconds: a thread begins with it now.
  PartsCopy(const std::vector<TensorPart>& parts, torch::Device device,
            int64_t block_numbers = int64_t{1} << 28);

  /// Copies the parts; returns when they may change. A part may become several that follow each
  /// other.
  void take(const std::vector<TensorPart>& parts);
  const std::vector<TensorPart>& parts() const { return parts_; }

 private:
  torch::Device device_;
  int64_t block_numbers_;
  std::vector<Tensor> blocks_;
  std::vector<TensorPart> parts_;
  std::future<void> locking_;  // of the blocks
};

/// Saves the states of one file, one after the other. All ranks make the same calls; each writes
/// its own parts.
class StateSaver {
 public:
  /// `parts` are as those that will be saved. Where the host's memory has no room for a copy of
  /// what its ranks hold, begin() returns when this rank's are written.
  StateSaver(std::filesystem::path path, const std::vector<TensorPart>& parts, torch::Device device,
             std::shared_ptr<Communicator> communicator);

  /// One process keeps a state that was taken, also when a step after it failed. Of several ranks
  /// others may be gone: the state before stands.
  ~StateSaver();
  StateSaver(const StateSaver&) = delete;
  StateSaver& operator=(const StateSaver&) = delete;

  /// Takes a state; the tensors may change when it returns. Waits for the one before.
  void begin(const std::vector<TensorPart>& parts,
             const std::map<std::string, std::string>& metadata);

  /// Gives the file its name if every rank has written; to be called between steps. Throws Error
  /// for a failed write.
  void settle();

  /// Returns when the file that was begun last is there.
  void finish();

 private:
  void commit();

  std::filesystem::path path_;
  std::shared_ptr<Communicator> communicator_;
  std::unique_ptr<PartsCopy> copy_;  // absent without room for it
  std::unique_ptr<PartsFile> file_;  // the one that is being written
  std::future<void> written_;
};

}  // namespace hypenet
