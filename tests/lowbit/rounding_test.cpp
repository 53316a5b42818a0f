// The definitions of int8, int4 and fp8, against the same in float64 and one number at a time.
#include "lowbit/rounding.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

Tensor codes_of(const QuantisedMatrix& matrix) {
  return matrix.type == CodeType::kInt4 ? unpack_int4(matrix.codes, matrix.columns) : matrix.codes;
}

TEST(Rounding, int8_is_the_nearest_integer_under_a_scale_a_row) {
  torch::manual_seed(1);
  const Tensor weight = torch::randn({5, 33});
  const RoundingForm form{.type = CodeType::kInt8, .scale_type = torch::kFloat32};
  const QuantisedMatrix matrix = round_to_nearest(weight, form);
  EXPECT_EQ(matrix.group, 33);
  for (int64_t n = 0; n < 5; ++n) {
    const float scale = weight[n].abs().max().item<float>() / 127;
    EXPECT_EQ(matrix.scales[n][0].item<float>(), scale);
    for (int64_t k = 0; k < 33; ++k) {
      EXPECT_EQ(codes_of(matrix)[n][k].item<float>(),
                std::nearbyint(weight[n][k].item<float>() / scale));
    }
    EXPECT_EQ(codes_of(matrix)[n].to(torch::kInt32).abs().max().item<int>(), 127);
  }
}

TEST(Rounding, ties_go_to_even) {
  const Tensor weight = torch::tensor({{0.5F, 1.5F, 2.5F, -0.5F, -1.5F, 127.0F}});
  const QuantisedMatrix matrix = round_to_nearest(weight, {.type = CodeType::kInt8});
  EXPECT_TRUE(torch::equal(matrix.codes, torch::tensor({{0, 2, 2, 0, -2, 127}}, torch::kInt8)));
}

TEST(Rounding, int4_has_a_scale_a_group_and_loses_at_most_half_a_step) {
  torch::manual_seed(2);
  const Tensor weight = torch::randn({6, 40});  // a last group of 8
  for (const bool has_zeros : {false, true}) {
    const RoundingForm form{.type = CodeType::kInt4,
                            .group = 16,
                            .has_zeros = has_zeros,
                            .scale_type = torch::kFloat32};
    const QuantisedMatrix matrix = round_to_nearest(weight, form);
    EXPECT_EQ(matrix.zeros.defined(), has_zeros);
    EXPECT_EQ(matrix.scales.sizes(), (std::vector<int64_t>{6, 3}));
    const Tensor steps = matrix.scales.repeat_interleave(16, 1).narrow(1, 0, 40);
    // With zeros both ends may be off by the zero's own rounding.
    const double most = has_zeros ? 1.01 : 0.501;
    EXPECT_LE(((matrix.expand() - weight).abs() / steps).max().item<double>(), most);
    const Tensor first = weight.narrow(1, 0, 16);
    const Tensor span = has_zeros ? (first.amax(1).clamp_min(0) - first.amin(1).clamp_max(0)) / 15
                                  : first.abs().amax(1) / 7;
    EXPECT_TRUE(torch::equal(matrix.scales.select(1, 0), span));
  }
}

TEST(Rounding, zeros_of_numbers_of_one_sign_stand_at_an_end) {
  const Tensor weight = torch::rand({3, 8}) + 1;
  const RoundingForm form{.type = CodeType::kInt4, .group = 8, .has_zeros = true};
  EXPECT_TRUE((round_to_nearest(weight, form).zeros == -8).all().item<bool>());
  EXPECT_TRUE((round_to_nearest(-weight, form).zeros == 7).all().item<bool>());
}

TEST(Rounding, fp8_keeps_its_own_numbers_and_rounds_others_to_the_nearest_of_them) {
  const Tensor bytes = torch::arange(0, 0x7F, torch::kUInt8);
  const Tensor numbers = bytes.view(torch::kFloat8_e4m3fn).to(torch::kFloat32).unsqueeze(0);
  EXPECT_EQ(numbers.max().item<float>(), 448);
  const RoundingForm form{.type = CodeType::kFloat8, .scale_type = torch::kFloat32};
  EXPECT_TRUE(torch::equal(round_to_nearest(numbers, form).expand(), numbers));
  torch::manual_seed(3);
  const Tensor weight = torch::cat({torch::rand({1, 50}) * 448, torch::full({1, 1}, 448.0)}, 1);
  const Tensor found = round_to_nearest(weight, form).expand();
  const Tensor distances = (weight.t() - numbers).abs();
  EXPECT_TRUE(torch::equal((found - weight).abs().squeeze(0), distances.amin(1)));
}

