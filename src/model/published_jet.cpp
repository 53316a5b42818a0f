// Jet-Nemotron: JetBlocks and Qwen2's attention. Its published models also have layers of attention
// with a window.
#include "model/published_keys.h"

namespace hypenet {

void read_jet(const PublishedFolder& folder, PublishedConfig& found) {
  const ConfigKeys& keys = folder.keys;
  keys.require("use_mrope", false);
  Json mixers = Json::array();
  for (const auto& type : keys.get<std::vector<std::string>>("layer_types")) {
    HYPENET_CHECK(type == "jet" || type == "attn", keys.at("layer_types"),
                  ": expected \"jet\" or \"attn\" (attention with a window is not built), found \"",
                  type, "\"");
    mixers.push_back(type);
  }
  const ConfigKeys kinds(keys.json("efficient_attention_config"),
                         keys.at("efficient_attention_config"));
  const ConfigKeys jet(kinds.json("jet"), kinds.at("jet"));
  // Published as a string.
  const Json eps = jet.has("norm_eps") ? jet.json("norm_eps") : Json(1e-5);
  const Json number = eps.is_string() ? Json::parse(eps.get<std::string>(), nullptr, false) : eps;
  HYPENET_CHECK(number.is_number(), jet.at("norm_eps"), ": expected a number, found ", eps.dump());
  const int64_t heads = published_size(keys, "num_attention_heads");
  found.keys.update(
      {{"mixer_types", mixers},
       {"num_attention_heads", heads},
       {"num_key_value_heads", published_size(keys, "num_key_value_heads", heads)},
       {"tie_word_embeddings", keys.get<bool>("tie_word_embeddings", true)},
       {"attention_bias", true},
       {"attn_use_rope", true},
       {"attn_use_qk_norm", false},
       {"attn_use_output_gate", false},
       {"jet_num_heads", published_size(jet, "num_heads", 6)},
       {"jet_head_dim", published_size(jet, "head_dim", 256)},
       {"jet_expand_v", jet.get<double>("expand_v", 2)},
       {"jet_conv_size", published_size(jet, "conv_size", 4)},
       {"jet_dconv_generator_reduction", published_size(jet, "dconv_generator_reduction", 8)},
       {"jet_norm_eps", number}});
  for (const char* key : {"head_dim", "rope_scaling", "rope_parameters"}) {
    if (keys.has(key)) found.keys[key] = keys.json(key);
  }
}

}  // namespace hypenet
