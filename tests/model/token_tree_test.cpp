// A tree's nodes get what plain rows get.
#include "model/token_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/causal_lm.h"
#include "tests/support/compare.h"
#include "tests/support/target.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

using testing::ElementsAre;
using testing_support::tiny_hypenet_config;
using testing_support::tiny_teacher_config;

TokenTree tree_of(const std::vector<std::vector<int32_t>>& rows,
                  torch::Device device = torch::kCPU) {
  const std::vector<std::span<const int32_t>> spans(rows.begin(), rows.end());
  return TokenTree::of(spans, device);
}

TEST(TokenTreeTest, neighbours_share_what_they_begin_with) {
  const TokenTree tree = tree_of({{5, 6, 7}, {5, 6, 8, 9}, {5}, {4, 6}});
  EXPECT_THAT(tree.nodes[0], ElementsAre(0, 1, 2));
  EXPECT_THAT(tree.nodes[1], ElementsAre(0, 1, 3, 4));
  EXPECT_THAT(tree.nodes[2], ElementsAre(0));
  EXPECT_THAT(tree.nodes[3], ElementsAre(5, 6));
  EXPECT_TRUE(torch::equal(tree.ids, torch::tensor({{5, 6, 7, 8, 9, 4, 6}}, torch::kInt64)));
}

TEST(TokenTreeTest, rows_and_nodes_lead_to_each_other) {
  const TokenTree tree = tree_of({{5, 6, 7}, {5, 6, 8, 9}, {5}});
  const Tensor x = torch::randn({1, 5, 3});
  const Tensor rows = tree.paths.to_rows(x);
  ASSERT_EQ(rows.sizes(), (std::vector<int64_t>{3, 4, 3}));
  EXPECT_TRUE(torch::equal(rows[1][2], x[0][3]));
  EXPECT_TRUE(torch::equal(tree.paths.to_nodes(rows), x));
}

/// Long shared beginnings and short ones, rows of many lengths.
std::vector<std::vector<int32_t>> some_rows() {
  std::vector<std::vector<int32_t>> rows;
  for (int32_t i = 0; i < 5; ++i) {
    const int32_t shared = i < 3 ? 70 : 2, length = shared + 1 + 9 * i;
    std::vector<int32_t>& row = rows.emplace_back();
    for (int32_t t = 0; t < length; ++t) {
      row.push_back((t * 7 + (t < shared ? 0 : i * 11 + 1)) % 64);
    }
  }
  return rows;
}

/// How far each row's hidden states in a tree are from those of the row alone.
void expect_rows_as_alone(const ModelConfig& config, const Target& target) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(3);
  CausalLm model(config);
  model->to(target.device);
  model->to(target.weight_type);
  model->prepare({.type = target.type, .logits_scaling = config.attn_logits_scaling});
  const auto rows = some_rows();
  const TokenTree tree = tree_of(rows, target.device);
  ASSERT_LT(tree.ids.size(1), 200);
  const Tensor nodes = model->hidden(tree)[0];
  for (size_t r = 0; r < rows.size(); ++r) {
    const Tensor ids = torch::tensor(rows[r]).to(target.device, torch::kInt64).unsqueeze(0);
    const Tensor places = torch::tensor(tree.nodes[r], torch::kInt64).to(target.device);
    EXPECT_LT(relative_rms(nodes.index_select(0, places), model->hidden(ids)[0]), target.tolerance)
        << target.name << ", row " << r;
  }
}

class TreeForwardTest : public testing::TestWithParam<ModelConfig> {};

TEST_P(TreeForwardTest, equals_the_forward_of_each_row) {
  expect_rows_as_alone(GetParam(),
                       {"CPU float64", torch::kCPU, torch::kFloat64, torch::kFloat64, 1e-12});
  expect_rows_as_alone(GetParam(),
                       {"CPU float32", torch::kCPU, torch::kFloat32, torch::kFloat32, 1e-5});
}

TEST_P(TreeForwardTest, equals_the_forward_of_each_row_on_a_gpu) {
  HYPENET_SKIP_WITHOUT_GPU();
  ModelConfig config = GetParam();
  config.head_dim = config.mixers.of<LightningConfig>().head_dim =
      64;  // which the kernels are made for
  expect_rows_as_alone(config,
                       {"CUDA float32", torch::kCUDA, torch::kFloat32, torch::kFloat32, 1e-5});
  expect_rows_as_alone(config,
                       {"CUDA bfloat16", torch::kCUDA, torch::kBFloat16, torch::kBFloat16, 0.02});
}

ModelConfig scaled_config() {
  ModelConfig config = tiny_hypenet_config();
  config.attn_logits_scaling = {LogitsScaling::Kind::kLogPosition, 50};
  return config;
}

INSTANTIATE_TEST_SUITE_P(models, TreeForwardTest,
                         testing::Values(tiny_teacher_config(), tiny_hypenet_config(),
                                         scaled_config()));

}  // namespace
}  // namespace hypenet
