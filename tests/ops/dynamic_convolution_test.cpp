// A convolution with taps of each token, beside its definition and the one with taps of a channel.
#include "ops/dynamic_convolution.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "ops/short_convolution.h"
#include "tests/support/close_tensors.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

using testing_support::expect_close;
using testing_support::expect_gradients_of_differences;

struct Input {
  Tensor x, taps, tail;
};

Input make_input(int64_t T) {
  torch::manual_seed(T);
  const auto wide = torch::TensorOptions(torch::kFloat64);
  return {torch::randn({2, T, 5}, wide), torch::randn({2, T, 5, 4}, wide),
          torch::randn({2, 5, 3}, wide)};
}

Tensor by_definition(const Input& in) {
  const Tensor y = torch::zeros_like(in.x);
  for (int64_t t = 0; t < in.x.size(1); ++t) {
    for (int64_t i = 0; i < 4; ++i) {
      const int64_t place = t - 3 + i;
      const Tensor given = place < 0 ? in.tail.select(2, 3 + place) : in.x.select(1, place);
      y.select(1, t) += in.taps.select(1, t).select(2, i) * given;
    }
  }
  return y;
}

TEST(DynamicConvolution, is_the_definition) {
  for (const int64_t T : {1, 3, 4, 9}) {
    const Input in = make_input(T);
    expect_close({dynamic_convolution(in.x, in.taps, in.tail)}, {by_definition(in)}, 1e-12);
  }
}

TEST(DynamicConvolution, of_equal_taps_is_a_short_convolution_bit_for_bit) {
  const Input in = make_input(9);
  const Tensor x = in.x.to(torch::kFloat32), weight = torch::randn({5, 1, 4});
  const Tensor taps = weight.squeeze(1).expand({2, 9, 5, 4});
  EXPECT_TRUE(torch::equal(dynamic_convolution(x, taps), short_convolution(x, weight)));
}

TEST(DynamicConvolution, gradients_are_those_of_differences) {
  Input in = make_input(6);
  for (Tensor* x : {&in.x, &in.taps, &in.tail}) x->requires_grad_();
  const auto loss = [&] { return dynamic_convolution(in.x, in.taps, in.tail).pow(3).sum(); };
  const auto found = torch::autograd::grad({loss()}, {in.x, in.taps, in.tail});
  expect_gradients_of_differences({&in.x, &in.taps, &in.tail}, found, loss, 1e-5);
}

TEST(DynamicConvolution, steps_go_on_from_the_tails_of_their_slots) {
  const Input in = make_input(6);
  const Tensor tails = torch::zeros({3, 5, 3}, torch::kFloat64);
  tails[1] = in.tail[0];
  const Tensor y =
      dynamic_convolution_step(in.x[0], in.taps[0], tails, torch::full({6}, 1, torch::kInt32));
  const Tensor expected = dynamic_convolution(in.x, in.taps, in.tail);
  EXPECT_TRUE(torch::equal(y, expected[0]));
  EXPECT_TRUE(torch::equal(tails[1], in.x[0].narrow(0, 3, 3).t()));
  EXPECT_EQ(tails[0].abs().max().item<double>() + tails[2].abs().max().item<double>(), 0);
}

TEST(DynamicConvolution, names_tensor_expected_and_found) {
  const Input in = make_input(6);
  EXPECT_ERROR(dynamic_convolution(in.x, in.taps.narrow(1, 0, 5)),
               "dynamic_convolution: taps: expected shape [2, 6, 5, 4], found [2, 5, 5, 4]");
}

}  // namespace
}  // namespace hypenet
