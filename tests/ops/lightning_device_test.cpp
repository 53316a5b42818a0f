// Lightning attention on every device and type it has a fast path for, against the float64
// definition: outputs, final states and every gradient; packed sequences too.
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>

#include "ops/lightning.h"
#include "ops/recurrence.h"
#include "ops/reference/recurrence.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

struct Target {
  const char* name;
  torch::DeviceType device;
  torch::ScalarType type;
  double tolerance;  // of RMS(error) / RMS(reference)
};

const Target kCpu = {"cpu_float32", torch::kCPU, torch::kFloat32, 1e-5};
const Target kGpu = {"cuda_bfloat16", torch::kCUDA, torch::kBFloat16, 5e-3};
const Target kGpuWide = {"cuda_float32", torch::kCUDA, torch::kFloat32, 1e-5};

struct Case {
  Target target;
  int64_t B, T, H, d;
  bool has_state = true;
  double decay = 0;                   // of all heads; 0: the model's slopes
  std::vector<int64_t> offsets = {};  // packed sequences
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.target.name << "_B" << c.B << "_T" << c.T << "_H" << c.H << "_d" << c.d
       << (c.has_state ? "_state" : "");
  if (c.decay > 0) *out << "_decay" << c.decay;
  for (const int64_t offset : c.offsets) *out << "_" << offset;
}

Recurrence make_input(const Case& c) {
  torch::manual_seed(c.T * 1000 + c.H * 10 + c.d);
  const auto draw = [&](torch::IntArrayRef shape, torch::ScalarType type) {
    return torch::randn(shape).to(type).to(c.target.device).requires_grad_();
  };
  const std::vector<int64_t> shape = {c.B, c.T, c.H, c.d};
  Recurrence input{.q = draw(shape, c.target.type),
                   .k = draw(shape, c.target.type),
                   .v = draw(shape, c.target.type)};
  input.decay = c.decay > 0 ? torch::full({c.H}, c.decay) : lightning_decay(c.H);
  input.decay = input.decay.to(c.target.device);
  input.scale = 1 / std::sqrt(static_cast<double>(c.d));
  const auto N = c.offsets.empty() ? c.B : static_cast<int64_t>(c.offsets.size()) - 1;
  if (c.has_state) input.state = draw({N, c.H, c.d, c.d}, torch::kFloat32);
  if (!c.offsets.empty()) {
    input.offsets = torch::tensor(c.offsets, torch::kInt32).to(c.target.device);
  }
  return input;
}

/// Output, final state and gradients for fixed random cotangents.
std::vector<Tensor> results(const RecurrenceOutput& out, const Recurrence& input) {
  torch::manual_seed(7);
  const Tensor weight = torch::randn(out.output.sizes()).to(out.output.device());
  const Tensor state_weight = torch::randn(out.state.sizes()).to(out.output.device());
  std::vector<Tensor> leaves = {input.q, input.k, input.v};
  if (input.state.defined()) leaves.push_back(input.state);
  std::vector<Tensor> all = {out.output.detach(), out.state.detach()};
  // Cotangents that bfloat16 holds exactly: their rounding is not the kernel's error.
  const Tensor rounded = weight.to(torch::kBFloat16);
  for (const Tensor& gradient : torch::autograd::grad(
           {out.output, out.state}, leaves,
           {rounded.to(out.output.scalar_type()), state_weight.to(out.state.scalar_type())})) {
    all.push_back(gradient);
  }
  return all;
}

Recurrence widened(const Recurrence& input) {
  Recurrence wide = input;
  for (Tensor* x : {&wide.q, &wide.k, &wide.v, &wide.state}) {
    if (x->defined()) *x = x->detach().to(torch::kFloat64).requires_grad_();
  }
  wide.decay = input.decay.to(torch::kFloat64);
  return wide;
}

class LightningDevice : public testing::TestWithParam<Case> {};

