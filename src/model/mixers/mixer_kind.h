// The table of mixers: all that the program must know of a mixer beside its forward. A new mixer is
// a file here that defines its MixerKind, and a row in table.cpp.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace hypenet {

class TokenMixer;

/// One tensor of what a recurrent mixer remembers of a sequence: a d x d state of each head, or the
/// last inputs of a convolution. Zero for a sequence without tokens.
struct StatePart {
  std::string_view name;
  std::vector<int64_t> shape;
};

/// What a token costs in one mixer; floating-point operations, a product and its addition are two.
struct MixerWork {
  double input_weights = 0;   // of the projections that read the mixer's input
  double output_weights = 0;  // of o_proj
  double forward = 0;         // operations of the mixing itself
  double backward = 0;        // of its gradients
};

struct MixerKind {
  std::string_view name;   // in mixer_types of config.json: "lightning-attn"
  std::string_view title;  // for people: "lightning attention"

  /// Whether it remembers parts() of a sequence; else keys and values of every token, in pages.
  bool is_recurrent = true;

  /// Whether forward takes a part of each row (Context::row).
  bool splits_rows = false;

  std::shared_ptr<TokenMixer> (*make)(const ModelConfig& config, int64_t layer) = nullptr;

  /// Whether layers read what others leave in LayerShare: none of them can then be run again alone
  /// for backward. Null: no.
  bool (*crosses_layers)(const ModelConfig& config) = nullptr;

  /// What a recurrent mixer remembers of one sequence.
  std::vector<StatePart> (*parts)(const ModelConfig& config) = nullptr;

  /// Whether a step's kernels of a GPU can run it in bfloat16.
  bool (*has_step_kernels)(const ModelConfig& config) = nullptr;

  /// The size of the heads that RoPE turns; 0: none.
  int64_t (*rope_size)(const ModelConfig& config) = nullptr;

  /// A token of a sequence of `context`, by the forms that bench measures.
  MixerWork (*work)(const ModelConfig& config, double context) = nullptr;

  // Its own keys of config.json; null when it has none.

  /// Writes them; all of them, so that these are the keys that are read, too.
  Json (*write)(const ModelConfig& config) = nullptr;

  /// Reads those of them that are there into config.mixers; the rest of `config` is read already.
  void (*read)(const Json& keys, const std::string& place, ModelConfig& config) = nullptr;

  /// Throws Error, as check_model_config.
  void (*check)(const ModelConfig& config, const std::string& place) = nullptr;
};

/// The first kind of the model's whose layers read what others leave; null: none.
const MixerKind* kind_across_layers(const ModelConfig& config);

/// Every kind that there is, attention first.
std::span<const MixerKind* const> mixer_kinds();

/// The kind of this name. Throws Error naming `place` and the names that there are.
const MixerKind* mixer_kind(std::string_view name, const std::string& place);

/// `write` and `read` of a kind whose keys are the fields of one struct.
template <class Config>
Json write_mixer_config(const ModelConfig& config) {
  return write_fields(config.mixers.of<Config>());
}
template <class Config>
void read_mixer_config(const Json& keys, const std::string& place, ModelConfig& config) {
  read_fields(keys, place, config.mixers.of<Config>());
}

/// Throws Error unless RoPE can turn heads of this size, which the key names: it is even, and that
/// of attention's heads where RoPE turns those, too.
void check_rotated(const ModelConfig& config, const std::string& place, const char* key,
                   int64_t size);

/// The weights of q, k, v, a gate of q's size if there is one, and o_proj: work of mixers that have
/// these.
MixerWork projection_work(const ModelConfig& config, int64_t heads, int64_t key_heads,
                          int64_t head_dim, bool has_gate);

}  // namespace hypenet
