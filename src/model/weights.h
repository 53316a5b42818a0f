// A folder's config as its tensors have it, and filling a model whose config is not quite the
// folder's.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "model/causal_lm.h"

namespace hypenet {

/// Told what a user should know and no error says.
using TellNote = std::function<void(const std::string& text)>;

/// config.json of the folder, but where it ties the head to the embedding and the folder holds
/// another head, the head counts (as in transformers 5): the config comes back untied, and `tell`
/// hears it. Throws Error as parse_model_config does. Reads two tensors where both are stored.
ModelConfig read_model_config(const Checkpoint& checkpoint, const TellNote& tell = {});

/// Whether a parameter is a mixer's own, in none of its layers and norms: A_log, dt_bias. Such are
/// float32 whatever type the others have, as what they are off by counts again with every token,
/// and are not decayed in training.
bool is_mixers_own(std::string_view name);

/// Whether a parameter stays float32 at least: a mixer's own, and norms where config says so.
bool is_float_always(std::string_view name, const ModelConfig& config);

/// Throws Error unless the folder holds the tensors of this model and, but for a tied head's second
/// copy and old frequency tables, no others.
void check_tensors(const Checkpoint& checkpoint, const ModelConfig& config);

/// The type that a tensor is stored in; bfloat16 for what is packed into blocks.
torch::ScalarType stored_type(const TensorFacts& facts);

/// The one that most bytes of the weights are stored in.
torch::ScalarType stored_type(const Checkpoint& checkpoint);

/// "float32", "bfloat16", "int64" ...
std::string type_name(torch::ScalarType type);

/// A folder, a GGUF file of which all tensors come in its stored type, or a quantised folder whose
/// tensors come as bfloat16: as the stages of a conversion write and compare them.
Checkpoint open_rounded(const std::filesystem::path& folder);

/// As load_model of model/causal_lm.h, but config.json's place is taken by `config`: one that
/// differs in what no weight depends on (attn_logits_scaling), and was checked.
CausalLm load_model(const Checkpoint& checkpoint, const ModelConfig& config,
                    std::optional<torch::ScalarType> type, torch::Device device);

/// The same for inference on a CPU alone: matrices that the folder has in few bits stay so
/// (ops/packed_weight.h), other weights stay as stored, but float16 ones become float32.
CausalLm load_packed_model(const Checkpoint& checkpoint, const ModelConfig& config,
                           Activations activations);

/// Copies the folder's weights into a model of its config, in place: parameters keep type and
/// device. What the model computes with follows by prepare(). Throws Error for a tensor that the
/// folder has not, or in another shape.
void copy_weights(const Checkpoint& checkpoint, CausalLm& model);

/// Whether the folder has matrices that load_packed_model would keep in few bits.
bool has_packed_weights(const Checkpoint& checkpoint);

}  // namespace hypenet
