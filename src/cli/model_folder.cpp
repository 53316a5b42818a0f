// Models and tokenizers from folders in Hugging Face form.
#include "cli/model_folder.h"

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "model/weights.h"
#include "text/stop_ids.h"

namespace hypenet {
namespace {

torch::ScalarType weights_type(const std::string& name, const ModelConfig& config,
                               torch::Device device) {
  if (name != kAutomaticType) return parse_type(name);
  const bool is_narrow = device.is_cuda() || config.torch_dtype == "bfloat16";
  return is_narrow ? torch::kBFloat16 : torch::kFloat32;
}

/// As config.json has it: null (or none), a number, or text.
Json scaling_json(const std::string& text) {
  if (text == "none" || text == "null") return nullptr;
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  const bool is_number = error == std::errc() && stop == end && std::isfinite(number);
  return is_number ? Json(number) : Json(text);
}

}  // namespace

std::string model_name(const std::filesystem::path& folder) {
  std::filesystem::path path = std::filesystem::absolute(folder).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  const std::string name = path.filename().string();
  return name == "model" ? (path.parent_path().filename() / name).string() : name;
}

void add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("DIR", options.folder, "model folder")->required();
  add_type_option(command, options);
  add_logits_scaling_option(command, "", options.attn_logits_scaling);
}

void add_type_option(CLI::App& command, ModelOptions& options) {
  command
      .add_option("--dtype", options.type,
                  "float32, bfloat16, float64, or auto: as stored on a CPU, bfloat16 on a GPU")
      ->capture_default_str();
  add_device_options(command, options.device);
}

void add_logits_scaling_option(CLI::App& command, const std::string& whose,
                               std::optional<LogitsScaling>& scaling) {
  command.add_option_function<std::string>(
      "--attn-logits-scaling",
      [&scaling](const std::string& text) {
        scaling = parse_logits_scaling(scaling_json(text), "--attn-logits-scaling");
      },
      whose + "instead of config.json's: \"hype 500\", a number, or none");
}

ModelConfig open_config(const ModelOptions& options, const Checkpoint& checkpoint) {
  ModelConfig config =
      parse_model_config(checkpoint.config(), (checkpoint.folder() / "config.json").string());
  if (options.attn_logits_scaling) config.attn_logits_scaling = *options.attn_logits_scaling;
  return config;
}

CausalLm open_model(const ModelOptions& options, const Checkpoint& checkpoint) {
  const torch::Device device = use_device(options.device);
  const ModelConfig config = open_config(options, checkpoint);
  const torch::ScalarType type = weights_type(options.type, config, device);
  CausalLm model = load_model(checkpoint, config, type, device);
  const bool is_mixed = type == torch::kBFloat16 && !device.is_cuda();
  model->set_compute_type(is_mixed ? torch::kFloat32 : type);
  return model;
}

Tokenizer open_tokenizer(const std::filesystem::path& folder, const ModelConfig& config) {
  Tokenizer tokenizer = Tokenizer::load(folder);
  HYPENET_CHECK(tokenizer.vocab_size() <= config.vocab_size, (folder / "tokenizer.json").string(),
                ": expected at most ", config.vocab_size,
                " tokens (config.json: vocab_size), found ", tokenizer.vocab_size());
  return tokenizer;
}

std::vector<int32_t> stop_ids(const Checkpoint& checkpoint, const Tokenizer& tokenizer) {
  return read_stop_ids(checkpoint.folder(), tokenizer);
}

}  // namespace hypenet
