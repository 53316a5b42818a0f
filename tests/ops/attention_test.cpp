// Attention and log-position scaling against their definitions in float64.
#include "ops/attention.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>

#include "ops/reference/attention.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

struct Case {
  int64_t B, T, S, H, G, d;
  std::vector<int64_t> first_key;  // empty: no padding
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << "B" << c.B << "_T" << c.T << "_S" << c.S << "_H" << c.H << "_G" << c.G << "_d" << c.d
       << (c.first_key.empty() ? "" : "_padded");
}

struct Tensors {
  Tensor q, k, v, first_key;
};

Tensors make(const Case& c, torch::ScalarType type = torch::kFloat64) {
  torch::manual_seed(c.T * 100 + c.S);
  const auto draw = [&](int64_t length, int64_t heads) {
    return torch::randn({c.B, length, heads, c.d}, torch::kFloat64).to(type).requires_grad_();
  };
  Tensors t{draw(c.T, c.H), draw(c.S, c.G), draw(c.S, c.G), {}};
  if (!c.first_key.empty()) t.first_key = torch::tensor(c.first_key);
  return t;
}

using Form = Tensor (*)(const Tensor&, const Tensor&, const Tensor&, const Tensor&);

Tensor plain_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& first_key) {
  return causal_attention(q, k, v, first_key);
}

std::vector<Tensor> results(Form form, const Tensors& t) {
  const Tensor out = form(t.q, t.k, t.v, t.first_key);
  torch::manual_seed(5);
  const Tensor weight = torch::randn(out.sizes(), torch::kFloat64);
  const Tensor loss = (out.to(torch::kFloat64) * weight).sum();
  std::vector<Tensor> all = torch::autograd::grad({loss}, {t.q, t.k, t.v});
  all.insert(all.begin(), out.detach());
  return all;
}

class Attention : public testing::TestWithParam<Case> {};

TEST_P(Attention, equals_its_definition_in_float64) {
  const Tensors t = make(GetParam());
  const auto found = results(plain_attention, t);
  const auto expected = results(reference::causal_attention, t);
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_LT((found[i] - expected[i]).abs().max().item<double>(), 1e-10) << i;
  }
}

TEST_P(Attention, is_within_1e_5_of_its_definition_in_float32) {
  const Tensors t = make(GetParam(), torch::kFloat32);
  Tensors wide{t.q.detach().to(torch::kFloat64).requires_grad_(),
               t.k.detach().to(torch::kFloat64).requires_grad_(),
               t.v.detach().to(torch::kFloat64).requires_grad_(), t.first_key};
  const auto found = results(plain_attention, t);
  const auto expected = results(reference::causal_attention, wide);
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_LT((found[i] - expected[i]).abs().max().item<double>(), 1e-5) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    shapes, Attention,
    testing::Values(Case{1, 1, 1, 1, 1, 16, {}}, Case{2, 63, 63, 4, 2, 16, {}},
                    Case{2, 65, 65, 4, 4, 32, {}}, Case{3, 1, 70, 6, 2, 16, {}},
                    Case{2, 7, 70, 4, 1, 16, {}}, Case{1, 300, 300, 2, 1, 16, {}},
                    Case{2, 40, 40, 3, 3, 24, {}}, Case{1, 65, 65, 2, 1, 128, {}},
                    Case{3, 33, 33, 4, 2, 16, {0, 5, 33}}, Case{3, 7, 33, 4, 2, 16, {0, 28, 5}},
                    Case{3, 1, 33, 4, 2, 16, {0, 32, 33}}));

TEST(AttentionTest, float32_is_within_1e_5_and_bfloat16_within_2e_2_of_float64) {
  for (const auto& [type, tolerance] :
       {std::pair{torch::kFloat32, 1e-5}, std::pair{torch::kBFloat16, 2e-2}}) {
    const Tensors t = make({2, 40, 50, 4, 2, 32, {0, 20}}, type);
    const auto wide = [](const Tensor& x) { return x.detach().to(torch::kFloat64); };
    const Tensor expected =
        reference::causal_attention(wide(t.q), wide(t.k), wide(t.v), t.first_key);
    const Tensor found = causal_attention(t.q, t.k, t.v, t.first_key);
    EXPECT_EQ(found.scalar_type(), type);
    EXPECT_LT((wide(found) - expected).abs().max().item<double>(), tolerance);
  }
}

/// Shapes of training (64 and more queries of as many keys), of decode, of a prefill that goes on.
class AttentionOnGpu : public testing::TestWithParam<std::tuple<Case, AttentionBackend>> {};

TEST_P(AttentionOnGpu, agrees_with_float64) {
  HYPENET_SKIP_WITHOUT_GPU();
  const auto& [c, backend] = GetParam();
  if (backend == AttentionBackend::kCudnn && (c.T != c.S || c.T == 1)) {
    GTEST_SKIP() << "cuDNN takes whole sequences";
  }
  const Tensors rounded = make(c, torch::kBFloat16);
  const auto wide = [](const Tensor& x) { return x.detach().to(torch::kFloat64).requires_grad_(); };
  const auto here = [](const Tensor& x) {
    return x.defined() ? x.detach().to(torch::kCUDA).requires_grad_(x.is_floating_point()) : x;
  };
  const Tensors like{wide(rounded.q), wide(rounded.k), wide(rounded.v), rounded.first_key};
  const Tensors t{here(rounded.q), here(rounded.k), here(rounded.v), here(rounded.first_key)};
  const Tensor expected = reference::causal_attention(like.q, like.k, like.v, like.first_key);
  const Tensor found = causal_attention(t.q, t.k, t.v, t.first_key, backend);
  EXPECT_LT(relative_rms(found, expected), 5e-3);
  const Tensor weight = torch::randn(expected.sizes()).to(torch::kBFloat16);
  const auto gradients = torch::autograd::grad({found}, {t.q, t.k, t.v}, {weight.to(torch::kCUDA)});
  const auto like_gradients =
      torch::autograd::grad({expected}, {like.q, like.k, like.v}, {weight.to(torch::kFloat64)});
  // libtorch rounds the scores' gradient to bfloat16 before its products.
  if (c.S > 1) {
    for (size_t i = 0; i < 3; ++i)
      EXPECT_LT(relative_rms(gradients[i], like_gradients[i]), 1e-2) << i;
  }
  const torch::NoGradGuard no_grad;
  EXPECT_LT(relative_rms(causal_attention(t.q, t.k, t.v, t.first_key, backend), expected), 5e-3);
}

