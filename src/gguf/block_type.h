// The types of a GGUF file's tensors: rows of blocks, each of some values in some bytes, and the
// numbers that the blocks stand for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hypenet {

/// By their numbers in the file. The plain types are blocks of one value.
enum class BlockType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ40 = 2,
  kQ41 = 3,
  kQ50 = 6,
  kQ51 = 7,
  kQ80 = 8,
  kQ2K = 10,
  kQ3K = 11,
  kQ4K = 12,
  kQ5K = 13,
  kQ6K = 14,
  kBF16 = 30
};

struct BlockLayout {
  BlockType type;
  std::string_view name;  // "Q4_K"
  int64_t values, bytes;  // of a block
  bool is_plain = false;  // F32, F16, BF16
};

/// nullptr for types that are not read here.
const BlockLayout* find_block_layout(uint32_t type);
const BlockLayout& block_layout(BlockType type);

/// Every name that is read here: "F32, F16, ...".
std::string known_block_types();

/// What a type of ggml that is not read here is called; else its number.
std::string name_of_block_type(uint32_t type);

/// Expands `count` blocks into count * values float32 numbers, to the bit those of ggml's
/// definitions (docs/formats.md, "GGUF files"): products of scales and small integers are exact,
/// and at most one difference or sum is rounded.
void expand_blocks(BlockType type, const std::byte* blocks, int64_t count, float* values);

/// Whether pack_blocks makes blocks of this type: Q8_0, Q4_0.
bool is_packed_here(BlockType type);

/// Rounds count * values finite numbers into `count` blocks, to the bit those of ggml's reference
/// (quantize_row_q8_0_ref, quantize_row_q4_0_ref). Throws Error for types that are not packed here.
void pack_blocks(BlockType type, const float* values, int64_t count, std::byte* blocks);

}  // namespace hypenet
