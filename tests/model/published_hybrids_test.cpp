// Folders of other projects: logits against transformers and a float64 definition
// (tools/write_hybrid_fixtures.py), by every path; and what is refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "model/causal_lm.h"
#include "model/mixers/mixer_kind.h"
#include "model/published_config.h"
#include "model/weights.h"
#include "store/safetensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/sequence_rows.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

constexpr double kTolerance = 1e-4;

fs::path folder_of(const std::string& name) {
  return fs::path(HYPENET_TEST_DATA) / "models" / name;
}

double largest(const Tensor& difference) { return difference.abs().max().item<double>(); }

class PublishedHybrid : public testing::TestWithParam<const char*> {
 protected:
  PublishedHybrid()
      : folder_(folder_of(GetParam())),
        io_(folder_ / "io.safetensors"),
        ids_(io_.tensor("ids").clone()),
        expected_(io_.tensor("logits").clone()) {}

  CausalLm model() const { return load_model(Checkpoint(folder_), torch::kFloat32); }

  torch::NoGradGuard no_grad_;
  fs::path folder_;
  SafetensorsFile io_;
  Tensor ids_, expected_;
};

TEST_P(PublishedHybrid, holds_the_tensors_of_its_config) {
  const Checkpoint checkpoint(folder_);
  check_tensors(checkpoint, read_model_config(checkpoint));
}

TEST_P(PublishedHybrid, logits_agree_within_1e_4) {
  const Tensor logits = model()(ids_);
  ASSERT_EQ(logits.sizes(), expected_.sizes());
  EXPECT_LT(largest(logits - expected_), kTolerance);
}

TEST_P(PublishedHybrid, logits_agree_when_decoded_token_by_token) {
  CausalLm model = this->model();
  testing_support::SequenceRows rows(model, ids_.size(0), ids_.size(1));
  const std::vector<int64_t> ones(static_cast<size_t>(ids_.size(1)), 1);
  EXPECT_LT(largest(rows.step_in_pieces(ids_, ones) - expected_), kTolerance);
}

TEST_P(PublishedHybrid, logits_agree_after_a_prefill_in_chunks) {
  CausalLm model = this->model();
  testing_support::SequenceRows rows(model, 1, ids_.size(1));
  int64_t begin = 0;
  for (const int64_t count : {2, 1, 40, 27}) {  // the first cut lies inside a convolution
    const Tensor last = rows.prefill(0, ids_[0].narrow(0, begin, count));
    begin += count;
    EXPECT_LT(largest(last - expected_[0].narrow(0, begin - 1, 1)), kTolerance) << begin;
  }
}

TEST_P(PublishedHybrid, rows_behind_a_chunk_change_nothing) {
  CausalLm model = this->model();
  testing_support::SequenceRows rows(model, 1, ids_.size(1));
  const Tensor first = rows.prefill_padded(0, ids_[0].narrow(0, 0, 3), 8);
  EXPECT_LT(largest(first - expected_[0].narrow(0, 2, 1)), kTolerance);
  const Tensor last = rows.prefill_padded(0, ids_[0].narrow(0, 3, 67), 72);
  EXPECT_LT(largest(last - expected_[0].narrow(0, 69, 1)), kTolerance);
}

TEST_P(PublishedHybrid, padding_changes_nothing) {
  CausalLm model = this->model();
  const int64_t T = ids_.size(1), pad = 5;
  const Tensor mask = torch::ones({2, T + pad}, torch::kInt64);
  mask[0].narrow(0, 0, pad).zero_();
  mask[1].narrow(0, T, pad).zero_();
  const Tensor nothing = torch::full({pad}, 3, torch::kInt64);
  const Tensor padded =
      torch::stack({torch::cat({nothing, ids_[0]}), torch::cat({ids_[1], nothing})});
  const Tensor logits = model(padded, mask);
  EXPECT_LT(largest(logits[0].narrow(0, pad, T) - expected_[0]), kTolerance);
  EXPECT_LT(largest(logits[1].narrow(0, 0, T) - expected_[1]), kTolerance);
}

TEST_P(PublishedHybrid, nodes_of_a_tree_get_what_their_row_gets) {
  CausalLm model = this->model();
  const Tensor ids = ids_.to(torch::kInt32).contiguous();
  const auto row = [&](int64_t i) {
    const auto* begin = ids[i].const_data_ptr<int32_t>();
    return std::vector<int32_t>(begin, begin + ids.size(1));
  };
  std::vector<int32_t> first = row(0), other = row(1);
  std::copy(first.begin(), first.begin() + 50, other.begin());
  const std::vector<std::span<const int32_t>> rows = {first, other};
  const TokenTree tree = TokenTree::of(rows, torch::kCPU);
  const Tensor logits = model->logits(model->hidden(tree))[0];
  const Tensor nodes = torch::tensor(tree.nodes[0], torch::kInt64);
  EXPECT_LT(largest(logits.index_select(0, nodes) - expected_[0]), kTolerance);
}

