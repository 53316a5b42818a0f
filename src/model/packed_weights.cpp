// GGUF files have blocks, quantised folders codes with scales and zeros of their own.
#include "model/packed_weights.h"

#include "base/file_pages.h"

namespace hypenet {
namespace {

/// Of codes as they are stored: of 4 bits + 8, of 8 bits as signed bytes.
bool suits_products(const QuantisedMatrix& matrix) {
  if (matrix.type == CodeType::kFloat8 || matrix.group_of_column.defined()) return false;
  const bool is_whole_row = matrix.group >= matrix.columns;
  return matrix.scale_rows == 1 && (is_whole_row || matrix.group % kernels::kPackedColumns == 0);
}

/// uint8 [N, K], all numbers of the form's codes moved up to begin at 0.
Tensor unsigned_codes(const QuantisedMatrix& matrix) {
  if (matrix.type == CodeType::kInt8) return matrix.codes.view(torch::kUInt8).bitwise_xor(0x80);
  const Tensor low = matrix.codes.bitwise_and(15), high = matrix.codes.bitwise_right_shift(4);
  return torch::stack({low, high}, -1).flatten(1).narrow(1, 0, matrix.columns);
}

}  // namespace

PackedWeightPointer packed_weight(const QuantisedMatrix& matrix, Activations activations,
                                  PackedMemory& memory) {
  if (!suits_products(matrix)) return nullptr;
  const int64_t first = matrix.type == CodeType::kInt8 ? 128 : 8;  // what code 0 is stored as
  Tensor zeros = torch::full_like(matrix.scales, first, torch::kInt16);
  if (matrix.zeros.defined()) zeros += matrix.zeros;
  if (zeros.numel() > 0 && zeros.max().item<int64_t>() > UINT8_MAX) return nullptr;
  return pack_weight(StoredCodes{.stored = std::string(code_type_name(matrix.type)),
                                 .bits = matrix.type == CodeType::kInt8 ? 8 : 4,
                                 .codes = unsigned_codes(matrix),
                                 .scales = matrix.scales,
                                 .zeros = zeros.to(torch::kUInt8),
                                 .run = matrix.group},
                     activations, memory);
}

bool is_packable(const Checkpoint& checkpoint, const std::string& name) {
  const TensorFacts facts = checkpoint.facts(name);
  if (!facts.is_packed() || facts.shape.size() != 2) return false;
  if (is_packed_type(facts.stored)) return true;
  const auto form = checkpoint.quantised_form(name);
  return form && suits_products(*form);
}

PackedWeightPointer packed_weight(const Checkpoint& checkpoint, const std::string& name,
                                  const std::vector<int64_t>& shape, Activations activations,
                                  PackedMemory& memory) {
  const TensorFacts facts = checkpoint.facts(name, shape);
  if (!is_packable(checkpoint, name)) return nullptr;
  if (!is_packed_type(facts.stored)) {
    return packed_weight(*checkpoint.quantised(name), activations, memory);
  }
  const Tensor rows = checkpoint.packed(name);
  PackedWeightPointer packed = pack_weight(StoredBlocks{.stored = facts.stored,
                                                        .rows = rows,
                                                        .columns = facts.shape[1],
                                                        .paired_rows = facts.paired_rows},
                                           activations, memory);
  // What was packed is not read again: without this the file would lie in memory twice.
  release_file_pages({static_cast<const std::byte*>(rows.const_data_ptr()), rows.nbytes()});
  return packed;
}

}  // namespace hypenet
