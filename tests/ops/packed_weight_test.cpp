// Packed weights against float64: the numbers that codes stand for, products with rounded rows by
// every kernel of the machine, products with rows as they are, and rows that must not notice each
// other. What ggml's blocks stand for is tested in model/packed_weights_test.cpp.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/embedding.h"
#include "ops/linear.h"
#include "ops/linear_step.h"
#include "ops/packed_memory.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

using kernels::PackedForm;

constexpr int64_t kRowCounts[] = {1, 2, 3, 4, 5, 8, 9, 17};
constexpr PackedForm kForms[] = {PackedForm::kAmx, PackedForm::kVnni, PackedForm::kAvx2,
                                 PackedForm::kPlain};

/// A type of blocks, its values and bytes, and where its float16 scales are.
struct BlockCase {
  const char* name;
  int64_t values, bytes;
  std::vector<int64_t> scales;
};

const BlockCase kBlockCases[] = {{"Q4_0", 32, 18, {0}},      {"Q4_1", 32, 20, {0, 2}},
                                 {"Q5_0", 32, 22, {0}},      {"Q5_1", 32, 24, {0, 2}},
                                 {"Q8_0", 32, 34, {0}},      {"Q4_K", 256, 144, {0, 2}},
                                 {"Q5_K", 256, 176, {0, 2}}, {"Q6_K", 256, 210, {208}}};

/// Random bytes, and scales of about 0.01.
Tensor random_blocks(const BlockCase& c, int64_t rows, int64_t columns) {
  const int64_t blocks = columns / c.values;
  Tensor bytes = torch::randint(256, {rows, blocks, c.bytes}, torch::kUInt8);
  for (const int64_t at : c.scales) {
    const Tensor scale = (torch::randn({rows, blocks, 1}) * 0.01).to(torch::kFloat16);
    bytes.narrow(2, at, 2).copy_(scale.view(torch::kUInt8));
  }
  return bytes.flatten(1);
}

/// int4 in groups of 128 with zeros, or int8 with a scale a row.
StoredCodes random_codes(int bits, int64_t rows, int64_t columns) {
  const int64_t run = bits == 4 ? 128 : columns, runs = (columns + run - 1) / run;
  return {.stored = bits == 4 ? "int4" : "int8",
          .bits = bits,
          .codes = torch::randint(1 << bits, {rows, columns}, torch::kUInt8),
          .scales = torch::rand({rows, runs}) * 0.02,
          .zeros = bits == 4 ? torch::randint(17, {rows, runs}, torch::kUInt8)
                             : torch::full({rows, runs}, 128, torch::kUInt8),
          .run = run};
}

/// Every kind, with rows that do not fill the last group.
std::vector<PackedWeightPointer> weights_of(int64_t rows, int64_t columns,
                                            Activations activations = Activations::kInt8) {
  std::vector<PackedWeightPointer> weights;
  for (const BlockCase& c : kBlockCases) {
    weights.push_back(pack_weight(
        StoredBlocks{.stored = c.name, .rows = random_blocks(c, rows, columns), .columns = columns},
        activations));
  }
  for (const int bits : {4, 8}) {
    weights.push_back(pack_weight(random_codes(bits, rows, columns), activations));
  }
  return weights;
}

Weight as_weight(const PackedWeightPointer& packed) {
  Weight weight(
      torch::full({1, 1}, NAN, torch::kBFloat16).expand({packed->rows(), packed->columns()}));
  weight.packed = packed;
  return weight;
}

/// x as products read it: of each 32 numbers integers to 127, in float64.
Tensor rounded(const Tensor& x) {
  const int64_t K = x.size(1), whole = (K + 31) / 32 * 32;
  const Tensor blocks =
      torch::constant_pad_nd(x.to(torch::kFloat64), {0, whole - K}).unflatten(1, {-1, 32});
  const Tensor scale = blocks.abs().amax(-1, true).clamp_min(1e-30) / 127;
  return ((blocks / scale).round() * scale).flatten(1).narrow(1, 0, K);
}

Tensor product_of(const Tensor& x, const PackedWeight& weight) {
  return torch::mm(x.to(torch::kFloat64), expand(weight).to(torch::kFloat64).t());
}

Tensor only(const std::vector<Tensor>& outputs) { return outputs.front(); }

TEST(PackedWeight, rounded_rows_are_within_a_thousandth_of_their_definition) {
  torch::manual_seed(1);
  for (const auto& packed : weights_of(37, 768)) {
    const LinearWeights layer{as_weight(packed)};
    for (const int64_t N : kRowCounts) {
      const Tensor x = torch::randn({N, 768});
      const NanFilledMemory memory;
      const Tensor y = only(linear_step({.x = x, .layers = {&layer, 1}}));
      EXPECT_LT(relative_rms(y, product_of(rounded(x), *packed)), 1e-3) << packed->stored << N;
      EXPECT_LT(relative_rms(y, product_of(x, *packed)), 0.02) << packed->stored << N;
    }
  }
}

