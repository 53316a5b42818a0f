// Packing against ggml's own functions, whose bytes for the numbers made here stand in the test,
// and against what the blocks stand for.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gguf/block_type.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

constexpr int kValues = 32;

std::string packed(BlockType type, const std::vector<float>& values) {
  const BlockLayout& layout = block_layout(type);
  const auto count = static_cast<int64_t>(values.size()) / layout.values;
  std::string blocks(static_cast<size_t>(count * layout.bytes), '\xAA');
  pack_blocks(type, values.data(), count, reinterpret_cast<std::byte*>(blocks.data()));
  return blocks;
}

std::vector<float> expanded(BlockType type, const std::string& blocks) {
  const BlockLayout& layout = block_layout(type);
  const auto count = static_cast<int64_t>(blocks.size()) / layout.bytes;
  std::vector<float> values(static_cast<size_t>(count * layout.values));
  expand_blocks(type, reinterpret_cast<const std::byte*>(blocks.data()), count, values.data());
  return values;
}

std::string hexadecimal(const std::string& bytes) {
  std::string text;
  for (const char byte : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(byte));
    text += digits;
  }
  return text;
}

/// Four blocks: around 1, around 2^-14 (the scale of Q8_0 is subnormal in float16), in the
/// hundreds, and zeros.
std::vector<float> four_blocks() {
  std::vector<float> values;
  uint32_t state = 1;
  for (const float unit : {1024.0F, 16777216.0F, 1.0F, 0.0F}) {
    for (int i = 0; i < kValues; ++i) {
      state = state * 1664525U + 1013904223U;
      const auto integer = static_cast<float>(static_cast<int>((state >> 8) % 2001U) - 1000);
      values.push_back(unit == 0 ? 0 : integer / unit);
    }
  }
  return values;
}

TEST(PackBlocks, bytes_are_those_of_ggml) {
  EXPECT_EQ(hexadecimal(packed(BlockType::kQ80, four_blocks())),
            "791f0b9a4a834baf74cfc73767e319b07f56842bb67f0df5fb22ec5da7ce2c6ae1d5"
            "080029678f8fac74423e833dbbd097ba5081094cb763a2fd6baaf0718408d04ea037"
            "4d4710f5140903f5452f6686a0c18dd306734f15978606d047bc81a2387c0935b854"
            "00000000000000000000000000000000000000000000000000000000000000000000");
  EXPECT_EQ(hexadecimal(packed(BlockType::kQ40, four_blocks())),
            "6aaff75ed30f739d816b9c25e1ba561da0b3"
            "7d009bdf31e1238ffc3c70fc048551d42db0"
            "3e57d99719098857cc4b0e20c2f491b538df"
            "008088888888888888888888888888888888");
}

TEST(PackBlocks, numbers_come_back_within_half_a_step) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> values(64 * kValues);
  for (float& value : values) value = normal(random);
  for (const BlockType type : {BlockType::kQ80, BlockType::kQ40}) {
    const std::vector<float> found = expanded(type, packed(type, values));
    for (size_t i = 0; i < values.size(); ++i) {
      const auto block = std::next(values.begin(), static_cast<long>(i / kValues * kValues));
      const float most = std::abs(*std::max_element(
          block, block + kValues, [](float a, float b) { return std::abs(a) < std::abs(b); }));
      // Q4_0 has no 8: the far end of the other sign is a whole step off. 2^-11 of the scale.
      const float step = type == BlockType::kQ80 ? most / 127 / 2 : most / 8;
      ASSERT_NEAR(found[i], values[i], step + most * 0x1p-10F) << block_layout(type).name;
    }
  }
}

TEST(PackBlocks, what_blocks_stand_for_packs_to_the_same_blocks) {
  for (const BlockType type : {BlockType::kQ80, BlockType::kQ40}) {
    std::vector<float> values = four_blocks();
    values.erase(values.begin() + kValues, values.begin() + 2 * kValues);  // of 7 bits of scale
    const std::string blocks = packed(type, values);
    EXPECT_EQ(hexadecimal(packed(type, expanded(type, blocks))), hexadecimal(blocks));
  }
}

TEST(PackBlocks, tiny_numbers_are_zeros) {
  const std::vector<float> values(kValues, std::numeric_limits<float>::denorm_min());
  for (const BlockType type : {BlockType::kQ80, BlockType::kQ40}) {
    for (const float value : expanded(type, packed(type, values))) EXPECT_EQ(value, 0);
  }
}

TEST(PackBlocks, other_types_are_refused_by_name) {
  EXPECT_FALSE(is_packed_here(BlockType::kQ4K));
  EXPECT_ERROR(packed(BlockType::kQ4K, std::vector<float>(256)),
               "pack_blocks: expected Q8_0 or Q4_0, found Q4_K");
}

}  // namespace
}  // namespace hypenet
