// What of a model is quantised already, kept beside the result layer by layer, so that a run that
// was stopped goes on where it was.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/folder_writer.h"
#include "quantize/quantize.h"

namespace hypenet {

/// A layer's part of a QuantisedModel.
struct LayerResult {
  NamedTensors tensors = {};  // of the result
  NamedTensors folded = {};   // tensors of the model that are written so, as AWQ changed them
  std::vector<QuantisedLinear> linears = {};
  std::optional<double> error = {};
  int64_t scaled = 0, bytes_before = 0;
};

/// A folder of layers, each a file that is complete or absent, and of what goes on to the next one.
class KeptLayers {
 public:
  /// Opens the folder, or makes it; layers of a run with another fingerprint are removed. Throws
  /// Error for a folder that holds other things.
  KeptLayers(const std::filesystem::path& folder, const std::string& fingerprint);

  /// Layers 0 .. this - 1 are there.
  int64_t finished() const { return finished_; }

  /// Tensors are views of the file. Throws Error for one that is damaged.
  LayerResult layer(int64_t i) const;
  /// What the last layer left.
  NamedTensors streams() const;

  /// Layer finished(), on the disk when it returns.
  void keep(const LayerResult& layer, const NamedTensors& streams);

 private:
  std::filesystem::path folder_;
  std::string fingerprint_;
  int64_t finished_ = 0;
};

/// The folder that `quantize_model` keeps layers in while `out` is being made: "<out>.layers"; and
/// what is in it.
std::filesystem::path kept_layers_folder(const std::filesystem::path& out);
FolderKind kept_layers_kind();

/// 16 digits that differ where another model (its files' names, sizes and times of change), text or
/// way of quantising is meant.
std::string quantize_fingerprint(const Checkpoint& checkpoint, const QuantizeOptions& options);

}  // namespace hypenet
