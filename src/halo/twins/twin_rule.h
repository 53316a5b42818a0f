// The table of twins: what becomes of a Transformer's attention when a layer turns recurrent. A new
// mixer that can be converted to is a file here that defines its TwinRule, and a row in table.cpp.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "model/mixers/mixer_kind.h"
#include "store/checkpoint.h"

namespace hypenet {

struct TransferOptions {
  double gate_std = 0.02;  // new gates are N(0, gate_std)
  uint64_t seed = 0;
};

/// "model.layers.<layer>.self_attn.<name>"
std::string mixer_tensor(int64_t layer, std::string_view name);

/// A new gate's weight for layer `layer`, N(0, gate_std), the same for the same seed.
Tensor new_gate(const std::vector<int64_t>& shape, int64_t layer, const TransferOptions& options,
                torch::ScalarType type);

/// One layer's attention in the teacher's folder, from which the tensors of its twin are made, in
/// the type of the teacher's q_proj.
class TeacherAttention {
 public:
  TeacherAttention(const Checkpoint& teacher, const ModelConfig& config, int64_t layer,
                   const TransferOptions& options);

  /// Copies a projection, weight and bias if it has one: "q_proj".
  void copy(std::string_view projection, NamedTensors& to) const;

  /// The same for k_proj and v_proj, each key head H / G times in place: [G d, ..] -> [H d, ..].
  void expand(std::string_view projection, NamedTensors& to) const;

  /// q, k, v and o_proj with a key head for each query head, and the q/k norms of heads of `size`,
  /// ones where the teacher has none.
  void copy_heads(int64_t size, NamedTensors& to) const;

  Tensor ones(int64_t size) const;

  /// N(0, gate_std) [rows, D]: the same for the same seed and layer.
  Tensor new_gate(int64_t rows) const;

  /// A tensor as the teacher has it, "q_proj.weight"; undefined where it has none.
  Tensor tensor(std::string_view part) const;

  /// The same tensor of several projections, one below the other; undefined where the teacher's
  /// have none: stacked({"q_proj", "k_proj"}, ".bias").
  Tensor stacked(std::initializer_list<std::string_view> projections, std::string_view part) const;

  /// A norm's weight; ones of this size where the teacher has no such norm.
  void copy_norm(std::string_view name, int64_t size, NamedTensors& to) const;

  /// For a new tensor: the same for the same seed, layer and tensor.
  torch::Generator generator(std::string_view tensor) const;

  /// A new projection [rows, columns], U(-bound, bound): "a_proj".
  void draw(std::string_view projection, int64_t rows, int64_t columns, double bound,
            NamedTensors& to) const;

  /// Its numbers, in the type of the teacher's q_proj.
  Tensor drawn(std::string_view projection, int64_t rows, int64_t columns, double bound) const;

  std::string name(std::string_view part) const { return mixer_tensor(layer_, part); }
  int64_t layer() const { return layer_; }
  torch::ScalarType type() const { return type_; }

 private:
  const Checkpoint& teacher_;
  const ModelConfig& config_;
  int64_t layer_;
  TransferOptions options_;
  torch::ScalarType type_;
};

struct TwinRule {
  const MixerKind* mixer;

  /// Sets the mixer's own config for a twin of the teacher.
  void (*configure)(const ModelConfig& teacher, ModelConfig& twin);

  /// All tensors of the mixer.
  void (*transfer)(const TeacherAttention& from, const ModelConfig& twin, NamedTensors& to);
};

/// Every rule that there is; the first is what a recipe that names none asks for.
std::span<const TwinRule* const> twin_rules();

/// The rule of this mixer. Throws Error naming `place` and the mixers that have one.
const TwinRule& twin_rule(std::string_view mixer, const std::string& place);

}  // namespace hypenet
