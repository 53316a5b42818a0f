// What the keys of published RWKV-7, Mamba-2 and Jet-Nemotron folders say, and what is refused.
#include <gtest/gtest.h>

#include <filesystem>

#include "model/mixers/jet.h"
#include "model/mixers/mamba2.h"
#include "model/mixers/mixer_kind.h"
#include "model/mixers/rwkv7.h"
#include "model/weights.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

/// A folder's keys, changed, with its tensors' names.
class Published {
 public:
  explicit Published(const char* name)
      : checkpoint_(fs::path(HYPENET_TEST_DATA) / "models" / name), json_(checkpoint_.config()) {}

  ModelConfig with(const char* key, const Json& value) const {
    Json json = json_;
    json[key] = value;
    return parse(json);
  }
  ModelConfig without(const char* key) const {
    Json json = json_;
    json.erase(key);
    return parse(json);
  }
  Json& json() { return json_; }
  ModelConfig parse() const { return parse(json_); }

 private:
  ModelConfig parse(const Json& json) const {
    return parse_model_config(json, "config.json", checkpoint_.names());
  }

  Checkpoint checkpoint_;
  Json json_;
};

std::string mixers_of(const ModelConfig& config) {
  std::string mixers;
  for (const MixerKind* kind : config.mixer_types) mixers += concat(kind->name, ' ');
  return mixers;
}

TEST(PublishedRwkv7, radlads_generations_are_told_apart_by_their_tensors) {
  const auto first = Published("radlads-first").parse().mixers.of<Rwkv7Config>();
  EXPECT_TRUE(first.use_tokenshift && first.use_bonus && first.groupnorm_att);
  EXPECT_FALSE(first.use_rope);
  const ModelConfig later = Published("radlads").parse();
  const auto& rwkv = later.mixers.of<Rwkv7Config>();
  EXPECT_FALSE(rwkv.use_tokenshift || rwkv.use_bonus || rwkv.groupnorm_att);
  EXPECT_TRUE(rwkv.use_rope && rwkv.balance_state && rwkv.has_gate_matrix() && rwkv.use_v_first);
  EXPECT_EQ(mixers_of(later), "rwkv7 rwkv7 attn ");
}

TEST(PublishedRwkv7, keys_that_tensors_contradict_are_refused) {
  const Published first("radlads-first"), later("radlads"), normed("radlads-norm");
  EXPECT_ERROR(first.with("use_tokenshift", false),
               "config.json: use_tokenshift: expected true (there are tensors x_r), found false");
  EXPECT_ERROR(first.with("use_rope", true), "config.json: use_rope: expected false, found true");
  EXPECT_ERROR(
      later.with("use_tokenshift", true),
      "config.json: use_tokenshift: expected false (there are no tensors x_r), found true");
  EXPECT_ERROR(normed.with("groupnorm_att", false),
               "config.json: groupnorm_att: expected true (there are tensors ln_x), found false");
  EXPECT_TRUE(normed.without("groupnorm_att").mixers.of<Rwkv7Config>().groupnorm_att);
  EXPECT_ERROR(later.without("balance_state"),
               "config.json: balance_state: expected a value, found no such key");
  EXPECT_ERROR(later.with("use_rope", false), "config.json: use_rope: expected true, found false");
  EXPECT_ERROR(later.with("num_attention_layers", 3),
               "config.json: num_attention_layers: expected 0 to 2, found 3");
}

