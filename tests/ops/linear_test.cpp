// Linear layers and the embedding against their definitions: over types, with parameters in their
// own type, with and without copies to compute with.
#include "ops/linear.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <functional>

#include "ops/embedding.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

using Tensors = std::vector<Tensor>;

struct Case {
  const char* name;
  torch::DeviceType device;
  torch::ScalarType compute, master;  // types of x and of the parameters
  bool has_copies;
  double tolerance;  // relative RMS
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class Linear : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
  }

  /// Random values that bfloat16 holds, so that every type starts from the same numbers.
  static Tensor draw(std::vector<int64_t> shape, torch::ScalarType type) {
    return torch::randn(shape)
        .to(torch::kBFloat16)
        .to(torch::TensorOptions(type).device(GetParam().device))
        .requires_grad_();
  }

  static Tensor copy(const Tensor& parameter) {
    if (!GetParam().has_copies || !parameter.defined()) return {};
    return parameter.detach().to(GetParam().compute);
  }

  static Tensor wide(const Tensor& x) {
    return x.detach().to(torch::kCPU, torch::kFloat64).requires_grad_(x.requires_grad());
  }
};

/// The gradients of y's sum with fixed random weights, y first.
Tensors results(const Tensor& y, const Tensors& inputs) {
  torch::manual_seed(3);
  const Tensor weight =
      torch::randn(y.sizes()).to(torch::kBFloat16).to(y.device(), y.scalar_type());
  Tensors all = torch::autograd::grad({y}, inputs, {weight});
  all.insert(all.begin(), y.detach());
  return all;
}

TEST_P(Linear, equals_its_definition) {
  const Case& c = GetParam();
  torch::manual_seed(8);
  for (const int64_t T : {1, 7, 40, 130}) {
    for (const bool has_bias : {false, true}) {
      Tensors in = {draw({2, T, 24}, c.compute), draw({10, 24}, c.master)};
      if (has_bias) in.push_back(draw({10}, c.master));
      const Tensor bias = has_bias ? in[2] : Tensor();
      const Tensors found =
          results(apply_linear(in[0], {{in[1], copy(in[1])}, {bias, copy(bias)}}), in);
      Tensors like;
      for (const Tensor& x : in) like.push_back(wide(x));
      const Tensor product = torch::matmul(like[0], like[1].t());
      const Tensors expected = results(has_bias ? product + like[2] : product, like);
      for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(found[i].scalar_type(), i < 2 ? c.compute : c.master) << i;
        EXPECT_LT(relative_rms(found[i], expected[i]), c.tolerance)
            << "result " << i << ", T " << T;
      }
    }
  }
}

TEST_P(Linear, gives_no_gradient_that_nobody_needs) {
  const Case& c = GetParam();
  torch::manual_seed(9);
  const Tensor x = draw({5, 24}, c.compute), weight = draw({10, 24}, c.master);
  for (const bool of_weight : {false, true}) {
    x.set_requires_grad(!of_weight), weight.set_requires_grad(of_weight);
    apply_linear(x, {{weight, copy(weight)}}).sum().backward();
    EXPECT_EQ((of_weight ? weight : x).grad().defined(), true);
    EXPECT_EQ((of_weight ? x : weight).grad().defined(), false);
    x.mutable_grad() = Tensor(), weight.mutable_grad() = Tensor();
  }
  x.set_requires_grad(false), weight.set_requires_grad(false);
  EXPECT_FALSE(apply_linear(x, {{weight, copy(weight)}}).requires_grad());
}

/// Three layers of one input, the middle one without a bias.
struct Layers {
  Tensors parameters;  // weights, then biases
  std::vector<LinearWeights> weights;
};

Layers draw_layers(const std::function<Tensor(std::vector<int64_t>, torch::ScalarType)>& draw,
                   const std::function<Tensor(const Tensor&)>& copy, torch::ScalarType type) {
  const Tensor q = draw({10, 24}, type), k = draw({6, 24}, type), v = draw({33, 24}, type);
  const Tensor q_bias = draw({10}, type), v_bias = draw({33}, type);
  return {{q, k, v, q_bias, v_bias},
          {{{q, copy(q)}, {q_bias, copy(q_bias)}},
           {{k, copy(k)}},
           {{v, copy(v)}, {v_bias, copy(v_bias)}}}};
}

