// A row a tensor of a layer; which layers have it, a flag of the layer's form says.
#include "gguf/tensor_table.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace hypenet {
namespace {

/// What of a layer its tensors follow from.
struct Layer {
  int64_t hidden_size = 0, intermediate_size = 0, heads = 0, key_heads = 0, head_dim = 0;
  bool is_paired = false;  // rows of queries and keys
  bool has_bias = false, has_output_bias = false, has_qk_norm = false;
  bool has_output_norm = false, has_gate = false, has_recurrent_gate = false;
};

Layer recurrent_layer(const HypeNetForm& form) {
  return {.heads = form.heads,
          .key_heads = form.key_heads,
          .head_dim = form.head_dim,
          .has_qk_norm = form.recurrent_qk_norm,
          .has_output_norm = form.recurrent_output_norm,
          .has_recurrent_gate = form.recurrent_gate};
}

Layer make_layer(std::string_view architecture, const GgufSizes& sizes, int64_t number) {
  const HypeNetForm& form = sizes.hypenet;
  const bool is_hypenet = architecture == "hypenet";
  const bool is_recurrent = is_hypenet && form.recurrent_layers.at(static_cast<size_t>(number));
  Layer layer{.heads = sizes.num_attention_heads,
              .key_heads = sizes.num_key_value_heads,
              .head_dim = sizes.head_dim,
              .is_paired = architecture == "llama",
              .has_qk_norm = is_hypenet ? form.has_qk_norm : architecture == "qwen3",
              .has_gate = is_hypenet && form.has_gate};
  if (is_recurrent) layer = recurrent_layer(form);
  layer.hidden_size = sizes.hidden_size, layer.intermediate_size = sizes.intermediate_size;
  layer.has_bias = is_hypenet ? form.has_bias : architecture == "qwen2";
  layer.has_output_bias = is_hypenet && form.has_output_bias;
  return layer;
}

enum class Shape { kHidden, kQueries, kKeys, kOutput, kGate, kDown, kHead, kHeads, kKeyHeads };

struct Row {
  std::string_view stored, published;
  Shape shape;
  bool Layer::*is_there = nullptr;  // null: in every layer
};

constexpr auto kRows = std::to_array<Row>(
    {{"attn_norm.weight", "input_layernorm.weight", Shape::kHidden},
     {"attn_q.weight", "self_attn.q_proj.weight", Shape::kQueries},
     {"attn_k.weight", "self_attn.k_proj.weight", Shape::kKeys},
     {"attn_v.weight", "self_attn.v_proj.weight", Shape::kKeys},
     {"attn_q.bias", "self_attn.q_proj.bias", Shape::kHeads, &Layer::has_bias},
     {"attn_k.bias", "self_attn.k_proj.bias", Shape::kKeyHeads, &Layer::has_bias},
     {"attn_v.bias", "self_attn.v_proj.bias", Shape::kKeyHeads, &Layer::has_bias},
     {"attn_q_norm.weight", "self_attn.q_norm.weight", Shape::kHead, &Layer::has_qk_norm},
     {"attn_k_norm.weight", "self_attn.k_norm.weight", Shape::kHead, &Layer::has_qk_norm},
     {"attn_norm_2.weight", "self_attn.o_norm.weight", Shape::kHeads, &Layer::has_output_norm},
     {"attn_gate.weight", "self_attn.o_gate.weight", Shape::kQueries, &Layer::has_gate},
     {"attn_gate.weight", "self_attn.z_proj.weight", Shape::kQueries, &Layer::has_recurrent_gate},
     {"attn_output.weight", "self_attn.o_proj.weight", Shape::kOutput},
     {"attn_output.bias", "self_attn.o_proj.bias", Shape::kHidden, &Layer::has_output_bias},
     {"ffn_norm.weight", "post_attention_layernorm.weight", Shape::kHidden},
     {"ffn_gate.weight", "mlp.gate_proj.weight", Shape::kGate},
     {"ffn_up.weight", "mlp.up_proj.weight", Shape::kGate},
     {"ffn_down.weight", "mlp.down_proj.weight", Shape::kDown}});

std::vector<int64_t> shape_of(Shape shape, const Layer& layer) {
  const int64_t D = layer.hidden_size, I = layer.intermediate_size;
  const int64_t queries = layer.heads * layer.head_dim, keys = layer.key_heads * layer.head_dim;
  switch (shape) {
    case Shape::kHidden:
      return {D};
    case Shape::kHead:
      return {layer.head_dim};
    case Shape::kHeads:
      return {queries};
    case Shape::kKeyHeads:
      return {keys};
    case Shape::kQueries:
      return {queries, D};
    case Shape::kKeys:
      return {keys, D};
    case Shape::kOutput:
      return {D, queries};
    case Shape::kGate:
      return {I, D};
    case Shape::kDown:
      return {D, I};
  }
  return {};
}

int64_t paired_heads(const Row& row, const Layer& layer) {
  if (!layer.is_paired) return 0;
  if (row.stored == "attn_q.weight") return layer.heads;
  return row.stored == "attn_k.weight" ? layer.key_heads : 0;
}

}  // namespace

bool HypeNetForm::has_recurrent_layers() const {
  return std::ranges::find(recurrent_layers, true) != recurrent_layers.end();
}

int64_t GgufSizes::turned_size() const {
  const bool is_recurrent = hypenet.has_recurrent_layers() && hypenet.recurrent_rope;
  return is_recurrent ? hypenet.head_dim : head_dim;
}

const std::vector<std::string_view>& gguf_architectures() {
  static const std::vector<std::string_view> kNames = {"llama", "qwen2", "qwen3", "hypenet"};
  return kNames;
}

void each_gguf_tensor(std::string_view architecture, const GgufSizes& sizes, bool is_tied,
                      const std::function<void(const GgufTensorName&)>& take) {
  const int64_t D = sizes.hidden_size, V = sizes.vocab_size;
  take({"token_embd.weight", "model.embed_tokens.weight", {V, D}});
  take({"output_norm.weight", "model.norm.weight", {D}});
  if (!is_tied) take({"output.weight", "lm_head.weight", {V, D}});
  for (int64_t number = 0; number < sizes.num_hidden_layers; ++number) {
    const Layer layer = make_layer(architecture, sizes, number);
    for (const Row& row : kRows) {
      if (row.is_there != nullptr && !(layer.*row.is_there)) continue;
      take({concat("blk.", number, ".", row.stored),
            concat("model.layers.", number, ".", row.published), shape_of(row.shape, layer),
            paired_heads(row, layer)});
    }
  }
}

}  // namespace hypenet
