// The word that was probably meant.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet {

/// Letters to add, drop, change or swap with a neighbour that make one word the other.
size_t edit_distance(std::string_view one, std::string_view other);

/// The choice nearest to the word: the only one that it begins, or one at most a third of its
/// letters away. Nothing when none is near.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& choices);

/// "; did you mean eval? ", or "; " where none is near: what stands between a complaint and the
/// advice after it.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& choices);

}  // namespace hypenet