TEST_P(Linear, layers_of_one_input_equal_each_alone) {
  const Case& c = GetParam();
  torch::manual_seed(13);
  for (const int64_t T : {1, 7, 40}) {
    const Tensor x = draw({2, T, 24}, c.compute);
    const Layers layers = draw_layers(draw, copy, c.master);
    Tensors inputs = layers.parameters, apart, dy;
    inputs.push_back(x);
    for (const LinearWeights& layer : layers.weights) {
      apart.push_back(apply_linear(x, layer));
      dy.push_back(draw(apart.back().sizes().vec(), c.compute).detach());
    }
    const Tensors together = apply_linears(x, layers.weights);
    ASSERT_EQ(together.size(), apart.size());
    for (size_t i = 0; i < apart.size(); ++i) {
      EXPECT_TRUE(together[i].is_contiguous());
      EXPECT_TRUE(torch::equal(together[i], apart[i])) << "output " << i;
    }
    const Tensors found = torch::autograd::grad(together, inputs, dy);
    const Tensors expected = torch::autograd::grad(apart, inputs, dy);
    for (size_t i = 0; i < inputs.size(); ++i) {
      EXPECT_EQ(found[i].scalar_type(), expected[i].scalar_type()) << i;
      EXPECT_LT(relative_rms(found[i], expected[i]), c.tolerance) << "gradient " << i;
    }
  }
}

TEST_P(Linear, layers_of_one_input_sum_its_gradient) {
  const Case& c = GetParam();
  torch::manual_seed(14);
  const Tensor x = draw({40, 24}, c.compute);
  const Layers layers = draw_layers(draw, copy, c.master);
  const Tensors outputs = apply_linears(x, layers.weights);
  Tensors dy;
  Tensor expected = torch::zeros({40, 24}, torch::kFloat64);
  for (size_t i = 0; i < outputs.size(); ++i) {
    dy.push_back(draw(outputs[i].sizes().vec(), c.compute).detach());
    expected += torch::mm(wide(dy[i]), wide(layers.weights[i].weight.master));
  }
  EXPECT_LT(relative_rms(torch::autograd::grad(outputs, {x}, dy)[0], expected), c.tolerance);
}

TEST_P(Linear, layers_of_one_input_give_only_gradients_that_are_needed) {
  const Case& c = GetParam();
  torch::manual_seed(15);
  for (int needed = 0; needed < 64; ++needed) {  // one bit a parameter, one for x
    const Tensor x = draw({17, 24}, c.compute);
    const Layers layers = draw_layers(draw, copy, c.master);
    Tensors inputs = layers.parameters;
    inputs.push_back(x);
    for (size_t i = 0; i < inputs.size(); ++i) inputs[i].set_requires_grad((needed >> i) % 2 == 1);
    const Tensors outputs = apply_linears(x, layers.weights);
    Tensor sum;
    for (size_t i = 0; i < outputs.size(); ++i) {
      const LinearWeights& layer = layers.weights[i];
      EXPECT_EQ(outputs[i].requires_grad(),
                x.requires_grad() || layer.weight.master.requires_grad() ||
                    (layer.bias.defined() && layer.bias.master.requires_grad()));
      if (!outputs[i].requires_grad()) continue;
      sum = sum.defined() ? sum + outputs[i].sum() : outputs[i].sum();
    }
    EXPECT_EQ(sum.defined(), needed != 0);
    if (sum.defined()) sum.backward();
    for (const Tensor& input : inputs) {
      EXPECT_EQ(input.grad().defined(), input.requires_grad()) << needed;
    }
  }
}

TEST_P(Linear, an_output_that_nobody_uses_adds_nothing) {
  const Case& c = GetParam();
  torch::manual_seed(16);
  const Tensor x = draw({17, 24}, c.compute);
  const Layers layers = draw_layers(draw, copy, c.master);
  for (size_t used = 0; used < 3; ++used) {
    const LinearWeights& layer = layers.weights[used];
    const Tensor alone = apply_linear(x, layer);
    const Tensor dx = results(alone, {x})[1];
    EXPECT_TRUE(torch::equal(results(apply_linears(x, layers.weights)[used], {x})[1], dx)) << used;
    apply_linears(x, layers.weights)[used].sum().backward();
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(layers.weights[i].weight.master.grad().defined(), i <= used) << used;
    }
  }
}

TEST_P(Linear, head_adds_to_the_gradient_that_is_there) {
  const Case& c = GetParam();
  torch::manual_seed(10);
  const Tensor weight = draw({33, 24}, c.master);
  const Weight head{weight, copy(weight)};
  EXPECT_EQ(head.in_type(c.compute).scalar_type(), c.compute);
  EXPECT_FALSE(head.in_type(c.compute).requires_grad());
  Tensor expected = torch::zeros({33, 24}, torch::kFloat64);
  Tensor place;
  for (const int64_t N : {50, 1, 17}) {
    const Tensor dz = draw({N, 33}, c.compute).detach(), h = draw({N, 24}, c.compute).detach();
    add_weight_gradient(head, dz, h);
    expected += torch::mm(wide(dz).t(), wide(h));
    EXPECT_LT(relative_rms(weight.grad(), expected), c.tolerance);
    EXPECT_EQ(weight.grad().scalar_type(), c.master);
    EXPECT_TRUE(weight.grad().is_contiguous());
    if (!place.defined()) place = weight.grad();
    EXPECT_EQ(weight.grad().data_ptr(), place.data_ptr());
  }
}

