// Groups of rows are packed, and rows expanded, by all threads.
#include "ops/packed_weight.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/large_pages.h"
#include "ops/packed_memory.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using kernels::PackedKind;
using kernels::PackedMatrix;

constexpr int64_t kGrain = 65536;  // numbers a task
// Pieces are long, because what is left of each at its end is lost: a large page at most, since the
// system gives memory where it is written to.
constexpr int64_t kPiece = int64_t{1} << 30;  // bytes
constexpr int64_t kAlignment = 64;

constexpr auto kKinds =
    std::to_array<std::pair<std::string_view, PackedKind>>({{"Q4_0", PackedKind::kQ40},
                                                            {"Q4_1", PackedKind::kQ41},
                                                            {"Q5_0", PackedKind::kQ50},
                                                            {"Q5_1", PackedKind::kQ51},
                                                            {"Q8_0", PackedKind::kQ80},
                                                            {"Q4_K", PackedKind::kQ4K},
                                                            {"Q5_K", PackedKind::kQ5K},
                                                            {"Q6_K", PackedKind::kQ6K}});

const auto* find_kind(std::string_view stored) {
  return std::ranges::find(kKinds, stored, [](const auto& kind) { return kind.first; });
}

/// A weight without numbers.
std::shared_ptr<PackedWeight> empty_weight(const PackedMatrix& matrix, const std::string& stored,
                                           Activations activations, PackedMemory& memory) {
  auto weight = std::make_shared<PackedWeight>();
  weight->matrix = matrix, weight->stored = stored, weight->activations = activations;
  const int64_t bytes = kernels::packed_groups(matrix.rows) * kernels::packed_group_bytes(matrix);
  weight->memory = memory.take(bytes);
  weight->matrix.groups = weight->memory.const_data_ptr<uint8_t>();
  return weight;
}

template <class Rows>
PackedWeightPointer filled(std::shared_ptr<PackedWeight> weight, const Rows& from) {
  const PackedMatrix& matrix = weight->matrix;
  auto* const groups = weight->memory.mutable_data_ptr<uint8_t>();
  const int64_t numbers = kernels::kPackedRows * matrix.columns;  // of a group
  at::parallel_for(
      0, kernels::packed_groups(matrix.rows), kGrain / (numbers + 1) + 1,
      [&](int64_t begin, int64_t end) { kernels::pack_groups(matrix, from, groups, begin, end); });
  return weight;
}

void check_bytes(const char* place, const Tensor& x, torch::IntArrayRef shape) {
  check_shape(place, x, shape);
  HYPENET_CHECK(x.is_cpu() && x.scalar_type() == torch::kUInt8, place,
                ": expected uint8 on the CPU, found ", x.scalar_type(), " on ", x.device());
}

/// Rows `ids`; null: 0 to count - 1.
Tensor rows_of(const PackedWeight& weight, const int64_t* ids, int64_t count) {
  Tensor rows = torch::empty({count, weight.columns()}, torch::kFloat32);
  auto* const y = rows.mutable_data_ptr<float>();
  at::parallel_for(0, count, kGrain / (weight.columns() + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      kernels::expand_packed_row(weight.matrix, ids == nullptr ? i : ids[i],
                                 y + i * weight.columns());
    }
  });
  return rows;
}

}  // namespace

Tensor PackedMemory::take(int64_t bytes) {
  if (bytes > size_ - used_) {
    size_ = std::max(kPiece, bytes), used_ = 0;
    piece_ = map_large_pages(static_cast<size_t>(size_));
  }
  std::byte* const first = piece_.get() + used_;
  used_ = std::min(size_, (used_ + bytes + kAlignment - 1) / kAlignment * kAlignment);
  return torch::from_blob(
      first, {bytes}, [piece = piece_](void*) {}, torch::kUInt8);
}

bool is_packed_type(std::string_view stored) { return find_kind(stored) != kKinds.end(); }

