// Attention of a step on every device and type it has a fast path for, against its definition in
// float64 over what the pages hold. Whatever no row may read is NaN.
#include "ops/attention_step.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/lanes.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/target.h"

namespace hypenet {
namespace {

constexpr Target kTargets[] = {
    {"cpu_float64", torch::kCPU, torch::kFloat64, torch::kFloat64, 1e-12},
    {"cpu_float32", torch::kCPU, torch::kFloat32, torch::kFloat32, 1e-5},
    {"cpu_float32_bfloat16_weight", torch::kCPU, torch::kFloat32, torch::kBFloat16, 1e-5},
    {"cpu_bfloat16", torch::kCPU, torch::kBFloat16, torch::kBFloat16, 5e-3},
    {"cuda_float32", torch::kCUDA, torch::kFloat32, torch::kFloat32, 1e-5},
    {"cuda_bfloat16", torch::kCUDA, torch::kBFloat16, torch::kBFloat16, 8e-3},
    {"cuda_bfloat16_float32_weight", torch::kCUDA, torch::kBFloat16, torch::kFloat32, 8e-3}};

/// Rows of these positions; row n has slot n, or is padding where its position is below 0.
struct Case {
  std::vector<int64_t> positions;
  int64_t H, G, d, P = 64;
  bool has_norm = true, has_rope = true, has_gate = true, has_scale = true;
  bool has_narrow_cache = false;  // bfloat16 for float32 rows
};

const std::vector<int64_t> kPositions = {0, 1, 63, 64, 65, 255, 256, 1000, 4500};

const Case kCases[] = {
    {.positions = kPositions, .H = 4, .G = 2, .d = 128, .P = 128},
    {.positions = kPositions, .H = 9, .G = 3, .d = 64},
    {.positions = kPositions, .H = 4, .G = 2, .d = 16, .P = 256},
    {.positions = kPositions, .H = 4, .G = 2, .d = 64, .has_narrow_cache = true},
    {.positions = {700, 2100}, .H = 2, .G = 2, .d = 128, .P = 192, .has_norm = false},
    {.positions = {700, 2100}, .H = 4, .G = 1, .d = 64, .has_rope = false},
    {.positions = {700, 2100}, .H = 7, .G = 1, .d = 128, .has_gate = false},
    {.positions = {700, 2100}, .H = 16, .G = 1, .d = 64, .has_scale = false},
    {.positions = {77}, .H = 17, .G = 1, .d = 64},
    {.positions = {77, 300}, .H = 6, .G = 2, .d = 48, .has_narrow_cache = true},
    {.positions = {77, 300}, .H = 2, .G = 1, .d = 40},
    {.positions = {-1, 300, -1, 5, -1}, .H = 4, .G = 2, .d = 128},
    {.positions = {5, 100},
     .H = 2,
     .G = 1,
     .d = 64,
     .has_norm = false,
     .has_rope = false,
     .has_gate = false,
     .has_scale = false}};

std::string text(const Case& c) {
  return c10::str("N ", c.positions.size(), " H ", c.H, " G ", c.G, " d ", c.d, " P ", c.P,
                  c.has_norm ? " norm" : "", c.has_rope ? " rope" : "", c.has_gate ? " gate" : "",
                  c.has_scale ? " scale" : "", c.has_narrow_cache ? " narrow" : "");
}

torch::ScalarType cache_type(const Case& c, const Target& target) {
  const bool is_narrow = c.has_narrow_cache && target.type == torch::kFloat32;
  return is_narrow ? torch::kBFloat16 : target.type;
}

/// Queries and weights are rounded where they meet a bfloat16 cache on a CPU with vdpbf16ps.
double tolerance(const Case& c, const Target& target) {
  const bool is_rounded = c.has_narrow_cache && target.device == torch::kCPU &&
                          target.type == torch::kFloat32 && kernels::has_bfloat16_dots();
  return is_rounded ? 4e-3 : target.tolerance;
}

/// The pages of all sequences in no order, with random keys and values before each position. Page 0
/// is of no sequence: the table shows it where a sequence has no page. Draws the same numbers for
/// every P; the table always covers the same tokens.
void fill_cache(const Case& c, const Target& target, AttentionStepInput& input) {
  constexpr int64_t kTokens = 6144;
  const auto S = static_cast<int64_t>(c.positions.size());
  const auto options = torch::TensorOptions().dtype(cache_type(c, target));
  const Tensor table = torch::zeros({S, kTokens / c.P}, torch::kInt32);
  int64_t pages = 1;
  for (const int64_t position : c.positions) pages += std::max<int64_t>(position, 0) / c.P + 1;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor keys = torch::full({pages, c.P, c.G, c.d}, nan, options);
  const Tensor values = keys.clone();
  std::vector<Tensor> pasts;
  for (const int64_t position : c.positions) {
    pasts.push_back(torch::randn({2, std::max<int64_t>(position, 0), c.G, c.d}));
  }
  const Tensor order = torch::randperm(pages - 1, torch::kInt32) + 1;
  int64_t taken = 0;
  for (int64_t s = 0; s < S; ++s) {
    const Tensor& past = pasts[static_cast<size_t>(s)];
    for (int64_t begin = 0; begin <= past.size(1); begin += c.P) {
      const auto page = order[taken++].item<int64_t>();
      table[s][begin / c.P] = page;
      const int64_t count = std::min(c.P, past.size(1) - begin);
      keys[page].narrow(0, 0, count).copy_(past[0].narrow(0, begin, count));
      values[page].narrow(0, 0, count).copy_(past[1].narrow(0, begin, count));
    }
  }
  input.cache = {keys.to(target.device), values.to(target.device)};
  input.page_table = table.to(target.device);
}

AttentionStepInput make_input(const Case& c, const Target& target) {
  const auto N = static_cast<int64_t>(c.positions.size());
  const auto draw = [&](int64_t heads) {
    return torch::randn({N, heads * c.d}).to(target.device, target.type);
  };
  const auto draw_weight = [&] {
    return (1 + 0.3 * torch::randn({c.d})).to(target.device, target.weight_type);
  };
  const Tensor positions = torch::tensor(c.positions, torch::kInt64);
  AttentionStepInput input{.q = draw(c.H),
                           .k = draw(c.G),
                           .v = draw(c.G),
                           .cache = {},
                           .page_table = {},
                           .slots = torch::where(positions < 0, -1, torch::arange(N)),
                           .positions = positions};
  input.slots = input.slots.to(target.device, torch::kInt32);
  input.positions = input.positions.to(target.device, torch::kInt32);
  if (c.has_norm) input.q_weight = draw_weight(), input.k_weight = draw_weight();
  if (c.has_rope) {
    const RopeAngles angles = rope_angles(positions, rope_frequencies(c.d, 1e4));
    input.angles = {angles.cos.to(target.device), angles.sin.to(target.device)};
  }
  if (c.has_scale) input.query_scale = (1 + torch::rand({N})).to(target.device);
  if (c.has_gate) input.gate = draw(c.H);
  fill_cache(c, target, input);
  return input;
}

AttentionStepInput with_own_cache(AttentionStepInput input) {
  input.cache = {input.cache.keys.clone(), input.cache.values.clone()};
  return input;
}

/// Row n alone.
AttentionStepInput row_of(const AttentionStepInput& input, int64_t n, int64_t count = 1) {
  AttentionStepInput row = input;
  for (Tensor* x : {&row.q, &row.k, &row.v, &row.angles.cos, &row.angles.sin, &row.query_scale,
                    &row.gate, &row.slots, &row.positions}) {
    if (x->defined()) *x = x->narrow(0, n, count);
  }
  return row;
}

Tensor wide(const Tensor& x) { return x.detach().to(torch::kCPU, torch::kFloat64); }

/// Row n of q or k, normed and rotated, [heads, d].
Tensor defined_heads(const Tensor& x, int64_t n, const Tensor& weight,
                     const AttentionStepInput& input) {
  const int64_t d = input.cache.keys.size(3);
  Tensor y = wide(x)[n].view({-1, d});
  if (weight.defined()) y = y / (y.square().mean(-1, true) + 1e-6).sqrt() * wide(weight);
  if (!input.angles.cos.defined()) return y;
  const auto table = [&](const Tensor& half) {
    return torch::cat({wide(half)[n], wide(half)[n]}, -1);
  };
  const auto halves = y.chunk(2, -1);
  return y * table(input.angles.cos) +
         torch::cat({-halves[1], halves[0]}, -1) * table(input.angles.sin);
}

/// What the cache holds of a slot's first tokens, [tokens, G, d].
Tensor held(const Tensor& cache, const Tensor& table, int64_t slot, int64_t tokens) {
  const int64_t count = (tokens + cache.size(1) - 1) / cache.size(1);
  const Tensor pages = table[slot].narrow(0, 0, count).to(torch::kInt64);
  return wide(cache.index_select(0, pages)).flatten(0, 1).narrow(0, 0, tokens);
}

/// Row n of the output, from a cache that has the row's key and value: [H d].
Tensor defined_row(const AttentionStepInput& input, int64_t n) {
  const auto slot = input.slots[n].item<int64_t>(), position = input.positions[n].item<int64_t>();
  const int64_t G = input.cache.keys.size(2), d = input.cache.keys.size(3);
  if (slot < 0) return torch::zeros({input.q.size(1)}, torch::kFloat64);
  Tensor q = defined_heads(input.q, n, input.q_weight, input);
  if (input.query_scale.defined()) q = q * wide(input.query_scale)[n];
  const Tensor k = held(input.cache.keys, input.page_table, slot, position + 1);
  const Tensor v = held(input.cache.values, input.page_table, slot, position + 1);
  const Tensor scores = torch::matmul(q.view({G, -1, d}), k.permute({1, 2, 0}));
  const Tensor weights = (scores / std::sqrt(static_cast<double>(d))).softmax(-1);
  const Tensor o = torch::matmul(weights, v.transpose(0, 1)).flatten();
  return input.gate.defined() ? o * torch::sigmoid(wide(input.gate)[n]) : o;
}

Tensor defined_step(const AttentionStepInput& input) {
  std::vector<Tensor> rows;
  for (int64_t n = 0; n < input.q.size(0); ++n) rows.push_back(defined_row(input, n));
  return torch::stack(rows);
}

/// The bits of a tensor, which tell a NaN from another.
Tensor bits(const Tensor& x) {
  return x.view(x.element_size() == 8   ? torch::kInt64
                : x.element_size() == 4 ? torch::kInt32
                                        : torch::kInt16);
}

class AttentionStep : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
    torch::manual_seed(22);
  }
};

