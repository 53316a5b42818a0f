// A row a key that is not named alike; what a reader of model/published_*.cpp takes a key from
// stands here once more, in words.
#include "model/published_words.h"

#include <algorithm>
#include <span>

namespace hypenet {
namespace {

struct Words {
  std::string_view own, published;  // "outer: inner" for a key of an object
};

constexpr Words kQwen[] = {
    {"mixer_types", "layer_types"},
    {"gdn_nh", "linear_num_key_heads"},
    {"gdn_nkv", "linear_num_key_heads"},
    {"gdn_num_v_heads", "linear_num_value_heads"},
    {"gdn_head_dim", "linear_key_head_dim"},
    {"gdn_expand_v", "linear_value_head_dim / linear_key_head_dim"},
    {"gdn_conv_size", "linear_conv_kernel_dim"},
};

constexpr Words kGatedDeltaNet[] = {
    {"num_attention_heads", "num_heads"},
    {"num_key_value_heads", "num_heads"},
    {"rms_norm_eps", "norm_eps"},
    {"gdn_nh", "num_heads"},
    {"gdn_nkv", "num_heads"},
    {"gdn_num_v_heads", "num_v_heads"},
    {"gdn_head_dim", "head_dim"},
    {"gdn_expand_v", "expand_v"},
    {"gdn_conv_size", "conv_size"},
    {"gdn_use_gate", "use_gate"},
    {"gdn_use_short_conv", "use_short_conv"},
    {"gdn_allow_neg_eigval", "allow_neg_eigval"},
};

constexpr Words kKda[] = {
    {"num_attention_heads", "num_heads"},
    {"num_key_value_heads", "num_heads"},
    {"rms_norm_eps", "norm_eps"},
    {"kda_num_heads", "num_heads"},
    {"kda_head_dim", "head_dim"},
    {"kda_conv_size", "conv_size"},
    {"kda_allow_neg_eigval", "allow_neg_eigval"},
    {"kda_lower_bound", "lower_bound"},
};

/// Older folders have an object of their own for what newer ones have beside the rest.
constexpr Words kKimi[] = {
    {"max_position_embeddings", "model_max_length"},
    {"num_attention_heads", "linear_attn_config: num_heads"},
    {"num_attention_heads", "linear_num_heads"},
    {"num_key_value_heads", "linear_attn_config: num_heads"},
    {"num_key_value_heads", "linear_num_heads"},
    {"head_dim", "linear_attn_config: head_dim"},
    {"head_dim", "linear_head_dim"},
    {"kda_num_heads", "linear_attn_config: num_heads"},
    {"kda_num_heads", "linear_num_heads"},
    {"kda_head_dim", "linear_attn_config: head_dim"},
    {"kda_head_dim", "linear_head_dim"},
    {"kda_conv_size", "linear_attn_config: short_conv_kernel_size"},
    {"kda_conv_size", "linear_conv_kernel_dim"},
};

constexpr Words kRadlads[] = {
    {"rwkv7_balance_state", "balance_state"},
    {"rwkv7_gate_rank_type", "gate_rank_type"},
    {"rwkv7_groupnorm_att", "groupnorm_att"},
    {"rwkv7_head_size", "head_dim"},
    {"rwkv7_lora_rank_decay", "lora_rank_decay"},
    {"rwkv7_lora_rank_gate", "lora_rank_gate"},
    {"rwkv7_lora_rank_iclr", "lora_rank_iclr"},
    {"rwkv7_lora_rank_value_residual_mix", "lora_rank_value_residual_mix"},
    {"rwkv7_num_heads", "num_attention_heads"},
    {"rwkv7_num_key_value_heads", "num_key_value_heads"},
    {"rwkv7_use_rope", "use_rope"},
    {"rwkv7_use_tokenshift", "use_tokenshift"},
};

constexpr Words kRwkv7[] = {
    {"num_attention_heads", "num_heads"},
    {"num_key_value_heads", "num_heads"},
    {"rms_norm_eps", "norm_eps"},
    {"rwkv7_group_norm_eps", "norm_eps"},
    {"rwkv7_head_size", "head_dim"},
    {"rwkv7_lora_rank_decay", "decay_low_rank_dim"},
    {"rwkv7_lora_rank_gate", "gate_low_rank_dim"},
    {"rwkv7_lora_rank_iclr", "a_low_rank_dim"},
    {"rwkv7_lora_rank_value_residual_mix", "v_low_rank_dim"},
    {"rwkv7_num_heads", "num_heads"},
    {"rwkv7_num_key_value_heads", "num_heads"},
};

constexpr Words kMamba2[] = {
    {"attention_bias", "use_bias"},
    {"attention_output_bias", "use_bias"},
    {"num_attention_heads", "num_heads"},
    {"num_key_value_heads", "n_groups"},
    {"rms_norm_eps", "norm_eps"},
    {"mamba2_conv_kernel", "conv_kernel"},
    {"mamba2_head_dim", "head_dim"},
    {"mamba2_norm_eps", "norm_eps"},
    {"mamba2_norm_groups", "n_groups"},
    {"mamba2_num_c_heads", "n_groups"},
    {"mamba2_num_heads", "num_heads"},
    {"mamba2_num_key_value_heads", "n_groups"},
    {"mamba2_num_x_heads", "num_heads"},
    {"mamba2_state_size", "state_size"},
    {"mamba2_use_conv_bias", "use_conv_bias"},
};

constexpr Words kLlamba[] = {
    {"attention_bias", "ssm_cfg: bias"},
    {"attention_output_bias", "ssm_cfg: bias"},
    {"hidden_size", "d_model"},
    {"intermediate_size", "mlp_cfg: intermediate_size"},
    {"num_hidden_layers", "n_layer"},
    {"num_attention_heads", "ssm_cfg: n_v_heads"},
    {"num_key_value_heads", "ssm_cfg: n_qk_heads"},
    {"rms_norm_eps", "norm_epsilon"},
    {"tie_word_embeddings", "tie_embeddings"},
    {"mamba2_conv_kernel", "ssm_cfg: d_conv"},
    {"mamba2_hidden_act", "ssm_cfg: activation"},
    {"mamba2_num_c_heads", "ssm_cfg: n_qk_heads"},
    {"mamba2_num_heads", "ssm_cfg: n_v_heads"},
    {"mamba2_num_key_value_heads", "ssm_cfg: n_qk_heads"},
    {"mamba2_num_x_heads", "ssm_cfg: n_v_heads"},
    {"mamba2_state_size", "ssm_cfg: d_state"},
    {"mamba2_use_conv_bias", "ssm_cfg: conv_bias"},
};

constexpr Words kMambaInLlama[] = {
    {"mamba2_conv_kernel", "mamba_config: ssm_cfg: d_conv"},
    {"mamba2_head_dim", "mamba_config: ssm_cfg: d_state"},
    {"mamba2_num_heads", "mamba_config: ssm_cfg: ngroups"},
    {"mamba2_num_key_value_heads", "mamba_config: d_xb / d_state"},
    {"mamba2_use_conv_bias", "mamba_config: ssm_cfg: conv_bias"},
};

constexpr Words kJet[] = {
    {"mixer_types", "layer_types"},
    {"jet_conv_size", "efficient_attention_config: jet: conv_size"},
    {"jet_dconv_generator_reduction", "efficient_attention_config: jet: dconv_generator_reduction"},
    {"jet_expand_v", "efficient_attention_config: jet: expand_v"},
    {"jet_head_dim", "efficient_attention_config: jet: head_dim"},
    {"jet_norm_eps", "efficient_attention_config: jet: norm_eps"},
    {"jet_num_heads", "efficient_attention_config: jet: num_heads"},
};

std::span<const Words> words_of(Architecture architecture) {
  switch (architecture) {
    case Architecture::kQwen3Next:
    case Architecture::kQwen35:
      return kQwen;
    case Architecture::kGatedDeltaNet:
      return kGatedDeltaNet;
    case Architecture::kKda:
      return kKda;
    case Architecture::kKimiLinear:
      return kKimi;
    case Architecture::kRadlads:
      return kRadlads;
    case Architecture::kRwkv7:
      return kRwkv7;
    case Architecture::kMamba2:
      return kMamba2;
    case Architecture::kLlamba:
      return kLlamba;
    case Architecture::kMambaInLlama:
      return kMambaInLlama;
    case Architecture::kJetNemotron:
      return kJet;
    case Architecture::kQwen3:
    case Architecture::kQwen2:
    case Architecture::kLlama:
    case Architecture::kHypeNet:
      break;
  }
  return {};
}

/// What stands for a word; itself, where nothing does. Of several rows that count whose key the
/// folder has, else the first.
std::string_view published(std::string_view word, std::span<const Words> rows, const Json& text) {
  const Words* first = nullptr;
  for (const Words& row : rows) {
    if (row.own != word) continue;
    if (first == nullptr) first = &row;
    const std::string outer(row.published.substr(0, row.published.find_first_of(": ")));
    if (text.contains(outer)) return row.published;
  }
  return first == nullptr || text.contains(std::string(word)) ? word : first->published;
}

bool is_of_key(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

}  // namespace

std::string in_published_words(std::string_view message, Architecture architecture,
                               const Json& text) {
  const std::span<const Words> rows = words_of(architecture);
  std::string said;
  while (!message.empty()) {
    const auto* const end = std::ranges::find_if_not(message, is_of_key);
    const auto size = static_cast<size_t>(end - message.begin());
    if (size > 0) said += published(message.substr(0, size), rows, text);
    if (size < message.size()) said += message[size];
    message.remove_prefix(std::min(size + 1, message.size()));
  }
  return said;
}

}  // namespace hypenet
