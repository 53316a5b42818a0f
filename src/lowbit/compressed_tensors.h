// The layouts of the project compressed-tensors: pack-quantized, int-quantized, float-quantized
// (docs/lowbit.md), both ways.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "lowbit/module_tensors.h"
#include "lowbit/quantised_matrix.h"

namespace hypenet {

enum class CompressedFormat { kPack, kInt, kFloat };

/// "pack-quantized", "int-quantized", "float-quantized".
std::string_view compressed_format_name(CompressedFormat format);

/// What a group of config_groups says of its weights.
struct CompressedScheme {
  CompressedFormat format = CompressedFormat::kPack;
  int64_t bits = 4;          // of a code; in kPack 4 or 8
  int64_t group = 0;         // columns that share a scale; 0: all
  int64_t scale_rows = 1;    // rows that share a scale; 0: all
  bool is_symmetric = true;  // no weight_zero_point is needed
};

/// What the module's matrix is, without tensors: of codes and scales only types and shapes are
/// looked at. Throws Error for others than the scheme's.
QuantisedMatrix compressed_form(const StoredModule& stored, const CompressedScheme& scheme);

/// The module's matrix: the file's own bytes where they lie as QuantisedMatrix has them. Throws
/// Error as compressed_form does, and for numbers that make no sense.
QuantisedMatrix unpack_compressed(const StoredModule& stored, const CompressedScheme& scheme);

/// The tensors of a module in the scheme that compressed_scheme gives: kInt4 as pack-quantized,
/// kInt8 as int-quantized, kFloat8 as float-quantized. Throws Error for groups that leave a rest
/// of columns, and for a group_of_column, which their readers no longer know.
ModuleTensors pack_compressed(const QuantisedMatrix& matrix);
CompressedScheme compressed_scheme(const QuantisedMatrix& matrix);

/// config.json's quantization_config of a folder whose linear layers are all in this scheme but
/// for the modules of `ignore`, by their names.
Json compressed_config(const CompressedScheme& scheme, const std::vector<std::string>& ignore);

}  // namespace hypenet
