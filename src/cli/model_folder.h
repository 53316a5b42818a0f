// Opening a model folder for a subcommand that runs the model.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/device.h"
#include "engine/open.h"
#include "store/checkpoint.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace hypenet {

struct ModelOptions {
  std::filesystem::path folder;
  std::string type = "float32";
  std::string activations = "int8", cache_type = "auto";
  DeviceOptions device;
  std::optional<LogitsScaling> attn_logits_scaling = {};  // nullopt: as config.json says
};

/// "auto": as ModelSpec without a type.
inline constexpr const char* kAutomaticType = "auto";

/// What to call a model: its folder's name, with the one above for "model"; a GGUF file's without
/// its ending.
std::string model_name(const std::filesystem::path& folder);

/// Adds the positional folder, --dtype, --activations, --cache-type, --device, --threads and
/// --attn-logits-scaling; `options` must outlive the parsing.
void add_model_options(CLI::App& command, ModelOptions& options);

/// All of these but the folder and --attn-logits-scaling.
void add_type_option(CLI::App& command, ModelOptions& options);

/// --attn-logits-scaling alone; `whose` begins its help. A bad value ends the parsing with Error.
void add_logits_scaling_option(CLI::App& command, const std::string& whose,
                               std::optional<LogitsScaling>& scaling);

/// The folder's config, but for what `options` say otherwise.
ModelConfig open_config(const ModelOptions& options, const Checkpoint& checkpoint);

/// open_model of engine/open.h, which prints its notes. Sets the number of threads.
CausalLm open_model(const ModelOptions& options, const Checkpoint& checkpoint);

/// The folder's tokenizer. Throws Error when it has more tokens than the model's embedding has
/// rows.
Tokenizer open_tokenizer(const std::filesystem::path& folder, const ModelConfig& config);

/// The ids that end a text (text/stop_ids.h).
std::vector<int32_t> stop_ids(const Checkpoint& checkpoint, const Tokenizer& tokenizer);

/// Those, and what ends a turn. Throws Error where the template's token is none of the tokenizer.
std::vector<int32_t> chat_stop_ids(const Checkpoint& checkpoint, const Tokenizer& tokenizer,
                                   const ChatTemplate& chat);

}  // namespace hypenet
