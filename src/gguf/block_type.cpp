// Names and sizes. What each block holds is in block_values.cpp.
#include "gguf/block_type.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/join.h"

namespace hypenet {
namespace {

constexpr auto kLayouts = std::to_array<BlockLayout>({{BlockType::kF32, "F32", 1, 4, true},
                                                      {BlockType::kF16, "F16", 1, 2, true},
                                                      {BlockType::kBF16, "BF16", 1, 2, true},
                                                      {BlockType::kQ40, "Q4_0", 32, 18},
                                                      {BlockType::kQ41, "Q4_1", 32, 20},
                                                      {BlockType::kQ50, "Q5_0", 32, 22},
                                                      {BlockType::kQ51, "Q5_1", 32, 24},
                                                      {BlockType::kQ80, "Q8_0", 32, 34},
                                                      {BlockType::kQ2K, "Q2_K", 256, 84},
                                                      {BlockType::kQ3K, "Q3_K", 256, 110},
                                                      {BlockType::kQ4K, "Q4_K", 256, 144},
                                                      {BlockType::kQ5K, "Q5_K", 256, 176},
                                                      {BlockType::kQ6K, "Q6_K", 256, 210}});

/// Types of files that people hold, to be refused by name.
constexpr auto kOthers = std::to_array<std::pair<uint32_t, std::string_view>>(
    {{4, "Q4_2"},      {5, "Q4_3"},     {9, "Q8_1"},   {15, "Q8_K"},     {16, "IQ2_XXS"},
     {17, "IQ2_XS"},   {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"},   {21, "IQ3_S"},
     {22, "IQ2_S"},    {23, "IQ4_XS"},  {24, "I8"},    {25, "I16"},      {26, "I32"},
     {27, "I64"},      {28, "F64"},     {29, "IQ1_M"}, {31, "Q4_0_4_4"}, {32, "Q4_0_4_8"},
     {33, "Q4_0_8_8"}, {34, "TQ1_0"},   {35, "TQ2_0"}, {39, "MXFP4"}});

}  // namespace

const BlockLayout* find_block_layout(uint32_t type) {
  const auto* const found = std::ranges::find(kLayouts, BlockType{type}, &BlockLayout::type);
  return found == kLayouts.end() ? nullptr : found;
}

const BlockLayout& block_layout(BlockType type) {
  return *std::ranges::find(kLayouts, type, &BlockLayout::type);
}

std::string known_block_types() {
  std::vector<std::string_view> names;
  names.reserve(kLayouts.size());
  for (const BlockLayout& layout : kLayouts) names.push_back(layout.name);
  return join(names, ", ");
}

std::string name_of_block_type(uint32_t type) {
  if (const BlockLayout* const layout = find_block_layout(type)) return std::string(layout->name);
  const auto* const found =
      std::ranges::find(kOthers, type, [](const auto& other) { return other.first; });
  return found == kOthers.end() ? std::to_string(type) : std::string(found->second);
}

}  // namespace hypenet
