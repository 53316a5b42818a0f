// Folders of other projects, under the names and in the order of rows that the model's parameters
// have: Qwen3-Next and Qwen3.5, and flash-linear-attention's; those of RWKV-7 and Mamba-2 are in
// store/recurrent_names.h.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace hypenet {

using torch::Tensor;

/// What of a stored tensor is a parameter. Sizes are config.json's and may be anything until the
/// tensor is read.
struct StoredPart {
  std::string name = {};  // of the stored tensor

  /// Of each of `groups` runs of rows, `group_rows` each, those from `first` on. No groups: all.
  int64_t groups = 0, group_rows = 0, first = 0, rows = 0;

  /// Heads of so many rows, of which RoPE turns the `turned_size` in front, pair i being rows i and
  /// turned_size / 2 + i. They come so that pair i of all is i and head_size / 2 + i, and the pairs
  /// that turn come first. Scores are sums over the pairs, so their order shows nowhere.
  int64_t head_size = 0, turned_size = 0;

  bool is_offset = false;      // a norm's weight less 1: float32 with the 1
  bool is_transposed = false;  // a matrix, the other way round
  /// Of the parameter, all sizes but one 1, as those of the stored one are; empty: the stored one.
  std::vector<int64_t> shape = {};

  /// The stored tensor itself is the parameter.
  bool is_whole() const {
    return group_rows == 0 && head_size == 0 && !is_offset && !is_transposed && shape.empty();
  }
};

/// The text model's part of a config.json: text_config where there is one.
const Json& text_config(const Json& config);

/// What of an attention head RoPE turns in a Qwen3-Next or Qwen3.5; 0 where the keys make no sense.
int64_t turned_size_of(const Json& text_config);

/// The model's parameters by their own names, of a folder with this config.json and these tensors.
/// Those of other models keep their names; vision towers and heads that predict further tokens are
/// left out. Throws Error, beginning with `place`, where two stored tensors are one parameter.
std::map<std::string, StoredPart> stored_parts(const Json& config,
                                               const std::vector<std::string>& names,
                                               const std::string& place = "checkpoint");

/// The parameter. Throws Error, beginning with `place`, for rows that are not what config.json
/// says, and for a shape of another form.
Tensor take_part(const Tensor& stored, const StoredPart& part, const std::string& place);

}  // namespace hypenet