TEST_P(Linear, embedding_gradient_has_the_type_of_the_table) {
  const Case& c = GetParam();
  torch::manual_seed(11);
  const double tolerance = c.master == torch::kBFloat16 ? 0.05 : c.tolerance;  // sums in bfloat16
  for (const int64_t T : {3, 2000}) {  // libtorch sums a few ids and many ids in different ways
    const Tensor table = draw({7, 24}, c.master);
    const Tensor ids = torch::randint(7, {2, T}, torch::kInt64);
    const Tensor like = wide(table);
    const Tensors found =
        results(embedding({table, copy(table)}, ids.to(c.device)).to(c.compute), {table});
    const Tensors expected = results(torch::embedding(like, ids), {like});
    EXPECT_EQ(found[1].scalar_type(), c.master);
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_LT(relative_rms(found[i], expected[i]), tolerance) << i;
    }
  }
}

constexpr auto kFloat64 = torch::kFloat64, kFloat32 = torch::kFloat32;
constexpr auto kBFloat16 = torch::kBFloat16;

INSTANTIATE_TEST_SUITE_P(
    places, Linear,
    testing::Values(Case{"cpu_float64", torch::kCPU, kFloat64, kFloat64, false, 1e-13},
                    Case{"cpu_float32", torch::kCPU, kFloat32, kFloat32, false, 1e-6},
                    Case{"cpu_bfloat16", torch::kCPU, kBFloat16, kBFloat16, false, 5e-3},
                    Case{"cpu_mixed", torch::kCPU, kBFloat16, kFloat32, false, 5e-3},
                    Case{"cpu_copies", torch::kCPU, kBFloat16, kFloat32, true, 5e-3},
                    Case{"cuda_float32", torch::kCUDA, kFloat32, kFloat32, false, 1e-5},
                    Case{"cuda_bfloat16", torch::kCUDA, kBFloat16, kBFloat16, false, 5e-3},
                    Case{"cuda_mixed", torch::kCUDA, kBFloat16, kFloat32, false, 5e-3},
                    Case{"cuda_copies", torch::kCUDA, kBFloat16, kFloat32, true, 5e-3}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(LinearWeights, gradient_on_a_gpu_is_not_rounded_to_bfloat16) {
  HYPENET_SKIP_WITHOUT_GPU();
  torch::manual_seed(12);
  const auto options = torch::TensorOptions(torch::kBFloat16).device(torch::kCUDA);
  const Tensor x = torch::randn({200, 64}, options), dy = torch::randn({200, 48}, options);
  const Tensor weight = torch::randn({48, 64}, options).to(kFloat32).requires_grad_();
  apply_linear(x, {weight}).backward(dy);
  const Tensor expected = torch::mm(dy.to(kFloat64).t(), x.to(kFloat64));
  EXPECT_LT(relative_rms(weight.grad(), expected), 1e-6);
}

TEST(LinearWeights, takes_inputs_of_any_strides) {
  torch::manual_seed(9);
  const Tensor x = torch::randn({30, 20, 16}).transpose(0, 1), weight = torch::randn({8, 16});
  EXPECT_TRUE(torch::allclose(apply_linear(x, {weight}), torch::matmul(x, weight.t()), 1e-5, 1e-5));
  const Tensor a = torch::randn({33, 50}), b = torch::randn({33, 17});
  const Tensor expected = torch::mm(a.t(), b);
  EXPECT_LT((product(a.t(), b.t()) - expected).abs().max().item<float>(), 1e-5);
  EXPECT_LT((product(b.t(), a.t()) - expected.t()).abs().max().item<float>(), 1e-5);
}

// oneDNN's reference code, which is a hundred times slower, sums in another order.
TEST(LinearWeights, parts_of_wider_tensors_give_the_bits_of_their_copies) {
  torch::manual_seed(8);
  const Tensor wide = torch::randn({64, 300}), factor = torch::randn({48, 100});
  const Tensor part = wide.narrow(1, 100, 100);
  const Tensor expected = product(part.contiguous(), factor);
  EXPECT_TRUE(torch::equal(product(part, factor), expected));
  EXPECT_TRUE(torch::equal(product(factor, part), product(factor, part.contiguous())));
  const Tensor gradient = torch::randn({64, 32});
  EXPECT_TRUE(
      torch::equal(product(gradient.t(), part.t()), product(gradient.t(), part.contiguous().t())));
}

TEST(LinearWeights, other_sizes_are_named) {
  EXPECT_ERROR(apply_linear(torch::zeros({2, 4}), {torch::zeros({3, 5})}),
               "linear: expected x [..., 5] for a weight of shape [3, 5], found [2, 4]");
  const std::vector<LinearWeights> layers = {{torch::zeros({3, 4})}, {torch::zeros({3, 5})}};
  EXPECT_ERROR(apply_linears(torch::zeros({2, 4}), layers),
               "linear: expected x [..., 5] for a weight of shape [3, 5], found [2, 4]");
}

}  // namespace
}  // namespace hypenet