TEST_P(PublishedHybrid, bfloat16_as_stored_keeps_decays_and_shifted_norms_whole) {
  CausalLm model = load_model(Checkpoint(folder_), torch::kBFloat16);
  const ModelConfig& config = model->config();
  for (const auto& parameter : model->named_parameters()) {
    const bool is_wide = is_float_always(parameter.key(), config);
    EXPECT_EQ(parameter.value().scalar_type(), is_wide ? torch::kFloat32 : torch::kBFloat16)
        << parameter.key();
  }
  // As the engine computes on a CPU: nothing that the folder holds was rounded.
  model->prepare({.type = torch::kFloat32});
  EXPECT_LT(largest(model(ids_) - expected_), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(models, PublishedHybrid,
                         testing::Values("qwen3-next", "qwen3.5", "qwen3.5-text", "kimi-linear",
                                         "fla-gated-deltanet", "fla-kda", "fla-rwkv7",
                                         "fla-rwkv7-old", "radlads-first", "radlads",
                                         "radlads-norm", "fla-mamba2", "mamba2", "llamba",
                                         "mamba-in-llama", "jet-nemotron"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace_if(
                               name, [](char c) { return c == '-' || c == '.'; }, '_');
                           return name;
                         });

Json config_of(const std::string& name) { return read_json(folder_of(name) / "config.json"); }

ModelConfig parse(const Json& json) { return parse_model_config(json, "config.json"); }

TEST(PublishedConfig, layers_and_what_rope_turns_are_the_publishers) {
  const ModelConfig nested = parse(config_of("qwen3.5"));
  EXPECT_EQ(nested.architecture, Architecture::kQwen35);
  std::string mixers;
  for (const MixerKind* kind : nested.mixer_types) mixers += concat(kind->name, ' ');
  EXPECT_EQ(mixers, "gdn gdn gdn attn ");
  EXPECT_TRUE(nested.tie_word_embeddings);
  EXPECT_EQ(nested.turned_size, 4);
  EXPECT_TRUE(nested.has_float_norms);
  Json json = config_of("qwen3-next");
  json.erase("layer_types");
  json["full_attention_interval"] = 2;
  mixers.clear();
  for (const MixerKind* kind : parse(json).mixer_types) mixers += concat(kind->name, ' ');
  EXPECT_EQ(mixers, "gdn attn gdn attn ");
}

TEST(PublishedConfig, mixtures_of_experts_are_refused_by_name) {
  Json json = config_of("qwen3-next");
  json["num_experts"] = 16;
  EXPECT_ERROR(parse(json),
               "config.json: num_experts: expected dense layers (no mixture of experts is built), "
               "found 16 experts in layer 0");
  json["mlp_only_layers"] = {0, 1, 2};
  EXPECT_ERROR(parse(json), "found 16 experts in layer 3");
  json["mlp_only_layers"] = {0, 1, 2, 3};
  EXPECT_EQ(parse(json).num_hidden_layers, 4);
  json.erase("num_experts"), json.erase("mlp_only_layers");
  EXPECT_ERROR(parse(json), "found 512 experts in layer 0");
  json["architectures"] = {"Qwen3_5MoeForConditionalGeneration"};
  EXPECT_ERROR(parse(json),
               "config.json: architectures: expected a dense model (no mixture of experts is "
               "built), found Qwen3_5MoeForConditionalGeneration");
  Json kimi = config_of("kimi-linear");
  kimi.erase("mlp_layer_types"), kimi["first_k_dense_replace"] = 1;
  EXPECT_ERROR(parse(kimi),
               "config.json: num_experts: expected dense layers (no mixture of "
               "experts is built), found 256 experts in layer 1");
}

TEST(PublishedConfig, what_is_not_built_is_refused_by_name) {
  const auto with = [](Json json, const char* key, const Json& value) {
    json[key] = value;
    return parse(json);
  };
  Json kimi = config_of("kimi-linear");
  kimi["linear_attn_config"]["full_attn_layers"] = {2};
  EXPECT_ERROR(parse(kimi),
               "config.json: linear_attn_config: full_attn_layers: expected no layer of full "
               "attention (multi-head latent attention is not built), found layer 2");
  kimi = config_of("kimi-linear");
  kimi["linear_attn_config"]["kda_layers"] = {1};
  EXPECT_ERROR(parse(kimi), "kda_layers: expected no layer of full attention");
  kimi = config_of("kimi-linear");
  EXPECT_ERROR(with(kimi, "layer_types", {"sliding_attention", "linear_attention"}),
               "layer_types: expected \"linear_attention\", found \"sliding_attention\"");
  EXPECT_ERROR(with(kimi, "layer_types", {"linear_attention"}),
               "layer_types: expected 2 entries, one a layer, found 1");
  const Json gdn = config_of("fla-gated-deltanet"), kda = config_of("fla-kda");
  EXPECT_ERROR(with(gdn, "norm_eps", -1), "config.json: norm_eps: expected 0 to 1, found -1");
  EXPECT_ERROR(with(gdn, "attn", {{"layers", {1}}}),
               "config.json: attn: expected null (attention beside the recurrence is not built), "
               "found {\"layers\":[1]}");
  EXPECT_ERROR(with(gdn, "attnres_block_size", 2),
               "config.json: attnres_block_size: expected null");
  EXPECT_ERROR(with(gdn, "hidden_act", "powlu"),
               "config.json: hidden_act: expected \"swish\", found \"powlu\"");
  EXPECT_ERROR(with(gdn, "num_v_heads", 3),
               "config.json: num_heads: expected a divisor of num_v_heads 3, found 2");
  EXPECT_ERROR(with(kda, "num_v_heads", 4), "config.json: num_v_heads: expected 2, found 4");
  EXPECT_ERROR(with(kda, "lower_bound", -9), "config.json: lower_bound: expected null, or");
  const Json qwen = config_of("qwen3.5-text");
  EXPECT_ERROR(with(qwen, "attention_bias", true),
               "config.json: attention_bias: expected false, found true");
  EXPECT_ERROR(with(qwen, "linear_num_value_heads", 0),
               "config.json: linear_num_value_heads: expected more than 0, found 0");
  EXPECT_ERROR(with(qwen, "layer_types", {"sliding_attention"}),
               "config.json: layer_types: expected \"linear_attention\" or \"full_attention\", "
               "found \"sliding_attention\"");
  EXPECT_ERROR(with(qwen, "rope_parameters", {{"partial_rotary_factor", 0.2}}),
               "config.json: partial_rotary_factor: expected a part of head_dim 16 that is an even "
               "size");
  EXPECT_ERROR(with(qwen, "rope_parameters", {{"partial_rotary_factor", "0.5"}}),
               "config.json: partial_rotary_factor: expected a part of head_dim 16 that is an even "
               "size");
  EXPECT_ERROR(with(qwen, "rope_parameters", {{"rope_type", "yarn"}}),
               "config.json: rope_parameters: rope_type: expected \"default\", \"linear\" or "
               "\"llama3\", found \"yarn\"");
}

TEST(PublishedConfig, is_not_written) {
  EXPECT_ERROR(to_json(parse(config_of("qwen3.5"))),
               "config.json: architectures: expected one that is written (Qwen3, Qwen2, Llama, "
               "HypeNet), found Qwen3.5, which is only read");
}

TEST(PublishedWeights, of_other_sizes_than_config_says_are_refused_by_their_stored_names) {
  const TemporaryFolder folder;
  fs::copy(folder_of("qwen3-next"), folder.path() / "m");
  Json json = config_of("qwen3-next");
  json["linear_num_key_heads"] = 1;
  fs::remove(folder.path() / "m" / "config.json");
  write_json(folder.path() / "m" / "config.json", json);
  EXPECT_ERROR(load_model(Checkpoint(folder.path() / "m")), "in_proj_");
}

TEST(PublishedWeights, of_integers_are_refused) {
  const TemporaryFolder folder;
  fs::copy(folder_of("fla-kda"), folder.path() / "m");
  const SafetensorsFile stored(folder_of("fla-kda") / "model.safetensors");
  NamedTensors tensors;
  for (const std::string& name : stored.names()) {
    const bool is_whole = name == "model.layers.0.attn.q_proj.weight";
    const Tensor tensor = stored.tensor(name);
    tensors.emplace_back(name, is_whole ? tensor.to(torch::kInt32) : tensor);
  }
  fs::remove(folder.path() / "m" / "model.safetensors");
  write_safetensors(folder.path() / "m" / "model.safetensors", tensors);
  EXPECT_ERROR(load_model(Checkpoint(folder.path() / "m")),
               "tensor model.layers.0.self_attn.q_proj.weight: expected floating point, found Int");
}

}  // namespace
}  // namespace hypenet
