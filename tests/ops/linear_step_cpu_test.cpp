// The CPU form of linear_step against its definition in float64, and its promise: a row's bits do
// not depend on the other rows, nor on the threads.
#include <gtest/gtest.h>

#include "ops/form.h"
#include "ops/linear_step.h"
#include "tests/ops/rounded_rows.h"
#include "tests/support/compare.h"

namespace hypenet {
namespace {

struct Case {
  int64_t N, K;
  std::vector<int64_t> out;
  torch::ScalarType type = torch::kBFloat16;  // of the weights
  bool has_norm = false, has_gate = false, has_bias = false;
  bool is_swiglu = false, has_residual = false;
};

const Case kCases[] = {
    {.N = 1, .K = 576, .out = {576, 192, 192}, .has_norm = true},
    {.N = 1, .K = 1536, .out = {576}, .has_residual = true},
    {.N = 3, .K = 64, .out = {16, 33, 7, 1}, .has_norm = true, .has_bias = true},
    {.N = 7, .K = 31, .out = {5}, .has_gate = true, .has_residual = true},
    {.N = 65, .K = 130, .out = {257}, .has_norm = true, .has_gate = true, .has_bias = true},
    {.N = 18, .K = 200, .out = {70, 70}, .has_norm = true, .has_bias = true, .is_swiglu = true},
    {.N = 1, .K = 1, .out = {1}},
    {.N = 0, .K = 32, .out = {16, 16}},
    {.N = 1, .K = 577, .out = {100}, .type = torch::kFloat32, .has_norm = true},
    {.N = 6, .K = 96, .out = {48, 48}, .type = torch::kFloat32, .is_swiglu = true},
    {.N = 37,
     .K = 50,
     .out = {19},
     .type = torch::kFloat32,
     .has_bias = true,
     .has_residual = true}};

std::string text(const Case& c) {
  return c10::str("N ", c.N, " K ", c.K, " out ", c.out, " ", c.type, c.has_norm ? " norm" : "",
                  c.has_gate ? " gate" : "", c.has_bias ? " bias" : "",
                  c.is_swiglu ? " swiglu" : "", c.has_residual ? " residual" : "");
}

/// Tensors that a LinearStepInput looks at.
struct Drawn {
  explicit Drawn(const Case& c) {
    for (const int64_t out : c.out) {
      layers.push_back({torch::randn({out, c.K}).to(c.type)});
      if (c.has_bias) layers.back().bias = torch::randn({out}).to(c.type);
    }
    input.x = torch::randn({c.N, c.K});
    if (c.has_norm) input.norm_weight = (1 + 0.3 * torch::randn({c.K})).to(c.type);
    if (c.has_gate) input.gate = torch::randn({c.N, c.K});
    if (c.has_residual) input.residual = torch::randn({c.N, c.out[0]});
    input.layers = layers, input.is_swiglu = c.is_swiglu;
  }
  Drawn(const Drawn&) = delete;

  /// The op's outputs for rows begin .. end - 1; with a residual what it becomes.
  std::vector<Tensor> rows(int64_t begin, int64_t end) const {
    LinearStepInput some = input;
    some.x = input.x.slice(0, begin, end);
    if (input.gate.defined()) some.gate = input.gate.slice(0, begin, end);
    if (!input.residual.defined()) return linear_step(some);
    some.residual = input.residual.slice(0, begin, end).clone();
    EXPECT_TRUE(linear_step(some).empty());
    return {some.residual};
  }
  std::vector<Tensor> all() const { return rows(0, input.x.size(0)); }

  std::vector<LinearWeights> layers;
  LinearStepInput input;
};

Tensor wide(const Tensor& x) { return x.to(torch::kFloat64); }

bool rounds_for(torch::ScalarType weights) {
  return rounds_rows(torch::kCPU, torch::kFloat32, weights);
}

double tolerance(const Case& c) {
  return rounds_for(c.type) && (c.has_norm || c.has_gate) ? kRoundedRowsTolerance : 1e-6;
}

std::vector<Tensor> defined_outputs(const LinearStepInput& input) {
  Tensor x = wide(input.x);
  if (input.norm_weight.defined()) {
    x = x / (x.square().mean(-1, true) + input.eps).sqrt() * wide(input.norm_weight);
  }
  if (input.gate.defined()) x = x * torch::sigmoid(wide(input.gate));
  std::vector<Tensor> outputs;
  for (const LinearWeights& layer : input.layers) {
    const Tensor& weight = layer.weight.read();
    const Tensor met = rounds_for(weight.scalar_type()) ? wide(x.to(torch::kBFloat16)) : x;
    outputs.push_back(torch::mm(met, wide(weight).t()));
    if (layer.bias.defined()) outputs.back() += wide(layer.bias.read());
  }
  if (input.is_swiglu) return {torch::silu(outputs[0]) * outputs[1]};
  if (input.residual.defined()) outputs[0] += wide(input.residual);
  return outputs;
}

void expect_same_bits(const std::vector<Tensor>& found, const std::vector<Tensor>& expected,
                      const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_TRUE(torch::equal(found[i], expected[i])) << what << " output " << i;
  }
}

class LinearStepCpu : public testing::Test {
 protected:
  LinearStepCpu() { torch::manual_seed(31); }
  ~LinearStepCpu() override { torch::set_num_threads(threads_); }

