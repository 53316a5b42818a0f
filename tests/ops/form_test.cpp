// Which form each op takes, and what no kernel takes.
#include "ops/form.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "kernels/device.h"
#include "ops/attention_step.h"
#include "ops/lightning_step.h"
#include "ops/linear_step.h"
#include "ops/recurrence.h"
#include "ops/stream.h"
#include "tests/support/compare.h"

namespace hypenet {
namespace {

constexpr int64_t kRows = 2, kHeads = 4, kKeyHeads = 2, kSize = 64, kWidth = kHeads * kSize;

/// The form of each op for inputs of this type, all of one usual layer.
std::vector<Form> forms(torch::Device device, torch::ScalarType type) {
  const auto options = torch::TensorOptions().device(device).dtype(type);
  const auto floats = options.dtype(torch::kFloat32), integers = options.dtype(torch::kInt32);
  const Tensor q = torch::zeros({kRows, kWidth}, options);
  const Tensor k = torch::zeros({kRows, kKeyHeads * kSize}, options);
  const Tensor weight = torch::ones({kSize}, options), decay = torch::ones({kHeads}, floats);
  const RopeAngles angles{torch::ones({kRows, kSize / 2}, floats),
                          torch::zeros({kRows, kSize / 2}, floats)};
  const std::vector<LinearWeights> layers = {{torch::zeros({8, kWidth}, options)}};
  const Tensor pages = torch::zeros({kRows, 64, kKeyHeads, kSize}, options);
  const auto sums = type == torch::kFloat64 ? options : floats;
  const Tensor heads = q.view({1, kRows, kHeads, kSize}), keys = heads.narrow(2, 0, kKeyHeads);
  return {form_of(LinearStepInput{.x = q, .layers = layers}),
          form_of(AttentionStepInput{.q = q,
                                     .k = k,
                                     .v = k,
                                     .q_weight = weight,
                                     .k_weight = weight,
                                     .angles = angles,
                                     .cache = {pages, pages},
                                     .page_table = torch::zeros({kRows, 1}, integers),
                                     .slots = torch::zeros({kRows}, integers),
                                     .positions = torch::zeros({kRows}, integers)}),
          form_of(LightningStepInput{.q = q,
                                     .k = k,
                                     .v = k,
                                     .q_weight = weight,
                                     .k_weight = weight,
                                     .angles = angles,
                                     .decay = decay,
                                     .state = torch::zeros({kRows, kHeads, kSize, kSize}, sums)}),
          form_of(Recurrence{.q = heads, .k = heads, .v = heads, .decay = decay}),
          form_of_attention(heads, keys, keys),
          form_of_gate(q, q),
          form_of_norm(heads, weight),
          form_of_rope(heads, angles)};
}

void expect_all(const std::vector<Form>& found, Form expected) {
  for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i], expected) << "op " << i;
}

TEST(Form, a_cpu_has_kernels_for_float32_alone) {
  expect_all(forms(torch::kCPU, torch::kFloat32), Form::kCpu);
  expect_all(forms(torch::kCPU, torch::kFloat64), Form::kComposed);
  expect_all(forms(torch::kCPU, torch::kBFloat16), Form::kComposed);
}

TEST(Form, a_gpu_has_kernels_for_bfloat16) {
  HYPENET_SKIP_WITHOUT_GPU();
  expect_all(forms(torch::kCUDA, torch::kBFloat16), Form::kDevice);
}

TEST(Form, a_few_last_queries_and_padding_take_no_kernel_on_a_cpu) {
  const Tensor q = torch::zeros({1, 2, kHeads, kSize}), k = torch::zeros({1, 5, kHeads, kSize});
  EXPECT_EQ(form_of_attention(q, k, k), Form::kComposed);
  EXPECT_EQ(form_of_attention(k, k, k, torch::zeros({1}, torch::kInt64)), Form::kComposed);
}

TEST(Form, kernels_take_no_type_for_another) {
  EXPECT_EQ(kernel_type(torch::zeros({1})), kernels::DType::kFloat32);
  EXPECT_EQ(kernel_type(torch::zeros({1}, torch::kBFloat16)), kernels::DType::kBFloat16);
  for (const auto type : {torch::kFloat16, torch::kFloat64, torch::kInt8}) {
    EXPECT_THROW(kernel_type(torch::zeros({1}, type)), Error);
  }
}

TEST(Form, a_stream_is_settled_while_it_is_promised) {
  HYPENET_SKIP_WITHOUT_GPU();
  const Tensor x = torch::zeros({1}, torch::kCUDA);
  EXPECT_FALSE(current_stream(x).is_settled);
  {
    const SettledStream settled;
    EXPECT_TRUE(current_stream(x).is_settled);
  }
  EXPECT_FALSE(current_stream(x).is_settled);
}

TEST(Form, every_kernel_of_an_empty_table_says_so) {
  if (kernels::has_cuda_kernels()) GTEST_SKIP() << "a program with device kernels";
  const kernels::DeviceKernels& table = kernels::device_kernels();
  EXPECT_STREQ(table.rope({}, {}).error, "this program was built without CUDA kernels");
  EXPECT_STREQ(table.sample_tokens({}, nullptr, {}).error,
               "this program was built without CUDA kernels");
  EXPECT_FALSE(table.has_lightning(kSize));
  EXPECT_EQ(table.attention_step_floats({}), 0);
}

}  // namespace
}  // namespace hypenet
