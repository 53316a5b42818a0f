// Models and tokenizers from folders in Hugging Face form.
#include "cli/model_folder.h"

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "cli/note.h"
#include "gguf/model_files.h"
#include "text/stop_ids.h"

namespace hypenet {
namespace {

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
  if (is_gguf(path)) path.replace_extension();
  const std::string name = path.filename().string();
  return name == "model" ? (path.parent_path().filename() / name).string() : name;
}

void add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("DIR", options.folder, "model folder, or a GGUF file")->required();
  add_type_option(command, options);
  add_logits_scaling_option(command, "", options.attn_logits_scaling);
}

void add_type_option(CLI::App& command, ModelOptions& options) {
  command
      .add_option("--dtype", options.type,
                  "float32, bfloat16, float64, or auto: on a CPU weights of few bits stay packed, "
                  "others have the type that most are stored in (float32 for float16); on a GPU "
                  "bfloat16")
      ->capture_default_str();
  command
      .add_option("--activations", options.activations,
                  "how rows meet packed weights on a CPU: int8 (rounded, fast) or float")
      ->capture_default_str();
  command
      .add_option("--cache-type", options.cache_type,
                  "of keys and values on a CPU: float32, bfloat16, or auto: bfloat16 where weights "
                  "are, or are packed")
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
  return open_config(checkpoint, {.attn_logits_scaling = options.attn_logits_scaling});
}

CausalLm open_model(const ModelOptions& options, const Checkpoint& checkpoint) {
  ModelSpec spec{.device = use_device(options.device),
                 .attn_logits_scaling = options.attn_logits_scaling};
  spec.type = parse_type_or_auto(options.type);
  spec.activations = parse_activations(options.activations, "--activations");
  spec.cache_type = parse_cache_type(options.cache_type, "--cache-type");
  return open_model(checkpoint, spec, print_note);
}

Tokenizer open_tokenizer(const std::filesystem::path& folder, const ModelConfig& config) {
  Tokenizer tokenizer = Tokenizer::load(folder);
  HYPENET_CHECK(tokenizer.vocab_size() <= config.vocab_size,
                model_file_place(folder, "tokenizer.json"), ": expected at most ",
                config.vocab_size, " tokens (config.json: vocab_size), found ",
                tokenizer.vocab_size());
  return tokenizer;
}

std::vector<int32_t> stop_ids(const Checkpoint& checkpoint, const Tokenizer& tokenizer) {
  return read_stop_ids(checkpoint.folder(), tokenizer);
}

std::vector<int32_t> chat_stop_ids(const Checkpoint& checkpoint, const Tokenizer& tokenizer,
                                   const ChatTemplate& chat) {
  return read_chat_stop_ids(checkpoint.folder(), tokenizer, chat);
}

}  // namespace hypenet
