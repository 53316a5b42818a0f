// The nouns that serve as keys of recall tasks. A quarter of them is held out: only scoring rows
// use those.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace hypenet {

/// Lower-case nouns, all different.
std::span<const std::string_view> needle_nouns();

/// Whether the noun at this index of needle_nouns is kept from training rows. It does not depend on
/// the tokenizer.
bool is_held_out_noun(size_t index);

}  // namespace hypenet