TEST(Rounding, blocks_share_a_scale_and_may_be_partial) {
  torch::manual_seed(4);
  const Tensor weight = torch::randn({5, 7});
  const RoundingForm form{
      .type = CodeType::kFloat8, .group = 4, .scale_rows = 3, .scale_type = torch::kFloat32};
  const QuantisedMatrix matrix = round_to_nearest(weight, form);
  EXPECT_EQ(matrix.scales.sizes(), (std::vector<int64_t>{2, 2}));
  const float corner = weight.narrow(0, 3, 2).narrow(1, 4, 3).abs().max().item<float>();
  EXPECT_EQ(matrix.scales[1][1].item<float>(), corner / 448);
  EXPECT_LE((matrix.expand() - weight).abs().max().item<double>(),
            weight.abs().max().item<double>() / 16);
}

TEST(Rounding, one_scale_for_all) {
  const Tensor weight = torch::randn({4, 6});
  const RoundingForm form{
      .type = CodeType::kFloat8, .scale_rows = 0, .scale_type = torch::kFloat32};
  const QuantisedMatrix matrix = round_to_nearest(weight, form);
  EXPECT_EQ(matrix.scales.numel(), 1);
  EXPECT_EQ(matrix.scales.item<float>(), weight.abs().max().item<float>() / 448);
}

TEST(Rounding, codes_are_the_nearest_under_the_scale_that_is_stored) {
  torch::manual_seed(5);
  const Tensor weight = torch::randn({4, 64});
  const RoundingForm form{.type = CodeType::kInt8};
  const QuantisedMatrix matrix = round_to_nearest(weight, form);
  EXPECT_EQ(matrix.scales.scalar_type(), torch::kBFloat16);
  const Tensor steps = matrix.scales.to(torch::kFloat32);
  const Tensor held = weight.clamp(-127 * steps, 127 * steps);
  EXPECT_LE(((matrix.expand() - held).abs() / steps).max().item<double>(), 0.50001);
}

TEST(Rounding, clip_multiplies_the_range) {
  const Tensor weight = torch::randn({3, 32});
  const RoundingForm form{.type = CodeType::kInt4, .group = 16, .scale_type = torch::kFloat32};
  const Tensor half = torch::full({3, 2}, 0.5);
  EXPECT_TRUE(
      torch::equal(scales_of(weight, form, half).scales, scales_of(weight, form).scales / 2));
}

TEST(Rounding, a_group_of_zeros_has_the_scale_one) {
  const Tensor weight = torch::zeros({2, 8});
  for (const CodeType type : {CodeType::kInt4, CodeType::kInt8, CodeType::kFloat8}) {
    const QuantisedMatrix matrix = round_to_nearest(weight, {.type = type});
    EXPECT_TRUE((matrix.scales == 1).all().item<bool>());
    EXPECT_TRUE(torch::equal(matrix.expand(), weight));
  }
}

TEST(Rounding, packing_int4_goes_both_ways) {
  const Tensor codes = torch::randint(-8, 8, {4, 9}, torch::kInt8);
  const Tensor packed = pack_int4(codes);
  EXPECT_EQ(packed.sizes(), (std::vector<int64_t>{4, 5}));
  EXPECT_EQ(packed[0][0].item<int>() & 15, codes[0][0].item<int>() + 8);
  EXPECT_EQ(packed[0][0].item<int>() >> 4, codes[0][1].item<int>() + 8);
  EXPECT_TRUE(torch::equal(unpack_int4(packed, 9), codes));
  EXPECT_TRUE(torch::equal(unpack_int4(pack_int4(codes.t()), 4), codes.t()));
}

TEST(Rounding, what_cannot_be_rounded_is_refused) {
  const RoundingForm form{.type = CodeType::kInt8};
  EXPECT_ERROR((round_to_nearest(torch::full({1, 2}, NAN), form)),
               "rounding: expected weights that are finite, found one that is not");
  EXPECT_ERROR((round_to_nearest(torch::full({1, 2}, INFINITY), form)),
               "rounding: expected weights that are finite, found one that is not");
  EXPECT_ERROR((round_to_nearest(torch::zeros({3}), form)),
               "rounding: expected a matrix of floating point, found Float [3]");
  EXPECT_ERROR((round_to_nearest(torch::full({1, 2}, 1e9),
                                 {.type = CodeType::kInt8, .scale_type = torch::kFloat16})),
               "rounding: expected scales that Half can hold, found");
  EXPECT_ERROR((round_to_nearest(torch::ones({1, 2}), {.has_zeros = true})),
               "rounding: expected int4 where there are zeros, found int8");
}

}  // namespace
}  // namespace hypenet
