// One mixer in three forms, which its keys tell apart (model/mixers/mamba2.h).
#include "model/published_keys.h"

namespace hypenet {
namespace {

/// The time step has no bounds. Infinity is no number of JSON: a string (store/checkpoint.cpp) or,
/// of transformers, an object.
void require_no_limits(const ConfigKeys& keys, const char* key) {
  if (!keys.has(key)) return;
  const Json& given = keys.json(key);
  const Json infinity = "Infinity";
  const bool is_open = given.is_array() && given.size() == 2 && given[0] == 0 &&
                       (given[1] == infinity || given[1] == Json{{"__float__", infinity}});
  HYPENET_CHECK(is_open, keys.at(key),
                ": expected [0, Infinity] (bounds of the time step are not built), found ",
                given.dump());
}

void require_gated_norm(const ConfigKeys& keys) {
  keys.require("rmsnorm", true);
  keys.require("norm_before_gate", false);
  keys.require("D_has_hdim", false);
  require_no_limits(keys, "dt_limit");
  require_no_limits(keys, "time_step_limit");
}

/// Nothing counts positions there: as long as this program's own hybrids.
constexpr int64_t kLongest = 1048576;

Json all_mamba2(int64_t layers) {
  return std::vector(static_cast<size_t>(layers), std::string("mamba2"));
}

}  // namespace

void read_fla_mamba2(const PublishedFolder& folder, PublishedConfig& found) {
  const ConfigKeys& keys = folder.keys;
  keys.require<std::string>("hidden_act", "silu");
  require_gated_norm(keys);
  const int64_t P = published_size(keys, "head_dim", 64);
  const int64_t inner =
      scaled_size(keys, "expand", 2, "hidden_size", published_size(keys, "hidden_size"));
  check_divides(keys.place(), "expand * hidden_size", inner, "head_dim", P);
  const int64_t H = inner / P, groups = published_size(keys, "n_groups", 1);
  keys.require("num_heads", H);
  const auto bias = keys.get<bool>("use_bias", false);
  const auto eps = keys.get<double>("norm_eps", keys.get<double>("layer_norm_epsilon", 1e-5));
  found.keys.update(
      {{"mixer_types", all_mamba2(published_size(keys, "num_hidden_layers"))},
       {"num_attention_heads", H},
       {"num_key_value_heads", groups},
       {"head_dim", P},
       {"intermediate_size", 1},  // there is none: PublishedConfig::blocks
       {"max_position_embeddings", keys.get<int64_t>("max_position_embeddings", kLongest)},
       {"rms_norm_eps", eps},
       {"attention_bias", bias},
       {"attention_output_bias", bias},
       {"mamba2_num_x_heads", H},
       {"mamba2_num_c_heads", groups},
       {"mamba2_state_size", published_size(keys, "state_size", 128)},
       {"mamba2_norm_groups", groups},
       {"mamba2_norm_eps", eps},
       {"mamba2_conv_kernel", published_size(keys, "conv_kernel", 4)},
       {"mamba2_use_conv_bias", keys.get<bool>("use_conv_bias", true)},
       {"mamba2_hidden_act", "silu"}});
  found.blocks.feed_forward = BlockForm::FeedForward::kNone;
}

void read_llamba(const PublishedFolder& folder, PublishedConfig& found) {
  const ConfigKeys& keys = folder.keys;
  const ConfigKeys mixer(keys.json("ssm_cfg"), keys.at("ssm_cfg"));
  const ConfigKeys mlp(keys.json("mlp_cfg"), keys.at("mlp_cfg"));
  mlp.require<std::string>("act_fn", "silu");
  mlp.require("bias", false);
  keys.require("lm_head_bias", false);
  keys.require<std::string>("lm_head_prenorm", "rms");
  const int64_t D = published_size(keys, "d_model"), L = published_size(keys, "n_layer");
  const int64_t H = published_size(mixer, "n_v_heads", 32);
  const int64_t groups = published_size(mixer, "n_qk_heads", H);
  const int64_t inner = mixer.has("d_inner") ? published_size(mixer, "d_inner")
                                             : scaled_size(mixer, "expand", 1, "d_model", D);
  check_divides(mixer.place(), "d_inner", inner, "n_v_heads", H);
  const auto activation = mixer.get<std::string>("activation", "swish");
  const bool is_silu = activation == "swish" || activation == "silu";
  HYPENET_CHECK(is_silu || activation == "identity", mixer.at("activation"),
                ": expected \"identity\", \"swish\" or \"silu\", found \"", activation, "\"");
  const auto bias = mixer.get<bool>("bias", false);
  found.keys.update(
      {{"hidden_size", D},
       {"num_hidden_layers", L},
       {"intermediate_size", published_size(mlp, "intermediate_size")},
       {"max_position_embeddings", keys.get<int64_t>("max_position_embeddings", kLongest)},
       {"mixer_types", all_mamba2(L)},
       {"num_attention_heads", H},
       {"num_key_value_heads", groups},
       {"head_dim", inner / H},
       {"rms_norm_eps", keys.get<double>("norm_epsilon", 1e-5)},
       {"tie_word_embeddings", keys.get<bool>("tie_embeddings", false)},
       {"attention_bias", bias},
       {"attention_output_bias", bias},
       {"mamba2_is_discrete", true},
       {"mamba2_num_x_heads", H},
       {"mamba2_num_c_heads", groups},
       {"mamba2_state_size", published_size(mixer, "d_state", 64)},
       {"mamba2_conv_kernel", published_size(mixer, "d_conv", 4)},
       {"mamba2_use_conv_bias", mixer.get<bool>("conv_bias", true)},
       {"mamba2_hidden_act", is_silu ? Json("silu") : Json()},
       {"mamba2_use_z_bias", true}});
}

void read_mamba_in_llama(const PublishedFolder& folder, PublishedConfig& found) {
  const ConfigKeys& keys = folder.keys;
  const ConfigKeys mamba(keys.json("mamba_config"), keys.at("mamba_config"));
  const ConfigKeys mixer(mamba.json("ssm_cfg"), mamba.at("ssm_cfg"));
  mixer.require("repeat_kv_before_conv", false);
  require_gated_norm(mixer);
  keys.require("attention_bias", false);
  keys.require("mlp_bias", false);
  mixer.require("bias", false);
  const int64_t L = published_size(keys, "num_hidden_layers");
  mamba.require("n_layer", L);
  mamba.require("d_model", published_size(keys, "hidden_size"));
  mamba.require<std::string>("hidden_act", "silu");
  const int64_t H = published_size(mixer, "ngroups"), d = published_size(mixer, "d_state");
  const int64_t inner = published_size(mamba, "d_inner"), narrow = published_size(mamba, "d_xb");
  HYPENET_CHECK(inner == H * d, mamba.at("d_inner"), ": expected ngroups ", H, " times d_state ", d,
                ", found ", inner);
  HYPENET_CHECK(narrow % d == 0, mamba.at("d_xb"), ": expected a multiple of d_state ", d,
                ", found ", narrow);
  Json mixers = all_mamba2(L);
  for (const int64_t layer : mamba.get<std::vector<int64_t>>("attn_layers", {})) {
    HYPENET_CHECK(layer >= 0 && layer < L, mamba.at("attn_layers"), ": expected layers from 0 to ",
                  L - 1, ", found ", layer);
    mixers[static_cast<size_t>(layer)] = "attn";
  }
  const int64_t heads = published_size(keys, "num_attention_heads");
  found.keys.update({{"mixer_types", mixers},
                     {"num_attention_heads", heads},
                     {"num_key_value_heads", published_size(keys, "num_key_value_heads", heads)},
                     {"attn_use_rope", true},
                     {"attn_use_qk_norm", false},
                     {"attn_use_output_gate", false},
                     {"rms_norm_eps", keys.get<double>("rms_norm_eps", 1e-6)},
                     {"mamba2_num_heads", H},
                     {"mamba2_num_key_value_heads", narrow / d},
                     {"mamba2_head_dim", d},
                     {"mamba2_conv_kernel", published_size(mixer, "d_conv", 4)},
                     {"mamba2_use_conv_bias", mixer.get<bool>("conv_bias", true)},
                     {"mamba2_hidden_act", "silu"}});
  for (const char* key : {"head_dim", "rope_scaling", "rope_parameters"}) {
    if (keys.has(key)) found.keys[key] = keys.json(key);
  }
}

}  // namespace hypenet
