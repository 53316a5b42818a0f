// The layouts of the project compressed-tensors: pack-quantized, int-quantized, float-quantized
// (docs/lowbit.md).
#pragma once

#include <optional>
#include <string>
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
  int64_t bits = 4;
  int64_t group = 0;                 // columns that share a scale; 0: all of a row
  int64_t block_rows = 0;            // strategy "block": with `group` columns; 0: others
  bool is_tensor = false;            // strategy "tensor": one scale
  bool is_symmetric = true;          // no weight_zero_point
  bool has_group_of_column = false;  // actorder: weight_g_idx may be there
};

/// The matrix of a module with these tensors; `place` begins errors ("file: module m"). Types and
/// shapes are checked; a matrix of the file's own bytes where they are as QuantisedMatrix has them.
QuantisedMatrix unpack_compressed(const ModuleTensors& tensors, const CompressedScheme& scheme,
                                  const std::string& place);

/// The same the other way round: kInt4 as pack-quantized, kInt8 as int-quantized (symmetric, a
/// scale a row), kFloat8 as float-quantized. Throws Error for a matrix that these cannot hold.
ModuleTensors pack_compressed(const QuantisedMatrix& matrix);

/// The scheme that pack_compressed wrote this matrix by.
CompressedScheme compressed_scheme(const QuantisedMatrix& matrix);

/// config.json's quantization_config of a folder whose linear layers are all in this scheme but
/// for the modules of `ignore` (names).
Json compressed_config(const CompressedScheme& scheme, const std::vector<std::string>& ignore);

}  // namespace hypenet