TEST_P(AttentionStep, equals_its_definition_over_the_cache) {
  const NanFilledMemory nan_filled;
  for (const Case& c : kCases) {
    const AttentionStepInput input = make_input(c, GetParam());
    const Tensor y = attention_step(input);
    ASSERT_EQ(y.scalar_type(), GetParam().type) << text(c);
    EXPECT_LT(relative_rms(y, defined_step(input)), tolerance(c, GetParam())) << text(c);
  }
}

TEST_P(AttentionStep, hundreds_of_rows_equal_their_definition) {
  Case c{.positions = {}, .H = 2, .G = 1, .d = 64};
  for (int64_t n = 0; n < 300; ++n) c.positions.push_back(n % 7 == 3 ? -1 : n * 37 % 900);
  const AttentionStepInput input = make_input(c, GetParam());
  const Tensor y = attention_step(input);  // puts the rows' own keys and values into the cache
  EXPECT_LT(relative_rms(y, defined_step(input)), tolerance(c, GetParam()));
}

TEST_P(AttentionStep, adds_the_rows_to_the_cache_and_nothing_else) {
  const double rounding = 5e-3;
  for (const Case& c : kCases) {
    const AttentionStepInput input = make_input(c, GetParam());
    const AttentionStepInput before = with_own_cache(input);
    attention_step(input);
    const auto N = static_cast<int64_t>(c.positions.size());
    for (int64_t n = 0; n < N; ++n) {
      const int64_t position = c.positions[static_cast<size_t>(n)];
      if (position < 0) continue;
      const auto page = input.page_table[n][position / c.P].item<int64_t>();
      const Tensor k = input.cache.keys[page][position % c.P];
      const Tensor v = input.cache.values[page][position % c.P];
      const bool is_narrow = k.scalar_type() == torch::kBFloat16;
      EXPECT_LT(relative_rms(k, defined_heads(input.k, n, input.k_weight, input)),
                is_narrow ? rounding : GetParam().tolerance)
          << text(c);
      EXPECT_TRUE(torch::equal(v, input.v[n].view({c.G, c.d}).to(v.scalar_type()))) << text(c);
      before.cache.keys[page][position % c.P] = k;
      before.cache.values[page][position % c.P] = v;
    }
    EXPECT_TRUE(torch::equal(bits(input.cache.keys), bits(before.cache.keys))) << text(c);
    EXPECT_TRUE(torch::equal(bits(input.cache.values), bits(before.cache.values))) << text(c);
  }
}

