// AWQ: which inputs can be scaled, that scaling them changes nothing, and that the factors are the
// best of the twenty.
#include "quantize/awq.h"

#include <gtest/gtest.h>

#include <limits>

#include "quantize/clip_search.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

using testing_support::tiny_hypenet_config;
using testing_support::tiny_teacher_config;

constexpr int64_t kTokens = 24;

CausalLm random_model(const ModelConfig& config) {
  torch::manual_seed(7);
  CausalLm model(config);
  for (Tensor& parameter : model->parameters()) {
    if (parameter.dim() > 1) parameter.set_data(parameter * 6);
    if (parameter.dim() == 1) {
      parameter.set_data(
          torch::randn(parameter.sizes()).exp().to(torch::kBFloat16).to(torch::kFloat32));
    }
  }
  model->begin_inference();
  return model;
}

Context context_of(CausalLm& model) {
  return model->context(torch::zeros({1, kTokens}, torch::kInt64));
}

/// "producer: readers" without the layer's prefix.
std::vector<std::string> named(const std::vector<InputFold>& folds) {
  std::vector<std::string> names;
  for (const InputFold& fold : folds) {
    std::string name = fold.producer.substr(std::string("model.layers.0.").size()) + ":";
    for (const LinearPlace& reader : fold.readers) {
      name += " " + reader.name.substr(reader.name.rfind('.') + 1);
    }
    names.push_back(name);
  }
  return names;
}

using Names = std::vector<std::string>;

TEST(InputFolds, a_transformer_folds_all_of_its_inputs) {
  const torch::NoGradGuard no_grad;
  CausalLm model = random_model(tiny_teacher_config());
  const auto folds = find_folds(model, 0, context_of(model), kTokens);
  EXPECT_EQ(named(folds),
            (Names{"input_layernorm: q_proj k_proj v_proj", "self_attn.v_proj: o_proj",
                   "post_attention_layernorm: gate_proj up_proj", "mlp.up_proj: down_proj"}));
  for (const InputFold& fold : folds) EXPECT_FALSE(fold.is_stored_plain);
  // Two heads of queries read each head of values.
  const Tensor expected = torch::arange(32).view({2, 1, 16}).expand({2, 2, 16}).flatten();
  EXPECT_TRUE(torch::equal(folds[1].output_of_column, expected));
}

TEST(InputFolds, a_hybrid_counts_its_gates_and_output_norms) {
  const torch::NoGradGuard no_grad;
  CausalLm model = random_model(tiny_hypenet_config());
  const Names lightning = {"input_layernorm: q_proj k_proj v_proj z_proj",
                           "self_attn.o_norm: o_proj",
                           "post_attention_layernorm: gate_proj up_proj", "mlp.up_proj: down_proj"};
  const Names attention = {"input_layernorm: q_proj k_proj v_proj o_gate",
                           "self_attn.v_proj: o_proj",
                           "post_attention_layernorm: gate_proj up_proj", "mlp.up_proj: down_proj"};
  const Context context = context_of(model);
  for (int64_t i = 0; i < 3; ++i) {
    const auto folds = find_folds(model, i, context, kTokens);
    EXPECT_EQ(named(folds), i == 1 ? attention : lightning);
    EXPECT_TRUE(folds[0].is_stored_plain);
    EXPECT_FALSE(folds[1].is_stored_plain);
  }
}

TEST(InputFolds, what_is_between_two_layers_is_asked_of_the_model) {
  const torch::NoGradGuard no_grad;
  // Without the output norm the values go through, and with queries' heads more than values'.
  ModelConfig config = tiny_hypenet_config();
  config.mixers.of<LightningConfig>().use_output_norm = false;
  config.mixers.of<LightningConfig>().nkv = 2;
  CausalLm model = random_model(config);
  const auto folds = find_folds(model, 0, context_of(model), kTokens);
  ASSERT_EQ(folds.size(), 4U);
  EXPECT_EQ(folds[1].producer, "model.layers.0.self_attn.v_proj");
  const Tensor expected = torch::arange(32).view({2, 1, 16}).expand({2, 2, 16}).flatten();
  EXPECT_TRUE(torch::equal(folds[1].output_of_column, expected));
}