TEST(PackedWeight, rows_as_they_are_have_the_products_of_the_expanded_weights) {
  torch::manual_seed(2);
  for (const auto& packed : weights_of(37, 768, Activations::kFloat)) {
    const LinearWeights layer{as_weight(packed)}, expanded{expand(*packed)};
    for (const int64_t N : kRowCounts) {
      const Tensor x = torch::randn({N, 768});
      const NanFilledMemory memory;
      const Tensor y = only(linear_step({.x = x, .layers = {&layer, 1}}));
      EXPECT_LT(relative_rms(y, product_of(x, *packed)), 1e-5) << packed->stored << N;
      EXPECT_TRUE(torch::equal(y, only(linear_step({.x = x, .layers = {&expanded, 1}}))));
    }
  }
}

TEST(PackedWeight, a_row_has_its_bits_whatever_the_others) {
  torch::manual_seed(3);
  for (const Activations activations : {Activations::kInt8, Activations::kFloat}) {
    for (const auto& packed : weights_of(50, 256, activations)) {
      const LinearWeights layer{as_weight(packed)};
      const Tensor x = torch::randn({19, 256});
      const Tensor all = only(linear_step({.x = x, .layers = {&layer, 1}}));
      for (int64_t n = 0; n < x.size(0); ++n) {
        const Tensor one = only(linear_step({.x = x.narrow(0, n, 1), .layers = {&layer, 1}}));
        EXPECT_TRUE(torch::equal(one, all.narrow(0, n, 1))) << packed->stored << n;
      }
      EXPECT_TRUE(torch::equal(apply_linear(x.view({1, 19, 256}), layer)[0], all));
    }
  }
}

/// What a kernel of this form makes of rounded rows; undefined where the machine has none.
Tensor by_form(PackedForm form, const PackedWeight& weight, const Tensor& x) {
  const int64_t N = x.size(0), K = x.size(1);
  std::vector<kernels::RowBlock> rows(static_cast<size_t>((N + 7) * kernels::packed_blocks(K)));
  kernels::PackRowsParams params{};
  params.x = x.const_data_ptr<float>(), params.size = params.x_row = K;
  kernels::round_rows(params, rows.data(), 0, N);
  Tensor y = torch::full({N, weight.rows()}, NAN);
  const bool is_there = kernels::packed_linear_by(form,
                                                  {.x = rows.data(),
                                                   .weight = weight.matrix,
                                                   .bias = nullptr,
                                                   .y = y.mutable_data_ptr<float>(),
                                                   .rows = N,
                                                   .y_row = weight.rows(),
                                                   .adds = false},
                                                  0, kernels::packed_groups(weight.rows()));
  return is_there ? y : Tensor();
}

TEST(PackedWeight, every_kernel_of_the_machine_computes_the_same) {
  torch::manual_seed(4);
  for (const auto& packed : weights_of(37, 512)) {
    for (const int64_t N : kRowCounts) {
      const Tensor x = torch::randn({N, 512});
      const Tensor expected = product_of(rounded(x), *packed);
      for (const PackedForm form : kForms) {
        const Tensor y = by_form(form, *packed, x);
        if (!y.defined()) continue;
        EXPECT_LT(relative_rms(y, expected), 1e-3) << packed->stored << static_cast<int>(form);
      }
    }
  }
}

TEST(PackedWeight, tile_products_have_the_bits_of_vpdpbusd) {
  torch::manual_seed(11);
  if (kernels::packed_form() != PackedForm::kAmx) GTEST_SKIP() << "no AMX here";
  for (const auto& packed : weights_of(50, 512)) {
    for (const int64_t N : {16, 31, 64}) {
      const Tensor x = torch::randn({N, 512});
      EXPECT_TRUE(torch::equal(by_form(PackedForm::kAmx, *packed, x),
                               by_form(PackedForm::kVnni, *packed, x)))
          << packed->stored << N;
    }
  }
}

/// The largest codes and rows: sums of 16 bits would not hold their products.
TEST(PackedWeight, the_largest_numbers_do_not_overflow) {
  for (const auto& [bits, code] : {std::pair{4, 15}, {8, 255}, {8, 0}}) {
    StoredCodes codes = random_codes(bits, 16, 128);
    codes.codes.fill_(code), codes.scales.fill_(1), codes.zeros.fill_(bits == 4 ? 0 : 128);
    const auto packed = pack_weight(codes, Activations::kInt8);
    const int value = bits == 4 ? code : code - 128;
    for (const float sign : {1.0F, -1.0F}) {
      for (const PackedForm form : kForms) {
        const Tensor y = by_form(form, *packed, torch::full({18, 128}, sign * 127));
        if (!y.defined()) continue;
        EXPECT_TRUE(torch::equal(y, torch::full({18, 16}, sign * 127 * 128 * value)));
      }
    }
  }
}