PackedWeightPointer pack_weight(const StoredBlocks& from, Activations activations,
                                PackedMemory& memory) {
  HYPENET_CHECK(is_packed_type(from.stored),
                "packed weight: expected blocks of Q4_0 to Q6_K, found ", from.stored);
  HYPENET_CHECK(from.rows.dim() == 2 && from.columns > 0,
                "packed weight: expected rows [N, bytes], found ", from.rows.sizes(), " of ",
                from.columns, " numbers");
  const PackedMatrix matrix{
      .rows = from.rows.size(0), .columns = from.columns, .kind = find_kind(from.stored)->second};
  const int64_t row_bytes = kernels::file_row_bytes(matrix.kind, matrix.columns);
  HYPENET_CHECK(row_bytes > 0, "packed weight: expected whole blocks of ", from.stored,
                " in a row, found ", matrix.columns, " numbers");
  check_bytes("packed weight: rows", from.rows, {matrix.rows, row_bytes});
  HYPENET_CHECK(from.paired_rows == 0 || (from.paired_rows > 0 && from.paired_rows % 2 == 0 &&
                                          matrix.rows % from.paired_rows == 0),
                "packed weight: paired_rows: expected an even divisor of ", matrix.rows, ", found ",
                from.paired_rows);
  const Tensor rows = from.rows.contiguous();
  return filled(empty_weight(matrix, from.stored, activations, memory),
                kernels::FileRows{.rows = rows.const_data_ptr<uint8_t>(),
                                  .row_bytes = row_bytes,
                                  .paired_rows = from.paired_rows});
}

PackedWeightPointer pack_weight(const StoredCodes& from, Activations activations,
                                PackedMemory& memory) {
  HYPENET_CHECK(
      from.codes.dim() == 2 && from.codes.size(1) > 0 && (from.bits == 4 || from.bits == 8),
      "packed weight: expected codes [N, K] of 4 or 8 bits, found ", from.codes.sizes(), " of ",
      from.bits);
  const int64_t N = from.codes.size(0), K = from.codes.size(1);
  HYPENET_CHECK(from.run >= K || (from.run > 0 && from.run % kernels::kPackedColumns == 0),
                "packed weight: expected a multiple of ", kernels::kPackedColumns,
                " columns for a scale, found ", from.run);
  const int64_t run =
      from.run >= K ? kernels::packed_blocks(K) * kernels::kPackedColumns : from.run;
  const int64_t runs = (K + run - 1) / run;
  check_bytes("packed weight: codes", from.codes, {N, K});
  check_bytes("packed weight: zeros", from.zeros, {N, runs});
  check_shape("packed weight: scales", from.scales, {N, runs});
  const PackedMatrix matrix{.rows = N,
                            .columns = K,
                            .kind = from.bits == 4 ? PackedKind::kInt4 : PackedKind::kInt8,
                            .scale_columns = run};
  const Tensor codes = from.codes.contiguous(), zeros = from.zeros.contiguous();
  const Tensor scales = from.scales.to(torch::kFloat32).contiguous();
  return filled(empty_weight(matrix, from.stored, activations, memory),
                kernels::CodeRows{.codes = codes.const_data_ptr<uint8_t>(),
                                  .scales = scales.const_data_ptr<float>(),
                                  .zeros = zeros.const_data_ptr<uint8_t>()});
}

PackedWeightPointer pack_weight(const StoredBlocks& from, Activations activations) {
  PackedMemory memory;
  return pack_weight(from, activations, memory);
}

PackedWeightPointer pack_weight(const StoredCodes& from, Activations activations) {
  PackedMemory memory;
  return pack_weight(from, activations, memory);
}

Tensor expand_rows(const PackedWeight& weight, const Tensor& ids) {
  HYPENET_CHECK(ids.dim() == 1 && ids.is_cpu(),
                "packed weight: ids: expected [n] on the CPU, found ", ids.sizes(), " on ",
                ids.device());
  const Tensor rows = ids.to(torch::kInt64).contiguous();
  const auto* const first = rows.const_data_ptr<int64_t>();
  const auto bad = std::find_if(first, first + rows.numel(),
                                [&](int64_t id) { return id < 0 || id >= weight.rows(); });
  if (bad != first + rows.numel()) {
    throw Error(concat("packed weight: ids: expected 0 to ", weight.rows() - 1, ", found ", *bad));
  }
  return rows_of(weight, first, rows.numel());
}

Tensor expand(const PackedWeight& weight) { return rows_of(weight, nullptr, weight.rows()); }

}  // namespace hypenet
