// A model of one GGUF file or of its shards: architecture, sizes, and its tensors under the names
// that a published folder gives them.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "gguf/gguf_file.h"
#include "gguf/tensor_table.h"

namespace hypenet {

/// Whether a path is to be read as a GGUF file: one that begins as such, or is named so and is no
/// folder.
bool is_gguf(const std::filesystem::path& path);

struct PublishedTensor {
  const GgufTensor* stored = nullptr;
  int64_t paired_heads = 0;  // as GgufTensorName's
};

class GgufModel {
 public:
  /// Opens the file, or all shards where it is one of NAME-00001-of-0000N.gguf. Throws Error, as
  /// GgufFile does, for missing shards, architectures other than llama, qwen2, qwen3 and hypenet,
  /// keys that ask for what is not built, and unless the tensors are those of the architecture in
  /// the sizes that the keys say.
  explicit GgufModel(const std::filesystem::path& path);
  GgufModel(const GgufModel&) = delete;  // tables point into its files
  GgufModel& operator=(const GgufModel&) = delete;

  /// The path that was given.
  const std::filesystem::path& path() const { return path_; }
  const std::vector<GgufFile>& files() const { return files_; }
  const GgufKeys& keys() const { return files_.front().keys(); }

  std::string_view architecture() const { return keys().text("general.architecture"); }
  /// The key of the architecture's own: "llama." + name.
  std::string key(std::string_view name) const;
  const GgufSizes& sizes() const { return sizes_; }

  /// By published names ("model.layers.0.self_attn.q_proj.weight").
  const std::map<std::string, PublishedTensor>& tensors() const { return tensors_; }
  /// What the pairs' frequencies are divided by (Llama 3.1 and later); nullptr where there is none.
  const GgufTensor* rope_divisors() const { return rope_divisors_; }

 private:
  void open_shards();
  void read_sizes();
  void read_hypenet();
  /// A size of a model; without a fallback the key must be there.
  int64_t size(std::string_view name, std::optional<int64_t> fallback = {}) const;
  void require(std::string_view name, int64_t expected, std::string_view why) const;
  void name_tensors();
  const GgufTensor& take(std::map<std::string, const GgufTensor*>& stored, const std::string& name,
                         const std::vector<int64_t>& shape) const;

  std::filesystem::path path_;
  std::vector<GgufFile> files_;
  GgufSizes sizes_;
  std::map<std::string, PublishedTensor> tensors_;
  const GgufTensor* rope_divisors_ = nullptr;
};

}  // namespace hypenet