TEST(PackedWeight, int8_has_rows_of_any_length) {
  torch::manual_seed(5);
  for (const int64_t K : {1, 31, 33, 757}) {
    const StoredCodes codes = random_codes(8, 19, K);
    const auto packed = pack_weight(codes, Activations::kInt8);
    EXPECT_TRUE(
        torch::equal(expand(*packed), (codes.codes.to(torch::kFloat32) - 128) * codes.scales));
    const LinearWeights layer{as_weight(packed)};
    const Tensor x = torch::randn({3, K});
    const Tensor y = only(linear_step({.x = x, .layers = {&layer, 1}}));
    EXPECT_LT(relative_rms(y, product_of(rounded(x), *packed)), 1e-3) << K;
  }
}

TEST(PackedWeight, int4_has_a_zero_for_each_group) {
  torch::manual_seed(6);
  const StoredCodes codes = random_codes(4, 19, 384);
  const Tensor W = (codes.codes.to(torch::kFloat32) -
                    codes.zeros.to(torch::kFloat32).repeat_interleave(128, 1)) *
                   codes.scales.repeat_interleave(128, 1);
  EXPECT_TRUE(torch::equal(expand(*pack_weight(codes, Activations::kInt8)), W));
}

/// All that may stand before and after the products, and a plain weight beside packed ones. Rows as
/// they are make the sums those of float32 weights, to the bit.
TEST(PackedWeight, norm_gate_bias_residual_and_swiglu_are_those_of_plain_weights) {
  torch::manual_seed(7);
  const auto packed = pack_weight(random_codes(4, 48, 256), Activations::kFloat);
  const auto second = pack_weight(random_codes(8, 48, 256), Activations::kFloat);
  const Tensor bias = torch::randn({48}), plain = torch::randn({48, 256});
  const std::vector<LinearWeights> few = {{as_weight(packed), bias}, {as_weight(second)}, {plain}};
  const std::vector<LinearWeights> wide = {{expand(*packed), bias}, {expand(*second)}, {plain}};
  LinearStepInput input{.x = torch::randn({5, 256}), .norm_weight = torch::rand({256})};
  input.gate = torch::randn({5, 256});
  const auto run = [&](const std::vector<LinearWeights>& layers) {
    input.layers = layers;
    return linear_step(input);
  };
  const auto found = run(few), expected = run(wide);
  for (size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(torch::equal(found[i], expected[i])) << i;
  input.is_swiglu = true;
  EXPECT_TRUE(torch::equal(only(run({few[0], few[1]})), only(run({wide[0], wide[1]}))));
  input.is_swiglu = false;
  const Tensor before = torch::randn({5, 48}), after = before.clone();
  input.residual = before, run({few[0]});
  input.residual = after, run({wide[0]});
  EXPECT_TRUE(torch::equal(before, after));
}

TEST(PackedWeight, rows_are_normed_and_gated_before_they_are_rounded) {
  torch::manual_seed(8);
  const auto packed = pack_weight(random_codes(8, 40, 320), Activations::kInt8);
  const LinearWeights layer{as_weight(packed), torch::randn({40})};
  const Tensor x = torch::randn({6, 320}), norm = torch::rand({320}), gate = torch::randn({6, 320});
  const Tensor wide = x.to(torch::kFloat64);
  const Tensor ready = wide * (wide.square().mean(1, true) + 1e-6).rsqrt() * norm * gate.sigmoid();
  const Tensor before = torch::randn({6, 40});
  const Tensor expected = before + product_of(rounded(ready), *packed) + layer.bias.master;
  linear_step(
      {.x = x, .norm_weight = norm, .gate = gate, .layers = {&layer, 1}, .residual = before});
  EXPECT_LT(relative_rms(before, expected), 1e-3);
}

TEST(PackedWeight, rows_of_a_table_are_its_expanded_ones) {
  torch::manual_seed(9);
  for (const auto& packed : weights_of(37, 256)) {
    const Tensor ids = torch::tensor({36, 0, 15, 16, 36}, torch::kInt64);
    const Tensor expected = expand(*packed).index_select(0, ids);
    EXPECT_TRUE(torch::equal(embedding(as_weight(packed), ids.view({1, 5}))[0], expected));
  }
}

TEST(PackedWeight, numbers_that_are_not_finite_show) {
  const auto packed = pack_weight(random_codes(8, 16, 64), Activations::kInt8);
  const LinearWeights layer{as_weight(packed)};
  for (const float bad : {NAN, std::numeric_limits<float>::infinity()}) {
    Tensor x = torch::randn({2, 64});
    x[1][40] = bad;
    const Tensor y = only(linear_step({.x = x, .layers = {&layer, 1}}));
    EXPECT_TRUE(y[0].isfinite().all().item<bool>());
    EXPECT_TRUE(y[1].isnan().all().item<bool>());
  }
}

TEST(PackedWeight, other_types_expand_what_they_multiply_by) {
  torch::manual_seed(10);
  const auto packed = pack_weight(random_codes(8, 16, 64), Activations::kInt8);
  const LinearWeights layer{as_weight(packed)};
  const Tensor x = torch::randn({2, 64}, torch::kFloat64);
  const Tensor y = only(linear_step({.x = x, .layers = {&layer, 1}}));
  EXPECT_LT(relative_rms(y, product_of(x, *packed)), 1e-12);
}

TEST(PackedWeight, no_more_memory_than_the_blocks_have) {
  for (const BlockCase& c : kBlockCases) {
    const Tensor rows = random_blocks(c, 64, 4096);
    const auto packed = pack_weight(StoredBlocks{.stored = c.name, .rows = rows, .columns = 4096},
                                    Activations::kInt8);
    EXPECT_LE(static_cast<double>(packed->memory.numel()), 1.03 * static_cast<double>(rows.numel()))
        << c.name;
  }
}

TEST(PackedMemory, tensors_of_a_piece_follow_each_other_and_keep_it) {
  Tensor first, second, third;
  {
    PackedMemory memory;
    first = memory.take(100), second = memory.take(64);
    third = memory.take((int64_t{1} << 30) + 1);  // more than a piece has
  }
  const auto* const begin = first.const_data_ptr<uint8_t>();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(begin) % 64, 0U);
  EXPECT_EQ(second.const_data_ptr<uint8_t>(), begin + 128);
  second.fill_(2);
  first = Tensor();
  third.narrow(0, third.size(0) - 1, 1).fill_(3);
  EXPECT_EQ(second.sum().item<int64_t>(), 128);
  EXPECT_EQ(third[-1].item<int64_t>(), 3);
}

