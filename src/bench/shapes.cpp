// The sizes, as their teachers' config.json has them.
#include "bench/shapes.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "gguf/model_files.h"
#include "halo/hybrid.h"
#include "halo/transfer.h"
#include "model/mixers/attention.h"
#include "model/weights.h"

namespace hypenet {
namespace {

BenchShape with_attention_spread(BenchShape shape) {
  const int64_t L = shape.teacher.num_hidden_layers, kept = L / 4;
  shape.teacher.mixer_types.assign(static_cast<size_t>(L), &kAttentionMixer);
  for (int64_t i = 0; i < kept; ++i) shape.attention_layers.push_back(i * L / kept);
  return shape;
}

/// Of these, Qwen3's sizes differ in nothing but width, depth and heads.
ModelConfig qwen3(int64_t hidden, int64_t wide, int64_t layers, int64_t heads) {
  ModelConfig config;
  config.hidden_size = hidden, config.intermediate_size = wide, config.num_hidden_layers = layers;
  config.vocab_size = 151936, config.num_attention_heads = heads, config.num_key_value_heads = 8;
  config.head_dim = 128, config.rope_theta = 1e6;
  config.has_qk_norm = true, config.tie_word_embeddings = true;
  return config;
}

ModelConfig qwen3_8b() {
  ModelConfig config = qwen3(4096, 12288, 36, 32);
  config.tie_word_embeddings = false;
  return config;
}

ModelConfig smollm2_135m() {
  ModelConfig config;
  config.architecture = Architecture::kLlama;
  config.hidden_size = 576, config.intermediate_size = 1536, config.num_hidden_layers = 30;
  config.vocab_size = 49152, config.num_attention_heads = 9, config.num_key_value_heads = 3;
  config.head_dim = 64, config.rope_theta = 1e5, config.rms_norm_eps = 1e-5;
  config.tie_word_embeddings = true;
  return config;
}

ModelConfig tiny() {
  ModelConfig config;
  config.hidden_size = 64, config.intermediate_size = 128, config.num_hidden_layers = 4;
  config.vocab_size = 256, config.num_attention_heads = 4, config.num_key_value_heads = 2;
  config.head_dim = 16;
  config.has_qk_norm = true, config.tie_word_embeddings = true;
  return config;
}

BenchShape shape_of_sizes(const std::string& name) {
  if (name == "hypenet-2b") {
    return with_attention_spread({qwen3(2048, 6144, 28, 16), {}, 32, 512, 2, 16384});
  }
  if (name == "hypenet-5b") {
    return with_attention_spread({qwen3(2560, 9728, 36, 32), {}, 32, 512, 1, 16384});
  }
  if (name == "hypenet-9b") return with_attention_spread({qwen3_8b(), {}, 32, 512, 1, 16384});
  if (name == "smollm2-135m") {
    return with_attention_spread({smollm2_135m(), {}, 32, 512, 8, 4096});
  }
  if (name == "tiny") return with_attention_spread({tiny(), {}, 4, 64, 2, 128});
  throw Error(concat("--shape: expected ", training_shapes(), ", found \"", name, "\""));
}

/// ", or one of these with a mixer behind it, like tiny:gdn (gdn, kda, ...)"; the first mixer is
/// that of a name alone.
std::string or_with_mixer(const std::string& name) {
  std::string mixers;
  for (const TwinRule* rule : twin_rules().subspan(1)) {
    mixers.append(mixers.empty() ? "" : ", ").append(rule->mixer->name);
  }
  return concat(", or one of these with a mixer, like ", name, ':', twin_rules()[1]->mixer->name,
                " (", mixers, ')');
}

}  // namespace

std::string training_shapes() {
  return "hypenet-2b, hypenet-5b, hypenet-9b, smollm2-135m or tiny" + or_with_mixer("tiny");
}

std::string inference_shapes() {
  return concat("hypenet-2b, hypenet-smollm2-135m or hypenet-tiny", or_with_mixer("hypenet-tiny"),
                ", qwen3-1.7b, smollm2-135m, tiny, or a model folder");
}

ModelConfig BenchShape::student(const std::vector<int64_t>& attention) const {
  return hypenet_config(teacher, mixer_types(teacher.num_hidden_layers, attention, mixer));
}

BenchShape bench_shape(const std::string& name) {
  const size_t colon = name.find(':');
  BenchShape shape = shape_of_sizes(name.substr(0, colon));
  if (colon != std::string::npos)
    shape.mixer = twin_rule(name.substr(colon + 1), "--shape: mixer").mixer->name;
  return shape;
}

CausalLm random_model(const ModelConfig& config, torch::ScalarType type, torch::Device device) {
  CausalLm model(config, /*random_weights=*/false);
  model->to(device, type);
  const torch::NoGradGuard no_grad;
  for (auto& item : model->named_parameters()) {
    Tensor& parameter = item.value();
    if (parameter.dim() > 1) parameter.normal_(0, 0.02);
    if (is_mixers_own(item.key())) parameter.set_data(parameter.to(torch::kFloat32));
  }
  return model;
}

ModelConfig inference_shape(const std::string& name) {
  const auto transformer = [&](const char* pair) { return bench_shape(pair).teacher; };
  const size_t colon = std::min(name.find(':'), name.size());
  const std::string sizes = name.substr(0, colon), mixer = name.substr(colon);  // ":gdn", or none
  const auto hypenet = [&](const char* pair) {
    const BenchShape shape = bench_shape(pair + mixer);
    ModelConfig config = shape.student(shape.attention_layers);
    config.attn_logits_scaling = {LogitsScaling::Kind::kLogPosition, 500};
    return config;
  };
  if (name == "qwen3-1.7b") return transformer("hypenet-2b");
  if (name == "smollm2-135m" || name == "tiny") return transformer(name.c_str());
  if (sizes == "hypenet-2b") return hypenet("hypenet-2b");
  if (sizes == "hypenet-smollm2-135m") return hypenet("smollm2-135m");
  if (sizes == "hypenet-tiny") return hypenet("tiny");
  constexpr const char* kConfig = "config.json";
  if (is_gguf(name) || std::filesystem::exists(std::filesystem::path(name) / kConfig)) {
    const ModelFiles files(name);
    return parse_model_config(files.json(kConfig), files.place(kConfig));
  }
  throw Error(concat("--shape: expected ", inference_shapes(), ", found \"", name, "\""));
}

}  // namespace hypenet
