// The decay against its formula: the kernel of forwards without gradients, and the tensor code.
#include "ops/decay_gate.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

Tensor defined_decay(const Tensor& z, const Tensor& A_log, const Tensor& dt_bias) {
  const Tensor steps = torch::log1p((z + dt_bias).exp()).unflatten(-1, {A_log.numel(), -1});
  return (A_log.flatten().exp().unsqueeze(-1) * steps).flatten(-2);
}

struct Case {
  std::vector<int64_t> z, A_log;
};

TEST(DecayGate, is_its_formula_with_its_gradients) {
  torch::manual_seed(1);
  for (const Case& shapes : {Case{{2, 7, 3}, {3}}, Case{{2, 5, 96}, {1, 1, 3, 1}}}) {
    const auto wide = torch::TensorOptions(torch::kFloat64);
    std::vector<Tensor> leaves = {10 * torch::randn(shapes.z, wide),
                                  torch::randn(shapes.A_log, wide),
                                  torch::randn({shapes.z.back()}, wide)};
    const Tensor kernel = decay_gate(leaves[0].to(torch::kFloat32), leaves[1], leaves[2]);
    for (Tensor& x : leaves) x.requires_grad_();
    const Tensor expected = defined_decay(leaves[0], leaves[1], leaves[2]);
    const Tensor found = decay_gate(leaves[0], leaves[1], leaves[2]);
    EXPECT_TRUE(torch::allclose(found, expected, 1e-8, 0));
    EXPECT_TRUE(torch::allclose(kernel.to(torch::kFloat64), expected, 2e-5, 0));
    const Tensor cotangent = torch::randn_like(found);
    const auto of_found = torch::autograd::grad({found}, leaves, {cotangent});
    const auto of_expected = torch::autograd::grad({expected}, leaves, {cotangent});
    for (size_t i = 0; i < leaves.size(); ++i) {
      EXPECT_TRUE(torch::allclose(of_found[i], of_expected[i], 1e-7, 1e-10)) << i;
    }
  }
}

TEST(DecayGate, a_row_has_the_same_bits_whatever_the_others_are) {
  torch::manual_seed(2);
  const Tensor z = torch::randn({37, 9}), A_log = torch::randn({9}), dt_bias = torch::randn({9});
  const Tensor all = decay_gate(z, A_log, dt_bias);
  for (int64_t n = 0; n < z.size(0); ++n) {
    EXPECT_TRUE(torch::equal(decay_gate(z.narrow(0, n, 1), A_log, dt_bias)[0], all[n])) << n;
  }
}

TEST(DecayGate, refuses_widths_that_are_not_the_heads) {
  EXPECT_ERROR(decay_gate(torch::zeros({2, 7}), torch::zeros({3}), torch::zeros({7})),
               "decay_gate: z: expected [..., H n] for H 3, found [2, 7]");
}

}  // namespace
}  // namespace hypenet
