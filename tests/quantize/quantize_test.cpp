// Quantising whole models: what the walk over the layers writes and measures is what the written
// folder gives and compare measures.
#include "quantize/quantize.h"

#include <gtest/gtest.h>

#include "model/mixers/mixer_kind.h"
#include "model/weights.h"
#include "quantize/clip_search.h"
#include "quantize/input_products.h"
#include "quantize/kept_layers.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

using testing_support::tiny_hypenet_config;
using testing_support::tiny_teacher_config;

RoundingForm form_of(CodeType type) {
  return {.type = type, .group = type == CodeType::kInt4 ? 16 : 0};
}

std::vector<std::vector<int32_t>> random_windows(int64_t count, int64_t length, uint64_t seed) {
  torch::manual_seed(seed);
  std::vector<std::vector<int32_t>> windows;
  for (int64_t i = 0; i < count; ++i) {
    const Tensor ids = torch::randint(64, {length}, torch::kInt32);
    windows.emplace_back(ids.data_ptr<int32_t>(), ids.data_ptr<int32_t>() + length);
  }
  return windows;
}

/// Options of the best method for the type.
QuantizeOptions options_of(CodeType type) {
  QuantizeOptions options{.form = form_of(type), .held_out = random_windows(5, 24, 2)};
  if (type != CodeType::kInt4) return options;
  options.method = QuantizeMethod::kGptq;
  options.calibration = random_windows(6, 32, 3);
  return options;
}

class Quantize : public testing::Test {
 protected:
  /// A folder with random weights, large enough that logits differ.
  /// With `outliers` some of what the norms give is large, and stored in bfloat16.
  Checkpoint write_model(const ModelConfig& config, bool outliers = false) {
    torch::manual_seed(4);
    CausalLm model(config);
    NamedTensors tensors = named_weights(*model, torch::kFloat32);
    for (auto& [name, tensor] : tensors) {
      if (tensor.dim() > 1) tensor = tensor * 6;
      if (!outliers) continue;
      if (tensor.dim() == 1) tensor = tensor * torch::randn(tensor.sizes()).mul(1.5).exp();
      tensor = tensor.to(torch::kBFloat16);
    }
    write_checkpoint(folder_ / "model", {.config = to_json(config), .tensors = tensors});
    return Checkpoint(folder_ / "model");
  }

  Checkpoint write_quantised(const QuantisedModel& model) {
    write_checkpoint(folder_ / "quantised", {.config = model.config, .tensors = model.tensors});
    return Checkpoint(folder_ / "quantised");
  }

  TemporaryFolder folder_;
};

class QuantizeTo : public Quantize, public testing::WithParamInterface<CodeType> {};
INSTANTIATE_TEST_SUITE_P(EachType, QuantizeTo,
                         testing::Values(CodeType::kInt8, CodeType::kInt4, CodeType::kFloat8),
                         [](const auto& info) { return std::string(code_type_name(info.param)); });

TEST_P(QuantizeTo, the_folder_measures_what_the_report_says) {
  const ModelConfig config = tiny_hypenet_config();
  const Checkpoint original = write_model(config);
  const QuantizeOptions options = options_of(GetParam());
  const QuantisedModel result = quantize_model(original, config, options);
  CausalLm before = load_model(original);
  CausalLm after = load_model(write_quantised(result));
  const auto positions = compare_models(before, after, options.held_out);
  const PositionComparison expected =
      mean_comparison(positions, 1, static_cast<int64_t>(positions.size()));
  ASSERT_TRUE(result.held_out.has_value());
  EXPECT_GT(expected.divergence, 1e-8);
  EXPECT_NEAR(result.held_out->divergence, expected.divergence, 1e-3 * expected.divergence + 1e-6);
  EXPECT_NEAR(result.held_out->loss_a, expected.loss_a, 1e-5);
  EXPECT_NEAR(result.held_out->loss_b, expected.loss_b, 1e-5);
  EXPECT_NEAR(result.held_out->agreement, expected.agreement, 1e-6);
}