TEST_P(AttentionStep, rows_do_not_depend_on_each_other) {
  for (const Case& c : kCases) {
    const AttentionStepInput input = make_input(c, GetParam());
    const AttentionStepInput other = with_own_cache(input);
    const Tensor y = attention_step(input);
    for (int64_t n = input.q.size(0) - 1; n >= 0; --n) {
      EXPECT_TRUE(torch::equal(attention_step(row_of(other, n))[0], y[n])) << text(c) << ": " << n;
    }
    EXPECT_TRUE(torch::equal(bits(input.cache.keys), bits(other.cache.keys))) << text(c);
  }
}

TEST_P(AttentionStep, page_size_changes_no_bit) {
  for (Case c : kCases) {
    if (c.P == 192) continue;  // its table covers other tokens
    std::vector<Tensor> outputs;
    for (const int64_t P : {64, 128, 256}) {
      torch::manual_seed(5);
      c.P = P;
      outputs.push_back(attention_step(make_input(c, GetParam())));
    }
    EXPECT_TRUE(torch::equal(outputs[0], outputs[1])) << text(c);
    EXPECT_TRUE(torch::equal(outputs[0], outputs[2])) << text(c);
  }
}

TEST_P(AttentionStep, padding_is_zero_and_may_hold_anything) {
  const Case c{.positions = {20, -1, 130}, .H = 4, .G = 2, .d = 64};
  AttentionStepInput input = make_input(c, GetParam());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (Tensor* x : {&input.q, &input.k, &input.v, &input.gate}) (*x)[1].fill_(nan);
  input.positions[1] = 1 << 30;
  const Tensor y = attention_step(input);
  EXPECT_TRUE(torch::equal(y[1], torch::zeros_like(y[1])));
  EXPECT_FALSE(y.isnan().any().item<bool>());
}

