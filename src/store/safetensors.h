// The safetensors format: an 8-byte little-endian header length, a JSON header, then the tensors'
// bytes.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"

namespace hypenet {

using torch::Tensor;

/// Named tensors in the order they are to be written.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// A memory-mapped safetensors file. Tensors are views of the mapping (read-only by convention:
/// clone before writing) and keep it alive.
class SafetensorsFile {
 public:
  /// Throws Error naming the file, and the tensor or key, on anything malformed, truncated, or out
  /// of bounds.
  explicit SafetensorsFile(const std::filesystem::path& path);

  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return entries_.contains(name); }

  /// Where a tensor lies in the file.
  struct Entry {
    torch::ScalarType type;
    std::vector<int64_t> shape;
    size_t begin, end;  // bytes from the end of the header
  };

  /// Throw Error for a missing name.
  const Entry& entry(const std::string& name) const;
  /// A CPU tensor that shares the mapping. F32, F16, BF16, F64, F8_E4M3, I64, I32, I8, U8, BOOL.
  Tensor tensor(const std::string& name) const;

  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  void open();

  std::filesystem::path path_;
  std::shared_ptr<MappedFile> file_;
  size_t data_begin_ = 0;  // bytes from the start of the file to the end of the header
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// Writes tensors (any device, made contiguous one by one) temporary-then-rename; wider types come
/// first, so that every tensor is aligned. Throws Error for a type the format cannot hold, or two
/// tensors of one name.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace hypenet
