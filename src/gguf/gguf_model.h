// A model of one GGUF file or of its shards: architecture, sizes, and its tensors under the names
// that a published folder gives them.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "gguf/gguf_file.h"

namespace hypenet {

/// Whether a path is to be read as a GGUF file: one that begins as such, or is named so and is no
/// folder.
bool is_gguf(const std::filesystem::path& path);

/// Sizes in the paper's letters, as in ModelConfig.
struct GgufSizes {
  int64_t hidden_size = 0, intermediate_size = 0, num_hidden_layers = 0, vocab_size = 0;
  int64_t num_attention_heads = 0, num_key_value_heads = 0, head_dim = 0;
};

struct PublishedTensor {
  const GgufTensor* stored = nullptr;
  /// Heads whose rows lie in pairs that RoPE turns together (rows 2i and 2i + 1); published ones
  /// have pair i in rows i and head_dim / 2 + i. 0: as published.
  int64_t paired_heads = 0;
};

class GgufModel {
 public:
  /// Opens the file, or all shards where it is one of NAME-00001-of-0000N.gguf. Throws Error, as
  /// GgufFile does, for missing shards, architectures other than llama, qwen2 and qwen3, keys that
  /// ask for what is not built, and unless the tensors are those of the architecture in the sizes
  /// that the keys say.
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
