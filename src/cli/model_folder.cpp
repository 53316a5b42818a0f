// Models and tokenizers from folders in Hugging Face form.
#include "cli/model_folder.h"

#include <charconv>
#include <cmath>
#include <map>

#include "base/error.h"
#include "cli/note.h"
#include "model/weights.h"
#include "text/stop_ids.h"

namespace hypenet {
namespace {

/// Whether every number of the type stays what it is in the other.
bool is_exact_in(torch::ScalarType type, torch::ScalarType other) {
  return torch::promote_types(type, other) == other;
}

/// How the files of some weights are rounded, in one note; weights of a GPU that are wider than its
/// bfloat16 are what --dtype's help says.
void tell_rounding(const Checkpoint& checkpoint, torch::ScalarType type, bool is_cuda) {
  std::map<torch::ScalarType, int64_t> rounded;
  for (const std::string& name : checkpoint.names()) {
    if (name.ends_with(".inv_freq")) continue;  // which nobody reads
    const torch::ScalarType stored = checkpoint.tensor(name).scalar_type();
    if (is_cuda ? stored == torch::kFloat16 : !is_exact_in(stored, type)) ++rounded[stored];
  }
  for (const auto& [stored, count] : rounded) {
    print_note(concat(checkpoint.folder().string(), ": ", count, " tensors stored as ",
                      type_name(stored), " are rounded to ", type_name(type), " (--dtype ",
                      stored == torch::kFloat64 ? "float64" : "float32", " keeps them)"));
  }
}

torch::ScalarType automatic_type(const Checkpoint& checkpoint, torch::Device device) {
  const torch::ScalarType stored = stored_type(checkpoint);
  // No arithmetic of ours is float16's; float32 holds its numbers as they are.
  const torch::ScalarType on_cpu = stored == torch::kFloat16 ? torch::kFloat32 : stored;
  const torch::ScalarType type = device.is_cuda() ? torch::kBFloat16 : on_cpu;
  tell_rounding(checkpoint, type, device.is_cuda());
  return type;
}

torch::ScalarType weights_type(const std::string& name, const Checkpoint& checkpoint,
                               torch::Device device) {
  return name == kAutomaticType ? automatic_type(checkpoint, device) : parse_type(name);
}

ModelConfig config_with(const ModelOptions& options, ModelConfig config) {
  if (options.attn_logits_scaling) config.attn_logits_scaling = *options.attn_logits_scaling;
  return config;
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
                  "float32, bfloat16, float64, or auto: on a CPU the type that most of the weights "
                  "are stored in (float32 for float16), on a GPU bfloat16")
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
  return config_with(options, read_model_config(checkpoint));
}

CausalLm open_model(const ModelOptions& options, const Checkpoint& checkpoint) {
  const torch::Device device = use_device(options.device);
  const ModelConfig config = config_with(options, read_model_config(checkpoint, print_note));
  const torch::ScalarType type = weights_type(options.type, checkpoint, device);
  CausalLm model = load_model(checkpoint, config, type, device);
  const bool is_mixed = type == torch::kBFloat16 && !device.is_cuda();
  model->prepare({.type = is_mixed ? torch::kFloat32 : type});
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