INSTANTIATE_TEST_SUITE_P(Devices, AttentionStep, testing::ValuesIn(kTargets),
                         [](const auto& info) { return std::string(info.param.name); });

/// Many rows of two sequences, as a prefill on a CPU has them.
AttentionStepInput prefill_input(const Case& c, int64_t first, int64_t count) {
  Case last = c;
  last.positions = {first + count, 40};
  AttentionStepInput input = make_input(last, kTargets[1]);
  Case many = c;
  many.positions.assign(static_cast<size_t>(count), 0);
  AttentionStepInput rows = make_input(many, kTargets[1]);
  rows.cache = input.cache, rows.page_table = input.page_table;
  rows.slots = torch::zeros({count}, torch::kInt32);
  rows.positions = torch::arange(first, first + count, torch::kInt32);
  rows.slots[count - 1] = 1, rows.positions[count - 1] = 40;
  rows.slots[3] = -1;
  rows.positions[3] = 0;
  return rows;
}

TEST(AttentionStepPrefill, rows_of_a_sequence_equal_rows_one_by_one) {
  torch::manual_seed(3);
  for (const bool has_narrow_cache : {false, true}) {
    const Case c{.positions = {},
                 .H = 6,
                 .G = 2,
                 .d = 64,
                 .has_rope = false,
                 .has_narrow_cache = has_narrow_cache};
    for (const int64_t first : {0, 1010}) {
      const int64_t count = 70;
      const AttentionStepInput input = prefill_input(c, first, count);
      const AttentionStepInput other = with_own_cache(input);
      const Tensor y = attention_step(input);
      EXPECT_LT(relative_rms(y, defined_step(input)), tolerance(c, kTargets[1]));
      for (int64_t n = 0; n < count; ++n) {
        ASSERT_TRUE(torch::equal(attention_step(row_of(other, n))[0], y[n])) << first << ": " << n;
      }
    }
  }
}

