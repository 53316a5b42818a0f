// One GGUF file, memory-mapped: keys, then the table of tensors, then their blocks. All counts,
// lengths and offsets are checked against the file's size when it is opened, and nothing larger
// than the file is allocated.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "gguf/block_type.h"
#include "gguf/gguf_keys.h"

namespace hypenet {

struct GgufTensor {
  std::string name;
  BlockType type = BlockType::kF32;
  std::vector<int64_t> shape;              // rows first: the file's sizes turned round
  std::span<const std::byte> blocks = {};  // all of its bytes, row after row
};

class GgufFile {
 public:
  /// Versions 2 and 3, little-endian. Throws Error naming the file, the key or tensor, what was
  /// expected and what was found, for anything malformed, truncated or out of bounds, tensors that
  /// overlap, and types of blocks that are not read here.
  explicit GgufFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const GgufKeys& keys() const { return keys_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }

  /// Keeps blocks, and texts of keys, alive.
  const std::shared_ptr<const MappedFile>& mapping() const { return mapping_; }

 private:
  void open();

  std::filesystem::path path_;
  std::shared_ptr<const MappedFile> mapping_;
  GgufKeys keys_;
  std::vector<GgufTensor> tensors_;
};

}  // namespace hypenet
