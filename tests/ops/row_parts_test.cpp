// Attention and recurrence of rows whose tokens are shared out are those of whole rows, in float64,
// gradients too.
#include "ops/row_parts.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <functional>

#include "ops/lightning.h"
#include "ops/reference/attention.h"
#include "ops/reference/recurrence.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/target.h"

namespace hypenet {
namespace {

/// What each part gave in each of its calls.
using Given = std::vector<std::vector<Tensor>>;

/// Parts that run one after the other in one thread: each gets what the others gave when all ran
/// the last time, zeros before that. A GPU has one thread for all backward passes, where ranks that
/// are threads would wait for each other in vain.
class TakingTurns : public RowParts {
 public:
  TakingTurns(int64_t index, int64_t count, int64_t tokens, const Given& before, Given& now)
      : RowParts(index, count, tokens), before_(before), now_(now) {}

  Tensor gather(const Tensor& own) override {
    EXPECT_TRUE(own.is_contiguous());
    return torch::stack(of_all(own));
  }

  Tensor sum_own(const Tensor& for_all) override {
    EXPECT_TRUE(for_all.is_contiguous());
    Tensor sum = torch::zeros_like(for_all[index()]);
    for (const Tensor& x : of_all(for_all)) sum += x[index()];
    return sum;
  }

 private:
  std::vector<Tensor> of_all(const Tensor& own) {
    auto& calls = now_[static_cast<size_t>(index())];
    const size_t call = calls.size();
    calls.push_back(own.clone());
    std::vector<Tensor> all;
    for (size_t p = 0; p < before_.size(); ++p) {
      all.push_back(call < before_[p].size() ? before_[p][call] : torch::zeros_like(own));
    }
    all[static_cast<size_t>(index())] = own;
    return all;
  }

