// What a step starts from, on every device and type, against its definition in float64.
#include "ops/step_inputs.h"

#include <gtest/gtest.h>

#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/target.h"

namespace hypenet {
namespace {

constexpr Target kTargets[] = {
    {"cpu_float64", torch::kCPU, torch::kFloat64, torch::kFloat64, 1e-12},
    {"cpu_float32", torch::kCPU, torch::kFloat32, torch::kFloat32, 1e-6},
    {"cpu_bfloat16", torch::kCPU, torch::kBFloat16, torch::kBFloat16, 5e-3},
    {"cuda_float32", torch::kCUDA, torch::kFloat32, torch::kFloat32, 1e-6},
    {"cuda_bfloat16", torch::kCUDA, torch::kBFloat16, torch::kBFloat16, 5e-3},
    {"cuda_bfloat16_float32_table", torch::kCUDA, torch::kBFloat16, torch::kFloat32, 5e-3},
    {"cuda_float32_bfloat16_table", torch::kCUDA, torch::kFloat32, torch::kBFloat16, 1e-6}};

struct Case {
  int64_t N, V, D, d;
  double scale_base;
};

const Case kCases[] = {{1, 100, 2048, 128, 500}, {5, 33, 576, 64, 0}, {3, 7, 4096, 1024, 2},
                       {2, 9, 30, 6, 1024},      {0, 9, 32, 16, 10},  {130, 11, 36, 64, 0}};

/// Positions up to the longest contexts, the first and the last among them.
StepInputsInput make_input(const Case& c, const Target& target) {
  Tensor positions = torch::randint(1 << 20, {c.N}, torch::kInt32);
  if (c.N > 1) positions[0] = 0, positions[1] = (1 << 20) - 1;
  return {.ids = torch::randint(c.V, {c.N}, torch::kInt32).to(target.device),
          .positions = positions.to(target.device),
          .embedding = torch::randn({c.V, c.D}).to(target.device, target.weight_type),
          .frequencies = rope_frequencies(c.d, 1e6).to(target.device),
          .scale_base = c.scale_base};
}

Tensor wide(const Tensor& x) { return x.to(torch::kCPU, torch::kFloat64); }

class StepInputsTest : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
    torch::manual_seed(41);
  }
};

TEST_P(StepInputsTest, equals_its_definition) {
  const NanFilledMemory nan_filled;
  for (const Case& c : kCases) {
    const StepInputsInput input = make_input(c, GetParam());
    const StepInputs made = step_inputs(input, GetParam().type);
    const Tensor rows = input.embedding.master.cpu().index_select(0, input.ids.cpu());
    EXPECT_TRUE(torch::equal(made.h.cpu(), rows.to(GetParam().type))) << "D " << c.D;
    const Tensor angles =
        wide(input.positions).unsqueeze(1) * wide(input.frequencies);  // [N, d / 2]
    ASSERT_EQ(made.angles.cos.scalar_type(), torch::kFloat32);
    ASSERT_EQ(made.angles.cos.sizes(), (torch::IntArrayRef{c.N, c.d / 2}));
    if (c.N == 0) continue;
    EXPECT_LT((wide(made.angles.cos) - angles.cos()).abs().max().item<double>(), 2e-7);
    EXPECT_LT((wide(made.angles.sin) - angles.sin()).abs().max().item<double>(), 2e-7);
    ASSERT_EQ(made.query_scale.defined(), c.scale_base != 0);
    if (c.scale_base == 0) continue;
    const Tensor scale = (wide(input.positions) + c.scale_base).log() / std::log(c.scale_base);
    EXPECT_LT(relative_rms(made.query_scale, scale), 1e-7);
  }
}

TEST_P(StepInputsTest, rows_alone_and_together_are_the_same_bits) {
  const StepInputsInput input = make_input({9, 20, 576, 64, 500}, GetParam());
  const StepInputs all = step_inputs(input, GetParam().type);
  for (int64_t row = 0; row < 9; ++row) {
    StepInputsInput one = input;
    one.ids = input.ids.narrow(0, row, 1), one.positions = input.positions.narrow(0, row, 1);
    const StepInputs alone = step_inputs(one, GetParam().type);
    EXPECT_TRUE(torch::equal(alone.h, all.h.narrow(0, row, 1)));
    EXPECT_TRUE(torch::equal(alone.angles.cos, all.angles.cos.narrow(0, row, 1)));
    EXPECT_TRUE(torch::equal(alone.angles.sin, all.angles.sin.narrow(0, row, 1)));
    EXPECT_TRUE(torch::equal(alone.query_scale, all.query_scale.narrow(0, row, 1)));
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, StepInputsTest, testing::ValuesIn(kTargets),
                         [](const auto& info) { return std::string(info.param.name); });

// The host hears of a row that is not finite after the next step is queued.
TEST(StepInputsOnGpu, the_sampler_s_id_of_a_row_not_finite_reads_the_first_row) {
  HYPENET_SKIP_WITHOUT_GPU();
  StepInputsInput input = make_input({2, 9, 64, 64, 0}, kTargets[4]);
  input.ids[0] = -1, input.ids[1] = 9;
  const Tensor h = step_inputs(input, torch::kBFloat16).h;
  EXPECT_TRUE(torch::equal(h[0], input.embedding.master[0]));
  EXPECT_TRUE(torch::equal(h[1], input.embedding.master[8]));
}

TEST(StepInputsChecks, rejects_other_shapes_and_types) {
  const StepInputsInput good = make_input({3, 9, 8, 4, 0}, kTargets[1]);
  StepInputsInput bad = good;
  bad.positions = torch::zeros({2}, torch::kInt32);
  EXPECT_ERROR(step_inputs(bad, torch::kFloat32),
               "step_inputs: positions: expected shape [3], found [2]");
  bad = good;
  bad.ids = good.ids.to(torch::kInt64);
  EXPECT_ERROR(step_inputs(bad, torch::kFloat32), "ids: expected type Int, found Long");
  bad = good;
  bad.embedding = torch::zeros({9});
  EXPECT_ERROR(step_inputs(bad, torch::kFloat32), "embedding: expected shape [V, D], found [9]");
  bad = good;
  bad.frequencies = torch::zeros({2});
  EXPECT_ERROR(step_inputs(bad, torch::kFloat32), "of type Double, found [2] of Float");
  bad = good;
  bad.scale_base = 1;
  EXPECT_ERROR(step_inputs(bad, torch::kFloat32), "expected 0 or more than 1, found 1");
}

}  // namespace
}  // namespace hypenet