TEST_P(QuantizeTo, the_folder_reads_back_the_same_codes_and_leaves_the_rest_as_it_was) {
  const ModelConfig config = tiny_hypenet_config();
  const Checkpoint original = write_model(config);
  const QuantisedModel result = quantize_model(original, config, options_of(GetParam()));
  const Checkpoint written = write_quantised(result);
  EXPECT_EQ(written.names(), original.names());
  std::set<std::string> quantised;
  for (const QuantisedLinear& linear : result.linears) {
    const std::string name = linear.name + ".weight";
    quantised.insert(name);
    const auto matrix = written.quantised(name);
    ASSERT_TRUE(matrix.has_value()) << name;
    EXPECT_EQ(matrix->type, GetParam());
    EXPECT_EQ(matrix->bytes(), linear.bytes);
    // The error that was reported is that of the codes that were read.
    const Tensor weight = original.tensor(name), found = matrix->expand();
    const double error = ((found - weight).norm() / weight.norm()).item<double>();
    EXPECT_NEAR(error, linear.weight_error, 1e-5) << name;
    EXPECT_LT(error, GetParam() == CodeType::kInt4 ? 0.2 : 0.05) << name;
    EXPECT_GT(error, 1e-4) << name;
    if (GetParam() == CodeType::kInt4) continue;
    EXPECT_TRUE(torch::equal(found, round_to_nearest(weight, form_of(GetParam())).expand()));
  }
  // q, k, v, o, gate, up, down of three layers.
  EXPECT_EQ(quantised.size(), 21U);
  for (const std::string& name : original.names()) {
    if (quantised.contains(name)) continue;
    EXPECT_TRUE(torch::equal(written.tensor(name), original.tensor(name))) << name;
  }
}

/// What each linear layer of the layer reads in a forward of the whole model, [tokens, K].
std::map<std::string, Tensor> inputs_of(CausalLm& model, int64_t layer, const Tensor& rows) {
  std::map<std::string, Tensor> inputs;
  const std::vector<LinearPlace> places = quantised_linears(model, layer);
  for (const LinearPlace& place : places) {
    place.linear->on_input = [&](const Tensor& x) {
      inputs[place.name] = x.flatten(0, -2).clone();
    };
  }
  model->hidden(rows);
  for (const LinearPlace& place : places) place.linear->on_input = {};
  return inputs;
}

TEST_F(Quantize, each_layer_is_calibrated_on_what_the_quantised_layers_before_it_make) {
  const ModelConfig config = tiny_teacher_config();
  const Checkpoint original = write_model(config);
  QuantizeOptions options = options_of(CodeType::kInt4);
  const Checkpoint written = write_quantised(quantize_model(original, config, options));
  // The same on a whole model, whose layers are replaced as they come.
  const torch::NoGradGuard no_grad;
  CausalLm model = load_model(original), untouched = load_model(original);
  Tensor rows = torch::empty({6, 32}, torch::kInt64);
  for (int64_t i = 0; i < 6; ++i) {
    rows[i] = torch::tensor(options.calibration[static_cast<size_t>(i)]).to(torch::kInt64);
  }
  for (int64_t layer = 0; layer < 2; ++layer) {
    const auto originals = inputs_of(untouched, layer, rows),
               inputs = inputs_of(model, layer, rows);
    InputProducts products(quantised_linears(model, layer));
    model->hidden(rows);
    for (const auto& group : products.finish()) {
      const GptqFactor factor = gptq_factor(group.products, options.gptq, "here");
      for (const LinearPlace& place : group.places) {
        Tensor& weight = place.linear->weights.weight.master;
        const Tensor x = inputs.at(place.name), off = originals.at(place.name) - x;
        const Tensor shift = torch::mm(off.t().to(torch::kFloat64), x.to(torch::kFloat64));
        const auto matrix = round_by_gptq(toward_original(weight, shift / x.size(0), factor, 0.25),
                                          options.form, factor, options.gptq);
        const auto found = written.quantised(place.name + ".weight");
        EXPECT_TRUE(torch::equal(found->expand(), matrix.expand())) << place.name;
        weight.set_data(matrix.expand());
      }
    }
  }
}

