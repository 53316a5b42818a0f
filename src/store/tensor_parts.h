// A safetensors file that several processes write side by side.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace hypenet {

class FileWriter;

using torch::Tensor;

/// Elements `first` and on of a tensor of this shape, in the order of memory.
struct TensorPart {
  std::string name;
  std::vector<int64_t> shape;  // of the whole
  Tensor values;               // [n], n may be 0
  int64_t first = 0;
};

/// A safetensors file of the tensors that the parts of all processes make up, written
/// temporary-then-rename on a disk that the processes share. What no part covers is zero.
class PartsFile {
 public:
  /// The same parts' names, shapes and types in all processes, in the same order. One of them
  /// `makes` the file, before any writes. Throws Error where it cannot.
  PartsFile(std::filesystem::path path, const std::vector<TensorPart>& parts,
            const std::map<std::string, std::string>& metadata, bool makes);
  ~PartsFile();  // without commit() the file stays as it was
  PartsFile(const PartsFile&) = delete;
  PartsFile& operator=(const PartsFile&) = delete;

  /// Writes parts to the disk, on any thread. Throws Error for a failed write.
  void write(const std::vector<TensorPart>& parts) const;

  /// Gives the file its name, in the process that makes it, once all have written.
  void commit();

 private:
  std::filesystem::path path_;
  std::map<std::string, size_t> places_;  // of each tensor, in bytes from the start of the file
  std::unique_ptr<FileWriter> writer_;    // in the process that makes it
};

}  // namespace hypenet
