// The stored tensors of one quantised module, by what stands behind "m.": what every layout reads.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet {

using torch::Tensor;

/// {"weight_packed", ..}, {"weight_scale", ..} of module "model.layers.0.self_attn.q_proj".
using ModuleTensors = std::map<std::string, Tensor>;

/// A module's tensors, and what errors about them begin with.
struct StoredModule {
  std::string place = {};  // "out/model: tensor model.layers.0.self_attn.q_proj"
  ModuleTensors tensors = {};

  std::string at(std::string_view ending) const;
  bool has(const std::string& ending) const { return tensors.contains(ending); }

  /// The tensor of this ending. Throws Error where there is none, where it has none of the types,
  /// or another shape: `<place>.<ending>: expected I32 [16, 8], found F32 [16, 8]`.
  Tensor get(const std::string& ending, const std::vector<torch::ScalarType>& types,
             const std::vector<int64_t>& shape) const;
  /// A matrix with any numbers of rows and columns above 0.
  Tensor matrix(const std::string& ending, torch::ScalarType type) const;
  /// float32, float16 or bfloat16.
  Tensor scales(const std::string& ending, const std::vector<int64_t>& shape) const;
};

/// count / by, rounded up; count and by are above 0.
int64_t divided_up(int64_t count, int64_t by);

/// Codes of 4 or 8 bits, lowest bits first, of int32 words [R, W] along a row: uint8 [R, 32 W /
/// bits], a copy.
Tensor unpack_words(const Tensor& words, int64_t bits);

/// The groups of columns, undefined where they are k / group or all -1 (not set). Throws Error,
/// beginning with `place`, for one that is not 0 to groups - 1.
Tensor read_group_of_column(const Tensor& stored, int64_t group, int64_t groups,
                            const std::string& place);

}  // namespace hypenet
