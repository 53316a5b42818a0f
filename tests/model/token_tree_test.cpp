// A tree's nodes get what plain rows get.
#include "model/token_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/causal_lm.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

using testing::ElementsAre;
using testing_support::tiny_hypenet_config;
using testing_support::tiny_teacher_config;

TokenTree tree_of(const std::vector<std::vector<int32_t>>& rows) {
  const std::vector<std::span<const int32_t>> spans(rows.begin(), rows.end());
  return TokenTree::of(spans, torch::kCPU);
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

class TreeForwardTest : public testing::TestWithParam<ModelConfig> {};

TEST_P(TreeForwardTest, equals_the_forward_of_each_row) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(3);
  CausalLm model(GetParam());
  model->to(torch::kFloat64);
  model->set_compute_type(torch::kFloat64);
  std::vector<std::vector<int32_t>> rows;
  for (int32_t i = 0; i < 5; ++i) {
    rows.push_back({});
    const int32_t shared = i < 3 ? 70 : 2, length = shared + 1 + 9 * i;
    for (int32_t t = 0; t < length; ++t) {
      rows.back().push_back((t * 7 + (t < shared ? 0 : i * 11 + 1)) % 64);
    }
  }
  const TokenTree tree = tree_of(rows);
  ASSERT_LT(tree.ids.size(1), 200);
  const Tensor nodes = model->hidden(tree)[0];
  for (size_t r = 0; r < rows.size(); ++r) {
    const Tensor alone = model->hidden(torch::tensor(rows[r]).to(torch::kInt64).unsqueeze(0))[0];
    const Tensor places = torch::tensor(tree.nodes[r], torch::kInt64);
    EXPECT_LT((nodes.index_select(0, places) - alone).abs().max().item<double>(), 1e-9) << r;
  }
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
