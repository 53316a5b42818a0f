// Tensors that move keep all but their place.
#include "ops/large_pages.h"

#include <gtest/gtest.h>

namespace hypenet {
namespace {

using torch::Tensor;

TEST(LargePages, tensors_keep_values_identity_and_gradients) {
  const Tensor wide = torch::randn({300, 7}), narrow = torch::randn({5, 3}).to(torch::kBFloat16);
  const Tensor transposed = torch::randn({4, 6}).t(), empty = torch::empty({0, 2});
  const Tensor trained = torch::randn({33}).requires_grad_();
  const std::vector<Tensor> tensors = {wide, narrow, transposed, empty, trained};
  std::vector<Tensor> expected;
  for (const Tensor& x : tensors) expected.push_back(x.detach().clone());
  const void* const before = wide.const_data_ptr();
  move_to_large_pages(tensors);
  EXPECT_NE(wide.const_data_ptr(), before);
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_TRUE(torch::equal(tensors[i], expected[i])) << i;
    EXPECT_EQ(tensors[i].scalar_type(), expected[i].scalar_type());
    EXPECT_TRUE(tensors[i].is_contiguous());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensors[i].const_data_ptr()) % 64, 0U);
  }
  EXPECT_TRUE(trained.requires_grad());
  (trained * trained).sum().backward();
  EXPECT_TRUE(torch::equal(trained.grad(), 2 * trained.detach()));
}

TEST(LargePages, memory_lives_as_long_as_its_last_tensor) {
  Tensor last;
  {
    const std::vector<Tensor> tensors = {torch::randn({1000}), torch::full({1000}, 3.0)};
    move_to_large_pages(tensors);
    last = tensors[1];
  }
  EXPECT_EQ(last.sum().item<float>(), 3000);
}

TEST(LargePages, a_tensor_named_twice_stays_one) {
  const Tensor tied = torch::arange(10.0);
  const std::vector<Tensor> tensors = {tied, tied};
  move_to_large_pages(tensors);
  EXPECT_TRUE(torch::equal(tied, torch::arange(10.0)));
}

}  // namespace
}  // namespace hypenet