TEST(PublishedRwkv7, flash_linear_attention_s_has_blocks_of_its_own) {
  Published folder("fla-rwkv7");
  const ModelConfig config = folder.parse();
  EXPECT_TRUE(config.blocks.has_layer_norms && config.blocks.has_embedding_norm);
  EXPECT_EQ(config.blocks.feed_forward, BlockForm::FeedForward::kChannelMix);
  EXPECT_EQ(config.mixers.of<Rwkv7Config>().unit_eps, 1e-6);
  EXPECT_EQ(folder.with("fuse_norm", false).mixers.of<Rwkv7Config>().unit_eps, 1e-24);
  EXPECT_FALSE(folder.with("norm_first", false).blocks.has_embedding_norm);
  EXPECT_EQ(folder.with("num_heads", 7).num_attention_heads, 2) << "head_dim says it";
  EXPECT_ERROR(folder.with("value_dim", {32, 64}),
               "config.json: value_dim: expected hidden_size 32, found [32,64]");
  EXPECT_ERROR(folder.with("value_dim", {32, 32, 32}),
               "config.json: value_dim: expected 2 entries, one a layer, found 3");
  EXPECT_ERROR(folder.with("attn", {{"layers", {1}}}), "config.json: attn: expected null");
  EXPECT_ERROR(folder.with("hidden_act", "relu"),
               "config.json: hidden_act: expected \"sqrelu\", found \"relu\"");
  EXPECT_ERROR(folder.with("norm_bias", false), "config.json: norm_bias: expected true");
}

TEST(PublishedRwkv7, sizes_that_heads_and_ratios_cannot_make_are_refused_by_key) {
  Published folder("fla-rwkv7");
  folder.json().erase("head_dim");
  EXPECT_ERROR(folder.with("num_heads", 64),
               "config.json: num_heads: expected a divisor of hidden_size 32, found 64");
  folder.json().erase("intermediate_size");
  for (const double ratio : {1e300, -4.0, 0.0}) {
    EXPECT_ERROR(folder.with("hidden_ratio", ratio),
                 "config.json: hidden_ratio: expected a factor that makes hidden_size 32 a size "
                 "from 1 to 16777216, found ");
  }
}

TEST(PublishedRecurrent, more_layers_than_tensors_are_refused_by_key) {
  constexpr int64_t kMany = 1 << 20;
  const std::string many = ": expected at most ";
  for (const char* name :
       {"fla-rwkv7", "radlads", "fla-mamba2", "mamba-in-llama", "jet-nemotron"}) {
    EXPECT_ERROR(Published(name).with("num_hidden_layers", kMany),
                 "config.json: num_hidden_layers" + many);
  }
  EXPECT_ERROR(Published("llamba").with("n_layer", kMany), "config.json: n_layer" + many);
}

TEST(PublishedRecurrent, biases_are_told_by_the_folder_s_key) {
  const TemporaryFolder out;
  fs::copy(fs::path(HYPENET_TEST_DATA) / "models" / "radlads", out.path() / "m");
  Json json = read_json(out.path() / "m" / "config.json");
  json["attention_output_bias"] = true;
  write_json(out.path() / "m" / "config.json", json);
  EXPECT_ERROR(load_model(Checkpoint(out.path() / "m")),
               "found none (config.json: attention_output_bias is true)");
}

TEST(PublishedMamba2, sizes_and_what_is_not_built) {
  Published folder("fla-mamba2");
  const ModelConfig config = folder.parse();
  const auto& mamba = config.mixers.of<Mamba2Config>();
  EXPECT_EQ(mamba.convolved(), (std::vector<int64_t>{64, 16, 16}));
  EXPECT_EQ(config.intermediate_size, 0);
  EXPECT_EQ(config.max_position_embeddings, 1048576) << "no key says how long";
  EXPECT_ERROR(folder.with("norm_before_gate", true),
               "config.json: norm_before_gate: expected false, found true");
  EXPECT_ERROR(folder.with("dt_limit", {0, 1}),
               "config.json: dt_limit: expected [0, Infinity] (bounds of the time step are not "
               "built), found [0,1]");
  EXPECT_ERROR(folder.with("D_has_hdim", true), "config.json: D_has_hdim: expected false");
  EXPECT_ERROR(folder.with("num_heads", 3), "config.json: num_heads: expected 4, found 3");
  EXPECT_ERROR(folder.with("expand", 1e300), "config.json: expand: expected a factor that makes");
}