INSTANTIATE_TEST_SUITE_P(
    shapes, AttentionOnGpu,
    testing::Combine(
        testing::Values(Case{1, 1, 1, 2, 1, 128, {}}, Case{2, 63, 63, 4, 2, 64, {}},
                        Case{2, 64, 64, 4, 2, 128, {}}, Case{1, 257, 257, 6, 3, 64, {}},
                        Case{2, 512, 512, 4, 2, 128, {}}, Case{1, 1000, 1000, 2, 1, 128, {}},
                        Case{3, 1, 70, 6, 2, 64, {}}, Case{2, 7, 70, 4, 1, 128, {}},
                        Case{3, 33, 33, 4, 2, 64, {0, 5, 32}}, Case{3, 1, 33, 4, 2, 64, {0, 9, 5}}),
        testing::Values(AttentionBackend::kAutomatic, AttentionBackend::kFlash,
                        AttentionBackend::kCudnn)));

TEST(AttentionTest, query_without_a_key_gets_zeros_and_no_nan_in_gradients) {
  const Tensors t = make({2, 6, 6, 2, 1, 16, {6, 2}}, torch::kFloat32);
  const auto all = results(plain_attention, t);
  EXPECT_EQ(all[0][0].abs().max().item<float>(), 0);
  EXPECT_EQ(all[0][1].narrow(0, 0, 2).abs().max().item<float>(), 0);
  EXPECT_GT(all[0][1].narrow(0, 2, 4).abs().min().item<float>(), 0);
  for (const Tensor& x : all) EXPECT_TRUE(x.isfinite().all().item<bool>());
  for (size_t i = 1; i < 4; ++i) EXPECT_EQ(all[i][0].abs().max().item<float>(), 0) << i;
}

TEST(AttentionTest, padding_holds_no_information) {
  const Tensors t = make({1, 8, 8, 2, 1, 16, {3}}, torch::kFloat32);
  const torch::NoGradGuard no_grad;
  const Tensor before = causal_attention(t.q, t.k, t.v, t.first_key).clone();
  t.k.narrow(1, 0, 3).fill_(1e4), t.v.narrow(1, 0, 3).fill_(-1e4);
  EXPECT_TRUE(torch::equal(causal_attention(t.q, t.k, t.v, t.first_key), before));
}

TEST(AttentionTest, large_scores_do_not_overflow) {
  Tensors t = make({1, 70, 70, 2, 1, 16, {}}, torch::kFloat32);
  for (Tensor* x : {&t.q, &t.k}) *x = (x->detach() * 100).requires_grad_();
  for (const Tensor& x : results(plain_attention, t)) {
    EXPECT_TRUE(x.isfinite().all().item<bool>());
  }
}

TEST(LogPositionScale, is_exact_to_float32_at_a_million_tokens) {
  const std::vector<int64_t> positions = {0, 1, 1023, 999'999, 1'000'000, 1'000'001};
  const Tensor found = log_position_scale(torch::tensor(positions), 500);
  EXPECT_EQ(found.scalar_type(), torch::kFloat32);
  EXPECT_EQ(found[0].item<float>(), 1);
  for (size_t i = 0; i < positions.size(); ++i) {
    const double expected = std::log(double(positions[i]) + 500) / std::log(500.0);
    EXPECT_EQ(found[i].item<float>(), static_cast<float>(expected)) << positions[i];
  }
  EXPECT_EQ(log_position_scale(torch::zeros({2, 3}, torch::kInt64), 10).sizes(),
            torch::IntArrayRef({2, 3}));
}

TEST(AttentionErrors, name_what_was_expected_and_found) {
  using Shape = std::vector<int64_t>;
  const auto run = [](const Shape& q, const Shape& k, const Shape& v) {
    return causal_attention(torch::zeros(q), torch::zeros(k), torch::zeros(v));
  };
  EXPECT_ERROR(run({1, 4, 3, 8}, {1, 4, 2, 8}, {1, 4, 2, 8}),
               "multiple of key/value heads, found 3 and 2");
  EXPECT_ERROR(run({1, 4, 2, 8}, {1, 3, 2, 8}, {1, 3, 2, 8}), "found 3 keys and 4 queries");
  EXPECT_ERROR(run({1, 4, 2, 8}, {1, 4, 2, 8}, {1, 4, 2, 7}),
               "attention: v: expected shape [1, 4, 2, 8], found [1, 4, 2, 7]");
  EXPECT_ERROR(run({4, 2, 8}, {1, 4, 2, 8}, {1, 4, 2, 8}), "found [4, 2, 8]");
  EXPECT_ERROR(log_position_scale(torch::zeros({1}, torch::kInt64), 1), "expected a > 1, found 1");
}

}  // namespace
}  // namespace hypenet
