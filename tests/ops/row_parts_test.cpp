// Attention and recurrence of rows whose tokens are shared out are those of whole rows, in float64,
// gradients too.
#include "ops/row_parts.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <functional>

#include "ops/lightning.h"
#include "ops/reference/attention.h"
#include "ops/reference/recurrence.h"
#include "ops/short_convolution.h"
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

/// Of a part's inputs [B, n, ...]; without a row, of whole ones.
using Op = std::function<Tensor(const std::vector<Tensor>& inputs, const RowPartsPointer& row)>;

/// The output and the gradients of the inputs for dL/doutput.
std::vector<Tensor> output_and_gradients(const Op& op, const std::vector<Tensor>& inputs,
                                         const Tensor& gradient, const RowPartsPointer& row) {
  std::vector<Tensor> leaves;
  for (const Tensor& x : inputs) leaves.push_back(x.detach().clone().requires_grad_());
  const Tensor output = op(leaves, row);
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
    pieces.assign(1 + inputs.size(), {});
    for (int64_t p = 0; p < count; ++p) {
      const auto row = c10::make_intrusive<TakingTurns>(p, count, tokens, before, now);
      const auto own = [&](const Tensor& x) {
        return x.narrow(1, row->first_token(p), row->tokens_of(p));
      };
      std::vector<Tensor> own_inputs;
      for (const Tensor& x : inputs) own_inputs.push_back(own(x));
      const auto found = output_and_gradients(op, own_inputs, own(gradient), row);
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
  static int64_t head_size() { return GetParam().device == torch::kCUDA ? 64 : 16; }

  static Tensor random(int64_t tokens, int64_t heads) {
    return torch::randn({2, tokens, heads, head_size()}).to(GetParam().device, GetParam().type);
  }

  /// Queries, keys and values.
  static std::vector<Tensor> random_heads(int64_t tokens, int64_t key_heads) {
    return {random(tokens, kHeads), random(tokens, key_heads), random(tokens, key_heads)};
  }

  /// Compares the op by parts with the definition of the whole, both on inputs as the target has
  /// them; make(tokens) is these.
  void expect_like(const Op& op, const Op& definition,
                   const std::function<std::vector<Tensor>(int64_t)>& make) {
    const Target& target = GetParam();
    if (target.device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
    torch::manual_seed(1);
    std::vector<int64_t> lengths = {7, 33, 129};
    if (target.device == torch::kCUDA) lengths.push_back(2048);  // by whole blocks: cuDNN
    for (const int64_t tokens : lengths) {
      const std::vector<Tensor> inputs = make(tokens);
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
  expect_like([](const std::vector<Tensor>& x,
                 const RowPartsPointer& row) { return row_attention(x[0], x[1], x[2], row); },
              [](const std::vector<Tensor>& x, const RowPartsPointer&) {
                return reference::causal_attention(x[0], x[1], x[2]);
              },
              [](int64_t tokens) { return random_heads(tokens, 2); });
}

Tensor shared(const Recurrence& input, const RowPartsPointer& row) {
  return row ? row_recurrence(input, row) : reference::recurrence(input).output;
}

Recurrence lightning(const std::vector<Tensor>& x) {
  return {.q = x[0],
          .k = x[1],
          .v = x[2],
          .decay = lightning_decay(x[0].size(2)).to(x[0].device()),
          .scale = 0.25};
}

TEST_P(SharedRows, lightning_attention_is_that_of_whole_rows) {
  const auto op = [](const std::vector<Tensor>& x, const RowPartsPointer& row) {
    return shared(lightning(x), row);
  };
  expect_like(op, op, [](int64_t tokens) { return random_heads(tokens, kHeads); });
}

/// The decay and beta of inputs [B, T, H, d] are their first number of a head, or all of them.
Recurrence varying(const std::vector<Tensor>& x, bool is_by_channel, bool is_delta) {
  const Tensor decay = x[3].abs() * 0.2;
  return {.q = x[0],
          .k = x[1],
          .v = x[2],
          .decay = is_by_channel ? decay : decay.select(3, 0),
          .beta = is_delta ? x[4].select(3, 0).sigmoid() * 2 : Tensor(),
          .is_delta = is_delta,
          .scale = 0.25};
}

/// Queries, unit keys and values, and what `varying` makes its decay and beta of.
std::vector<Tensor> with_unit_keys(std::vector<Tensor> heads, const std::vector<Tensor>& more) {
  heads[1] = heads[1] / heads[1].norm(2, -1, true);
  heads.insert(heads.end(), more.begin(), more.end());
  return heads;
}

TEST_P(SharedRows, the_delta_rule_with_a_decay_a_head_is_that_of_whole_rows) {
  const auto op = [](const std::vector<Tensor>& x, const RowPartsPointer& row) {
    return shared(varying(x, false, true), row);
  };
  expect_like(op, op, [](int64_t T) {
    return with_unit_keys(random_heads(T, kHeads), {random(T, kHeads), random(T, kHeads)});
  });
}

TEST_P(SharedRows, the_delta_rule_with_a_decay_a_channel_is_that_of_whole_rows) {
  const auto op = [](const std::vector<Tensor>& x, const RowPartsPointer& row) {
    return shared(varying(x, true, true), row);
  };
  expect_like(op, op, [](int64_t T) {
    return with_unit_keys(random_heads(T, kHeads), {random(T, kHeads), random(T, kHeads)});
  });
}

TEST_P(SharedRows, decays_that_vary_alone_are_those_of_whole_rows) {
  const auto op = [](const std::vector<Tensor>& x, const RowPartsPointer& row) {
    return shared(varying(x, true, false), row);
  };
  expect_like(op, op, [](int64_t T) {
    return with_unit_keys(random_heads(T, kHeads), {random(T, kHeads)});
  });
}

TEST_P(SharedRows, short_convolutions_go_on_from_the_parts_before) {
  torch::manual_seed(2);
  constexpr int64_t kTaps = 4;
  const Tensor taps = torch::randn({kHeads * head_size(), 1, kTaps}).to(GetParam().type);
  const auto op = [&](const std::vector<Tensor>& x, const RowPartsPointer& row) {
    const Tensor a = x[0].flatten(2), b = x[1].flatten(2);  // of one head, and of three
    const Tensor weight = taps.to(x[0].options());
    std::vector<Tensor> tails(2);
    if (row) tails = row_tails({a, b}, kTaps - 1, row);
    return torch::cat({short_convolution(a, weight.narrow(0, 0, a.size(2)), tails[0]),
                       short_convolution(b, weight.narrow(0, a.size(2), b.size(2)), tails[1])},
                      2)
        .unflatten(2, {kHeads, head_size()});
  };
  expect_like(op, op, [](int64_t tokens) {
    return std::vector<Tensor>{random(tokens, 1), random(tokens, 3)};
  });
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

TEST(RowPartsTest, rows_that_go_on_or_are_packed_are_refused) {
  Given none(1);
  const auto row = c10::make_intrusive<TakingTurns>(0, 1, 5, none, none);
  const Tensor ones = torch::ones({1, 5, 2, 16});
  Recurrence input = lightning({ones, ones, ones});
  input.state = torch::zeros({1, 2, 16, 16});
  EXPECT_ERROR(row_recurrence(input, row), "expected neither offsets nor a state, found a state");
  input.offsets = torch::tensor({0, 5}), input.state = Tensor();
  EXPECT_ERROR(row_recurrence(input, row), "found offsets");
}

}  // namespace
}  // namespace hypenet
