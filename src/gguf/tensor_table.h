// The sizes that a GGUF file's keys tell of a model, and the tensors that a model of these sizes
// has: each one's name there, its published name and its shape. Read and written by this table.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet {

/// What a HypeNet has beside the sizes of a Transformer. Its recurrent layers are lightning
/// attention.
struct HypeNetForm {
  std::vector<bool> recurrent_layers = {};  // [L]; false: attention
  bool has_bias = false, has_output_bias = false;
  bool has_rope = false, has_qk_norm = true, has_gate = true;  // of attention
  int64_t heads = 0, key_heads = 0, head_dim = 0;              // of recurrent layers, as are these:
  bool recurrent_rope = true, recurrent_qk_norm = true;
  bool recurrent_output_norm = true, recurrent_gate = true;

  /// field(name in config.json, name of the key behind "hypenet.", member): those of all layers.
  template <class Visitor>
  void visit(Visitor&& field) {
    field("attention_bias", "attention.bias", has_bias);
    field("attention_output_bias", "attention.output_bias", has_output_bias);
    field("attn_use_rope", "attention.rope", has_rope);
    field("attn_use_qk_norm", "attention.qk_norm", has_qk_norm);
    field("attn_use_output_gate", "attention.output_gate", has_gate);
  }
  /// The same of recurrent layers.
  template <class Visitor>
  void visit_recurrent(Visitor&& field) {
    field("lightning_nh", "linear_attention.head_count", heads);
    field("lightning_nkv", "linear_attention.head_count_kv", key_heads);
    field("lightning_head_dim", "linear_attention.key_length", head_dim);
    field("lightning_use_rope", "linear_attention.rope", recurrent_rope);
    field("lightning_use_qk_norm", "linear_attention.qk_norm", recurrent_qk_norm);
    field("lightning_use_output_norm", "linear_attention.output_norm", recurrent_output_norm);
    field("lightning_use_output_gate", "linear_attention.output_gate", recurrent_gate);
  }
  bool has_recurrent_layers() const;
};

/// Sizes in the paper's letters, as in ModelConfig.
struct GgufSizes {
  int64_t hidden_size = 0, intermediate_size = 0, num_hidden_layers = 0, vocab_size = 0;
  int64_t num_attention_heads = 0, num_key_value_heads = 0, head_dim = 0;
  HypeNetForm hypenet = {};  // of the architecture "hypenet"

  /// The size of the heads that RoPE turns.
  int64_t turned_size() const;
};

/// "llama", "qwen2", "qwen3", "hypenet".
const std::vector<std::string_view>& gguf_architectures();

struct GgufTensorName {
  std::string stored, published;
  std::vector<int64_t> shape;  // rows first
  /// Heads whose rows lie in pairs that RoPE turns together (rows 2i and 2i + 1); published ones
  /// have pair i in rows i and head_dim / 2 + i. 0: as published.
  int64_t paired_heads = 0;
};

/// Calls take for all tensors of a model but rope_freqs.weight, in the order in which they are
/// written. A tied head is none.
void each_gguf_tensor(std::string_view architecture, const GgufSizes& sizes, bool is_tied,
                      const std::function<void(const GgufTensorName&)>& take);

}  // namespace hypenet
