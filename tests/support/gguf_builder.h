// Bytes of GGUF files, good and bad ones, written from the format's definition.
#pragma once

#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/gguf_file.h"

namespace hypenet::testing_support {

template <class Number>
std::string bytes_of_number(Number number) {
  return {reinterpret_cast<const char*>(&number), sizeof number};
}

/// A length of eight bytes, then the text.
inline std::string bytes_of_text(std::string_view text) {
  return bytes_of_number<uint64_t>(text.size()) + std::string(text);
}

class GgufBuilder {
 public:
  uint32_t version = 3;
  uint64_t alignment = 32;  // of what is written; the key is the caller's

  /// A key of this kind, its value as it is to lie in the file.
  GgufBuilder& key(std::string_view name, GgufKind kind, const std::string& value) {
    keys_ += bytes_of_text(name) + bytes_of_number(static_cast<uint32_t>(kind)) + value;
    ++key_count_;
    return *this;
  }
  GgufBuilder& size(std::string_view name, uint32_t value) {
    return key(name, GgufKind::kUint32, bytes_of_number(value));
  }
  GgufBuilder& number(std::string_view name, float value) {
    return key(name, GgufKind::kFloat32, bytes_of_number(value));
  }
  GgufBuilder& text(std::string_view name, std::string_view value) {
    return key(name, GgufKind::kString, bytes_of_text(value));
  }
  GgufBuilder& texts(std::string_view name, const std::vector<std::string>& values) {
    std::string bytes = array_of(GgufKind::kString, values.size());
    for (const std::string& value : values) bytes += bytes_of_text(value);
    return key(name, GgufKind::kArray, bytes);
  }
  GgufBuilder& integers(std::string_view name, const std::vector<int32_t>& values) {
    std::string bytes = array_of(GgufKind::kInt32, values.size());
    for (const int32_t value : values) bytes += bytes_of_number(value);
    return key(name, GgufKind::kArray, bytes);
  }
  static std::string array_of(GgufKind kind, uint64_t count) {
    return bytes_of_number(static_cast<uint32_t>(kind)) + bytes_of_number(count);
  }

  /// A tensor, rows first, at the next aligned place, or at `begin`.
  GgufBuilder& tensor(std::string_view name, const std::vector<uint64_t>& shape, uint32_t type,
                      const std::string& blocks, int64_t begin = -1) {
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    table_ += bytes_of_text(name) + bytes_of_number(static_cast<uint32_t>(shape.size()));
    for (size_t i = shape.size(); i > 0; --i) table_ += bytes_of_number(shape[i - 1]);
    table_ += bytes_of_number(type);
    table_ += bytes_of_number(begin < 0 ? data_.size() : static_cast<uint64_t>(begin));
    data_ += blocks;
    ++tensor_count_;
    return *this;
  }
  /// Float32 of zeros.
  GgufBuilder& zeros(std::string_view name, const std::vector<uint64_t>& shape) {
    const uint64_t count = std::accumulate(shape.begin(), shape.end(), uint64_t{1},
                                           [](uint64_t a, uint64_t b) { return a * b; });
    return tensor(name, shape, 0, std::string(count * 4, '\0'));
  }

  std::string build() const {
    std::string file = "GGUF" + bytes_of_number(version) + bytes_of_number(tensor_count_) +
                       bytes_of_number(key_count_) + keys_ + table_;
    file.resize((file.size() + alignment - 1) / alignment * alignment);
    return file + data_;
  }

 private:
  std::string keys_, table_, data_;
  uint64_t key_count_ = 0, tensor_count_ = 0;
};

/// A Llama of one layer without a tokenizer: D 8, H 2, d 4, I 8, V 6; all of it zeros.
inline GgufBuilder tiny_gguf() {
  GgufBuilder file;
  file.text("general.architecture", "llama").size("llama.embedding_length", 8);
  file.size("llama.block_count", 1).size("llama.feed_forward_length", 8);
  file.size("llama.attention.head_count", 2)
      .number("llama.attention.layer_norm_rms_epsilon", 1e-5F);
  file.zeros("token_embd.weight", {6, 8}).zeros("output_norm.weight", {8});
  for (const char* norm : {"attn_norm", "ffn_norm"}) {
    file.zeros(std::string("blk.0.") + norm + ".weight", {8});
  }
  for (const char* matrix :
       {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}) {
    file.zeros(std::string("blk.0.") + matrix + ".weight", {8, 8});
  }
  return file;
}

}  // namespace hypenet::testing_support