TEST(PublishedMamba2, llamba_is_discrete) {
  Published folder("llamba");
  const ModelConfig config = folder.parse();
  const auto& mamba = config.mixers.of<Mamba2Config>();
  EXPECT_TRUE(mamba.is_discrete && mamba.use_z_bias && config.tie_word_embeddings);
  EXPECT_FALSE(mamba.hidden_act);
  EXPECT_ERROR(folder.with("lm_head_bias", true), "config.json: lm_head_bias: expected false");
  EXPECT_ERROR(folder.with("lm_head_prenorm", "layer"),
               "config.json: lm_head_prenorm: expected \"rms\", found \"layer\"");
  Published expanded("llamba");
  expanded.json()["ssm_cfg"].erase("d_inner");
  expanded.json()["ssm_cfg"]["expand"] = 1e300;
  EXPECT_ERROR(expanded.parse(), "config.json: ssm_cfg: expand: expected a factor that makes");
  folder.json()["ssm_cfg"]["activation"] = "gelu";
  EXPECT_ERROR(folder.parse(),
               "config.json: ssm_cfg: activation: expected \"identity\", \"swish\" or \"silu\", "
               "found \"gelu\"");
}

TEST(PublishedMamba2, the_mamba_in_the_llama_has_its_keys_in_a_file_of_their_own) {
  Published folder("mamba-in-llama");
  EXPECT_EQ(mixers_of(folder.parse()), "mamba2 attn mamba2 ");
  EXPECT_EQ(mixers_of(folder.without("mamba_config")), "attn attn attn ") << "a Llama";
  folder.json()["mamba_config"]["attn_layers"] = {3};
  EXPECT_ERROR(folder.parse(),
               "config.json: mamba_config: attn_layers: expected layers from 0 to 2, found 3");
  folder.json()["mamba_config"]["attn_layers"] = Json::array();
  folder.json()["mamba_config"]["d_xb"] = 17;
  EXPECT_ERROR(folder.parse(), "mamba_config: d_xb: expected a multiple of d_state 16, found 17");
}

TEST(PublishedJet, windows_are_refused_by_name) {
  Published folder("jet-nemotron");
  EXPECT_EQ(folder.parse().mixers.of<JetConfig>().value_size(), 32);
  EXPECT_ERROR(folder.with("layer_types", {"jet", "swa", "attn"}),
               "config.json: layer_types: expected \"jet\" or \"attn\" (attention with a window is "
               "not built), found \"swa\"");
  folder.json()["efficient_attention_config"]["jet"]["norm_eps"] = "little";
  EXPECT_ERROR(folder.parse(),
               "config.json: efficient_attention_config: jet: norm_eps: expected a number, found "
               "\"little\"");
}

TEST(PublishedRecurrent, activations_of_layers_that_share_values_are_kept) {
  CausalLm model = load_model(Checkpoint(fs::path(HYPENET_TEST_DATA) / "models" / "radlads"));
  EXPECT_ERROR(model->prepare({.checkpoints_activations = true}),
               "model: checkpoints_activations: expected false with layers of rwkv7 that read what "
               "others leave, found true");
}

TEST(PublishedRecurrent, shapes_are_told_by_the_folder_s_name) {
  const Checkpoint folder(fs::path(HYPENET_TEST_DATA) / "models" / "fla-rwkv7");
  EXPECT_ERROR(folder.tensor("model.layers.0.self_attn.k_k", std::vector<int64_t>{1, 1, 31}),
               "tensor model.layers.0.attn.k_k (model.layers.0.self_attn.k_k): expected shape "
               "[1, 1, 31], found [1, 1, 32]");
}

TEST(PublishedRecurrent, infinity_as_python_writes_it_is_read) {
  const TemporaryFolder folder;
  fs::copy(fs::path(HYPENET_TEST_DATA) / "models" / "fla-mamba2", folder.path() / "m");
  const Checkpoint checkpoint(folder.path() / "m");
  EXPECT_EQ(checkpoint.config().at("dt_limit"), Json({0.0, "Infinity"}));
}

}  // namespace
}  // namespace hypenet
