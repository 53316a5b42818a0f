// The search of clips: no clip is the nearest rounding of lowbit/rounding.h, and the choice is the
// best of all that are tried by its own measure.
#include "quantize/clip_search.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace hypenet {
namespace {

constexpr int64_t kGroup = 32;

RoundingForm int4(bool has_zeros) {
  return {.type = CodeType::kInt4, .group = kGroup, .has_zeros = has_zeros};
}

Tensor heavy_tailed(int64_t N, int64_t K) {
  torch::manual_seed(5);
  return torch::randn({N, K}).pow(3);
}

/// [N, G]: sum over each group of importance (W - W~)^2, in float64.
Tensor group_errors(const Tensor& weight, const QuantisedMatrix& matrix, const Tensor& importance) {
  const Tensor off = weight.to(torch::kFloat64) - matrix.expand().to(torch::kFloat64);
  return (off.square() * importance).unflatten(1, {-1, kGroup}).sum(-1);
}

class ClipSearch : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(SymmetricAndWithZeros, ClipSearch, testing::Bool());

TEST_P(ClipSearch, without_search_scales_and_codes_are_those_of_nearest_rounding) {
  const Tensor weight = heavy_tailed(8, 128), wide = weight.to(torch::kFloat64);
  const RoundingForm form = int4(GetParam());
  const RoundingScales nearest = scales_of(weight, form);
  const Tensor codes = unpack_int4(round_with(weight, form, nearest).codes, 128).contiguous();
  const std::vector<double> ones(kGroup, 1);
  for (int64_t n = 0; n < 8; ++n) {
    for (int64_t g = 0; g < 4; ++g) {
      const double* const w = wide.data_ptr<double>() + n * 128 + g * kGroup;
      const GroupScale scale = find_group_scale({w, kGroup}, ones, form, false);
      EXPECT_EQ(scale.scale, nearest.scales[n][g].item<float>());
      EXPECT_EQ(scale.zero, form.has_zeros ? nearest.zeros[n][g].item<int16_t>() : 0);
      for (int64_t k = 0; k < kGroup; ++k) {
        EXPECT_EQ(nearest_code(form.type, w[k], scale), codes[n][g * kGroup + k].item<int8_t>());
      }
    }
  }
}

/// Scales under which clip times the number that is farthest from 0 has the code -8.
RoundingScales scales_of_eight(const Tensor& weight, double clip) {
  const Tensor groups = weight.view({weight.size(0), -1, kGroup});
  const Tensor farthest = groups.gather(2, groups.abs().argmax(2, /*keepdim=*/true)).squeeze(2);
  return {(-farthest * clip / 8).to(torch::kBFloat16), Tensor()};
}

TEST_P(ClipSearch, each_group_gets_the_best_of_the_clips) {
  const Tensor weight = heavy_tailed(16, 128);
  const RoundingForm form = int4(GetParam());
  const Tensor importance = torch::rand({128}, torch::kFloat64) + 0.01;
  const RoundingScales found = search_scales(weight, importance, form);
  const Tensor error = group_errors(weight, round_with(weight, form, found), importance);
  const auto least_of = [&](const auto& scales_of_clip) {
    std::vector<Tensor> errors;
    for (const double clip : {1.0, .95, .9, .85, .8}) {
      const QuantisedMatrix matrix = round_with(weight, form, scales_of_clip(clip));
      errors.push_back(group_errors(weight, matrix, importance));
    }
    return torch::stack(errors).amin(0);
  };
  Tensor least =
      least_of([&](double clip) { return scales_of(weight, form, torch::tensor(clip)); });
  if (!form.has_zeros) {
    const Tensor eight = least_of([&](double clip) { return scales_of_eight(weight, clip); });
    // What the code -8 is worth: a tenth of the error or more.
    EXPECT_LT(torch::minimum(least, eight).sum().item<double>(), 0.95 * least.sum().item<double>());
    least = torch::minimum(least, eight);
  }
  EXPECT_TRUE(torch::allclose(error, least, 1e-6, 0));
  // Heavy tails: many groups are better off clipped.
  const Tensor unclipped = group_errors(weight, round_to_nearest(weight, form), importance);
  EXPECT_LT(error.sum().item<double>(), 0.97 * unclipped.sum().item<double>());
}

TEST_P(ClipSearch, a_group_of_zeros_stays_zero) {
  const Tensor weight = torch::zeros({2, 64});
  const RoundingForm form = int4(GetParam());
  const RoundingScales scales = search_scales(weight, torch::ones({64}, torch::kFloat64), form);
  EXPECT_TRUE(torch::equal(round_with(weight, form, scales).expand(), weight));
}

class ClipSearchOfForm : public testing::TestWithParam<RoundingForm> {};
INSTANTIATE_TEST_SUITE_P(EachForm, ClipSearchOfForm,
                         testing::Values(int4(false), int4(true),
                                         RoundingForm{.type = CodeType::kInt4},
                                         RoundingForm{.type = CodeType::kInt8, .group = kGroup},
                                         RoundingForm{.type = CodeType::kInt8},
                                         RoundingForm{.type = CodeType::kFloat8}),
                         [](const auto& info) {
                           return concat(code_type_name(info.param.type), "_", info.param.group,
                                         info.param.has_zeros ? "_zeros" : "");
                         });

TEST_P(ClipSearchOfForm, values_in_one_pass_are_those_of_codes) {
  const Tensor weight = heavy_tailed(16, 128);
  const Tensor expected = round_to_nearest(weight, GetParam()).expand();
  EXPECT_TRUE(torch::equal(nearest_values(weight, GetParam()), expected));
}

TEST_P(ClipSearchOfForm, searched_scales_are_never_worse) {
  const Tensor weight = heavy_tailed(16, 128), importance = torch::rand({128}, torch::kFloat64);
  const RoundingForm form = GetParam();
  const auto error = [&](const QuantisedMatrix& matrix) {
    return ((weight - matrix.expand()).to(torch::kFloat64).square() * importance).sum(1);
  };
  const Tensor found = error(round_with(weight, form, search_scales(weight, importance, form)));
  EXPECT_TRUE((found <= error(round_to_nearest(weight, form)) * (1 + 1e-9)).all().item<bool>());
}

}  // namespace
}  // namespace hypenet
