// Rows against weights of few bits on a CPU (docs/kernels.md, "Packed weights"): integer products
// over blocks of 32 columns, float32 sums in the order of the blocks.
#pragma once

#include <cstdint>

#include "kernels/linear.h"

namespace hypenet::kernels {

/// What a matrix's codes stand for. ggml's blocks by their names (Q4_0 ...), and int4 and int8
/// codes with a float32 scale and a zero for each run of columns.
enum class PackedKind : int32_t { kQ40, kQ41, kQ50, kQ51, kQ80, kQ4K, kQ5K, kQ6K, kInt4, kInt8 };

constexpr int64_t kPackedRows = 16;     // rows of a group: side by side in memory
constexpr int64_t kPackedColumns = 32;  // columns of a block

/// A matrix in groups of 16 rows (the last one filled up with zeros), each first its codes, then
/// its scales. Codes are unsigned. Of each block of 32 columns there are eight steps of 4, in which
/// the codes of 16 rows lie one behind the other: 64 of them. 8 bits: a vector of 64 bytes a step.
/// Fewer: four vectors whose low nibbles are steps 0 to 3 and whose high ones are steps 4 to 7;
/// then a vector with the fifth bits, bit s of a byte for step s, or two with the fifth and sixth.
struct PackedMatrix {
  const uint8_t* groups = nullptr;  // a multiple of 64
  int64_t rows = 0, columns = 0;    // columns: a multiple of what a scale is for, but in kInt8
  PackedKind kind = PackedKind::kQ80;
  int64_t scale_columns = 0;  // of kInt4 and kInt8: a multiple of 32; `columns` or more: all
};

inline int64_t packed_blocks(int64_t columns) {
  return (columns + kPackedColumns - 1) / kPackedColumns;
}
inline int64_t packed_groups(int64_t rows) { return (rows + kPackedRows - 1) / kPackedRows; }

/// Bytes of a group, a multiple of 64.
int64_t packed_group_bytes(const PackedMatrix& matrix);

/// Bytes of a row of so many numbers in ggml's blocks; 0 unless they fill whole blocks.
int64_t file_row_bytes(PackedKind kind, int64_t columns);

/// Rows of ggml's blocks (kQ40 to kQ6K) as they lie in a file.
struct FileRows {
  const uint8_t* rows;  // [rows, row_bytes]
  int64_t row_bytes;
  int64_t paired_rows = 0;  // of a head: rows 2i and 2i + 1 go to i and half of these + i; 0: none
};

/// Rows of codes with their scales: W = (code - zero) * scale.
struct CodeRows {
  const uint8_t* codes;  // [rows, columns]
  const float* scales;   // [rows, runs of scale_columns]
  const uint8_t* zeros;  // likewise
};

/// Groups begin .. end - 1 of `matrix` into `groups`, the memory of all of its groups.
void pack_groups(const PackedMatrix& matrix, const FileRows& from, uint8_t* groups, int64_t begin,
                 int64_t end);
void pack_groups(const PackedMatrix& matrix, const CodeRows& from, uint8_t* groups, int64_t begin,
                 int64_t end);

/// Row `row` as the numbers that it stands for, exactly those of ggml's definitions: y [columns].
void expand_packed_row(const PackedMatrix& matrix, int64_t row, float* y);

/// 32 numbers of a row of x, rounded: scale * codes, scale the largest of them by 127.
struct RowBlock {
  int8_t codes[kPackedColumns];
  float scale, sum;                    // sum: of the rounded numbers
  int32_t minus_sum, minus_halves[2];  // of the codes, and of the first and the second 16
  int32_t unused[3];
};

/// pack_rows for packed weights: rows begin .. end - 1 of y [rows, blocks of a row], zeros up to
/// whole blocks. A block with a number that is not finite gets NaN as its scale. y_type and
/// weight_type are not read.
void round_rows(const PackRowsParams& params, RowBlock* y, int64_t begin, int64_t end);

constexpr int64_t kRowPadding = 8;  // rows of x are there up to a multiple of this

struct PackedLinearParams {
  const RowBlock* x;  // [rows and up to 7 more, whose numbers do not matter, blocks of a row]
  PackedMatrix weight;
  const float* bias;  // [weight.rows], or null
  float* y;           // [rows, weight.rows]
  int64_t rows, y_row;
  bool adds;  // y += x W^T + bias, not y = it
};

/// Outputs of groups begin .. end - 1, for all rows. Their bits depend on their row, their weights
/// and the machine's instructions alone.
void packed_linear(const PackedLinearParams& params, int64_t begin, int64_t end);

/// By which instructions.
enum class PackedForm {
  kAmx,    // tdpbsud for sixteen rows of x, else as kVnni: the same bits
  kVnni,   // AVX-512 with vpdpbusd
  kAvx2,   // vpmaddubsw
  kPlain,  // none of these
};

/// What packed_linear takes on this machine.
PackedForm packed_form();

/// The same by this form; false, and nothing done, where the machine does not have it.
bool packed_linear_by(PackedForm form, const PackedLinearParams& params, int64_t begin,
                      int64_t end);

}  // namespace hypenet::kernels
