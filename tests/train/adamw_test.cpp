// AdamW and its schedule against their definitions.
#include "train/adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

Tensor parameter(std::vector<int64_t> shape) {
  return torch::randn(shape, torch::kFloat32).requires_grad_();
}

/// One update with a loss that is as it should be.
void update(AdamW& optimizer, double rate) {
  optimizer.set_learning_rate(rate);
  optimizer.inspect(torch::zeros({}));
  optimizer.step();
}

/// The published update (Loshchilov and Hutter 2019, algorithm 2) of one tensor, in float64.
class PlainAdamW {
 public:
  explicit PlainAdamW(const Tensor& start) : value(start.detach().to(torch::kFloat64)) {
    first_ = torch::zeros_like(value), second_ = torch::zeros_like(value);
  }
  void step(const Tensor& gradient, double rate, const OptimizerConfig& config) {
    const Tensor g = gradient.to(torch::kFloat64);
    ++updates_;
    first_ = first_ * config.beta1 + g * (1 - config.beta1);
    second_ = second_ * config.beta2 + g * g * (1 - config.beta2);
    const Tensor m = first_ / (1 - std::pow(config.beta1, updates_));
    const Tensor v = second_ / (1 - std::pow(config.beta2, updates_));
    value = value * (1 - rate * config.weight_decay) - rate * m / (v.sqrt() + config.epsilon);
  }
  Tensor value;

 private:
  Tensor first_, second_;
  int updates_ = 0;
};

TEST(AdamW, follows_the_published_update) {
  torch::manual_seed(1);
  OptimizerConfig config;
  config.weight_decay = 0.1, config.clip = 0;
  Tensor w = parameter({5, 3});
  PlainAdamW plain(w);
  AdamW optimizer({{"w", w}}, config);
  for (int step = 0; step < 20; ++step) {
    optimizer.zero_gradients();
    w.mutable_grad() = torch::randn_like(w).detach();
    plain.step(w.grad(), 1e-2, config);
    update(optimizer, 1e-2);
  }
  EXPECT_TRUE(torch::allclose(w.detach().to(torch::kFloat64), plain.value, 1e-5, 1e-6));
}

TEST(AdamW, each_parameter_takes_its_share_of_the_rate) {
  torch::manual_seed(2);
  OptimizerConfig config;
  config.weight_decay = 0.1, config.clip = 0;
  config.rates = {{"mlp", 0.1}, {"down", 0.5}};
  const std::map<std::string, double> shares = {
      {"0.mlp.up", 0.1}, {"0.mlp.down", 0.05}, {"0.q", 1}, {"1.q", 1}};
  NamedTensors parameters;
  std::map<std::string, PlainAdamW> plain;
  for (const auto& [name, share] : shares) {
    parameters.emplace_back(name, parameter({4, 3}));
    plain.emplace(name, parameters.back().second);
  }
  AdamW optimizer(parameters, config);
  for (int step = 0; step < 10; ++step) {
    const double rate = 1e-2 / (step + 1);
    optimizer.zero_gradients();
    for (auto& [name, w] : parameters) {
      w.mutable_grad() = torch::randn_like(w).detach();
      plain.at(name).step(w.grad(), shares.at(name) * rate, config);
    }
    update(optimizer, rate);
  }
  for (const auto& [name, w] : parameters) {
    EXPECT_TRUE(torch::allclose(w.detach().to(torch::kFloat64), plain.at(name).value, 1e-5, 1e-6))
        << name;
  }
}

TEST(AdamW, what_decays_are_made_of_is_not_decayed_itself) {
  OptimizerConfig config;
  config.weight_decay = 0.5, config.clip = 0;
  NamedTensors parameters = {{"model.layers.0.self_attn.A_log", parameter({3})},
                             {"model.layers.0.self_attn.a_proj.weight", parameter({3, 3})}};
  std::vector<Tensor> expected;
  for (auto& [name, w] : parameters) {
    w.mutable_grad() = torch::zeros_like(w).detach();
    expected.push_back(w.detach() * (expected.empty() ? 1 : 1 - 0.1 * 0.5));
  }
  AdamW optimizer(parameters, config);
  update(optimizer, 0.1);
  for (size_t i = 0; i < parameters.size(); ++i) {
    EXPECT_TRUE(torch::allclose(parameters[i].second, expected[i], 1e-6)) << parameters[i].first;
  }
}