TEST_F(Quantize, calibrated_codes_give_nearer_predictions_than_nearest_ones) {
  const ModelConfig config = tiny_hypenet_config();
  const Checkpoint original = write_model(config);
  QuantizeOptions options = options_of(CodeType::kInt4);
  options.calibration = random_windows(24, 64, 8);
  const double gptq = quantize_model(original, config, options).held_out->divergence;
  options.method = QuantizeMethod::kNearest;
  EXPECT_LT(gptq, 0.9 * quantize_model(original, config, options).held_out->divergence);
}

TEST_F(Quantize, scaled_inputs_leave_the_model_what_it_was_but_for_rounding) {
  const ModelConfig config = tiny_hypenet_config();
  const Checkpoint original = write_model(config, /*outliers=*/true);
  for (const QuantizeMethod method : {QuantizeMethod::kAwq, QuantizeMethod::kAwqGptq}) {
    QuantizeOptions options = options_of(CodeType::kInt4);
    options.method = method;
    const QuantisedModel result = quantize_model(original, config, options);
    EXPECT_EQ(result.scaled, 12);  // of three layers q, k, v; o; gate, up; down
    CausalLm before = load_model(original), after = load_model(write_quantised(result));
    const auto positions = compare_models(before, after, options.held_out);
    const PositionComparison expected =
        mean_comparison(positions, 1, static_cast<int64_t>(positions.size()));
    EXPECT_NEAR(result.held_out->divergence, expected.divergence,
                1e-3 * expected.divergence + 1e-6);
    EXPECT_NEAR(result.held_out->loss_b, expected.loss_b, 1e-5);
  }
}

TEST_F(Quantize, scaling_inputs_helps_where_some_are_large) {
  const ModelConfig config = tiny_hypenet_config();
  const Checkpoint original = write_model(config, /*outliers=*/true);
  QuantizeOptions options = options_of(CodeType::kInt4);
  options.calibration = random_windows(64, 64, 8);
  const auto error_by = [&](QuantizeMethod method) {
    options.method = method;
    double sum = 0;  // of the first layer, whose inputs are the same
    const QuantisedModel result = quantize_model(original, config, options);
    for (const QuantisedLinear& linear : result.linears) {
      if (linear.name.starts_with("model.layers.0.")) sum += linear.output_error.value();
    }
    return sum;
  };
  EXPECT_LT(error_by(QuantizeMethod::kAwq), 0.95 * error_by(QuantizeMethod::kSearch));
}

TEST_F(Quantize, a_stopped_run_goes_on_with_the_layer_that_it_was_at) {
  const ModelConfig config = tiny_hypenet_config();
  const Checkpoint original = write_model(config, /*outliers=*/true);
  for (const QuantizeMethod method : {QuantizeMethod::kNearest, QuantizeMethod::kAwqGptq}) {
    QuantizeOptions options = options_of(CodeType::kInt4);
    options.method = method;
    const QuantisedModel expected = quantize_model(original, config, options);
    options.kept = folder_ / "kept";
    options.on_progress = [](int64_t layer, std::string_view work) {
      HYPENET_CHECK(layer < 2 || !work.starts_with("held-out"), "stopped");
    };
    EXPECT_ERROR(quantize_model(original, config, options), "stopped");
    std::set<std::pair<int64_t, std::string>> done;
    options.on_progress = [&](int64_t layer, std::string_view work) { done.emplace(layer, work); };
    const QuantisedModel found = quantize_model(original, config, options);
    EXPECT_TRUE(done.contains({1, "was kept by an earlier run"}));
    EXPECT_FALSE(done.contains({1, "reads its weights"}));
    EXPECT_TRUE(done.contains({2, "reads its weights"}));
    ASSERT_EQ(found.tensors.size(), expected.tensors.size());
    std::map<std::string, Tensor> tensors(found.tensors.begin(), found.tensors.end());
    for (const auto& [name, tensor] : expected.tensors) {
      EXPECT_TRUE(torch::equal(tensors.at(name), tensor)) << name;
    }
    EXPECT_EQ(found.config, expected.config);
    EXPECT_EQ(found.layer_errors, expected.layer_errors);
    EXPECT_EQ(found.scaled, expected.scaled);
    EXPECT_EQ(found.bytes_before, expected.bytes_before);
    EXPECT_EQ(found.held_out->loss_b, expected.held_out->loss_b);
    EXPECT_EQ(found.linears.size(), expected.linears.size());
    EXPECT_EQ(found.linears.front().output_error, expected.linears.front().output_error);
  }
}

