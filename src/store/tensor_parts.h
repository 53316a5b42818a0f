// A safetensors file that several processes write side by side.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace hypenet {

using torch::Tensor;

/// Elements `first` and on of a tensor of this shape, in the order of memory.
struct TensorPart {
  std::string name;
  std::vector<int64_t> shape;  // of the whole
  Tensor values;               // [n], n may be 0
  int64_t first = 0;
};

/// Writes the tensors that the parts of all processes make up, temporary-then-rename, on a disk
/// that the processes share. All call it with parts of the same tensors in the same order; `makes`
/// is true for one of them, and `meet` returns when all have called it. What no part covers is
/// zero. Throws Error for a failed write: then the file stays as it was.
void write_parts(const std::filesystem::path& path, const std::vector<TensorPart>& parts,
                 const std::map<std::string, std::string>& metadata, bool makes,
                 const std::function<void()>& meet);

}  // namespace hypenet
