// Writes one GGUF file (version 3): keys and the table of tensors first, then the tensors' blocks,
// which come in pieces, so that no model need fit into memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "gguf/block_type.h"
#include "gguf/gguf_key_list.h"

namespace hypenet {

/// A tensor that is to be written.
struct GgufPlan {
  std::string name;
  BlockType type = BlockType::kF32;
  std::vector<int64_t> shape;  // rows first; a row is whole blocks

  int64_t bytes() const;
};

class GgufWriter {
 public:
  /// Writes all that stands in front of the first tensor. Nothing has the name `path` before
  /// `commit`. Throws Error as FileWriter does.
  GgufWriter(const std::filesystem::path& path, const GgufKeyList& keys,
             std::vector<GgufPlan> tensors);

  /// The next bytes of the tensor that is being written; the last of them begin the next one.
  /// Pieces do not cross from one tensor into another.
  void write(std::span<const std::byte> blocks);

  /// The file is complete under its name. Throws Error where bytes of a tensor are missing.
  void commit();

 private:
  void pad(int64_t written);

  FileWriter file_;
  std::string path_;
  std::vector<GgufPlan> tensors_;
  size_t tensor_ = 0;    // the one that is being written
  int64_t missing_ = 0;  // bytes of it
};

}  // namespace hypenet
