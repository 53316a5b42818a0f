// The two lightning kernels beside each other on one GPU: the one for older GPUs is not what the op
// takes on Hopper, whose own kernel lightning_device_test.cpp holds against the definition.
#include <gtest/gtest.h>

#include "kernels/device.h"
#include "ops/lightning.h"
#include "ops/stream.h"
#include "tests/support/compare.h"

namespace hypenet {
namespace {

using kernels::cuda::LightningParams;

struct Case {
  int64_t B, T, H, d;
  bool reverse = false;  // a pass of the backward: time runs back, the state is met undecayed
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << "B" << c.B << "_T" << c.T << "_H" << c.H << "_d" << c.d << (c.reverse ? "_reverse" : "");
}

class LightningKernels : public testing::TestWithParam<Case> {};

TEST_P(LightningKernels, for_older_gpus_and_for_hopper_agree) {
  HYPENET_SKIP_WITHOUT_GPU();
  const Case& c = GetParam();
  torch::manual_seed(c.T + c.d);
  const auto options = torch::TensorOptions(torch::kCUDA).dtype(torch::kBFloat16);
  const auto draw = [&] { return torch::randn({c.B, c.T, c.H, c.d}).to(options); };
  const Tensor q = draw(), k = draw(), v = draw();
  const Tensor given = torch::randn({c.B, c.H, c.d, c.d}).to(torch::kCUDA);
  const Tensor decay = lightning_decay(c.H).to(torch::kCUDA);
  const auto run = [&](bool portable) {
    Tensor o = torch::full_like(q, NAN), final_state = torch::full_like(given, NAN);
    LightningParams params{};
    params.passes[0] = {.q = q.const_data_ptr(),
                        .k = k.const_data_ptr(),
                        .v = v.const_data_ptr(),
                        .o = o.mutable_data_ptr(),
                        .given = given.const_data_ptr<float>(),
                        .final_state = final_state.mutable_data_ptr<float>(),
                        .given_factor = c.reverse ? 2.0F : 1.0F,
                        .final_factor = c.reverse ? 0.5F : 1.0F,
                        .state_lag = c.reverse ? 0 : 1,
                        .reverse = c.reverse,
                        .given_transposed = c.reverse};
    params.decay = decay.const_data_ptr<float>();
    params.scale = 0.1F;
    params.sequences = c.B, params.tokens = c.T, params.heads = c.H, params.size = c.d;
    params.portable = portable;
    throw_unless_ok("lightning", kernels::device_kernels().lightning(params, current_stream(q)));
    return std::pair{o, final_state};
  };
  const auto [hopper_o, hopper_state] = run(false);
  const auto [portable_o, portable_state] = run(true);
  EXPECT_LT(relative_rms(portable_o, hopper_o), 5e-3);
  EXPECT_LT(relative_rms(portable_state, hopper_state), 5e-3);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const int64_t T : {1, 63, 64, 65, 1000, 4500}) {
    for (const int64_t d : {64, 128}) {
      for (const bool reverse : {false, true}) all.push_back({2, T, 3, d, reverse});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(sizes, LightningKernels, testing::ValuesIn(cases()));

}  // namespace
}  // namespace hypenet
