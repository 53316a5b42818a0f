// Blocks against ggml's layouts, written out here bit by bit, and against the Python package gguf.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "gguf/gguf_file.h"

namespace hypenet {
namespace {

using Block = std::vector<uint8_t>;

double half_of(const Block& block, size_t at) {
  const int bits = block[at] | block[at + 1] << 8;
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double sign = bits >> 15 != 0 ? -1 : 1;
  return exponent == 0 ? sign * std::ldexp(fraction, -24)
                       : sign * std::ldexp(1024 + fraction, exponent - 25);
}

/// `count` bits of a block, the lowest of the first byte first.
int bits_of(const Block& block, size_t first_byte, size_t first_bit, size_t count) {
  int value = 0;
  for (size_t i = 0; i < count; ++i) {
    const size_t bit = first_bit + i;
    value |= (block[first_byte + bit / 8] >> bit % 8 & 1) << i;
  }
  return value;
}

/// In the small types value i is the low half of byte i, and i + 16 its high half.
int nibble(const Block& block, size_t first, size_t i) {
  return bits_of(block, first, i % 16 * 8 + i / 16 * 4, 4);
}

double value_of_small(BlockType type, const Block& block, size_t i) {
  const double d = half_of(block, 0);
  switch (type) {
    case BlockType::kQ40:
      return d * (nibble(block, 2, i) - 8);
    case BlockType::kQ41:
      return d * nibble(block, 4, i) + half_of(block, 2);
    case BlockType::kQ50:
      return d * (nibble(block, 6, i) + 16 * bits_of(block, 2, i, 1) - 16);
    case BlockType::kQ51:
      return d * (nibble(block, 8, i) + 16 * bits_of(block, 4, i, 1)) + half_of(block, 2);
    default:  // Q8_0
      return d * static_cast<int8_t>(block[2 + i]);
  }
}

/// In Q4_K and Q5_K 64 values share 32 bytes.
int nibble_of_k(const Block& block, size_t first, size_t i) {
  return bits_of(block, first, (i / 64 * 32 + i % 32) * 8 + i / 32 % 2 * 4, 4);
}

/// In Q2_K and Q3_K 128 values share 32 bytes.
int pair_of_k(const Block& block, size_t first, size_t i) {
  return bits_of(block, first, (i / 128 * 32 + i % 32) * 8 + i / 32 % 4 * 2, 2);
}

/// Scale (`part` 0) or minimum (1) of sub-block j from twelve bytes at 4: of the first four six
/// bits stand in one byte each; of the others four bits in a byte and two on top of an earlier one.
int six_bits(const Block& block, size_t j, size_t part) {
  if (j < 4) return bits_of(block, 4 + part * 4 + j, 0, 6);
  return bits_of(block, 4 + 8 + j - 4, part * 4, 4) +
         16 * bits_of(block, 4 + part * 4 + j - 4, 6, 2);
}

/// Q3_K's: eight bytes of nibbles, of which the high ones are scales 8 to 15, then four of pairs.
int scale_of_q3(const Block& block, size_t j) {
  return bits_of(block, 96 + j % 8, j / 8 * 4, 4) + 16 * bits_of(block, 104 + j % 4, j / 4 * 2, 2) -
         32;
}

double value_of_k(BlockType type, const Block& block, size_t i) {
  switch (type) {
    case BlockType::kQ2K:
      return half_of(block, 80) * bits_of(block, i / 16, 0, 4) * pair_of_k(block, 16, i) -
             half_of(block, 82) * bits_of(block, i / 16, 4, 4);
    case BlockType::kQ3K: {
      const int third = bits_of(block, i % 32, i / 32, 1);
      return half_of(block, 108) * scale_of_q3(block, i / 16) *
             (pair_of_k(block, 32, i) + 4 * third - 4);
    }
    case BlockType::kQ4K:
      return half_of(block, 0) * six_bits(block, i / 32, 0) * nibble_of_k(block, 16, i) -
             half_of(block, 2) * six_bits(block, i / 32, 1);
    case BlockType::kQ5K: {
      const int q = nibble_of_k(block, 48, i) + 16 * bits_of(block, 16 + i % 32, i / 32, 1);
      return half_of(block, 0) * six_bits(block, i / 32, 0) * q -
             half_of(block, 2) * six_bits(block, i / 32, 1);
    }
    default: {  // Q6_K: 64 bytes of nibbles and 32 of pairs for each half
      const size_t half = i / 128, run = i % 128 / 32, c = i % 32;
      const int low = bits_of(block, half * 64 + run % 2 * 32 + c, run / 2 * 4, 4);
      const int q = low + 16 * bits_of(block, 128 + half * 32 + c, run * 2, 2) - 32;
      return half_of(block, 208) * static_cast<int8_t>(block[192 + i / 16]) * q;
    }
  }
}

/// A block of random bits whose scales are ordinary numbers.
Block random_block(const BlockLayout& layout, std::mt19937& random) {
  static const std::map<BlockType, std::vector<size_t>> kHalves = {
      {BlockType::kQ40, {0}},    {BlockType::kQ41, {0, 2}}, {BlockType::kQ50, {0}},
      {BlockType::kQ51, {0, 2}}, {BlockType::kQ80, {0}},    {BlockType::kQ2K, {80, 82}},
      {BlockType::kQ3K, {108}},  {BlockType::kQ4K, {0, 2}}, {BlockType::kQ5K, {0, 2}},
      {BlockType::kQ6K, {208}}};
  Block block(static_cast<size_t>(layout.bytes));
  for (uint8_t& byte : block) byte = static_cast<uint8_t>(random() % 256);
  for (const size_t at : kHalves.at(layout.type)) {
    block[at + 1] = static_cast<uint8_t>(random() % 2 * 128 + random() % 0x3C);
  }
  return block;
}

class Blocks : public testing::TestWithParam<const char*> {
 protected:
  static const BlockLayout& layout() {
    uint32_t type = 0;
    while (name_of_block_type(type) != GetParam()) ++type;
    return *find_block_layout(type);
  }
};

class PackedBlocks : public Blocks {};

TEST_P(PackedBlocks, are_what_their_bits_say) {
  const BlockLayout& layout = PackedBlocks::layout();
  std::mt19937 random(7);
  for (int turn = 0; turn < 50; ++turn) {
    const Block block = random_block(layout, random);
    std::vector<float> found(static_cast<size_t>(layout.values), NAN);
    expand_blocks(layout.type, reinterpret_cast<const std::byte*>(block.data()), 1, found.data());
    for (size_t i = 0; i < found.size(); ++i) {
      const double expected = found.size() == 32 ? value_of_small(layout.type, block, i)
                                                 : value_of_k(layout.type, block, i);
      // The products are exact in float64: one rounding is left.
      ASSERT_EQ(found[i], static_cast<float>(expected)) << layout.name << " value " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(types, PackedBlocks,
                         testing::Values("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K",
                                         "Q4_K", "Q5_K", "Q6_K"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(Blocks, are_what_the_package_gguf_expands_them_to) {
  const GgufFile file(HYPENET_TEST_DATA "/gguf/blocks.gguf");
  std::map<std::string, const GgufTensor*> tensors;
  for (const GgufTensor& tensor : file.tensors()) tensors[tensor.name] = &tensor;
  const std::string name = GetParam();
  const GgufTensor &blocks = *tensors.at(name), &expected = *tensors.at(name + ".values");
  const BlockLayout& layout = block_layout(blocks.type);
  ASSERT_EQ(layout.name, name);
  ASSERT_EQ(blocks.shape, expected.shape);
  std::vector<float> found(expected.blocks.size() / sizeof(float), NAN);
  expand_blocks(blocks.type, blocks.blocks.data(), std::ssize(found) / layout.values, found.data());
  EXPECT_EQ(std::memcmp(found.data(), expected.blocks.data(), expected.blocks.size()), 0);
}

INSTANTIATE_TEST_SUITE_P(types, Blocks,
                         testing::Values("F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0",
                                         "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"),
                         [](const auto& info) { return std::string(info.param); });

TEST(BlockType, half_precision_has_subnormal_and_infinite_numbers) {
  const std::vector<uint16_t> halves = {0x0001, 0x83FF, 0x7C00, 0xFC00, 0x0000, 0x8000, 0x7E00};
  std::vector<float> found(halves.size());
  expand_blocks(BlockType::kF16, reinterpret_cast<const std::byte*>(halves.data()),
                std::ssize(halves), found.data());
  EXPECT_EQ(found[0], 0x1p-24F);
  EXPECT_EQ(found[1], -1023 * 0x1p-24F);
  EXPECT_EQ(found[2], INFINITY);
  EXPECT_EQ(found[3], -INFINITY);
  EXPECT_EQ(found[4], 0);
  EXPECT_TRUE(std::signbit(found[5]));
  EXPECT_TRUE(std::isnan(found[6]));
}

}  // namespace
}  // namespace hypenet