TEST_F(Quantize, layers_of_another_run_are_not_taken) {
  const ModelConfig config = tiny_hypenet_config();
  const Checkpoint original = write_model(config);
  QuantizeOptions options = options_of(CodeType::kInt8);
  options.kept = folder_ / "kept";
  quantize_model(original, config, options);
  EXPECT_EQ(KeptLayers(options.kept, quantize_fingerprint(original, options)).finished(), 3);
  const std::string own = quantize_fingerprint(original, options);
  options.form.group = 16;
  EXPECT_NE(quantize_fingerprint(original, options), own);
  const QuantisedModel found = quantize_model(original, config, options);
  options.kept.clear();
  const QuantisedModel expected = quantize_model(original, config, options);
  EXPECT_EQ(found.held_out->loss_b, expected.held_out->loss_b);
  std::filesystem::create_directory(folder_ / "other");
  write_file(folder_ / "other" / "notes.txt", "mine");
  options.kept = folder_ / "other";
  EXPECT_THROW(quantize_model(original, config, options), Error);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "other" / "notes.txt"));
}

TEST_F(Quantize, damaged_layers_name_the_folder_without_which_all_begins_anew) {
  const ModelConfig config = tiny_hypenet_config();
  const Checkpoint original = write_model(config);
  QuantizeOptions options = options_of(CodeType::kInt8);
  options.kept = folder_ / "kept";
  for (const char* file : {"quantize.json", "streams.safetensors", "layer-1.safetensors"}) {
    quantize_model(original, config, options);
    std::filesystem::resize_file(options.kept / file, 20);
    EXPECT_ERROR(quantize_model(original, config, options), file);
    EXPECT_ERROR(quantize_model(original, config, options),
                 "; without " + options.kept.string() + " quantising begins anew");
    std::filesystem::remove_all(options.kept);
  }
}

TEST_F(Quantize, without_text_there_are_errors_of_numbers_alone) {
  const ModelConfig config = tiny_teacher_config();
  const QuantisedModel result =
      quantize_model(write_model(config), config, {.form = form_of(CodeType::kInt8)});
  EXPECT_FALSE(result.held_out.has_value());
  EXPECT_TRUE(result.layer_errors.empty());
  for (const QuantisedLinear& linear : result.linears) {
    EXPECT_FALSE(linear.output_error.has_value());
    EXPECT_GT(linear.weight_error, 0);
  }
}

TEST_F(Quantize, a_group_may_be_all_inputs_of_some_layers) {
  ModelConfig config = tiny_teacher_config();
  config.intermediate_size = 64;  // two groups; all others have 32 or 64 inputs
  const Checkpoint original = write_model(config);
  for (const CodeType type : {CodeType::kInt4, CodeType::kInt8}) {
    const RoundingForm form{.type = type, .group = 32};
    const QuantisedModel result = quantize_model(original, config, {.form = form});
    const Checkpoint written = write_quantised(result);
    for (const QuantisedLinear& linear : result.linears) {
      const std::string name = linear.name + ".weight";
      const Tensor expected = round_to_nearest(original.tensor(name), form).expand();
      EXPECT_TRUE(torch::equal(written.tensor(name), expected)) << name;
    }
  }
}

TEST_F(Quantize, gates_and_the_head_are_ignored_by_name) {
  const ModelConfig config = tiny_hypenet_config();
  const QuantisedModel result =
      quantize_model(write_model(config), config, {.form = form_of(CodeType::kInt8)});
  const Json& ignored = result.config["quantization_config"]["ignore"];
  const std::vector<std::string> expected = {"model.layers.0.self_attn.z_proj",
                                             "model.layers.1.self_attn.o_gate",
                                             "model.layers.2.self_attn.z_proj", "lm_head"};
  EXPECT_EQ(ignored.get<std::vector<std::string>>(), expected);
}

