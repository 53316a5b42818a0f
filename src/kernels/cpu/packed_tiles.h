// Packed weights by the machine's tile products (AMX): sixteen rows of x with sixteen of weights.
#pragma once

#include "kernels/packed_linear.h"

namespace hypenet::kernels {

constexpr int64_t kTileProductRows = 16;  // of x

/// Whether the machine has tdpbsud, and the system lets this process use it. Asks for that once.
bool has_tile_products();

/// Whether packed_tiles is faster than vpdpbusd: where a block is a tile. The halves that Q6_K has
/// would take two, half empty.
constexpr bool has_whole_tiles(PackedKind kind) { return kind != PackedKind::kQ6K; }

/// packed_linear for the first `rows` rows, a multiple of kTileProductRows, of kinds that have
/// whole tiles, on such a machine.
void packed_tiles(const PackedLinearParams& params, int64_t rows, int64_t begin, int64_t end);

}  // namespace hypenet::kernels
