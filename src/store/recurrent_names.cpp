// Low-rank parts that flash-linear-attention has as linear layers are matrices here, transposed.
#include "store/recurrent_names.h"

#include <algorithm>

namespace hypenet {
namespace {

constexpr Renamed kRwkvNames[] = {{"model.embeddings.", "model.embed_tokens."},
                                  {"model.layers.0.pre_norm.", "model.embed_norm."},
                                  {".attn_norm.", ".input_layernorm."},
                                  {".ffn_norm.", ".post_attention_layernorm."},
                                  {".ffn.", ".mlp."},
                                  {".attn.r_proj.", ".attn.q_proj."},
                                  {".attn.g_norm.", ".attn.ln_x."},
                                  {".attn.", ".self_attn."}};

constexpr Renamed kMambaNames[] = {{"backbone.norm_f.", "model.norm."},
                                   {"backbone.", "model."},
                                   {"model.embeddings.", "model.embed_tokens."},
                                   {"model.embedding.", "model.embed_tokens."},
                                   {".mixer.", ".self_attn."}};

constexpr Renamed kLlambaNames[] = {{"backbone.final_layernorm.", "model.norm."},
                                    {"backbone.embedding.", "model.embed_tokens."},
                                    {"backbone.", "model."},
                                    {".mixer.", ".self_attn."}};

constexpr Renamed kMambaInLlamaNames[] = {{".mamba.", ".self_attn."}};

/// Of RWKV-7, with a name that the model knows but for the form of low-rank parts.
NamedParts of_rwkv(const std::string& stored) {
  const std::string name = renamed(stored, kRwkvNames);
  const std::vector<int64_t> channels = {1, 1, -1};
  constexpr std::string_view kLowRank = "_lora.lora.", kShares = ".self_attn.x_x";
  if (const size_t at = name.find(kLowRank); at != name.npos) {
    const std::string front = name.substr(0, at), end = name.substr(at + kLowRank.size());
    if (end == "0.weight") return {{front + '1', {.is_transposed = true}}};
    if (end == "2.weight") return {{front + '2', {.is_transposed = true}}};
    if (end == "2.bias") return {{front + '0', {.shape = channels}}};
  }
  if (name.ends_with(kShares)) {  // of the first version: all six in one
    constexpr std::string_view kOrder = "rwkvag";
    NamedParts parts;
    for (const char share : kOrder) {
      parts.push_back({name.substr(0, name.size() - 1) + share,
                       {.groups = 1,
                        .group_rows = std::ssize(kOrder),
                        .first = std::ssize(parts),
                        .rows = 1,
                        .shape = channels}});
    }
    return parts;
  }
  const bool is_row = name.ends_with(".self_attn.k_k") || name.ends_with(".self_attn.k_a");
  return {{name, {.shape = is_row ? channels : std::vector<int64_t>()}}};
}

NamedParts of_mamba2(const std::string& stored) {
  std::string name = renamed(stored, kMambaNames);
  constexpr std::string_view kNorm = ".norm.";
  const size_t at = name.find(kNorm);
  const bool is_blocks = name.starts_with("model.layers.") && name.find(".self_attn.") == name.npos;
  if (is_blocks && at != name.npos) name.replace(at, kNorm.size(), ".input_layernorm.");
  return {{name, {}}};
}

}  // namespace

std::string renamed(std::string name, std::span<const Renamed> rows) {
  for (const auto& [theirs, ours] : rows) {
    if (const size_t at = name.find(theirs); at != name.npos) {
      name.replace(at, theirs.size(), ours);
    }
  }
  return name;
}

bool is_first_radlads(const std::vector<std::string>& names) {
  return std::ranges::any_of(
      names, [](const std::string& name) { return name.ends_with(".self_attn.x_r"); });
}

RecurrentNames::RecurrentNames(const Json& config, std::string architecture,
                               const std::vector<std::string>& names)
    : architecture_(std::move(architecture)),
      is_mamba_in_llama_(config.is_object() && config.contains("mamba_config")),
      has_balanced_state_(config.is_object() &&
                          config.value("balance_state", Json(false)) == Json(true)),
      has_token_shift_(is_first_radlads(names)) {}

std::optional<NamedParts> RecurrentNames::parts_of(const std::string& stored) const {
  if (is_mamba_in_llama_) return NamedParts{{renamed(stored, kMambaInLlamaNames), {}}};
  if (architecture_ == "RWKV7Qwen2ForCausalLM") return of_radlads(stored);
  if (architecture_ == "RWKV7ForCausalLM") return of_rwkv(stored);
  if (architecture_ == "Mamba2ForCausalLM") return of_mamba2(stored);
  if (architecture_ == "LlambaForCausalLM") return NamedParts{{renamed(stored, kLlambaNames), {}}};
  return std::nullopt;
}

NamedParts RecurrentNames::of_radlads(const std::string& stored) const {
  const auto is = [&](std::string_view end) { return stored.ends_with(end); };
  const bool is_first_layer = stored.starts_with("model.layers.0.");
  // Its later generation keeps parameters that its forward passes by.
  const bool is_idle =
      (is_first_layer && (is(".self_attn.v0") || is(".self_attn.v1") || is(".self_attn.v2"))) ||
      (!has_token_shift_ && is(".self_attn.r_k")) ||
      (has_balanced_state_ && (is(".self_attn.k_k") || is(".self_attn.k_a")));
  return is_idle ? NamedParts() : NamedParts{{stored, {}}};
}

}  // namespace hypenet