TEST_P(LightningDevice, agrees_with_its_definition) {
  const Case& c = GetParam();
  if (c.target.device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
  const Recurrence input = make_input(c), wide = widened(input);
  std::vector<Tensor> found;
  {
    const NanFilledMemory nan_filled;
    found = results(recurrence_chunked(input), input);
  }
  const std::vector<Tensor> expected = results(reference::recurrence_quadratic(wide), wide);
  const char* names[] = {"output", "state", "dq", "dk", "dv", "dstate"};
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_LT(relative_rms(found[i], expected[i]), c.target.tolerance) << names[i];
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const int64_t T : {1, 2, 63, 64, 65, 127, 129, 1000, 1024, 1025, 2047, 2048}) {
    for (const int64_t d : {64, 128}) {
      all.push_back({kGpu, 2, T, 3, d});
      all.push_back({kGpu, 1, T, 4, d, false});
    }
    all.push_back({kGpuWide, 1, T, 2, 64});
  }
  // Several segments, with slopes whose reach is shorter and longer than one.
  for (const int64_t d : {64, 128}) {
    all.push_back({kGpu, 1, 4500, 16, d});
    all.push_back({kGpu, 1, 3333, 2, d, true, 1e-5});
    all.push_back({kGpu, 1, 3333, 2, d, true, 3e-3});
    all.push_back({kGpu, 1, 3000, 2, d, false, 1e-3});
    all.push_back({kGpu, 1, 200, 2, d, true, 30.0});
  }
  // Head sizes without a kernel take tensor code.
  all.push_back({kGpu, 1, 100, 2, 32});
  all.push_back({kGpuWide, 1, 100, 2, 48});
  const std::vector<std::vector<int64_t>> packings = {
      {0, 1, 64, 65, 65, 200}, {0, 300}, {0, 1500, 1501, 2900}, {0, 0, 130, 130}};
  for (const auto& offsets : packings) {
    all.push_back({kCpu, 1, offsets.back(), 2, 32, true, 0, offsets});
    all.push_back({kCpu, 1, offsets.back(), 2, 16, false, 0, offsets});
    for (const int64_t d : {64, 128}) {
      all.push_back({kGpu, 1, offsets.back(), 3, d, true, 0, offsets});
      all.push_back({kGpu, 1, offsets.back(), 3, d, false, 0, offsets});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(sizes, LightningDevice, testing::ValuesIn(cases()));

TEST(LightningDeviceTest, gradients_without_a_final_state_are_those_of_the_output_alone) {
  HYPENET_SKIP_WITHOUT_GPU();
  Recurrence input = make_input({kGpu, 2, 700, 4, 128});
  const auto gradients = [&] {
    const Tensor output = recurrence_chunked(input).output;
    return torch::autograd::grad({output}, {input.q, input.k, input.v, input.state},
                                 {torch::ones_like(output)});
  };
  const auto with_state = gradients();
  input.needs_state = false;
  const auto without_state = gradients();
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(torch::equal(with_state[i], without_state[i])) << i;
}

TEST(LightningDeviceTest, views_that_are_not_contiguous_are_taken) {
  HYPENET_SKIP_WITHOUT_GPU();
  torch::manual_seed(3);
  const Tensor joined =
      torch::randn({2, 100, 3, 2, 64}).to(torch::kCUDA, torch::kBFloat16);  // q, k, v side by side
  Recurrence input{.q = joined.select(2, 0), .k = joined.select(2, 1), .v = joined.select(2, 2)};
  input.decay = lightning_decay(2).to(torch::kCUDA);
  const Tensor found = recurrence_chunked(input).output;
  for (Tensor* x : {&input.q, &input.k, &input.v}) *x = x->contiguous();
  EXPECT_TRUE(torch::equal(found, recurrence_chunked(input).output));
}

TEST(LightningErrors, packed_sequences_are_checked) {
  Recurrence input = make_input({kCpu, 1, 20, 2, 16, false, 0, {0, 5, 20}});
  input.offsets = torch::tensor({0, 5, 19}, torch::kInt32);
  EXPECT_ERROR(recurrence_chunked(input), "recurrence: offsets: expected 0 .. 20, found 0 .. 19");
  input.offsets = torch::tensor({0, 15, 5, 20}, torch::kInt64);
  EXPECT_ERROR(recurrence_chunked(input), "recurrence: offsets: expected no decrease, found 15, 5");
  input.offsets = torch::tensor({0.0F, 20.0F});
  EXPECT_ERROR(recurrence_chunked(input), "recurrence: offsets: expected int32 or int64 [N + 1]");
}

}  // namespace
}  // namespace hypenet