TEST_F(Quantize, refuses_what_cannot_be_quantised_before_any_work) {
  const ModelConfig config = tiny_hypenet_config();
  const Checkpoint original = write_model(config);
  RoundingForm form = form_of(CodeType::kInt4);
  form.group = 32;
  EXPECT_ERROR(check_quantizable(original, config, form),
               "quantize: group 32: expected a number that divides the inputs of every layer, "
               "found 48 inputs of model.layers.0.mlp.down_proj (16 divides all of them)");
  const Checkpoint quantised =
      write_quantised(quantize_model(original, config, {.form = form_of(CodeType::kInt8)}));
  EXPECT_ERROR(
      check_quantizable(quantised, config, form_of(CodeType::kInt8)),
      "config.json: expected a model that is not quantised, found one by compressed-tensors");
  EXPECT_ERROR(quantize_model(original, config,
                              {.form = form_of(CodeType::kInt4), .method = QuantizeMethod::kGptq}),
               "quantize: method gptq: expected calibration rows, found none");
  QuantizeOptions options = options_of(CodeType::kInt4);
  options.calibration[1][2] = 64;
  EXPECT_ERROR(quantize_model(original, config, options), "quantize: ");
}

TEST_F(Quantize, numbers_that_are_not_finite_are_refused_by_every_method) {
  const ModelConfig config = tiny_teacher_config();
  CausalLm model(config);
  NamedTensors tensors = named_weights(*model, torch::kFloat32);
  for (auto& [name, tensor] : tensors) {
    if (name == "model.layers.1.mlp.up_proj.weight") tensor[3][4].fill_(NAN);
  }
  write_checkpoint(folder_ / "model", {.config = to_json(config), .tensors = tensors});
  QuantizeOptions options = options_of(CodeType::kInt4);
  for (const auto method :
       {QuantizeMethod::kNearest, QuantizeMethod::kSearch, QuantizeMethod::kGptq}) {
    options.method = method;
    EXPECT_ERROR(quantize_model(Checkpoint(folder_ / "model"), config, options),
                 "quantize: model.layers.1.mlp.up_proj.weight: expected finite numbers, found "
                 "others");
  }
}

TEST(InputProductsOf, wide_inputs_are_whole_symmetric_and_shared) {
  torch::manual_seed(6);
  Linear first(1100, 4, false), second(1100, 3, false), other(8, 2, false);
  InputProducts products({{"a", first.get()}, {"b", second.get()}, {"c", other.get()}});
  Tensor sum = torch::zeros({1100, 1100}, torch::kFloat64);
  for (int64_t tokens : {7, 40}) {
    const Tensor x = torch::randn({1, tokens, 1100});
    project(x, {first, second});
    other(torch::randn({2, 3, 8}));
    sum += torch::mm(x[0].t().to(torch::kFloat64), x[0].to(torch::kFloat64));
  }
  const auto groups = products.finish();
  ASSERT_EQ(groups.size(), 2U);
  ASSERT_EQ(groups[0].places.size(), 2U);
  EXPECT_EQ(groups[0].tokens, 47);
  EXPECT_EQ(groups[1].tokens, 12);
  EXPECT_LT((groups[0].products * 47 - sum).abs().max().item<double>(), 1e-3);
  EXPECT_FALSE(groups[0].shift.defined());
}

TEST(InputProductsOf, originals_tell_how_far_inputs_are_off) {
  torch::manual_seed(6);
  Linear first(24, 4, false), second(24, 3, false);
  InputProducts products({{"a", first.get()}, {"b", second.get()}});
  Tensor sum = torch::zeros({24, 24}, torch::kFloat64);
  for (int64_t tokens : {7, 40}) {
    const Tensor x = torch::randn({1, tokens, 24}), original = x + 0.1 * torch::randn_like(x);
    products.expect_originals(true);
    project(original, {first, second});
    products.expect_originals(false);
    project(x, {first, second});
    sum += torch::mm((original - x)[0].t().to(torch::kFloat64), x[0].to(torch::kFloat64));
  }
  const auto groups = products.finish();
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].tokens, 47);
  EXPECT_LT((groups[0].shift * 47 - sum).abs().max().item<double>(), 1e-4);
}

}  // namespace
}  // namespace hypenet
