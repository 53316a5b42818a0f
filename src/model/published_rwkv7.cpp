// RADLADS' folders name neither their generation nor, in the first one, anything that it has: there
// the tensors tell.
#include <algorithm>
#include <optional>

#include "model/published_keys.h"
#include "store/recurrent_names.h"

namespace hypenet {
namespace {

/// A flag that the tensors decide too, where they are known.
bool flag(const PublishedFolder& folder, const char* key, const std::string& tensor,
          std::optional<bool> is_there) {
  const ConfigKeys& keys = folder.keys;
  if (!is_there) return keys.get<bool>(key, false);
  const bool found = keys.get<bool>(key, *is_there);
  HYPENET_CHECK(found == *is_there, keys.at(key), ": expected ", *is_there ? "true" : "false",
                " (there ", *is_there ? "are" : "are no", " tensors ", tensor, "), found ",
                found ? "true" : "false");
  return found;
}

std::optional<bool> contains(const std::vector<std::string>& tensors, std::string_view end) {
  if (tensors.empty()) return std::nullopt;
  return std::ranges::any_of(tensors, [&](const std::string& name) { return name.ends_with(end); });
}

/// The first generation: RWKV's own token shift, group norm and bonus, no RoPE.
void read_first(const ConfigKeys& keys, Json& found) {
  keys.require("use_rope", false);
  keys.require("balance_state", false);
  keys.require("groupnorm_att", true);
  keys.require("gate_rank_type", int64_t{2});
  keys.require("num_attention_layers", int64_t{0});
  found.update({{"rwkv7_use_tokenshift", true},
                {"rwkv7_use_bonus", true},
                {"rwkv7_use_rope", false},
                {"rwkv7_balance_state", false},
                {"rwkv7_groupnorm_att", true},
                {"rwkv7_gate_rank_type", 2}});
}

/// The later one, with no default for what its code asks the keys.
void read_later(const PublishedFolder& folder, Json& found) {
  const ConfigKeys& keys = folder.keys;
  const auto has_norm = contains(folder.tensors, ".self_attn.ln_x.weight");
  found.update({{"rwkv7_use_tokenshift", false},
                {"rwkv7_use_bonus", false},
                {"rwkv7_use_rope", keys.get<bool>("use_rope", false)},
                {"rwkv7_balance_state", keys.get<bool>("balance_state")},
                {"rwkv7_groupnorm_att", flag(folder, "groupnorm_att", "ln_x", has_norm)},
                {"rwkv7_gate_rank_type", keys.get<int64_t>("gate_rank_type")}});
}

/// The last layers stay attention, and turn as the others do.
Json mixers_of(const ConfigKeys& keys) {
  const int64_t L = published_size(keys, "num_hidden_layers");
  const auto last = keys.get<int64_t>("num_attention_layers", 0);
  HYPENET_CHECK(last >= 0 && last < L, keys.at("num_attention_layers"), ": expected 0 to ", L - 1,
                ", found ", last);
  if (last > 0) keys.require("use_rope", true);
  Json mixers = Json::array();
  for (int64_t i = 0; i < L; ++i) mixers.push_back(i < L - last ? "rwkv7" : "attn");
  return mixers;
}

/// A size that a list has for every layer, or one number for all.
void check_value_dim(const ConfigKeys& keys, int64_t D) {
  if (!keys.has("value_dim")) return;
  const Json& given = keys.json("value_dim");
  const bool is_plain = given.is_array() ? std::all_of(given.begin(), given.end(),
                                                       [&](const Json& v) { return v == Json(D); })
                                         : given == Json(D);
  const int64_t L = published_size(keys, "num_hidden_layers");
  HYPENET_CHECK(!given.is_array() || std::ssize(given) == L, keys.at("value_dim"), ": expected ", L,
                " entries, one a layer, found ", given.size());
  HYPENET_CHECK(is_plain, keys.at("value_dim"), ": expected hidden_size ", D, ", found ",
                given.dump());
}

}  // namespace

void read_radlads(const PublishedFolder& folder, PublishedConfig& found) {
  const ConfigKeys& keys = folder.keys;
  keys.require("use_sliding_window", false);
  const int64_t D = published_size(keys, "hidden_size");
  const int64_t H = published_size(keys, "num_attention_heads");
  check_divides(keys.place(), "hidden_size", D, "num_attention_heads", H);
  const int64_t N = published_size(keys, "head_dim", D / H);
  const int64_t G = published_size(keys, "num_key_value_heads", H);
  found.keys.update({{"mixer_types", mixers_of(keys)},
                     {"num_attention_heads", H},
                     {"num_key_value_heads", G},
                     {"head_dim", N},
                     {"attention_bias", keys.get<bool>("attention_bias", true)},
                     {"attention_output_bias", keys.get<bool>("attention_output_bias", false)},
                     {"attn_use_rope", keys.get<bool>("use_rope", false)},
                     {"attn_use_qk_norm", false},
                     {"attn_use_output_gate", false},
                     {"rwkv7_use_v_first", true}});
  if (keys.has("rope_scaling")) found.keys["rope_scaling"] = keys.json("rope_scaling");
  for (const char* rank :
       {"lora_rank_decay", "lora_rank_iclr", "lora_rank_value_residual_mix", "lora_rank_gate"}) {
    if (keys.has(rank)) found.keys[concat("rwkv7_", rank)] = published_size(keys, rank);
  }
  std::optional<bool> has_shift;
  if (!folder.tensors.empty()) has_shift = is_first_radlads(folder.tensors);
  if (flag(folder, "use_tokenshift", "x_r", has_shift)) {
    read_first(keys, found.keys);
  } else {
    read_later(folder, found.keys);
  }
}

void read_fla_rwkv7(const PublishedFolder& folder, PublishedConfig& found) {
  const ConfigKeys& keys = folder.keys;
  require_none(keys, "attn", "attention beside the recurrence");
  keys.require<std::string>("hidden_act", "sqrelu");
  keys.require("norm_bias", true);
  const int64_t D = published_size(keys, "hidden_size");
  const bool has_heads = !keys.has("head_dim") && keys.has("num_heads");
  const char* heads_key = has_heads ? "num_heads" : "head_dim";
  const int64_t given =
      has_heads ? published_size(keys, heads_key) : published_size(keys, heads_key, 64);
  check_divides(keys.place(), "hidden_size", D, heads_key, given);
  const int64_t N = has_heads ? D / given : given;
  const int64_t H = D / N;  // whatever num_heads says beside head_dim
  check_value_dim(keys, D);
  if (!keys.has("intermediate_size")) {
    const int64_t wide = scaled_size(keys, "hidden_ratio", 4, "hidden_size", D);
    found.keys["intermediate_size"] = (wide + 31) / 32 * 32;
  }
  const auto eps = keys.get<double>("norm_eps", 1e-5);
  // Its fused form of the unit length adds another epsilon.
  const double unit_eps = keys.get<bool>("fuse_norm", true) ? 1e-6 : 1e-24;
  const auto L = static_cast<size_t>(published_size(keys, "num_hidden_layers"));
  found.keys.update(
      {{"mixer_types", std::vector(L, std::string("rwkv7"))},
       {"num_attention_heads", H},
       {"num_key_value_heads", H},
       {"head_dim", N},
       {"hidden_act", "silu"},
       {"rms_norm_eps", eps},
       {"rwkv7_lora_rank_decay", published_size(keys, "decay_low_rank_dim", 64)},
       {"rwkv7_lora_rank_iclr", published_size(keys, "a_low_rank_dim", 64)},
       {"rwkv7_lora_rank_value_residual_mix", published_size(keys, "v_low_rank_dim", 16)},
       {"rwkv7_lora_rank_gate", published_size(keys, "gate_low_rank_dim", 128)},
       {"rwkv7_group_norm_eps", static_cast<double>(N) * eps},
       {"rwkv7_unit_eps", unit_eps},
       {"rwkv7_use_rope", false},
       {"rwkv7_use_tokenshift", true},
       {"rwkv7_use_bonus", true},
       {"rwkv7_use_v_first", true}});
  found.blocks = {.feed_forward = BlockForm::FeedForward::kChannelMix,
                  .has_layer_norms = true,
                  .has_embedding_norm = keys.get<bool>("norm_first", true)};
}

}  // namespace hypenet