TEST(PackedMemory, weights_side_by_side_stand_for_the_same_numbers) {
  torch::manual_seed(1);
  PackedMemory memory;
  for (int64_t rows = 1; rows < 40; rows += 7) {
    const StoredCodes codes{.stored = "int8",
                            .bits = 8,
                            .codes = torch::randint(256, {rows, 96}, torch::kUInt8),
                            .scales = torch::rand({rows, 1}),
                            .zeros = torch::full({rows, 1}, 128, torch::kUInt8),
                            .run = 96};
    const auto beside = pack_weight(codes, Activations::kInt8, memory);
    EXPECT_TRUE(torch::equal(expand(*beside), expand(*pack_weight(codes, Activations::kInt8))));
    EXPECT_TRUE(torch::equal(beside->memory, pack_weight(codes, Activations::kInt8)->memory));
  }
}

TEST(PackedWeight, what_does_not_fit_is_refused_in_one_line) {
  const Tensor rows = torch::zeros({4, 34}, torch::kUInt8);
  const auto blocks = [](const char* stored, const Tensor& bytes, int64_t columns,
                         int64_t paired = 0) {
    return pack_weight(StoredBlocks{stored, bytes, columns, paired}, Activations::kInt8);
  };
  EXPECT_FALSE(is_packed_type("Q2_K"));
  EXPECT_ERROR(blocks("Q2_K", rows, 32), "expected blocks of Q4_0 to Q6_K, found Q2_K");
  EXPECT_ERROR(blocks("Q8_0", rows, 33), "expected whole blocks of Q8_0 in a row, found 33");
  EXPECT_ERROR(blocks("Q8_0", rows, 64), "rows: expected shape [4, 68], found [4, 34]");
  EXPECT_ERROR(blocks("Q8_0", rows.to(torch::kFloat32), 32), "expected uint8 on the CPU");
  EXPECT_ERROR(blocks("Q8_0", rows, 32, 3), "paired_rows: expected an even divisor of 4, found 3");
  StoredCodes codes = random_codes(4, 4, 256);
  codes.run = 48;
  EXPECT_ERROR(pack_weight(codes, Activations::kInt8), "a multiple of 32 columns for a scale");
  const auto packed = blocks("Q8_0", rows, 32);
  EXPECT_ERROR(expand_rows(*packed, torch::tensor({4})), "ids: expected 0 to 3, found 4");
  const LinearWeights layer{as_weight(packed)};
  EXPECT_ERROR(apply_linear(torch::randn({1, 32}).requires_grad_(), layer),
               "packed weights: expected x without a gradient, found one");
}

}  // namespace
}  // namespace hypenet