  const Given& before_;
  Given& now_;
};

using Op = std::function<Tensor(const Tensor& q, const Tensor& k, const Tensor& v,
                                const RowPartsPointer& row)>;

/// The output and the gradients of q, k and v for dL/doutput.
std::vector<Tensor> output_and_gradients(const Op& op, const std::vector<Tensor>& inputs,
                                         const Tensor& gradient, const RowPartsPointer& row) {
  std::vector<Tensor> leaves;
  for (const Tensor& x : inputs) leaves.push_back(x.detach().clone().requires_grad_());
  const Tensor output = op(leaves[0], leaves[1], leaves[2], row);
  std::vector<Tensor> found = torch::autograd::grad({output}, leaves, {gradient});
  found.insert(found.begin(), output.detach());
  return found;
}

/// The same by parts, put together again.
std::vector<Tensor> by_parts(const Op& op, const std::vector<Tensor>& inputs,
                             const Tensor& gradient, int64_t count) {
  const int64_t tokens = gradient.size(1);
  Given before(static_cast<size_t>(count));
  std::vector<std::vector<Tensor>> pieces;
  for (int turn = 0; turn < 3; ++turn) {  // to give, forward, and backward after a right forward
    Given now(static_cast<size_t>(count));
    pieces.assign(4, {});
    for (int64_t p = 0; p < count; ++p) {
      const auto row = c10::make_intrusive<TakingTurns>(p, count, tokens, before, now);
      const auto own = [&](const Tensor& x) {
        return x.narrow(1, row->first_token(p), row->tokens_of(p));
      };
      const auto found = output_and_gradients(op, {own(inputs[0]), own(inputs[1]), own(inputs[2])},
                                              own(gradient), row);
      for (size_t i = 0; i < found.size(); ++i) pieces[i].push_back(found[i]);
    }
    before = std::move(now);
  }
  std::vector<Tensor> found;
  for (const auto& piece : pieces) found.push_back(torch::cat(piece, 1));
  return found;
}

class SharedRows : public testing::TestWithParam<Target> {
 protected:
  /// Compares the op by parts with the definition of the whole, both on inputs as the target has
  /// them.
  void expect_like(const Op& op, const Op& definition, int64_t key_heads) {
    const Target& target = GetParam();
    if (target.device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
    torch::manual_seed(1);
    const int64_t B = 2, d = target.device == torch::kCUDA ? 64 : 16;
    const auto random = [&](int64_t tokens, int64_t heads) {
      return torch::randn({B, tokens, heads, d}).to(target.device, target.type);
    };
    std::vector<int64_t> lengths = {7, 33, 129};
    if (target.device == torch::kCUDA) lengths.push_back(2048);  // by whole blocks: cuDNN
    for (const int64_t tokens : lengths) {
      const std::vector<Tensor> inputs = {random(tokens, kHeads), random(tokens, key_heads),
                                          random(tokens, key_heads)};
      const Tensor gradient = random(tokens, kHeads);
      std::vector<Tensor> exact;
      for (const Tensor& x : inputs) exact.push_back(x.to(torch::kCPU, torch::kFloat64));
      const auto expected =
          output_and_gradients(definition, exact, gradient.to(torch::kCPU, torch::kFloat64), {});
      for (const int64_t count : {1, 2, 3, 4}) {
        const auto found = by_parts(op, inputs, gradient, count);
        for (size_t i = 0; i < found.size(); ++i) {
          EXPECT_LT(relative_rms(found[i], expected[i]), target.tolerance)
              << tokens << " tokens, " << count << " parts, result " << i;
        }
      }
    }
  }

  static constexpr int64_t kHeads = 4;
};

TEST_P(SharedRows, attention_is_that_of_whole_rows) {
  expect_like(
      row_attention,
      [](const Tensor& q, const Tensor& k, const Tensor& v, const RowPartsPointer&) {
        return reference::causal_attention(q, k, v);
      },
      2);
}

Recurrence lightning(const Tensor& q, const Tensor& k, const Tensor& v) {
  return {
      .q = q, .k = k, .v = v, .decay = lightning_decay(q.size(2)).to(q.device()), .scale = 0.25};
}

TEST_P(SharedRows, lightning_attention_is_that_of_whole_rows) {
  expect_like([](const Tensor& q, const Tensor& k, const Tensor& v,
                 const RowPartsPointer& row) { return row_recurrence(lightning(q, k, v), row); },
              [](const Tensor& q, const Tensor& k, const Tensor& v, const RowPartsPointer&) {
                return reference::recurrence(lightning(q, k, v)).output;
              },
              kHeads);
}

INSTANTIATE_TEST_SUITE_P(
    Targets, SharedRows,
    testing::Values(Target{"cpu_float64", torch::kCPU, torch::kFloat64, torch::kFloat64, 1e-10},
                    Target{"cpu_float32", torch::kCPU, torch::kFloat32, torch::kFloat32, 1e-5},
                    Target{"cuda_bfloat16", torch::kCUDA, torch::kBFloat16, torch::kBFloat16,
                           2e-2}),
    [](const auto& info) { return info.param.name; });

TEST(RowPartsTest, parts_cover_a_row_and_differ_by_a_token_at_most) {
  Given none;
  for (const int64_t tokens : {4, 7, 33, 129}) {
    const TakingTurns row(0, 4, tokens, none, none);
    int64_t covered = 0;
    for (int64_t p = 0; p < 4; ++p) {
      EXPECT_EQ(row.first_token(p), covered);
      EXPECT_GE(row.tokens_of(p), row.most_tokens() - 1);
      EXPECT_LE(row.tokens_of(p), row.most_tokens());
      covered += row.tokens_of(p);
    }
    EXPECT_EQ(covered, tokens);
  }
}

TEST(RowPartsTest, other_recurrences_are_refused) {
  Given none(1);
  const auto row = c10::make_intrusive<TakingTurns>(0, 1, 5, none, none);
  Recurrence input =
      lightning(torch::ones({1, 5, 2, 16}), torch::ones({1, 5, 2, 16}), torch::ones({1, 5, 2, 16}));
  input.beta = torch::ones({1, 5, 2});
  EXPECT_ERROR(row_recurrence(input, row), "expected a constant decay per head and no state");
}

}  // namespace
}  // namespace hypenet