void check_fold(const InputFold& fold, CausalLm& model, const Tensor& ids, const Tensor& expected) {
  const int64_t P = fold.parameters.begin()->second.size(0);
  const Tensor wanted = torch::rand({P}).mul(2).sub(1).exp();
  const Tensor factors = storable_factors(fold, wanted, torch::kBFloat16);
  EXPECT_LT((factors / wanted).log2().abs().max().item<float>(),
            fold.is_stored_plain ? 0.51 : 0.01);
  apply_fold(fold, factors);
  for (const auto& [name, parameter] : fold.parameters) {
    if (parameter.dim() > 1) continue;
    const Tensor stored = parameter.to(torch::kBFloat16).to(torch::kFloat32);
    EXPECT_TRUE(torch::allclose(parameter, stored, 1e-6, 0)) << name;
    Tensor(parameter).copy_(stored);
  }
  const Tensor found = model->forward(ids);
  EXPECT_LT((found - expected).norm().item<float>(), 1e-5 * expected.norm().item<float>())
      << fold.producer;
}

TEST(InputFolds, folded_models_are_the_same_in_float32_and_as_they_are_stored) {
  const torch::NoGradGuard no_grad;
  for (const ModelConfig& config : {tiny_teacher_config(), tiny_hypenet_config()}) {
    CausalLm model = random_model(config);
    const Tensor ids = torch::randint(64, {2, 40}, torch::kInt64);
    const Tensor expected = model->forward(ids);
    const Context context = context_of(model);
    for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
      const auto folds = find_folds(model, i, context, kTokens);
      EXPECT_TRUE(torch::equal(model->forward(ids), expected)) << "a trial leaves no trace";
      for (const InputFold& fold : folds) {
        CausalLm copy = random_model(config);
        const auto own = find_folds(copy, i, context, kTokens);
        check_fold(own[static_cast<size_t>(&fold - folds.data())], copy, ids, expected);
      }
    }
  }
}

struct Case {
  InputFold fold;
  ScalingInputs inputs;
};

/// Two matrices that read 64 inputs of very different sizes.
Case heavy_case(bool is_stored_plain) {
  torch::manual_seed(3);
  const Tensor size = torch::randn({64}).mul(1.5).exp();
  Case made{.fold = {.producer = "norm",
                     .readers = {},
                     .parameters = {{"norm.weight", torch::ones({64})}},
                     .output_of_column = torch::arange(64),
                     .is_stored_plain = is_stored_plain},
            .inputs = {}};
  made.inputs.sample = torch::randn({200, 64}) * size;
  made.inputs.sizes = made.inputs.sample.to(torch::kFloat64).square().mean(0);
  made.inputs.weights = {torch::randn({24, 64}), torch::randn({8, 64})};
  return made;
}

/// sum |X (W - round(W s) / s)^T|^2 in float64.
double error_of(const ScalingInputs& inputs, const Tensor& factors, const RoundingForm& form) {
  double sum = 0;
  for (const Tensor& weight : inputs.weights) {
    const Tensor rounded = round_to_nearest(weight * factors, form).expand().to(torch::kFloat64);
    const Tensor off = rounded / factors.to(torch::kFloat64) - weight.to(torch::kFloat64);
    sum += torch::mm(inputs.sample.to(torch::kFloat64), off.t()).square().sum().item<double>();
  }
  return sum;
}

class Awq : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(AnyFactorsAndPowersOfTwo, Awq, testing::Bool());

TEST_P(Awq, factors_are_the_best_of_twenty_powers) {
  const RoundingForm form{.type = CodeType::kInt4, .group = 32};
  const auto [fold, inputs] = heavy_case(GetParam());
  const Tensor found = find_factors(fold, inputs, form, torch::kFloat32);
  ASSERT_TRUE(found.defined());
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 20; ++i) {
    const Tensor powers = inputs.sizes.pow(i / 40.0);
    const Tensor factors = (powers / (powers.max() * powers.min()).sqrt()).to(torch::kFloat32);
    least =
        std::min(least, error_of(inputs, storable_factors(fold, factors, torch::kFloat32), form));
  }
  EXPECT_NEAR(error_of(inputs, found, form) / least, 1, 1e-4);
  EXPECT_LT(least, 0.8 * error_of(inputs, torch::ones({64}), form));
  const Tensor powers = found.log2();
  EXPECT_EQ(torch::equal(powers, powers.round()), GetParam());
}

TEST(AwqOf, equal_inputs_get_no_factors) {
  auto [fold, inputs] = heavy_case(false);
  inputs.sizes.fill_(2);
  EXPECT_FALSE(find_factors(fold, inputs, {.type = CodeType::kInt4, .group = 32}, torch::kFloat32)
                   .defined());
}

}  // namespace
}  // namespace hypenet
