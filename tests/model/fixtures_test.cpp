// Logits of the checked-in models against transformers and the float64 reference
// (tools/write_model_fixtures.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "model/causal_lm.h"
#include "tests/support/sequence_rows.h"

namespace hypenet {
namespace {

class Fixture : public testing::TestWithParam<const char*> {
 protected:
  Fixture()
      : folder_(std::filesystem::path(HYPENET_TEST_DATA) / "models" / GetParam()),
        io_(folder_ / "io.safetensors"),
        ids_(io_.tensor("ids").clone()),
        expected_(io_.tensor("logits").clone()) {}

  CausalLm model(std::optional<torch::ScalarType> type) const {
    CausalLm model = load_model(Checkpoint(folder_), type);
    model->prepare({.logits_scaling = model->config().attn_logits_scaling});
    return model;
  }

  std::filesystem::path folder_;
  SafetensorsFile io_;
  Tensor ids_, expected_;
};

TEST_P(Fixture, logits_agree_within_1e_4) {
  CausalLm model = this->model(torch::kFloat32);
  const torch::NoGradGuard no_grad;
  const Tensor logits = model(ids_);
  ASSERT_EQ(logits.sizes(), expected_.sizes());
  EXPECT_LT((logits - expected_).abs().max().item<float>(), 1e-4);
}

TEST_P(Fixture, logits_agree_when_decoded_token_by_token) {
  CausalLm model = this->model(torch::kFloat32);
  const torch::NoGradGuard no_grad;
  testing_support::SequenceRows rows(model, ids_.size(0), ids_.size(1));
  const std::vector<int64_t> ones(static_cast<size_t>(ids_.size(1)), 1);
  const Tensor logits = rows.step_in_pieces(ids_, ones);
  EXPECT_LT((logits - expected_).abs().max().item<float>(), 1e-4);
}

TEST_P(Fixture, bfloat16_stays_near) {
  CausalLm model = this->model(std::nullopt);
  for (const Tensor& parameter : model->parameters()) {
    EXPECT_EQ(parameter.scalar_type(), torch::kBFloat16);
  }
  model->prepare({.type = torch::kBFloat16, .logits_scaling = model->plan().logits_scaling});
  const torch::NoGradGuard no_grad;
  const Tensor logits = model(ids_);
  EXPECT_EQ(logits.scalar_type(), torch::kBFloat16);
  const Tensor error = logits.to(torch::kFloat32) - expected_;
  EXPECT_LT((error.norm() / expected_.norm()).item<float>(), 0.05);
}

INSTANTIATE_TEST_SUITE_P(models, Fixture,
                         testing::Values("qwen3-tied", "qwen3-untied", "qwen2", "llama3", "hypenet",
                                         "hypenet-scaled"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace hypenet
