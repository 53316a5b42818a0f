// The tensors of published RWKV-7 and Mamba-2 models under the model's names: those of RADLADS,
// flash-linear-attention, Llamba and The Mamba in the Llama.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/published_names.h"

namespace hypenet {

/// What of the model's parameters a stored tensor is; none: no forward reads it.
using NamedParts = std::vector<std::pair<std::string, StoredPart>>;

/// Names of theirs, in turn, wherever they stand in a tensor's name.
struct Renamed {
  std::string_view theirs, ours;
};

std::string renamed(std::string name, std::span<const Renamed> rows);

class RecurrentNames {
 public:
  /// `names` are all of the folder's tensors: they tell RADLADS' two generations apart.
  RecurrentNames(const Json& config, std::string architecture,
                 const std::vector<std::string>& names);

  /// nullopt: the folder is of another architecture.
  std::optional<NamedParts> parts_of(const std::string& stored) const;

 private:
  NamedParts of_radlads(const std::string& stored) const;

  std::string architecture_;
  bool is_mamba_in_llama_, has_balanced_state_, has_token_shift_;
};

/// Whether tensors of these names are of a RADLADS folder's first generation: with token shift.
bool is_first_radlads(const std::vector<std::string>& names);

}  // namespace hypenet