 private:
  int threads_ = torch::get_num_threads();
};

TEST_F(LinearStepCpu, equals_its_definition) {
  const NanFilledMemory nan_filled;
  for (const Case& c : kCases) {
    const Drawn drawn(c);
    ASSERT_EQ(form_of(drawn.input), Form::kCpu) << text(c);
    const std::vector<Tensor> found = drawn.all(), expected = defined_outputs(drawn.input);
    ASSERT_EQ(found.size(), expected.size()) << text(c);
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(found[i].scalar_type(), torch::kFloat32) << text(c);
      ASSERT_EQ(found[i].sizes(), expected[i].sizes()) << text(c);
      EXPECT_LT(relative_rms(found[i], expected[i]), tolerance(c)) << text(c);
    }
  }
}

TEST_F(LinearStepCpu, a_row_does_not_depend_on_other_rows) {
  for (const Case& c : kCases) {
    if (c.N == 0) continue;
    const Drawn drawn(c);
    std::vector<std::vector<Tensor>> parts;
    for (int64_t begin = 0, size = 1; begin < c.N; begin += size++) {
      parts.push_back(drawn.rows(begin, std::min(begin + size, c.N)));
    }
    std::vector<Tensor> joined;
    for (size_t i = 0; i < parts[0].size(); ++i) {
      std::vector<Tensor> rows;
      for (const auto& part : parts) rows.push_back(part[i]);
      joined.push_back(torch::cat(rows));
    }
    expect_same_bits(joined, drawn.all(), text(c));
  }
}

TEST_F(LinearStepCpu, bits_do_not_depend_on_threads_nor_on_the_layers_beside) {
  const Drawn drawn({.N = 5, .K = 608, .out = {333, 100, 1050}, .has_norm = true});
  torch::set_num_threads(1);
  const std::vector<Tensor> expected = drawn.all();
  torch::set_num_threads(3);
  expect_same_bits(drawn.all(), expected, "three threads");
  for (size_t i = 0; i < drawn.layers.size(); ++i) {
    LinearStepInput one = drawn.input;
    one.layers = {&drawn.layers[i], 1};
    expect_same_bits(linear_step(one), {expected[i]}, "one layer");
  }
}

TEST_F(LinearStepCpu, takes_slices) {
  const Drawn drawn({.N = 4, .K = 48, .out = {20}, .has_gate = true, .has_residual = true});
  const std::vector<Tensor> expected = drawn.all();
  LinearStepInput sliced = drawn.input;
  const Tensor joint = torch::cat({drawn.input.x, drawn.input.gate, drawn.input.residual}, 1);
  sliced.x = joint.narrow(1, 0, 48), sliced.gate = joint.narrow(1, 48, 48);
  sliced.residual = joint.narrow(1, 96, 20);
  EXPECT_TRUE(linear_step(sliced).empty());
  expect_same_bits({sliced.residual}, expected, "slices of one tensor");
  EXPECT_TRUE(torch::equal(joint.narrow(1, 0, 48), drawn.input.x));

  sliced = drawn.input;
  sliced.x = drawn.input.x.t().contiguous().t(),
  sliced.gate = drawn.input.gate.t().contiguous().t();
  sliced.residual = drawn.input.residual.t().contiguous().t();
  EXPECT_TRUE(linear_step(sliced).empty());
  expect_same_bits({sliced.residual}, expected, "transposed");
}

TEST_F(LinearStepCpu, weights_of_both_types_meet_in_one_call) {
  const Tensor x = torch::randn({3, 70});
  const std::vector<LinearWeights> layers = {{torch::randn({9, 70}).to(torch::kBFloat16)},
                                             {torch::randn({17, 70})}};
  const LinearStepInput input{.x = x, .layers = layers};
  const std::vector<Tensor> found = linear_step(input), expected = defined_outputs(input);
  for (size_t i = 0; i < 2; ++i) EXPECT_LT(relative_rms(found[i], expected[i]), 1e-6);
}

TEST_F(LinearStepCpu, suits_float32_rows_on_a_cpu) {
  const std::vector<LinearWeights> narrow = {{torch::zeros({4, 8}, torch::kBFloat16)}};
  const std::vector<LinearWeights> exact = {{torch::zeros({4, 8}, torch::kFloat64)}};
  const Tensor x = torch::zeros({2, 8});
  EXPECT_EQ(form_of(LinearStepInput{.x = x, .layers = narrow}), Form::kCpu);
  EXPECT_EQ(form_of(LinearStepInput{.x = x, .layers = exact}), Form::kComposed);
  EXPECT_EQ(form_of(LinearStepInput{.x = x.to(torch::kFloat64), .layers = exact}), Form::kComposed);
  EXPECT_EQ(form_of(LinearStepInput{.x = x.to(torch::kBFloat16), .layers = narrow}),
            Form::kComposed);
}

}  // namespace
}  // namespace hypenet
