// The lazy ratio on attention patterns that are made up.
#include "halo/lazy.h"

#include <gtest/gtest.h>

#include <cmath>

#include "halo/select.h"
#include "model/mixers/attention.h"
#include "tests/support/expect_error.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

/// Queries and keys of one head whose attention logits are `logits` [T, T]: keys are the rows of
/// the identity.
struct Pattern {
  explicit Pattern(const Tensor& logits)
      : q((logits * std::sqrt(static_cast<double>(logits.size(0))))
              .view({1, -1, 1, logits.size(0)})),
        k(torch::eye(logits.size(0)).view({1, -1, 1, logits.size(0)})) {}
  Tensor q, k;  // [1, T, 1, T]
};

constexpr LazyConfig kWindows{.queries = 2, .first = 1, .recent = 2};

TEST(Lazy, even_attention_falls_on_the_windows_by_their_size) {
  const Pattern even(torch::zeros({8, 8}));
  // Query 6 sees 7 keys, of which 0 and 6 count; query 7 sees 8, of which 0, 6 and 7 count.
  EXPECT_NEAR(lazy_mass(even.q, even.k, kWindows), (2 / 7.0 + 3 / 8.0) / 2, 1e-6);
}

TEST(Lazy, attention_on_the_first_token_counts_and_on_the_middle_does_not) {
  for (const auto& [key, mass] : std::vector<std::pair<int64_t, double>>{{0, 1}, {3, 0}, {6, 1}}) {
    Tensor logits = torch::zeros({8, 8});
    logits.select(1, key).fill_(40);
    const Pattern pattern(logits);
    EXPECT_NEAR(lazy_mass(pattern.q, pattern.k, kWindows), mass, 1e-6) << key;
  }
}

TEST(Lazy, only_the_last_queries_are_asked) {
  Tensor logits = torch::zeros({8, 8});
  logits.select(1, 3).fill_(40);
  logits.slice(0, 0, 6).zero_();
  logits.slice(0, 0, 6).select(1, 0).fill_(40);
  const Pattern pattern(logits);
  EXPECT_NEAR(lazy_mass(pattern.q, pattern.k, kWindows), 0, 1e-6);
}

TEST(Lazy, heads_of_a_group_share_their_keys_and_count_alike) {
  torch::manual_seed(3);
  const Tensor q = torch::randn({2, 9, 4, 8}), k = torch::randn({2, 9, 2, 8});
  double sum = 0;
  for (int64_t head = 0; head < 4; ++head) {
    sum += lazy_mass(q.narrow(2, head, 1), k.narrow(2, head / 2, 1), kWindows);
  }
  EXPECT_NEAR(lazy_mass(q, k, kWindows), sum / 4, 1e-6);
}

TEST(Lazy, windows_that_leave_nothing_out_are_refused) {
  const Pattern even(torch::zeros({8, 8}));
  EXPECT_ERROR(lazy_mass(even.q, even.k, {.queries = 2, .first = 4, .recent = 4}),
               "lazy: expected");
}

TEST(Lazy, each_layer_of_a_model_has_the_share_of_its_own_queries_and_keys) {
  torch::manual_seed(5);
  CausalLm teacher(testing_support::tiny_teacher_config());
  std::vector<int32_t> row(40);
  for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<int32_t>(i * 7 % 64);
  const LazyConfig config{.queries = 4, .first = 2, .recent = 8};
  OneProcess alone;
  const auto masses = lazy_masses(teacher, {{row, 1}}, config, alone);
  ASSERT_EQ(masses.size(), 2U);
  const torch::NoGradGuard no_grad;
  const Tensor ids = torch::tensor(row).to(torch::kInt64).unsqueeze(0);
  const Context context = teacher->context(ids);
  Residual h = {teacher->embed(ids)};
  for (int64_t i = 0; i < 2; ++i) {
    Block& block = teacher->layer(i);
    auto& attention = dynamic_cast<AttentionMixer&>(block->mixer());
    const auto heads = attention.heads(block->mixer_input(h).normed, context);
    EXPECT_NEAR(masses[static_cast<size_t>(i)], lazy_mass(heads.q, heads.k, config), 1e-6) << i;
    h = block->forward(h, context);
  }
}

}  // namespace
}  // namespace hypenet