TEST(AttentionStepPrefill, threads_change_no_bit) {
  const int threads = at::get_num_threads();
  std::vector<Tensor> outputs;
  for (const int count : {1, 2, 3}) {
    torch::manual_seed(4);
    at::set_num_threads(count);
    const Case c{.positions = {4500, 63, 2000}, .H = 4, .G = 2, .d = 64};
    outputs.push_back(attention_step(make_input(c, kTargets[1])));
    outputs.back() = torch::cat({outputs.back(), attention_step(prefill_input(c, 4100, 40))});
  }
  at::set_num_threads(threads);
  EXPECT_TRUE(torch::equal(outputs[0], outputs[1]));
  EXPECT_TRUE(torch::equal(outputs[0], outputs[2]));
}

TEST(AttentionStepChecks, rejects_other_shapes_and_types) {
  const Case c{.positions = {5, 70}, .H = 4, .G = 2, .d = 16};
  const AttentionStepInput good = make_input(c, kTargets[1]);
  AttentionStepInput bad = good;
  bad.v = torch::zeros({2, 48});
  EXPECT_ERROR(attention_step(bad), "attention_step: v: expected shape [2, 32], found [2, 48]");
  bad = good;
  bad.q = torch::zeros({2, 80});
  EXPECT_ERROR(attention_step(bad), "in whole groups of 2 key heads of 16, found [2, 80]");
  bad = good;
  bad.cache.values = torch::zeros({1, 64, 2, 16});
  EXPECT_ERROR(attention_step(bad), "attention_step: cache: values: expected shape");
  bad = good;
  bad.cache = {good.cache.keys.to(torch::kFloat64), good.cache.values.to(torch::kFloat64)};
  EXPECT_ERROR(attention_step(bad), "attention_step: cache: expected type Float, found Double");
  bad = good;
  bad.slots = good.slots.to(torch::kInt64);
  EXPECT_ERROR(attention_step(bad), "attention_step: slots: expected int32");
  bad = good;
  bad.k_weight = Tensor();
  EXPECT_ERROR(attention_step(bad), "expected norms of both q and k or of neither");
  bad = good;
  bad.slots = torch::full({2}, 2, torch::kInt32);
  EXPECT_ERROR(attention_step(bad), "attention_step: slots: expected less than 2, found 2");
  bad = good;
  bad.positions = torch::full({2}, 6144, torch::kInt32);
  EXPECT_ERROR(attention_step(bad), "attention_step: positions: expected 0 .. 6143, found 6144");
}

}  // namespace
}  // namespace hypenet