TEST(AdamW, clips_the_joint_norm_and_returns_the_one_before) {
  Tensor a = parameter({2}), b = parameter({1});
  AdamW optimizer({{"a", a}, {"b", b}}, {});
  a.mutable_grad() = torch::tensor({3.0f, 0.0f});
  b.mutable_grad() = torch::tensor({4.0f});
  EXPECT_FLOAT_EQ(optimizer.inspect(torch::zeros({})).item<float>(), 5);
  optimizer.step();
  EXPECT_NEAR(a.grad()[0].item<float>(), 0.6, 1e-5);
  EXPECT_NEAR(b.grad()[0].item<float>(), 0.8, 1e-5);
  a.mutable_grad() = torch::tensor({0.3f, 0.0f});
  b.mutable_grad() = torch::tensor({0.4f});
  update(optimizer, 1e-3);
  EXPECT_FLOAT_EQ(a.grad()[0].item<float>(), 0.3f) << "a gradient below the limit is left alone";
}

TEST(AdamW, a_clipped_update_is_that_of_the_scaled_gradient) {
  torch::manual_seed(3);
  Tensor a = parameter({7}), b = a.detach().clone().requires_grad_();
  AdamW clipped({{"a", a}}, {}), plain({{"b", b}}, {});
  for (int step = 0; step < 3; ++step) {
    const Tensor gradient = torch::randn({7});
    a.mutable_grad() = gradient * 100;
    b.mutable_grad() = gradient / gradient.norm();
    update(clipped, 1e-2);
    update(plain, 1e-2);
  }
  EXPECT_TRUE(torch::allclose(a, b, 1e-5, 1e-6));
}

TEST(AdamW, nothing_moves_from_the_first_number_on_that_is_not_finite) {
  const float kNan = std::nanf(""), kInfinity = std::numeric_limits<float>::infinity();
  for (const auto& [loss, gradient] : {std::pair{kNan, 1.0f}, {kInfinity, 1.0f}, {1.0f, kNan}}) {
    Tensor a = parameter({3});
    AdamW optimizer({{"a", a}}, {});
    a.mutable_grad() = torch::ones({3});
    update(optimizer, 1e-2);
    std::vector<TensorPart> before = optimizer.state();
    for (TensorPart& part : before) part.values = part.values.clone();
    a.mutable_grad() = torch::full({3}, gradient);
    optimizer.inspect(torch::full({}, loss));
    optimizer.step();
    a.mutable_grad() = torch::ones({3});
    update(optimizer, 1e-2);
    const std::vector<TensorPart> after = optimizer.state();
    for (size_t i = 0; i < before.size(); ++i) {
      EXPECT_TRUE(torch::equal(before[i].values, after[i].values)) << before[i].name;
    }
  }
}

TEST(AdamW, a_parameter_without_gradient_stays) {
  Tensor a = parameter({2}), b = parameter({2});
  const Tensor before = b.detach().clone();
  AdamW optimizer({{"a", a}, {"b", b}}, {});
  a.mutable_grad() = torch::ones({2});
  update(optimizer, 0.1);
  EXPECT_TRUE(torch::equal(b, before));
  EXPECT_FALSE(torch::equal(a, torch::zeros({2})));
}

TEST(AdamW, goes_on_from_a_saved_state_bit_for_bit) {
  const TemporaryFolder folder;
  torch::manual_seed(2);
  Tensor a = parameter({4});
  AdamW first({{"a", a}}, {});
  const auto step = [](AdamW& optimizer, Tensor& tensor, float gradient) {
    tensor.mutable_grad() = torch::full({4}, gradient);
    update(optimizer, 1e-2);
  };
  step(first, a, 1);
  {
    PartsFile file(folder / "state", first.state(), {}, /*makes=*/true);
    file.write(first.state());
    file.commit();
  }
  Tensor b = torch::zeros({4}).requires_grad_();
  AdamW second({{"a", b}}, {});
  second.load_state(SafetensorsFile(folder / "state"), "state");
  step(first, a, -2);
  step(second, b, -2);
  EXPECT_TRUE(torch::equal(a, b));
  Tensor c = torch::zeros({5}).requires_grad_();
  AdamW other({{"a", c}}, {});
  EXPECT_ERROR(other.load_state(SafetensorsFile(folder / "state"), "state"),
               "tensor parameter/a: expected shape [5]");
}

TEST(LearningRate, warms_up_then_falls_along_a_cosine_to_the_final_rate) {
  OptimizerConfig config;
  config.peak_lr = 1, config.final_lr = 0.1, config.warmup_steps = 10;
  EXPECT_DOUBLE_EQ(learning_rate(config, 0, 111), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(config, 9, 111), 1);
  EXPECT_DOUBLE_EQ(learning_rate(config, 10, 111), 1);
  EXPECT_NEAR(learning_rate(config, 60, 111), 0.55, 1e-12);
  EXPECT_DOUBLE_EQ(learning_rate(config, 110, 111), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(config, 4, 5), 0.5) << "a run shorter than its warm-up";
}

}  // namespace
}  // namespace hypenet
