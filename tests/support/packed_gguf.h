// A Llama of two layers as a GGUF file whose matrices are blocks of many types.
#pragma once

#include <array>
#include <bit>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "tests/support/gguf_builder.h"

namespace hypenet::testing_support {

/// A number from 2^-14 up to 2^15, cut to float16.
inline uint16_t half_bits(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return static_cast<uint16_t>(((bits >> 16) & 0x8000U) | ((((bits >> 23) & 0xFFU) - 112U) << 10) |
                               ((bits >> 13) & 0x3FFU));
}

/// Random blocks, scales about `scale`; a type's least numbers are scales, too.
inline std::string random_blocks(BlockType type, int64_t count, float scale, std::mt19937& random) {
  const BlockLayout& layout = block_layout(type);
  std::string blocks(static_cast<size_t>(count * layout.bytes), '\0');
  for (char& byte : blocks) byte = static_cast<char>(random());
  const bool has_least = type == BlockType::kQ41 || type == BlockType::kQ51 ||
                         type == BlockType::kQ4K || type == BlockType::kQ5K;
  for (int64_t i = 0; i < count; ++i) {
    char* const block = blocks.data() + i * layout.bytes;
    const auto put = [&](int64_t at) {
      const float size = scale * (1 + static_cast<float>(random() % 64) / 64);
      const uint16_t half = half_bits(random() % 2 == 0 ? size : -size);
      std::memcpy(block + at, &half, sizeof half);
    };
    put(type == BlockType::kQ6K ? 208 : 0);
    if (has_least) put(2);
  }
  return blocks;
}

/// V 48, D 64, H 2, G 1, d 32, I 96; q and k have rows in rotating pairs.
inline std::string packed_llama() {
  constexpr uint64_t kV = 48, kD = 64, kI = 96, kKeys = 32;
  constexpr std::array kTypes = {BlockType::kQ80, BlockType::kQ50, BlockType::kQ40, BlockType::kQ41,
                                 BlockType::kQ51};
  std::mt19937 random(3);
  GgufBuilder file;
  file.text("general.architecture", "llama").size("llama.embedding_length", kD);
  file.size("llama.block_count", 2).size("llama.feed_forward_length", kI);
  file.size("llama.attention.head_count", 2).size("llama.attention.head_count_kv", 1);
  file.number("llama.attention.layer_norm_rms_epsilon", 1e-5F);
  const auto norm = [&](const std::string& name) {
    std::string ones;
    for (uint64_t i = 0; i < kD; ++i) ones += bytes_of_number(1.0F);
    file.tensor(name, {kD}, static_cast<uint32_t>(BlockType::kF32), ones);
  };
  size_t next = 0;
  const auto matrix = [&](const std::string& name, uint64_t rows, uint64_t columns) {
    const BlockType type = kTypes[next++ % kTypes.size()];
    const auto count = static_cast<int64_t>(rows * columns / 32);
    // Codes of 8 bits are 16 times as large.
    const float scale = type == BlockType::kQ80 ? 0.002F : 0.02F;
    file.tensor(name, {rows, columns}, static_cast<uint32_t>(type),
                random_blocks(type, count, scale, random));
  };
  matrix("token_embd.weight", kV, kD), norm("output_norm.weight");
  for (const char* layer : {"blk.0.", "blk.1."}) {
    for (const char* name : {"attn_norm", "ffn_norm"}) norm(concat(layer, name, ".weight"));
    const std::vector<std::pair<const char*, std::pair<uint64_t, uint64_t>>> matrices = {
        {"attn_q", {kD, kD}},      {"attn_k", {kKeys, kD}}, {"attn_v", {kKeys, kD}},
        {"attn_output", {kD, kD}}, {"ffn_gate", {kI, kD}},  {"ffn_up", {kI, kD}},
        {"ffn_down", {kD, kI}}};
    for (const auto& [name, sizes] : matrices) {
      matrix(concat(layer, name, ".weight"), sizes.first, sizes.second);
    }
  }
  return file.build();
}

}  // namespace hypenet::testing_support
