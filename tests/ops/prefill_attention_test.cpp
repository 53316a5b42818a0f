// A chunk over its past in pages against plain attention of the whole sequence in float64.
#include "ops/prefill_attention.h"

#include <gtest/gtest.h>
#include <torch/cuda.h>

#include "ops/attention.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/target.h"

namespace hypenet {
namespace {

constexpr Target kTargets[] = {
    {"cpu_float64", torch::kCPU, torch::kFloat64, torch::kFloat64, 1e-12},
    {"cpu_float32", torch::kCPU, torch::kFloat32, torch::kFloat32, 1e-5},
    {"cuda_float32", torch::kCUDA, torch::kFloat32, torch::kFloat32, 1e-5},
    {"cuda_bfloat16", torch::kCUDA, torch::kBFloat16, torch::kBFloat16, 5e-3},
};

class PrefillAttention : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA && !torch::cuda::is_available()) {
      GTEST_SKIP() << "no CUDA device";
    }
    torch::manual_seed(4);
  }

  Tensor random(at::IntArrayRef sizes) const {
    return torch::randn(sizes).to(torch::Device(GetParam().device), GetParam().type);
  }
};

/// x [S, G, d] laid into pages in an order of their own, NaN behind its end.
Tensor paged(const Tensor& x, const Tensor& pages, int64_t P) {
  Tensor cache = torch::full({2 * pages.size(0), P, x.size(1), x.size(2)}, NAN, x.options());
  for (int64_t i = 0; i < pages.size(0); ++i) {
    const int64_t count = std::min(P, x.size(0) - i * P);
    if (count > 0) cache[pages[i].item<int64_t>()].narrow(0, 0, count) = x.narrow(0, i * P, count);
  }
  return cache;
}

TEST_P(PrefillAttention, a_chunk_over_pages_is_the_end_of_the_whole) {
  struct Case {
    int64_t past, T, H, G, d, P;
  };
  for (const Case& c : {Case{0, 65, 4, 2, 16, 64}, Case{1, 1, 4, 2, 64, 64},
                        Case{64, 300, 6, 2, 64, 64}, Case{2500, 256, 4, 4, 128, 128},
                        Case{2560, 256, 4, 1, 128, 256}, Case{4999, 70, 3, 3, 64, 192}}) {
    const int64_t S = c.past + c.T;
    const Tensor q = random({c.T, c.H, c.d}), k = random({S, c.G, c.d}), v = random({S, c.G, c.d});
    const Tensor pages = torch::randperm((S + c.P - 1) / c.P, q.options().dtype(torch::kInt64));
    const KvPages cache{paged(k.narrow(0, 0, c.past), pages, c.P),
                        paged(v.narrow(0, 0, c.past), pages, c.P)};
    const Tensor found = prefill_attention(q, k.narrow(0, c.past, c.T), v.narrow(0, c.past, c.T),
                                           cache, pages, c.past);
    const auto exact = [](const Tensor& x) { return x.to(torch::kFloat64).unsqueeze(0); };
    const Tensor expected = causal_attention(exact(q), exact(k), exact(v))[0];
    EXPECT_LT(relative_rms(found, expected), GetParam().tolerance) << c.past << " + " << c.T;
  }
}

TEST_P(PrefillAttention, parts_join_by_their_sums) {
  std::vector<AttentionPart> parts;
  Tensor weighted = torch::zeros({5, 3, 64}, torch::kFloat64), sum = torch::zeros({5, 3, 1});
  for (int i = 0; i < 4; ++i) {
    const Tensor logsum = (10 * torch::randn({3, 5})).to(torch::Device(GetParam().device));
    parts.push_back({random({5, 3, 64}),
                     GetParam().type == torch::kFloat64 ? logsum.to(torch::kFloat64) : logsum});
    const Tensor weight = logsum.to(torch::kCPU, torch::kFloat64).t().unsqueeze(-1).exp();
    weighted = weighted + weight * parts.back().output.to(torch::kCPU, torch::kFloat64);
    sum = sum + weight;
  }
  EXPECT_LT(relative_rms(join_attention(parts), weighted / sum), GetParam().tolerance);
}

INSTANTIATE_TEST_SUITE_P(targets, PrefillAttention, testing::ValuesIn(kTargets),
                         [](const auto& test) { return test.param.name; });

TEST(PrefillAttentionErrors, name_what_was_expected_and_found) {
  const Tensor q = torch::zeros({3, 4, 16}), k = torch::zeros({3, 2, 16});
  const KvPages cache{torch::zeros({2, 64, 2, 16}), torch::zeros({2, 64, 2, 16})};
  const Tensor pages = torch::zeros({1}, torch::kInt64);
  EXPECT_ERROR(prefill_attention(q, k, k, cache, pages, 65),
               "pages: expected int64 pages of 64 tokens for 65 tokens, found [1]");
  EXPECT_ERROR(prefill_attention(q, k, q, cache, pages, 0), "prefill_attention: v");
}

}  // namespace
}  // namespace hypenet
